//! CREATE TABLE: columns, keys, defaults and checks as the catalog stores them.

use grantd_catalog::command::{Command, NewConstraint, NewForeignKey, NewIndexKey, Rule};
use grantd_catalog::name::Name;
use grantd_catalog::object::{Check, Column, ColumnType, Index, IndexKey, KeyPart, Table, Unique};

use crate::error::{SqlError, state};
use crate::sql::parse::table::{CreateTable, CreateTableAs, IndexClause};

use super::object::stored_type;
use super::query::OutputColumn;
use super::shape::{Shape, unique_rowid};
use super::written::quoted;
use super::{Origin, distinct, unset};

/// The command of a CREATE TABLE.
pub fn create(origin: Origin<'_>, statement: &CreateTable) -> Result<Command, SqlError> {
    let name = statement.name.clone();
    let short = name.parts.last().cloned().unwrap_or_else(|| Name::normalize(""));
    let mut shape = Shape::new(origin, short.clone(), Vec::new());
    for column in &statement.columns {
        shape.define(column)?;
    }
    distinct(shape.columns.iter().map(|column| column.name.as_str()))?;
    shape.compute(&statement.columns)?;
    let mut builder = Builder::new(short);
    for column in &statement.columns {
        for constraint in shape.constraints_of(column)? {
            builder.constraint(&mut shape, constraint)?;
        }
    }
    for constraint in &statement.constraints {
        let constraint = shape.constraint(constraint)?;
        builder.constraint(&mut shape, constraint)?;
    }
    for index in &statement.indexes {
        builder.index(&mut shape, index)?;
    }
    let identities = std::mem::take(&mut shape.identities);
    let (table, foreign_keys) = builder.finish(shape)?;
    let if_not_exists = statement.if_not_exists;
    Ok(Command::CreateTable { name, table, foreign_keys, identities, if_not_exists })
}

/// The command of a CREATE TABLE AS, and the INSERT that fills the table.
pub fn create_as(origin: Origin<'_>, statement: &CreateTableAs) -> Result<(Command, String), SqlError> {
    let plan = super::select(origin, &statement.query, &[])?;
    unset(!plan.before.is_empty(), "CREATE TABLE AS of a WITH that changes rows")?;
    if !plan.parameters.is_empty() {
        return Err(SqlError::no_parameter());
    }
    let found = plan.columns.unwrap_or_default();
    if statement.columns.len() > found.len() {
        return Err(SqlError::syntax("too many column names were specified"));
    }
    let mut columns = Vec::with_capacity(found.len());
    for (at, column) in found.into_iter().enumerate() {
        let name = Name::normalize(&column.name);
        let output = OutputColumn { name: name.clone(), sql_type: column.sql_type };
        columns.push(Column {
            name: statement.columns.get(at).cloned().unwrap_or(name),
            column_type: stored_type(&output)?,
            nullable: true,
            default: None,
            hidden: false,
            comment: None,
            computed: None,
            identity: None,
        });
    }
    distinct(columns.iter().map(|column| column.name.as_str()))?;
    let names: Vec<_> = columns.iter().map(|column| quoted(&column.name)).collect();
    let into: Vec<_> = statement.name.parts.iter().map(quoted).collect();
    let fill = format!("INSERT INTO {} ({}) {}", into.join("."), names.join(", "), statement.query);
    let name = statement.name.clone();
    let short = name.parts.last().cloned().unwrap_or_else(|| Name::normalize(""));
    let shape = Shape::new(origin, short.clone(), columns);
    let (table, foreign_keys) = Builder::new(short).finish(shape)?;
    let if_not_exists = statement.if_not_exists;
    Ok((Command::CreateTable { name, table, foreign_keys, identities: Vec::new(), if_not_exists }, fill))
}

/// What stands beside the columns.
struct Builder {
    name: Name,
    primary_key: Option<(Option<Name>, Vec<u16>)>,
    unique: Vec<Unique>,
    checks: Vec<Check>,
    indexes: Vec<Index>,
    foreign_keys: Vec<NewConstraint>,
}

impl Builder {
    fn new(name: Name) -> Self {
        Self {
            name,
            primary_key: None,
            unique: Vec::new(),
            checks: Vec::new(),
            indexes: Vec::new(),
            foreign_keys: Vec::new(),
        }
    }

    fn constraint(&mut self, shape: &mut Shape<'_>, constraint: NewConstraint) -> Result<(), SqlError> {
        let NewConstraint { name, rule } = constraint;
        match rule {
            Rule::PrimaryKey(columns) => self.primary_key(shape, name, &columns),
            Rule::Unique(columns) => {
                let columns = shape.positions(&columns)?;
                let keys: Vec<_> = columns.iter().map(|column| IndexKey::ascending(*column)).collect();
                let name = self.named(name, || shape.joined(&keys, "key"))?;
                self.unique.push(Unique { name, columns });
                Ok(())
            }
            Rule::Check(expression) => {
                let name = self.named(name, || format!("check_{}", self.name))?;
                self.checks.push(Check { name, expression });
                Ok(())
            }
            Rule::ForeignKey(NewForeignKey { ref columns, .. }) => {
                shape.positions(columns)?;
                self.foreign_keys.push(NewConstraint { name, rule });
                Ok(())
            }
        }
    }

