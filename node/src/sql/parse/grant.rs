//! GRANT and REVOKE (authorization spec E.1).

use grantd_catalog::command::{Command, PrivilegeList, TablePattern, Targets};
use grantd_catalog::name::{Name, RoleName};
use grantd_catalog::privilege::Privilege;
use sqlparser::tokenizer::Token;

use super::{Reader, Statement, shortened};
use crate::error::SqlError;

impl Reader<'_> {
    pub(super) fn grant(&mut self) -> Result<Statement, SqlError> {
        self.expect_words(&["GRANT"])?;
        if let Some(privileges) = self.system_privileges()? {
            self.expect_words(&["TO"])?;
            let to = self.role_specs()?;
            let grant_option = self.words(&["WITH", "GRANT", "OPTION"]);
            let command = Command::Grant { privileges, on: Targets::System, to, grant_option };
            return Ok(Statement::Command(command, "GRANT"));
        }
        let words = self.granted()?;
        if self.words(&["TO"]) {
            let roles = roles(words);
            let members = self.role_specs()?;
            let admin_option = self.words(&["WITH", "ADMIN", "OPTION"]);
            return Ok(Statement::Command(Command::GrantRoles { roles, members, admin_option }, "GRANT"));
        }
        let privileges = privileges(words)?;
        self.expect_words(&["ON"])?;
        let on = self.targets()?;
        self.expect_words(&["TO"])?;
        let to = self.role_specs()?;
        let grant_option = self.words(&["WITH", "GRANT", "OPTION"]);
        Ok(Statement::Command(Command::Grant { privileges, on, to, grant_option }, "GRANT"))
    }

    pub(super) fn revoke(&mut self) -> Result<Statement, SqlError> {
        self.expect_words(&["REVOKE"])?;
        let admin_option_only = self.words(&["ADMIN", "OPTION", "FOR"]);
        let grant_option_only = !admin_option_only && self.words(&["GRANT", "OPTION", "FOR"]);
        if !admin_option_only && let Some(privileges) = self.system_privileges()? {
            self.expect_words(&["FROM"])?;
            let from = self.role_specs()?;
            let command = Command::Revoke { privileges, on: Targets::System, from, grant_option_only };
            return Ok(Statement::Command(command, "REVOKE"));
        }
        let words = self.granted()?;
        if !grant_option_only && self.words(&["FROM"]) {
            let roles = roles(words);
            let members = self.role_specs()?;
            let command = Command::RevokeRoles { roles, members, admin_option_only };
            return Ok(Statement::Command(command, "REVOKE"));
        }
        if admin_option_only {
            return Err(self.expected("FROM"));
        }
        let privileges = privileges(words)?;
        self.expect_words(&["ON"])?;
        let on = self.targets()?;
        self.expect_words(&["FROM"])?;
        let from = self.role_specs()?;
        Ok(Statement::Command(Command::Revoke { privileges, on, from, grant_option_only }, "REVOKE"))
    }

    /// `SYSTEM k, …`; none if SYSTEM is the name of a role here.
    fn system_privileges(&mut self) -> Result<Option<PrivilegeList>, SqlError> {
        let start = self.parser.index();
        if !self.words(&["SYSTEM"]) {
            return Ok(None);
        }
        let is_role = self.next_is("TO") || self.next_is("FROM") || self.next_is("ON");
        if is_role || self.parser.peek_token_ref().token == Token::Comma {
            self.back_to(start);
            return Ok(None);
        }
        let words = self.granted()?;
        privileges(words).map(Some)
    }

    /// What stands between GRANT and ON or TO: privileges or roles, it shows later.
    pub(super) fn granted(&mut self) -> Result<Vec<Granted>, SqlError> {
        if self.words(&["ALL"]) {
            let _ = self.words(&["PRIVILEGES"]);
            return Ok(vec![Granted { text: "ALL".to_owned(), quoted: false }]);
        }
        self.list(|reader| match &reader.parser.peek_token_ref().token {
            Token::Word(word) => {
                let granted = Granted { text: word.value.clone(), quoted: word.quote_style.is_some() };
                let stop = ["TO", "FROM", "ON", "WITH", "ALL"].iter().any(|stop| granted.is(stop));
                if stop {
                    return Err(reader.expected("a privilege or a role"));
                }
                reader.parser.advance_token();
                Ok(granted)
            }
            _ => Err(reader.expected("a privilege or a role")),
        })
    }

    /// What stands after ON. A table may have the name of a kind of object: `ON type TO amy`.
    pub(super) fn targets(&mut self) -> Result<Targets, SqlError> {
        if self.kind(&["DATABASE"]) {
            return self.list(Self::name).map(Targets::Databases);
        }
        if self.kind(&["SCHEMA"]) {
            return self.list(Self::schema_name).map(Targets::Schemas);
        }
        if self.words(&["ALL", "TABLES", "IN", "SCHEMA"]) {
            return self.list(Self::schema_name).map(Targets::AllTablesInSchemas);
        }
        if self.words(&["ALL", "SEQUENCES", "IN", "SCHEMA"]) {
            return self.list(Self::schema_name).map(Targets::AllSequencesInSchemas);
        }
        if self.words(&["ALL", "FUNCTIONS", "IN", "SCHEMA"]) {
            return self.list(Self::schema_name).map(Targets::AllFunctionsInSchemas);
        }
        if self.kind(&["SEQUENCE"]) {
            return self.list(Self::table_pattern).map(Targets::Sequences);
        }
        if self.kind(&["TYPE"]) {
            return self.list(Self::object_name).map(Targets::Types);
        }
        if self.kind(&["FUNCTION"]) {
            return self.list(Self::function_name).map(Targets::Functions);
        }
        if self.kind(&["EXTERNAL", "CONNECTION"]) {
            return self.list(Self::connection_name).map(Targets::ExternalConnections);
        }
        if self.kind(&["IAM", "ROLE"]) {
            return self.list(Self::iam_role).map(Targets::IamRoles);
        }
        let _ = self.kind(&["TABLE"]);
        self.list(Self::table_pattern).map(Targets::Tables)
    }

    /// Whether the next words are the word for a kind of object, with a name behind it; if so they are consumed.
    pub(super) fn kind(&mut self, words: &[&str]) -> bool {
        let start = self.parser.index();
        if !self.words(words) {
            return false;
        }
        let ends = matches!(self.parser.peek_token_ref().token, Token::Comma | Token::Period | Token::EOF);
        let is_name =
            words != ["TABLE"] && (ends || ["TO", "FROM", "FOR"].iter().any(|stop| self.next_is(stop)));
        if is_name {
            self.back_to(start);
        }
        !is_name
    }

    /// A table, or a schema's or database's with a star.
    pub(super) fn table_pattern(&mut self) -> Result<TablePattern, SqlError> {
        let mut parts: Vec<Name> = Vec::new();
        loop {
            if self.parser.consume_token(&Token::Mul) {
                return match parts.len() {
                    0..=2 => Ok(TablePattern::All(parts)),
                    _ => Err(SqlError::syntax("a name has at most three parts")),
                };
            }
            parts.push(self.name()?);
            if parts.len() > 3 {
                return Err(SqlError::syntax("a name has at most three parts"));
            }
            if !self.parser.consume_token(&Token::Period) {
                return Ok(TablePattern::Table(grantd_catalog::command::ObjectName { parts }));
            }
        }
    }
}

/// One word between GRANT and ON or TO.
pub(super) struct Granted {
    text: String,
    quoted: bool,
}

impl Granted {
    fn is(&self, word: &str) -> bool {
        !self.quoted && self.text.eq_ignore_ascii_case(word)
    }
}

fn roles(words: Vec<Granted>) -> Vec<RoleName> {
    words.into_iter().map(|granted| RoleName::normalize(&granted.text)).collect()
}

pub(super) fn privileges(words: Vec<Granted>) -> Result<PrivilegeList, SqlError> {
    words
        .into_iter()
        .map(|granted| {
            Privilege::from_word(&granted.text).ok_or_else(|| {
                SqlError::syntax(format!(
                    "not a valid privilege: \"{}\"",
                    shortened(&granted.text.to_lowercase())
                ))
            })
        })
        .collect()
}
