//! A bucket of MiniStack, an emulator of AWS by others that checks signatures, trust, policies and expiry, behind a chain of three
//! roles. It is written in Python and keeps all in memory: [`Bucket::plain_mib_a_second`] is what it takes by itself.

use std::fs::File;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

use super::MIB;

type Failed = Box<dyn std::error::Error>;

const SET_UP: &str = include_str!("ministack.py");
const BUCKET: &str = "bench";
const ACCOUNT: &str = "111122223333";
/// Until it answers: three seconds on a machine with nothing else to do.
const START_MAX: Duration = Duration::from_secs(60);
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// The bucket, gone with its emulator when this is dropped.
pub(super) struct Bucket {
    endpoint: String,
    process: Child,
    said: Value,
    _home: TempDir,
}

/// Where the emulator is, as `.ci/run` installs it; none: it is not.
pub(super) fn program() -> Option<PathBuf> {
    let usual = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/emulators/bin/ministack");
    Some(std::env::var_os("GRANTD_MINISTACK").map_or_else(usual, PathBuf::from)).filter(|path| path.exists())
}

impl Bucket {
    /// Starts the emulator, and makes bucket, user and roles.
    pub(super) fn start(program: &Path) -> Result<Self, Failed> {
        let home = tempfile::Builder::new().prefix("grantd-bench-").tempdir()?;
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
        let log = File::create(home.path().join("log"))?;
        let place = home.path().to_owned();
        let isolated = |program: &Path| {
            let mut command = Command::new(program);
            // Nothing of the caller's cloud.
            command.env_clear().env("HOME", &place).env("PATH", "/usr/bin:/bin").env("LC_ALL", "C.UTF-8");
            command.env("AWS_EC2_METADATA_DISABLED", "true").current_dir(&place).stdin(Stdio::null());
            command
        };
        let process = isolated(program)
            .envs([("AUTH", "true"), ("BIND_HOST", "127.0.0.1"), ("LOG_LEVEL", "WARNING")])
            .env("GATEWAY_PORT", port.to_string())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()?;
        let endpoint = format!("http://127.0.0.1:{port}");
        let mut bucket = Self { endpoint, process, said: Value::Null, _home: home };
        let deadline = Instant::now() + START_MAX;
        while TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err() {
            if Instant::now() > deadline || bucket.process.try_wait()?.is_some() {
                return Err("MiniStack did not start".into());
            }
            std::thread::sleep(LOOK_AGAIN);
        }
        let made = isolated(&program.with_file_name("python"))
            .args(["-c", SET_UP, &bucket.endpoint, BUCKET, ACCOUNT])
            .output()?;
        if !made.status.success() {
            return Err(format!("MiniStack: {}", String::from_utf8_lossy(&made.stderr)).into());
        }
        bucket.said = serde_json::from_slice(&made.stdout)?;
        Ok(bucket)
    }

    /// What it takes in puts of 8 MiB, one after the other, of a client that does nothing else.
    pub(super) fn plain_mib_a_second(&self) -> f64 {
        let number = |name: &str| self.said[name].as_f64().unwrap_or_default();
        number("put_bytes") / MIB / number("put_seconds")
    }

    /// A place in it.
    pub(super) fn uri(&self, path: &str) -> String {
        let roles: Vec<_> =
            self.said["roles"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        format!(
            "s3://{BUCKET}/{path}?AUTH=implicit&AWS_REGION=us-east-1&AWS_ENDPOINT={}&ASSUME_ROLE={}",
            self.endpoint,
            roles.join(",")
        )
    }

    /// What makes a node the user that begins the chain: arguments, and its environment.
    pub(super) fn node(&self) -> (Vec<String>, Vec<(String, String)>) {
        let arguments = [
            "--aws-source",
            "environment",
            "--aws-sts-endpoint",
            &self.endpoint,
            "--aws-region",
            "us-east-1",
        ];
        let key = |name: &str| self.said[name].as_str().unwrap_or_default().to_owned();
        let environment = [
            ("AWS_ACCESS_KEY_ID", key("access_key_id")),
            ("AWS_SECRET_ACCESS_KEY", key("secret_access_key")),
            ("AWS_EC2_METADATA_DISABLED", "true".to_owned()),
            ("HOME", "/nonexistent".to_owned()),
        ];
        (
            arguments.map(str::to_owned).into(),
            environment.map(|(name, value)| (name.to_owned(), value)).into(),
        )
    }
}

impl Drop for Bucket {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
