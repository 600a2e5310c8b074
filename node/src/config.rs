//! A node's configuration: what was written, in a file, the environment and flags, resolved once at start.
//!
//! [`KEYS`] is the one table: flags, environment variables, file keys, help and `docs/operating.md` follow from it.
//! A flag wins over the environment, that over the file, that over the default. Every value keeps where it came
//! from, so that an error can say it. Settings of the cluster are not here: they belong to the catalog.

use std::collections::BTreeMap;
use std::fmt;
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::time::Duration;

use grantd_raft::config::Tuning;

use crate::failure::Failure;

pub mod cloud;
mod endpoint;
mod keys;

pub use self::keys::{KEYS, Key};

use self::cloud::NodeSettings;

/// What each variable of the environment that sets a key begins with.
pub const ENVIRONMENT_PREFIX: &str = "GRANTD_";
/// The variable that names the configuration file.
pub const ENVIRONMENT_FILE: &str = "GRANTD_CONFIG";
/// The most bytes of a configuration file: a bigger one is the wrong file.
pub const FILE_BYTES_MAX: u64 = 1 << 20;
/// The most addresses to join.
pub const JOIN_MAX: usize = 64;
/// The most checks a second for each principal that can be set: the bound is kept in whole nanoseconds for each check.
pub const CHECK_RATE_MAX: u64 = 100_000_000;
/// The most checks at once that can be set.
pub const CHECK_BURST_MAX: u64 = 1_000_000_000;

const HEARTBEAT_MS: (u64, u64) = (10, 10_000);
const ELECTION_MS: (u64, u64) = (50, 60_000);
const REQUEST_MS: (u64, u64) = (100, 600_000);
const SNAPSHOT_ENTRIES: (u64, u64) = (100, 100_000_000);
const SQL_MEMORY_MIB: (u64, u64) = (32, 1 << 20);
const DRAIN_MS: (u64, u64) = (0, 600_000);
const CHECK_RATE: (u64, u64) = (0, CHECK_RATE_MAX);
const CHECK_BURST: (u64, u64) = (0, CHECK_BURST_MAX);
/// An election time-out of fewer heartbeats than this would depose a leader for one lost packet.
const HEARTBEATS_PER_ELECTION_MIN: u64 = 3;

/// Where a value came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Nothing was written.
    Default,
    /// The configuration file.
    File(PathBuf),
    /// This variable.
    Environment(String),
    /// This flag.
    Flag(String),
}

/// What was written, not yet understood: for each key its words and where they came from.
#[derive(Clone, Debug, Default)]
pub struct Written {
    values: BTreeMap<&'static str, (Vec<String>, Origin)>,
    /// Variables that begin like ours and set no key. Not an error: Kubernetes makes such variables for a service
    /// that is called `grantd`.
    pub unknown_variables: Vec<String>,
}

/// How log lines are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// Where the check socket is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CheckSocket {
    /// In the data directory.
    Inside,
    /// Here.
    Outside(PathBuf),
    /// Nowhere.
    Off,
}

/// What a node runs with. Nothing in here is looked up again.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The node's directory.
    pub data_dir: PathBuf,
    /// The directory of its certificates.
    pub certs_dir: PathBuf,
    /// Where it listens for peers.
    pub listen: SocketAddr,
    /// Where peers reach it.
    pub advertise: String,
    /// Where it listens for SQL clients; port 0: the system chooses.
    pub sql_listen: SocketAddr,
    /// Where SQL clients reach it; none: where it listens.
    pub sql_advertise: Option<String>,
    /// Where it answers over HTTPS; none: nowhere; port 0: the system chooses.
    pub http_listen: Option<SocketAddr>,
    /// Where neighbours on its host ask for checks.
    pub check_socket: CheckSocket,
    /// Whom it asks to be let in.
    pub join: Vec<String>,
    /// How it logs.
    pub log_format: LogFormat,
    /// What it logs.
    pub log_filter: String,
    /// Times and sizes of replication.
    pub tuning: Tuning,
    /// How long running statements may take to finish when the node stops.
    pub drain_timeout: Duration,
    /// How many bytes statements and results may hold in memory together.
    pub sql_memory: usize,
    /// Where the audit log is; none: there is none.
    pub audit_dir: Option<PathBuf>,
    /// How many checks a second each principal may ask from outside; 0: as many as come.
    pub check_rate: u64,
    /// How many of these at once; 0: as many as in one second.
    pub check_burst: u64,
    /// What it may do outside, and what it is there.
    pub cloud: NodeSettings,
}

