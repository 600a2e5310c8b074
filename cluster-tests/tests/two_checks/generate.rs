//! Statements as trees, from dice.

use std::fmt::{self, Display, Formatter};

use grantd_cluster_tests::dice::Dice;

use super::reference::{FUNCTIONS, SEQUENCES, TABLES, VIEWS};

/// How deep queries go in queries.
const NESTING: usize = 2;
/// How many queries one statement has at most, so that it is run in milliseconds.
const QUERIES_MAX: usize = 9;

/// A statement.
#[derive(Clone, Debug)]
#[allow(missing_docs, reason = "each is what its name says")]
pub enum Statement {
    Query(Query),
    /// SELECT … FOR UPDATE.
    Locked {
        table: String,
        filter: Vec<Expression>,
    },
    Insert {
        table: String,
        /// The columns `a` and `b` of VALUES; empty: rows come from `source`.
        row: Vec<Expression>,
        source: Option<Box<Query>>,
        /// Whether the key is left to its default.
        default_id: bool,
        conflict: Conflict,
        returning: Option<Vec<Expression>>,
    },
    Update {
        table: String,
        value: Expression,
        filter: Vec<Expression>,
        returning: bool,
    },
    Delete {
        table: String,
        filter: Vec<Expression>,
        returning: bool,
    },
    Truncate {
        table: String,
    },
    /// WITH whose items change tables, each with RETURNING, and what may read their rows.
    Changing {
        items: Vec<(String, Statement)>,
        last: Box<Statement>,
    },
}

/// What an INSERT does with a key that is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "each is what its name says")]
pub enum Conflict {
    Error,
    Nothing,
    Update,
    Upsert,
}

/// A query with the columns `id`, `a`, `b`.
#[derive(Clone, Debug)]
pub struct Query {
    /// WITH.
    pub with: Vec<Item>,
    /// Joined by UNION ALL.
    pub selects: Vec<Select>,
}

/// An item of WITH.
#[derive(Clone, Debug)]
pub struct Item {
    /// Often that of a table or view.
    pub name: String,
    /// What it holds.
    pub query: Query,
    /// Whether it may name itself.
    pub is_recursive: bool,
}

/// SELECT.
#[derive(Clone, Debug)]
pub struct Select {
    /// FROM: named `q0`, `q1`, … as they stand there.
    pub from: Vec<Relation>,
    /// Three.
    pub list: Vec<Expression>,
    /// WHERE, joined by AND.
    pub filter: Vec<Expression>,
    /// The number of its first relation.
    pub first: usize,
}

/// What stands in FROM.
#[derive(Clone, Debug)]
#[allow(missing_docs, reason = "each is what its name says")]
pub enum Relation {
    /// A table, a view, or a WITH item.
    Named(String),
    Sequence(String),
    Subquery(Box<Query>),
}

/// A value of INT8, or in a filter what is true if it is not 0.
#[derive(Clone, Debug)]
#[allow(missing_docs, reason = "each is what its name says")]
pub enum Expression {
    Number(usize),
    Column(String),
    /// A label of an enum type.
    Label,
    Sum(Box<Expression>, Box<Expression>),
    Scalar(Box<Query>),
    Exists(Box<Query>),
    In(Box<Expression>, Box<Query>),
    Call(String, Box<Expression>),
    Next(String),
    Set(String),
}

/// Makes statements.
pub struct Generator {
    dice: Dice,
    relations: usize,
    queries: usize,
    /// WITH items in sight.
    with: Vec<String>,
}

impl Generator {
    /// The statements of these dice.
    pub fn new(dice: Dice) -> Self {
        Self { dice, relations: 0, queries: 0, with: Vec::new() }
    }

    /// The next one.
    pub fn statement(&mut self) -> Statement {
        (self.relations, self.queries) = (0, 0);
        match self.dice.below(13) {
            0 | 1 => {
                let table = self.table();
                self.insert(table)
            }
            2 => {
                let table = self.table();
                self.update(table)
            }
            3 => {
                let table = self.table();
                self.delete(table)
            }
            6 => self.changing(),
            4 if self.dice.one_in(3) => Statement::Truncate { table: self.table() },
            4 => Statement::Locked { table: self.table(), filter: self.filter(&own()) },
            5 => Statement::Query(self.moving()),
            _ => Statement::Query(self.query(0, &[])),
        }
    }

    /// A name as it may be written.
    fn written(&mut self, object: &str) -> String {
        let (schema, name) = object.split_once('.').expect("a full name");
        if schema == "public" && !self.dice.one_in(4) { name.to_owned() } else { object.to_owned() }
    }

