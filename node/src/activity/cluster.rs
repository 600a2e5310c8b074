//! The sessions of all nodes: asked for over the transport within a bound, shown to whom may see them, stopped for whom
//! may stop them.
//!
//! Who sees what is decided on the node that was asked by the client; who stops what on the node that has it, on a view
//! that is not older than the asker's. A node that does not answer in time is named with its reason; nobody waits for
//! it longer.
//!
//! Source: authorization spec, A.5.5 and C.4.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bincode::{Decode, Encode};
use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use grantd_catalog::command::Actor;
use grantd_catalog::id::{PrincipalId, Version};
use grantd_catalog::privilege::Privilege;
use grantd_catalog::refusal::{Refusal, SqlState, may_not_cancel_admin, needs_cancel_query};
use grantd_catalog::require::Need;
use grantd_catalog::view::View;
use grantd_raft::codec::{Kind, open_value, seal_value};
use grantd_raft::config::NodeId;
use grantd_raft::handle::{ForwardHandler, Status};

use super::report::{NodeReport, SessionReport, Sessions};
use super::{Activity, Id, Target};
use crate::gate::Replica;

/// How long a node may take to answer; one that is down costs everybody who lists sessions this long.
pub const ANSWER_TIME_MAX: Duration = Duration::from_secs(2);
const FORMAT: u16 = 2;
/// The node that it is about did not answer.
const CONNECTION_FAILURE: SqlState = SqlState::new("08006");

/// What one node asks of another about itself. Frozen.
#[derive(Encode, Decode)]
enum QuestionV2 {
    Sessions {
        only: Option<PrincipalId>,
    },
    Node,
    Stop {
        target: Target,
        id: Id,
        actor: Actor,
        version: Version,
    },
    Interrupt {
        id: Id,
    },
    /// For who was named by [`ClusterActivity::answer_further`], in bytes of its own.
    Further(Vec<u8>),
}

#[derive(Encode, Decode)]
enum AnswerV2 {
    Sessions(Sessions),
    Node(Option<NodeReport>),
    Stopped(Result<bool, Refusal>),
    Done,
    Unreadable,
    Further(Vec<u8>),
}

/// Which nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// All of them.
    Cluster,
    /// The one that is asked.
    Local,
}

/// What somebody sees of the sessions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sight {
    /// Its own only.
    Own,
    /// Everybody's; of others without the constants of their statements.
    Redacted,
    /// Everything.
    Full,
}

/// The sessions of several nodes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listing {
    /// Sorted by node, then by when they began.
    pub sessions: Vec<SessionReport>,
    /// Who did not answer, and why.
    pub silent: Vec<(NodeId, String)>,
    /// How many sessions are not listed because there are too many, by node.
    pub left_out: Vec<(NodeId, u64)>,
}

/// A member, and how it says it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeRow {
    /// Its number.
    pub id: NodeId,
    /// Where its peers reach it.
    pub raft_address: String,
    /// Where clients reach it.
    pub sql_address: String,
    /// Whether it votes.
    pub voter: bool,
    /// Its own words; the error says why there are none.
    pub report: Result<NodeReport, String>,
}

/// The sessions of the cluster, as one node reaches them. Cheap to clone.
#[derive(Clone)]
pub struct ClusterActivity {
    own: Activity,
    replica: Arc<dyn Replica>,
    further: Further,
}

/// Who answers questions that are not of this module.
type Further = Arc<OnceLock<Arc<dyn ForwardHandler>>>;

/// What `actor` sees on `view`. REDACTED wins over VIEWACTIVITY, and nothing over being an administrator (C.4).
pub fn sight(view: &View, actor: Actor) -> Sight {
    let may = |privilege| view.state().check(actor.current, &Need::SystemOrOption(privilege)).is_ok();
    if view.is_admin(actor.current) {
        Sight::Full
    } else if may(Privilege::ViewActivityRedacted) {
        Sight::Redacted
    } else if may(Privilege::ViewActivity) {
        Sight::Full
    } else {
        Sight::Own
    }
}

/// Whether `actor` may stop what `owner` runs.
pub fn may_stop(view: &View, actor: Actor, owner: PrincipalId) -> Result<(), Refusal> {
    if actor.session == owner || view.is_admin(actor.current) {
        return Ok(());
    }
    let needed = Need::SystemOrOption(Privilege::CancelQuery);
    view.state().check(actor.current, &needed).map_err(|_| needs_cancel_query())?;
    if view.is_admin(owner) { Err(may_not_cancel_admin()) } else { Ok(()) }
}

