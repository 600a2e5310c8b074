//! The authorization specification's rows of behaviour and its traps, by number, with exact texts.
//!
//! The same scripts run twice: against planner, catalog and row store in this process, in milliseconds, and against
//! three nodes through a driver that sends each statement to another node than the one before.
//! `UPDATE_SQL_SCRIPTS=1 cargo test -p grantd-cluster-tests --test acceptance planner` writes what the first prints.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use grantd_catalog::command::Actor;
use grantd_catalog::name::{Name, RoleName};
use grantd_cluster_tests::script::{self, Backend, Case};
use grantd_node::cert;
use grantd_node::demo::cluster::{Cluster, NODES};
use grantd_node::error::SqlError;
use grantd_node::pgclient::{self, ConnectError, Login};
use grantd_node::secret::Secret;
use grantd_node::session::Session;
use grantd_node::sql::execute::{Engine, Response};
use grantd_node::sql::system::variable;
use grantd_node::value::text;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_postgres::{Client, SimpleQueryMessage};

use self::local::Local;

#[path = "../../node/tests/sql/local.rs"]
#[allow(dead_code, clippy::unwrap_used, reason = "shared with the tests of node, which use the rest")]
mod local;

/// How many clusters run at a time: they wait more than they work.
const CLUSTERS: usize = 4;

fn scripts() -> Vec<PathBuf> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/acceptance");
    let mut paths: Vec<_> = std::fs::read_dir(directory)
        .expect("the scripts")
        .map(|entry| entry.expect("a file").path())
        .collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "txt"));
    paths.sort();
    paths
}

/// The planner, catalog and row store of one node in this process.
struct Planner {
    _directory: tempfile::TempDir,
    replica: Arc<Local>,
    engine: Engine,
    sessions: BTreeMap<String, Session>,
    database: String,
}

impl Planner {
    fn new() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let replica = Arc::new(Local::new(directory.path()));
        let engine = Engine::new(replica.clone());
        let database = "defaultdb".to_owned();
        Self { _directory: directory, replica, engine, sessions: BTreeMap::new(), database }
    }

    fn new_session(&self, user: &str, database: &str) -> Session {
        let view = self.replica.current();
        let id = view.state().principal_id(&RoleName::normalize(user)).expect("the user exists");
        let mut session = Session::new(Actor::of(id), Some(Name::normalize(database)));
        variable::begin(&mut session, &view);
        session
    }

    async fn execute(&mut self, user: &str, text: &str) -> Result<Vec<Response>, SqlError> {
        if !self.sessions.contains_key(user) {
            let session = self.new_session(user, &self.database);
            self.sessions.insert(user.to_owned(), session);
        }
        let session = self.sessions.get_mut(user).expect("put in above");
        let mut responses = Vec::new();
        for statement in self.engine.split(text)? {
            let prepared = self.engine.prepare(session, &statement, &[]).await?;
            responses.push(self.engine.execute(session, &prepared, &[]).await?);
        }
        Ok(responses)
    }
}

impl Backend for Planner {
    async fn statement(&mut self, user: &str, text: &str) -> String {
        let responses = match self.execute(user, text).await {
            Ok(responses) => responses,
            Err(SqlError { body, .. }) => {
                let (detail, hint) = (body.detail.as_deref(), body.hint.as_deref());
                return script::print_error(body.code.as_str(), &body.message, detail, hint);
            }
        };
        let rows = responses.iter().filter_map(|response| response.rows.as_ref()).map(|rows| {
            let columns: Vec<_> = rows.columns.iter().map(|column| column.name.clone()).collect();
            let cells: Vec<Vec<_>> =
                rows.rows.iter().map(|row| row.iter().map(text::format).collect()).collect();
            script::print_rows(&columns, &cells)
        });
        let printed: String = rows.collect();
        if printed.is_empty() { "ok\n".to_owned() } else { printed }
    }

    async fn session(&mut self, user: &str, database: &str) {
        let session = self.new_session(user, database);
        self.sessions.insert(user.to_owned(), session);
    }

    async fn use_database(&mut self, database: &str) {
        database.clone_into(&mut self.database);
        self.sessions.clear();
    }

    async fn login(&mut self, user: &str) -> String {
        let view = self.replica.current();
        let Some(id) = view.state().principal_id(&RoleName::normalize(user)) else {
            return script::print_error(
                "28P01",
                &format!("password authentication failed for user {user}"),
                None,
                None,
            );
        };
        match view.state().may_log_in(id) {
            Ok(()) => "ok\n".to_owned(),
            Err(refusal) => script::print_error(refusal.code.as_str(), &refusal.message, None, None),
        }
    }
}

/// Three nodes, and for each user a connection to each of them.
struct Nodes {
    cluster: Cluster,
    connections: BTreeMap<String, Vec<Client>>,
    database: String,
    turn: usize,
}

