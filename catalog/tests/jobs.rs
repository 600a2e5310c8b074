//! Jobs: who makes, sees and controls them, what becomes of them, who may work on them. Cases of the cloud-jobs spec, H.7.

mod common;

use common::*;
use grantd_catalog::command::{Actor, Command, Outcome};
use grantd_catalog::id::{ObjectId, PrincipalId, Timestamp};
use grantd_catalog::job::{
    Alteration, Control, FinalError, JOBS_MAX, Job, JobId, JobKind, JobStatus, JobToken, NewJob, Opaque,
    Protects, Report, Requested, TEXT_BYTES_MAX, request,
};
use grantd_catalog::privilege::Privilege;
use grantd_catalog::require::{FeedTo, Need, Requirement};
use grantd_catalog::setting::Setting;
use grantd_catalog::state::protection_of;

const SECOND: u64 = 1_000_000_000;
const FIRST: JobId = JobId(1);

fn asked(token: u128, kind: JobKind) -> NewJob {
    NewJob {
        token: JobToken(token),
        kind,
        description: "BACKUP INTO 's3://b'".to_owned(),
        statement: "BACKUP INTO 's3://b'".to_owned(),
        details: Opaque::new(vec![1]),
        requirement: Requirement::NOTHING,
        tables: Vec::new(),
        schedule: None,
        cancelable: true,
        protects: None,
    }
}

fn create(job: NewJob) -> Command {
    Command::CreateJob { job: Box::new(job) }
}

fn control(control: Control) -> Command {
    Command::ControlJob { id: FIRST, control }
}

fn pause() -> Command {
    control(Control::Pause { reason: None })
}

fn resume() -> Command {
    control(Control::Resume)
}

fn cancel() -> Command {
    control(Control::Cancel)
}

fn set(setting: Setting, value: &str) -> Command {
    Command::SetClusterSetting { setting, value: Some(value.to_owned()) }
}

trait Nodes {
    fn as_node(&mut self, command: Command) -> Result<bool, String>;
    fn claim(&mut self, node: u64, boot: u64) -> Result<bool, String>;
    fn report(&mut self, epoch: u64, report: Report) -> Result<bool, String>;
    fn at(&mut self, seconds: u64);
    fn job(&self) -> &Job;
    fn status(&self) -> JobStatus;
}

impl Nodes for World {
    fn as_node(&mut self, command: Command) -> Result<bool, String> {
        let outcome = self.run_as(Actor::of(PrincipalId::NODE), &command);
        self.check();
        match outcome {
            Outcome::Done(done) => Ok(done.changed),
            Outcome::Refused(refusal) => Err(format!("{} {}", refusal.code.as_str(), refusal.message)),
        }
    }

    fn claim(&mut self, node: u64, boot: u64) -> Result<bool, String> {
        self.as_node(Command::ClaimJob { id: FIRST, node, boot })
    }

    fn report(&mut self, epoch: u64, report: Report) -> Result<bool, String> {
        self.as_node(Command::ReportJob { id: FIRST, epoch, report })
    }

    fn at(&mut self, seconds: u64) {
        self.now = Timestamp { nanos: seconds * SECOND, logical: 0 };
    }

    fn job(&self) -> &Job {
        self.state.job(FIRST).expect("the test made it")
    }

    fn status(&self) -> JobStatus {
        self.job().status
    }
}

/// amy, who owns job 1; ben, a nobody; cat with CONTROLJOB; table t.
fn world(job: NewJob) -> World {
    let mut world = World::new();
    world.at(100);
    for (name, options) in [("amy", ""), ("ben", ""), ("cat", "CONTROLJOB")] {
        world.ok("root", create_user(name, options));
    }
    world.ok("root", create_table("t"));
    assert!(world.ok("amy", create(job)).changed);
    world
}

fn backup() -> World {
    world(asked(7, JobKind::Backup))
}

