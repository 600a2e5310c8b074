//! The tour: what grantd promises, shown on three nodes, each line verified and timed.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use grantd_raft::config::NodeId;

use super::cluster::{Cluster, WAIT_MAX};
use super::sample;
use crate::failure::Failure;
use crate::shell::connection::{Connection, Part, StatementError};
use crate::shell::shown;

/// How often step 5 grants and revokes.
const ROUNDS: usize = 50;
/// What a client sees that may not do what it asked for; the second, if it may not grant what it holds itself.
const REFUSALS: [&str; 2] = ["42501", "01007"];
/// Between two attempts while the nodes elect a leader.
const RETRY: Duration = Duration::from_millis(20);

/// What the tour reads mia's orders with.
const READ: &str = "SELECT count(*) FROM shop.orders";

/// Walks through all steps. The first line that does not do what it says is the error.
pub(super) async fn run(cluster: &mut Cluster) -> Result<(), Failure> {
    let mut tour = Tour { cluster, sessions: BTreeMap::new(), step: String::new(), steps: 0, verified: 0 };
    tour.prepare().await?;
    tour.default_is_deny().await?;
    tour.grant_here_allowed_there().await?;
    tour.only_what_was_granted().await?;
    tour.revoke_there_refused_here().await?;
    tour.again_and_again().await?;
    tour.a_follower_writes().await?;
    tour.the_leader_is_lost().await?;
    tour.dropped_and_restored().await?;
    println!("\nAll {} statements did what this tour said they would.", tour.verified);
    Ok(())
}

struct Tour<'a> {
    cluster: &'a mut Cluster,
    sessions: BTreeMap<(NodeId, &'static str), Connection>,
    step: String,
    steps: usize,
    verified: usize,
}

/// What a statement came to: its first value as text, or the server's error as text; and how long it took.
type Answer = (Result<String, String>, Duration);

