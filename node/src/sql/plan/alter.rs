//! ALTER TABLE and CREATE INDEX: what only the plan knows of them, expressions and values; the rest the catalog decides
//! where the command is applied.

use grantd_catalog::command::{Command, NewIndexKey, TableAction};
use grantd_catalog::id::ObjectId;
use grantd_catalog::name::Name;
use grantd_catalog::object::{Body, Column, Expression, Table};
use grantd_catalog::refusal::state::UNDEFINED_OBJECT;
use sqlparser::ast;

use crate::sql::error::{SqlError, state};
use crate::sql::parse::table::{AlterAction, AlterTable, CreateIndex};
use crate::sql::translate::function;
use crate::sql::value::SqlType;

use super::shape::Shape;
use super::{Origin, Plan, Planner, no_column, not_a_table};

/// What an ALTER TABLE became.
pub struct Altered {
    /// The command.
    pub command: Command,
    /// The values that new columns have in the rows that there are, where they are yet to be computed, once for all rows
    /// and nodes: the number of the action, and a query of the row store.
    pub values: Vec<(usize, Plan)>,
}

/// The command of an ALTER TABLE. A table that is not there is left to the catalog.
pub fn alter(origin: Origin<'_>, statement: &AlterTable) -> Result<Altered, SqlError> {
    let AlterTable { name, if_exists, actions } = statement;
    let command = |actions| Command::AlterTable { name: name.clone(), if_exists: *if_exists, actions };
    let found = match origin.view.state().resolve_relation(origin.context, name) {
        Ok(id) => id,
        Err(_) if *if_exists => return Ok(Altered { command: command(Vec::new()), values: Vec::new() }),
        Err(error) => return Err(error.into()),
    };
    let (name, table) = described(origin, found)?;
    let mut planned = Actions {
        origin,
        table,
        shape: Shape::new(origin, name.clone(), table.columns.clone()),
        made: Vec::new(),
        values: Vec::new(),
    };
    for action in actions {
        let renames =
            matches!(action, AlterAction::RenameColumn { .. } | AlterAction::RenameConstraint { .. });
        if renames && actions.len() > 1 {
            return Err(SqlError::unsupported("RENAME beside other actions of an ALTER TABLE")
                .with_hint("Write a statement of its own."));
        }
        planned.action(action)?;
    }
    Ok(Altered { command: command(planned.made), values: planned.values })
}

/// The command of a CREATE INDEX.
pub fn index(origin: Origin<'_>, statement: &CreateIndex) -> Result<Command, SqlError> {
    let CreateIndex { table, if_not_exists, index } = statement;
    let predicate = match &index.predicate {
        None => None,
        Some(predicate) => {
            let id = origin.view.state().resolve_relation(origin.context, table)?;
            let (name, found) = described(origin, id)?;
            let mut shape = Shape::new(origin, name.clone(), found.columns.clone());
            shape.predicate(Some(predicate))?
        }
    };
    let keys = index.keys.iter();
    let keys =
        keys.map(|(column, descending)| NewIndexKey { column: column.clone(), descending: *descending });
    Ok(Command::CreateIndex {
        name: index.name.clone(),
        if_not_exists: *if_not_exists,
        table: table.clone(),
        keys: keys.collect(),
        unique: index.unique,
        predicate,
    })
}

fn described(origin: Origin<'_>, id: ObjectId) -> Result<(&Name, &Table), SqlError> {
    let object = origin.view.state().object(id);
    let object = object.ok_or_else(|| SqlError::internal("a name without an object"))?;
    match &object.body {
        Body::Table(table) => Ok((&object.name, table)),
        _ => Err(not_a_table(object)),
    }
}

/// The actions of one statement. Each sees what those before it did.
struct Actions<'a> {
    origin: Origin<'a>,
    table: &'a Table,
    shape: Shape<'a>,
    made: Vec<TableAction>,
    values: Vec<(usize, Plan)>,
}

