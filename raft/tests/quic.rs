//! The QUIC transport, over real sockets on loopback.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should panic")]

#[path = "quic/raw.rs"]
mod raw;
#[path = "quic/relay.rs"]
mod relay;
#[path = "quic/world.rs"]
mod world;

use std::io::Write;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::future::join_all;
use grantd_raft::quic::{LANE_ANSWERS_MAX, LANE_REQUESTS_MAX, PEER_CONNECTIONS_MAX};
use grantd_raft::rpc::{self, SnapshotStart, StreamKind};
use grantd_raft::transport::{Peer, RequestKind, Transport, TransportError};
use grantd_raft::types::ClusterId;

use raw::Raw;
use world::{Node, Pki, TIMEOUT, any_port, member};

type Answer = Result<Bytes, TransportError>;

fn refusal(answer: Answer) -> String {
    match answer {
        Err(TransportError::Refused { reason, .. }) => reason,
        other => panic!("not refused but {other:?}"),
    }
}

fn unreached(answer: Answer) -> String {
    match answer {
        Err(TransportError::Unreachable { cause, .. }) => cause,
        other => panic!("not unreachable but {other:?}"),
    }
}

async fn until(what: &str, mut reached: impl FnMut() -> bool) {
    let deadline = Instant::now() + TIMEOUT;
    while !reached() {
        assert!(Instant::now() < deadline, "not reached: {what}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_of_every_kind_and_size_are_answered() {
    let pki = Pki::new();
    let (a, b) = (Node::start(&pki, 1), Node::start(&pki, 2));
    b.echo.gate.add_permits(100);
    for kind in RequestKind::ALL {
        let answer = a.ask(&b.peer(), kind, b"hello").await;
        if kind == RequestKind::TransferLeader {
            assert_eq!(refusal(answer), "this node does not want to lead");
        } else {
            assert_eq!(answer.unwrap(), "hello", "{kind:?}");
        }
    }
    for (kind, len) in [
        (RequestKind::Heartbeat, 0),
        (RequestKind::Append, 4 << 20),
        (RequestKind::Propose, 100_000),
        (RequestKind::Forward, 20 << 20),
    ] {
        let body = pattern(len);
        let answer = a.ask(&b.peer(), kind, &body).await;
        if kind == RequestKind::Append {
            // The answer to it has no reason to be large.
            assert_eq!(refusal(answer), "the answer has 4194304 bytes, more than 262144");
        } else {
            assert!(answer.unwrap() == body, "{kind:?} of {len} bytes");
        }
    }
    let too_long = vec![0; rpc::SMALL_BYTES_MAX + 1];
    let reason = refusal(a.ask(&b.peer(), RequestKind::Vote, &too_long).await);
    assert_eq!(reason, "a request of 262145 bytes is longer than 262144");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn appends_arrive_in_the_order_of_the_calls_and_many_are_in_flight() {
    let pki = Pki::new();
    let (a, b) = (Node::start(&pki, 1), Node::start(&pki, 2));
    let bodies = (0..500u32).map(|i| Bytes::copy_from_slice(&i.to_le_bytes())).collect::<Vec<_>>();
    let calls = bodies.iter().map(|body| {
        let call = a.transport.call(&b.peer(), RequestKind::Append, body.clone(), TIMEOUT);
        (body.clone(), call)
    });
    // All are called before any is polled, and they are polled backwards.
    let mut calls = calls.collect::<Vec<_>>();
    calls.reverse();
    let answers = join_all(calls.into_iter().map(|(body, call)| async move { (body, call.await) })).await;
    for (body, answer) in answers {
        assert_eq!(answer.unwrap(), body);
    }
    assert_eq!(*b.echo.appends.lock().unwrap(), bodies);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_whose_future_is_dropped_is_still_delivered() {
    let pki = Pki::new();
    let (a, b) = (Node::start(&pki, 1), Node::start(&pki, 2));
    drop(a.transport.call(&b.peer(), RequestKind::Append, Bytes::from_static(b"x"), TIMEOUT));
    until("the append", || b.echo.appends.lock().unwrap().len() == 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_waits_is_bounded_and_heartbeats_pass_it() {
    let pki = Pki::new();
    let (a, b) = (Node::start(&pki, 1), Node::start(&pki, 2));
    let count = LANE_ANSWERS_MAX + LANE_REQUESTS_MAX + 1_000;
    let mut calls = Vec::new();
    for batch in 0..count.div_ceil(500) {
        for _ in 0..500 {
            calls.push(a.transport.call(&b.peer(), RequestKind::Propose, Bytes::from_static(b"p"), TIMEOUT));
        }
        if batch == 0 {
            until("the first request", || b.echo.begun.load(Ordering::SeqCst) > 0).await;
        }
        // Lets the lane take what it can.
        tokio::task::yield_now().await;
    }
    let beat = Instant::now();
    a.ask(&b.peer(), RequestKind::Heartbeat, b"beat").await.unwrap();
    assert!(beat.elapsed() < Duration::from_secs(1), "a heartbeat waited behind proposals");
    assert!(b.echo.begun.load(Ordering::SeqCst) <= grantd_raft::quic::HANDLERS_MAX + 1);
    b.echo.gate.add_permits(count * 2);
    let answers = join_all(calls).await;
    let full = answers.iter().filter(|answer| match answer {
        Err(TransportError::Unreachable { cause, .. }) => cause.starts_with("too many requests wait"),
        Ok(_) | Err(_) => false,
    });
    let refused = full.count();
    let answered = answers.iter().filter(|answer| answer.is_ok()).count();
    assert!(refused > 0, "nothing was refused");
    assert_eq!(refused + answered, answers.len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_does_not_fit_is_refused_with_a_reason_on_both_sides() {
    let pki = Pki::new();
    let (a, b) = (Node::start(&pki, 1), Node::start(&pki, 2));

    // Another id than was dialled.
    let cause = unreached(a.ask(&member(3, b.address()), RequestKind::Vote, b"").await);
    assert!(cause.contains("it is of another node") && cause.contains("node-2.grantd.internal"), "{cause}");

    // Another directory than the member's.
    let Peer::Member(_, mut info) = b.peer() else { unreachable!() };
    info.directory = 9;
    let reason = refusal(a.ask(&Peer::Member(2, info), RequestKind::Vote, b"").await);
    assert!(reason.starts_with("node 2 has another directory than the member"), "{reason}");

    // Another cluster: the one who was dialled says so.
    let c = Node::start(&pki, 3);
    c.echo.identity.lock().unwrap().cluster_id = Some(ClusterId(0xC2));
    let reason = refusal(c.ask(&b.peer(), RequestKind::Vote, b"").await);
    assert!(reason.contains("belongs to cluster 00000000-0000-0000-0000-0000000000c2"), "{reason}");

    // Not admitted.
    let d = Node::start(&pki, 4);
    *b.echo.not_admitted.lock().unwrap() = Some("node 4 was removed".to_owned());
    assert_eq!(refusal(d.ask(&b.peer(), RequestKind::Vote, b"").await), "node 4 was removed");
    assert_eq!(b.echo.begun.load(Ordering::SeqCst), 0, "a request came through");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_ca_is_named_on_both_sides() {
    let (pki, other) = (Pki::new(), Pki::new());
    let (a, b) = (Node::start(&pki, 1), Node::start(&other, 2));
    let cause = unreached(a.ask(&b.peer(), RequestKind::Vote, b"").await);
    assert!(cause.contains("its certificate was not accepted: another CA signed it"), "{cause}");

    // The dialer trusts both, the dialled only its own.
    let both = format!("{}{}", pki.ca_pem, other.ca_pem);
    let c = Node::start_with(3, &both, &pki.node(3), any_port()).unwrap();
    let cause = unreached(c.ask(&b.peer(), RequestKind::Vote, b"").await);
    assert!(
        cause.contains("it did not accept the certificate of this node: another CA signed it"),
        "{cause}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_start_says_why() {
    let (pki, other) = (Pki::new(), Pki::new());
    let running = Node::start(&pki, 1);
    let fail = |id, ca: &Pki, pair: &world::Pair, listen| match Node::start_with(id, &ca.ca_pem, pair, listen)
    {
        Ok(_) => panic!("it starts"),
        Err(error) => error.to_string(),
    };
    let in_use = fail(2, &pki, &pki.node(2), running.address());
    assert_eq!(
        in_use,
        format!(
            "the address {} for peers is in use; stop the other process, or choose another one with --listen",
            running.address()
        )
    );
    let certificate = |fault: &str| {
        format!("the certificate of node 2 cannot be used: {fault}; make one with `grantd cert create-node`")
    };
    assert_eq!(fail(2, &pki, &pki.expired(2), any_port()), certificate("it has expired"));
    assert_eq!(fail(2, &pki, &pki.node(3), any_port()), certificate("it is of node 3"));
    assert_eq!(
        fail(2, &pki, &other.node(2), any_port()),
        certificate("it is not signed by the CA of this node")
    );
    let user = pki.certificate(&["alice".to_owned()], TIMEOUT * 1_000);
    let not_a_node = "the certificate is not of a node: it has no name `node-<id>.grantd.internal`";
    assert_eq!(fail(2, &pki, &user, any_port()), certificate(not_a_node));
    let mut mixed = pki.node(2);
    mixed.key = pki.node(2).key;
    assert_eq!(
        fail(2, &pki, &mixed, any_port()),
        "the key of node 2 cannot be used: it is not the key of the certificate"
    );
    mixed.key = "nonsense".to_owned();
    assert_eq!(
        fail(2, &pki, &mixed, any_port()),
        "the key of node 2 cannot be used: it is not a private key in PEM"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_closed_port_is_known_after_about_a_second() {
    let pki = Pki::new();
    let a = Node::start(&pki, 1);
    let closed = {
        let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.local_addr().unwrap()
    };
    let began = Instant::now();
    let cause = unreached(a.ask(&member(2, closed), RequestKind::Vote, b"").await);
    assert_eq!(cause, format!("nothing answers over UDP at {closed}; is the node running there?"));
    assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
    // A caller with less patience is told when its time is over.
    let began = Instant::now();
    let call =
        a.transport.call(&member(3, closed), RequestKind::Vote, Bytes::new(), Duration::from_millis(50));
    assert!(matches!(call.await, Err(TransportError::Unreachable { .. })));
    assert!(began.elapsed() < Duration::from_millis(700), "{:?}", began.elapsed());
    let cause =
        unreached(a.ask(&Peer::Address("no.such.name.invalid:1".to_owned()), RequestKind::Join, b"").await);
    assert!(cause.starts_with("its name "), "{cause}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_without_a_cluster_may_ask_an_address_to_let_it_in() {
    let pki = Pki::new();
    let (a, b) = (Node::start(&pki, 1), Node::start(&pki, 2));
    a.echo.identity.lock().unwrap().cluster_id = None;
    let address = Peer::Address(b.address().to_string());
    assert_eq!(a.ask(&address, RequestKind::Join, b"let me in").await.unwrap(), "let me in");
    // Itself, by mistake.
    let own = Peer::Address(a.address().to_string());
    let reason = refusal(a.ask(&own, RequestKind::Join, b"").await);
    assert!(reason.starts_with("both are node 1"), "{reason}");
    // Another CA.
    let c = Node::start(&Pki::new(), 3);
    let cause = unreached(a.ask(&Peer::Address(c.address().to_string()), RequestKind::Join, b"").await);
    assert!(cause.contains("another CA signed it"), "{cause}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restarted_peer_is_found_again() {
    let pki = Pki::new();
    let (a, b) = (Node::start(&pki, 1), Node::start(&pki, 2));
    let (peer, address) = (b.peer(), b.address());
    a.ask(&peer, RequestKind::Append, b"1").await.unwrap();
    b.transport.close().await;
    drop(b);
    assert!(a.ask(&peer, RequestKind::Append, b"2").await.is_err());
    let b = Node::start_with(2, &pki.ca_pem, &pki.node(2), address).unwrap();
    let began = Instant::now();
    while a.ask(&peer, RequestKind::Append, b"3").await.is_err() {
        assert!(began.elapsed() < Duration::from_secs(2), "not found again");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(b.echo.appends.lock().unwrap().len(), 1);
}

/// A process that was killed says no goodbye, so only its successor can end the connections that it had.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_and_restarted_peer_ends_the_connections_of_its_predecessor() {
    let pki = Pki::new();
    let certificate = pki.node(2);
    let (a, b) = (Node::start(&pki, 1), Node::start_with(2, &pki.ca_pem, &certificate, any_port()).unwrap());
    let (address, weather) = relay::start(b.address()).await;
    let (peer, own) = (b.peer_at(address), b.address());
    a.ask(&peer, RequestKind::Vote, b"1").await.unwrap();

    weather.cut.store(true, Ordering::SeqCst);
    b.transport.close().await;
    drop(b);
    // The socket is free once the old endpoint's tasks have ended.
    let _restarted = loop {
        match Node::start_with(2, &pki.ca_pem, &certificate, own) {
            Ok(node) => break node,
            Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
        }
    };
    weather.cut.store(false, Ordering::SeqCst);

    let began = Instant::now();
    while a.ask(&peer, RequestKind::Vote, b"2").await.is_err() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let reset = Duration::from_secs(2);
    assert!(began.elapsed() < reset, "the dead connection was used for {:?}", began.elapsed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_cut_has_healed_requests_are_answered_again_within_two_seconds() {
    let pki = Pki::new();
    let (a, b) = (Node::start(&pki, 1), Node::start(&pki, 2));
    let (address, weather) = relay::start(b.address()).await;
    let peer = b.peer_at(address);
    let beat = || a.transport.call(&peer, RequestKind::Heartbeat, Bytes::new(), Duration::from_millis(250));
    a.ask(&peer, RequestKind::Heartbeat, b"").await.unwrap();

    weather.delay_ms.store(5, Ordering::SeqCst);
    a.ask(&peer, RequestKind::Heartbeat, b"").await.unwrap();

    for cut in [Duration::from_millis(700), Duration::from_millis(3_000)] {
        weather.cut.store(true, Ordering::SeqCst);
        let began = Instant::now();
        while began.elapsed() < cut {
            assert!(beat().await.is_err(), "the relay leaks");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        weather.cut.store(false, Ordering::SeqCst);
        let healed = Instant::now();
        while beat().await.is_err() {
            assert!(healed.elapsed() < Duration::from_secs(2), "no answers after a cut of {cut:?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        println!("cut of {cut:?}: answered {:?} after it had healed", healed.elapsed());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_snapshot_arrives_whole() {
    let pki = Pki::new();
    let (a, b) = (Node::start(&pki, 1), Node::start(&pki, 2));
    for len in [0usize, 1, rpc::CHUNK_BYTES, 5 << 20 | 17] {
        let bytes = pattern(len);
        let file = file_of(&bytes);
        let header = Bytes::from_static(b"header");
        let sent = a.transport.send_snapshot(&b.peer(), header, file, len as u64, TIMEOUT).await;
        assert_eq!(sent.unwrap().as_ref(), crc32c::crc32c(&bytes).to_le_bytes());
    }
    let unwanted = Bytes::from_static(b"unwanted");
    let bytes = vec![7; 40 << 20];
    let sent =
        a.transport.send_snapshot(&b.peer(), unwanted, file_of(&bytes), bytes.len() as u64, TIMEOUT).await;
    assert_eq!(refusal(sent), "this node has a newer one");
    // The file is shorter than was said.
    let sent = a.transport.send_snapshot(&b.peer(), Bytes::new(), file_of(b"abc"), 9, TIMEOUT).await;
    assert!(matches!(sent, Err(TransportError::Lost { .. })), "{sent:?}");
    // Afterwards the connection is as good as before.
    let sent = a.transport.send_snapshot(&b.peer(), Bytes::new(), file_of(b"abc"), 3, TIMEOUT).await;
    sent.unwrap();
}

fn pattern(len: usize) -> Vec<u8> {
    (0..=250u8).cycle().take(len).collect()
}

fn file_of(bytes: &[u8]) -> std::fs::File {
    use std::io::Seek;
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(bytes).unwrap();
    file.rewind().unwrap();
    file
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_corrupt_chunk_is_refused() {
    let pki = Pki::new();
    let b = Node::start(&pki, 2);
    let raw = Raw::connect(&pki, Some(&pki.node(9)), b.address(), rpc::ALPN).await.unwrap();
    raw.hello(9).await.unwrap();
    let (mut send, mut recv) = raw.connection.open_bi().await.unwrap();
    let mut bytes = vec![StreamKind::Snapshot as u8];
    bytes.extend_from_slice(&SnapshotStart { header_len: 0, length: 10 }.encode());
    let chunk = rpc::ChunkHeader { len: 10, crc: 1 };
    bytes.extend_from_slice(&chunk.encode());
    bytes.extend_from_slice(b"0123456789");
    send.write_all(&bytes).await.unwrap();
    let answer = recv.read_to_end(10_000).await.unwrap();
    let text = String::from_utf8_lossy(&answer).into_owned();
    assert!(text.ends_with("the snapshot's chunk at byte 0 is corrupt"), "{text}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn strangers_get_no_further_than_the_handshake() {
    let pki = Pki::new();
    let b = Node::start(&pki, 2);
    // No certificate: QUIC says that it is connected, and the hello shows that it is not.
    let raw = Raw::connect(&pki, None, b.address(), rpc::ALPN).await.unwrap();
    assert!(raw.hello(9).await.unwrap_err().contains("certificate"), "no certificate");
    let raw = Raw::connect(&pki, Some(&pki.expired(9)), b.address(), rpc::ALPN).await.unwrap();
    let refused = raw.hello(9).await.unwrap_err();
    assert!(refused.contains("cryptographic handshake failed: error 45"), "{refused}");
    // A user's certificate of the same CA.
    let user = pki.certificate(&["alice".to_owned()], TIMEOUT * 1_000);
    let raw = Raw::connect(&pki, Some(&user), b.address(), rpc::ALPN).await.unwrap();
    assert!(raw.hello(9).await.unwrap_err().contains("is not of a node"));
    // The hello of another node than the certificate's.
    let raw = Raw::connect(&pki, Some(&pki.node(9)), b.address(), rpc::ALPN).await.unwrap();
    let refused = raw.hello(8).await.unwrap_err();
    assert!(refused.contains("the certificate is of node 9, the hello says node 8"), "{refused}");
    // Another protocol.
    assert!(Raw::connect(&pki, Some(&pki.node(9)), b.address(), b"h3").await.is_err());
    assert_eq!(b.echo.begun.load(Ordering::SeqCst), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn frames_that_cannot_be_close_the_connection_and_nothing_else() {
    let pki = Pki::new();
    let (a, b) = (Node::start(&pki, 1), Node::start(&pki, 2));
    let frame = |len: u32, kind: u16| rpc::FrameHeader { len, id: 1, kind }.encode().to_vec();
    let requests = |bytes: Vec<u8>| [vec![StreamKind::Requests as u8], bytes].concat();
    let vote = RequestKind::Vote.number();
    for (bytes, fault) in [
        (
            requests(frame(u32::MAX, vote)),
            "a frame of kind 3 announces 4294967295 bytes; at most 262144 are allowed",
        ),
        (requests(frame(100, vote)), "a frame ends before its end"),
        (requests(vec![1, 2, 3]), "a frame ends before its end"),
        (vec![77], "a stream of an unknown kind"),
        (vec![StreamKind::Hello as u8], "a second hello"),
        (
            [vec![StreamKind::Snapshot as u8], vec![255; 12]].concat(),
            "a snapshot's header announces 4294967295 bytes; at most 1048576 are allowed",
        ),
    ] {
        let raw = Raw::connect(&pki, Some(&pki.node(9)), b.address(), rpc::ALPN).await.unwrap();
        raw.hello(9).await.unwrap();
        let (mut send, _recv) = raw.connection.open_bi().await.unwrap();
        send.write_all(&bytes).await.unwrap();
        send.finish().unwrap();
        let closed = raw.connection.closed().await.to_string();
        assert!(closed.contains(fault), "{closed}");
    }
    // A kind that only a newer release knows is refused by name, and the next request is answered.
    let raw = Raw::connect(&pki, Some(&pki.node(9)), b.address(), rpc::ALPN).await.unwrap();
    raw.hello(9).await.unwrap();
    let (mut send, mut recv) = raw.connection.open_bi().await.unwrap();
    let both = [requests(frame(3, 999)), b"new".to_vec(), frame(3, vote), b"old".to_vec()].concat();
    send.write_all(&both).await.unwrap();
    send.finish().unwrap();
    let answers = recv.read_to_end(10_000).await.unwrap();
    let text = String::from_utf8_lossy(&answers).into_owned();
    assert!(text.contains("does not know requests of kind 999") && text.ends_with("old"), "{text}");
    assert_eq!(a.ask(&b.peer(), RequestKind::Vote, b"still here").await.unwrap(), "still here");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_has_few_connections_and_greets_on_each() {
    let pki = Pki::new();
    let b = Node::start(&pki, 2);
    let pair = pki.node(9);
    let connect = || Raw::connect(&pki, Some(&pair), b.address(), rpc::ALPN);
    let mut greeted = Vec::new();
    for _ in 0..=PEER_CONNECTIONS_MAX {
        let raw = connect().await.unwrap();
        raw.hello(9).await.unwrap();
        greeted.push(raw);
    }
    let closed = tokio::time::timeout(TIMEOUT, greeted[0].connection.closed()).await.unwrap().to_string();
    assert!(closed.contains("newer connections of this node took its place"), "{closed}");
    assert!(greeted[1].connection.close_reason().is_none());

    let silent = connect().await.unwrap();
    tokio::time::timeout(TIMEOUT, silent.connection.closed())
        .await
        .expect("nobody waits for a hello for ever");
    let hasty = connect().await.unwrap();
    let (mut send, mut recv) = hasty.connection.open_bi().await.unwrap();
    send.write_all(&[StreamKind::Requests as u8]).await.unwrap();
    let answer = recv.read_to_end(10_000).await.unwrap();
    let text = String::from_utf8_lossy(&answer).into_owned();
    assert!(text.ends_with("the first stream of a connection must bring a hello"), "{text}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_closed_transport_answers_nothing_and_says_so() {
    let pki = Pki::new();
    let (a, b) = (Node::start(&pki, 1), Node::start(&pki, 2));
    a.ask(&b.peer(), RequestKind::Vote, b"").await.unwrap();
    a.transport.close().await;
    assert!(matches!(
        a.ask(&b.peer(), RequestKind::Vote, b"").await,
        Err(TransportError::Unreachable { .. } | TransportError::Lost { .. })
    ));
}

/// A node that stops in a process that goes on, and that somebody still has a handle of, can start again at once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_released_transport_has_given_its_port_back() {
    let pki = Pki::new();
    let (a, b) = (Node::start(&pki, 1), Node::start(&pki, 2));
    a.ask(&b.peer(), RequestKind::Vote, b"").await.unwrap();
    b.ask(&a.peer(), RequestKind::Vote, b"").await.unwrap();
    let address = a.address();
    a.transport.close().await;
    a.transport.release().await;
    let again = Node::start_with(1, &pki.ca_pem, &pki.node(1), address).unwrap();
    assert_eq!(again.address(), address);
    again.ask(&b.peer(), RequestKind::Vote, b"").await.unwrap();
    drop(a);
}

/// Prints the round-trip time of a small request; its bound is only against a gross mistake.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_round_trip_on_loopback_takes_far_less_than_a_disk_sync() {
    let pki = Pki::new();
    let (a, b) = (Node::start(&pki, 1), Node::start(&pki, 2));
    let mut times = Vec::new();
    for _ in 0..2_000 {
        let began = Instant::now();
        a.ask(&b.peer(), RequestKind::ReadIndex, &[7; 256]).await.unwrap();
        times.push(began.elapsed());
    }
    times.sort();
    println!("echo of 256 B: p50 {:?}, p99 {:?}", times[1_000], times[1_980]);
    let began = Instant::now();
    let count = 20_000;
    let mut calls = futures::stream::FuturesUnordered::new();
    for _ in 0..count {
        if calls.len() >= 64 {
            futures::StreamExt::next(&mut calls).await;
        }
        calls.push(a.transport.call(
            &b.peer(),
            RequestKind::ReadIndex,
            Bytes::from_static(&[7; 256]),
            TIMEOUT,
        ));
    }
    while futures::StreamExt::next(&mut calls).await.is_some() {}
    println!("64 in flight: {:.0} a second", f64::from(count) / began.elapsed().as_secs_f64());
    assert!(times[1_000] < Duration::from_millis(50), "{:?}", times[1_000]);
}
