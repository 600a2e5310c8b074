//! Replication: the durable log, the row store, the machine that applies entries to catalog and rows in one
//! transaction, snapshots, and the QUIC transport.
//!
//! The only crate that names openraft, quinn or rusqlite. It decides nothing about SQL and nothing about who may do
//! what beyond asking `grantd_catalog::decide` again where an entry is applied.
//!
//! Read in the order of the modules below; a module uses only those above it.

pub mod config;
pub mod metrics;
pub mod codec;
mod private;
pub mod entry;
pub mod types;
pub mod memory;
pub mod log;
pub mod rows;
pub mod lease;
pub mod write;
pub mod snapshot;
pub mod machine;
pub mod transport;
pub mod rpc;
pub mod quic;
pub mod message;
pub mod network;
pub mod handle;
