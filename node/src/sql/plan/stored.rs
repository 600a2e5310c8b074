//! Texts of the catalog that become part of a statement: the queries of views, the bodies of functions.
//!
//! A view's text is planned with the view's own names in sight and nothing of the statement around it, and read by the
//! right of whoever made it: who reads the view needs SELECT on the view (authorization spec, section M). That leaves no
//! room for a name that means another object by now, so a text may name only what it was made of.

use std::collections::BTreeSet;

use grantd_catalog::id::ObjectId;
use grantd_catalog::object::{Object, View};
use grantd_catalog::privilege::Privilege;
use grantd_catalog::require::Need;
use sqlparser::ast;

use super::query::{Bound, OutputColumn};
use super::scope::{Scope, WithItem};
use super::written::Written;
use super::{Expansion, Planner};
use crate::error::{SqlError, state};
use crate::sql::parse::{self, STATEMENT_BYTES_MAX, Statement};
use crate::sql::translate::{Typed, function};

/// The most views and calls of functions in one statement, those inside of others counted.
pub(super) const EXPANSIONS_MAX: usize = 1_000;
/// The most bytes that their texts have together.
pub(super) const EXPANDED_BYTES_MAX: usize = STATEMENT_BYTES_MAX;

/// How much of the catalog's text is part of a statement.
#[derive(Debug, Default)]
pub(super) struct Expanded {
    count: usize,
    bytes: usize,
}

/// Whose text is being planned.
#[derive(Debug, Default)]
pub(super) struct Inside {
    /// The view that the client named, if the text is a view's.
    pub(super) definer: Option<Definer>,
    /// What the text may name, and the words for whose it is. None: it is the client's own.
    names: Option<(BTreeSet<ObjectId>, String)>,
    /// Whether it is to be the text of a view.
    pub(super) reads_only: bool,
    /// The arguments of a function, for `$n`.
    pub(super) arguments: Option<Vec<Typed>>,
}

/// A view that is read by the right of its owner.
#[derive(Debug)]
pub(super) struct Definer {
    need: Need,
    /// What the plan calls the view, and all that WITH holds in it.
    names: Vec<String>,
    pub(super) reads: BTreeSet<ObjectId>,
}

/// What must be as before when a text was planned, also when that failed: the planner may go on.
struct Outside {
    with: Vec<WithItem>,
    written: Option<Written>,
    names: Option<(BTreeSet<ObjectId>, String)>,
    arguments: Option<Vec<Typed>>,
    allows_subquery: bool,
}

impl Planner<'_> {
    /// An object is named: USAGE on its schema is required, and a stored text must have been made with it.
    pub(super) fn mention(&mut self, id: ObjectId, object: &Object) -> Result<(), SqlError> {
        if let Some((names, whose)) = &self.inside.names
            && !names.contains(&id)
        {
            return Err(SqlError::new(
                state::OBJECT_NOT_IN_PREREQUISITE_STATE,
                format!("{whose} is no longer valid: \"{}\" is not what it was made with", object.name),
            )
            .with_hint("Make it again with CREATE OR REPLACE."));
        }
        self.need(Need::Privilege { object: object.parent, privilege: Privilege::Usage });
        Ok(())
    }

    /// A name for a WITH item, remembered if it is in a view.
    pub(super) fn fresh_with(&mut self) -> String {
        let name = self.fresh(if self.inside.definer.is_some() { 'v' } else { 'w' });
        if let Some(definer) = &mut self.inside.definer {
            definer.names.push(name.clone());
        }
        name
    }

    /// The query of a view, as a table in FROM, and its columns.
    pub(super) fn view_relation(
        &mut self,
        id: ObjectId,
        object: &Object,
        view: &View,
    ) -> Result<(String, Vec<OutputColumn>), SqlError> {
        let need = Need::Privilege { object: id, privilege: Privilege::Select };
        self.need(need.clone());
        let is_outermost = self.inside.definer.is_none();
        if is_outermost {
            self.inside.definer = Some(Definer { need, names: Vec::new(), reads: BTreeSet::new() });
        }
        let name = self.fresh_with();
        let whose = format!("view \"{}\"", object.name);
        let planned = self.expand(&view.query, (&view.references, whose), None, |planner, query| {
            planner.query(query, &Scope::root())
        });
        if is_outermost && let Some(definer) = self.inside.definer.take() {
            for name in definer.names {
                let expansion = Expansion { need: definer.need.clone(), reads: definer.reads.clone() };
                self.expansions.insert(name, expansion);
            }
        }
        let Bound { sql, columns } = planned?;
        if columns.len() != view.columns.len() {
            return Err(SqlError::internal("a view's query has other columns than the view"));
        }
        let columns = columns
            .into_iter()
            .zip(&view.columns)
            .map(|(column, named)| OutputColumn { name: named.name.clone(), ..column })
            .collect();
        Ok((format!("(WITH {name} AS ({}) SELECT * FROM {name})", once(sql)), columns))
    }

    /// Plans a text of the catalog, within the bounds of all such.
    pub(super) fn expand<T>(
        &mut self,
        text: &str,
        (references, whose): (&[ObjectId], String),
        arguments: Option<Vec<Typed>>,
        plan: impl FnOnce(&mut Self, &ast::Query) -> Result<T, SqlError>,
    ) -> Result<T, SqlError> {
        self.expanded.count += 1;
        self.expanded.bytes += text.len();
        if self.expanded.count > EXPANSIONS_MAX || self.expanded.bytes > EXPANDED_BYTES_MAX {
            return Err(SqlError::too_large(format!(
                "the statement contains more than {EXPANSIONS_MAX} views and functions, or more than \
                 {EXPANDED_BYTES_MAX} bytes of their text"
            )));
        }
        let query = stored_query(text)?;
        let outside = self.enter(references, whose, arguments);
        let planned = self.deeper(|planner| plan(planner, &query));
        self.leave(outside);
        planned
    }

    fn enter(&mut self, references: &[ObjectId], whose: String, arguments: Option<Vec<Typed>>) -> Outside {
        let names = (references.iter().copied().collect(), whose);
        Outside {
            with: std::mem::take(&mut self.with),
            written: self.written.take(),
            names: self.inside.names.replace(names),
            arguments: std::mem::replace(&mut self.inside.arguments, arguments),
            allows_subquery: std::mem::replace(&mut self.allows_subquery, true),
        }
    }

    fn leave(&mut self, outside: Outside) {
        self.with = outside.with;
        self.written = outside.written;
        self.inside.names = outside.names;
        self.inside.arguments = outside.arguments;
        self.allows_subquery = outside.allows_subquery;
    }
}

/// A query that is evaluated once for each of its rows, though a column of it may be used several times: where that
/// makes a difference, SQLite must not put the query's expressions where its columns are used.
pub(super) fn once(sql: String) -> String {
    match function::is_volatile(&sql) {
        true => format!("SELECT * FROM ({sql}) LIMIT -1 OFFSET 0"),
        false => sql,
    }
}

/// Reads a query that was stored, or is to be.
pub(super) fn stored_query(text: &str) -> Result<Box<ast::Query>, SqlError> {
    let mut statements = parse::parse_all(text)?;
    match (statements.pop(), statements.len()) {
        (Some((_, Statement::Query(query))), 0) => Ok(query),
        _ => Err(SqlError::unsupported("anything but one SELECT in a view or function")),
    }
}
