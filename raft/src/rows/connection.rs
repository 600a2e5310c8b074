//! One connection to `state.db`: how it is opened and hardened, what a client's statement may do on it, and the
//! [`Transaction`] that runs such statements.
//!
//! The authorizer only *records*: whether somebody may do what a statement does is decided by the caller, on every
//! execution, because SQLite asks its authorizer once, when the statement is prepared. What no client's statement
//! may ever do is denied here as well.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rusqlite::config::DbConfig;
use rusqlite::ffi;
use rusqlite::functions::{self, FunctionFlags};
use rusqlite::hooks::{AuthAction, AuthContext, Authorization};
use rusqlite::limits::Limit;
use rusqlite::{OpenFlags, Statement};

use crate::config::{RESULT_BYTES_MAX, RESULT_ROWS_MAX};
use crate::memory::{self, Held, Metered};
use crate::rows::{
    Access, Accumulator, Aggregate, CancelCheck, Extensions, Function, RowSet, RowsError, Share,
    StatementContext, Transaction, Value, session, virtual_table,
};

/// The most bytes of a value or row. A change of one fits in an entry with room to spare.
const VALUE_BYTES_MAX: i32 = 32 << 20;
/// The most bytes of a statement's text.
const STATEMENT_BYTES_MAX: i32 = 8 << 20;
/// The deepest nesting of an expression: what SQLite's parser takes without a deep C stack.
const EXPRESSION_DEPTH_MAX: i32 = 500;
/// The longest chain of foreign keys that act upon each other; SQLite counts them as triggers. It needs no C stack.
const CASCADE_DEPTH_MAX: i32 = 1_000;
/// Instructions of SQLite's machine between two looks at the cancel check: some 10 µs.
const CANCEL_INTERVAL: i32 = 2_000;
/// From how many bytes on a function's arguments or value count as large.
const LARGE_BYTES: usize = 16 << 10;
/// Prepared statements that a connection keeps.
const STATEMENTS_CACHED_MAX: usize = 256;
/// Pages that a connection keeps, in KiB as SQLite takes it, negative: [`memory::CACHE_BYTES`].
const CACHE_KIB: i32 = -4_096;
/// Bytes that the write-ahead log file keeps after it was emptied.
const WAL_BYTES_KEPT: i64 = 64 << 20;

/// Compile-time options without which replication would lose data or the disk would be slower than measured.
const COMPILE_OPTIONS: [&str; 2] = ["ENABLE_SESSION", "ENABLE_PREUPDATE_HOOK"];

/// How a store uses its disk.
#[derive(Clone, Debug)]
pub struct StoreOptions {
    /// A registered SQLite file system; none: the system's. How tests give it a disk that fails.
    pub vfs: Option<String>,
    /// Pages of write-ahead log after which the writer moves them into the file: some 8 MiB.
    pub checkpoint_pages: i32,
}

impl Default for StoreOptions {
    fn default() -> Self {
        Self { vfs: None, checkpoint_pages: 2_000 }
    }
}

/// Whether a connection may change the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    /// The writer.
    Write,
    /// A reader.
    Read,
    /// A database of its own, empty and in memory, on which statements are tried.
    Trial,
}

/// A connection with its recorder.
pub(super) struct Connection {
    pub(super) sqlite: rusqlite::Connection,
    shared: Arc<Shared>,
    known: RefCell<Known>,
}

/// What each statement of a client touches, by its text, as tables are at one version of SQLite's schema. Only statements
/// that passed the authorizer are here.
#[derive(Default)]
struct Known {
    schema: i64,
    accesses: BTreeMap<String, Vec<Access>>,
}

/// What SQLite's callbacks see. Uncontended: callbacks run on the thread that uses the connection.
#[derive(Default)]
pub(super) struct Shared {
    recorder: Mutex<Recorder>,
    context: Mutex<Option<StatementContext>>,
    cancel: Mutex<Option<CancelCheck>>,
    /// When the statements of a client are interrupted, and the limit that this follows from.
    deadline: Mutex<Option<(Instant, Duration)>>,
}

