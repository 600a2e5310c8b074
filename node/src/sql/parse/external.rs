//! CREATE, ALTER and CHECK EXTERNAL CONNECTION: statements that look at what is outside before they are done.
//!
//! No error repeats a URI: it may hold secrets.

use std::time::Duration;

use grantd_catalog::name::Name;
use grantd_catalog::object::{ConnectionUri, TEXT_BYTES_MAX};
use grantd_catalog::setting::{SettingType, SettingValue};
use sqlparser::tokenizer::Token;

use super::{Reader, Statement};
use crate::activity::cluster::Scope;
use crate::cloud::connection;
use crate::cloud::preflight::{
    CONCURRENTLY_MAX, Options, TIME_MAX, TIME_MIN, TRANSFER_BYTES_MAX, TRANSFER_BYTES_MIN,
};
use crate::error::SqlError;

/// A statement about what is outside.
#[derive(Clone, Debug)]
pub enum ExternalStatement {
    /// CREATE EXTERNAL CONNECTION.
    Create {
        /// Its name.
        name: Name,
        /// What it stands for.
        uri: ConnectionUri,
        /// One of this name is no error.
        if_not_exists: bool,
        /// Nothing is reached before it is made.
        skip_check: bool,
    },
    /// ALTER EXTERNAL CONNECTION … AS.
    Alter {
        /// Its name.
        name: Name,
        /// What it stands for from now on.
        uri: ConnectionUri,
        /// That there is none is no error.
        if_exists: bool,
        /// Nothing is reached before it is changed.
        skip_check: bool,
    },
    /// CHECK EXTERNAL CONNECTION.
    Check {
        /// A URI, perhaps `external://…`.
        uri: ConnectionUri,
        /// What is done there.
        options: Options,
        /// From which nodes.
        scope: Scope,
    },
}

impl ExternalStatement {
    /// What it is called in messages, if it changes something.
    pub fn changing(&self) -> Option<&'static str> {
        match self {
            Self::Create { .. } => Some("CREATE EXTERNAL CONNECTION"),
            Self::Alter { .. } => Some("ALTER EXTERNAL CONNECTION"),
            Self::Check { .. } => None,
        }
    }
}

