//! Which commands may take something away from somebody.

use crate::command::{Command, DefaultAct};
use crate::privilege::Privilege;
use crate::shelf::ShelfStep;

impl Command {
    /// Whether somebody may be allowed less after it than before: then it is reported only when no node can decide without
    /// it any more. What makes objects, gives rights or changes what is stored in tables takes nothing away. A command that
    /// might is one that does.
    pub fn tightens(&self) -> bool {
        match self {
            Self::AlterRole { .. }
            | Self::DropRoles { .. }
            | Self::RevokeRoles { .. }
            | Self::Revoke { .. }
            | Self::AlterOwner { .. }
            | Self::ReassignOwned { .. }
            | Self::DropOwned { .. }
            | Self::SetClusterSetting { .. }
            | Self::AlterRoleSettings { .. }
            | Self::DropDatabase { .. }
            | Self::DropSchemas { .. }
            | Self::DropTables { .. }
            | Self::DropViews { .. }
            | Self::DropSequences { .. }
            | Self::DropTypes { .. }
            | Self::DropFunctions { .. }
            | Self::DropExternalConnections { .. }
            | Self::DropIamRoles { .. }
            | Self::AlterExternalConnection { .. }
            // The rights on what a name means are those of another object from then on.
            | Self::Rename { .. }
            | Self::SetSchema { .. }
            // CREATE OR REPLACE: what is allowed through it is what the new one says.
            | Self::CreateView { .. }
            | Self::CreateFunction { .. } => true,
            // NOSQLLOGIN takes a login away, also through a role that holds it.
            Self::Grant { privileges, .. } => privileges.contains(&Privilege::NoSqlLogin),
            Self::GrantRoles { .. } => true,
            Self::AlterDefaultPrivileges { act, .. } => matches!(act, DefaultAct::Revoke { .. }),
            // A cluster's backup says what its users are, also of those that are there; until then nothing changes for anybody.
            Self::Shelve { step, .. } => matches!(step.as_ref(), ShelfStep::Publish),
            Self::CreateRole { .. }
            | Self::CreateDatabase { .. }
            | Self::CreateSchema { .. }
            | Self::CreateTable { .. }
            | Self::CreateSequence { .. }
            | Self::AlterSequence { .. }
            | Self::CreateType { .. }
            | Self::AlterType { .. }
            | Self::CreateExternalConnection { .. }
            | Self::CreateIamRole { .. }
            | Self::AlterTable { .. }
            | Self::CreateIndex { .. }
            | Self::DropIndexes { .. }
            | Self::RenameIndex { .. }
            | Self::Comment { .. }
            | Self::CommentOnIndex { .. }
            | Self::ProtectHistory { .. }
            | Self::ReleaseHistory { .. }
            // Jobs and schedules hold no rights: each step of one is decided by what its owner holds then.
            | Self::CreateJob { .. }
            | Self::ControlJob { .. }
            | Self::AlterJobOwner { .. }
            | Self::ClaimJob { .. }
            | Self::RenewClaims { .. }
            | Self::ReportJob { .. }
            | Self::CollectJobs
            | Self::CreateSchedules { .. }
            | Self::AlterSchedules { .. }
            | Self::ControlSchedule { .. }
            | Self::AdvanceSchedule { .. }
            | Self::RunSchedule { .. } => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::Targets;

    #[test]
    fn a_grant_takes_away_only_where_what_it_gives_is_a_no() {
        let grant = |privilege| {
            let (on, to) = (Targets::System, Vec::new());
            Command::Grant { privileges: vec![privilege], on, to, grant_option: false }
        };
        assert!(!grant(Privilege::All).tightens());
        assert!(grant(Privilege::NoSqlLogin).tightens());
    }
}
