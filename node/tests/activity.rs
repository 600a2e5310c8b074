//! Who sees and who stops which session: the rows that each of several users gets.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says where")]

use std::sync::Arc;

use grantd_catalog::command::Actor;
use grantd_catalog::name::{Name, RoleName};
use grantd_node::activity::{Newcomer, Proof, Running};
use grantd_node::error::SqlError;
use grantd_node::session::Session;
use grantd_node::sql::execute::{Engine, Response};
use grantd_node::value::text;

use self::local::Local;

#[allow(dead_code, reason = "other tests use the rest")]
#[path = "sql/local.rs"]
mod local;

struct World {
    _directory: tempfile::TempDir,
    replica: Arc<Local>,
    engine: Engine,
}

impl World {
    async fn new(setup: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let replica = Arc::new(Local::new(directory.path()));
        let engine = Engine::new(replica.clone());
        let world = Self { _directory: directory, replica, engine };
        world.run(&mut world.unlisted("root"), setup).await.unwrap();
        world
    }

    fn unlisted(&self, name: &str) -> Session {
        let id = self.replica.current().state().principal_id(&RoleName::normalize(name)).unwrap();
        Session::new(Actor::of(id), Some(Name::normalize("defaultdb")))
    }

    fn session(&self, name: &str) -> Session {
        let mut session = self.unlisted(name);
        session.application_name = format!("{name}'s tool");
        let newcomer = Newcomer {
            user: RoleName::normalize(name),
            principal: session.actor.session,
            proof: Proof::Certificate,
            client_address: "127.0.0.1:9".to_owned(),
            cancelled: session.cancelled.clone(),
        };
        session.register(self.engine.activity().own(), newcomer);
        session
    }

    async fn run(&self, session: &mut Session, text: &str) -> Result<Vec<Response>, SqlError> {
        let mut responses = Vec::new();
        for statement in self.engine.split(text)? {
            let prepared = self.engine.prepare(session, &statement, &[]).await?;
            responses.push(self.engine.execute(session, &prepared, &[]).await?);
        }
        Ok(responses)
    }

    /// What a statement prints; columns that change from run to run are left out.
    async fn prints(&self, session: &mut Session, statement: &str) -> Vec<String> {
        const VARY: [&str; 5] = ["session_id", "query_id", "session_start", "active_query_start", "start"];
        let response = match self.run(session, statement).await {
            Ok(mut responses) => responses.remove(0),
            Err(error) => return vec![format!("{} {}", error.body.code.as_str(), error.body.message)],
        };
        let Some(rows) = response.rows else { return vec![response.tag] };
        let print = |row: &Vec<_>| {
            let cells = row.iter().zip(&rows.columns);
            let cells = cells.filter(|(_, column)| !VARY.contains(&column.name.as_str()));
            let cells = cells.map(|(datum, _)| text::format(datum).unwrap_or_else(|| "NULL".to_owned()));
            cells.collect::<Vec<_>>().join(" | ")
        };
        rows.rows.iter().map(print).collect()
    }

    /// The number of the first running statement of `user`.
    fn query_of(&self, user: &str) -> String {
        let sessions = self.engine.activity().own().sessions(None).sessions;
        let session = sessions.iter().find(|session| session.user == user && session.running.is_some());
        session.unwrap().running.as_ref().unwrap().id.to_string()
    }
}

fn runs(session: &Session, text: &str) -> Running {
    session.begin(&Arc::from(text)).unwrap()
}

const USERS: &str = "CREATE USER amy; CREATE USER ben; CREATE USER viv VIEWACTIVITY; \
    CREATE ROLE watcher; GRANT SYSTEM VIEWACTIVITYREDACTED TO watcher; \
    CREATE USER red VIEWACTIVITY; GRANT watcher TO red; \
    CREATE USER ada VIEWACTIVITYREDACTED; GRANT admin TO ada; \
    CREATE USER can CANCELQUERY; CREATE ROLE optional VIEWACTIVITY; CREATE USER opt; GRANT optional TO opt";

