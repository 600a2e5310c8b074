//! Queries of nothing but inquiries are answered without the row store: as it would answer, and from a view that does.

use std::collections::BTreeMap;

use futures::FutureExt;
use grantd_node::error::SqlError;
use grantd_node::session::Session;
use grantd_node::sql::execute::{Engine, Place};
use grantd_node::value::{Datum, SqlType};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;

use crate::{engine, execute};

/// Queries that are compared.
const QUERIES: usize = 5_000;

const SETUP: &str = "CREATE USER amy; CREATE USER ben; CREATE ROLE dev; GRANT dev TO amy WITH ADMIN OPTION; GRANT dev TO ben; \
    CREATE SCHEMA app; CREATE TABLE t (k INT PRIMARY KEY, v TEXT); CREATE TABLE \"Mixed\" (k INT PRIMARY KEY); \
    CREATE TABLE app.t (k INT PRIMARY KEY); CREATE TABLE app.\"null\" (k INT PRIMARY KEY); CREATE SEQUENCE s; \
    CREATE VIEW w AS SELECT k FROM t; CREATE TYPE mood AS ENUM ('sad'); \
    CREATE FUNCTION f (a INT) RETURNS INT LANGUAGE SQL AS 'SELECT 1'; GRANT SELECT ON t TO dev; \
    GRANT INSERT ON t TO amy WITH GRANT OPTION; GRANT ALL ON app.t TO ben; GRANT USAGE ON SCHEMA app TO public; \
    GRANT USAGE ON SEQUENCE s TO ben; GRANT SYSTEM MODIFYCLUSTERSETTING TO dev";

/// The functions: how many arguments they have at most, and what fits as their object and their privileges.
const FUNCTIONS: [(&str, usize, &[&str], &[&str]); 14] = [
    ("has_table_privilege", 3, RELATIONS, OF_TABLES),
    ("has_any_column_privilege", 3, RELATIONS, &["SELECT", "insert", "UPDATE WITH GRANT OPTION"]),
    ("has_column_privilege", 4, RELATIONS, &["SELECT", "insert"]),
    ("has_sequence_privilege", 3, &["s", "t", "public.s"], &["USAGE", "SELECT, UPDATE"]),
    ("has_schema_privilege", 3, &["app", "public", "pg_catalog", "nothing"], &["USAGE", "CREATE"]),
    ("has_database_privilege", 3, &["defaultdb", "system", "nothing"], &["CONNECT", "temp", "CREATE"]),
    ("has_type_privilege", 3, &["mood", "int4", "text", "nothing"], &["USAGE", "USAGE WITH GRANT OPTION"]),
    ("has_function_privilege", 3, &["f(int)", "now()", "f(text)", "nothing()"], &["EXECUTE"]),
    ("has_system_privilege", 2, &[], &["MODIFYCLUSTERSETTING", "viewactivity"]),
    ("has_language_privilege", 3, &["sql"], &["USAGE"]),
    ("has_server_privilege", 3, &["sql"], &["USAGE"]),
    ("has_foreign_data_wrapper_privilege", 3, &["sql"], &["USAGE"]),
    ("has_tablespace_privilege", 3, &["pg_default"], &["CREATE"]),
    ("pg_has_role", 3, &["dev", "AMY", "admin"], &["USAGE", "member", "USAGE WITH ADMIN OPTION"]),
];
const RELATIONS: &[&str] =
    &["t", "T", "\"Mixed\"", "app.t", "public.t", "app.\"null\"", "w", "s", "nothing", "app.nothing"];
const OF_TABLES: &[&str] =
    &["SELECT", " Insert ", "insert with grant option, RULE", "DELETE", "SELECT, INSERT", "TRIGGER", "RULE"];
const KNOWN: [&str; 6] = ["amy", "AMY", "ben", "dev", "root", "public"];
const USERS: [&str; 10] = ["amy", "AMY", "ben", "dev", "root", "public", "node", "zoe", "\"amy\"", ""];
const OBJECTS: [&str; 34] = [
    "t",
    "T",
    "\"T\"",
    "\"Mixed\"",
    "mixed",
    "app.t",
    "public.t",
    "defaultdb.app.t",
    "nowhere.app.t",
    "a.b.c.d",
    "app.null",
    "app.\"null\"",
    "null",
    "t ",
    " t",
    "t; SELECT 1",
    "(t)",
    "",
    "s",
    "w",
    "mood",
    "f(int)",
    "f(text)",
    "f",
    "now()",
    "app",
    "defaultdb",
    "system",
    "pg_catalog.pg_class",
    "int4",
    "k",
    "dev",
    "pg_default",
    LONG,
];
/// Longer than what is looked at without the row store.
const LONG: &str = match str::from_utf8(&[b'x'; 600]) {
    Ok(text) => text,
    Err(_) => "",
};
const PRIVILEGES: [&str; 18] = [
    "SELECT",
    "select",
    " Insert ",
    "UPDATE",
    "SELECT, INSERT",
    "INSERT WITH GRANT OPTION",
    "insert with grant option, RULE",
    "USAGE",
    "CREATE",
    "CONNECT",
    "EXECUTE",
    "TEMP",
    "MEMBER",
    "USAGE WITH ADMIN OPTION",
    "MODIFYCLUSTERSETTING",
    "",
    "ſelect",
    "SELECT USAGE",
];

