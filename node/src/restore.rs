//! RESTORE: from what a backup says to the steps of a shelf (`catalog::shelf`, `docs/adr/0025-restore-from-a-shelf.md`).
//!
//! - [`content`]: the catalog of a backup, as of its time
//! - [`choice`]: which of it a statement wants, and where it goes
//! - [`bring`]: the same under the ids of this cluster
//! - [`rows`]: whether rows are rows of their table
//! - [`details`]: what a job was asked for
//! - [`work`]: the work of the job, step by step
//!
//! What is not here: statements and their texts; who plans texts ([`work::Texts`]).

pub mod content;
pub mod choice;
pub mod bring;
pub mod rows;
pub mod details;
pub mod work;