#[test]
fn a_job_is_made_once_for_each_token_and_its_id_is_never_used_again() {
    let mut world = backup();
    assert!(
        !world.ok("amy", create(asked(7, JobKind::Backup))).changed,
        "the outcome was unknown: once more"
    );
    world.ok("ben", create(asked(8, JobKind::Restore)));
    let found =
        |token| world.state.job_of(JobToken(token)).map(|(id, job)| (id.0, job.owner_name.to_string()));
    assert_eq!(found(7), Some((1, "amy".to_owned())));
    assert_eq!(found(8), Some((2, "ben".to_owned())));
    assert_eq!(found(9), None);
    assert_eq!(world.claim(1, 1), Ok(true));
    assert_eq!(world.report(1, Report::Succeeded), Ok(true));
    world.at(100 + 20_000 * 60);
    world.as_node(Command::CollectJobs).unwrap();
    assert!(world.state.job(FIRST).is_some(), "14 days are not over");
    world.at(102 + 20_160 * 60);
    world.as_node(Command::CollectJobs).unwrap();
    assert!(world.state.job(FIRST).is_none());
    assert!(world.state.job(JobId(2)).is_some(), "what has not ended is kept");
    world.ok("amy", create(asked(9, JobKind::Backup)));
    assert_eq!(world.state.jobs().map(|(id, _)| id.0).collect::<Vec<_>>(), [2, 3]);
}

#[test]
fn what_a_job_needs_is_decided_where_it_is_made_and_again_whenever_it_is_asked() {
    let mut world = World::new();
    world.ok("root", create_user("amy", ""));
    let need = Need::Privilege { object: ObjectId::CLUSTER, privilege: Privilege::Backup };
    let job = NewJob { requirement: Requirement { needs: vec![need] }, ..asked(7, JobKind::Backup) };
    let no = "42501 user amy does not have BACKUP system privilege";
    assert_eq!(world.refused("amy", create(job.clone())), no);
    assert_eq!(world.state.jobs().count(), 0);
    world.ok("root", grant("BACKUP", grantd_catalog::command::Targets::System, "amy"));
    world.ok("amy", create(job));
    assert_eq!(world.state.may_run_job(FIRST), Ok(()));
    world.ok("root", revoke("BACKUP", grantd_catalog::command::Targets::System, "amy"));
    assert_eq!(world.state.may_run_job(FIRST).unwrap_err().message, no[6..]);
    world.ok("root", drop_role("amy"));
    let gone = world.state.may_run_job(FIRST).unwrap_err();
    assert!(gone.message.starts_with("the owner of job 1, amy, does not exist any more"), "{gone:?}");
    world.ok("root", create_user("amy", ""));
    assert!(world.state.may_run_job(FIRST).is_err(), "another amy is another role");
}

#[test]
fn only_the_cluster_makes_its_own_jobs() {
    let mut world = World::new();
    let refused = world.refused("root", create(asked(1, JobKind::AutoCollectJobs)));
    assert_eq!(refused, "42501 only the cluster itself makes jobs of type AUTO COLLECT JOBS");
    assert_eq!(world.as_node(create(asked(1, JobKind::AutoCollectJobs))), Ok(true));
    let owner = Command::AlterJobOwner { id: FIRST, owner: role("root") };
    assert_eq!(world.refused("root", owner), "55000 job 1 is the cluster's own and has no other owner");
}

#[test]
fn admins_owners_controljob_and_who_may_feed_all_its_tables_control_a_job() {
    let mut feed = world(NewJob { tables: vec![ObjectId(104)], ..asked(7, JobKind::Changefeed) });
    let table = feed.table("t");
    assert_eq!(feed.job().asked.tables, [table]);
    let no = "42501 user ben does not have CONTROLJOB authorization for job 1";
    assert_eq!(feed.refused("ben", pause()), no);
    for (who, command) in [("root", pause()), ("amy", resume()), ("cat", pause())] {
        assert!(feed.ok(who, command).changed, "{who}");
    }
    feed.ok("root", grant("CHANGEFEED", tables("t"), "ben"));
    assert!(feed.ok("ben", resume()).changed);
    feed.ok("root", revoke("CHANGEFEED", tables("t"), "ben"));
    assert_eq!(feed.refused("ben", pause()), no);
    // Of a backup CHANGEFEED says nothing.
    let mut backup = world(NewJob { tables: vec![table], ..asked(7, JobKind::Backup) });
    backup.ok("root", grant("CHANGEFEED", tables("t"), "ben"));
    assert_eq!(backup.refused("ben", pause()), no);
    assert_eq!(
        backup.refused("ben", Command::ControlJob { id: JobId(9), control: Control::Resume }),
        "42704 job with ID 9 does not exist"
    );
}