    fn table(&mut self) -> String {
        let table = *self.dice.pick(&TABLES);
        self.written(table)
    }

    fn query(&mut self, depth: usize, outer: &[String]) -> Query {
        self.queries += 1;
        let known = self.with.len();
        let mut with: Vec<Item> = Vec::new();
        if depth < NESTING && self.dice.one_in(4) {
            for _ in 0..=self.dice.below(2) {
                let name = (*self.dice.pick(&["t0", "t1", "v0", "t2", "w0", "w1"])).to_owned();
                // Beside RECURSIVE each item may name itself: such an item stands alone.
                if with.first().is_some_and(|item| item.is_recursive) {
                    break;
                }
                if with.iter().any(|item| item.name == name) {
                    continue;
                }
                let item = self.item(name, depth, with.is_empty());
                self.with.push(item.name.clone());
                with.push(item);
            }
        }
        let mut selects = vec![self.select(depth, outer)];
        // SQLite does not look at an item that nobody names.
        for item in &with {
            selects[0].from.push(Relation::Named(item.name.clone()));
            self.relations += 1;
        }
        if self.dice.one_in(5) {
            selects.push(self.select(depth, outer));
        }
        self.with.truncate(known);
        Query { with, selects }
    }

    fn item(&mut self, name: String, depth: usize, is_first: bool) -> Item {
        if !is_first || !self.dice.one_in(4) {
            return Item { name, query: self.query(depth + 1, &[]), is_recursive: false };
        }
        // One row of a table, then two more of itself.
        let base = (*self.dice.pick(&TABLES)).to_owned();
        let first = Select {
            from: vec![Relation::Named(base)],
            list: vec![Expression::Number(1), Expression::Number(2), Expression::Number(3)],
            filter: Vec::new(),
            first: self.next_relation(),
        };
        let at = self.next_relation();
        let next = Select {
            from: vec![Relation::Named(name.clone())],
            list: vec![
                Expression::Sum(Box::new(column(at, "id")), Box::new(Expression::Number(1))),
                column(at, "a"),
                column(at, "b"),
            ],
            filter: vec![Expression::Column(format!("CASE WHEN q{at}.id < 3 THEN 1 ELSE 0 END"))],
            first: at,
        };
        Item { name, query: Query { with: Vec::new(), selects: vec![first, next] }, is_recursive: true }
    }

    fn next_relation(&mut self) -> usize {
        self.relations += 1;
        self.relations - 1
    }

    fn select(&mut self, depth: usize, outer: &[String]) -> Select {
        let mut from = Vec::new();
        let mut pending = Vec::new();
        for _ in 0..=self.dice.below(2) {
            pending.push(self.relation(depth));
        }
        let first = self.relations;
        let mut seen = outer.to_vec();
        for relation in pending {
            let at = self.next_relation();
            seen.extend(["id", "a", "b"].map(|name| format!("q{at}.{name}")));
            from.push(relation);
        }
        // Items of WITH are added behind; their numbers must follow.
        let list = (0..3).map(|_| self.expression(depth, &seen)).collect();
        let filter = self.filter_at(depth, &seen);
        Select { from, list, filter, first }
    }

    fn relation(&mut self, depth: usize) -> Relation {
        if !self.with.is_empty() && self.dice.one_in(2) {
            return Relation::Named(self.dice.pick(&self.with).clone());
        }
        match self.dice.below(9) {
            0 if depth < NESTING && self.queries < QUERIES_MAX => {
                Relation::Subquery(Box::new(self.query(depth + 1, &[])))
            }
            1 => {
                let sequence = *self.dice.pick(&SEQUENCES);
                Relation::Sequence(self.written(sequence))
            }
            2..=4 => {
                let view = *self.dice.pick(&VIEWS);
                Relation::Named(self.written(view))
            }
            _ => Relation::Named(self.table()),
        }
    }

    fn filter(&mut self, seen: &[String]) -> Vec<Expression> {
        self.filter_at(0, seen)
    }

    fn filter_at(&mut self, depth: usize, seen: &[String]) -> Vec<Expression> {
        if self.dice.one_in(3) { Vec::new() } else { vec![self.expression(depth, seen)] }
    }

