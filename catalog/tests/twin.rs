//! The engine against its slow twin: generated histories, every outcome, record, decision and listing.
//!
//! A run prints its seed; `PROPTEST_RNG_SEED=<seed>` repeats it. Failing histories are kept in `twin.regressions` and
//! tried first ever after.

mod twins;

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::Arc;

use proptest::prelude::*;
use proptest::sample::select;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, FileFailurePersistence, RngSeed, TestCaseError, TestError, TestRunner};

use grantd_catalog::command::{Actor, Command, NameContext, Outcome, RoleSpec, TablePattern, Targets};
use grantd_catalog::decide;
use grantd_catalog::id::{ObjectId, PrincipalId, Version};
use grantd_catalog::invariant;
use grantd_catalog::name::{Name, RoleName};
use grantd_catalog::privilege::Privilege;
use grantd_catalog::spec::generate::{self, Step, beginning, history};
use grantd_catalog::state::State;
use grantd_catalog::view::View;

use twins::World;

/// How many histories a run compares command by command: with the generated statements of each more than
/// [`COMMANDS_MIN`].
const HISTORIES: u32 = 760;
const STEPS: usize = 50;
const COMMANDS_MIN: u64 = 50_000;
/// How many histories a run asks about everything that it led to.
const ASKED: u32 = 120;
/// How many histories the smaller properties look at.
const WORLDS: u32 = 40;

#[test]
fn the_engine_and_its_twin_agree_on_every_outcome_and_record_and_every_invariant_holds() {
    let (commands, done) = (Cell::new(0), Cell::new(0));
    let seen = RefCell::new(BTreeMap::<String, (u64, u64)>::new());
    check(HISTORIES, &history(STEPS), |steps| {
        let mut world = World::bootstrap();
        for (i, step) in steps.iter().enumerate() {
            let outcome = world.step(step)?;
            let broken = invariant::check_all(&world.state);
            twins::same(&format!("what is broken after {step:?}"), &broken, &Vec::new())?;
            if i % 20 == 19 {
                world.compare_records()?;
            }
            for form in twins::forms(&step.command) {
                let mut seen = seen.borrow_mut();
                let (applied, refused) = seen.entry(form).or_default();
                match outcome {
                    Outcome::Done(_) => *applied += 1,
                    Outcome::Refused(_) => *refused += 1,
                }
            }
        }
        commands.set(commands.get() + steps.len() as u64);
        done.set(done.get() + world.done);
        world.compare_records()
    });
    println!("{} commands compared, {} of them applied", commands.get(), done.get());
    let seen = seen.into_inner();
    for (form, (applied, refused)) in &seen {
        println!("{form:<40} {applied:>6} applied {refused:>6} refused");
    }
    assert!(commands.get() >= COMMANDS_MIN);
    assert!(done.get() * 4 >= commands.get(), "too many generated commands are refused to reach deep states");
    for form in twins::every_form() {
        let (applied, refused) = seen.get(&form).copied().unwrap_or_default();
        assert!(applied > 0 && refused > 0, "{form}: {applied} applied, {refused} refused");
    }
}

#[test]
fn the_engine_and_its_twin_agree_on_every_decision_and_listing() {
    let turn = Cell::new(0);
    check(ASKED, &history(STEPS), |steps| {
        let mut world = World::bootstrap();
        for step in &steps {
            world.step(step)?;
        }
        turn.set(turn.get() + 1);
        world.compare_decisions(&world.view)?;
        let built = View::build(Version(world.version), world.state.clone());
        match turn.get() % 8 {
            0 | 4 => world.compare_decisions(&built),
            1 | 5 => world.compare_requirements(&world.view),
            2 => world.compare_listings(&world.view),
            6 => world.compare_listings(&built),
            _ => Ok(()),
        }
    });
}

#[test]
fn the_engine_and_its_twin_agree_on_every_turn_that_one_table_can_take() {
    check(WORLDS * 3, &generate::focused_history(STEPS), |steps| {
        let mut world = World::bootstrap();
        for step in &steps {
            world.step(step)?;
        }
        world.compare_records()?;
        world.compare_decisions(&world.view)
    });
}

