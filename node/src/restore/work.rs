//! The work of a RESTORE: everything is verified, then put on the shelf step by step, then published.
//!
//! Where it goes on from is with the shelf: which step is next, and what it begins with. A node that takes it up reads the
//! catalog of the backup again, and of the table that was being filled the rows that are there already, which it leaves out.
//!
//! What was written by somebody is what a backup is. Before anything comes, publishing is rehearsed on a copy of the catalog: so
//! names, rights and shapes are refused before an hour of reading; and in that copy each text is planned anew ([`Texts`]). Every
//! file is read and compared with what the manifest says before the first thing is on the shelf, and again where its rows are used.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use grantd_catalog::command::{Actor, NameContext, Outcome};
use grantd_catalog::id::{ObjectId, PrincipalId, Timestamp, Version};
use grantd_catalog::job::{self as catalog, FRACTION_PPM_MAX, Opaque};
use grantd_catalog::refusal::{Refusal, shelf_malformed, state as sqlstate};
use grantd_catalog::shelf::{ITEMS_MAX, Shelf, ShelfStep, Shelved, TABLES_MAX};
use grantd_catalog::view::View;
use grantd_catalog::wire;
use grantd_raft::rows::{Value, encode_rows};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::backup::collection::{Collection, Which};
use crate::backup::read::{Backup, RowSink, Table};
use crate::backup::work::stopped as trouble;
use crate::backup::{BackupError, Job, Progress};
use crate::cloud::outside::{Outside, Use};
use crate::cloud::storage::Patience;
use crate::gate::Permit;
use crate::jobs::{Advance, Running, Stopped, Work};
use crate::restore::bring::Brought;
use crate::restore::choice::choose;
use crate::restore::content::Content;
use crate::restore::details::{Asked, Details, Extent};
use crate::restore::rows::Fitting;

/// From how many bytes on the rows or things of a step are enough. Much less than an entry of the log takes: what comes after it
/// waits for it.
const STEP_BYTES: usize = 1 << 20;
/// How often it is said how far it is: each time is an entry of the log.
const TELL_EVERY: Duration = Duration::from_secs(5);

/// Plans texts of a backup.
pub trait Texts: Send + Sync + 'static {
    /// The same things with each text as the planner writes it, for who is `actor`, in a catalog in which all of it is published:
    /// nothing of a backup becomes part of a statement of the row store but through this.
    fn plan(&self, published: &View, actor: Actor, things: Vec<Shelved>) -> Result<Vec<Shelved>, Refusal>;
}

/// The work of RESTORE.
pub struct Restoring {
    outside: Outside,
    texts: Arc<dyn Texts>,
}

impl Restoring {
    /// By what this node reaches.
    pub fn new(outside: Outside, texts: Arc<dyn Texts>) -> Self {
        Self { outside, texts }
    }

    async fn open(&self, running: &Running, view: &View, details: &Details) -> Result<Backup, BackupError> {
        let user = view.state().principal_name(running.job().owner).to_string();
        let task = format!("job{}", running.id());
        let of = Use { task: &task, user: &user, write: false, patience: Patience::Job };
        let asked = &details.asked;
        let fulls = self.outside.open(view, &asked.collection, of).await?;
        let incrementals = match &asked.incremental_location {
            Some(elsewhere) => Some(self.outside.open(view, elsewhere, of).await?),
            None => None,
        };
        let collection = Collection::new(fulls, incrementals);
        let which = Which::Named(asked.full.clone());
        Backup::open(&collection, &which, Some(asked.time.0), &details.keys()?).await
    }

