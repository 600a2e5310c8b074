//! The truth table: what AWS says to each check, and where others are known to say something else.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, SystemTime};

use grantd_cluster_tests::cloud::aws::Keys;
use grantd_cluster_tests::cloud::server::ask;
use grantd_cluster_tests::cloud::token::Issuer;
use grantd_cluster_tests::cloud::wire::{self, Unsigned};
use grantd_cluster_tests::cloud::world::{ACCOUNT, policy, role_arn, trust, use_bucket};
use object_store::aws::AmazonS3;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt, PutMode, PutPayload};
use serde_json::json;

use super::world::{
    BUCKET, EXTERNAL_ID, OTHER_ACCOUNT, OTHER_BUCKET, Place, SUBJECT, said, said_of, session_keys, store,
    stored, sts,
};

/// A check, what AWS says to it, and who says something else.
pub struct Row {
    pub check: &'static str,
    pub truth: &'static str,
    pub others: &'static [(&'static str, &'static str)],
}

const fn row(
    check: &'static str,
    truth: &'static str,
    others: &'static [(&'static str, &'static str)],
) -> Row {
    Row { check, truth, others }
}

/// What was seen, by check.
pub type Seen = BTreeMap<&'static str, String>;

/// A least part of AWS's.
const PART: usize = 5 << 20;

/// All that differs from the table, with what the table says of this place. Nothing: the place is as the table says.
pub fn differences(table: &[Row], place: &str, seen: &Seen) -> Vec<String> {
    let mut differences = Vec::new();
    for Row { check, truth, others } in table {
        let wanted =
            others.iter().find_map(|(name, says)| (*name == place).then_some(*says)).unwrap_or(truth);
        match seen.get(check) {
            None => differences.push(format!("{place}: {check}: was not asked")),
            Some(says) if says != wanted => {
                differences.push(format!("{place}: {check}: {says}, not {wanted}"));
            }
            Some(_) => {}
        }
    }
    let unknown = seen.keys().filter(|check| !table.iter().any(|row| row.check == **check));
    differences.extend(unknown.map(|check| format!("{place}: {check}: is not in the table")));
    differences
}

/// Runs all checks.
pub async fn checks(place: &Place, issuer: &Issuer) -> Seen {
    let mut seen = Seen::new();
    keys(place, &mut seen).await;
    requests(place, &mut seen).await;
    chains(place, &mut seen).await;
    trusts(place, &mut seen).await;
    session_policies(place, &mut seen).await;
    durations(place, &mut seen).await;
    source_identities(place, &mut seen).await;
    expiry(place, &mut seen).await;
    objects(place, &mut seen).await;
    web_identity(place, issuer, &mut seen).await;
    revocation(place, &mut seen).await;
    seen
}

async fn put(store: &AmazonS3, key: &str) -> String {
    stored(store.put(&Path::from(key), PutPayload::from_static(b"x")).await)
}

async fn keys(place: &Place, seen: &mut Seen) {
    let alice = place.user("alice");
    let unknown = Keys { access_key_id: "AKIAEXAMPLENOBODY000".into(), ..alice.clone() };
    seen.insert("s3: unknown key", put(&place.store(&unknown), "x").await);
    seen.insert("sts: unknown key", said(place.sts(&unknown).get_caller_identity().send().await));
    let wrong = Keys { secret_access_key: "wrong".into(), ..alice.clone() };
    seen.insert("s3: wrong secret", put(&place.store(&wrong), "x").await);
    seen.insert("sts: wrong secret", said(place.sts(&wrong).get_caller_identity().send().await));
    seen.insert("s3: anonymous", put(&store(&place.endpoint, BUCKET, None), "x").await);
    seen.insert("s3: a user without a policy for it", put(&place.store(alice), "x").await);
    seen.insert("sts: who am I", said(place.sts(alice).get_caller_identity().send().await));

    let session = place.assumed(alice, "writer", "tokens").await;
    seen.insert("s3: a session", put(&place.store(&session), "x").await);
    let token = session.session_token.clone().expect("a session has one");
    let tampered = Keys { session_token: Some(format!("{token}A")), ..session.clone() };
    seen.insert("s3: a token that is not quite it", put(&place.store(&tampered), "x").await);
    let missing = Keys { session_token: None, ..session.clone() };
    seen.insert("s3: a session's key without its token", put(&place.store(&missing), "x").await);
    let other = place.assumed(alice, "writer", "others").await;
    let swapped = Keys { session_token: other.session_token, ..session.clone() };
    seen.insert("s3: the token of another session", put(&place.store(&swapped), "x").await);
    seen.insert(
        "sts: the token of another session",
        said(place.sts(&swapped).get_caller_identity().send().await),
    );
}

