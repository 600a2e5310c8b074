//! What all tasks of a run share: its clock, where the nodes are, and the rights that come and go.

use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use grantd_cluster_tests::process::Cluster;
use grantd_node::cert;
use grantd_node::pgclient::Login;

/// Who holds the rights on tables, when they are held.
pub const USER: &str = "amy";

/// The ways in which a right is taken away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// REVOKE of a privilege.
    Privilege,
    /// REVOKE of a membership.
    Membership,
    /// DROP of a role between the user and the one that holds the privilege.
    DropRole,
    /// DROP of the table.
    DropTable,
    /// ALTER USER … NOLOGIN.
    Login,
}

/// One of each. A right's number is its place here.
pub const KINDS: [Kind; 5] =
    [Kind::Privilege, Kind::Membership, Kind::DropRole, Kind::DropTable, Kind::Login];

/// A right under names of its own. After a GRANT of unknown outcome nothing can be said of it any more, and the next
/// generation begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Subject {
    /// Which of [`KINDS`].
    pub right: usize,
    pub generation: u64,
}

impl Subject {
    pub fn kind(self) -> Kind {
        KINDS[self.right]
    }

    pub fn table(self) -> String {
        format!("t_{}_{}", self.right, self.generation)
    }

    /// The role that holds the privilege, or the user that logs in.
    pub fn role(self) -> String {
        format!("r_{}_{}", self.right, self.generation)
    }

    /// What must be there before the right is given.
    pub fn prepare(self) -> Vec<String> {
        let (table, role) = (self.table(), self.role());
        let create = format!("CREATE TABLE {table} (id INT8 PRIMARY KEY)");
        let held = [format!("CREATE ROLE {role}"), format!("GRANT SELECT ON TABLE {table} TO {role}")];
        match self.kind() {
            Kind::Privilege => vec![create],
            Kind::Membership | Kind::DropRole => std::iter::once(create).chain(held).collect(),
            Kind::DropTable => Vec::new(),
            Kind::Login => vec![format!("CREATE USER {role} NOLOGIN")],
        }
    }

    /// Gives the right; only the last statement does.
    pub fn loosen(self) -> Vec<String> {
        let (table, role) = (self.table(), self.role());
        let between = format!("between_{}", self.generation);
        match self.kind() {
            Kind::Privilege => vec![format!("GRANT SELECT ON TABLE {table} TO {USER}")],
            Kind::Membership => vec![format!("GRANT {role} TO {USER}")],
            Kind::DropRole => vec![
                format!("CREATE ROLE IF NOT EXISTS {between}"),
                format!("GRANT {role} TO {between}"),
                format!("GRANT {between} TO {USER}"),
            ],
            Kind::DropTable => vec![
                format!("CREATE TABLE IF NOT EXISTS {table} (id INT8 PRIMARY KEY)"),
                format!("GRANT SELECT ON TABLE {table} TO {USER}"),
            ],
            Kind::Login => vec![format!("ALTER USER {role} LOGIN")],
        }
    }

    /// Takes it away. May be repeated.
    pub fn tighten(self) -> String {
        let (table, role) = (self.table(), self.role());
        match self.kind() {
            Kind::Privilege => format!("REVOKE SELECT ON TABLE {table} FROM {USER}"),
            Kind::Membership => format!("REVOKE {role} FROM {USER}"),
            Kind::DropRole => format!("DROP ROLE IF EXISTS between_{}", self.generation),
            Kind::DropTable => format!("DROP TABLE IF EXISTS {table}"),
            Kind::Login => format!("ALTER USER {role} NOLOGIN"),
        }
    }
}

/// Where the node in a seat is asked without SQL.
#[derive(Clone, Debug)]
pub struct Outside {
    pub ca: PathBuf,
    pub socket: PathBuf,
    pub http_port: u16,
}

/// What all tasks share.
pub struct World {
    began: Instant,
    over: AtomicBool,
    ca: PathBuf,
    /// How root logs in on the node in each seat; a node that takes another's place has its ports.
    pub roots: Vec<Login>,
    pub outside: Vec<Outside>,
    /// The generation of each right that is asked for now.
    current: [Mutex<Option<Subject>>; KINDS.len()],
}

impl World {
    pub fn new(cluster: &Cluster, outside: Vec<Outside>) -> Self {
        let world = Self {
            began: Instant::now(),
            over: AtomicBool::new(false),
            ca: cluster.ca(),
            roots: cluster.nodes.iter().map(|node| cluster.login(node, "root")).collect(),
            outside,
            current: Default::default(),
        };
        world.certify(USER);
        world
    }

    /// The one clock of the run.
    pub fn now(&self) -> Duration {
        self.began.elapsed()
    }

    pub fn is_over(&self) -> bool {
        self.over.load(Ordering::SeqCst)
    }

    pub fn end(&self) {
        self.over.store(true, Ordering::SeqCst);
    }

    /// Makes a certificate for a user.
    pub fn certify(&self, user: &str) {
        let options = cert::Options { days: 2, overwrite: false };
        cert::create_client(&self.ca, &self.ca, user, &options).expect("a certificate");
    }

    /// How a user logs in on the node in a seat.
    pub fn login(&self, seat: usize, user: &str) -> Login {
        let file = |end: &str| self.ca.join(format!("client.{user}.{end}"));
        Login {
            user: user.to_owned(),
            certificate: Some((file("crt"), file("key"))),
            ..self.roots[seat].clone()
        }
    }

    /// What of this right is asked for now.
    pub fn subject(&self, right: usize) -> Option<Subject> {
        *self.current[right].lock().expect("no panic while it is held")
    }

    pub fn show(&self, subject: Subject) {
        *self.current[subject.right].lock().expect("no panic while it is held") = Some(subject);
    }
}