#[test]
fn a_view_made_step_by_step_answers_like_one_built_from_scratch() {
    check(WORLDS, &history(STEPS), |steps| {
        let mut world = World::bootstrap();
        for (i, step) in steps.iter().enumerate() {
            world.step(step)?;
            if i % 10 == 0 {
                let built = View::build(Version(world.version), world.state.clone());
                same_answers(&world, &world.view, &built)?;
                twins::same("whether the views are equal", &(*world.view == built), &true)?;
            }
        }
        Ok(())
    });
}

#[test]
fn the_changes_of_a_history_are_the_records_of_the_state_it_leads_to() {
    check(WORLDS, &history(STEPS), |steps| {
        let mut world = World::bootstrap();
        for step in &steps {
            world.step(step)?;
        }
        let restored = State::restore(world.records.clone()).map_err(|error| error.to_string())?;
        twins::same("whether the restored state is equal", &(restored == world.state), &true)
    });
}

#[test]
fn a_refusal_changes_nothing() {
    check(WORLDS, &history(STEPS), |steps| {
        let mut world = World::bootstrap();
        for step in &steps {
            let before = world.state.clone();
            let outcome = world.step(step)?;
            let changed = match outcome {
                Outcome::Done(done) => done.changed,
                Outcome::Refused(_) => false,
            };
            twins::same(&format!("whether {step:?} changed anything"), &changed, &(before != world.state))?;
        }
        Ok(())
    });
}

#[test]
fn default_is_deny() {
    check(WORLDS, &history(STEPS), |steps| {
        let mut world = World::bootstrap();
        for step in &steps {
            world.step(step)?;
        }
        let stranger = RoleSpec::Name(RoleName::normalize("stranger"));
        let create =
            Command::CreateRole { name: stranger, is_role: true, if_not_exists: false, options: Vec::new() };
        world.tell(Actor::of(PrincipalId::ROOT), &in_shop(), &create)?;
        let stranger = world.principal(&RoleName::normalize("stranger"));
        for (object, kind) in world.objects() {
            for privilege in kind.legal().iter() {
                let by_public = grant_covers(&world.state, object, PrincipalId::PUBLIC, privilege);
                let held = decide::holds(&world.view, stranger, object, privilege);
                twins::same(&format!("a stranger's {privilege} on {object}"), &held, &by_public)?;
                let option = decide::holds_grant_option(&world.view, stranger, object, privilege);
                twins::same("a stranger's grant option", &option, &false)?;
            }
        }
        Ok(())
    });
}

#[test]
fn allowed_only_if_granted_owned_or_admin() {
    check(WORLDS, &history(STEPS), |steps| {
        let mut world = World::bootstrap();
        for step in &steps {
            world.step(step)?;
        }
        for principal in world.principals() {
            let roles = closure(&world.state, principal);
            for (object, kind) in world.objects() {
                for privilege in kind.legal().iter() {
                    if !decide::holds(&world.view, principal, object, privilege) {
                        continue;
                    }
                    let granted = roles
                        .iter()
                        .chain([&PrincipalId::PUBLIC])
                        .any(|role| grant_covers(&world.state, object, *role, privilege));
                    let owned = object != ObjectId::CLUSTER
                        && world.state.object(object).is_some_and(|object| roles.contains(&object.owner));
                    let admin = kind.is_held_by_rank()
                        && roles.contains(&PrincipalId::ADMIN)
                        && privilege != Privilege::NoSqlLogin;
                    if !granted && !owned && !admin {
                        return Err(format!("{principal} holds {privilege} on {object} for no reason"));
                    }
                }
            }
        }
        Ok(())
    });
}

