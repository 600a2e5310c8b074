//! What may be shown of the URI of an external connection: by a list of what is harmless, so that a secret in an
//! unforeseen place stays one.

use grantd_catalog::object::ConnectionUri;

/// What stands for what is not shown.
const REDACTED: &str = "redacted";

/// Schemes whose host and path name a place, and nothing that lets one in.
const SCHEMES: [&str; 11] = [
    "azure",
    "azure-blob",
    "azure-storage",
    "external",
    "gcs",
    "gs",
    "kafka",
    "nodelocal",
    "null",
    "s3",
    "userfile",
];

/// Schemes that may be named, though what follows may hold a token.
const SCHEMES_ONLY: [&str; 10] = [
    "aws-kms",
    "azure-kms",
    "confluent-cloud",
    "gcp-kms",
    "gcpubsub",
    "http",
    "https",
    "postgres",
    "webhook-http",
    "webhook-https",
];

/// Parameters whose values are shown.
const SHOWN: [&str; 14] = [
    "AUTH",
    "AWS_ENDPOINT",
    "AWS_REGION",
    "AWS_SERVER_ENC_MODE",
    "AZURE_ACCOUNT_NAME",
    "AZURE_ENVIRONMENT",
    "S3_STORAGE_CLASS",
    "insecure_tls_skip_verify",
    "sasl_enabled",
    "sasl_handshake",
    "sasl_mechanism",
    "tls_enabled",
    "topic_name",
    "topic_prefix",
];

/// Parameters whose names are shown.
const NAMED: [&str; 17] = [
    "ASSUME_ROLE",
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SERVER_KMS_ID",
    "AWS_SESSION_TOKEN",
    "AZURE_ACCOUNT_KEY",
    "AZURE_CLIENT_ID",
    "AZURE_CLIENT_SECRET",
    "AZURE_TENANT_ID",
    "BEARER_TOKEN",
    "CREDENTIALS",
    "GOOGLE_BILLING_PROJECT",
    "ca_cert",
    "client_cert",
    "client_key",
    "sasl_password",
    "sasl_user",
];

/// The URI without what is not known to be harmless.
pub fn redacted(uri: &ConnectionUri) -> String {
    let Some((scheme, rest)) = uri.expose().split_once("://") else { return REDACTED.to_owned() };
    if SCHEMES_ONLY.contains(&scheme) {
        return format!("{scheme}://{REDACTED}");
    }
    if !SCHEMES.contains(&scheme) {
        return REDACTED.to_owned();
    }
    // A fragment means nothing in such a URI.
    let rest = rest.split('#').next().unwrap_or_default();
    let (place, query) = match rest.split_once('?') {
        Some((place, query)) => (place, Some(query)),
        None => (rest, None),
    };
    // Whatever stands before an @ lets somebody in, and a password may hold a slash that nobody escaped.
    let place = match place.rsplit_once('@') {
        Some((_, place)) => format!("{REDACTED}@{place}"),
        None => place.to_owned(),
    };
    let query = query.map(|query| query.split('&').map(parameter).collect::<Vec<_>>().join("&"));
    match query {
        Some(query) => format!("{scheme}://{place}?{query}"),
        None => format!("{scheme}://{place}"),
    }
}

/// What can be done with a connection, as SHOW EXTERNAL CONNECTIONS says it.
pub fn kind(uri: &ConnectionUri) -> &'static str {
    match uri.expose().split_once("://") {
        Some((scheme, _)) if scheme.ends_with("-kms") => "KMS",
        _ => "STORAGE",
    }
}

fn parameter(text: &str) -> String {
    let (name, value) = text.split_once('=').unwrap_or((text, ""));
    if SHOWN.contains(&name) {
        format!("{name}={value}")
    } else if NAMED.contains(&name) {
        format!("{name}={REDACTED}")
    } else {
        format!("{REDACTED}={REDACTED}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_known_to_be_harmless_is_shown() {
        let rows = [
            (
                "s3://bucket/path?AWS_ACCESS_KEY_ID=SESAME&AWS_SECRET_ACCESS_KEY=SESAME&AWS_REGION=eu-west-1",
                "s3://bucket/path?AWS_ACCESS_KEY_ID=redacted&AWS_SECRET_ACCESS_KEY=redacted&AWS_REGION=eu-west-1",
            ),
            ("nodelocal://1/backups", "nodelocal://1/backups"),
            ("gs://bucket?AUTH=implicit", "gs://bucket?AUTH=implicit"),
            ("kafka://amy:SESAME@host:9092?topic_prefix=x", "kafka://redacted@host:9092?topic_prefix=x"),
            ("kafka://amy:SES/AME@host:9092", "kafka://redacted@host:9092"),
            ("kafka://a@SESAME@host", "kafka://redacted@host"),
            ("webhook-https://hooks.example/T0/SESAME", "webhook-https://redacted"),
            ("s3://bucket?aws_secret_access_key=SESAME", "s3://bucket?redacted=redacted"),
            ("s3://bucket?SESAME", "s3://bucket?redacted=redacted"),
            ("s3://bucket#SESAME", "s3://bucket"),
            ("SESAME://bucket", "redacted"),
            ("SESAME", "redacted"),
        ];
        for (uri, shown) in rows {
            let made = redacted(&ConnectionUri::new(uri.to_owned()));
            assert_eq!(made, shown);
            assert!(!made.contains("SESAME"), "{made}");
        }
    }
}
