//! Who there is, who may do what, and until when.

use std::collections::HashMap;
use std::time::{Duration, SystemTime};

use crate::cloud::fault::Faults;
use crate::cloud::iam::{Ask, Caller, Named, Policy, Verdict};
use crate::cloud::token::{Issuer, Verifier};
use crate::cloud::world::{self, User};

use super::log::Log;

/// What is allowed in general.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    /// The shortest session that may be asked for. AWS: 15 minutes.
    pub shortest: Duration,
    /// The longest session of a role that was assumed by a role. AWS: an hour.
    pub chained_longest: Duration,
    /// Every session lasts so long, whatever was asked for. For clients that cannot be told. None: as asked.
    pub lasting: Option<Duration>,
    /// How far the time of a request to STS may be off.
    pub sts_skew: Duration,
    /// How far the time of a request to S3 may be off.
    pub s3_skew: Duration,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            shortest: Duration::from_secs(1),
            chained_longest: Duration::from_secs(3_600),
            lasting: None,
            sts_skew: Duration::from_secs(5 * 60),
            s3_skew: Duration::from_secs(15 * 60),
        }
    }
}

/// Keys, as a client has them.
#[derive(Clone, PartialEq, Eq)]
pub struct Keys {
    /// Which.
    pub access_key_id: String,
    /// The key.
    pub secret_access_key: String,
    /// Of a session: its token.
    pub session_token: Option<String>,
    /// Of a session: its end.
    pub expires: Option<SystemTime>,
}

impl std::fmt::Debug for Keys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Keys").field("access_key_id", &self.access_key_id).finish_non_exhaustive()
    }
}

pub(super) struct KnownUser {
    pub(super) arn: String,
    pub(super) secret: String,
    pub(super) policy: Option<Policy>,
}

pub(super) struct KnownRole {
    pub(super) trust: Policy,
    pub(super) policy: Option<Policy>,
    pub(super) max_session: Duration,
}

pub(super) struct Session {
    pub(super) secret: String,
    pub(super) token: String,
    pub(super) role: String,
    pub(super) arn: String,
    pub(super) policy: Option<Policy>,
    pub(super) source_identity: Option<String>,
    pub(super) expires: SystemTime,
}

/// A key of KMS.
pub(super) struct KmsKey {
    pub(super) bytes: [u8; 32],
    pub(super) enabled: bool,
}

/// What a session is opened with, beside its role.
pub(super) struct Opening<'a> {
    pub(super) name: &'a str,
    pub(super) policy: Option<Policy>,
    pub(super) source_identity: Option<String>,
}

#[derive(Default)]
pub(super) struct State {
    pub(super) users: HashMap<String, KnownUser>,
    pub(super) roles: HashMap<String, KnownRole>,
    pub(super) sessions: HashMap<String, Session>,
    pub(super) issuers: HashMap<String, (Verifier, Vec<String>)>,
    /// Keys of KMS, by ARN.
    pub(super) keys: HashMap<String, KmsKey>,
    /// Sizes of parts, by upload and number: all but the last must have 5 MiB.
    pub(super) parts: HashMap<(String, i32), u64>,
    pub(super) faults: Faults,
    /// Requests that were left hanging.
    pub(super) hanging: Vec<String>,
    pub(super) log: Log,
    pub(super) secrets: Vec<String>,
    pub(super) ahead_seconds: i64,
    pub(super) reported_later: Duration,
    made: u64,
}

/// Why a key and its token prove nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unknown {
    /// There is no such key.
    Key,
    /// The token is not that of the key.
    Token,
    /// The session is over.
    Expired,
}

/// Who asks, with what their session has.
#[derive(Clone, Debug)]
pub(super) struct Known {
    pub(super) caller: Caller,
    pub(super) source_identity: Option<String>,
    access_key_id: String,
}

impl State {
    pub(super) fn now(&self) -> SystemTime {
        let off = Duration::from_secs(self.ahead_seconds.unsigned_abs());
        if self.ahead_seconds < 0 { SystemTime::now() - off } else { SystemTime::now() + off }
    }

    pub(super) fn add_user(&mut self, user: &User) -> Keys {
        let policy = user.policy.as_deref().map(|policy| Policy::parse(policy).expect("a user's policy"));
        let (key, secret) = (self.access_key("AKIA"), self.secret());
        self.users.insert(key.clone(), KnownUser { arn: user.arn.clone(), secret: secret.clone(), policy });
        Keys { access_key_id: key, secret_access_key: secret, session_token: None, expires: None }
    }

    pub(super) fn add_role(&mut self, role: &world::Role) {
        let policy = role.policy.as_deref().map(|policy| Policy::parse(policy).expect("a role's policy"));
        let trust = Policy::parse(&role.trust).expect("a role's trust policy");
        self.roles.insert(role.arn.clone(), KnownRole { trust, policy, max_session: role.max_session });
    }

