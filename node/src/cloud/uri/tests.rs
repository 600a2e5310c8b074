//! What each URI says, by the numbers of the acceptance cases (cloud-jobs specification, H.1), and what no URI says.

use super::*;
use crate::cloud::chain::Hashed;

mod cases;
mod property;

/// Keys that a URI has to have to get past them.
const KEYS: &str = "AWS_ACCESS_KEY_ID=A1&AWS_SECRET_ACCESS_KEY=S3CR3T";
/// `{"type":"service_account"}`.
const CREDENTIALS: &str = "eyJ0eXBlIjoic2VydmljZV9hY2NvdW50In0=";
const SINK: Purpose = Purpose::Sink { unordered: false };

fn here() -> NodeSettings {
    NodeSettings { external_io_dir: Some("extern".into()), ..NodeSettings::nowhere() }
}

fn parse(text: &str, purpose: Purpose) -> Result<Uri, Refusal> {
    Uri::parse(text, purpose, &here())
}

fn storage(text: &str) -> Uri {
    parse(text, Purpose::Storage).unwrap_or_else(|refusal| panic!("{text}: {refusal:?}"))
}

fn s3(text: &str) -> S3 {
    match storage(text) {
        Uri::S3(s3) => s3,
        other => panic!("{other:?}"),
    }
}

fn gs(text: &str) -> Gs {
    match storage(text) {
        Uri::Gs(gs) => gs,
        other => panic!("{other:?}"),
    }
}

fn kafka(text: &str) -> Result<Kafka, Refusal> {
    parse(text, SINK).map(|uri| match uri {
        Uri::Kafka(kafka) => kafka,
        other => panic!("{other:?}"),
    })
}

fn arns(uri: &S3) -> Vec<&str> {
    uri.roles.iter().map(|role| role.arn.as_str()).collect()
}

/// The refusal is this text, with the state for wrong values.
#[track_caller]
fn refused(text: &str, purpose: Purpose, expected: &str) -> Refusal {
    let refusal = parse(text, purpose).expect_err(text);
    assert_eq!((refusal.message.as_str(), refusal.code.as_str()), (expected, "22023"), "{text}");
    refusal
}
