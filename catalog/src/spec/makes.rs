//! CREATE, and ALTER of what CREATE said (A.5.2, A.5.3, E.7).

use std::sync::Arc;

use crate::command::{
    Actor, LabelChange, NameContext, NewConstraint, NewIdentity, ObjectName, RoleSpec, SequenceOptions,
    StorageChange,
};
use crate::defaults::DefaultClass;
use crate::id::{ObjectId, PrincipalId};
use crate::name::Name;
use crate::object::{
    Body, ColumnType, ConnectionUri, EnumLabel, EnumType, ExternalConnection, Function, Sequence, Table, View,
};
use crate::privilege::{ObjectKind, Privilege};
use crate::refusal::Refusal;
use crate::require::UriAccess;
use crate::role::RoleOption;
use crate::spec::resolve::Sort;
use crate::spec::{Model, ModelGrant, ModelObject, Told, say};

impl Model {
    pub(super) fn create_database(
        &mut self,
        actor: Actor,
        name: &Name,
        if_not_exists: bool,
        owner: Option<&RoleSpec>,
    ) -> Result<Told, Refusal> {
        if !self.has_option(actor.current, RoleOption::CreateDb) {
            return Err(say::may_not_create_database());
        }
        if self.find_database(name).is_some() {
            return exists(if_not_exists, &say::database_exists(name.as_str()));
        }
        let owner = self.first_owner(actor, owner)?;
        self.add_database(name.clone(), owner);
        Ok(Told::default())
    }

    /// The database and its schema `public`, with what E.7 puts on them.
    pub(super) fn add_database(&mut self, name: Name, owner: PrincipalId) {
        let database = self.add_object(Body::Database, name, ObjectId::CLUSTER, owner);
        self.add_grant(database, PrincipalId::PUBLIC, &[Privilege::Connect]);
        let schema = self.add_object(Body::Schema, Name::normalize("public"), database, PrincipalId::ADMIN);
        self.add_grant(schema, PrincipalId::PUBLIC, &[Privilege::Create, Privilege::Usage]);
    }

    fn add_object(&mut self, body: Body, name: Name, parent: ObjectId, owner: PrincipalId) -> ObjectId {
        let id = ObjectId(self.next_object);
        self.next_object += 1;
        let object = ModelObject { id, name, parent, owner, body, comment: None };
        let implicit = [ObjectKind::ExternalConnection, ObjectKind::IamRole].contains(&object.kind());
        self.objects.push(object);
        for grantee in [PrincipalId::ROOT, PrincipalId::ADMIN] {
            if !implicit {
                self.held.push(ModelGrant {
                    object: id,
                    grantee,
                    privileges: vec![Privilege::All],
                    grant_options: vec![Privilege::All],
                });
            }
        }
        id
    }

    /// Something in a schema, with the default privileges of the one who makes it.
    pub(super) fn add_in_schema(
        &mut self,
        actor: Actor,
        body: Body,
        name: &Name,
        schema: ObjectId,
    ) -> ObjectId {
        let id = self.add_object(body, name.clone(), schema, actor.current);
        if let Some(class) = DefaultClass::of(self.kind(id)) {
            self.apply_defaults(id, actor.current, class, self.parent(schema), Some(schema));
        }
        id
    }

    pub(super) fn add_grant(&mut self, object: ObjectId, grantee: PrincipalId, privileges: &[Privilege]) {
        self.held.push(ModelGrant {
            object,
            grantee,
            privileges: privileges.to_vec(),
            grant_options: Vec::new(),
        });
    }

    /// Who owns what `actor` creates: itself, or whom the statement names.
    fn first_owner(&self, actor: Actor, owner: Option<&RoleSpec>) -> Result<PrincipalId, Refusal> {
        owner.map_or(Ok(actor.current), |owner| self.principal(actor, owner))
    }

