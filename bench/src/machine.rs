//! On what was measured: processor, kernel, date, revision.

use std::fs;
use std::process::Command;

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// A few lines for the head of a report.
pub fn describe() -> String {
    let processors = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let value = |name: &str| {
        let line = processors.lines().find(|line| line.starts_with(name));
        line.and_then(|line| line.split_once(':')).map(|(_, value)| value.trim().to_owned())
    };
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let memory = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let memory_kb: u64 = memory
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:"))
        .and_then(|rest| rest.split_whitespace().next()?.parse().ok())
        .unwrap_or(0);
    let now = OffsetDateTime::now_utc();
    let now = now.replace_nanosecond(0).unwrap_or(now).format(&Rfc3339).unwrap_or_default();
    format!(
        "* processor: {} × {}\n* memory: {} GiB\n* kernel: Linux {}\n* date: {now}\n* grantd: {}{}\n* build: {}",
        cores,
        value("model name").unwrap_or_else(|| "unknown".to_owned()),
        memory_kb >> 20,
        kernel.trim(),
        env!("CARGO_PKG_VERSION"),
        revision().map(|revision| format!(", revision {revision}")).unwrap_or_default(),
        if cfg!(debug_assertions) { "debug: figures mean nothing" } else { "release" },
    )
}

/// The commit that is checked out where this runs, if that is a checkout. The program may be older.
fn revision() -> Option<String> {
    let output = Command::new("git").args(["describe", "--always", "--dirty"]).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    (output.status.success() && !text.trim().is_empty()).then(|| text.trim().to_owned())
}
