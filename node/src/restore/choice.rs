//! Which part of a backup a RESTORE wants, and where it goes. Source: cloud-jobs spec, C.8.

use std::collections::{BTreeMap, BTreeSet};

use grantd_catalog::id::ObjectId;
use grantd_catalog::name::Name;
use grantd_catalog::object::{Body, Object};
use grantd_catalog::refusal::{Refusal, state as sqlstate};
use grantd_catalog::shelf::Scope;
use serde::{Deserialize, Serialize};

use crate::restore::content::Content;

/// The targets and options of a statement, as far as they choose objects. Names are normalized.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wanted {
    /// What is named.
    pub targets: WantedTargets,
    /// `into_db`: of tables.
    pub into_db: Option<String>,
    /// `new_db_name`: of one database.
    pub new_db_name: Option<String>,
    /// `skip_missing_foreign_keys`.
    pub skip_foreign_keys: bool,
    /// `skip_missing_sequences`.
    pub skip_sequences: bool,
    /// `skip_missing_sequence_owners`.
    pub skip_sequence_owners: bool,
    /// `skip_missing_views`.
    pub skip_views: bool,
}

/// What is named after RESTORE.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum WantedTargets {
    /// Nothing: the whole cluster.
    #[default]
    Cluster,
    /// `DATABASE a, …`.
    Databases(Vec<String>),
    /// `TABLE p, …`.
    Tables {
        /// Each as it is written.
        patterns: Vec<Pattern>,
        /// The session's database: of names that do not say theirs.
        database: Option<String>,
        /// The same of schemas, the first that there is.
        search_path: Vec<String>,
    },
    /// `SYSTEM USERS`.
    Users,
}

/// A table, or all of a schema.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pattern {
    /// What stands before it: nothing, a schema or database, or both.
    pub within: Vec<String>,
    /// None: all.
    pub table: Option<String>,
}

/// What was chosen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Choice {
    /// What kind of restore it is.
    pub scope: Scope,
    /// The objects that are brought, under their ids in the backup.
    pub objects: BTreeSet<ObjectId>,
    /// Objects of the backup that stand for what is here, by name: the databases and schemas that tables go into.
    pub there: BTreeMap<ObjectId, Place>,
    /// Names of databases that are other than in the backup.
    pub renamed: BTreeMap<Name, Name>,
}

/// Something that is to be here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// A database.
    Database(Name),
    /// A schema of a database.
    Schema(Name, Name),
}

/// Chooses. Errors: what is named is not in the backup, or the options do not fit.
pub fn choose(content: &Content, wanted: &Wanted) -> Result<Choice, Refusal> {
    let is_tables = matches!(wanted.targets, WantedTargets::Tables { .. });
    if wanted.into_db.is_some() && !is_tables {
        return Err(invalid("into_db can only be used for table restores"));
    }
    match &wanted.targets {
        _ if wanted.new_db_name.is_some() && !is_one_database(&wanted.targets) => {
            Err(invalid("new_db_name can only be used for RESTORE DATABASE with a single target database"))
        }
        WantedTargets::Cluster | WantedTargets::Users if !content.is_cluster => {
            Err(invalid("full cluster RESTORE can only be used on full cluster BACKUP files"))
        }
        WantedTargets::Cluster => Ok(cluster(content)),
        WantedTargets::Users => Ok(Choice { scope: Scope::Users, ..cluster(&Content::default()) }),
        WantedTargets::Databases(names) => databases(content, names, wanted.new_db_name.as_deref()),
        WantedTargets::Tables { patterns, database, search_path } => {
            let names = Names { content, database: database.as_deref(), search_path };
            tables(&names, patterns, wanted.into_db.as_deref())
        }
    }
}

fn is_one_database(targets: &WantedTargets) -> bool {
    matches!(targets, WantedTargets::Databases(names) if names.len() == 1)
}

/// The system's own database is that of this cluster.
fn cluster(content: &Content) -> Choice {
    let is_ours = |id: &ObjectId| content.database_of(*id) != Some(ObjectId::SYSTEM_DATABASE);
    let objects = content.objects.keys().copied().filter(is_ours).collect();
    let (there, renamed) = (BTreeMap::new(), BTreeMap::new());
    Choice { scope: Scope::Cluster, objects, there, renamed }
}

fn databases(content: &Content, names: &[String], new_name: Option<&str>) -> Result<Choice, Refusal> {
    let mut objects = BTreeSet::new();
    let mut renamed = BTreeMap::new();
    for name in names {
        let database = database_called(content, name)?;
        objects.insert(database);
        for (schema, _) in content.children(database) {
            objects.insert(schema);
            objects.extend(content.children(schema).map(|(id, _)| id));
        }
        if let Some(new_name) = new_name {
            renamed.insert(Name::from(name.as_str()), Name::from(new_name));
        }
    }
    Ok(Choice { scope: Scope::Objects, objects, there: BTreeMap::new(), renamed })
}

