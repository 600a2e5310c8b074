//! PostgreSQL of this machine as a peer: a primary and two standbys in a temporary directory, of which one must have
//! applied a commit before it is acknowledged. TLS and certificates are those that a grantd cluster has. Beside it there is
//! a Unix socket, on which this machine is trusted.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use grantd_node::cert;
use grantd_node::pgclient::{self, Login};
use rustix::process::{Pid, Signal, geteuid, kill_process};
use tempfile::TempDir;
use tokio_postgres::Config;

type Failed = Box<dyn std::error::Error>;

/// Where Debian puts the programs of its PostgreSQL.
const DEBIAN: &str = "/usr/lib/postgresql";
/// Who runs it: it refuses root.
const USER: &str = "postgres";
/// How long a server may take until it answers.
const START_TIMEOUT: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(100);
/// Certificates of a run end after this many days.
const CERTIFICATE_DAYS: u32 = 2;

/// The servers, stopped when dropped.
pub struct Postgres {
    servers: Vec<Child>,
    ports: Vec<u16>,
    directory: TempDir,
}

impl Postgres {
    /// Starts a primary and `standbys` that follow it. None: there is no PostgreSQL here.
    pub async fn start(standbys: usize) -> Result<Option<Self>, Failed> {
        let Some(programs) = programs() else { return Ok(None) };
        let directory = tempfile::Builder::new().prefix("grantd-bench-").tempdir()?;
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755))?;
        let mut peers = Self { servers: Vec::new(), ports: Vec::new(), directory };
        peers.make_certificates()?;
        let primary = peers.data(0);
        peers.own(&peers.make_directory("data-0")?)?;
        peers.own(&peers.make_directory("socket")?)?;
        let initdb = programs.join("initdb");
        run(command(&initdb)
            .args(["-U", "root", "-A", "trust", "-E", "UTF8", "--locale=C", "-D"])
            .arg(&primary))?;
        peers.configure(&primary, standbys)?;
        peers.serve(&programs, 0).await?;
        for number in 1..=standbys {
            let data = peers.data(number);
            peers.own(&peers.make_directory(&format!("data-{number}"))?)?;
            let basebackup = programs.join("pg_basebackup");
            let port = peers.ports[0].to_string();
            run(command(&basebackup)
                .args([
                    "-h",
                    "127.0.0.1",
                    "-U",
                    "root",
                    "--checkpoint=fast",
                    "--write-recovery-conf",
                    "-p",
                    &port,
                ])
                .arg("-D")
                .arg(&data))?;
            peers.serve(&programs, number).await?;
        }
        if standbys > 0 {
            let client = pgclient::connect(&peers.login(0)).await?;
            client.batch_execute("ALTER SYSTEM SET synchronous_standby_names = 'ANY 1 (*)'").await?;
            client.batch_execute("SELECT pg_reload_conf()").await?;
        }
        Ok(Some(peers))
    }

    /// How to log in to the primary (0) or a standby.
    pub fn login(&self, number: usize) -> Login {
        let client = self.directory.path().join("client");
        Login {
            host: "localhost".to_owned(),
            port: self.ports[number],
            user: "root".to_owned(),
            database: "postgres".to_owned(),
            ca: self.directory.path().join("ca").join(cert::CA_CERT),
            certificate: Some((client.join("client.root.crt"), client.join("client.root.key"))),
            password: None,
        }
    }

    /// How to log in to the primary over its Unix socket.
    pub fn socket(&self) -> Config {
        let mut config = Config::new();
        config.host_path(self.socket_directory()).port(self.ports[0]).user("root").dbname("postgres");
        config
    }

    fn socket_directory(&self) -> PathBuf {
        self.directory.path().join("socket")
    }

    fn data(&self, number: usize) -> PathBuf {
        self.directory.path().join(format!("data-{number}"))
    }

    fn make_directory(&self, name: &str) -> std::io::Result<PathBuf> {
        let path = self.directory.path().join(name);
        fs::create_dir_all(&path)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o700))?;
        Ok(path)
    }

    /// Gives a path, and what is in it, to the user that the servers run as.
    fn own(&self, path: &Path) -> Result<(), Failed> {
        if !geteuid().is_root() {
            return Ok(());
        }
        let (uid, gid) = user_ids()?;
        if path.is_dir() {
            for entry in fs::read_dir(path)? {
                self.own(&entry?.path())?;
            }
        }
        Ok(chown(path, Some(uid), Some(gid))?)
    }

    fn make_certificates(&self) -> Result<(), Failed> {
        let options = cert::Options { days: CERTIFICATE_DAYS, overwrite: true };
        let ca = self.directory.path().join("ca");
        cert::create_ca(&ca, &options)?;
        fs::set_permissions(&ca, fs::Permissions::from_mode(0o755))?;
        fs::set_permissions(ca.join(cert::CA_CERT), fs::Permissions::from_mode(0o644))?;
        let server = self.make_directory("server")?;
        let hosts = ["localhost".to_owned(), "127.0.0.1".to_owned()];
        cert::create_node(&ca, &server, 1, &hosts, &options)?;
        self.own(&server)?;
        let client = self.make_directory("client")?;
        cert::create_client(&ca, &client, "root", &options)?;
        Ok(())
    }

    /// Logs in by certificate; replication within this machine is trusted.
    fn configure(&self, data: &Path, standbys: usize) -> Result<(), Failed> {
        let server = self.directory.path().join("server");
        let ca = self.directory.path().join("ca").join(cert::CA_CERT);
        let settings = format!(
            "listen_addresses = '127.0.0.1'\nunix_socket_directories = '{}'\nssl = on\nssl_ca_file = '{}'\n\
             ssl_cert_file = '{}'\nssl_key_file = '{}'\nfsync = on\nsynchronous_commit = {}\nhot_standby = on\n\
             max_connections = 200\nmax_locks_per_transaction = 256\nshared_buffers = 256MB\nlogging_collector = off\n",
            self.socket_directory().display(),
            ca.display(),
            server.join(cert::NODE_CERT).display(),
            server.join(cert::NODE_KEY).display(),
            if standbys > 0 { "remote_apply" } else { "on" },
        );
        fs::write(data.join("postgresql.auto.conf"), settings)?;
        let access = "hostssl all all 127.0.0.1/32 cert\nhost replication root 127.0.0.1/32 trust\n\
                      hostssl all all ::1/128 cert\nlocal all all trust\n";
        fs::write(data.join("pg_hba.conf"), access)?;
        self.own(data)
    }

    async fn serve(&mut self, programs: &Path, number: usize) -> Result<(), Failed> {
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let log = fs::File::create(self.directory.path().join(format!("log-{number}")))?;
        let child = command(&programs.join("postgres"))
            .arg("-D")
            .arg(self.data(number))
            .args(["-p", &port.to_string()])
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()?;
        self.servers.push(child);
        self.ports.push(port);
        let until = Instant::now() + START_TIMEOUT;
        loop {
            match pgclient::connect(&self.login(number)).await {
                Ok(_) => return Ok(()),
                Err(error) if Instant::now() >= until => {
                    let log = fs::read_to_string(self.directory.path().join(format!("log-{number}")));
                    return Err(
                        format!("PostgreSQL does not answer: {error}\n{}", log.unwrap_or_default()).into()
                    );
                }
                Err(_) => tokio::time::sleep(POLL).await,
            }
        }
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        for server in &mut self.servers {
            // At once, with its children: what it has written goes with its directory. Or it is gone already.
            let _ = kill_process(Pid::from_child(server), Signal::QUIT);
            let _ = server.wait();
        }
    }
}

/// The programs of the newest release that is installed.
pub fn programs() -> Option<PathBuf> {
    let releases = fs::read_dir(DEBIAN).ok()?.flatten().map(|release| release.path().join("bin"));
    releases.filter(|programs| programs.join("postgres").exists()).max()
}

/// A program of PostgreSQL, as another user where we are root.
fn command(program: &Path) -> Command {
    if !geteuid().is_root() {
        return Command::new(program);
    }
    let mut command = Command::new("setpriv");
    command.args(["--reuid", USER, "--regid", USER, "--clear-groups"]).arg(program);
    command.current_dir("/");
    command
}

fn run(command: &mut Command) -> Result<(), Failed> {
    let output = command.output()?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!("{command:?} failed: {}", String::from_utf8_lossy(&output.stderr)).into())
}

fn user_ids() -> Result<(u32, u32), Failed> {
    let users = fs::read_to_string("/etc/passwd")?;
    let fields =
        users.lines().map(|line| line.split(':').collect::<Vec<_>>()).find(|fields| fields[0] == USER);
    match fields.as_deref() {
        Some([_, _, uid, gid, ..]) => Ok((uid.parse()?, gid.parse()?)),
        _ => Err(format!("there is no user {USER} to run PostgreSQL as").into()),
    }
}