impl Tour<'_> {
    async fn prepare(&mut self) -> Result<(), Failure> {
        self.begin(
            "A sample database",
            "root makes roles, users and tables on node 1. It is there on every node.",
        );
        let start = Instant::now();
        let statements = sample::statements();
        for statement in &statements {
            let (answer, _) = self.ask(1, "root", statement).await?;
            answer.map_err(|error| self.failed(1, "root", statement, "success", &error))?;
        }
        self.verified += statements.len();
        line(
            1,
            "root",
            &format!("{} statements, see `\\du` and `\\dt` in `grantd demo`", statements.len()),
            "done",
            start.elapsed(),
        );
        self.returns(3, "root", READ, "3").await
    }

    async fn default_is_deny(&mut self) -> Result<(), Failure> {
        self.begin(
            "Nothing is allowed unless it was granted",
            "mia logs in with a password. She holds nothing yet.",
        );
        for node in [1, 2, 3] {
            self.is_refused(node, "mia", READ).await?;
        }
        Ok(())
    }

    async fn grant_here_allowed_there(&mut self) -> Result<(), Failure> {
        self.begin(
            "Granted here, allowed there",
            "A grant to the role support, made on node 1, holds for its member mia on every node as soon as GRANT \
             has returned.",
        );
        self.succeeds(1, "root", "GRANT SELECT ON TABLE shop.orders TO support").await?;
        for node in [3, 2, 1] {
            self.returns(node, "mia", READ, "3").await?;
        }
        self.returns(3, "mia", "SELECT has_table_privilege('shop.orders', 'SELECT')", "t").await
    }

    async fn only_what_was_granted(&mut self) -> Result<(), Failure> {
        self.begin(
            "Only what was granted",
            "SELECT is not DELETE, orders are not customers, and a member grants nothing on.",
        );
        self.is_refused(2, "mia", "DELETE FROM shop.orders WHERE id = 1").await?;
        self.is_refused(3, "mia", "SELECT card FROM shop.customers").await?;
        self.is_refused(1, "mia", "GRANT SELECT ON TABLE shop.orders TO ben").await
    }

    async fn revoke_there_refused_here(&mut self) -> Result<(), Failure> {
        self.begin(
            "Revoked there, refused here",
            "Revoked on node 2. The session of mia on node 3 stays open and may do nothing.",
        );
        self.succeeds(2, "root", "REVOKE SELECT ON TABLE shop.orders FROM support").await?;
        for node in [3, 1, 2] {
            self.is_refused(node, "mia", READ).await?;
        }
        Ok(())
    }

    async fn again_and_again(&mut self) -> Result<(), Failure> {
        self.begin(
            "No window",
            "Grant on node 1, read on node 3, revoke on node 2, read on node 1: again and again, with no pause.",
        );
        let mut took: [Vec<Duration>; 4] = Default::default();
        for _ in 0..ROUNDS {
            let steps = [
                (1, "root", "GRANT SELECT ON TABLE shop.orders TO support", None),
                (3, "mia", READ, Some(true)),
                (2, "root", "REVOKE SELECT ON TABLE shop.orders FROM support", None),
                (1, "mia", READ, Some(false)),
            ];
            for (times, (node, user, sql, allowed)) in took.iter_mut().zip(steps) {
                let (answer, time) = self.ask(node, user, sql).await?;
                let right = match (&answer, allowed) {
                    (Ok(_), None | Some(true)) => true,
                    (Err(error), Some(false)) => is_refusal(error),
                    (Ok(_), Some(false)) | (Err(_), None | Some(true)) => false,
                };
                if !right {
                    let expected = if allowed == Some(false) { "a refusal" } else { "success" };
                    return Err(self.failed(
                        node,
                        user,
                        sql,
                        expected,
                        answer.as_deref().unwrap_or_else(|e| e),
                    ));
                }
                self.verified += 1;
                times.push(time);
            }
        }
        let [grant, allowed, revoke, refused] = took;
        for (node, user, what, times) in [
            (1, "root", "GRANT", grant),
            (3, "mia", "SELECT, allowed", allowed),
            (2, "root", "REVOKE", revoke),
            (1, "mia", "SELECT, refused", refused),
        ] {
            print_spread(node, user, what, times);
        }
        Ok(())
    }

    async fn a_follower_writes(&mut self) -> Result<(), Failure> {
        let follower = self.followers().first().copied().unwrap_or(1);
        self.begin(
            "Any node takes any statement",
            "ben, of the role sales, writes on a follower. It hands the statement to the leader; ben does not notice.",
        );
        self.succeeds(follower, "ben", "INSERT INTO shop.orders VALUES (4, 2, 'shelf', true)").await?;
        for node in [1, 2, 3] {
            self.returns(node, "ben", READ, "4").await?;
        }
        Ok(())
    }

    async fn the_leader_is_lost(&mut self) -> Result<(), Failure> {
        self.cluster.wait_for("a leader", |cluster| cluster.leader().is_some()).await?;
        let lost = self.cluster.leader().unwrap_or(1);
        self.begin(
            "A node is lost",
            &format!(
                "Node {lost} leads, and is stopped without warning. The other two elect another and go on."
            ),
        );
        self.sessions.retain(|(node, _), _| *node != lost);
        self.cluster.kill_node(lost).await;
        let survivors = self.cluster.running();
        let (first, second) = (survivors[0], survivors[1]);
        self.resumes(first, "GRANT SELECT ON TABLE shop.orders TO support").await?;
        self.returns(second, "mia", READ, "4").await?;
        self.succeeds(second, "ben", "INSERT INTO shop.orders VALUES (5, 1, 'clock', true)").await?;
        self.returns(first, "mia", READ, "5").await?;
        println!("\n    Node {lost} starts again from its directory, and has missed nothing:");
        self.cluster.start_node(lost).await?;
        let start = Instant::now();
        self.cluster.wait_for("the node to follow", |cluster| cluster.leader().is_some()).await?;
        line(lost, "", "follows again", "", start.elapsed());
        self.returns(lost, "mia", READ, "5").await?;
        self.is_refused(lost, "mia", "SELECT card FROM shop.customers").await
    }

    async fn dropped_and_restored(&mut self) -> Result<(), Failure> {
        self.begin(
            "Backed up, dropped, restored",
            "Into files of node 2, as a job; into a bucket any node would go on with it. To read a table is not to take it away. \
             What is restored is all there or not at all, and who may read it is said anew.",
        );
        self.is_refused(3, "mia", "BACKUP TABLE shop.orders INTO 'nodelocal://2/shop'").await?;
        self.succeeds(2, "root", "BACKUP DATABASE shop INTO 'nodelocal://2/shop'").await?;
        self.succeeds(1, "root", "DROP TABLE shop.orders").await?;
        self.succeeds(2, "root", "RESTORE TABLE shop.orders FROM LATEST IN 'nodelocal://2/shop'").await?;
        self.returns(2, "root", READ, "5").await?;
        self.is_refused(3, "mia", READ).await
    }

    fn followers(&self) -> Vec<NodeId> {
        let leader = self.cluster.leader();
        self.cluster.running().into_iter().filter(|node| Some(*node) != leader).collect()
    }

    fn begin(&mut self, title: &str, what: &str) {
        self.steps += 1;
        self.step = format!("step {} ({title})", self.steps);
        println!("\n{}. {title}\n", self.steps);
        for text in wrapped(what) {
            println!("    {text}");
        }
        println!();
    }

    async fn succeeds(&mut self, node: NodeId, user: &'static str, sql: &str) -> Result<(), Failure> {
        match self.ask(node, user, sql).await? {
            (Ok(_), took) => {
                self.verified += 1;
                line(node, user, sql, "done", took);
                Ok(())
            }
            (Err(error), _) => Err(self.failed(node, user, sql, "success", &error)),
        }
    }

    async fn returns(
        &mut self,
        node: NodeId,
        user: &'static str,
        sql: &str,
        expected: &str,
    ) -> Result<(), Failure> {
        match self.ask(node, user, sql).await? {
            (Ok(value), took) if value == expected => {
                self.verified += 1;
                line(node, user, sql, &format!("→ {value}"), took);
                Ok(())
            }
            (Ok(other) | Err(other), _) => Err(self.failed(node, user, sql, expected, &other)),
        }
    }

    async fn is_refused(&mut self, node: NodeId, user: &'static str, sql: &str) -> Result<(), Failure> {
        match self.ask(node, user, sql).await? {
            (Err(error), took) if is_refusal(&error) => {
                self.verified += 1;
                line(node, user, sql, "refused", took);
                Ok(())
            }
            (Ok(other) | Err(other), _) => Err(self.failed(node, user, sql, "a refusal", &other)),
        }
    }

    /// Repeats a statement, that may be repeated, until it succeeds.
    async fn resumes(&mut self, node: NodeId, sql: &str) -> Result<(), Failure> {
        let start = Instant::now();
        loop {
            match self.ask(node, "root", sql).await? {
                (Ok(_), _) => {
                    self.verified += 1;
                    line(node, "root", sql, "done", start.elapsed());
                    return Ok(());
                }
                (Err(error), _) if start.elapsed() > WAIT_MAX => {
                    return Err(self.failed(node, "root", sql, "success", &error));
                }
                (Err(_), _) => tokio::time::sleep(RETRY).await,
            }
        }
    }

    /// Runs a statement on the session of `user` at `node`, which is opened when it is first needed.
    async fn ask(&mut self, node: NodeId, user: &'static str, sql: &str) -> Result<Answer, Failure> {
        let session = match self.sessions.entry((node, user)) {
            std::collections::btree_map::Entry::Occupied(session) => session.into_mut(),
            std::collections::btree_map::Entry::Vacant(place) => {
                place.insert(Connection::open(self.cluster.target(node, user)).await?)
            }
        };
        let start = Instant::now();
        let answer = session.run(sql, false).await;
        let took = start.elapsed();
        match answer {
            Ok(parts) => Ok((Ok(first_value(parts)), took)),
            Err(StatementError::Refused(text)) => Ok((Err(text), took)),
            Err(StatementError::Lost(failure)) => Err(failure),
        }
    }

    fn failed(&self, node: NodeId, user: &str, sql: &str, expected: &str, got: &str) -> Failure {
        let mut failure = Failure::new(format!("{} did not do what it says", self.step));
        failure.causes.push(format!("node {node}, {user}: {sql}"));
        failure.causes.push(format!("expected {expected}, got {got}"));
        failure
    }
}

