//! The cases by number, then those of section A that have none.

use super::*;

const A: &str = "arn:aws:iam::123456789012:role/a";
const B: &str = "arn:aws:iam::123456789012:role/path/b";
const C: &str = "arn:aws-us-gov:iam::210987654321:role/c";

/// Case 1.
#[test]
fn a_bucket_has_a_name() {
    refused(
        "s3:///p?AUTH=implicit",
        Purpose::Storage,
        "empty host component; s3 URI must specify a target bucket",
    );
    refused(
        "gs:///p?AUTH=implicit",
        Purpose::Storage,
        "empty host component; gs URI must specify a target bucket",
    );
}

/// Case 2.
#[test]
fn without_auth_keys_are_expected() {
    let set = "AUTH is set to 'specified', but ";
    refused("s3://b/p", Purpose::Storage, &format!("{set}AWS_ACCESS_KEY_ID is not set"));
    let one = "s3://b/p?AUTH=specified&AWS_ACCESS_KEY_ID=A1";
    refused(one, Purpose::Storage, &format!("{set}AWS_SECRET_ACCESS_KEY is not set"));
    let uri = s3(&format!("s3://b/p/q/?{KEYS}&AWS_SESSION_TOKEN=T"));
    let AwsAuth::Keys(keys) = &uri.auth else { panic!("{uri:?}") };
    assert_eq!((keys.access_key_id.as_str(), keys.secret_access_key.expose()), ("A1", "S3CR3T"));
    assert_eq!(keys.session_token.as_ref().map(Hashed::expose), Some("T"));
    assert_eq!((uri.bucket.as_str(), uri.prefix.as_str()), ("b", "p/q"));
}

/// Case 4.
#[test]
fn auth_is_one_of_two_in_any_case_of_letters() {
    refused("s3://b?AUTH=anonymous", Purpose::Storage, "unsupported value anonymous for AUTH");
    assert_eq!(s3("s3://b?AUTH=IMPLICIT").auth, AwsAuth::Implicit);
    refused("s3://b?AUTH=AKIAIOSFODNN7EXAMPLE", Purpose::Storage, "unsupported value redacted for AUTH");
    let both = format!("s3://b?AUTH=implicit&{KEYS}");
    refused(&both, Purpose::Storage, "AUTH is set to 'implicit', but AWS_ACCESS_KEY_ID is set");
}

/// Case 5.
#[test]
fn parameters_that_are_not_known_are_all_listed() {
    refused("s3://b?AUTH=implicit&FOO=1&BAR=2", Purpose::Storage, "unknown S3 query parameters: BAR, FOO");
    refused("gs://b?AUTH=implicit&FOO=1", Purpose::Storage, "unknown GS query parameters: FOO");
    refused("aws-kms:///k?FOO=1", Purpose::Kms, "unknown KMS query parameters: FOO");
    let refusal = refused("s3://b?auth=implicit", Purpose::Storage, "unknown S3 query parameters: auth");
    assert_eq!(refusal.hint.as_deref(), Some("names are written exactly: AUTH"));
    // What a value with an & that nobody escaped leaves behind is not repeated.
    let tail = "s3://b?AUTH=implicit&AWS_SESSION_TOKEN=a&hunter2&S3cret=x";
    refused(tail, Purpose::Storage, "unknown S3 query parameters: redacted");
}

/// Case 7.
#[test]
fn an_empty_chain_is_no_role() {
    let uri = storage("s3://b?AUTH=implicit&ASSUME_ROLE=");
    assert_eq!(uri, storage("s3://b?AUTH=implicit"));
    assert!(uri.access().roles.is_empty());
    assert!(gs("gs://b?AUTH=implicit&ASSUME_ROLE=").roles.is_empty());
}

/// Case 8.
#[test]
fn a_raw_arn_and_an_encoded_one_are_the_same() {
    let raw = storage(&format!("s3://b/p?AUTH=implicit&ASSUME_ROLE={B}"));
    let encoded =
        storage("s3://b/p?AUTH=implicit&ASSUME_ROLE=arn%3Aaws%3Aiam%3A%3A123456789012%3Arole%2Fpath%2Fb");
    assert_eq!(raw, encoded);
    // As documents print it, with a blank behind the question mark.
    assert_eq!(raw, storage(&format!("s3://b/p? AUTH=implicit & ASSUME_ROLE={B} ")));
    assert_eq!(raw.access().roles.iter().map(Name::as_str).collect::<Vec<_>>(), [B]);
}

