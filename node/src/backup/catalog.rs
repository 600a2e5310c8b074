//! The catalog in a backup: what belongs to its targets, one line of JSON for each record.
//!
//! A line has the record as our own bytes, which is what is restored, and beside it in words what others may want to know.
//! Without encryption it has no secrets: of the URI of an external connection what is not known to be harmless is left out, and
//! passwords' verifiers are.

use std::collections::BTreeSet;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use grantd_catalog::defaults::DefaultClass;
use grantd_catalog::grant::{Acl, AclEntry};
use grantd_catalog::id::{ObjectId, PrincipalId};
use grantd_catalog::object::{Body, ConnectionUri, ExternalConnection, Object};
use grantd_catalog::privilege::PrivilegeSet;
use grantd_catalog::record::{Record, RecordKey};
use grantd_catalog::refusal::state as sqlstate;
use grantd_catalog::role::Principal;
use grantd_catalog::state::State;
use grantd_catalog::wire;
use serde::{Deserialize, Serialize};

use super::BackupError;
use super::manifest::{Targets, newer};
use crate::cloud::redact;

/// A record of the catalog in a backup.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    /// `table`, `role`, `membership`, `setting` and so on.
    pub kind: String,
    /// Of an object or principal.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub id: Option<u32>,
    /// In full; of what belongs to something, that.
    pub name: String,
    /// Whose object it is.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub owner: Option<String>,
    /// What is granted, as statements.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub grants: Vec<String>,
    /// What is in the record besides, in words.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub facts: Vec<String>,
    /// Something secret is not in the record: it is to be given anew.
    #[serde(skip_serializing_if = "std::ops::Not::not", default)]
    pub secret_omitted: bool,
    /// The record's key, in base64.
    pub key: String,
    /// The record, in base64.
    pub record: String,
}

/// What a backup of these targets has of a catalog; none: everything.
pub fn objects(targets: &Targets, state: &State) -> Option<BTreeSet<ObjectId>> {
    if targets.cluster {
        return None;
    }
    let mut found = BTreeSet::new();
    for id in targets.databases.iter().map(|id| ObjectId(*id)) {
        found.insert(id);
        for (schema, _) in state.children(id) {
            found.insert(schema);
            found.extend(state.children(schema).map(|(id, _)| id));
        }
    }
    let mut queue: Vec<ObjectId> = targets.tables.iter().map(|id| ObjectId(*id)).collect();
    queue.retain(|id| state.object(*id).is_some());
    while let Some(id) = queue.pop() {
        let Some(object) = state.object(id) else { continue };
        if !found.insert(id) {
            continue;
        }
        let mut parent = object.parent;
        while let Some(above) = state.object(parent) {
            found.insert(parent);
            parent = above.parent;
        }
        // What it cannot be made without; other tables are targets of their own.
        let is_part = |id: &ObjectId| {
            let body = state.object(*id).map(|object| &object.body);
            matches!(body, Some(Body::Type(_) | Body::Sequence(_) | Body::Function(_)))
        };
        queue.extend(object.references_of(id).into_iter().filter(is_part));
    }
    // Of a database that went there is nothing.
    found.retain(|id| state.object(*id).is_some());
    Some(found)
}

/// The tables and sequences of a backup of these targets, in the order of their numbers.
pub fn tables(targets: &Targets, state: &State) -> Vec<ObjectId> {
    let has_rows = |object: &Object| matches!(object.body, Body::Table(_) | Body::Sequence(_));
    match objects(targets, state) {
        Some(found) => found.into_iter().filter(|id| state.object(*id).is_some_and(has_rows)).collect(),
        None => state.objects().filter(|(_, object)| has_rows(object)).map(|(id, _)| id).collect(),
    }
}

/// The records of a backup.
pub struct Lines<'s> {
    state: &'s State,
    wanted: Option<BTreeSet<ObjectId>>,
    with_secrets: bool,
}

impl<'s> Lines<'s> {
    /// Of these targets. `with_secrets`: only where all is encrypted.
    pub fn new(targets: &Targets, state: &'s State, with_secrets: bool) -> Self {
        Self { state, wanted: objects(targets, state), with_secrets }
    }

