//! Bodies of requests, as the standard describes them. Fields that it does not know are passed over; of those that it knows,
//! each may be there once and must be of its type.

use std::fmt;
use std::marker::PhantomData;

use grantd_catalog::id::Version;
use serde::de::value::MapAccessDeserializer;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::Fault;
use crate::http::Asked;

/// The most evaluations of one request: about a millisecond of work.
pub const EVALUATIONS_MAX: usize = 1_000;

/// A JSON object. Without this, a list of the right length would do for a structure.
#[derive(Clone, Debug)]
pub(super) struct Object<T>(pub T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for Members<T> {
            type Value = Object<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, members: A) -> Result<Self::Value, A::Error> {
                T::deserialize(MapAccessDeserializer::new(members)).map(Object)
            }
        }
        deserializer.deserialize_map(Members(PhantomData))
    }
}

/// A subject or a resource.
#[derive(Clone, Debug, Default, Deserialize)]
pub(super) struct Entity {
    #[serde(rename = "type")]
    pub kind: Option<String>,
    pub id: Option<String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
pub(super) struct Action {
    pub name: Option<String>,
    pub properties: Option<Object<ActionProperties>>,
}

#[derive(Clone, Debug, Default, Deserialize)]
pub(super) struct ActionProperties {
    /// WITH GRANT OPTION, or on a role WITH ADMIN OPTION.
    pub grant_option: Option<bool>,
}

/// What of a context means something here.
#[derive(Clone, Debug, Default, Deserialize)]
pub(super) struct Context {
    pub at_least: Option<u64>,
    pub freshness: Option<Word>,
    pub explain: Option<bool>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Word {
    Local,
    Linearizable,
}

/// One question: of a whole request, or of a batch.
#[derive(Clone, Debug, Default, Deserialize)]
pub(super) struct Evaluation {
    pub subject: Option<Object<Entity>>,
    pub action: Option<Object<Action>>,
    pub resource: Option<Object<Entity>>,
    pub context: Option<Object<Context>>,
}

/// A batch, or one question.
#[derive(Clone, Debug, Default, Deserialize)]
pub(super) struct Evaluations {
    pub subject: Option<Object<Entity>>,
    pub action: Option<Object<Action>>,
    pub resource: Option<Object<Entity>>,
    pub context: Option<Object<Context>>,
    pub evaluations: Option<Vec<Object<Evaluation>>>,
    pub options: Option<Object<Options>>,
}

#[derive(Clone, Debug, Default, Deserialize)]
pub(super) struct Options {
    pub evaluations_semantic: Option<Semantic>,
}

/// When a batch ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Semantic {
    #[default]
    ExecuteAll,
    DenyOnFirstDeny,
    PermitOnFirstPermit,
}

#[derive(Clone, Debug, Default, Deserialize)]
pub(super) struct Search {
    pub subject: Option<Object<Entity>>,
    pub action: Option<Object<Action>>,
    pub resource: Option<Object<Entity>>,
    pub context: Option<Object<Context>>,
    pub page: Option<Object<Page>>,
}

#[derive(Clone, Debug, Default, Deserialize)]
pub(super) struct Page {
    pub token: Option<String>,
    pub limit: Option<u64>,
}

/// Reads a body.
pub(super) fn read<'b, T: Deserialize<'b>>(asked: &'b Asked) -> Result<T, Fault> {
    let kind = asked.content_type.as_deref().and_then(|kind| kind.split(';').next()).unwrap_or_default();
    if !kind.trim().eq_ignore_ascii_case("application/json") {
        return Err(Fault::Malformed("Content-Type must be application/json".to_owned()));
    }
    let read: Result<Object<T>, _> = serde_json::from_slice(&asked.body);
    read.map(|Object(request)| request).map_err(|error| Fault::Malformed(format!("the body: {error}")))
}

/// How fresh an answer must be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Fresh {
    pub at_least: Option<Version>,
    pub linearizable: bool,
}

impl Fresh {
    /// As fresh as the freshest of all that is asked for: one view answers them all.
    pub fn of<'c>(contexts: impl Iterator<Item = &'c Option<Object<Context>>>) -> Self {
        contexts.flatten().fold(Self::default(), |fresh, Object(context)| Self {
            at_least: fresh.at_least.max(context.at_least.map(Version)),
            linearizable: fresh.linearizable || context.freshness == Some(Word::Linearizable),
        })
    }
}

impl Evaluations {
    /// What the `item`th of a batch asks: its own entities, and the defaults for those that it has not. Of an entity that it
    /// has, the default gives what must be there and is not. Source: sections 7.1.1, and 3.2.7 of the certification
    /// scenario.
    pub fn with_defaults(&self, item: &Evaluation) -> Evaluation {
        let entity = |own: &Option<Object<Entity>>, default: &Option<Object<Entity>>| match (own, default) {
            (Some(Object(own)), Some(Object(default))) => Some(Object(Entity {
                kind: own.kind.clone().or_else(|| default.kind.clone()),
                id: own.id.clone().or_else(|| default.id.clone()),
            })),
            (own, default) => own.clone().or_else(|| default.clone()),
        };
        let action = match (&item.action, &self.action) {
            (Some(Object(own)), Some(Object(default))) => Some(Object(Action {
                name: own.name.clone().or_else(|| default.name.clone()),
                properties: own.properties.clone(),
            })),
            (own, default) => own.clone().or_else(|| default.clone()),
        };
        Evaluation {
            subject: entity(&item.subject, &self.subject),
            action,
            resource: entity(&item.resource, &self.resource),
            context: item.context.clone().or_else(|| self.context.clone()),
        }
    }
}
