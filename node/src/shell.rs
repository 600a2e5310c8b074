//! The SQL shell: statements in, from a terminal, a pipe or `-e`; results out as a table, CSV or JSON.
//!
//! It is an ordinary client of the PostgreSQL protocol and knows nothing of the cluster. Statements that may
//! hold a password or a URI never enter its history. Read `split` for where a statement ends, `meta` for what a backslash begins.

use std::io::{self, BufRead, IsTerminal, Write};
use std::time::{Duration, Instant};

use crate::failure::{Failure, Kind};

pub mod split;
pub mod output;
pub mod meta;
pub mod connection;
mod line;

use connection::{Connection, StatementError};
use line::{Input, LineReader};
use meta::Meta;
use output::Format;

/// The most bytes of one statement. The server has its own bound; this one keeps a pipe of garbage out of memory.
pub const STATEMENT_BYTES_MAX: usize = 16 << 20;

/// A running shell.
pub struct Shell {
    connection: Connection,
    format: Format,
    timing: bool,
}

/// What the loop does after a line.
enum Next {
    GoOn,
    Leave,
}

impl Shell {
    /// A shell on `connection`.
    pub fn new(connection: Connection, format: Format) -> Self {
        Self { connection, format, timing: false }
    }

    /// Runs statements from `-e`, from a pipe, or from the terminal until the user leaves.
    ///
    /// Errors: with `-e` or a pipe the first statement that fails ends it; on a terminal errors are shown and it goes
    /// on.
    pub async fn run(&mut self, execute: &[String]) -> Result<(), Failure> {
        if !execute.is_empty() {
            for text in execute {
                self.run_text(text).await?;
            }
            Ok(())
        } else if io::stdin().is_terminal() {
            self.interact().await
        } else {
            self.run_pipe().await
        }
    }

    /// Each statement of `text`; the last one needs no `;`.
    async fn run_text(&mut self, text: &str) -> Result<(), Failure> {
        let mut rest = text;
        while !split::is_blank(rest) {
            if let Some(meta) = meta::parse(rest) {
                let meta = meta.map_err(Failure::usage)?;
                return self.run_meta(meta).await.map(|_next| ());
            }
            let end = split::statement_end(rest).unwrap_or(rest.len());
            self.run_or_fail(&rest[..end]).await?;
            rest = &rest[end..];
        }
        Ok(())
    }

    async fn run_pipe(&mut self) -> Result<(), Failure> {
        let mut buffer = String::new();
        for line in io::stdin().lock().lines() {
            let line = line.map_err(|error| Failure::new("cannot read statements").because(&error))?;
            if split::is_blank(&buffer)
                && let Some(meta) = meta::parse(&line)
            {
                if matches!(self.run_meta(meta.map_err(Failure::usage)?).await?, Next::Leave) {
                    return Ok(());
                }
                continue;
            }
            push_line(&mut buffer, &line)?;
            while let Some(end) = split::statement_end(&buffer) {
                let statement: String = buffer.drain(..end).collect();
                self.run_or_fail(&statement).await?;
            }
        }
        self.run_text(&buffer).await
    }

    async fn interact(&mut self) -> Result<(), Failure> {
        println!("grantd SQL shell. Statements end with `;`. \\? for help, \\q to leave.");
        let mut reader = LineReader::new()?;
        let mut buffer = String::new();
        loop {
            let prompt = self.connection.prompt(!split::is_blank(&buffer));
            // The editor blocks; what else runs in this process (the nodes of a demo) must go on.
            match tokio::task::block_in_place(|| reader.read(&prompt))? {
                Input::End => return Ok(()),
                Input::Interrupted => buffer.clear(),
                Input::Line(line) => {
                    if let Next::Leave = self.take_line(&mut reader, &mut buffer, &line).await? {
                        return Ok(());
                    }
                }
            }
        }
    }

    async fn take_line(
        &mut self,
        reader: &mut LineReader,
        buffer: &mut String,
        line: &str,
    ) -> Result<Next, Failure> {
        if split::is_blank(buffer)
            && let Some(meta) = meta::parse(line)
        {
            reader.remember(line);
            return match meta {
                Ok(meta) => self.run_meta(meta).await,
                Err(problem) => {
                    eprintln!("{problem}");
                    Ok(Next::GoOn)
                }
            };
        }
        if let Err(failure) = push_line(buffer, line) {
            eprintln!("{failure}");
            buffer.clear();
        }
        while let Some(end) = split::statement_end(buffer) {
            let statement: String = buffer.drain(..end).collect();
            reader.remember(statement.trim());
            self.run_and_show(&statement).await?;
        }
        if split::is_blank(buffer) {
            buffer.clear();
        }
        Ok(Next::GoOn)
    }

