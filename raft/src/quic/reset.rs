//! Stateless resets that outlive a restart.
//!
//! A node that restarts gets packets of connections that it knows nothing of. It answers with a stateless reset, and the
//! peer believes it if it carries the token that was given out with the connection. Tokens are made from a key, which
//! quinn draws at random for each endpoint; here it follows from the node's own private key, so a restarted node can
//! still end what its predecessor began. Without this a peer goes on with the dead connection until it times out, and
//! an election that falls into that time is lost.
//!
//! Source: RFC 9000, section 10.3.

use std::sync::Arc;
use std::time::Duration;

use quinn::{ConnectionId, ConnectionIdGenerator, EndpointConfig};
use ring::hmac;

/// Bytes of a connection id: enough that nobody guesses one.
const ID_BYTES: usize = 8;
/// At most this often; a node that restarts has a handful of peers with a handful of connections each.
const RESET_INTERVAL: Duration = Duration::from_millis(2);

/// The configuration of an endpoint whose node has this private key, in PEM.
pub(super) fn endpoint_config(key_pem: &[u8]) -> EndpointConfig {
    let node = hmac::Key::new(hmac::HMAC_SHA256, key_pem);
    let derived = hmac::sign(&node, b"grantd: quic stateless reset");
    let mut config = EndpointConfig::new(Arc::new(hmac::Key::new(hmac::HMAC_SHA256, derived.as_ref())));
    // Quinn's default ids are recognized by the endpoint that made them alone, and others' are not even reset.
    config.cid_generator(|| Box::new(RandomIds)).min_reset_interval(RESET_INTERVAL);
    config
}

/// Connection ids that nothing can be told from.
struct RandomIds;

impl ConnectionIdGenerator for RandomIds {
    fn generate_cid(&mut self) -> ConnectionId {
        let mut id = [0; ID_BYTES];
        getrandom::fill(&mut id).expect("the system gives random bytes");
        ConnectionId::new(&id)
    }

    fn cid_len(&self) -> usize {
        ID_BYTES
    }

    fn cid_lifetime(&self) -> Option<Duration> {
        None
    }
}
