//! What holds for every text.

use proptest::prelude::*;

use super::*;

const PURPOSES: [Purpose; 5] =
    [Purpose::Storage, Purpose::Kms, SINK, Purpose::Sink { unordered: true }, Purpose::Connection];

/// Secrets in the forms that they have: of AWS, of Google, a password with marks, a token.
const SECRETS: [&str; 6] = [
    "AKIAQ3EGPLANTED7KXYZ",
    "pL4nT3d/Zx9+Qw2Er5Ty7Ui1Op3As6Df8Gh0JkLz",
    "IQoJb3JpZ2luX2VjPLANTEDx9//////////wEaCXVzL",
    "ya29.a0PLANTED-f9_kQ2",
    "eyJhbGciOiJSUzI1NiJ9.eyJwTEFOVEVEIjoxfQ.c2lnbmF0dXJlX3g",
    "p-Planted:9/x;y=Z,q!",
];

const SCHEMES: [&str; 20] = [
    "s3",
    "gs",
    "azure",
    "azure-blob",
    "azure-storage",
    "nodelocal",
    "userfile",
    "http",
    "https",
    "file-https",
    "external",
    "kafka",
    "gcpubsub",
    "webhook-https",
    "webhook-http",
    "null",
    "aws",
    "aws-kms",
    "gcp-kms",
    "other",
];

/// Parameters that hold a secret, and some that should not.
const NAMES: [&str; 24] = [
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "CREDENTIALS",
    "BEARER_TOKEN",
    "AZURE_ACCOUNT_KEY",
    "AZURE_CLIENT_SECRET",
    "sasl_password",
    "sasl_user",
    "sasl_client_secret",
    "client_key",
    "ca_cert",
    "ASSUME_ROLE",
    "AUTH",
    "AWS_ENDPOINT",
    "AWS_REGION",
    "AWS_SERVER_KMS_ID",
    "REGION",
    "S3_STORAGE_CLASS",
    "topic_name",
    "topic_prefix",
    "partition_format",
    "token",
    "aws_secret_access_key",
];

/// Texts that parse, of each kind, with everything that it may say.
fn whole() -> Vec<(String, Purpose)> {
    let roles = "arn:aws:iam::123456789012:role/a,b;external_id=x%2By,arn:aws:iam::123456789012:role/p/c";
    let accounts = "a@p.iam.gserviceaccount.com,b@p.iam.gserviceaccount.com";
    let files = "file_size=1MiB&partition_format=flat&topic_prefix=t%2Bx";
    let tls = "ca_cert=Zm9v&client_cert=Zm9v&client_key=Zm9v&insecure_tls_skip_verify=1";
    vec![
        (format!("s3://b/p%20q/r?{KEYS}%2B/&AWS_SESSION_TOKEN=a%2Bb&ASSUME_ROLE={roles}&AWS_REGION=eu-1&{files}"), SINK),
        ("s3://b?AUTH=implicit&AWS_ENDPOINT=http://h:1/&AWS_SERVER_ENC_MODE=AES256".to_owned(), Purpose::Storage),
        ("s3://b?AUTH=implicit&AWS_USE_PATH_STYLE=true&S3_STORAGE_CLASS=STANDARD".to_owned(), Purpose::Storage),
        (format!("gs://b/p?CREDENTIALS={CREDENTIALS}&ASSUME_ROLE={accounts}&GOOGLE_BILLING_PROJECT=p-1"), Purpose::Storage),
        ("gs://b?BEARER_TOKEN=ya29.x".to_owned(), Purpose::Storage),
        ("azure://c/p?AZURE_ACCOUNT_NAME=a&AZURE_ACCOUNT_KEY=a2U%2BeQ==&AZURE_ENVIRONMENT=X".to_owned(), Purpose::Storage),
        ("azure://c?AUTH=implicit&AZURE_ACCOUNT_NAME=a&AZURE_CLIENT_ID=i".to_owned(), Purpose::Storage),
        (format!("nodelocal://3/ü/%25?{files}"), SINK),
        ("userfile://db.s.t/p".to_owned(), Purpose::Connection),
        (format!("https://h:1/a%20b?x=1&y&{files}"), SINK),
        ("external://c%20d/p/%3F".to_owned(), Purpose::Storage),
        (format!("kafka://a,b:1?topic_name=t&tls_enabled=true&{tls}&sasl_enabled=1&sasl_user=u%20%26&sasl_password=%23"), SINK),
        ("kafka://a?tls_enabled=1&sasl_enabled=1&sasl_handshake=0&sasl_mechanism=AWS_MSK_IAM&sasl_aws_region=r\
          &sasl_aws_iam_session_name=s%2Bs&sasl_aws_iam_role_arn=arn:aws:iam::123456789012:role/a".to_owned(), SINK),
        ("kafka://a?tls_enabled=1&sasl_enabled=1&sasl_mechanism=OAUTHBEARER&sasl_client_id=i&sasl_client_secret=Zm9v\
          &sasl_token_url=https://t/x&sasl_scopes=a+b&sasl_grant_type=g".to_owned(), SINK),
        (format!("gcpubsub://p?region=eu&topic_name=t&AUTH=specified&CREDENTIALS={CREDENTIALS}"), SINK),
        (format!("webhook-https://h/p?a=1&b&{tls}"), SINK),
        ("null://".to_owned(), SINK),
        (format!("aws:///alias/k?{KEYS}&REGION=r&ASSUME_ROLE={roles}&AWS_ENDPOINT=h"), Purpose::Kms),
        (format!("gs:///projects/p/locations/l/keyRings/r/cryptoKeys/k?AUTH=implicit&ASSUME_ROLE={accounts}"), Purpose::Kms),
    ]
}

