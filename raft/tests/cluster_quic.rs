//! Whole nodes over real QUIC on loopback: what the tests on the network in memory cannot show.

#![allow(missing_docs, reason = "tests")]
#![allow(clippy::unwrap_used, reason = "tests")]

use std::path::Path;
use std::time::Duration;

use grantd_catalog::command::{Actor, Command, NameContext, Outcome, RoleSpec};
use grantd_catalog::id::PrincipalId;
use grantd_catalog::name::{Name, RoleName};
use grantd_raft::config::{NodeId, RaftConfig, Tuning};
use grantd_raft::entry::Proposal;
use grantd_raft::handle::{Handle, start};
use grantd_raft::rows::Extensions;

#[allow(dead_code, reason = "shared with the tests of the transport")]
#[path = "quic/world.rs"]
mod world;

use world::Pki;

fn config(pki: &Pki, directory: &Path, id: NodeId, join: Vec<String>) -> RaftConfig {
    RaftConfig {
        directory: directory.join(format!("node-{id}")),
        join,
        tuning: Tuning { snapshot_entries: 30, ..Tuning::default() },
        ..world::config(id, &pki.ca_pem, &pki.node(id), world::any_port())
    }
}

fn create_role(name: &str) -> Proposal {
    let name = RoleSpec::Name(RoleName::normalize(name));
    Proposal {
        actor: Actor::of(PrincipalId::ROOT),
        context: NameContext { database: None, search_path: vec![Name::from("public")] },
        commands: vec![Command::CreateRole {
            name,
            is_role: true,
            if_not_exists: false,
            options: Vec::new(),
        }],
    }
}

async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let waited = tokio::time::timeout(Duration::from_secs(30), async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    });
    waited.await.unwrap_or_else(|_| panic!("waited in vain until {what}"));
}

fn address(handle: &Handle) -> String {
    let members = handle.status().members;
    members.iter().find(|member| member.id == handle.node_id()).unwrap().raft_address.clone()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_join_through_a_snapshot_answer_on_every_node_and_go_on_without_their_leader() {
    let (pki, directory) = (Pki::new(), tempfile::tempdir().unwrap());
    let first = start(config(&pki, directory.path(), 1, Vec::new()), Extensions::default()).await.unwrap();
    first.initialize().await.unwrap();
    for at in 0..80 {
        first.propose(create_role(&format!("early{at}"))).await.unwrap();
    }
    first.snapshot().await.unwrap();
    let join = vec![address(&first)];
    let mut nodes = vec![first];
    for id in [2, 3] {
        nodes.push(
            start(config(&pki, directory.path(), id, join.clone()), Extensions::default()).await.unwrap(),
        );
    }
    let voters = |handle: &Handle| handle.status().members.iter().filter(|member| member.voter).count();
    until("three vote", || nodes.iter().all(|node| voters(node) == 3)).await;
    for (at, writer) in nodes.iter().enumerate() {
        let name = format!("late{at}");
        let receipt = writer.propose(create_role(&name)).await.unwrap();
        assert!(matches!(receipt.outcomes[..], [Outcome::Done(_)]), "{receipt:?}");
        for reader in &nodes {
            let view = reader.linearizable().await.unwrap();
            assert!(view.state().principal_id(&RoleName::normalize(&name)).is_some());
            assert!(view.state().principal_id(&RoleName::normalize("early79")).is_some());
        }
    }
    let leads = |node: &Handle| node.status().server_state == "leader";
    let old = nodes.remove(nodes.iter().position(leads).unwrap());
    old.shutdown().await;
    nodes[0].propose(create_role("after")).await.unwrap();
    let view = nodes[1].linearizable().await.unwrap();
    assert!(view.state().principal_id(&RoleName::normalize("after")).is_some());
    let sums = [nodes[0].checksum().await.unwrap(), nodes[1].checksum().await.unwrap()];
    assert_eq!(sums[0].catalog, sums[1].catalog);
    for node in nodes {
        node.shutdown().await;
    }
}
