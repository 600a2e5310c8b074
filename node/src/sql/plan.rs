//! Names, types and the requirement: a syntax tree and a view become a statement of the row store, with what it needs.
//!
//! A plan holds for one version of the catalog. It never decides: `execute` asks the gate.
//!
//! Every name in the row store's SQL is made here (`t<id>` for tables, `q<n>` for what has an alias, `w<n>` for a
//! WITH item, `v<n>` for a view and what WITH holds in one, `f<n>` for a function's arguments, `k<n>` for a column of a
//! subquery), so that no name of a client can shadow another, in any case.

use std::collections::{BTreeMap, BTreeSet};

use grantd_catalog::command::{Actor, NameContext, ObjectName};
use grantd_catalog::id::{ObjectId, Version};
use grantd_catalog::object::{Body, ColumnType, Object, Table};
use grantd_catalog::privilege::Privilege;
use grantd_catalog::require::{Need, Requirement};
use grantd_catalog::view::View;
use grantd_raft::rows::Access;
use sqlparser::ast;

use crate::error::{SqlError, state};
use crate::sql::parse::name_of;
use crate::sql::translate::{self, Parameters, function};
use crate::value::{ColumnInfo, SqlType};

mod scope;
mod step;
mod written;
mod stored;
mod sequence;
mod routine;
mod heading;
mod row;
mod window;
mod lock;
mod group;
mod with;
mod select;
mod contents;
mod expression;
mod from;
mod combine;
mod query;
mod dml;
pub mod explain;
mod conflict;
mod joined;
mod update;
mod changing;
mod introspect;
pub mod copy;
mod foreign_key;
mod truncate;
mod shape;
pub mod table;
pub mod alter;
pub mod object;
pub mod backup;
pub mod restore;

pub use self::changing::{change, changes, select};
pub use self::dml::Change;
pub use self::truncate::truncate;

pub use self::foreign_key::Kept;
pub use self::step::Step;

use self::scope::Scope;
use self::step::{Part, Past};

/// The deepest expression, counted in its own recursion.
const DEPTH_MAX: usize = 100;

/// A statement of the row store and what it needs.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The version of the catalog that it was made from.
    pub version: Version,
    /// What runs before `sql`: of a TRUNCATE, the other tables; the items of a WITH that changes rows.
    pub before: Vec<Step>,
    /// The row store's text.
    pub sql: String,
    /// The types of its parameters.
    pub parameters: Vec<SqlType>,
    /// Its columns; none: it returns no rows.
    pub columns: Option<Vec<ColumnInfo>>,
    /// What it needs, in the order of the original's checks.
    pub requirement: Requirement,
    /// How each table is used that the client named, or a function's body, by object id.
    pub tables: BTreeMap<ObjectId, Usage>,
    /// The sequences that it moves. A statement that moves any is a write.
    pub sequences: BTreeMap<ObjectId, Motion>,
    /// The views and functions whose text is part of it, by the names that the plan made for them.
    pub expansions: BTreeMap<String, Expansion>,
    /// Whether it has FOR UPDATE or FOR SHARE: it counts as a change, though it changes nothing.
    pub locks: bool,
    /// The names of the client for those that the plan made of relations.
    pub names: BTreeMap<String, String>,
    /// Whether it is an EXPLAIN.
    pub explains: bool,
    /// The command tag without its count: `SELECT`, `INSERT 0`, `UPDATE`, `DELETE`.
    pub tag: &'static str,
    /// Of a change, the rows as they are to be, to say which key exists already or is not there to refer to.
    pub source: Option<Source>,
    /// Of a change, the rows as they were, to say which of them is still referred to.
    pub gone: Option<Source>,
    /// What SQLite touches to keep foreign keys.
    pub kept: BTreeMap<ObjectId, Kept>,
}

/// How a statement uses a table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs, reason = "each is what its name says")]
pub struct Usage {
    pub reads: bool,
    pub inserts: bool,
    pub updates: bool,
    pub deletes: bool,
    pub truncates: bool,
}

impl Usage {
    /// What a change of the table is called in messages.
    fn word(&self) -> Option<&'static str> {
        let Self { reads: _, inserts, updates, deletes, truncates } = *self;
        let words = [(inserts, "INSERT"), (updates, "UPDATE"), (deletes, "DELETE"), (truncates, "TRUNCATE")];
        words.into_iter().find_map(|(is_so, word)| is_so.then_some(word))
    }
}

/// How a statement moves a sequence.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs, reason = "each is what its name says")]
pub struct Motion {
    pub next: bool,
    pub set: bool,
}

