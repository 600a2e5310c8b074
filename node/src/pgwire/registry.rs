//! The sessions of this node: how many, who, and how another connection cancels one's statement.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use dashmap::DashMap;
use dashmap::mapref::entry::Entry as Slot;
use subtle::ConstantTimeEq;

use grantd_catalog::name::RoleName;
use grantd_raft::config::NodeId;

use crate::activity::Cancelled;

/// Bits of a process number that number the sessions of a node; the bits above hold the node, so that a cancel request
/// that reaches another node can be routed. The sign bit stays clear: clients print the number.
const SERIAL_BITS: u32 = 20;
/// Nodes are told apart by this many of their low bits.
const NODE_BITS: u32 = 31 - SERIAL_BITS;
/// Bytes of a key in protocol 3.2; the first four are the key in protocol 3.0.
const KEY_BYTES: usize = 32;
/// Bytes of a key in protocol 3.0.
const KEY_BYTES_OLD: usize = 4;

/// The sessions of one node. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Registry {
    node: u32,
    sessions: Arc<DashMap<u32, Entry>>,
    next: Arc<AtomicU32>,
}

#[derive(Debug)]
struct Entry {
    user: RoleName,
    key: Key,
    cancelled: Cancelled,
}

/// What proves that a cancel request comes from the session's client.
#[derive(Clone, Debug)]
struct Key(Vec<u8>);

/// A session's place in the registry; it is free again when this is dropped.
#[derive(Debug)]
pub struct Registration {
    registry: Registry,
    serial: u32,
    key: Key,
}

/// The width of the keys that a client understands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyWidth {
    /// Four bytes: protocol 3.0.
    Old,
    /// As many as the server likes: protocol 3.2.
    New,
}

impl Registry {
    /// An empty registry of `node`.
    pub fn new(node: NodeId) -> Self {
        let node = u32::try_from(node & ((1 << NODE_BITS) - 1)).expect("it was cut to a few bits");
        Self { node, sessions: Arc::default(), next: Arc::default() }
    }

    /// Adds a session.
    ///
    /// # Errors
    /// The operating system gave no random bytes for its key.
    pub fn register(
        &self,
        user: RoleName,
        cancelled: Cancelled,
        width: KeyWidth,
    ) -> Result<Registration, getrandom::Error> {
        let bytes = match width {
            KeyWidth::Old => KEY_BYTES_OLD,
            KeyWidth::New => KEY_BYTES,
        };
        let mut key = vec![0; bytes];
        getrandom::fill(&mut key)?;
        let mut entry = Some(Entry { user, key: Key(key.clone()), cancelled });
        // Serials wrap around. There are far fewer sessions than serials, so a free one is near.
        loop {
            let serial = self.next.fetch_add(1, Ordering::Relaxed) & ((1 << SERIAL_BITS) - 1);
            if let Slot::Vacant(slot) = self.sessions.entry(serial) {
                slot.insert(entry.take().expect("it is inserted once"));
                return Ok(Registration { registry: self.clone(), serial, key: Key(key) });
            }
        }
    }

    /// Cancels the statement of the session with this process number, if the key is its own. Answers whether it was.
    pub fn cancel(&self, process: i32, key: &[u8]) -> bool {
        let Ok(process) = u32::try_from(process) else { return false };
        if process >> SERIAL_BITS != self.node {
            return false;
        }
        let Some(entry) = self.sessions.get(&(process & ((1 << SERIAL_BITS) - 1))) else { return false };
        let matches = bool::from(entry.key.0.as_slice().ct_eq(key));
        if matches {
            entry.cancelled.raise();
        }
        matches
    }

    /// How many sessions there are.
    pub fn len(&self) -> usize {
        self.sessions.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.sessions.is_empty()
    }

    /// Who is logged in, sorted; one name for each session.
    pub fn users(&self) -> Vec<RoleName> {
        let mut users: Vec<_> = self.sessions.iter().map(|entry| entry.user.clone()).collect();
        users.sort();
        users
    }
}

impl Registration {
    /// The number that the client is told as the server's process.
    pub fn process(&self) -> i32 {
        let process = self.registry.node << SERIAL_BITS | self.serial;
        i32::try_from(process).expect("the sign bit is clear")
    }

    /// The key that the client is told.
    pub fn key(&self) -> &[u8] {
        &self.key.0
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        self.registry.sessions.remove(&self.serial);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_statement_is_cancelled_only_with_the_key_of_its_session() {
        let registry = Registry::new(5);
        let cancelled = Cancelled::default();
        let user = RoleName::normalize("u");
        let session = registry.register(user, cancelled.clone(), KeyWidth::New).unwrap();
        assert_eq!(session.process() >> SERIAL_BITS, 5);
        assert!(!registry.cancel(session.process(), &session.key()[..4]));
        assert!(!registry.cancel(session.process() + 1, session.key()));
        assert!(!registry.cancel(-1, session.key()));
        assert!(!Registry::new(6).cancel(session.process(), session.key()));
        assert!(!cancelled.is_raised());
        assert!(registry.cancel(session.process(), session.key()));
        assert!(cancelled.is_raised());
        let process = session.process();
        let key = session.key().to_vec();
        drop(session);
        assert!(!registry.cancel(process, &key));
        assert!(registry.is_empty());
    }

    #[test]
    fn serials_wrap_around_over_those_in_use() {
        let registry = Registry::new(1);
        let register =
            || registry.register(RoleName::normalize("u"), Cancelled::default(), KeyWidth::Old).unwrap();
        let first = register();
        registry.next.store(1 << SERIAL_BITS, Ordering::Relaxed);
        assert_ne!(register().process(), first.process());
        assert_eq!(registry.len(), 1);
    }
}