    pub(super) fn create_schema(
        &mut self,
        actor: Actor,
        context: &NameContext,
        database: Option<&Name>,
        name: Option<&Name>,
        if_not_exists: bool,
        owner: Option<&RoleSpec>,
    ) -> Result<Told, Refusal> {
        let database = match database {
            Some(name) => self.database(name)?,
            None => self.current_database(context)?,
        };
        self.check_privilege(actor.current, database, Privilege::Create)?;
        let name = match name {
            Some(name) => name.clone(),
            None => Name::normalize(self.principal_name(self.first_owner(actor, owner)?).as_str()),
        };
        if self.find_schema(database, &name).is_some() {
            return exists(if_not_exists, &say::schema_exists(name.as_str()));
        }
        if name.as_str().starts_with("pg_") {
            return Err(say::schema_name_is_reserved(name.as_str()));
        }
        let owner = self.first_owner(actor, owner)?;
        let schema = self.add_object(Body::Schema, name, database, owner);
        self.apply_defaults(schema, actor.current, DefaultClass::Schemas, database, None);
        Ok(Told::default())
    }

    /// Where something is to be made, by whom may make it there.
    fn place(
        &self,
        actor: Actor,
        context: &NameContext,
        name: &ObjectName,
    ) -> Result<(ObjectId, Name), Refusal> {
        let [prefix @ .., last] = name.parts.as_slice() else { return Err(say::unknown_relation("")) };
        let schema = self.containing_schema(context, prefix)?;
        self.check_create_in(actor, schema)?;
        Ok((schema, last.clone()))
    }

    /// CREATE on a schema, which must not be a virtual one.
    pub(super) fn check_create_in(&self, actor: Actor, schema: ObjectId) -> Result<(), Refusal> {
        if schema.is_virtual() {
            return Err(say::schema_is_not_modified(&self.label(schema)));
        }
        self.check_privilege(actor.current, schema, Privilege::Create)
    }

    /// The refusal or notice when a name in a schema is taken; the notice only by something of the same sort. As the
    /// original, the refusal names it in full and the notice does not.
    pub(super) fn taken(
        &self,
        schema: ObjectId,
        name: &Name,
        wanted: Sort,
        if_not_exists: bool,
    ) -> Result<Told, Refusal> {
        let full = format!("{}.{name}", self.full_name(schema));
        let is_type =
            self.find_in_schema(schema, name).is_some_and(|found| self.kind(found) == ObjectKind::Type);
        let say = |name: &str| if is_type { say::type_exists(name) } else { say::relation_exists(name) };
        if if_not_exists && is_type == (wanted == Sort::Type) {
            return Ok(Told::notice(say::skipping(&say(name.as_str()))));
        }
        Err(say(&full))
    }

    /// What something new is made of must be there and fit, and its maker must be allowed to use it (A.5.3): what a
    /// query reads and calls, and the types of columns and arguments, but for those that only a query has. What the
    /// defaults of a table use is for those to hold who insert.
    fn check_references(&self, actor: Actor, body: &Body) -> Result<(), Refusal> {
        let (types, named, query) = match body {
            Body::Table(table) => (
                table.columns.iter().map(|column| column.column_type).collect(),
                table.named().collect(),
                false,
            ),
            Body::View(view) => (
                view.columns.iter().map(|column| column.column_type).collect(),
                view.references.clone(),
                true,
            ),
            Body::Function(function) => {
                let mut types: Vec<_> = function.argument_types().collect();
                types.push(function.returns);
                (types, function.references.clone(), true)
            }
            _ => return Ok(()),
        };
        let types: Vec<ObjectId> = types.into_iter().filter_map(ColumnType::enum_type).collect();
        for id in types.iter().chain(&named) {
            if self.name_of(*id).is_none() {
                return Err(say::object_is_gone(*id));
            }
            if types.contains(id) && self.kind(*id) != ObjectKind::Type {
                return Err(say::cannot_be_used_here(&self.label(*id)));
            }
        }
        if query {
            for id in named {
                self.check_privilege(actor.current, self.parent(id), Privilege::Usage)?;
                self.check_reading(actor, id)?;
            }
        }
        if !matches!(body, Body::View(_)) {
            for id in types {
                self.check_privilege(actor.current, self.parent(id), Privilege::Usage)?;
                self.check_privilege(actor.current, id, Privilege::Usage)?;
            }
        }
        Ok(())
    }

