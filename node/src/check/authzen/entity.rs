//! What the standard's subjects, actions and resources are in the catalog, and the other way round.
//!
//! A `user` is a principal that may log in, a `role` is any principal, as in PostgreSQL's `pg_user` and `pg_roles`; both
//! are called by their names. A resource is an object, called as in SQL; an action is a privilege. What an entity says is
//! its type, it must be: so that a search, which is told the type alone, finds exactly what an evaluation allows.

use grantd_catalog::command::NameContext;
use grantd_catalog::id::{ObjectId, PrincipalId};
use grantd_catalog::object::{Body, Object};
use grantd_catalog::privilege::{ObjectKind, Privilege};
use grantd_catalog::refusal::Refusal;
use grantd_catalog::view::View;

use super::Fault;
use super::request::{self, Action, Entity};
use crate::check::Check;
use crate::check::question::{ResourceKind, resolve_action, resolve_object, resolve_principal};

/// The name of the one resource of type `cluster`.
const CLUSTER: &str = "cluster";
const MEMBER: &str = "MEMBER";
const ADMIN: &str = "ADMIN";

/// What a subject may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SubjectKind {
    User,
    Role,
}

impl SubjectKind {
    pub fn from_word(word: &str) -> Option<Self> {
        match word {
            "user" => Some(Self::User),
            "role" => Some(Self::Role),
            _ => None,
        }
    }

    pub fn word(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Role => "role",
        }
    }

    /// Whether `id`, which is there, is such a subject.
    pub fn includes(self, view: &View, id: PrincipalId) -> bool {
        match self {
            Self::User => id != PrincipalId::PUBLIC && view.state().may_log_in_by_https(id).is_ok(),
            Self::Role => true,
        }
    }

    /// All of this kind that come after one, in the order of their ids.
    pub fn each_after(self, view: &View, after: Option<PrincipalId>) -> impl Iterator<Item = PrincipalId> {
        let first = after.map_or(0, |after| after.0.saturating_add(1));
        let public = Some(PrincipalId::PUBLIC).filter(|public| public.0 >= first);
        let mut public = public.into_iter().peekable();
        let mut others = view.state().principals_from(PrincipalId(first)).peekable();
        let all = std::iter::from_fn(move || match (public.peek(), others.peek()) {
            (Some(everybody), Some(other)) if other < everybody => others.next(),
            (Some(_), _) => public.next(),
            (None, _) => others.next(),
        });
        all.filter(move |id| self.includes(view, *id))
    }
}

/// What a resource may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Of(ResourceKind),
    /// A table that is a view.
    View,
}

impl Kind {
    /// Every kind with its word.
    const ALL: [(&'static str, Self); 12] = [
        (CLUSTER, Self::Of(ResourceKind::Object(ObjectKind::Cluster))),
        ("database", Self::Of(ResourceKind::Object(ObjectKind::Database))),
        ("schema", Self::Of(ResourceKind::Object(ObjectKind::Schema))),
        ("table", Self::Of(ResourceKind::Object(ObjectKind::Table))),
        ("view", Self::View),
        ("sequence", Self::Of(ResourceKind::Object(ObjectKind::Sequence))),
        ("type", Self::Of(ResourceKind::Object(ObjectKind::Type))),
        ("function", Self::Of(ResourceKind::Object(ObjectKind::Function))),
        ("external_connection", Self::Of(ResourceKind::Object(ObjectKind::ExternalConnection))),
        ("virtual_table", Self::Of(ResourceKind::Object(ObjectKind::VirtualTable))),
        ("role", Self::Of(ResourceKind::Role)),
        ("iam_role", Self::Of(ResourceKind::Object(ObjectKind::IamRole))),
    ];

    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find_map(|(known, kind)| (known == word).then_some(kind))
    }

