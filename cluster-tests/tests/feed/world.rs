//! One node, one table, one feed, and what is to be read of it in the end.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use grantd_catalog::command::Actor;
use grantd_catalog::id::{ObjectId, PrincipalId, Timestamp};
use grantd_catalog::name::Name;
use grantd_catalog::privilege::Privilege;
use grantd_catalog::require::Requirement;
use grantd_node::audit::Audit;
use grantd_node::cert;
use grantd_node::cloud::aws::{Aws, Environment};
use grantd_node::cloud::broker::Broker;
use grantd_node::cloud::fetch::Clouds as Fetch;
use grantd_node::cloud::gcp::{self, Gcp};
use grantd_node::cloud::route::{Operation, Who, route};
use grantd_node::cloud::settings::{ChainSettings, NodeSettings};
use grantd_node::cloud::storage::{Patience, StorageSettings, Storages};
use grantd_node::cloud::uri::{Purpose, Uri};
use grantd_node::config::{CheckSocket, LogFormat, Settings};
use grantd_node::feed::options::Options;
use grantd_node::feed::plan::{Feed, Progress};
use grantd_node::feed::run::{Ended, Keeper, NotKept, Pace, Report, Run};
use grantd_node::feed::sink::{Opener, open};
use grantd_node::feed::source::Source;
use grantd_node::feed::topic::{Target, topics};
use grantd_node::gate::Gate;
use grantd_node::run::Node;
use grantd_node::session::Session;
use grantd_node::sql::execute::{Engine, Place};
use grantd_raft::config::Tuning;
use tempfile::TempDir;

use crate::reader::History;

const ROWS: i64 = 20;

/// What of clouds the node is told.
pub struct Clouds(NodeSettings);

impl Clouds {
    pub fn none() -> Self {
        Self(NodeSettings::nowhere())
    }

    pub fn aws(endpoint: &str) -> Self {
        Self(NodeSettings {
            aws_sts_endpoint: Some(endpoint.to_owned()),
            aws_region: Some("us-east-1".to_owned()),
            ..NodeSettings::nowhere()
        })
    }

    pub fn google(settings: NodeSettings) -> Self {
        Self(settings)
    }
}

/// Keeps in memory.
#[derive(Default)]
pub struct Kept {
    progress: Mutex<Progress>,
    retries: Mutex<u64>,
}

#[async_trait]
impl Keeper for Kept {
    async fn keep(&self, progress: Progress) -> Result<(), NotKept> {
        let mut kept = self.progress.lock().unwrap();
        assert!(progress.high_water >= kept.high_water, "it goes back");
        *kept = progress;
        Ok(())
    }

    fn report(&self, report: Report<'_>) {
        if let Some(trouble) = report.trouble {
            eprintln!("trouble: {trouble}");
            *self.retries.lock().unwrap() += 1;
        }
    }
}

pub struct World {
    _node: Node,
    directory: TempDir,
    engine: Engine,
    root: Session,
    gate: Gate,
    table: ObjectId,
    owner: PrincipalId,
    options: Vec<(String, Option<String>)>,
    start: Timestamp,
    kept: Arc<Kept>,
    pub expected: History,
    dice: u64,
}

impl World {
    pub async fn start(options: &[(&str, Option<&str>)]) -> Self {
        let directory = TempDir::new().unwrap();
        let certs = directory.path().join("certs");
        let cert_options = cert::Options { days: 2, overwrite: false };
        cert::create_ca(&certs, &cert::Options { days: 3, ..cert_options }).unwrap();
        let own = directory.path().join("certs-1");
        cert::create_node(&certs, &own, 1, &["localhost".to_owned(), "127.0.0.1".to_owned()], &cert_options)
            .unwrap();
        let raft = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap();
        let settings = Settings {
            data_dir: directory.path().join("data"),
            certs_dir: own,
            listen: raft,
            advertise: raft.to_string(),
            sql_listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            http_listen: None,
            check_socket: CheckSocket::Inside,
            sql_advertise: None,
            join: Vec::new(),
            log_format: LogFormat::Text,
            log_filter: String::new(),
            tuning: Tuning::default(),
            drain_timeout: Duration::from_secs(1),
            sql_memory: grantd_raft::memory::TOTAL_BYTES,
            audit_dir: None,
            check_rate: 0,
            check_burst: 0,
            cloud: NodeSettings::nowhere(),
        };
        let node = Box::pin(Node::start(settings)).await.unwrap();
        node.handle().initialize().await.unwrap();
        let replica = Arc::new(node.handle().clone());
        let engine = Engine::new(replica.clone());
        let gate = Gate::new(replica);
        let root = Session::new(Actor::of(PrincipalId::ROOT), Some(Name::normalize("defaultdb")));
        let mut world = Self {
            _node: node,
            directory,
            engine,
            root,
            gate,
            table: ObjectId(0),
            owner: PrincipalId::ROOT,
            options: options
                .iter()
                .map(|(name, value)| ((*name).to_owned(), value.map(str::to_owned)))
                .collect(),
            start: Timestamp::default(),
            kept: Arc::default(),
            expected: History::new(),
            dice: 0x9e37_79b9_7f4a_7c15,
        };
        world.run("CREATE TABLE t (k INT PRIMARY KEY, v INT)").await;
        world.run(&format!("INSERT INTO t SELECT s, 0 FROM generate_series(0, {}) AS s", ROWS - 1)).await;
        world.expected = (0..ROWS).map(|key| (key, vec![Some(0)])).collect();
        let view = world.gate.view().await.unwrap();
        let found = view.state().objects().find(|(_, object)| object.name.as_str() == "t");
        world.table = found.map(|(id, _)| id).expect("the table");
        world.start = world.now().await;
        world
    }