impl Shared {
    /// What the running statement's caller put there.
    pub(super) fn context(&self) -> Option<StatementContext> {
        lock(&self.context).clone()
    }

    fn is_late(&self) -> bool {
        lock(&self.deadline).is_some_and(|(deadline, _)| Instant::now() >= deadline)
    }

    /// Whether the client's statement is to end.
    fn is_over(&self) -> bool {
        self.is_late()
            || memory::is_exhausted()
            || lock(&self.cancel).as_ref().is_some_and(|cancelled| cancelled())
    }

    /// Ends a statement that is over also between two calls of functions on large values: each may take long, and
    /// [`CANCEL_INTERVAL`] of them far longer than anybody waits.
    fn stop_after(&self, bytes: usize) -> Result<(), rusqlite::Error> {
        if bytes < LARGE_BYTES || !self.is_over() {
            return Ok(());
        }
        Err(rusqlite::Error::SqliteFailure(ffi::Error::new(ffi::SQLITE_INTERRUPT), None))
    }
}

/// Who prepares, and what was seen.
#[derive(Default)]
struct Recorder {
    client: bool,
    accesses: Vec<Access>,
}

impl Connection {
    /// Opens the file, which must exist unless `mode` is [`Mode::Write`].
    pub(super) fn open(
        path: &Path,
        mode: Mode,
        options: &StoreOptions,
        extensions: &Extensions,
    ) -> Result<Self, RowsError> {
        memory::install().map_err(|code| RowsError {
            code,
            message: "SQLite was used before its memory could be counted".to_owned(),
        })?;
        let mut flags = OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_EXRESCODE;
        flags |= match mode {
            Mode::Write => OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE,
            Mode::Trial => OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_MEMORY,
            Mode::Read => OpenFlags::SQLITE_OPEN_READ_ONLY,
        };
        let sqlite = match &options.vfs {
            Some(vfs) => rusqlite::Connection::open_with_flags_and_vfs(path, flags, vfs.as_str()),
            None => rusqlite::Connection::open_with_flags(path, flags),
        }?;
        let mut connection = Self { sqlite, shared: Arc::default(), known: RefCell::default() };
        connection.check_compile_options()?;
        connection.harden(mode)?;
        if mode == Mode::Write {
            connection.sqlite.pragma_update(None, "wal_autocheckpoint", options.checkpoint_pages)?;
        }
        connection.install_functions(&extensions.functions)?;
        for collation in &extensions.collations {
            let compare = Arc::clone(&collation.compare);
            connection.sqlite.create_collation(collation.name, move |left, right| compare(left, right))?;
        }
        connection.install_aggregates(&extensions.aggregates)?;
        for table in &extensions.tables {
            virtual_table::install(&connection.sqlite, table, &connection.shared)?;
        }
        connection.install_callbacks()?;
        Ok(connection)
    }

    /// Runs a statement without parameters or rows that comes again and again: it stays prepared, instead of being
    /// parsed each time.
    pub(super) fn execute(&self, sql: &str) -> Result<(), RowsError> {
        self.sqlite.prepare_cached(sql)?.execute([])?;
        Ok(())
    }

    /// Forgets what statements touch: after DDL was undone, another one may give the schema the same version.
    pub(super) fn forget(&self) {
        self.known.borrow_mut().accesses.clear();
    }

    /// The same statement may touch something else when tables changed: a foreign key, what a column is computed from.
    fn forget_if_reshaped(&self) -> Result<(), RowsError> {
        let schema =
            self.sqlite.prepare_cached("PRAGMA schema_version")?.query_row([], |row| row.get::<_, i64>(0))?;
        let known = &mut *self.known.borrow_mut();
        if known.schema != schema {
            *known = Known { schema, accesses: BTreeMap::new() };
        }
        Ok(())
    }

