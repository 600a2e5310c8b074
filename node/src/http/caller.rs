//! Who is asking: a certificate of the cluster's CA for the whole connection, or name and password with each request.
//!
//! Each request is decided anew on the catalog, as fresh as a check: whoever was dropped, may not log in any more, or has
//! another password is refused at its next request. Only the work of the password is not done again: a connection
//! remembers the last header that was proved, as a keyed hash, with the verifier that proved it.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD as BASE64;
use grantd_catalog::command::Actor;
use grantd_catalog::id::{ObjectId, PrincipalId};
use grantd_catalog::name::RoleName;
use grantd_catalog::privilege::Privilege;
use grantd_catalog::refusal::{Refusal, authentication_failed, lacks_system_privilege};
use grantd_catalog::require::Requirement;
use grantd_catalog::role::PasswordVerifier;
use hyper::StatusCode;
use hyper::header::{AUTHORIZATION, HeaderMap, HeaderValue, WWW_AUTHENTICATE};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use tokio::sync::Semaphore;
use tracing::info;

use crate::audit::{Audit, Who};
use crate::authn::scram::Verifier;
use crate::authn::{Candidate, Login, decide_console_login};
use crate::gate::{Freshness, Gate};
use crate::http::answer::{Answer, refusal, refused, unavailable};
use crate::secret::Secret;
use crate::sql::system::context::now_micros;

/// The most passwords that are tried at once: each is thousands of rounds, and strangers may ask for it.
pub const PROOFS_MAX: usize = 4;

/// Somebody who exists, may log in, and proved it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// By its name.
    pub user: RoleName,
    /// By its id.
    pub principal: PrincipalId,
}

/// Lets requests in.
pub struct Doorman {
    gate: Gate,
    audit: Audit,
    /// Makes verifiers of users that there are not.
    fake_salt_key: [u8; 32],
    proofs: Arc<Semaphore>,
}

/// What is known of a connection.
pub(super) struct Connection {
    client: SocketAddr,
    certified: Option<RoleName>,
    remembered: Mutex<Option<Remembered>>,
}

/// A header that was proved.
struct Remembered {
    header: [u8; 32],
    user: RoleName,
    principal: PrincipalId,
    verifier: PasswordVerifier,
}

impl Connection {
    pub(super) fn new(client: SocketAddr, certified: Option<RoleName>) -> Self {
        Self { client, certified, remembered: Mutex::new(None) }
    }
}

impl Doorman {
    /// Decides on the view of `gate`, and records in `audit` whom it did not let in. `fake_salt_key` makes verifiers of users
    /// that there are not.
    pub fn new(gate: Gate, audit: Audit, fake_salt_key: [u8; 32]) -> Self {
        Self { gate, audit, fake_salt_key, proofs: Arc::new(Semaphore::new(PROOFS_MAX)) }
    }

    /// Records that something was refused to `user`.
    pub(super) fn record(&self, connection: &Connection, user: &RoleName, refusal: &Refusal) {
        if self.audit.is_on() {
            let client = Some(connection.client.to_string());
            let who = Who { interface: "http", user: user.to_string(), client, ..Who::default() };
            self.audit.refused(&who, self.gate.applied_view().version(), refusal);
        }
    }

    /// Lets a request in, or says why not: 401 without proof, 503 if nobody can say. A header counts more than a
    /// certificate, so that a service may ask as somebody else over its own connection.
    pub(super) async fn admit(&self, connection: &Connection, head: &HeaderMap) -> Result<Caller, Answer> {
        match (head.get(AUTHORIZATION), &connection.certified) {
            (Some(header), _) => self.by_header(connection, header.as_bytes()).await,
            (None, Some(user)) => match self.login(user).await? {
                Login::Allowed(candidate) => {
                    Ok(Caller { user: user.clone(), principal: candidate.principal })
                }
                Login::Forbidden(refusal) => Err(self.turn_away(connection, user, &refusal)),
                Login::Unknown => Err(self.turn_away(connection, user, &authentication_failed(user))),
            },
            (None, None) => Err(who_are_you()),
        }
    }

    async fn login(&self, user: &RoleName) -> Result<Login, Answer> {
        let decided =
            self.gate.decide(Freshness::Local, |view| decide_console_login(view, user, now_micros()));
        decided.await.map_err(|refusal| unavailable(&refusal))
    }

    async fn by_header(&self, connection: &Connection, header: &[u8]) -> Result<Caller, Answer> {
        let hash = self.hash(header);
        if let Some((user, principal, proved)) = connection.recall(&hash) {
            // Nothing that the catalog says of it now may differ from what was proved.
            match self.login(&user).await? {
                Login::Allowed(Candidate { principal: now, verifier: Some(verifier), .. })
                    if now == principal && verifier == proved =>
                {
                    return Ok(Caller { user, principal });
                }
                Login::Allowed(_) | Login::Forbidden(_) | Login::Unknown => connection.forget(),
            }
        }
        let (user, password) = basic(header).ok_or_else(who_are_you)?;
        let login = self.login(&user).await?;
        let forbidden = match &login {
            Login::Forbidden(refusal) => Some(refusal.clone()),
            Login::Allowed(_) | Login::Unknown => None,
        };
        let Some((principal, verifier)) = self.prove(&user, login, password).await else {
            let refusal = forbidden.unwrap_or_else(|| authentication_failed(&user));
            return Err(self.turn_away(connection, &user, &refusal));
        };
        connection.remember(Remembered { header: hash, user: user.clone(), principal, verifier });
        Ok(Caller { user, principal })
    }

