//! What a column name means at one place of a statement.

use grantd_catalog::name::Name;
use sqlparser::ast;

use crate::error::{SqlError, state};
use crate::sql::parse::name_of;
use crate::sql::translate::Typed;
use crate::value::SqlType;

use super::no_column;
use super::window::NamedWindow;
use super::written::quoted;

/// A column in sight.
#[derive(Clone, Debug)]
pub(super) struct ScopeColumn {
    pub(super) name: Name,
    /// How the row store's SQL refers to it.
    pub(super) sql: String,
    pub(super) sql_type: SqlType,
    /// Left out of `*`.
    pub(super) hidden: bool,
}

/// A table, WITH item or subquery in FROM.
#[derive(Clone, Debug)]
pub(super) struct Relation {
    /// What qualifies its columns: its alias, or its name.
    pub(super) name: Name,
    /// The schema that may stand before that: of a table or view without an alias.
    pub(super) schema: Option<Name>,
    pub(super) columns: Vec<ScopeColumn>,
    /// The columns of its primary key, of a table: rows that are grouped by them are grouped by all others.
    pub(super) key: Vec<String>,
}

impl Relation {
    fn written(&self, column: &ScopeColumn) -> String {
        match self.name.as_str() {
            "" => quoted(&column.name),
            _ => format!("{}.{}", quoted(&self.name), quoted(&column.name)),
        }
    }
}

/// A WITH item.
#[derive(Clone, Debug)]
pub(super) struct WithItem {
    pub(super) name: Name,
    pub(super) sql_name: String,
    pub(super) columns: Vec<(Name, SqlType)>,
    pub(super) readable: Readable,
    /// The number of its rows, where they were kept before the statement that reads them.
    pub(super) kept: Option<usize>,
}

/// Whether FROM may name a WITH item now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Readable {
    Yes,
    /// Within the next step of its own recursion.
    Once {
        used: bool,
    },
    /// It is not planned yet.
    No,
    /// It changes rows and has no RETURNING.
    Nothing,
}

impl WithItem {
    /// One that is in sight before it means something.
    pub(super) fn unreadable(name: Name) -> Self {
        Self { name, sql_name: String::new(), columns: Vec::new(), readable: Readable::No, kept: None }
    }
}

/// The relations in sight, and whether their columns may be named.
#[derive(Clone, Debug)]
pub(super) struct Scope<'a> {
    pub(super) relations: Vec<Relation>,
    /// Columns that USING merged, in front of all others.
    pub(super) merged: Vec<ScopeColumn>,
    /// The query around this one.
    pub(super) outer: Option<&'a Scope<'a>>,
    /// Set where rows are groups: the row store's text of what they are grouped by.
    pub(super) groups: Option<Vec<String>>,
    /// Keys of other grouping sets, NULL in this one.
    pub(super) absent: Vec<String>,
    /// Aggregates are refused where no group is: WHERE, ON, SET, VALUES.
    pub(super) aggregates: Aggregates,
    /// What WINDOW names.
    pub(super) windows: Vec<NamedWindow>,
    /// What LATERAL sees beside the relations: those of the items of FROM before.
    pub(super) before: Vec<Relation>,
}

