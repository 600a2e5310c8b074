//! Everything that has a goal, in one run.

use std::time::Duration;

use crate::load::{Plan, apart};
use crate::nodes::Nodes;
use crate::noise::Calibration;
use crate::report::Report;
use crate::{check, grant, listing, peers, pgcheck, revoke, rows, start, transports};

type Failed = Box<dyn std::error::Error>;

/// How long the loads are.
#[derive(Clone, Copy, Debug)]
pub struct Length {
    check: check::Load,
    plan: Plan,
    /// Of GRANT and REVOKE on three processes, and how often each fault happens there.
    seconds_of_revokes: u64,
    faults: u32,
    seconds_of_rows: u64,
    seconds_of_grants: u64,
    tables: usize,
    roles: usize,
    /// Of a catalog that a node starts with. None: making it takes too long for a first look.
    started_grants: Option<usize>,
}

/// A first look: all of it in less than five minutes on two processors.
pub const QUICK: Length = Length {
    check: check::Load { scale: 10, rounds: 7 },
    seconds_of_revokes: 2,
    faults: 2,
    plan: Plan { rounds: 5, length: Duration::from_millis(100) },
    seconds_of_rows: 2,
    seconds_of_grants: 3,
    tables: 1_000,
    roles: 100,
    started_grants: None,
};

/// A result, if the machine is quiet.
pub const WHOLE: Length = Length {
    check: check::Load { scale: 100, rounds: 21 },
    seconds_of_revokes: 10,
    faults: revoke::ROUNDS,
    plan: Plan { rounds: 15, length: Duration::from_millis(200) },
    seconds_of_rows: 10,
    seconds_of_grants: 30,
    tables: listing::TABLES,
    roles: 1_000,
    started_grants: Some(1_000_000),
};

/// Runs all of it.
pub async fn run(report: &mut Report, length: Length, calibration: &mut Calibration) -> Result<(), Failed> {
    check::run(length.check, report)?;
    apart(async |_| peers::run(report, length.plan, calibration).await)?;
    transports::run(report, length.plan, transports::EVERYTHING, calibration).await?;
    pgcheck::run(report, length.plan, calibration).await?;
    grant::run(length.seconds_of_grants, report).await?;
    match Nodes::program() {
        Ok(_) => revoke::run(length.seconds_of_revokes, length.faults, report).await?,
        Err(missing) => report.missing(format!("REVOKE with a node gone: {missing}")),
    }
    listing::run(length.tables, length.roles, None, report).await?;
    match length.started_grants {
        Some(grants) => start::run(grants, report).await?,
        None => report.missing("start with 1 M grants: making them takes minutes (`start`)".to_owned()),
    }
    rows::run(length.seconds_of_rows, report).await
}