impl ClusterActivity {
    /// The sessions of `own` and of the nodes that `replica` reaches. From now on this node answers them too.
    pub fn new(own: Activity, replica: Arc<dyn Replica>) -> Self {
        let activity = Self { own, replica, further: Further::default() };
        // Not `activity` itself: the replica holds who answers, and would hold itself.
        let answerer = Answerer {
            own: activity.own.clone(),
            replica: Arc::downgrade(&activity.replica),
            further: Arc::clone(&activity.further),
        };
        activity.replica.serve_questions(Arc::new(answerer));
        activity
    }

    /// This node's own.
    pub fn own(&self) -> &Activity {
        &self.own
    }

    /// Who answers on this node what [`Self::ask_further`] asks on another. The first counts.
    pub fn answer_further(&self, handler: Arc<dyn ForwardHandler>) {
        let _first = self.further.set(handler);
    }

    /// Asks every other node something that a module below knows to answer; the error says why there is no answer. Takes at
    /// most `timeout`.
    pub async fn ask_further(
        &self,
        question: Vec<u8>,
        timeout: Duration,
    ) -> Vec<(NodeId, Result<Vec<u8>, String>)> {
        let answers = self.replica.ask_others(encode(&QuestionV2::Further(question)), timeout).await;
        let read =
            |(node, answer): (NodeId, Result<Bytes, String>)| match answer.and_then(|bytes| decode(&bytes)) {
                Ok(AnswerV2::Further(answer)) => (node, Ok(answer)),
                Ok(_) => (node, Err(wrong_answer(node))),
                Err(reason) => (node, Err(reason)),
            };
        answers.into_iter().map(read).collect()
    }

    /// The sessions that `actor` may see on `view`, as it may see them. Takes at most [`ANSWER_TIME_MAX`].
    pub async fn sessions(&self, view: &View, actor: Actor, scope: Scope) -> Listing {
        let sight = sight(view, actor);
        let only = (sight == Sight::Own).then_some(actor.session);
        let mut listing = Listing::default();
        listing.add(self.own.node(), self.own.sessions(only));
        if scope == Scope::Cluster {
            let question = encode(&QuestionV2::Sessions { only });
            for (node, answer) in self.replica.ask_others(question, ANSWER_TIME_MAX).await {
                match answer.and_then(|bytes| decode(&bytes)) {
                    Ok(AnswerV2::Sessions(sessions)) => listing.add(node, sessions),
                    Ok(_) => listing.silent.push((node, wrong_answer(node))),
                    Err(reason) => listing.silent.push((node, reason)),
                }
            }
        }
        if sight == Sight::Redacted {
            let redact = |session: SessionReport| {
                if session.principal == actor.session { session } else { session.redacted() }
            };
            listing.sessions = listing.sessions.into_iter().map(redact).collect();
        }
        listing.sessions.sort_by_key(|session| (session.node, session.id));
        listing
    }

    /// Every member with what it says of itself, sorted by number. Takes at most [`ANSWER_TIME_MAX`].
    pub async fn nodes(&self) -> Vec<NodeRow> {
        let Some(status) = self.replica.status() else { return Vec::new() };
        let answers = self.replica.ask_others(encode(&QuestionV2::Node), ANSWER_TIME_MAX).await;
        let own = report(&status, &self.own);
        let said = |id: NodeId| {
            if id == status.node_id {
                return Ok(own.clone());
            }
            let found = answers.iter().find(|(node, _)| *node == id);
            let answer =
                found.map_or_else(|| Err("it was not asked".to_owned()), |(_, answer)| answer.clone());
            match answer.and_then(|bytes| decode(&bytes))? {
                AnswerV2::Node(Some(report)) => Ok(report),
                _ => Err(wrong_answer(id)),
            }
        };
        let row = |member: &grantd_raft::handle::Member| NodeRow {
            id: member.id,
            raft_address: member.raft_address.clone(),
            sql_address: member.sql_address.clone(),
            voter: member.voter,
            report: said(member.id),
        };
        let mut rows: Vec<_> = status.members.iter().map(row).collect();
        rows.sort_by_key(|row| row.id);
        rows
    }