/// What an aggregate function means at a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Aggregates {
    Allowed,
    /// Aggregates, but no window functions: with the word for the place.
    WithoutWindows(&'static str),
    /// With the word for the place.
    Refused(&'static str),
}

impl<'a> Scope<'a> {
    /// Nothing in sight.
    pub(super) fn root() -> Self {
        Self {
            relations: Vec::new(),
            merged: Vec::new(),
            outer: None,
            groups: None,
            absent: Vec::new(),
            aggregates: Aggregates::Refused("this place"),
            windows: Vec::new(),
            before: Vec::new(),
        }
    }

    /// An empty scope inside `outer`.
    pub(super) fn within(outer: &'a Scope<'a>) -> Self {
        Self { outer: Some(outer), ..Self::root() }
    }

    /// The same relations where aggregates are refused.
    pub(super) fn without_aggregates(&self, place: &'static str) -> Self {
        Self { aggregates: Aggregates::Refused(place), ..self.clone() }
    }

    /// Adds a relation; 42712 if its name is taken.
    pub(super) fn add(&mut self, relation: Relation) -> Result<(), SqlError> {
        if self.relations.iter().any(|known| known.name == relation.name) {
            return Err(SqlError::new(
                state::DUPLICATE_ALIAS,
                format!("source name \"{}\" specified more than once (missing AS clause)", relation.name),
            ));
        }
        self.relations.push(relation);
        Ok(())
    }

    /// The columns of `*`.
    pub(super) fn all(&self) -> Vec<&ScopeColumn> {
        let merged = |name: &Name| self.merged.iter().any(|column| column.name == *name);
        let rest = self.relations.iter().flat_map(|relation| &relation.columns);
        let visible = rest.filter(|column| !column.hidden && !merged(&column.name));
        self.merged.iter().chain(visible).collect()
    }

    /// The columns of `*` as a client would write them.
    pub(super) fn all_written(&self) -> Vec<String> {
        let merged = self.merged.iter().map(|column| quoted(&column.name));
        let is_merged = |name: &Name| self.merged.iter().any(|column| column.name == *name);
        let rest = self.relations.iter().flat_map(|relation| {
            let visible = relation.columns.iter().filter(|column| !column.hidden);
            visible.filter(|column| !is_merged(&column.name)).map(|column| relation.written(column))
        });
        merged.chain(rest).collect()
    }

    /// The columns of `name.*` as a client would write them.
    pub(super) fn written_of(&self, name: &Name) -> Vec<String> {
        let relations = self.relations.iter().filter(|relation| relation.name == *name);
        relations
            .flat_map(|relation| {
                let visible = relation.columns.iter().filter(|column| !column.hidden);
                visible.map(|column| relation.written(column))
            })
            .collect()
    }

    /// The columns of `name.*`.
    pub(super) fn all_of(&self, name: &Name) -> Result<Vec<&ScopeColumn>, SqlError> {
        let relation = self.relations.iter().find(|relation| relation.name == *name).ok_or_else(|| {
            SqlError::new(
                grantd_catalog::refusal::state::UNDEFINED_TABLE,
                format!("no data source named \"{name}\""),
            )
        })?;
        Ok(relation.columns.iter().filter(|column| !column.hidden).collect())
    }

    /// What a name of one to three parts means, in this scope or one around it.
    pub(super) fn column(&self, parts: &[ast::Ident]) -> Result<Typed, SqlError> {
        let names: Vec<_> = parts.iter().map(name_of).collect();
        let mut scope = Some(self);
        while let Some(here) = scope {
            if let Some(column) = here.find(&names)? {
                here.check_grouped(column)?;
                return Ok(here.typed(column));
            }
            scope = here.outer;
        }
        if let [name] = names.as_slice()
            && self.relations.iter().any(|relation| relation.name == *name)
        {
            return Err(SqlError::unsupported("a whole row as a value"));
        }
        let written: Vec<_> = names.iter().map(Name::as_str).collect();
        Err(no_column(&written.join(".")))
    }

    /// The expression that a column is.
    pub(super) fn typed(&self, column: &ScopeColumn) -> Typed {
        let sql = if self.absent.contains(&column.sql) { "NULL".to_owned() } else { column.sql.clone() };
        Typed::computed(sql, column.sql_type)
    }

    /// Refuses a column that differs within a group.
    pub(super) fn check_grouped(&self, column: &ScopeColumn) -> Result<(), SqlError> {
        let Some(groups) = &self.groups else { return Ok(()) };
        if groups.contains(&column.sql) || self.absent.contains(&column.sql) {
            return Ok(());
        }
        let of = self.relations.iter().find(|relation| relation.columns.iter().any(|c| c.sql == column.sql));
        if of.is_some_and(|of| !of.key.is_empty() && of.key.iter().all(|key| groups.contains(key))) {
            return Ok(());
        }
        Err(SqlError::new(
            state::GROUPING_ERROR,
            format!(
                "column \"{}\" must appear in the GROUP BY clause or be used in an aggregate function",
                column.name
            ),
        ))
    }

    fn find(&self, names: &[Name]) -> Result<Option<&ScopeColumn>, SqlError> {
        let (schema, qualifier, name) = match names {
            [name] => (None, None, name),
            [qualifier, name] => (None, Some(qualifier), name),
            [schema, qualifier, name] => (Some(schema), Some(qualifier), name),
            _ => return Err(SqlError::unsupported("a column name of more than three parts")),
        };
        if qualifier.is_none()
            && let Some(column) = self.merged.iter().find(|column| column.name == *name)
        {
            return Ok(Some(column));
        }
        let mut found = None;
        for relation in &self.relations {
            let is_other = qualifier.is_some_and(|qualifier| *qualifier != relation.name);
            if is_other || (schema.is_some() && schema != relation.schema.as_ref()) {
                continue;
            }
            for column in relation.columns.iter().filter(|column| column.name == *name) {
                if found.is_some() {
                    return Err(SqlError::new(
                        state::AMBIGUOUS_COLUMN,
                        format!("column reference \"{name}\" is ambiguous"),
                    ));
                }
                found = Some(column);
            }
        }
        Ok(found)
    }
}