    /// Each of them, in the order of their keys.
    pub fn each(&self) -> impl Iterator<Item = Result<Line, BackupError>> + Send + '_ {
        self.state
            .records()
            .filter(|(key, _)| self.is_wanted(*key))
            .filter_map(|(key, record)| self.line(key, record).transpose())
    }

    fn is_wanted(&self, key: RecordKey) -> bool {
        match (key, &self.wanted) {
            // Counters are the cluster's own; protections, jobs and schedules are of what runs there.
            (
                RecordKey::Counters
                | RecordKey::NextJob
                | RecordKey::Job(_)
                | RecordKey::ClaimLease { .. }
                | RecordKey::Shelf(_)
                | RecordKey::Shelved { .. }
                | RecordKey::Schedule(_)
                | RecordKey::Protection(_),
                _,
            ) => false,
            (_, None) => true,
            (RecordKey::Object(id), Some(wanted)) => wanted.contains(&id),
            (RecordKey::DefaultPrivileges { holder, .. }, Some(wanted)) => wanted.contains(&holder),
            (RecordKey::RoleSettings { database, .. }, Some(wanted)) => wanted.contains(&database),
            (
                RecordKey::Principal(_)
                | RecordKey::Membership { .. }
                | RecordKey::SystemPrivileges
                | RecordKey::Setting(_),
                Some(_),
            ) => false,
        }
    }

    fn line(&self, key: RecordKey, record: Record) -> Result<Option<Line>, BackupError> {
        let mut line = Line {
            kind: String::new(),
            id: None,
            name: String::new(),
            owner: None,
            grants: Vec::new(),
            facts: Vec::new(),
            secret_omitted: false,
            key: BASE64.encode(wire::encode_key(key)),
            record: String::new(),
        };
        let record = match (key, record) {
            (RecordKey::Object(id), Record::Object(object)) => {
                line.id = Some(id.0);
                self.object(&mut line, id, object)
            }
            (RecordKey::Principal(id), Record::Principal(principal)) => {
                line.id = Some(id.0);
                self.principal(&mut line, principal)
            }
            (RecordKey::Membership { role, member }, record @ Record::Membership { admin_option }) => {
                line.kind = "membership".to_owned();
                line.name = self.who(role);
                let option = if admin_option { " WITH ADMIN OPTION" } else { "" };
                line.grants = vec![format!("GRANT {} TO {}{option}", self.who(role), self.who(member))];
                record
            }
            (_, Record::SystemPrivileges(acl)) => {
                line.kind = "system privileges".to_owned();
                line.grants = self.grants(&acl, "SYSTEM", "");
                Record::SystemPrivileges(acl)
            }
            (RecordKey::RoleSettings { database, role }, Record::RoleSettings(settings)) => {
                line.kind = "role settings".to_owned();
                line.name = self.who(role);
                let of =
                    if database == ObjectId::CLUSTER { String::new() } else { path(self.state, database) };
                line.facts =
                    settings.variables.iter().map(|(name, value)| format!("{of} {name} = {value}")).collect();
                Record::RoleSettings(settings)
            }
            (RecordKey::DefaultPrivileges { holder, creator }, Record::DefaultPrivileges(defaults)) => {
                line.kind = "default privileges".to_owned();
                line.name = path(self.state, holder);
                line.facts = vec![format!("for {}", self.who(creator))];
                for class in DefaultClass::EACH {
                    line.grants.extend(self.grants(
                        defaults.acl(class),
                        &format!("{class:?}").to_uppercase(),
                        "",
                    ));
                }
                Record::DefaultPrivileges(defaults)
            }
            (RecordKey::Setting(setting), Record::Setting(value)) => {
                line.kind = "setting".to_owned();
                line.name = setting.row().name.to_owned();
                line.facts = vec![value.clone()];
                Record::Setting(value)
            }
            // A key and a record of another kind do not stand together.
            _ => return Ok(None),
        };
        let bytes = wire::encode_record(&record)
            .map_err(|error| BackupError::new(sqlstate::PROGRAM_LIMIT_EXCEEDED, error.to_string()))?;
        line.record = BASE64.encode(bytes);
        Ok(Some(line))
    }

    fn object(&self, line: &mut Line, id: ObjectId, object: Arc<Object>) -> Record {
        line.kind = kind(&object).to_owned();
        line.name = path(self.state, id);
        line.owner = Some(self.who(object.owner));
        line.grants = self.grants(&object.acl, &line.kind.to_uppercase(), &line.name);
        let Body::ExternalConnection(connection) = &object.body else { return Record::Object(object) };
        let shown = redact::uri(connection.uri.expose());
        line.facts = vec![shown.clone()];
        if self.with_secrets || shown == connection.uri.expose() {
            return Record::Object(object);
        }
        line.secret_omitted = true;
        let uri = ConnectionUri::new(shown);
        let body = Body::ExternalConnection(ExternalConnection { uri });
        Record::Object(Arc::new(Object { body, ..Object::clone(&object) }))
    }

    fn principal(&self, line: &mut Line, principal: Principal) -> Record {
        line.kind = if principal.is_role { "role" } else { "user" }.to_owned();
        line.name = principal.name.to_string();
        let option = |(name, value): (&str, Option<String>)| match value {
            Some(value) => format!("{name} {value}"),
            None => name.to_owned(),
        };
        line.facts = principal.stored_options().into_iter().map(option).collect();
        let omits = principal.password.is_some() && !self.with_secrets;
        line.secret_omitted = omits;
        Record::Principal(Principal { password: principal.password.clone().filter(|_| !omits), ..principal })
    }

    fn who(&self, id: PrincipalId) -> String {
        if id == PrincipalId::EVERYBODY {
            "ALL".to_owned()
        } else {
            self.state.principal_name(id).to_string()
        }
    }

    fn grants(&self, acl: &Acl, kind: &str, name: &str) -> Vec<String> {
        acl.entries().iter().flat_map(|entry| grant(entry, kind, name, &self.who(entry.grantee))).collect()
    }
}

