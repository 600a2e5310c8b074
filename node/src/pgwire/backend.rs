//! What the protocol drives: the login decision, and statements.

use std::future::Future;
use std::time::{SystemTime, UNIX_EPOCH};

use grantd_catalog::command::Actor;
use grantd_catalog::id::PrincipalId;
use grantd_catalog::name::{Name, RoleName};
use grantd_catalog::refusal::Refusal;
use grantd_raft::handle::Handle;

use crate::activity::Newcomer;
use crate::audit::Who;
use crate::authn::{Login, decide_login};
use crate::error::SqlError;
use crate::pgwire::machine::Described;
use crate::pgwire::reply::state;
use crate::session::Session;
use crate::sql::execute::{Engine, Place, Prepared, Response};
use crate::sql::system::variable;
use crate::value::{Datum, SqlType};

/// The seam between the protocol and the rest of the node, so that the protocol is tested with scripted answers.
pub trait Backend: Send + Sync + 'static {
    /// A statement that was prepared.
    type Plan: Send + Sync + 'static;

    /// What the catalog says of a user that wants to log in, not older than this call.
    ///
    /// # Errors
    /// 57P03: this node cannot say now.
    fn login(&self, user: &RoleName, database: &Name)
    -> impl Future<Output = Result<Login, SqlError>> + Send;

    /// Whether the actor acts as an administrator, as far as this node knows: for display.
    fn is_superuser(&self, actor: Actor) -> bool;

    /// A login was refused: for a log of such. A backend without one does nothing.
    fn refused(&self, user: &RoleName, client: String, refusal: &Refusal) {
        let _ = (user, client, refusal);
    }

    /// A session begins: where others see it. A backend that keeps no list does nothing.
    fn opened(&self, session: &mut Session, newcomer: Newcomer) {
        drop((session, newcomer));
    }

    /// Gives a new session the variables that its role, its database and the cluster give it.
    fn begin(&self, session: &mut Session);

    /// Applies a setting that came with the connection.
    ///
    /// # Errors
    /// For a value that cannot be honoured, and for a fact that no client sets.
    fn set(&self, session: &mut Session, name: &str, value: &str) -> Result<(), SqlError>;

    /// Splits a simple query's text into statements.
    fn split(&self, text: &str) -> Result<Vec<String>, SqlError>;

    /// Parses and types one statement.
    fn prepare(
        &self,
        session: &mut Session,
        text: &str,
        hints: &[Option<SqlType>],
    ) -> impl Future<Output = Result<Described<Self::Plan>, SqlError>> + Send;

    /// Prepares and executes one statement of a simple query. Several are one transaction, for backends that have such.
    ///
    /// # Errors
    /// Those of both; 42P02 if it has parameters, as a simple query gives no values.
    fn run(
        &self,
        session: &mut Session,
        text: &str,
        place: Place,
    ) -> impl Future<Output = Result<Response, SqlError>> + Send {
        async move {
            let statement = self.prepare(session, text, &[]).await?;
            if !statement.parameters.is_empty() {
                return Err(SqlError::no_parameter());
            }
            self.execute(session, &statement.plan, &[], place).await
        }
    }

    /// Answers one that is an inquiry without waiting, into `answers`, if that can be done now; none: execute it.
    fn answer(
        &self,
        session: &mut Session,
        plan: &Self::Plan,
        parameters: &[Datum],
        answers: &mut Vec<Option<bool>>,
    ) -> Option<Result<(), SqlError>> {
        let _ = (session, plan, parameters, answers);
        None
    }

    /// Executes one.
    fn execute(
        &self,
        session: &mut Session,
        plan: &Self::Plan,
        parameters: &[Datum],
        place: Place,
    ) -> impl Future<Output = Result<Response, SqlError>> + Send;

    /// Ends the transaction of several statements that nobody began. Afterwards the session is in none.
    fn commit(&self, session: &mut Session) -> impl Future<Output = Result<(), SqlError>> + Send;
}

/// A node of a cluster.
#[derive(Clone)]
pub struct Cluster {
    /// Runs statements.
    pub engine: Engine,
    /// Knows the catalog.
    pub handle: Handle,
}

impl Backend for Cluster {
    type Plan = Prepared;

    async fn login(&self, user: &RoleName, database: &Name) -> Result<Login, SqlError> {
        let view = self.handle.linearizable().await;
        let view = view.map_err(|error| SqlError::new(state::CANNOT_CONNECT_NOW, error.to_string()))?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        // The clock of this node: VALID UNTIL is decided where the client is, and changes nothing.
        let now_us = i64::try_from(now.as_micros()).unwrap_or(i64::MAX);
        Ok(decide_login(&view, user, database, now_us))
    }

    fn is_superuser(&self, actor: Actor) -> bool {
        self.handle.view().acts_as(actor.current, PrincipalId::ADMIN)
    }

    fn refused(&self, user: &RoleName, client: String, refusal: &Refusal) {
        let who = Who { interface: "sql", user: user.to_string(), client: Some(client), ..Who::default() };
        self.engine.audit().refused(&who, self.handle.view().version(), refusal);
    }

    fn opened(&self, session: &mut Session, newcomer: Newcomer) {
        session.register(self.engine.activity().own(), newcomer);
    }

    fn begin(&self, session: &mut Session) {
        variable::begin(session, &self.handle.view());
    }

    fn set(&self, session: &mut Session, name: &str, value: &str) -> Result<(), SqlError> {
        variable::set_at_start(session, &self.handle.view(), name, value)
    }

    fn split(&self, text: &str) -> Result<Vec<String>, SqlError> {
        self.engine.split(text)
    }

    async fn prepare(
        &self,
        session: &mut Session,
        text: &str,
        hints: &[Option<SqlType>],
    ) -> Result<Described<Prepared>, SqlError> {
        let prepared = self.engine.prepare_next(session, text, hints).await;
        let plan = self.engine.recorded(session, prepared)?;
        let (parameters, columns) = (plan.parameters.clone(), plan.columns.clone());
        let (copies_in, is_inquiry) = (plan.copies_in(), plan.is_inquiry());
        Ok(Described { parameters, columns, copies_in, is_inquiry, plan })
    }

    /// As one, which saves a round to the leader.
    async fn run(&self, session: &mut Session, text: &str, place: Place) -> Result<Response, SqlError> {
        let ran = self.engine.run(session, text, place).await;
        self.engine.recorded(session, ran)
    }

    fn answer(
        &self,
        session: &mut Session,
        plan: &Prepared,
        parameters: &[Datum],
        answers: &mut Vec<Option<bool>>,
    ) -> Option<Result<(), SqlError>> {
        self.engine.answer_at_once(session, plan, parameters, answers)
    }

    async fn execute(
        &self,
        session: &mut Session,
        plan: &Prepared,
        parameters: &[Datum],
        place: Place,
    ) -> Result<Response, SqlError> {
        let ran = self.engine.execute_at(session, plan, parameters, place).await;
        self.engine.recorded(session, ran)
    }

    async fn commit(&self, session: &mut Session) -> Result<(), SqlError> {
        let ended = self.engine.end_implicit(session).await;
        self.engine.recorded(session, ended)
    }
}
