//! From the first byte to a session: encryption, startup packet, proof.

use std::io;
use std::sync::Arc;

use tokio::sync::OwnedSemaphorePermit;
use tracing::{debug, info, warn};

use grantd_catalog::command::Actor;
use grantd_catalog::refusal::state::INVALID_AUTHORIZATION;
use grantd_catalog::refusal::{Refusal, SqlState, authentication_failed};

use crate::activity::{Newcomer, Proof};
use crate::authn::scram::{self, Binding, Exchange, ExchangeError, Verifier};
use crate::authn::{Candidate, Login, certificate_user, refuse_database};
use crate::error::SqlError;
use crate::pgwire::backend::Backend;
use crate::pgwire::frame::{self, LOGIN_FRAME_BYTES_MAX, Message};
use crate::pgwire::machine::frame_error;
use crate::pgwire::registry::{KeyWidth, Registration};
use crate::pgwire::reply::{Replies, state};
use crate::pgwire::startup::{self, PROTOCOL_NEWEST, Packet, Startup};
use crate::pgwire::stream::{ALPN, Stream};
use crate::pgwire::{Plaintext, Shared};
use crate::session::Session;

/// Somebody who is in.
#[derive(Debug)]
pub(super) struct LoggedIn {
    pub(super) session: Session,
    pub(super) startup: Startup,
    pub(super) registration: Registration,
    /// Its share of the bound on sessions; none: an administrator beyond the bound.
    pub(super) _place: Option<OwnedSemaphorePermit>,
}

/// Why there is no session.
#[derive(Debug)]
pub(super) enum NotIn {
    /// The client is told why.
    Refused(Box<SqlError>),
    /// The client left, asked for something else, or cannot be told.
    Closed,
}

impl From<io::Error> for NotIn {
    fn from(error: io::Error) -> Self {
        debug!(%error, "connection lost before login");
        Self::Closed
    }
}

impl From<SqlError> for NotIn {
    fn from(error: SqlError) -> Self {
        Self::Refused(Box::new(error))
    }
}

impl From<Refusal> for NotIn {
    fn from(refusal: Refusal) -> Self {
        SqlError::from(refusal).into()
    }
}

/// Lets a client in, or not.
pub(super) async fn login<B: Backend>(shared: &Shared<B>, stream: &mut Stream) -> Result<LoggedIn, NotIn> {
    let startup = open(shared, stream).await?;
    let mut replies = Replies::default();
    if startup.protocol != startup.negotiated() || !startup.extensions.is_empty() {
        replies.negotiate(startup.negotiated(), startup.extensions.clone());
        stream.send(&mut replies.bytes).await?;
    }
    let authenticated = authenticate(shared, stream, &startup).await;
    if let Err(NotIn::Refused(error)) = &authenticated {
        shared.backend.refused(&startup.user, stream.peer(), &error.body);
    }
    let (candidate, proof) = authenticated?;
    if !candidate.database_exists {
        return Err(refuse_database(&startup.database).into());
    }
    let mut session = Session::new(Actor::of(candidate.principal), Some(startup.database.clone()));
    shared.backend.begin(&mut session);
    startup.configure(&mut session, |session, name, value| shared.backend.set(session, name, value))?;
    let place = Arc::clone(&shared.places).try_acquire_owned().ok();
    if place.is_none() && !shared.backend.is_superuser(session.actor) {
        let refusal = Refusal::new(state::TOO_MANY_CONNECTIONS, "sorry, too many clients already");
        let sessions = shared.config.limits.sessions_max;
        return Err(refusal
            .with_hint(format!("This node takes {sessions} sessions; try another node."))
            .into());
    }
    let width = if startup.negotiated() == PROTOCOL_NEWEST { KeyWidth::New } else { KeyWidth::Old };
    let registration = shared
        .registry
        .register(startup.user.clone(), session.cancelled.clone(), width)
        .map_err(no_randomness)?;
    let newcomer = Newcomer {
        user: startup.user.clone(),
        principal: candidate.principal,
        proof,
        client_address: stream.peer(),
        cancelled: session.cancelled.clone(),
    };
    shared.backend.opened(&mut session, newcomer);
    Ok(LoggedIn { session, startup, registration, _place: place })
}

/// Negotiates encryption until the startup packet is there.
async fn open<B: Backend>(shared: &Shared<B>, stream: &mut Stream) -> Result<Startup, NotIn> {
    if let Some(tls) = &shared.config.tls
        && stream.begins_with_tls().await?
    {
        stream.accept_tls(Arc::clone(tls)).await?;
        if stream.alpn() != Some(ALPN) {
            let message = "TLS without a request needs the ALPN protocol postgresql";
            return Err(SqlError::new(state::PROTOCOL_VIOLATION, message).into());
        }
    }
    // A client asks for each kind of encryption at most once.
    for _ in 0..3 {
        match packet(stream).await? {
            Packet::Tls if stream.is_tls() => break,
            Packet::Tls => request_tls(shared, stream).await?,
            Packet::Gss => stream.send(&mut b"N"[..].into()).await?,
            Packet::Cancel { process, key } => {
                let found = shared.registry.cancel(process, &key);
                debug!(process, found, "cancel request");
                return Err(NotIn::Closed);
            }
            Packet::Startup(_) if !stream.is_tls() && shared.config.plaintext == Plaintext::Refused => {
                let refusal = Refusal::new(INVALID_AUTHORIZATION, "this node requires TLS");
                return Err(refusal
                    .with_hint("Connect with sslmode=verify-full and the cluster's CA.")
                    .into());
            }
            Packet::Startup(startup) => return Ok(startup),
        }
    }
    Err(SqlError::new(state::PROTOCOL_VIOLATION, "encryption was asked for again").into())
}