/// Case 10.
#[test]
fn roles_are_assumed_in_the_order_of_the_text() {
    for comma in [",", "%2C", "%2c"] {
        let uri = s3(&format!("s3://b?AUTH=implicit&ASSUME_ROLE={A}{comma}{B}{comma}{C}"));
        assert_eq!(arns(&uri), [A, B, C]);
    }
}

/// Case 11.
#[test]
fn each_role_has_its_own_external_id() {
    let uri =
        s3(&format!("s3://b?AUTH=implicit&ASSUME_ROLE={A};external_id=xx,{B},{C}%3Bexternal_id%3Dy:y/=,%2B"));
    assert_eq!(arns(&uri), [A, B, C]);
    let ids: Vec<_> = uri.roles.iter().map(|role| role.external_id.as_ref().map(Hashed::expose)).collect();
    assert_eq!(ids, [Some("xx"), None, Some("y:y/=,+")]);
}

/// Case 13.
#[test]
fn a_comma_may_be_a_part_of_a_name() {
    let odd = "arn:aws:iam::123456789012:role/x,y=z,w";
    let uri = s3(&format!("s3://b?AUTH=implicit&ASSUME_ROLE={odd},{B}"));
    assert_eq!(arns(&uri), [odd, B]);
    let uri = s3(&format!("s3://b?AUTH=implicit&ASSUME_ROLE={A};external_id=x,y:1,z=,{B}"));
    assert_eq!(arns(&uri), [A, B]);
    assert_eq!(uri.roles[0].external_id.as_ref().map(Hashed::expose), Some("x,y:1,z="));
}

/// Case 14.
#[test]
fn a_role_that_is_none_is_named_by_its_place() {
    let wrong = [
        "arn:aws:iam::123456789012:user/u",
        "arn:aws:iam::12345:role/short",
        "arn:aws:sts::123456789012:assumed-role/r/s",
        "not%20an%20arn",
        "some:thing",
        "arn:aws:iam::123456789012:role/",
        "arn:aws:iam::123456789012:role/a+b",
    ];
    for item in wrong {
        let text = format!("s3://b?AUTH=implicit&ASSUME_ROLE={A},{item},{C}");
        let refusal = refused(&text, Purpose::Storage, "role 2 of 3 is not the ARN of a role");
        assert!(refusal.hint.is_some_and(|hint| hint.contains("arn:aws:iam::123456789012:role/name")));
    }
    refused(
        &format!("s3://b?AUTH=implicit&ASSUME_ROLE={A},"),
        Purpose::Storage,
        "role 2 of 2 is not the ARN of a role",
    );
    refused(
        &format!("s3://b?AUTH=implicit&ASSUME_ROLE={A},,{B}"),
        Purpose::Storage,
        "role 1 of 2 is not the ARN of a role",
    );
    let accounts =
        "gs://b?AUTH=implicit&ASSUME_ROLE=a@p.iam.gserviceaccount.com,b,c@p.iam.gserviceaccount.com";
    refused(accounts, Purpose::Storage, "role 2 of 3 is not a service account");
    let id = format!("s3://b?AUTH=implicit&ASSUME_ROLE={A};external_id=x");
    refused(&id, Purpose::Storage, "the external id of role 1 of 1 in ASSUME_ROLE is not valid");
    let other = format!("s3://b?AUTH=implicit&ASSUME_ROLE={A};session=hunter2");
    let said = "role 1 of 1 in ASSUME_ROLE is followed by something that is not an external id";
    refused(&other, Purpose::Storage, said);
}

#[test]
fn no_more_roles_are_chained_than_there_may_be() {
    let chain = |length: usize| format!("s3://b?AUTH=implicit&ASSUME_ROLE={}", vec![A; length].join(","));
    assert_eq!(s3(&chain(8)).roles.len(), 8);
    let refusal = parse(&chain(9), Purpose::Storage).unwrap_err();
    assert_eq!(refusal.message, "ASSUME_ROLE names 9 roles, and at most 8 can be chained");
    assert_eq!(refusal.code.as_str(), "54000");
}

/// Case 16.
#[test]
fn a_raw_semicolon_is_never_dropped() {
    let raw = s3(&format!("s3://b?ASSUME_ROLE={A};external_id=id-7&AUTH=implicit"));
    assert_eq!(raw.roles[0].external_id.as_ref().map(Hashed::expose), Some("id-7"));
    assert_eq!(raw, s3(&format!("s3://b?AUTH=implicit&ASSUME_ROLE={A}%3Bexternal_id%3Did-7")));
}

