//! TRUNCATE: all rows go, for who holds DROP.

use std::collections::{BTreeMap, BTreeSet};

use grantd_catalog::decide::{Decision, decide};
use grantd_catalog::id::ObjectId;
use grantd_catalog::name::Name;
use grantd_catalog::object::Body;
use grantd_catalog::privilege::Privilege;
use grantd_catalog::refusal::state::FEATURE_NOT_SUPPORTED;

use super::{Origin, Plan, Planner, Step};
use crate::error::SqlError;
use crate::sql::parse::Truncate;
use crate::sql::system::foreign_key::referring;

/// Plans a TRUNCATE. A table that another one refers to goes with it or not at all, as in PostgreSQL, whatever rows there
/// are.
pub fn truncate(origin: Origin<'_>, statement: &Truncate) -> Result<Plan, SqlError> {
    let mut planner = Planner::new(origin, &[]);
    let mut tables: BTreeMap<ObjectId, Name> = BTreeMap::new();
    for name in &statement.names {
        let (id, _) = planner.table(name, &[Privilege::Drop])?;
        tables.insert(id, planner.object(id)?.name.clone());
    }
    let state = origin.view.state();
    let mut ahead: Vec<_> = tables.keys().copied().collect();
    while let Some(id) = ahead.pop() {
        for (child, _) in referring(state, id).filter(|(child, _)| *child != id) {
            let object = planner.object(child)?;
            if tables.contains_key(&child) {
                continue;
            }
            if !statement.cascade {
                // Who may not truncate is told that, and not who refers to the table.
                if let Decision::Deny(refusal) =
                    decide(origin.view, origin.actor.current, &planner.requirement)
                {
                    return Err(refusal.into());
                }
                let (table, child) = (&tables[&id], &object.name);
                return Err(SqlError::new(
                    FEATURE_NOT_SUPPORTED,
                    "cannot truncate a table referenced in a foreign key constraint",
                )
                .with_detail(format!("Table \"{child}\" references \"{table}\"."))
                .with_hint(format!(
                    "Truncate table \"{child}\" at the same time, or use TRUNCATE ... CASCADE."
                )));
            }
            planner.mention(child, object)?;
            planner.uses(child, &[Privilege::Drop]);
            tables.insert(child, object.name.clone());
            ahead.push(child);
        }
    }
    if statement.restart_identity {
        let owns =
            |id: &ObjectId| state.referrers(*id).any(|(_, object)| matches!(object.body, Body::Sequence(_)));
        if tables.keys().any(owns) {
            return Err(SqlError::unsupported("TRUNCATE … RESTART IDENTITY of a table that owns a sequence")
                .with_hint("Use setval()."));
        }
    }
    let mut texts = ordered(origin, &tables)?.into_iter().map(|id| format!("DELETE FROM t{id}"));
    let last = texts.next_back().unwrap_or_default();
    let before = texts.map(Step::plain).collect();
    let plan = planner.finish(last, None, "TRUNCATE");
    Ok(Plan { before, ..plan })
}

/// Who refers to a table goes before it.
fn ordered(origin: Origin<'_>, tables: &BTreeMap<ObjectId, Name>) -> Result<Vec<ObjectId>, SqlError> {
    let mut left: BTreeSet<ObjectId> = tables.keys().copied().collect();
    let mut order = Vec::with_capacity(left.len());
    while !left.is_empty() {
        let free = left.iter().copied().find(|id| {
            let mut children = referring(origin.view.state(), *id);
            children.all(|(child, _)| child == *id || !left.contains(&child))
        });
        let free = free.ok_or_else(|| {
            SqlError::unsupported("TRUNCATE of tables that refer to each other in a circle")
        })?;
        left.remove(&free);
        order.push(free);
    }
    Ok(order)
}