/// How an argument is written.
#[derive(Clone, Debug)]
enum Argument {
    Text(String),
    Number(i64),
    Null,
    Parameter(Option<SqlType>, Datum),
}

fn argument() -> impl Strategy<Value = Argument> {
    let words = [&USERS[..], &OBJECTS[..], &PRIVILEGES[..]].map(prop::sample::select);
    let [users, objects, privileges] = words;
    let text = prop_oneof![users, objects.clone(), privileges, objects].prop_map(str::to_owned);
    let number = prop_oneof![-1_i64..130, 100_000_i64..100_130, Just(25), Just(1663), Just(i64::MAX)];
    let text_type = prop::sample::select(vec![
        None,
        Some(SqlType::Text),
        Some(SqlType::Varchar),
        Some(SqlType::Name),
        Some(SqlType::Bpchar(0)),
    ]);
    let number_type =
        prop::sample::select(vec![SqlType::Int8, SqlType::Oid, SqlType::Int4, SqlType::Int2, SqlType::Bool]);
    prop_oneof![
        3 => (text_type, text.clone()).prop_map(|(known, text)| Argument::Parameter(known, Datum::Text(text))),
        2 => text.prop_map(Argument::Text),
        1 => number.clone().prop_map(Argument::Number),
        1 => (number_type, number).prop_map(|(known, number)| Argument::Parameter(Some(known), Datum::Int(number))),
        1 => prop_oneof![Just(Argument::Null), Just(Argument::Parameter(None, Datum::Null))],
    ]
}

/// Calls of which many fit, and the others are wrong in one place or in all.
fn call() -> impl Strategy<Value = (&'static str, Vec<Argument>)> {
    let wild = prop::collection::vec(argument(), 4);
    (prop::sample::select(&FUNCTIONS[..]), wild, 0..10_usize, 0..4_usize).prop_flat_map(
        |((name, most, objects, privileges), wild, dice, at)| {
            let place = |of: &'static [&'static str]| {
                let of = if of.is_empty() { &[""][..] } else { of };
                prop::sample::select(of)
                    .prop_map(|text| Argument::Parameter(None, Datum::Text(text.to_owned())))
            };
            (place(&KNOWN), place(objects), place(&["k", "v", "nothing"]), place(privileges)).prop_map(
                move |(user, object, column, privilege)| {
                    let mut given = match most {
                        2 => vec![user, privilege],
                        3 => vec![user, object, privilege],
                        _ => vec![user, object, column, privilege],
                    };
                    match dice {
                        0..4 => {}
                        4..6 => drop(given.remove(0)),
                        6..9 => given[at % most] = wild[at].clone(),
                        _ => given = wild[..most].to_vec(),
                    }
                    (name, given)
                },
            )
        },
    )
}

/// A query, the types of its parameters, and their values.
fn query(calls: &[(&str, Vec<Argument>)]) -> (String, Vec<Option<SqlType>>, Vec<Datum>) {
    let (mut hints, mut values) = (Vec::new(), Vec::new());
    let mut written = Vec::new();
    for (name, arguments) in calls {
        let mut list = Vec::new();
        for argument in arguments {
            list.push(match argument {
                Argument::Text(text) => format!("'{}'", text.replace('\'', "''")),
                Argument::Number(number) => number.to_string(),
                Argument::Null => "NULL".to_owned(),
                Argument::Parameter(hint, value) => {
                    hints.push(*hint);
                    values.push(value.clone());
                    format!("${}", values.len())
                }
            });
        }
        written.push(format!("{name}({})", list.join(", ")));
    }
    (format!("SELECT {}", written.join(", ")), hints, values)
}

type Outcome = Result<Vec<Vec<Datum>>, (String, String)>;

/// The state of an error, and all that is told of it.
fn told(error: &SqlError) -> (String, String) {
    (error.body.code.as_str().to_owned(), format!("{:?} {:?}", error.body, error.position))
}