impl Actions<'_> {
    fn action(&mut self, action: &AlterAction) -> Result<(), SqlError> {
        let made = match action {
            AlterAction::AddColumn { column, if_not_exists } => {
                return self.add_column(column, *if_not_exists);
            }
            AlterAction::SetType { column, data_type, using } => {
                return self.set_type(column, data_type, using.as_deref());
            }
            AlterAction::DropColumn { name, if_exists, behavior } => {
                self.shape.columns.retain(|column| column.name != *name);
                TableAction::DropColumn { column: name.clone(), if_exists: *if_exists, behavior: *behavior }
            }
            AlterAction::RenameColumn { name, to } => self.rename(name, to)?,
            AlterAction::SetDefault { column, default } => {
                let column_type = self.column(column)?.column_type;
                let default = self.shape.default(default, column, column_type)?;
                self.keep_default(column, Some(&default));
                TableAction::SetDefault { column: column.clone(), default: Some(default) }
            }
            AlterAction::DropDefault { column } => {
                self.keep_default(column, None);
                TableAction::SetDefault { column: column.clone(), default: None }
            }
            AlterAction::SetNotNull { column } => {
                TableAction::SetNullable { column: column.clone(), nullable: false }
            }
            AlterAction::DropNotNull { column } => {
                TableAction::SetNullable { column: column.clone(), nullable: true }
            }
            AlterAction::AddConstraint { constraint, if_not_exists } => {
                let constraint = self.shape.constraint(constraint)?;
                TableAction::AddConstraint { constraint, if_not_exists: *if_not_exists }
            }
            AlterAction::DropConstraint { name, if_exists, behavior } => TableAction::DropConstraint {
                constraint: name.clone(),
                if_exists: *if_exists,
                behavior: *behavior,
            },
            AlterAction::RenameConstraint { name, to } => {
                TableAction::RenameConstraint { constraint: name.clone(), to: to.clone() }
            }
            // Every constraint is valid.
            AlterAction::ValidateConstraint { name } => return self.is_constraint(name),
        };
        self.made.push(made);
        Ok(())
    }

    fn keep_default(&mut self, name: &Name, default: Option<&Expression>) {
        for column in self.shape.columns.iter_mut().filter(|column| column.name == *name) {
            column.default = default.cloned();
        }
    }

    fn column(&self, name: &Name) -> Result<&Column, SqlError> {
        let found = self.shape.columns.iter().find(|column| column.name == *name);
        found.ok_or_else(|| no_column(name.as_str()))
    }

    fn add_column(&mut self, written: &ast::ColumnDef, if_not_exists: bool) -> Result<(), SqlError> {
        let count = self.shape.columns.len();
        self.shape.define(written)?;
        let name = self.shape.columns[count].name.clone();
        if self.shape.columns[..count].iter().any(|column| column.name == name) {
            // The catalog refuses it or leaves it out.
            let column = self.shape.columns.remove(count);
            let constraints = Vec::new();
            self.made.push(TableAction::AddColumn { column, if_not_exists, fill: None, constraints });
            return Ok(());
        }
        self.shape.compute(std::slice::from_ref(written))?;
        let constraints = self.shape.constraints_of(written)?;
        let column = self.shape.columns[count].clone();
        let fill = match &column.default {
            None => None,
            Some(default) => self.fill(default)?,
        };
        self.made.push(TableAction::AddColumn { column, if_not_exists, fill, constraints });
        Ok(())
    }

    /// What the rows that there are get by a DEFAULT; none: it is yet to be computed.
    fn fill(&mut self, default: &Expression) -> Result<Option<String>, SqlError> {
        if function::is_volatile(&default.stored) {
            return Err(SqlError::unsupported("ADD COLUMN with a DEFAULT that differs from row to row")
                .with_hint("Add the column, UPDATE the rows, then ALTER COLUMN … SET DEFAULT."));
        }
        if function::unstable(&default.stored).is_none() {
            return Ok(Some(default.stored.clone()));
        }
        let planner = Planner::new(self.origin, &[]);
        let sql = format!("SELECT ({}) AS k1", default.stored);
        self.values.push((self.made.len(), planner.finish(sql, Some(Vec::new()), "SELECT")));
        Ok(None)
    }

    fn rename(&mut self, column: &Name, to: &Name) -> Result<TableAction, SqlError> {
        let at = self.shape.position(column)?;
        let mut expressions = Vec::new();
        let mut texts = Vec::new();
        for expression in self.table.expressions() {
            match expression.mentions(column) {
                true => texts.push((expression, self.shape.renamed(&expression.sql, column, to)?)),
                false => expressions.push((expression.clone(), expression.clone())),
            }
        }
        self.shape.columns[usize::from(at)].name = to.clone();
        for (before, text) in texts {
            let computed =
                self.table.columns.iter().position(|column| column.computed.as_ref() == Some(before));
            let after = match computed.and_then(|at| u16::try_from(at).ok()) {
                Some(at) => self.shape.computed(&text, at, std::iter::empty())?,
                None => self.shape.check(&text)?,
            };
            expressions.push((before.clone(), after));
        }
        Ok(TableAction::RenameColumn { column: column.clone(), to: to.clone(), expressions })
    }

    fn set_type(
        &mut self,
        name: &Name,
        data_type: &ast::DataType,
        using: Option<&ast::Expr>,
    ) -> Result<(), SqlError> {
        let column = self.column(name)?.clone();
        let column_type = self.shape.column_type(data_type)?;
        let is_other = SqlType::of_column(column_type) != SqlType::of_column(column.column_type);
        // What is stored with the table was made for the type that the column had.
        if is_other {
            let checks = self.table.checks.iter().map(|check| &check.expression);
            let computed = self.table.columns.iter().filter_map(|column| column.computed.as_ref());
            let predicates = self.table.indexes.iter().filter_map(|index| index.predicate.as_ref());
            if column.computed.is_some() || computed.clone().any(|expression| expression.mentions(name)) {
                return Err(SqlError::unsupported(
                    "ALTER COLUMN TYPE of a column that a generated column uses",
                ));
            }
            if checks.chain(predicates).any(|expression| expression.mentions(name)) {
                return Err(SqlError::unsupported(
                    "ALTER COLUMN TYPE of a column that a CHECK or the WHERE of an index uses",
                )
                .with_hint("Drop the constraint or index, and add it again afterwards."));
            }
        }
        let using = self.shape.converted(&column, using, column_type)?;
        let at = usize::from(self.shape.position(name)?);
        self.shape.columns[at].column_type = column_type;
        self.made.push(TableAction::SetType { column: name.clone(), column_type, using });
        if let Some(default) = column.default {
            let default = self.shape.default_of(&default.sql, name, column_type).map_err(|_| {
                SqlError::new(
                    state::DATATYPE_MISMATCH,
                    format!(
                        "default for column \"{name}\" cannot be cast automatically to type {column_type}"
                    ),
                )
            })?;
            self.made.push(TableAction::SetDefault { column: name.clone(), default: Some(default) });
        }
        Ok(())
    }

    fn is_constraint(&self, name: &Name) -> Result<(), SqlError> {
        let Table { key_name, unique, checks, foreign_keys, .. } = self.table;
        let mut names = std::iter::once(key_name)
            .chain(unique.iter().map(|unique| &unique.name))
            .chain(checks.iter().map(|check| &check.name))
            .chain(foreign_keys.iter().map(|key| &key.name));
        match names.any(|known| known == name) {
            true => Ok(()),
            false => Err(SqlError::new(UNDEFINED_OBJECT, format!("constraint \"{name}\" does not exist"))),
        }
    }
}