    fn check_compile_options(&self) -> Result<(), RowsError> {
        let mut statement = self.sqlite.prepare("PRAGMA compile_options")?;
        let options: Vec<String> =
            statement.query_map([], |row| row.get(0))?.collect::<Result<_, rusqlite::Error>>()?;
        match COMPILE_OPTIONS.iter().find(|option| !options.iter().any(|found| found == *option)) {
            None => Ok(()),
            Some(option) => Err(RowsError {
                code: ffi::SQLITE_MISUSE,
                message: format!(
                    "SQLite was built without {option}; build with LIBSQLITE3_FLAGS as .cargo/config.toml sets it"
                ),
            }),
        }
    }

    fn harden(&self, mode: Mode) -> Result<(), RowsError> {
        let sqlite = &self.sqlite;
        for (option, on) in [
            (DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true),
            (DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false),
            (DbConfig::SQLITE_DBCONFIG_DQS_DML, false),
            (DbConfig::SQLITE_DBCONFIG_DQS_DDL, false),
            // Foreign keys act while a statement is captured, see `Store::begin_captures`. Triggers would act a
            // second time where a changeset is applied.
            (DbConfig::SQLITE_DBCONFIG_ENABLE_FKEY, false),
            (DbConfig::SQLITE_DBCONFIG_ENABLE_TRIGGER, false),
            (DbConfig::SQLITE_DBCONFIG_ENABLE_VIEW, false),
            (DbConfig::SQLITE_DBCONFIG_ENABLE_ATTACH_CREATE, false),
            (DbConfig::SQLITE_DBCONFIG_ENABLE_ATTACH_WRITE, false),
        ] {
            sqlite.set_db_config(option, on)?;
        }
        for (limit, value) in [
            (Limit::SQLITE_LIMIT_LENGTH, VALUE_BYTES_MAX),
            (Limit::SQLITE_LIMIT_SQL_LENGTH, STATEMENT_BYTES_MAX),
            (Limit::SQLITE_LIMIT_EXPR_DEPTH, EXPRESSION_DEPTH_MAX),
            (Limit::SQLITE_LIMIT_ATTACHED, 0),
            (Limit::SQLITE_LIMIT_TRIGGER_DEPTH, CASCADE_DEPTH_MAX),
            (Limit::SQLITE_LIMIT_WORKER_THREADS, 0),
        ] {
            sqlite.set_limit(limit, value)?;
        }
        sqlite.set_prepared_statement_cache_capacity(STATEMENTS_CACHED_MAX);
        sqlite.pragma_update(None, "cache_size", CACHE_KIB)?;
        // A statement's memory is counted and bounded; files of it would have to be as well.
        sqlite.pragma_update(None, "temp_store", "MEMORY")?;
        // PostgreSQL's LIKE minds case.
        sqlite.pragma_update(None, "case_sensitive_like", true)?;
        match mode {
            Mode::Read => sqlite.pragma_update(None, "query_only", true)?,
            Mode::Trial => {}
            Mode::Write => {
                let journal: String =
                    sqlite.pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get(0))?;
                if journal != "wal" {
                    let message = format!("the file cannot have a write-ahead log: journal mode `{journal}`");
                    return Err(RowsError { code: ffi::SQLITE_CANTOPEN, message });
                }
                // The Raft log is the durable truth: what a crash takes from here is applied again.
                sqlite.pragma_update(None, "synchronous", "NORMAL")?;
                sqlite.pragma_update(None, "journal_size_limit", WAL_BYTES_KEPT)?;
            }
        }
        Ok(())
    }

    fn install_functions(&self, functions: &[Function]) -> Result<(), RowsError> {
        for function in functions {
            // Innocuous: with an untrusted schema SQLite calls nothing else from DEFAULT and CHECK.
            let mut flags = FunctionFlags::SQLITE_UTF8 | FunctionFlags::SQLITE_INNOCUOUS;
            if function.deterministic {
                flags |= FunctionFlags::SQLITE_DETERMINISTIC;
            }
            let (shared, body) = (Arc::clone(&self.shared), Arc::clone(&function.body));
            self.sqlite.create_scalar_function(function.name, function.arguments, flags, move |call| {
                let arguments = arguments(call)?;
                shared.stop_after(arguments.iter().map(Value::bytes).sum())?;
                let context = shared.context();
                let value = body(context.as_ref(), &arguments).map_err(function_error)?;
                shared.stop_after(value.bytes())?;
                value.refuse_nan().map_err(|error| function_error(error.message))?;
                Ok(rusqlite::types::Value::from(value))
            })?;
        }
        Ok(())
    }

    fn install_aggregates(&self, aggregates: &[Aggregate]) -> Result<(), RowsError> {
        let flags = FunctionFlags::SQLITE_UTF8
            | FunctionFlags::SQLITE_INNOCUOUS
            | FunctionFlags::SQLITE_DETERMINISTIC;
        for aggregate in aggregates {
            let running = Running { start: aggregate.start, shared: Arc::clone(&self.shared) };
            self.sqlite.create_window_function(aggregate.name, aggregate.arguments, flags, running)?;
        }
        Ok(())
    }

    fn install_callbacks(&mut self) -> Result<(), RowsError> {
        let shared = Arc::clone(&self.shared);
        self.sqlite
            .authorizer(Some(move |asked: AuthContext<'_>| lock(&shared.recorder).authorize(&asked)))?;
        let shared = Arc::clone(&self.shared);
        self.sqlite.progress_handler(CANCEL_INTERVAL, Some(move || shared.is_over()))?;
        Ok(())
    }

    /// The face for statements of clients, until it is dropped. They are interrupted after `limit`, whatever else its
    /// user sets.
    pub(super) fn client_within(&self, limit: Duration) -> ClientTransaction<'_> {
        *lock(&self.shared.deadline) = Instant::now().checked_add(limit).map(|deadline| (deadline, limit));
        ClientTransaction { connection: self, is_current: false, memory: memory::STATEMENT_BYTES }
    }
}