#[test]
fn only_admins_control_what_admins_own() {
    let mut world = backup();
    world.ok("root", grant_role("admin", "amy"));
    for who in ["cat", "ben"] {
        let refused = world.refused(who, pause());
        assert_eq!(refused, "42501 only admins can control jobs owned by other admins", "{who}");
    }
    assert!(world.ok("amy", pause()).changed);
}

#[test]
fn a_job_is_given_away_by_its_owner_to_who_it_could_act_as() {
    let mut world = backup();
    let to = |owner| Command::AlterJobOwner { id: FIRST, owner: role(owner) };
    assert_eq!(world.refused("ben", to("ben")), "42501 must be owner of job 1");
    assert_eq!(world.refused("cat", to("cat")), "42501 must be owner of job 1", "CONTROLJOB is not enough");
    assert_eq!(world.refused("amy", to("ben")), "42501 must be member of role \"ben\"");
    world.ok("root", create_role("crew", ""));
    world.ok("root", grant_role("crew", "amy"));
    world.ok("root", grant_role("crew", "ben"));
    assert!(world.ok("amy", to("crew")).changed);
    assert!(world.ok("ben", to("ben")).changed, "a member of the owner");
    assert!(world.ok("root", to("amy")).changed);
    assert_eq!(world.job().owner_name.as_str(), "amy");
    assert_eq!(world.refused("root", to("nobody")), "42704 role/user \"nobody\" does not exist");
}

/// Cases 52, 53, and the cluster that wants connections. Source: cloud-jobs spec, B.7.5.
#[test]
fn who_may_make_a_changefeed_is_said_in_the_originals_words() {
    let mut world = backup();
    world.ok("root", create_user("con", "CONTROLCHANGEFEED"));
    world.ok("root", create_table("u"));
    let both = vec![world.table("t"), world.table("u")];
    let may = |world: &World, who: &str, to: FeedTo| {
        let need = Need::Changefeed { tables: both.clone(), to };
        world.state.check(world.principal(who), &need).map_err(|refusal| refusal.message)
    };
    let lacks = "user amy requires the CHANGEFEED privilege on all target tables to be able to run an enterprise changefeed";
    let option = "user con with CONTROLCHANGEFEED role option requires the SELECT privilege on all target tables to be able to run an enterprise changefeed";
    let client =
        "user amy requires the SELECT privilege on all target tables to be able to run a core changefeed";
    assert_eq!(may(&world, "root", FeedTo::Uri), Ok(()));
    world.ok("root", grant("CHANGEFEED", tables("t"), "amy"));
    assert_eq!(may(&world, "amy", FeedTo::Uri).unwrap_err(), lacks, "one of two");
    assert_eq!(may(&world, "amy", FeedTo::Client).unwrap_err(), client);
    assert_eq!(may(&world, "con", FeedTo::Connection).unwrap_err(), option);
    world.ok("root", grant("CHANGEFEED", tables("t u"), "amy con"));
    for to in [FeedTo::Uri, FeedTo::Connection, FeedTo::Client] {
        assert_eq!(may(&world, "amy", to), Ok(()), "{to:?}");
    }
    assert_eq!(may(&world, "con", FeedTo::Uri).unwrap_err(), option, "CHANGEFEED is not SELECT");
    world.ok("root", grant("SELECT", tables("t u"), "con"));
    assert_eq!(may(&world, "con", FeedTo::Uri), Ok(()));
    world.ok("root", set(Setting::FeedsRequireConnection, "true"));
    let connections = "the CHANGEFEED privilege on all tables can only be used with external connection sinks. see cluster setting changefeed.permissions.require_external_connection_sink.enabled";
    assert_eq!(may(&world, "amy", FeedTo::Uri).unwrap_err(), connections);
    assert_eq!(may(&world, "amy", FeedTo::Connection), Ok(()));
    assert_eq!(may(&world, "root", FeedTo::Uri), Ok(()));
    world.ok("root", drop_table("u"));
    assert!(may(&world, "amy", FeedTo::Connection).unwrap_err().ends_with("was concurrently dropped"));
}

