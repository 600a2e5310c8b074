//! ALTER TABLE and CREATE INDEX: what only the plan knows of them, expressions and values; the rest the catalog decides
//! where the command is applied.

use grantd_catalog::command::{Command, NewConstraint, TableAction};
use grantd_catalog::id::ObjectId;
use grantd_catalog::name::Name;
use grantd_catalog::object::{Body, Column, Expression, IndexKey, Table};
use grantd_catalog::refusal::state::UNDEFINED_OBJECT;
use sqlparser::ast;

use crate::error::{SqlError, state};
use crate::sql::parse::table::{AlterAction, AlterTable, CreateIndex, IndexPart};
use crate::sql::translate::function;
use crate::value::SqlType;

use super::shape::Shape;
use super::written::quoted;
use super::{Origin, Plan, Planner, no_column, not_a_table};

/// What an ALTER TABLE became: one part, or several that are done in one transaction.
pub struct Altered {
    /// What comes before the last part.
    pub before: Vec<Filled>,
    /// The last part, most often the only one.
    pub last: Part,
}

/// A command, and what it wants to know.
pub struct Part {
    /// The command.
    pub command: Command,
    /// The values that new columns have in the rows that there are, where they are yet to be computed, once for all rows
    /// and nodes: the number of the action, and a query of the row store.
    pub values: Vec<(usize, Plan)>,
}

/// A command that ends with a new column of which every row has a value of its own. They are made where rows are changed, on
/// the leader, and travel as rows: all replicas get the same.
pub struct Filled {
    /// The command.
    pub part: Part,
    /// The UPDATE that fills the column.
    pub update: String,
}