/// Why a configuration is not one.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read the configuration file `{path}`", path = path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The file is not TOML.
    #[error("the configuration file `{path}` is not valid TOML: {message}", path = path.display())]
    Syntax {
        /// Which.
        path: PathBuf,
        /// Where and why.
        message: String,
    },
    /// The file has a key that nothing reads.
    #[error("unknown key `{key}` in `{path}`", path = path.display())]
    UnknownKey {
        /// Which file.
        path: PathBuf,
        /// Which key.
        key: String,
    },
    /// A value does not fit.
    #[error("{key} = `{value}` ({origin}): {problem}")]
    Value {
        /// Whose.
        key: &'static str,
        /// As written.
        value: String,
        /// Where it was written.
        origin: Origin,
        /// What is wrong, and what would be right.
        problem: String,
    },
}

impl Key {
    /// The flag, without its hyphens: `data-dir`.
    pub fn flag(&self) -> String {
        self.name.replace('_', "-")
    }

    /// The variable: `GRANTD_DATA_DIR`.
    pub fn variable(&self) -> String {
        format!("{ENVIRONMENT_PREFIX}{}", self.name.to_uppercase())
    }
}

impl Written {
    /// Collects what was written. `flags`: pairs of a key's name and a word; a repeated flag makes a list.
    pub fn collect(
        file: Option<&Path>,
        environment: impl IntoIterator<Item = (String, String)>,
        flags: impl IntoIterator<Item = (&'static str, String)>,
    ) -> Result<Self, ConfigError> {
        let mut written = Self::default();
        let mut named = file.map(Path::to_path_buf);
        let mut variables = BTreeMap::new();
        for (name, value) in environment {
            if name == ENVIRONMENT_FILE {
                named = named.or_else(|| Some(PathBuf::from(value)));
            } else if name.starts_with(ENVIRONMENT_PREFIX) {
                variables.insert(name, value);
            }
        }
        if let Some(path) = named {
            written.add_file(&path)?;
        }
        for key in &KEYS {
            if let Some(value) = variables.remove(&key.variable()) {
                written.values.insert(key.name, (vec![value], Origin::Environment(key.variable())));
            }
        }
        written.unknown_variables = variables.into_keys().collect();
        for (name, word) in flags {
            let key = key(name);
            let origin = Origin::Flag(format!("--{}", key.flag()));
            match written.values.get_mut(key.name) {
                Some((words, from)) if *from == origin => words.push(word),
                _ => {
                    written.values.insert(key.name, (vec![word], origin));
                }
            }
        }
        Ok(written)
    }

    fn add_file(&mut self, path: &Path) -> Result<(), ConfigError> {
        let read = |source| ConfigError::Read { path: path.to_path_buf(), source };
        let bytes = std::fs::metadata(path).map_err(read)?.len();
        if bytes > FILE_BYTES_MAX {
            let message = format!("it has {bytes} bytes; at most {FILE_BYTES_MAX} are read");
            return Err(ConfigError::Syntax { path: path.to_path_buf(), message });
        }
        let text = std::fs::read_to_string(path).map_err(read)?;
        let table: toml::Table = text.parse().map_err(|error: toml::de::Error| ConfigError::Syntax {
            path: path.to_path_buf(),
            message: error.to_string().trim().to_owned(),
        })?;
        for (name, value) in table {
            let Some(key) = KEYS.iter().find(|key| key.name == name) else {
                return Err(ConfigError::UnknownKey { path: path.to_path_buf(), key: name });
            };
            let origin = Origin::File(path.to_path_buf());
            let words = words(&value).ok_or_else(|| ConfigError::Value {
                key: key.name,
                value: value.type_str().to_owned(),
                origin: origin.clone(),
                problem: "expected a string, a whole number or a list of strings".to_owned(),
            })?;
            self.values.insert(key.name, (words, origin));
        }
        Ok(())
    }

    /// Understands what was written, checks the bounds, and fills in defaults.
    pub fn resolve(&self) -> Result<Settings, ConfigError> {
        let listen = self.address("listen")?;
        let sql_listen = self.address("sql_listen")?;
        let log_format = match self.word("log_format")?.as_str() {
            "text" => LogFormat::Text,
            "json" => LogFormat::Json,
            _ => return Err(self.wrong("log_format", "expected `text` or `json`")),
        };
        Ok(Settings {
            data_dir: self.data_dir()?,
            certs_dir: PathBuf::from(self.filled("certs_dir")?),
            listen,
            advertise: self.advertised("advertise", "listen", listen)?,
            sql_listen,
            sql_advertise: match sql_listen.port() {
                0 if self.word("sql_advertise")?.is_empty() => None,
                _ => Some(self.advertised("sql_advertise", "sql_listen", sql_listen)?),
            },
            http_listen: match self.word("http_listen")?.is_empty() {
                true => None,
                false => Some(self.address("http_listen")?),
            },
            check_socket: match self.word("check_socket")?.as_str() {
                "" => CheckSocket::Inside,
                "off" => CheckSocket::Off,
                path => CheckSocket::Outside(PathBuf::from(path)),
            },
            join: self.join()?,
            log_format,
            log_filter: self.word("log_filter")?,
            tuning: self.tuning()?,
            drain_timeout: Duration::from_millis(self.number("drain_timeout_ms", DRAIN_MS)?),
            sql_memory: self.mebibytes("max_sql_memory_mib", SQL_MEMORY_MIB)?,
            audit_dir: self.audit_dir()?,
            check_rate: self.number("check_rate", CHECK_RATE)?,
            check_burst: self.number("check_burst", CHECK_BURST)?,
            cloud: self.cloud()?,
        })
    }

    /// The node's directory alone: what commands need that only talk to a running node.
    pub fn data_dir(&self) -> Result<PathBuf, ConfigError> {
        self.filled("data_dir").map(PathBuf::from)
    }

    fn audit_dir(&self) -> Result<Option<PathBuf>, ConfigError> {
        match (self.word("audit")?.as_str(), self.word("audit_dir")?) {
            ("off", _) => Ok(None),
            ("on", word) if word.is_empty() => Ok(Some(self.data_dir()?.join("audit"))),
            ("on", word) => Ok(Some(PathBuf::from(word))),
            _ => Err(self.wrong("audit", "expected `on` or `off`")),
        }
    }

    fn tuning(&self) -> Result<Tuning, ConfigError> {
        let heartbeat = self.number("heartbeat_interval_ms", HEARTBEAT_MS)?;
        let election = self.number("election_timeout_min_ms", ELECTION_MS)?;
        if election < heartbeat * HEARTBEATS_PER_ELECTION_MIN {
            let least = heartbeat * HEARTBEATS_PER_ELECTION_MIN;
            let problem = format!(
                "must be at least {HEARTBEATS_PER_ELECTION_MIN} heartbeats, here {least}, or one lost packet \
                 deposes a leader"
            );
            return Err(self.wrong("election_timeout_min_ms", problem));
        }
        Ok(Tuning {
            heartbeat_interval: Duration::from_millis(heartbeat),
            election_timeout_min: Duration::from_millis(election),
            request_timeout: Duration::from_millis(self.number("request_timeout_ms", REQUEST_MS)?),
            snapshot_entries: self.number("snapshot_entries", SNAPSHOT_ENTRIES)?,
            ..Tuning::default()
        })
    }

    fn mebibytes(&self, name: &'static str, bounds: (u64, u64)) -> Result<usize, ConfigError> {
        Ok(usize::try_from(self.number(name, bounds)? << 20).unwrap_or(usize::MAX))
    }

    fn words(&self, name: &'static str) -> (Vec<String>, Origin) {
        let key = key(name);
        self.values.get(key.name).cloned().unwrap_or_else(|| {
            let words = if key.default.is_empty() { Vec::new() } else { vec![key.default.to_owned()] };
            (words, Origin::Default)
        })
    }

    fn word(&self, name: &'static str) -> Result<String, ConfigError> {
        let (mut words, _) = self.words(name);
        match words.len() {
            0 => Ok(String::new()),
            1 => Ok(words.remove(0)),
            _ => Err(self.wrong(name, "expected one value")),
        }
    }

    fn filled(&self, name: &'static str) -> Result<String, ConfigError> {
        let word = self.word(name)?;
        if word.is_empty() { Err(self.wrong(name, "must not be empty")) } else { Ok(word) }
    }

    fn number(&self, name: &'static str, (low, high): (u64, u64)) -> Result<u64, ConfigError> {
        let problem = || self.wrong(name, format!("expected a whole number from {low} to {high}"));
        let number: u64 = self.word(name)?.trim().parse().map_err(|_| problem())?;
        if (low..=high).contains(&number) { Ok(number) } else { Err(problem()) }
    }

    fn address(&self, name: &'static str) -> Result<SocketAddr, ConfigError> {
        let word = self.filled(name)?;
        let mut found = word.to_socket_addrs().map_err(|error| {
            self.wrong(name, format!("expected `host:port`, for example `127.0.0.1:26257`: {error}"))
        })?;
        found.next().ok_or_else(|| self.wrong(name, "the name has no address"))
    }

    fn advertised(
        &self,
        name: &'static str,
        listen_name: &'static str,
        listen: SocketAddr,
    ) -> Result<String, ConfigError> {
        let word = self.word(name)?;
        if !word.is_empty() {
            return if is_host_and_port(&word) {
                Ok(word)
            } else {
                Err(self.wrong(name, "expected `host:port` with a port from 1 to 65535"))
            };
        }
        if listen.ip().is_unspecified() || listen.port() == 0 {
            let problem = format!("does not say where others reach this node: set `{name}` as well");
            return Err(self.wrong(listen_name, problem));
        }
        Ok(listen.to_string())
    }

    fn join(&self) -> Result<Vec<String>, ConfigError> {
        let (words, _) = self.words("join");
        let split = |word: &String| word.split(',').map(|one| one.trim().to_owned()).collect::<Vec<_>>();
        let all: Vec<String> = words.iter().flat_map(split).filter(|one| !one.is_empty()).collect();
        if all.len() > JOIN_MAX {
            return Err(self.wrong("join", format!("at most {JOIN_MAX} addresses")));
        }
        match all.iter().find(|one| !is_host_and_port(one)) {
            Some(bad) => Err(self.wrong("join", format!("`{bad}` is not `host:port`"))),
            None => Ok(all),
        }
    }

    fn wrong(&self, name: &'static str, problem: impl Into<String>) -> ConfigError {
        let (words, origin) = self.words(name);
        ConfigError::Value { key: key(name).name, value: words.join(", "), origin, problem: problem.into() }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("the default"),
            Self::File(path) => write!(f, "in `{}`", path.display()),
            Self::Environment(name) => write!(f, "from the variable {name}"),
            Self::Flag(name) => write!(f, "from {name}"),
        }
    }
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        let failure = Self::usage(error.to_string());
        match &error {
            ConfigError::Read { source, .. } => {
                failure.because(source).help("name an existing file with --config, or leave it out")
            }
            ConfigError::UnknownKey { key, .. } => failure.help(known_keys(key)),
            ConfigError::Syntax { .. } => failure.help("docs/operating.md shows an example"),
            ConfigError::Value { .. } => failure,
        }
    }
}

