//! Which commands change what rows are made of, and which only who may do what.

use crate::command::Command;
use crate::shelf::ShelfStep;

impl Command {
    /// Whether it may change what rows are made of, or what a name means: objects that come, go, or change their shape
    /// or name. All others change who may do what, and what is noted beside; they neither hand out ids of objects nor
    /// touch the row store, so rows that are captured before one of them can be applied after it.
    pub fn changes_shape(&self) -> bool {
        match self {
            Self::CreateDatabase { .. }
            | Self::DropDatabase { .. }
            | Self::CreateSchema { .. }
            | Self::DropSchemas { .. }
            | Self::CreateTable { .. }
            | Self::DropTables { .. }
            | Self::DropOwned { .. }
            | Self::CreateView { .. }
            | Self::DropViews { .. }
            | Self::CreateSequence { .. }
            | Self::AlterSequence { .. }
            | Self::DropSequences { .. }
            | Self::CreateType { .. }
            | Self::AlterType { .. }
            | Self::DropTypes { .. }
            | Self::CreateFunction { .. }
            | Self::DropFunctions { .. }
            | Self::CreateExternalConnection { .. }
            | Self::AlterExternalConnection { .. }
            | Self::DropExternalConnections { .. }
            | Self::CreateIamRole { .. }
            | Self::DropIamRoles { .. }
            | Self::Rename { .. }
            | Self::SetSchema { .. }
            | Self::AlterTable { .. }
            | Self::CreateIndex { .. }
            | Self::DropIndexes { .. }
            | Self::RenameIndex { .. } => true,
            // Who reads or writes rows knows nothing of what is on a shelf, until it is published.
            Self::Shelve { step, .. } => match step.as_ref() {
                ShelfStep::Begin { .. } | ShelfStep::Make(_) | ShelfStep::Publish | ShelfStep::Clear => true,
                ShelfStep::Put(_) | ShelfStep::Fill { .. } => false,
            },
            Self::CreateRole { .. }
            | Self::AlterRole { .. }
            | Self::DropRoles { .. }
            | Self::GrantRoles { .. }
            | Self::RevokeRoles { .. }
            | Self::Grant { .. }
            | Self::Revoke { .. }
            | Self::AlterOwner { .. }
            | Self::ReassignOwned { .. }
            | Self::AlterRoleSettings { .. }
            | Self::AlterDefaultPrivileges { .. }
            | Self::SetClusterSetting { .. }
            | Self::ProtectHistory { .. }
            | Self::ReleaseHistory { .. }
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
            | Self::RunSchedule { .. }
            | Self::Comment { .. }
            | Self::CommentOnIndex { .. } => false,
        }
    }

    /// Whether it may hand out ids of jobs, which schedules have as well.
    pub fn makes_jobs(&self) -> bool {
        matches!(
            self,
            Self::CreateJob { .. }
                | Self::CreateSchedules { .. }
                | Self::AlterSchedules { .. }
                | Self::RunSchedule { .. }
        )
    }

    /// Whether it does something in the row store that may not be possible there, so that it has to be tried upon exactly the
    /// state that it is for.
    pub fn is_tried(&self) -> bool {
        let fills = |step: &ShelfStep| matches!(step, ShelfStep::Fill { .. });
        self.changes_shape() || matches!(self, Self::Shelve { step, .. } if fills(step))
    }
}