    async fn restore(&self, running: &Running, details: &Details) -> Result<(), Stopped> {
        // What nobody may do any more is not begun.
        let (view, _) = running.permit(&running.job().asked.requirement).await?;
        let reader = Reader { running, noted: Mutex::default() };
        let backup = self.open(running, &view, details).await.map_err(|error| reader.ended(&error))?;
        let content = Content::read(&backup).await.map_err(|error| reader.ended(&error))?;
        let wanted = &details.asked.wanted;
        let choice = choose(&content, wanted).map_err(failed)?;
        let brought = Brought::plan(&content, &choice, wanted, view.state()).map_err(failed)?;
        if details.asked.extent == Extent::Verified {
            return verify(&reader, &backup).await;
        }
        let mut steps = match view.state().shelf(running.id()) {
            Some(shelf) => Steps::go_on(running, shelf, &brought)?,
            None => Steps::begin(running, &brought).await?,
        };
        let shelf = steps.shelf().await?;
        let things = brought.things(&content, &shelf).map_err(failed)?;
        let tables = brought.tables(&shelf);
        let made: Vec<_> = tables.iter().map(|(_, new)| *new).collect();
        if steps.at.things < things.len() {
            let rest = things[steps.at.things..].to_vec();
            let rest = self.planned(&steps, rest, &made).await?;
            if steps.at.things == 0 && details.asked.extent.verifies() {
                verify(&reader, &backup).await?;
            }
            steps.put(&rest).await?;
        }
        steps.make(&made).await?;
        if details.asked.extent == Extent::All {
            steps.fill_all(&reader, &backup, &content, &tables).await?;
        }
        steps.step(ShelfStep::Publish).await
    }

    /// What is still to be put on the shelf, with its texts planned. Publishing is rehearsed with it.
    async fn planned(
        &self,
        steps: &Steps<'_>,
        rest: Vec<Shelved>,
        tables: &[ObjectId],
    ) -> Result<Vec<Shelved>, Stopped> {
        let running = steps.running;
        let (view, time) = running.gate().moment().await.map_err(again)?;
        let actor = running.owner().await?;
        let published = steps.rehearsed(&view, time, &rest, tables)?;
        self.texts.plan(&published, actor, rest).map_err(failed)
    }
}

#[async_trait]
impl Work for Restoring {
    async fn run(&self, running: &Running) -> Result<(), Stopped> {
        // Another release may have made it: somebody has to look.
        let details = Details::decode(&running.job().asked.details);
        let details = details.map_err(|refusal| Stopped::Paused(refusal.message))?;
        Box::pin(self.restore(running, &details)).await
    }

    async fn revert(&self, running: &Running) -> Result<(), Stopped> {
        loop {
            let view = running.gate().view().await.map_err(again)?;
            if view.state().shelf(running.id()).is_none() {
                return Ok(());
            }
            running.shelve(0, Opaque::default(), ShelfStep::Clear).await?;
        }
    }

    fn lacks(&self, view: &View, job: &catalog::Job) -> Option<String> {
        let Asked { collection, incremental_location, .. } = Details::decode(&job.asked.details).ok()?.asked;
        let places: Vec<_> =
            [Some(&*collection), incremental_location.as_deref()].into_iter().flatten().collect();
        self.outside.lacks_storage(view, &places)
    }
}

/// What was restored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Restored {
    /// Tables and sequences.
    pub tables: u64,
    /// All there are.
    pub of: u64,
    /// Rows.
    pub rows: u64,
    /// Bytes of their values.
    pub bytes: u64,
}

impl fmt::Display for Restored {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { tables, of, rows, bytes } = self;
        write!(f, "{tables} of {of} tables; {rows} rows, {bytes} bytes restored")
    }
}

impl Restored {
    /// What a job that has ended well did.
    pub fn of(job: &catalog::Job) -> Option<Self> {
        let at: Position = serde_json::from_slice(job.progress.checkpoint.expose()).ok()?;
        Some(Self { tables: at.table as u64, of: at.made as u64, rows: at.all_rows, bytes: at.all_bytes })
    }
}

