//! `grantd cert …`: a CA, certificates for nodes and clients, and what is in a directory of them.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use comfy_table::Table;
use comfy_table::presets::NOTHING;

use crate::cert::{self, CA_DAYS, CertError, CertificateInfo, CertificateKind, Created, LEAF_DAYS, Options};
use crate::failure::Failure;

#[derive(Debug, Subcommand)]
pub(super) enum CertCommand {
    /// Make the cluster's CA: ca.crt, which everybody gets, and ca.key, which stays safe
    CreateCa {
        /// The directory of certificates
        #[arg(long, value_name = "DIR", default_value = "certs", env = "GRANTD_CERTS_DIR")]
        certs_dir: PathBuf,
        /// Replace files that are there; what the old CA signed is then of no use
        #[arg(long)]
        overwrite: bool,
        /// How many days it is valid
        #[arg(long, default_value_t = CA_DAYS)]
        days: u32,
    },
    /// Make a node's certificate: node.crt and node.key
    #[command(after_help = "\
The number becomes the node's id: one node, one directory, one number, never used again.
A node needs ca.crt, node.crt and node.key. Keep ca.key off the nodes.

Example:
  grantd cert create-node --id 2 --ca-dir ca --certs-dir certs-2 db2.example 10.0.0.2")]
    CreateNode {
        /// The node's id
        #[arg(long, value_name = "NUMBER")]
        id: u64,
        /// Names and addresses under which clients reach it, without ports
        #[arg(required = true, value_name = "HOST")]
        hosts: Vec<String>,
        #[command(flatten)]
        place: Place,
        /// How many days it is valid
        #[arg(long, default_value_t = LEAF_DAYS)]
        days: u32,
    },
    /// Make a SQL user's certificate: client.USER.crt and client.USER.key
    #[command(after_help = "Example:\n  grantd cert create-client root")]
    CreateClient {
        /// The SQL user; the user itself is made with CREATE USER
        user: String,
        #[command(flatten)]
        place: Place,
        /// How many days it is valid
        #[arg(long, default_value_t = LEAF_DAYS)]
        days: u32,
    },
    /// Show the certificates of a directory
    List {
        /// The directory
        #[arg(long, value_name = "DIR", default_value = "certs", env = "GRANTD_CERTS_DIR")]
        certs_dir: PathBuf,
    },
}

#[derive(Args, Debug)]
pub(super) struct Place {
    /// The directory of certificates
    #[arg(long, value_name = "DIR", default_value = "certs", env = "GRANTD_CERTS_DIR")]
    certs_dir: PathBuf,
    /// The directory with ca.crt and ca.key, if it is another one; ca.crt is copied from there
    #[arg(long, value_name = "DIR")]
    ca_dir: Option<PathBuf>,
    /// Replace files that are there
    #[arg(long)]
    overwrite: bool,
}

pub(super) fn run(command: CertCommand) -> Result<(), Failure> {
    match command {
        CertCommand::CreateCa { certs_dir, overwrite, days } => {
            made(cert::create_ca(&certs_dir, &Options { days, overwrite }), "cannot make a CA")
        }
        CertCommand::CreateNode { id, hosts, place, days } => made(
            cert::create_node(place.ca_dir(), &place.certs_dir, id, &hosts, &place.options(days)),
            &format!("cannot make the certificate of node {id}"),
        ),
        CertCommand::CreateClient { user, place, days } => made(
            cert::create_client(place.ca_dir(), &place.certs_dir, &user, &place.options(days)),
            &format!("cannot make the certificate of user `{user}`"),
        ),
        CertCommand::List { certs_dir } => {
            let listed = cert::list(&certs_dir).map_err(|error| {
                failure(&format!("cannot list the certificates in `{}`", certs_dir.display()), &error)
            })?;
            super::print(&list_text(&listed))
        }
    }
}

impl Place {
    fn options(&self, days: u32) -> Options {
        Options { days, overwrite: self.overwrite }
    }

    fn ca_dir(&self) -> &Path {
        self.ca_dir.as_deref().unwrap_or(&self.certs_dir)
    }
}

fn made(result: Result<Created, CertError>, what: &str) -> Result<(), Failure> {
    match result {
        Ok(created) => {
            super::print(&format!("{}\n{}\n", created.certificate.display(), created.key.display()))
        }
        Err(error) => Err(failure(what, &error)),
    }
}

fn failure(what: &str, error: &CertError) -> Failure {
    let failure = Failure::new(what).because(error);
    match error.hint() {
        Some(hint) => failure.help(hint),
        None => failure,
    }
}

fn list_text(listed: &[CertificateInfo]) -> String {
    let mut table = Table::new();
    table.load_preset(NOTHING);
    table.set_header(["file", "for", "names", "valid until", "key", "remark"]);
    for one in listed {
        let kind = match &one.kind {
            CertificateKind::Ca => "CA".to_owned(),
            CertificateKind::Node(id) => format!("node {id}"),
            CertificateKind::Client(user) => format!("user {user}"),
        };
        let file = one.certificate.file_name().unwrap_or(one.certificate.as_os_str());
        table.add_row([
            file.to_string_lossy().into_owned(),
            kind,
            one.names.join(" "),
            one.not_after.date().to_string(),
            if one.key.is_some() { "here" } else { "-" }.to_owned(),
            one.fault.clone().unwrap_or_default(),
        ]);
    }
    super::trimmed(&table)
}
