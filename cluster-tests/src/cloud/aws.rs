//! A double of AWS: STS, S3 and keys of KMS on one port of loopback, in this process, as strict as the real ones.
//!
//! Signatures are checked by `s3s`, objects are files of `s3s-fs`; who may do what, and until when, is here: users with keys,
//! roles with trust policies, external ids, chains and their hour, session policies, source identities, web identity tokens
//! that are verified. A session's expiry is exact to the millisecond and is looked at when a request begins; what
//! began in time is finished. Policies are looked at for every request: those of a role that change bind its live
//! sessions, its trust policy binds who comes next. Codes, statuses and texts are those of AWS.
//!
//! A test reads what came in ([`Aws::log`]) and switches [`Fault`]s on. Not here: policies of buckets, permission boundaries,
//! regions, TLS. Objects are files, so there is no object `a` beside an object `a/b`.
//!
//! `state` knows and decides, `sts`, `s3` and `kms` are the services, `front` is the HTTP server before them.

mod front;
mod kms;
mod log;
mod s3;
mod state;
mod sts;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, SystemTime};

use ring::rand::{SecureRandom, SystemRandom};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

pub use log::{Outcome, Record};
pub use state::{Keys, Rules};

use crate::cloud::fault::{Fault, Service};
use crate::cloud::iam::Policy;
use crate::cloud::token::Issuer;
use crate::cloud::world::{Role, User, World};
use state::{KmsKey, Opening, State};

/// A running double. Dropped, it is gone with its objects.
pub struct Aws {
    shared: Arc<Shared>,
    address: SocketAddr,
    objects: TempDir,
    server: JoinHandle<()>,
}

/// What the services share.
struct Shared {
    rules: Rules,
    state: Mutex<State>,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no test panics while it holds it")
    }
}

impl Aws {
    /// Starts one with AWS's own rules, but for the shortest session: a second.
    pub async fn start() -> Self {
        Self::with(Rules::default()).await
    }

    /// Starts one with these rules.
    pub async fn with(rules: Rules) -> Self {
        let objects = TempDir::new().expect("a directory for objects");
        let shared = Arc::new(Shared { rules, state: Mutex::new(State::default()) });
        let storage = s3::service(&shared, objects.path());
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port of loopback");
        let address = listener.local_addr().expect("a bound socket has an address");
        let server = tokio::spawn(front::serve(listener, shared.clone(), storage));
        Self { shared, address, objects, server }
    }

    /// Starts one with this world in it.
    pub async fn of(world: &World) -> (Self, HashMap<String, Keys>) {
        let aws = Self::start().await;
        let keys = aws.add(world);
        (aws, keys)
    }

    /// Where both services are, as a URL.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Where both services are.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Makes all that is in a world. Returns the keys of its users, by ARN.
    pub fn add(&self, world: &World) -> HashMap<String, Keys> {
        world.buckets.iter().for_each(|bucket| self.add_bucket(bucket));
        world.roles.iter().for_each(|role| self.add_role(role));
        world.users.iter().map(|user| (user.arn.clone(), self.add_user(user))).collect()
    }

    /// Makes a bucket.
    pub fn add_bucket(&self, name: &str) {
        std::fs::create_dir_all(self.objects.path().join(name)).expect("a directory for a bucket");
    }

    /// Makes a key of KMS, whose policy leaves it to identities' own policies who may use it.
    pub fn add_key(&self, arn: &str) {
        let mut bytes = [0; 32];
        SystemRandom::new().fill(&mut bytes).expect("random bytes");
        self.shared.state().keys.insert(arn.to_owned(), KmsKey { bytes, enabled: true });
    }

    /// A key of KMS is switched off, or on again.
    pub fn enable_key(&self, arn: &str, enabled: bool) {
        self.shared.state().keys.get_mut(arn).expect("a key").enabled = enabled;
    }

    /// Makes a user, or gives one further keys.
    pub fn add_user(&self, user: &User) -> Keys {
        self.shared.state().add_user(user)
    }

    /// A user's keys are known no more.
    pub fn delete_keys(&self, access_key_id: &str) {
        self.shared.state().users.remove(access_key_id).expect("keys of a user");
    }

