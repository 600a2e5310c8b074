//! Schedules: who makes and controls them, how they become jobs, what they make of their ends. Cases 130 and 131 of the
//! cloud-jobs spec, H.5.

mod common;

use common::*;
use grantd_catalog::command::{Actor, Command, DropBehavior, Outcome, Targets};
use grantd_catalog::id::{ObjectId, PrincipalId, ScheduleId, Timestamp};
use grantd_catalog::job::{
    Control, FinalError, JobId, JobKind, JobStatus, JobToken, NewJob, Opaque, Protects, Report,
};
use grantd_catalog::privilege::Privilege;
use grantd_catalog::require::{Need, Requirement};
use grantd_catalog::schedule::{
    NewSchedule, OnFailure, OnPrevious, Paused, Schedule, ScheduleAlteration, ScheduleControl,
};
use grantd_catalog::state::protection_of;

const SECOND: u64 = 1_000_000_000;
const FULL: ScheduleId = ScheduleId(1);
const INCREMENTAL: ScheduleId = ScheduleId(2);
const TOKEN: JobToken = JobToken(1);

fn at(seconds: u64) -> Timestamp {
    Timestamp { nanos: seconds * SECOND, logical: 0 }
}

fn asked(label: &str) -> NewSchedule {
    NewSchedule {
        label: label.to_owned(),
        statement: "BACKUP INTO 's3://b'".to_owned(),
        details: Opaque::new(vec![1]),
        requirement: Requirement::NOTHING,
        cadence: Some("@daily".to_owned()),
        first_run: Some(at(100)),
        on_failure: OnFailure::Reschedule,
        on_previous: OnPrevious::Wait,
        place: [7; 32],
        updates_metric: false,
    }
}

fn create(token: u128, full: NewSchedule, incremental: Option<NewSchedule>) -> Command {
    let (full, incremental) = (Box::new(full), incremental.map(Box::new));
    let token = JobToken(token);
    Command::CreateSchedules { token, full, incremental, if_not_exists: false, ignore_existing: false }
}

fn control(id: ScheduleId, control: ScheduleControl) -> Command {
    Command::ControlSchedule { id, control }
}

fn backup(token: u128, since: u64) -> NewJob {
    NewJob {
        token: JobToken(token),
        kind: JobKind::Backup,
        description: "BACKUP INTO 's3://b'".to_owned(),
        statement: "BACKUP INTO 's3://b'".to_owned(),
        details: Opaque::new(b"AWS_SECRET_ACCESS_KEY".to_vec()),
        requirement: Requirement::NOTHING,
        tables: Vec::new(),
        schedule: None,
        cancelable: true,
        protects: Some(Protects { since: at(since), tables: None }),
    }
}

trait Runs {
    fn at(&mut self, seconds: u64);
    fn schedule(&self, id: ScheduleId) -> Schedule;
    fn run_of(&self, id: ScheduleId, next: u64, job: NewJob) -> Command;
    fn node(&mut self, command: Command) -> Result<bool, String>;
    fn node_says(&mut self, command: Command);
    fn advance(&mut self, id: ScheduleId, next: u64, failed: Option<&str>);
    fn end(&mut self, job: i64, end: Report);
    fn succeed(&mut self, job: i64, high_water: u64);
    fn kept(&self) -> Option<(u64, String)>;
}

impl Runs for World {
    fn at(&mut self, seconds: u64) {
        self.now = at(seconds);
    }

    fn schedule(&self, id: ScheduleId) -> Schedule {
        Schedule::clone(self.state.schedule(id).expect("the test made it"))
    }

    fn run_of(&self, id: ScheduleId, next: u64, job: NewJob) -> Command {
        let as_of = self.schedule(id).modified;
        Command::RunSchedule { id, as_of, next: Some(at(next)), job: Box::new(job) }
    }

    fn node(&mut self, command: Command) -> Result<bool, String> {
        let outcome = self.run_as(Actor::of(PrincipalId::NODE), &command);
        self.check();
        match outcome {
            Outcome::Done(done) => Ok(done.changed),
            Outcome::Refused(refusal) => Err(format!("{} {}", refusal.code.as_str(), refusal.message)),
        }
    }

    fn node_says(&mut self, command: Command) {
        self.node(command).expect("nothing stands against it");
    }

    fn advance(&mut self, id: ScheduleId, next: u64, failed: Option<&str>) {
        let (as_of, failed) = (self.schedule(id).modified, failed.map(str::to_owned));
        self.node_says(Command::AdvanceSchedule { id, as_of, next: Some(at(next)), failed });
    }