/// Where the next step begins.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Position {
    /// A digest of what stands here for what: it must be the same for who goes on.
    plan: Vec<u8>,
    /// How many things are on the shelf.
    things: usize,
    /// How many tables are made.
    made: usize,
    /// The table that is being filled.
    table: usize,
    /// How many of its rows are there.
    rows: u64,
    /// How many rows of all tables are there.
    all_rows: u64,
    /// The bytes of their values.
    all_bytes: u64,
}

impl Position {
    fn opaque(&self) -> Result<Opaque, Stopped> {
        serde_json::to_vec(self).map(Opaque::new).map_err(|error| Stopped::Failed(error.to_string()))
    }
}

/// The steps of a shelf, one after another.
struct Steps<'r> {
    running: &'r Running,
    next: u64,
    at: Position,
    told: Instant,
}

impl<'r> Steps<'r> {
    async fn begin(running: &'r Running, brought: &Brought) -> Result<Self, Stopped> {
        let at = Position { plan: digest(brought), ..Position::default() };
        let (objects, principals) = brought.counts();
        let mut steps = Self { running, next: 0, at, told: Instant::now() };
        steps.step(ShelfStep::Begin { scope: brought.scope(), objects, principals }).await?;
        Ok(steps)
    }

    fn go_on(running: &'r Running, shelf: &Shelf, brought: &Brought) -> Result<Self, Stopped> {
        let at: Position = serde_json::from_slice(shelf.position.expose())
            .map_err(|error| Stopped::Failed(format!("where the restore stood cannot be read: {error}")))?;
        if at.plan != digest(brought) {
            let what =
                "databases, schemas, types or users that the restore goes into are others than when it began";
            return Err(Stopped::Failed(what.to_owned()));
        }
        Ok(Self { running, next: shelf.steps, at, told: Instant::now() })
    }

    /// The shelf as it is now.
    async fn shelf(&self) -> Result<Shelf, Stopped> {
        let view = self.running.gate().pinned_view().await.map_err(again)?;
        let shelf = view.state().shelf(self.running.id()).cloned();
        shelf.ok_or_else(|| Stopped::Failed("the shelf of the job is gone".to_owned()))
    }

    async fn step(&mut self, step: ShelfStep) -> Result<(), Stopped> {
        self.running.shelve(self.next, self.at.opaque()?, step).await?;
        self.next += 1;
        Ok(())
    }

    async fn put(&mut self, mut rest: &[Shelved]) -> Result<(), Stopped> {
        while !rest.is_empty() {
            let (next, later) = rest.split_at(chunk(rest)?);
            self.at.things += next.len();
            self.step(ShelfStep::Put(next.to_vec())).await?;
            rest = later;
        }
        Ok(())
    }

    async fn make(&mut self, tables: &[ObjectId]) -> Result<(), Stopped> {
        while self.at.made < tables.len() {
            let next: Vec<_> = tables.iter().skip(self.at.made).take(TABLES_MAX).copied().collect();
            self.at.made += next.len();
            self.step(ShelfStep::Make(next)).await?;
        }
        Ok(())
    }

    /// The catalog as it would be, had all that is left been done now: nobody else sees it.
    fn rehearsed(
        &self,
        view: &Arc<View>,
        time: Timestamp,
        mut rest: &[Shelved],
        tables: &[ObjectId],
    ) -> Result<View, Stopped> {
        let mut left = Vec::new();
        while !rest.is_empty() {
            let (next, later) = rest.split_at(chunk(rest)?);
            left.push(ShelfStep::Put(next.to_vec()));
            rest = later;
        }
        let unmade: Vec<_> = tables.iter().skip(self.at.made).copied().collect();
        left.extend(unmade.chunks(TABLES_MAX).map(|next| ShelfStep::Make(next.to_vec())));
        left.push(ShelfStep::Publish);
        let version = Version(view.version().0 + 1);
        let (actor, context) =
            (Actor::of(PrincipalId::NODE), NameContext { database: None, search_path: Vec::new() });
        let mut state = view.state().clone();
        for (number, step) in (self.next..).zip(left) {
            let command = self.running.shelving(number, Opaque::default(), step);
            match state.apply(version, time, actor, &context, &command, &mut Vec::new()) {
                Outcome::Done(_) => {}
                Outcome::Refused(refusal) => return Err(failed(refusal)),
            }
        }
        Ok(view.next(version, state))
    }

