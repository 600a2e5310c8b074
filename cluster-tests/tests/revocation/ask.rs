//! Clients of one node that ask for rights all the time, each in its own way.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use grantd_node::pgclient::{self, ConnectError, Login};
use tokio::time::{sleep, timeout};
use tokio_postgres::{Client, Statement};

use crate::history::{Answer, Reply};
use crate::outside::{Socket, Web};
use crate::world::{KINDS, Kind, Subject, USER, World};

/// Between two questions of one client.
const PAUSE: Duration = Duration::from_millis(15);
/// Between two logins of one client: each is a handshake.
const LOGIN_PAUSE: Duration = Duration::from_millis(50);
/// Without an answer for so long the connection is given up.
const ANSWER_WITHIN: Duration = Duration::from_secs(8);

/// A way of asking one node whether a right is held.
#[async_trait]
pub trait Asker: Send {
    /// What the report calls it.
    fn way(&self) -> &'static str;
    /// Whether it can ask for such a right.
    fn suits(&self, kind: Kind) -> bool;
    /// Asks.
    async fn ask(&mut self, subject: Subject) -> Reply;
    /// Between two questions.
    fn pause(&self) -> Duration {
        PAUSE
    }
}

/// An answer, and to what.
pub type Asked = (Subject, Answer);

/// All ways of asking the node in this seat.
pub fn all(world: &Arc<World>, seat: usize) -> Vec<Box<dyn Asker>> {
    let (root, user) = (world.roots[seat].clone(), world.login(seat, USER));
    let sql = |way, login: &Login, only, form| -> Box<dyn Asker> {
        Box::new(Sql { way, login: login.clone(), only, form, session: None })
    };
    let mut askers = vec![
        sql("function", &root, None, Form::Function),
        sql("prepared", &user, None, Form::Prepared),
        Box::new(Newcomer { world: Arc::clone(world), seat }),
    ];
    // What is not held is refused only when the leader was asked: in a node that reaches nobody that question waits, and
    // those for other rights are not to wait with it.
    for kind in KINDS.into_iter().filter(|kind| *kind != Kind::Login) {
        askers.push(sql("function, local", &root, Some(kind), Form::Function));
        askers.push(sql("SELECT, local", &user, Some(kind), Form::Select));
        askers.push(sql("prepared, local", &user, Some(kind), Form::Prepared));
        let at = &world.outside[seat];
        askers.push(Box::new(Socket { at: at.clone(), only: kind, client: None }));
        askers.push(Box::new(Web { at: at.clone(), only: kind, connection: None }));
    }
    askers
}

/// Asks for all rights that suit, in turn, until the run is over.
pub async fn again_and_again(world: Arc<World>, seat: usize, mut asker: Box<dyn Asker>) -> Vec<Asked> {
    let rights: Vec<usize> = (0..KINDS.len()).filter(|right| asker.suits(KINDS[*right])).collect();
    let mut asked = Vec::new();
    while !world.is_over() {
        for right in rights.iter().copied() {
            let Some(subject) = world.subject(right) else { continue };
            let begun = world.now();
            let reply = asker.ask(subject).await;
            let answer = Answer { seat, way: asker.way(), begun, ended: world.now(), reply };
            asked.push((subject, answer));
            sleep(asker.pause()).await;
        }
        sleep(asker.pause()).await;
    }
    asked
}

/// How a session asks.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    /// `has_table_privilege`, as root.
    Function,
    /// The table itself, as the user.
    Select,
    /// The same by a statement that was prepared once.
    Prepared,
}

/// A session that stays open.
struct Sql {
    way: &'static str,
    login: Login,
    /// The only right that it asks for, by this node's own word if it can be; none: all, of the newest catalog.
    only: Option<Kind>,
    form: Form,
    session: Option<(Client, HashMap<String, Statement>)>,
}

#[async_trait]
impl Asker for Sql {
    fn way(&self) -> &'static str {
        self.way
    }

    fn suits(&self, kind: Kind) -> bool {
        kind != Kind::Login && self.only.is_none_or(|only| only == kind)
    }

    async fn ask(&mut self, subject: Subject) -> Reply {
        let reply = match timeout(ANSWER_WITHIN, self.question(subject)).await {
            Ok(Ok(reply)) => return reply,
            Ok(Err(reply)) => reply,
            Err(_elapsed) => gone("no answer"),
        };
        if self.session.as_ref().is_some_and(|(client, _)| client.is_closed()) || reply == gone("no answer") {
            self.session = None;
        }
        reply
    }
}

impl Sql {
    async fn question(&mut self, subject: Subject) -> Result<Reply, Reply> {
        if self.session.is_none() {
            let client = pgclient::connect(&self.login).await.map_err(|error| not_let_in(&error))?;
            if self.only.is_some() {
                client.batch_execute("SET grantd.read = 'local'").await.map_err(|error| reply(&error))?;
            }
            self.session = Some((client, HashMap::new()));
        }
        let (client, prepared) = self.session.as_mut().expect("just made");
        let table = subject.table();
        let select = format!("SELECT id FROM {table}");
        let asked = match self.form {
            Form::Function => {
                let text = format!("SELECT has_table_privilege('{USER}', '{table}', 'SELECT')");
                let row = client.query_one(&text, &[]).await.map_err(|error| reply(&error))?;
                return Ok(if row.get(0) { Reply::Yes } else { Reply::No });
            }
            Form::Select => client.simple_query(&select).await.map(|_| ()),
            Form::Prepared => {
                if !prepared.contains_key(&table) {
                    let made = client.prepare(&select).await.map_err(|error| reply(&error))?;
                    prepared.insert(table.clone(), made);
                }
                client.query(&prepared[&table], &[]).await.map(|_| ())
            }
        };
        asked.map(|()| Reply::Yes).map_err(|error| reply(&error))
    }
}

/// Logs in anew each time.
struct Newcomer {
    world: Arc<World>,
    seat: usize,
}

#[async_trait]
impl Asker for Newcomer {
    fn way(&self) -> &'static str {
        "login"
    }

    fn suits(&self, kind: Kind) -> bool {
        kind == Kind::Login
    }

    async fn ask(&mut self, subject: Subject) -> Reply {
        let login = self.world.login(self.seat, &subject.role());
        match timeout(ANSWER_WITHIN, pgclient::connect(&login)).await {
            Ok(Ok(_client)) => Reply::Yes,
            Ok(Err(error)) => not_let_in(&error),
            Err(_elapsed) => gone("no answer"),
        }
    }

    fn pause(&self) -> Duration {
        LOGIN_PAUSE
    }
}

pub fn gone(how: &str) -> Reply {
    Reply::Refused(how.to_owned())
}

fn not_let_in(error: &ConnectError) -> Reply {
    match error {
        ConnectError::Postgres { source, .. } => reply(source),
        ConnectError::Tls(_) => panic!("a certificate cannot be used: {error}"),
        ConnectError::Timeout { .. } => gone("no answer"),
    }
}

/// What an error says: no right, no such table, no login; or that there is no answer.
fn reply(error: &tokio_postgres::Error) -> Reply {
    match error.code().map(tokio_postgres::error::SqlState::code) {
        // The last: the table was dropped between the plan and the decision.
        Some("42501" | "42P01" | "28000" | "42704") => Reply::No,
        Some(code) => Reply::Refused(code.to_owned()),
        None => gone("no connection"),
    }
}
