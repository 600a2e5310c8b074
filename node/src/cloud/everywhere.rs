//! What nodes ask each other about clouds: the credentials that they hold, in words and never in keys, and whether they reach a
//! place.
//!
//! Who may ask is decided where the client is, and what a check names is resolved and decided again on each node, upon a
//! view that is not older than the asker's.

use std::sync::Arc;
use std::time::Duration;

use bincode::{Decode, Encode};
use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use grantd_catalog::command::Actor;
use grantd_catalog::id::Version;
use grantd_catalog::view::View;
use grantd_raft::codec::{Kind, open_value, seal_value};
use grantd_raft::config::NodeId;
use grantd_raft::handle::ForwardHandler;

use crate::activity::cluster::{ANSWER_TIME_MAX, ClusterActivity, Scope};
use crate::cloud::outside::Outside;
use crate::cloud::preflight::{Options, Report};

/// How much longer than its own time a check may take: whoever began at the last moment finishes one object, and the first
/// needs its credentials. Two minutes: a chain of eight roles, each of which is asked for in vain once.
pub const CHECK_GRACE: Duration = Duration::from_secs(120);
const FORMAT: u16 = 1;

/// Frozen.
#[derive(Encode, Decode)]
enum QuestionV1 {
    Credentials,
    /// The URI is as it was written: nodes talk under mutual TLS, and it goes no further.
    Check {
        uri: String,
        concurrently: u32,
        time_ms: u64,
        transfer: u64,
        actor: Actor,
        version: Version,
    },
}

#[derive(Encode, Decode)]
enum AnswerV1 {
    Credentials(Vec<CredentialRow>),
    Checked(Report),
    Unreadable,
}

/// What a node says of one step of a chain that it keeps credentials of. Frozen.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct CredentialRow {
    /// The chain up to this step.
    pub chain: String,
    /// The step's number, from 1.
    pub step: u32,
    /// A word for how it is.
    pub state: String,
    /// When the credentials end, in microseconds since the epoch.
    pub expires_micros: Option<i64>,
    /// When it is asked again.
    pub next_refresh_micros: Option<i64>,
    /// When it was last given new ones.
    pub last_refresh_micros: Option<i64>,
    /// What was wrong the last time.
    pub last_error: Option<String>,
    /// How many use it, other steps among them.
    pub users: u64,
}

/// What several nodes said; of those that did not, why.
pub type Said<T> = Vec<(NodeId, Result<T, String>)>;

/// The credentials of this node or of all, by node.
pub async fn credentials(
    outside: &Outside,
    activity: &ClusterActivity,
    scope: Scope,
) -> Said<Vec<CredentialRow>> {
    let mut said = vec![(activity.own().node(), Ok(outside.credentials()))];
    if scope == Scope::Cluster {
        let answers = activity.ask_further(encode(&QuestionV1::Credentials), ANSWER_TIME_MAX).await;
        said.extend(answers.into_iter().map(
            |(node, answer)| match answer.and_then(|bytes| decode(&bytes)) {
                Ok(AnswerV1::Credentials(rows)) => (node, Ok(rows)),
                Ok(_) => (node, Err(wrong_answer(node))),
                Err(reason) => (node, Err(reason)),
            },
        ));
    }
    said.sort_by_key(|(node, _)| *node);
    said
}

/// What comes of a check of a place from this node or from all at once, by node. `uri`: as it was written. Whoever asks has
/// asked [`Outside::approved`].
pub async fn check(
    outside: &Outside,
    activity: &ClusterActivity,
    scope: Scope,
    asked: (&View, Actor),
    uri: &str,
    options: Options,
) -> Said<Report> {
    let (view, actor) = asked;
    let here = async { (activity.own().node(), Ok(outside.check(view, actor, uri, options).await)) };
    let others = async {
        if scope == Scope::Local {
            return Vec::new();
        }
        let question = QuestionV1::Check {
            uri: uri.to_owned(),
            concurrently: options.concurrently,
            time_ms: u64::try_from(options.time.as_millis()).unwrap_or(u64::MAX),
            transfer: options.transfer,
            actor,
            version: view.version(),
        };
        activity.ask_further(encode(&question), options.time + CHECK_GRACE).await
    };
    let (here, others) = futures::join!(here, others);
    let mut said = vec![here];
    said.extend(others.into_iter().map(|(node, answer)| match answer.and_then(|bytes| decode(&bytes)) {
        Ok(AnswerV1::Checked(report)) => (node, Ok(report)),
        Ok(_) => (node, Err(wrong_answer(node))),
        Err(reason) => (node, Err(reason)),
    }));
    said.sort_by_key(|(node, _)| *node);
    said
}

/// From now on this node answers what others ask.
pub fn answer(outside: &Outside, activity: &ClusterActivity) {
    activity.answer_further(Arc::new(Answerer(outside.clone())));
}

struct Answerer(Outside);

impl ForwardHandler for Answerer {
    fn handle(&self, _from: NodeId, question: Bytes) -> BoxFuture<'static, Bytes> {
        let outside = self.0.clone();
        async move {
            let answer = match decode(&question) {
                Ok(QuestionV1::Credentials) => AnswerV1::Credentials(outside.credentials()),
                Ok(QuestionV1::Check { uri, concurrently, time_ms, transfer, actor, version }) => {
                    let options = Options { concurrently, time: Duration::from_millis(time_ms), transfer };
                    AnswerV1::Checked(match outside.gate().at_least(version).await {
                        Ok(view) => outside.check(&view, actor, &uri, options).await,
                        Err(refusal) => Report::failed(refusal.message),
                    })
                }
                Err(_) => AnswerV1::Unreadable,
            };
            encode(&answer).into()
        }
        .boxed()
    }
}

fn wrong_answer(node: NodeId) -> String {
    format!("node {node} answered something else: it may run another release")
}

fn encode<T: Encode>(message: &T) -> Vec<u8> {
    seal_value(Kind::Message, FORMAT, message)
}

fn decode<T: Decode<()>>(bytes: &[u8]) -> Result<T, String> {
    open_value(Kind::Message, FORMAT, bytes).map_err(|error| error.to_string())
}
