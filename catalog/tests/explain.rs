//! Explanations against the slow twin: each reason is enough by itself, all of them together are what it takes, and what
//! is named as missing makes the answer a yes.
//!
//! A run prints its seed; `GRANTD_EXPLAIN_SEED=<seed>` repeats it. The gate compares [`CHECKS`] checks;
//! `GRANTD_EXPLAIN_CHECKS=1000000` as many as are asked for.

mod twins;

use std::collections::BTreeMap;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::mem;

use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::{Config, RngSeed, TestRunner};

use grantd_catalog::command::{
    Actor, Command, FunctionName, NameContext, ObjectName, Outcome, OwnedName, RoleSpec, SchemaName,
    TablePattern, Targets, TypeName,
};
use grantd_catalog::decide::{self, Explanation, Missing, Reason};
use grantd_catalog::grant::AclEntry;
use grantd_catalog::id::{ObjectId, PrincipalId, Timestamp, Version};
use grantd_catalog::name::{Name, RoleName};
use grantd_catalog::object::Body;
use grantd_catalog::privilege::{ObjectKind, Privilege, PrivilegeSet};
use grantd_catalog::spec::generate::{self, DATABASES, ROLES, SCHEMAS, TABLES, TYPES};
use grantd_catalog::spec::{Model, ModelEdge, ModelGrant};

use twins::World;

/// How many checks a run explains, unless it is told another number.
const CHECKS: u64 = 60_000;
/// How many of these one catalog is asked.
const CHECKS_PER_WORLD: u64 = 5_000;
/// Roles beside those of the generators: chains of them make long paths, and several paths to one role.
const MORE_ROLES: usize = 18;
/// Statements of root that make the catalog rich, before generated ones of anybody.
const STATEMENTS: usize = 160;
/// Generated statements of anybody.
const STEPS: usize = 30;

/// What was compared, so that a run that compares nothing fails.
#[derive(Debug, Default)]
struct Seen {
    checks: u64,
    allowed: u64,
    several_reasons: u64,
    longest_path: usize,
    reasons: BTreeMap<&'static str, u64>,
    missing: BTreeMap<&'static str, u64>,
}

#[test]
fn every_answer_is_explained_by_what_flips_it() {
    let wanted = variable("GRANTD_EXPLAIN_CHECKS").unwrap_or(CHECKS);
    let seed = variable("GRANTD_EXPLAIN_SEED").unwrap_or_else(|| RandomState::new().build_hasher().finish());
    println!("GRANTD_EXPLAIN_SEED={seed}");
    let mut runner = TestRunner::new(Config { rng_seed: RngSeed::Fixed(seed), ..Config::default() });
    let mut dice = Dice(seed | 1);
    let mut seen = Seen::default();
    while seen.checks < wanted {
        let mut world = rich_world(&mut dice, &mut runner).unwrap();
        let mut principals = world.principals();
        principals.push(PrincipalId::NODE);
        let mut objects = world.objects();
        objects.push((ObjectId(9_999), ObjectKind::Table));
        let every: Vec<_> = Privilege::each().collect();
        for _ in 0..CHECKS_PER_WORLD.min(wanted - seen.checks) {
            let (object, kind) = *dice.one(&objects);
            let legal: Vec<_> = kind.legal().iter().collect();
            // One in eight asks for what there may be none of on such an object.
            let privilege = *if dice.below(8) == 0 { dice.one(&every) } else { dice.one(&legal) };
            let option = dice.below(3) == 0;
            let principal = *dice.one(&principals);
            let asked = Asked { principal, object, privilege, option };
            if let Err(what) = compare(&mut world, asked, &mut dice, &mut seen) {
                panic!("{what}\n  seed {seed}, check {}: {asked:?}", seen.checks);
            }
        }
    }
    println!("{seen:#?}");
    assert!(seen.allowed * 5 > seen.checks && seen.allowed * 5 < seen.checks * 4, "{seen:?}");
    assert!(seen.several_reasons * 10 > seen.allowed, "{seen:?}");
    assert!(seen.longest_path >= 5, "{seen:?}");
    assert_eq!(seen.reasons.len(), 5, "{seen:?}");
    assert_eq!(seen.missing.len(), 5, "{seen:?}");
}

