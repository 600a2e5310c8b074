//! RESTORE where it is applied: what is on a shelf, who may publish it, and what of owners and grants travels. Cases of the
//! cloud-jobs spec, B.7.4 and C.8.

mod common;

use std::sync::Arc;

use common::objects::view_of;
use common::*;
use grantd_catalog::command::{Actor, Command, Done, Outcome, StorageChange, Targets};
use grantd_catalog::grant::{Acl, AclEntry};
use grantd_catalog::id::{ObjectId, PrincipalId, Timestamp};
use grantd_catalog::job::{JobId, JobKind, JobStatus, JobToken, NewJob, Opaque, Report};
use grantd_catalog::name::{Name, RoleName};
use grantd_catalog::object::{Body, Object};
use grantd_catalog::privilege::{Privilege, PrivilegeSet};
use grantd_catalog::require::Requirement;
use grantd_catalog::role::{Principal, RoleOption, RoleOptions};
use grantd_catalog::setting::Setting;
use grantd_catalog::shelf::{Scope, ShelfStep, Shelved};

const JOB: JobId = JobId(1);
const EPOCH: u64 = 1;

/// A world with a claimed RESTORE of this owner, and how many of its steps were done.
struct Restoring {
    world: World,
    steps: u64,
}

impl Restoring {
    fn by(mut world: World, owner: &str) -> Self {
        world.now = Timestamp { nanos: 1_000, logical: 0 };
        let job = NewJob {
            token: JobToken(7),
            kind: JobKind::Restore,
            description: "RESTORE".to_owned(),
            statement: "RESTORE".to_owned(),
            details: Opaque::default(),
            requirement: Requirement::NOTHING,
            tables: Vec::new(),
            schedule: None,
            cancelable: true,
            protects: None,
        };
        world.ok(owner, Command::CreateJob { job: Box::new(job) });
        let mut restoring = Self { world, steps: 0 };
        restoring.node(Command::ClaimJob { id: JOB, node: 1, boot: 1 }).expect("nobody has it");
        restoring
    }

    fn node(&mut self, command: Command) -> Result<Done, String> {
        let outcome = self.world.run_as(Actor::of(PrincipalId::NODE), &command);
        self.world.check();
        match outcome {
            Outcome::Done(done) => Ok(done),
            Outcome::Refused(refusal) => Err(format!("{} {}", refusal.code.as_str(), refusal.message)),
        }
    }

    fn numbered(&mut self, number: u64, step: ShelfStep) -> Result<Done, String> {
        let position = Opaque::new(vec![u8::try_from(number).unwrap_or(u8::MAX)]);
        self.node(Command::Shelve { job: JOB, epoch: EPOCH, number, position, step: Box::new(step) })
    }

    fn step(&mut self, step: ShelfStep) -> Result<Done, String> {
        let done = self.numbered(self.steps, step);
        self.steps += u64::from(done.is_ok());
        done
    }

    fn begin(&mut self, scope: Scope, objects: u32, principals: u32) -> Result<(u32, u32), String> {
        self.step(ShelfStep::Begin { scope, objects, principals })?;
        let shelf = self.world.state.shelf(JOB).expect("it was begun");
        Ok((shelf.objects.first, shelf.principals.first))
    }

    /// A database `back` with a table `t`, up to its publishing. Gives the database's id.
    fn database(&mut self) -> Result<ObjectId, String> {
        let (first, _) = self.begin(Scope::Objects, 3, 0)?;
        let id = |at: u32| ObjectId(first + at);
        self.step(ShelfStep::Put(vec![
            thing(id(2), "t", id(1), Body::Table(Arc::new(table()))),
            thing(id(0), "back", ObjectId::CLUSTER, Body::Database),
            thing(id(1), "public", id(0), Body::Schema),
        ]))?;
        self.step(ShelfStep::Make(vec![id(2)]))?;
        Ok(id(0))
    }

    fn publish(&mut self) -> Result<Done, String> {
        self.step(ShelfStep::Publish)
    }

    fn status(&self) -> JobStatus {
        self.world.state.job(JOB).expect("it is there").status
    }
}

fn thing(id: ObjectId, name: &str, parent: ObjectId, body: Body) -> Shelved {
    // Owner and grants of somewhere else: zoe does not exist here, and would hold everything.
    let everything = AclEntry {
        grantee: PrincipalId::PUBLIC,
        privileges: PrivilegeSet::of(Privilege::All),
        grant_options: PrivilegeSet::EMPTY,
    };
    let object = Object {
        name: Name::from(name),
        parent,
        owner: PrincipalId(900),
        acl: [everything].into_iter().collect(),
        body,
        comment: None,
    };
    Shelved::Object { id, object: Arc::new(object), is_made: false }
}

