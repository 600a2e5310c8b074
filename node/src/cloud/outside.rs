//! What this node reaches outside: URIs resolved and decided, places opened and tried, credentials listed.
//!
//! Everything that a statement does outside goes through here; the parts are below: `connection` reads URIs, `route` makes
//! chains of them, `broker` keeps the chains' credentials, `storage` signs requests, `preflight` tries places.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use bytes::Bytes;
use grantd_catalog::command::Actor;
use grantd_catalog::object::ConnectionUri;
use grantd_catalog::refusal::{Refusal, SqlState, state};
use grantd_catalog::view::View;

use crate::cloud::broker::{Broker, Credentials, StepReport};
use crate::cloud::chain::{Chain, Source};
use crate::cloud::connection::Target;
use crate::cloud::everywhere::{CHECK_GRACE, CredentialRow};
use crate::cloud::kms::{MasterKey, Way};
use crate::cloud::preflight::{self, Options, PIECE_BYTES_MAX, Place, Report, SENTINEL, Trouble};
use crate::cloud::route::{self, Operation, Who};
use crate::cloud::settings::{ChainSettings, NodeSettings};
use crate::cloud::storage::{Patience, Storage, StorageError, StorageSettings, Storages};
use crate::cloud::uri::{Nodelocal, Purpose, Uri};
use crate::gate::Gate;

/// What is outside did not do what was asked: external routine exception, as foreign data and procedures have it.
const EXTERNAL_ROUTINE_EXCEPTION: SqlState = SqlState::new("38000");
/// What checks are called in the cloud's audit log and in SHOW CREDENTIALS.
const TASK: &str = "check";
/// What asks who this node is, before it takes a job, in SHOW CREDENTIALS.
const JOBS: &str = "jobs";
/// How long the sentinel may take: a chain that is new, and three small requests. Whoever makes a connection waits for it.
pub const SENTINEL_TIME_MAX: Duration = Duration::from_secs(60);

/// What this node reaches outside. Cheap to clone.
#[derive(Clone)]
pub struct Outside {
    shared: Arc<Shared>,
}

struct Shared {
    gate: Gate,
    settings: NodeSettings,
    /// None: nothing is reached, as in an engine that is no node.
    reached: Option<Reached>,
}

struct Reached {
    broker: Broker,
    storages: Arc<Storages>,
    /// What this node is in a cloud, where a job needed to know it: at most one of each cloud.
    own: Mutex<HashMap<Source, Credentials>>,
}

impl Reached {
    /// Why this node cannot be who a way says it is, as far as it knows. It is found out from the first question on.
    fn lacks(&self, way: &Uri) -> Option<String> {
        let source = route::own_source(way)?;
        let mut own = self.own.lock().unwrap_or_else(PoisonError::into_inner);
        if !own.contains_key(&source) {
            // So many chains that there is no place for one more: then it is not known.
            let opened = self.broker.open(&Chain::new(source.clone(), []), JOBS).ok()?;
            own.insert(source.clone(), opened);
        }
        let credentials = own.get(&source)?;
        if credentials.current().is_some() {
            return None;
        }
        credentials.trouble().map(|trouble| trouble.to_string())
    }
}

/// What a place is opened for.
#[derive(Clone, Copy, Debug)]
pub struct Use<'a> {
    /// The job or statement, as the cloud's audit log and SHOW CREDENTIALS call it.
    pub task: &'a str,
    /// The SQL user.
    pub user: &'a str,
    /// Whether objects are written.
    pub write: bool,
    /// Who waits.
    pub patience: Patience,
}

/// Why a place was not opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NotOpened {
    /// It did not let this node in, or was not reached.
    Storage(StorageError),
    /// Its URI, or a setting, says that it cannot be.
    Refused(Refusal),
}

impl NotOpened {
    /// As a client reads it.
    pub fn refusal(&self) -> Refusal {
        match self {
            Self::Storage(error) => error.refusal(),
            Self::Refused(refusal) => refusal.clone(),
        }
    }
}

impl From<Refusal> for NotOpened {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl Outside {
    /// Reads and decides URIs, and reaches nothing.
    pub fn nowhere(gate: Gate) -> Self {
        // What a node may do is asked on a node.
        let settings = NodeSettings { external_io_dir: Some("extern".into()), ..NodeSettings::nowhere() };
        Self { shared: Arc::new(Shared { gate, settings, reached: None }) }
    }

