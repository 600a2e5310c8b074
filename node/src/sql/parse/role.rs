//! CREATE, ALTER and DROP ROLE, USER, GROUP; REASSIGN OWNED (authorization spec C, E.1).

use std::fmt;

use grantd_catalog::command::{Command, RoleSpec, VariableChange};
use grantd_catalog::role::{RoleOption, ValidUntil};
use sqlparser::tokenizer::Token;

use super::{Reader, Statement, shortened};
use crate::error::SqlError;
use crate::value::text::parse as parse_text;
use crate::value::{Datum, SqlType};

/// The most options of one statement: each may be there once, and once more to be refused.
const OPTIONS_MAX: usize = 64;

/// CREATE or ALTER ROLE as written.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the clauses of the statement of the same name")]
pub enum RoleStatement {
    Create { name: RoleSpec, is_role: bool, if_not_exists: bool, options: Vec<WrittenOption> },
    Alter { name: RoleSpec, if_exists: bool, options: Vec<WrittenOption> },
}

impl RoleStatement {
    /// What it is called in messages.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Create { .. } => "CREATE ROLE",
            Self::Alter { .. } => "ALTER ROLE",
        }
    }
}

/// An option as written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WrittenOption {
    /// The option, and whether the word sets what is stored.
    Flag(RoleOption, bool),
    /// PASSWORD, or PASSWORD NULL.
    Password(Option<WrittenPassword>),
    /// VALID UNTIL.
    ValidUntil(ValidUntil),
}

/// A password as the client wrote it. Never printed; hashed before anything is proposed.
#[derive(Clone, PartialEq, Eq)]
pub struct WrittenPassword(String);

impl WrittenPassword {
    /// The text, for hashing only.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for WrittenPassword {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WrittenPassword(…)")
    }
}

impl Reader<'_> {
    /// After CREATE ROLE, USER or GROUP.
    pub(super) fn create_role(&mut self, is_role: bool) -> Result<Statement, SqlError> {
        let if_not_exists = self.if_not_exists();
        let name = self.role_spec()?;
        let options = self.role_options()?;
        Ok(Statement::Role(RoleStatement::Create { name, is_role, if_not_exists, options }))
    }

    /// After ALTER ROLE, USER or GROUP.
    pub(super) fn alter_role(&mut self) -> Result<Statement, SqlError> {
        let if_exists = self.if_exists();
        let role = if self.words(&["ALL"]) { None } else { Some(self.role_spec()?) };
        let database = if self.words(&["IN", "DATABASE"]) { Some(self.name()?) } else { None };
        if let Some(change) = self.variable_change()? {
            let command = Command::AlterRoleSettings { role, if_exists, database, change };
            return Ok(Statement::Command(command, "ALTER ROLE"));
        }
        let (Some(name), None) = (role, database) else { return Err(self.expected("SET or RESET")) };
        let options = self.role_options()?;
        if options.is_empty() {
            return Err(self.expected("a role option"));
        }
        Ok(Statement::Role(RoleStatement::Alter { name, if_exists, options }))
    }

    /// After DROP ROLE, USER or GROUP.
    pub(super) fn drop_role(&mut self) -> Result<Statement, SqlError> {
        let if_exists = self.if_exists();
        let names = self.role_specs()?;
        Ok(Statement::Command(Command::DropRoles { names, if_exists }, "DROP ROLE"))
    }

    pub(super) fn reassign(&mut self) -> Result<Statement, SqlError> {
        self.expect_words(&["REASSIGN", "OWNED", "BY"])?;
        let from = self.role_specs()?;
        self.expect_words(&["TO"])?;
        let to = self.role_spec()?;
        Ok(Statement::Command(Command::ReassignOwned { from, to }, "REASSIGN OWNED BY"))
    }

    fn role_options(&mut self) -> Result<Vec<WrittenOption>, SqlError> {
        let with = self.words(&["WITH"]);
        let mut options = Vec::new();
        while !self.at_end() {
            if options.len() == OPTIONS_MAX {
                return Err(SqlError::too_large(format!("more than {OPTIONS_MAX} role options")));
            }
            options.push(self.role_option()?);
        }
        if with && options.is_empty() {
            return Err(self.expected("a role option"));
        }
        Ok(options)
    }

    fn role_option(&mut self) -> Result<WrittenOption, SqlError> {
        if self.words(&["ENCRYPTED", "PASSWORD"]) || self.words(&["PASSWORD"]) {
            if self.words(&["NULL"]) {
                return Ok(WrittenOption::Password(None));
            }
            return self.password();
        }
        if self.words(&["VALID", "UNTIL"]) {
            return self.valid_until();
        }
        let Token::Word(word) = &self.parser.peek_token_ref().token else {
            return Err(self.expected("a role option"));
        };
        if word.quote_style.is_some() {
            return Err(self.expected("a role option"));
        }
        if let Some((option, sets)) = RoleOption::from_word(&word.value) {
            self.parser.advance_token();
            return Ok(WrittenOption::Flag(option, sets));
        }
        Err(SqlError::syntax(format!("unrecognized role option {}", shortened(&word.value.to_lowercase()))))
    }

    /// The error of anything that is not a string does not repeat it: it may be the password.
    fn password(&mut self) -> Result<WrittenOption, SqlError> {
        self.string()
            .map(|text| WrittenOption::Password(Some(WrittenPassword(text))))
            .map_err(|_| SqlError::syntax("PASSWORD needs a string literal").with_hint("Write PASSWORD '…'."))
    }

    /// After VALID UNTIL. A time without an offset is UTC.
    fn valid_until(&mut self) -> Result<WrittenOption, SqlError> {
        if self.words(&["NULL"]) {
            return Ok(WrittenOption::ValidUntil(ValidUntil::Never));
        }
        let text = self.string()?;
        match parse_text(&text, SqlType::TimestampTz)? {
            Datum::TimestampTz(micros) => Ok(WrittenOption::ValidUntil(ValidUntil::At(micros))),
            _ => Err(SqlError::internal("a time is not a time")),
        }
    }

    /// `SET name = value`, `RESET name`, `RESET ALL` of sessions to come; none if it is something else. What the
    /// variable takes is checked later: whether the client may ask comes first.
    pub(super) fn variable_change(&mut self) -> Result<Option<VariableChange>, SqlError> {
        if self.words(&["RESET"]) {
            return Ok(Some(if self.words(&["ALL"]) {
                VariableChange::ResetAll
            } else {
                VariableChange::Reset(self.session_variable()?)
            }));
        }
        if !self.words(&["SET"]) {
            return Ok(None);
        }
        let (name, values) = self.assignment()?;
        Ok(Some(match values {
            Some(values) => VariableChange::Set(name, values.join(", ")),
            None => VariableChange::Reset(name),
        }))
    }
}