/// Case 142: what a job is to do is changed only while it is paused, by who may do the new thing, and as it was seen.
#[test]
fn a_job_is_altered_while_it_is_paused_and_by_who_may() {
    let protects = Protects { since: Timestamp::default(), tables: Some(vec![ObjectId(104)]) };
    let mut world = world(NewJob { protects: Some(protects), ..asked(7, JobKind::Changefeed) });
    world.ok("root", create_table("u"));
    let tables = vec![world.table("t"), world.table("u")];
    let to = |world: &World, tables: &[ObjectId]| {
        let mut requirement = Requirement::default();
        requirement.need(Need::Changefeed { tables: tables.to_vec(), to: FeedTo::Connection });
        control(Control::Alter(Box::new(Alteration {
            as_of: world.job().modified,
            description: "new".to_owned(),
            details: Opaque::new(vec![2]),
            requirement,
            tables: tables.to_vec(),
        })))
    };
    let alter = to(&world, &tables);
    assert_eq!(
        world.refused("root", alter),
        "55000 job with status pending cannot be altered: it is not paused"
    );
    world.ok("amy", pause());
    let alter = to(&world, &tables);
    assert!(world.refused("amy", alter.clone()).starts_with("42501 user amy requires the CHANGEFEED"));
    assert!(world.ok("root", alter.clone()).changed);
    world.check();
    let job = world.job();
    assert_eq!((&*job.asked.description, &job.asked.tables), ("new", &tables));
    assert_eq!((job.status, job.asked.details.expose()), (JobStatus::Paused, &[2][..]));
    let kept = world.state.protection(protection_of(JobToken(7))).expect("it keeps history");
    assert_eq!(kept.tables.as_ref(), Some(&tables));
    world.at(101);
    world.ok("root", control(Control::Pause { reason: None }));
    world.ok("root", resume());
    world.ok("root", pause());
    assert_eq!(world.refused("root", alter), "55000 job 1 was changed meanwhile");
}

/// Cases 151, 152, 154, 155, and every other pair.
#[test]
fn each_status_has_an_answer_to_each_request() {
    use JobStatus as S;
    use Requested::{Already, Illegal, MustRevert, NotCancelable, Now};
    let rows: [(S, [Requested; 3]); 10] = [
        (S::Pending, [Now(S::PauseRequested), Illegal, Now(S::CancelRequested)]),
        (S::Running, [Now(S::PauseRequested), Already, Now(S::CancelRequested)]),
        (S::PauseRequested, [Already, Illegal, Illegal]),
        (S::Paused, [Already, Now(S::Running), Now(S::CancelRequested)]),
        (S::CancelRequested, [Illegal, Illegal, Already]),
        (S::Reverting, [Now(S::PauseRequested), Already, Illegal]),
        (S::Succeeded, [Illegal, Illegal, Illegal]),
        (S::Canceled, [Illegal, Illegal, Already]),
        (S::Failed, [Illegal, Illegal, Illegal]),
        (S::RevertFailed, [Illegal, Illegal, Illegal]),
    ];
    for (status, expected) in rows {
        let controls = [Control::Pause { reason: None }, Control::Resume, Control::Cancel];
        let came = controls.each_ref().map(|control| request(control, status, false, true));
        assert_eq!(came, expected, "{status}");
        assert_eq!(request(&Control::Cancel, status, false, false), NotCancelable);
    }
    assert_eq!(request(&Control::Resume, S::Paused, true, true), Now(S::Reverting));
    assert_eq!(request(&Control::Cancel, S::Paused, true, true), MustRevert);
}