    /// What a node with these settings reaches.
    pub fn new(gate: Gate, settings: NodeSettings, broker: Broker) -> Self {
        let seen = gate.clone();
        let said = move || StorageSettings::of(&seen.applied_view());
        let storages = Storages::new(gate.node_id(), settings.clone(), broker.clone(), said);
        let reached = Some(Reached { broker, storages, own: Mutex::default() });
        Self { shared: Arc::new(Shared { gate, settings, reached }) }
    }

    /// By which its users are decided.
    pub fn gate(&self) -> &Gate {
        &self.shared.gate
    }

    /// What keeps the credentials of this node. None: it reaches nothing.
    pub fn broker(&self) -> Option<&Broker> {
        self.shared.reached.as_ref().map(|reached| &reached.broker)
    }

    /// Storage of this node. None: it reaches nothing.
    pub fn storages(&self) -> Option<&Arc<Storages>> {
        self.shared.reached.as_ref().map(|reached| &reached.storages)
    }

    /// What its configuration says.
    pub fn settings(&self) -> &NodeSettings {
        &self.shared.settings
    }

    /// The id of its cluster, as clouds read it. Empty: it is in none.
    pub fn cluster(&self) -> String {
        self.shared.gate.status().and_then(|status| status.cluster_id).unwrap_or_default()
    }

    /// What the URI of a changefeed's sink comes to on `view`.
    pub fn sink(&self, view: &View, uri: &str, unordered: bool) -> Result<Target, Refusal> {
        Target::of_used(uri, Purpose::Sink { unordered }, view, &self.shared.settings)
    }

    /// What is to be kept as an external connection.
    pub fn stored(&self, kept: &ConnectionUri) -> Result<Target, Refusal> {
        Target::of_stored(kept, &self.shared.settings)
    }

    /// What a URI of storage comes to on `view`, if `actor` may use it there.
    pub fn approved(&self, view: &View, actor: Actor, uri: &str) -> Result<Target, Refusal> {
        self.approved_for(view, actor, uri, Purpose::Storage)
    }

    /// The same, of a URI that is used for `purpose`.
    pub fn approved_for(
        &self,
        view: &View,
        actor: Actor,
        uri: &str,
        purpose: Purpose,
    ) -> Result<Target, Refusal> {
        let target = Target::of_used(uri, purpose, view, &self.shared.settings)?;
        self.shared.gate.permit(view, actor, &target.requirement())?;
        Ok(target)
    }

    /// Opens a place of storage on `view`, by the first way that is not denied; one page of names tells. Whether `of.user` may
    /// use it was asked before.
    pub async fn open(&self, view: &View, uri: &str, of: Use<'_>) -> Result<Storage, NotOpened> {
        let target = Target::of_used(uri, Purpose::Storage, view, &self.shared.settings)?;
        let mut denied = None;
        for way in &target.ways {
            let opened = match self.opened(view, way, of).await {
                Ok(storage) => {
                    storage.list(SENTINEL, None).await.map(|_| storage).map_err(NotOpened::Storage)
                }
                Err(error) => Err(error),
            };
            match opened {
                Err(NotOpened::Storage(error)) if error.is_denied() => {
                    denied.get_or_insert(error);
                }
                other => return other,
            }
        }
        // A target has a way: that none was denied and none came back does not happen.
        Err(denied.map_or_else(|| NotOpened::Refused(nowhere()), NotOpened::Storage))
    }

    /// Why this node gets to one of these places by none of its ways, as it knows without asking there: it has no identity in the
    /// cloud that they begin with, or that has ended. None: it knows of nothing.
    pub fn lacks(&self, targets: &[Target]) -> Option<String> {
        let reached = self.shared.reached.as_ref()?;
        targets.iter().find_map(|target| {
            let mut ways = target.ways.iter().map(|way| reached.lacks(way));
            let first = ways.next()??;
            ways.all(|lacks| lacks.is_some()).then_some(first)
        })
    }

    /// The same of places of storage, as they are written.
    pub fn lacks_storage(&self, view: &View, uris: &[&str]) -> Option<String> {
        let read = |uri: &&str| Target::of_used(uri, Purpose::Storage, view, &self.shared.settings).ok();
        self.lacks(&uris.iter().filter_map(read).collect::<Vec<_>>())
    }