    pub fn word(self) -> &'static str {
        Self::ALL.into_iter().find_map(|(word, kind)| (kind == self).then_some(word)).unwrap_or_default()
    }

    /// The kind that decides what may be done; none: it is a role.
    fn object_kind(self) -> Option<ObjectKind> {
        match self {
            Self::Of(ResourceKind::Object(kind)) => Some(kind),
            Self::View => Some(ObjectKind::Table),
            Self::Of(ResourceKind::Role) => None,
        }
    }

    /// Whether an object is such a resource. What is computed is of every database and nobody's: only its tables are.
    fn includes(self, id: ObjectId, object: &Object) -> bool {
        match self {
            Self::View => matches!(object.body, Body::View(_)),
            Self::Of(_) => {
                let kind = object.kind();
                self.object_kind() == Some(kind) && (!id.is_virtual() || kind == ObjectKind::VirtualTable)
            }
        }
    }

    /// All resources of this kind that come after one, in the order of their ids.
    pub fn each_after<'v>(
        self,
        view: &'v View,
        after: Option<u32>,
    ) -> Box<dyn Iterator<Item = Resource> + 'v> {
        let state = view.state();
        let first = after.map_or(0, |after| after.saturating_add(1));
        match self.object_kind() {
            None => Box::new(state.principals_from(PrincipalId(first)).map(Resource::Role)),
            Some(ObjectKind::Cluster) => Box::new(
                Some(Resource::Object(ObjectId::CLUSTER)).into_iter().filter(move |_| after.is_none()),
            ),
            Some(_) => Box::new(
                state
                    .objects()
                    .skip_while(move |(id, _)| id.0 < first)
                    .filter(move |(id, object)| self.includes(*id, object))
                    .map(|(id, _)| Resource::Object(id)),
            ),
        }
    }
}

/// A resource, in ids.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Resource {
    Object(ObjectId),
    Role(PrincipalId),
}

impl Resource {
    /// Where it stands among those of its kind.
    pub fn position(self) -> u32 {
        match self {
            Self::Object(ObjectId(id)) | Self::Role(PrincipalId(id)) => id,
        }
    }

    /// Its name, as an evaluation takes it.
    pub fn name(self, view: &View) -> String {
        let state = view.state();
        match self {
            Self::Role(id) => state.principal_name(id).as_str().to_owned(),
            Self::Object(ObjectId::CLUSTER) => CLUSTER.to_owned(),
            Self::Object(id) => state.object(id).map_or_else(String::new, |object| object_name(view, object)),
        }
    }
}

/// An action, understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Act {
    Privilege { privilege: Privilege, grant_option: bool },
    Member,
    Admin,
}

impl Act {
    /// Every plain action on this kind of resource.
    pub fn each(kind: Kind) -> Vec<Self> {
        match kind.object_kind() {
            None => vec![Self::Member, Self::Admin],
            Some(kind) => {
                let privileges = Privilege::each().filter(|privilege| privilege.is_legal_on(kind));
                privileges.map(|privilege| Self::Privilege { privilege, grant_option: false }).collect()
            }
        }
    }

    /// Its word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Privilege { privilege, .. } => privilege.word(),
            Self::Member => MEMBER,
            Self::Admin => ADMIN,
        }
    }

    /// The question whether `subject` may do this to `resource`. None: they do not go together.
    pub fn check(self, subject: PrincipalId, resource: Resource) -> Option<Check> {
        match (self, resource) {
            (Self::Privilege { privilege, grant_option: false }, Resource::Object(object)) => {
                Some(Check::Holds { subject, privilege, object })
            }
            (Self::Privilege { privilege, grant_option: true }, Resource::Object(object)) => {
                Some(Check::HoldsGrantOption { subject, privilege, object })
            }
            (Self::Member, Resource::Role(role)) => Some(Check::Member { subject, role }),
            (Self::Admin, Resource::Role(role)) => Some(Check::AdminOption { subject, role }),
            (Self::Privilege { .. }, Resource::Role(_))
            | (Self::Member | Self::Admin, Resource::Object(_)) => None,
        }
    }
}

/// Why something that is well written means nothing here: for `context.reason`, and for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Unknown {
    pub reason: &'static str,
    pub message: String,
}

fn unknown_subject(message: String) -> Unknown {
    Unknown { reason: "unknown_subject", message }
}

fn unknown_resource(message: String) -> Unknown {
    Unknown { reason: "unknown_resource", message }
}

fn unknown_action(message: String) -> Unknown {
    Unknown { reason: "unknown_action", message }
}

/// The members that an entity must have.
pub(super) fn whole<'e>(
    what: &str,
    entity: Option<&'e request::Object<Entity>>,
) -> Result<(&'e str, &'e str), Fault> {
    let kind = typed(what, entity)?;
    let id = entity.and_then(|entity| entity.0.id.as_deref());
    id.map(|id| (kind, id)).ok_or_else(|| missing(&format!("{what}.id")))
}

/// The type that an entity must have.
pub(super) fn typed<'e>(what: &str, entity: Option<&'e request::Object<Entity>>) -> Result<&'e str, Fault> {
    let entity = &entity.ok_or_else(|| missing(what))?.0;
    entity.kind.as_deref().ok_or_else(|| missing(&format!("{what}.type")))
}

