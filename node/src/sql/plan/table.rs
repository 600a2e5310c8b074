//! CREATE TABLE: columns, keys, defaults and checks as the catalog stores them.

use std::collections::BTreeSet;

use grantd_catalog::command::Command;
use grantd_catalog::id::ObjectId;
use grantd_catalog::name::Name;
use grantd_catalog::object::{COLUMNS_MAX, Check, Column, ColumnType, Expression, Table, Unique};
use sqlparser::ast;
use sqlparser::ast::helpers::stmt_create_table::CreateTableBuilder;

use crate::sql::error::{SqlError, state};
use crate::sql::parse::{name_of, parse_expression};
use crate::sql::translate::{cast, function, quote};
use crate::sql::value::SqlType;

use super::scope::{Relation, Scope, ScopeColumn};
use super::{Origin, Planner, distinct, empty, no_column, none};

/// The command of a CREATE TABLE.
pub fn create(origin: Origin<'_>, statement: &ast::CreateTable) -> Result<Command, SqlError> {
    let plain = CreateTableBuilder::new(statement.name.clone())
        .if_not_exists(statement.if_not_exists)
        .columns(statement.columns.clone())
        .constraints(statement.constraints.clone())
        .build();
    if plain != *statement {
        return Err(SqlError::unsupported("an option of CREATE TABLE"));
    }
    let name = super::object_name(&statement.name)?;
    let table_name = name.parts.last().cloned().unwrap_or_else(|| Name::normalize(""));
    let mut builder = Builder::new(origin, table_name);
    for column in &statement.columns {
        builder.column(column)?;
    }
    for column in &statement.columns {
        builder.column_constraints(column)?;
    }
    for constraint in &statement.constraints {
        builder.constraint(constraint)?;
    }
    let table = builder.finish()?;
    Ok(Command::CreateTable { name, table, if_not_exists: statement.if_not_exists })
}

struct Builder<'a> {
    planner: Planner<'a>,
    name: Name,
    columns: Vec<Column>,
    primary_key: Option<Vec<u16>>,
    unique: Vec<Unique>,
    checks: Vec<Check>,
    /// What defaults and checks name.
    references: BTreeSet<ObjectId>,
}

impl<'a> Builder<'a> {
    fn new(origin: Origin<'a>, name: Name) -> Self {
        let mut planner = Planner::new(origin, &[]);
        planner.allows_subquery = false;
        Self {
            planner,
            name,
            columns: Vec::new(),
            primary_key: None,
            unique: Vec::new(),
            checks: Vec::new(),
            references: BTreeSet::new(),
        }
    }

    fn column(&mut self, column: &ast::ColumnDef) -> Result<(), SqlError> {
        if self.columns.len() == COLUMNS_MAX {
            return Err(SqlError::too_large(format!("a table has at most {COLUMNS_MAX} columns")));
        }
        let name = name_of(&column.name);
        let is_serial = is_serial(&column.data_type);
        let column_type = match is_serial {
            true => ColumnType::Int8,
            false => self.planner.column_type(&column.data_type)?,
        };
        let mut nullable = is_serial.then_some(false);
        let mut default = is_serial.then(unique_rowid);
        for option in &column.options {
            match &option.option {
                ast::ColumnOption::Null if nullable != Some(false) => nullable = Some(true),
                ast::ColumnOption::NotNull if nullable != Some(true) => nullable = Some(false),
                ast::ColumnOption::Null | ast::ColumnOption::NotNull => {
                    return Err(SqlError::syntax(format!(
                        "conflicting NULL/NOT NULL declarations for column \"{name}\""
                    )));
                }
                ast::ColumnOption::Default(expression) if default.is_none() => {
                    default = Some(self.default(expression, &name, column_type)?);
                }
                ast::ColumnOption::Default(_) => {
                    return Err(SqlError::syntax(format!(
                        "multiple default values specified for column \"{name}\""
                    )));
                }
                ast::ColumnOption::PrimaryKey(_)
                | ast::ColumnOption::Unique(_)
                | ast::ColumnOption::Check(_) => {}
                ast::ColumnOption::Generated { .. } | ast::ColumnOption::Identity(_) => {
                    return Err(SqlError::unsupported("the column option GENERATED")
                        .with_hint("Make a sequence and write DEFAULT nextval('…')."));
                }
                other => {
                    return Err(SqlError::unsupported(format!("the column option {}", first_word(other))));
                }
            }
        }
        self.columns.push(Column {
            name,
            column_type,
            nullable: nullable.unwrap_or(true),
            default,
            hidden: false,
            comment: None,
        });
        Ok(())
    }

