//! What statements need, by the specification (A.5.1) and the statement's own tree: nothing here knows of the planner.

use std::collections::BTreeSet;

use grantd_cluster_tests::dice::Dice;

use super::generate::{Conflict, Expression, Item, Query, Relation, Select, Statement};

/// What is there. Every relation has the columns `id`, `a`, `b`, all INT8.
pub const OBJECTS: &[&str] = &[
    "CREATE SCHEMA ops",
    "CREATE TYPE mood AS ENUM ('sad', 'ok'); REVOKE USAGE ON TYPE mood FROM public",
    "CREATE SEQUENCE s0; CREATE SEQUENCE ops.s1",
    "CREATE TABLE t0 (id INT8 PRIMARY KEY, a INT8, b INT8)",
    "CREATE TABLE t1 (id INT8 PRIMARY KEY, a INT8, b INT8)",
    "CREATE TABLE ops.t0 (id INT8 PRIMARY KEY, a INT8, b INT8)",
    "CREATE TABLE ops.t2 (id INT8 PRIMARY KEY, a INT8, b INT8)",
    "CREATE TABLE d (id INT8 PRIMARY KEY DEFAULT nextval('ops.s1'), a INT8, b INT8)",
    "CREATE VIEW v0 AS SELECT id, a, b FROM t0",
    "CREATE VIEW v1 AS SELECT v0.id, v0.a, q.b FROM v0 JOIN ops.t0 AS q ON q.id = v0.id",
    "CREATE VIEW ops.v2 AS WITH t0 AS (SELECT id, a, b FROM t1) SELECT t0.id, t0.a, v1.b FROM t0, v1",
    "CREATE VIEW v3 AS SELECT id, (SELECT count(*) FROM ops.t2) AS a, b FROM t1 WHERE EXISTS (SELECT 1 FROM v0)",
    "CREATE FUNCTION f0(x INT8) RETURNS INT8 LANGUAGE SQL AS 'SELECT max(a) + x FROM t1'",
    "CREATE FUNCTION f1(x INT8) RETURNS INT8 LANGUAGE SQL AS 'SELECT x + 1'",
    "CREATE FUNCTION ops.f2(x INT8) RETURNS INT8 LANGUAGE SQL AS 'SELECT count(*) + x FROM v0'",
    "CREATE FUNCTION f3(x INT8) RETURNS INT8 LANGUAGE SQL AS 'SELECT ops.f2(x) + max(a) FROM ops.t2'",
];

/// The rows that each user finds.
pub const ROWS: &str = "DELETE FROM t0; DELETE FROM t1; DELETE FROM ops.t0; DELETE FROM ops.t2; DELETE FROM d; \
    INSERT INTO t0 VALUES (1, 2, 3), (2, 3, 4); INSERT INTO t1 VALUES (1, 1, 1); INSERT INTO ops.t0 VALUES (1, 7, 7)";

/// Names in `public` are written with or without it, those in `ops` with it.
pub const TABLES: [&str; 5] = ["public.t0", "public.t1", "ops.t0", "ops.t2", "public.d"];
/// They are read by the right of their owner.
pub const VIEWS: [&str; 4] = ["public.v0", "public.v1", "ops.v2", "public.v3"];
/// Two, each in its schema.
pub const SEQUENCES: [&str; 2] = ["public.s0", "ops.s1"];
/// Each takes and gives an INT8.
pub const FUNCTIONS: [&str; 4] = ["public.f0", "public.f1", "ops.f2", "public.f3"];

/// One thing that a statement needs. `UPDATE or USAGE`: one of them.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Needed {
    /// In words.
    pub privilege: String,
    /// `public.t0`, or the name of a schema.
    pub object: String,
}

/// A user, what it holds, and what gives it that.
pub struct World {
    /// Its name.
    pub user: String,
    /// Statements for root.
    pub grants: Vec<String>,
    held: BTreeSet<(String, String)>,
}

impl World {
    /// The user of this number. Some hold little, some nearly all; directly, by a role, or by a role of that role.
    pub fn new(number: usize, dice: &mut Dice) -> Self {
        let user = format!("u{number}");
        let roles = [user.clone(), format!("r{number}"), format!("rr{number}")];
        let mut grants = vec![format!(
            "CREATE USER {user}; CREATE ROLE r{number}; CREATE ROLE rr{number}; \
             GRANT rr{number} TO r{number}; GRANT r{number} TO {user}"
        )];
        // Everybody holds it, as in every new database.
        let mut held = BTreeSet::from([("USAGE".to_owned(), "public".to_owned())]);
        let mut all = vec![("USAGE", "SCHEMA", "ops"), ("USAGE", "TYPE", "public.mood")];
        for table in TABLES {
            all.extend(["SELECT", "INSERT", "UPDATE", "DELETE", "DROP"].map(|word| (word, "TABLE", table)));
        }
        all.extend(VIEWS.map(|view| ("SELECT", "TABLE", view)));
        for sequence in SEQUENCES {
            all.extend(["SELECT", "USAGE", "UPDATE"].map(|word| (word, "SEQUENCE", sequence)));
        }
        all.extend(FUNCTIONS.map(|function| ("EXECUTE", "FUNCTION", function)));
        let lacks_one_in = 3 + 2 * (number % 8);
        for (privilege, kind, object) in all {
            if !dice.one_in(lacks_one_in) {
                let to = dice.pick(&roles);
                grants.push(format!("GRANT {privilege} ON {kind} {object} TO {to}"));
                held.insert((privilege.to_owned(), object.to_owned()));
            }
        }
        Self { user, grants, held }
    }

