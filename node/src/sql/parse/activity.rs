//! SHOW SESSIONS and the like, CANCEL, SHOW CLUSTER NODES: what runs where in the cluster.

use sqlparser::ast;
use sqlparser::parser::Parser;
use sqlparser::tokenizer::Token;

use super::{Reader, Statement};
use crate::activity::Target;
use crate::activity::cluster::Scope;
use crate::error::SqlError;

/// The most statements or sessions that one CANCEL names.
pub const CANCEL_IDS_MAX: usize = 1_000;

/// A statement about what runs in the cluster.
#[derive(Clone, Debug)]
pub enum ActivityStatement {
    /// `SHOW [ALL] [CLUSTER | LOCAL]` SESSIONS, QUERIES (or STATEMENTS), TRANSACTIONS. ALL adds the original's internal
    /// sessions, which there are none of here.
    Show(Listed, Scope),
    /// SHOW CLUSTER NODES.
    Nodes,
    /// `SHOW [CLUSTER | LOCAL] CREDENTIALS`.
    Credentials(Scope),
    /// CANCEL QUERY, QUERIES, SESSION, SESSIONS.
    Cancel {
        /// What the numbers are of.
        target: Target,
        /// What is not there is no error.
        if_exists: bool,
        /// Which.
        ids: CancelIds,
    },
}

/// What SHOW lists of what runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the words of the statement")]
pub enum Listed {
    Sessions,
    Queries,
    Transactions,
}

/// What a CANCEL is about.
#[derive(Clone, Debug)]
pub enum CancelIds {
    /// As written: one, or several with commas.
    Written(Vec<String>),
    /// The one column of a query. NULL is passed over.
    Query(Box<ast::Query>),
}

impl Reader<'_> {
    /// After SHOW: one of the listings, if it is one.
    pub(super) fn show_activity(&mut self) -> Result<Option<Statement>, SqlError> {
        let start = self.parser.index();
        if self.words(&["CLUSTER", "NODES"]) {
            return Ok(Some(Statement::Activity(ActivityStatement::Nodes)));
        }
        let _ = self.words(&["ALL"]);
        let scope = if self.words(&["LOCAL"]) { Scope::Local } else { Scope::Cluster };
        let _ = scope == Scope::Cluster && self.words(&["CLUSTER"]);
        if self.words(&["CREDENTIALS"]) {
            return Ok(Some(Statement::Activity(ActivityStatement::Credentials(scope))));
        }
        for (word, listed) in [
            ("SESSIONS", Listed::Sessions),
            ("QUERIES", Listed::Queries),
            ("STATEMENTS", Listed::Queries),
            ("TRANSACTIONS", Listed::Transactions),
        ] {
            if self.words(&[word]) {
                return Ok(Some(Statement::Activity(ActivityStatement::Show(listed, scope))));
            }
        }
        self.back_to(start);
        Ok(None)
    }

    pub(super) fn cancel(&mut self) -> Result<Statement, SqlError> {
        let start = self.parser.index();
        self.expect_words(&["CANCEL"])?;
        let target = if self.words(&["SESSION"]) || self.words(&["SESSIONS"]) {
            Target::Session
        } else if self.words(&["QUERY"]) || self.words(&["QUERIES"]) {
            Target::Query
        } else if ["JOB", "JOBS", "ALL"].iter().any(|word| self.next_is(word)) {
            self.back_to(start);
            return self.control_jobs();
        } else {
            return Err(self.expected("QUERY, SESSION or JOB"));
        };
        let if_exists = self.if_exists();
        let is_query = matches!(self.parser.peek_token_ref().token, Token::LParen)
            || ["SELECT", "WITH", "VALUES", "TABLE"].iter().any(|word| self.next_is(word));
        let ids = if is_query {
            CancelIds::Query(self.sql(Parser::parse_query)?)
        } else {
            CancelIds::Written(self.list(Self::string)?)
        };
        Ok(Statement::Activity(ActivityStatement::Cancel { target, if_exists, ids }))
    }

    /// Reads on from an earlier token.
    pub(super) fn back_to(&mut self, start: usize) {
        while self.parser.index() > start {
            self.parser.prev_token();
        }
    }
}
