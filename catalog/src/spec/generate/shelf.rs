//! RESTOREs, from the job to its end: single steps would seldom meet in one history.

use std::sync::Arc;

use proptest::prelude::*;
use proptest::sample::select;

use crate::command::{Command, NameContext};
use crate::grant::Acl;
use crate::id::{ObjectId, PrincipalId};
use crate::job::{Control, JobId, JobKind, JobToken, NewJob, Opaque, Report};
use crate::name::{Name, RoleName};
use crate::object::{Body, EnumLabel, EnumType, Object};
use crate::require::Requirement;
use crate::role::{Principal, RoleOption, RoleOptions};
use crate::shelf::{Scope, ShelfStep, Shelved};
use crate::spec::Model;
use crate::spec::generate::jobs::NEWEST_EPOCH;
use crate::spec::generate::{Step, sequence, table};

/// Stands for the job that was made last.
pub(super) const NEWEST_JOB: JobId = JobId(-1);
/// Stands for the step after the last one; one less: for the last one.
const NEXT: u64 = u64::MAX;
/// Ids below stand for those of the shelf; this and those behind it for what is there.
const THERE: u32 = 50;
/// None of them is the id of a protection, or the token of another job.
const TOKENS: std::ops::Range<u128> = 100..1_000_000;

pub(super) fn newest(model: &Model) -> JobId {
    model.jobs.last().map_or(JobId(0), |(id, _)| *id)
}

/// A job, claimed, its steps with one left out or said twice, and an end.
pub(super) fn restore() -> BoxedStrategy<Vec<Step>> {
    let owner = select(vec!["root", "root", "amy", "ben"]);
    let middle = prop_oneof![4 => database().boxed(), 3 => into_one().boxed(), 2 => users().boxed(), 1 => cluster().boxed()];
    let spoilt = prop::option::weighted(0.4, (0_usize..6, any::<bool>()));
    let end = prop_oneof![5 => Just(0), 2 => Just(1), 1 => Just(2)];
    (owner, TOKENS, middle, spoilt, end)
        .prop_map(|(owner, token, mut steps, spoilt, end)| {
            if let Some((at, twice)) = spoilt.filter(|(at, _)| *at < steps.len()) {
                let step = steps.remove(at);
                if twice {
                    steps.splice(at..at, [step.clone(), step]);
                }
            }
            let mut commands = vec![Command::ClaimJob { id: NEWEST_JOB, node: 1, boot: 1 }];
            commands.extend(steps.into_iter().map(|step| said(NEXT, step)));
            commands.extend(ending(end));
            let first = by(owner, Command::CreateJob { job: Box::new(job(token)) });
            std::iter::once(first).chain(commands.into_iter().map(|command| by("node", command))).collect()
        })
        .boxed()
}

fn ending(end: i32) -> Vec<Command> {
    let report = |report| Command::ReportJob { id: NEWEST_JOB, epoch: NEWEST_EPOCH, report };
    match end {
        0 => vec![said(NEXT, ShelfStep::Publish), said(NEXT, ShelfStep::Publish)],
        1 => vec![
            Command::ControlJob { id: NEWEST_JOB, control: Control::Cancel },
            said(NEXT, ShelfStep::Clear),
            report(Report::Canceling),
            report(Report::Reverted),
            said(NEXT, ShelfStep::Clear),
            report(Report::Reverted),
        ],
        _ => vec![report(Report::Succeeded), said(NEXT - 1, ShelfStep::Put(Vec::new()))],
    }
}

fn job(token: u128) -> NewJob {
    NewJob {
        token: JobToken(token),
        kind: JobKind::Restore,
        description: "d".to_owned(),
        statement: "s".to_owned(),
        details: Opaque::default(),
        requirement: Requirement::NOTHING,
        tables: Vec::new(),
        schedule: None,
        cancelable: true,
        protects: None,
    }
}

fn said(number: u64, step: ShelfStep) -> Command {
    let position = Opaque::new(vec![1]);
    Command::Shelve { job: NEWEST_JOB, epoch: NEWEST_EPOCH, number, position, step: Box::new(step) }
}

pub(super) fn by(name: &str, command: Command) -> Step {
    let name = RoleName::normalize(name);
    let context = NameContext { database: Some("shop".into()), search_path: vec!["public".into()] };
    Step { session: name.clone(), current: name, context, command }
}

fn object(id: u32, name: &str, parent: ObjectId, body: Body) -> Shelved {
    let object = Object {
        name: Name::normalize(name),
        parent,
        owner: PrincipalId::ROOT,
        acl: Acl::default(),
        body,
        comment: None,
    };
    Shelved::Object { id: ObjectId(id), object: Arc::new(object), is_made: false }
}

fn low() -> Body {
    Body::Type(EnumType { labels: vec![EnumLabel { position: 0, label: "low".to_owned() }] })
}

