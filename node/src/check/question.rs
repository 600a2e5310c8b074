//! Questions in names, as clients of every interface write them.

use grantd_catalog::command::{NameContext, ObjectName, SchemaName};
use grantd_catalog::id::{ObjectId, PrincipalId};
use grantd_catalog::name::{Name, RoleName};
use grantd_catalog::object::Body;
use grantd_catalog::privilege::{ObjectKind, Privilege};
use grantd_catalog::refusal::{Refusal, state};
use grantd_catalog::view::View;

use super::Check;
use crate::sql::system::inquiry;

/// May `subject` do `action` on `resource`?
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// A user or role, or `public`.
    pub subject: String,
    /// A privilege as GRANT writes it, `SELECT`, perhaps ` WITH GRANT OPTION`; of a role `MEMBER`, or `ADMIN`.
    pub action: String,
    /// The kind of what it is done to.
    pub kind: ResourceKind,
    /// Its name, as in SQL: `db.schema.table`. Of the cluster it is not read.
    pub name: String,
}

/// What may be asked about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResourceKind {
    /// What privileges are held on. A `Table` is whatever has rows: tables, views, virtual tables.
    Object(ObjectKind),
    /// A role, of which one may be a member.
    Role,
}

impl ResourceKind {
    /// Every kind with its word.
    pub const ALL: [(&'static str, Self); 10] = [
        ("cluster", Self::Object(ObjectKind::Cluster)),
        ("database", Self::Object(ObjectKind::Database)),
        ("schema", Self::Object(ObjectKind::Schema)),
        ("table", Self::Object(ObjectKind::Table)),
        ("sequence", Self::Object(ObjectKind::Sequence)),
        ("type", Self::Object(ObjectKind::Type)),
        ("function", Self::Object(ObjectKind::Function)),
        ("external_connection", Self::Object(ObjectKind::ExternalConnection)),
        ("iam_role", Self::Object(ObjectKind::IamRole)),
        ("role", Self::Role),
    ];

    /// The kind of this word, in any case.
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find_map(|(known, kind)| known.eq_ignore_ascii_case(word).then_some(kind))
    }

    /// Its word.
    pub fn word(self) -> &'static str {
        Self::ALL.into_iter().find_map(|(word, kind)| (kind == self).then_some(word)).unwrap_or("table")
    }
}

impl Question {
    /// The ids that it means on `view`.
    ///
    /// Errors: 42704, 3D000, 3F000, 42P01, 42883, … for what is not there, as SQL says it; 22023 for an action that the kind
    /// does not have; 42602 for a name that is none.
    pub fn resolve(&self, view: &View) -> Result<Check, Refusal> {
        let subject = resolve_principal(view, &self.subject)?;
        match self.kind {
            ResourceKind::Role => {
                let role = resolve_principal(view, &self.name)?;
                match self.action.to_ascii_uppercase().as_str() {
                    "MEMBER" => Ok(Check::Member { subject, role }),
                    "ADMIN" | "MEMBER WITH ADMIN OPTION" => Ok(Check::AdminOption { subject, role }),
                    _ => Err(no_such_action(&self.action, self.kind)),
                }
            }
            ResourceKind::Object(kind) => {
                let (privilege, with_option) = resolve_action(&self.action, kind)?;
                let object = resolve_named(view, kind, &self.name)?;
                Ok(if with_option {
                    Check::HoldsGrantOption { subject, privilege, object }
                } else {
                    Check::Holds { subject, privilege, object }
                })
            }
        }
    }
}

/// The user or role of this name, or `public`; 42704.
pub fn resolve_principal(view: &View, written: &str) -> Result<PrincipalId, Refusal> {
    let name = RoleName::normalize(written);
    if name.as_str() == "public" {
        return Ok(PrincipalId::PUBLIC);
    }
    view.state()
        .principal_id(&name)
        .ok_or_else(|| Refusal::new(state::UNDEFINED_OBJECT, format!("role/user \"{name}\" does not exist")))
}

