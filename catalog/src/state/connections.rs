//! External connections. They are in no database; who made one owns it and holds a stored ALL without grant option,
//! which is what SHOW GRANTS lists; superusers need no entry. Source: authorization spec, A.5.5, E.7; cloud-jobs spec,
//! A.8.

use crate::grant::{Acl, AclEntry};
use crate::id::ObjectId;
use crate::name::Name;
use crate::object::{Body, ConnectionUri, ExternalConnection, Object, TEXT_BYTES_MAX};
use crate::privilege::{ObjectKind, Privilege, PrivilegeSet};
use crate::refusal::{self, Refusal};
use crate::require::UriAccess;
use crate::state::objects::check_name;
use crate::state::{Namespace, State, Work};

impl Work<'_> {
    /// Who stores a URI must be allowed to use it: whoever is granted USAGE on the connection is then asked for nothing else.
    pub(super) fn create_external_connection(
        &mut self,
        name: &Name,
        uri: &ConnectionUri,
        access: &[UriAccess],
        if_not_exists: bool,
    ) -> Result<(), Refusal> {
        let caller = self.actor.current;
        if !self.state.index.holds(caller, ObjectId::CLUSTER, Privilege::ExternalConnection) {
            return Err(refusal::may_not_create_external_connection());
        }
        if self.state.child(ObjectId::CLUSTER, Namespace::ExternalConnections, name).is_some() {
            return self.taken(refusal::external_connection_exists(name), if_not_exists);
        }
        check_name(name, ObjectKind::ExternalConnection)?;
        let connection = ExternalConnection { uri: uri.clone() };
        check(&connection)?;
        self.check_outside(access)?;
        self.create_outside(name, Body::ExternalConnection(connection))
    }

    /// Needs ownership: v22.2 has no such statement, and the privilege that later releases ask for (UPDATE) is none here.
    pub(super) fn alter_external_connection(
        &mut self,
        name: &Name,
        uri: &ConnectionUri,
        access: &[UriAccess],
        if_exists: bool,
    ) -> Result<(), Refusal> {
        let found = self.state.resolve_external_connection(name);
        let Some(id) = self.found(found, if_exists)? else { return Ok(()) };
        self.require_ownership(id)?;
        let connection = ExternalConnection { uri: uri.clone() };
        check(&connection)?;
        self.check_outside(access)?;
        let Some(object) = self.state.object(id) else { return Err(refusal::object_gone(id)) };
        self.put_object(id, Object { body: Body::ExternalConnection(connection), ..object.clone() });
        Ok(())
    }

    /// Needs DROP on each. What was granted on them goes with them.
    pub(super) fn drop_external_connections(
        &mut self,
        names: &[Name],
        if_exists: bool,
    ) -> Result<(), Refusal> {
        self.drop_outside(names, if_exists, State::resolve_external_connection)
    }

    /// An object that stands for something outside: who makes it owns it.
    pub(super) fn create_outside(&mut self, name: &Name, body: Body) -> Result<(), Refusal> {
        let caller = self.actor.current;
        let entry = AclEntry { privileges: PrivilegeSet::ALL, ..AclEntry::none(caller) };
        let id = self.new_object_id()?;
        let object = Object {
            name: name.clone(),
            parent: ObjectId::CLUSTER,
            owner: caller,
            acl: [entry].into_iter().collect::<Acl>(),
            body,
            comment: None,
        };
        self.put_object(id, object);
        Ok(())
    }

    /// Drops such objects: all of them, or none.
    pub(super) fn drop_outside(
        &mut self,
        names: &[Name],
        if_exists: bool,
        resolve: fn(&State, &Name) -> Result<ObjectId, Refusal>,
    ) -> Result<(), Refusal> {
        self.check_list(names.len())?;
        let mut dropped = Vec::new();
        for name in names {
            let Some(id) = self.found(resolve(&self.state, name), if_exists)? else { continue };
            self.require(id, Privilege::Drop)?;
            dropped.push(id);
        }
        for id in dropped {
            self.remove_object(id);
        }
        Ok(())
    }
}

/// That the URI is within bounds.
pub(super) fn check(connection: &ExternalConnection) -> Result<(), Refusal> {
    let bytes = connection.uri.expose().len();
    if bytes > TEXT_BYTES_MAX { Err(refusal::text_too_long("URI", bytes, TEXT_BYTES_MAX)) } else { Ok(()) }
}