/// Cases 151 and 155.
#[test]
fn requests_that_a_status_does_not_allow_are_refused_in_the_originals_words() {
    let mut world = backup();
    world.claim(1, 1).unwrap();
    world.report(1, Report::Succeeded).unwrap();
    assert_eq!(
        world.refused("amy", pause()),
        "55000 job with status succeeded cannot be requested to be paused"
    );
    assert_eq!(world.refused("amy", resume()), "55000 job with status succeeded cannot be resumed");
    assert_eq!(
        world.refused("amy", cancel()),
        "55000 job with status succeeded cannot be requested to be canceled"
    );
    let mut fixed = self::world(NewJob { cancelable: false, ..asked(7, JobKind::Backup) });
    assert_eq!(fixed.refused("amy", cancel()), "55000 job 1: not cancelable");
}

/// Case 152.
#[test]
fn a_pause_stops_at_once_what_nobody_works_on_and_else_when_its_node_says_so() {
    let mut world = backup();
    let why = Command::ControlJob { id: FIRST, control: Control::Pause { reason: Some("why".to_owned()) } };
    assert!(world.ok("amy", why).changed);
    assert_eq!((world.status(), world.job().pause_reason.as_deref()), (JobStatus::Paused, Some("why")));
    assert_eq!(world.claim(1, 1).unwrap_err(), "55000 job 1 with status paused cannot be claimed");
    assert!(!world.ok("amy", pause()).changed, "paused already");
    assert!(world.ok("amy", resume()).changed);
    assert_eq!((world.status(), world.job().pause_reason.as_deref()), (JobStatus::Running, None));
    world.claim(1, 1).unwrap();
    assert!(world.ok("amy", pause()).changed);
    assert_eq!(world.status(), JobStatus::PauseRequested);
    assert!(!world.ok("amy", pause()).changed, "twice is a no-op");
    assert_eq!(world.refused("amy", resume()), "55000 job with status pause-requested cannot be resumed");
    assert_eq!(world.report(1, Report::Paused { reason: None }), Ok(true));
    assert_eq!((world.status(), world.job().claim), (JobStatus::Paused, None));
}

/// Case 154.
#[test]
fn what_is_cancelled_is_taken_back_and_then_canceled() {
    let mut world = backup();
    world.ok("amy", pause());
    assert!(world.ok("amy", cancel()).changed);
    assert_eq!(world.status(), JobStatus::CancelRequested);
    world.claim(2, 1).unwrap();
    assert_eq!(world.job().num_runs, 0, "nothing is run to be stopped");
    assert_eq!(
        world.report(1, Report::Succeeded).unwrap_err(),
        "55000 job 1 with status cancel-requested does not take this report"
    );
    world.report(1, Report::Canceling).unwrap();
    assert_eq!(world.status(), JobStatus::Reverting);
    // Paused meanwhile it cannot be cancelled, and goes on taking back when it is resumed.
    world.ok("amy", pause());
    world.report(1, Report::Paused { reason: None }).unwrap();
    let refused = world.refused("amy", cancel());
    assert_eq!(
        refused,
        "55000 job 1 is paused while it is reverted, hence cannot be canceled: job canceled by user"
    );
    world.ok("amy", resume());
    assert_eq!(world.status(), JobStatus::Reverting);
    world.claim(2, 1).unwrap();
    world.report(2, Report::Reverted).unwrap();
    assert_eq!(world.status(), JobStatus::Canceled);
    assert_eq!(world.job().error.as_ref().map(FinalError::text), Some("job canceled by user"));
    assert!(!world.ok("amy", cancel()).changed);
}

#[test]
fn what_fails_is_taken_back_and_keeps_its_error() {
    let mut world = backup();
    world.claim(1, 1).unwrap();
    world.report(1, Report::Failed { error: "no disk".to_owned() }).unwrap();
    assert_eq!(world.status(), JobStatus::Reverting);
    world.report(1, Report::Reverted).unwrap();
    assert_eq!(world.status(), JobStatus::Failed);
    assert_eq!(world.job().error.as_ref().map(FinalError::text), Some("no disk"));
    let mut other = backup();
    other.claim(1, 1).unwrap();
    other.report(1, Report::Failed { error: "no disk".to_owned() }).unwrap();
    other.report(1, Report::RevertFailed { error: "no hands".to_owned() }).unwrap();
    assert_eq!(other.status(), JobStatus::RevertFailed);
    let text = "no disk; what it did could not be taken back: no hands";
    assert_eq!(other.job().error.as_ref().map(FinalError::text), Some(text));
}

