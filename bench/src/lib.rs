//! Latency and throughput, each figure beside the floor that bounds it, measured in the same run.
//!
//! Absolute figures on a shared machine say little; ratios within one run say much. A run measures its floors before
//! and after, and says how far they moved: that is the noise.
#![forbid(unsafe_code)]

pub mod report;
pub mod floor;
pub mod cost;
pub mod grant;
pub mod listing;
pub mod postgres;
pub mod rows;
pub mod nodes;
pub mod pgbench;