    /// Stops a statement or ends a session, wherever it is; false: there is none of this number.
    ///
    /// Errors: 42501; 08006 if its node does not answer.
    pub async fn stop(&self, view: &View, actor: Actor, target: Target, id: Id) -> Result<bool, Refusal> {
        let version = view.version();
        let Some(node) = self.node_of(id) else { return Ok(false) };
        if node == self.own.node() {
            return stop_here(&self.own, &*self.replica, target, id, actor, version).await;
        }
        let question = encode(&QuestionV2::Stop { target, id, actor, version });
        let answer = self.replica.ask(node, question, ANSWER_TIME_MAX).await;
        match answer.and_then(|bytes| decode(&bytes)) {
            Ok(AnswerV2::Stopped(stopped)) => stopped,
            Ok(_) => Err(Refusal::new(CONNECTION_FAILURE, wrong_answer(node))),
            Err(reason) => Err(Refusal::new(
                CONNECTION_FAILURE,
                format!("could not cancel {} {id}: {reason}", target.word()),
            )),
        }
    }

    /// Asks whoever leads to stop a statement that was sent there. No answer: it is asked again.
    pub async fn interrupt(&self, id: Id) {
        // To all: who leads may have changed since the statement was sent.
        self.own.interrupt(id);
        let question = encode(&QuestionV2::Interrupt { id });
        let _ = self.replica.ask_others(question, ANSWER_TIME_MAX).await;
    }

    fn node_of(&self, id: Id) -> Option<NodeId> {
        let is = |node: NodeId| node & u64::from(u32::MAX) == id.node_bits();
        if is(self.own.node()) {
            return Some(self.own.node());
        }
        let members = self.replica.status()?.members;
        members.into_iter().map(|member| member.id).find(|node| is(*node))
    }
}

impl Listing {
    fn add(&mut self, node: NodeId, sessions: Sessions) {
        if sessions.left_out > 0 {
            self.left_out.push((node, sessions.left_out));
        }
        self.sessions.extend(sessions.sessions);
    }
}

/// Answers what other nodes ask.
struct Answerer {
    own: Activity,
    replica: std::sync::Weak<dyn Replica>,
    further: Further,
}

impl ForwardHandler for Answerer {
    fn handle(&self, from: NodeId, question: Bytes) -> BoxFuture<'static, Bytes> {
        let (own, replica) = (self.own.clone(), self.replica.upgrade());
        let further = self.further.get().cloned();
        async move {
            let answer = match (decode(&question), replica) {
                (Ok(QuestionV2::Sessions { only }), _) => AnswerV2::Sessions(own.sessions(only)),
                (Ok(QuestionV2::Node), Some(replica)) => {
                    AnswerV2::Node(replica.status().map(|status| report(&status, &own)))
                }
                (Ok(QuestionV2::Stop { target, id, actor, version }), Some(replica)) => {
                    AnswerV2::Stopped(stop_here(&own, &*replica, target, id, actor, version).await)
                }
                (Ok(QuestionV2::Interrupt { id }), _) => {
                    own.interrupt(id);
                    AnswerV2::Done
                }
                (Ok(QuestionV2::Further(question)), _) => match further {
                    Some(further) => AnswerV2::Further(further.handle(from, question.into()).await.into()),
                    None => AnswerV2::Unreadable,
                },
                (Err(_), _) | (Ok(_), None) => AnswerV2::Unreadable,
            };
            encode(&answer)
        }
        .boxed()
    }
}

async fn stop_here(
    own: &Activity,
    replica: &dyn Replica,
    target: Target,
    id: Id,
    actor: Actor,
    version: Version,
) -> Result<bool, Refusal> {
    let Some(live) = own.find(target, id) else { return Ok(false) };
    let view = replica.at_least(version).await;
    let view = view.map_err(|error| Refusal::new(CONNECTION_FAILURE, error.to_string()))?;
    may_stop(&view, actor, live.newcomer.principal)?;
    tracing::info!(%id, session = %live.id, actor = actor.current.0, "stopped by CANCEL {}", target.word());
    Ok(Activity::stop(&live, target, id))
}

fn report(status: &Status, own: &Activity) -> NodeReport {
    NodeReport {
        server_state: status.server_state.to_owned(),
        term: status.term,
        leader: status.leader,
        last_log: status.last_log,
        applied: status.applied.0,
        snapshot: status.snapshot,
        purged: status.purged,
        release: env!("CARGO_PKG_VERSION").to_owned(),
        uptime_ms: own.uptime_ms(),
    }
}

fn wrong_answer(node: NodeId) -> String {
    format!("node {node} answered something else: it may run another release")
}

fn encode<T: Encode>(message: &T) -> Bytes {
    seal_value(Kind::Message, FORMAT, message).into()
}

fn decode<T: Decode<()>>(bytes: &[u8]) -> Result<T, String> {
    open_value(Kind::Message, FORMAT, bytes).map_err(|error| error.to_string())
}