/// What one grantee holds, as statements: with and without the right to grant it.
fn grant(entry: &AclEntry, kind: &str, name: &str, grantee: &str) -> Vec<String> {
    let words =
        |set: PrivilegeSet| set.iter().map(|privilege| privilege.word()).collect::<Vec<_>>().join(", ");
    let on = if name.is_empty() { kind.to_owned() } else { format!("{kind} {name}") };
    let (with, without): (Vec<_>, Vec<_>) =
        entry.privileges.iter().partition(|privilege| entry.grant_options.covers(*privilege));
    let set = |privileges: Vec<_>| {
        privileges.into_iter().fold(PrivilegeSet::EMPTY, |set, one| set.union(PrivilegeSet::of(one)))
    };
    let mut statements = Vec::new();
    for (privileges, option) in [(set(without), ""), (set(with), " WITH GRANT OPTION")] {
        if !privileges.is_empty() {
            statements.push(format!("GRANT {} ON {on} TO {grantee}{option}", words(privileges)));
        }
    }
    statements
}

/// What an object is, in a word or two.
pub fn kind(object: &Object) -> &'static str {
    match object.body {
        Body::Database => "database",
        Body::Schema => "schema",
        Body::Table(_) => "table",
        Body::View(_) => "view",
        Body::Sequence(_) => "sequence",
        Body::Type(_) => "type",
        Body::Function(_) => "function",
        Body::ExternalConnection(_) => "external connection",
        Body::VirtualTable => "virtual table",
        Body::IamRole => "iam role",
    }
}

/// An object's name with those of what contains it.
pub fn path(state: &State, id: ObjectId) -> String {
    let mut parts = Vec::new();
    let mut at = id;
    while let Some(object) = state.object(at) {
        parts.push(object.name.to_string());
        at = object.parent;
    }
    parts.reverse();
    parts.join(".")
}

impl Line {
    /// The record that it is of.
    pub fn decode(&self, file: &str) -> Result<(RecordKey, Record), BackupError> {
        let bytes = |text: &str| BASE64.decode(text).map_err(|error| BackupError::damaged(file, error));
        let key = wire::decode_key(&bytes(&self.key)?).map_err(|error| BackupError::damaged(file, error))?;
        let record = wire::decode_record(&bytes(&self.record)?).map_err(|error| match error {
            wire::WireError::NewerFormat { .. } => newer(file, &error),
            error => BackupError::damaged(file, error),
        })?;
        Ok((key, record))
    }
}