    /// Whether the user has what is needed.
    pub fn holds(&self, needed: &Needed) -> bool {
        let mut words = needed.privilege.split(" or ");
        words.any(|word| self.held.contains(&(word.to_owned(), needed.object.clone())))
    }

    /// How the engine says that it is missing.
    pub fn refusal(&self, needed: &Needed) -> String {
        let Needed { privilege, object } = needed;
        let (kind, name) = match object.split_once('.') {
            None => ("schema", object.as_str()),
            Some((_, name)) if FUNCTIONS.contains(&object.as_str()) => ("function", name),
            Some((_, name)) if object == "public.mood" => ("type", name),
            Some((_, name)) => ("relation", name),
        };
        format!("user {} does not have {privilege} privilege on {kind} {name}", self.user)
    }
}

/// Collects needs, and knows which names are WITH items where.
#[derive(Default)]
struct Walk {
    needs: Vec<Needed>,
    with: Vec<String>,
}

/// What a statement needs.
pub fn needs(statement: &Statement) -> Vec<Needed> {
    let mut walk = Walk::default();
    walk.statement(statement);
    walk.needs
}

/// What an unqualified or qualified name means where no WITH item has it.
fn full(name: &str) -> String {
    if name.contains('.') { name.to_owned() } else { format!("public.{name}") }
}

impl Walk {
    fn on(&mut self, privilege: &str, object: &str) {
        let (schema, _) = object.split_once('.').expect("a full name");
        self.needs.push(Needed { privilege: "USAGE".to_owned(), object: schema.to_owned() });
        self.needs.push(Needed { privilege: privilege.to_owned(), object: object.to_owned() });
    }

    fn statement(&mut self, statement: &Statement) {
        match statement {
            Statement::Query(query) => self.query(query),
            Statement::Locked { table, filter } => {
                self.on("SELECT", &full(table));
                self.on("UPDATE", &full(table));
                self.expressions(filter);
            }
            Statement::Insert { table, row, source, default_id, conflict, returning } => {
                let table = full(table);
                self.on("INSERT", &table);
                if *conflict != Conflict::Error || returning.is_some() {
                    self.on("SELECT", &table);
                }
                if *conflict == Conflict::Update || *conflict == Conflict::Upsert {
                    self.on("UPDATE", &table);
                }
                // The default of its key: the call itself. It names no schema, for it was looked up when it was made.
                if *default_id && table == "public.d" {
                    let privilege = "UPDATE or USAGE".to_owned();
                    self.needs.push(Needed { privilege, object: "ops.s1".to_owned() });
                }
                self.expressions(row);
                self.queries(source.as_deref());
                self.expressions(returning.as_deref().unwrap_or_default());
            }
            Statement::Update { table, value, filter, returning } => {
                self.on("UPDATE", &full(table));
                self.on("SELECT", &full(table));
                self.expression(value);
                self.expressions(filter);
                let _ = returning;
            }
            Statement::Delete { table, filter, returning } => {
                self.on("DELETE", &full(table));
                self.on("SELECT", &full(table));
                self.expressions(filter);
                let _ = returning;
            }
            Statement::Truncate { table } => self.on("DROP", &full(table)),
            Statement::Changing { items, last } => {
                for (name, item) in items {
                    self.statement(item);
                    // RETURNING.
                    if let Statement::Insert { table, .. } = item {
                        self.on("SELECT", &full(table));
                    }
                    self.with.push(name.clone());
                }
                self.statement(last);
                self.with.clear();
            }
        }
    }

    fn queries(&mut self, query: Option<&Query>) {
        if let Some(query) = query {
            self.query(query);
        }
    }

    fn query(&mut self, query: &Query) {
        let known = self.with.len();
        for Item { name, query, is_recursive } in &query.with {
            // A recursive item sees itself; another sees what its name meant before.
            if *is_recursive {
                self.with.push(name.clone());
                self.query(query);
            } else {
                self.query(query);
                self.with.push(name.clone());
            }
        }
        for select in &query.selects {
            self.select(select);
        }
        self.with.truncate(known);
    }

    fn select(&mut self, select: &Select) {
        for relation in &select.from {
            match relation {
                // A name of several parts is never a WITH item's.
                Relation::Named(name) if self.with.contains(name) => {}
                Relation::Named(name) | Relation::Sequence(name) => self.on("SELECT", &full(name)),
                Relation::Subquery(query) => self.query(query),
            }
        }
        self.expressions(&select.list);
        self.expressions(&select.filter);
    }

    fn expressions(&mut self, all: &[Expression]) {
        for expression in all {
            self.expression(expression);
        }
    }

    fn expression(&mut self, expression: &Expression) {
        match expression {
            Expression::Number(_) | Expression::Column(_) => {}
            Expression::Label => self.on("USAGE", "public.mood"),
            Expression::Sum(left, right) => {
                self.expression(left);
                self.expression(right);
            }
            Expression::Scalar(query) | Expression::Exists(query) => self.query(query),
            Expression::In(left, query) => {
                self.expression(left);
                self.query(query);
            }
            Expression::Call(function, argument) => {
                self.expression(argument);
                self.call(&full(function));
            }
            Expression::Next(sequence) => self.on("UPDATE or USAGE", &full(sequence)),
            Expression::Set(sequence) => self.on("UPDATE", &full(sequence)),
        }
    }

    /// EXECUTE, and what the body needs, of whoever calls.
    fn call(&mut self, function: &str) {
        self.on("EXECUTE", function);
        match function {
            "public.f0" => self.on("SELECT", "public.t1"),
            "ops.f2" => self.on("SELECT", "public.v0"),
            "public.f3" => {
                self.call("ops.f2");
                self.on("SELECT", "ops.t2");
            }
            _ => {}
        }
    }
}
