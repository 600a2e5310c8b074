//! Each failure is named for what it is.

use grantd_cluster_tests::cloud::google::{Service, Trouble};
use grantd_node::cloud::lease::Class;
use grantd_node::cloud::settings::NodeSettings;

use super::*;

const WAY: [&str; 4] = ["node", "hop1", "hop2", "writer"];

/// A double with a chain of three, and a node that is at its beginning.
async fn three() -> (Google, Gcp, Chain) {
    let google = Google::start().await;
    let way = WAY.map(account);
    google.chain(&way.each_ref().map(String::as_str), BUCKET);
    let gcp = machine(&google);
    (google, gcp, chain(&WAY[1..], HOUR))
}

/// Case 85.
#[tokio::test]
async fn the_first_pair_of_a_chain_that_is_not_allowed_is_named() {
    let (google, gcp, chain) = three().await;
    for (at, pair) in WAY.windows(2).enumerate() {
        let (by, target) = (account(pair[0]), account(pair[1]));
        google.forbid(&by, &target);
        let error = walk(&gcp, &chain).await.expect_err("an edge is missing");
        assert_eq!((error.class, error.code.as_deref()), (Class::Denied, Some("PERMISSION_DENIED")));
        let told = format!("{by} may not impersonate {target} (step {} of 3 of {chain})", at + 1);
        assert!(error.message.contains(&told), "{error}\nwanted: {told}");
        assert!(error.message.contains(&format!("roles/iam.serviceAccountTokenCreator on {target} to {by}")));
        google.allow(&by, &target);
    }
    // Of two that are missing, the first.
    google.forbid(&account("hop1"), &account("hop2"));
    google.forbid(&account("hop2"), &account("writer"));
    let error = walk(&gcp, &chain).await.expect_err("two edges are missing");
    assert!(error.message.contains("hop1@p.iam.gserviceaccount.com may not impersonate hop2@"), "{error}");
}

#[tokio::test]
async fn who_cannot_find_out_which_pair_says_so() {
    let (google, gcp, chain) = three().await;
    google.forbid(&account("hop2"), &account("writer"));
    // The first request is denied by its edge, the second, which would find out, is cut.
    google.trouble(Service::Iam, Trouble::Cut, 50);
    let error = walk(&gcp, &chain).await.expect_err("an edge is missing");
    assert_eq!(error.class, Class::Denied);
    assert!(error.message.contains("could not be found out"), "{error}");
}

#[tokio::test]
async fn each_trouble_of_iam_has_its_class() {
    let (google, gcp, chain) = three().await;
    let cases = [
        (Trouble::Throttle(Some(7)), Class::Throttled, Some(Duration::from_secs(7))),
        (Trouble::Throttle(None), Class::Throttled, None),
        (Trouble::Broken(500), Class::Network, None),
        (Trouble::Broken(503), Class::Network, None),
        (Trouble::Broken(404), Class::Config, None),
        (Trouble::Cut, Class::Network, None),
        (Trouble::Deny, Class::Denied, None),
    ];
    for (trouble, class, retry_after) in cases {
        google.trouble(Service::Iam, trouble.clone(), 100);
        let error = walk(&gcp, &chain).await.expect_err("switched on");
        assert_eq!((error.class, error.retry_after), (class, retry_after), "{trouble:?}: {error}");
        google.heal(Service::Iam);
    }
    walk(&gcp, &chain).await.expect("healed");
}

#[tokio::test]
async fn each_trouble_of_a_source_and_of_the_exchange_has_its_class() {
    let (google, gcp, chain) = three().await;
    let confined = then(&chain, confined(BUCKET, "p", false));
    let key = Chain::new(Source::GcpKey(hashed(&google.key(&account("uri")))), []);
    for (service, chain) in
        [(Service::Metadata, &chain), (Service::Exchange, &confined), (Service::Token, &key)]
    {
        for (trouble, class) in [
            (Trouble::Throttle(Some(3)), Class::Throttled),
            (Trouble::Broken(502), Class::Network),
            (Trouble::Cut, Class::Network),
        ] {
            google.trouble(service, trouble.clone(), 100);
            let error = walk(&gcp, chain).await.expect_err("switched on");
            assert_eq!(error.class, class, "{service:?} {trouble:?}: {error}");
            google.heal(service);
        }
    }
}