    fn default(
        &mut self,
        expression: &ast::Expr,
        column: &Name,
        column_type: ColumnType,
    ) -> Result<Expression, SqlError> {
        let scope = Scope::root().without_aggregates("DEFAULT expressions");
        let text = expression.to_string();
        let (sql, written, typed) =
            self.planner.plan_stored(&text, parse_expression, |planner, expression| {
                planner.expression(expression, &scope)
            })?;
        self.planner.without_parameters("DEFAULT")?;
        let typed = cast::assign(typed, column.as_str(), column_type, &mut self.planner.parameters)?;
        if self.planner.sequences.values().any(|motion| motion.set) || typed.sql.contains("g_currval") {
            return Err(SqlError::unsupported("setval() or currval() in DEFAULT"));
        }
        self.references.extend(written.references);
        Ok(Expression { sql, stored: typed.sql })
    }

    fn column_constraints(&mut self, column: &ast::ColumnDef) -> Result<(), SqlError> {
        let name = name_of(&column.name);
        let at = self.position(&name)?;
        for option in &column.options {
            match &option.option {
                ast::ColumnOption::PrimaryKey(key) => {
                    none(&key.characteristics, "a deferrable constraint")?;
                    let constraint = option.name.as_ref().or(key.name.as_ref());
                    self.primary_key(vec![at], constraint)?;
                }
                ast::ColumnOption::Unique(unique) => {
                    none(&unique.characteristics, "a deferrable constraint")?;
                    self.unique(vec![at], option.name.as_ref().or(unique.name.as_ref()))?;
                }
                ast::ColumnOption::Check(check) => {
                    self.check(check, option.name.as_ref().or(check.name.as_ref()))?;
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn constraint(&mut self, constraint: &ast::TableConstraint) -> Result<(), SqlError> {
        match constraint {
            ast::TableConstraint::PrimaryKey(key) => {
                none(&key.characteristics, "a deferrable constraint")?;
                none(&key.index_type, "an index type")?;
                empty(&key.include, "INCLUDE")?;
                empty(&key.index_options, "an index option")?;
                let positions = self.positions(&key.columns)?;
                self.primary_key(positions, key.name.as_ref())
            }
            ast::TableConstraint::Unique(unique) => {
                none(&unique.characteristics, "a deferrable constraint")?;
                none(&unique.index_type, "an index type")?;
                empty(&unique.include, "INCLUDE")?;
                empty(&unique.index_options, "an index option")?;
                if matches!(unique.nulls_distinct, ast::NullsDistinctOption::NotDistinct) {
                    return Err(SqlError::unsupported("NULLS NOT DISTINCT"));
                }
                let positions = self.positions(&unique.columns)?;
                self.unique(positions, unique.name.as_ref())
            }
            ast::TableConstraint::Check(check) => self.check(check, check.name.as_ref()),
            ast::TableConstraint::ForeignKey(_) => Err(SqlError::unsupported("FOREIGN KEY")),
            _ => Err(SqlError::unsupported("this kind of constraint")),
        }
    }

    fn position(&self, name: &Name) -> Result<u16, SqlError> {
        let at = self.columns.iter().position(|column| column.name == *name);
        at.and_then(|at| u16::try_from(at).ok()).ok_or_else(|| no_column(name.as_str()))
    }

    fn positions(&self, columns: &[ast::IndexColumn]) -> Result<Vec<u16>, SqlError> {
        let mut positions = Vec::with_capacity(columns.len());
        for column in columns {
            none(&column.operator_class, "an operator class")?;
            let plain = column.column.options.sort.is_none()
                && column.column.options.nulls_first.is_none()
                && column.column.with_fill.is_none();
            match &column.column.expr {
                ast::Expr::Identifier(ident) if plain => positions.push(self.position(&name_of(ident))?),
                _ => return Err(SqlError::unsupported("anything but plain columns in a key")),
            }
        }
        distinct(positions.iter().map(|at| self.columns[usize::from(*at)].name.as_str()))?;
        Ok(positions)
    }

    fn primary_key(&mut self, columns: Vec<u16>, name: Option<&ast::Ident>) -> Result<(), SqlError> {
        let expected = format!("{}_pkey", self.name);
        if name.is_some_and(|name| name_of(name).as_str() != expected) {
            return Err(SqlError::unsupported("a name for the primary key")
                .with_hint(format!("It is called {expected}.")));
        }
        if self.primary_key.is_some() {
            return Err(SqlError::new(
                state::INVALID_TABLE_DEFINITION,
                format!("multiple primary keys for table \"{}\" are not allowed", self.name),
            ));
        }
        for at in &columns {
            self.columns[usize::from(*at)].nullable = false;
        }
        self.primary_key = Some(columns);
        Ok(())
    }

    fn unique(&mut self, columns: Vec<u16>, name: Option<&ast::Ident>) -> Result<(), SqlError> {
        let name = match name {
            Some(name) => name_of(name),
            None => {
                let words: Vec<_> =
                    columns.iter().map(|at| self.columns[usize::from(*at)].name.as_str()).collect();
                Name::normalize(&format!("{}_{}_key", self.name, words.join("_")))
            }
        };
        let name = self.free(name)?;
        self.unique.push(Unique { name, columns });
        Ok(())
    }

    /// A CHECK may call what depends on nothing but the row, so that it means the same at every time and node.
    fn check(&mut self, check: &ast::CheckConstraint, name: Option<&ast::Ident>) -> Result<(), SqlError> {
        if check.no_inherit || check.enforced.is_some() {
            return Err(SqlError::unsupported("an option of CHECK"));
        }
        let columns = self
            .columns
            .iter()
            .map(|column| ScopeColumn {
                name: column.name.clone(),
                sql: quote(column.name.as_str()),
                sql_type: SqlType::of_column(column.column_type),
                hidden: false,
            })
            .collect();
        let mut scope = Scope::root().without_aggregates("CHECK expressions");
        scope.add(Relation { name: self.name.clone(), schema: None, columns })?;
        let text = check.expr.to_string();
        let (sql, written, stored) =
            self.planner.plan_stored(&text, parse_expression, |planner, expression| {
                planner.typed(expression, SqlType::Bool, "argument of CHECK", &scope)
            })?;
        self.references.extend(written.references);
        self.planner.without_parameters("CHECK")?;
        if let Some(unstable) = function::unstable(&stored) {
            return Err(SqlError::unsupported(format!(
                "a CHECK that depends on more than the row ({unstable})"
            )));
        }
        let name = match name {
            Some(name) => name_of(name),
            None => Name::normalize(&format!("check_{}", self.name)),
        };
        let name = self.free(name)?;
        self.checks.push(Check { name, expression: Expression { sql, stored } });
        Ok(())
    }

    /// A name that no other constraint has: written ones must differ, made ones get a number.
    fn free(&self, wanted: Name) -> Result<Name, SqlError> {
        let taken = |name: &Name| {
            self.unique.iter().any(|unique| unique.name == *name)
                || self.checks.iter().any(|check| check.name == *name)
        };
        (0..=self.unique.len() + self.checks.len())
            .map(|n| if n == 0 { wanted.clone() } else { Name::normalize(&format!("{wanted}{n}")) })
            .find(|name| !taken(name))
            .ok_or_else(|| SqlError::internal("no free name for a constraint"))
    }

    /// Adds the hidden key where none was written, as CockroachDB does.
    fn finish(mut self) -> Result<Table, SqlError> {
        distinct(self.columns.iter().map(|column| column.name.as_str()))?;
        let primary_key = match self.primary_key.take() {
            Some(key) => key,
            None => {
                let name = (0..=self.columns.len())
                    .map(|n| if n == 0 { "rowid".to_owned() } else { format!("rowid_{n}") })
                    .find(|name| !self.columns.iter().any(|c| c.name.as_str().eq_ignore_ascii_case(name)))
                    .ok_or_else(|| SqlError::internal("no free name for the hidden key"))?;
                self.columns.push(Column {
                    name: Name::normalize(&name),
                    column_type: ColumnType::Int8,
                    nullable: false,
                    default: Some(unique_rowid()),
                    hidden: true,
                    comment: None,
                });
                vec![
                    u16::try_from(self.columns.len() - 1)
                        .map_err(|_| SqlError::too_large("too many columns"))?,
                ]
            }
        };
        Ok(Table {
            columns: self.columns,
            primary_key,
            unique: self.unique,
            checks: self.checks,
            references: self.references.into_iter().collect(),
        })
    }
}

/// SERIAL and its kin: INT8 NOT NULL DEFAULT unique_rowid(), as CockroachDB has them unless it is told otherwise.
fn is_serial(data_type: &ast::DataType) -> bool {
    let ast::DataType::Custom(name, modifiers) = data_type else { return false };
    const WORDS: [&str; 6] = ["serial", "serial2", "serial4", "serial8", "smallserial", "bigserial"];
    modifiers.is_empty() && WORDS.contains(&name.to_string().to_lowercase().as_str())
}

fn unique_rowid() -> Expression {
    Expression { sql: "unique_rowid()".to_owned(), stored: "g_unique_rowid()".to_owned() }
}

fn first_word(option: &ast::ColumnOption) -> String {
    option.to_string().split_whitespace().next().unwrap_or_default().to_owned()
}
