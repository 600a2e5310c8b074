//! The privilege catalog: what exists, who holds what, and the one function that answers "may u do k on o?".
//!
//! Everything here is a value. No file, socket, clock, thread or log: time and identity come in as arguments,
//! and results go out as values, so that every replica computes the same bytes. `clippy.toml` beside this crate
//! bans what would break that.
//!
//! Read in the order of the modules below; a module uses only those above it.
//!
//! Source of the semantics: CockroachDB v22.2.14's authorization model, as `docs/compatibility.md` states it.
#![forbid(unsafe_code)]

pub mod id;
mod dense;
mod packed;
pub mod name;
pub mod privilege;
pub mod grant;
pub mod object;
pub mod role;
pub mod defaults;
pub mod setting;
pub mod protection;
pub mod system;
pub mod require;
pub mod job;
pub mod schedule;
pub mod shelf;
pub mod refusal;
pub mod command;
pub mod index;
pub mod record;
pub mod state;
pub mod invariant;
pub mod view;
pub mod decide;
pub mod live;
pub mod list;
pub mod wire;
#[cfg(any(test, feature = "spec"))]
pub mod spec;