    fn expression(&mut self, depth: usize, seen: &[String]) -> Expression {
        let may_nest = depth < NESTING && self.queries < QUERIES_MAX;
        match self.dice.below(14) {
            0 if may_nest => Expression::Scalar(Box::new(self.query(depth + 1, seen))),
            1 if may_nest => Expression::Exists(Box::new(self.query(depth + 1, seen))),
            2 if may_nest => {
                let left = Box::new(self.leaf(seen));
                Expression::In(left, Box::new(self.query(depth + 1, seen)))
            }
            3 => {
                let function = *self.dice.pick(&FUNCTIONS);
                Expression::Call(self.written(function), Box::new(self.leaf(seen)))
            }
            4 => Expression::Sum(Box::new(self.leaf(seen)), Box::new(self.expression(depth, seen))),
            5 => Expression::Label,
            _ => self.leaf(seen),
        }
    }

    fn leaf(&mut self, seen: &[String]) -> Expression {
        if seen.is_empty() || self.dice.one_in(4) {
            return Expression::Number(self.dice.below(5));
        }
        Expression::Column(self.dice.pick(seen).clone())
    }

    /// A query that moves a sequence.
    fn moving(&mut self) -> Query {
        let mut query = self.query(1, &[]);
        let sequence = *self.dice.pick(&SEQUENCES);
        let sequence = self.written(sequence);
        query.selects.truncate(1);
        query.selects[0].list[1] =
            if self.dice.one_in(3) { Expression::Set(sequence) } else { Expression::Next(sequence) };
        query
    }

    fn insert(&mut self, table: String) -> Statement {
        let conflict = *self.dice.pick(&[
            Conflict::Error,
            Conflict::Error,
            Conflict::Nothing,
            Conflict::Update,
            Conflict::Upsert,
        ]);
        let is_query = self.dice.one_in(3);
        let source = is_query.then(|| Box::new(self.query(1, &[])));
        let row = if is_query { Vec::new() } else { vec![self.expression(1, &[]), self.expression(1, &[])] };
        let default_id = !is_query && table.ends_with('d') && self.dice.one_in(2);
        let returning = self.dice.one_in(3).then(|| vec![self.leaf(&["id".to_owned(), "a".to_owned()])]);
        Statement::Insert { table, row, source, default_id, conflict, returning }
    }

    /// Each table is changed once.
    fn changing(&mut self) -> Statement {
        let mut tables = TABLES.to_vec();
        let mut change = |generator: &mut Self| {
            let table = tables.remove(generator.dice.below(tables.len()));
            let table = generator.written(table);
            match generator.dice.below(3) {
                0 => generator.insert(table),
                1 => generator.update(table),
                _ => generator.delete(table),
            }
        };
        let mut items = Vec::new();
        for name in ["w0", "t1"].into_iter().take(1 + self.dice.below(2)) {
            let mut item = without_upsert(change(self));
            match &mut item {
                Statement::Insert { returning, .. } => *returning = None,
                Statement::Update { returning, .. } | Statement::Delete { returning, .. } => {
                    *returning = false;
                }
                _ => {}
            }
            items.push((name.to_owned(), item));
            self.with.push(name.to_owned());
        }
        let last = match self.dice.one_in(3) {
            true => without_upsert(change(self)),
            false => Statement::Query(self.query(1, &[])),
        };
        self.with.clear();
        Statement::Changing { items, last: Box::new(last) }
    }

    fn delete(&mut self, table: String) -> Statement {
        let filter = self.filter(&own());
        Statement::Delete { table, filter, returning: self.dice.one_in(2) }
    }

    fn update(&mut self, table: String) -> Statement {
        let value = self.expression(1, &own());
        let filter = self.filter(&own());
        Statement::Update { table, value, filter, returning: self.dice.one_in(2) }
    }
}

/// UPSERT stands neither in a WITH nor behind one.
fn without_upsert(mut statement: Statement) -> Statement {
    if let Statement::Insert { conflict, .. } = &mut statement
        && *conflict == Conflict::Upsert
    {
        *conflict = Conflict::Update;
    }
    statement
}

/// The columns of what is changed.
fn own() -> Vec<String> {
    ["me.id", "me.a", "me.b"].map(str::to_owned).to_vec()
}

fn column(at: usize, name: &str) -> Expression {
    Expression::Column(format!("q{at}.{name}"))
}

struct Filter<'a>(&'a [Expression]);

impl Display for Filter<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        for (at, part) in self.0.iter().enumerate() {
            write!(f, "{} ({part}) <> 0", if at == 0 { " WHERE" } else { " AND" })?;
        }
        Ok(())
    }
}

