//! Who sees and who stops which job, by statements; what SHOW JOBS prints and how long it waits. Cases of the cloud-jobs
//! spec, H.7.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says where")]

use std::sync::Arc;

use grantd_catalog::command::{Actor, Command, NameContext};
use grantd_catalog::id::{PrincipalId, Timestamp};
use grantd_catalog::job::{JobId, JobKind, JobToken, NewJob, Opaque, Report};
use grantd_catalog::name::{Name, RoleName};
use grantd_catalog::require::Requirement;
use grantd_node::gate::applied;
use grantd_node::session::Session;
use grantd_node::sql::execute::Engine;
use grantd_node::value::{Datum, text};
use grantd_raft::entry::Proposal;

use self::local::Local;

#[allow(dead_code, reason = "other tests use the rest")]
#[path = "sql/local.rs"]
mod local;

struct World {
    _directory: tempfile::TempDir,
    replica: Arc<Local>,
    engine: Engine,
}

impl World {
    /// amy, who owns job 1, a backup, and job 2, a changefeed of t; ben; cat with CONTROLJOB; job 3 of root.
    async fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let replica = Arc::new(Local::new(directory.path()));
        let engine = Engine::new(replica.clone());
        let world = Self { _directory: directory, replica, engine };
        let setup = "CREATE USER amy; CREATE USER ben; CREATE USER cat CONTROLJOB; CREATE TABLE t (k INT PRIMARY KEY)";
        assert!(world.prints("root", setup).await.ends_with("CREATE TABLE"));
        world.make("amy", 1, JobKind::Backup).await;
        world.make("amy", 2, JobKind::Changefeed).await;
        world.make("root", 3, JobKind::Restore).await;
        world
    }

    fn principal(&self, name: &str) -> PrincipalId {
        self.replica.current().state().principal_id(&RoleName::normalize(name)).unwrap()
    }

    async fn make(&self, owner: &str, token: u128, kind: JobKind) {
        let view = self.replica.current();
        let context = NameContext {
            database: Some(Name::normalize("defaultdb")),
            search_path: vec![Name::normalize("public")],
        };
        let table = grantd_catalog::command::ObjectName { parts: vec![Name::normalize("t")] };
        let job = NewJob {
            token: JobToken(token),
            kind,
            description: format!("{} INTO 's3://b'", kind.word()),
            statement: String::new(),
            details: Opaque::default(),
            requirement: Requirement::NOTHING,
            tables: vec![view.state().resolve_relation(&context, &table).unwrap()],
            schedule: None,
            cancelable: true,
            protects: None,
        };
        self.propose(Actor::of(self.principal(owner)), Command::CreateJob { job: Box::new(job) }).await;
    }

    async fn propose(&self, actor: Actor, command: Command) {
        let context = NameContext { database: None, search_path: Vec::new() };
        let permit = self.engine.gate().permit_commands(Proposal { actor, context, commands: vec![command] });
        let receipt = self.engine.gate().propose(permit.await.unwrap()).await.unwrap().unwrap();
        applied(&receipt).unwrap();
    }

    async fn as_node(&self, command: Command) {
        self.propose(Actor::of(PrincipalId::NODE), command).await;
    }

    fn session(&self, name: &str) -> Session {
        Session::new(Actor::of(self.principal(name)), Some(Name::normalize("defaultdb")))
    }

    /// Rows of one column, or the tag, or the error, one a line.
    async fn prints(&self, user: &str, sql: &str) -> String {
        let mut session = self.session(user);
        let mut lines = Vec::new();
        for statement in self.engine.split(sql).unwrap() {
            let ran = async {
                let prepared = self.engine.prepare(&session, &statement, &[]).await?;
                self.engine.execute(&mut session, &prepared, &[]).await
            };
            match ran.await {
                Err(error) => lines.push(format!("{} {}", error.body.code.as_str(), error.body.message)),
                Ok(response) => match response.rows {
                    None => lines.push(response.tag),
                    Some(rows) => {
                        let cell = |datum: &Datum| text::format(datum).unwrap_or_else(|| "NULL".to_owned());
                        let row = |row: &Vec<Datum>| row.iter().map(cell).collect::<Vec<_>>().join(" | ");
                        lines.extend(rows.rows.iter().map(row));
                    }
                },
            }
        }
        lines.join("\n")
    }

    /// The first two columns of SHOW JOBS and the sixth.
    async fn listed(&self, user: &str, show: &str) -> Vec<String> {
        let printed = self.prints(user, show).await;
        let short = |line: &str| {
            let cells: Vec<_> = line.split(" | ").collect();
            format!("{} {} {}", cells[0], cells[1], cells[5])
        };
        printed.lines().map(short).collect()
    }
}