/// An aggregate function as SQLite calls it.
struct Running {
    start: fn() -> Box<dyn Accumulator>,
    shared: Arc<Shared>,
}

impl Running {
    fn arguments(&self, call: &functions::Context<'_>) -> rusqlite::Result<Vec<Value>> {
        let arguments = arguments(call)?;
        self.shared.stop_after(arguments.iter().map(Value::bytes).sum())?;
        Ok(arguments)
    }

    /// Lets a group take or give back a row, and counts what it keeps.
    fn moved(
        group: &mut Box<dyn Accumulator>,
        row: impl FnOnce(&mut dyn Accumulator) -> Result<(), String>,
    ) -> rusqlite::Result<()> {
        let before = group.bytes();
        row(group.as_mut()).map_err(function_error)?;
        match memory::charge(before, group.bytes()) {
            true => Ok(()),
            // The reason is known to who runs the statement.
            false => Err(rusqlite::Error::SqliteFailure(ffi::Error::new(ffi::SQLITE_INTERRUPT), None)),
        }
    }

    fn value(&self, group: Option<&dyn Accumulator>) -> rusqlite::Result<rusqlite::types::Value> {
        let value = match group {
            Some(group) => group.value(),
            None => (self.start)().value(),
        };
        let value = value.map_err(function_error)?;
        value.refuse_nan().map_err(|error| function_error(error.message))?;
        Ok(rusqlite::types::Value::from(value))
    }
}

impl functions::Aggregate<Box<dyn Accumulator>, rusqlite::types::Value> for Running {
    fn init(&self, _: &mut functions::Context<'_>) -> rusqlite::Result<Box<dyn Accumulator>> {
        Ok((self.start)())
    }