    pub async fn run(&mut self, text: &str) {
        let ran = self.engine.run(&mut self.root, text, Place::Alone).await;
        ran.map(drop).unwrap_or_else(|error| panic!("{text}: {}", error.body.message));
    }

    /// The feed is somebody else's.
    pub async fn becomes(&mut self, name: &str) {
        let view = self.gate.view().await.unwrap();
        let mut principals = view.state().principals();
        let found = principals.find(|(_, principal)| principal.name.to_string() == name);
        self.owner = found.map(|(id, _)| id).expect("the user");
    }

    pub fn files(&self) -> PathBuf {
        self.directory.path().join("extern/feed")
    }

    pub fn retries(&self) -> u64 {
        *self.kept.retries.lock().unwrap()
    }

    fn source(&self) -> Source {
        let (owner, table) = (self.owner, self.table);
        let may = move |_: &grantd_catalog::view::View| {
            let mut requirement = Requirement::default();
            requirement.privilege(table, Privilege::Changefeed);
            Ok((Actor::of(owner), requirement))
        };
        Source::new(self.gate.clone(), Arc::new(may), [table])
    }

    async fn now(&self) -> Timestamp {
        self.source().now().await.unwrap()
    }

    fn roll(&mut self, sides: u64) -> u64 {
        self.dice ^= self.dice << 13;
        self.dice ^= self.dice >> 7;
        self.dice ^= self.dice << 17;
        (self.dice >> 33) % sides
    }

    /// One commit of a random kind.
    async fn write(&mut self) {
        let key = i64::try_from(self.roll(ROWS as u64)).unwrap();
        let last = self.expected[&key].last().copied().flatten();
        let next = match (last, self.roll(6)) {
            (None, _) => {
                self.run(&format!("INSERT INTO t (k, v) VALUES ({key}, 1000)")).await;
                Some(1_000)
            }
            (Some(_), 0) => {
                self.run(&format!("DELETE FROM t WHERE k = {key}")).await;
                None
            }
            // Case 137.
            (Some(v), 1) => {
                self.run("BEGIN").await;
                self.run(&format!("UPDATE t SET v = v + 1 WHERE k = {key}")).await;
                self.run(&format!("UPDATE t SET v = v + 1 WHERE k = {key}")).await;
                self.run("COMMIT").await;
                Some(v + 2)
            }
            (Some(v), _) => {
                self.run(&format!("UPDATE t SET v = v + 1 WHERE k = {key}")).await;
                Some(v + 1)
            }
        };
        self.expected.get_mut(&key).unwrap().push(next);
    }

    /// All rows that are there are sent again.
    pub fn all_again(&mut self) {
        for versions in self.expected.values_mut() {
            if let Some(there) = versions.last().copied().flatten() {
                versions.push(Some(there));
            }
        }
    }