#[test]
fn the_full_text_of_a_uri_is_read_as_the_same_uri() {
    for (text, purpose) in whole() {
        let uri = parse(&text, purpose).unwrap_or_else(|refusal| panic!("{text}: {refusal:?}"));
        let again =
            parse(uri.text().expose(), purpose).unwrap_or_else(|refusal| panic!("{text}: {refusal:?}"));
        assert!(uri == again, "{text}: {uri:?} {again:?}");
        assert_eq!(uri.text().expose(), again.text().expose());
    }
}

/// Neither what is shown, nor a refusal.
fn assert_hidden(text: &str, secret: &str) {
    let hidden = |shown: &str| {
        assert!(!shown.contains(secret), "{secret} of {text} in {shown}");
        assert!(!shown.to_ascii_lowercase().contains("planted"), "{secret} of {text} in {shown}");
    };
    hidden(&redact::uri(text));
    hidden(&redact::text(&format!("could not reach '{text}': it said no")));
    for purpose in PURPOSES {
        match parse(text, purpose) {
            Ok(uri) => hidden(&format!("{uri:?} {:?}", uri.access().connection)),
            Err(refusal) => hidden(&format!("{refusal:?}")),
        }
    }
}

proptest! {
    #[test]
    fn no_text_makes_the_parser_panic(text in "\\PC{0,120}", scheme in select(&SCHEMES[..]), at in select(&PURPOSES[..])) {
        let _ = parse(&text, at);
        let _ = parse(&format!("{scheme}://{text}"), at);
        let _ = parse(&format!("{scheme}://b/?{text}"), at);
        let _ = redact::uri(&text);
        let _ = redact::uri(&format!("{scheme}://{text}"));
        let _ = redact::text(&text);
        let _ = crate::cloud::role::aws_chain(&text);
        let _ = crate::cloud::role::gcp_chain(&text);
    }

    #[test]
    fn what_parses_is_its_full_text(
        scheme in select(&SCHEMES[..]), host in "[a-z0-9.,:@]{0,8}", path in "(/[ -~]{0,6}){0,3}",
        parameters in prop::collection::vec((select(&NAMES[..]), "[ -~]{0,12}"), 0..5), at in select(&PURPOSES[..]),
    ) {
        let query: Vec<_> = parameters.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let text = format!("{scheme}://{host}{path}?{}", query.join("&"));
        if let Ok(uri) = parse(&text, at) {
            let again = parse(uri.text().expose(), at);
            prop_assert!(again.as_ref() == Ok(&uri), "{text}: {again:?}");
        }
    }

    #[test]
    fn a_planted_secret_is_shown_nowhere(
        scheme in select(&SCHEMES[..]), secret in select(&SECRETS[..]), name in select(&NAMES[..]),
        encoded in any::<bool>(), place in 0..9_usize,
    ) {
        let written = if encoded { super::super::query::escaped(secret) } else { secret.to_owned() };
        let text = match place {
            0 => format!("{scheme}://b/p?AUTH=implicit&{name}={written}"),
            1 => format!("{scheme}://b/p?{name}={written}&AUTH=implicit"),
            2 => format!("{scheme}://user:{written}@b/p?AUTH=implicit"),
            3 => format!("{scheme}://{written}@b/p"),
            4 => format!("{scheme}://b/p?AUTH=implicit#{written}"),
            5 => format!("{scheme}://b/p?AUTH=implicit&{written}"),
            6 => format!("{scheme}://b/p?AUTH=implicit&ASSUME_ROLE=arn:aws:iam::123456789012:role/r;external_id={written}"),
            7 => format!("{scheme}://b/p?AUTH=implicit&AWS_ENDPOINT=https://u:{written}@h"),
            _ => format!("{scheme}://b/p?AWS_SECRET_ACCESS_KEY={written}&AWS_ACCESS_KEY_ID={written}&{name}={written}"),
        };
        assert_hidden(&text, secret);
    }

    /// A host and a path are shown where they name a place: there only what has the form of a secret is hidden.
    #[test]
    fn what_looks_like_a_secret_is_hidden_in_host_and_path_too(
        scheme in select(&SCHEMES[..]), secret in select(&SECRETS[..5]), before in "(/[a-z]{1,5}){0,2}",
    ) {
        assert_hidden(&format!("{scheme}://{secret}/p?AUTH=implicit"), secret);
        if !secret.contains('/') {
            assert_hidden(&format!("{scheme}://b{before}/{secret}?AUTH=implicit"), secret);
        }
        assert_hidden(&format!("{scheme}://b/{secret}?AUTH=implicit"), secret);
    }
}

use prop::sample::select;