async fn request_tls<B: Backend>(shared: &Shared<B>, stream: &mut Stream) -> Result<(), NotIn> {
    let Some(tls) = &shared.config.tls else {
        return Ok(stream.send(&mut b"N"[..].into()).await?);
    };
    // Bytes behind the request were not encrypted and would be taken for ones that were (CVE-2021-23214).
    if !stream.input.is_empty() {
        let message = "received unencrypted data after SSL request";
        return Err(SqlError::new(state::PROTOCOL_VIOLATION, message).into());
    }
    stream.send(&mut b"S"[..].into()).await?;
    Ok(stream.accept_tls(Arc::clone(tls)).await?)
}

async fn packet(stream: &mut Stream) -> Result<Packet, NotIn> {
    loop {
        if let Some(packet) = startup::split(&mut stream.input)? {
            return Ok(packet);
        }
        if !stream.fill().await? {
            return Err(NotIn::Closed);
        }
    }
}

/// Decides who it is: exists, may log in, proof. Source: authorization spec, C.3.
async fn authenticate<B: Backend>(
    shared: &Shared<B>,
    stream: &mut Stream,
    startup: &Startup,
) -> Result<(Candidate, Proof), NotIn> {
    let user = &startup.user;
    let certified = stream.client_certificate().and_then(certificate_user).as_ref() == Some(user);
    let candidate = match shared.backend.login(user, &startup.database).await? {
        Login::Forbidden(refusal) => {
            info!(%user, "login refused: no login privilege");
            return Err(refusal.into());
        }
        Login::Allowed(candidate) if certified => return Ok((candidate, Proof::Certificate)),
        Login::Allowed(candidate) => Some(candidate),
        Login::Unknown => None,
    };
    let verifier = candidate.as_ref().and_then(|candidate| candidate.verifier.as_ref());
    let verifier = verifier.and_then(|verifier| match Verifier::parse(verifier.expose()) {
        Ok(verifier) => Some(verifier),
        Err(error) => {
            warn!(%user, %error, "the stored password verifier cannot be used");
            None
        }
    });
    let real = verifier.is_some();
    let verifier = verifier.unwrap_or_else(|| Verifier::fake(&shared.config.fake_salt_key, user.as_str()));
    let proved = exchange(shared, stream, verifier).await?;
    match candidate {
        Some(candidate) if proved && real => Ok((candidate, Proof::Password)),
        _ => {
            info!(%user, "login refused: password authentication failed");
            Err(authentication_failed(user).into())
        }
    }
}

/// The SCRAM exchange; false: the proof is wrong.
async fn exchange<B: Backend>(
    shared: &Shared<B>,
    stream: &mut Stream,
    verifier: Verifier,
) -> Result<bool, NotIn> {
    let unbound = Binding::Unavailable;
    let binding = if stream.is_tls() { &shared.config.binding } else { &unbound };
    let mut replies = Replies::default();
    replies.sasl(binding.mechanisms());
    stream.send(&mut replies.bytes).await?;
    let initial = password_message(stream).await?;
    let (mechanism, first) = frame::decode_sasl_initial(initial).map_err(|error| frame_error(&error))?;
    let nonce = scram::server_nonce().map_err(no_randomness)?;
    let (exchange, reply) =
        Exchange::begin(verifier, binding, &mechanism, &first, &nonce).map_err(exchange_error)?;
    replies.sasl_continue(reply);
    stream.send(&mut replies.bytes).await?;
    let last = password_message(stream).await?;
    match exchange.finish(&last) {
        Ok(signature) => {
            replies.sasl_final(signature);
            stream.send(&mut replies.bytes).await?;
            Ok(true)
        }
        Err(ExchangeError::Refused) => Ok(false),
        Err(error) => Err(exchange_error(error).into()),
    }
}

async fn password_message(stream: &mut Stream) -> Result<bytes::Bytes, NotIn> {
    loop {
        let frame =
            frame::split(&mut stream.input, LOGIN_FRAME_BYTES_MAX).map_err(|error| frame_error(&error))?;
        if let Some((tag, body)) = frame {
            return match frame::decode(tag, body).map_err(|error| frame_error(&error))? {
                Message::Password(data) => Ok(data),
                Message::Terminate => Err(NotIn::Closed),
                _ => Err(SqlError::new(state::PROTOCOL_VIOLATION, "expected a SASL response").into()),
            };
        }
        if !stream.fill().await? {
            return Err(NotIn::Closed);
        }
    }
}

fn exchange_error(error: ExchangeError) -> SqlError {
    let code: SqlState = match error {
        ExchangeError::Malformed(_) => state::PROTOCOL_VIOLATION,
        ExchangeError::ChannelBinding | ExchangeError::Refused => INVALID_AUTHORIZATION,
    };
    SqlError::new(code, error.to_string())
}

fn no_randomness(error: getrandom::Error) -> SqlError {
    warn!(%error, "the operating system gives no random bytes");
    SqlError::new(state::INTERNAL, "the operating system gives no random bytes")
}