fn is_refusal(error: &str) -> bool {
    REFUSALS.iter().any(|code| error.starts_with(&format!("ERROR {code}:")))
}

fn first_value(parts: Vec<Part>) -> String {
    match parts.into_iter().next() {
        Some(Part::Rows(set)) => {
            set.rows.into_iter().next().and_then(|row| row.into_iter().next()).flatten().unwrap_or_default()
        }
        Some(Part::Done(_)) | None => String::new(),
    }
}

/// One line of the tour: where, who, what, what came of it, and what it cost.
fn line(node: NodeId, user: &str, sql: &str, result: &str, took: Duration) {
    println!("    node {node}  {user:<5} {sql:<66} {result:<8} {:>9}", shown(took));
}

fn print_spread(node: NodeId, user: &str, what: &str, mut times: Vec<Duration>) {
    times.sort();
    let (Some(median), Some(longest)) = (times.get(times.len() / 2), times.last()) else { return };
    let spread = format!("median {}, longest {}", shown(*median), shown(*longest));
    println!("    node {node}  {user:<5} {:<30} {spread}", format!("{} × {what}", times.len()));
}

/// Splits a paragraph into lines that fit beside its indentation.
fn wrapped(text: &str) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let last = lines.last_mut().expect("there is always a last line");
        if !last.is_empty() && last.chars().count() + word.chars().count() >= TEXT_WIDTH {
            lines.push(word.to_owned());
        } else {
            if !last.is_empty() {
                last.push(' ');
            }
            last.push_str(word);
        }
    }
    lines
}

const TEXT_WIDTH: usize = 92;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_paragraph_is_wrapped_between_words() {
        let lines = wrapped(&"word ".repeat(40));
        assert!(lines.len() > 1);
        assert!(lines.iter().all(|line| line.chars().count() <= TEXT_WIDTH && !line.ends_with(' ')));
    }

    #[test]
    fn only_a_missing_privilege_counts_as_a_refusal() {
        assert!(is_refusal(
            "ERROR 42501: user \"mia\" does not have SELECT privilege on relation \"orders\""
        ));
        assert!(!is_refusal("ERROR 42P01: relation \"orders\" does not exist"));
    }
}
