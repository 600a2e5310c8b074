//! Jobs go from node to node, each a process: at once when theirs stops, and from a node that has no identity in the cloud, or
//! has one no more, to one that has.

#![allow(clippy::unwrap_used, reason = "tests")]

#[path = "handover/identity.rs"]
mod identity;
#[allow(dead_code, reason = "other tests use the rest")]
#[path = "feed/reader.rs"]
mod reader;
#[allow(dead_code, reason = "other tests use the rest")]
#[path = "jobs/stage.rs"]
mod stage;
