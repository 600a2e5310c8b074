//! Runs a plan in a transaction of the row store, after the second of the two checks, and says what went wrong in
//! SQL's terms.

use std::sync::Arc;

use grantd_catalog::id::ObjectId;
use grantd_catalog::object::{Body, Index, Table};
use grantd_catalog::view::View;
use grantd_raft::rows::ddl;
use grantd_raft::rows::{CancelCheck, RowSet, RowsError, StatementContext, Transaction, Value};

use super::{Prepared, foreign_key};
use crate::error::{SqlError, state};
use crate::sql::plan::{self, Plan, Step};
use crate::sql::system::context::StatementInfo;
use crate::sql::system::sequence::Position;
use crate::sql::translate::{enums, function, quote, scalar};
use crate::value::{Datum, SqlType, text};

const SQLITE_INTERRUPT: i32 = 9;
const SQLITE_TOOBIG: i32 = 18;

/// Why a plan did not run.
#[derive(Debug)]
pub(super) enum RunError {
    /// The client is told this.
    Sql(SqlError),
    /// A table of the plan is not in these rows: plan anew.
    Moved,
}

impl From<SqlError> for RunError {
    fn from(error: SqlError) -> Self {
        Self::Sql(error)
    }
}

/// The parameters as the row store takes them.
pub(super) fn bound(prepared: &Prepared, parameters: &[Datum]) -> Result<Vec<Value>, SqlError> {
    if parameters.len() != prepared.parameters.len() {
        let (given, needed) = (parameters.len(), prepared.parameters.len());
        return Err(SqlError::syntax(format!("{needed} parameters are needed, and {given} came")));
    }
    parameters.iter().zip(&prepared.parameters).map(|(datum, expected)| datum.to_row(*expected)).collect()
}

/// Types as hints, so that a plan made again types its parameters as the first did.
pub(super) fn hints(types: &[SqlType]) -> Vec<Option<SqlType>> {
    types.iter().copied().map(Some).collect()
}

/// The client was told what columns come; a table of the same name may have others by now.
pub(super) fn same_columns(prepared: &Prepared, plan: &Plan) -> Result<(), SqlError> {
    if prepared.columns == plan.columns {
        return Ok(());
    }
    Err(SqlError::new(
        grantd_catalog::refusal::state::FEATURE_NOT_SUPPORTED,
        "cached plan must not change result type",
    )
    .with_hint("Prepare the statement again."))
}

/// Prepares, checks what SQLite says the statement touches against what the plan requires, and runs it.
pub(super) fn checked(
    plan: &Plan,
    rows: &mut dyn Transaction,
    parameters: &[Value],
    info: StatementInfo,
    cancel: CancelCheck,
) -> Result<RowSet, RunError> {
    // Each run counts for itself.
    let info = Arc::new(StatementInfo { proposed: Arc::default(), kept: Arc::default(), ..info });
    rows.set_context(Some(Arc::clone(&info) as StatementContext));
    rows.set_cancel(Some(cancel));
    rows.set_memory(info.memory);
    let outcome = prepare_and_run(plan, rows, parameters, &info);
    rows.set_cancel(None);
    rows.set_context(None);
    outcome
}