    /// A user that there is not costs as much time as a wrong password, and gets the same answer.
    async fn prove(
        &self,
        user: &RoleName,
        login: Login,
        password: Secret,
    ) -> Option<(PrincipalId, PasswordVerifier)> {
        let stored = match login {
            Login::Allowed(Candidate { principal, verifier: Some(stored), .. }) => Some((principal, stored)),
            Login::Allowed(_) | Login::Forbidden(_) | Login::Unknown => None,
        };
        let parsed = stored.as_ref().and_then(|(_, stored)| Verifier::parse(stored.expose()).ok());
        let real = parsed.is_some();
        let verifier = parsed.unwrap_or_else(|| Verifier::fake(&self.fake_salt_key, user.as_str()));
        // Its place is kept by the work itself: a client that leaves does not make room for the next at once.
        let place = Arc::clone(&self.proofs).acquire_owned().await.ok()?;
        // Thousands of rounds: not on a thread that others wait for.
        let matches = tokio::task::spawn_blocking(move || {
            let matches = verifier.matches(&password);
            drop(place);
            matches
        });
        let matches = matches.await.unwrap_or(false);
        stored.filter(|_| real && matches)
    }

    /// What it is told says nothing of why.
    fn turn_away(&self, connection: &Connection, user: &RoleName, refusal: &Refusal) -> Answer {
        info!(%user, "https login refused");
        self.record(connection, user, refusal);
        who_are_you()
    }

    fn hash(&self, header: &[u8]) -> [u8; 32] {
        Sha256::new().chain_update(self.fake_salt_key).chain_update(header).finalize().into()
    }
}

impl Connection {
    fn recall(&self, header: &[u8; 32]) -> Option<(RoleName, PrincipalId, PasswordVerifier)> {
        let remembered = self.remembered.lock().unwrap_or_else(PoisonError::into_inner);
        let known = remembered.as_ref().filter(|known| bool::from(known.header.ct_eq(header)))?;
        Some((known.user.clone(), known.principal, known.verifier.clone()))
    }

    fn remember(&self, proved: Remembered) {
        *self.remembered.lock().unwrap_or_else(PoisonError::into_inner) = Some(proved);
    }

    fn forget(&self) {
        *self.remembered.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

/// That `caller` holds a system privilege, or is an admin; 403.
pub async fn requires(gate: &Gate, caller: &Caller, privilege: Privilege) -> Result<(), Answer> {
    let mut needed = Requirement::NOTHING;
    needed.privilege(ObjectId::CLUSTER, privilege);
    let decided = gate.decide(Freshness::Local, |view| {
        gate.permit(view, Actor::of(caller.principal), &needed).map(|_permit| ())
    });
    decided
        .await
        .map_err(|refusal| unavailable(&refusal))?
        .map_err(|_| refusal(StatusCode::FORBIDDEN, &lacks_system_privilege(&caller.user, privilege)))
}

/// `Basic base64(user:password)`. Source: RFC 7617.
fn basic(header: &[u8]) -> Option<(RoleName, Secret)> {
    let (scheme, encoded) = header.split_at_checked(6)?;
    if !scheme.eq_ignore_ascii_case(b"basic ") {
        return None;
    }
    let decoded = Secret::new(String::from_utf8(BASE64.decode(encoded.trim_ascii()).ok()?).ok()?);
    let (user, password) = decoded.expose().split_once(':')?;
    Some((RoleName::normalize(user), Secret::new(password.to_owned())))
}

fn who_are_you() -> Answer {
    let message = "show a client certificate of the cluster's CA, or a user's name and password (Basic), of somebody \
                   who exists and may log in";
    let mut answer = refused(StatusCode::UNAUTHORIZED, message);
    answer
        .headers_mut()
        .insert(WWW_AUTHENTICATE, HeaderValue::from_static("Basic realm=\"grantd\", charset=\"UTF-8\""));
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn basic_credentials_are_read_and_nothing_else() {
        let read = |header: &str| {
            basic(header.as_bytes()).map(|(user, password)| (user, password.expose().to_owned()))
        };
        let amy = (RoleName::normalize("amy"), "a:b".to_owned());
        assert_eq!(read("Basic YW15OmE6Yg=="), Some(amy.clone()));
        assert_eq!(read("bAsIc  YW15OmE6Yg=="), Some(amy));
        for wrong in ["", "Basic", "Basic YW15", "Bearer YW15OmE6Yg==", "Basic !!!!", "Basic //79"] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
    }
}