    async fn fill_all(
        &mut self,
        reader: &Reader<'_>,
        backup: &Backup,
        content: &Content,
        tables: &[(ObjectId, ObjectId)],
    ) -> Result<(), Stopped> {
        let shapes = backup.tables().map_err(|error| reader.ended(&error))?;
        while let Some((old, new)) = tables.get(self.at.table).copied() {
            let Some(table) = shapes.iter().find(|table| table.id == old) else {
                return Err(failed(shelf_malformed(format_args!("table {old} is not in it"))));
            };
            self.fill(reader, backup, content, table, new).await?;
            self.at.table += 1;
            self.at.rows = 0;
            if self.told.elapsed() >= TELL_EVERY {
                self.tell(tables).await?;
            }
        }
        Ok(())
    }

    async fn fill(
        &mut self,
        reader: &Reader<'_>,
        backup: &Backup,
        content: &Content,
        table: &Table,
        new: ObjectId,
    ) -> Result<(), Stopped> {
        let fitting = Fitting::of(&table.shape, content);
        let skip = self.at.rows;
        let mut rows =
            Rows { skip, steps: self, table: new, fitting, held: Vec::new(), bytes: 0, stopped: None };
        let read = backup.rows(table, &mut rows).await;
        // What ended the work says more than what the reader makes of it.
        if let Some(stopped) = rows.stopped.take() {
            return Err(stopped);
        }
        read.map_err(|error| reader.ended(&error))?;
        rows.flush().await
    }

    /// Says how far it is.
    async fn tell(&mut self, tables: &[(ObjectId, ObjectId)]) -> Result<(), Stopped> {
        let (done, of) = (self.at.table as u64, tables.len() as u64);
        let restored = Restored { tables: done, of, rows: self.at.all_rows, bytes: self.at.all_bytes };
        let part = u64::from(FRACTION_PPM_MAX).saturating_mul(done).checked_div(of);
        let fraction_ppm = part.and_then(|part| u32::try_from(part).ok());
        let running_status = Some(restored.to_string());
        self.told = Instant::now();
        self.running.report(Advance { fraction_ppm, running_status, ..Advance::default() }).await
    }
}

/// Rows on their way into one table.
struct Rows<'s, 'r> {
    steps: &'s mut Steps<'r>,
    table: ObjectId,
    fitting: Fitting,
    /// How many of the next ones are there already.
    skip: u64,
    held: Vec<Vec<Value>>,
    bytes: usize,
    stopped: Option<Stopped>,
}

#[async_trait]
impl RowSink for Rows<'_, '_> {
    async fn rows(&mut self, rows: Vec<Vec<Value>>) -> Result<(), Refusal> {
        for row in rows {
            if self.skip > 0 {
                self.skip -= 1;
                continue;
            }
            self.fitting.check(&row)?;
            self.bytes += row.iter().map(bytes_of).sum::<usize>();
            self.held.push(row);
            if self.bytes >= STEP_BYTES
                && let Err(stopped) = self.flush().await
            {
                self.stopped = Some(stopped);
                return Err(halted());
            }
        }
        Ok(())
    }
}

impl Rows<'_, '_> {
    async fn flush(&mut self) -> Result<(), Stopped> {
        if self.held.is_empty() {
            return Ok(());
        }
        if self.steps.running.is_stopped() {
            return Err(Stopped::Asked);
        }
        let rows = std::mem::take(&mut self.held);
        self.steps.at.rows += rows.len() as u64;
        self.steps.at.all_rows += rows.len() as u64;
        self.steps.at.all_bytes += std::mem::take(&mut self.bytes) as u64;
        let rows = Opaque::new(encode_rows(rows));
        self.steps.step(ShelfStep::Fill { table: self.table, rows }).await
    }
}

