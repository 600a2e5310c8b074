//! PostgreSQL's `has_table_privilege`: inside one query, and over the Unix socket as a prepared statement; for the same
//! role each time, and for users at random. The two differ by orders of magnitude: a backend keeps the closure of one role.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write as _;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::SinkExt;
use futures::future::LocalBoxFuture;
use tokio_postgres::{Client, NoTls, Statement};

use crate::load::{Round, Subject, closed};
use crate::peers::Peer;
use crate::postgres::Postgres;
use crate::workload::{Question, World};

type Failed = Box<dyn std::error::Error>;

const SAME_ROLE: &str = "PostgreSQL, in one query, same role";
const RANDOM_USERS: &str = "PostgreSQL, in one query, random users";
const SAME_ROLE_SOCKET: &str = "PostgreSQL, Unix socket, same role";
const RANDOM_USERS_SOCKET: &str = "PostgreSQL, Unix socket, random users";

/// How many times as long as grantd it shall take inside one query.
const SAME_ROLE_GOAL: f64 = 10.0;
const RANDOM_USERS_GOAL: f64 = 2_000.0;
/// Questions of one query.
const SAME_ROLE_ROWS: i64 = 10_000;
const RANDOM_USERS_ROWS: i64 = 250;
/// Roles, and tables, that are made in one statement.
const MADE_AT_ONCE: usize = 1_000;
/// Bytes of one message of a COPY, about.
const COPY_BYTES: usize = 64 << 10;

/// How it is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// One query, one role.
    SameRole,
    /// One query, users at random.
    RandomUsers,
    /// A statement for each question, one role.
    SameRoleSocket,
    /// A statement for each question, users at random.
    RandomUsersSocket,
}

impl Kind {
    /// Each.
    pub const ALL: [Self; 4] =
        [Self::SameRole, Self::RandomUsers, Self::SameRoleSocket, Self::RandomUsersSocket];

    const fn name(self) -> &'static str {
        match self {
            Self::SameRole => SAME_ROLE,
            Self::RandomUsers => RANDOM_USERS,
            Self::SameRoleSocket => SAME_ROLE_SOCKET,
            Self::RandomUsersSocket => RANDOM_USERS_SOCKET,
        }
    }

    const fn is_same_role(self) -> bool {
        matches!(self, Self::SameRole | Self::SameRoleSocket)
    }
}

/// A question in PostgreSQL's words: ids of role and table, and a privilege.
type InIds = (u32, u32, &'static str);

/// A connection that is asked in one way.
pub struct Asked {
    kind: Kind,
    client: Client,
    /// Of one question, and of all.
    one: Statement,
    all: Statement,
    questions: Vec<Question>,
    in_ids: Vec<InIds>,
    next: usize,
}

/// A server that was told the world. None: there is no PostgreSQL here.
pub async fn start(world: &World) -> Result<Option<Postgres>, Failed> {
    let Some(server) = Postgres::start(0).await? else { return Ok(None) };
    let client = connect(&server).await?;
    let principals: Vec<_> = (0..world.member_of.len()).collect();
    for part in principals.chunks(MADE_AT_ONCE) {
        let each = part.iter().map(|who| format!("CREATE ROLE {}; ", world.name(*who)));
        client.batch_execute(&each.collect::<String>()).await?;
    }
    let mut members: BTreeMap<usize, Vec<String>> = BTreeMap::new();
    for (who, roles) in world.member_of.iter().enumerate() {
        for role in roles {
            members.entry(*role).or_default().push(world.name(who));
        }
    }
    let granted =
        members.iter().map(|(role, to)| format!("GRANT {} TO {}; ", world.name(*role), to.join(", ")));
    client.batch_execute(&granted.collect::<String>()).await?;
    let tables: Vec<_> = (0..world.size.tables).collect();
    for part in tables.chunks(MADE_AT_ONCE) {
        let each = part.iter().map(|table| format!("CREATE TABLE {} (); ", World::table_name(*table)));
        client.batch_execute(&each.collect::<String>()).await?;
    }
    grant(&client, world).await?;
    Ok(Some(server))
}

/// Writes the lists that GRANT would have made, a hundred thousand times as fast as so many statements.
async fn grant(client: &Client, world: &World) -> Result<(), Failed> {
    client.batch_execute("CREATE TEMPORARY TABLE acls (name text, owner text, acl text)").await?;
    let sink = client.copy_in("COPY acls FROM STDIN").await?;
    let mut sink = std::pin::pin!(sink);
    let mut text = String::new();
    for table in 0..world.size.tables {
        let owner = world.name(world.owners[table]);
        // An owner holds what the list says, as everybody does.
        let mut acl = vec![format!("{owner}=arwd/{owner}")];
        for grant in world.grants_on(table).iter().filter(|grant| grant.grantee != world.owners[table]) {
            let letters: String = grant.privileges.iter().map(|privilege| letter(privilege.word())).collect();
            acl.push(format!("{}={letters}/{owner}", world.name(grant.grantee)));
        }
        writeln!(text, "{}\t{owner}\t{{{}}}", World::table_name(table), acl.join(","))?;
        if text.len() >= COPY_BYTES {
            sink.send(Bytes::from(std::mem::take(&mut text))).await?;
        }
    }
    sink.send(Bytes::from(text)).await?;
    sink.finish().await?;
    client
        .batch_execute(
            "SET allow_system_table_mods = on; \
             UPDATE pg_class SET relowner = acls.owner::regrole, relacl = acls.acl::aclitem[] FROM acls \
             WHERE relname = acls.name AND relkind = 'r'; \
             DROP TABLE acls; ANALYZE",
        )
        .await?;
    Ok(())
}

fn letter(word: &str) -> &'static str {
    match word {
        "SELECT" => "r",
        "INSERT" => "a",
        "UPDATE" => "w",
        _ => "d",
    }
}