/// A view or function whose text is part of a statement.
#[derive(Clone, Debug)]
pub struct Expansion {
    /// What the statement needs for it: SELECT on the view that the client named, EXECUTE on the function.
    pub need: Need,
    /// What is read within it by the right of its owner: the tables of a view. Of a function, nothing.
    pub reads: BTreeSet<ObjectId>,
}

/// Rows of a table: `k<n>` is the n-th column.
#[derive(Clone, Debug)]
pub struct Source {
    /// The row store's query.
    pub sql: String,
    /// The table.
    pub table: ObjectId,
}

impl Plan {
    /// The second of the two checks: whether all that SQLite says the statement touches is covered by the
    /// requirement and by the tables that the plan names. The error says what is not, for the log.
    ///
    /// A table that only a view reads is covered by SELECT on the view, and only within the view's text: the same table
    /// named elsewhere in the statement needs its own.
    pub fn covers(&self, accesses: &[Access]) -> Result<(), String> {
        for expansion in self.expansions.values() {
            self.requires(&expansion.need)?;
        }
        for (id, motion) in &self.sequences {
            if motion.next {
                self.requires(&may_take(*id))?;
            }
            if motion.set {
                self.requires(&Need::Privilege { object: *id, privilege: Privilege::Update })?;
            }
        }
        accesses.iter().try_for_each(|access| self.covers_one(access))
    }

    /// What a query that changes something is called in messages: it moves a sequence, or an item of its WITH changes
    /// rows.
    pub fn changes(&self) -> Option<&'static str> {
        if self.explains {
            return None;
        }
        // FOR UPDATE is no change, though it needs the right to one.
        let with = self.before.first().and_then(|_| self.tables.values().find_map(Usage::word));
        with.or_else(|| (!self.sequences.is_empty()).then_some("nextval()"))
    }

    fn requires(&self, need: &Need) -> Result<(), String> {
        match self.requirement.needs.contains(need) {
            true => Ok(()),
            false => Err(format!("it needs {need:?}, which the plan does not require")),
        }
    }

    /// Whether it is what a foreign key makes of the statement.
    fn keeps_keys(&self, access: &Access) -> bool {
        let of = |table: &str| table_id(table).and_then(|id| self.kept.get(&id));
        match access {
            Access::Read { table, column, within: None } => {
                of(table).is_some_and(|kept| column.is_empty() || kept.reads.contains(column.as_str()))
            }
            Access::Update { table, column } => {
                of(table).is_some_and(|kept| kept.updates.contains(column.as_str()))
            }
            Access::Delete { table } => of(table).is_some_and(|kept| kept.deletes),
            Access::Read { .. } | Access::Insert { .. } | Access::Function { .. } | Access::Other { .. } => {
                false
            }
        }
    }

    /// Whether a read is a view's, by the right of its owner. Where rows are counted SQLite says nothing of where, or
    /// names an item that stands around or beside it: any view of the statement that reads the table will do, unless
    /// the plan says that the table is also read elsewhere.
    fn is_by_view(&self, table: ObjectId, column: &str, within: Option<&str>) -> bool {
        let reads = |expansion: &Expansion| expansion.reads.contains(&table);
        if !column.is_empty() {
            return within.and_then(|name| self.expansions.get(name)).is_some_and(reads);
        }
        let is_read_elsewhere = self.tables.get(&table).is_some_and(|usage| usage.reads);
        !is_read_elsewhere && self.expansions.values().any(reads)
    }

    fn covers_one(&self, access: &Access) -> Result<(), String> {
        if self.keeps_keys(access) {
            return Ok(());
        }
        let (table, privilege) = match access {
            Access::Function { name } => {
                let known = name.starts_with("g_") || function::NATIVE.contains(&name.as_str());
                return if known { Ok(()) } else { Err(format!("it calls the function {name}")) };
            }
            Access::Other { what } => return Err(format!("it does {what}")),
            // What a WITH item or a subquery holds was reported where it was read from.
            Access::Read { table, .. } if is_generated(table) => return Ok(()),
            // The items of an array, which is an expression like others.
            Access::Read { table, .. } if table == "json_each" => return Ok(()),
            Access::Read { table, column, within } => {
                let by_view = |id: &ObjectId| self.is_by_view(*id, column, within.as_deref());
                if table_id(table).as_ref().is_some_and(by_view) {
                    return Ok(());
                }
                (table, Privilege::Select)
            }
            Access::Insert { table } => (table, Privilege::Insert),
            Access::Update { table, .. } => (table, Privilege::Update),
            Access::Delete { table } => (table, Privilege::Delete),
        };
        let Some((id, usage)) = table_id(table).and_then(|id| self.tables.get(&id).map(|usage| (id, *usage)))
        else {
            return Err(format!("it touches {table}, which the plan does not name"));
        };
        let privilege = match privilege {
            Privilege::Delete if usage.truncates => Privilege::Drop,
            other => other,
        };
        let used = match privilege {
            Privilege::Drop => usage.truncates,
            Privilege::Select => usage.reads,
            Privilege::Insert => usage.inserts,
            Privilege::Update => usage.updates,
            _ => usage.deletes,
        };
        let need = Need::Privilege { object: id, privilege };
        if used && self.requirement.needs.contains(&need) {
            Ok(())
        } else {
            Err(format!("it needs {privilege} on {table}, which the plan does not require"))
        }
    }
}