    /// The key of a URI on `view`, if `actor` may use it there. Nothing is asked of the cloud yet.
    pub fn key(&self, view: &View, actor: Actor, uri: &str, task: &str) -> Result<MasterKey, Refusal> {
        let target = Target::of_used(uri, Purpose::Kms, view, &self.shared.settings)?;
        self.shared.gate.permit(view, actor, &target.requirement())?;
        let Some(reached) = &self.shared.reached else { return Err(nowhere()) };
        let (cluster, user) = (self.cluster(), view.state().principal_name(actor.session).to_string());
        let who = Who { cluster: &cluster, node: self.shared.gate.node_id(), task, user: &user };
        let custom_ca = StorageSettings::of(view).custom_ca;
        let mut ways = Vec::new();
        for way in &target.ways {
            let routed = route::route(way, Operation::Kms, &who, &ChainSettings::of(view))?;
            let chain = routed.map(|route| route.chain).ok_or_else(nowhere)?;
            let credentials = reached.broker.open(&chain, &format!("{task} of {user}"));
            let credentials =
                credentials.map_err(|many| Refusal::new(state::PROGRAM_LIMIT_EXCEEDED, many.to_string()))?;
            ways.push(Way::new(way, credentials, &self.shared.settings, &custom_ca)?);
        }
        MasterKey::new(ways).ok_or_else(nowhere)
    }

    /// A place of storage, under the credentials of its way.
    async fn opened(&self, view: &View, way: &Uri, of: Use<'_>) -> Result<Storage, NotOpened> {
        let Some(reached) = &self.shared.reached else { return Err(NotOpened::Refused(nowhere())) };
        let gate = &self.shared.gate;
        let cluster = gate.status().and_then(|status| status.cluster_id).unwrap_or_default();
        let who = Who { cluster: &cluster, node: gate.node_id(), task: of.task, user: of.user };
        let operation = Operation::Storage { write: of.write };
        let routed = route::route(way, operation, &who, &ChainSettings::of(view))?;
        let chain = routed.as_ref().map(|route| &route.chain);
        let label = format!("{} of {}", of.task, of.user);
        reached.storages.open(way, chain, &label, of.patience).await.map_err(NotOpened::Storage)
    }

    /// The credentials that this node keeps.
    pub fn credentials(&self) -> Vec<CredentialRow> {
        let report = self.shared.reached.as_ref().map(|reached| reached.broker.report()).unwrap_or_default();
        let now = SystemTime::now();
        let mut rows: Vec<_> = report.into_iter().map(|step| row(step, now)).collect();
        rows.sort_by(|a, b| (&a.chain, a.step).cmp(&(&b.chain, b.step)));
        rows
    }

    /// Writes, lists and reads the sentinel by each way. What is to be known although one of them works.
    pub async fn sentinel(&self, view: &View, user: &str, target: &Target) -> Result<Vec<String>, Refusal> {
        let mut told = Vec::new();
        let mut refused = None;
        let mut works = false;
        for (at, way) in target.ways.iter().enumerate() {
            if let Some(why) = self.untried(way) {
                told.push(why);
                works = true;
                continue;
            }
            if self.shared.reached.is_none() {
                works = true;
                continue;
            }
            match self.try_sentinel(view, user, way).await {
                Ok(()) => works = true,
                Err(trouble) => {
                    let which = if at == 0 { "first" } else { "secondary" };
                    told.push(format!("the {which} URI does not work: {}", trouble.message));
                    refused.get_or_insert(trouble);
                }
            }
        }
        match refused {
            Some(trouble) if !works => Err(Refusal::new(EXTERNAL_ROUTINE_EXCEPTION, trouble.message)
                .with_hint("WITH SKIP_CHECK leaves this out; CHECK EXTERNAL CONNECTION 'uri' ON ALL NODES tells more.")),
            _ => Ok(told),
        }
    }

    /// Why a way is not tried before it is kept; none: it is.
    fn untried(&self, way: &Uri) -> Option<String> {
        match way {
            Uri::S3(_) | Uri::Gs(_) => None,
            Uri::Nodelocal(Nodelocal { node, .. }) => {
                let other = node.filter(|node| *node != self.shared.gate.node_id())?;
                Some(format!(
                    "nothing was written: the files of node {other} are looked at from that node only"
                ))
            }
            _ => {
                let scheme = way.scheme();
                Some(format!("nothing was reached: of a {scheme} URI only its text was looked at"))
            }
        }
    }