async fn executed(
    engine: &Engine,
    session: &mut Session,
    (text, hints, values): &(String, Vec<Option<SqlType>>, Vec<Datum>),
) -> (bool, Outcome) {
    let prepared = match engine.prepare(session, text, hints).await {
        Ok(prepared) => prepared,
        Err(error) => return (false, Err(told(&error))),
    };
    let response = engine.execute(session, &prepared, values).await;
    let rows = response.map(|response| response.rows.unwrap().rows).map_err(|error| told(&error));
    (prepared.is_inquiry(), rows)
}

#[tokio::test]
async fn answers_and_errors_are_those_of_the_row_store() {
    let (_directory, replica, engine, mut root) = engine().await;
    execute(&engine, &mut root, SETUP).await.unwrap();
    let mut amy = replica.session("amy");
    execute(&engine, &mut amy, "SET grantd.read = 'local'").await.unwrap();
    replica.lease(true);
    let mut runner = TestRunner::deterministic();
    let strategy =
        prop_oneof![4 => prop::collection::vec(call(), 1), 1 => prop::collection::vec(call(), 2..4)];
    let mut seen = BTreeMap::<_, usize>::new();
    for _ in 0..QUERIES {
        let fast = query(&strategy.new_tree(&mut runner).unwrap().current());
        // A relation, though it is computed: this is no inquiry.
        let slow = (format!("{} FROM (VALUES (1)) AS v (x)", fast.0), fast.1.clone(), fast.2.clone());
        let (is_inquiry, by_store) = executed(&engine, &mut amy, &slow).await;
        assert!(!is_inquiry);
        let (is_inquiry, without) = executed(&engine, &mut amy, &fast).await;
        assert_eq!(without, by_store, "{fast:?}");
        let kind = match &by_store {
            Ok(rows) => format!("{:?}", rows[0][0]),
            Err((code, _)) => code.clone(),
        };
        *seen.entry((is_inquiry, kind)).or_default() += 1;
        let is_long = fast.2.iter().any(|value| *value == Datum::Text(LONG.to_owned()));
        if is_inquiry && !is_long {
            let prepared = engine.prepare(&amy, &fast.0, &fast.1).await.unwrap();
            let mut answers = Vec::new();
            let at_once =
                engine.answer_at_once(&mut amy, &prepared, &fast.2, &mut answers).expect("it has a lease");
            let row: Vec<_> =
                answers.into_iter().map(|answer| answer.map_or(Datum::Null, Datum::Bool)).collect();
            assert_eq!(at_once.map(|()| vec![row]).map_err(|error| told(&error)), by_store, "{fast:?}");
        }
    }
    // All that can come has come, and much of it.
    for kind in [
        "Bool(true)",
        "Bool(false)",
        "Null",
        "22023",
        "42704",
        "42P01",
        "42703",
        "3F000",
        "3D000",
        "42809",
        "42883",
    ] {
        let count = seen.get(&(true, kind.to_owned())).copied().unwrap_or(0);
        assert!(count >= 20, "{kind}: {count} of {seen:?}");
    }
}

#[tokio::test]
async fn what_is_more_than_inquiries_is_left_to_the_row_store() {
    let (_directory, _replica, engine, mut root) = engine().await;
    execute(&engine, &mut root, SETUP).await.unwrap();
    let is_inquiry = async |text: &str| engine.prepare(&root, text, &[]).await.unwrap().is_inquiry();
    assert!(is_inquiry("SELECT has_table_privilege($1, $2, $3)").await);
    assert!(
        is_inquiry("select pg_catalog.has_table_privilege('t', $1) as a, pg_has_role($2, 'USAGE') b").await
    );
    for text in [
        "SELECT has_table_privilege('t', 'SELECT') FROM t",
        "SELECT has_table_privilege('t', 'SELECT') WHERE true",
        "SELECT has_table_privilege('t', 'SELECT') LIMIT 1",
        "SELECT has_table_privilege('t', 'SELECT') UNION ALL SELECT false",
        "SELECT has_table_privilege('t', 'SELECT'), 1",
        "SELECT NOT has_table_privilege('t', 'SELECT')",
        "SELECT has_table_privilege('t'::regclass, 'SELECT')",
        "SELECT has_table_privilege(current_user, 't', 'SELECT')",
        "EXPLAIN SELECT has_table_privilege('t', 'SELECT')",
        "WITH x AS (SELECT 1) SELECT has_table_privilege('t', 'SELECT')",
        "SELECT f(1)",
        "SELECT now()",
    ] {
        assert!(!is_inquiry(text).await, "{text}");
    }
}

