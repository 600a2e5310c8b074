//! What a run says: latencies, tables and plots, on the terminal as they come and in a directory when it is over; and the
//! goals of the project, each with what was measured and what may be said of it.

use std::fmt::{self, Write as _};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use hdrhistogram::Histogram;

use crate::figure::{Figure, Goal, digits};
use crate::machine;
use crate::noise::Noise;

type Failed = Box<dyn std::error::Error>;

/// The file of a report, in its directory.
const FILE: &str = "report.md";

/// Latencies from one microsecond to one minute, in nanoseconds, three digits.
pub struct Latencies(Histogram<u64>);

impl Default for Latencies {
    fn default() -> Self {
        Self(
            Histogram::new_with_bounds(1, 60_000_000_000, 3).expect("constant bounds that the crate accepts"),
        )
    }
}

impl Latencies {
    /// Records one.
    pub fn record(&mut self, latency: Duration) {
        self.0.saturating_record(u64::try_from(latency.as_nanos()).unwrap_or(u64::MAX));
    }

    /// Takes over what another one has recorded.
    pub fn merge(&mut self, other: &Self) {
        self.0.add(&other.0).expect("both have the same bounds");
    }

    /// How many.
    pub fn count(&self) -> u64 {
        self.0.len()
    }

    /// The latency that `share` (0 to 1) of all are not above, in microseconds.
    #[allow(clippy::cast_precision_loss, reason = "a minute of nanoseconds is below 2^53")]
    pub fn at(&self, share: f64) -> f64 {
        self.0.value_at_quantile(share) as f64 / 1_000.0
    }

    /// `p50 … p99 … (n …)`.
    pub fn line(&self) -> String {
        format!("p50 {:>8.1} µs   p99 {:>8.1} µs   (n {})", self.at(0.5), self.at(0.99), self.count())
    }
}

/// What grantd wants to be fast at, in the order of its list of goals.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Line {
    /// One check, in process.
    Check,
    /// The same, beside others that decide.
    Peers,
    /// With ten and a hundred times as many grants.
    Size,
    /// While the catalog changes.
    Publishing,
    /// Bytes.
    Memory,
    /// From a neighbour on the same host.
    UnixSocket,
    /// Over HTTPS, and over QUIC between nodes.
    Network,
    /// As SQL.
    Pgwire,
    /// A change that gives.
    Grant,
    /// A change that takes away.
    Revoke,
    /// From nothing to the first answer.
    Start,
    /// Leases of cloud roles.
    Credentials,
}

impl Line {
    const ALL: [Self; 12] = [
        Self::Check,
        Self::Peers,
        Self::Size,
        Self::Publishing,
        Self::Memory,
        Self::UnixSocket,
        Self::Network,
        Self::Pgwire,
        Self::Grant,
        Self::Revoke,
        Self::Start,
        Self::Credentials,
    ];

    /// What the line is about.
    pub const fn text(self) -> &'static str {
        match self {
            Self::Check => "check by id, in process",
            Self::Peers => "against peers",
            Self::Size => "1 M and 10 M grants",
            Self::Publishing => "under 1,000 changes/s",
            Self::Memory => "memory",
            Self::UnixSocket => "over a Unix socket",
            Self::Network => "HTTP, QUIC forward",
            Self::Pgwire => "pgwire, prepared, pipelined",
            Self::Grant => "GRANT on 3 nodes",
            Self::Revoke => "REVOKE",
            Self::Start => "start with 1 M grants",
            Self::Credentials => "leases of cloud roles",
        }
    }
}

/// What was measured for a line of the goals.
pub struct Measured {
    /// Which line.
    pub line: Line,
    /// What of it: `p50`, or the peer.
    pub what: String,
    /// What shall be.
    pub goal: Goal,
    /// The unit of figure and goal.
    pub unit: &'static str,
    /// What is.
    pub figure: Figure,
    /// What it is compared with: the floor or the peer and its figure. Empty: nothing but the goal.
    pub beside: String,
}

/// A table: the same text on the terminal and in Markdown.
pub struct Table {
    columns: Vec<String>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table with these columns.
    pub fn new(columns: &[&str]) -> Self {
        Self { columns: columns.iter().map(|&column| column.to_owned()).collect(), rows: Vec::new() }
    }

    /// Adds a row, with a cell for each column.
    pub fn row(&mut self, cells: impl IntoIterator<Item = impl Into<String>>) {
        self.rows.push(cells.into_iter().map(Into::into).collect());
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = |at: usize| {
            let cells = self.rows.iter().filter_map(|row| row.get(at));
            cells.chain(self.columns.get(at)).map(|cell| cell.chars().count()).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..self.columns.len()).map(width).collect();
        let line = |f: &mut fmt::Formatter<'_>, cells: &[String]| {
            for (cell, width) in cells.iter().zip(&widths) {
                write!(f, "| {cell:<width$} ")?;
            }
            writeln!(f, "|")
        };
        line(f, &self.columns)?;
        let rules: Vec<String> = widths.iter().map(|width| "-".repeat(*width)).collect();
        line(f, &rules)?;
        self.rows.iter().try_for_each(|row| line(f, row))
    }
}

