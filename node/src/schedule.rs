//! Schedules of backups: when they are due ([`crontab`]), what is stored of their statements ([`details`]), and what the leader
//! does about them, as a plan without I/O ([`plan`]). Records and their rules are `catalog::schedule`; the statements are
//! `sql`; what carries the plan out is `node::scheduler`.

pub mod crontab;
pub mod details;
pub mod place;
pub mod plan;