/// Cases 58, 59.
#[tokio::test]
async fn everybody_sees_the_jobs_that_it_controls() {
    let world = World::new().await;
    let backup = "1 BACKUP pending".to_owned();
    let feed = "2 CHANGEFEED pending".to_owned();
    let restore = "3 RESTORE pending".to_owned();
    let all = [backup.clone(), feed.clone(), restore];
    assert_eq!(world.listed("root", "SHOW JOBS").await, all);
    assert_eq!(world.listed("amy", "SHOW JOBS").await, all[..2]);
    assert_eq!(world.listed("cat", "SHOW JOBS").await, all[..2]);
    assert_eq!(world.listed("ben", "SHOW JOBS").await, [""; 0]);
    let table = "SELECT * FROM crdb_internal.jobs ORDER BY job_id";
    assert_eq!(world.listed("root", table).await, all);
    assert_eq!(world.listed("amy", table).await, all[..2]);
    assert_eq!(world.prints("ben", table).await, "");
    world.prints("root", "GRANT CHANGEFEED ON t TO ben").await;
    assert_eq!(world.listed("ben", "SHOW JOBS").await, [feed]);
    assert_eq!(world.listed("amy", "SHOW JOB 1").await, [backup]);
    assert_eq!(world.prints("amy", "SHOW JOB 3").await, "");
    assert!(world.prints("ben", "SHOW CHANGEFEED JOB 2").await.contains("{defaultdb.public.t}"));
    let no = "42501 user ben does not have CONTROLJOB authorization for job 1";
    assert_eq!(world.prints("ben", "PAUSE JOB 1").await, no);
    let no = "42501 only admins can control jobs owned by other admins";
    assert_eq!(world.prints("cat", "PAUSE JOB 3").await, no);
}

/// Cases 151, 152, 154.
#[tokio::test]
async fn jobs_are_paused_resumed_and_cancelled_by_number_by_query_and_by_kind() {
    let world = World::new().await;
    assert_eq!(world.prints("amy", "PAUSE JOB 1 WITH REASON = 'why'").await, "PAUSE JOBS 1");
    assert_eq!(world.prints("amy", "PAUSE JOB 1").await, "PAUSE JOBS 1", "a no-op");
    assert_eq!(world.listed("amy", "SHOW JOB 1").await, ["1 BACKUP paused"]);
    assert!(world.prints("amy", "SHOW JOB 1 WITH DETAILS").await.contains("why"));
    let by_query = "RESUME JOBS SELECT job_id FROM crdb_internal.jobs WHERE status = 'paused'";
    assert_eq!(world.prints("amy", by_query).await, "RESUME JOBS 1");
    assert_eq!(world.prints("root", "PAUSE ALL RESTORE JOBS").await, "PAUSE JOBS 1");
    assert_eq!(world.prints("amy", "PAUSE ALL RESTORE JOBS").await, "PAUSE JOBS 0");
    assert_eq!(
        world.prints("root", "CANCEL JOBS (SELECT k FROM (VALUES (2), (3), (NULL)) v (k))").await,
        "CANCEL JOBS 2"
    );
    assert_eq!(world.listed("root", "SHOW JOB 3").await, ["3 RESTORE cancel-requested"]);
    let no = "55000 job with status cancel-requested cannot be requested to be paused";
    assert_eq!(world.prints("root", "PAUSE JOBS SELECT k FROM (VALUES (1), (3)) v (k)").await, no);
    assert_eq!(world.listed("root", "SHOW JOB 1").await, ["1 BACKUP running"], "all or none");
    assert!(world.prints("root", "PAUSE JOBS SELECT 'x'").await.starts_with("42601"));
    assert_eq!(world.prints("root", "ALTER JOB 1 OWNER TO ben").await, "ALTER JOB");
    assert_eq!(world.listed("ben", "SHOW JOBS").await, ["1 BACKUP running"]);
    assert_eq!(world.prints("root", "PAUSE JOBS FOR SCHEDULE 1").await, "PAUSE JOBS FOR SCHEDULES 0");
}

/// Case 160.
#[tokio::test]
async fn show_jobs_when_complete_returns_when_all_have_ended() {
    let world = World::new().await;
    let id = JobId(1);
    let ends = async {
        world.as_node(Command::ClaimJob { id, node: 1, boot: 1 }).await;
        world.as_node(Command::ReportJob { id, epoch: 1, report: Report::Succeeded }).await;
    };
    let (waited, ()) = tokio::join!(world.listed("amy", "SHOW JOBS WHEN COMPLETE (SELECT 1)"), ends);
    assert_eq!(waited, ["1 BACKUP succeeded"]);
    assert_eq!(world.listed("amy", "SHOW JOB WHEN COMPLETE 1").await, ["1 BACKUP succeeded"]);
    // Nothing is waited for that is not there.
    assert_eq!(world.prints("amy", "SHOW JOB WHEN COMPLETE 99").await, "");
}

/// Case 157.
#[tokio::test]
async fn what_ended_long_ago_is_listed_only_by_number() {
    use grantd_node::sql::parse::job::Listed;
    use grantd_node::sql::system::job::listed;

    let world = World::new().await;
    let id = JobId(1);
    world.as_node(Command::ClaimJob { id, node: 1, boot: 1 }).await;
    world.as_node(Command::ReportJob { id, epoch: 1, report: Report::Succeeded }).await;
    let view = world.replica.current();
    // The stand-in's clock counts from the epoch.
    let hours = |hours: u64| Timestamp::default().later_ms(hours * 3_600_000);
    let seen = |ids: Option<&[JobId]>, now: Timestamp| -> Vec<i64> {
        listed(&view, PrincipalId::ROOT, Listed::Jobs, ids, now).iter().map(|(id, _)| id.0).collect()
    };
    assert_eq!(seen(None, hours(11)), [2, 3, 1]);
    assert_eq!(seen(None, hours(13)), [2, 3]);
    assert_eq!(seen(Some(&[id]), hours(13)), [1]);
}