#[tokio::test]
async fn each_sees_its_own_statements_and_others_only_by_privilege() {
    let world = World::new(USERS).await;
    let (amy, ben) = (world.session("amy"), world.session("ben"));
    let _amys = runs(&amy, "SELECT 'card 4111' FROM t WHERE k = 7");
    let _bens = runs(&ben, "ALTER USER ben PASSWORD 'hunter2'");
    let statement = "SHOW QUERIES";
    let amys = |text: &str| format!("1 | amy | {text} | 127.0.0.1:9 | amy's tool | f | executing");
    let bens = "1 | ben | ALTER USER ben PASSWORD _ | 127.0.0.1:9 | ben's tool | f | executing".to_owned();
    let whole = amys("SELECT 'card 4111' FROM t WHERE k = 7");
    let hidden = amys("SELECT _ FROM t WHERE k = _");
    let expected = [
        // Everything, and never a password.
        ("root", vec![whole.clone(), bens.clone()]),
        ("viv", vec![whole.clone(), bens.clone()]),
        // The option and a role's privilege together: REDACTED wins.
        ("red", vec![hidden, bens.clone()]),
        // An administrator is never redacted.
        ("ada", vec![whole.clone(), bens.clone()]),
        ("amy", vec![whole]),
        ("ben", vec![bens]),
        ("can", vec![]),
        // Options are not inherited.
        ("opt", vec![]),
    ];
    for (user, rows) in expected {
        assert_eq!(world.prints(&mut world.unlisted(user), statement).await, rows, "{user}");
        let local = world.prints(&mut world.unlisted(user), "SHOW ALL LOCAL STATEMENTS").await;
        assert_eq!(local, rows, "{user}");
    }
}

#[tokio::test]
async fn sessions_are_listed_with_the_columns_of_the_original() {
    let world = World::new(USERS).await;
    let (mut amy, viv) = (world.session("amy"), world.session("viv"));
    world.run(&mut amy, "SELECT 1 + 1; SET application_name = 'new'; SELECT 'x'").await.unwrap();
    let _vivs = runs(&viv, "SELECT 2");
    let show = "SHOW CLUSTER SESSIONS";
    let prepared = world.engine.prepare(&amy, show, &[]).await.unwrap();
    let columns: Vec<_> = prepared.columns.unwrap().into_iter().map(|column| column.name).collect();
    let names = "node_id session_id status user_name client_address application_name active_queries \
                 last_active_query session_start active_query_start num_txns_executed";
    assert_eq!(columns.join(" "), names);
    let rows = world.prints(&mut world.unlisted("root"), show).await;
    let amys = "1 | IDLE | amy | 127.0.0.1:9 | new |  | SELECT 'x' | 3";
    let vivs = "1 | ACTIVE | viv | 127.0.0.1:9 | viv's tool | SELECT 2 |  | 0";
    assert_eq!(rows, [amys, vivs]);
    let transactions = world.prints(&mut world.unlisted("root"), "SHOW TRANSACTIONS").await;
    assert!(transactions[0].starts_with("1 | 1") && transactions[0].ends_with("| viv's tool | 1 | 0 | 0"));
    // Its own statement is one of those that run.
    let own = world.prints(&mut amy, "SHOW SESSIONS").await;
    assert_eq!(own, ["1 | ACTIVE | amy | 127.0.0.1:9 | new | SHOW SESSIONS | SELECT 'x' | 3"]);
    let redacted = world.prints(&mut world.unlisted("red"), "SHOW ALL CLUSTER SESSIONS").await;
    assert!(
        redacted[0].contains("| SHOW SESSIONS |") && redacted[1].contains("| SELECT _ |"),
        "{redacted:?}"
    );
}

