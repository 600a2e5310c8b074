//! What the audit log is told of statements: who, and what became of them.

use grantd_catalog::command::Actor;
use grantd_catalog::id::Version;
use grantd_raft::entry::Proposal;

use super::Engine;
use crate::audit::Who;
use crate::error::SqlError;
use crate::session::Session;

impl Engine {
    /// Records a statement's refusal, if it is of those that are recorded, and hands the result on.
    ///
    /// # Errors
    /// The same.
    pub fn recorded<T>(&self, session: &Session, result: Result<T, SqlError>) -> Result<T, SqlError> {
        if let Err(error) = &result
            && self.audit.is_on()
        {
            self.audit.refused(
                &self.who(session, session.actor),
                self.gate.applied_view().version(),
                &error.body,
            );
        }
        result
    }

    /// Records what changed the catalog in `version`.
    pub(super) fn record_changes<'a>(
        &self,
        session: &Session,
        version: Version,
        proposals: impl IntoIterator<Item = &'a Proposal>,
    ) {
        if !self.audit.is_on() {
            return;
        }
        for proposal in proposals {
            // The session may act as another role by now.
            self.audit.changed(&self.who(session, proposal.actor), version, &proposal.commands);
        }
    }

    /// Records that a statement showed what is hidden otherwise.
    pub(super) fn record_disclosure(&self, session: &Session, version: Version, what: &str) {
        if self.audit.is_on() {
            self.audit.disclosed(&self.who(session, session.actor), version, what);
        }
    }

    fn who(&self, session: &Session, actor: Actor) -> Who {
        let view = self.gate.applied_view();
        let name = |id| view.state().principal_name(id).to_string();
        Who {
            interface: "sql",
            session: session.registration.as_ref().map(|registration| registration.id().to_string()),
            user: name(actor.session),
            role: (actor.current != actor.session).then(|| name(actor.current)),
            client: None,
        }
    }
}
