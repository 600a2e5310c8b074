//! The clients: mixed transactions on all nodes, one after the other each, with what they were told in their ledgers.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures::SinkExt;
use grantd_cluster_tests::dice::Dice;
use grantd_node::pgclient::{self, Login};
use tokio::sync::{Mutex, RwLock};
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Error};

use crate::ledger::{Ledger, Rows, Thing, Told};
use crate::tables::{some_changes, some_values};

/// What takes longer is a hang.
const ANSWER_WITHIN: Duration = Duration::from_secs(60);
/// How long a client waits before it tries the next node, or the same statement again.
const BREATH: Duration = Duration::from_millis(20);
/// The most things that a client has in one era: beyond that it deletes.
const THINGS_MAX: usize = 24;
/// Rows of a usual COPY, and of a large one.
const COPIED: i64 = 40;
const COPIED_MANY: i64 = 12_000;
/// Lines of a staged transaction, of 64 KiB each: more than an entry takes.
const STAGED_LINES: i64 = 150;

/// What everybody shares.
pub struct World {
    /// Where the nodes are, for root; a mover's login differs in its user.
    pub logins: Vec<Login>,
    /// Acknowledged transactions.
    pub done: AtomicU64,
    /// Refusals and unknown outcomes, by SQLSTATE or what else was said.
    pub told: Mutex<BTreeMap<String, u64>>,
    /// What should never have been said.
    pub faults: Mutex<Vec<String>>,
    /// Held by everybody for the length of a transaction; who holds it alone has quiet.
    pub gate: RwLock<()>,
    /// How many are wanted.
    pub wanted: u64,
    /// Entries of the log between two snapshots.
    pub snapshot_entries: u64,
}

/// What a client does.
enum Act {
    /// One text, which is one transaction.
    Text(String),
    /// An INSERT with parameters.
    Insert { n: i64, seq: i64, spot: i64 },
    /// A block of several round trips, and whether it is committed.
    Block(Vec<String>, bool),
    /// Rows of `things` by COPY: the first `n`, how many.
    Copy { n: i64, count: i64, seq: i64 },
    /// Many rows of `bulk` by COPY.
    CopyMany { seq: i64 },
}

/// SQLSTATEs that a client without a mistake may get: others' changes, a lost leader or node, too much at once, and too
/// long a pause on a busy machine.
const USUAL: [&str; 6] = ["40001", "40003", "57P01", "57P03", "53000", "25P03"];

/// What the driver says of a message that it did not expect.
const NOT_UNDERSTOOD: &str = "unexpected message from server";

impl World {
    pub fn is_over(&self) -> bool {
        self.done.load(Ordering::Relaxed) >= self.wanted
    }

    /// One more that was acknowledged.
    pub fn count(&self) {
        self.done.fetch_add(1, Ordering::Relaxed);
    }

    /// What an error means for its transaction. `expected`: further SQLSTATEs that are no fault.
    pub async fn judge(&self, what: &str, error: &Error, expected: &[&str]) -> Told {
        let code = error.code().map(|code| code.code().to_owned());
        let key = code.clone().unwrap_or_else(|| error.to_string());
        *self.told.lock().await.entry(key).or_default() += 1;
        let Some(code) = code else {
            // A node that dies breaks the connection. Everything else is an answer that no client understands.
            if error.to_string() == NOT_UNDERSTOOD {
                self.faults.lock().await.push(format!("{what}: {error:?}"));
            }
            return Told::Unknown;
        };
        if !USUAL.contains(&code.as_str()) && !expected.contains(&code.as_str()) {
            self.faults.lock().await.push(format!("{what}: {error:?}"));
        }
        // A node that ends says so of a session, whatever that was waiting for.
        if ["40003", "57P01"].contains(&code.as_str()) { Told::Unknown } else { Told::Refused }
    }

    /// Runs one text that is a transaction.
    pub async fn run(&self, client: &Client, text: &str, expected: &[&str]) -> Told {
        match tokio::time::timeout(ANSWER_WITHIN, client.batch_execute(text)).await {
            Ok(Ok(())) => Told::Done,
            Ok(Err(error)) => self.judge(text, &error, expected).await,
            Err(_elapsed) => {
                self.faults.lock().await.push(format!("no answer within {ANSWER_WITHIN:?}: {text}"));
                Told::Unknown
            }
        }
    }
}

