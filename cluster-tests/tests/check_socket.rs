//! The check socket of real nodes: what was revoked anywhere is refused everywhere, who may ask what, what bad bytes do, and
//! a watch that has no gap.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use grantd_cluster_tests::process::{Cluster, Node, PATIENCE};
use grantd_node::check::Check;
use grantd_node::check::client::{
    CHECKS_MAX, Changed, Client, ClientError, Event, Freshness, ObjectId, ObjectKind, PIPELINED_MAX,
    PrincipalId, Privilege, Question, ResourceKind, Version,
};
use grantd_node::check::socket::{CONNECTIONS_PER_USER_MAX, SOCKET};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::time::timeout;

/// GRANTs, and as many REVOKEs, each of which is looked for on another node.
const ROUNDS: usize = 100;
/// Statements that a watch is told of while it changes nodes.
const WATCHED: usize = 200;
/// A node's lease, and some time for a busy machine to look.
const LEASE: Duration = Duration::from_millis(1_500);

fn socket(node: &Node) -> PathBuf {
    node.data.join(SOCKET)
}

async fn connect(node: &Node, role: &str) -> Client {
    Client::connect(socket(node), role).await.unwrap_or_else(|error| panic!("{role}: {error}"))
}

/// The SQLSTATE of a refusal.
fn code<T: std::fmt::Debug>(result: Result<T, ClientError>) -> String {
    match result {
        Err(ClientError::Refused(refusal)) => refusal.code.as_str().to_owned(),
        other => panic!("not refused: {other:?}"),
    }
}

async fn ids(client: &mut Client, role: &str, table: &str) -> (PrincipalId, ObjectId) {
    let role = client.principal(role).await.expect("an answer").expect("the role is there");
    let table =
        client.object(ObjectKind::Table, table).await.expect("an answer").expect("the table is there");
    (role, table)
}