#[tokio::test]
async fn one_round_serves_all_that_have_come_together_and_nothing_that_is_done_between() {
    let (_directory, replica, engine, mut root) = engine().await;
    execute(&engine, &mut root, SETUP).await.unwrap();
    let mut amy = replica.session("amy");
    let prepared = engine.prepare(&amy, "SELECT has_table_privilege($1, 't', 'SELECT')", &[]).await.unwrap();
    let given = [Datum::Text("ben".to_owned())];
    let mut answers = Vec::new();
    replica.rounds();
    // What is newest has to be asked for.
    assert!(engine.answer_at_once(&mut amy, &prepared, &given, &mut answers).is_none());
    engine.execute(&mut amy, &prepared, &given).await.unwrap();
    for _ in 0..127 {
        engine.answer_at_once(&mut amy, &prepared, &given, &mut answers).unwrap().unwrap();
        assert_eq!(answers, [Some(true)]);
    }
    assert_eq!(replica.rounds(), 1);
    // Its own change is seen by what stands behind it.
    execute(&engine, &mut root, "GRANT SELECT ON t TO amy WITH GRANT OPTION; REVOKE SELECT ON t FROM dev")
        .await
        .unwrap();
    engine.run(&mut amy, "SET application_name = 'x'", Place::Alone).await.unwrap();
    assert!(engine.answer_at_once(&mut amy, &prepared, &given, &mut answers).is_none());
    let told = engine.execute(&mut amy, &prepared, &given).await.unwrap().rows.unwrap().rows;
    assert_eq!(told, [[Datum::Bool(false)]]);
    // In a transaction it is part of that, and who is to stop is not answered.
    engine.run(&mut amy, "BEGIN", Place::Alone).await.unwrap();
    assert!(engine.answer_at_once(&mut amy, &prepared, &given, &mut answers).is_none());
    engine.run(&mut amy, "ROLLBACK", Place::Alone).await.unwrap();
    amy.cancelled.raise();
    assert!(engine.answer_at_once(&mut amy, &prepared, &given, &mut answers).is_none());
    assert_eq!(engine.execute(&mut amy, &prepared, &given).await.unwrap_err().body.code.as_str(), "57014");
}

#[tokio::test]
async fn by_its_lease_a_node_answers_at_once_and_without_one_it_asks() {
    let (_directory, replica, engine, mut root) = engine().await;
    execute(&engine, &mut root, SETUP).await.unwrap();
    let mut amy = replica.session("amy");
    let prepared =
        engine.prepare(&amy, "SELECT has_table_privilege('ben', 't', 'SELECT')", &[]).await.unwrap();
    let version = replica.current().version().0;
    for (reading, is_here) in [
        ("local", true),
        (&*format!("at_least({version})"), true),
        (&*format!("at_least({})", version + 9), false),
    ] {
        execute(&engine, &mut amy, &format!("SET grantd.read = '{reading}'")).await.unwrap();
        let mut answers = Vec::new();
        replica.lease(true);
        replica.rounds();
        let at_once = engine.answer_at_once(&mut amy, &prepared, &[], &mut answers);
        assert_eq!(at_once.is_some(), is_here, "{reading}");
        if is_here {
            // What changes among those that came together is seen, and nothing is said when the lease is over.
            let mut answer = || {
                engine
                    .answer_at_once(&mut amy, &prepared, &[], &mut answers)
                    .map(|told| told.map(|()| answers[0]).unwrap())
            };
            assert_eq!(answer(), Some(Some(true)));
            execute(&engine, &mut root, "REVOKE SELECT ON t FROM dev").await.unwrap();
            assert_eq!(answer(), Some(Some(false)));
            execute(&engine, &mut root, "GRANT SELECT ON t TO dev").await.unwrap();
            assert_eq!(answer(), Some(Some(true)));
        }
        replica.rounds();
        replica.lease(false);
        assert!(engine.answer_at_once(&mut amy, &prepared, &[], &mut answers).is_none());
        assert_eq!(replica.rounds(), 0);
        if is_here {
            // Taken away while it asks: it is told what is so then.
            let (other, revoker) = (replica.clone(), engine.clone());
            let revoke = "REVOKE SELECT ON t FROM dev";
            let act =
                async move { drop(revoker.run(&mut other.session("root"), revoke, Place::Alone).await) };
            replica.before_next_round(act.boxed());
            let told = engine.execute(&mut amy, &prepared, &[]).await.unwrap().rows.unwrap().rows;
            assert_eq!(told, [[Datum::Bool(false)]]);
            execute(&engine, &mut root, "GRANT SELECT ON t TO dev").await.unwrap();
        }
    }
}