    fn end(&mut self, job: i64, end: Report) {
        let id = JobId(job);
        self.node_says(Command::ClaimJob { id, node: 1, boot: 1 });
        let reverts = matches!(end, Report::Failed { .. });
        self.node_says(Command::ReportJob { id, epoch: 1, report: end });
        if reverts {
            self.node_says(Command::ReportJob { id, epoch: 1, report: Report::Reverted });
        }
    }

    fn succeed(&mut self, job: i64, high_water: u64) {
        let id = JobId(job);
        self.node_says(Command::ClaimJob { id, node: 1, boot: 1 });
        let done = Report::Progress {
            fraction_ppm: None,
            high_water: Some(at(high_water)),
            running_status: None,
            checkpoint: None,
            protect_since: None,
        };
        self.node_says(Command::ReportJob { id, epoch: 1, report: done });
        self.node_says(Command::ReportJob { id, epoch: 1, report: Report::Succeeded });
    }

    fn kept(&self) -> Option<(u64, String)> {
        let kept = self.state.protection(protection_of(TOKEN))?;
        Some((kept.since.nanos / SECOND, kept.holder.clone()))
    }
}

/// amy, who owns schedule 1 and its incremental one, 2; ben, a nobody.
fn world(full: NewSchedule) -> World {
    let mut world = World::new();
    world.at(100);
    for name in ["amy", "ben"] {
        world.ok("root", create_user(name, ""));
    }
    let incremental = NewSchedule { first_run: None, place: [0; 32], ..asked("nightly") };
    assert!(world.ok("amy", create(1, full, Some(incremental))).changed);
    world
}

fn nightly() -> World {
    world(asked("nightly"))
}

/// Case 130.
#[test]
fn an_incremental_schedule_waits_for_the_first_full_layer() {
    let mut world = nightly();
    let (full, incremental) = (world.schedule(FULL), world.schedule(INCREMENTAL));
    assert_eq!((full.paused, full.next_run), (None, Some(at(100))));
    assert_eq!((incremental.full, incremental.next_run), (Some(FULL), None));
    assert_eq!(incremental.paused.map(Paused::text), Some("Waiting for initial backup to complete"));
    assert_eq!(incremental.asked.place, [7; 32], "it is that of the full one");
    let run = world.run_of(FULL, 200, backup(10, 90));
    world.ok("amy", run);
    world.succeed(3, 101);
    let (full, incremental) = (world.schedule(FULL), world.schedule(INCREMENTAL));
    assert_eq!((full.next_run, full.succeeded), (Some(at(200)), Some(at(100))));
    assert_eq!((incremental.paused, incremental.next_run), (None, None));
    assert!(incremental.wants_next_run(), "a node says when");
    world.advance(INCREMENTAL, 150, None);
    assert!(!world.schedule(INCREMENTAL).is_due(at(149)) && world.schedule(INCREMENTAL).is_due(at(150)));
}

/// Case 131.
#[test]
fn two_pairs_in_one_place_are_refused_unless_that_is_meant() {
    let mut world = nightly();
    let other = create(2, asked("other"), None);
    let no = "42710 schedule 1 \"nightly\" makes backups in the same collection";
    assert_eq!(world.refused("ben", other.clone()), no);
    let Command::CreateSchedules { token, full, incremental, if_not_exists, .. } = other else { return };
    let meant = Command::CreateSchedules { token, full, incremental, if_not_exists, ignore_existing: true };
    assert!(world.ok("ben", meant).changed);
    assert!(world.ok("ben", create(3, NewSchedule { place: [8; 32], ..asked("far") }, None)).changed);
}

