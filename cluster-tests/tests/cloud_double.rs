//! The double of AWS is as strict as AWS: one table of checks, asked of it and of two emulators by others, through the SDK
//! of AWS and object_store. Then its faults, one by one, and the stubs of what gives a machine its identity.

#[path = "cloud_double/faults.rs"]
mod faults;
#[path = "cloud_double/sources.rs"]
mod sources;
#[path = "cloud_double/truth.rs"]
mod truth;
#[path = "cloud_double/world.rs"]
mod world;

use std::sync::Once;

use grantd_cluster_tests::cloud::aws::Aws;
use grantd_cluster_tests::cloud::emulators::{Emulator, Kind};
use grantd_cluster_tests::cloud::token::Issuer;

use truth::{Seen, TABLE, checks, differences};
use world::{ISSUER, Owner, Place, account};

/// object_store's TLS has no provider of its own.
fn crypto() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| drop(rustls::crypto::ring::default_provider().install_default()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_double_says_what_aws_says() {
    crypto();
    let issuer = Issuer::new(ISSUER);
    let (aws, keys) = Aws::of(&account()).await;
    aws.add_issuer(&issuer, &["sts.amazonaws.com"]);
    let place = Place { name: "double", endpoint: aws.endpoint(), keys, owner: Owner::Double(aws) };
    let seen = checks(&place, &issuer).await;
    let differences = differences(TABLE, place.name, &seen);
    assert!(differences.is_empty(), "{differences:#?}");
}

async fn emulator_says(kind: Kind, name: &'static str) {
    crypto();
    let Some(emulator) = Emulator::start(kind).await else { return };
    let issuer = Issuer::new(ISSUER);
    let keys = emulator.add(&account()).await;
    emulator.add_issuer(ISSUER, "sts.amazonaws.com").await;
    let place = Place { name, endpoint: emulator.endpoint(), keys, owner: Owner::Emulator(emulator) };
    let seen = checks(&place, &issuer).await;
    let differences = differences(TABLE, place.name, &seen);
    assert!(differences.is_empty(), "{differences:#?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ministack_says_the_same_but_for_what_is_known() {
    emulator_says(Kind::MiniStack, "ministack").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn moto_says_the_same_but_for_what_is_known() {
    emulator_says(Kind::Moto, "moto").await;
}

#[test]
fn a_double_that_checks_nothing_is_told_apart() {
    let seen: Seen = TABLE.iter().map(|row| (row.check, "ok".to_owned())).collect();
    let refusals = TABLE.iter().filter(|row| row.truth != "ok").count();
    assert_eq!(differences(TABLE, "double", &seen).len(), refusals);
    assert!(refusals > 30, "most checks are of refusals");
}
