//! From a URI to a sink, under the chain of the changefeed's class of operation.

use std::sync::Arc;

use async_trait::async_trait;
use grantd_catalog::id::Timestamp;
use grantd_catalog::refusal::{Refusal, state};

use super::{Class, Files, Kafka, Message, PubSub, Sink, SinkError, Webhook};
use crate::cloud::broker::Broker;
use crate::cloud::route::{Operation, Who, route};
use crate::cloud::settings::{ChainSettings, NodeSettings};
use crate::cloud::storage::{Patience, Storages};
use crate::cloud::uri::{FileSink, Uri};
use crate::feed::options::Options;

/// What a node opens sinks with.
pub struct Opener<'o> {
    /// Storage of this node.
    pub storages: &'o Arc<Storages>,
    /// Leases of this node.
    pub broker: &'o Broker,
    /// What its configuration says.
    pub of_node: &'o NodeSettings,
    /// How the cluster wants chains to be.
    pub chains: &'o ChainSettings,
    /// Whom the cluster trusts beside the system's.
    pub custom_ca: &'o str,
    /// For whom.
    pub who: Who<'o>,
}

/// Opens a sink. An external connection is looked up before.
///
/// Errors: a sink that is not served, or what its URI says that cannot be used, are terminal.
pub async fn open(
    uri: &Uri,
    options: &Options,
    topics: &[Arc<str>],
    opener: &Opener<'_>,
) -> Result<Box<dyn Sink>, SinkError> {
    let terminal = |refusal: Refusal| SinkError {
        class: Class::Terminal,
        message: refusal.message.clone(),
        hint: refusal.hint.clone(),
    };
    let routed = route(uri, Operation::Changefeed, &opener.who, opener.chains).map_err(terminal)?;
    let chain = routed.as_ref().map(|route| &route.chain);
    let label = format!("changefeed {}", opener.who.task);
    let files = |how: &FileSink| how.clone();
    let how = match uri {
        Uri::S3(s3) => files(&s3.files),
        Uri::Gs(gs) => files(&gs.files),
        Uri::Nodelocal(local) => files(&local.files),
        Uri::Kafka(kafka) => return Ok(Box::new(Kafka::new(kafka, topics, options)?)),
        Uri::Webhook(webhook) => return Ok(Box::new(Webhook::new(webhook, options, opener.custom_ca)?)),
        Uri::PubSub(pubsub) => {
            let chain = chain.ok_or_else(|| terminal(unserved("a Pub/Sub sink without credentials")))?;
            let credentials = opener.broker.open(chain, &label);
            let credentials =
                credentials.map_err(|error| SinkError::new(Class::Retryable, &error.to_string()))?;
            let endpoint = opener.of_node.gcp_pubsub_endpoint.as_deref();
            let sink = PubSub::new(pubsub, topics, options, credentials, endpoint, opener.custom_ca)?;
            return Ok(Box::new(sink));
        }
        Uri::Null => return Ok(Box::new(Null)),
        Uri::Azure(_)
        | Uri::Userfile(_)
        | Uri::Http(_)
        | Uri::External(_)
        | Uri::AwsKms(_)
        | Uri::GcpKms(_) => {
            return Err(terminal(unserved(&format!("a changefeed into {}", uri.scheme()))));
        }
    };
    // What is in the way is said soon, in the job's status: the feed begins again by itself.
    let storage = opener.storages.open(uri, chain, &label, Patience::Statement).await?;
    Ok(Box::new(Files::new(storage, how, options.message, options.compression, opener.who.node)))
}

fn unserved(what: &str) -> Refusal {
    Refusal::new(state::FEATURE_NOT_SUPPORTED, format!("{what} is not supported"))
        .with_hint("s3, gs, nodelocal, kafka, gcpubsub and webhook-https are")
}

/// Takes everything and keeps nothing: for measuring what comes before a sink.
struct Null;

#[async_trait]
impl Sink for Null {
    async fn begin(&mut self, _after: Timestamp) -> Result<(), SinkError> {
        Ok(())
    }

    async fn emit(&mut self, _messages: Vec<Message>) -> Result<(), SinkError> {
        Ok(())
    }

    async fn flush(&mut self, _frontier: Timestamp) -> Result<(), SinkError> {
        Ok(())
    }

    async fn resolved(&mut self, _time: Timestamp, _message: &[u8]) -> Result<(), SinkError> {
        Ok(())
    }
}