fn bytes_of(value: &Value) -> usize {
    match value {
        Value::Null | Value::Integer(_) | Value::Real(_) => size_of::<Value>(),
        Value::Text(text) => size_of::<Value>() + text.len(),
        Value::Blob(blob) => size_of::<Value>() + blob.len(),
    }
}

/// How many of the first things go into one step; one at least.
fn chunk(things: &[Shelved]) -> Result<usize, Stopped> {
    let (mut bytes, mut count) = (0, 0);
    for thing in things.iter().take(ITEMS_MAX) {
        let length = wire::encode("thing", thing).map_err(|error| Stopped::Failed(error.to_string()))?.len();
        if count > 0 && bytes + length > STEP_BYTES {
            break;
        }
        bytes += length;
        count += 1;
    }
    Ok(count)
}

fn digest(brought: &Brought) -> Vec<u8> {
    Sha256::digest(format!("{:?}", brought.ids_there())).to_vec()
}

async fn verify(reader: &Reader<'_>, backup: &Backup) -> Result<(), Stopped> {
    backup.verify(reader).await.map(drop).map_err(|error| reader.ended(&error))
}

/// Who reads the backup: each step with what the owner may do then.
struct Reader<'r> {
    running: &'r Running,
    noted: Mutex<Noted>,
}

#[derive(Default)]
struct Noted {
    /// Why it stopped, if it was not the place.
    stopped: Option<Stopped>,
    /// When it was last said how far it is.
    told: Option<Instant>,
}

impl Reader<'_> {
    fn noted(&self) -> std::sync::MutexGuard<'_, Noted> {
        self.noted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn stop(&self, why: Stopped) -> Refusal {
        self.noted().stopped = Some(why);
        halted()
    }

    /// What a backup that cannot be read means for the job: credentials and networks come back, bytes do not. Who resumes it
    /// looks whether they did.
    fn ended(&self, error: &BackupError) -> Stopped {
        if let Some(stopped) = self.noted().stopped.take() {
            return stopped;
        }
        match error {
            BackupError::Refused(Refusal { code: sqlstate::INSUFFICIENT_PRIVILEGE, message, .. }) => {
                Stopped::Paused(message.clone())
            }
            error => trouble(error, self.running.job().retries, Stopped::Paused),
        }
    }

    fn is_due(&self) -> bool {
        let mut noted = self.noted();
        let due = noted.told.is_none_or(|told| told.elapsed() >= TELL_EVERY);
        if due {
            noted.told = Some(Instant::now());
        }
        due
    }
}

#[async_trait]
impl Job for Reader<'_> {
    async fn permit(&self, _tables: &[ObjectId]) -> Result<Permit, Refusal> {
        Err(shelf_malformed("a restore reads no rows of the cluster"))
    }

    async fn step(&self, progress: &Progress) -> Result<(), Refusal> {
        if self.running.is_stopped() {
            return Err(self.stop(Stopped::Asked));
        }
        self.running.owner().await.map_err(|why| self.stop(why))?;
        if !self.is_due() {
            return Ok(());
        }
        let Progress { files, tables_expected, file_bytes, .. } = progress;
        let running_status = Some(format!("verified {files} of {tables_expected} files, {file_bytes} bytes"));
        let advance = Advance { running_status, ..Advance::default() };
        self.running.report(advance).await.map_err(|why| self.stop(why))
    }
}

fn halted() -> Refusal {
    shelf_malformed("the job was stopped")
}

/// A right that is gone may come back; nothing else that is refused does.
fn failed(refusal: Refusal) -> Stopped {
    match refusal.code {
        sqlstate::INSUFFICIENT_PRIVILEGE => Stopped::Paused(refusal.message),
        _ => Stopped::Failed(refusal.message),
    }
}

fn again(refusal: Refusal) -> Stopped {
    Stopped::Retry { error: refusal.message, after: None }
}
