//! The one table of cluster settings: name, type, default, what it is for, and who may set it.
//!
//! A value is text in one canonical form: what a client writes is parsed once, and reads back as a [`SettingValue`].
//! Who may set and see them is `state`'s.

use std::fmt;

use bincode::{Decode, Encode};

/// A cluster setting. Appended to, never reordered: the position is in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
#[allow(missing_docs, reason = "each is explained by its row of the table")]
pub enum Setting {
    ClusterOrganization,
    ChangeOwnPassword,
    ModifyAppliesToAll,
    EndSessionsOnLoginLoss,
    MinPasswordLength,
    StorePreHashedPasswords,
    DefaultDateStyle,
    DefaultIntSize,
    DefaultIdleInTransactionTimeout,
    DefaultIntervalStyle,
    DefaultLockTimeout,
    DefaultStatementTimeout,
    HistoryTtl,
    HistoryBytesMax,
    DefaultTransactionRowsWrittenErr,
    DefaultTransactionTimeout,
    StatementMemory,
    LeaseDuration,
    LeaseClockDrift,
    IamRolesRequireUsage,
    CloudSessionPolicy,
    CloudSourceIdentity,
    CloudCredentialsDuration,
    AwsRoleStorage,
    AwsRoleChangefeed,
    AwsRoleKms,
    GcpRoleStorage,
    GcpRoleChangefeed,
    GcpRoleKms,
    StorageCustomCa,
    StorageTimeout,
    S3ReadRate,
    S3ReadBurst,
    S3WriteRate,
    S3WriteBurst,
    GsReadRate,
    GsReadBurst,
    GsWriteRate,
    GsWriteBurst,
    NodelocalReadRate,
    NodelocalReadBurst,
    NodelocalWriteRate,
    NodelocalWriteBurst,
    JobsErrorsMax,
    JobsErrorBytesMax,
    JobsAdoptInterval,
    JobsCollectInterval,
    JobsRetryInitial,
    JobsRetryMost,
    JobsRetention,
    JobsClaimLease,
    JobsCredentialGrace,
    FeedsRequireConnection,
    BackupEnabled,
    RestoreEnabled,
}

/// What values a setting takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SettingType {
    /// `true` or `false`.
    Bool,
    /// A whole number between two bounds, both included.
    Int(i64, i64),
    /// Bytes, or a number with a unit: `64MiB`, `1GB`. Between two bounds, both included.
    Bytes(u64, u64),
    /// Milliseconds, or a number with a unit: `500ms`, `10s`, `5min`, `2h`. Between two bounds in milliseconds, both included.
    Duration(u64, u64),
    /// One of these words, in any case.
    Word(&'static [&'static str]),
    /// Any text of at most [`TEXT_BYTES_MAX`] bytes.
    Text,
    /// Nothing, or certificates in PEM, of at most [`CERTIFICATES_BYTES_MAX`] bytes; no private key.
    Certificates,
}

/// The value of a setting, ready for use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SettingValue<'a> {
    /// Of [`SettingType::Bool`].
    Bool(bool),
    /// Of [`SettingType::Int`].
    Int(i64),
    /// Of [`SettingType::Bytes`].
    Bytes(u64),
    /// Of [`SettingType::Duration`].
    Milliseconds(u64),
    /// Of [`SettingType::Word`], [`SettingType::Text`] and [`SettingType::Certificates`].
    Text(&'a str),
}

/// One row of the table.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// Which.
    pub setting: Setting,
    /// The dotted name.
    pub name: &'static str,
    /// Its type.
    pub setting_type: SettingType,
    /// The value of a cluster on which it was never set.
    pub default: &'static str,
    /// What it is for, in one line.
    pub description: &'static str,
    /// Only admins may set it.
    pub admin_only: bool,
    /// The session variable that begins with its value.
    pub variable: Option<&'static str>,
}