#[tokio::test]
async fn a_token_that_is_over_is_a_matter_of_the_step_before() {
    let (google, gcp, chain) = three().await;
    let node = gcp.fetch(&Chain::new(Source::GcpNode, []), None).await.expect("a token");
    let node = lease(node);
    let writer = lease(gcp.fetch(&chain, Some(&node)).await.expect("a token"));
    google.end_all_tokens();
    let error = gcp.fetch(&chain, Some(&node)).await.expect_err("over");
    assert_eq!(error.class, Class::ParentExpired, "{error}");
    let error = gcp.fetch(&then(&chain, confined(BUCKET, "", true)), Some(&writer)).await.expect_err("over");
    assert_eq!(error.class, Class::ParentExpired, "{error}");
}

#[tokio::test]
async fn a_request_that_cannot_work_is_not_called_anything_else() {
    let (google, gcp, chain) = three().await;
    let Step::Impersonate(mut step) = chain.last().clone() else { panic!("an impersonation") };
    step.scopes.clear();
    let error =
        walk(&gcp, &Chain::new(Source::GcpNode, [Step::Impersonate(step)])).await.expect_err("no scope");
    assert_eq!((error.class, error.code.as_deref()), (Class::Config, Some("INVALID_ARGUMENT")), "{error}");
    let mut settings = NodeSettings { outbound_disabled: true, ..google.settings(GcpNodeSource::Metadata) };
    let before = google.calls(Service::Metadata).len();
    let off = Gcp::new(settings.clone(), Environment::default(), "").expect("settings that fit");
    let error = walk(&off, &chain).await.expect_err("nothing goes out");
    assert_eq!(error.class, Class::Config);
    (settings.outbound_disabled, settings.implicit_credentials_disabled) = (false, true);
    let off = Gcp::new(settings, Environment::default(), "").expect("settings that fit");
    let error = walk(&off, &chain).await.expect_err("no implicit credentials");
    assert_eq!(error.class, Class::Config);
    assert_eq!(google.calls(Service::Metadata).len(), before);
    let spoiled = Gcp::new(google.settings(GcpNodeSource::None), Environment::default(), "not PEM");
    assert!(spoiled.is_err_and(|error| error.message.contains("`cloudstorage.http.custom_ca`")));
}

/// Case 88, the step: a permanent 403, and then it is allowed again.
#[tokio::test]
async fn what_was_denied_works_as_soon_as_it_is_granted() {
    let (google, gcp, chain) = three().await;
    google.forbid(&account("node"), &account("hop1"));
    for _ in 0..5 {
        walk(&gcp, &chain).await.expect_err("denied");
    }
    google.allow(&account("node"), &account("hop1"));
    walk(&gcp, &chain).await.expect("granted");
}

/// Case 106, Google's part: nothing that was sent comes back in an error.
#[tokio::test]
async fn no_error_has_a_token_in_it() {
    let (google, gcp, chain) = three().await;
    let planted = google.token(&account("node"), HOUR);
    let Step::Impersonate(step) = chain.last().clone() else { panic!("an impersonation") };
    let chain = Chain::new(Source::GcpToken(hashed(&planted)), [Step::Impersonate(step)]);
    for trouble in [Trouble::Echo, Trouble::Cut, Trouble::Deny, Trouble::Broken(503)] {
        google.trouble(Service::Iam, trouble.clone(), 100);
        let error = walk(&gcp, &chain).await.expect_err("switched on");
        assert!(!format!("{error} {error:?}").contains(&planted), "{trouble:?}: {error}");
        google.heal(Service::Iam);
    }
}