/// Requests that no SDK makes: signed long ago, changed after they were signed.
async fn requests(place: &Place, seen: &mut Seen) {
    let address: SocketAddr = place.endpoint.trim_start_matches("http://").parse().expect("an address");
    let host = address.to_string();
    let keys = place.assumed(place.user("alice"), "writer", "requests").await;
    let sent = async |at: SystemTime, signed: &[u8], body: &[u8]| {
        let path = format!("/{BUCKET}/raw");
        let unsigned =
            Unsigned { method: "PUT", host: &host, path: &path, query: "", body: signed, service: "s3", at };
        let heads =
            wire::sign(unsigned, &keys.access_key_id, &keys.secret_access_key, keys.session_token.as_deref());
        let (status, text) = ask(address, "PUT", &path, &heads, body).await.expect("an answer");
        if status == 200 {
            "ok".to_owned()
        } else {
            wire::element(&text, "Code").unwrap_or("no code").to_owned()
        }
    };
    let now = SystemTime::now();
    seen.insert("s3: signed by hand", sent(now, b"body", b"body").await);
    seen.insert(
        "s3: signed three hours ago",
        sent(now - Duration::from_secs(3 * 3_600), b"body", b"body").await,
    );
    seen.insert("s3: changed after it was signed", sent(now, b"body", b"bodY").await);
}

async fn chains(place: &Place, seen: &mut Seen) {
    let alice = place.user("alice");
    let first = place.assumed(alice, "first", "one").await;
    let second = place.assumed(&first, "second", "two").await;
    let third = place.assumed(&second, "third", "three").await;
    let store = place.store(&third);
    seen.insert("chain: three roles, the last by session", put(&store, "in/x").await);
    seen.insert("chain: beyond its prefix", put(&store, "out/x").await);
    let other = super::world::store(&place.endpoint, OTHER_BUCKET, Some(&third));
    seen.insert("chain: another bucket", put(&other, "in/x").await);
    seen.insert("chain: a role in between has no rights", put(&place.store(&second), "in/x").await);
    seen.insert("chain: the first left out", said(place.assume(alice, "second", "two").send().await));
    seen.insert("chain: the second left out", said(place.assume(&first, "third", "three").send().await));
    let misnamed = place.assumed(&first, "second", "twoo").await;
    seen.insert(
        "chain: by a session of another name",
        said(place.assume(&misnamed, "third", "three").send().await),
    );
}

async fn trusts(place: &Place, seen: &mut Seen) {
    let (alice, al, bob) = (place.user("alice"), place.user("al"), place.user("bob"));
    let assume = async |keys: &Keys, role: &str| said(place.assume(keys, role, "trust").send().await);
    seen.insert("trust: by name", assume(alice, "writer").await);
    seen.insert("trust: a name that begins so", assume(al, "writer").await);
    seen.insert("trust: by account", assume(alice, "by-root").await);
    seen.insert("trust: by account, without a policy of its own", assume(bob, "by-root").await);
    seen.insert("trust: by name, without a policy of its own", assume(bob, "names-bob").await);
    seen.insert("trust: allowed and denied", assume(alice, "denied").await);
    seen.insert("trust: no such role", assume(alice, "ghost").await);
    seen.insert("trust: another account", assume(alice, &role_arn(OTHER_ACCOUNT, "trusting")).await);
    seen.insert(
        "trust: another account that does not",
        assume(alice, &role_arn(OTHER_ACCOUNT, "strange")).await,
    );
    let external = async |id: Option<&str>| {
        said(place.assume(alice, "external", "trust").set_external_id(id.map(str::to_owned)).send().await)
    };
    seen.insert("external id: right", external(Some(EXTERNAL_ID)).await);
    seen.insert("external id: wrong", external(Some("ext:1/3")).await);
    seen.insert("external id: missing", external(None).await);
}

