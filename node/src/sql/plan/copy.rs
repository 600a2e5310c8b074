//! COPY as the INSERT and the SELECT that it is, and what VACUUM and ANALYZE need.

use std::fmt::Write;

use grantd_catalog::object::{Body, Column, Table};
use grantd_catalog::privilege::Privilege;
use grantd_catalog::refusal::state::WRONG_OBJECT_TYPE;
use grantd_catalog::require::{Need, Requirement};
use sqlparser::ast;

use super::{Change, Origin, Plan, Planner, change, distinct, not_a_table, resolve};
use crate::error::{SqlError, state};
use crate::sql::parse::copy::{CopyTable, Housekeeping};
use crate::sql::parse::{self, Statement};
use crate::sql::translate::{PARAMETERS_MAX, quote};
use crate::value::{ColumnInfo, SqlType};

/// The most rows of one statement of the row store: from here on more in one are not faster.
const ROWS_EACH: usize = 64;

/// How many rows of so many columns one statement of the row store takes.
pub fn rows_each(width: usize) -> usize {
    (PARAMETERS_MAX / width.max(1)).clamp(1, ROWS_EACH)
}

/// The name of the table of a COPY, and the columns whose values come or go, in their order.
pub fn columns(origin: Origin<'_>, copy: &CopyTable) -> Result<(String, Vec<ColumnInfo>), SqlError> {
    let (id, _) = resolve(origin, &copy.table)?;
    let object =
        origin.view.state().object(id).ok_or_else(|| SqlError::internal("a name without an object"))?;
    let name = object.name.as_str().to_owned();
    let Body::Table(table) = &object.body else {
        if matches!(object.body, Body::View(_)) {
            return Err(SqlError::new(WRONG_OBJECT_TYPE, format!("cannot copy view \"{name}\""))
                .with_hint("Try the COPY (SELECT ...) TO variant."));
        }
        return Err(not_a_table(object));
    };
    let columns = listed(copy, table, &name)?;
    let options = &copy.options;
    for (what, set) in [
        ("FORCE_QUOTE", &options.force_quote),
        ("FORCE_NOT_NULL", &options.force_not_null),
        ("FORCE_NULL", &options.force_null),
    ] {
        let parse::copy::ColumnSet::Named(names) = set else { continue };
        for forced in names {
            if !columns.iter().any(|column| column.name == forced.as_str()) {
                return Err(SqlError::new(
                    grantd_catalog::refusal::state::UNDEFINED_COLUMN,
                    format!("{what} column \"{forced}\" not referenced by COPY"),
                ));
            }
        }
    }
    Ok((name, columns))
}

fn listed(copy: &CopyTable, table: &Table, relation: &str) -> Result<Vec<ColumnInfo>, SqlError> {
    let info = |column: &Column| ColumnInfo {
        name: column.name.as_str().to_owned(),
        sql_type: SqlType::of_column(column.column_type),
    };
    if copy.columns.is_empty() {
        // As in PostgreSQL: what is computed is computed anew where it is copied to.
        let is_copied = |column: &&Column| !column.hidden && column.computed.is_none();
        return Ok(table.columns.iter().filter(is_copied).map(info).collect());
    }
    distinct(copy.columns.iter().map(grantd_catalog::name::Name::as_str))?;
    let find = |name: &grantd_catalog::name::Name| {
        let column = table.columns.iter().find(|column| column.name == *name).ok_or_else(|| {
            let message = format!("column \"{name}\" of relation \"{relation}\" does not exist");
            SqlError::new(state::UNDEFINED_COLUMN, message)
        })?;
        match column.computed {
            None => Ok(info(column)),
            Some(_) => Err(SqlError::new(
                state::INVALID_COLUMN_REFERENCE,
                format!("column \"{name}\" is a generated column"),
            )
            .with_detail("Generated columns cannot be used in COPY.")),
        }
    };
    copy.columns.iter().map(find).collect()
}

/// Plans the INSERT of so many rows, whose values are parameters.
pub fn copy_in(origin: Origin<'_>, copy: &CopyTable, rows: usize) -> Result<Plan, SqlError> {
    let (_, columns) = columns(origin, copy)?;
    // As in PostgreSQL, what is copied counts in identity columns too.
    let mut text = format!("INSERT INTO {} ({}) OVERRIDING SYSTEM VALUE VALUES ", copy.table, list(&columns));
    for row in 0..rows {
        text.push_str(if row == 0 { "(" } else { ", (" });
        for at in 0..columns.len() {
            let comma = if at == 0 { "" } else { ", " };
            // Writing to a string does not fail.
            let _ = write!(text, "{comma}${}", row * columns.len() + at + 1);
        }
        text.push(')');
    }
    let hints: Vec<_> = columns.iter().map(|column| Some(column.sql_type)).collect();
    let hints = hints.repeat(rows);
    match parse::parse(&text)? {
        Statement::Insert(statement, None, overriding) => {
            change(origin, None, Change::Insert(&statement, overriding), &hints)
        }
        _ => Err(SqlError::internal("COPY is no INSERT")),
    }
}

/// The query that COPY t TO returns the rows of.
pub fn copy_out(origin: Origin<'_>, copy: &CopyTable) -> Result<Box<ast::Query>, SqlError> {
    let (_, columns) = columns(origin, copy)?;
    match parse::parse(&format!("SELECT {} FROM {}", list(&columns), copy.table))? {
        Statement::Query(query) => Ok(query),
        _ => Err(SqlError::internal("COPY TO is no query")),
    }
}

fn list(columns: &[ColumnInfo]) -> String {
    let names: Vec<_> = columns.iter().map(|column| quote(&column.name)).collect();
    names.join(", ")
}

/// What VACUUM and ANALYZE need: to own the tables, as in PostgreSQL; ANALYZE to read them, as in CockroachDB.
pub fn housekeeping(origin: Origin<'_>, statement: &Housekeeping) -> Result<Requirement, SqlError> {
    let mut planner = Planner::new(origin, &[]);
    for name in &statement.tables {
        let (id, object) = planner.relation_object(name)?;
        if !matches!(object.body, Body::Table(_)) {
            return Err(not_a_table(object));
        }
        planner.need(match statement.tag {
            "ANALYZE" => Need::Privilege { object: id, privilege: Privilege::Select },
            _ => Need::Ownership { object: id },
        });
    }
    Ok(planner.requirement)
}
