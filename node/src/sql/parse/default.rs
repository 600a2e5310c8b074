//! ALTER DEFAULT PRIVILEGES (authorization spec G.2).

use grantd_catalog::command::{Command, Creators, DefaultAct, RoleSpec};
use grantd_catalog::defaults::DefaultClass;

use super::grant::privileges;
use super::{Reader, Statement};
use crate::error::SqlError;

impl Reader<'_> {
    /// After ALTER DEFAULT PRIVILEGES.
    pub(super) fn alter_default_privileges(&mut self) -> Result<Statement, SqlError> {
        let creators = self.creators()?.unwrap_or(Creators::Roles(vec![RoleSpec::CurrentUser]));
        let schemas = if self.words(&["IN", "SCHEMA"]) { self.list(Self::schema_name)? } else { Vec::new() };
        let grants = self.words(&["GRANT"]);
        if !grants && !self.words(&["REVOKE"]) {
            return Err(self.expected("GRANT or REVOKE"));
        }
        let grant_option_only = !grants && self.words(&["GRANT", "OPTION", "FOR"]);
        let words = self.granted()?;
        let privileges = privileges(words)?;
        self.expect_words(&["ON"])?;
        let on = self.default_class()?;
        self.expect_words(&[if grants { "TO" } else { "FROM" }])?;
        let grantees = self.role_specs()?;
        let act = if grants {
            DefaultAct::Grant { grant_option: self.words(&["WITH", "GRANT", "OPTION"]) }
        } else {
            // There is nothing that could be dropped: both mean the same.
            let _ = self.words(&["CASCADE"]) || self.words(&["RESTRICT"]);
            DefaultAct::Revoke { grant_option_only }
        };
        let command = Command::AlterDefaultPrivileges { creators, schemas, act, privileges, on, grantees };
        Ok(Statement::Command(command, "ALTER DEFAULT PRIVILEGES"))
    }

    /// `FOR ALL ROLES` or `FOR ROLE r, …`, if it is there.
    pub(super) fn creators(&mut self) -> Result<Option<Creators>, SqlError> {
        if self.words(&["FOR", "ALL", "ROLES"]) {
            return Ok(Some(Creators::All));
        }
        for word in ["ROLE", "USER", "GROUP"] {
            if self.words(&["FOR", word]) {
                return self.role_specs().map(|roles| Some(Creators::Roles(roles)));
            }
        }
        Ok(None)
    }

    fn default_class(&mut self) -> Result<DefaultClass, SqlError> {
        let found = DefaultClass::EACH.into_iter().find(|class| self.words(&[class.word()]));
        found.ok_or_else(|| self.expected("TABLES, SEQUENCES, TYPES, SCHEMAS or FUNCTIONS"))
    }
}