async fn session_policies(place: &Place, seen: &mut Seen) {
    let alice = place.user("alice");
    let confined = place.assume(alice, "writer", "policy").policy(use_bucket(BUCKET, "in/")).send().await;
    let confined = session_keys(confined.expect("a session").credentials().expect("credentials"));
    let store = place.store(&confined);
    seen.insert("session policy: inside", put(&store, "in/x").await);
    seen.insert("session policy: outside", put(&store, "out/x").await);
    let first = place.assumed(alice, "first", "one").await;
    let second = place.assumed(&first, "second", "two").await;
    let wide = place.assume(&second, "third", "three").policy(use_bucket(BUCKET, "")).send().await;
    let wide = session_keys(wide.expect("a session").credentials().expect("credentials"));
    seen.insert("session policy: wider than the role", put(&place.store(&wide), "out/x").await);
    let broken = place.assume(alice, "writer", "policy").policy("{").send().await;
    seen.insert("session policy: no policy", said(broken));
}

async fn durations(place: &Place, seen: &mut Seen) {
    let alice = place.user("alice");
    let first = place.assumed(alice, "first", "one").await;
    let lasting = async |keys: &Keys, role: &str, seconds: i32| {
        said(place.assume(keys, role, "lasting").duration_seconds(seconds).send().await)
    };
    seen.insert("duration: none", lasting(alice, "writer", 0).await);
    seen.insert("duration: more than the role's", lasting(alice, "writer", 3_601).await);
    seen.insert("duration: more than an hour", lasting(alice, "first", 7_200).await);
    seen.insert("duration: more than an hour, chained", lasting(&first, "second", 7_200).await);
    seen.insert("duration: more than twelve hours", lasting(alice, "first", 43_201).await);
    seen.insert("session name: with a blank", said(place.assume(alice, "writer", "a b").send().await));
}

/// Once said it stays, and each role must allow that it is said.
async fn source_identities(place: &Place, seen: &mut Seen) {
    let alice = place.user("alice");
    let begun = place.assume(alice, "first", "one").source_identity("maxroach").send().await;
    seen.insert("source identity: said", said_of(&begun));
    let silent = place.assume(alice, "silent", "one").source_identity("maxroach").send().await;
    seen.insert("source identity: a role that does not allow it", said_of(&silent));
    let first = session_keys(begun.expect("a session").credentials().expect("credentials"));
    let same = place.assume(&first, "second", "two").source_identity("maxroach").send().await;
    seen.insert("source identity: said again", said_of(&same));
    let changed = place.assume(&first, "second", "two").source_identity("root").send().await;
    seen.insert("source identity: changed on the way", said_of(&changed));
}

async fn expiry(place: &Place, seen: &mut Seen) {
    let short = place.assumed_for(place.user("alice"), "first", "short", 2).await;
    let chained = place.assumed_for(&short, "second", "short", 60).await;
    let writer = place.assumed_for(place.user("alice"), "writer", "short", 2).await;
    seen.insert("expiry: before, at S3", put(&place.store(&writer), "x").await);
    // Emulators round the end to a second: a second more.
    tokio::time::sleep(Duration::from_millis(3_200)).await;
    seen.insert("expiry: after, at S3", put(&place.store(&writer), "x").await);
    seen.insert("expiry: after, at STS", said(place.assume(&short, "second", "late").send().await));
    seen.insert(
        "expiry: a session outlives the one before",
        said(place.sts(&chained).get_caller_identity().send().await),
    );
}

async fn objects(place: &Place, seen: &mut Seen) {
    let keys = place.assumed(place.user("alice"), "writer", "objects").await;
    let store = place.store(&keys);
    let once = async || {
        let how = PutMode::Create.into();
        stored(store.put_opts(&Path::from("once"), PutPayload::from_static(b"x"), how).await)
    };
    seen.insert("objects: put where nothing is", once().await);
    seen.insert("objects: put where something is", once().await);
    let odd = Path::from("a b/+=%@:(!&$é");
    seen.insert("objects: odd names", stored(store.put(&odd, PutPayload::from_static(b"x")).await));
    let back = store.get(&odd).await;
    seen.insert("objects: odd names, read", stored(back));
    let upload = async |name: &str, sizes: [usize; 2]| {
        let mut upload = store.put_multipart(&Path::from(name)).await.expect("an upload");
        for size in sizes {
            upload.put_part(PutPayload::from(vec![7; size])).await.expect("a part");
        }
        stored(upload.complete().await)
    };
    seen.insert("objects: in parts", upload("parts", [PART, 1]).await);
    seen.insert("objects: in parts that are too small", upload("small", [PART / 5, 1]).await);
    seen.insert("objects: deleted", stored(store.delete(&Path::from("once")).await));
}

