//! The same statements here and on Debian's PostgreSQL give the same rows, or are refused by both.
//!
//! `differential/words.rs` says what the statements are made of, `differential/generate.rs` makes them from a seed.
//! Compared are: the rows as text, in their order where the statement fixes it; how many rows a change is of, and all
//! rows of its table after it; of two refusals the classes of their SQLSTATEs. What differs on purpose is in
//! `differential/known.rs`, each with a sentence of docs/compatibility.md. `GRANTD_DIFFERENTIAL_SEED` and
//! `GRANTD_DIFFERENTIAL_STATEMENTS` choose other statements.

#![allow(missing_docs, clippy::print_stderr, reason = "tests")]

use std::collections::BTreeMap;

use grantd_cluster_tests::postgres::Postgres;
use grantd_cluster_tests::process::Cluster;
use tokio_postgres::{Client, SimpleQueryMessage};

use self::generate::{Generator, Statement};
use self::known::{Known, known};
use self::sql::Sql;

#[path = "differential/generate.rs"]
mod generate;
#[path = "differential/known.rs"]
mod known;
#[path = "differential/sql.rs"]
mod sql;
#[path = "differential/words.rs"]
mod words;

const SEED: u64 = 20_221_213;
/// How many statements are compared; those that are not here yet are not counted.
const STATEMENTS: usize = 1_500;
/// The tables get their first rows again after so many changes, so that they neither empty nor swell.
const CHANGES_MAX: usize = 12;
/// How many simpler statements are tried to explain one difference.
const ATTEMPTS_MAX: usize = 600;
/// How many differences are shown.
const SHOWN_MAX: usize = 12;
/// How many rows of each side.
const ROWS_SHOWN: usize = 3;
/// A statement that takes longer is a difference.
const TIMEOUT: &str = "SET statement_timeout = '20s'";

/// What one side says to a statement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Rows as text, or how many were changed.
    Rows { names: Vec<String>, rows: Vec<Vec<Option<String>>>, count: u64 },
    /// SQLSTATE and text.
    Refused { code: String, message: String },
}

/// Both, with the same tables.
struct Both {
    postgres: Client,
    ours: Client,
    seed: u64,
    /// The changes since the tables had their first rows.
    changes: Vec<String>,
}

/// How two answers compare.
enum Verdict {
    Same,
    Known(&'static Known),
    Different(Box<(Answer, Answer)>),
}

async fn ask(client: &Client, text: &str, is_ordered: bool) -> Answer {
    let messages = match client.simple_query(text).await {
        Ok(messages) => messages,
        Err(error) => {
            let refusal = error.as_db_error().unwrap_or_else(|| panic!("{text}: {error}"));
            return Answer::Refused {
                code: refusal.code().code().to_owned(),
                message: refusal.message().to_owned(),
            };
        }
    };
    let (mut names, mut rows, mut count) = (Vec::new(), Vec::new(), 0);
    for message in messages {
        match message {
            SimpleQueryMessage::Row(row) => {
                rows.push((0..row.len()).map(|at| row.get(at).map(str::to_owned)).collect());
            }
            SimpleQueryMessage::RowDescription(columns) => {
                names = columns.iter().map(|column| column.name().to_owned()).collect();
            }
            SimpleQueryMessage::CommandComplete(n) => count = n,
            _ => {}
        }
    }
    if !is_ordered {
        rows.sort();
    }
    Answer::Rows { names, rows, count }
}

/// 22 and 23 are both of the data, and which of several is met first depends on the order of the work.
fn class(code: &str) -> &str {
    if code.starts_with("23") { "22" } else { &code[..2] }
}

impl Both {
    async fn run(&self, text: &str) {
        for client in [&self.postgres, &self.ours] {
            client.batch_execute(text).await.unwrap_or_else(|error| panic!("{text}: {error:?}"));
        }
    }

    async fn restore(&mut self) {
        for statement in generate::fill(self.seed) {
            self.run(&statement).await;
        }
        self.changes.clear();
    }

    /// The tables as they were before the statement that is being looked at.
    async fn replay(&mut self, changes: &[String]) {
        self.restore().await;
        for change in changes {
            let _ = self.postgres.simple_query(change).await;
            let _ = self.ours.simple_query(change).await;
        }
    }

    async fn compare(&self, statement: &Statement) -> Verdict {
        let text = statement.sql.to_string();
        let (mut theirs, mut ours) = tokio::join!(
            ask(&self.postgres, &text, statement.is_ordered),
            ask(&self.ours, &text, statement.is_ordered)
        );
        for table in &statement.changes {
            if theirs != ours {
                break;
            }
            let all = format!("SELECT * FROM {table}");
            (theirs, ours) = tokio::join!(ask(&self.postgres, &all, false), ask(&self.ours, &all, false));
        }
        if let (Answer::Refused { code: one, .. }, Answer::Refused { code: other, .. }) = (&theirs, &ours)
            && class(one) == class(other)
        {
            return Verdict::Same;
        }
        if theirs == ours {
            return Verdict::Same;
        }
        match known(&text, &theirs, &ours) {
            Some(known) => Verdict::Known(known),
            None => Verdict::Different(Box::new((theirs, ours))),
        }
    }

    /// The simplest statement found that still differs.
    async fn simplest(&mut self, statement: &Statement, changes: &[String]) -> Statement {
        let mut simplest = statement.clone();
        let mut attempts = 0;
        'simpler: loop {
            let now = simplest.sql.to_string();
            let mut candidates: Vec<Sql> = simplest.sql.simpler();
            candidates.retain(|candidate| candidate.to_string().len() < now.len());
            candidates.sort_by_key(|candidate| candidate.to_string().len());
            for sql in candidates {
                attempts += 1;
                if attempts > ATTEMPTS_MAX {
                    return simplest;
                }
                let candidate = Statement { sql, ..simplest.clone() };
                let verdict = self.compare(&candidate).await;
                if !statement.changes.is_empty() {
                    self.replay(changes).await;
                }
                if matches!(verdict, Verdict::Different(_)) {
                    simplest = candidate;
                    continue 'simpler;
                }
            }
            return simplest;
        }
    }