impl Reader<'_> {
    /// After CREATE EXTERNAL CONNECTION.
    pub(super) fn create_connection(&mut self) -> Result<Statement, SqlError> {
        let if_not_exists = self.if_not_exists();
        let name = self.connection_name()?;
        let (uri, skip_check) = self.connection_uris()?;
        let create = ExternalStatement::Create { name, uri, if_not_exists, skip_check };
        Ok(Statement::External(Box::new(create)))
    }

    /// After ALTER EXTERNAL CONNECTION c, before AS.
    pub(super) fn alter_connection_uri(
        &mut self,
        name: Name,
        if_exists: bool,
    ) -> Result<Statement, SqlError> {
        let (uri, skip_check) = self.connection_uris()?;
        let alter = ExternalStatement::Alter { name, uri, if_exists, skip_check };
        Ok(Statement::External(Box::new(alter)))
    }

    /// `AS 'uri' [WITH SECONDARY 'uri', SKIP_CHECK]`.
    fn connection_uris(&mut self) -> Result<(ConnectionUri, bool), SqlError> {
        self.expect_words(&["AS"])?;
        let first = self.uri("Write AS 'scheme://…'.")?;
        let (mut secondary, mut skip_check) = (None, false);
        if self.words(&["WITH"]) {
            loop {
                if secondary.is_none() && self.words(&["SECONDARY"]) {
                    let _ = self.parser.consume_token(&Token::Eq);
                    secondary = Some(self.uri("Write WITH SECONDARY 'scheme://…'.")?);
                } else if !skip_check && self.words(&["SKIP_CHECK"]) {
                    skip_check = true;
                } else {
                    return Err(self.expected("SECONDARY or SKIP_CHECK, each once"));
                }
                if !self.comma() {
                    break;
                }
            }
        }
        let text = connection::joined(&first, secondary.as_deref());
        if text.len() > TEXT_BYTES_MAX {
            return Err(SqlError::too_large(format!("a URI of more than {TEXT_BYTES_MAX} bytes")));
        }
        Ok((ConnectionUri::new(text), skip_check))
    }

    /// `CHECK EXTERNAL CONNECTION 'uri' [WITH concurrently = n, time = '10s', transfer = '32MiB'] [ON ALL NODES]`, the two
    /// clauses in either order.
    pub(super) fn check_connection(&mut self) -> Result<Statement, SqlError> {
        self.expect_words(&["CHECK", "EXTERNAL", "CONNECTION"])?;
        let uri = ConnectionUri::new(self.uri("Write CHECK EXTERNAL CONNECTION 'scheme://…'.")?);
        let mut scope = if self.all_nodes() { Scope::Cluster } else { Scope::Local };
        let options = if self.words(&["WITH"]) { self.check_options()? } else { Options::default() };
        if scope == Scope::Local && self.all_nodes() {
            scope = Scope::Cluster;
        }
        Ok(Statement::External(Box::new(ExternalStatement::Check { uri, options, scope })))
    }

    fn all_nodes(&mut self) -> bool {
        self.words(&["ON", "ALL", "NODES"])
    }

    fn check_options(&mut self) -> Result<Options, SqlError> {
        let mut options = Options::default();
        let parenthesized = self.parser.consume_token(&Token::LParen);
        loop {
            if self.words(&["CONCURRENTLY"]) {
                let most = i64::from(CONCURRENTLY_MAX);
                let kind = SettingType::Int(1, most);
                let text = self.option_value()?;
                let Some(SettingValue::Int(number)) = kind.value(&text) else {
                    return Err(SqlError::syntax(format!(
                        "concurrently takes a whole number from 1 to {most}"
                    )));
                };
                options.concurrently = u32::try_from(number).unwrap_or(CONCURRENTLY_MAX);
            } else if self.words(&["TIME"]) {
                let kind = SettingType::Duration(millis(TIME_MIN), millis(TIME_MAX));
                let text = self.option_value()?;
                let Some(SettingValue::Milliseconds(ms)) = kind.value(&text) else {
                    return Err(SqlError::syntax(format!(
                        "time takes a duration from {TIME_MIN:?} to {TIME_MAX:?}, as '10s'"
                    )));
                };
                options.time = Duration::from_millis(ms);
            } else if self.words(&["TRANSFER"]) {
                let kind = SettingType::Bytes(TRANSFER_BYTES_MIN, TRANSFER_BYTES_MAX);
                let text = self.option_value()?;
                let Some(SettingValue::Bytes(bytes)) = kind.value(&text) else {
                    return Err(SqlError::syntax(format!(
                        "transfer takes bytes from {TRANSFER_BYTES_MIN} to {TRANSFER_BYTES_MAX}, as '32MiB'"
                    )));
                };
                options.transfer = bytes;
            } else {
                return Err(self.expected("concurrently, time or transfer"));
            }
            if !self.comma() {
                break;
            }
        }
        if parenthesized && !self.parser.consume_token(&Token::RParen) {
            return Err(self.expected(")"));
        }
        Ok(options)
    }

    /// `= 'text'` or `= 7`.
    fn option_value(&mut self) -> Result<String, SqlError> {
        if !self.parser.consume_token(&Token::Eq) {
            return Err(self.expected("="));
        }
        if let Token::Number(number, _) = &self.parser.peek_token_ref().token {
            let number = number.clone();
            self.parser.advance_token();
            return Ok(number);
        }
        self.string()
    }

    /// A URI in a string. `hint`: what to write.
    pub(super) fn uri(&mut self, hint: &'static str) -> Result<String, SqlError> {
        let text = self.string().map_err(|_| {
            SqlError::syntax("a place outside is written as a string literal").with_hint(hint)
        })?;
        if text.len() > TEXT_BYTES_MAX {
            return Err(SqlError::too_large(format!("a URI of more than {TEXT_BYTES_MAX} bytes")));
        }
        if text.contains(char::is_control) {
            return Err(SqlError::syntax("a URI has no line breaks and control characters"));
        }
        Ok(text)
    }

    /// The name of an external connection: a name, or a string.
    pub(super) fn connection_name(&mut self) -> Result<Name, SqlError> {
        match &self.parser.peek_token_ref().token {
            Token::SingleQuotedString(_) => self.string().map(|text| Name::normalize(&text)),
            _ => self.name(),
        }
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
