//! A catalog and three row stores that follow it.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::cmp::Ordering;
use std::path::PathBuf;
use std::sync::Arc;

use grantd_catalog::command::{
    Actor, Command, Done, NameContext, NewConstraint, NewForeignKey, NewIndexKey, ObjectName, Outcome, Rule,
    TableAction,
};
use grantd_catalog::id::{ObjectId, PrincipalId, Timestamp, Version};
use grantd_catalog::invariant;
use grantd_catalog::name::Name;
use grantd_catalog::object::{Body, Column, ColumnType, Expression, KeyPart, ReferentialAction, Table};
use grantd_catalog::refusal::Refusal;
use grantd_catalog::state::State;
use grantd_raft::rows::ddl::Shape;
use grantd_raft::rows::{Captured, Collation, Extensions, RowsError, StepError, StorageStep, Store, Value};
use tempfile::TempDir;

pub const INT: ColumnType = ColumnType::Int8;
pub const TEXT: ColumnType = ColumnType::Text { chars_max: None };
pub const DECIMAL: ColumnType = ColumnType::Decimal { bound: None };

pub struct World {
    directory: TempDir,
    pub state: State,
    stores: Vec<Store>,
}

fn extensions() -> Extensions {
    let number = |text: &str| text.parse::<f64>().unwrap_or(f64::NAN);
    let compare = move |a: &str, b: &str| number(a).partial_cmp(&number(b)).unwrap_or(Ordering::Equal);
    let decimal = Collation { name: "decimal", compare: Arc::new(compare) };
    Extensions { collations: vec![decimal], ..Extensions::default() }
}