fn prepare_and_run(
    plan: &Plan,
    rows: &mut dyn Transaction,
    parameters: &[Value],
    info: &StatementInfo,
) -> Result<RowSet, RunError> {
    let view = info.view.as_ref();
    let mut accesses = Vec::new();
    for sql in plan.before.iter().map(|step| &step.sql).chain([&plan.sql]) {
        accesses.extend(rows.prepare(sql).map_err(|error| explain(plan, view, &error))?);
    }
    if let Err(hole) = plan.covers(&accesses) {
        tracing::error!(%hole, version = %plan.version, "a plan does not require what its statement touches");
        return Err(SqlError::internal("the statement touches more than it was allowed for").into());
    }
    if plan.explains {
        let texts = plan.before.iter().map(|step| &step.sql).chain([&plan.sql]);
        let trees = texts.map(|sql| rows.run(sql, parameters)).collect::<Result<Vec<_>, _>>();
        let trees = trees.map_err(|error| explain(plan, view, &error))?;
        return Ok(plan::explain::rows(&trees, &plan.names, &plan.requirement, view));
    }
    for id in plan.sequences.keys() {
        let position = position(*id, rows).map_err(|error| explain(plan, view, &error))?;
        info.sequences.load(*id, position.ok_or_else(|| SqlError::internal("a sequence without a row"))?);
    }
    for step in &plan.before {
        let found = run_one(plan, step, rows, parameters, info)?;
        if let Some(number) = step.keeps {
            info.keep(number, found.rows);
        }
    }
    let last =
        Step { sql: plan.sql.clone(), keeps: None, source: plan.source.clone(), gone: plan.gone.clone() };
    let mut result = run_one(plan, &last, rows, parameters, info)?;
    if plan.columns.is_some() && !plan.before.is_empty() {
        // The rows that a step before it changed.
        result.changes = result.rows.len() as u64;
    }
    for (id, position) in info.sequences.changed() {
        let sql = format!("UPDATE t{id} SET last_value = ?1, is_called = ?2");
        let values = [Value::Integer(position.last), Value::Integer(position.is_called.into())];
        rows.run(&sql, &values).map_err(|error| explain(plan, view, &error))?;
    }
    Ok(result)
}

/// Runs one step of a plan.
fn run_one(
    plan: &Plan,
    step: &Step,
    rows: &mut dyn Transaction,
    parameters: &[Value],
    info: &StatementInfo,
) -> Result<RowSet, RunError> {
    let view = info.view.as_ref();
    info.propose_anew();
    let ran = rows.run(&step.sql, parameters);
    if let Err(error) = &ran
        && error.message.contains("FOREIGN KEY constraint failed")
    {
        return Err(foreign_key::violated((plan, step), view, rows, parameters).into());
    }
    ran.map_err(|error| match explain(plan, view, &error) {
        RunError::Sql(sql) if sql.body.code == state::UNIQUE_VIOLATION => {
            RunError::Sql(with_key(sql, step, view, rows, parameters, &error.message))
        }
        other => other,
    })
}

/// Where a sequence is; none: it has no row.
fn position(id: ObjectId, rows: &mut dyn Transaction) -> Result<Option<Position>, RowsError> {
    let found = rows.run(&format!("SELECT last_value, is_called FROM t{id}"), &[])?;
    Ok(match found.rows.first().map(Vec::as_slice) {
        Some([Value::Integer(last), Value::Integer(is_called)]) => {
            Some(Position { last: *last, is_called: *is_called != 0, is_changed: false })
        }
        _ => None,
    })
}

/// What a client is told of an error of the row store.
fn explain(plan: &Plan, view: &View, error: &RowsError) -> RunError {
    let message = error.message.as_str();
    if let Some(raised) = scalar::raised(message) {
        return raised.into();
    }
    if error.code & 0xff == SQLITE_INTERRUPT {
        return SqlError::cancelled().into();
    }
    if error.is_out_of_memory() {
        let hint = "Let it need less, for example by a LIMIT, an index or a COPY, or SET distsql_workmem.";
        return SqlError::new(state::OUT_OF_MEMORY, message).with_hint(hint).into();
    }
    if error.code & 0xff == SQLITE_TOOBIG {
        return SqlError::too_large(message).into();
    }
    if message.starts_with("no such table: ") {
        return RunError::Moved;
    }
    if message.contains("integer overflow") {
        return crate::value::out_of_range(SqlType::Int8).into();
    }
    let deep = ["Expression tree is too large", "parser stack overflow", "nested too deep"];
    if deep.iter().any(|words| message.contains(words)) {
        return SqlError::too_large("the statement is nested too deeply").into();
    }
    // `at most 64 tables in a join`: those of views count.
    if message.starts_with("too many ") || message.starts_with("at most ") {
        return SqlError::too_large(message).into();
    }
    if let Some(error) = constraint(view, message) {
        return error.into();
    }
    tracing::error!(code = error.code, %message, version = %plan.version, "the row store refused a plan");
    SqlError::internal("the row store refused the statement").into()
}

