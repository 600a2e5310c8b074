//! The binary from outside: what it prints, what it exits with, and what it says when something is wrong.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

use std::net::{TcpListener, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

/// How long a node may take to start or stop, on a machine that builds something else meanwhile.
const PATIENCE: Duration = Duration::from_secs(30);

fn grantd(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_grantd"));
    command.args(arguments).env_clear().env("PATH", "/usr/bin:/bin").stdin(Stdio::null());
    command
}

fn run(arguments: &[&str]) -> Output {
    grantd(arguments).output().unwrap()
}

/// Runs what must fail, and gives its exit code and what it says.
fn refused(arguments: &[&str]) -> (i32, String) {
    let output = run(arguments);
    assert!(output.stdout.is_empty(), "{}", String::from_utf8_lossy(&output.stdout));
    (output.status.code().unwrap(), String::from_utf8(output.stderr).unwrap())
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// Two nodes' certificates of one CA, and a stranger's of another.
struct Files {
    directory: tempfile::TempDir,
}

impl Files {
    fn new() -> Self {
        let files = Self { directory: tempfile::tempdir().unwrap() };
        for (ca, node, id) in [("ca", "certs-1", "1"), ("ca", "certs-2", "2"), ("other", "certs-9", "9")] {
            let (ca, node) = (files.path(ca), files.path(node));
            if !ca.exists() {
                assert!(run(&["cert", "create-ca", "--certs-dir", text(&ca)]).status.success());
            }
            let made = run(&[
                "cert",
                "create-node",
                "--id",
                id,
                "--ca-dir",
                text(&ca),
                "--certs-dir",
                text(&node),
                "localhost",
            ]);
            assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        }
        files
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn start(&self, data: &str, certs: &str, more: &[&str]) -> Vec<String> {
        let own = ["start", "--data-dir", text(&self.path(data)), "--certs-dir", text(&self.path(certs))]
            .map(str::to_owned);
        let ports = [
            "--listen".to_owned(),
            UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string(),
            "--sql-listen".to_owned(),
            "127.0.0.1:0".to_owned(),
        ];
        own.into_iter().chain(ports).chain(more.iter().map(|word| (*word).to_owned())).collect()
    }
}

/// A node that is killed when the test ends.
struct Running(Child);

impl Running {
    fn start(files: &Files, data: &str, certs: &str) -> Self {
        let arguments = files.start(data, certs, &[]);
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let node = Self(grantd(&arguments).stderr(Stdio::null()).spawn().unwrap());
        let directory = files.path(data);
        until("the node answers", || {
            run(&["node", "status", "--data-dir", text(&directory)]).status.success()
        });
        node
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < PATIENCE, "waited in vain until {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_flag_that_is_not_there_is_wrong_usage() {
    let (code, error) = refused(&["start", "--frobnicate"]);
    assert_eq!(code, 2);
    assert!(error.contains("unexpected argument '--frobnicate'"), "{error}");
}

#[test]
fn an_unknown_key_in_the_file_is_wrong_usage() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("grantd.toml");
    std::fs::write(&file, "listn = '127.0.0.1:1'\n").unwrap();
    let (code, error) = refused(&["start", "--config", text(&file)]);
    assert_eq!(code, 2);
    assert!(error.starts_with(&format!("error: unknown key `listn` in `{}`\n", file.display())), "{error}");
}

#[test]
fn asking_where_no_node_runs_is_unreachable() {
    let directory = tempfile::tempdir().unwrap();
    let (code, error) = refused(&["node", "status", "--data-dir", text(directory.path())]);
    assert_eq!(code, 3);
    assert!(error.starts_with("error: no node runs in"), "{error}");
    assert!(error.contains("\n help: start it with `grantd start`"), "{error}");
}

#[test]
fn completions_and_version_are_printed() {
    let script = run(&["completions", "bash"]);
    assert!(script.status.success() && String::from_utf8_lossy(&script.stdout).contains("_grantd()"));
    let version = run(&["version"]);
    assert_eq!(String::from_utf8_lossy(&version.stdout), format!("grantd {}\n", env!("CARGO_PKG_VERSION")));
}

#[test]
fn certificates_are_listed_with_what_they_are_for() {
    let files = Files::new();
    let listed = run(&["cert", "list", "--certs-dir", text(&files.path("certs-2"))]);
    let listed = String::from_utf8(listed.stdout).unwrap();
    assert!(listed.contains("node.crt  node 2  node-2.grantd.internal localhost"), "{listed}");
    assert!(!files.path("certs-2").join("ca.key").exists(), "the CA's key stays where it was made");
}

#[test]
fn a_node_without_certificates_says_how_to_make_them() {
    let files = Files::new();
    let arguments = files.start("n1", "nowhere", &[]);
    let (code, error) = refused(&arguments.iter().map(String::as_str).collect::<Vec<_>>());
    assert_eq!(code, 1);
    assert!(error.contains("nowhere/node.crt`") && error.contains("grantd cert create-node"), "{error}");
}

#[test]
fn a_port_in_use_is_named() {
    let files = Files::new();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let arguments = files.start("n1", "certs-1", &[]);
    let mut arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    *arguments.last_mut().unwrap() = &address;
    let (code, error) = refused(&arguments);
    assert_eq!(code, 1);
    assert!(
        error.starts_with(&format!("error: cannot listen on {address} for SQL clients\ncause: ")),
        "{error}"
    );
}

#[test]
fn a_node_waits_becomes_a_cluster_and_stops_when_told() {
    let files = Files::new();
    let mut node = Running::start(&files, "n1", "certs-1");
    let directory = files.path("n1");
    let status =
        |format: &str| run(&["node", "status", "--data-dir", text(&directory), "--format", format]).stdout;
    let waiting = String::from_utf8(status("table")).unwrap();
    assert!(waiting.contains("none yet; `grantd init`"), "{waiting}");
    assert!(run(&["init", "--data-dir", text(&directory)]).status.success());
    until("it leads", || String::from_utf8_lossy(&status("json")).contains("\"server_state\": \"leader\""));
    let (code, error) = refused(&["init", "--data-dir", text(&directory)]);
    assert_eq!(code, 1);
    assert!(error.contains("node 1 is in cluster"), "{error}");
    let (code, error) = refused(&["node", "remove", "7", "--data-dir", text(&directory)]);
    assert_eq!(code, 1);
    assert!(error.contains('7'), "{error}");
    let pid = node.0.id().to_string();
    assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
    until("it has stopped", || node.0.try_wait().unwrap().is_some());
    assert!(node.0.wait().unwrap().success(), "SIGTERM is a normal end");
    assert!(!directory.join("admin.sock").exists());
}

#[test]
fn a_directory_belongs_to_one_node_and_to_one_process() {
    let files = Files::new();
    let node = Running::start(&files, "n1", "certs-1");
    let again = files.start("n1", "certs-1", &[]);
    let (code, error) = refused(&again.iter().map(String::as_str).collect::<Vec<_>>());
    assert_eq!(code, 1);
    assert!(error.contains("in use by another process"), "{error}");
    drop(node);
    let other = files.start("n1", "certs-2", &[]);
    let (code, error) = refused(&other.iter().map(String::as_str).collect::<Vec<_>>());
    assert_eq!(code, 1);
    assert!(error.contains("is the data directory of node 1, and this is node 2"), "{error}");
}