fn variable(name: &str) -> Option<u64> {
    #[allow(
        clippy::disallowed_methods,
        reason = "the catalog has no environment; its tests are told how much"
    )]
    std::env::var(name).ok().map(|text| text.parse().expect("a number"))
}

#[derive(Clone, Copy, Debug)]
struct Asked {
    principal: PrincipalId,
    object: ObjectId,
    privilege: Privilege,
    option: bool,
}

impl Asked {
    fn twin_says(self, model: &Model) -> bool {
        match self.option {
            true => model.holds_grant_option(self.principal, self.object, self.privilege),
            false => model.holds(self.principal, self.object, self.privilege),
        }
    }

    /// What is left of an entry without the right that it gives here.
    fn taken_from(self, grant: &mut ModelGrant) {
        let covers = |held: &Privilege| {
            *held == self.privilege
                || (*held == Privilege::All && (self.option || self.privilege != Privilege::NoSqlLogin))
        };
        let list = if self.option { &mut grant.grant_options } else { &mut grant.privileges };
        list.retain(|held| !covers(held));
    }
}

fn compare(world: &mut World, asked: Asked, dice: &mut Dice, seen: &mut Seen) -> Result<(), String> {
    seen.checks += 1;
    let Asked { principal, object, privilege, option } = asked;
    let (decision, explanation) = match option {
        true => (
            decide::holds_grant_option(&world.view, principal, object, privilege),
            decide::explain_grant_option(&world.view, principal, object, privilege),
        ),
        false => (
            decide::holds(&world.view, principal, object, privilege),
            decide::explain(&world.view, principal, object, privilege),
        ),
    };
    // The twin does not know that an object is gone.
    let there = object == ObjectId::CLUSTER || world.state.object(object).is_some();
    let twin = there && asked.twin_says(&world.model);
    twins::same("the decision", &decision, &twin)?;
    twins::same(&format!("whether allowed: {explanation:?}"), &explanation.is_allowed(), &decision)?;
    match &explanation {
        Explanation::Allow(reasons) => {
            seen.allowed += 1;
            seen.several_reasons += u64::from(reasons.len() > 1);
            allowed_for(world, asked, reasons, dice, seen)
        }
        Explanation::Deny(missing) => denied_for_want_of(world, asked, missing, dice, seen),
    }
}

// Of an allow.

fn allowed_for(
    world: &mut World,
    asked: Asked,
    reasons: &[Reason],
    dice: &mut Dice,
    seen: &mut Seen,
) -> Result<(), String> {
    for reason in reasons {
        *seen.reasons.entry(word(reason)).or_default() += 1;
        seen.longest_path = seen.longest_path.max(reason.path().len());
        path_is_there(&world.model, asked.principal, reason)?;
        let enough = with_only(world, asked.object, reason, |model| asked.twin_says(model));
        twins::same(&format!("with nothing but {reason:?}"), &enough, &true)?;
    }
    let all: Vec<_> = reasons.iter().collect();
    let is_inborn = reasons.iter().any(is_inborn);
    let left = without(world, asked, &all, |model| asked.twin_says(model));
    twins::same(&format!("without any of {reasons:?}"), &left, &is_inborn)?;
    if reasons.len() > 1 && !is_inborn {
        let kept = dice.one(reasons);
        // Who ends a membership in `admin` also ends what is reached through it.
        let through_admin = kept.path().contains(&PrincipalId::ADMIN);
        let others: Vec<_> = reasons
            .iter()
            .filter(|other| *other != kept && !(through_admin && matches!(other, Reason::Superuser { .. })))
            .collect();
        let left = without(world, asked, &others, |model| asked.twin_says(model));
        twins::same(&format!("with {kept:?} left of {reasons:?}"), &left, &true)?;
    }
    Ok(())
}