#[tokio::test]
async fn who_acts_as_another_still_sees_what_it_runs_itself() {
    let world = World::new(USERS).await;
    world.run(&mut world.unlisted("root"), "GRANT ben TO amy").await.unwrap();
    let (mut amy, ben) = (world.session("amy"), world.session("ben"));
    let _bens = runs(&ben, "SELECT 2");
    world.run(&mut amy, "SET ROLE ben").await.unwrap();
    let own = world.prints(&mut amy, "SHOW QUERIES").await;
    assert_eq!(own, ["1 | amy | SHOW QUERIES | 127.0.0.1:9 | amy's tool | f | executing"]);
    assert_eq!(
        world.prints(&mut amy, &format!("CANCEL QUERY '{}'", world.query_of("ben"))).await,
        ["42501 this operation requires CANCELQUERY privilege"]
    );
}

#[tokio::test]
async fn a_statement_is_stopped_by_its_own_user_or_by_privilege() {
    let world = World::new(USERS).await;
    let (amy, ada) = (world.session("amy"), world.session("ada"));
    let (_amys, _adas) = (runs(&amy, "SELECT 1"), runs(&ada, "SELECT 2"));
    let cancel = |user: &str| format!("CANCEL QUERY '{}'", world.query_of(user));
    let as_user = async |user: &str, statement: String| {
        world.prints(&mut world.unlisted(user), &statement).await.remove(0)
    };
    let lacks = "42501 this operation requires CANCELQUERY privilege";
    assert_eq!(as_user("ben", cancel("amy")).await, lacks);
    assert!(!amy.cancelled.is_raised());
    assert_eq!(as_user("can", cancel("amy")).await, "CANCEL QUERIES 1");
    assert!(amy.cancelled.is_raised());
    amy.cancelled.clear();
    assert_eq!(as_user("amy", cancel("amy")).await, "CANCEL QUERIES 1");
    assert!(amy.cancelled.is_raised());
    assert_eq!(as_user("can", cancel("ada")).await, "42501 permission denied to cancel admin session");
    assert!(!ada.cancelled.is_raised());
    assert_eq!(as_user("root", cancel("ada")).await, "CANCEL QUERIES 1");
    assert!(ada.cancelled.is_raised());
}

#[tokio::test]
async fn a_session_is_ended_by_the_same_rules_and_told_why() {
    let world = World::new(USERS).await;
    let (amy, ada) = (world.session("amy"), world.session("ada"));
    let id = |session: &Session| session.registration.as_ref().unwrap().id();
    let as_user = async |user: &str, session: &Session| {
        let statement = format!("CANCEL SESSION '{}'", id(session));
        world.prints(&mut world.unlisted(user), &statement).await.remove(0)
    };
    assert_eq!(as_user("ben", &amy).await, "42501 this operation requires CANCELQUERY privilege");
    assert_eq!(as_user("can", &ada).await, "42501 permission denied to cancel admin session");
    assert!(amy.registration.as_ref().unwrap().end_reason().is_none());
    assert_eq!(as_user("can", &amy).await, "CANCEL SESSIONS 1");
    let reason = amy.registration.as_ref().unwrap().end_reason().unwrap();
    assert_eq!(
        (reason.code.as_str(), reason.message.as_str()),
        ("57P01", "terminating connection due to administrator command")
    );
    assert!(amy.cancelled.is_raised());
    assert!(ada.registration.as_ref().unwrap().end_reason().is_none());
}

