//! ALTER TABLE. Source: authorization spec, A.5.3: needs USAGE on the schema and CREATE on the table, which its owner has.

use crate::command::{ObjectName, TableAction};
use crate::object::Body;
use crate::privilege::Privilege;
use crate::refusal::Refusal;
use crate::state::Work;

impl Work<'_> {
    /// The actions in order, each upon what the ones before it made.
    pub(super) fn alter_table(
        &mut self,
        name: &ObjectName,
        if_exists: bool,
        actions: &[TableAction],
    ) -> Result<(), Refusal> {
        self.check_list(actions.len())?;
        // A virtual table is found, so that its privileges say no.
        let is_table = |body: &Body| matches!(body, Body::Table(_) | Body::VirtualTable);
        let found = self.state.resolve_relation_that(self.context, name, "table", is_table);
        let Some(id) = self.found(found, if_exists)? else { return Ok(()) };
        self.require_usage(id)?;
        self.require(id, Privilege::Create)?;
        for action in actions {
            match action {
                TableAction::AddColumn { column, if_not_exists, fill, constraints } => {
                    if !self.add_column(id, column, *if_not_exists, fill.as_deref())? {
                        continue;
                    }
                    for constraint in constraints {
                        self.add_constraint(id, constraint, false)?;
                    }
                }
                TableAction::DropColumn { column, if_exists, behavior } => {
                    self.drop_column(id, column, *if_exists, *behavior)?;
                }
                TableAction::RenameColumn { column, to, expressions } => {
                    self.rename_column(id, column, to, expressions)?;
                }
                TableAction::SetDefault { column, default } => {
                    self.set_default(id, column, default.as_ref())?;
                }
                TableAction::SetNullable { column, nullable } => self.set_nullable(id, column, *nullable)?,
                TableAction::SetType { column, column_type, using, expressions } => {
                    self.set_type(id, column, *column_type, using.as_deref(), expressions)?;
                }
                TableAction::AddConstraint { constraint, if_not_exists } => {
                    self.add_constraint(id, constraint, *if_not_exists)?;
                }
                TableAction::DropConstraint { constraint, if_exists, behavior } => {
                    self.drop_constraint(id, constraint, *if_exists, *behavior)?;
                }
                TableAction::RenameConstraint { constraint, to } => {
                    self.rename_constraint(id, constraint, to)?;
                }
                TableAction::AddIdentity(new) => self.add_identity(id, new)?,
                TableAction::DropIdentity { column, if_exists } => {
                    self.drop_identity(id, column, *if_exists)?;
                }
            }
        }
        Ok(())
    }
}