fn word(reason: &Reason) -> &'static str {
    match reason {
        Reason::Public { .. } => "public",
        reason @ Reason::Superuser { .. } if is_inborn(reason) => "a superuser",
        Reason::Superuser { .. } => "a member of admin",
        Reason::Owner { .. } => "owner",
        Reason::Granted { .. } => "granted",
    }
}

/// Whether it is the rank of `root`, `admin` or `node` themselves, which nothing takes away.
fn is_inborn(reason: &Reason) -> bool {
    matches!(reason, Reason::Superuser { path } if path.len() == 1)
}

/// That a path leads over the twin's edges from the principal to whoever has the right, by one of the shortest ways.
fn path_is_there(model: &Model, principal: PrincipalId, reason: &Reason) -> Result<(), String> {
    let path = reason.path();
    let said = format!("{reason:?}");
    match reason {
        Reason::Public { entry } => twins::same(&said, &entry.grantee, &PrincipalId::PUBLIC)?,
        Reason::Granted { entry, .. } => twins::same(&said, &path.last(), &Some(&entry.grantee))?,
        Reason::Superuser { .. } if path.len() > 1 => {
            twins::same(&said, &path.last(), &Some(&PrincipalId::ADMIN))?;
        }
        Reason::Superuser { .. } | Reason::Owner { .. } => {}
    }
    if !matches!(reason, Reason::Public { .. }) {
        twins::same(&said, &path.first(), &Some(&principal))?;
    }
    for step in path.windows(2) {
        let is_edge = model.edges.iter().any(|edge| edge.member == step[0] && edge.role == step[1]);
        twins::same(&format!("the step {step:?} of {said}"), &is_edge, &true)?;
    }
    let mut reached = vec![principal];
    for _ in 2..path.len() {
        let next = model.edges.iter().filter(|edge| reached.contains(&edge.member)).map(|edge| edge.role);
        reached.extend(next.collect::<Vec<_>>());
    }
    let is_shortest = path.len() < 2 || path.last().is_some_and(|last| !reached.contains(last));
    twins::same(&format!("whether {said} is one of the shortest"), &is_shortest, &true)
}

/// What the twin says where nothing is left but the memberships of the path, and the right it leads to.
fn with_only<T>(world: &mut World, object: ObjectId, reason: &Reason, ask: impl FnOnce(&Model) -> T) -> T {
    let edges = reason.path().windows(2).map(|step| ModelEdge {
        role: step[1],
        member: step[0],
        admin_option: false,
    });
    let held = match reason {
        Reason::Public { entry } | Reason::Granted { entry, .. } => vec![as_held(object, entry)],
        Reason::Superuser { .. } | Reason::Owner { .. } => Vec::new(),
    };
    let owner = match reason {
        Reason::Owner { path } => path.last().copied(),
        Reason::Public { .. } | Reason::Superuser { .. } | Reason::Granted { .. } => None,
    };
    altered(&mut world.model, object, edges.collect(), held, owner.or(Some(NOBODY)), ask)
}

/// What the twin says where the rights of these are taken away.
fn without<T>(world: &mut World, asked: Asked, reasons: &[&Reason], ask: impl FnOnce(&Model) -> T) -> T {
    let mut edges = world.model.edges.clone();
    let mut held = held_on(world, asked.object);
    let mut owner = None;
    for reason in reasons {
        match reason {
            Reason::Public { entry } | Reason::Granted { entry, .. } => {
                held.iter_mut()
                    .filter(|grant| grant.grantee == entry.grantee)
                    .for_each(|grant| asked.taken_from(grant));
            }
            Reason::Owner { .. } => owner = Some(NOBODY),
            Reason::Superuser { .. } => edges.retain(|edge| edge.role != PrincipalId::ADMIN),
        }
    }
    altered(&mut world.model, asked.object, edges, held, owner, ask)
}

