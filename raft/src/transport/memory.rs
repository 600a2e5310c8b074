//! A transport between nodes of one process, for tests: the same seam, without sockets and certificates.
//!
//! A [`Hub`] is the network. It can cut nodes off and loses no order; what is cut is refused or waits for the time-out
//! like a packet that nobody answers.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;

use crate::config::NodeId;
use crate::transport::{Identity, Peer, RequestKind, Service, Transport, TransportError};

/// The network that [`MemoryTransport`]s share.
#[derive(Clone, Default)]
pub struct Hub {
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    /// Who serves, by address.
    services: BTreeMap<String, (NodeId, Arc<dyn Service>)>,
    /// Nodes whose packets are lost in both directions.
    cut: BTreeSet<NodeId>,
}

impl Hub {
    /// A network without nodes.
    pub fn new() -> Self {
        Self::default()
    }

    /// The transport of a node that others reach at `address`.
    pub fn transport(&self, node: NodeId, address: &str) -> Arc<MemoryTransport> {
        Arc::new(MemoryTransport { hub: self.clone(), node, address: address.to_owned() })
    }

    /// Loses all packets from and to `node` until [`Self::heal`].
    pub fn cut(&self, node: NodeId) {
        self.lock().cut.insert(node);
    }

    /// Ends [`Self::cut`].
    pub fn heal(&self, node: NodeId) {
        self.lock().cut.remove(&node);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_cut(&self, one: NodeId, other: NodeId) -> bool {
        let state = self.lock();
        state.cut.contains(&one) || state.cut.contains(&other)
    }
}

/// One node's end of a [`Hub`].
pub struct MemoryTransport {
    hub: Hub,
    node: NodeId,
    address: String,
}

struct Route {
    service: Arc<dyn Service>,
    node: NodeId,
    own: Identity,
}

impl MemoryTransport {
    /// Does what a handshake does: finds the peer, and both look at each other's identity.
    fn route(&self, to: &Peer) -> Result<Route, TransportError> {
        let (address, expected) = match to {
            Peer::Member(id, info) => (&info.raft_address, Some((*id, info.directory))),
            Peer::Address(address) => (address, None),
        };
        let unreachable =
            |cause: &str| TransportError::Unreachable { peer: address.clone(), cause: cause.to_owned() };
        let refused = |reason| TransportError::Refused { peer: address.clone(), reason };
        let (own, found) = {
            let state = self.hub.lock();
            let own = state.services.get(&self.address).cloned();
            (own, state.services.get(address).cloned())
        };
        let (_, own) = own.ok_or_else(|| unreachable("this node does not serve yet"))?;
        let (node, service) = found.ok_or_else(|| unreachable("nobody listens there"))?;
        if self.hub.is_cut(self.node, node) {
            return Err(unreachable("cut off"));
        }
        let (mine, theirs) = (own.identity(), service.identity());
        if let Some((id, directory)) = expected {
            if id != theirs.node_id {
                return Err(refused(format!("it is node {}, not node {id}", theirs.node_id)));
            }
            if directory != theirs.directory {
                return Err(refused(format!("node {id} has another data directory than the member had")));
            }
        }
        own.admit(&theirs).map_err(refused)?;
        service.admit(&mine).map_err(refused)?;
        Ok(Route { service, node, own: mine })
    }
}

impl Transport for MemoryTransport {
    fn call(
        &self,
        to: &Peer,
        kind: RequestKind,
        body: Bytes,
        timeout: Duration,
    ) -> BoxFuture<'static, Result<Bytes, TransportError>> {
        let route = match self.route(to) {
            Ok(route) => route,
            Err(error) => return async move { Err(error) }.boxed(),
        };
        let peer = format!("node {}", route.node);
        // Called here, not when polled: requests arrive in the order of the calls.
        let answer = tokio::spawn(route.service.handle(route.own, kind, body));
        let (hub, one, other) = (self.hub.clone(), self.node, route.node);
        async move {
            let lost = |cause: String| TransportError::Lost { peer: peer.clone(), cause };
            let answer = tokio::time::timeout(timeout, answer).await;
            if hub.is_cut(one, other) {
                return Err(lost("cut off".to_owned()));
            }
            match answer {
                Err(_) => Err(lost(format!("none within {timeout:?}"))),
                Ok(Err(stopped)) => Err(lost(stopped.to_string())),
                Ok(Ok(Err(reason))) => Err(TransportError::Refused { peer: peer.clone(), reason }),
                Ok(Ok(Ok(bytes))) => Ok(bytes),
            }
        }
        .boxed()
    }

    fn send_snapshot(
        &self,
        to: &Peer,
        header: Bytes,
        file: File,
        length: u64,
        stall: Duration,
    ) -> BoxFuture<'static, Result<Bytes, TransportError>> {
        let route = match self.route(to) {
            Ok(route) => route,
            Err(error) => return async move { Err(error) }.boxed(),
        };
        let peer = format!("node {}", route.node);
        let file = Box::new(tokio::fs::File::from_std(file));
        let answer = route.service.handle_snapshot(route.own, header, length, file);
        async move {
            match tokio::time::timeout(stall, answer).await {
                Err(_) => Err(TransportError::Lost { peer, cause: format!("none within {stall:?}") }),
                Ok(Err(reason)) => Err(TransportError::Refused { peer, reason }),
                Ok(Ok(bytes)) => Ok(bytes),
            }
        }
        .boxed()
    }

    fn serve(&self, service: Arc<dyn Service>) {
        self.hub.lock().services.insert(self.address.clone(), (self.node, service));
    }

    fn close(&self) -> BoxFuture<'static, ()> {
        let (hub, address) = (self.hub.clone(), self.address.clone());
        async move {
            let service = hub.lock().services.remove(&address);
            drop(service);
        }
        .boxed()
    }
}