    fn step(
        &self,
        call: &mut functions::Context<'_>,
        group: &mut Box<dyn Accumulator>,
    ) -> rusqlite::Result<()> {
        let arguments = self.arguments(call)?;
        Self::moved(group, |group| group.add(&arguments))
    }

    fn finalize(
        &self,
        _: &mut functions::Context<'_>,
        group: Option<Box<dyn Accumulator>>,
    ) -> rusqlite::Result<rusqlite::types::Value> {
        let value = self.value(group.as_deref());
        memory::charge(group.as_ref().map_or(0, |group| group.bytes()), 0);
        value
    }
}

impl functions::WindowAggregate<Box<dyn Accumulator>, rusqlite::types::Value> for Running {
    fn value(&self, group: Option<&mut Box<dyn Accumulator>>) -> rusqlite::Result<rusqlite::types::Value> {
        Running::value(self, group.map(|group| &**group))
    }

    fn inverse(
        &self,
        call: &mut functions::Context<'_>,
        group: &mut Box<dyn Accumulator>,
    ) -> rusqlite::Result<()> {
        let arguments = self.arguments(call)?;
        Self::moved(group, |group| group.remove(&arguments))
    }
}

impl Recorder {
    fn authorize(&mut self, asked: &AuthContext<'_>) -> Authorization {
        if !self.client {
            return Authorization::Allow;
        }
        let (access, legal) = match asked.action {
            AuthAction::Select | AuthAction::Recursive => return Authorization::Allow,
            AuthAction::Read { table_name, column_name } => (
                Access::Read {
                    table: table_name.to_owned(),
                    column: column_name.to_owned(),
                    within: asked.accessor.map(str::to_owned),
                },
                // Not `is_user_table`: a CTE comes here under its own name, and the caller knows its CTEs.
                !is_system(table_name),
            ),
            AuthAction::Insert { table_name } => {
                (Access::Insert { table: table_name.to_owned() }, is_user_table(table_name))
            }
            AuthAction::Update { table_name, column_name } => (
                Access::Update { table: table_name.to_owned(), column: column_name.to_owned() },
                is_user_table(table_name),
            ),
            AuthAction::Delete { table_name } => {
                (Access::Delete { table: table_name.to_owned() }, is_user_table(table_name))
            }
            AuthAction::Function { function_name } => {
                let name = function_name.to_lowercase();
                let legal = !FUNCTIONS_DENIED.contains(&name.as_str());
                (Access::Function { name }, legal)
            }
            // DDL, pragmas, ATTACH, transaction control, and whatever a later SQLite asks about.
            other => (Access::Other { what: format!("{other:?}") }, false),
        };
        if !self.accesses.contains(&access) {
            self.accesses.push(access);
        }
        if legal { Authorization::Allow } else { Authorization::Deny }
    }
}

/// Functions that reach outside the rows or into memory.
const FUNCTIONS_DENIED: [&str; 5] =
    ["load_extension", "fts3_tokenizer", "sqlite_compileoption_get", "sqlite_log", "readfile"];

fn is_user_table(name: &str) -> bool {
    name.strip_prefix('t').is_some_and(|id| !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_digit()))
}

/// Ours, SQLite's, and tables that are really functions on the file or the engine.
fn is_system(name: &str) -> bool {
    let name = name.to_lowercase();
    ["sqlite_", "pragma_", "grantd_", "dbstat", "fts", "bytecode", "tables_used", "rtree"]
        .iter()
        .any(|prefix| name.starts_with(prefix))
}

/// Runs statements of a client. While it prepares one, the authorizer records and denies.
pub(super) struct ClientTransaction<'c> {
    connection: &'c Connection,
    /// Whether what is known of statements is of the tables as they are: they do not change while this lives.
    is_current: bool,
    /// What each statement may hold.
    memory: usize,
}