/// A database with a schema, a table and a sequence.
fn database() -> impl Strategy<Value = Vec<ShelfStep>> {
    select(vec!["back", "shop"]).prop_map(|name| {
        let items = vec![
            object(0, name, ObjectId::CLUSTER, Body::Database),
            object(1, "public", ObjectId(1_000), Body::Schema),
            object(2, "old", ObjectId(1_000), Body::Schema),
            object(3, "t", ObjectId(1_001), Body::Table(Arc::new(table()))),
            object(4, "s", ObjectId(1_002), Body::Sequence(sequence())),
            object(5, "e", ObjectId(1_002), low()),
        ];
        vec![
            ShelfStep::Begin { scope: Scope::Objects, objects: 6, principals: 0 },
            ShelfStep::Put(items),
            ShelfStep::Make(vec![ObjectId(3), ObjectId(4)]),
            ShelfStep::Fill { table: ObjectId(3), rows: Opaque::new(vec![1]) },
        ]
    })
}

/// A table and a type into a schema that is there.
fn into_one() -> impl Strategy<Value = Vec<ShelfStep>> {
    (0_u32..4, select(vec!["back", "item", "mood"])).prop_map(|(schema, name)| {
        let parent = ObjectId(THERE + schema);
        let items = vec![
            object(0, name, parent, Body::Table(Arc::new(table()))),
            object(1, "feeling", parent, low()),
        ];
        vec![
            ShelfStep::Begin { scope: Scope::Objects, objects: 2, principals: 0 },
            ShelfStep::Put(items),
            ShelfStep::Make(vec![ObjectId(0)]),
        ]
    })
}

/// Users, and memberships among them and in `admin`.
fn users() -> impl Strategy<Value = Vec<ShelfStep>> {
    let options = vec![RoleOptions::EMPTY, RoleOptions::EMPTY.with(RoleOption::ControlJob)];
    (select(vec!["eve", "amy", "zoe"]), any::<bool>(), select(options)).prop_map(
        |(name, in_admin, options)| {
            let principal = |name: &str| Principal {
                name: RoleName::normalize(name),
                is_role: false,
                options,
                password: None,
                valid_until: None,
            };
            let member = PrincipalId(0);
            let role = if in_admin { PrincipalId(THERE) } else { PrincipalId(1) };
            let items = vec![
                Shelved::Principal { id: member, principal: principal(name) },
                Shelved::Principal { id: PrincipalId(1), principal: principal(&format!("{name}s")) },
                Shelved::Membership { role, member, admin_option: false },
            ];
            vec![ShelfStep::Begin { scope: Scope::Users, objects: 0, principals: 2 }, ShelfStep::Put(items)]
        },
    )
}

/// Refused, but where everything was dropped.
fn cluster() -> impl Strategy<Value = Vec<ShelfStep>> {
    Just(vec![
        ShelfStep::Begin { scope: Scope::Cluster, objects: 0, principals: 0 },
        ShelfStep::Put(Vec::new()),
    ])
}

/// Puts ids in place of what stands for them.
pub(super) fn bind(
    model: &Model,
    (job, epoch, number): (&mut JobId, &mut u64, &mut u64),
    step: &mut ShelfStep,
) {
    if *job == NEWEST_JOB {
        *job = newest(model);
    }
    if let Some((_, known)) = model.jobs.iter().find(|(known, _)| known == job) {
        *epoch = known.epoch;
    }
    let shelf = model.shelves.iter().find(|shelf| shelf.job == *job);
    let next = shelf.map_or(0, |shelf| shelf.steps);
    *number = if *number == NEXT { next } else { next.saturating_sub(1) };
    let (objects, principals) = shelf.map_or((0, 0), |shelf| (shelf.first_object, shelf.first_principal));
    match step {
        ShelfStep::Put(items) => {
            for item in items {
                bind_item(model, (objects, principals), item);
            }
        }
        ShelfStep::Make(tables) => tables.iter_mut().for_each(|table| table.0 += objects),
        ShelfStep::Fill { table, .. } => table.0 += objects,
        ShelfStep::Begin { .. } | ShelfStep::Publish | ShelfStep::Clear => {}
    }
}

fn bind_item(model: &Model, (objects, principals): (u32, u32), item: &mut Shelved) {
    match item {
        Shelved::Object { id, object, .. } => {
            id.0 += objects;
            let object = Arc::make_mut(object);
            if object.parent.0 >= 1_000 {
                object.parent = ObjectId(object.parent.0 - 1_000 + objects);
            } else if object.parent.0 >= THERE {
                let there: Vec<_> =
                    model.objects.iter().filter(|known| matches!(known.body, Body::Schema)).collect();
                let at = (object.parent.0 - THERE) as usize % there.len().max(1);
                object.parent = there.get(at).map_or(ObjectId(9_999), |known| known.id);
            }
        }
        Shelved::Principal { id, .. } => id.0 += principals,
        Shelved::Membership { role, member, .. } => {
            member.0 += principals;
            role.0 = if role.0 == THERE { PrincipalId::ADMIN.0 } else { role.0 + principals };
        }
        Shelved::SystemPrivileges(_)
        | Shelved::RoleSettings { .. }
        | Shelved::DefaultPrivileges { .. }
        | Shelved::Setting(..) => {}
    }
}
