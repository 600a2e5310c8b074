//! Logging: one subscriber for the process, to standard error, as text or as JSON lines.
//!
//! Standard output belongs to results. Statement texts, passwords and keys are never logged: modules log names,
//! counts and fingerprints.

use std::io::IsTerminal;

use tracing::level_filters::LevelFilter;
use tracing::{Level, Metadata};
use tracing_subscriber::filter::{FilterExt as _, filter_fn};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer as _, fmt, registry};

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
    let filter = filter.and(filter_fn(is_fit).with_max_level_hint(LevelFilter::TRACE));
    let layer = fmt::layer().with_writer(std::io::stderr);
    // Failing means that a subscriber is there already, which then goes on.
    let _already_started = match format {
        LogFormat::Json => {
            registry().with(layer.json().flatten_event(true).with_filter(filter)).try_init().is_err()
        }
        LogFormat::Text => {
            let layer = layer.with_ansi(std::io::stderr().is_terminal());
            registry().with(layer.with_filter(filter)).try_init().is_err()
        }
    };
    Ok(())
}

/// Whether an event or a span is fit for a log, whatever the filter says.
fn is_fit(told: &Metadata<'_>) -> bool {
    let fine = *told.level() > Level::INFO;
    !(tells_answers(told.target()) || fine && tells_requests(told.target()))
}

/// Whether what speaks there writes whole answers as warnings. Why a token was refused is said by `cloud::gcp`, filtered.
fn tells_answers(target: &str) -> bool {
    target.split("::").next() == Some("gcp_auth")
}

/// Whether what speaks there writes whole requests at its finer levels: with tokens, external ids, keys. Nobody who turns the log
/// up to look for a fault asks for that, so these stay at `info` whatever the filter says.
fn tells_requests(target: &str) -> bool {
    let crate_name = target.split("::").next().unwrap_or(target);
    crate_name.starts_with("aws_")
        || ["h2", "hyper", "hyper_util", "object_store", "reqwest"].contains(&crate_name)
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::{Arc, Mutex};

    use super::*;

    #[test]
    fn a_filter_that_cannot_be_read_says_how_to_write_one() {
        let failure = start(LogFormat::Text, "grantd=loud").unwrap_err();
        assert!(failure.to_string().contains("info,grantd_raft=debug"), "{failure}");
    }

    /// Case 107: `gcp_auth` warns with the body of an answer, and tells its steps at finer levels.
    #[test]
    fn what_writes_whole_answers_is_not_heard_at_any_level() {
        #[derive(Clone, Default)]
        struct Heard(Arc<Mutex<Vec<u8>>>);
        impl io::Write for Heard {
            fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
                self.0.lock().unwrap().extend_from_slice(bytes);
                Ok(bytes.len())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let heard = Heard::default();
        let writer = heard.clone();
        let filter = EnvFilter::new("trace,gcp_auth=trace").and(filter_fn(is_fit));
        let layer = fmt::layer().with_ansi(false).with_writer(move || writer.clone());
        tracing::subscriber::with_default(registry().with(layer.with_filter(filter)), || {
            tracing::error!(target: "gcp_auth::types", body = "planted-token", "token request failed");
            tracing::warn!(target: "gcp_auth::types", body = "planted-token", "token request failed");
            tracing::debug!(target: "gcp_auth", "planted-token");
            let span = tracing::debug_span!(target: "gcp_auth", "fetch", scopes = "planted-token");
            span.in_scope(|| tracing::debug!(target: "grantd_node::cloud::gcp", "ours is heard"));
        });
        let heard = String::from_utf8(heard.0.lock().unwrap().clone()).unwrap();
        assert!(heard.contains("ours is heard") && !heard.contains("planted-token"), "{heard}");
    }

    /// Case 107: the SDK's `trace` has the body of a request, and the token in it.
    #[test]
    fn crates_that_write_whole_requests_are_told_from_ours() {
        for target in [
            "aws_smithy_runtime::client::orchestrator",
            "aws_sigv4",
            "hyper_util::client",
            "reqwest::connect",
        ] {
            assert!(tells_requests(target), "{target}");
        }
        for target in ["grantd_node::cloud::aws", "awsome", "hyperion"] {
            assert!(!tells_requests(target), "{target}");
        }
    }
}
