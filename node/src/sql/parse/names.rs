//! Names in our own statements.

use grantd_catalog::command::{LIST_MAX, ObjectName, RoleSpec, SchemaName};
use grantd_catalog::name::{Name, RoleName};
use grantd_catalog::refusal::role_name_empty;
use sqlparser::tokenizer::{Token, Word};

use super::Reader;
use super::reserved::is_reserved;
use crate::error::SqlError;

impl Reader<'_> {
    /// One identifier, folded unless quoted.
    pub(super) fn name(&mut self) -> Result<Name, SqlError> {
        let (text, quoted) = self.identifier()?;
        Ok(if quoted { Name::normalize(&text) } else { Name::normalize(&text.to_lowercase()) })
    }

    fn identifier(&mut self) -> Result<(String, bool), SqlError> {
        match &self.parser.peek_token_ref().token {
            Token::Word(word) if !is_reserved(word) => {
                let found = (word.value.clone(), word.quote_style.is_some());
                if found.1 && found.0.is_empty() {
                    return Err(SqlError::syntax("a quoted name must not be empty"));
                }
                self.parser.advance_token();
                Ok(found)
            }
            _ => Err(self.expected("a name")),
        }
    }

    /// A principal.
    pub(super) fn role_spec(&mut self) -> Result<RoleSpec, SqlError> {
        if self.words(&["CURRENT_USER"]) {
            Ok(RoleSpec::CurrentUser)
        } else if self.words(&["SESSION_USER"]) {
            Ok(RoleSpec::SessionUser)
        } else {
            self.role_name().map(RoleSpec::Name)
        }
    }

    pub(super) fn role_name(&mut self) -> Result<RoleName, SqlError> {
        let next = &self.parser.peek_token_ref().token;
        if matches!(next, Token::Word(Word { value, quote_style: Some(_), .. }) if value.is_empty()) {
            return Err(role_name_empty().into());
        }
        self.identifier().map(|(text, _)| RoleName::normalize(&text))
    }

    pub(super) fn role_specs(&mut self) -> Result<Vec<RoleSpec>, SqlError> {
        self.list(Self::role_spec)
    }

    /// `a[.b[.c]]`.
    pub(super) fn object_name(&mut self) -> Result<ObjectName, SqlError> {
        let mut parts = vec![self.name()?];
        while self.parser.consume_token(&Token::Period) {
            parts.push(self.name()?);
            if parts.len() > 3 {
                return Err(SqlError::syntax("a name has at most three parts"));
            }
        }
        Ok(ObjectName { parts })
    }

    /// `[db.]schema`.
    pub(super) fn schema_name(&mut self) -> Result<SchemaName, SqlError> {
        let first = self.name()?;
        if self.parser.consume_token(&Token::Period) {
            Ok(SchemaName { database: Some(first), schema: self.name()? })
        } else {
            Ok(SchemaName { database: None, schema: first })
        }
    }

    /// One or more, separated by commas; at most [`LIST_MAX`].
    pub(super) fn list<T>(
        &mut self,
        mut item: impl FnMut(&mut Self) -> Result<T, SqlError>,
    ) -> Result<Vec<T>, SqlError> {
        let mut items = vec![item(self)?];
        while self.comma() {
            if items.len() == LIST_MAX {
                return Err(SqlError::too_large(format!("a list of more than {LIST_MAX} names")));
            }
            items.push(item(self)?);
        }
        Ok(items)
    }

    /// `'text'`, with or without E.
    pub(super) fn string(&mut self) -> Result<String, SqlError> {
        match &self.parser.peek_token_ref().token {
            Token::SingleQuotedString(text) | Token::EscapedStringLiteral(text) => {
                let text = text.clone();
                self.parser.advance_token();
                Ok(text)
            }
            Token::DollarQuotedString(text) => {
                let text = text.value.clone();
                self.parser.advance_token();
                Ok(text)
            }
            _ => Err(self.expected("a string")),
        }
    }

    pub(super) fn if_exists(&mut self) -> bool {
        self.words(&["IF", "EXISTS"])
    }

    pub(super) fn if_not_exists(&mut self) -> bool {
        self.words(&["IF", "NOT", "EXISTS"])
    }
}
