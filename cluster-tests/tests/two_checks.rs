//! The two checks of each statement, and a third opinion: generated statements of users with generated grants.
//!
//! For each statement `two_checks/reference.rs` says, from the specification and the statement's own tree alone, what
//! it needs, and so whether its user may run it. Compared with that are the requirement that the planner computes, and
//! what the engine does: it runs, or it is refused with 42501 for something that is missing indeed. What SQLite reports
//! must be covered by the plan. Then holes are planted: each need is taken out of each plan in turn, and the second
//! check must see that, but for the needs that leave no trace in the row store, which are listed and counted.
//! `GRANTD_CHECKS_SEED` chooses other statements.

#![allow(clippy::print_stderr, reason = "tests")]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use grantd_catalog::command::{Actor, NameContext};
use grantd_catalog::id::{ObjectId, PrincipalId};
use grantd_catalog::name::{Name, RoleName};
use grantd_catalog::object::Body;
use grantd_catalog::privilege::Privilege;
use grantd_catalog::require::Need;
use grantd_catalog::view::View;
use grantd_cluster_tests::dice::Dice;
use grantd_node::error::SqlError;
use grantd_node::gate::Replica;
use grantd_node::session::Session;
use grantd_node::sql::execute::{self, Engine, Place};
use grantd_node::sql::parse;
use grantd_node::sql::plan::{Origin, Plan};
use grantd_node::sql::system::variable;
use grantd_raft::rows::Access;

use self::generate::{Generator, Statement};
use self::local::Local;
use self::reference::{Needed, World};

#[path = "two_checks/generate.rs"]
mod generate;
#[path = "../../node/tests/sql/local.rs"]
#[allow(dead_code, clippy::unwrap_used, reason = "shared with the tests of node, which use the rest")]
mod local;
#[path = "two_checks/reference.rs"]
mod reference;

const SEED: u64 = 4;
/// How many users, each with other grants.
const USERS: usize = 28;
/// How many statements of each.
const STATEMENTS: usize = 75;

/// What a statement may take: it is decided before.
const TIMEOUT: &str = "SET statement_timeout = '300ms'";
/// How many that disagree are shown.
const SHOWN_MAX: usize = 5;

/// One node without a cluster, with the objects of the reference and users who hold some of them.
struct Stage {
    _directory: tempfile::TempDir,
    replica: Arc<Local>,
    engine: Engine,
}

impl Stage {
    async fn new() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let replica = Arc::new(Local::new(directory.path()));
        let engine = Engine::new(replica.clone());
        let stage = Self { _directory: directory, replica, engine };
        for statement in reference::OBJECTS {
            stage.root(statement).await;
        }
        stage
    }

    fn session(&self, user: &str) -> Session {
        let view = self.replica.current();
        let id = view.state().principal_id(&RoleName::normalize(user)).expect("the user exists");
        let mut session = Session::new(Actor::of(id), Some(Name::normalize("defaultdb")));
        variable::begin(&mut session, &view);
        session
    }

    async fn root(&self, statement: &str) {
        let done = self.run("root", statement).await;
        done.unwrap_or_else(|error| panic!("{statement}: {:?}", error.body));
    }

    async fn run(&self, user: &str, text: &str) -> Result<(), SqlError> {
        let mut session = self.session(user);
        self.engine.run(&mut session, TIMEOUT, Place::Alone).await?;
        for statement in self.engine.split(text)? {
            let prepared = self.engine.prepare(&session, &statement, &[]).await?;
            self.engine.execute(&mut session, &prepared, &[]).await?;
        }
        Ok(())
    }

    /// The plan of a statement, and what SQLite says that it touches.
    async fn planned(&self, text: &str) -> Result<(Plan, Vec<Access>), SqlError> {
        let view = self.replica.current();
        let path = vec![Name::normalize("public")];
        let context = NameContext { database: Some(Name::normalize("defaultdb")), search_path: path };
        // Who asks does not matter to a plan.
        let origin = Origin { view: &view, actor: Actor::of(PrincipalId::ROOT), context: &context };
        let plan = execute::plan_with(origin, &parse::parse(text)?, &[])?;
        let texts: Vec<_> = plan.before.iter().map(|step| &step.sql).chain([&plan.sql]).cloned().collect();
        let (say, said) = tokio::sync::oneshot::channel();
        let read = self.replica.read_rows(Box::new(move |_, rows| {
            let accesses = texts.iter().map(|sql| rows.prepare(sql)).collect::<Result<Vec<_>, _>>();
            let _ = say.send(accesses.map(|of_each| of_each.concat()));
        }));
        read.await.expect("a read");
        let accesses = said.await.expect("an answer").map_err(|error| {
            if error.message.contains("nested too deep") {
                return SqlError::too_large("the statement is nested too deeply");
            }
            SqlError::internal(format!("the row store does not prepare it: {error:?}: {}", plan.sql))
        })?;
        Ok((plan, accesses))
    }
}