#[test]
fn adding_a_grant_never_takes_an_allow_away() {
    let strategy = (history(STEPS), prop::collection::vec(generate::grant(), 1..6));
    check(WORLDS, &strategy, |(steps, grants)| {
        let mut world = World::bootstrap();
        for step in &steps {
            world.step(step)?;
        }
        for grant in &grants {
            let before = Arc::clone(&world.view);
            world.tell(Actor::of(PrincipalId::ROOT), &in_shop(), grant)?;
            for (object, kind) in world.objects() {
                for principal in world.principals() {
                    for privilege in kind.legal().iter() {
                        let asked = format!("{principal}, {object}, {privilege} after {grant:?}");
                        let lost = decide::holds(&before, principal, object, privilege)
                            && !decide::holds(&world.view, principal, object, privilege);
                        twins::same(&format!("lost {asked}"), &lost, &false)?;
                        let lost = decide::holds_grant_option(&before, principal, object, privilege)
                            && !decide::holds_grant_option(&world.view, principal, object, privilege);
                        twins::same(&format!("lost the grant option {asked}"), &lost, &false)?;
                    }
                }
            }
        }
        Ok(())
    });
}

#[test]
fn order_and_repetition_of_independent_grants_do_not_matter() {
    let strategy = prop::collection::vec(generate::grant(), 2..12)
        .prop_flat_map(|grants| (Just(grants.clone()), Just(grants).prop_shuffle(), any::<bool>()));
    check(WORLDS, &strategy, |(grants, shuffled, twice)| {
        let mut one = begun()?;
        let mut other = begun()?;
        // Only those that succeed alone: a GRANT that is refused says nothing about order.
        for grant in &grants {
            one.tell(Actor::of(PrincipalId::ROOT), &in_shop(), grant)?;
        }
        for grant in &shuffled {
            for _ in 0..=usize::from(twice) {
                other.tell(Actor::of(PrincipalId::ROOT), &in_shop(), grant)?;
            }
        }
        same_answers(&one, &one.view, &other.view)
    });
}

/// A decider with a known defect, made from the right answer and the stored catalog.
struct Planted {
    name: &'static str,
    holds: fn(&World, PrincipalId, ObjectId, Privilege) -> bool,
    holds_grant_option: fn(&World, PrincipalId, ObjectId, Privilege) -> bool,
}

const PLANTED: [Planted; 8] = [
    Planted {
        name: "ownership does not pass through roles",
        holds: |world, principal, object, privilege| {
            let granted = closure(&world.state, principal)
                .iter()
                .chain([&PrincipalId::PUBLIC])
                .any(|role| grant_covers(&world.state, object, *role, privilege));
            let owner = world.state.object(object).map(|object| object.owner);
            right(world, principal, object, privilege)
                && (granted || object == ObjectId::CLUSTER || owner == Some(principal))
        },
        holds_grant_option: right_option,
    },
    Planted {
        name: "public is asked only for those who hold nothing",
        holds: |world, principal, object, privilege| {
            let own = closure(&world.state, principal)
                .iter()
                .any(|role| world.state.acl(object).is_some_and(|acl| acl.entry(*role).is_some()));
            let granted = closure(&world.state, principal)
                .iter()
                .any(|role| grant_covers(&world.state, object, *role, privilege));
            let owned = world
                .state
                .object(object)
                .is_some_and(|object| closure(&world.state, principal).contains(&object.owner));
            right(world, principal, object, privilege)
                && (!own || granted || owned || object == ObjectId::CLUSTER)
        },
        holds_grant_option: right_option,
    },
    Planted {
        name: "membership is one level deep",
        holds: |world, principal, object, privilege| {
            let direct = world.state.memberships().filter(|edge| edge.member == principal);
            right(world, principal, object, privilege)
                && direct.map(|edge| edge.role).chain([principal, PrincipalId::PUBLIC]).any(|role| {
                    grant_covers(&world.state, object, role, privilege)
                        || object == ObjectId::CLUSTER
                        || world.state.object(object).is_some_and(|object| object.owner == role)
                })
        },
        holds_grant_option: right_option,
    },
    Planted {
        name: "ALL on the cluster forbids to log in",
        holds: |world, principal, object, privilege| {
            right(world, principal, object, privilege)
                || privilege == Privilege::NoSqlLogin && right(world, principal, object, Privilege::All)
        },
        holds_grant_option: right_option,
    },
    Planted {
        name: "admins hold everything everywhere",
        holds: |world, principal, object, privilege| {
            right(world, principal, object, privilege)
                || closure(&world.state, principal).contains(&PrincipalId::ADMIN)
        },
        holds_grant_option: right_option,
    },
    Planted { name: "whoever holds a privilege may grant it", holds: right, holds_grant_option: right },
    Planted {
        name: "an owner needs the grant option",
        holds: right,
        holds_grant_option: |world, principal, object, privilege| {
            let owned = world
                .state
                .object(object)
                .is_some_and(|object| closure(&world.state, principal).contains(&object.owner));
            right_option(world, principal, object, privilege) && !owned
        },
    },
    Planted {
        name: "the database's ALL reaches into its schemas",
        holds: |world, principal, object, privilege| {
            let parent = world.state.object(object).map_or(ObjectId::CLUSTER, |object| object.parent);
            right(world, principal, object, privilege)
                || (parent != ObjectId::CLUSTER && right(world, principal, parent, Privilege::All))
        },
        holds_grant_option: right_option,
    },
];