/// The longest duration: a day.
pub const DURATION_MS_MAX: u64 = 24 * 60 * 60 * 1000;
/// The most bytes of a text.
pub const TEXT_BYTES_MAX: usize = 4_096;
/// The most bytes of certificates: some tens of authorities, each of about two thousand.
pub const CERTIFICATES_BYTES_MAX: usize = 64 * 1024;
/// The shortest life that credentials of clouds may be asked for: tests turn them over in seconds.
const CREDENTIALS_MS_LEAST: u64 = 1_000;
/// The longest: no role of AWS gives more.
const CREDENTIALS_MS_MOST: u64 = 12 * 60 * 60 * 1000;
/// The shortest time that a request to storage may be given.
const STORAGE_TIMEOUT_MS_LEAST: u64 = 1_000;
/// Bytes a second, or at once, of one node and one kind of storage. Beyond a TiB nothing is limited.
const RATE: SettingType = SettingType::Bytes(0, 1 << 40);
/// The longest that jobs are kept after they ended: a year.
pub const RETENTION_MS_MAX: u64 = 365 * DURATION_MS_MAX;
/// The shortest claim of jobs: several renewals on a busy network.
pub const CLAIM_LEASE_MS_LEAST: u64 = 1_000;
/// The longest: for as long the jobs of a node that is gone stand still.
pub const CLAIM_LEASE_MS_MOST: u64 = 300_000;
/// The most errors after which it was tried again that can be kept of one job.
const EXECUTION_ERRORS_MAX: i64 = 16;
/// The most bytes of one of them.
const EXECUTION_ERROR_BYTES_MAX: u64 = 64 * 1024;
/// How often jobs can be looked for at most.
pub const JOBS_INTERVAL_MS_LEAST: u64 = 100;
/// Any time up to that.
const TIME: SettingType = SettingType::Duration(0, DURATION_MS_MAX);
/// The shortest read lease: some round trips of a busy network, three times.
pub const LEASE_MS_LEAST: u64 = 100;
/// The longest: for as long a node that is gone may hold a REVOKE up.
pub const LEASE_MS_MOST: u64 = 10_000;
/// The most that clocks may be allowed to be wrong: a tenth. A lease is waited for by about twice as much longer.
pub const CLOCK_DRIFT_PPM_MAX: i64 = 100_000;
/// What the memory of a statement may be set to.
pub const STATEMENT_MEMORY: SettingType = SettingType::Bytes(1 << 20, 64 << 30);
/// The longest password that a cluster may ask for.
pub const PASSWORD_LENGTH_MAX: i64 = 1_024;
/// The longest that changes are kept without protection: a year.
pub const HISTORY_TTL_SECONDS_MAX: i64 = 365 * 24 * 60 * 60;
/// The least that the change history may take: several large transactions.
pub const HISTORY_BYTES_LEAST: u64 = 1 << 20;
/// The most that it may take: each snapshot has a copy of it.
pub const HISTORY_BYTES_MOST: u64 = 1 << 40;
/// Settings that are defaults of session variables begin so; MODIFYSQLCLUSTERSETTING is for them.
const SQL_DEFAULTS: &str = "sql.defaults.";

const fn row(setting: Setting, name: &'static str, setting_type: SettingType, default: &'static str) -> Row {
    Row { setting, name, setting_type, default, description: "", admin_only: false, variable: None }
}

impl Row {
    const fn about(self, description: &'static str) -> Self {
        Self { description, ..self }
    }

    const fn for_admins(self) -> Self {
        Self { admin_only: true, ..self }
    }

    const fn of(self, variable: &'static str) -> Self {
        Self { variable: Some(variable), ..self }
    }
}

use Setting as S;
use SettingType as T;