/// The name that an action must have, and whether its option is meant.
pub(super) fn named(action: Option<&request::Object<Action>>) -> Result<(&str, bool), Fault> {
    let action = &action.ok_or_else(|| missing("action"))?.0;
    let name = action.name.as_deref().ok_or_else(|| missing("action.name"))?;
    let properties = action.properties.as_ref().map(|properties| &properties.0);
    Ok((name, properties.and_then(|properties| properties.grant_option).unwrap_or(false)))
}

fn missing(what: &str) -> Fault {
    Fault::Malformed(format!("`{what}` is missing"))
}

/// Who is meant.
pub(super) fn subject(view: &View, word: &str, id: &str) -> Result<PrincipalId, Unknown> {
    let kind = subject_kind(word)?;
    let found = resolve_principal(view, id).map_err(|refusal| unknown_subject(refusal.message))?;
    if kind.includes(view, found) {
        Ok(found)
    } else {
        Err(unknown_subject(format!("\"{id}\" may not log in, so it is a role and no user")))
    }
}

/// What kind of subject is meant.
pub(super) fn subject_kind(word: &str) -> Result<SubjectKind, Unknown> {
    SubjectKind::from_word(word)
        .ok_or_else(|| unknown_subject(format!("\"{word}\" is no type of subject; there are user and role")))
}

/// What kind of resource is meant.
pub(super) fn resource_kind(word: &str) -> Result<Kind, Unknown> {
    Kind::from_word(word).ok_or_else(|| {
        let there_are = Kind::ALL.map(|(word, _)| word).join(", ");
        unknown_resource(format!("\"{word}\" is no type of resource; there are {there_are}"))
    })
}

/// Which resource is meant.
pub(super) fn resource(view: &View, kind: Kind, name: &str) -> Result<Resource, Unknown> {
    let unknown = |refusal: Refusal| unknown_resource(refusal.message);
    let Some(object_kind) = kind.object_kind() else {
        return resolve_principal(view, name).map(Resource::Role).map_err(unknown);
    };
    if object_kind == ObjectKind::Cluster {
        return if name == CLUSTER {
            Ok(Resource::Object(ObjectId::CLUSTER))
        } else {
            Err(unknown_resource(format!("the one resource of type {CLUSTER} is called {CLUSTER}")))
        };
    }
    let nowhere = NameContext { database: None, search_path: Vec::new() };
    let id = resolve_object(view, &nowhere, object_kind, name).map_err(unknown)?;
    match view.state().object(id) {
        Some(object) if kind.includes(id, object) => Ok(Resource::Object(id)),
        Some(_) | None => Err(unknown_resource(format!("\"{name}\" is no {}", kind.word()))),
    }
}

/// What would be done.
pub(super) fn act(kind: Kind, name: &str, option: bool) -> Result<Act, Unknown> {
    match kind.object_kind() {
        None if name.eq_ignore_ascii_case(MEMBER) => Ok(if option { Act::Admin } else { Act::Member }),
        None if name.eq_ignore_ascii_case(ADMIN) => Ok(Act::Admin),
        None => {
            Err(unknown_action(format!("a role has no action \"{name}\"; there are {MEMBER} and {ADMIN}")))
        }
        Some(object_kind) => {
            let (privilege, written) =
                resolve_action(name, object_kind).map_err(|refusal| unknown_action(refusal.message))?;
            Ok(Act::Privilege { privilege, grant_option: option || written })
        }
    }
}

/// The full name of an object as SQL reads it: quoted where it must be. The name of an IAM role is no identifier.
fn object_name(view: &View, object: &Object) -> String {
    let state = view.state();
    if object.body == Body::IamRole {
        return object.name.to_string();
    }
    let mut name = quoted(object.name.as_str());
    if let Body::Function(function) = &object.body {
        let signature = state.signature_text(&object.name, function);
        name.push_str(signature.strip_prefix(object.name.as_str()).unwrap_or_default());
    }
    let mut parent = object.parent;
    while let Some(above) = state.object(parent) {
        name = format!("{}.{name}", quoted(above.name.as_str()));
        parent = above.parent;
    }
    name
}

fn quoted(name: &str) -> String {
    let mut bytes = name.bytes();
    let first = bytes.next().is_some_and(|byte| byte.is_ascii_lowercase() || byte == b'_');
    if first && bytes.all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_') {
        name.to_owned()
    } else {
        format!("\"{}\"", name.replace('"', "\"\""))
    }
}