#[test]
fn schedules_are_made_once_for_each_token_and_have_ids_as_jobs_have() {
    let mut world = nightly();
    assert!(
        !world.ok("amy", create(1, asked("nightly"), None)).changed,
        "the outcome was unknown: once more"
    );
    world.ok("amy", Command::CreateJob { job: Box::new(backup(10, 90)) });
    assert!(world.state.job(JobId(3)).is_some());
    let elsewhere = NewSchedule { place: [8; 32], ..asked("nightly") };
    world.ok("ben", create(2, elsewhere.clone(), None));
    assert_eq!(world.state.schedule_of(JobToken(2)).map(|(id, _)| id), Some(ScheduleId(4)));
    let full = Box::new(NewSchedule { place: [9; 32], ..elsewhere });
    let token = JobToken(3);
    let again = Command::CreateSchedules {
        token,
        full,
        incremental: None,
        if_not_exists: true,
        ignore_existing: false,
    };
    let done = world.ok("ben", again);
    assert_eq!(done.notices[0].message, "schedule \"nightly\" already exists, skipping");
    assert!(!done.changed);
    let need = Need::Privilege { object: ObjectId::CLUSTER, privilege: Privilege::Backup };
    let needs = NewSchedule { requirement: Requirement { needs: vec![need] }, ..asked("mine") };
    let no = "42501 user ben does not have BACKUP system privilege";
    assert_eq!(world.refused("ben", create(5, needs.clone(), None)), no);
    assert_eq!(world.refused("ben", create(5, asked("mine"), Some(needs))), no);
}

#[test]
fn each_time_it_is_due_one_job_is_made_and_only_as_its_owner() {
    let mut world = nightly();
    let run = world.run_of(FULL, 200, backup(10, 90));
    assert_eq!(world.refused("ben", run.clone()), "42501 schedule 1 is run as its owner, amy");
    world.at(99);
    assert_eq!(world.refused("amy", run.clone()), "55000 schedule 1 is not to be run yet");
    world.at(110);
    assert!(world.ok("amy", run.clone()).changed);
    let job = world.state.job(JobId(3)).expect("it was made").clone();
    assert_eq!((job.asked.schedule, job.owner_name.as_str()), (Some(FULL), "amy"));
    assert!(!world.ok("amy", run.clone()).changed, "the outcome was unknown: once more");
    let Command::RunSchedule { id, as_of, next, .. } = run else { return };
    let late = Command::RunSchedule { id, as_of, next, job: Box::new(backup(11, 90)) };
    assert_eq!(world.refused("amy", late), "55000 schedule 1 was changed meanwhile");
    assert_eq!(world.state.jobs_of(FULL).count(), 1);
    // It is due again, and waits for its own job.
    world.at(200);
    let again = world.run_of(FULL, 300, backup(11, 90));
    assert_eq!(world.refused("amy", again.clone()), "55006 job 3 of schedule 1 has not ended");
    world.succeed(3, 101);
    let again = world.run_of(FULL, 300, backup(11, 90));
    assert!(world.ok("amy", again).changed);
    let said = Command::AdvanceSchedule { id, as_of, next, failed: None };
    assert_eq!(world.node(said.clone()).unwrap_err(), "55000 schedule 1 was changed meanwhile");
    assert!(world.refused("root", said).contains("only nodes run jobs"));
}

#[test]
fn one_that_starts_anyway_runs_beside_itself_and_no_incremental_one_does() {
    let starts = |label| NewSchedule { on_previous: OnPrevious::Start, ..asked(label) };
    let mut world = world(starts("nightly"));
    for (token, time) in [(10, 100), (11, 200)] {
        world.at(time);
        let run = world.run_of(FULL, time + 100, backup(token, 90));
        assert!(world.ok("amy", run).changed);
    }
    world.succeed(3, 101);
    let as_of = world.schedule(FULL).modified;
    let to = ScheduleAlteration {
        as_of,
        full: starts("nightly"),
        incremental: Some(starts("nightly")),
        ignore_existing: false,
    };
    world.at(201);
    world.ok("amy", Command::AlterSchedules { id: FULL, to: Box::new(to) });
    let run = world.run_of(INCREMENTAL, 300, backup(12, 101));
    assert!(world.ok("amy", run).changed);
    world.at(300);
    let run = world.run_of(INCREMENTAL, 400, backup(13, 101));
    assert_eq!(world.refused("amy", run), "55006 job 5 of schedule 2 has not ended");
}

