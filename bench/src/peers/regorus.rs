//! Rego, run by regorus: one rule over data. For each user the closure of memberships is in the data, computed beforehand.

use std::time::Duration;

use futures::future::LocalBoxFuture;
use regorus::{Engine, Value};
use serde_json::{Map, json};

use crate::load::{Round, Subject, closed_in_process};
use crate::peers::Peer;
use crate::workload::{Question, World};

type Failed = Box<dyn std::error::Error>;

/// What it is called.
const NAME: &str = "regorus, closure precomputed";
/// How many times as long as grantd it shall take.
const GOAL: f64 = 500.0;

const POLICY: &str = r"
package grants
import rego.v1

default allow := false

allow if {
    some role in data.closure[input.who]
    data.grants[input.table][role][input.privilege]
}

allow if data.owners[input.table] in data.closure[input.who]
";
const RULE: &str = "data.grants.allow";

/// The engine with its data, and inputs that are made already.
pub struct Regorus {
    engine: Engine,
    inputs: Vec<Value>,
    next: usize,
}

impl Regorus {
    /// Tells it the world.
    pub fn new(world: &World, questions: &[Question]) -> Result<Self, Failed> {
        let mut engine = Engine::new();
        engine.add_policy("grants.rego".to_owned(), POLICY.to_owned()).map_err(|error| error.to_string())?;
        engine.add_data(value(&data(world))?).map_err(|error| error.to_string())?;
        let input = |question: &Question| {
            value(&json!({
                "who": world.name(question.who),
                "table": World::table_name(question.table),
                "privilege": question.privilege.word(),
            }))
        };
        let inputs = questions.iter().map(input).collect::<Result<_, _>>()?;
        Ok(Self { engine, inputs, next: 0 })
    }

    fn allows(&mut self, number: usize) -> Result<bool, Failed> {
        self.engine.set_input(self.inputs[number % self.inputs.len()].clone());
        let answer = self.engine.eval_rule(RULE.to_owned()).map_err(|error| error.to_string())?;
        Ok(*answer.as_bool().map_err(|error| error.to_string())?)
    }
}

impl Subject for Regorus {
    fn name(&self) -> String {
        NAME.to_owned()
    }

    fn round(&mut self, length: Duration) -> LocalBoxFuture<'_, Result<Round, Failed>> {
        let round = closed_in_process(length, || {
            self.next += 1;
            self.allows(self.next).map(drop)
        });
        Box::pin(async move { round })
    }
}

impl Peer for Regorus {
    fn answers(&mut self, count: usize) -> LocalBoxFuture<'_, Result<Vec<bool>, Failed>> {
        let count = count.min(self.inputs.len());
        let answers = (0..count).map(|number| self.allows(number)).collect();
        Box::pin(async move { answers })
    }

    fn goal(&self) -> Option<f64> {
        Some(GOAL)
    }
}

fn data(world: &World) -> serde_json::Value {
    let users = 0..world.size.users;
    let closure = users.map(|who| {
        let roles: Vec<_> = world.closure(who).into_iter().map(|role| world.name(role)).collect();
        (world.name(who), json!(roles))
    });
    let grants = (0..world.size.tables).map(|table| {
        let grantees = world.grants_on(table).iter().map(|grant| {
            let held: Map<_, _> =
                grant.privileges.iter().map(|privilege| (privilege.word().to_owned(), json!(true))).collect();
            (world.name(grant.grantee), held.into())
        });
        (World::table_name(table), grantees.collect::<Map<_, _>>().into())
    });
    let owners = (0..world.size.tables)
        .map(|table| (World::table_name(table), json!(world.name(world.owners[table]))));
    json!({
        "closure": closure.collect::<Map<_, _>>(),
        "grants": grants.collect::<Map<_, _>>(),
        "owners": owners.collect::<Map<_, _>>(),
    })
}

fn value(json: &serde_json::Value) -> Result<Value, Failed> {
    Ok(Value::from_json_str(&json.to_string()).map_err(|error| error.to_string())?)
}
