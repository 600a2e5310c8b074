//! Latency and throughput, each figure beside the floor that bounds it, measured in the same run.
//!
//! Absolute figures on a shared machine say little; ratios within one run say much. A run measures its floors before
//! and after, and says how far they moved: that is the noise.
#![forbid(unsafe_code)]

pub mod workload;
pub mod figure;
pub mod noise;
pub mod machine;
pub mod report;
pub mod plot;
pub mod load;
pub mod memory;
pub mod check;
pub mod floor;
pub mod cost;
pub mod echo;
pub mod grant;
pub mod listing;
pub mod start;
pub mod postgres;
pub mod rows;
pub mod peers;
pub mod nodes;
pub mod revoke;
pub mod pgbench;
pub mod pgcheck;
pub mod socket;
pub mod transports;
pub mod credentials;
pub mod feed;
pub mod backup;
pub mod all;