impl World {
    pub fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let open = |at| Store::open(&directory.path().join(format!("{at}.db")), &extensions()).unwrap();
        let stores = (0..3).map(open).collect();
        Self { directory, state: State::bootstrap(), stores }
    }

    /// Decides a command, tries it on the rows of the first store, and then applies it on all, as the machine does.
    pub fn attempt(&mut self, command: &Command) -> Result<Done, Refusal> {
        let mut next = self.state.clone();
        let context =
            NameContext { database: Some(Name::from("defaultdb")), search_path: vec![Name::from("public")] };
        let actor = Actor::of(PrincipalId::ROOT);
        let outcome = next.apply(Version(2), Timestamp::default(), actor, &context, command, &mut Vec::new());
        let done = match outcome {
            Outcome::Done(done) => done,
            Outcome::Refused(refusal) => return Err(refusal),
        };
        assert_eq!(invariant::check_all(&next), [], "{command:?}");
        let steps = StorageStep::list(command, &done, &next, &self.state).unwrap();
        let first = &mut self.stores[0];
        first.begin().unwrap();
        let tried = steps.iter().try_for_each(|step| step.perform(first));
        first.rollback().unwrap();
        match tried {
            Ok(()) => {}
            Err(StepError::Refused(refusal)) => return Err(refusal),
            Err(StepError::Failed(error)) => panic!("{command:?}: {error:?}"),
        }
        for store in &mut self.stores {
            store.begin().unwrap();
            steps.iter().try_for_each(|step| step.perform(store)).unwrap();
            store.commit().unwrap();
        }
        self.state = next;
        self.assert_equal();
        self.assert_as_if_made_anew();
        Ok(done)
    }

    pub fn ok(&mut self, command: &Command) -> Done {
        self.attempt(command).unwrap_or_else(|refusal| panic!("{command:?}: {refusal:?}"))
    }

    /// The SQLSTATE and text of a refusal.
    pub fn refused(&mut self, command: &Command) -> String {
        let before = self.stores[0].checksum().unwrap();
        let refusal = self.attempt(command).unwrap_err();
        assert_eq!(self.stores[0].checksum().unwrap(), before, "a refused command changes nothing");
        format!("{} {}", refusal.code.as_str(), refusal.message)
    }

    pub fn alter(&mut self, table: &str, action: TableAction) {
        self.ok(&alter(table, vec![action]));
    }

    /// Runs a statement on the first store, where foreign keys act, and applies what it changed on all, where they do not.
    /// Tables are written by name.
    pub fn write(&mut self, sql: &str) -> Result<(), RowsError> {
        let sql = self.with_tables(sql);
        let first = &mut self.stores[0];
        first.begin_captures().unwrap();
        let captured = first.capture(|rows| rows.run(&sql, &[])).unwrap();
        first.rollback().unwrap();
        let changeset = match captured {
            Captured::Changed(_, changeset) => changeset,
            Captured::Refused(error) => return Err(error),
            Captured::Lost(lost) => panic!("{sql}: {lost:?}"),
        };
        for store in &mut self.stores {
            store.begin().unwrap();
            store.apply_changeset(&changeset, &mut |_| Ok(())).unwrap();
            store.commit().unwrap();
        }
        self.assert_equal();
        Ok(())
    }

    /// The rows of a query, as text.
    pub fn rows(&mut self, sql: &str) -> String {
        let sql = self.with_tables(sql);
        let last = self.stores.last_mut().unwrap();
        last.begin().unwrap();
        let captured = last.capture(|rows| rows.run(&sql, &[])).unwrap();
        last.rollback().unwrap();
        let Captured::Changed(set, _) = captured else { panic!("{sql}: {captured:?}") };
        let value = |value: &Value| match value {
            Value::Null => "-".to_owned(),
            Value::Integer(integer) => integer.to_string(),
            Value::Real(real) => real.to_string(),
            Value::Text(text) => text.clone(),
            Value::Blob(bytes) => format!("{bytes:?}"),
        };
        let row = |row: &Vec<Value>| row.iter().map(value).collect::<Vec<_>>().join(" ");
        set.rows.iter().map(row).collect::<Vec<_>>().join(", ")
    }

    pub fn id(&self, table: &str) -> ObjectId {
        let found = self.state.objects().find(|(_, object)| object.name.as_str() == table);
        found.unwrap_or_else(|| panic!("no table {table}")).0
    }

    pub fn shape(&self, table: &str) -> &Table {
        match &self.state.object(self.id(table)).unwrap().body {
            Body::Table(table) => table,
            other => panic!("{other:?}"),
        }
    }

    fn with_tables(&self, sql: &str) -> String {
        let words = sql.split(' ').map(|word| match word.strip_prefix('@') {
            Some(table) => format!("t{}", self.id(table)),
            None => word.to_owned(),
        });
        words.collect::<Vec<_>>().join(" ")
    }

    fn assert_equal(&self) {
        let sums: Vec<_> = self.stores.iter().map(|store| store.checksum().unwrap()).collect();
        assert!(sums.windows(2).all(|pair| pair[0] == pair[1]), "{sums:?}");
    }

    /// Columns, indexes and foreign keys are those of tables that are made now.
    fn assert_as_if_made_anew(&self) {
        let path = self.directory.path().join("fresh.db");
        let mut fresh = Store::open(&path, &extensions()).unwrap();
        fresh.begin().unwrap();
        for (id, object) in self.state.objects() {
            if let Body::Table(_) = &object.body {
                let shape = Shape::of(id, &self.state).unwrap();
                StorageStep::Create(Box::new(shape)).perform(&mut fresh).unwrap();
            }
        }
        fresh.commit().unwrap();
        let found = schema(self.directory.path().join("0.db"));
        assert_eq!(found, schema(path.clone()));
        drop(fresh);
        for suffix in ["", "-wal", "-shm"] {
            let _ = std::fs::remove_file(format!("{}{suffix}", path.display()));
        }
    }
}