async fn web_identity(place: &Place, issuer: &Issuer, seen: &mut Seen) {
    let client = sts(&place.endpoint, None);
    let shown = async |token: &str| {
        let ask = client.assume_role_with_web_identity().role_arn(role_arn(ACCOUNT, "web"));
        said(ask.role_session_name("pod").web_identity_token(token).send().await)
    };
    let (audience, hour) = ("sts.amazonaws.com", Duration::from_secs(3_600));
    let good = issuer.token(SUBJECT, audience, hour);
    seen.insert("web identity: right", shown(&good).await);
    seen.insert("web identity: another subject", shown(&issuer.token("root", audience, hour)).await);
    seen.insert("web identity: another audience", shown(&issuer.token(SUBJECT, "somebody", hour)).await);
    let forged = Issuer::new(issuer.url()).token(SUBJECT, audience, hour);
    seen.insert("web identity: signed by somebody else", shown(&forged).await);
    let claims = json!({"iss": issuer.url(), "sub": SUBJECT, "aud": audience, "exp": 1_700_000_000});
    seen.insert("web identity: over", shown(&issuer.sign(&claims)).await);
    let stranger = Issuer::new("https://stranger.example.com").token(SUBJECT, audience, hour);
    seen.insert("web identity: an unknown issuer", shown(&stranger).await);
}

/// What is taken away is gone at once where the role's rights are; a trust that is taken away binds who comes next.
async fn revocation(place: &Place, seen: &mut Seen) {
    let (alice, role) = (place.user("alice"), role_arn(ACCOUNT, "revoked"));
    let live = place.assumed(alice, "revoked", "live").await;
    let store = place.store(&live);
    let nobody = policy(&[json!({"Effect": "Deny", "Principal": {"AWS": "*"}, "Action": "sts:AssumeRole"})]);
    place.set_trust(&role, &nobody).await;
    seen.insert(
        "trust taken away: who comes next",
        said(place.assume(alice, "revoked", "next").send().await),
    );
    seen.insert("trust taken away: a live session", put(&store, "x").await);
    place.set_trust(&role, &trust(&[&grantd_cluster_tests::cloud::world::user_arn(ACCOUNT, "alice")])).await;
    seen.insert("trust given back", said(place.assume(alice, "revoked", "next").send().await));
    place.set_policy(&role, None).await;
    seen.insert("rights taken away: a live session", put(&store, "x").await);
    place.set_policy(&role, Some(&use_bucket(BUCKET, ""))).await;
    seen.insert("rights given back: a live session", put(&store, "x").await);
}