/// 23505, 23502, 23514.
fn constraint(view: &View, message: &str) -> Option<SqlError> {
    let (kind, subject) = message.split_once(" constraint failed: ")?;
    match kind {
        "UNIQUE" if subject.starts_with("index '") => {
            let stored = subject.trim_start_matches("index '").trim_end_matches('\'').replace("''", "'");
            let id = ddl::object_of_table(stored.split(':').next()?)?;
            let name = ddl::Shape::of(id, view.state())?.index_called(&stored)?;
            Some(SqlError::new(
                state::UNIQUE_VIOLATION,
                format!("duplicate key value violates unique constraint \"{name}\""),
            ))
        }
        "UNIQUE" => {
            let (id, columns) = subject_columns(subject)?;
            let name = constraint_name(view, id, &columns);
            Some(SqlError::new(
                state::UNIQUE_VIOLATION,
                format!("duplicate key value violates unique constraint \"{name}\""),
            ))
        }
        "NOT NULL" => {
            let (_, columns) = subject_columns(subject)?;
            let column = columns.first()?;
            Some(SqlError::new(
                state::NOT_NULL_VIOLATION,
                format!("null value in column \"{column}\" violates not-null constraint"),
            ))
        }
        "CHECK" => match subject.split_once(':') {
            Some(("check", name)) => Some(SqlError::new(
                state::CHECK_VIOLATION,
                format!("failed to satisfy CHECK constraint \"{name}\""),
            )),
            // The plan checks ranges and lengths before the row store does.
            _ => None,
        },
        _ => None,
    }
}

/// `t104.a, t104.b`: the table and the columns. A column's own name may hold a comma; then no part fits.
fn subject_columns(subject: &str) -> Option<(ObjectId, Vec<String>)> {
    let (table, _) = subject.split_once('.')?;
    let id = table.strip_prefix('t')?.parse().ok().map(ObjectId)?;
    let prefix = format!("{table}.");
    let columns = subject
        .split(", ")
        .map(|part| part.strip_prefix(&prefix).map(str::to_owned))
        .collect::<Option<_>>()?;
    Some((id, columns))
}

fn described(view: &View, id: ObjectId) -> Option<(&str, &Table)> {
    let object = view.state().object(id)?;
    match &object.body {
        Body::Table(table) => Some((object.name.as_str(), table)),
        _ => None,
    }
}

fn constraint_name(view: &View, id: ObjectId, columns: &[String]) -> String {
    let Some((_, table)) = described(view, id) else { return String::new() };
    let named = |positions: &[u16]| {
        positions.len() == columns.len()
            && positions.iter().zip(columns).all(|(at, name)| {
                table.columns.get(usize::from(*at)).is_some_and(|column| column.name.as_str() == name)
            })
    };
    let unique = table.unique.iter().find(|unique| named(&unique.columns)).map(|unique| &unique.name);
    let index = || {
        let of = |index: &&Index| index.unique && index.columns().is_some_and(|columns| named(&columns));
        table.indexes.iter().find(of).map(|index| &index.name)
    };
    let found = if named(&table.primary_key) { None } else { unique.or_else(index) };
    found.unwrap_or(&table.key_name).to_string()
}