    async fn run_meta(&mut self, meta: Meta) -> Result<Next, Failure> {
        match meta {
            Meta::Help => print!("{}", meta::help()),
            Meta::Quit => return Ok(Next::Leave),
            Meta::Run(statement) => self.run_and_show(&statement).await?,
            Meta::Timing(wanted) => {
                self.timing = wanted.unwrap_or(!self.timing);
                println!("timing is {}", if self.timing { "on" } else { "off" });
            }
            Meta::Format(format) => self.format = format,
            Meta::ConnectionInfo => println!("{}", self.connection.describe()),
        }
        Ok(Next::GoOn)
    }

    /// Runs one statement; an error of the server ends the shell's work.
    async fn run_or_fail(&mut self, statement: &str) -> Result<(), Failure> {
        match self.run_statement(statement).await {
            Ok(()) => Ok(()),
            Err(StatementError::Refused(text)) => {
                eprintln!("{text}");
                Err(Failure::new("a statement failed; those after it were not run"))
            }
            Err(StatementError::Lost(failure)) => Err(failure),
        }
    }

    /// Runs one statement and shows an error of the server; only a lost connection ends the shell.
    async fn run_and_show(&mut self, statement: &str) -> Result<(), Failure> {
        match self.run_statement(statement).await {
            Ok(()) => Ok(()),
            Err(StatementError::Refused(text)) => {
                eprintln!("{text}");
                Ok(())
            }
            Err(StatementError::Lost(failure)) => {
                eprintln!("{failure}");
                eprintln!("connecting again");
                self.connection.reconnect().await
            }
        }
    }

    async fn run_statement(&mut self, statement: &str) -> Result<(), StatementError> {
        let statement = statement.trim();
        if split::is_blank(statement) {
            return Ok(());
        }
        let start = Instant::now();
        let reply = self.connection.run(statement, matches!(self.format, Format::Json)).await;
        let took = start.elapsed();
        for notice in self.connection.notices() {
            eprintln!("{notice}");
        }
        let mut out = io::stdout().lock();
        for part in reply? {
            let written = match part {
                connection::Part::Rows(rows) => output::write(&mut out, self.format, &rows),
                connection::Part::Done(count) if matches!(self.format, Format::Table) => {
                    writeln!(out, "{}", done(statement, count))
                }
                connection::Part::Done(_) => Ok(()),
            };
            written.map_err(cannot_write)?;
        }
        if self.timing {
            writeln!(out, "({})", shown(took)).map_err(cannot_write)?;
        }
        out.flush().map_err(cannot_write)
    }
}

fn cannot_write(error: io::Error) -> StatementError {
    let failure = Failure { kind: Kind::Failed, ..Failure::new("cannot write results").because(&error) };
    StatementError::Lost(failure)
}

fn push_line(buffer: &mut String, line: &str) -> Result<(), Failure> {
    if buffer.len() + line.len() >= STATEMENT_BYTES_MAX {
        return Err(Failure::new(format!("a statement of more than {STATEMENT_BYTES_MAX} bytes"))
            .help("split it, or end it with `;`"));
    }
    buffer.push_str(line);
    buffer.push('\n');
    Ok(())
}

/// What is shown for a statement without rows: its first word, and how many rows it changed if it says so.
fn done(statement: &str, count: u64) -> String {
    let verb = statement
        .split_whitespace()
        .find(|word| word.starts_with(|c: char| c.is_ascii_alphabetic()))
        .map_or_else(String::new, |word| word.trim_end_matches(';').to_ascii_uppercase());
    match verb.as_str() {
        "INSERT" | "UPDATE" | "DELETE" | "UPSERT" => {
            format!("{verb}: {count} {}", if count == 1 { "row" } else { "rows" })
        }
        _ => format!("{verb}: done"),
    }
}

/// A duration as a person reads it: `870 µs`, `3.2 ms`, `1.25 s`.
pub fn shown(duration: Duration) -> String {
    let seconds = duration.as_secs_f64();
    if seconds < 0.001 {
        format!("{:.0} µs", seconds * 1e6)
    } else if seconds < 1.0 {
        format!("{:.1} ms", seconds * 1e3)
    } else {
        format!("{seconds:.2} s")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_shown_in_the_unit_that_a_person_would_choose() {
        assert_eq!(shown(Duration::from_micros(870)), "870 µs");
        assert_eq!(shown(Duration::from_micros(3_240)), "3.2 ms");
        assert_eq!(shown(Duration::from_millis(1_250)), "1.25 s");
    }

    #[test]
    fn a_statement_without_rows_says_what_was_done() {
        assert_eq!(done("grant select on t to x;", 0), "GRANT: done");
        assert_eq!(done("INSERT INTO t VALUES (1)", 1), "INSERT: 1 row");
    }

    #[test]
    fn a_statement_without_end_is_refused_before_it_fills_the_memory() {
        let mut buffer = "x".repeat(STATEMENT_BYTES_MAX - 1);
        assert!(push_line(&mut buffer, "y").is_err());
    }
}