/// What SQLite says that there is, but for texts of statements.
fn schema(path: PathBuf) -> Vec<String> {
    let sqlite = rusqlite::Connection::open(path).unwrap();
    sqlite.create_collation("decimal", str::cmp).unwrap();
    let list = |sql: &str| -> Vec<String> {
        let mut statement = sqlite.prepare(sql).unwrap();
        let width = statement.column_count();
        let rows = statement.query_map([], |row| {
            let values = (0..width).map(|at| row.get::<_, rusqlite::types::Value>(at));
            Ok(format!("{:?}", values.collect::<Result<Vec<_>, _>>()?))
        });
        rows.unwrap().map(Result::unwrap).collect()
    };
    let tables = "SELECT m.name FROM sqlite_master m WHERE m.type = 'table' AND m.name GLOB 't[0-9]*'";
    let mut found = list(&format!("{tables} ORDER BY 1"));
    for sql in [
        "SELECT m.name, p.* FROM sqlite_master m, pragma_table_xinfo(m.name) p WHERE m.name GLOB 't[0-9]*'
           AND m.type = 'table' ORDER BY m.name, p.cid",
        "SELECT m.name, p.\"table\", p.seq, p.\"from\", p.\"to\", p.on_update, p.on_delete FROM sqlite_master m,
           pragma_foreign_key_list(m.name) p WHERE m.type = 'table' ORDER BY m.name, p.id, p.seq",
        "SELECT m.tbl_name, m.name, p.seqno, p.cid, p.\"desc\", p.coll FROM sqlite_master m,
           pragma_index_xinfo(m.name) p WHERE m.type = 'index' AND m.name NOT GLOB 'sqlite_*'
           ORDER BY m.name, p.seqno",
    ] {
        found.extend(list(sql));
    }
    found
}

pub fn name(text: &str) -> Name {
    Name::from(text)
}

pub fn object(text: &str) -> ObjectName {
    ObjectName { parts: vec![name(text)] }
}

pub fn column(text: &str, column_type: ColumnType) -> Column {
    Column {
        name: name(text),
        column_type,
        nullable: true,
        default: None,
        hidden: false,
        comment: None,
        computed: None,
        identity: None,
    }
}

pub fn expression(stored: &str) -> Expression {
    Expression { sql: stored.to_owned(), stored: stored.to_owned(), references: Vec::new() }
}

/// A table whose first column is its key.
pub fn create(table: &str, columns: Vec<Column>) -> Command {
    let mut columns = columns;
    columns[0].nullable = false;
    let shape = Table {
        columns,
        primary_key: vec![0],
        key_name: name(&format!("{table}_pkey")),
        unique: Vec::new(),
        checks: Vec::new(),
        indexes: Vec::new(),
        foreign_keys: Vec::new(),
    };
    Command::CreateTable {
        name: object(table),
        table: shape,
        foreign_keys: Vec::new(),
        identities: Vec::new(),
        if_not_exists: false,
    }
}

pub fn alter(table: &str, actions: Vec<TableAction>) -> Command {
    Command::AlterTable { name: object(table), if_exists: false, actions }
}

pub fn add(column: Column, fill: Option<&str>) -> TableAction {
    let fill = fill.map(str::to_owned);
    TableAction::AddColumn { column, if_not_exists: false, fill, constraints: Vec::new() }
}

pub fn constraint(rule: Rule) -> TableAction {
    TableAction::AddConstraint { constraint: NewConstraint { name: None, rule }, if_not_exists: false }
}

pub fn foreign_key(columns: &[&str], target: &str, to: &[&str], on: ReferentialAction) -> Rule {
    let names = |names: &[&str]| names.iter().map(|text| name(text)).collect();
    Rule::ForeignKey(NewForeignKey {
        columns: names(columns),
        target: object(target),
        target_columns: names(to),
        on_delete: on,
        on_update: on,
    })
}

pub fn index(table: &str, columns: &[&str], unique: bool, predicate: Option<&str>) -> Command {
    let key = |text: &&str| NewIndexKey { part: KeyPart::Column(name(text)), descending: false };
    Command::CreateIndex {
        name: None,
        if_not_exists: false,
        table: object(table),
        keys: columns.iter().map(key).collect(),
        unique,
        predicate: predicate.map(expression),
    }
}