/// Adds which key exists already, for an INSERT whose key is among the rows of the table. What was decided for the
/// statement covers this: the key was in the client's own rows.
fn with_key(
    error: SqlError,
    step: &Step,
    view: &View,
    rows: &mut dyn Transaction,
    parameters: &[Value],
    message: &str,
) -> SqlError {
    let mut key = || -> Option<String> {
        // To run it again would take other values.
        let source = step.source.as_ref().filter(|source| !function::is_volatile(&source.sql))?;
        let (_, subject) = message.split_once(" constraint failed: ")?;
        let (id, columns) = subject_columns(subject)?;
        let (_, table) = described(view, id)?;
        if id != source.table {
            return None;
        }
        let mut types = Vec::new();
        let mut list = Vec::new();
        let mut same = Vec::new();
        for name in &columns {
            let at = table.columns.iter().position(|column| column.name.as_str() == name)?;
            let column = format!("q1.k{}", at + 1);
            list.push(match SqlType::of_column(table.columns[at].column_type) {
                SqlType::Enum(id) => enums::output(&column, id),
                _ => column,
            });
            types.push(SqlType::of_column(table.columns[at].column_type));
            same.push(format!("q2.{} = q1.k{}", quote(name), at + 1));
        }
        let sql = format!(
            "SELECT {} FROM ({}) AS q1 WHERE EXISTS (SELECT 1 FROM t{id} AS q2 WHERE {}) LIMIT 1",
            list.join(", "),
            source.sql,
            same.join(" AND ")
        );
        let found = rows.run(&sql, parameters).ok()?;
        let row = found.rows.into_iter().next()?;
        let values = row
            .into_iter()
            .zip(types)
            .map(|(value, sql_type)| {
                let datum = Datum::from_row(value, sql_type).ok()?;
                text::format(&datum)
            })
            .collect::<Option<Vec<_>>>()?;
        Some(format!("Key ({})=({}) already exists.", columns.join(", "), values.join(", ")))
    };
    match key() {
        Some(detail) => error.with_detail(detail),
        None => error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use grantd_catalog::command::{Actor, NameContext, Outcome};
    use grantd_catalog::id::{PrincipalId, Timestamp, Version};
    use grantd_catalog::name::Name;
    use grantd_catalog::privilege::Privilege;
    use grantd_catalog::require::Need;
    use grantd_catalog::state::State;
    use grantd_raft::rows::{Captured, StorageStep, Store};

    use crate::sql::parse::table::TableStatement;
    use crate::sql::parse::{self, Statement};
    use crate::sql::plan::{self, Origin};
    use crate::sql::system;

    /// A store, and what a statement of root sees, after the statements of `setup`.
    fn store_with(setup: &str) -> (tempfile::TempDir, Store, StatementInfo) {
        let directory = tempfile::tempdir().unwrap();
        let mut store = Store::open(&directory.path().join("state.db"), &system::extensions()).unwrap();
        let mut state = State::bootstrap();
        let actor = Actor::of(PrincipalId::ROOT);
        let public = vec![Name::normalize("public")];
        let context = NameContext { database: Some(Name::normalize("defaultdb")), search_path: public };
        store.begin().unwrap();
        for (at, (text, statement)) in parse::parse_all(setup).unwrap().into_iter().enumerate() {
            let version = Version(at as u64 + 2);
            let view = View::build(version, state.clone());
            let origin = Origin { view: &view, actor, context: &context };
            let command = match statement {
                Statement::Table(table) => match *table {
                    TableStatement::Create(table) => plan::table::create(origin, &table).unwrap(),
                    _ => panic!("{text}"),
                },
                Statement::CreateView(view) => plan::object::view(origin, &view).unwrap().0,
                Statement::CreateFunction(function) => plan::object::function(origin, &function).unwrap().0,
                Statement::Command(command, _) => command,
                _ => panic!("{text}"),
            };
            let outcome =
                state.apply(version, Timestamp::default(), actor, &context, &command, &mut Vec::new());
            let Outcome::Done(done) = outcome else { panic!("{text}: {outcome:?}") };
            for step in StorageStep::list(&command, &done, &state, view.state()).unwrap() {
                step.perform(&mut store).unwrap();
            }
        }
        store.commit().unwrap();
        let view = Arc::new(View::build(Version(100), state));
        let info = StatementInfo {
            view,
            actor,
            context,
            now_micros: 0,
            node_id: 1,
            session: None,
            memory: grantd_raft::memory::STATEMENT_BYTES,
            live: std::collections::BTreeMap::new(),
            sequences: Arc::default(),
            proposed: Arc::default(),
            kept: Arc::default(),
        };
        (directory, store, info)
    }

    fn store_with_table() -> (tempfile::TempDir, Store, StatementInfo) {
        store_with("CREATE TABLE t (k INT PRIMARY KEY, v INT)")
    }

    fn planned(info: &StatementInfo, text: &str) -> Plan {
        let origin = Origin { view: &info.view, actor: info.actor, context: &info.context };
        super::super::plan_with(origin, &parse::parse(text).unwrap(), &[]).unwrap()
    }

    fn run(store: &mut Store, info: &StatementInfo, plan: &Plan) -> Result<RowSet, RunError> {
        store.begin_captures().unwrap();
        let outcome =
            store.capture(|rows| checked(plan, rows, &[], info.clone(), Arc::new(|| false))).unwrap();
        store.rollback().unwrap();
        match outcome {
            Captured::Changed(rows, _) => Ok(rows),
            Captured::Refused(error) => Err(error),
            Captured::Lost(outcome) => outcome,
        }
    }

    #[test]
    fn a_hole_in_the_requirement_is_caught_by_what_sqlite_reports() {
        let (_directory, mut store, info) = store_with_table();
        let statements = [
            ("SELECT count(*) FROM t", Privilege::Select),
            ("SELECT 1 WHERE EXISTS (SELECT v FROM t)", Privilege::Select),
            ("INSERT INTO t VALUES (1, 1)", Privilege::Insert),
            ("INSERT INTO t VALUES (1, 1) ON CONFLICT (k) DO UPDATE SET v = 2", Privilege::Update),
            ("UPDATE t SET v = 1", Privilege::Update),
            ("UPDATE t SET v = v + 1", Privilege::Select),
            ("DELETE FROM t", Privilege::Delete),
            ("INSERT INTO t VALUES (1, 1), (2, 2) ON CONFLICT (k) DO UPDATE SET v = 2", Privilege::Update),
            ("UPSERT INTO t VALUES (1, 1), (2, 2)", Privilege::Update),
            ("UPDATE t SET v = (SELECT max(o.v) FROM t AS o WHERE o.k < t.k)", Privilege::Select),
            ("UPDATE t SET (v) = (SELECT max(o.v) FROM t AS o)", Privilege::Update),
            ("WITH w AS (SELECT 1 AS k) DELETE FROM t USING w WHERE w.k = t.k", Privilege::Delete),
            ("SELECT sum(v) OVER (ORDER BY k) FROM t", Privilege::Select),
            ("SELECT v, count(*) FROM t GROUP BY ROLLUP (v)", Privilege::Select),
            ("SELECT DISTINCT ON (v) k FROM t", Privilege::Select),
            ("SELECT 1 > ALL (SELECT v FROM t)", Privilege::Select),
            ("SELECT (1, 2) IN (SELECT k, v FROM t)", Privilege::Select),
            ("SELECT k FROM t INTERSECT ALL SELECT 1", Privilege::Select),
            (
                "WITH RECURSIVE r AS (SELECT 1 AS k UNION SELECT t.v FROM r, t WHERE t.k = r.k) SELECT * FROM r",
                Privilege::Select,
            ),
            (
                "SELECT x.v FROM (SELECT 1 AS n) AS q, LATERAL (SELECT v FROM t WHERE k = n) AS x",
                Privilege::Select,
            ),
            ("EXPLAIN SELECT v FROM t", Privilege::Select),
            ("EXPLAIN UPDATE t SET v = 1", Privilege::Update),
            ("SELECT k FROM t FOR UPDATE", Privilege::Select),
            ("WITH w AS (INSERT INTO t VALUES (1, 1) RETURNING k) SELECT k FROM w", Privilege::Insert),
            ("WITH w AS (UPDATE t SET v = 1 RETURNING k) SELECT k FROM w", Privilege::Update),
            ("WITH w AS (DELETE FROM t) SELECT 1", Privilege::Delete),
            ("WITH w AS (DELETE FROM t RETURNING k) SELECT w.k FROM w, t", Privilege::Select),
            (
                "WITH w AS (SELECT k FROM t), x AS (DELETE FROM t RETURNING k) SELECT * FROM w",
                Privilege::Select,
            ),
            ("UPDATE t SET v = q.n FROM (SELECT 1 AS n) AS q RETURNING q.n", Privilege::Update),
            ("DELETE FROM t RETURNING (SELECT max(v) FROM t)", Privilege::Delete),
            ("EXPLAIN WITH w AS (DELETE FROM t RETURNING k) SELECT k FROM w", Privilege::Delete),
        ];
        for (text, planted) in statements {
            let mut plan = planned(&info, text);
            assert!(run(&mut store, &info, &plan).is_ok(), "{text}");
            plan.requirement
                .needs
                .retain(|need| !matches!(need, Need::Privilege { privilege, .. } if *privilege == planted));
            let Err(RunError::Sql(error)) = run(&mut store, &info, &plan) else { panic!("{text} ran") };
            assert_eq!(error.body.code, state::INTERNAL, "{text}");
            let mut plan = planned(&info, text);
            plan.tables.clear();
            assert!(matches!(run(&mut store, &info, &plan), Err(RunError::Sql(_))), "{text} ran");
        }
    }

    const OBJECTS: &str = "CREATE TABLE t (k INT PRIMARY KEY, v INT); CREATE TABLE u (k INT PRIMARY KEY); \
        CREATE VIEW w AS SELECT v FROM t; CREATE VIEW nested AS WITH a AS (SELECT v FROM w) SELECT v FROM a; \
        CREATE VIEW counted AS SELECT (SELECT count(*) FROM t) AS n; \
        CREATE SEQUENCE s; CREATE TABLE d (k INT PRIMARY KEY DEFAULT nextval('s')); \
        CREATE FUNCTION f(a INT) RETURNS INT LANGUAGE SQL AS 'SELECT max(v) + a FROM t'; \
        CREATE FUNCTION g() RETURNS INT LANGUAGE SQL AS 'SELECT 1'";

    fn need(info: &StatementInfo, name: &str) -> ObjectId {
        let objects: Vec<_> = info.view.state().objects().filter(|(_, o)| o.name.as_str() == name).collect();
        objects.last().unwrap().0
    }

    fn of(need: &Need) -> Option<ObjectId> {
        match need {
            Need::Privilege { object, .. } | Need::AnyOf { object, .. } => Some(*object),
            _ => None,
        }
    }

    #[test]
    fn a_hole_in_what_views_functions_and_sequences_need_is_caught_too() {
        let (_directory, mut store, info) = store_with(OBJECTS);
        let statements = [
            ("SELECT v FROM w", "w"),
            ("SELECT v FROM nested", "nested"),
            ("SELECT count(*) FROM nested", "nested"),
            ("SELECT n FROM counted", "counted"),
            ("INSERT INTO u SELECT v FROM w", "w"),
            ("SELECT f(1)", "f"),
            ("SELECT f(1)", "t"),
            ("SELECT g()", "g"),
            ("SELECT nextval('s')", "s"),
            ("SELECT setval('s', 7)", "s"),
            ("SELECT last_value FROM s", "s"),
            ("INSERT INTO d DEFAULT VALUES", "s"),
            // What a view reads is not read beside it by the view's right.
            ("SELECT w.v FROM w, t", "t"),
            ("SELECT v FROM w WHERE v IN (SELECT k FROM t)", "t"),
            ("SELECT n FROM counted, t WHERE t.v = n", "t"),
            ("UPDATE u SET k = t.v FROM t WHERE t.k = u.k", "t"),
            ("DELETE FROM u USING t WHERE t.k = u.k", "t"),
            ("DELETE FROM u USING w WHERE w.v = u.k", "w"),
            ("INSERT INTO u VALUES (1) RETURNING (SELECT max(v) FROM t)", "t"),
            ("DELETE FROM u RETURNING k, (SELECT count(*) FROM w)", "w"),
            ("SELECT x.v FROM u, LATERAL (SELECT v FROM w WHERE v = u.k) AS x", "w"),
            ("WITH RECURSIVE r AS (SELECT 1 AS k UNION SELECT w.v FROM r, w) SELECT * FROM r", "w"),
            ("EXPLAIN SELECT v FROM w", "w"),
            ("WITH x AS (DELETE FROM u RETURNING k) SELECT x.k FROM x, w", "w"),
            ("WITH x AS (INSERT INTO u SELECT v FROM w RETURNING k) SELECT k FROM x", "w"),
            ("WITH x AS (INSERT INTO d DEFAULT VALUES RETURNING k) SELECT k FROM x", "s"),
            ("UPDATE u SET k = t.v FROM t WHERE t.k = u.k RETURNING t.v", "t"),
            ("DELETE FROM u USING w WHERE w.v = u.k RETURNING w.v", "w"),
            ("EXPLAIN SELECT nextval('s')", "s"),
        ];
        for (text, object) in statements {
            let mut plan = planned(&info, text);
            if let Err(error) = run(&mut store, &info, &plan) {
                panic!("{text}: {error:?}");
            }
            let object = need(&info, object);
            let before = plan.requirement.needs.len();
            plan.requirement.needs.retain(|need| of(need) != Some(object));
            assert!(plan.requirement.needs.len() < before, "{text} needs nothing of it");
            let Err(RunError::Sql(error)) = run(&mut store, &info, &plan) else { panic!("{text} ran") };
            assert_eq!(error.body.code, state::INTERNAL, "{text}");
        }
    }

    #[test]
    fn a_read_in_a_view_that_the_plan_does_not_know_of_is_refused() {
        let (_directory, mut store, info) = store_with(OBJECTS);
        let view = planned(&info, "SELECT v FROM w");
        let name = view.expansions.keys().next().unwrap().clone();
        let (t, u) = (need(&info, "t"), need(&info, "u"));
        for sql in [
            format!("WITH {name} AS (SELECT k FROM t{u}) SELECT k FROM {name}"),
            format!("WITH w1 AS (SELECT k FROM t{t}) SELECT k FROM w1"),
            format!("SELECT v FROM t{t}"),
        ] {
            let plan = Plan { sql: sql.clone(), ..view.clone() };
            assert!(matches!(run(&mut store, &info, &plan), Err(RunError::Sql(_))), "{sql} ran");
        }
        let plan = Plan { sql: format!("WITH {name} AS (SELECT k FROM t{t}) SELECT k FROM {name}"), ..view };
        assert!(run(&mut store, &info, &plan).is_ok());
    }

    #[test]
    fn a_sequence_that_the_plan_does_not_name_stays_where_it_is() {
        let (_directory, mut store, info) = store_with(OBJECTS);
        let mut plan = planned(&info, "SELECT nextval('s')");
        plan.sequences.clear();
        assert!(matches!(run(&mut store, &info, &plan), Err(RunError::Sql(_))));
    }

    #[test]
    fn what_no_plan_makes_is_refused_by_its_accesses() {
        let (_directory, mut store, info) = store_with_table();
        for sql in [
            "SELECT sqlite_version()",
            "SELECT * FROM sqlite_master",
            "DROP TABLE t104",
            "PRAGMA user_version",
        ] {
            let mut plan = planned(&info, "SELECT 1");
            sql.clone_into(&mut plan.sql);
            assert!(run(&mut store, &info, &plan).is_err(), "{sql} ran");
        }
    }

    #[test]
    fn a_table_that_is_not_there_is_planned_anew() {
        let (_directory, mut store, info) = store_with_table();
        let mut plan = planned(&info, "SELECT 1");
        "SELECT k FROM t999".clone_into(&mut plan.sql);
        assert!(matches!(run(&mut store, &info, &plan), Err(RunError::Moved)));
    }
}
