//! Where messages go.
//!
//! A sink takes messages in order, may hold some back, and has all of them when a flush is over. What it could not do it says as
//! one of three kinds ([`Class`]); whoever drives it then begins again from what was kept, with [`Sink::begin`]. So a sink may
//! send twice, and never leaves something out.

mod batch;
mod files;
mod http;
mod kafka;
mod open;
mod pubsub;
mod webhook;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use grantd_catalog::id::Timestamp;
use grantd_catalog::refusal::{Refusal, SqlState, state};

pub use files::Files;
pub use kafka::Kafka;
pub use open::{Opener, open};
pub use pubsub::PubSub;
pub use webhook::Webhook;

pub(super) use http::share;

use super::shape::Shape;
use crate::cloud::redact;

/// One message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Where it goes.
    pub topic: Arc<str>,
    /// The key, as JSON.
    pub key: Vec<u8>,
    /// None: the row is gone, or the envelope has the key alone.
    pub value: Option<Vec<u8>>,
    /// The commit.
    pub updated: Timestamp,
    /// What the table was.
    pub shape: Arc<Shape>,
}

/// A place for messages.
#[async_trait]
pub trait Sink: Send {
    /// What is held is forgotten; messages come of commits after this time.
    async fn begin(&mut self, after: Timestamp) -> Result<(), SinkError>;
    /// Takes messages. Waits where more would be held than the sink holds.
    async fn emit(&mut self, messages: Vec<Message>) -> Result<(), SinkError>;
    /// When it returns, all that was taken is there for good. It was all up to `frontier`.
    async fn flush(&mut self, frontier: Timestamp) -> Result<(), SinkError>;
    /// Tells every topic that nothing more comes up to this time.
    async fn resolved(&mut self, time: Timestamp, message: &[u8]) -> Result<(), SinkError>;
    /// Whether what is held is to be flushed within so long. None: not before the next flush.
    fn linger(&self) -> Option<Duration> {
        None
    }
}

/// What helps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Class {
    /// Trying again, later.
    Retryable,
    /// The same: roles and trust have to come right again, which nobody is told.
    Credential,
    /// Nothing.
    Terminal,
}

/// A sink did not do what it was to.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct SinkError {
    /// What helps.
    pub class: Class,
    /// In words, without secrets.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
}

impl SinkError {
    /// `text` may be somebody else's: it is filtered.
    pub fn new(class: Class, text: &str) -> Self {
        let message = redact::text(text).chars().take(MESSAGE_CHARS_MAX).collect();
        Self { class, message, hint: None }
    }

    /// With a way out.
    #[must_use]
    pub fn with_hint(self, hint: impl Into<String>) -> Self {
        Self { hint: Some(hint.into()), ..self }
    }

    /// As a client reads it.
    pub fn refusal(&self) -> Refusal {
        let code = match self.class {
            Class::Retryable => CONNECTION_FAILURE,
            Class::Credential => state::INVALID_AUTHORIZATION,
            Class::Terminal => state::INVALID_PARAMETER_VALUE,
        };
        let refusal = Refusal::new(code, self.message.clone());
        match &self.hint {
            Some(hint) => refusal.with_hint(hint.clone()),
            None => refusal,
        }
    }
}

const CONNECTION_FAILURE: SqlState = SqlState::new("08006");
/// What an operator reads of a message.
const MESSAGE_CHARS_MAX: usize = 1_000;
