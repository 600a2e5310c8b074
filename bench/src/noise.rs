//! The machine while it is measured on: how fast the same arithmetic and the same pointer chase are from moment to moment,
//! and what others used of its processors.

use std::collections::HashMap;
use std::fs;
use std::hint::black_box;
use std::io;
use std::time::Instant;

use crate::figure::Figure;
use crate::workload::Dice;

/// Steps of the hot loop: some 50 µs, all in registers.
const HOT_STEPS: u32 = 50_000;
/// Bytes of the pointer chase: more than the first level of cache holds, less than the second here.
const CHASE_BYTES: usize = 1 << 20;
/// A line of cache; each step touches another one.
const LINE_BYTES: usize = 64;
const LINES: usize = CHASE_BYTES / LINE_BYTES;
/// Steps of one chase: some 150 µs.
const CHASE_STEPS: usize = LINES;
/// The seed of the chase's order.
const SEED: u64 = 5;

/// A line of which only the first number is used: the next line.
#[derive(Clone, Copy)]
#[repr(align(64))]
struct Line([u32; LINE_BYTES / 4]);

/// Measures the machine, once in each round of whatever else is measured.
pub struct Calibration {
    lines: Vec<Line>,
    hot: Vec<f64>,
    chase: Vec<f64>,
    began: Ticks,
}

/// What came of it.
#[derive(Clone, Copy, Debug)]
pub struct Noise {
    /// Nanoseconds of a step of the hot loop.
    pub hot: Figure,
    /// Nanoseconds of a step of the chase.
    pub chase: Figure,
    /// What others used of all processors, as a share: other processes, the kernel's own work, a hypervisor's theft.
    pub foreign: f64,
}

impl Calibration {
    /// Lays the chase out and begins to count.
    pub fn new() -> io::Result<Self> {
        let mut order: Vec<u32> = (0..).take(LINES).collect();
        let mut dice = Dice::new(SEED);
        for at in (1..LINES).rev() {
            order.swap(at, dice.below(at + 1));
        }
        let mut lines = vec![Line([0; LINE_BYTES / 4]); LINES];
        for (at, line) in order.iter().enumerate() {
            lines[*line as usize].0[0] = order[(at + 1) % LINES];
        }
        Ok(Self { lines, hot: Vec::new(), chase: Vec::new(), began: Ticks::now()? })
    }

    /// Measures both once.
    pub fn once(&mut self) {
        let begun = Instant::now();
        let mut value = black_box(1_u64);
        for _ in 0..HOT_STEPS {
            value ^= value << 13;
            value ^= value >> 7;
            value ^= value << 17;
        }
        black_box(value);
        self.hot.push(begun.elapsed().as_secs_f64() * 1e9 / f64::from(HOT_STEPS));
        // The first walk brings the lines into the cache, as a loop that is measured has its own there.
        black_box(self.walk());
        let begun = Instant::now();
        black_box(self.walk());
        #[allow(clippy::cast_precision_loss, reason = "a constant")]
        self.chase.push(begun.elapsed().as_secs_f64() * 1e9 / CHASE_STEPS as f64);
    }

    /// What there was since it was made. None: nothing was measured.
    pub fn noise(&self) -> io::Result<Option<Noise>> {
        let foreign = Ticks::now()?.foreign_since(&self.began);
        let figures = Figure::of(&self.hot).zip(Figure::of(&self.chase));
        Ok(figures.map(|(hot, chase)| Noise { hot, chase, foreign }))
    }

    fn walk(&self) -> u32 {
        let mut at = black_box(0_u32);
        for _ in 0..CHASE_STEPS {
            at = self.lines[at as usize].0[0];
        }
        at
    }
}

impl Noise {
    /// How uncertain an absolute figure is: as much as the worse of the two loops moved.
    pub fn share(&self) -> f64 {
        self.hot.noise.max(self.chase.noise)
    }

    /// One line for people.
    pub fn line(&self) -> String {
        format!(
            "hot loop {} ns a step, 1 MB pointer chase {} ns a step, foreign use of the processors {:.0} %",
            self.hot,
            self.chase,
            self.foreign * 100.0
        )
    }
}

/// Counts of processor time, in the kernel's hundredths of a second.
struct Ticks {
    all: u64,
    busy: u64,
    own: u64,
}

impl Ticks {
    fn now() -> io::Result<Self> {
        let stat = fs::read_to_string("/proc/stat")?;
        let fields: Vec<u64> = stat
            .lines()
            .next()
            .unwrap_or("")
            .split_whitespace()
            .skip(1)
            // user nice system idle iowait irq softirq steal; guests are part of user.
            .take(8)
            .filter_map(|field| field.parse().ok())
            .collect();
        let all: u64 = fields.iter().sum();
        let idle: u64 = fields.iter().skip(3).take(2).sum();
        Ok(Self { all, busy: all - idle, own: own_ticks()? })
    }

    #[allow(clippy::cast_precision_loss, reason = "ticks of one run are far below 2^53")]
    fn foreign_since(&self, before: &Self) -> f64 {
        let busy = self.busy.saturating_sub(before.busy);
        let own = self.own.saturating_sub(before.own);
        busy.saturating_sub(own) as f64 / self.all.saturating_sub(before.all).max(1) as f64
    }
}

/// What this process and all that it started have used, those that ended included.
fn own_ticks() -> io::Result<u64> {
    let mut processes = HashMap::new();
    for entry in fs::read_dir("/proc")? {
        let name = entry?.file_name();
        let Some(id) = name.to_str().and_then(|name| name.parse::<u32>().ok()) else { continue };
        // A process that has just ended is counted by who waited for it.
        let Ok(stat) = fs::read_to_string(format!("/proc/{id}/stat")) else { continue };
        // The name, in brackets, may hold blanks. What follows it begins at the third field: state, parent, …
        let rest = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
        let fields: Vec<u64> = rest.split_whitespace().map(|field| field.parse().unwrap_or(0)).collect();
        let parent = fields.get(1).copied().unwrap_or(0);
        // Fields 14 to 17: user and system, own and of children that were waited for.
        processes.insert(u64::from(id), (parent, fields.iter().skip(11).take(4).sum::<u64>()));
    }
    let this = u64::from(std::process::id());
    let is_ours = |mut id: u64| {
        // A tree of processes is not deeper than there are processes.
        for _ in 0..processes.len() {
            match processes.get(&id) {
                _ if id == this => return true,
                Some((parent, _)) => id = *parent,
                None => return false,
            }
        }
        false
    };
    Ok(processes.iter().filter(|(id, _)| is_ours(**id)).map(|(_, (_, ticks))| ticks).sum())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_chase_visits_each_line_once() {
        let calibration = Calibration::new().expect("/proc is there");
        let mut at = 0;
        for step in 1..=LINES {
            at = calibration.lines[at as usize].0[0];
            assert_eq!(at == 0, step == LINES, "back at the start after {step} steps");
        }
    }

    #[test]
    fn what_this_process_does_is_not_foreign() {
        let before = Ticks::now().expect("/proc is there");
        let begun = Instant::now();
        let mut calibration = Calibration::new().expect("/proc is there");
        while begun.elapsed().as_millis() < 300 {
            calibration.once();
        }
        let after = Ticks::now().expect("/proc is there");
        assert!(after.own >= before.own + 10, "300 ms are 30 ticks, {} were counted", after.own - before.own);
        assert!(calibration.noise().expect("/proc is there").is_some());
    }
}