/// Sorted by name.
const TABLE: [Row; 55] = [
    row(
        S::FeedsRequireConnection,
        "changefeed.permissions.require_external_connection_sink.enabled",
        T::Bool,
        "false",
    )
    .about("whether who has CHANGEFEED and is no admin may send changes to external connections only"),
    row(S::AwsRoleChangefeed, "cloud.aws.functional_role.changefeed", T::Text, "")
        .about("the roles of AWS that every changefeed takes on before those of its URI, as ASSUME_ROLE has them")
        .for_admins(),
    row(S::AwsRoleKms, "cloud.aws.functional_role.kms", T::Text, "")
        .about("the roles of AWS that every use of a key takes on before those of its URI, as ASSUME_ROLE has them")
        .for_admins(),
    row(S::AwsRoleStorage, "cloud.aws.functional_role.storage", T::Text, "")
        .about("the roles of AWS that backups, restores and checks of storage take on before those of their URI, as ASSUME_ROLE has them")
        .for_admins(),
    row(
        S::CloudCredentialsDuration,
        "cloud.credentials.duration",
        T::Duration(CREDENTIALS_MS_LEAST, CREDENTIALS_MS_MOST),
        "60min",
    )
    .about("for how long credentials of clouds are asked; AWS gives no less than 15 minutes, and to a role that is taken on by a role no more than an hour"),
    row(S::GcpRoleChangefeed, "cloud.gcp.functional_role.changefeed", T::Text, "")
        .about("the service accounts of Google that every changefeed takes on before those of its URI, as ASSUME_ROLE has them")
        .for_admins(),
    row(S::GcpRoleKms, "cloud.gcp.functional_role.kms", T::Text, "")
        .about("the service accounts of Google that every use of a key takes on before those of its URI, as ASSUME_ROLE has them")
        .for_admins(),
    row(S::GcpRoleStorage, "cloud.gcp.functional_role.storage", T::Text, "")
        .about("the service accounts of Google that backups, restores and checks of storage take on before those of their URI, as ASSUME_ROLE has them")
        .for_admins(),
    row(S::IamRolesRequireUsage, "cloud.iam_roles.require_usage.enabled", T::Bool, "false")
        .about("whether a URI with AUTH=implicit needs USAGE on each role that it names, EXTERNALIOIMPLICITACCESS or not; one that names none is then for admins")
        .for_admins(),
    row(S::CloudSessionPolicy, "cloud.session_policy.enabled", T::Bool, "true")
        .about("whether credentials are confined to the bucket and prefix that they are for")
        .for_admins(),
    row(S::CloudSourceIdentity, "cloud.source_identity.enabled", T::Bool, "false")
        .about("whether AWS is told the SQL user, as SourceIdentity; each role must allow sts:SetSourceIdentity")
        .for_admins(),
    row(S::GsReadBurst, "cloudstorage.gs.read.node_burst_limit", RATE, "0 B")
        .about("the most bytes that a node reads from Cloud Storage of Google at once; 0: as many as in one second"),
    row(S::GsReadRate, "cloudstorage.gs.read.node_rate_limit", RATE, "0 B")
        .about("the most bytes a second that a node reads from Cloud Storage of Google; 0: no limit"),
    row(S::GsWriteBurst, "cloudstorage.gs.write.node_burst_limit", RATE, "0 B")
        .about("the most bytes that a node writes to Cloud Storage of Google at once; 0: as many as in one second"),
    row(S::GsWriteRate, "cloudstorage.gs.write.node_rate_limit", RATE, "0 B")
        .about("the most bytes a second that a node writes to Cloud Storage of Google; 0: no limit"),
    row(S::StorageCustomCa, "cloudstorage.http.custom_ca", T::Certificates, "")
        .about("certificates in PEM of authorities that storage, STS and Google are trusted by, besides the system's")
        .for_admins(),
    row(S::NodelocalReadBurst, "cloudstorage.nodelocal.read.node_burst_limit", RATE, "0 B")
        .about("the most bytes that a node reads from files of nodes at once; 0: as many as in one second"),
    row(S::NodelocalReadRate, "cloudstorage.nodelocal.read.node_rate_limit", RATE, "0 B")
        .about("the most bytes a second that a node reads from files of nodes; 0: no limit"),
    row(S::NodelocalWriteBurst, "cloudstorage.nodelocal.write.node_burst_limit", RATE, "0 B")
        .about("the most bytes that a node writes to files of nodes at once; 0: as many as in one second"),
    row(S::NodelocalWriteRate, "cloudstorage.nodelocal.write.node_rate_limit", RATE, "0 B")
        .about("the most bytes a second that a node writes to files of nodes; 0: no limit"),
    row(S::S3ReadBurst, "cloudstorage.s3.read.node_burst_limit", RATE, "0 B")
        .about("the most bytes that a node reads from S3 at once; 0: as many as in one second"),
    row(S::S3ReadRate, "cloudstorage.s3.read.node_rate_limit", RATE, "0 B")
        .about("the most bytes a second that a node reads from S3; 0: no limit"),
    row(S::S3WriteBurst, "cloudstorage.s3.write.node_burst_limit", RATE, "0 B")
        .about("the most bytes that a node writes to S3 at once; 0: as many as in one second"),
    row(S::S3WriteRate, "cloudstorage.s3.write.node_rate_limit", RATE, "0 B")
        .about("the most bytes a second that a node writes to S3; 0: no limit"),
    row(
        S::StorageTimeout,
        "cloudstorage.timeout",
        T::Duration(STORAGE_TIMEOUT_MS_LEAST, DURATION_MS_MAX),
        "10min",
    )
    .about("for how long a request to storage is waited for"),
    row(S::ClusterOrganization, "cluster.organization", T::Text, "")
        .about("the organization that the cluster belongs to")
        .for_admins(),
    row(S::BackupEnabled, "feature.backup.enabled", T::Bool, "true")
        .about("whether BACKUP is taken; jobs that run already go on"),
    row(S::RestoreEnabled, "feature.restore.enabled", T::Bool, "true")
        .about("whether RESTORE is taken; jobs that run already go on"),
    row(
        S::JobsClaimLease,
        "grantd.jobs.claim_lease",
        T::Duration(CLAIM_LEASE_MS_LEAST, CLAIM_LEASE_MS_MOST),
        "6s",
    )
    .about("for how long a node that is not heard of keeps the jobs that it works on; it says three times as often that it does"),
    row(S::JobsCredentialGrace, "grantd.jobs.credential_grace", T::Duration(0, RETENTION_MS_MAX), "60min")
        .about("for how long a job waits for credentials of a cloud before it is paused"),
    row(S::LeaseClockDrift, "grantd.lease.clock_drift_ppm", T::Int(0, CLOCK_DRIFT_PPM_MAX), "10000")
        .about("by how many millionths the clock of a node may run faster or slower than real time"),
    row(
        S::LeaseDuration,
        "grantd.lease.duration",
        T::Duration(LEASE_MS_LEAST, LEASE_MS_MOST),
        "1s",
    )
    .about("for how long a node may decide without hearing of the leader, and a node that is gone holds a REVOKE up"),
    row(S::JobsErrorsMax, "jobs.execution_errors.max_entries", T::Int(0, EXECUTION_ERRORS_MAX), "3")
        .about("how many errors after which it was tried again are kept of a job"),
    row(
        S::JobsErrorBytesMax,
        "jobs.execution_errors.max_entry_size",
        T::Bytes(0, EXECUTION_ERROR_BYTES_MAX),
        "64 KiB",
    )
    .about("the most bytes that are kept of an error after which a job was tried again"),
    row(
        S::JobsAdoptInterval,
        "jobs.registry.interval.adopt",
        T::Duration(JOBS_INTERVAL_MS_LEAST, DURATION_MS_MAX),
        "2s",
    )
    .about("how often a node looks for jobs that nobody works on any more; those that are made or resumed it sees at once"),
    row(
        S::JobsCollectInterval,
        "jobs.registry.interval.gc",
        T::Duration(JOBS_INTERVAL_MS_LEAST, DURATION_MS_MAX),
        "60min",
    )
    .about("how often jobs that ended longer ago than jobs.retention_time are taken away"),
    row(
        S::JobsRetryInitial,
        "jobs.registry.retry.initial_delay",
        T::Duration(0, DURATION_MS_MAX),
        "30s",
    )
    .about("how long a job waits before it is tried again; twice as long each further time"),
    row(S::JobsRetryMost, "jobs.registry.retry.max_delay", T::Duration(0, DURATION_MS_MAX), "1440min")
        .about("the longest that a job waits before it is tried again"),
    row(S::JobsRetention, "jobs.retention_time", T::Duration(0, RETENTION_MS_MAX), "20160min")
        .about("how long jobs are kept after they ended"),
    row(S::HistoryTtl, "kv.history.gc.ttlseconds", T::Int(1, HISTORY_TTL_SECONDS_MAX), "90000").about(
        "the seconds for which changes of rows are kept, to be read back; protected ones are kept longer",
    ),
    row(
        S::HistoryBytesMax,
        "kv.history.max_bytes",
        T::Bytes(HISTORY_BYTES_LEAST, HISTORY_BYTES_MOST),
        "1 GiB",
    )
    .about("the most bytes of kept changes; beyond them the oldest go early, protected ones last"),
    row(S::MinPasswordLength, "server.user_login.min_password_length", T::Int(1, PASSWORD_LENGTH_MAX), "1")
        .about("the least number of characters of a password that is set by SQL"),
    row(
        S::StorePreHashedPasswords,
        "server.user_login.store_client_pre_hashed_passwords.enabled",
        T::Bool,
        "true",
    )
    .about(
        "whether a PASSWORD of the form of a verifier is stored as one; if not, it is taken for a password",
    ),
    row(S::ChangeOwnPassword, "sql.auth.change_own_password.enabled", T::Bool, "false")
        .about("whether everybody may change the password of the role that they act as"),
    row(S::EndSessionsOnLoginLoss, "sql.auth.end_sessions_on_login_loss.enabled", T::Bool, "false")
        .about("whether DROP ROLE, NOLOGIN and NOSQLLOGIN end the open sessions of the role"),
    row(S::ModifyAppliesToAll, "sql.auth.modify_cluster_setting_applies_to_all.enabled", T::Bool, "true")
        .about("whether MODIFYCLUSTERSETTING is for all settings, or only for those of sql.defaults")
        .for_admins(),
    row(S::DefaultDateStyle, "sql.defaults.datestyle", T::Word(&["ISO, MDY"]), "ISO, MDY")
        .about("the default of the session variable datestyle")
        .of("datestyle"),
    row(S::DefaultIntSize, "sql.defaults.default_int_size", T::Int(8, 8), "8")
        .about("the bytes of the type INT"),
    row(
        S::DefaultIdleInTransactionTimeout,
        "sql.defaults.idle_in_transaction_session_timeout",
        TIME,
        "5s",
    )
    .about("the default of the session variable idle_in_transaction_session_timeout; 0: the most")
    .of("idle_in_transaction_session_timeout"),
    row(S::DefaultIntervalStyle, "sql.defaults.intervalstyle", T::Word(&["postgres"]), "postgres")
        .about("the default of the session variable intervalstyle")
        .of("intervalstyle"),
    row(S::DefaultLockTimeout, "sql.defaults.lock_timeout", TIME, "0s")
        .about("the default of the session variable lock_timeout; 0: none")
        .of("lock_timeout"),
    row(S::DefaultStatementTimeout, "sql.defaults.statement_timeout", TIME, "0s")
        .about("the default of the session variable statement_timeout; 0: none")
        .of("statement_timeout"),
    row(S::DefaultTransactionRowsWrittenErr, "sql.defaults.transaction_rows_written_err", T::Int(0, 1 << 40), "0")
        .about("the default of the session variable transaction_rows_written_err; 0: none")
        .of("transaction_rows_written_err"),
    row(S::DefaultTransactionTimeout, "sql.defaults.transaction_timeout", TIME, "0s")
        .about("the default of the session variable transaction_timeout; 0: none")
        .of("transaction_timeout"),
    row(S::StatementMemory, "sql.distsql.temp_storage.workmem", STATEMENT_MEMORY, "64 MiB")
        .about("the default of the session variable distsql_workmem: what a statement may hold in memory at once")
        .of("distsql_workmem"),
];

