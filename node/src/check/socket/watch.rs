//! Tells one client what changes, version by version, for as long as it listens.
//!
//! It is told nothing by a node that cannot know what is newest: without a read lease, and without a way to the leader, the
//! watch ends with 57P03, and goes on from the last version elsewhere or later.

use std::io;
use std::time::Duration;

use grantd_catalog::id::Version;
use grantd_catalog::refusal::{Refusal, state};
use grantd_catalog::view::View;
use grantd_raft::handle::CatalogChange;
use tokio::net::UnixStream;
use tokio::time::{Instant, sleep_until};

use super::Shared;
use super::connection::{End, Never, write};
use super::peer::Asker;
use crate::check::protocol::{Answer, Changed, RECORDS_MAX};
use crate::gate::Freshness;

/// How often a client is told that nothing changed, at least: half a lease.
pub const PROGRESS_INTERVAL: Duration = Duration::from_millis(500);

/// Serves a watch to its end. Beginning: after a version, or now.
pub(super) async fn serve(
    stream: &mut UnixStream,
    shared: &Shared,
    asker: &mut Asker,
    id: u32,
    after: Option<Version>,
) -> Result<Never, End> {
    let refused = |refusal| End::Refused(id, refusal);
    let mut versions = shared.versions.clone();
    if let Some(after) = after {
        shared.gate.at_least(after).await.map_err(refused)?;
    }
    let (mut at, mut output) = (after, Vec::new());
    let mut next_progress = Instant::now();
    loop {
        // Before the look: what comes after it wakes the loop.
        versions.borrow_and_update();
        let newest = shared.gate.decide(Freshness::Local, |view| may_watch(asker, view));
        let newest = newest.await.and_then(|newest| newest).map_err(refused)?;
        let from = *at.get_or_insert(newest);
        // What is told now has at least what that view had, so all that was reported is in it.
        match shared.gate.changes_after(from) {
            Ok(told) => {
                told.changes.iter().for_each(|change| tell(id, change, &mut output));
                at = Some(told.complete_to.max(from));
            }
            Err(_forgotten) => {
                Answer::Resync { version: newest }.encode(id, &mut output);
                at = Some(newest);
            }
        }
        let complete = at >= Some(newest);
        if complete && (!output.is_empty() || Instant::now() >= next_progress) {
            Answer::Progress { version: at.unwrap_or(newest) }.encode(id, &mut output);
            next_progress = Instant::now() + PROGRESS_INTERVAL;
        }
        write(stream, &output).await?;
        output.clear();
        if complete {
            tokio::select! {
                changed = versions.changed() => changed.map_err(|_| io::Error::from(io::ErrorKind::ConnectionAborted))?,
                () = sleep_until(next_progress) => {}
                said = stream.readable() => {
                    said?;
                    listen(stream)?;
                }
            }
        }
    }
}

/// The version of the view on which this asker may watch: whoever may ask about everybody.
fn may_watch(asker: &mut Asker, view: &View) -> Result<Version, Refusal> {
    if asker.sees_all(view)? {
        return Ok(view.version());
    }
    let name = view.state().principal_name(asker.principal);
    Err(Refusal::new(state::INSUFFICIENT_PRIVILEGE, format!("user {name} may not watch what changes"))
        .with_hint("Whoever holds the system privilege VIEWACTIVITY or VIEWACTIVITYREDACTED may."))
}

/// One version's changes, in as many frames as it takes. All but the last say that more follows.
fn tell(id: u32, change: &CatalogChange, output: &mut Vec<u8>) {
    let (version, tightens) = (change.version, change.tightens);
    let records: Vec<_> = change.records.iter().filter_map(|key| Changed::of(*key)).collect();
    let mut rest = &records[..];
    loop {
        let (now, later) = rest.split_at(rest.len().min(RECORDS_MAX));
        let more = !later.is_empty();
        Answer::Changes { version, tightens, more, records: now.to_vec() }.encode(id, output);
        if !more {
            return;
        }
        rest = later;
    }
}

/// A client that watches says nothing more.
fn listen(stream: &UnixStream) -> io::Result<()> {
    match stream.try_read(&mut [0; 1]) {
        Ok(0) => Err(io::ErrorKind::UnexpectedEof.into()),
        Ok(_) => Err(io::Error::new(io::ErrorKind::InvalidData, "a client that watches asked something")),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(()),
        Err(error) => Err(error),
    }
}
