//! FOR UPDATE and FOR SHARE. There is one writer, so a row that a transaction has read there cannot change before it
//! ends: nothing is locked, but the statement counts as a change, and needs what a change needs.

use std::collections::BTreeSet;

use grantd_catalog::id::ObjectId;
use grantd_catalog::name::Name;
use grantd_catalog::privilege::Privilege;
use sqlparser::ast;

use super::Planner;
use super::scope::Scope;
use crate::error::SqlError;

/// What the FROM that is being planned is read for.
#[derive(Clone, Debug)]
pub(super) struct Locking {
    /// The relations that OF names; none: all.
    of: Option<BTreeSet<Name>>,
}

impl Locking {
    /// Whether a relation of this name in FROM is meant.
    fn is_of(&self, name: &Name) -> bool {
        self.of.as_ref().is_none_or(|of| of.contains(name))
    }

    /// 42P01 for a name after OF that FROM does not have.
    pub(super) fn check(&self, scope: &Scope<'_>) -> Result<(), SqlError> {
        let known = |name: &&Name| !scope.relations.iter().any(|relation| relation.name == **name);
        match self.of.iter().flatten().find(known) {
            None => Ok(()),
            Some(name) => Err(SqlError::new(
                grantd_catalog::refusal::state::UNDEFINED_TABLE,
                format!("relation \"{name}\" in FOR UPDATE clause not found in FROM clause"),
            )),
        }
    }
}

impl Planner<'_> {
    pub(super) fn locking(&mut self, clauses: &[ast::LockClause]) -> Result<Locking, SqlError> {
        if self.inside.definer.is_some() || self.inside.reads_only {
            return Err(SqlError::unsupported("FOR UPDATE or FOR SHARE in a view"));
        }
        let mut of = BTreeSet::new();
        // UPDATE or SHARE, NOWAIT or SKIP LOCKED: nobody else is ever in the way.
        for ast::LockClause { lock_type: _, of: named, nonblock: _ } in clauses {
            let Some(name) = named else {
                self.locks = true;
                return Ok(Locking { of: None });
            };
            let parts = super::object_name(name)?.parts;
            let [name] = parts.as_slice() else {
                return Err(SqlError::syntax("FOR UPDATE must specify unqualified relation names"));
            };
            of.insert(name.clone());
        }
        self.locks = true;
        Ok(Locking { of: Some(of) })
    }

    /// A relation of FROM, called `name` there: `table`, or none if it is none.
    pub(super) fn locked(&mut self, name: &Name, table: Option<ObjectId>) -> Result<(), SqlError> {
        let Some(locking) = self.locking.as_ref().filter(|locking| locking.is_of(name)) else {
            return Ok(());
        };
        match (table, &locking.of) {
            (Some(id), _) => {
                self.uses(id, &[Privilege::Update]);
                Ok(())
            }
            (None, _) => Err(SqlError::unsupported("FOR UPDATE or FOR SHARE of anything but a table")),
        }
    }

    /// Plans a subquery in FROM, called `name` there.
    pub(super) fn with_locking_of<T>(
        &mut self,
        name: &Name,
        plan: impl FnOnce(&mut Self) -> Result<T, SqlError>,
    ) -> Result<T, SqlError> {
        let locking = self.locking.take();
        self.locking = locking.as_ref().filter(|l| l.is_of(name)).map(|_| Locking { of: None });
        let planned = plan(self);
        self.locking = locking;
        planned
    }
}