/// What AWS says. The others: those that are known to say something else, and what; `no code` is an error inside of them.
/// One that says it no more fails here too: then a line of this table is to be taken away.
pub const TABLE: &[Row] = &[
    row("s3: unknown key", "InvalidAccessKeyId", &[]),
    row("sts: unknown key", "InvalidClientTokenId", &[]),
    row("s3: wrong secret", "SignatureDoesNotMatch", &[]),
    row("sts: wrong secret", "SignatureDoesNotMatch", &[]),
    row("s3: anonymous", "AccessDenied", &[("moto", "no code")]),
    row("s3: a user without a policy for it", "AccessDenied", &[]),
    row("sts: who am I", "ok", &[]),
    row("s3: a session", "ok", &[]),
    row("s3: a token that is not quite it", "InvalidToken", &[]),
    row("s3: a session's key without its token", "InvalidAccessKeyId", &[]),
    row("s3: the token of another session", "InvalidToken", &[]),
    row("sts: the token of another session", "InvalidClientTokenId", &[]),
    row("s3: signed by hand", "ok", &[]),
    row("s3: signed three hours ago", "RequestTimeTooSkewed", &[("moto", "ok")]),
    row(
        "s3: changed after it was signed",
        "XAmzContentSHA256Mismatch",
        &[("ministack", "ok"), ("moto", "ok")],
    ),
    row("chain: three roles, the last by session", "ok", &[]),
    row("chain: beyond its prefix", "AccessDenied", &[]),
    row("chain: another bucket", "AccessDenied", &[]),
    row("chain: a role in between has no rights", "AccessDenied", &[]),
    row("chain: the first left out", "AccessDenied", &[]),
    row("chain: the second left out", "AccessDenied", &[]),
    row("chain: by a session of another name", "AccessDenied", &[]),
    row("trust: by name", "ok", &[]),
    row("trust: a name that begins so", "AccessDenied", &[]),
    row("trust: by account", "ok", &[]),
    row("trust: by account, without a policy of its own", "AccessDenied", &[]),
    row(
        "trust: by name, without a policy of its own",
        "ok",
        &[("ministack", "AccessDenied"), ("moto", "AccessDenied")],
    ),
    row("trust: allowed and denied", "AccessDenied", &[]),
    row("trust: no such role", "AccessDenied", &[]),
    row("trust: another account", "ok", &[("moto", "AccessDenied")]),
    row("trust: another account that does not", "AccessDenied", &[]),
    row("external id: right", "ok", &[]),
    row("external id: wrong", "AccessDenied", &[]),
    row("external id: missing", "AccessDenied", &[]),
    row("session policy: inside", "ok", &[]),
    row("session policy: outside", "AccessDenied", &[("moto", "ok")]),
    row("session policy: wider than the role", "AccessDenied", &[]),
    row("session policy: no policy", "MalformedPolicyDocument", &[("moto", "ok")]),
    row("duration: none", "ValidationError", &[("ministack", "ok")]),
    row("duration: more than the role's", "ValidationError", &[("ministack", "ok")]),
    row("duration: more than an hour", "ok", &[]),
    row("duration: more than an hour, chained", "ValidationError", &[("ministack", "ok")]),
    row("duration: more than twelve hours", "ValidationError", &[("ministack", "ok")]),
    row(
        "session name: with a blank",
        "ValidationError",
        &[("ministack", "ok"), ("moto", "SignatureDoesNotMatch")],
    ),
    row("source identity: said", "ok", &[]),
    row(
        "source identity: a role that does not allow it",
        "AccessDenied",
        &[("ministack", "ok"), ("moto", "ok")],
    ),
    row("source identity: said again", "ok", &[]),
    row("source identity: changed on the way", "AccessDenied", &[("ministack", "ok"), ("moto", "ok")]),
    row("expiry: before, at S3", "ok", &[]),
    row("expiry: after, at S3", "ExpiredToken", &[]),
    row("expiry: after, at STS", "ExpiredToken", &[]),
    row("expiry: a session outlives the one before", "ok", &[]),
    row("objects: put where nothing is", "ok", &[]),
    row("objects: put where something is", "AlreadyExists", &[]),
    row("objects: odd names", "ok", &[]),
    row("objects: odd names, read", "ok", &[]),
    row("objects: in parts", "ok", &[]),
    row("objects: in parts that are too small", "EntityTooSmall", &[("ministack", "ok")]),
    row("objects: deleted", "ok", &[("moto", "AccessDenied")]),
    row("web identity: right", "ok", &[("moto", "no code")]),
    row("web identity: another subject", "AccessDenied", &[("moto", "no code")]),
    row(
        "web identity: another audience",
        "InvalidIdentityToken",
        &[("ministack", "ok"), ("moto", "no code")],
    ),
    row(
        "web identity: signed by somebody else",
        "InvalidIdentityToken",
        &[("ministack", "ok"), ("moto", "no code")],
    ),
    row("web identity: over", "ExpiredTokenException", &[("ministack", "ok"), ("moto", "no code")]),
    row(
        "web identity: an unknown issuer",
        "InvalidIdentityToken",
        &[("ministack", "AccessDenied"), ("moto", "no code")],
    ),
    row("trust taken away: who comes next", "AccessDenied", &[]),
    row("trust taken away: a live session", "ok", &[]),
    row("trust given back", "ok", &[]),
    row("rights taken away: a live session", "AccessDenied", &[]),
    row("rights given back: a live session", "ok", &[]),
];
