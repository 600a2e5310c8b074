//! `grantd check` against a node, and what the node's audit log says afterwards.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

use std::io::Write;
use std::net::{TcpListener, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

/// How long a node may take to start or stop, on a machine that builds something else meanwhile.
const PATIENCE: Duration = Duration::from_secs(60);

/// One node with certificates for root and mia. It is killed when the test ends.
struct Node {
    directory: tempfile::TempDir,
    port: String,
    process: Child,
}

fn grantd(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_grantd"));
    command.args(arguments).env_clear().env("PATH", "/usr/bin:/bin").env("HOME", "/nowhere");
    command.stdin(Stdio::null());
    command
}

/// Exit code, standard output, standard error.
fn ran(mut command: Command) -> (i32, String, String) {
    let output = command.output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < PATIENCE, "waited in vain until {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

impl Node {
    fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let certs = directory.path().join("certs");
        let made = |words: &[&str]| {
            let (code, _, error) = ran(grantd(&[&["cert"], words, &["--certs-dir", text(&certs)]].concat()));
            assert_eq!(code, 0, "{error}");
        };
        made(&["create-ca"]);
        made(&["create-node", "--id", "1", "localhost"]);
        made(&["create-client", "root"]);
        made(&["create-client", "mia"]);
        let data = directory.path().join("n1");
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port().to_string();
        let raft = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
        let sql = format!("127.0.0.1:{port}");
        let start = ["start", "--data-dir", text(&data), "--certs-dir", text(&certs)];
        let listen = ["--listen", &raft, "--sql-listen", &sql];
        let process = grantd(&[&start[..], &listen[..]].concat()).stderr(Stdio::null()).spawn().unwrap();
        let node = Self { directory, port, process };
        until("it can be made a cluster", || ran(grantd(&["init", "--data-dir", text(&data)])).0 == 0);
        until("it answers", || node.sql("root", "SELECT 1").0 == 0);
        node
    }

    fn command(&self, first: &[&str], user: &str) -> Command {
        let certs = self.directory.path().join("certs");
        let target = ["--port", &self.port, "--certs-dir", text(&certs), "--user", user];
        grantd(&[first, &target[..]].concat())
    }

    fn sql(&self, user: &str, statement: &str) -> (i32, String, String) {
        ran(self.command(&["sql", "-e", statement], user))
    }

    fn check(&self, user: &str, words: &[&str]) -> (i32, String, String) {
        ran(self.command(&[&["check"], words].concat(), user))
    }

    /// The questions of a batch.
    fn batch(&self, questions: &str) -> (i32, String, String) {
        let mut command = self.command(&["check", "--batch", "-"], "root");
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        child.stdin.take().unwrap().write_all(questions.as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
    }

    /// Stops it as an operator does; what its audit log says.
    fn stopped(mut self) -> Vec<Value> {
        let pid = self.process.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
        until("it has stopped", || self.process.try_wait().unwrap().is_some());
        let file: PathBuf = self.directory.path().join("n1/audit/audit.jsonl");
        let lines = std::fs::read_to_string(file).unwrap();
        lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

#[test]
fn the_exit_code_is_the_answer_and_the_audit_log_has_what_was_refused_and_changed() {
    let node = Node::start();
    let made = "CREATE USER mia; CREATE USER ben WITH PASSWORD 'right'; CREATE ROLE clerk; GRANT clerk TO mia; \
        CREATE TABLE orders (id INT PRIMARY KEY); GRANT SELECT ON orders TO clerk";
    let (code, _, error) = node.sql("root", made);
    assert_eq!(code, 0, "{error}");
    answers(&node);
    explanations(&node);
    batches(&node);
    about_others(&node);
    let (code, _, _) = node.sql("mia", "SELECT 'a literal' FROM orders WHERE id = 7; DELETE FROM orders");
    assert_eq!(code, 1);
    let mut wrong = node.command(&["sql", "-e", "SELECT 1"], "ben");
    assert_ne!(
        ran({
            wrong.env("PGPASSWORD", "wrong");
            wrong
        })
        .0,
        0
    );
    let (code, _, error) =
        node.sql("root", "BEGIN; REVOKE clerk FROM mia; COMMIT; BEGIN; DROP USER ben; ROLLBACK");
    assert_eq!(code, 0, "{error}");
    recorded(&node.stopped());
}

fn answers(node: &Node) {
    let allowed = (0, "allowed\n".to_owned(), String::new());
    let denied = (1, "denied\n".to_owned(), String::new());
    assert_eq!(node.check("root", &["mia", "select", "orders"]), allowed);
    assert_eq!(node.check("root", &["mia", "SELECT", "ON", "TABLE", "defaultdb.public.orders"]), allowed);
    assert_eq!(node.check("root", &["mia", "DELETE", "orders"]), denied);
    assert_eq!(node.check("root", &["mia", "SELECT", "orders", "--grant-option"]), denied);
    assert_eq!(node.check("root", &["mia", "CONNECT", "DATABASE", "defaultdb", "--linearizable"]), allowed);
    assert_eq!(node.check("root", &["mia", "VIEWACTIVITY", "--at-least", "1"]), denied);
    assert_eq!(node.check("mia", &["mia", "SELECT", "orders"]), allowed);
    for (words, said) in [
        (&["nobody", "SELECT", "orders"][..], "error: role/user \"nobody\" does not exist (42704)"),
        (&["mia", "SELECT", "nothing"], "(42P01)"),
        (&["mia", "EXECUTE", "orders"], "invalid privilege type EXECUTE for table"),
        (&["mia", "SELECT", "orders; DROP TABLE orders --"], "(42601)"),
        (&["mia", "SELECT", "orders FOR root --"], "(42601)"),
    ] {
        let (code, out, error) = node.check("root", words);
        assert_eq!((code, out.as_str()), (2, ""), "{words:?}: {error}");
        assert!(error.contains(said), "{words:?}: {error}");
    }
    assert_eq!(node.sql("root", "SELECT * FROM orders").0, 0, "it is still there");
    let nowhere = grantd(&["check", "mia", "SELECT", "t", "--port", "1", "--certs-dir", "/nowhere"]);
    assert_eq!(ran(nowhere).0, 2);
    assert_eq!(ran(grantd(&["check", "mia"])).0, 2);
}

fn explanations(node: &Node) {
    let (_, out, _) = node.check("root", &["mia", "SELECT", "orders", "--explain"]);
    assert_eq!(out, "allowed\n  GRANT SELECT ON TABLE defaultdb.public.orders TO clerk (mia → clerk)\n");
    let (_, out, _) = node.check("root", &["mia", "DELETE", "orders", "--explain"]);
    assert_eq!(out, "denied\n  missing: GRANT DELETE ON TABLE defaultdb.public.orders TO mia\n");
    let words = ["mia", "SELECT", "orders", "--explain", "--format", "json"];
    let (code, out, _) = node.check("root", &words);
    let answer: Value = serde_json::from_str(&out).unwrap();
    assert_eq!((code, &answer["allowed"]), (0, &Value::from(true)));
    assert!(answer["version"].as_u64().unwrap() > 1);
    assert_eq!(answer["object"], "TABLE defaultdb.public.orders");
    assert_eq!(answer["reasons"][0]["path"], serde_json::json!(["mia", "clerk"]));
    assert_eq!(answer["schema_usable"], true);
}

fn batches(node: &Node) {
    let (code, out, error) = node.batch("# who reads?\nmia SELECT orders\n\nclerk SELECT ON TABLE orders\n");
    let both = "allowed: mia SELECT ON orders\nallowed: clerk SELECT ON TABLE orders\n";
    assert_eq!((code, out.as_str()), (0, both), "{error}");
    assert_eq!(node.batch("mia SELECT orders\nben SELECT orders\n").0, 1);
    let (code, out, error) = node.batch("nobody SELECT orders\nmia\nmia SELECT orders\n");
    assert_eq!((code, out.as_str()), (2, "allowed: mia SELECT ON orders\n"));
    assert!(error.contains("line 1: role/user") && error.contains("line 2: a question is"), "{error}");
}

fn about_others(node: &Node) {
    let (code, out, error) = node.check("mia", &["ben", "SELECT", "orders"]);
    assert_eq!((code, out.as_str()), (2, ""));
    assert!(error.contains("user mia may not ask what others may do (42501)"), "{error}");
    assert!(error.contains("\n help: Whoever holds the system privilege VIEWACTIVITY"), "{error}");
}

fn recorded(lines: &[Value]) {
    let has = |wanted: &[(&str, &str)]| {
        let found = lines.iter().filter(|line| wanted.iter().all(|(name, value)| line[*name] == *value));
        let found: Vec<_> = found.collect();
        assert!(!found.is_empty(), "{wanted:?} in {lines:#?}");
        found[0].clone()
    };
    let denied = "user mia does not have DELETE privilege on relation orders";
    let line = has(&[("kind", "refusal"), ("user", "mia"), ("sqlstate", "42501"), ("message", denied)]);
    assert!(line["session"].is_string() && line["version"].is_u64() && line["node"] == 1, "{line}");
    has(&[("kind", "refusal"), ("message", "user mia may not ask what others may do")]);
    let line = has(&[("kind", "login_refused"), ("user", "ben"), ("sqlstate", "28P01")]);
    assert!(line["client"].is_string(), "{line}");
    has(&[("kind", "change"), ("user", "root"), ("statement", "GRANT"), ("what", "clerk TO mia")]);
    has(&[("statement", "GRANT"), ("what", "SELECT ON TABLE orders TO clerk")]);
    has(&[("statement", "CREATE ROLE"), ("what", "ben PASSWORD")]);
    let line = has(&[("statement", "REVOKE"), ("what", "clerk FROM mia")]);
    assert!(line["version"].as_u64() > Some(1), "{line}");
    let all = format!("{lines:?}");
    for absent in ["a literal", "right", "wrong", "DROP ROLE"] {
        assert!(!all.contains(absent), "{absent} in {lines:#?}");
    }
}