/// The command of an ALTER TABLE. A table that is not there is left to the catalog.
pub fn alter(origin: Origin<'_>, statement: &AlterTable) -> Result<Altered, SqlError> {
    let AlterTable { name, if_exists, actions } = statement;
    let command = |actions| Command::AlterTable { name: name.clone(), if_exists: *if_exists, actions };
    let part = |made, values| Part { command: command(made), values };
    let found = match origin.view.state().resolve_relation(origin.context, name) {
        Ok(id) => id,
        Err(_) if *if_exists => {
            return Ok(Altered { before: Vec::new(), last: part(Vec::new(), Vec::new()) });
        }
        Err(error) => return Err(error.into()),
    };
    let (short, table) = described(origin, found)?;
    let mut planned = Actions {
        origin,
        table,
        shape: Shape::new(origin, short.clone(), table.columns.clone()),
        made: Vec::new(),
        values: Vec::new(),
        filled: Vec::new(),
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
    let target: Vec<_> = name.parts.iter().map(quoted).collect();
    let filled = |Unfilled { made, values, column }| Filled {
        part: part(made, values),
        update: format!("UPDATE {} SET {} = DEFAULT", target.join("."), quoted(&column)),
    };
    Ok(Altered {
        before: planned.filled.into_iter().map(filled).collect(),
        last: part(planned.made, planned.values),
    })
}

/// The command of a CREATE INDEX.
pub fn index(origin: Origin<'_>, statement: &CreateIndex) -> Result<Command, SqlError> {
    let CreateIndex { table, if_not_exists, index } = statement;
    let plain = |(part, _): &(IndexPart, bool)| matches!(part, IndexPart::Column(_));
    let (keys, predicate) = match index.predicate.is_none() && index.keys.iter().all(plain) {
        // All that is to be said of plain columns the catalog says.
        true => (Shape::new(origin, Name::from(""), Vec::new()).keys(&index.keys)?, None),
        false => {
            let id = origin.view.state().resolve_relation(origin.context, table)?;
            let (name, found) = described(origin, id)?;
            let mut shape = Shape::new(origin, name.clone(), found.columns.clone());
            (shape.keys(&index.keys)?, shape.predicate(index.predicate.as_deref())?)
        }
    };
    Ok(Command::CreateIndex {
        name: index.name.clone(),
        if_not_exists: *if_not_exists,
        table: table.clone(),
        keys,
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
    /// What is to be done before `made`, each with the column that is to be filled then.
    filled: Vec<Unfilled>,
}

/// Actions that end with a column that is yet to be filled.
struct Unfilled {
    made: Vec<TableAction>,
    values: Vec<(usize, Plan)>,
    column: Name,
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
            AlterAction::AddIdentity { column, always, options } => {
                let Column { nullable, column_type, .. } = self.column(column)?;
                let column_type = *column_type;
                if *nullable {
                    return Err(SqlError::new(
                        grantd_catalog::refusal::state::NOT_IN_PREREQUISITE_STATE,
                        format!(
                            "column \"{column}\" of relation \"{}\" must be declared NOT NULL before identity can be \
                             added",
                            self.shape.name()
                        ),
                    ));
                }
                self.shape.count(column.clone(), column_type, *always, options);
                self.count();
                return Ok(());
            }
            AlterAction::DropIdentity { column, if_exists } => {
                TableAction::DropIdentity { column: column.clone(), if_exists: *if_exists }
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
            self.shape.identities.clear();
            let constraints = Vec::new();
            self.made.push(TableAction::AddColumn { column, if_not_exists, fill: None, constraints });
            return Ok(());
        }
        self.shape.compute(std::slice::from_ref(written))?;
        let constraints = self.shape.constraints_of(written)?;
        let column = self.shape.columns[count].clone();
        let differs = column.default.as_ref().is_some_and(|default| function::is_volatile(&default.stored));
        if differs || !self.shape.identities.is_empty() {
            self.add_filled(column, if_not_exists, constraints);
            return Ok(());
        }
        let fill = match &column.default {
            None => None,
            Some(default) => self.fill(default)?,
        };
        self.made.push(TableAction::AddColumn { column, if_not_exists, fill, constraints });
        Ok(())
    }

    /// A column of which every row has a value of its own: it is NULL until it is filled.
    fn add_filled(&mut self, column: Column, if_not_exists: bool, constraints: Vec<NewConstraint>) {
        let (name, nullable) = (column.name.clone(), column.nullable);
        self.made.push(TableAction::AddColumn {
            column: Column { nullable: true, ..column },
            if_not_exists,
            fill: None,
            constraints: Vec::new(),
        });
        self.count();
        let (made, values) = (std::mem::take(&mut self.made), std::mem::take(&mut self.values));
        self.filled.push(Unfilled { made, values, column: name.clone() });
        if !nullable {
            self.made.push(TableAction::SetNullable { column: name, nullable: false });
        }
        let added = constraints.into_iter();
        self.made
            .extend(added.map(|constraint| TableAction::AddConstraint { constraint, if_not_exists: false }));
    }

    /// What was noted as counting its rows does so.
    fn count(&mut self) {
        let identities = std::mem::take(&mut self.shape.identities);
        self.made.extend(identities.into_iter().map(TableAction::AddIdentity));
    }

    /// What the rows that there are get by a DEFAULT; none: it is yet to be computed.
    fn fill(&mut self, default: &Expression) -> Result<Option<String>, SqlError> {
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
            let mut keys =
                self.table.indexes.iter().flat_map(|index| &index.keys).filter_map(IndexKey::expression);
            let after = match computed.and_then(|at| u16::try_from(at).ok()) {
                Some(at) => self.shape.computed(&text, at, std::iter::empty())?,
                None if keys.any(|key| key == before) => self.shape.key(&text)?,
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
        if is_other {
            let mut computed = self.table.columns.iter().filter_map(|column| column.computed.as_ref());
            if column.computed.is_some() || computed.any(|expression| expression.mentions(name)) {
                return Err(SqlError::unsupported(
                    "ALTER COLUMN TYPE of a column that a generated column uses",
                ));
            }
        }
        let using = self.shape.converted(&column, using, column_type)?;
        let at = usize::from(self.shape.position(name)?);
        self.shape.columns[at].column_type = column_type;
        let expressions = self.retyped(name)?;
        self.made.push(TableAction::SetType { column: name.clone(), column_type, using, expressions });
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

    /// The CHECKs and expressions of indexes that read a column, which has another type now: they must mean something of
    /// it still.
    fn retyped(&mut self, column: &Name) -> Result<Vec<(Expression, Expression)>, SqlError> {
        let mut made = Vec::new();
        let conditions = self.table.checks.iter().map(|check| &check.expression);
        let conditions =
            conditions.chain(self.table.indexes.iter().filter_map(|index| index.predicate.as_ref()));
        for condition in conditions.filter(|condition| condition.mentions(column)) {
            made.push((condition.clone(), self.shape.check(&condition.sql)?));
        }
        let keys = self.table.indexes.iter().flat_map(|index| &index.keys).filter_map(IndexKey::expression);
        for key in keys.filter(|key| key.mentions(column)) {
            made.push((key.clone(), self.shape.key(&key.sql)?));
        }
        Ok(made)
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