/// Tables with the types and sequences that they cannot be without; databases are here, and so are schemas that are called
/// `public`. Another schema comes with its tables, unless one of its name is here: who has the catalog looks.
fn tables(names: &Names<'_>, patterns: &[Pattern], into: Option<&str>) -> Result<Choice, Refusal> {
    let content = names.content;
    let mut queue = Vec::new();
    for pattern in patterns {
        queue.extend(names.matching(pattern)?);
    }
    let mut choice = Choice {
        scope: Scope::Objects,
        objects: BTreeSet::new(),
        there: BTreeMap::new(),
        renamed: BTreeMap::new(),
    };
    while let Some(id) = queue.pop() {
        let Some(object) = content.objects.get(&id) else { continue };
        if !choice.objects.insert(id) {
            continue;
        }
        place(content, object, into, &mut choice);
        let is_part = |id: &ObjectId| {
            let body = content.objects.get(id).map(|object| &object.body);
            matches!(body, Some(Body::Type(_) | Body::Sequence(_)))
        };
        queue.extend(object.references_of(id).into_iter().filter(is_part));
    }
    Ok(choice)
}

/// Notes where the schema and the database of an object are to be.
fn place(content: &Content, object: &Object, into: Option<&str>, choice: &mut Choice) {
    let Some(schema) = content.objects.get(&object.parent) else { return };
    let Some(database) = content.objects.get(&schema.parent) else { return };
    let name = into.map_or_else(|| database.name.clone(), Name::from);
    if name != database.name {
        choice.renamed.insert(database.name.clone(), name.clone());
    }
    choice.there.insert(object.parent, Place::Schema(name.clone(), schema.name.clone()));
    choice.there.insert(schema.parent, Place::Database(name));
}

/// What names mean in a backup: the same as in the cluster that it is of.
struct Names<'c> {
    content: &'c Content,
    database: Option<&'c str>,
    search_path: &'c [String],
}

impl Names<'_> {
    fn matching(&self, pattern: &Pattern) -> Result<Vec<ObjectId>, Refusal> {
        let schemas = self.schemas(&pattern.within)?;
        let in_schema = |schema: ObjectId| -> Vec<ObjectId> {
            let is_relation =
                |object: &Object| matches!(object.body, Body::Table(_) | Body::View(_) | Body::Sequence(_));
            let is_named = |object: &Object| match &pattern.table {
                Some(table) => object.name.as_str() == table,
                None => true,
            };
            let children = self.content.children(schema);
            children.filter(|(_, object)| is_relation(object) && is_named(object)).map(|(id, _)| id).collect()
        };
        // All of a schema is that of the first one, whatever is in it.
        let looked_in = if pattern.table.is_none() { 1 } else { schemas.len() };
        let found = schemas.into_iter().take(looked_in).map(in_schema).find(|found| !found.is_empty());
        found.ok_or_else(not_found)
    }

    /// The schemas that this may mean, the first one that has the table first.
    fn schemas(&self, within: &[String]) -> Result<Vec<ObjectId>, Refusal> {
        let of = |database: &str, schema: &str| {
            let database = database_called(self.content, database).ok()?;
            let named =
                |object: &Object| matches!(object.body, Body::Schema) && object.name.as_str() == schema;
            self.content.children(database).find(|(_, object)| named(object)).map(|(id, _)| id)
        };
        let here = |schema: &String| of(self.database?, schema);
        let found: Vec<_> = match within {
            [] => self.search_path.iter().filter_map(here).collect(),
            [name] => here(name).into_iter().chain(of(name, "public")).collect(),
            [database, schema] => of(database, schema).into_iter().collect(),
            _ => Vec::new(),
        };
        if found.is_empty() { Err(not_found()) } else { Ok(found) }
    }
}

fn database_called(content: &Content, name: &str) -> Result<ObjectId, Refusal> {
    let is_it = |object: &Object| matches!(object.body, Body::Database) && object.name.as_str() == name;
    let found = content.children(ObjectId::CLUSTER).find(|(_, object)| is_it(object));
    found.map(|(id, _)| id).filter(|id| *id != ObjectId::SYSTEM_DATABASE).ok_or_else(not_found)
}

fn invalid(message: &str) -> Refusal {
    Refusal::new(sqlstate::INVALID_PARAMETER_VALUE, message)
}

fn not_found() -> Refusal {
    invalid(
        "failed to resolve targets in the BACKUP location specified by the RESTORE statement, use SHOW BACKUP to find \
         correct targets",
    )
}