/// Case 158.
#[test]
fn a_report_of_a_lost_claim_changes_nothing() {
    let mut world = backup();
    world.claim(1, 1).unwrap();
    assert_eq!(world.claim(2, 5).unwrap_err(), "55006 job 1 is claimed by node 1");
    assert_eq!(world.claim(1, 1).unwrap_err(), "55006 job 1 is claimed by node 1");
    let far = |bytes| Report::Progress {
        fraction_ppm: Some(500_000),
        high_water: None,
        running_status: None,
        checkpoint: Some(Opaque::new(bytes)),
        protect_since: None,
    };
    world.at(106);
    assert_eq!(world.report(1, far(vec![1])), Ok(true), "over, but nobody else has it");
    assert_eq!(world.claim(2, 5), Ok(true), "six seconds are over");
    let over = "55006 the claim of job 1 with epoch 1 is over: its epoch is 2";
    assert_eq!(world.report(1, far(vec![2])).unwrap_err(), over);
    assert_eq!(world.report(1, Report::Succeeded).unwrap_err(), over);
    assert_eq!(world.job().progress.checkpoint.expose(), [1]);
    assert_eq!(world.report(2, far(vec![3])), Ok(true));
    assert_eq!(world.job().progress.checkpoint.expose(), [3]);
    assert_eq!((world.job().num_runs, world.job().epoch), (2, 2));
}

#[test]
fn a_claim_lasts_as_long_as_its_node_renews_and_no_longer_than_its_process() {
    let mut world = backup();
    world.claim(1, 1).unwrap();
    for seconds in [104, 108, 112] {
        world.at(seconds);
        world.as_node(Command::RenewClaims { node: 1, boot: 1 }).unwrap();
    }
    world.at(117);
    assert_eq!(world.claim(2, 5).unwrap_err(), "55006 job 1 is claimed by node 1");
    assert_eq!(world.claim(1, 2), Ok(true), "the same node, begun anew, waits for nobody");
    let no = "55000 node 1 has no claims of this boot to renew";
    assert_eq!(world.as_node(Command::RenewClaims { node: 1, boot: 1 }).unwrap_err(), no);
    world.report(2, Report::HandOver).unwrap();
    assert_eq!(world.claim(2, 5), Ok(true), "handed over: at once");
    world.report(3, Report::Succeeded).unwrap();
    world.at(200);
    world.as_node(Command::CollectJobs).unwrap();
    assert_eq!((world.state.claim_lease(1), world.state.claim_lease(2)), (None, None));
}

#[test]
fn a_retry_waits_longer_each_time_until_it_comes_forward() {
    let mut world = backup();
    world.ok("root", set(Setting::JobsErrorsMax, "2"));
    let retry = || Report::Retry { error: "no network".to_owned(), delay_ms: None };
    let mut at = 100;
    for (epoch, wait) in [(1, 30), (2, 60), (3, 120)] {
        assert_eq!(world.claim(1, 1), Ok(true), "{epoch}");
        world.report(epoch, retry()).unwrap();
        let next = Timestamp { nanos: (at + wait) * SECOND, logical: 0 };
        assert_eq!((world.job().next_run, world.job().claim), (Some(next), None));
        assert_eq!(world.claim(2, 1).unwrap_err(), "55000 job 1 is not to be run yet");
        at += wait;
        world.at(at);
    }
    let kept: Vec<_> =
        world.job().execution_errors.iter().map(|error| (error.run, error.text.as_str())).collect();
    assert_eq!(kept, [(2, "no network"), (3, "no network")]);
    assert_eq!(world.job().progress.running_status, "no network");
    world.claim(1, 1).unwrap();
    let forward = Report::Progress {
        fraction_ppm: Some(1),
        high_water: None,
        running_status: Some(String::new()),
        checkpoint: None,
        protect_since: None,
    };
    world.report(4, forward).unwrap();
    world.report(4, retry()).unwrap();
    assert_eq!(world.job().next_run, Some(Timestamp { nanos: (at + 30) * SECOND, logical: 0 }));
    // A cancelled job does not wait for its turn.
    world.ok("amy", cancel());
    assert_eq!(world.claim(2, 1), Ok(true));
}