    /// Writes while the feed runs; it is stopped after some time, or when it has all.
    pub async fn write_while_fed(
        &mut self,
        clouds: &Clouds,
        sink: &str,
        writes: usize,
        stop: Option<Duration>,
    ) {
        let feeder = self.feeder(clouds, sink);
        let feeding = tokio::spawn(feeder);
        let began = Instant::now();
        for _ in 0..writes {
            self.write().await;
        }
        match stop {
            Some(stop) => tokio::time::sleep(stop.saturating_sub(began.elapsed())).await,
            None => {
                let goal = self.now().await;
                let high_water = || self.kept.progress.lock().unwrap().high_water;
                while high_water() < Some(goal) {
                    assert!(!feeding.is_finished(), "it ended: {:?}", feeding.await);
                    assert!(began.elapsed() < Duration::from_secs(60), "at {:?} of {goal:?}", high_water());
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
            }
        }
        feeding.abort();
        let _ = feeding.await;
    }

    /// Runs the feed until it ends, or so long.
    pub async fn feed(&mut self, clouds: &Clouds, sink: &str, most: Option<Duration>) -> Option<Ended> {
        let feeder = self.feeder(clouds, sink);
        tokio::time::timeout(most.unwrap_or(Duration::MAX), feeder).await.ok()
    }

    /// Whether a sink lets us in within so long.
    pub async fn is_let_in(&self, sink: &str, most: Duration) -> bool {
        let of_node = NodeSettings::nowhere();
        let uri = Uri::parse(sink, Purpose::Sink { unordered: false }, &of_node).unwrap();
        let options = Options::parse(&self.options, self.start).unwrap().for_sink(&uri).unwrap();
        let (broker, storages) = clients(&of_node);
        let (of_node, chains) = (&of_node, &chains());
        let opener =
            Opener { storages: &storages, broker: &broker, of_node, chains, custom_ca: "", who: WHO };
        let mut sink = open(&uri, &options, &["t".into()], &opener).await.unwrap();
        matches!(tokio::time::timeout(most, sink.begin(self.start)).await, Ok(Ok(())))
    }

    fn feeder(&self, clouds: &Clouds, sink: &str) -> impl Future<Output = Ended> + Send + use<> {
        let of_node =
            NodeSettings { external_io_dir: Some(self.directory.path().join("extern")), ..clouds.0.clone() };
        std::fs::create_dir_all(self.directory.path().join("extern")).unwrap();
        let uri = Uri::parse(sink, Purpose::Sink { unordered: false }, &of_node).unwrap();
        let options = Options::parse(&self.options, self.start).unwrap().for_sink(&uri).unwrap();
        let name = ["defaultdb", "public", "t"].map(str::to_owned);
        let targets = vec![Target { table: self.table, name }];
        let topics = topics(&targets, options.message.full_table_name, &uri);
        let feed = Feed::new(targets, options, self.start);
        let (source, kept) = (self.source(), Arc::clone(&self.kept));
        async move {
            let (broker, storages) = clients(&of_node);
            let chains = chains();
            let opener = Opener {
                storages: &storages,
                broker: &broker,
                of_node: &of_node,
                chains: &chains,
                custom_ca: "",
                who: WHO,
            };
            let mut sink = open(&uri, &feed.options, &topics, &opener).await.unwrap();
            let progress = *kept.progress.lock().unwrap();
            let pace = Pace { first: Duration::from_millis(100), most: Duration::from_secs(1) };
            Run::new(&feed, progress, topics, &source, &*kept, pace).into(&mut *sink).await
        }
    }
}

const WHO: Who<'_> = Who { cluster: "0a1b2c3d4e5f", node: 1, task: "job7", user: "anna" };

fn chains() -> ChainSettings {
    ChainSettings { duration: Duration::from_secs(3), ..ChainSettings::default() }
}

fn clients(of_node: &NodeSettings) -> (Broker, Arc<Storages>) {
    let aws = Aws::new(of_node, Environment::only(&[]), "grantd-0a1b2c3d-1".to_owned());
    let gcp = Gcp::new(of_node.clone(), gcp::Environment::default(), "").unwrap();
    let broker = Broker::start(Arc::new(Fetch::new(aws, gcp, String::new)), 1, Audit::default());
    (broker.clone(), Storages::new(1, of_node.clone(), broker, StorageSettings::default))
}

/// The lines of all files of a bucket, in the order of their names.
pub async fn lines_of(clouds: &Clouds, uri: &str) -> Vec<String> {
    let (_broker, storages) = clients(&clouds.0);
    let uri = Uri::parse(uri, Purpose::Sink { unordered: false }, &clouds.0).unwrap();
    let route = route(&uri, Operation::Changefeed, &WHO, &chains()).unwrap().unwrap();
    let storage = storages.open(&uri, Some(&route.chain), "a reader", Patience::Statement).await.unwrap();
    let (mut names, mut after) = (Vec::new(), None);
    loop {
        let page = storage.list("", after.as_ref()).await.unwrap();
        names.extend(page.found.into_iter().map(|found| found.name));
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    names.sort();
    let mut lines = Vec::new();
    for name in names {
        let bytes = storage.get(&name, None).await.unwrap().bytes(64 << 20).await.unwrap();
        lines.extend(std::str::from_utf8(&bytes).unwrap().lines().map(str::to_owned));
    }
    lines
}