    /// To read from it or to call it. Of a sequence a query may want to read, to count or to set.
    fn check_reading(&self, actor: Actor, object: ObjectId) -> Result<(), Refusal> {
        let user = actor.current;
        let counts = [Privilege::Usage, Privilege::Update];
        match self.kind(object) {
            ObjectKind::Function => self.check_privilege(user, object, Privilege::Execute),
            ObjectKind::Sequence if counts.iter().any(|privilege| self.holds(user, object, *privilege)) => {
                Ok(())
            }
            _ => self.check_privilege(user, object, Privilege::Select),
        }
    }

    pub(super) fn create_table(
        &mut self,
        actor: Actor,
        context: &NameContext,
        name: &ObjectName,
        table: &Table,
        (foreign_keys, identities): (&[NewConstraint], &[NewIdentity]),
        if_not_exists: bool,
    ) -> Result<Told, Refusal> {
        let (schema, last) = self.place(actor, context, name)?;
        if self.find_in_schema(schema, &last).is_some() {
            return self.taken(schema, &last, Sort::Relation, if_not_exists);
        }
        let body = Body::Table(Arc::new(table.clone()));
        self.check_references(actor, &body)?;
        let id = self.add_in_schema(actor, body, &last, schema);
        self.add_foreign_keys(actor, context, id, foreign_keys)?;
        let mut storage = Vec::new();
        for identity in identities {
            storage.extend(self.add_identity(actor, id, identity)?.storage);
        }
        storage.push(StorageChange::Create(id));
        Ok(Told { notices: Vec::new(), storage })
    }

    pub(super) fn create_view(
        &mut self,
        actor: Actor,
        context: &NameContext,
        name: &ObjectName,
        view: &View,
        if_not_exists: bool,
        or_replace: bool,
    ) -> Result<Told, Refusal> {
        let (schema, last) = self.place(actor, context, name)?;
        let body = Body::View(view.clone());
        self.check_references(actor, &body)?;
        let Some(old) = self.find_in_schema(schema, &last) else {
            self.add_in_schema(actor, body, &last, schema);
            return Ok(Told::default());
        };
        if !or_replace || self.kind(old) == ObjectKind::Type {
            return self.taken(schema, &last, Sort::Relation, if_not_exists);
        }
        self.check_privilege(actor.current, old, Privilege::Drop)?;
        self.check_relation_is(old, "view")?;
        if let Some(Body::View(before)) = self.body(old) {
            self.check_columns_stay(before, view)?;
        }
        if view.references.iter().any(|used| self.uses(*used, old)) {
            return Err(say::view_in_itself(&self.full_name(old)));
        }
        self.set_body(old, body);
        Ok(Told::default())
    }

    /// A view that takes the place of another has its columns, and may have more.
    fn check_columns_stay(&self, before: &View, now: &View) -> Result<(), Refusal> {
        if now.columns.len() < before.columns.len() {
            return Err(say::columns_are_lost());
        }
        for (old, new) in before.columns.iter().zip(&now.columns) {
            if old.name != new.name {
                return Err(say::column_is_renamed(old.name.as_str(), new.name.as_str()));
            }
            if old.column_type != new.column_type {
                let (was, is) = (self.type_text(old.column_type), self.type_text(new.column_type));
                return Err(say::column_is_retyped(old.name.as_str(), &was, &is));
            }
        }
        Ok(())
    }

    /// A type with its schema, if it is an enum type.
    pub(super) fn type_text(&self, column_type: ColumnType) -> String {
        match column_type.enum_type() {
            Some(id) if self.name_of(id).is_some() => {
                format!("{}.{}", self.label(self.parent(id)), self.label(id))
            }
            _ => column_type.to_string(),
        }
    }