fn question(subject: &str, action: &str, table: &str) -> Question {
    let kind = ResourceKind::Object(ObjectKind::Table);
    Question { subject: subject.into(), action: action.into(), kind, name: table.into() }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_revoked_on_one_node_is_refused_on_the_socket_of_another_at_once() {
    let cluster = Cluster::start(3).await;
    let sql = cluster.root(&cluster.nodes[0]).await.unwrap();
    sql.batch_execute("CREATE USER bob; CREATE TABLE t (id INT PRIMARY KEY)").await.unwrap();
    cluster.until_all_caught_up().await;
    let mut there = connect(&cluster.nodes[1], "root").await;
    let (subject, object) = ids(&mut there, "bob", "defaultdb.t").await;
    let check = Check::Holds { subject, privilege: Privilege::Select, object };
    let batch = vec![check; 64];
    let mut answers = Vec::new();
    for round in 0..ROUNDS {
        sql.batch_execute("GRANT SELECT ON t TO bob").await.unwrap();
        assert!(
            there.check(Freshness::Linearizable, check).await.unwrap().answer,
            "granted in round {round}"
        );
        sql.batch_execute("REVOKE SELECT ON t FROM bob").await.unwrap();
        let told = there.check(Freshness::Local, check).await.unwrap();
        assert!(!told.answer, "revoked in round {round}, told of version {}", told.version);
        there.check_batch(Freshness::Local, &batch, &mut answers).await.unwrap();
        assert_eq!(answers, vec![false; 64], "revoked in round {round}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_is_answered_in_order_from_one_version_by_ids_and_by_names() {
    let cluster = Cluster::start(1).await;
    let sql = cluster.root(&cluster.nodes[0]).await.unwrap();
    sql.batch_execute(
        "CREATE USER ann; CREATE ROLE clerk; GRANT clerk TO ann; CREATE TABLE t (id INT PRIMARY KEY); \
         CREATE TABLE gone (id INT PRIMARY KEY); GRANT SELECT ON t, gone TO clerk; \
         GRANT INSERT ON t TO ann WITH GRANT OPTION",
    )
    .await
    .unwrap();
    let mut client = connect(&cluster.nodes[0], "root").await;
    assert_eq!(client.server().node, 1);
    let (ann, t) = ids(&mut client, "ann", "defaultdb.public.t").await;
    let (clerk, gone) = ids(&mut client, "clerk", "defaultdb.gone").await;
    sql.batch_execute("DROP TABLE gone").await.unwrap();
    let holds = |privilege, object| Check::Holds { subject: ann, privilege, object };
    let checks = [
        holds(Privilege::Select, t),
        holds(Privilege::Delete, t),
        holds(Privilege::Select, gone),
        Check::HoldsGrantOption { subject: ann, privilege: Privilege::Insert, object: t },
        Check::HoldsGrantOption { subject: ann, privilege: Privilege::Select, object: t },
        Check::Member { subject: ann, role: clerk },
        Check::AdminOption { subject: ann, role: clerk },
    ];
    let mut answers = Vec::new();
    let version = client.check_batch(Freshness::Local, &checks, &mut answers).await.unwrap();
    assert_eq!(answers, [true, false, false, true, false, true, false]);
    let later = Freshness::AtLeast(version);
    let asked = [
        question("ann", "SELECT", "defaultdb.t"),
        question("ann", "INSERT WITH GRANT OPTION", "defaultdb.t"),
        question("ann", "DELETE", "defaultdb.t"),
        question("ann", "SELECT", "defaultdb.gone"),
        question("nobody", "SELECT", "defaultdb.t"),
    ];
    let told = client.ask(later, asked.to_vec()).await.unwrap();
    assert_eq!(told.answer, [Some(true), Some(true), Some(false), None, None]);
    assert!(told.version >= version);
    let explained = client.explain(later, asked[0].clone()).await.unwrap().answer;
    assert!(explained.0 && explained.1.contains("clerk"), "{explained:?}");
    assert_eq!(code(client.explain(later, asked[3].clone()).await), "42P01");
    // A version that will not come for a while.
    assert_eq!(code(client.check(Freshness::AtLeast(Version(1 << 40)), checks[0]).await), "57P03");
    // In parts, pipelined: the same answers in the same order.
    for at in 0..PIPELINED_MAX {
        client.send(Freshness::Local, &checks[at % checks.len()..]).await.unwrap();
    }
    assert!(matches!(client.send(Freshness::Local, &checks).await, Err(ClientError::Waiting(PIPELINED_MAX))));
    assert!(matches!(client.check(Freshness::Local, checks[0]).await, Err(ClientError::Waiting(_))));
    let mut part = Vec::new();
    for at in 0..PIPELINED_MAX {
        assert!(client.receive(&mut part).await.unwrap().is_some());
        assert_eq!(part, answers[at % checks.len()..], "batch {at}");
    }
    assert!(client.receive(&mut part).await.unwrap().is_none());
    // The largest batches, more of them than the socket's buffers hold.
    let many = vec![checks[0]; CHECKS_MAX];
    for _ in 0..PIPELINED_MAX {
        client.send(Freshness::Local, &many).await.unwrap();
    }
    for _ in 0..PIPELINED_MAX {
        client.receive(&mut part).await.unwrap().unwrap();
        assert_eq!(part, vec![true; CHECKS_MAX]);
    }
    let too_many = vec![checks[0]; CHECKS_MAX + 1];
    assert!(matches!(
        client.check_batch(Freshness::Local, &too_many, &mut part).await,
        Err(ClientError::TooLarge(_))
    ));
    // What was given up does not answer for what is asked next.
    drop(timeout(Duration::ZERO, client.check(Freshness::Linearizable, checks[0])).await);
    assert!(!client.check(Freshness::Local, checks[1]).await.unwrap().answer);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_role_asks_about_itself_and_loses_its_connection_with_its_login() {
    let cluster = Cluster::start(1).await;
    let (node, sql) = (&cluster.nodes[0], cluster.root(&cluster.nodes[0]).await.unwrap());
    sql.batch_execute(
        "CREATE USER ann; CREATE USER ben; CREATE USER cat; CREATE ROLE clerk; GRANT clerk TO ann; \
         CREATE USER mute NOLOGIN; CREATE TABLE t (id INT PRIMARY KEY); GRANT SELECT ON t TO clerk",
    )
    .await
    .unwrap();
    let mut client = connect(node, "ANN").await;
    let (ann, object) = ids(&mut client, "ann", "defaultdb.t").await;
    let (clerk, ben) =
        (client.principal("clerk").await.unwrap().unwrap(), client.principal("ben").await.unwrap().unwrap());
    let about = |subject| Check::Holds { subject, privilege: Privilege::Select, object };
    for own in [ann, clerk, PrincipalId::PUBLIC] {
        client.check(Freshness::Local, about(own)).await.unwrap();
    }
    assert_eq!(code(client.check(Freshness::Local, about(ben)).await), "42501");
    let mut answers = Vec::new();
    assert_eq!(
        code(client.check_batch(Freshness::Local, &[about(ann), about(ben)], &mut answers).await),
        "42501"
    );
    assert_eq!(
        code(client.ask(Freshness::Local, vec![question("ben", "SELECT", "defaultdb.t")]).await),
        "42501"
    );
    assert_eq!(
        code(client.explain(Freshness::Local, question("ben", "SELECT", "defaultdb.t")).await),
        "42501"
    );
    assert_eq!(code(connect(node, "ann").await.watch(None).await.unwrap().next().await), "42501");
    sql.batch_execute("GRANT SYSTEM VIEWACTIVITYREDACTED TO clerk").await.unwrap();
    assert!(!client.check(Freshness::Linearizable, about(ben)).await.unwrap().answer);
    let mut watch = connect(node, "ann").await.watch(None).await.unwrap();
    assert!(matches!(watch.next().await, Ok(Event::Progress(_))));
    sql.batch_execute("REVOKE SYSTEM VIEWACTIVITYREDACTED FROM clerk").await.unwrap();
    assert_eq!(code(client.check(Freshness::Local, about(ben)).await), "42501");
    let ended = async {
        loop {
            if let Err(error) = watch.next().await {
                break error;
            }
        }
    };
    assert_eq!(code::<()>(Err(timeout(PATIENCE, ended).await.unwrap())), "42501");
    // Logins.
    for (role, state) in [("mute", "28000"), ("nobody", "28000"), ("public", "28000"), ("node", "28000")] {
        assert_eq!(code(Client::connect(socket(node), role).await.map(drop)), state, "{role}");
    }
    sql.batch_execute("ALTER USER ann NOLOGIN").await.unwrap();
    assert_eq!(code(client.check(Freshness::Local, about(ann)).await), "28000");
    assert!(matches!(client.check(Freshness::Local, about(ann)).await, Err(ClientError::Lost(_))));
    let mut client = connect(node, "cat").await;
    sql.batch_execute("DROP USER cat; CREATE USER cat").await.unwrap();
    assert_eq!(code(client.principal("cat").await), "28000", "another one of the same name");
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_bytes_end_their_connection_and_nobody_elses() {
    let cluster = Cluster::start(1).await;
    let node = &cluster.nodes[0];
    let mut other = connect(node, "root").await;
    let hello = b"\x16\0\0\0\x01\0\0\0\x01grantd-c\x01\0\x01\0\x04\0root";
    let mut hello = hello.to_vec();
    hello[0] = u8::try_from(hello.len() - 4).unwrap();
    let after_hello = |bytes: &[u8]| [&hello, bytes].concat();
    let newer = [b"\x15\0\0\0\x01\0\0\0\x01grantd-c\x09\0\x0a\0".as_slice(), b"\x02\0me".as_slice()].concat();
    let cases: [(&str, Vec<u8>, &[u8]); 9] = [
        ("another protocol", b"GET / HTTP/1.1\r\nHost: x\r\n\r\n".to_vec(), b"08P01"),
        ("an endless frame", vec![0xff; 5_000], b"08P01"),
        ("a frame without a head", b"\x01\0\0\0\x01".to_vec(), b"08P01"),
        ("a newer client", newer, b"0A000"),
        ("a watch before the hello", b"\x0d\0\0\0\x01\0\0\0\x06\0\0\0\0\0\0\0\0".to_vec(), b"08P01"),
        ("a kind that is none", after_hello(b"\x05\0\0\0\x07\0\0\0\x63"), b"08P01"),
        ("a second hello", after_hello(&hello), b"08P01"),
        ("a frame that is too long", after_hello(b"\x01\0\x01\0\x07\0\0\0\x02"), b"08P01"),
        ("a frame cut short", after_hello(b"\x07\0\0\0\x07\0\0\0\x02\0\0"), b"08P01"),
    ];
    for (what, bytes, state) in cases {
        let mut stream = UnixStream::connect(socket(node)).await.unwrap();
        // It may be closed before all of it was sent.
        let _closed_early = stream.write_all(&bytes).await;
        let mut told = Vec::new();
        // To the end: it is closed.
        let read = timeout(PATIENCE, stream.read_to_end(&mut told)).await.unwrap();
        let found = told.windows(state.len()).any(|window| window == state);
        assert!(found, "{what}: {read:?} {}", String::from_utf8_lossy(&told));
        assert_eq!(other.principal("root").await.unwrap(), Some(PrincipalId::ROOT), "after {what}");
    }
    // A number that is no privilege is refused, and the connection goes on.
    let mut stream = UnixStream::connect(socket(node)).await.unwrap();
    let check = b"\x1c\0\0\0\x09\0\0\0\x02\0\0\0\0\0\0\0\0\0\x01\0\x01\0\0\0\0\0\0\0\x1b\0\0\0";
    stream
        .write_all(&after_hello(&[check.as_slice(), b"\x0d\0\0\0\x0a\0\0\0\x06\0\0\0\0\0\0\0\0"].concat()))
        .await
        .unwrap();
    let (mut told, mut chunk) = (Vec::new(), [0; 1_024]);
    while !told.windows(5).any(|window| window == b"\x0a\0\0\0\x87") {
        let read = timeout(PATIENCE, stream.read(&mut chunk)).await.unwrap().unwrap();
        assert!(read > 0, "{}", String::from_utf8_lossy(&told));
        told.extend_from_slice(&chunk[..read]);
    }
    assert!(told.windows(5).any(|window| window == b"22023"));
    // As many as there may be, and one more.
    let mut connections = Vec::new();
    let refused = loop {
        match Client::connect(socket(node), "root").await {
            Ok(client) => connections.push(client),
            Err(error) => break error,
        }
        assert!(connections.len() <= CONNECTIONS_PER_USER_MAX);
    };
    assert_eq!(code::<()>(Err(refused)), "53300");
    assert_eq!(other.principal("root").await.unwrap(), Some(PrincipalId::ROOT));
}

#[tokio::test(flavor = "multi_thread")]
async fn who_says_nothing_or_reads_nothing_is_disconnected_and_nobody_waits_for_it() {
    let cluster = Cluster::start(1).await;
    let node = &cluster.nodes[0];
    let mut other = connect(node, "root").await;
    let mut silent = UnixStream::connect(socket(node)).await.unwrap();
    let mut deaf = UnixStream::connect(socket(node)).await.unwrap();
    deaf.write_all(b"\x17\0\0\0\x01\0\0\0\x01grantd-c\x01\0\x01\0\x04\0root").await.unwrap();
    // A resolve of nothing, again and again: nobody reads its answers, which fill the socket.
    let asks = b"\x10\0\0\0\x02\0\0\0\x04\0\0\0\0\0\0\0\0\0\0\0".repeat(1_000);
    let hears_nothing = async { while deaf.write_all(&asks).await.is_ok() {} };
    let says_nothing = async {
        let mut told = Vec::new();
        silent.read_to_end(&mut told).await.map(|_| told)
    };
    let both = async { tokio::join!(hears_nothing, says_nothing) };
    tokio::pin!(both);
    let ((), told) = loop {
        tokio::select! {
            ended = &mut both => break ended,
            root = other.principal("root") => assert_eq!(root.unwrap(), Some(PrincipalId::ROOT)),
        }
    };
    let told = told.expect("closed in order");
    assert!(told.windows(5).any(|window| window == b"08P01"), "{told:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_is_cut_off_refuses_and_answers_again_when_it_is_not() {
    let mut cluster = Cluster::start(3).await;
    let mut client = connect(&cluster.nodes[2], "root").await;
    let check = Check::Member { subject: PrincipalId::ROOT, role: PrincipalId::ADMIN };
    assert!(client.check(Freshness::Local, check).await.unwrap().answer);
    let mut watch = connect(&cluster.nodes[2], "root").await.watch(None).await.unwrap();
    cluster.nodes[0].kill();
    cluster.nodes[1].kill();
    let killed = Instant::now();
    let mut answered = killed;
    let refused = loop {
        let asked = Instant::now();
        match client.check(Freshness::Local, check).await {
            Ok(_) => answered = asked,
            Err(error) => break error,
        }
        assert!(killed.elapsed() < PATIENCE, "it is not cut off");
    };
    assert_eq!(code::<()>(Err(refused)), "57P03");
    assert!(answered - killed < LEASE, "it answered {:?} after the others were gone", answered - killed);
    let mut batch = Vec::new();
    assert_eq!(code(client.check_batch(Freshness::Local, &[check; 9], &mut batch).await), "57P03");
    assert_eq!(code(client.check(Freshness::Linearizable, check).await), "57P03");
    assert_eq!(code(Client::connect(socket(&cluster.nodes[2]), "root").await.map(drop)), "57P03");
    let ended = async {
        loop {
            if let Err(error) = watch.next().await {
                break error;
            }
        }
    };
    assert_eq!(code::<()>(Err(timeout(PATIENCE, ended).await.unwrap())), "57P03");
    for node in &mut cluster.nodes[..2] {
        node.start();
    }
    let healed = Instant::now();
    while client.check(Freshness::Local, check).await.is_err() {
        assert!(healed.elapsed() < PATIENCE, "it does not answer again");
    }
    // It goes on from where it was; a node that has started since has forgotten, and says so.
    let position = watch.position();
    let mut watch = connect(&cluster.nodes[2], "root").await.watch(position).await.unwrap();
    assert!(matches!(
        timeout(PATIENCE, watch.next()).await.unwrap(),
        Ok(Event::Progress(_) | Event::Changes { .. })
    ));
    cluster.until_all_caught_up().await;
    let mut watch = connect(&cluster.nodes[0], "root").await.watch(Some(Version(1))).await.unwrap();
    assert!(matches!(timeout(PATIENCE, watch.next()).await.unwrap(), Ok(Event::Resync(_))));
}

type Told = BTreeMap<Version, (bool, Vec<Changed>)>;

/// Listens until everything up to `end` was told, at most for `events` of them, and adds it.
async fn listen(node: &Node, from: Version, end: Version, events: usize, told: &mut Told) -> Version {
    let mut watch = connect(node, "root").await.watch(Some(from)).await.expect("a watch");
    for _ in 0..events {
        match timeout(PATIENCE, watch.next()).await.expect("a watch is never silent").expect("an event") {
            Event::Changes { version, tightens, records } => {
                let before = told.insert(version, (tightens, records));
                assert_eq!(before, None, "version {version} was told twice");
            }
            Event::Progress(version) if version >= end => return version,
            Event::Progress(_) => {}
            Event::Resync(version) => panic!("forgotten at {version}"),
        }
    }
    watch.position().unwrap_or(from)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_that_goes_from_node_to_node_under_load_has_no_gap() {
    let cluster = Cluster::start(3).await;
    let sql = cluster.root(&cluster.nodes[0]).await.unwrap();
    sql.batch_execute("CREATE USER bob; CREATE TABLE t (id INT PRIMARY KEY)").await.unwrap();
    let mut client = connect(&cluster.nodes[0], "root").await;
    let version = async |client: &mut Client| {
        let check = Check::Member { subject: PrincipalId::ROOT, role: PrincipalId::ADMIN };
        client.check(Freshness::Linearizable, check).await.unwrap().version
    };
    let begin = version(&mut client).await;
    let load = async {
        for _ in 0..WATCHED / 2 {
            sql.batch_execute("GRANT SELECT ON t TO bob").await.unwrap();
            sql.batch_execute("REVOKE SELECT ON t FROM bob").await.unwrap();
        }
        sql.batch_execute("INSERT INTO t VALUES (1)").await.unwrap();
        sql.batch_execute("CREATE USER last").await.unwrap();
        version(&mut connect(&cluster.nodes[0], "root").await).await
    };
    let hop = async {
        let (mut told, mut at) = (Told::new(), begin);
        let last =
            |told: &Told| told.values().any(|(_, records)| matches!(records[..], [Changed::Principal(_)]));
        for hop in 0.. {
            if last(&told) {
                break;
            }
            at = listen(&cluster.nodes[hop % 3], at, Version(u64::MAX), 7, &mut told).await;
        }
        told
    };
    let (end, hopping) = tokio::join!(load, hop);
    let mut whole = Told::new();
    listen(&cluster.nodes[2], begin, end, usize::MAX, &mut whole).await;
    assert_eq!(hopping, whole);
    assert_eq!(whole.len(), WATCHED + 1, "each statement that changed the catalog, and no other");
    let (subject, object) = ids(&mut client, "bob", "defaultdb.t").await;
    assert!(subject >= PrincipalId::FIRST_ORDINARY);
    let tightening = whole.values().filter(|(tightens, _)| *tightens).count();
    assert_eq!(tightening, WATCHED / 2);
    assert_eq!(whole.values().filter(|(_, records)| *records == [Changed::Object(object)]).count(), WATCHED);
}