    fn primary_key(
        &mut self,
        shape: &mut Shape<'_>,
        name: Option<Name>,
        columns: &[Name],
    ) -> Result<(), SqlError> {
        if self.primary_key.is_some() {
            return Err(SqlError::new(
                state::INVALID_TABLE_DEFINITION,
                format!("multiple primary keys for table \"{}\" are not allowed", self.name),
            ));
        }
        let columns = shape.positions(columns)?;
        for at in &columns {
            shape.columns[usize::from(*at)].nullable = false;
        }
        self.primary_key = Some((name, columns));
        Ok(())
    }

    /// A UNIQUE INDEX of all rows is what a UNIQUE constraint is.
    fn index(&mut self, shape: &mut Shape<'_>, clause: &IndexClause) -> Result<(), SqlError> {
        let mut keys = Vec::with_capacity(clause.keys.len());
        for NewIndexKey { part, descending } in shape.keys(&clause.keys)? {
            let part = match part {
                KeyPart::Column(name) => KeyPart::Column(shape.position(&name)?),
                KeyPart::Expression(expression) => KeyPart::Expression(expression),
            };
            keys.push(IndexKey { part, descending });
        }
        let predicate = shape.predicate(clause.predicate.as_deref())?;
        let ending = if clause.unique { "key" } else { "idx" };
        let name = self.named(clause.name.clone(), || shape.joined(&keys, ending))?;
        let columns: Option<Vec<_>> =
            keys.iter().filter(|key| !key.descending).map(IndexKey::column).collect();
        if let Some(columns) = columns.filter(|columns| columns.len() == keys.len())
            && clause.unique
            && predicate.is_none()
        {
            self.unique.push(Unique { name, columns });
            return Ok(());
        }
        self.indexes.push(Index { name, keys, unique: clause.unique, predicate, comment: None });
        Ok(())
    }

    /// The name that was written, or one that no other has: made ones get a number.
    fn named(&self, written: Option<Name>, made: impl Fn() -> String) -> Result<Name, SqlError> {
        if let Some(name) = written {
            return Ok(name);
        }
        let taken = |name: &Name| {
            self.unique.iter().any(|unique| unique.name == *name)
                || self.checks.iter().any(|check| check.name == *name)
                || self.indexes.iter().any(|index| index.name == *name)
                || self.foreign_keys.iter().any(|key| key.name.as_ref() == Some(name))
                || matches!(&self.primary_key, Some((Some(key), _)) if key == name)
        };
        let count = self.unique.len() + self.checks.len() + self.indexes.len() + self.foreign_keys.len();
        let made = made();
        (0..=count + 1)
            .map(|n| Name::normalize(&if n == 0 { made.clone() } else { format!("{made}{n}") }))
            .find(|name| !taken(name))
            .ok_or_else(|| SqlError::internal("no free name for a constraint"))
    }

    /// Adds the hidden key where none was written, as CockroachDB does.
    fn finish(mut self, shape: Shape<'_>) -> Result<(Table, Vec<NewConstraint>), SqlError> {
        let mut columns = shape.columns;
        let (written, primary_key) = match self.primary_key.take() {
            Some((name, key)) => (name, key),
            None => (None, vec![hidden_key(&mut columns)?]),
        };
        let key_name = written.unwrap_or_else(|| Name::normalize(&format!("{}_pkey", self.name)));
        let table = Table {
            columns,
            primary_key,
            key_name,
            unique: self.unique,
            checks: self.checks,
            indexes: self.indexes,
            foreign_keys: Vec::new(),
        };
        Ok((table, self.foreign_keys))
    }
}

fn hidden_key(columns: &mut Vec<Column>) -> Result<u16, SqlError> {
    let name = (0..=columns.len())
        .map(|n| if n == 0 { "rowid".to_owned() } else { format!("rowid_{n}") })
        .find(|name| !columns.iter().any(|column| column.name.as_str().eq_ignore_ascii_case(name)))
        .ok_or_else(|| SqlError::internal("no free name for the hidden key"))?;
    let at = u16::try_from(columns.len()).map_err(|_| SqlError::too_large("too many columns"))?;
    columns.push(Column {
        name: Name::normalize(&name),
        column_type: ColumnType::Int8,
        nullable: false,
        default: Some(unique_rowid()),
        hidden: true,
        comment: None,
        computed: None,
        identity: None,
    });
    Ok(at)
}
