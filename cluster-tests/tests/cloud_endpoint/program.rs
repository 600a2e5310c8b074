//! Programs of others, with nothing of the caller's environment: what they know is what a test says, and no cloud is reached.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use grantd_cluster_tests::cloud::emulators::Kind;
use grantd_cluster_tests::process::PATIENCE;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

const REQUIRE: &str = "GRANTD_REQUIRE_EMULATORS";

/// The interpreter that has them. None: they are not installed, and a test is left out.
pub fn python(module: &str) -> Option<PathBuf> {
    let python = Kind::Moto.program().with_file_name("python");
    let found = std::process::Command::new(&python).args(["-c", &format!("import {module}")]).output();
    if found.is_ok_and(|output| output.status.success()) {
        return Some(python);
    }
    let text = format!("{module} is not there ({})", python.display());
    assert!(std::env::var_os(REQUIRE).is_none(), "{text}, and {REQUIRE} is set");
    eprintln!("LEFT OUT: {text}");
    None
}

/// A file of ours beside the list of what is installed.
pub fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("emulators").join(name)
}

/// A program with these variables and no others, in a home of its own. What is not on loopback goes to a proxy that there is not.
pub fn command(python: &Path, home: &Path, environment: &[(String, String)]) -> Command {
    let mut command = Command::new(python);
    command.env_clear().env("HOME", home).env("PATH", "/usr/bin:/bin").env("LC_ALL", "C.UTF-8");
    command.env("AWS_EC2_METADATA_DISABLED", "true").env("PYTHONUNBUFFERED", "1");
    for name in ["HTTP_PROXY", "HTTPS_PROXY"] {
        command.env(name, "http://127.0.0.1:9");
    }
    command.env("NO_PROXY", "127.0.0.1,localhost");
    command.envs(environment.iter().map(|(name, value)| (name, value))).kill_on_drop(true);
    command
}

/// One that is told what to do.
pub struct Program {
    _process: Child,
    stdin: ChildStdin,
    answers: Lines<BufReader<ChildStdout>>,
}

impl Program {
    pub fn start(mut command: Command) -> Self {
        let spawned = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
        let mut process = spawned.expect("a program starts");
        let stdin = process.stdin.take().expect("it is piped");
        let answers = BufReader::new(process.stdout.take().expect("it is piped")).lines();
        Self { _process: process, stdin, answers }
    }

    pub async fn tell(&mut self, line: &str) -> Value {
        self.stdin.write_all(format!("{line}\n").as_bytes()).await.expect("it reads");
        let answer = tokio::time::timeout(PATIENCE, self.answers.next_line()).await;
        let answer = answer.expect("it answers in time").expect("it can be read").expect("it goes on");
        serde_json::from_str(&answer).expect("JSON")
    }
}