/// One who does not exist, and whom nobody belongs to.
const NOBODY: PrincipalId = PrincipalId(8_888);

/// Asks the twin with other memberships, with other grants, all of them on `object`, and perhaps with another owner of it.
fn altered<T>(
    model: &mut Model,
    object: ObjectId,
    edges: Vec<ModelEdge>,
    held: Vec<ModelGrant>,
    owner: Option<PrincipalId>,
    ask: impl FnOnce(&Model) -> T,
) -> T {
    let edges = mem::replace(&mut model.edges, edges);
    let held = mem::replace(&mut model.held, held);
    let changed = mem::replace(&mut model.virtual_changed, vec![object]);
    let at = model.objects.iter().position(|known| known.id == object);
    let before = at.map(|at| model.objects[at].owner);
    if let (Some(at), Some(owner)) = (at, owner) {
        model.objects[at].owner = owner;
    }
    let answer = ask(model);
    if let (Some(at), Some(before)) = (at, before) {
        model.objects[at].owner = before;
    }
    (model.edges, model.held, model.virtual_changed) = (edges, held, changed);
    answer
}

fn as_held(object: ObjectId, entry: &AclEntry) -> ModelGrant {
    let list = |set: PrivilegeSet| set.iter().collect();
    ModelGrant {
        object,
        grantee: entry.grantee,
        privileges: list(entry.privileges),
        grant_options: list(entry.grant_options),
    }
}

/// What is held on `object`, that of what is virtual included, which the twin holds elsewhere until it is changed.
fn held_on(world: &World, object: ObjectId) -> Vec<ModelGrant> {
    let acl = world.state.acl(object).cloned().unwrap_or_default();
    acl.entries().iter().map(|entry| as_held(object, entry)).collect()
}

// Of a denial.

fn denied_for_want_of(
    world: &mut World,
    asked: Asked,
    missing: &Missing,
    dice: &mut Dice,
    seen: &mut Seen,
) -> Result<(), String> {
    let Asked { principal, object, privilege, .. } = asked;
    let known = |id| world.model.principals.iter().any(|known| known.id == id);
    let form = match missing {
        Missing::Object => {
            let there = world.objects().iter().any(|(known, _)| *known == object && object.0 != 9_999);
            twins::same("whether it is there", &there, &false)?;
            "object"
        }
        Missing::Principal => {
            twins::same("whether it exists", &known(principal), &false)?;
            "principal"
        }
        Missing::NotGrantable => {
            let to = if known(principal) { principal } else { PrincipalId::PUBLIC };
            let granted = grant_by_command(world, asked, to);
            twins::same("whether it could be granted", &granted.map(|answer| answer.is_ok()), &Some(false))?;
            "not grantable"
        }
        Missing::OfSystem => {
            let refused = grant_by_command(world, asked, principal).and_then(Result::err).unwrap_or_default();
            let said = refused.ends_with("on system object");
            twins::same(&format!("whether it is the system's, which says {refused}"), &said, &true)?;
            "of the system"
        }
        Missing::Grant { to, owner } => {
            twins::same("who comes first", &to.first(), &Some(&principal))?;
            let expected = world.model.objects.iter().find(|known| known.id == object);
            let expected = expected.map(|known| known.owner).filter(|owner| *owner != PrincipalId::NODE);
            twins::same("the owner", owner, &expected)?;
            let mut roles = world.model.acts_as(principal);
            let mut named = to.clone();
            roles.sort();
            named.sort();
            twins::same("whom it may be granted to", &named, &roles)?;
            for role in to {
                let mut held = held_on(world, object);
                let list = || vec![privilege];
                let (privileges, grant_options) = (list(), list());
                held.push(ModelGrant { object, grantee: *role, privileges, grant_options });
                let edges = world.model.edges.clone();
                let now =
                    altered(&mut world.model, object, edges, held, None, |model| asked.twin_says(model));
                twins::same(&format!("with a grant to {role}"), &now, &true)?;
            }
            let role = *dice.one(to);
            let now = grant_by_command(world, asked, role);
            twins::same(&format!("after GRANT to {role}"), &now, &Some(Ok(true)))?;
            "grant"
        }
    };
    *seen.missing.entry(form).or_default() += 1;
    Ok(())
}