fn user(name: &str) -> Principal {
    Principal {
        name: RoleName::from(name),
        is_role: false,
        options: RoleOptions::EMPTY,
        password: None,
        valid_until: None,
    }
}

/// amy and ben; table `secret`, root's.
fn world() -> World {
    let mut world = World::new();
    for name in ["amy", "ben"] {
        world.ok("root", create_user(name, ""));
    }
    world.ok("root", create_table("secret"));
    world
}

fn database_called(world: &World, name: &str) -> Option<ObjectId> {
    world.state.resolve_database(&Name::from(name)).ok()
}

#[test]
fn nothing_is_there_before_it_is_published_and_then_all_of_it_with_the_end_of_the_job() {
    let mut restoring = Restoring::by(world(), "root");
    let database = restoring.database().unwrap();
    let table = ObjectId(database.0 + 2);
    let rows = Opaque::new(vec![1, 2, 3]);
    let done = restoring.step(ShelfStep::Fill { table, rows }).unwrap();
    assert_eq!(done.storage, [StorageChange::Fill(table)]);
    assert_eq!(database_called(&restoring.world, "back"), None);
    assert!(restoring.world.state.object(table).is_none());
    assert!(restoring.world.state.object_with_rows(table).is_some());
    let done = restoring.publish().unwrap();
    assert_eq!(done.storage, [StorageChange::Publish(table)]);
    assert_eq!(database_called(&restoring.world, "back"), Some(database));
    assert!(restoring.world.state.object(table).is_some());
    assert_eq!(restoring.status(), JobStatus::Succeeded);
    assert_eq!(restoring.world.state.shelf(JOB), None);
    let came = &restoring.world.state.job(JOB).unwrap().progress.checkpoint;
    assert_eq!(came.expose(), [4], "where it stood at its end");
}

#[test]
fn a_step_is_done_once_however_often_it_is_said_and_only_in_its_turn() {
    let mut restoring = Restoring::by(world(), "root");
    let begin = || ShelfStep::Begin { scope: Scope::Objects, objects: 1, principals: 0 };
    restoring.step(begin()).unwrap();
    let next = restoring.world.state.counters();
    assert!(!restoring.numbered(0, begin()).unwrap().changed);
    assert_eq!(restoring.world.state.counters(), next);
    let refused = restoring.numbered(2, ShelfStep::Put(Vec::new())).unwrap_err();
    assert_eq!(refused, "55000 step 2 of job 1 is not the next one, which is 1");
    let stale = Command::Shelve {
        job: JOB,
        epoch: 0,
        number: 1,
        position: Opaque::default(),
        step: Box::new(ShelfStep::Put(Vec::new())),
    };
    assert!(restoring.node(stale).unwrap_err().contains("the claim of job 1 with epoch 0 is over"));
}

#[test]
fn what_is_restored_into_a_new_database_belongs_to_who_restores_and_no_grant_travels() {
    let mut first = world();
    first.ok("root", grant("RESTORE", Targets::System, "amy"));
    let mut restoring = Restoring::by(first, "amy");
    let database = restoring.database().unwrap();
    restoring.publish().unwrap();
    let (world, amy) = (&restoring.world, restoring.world.principal("amy"));
    let owner = |at: u32| world.state.object(ObjectId(database.0 + at)).map(|object| object.owner);
    assert_eq!([owner(0), owner(1), owner(2)], [Some(amy), Some(PrincipalId::ADMIN), Some(amy)]);
    let ben = world.principal("ben");
    let table = ObjectId(database.0 + 2);
    assert!(world.state.check_privilege(ben, table, Privilege::Select).is_err());
}

#[test]
fn tables_into_a_database_that_is_there_need_restore_on_it_and_get_its_default_privileges() {
    let mut first = world();
    let defaults = Command::AlterDefaultPrivileges {
        creators: grantd_catalog::command::Creators::Roles(vec![role("amy")]),
        schemas: Vec::new(),
        act: grantd_catalog::command::DefaultAct::Grant { grant_option: false },
        privileges: privileges("SELECT"),
        on: grantd_catalog::defaults::DefaultClass::Tables,
        grantees: vec![role("ben")],
    };
    first.ok("amy", defaults);
    let mut restoring = Restoring::by(first, "amy");
    let (id, _) = restoring.begin(Scope::Objects, 1, 0).unwrap();
    let body = Body::Table(Arc::new(table()));
    let item = thing(ObjectId(id), "t", ObjectId::DEFAULT_PUBLIC_SCHEMA, body);
    restoring.step(ShelfStep::Put(vec![item])).unwrap();
    restoring.step(ShelfStep::Make(vec![ObjectId(id)])).unwrap();
    let no = "42501 user amy does not have RESTORE privilege on database defaultdb";
    assert_eq!(restoring.publish().unwrap_err(), no);
    let databases = Targets::Databases(vec![Name::from("defaultdb")]);
    restoring.world.ok("root", grant("RESTORE", databases, "amy"));
    restoring.publish().unwrap();
    let ben = restoring.world.principal("ben");
    assert_eq!(restoring.world.state.check_privilege(ben, ObjectId(id), Privilege::Select), Ok(()));
}