/// What a plan needs, in the reference's words.
fn in_words(view: &View, need: &Need) -> Needed {
    let (object, privileges) = match need {
        Need::Privilege { object, privilege } => (*object, vec![*privilege]),
        Need::AnyOf { object, privileges } => (*object, privileges.clone()),
        other => panic!("no statement that is generated needs {other:?}"),
    };
    let mut words: Vec<_> = privileges.iter().map(|privilege| privilege.word().to_owned()).collect();
    words.sort();
    Needed { privilege: words.join(" or "), object: path(view, object) }
}

/// `public.t0`, or the name of a schema.
fn path(view: &View, id: ObjectId) -> String {
    let object = view.state().object(id).expect("an object that is there");
    let name = object.name.as_str();
    if object.body == Body::Schema {
        name.to_owned()
    } else {
        format!("{}.{name}", path(view, object.parent))
    }
}

/// How the row store's table of an object is read beside what views read of it.
#[derive(PartialEq)]
enum Read {
    Columns,
    /// SQLite does not say whether it is a view that counts them.
    RowsOnly,
    No,
}

fn read_by_itself(id: ObjectId, accesses: &[Access]) -> Read {
    let name = format!("t{id}");
    let mut found = Read::No;
    for access in accesses {
        let Access::Read { table, column, within } = access else { continue };
        if *table != name || within.as_ref().is_some_and(|name| name.starts_with('v')) {
            continue;
        }
        if !column.is_empty() {
            return Read::Columns;
        }
        found = Read::RowsOnly;
    }
    found
}

/// Why a need can be taken out unseen; none: the second check must see it. `forgotten`: the plan does not name its
/// object either.
fn leaves_no_trace(
    view: &View,
    (need, forgotten): (&Need, bool),
    plan: &Plan,
    accesses: &[Access],
) -> Option<&'static str> {
    let (object, privilege) = match need {
        Need::Privilege { object, privilege } => (*object, Some(*privilege)),
        Need::AnyOf { object, .. } => (*object, None),
        _ => return None,
    };
    let by_view = plan.expansions.values().any(|expansion| expansion.reads.contains(&object));
    match &view.state().object(object).expect("an object that is there").body {
        Body::Schema => Some("USAGE on a schema: only names need it"),
        Body::Type(_) => Some("USAGE on a type: its values are integers"),
        Body::Table(_) | Body::Sequence(_) => match (privilege, read_by_itself(object, accesses)) {
            (Some(Privilege::Update), _)
                if plan.locks && plan.tag == "SELECT" && !plan.sequences.contains_key(&object) =>
            {
                Some("UPDATE for FOR UPDATE, which changes nothing")
            }
            (Some(Privilege::Select), Read::No) if plan.tag == "SELECT" => {
                Some("SELECT on what SQLite leaves out, for no column of it is named")
            }
            (Some(Privilege::Select), Read::No) => {
                Some("SELECT on what is changed, where no column of it is read")
            }
            (Some(Privilege::Select), Read::RowsOnly) if forgotten && by_view => {
                Some("SELECT on what is only counted, beside a view that reads it")
            }
            _ => None,
        },
        _ => None,
    }
}

/// Takes each need out of the plan, alone and with what the plan knows of its object, and gives what the second check
/// does not miss.
fn plant_holes(
    view: &View,
    plan: &Plan,
    accesses: &[Access],
    tally: &mut BTreeMap<String, usize>,
) -> Vec<String> {
    let mut unseen = Vec::new();
    for (at, need) in plan.requirement.needs.iter().enumerate() {
        for forgotten in [false, true] {
            let mut holed = plan.clone();
            holed.requirement.needs.remove(at);
            let (Need::Privilege { object, .. } | Need::AnyOf { object, .. }) = need else { continue };
            if forgotten && holed.tables.remove(object).is_none() {
                continue;
            }
            let seen = holed.covers(accesses).is_err();
            match leaves_no_trace(view, (need, forgotten), plan, accesses) {
                _ if seen => *tally.entry("holes seen".to_owned()).or_default() += 1,
                Some(why) => *tally.entry(format!("holes unseen: {why}")).or_default() += 1,
                None => unseen.push(format!("without {:?}, forgotten: {forgotten}", in_words(view, need))),
            }
        }
    }
    unseen
}