impl Setting {
    /// Every setting, sorted by name.
    pub fn each() -> impl Iterator<Item = &'static Row> {
        TABLE.iter()
    }

    /// The row of this setting.
    pub fn row(self) -> &'static Row {
        TABLE.iter().find(|row| row.setting == self).expect("every setting has a row")
    }

    /// The setting of this name, in any case.
    pub fn from_name(name: &str) -> Option<Self> {
        TABLE.iter().find(|row| row.name.eq_ignore_ascii_case(name)).map(|row| row.setting)
    }

    /// Whether it is the default of a session variable.
    pub fn is_sql_default(self) -> bool {
        self.row().name.starts_with(SQL_DEFAULTS)
    }
}

impl fmt::Display for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.row().name)
    }
}

impl SettingType {
    /// The value that `text` stands for, in the one form in which it is stored. None: it stands for none.
    pub fn canonical(self, text: &str) -> Option<String> {
        let value = text.trim();
        match self {
            Self::Bool => match value.to_ascii_lowercase().as_str() {
                "true" | "t" | "on" | "yes" | "1" => Some("true".to_owned()),
                "false" | "f" | "off" | "no" | "0" => Some("false".to_owned()),
                _ => None,
            },
            Self::Int(least, most) => {
                let number: i64 = value.parse().ok()?;
                (least..=most).contains(&number).then(|| number.to_string())
            }
            Self::Bytes(least, most) => {
                bytes(value).filter(|bytes| (least..=most).contains(bytes)).map(bytes_text)
            }
            Self::Duration(least, most) => {
                milliseconds(value).filter(|ms| (least..=most).contains(ms)).map(duration_text)
            }
            Self::Word(words) => {
                let word = words.iter().find(|word| word.eq_ignore_ascii_case(value))?;
                Some((*word).to_owned())
            }
            Self::Text => (text.len() <= TEXT_BYTES_MAX).then(|| text.to_owned()),
            Self::Certificates => {
                (text.len() <= CERTIFICATES_BYTES_MAX && is_certificates(value)).then(|| value.to_owned())
            }
        }
    }

