//! `grantd node …`: the members of a cluster, seen and changed through a node of this machine.

use std::fmt::Write;
use std::path::Path;

use clap::{Subcommand, ValueEnum};
use comfy_table::Table;
use comfy_table::presets::NOTHING;
use grantd_raft::config::STATE_FILE;
use grantd_raft::rows;

use super::directory::DirectoryArgs;
use crate::admin::{self, Answer, ChecksumReport, Request, StatusReport};
use crate::failure::Failure;
use crate::sql::system;

#[derive(Debug, Subcommand)]
pub(super) enum NodeCommand {
    /// Show a node and the members it knows
    #[command(after_help = "Lag and `heard` are known to the leader only: ask there to see them.")]
    Status {
        #[command(flatten)]
        directory: DirectoryArgs,
        /// How to show it
        #[arg(long, value_enum, default_value = "table")]
        format: StatusFormat,
    },
    /// Take a member out of the cluster, for ever: its number is never used again
    #[command(
        visible_alias = "decommission",
        after_help = "Ask the leader (`grantd node status` names it). A node whose directory is lost is replaced \
                      so: remove it here, then start a new one with a new number.\n\nExample:\n  \
                      grantd node remove 3 --data-dir n1"
    )]
    Remove {
        /// Its number
        #[arg(value_name = "NODE")]
        node: u64,
        #[command(flatten)]
        directory: DirectoryArgs,
    },
    /// Hand leadership to another member, before maintenance for example
    Transfer {
        #[command(flatten)]
        directory: DirectoryArgs,
    },
    /// Take a snapshot now, so that the log before it may go: nothing is copied
    Snapshot {
        #[command(flatten)]
        directory: DirectoryArgs,
    },
    /// Hash the catalog and the rows, to compare replicas at the same version
    Checksum {
        #[command(flatten)]
        directory: DirectoryArgs,
        /// How to show it
        #[arg(long, value_enum, default_value = "table")]
        format: StatusFormat,
    },
    /// Print all that a node keeps of catalog and rows, to see where two replicas differ
    #[command(
        after_help = "It reads the file, whether the node runs or not. The catalog has the verifiers of passwords: keep \
                      the output as you keep the directory.\n\nExample, of two nodes that were stopped at one \
                      version:\n  diff <(grantd node dump --data-dir n1) <(grantd node dump --data-dir n2)"
    )]
    Dump {
        #[command(flatten)]
        directory: DirectoryArgs,
    },
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum StatusFormat {
    /// For people
    Table,
    /// For programs
    Json,
}

pub(super) async fn run(command: NodeCommand) -> Result<(), Failure> {
    match command {
        NodeCommand::Status { directory, format } => {
            let answer = admin::ask(&directory.resolve()?, &Request::Status).await?;
            let Answer::Status(report) = answer else { return Err(unexpected(&answer)) };
            match format {
                StatusFormat::Json => super::print(&json(&report)),
                StatusFormat::Table => super::print(&status_text(&report)),
            }
        }
        NodeCommand::Remove { node, directory } => {
            admin::ask(&directory.resolve()?, &Request::Remove { node }).await?;
            super::print(&format!("node {node} is no longer a member\n"))
        }
        NodeCommand::Transfer { directory } => {
            admin::ask(&directory.resolve()?, &Request::Transfer).await?;
            super::print("another member leads now\n")
        }
        NodeCommand::Snapshot { directory } => {
            admin::ask(&directory.resolve()?, &Request::Snapshot).await?;
            super::print("a snapshot was taken\n")
        }
        NodeCommand::Checksum { directory, format } => {
            let answer = admin::ask(&directory.resolve()?, &Request::Checksum).await?;
            let Answer::Checksum(report) = answer else { return Err(unexpected(&answer)) };
            match format {
                StatusFormat::Json => super::print(&json(&report)),
                StatusFormat::Table => super::print(&checksum_text(&report)),
            }
        }
        NodeCommand::Dump { directory } => dump(&directory.resolve()?),
    }
}

fn dump(directory: &Path) -> Result<(), Failure> {
    let lines = rows::dump(&directory.join(STATE_FILE), &system::extensions())
        .map_err(|error| Failure::new("the row store cannot be read").because(&error))?;
    lines.iter().try_for_each(|line| super::print(&format!("{line}\n")))
}