#[tokio::test]
async fn what_is_not_there_is_said_or_passed_over() {
    let world = World::new(USERS).await;
    let mut root = world.unlisted("root");
    let missing = format!("{:032x}", (1_u128 << 64) + 1);
    let mut prints = async |statement: String| world.prints(&mut root, &statement).await.remove(0);
    assert_eq!(
        prints(format!("CANCEL QUERY '{missing}'")).await,
        format!("42704 could not cancel query {missing}: query ID {missing} not found")
    );
    assert_eq!(prints(format!("CANCEL QUERY IF EXISTS '{missing}'")).await, "CANCEL QUERIES 1");
    let elsewhere = format!("{:032x}", (1_u128 << 64) + 77);
    assert_eq!(
        prints(format!("CANCEL SESSION '{elsewhere}'")).await,
        format!("42704 could not cancel session {elsewhere}: session ID {elsewhere} not found")
    );
    assert_eq!(prints("CANCEL SESSIONS IF EXISTS VALUES ('1'), ('2')".to_owned()).await, "CANCEL SESSIONS 2");
    assert_eq!(prints("CANCEL SESSION 'no number'".to_owned()).await, "42601 invalid session ID 'no number'");
    assert_eq!(prints("CANCEL QUERIES SELECT '2' WHERE false".to_owned()).await, "CANCEL QUERIES 0");
    assert_eq!(prints("CANCEL QUERIES IF EXISTS SELECT '2'".to_owned()).await, "CANCEL QUERIES 1");
    for wrong in ["SELECT 1", "SELECT '1', '2'"] {
        assert!(prints(format!("CANCEL QUERIES {wrong}")).await.starts_with("42601"), "{wrong}");
    }
    assert_eq!(prints("CANCEL JOB 1".to_owned()).await, "42704 job with ID 1 does not exist");
    assert_eq!(prints("CANCEL QUERIES IF EXISTS '1', '2', '3'".to_owned()).await, "CANCEL QUERIES 3");
    for (many, one) in [("VALUES ", "('1')"), ("", "'1'")] {
        let many = format!("CANCEL QUERIES {many}{}", vec![one; 1_001].join(", "));
        assert!(prints(many).await.starts_with("54000"));
    }
}

#[tokio::test]
async fn the_nodes_are_shown_by_privilege() {
    let world = World::new(USERS).await;
    let denied = world.prints(&mut world.unlisted("amy"), "SHOW CLUSTER NODES").await;
    assert_eq!(denied, ["42501 user amy does not have VIEWCLUSTERMETADATA system privilege"]);
    world.run(&mut world.unlisted("root"), "GRANT SYSTEM VIEWCLUSTERMETADATA TO watcher").await.unwrap();
    for user in ["red", "ada", "root"] {
        // This node is in no cluster.
        let rows = world.prints(&mut world.unlisted(user), "SHOW CLUSTER NODES").await;
        assert_eq!(rows, [""; 0], "{user}");
    }
}

/// Why the session was ended, after the node looked at `now_micros` on its newest view.
fn end_of(world: &World, session: &Session, now_micros: i64) -> Option<String> {
    world.engine.activity().own().end_lost_logins(&world.replica.current(), now_micros);
    let reason = session.registration.as_ref().unwrap().end_reason()?;
    assert_eq!(reason.code.as_str(), "57P01");
    Some(reason.message.clone())
}

#[tokio::test]
async fn a_session_whose_role_may_not_log_in_any_more_ends_only_if_the_setting_says_so() {
    let world =
        World::new("CREATE USER amy; CREATE USER ben; CREATE USER cat; CREATE ROLE quiet; CREATE USER dan")
            .await;
    let sessions = ["amy", "ben", "cat", "dan", "root"].map(|name| world.session(name));
    let [amy, ben, cat, dan, root] = &sessions;
    let admin = &mut world.unlisted("root");
    world
        .run(
            admin,
            "DROP USER amy; ALTER USER ben NOLOGIN; GRANT SYSTEM NOSQLLOGIN TO quiet; GRANT quiet TO cat",
        )
        .await
        .unwrap();
    for session in &sessions {
        assert_eq!(end_of(&world, session, 0), None, "the default leaves sessions alone");
    }
    let on = "SET CLUSTER SETTING sql.auth.end_sessions_on_login_loss.enabled = true";
    world.run(admin, on).await.unwrap();
    assert_eq!(end_of(&world, amy, 0).unwrap(), "terminating connection: role amy was dropped");
    assert_eq!(end_of(&world, ben, 0).unwrap(), "terminating connection: ben does not have login privilege");
    assert_eq!(end_of(&world, cat, 0).unwrap(), "terminating connection: cat does not have login privilege");
    assert_eq!(end_of(&world, dan, 0), None);
    assert_eq!(end_of(&world, root, 0), None);
}