/// What is decided after root's GRANT, which is taken back; the error: what it was refused with. None: the object has no
/// name that a statement could have.
fn grant_by_command(world: &World, asked: Asked, to: PrincipalId) -> Option<Result<bool, String>> {
    let command = Command::Grant {
        privileges: vec![asked.privilege],
        on: targets(world, asked.object)?,
        to: vec![RoleSpec::Name(world.model.principal_name(to))],
        grant_option: asked.option,
    };
    let mut state = world.state.clone();
    let version = Version(world.version + 1);
    let root = Actor::of(PrincipalId::ROOT);
    // A database that is always there: what is virtual is in each.
    let context = NameContext { database: Some("system".into()), search_path: Vec::new() };
    let outcome = state.apply(version, Timestamp::default(), root, &context, &command, &mut Vec::new());
    let view = world.view.next(version, state);
    let Asked { principal, object, privilege, option } = asked;
    Some(match outcome {
        Outcome::Refused(refusal) => Err(refusal.message),
        Outcome::Done(_) if option => Ok(decide::holds_grant_option(&view, principal, object, privilege)),
        Outcome::Done(_) => Ok(decide::holds(&view, principal, object, privilege)),
    })
}

fn context() -> NameContext {
    NameContext { database: Some("shop".into()), search_path: vec!["public".into()] }
}

/// What GRANT names an object by.
fn targets(world: &World, id: ObjectId) -> Option<Targets> {
    if id == ObjectId::CLUSTER {
        return Some(Targets::System);
    }
    let state = &world.state;
    let object = state.object(id)?;
    let mut parts = vec![object.name.clone()];
    let mut at = object.parent;
    while let Some(parent) = state.object(at) {
        parts.insert(0, parent.name.clone());
        at = parent.parent;
    }
    let name = ObjectName { parts: parts.clone() };
    Some(match &object.body {
        Body::Database => Targets::Databases(vec![object.name.clone()]),
        Body::Schema => {
            let database = (parts.len() == 2).then(|| parts[0].clone());
            Targets::Schemas(vec![SchemaName { database, schema: object.name.clone() }])
        }
        Body::Table(_) | Body::View(_) | Body::VirtualTable | Body::Sequence(_) => {
            Targets::Tables(vec![TablePattern::Table(name)])
        }
        Body::Type(_) => Targets::Types(vec![name]),
        Body::Function(function) => {
            let arguments = Some(function.argument_types().map(TypeName::Known).collect());
            Targets::Functions(vec![FunctionName { name, arguments }])
        }
        Body::ExternalConnection(_) => Targets::ExternalConnections(vec![object.name.clone()]),
        Body::IamRole => Targets::IamRoles(vec![object.name.clone()]),
    })
}

// The catalogs.

/// Numbers that look random.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: u64) -> u64 {
        // xorshift64*, which is good enough to choose by.
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) % bound
    }

    fn one<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        let at = self.below(of.len() as u64);
        &of[usize::try_from(at).expect("it is less than the length")]
    }
}

