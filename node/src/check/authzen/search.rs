//! The search endpoints: who may do this, on what, and what may this one do. Exact: what is in an answer holds, and nothing
//! that holds is missing.
//!
//! A search that fills several pages is of one version: that of its first page, which the node keeps for the pages after
//! it ([`KEPT_MAX`], [`KEPT_TIME_MAX`]). What was taken away since is left out of later pages, so that nothing is told that
//! does not hold any more. A token names version, place and what was asked; it gives no right.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as BASE64;
use grantd_catalog::id::{PrincipalId, Version};
use grantd_catalog::view::View;
use hyper::StatusCode;
use serde::Serialize;
use sha2::{Digest, Sha256};

use super::entity::{self, Act, Kind, Resource, SubjectKind, Unknown};
use super::evaluation::{askable, pinned};
use super::request::{Fresh, Object, Search, read};
use super::{Checks, Fault};
use crate::check::{Check, may_ask, may_ask_about_all};
use crate::http::Asked;
use crate::http::answer::{Answer, json};
use crate::http::caller::Caller;

/// The most results of one page, and how many there are unless fewer are asked for.
pub const RESULTS_MAX: usize = 10_000;
/// The most candidates that are decided for one page: about a millisecond of work. A page may so have fewer results than
/// were asked for, and yet another page after it.
pub const SCANNED_MAX: usize = 10_000;
/// The most views that a node keeps for searches under way; the oldest goes first.
pub const KEPT_MAX: usize = 8;
/// How long a view is kept after the last page that was made from it.
pub const KEPT_TIME_MAX: Duration = Duration::from_secs(60);
/// What a page costs of the checks that a principal may ask.
const PAGE_COST: usize = 100;
/// Bytes of a token: version, place, limit, and the beginning of a hash of what was asked.
const TOKEN_BYTES: usize = 8 + 4 + 4 + 8;

/// What is searched for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sought {
    Subject,
    Resource,
    Action,
}

/// Views that searches under way go on with.
#[derive(Debug, Default)]
pub(super) struct Kept {
    views: Mutex<VecDeque<(Instant, Arc<View>)>>,
}

impl Kept {
    fn keep(&self, view: &Arc<View>) {
        let mut views = self.young();
        views.retain(|(_, kept)| kept.version() != view.version());
        if views.len() == KEPT_MAX {
            views.pop_front();
        }
        views.push_back((Instant::now(), Arc::clone(view)));
    }

    fn of(&self, version: Version) -> Option<Arc<View>> {
        self.young().iter().find(|(_, kept)| kept.version() == version).map(|(_, kept)| Arc::clone(kept))
    }

    /// Those that are not too old.
    fn young(&self) -> std::sync::MutexGuard<'_, VecDeque<(Instant, Arc<View>)>> {
        let mut views = self.views.lock().unwrap_or_else(PoisonError::into_inner);
        views.retain(|(since, _)| since.elapsed() < KEPT_TIME_MAX);
        views
    }
}

/// Where a search goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Token {
    version: Version,
    /// The last candidate that was decided; none: none was.
    after: Option<u32>,
    limit: u32,
    asked: [u8; 8],
}

impl Token {
    fn write(self) -> String {
        let mut bytes = [0; TOKEN_BYTES];
        bytes[..8].copy_from_slice(&self.version.0.to_be_bytes());
        bytes[8..12].copy_from_slice(&self.after.unwrap_or(u32::MAX).to_be_bytes());
        bytes[12..16].copy_from_slice(&self.limit.to_be_bytes());
        bytes[16..].copy_from_slice(&self.asked);
        BASE64.encode(bytes)
    }

    fn read(text: &str) -> Option<Self> {
        let bytes: [u8; TOKEN_BYTES] = BASE64.decode(text).ok()?.try_into().ok()?;
        let after = u32::from_be_bytes(bytes[8..12].try_into().ok()?);
        Some(Self {
            version: Version(u64::from_be_bytes(bytes[..8].try_into().ok()?)),
            after: (after != u32::MAX).then_some(after),
            limit: u32::from_be_bytes(bytes[12..16].try_into().ok()?),
            asked: bytes[16..].try_into().ok()?,
        })
    }
}

/// What a search goes through, in ids.
pub(super) enum Through {
    Subjects { kind: SubjectKind, act: Act, resource: Resource },
    Resources { subject: PrincipalId, act: Act, kind: Kind },
    Actions { subject: PrincipalId, resource: Resource, kind: Kind },
}

/// One page.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Found {
    pub results: Vec<Entry>,
    /// The last candidate that was decided, if there may be more after it.
    pub more: Option<Option<u32>>,
}

