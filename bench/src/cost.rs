//! What a statement costs this process: time on its processors, and how often its threads slept. Three nodes and their
//! clients share the processors here, so what one of them does another one waits for.

use std::fs;
use std::io;
use std::time::Duration;

/// Linux counts a process's time in hundredths of a second, whatever its kernel counts in.
const TICK: Duration = Duration::from_millis(10);

/// What the process has used up to now.
#[derive(Clone, Copy, Debug)]
pub struct Cost {
    user: Duration,
    system: Duration,
    sleeps: u64,
}

impl Cost {
    /// Reads it from `/proc/self`.
    pub fn now() -> io::Result<Self> {
        let [user, system] = times("self")?;
        let mut sleeps = 0;
        for thread in fs::read_dir("/proc/self/task")? {
            // A thread that has just ended no longer counts.
            let status = fs::read_to_string(thread?.path().join("status")).unwrap_or_default();
            let count = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
            sleeps += count.and_then(|count| count.trim().parse::<u64>().ok()).unwrap_or(0);
        }
        Ok(Self { user, system, sleeps })
    }

    /// What was used since `before` for each of `statements`.
    #[allow(clippy::cast_precision_loss, reason = "counts of one run are far below 2^53")]
    pub fn line_since(&self, before: &Self, statements: u64) -> String {
        let statements = statements.max(1) as f64;
        let each = |now: Duration, before: Duration| (now - before).as_secs_f64() * 1e6 / statements;
        let (user, system) = (each(self.user, before.user), each(self.system, before.system));
        let sleeps = self.sleeps.saturating_sub(before.sleeps) as f64 / statements;
        format!(
            "{:.0} µs of processor ({user:.0} user, {system:.0} system), {sleeps:.1} sleeps of a thread",
            user + system
        )
    }
}

/// What a process has used of processors up to now.
pub fn process_time(id: u32) -> io::Result<Duration> {
    Ok(times(&id.to_string())?.iter().sum())
}

/// Of its own, and of the kernel for it.
fn times(process: &str) -> io::Result<[Duration; 2]> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat"))?;
    // The name, in brackets, may hold blanks. Fields 14 and 15 are the times; what follows the name begins at 3.
    let fields: Vec<&str> = stat.rsplit_once(')').map_or("", |(_, rest)| rest).split_whitespace().collect();
    let time = |field: usize| {
        let ticks = fields.get(field - 3).and_then(|text| text.parse().ok()).unwrap_or(0);
        TICK * ticks
    };
    Ok([time(14), time(15)])
}
