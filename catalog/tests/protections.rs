//! Who may protect the change history, and how much of it.

mod common;

use common::*;
use grantd_catalog::command::{Actor, Command, DropBehavior, LIST_MAX};
use grantd_catalog::id::{ObjectId, PrincipalId, Timestamp};
use grantd_catalog::protection::{HOLDER_BYTES_MAX, PROTECTIONS_MAX, Protection, ProtectionId};

const ID: ProtectionId = ProtectionId(7);

fn world() -> World {
    let mut world = World::new();
    world.ok("root", create_user("amy", ""));
    world.ok("root", create_table("t"));
    world
}

fn protect(id: ProtectionId, nanos: u64, tables: Option<Vec<ObjectId>>) -> Command {
    let since = Timestamp { nanos, logical: 0 };
    Command::ProtectHistory { id, protection: Protection { since, tables, holder: "job 7".to_owned() } }
}

#[test]
fn a_protection_is_put_moved_along_and_released() {
    let mut world = world();
    let table = world.table("t");
    assert!(world.ok("root", protect(ID, 5, Some(vec![table, table]))).changed);
    assert!(!world.ok("root", protect(ID, 5, Some(vec![table]))).changed, "the same once more");
    assert!(world.ok("root", protect(ID, 9, Some(vec![table]))).changed);
    let kept: Vec<_> = world.state.protections().map(|(id, kept)| (id, kept.since.nanos)).collect();
    assert_eq!(kept, [(ID, 9)]);
    let kept = world.state.protection(ID).expect("it was put").clone();
    assert!(kept.covers(table) && !kept.covers(ObjectId(table.0 + 1)));
    world.ok("root", objects::drop_tables("t", DropBehavior::Restrict));
    assert!(
        world.state.protection(ID).is_some(),
        "it outlives the table: what was in it is still to be read"
    );
    assert!(world.ok("root", Command::ReleaseHistory { id: ID }).changed);
    assert!(!world.ok("root", Command::ReleaseHistory { id: ID }).changed);
    assert_eq!(world.state.protections().count(), 0);
}

#[test]
fn only_admins_and_the_cluster_itself_protect_history() {
    let mut world = world();
    let text = "42501 only users with the admin role are allowed to protect the change history";
    assert_eq!(world.refused("amy", protect(ID, 5, None)), text);
    world.run_as(Actor::of(PrincipalId::NODE), &protect(ID, 5, None));
    assert!(world.state.protection(ID).is_some_and(|kept| kept.covers(ObjectId(1 << 20))));
    assert_eq!(world.refused("amy", Command::ReleaseHistory { id: ID }), text);
    world.run_as(Actor::of(PrincipalId::NODE), &Command::ReleaseHistory { id: ID });
    assert!(world.state.protection(ID).is_none());
    world.check();
}

#[test]
fn what_is_protected_is_bounded() {
    let mut world = world();
    let table = world.table("t");
    let gone = ObjectId(table.0 + 1);
    let text = format!("42704 object {gone} was concurrently dropped");
    assert_eq!(world.refused("root", protect(ID, 5, Some(vec![table, gone]))), text);
    let many = (0..=u32::try_from(LIST_MAX).expect("small")).map(ObjectId).collect();
    let text = "54000 a protection of the change history cannot have more than 1000 tables";
    assert_eq!(world.refused("root", protect(ID, 5, Some(many))), text);
    let holder = "j".repeat(HOLDER_BYTES_MAX + 1);
    let protection = Protection { since: Timestamp::default(), tables: None, holder };
    let text = "54000 a protection of the change history cannot have a note of more than 256 bytes";
    assert_eq!(world.refused("root", Command::ProtectHistory { id: ID, protection }), text);
    for id in 0..PROTECTIONS_MAX {
        world.run("root", &protect(ProtectionId(u128::try_from(id).expect("small")), 5, None));
    }
    let text = "54000 the change history has 1000 protections, and can have no more";
    assert_eq!(world.refused("root", protect(ProtectionId(u128::MAX), 5, None)), text);
    assert!(world.ok("root", protect(ProtectionId(3), 6, None)).changed, "moving one along needs no room");
}