    async fn try_sentinel(&self, view: &View, user: &str, way: &Uri) -> Result<(), Trouble> {
        let place = self.place(view, user, way).await?;
        let tried = tokio::time::timeout(SENTINEL_TIME_MAX, preflight::sentinel(&*place)).await;
        tried.unwrap_or_else(|_elapsed| Err(late(SENTINEL_TIME_MAX)))
    }

    /// Resolves, decides and tries a place from this node, by the first way that is not denied.
    pub async fn check(&self, view: &View, actor: Actor, uri: &str, options: Options) -> Report {
        let target = match self.approved(view, actor, uri) {
            Ok(target) => target,
            Err(refusal) => return Report::failed(refusal.message),
        };
        let user = view.state().principal_name(actor.session).to_string();
        let mut denied: Option<String> = None;
        for way in &target.ways {
            match self.try_place(view, &user, way, options).await {
                Ok(report) => {
                    return Report { error: denied.map(|why| note(&why)).or(report.error), ..report };
                }
                Err(Trouble { denied: true, message }) => {
                    denied.get_or_insert(message);
                }
                Err(Trouble { message, .. }) => return Report::failed(denied.unwrap_or(message)),
            }
        }
        Report::failed(denied.unwrap_or_default())
    }

    async fn try_place(
        &self,
        view: &View,
        user: &str,
        way: &Uri,
        options: Options,
    ) -> Result<Report, Trouble> {
        let place = self.place(view, user, way).await?;
        let name = format!("{SENTINEL}-check-{}", self.shared.gate.node_id());
        let most = options.time + CHECK_GRACE;
        let measured = tokio::time::timeout(most, preflight::measure(place, &name, options)).await;
        measured.unwrap_or_else(|_elapsed| Err(late(most)))
    }

    /// A place of storage, under the credentials of its way.
    async fn place(&self, view: &View, user: &str, way: &Uri) -> Result<Arc<dyn Place>, Trouble> {
        let of = Use { task: TASK, user, write: true, patience: Patience::Statement };
        match self.opened(view, way, of).await {
            Ok(storage) => Ok(Arc::new(storage)),
            Err(NotOpened::Storage(error)) => Err(error.into()),
            Err(NotOpened::Refused(refusal)) => Err(Trouble { denied: false, message: refusal.message }),
        }
    }
}

#[async_trait]
impl Place for Storage {
    async fn write(&self, name: &str, bytes: Bytes) -> Result<(), Trouble> {
        Ok(self.put(name, bytes).await?)
    }

    async fn lists(&self, name: &str) -> Result<bool, Trouble> {
        Ok(self.list(name, None).await?.found.iter().any(|found| found.name == name))
    }

    async fn read(&self, name: &str) -> Result<Bytes, Trouble> {
        Ok(self.get(name, None).await?.bytes(PIECE_BYTES_MAX).await?)
    }

    async fn remove(&self, name: &str) -> Result<(), Trouble> {
        Ok(self.delete(name).await?)
    }
}

impl From<StorageError> for Trouble {
    fn from(error: StorageError) -> Self {
        let hint = error.hint.as_ref().map(|hint| format!("; {hint}")).unwrap_or_default();
        Self { denied: error.is_denied(), message: format!("{error}{hint}") }
    }
}

fn note(denied: &str) -> String {
    format!("the first URI is denied, the secondary one is used: {denied}")
}

fn nowhere() -> Refusal {
    Refusal::new(EXTERNAL_ROUTINE_EXCEPTION, "this node reaches nothing outside")
        .with_hint("Connect to a node of a cluster.")
}

fn late(most: Duration) -> Trouble {
    Trouble { denied: false, message: format!("nothing came of it within {} s", most.as_secs()) }
}

fn row(step: StepReport, now: SystemTime) -> CredentialRow {
    let micros = |time: SystemTime| {
        let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
        i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
    };
    CredentialRow {
        chain: step.chain.to_string(),
        step: u32::try_from(step.hop).unwrap_or(u32::MAX),
        state: step.state.to_owned(),
        expires_micros: step.not_after.map(micros),
        next_refresh_micros: step.next.and_then(|next| now.checked_add(next)).map(micros),
        last_refresh_micros: step.age.and_then(|age| now.checked_sub(age)).map(micros),
        last_error: step.trouble.map(|trouble| trouble.to_string()),
        users: step.users_count as u64,
    }
}