#[test]
fn a_planted_defect_in_decide_is_caught_by_the_comparison() {
    for planted in PLANTED {
        let caught = worlds(200).any(|world| {
            world
                .compare_holds(
                    &|principal, object, privilege| (planted.holds)(&world, principal, object, privilege),
                    &|principal, object, privilege| {
                        (planted.holds_grant_option)(&world, principal, object, privilege)
                    },
                )
                .is_err()
        });
        assert!(caught, "nobody noticed that {}", planted.name);
    }
}

#[test]
fn the_right_decide_passes_where_the_planted_ones_are_caught() {
    for world in worlds(10) {
        world
            .compare_holds(
                &|principal, object, privilege| right(&world, principal, object, privilege),
                &|principal, object, privilege| right_option(&world, principal, object, privilege),
            )
            .expect("the wrapper itself changes nothing");
    }
}

#[test]
fn a_view_that_misses_one_command_is_caught_by_the_comparison() {
    let mut runner = seeded();
    let caught = (0..50).any(|_| {
        let steps = generated(&mut runner, &history(STEPS));
        let mut world = World::bootstrap();
        let mut stale = Arc::clone(&world.view);
        for step in &steps {
            stale = Arc::clone(&world.view);
            world.step(step).expect("engine and twin agree");
        }
        world.compare_decisions(&stale).is_err()
    });
    assert!(caught);
}

/// T-28. The defect shows only in lists, so it is planted where lists are judged: in the outcome of GRANT.
#[test]
fn grant_options_merged_across_roles_are_caught_by_the_comparison() {
    let list =
        || prop::sample::subsequence(vec![Privilege::Select, Privilege::Insert, Privilege::Update], 1..=2);
    let to_roles = prop::collection::vec((select(vec!["crew", "leads"]), list()), 2..4);
    let mut runner = seeded();
    let caught = (0..100).any(|_| {
        let mut world = begun().expect("the beginning applies");
        let root = Actor::of(PrincipalId::ROOT);
        for role in ["crew", "leads"] {
            let join = Command::GrantRoles {
                roles: vec![role.into()],
                members: vec![RoleSpec::Name("amy".into())],
                admin_option: false,
            };
            world.tell(root, &in_shop(), &join).expect("engine and twin agree");
        }
        for (role, privileges) in generated(&mut runner, &to_roles) {
            let grant = grant_on_item(privileges, role, true);
            world.tell(root, &in_shop(), &grant).expect("engine and twin agree");
        }
        let amy = world.principal(&"amy".into());
        let privileges = generated(&mut runner, &list());
        let item = world.state.resolve_relation(&in_shop(), &item()).expect("made in the beginning");
        let merged = privileges.iter().all(|privilege| right_option(&world, amy, item, *privilege));
        let outcome = world
            .tell(Actor::of(amy), &in_shop(), &grant_on_item(privileges, "ben", false))
            .expect("engine and twin agree");
        merged && matches!(outcome, Outcome::Refused(_))
    });
    assert!(caught, "no generated grant tells merged options from those of one role");
}

// Helpers.

fn right(world: &World, principal: PrincipalId, object: ObjectId, privilege: Privilege) -> bool {
    decide::holds(&world.view, principal, object, privilege)
}

