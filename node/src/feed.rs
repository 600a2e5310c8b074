//! Changefeeds: from the change history of tables to a place for messages.
//!
//! [`options`] says what a statement asked for, [`shape`] what a table is to a feed, `columns` what one is in Parquet, [`encode`] makes bytes of its rows, under
//! the names of [`topic`]. [`plan`] decides without I/O what is read, sent, made sure of, kept and told, and in which order; the
//! promises of a feed are its promises. [`sink`] is where messages go, [`source`] where changes come from. [`run`] does what the
//! plan says, and begins again from what was kept where a sink or the cluster is in trouble.
//!
//! A feed without a sink is [`client`]'s: rows of the statement that made it. A feed that is a job keeps in its record what it was made as ([`details`]); [`reach`] opens its sink wherever that leads by
//! then, and [`work`] runs it as the job's owner.
//!
//! Bounds: a page of the history, one commit that is put together, and what a sink holds are in memory; a scan of a table waits
//! in a file. What is not here: statements, and who may. See `docs/changefeeds.md`.

pub mod options;
pub mod topic;
pub mod shape;
mod columns;
pub mod encode;
pub mod plan;
pub mod sink;
pub mod source;
pub mod run;
pub mod client;
pub mod meters;
pub mod details;
pub mod reach;
pub mod work;
