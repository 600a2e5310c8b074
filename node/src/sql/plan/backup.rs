//! What a BACKUP is of, and what that needs. Source: cloud-jobs spec, B.7.3, C.1.

use grantd_catalog::command::Targets;
use grantd_catalog::decide::holds;
use grantd_catalog::id::ObjectId;
use grantd_catalog::object::Body;
use grantd_catalog::privilege::Privilege;
use grantd_catalog::refusal::{Refusal, state};
use grantd_catalog::require::{Need, Requirement};

use super::Origin;
use crate::backup::manifest;
use crate::error::SqlError;
use crate::sql::parse::backup::Of;

/// The most tables that are named one by one, or by a pattern: each is a need of the job and a part of its record.
const TABLES_MAX: usize = 1_000;

/// What a backup is of.
#[derive(Debug)]
pub struct Backed {
    /// As its layers have it.
    pub targets: manifest::Targets,
    /// The tables, where tables are named: whose history is kept.
    pub tables: Option<Vec<ObjectId>>,
    /// What the job needs, at each step.
    pub requirement: Requirement,
    /// What the client is told besides.
    pub notice: Option<String>,
}

/// What a statement's targets come to.
pub fn backed(origin: Origin<'_>, of: &Of) -> Result<Backed, SqlError> {
    let state = origin.view.state();
    match of {
        Of::Cluster => {
            let mut requirement = Requirement::default();
            requirement.privilege(ObjectId::CLUSTER, Privilege::Backup);
            let targets = manifest::Targets { cluster: true, ..manifest::Targets::default() };
            Ok(Backed { targets, tables: None, requirement, notice: None })
        }
        Of::Databases(names) => {
            let databases = state.resolve_targets(origin.context, &Targets::Databases(names.clone()))?;
            refuse_system(origin, &databases)?;
            let (requirement, notice) = needs(origin, &databases, Privilege::Connect, "DATABASE");
            let databases = databases.iter().map(|id| id.0).collect();
            let targets = manifest::Targets { databases, ..manifest::Targets::default() };
            Ok(Backed { targets, tables: None, requirement, notice })
        }
        Of::Tables(patterns) => {
            let found = state.resolve_targets(origin.context, &Targets::Tables(patterns.clone()))?;
            refuse_system(origin, &found)?;
            if found.len() > TABLES_MAX {
                return Err(SqlError::too_large(format!(
                    "a backup of more than {TABLES_MAX} tables by name"
                ))
                .with_hint("Back up their database."));
            }
            let (requirement, notice) = needs(origin, &found, Privilege::Select, "TABLE");
            let is_table =
                |id: &ObjectId| matches!(state.object(*id).map(|object| &object.body), Some(Body::Table(_)));
            let tables = found.iter().copied().filter(is_table).collect();
            let targets = manifest::Targets {
                tables: found.iter().map(|id| id.0).collect(),
                ..manifest::Targets::default()
            };
            Ok(Backed { targets, tables: Some(tables), requirement, notice })
        }
    }
}

/// 42501, in the words that a backup of the cluster is refused with.
pub fn denied(backed: &Backed, refusal: Refusal) -> Refusal {
    if !backed.targets.cluster {
        return refusal;
    }
    let message = "only users with the admin role or the BACKUP system privilege are allowed to perform full cluster \
                   backups";
    Refusal { message: message.to_owned(), ..refusal }
}

/// BACKUP on each. Who has it not on all of them, but what was enough before there was such a privilege, is let through, and told.
fn needs(
    Origin { view, actor, .. }: Origin<'_>,
    ids: &[ObjectId],
    legacy: Privilege,
    kind: &str,
) -> (Requirement, Option<String>) {
    let state = view.state();
    let may = |id: &ObjectId, privilege| holds(view, actor.current, *id, privilege);
    // There is no BACKUP on sequences: who reads one may copy it.
    let is_sequence =
        |id: &ObjectId| matches!(state.object(*id).map(|object| &object.body), Some(Body::Sequence(_)));
    let usual = |id: &ObjectId| if is_sequence(id) { Privilege::Select } else { Privilege::Backup };
    let as_before = !ids.iter().all(|id| may(id, usual(id))) && ids.iter().all(|id| may(id, legacy));
    let mut requirement = Requirement::default();
    for id in ids {
        if as_before
            && legacy == Privilege::Select
            && let Some(object) = state.object(*id)
        {
            requirement.need(Need::Privilege { object: object.parent, privilege: Privilege::Usage });
        }
        requirement.privilege(*id, if as_before { legacy } else { usual(id) });
    }
    let user = state.principal_name(actor.current);
    let notice = as_before.then(|| {
        format!(
            "{} is enough for BACKUP {kind} only for now: in a later release user {user} will need the BACKUP privilege. \
             Grant it with GRANT BACKUP ON {kind} … TO {user}",
            legacy.word()
        )
    });
    (requirement, notice)
}

/// Only a backup of the cluster has what is the cluster's own.
fn refuse_system(origin: Origin<'_>, ids: &[ObjectId]) -> Result<(), SqlError> {
    let view = origin.view.state();
    let Some(own) = ids.iter().find(|id| **id == ObjectId::SYSTEM_DATABASE || view.is_system(**id)) else {
        return Ok(());
    };
    let name = view.object(*own).map(|object| view.full_name(object)).unwrap_or_default();
    let message = format!("{name} is the system's, and in backups of the whole cluster only");
    Err(SqlError::new(state::FEATURE_NOT_SUPPORTED, message).with_hint("Write BACKUP INTO 'collection'."))
}
