//! Backups as bytes: what was written is read back, at each time; what is changed in a bucket is found; nothing secret is in one;
//! other tools read the data.

#![allow(clippy::unwrap_used, reason = "tests")]

#[path = "backup/faults.rs"]
mod faults;
#[path = "backup/history.rs"]
mod history;
#[path = "cloud_stream/node.rs"]
#[allow(dead_code, reason = "shared with the tests of streams")]
mod node;
#[path = "backup/secrets.rs"]
mod secrets;
#[path = "backup/stage.rs"]
mod stage;
#[path = "backup/tools.rs"]
mod tools;
