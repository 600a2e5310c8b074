//! casbin, RBAC: each grant of one privilege is a rule, and so is each owner; each membership is a grouping rule.

use std::time::Duration;

use casbin::{CoreApi, DefaultModel, Enforcer, MemoryAdapter, MgmtApi};
use futures::future::LocalBoxFuture;

use crate::load::{Round, Subject, closed_in_process};
use crate::peers::Peer;
use crate::workload::{Question, Size, World};

type Failed = Box<dyn std::error::Error>;

/// What it is called with about 1,000 rules, and with 10,000.
pub const NAME_1K: &str = "casbin, 1k rules";
/// See [`NAME_1K`].
pub const NAME_10K: &str = "casbin, 10k rules";

/// casbin looks at each rule at each question. These worlds have about 1,000 and 10,000, what owners hold included.
pub const RULES_1K: Size = Size { users: 100, roles: 20, tables: 100, grants: 460 };
/// See [`RULES_1K`].
pub const RULES_10K: Size = Size { users: 1_000, roles: 100, tables: 1_000, grants: 4_600 };
/// Answers that are compared: each takes milliseconds.
pub const SAMPLE: usize = 200;
/// How many times as long as grantd it shall take with 10,000 rules.
const GOAL: f64 = 50_000.0;

const MODEL: &str = r#"
[request_definition]
r = sub, obj, act

[policy_definition]
p = sub, obj, act

[role_definition]
g = _, _

[policy_effect]
e = some(where (p.eft == allow))

[matchers]
m = r.obj == p.obj && (p.act == "*" || r.act == p.act) && g(r.sub, p.sub)
"#;

/// An enforcer with its rules, and questions in its words.
pub struct Casbin {
    name: &'static str,
    enforcer: Enforcer,
    questions: Vec<[String; 3]>,
    next: usize,
}

impl Casbin {
    /// Tells it the world.
    pub async fn new(name: &'static str, world: &World, questions: &[Question]) -> Result<Self, Failed> {
        let mut enforcer =
            Enforcer::new(DefaultModel::from_str(MODEL).await?, MemoryAdapter::default()).await?;
        let mut rules = Vec::new();
        for (table, owner) in world.owners.iter().enumerate() {
            rules.push(vec![world.name(*owner), World::table_name(table), "*".to_owned()]);
        }
        for grant in &world.grants {
            for privilege in grant.privileges.iter() {
                let who = world.name(grant.grantee);
                rules.push(vec![who, World::table_name(grant.table), privilege.word().to_owned()]);
            }
        }
        let memberships: Vec<_> = world
            .member_of
            .iter()
            .enumerate()
            .flat_map(|(who, roles)| roles.iter().map(move |role| vec![world.name(who), world.name(*role)]))
            .collect();
        enforcer.add_policies(rules).await?;
        enforcer.add_grouping_policies(memberships).await?;
        let words = |question: &Question| {
            let privilege = question.privilege.word().to_owned();
            [world.name(question.who), World::table_name(question.table), privilege]
        };
        Ok(Self { name, enforcer, questions: questions.iter().map(words).collect(), next: 0 })
    }

    fn allows(&self, number: usize) -> Result<bool, Failed> {
        let [who, table, privilege] = &self.questions[number % self.questions.len()];
        Ok(self.enforcer.enforce((who.as_str(), table.as_str(), privilege.as_str()))?)
    }
}

impl Subject for Casbin {
    fn name(&self) -> String {
        self.name.to_owned()
    }

    fn round(&mut self, length: Duration) -> LocalBoxFuture<'_, Result<Round, Failed>> {
        let mut next = self.next;
        let round = closed_in_process(length, || {
            next += 1;
            self.allows(next).map(drop)
        });
        self.next = next;
        Box::pin(async move { round })
    }
}

impl Peer for Casbin {
    fn answers(&mut self, count: usize) -> LocalBoxFuture<'_, Result<Vec<bool>, Failed>> {
        let count = count.min(self.questions.len());
        let answers = (0..count).map(|number| self.allows(number)).collect();
        Box::pin(async move { answers })
    }

    fn goal(&self) -> Option<f64> {
        (self.name == NAME_10K).then_some(GOAL)
    }
}