/// The object whose rows are in the row store's table of this name.
fn table_id(name: &str) -> Option<ObjectId> {
    name.strip_prefix('t').and_then(|digits| digits.parse().ok()).map(ObjectId)
}

/// What nextval() needs.
fn may_take(sequence: ObjectId) -> Need {
    Need::AnyOf { object: sequence, privileges: vec![Privilege::Update, Privilege::Usage] }
}

/// A name that a plan makes for what is no table: `q1`, `w1`, `v1`, `f1`.
fn is_generated(name: &str) -> bool {
    name.strip_prefix(['q', 'w', 'v', 'f'])
        .is_some_and(|n| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()))
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
    sequences: BTreeMap<ObjectId, Motion>,
    expansions: BTreeMap<String, Expansion>,
    /// How much of the catalog's text is part of the statement.
    expanded: stored::Expanded,
    /// The text of a view or function that is being planned, if any.
    inside: stored::Inside,
    /// Set while what is planned is to be stored: collects its names in full.
    written: Option<written::Written>,
    /// The WITH items in sight, inner ones last.
    with: Vec<scope::WithItem>,
    names: usize,
    /// The names of the client for those that are made here.
    shown: BTreeMap<String, String>,
    depth: usize,
    /// The tables that FROM named, also those of views and functions.
    read: BTreeSet<ObjectId>,
    /// Set while a FROM is planned whose rows FOR UPDATE means.
    locking: Option<lock::Locking>,
    /// Whether FOR UPDATE or FOR SHARE was met.
    locks: bool,
    /// Set while a select list is read.
    lateral: Option<introspect::Lateral>,
    /// The collations of what rows are grouped by, by its text.
    collations: BTreeMap<String, &'static str>,
    /// What runs before the statement's last part.
    parts: Vec<Part>,
    /// How many numbers were given to kept rows.
    numbers: usize,
    /// The kept rows that the part which is being planned reads.
    named: BTreeSet<usize>,
    /// What tables held when the statement began, of those that a part has changed.
    past: BTreeMap<ObjectId, Past>,
    /// Set while RETURNING is for another step, not for the client.
    returns_raw: bool,
    /// Set while the SELECT of an INSERT is planned: the types of the columns that its select list goes to.
    wanted: Vec<SqlType>,
    /// Cleared where no row may be read: DEFAULT, CHECK, VALUES of an INSERT are no such place, but these are.
    allows_subquery: bool,
}

impl<'a> Planner<'a> {
    fn new(origin: Origin<'a>, hints: &[Option<SqlType>]) -> Self {
        Self {
            origin,
            parameters: Parameters::new(hints).with_catalog(origin.view.state()),
            requirement: Requirement::default(),
            tables: BTreeMap::new(),
            sequences: BTreeMap::new(),
            expansions: BTreeMap::new(),
            expanded: stored::Expanded::default(),
            inside: stored::Inside::default(),
            written: None,
            with: Vec::new(),
            names: 0,
            shown: BTreeMap::new(),
            depth: 0,
            read: BTreeSet::new(),
            locking: None,
            locks: false,
            lateral: None,
            collations: BTreeMap::new(),
            parts: Vec::new(),
            numbers: 0,
            named: BTreeSet::new(),
            past: BTreeMap::new(),
            returns_raw: false,
            wanted: Vec::new(),
            allows_subquery: true,
        }
    }

    fn finish(self, sql: String, columns: Option<Vec<ColumnInfo>>, tag: &'static str) -> Plan {
        Plan {
            version: self.origin.view.version(),
            kept: foreign_key::kept(self.origin.view.state(), &self.tables),
            before: Vec::new(),
            sql,
            parameters: self.parameters.types(),
            columns,
            requirement: self.requirement,
            tables: self.tables,
            sequences: self.sequences,
            expansions: self.expansions,
            tag,
            locks: self.locks,
            names: self.shown,
            explains: false,
            source: None,
            gone: None,
        }
    }

    /// A new name for what has an alias.
    fn fresh(&mut self, letter: char) -> String {
        self.names += 1;
        format!("{letter}{}", self.names)
    }