    /// Whether `object` is `other` or cannot be without it.
    fn uses(&self, object: ObjectId, other: ObjectId) -> bool {
        let mut used = vec![object];
        let mut at = 0;
        while let Some(id) = used.get(at).copied() {
            at += 1;
            for deeper in self.body(id).map(references).unwrap_or_default() {
                if !used.contains(&deeper) {
                    used.push(deeper);
                }
            }
        }
        used.contains(&other)
    }

    pub(super) fn set_body(&mut self, object: ObjectId, body: Body) {
        for known in &mut self.objects {
            if known.id == object {
                known.body = body.clone();
            }
        }
    }

    pub(super) fn create_sequence(
        &mut self,
        actor: Actor,
        context: &NameContext,
        name: &ObjectName,
        sequence: &Sequence,
        owned_by: Option<&ObjectName>,
        if_not_exists: bool,
    ) -> Result<Told, Refusal> {
        let (schema, last) = self.place(actor, context, name)?;
        if self.find_in_schema(schema, &last).is_some() {
            return self.taken(schema, &last, Sort::Relation, if_not_exists);
        }
        let mut sequence = sequence.clone();
        sequence.owned_by = None;
        if let Some(table) = owned_by {
            sequence.owned_by = Some(self.table_of_sequence(actor, context, table)?);
        }
        check_sequence(&sequence)?;
        let id = self.add_in_schema(actor, Body::Sequence(sequence), &last, schema);
        Ok(Told::create(id))
    }

    /// The table with which a sequence goes; CREATE on it is what changes of a table need.
    fn table_of_sequence(
        &self,
        actor: Actor,
        context: &NameContext,
        name: &ObjectName,
    ) -> Result<ObjectId, Refusal> {
        let table = self.named(context, name, Sort::Relation)?;
        if table.is_virtual() {
            return Err(say::not_such_a_relation(&self.label(table), "table"));
        }
        let table = self.relation_for(actor, context, name, "table")?;
        self.check_privilege(actor.current, table, Privilege::Create)?;
        Ok(table)
    }

    pub(super) fn alter_sequence(
        &mut self,
        actor: Actor,
        context: &NameContext,
        name: &ObjectName,
        if_exists: bool,
        options: &SequenceOptions,
    ) -> Result<Told, Refusal> {
        let id = match self.relation_for(actor, context, name, "sequence") {
            Ok(id) => id,
            Err(refusal) => return missing(if_exists, refusal),
        };
        self.check_privilege(actor.current, id, Privilege::Create)?;
        let Some(Body::Sequence(sequence)) = self.body(id) else { return Err(say::object_is_gone(id)) };
        let mut sequence = sequence.clone();
        if let Some(increment) = options.increment {
            sequence.increment = increment;
        }
        let rises = sequence.increment > 0;
        if let Some(min) = options.min {
            sequence.min = min.unwrap_or(if rises { 1 } else { i64::MIN });
        }
        if let Some(max) = options.max {
            sequence.max = max.unwrap_or(if rises { i64::MAX } else { -1 });
        }
        if let Some(start) = options.start {
            sequence.start = start;
        }
        if options.owned_by.is_some() && self.users(id).iter().any(|user| self.counts_with(*user, id)) {
            return Err(say::sequence_is_a_columns(&self.label(id)));
        }
        if let Some(owned_by) = &options.owned_by {
            sequence.owned_by = match owned_by {
                Some(table) => Some(self.table_of_sequence(actor, context, table)?),
                None => None,
            };
        }
        check_sequence(&sequence)?;
        self.set_body(id, Body::Sequence(sequence));
        Ok(Told::default())
    }