/// One result: a subject or a resource, or an action.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(untagged)]
pub(super) enum Entry {
    Entity {
        #[serde(rename = "type")]
        kind: &'static str,
        id: String,
    },
    Action {
        name: &'static str,
    },
}

#[derive(Serialize)]
struct Results {
    page: Page,
    context: Why,
    results: Vec<Entry>,
}

#[derive(Serialize)]
struct Page {
    next_token: String,
    count: usize,
}

#[derive(Serialize)]
struct Why {
    version: u64,
    /// Why nothing can be found.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<String>,
}

pub(super) async fn answer(
    checks: &Checks,
    caller: &Caller,
    sought: Sought,
    asked: &Asked,
) -> Result<Answer, Fault> {
    let search: Search = read(asked)?;
    let words = Words::of(sought, &search)?;
    checks.pay(caller, PAGE_COST)?;
    let newest = pinned(&checks.gate, Fresh::of([&search.context].into_iter())).await?;
    let (token, limit) = going_on(&search, words.hash())?;
    let view = match &token {
        None => Arc::clone(&newest),
        Some(token) => checks.kept.of(token.version).ok_or_else(|| {
            let message =
                "this search is too old, or was begun at another node; begin it again without `page.token`";
            Fault::Malformed(message.to_owned())
        })?,
    };
    let through = match words.understand(&newest, caller)?.and_then(|_| words.understood(&view)) {
        Ok(through) => through,
        Err(Unknown { reason, message }) => {
            let context = Why { version: view.version().0, reason: Some(reason), message: Some(message) };
            let page = Page { next_token: String::new(), count: 0 };
            return Ok(json(StatusCode::OK, &Results { page, context, results: Vec::new() }));
        }
    };
    let after = token.and_then(|token| token.after);
    let found = through.page(&view, &newest, after, limit);
    let next_token = found.more.map_or_else(String::new, |after| {
        checks.kept.keep(&view);
        let limit = u32::try_from(limit).unwrap_or(u32::MAX);
        Token { version: view.version(), after, limit, asked: words.hash() }.write()
    });
    let page = Page { next_token, count: found.results.len() };
    let context = Why { version: view.version().0, reason: None, message: None };
    Ok(json(StatusCode::OK, &Results { page, context, results: found.results }))
}

/// The token of a search, and how many results a page of it has. What is asked must not change on the way.
fn going_on(search: &Search, asked: [u8; 8]) -> Result<(Option<Token>, usize), Fault> {
    let page = search.page.as_ref().map(|Object(page)| page);
    let limit = page.and_then(|page| page.limit);
    let limit = limit.map(|limit| usize::try_from(limit).unwrap_or(usize::MAX).min(RESULTS_MAX));
    let Some(text) = page.and_then(|page| page.token.as_deref()).filter(|text| !text.is_empty()) else {
        return Ok((None, limit.unwrap_or(RESULTS_MAX)));
    };
    let token = Token::read(text)
        .ok_or_else(|| Fault::Malformed("`page.token` is not one that was given out here".to_owned()))?;
    let before = usize::try_from(token.limit).unwrap_or(RESULTS_MAX).min(RESULTS_MAX);
    if token.asked != asked || limit.is_some_and(|limit| limit != before) {
        let message = "`page.token` belongs to another search: only the token may change from page to page";
        return Err(Fault::Malformed(message.to_owned()));
    }
    Ok((Some(token), before))
}

/// The words of a search, all of which are there.
pub(super) struct Words<'r> {
    sought: Sought,
    subject: (&'r str, &'r str),
    action: (&'r str, bool),
    resource: (&'r str, &'r str),
}

impl<'r> Words<'r> {
    /// What is searched for has a type only; an id of it is not read.
    pub(super) fn of(sought: Sought, search: &'r Search) -> Result<Self, Fault> {
        let (subject, resource) = (search.subject.as_ref(), search.resource.as_ref());
        Ok(Self {
            sought,
            subject: match sought {
                Sought::Subject => (entity::typed("subject", subject)?, ""),
                Sought::Resource | Sought::Action => entity::whole("subject", subject)?,
            },
            action: match sought {
                Sought::Action => ("", false),
                Sought::Subject | Sought::Resource => entity::named(search.action.as_ref())?,
            },
            resource: match sought {
                Sought::Resource => (entity::typed("resource", resource)?, ""),
                Sought::Subject | Sought::Action => entity::whole("resource", resource)?,
            },
        })
    }

    fn hash(&self) -> [u8; 8] {
        let option = if self.action.1 { "option" } else { "" };
        let (subject, resource) = (self.subject, self.resource);
        let words = [subject.0, subject.1, self.action.0, option, resource.0, resource.1];
        let mut hash = Sha256::new().chain_update([self.sought as u8]);
        for word in words {
            hash.update((word.len() as u64).to_be_bytes());
            hash.update(word);
        }
        let whole: [u8; 32] = hash.finalize().into();
        std::array::from_fn(|at| whole[at])
    }

