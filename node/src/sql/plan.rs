//! Names, types and the requirement: a syntax tree and a view become a statement of the row store, with what it needs.
//!
//! A plan holds for one version of the catalog. It never decides: `execute` asks the gate.
//!
//! Every name in the row store's SQL is made here (`t<id>` for tables, `q<n>` for what has an alias, `w<n>` for a
//! WITH item, `k<n>` for a column of a subquery), so that no name of a client can shadow another, in any case.

use std::collections::{BTreeMap, BTreeSet};

use grantd_catalog::command::{Actor, NameContext, ObjectName};
use grantd_catalog::id::{ObjectId, Version};
use grantd_catalog::object::{Body, Table};
use grantd_catalog::privilege::Privilege;
use grantd_catalog::require::Requirement;
use grantd_catalog::view::View;
use grantd_raft::rows::Access;
use sqlparser::ast;

use crate::sql::error::{SqlError, state};
use crate::sql::parse::name_of;
use crate::sql::translate::{Parameters, function};
use crate::sql::value::{ColumnInfo, SqlType};

mod scope;
mod expression;
mod from;
mod combine;
mod query;
mod dml;
pub mod table;

pub use self::dml::{delete, insert, update};
pub use self::query::select;

use self::scope::Scope;

/// The deepest expression, counted in its own recursion.
const DEPTH_MAX: usize = 100;

/// A statement of the row store and what it needs.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The version of the catalog that it was made from.
    pub version: Version,
    /// The row store's text.
    pub sql: String,
    /// The types of its parameters.
    pub parameters: Vec<SqlType>,
    /// Its columns; none: it returns no rows.
    pub columns: Option<Vec<ColumnInfo>>,
    /// What it needs, in the order of the original's checks.
    pub requirement: Requirement,
    /// How each table is used, by object id.
    pub tables: BTreeMap<ObjectId, Usage>,
    /// The command tag without its count: `SELECT`, `INSERT 0`, `UPDATE`, `DELETE`.
    pub tag: &'static str,
    /// For an INSERT: the source of its rows, and the columns it fills, to say which key exists already.
    pub source: Option<Source>,
}

/// How a statement uses a table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs, reason = "each is what its name says")]
pub struct Usage {
    pub reads: bool,
    pub inserts: bool,
    pub updates: bool,
    pub deletes: bool,
}

/// Where the rows of an INSERT come from.
#[derive(Clone, Debug)]
pub struct Source {
    /// The row store's query.
    pub sql: String,
    /// The table they go to.
    pub table: ObjectId,
}

impl Plan {
    /// The second of the two checks: whether all that SQLite says the statement touches is covered by the
    /// requirement and by the tables that the plan names. The error says what is not, for the log.
    pub fn covers(&self, accesses: &[Access]) -> Result<(), String> {
        accesses.iter().try_for_each(|access| self.covers_one(access))
    }

    fn covers_one(&self, access: &Access) -> Result<(), String> {
        let (table, privilege) = match access {
            Access::Function { name } => {
                let known = name.starts_with("g_") || function::NATIVE.contains(&name.as_str());
                return if known { Ok(()) } else { Err(format!("it calls the function {name}")) };
            }
            Access::Other { what } => return Err(format!("it does {what}")),
            // What a WITH item or a subquery holds was reported where it was read from.
            Access::Read { table, .. } if is_generated(table) => return Ok(()),
            Access::Read { table, .. } => (table, Privilege::Select),
            Access::Insert { table } => (table, Privilege::Insert),
            Access::Update { table, .. } => (table, Privilege::Update),
            Access::Delete { table } => (table, Privilege::Delete),
        };
        let id = table.strip_prefix('t').and_then(|digits| digits.parse().ok()).map(ObjectId);
        let Some((id, usage)) = id.and_then(|id| self.tables.get(&id).map(|usage| (id, *usage))) else {
            return Err(format!("it touches {table}, which the plan does not name"));
        };
        let used = match privilege {
            Privilege::Select => usage.reads,
            Privilege::Insert => usage.inserts,
            Privilege::Update => usage.updates,
            _ => usage.deletes,
        };
        let need = grantd_catalog::require::Need::Privilege { object: id, privilege };
        if used && self.requirement.needs.contains(&need) {
            Ok(())
        } else {
            Err(format!("it needs {privilege} on {table}, which the plan does not require"))
        }
    }
}

/// A name that a plan makes for what is no table: `q1`, `w1`.
fn is_generated(name: &str) -> bool {
    name.strip_prefix(['q', 'w']).is_some_and(|n| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()))
}

/// What a plan is made from.
#[derive(Clone, Copy, Debug)]
pub struct Origin<'a> {
    /// The catalog.
    pub view: &'a View,
    /// Who asks.
    pub actor: Actor,
    /// What unqualified names mean.
    pub context: &'a NameContext,
}

/// Collects what a plan consists of while the tree is walked.
struct Planner<'a> {
    origin: Origin<'a>,
    parameters: Parameters,
    requirement: Requirement,
    tables: BTreeMap<ObjectId, Usage>,
    /// The WITH items in sight, inner ones last.
    with: Vec<scope::WithItem>,
    names: usize,
    depth: usize,
    /// Cleared where no row may be read: DEFAULT, CHECK, VALUES of an INSERT are no such place, but these are.
    allows_subquery: bool,
}