/// One client.
pub struct Writer {
    world: Arc<World>,
    dice: Dice,
    user: String,
    ledger: Ledger,
    seq: i64,
    connection: Option<Client>,
    insert: Option<tokio_postgres::Statement>,
    /// How many large transactions it still does.
    large: usize,
}

impl Writer {
    pub fn new(world: &Arc<World>, client: i64, user: &str, large: usize) -> Self {
        let seed = client.unsigned_abs() ^ (world.wanted << 8);
        Self {
            world: Arc::clone(world),
            dice: Dice::new(seed),
            user: user.to_owned(),
            ledger: Ledger::new(client),
            seq: 0,
            connection: None,
            insert: None,
            large,
        }
    }

    /// Writes until enough was done by all.
    pub async fn write(mut self) -> Ledger {
        while !self.world.is_over() {
            let world = Arc::clone(&self.world);
            let _here = world.gate.read().await;
            if self.connection.is_none() && !self.connect().await {
                tokio::time::sleep(BREATH).await;
                continue;
            }
            if self.dice.one_in(40) {
                self.read().await;
                continue;
            }
            if self.dice.one_in(8) {
                self.write_shared().await;
                continue;
            }
            self.seq += 1;
            let (act, after) = self.plan();
            let told = self.act(act).await;
            if told == Told::Done {
                world.count();
            }
            self.ledger.note(told, after);
            match told {
                Told::Done => {}
                Told::Refused => tokio::time::sleep(BREATH).await,
                Told::Unknown => self.connection = None,
            }
            // Now and then it goes to another node.
            if self.dice.one_in(100) {
                self.connection = None;
            }
        }
        self.ledger
    }

    async fn connect(&mut self) -> bool {
        let mut login = self.dice.pick(&self.world.logins).clone();
        if self.user != "root" {
            login.certificate = Some((
                login.ca.with_file_name(format!("client.{}.crt", self.user)),
                login.ca.with_file_name(format!("client.{}.key", self.user)),
            ));
            login.user.clone_from(&self.user);
        }
        self.insert = None;
        self.connection = pgclient::connect(&login).await.ok();
        self.connection.is_some()
    }