    pub(super) fn create_type(
        &mut self,
        actor: Actor,
        context: &NameContext,
        name: &ObjectName,
        labels: &[String],
        if_not_exists: bool,
    ) -> Result<Told, Refusal> {
        let (schema, last) = self.place(actor, context, name)?;
        if self.find_in_schema(schema, &last).is_some() {
            return self.taken(schema, &last, Sort::Type, if_not_exists);
        }
        let mut made = Vec::new();
        for (position, label) in (0..).zip(labels) {
            if labels.iter().filter(|other| *other == label).count() > 1 {
                return Err(say::label_twice(label));
            }
            made.push(EnumLabel { position, label: label.clone() });
        }
        self.add_in_schema(actor, Body::Type(EnumType { labels: made }), &last, schema);
        Ok(Told::default())
    }

    pub(super) fn alter_type(
        &mut self,
        actor: Actor,
        context: &NameContext,
        name: &ObjectName,
        change: &LabelChange,
    ) -> Result<Told, Refusal> {
        let id = self.named_for(actor, context, name, Sort::Type)?;
        self.check_owner(actor.current, id)?;
        let Some(Body::Type(old)) = self.body(id) else { return Err(say::object_is_gone(id)) };
        let mut labels: Vec<String> = old.labels.iter().map(|known| known.label.clone()).collect();
        let at = |labels: &[String], wanted: &str| labels.iter().position(|label| label == wanted);
        match change {
            LabelChange::Add { label, if_not_exists, beside } => {
                if labels.contains(label) {
                    return exists(*if_not_exists, &say::label_exists(label));
                }
                let place = match beside {
                    None => labels.len(),
                    Some((before, other)) => {
                        let place = at(&labels, other).ok_or_else(|| say::no_such_neighbour(other))?;
                        if *before { place } else { place + 1 }
                    }
                };
                labels.insert(place, label.clone());
            }
            LabelChange::Rename { from, to } => {
                if from != to && labels.contains(to) {
                    return Err(say::renamed_label_exists(to));
                }
                let place = at(&labels, from).ok_or_else(|| say::no_such_label(from))?;
                labels[place].clone_from(to);
            }
        }
        // Where the labels stand in rows is the engine's: here only their order counts.
        let labels = (0..).zip(labels).map(|(position, label)| EnumLabel { position, label }).collect();
        self.set_body(id, Body::Type(EnumType { labels }));
        Ok(Told::default())
    }

    pub(super) fn create_function(
        &mut self,
        actor: Actor,
        context: &NameContext,
        name: &ObjectName,
        function: &Function,
        or_replace: bool,
    ) -> Result<Told, Refusal> {
        let (schema, last) = self.place(actor, context, name)?;
        let types: Vec<_> = function.argument_types().collect();
        let body = Body::Function(function.clone());
        self.check_references(actor, &body)?;
        let found = self.find_functions(schema, &last, Some(&types)).first().copied();
        let Some(old) = found else {
            self.add_in_schema(actor, body, &last, schema);
            return Ok(Told::default());
        };
        if !or_replace {
            return Err(say::function_exists(last.as_str()));
        }
        self.check_owner(actor.current, old)?;
        if let Some(Body::Function(before)) = self.body(old)
            && before.returns != function.returns
        {
            return Err(say::other_return_type(last.as_str()));
        }
        if function.references.iter().any(|used| self.uses(*used, old)) {
            return Err(say::function_in_itself(&self.full_name(old)));
        }
        self.set_body(old, body);
        Ok(Told::default())
    }

    pub(super) fn create_external_connection(
        &mut self,
        actor: Actor,
        name: &Name,
        uri: &ConnectionUri,
        access: &[UriAccess],
        if_not_exists: bool,
    ) -> Result<Told, Refusal> {
        if !self.holds(actor.current, ObjectId::CLUSTER, Privilege::ExternalConnection) {
            return Err(say::may_not_create_external_connection());
        }
        if self.find_external_connection(name).is_some() {
            return exists(if_not_exists, &say::external_connection_exists(name.as_str()));
        }
        for access in access {
            self.check_outside(actor.current, access)?;
        }
        let body = Body::ExternalConnection(ExternalConnection { uri: uri.clone() });
        let id = self.add_object(body, name.clone(), ObjectId::CLUSTER, actor.current);
        self.add_grant(id, actor.current, &[Privilege::All]);
        Ok(Told::default())
    }