async fn connect(server: &Postgres) -> Result<Client, Failed> {
    let (client, connection) = server.socket().connect(NoTls).await?;
    // A connection that breaks fails the next statement, which says why.
    tokio::spawn(async move { drop(connection.await) });
    Ok(client)
}

impl Asked {
    /// Connects and prepares.
    pub async fn new(
        server: &Postgres,
        world: &World,
        questions: &[Question],
        kind: Kind,
    ) -> Result<Self, Failed> {
        let client = connect(server).await?;
        let mut questions = questions.to_vec();
        if kind.is_same_role()
            && let Some(first) = questions.first().copied()
        {
            questions.iter_mut().for_each(|question| question.who = first.who);
        }
        let ids = |query: &'static str| async {
            let rows = client.query(query, &[]).await?;
            let pair = |row: &tokio_postgres::Row| (row.get::<_, String>(0), row.get::<_, u32>(1));
            Ok::<HashMap<_, _>, tokio_postgres::Error>(rows.iter().map(pair).collect())
        };
        let roles = ids("SELECT rolname::text, oid FROM pg_authid").await?;
        let tables = ids("SELECT relname::text, oid FROM pg_class WHERE relkind = 'r'").await?;
        let in_ids = |question: &Question| {
            let role = roles.get(&world.name(question.who))?;
            let table = tables.get(&World::table_name(question.table))?;
            Some((*role, *table, question.privilege.word()))
        };
        let in_ids: Vec<_> = questions.iter().filter_map(in_ids).collect();
        if in_ids.len() != questions.len() {
            return Err("PostgreSQL does not know all roles and tables".into());
        }
        client
            .batch_execute(
                "CREATE TEMPORARY TABLE questions (at int8 PRIMARY KEY, who oid, item oid, privilege text)",
            )
            .await?;
        let rows: Vec<_> = in_ids
            .iter()
            .enumerate()
            .map(|(at, (who, table, privilege))| format!("({at}, {who}, {table}, '{privilege}')"))
            .collect();
        client.batch_execute(&format!("INSERT INTO questions VALUES {}", rows.join(", "))).await?;
        client.batch_execute("ANALYZE questions").await?;
        let one = client.prepare("SELECT has_table_privilege($1::oid, $2::oid, $3)").await?;
        let all = client
            .prepare(
                "SELECT count(*) FROM questions WHERE at >= $1 AND at < $2 \
                 AND has_table_privilege(who, item, privilege)",
            )
            .await?;
        // What a backend has looked up stays in its caches, and what it costs grows with them: all is looked up once.
        client.query_one(&all, &[&0_i64, &i64::MAX]).await?;
        Ok(Self { kind, client, one, all, questions, in_ids, next: 0 })
    }

    /// What it is asked, in turn.
    pub fn questions(&self) -> &[Question] {
        &self.questions
    }

    /// Many questions in one query: its latency is counted once, divided by its rows.
    async fn in_one_query(&mut self, length: Duration) -> Result<Round, Failed> {
        let mut round = Round::default();
        let count = i64::try_from(self.questions.len())?;
        let wanted = if self.kind == Kind::RandomUsers { RANDOM_USERS_ROWS } else { SAME_ROLE_ROWS };
        let wanted = wanted.min(count);
        let rows = u32::try_from(wanted)?;
        let begun = Instant::now();
        while round.operations == 0 || begun.elapsed() < length {
            let first = i64::try_from(self.next)?;
            let first = if first + wanted > count { 0 } else { first };
            self.next = usize::try_from(first + wanted)?;
            let from = Instant::now();
            self.client.query_one(&self.all, &[&first, &(first + wanted)]).await?;
            round.latencies.record(from.elapsed() / rows);
            round.operations += u64::from(rows);
        }
        round.took = begun.elapsed();
        Ok(round)
    }

    async fn one_by_one(&mut self, length: Duration) -> Result<Round, Failed> {
        let Self { client, one, in_ids, next, .. } = self;
        closed(length, async || {
            let (who, table, privilege) = in_ids[*next % in_ids.len()];
            *next += 1;
            client.query_one(&*one, &[&who, &table, &privilege]).await?;
            Ok(())
        })
        .await
    }
}

impl Subject for Asked {
    fn name(&self) -> String {
        self.kind.name().to_owned()
    }

    fn round(&mut self, length: Duration) -> LocalBoxFuture<'_, Result<Round, Failed>> {
        Box::pin(async move {
            match self.kind {
                Kind::SameRole | Kind::RandomUsers => self.in_one_query(length).await,
                Kind::SameRoleSocket | Kind::RandomUsersSocket => self.one_by_one(length).await,
            }
        })
    }
}

impl Peer for Asked {
    fn answers(&mut self, count: usize) -> LocalBoxFuture<'_, Result<Vec<bool>, Failed>> {
        Box::pin(async move {
            let query = format!(
                "SELECT has_table_privilege(who, item, privilege) FROM questions WHERE at < {count} ORDER BY at"
            );
            let rows = self.client.query(query.as_str(), &[]).await?;
            Ok(rows.iter().map(|row| row.get(0)).collect())
        })
    }

    fn goal(&self) -> Option<f64> {
        match self.kind {
            Kind::SameRole => Some(SAME_ROLE_GOAL),
            Kind::RandomUsers => Some(RANDOM_USERS_GOAL),
            Kind::SameRoleSocket | Kind::RandomUsersSocket => None,
        }
    }
}