    /// What [`Self::canonical`] made, as a value. None: another release made it.
    pub fn value(self, text: &str) -> Option<SettingValue<'_>> {
        match self {
            Self::Bool => text.parse().ok().map(SettingValue::Bool),
            Self::Int(least, most) => {
                let number: i64 = text.parse().ok()?;
                (least..=most).contains(&number).then_some(SettingValue::Int(number))
            }
            Self::Bytes(least, most) => {
                bytes(text).filter(|bytes| (least..=most).contains(bytes)).map(SettingValue::Bytes)
            }
            Self::Duration(least, most) => {
                milliseconds(text).filter(|ms| (least..=most).contains(ms)).map(SettingValue::Milliseconds)
            }
            Self::Word(words) => words.contains(&text).then_some(SettingValue::Text(text)),
            Self::Text | Self::Certificates => Some(SettingValue::Text(text)),
        }
    }

    /// The letter that SHOW CLUSTER SETTINGS prints.
    pub const fn letter(self) -> &'static str {
        match self {
            Self::Bool => "b",
            Self::Int(_, _) => "i",
            Self::Bytes(_, _) => "z",
            Self::Duration(..) => "d",
            Self::Word(_) => "e",
            Self::Text | Self::Certificates => "s",
        }
    }

    /// The most bytes that a value is written in. What is longer is refused for its length.
    pub const fn bytes_max(self) -> usize {
        match self {
            Self::Certificates => CERTIFICATES_BYTES_MAX,
            Self::Bool
            | Self::Int(..)
            | Self::Bytes(..)
            | Self::Duration(..)
            | Self::Word(_)
            | Self::Text => TEXT_BYTES_MAX,
        }
    }
}

