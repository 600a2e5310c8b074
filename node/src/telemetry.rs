//! Logging: one subscriber for the process, to standard error, as text or as JSON lines.
//!
//! Standard output belongs to results. Statement texts, passwords and keys are never logged: modules log names,
//! counts and fingerprints.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

use crate::config::LogFormat;
use crate::failure::Failure;

/// Starts logging for the whole process. Once: a second call, as in tests, changes nothing.
///
/// Errors: a filter that cannot be read.
pub fn start(format: LogFormat, filter: &str) -> Result<(), Failure> {
    let filter = EnvFilter::try_new(filter).map_err(|error| {
        Failure::usage(format!("log_filter `{filter}` cannot be read"))
            .because(&error)
            .help("use a level, or `target=level` separated by commas: `info,grantd_raft=debug`")
    })?;
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    // Failing means that a subscriber is there already, which then goes on.
    let _already_started = match format {
        LogFormat::Json => builder.json().flatten_event(true).try_init().is_err(),
        LogFormat::Text => builder.with_ansi(std::io::stderr().is_terminal()).try_init().is_err(),
    };
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_that_cannot_be_read_says_how_to_write_one() {
        let failure = start(LogFormat::Text, "grantd=loud").unwrap_err();
        assert!(failure.to_string().contains("info,grantd_raft=debug"), "{failure}");
    }
}