#[test]
fn a_run_that_fails_is_tried_again_or_waits_for_its_time_or_for_somebody() {
    let failed = || Report::Failed { error: "no bucket".to_owned() };
    for (on_failure, next, paused) in [
        (OnFailure::Retry, Some(at(130)), None),
        (OnFailure::Reschedule, Some(at(200)), None),
        (OnFailure::Pause, None, Some(Paused::Failed)),
    ] {
        let mut world = world(NewSchedule { on_failure, ..asked("nightly") });
        let run = world.run_of(FULL, 200, backup(10, 90));
        world.ok("amy", run);
        world.end(3, failed());
        let full = world.schedule(FULL);
        assert_eq!((full.next_run, full.paused), (next, paused), "{on_failure:?}");
        assert_eq!((full.failed.as_deref(), full.failures), (Some("no bucket"), 1));
        assert_eq!(world.schedule(INCREMENTAL).paused, Some(Paused::WaitsForFull));
    }
    // Longer each time, and no later than it would be due anyway; also where it came to no job.
    let mut world = world(NewSchedule { on_failure: OnFailure::Retry, ..asked("nightly") });
    for (next, due) in [(500, 130), (500, 160), (500, 220), (300, 300)] {
        world.advance(FULL, next, Some("no table t"));
        assert_eq!(world.schedule(FULL).next_run, Some(at(due)));
    }
    world.at(300);
    let run = world.run_of(FULL, 400, backup(10, 90));
    world.ok("amy", run);
    world.succeed(3, 101);
    assert_eq!((world.schedule(FULL).failed, world.schedule(FULL).failures), (None, 0));
}

#[test]
fn the_history_after_the_last_layer_is_kept_for_the_next_one() {
    let mut world = nightly();
    let run = world.run_of(FULL, 500, backup(10, 90));
    world.ok("amy", run);
    assert_eq!(world.kept(), None, "the job keeps it");
    world.succeed(3, 101);
    assert_eq!(world.kept(), Some((101, "schedule 2".to_owned())));
    assert!(world.state.protection(protection_of(JobToken(10))).is_none());
    world.at(110);
    world.advance(INCREMENTAL, 110, None);
    let run = world.run_of(INCREMENTAL, 120, backup(11, 101));
    world.ok("amy", run);
    world.succeed(4, 111);
    assert_eq!(world.kept().map(|(since, _)| since), Some(111));
    // An incremental layer that was begun before a full one was done may be upon the older full one.
    world.at(500);
    let run = world.run_of(INCREMENTAL, 600, backup(12, 111));
    world.ok("amy", run);
    let run = world.run_of(FULL, 900, backup(13, 500));
    world.ok("amy", run);
    world.at(510);
    world.succeed(6, 500);
    assert_eq!(world.kept().map(|(since, _)| since), Some(500));
    world.at(520);
    world.succeed(5, 515);
    assert_eq!(world.kept().map(|(since, _)| since), Some(500), "the next one is upon the new full one");
    world.ok("amy", control(INCREMENTAL, ScheduleControl::Drop));
    assert_eq!(world.kept(), None);
    assert!(world.state.schedule(FULL).is_some());
}

#[test]
fn in_another_place_the_incremental_one_waits_again() {
    let mut world = nightly();
    let run = world.run_of(FULL, 500, backup(10, 90));
    world.ok("amy", run);
    world.succeed(3, 101);
    world.at(500);
    let run = world.run_of(FULL, 600, backup(11, 450));
    world.ok("amy", run);
    let to = |world: &World, place, incremental| {
        let full = NewSchedule { place, ..asked("moved") };
        let incremental: Option<NewSchedule> = incremental;
        let as_of = world.schedule(FULL).modified;
        let to = ScheduleAlteration { as_of, full, incremental, ignore_existing: false };
        Command::AlterSchedules { id: FULL, to: Box::new(to) }
    };
    let moved = to(&world, [8; 32], Some(asked("moved")));
    assert!(
        world.refused("ben", moved.clone()).starts_with("42501 user ben is neither an admin nor the owner")
    );
    assert!(world.ok("amy", moved.clone()).changed);
    let incremental = world.schedule(INCREMENTAL);
    assert_eq!((incremental.paused, incremental.next_run), (Some(Paused::WaitsForFull), None));
    assert_eq!((world.kept(), world.schedule(FULL).next_run), (None, Some(at(600))));
    world.succeed(4, 501);
    assert_eq!(world.schedule(INCREMENTAL).paused, Some(Paused::WaitsForFull), "that went to the old place");
    world.at(501);
    world.ok("amy", control(FULL, ScheduleControl::Execute));
    let no = "55000 schedule 1 was changed meanwhile";
    assert_eq!(world.refused("amy", moved), no);
    let run = world.run_of(FULL, 600, backup(12, 500));
    world.ok("amy", run);
    world.succeed(5, 502);
    assert_eq!(world.schedule(INCREMENTAL).paused, None);
    let none = to(&world, [8; 32], None);
    world.ok("amy", none);
    assert_eq!((world.state.schedule(INCREMENTAL).is_none(), world.kept()), (true, None));
    let again = to(&world, [8; 32], Some(asked("moved")));
    world.ok("root", again);
    let (_, made) = world.state.incremental_of(FULL).expect("it was made");
    assert_eq!((made.owner_name.as_str(), made.paused), ("amy", Some(Paused::WaitsForFull)));
}