impl fmt::Display for SettingType {
    /// What values it takes, for hints.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bool => f.write_str("true or false"),
            Self::Int(least, most) if least == most => write!(f, "{least}"),
            Self::Int(least, most) => write!(f, "a whole number from {least} to {most}"),
            Self::Bytes(least, most) => {
                write!(
                    f,
                    "bytes, or a number with kB, MB, GB, KiB, MiB or GiB, from {} to {}",
                    bytes_text(*least),
                    bytes_text(*most)
                )
            }
            Self::Duration(0, DURATION_MS_MAX) => {
                f.write_str("milliseconds, or a number with ms, s, min or h; at most a day")
            }
            Self::Duration(least, most) => {
                let units = if *most < 60_000 { "ms or s" } else { "ms, s, min or h" };
                let (least, most) = (duration_text(*least), duration_text(*most));
                write!(f, "milliseconds, or a number with {units}, from {least} to {most}")
            }
            Self::Word(words) => f.write_str(&words.join(" or ")),
            Self::Text => write!(f, "a text of at most {TEXT_BYTES_MAX} bytes"),
            Self::Certificates => {
                write!(f, "certificates in PEM, without keys, of at most {CERTIFICATES_BYTES_MAX} bytes")
            }
        }
    }
}

/// Whether `text` is nothing, or blocks of certificates and what stands between them. Whether they can be read as such is seen
/// where they are used; what must not come here is a key.
fn is_certificates(text: &str) -> bool {
    let labels = || text.lines().filter_map(|line| line.trim().strip_prefix("-----BEGIN "));
    text.is_empty() || labels().next().is_some() && labels().all(|label| label == "CERTIFICATE-----")
}

