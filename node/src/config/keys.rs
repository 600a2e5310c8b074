//! The one table of configuration keys.

/// One configuration key.
#[derive(Clone, Copy, Debug)]
pub struct Key {
    /// Its name in the file. As a flag: `--` and hyphens. In the environment: `GRANTD_` and upper case.
    pub name: &'static str,
    /// What kind of value it takes, for help texts.
    pub value: &'static str,
    /// Its default, as it would be written; empty: none, see `help`.
    pub default: &'static str,
    /// What it is for, and why the default is what it is.
    pub help: &'static str,
}

/// Every key.
pub const KEYS: [Key; 37] = [
    Key {
        name: "data_dir",
        value: "DIR",
        default: "grantd-data",
        help: "Where this node keeps its log, its state and its admin socket. One node only, ever",
    },
    Key {
        name: "certs_dir",
        value: "DIR",
        default: "certs",
        help: "Where ca.crt, node.crt and node.key are. The number in node.crt is the node's id",
    },
    Key {
        name: "listen",
        value: "HOST:PORT",
        default: "127.0.0.1:26357",
        help: "Where it listens for its peers (QUIC, so UDP). Loopback by default: opening it is a decision",
    },
    Key {
        name: "advertise",
        value: "HOST:PORT",
        default: "",
        help: "Where its peers reach it. Default: `listen`",
    },
    Key {
        name: "sql_listen",
        value: "HOST:PORT",
        default: "127.0.0.1:26257",
        help: "Where it listens for SQL clients (PostgreSQL protocol, TCP)",
    },
    Key {
        name: "sql_advertise",
        value: "HOST:PORT",
        default: "",
        help: "Where SQL clients reach it, as `grantd node status` shows it. Default: `sql_listen`",
    },
    Key {
        name: "http_listen",
        value: "HOST:PORT",
        default: "",
        help: "Where it answers over HTTPS: checks (AuthZEN), health, and what VIEWDEBUG shows. Default: nowhere",
    },
    Key {
        name: "check_socket",
        value: "PATH|off",
        default: "",
        help: "The Unix socket on which neighbours on this host ask for checks. Default: check.sock in `data_dir`, for the \
               node's own user; elsewhere for every user who may enter the directory, each as itself",
    },
    Key {
        name: "join",
        value: "HOST:PORT,…",
        default: "",
        help: "Members that a node without a cluster asks to let it in (their `advertise`); the same list may be given to all",
    },
    Key {
        name: "log_format",
        value: "text|json",
        default: "text",
        help: "How log lines are written to standard error",
    },
    Key {
        name: "log_filter",
        value: "FILTER",
        default: "info,openraft=warn,quinn=warn,rustls=warn",
        help: "What is logged: a level, or `target=level` separated by commas",
    },
    Key {
        name: "heartbeat_interval_ms",
        value: "MS",
        default: "100",
        help: "How often the leader says that it lives",
    },
    Key {
        name: "election_timeout_min_ms",
        value: "MS",
        default: "300",
        help: "A follower that hears nothing for one to two times this long stands for election",
    },
    Key {
        name: "request_timeout_ms",
        value: "MS",
        default: "5000",
        help: "How long a statement waits for the cluster before it is refused or its outcome called unknown",
    },
    Key {
        name: "snapshot_entries",
        value: "COUNT",
        default: "50000",
        help: "Log entries after which the log before them may go",
    },
    Key {
        name: "max_sql_memory_mib",
        value: "MIB",
        default: "1024",
        help: "What statements and results may hold in memory together",
    },
    Key {
        name: "audit",
        value: "on|off",
        default: "on",
        help: "Whether refusals, failed logins and changes of privileges on this node are written to the audit log",
    },
    Key {
        name: "audit_dir",
        value: "DIR",
        default: "",
        help: "Where the audit log is. Default: `audit` in the data directory",
    },
    Key {
        name: "check_rate",
        value: "COUNT",
        default: "0",
        help: "How many checks a second each principal may ask over HTTP and the Unix socket. 0: as many as come",
    },
    Key {
        name: "check_burst",
        value: "COUNT",
        default: "0",
        help: "How many of these it may ask at once. 0: as many as in one second",
    },
    Key {
        name: "drain_timeout_ms",
        value: "MS",
        default: "5000",
        help: "How long a stopping node lets running statements finish",
    },
    Key {
        name: "external_io_dir",
        value: "DIR|disabled",
        default: "",
        help: "Where the files of `nodelocal` URIs are. Default: `extern` in `data_dir`",
    },
    Key {
        name: "external_io_disable_http",
        value: "on|off",
        default: "off",
        help: "No `http` and `webhook` URIs, and no AWS_ENDPOINT: nothing but the clouds' own endpoints",
    },
    Key {
        name: "external_io_disable_implicit_credentials",
        value: "on|off",
        default: "off",
        help: "No AUTH=implicit: nobody uses what this node is in a cloud",
    },
    Key {
        name: "external_io_disable_outbound",
        value: "on|off",
        default: "off",
        help: "Nothing goes out at all: no cloud is asked for anything, whatever a URI says",
    },
    Key {
        name: "aws_source",
        value: "SOURCE",
        default: "auto",
        help: "From where this node has its identity in AWS: environment, profile, web-identity, container, imds; auto: the \
               first of these that there is; none: it has none",
    },
    Key {
        name: "aws_sts_endpoint",
        value: "URL",
        default: "",
        help: "Where STS is asked. Default: the endpoint of the region",
    },
    Key {
        name: "aws_region",
        value: "REGION",
        default: "",
        help: "The region of STS, and of buckets whose URI says none. Default: AWS_REGION of the environment, else us-east-1",
    },
    Key {
        name: "gcp_source",
        value: "SOURCE",
        default: "auto",
        help: "From where this node has its identity in Google Cloud: file (GOOGLE_APPLICATION_CREDENTIALS), metadata; auto: \
               the first of these that there is; none: it has none",
    },
    Key {
        name: "gcp_metadata_host",
        value: "HOST[:PORT]",
        default: "",
        help: "Where the metadata server is. Default: GCE_METADATA_HOST of the environment, else metadata.google.internal",
    },
    Key {
        name: "gcp_iam_endpoint",
        value: "URL",
        default: "",
        help: "Where service accounts are impersonated. Default: https://iamcredentials.googleapis.com",
    },
    Key {
        name: "gcp_sts_endpoint",
        value: "URL",
        default: "",
        help: "Where tokens of Google are exchanged and confined. Default: https://sts.googleapis.com",
    },
    Key {
        name: "gcs_endpoint",
        value: "URL",
        default: "",
        help: "Where Cloud Storage is. Default: https://storage.googleapis.com",
    },
    Key {
        name: "gcp_pubsub_endpoint",
        value: "URL",
        default: "",
        help: "Where Pub/Sub is. Default: https://REGION-pubsub.googleapis.com",
    },
    Key {
        name: "gcp_kms_endpoint",
        value: "URL",
        default: "",
        help: "Where Cloud KMS is. Default: https://cloudkms.googleapis.com",
    },
    Key {
        name: "cloud_endpoint_listen",
        value: "HOST:PORT",
        default: "",
        help: "Where it gives credentials to other programs of this host, on loopback only. Default: nowhere",
    },
    Key {
        name: "cloud_endpoints",
        value: "ENTRY",
        default: "",
        help: "Which credentials it gives them, one ENTRY each: `name=N principal=ROLE uri=external://C`, and `token_file=PATH`, or \
               `metadata_listen=HOST:PORT os_user=USER` for Google. Default: none",
    },
];