/// One run's report.
pub struct Report {
    directory: Option<PathBuf>,
    text: String,
    measured: Vec<Measured>,
    /// What could not be measured here, and why.
    missing: Vec<String>,
}

impl Report {
    /// Begins a report with the machine and the date. `directory`: where it and its plots are written.
    pub fn begin(directory: Option<&Path>) -> Result<Self, Failed> {
        if let Some(directory) = directory {
            fs::create_dir_all(directory)
                .map_err(|error| format!("cannot make the directory {}: {error}", directory.display()))?;
        }
        let directory = directory.map(Path::to_owned);
        let mut report = Self { directory, text: String::new(), measured: Vec::new(), missing: Vec::new() };
        report.say("# grantd, measured\n");
        report.say(&machine::describe());
        Ok(report)
    }

    /// A part of it.
    pub fn heading(&mut self, text: &str) {
        self.say(&format!("\n## {text}\n"));
    }

    /// A sentence.
    pub fn say(&mut self, text: &str) {
        println!("{text}");
        // Writing to a string does not fail.
        let _ = writeln!(self.text, "{text}");
    }

    /// A line of figures, which keeps its blanks in Markdown.
    pub fn line(&mut self, text: &str) {
        println!("{text}");
        let _ = writeln!(self.text, "    {text}");
    }

    /// A table.
    pub fn table(&mut self, table: &Table) {
        self.say(&table.to_string());
    }

    /// A plot, drawn by `draw` into the file that it is given. Without a directory there is none.
    pub fn plot(&mut self, name: &str, draw: impl FnOnce(&Path) -> Result<(), Failed>) -> Result<(), Failed> {
        let Some(directory) = &self.directory else { return Ok(()) };
        let file = format!("{name}.svg");
        draw(&directory.join(&file))?;
        let _ = writeln!(self.text, "\n![{name}]({file})\n");
        Ok(())
    }

    /// Something was measured that has a goal.
    pub fn measured(&mut self, measured: Measured) {
        self.measured.push(measured);
    }

    /// Something that has a goal was measured in these rounds, and is compared with nothing else.
    pub fn rounds(&mut self, line: Line, what: &str, goal: Goal, unit: &'static str, rounds: &[f64]) {
        if let Some(figure) = Figure::of(rounds) {
            self.measured(Measured {
                line,
                what: what.to_owned(),
                goal,
                unit,
                figure,
                beside: String::new(),
            });
        }
    }

    /// Something is not measured here.
    pub fn missing(&mut self, what: String) {
        self.say(&format!("not measured: {what}"));
        self.missing.push(what);
    }

    /// Says what came of the goals, and how quiet the machine was; writes the file.
    pub fn end(mut self, noise: &Noise) -> Result<(), Failed> {
        self.heading("The goals");
        self.table(&goals(&self.measured));
        if !self.missing.is_empty() {
            self.say(&format!("Not measured: {}.\n", self.missing.join("; ")));
        }
        self.say(&format!(
            "The machine, all the time: {}. ± is half the range of the rounds without their outermost tenths; where it is \
             larger than the distance from the goal, there is no verdict.",
            noise.line()
        ));
        if let Some(directory) = &self.directory {
            let path = directory.join(FILE);
            fs::write(&path, &self.text)
                .map_err(|error| format!("cannot write {}: {error}", path.display()))?;
            println!("\nwritten to {}", path.display());
        }
        Ok(())
    }
}

fn goals(measured: &[Measured]) -> Table {
    let mut table = Table::new(&["", "what", "goal", "measured", "beside", "verdict"]);
    for line in Line::ALL {
        let mut rows = measured.iter().filter(|measured| measured.line == line).peekable();
        if rows.peek().is_none() {
            table.row([line.text(), "", "", "", "", "not measured in this run"]);
        }
        for measured in rows {
            let (word, limit) = match measured.goal {
                Goal::AtMost(limit) => ("≤", limit),
                Goal::AtLeast(limit) => ("≥", limit),
            };
            table.row([
                line.text().to_owned(),
                measured.what.clone(),
                format!("{word} {} {}", digits(limit), measured.unit),
                format!("{} {}", measured.figure, measured.unit),
                measured.beside.clone(),
                measured.goal.judge(measured.figure).to_string(),
            ]);
        }
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_the_goals_without_a_figure_says_so() {
        let figure = Figure { value: 45.0, noise: 0.35 };
        let measured = Measured {
            line: Line::Check,
            what: "p50".to_owned(),
            goal: Goal::AtMost(50.0),
            unit: "ns",
            figure,
            beside: String::new(),
        };
        let text = goals(&[measured]).to_string();
        assert!(text.contains("noise ± 35 % is larger than the effect of 10 %: no verdict"), "{text}");
        assert_eq!(text.matches("not measured in this run").count(), Line::ALL.len() - 1, "{text}");
    }
}