/// Case 17: the URI's part. One call for both is the chain's.
#[test]
fn service_accounts_are_delegates_and_a_target() {
    let text = "gs://b?AUTH=implicit&ASSUME_ROLE=a@p.iam.gserviceaccount.com,b@p.iam.gserviceaccount.com";
    let uri = gs(text);
    let roles: Vec<_> = uri.roles.iter().map(|role| role.as_str()).collect();
    assert_eq!(roles, ["a@p.iam.gserviceaccount.com", "b@p.iam.gserviceaccount.com"]);
    let encoded =
        "gs://b?AUTH=implicit&ASSUME_ROLE=a%40p.iam.gserviceaccount.com%2Cb%40p.iam.gserviceaccount.com";
    assert_eq!(uri, gs(encoded));
}

/// Case 19.
#[test]
fn credentials_are_base64_of_a_key() {
    let start = "error getting credentials from CREDENTIALS: decoding value of CREDENTIALS: ";
    refused(
        "gs://b?CREDENTIALS=!!hunter2!!",
        Purpose::Storage,
        &format!("{start}it is not the base64 of a text"),
    );
    refused(
        "gs://b?CREDENTIALS=aHVudGVyMg==",
        Purpose::Storage,
        &format!("{start}it is not the JSON of a key"),
    );
    let missing = "CREDENTIALS or BEARER_TOKEN must be set if \"AUTH\" is \"specified\"";
    refused("gs://b", Purpose::Storage, missing);
    let GcpAuth::Key(key) = gs(&format!("gs://b?CREDENTIALS={CREDENTIALS}")).auth else { panic!("no key") };
    assert_eq!(key.expose(), r#"{"type":"service_account"}"#);
    assert!(matches!(gs("gs://b?BEARER_TOKEN=ya29.x").auth, GcpAuth::Token(_)));
}

/// Case 20.
#[test]
fn azure_has_no_roles() {
    let text = "azure-blob://c/p?AUTH=implicit&AZURE_ACCOUNT_NAME=acct&ASSUME_ROLE=x";
    refused(text, Purpose::Storage, "unknown azure query parameters: ASSUME_ROLE");
    let missing = |name: &str| format!("azure uri missing \"{name}\" parameter");
    refused("azure://c", Purpose::Storage, &missing("AZURE_ACCOUNT_NAME"));
    refused("azure://c?AZURE_ACCOUNT_NAME=acct", Purpose::Storage, &missing("AZURE_ACCOUNT_KEY"));
    let client = "azure://c?AZURE_ACCOUNT_NAME=acct&AZURE_CLIENT_ID=i&AZURE_TENANT_ID=t";
    refused(client, Purpose::Storage, &missing("AZURE_CLIENT_SECRET"));
    let Uri::Azure(azure) = storage(&format!("{client}&AZURE_CLIENT_SECRET=s")) else { panic!("no azure") };
    assert!(matches!(azure.auth, AzureAuth::Client { .. }));
    assert_eq!(azure.environment, "AzurePublicCloud");
    let Uri::Azure(azure) = storage("azure-storage://c?AZURE_ACCOUNT_NAME=acct&AZURE_ACCOUNT_KEY=a2V5")
    else {
        panic!("no azure")
    };
    assert!(matches!(azure.auth, AzureAuth::Key(_)));
    let managed = storage("azure://c?AUTH=implicit&AZURE_ACCOUNT_NAME=acct&AZURE_CLIENT_ID=i");
    assert_eq!(needed(&managed), Some("azure".to_owned()));
}

/// Case 22.
#[test]
fn encryption_is_of_two_kinds() {
    let text = "unsupported server encryption mode foo. Supported values are `aws:kms` and `AES256`.";
    refused("s3://b?AUTH=implicit&AWS_SERVER_ENC_MODE=foo", Purpose::Storage, text);
    let text = "AWS_SERVER_KMS_ID param must be set when using aws:kms server side encryption mode.";
    refused("s3://b?AUTH=implicit&AWS_SERVER_ENC_MODE=aws:kms", Purpose::Storage, text);
    let uri = s3("s3://b?AUTH=implicit&AWS_SERVER_ENC_MODE=aws%3Akms&AWS_SERVER_KMS_ID=k-1");
    assert_eq!(uri.encryption, Some(S3Encryption::Kms { key: "k-1".to_owned() }));
    let class =
        |name: &str| s3(&format!("s3://b?AUTH=implicit&S3_STORAGE_CLASS={name}")).storage_class.unwrap();
    assert!(
        class("GLACIER_IR").reads_back()
            && !class("GLACIER").reads_back()
            && !class("DEEP_ARCHIVE").reads_back()
    );
    refused("s3://b?AUTH=implicit&S3_STORAGE_CLASS=ICE", Purpose::Storage, "unsupported storage class ICE");
}

/// Case 23.
#[test]
fn a_key_of_aws_has_a_region() {
    refused("aws:///key?AUTH=implicit", Purpose::Kms, "could not find the aws kms region");
    let text = format!("aws-kms:///alias/k?AUTH=implicit&REGION=eu-west-1&ASSUME_ROLE={A}");
    let Uri::AwsKms(kms) = parse(&text, Purpose::Kms).unwrap() else { panic!("no key") };
    assert_eq!((kms.key.as_str(), kms.region.as_str(), kms.roles.len()), ("alias/k", "eu-west-1", 1));
    let empty = "path component of the KMS cannot be empty; must contain the Customer Managed Key";
    refused("aws:///?AUTH=implicit&REGION=r", Purpose::Kms, empty);
}

#[test]
fn a_key_of_google_is_a_key_under_both_schemes() {
    let key = "projects/p/locations/l/keyRings/r/cryptoKeys/k";
    let meant = parse(&format!("gcp-kms:///{key}?AUTH=implicit"), Purpose::Kms).unwrap();
    for text in
        [format!("gs:///{key}?AUTH=implicit"), format!("gs:///{key}/cryptoKeyVersions/7?AUTH=implicit")]
    {
        assert_eq!(parse(&text, Purpose::Kms).unwrap(), meant);
        assert_eq!(parse(&text, Purpose::Connection).unwrap(), meant);
    }
    assert_eq!(
        (kind(&format!("gs:///{key}")), kind("aws:///k"), kind("gs://b/k")),
        ("KMS", "KMS", "STORAGE")
    );
    assert_eq!((meant.kind(), needed(&meant)), ("KMS", Some("gcp-kms".to_owned())));
    refused("gcp-kms:///k?AUTH=implicit", Purpose::Kms, "path component of the KMS URI does not name a key");
}

/// Case 25.
#[test]
fn an_external_connection_has_a_name() {
    let text = "host component of an external URI must refer to an existing External Connection object: external:///p";
    refused("external:///p", Purpose::Storage, text);
}

/// Cases 26, 43, 44: what a URI says of the connection, which is looked up and decided elsewhere.
#[test]
fn what_names_a_connection_needs_that_and_nothing_else() {
    for purpose in [Purpose::Storage, Purpose::Kms, SINK] {
        let uri = parse("external://missing/p/q", purpose).unwrap();
        let connection = Some(Name::normalize("missing"));
        let access = UriAccess { provider: "external".to_owned(), connection, ..UriAccess::default() };
        assert_eq!(uri.access(), access);
    }
    let Uri::External(external) = storage("external://a%2Fb%20c./%2F") else { panic!("no connection") };
    assert_eq!((external.name.as_str(), external.path.as_str()), ("a/b c.", ""));
    refused("external://a", Purpose::Connection, "an external connection cannot name another one");
}

/// Case 28.
#[test]
fn a_connection_is_used_for_what_it_is() {
    let kms = parse("aws:///k?AUTH=implicit&REGION=r", Purpose::Connection).unwrap();
    let message = |uri: &Uri, purpose| uri.fits(purpose).unwrap_err().message;
    assert_eq!(message(&kms, Purpose::Storage), "STORAGE cannot use object of type KMS");
    assert_eq!(message(&kms, SINK), "SINK cannot use object of type KMS");
    let kafka = parse("kafka://h", Purpose::Connection).unwrap();
    assert_eq!(message(&kafka, Purpose::Storage), "STORAGE cannot use object of type kafka");
    assert_eq!(message(&storage("nodelocal://1/p"), Purpose::Kms), "KMS cannot use object of type STORAGE");
    let pubsub = parse("gcpubsub://p?AUTH=implicit", Purpose::Connection).unwrap();
    assert_eq!(message(&pubsub, SINK), "region query parameter not found");
}

/// Case 29.
#[test]
fn backups_do_not_go_to_http() {
    for scheme in ["http", "https"] {
        let text = format!(
            "unsupported storage scheme: \"{scheme}\" - refer to docs to find supported storage schemes"
        );
        refused(&format!("{scheme}://h/p"), Purpose::Storage, &text);
    }
    let uri = parse("https://h:8443/p?topic_prefix=x&sig=S3CR3T&b", SINK).unwrap();
    let Uri::Http(http) = &uri else { panic!("{uri:?}") };
    assert_eq!(http.url.expose(), "https://h:8443/p?sig=S3CR3T&b");
    assert_eq!((needed(&uri), uri.redacted().as_str()), (Some("http".to_owned()), "file-https://redacted"));
}

/// Case 31.
#[test]
fn pubsub_has_a_region_or_no_order() {
    refused("gcpubsub://p?AUTH=implicit", SINK, "region query parameter not found");
    let uri = parse("gcpubsub://p?AUTH=implicit", Purpose::Sink { unordered: true }).unwrap();
    let Uri::PubSub(pubsub) = &uri else { panic!("{uri:?}") };
    assert_eq!((pubsub.project.as_str(), &pubsub.region), ("p", &None));
    refused("gcpubsub://?region=r", SINK, "missing project name");
    refused("gcpubsub://p?region=r", SINK, "missing credentials parameter");
}

/// Case 32.
#[test]
fn pubsub_has_no_topic_prefix() {
    let text = "gcpubsub://p?AUTH=implicit&region=r&topic_prefix=x";
    refused(text, SINK, "unknown pubsub sink query parameters: topic_prefix");
}

/// Case 34.
#[test]
fn a_login_to_kafka_has_to_be_enabled() {
    for value in ["sasl_enabled=false&", ""] {
        let text = format!("kafka://h?{value}sasl_user=u");
        refused(&text, SINK, "sasl_enabled must be enabled if sasl_user is provided");
    }
    let handshake = "sasl_enabled must be enabled to configure SASL handshake behavior";
    refused("kafka://h?sasl_handshake=false", SINK, handshake);
    refused(
        "kafka://h?sasl_mechanism=PLAIN",
        SINK,
        "sasl_enabled must be enabled to configure SASL mechanism",
    );
    refused("kafka://h?sasl_enabled=maybe", SINK, "param sasl_enabled must be a bool");
    let tls = "kafka://h?tls_enabled=true&sasl_enabled=true";
    refused(tls, SINK, "sasl_user must be provided when SASL is enabled");
    refused(
        "kafka://h?sasl_enabled=true&sasl_user=u&sasl_password=p",
        SINK,
        "sasl_enabled requires tls_enabled=true",
    );
    let mechanisms = "AWS_MSK_IAM, OAUTHBEARER, PLAIN, SCRAM-SHA-256, or SCRAM-SHA-512";
    let text = format!("{tls}&sasl_mechanism=X");
    refused(&text, SINK, &format!("param sasl_mechanism must be one of {mechanisms}"));
    let text = format!("{tls}&sasl_user=u&sasl_password=p&sasl_client_id=c");
    refused(&text, SINK, "sasl_client_id is only a valid parameter for sasl_mechanism=OAUTHBEARER");
    let text = format!("{tls}&sasl_mechanism=AWS_MSK_IAM&sasl_aws_region=r&sasl_aws_iam_session_name=s");
    let missing = "sasl_aws_iam_role_arn must be provided when SASL is enabled using mechanism AWS_MSK_IAM";
    refused(&text, SINK, missing);
    let msk = parse(&format!("{text}&sasl_aws_iam_role_arn={A}"), SINK).unwrap();
    let access = msk.access();
    assert_eq!((needed(&msk), access.roles[0].as_str()), (Some("kafka".to_owned()), A));
}

#[test]
fn kafka_has_brokers_and_certificates() {
    let uri = kafka("kafka://a,b:9093,[::1]:9094?topic_name=t&topic_prefix=p_").unwrap();
    let brokers: Vec<_> = uri.brokers.iter().map(|broker| (broker.host.as_str(), broker.port)).collect();
    assert_eq!(brokers, [("a", 9092), ("b", 9093), ("[::1]", 9094)]);
    assert!(uri.tls.is_none() && uri.sasl.is_none());
    let brokers = "host component of the kafka URI must be host:port, or several with commas between them";
    for text in ["kafka://", "kafka://a:x", "kafka://a,,b", "kafka://a:70000"] {
        refused(text, SINK, brokers);
    }
    refused("kafka://h?ca_cert=!", SINK, "param ca_cert must be base 64 encoded");
    refused("kafka://h?ca_cert=Zm9v", SINK, "ca_cert requires tls_enabled=true");
    refused("kafka://h?tls_enabled=true&client_cert=Zm9v", SINK, "client_cert requires client_key to be set");
    refused("kafka://h?tls_enabled=true&client_key=Zm9v", SINK, "client_key requires client_cert to be set");
    let uri = kafka("kafka://h?tls_enabled=true&client_key=Zm9v&client_cert=Zm9v").unwrap();
    assert_eq!(uri.tls.unwrap().client.unwrap().key.expose(), "foo");
    refused("kafka://h?auth=x", SINK, "unknown kafka sink query parameters: auth");
}

/// Case 35.
#[test]
fn webhooks_are_https() {
    refused("webhook-http://h/p", SINK, "this sink requires https");
    let uri = parse("webhook-https://h/p?token=S3CR3T&insecure_tls_skip_verify=true", SINK).unwrap();
    let Uri::Webhook(webhook) = &uri else { panic!("{uri:?}") };
    assert_eq!(webhook.url.expose(), "https://h/p?token=S3CR3T");
    assert!(webhook.tls.skip_verify);
    assert_eq!((needed(&uri), uri.redacted().as_str()), (None, "webhook-https://redacted"));
    refused("webhook-https://h?client_cert=Zm9v", SINK, "client_cert requires client_key to be set");
}

/// Case 37.
#[test]
fn a_node_may_forbid_what_is_outside() {
    let parse = |text: &str, purpose, settings: &NodeSettings| {
        let refusal = Uri::parse(text, purpose, settings).expect_err(text);
        assert_eq!(refusal.code.as_str(), "22023");
        refusal.message
    };
    let no_http = NodeSettings { http_disabled: true, ..here() };
    let endpoint = "s3://b?AUTH=implicit&AWS_ENDPOINT=http://minio:9000";
    let text = "custom endpoints disallowed for s3 due to --external-io-disable-http flag";
    assert_eq!(parse(endpoint, Purpose::Storage, &no_http), text);
    assert_eq!(parse("https://h/p", SINK, &no_http), "external http access disabled");
    let no_implicit = NodeSettings { implicit_credentials_disabled: true, ..here() };
    for scheme in ["s3", "gs"] {
        let text = format!(
            "implicit credentials disallowed for {scheme} due to --external-io-disable-implicit-credentials flag"
        );
        assert_eq!(parse(&format!("{scheme}://b?AUTH=implicit"), Purpose::Storage, &no_implicit), text);
    }
    assert!(Uri::parse(&format!("s3://b?{KEYS}"), Purpose::Storage, &no_implicit).is_ok());
    let nothing = NodeSettings { outbound_disabled: true, ..here() };
    assert_eq!(parse(endpoint, Purpose::Storage, &nothing), "external network access is disabled");
    let text = "Outbound IO is disabled by configuration, cannot create changefeed into kafka";
    assert_eq!(parse("kafka://h", SINK, &nothing), text);
    let kms = "aws:///k?AUTH=implicit&REGION=r";
    assert_eq!(parse(kms, Purpose::Kms, &nothing), "external IO must be enabled to use AWS KMS");
    assert!(Uri::parse("nodelocal://1/p", Purpose::Storage, &nothing).is_ok());
    let nowhere = NodeSettings { external_io_dir: None, ..here() };
    assert_eq!(parse("nodelocal://1/p", Purpose::Storage, &nowhere), "local file access is disabled");
}

/// Case 38.
#[test]
fn other_schemes_are_not_supported() {
    let text = "unsupported storage scheme: \"ftp\" - refer to docs to find supported storage schemes";
    refused("ftp://h/p", Purpose::Storage, text);
    refused("ftp://h/p", Purpose::Connection, text);
    refused("ftp://h", SINK, "unsupported sink: ftp");
    refused("s3://h?AUTH=implicit", Purpose::Kms, "unsupported KMS scheme: \"s3\"");
    refused("no scheme", Purpose::Storage, "URI has no scheme");
}

/// Case 40.
#[test]
fn a_locality_is_not_a_leftover() {
    for uri in ["s3://b/p?AUTH=implicit", "gs://b/p?AUTH=implicit", "nodelocal://1/p?", "external://c/p?"] {
        assert_eq!(storage(&format!("{uri}&COCKROACH_LOCALITY=region%3Dus-east1")), storage(uri));
    }
}

/// Case 41: what a URI needs, as data.
#[test]
fn what_a_uri_needs_is_what_it_uses_of_the_node() {
    let needed = |text: &str, purpose| needed(&parse(text, purpose).unwrap());
    let of = |text: &str| needed(text, Purpose::Storage);
    let some = |provider: &str| Some(provider.to_owned());
    assert_eq!(of("s3://b?AUTH=implicit"), some("s3"));
    assert_eq!(of("gs://b?AUTH=implicit"), some("gs"));
    assert_eq!(of("nodelocal://self/p"), some("nodelocal"));
    assert_eq!(of(&format!("s3://b?{KEYS}&AWS_ENDPOINT=minio:9000")), some("s3"));
    assert_eq!(of(&format!("s3://b?{KEYS}&ASSUME_ROLE={A}")), None);
    assert_eq!(of(&format!("gs://b?CREDENTIALS={CREDENTIALS}")), None);
    assert_eq!(of("null://"), None);
    assert_eq!(needed("kafka://h", SINK), None);
    assert_eq!(needed("aws:///k?AUTH=implicit&REGION=r", Purpose::Kms), some("aws-kms"));
    // USAGE on a role leads to what the node is, and not to an endpoint that somebody names.
    let access = storage("s3://b?AUTH=implicit&AWS_ENDPOINT=minio:9000").access();
    assert!(access.implicit && access.only_nodes);
    let access = storage("nodelocal://self/p").access();
    assert!(!access.implicit && access.only_nodes);
}

#[test]
fn local_files_are_of_a_node_and_below_its_directory() {
    let node = |text: &str| match storage(text) {
        Uri::Nodelocal(Nodelocal { node, path, .. }) => (node, path),
        other => panic!("{other:?}"),
    };
    assert_eq!(node("nodelocal://self/a//b/./c/"), (None, "a/b/c".to_owned()));
    assert_eq!(node("nodelocal://12"), (Some(12), String::new()));
    let missing = "host component of nodelocal URI must be a node ID \
                   (use 'self' to specify each node should access its own local filesystem): nodelocal:///p";
    refused("nodelocal:///p", Purpose::Storage, missing);
    let wrong = "host component of nodelocal URI must be a node ID: nodelocal://x1/p";
    refused("nodelocal://x1/p", Purpose::Storage, wrong);
    let outside = "local file access to paths outside of external-io-dir is not allowed: ";
    for path in ["/../p", "/a/%2e%2E/b", "/a/%2e./b"] {
        refused(&format!("nodelocal://1{path}"), Purpose::Storage, &format!("{outside}{path}"));
    }
    refused("nodelocal://1/p?AUTH=implicit", Purpose::Storage, "unknown nodelocal query parameters: AUTH");
}

#[test]
fn no_path_leads_out_of_what_was_granted() {
    for path in ["a/../b", "..", "a/%2e%2e", "a%2F..%2Fb"] {
        let text = "the path of the URI has .., which could lead out of what was granted";
        refused(&format!("s3://b/{path}?AUTH=implicit"), Purpose::Storage, text);
        refused(&format!("external://c/{path}"), Purpose::Storage, text);
    }
    let connection = storage("s3://b/granted?AUTH=implicit");
    let Uri::External(external) = storage("external://c//x/./y/") else { panic!("no connection") };
    assert_eq!(connection.within(&external.path).unwrap(), storage("s3://b/granted/x/y?AUTH=implicit"));
    assert!(parse("kafka://h", SINK).unwrap().within("x").is_err());
}

#[test]
fn userfiles_are_understood_and_refused() {
    let Uri::Userfile(file) = parse("userfile://db.public.t/p", Purpose::Connection).unwrap() else {
        panic!("no file")
    };
    assert_eq!((file.table.as_deref(), file.path.as_str()), (Some("db.public.t"), "p"));
    let refusal = parse("userfile:///p", Purpose::Storage).unwrap_err();
    assert_eq!(
        (refusal.message.as_str(), refusal.code.as_str()),
        ("userfile storage is not supported", "0A000")
    );
}

#[test]
fn a_plus_is_a_blank_but_in_a_secret_access_key() {
    let uri = s3("s3://b?AWS_ACCESS_KEY_ID=A1&AWS_SECRET_ACCESS_KEY=a+b%2Bc%20d");
    let AwsAuth::Keys(keys) = uri.auth else { panic!("no keys") };
    assert_eq!(keys.secret_access_key.expose(), "a+b+c+d");
    let token = format!("s3://b?{KEYS}&AWS_SESSION_TOKEN=a+b");
    assert_eq!(
        refused(&token, Purpose::Storage, "AWS_SESSION_TOKEN has a blank").hint.unwrap(),
        "a + in a value is written %2B"
    );
    let token = s3(&format!("s3://b?{KEYS}&AWS_SESSION_TOKEN=a%2Bb"));
    assert!(
        matches!(token.auth, AwsAuth::Keys(keys) if keys.session_token.as_ref().map(Hashed::expose) == Some("a+b"))
    );
}

#[test]
fn what_has_two_meanings_has_none() {
    let twice = "s3://b?AUTH=implicit&AUTH=specified";
    refused(twice, Purpose::Storage, "parameter AUTH is given more than once");
    refused("s3://b#x?AUTH=implicit", Purpose::Storage, "URI has a fragment, which means nothing");
    let user = "URI has user information before an @, which is not used";
    refused("s3://key:S3CR3T@b?AUTH=implicit", Purpose::Storage, user);
    refused("webhook-https://u:S3CR3T@h/p", SINK, user);
    let percent = "the value of parameter AWS_REGION is not percent-encoded UTF-8";
    for value in ["%", "%4", "%zz", "%ff"] {
        refused(&format!("s3://b?AUTH=implicit&AWS_REGION={value}"), Purpose::Storage, percent);
    }
    refused(
        "s3://b?AUTH=implicit&AWS_ENDPOINT=http://u:p@h",
        Purpose::Storage,
        "AWS_ENDPOINT is not the URL of a service",
    );
}

#[test]
fn files_of_changefeeds_have_parameters_that_backups_have_not() {
    let text = "s3://b?AUTH=implicit&file_size=32MB&partition_format=hourly&topic_prefix=x";
    let Uri::S3(uri) = parse(text, SINK).unwrap() else { panic!("no bucket") };
    let files = FileSink {
        file_size: Some(32_000_000),
        partition: Partition::Hourly,
        topic_prefix: Some("x".to_owned()),
    };
    assert_eq!(uri.files, files);
    let unknown = "unknown S3 query parameters: file_size, partition_format, topic_prefix";
    refused(text, Purpose::Storage, unknown);
    refused("s3://b?AUTH=implicit&partition_format=weekly", SINK, "invalid partition_format of weekly");
    refused("s3://b?AUTH=implicit&file_size=0", SINK, "invalid file_size");
}

/// Cases 101, 103.
#[test]
fn what_is_shown_is_sorted_and_has_no_secret() {
    let shown = |text: &str| storage(text).redacted();
    let text = format!(
        "s3://b/p?{KEYS}&AWS_SESSION_TOKEN=S3CR3T&ASSUME_ROLE={A};external_id=S3CR3T,{B}&AWS_REGION=eu"
    );
    let expected = format!(
        "s3://b/p?ASSUME_ROLE={A};external_id=redacted,{B}&AUTH=specified&AWS_ACCESS_KEY_ID=redacted\
         &AWS_REGION=eu&AWS_SECRET_ACCESS_KEY=redacted&AWS_SESSION_TOKEN=redacted"
    );
    assert_eq!(shown(&text), expected);
    assert_eq!(format!("{:?}", storage(&text)), format!("Uri({expected})"));
    let azure =
        "azure://c?AZURE_ACCOUNT_NAME=a&AZURE_CLIENT_ID=i&AZURE_TENANT_ID=t&AZURE_CLIENT_SECRET=S3CR3T";
    let expected = "azure-blob://c?AUTH=specified&AZURE_ACCOUNT_NAME=a&AZURE_CLIENT_ID=redacted\
                    &AZURE_CLIENT_SECRET=redacted&AZURE_TENANT_ID=redacted";
    assert_eq!(shown(azure), expected);
    let kafka = "kafka://h?tls_enabled=true&sasl_enabled=true&sasl_mechanism=OAUTHBEARER&sasl_client_id=i\
                 &sasl_client_secret=UzNDUjNU&sasl_token_url=https://t/S3CR3T";
    let expected = "kafka://h:9092?sasl_client_id=redacted&sasl_client_secret=redacted&sasl_enabled=true\
                    &sasl_mechanism=OAUTHBEARER&sasl_token_url=redacted&tls_enabled=true";
    assert_eq!(parse(kafka, SINK).unwrap().redacted(), expected);
}

/// Whose URI it is to a refusal, if it needs more than what it says.
fn needed(uri: &Uri) -> Option<String> {
    let access = uri.access();
    (access.implicit || access.only_nodes).then_some(access.provider)
}