/// A catalog with chains of roles, grants to all of them, owners and memberships in `admin`, and then a generated history.
fn rich_world(dice: &mut Dice, runner: &mut TestRunner) -> Result<World, String> {
    let mut world = World::bootstrap();
    for step in generate::beginning() {
        world.step(&step)?;
    }
    let mut names: Vec<String> = ROLES.iter().map(|name| (*name).to_owned()).collect();
    let root = Actor::of(PrincipalId::ROOT);
    for number in 0..MORE_ROLES {
        let name = format!("r{number}");
        let role = RoleSpec::Name(RoleName::normalize(&name));
        let make =
            Command::CreateRole { name: role, is_role: true, if_not_exists: false, options: Vec::new() };
        world.tell(root, &context(), &make)?;
        names.push(name);
    }
    for _ in 0..STATEMENTS {
        let command = statement(dice, &names);
        world.tell(root, &context(), &command)?;
    }
    for _ in 0..STEPS {
        let step = generate::step().new_tree(runner).map_err(|reason| reason.to_string())?.current();
        world.step(&step)?;
    }
    Ok(world)
}

fn statement(dice: &mut Dice, names: &[String]) -> Command {
    let spec = |name: &str| RoleSpec::Name(RoleName::normalize(name));
    let some = dice.one(names).clone();
    match dice.below(20) {
        0..6 => {
            // Mostly to a neighbour, so that chains are long; never back, so that few are refused.
            let at = dice.below(names.len() as u64 - 1);
            let further = (at + 1 + dice.below(3)).min(names.len() as u64 - 1);
            let [member, role] = [at, further].map(|at| names[usize::try_from(at).expect("small")].clone());
            let role = if dice.below(25) == 0 { "admin".to_owned() } else { role };
            let (roles, members) = (vec![RoleName::normalize(&role)], vec![spec(&member)]);
            Command::GrantRoles { roles, members, admin_option: dice.below(4) == 0 }
        }
        6..8 => {
            let parts = vec!["shop".into(), (*dice.one(&SCHEMAS[..2])).into(), (*dice.one(&TABLES)).into()];
            let object = OwnedName::Table(ObjectName { parts });
            Command::AlterOwner { object, if_exists: true, owner: spec(&some) }
        }
        act => {
            let (on, kinds) = granted_on(dice);
            let legal: Vec<_> = kinds.legal().iter().collect();
            let privileges = vec![*dice.one(&legal)];
            let who = if dice.below(8) == 0 { "public" } else { some.as_str() };
            let option = dice.below(3) == 0;
            if act < 18 {
                let grant_option = option && who != "public";
                Command::Grant { privileges, on, to: vec![spec(who)], grant_option }
            } else {
                Command::Revoke { privileges, on, from: vec![spec(who)], grant_option_only: option }
            }
        }
    }
}

fn granted_on(dice: &mut Dice) -> (Targets, ObjectKind) {
    let place = |dice: &mut Dice, names: &[&str]| ObjectName {
        parts: vec!["shop".into(), (*dice.one(&SCHEMAS[..2])).into(), {
            let name: &&str = dice.one(names);
            Name::normalize(name)
        }],
    };
    match dice.below(12) {
        0..6 => (Targets::Tables(vec![TablePattern::Table(place(dice, &TABLES))]), ObjectKind::Table),
        6 => (Targets::Databases(vec![(*dice.one(&DATABASES)).into()]), ObjectKind::Database),
        7 => {
            let schema = (*dice.one(&SCHEMAS)).into();
            (Targets::Schemas(vec![SchemaName { database: None, schema }]), ObjectKind::Schema)
        }
        8 => (Targets::Types(vec![place(dice, &TYPES)]), ObjectKind::Type),
        9 => {
            let name = ObjectName { parts: vec!["pg_catalog".into(), "pg_class".into()] };
            (Targets::Tables(vec![TablePattern::Table(name)]), ObjectKind::VirtualTable)
        }
        10 => {
            let connection = (*dice.one(&generate::CONNECTIONS)).into();
            (Targets::ExternalConnections(vec![connection]), ObjectKind::ExternalConnection)
        }
        _ => (Targets::System, ObjectKind::Cluster),
    }
}