#[tokio::test]
async fn an_expired_password_ends_the_sessions_that_began_with_it() {
    let world = World::new(
        "CREATE USER amy VALID UNTIL '2030-01-01'; \
         SET CLUSTER SETTING sql.auth.end_sessions_on_login_loss.enabled = true",
    )
    .await;
    let certified = world.session("amy");
    let mut by_password = world.unlisted("amy");
    let newcomer = Newcomer {
        user: RoleName::normalize("amy"),
        principal: by_password.actor.session,
        proof: Proof::Password,
        client_address: String::new(),
        cancelled: by_password.cancelled.clone(),
    };
    by_password.register(world.engine.activity().own(), newcomer);
    const YEAR_2030_MICROS: i64 = 1_893_456_000_000_000;
    assert_eq!(end_of(&world, &by_password, YEAR_2030_MICROS - 1), None);
    let expired = "terminating connection: the password of role amy has expired";
    assert_eq!(end_of(&world, &by_password, YEAR_2030_MICROS + 1).unwrap(), expired);
    assert_eq!(end_of(&world, &certified, YEAR_2030_MICROS + 1), None);
}

#[tokio::test]
async fn the_tables_of_activity_show_what_the_statements_show() {
    let world = World::new(USERS).await;
    let amy = world.session("amy");
    let _amys = runs(&amy, "SELECT 'x'");
    let query = "SELECT user_name, query FROM crdb_internal.cluster_queries";
    assert_eq!(world.prints(&mut world.unlisted("root"), query).await, ["amy | SELECT 'x'"]);
    assert_eq!(world.prints(&mut world.unlisted("red"), query).await, ["amy | SELECT _"]);
    let denied = |user: &str| {
        format!("42501 user {user} does not have VIEWACTIVITY or VIEWACTIVITYREDACTED privilege")
    };
    for table in ["node_queries", "node_statement_statistics"] {
        let read = format!("SELECT count(*) FROM crdb_internal.{table}");
        // Options are not inherited.
        assert_eq!(world.prints(&mut world.unlisted("opt"), &read).await, [denied("opt")], "{table}");
    }
    let cancel = "CANCEL QUERIES SELECT query_id FROM crdb_internal.cluster_queries WHERE user_name = 'amy'";
    assert_eq!(world.prints(&mut world.unlisted("root"), cancel).await, ["CANCEL QUERIES 1"]);
    assert!(amy.cancelled.is_raised());
}

#[tokio::test]
async fn an_open_block_is_listed_while_its_session_says_nothing() {
    let world = World::new(USERS).await;
    let mut amy = world.session("amy");
    let list = "SHOW LOCAL TRANSACTIONS";
    assert_eq!(world.prints(&mut world.unlisted("root"), list).await.len(), 0);
    for text in ["BEGIN", "SET application_name = 'mine'"] {
        world.prints(&mut amy, text).await;
        amy.describe();
    }
    let shown = world.prints(&mut world.unlisted("root"), list).await;
    assert_eq!(shown.len(), 1, "{shown:?}");
    assert!(shown[0].ends_with("| mine | 2 | 0 | 0"), "{shown:?}");
    for (user, count) in [("root", 1), ("amy", 1), ("ben", 0)] {
        let table = "SELECT node_id, application_name, num_stmts, num_retries, start <= clock_timestamp() \
                     FROM crdb_internal.cluster_transactions \
                     WHERE session_id = (SELECT session_id FROM crdb_internal.node_sessions \
                     WHERE application_name = 'mine')";
        let shown = world.prints(&mut world.unlisted(user), table).await;
        assert_eq!(shown, vec!["1 | mine | 2 | 0 | t"; count], "{user}");
    }
    world.prints(&mut amy, "ROLLBACK").await;
    amy.describe();
    assert_eq!(world.prints(&mut world.unlisted("root"), list).await.len(), 0);
}