impl Nodes {
    async fn start() -> Self {
        let cluster = Cluster::start(None).await.expect("three nodes");
        Self { cluster, connections: BTreeMap::new(), database: "defaultdb".to_owned(), turn: 0 }
    }

    fn to(&self, node: u64, user: &str, database: &str) -> Login {
        let certs = self.cluster.target(node, "root").certs_dir;
        let files = (certs.join(format!("client.{user}.crt")), certs.join(format!("client.{user}.key")));
        if !files.0.exists() {
            let options = cert::Options { days: 2, overwrite: false };
            cert::create_client(&certs, &certs, user, &options).expect("a client certificate");
        }
        let login = self.cluster.target(node, "root").login();
        Login { user: user.to_owned(), database: database.to_owned(), certificate: Some(files), ..login }
    }

    async fn connect(&mut self, user: &str, database: &str) -> Result<(), ConnectError> {
        let mut clients = Vec::new();
        for node in 1..=NODES {
            clients.push(pgclient::connect(&self.to(node, user, database)).await?);
        }
        self.connections.insert(user.to_owned(), clients);
        Ok(())
    }
}

/// Whether a statement changes the session that it runs in: then it runs in all of the user's sessions.
fn is_of_the_session(text: &str) -> bool {
    let upper = text.to_ascii_uppercase();
    let first = upper.split_whitespace().next().unwrap_or_default();
    matches!(first, "SET" | "RESET" | "USE" | "DISCARD") && !upper.contains("CLUSTER SETTING")
}

impl Backend for Nodes {
    async fn statement(&mut self, user: &str, text: &str) -> String {
        if !self.connections.contains_key(user) {
            let database = self.database.clone();
            self.connect(user, &database).await.expect("a connection");
        }
        self.turn += 1;
        let clients = &self.connections[user];
        let chosen: Vec<_> = if is_of_the_session(text) {
            clients.iter().collect()
        } else {
            vec![&clients[self.turn % clients.len()]]
        };
        let mut all = BTreeSet::new();
        for client in chosen {
            all.insert(printed(client.simple_query(text).await));
        }
        let printed: Vec<_> = all.into_iter().collect();
        printed.join("on another node:\n")
    }

    async fn session(&mut self, user: &str, database: &str) {
        self.connect(user, database).await.expect("a connection");
    }

    async fn use_database(&mut self, database: &str) {
        database.clone_into(&mut self.database);
        self.connections.clear();
    }

    async fn login(&mut self, user: &str) -> String {
        self.turn += 1;
        let node = 1 + self.turn as u64 % NODES;
        // Who is not there is asked for a password, like everybody whose certificate does not help.
        let password = Some(Secret::new("a guess".to_owned()));
        let login = Login { password, ..self.to(node, user, "defaultdb") };
        match pgclient::connect(&login).await {
            Ok(_) => "ok\n".to_owned(),
            Err(ConnectError::Postgres { source, .. }) => printed(Err(*source)),
            Err(other) => panic!("{other}"),
        }
    }
}

fn printed(answer: Result<Vec<SimpleQueryMessage>, tokio_postgres::Error>) -> String {
    let messages = match answer {
        Ok(messages) => messages,
        Err(error) => {
            let error = error.as_db_error().unwrap_or_else(|| panic!("no answer of a server: {error}"));
            return script::print_error(error.code().code(), error.message(), error.detail(), error.hint());
        }
    };
    let mut out = String::new();
    let mut columns: Option<Vec<String>> = None;
    let mut rows = Vec::new();
    for message in messages {
        match message {
            SimpleQueryMessage::RowDescription(described) => {
                columns = Some(described.iter().map(|column| column.name().to_owned()).collect());
            }
            SimpleQueryMessage::Row(row) => {
                rows.push((0..row.len()).map(|at| row.get(at).map(str::to_owned)).collect());
            }
            SimpleQueryMessage::CommandComplete(_) => {
                if let Some(columns) = columns.take() {
                    out.push_str(&script::print_rows(&columns, &std::mem::take(&mut rows)));
                }
            }
            _ => {}
        }
    }
    if out.is_empty() { "ok\n".to_owned() } else { out }
}

/// The lines in which two texts differ first.
fn difference(what: &str, expected: &str, found: &str) -> Option<String> {
    if expected == found {
        return None;
    }
    let lines = expected.lines().zip(found.lines()).enumerate();
    let first = lines.into_iter().find(|(_, (expected, found))| expected != found);
    Some(match first {
        Some((at, (expected, found))) => {
            format!("{what}, line {}\n  says   {expected}\n  prints {found}", at + 1)
        }
        None => format!("{what}: one ends before the other"),
    })
}