/// The privilege that an action names, and whether its grant option is meant; 22023.
pub fn resolve_action(written: &str, kind: ObjectKind) -> Result<(Privilege, bool), Refusal> {
    let upper = written.trim().to_ascii_uppercase();
    let (word, with_option) = match upper.strip_suffix(" WITH GRANT OPTION") {
        Some(word) => (word.trim_end(), true),
        None => (upper.as_str(), false),
    };
    // What has rows is of several kinds, and which one is known only when its name is resolved.
    let legal = |privilege: &Privilege| privilege.is_legal_on(kind);
    let privilege = Privilege::from_word(word).filter(legal);
    privilege
        .map(|privilege| (privilege, with_option))
        .ok_or_else(|| no_such_action(written, ResourceKind::Object(kind)))
}

/// The object of this kind and name, as SQL resolves it.
pub fn resolve_object(
    view: &View,
    context: &NameContext,
    kind: ObjectKind,
    written: &str,
) -> Result<ObjectId, Refusal> {
    let state = view.state();
    let parts = || inquiry::parts(written).map_err(|error| error.body);
    let relation = || Ok::<_, Refusal>(ObjectName { parts: parts()? });
    match kind {
        ObjectKind::Cluster => Ok(ObjectId::CLUSTER),
        ObjectKind::Database => state.resolve_database(&one(parts()?)?),
        ObjectKind::ExternalConnection => state.resolve_external_connection(&one(parts()?)?),
        // It is no identifier: there is nothing in it to be quoted or folded.
        ObjectKind::IamRole => state.resolve_iam_role(&Name::normalize(written)),
        ObjectKind::Schema => {
            let mut parts = parts()?;
            let schema = parts.pop().ok_or_else(not_a_name)?;
            let database = parts.pop();
            if !parts.is_empty() {
                return Err(not_a_name());
            }
            state.resolve_schema(context, &SchemaName { database, schema })
        }
        ObjectKind::Table | ObjectKind::VirtualTable => state.resolve_relation(context, &relation()?),
        ObjectKind::Sequence => state.resolve_relation_that(context, &relation()?, "sequence", |body| {
            matches!(body, Body::Sequence(_))
        }),
        ObjectKind::Type => state.resolve_type(context, &relation()?),
        ObjectKind::Function => {
            let name = inquiry::signature(written).ok_or_else(not_a_name)?;
            // The types of its arguments are named as seen from the database that it is in.
            let database = match &name.name.parts[..] {
                [database, _, _] => Some(database.clone()),
                _ => context.database.clone(),
            };
            let inside = NameContext { database, search_path: context.search_path.clone() };
            state.resolve_function(&inside, &name)
        }
    }
}

/// The object of this kind and full name, for clients that have no current database.
pub fn resolve_named(view: &View, kind: ObjectKind, written: &str) -> Result<ObjectId, Refusal> {
    resolve_object(view, &nowhere(), kind, written)
}

fn one(mut parts: Vec<Name>) -> Result<Name, Refusal> {
    match (parts.pop(), parts.is_empty()) {
        (Some(name), true) => Ok(name),
        _ => Err(not_a_name()),
    }
}

fn not_a_name() -> Refusal {
    Refusal::new(state::INVALID_NAME, "invalid name syntax")
        .with_hint("Write it as in SQL: database.schema.name, with quotes where SQL needs them.")
}

fn no_such_action(action: &str, kind: ResourceKind) -> Refusal {
    let word = kind.word();
    let there_are: Vec<&str> = match kind {
        ResourceKind::Role => vec!["MEMBER", "ADMIN"],
        ResourceKind::Object(kind) => kind.legal().iter().map(Privilege::word).collect(),
    };
    Refusal::new(state::INVALID_PARAMETER_VALUE, format!("a {word} has no privilege \"{action}\""))
        .with_hint(format!("There are: {}.", there_are.join(", ")))
}

/// Clients of these interfaces have no current database: what is in one is named with it.
fn nowhere() -> NameContext {
    NameContext { database: None, search_path: Vec::new() }
}
