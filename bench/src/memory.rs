//! What a catalog needs in memory, and which part of it: principals, tables, grants.
//!
//! Each figure is of a process of its own, which restores that much of the world several times and keeps all: what one more
//! adds to its resident memory. The first pays for what restoring leaves behind in the allocator, the others use that again.

use std::fs;
use std::process::Command;

use crate::workload::{Size, World};

/// The seed of the worlds, which `check` asks too.
pub const SEED: u64 = 5;

/// How many more are restored: ten million grants take some 8 GB then.
const MORE: usize = 4;

/// How much of a world is restored: each has what those before it have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Part {
    /// Users, roles and memberships.
    Principals,
    /// And tables, without grants.
    Tables,
    /// Everything.
    Grants,
}

/// What the parts of a world add, in bytes.
#[derive(Clone, Copy, Debug)]
pub struct Breakdown {
    /// Users, roles and memberships.
    pub principals: usize,
    /// Tables with their columns.
    pub tables: usize,
    /// Grants on the tables.
    pub grants: usize,
}

/// Restores `part` of the world, and prints how much memory it holds: what the child does.
pub fn child(scale: usize, part: Part) -> Result<(), Box<dyn std::error::Error>> {
    let whole = Size::ONE.times(scale);
    let size = match part {
        Part::Principals => Size { tables: 0, grants: 0, ..whole },
        Part::Tables => Size { grants: 0, ..whole },
        Part::Grants => whole,
    };
    let world = World::generate(size, SEED);
    let mut kept = vec![world.state()?];
    let before = resident_bytes()?;
    for _ in 0..MORE {
        kept.push(world.state()?);
    }
    println!("{}", resident_bytes()?.saturating_sub(before) / MORE);
    drop(kept);
    Ok(())
}

/// Measures each part of the world of this scale in a process of its own.
pub fn breakdown(scale: usize) -> Result<Breakdown, Box<dyn std::error::Error>> {
    let (principals, tables, grants) =
        (resident(scale, "principals")?, resident(scale, "tables")?, resident(scale, "grants")?);
    Ok(Breakdown {
        principals,
        tables: tables.saturating_sub(principals),
        grants: grants.saturating_sub(tables),
    })
}

fn resident(scale: usize, part: &str) -> Result<usize, Box<dyn std::error::Error>> {
    let out = Command::new(std::env::current_exe()?)
        .args(["memory", "--scale", &scale.to_string(), "--part", part])
        .output()?;
    if !out.status.success() {
        return Err(format!("measuring memory: {}", String::from_utf8_lossy(&out.stderr)).into());
    }
    Ok(String::from_utf8(out.stdout)?.trim().parse()?)
}

fn resident_bytes() -> std::io::Result<usize> {
    let status = fs::read_to_string("/proc/self/status")?;
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kilobytes = resident.and_then(|rest| rest.split_whitespace().next()?.parse::<usize>().ok());
    Ok(kilobytes.unwrap_or(0) * 1_024)
}