    /// What is to be said of a difference.
    async fn explain(&mut self, statement: &Statement, number: usize) -> String {
        let mut changes = std::mem::take(&mut self.changes);
        if !statement.changes.is_empty() {
            self.restore().await;
            if matches!(self.compare(statement).await, Verdict::Different(_)) {
                changes.clear();
            }
            self.replay(&changes).await;
        }
        let simplest = self.simplest(statement, &changes).await;
        let answers = match self.compare(&simplest).await {
            Verdict::Different(answers) => differing(&answers.0, &answers.1),
            _ => " (and is gone when it is run again)".to_owned(),
        };
        let mut before = String::new();
        if !statement.changes.is_empty() {
            if !changes.is_empty() {
                before = format!("\n  after {} changes:\n    {}", changes.len(), changes.join(";\n    "));
            }
            self.restore().await;
        }
        format!("statement {number} of seed {}:\n  {}{answers}{before}\n", self.seed, simplest.sql)
    }
}

/// Two answers, of rows the first ones that only one side has.
fn differing(theirs: &Answer, ours: &Answer) -> String {
    let show = |answer: &Answer, other: &Answer| match (answer, other) {
        (Answer::Rows { names, rows, count }, Answer::Rows { rows: others, .. }) => {
            let only: Vec<_> = rows.iter().filter(|row| !others.contains(row)).take(ROWS_SHOWN).collect();
            format!("{count} rows of {names:?}, among them {only:?}")
        }
        (Answer::Rows { rows, count, .. }, Answer::Refused { .. }) => {
            format!("{count} rows, among them {:?}", &rows[..rows.len().min(ROWS_SHOWN)])
        }
        (Answer::Refused { code, message }, _) => format!("{code} {message}"),
    };
    format!("\n  PostgreSQL: {}\n  here:       {}", show(theirs, ours), show(ours, theirs))
}

fn number(name: &str, otherwise: usize) -> usize {
    std::env::var(name).map_or(otherwise, |value| value.parse().expect("a number"))
}

async fn both(cluster: &Cluster, postgres: &Postgres, seed: u64) -> Both {
    let ours = cluster.root(&cluster.nodes[0]).await.expect("a connection");
    let theirs = postgres.connect().await;
    let mut both = Both { postgres: theirs, ours, seed, changes: Vec::new() };
    both.run(TIMEOUT).await;
    for statement in generate::create() {
        both.run(&statement).await;
    }
    both.restore().await;
    both
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn generated_statements_give_what_postgresql_gives() {
    let Some(postgres) = Postgres::start().await else { return };
    let cluster = Cluster::start(1).await;
    let seed = number("GRANTD_DIFFERENTIAL_SEED", usize::try_from(SEED).expect("64 bits")) as u64;
    let wanted = number("GRANTD_DIFFERENTIAL_STATEMENTS", STATEMENTS);
    let mut both = both(&cluster, &postgres, seed).await;
    let mut generator = Generator::new(seed);
    let mut tally: BTreeMap<&str, usize> = BTreeMap::new();
    let mut differences = Vec::new();
    let mut compared = 0;
    let mut made = 0;
    while compared < wanted && differences.len() < SHOWN_MAX {
        let statement = generator.statement();
        made += 1;
        let verdict = both.compare(&statement).await;
        if !matches!(&verdict, Verdict::Known(known) if known.is_missing) {
            compared += 1;
        }
        match verdict {
            Verdict::Same => *tally.entry("the same").or_default() += 1,
            Verdict::Known(known) => {
                *tally.entry(known.fact).or_default() += 1;
                if !statement.changes.is_empty() {
                    both.restore().await;
                }
            }
            Verdict::Different(_) => differences.push(both.explain(&statement, made).await),
        }
        if !statement.changes.is_empty() {
            both.changes.push(statement.sql.to_string());
            if both.changes.len() >= CHANGES_MAX {
                both.restore().await;
            }
        }
    }
    for (what, count) in &tally {
        eprintln!("{count:6} {what}");
    }
    assert!(differences.is_empty(), "{} differ:\n{}", differences.len(), differences.join("\n"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn statements_that_once_differed_give_what_postgresql_gives() {
    let Some(postgres) = Postgres::start().await else { return };
    let cluster = Cluster::start(1).await;
    let mut both = both(&cluster, &postgres, SEED).await;
    let mut differences = Vec::new();
    for text in known::ONCE {
        let is_change = ["UPDATE", "DELETE", "WITH w AS ("].iter().any(|word| text.starts_with(word));
        let changes = if is_change { vec!["pairs", "items"] } else { Vec::new() };
        let statement = Statement { sql: Sql::from(text), is_ordered: false, changes };
        let verdict = both.compare(&statement).await;
        if is_change {
            both.restore().await;
        }
        if let Verdict::Different(answers) = verdict {
            differences.push(format!("{text}{}", differing(&answers.0, &answers.1)));
        }
    }
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}

#[test]
fn what_differs_on_purpose_is_in_the_document() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/compatibility.md");
    let document = std::fs::read_to_string(path).expect("the document");
    for known in &known::KNOWN {
        assert!(document.contains(known.fact), "docs/compatibility.md does not say `{}`", known.fact);
    }
}
