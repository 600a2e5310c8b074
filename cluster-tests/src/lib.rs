//! Real `grantd` processes on loopback, killed for real, and a checker of what their clients were promised.
//!
//! `process` runs the binaries, `promise` remembers what was acknowledged and says what the cluster must show
//! afterwards, `script` reads and writes acceptance scripts, `postgres` runs what others compare grantd with, `cloud` is
//! what nodes find outside, `scan` looks for secrets where none may be. An unknown outcome is never taken for a failure: it may or may not be there, whole.
#![forbid(unsafe_code)]

pub mod dice;
pub mod scan;
pub mod cloud;
pub mod process;
pub mod https;
pub mod postgres;
pub mod promise;
pub mod script;
