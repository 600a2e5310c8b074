//! The bytes between nodes: what fits, what is refused, and that no bytes do harm.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should panic")]

use grantd_raft::config::NodeId;
use grantd_raft::rpc::{self, ChunkHeader, Expected, FrameHeader, Hello, HelloAnswer, SnapshotStart};
use grantd_raft::transport::{Identity, RequestKind};
use grantd_raft::types::ClusterId;
use proptest::prelude::*;

fn hello(node_id: NodeId) -> Hello {
    Hello {
        protocol_min: 1,
        protocol_max: 1,
        identity: Identity { cluster_id: Some(ClusterId(7)), node_id, directory: u128::from(node_id) * 100 },
        release: "0.1.0".to_owned(),
    }
}

fn expect(node_id: NodeId) -> Expected {
    Expected { node_id, directory: Some(u128::from(node_id) * 100) }
}

fn reason(own: &Hello, peer: &Hello, expected: Expected) -> String {
    rpc::negotiate(own, peer, expected).expect_err("they fit").to_string()
}

#[test]
fn two_nodes_of_a_cluster_fit() {
    assert_eq!(rpc::negotiate(&hello(1), &hello(2), expect(2)), Ok(1));
    // Who dials us may have any directory: the membership is asked elsewhere.
    assert_eq!(rpc::negotiate(&hello(1), &hello(2), Expected { node_id: 2, directory: None }), Ok(1));
    let mut newcomer = hello(2);
    newcomer.identity.cluster_id = None;
    assert_eq!(rpc::negotiate(&hello(1), &newcomer, expect(2)), Ok(1));
    assert_eq!(rpc::negotiate(&newcomer, &hello(1), expect(1)), Ok(1));
}

#[test]
fn the_newest_common_protocol_is_spoken() {
    let (mut old, mut new) = (hello(1), hello(2));
    (old.protocol_min, old.protocol_max) = (1, 3);
    (new.protocol_min, new.protocol_max) = (2, 5);
    assert_eq!(rpc::negotiate(&old, &new, expect(2)), Ok(3));
    assert_eq!(rpc::negotiate(&new, &old, expect(1)), Ok(3));
    new.protocol_min = 4;
    new.release = "9.0.0".to_owned();
    assert_eq!(
        reason(&old, &new, expect(2)),
        "no common protocol: release 0.1.0 speaks 1 to 3, release 9.0.0 speaks 4 to 5; upgrade the older one"
    );
    rpc::negotiate(&new, &old, expect(1)).expect_err("nor the other way round");
}

#[test]
fn a_misfit_is_named_with_the_way_out() {
    let (own, peer) = (hello(1), hello(2));
    assert_eq!(
        reason(&own, &peer, expect(3)),
        "the certificate is of node 3, the hello says node 2; start it with --node-id 3, or make a certificate for \
         node 2"
    );
    assert_eq!(
        reason(&own, &own, expect(1)),
        "both are node 1; every node needs a number of its own, and a certificate for it"
    );
    let mut other = hello(2);
    other.identity.cluster_id = Some(ClusterId(8));
    assert_eq!(
        reason(&own, &other, expect(2)),
        "it belongs to cluster 00000000-0000-0000-0000-000000000008, not to 00000000-0000-0000-0000-000000000007; \
         a node's directory belongs to one cluster for good"
    );
    assert_eq!(
        reason(&own, &peer, Expected { node_id: 2, directory: Some(9) }),
        "node 2 has another directory than the member: it has forgotten what it promised; remove node 2 and let this \
         one join under a new number"
    );
}

#[test]
fn the_bytes_never_change() {
    assert_eq!(
        hello(2).encode(),
        [
            0xA7, 10, 0, 1, 0, 12, 0, 0, 0, 144, 230, 160,
            27, // envelope: kind 10, format 1, 12 bytes, checksum
            1, 1, 1, 7, 2, 200, 5, 48, 46, 49, 46, 48,
        ]
    );
    let refused = HelloAnswer::Refused { reason: "no".to_owned() }.encode();
    assert_eq!(refused[rpc_body()..], [1, 2, b'n', b'o']);
    let welcome = HelloAnswer::Welcome { protocol: 1, hello: hello(2) }.encode();
    assert_eq!(welcome[rpc_body()..][..3], [0, 1, 1]);
    let header = FrameHeader { len: 0x0403_0201, id: 0x0807_0605_0403_0201, kind: 0x0201 };
    assert_eq!(header.encode(), [1, 2, 3, 4, 1, 2, 3, 4, 5, 6, 7, 8, 1, 2]);
    assert_eq!(SnapshotStart { header_len: 1, length: 2 }.encode(), [1, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0]);
    // The check value of CRC-32C (RFC 3720, B.4).
    assert_eq!(ChunkHeader::of(b"123456789").encode(), [9, 0, 0, 0, 0x83, 0x92, 0x06, 0xE3]);
}

fn rpc_body() -> usize {
    grantd_raft::codec::HEADER_BYTES
}