impl<'a> Planner<'a> {
    fn new(origin: Origin<'a>, hints: &[Option<SqlType>]) -> Self {
        Self {
            origin,
            parameters: Parameters::new(hints),
            requirement: Requirement::default(),
            tables: BTreeMap::new(),
            with: Vec::new(),
            names: 0,
            depth: 0,
            allows_subquery: true,
        }
    }

    fn finish(self, sql: String, columns: Option<Vec<ColumnInfo>>, tag: &'static str) -> Plan {
        Plan {
            version: self.origin.view.version(),
            sql,
            parameters: self.parameters.types(),
            columns,
            requirement: self.requirement,
            tables: self.tables,
            tag,
            source: None,
        }
    }

    /// A new name for what has an alias.
    fn fresh(&mut self, letter: char) -> String {
        self.names += 1;
        format!("{letter}{}", self.names)
    }

    /// The table that a statement names, with USAGE on its schema and `privileges` on it required, in this order.
    fn table(
        &mut self,
        name: &ast::ObjectName,
        privileges: &[Privilege],
    ) -> Result<(ObjectId, &'a Table), SqlError> {
        let view = self.origin.view;
        let (id, _) = resolve(self.origin, name)?;
        let object = view.state().object(id).ok_or_else(|| SqlError::internal("a table without a record"))?;
        let Body::Table(table) = &object.body else {
            return Err(SqlError::new(
                grantd_catalog::refusal::state::WRONG_OBJECT_TYPE,
                format!("\"{}\" is not a table", object.name),
            ));
        };
        self.requirement.privilege(object.parent, Privilege::Usage);
        let usage = self.tables.entry(id).or_default();
        for privilege in privileges {
            self.requirement.privilege(id, *privilege);
            match privilege {
                Privilege::Select => usage.reads = true,
                Privilege::Insert => usage.inserts = true,
                Privilege::Update => usage.updates = true,
                Privilege::Delete => usage.deletes = true,
                _ => {}
            }
        }
        Ok((id, table))
    }

    /// Runs `inner` one level deeper.
    fn deeper<T>(&mut self, inner: impl FnOnce(&mut Self) -> Result<T, SqlError>) -> Result<T, SqlError> {
        if self.depth == DEPTH_MAX {
            return Err(SqlError::too_large("the statement is nested too deeply"));
        }
        self.depth += 1;
        let result = inner(self);
        self.depth -= 1;
        result
    }

    fn scope(&self) -> Scope<'static> {
        Scope::root()
    }
}

/// Finds a table; 42P01 and its kin, with a hint where a system table was meant.
fn resolve(origin: Origin<'_>, name: &ast::ObjectName) -> Result<(ObjectId, ObjectName), SqlError> {
    let name = object_name(name)?;
    if let [.., schema, _] = name.parts.as_slice()
        && matches!(schema.as_str(), "pg_catalog" | "information_schema" | "crdb_internal" | "pg_extension")
    {
        let written: Vec<_> = name.parts.iter().map(|part| part.as_str()).collect();
        return Err(SqlError::unsupported(format!("the system table {}", written.join("."))).with_hint(
            "SHOW ROLES, SHOW GRANTS, SHOW DATABASES, SHOW SCHEMAS and SHOW TABLES list what there is.",
        ));
    }
    match origin.view.state().resolve_table(origin.context, &name) {
        Ok(id) => Ok((id, name)),
        Err(refusal) => {
            let system = name.parts.len() == 1 && name.parts[0].as_str().starts_with("pg_");
            let error = SqlError::from(refusal);
            Err(if system { error.with_hint("The tables of pg_catalog are not there yet.") } else { error })
        }
    }
}

/// The parts of a name.
pub fn object_name(name: &ast::ObjectName) -> Result<ObjectName, SqlError> {
    let mut parts = Vec::with_capacity(3);
    for part in &name.0 {
        match part {
            ast::ObjectNamePart::Identifier(ident) => parts.push(name_of(ident)),
            ast::ObjectNamePart::Function(_) => return Err(SqlError::unsupported("a function as a name")),
        }
    }
    if (1..=3).contains(&parts.len()) {
        Ok(ObjectName { parts })
    } else {
        Err(SqlError::syntax("a name has one to three parts"))
    }
}

/// Refuses a clause that a syntax tree has room for and that was not considered.
fn none<T>(clause: &Option<T>, feature: &str) -> Result<(), SqlError> {
    if clause.is_some() { Err(SqlError::unsupported(feature)) } else { Ok(()) }
}

/// The same for a list.
fn empty<T>(clause: &[T], feature: &str) -> Result<(), SqlError> {
    if clause.is_empty() { Ok(()) } else { Err(SqlError::unsupported(feature)) }
}

/// The same for a flag.
fn unset(flag: bool, feature: &str) -> Result<(), SqlError> {
    if flag { Err(SqlError::unsupported(feature)) } else { Ok(()) }
}

/// 42703.
fn no_column(name: &str) -> SqlError {
    SqlError::new(state::UNDEFINED_COLUMN, format!("column \"{name}\" does not exist"))
}

/// Refuses a name that occurs twice.
fn distinct<'n>(names: impl Iterator<Item = &'n str>) -> Result<(), SqlError> {
    let mut seen = BTreeSet::new();
    for name in names {
        if !seen.insert(name.to_lowercase()) {
            return Err(SqlError::new(
                state::DUPLICATE_COLUMN,
                format!("column name \"{name}\" specified more than once"),
            ));
        }
    }
    Ok(())
}