#[test]
fn admins_and_owners_control_a_schedule_and_dropping_the_full_one_drops_both() {
    let mut world = nightly();
    let pause = || control(FULL, ScheduleControl::Pause);
    let no = "42501 user ben is neither an admin nor the owner of schedule 1";
    assert_eq!(world.refused("ben", pause()), no);
    assert!(world.ok("root", pause()).changed);
    assert!(!world.ok("amy", pause()).changed, "paused already");
    assert_eq!((world.schedule(FULL).paused, world.schedule(FULL).next_run), (Some(Paused::Asked), None));
    let execute = || control(FULL, ScheduleControl::Execute);
    assert_eq!(world.refused("amy", execute()), "55000 schedule 1 is paused");
    assert!(world.ok("amy", control(FULL, ScheduleControl::Resume)).changed);
    assert!(world.schedule(FULL).wants_next_run());
    assert!(world.ok("amy", execute()).changed);
    assert!(world.schedule(FULL).is_due(world.now));
    world.ok("root", grant_role("admin", "amy"));
    let no = "42501 only admins can control schedules owned by other admins";
    assert_eq!(world.refused("ben", pause()), no);
    world.ok("root", control(FULL, ScheduleControl::Drop));
    assert_eq!(world.state.schedules().count(), 0);
    assert_eq!(world.refused("ben", pause()), "42704 schedule with ID 1 does not exist");
}

#[test]
fn a_role_that_owns_schedules_is_not_dropped() {
    let mut world = nightly();
    let no = "2BP01 cannot drop role/user amy; it owns 2 scheduled jobs.";
    assert_eq!(world.refused("root", drop_role("amy")), no);
    // Both leave them as they are.
    world.ok("root", Command::ReassignOwned { from: vec![role("amy")], to: role("ben") });
    world.ok("root", Command::DropOwned { by: vec![role("amy")], behavior: DropBehavior::Restrict });
    assert_eq!(world.refused("root", drop_role("amy")), no);
    world.ok("root", control(FULL, ScheduleControl::Drop));
    world.ok("root", drop_role("amy"));
}

#[test]
fn what_its_job_may_do_is_decided_when_it_is_made() {
    let mut world = nightly();
    let need = Need::Privilege { object: ObjectId::CLUSTER, privilege: Privilege::Backup };
    let job = NewJob { requirement: Requirement { needs: vec![need] }, ..backup(10, 90) };
    let run = world.run_of(FULL, 200, job);
    assert_eq!(world.refused("amy", run.clone()), "42501 user amy does not have BACKUP system privilege");
    assert_eq!(world.schedule(FULL).next_run, Some(at(100)), "nothing was changed");
    world.ok("root", grant("BACKUP", Targets::System, "amy"));
    assert!(world.ok("amy", run).changed);
}

/// What a job was to do holds keys, and nobody needs it when it has ended.
#[test]
fn an_ended_job_has_no_details_but_a_feeds() {
    let mut world = nightly();
    let run = world.run_of(FULL, 200, backup(10, 90));
    world.ok("amy", run);
    world.succeed(3, 101);
    let job = |world: &World, id| world.state.job(JobId(id)).expect("it is kept").clone();
    assert_eq!(job(&world, 3).status, JobStatus::Succeeded);
    assert_eq!(job(&world, 3).asked.details, Opaque::default());
    let feed = NewJob { kind: JobKind::Changefeed, ..backup(11, 90) };
    let restore = NewJob { kind: JobKind::Restore, ..backup(12, 90) };
    for asked in [feed, restore] {
        world.ok("amy", Command::CreateJob { job: Box::new(asked) });
    }
    world.end(4, Report::Failed { error: "no".to_owned() });
    assert_ne!(job(&world, 4).asked.details, Opaque::default());
    world.ok("amy", Command::ControlJob { id: JobId(5), control: Control::Cancel });
    world.end(5, Report::Canceling);
    assert_ne!(job(&world, 5).asked.details, Opaque::default(), "it is still taken back");
    world.node(Command::ReportJob { id: JobId(5), epoch: 1, report: Report::Reverted }).unwrap();
    assert_eq!(job(&world, 5).asked.details, Opaque::default());
    assert_eq!(job(&world, 5).error, Some(FinalError::Canceled));
}
