//! What texts of others lose, and what they keep.

use super::*;

#[test]
fn what_sdks_and_services_say_keeps_its_sense_and_loses_its_secrets() {
    let rows = [
        (
            "AccessDenied: User: arn:aws:sts::123456789012:assumed-role/node/i-0abc is not authorized to perform: \
             sts:AssumeRole on resource: arn:aws:iam::123456789012:role/backup (request id 7f3c9a1e-9d2b-4c55-8a11-0123456789ab)",
            None,
        ),
        ("ExpiredToken: The security token included in the request is expired", None),
        (
            "InvalidAccessKeyId: AKIAIOSFODNN7EXAMPLE does not exist",
            Some("InvalidAccessKeyId: redacted does not exist"),
        ),
        ("ASIAIOSFODNN7EXAMPLE/20260101/eu/s3/aws4_request", Some("redacted/20260101/eu/s3/aws4_request")),
        ("key wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY refused", Some("key redacted refused")),
        (
            "AWS_SECRET_ACCESS_KEY=hunter2 in the environment",
            Some("AWS_SECRET_ACCESS_KEY=redacted in the environment"),
        ),
        (
            r#"{"SecretAccessKey" : "hunter2","Expiration":"now"}"#,
            Some(r#"{"SecretAccessKey" : "redacted","Expiration":"now"}"#),
        ),
        ("<SecretAccessKey>hunter2</SecretAccessKey>", Some("<SecretAccessKey>redacted</SecretAccessKey>")),
        (
            r#"{\"access_token\":\"hunter2\",\"expires_in\":1}"#,
            Some(r#"{\"access_token\":\"redacted\",\"expires_in\":1}"#),
        ),
        ("x-amz-security-token: hunter2\nhost: h", Some("x-amz-security-token: redacted\nhost: h")),
        (
            "Authorization: AWS4-HMAC-SHA256 Credential=A/b, SignedHeaders=host, Signature=0f\nhost: h",
            Some("Authorization: redacted\nhost: h"),
        ),
        ("sent Bearer abcdefgh12345 to it", Some("sent Bearer redacted to it")),
        ("token ya29.a0AfH6SMB_x-y is over", Some("token redacted is over")),
        ("jwt eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJ4In0.c2ln is over", Some("jwt redacted is over")),
        ("-----BEGIN PRIVATE KEY-----\nMIIE\n-----END PRIVATE KEY-----\nend", Some("redacted\nend")),
        ("-----BEGIN RSA PRIVATE KEY-----\\nMIIE", Some("redacted")),
        ("sa ewogICJ0eXBlIjogInNlcnZpY2VfYWNjb3VudCIK%2B== bad", Some("sa redacted bad")),
        (
            "error sending request for url (https://sts.eu-west-1.amazonaws.com/?Action=AssumeRole&ExternalId=hunter2)",
            Some("error sending request for url (https://sts.eu-west-1.amazonaws.com/?redacted)"),
        ),
        (
            "POST https://hooks.example:8443/T0/hunter2?x=1 failed",
            Some("POST https://hooks.example:8443/redacted failed"),
        ),
        ("https://amy:hunter2@h/p", Some("https://redacted")),
        ("cannot be used: nodelocal://2: it is elsewhere, see https://h:8443.", None),
        (
            "/b/k?X-Amz-Credential=hunter2&X-Amz-Date=1&X-Amz-Signature=0f",
            Some("/b/k?X-Amz-Credential=redacted&X-Amz-Date=1&X-Amz-Signature=redacted"),
        ),
    ];
    for (written, expected) in rows {
        assert_eq!(text(written), expected.unwrap_or(written));
    }
}

/// Cases 104, 106: URIs and options inside a statement's text.
#[test]
fn a_statement_keeps_its_form() {
    let statement = "CREATE CHANGEFEED FOR t INTO 's3://b/p?AWS_SECRET_ACCESS_KEY=hunter2&AUTH=specified&hunter2' \
                     WITH webhook_auth_header = 'Basic hunter2', updated";
    let expected = "CREATE CHANGEFEED FOR t INTO 's3://b/p?AUTH=specified&AWS_SECRET_ACCESS_KEY=redacted&redacted=redacted' \
                    WITH webhook_auth_header = 'redacted', updated";
    assert_eq!(text(statement), expected);
    let statement = "BACKUP INTO 'webhook-https://h/hunter2' WITH encryption_passphrase='hunter2', kms = 'aws:///hunter2?REGION=r'";
    let expected = "BACKUP INTO 'webhook-https://redacted' WITH encryption_passphrase='redacted', kms = 'aws:///redacted?REGION=r'";
    assert_eq!(text(statement), expected);
}

/// What SHOW EXTERNAL CONNECTIONS shows.
#[test]
fn of_a_uri_only_what_is_known_to_be_harmless_is_shown() {
    let rows = [
        (
            "s3://bucket/path?AWS_ACCESS_KEY_ID=SESAME&AWS_SECRET_ACCESS_KEY=SESAME&AWS_REGION=eu-west-1",
            "s3://bucket/path?AWS_ACCESS_KEY_ID=redacted&AWS_REGION=eu-west-1&AWS_SECRET_ACCESS_KEY=redacted",
        ),
        ("nodelocal://1/backups", "nodelocal://1/backups"),
        ("gs://bucket?AUTH=implicit", "gs://bucket?AUTH=implicit"),
        ("kafka://amy:SESAME@host:9092?topic_prefix=x", "kafka://redacted@host:9092?topic_prefix=x"),
        ("kafka://amy:SES/AME@host:9092", "kafka://redacted@host:9092"),
        ("kafka://a@SESAME@host", "kafka://redacted@host"),
        ("kafka://amy:SESAME?x@host:9092", "kafka://redacted?redacted=redacted"),
        ("kafka://amy:SESAME#x@host:9092", "kafka://redacted"),
        ("kafka://amy:SESAME", "kafka://redacted"),
        ("webhook-https://hooks.example/T0/SESAME", "webhook-https://redacted"),
        ("s3://bucket?aws_secret_access_key=SESAME", "s3://bucket?redacted=redacted"),
        ("s3://bucket?SESAME", "s3://bucket?redacted=redacted"),
        ("s3://bucket?AWS_ENDPOINT=https://a:SESAME@h", "s3://bucket?AWS_ENDPOINT=redacted"),
        ("s3://bucket#SESAME", "s3://bucket"),
        ("s3://bucket?ASSUME_ROLE=SESAME", "s3://bucket?ASSUME_ROLE=redacted"),
        (
            "gs://b?ASSUME_ROLE=a@p.iam.gserviceaccount.com&AUTH=implicit",
            "gs://b?ASSUME_ROLE=a@p.iam.gserviceaccount.com&AUTH=implicit",
        ),
        ("aws:///SESAME?REGION=eu", "aws:///redacted?REGION=eu"),
        ("SESAME://bucket", "redacted"),
        ("SESAME", "redacted"),
    ];
    for (written, shown) in rows {
        let made = uri(written);
        assert_eq!(made, shown);
        assert!(!made.contains("SESAME"), "{made}");
    }
}

#[test]
fn names_are_not_taken_for_keys() {
    for name in [
        "CrdbDisasterRecoveryStoreUserRoleForProduction2024",
        "grantd-0a1b2c3d-1",
        "550e8400-e29b-41d4-a716-446655440000",
    ] {
        assert_eq!(text(name), name);
    }
}

/// Case 106: what a syntax error repeats.
#[test]
fn a_text_of_ours_repeats_no_secret_and_keeps_its_words() {
    let rows = [
        ("at or near \"token\": syntax error", None),
        ("column \"password\" does not exist", None),
        ("'s3://b?sasl_password=my hunter2' at or near", Some("'s3://b?sasl_password=redacted' at or near")),
        ("$$s3://b?CREDENTIALS=my hunter2$$", Some("$$s3://b?CREDENTIALS=redacted")),
        ("\"s3:/b?aws_secret_access_key=hunter2&x\"", Some("\"s3:/b?aws_secret_access_key=redacted&x\"")),
        ("near 's3://b?AWS_SECRET_ACCESS_KEY=hunt", Some("near 's3://b?AWS_SECRET_ACCESS_KEY=redacted")),
    ];
    for (written, expected) in rows {
        let made = repeated(written);
        assert_eq!(made, expected.unwrap_or(written));
        assert_eq!(repeated(&made), made, "twice is the same");
    }
}