    /// Makes a role, or makes it anew.
    pub fn add_role(&self, role: &Role) {
        self.shared.state().add_role(role);
    }

    /// Removes a role. Its sessions may do nothing more.
    pub fn delete_role(&self, arn: &str) {
        self.shared.state().roles.remove(arn).expect("a role");
    }

    /// Changes who may assume a role. Sessions that are there go on. Returns what was there, for who wants to give it back.
    pub fn set_trust(&self, role: &str, trust: &str) -> String {
        let trust = Policy::parse(trust).expect("a trust policy");
        let mut state = self.shared.state();
        std::mem::replace(&mut state.role(role).trust, trust).text().to_owned()
    }

    /// Changes what a role may do, its live sessions with it. Returns what was there.
    pub fn set_policy(&self, role: &str, policy: Option<&str>) -> Option<String> {
        let policy = policy.map(|policy| Policy::parse(policy).expect("a policy"));
        let mut state = self.shared.state();
        std::mem::replace(&mut state.role(role).policy, policy).map(|old| old.text().to_owned())
    }

    /// Trusts the tokens of an issuer, if they are for one of these audiences.
    pub fn add_issuer(&self, issuer: &Issuer, audiences: &[&str]) {
        self.shared.state().add_issuer(issuer, audiences);
    }

    /// A session as a platform gives one to a machine of its own: nobody asked STS.
    pub fn session(&self, role: &str, name: &str, lasting: Duration) -> Keys {
        self.minter(role, name, lasting)()
    }

    /// The same again and again, for a platform that gives them away.
    pub fn minter(
        &self,
        role: &str,
        name: &str,
        lasting: Duration,
    ) -> impl Fn() -> Keys + Send + Sync + 'static {
        let (shared, role, name) = (self.shared.clone(), role.to_owned(), name.to_owned());
        move || {
            let mut state = shared.state();
            let opening = Opening { name: &name, policy: None, source_identity: None };
            let now = state.now();
            state.session(&role, opening, now, lasting).0
        }
    }

    /// All sessions are over at once, before their time.
    pub fn expire_sessions(&self) {
        let now = self.now();
        self.shared
            .state()
            .sessions
            .values_mut()
            .for_each(|session| session.expires = session.expires.min(now));
    }

    /// The keys of all sessions are known no more.
    pub fn forget_sessions(&self) {
        self.shared.state().sessions.clear();
    }

    /// Something goes wrong from now on.
    pub fn inject(&self, fault: Fault) {
        self.shared.state().faults.inject(fault);
    }

    /// A service is well again.
    pub fn heal(&self, service: Service) {
        self.shared.state().faults.heal(service);
    }

    /// The clock of the cloud: so many seconds before the true time, or behind it.
    pub fn set_clock(&self, ahead_seconds: i64) {
        self.shared.state().ahead_seconds = ahead_seconds;
    }

    /// STS says that sessions end this much later than they do, as some brokers of credentials do.
    pub fn report_later_end(&self, by: Duration) {
        self.shared.state().reported_later = by;
    }

    /// What time it is for this cloud.
    pub fn now(&self) -> SystemTime {
        self.shared.state().now()
    }

    /// What came in, oldest first, at most `log::RECORDS_MAX`.
    pub fn log(&self) -> Vec<Record> {
        self.shared.state().log.all()
    }

    /// Forgets what came in.
    pub fn clear_log(&self) {
        self.shared.state().log.clear();
    }

    /// How many requests of this operation came in, whatever came of them.
    pub fn count(&self, operation: &str) -> usize {
        self.shared.state().log.count(operation)
    }

    /// The requests that were left hanging, as operation and path, oldest first.
    pub fn hanging(&self) -> Vec<String> {
        self.shared.state().hanging.clone()
    }

    /// Every secret key and session token that there ever was: what nobody may find anywhere.
    pub fn secrets(&self) -> Vec<String> {
        self.shared.state().secrets.clone()
    }

    /// Where the objects of a bucket are, as files.
    pub fn bucket(&self, name: &str) -> PathBuf {
        self.objects.path().join(name)
    }
}

impl Drop for Aws {
    fn drop(&mut self) {
        self.server.abort();
    }
}
