//! CREATE and ALTER CHANGEFEED. Source: cloud-jobs spec, D.1.
//!
//! No error repeats a URI or the value of an option: they may hold secrets.

use grantd_catalog::command::ObjectName;
use grantd_catalog::job::JobId;
use grantd_catalog::object::{ConnectionUri, TEXT_BYTES_MAX};
use sqlparser::tokenizer::Token;

use super::job::JobStatement;
use super::{Reader, Statement};
use crate::error::SqlError;
use crate::feed::details::Written;

/// The most options of one changefeed: more than there are.
const OPTIONS_MAX: usize = 100;

/// The most clauses of one ALTER CHANGEFEED: a few of each sort.
const CHANGES_MAX: usize = 100;

/// A statement about changefeeds.
#[derive(Clone, Debug)]
pub enum FeedStatement {
    /// CREATE CHANGEFEED … INTO.
    Create {
        /// What is fed.
        tables: Vec<ObjectName>,
        /// Where to.
        sink: ConnectionUri,
        /// How.
        options: Written,
    },
    /// CREATE CHANGEFEED without INTO: its messages are rows of the statement.
    Stream {
        /// What is fed.
        tables: Vec<ObjectName>,
        /// How.
        options: Written,
    },
    /// ALTER CHANGEFEED.
    Alter {
        /// Which job.
        id: JobId,
        /// One after the other.
        changes: Vec<FeedChange>,
    },
}

/// One clause of ALTER CHANGEFEED.
#[derive(Clone, Debug)]
pub enum FeedChange {
    /// ADD: these tables too, with these options.
    Add(Vec<ObjectName>, Written),
    /// DROP: these tables no more.
    Drop(Vec<ObjectName>),
    /// SET.
    Set(Written),
    /// UNSET.
    Unset(Vec<String>),
}

impl FeedStatement {
    /// What it is called in messages.
    pub const fn tag(&self) -> &'static str {
        match self {
            Self::Create { .. } | Self::Stream { .. } => "CREATE CHANGEFEED",
            Self::Alter { .. } => "ALTER CHANGEFEED",
        }
    }
}

impl Reader<'_> {
    /// `EXPERIMENTAL CHANGEFEED FOR t`: the older way to write one that goes to the client.
    pub(super) fn experimental(&mut self) -> Result<Statement, SqlError> {
        self.expect_words(&["EXPERIMENTAL"])?;
        self.create_changefeed()
    }

    /// After CREATE, or EXPERIMENTAL.
    pub(super) fn create_changefeed(&mut self) -> Result<Statement, SqlError> {
        self.expect_words(&["CHANGEFEED"])?;
        if self.next_is("INTO") || self.next_is("AS") || self.next_is("WITH") {
            return Err(queries());
        }
        self.expect_words(&["FOR"])?;
        if self.words(&["DATABASE"]) {
            return Err(SqlError::unsupported("a changefeed of a database").with_hint("Name its tables."));
        }
        let _ = self.words(&["TABLE"]);
        let tables = self.list(Self::fed_table)?;
        let sink = if self.words(&["INTO"]) { Some(self.sink()?) } else { None };
        let options = if self.words(&["WITH"]) { self.feed_options()? } else { Written::default() };
        if self.next_is("AS") {
            return Err(queries());
        }
        let create = match sink {
            Some(sink) => FeedStatement::Create { tables, sink, options },
            None => FeedStatement::Stream { tables, options },
        };
        Ok(Statement::Job(Box::new(JobStatement::Feed(create))))
    }

    /// After ALTER CHANGEFEED.
    pub(super) fn alter_changefeed(&mut self) -> Result<Statement, SqlError> {
        let id = JobId(self.integer()?);
        let mut changes = Vec::new();
        while changes.is_empty() || !self.at_end() {
            if changes.len() == CHANGES_MAX {
                return Err(SqlError::too_large(format!("more than {CHANGES_MAX} changes of a changefeed")));
            }
            changes.push(if self.words(&["ADD"]) {
                let _ = self.words(&["TABLE"]);
                let tables = self.list(Self::fed_table)?;
                let options = if self.words(&["WITH"]) { self.feed_options()? } else { Written::default() };
                FeedChange::Add(tables, options)
            } else if self.words(&["DROP"]) {
                let _ = self.words(&["TABLE"]);
                FeedChange::Drop(self.list(Self::fed_table)?)
            } else if self.words(&["SET"]) {
                FeedChange::Set(self.feed_options()?)
            } else if self.words(&["UNSET"]) {
                FeedChange::Unset(self.list(|reader| Ok(reader.name()?.as_str().to_owned()))?)
            } else {
                return Err(self.expected("ADD, DROP, SET or UNSET"));
            });
        }
        Ok(Statement::Job(Box::new(JobStatement::Feed(FeedStatement::Alter { id, changes }))))
    }

    fn fed_table(&mut self) -> Result<ObjectName, SqlError> {
        let name = self.object_name()?;
        if self.next_is("FAMILY") {
            return Err(SqlError::unsupported("a changefeed of a column family"));
        }
        Ok(name)
    }

    fn sink(&mut self) -> Result<ConnectionUri, SqlError> {
        let text = self.string().map_err(|_| {
            SqlError::syntax("a sink needs a string literal").with_hint("Write INTO 'scheme://…'.")
        })?;
        if text.is_empty() {
            return Err(SqlError::syntax("omit the SINK clause for inline results"));
        }
        if text.len() > TEXT_BYTES_MAX {
            return Err(SqlError::too_large(format!("a URI of more than {TEXT_BYTES_MAX} bytes")));
        }
        if text.contains(char::is_control) {
            return Err(SqlError::syntax("a URI has no line breaks and control characters"));
        }
        Ok(ConnectionUri::new(text))
    }

    /// `name [= value], …`, also as `OPTIONS (…)`.
    fn feed_options(&mut self) -> Result<Written, SqlError> {
        let named = self.words(&["OPTIONS"]);
        let enclosed = self.parser.consume_token(&Token::LParen);
        if named && !enclosed {
            return Err(self.expected("("));
        }
        let mut options = Vec::new();
        loop {
            let name = self.name()?.as_str().to_owned();
            let value = if self.parser.consume_token(&Token::Eq) { Some(self.feed_value()?) } else { None };
            if options.len() == OPTIONS_MAX {
                return Err(SqlError::too_large(format!("more than {OPTIONS_MAX} options")));
            }
            options.push((name, value));
            if !self.comma() {
                break;
            }
        }
        if enclosed && !self.parser.consume_token(&Token::RParen) {
            return Err(self.expected(")"));
        }
        Ok(Written(options))
    }

    /// A string, a number or a word.
    fn feed_value(&mut self) -> Result<String, SqlError> {
        match &self.parser.peek_token_ref().token {
            Token::Number(number, _) => {
                let number = number.clone();
                self.parser.advance_token();
                Ok(number)
            }
            Token::Word(_) => self.name().map(|name| name.as_str().to_owned()),
            _ => self.string(),
        }
    }
}

fn queries() -> SqlError {
    SqlError::unsupported("CREATE CHANGEFEED … AS SELECT")
        .with_hint("Write CREATE CHANGEFEED FOR t INTO '…', and choose rows where the messages are read.")
}
