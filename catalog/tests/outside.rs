//! Roles of clouds: what they may be called, and what is bounded. What they are for is in `scripts/outside.txt`.

mod common;

use common::*;
use grantd_catalog::command::{Actor, Command, OwnedName, Targets};
use grantd_catalog::id::PrincipalId;
use grantd_catalog::list;
use grantd_catalog::name::Name;
use grantd_catalog::object::IAM_ROLE_BYTES_MAX;

const BACKUP: &str = "arn:aws:iam::123456789012:role/backup";

fn create(name: &str) -> Command {
    Command::CreateIamRole { name: Name::normalize(name), if_not_exists: false }
}

#[test]
fn a_role_is_an_arn_or_an_address_and_keeps_its_letters() {
    let mut world = World::new();
    let long = format!("arn:aws:iam::123456789012:role/{}", "x".repeat(IAM_ROLE_BYTES_MAX - 31));
    for name in [
        BACKUP,
        "arn:aws-us-gov:iam::123456789012:role/path/to/Backup+=,.@-",
        "arn:aws-iso-b:iam::123456789012:role/b:c",
        "Store@shop.iam.gserviceaccount.com",
        "123-compute@developer.gserviceaccount.com",
        &long,
    ] {
        world.ok("root", create(name));
    }
    let names: Vec<_> = list::iam_roles(&world.view, Actor::of(PrincipalId::ROOT));
    assert!(names.iter().any(|row| row.iam_role.as_str() == "Store@shop.iam.gserviceaccount.com"));
    assert_eq!(names.len(), 6);
    for name in [
        "",
        "backup",
        "arn:aws:iam::12345678901:role/backup",
        "arn:aws:iam::12345678901x:role/backup",
        "arn:aws:iam::123456789012:role/",
        "arn:aws:iam::123456789012:user/backup",
        "arn:aws:sts::123456789012:assumed-role/backup/x",
        "arn:awsx:iam::123456789012:role/backup",
        "arn:aws-:iam::123456789012:role/backup",
        "arn:aws:iam:eu-west-1:123456789012:role/backup",
        "arn:aws:iam::123456789012:role/backup;external_id=x",
        "arn:aws:iam::123456789012:role/a b",
        " arn:aws:iam::123456789012:role/backup",
        "store@localhost",
        "@shop.iam.gserviceaccount.com",
        "a@b@shop.iam.gserviceaccount.com",
        "a,b@shop.iam.gserviceaccount.com",
        "störe@shop.iam.gserviceaccount.com",
    ] {
        let refused = world.refused("root", create(name));
        assert_eq!(refused, format!("42602 '{name}' is not the name of an IAM role"));
    }
    let refused = world.refused("root", create(&format!("{long}x")));
    assert_eq!(refused, "54000 the name of the IAM role has 641 bytes; at most 640 are allowed");
}

#[test]
fn roles_are_listed_for_who_holds_something_on_them() {
    let mut world = World::new();
    world.ok("root", create_user("amy", ""));
    world.ok("root", create(BACKUP));
    let seen = |world: &World| list::iam_roles(&world.view, Actor::of(world.principal("amy"))).len();
    assert_eq!(seen(&world), 0);
    let on = || Targets::IamRoles(vec![Name::from(BACKUP)]);
    world.ok("root", grant("USAGE", on(), "amy"));
    assert_eq!(seen(&world), 1);
    world.ok("root", revoke("USAGE", on(), "amy"));
    assert_eq!(seen(&world), 0);
}

#[test]
fn what_takes_a_role_away_waits_for_every_node() {
    let name = || Name::from(BACKUP);
    assert!(Command::DropIamRoles { names: vec![name()], if_exists: false }.tightens());
    assert!(revoke("USAGE", Targets::IamRoles(vec![name()]), "amy").tightens());
    assert!(!create(BACKUP).tightens());
    assert!(!grant("USAGE", Targets::IamRoles(vec![name()]), "amy").tightens());
}

#[test]
fn a_role_is_commented_on_by_its_owner_and_is_in_no_schema() {
    let mut world = World::new();
    world.ok("root", create_user("amy", ""));
    world.ok("root", create(BACKUP));
    let object = || OwnedName::IamRole(Name::from(BACKUP));
    let comment = || Command::Comment { on: object(), column: None, text: Some("nightly".to_owned()) };
    assert_eq!(world.refused("amy", comment()), format!("42501 must be owner of iam_role {BACKUP}"));
    world.ok("root", comment());
    let schema = Command::SetSchema { object: object(), if_exists: false, schema: schema_name("s") };
    assert_eq!(world.refused("root", schema), "42809 a iam_role has no schema to set");
}
