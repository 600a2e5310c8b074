//! Whole nodes on a network in memory, with real logs and row stores in temporary directories.

#![allow(missing_docs, reason = "tests")]

#[path = "cluster/world.rs"]
mod world;

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::future::BoxFuture;
use grantd_catalog::command::{Outcome, StorageChange};
use grantd_catalog::id::Version;
use grantd_catalog::privilege::Privilege;
use grantd_raft::handle::Unavailable;
use grantd_raft::rows::Value;
use grantd_raft::transport::{Identity, Peer, RequestKind, Service, Transport, TransportError};
use grantd_raft::types::ClusterId;
use tokio::io::AsyncRead;

use world::{Cluster, Write, checked_table, create_role, create_table, grant, revoke, root, user};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_one_node_acknowledges_every_node_shows_and_a_restart_keeps() {
    let mut cluster = Cluster::of_three().await;
    for (at, name) in [(1, "amy"), (2, "ben"), (3, "cat")] {
        cluster.node(at).ok(create_role(name)).await;
        for node in cluster.nodes() {
            assert!(node.sees_role(name).await, "node {} does not see {name}", node.id());
        }
    }
    let table = cluster.node(2).make_table("item").await;
    let leader = cluster.leader().await;
    let (write, receipt) = leader
        .write(Write::new(root(), &table, Privilege::Insert, "INSERT INTO {t} VALUES (1, 'one')"))
        .await;
    assert_eq!(write.changes(), 1);
    let version = receipt.unwrap().version;
    for node in cluster.nodes() {
        node.handle.at_least(version).await.unwrap();
        assert_eq!(node.rows(&table).await, vec![vec![Value::Integer(1), Value::Text("one".to_owned())]]);
    }
    let before = cluster.equal_checksums().await;
    for id in 1..=3 {
        cluster.stop(id).await;
    }
    for id in 1..=3 {
        cluster.start(id, &[]).await;
    }
    let after = cluster.equal_checksums().await;
    assert_eq!((before.catalog, before.tables), (after.catalog, after.tables));
    assert!(cluster.node(3).sees_role("amy").await);
    cluster.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_s_files_are_its_user_s_alone() {
    let mut cluster = Cluster::new();
    cluster.start(1, &[]).await;
    let node = cluster.node(1);
    node.handle.initialize().await.unwrap();
    node.ok(create_role("amy")).await;
    let files = cluster.files(1);
    for ending in
        ["raft.db", "raft.db-wal", "raft.db-shm", "state.db", "state.db-wal", "state.db-shm", "LOCK"]
    {
        assert!(files.keys().any(|name| name.ends_with(ending)), "{ending} is in {files:?}");
    }
    for (name, mode) in files {
        assert_eq!(mode, 0o600, "{name}");
    }
    cluster.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_its_leader_a_cluster_goes_on_and_has_lost_nothing_that_it_acknowledged() {
    let mut cluster = Cluster::of_three().await;
    for at in 0..20 {
        cluster.node(1 + at % 3).ok(create_role(&format!("before{at}"))).await;
    }
    let leader = cluster.leader().await.id();
    cluster.stop(leader).await;
    let survivor = cluster.nodes().next().unwrap().id();
    cluster.node(survivor).ok(create_role("after")).await;
    for node in cluster.nodes() {
        for at in 0..20 {
            assert!(node.sees_role(&format!("before{at}")).await);
        }
        assert!(node.sees_role("after").await);
    }
    cluster.start(leader, &[]).await;
    assert!(cluster.node(leader).sees_role("after").await);
    cluster.equal_checksums().await;
    cluster.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_is_cut_off_neither_reads_nor_writes_and_the_others_do() {
    let mut cluster = Cluster::of_three().await;
    let old = cluster.leader().await.id();
    cluster.hub.cut(old);
    let other = cluster.nodes().find(|node| node.id() != old).unwrap();
    other.ok(create_role("amy")).await;
    assert!(matches!(cluster.node(old).handle.linearizable().await, Err(Unavailable::NoLeader(_))));
    let written = cluster.node(old).handle.propose(root_proposal("ben")).await;
    assert!(
        matches!(written, Err(Unavailable::NoLeader(_) | Unavailable::Unknown(_))),
        "the cut off leader says {written:?}"
    );
    cluster.hub.heal(old);
    assert!(cluster.node(old).sees_role("amy").await);
    cluster.equal_checksums().await;
    cluster.shutdown().await;
}

fn root_proposal(name: &str) -> grantd_raft::entry::Proposal {
    world::proposal(root(), vec![create_role(name)])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn leadership_can_be_handed_over_and_writes_go_on() {
    let mut cluster = Cluster::of_three().await;
    let old = cluster.leader().await.id();
    cluster.node(old).handle.transfer_leadership().await.unwrap();
    assert_ne!(cluster.leader().await.id(), old);
    cluster.node(old).ok(create_role("amy")).await;
    let refused = cluster.node(old).handle.remove(2).await.unwrap_err();
    assert!(refused.message.starts_with("only the leader can remove a node; it is node "), "{refused}");
    cluster.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_was_away_while_the_log_was_purged_and_who_is_new_come_up_through_a_snapshot() {
    let mut cluster = Cluster::of_three_with(|tuning| tuning.snapshot_entries = 40).await;
    let table = cluster.node(1).make_table("item").await;
    let away = cluster.follower().await;
    cluster.stop(away).await;
    let leader = cluster.leader().await;
    for at in 0..150 {
        let sql = format!("INSERT INTO {{t}} VALUES ({at}, 'row')");
        let (write, receipt) = leader.write(Write::new(root(), &table, Privilege::Insert, &sql)).await;
        assert_eq!((write.changes(), receipt.is_ok()), (1, true));
    }
    leader.handle.snapshot().await.unwrap();
    leader.ok(create_role("amy")).await;
    // From here on what the absent one lacks is in no log.
    cluster.purged(leader.id(), 60).await;
    cluster.start(away, &[]).await;
    assert!(cluster.node(away).sees_role("amy").await);
    assert_eq!(cluster.node(away).rows(&table).await.len(), 150);
    cluster.installed(away, 60).await;
    let address = cluster.node(1).address();
    cluster.start(4, &[&address]).await;
    cluster.voters(&[1, 2, 3, 4]).await;
    assert!(cluster.node(4).sees_role("amy").await);
    cluster.equal_checksums().await;
    // What was installed is there after a restart, and so is what came after.
    cluster.node(4).ok(create_role("ben")).await;
    cluster.stop(4).await;
    cluster.start(4, &[]).await;
    assert!(cluster.node(4).sees_role("ben").await);
    cluster.equal_checksums().await;
    cluster.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_id_of_a_lost_directory_or_of_a_removed_node_is_never_used_again() {
    let mut cluster = Cluster::of_three().await;
    let lost = cluster.follower().await;
    let address = cluster.leader().await.address();
    cluster.stop(lost).await;
    cluster.wipe(lost);
    cluster.start(lost, &[&address]).await;
    let reason = cluster.node(lost).failed().await;
    assert!(reason.starts_with(&format!("node {lost} is a member with another data directory")), "{reason}");
    cluster.stop(lost).await;
    let leader = cluster.leader().await;
    leader.handle.remove(lost).await.unwrap();
    assert!(leader.handle.status().members.iter().all(|member| member.id != lost));
    cluster.wipe(lost);
    cluster.start(lost, &[&address]).await;
    let reason = cluster.node(lost).failed().await;
    assert!(reason.starts_with(&format!("node {lost} was removed from the cluster")), "{reason}");
    cluster.stop(lost).await;
    // A new id is welcome, and it makes up the quorum again.
    cluster.start(7, &[&address]).await;
    let mut members: Vec<u64> = [1, 2, 3, 7].into_iter().filter(|id| *id != lost).collect();
    members.sort_unstable();
    cluster.voters(&members).await;
    cluster.node(7).ok(create_role("amy")).await;
    cluster.equal_checksums().await;
    cluster.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_directory_is_of_one_node_and_one_cluster() {
    let mut cluster = Cluster::new();
    cluster.start(1, &[]).await;
    let early = cluster.node(1).handle.propose(root_proposal("amy")).await;
    assert_eq!(early, Err(Unavailable::NotInitialized));
    cluster.node(1).handle.initialize().await.unwrap();
    let again = cluster.node(1).handle.initialize().await.unwrap_err();
    assert!(again.message.starts_with("node 1 is in cluster "), "{again}");
    cluster.start(2, &[]).await;
    cluster.node(2).handle.initialize().await.unwrap();
    cluster.stop(2).await;
    // Node 2 has a cluster of its own; the other one does not take it.
    let address = cluster.node(1).address();
    cluster.start(2, &[&address]).await;
    assert_eq!(cluster.node(2).handle.status().members.len(), 1);
    cluster.stop(2).await;
    let error = cluster.try_start(3, 2, &[]).await.unwrap_err();
    assert!(error.message.contains("is the data directory of node 2, and this is node 3"), "{error}");
    cluster.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_privilege_that_is_revoked_stops_the_next_write() {
    let mut cluster = Cluster::of_three().await;
    let table = cluster.node(1).make_table("item").await;
    let leader = cluster.leader().await;
    leader.ok(create_role("amy")).await;
    leader.ok(grant(Privilege::Insert, "item", "amy")).await;
    let amy = leader.principal("amy");
    let insert = |at: u32| {
        Write::new(user(amy), &table, Privilege::Insert, &format!("INSERT INTO {{t}} VALUES ({at}, 'x')"))
    };
    let (_, receipt) = leader.write(insert(1)).await;
    assert_eq!(receipt.unwrap().outcomes.len(), 1);
    // Many writes race one REVOKE: those after it in the log are refused, and none after it has returned gets in.
    let racing: Vec<_> = (2..40).map(|at| leader.write(insert(at))).collect();
    let (written, revoked) = futures::join!(
        futures::future::join_all(racing),
        leader.handle.propose(world::proposal(root(), vec![revoke(Privilege::Insert, "item", "amy")]))
    );
    let revoked = revoked.unwrap().version;
    let accepted = written.iter().filter(|(write, receipt)| {
        let receipt = receipt.as_ref().unwrap();
        let done = matches!(receipt.outcomes.as_slice(), [Outcome::Done(_)]);
        assert!(!done || receipt.version < revoked, "a write took effect after the privilege was gone");
        assert!(done || write.denied(), "a write that was not done was denied");
        done
    });
    let accepted = accepted.count();
    let (write, _) = leader.write(insert(99)).await;
    assert!(write.denied());
    assert_eq!(leader.rows(&table).await.len(), 1 + accepted);
    cluster.equal_checksums().await;
    cluster.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn concurrent_writes_share_entries_and_each_sees_what_the_one_before_left() {
    let mut cluster = Cluster::of_three().await;
    let table = cluster.node(1).make_table("item").await;
    let leader = cluster.leader().await;
    leader
        .write(Write::new(root(), &table, Privilege::Insert, "INSERT INTO {t} VALUES (1, '')"))
        .await
        .1
        .unwrap();
    let start = leader.handle.view().version();
    let append = || Write::new(root(), &table, Privilege::Update, "UPDATE {t} SET v = v || 'x' WHERE id = 1");
    let writes: Vec<_> = (0..200).map(|_| leader.write(append())).collect();
    for (write, receipt) in futures::future::join_all(writes).await {
        assert_eq!((write.changes(), receipt.is_ok()), (1, true));
    }
    assert_eq!(leader.rows(&table).await, vec![vec![Value::Integer(1), Value::Text("x".repeat(200))]]);
    let entries = leader.handle.view().version().0 - start.0;
    assert!(entries < 100, "{entries} entries for 200 writes");
    // What changes nothing costs no entry, and what fails changes nothing.
    let before = leader.handle.view().version();
    let (write, receipt) = leader
        .write(Write::new(root(), &table, Privilege::Update, "UPDATE {t} SET v = '' WHERE id = 2"))
        .await;
    assert_eq!((write.changes(), receipt.unwrap().version), (0, before));
    let (write, _) =
        leader.write(Write::new(root(), &table, Privilege::Insert, "INSERT INTO {t} VALUES (1, '')")).await;
    assert!(write.error().is_some_and(|error| error.contains("UNIQUE")));
    assert_eq!(leader.handle.view().version(), before);
    cluster.equal_checksums().await;
    cluster.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_proposal_takes_effect_whole_or_not_at_all() {
    let mut cluster = Cluster::new();
    cluster.start(1, &[]).await;
    cluster.node(1).handle.initialize().await.unwrap();
    let node = cluster.node(1);
    let commands = vec![create_role("amy"), create_table("item"), create_role("amy"), create_role("ben")];
    let receipt = node.handle.propose(world::proposal(root(), commands)).await.unwrap();
    assert_eq!(receipt.outcomes.len(), 3, "the third one refuses, the fourth is not reached");
    assert!(matches!(&receipt.outcomes[2], Outcome::Refused(refusal) if refusal.code.as_str() == "42710"));
    assert!(!node.sees_role("amy").await);
    let tables = async || {
        let mut tables = node.handle.checksum().await.unwrap().tables;
        tables.retain(|(name, ..)| !name.starts_with("grantd_"));
        tables.into_iter().map(|(name, rows, _)| (name, rows)).collect::<Vec<_>>()
    };
    assert!(tables().await.is_empty());
    let receipt = node.handle.propose(world::proposal(root(), vec![create_table("item")])).await.unwrap();
    let Outcome::Done(done) = &receipt.outcomes[0] else { panic!("{receipt:?}") };
    let [StorageChange::Create(id)] = done.storage[..] else { panic!("{done:?}") };
    assert_eq!(tables().await, vec![(format!("t{id}"), 0)]);
    assert_eq!(node.handle.checksum().await.unwrap().version, receipt.version);
    assert!(receipt.version > Version(0));
    cluster.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_reach_the_leaders_handler_once_there_is_one() {
    let mut cluster = Cluster::of_three().await;
    let follower = cluster.follower().await;
    let ask =
        |body: &'static [u8]| cluster.node(follower).handle.forward(body.into(), Duration::from_secs(5));
    assert!(ask(b"early").await.is_err());
    for node in cluster.nodes() {
        node.serve_echo();
    }
    let leader = cluster.leader().await.id();
    assert_eq!(ask(b"hello").await.unwrap(), format!("node {leader} heard hello from {follower}").as_bytes());
    cluster.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_comes_back_at_another_address_is_found_there() {
    let mut cluster = Cluster::of_three().await;
    let moved = cluster.follower().await;
    cluster.stop(moved).await;
    cluster.node(cluster.nodes().next().unwrap().id()).ok(create_role("amy")).await;
    cluster.start_at(moved, "elsewhere:1").await;
    assert!(cluster.node(moved).sees_role("amy").await);
    cluster.member_at(moved, "elsewhere:1").await;
    cluster.node(moved).ok(create_role("ben")).await;
    cluster.equal_checksums().await;
    cluster.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_table_that_the_row_store_does_not_take_is_refused_and_no_node_stops() {
    let mut cluster = Cluster::of_three().await;
    let stored = vec!["\"id\" > 0"; 600].join(" AND ");
    let answer =
        cluster.node(2).handle.propose(world::proposal(root(), vec![checked_table("deep", &stored)]));
    let receipt = answer.await.unwrap();
    let [Outcome::Refused(refusal)] = receipt.outcomes.as_slice() else { panic!("{receipt:?}") };
    assert_eq!(refusal.code.as_str(), "54000");
    cluster.node(3).ok(checked_table("flat", "\"id\" > 0")).await;
    for node in cluster.nodes() {
        assert!(node.sees_role("root").await);
    }
    cluster.equal_checksums().await;
    cluster.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_that_does_not_end_is_interrupted_and_others_go_on() {
    let mut cluster = Cluster::of_three().await;
    let table = cluster.node(1).make_table("item").await;
    let leader = cluster.leader().await;
    let endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) \
                   INSERT INTO {t} SELECT count(*), 'never' FROM n";
    let (endless, other) = tokio::join!(
        leader.write(Write::new(root(), &table, Privilege::Insert, endless)),
        leader.write(Write::new(root(), &table, Privilege::Insert, "INSERT INTO {t} VALUES (1, 'one')")),
    );
    assert_eq!(endless.0.error().unwrap(), "the statement took longer than 2s to run");
    assert_eq!(other.0.changes(), 1);
    other.1.unwrap();
    cluster.equal_checksums().await;
    cluster.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_was_removed_is_not_heard_any_more_on_a_connection_that_is_open() {
    let mut cluster = Cluster::of_three().await;
    let leader = cluster.leader().await.id();
    let removed = cluster.nodes().find(|node| node.id() != leader).unwrap().id();
    cluster.node(removed).ok(create_role("amy")).await;
    cluster.node(leader).handle.remove(removed).await.unwrap();
    let answer = cluster.node(removed).handle.propose(root_proposal("ben")).await;
    assert!(answer.is_err(), "the removed node wrote: {answer:?}");
    assert!(!cluster.node(leader).sees_role("ben").await);
    cluster.stop(removed).await;
    cluster.shutdown().await;
}

/// A node of the same CA that knows the cluster's id, and was never let in.
struct Stranger(Identity);

impl Service for Stranger {
    fn identity(&self) -> Identity {
        self.0.clone()
    }

    fn admit(&self, _peer: &Identity) -> Result<(), String> {
        Ok(())
    }

    fn handle(&self, _: Identity, _: RequestKind, body: Bytes) -> BoxFuture<'static, Result<Bytes, String>> {
        Box::pin(async move { Ok(body) })
    }

    fn handle_snapshot(
        &self,
        _from: Identity,
        _header: Bytes,
        _length: u64,
        _file: Box<dyn AsyncRead + Send + Unpin>,
    ) -> BoxFuture<'static, Result<Bytes, String>> {
        Box::pin(async move { Err("not asked for".to_owned()) })
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_no_member_may_not_act_for_clients() {
    let mut cluster = Cluster::of_three().await;
    let leader = cluster.leader().await;
    let id = leader.handle.status().cluster_id.unwrap().replace('-', "");
    let cluster_id = Some(ClusterId(u128::from_str_radix(&id, 16).unwrap()));
    let stranger = cluster.hub.transport(9, "node-9:1");
    stranger.serve(Arc::new(Stranger(Identity { cluster_id, node_id: 9, directory: 9 })));
    let to = Peer::Address(leader.address());
    for kind in [RequestKind::ReadIndex, RequestKind::Propose, RequestKind::Forward, RequestKind::Ask] {
        let answer = stranger.call(&to, kind, Bytes::new(), Duration::from_secs(5)).await;
        let Err(TransportError::Refused { reason, .. }) = answer else { panic!("{kind:?}: {answer:?}") };
        assert_eq!(reason, "node 9 is not a member of the cluster", "{kind:?}");
    }
    cluster.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_question_reaches_every_member_and_who_is_away_is_named_in_time() {
    let mut cluster = Cluster::of_three().await;
    for node in cluster.nodes() {
        node.serve_echo();
    }
    let asked = |handle: grantd_raft::handle::Handle| async move {
        let begun = Instant::now();
        let answers = handle.ask_others(Bytes::from_static(b"how are you"), Duration::from_secs(1)).await;
        (answers, begun.elapsed())
    };
    let (answers, _) = asked(cluster.node(1).handle.clone()).await;
    let expected = [2, 3].map(|id| (id, Ok(Bytes::from(format!("node {id} heard how are you from 1")))));
    assert_eq!(answers, expected);
    let own = cluster.node(1).handle.ask(1, Bytes::from_static(b"me"), Duration::from_secs(1)).await;
    assert_eq!(own.unwrap(), "node 1 heard me from 1");
    let none = cluster.node(1).handle.ask(7, Bytes::new(), Duration::from_secs(1)).await;
    assert_eq!(none.unwrap_err(), "node 7 is not a member");
    cluster.stop(3).await;
    let (answers, took) = asked(cluster.node(1).handle.clone()).await;
    assert_eq!(answers[0], expected[0]);
    assert_eq!(answers[1].0, 3);
    assert!(answers[1].1.is_err());
    assert!(took < Duration::from_secs(5), "{took:?}");
    cluster.shutdown().await;
}