impl ClientTransaction<'_> {
    /// What a statement touches, if it was prepared before.
    fn known<T>(&mut self, sql: &str, what: impl FnOnce(&[Access]) -> T) -> Result<Option<T>, RowsError> {
        if !self.is_current {
            self.connection.forget_if_reshaped()?;
            self.is_current = true;
        }
        Ok(self.connection.known.borrow().accesses.get(sql).map(|accesses| what(accesses)))
    }
}

impl Transaction for ClientTransaction<'_> {
    fn prepare(&mut self, sql: &str) -> Result<Vec<Access>, RowsError> {
        if let Some(accesses) = self.known(sql, <[Access]>::to_vec)? {
            return Ok(accesses);
        }
        let _client = ClientMode::enter(&self.connection.shared);
        // Never from the cache of prepared statements: what was prepared before may have been ours.
        let prepared = self.connection.sqlite.prepare(sql).map(drop);
        let recorded = std::mem::take(&mut lock(&self.connection.shared.recorder).accesses);
        if let Err(error) = prepared {
            return Err(denied(&recorded).unwrap_or_else(|| error.into()));
        }
        let accesses = &mut self.connection.known.borrow_mut().accesses;
        if accesses.len() >= STATEMENTS_CACHED_MAX {
            accesses.clear();
        }
        accesses.insert(sql.to_owned(), recorded.clone());
        Ok(recorded)
    }

    fn run(&mut self, sql: &str, parameters: &[Value]) -> Result<RowSet, RowsError> {
        // What has this text was let through. From here on the authorizer allows everything: the session reads the
        // shape of a table when it first sees a change of it, on this connection, with a pragma.
        if self.known(sql, |_| ())?.is_none() {
            self.prepare(sql)?;
        }
        let mut statement = self.connection.sqlite.prepare_cached(sql)?;
        let needed = statement.parameter_count();
        if needed > parameters.len() {
            let message = format!("the statement takes {needed} parameters, and {} came", parameters.len());
            return Err(RowsError { code: ffi::SQLITE_RANGE, message });
        }
        for (at, value) in parameters.iter().take(needed).enumerate() {
            value.refuse_nan()?;
            statement.raw_bind_parameter(at + 1, value)?;
        }
        let metered = Metered::begin(self.memory, Some(&self.connection.sqlite));
        let collected = collect(&mut statement, &metered);
        // Whatever SQLite made of it: also where it can do without, the rest of the statement might lack it.
        if let Some(exhausted) = metered.exhausted() {
            return Err(out_of_memory(exhausted));
        }
        drop(metered);
        let mut result = collected.map_err(|error| self.late(error))?;
        if !statement.readonly() {
            drop(statement);
            result.changes = self.connection.sqlite.changes();
            // Also those that are declared as deferred are looked at here, where the statement can still be refused.
            if session::violates_deferred_keys(&self.connection.sqlite) {
                let message = "FOREIGN KEY constraint failed".to_owned();
                return Err(RowsError { code: ffi::SQLITE_CONSTRAINT_FOREIGNKEY, message });
            }
        }
        Ok(result)
    }

    fn set_context(&mut self, context: Option<StatementContext>) {
        *lock(&self.connection.shared.context) = context;
    }

    fn set_memory(&mut self, bytes: usize) {
        self.memory = bytes;
    }

    fn set_cancel(&mut self, cancel: Option<CancelCheck>) {
        *lock(&self.connection.shared.cancel) = cancel;
    }
}

impl ClientTransaction<'_> {
    /// An interruption by the deadline says so.
    fn late(&self, error: RowsError) -> RowsError {
        let deadline = *lock(&self.connection.shared.deadline);
        match deadline {
            Some((deadline, limit))
                if error.code & 0xff == ffi::SQLITE_INTERRUPT && Instant::now() >= deadline =>
            {
                too_big(format!("the statement took longer than {limit:?} to run"))
            }
            Some(_) | None => error,
        }
    }
}

