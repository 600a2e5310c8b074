//! Debian's PostgreSQL in a temporary directory: what others compare grantd with.
//!
//! Where it is missing, a test says so and is left out; `GRANTD_REQUIRE_POSTGRES`, which `.ci/run` sets, makes that an
//! error. It never runs as root, so root starts it as the user that Debian's package made.

use std::fs::File;
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;
use tokio_postgres::{Client, Config, NoTls};

use crate::process::PATIENCE;

const REQUIRE: &str = "GRANTD_REQUIRE_POSTGRES";
/// Where Debian's package puts the programs of the release that answers are compared with.
const PROGRAMS: &str = "/usr/lib/postgresql/15/bin";
/// The user of Debian's package, and of the database.
const USER: &str = "postgres";
/// Its socket is in its own directory, so that the number is nobody else's.
const PORT: u16 = 5432;
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// One server. Dropping it ends it.
pub struct Postgres {
    directory: TempDir,
    server: Child,
}

impl Postgres {
    /// Starts an empty one, without syncs, in UTC, with texts in the order of their bytes. None: it is not installed.
    pub async fn start() -> Option<Self> {
        if !Path::new(PROGRAMS).join("initdb").exists() {
            assert!(std::env::var_os(REQUIRE).is_none(), "no PostgreSQL in {PROGRAMS}, and {REQUIRE} is set");
            eprintln!("LEFT OUT: nothing is compared, for there is no PostgreSQL in {PROGRAMS}");
            return None;
        }
        let directory =
            tempfile::Builder::new().prefix("postgres-").tempdir().expect("a temporary directory");
        let data = directory.path().join("data");
        if is_root() {
            chown(directory.path(), Some(id_of("-u")), Some(id_of("-g"))).expect("a directory of its own");
        }
        let made = program("initdb")
            .args([
                "--username",
                USER,
                "--auth",
                "trust",
                "--locale",
                "C",
                "--lc-ctype",
                "C.UTF-8",
                "--encoding",
                "UTF8",
                "--no-sync",
                "-D",
            ])
            .arg(&data)
            .current_dir(directory.path())
            .output()
            .expect("initdb runs");
        assert!(made.status.success(), "initdb: {}", String::from_utf8_lossy(&made.stderr));
        let log = File::create(directory.path().join("log")).expect("a log file");
        let server = program("postgres")
            .arg("-D")
            .arg(&data)
            .arg("-k")
            .arg(directory.path())
            .args(["-p", &PORT.to_string(), "-c", "listen_addresses=", "-c", "fsync=off"])
            .args(["-c", "timezone=UTC", "-c", "autovacuum=off", "-c", "jit=off"])
            .current_dir(directory.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("postgres starts");
        let postgres = Self { directory, server };
        let deadline = Instant::now() + PATIENCE;
        while postgres.try_connect().await.is_err() {
            assert!(Instant::now() < deadline, "no answer; its log:\n{}", postgres.logged());
            tokio::time::sleep(LOOK_AGAIN).await;
        }
        Some(postgres)
    }

    /// A client of its first database, as its superuser.
    pub async fn connect(&self) -> Client {
        self.try_connect().await.unwrap_or_else(|error| panic!("{error}; its log:\n{}", self.logged()))
    }

    async fn try_connect(&self) -> Result<Client, tokio_postgres::Error> {
        let mut config = Config::new();
        config.host_path(self.directory.path()).port(PORT).user(USER).dbname(USER);
        let (client, connection) = config.connect(NoTls).await?;
        tokio::spawn(connection);
        Ok(client)
    }

    fn logged(&self) -> String {
        std::fs::read_to_string(self.directory.path().join("log")).unwrap_or_default()
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        // SIGQUIT: at once, and without leaving its shared memory behind as SIGKILL would.
        let told = Command::new("kill").args(["-QUIT", &self.server.id().to_string()]).status();
        if !told.is_ok_and(|status| status.success()) {
            let _ = self.server.kill();
        }
        let _ = self.server.wait();
    }
}

/// One of PostgreSQL's programs, run as its own user if this is root.
fn program(name: &str) -> Command {
    let path: PathBuf = Path::new(PROGRAMS).join(name);
    if !is_root() {
        return Command::new(path);
    }
    let mut command = Command::new("setpriv");
    let user = format!("--reuid={USER}");
    command.args([&user, &format!("--regid={}", id_of("-g")), "--clear-groups", "--"]).arg(path);
    command
}

fn is_root() -> bool {
    number(Command::new("id").arg("-u")) == 0
}

/// The number of PostgreSQL's user, or of its group.
fn id_of(what: &str) -> u32 {
    number(Command::new("id").args([what, USER]))
}

fn number(command: &mut Command) -> u32 {
    let output = command.output().expect("id runs");
    String::from_utf8_lossy(&output.stdout).trim().parse().expect("the number of a user")
}
