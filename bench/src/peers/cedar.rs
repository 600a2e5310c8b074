//! Cedar: users and roles are entities in a hierarchy, tables are entities whose attributes say who holds what. Five
//! policies, whatever the number of grants: the authorizer looks at each policy at each request.

use std::collections::{HashMap, HashSet};
use std::hint::black_box;
use std::str::FromStr;
use std::time::Duration;

use cedar_policy::{
    Authorizer, Context, Decision, Entities, Entity, EntityId, EntityTypeName, EntityUid, PolicySet, Request,
    RestrictedExpression,
};
use futures::future::LocalBoxFuture;

use crate::load::{Round, Subject, closed_in_process};
use crate::peers::Peer;
use crate::workload::{PRIVILEGES, Question, World};

type Failed = Box<dyn std::error::Error>;

/// What it is called.
const NAME: &str = "cedar-policy, grants as data";
/// How many times as long as grantd it shall take.
const GOAL: f64 = 100.0;
/// The attribute of a table that names its owner.
const OWNER: &str = "owner";

/// Policies, entities, and requests that are made already.
pub struct Cedar {
    authorizer: Authorizer,
    policies: PolicySet,
    entities: Entities,
    requests: Vec<Request>,
    next: usize,
}

impl Cedar {
    /// Tells it the world.
    pub fn new(world: &World, questions: &[Question]) -> Result<Self, Failed> {
        let uids = Uids::new()?;
        let mut policies =
            format!("permit(principal, action, resource) when {{ principal in resource.{OWNER} }};\n");
        for privilege in PRIVILEGES {
            let word = privilege.word();
            policies += &format!(
                "permit(principal, action == Action::\"{word}\", resource) when {{ principal in resource.{word} }};\n"
            );
        }
        let mut entities = Vec::new();
        for (who, roles) in world.member_of.iter().enumerate() {
            let parents: HashSet<_> = roles.iter().map(|role| uids.principal(world, *role)).collect();
            entities.push(Entity::new_no_attrs(uids.principal(world, who), parents));
        }
        for table in 0..world.size.tables {
            let mut attributes: HashMap<_, _> = PRIVILEGES
                .iter()
                .map(|privilege| {
                    let grants = world.grants_on(table).iter();
                    let holders = grants.filter(|grant| grant.privileges.contains(*privilege)).map(|grant| {
                        RestrictedExpression::new_entity_uid(uids.principal(world, grant.grantee))
                    });
                    (privilege.word().to_owned(), RestrictedExpression::new_set(holders))
                })
                .collect();
            let owner = uids.principal(world, world.owners[table]);
            attributes.insert(OWNER.to_owned(), RestrictedExpression::new_entity_uid(owner));
            entities.push(Entity::new(uids.table(table), attributes, HashSet::new())?);
        }
        let request = |question: &Question| {
            let who = uids.principal(world, question.who);
            let action = uids.action(question.privilege.word());
            let request = Request::new(who, action, uids.table(question.table), Context::empty(), None);
            request.map_err(|error| error.to_string())
        };
        Ok(Self {
            authorizer: Authorizer::new(),
            policies: PolicySet::from_str(&policies)?,
            entities: Entities::from_entities(entities, None)?,
            requests: questions.iter().map(request).collect::<Result<_, _>>()?,
            next: 0,
        })
    }

    fn allows(&self, number: usize) -> bool {
        let request = &self.requests[number % self.requests.len()];
        self.authorizer.is_authorized(request, &self.policies, &self.entities).decision() == Decision::Allow
    }
}

impl Subject for Cedar {
    fn name(&self) -> String {
        NAME.to_owned()
    }

    fn round(&mut self, length: Duration) -> LocalBoxFuture<'_, Result<Round, Failed>> {
        let mut next = self.next;
        let round = closed_in_process(length, || {
            black_box(self.allows(next));
            next += 1;
            Ok(())
        });
        self.next = next;
        Box::pin(async move { round })
    }
}

impl Peer for Cedar {
    fn answers(&mut self, count: usize) -> LocalBoxFuture<'_, Result<Vec<bool>, Failed>> {
        let count = count.min(self.requests.len());
        let answers = (0..count).map(|number| self.allows(number)).collect();
        Box::pin(async move { Ok(answers) })
    }

    fn goal(&self) -> Option<f64> {
        Some(GOAL)
    }
}

/// The types of entities.
struct Uids {
    user: EntityTypeName,
    role: EntityTypeName,
    table: EntityTypeName,
    action: EntityTypeName,
}

impl Uids {
    fn new() -> Result<Self, Failed> {
        Ok(Self {
            user: EntityTypeName::from_str("User")?,
            role: EntityTypeName::from_str("Role")?,
            table: EntityTypeName::from_str("Table")?,
            action: EntityTypeName::from_str("Action")?,
        })
    }

    fn principal(&self, world: &World, who: usize) -> EntityUid {
        let kind = if who < world.size.users { &self.user } else { &self.role };
        EntityUid::from_type_name_and_id(kind.clone(), EntityId::new(world.name(who)))
    }

    fn table(&self, table: usize) -> EntityUid {
        EntityUid::from_type_name_and_id(self.table.clone(), EntityId::new(World::table_name(table)))
    }

    fn action(&self, word: &str) -> EntityUid {
        EntityUid::from_type_name_and_id(self.action.clone(), EntityId::new(word))
    }
}