    pub(super) fn role(&mut self, arn: &str) -> &mut KnownRole {
        self.roles.get_mut(arn).unwrap_or_else(|| panic!("there is no role {arn}"))
    }

    pub(super) fn add_issuer(&mut self, issuer: &Issuer, audiences: &[&str]) {
        let audiences = audiences.iter().map(|&audience| audience.to_owned()).collect();
        self.issuers.insert(issuer.url().to_owned(), (issuer.verifier(), audiences));
    }

    /// A new session of a role. Returns its keys and its ARN.
    pub(super) fn session(
        &mut self,
        role: &str,
        opening: Opening<'_>,
        now: SystemTime,
        lasting: Duration,
    ) -> (Keys, String) {
        let (key, secret, token) = (self.access_key("ASIA"), self.secret(), self.secret() + &self.secret());
        let Opening { name, policy, source_identity } = opening;
        let arn = world::session_arn(role, name);
        let expires = now + lasting;
        let session = Session {
            secret: secret.clone(),
            token: token.clone(),
            role: role.to_owned(),
            arn: arn.clone(),
            policy,
            source_identity,
            expires,
        };
        self.sessions.insert(key.clone(), session);
        let keys = Keys {
            access_key_id: key,
            secret_access_key: secret,
            session_token: Some(token),
            expires: Some(expires + self.reported_later),
        };
        (keys, arn)
    }

    /// The secret that a request with this key must have been signed with.
    pub(super) fn secret_of(&self, access_key_id: &str) -> Option<String> {
        let user = self.users.get(access_key_id).map(|user| user.secret.clone());
        user.or_else(|| self.sessions.get(access_key_id).map(|session| session.secret.clone()))
    }

    /// Who asks, with a key whose signature was right. As AWS: a temporary key without its token is not known at all.
    pub(super) fn who(&self, key: &str, token: Option<&str>, at: SystemTime) -> Result<Known, Unknown> {
        if let Some(user) = self.users.get(key) {
            let caller = Caller::User(user.arn.clone());
            return match token {
                None => Ok(Known { caller, source_identity: None, access_key_id: key.to_owned() }),
                Some(_) => Err(Unknown::Token),
            };
        }
        let session = self.sessions.get(key).ok_or(Unknown::Key)?;
        match token {
            None => Err(Unknown::Key),
            Some(token) if token != session.token => Err(Unknown::Token),
            Some(_) if at >= session.expires => Err(Unknown::Expired),
            Some(_) => Ok(Known {
                caller: Caller::Session { arn: session.arn.clone(), role: session.role.clone() },
                source_identity: session.source_identity.clone(),
                access_key_id: key.to_owned(),
            }),
        }
    }

    /// Whether they may, by their own policies: what the identity may, as far as the session's policy reaches.
    pub(super) fn may(&self, known: &Known, ask: &Ask<'_>) -> Verdict {
        let identity = match &known.caller {
            Caller::User(_) => self.users.get(&known.access_key_id).and_then(|user| user.policy.as_ref()),
            Caller::Session { role, .. } => self.roles.get(role).and_then(|role| role.policy.as_ref()),
            Caller::Federated(_) => None,
        };
        let identity = identity.map_or(Verdict::Silent, |policy| policy.decide(ask));
        match self.session_says(known, ask) {
            Verdict::Deny => Verdict::Deny,
            Verdict::Silent => {
                if identity == Verdict::Deny {
                    Verdict::Deny
                } else {
                    Verdict::Silent
                }
            }
            Verdict::Allow => identity,
        }
    }

    /// What the policy of their session says; without one it allows.
    fn session_says(&self, known: &Known, ask: &Ask<'_>) -> Verdict {
        let session = self.sessions.get(&known.access_key_id);
        session
            .and_then(|session| session.policy.as_ref())
            .map_or(Verdict::Allow, |policy| policy.decide(ask))
    }

    /// Whether they may do this with a role. Both sides must allow it, its trust policy and their own; within one account a
    /// trust policy that names them, and not just their account, is enough.
    pub(super) fn may_assume(&self, known: &Known, ask: &Ask<'_>) -> bool {
        let Some(role) = self.roles.get(ask.resource) else { return false };
        let (Verdict::Allow, Some(named)) = role.trust.trusts(&known.caller, ask) else { return false };
        let same = known.caller.account() == crate::cloud::iam::account(ask.resource);
        match self.may(known, ask) {
            Verdict::Deny => false,
            Verdict::Allow => true,
            Verdict::Silent => match named {
                Named::Itself => same,
                Named::Role => same && self.session_says(known, ask) == Verdict::Allow,
                Named::Account => false,
            },
        }
    }

    fn access_key(&mut self, kind: &str) -> String {
        self.made += 1;
        format!("{kind}EXAMPLE{:09}", self.made)
    }

    /// Forty characters that nobody guesses.
    fn secret(&mut self) -> String {
        let secret = crate::cloud::token::random_hex(20);
        self.secrets.push(secret.clone());
        secret
    }
}