#[test]
fn who_may_not_is_told_so_in_the_words_of_the_original() {
    let cluster = "42501 only users with the admin role or the RESTORE system privilege are allowed to perform a cluster \
                   restore";
    for scope in [Scope::Cluster, Scope::Users] {
        let mut restoring = Restoring::by(world(), "amy");
        assert_eq!(restoring.begin(scope, 0, 0).unwrap_err(), cluster);
    }
    let mut restoring = Restoring::by(world(), "amy");
    restoring.database().unwrap();
    assert_eq!(
        restoring.publish().unwrap_err(),
        "42501 only users with the CREATEDB privilege can restore databases"
    );
    assert_eq!(restoring.status(), JobStatus::Running, "a refused step changes nothing");
}

#[test]
fn a_cluster_is_restored_only_where_there_is_nothing() {
    let mut restoring = Restoring::by(world(), "root");
    let refused = restoring.begin(Scope::Cluster, 0, 0).unwrap_err();
    assert_eq!(
        refused,
        "55000 full cluster restore can only be run on a cluster with no tables or databases but found 1 descriptors: [defaultdb]"
    );
    let mut restoring = Restoring::by(World::new(), "root");
    let (id, user_id) = restoring.begin(Scope::Cluster, 2, 1).unwrap();
    let eve = PrincipalId(user_id);
    let superusers = [PrincipalId::ROOT, PrincipalId::ADMIN].map(AclEntry::superuser);
    let acl: Acl = superusers
        .into_iter()
        .chain([AclEntry { privileges: PrivilegeSet::of(Privilege::Connect), ..AclEntry::none(eve) }])
        .collect();
    let object = |name: &str, parent, body| Object {
        name: Name::from(name),
        parent,
        owner: eve,
        acl: acl.clone(),
        body,
        comment: None,
    };
    let put = |id, object: Object| Shelved::Object { id, object: Arc::new(object), is_made: false };
    let schema =
        Object { acl: superusers.into_iter().collect(), ..object("public", ObjectId(id), Body::Schema) };
    restoring
        .step(ShelfStep::Put(vec![
            Shelved::Principal { id: eve, principal: user("eve") },
            put(ObjectId(id), object("defaultdb", ObjectId::CLUSTER, Body::Database)),
            put(ObjectId(id + 1), schema),
            Shelved::Setting(Setting::MinPasswordLength, "12".to_owned()),
        ]))
        .unwrap();
    restoring.publish().unwrap();
    let state = &restoring.world.state;
    assert_eq!(database_called(&restoring.world, "defaultdb"), Some(ObjectId(id)));
    assert_eq!(state.object(ObjectId(id)).map(|object| (object.owner, &object.acl)), Some((eve, &acl)));
    assert_eq!(state.setting(Setting::MinPasswordLength), "12");
}

#[test]
fn a_view_of_what_was_there_before_is_not_published() {
    let mut first = world();
    let secret = first.table("secret");
    let databases = Targets::Databases(vec![Name::from("defaultdb")]);
    first.ok("root", grant("RESTORE", databases, "amy"));
    let mut restoring = Restoring::by(first, "amy");
    let (id, _) = restoring.begin(Scope::Objects, 1, 0).unwrap();
    let body = Body::View(view_of(vec![secret]));
    let item = thing(ObjectId(id), "v", ObjectId::DEFAULT_PUBLIC_SCHEMA, body);
    restoring.step(ShelfStep::Put(vec![item])).unwrap();
    let refused = restoring.publish().unwrap_err();
    assert_eq!(refused, "22000 the backup cannot be restored: v names what is not in it");
}

#[test]
fn users_come_with_their_memberships_but_not_into_roles_that_who_restores_may_not_grant() {
    let mut first = world();
    first.ok("root", grant("RESTORE", Targets::System, "amy"));
    let mut restoring = Restoring::by(first, "amy");
    let (_, id) = restoring.begin(Scope::Users, 0, 1).unwrap();
    let eve = PrincipalId(id);
    restoring.step(ShelfStep::Put(vec![Shelved::Principal { id: eve, principal: user("eve") }])).unwrap();
    let into_admin = Shelved::Membership { role: PrincipalId::ADMIN, member: eve, admin_option: false };
    restoring.step(ShelfStep::Put(vec![into_admin])).unwrap();
    let refused = restoring.publish().unwrap_err();
    assert_eq!(
        refused,
        "42501 RESTORE SYSTEM USERS brings members of role admin, which who restores may not grant"
    );
    assert_eq!(restoring.world.state.principal_id(&RoleName::from("eve")), None);
}