#[tokio::test]
async fn the_planner_prints_what_the_scripts_say() {
    let update = std::env::var_os("UPDATE_SQL_SCRIPTS").is_some();
    let mut wrong = Vec::new();
    for path in scripts() {
        let expected = std::fs::read_to_string(&path).expect("a script");
        let script = script::parse(&expected);
        let mut found: String = script.head.iter().map(|line| format!("{line}\n")).collect();
        for case in &script.cases {
            found.push_str(&script::run(case, &mut Planner::new()).await);
        }
        if update {
            std::fs::write(&path, &found).expect("the script can be written");
        } else {
            wrong.extend(difference(&path.display().to_string(), &expected, &found));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Each statement goes to another node than the one before it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_nodes_print_what_the_scripts_say() {
    let places = Arc::new(Semaphore::new(CLUSTERS));
    let mut running = JoinSet::new();
    for path in scripts() {
        let expected = std::fs::read_to_string(&path).expect("a script");
        let script = script::parse(&expected);
        for (case, expected) in script.cases.into_iter().zip(case_texts(&expected)) {
            let (places, path) = (Arc::clone(&places), path.clone());
            running.spawn(async move {
                let _place = places.acquire().await.expect("not closed");
                let mut nodes = Nodes::start().await;
                let found = script::run(&case, &mut nodes).await;
                nodes.connections.clear();
                nodes.cluster.stop().await;
                difference(&format!("{}, case {}", path.display(), case.title), &expected, &found)
            });
        }
    }
    let mut wrong = Vec::new();
    while let Some(done) = running.join_next().await {
        wrong.extend(done.expect("no panic"));
    }
    assert!(wrong.is_empty(), "{} cases differ\n{}", wrong.len(), wrong.join("\n"));
}

/// The text of each case as it stands in the file.
fn case_texts(text: &str) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    for line in text.lines() {
        if line.starts_with("case ") {
            found.push(String::new());
        }
        if let Some(case) = found.last_mut() {
            case.push_str(line);
            case.push('\n');
        }
    }
    found
}

/// The numbered rows of the specification's section J.
const ROWS: &[(&str, &[u32])] = &[
    (
        "J.1",
        &[
            1, 2, 4, 5, 7, 8, 10, 11, 13, 14, 16, 17, 19, 20, 22, 23, 25, 26, 27, 28, 29, 31, 32, 33, 34, 35,
            37, 38, 40, 41, 43, 44, 46, 47, 49, 50, 52, 53,
        ],
    ),
    ("J.2", &[55, 56, 58, 59, 61, 62, 63, 64, 65, 67, 68, 70, 71, 72, 73, 74, 76, 77, 79, 80, 82, 83]),
    (
        "J.3",
        &[
            85, 86, 88, 89, 90, 91, 92, 94, 95, 97, 98, 100, 101, 102, 103, 104, 106, 107, 109, 110, 112,
            113, 115, 116, 118, 119, 121, 122, 124, 125, 127, 128, 130, 131, 133, 134, 136, 137, 138, 139,
            140, 142, 143, 145,
        ],
    ),
    ("J.4", &[146, 148, 149, 151, 152, 154, 155, 157, 158, 160, 161]),
    (
        "J.5",
        &[
            163, 164, 166, 167, 169, 170, 172, 173, 175, 176, 178, 179, 181, 182, 184, 185, 186, 187, 188,
            190, 191,
        ],
    ),
    ("J.6", &[193, 194, 196, 197, 199, 200, 202, 203, 205, 206, 208, 209]),
    ("J.7", &[211, 212, 214, 215, 217, 218, 220, 221, 223, 224, 226, 227, 229, 230]),
];

/// Traps of section K: T-1 to this.
const TRAPS: u32 = 28;

/// Rows and traps that no script shows, and why.
const EXEMPT: &[(&str, &str)] =
    &[("T-24", "a script has no place for a backup: cluster-tests/tests/backup_jobs.rs shows it")];

#[test]
fn every_row_and_trap_of_the_specification_is_in_a_script() {
    let mut named = BTreeSet::new();
    for path in scripts() {
        let script = script::parse(&std::fs::read_to_string(&path).expect("a script"));
        named.extend(script.cases.iter().flat_map(|case: &Case| script::labels(&case.title)));
    }
    let rows = ROWS.iter().flat_map(|(section, rows)| rows.iter().map(move |row| format!("{section}/{row}")));
    let all: BTreeSet<_> = rows.chain((1..=TRAPS).map(|trap| format!("T-{trap}"))).collect();
    let exempt: BTreeSet<_> = EXEMPT.iter().map(|(label, _)| (*label).to_owned()).collect();
    let missing: Vec<_> = all.difference(&named).filter(|label| !exempt.contains(*label)).collect();
    assert!(missing.is_empty(), "no script shows {missing:?}");
    let stale: Vec<_> =
        exempt.iter().filter(|label| named.contains(*label) || !all.contains(*label)).collect();
    assert!(stale.is_empty(), "exempt, but shown or no row: {stale:?}");
    let unknown: Vec<_> =
        named.iter().filter(|label| label.starts_with(['J', 'T']) && !all.contains(*label)).collect();
    assert!(unknown.is_empty(), "no row of the specification: {unknown:?}");
}
