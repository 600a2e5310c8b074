//! Jobs: what runs the work that outlives statements and nodes. Records, their life and who may work on them are
//! `catalog::job`; what is done is a [`Work`] of each kind; this module claims, runs, stops, reports and hands over.
//!
//! - [`work`]: the seam to what jobs do, and the handle that such work gets
//! - [`plan`]: what a node does about jobs, a state machine without I/O
//! - [`driver`]: the task that carries it out
//! - [`collect`]: the cluster's own job, which takes away what ended long ago
//!
//! J2: two nodes never work on one job at once, as long as the clocks of leaders differ by less than a sixth of a claim's life. A
//! node works on a job only while it has its claim by its own clock, and stops at once when it may have lost it; nothing that it
//! says after another node claimed the job changes anything (the epoch); and each step is decided by what the job's owner may do
//! then.

pub mod collect;
pub mod driver;
mod meters;
pub mod plan;
pub mod work;

pub use self::driver::{Jobs, Nudge, Works};
pub use self::work::{Advance, Running, Stopped, Work};