fn unexpected(answer: &Answer) -> Failure {
    Failure::new(format!("the node answered something else: {answer:?}"))
        .help("it may run another release: compare with `grantd version`")
}

fn json(report: &impl serde::Serialize) -> String {
    let mut text = serde_json::to_string_pretty(report).expect("a report has string keys only");
    text.push('\n');
    text
}

fn status_text(report: &StatusReport) -> String {
    let mut text = String::new();
    let unknown = || "unknown".to_owned();
    let leader = report.leader.map_or_else(unknown, |leader| format!("node {leader}"));
    let cluster = report.cluster_id.as_deref().unwrap_or("none yet; `grantd init`, or start it with --join");
    let mut line = |name: &str, value: &dyn std::fmt::Display| {
        writeln!(text, "{name:<10}{value}").expect("a String takes everything");
    };
    line("node", &report.node_id);
    line("release", &report.release);
    line("cluster", &cluster);
    line("state", &report.server_state);
    line("leader", &leader);
    line("term", &report.term);
    line("version", &report.applied);
    line("last log", &report.last_log);
    line("snapshot", &report.snapshot);
    if !report.members.is_empty() {
        text.push('\n');
        text.push_str(&members_text(report));
    }
    text
}

fn members_text(report: &StatusReport) -> String {
    let mut table = Table::new();
    table.load_preset(NOTHING);
    table.set_header(["node", "role", "sql", "raft", "behind", "heard"]);
    for member in &report.members {
        let role = match (report.leader == Some(member.id), member.voter) {
            (true, _) => "leader",
            (false, true) => "voter",
            (false, false) => "learner",
        };
        let behind = member.matched.map(|matched| report.last_log.saturating_sub(matched).to_string());
        let heard = member.heard_ms.map(|ms| format!("{ms} ms ago"));
        table.add_row([
            member.id.to_string(),
            role.to_owned(),
            member.sql_address.clone(),
            member.raft_address.clone(),
            behind.unwrap_or_else(|| "-".to_owned()),
            heard.unwrap_or_else(|| "-".to_owned()),
        ]);
    }
    super::trimmed(&table)
}

fn checksum_text(report: &ChecksumReport) -> String {
    let mut table = Table::new();
    table.load_preset(NOTHING);
    table.set_header(["of", "rows", "crc32c"]);
    table.add_row(["catalog".to_owned(), String::new(), format!("{:08x}", report.catalog)]);
    for (name, rows, hash) in &report.tables {
        table.add_row([name.clone(), rows.to_string(), format!("{hash:08x}")]);
    }
    format!("version {}\n\n{}", report.version, super::trimmed(&table))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::MemberReport;

    fn report() -> StatusReport {
        let member = |id, voter, matched| MemberReport {
            id,
            raft_address: format!("10.0.0.{id}:26357"),
            sql_address: format!("10.0.0.{id}:26257"),
            voter,
            matched,
            heard_ms: None,
        };
        StatusReport {
            node_id: 1,
            release: "0.1.0".to_owned(),
            cluster_id: Some("abc".to_owned()),
            server_state: "leader".to_owned(),
            term: 3,
            leader: Some(1),
            last_log: 90,
            applied: 90,
            snapshot: 0,
            members: vec![member(1, true, None), member(2, true, Some(88)), member(3, false, Some(40))],
        }
    }

    #[test]
    fn status_shows_who_leads_who_votes_and_who_is_behind() {
        let text = status_text(&report());
        let lines: Vec<Vec<&str>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
        assert!(lines.contains(&vec!["leader", "node", "1"]), "{text}");
        assert!(lines.contains(&vec!["1", "leader", "10.0.0.1:26257", "10.0.0.1:26357", "-", "-"]), "{text}");
        assert!(lines.contains(&vec!["2", "voter", "10.0.0.2:26257", "10.0.0.2:26357", "2", "-"]), "{text}");
        assert!(
            lines.contains(&vec!["3", "learner", "10.0.0.3:26257", "10.0.0.3:26357", "50", "-"]),
            "{text}"
        );
    }

    #[test]
    fn a_node_without_a_cluster_says_what_to_do() {
        let waiting = StatusReport { cluster_id: None, members: Vec::new(), leader: None, ..report() };
        assert!(status_text(&waiting).contains("none yet; `grantd init`, or start it with --join"));
    }
}