impl Drop for ClientTransaction<'_> {
    fn drop(&mut self) {
        // The next user of the connection must not be cancelled, or see what this one set.
        *lock(&self.connection.shared.context) = None;
        *lock(&self.connection.shared.cancel) = None;
        *lock(&self.connection.shared.deadline) = None;
    }
}

fn collect(statement: &mut Statement<'_>, metered: &Metered<'_>) -> Result<RowSet, RowsError> {
    let mut bytes = 0;
    let mut held = Held::default();
    let mut result = RowSet::default();
    let mut rows = statement.raw_query();
    while let Some(row) = metered.within(|| rows.next())? {
        let width = row.as_ref().column_count();
        let mut values = Vec::with_capacity(width);
        let before = bytes;
        bytes += size_of::<Vec<Value>>();
        for at in 0..width {
            let value = Value::try_from(row.get_ref(at)?)?;
            bytes += value.memory();
            // Not only after each row: one may be larger than the memory.
            if bytes > RESULT_BYTES_MAX {
                return Err(too_big(format!("the result has more than {RESULT_BYTES_MAX} bytes")));
            }
            values.push(value);
        }
        held.grow(bytes - before).map_err(out_of_memory)?;
        if result.rows.len() == RESULT_ROWS_MAX {
            return Err(too_big(format!("the result has more than {RESULT_ROWS_MAX} rows")));
        }
        result.rows.push(values);
    }
    drop(rows);
    result.held = Share::of(held);
    // Last: a statement that was prepared before a table got another shape is prepared anew when it runs.
    result.columns = statement.column_names().map(str::to_owned).collect();
    Ok(result)
}

fn out_of_memory(exhausted: memory::Exhausted) -> RowsError {
    RowsError { code: ffi::SQLITE_NOMEM, message: exhausted.to_string() }
}

/// What SQLite calls a function with.
fn arguments(call: &functions::Context<'_>) -> rusqlite::Result<Vec<Value>> {
    // To read a text SQLite may have to make room for its end.
    let arguments: Result<Vec<Value>, RowsError> =
        memory::unrefused(|| (0..call.len()).map(|at| Value::try_from(call.get_raw(at))).collect());
    arguments.map_err(|error| function_error(error.message))
}

fn too_big(message: String) -> RowsError {
    RowsError { code: ffi::SQLITE_TOOBIG, message }
}

fn denied(recorded: &[Access]) -> Option<RowsError> {
    let what = recorded.iter().find_map(|access| match access {
        Access::Other { what } => Some(what.clone()),
        Access::Function { name } if FUNCTIONS_DENIED.contains(&name.as_str()) => {
            Some(format!("function {name}"))
        }
        Access::Read { table, .. } if is_system(table) => Some(format!("table {table}")),
        Access::Insert { table } | Access::Update { table, .. } | Access::Delete { table }
            if !is_user_table(table) =>
        {
            Some(format!("table {table}"))
        }
        Access::Read { .. }
        | Access::Insert { .. }
        | Access::Update { .. }
        | Access::Delete { .. }
        | Access::Function { .. } => None,
    })?;
    let message = format!("the statement does what no client's statement may: {what}");
    Some(RowsError { code: ffi::SQLITE_AUTH, message })
}

/// Puts the authorizer into its recording state until dropped.
struct ClientMode {
    shared: Arc<Shared>,
}

impl ClientMode {
    fn enter(shared: &Arc<Shared>) -> Self {
        *lock(&shared.recorder) = Recorder { client: true, accesses: Vec::new() };
        Self { shared: Arc::clone(shared) }
    }
}

impl Drop for ClientMode {
    fn drop(&mut self) {
        *lock(&self.shared.recorder) = Recorder::default();
    }
}

fn function_error(message: String) -> rusqlite::Error {
    rusqlite::Error::UserFunctionError(message.into())
}

/// A panic elsewhere does not make these cells wrong: each is written in one step.
fn lock<T>(cell: &Mutex<T>) -> MutexGuard<'_, T> {
    cell.lock().unwrap_or_else(PoisonError::into_inner)
}