#[test]
fn a_length_beyond_the_bound_of_its_kind_is_refused() {
    for kind in RequestKind::ALL {
        let max = rpc::request_bytes_max(kind);
        assert_eq!(FrameHeader::new(max, 1, kind.number()).request(), Ok(Some(kind)));
        let len = u32::try_from(max).unwrap() + 1;
        let refused = FrameHeader { len, id: 1, kind: kind.number() }.request().unwrap_err().to_string();
        assert!(refused.ends_with(&format!("announces {len} bytes; at most {max} are allowed")), "{refused}");
        let len = u32::try_from(rpc::answer_bytes_max(kind)).unwrap() + 1;
        FrameHeader { len, id: 1, kind: 1 }.answer(kind).unwrap_err();
    }
    assert_eq!(FrameHeader::new(5, 1, 60_000).request(), Ok(None));
    let len = u32::try_from(rpc::FRAME_BYTES_MAX).unwrap() + 1;
    FrameHeader { len, id: 1, kind: 60_000 }.request().unwrap_err();
    assert!(rpc::hello_len((4096u32).to_le_bytes()).is_ok());
    assert!(rpc::hello_len((4097u32).to_le_bytes()).is_err());
}

#[test]
fn a_long_reason_is_cut_between_characters() {
    let sealed = HelloAnswer::Refused { reason: "ö".repeat(5_000) }.encode();
    assert!(sealed.len() <= rpc::HELLO_BYTES_MAX);
    let HelloAnswer::Refused { reason } = HelloAnswer::decode(&sealed).unwrap() else {
        panic!("not refused")
    };
    assert_eq!(reason, "ö".repeat(rpc::REASON_BYTES_MAX / 2));
    let mut odd = hello(1);
    odd.release = "x".repeat(100_000);
    assert!(HelloAnswer::Welcome { protocol: 1, hello: odd }.encode().len() <= rpc::HELLO_BYTES_MAX);
}

#[test]
fn a_hello_that_claims_much_memory_gets_none() {
    // A release of 2^40 bytes, in an envelope that is otherwise right.
    let mut body = vec![1, 1, 0, 2, 0, 253];
    body.extend_from_slice(&(1u64 << 40).to_le_bytes());
    let sealed = grantd_raft::codec::seal(grantd_raft::codec::Kind::Hello, 1, &body);
    let error = Hello::decode(&sealed).unwrap_err().to_string();
    assert!(error.contains("LimitExceeded"), "{error}");
}

prop_compose! {
    fn hellos()(
        protocol_min in any::<u16>(), protocol_max in any::<u16>(), cluster in any::<Option<u128>>(),
        node_id in any::<u64>(), directory in any::<u128>(), release in ".{0,40}",
    ) -> Hello {
        let identity = Identity { cluster_id: cluster.map(ClusterId), node_id, directory };
        Hello { protocol_min, protocol_max, identity, release }
    }
}

proptest! {
    #[test]
    fn what_is_sealed_is_read_and_nothing_shorter_or_flipped(hello in hellos(), at in any::<prop::sample::Index>(), bit in 0..8) {
        let sealed = hello.encode();
        prop_assert_eq!(Hello::decode(&sealed).unwrap(), hello.clone());
        for end in 0..sealed.len() {
            prop_assert!(Hello::decode(&sealed[..end]).is_err());
        }
        let mut flipped = sealed.clone();
        flipped[at.index(sealed.len())] ^= 1u8 << bit;
        prop_assert!(Hello::decode(&flipped).is_err());
        let welcome = HelloAnswer::Welcome { protocol: 3, hello };
        prop_assert_eq!(HelloAnswer::decode(&welcome.encode()).unwrap(), welcome);
    }

    #[test]
    fn no_bytes_do_harm(bytes in prop::collection::vec(any::<u8>(), 0..300), left in any::<u64>()) {
        let _ = Hello::decode(&bytes);
        let _ = HelloAnswer::decode(&bytes);
        let sealed = grantd_raft::codec::seal(grantd_raft::codec::Kind::Hello, 1, &bytes);
        let _ = Hello::decode(&sealed);
        let _ = HelloAnswer::decode(&sealed);
        if let Some(bytes) = bytes.first_chunk() {
            let header = FrameHeader::decode(*bytes);
            prop_assert_eq!(&header.encode(), bytes);
            if header.request().is_ok() {
                prop_assert!(header.len as usize <= rpc::FRAME_BYTES_MAX);
            }
            for kind in RequestKind::ALL {
                if header.answer(kind).is_ok() {
                    prop_assert!(header.len as usize <= rpc::FRAME_BYTES_MAX);
                }
            }
        }
        if let Some(bytes) = bytes.first_chunk()
            && let Ok(start) = SnapshotStart::decode(*bytes)
        {
            prop_assert!(start.header_len as usize <= rpc::SNAPSHOT_HEADER_BYTES_MAX);
        }
        if let Some(bytes) = bytes.first_chunk()
            && let Ok(chunk) = ChunkHeader::decode(*bytes, left)
        {
            prop_assert!(chunk.len > 0 && u64::from(chunk.len) <= left);
            prop_assert!(chunk.len as usize <= rpc::CHUNK_BYTES);
        }
    }

    #[test]
    fn negotiation_agrees_on_both_sides(a in hellos(), b in hellos()) {
        let of = |hello: &Hello| Expected { node_id: hello.identity.node_id, directory: None };
        let forth = rpc::negotiate(&a, &b, of(&b));
        let back = rpc::negotiate(&b, &a, of(&a));
        prop_assert_eq!(forth.clone().ok(), back.ok());
        if let Ok(protocol) = forth {
            prop_assert!((a.protocol_min..=a.protocol_max).contains(&protocol));
            prop_assert!((b.protocol_min..=b.protocol_max).contains(&protocol));
        }
    }
}