#[test]
fn what_a_job_reads_is_kept_as_long_as_it_lives() {
    let protects = |tables| Some(Protects { since: Timestamp { nanos: 5, logical: 0 }, tables });
    let mut world = world(NewJob { protects: protects(None), ..asked(7, JobKind::Backup) });
    let kept = |world: &World| {
        world.state.protection(protection_of(JobToken(7))).map(|kept| (kept.since.nanos, kept.holder.clone()))
    };
    assert_eq!(kept(&world), Some((5, "job 1".to_owned())), "amy could not have done it alone");
    world.claim(1, 1).unwrap();
    let moved = |nanos| Report::Progress {
        fraction_ppm: None,
        high_water: None,
        running_status: None,
        checkpoint: None,
        protect_since: Some(Timestamp { nanos, logical: 0 }),
    };
    world.report(1, moved(9)).unwrap();
    world.report(1, moved(8)).unwrap();
    assert_eq!(kept(&world).map(|(since, _)| since), Some(9), "it does not go back");
    world.report(1, Report::Succeeded).unwrap();
    assert_eq!(kept(&world), None);
    let gone = NewJob { protects: protects(Some(vec![ObjectId(999)])), ..asked(8, JobKind::Backup) };
    assert_eq!(world.refused("amy", create(gone)), "42704 object 999 was concurrently dropped");
    assert_eq!(world.state.next_job(), JobId(2), "nothing is left of it");
}

#[test]
fn waiting_for_credentials_uses_no_try_and_is_counted_once() {
    let mut world = backup();
    world.claim(1, 1).unwrap();
    let waits = |text: &str| Report::WaitsForCredentials { running_status: text.to_owned() };
    world.report(1, waits("hop 2/3")).unwrap();
    world.at(103);
    world.report(1, waits("hop 2/3, still")).unwrap();
    let job = world.job();
    assert_eq!((job.credential_waits, job.retries, job.status), (1, 0, JobStatus::Running));
    assert_eq!(job.waiting_since.map(|at| at.nanos / SECOND), Some(100));
    assert_eq!(job.progress.running_status, "hop 2/3, still");
    world.report(1, Report::Paused { reason: Some("no credentials".to_owned()) }).unwrap();
    assert_eq!((world.status(), world.job().waiting_since), (JobStatus::Paused, None));
}

#[test]
fn what_nodes_say_nobody_else_says() {
    let mut world = backup();
    world.claim(1, 1).unwrap();
    let text = "42501 user root is not a node, and only nodes run jobs";
    for command in [
        Command::ClaimJob { id: FIRST, node: 2, boot: 1 },
        Command::RenewClaims { node: 1, boot: 1 },
        Command::ReportJob { id: FIRST, epoch: 1, report: Report::Succeeded },
        Command::CollectJobs,
    ] {
        assert_eq!(world.refused("root", command), text);
    }
}

#[test]
fn a_record_is_bounded_and_so_is_their_number() {
    let mut world = backup();
    let long = "x".repeat(TEXT_BYTES_MAX + 1);
    let described = NewJob { description: long, ..asked(8, JobKind::Backup) };
    assert_eq!(
        world.refused("amy", create(described)),
        "54000 the description of a job cannot have more than 16384 bytes"
    );
    let amy = Actor::of(world.principal("amy"));
    for token in 100..100 + JOBS_MAX - 1 {
        let outcome = world.state.apply(
            world.version,
            world.now,
            amy,
            &world.context,
            &create(asked(u128::try_from(token).unwrap(), JobKind::Backup)),
            &mut Vec::new(),
        );
        assert!(matches!(outcome, Outcome::Done(_)));
    }
    let refused = world.refused("amy", create(asked(1, JobKind::Backup)));
    assert_eq!(refused, "54000 the cluster has 10000 jobs, and can have no more");
}