/// The keys there are, the one that `written` probably meant first.
fn known_keys(written: &str) -> String {
    let names = KEYS.iter().map(|key| key.name).collect::<Vec<_>>().join(", ");
    let flat = written.replace('-', "_");
    match KEYS.iter().find(|key| key.name == flat || key.name.starts_with(&flat)) {
        Some(key) => format!("did you mean `{}`? The keys are: {names}", key.name),
        None => format!("the keys are: {names}"),
    }
}

fn key(name: &str) -> &'static Key {
    KEYS.iter().find(|key| key.name == name).expect("keys are named by constants of this module and of `cli`")
}

fn words(value: &toml::Value) -> Option<Vec<String>> {
    match value {
        toml::Value::String(text) => Some(vec![text.clone()]),
        toml::Value::Integer(number) => Some(vec![number.to_string()]),
        toml::Value::Array(items) => {
            items.iter().map(|item| item.as_str().map(str::to_owned)).collect::<Option<Vec<_>>>()
        }
        toml::Value::Float(_)
        | toml::Value::Boolean(_)
        | toml::Value::Datetime(_)
        | toml::Value::Table(_) => None,
    }
}

fn is_host_and_port(word: &str) -> bool {
    let Some((host, port)) = word.rsplit_once(':') else { return false };
    !host.is_empty() && !host.contains(char::is_whitespace) && port.parse::<u16>().is_ok_and(|port| port > 0)
}

#[cfg(test)]
mod tests;