impl Display for Statement {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let star = |wanted: bool| if wanted { " RETURNING id, a" } else { "" };
        match self {
            Self::Query(query) => write!(f, "{query}"),
            Self::Locked { table, filter } => {
                write!(f, "SELECT me.a FROM {table} AS me{} FOR UPDATE", Filter(filter))
            }
            Self::Insert { table, row, source, default_id, conflict, returning } => {
                let verb = if *conflict == Conflict::Upsert { "UPSERT" } else { "INSERT" };
                write!(f, "{verb} INTO {table} ")?;
                match (source, row.as_slice()) {
                    (Some(source), _) => write!(f, "(id, a, b) {source}")?,
                    (None, [a, b]) if *default_id => write!(f, "(a, b) VALUES ({a}, {b})")?,
                    (None, [a, b]) => write!(f, "(id, a, b) VALUES (12, {a}, {b})")?,
                    (None, _) => f.write_str("DEFAULT VALUES")?,
                }
                f.write_str(match conflict {
                    Conflict::Error | Conflict::Upsert => "",
                    Conflict::Nothing => " ON CONFLICT DO NOTHING",
                    Conflict::Update => " ON CONFLICT (id) DO UPDATE SET a = excluded.b",
                })?;
                if let Some(returning) = returning {
                    write!(f, " RETURNING {}", returning[0])?;
                }
                Ok(())
            }
            Self::Update { table, value, filter, returning } => {
                write!(f, "UPDATE {table} AS me SET a = {value}{}{}", Filter(filter), star(*returning))
            }
            Self::Delete { table, filter, returning } => {
                write!(f, "DELETE FROM {table} AS me{}{}", Filter(filter), star(*returning))
            }
            Self::Truncate { table } => write!(f, "TRUNCATE {table}"),
            Self::Changing { items, last } => {
                for (at, (name, item)) in items.iter().enumerate() {
                    let word = if at == 0 { "WITH" } else { "," };
                    write!(f, "{word} {name} (id, a, b) AS ({item} RETURNING id, a, b)")?;
                }
                match last.as_ref() {
                    // It may have a WITH of its own.
                    Self::Query(query) => write!(f, " SELECT * FROM ({query}) AS ql"),
                    change => write!(f, " {change}"),
                }
            }
        }
    }
}

impl Display for Query {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        if !self.with.is_empty() {
            let is_recursive = self.with.iter().any(|item| item.is_recursive);
            f.write_str(if is_recursive { "WITH RECURSIVE " } else { "WITH " })?;
            for (at, item) in self.with.iter().enumerate() {
                write!(f, "{}{} (id, a, b) AS ({})", if at == 0 { "" } else { ", " }, item.name, item.query)?;
            }
            f.write_str(" ")?;
        }
        for (at, select) in self.selects.iter().enumerate() {
            write!(f, "{}{select}", if at == 0 { "" } else { " UNION ALL " })?;
        }
        Ok(())
    }
}

impl Display for Select {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str("SELECT ")?;
        for (at, (item, name)) in self.list.iter().zip(["id", "a", "b"]).enumerate() {
            write!(f, "{}{item} AS {name}", if at == 0 { "" } else { ", " })?;
        }
        for (at, relation) in self.from.iter().enumerate() {
            f.write_str(if at == 0 { " FROM " } else { ", " })?;
            match relation {
                Relation::Named(name) => write!(f, "{name}")?,
                Relation::Sequence(name) => {
                    write!(f, "(SELECT last_value AS id, last_value AS a, last_value AS b FROM {name})")?;
                }
                Relation::Subquery(query) => write!(f, "({query})")?,
            }
            write!(f, " AS q{}", self.first + at)?;
        }
        write!(f, "{}", Filter(&self.filter))
    }
}

impl Display for Expression {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => write!(f, "{number}"),
            Self::Column(column) => f.write_str(column),
            Self::Label => f.write_str("CASE WHEN 'sad'::mood < 'ok' THEN 1 ELSE 0 END"),
            Self::Sum(left, right) => write!(f, "({left} + {right})"),
            Self::Scalar(query) => write!(f, "(SELECT max(qs.a) FROM ({query}) AS qs)"),
            Self::Exists(query) => write!(f, "CASE WHEN EXISTS ({query}) THEN 1 ELSE 0 END"),
            Self::In(left, query) => {
                write!(f, "CASE WHEN {left} IN (SELECT qs.a FROM ({query}) AS qs) THEN 1 ELSE 0 END")
            }
            Self::Call(function, argument) => write!(f, "{function}({argument})"),
            Self::Next(sequence) => write!(f, "nextval('{sequence}')"),
            Self::Set(sequence) => write!(f, "setval('{sequence}', 7)"),
        }
    }
}