async fn look_at(
    stage: &Stage,
    world: &World,
    statement: &Statement,
    tally: &mut BTreeMap<String, usize>,
) -> Result<(), String> {
    let text = statement.to_string();
    let needed: BTreeSet<Needed> = reference::needs(statement).into_iter().collect();
    let missing: Vec<_> = needed.iter().filter(|needed| !world.holds(needed)).collect();
    let (plan, accesses) = match stage.planned(&text).await {
        Ok(planned) => planned,
        Err(error) if matches!(error.body.code.as_str(), "0A000" | "54000") => {
            *tally.entry(format!("not here: {}", error.body.message)).or_default() += 1;
            return Ok(());
        }
        Err(error) => return Err(format!("not planned: {:?}", error.body)),
    };
    let view = stage.replica.current();
    let required: BTreeSet<_> = plan.requirement.needs.iter().map(|need| in_words(&view, need)).collect();
    if required != needed {
        let over: Vec<_> = required.difference(&needed).collect();
        let under: Vec<_> = needed.difference(&required).collect();
        return Err(format!("the plan requires too much: {over:?}, and lacks {under:?}"));
    }
    if let Err(hole) = plan.covers(&accesses) {
        return Err(format!("a hole: {hole}: {accesses:?}\n{}", plan.sql));
    }
    let outcome = stage.run(&world.user, &text).await;
    let code = outcome.as_ref().err().map(|error| error.body.code.as_str().to_owned());
    match (missing.is_empty(), code.as_deref()) {
        (true, None) => *tally.entry("allowed".to_owned()).or_default() += 1,
        // Joins of joins: it was let in, and that is all that is asked here.
        (true, Some("57014")) => *tally.entry("allowed, and not waited for".to_owned()).or_default() += 1,
        // What is wrong with the rows is found after all rights.
        (true, Some(code)) if ["21", "22", "23"].contains(&&code[..2]) => {
            *tally.entry("allowed, and refused for its rows".to_owned()).or_default() += 1;
        }
        (false, Some("42501")) => {
            *tally.entry("refused".to_owned()).or_default() += 1;
            let message = outcome.err().map(|error| error.body.message.to_string()).unwrap_or_default();
            let texts: Vec<_> = missing.iter().map(|needed| world.refusal(needed)).collect();
            if !texts.contains(&message) {
                return Err(format!("refused with `{message}`, and missing is {texts:?}"));
            }
        }
        (_, code) => return Err(format!("missing is {missing:?}, and it ends with {code:?}: {outcome:?}")),
    }
    let unseen = plant_holes(&view, &plan, &accesses, tally);
    if unseen.is_empty() {
        Ok(())
    } else {
        Err(format!("unseen holes {unseen:?}: {accesses:?}\n  {}", plan.sql))
    }
}

#[tokio::test]
async fn planner_row_store_and_specification_agree_on_generated_statements() {
    let seed = std::env::var("GRANTD_CHECKS_SEED").map_or(SEED, |seed| seed.parse().expect("a number"));
    let stage = Stage::new().await;
    let mut tally = BTreeMap::new();
    let mut wrong = Vec::new();
    for number in 0..USERS {
        let mut dice = Dice::new(seed.wrapping_mul(1_000).wrapping_add(number as u64));
        let world = World::new(number, &mut dice);
        for statement in &world.grants {
            stage.root(statement).await;
        }
        stage.root(reference::ROWS).await;
        let mut generator = Generator::new(dice);
        for _ in 0..STATEMENTS {
            let statement = generator.statement();
            if let Err(what) = look_at(&stage, &world, &statement, &mut tally).await {
                wrong.push(format!("{}: {statement}\n  {what}", world.user));
            }
        }
    }
    for (what, count) in &tally {
        eprintln!("{count:6} {what}");
    }
    // The shortest say most.
    wrong.sort_by_key(String::len);
    let shown: Vec<_> = wrong.iter().take(SHOWN_MAX).cloned().collect();
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), USERS * STATEMENTS, shown.join("\n"));
    let count = |what: &str| tally.get(what).copied().unwrap_or_default();
    assert!(count("allowed") > USERS * STATEMENTS / 5, "too few are allowed to say anything");
    assert!(count("refused") > USERS * STATEMENTS / 5, "too few are refused to say anything");
}