    /// Rights of movers come and go.
    fn expected(&self) -> &'static [&'static str] {
        if self.user == "root" { &[] } else { &["42501"] }
    }

    /// What it was told to be there is what it sees, on whatever node it is.
    async fn read(&mut self) {
        let Some(connection) = &self.connection else { return };
        let (client, era) = (self.ledger.client, self.ledger.era());
        let query = format!("SELECT n, seq, spot FROM things WHERE client = {client} AND era = {era}");
        match tokio::time::timeout(ANSWER_WITHIN, connection.query(&query, &[])).await {
            Ok(Ok(rows)) => {
                let shown: BTreeMap<i64, (i64, i64)> =
                    rows.iter().map(|row| (row.get(0), (row.get(1), row.get(2)))).collect();
                let told: BTreeMap<i64, (i64, i64)> = self
                    .ledger
                    .rows()
                    .things
                    .iter()
                    .map(|(n, thing)| (*n, (thing.seq, thing.spot)))
                    .collect();
                if shown != told {
                    let fault = format!("client {client}, era {era} was told {told:?} and sees {shown:?}");
                    self.world.faults.lock().await.push(fault);
                }
            }
            Ok(Err(error)) => {
                self.world.judge(&query, &error, self.expected()).await;
                self.connection = None;
            }
            Err(_elapsed) => {
                self.world.faults.lock().await.push(format!("no answer within {ANSWER_WITHIN:?}: {query}"));
                self.connection = None;
            }
        }
    }

    /// Changes of rows that are everybody's, and of tables that are changed meanwhile.
    async fn write_shared(&mut self) {
        let Some(connection) = &self.connection else { return };
        let text = shared(&mut self.dice, self.ledger.client, self.seq);
        // Tables and columns that are gone or not there yet, other types, keys that are taken.
        let expected = [
            "42501", "42P01", "42703", "23505", "23503", "23502", "22P02", "42804", "25P02", "42601", "21000",
        ];
        match self.world.run(connection, &text, &expected).await {
            Told::Done => self.world.count(),
            // A block may be open, and in error.
            Told::Refused => _ = connection.batch_execute("ROLLBACK").await,
            Told::Unknown => self.connection = None,
        }
    }

    fn key(&self) -> String {
        format!("{}, {}", self.ledger.client, self.ledger.era())
    }

    fn where_key(&self) -> String {
        format!("client = {} AND era = {}", self.ledger.client, self.ledger.era())
    }

    /// A place that no other thing ever had.
    fn spot(&self, n: i64) -> i64 {
        ((self.ledger.client * 10_000 + self.ledger.era()) * 1_000_000 + self.seq) * 100_000 + n % 100_000
    }

    /// INSERT of one thing, or UPSERT.
    fn put(&mut self, verb: &str, n: i64, spot: i64) -> String {
        let values = some_values(&mut self.dice);
        let columns: String = values.iter().map(|(column, _)| format!(", {column}")).collect();
        let literals: String = values.iter().map(|(_, value)| format!(", {value}")).collect();
        format!(
            "{verb} INTO things (client, era, n, seq, spot{columns}) VALUES ({}, {n}, {}, {spot}{literals})",
            self.key(),
            self.seq
        )
    }

    /// The next transaction, and what the rows are after it.
    fn plan(&mut self) -> (Act, Rows) {
        let after = self.ledger.rows().clone();
        // Beyond what statements that number their rows themselves use.
        let fresh = self.seq * 1_000 + 500;
        let have: Vec<i64> = after.things.keys().copied().collect();
        if self.large > 0 && self.dice.one_in(200) {
            self.large -= 1;
            return self.plan_large(after);
        }
        if have.len() < 2 {
            return self.plan_insert(after, fresh);
        }
        let (one, other) = (*self.dice.pick(&have), *self.dice.pick(&have));
        if have.len() > THINGS_MAX || self.dice.one_in(8) {
            return self.plan_delete(after, one, other);
        }
        match self.dice.below(20) {
            0..=5 => self.plan_insert(after, fresh),
            6..=8 => self.plan_update(after, one),
            9..=10 => self.plan_upsert(after, one, fresh),
            11..=12 => self.plan_parts(after, one),
            13 => self.plan_move(after, one, fresh),
            14 => self.plan_update_all(after),
            15 => self.plan_several(after, fresh),
            16 => self.plan_swap(after, one, other),
            17 => self.plan_block(after, one, fresh, true),
            18 => self.plan_block(after, one, fresh, false),
            _ => self.plan_copy(after, fresh),
        }
    }

    fn plan_insert(&mut self, mut after: Rows, fresh: i64) -> (Act, Rows) {
        let (seq, spot) = (self.seq, self.spot(fresh));
        after.things.insert(fresh, Thing { seq, spot, parts: 0 });
        if self.dice.one_in(2) {
            return (Act::Insert { n: fresh, seq, spot }, after);
        }
        (Act::Text(self.put("INSERT", fresh, spot)), after)
    }

    fn plan_delete(&mut self, mut after: Rows, one: i64, other: i64) -> (Act, Rows) {
        let here = self.where_key();
        if self.dice.one_in(3) {
            let (first, last) = (one.min(other), one.max(other));
            after.things.retain(|n, _| *n < first || *n > last);
            return (
                Act::Text(format!("DELETE FROM things WHERE {here} AND n BETWEEN {first} AND {last}")),
                after,
            );
        }
        after.things.remove(&one);
        (Act::Text(format!("DELETE FROM things WHERE {here} AND n = {one}")), after)
    }

    fn plan_update(&mut self, mut after: Rows, one: i64) -> (Act, Rows) {
        let (seq, here) = (self.seq, self.where_key());
        after.things.entry(one).or_default().seq = seq;
        let changes = some_changes(&mut self.dice);
        (Act::Text(format!("UPDATE things SET seq = {seq}{changes} WHERE {here} AND n = {one}")), after)
    }

    /// An upsert of a thing that is there keeps its parts.
    fn plan_upsert(&mut self, mut after: Rows, one: i64, fresh: i64) -> (Act, Rows) {
        let n = if self.dice.one_in(2) { one } else { fresh };
        let spot = self.spot(n);
        let thing = after.things.entry(n).or_default();
        (thing.seq, thing.spot) = (self.seq, spot);
        (Act::Text(self.put("UPSERT", n, spot)), after)
    }

    fn plan_parts(&mut self, mut after: Rows, one: i64) -> (Act, Rows) {
        let parts = 1 + i64::try_from(self.dice.below(3)).expect("small");
        after.things.entry(one).or_default().parts += parts;
        let text = format!(
            "INSERT INTO parts SELECT {}, {one}, {} * 10 + i, i / 4.0 FROM generate_series(1, {parts}) g(i)",
            self.key(),
            self.seq
        );
        (Act::Text(text), after)
    }

    /// A thing gets another key, and its parts follow.
    fn plan_move(&mut self, mut after: Rows, one: i64, fresh: i64) -> (Act, Rows) {
        let (seq, here) = (self.seq, self.where_key());
        let thing = after.things.remove(&one).expect("it is one of them");
        after.things.insert(fresh, Thing { seq, ..thing });
        (Act::Text(format!("UPDATE things SET n = {fresh}, seq = {seq} WHERE {here} AND n = {one}")), after)
    }

    fn plan_update_all(&mut self, mut after: Rows) -> (Act, Rows) {
        let (seq, here) = (self.seq, self.where_key());
        after.things.values_mut().for_each(|thing| thing.seq = seq);
        let changes = some_changes(&mut self.dice);
        (Act::Text(format!("UPDATE things SET seq = {seq}{changes} WHERE {here}")), after)
    }

    fn plan_several(&mut self, mut after: Rows, fresh: i64) -> (Act, Rows) {
        let seq = self.seq;
        for n in fresh..fresh + 5 {
            let spot = self.spot(n);
            after.things.insert(n, Thing { seq, spot, parts: 0 });
        }
        let text = format!(
            "INSERT INTO things (client, era, n, seq, spot, amount, note) \
             SELECT {}, {fresh} + i, {seq}, {} + i, i / 3.0, 'row ' || i FROM generate_series(0, 4) g(i)",
            self.key(),
            self.spot(fresh)
        );
        (Act::Text(text), after)
    }

    fn plan_copy(&mut self, mut after: Rows, fresh: i64) -> (Act, Rows) {
        let seq = self.seq;
        let count = if self.dice.one_in(4) { COPIED } else { 3 };
        for n in fresh..fresh + count {
            let spot = self.spot(n);
            after.things.insert(n, Thing { seq, spot, parts: 0 });
        }
        (Act::Copy { n: fresh, count, seq }, after)
    }

    /// Two things change places: by way of a place that is nobody's.
    fn plan_swap(&mut self, mut after: Rows, one: i64, other: i64) -> (Act, Rows) {
        let (seq, here) = (self.seq, self.where_key());
        let (a, b) = (after.things[&one].spot, after.things[&other].spot);
        let text = format!(
            "BEGIN; UPDATE things SET spot = -{seq} - {client} * 1000000000 WHERE {here} AND n = {one}; \
             UPDATE things SET spot = {a}, seq = {seq} WHERE {here} AND n = {other}; \
             UPDATE things SET spot = {b}, seq = {seq} WHERE {here} AND n = {one}; COMMIT",
            client = self.ledger.client + 1
        );
        // The same one twice: it stays where it is.
        for (n, spot) in [(other, a), (one, b)] {
            let thing = after.things.get_mut(&n).expect("it is one of them");
            (thing.seq, thing.spot) = (seq, spot);
        }
        (Act::Text(text), after)
    }

    /// Changes with savepoints, some of which are taken back; in one text, or statement by statement.
    fn plan_block(&mut self, mut after: Rows, one: i64, fresh: i64, in_one: bool) -> (Act, Rows) {
        let (before, seq, here, key) = (after.clone(), self.seq, self.where_key(), self.key());
        let spot = self.spot(fresh);
        let mut block = vec![self.put("INSERT", fresh, spot)];
        after.things.insert(fresh, Thing { seq, spot, parts: 1 });
        block.push("SAVEPOINT here".to_owned());
        block.push(format!("UPDATE things SET seq = 0, note = 'taken back' WHERE {here}"));
        block.push(format!("DELETE FROM things WHERE {here} AND n = {one}"));
        block.push("ROLLBACK TO SAVEPOINT here".to_owned());
        block.push(format!("INSERT INTO parts VALUES ({key}, {fresh}, 1, 1.50)"));
        if self.dice.one_in(2) {
            block
                .push(format!("CREATE TABLE made_{}_{seq} (a INT8 PRIMARY KEY, b TEXT)", self.ledger.client));
            block.push(format!("INSERT INTO made_{}_{seq} VALUES (1, 'x'), (2, 'y')", self.ledger.client));
            block.push(format!("ALTER TABLE made_{}_{seq} ADD COLUMN c INT8 DEFAULT 3", self.ledger.client));
            block.push(format!("UPDATE made_{}_{seq} SET c = a WHERE a = 2", self.ledger.client));
            block.push(format!("DROP TABLE made_{}_{seq}", self.ledger.client));
        }
        block.push(format!("DELETE FROM things WHERE {here} AND n = {one}"));
        after.things.remove(&one);
        if in_one {
            let text = format!("BEGIN; {}; COMMIT", block.join("; "));
            return (Act::Text(text), after);
        }
        let kept = !self.dice.one_in(3);
        (Act::Block(block, kept), if kept { after } else { before })
    }

    /// More than one entry of the log takes.
    fn plan_large(&mut self, mut after: Rows) -> (Act, Rows) {
        let seq = self.seq;
        if self.dice.one_in(2) {
            after.bulk.insert(seq, COPIED_MANY);
            return (Act::CopyMany { seq }, after);
        }
        let lines = |from: i64, to: i64| {
            format!(
                "INSERT INTO bulk SELECT {}, {seq}, i, repeat(chr(97 + (i % 26)::INT8), 65536) \
                 FROM generate_series({from}, {to}) g(i)",
                self.key()
            )
        };
        let half = STAGED_LINES / 2;
        let old = after.bulk.keys().next().copied();
        let delete = format!("DELETE FROM bulk WHERE {} AND seq = {}", self.where_key(), old.unwrap_or(0));
        if let Some(old) = old {
            after.bulk.remove(&old);
        }
        after.bulk.insert(seq, STAGED_LINES);
        (Act::Block(vec![lines(1, half), delete, lines(half + 1, STAGED_LINES)], true), after)
    }

    async fn act(&mut self, act: Act) -> Told {
        let expected = self.expected();
        let Some(connection) = &self.connection else { return Told::Refused };
        match act {
            Act::Text(text) => {
                let told = self.world.run(connection, &text, expected).await;
                if told == Told::Refused && text.starts_with("BEGIN") {
                    roll_back(connection).await;
                }
                told
            }
            Act::Insert { n, seq, spot } => self.insert(n, seq, spot).await,
            Act::Block(statements, kept) => self.block(&statements, kept).await,
            Act::Copy { n, count, seq } => {
                let key = format!("{}\t{}", self.ledger.client, self.ledger.era());
                let spots: Vec<_> = (n..n + count).map(|n| (n, self.spot(n))).collect();
                let lines =
                    spots.iter().map(|(n, spot)| format!("{key}\t{n}\t{seq}\t{spot}\t1.50\t{{}}\t\\N\n"));
                let copy = "COPY things (client, era, n, seq, spot, price, doc, feel) FROM STDIN";
                self.copy(copy, lines.collect(), 1).await
            }
            Act::CopyMany { seq } => {
                let (client, era) = (self.ledger.client, self.ledger.era());
                let lines =
                    (1..=COPIED_MANY).map(|line| format!("{client}\t{era}\t{seq}\t{line}\tbody {line}\n"));
                self.copy("COPY bulk FROM STDIN", lines.collect(), 100).await
            }
        }
    }

    /// A block, statement by statement: before its COMMIT was sent nothing can have taken effect.
    async fn block(&mut self, statements: &[String], kept: bool) -> Told {
        let expected = self.expected();
        let Some(connection) = &self.connection else { return Told::Refused };
        for statement in [&"BEGIN".to_owned()].into_iter().chain(statements) {
            match self.world.run(connection, statement, expected).await {
                Told::Done => {}
                Told::Refused => {
                    roll_back(connection).await;
                    return Told::Refused;
                }
                Told::Unknown => {
                    self.connection = None;
                    return Told::Refused;
                }
            }
        }
        if kept {
            return self.world.run(connection, "COMMIT", expected).await;
        }
        let told = self.world.run(connection, "ROLLBACK", expected).await;
        if told != Told::Done {
            self.connection = None;
            return Told::Refused;
        }
        told
    }

    async fn insert(&mut self, n: i64, seq: i64, spot: i64) -> Told {
        let expected = self.expected();
        let Some(connection) = &self.connection else { return Told::Refused };
        let text = "INSERT INTO things (client, era, n, seq, spot, note, raw, ratio, flag, small) \
                    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)";
        if self.insert.is_none() {
            match connection.prepare(text).await {
                Ok(prepared) => self.insert = Some(prepared),
                Err(error) => {
                    self.world.judge(text, &error, expected).await;
                    self.connection = None;
                    return Told::Refused;
                }
            }
        }
        let Some(prepared) = &self.insert else { return Told::Refused };
        let (client, era) = (self.ledger.client, self.ledger.era());
        let (note, raw) = (format!("insert {seq}"), seq.to_be_bytes().to_vec());
        let (ratio, flag, small) = (0.1_f64, seq % 2 == 0, 7_i16);
        let values: [&(dyn ToSql + Sync); 10] =
            [&client, &era, &n, &seq, &spot, &note, &raw, &ratio, &flag, &small];
        match tokio::time::timeout(ANSWER_WITHIN, connection.execute(prepared, &values)).await {
            Ok(Ok(_)) => Told::Done,
            Ok(Err(error)) => self.world.judge(text, &error, expected).await,
            Err(_elapsed) => {
                self.world.faults.lock().await.push(format!("no answer within {ANSWER_WITHIN:?}: {text}"));
                Told::Unknown
            }
        }
    }

    async fn copy(&mut self, copy: &str, lines: Vec<String>, at_once: usize) -> Told {
        let Some(connection) = &self.connection else { return Told::Refused };
        let copied = async {
            let sink = connection.copy_in(copy).await?;
            let mut sink = std::pin::pin!(sink);
            for lines in lines.chunks(at_once) {
                sink.send(Bytes::from(lines.concat())).await?;
            }
            sink.finish().await
        };
        match tokio::time::timeout(ANSWER_WITHIN, copied).await {
            Ok(Ok(_)) => Told::Done,
            Ok(Err(error)) => {
                let told = self.world.judge(copy, &error, self.expected()).await;
                // The driver sends a second Sync when it is refused before the first row, and takes the answer to that
                // for one to the next request.
                self.connection = None;
                told
            }
            Err(_elapsed) => {
                self.world.faults.lock().await.push(format!("no answer within {ANSWER_WITHIN:?}: {copy}"));
                Told::Unknown
            }
        }
    }
}