    /// The relation that a statement names, with USAGE on its schema required.
    fn relation_object(&mut self, name: &ast::ObjectName) -> Result<(ObjectId, &'a Object), SqlError> {
        let (id, _) = resolve(self.origin, name)?;
        let object = self.object(id)?;
        self.mention(id, object)?;
        self.write_name(written::span(name), id);
        Ok((id, object))
    }

    fn object(&self, id: ObjectId) -> Result<&'a Object, SqlError> {
        let view = self.origin.view;
        view.state().object(id).ok_or_else(|| SqlError::internal("a name without an object"))
    }

    /// Adds a need, unless what is planned is a view's text, which is read by the right of the view's owner.
    fn need(&mut self, need: Need) {
        if self.inside.definer.is_none() {
            self.requirement.need(need);
        }
    }

    /// The table that a change is of, with USAGE on its schema and `privileges` on it required, in this order.
    fn table(
        &mut self,
        name: &ast::ObjectName,
        privileges: &[Privilege],
    ) -> Result<(ObjectId, &'a Table), SqlError> {
        let (id, object) = self.relation_object(name)?;
        match &object.body {
            Body::Table(table) => {
                self.uses(id, privileges);
                Ok((id, table))
            }
            Body::View(_) => {
                let verb = privileges.first().map_or("SELECT", |privilege| privilege.word());
                Err(SqlError::new(
                    grantd_catalog::refusal::state::WRONG_OBJECT_TYPE,
                    format!("cannot run {verb} on view \"{}\" - views are not updateable", object.name),
                ))
            }
            _ => Err(not_a_table(object)),
        }
    }

    /// Requires `privileges` on a table, and remembers how it is used.
    fn uses(&mut self, id: ObjectId, privileges: &[Privilege]) {
        self.read.insert(id);
        if let Some(definer) = &mut self.inside.definer {
            definer.reads.insert(id);
            return;
        }
        let usage = self.tables.entry(id).or_default();
        for privilege in privileges {
            self.requirement.privilege(id, *privilege);
            match privilege {
                Privilege::Select => usage.reads = true,
                Privilege::Insert => usage.inserts = true,
                Privilege::Update => usage.updates = true,
                Privilege::Delete => usage.deletes = true,
                Privilege::Drop => usage.truncates = true,
                _ => {}
            }
        }
    }

    /// The type that a statement names; USAGE on an enum type and its schema is required.
    fn column_type(&mut self, data_type: &ast::DataType) -> Result<ColumnType, SqlError> {
        let unknown = match translate::column_type(data_type) {
            Ok(known) => return Ok(known),
            Err(unknown) => unknown,
        };
        let ast::DataType::Custom(name, modifiers) = data_type else { return Err(unknown) };
        let full = object_name(name)?;
        let known_elsewhere = full.parts.last().is_some_and(|word| ELSEWHERE.contains(&word.as_str()));
        if !modifiers.is_empty() || known_elsewhere {
            return Err(unknown);
        }
        let id = self.origin.view.state().resolve_type(self.origin.context, &full)?;
        let object = self.object(id)?;
        self.mention(id, object)?;
        self.need(Need::Privilege { object: id, privilege: Privilege::Usage });
        self.write_name(written::span(name), id);
        Ok(ColumnType::Enum(id))
    }

    /// Runs `inner`, and gives back which tables FROM named in it.
    fn reading<T>(&mut self, inner: impl FnOnce(&mut Self) -> T) -> (T, BTreeSet<ObjectId>) {
        let before = std::mem::take(&mut self.read);
        let result = inner(self);
        let read = std::mem::replace(&mut self.read, before);
        self.read.extend(&read);
        (result, read)
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

/// Types of CockroachDB and PostgreSQL that are not here, which must not read as the name of a type that was forgotten.
const ELSEWHERE: [&str; 22] = [
    "bit",
    "box",
    "box2d",
    "char",
    "cidr",
    "circle",
    "citext",
    "geography",
    "geometry",
    "inet",
    "line",
    "money",
    "name",
    "oid",
    "path",
    "point",
    "polygon",
    "regclass",
    "regproc",
    "regtype",
    "tsvector",
    "xml",
];

fn not_a_table(object: &Object) -> SqlError {
    grantd_catalog::refusal::wrong_object_kind(&object.name, "table").into()
}

/// Finds a table; 42P01 and its kin.
fn resolve(origin: Origin<'_>, name: &ast::ObjectName) -> Result<(ObjectId, ObjectName), SqlError> {
    let name = object_name(name)?;
    let id = origin.view.state().resolve_relation(origin.context, &name)?;
    Ok((id, name))
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