fn right_option(world: &World, principal: PrincipalId, object: ObjectId, privilege: Privilege) -> bool {
    decide::holds_grant_option(&world.view, principal, object, privilege)
}

/// `principal` and what it belongs to, read off the stored edges.
fn closure(state: &State, principal: PrincipalId) -> BTreeSet<PrincipalId> {
    let mut roles = BTreeSet::from([principal]);
    loop {
        let more: Vec<_> = state
            .memberships()
            .filter(|edge| roles.contains(&edge.member) && !roles.contains(&edge.role))
            .map(|edge| edge.role)
            .collect();
        if more.is_empty() {
            return roles;
        }
        roles.extend(more);
    }
}

/// Whether the stored entry of exactly `grantee` covers `privilege`.
fn grant_covers(state: &State, object: ObjectId, grantee: PrincipalId, privilege: Privilege) -> bool {
    state
        .acl(object)
        .and_then(|acl| acl.entry(grantee))
        .is_some_and(|entry| entry.privileges.covers(privilege))
}

fn same_answers(world: &World, one: &View, other: &View) -> Result<(), String> {
    for (object, kind) in world.objects() {
        for principal in world.principals() {
            for privilege in kind.legal().iter() {
                let asked = format!("{principal}, {object}, {privilege}");
                let held = |view| decide::holds(view, principal, object, privilege);
                twins::same(&asked, &held(one), &held(other))?;
                let option = |view| decide::holds_grant_option(view, principal, object, privilege);
                twins::same(&asked, &option(one), &option(other))?;
            }
        }
    }
    Ok(())
}

fn in_shop() -> NameContext {
    NameContext { database: Some("shop".into()), search_path: vec![Name::normalize("public")] }
}

fn item() -> grantd_catalog::command::ObjectName {
    grantd_catalog::command::ObjectName { parts: vec!["item".into()] }
}

fn grant_on_item(privileges: Vec<Privilege>, to: &str, grant_option: bool) -> Command {
    Command::Grant {
        privileges,
        on: Targets::Tables(vec![TablePattern::Table(item())]),
        to: vec![RoleSpec::Name(to.into())],
        grant_option,
    }
}

/// A world after the whole fixed beginning.
fn begun() -> Result<World, String> {
    let mut world = World::bootstrap();
    for step in beginning() {
        world.step(&step)?;
    }
    Ok(world)
}

/// Worlds after generated histories, always the same ones.
fn worlds(count: usize) -> impl Iterator<Item = World> {
    let mut runner = seeded();
    std::iter::repeat_with(move || {
        let steps: Vec<Step> = generated(&mut runner, &history(STEPS));
        let mut world = World::bootstrap();
        for step in &steps {
            world.step(step).expect("engine and twin agree");
        }
        world
    })
    .take(count)
}

fn seeded() -> TestRunner {
    TestRunner::new(Config {
        rng_seed: RngSeed::Fixed(20_261_121),
        failure_persistence: None,
        ..Config::default()
    })
}

fn generated<S: Strategy>(runner: &mut TestRunner, strategy: &S) -> S::Value {
    strategy.new_tree(runner).expect("no filter rejects").current()
}

/// Runs a property, after every history that ever failed one of this file.
fn check<S: Strategy>(cases: u32, strategy: &S, property: impl Fn(S::Value) -> Result<(), String>)
where
    S::Value: Debug,
{
    let mut config = Config {
        cases,
        max_shrink_iters: 4_000,
        failure_persistence: Some(Box::new(FileFailurePersistence::Direct(concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/tests/twin.regressions"
        )))),
        ..Config::default()
    };
    if config.rng_seed == RngSeed::Random {
        config.rng_seed = RngSeed::Fixed(RandomState::new().build_hasher().finish());
    }
    println!("{:?}", config.rng_seed);
    match TestRunner::new(config).run(strategy, |value| property(value).map_err(TestCaseError::fail)) {
        Ok(()) => {}
        Err(TestError::Abort(reason)) => panic!("{reason}"),
        Err(TestError::Fail(reason, smallest)) => panic!("{reason}\n  after: {smallest:?}"),
    }
}