/// Ends a block that is in error. If it cannot be told to, the next statement shows that.
async fn roll_back(connection: &Client) {
    let _ = connection.batch_execute("ROLLBACK").await;
}

/// A change of rows that are everybody's.
fn shared(dice: &mut Dice, client: i64, seq: i64) -> String {
    let number = seq % 40;
    let shape = dice.below(crate::disturb::SHAPES);
    match dice.below(17) {
        // One number in several writings: the key stays, its text changes.
        16 => format!("UPSERT INTO marks (key, v) VALUES ({number}.5, 'g'), ({number}.50, 'h')"),
        0..=2 => format!(
            "UPSERT INTO marks VALUES ({number}.5, NULL, 'a'), ({number}.{}, NULL, 'b')",
            500 + client
        ),
        3 => format!("UPSERT INTO marks (key, v) VALUES ({number}.50, 'c')"),
        4 => format!(
            "BEGIN; DELETE FROM marks WHERE key = {number}.500; INSERT INTO marks VALUES ({number}.50, {number}.1, 'd'); COMMIT"
        ),
        5 => format!(
            "UPDATE marks SET key = {number}.500, by = {number}.10, v = v || 'e' WHERE key = {number}.5"
        ),
        6 => format!(
            "INSERT INTO marks VALUES ({number}.50, {number}.1, 'f') ON CONFLICT (key) DO UPDATE SET key = excluded.key, v = excluded.v"
        ),
        7 => format!("INSERT INTO nokey (v) VALUES ('{client}'), (NULL)"),
        8 => format!("DELETE FROM nokey WHERE v = '{client}'"),
        9 => format!("UPSERT INTO tree (id, up) VALUES ({number}, NULL), ({}, {number})", number + 1),
        10 => format!("DELETE FROM tree WHERE id = {number}"),
        11 => "UPSERT INTO moody SELECT feel, count(*) FROM things WHERE feel IS NOT NULL GROUP BY feel"
            .to_owned(),
        12 => format!(
            "INSERT INTO shape_{shape} (id) VALUES ({}) ON CONFLICT DO NOTHING",
            client * 1_000_000 + seq
        ),
        13 => format!("INSERT INTO shape_{shape} VALUES ({}, '{seq}')", client * 1_000_000 + seq),
        14 => format!("UPDATE shape_{shape} SET v = '{seq}' WHERE id < {}", client * 1_000_000 + seq),
        _ => format!("DELETE FROM shape_{shape} WHERE id % 3 = {}", seq % 3),
    }
}