    /// What is meant, if `caller` may ask it.
    pub(super) fn understand(&self, view: &View, caller: &Caller) -> Result<Result<Through, Unknown>, Fault> {
        match self.sought {
            Sought::Subject if !may_ask_about_all(view, caller.principal) => {
                // About itself it may ask, but not who the others are.
                may_ask(view, caller.principal, PrincipalId::EVERYBODY)?;
            }
            Sought::Subject => (),
            Sought::Resource | Sought::Action => {
                let (kind, id) = self.subject;
                if let Err(unknown) = askable(view, caller, entity::subject(view, kind, id))? {
                    return Ok(Err(unknown));
                }
            }
        }
        Ok(self.understood(view))
    }

    fn understood(&self, view: &View) -> Result<Through, Unknown> {
        let kind = entity::resource_kind(self.resource.0)?;
        let resource = || entity::resource(view, kind, self.resource.1);
        let subject = || entity::subject(view, self.subject.0, self.subject.1);
        let act = || entity::act(kind, self.action.0, self.action.1);
        Ok(match self.sought {
            Sought::Subject => Through::Subjects {
                kind: entity::subject_kind(self.subject.0)?,
                act: act()?,
                resource: resource()?,
            },
            Sought::Resource => Through::Resources { subject: subject()?, act: act()?, kind },
            Sought::Action => Through::Actions { subject: subject()?, resource: resource()?, kind },
        })
    }
}

impl Through {
    /// The results of at most `limit` after a place, of what holds on both views.
    pub(super) fn page(&self, view: &View, newest: &View, after: Option<u32>, limit: usize) -> Found {
        let holds = |check: Option<Check>| {
            check.is_some_and(|check| {
                check.decide(view) && (view.version() == newest.version() || check.decide(newest))
            })
        };
        match *self {
            Self::Subjects { kind, act, resource } => {
                let subjects = kind.each_after(view, after.map(PrincipalId));
                let candidates = subjects.map(|subject| (subject.0, act.check(subject, resource), subject));
                let still = |subject: PrincipalId| kind.includes(newest, subject);
                let candidates = candidates.map(|(at, check, subject)| {
                    let entry = move || {
                        let name = view.state().principal_name(subject);
                        Entry::Entity { kind: kind.word(), id: name.as_str().to_owned() }
                    };
                    (at, check.filter(|_| still(subject)), entry)
                });
                filled(candidates, limit, after, holds)
            }
            Self::Resources { subject, act, kind } => {
                let candidates = kind.each_after(view, after).map(|resource| {
                    let entry = move || Entry::Entity { kind: kind.word(), id: resource.name(view) };
                    (resource.position(), act.check(subject, resource), entry)
                });
                filled(candidates, limit, after, holds)
            }
            Self::Actions { subject, resource, kind } => {
                let first = after.map_or(0, |after| after.saturating_add(1));
                let acts = (0_u32..).zip(Act::each(kind)).skip_while(move |(at, _)| *at < first);
                let candidates = acts.map(|(at, act)| {
                    (at, act.check(subject, resource), move || Entry::Action { name: act.word() })
                });
                filled(candidates, limit, after, holds)
            }
        }
    }
}

fn filled<E: FnOnce() -> Entry>(
    candidates: impl Iterator<Item = (u32, Option<Check>, E)>,
    limit: usize,
    after: Option<u32>,
    holds: impl Fn(Option<Check>) -> bool,
) -> Found {
    let (mut results, mut last) = (Vec::new(), after);
    for (scanned, (at, check, entry)) in candidates.enumerate() {
        if scanned == SCANNED_MAX {
            return Found { results, more: Some(last) };
        }
        if holds(check) {
            if results.len() == limit {
                return Found { results, more: Some(last) };
            }
            results.push(entry());
        }
        last = Some(at);
    }
    Found { results, more: None }
}

#[cfg(test)]
mod token_tests {
    use super::*;

    #[test]
    fn a_token_says_where_a_search_goes_on() {
        for after in [None, Some(0), Some(7), Some(u32::MAX - 1)] {
            let token = Token { version: Version(u64::MAX), after, limit: 3, asked: *b"question" };
            assert_eq!(Token::read(&token.write()), Some(token));
        }
        for wrong in ["", "x", "AAAA", "!!", &"A".repeat(33), &"A".repeat(1_000)] {
            assert_eq!(Token::read(wrong), None, "{wrong}");
        }
    }
}