    pub(super) fn alter_external_connection(
        &mut self,
        actor: Actor,
        name: &Name,
        uri: &ConnectionUri,
        access: &[UriAccess],
        if_exists: bool,
    ) -> Result<Told, Refusal> {
        let id = match self.external_connection(name) {
            Ok(id) => id,
            Err(refusal) => return missing(if_exists, refusal),
        };
        self.check_owner(actor.current, id)?;
        for access in access {
            self.check_outside(actor.current, access)?;
        }
        self.set_body(id, Body::ExternalConnection(ExternalConnection { uri: uri.clone() }));
        Ok(Told::default())
    }

    pub(super) fn create_iam_role(
        &mut self,
        actor: Actor,
        name: &Name,
        if_not_exists: bool,
    ) -> Result<Told, Refusal> {
        if !self.is_admin(actor.current) {
            return Err(say::admin_only("CREATE IAM ROLE"));
        }
        // Its shape is one of the limits that the model does not know.
        if self.find_iam_role(name).is_some() {
            return exists(if_not_exists, &say::iam_role_exists(name.as_str()));
        }
        let id = self.add_object(Body::IamRole, name.clone(), ObjectId::CLUSTER, actor.current);
        self.add_grant(id, actor.current, &[Privilege::All]);
        Ok(Told::default())
    }

    /// Whether `user` owns it or is an admin; what is the system's nobody owns.
    pub(super) fn check_owner(&self, user: PrincipalId, object: ObjectId) -> Result<(), Refusal> {
        if self.owner(object) != Some(PrincipalId::NODE) && self.owns_or_admin(user, object) {
            return Ok(());
        }
        Err(say::must_own(self.kind(object), &self.label(object)))
    }
}

/// What `body` cannot be without, sorted, each once.
pub(super) fn references(body: &Body) -> Vec<ObjectId> {
    let mut found = Vec::new();
    match body {
        Body::Table(table) => {
            found.extend(table.columns.iter().filter_map(|column| column.column_type.enum_type()));
            found.extend(table.named());
            found.extend(table.foreign_keys.iter().map(|key| key.target));
        }
        Body::View(view) => {
            found.extend(view.columns.iter().filter_map(|column| column.column_type.enum_type()));
            found.extend(&view.references);
        }
        Body::Function(function) => {
            found.extend(function.argument_types().filter_map(ColumnType::enum_type));
            found.extend(function.returns.enum_type());
            found.extend(&function.references);
        }
        Body::Sequence(sequence) => found.extend(sequence.owned_by),
        Body::Database
        | Body::Schema
        | Body::Type(_)
        | Body::ExternalConnection(_)
        | Body::VirtualTable
        | Body::IamRole => {}
    }
    found.sort();
    found.dedup();
    found
}

pub(super) fn check_sequence(sequence: &Sequence) -> Result<(), Refusal> {
    let Sequence { start, increment, min, max, owned_by: _ } = *sequence;
    if increment == 0 {
        return Err(say::no_increment());
    }
    if min > max {
        return Err(say::min_above_max(min, max));
    }
    if start > max {
        return Err(say::start_above_max(start, max));
    }
    if start < min {
        return Err(say::start_below_min(start, min));
    }
    Ok(())
}

pub(super) fn exists(if_not_exists: bool, refusal: &Refusal) -> Result<Told, Refusal> {
    if if_not_exists { Ok(Told::notice(say::skipping(refusal))) } else { Err(refusal.clone()) }
}

/// IF EXISTS forgives that the object is missing, and that what should contain it is.
pub(super) fn missing(if_exists: bool, refusal: Refusal) -> Result<Told, Refusal> {
    let forgivable = ["3D000", "3F000", "42602", "42P01", "42704", "42883"].contains(&refusal.code.as_str());
    if if_exists && forgivable { Ok(Told::default()) } else { Err(refusal) }
}