/// A cluster's backup that somebody made to become admin: eve in admin by herself and by a role that is there, and another
/// password for an admin. Of who is admin itself all of it comes.
#[test]
fn who_is_no_admin_restores_a_cluster_without_making_anybody_one() {
    for (by, comes) in [("amy", false), ("root", true)] {
        let mut first = World::new();
        for name in ["amy", "ada"] {
            first.ok("root", create_user(name, ""));
        }
        first.ok("root", create_user("crew", ""));
        first.ok("root", grant("RESTORE", Targets::System, "amy"));
        for name in ["ada", "crew"] {
            first.ok("root", grant_role("admin", name));
        }
        let id = |name: &str| first.state.principal_id(&RoleName::from(name)).expect("it was made");
        let (ada, crew) = (id("ada"), id("crew"));
        let mut restoring = Restoring::by(first, by);
        let (_, eve) = restoring.begin(Scope::Cluster, 0, 1).unwrap();
        let eve = PrincipalId(eve);
        let member = |role, member| Shelved::Membership { role, member, admin_option: true };
        let other = Principal { options: RoleOptions::EMPTY.with(RoleOption::CreateDb), ..user("ada") };
        restoring
            .step(ShelfStep::Put(vec![
                Shelved::Principal { id: eve, principal: user("eve") },
                Shelved::Principal { id: ada, principal: other.clone() },
                member(PrincipalId::ADMIN, eve),
                member(crew, eve),
            ]))
            .unwrap();
        restoring.publish().unwrap();
        let state = &restoring.world.state;
        assert_eq!(state.principal_id(&RoleName::from("eve")), Some(eve), "{by}: the user comes");
        assert_eq!(state.index().is_admin(eve), comes, "{by}");
        assert_eq!(state.principal(ada) == Some(&other), comes, "{by}");
        assert!(state.index().is_admin(ada), "{by}");
    }
}

#[test]
fn users_bring_no_options_that_who_restores_may_not_give_and_no_names_that_are_none() {
    let mut first = world();
    first.ok("root", grant("RESTORE", Targets::System, "amy"));
    let mut restoring = Restoring::by(first, "amy");
    let (_, id) = restoring.begin(Scope::Users, 0, 1).unwrap();
    let eve = Principal { options: RoleOptions::EMPTY.with(RoleOption::CreateRole), ..user("eve") };
    restoring.step(ShelfStep::Put(vec![Shelved::Principal { id: PrincipalId(id), principal: eve }])).unwrap();
    assert_eq!(
        restoring.publish().unwrap_err(),
        "42501 RESTORE SYSTEM USERS brings user eve with CREATEROLE, which takes CREATEROLE"
    );
    for name in ["node", "crdb_internal_x", "e v e", ""] {
        let mut restoring = Restoring::by(world(), "root");
        let (_, id) = restoring.begin(Scope::Users, 0, 1).unwrap();
        let principal = user(name);
        restoring.step(ShelfStep::Put(vec![Shelved::Principal { id: PrincipalId(id), principal }])).unwrap();
        assert_eq!(
            restoring.publish().unwrap_err(),
            format!("22000 the backup cannot be restored: it has the user {}", RoleName::from(name))
        );
    }
}

#[test]
fn a_cancelled_restore_takes_away_what_it_brought_before_it_ends() {
    let mut restoring = Restoring::by(world(), "root");
    let database = restoring.database().unwrap();
    let cancel = grantd_catalog::job::Control::Cancel;
    restoring.world.ok("root", Command::ControlJob { id: JOB, control: cancel });
    assert!(restoring.publish().is_err(), "somebody asked it to stop");
    let report = |report| Command::ReportJob { id: JOB, epoch: EPOCH, report };
    restoring.node(report(Report::Canceling)).unwrap();
    let early = restoring.node(report(Report::Reverted)).unwrap_err();
    assert_eq!(early, "55000 job 1 cannot end: what it brought is not taken away yet");
    let done = restoring.numbered(0, ShelfStep::Clear).unwrap();
    assert_eq!(done.storage, [StorageChange::Clear(ObjectId(database.0 + 2))]);
    assert!(!restoring.numbered(0, ShelfStep::Clear).unwrap().changed);
    restoring.node(report(Report::Reverted)).unwrap();
    assert_eq!(restoring.status(), JobStatus::Canceled);
}

#[test]
fn a_name_that_was_taken_meanwhile_refuses_all_of_it() {
    let mut restoring = Restoring::by(world(), "root");
    restoring.database().unwrap();
    restoring.world.ok("root", create_database("back"));
    assert_eq!(restoring.publish().unwrap_err(), "42P04 database \"back\" already exists");
    assert!(restoring.world.state.shelf(JOB).is_some());
}