fn milliseconds(text: &str) -> Option<u64> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let number: u64 = text[..digits].parse().ok()?;
    let unit = match text[digits..].trim() {
        "" | "ms" => 1,
        "s" => 1_000,
        "m" | "min" => 60_000,
        "h" => 3_600_000,
        _ => return None,
    };
    number.checked_mul(unit)
}

const UNITS: [(&str, u64); 7] = [
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("kB", 1_000),
    ("B", 1),
];

fn bytes(text: &str) -> Option<u64> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let number: u64 = text[..digits].parse().ok()?;
    let unit = match text[digits..].trim() {
        "" => 1,
        unit => UNITS.iter().find(|(name, _)| name.eq_ignore_ascii_case(unit))?.1,
    };
    number.checked_mul(unit)
}

/// In the greatest unit that says it exactly, as the original writes it.
fn bytes_text(bytes: u64) -> String {
    let exact = |(_, unit): &&(&str, u64)| bytes >= *unit && bytes.is_multiple_of(*unit);
    let (name, unit) = UNITS.iter().find(exact).unwrap_or(&("B", 1));
    format!("{} {name}", bytes / unit)
}

/// In the greatest unit that says it exactly; session variables read the same.
fn duration_text(ms: u64) -> String {
    match ms {
        0 => "0s".to_owned(),
        ms if ms % 60_000 == 0 => format!("{}min", ms / 60_000),
        ms if ms % 1_000 == 0 => format!("{}s", ms / 1_000),
        ms => format!("{ms}ms"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_sorted_and_whole() {
        let names: Vec<_> = Setting::each().map(|row| row.name).collect();
        assert!(names.is_sorted_by(|a, b| a < b));
        for row in Setting::each() {
            assert_eq!(row.setting.row().name, row.name);
            assert_eq!(row.setting_type.canonical(row.default).as_deref(), Some(row.default), "{}", row.name);
            assert!(row.setting_type.value(row.default).is_some(), "{}", row.name);
            assert!(!row.description.is_empty());
        }
    }

    #[test]
    fn operators_read_of_every_setting_what_the_table_says() {
        let page = include_str!("../../docs/operating.md");
        let rows = page
            .lines()
            .filter(|line| Setting::each().any(|row| line.contains(&format!("| `{}` |", row.name))));
        let written: Vec<_> = rows.collect();
        let expected: Vec<_> = Setting::each()
            .map(|row| {
                let default =
                    if row.default.is_empty() { String::new() } else { format!(" `{}`", row.default) };
                let admins = if row.admin_only { "; for admins" } else { "" };
                format!("| `{}` |{default} | {}{admins} |", row.name, row.description)
            })
            .collect();
        assert_eq!(written, expected);
    }

    #[test]
    fn values_have_one_form() {
        let duration = |text| TIME.canonical(text);
        assert_eq!(duration("10s").as_deref(), Some("10s"));
        assert_eq!(duration(" 1500 ").as_deref(), Some("1500ms"));
        assert_eq!(duration("2000").as_deref(), Some("2s"));
        assert_eq!(duration("2h").as_deref(), Some("120min"));
        assert_eq!(duration("25h"), None);
        assert_eq!(duration("-1"), None);
        assert_eq!(duration("18446744073709551615h"), None);
        assert_eq!(TIME.value("2min"), Some(SettingValue::Milliseconds(120_000)));
        let lease = SettingType::Duration(LEASE_MS_LEAST, LEASE_MS_MOST);
        assert_eq!(lease.canonical("100").as_deref(), Some("100ms"));
        assert_eq!((lease.canonical("99ms"), lease.canonical("11s"), lease.value("11s")), (None, None, None));
        assert_eq!(lease.to_string(), "milliseconds, or a number with ms or s, from 100ms to 10s");
        let memory = |text| STATEMENT_MEMORY.canonical(text);
        assert_eq!(memory("67108864").as_deref(), Some("64 MiB"));
        assert_eq!(memory("64mib").as_deref(), Some("64 MiB"));
        assert_eq!(memory(" 100 MB").as_deref(), Some("100 MB"));
        assert_eq!(memory("1048577").as_deref(), Some("1048577 B"));
        assert_eq!(memory("1 kB"), None);
        assert_eq!(memory("99999999999 GiB"), None);
        assert_eq!(STATEMENT_MEMORY.value("64 MiB"), Some(SettingValue::Bytes(64 << 20)));
        assert_eq!(SettingType::Bool.canonical("ON").as_deref(), Some("true"));
        assert_eq!(SettingType::Bool.canonical("maybe"), None);
        assert_eq!(SettingType::Int(1, 9).canonical("+7").as_deref(), Some("7"));
        assert_eq!(SettingType::Int(1, 9).canonical("10"), None);
        assert_eq!(SettingType::Int(1, 9).value("10"), None);
        assert_eq!(SettingType::Word(&["postgres"]).canonical("Postgres").as_deref(), Some("postgres"));
        assert_eq!(SettingType::Text.canonical(&"x".repeat(TEXT_BYTES_MAX + 1)), None);
        let life = Setting::CloudCredentialsDuration.row().setting_type;
        assert_eq!(life.canonical("3s").as_deref(), Some("3s"));
        assert_eq!((life.canonical("999ms"), life.canonical("13h")), (None, None));
        assert_eq!(life.to_string(), "milliseconds, or a number with ms, s, min or h, from 1s to 720min");
    }

    #[test]
    fn certificates_are_pem_and_no_keys() {
        let block = |label: &str| format!("-----BEGIN {label}-----\nMIIB\n-----END {label}-----\n");
        let canonical = |text: &str| SettingType::Certificates.canonical(text);
        let two = format!("# ours\n{}{}", block("CERTIFICATE"), block("CERTIFICATE"));
        assert_eq!(canonical(&two).as_deref(), Some(two.trim()));
        assert_eq!(canonical("").as_deref(), Some(""));
        assert_eq!(canonical("no certificate"), None);
        assert_eq!(canonical(&format!("{}{}", block("CERTIFICATE"), block("PRIVATE KEY"))), None);
        assert_eq!(canonical(&(block("CERTIFICATE") + &"x".repeat(CERTIFICATES_BYTES_MAX))), None);
    }
}
