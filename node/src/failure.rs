//! What an operator reads when a command fails: what, why, and the way out.
//!
//! Operations have error types of their own; this is what they become at the rim, where a person reads them. It
//! carries no secret: it is made of names, addresses and causes only.

use std::error::Error;
use std::fmt;

/// Why a command ends, as its exit code says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It was tried and did not succeed.
    Failed,
    /// What was asked for makes no sense: a flag, a key, a value. Trying again does not help.
    Usage,
    /// Nobody answered where an answer was expected.
    Unreachable,
}

/// A failed command: what failed, its causes from the nearest to the first, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Which exit code it ends with.
    pub kind: Kind,
    /// The fact and its subject. Lower case, no full stop.
    pub what: String,
    /// The chain of causes, nearest first. Empty: `what` says it all.
    pub causes: Vec<String>,
    /// The way out, as a sentence or a command.
    pub help: Option<String>,
}

impl Kind {
    /// The process's exit code: 1 failed, 2 usage (clap's own code for it), 3 unreachable.
    pub const fn exit_code(self) -> u8 {
        match self {
            Self::Failed => 1,
            Self::Usage => 2,
            Self::Unreachable => 3,
        }
    }
}

impl Failure {
    /// A failure without cause and way out.
    pub fn new(what: impl Into<String>) -> Self {
        Self { kind: Kind::Failed, what: what.into(), causes: Vec::new(), help: None }
    }

    /// A wrong flag, key or value.
    pub fn usage(what: impl Into<String>) -> Self {
        Self { kind: Kind::Usage, ..Self::new(what) }
    }

    /// Nobody answered.
    pub fn unreachable(what: impl Into<String>) -> Self {
        Self { kind: Kind::Unreachable, ..Self::new(what) }
    }

    /// Adds `error` and everything that it names as its source.
    #[must_use]
    pub fn because(mut self, error: &(dyn Error + 'static)) -> Self {
        let mut next = Some(error);
        while let Some(error) = next {
            self.causes.push(error.to_string());
            next = error.source();
        }
        self
    }

    /// Adds a cause that is known as a text only.
    #[must_use]
    pub fn caused_by(mut self, cause: impl Into<String>) -> Self {
        self.causes.push(cause.into());
        self
    }

    /// Says what to do about it.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "error: {}", self.what)?;
        for cause in &self.causes {
            write!(f, "\ncause: {cause}")?;
        }
        match &self.help {
            Some(help) => write!(f, "\n help: {help}"),
            None => Ok(()),
        }
    }
}

impl Error for Failure {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_reads_as_what_cause_and_way_out() {
        let cause = std::io::Error::new(std::io::ErrorKind::NotFound, "no such file");
        let failure = Failure::usage("cannot read `a.toml`").because(&cause).help("create it");
        assert_eq!(failure.to_string(), "error: cannot read `a.toml`\ncause: no such file\n help: create it");
        assert_eq!(failure.kind.exit_code(), 2);
    }
}
