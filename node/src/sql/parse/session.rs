//! USE, SET, RESET, DISCARD (authorization spec H.8).

use grantd_catalog::command::Command;
use grantd_catalog::name::RoleName;
use grantd_catalog::refusal::no_such_setting;
use grantd_catalog::setting::Setting;
use sqlparser::tokenizer::Token;

use super::{Reader, Statement, shortened};
use crate::error::SqlError;

/// A change of the session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SetStatement {
    /// SET name = values; none: DEFAULT, or RESET.
    Variable {
        /// In lower case.
        name: String,
        /// As written, without quotes.
        values: Option<Vec<String>>,
    },
    /// SET ROLE; none: back to who logged in.
    Role(Option<RoleName>),
    /// SET LOCAL: undone when its transaction ends.
    Local(Box<SetStatement>),
    /// RESET ALL.
    All,
    /// DISCARD ALL: settings and role.
    Discard,
    /// SET SESSION CHARACTERISTICS that ask for what every transaction has.
    Nothing,
}

impl SetStatement {
    /// Its command tag.
    pub fn tag(&self) -> &'static str {
        match self {
            Self::Variable { .. } | Self::Role(_) | Self::Local(_) | Self::Nothing => "SET",
            Self::All => "RESET ALL",
            Self::Discard => "DISCARD ALL",
        }
    }
}

impl Reader<'_> {
    pub(super) fn use_database(&mut self) -> Result<Statement, SqlError> {
        self.expect_words(&["USE"])?;
        let value = match &self.parser.peek_token_ref().token {
            Token::SingleQuotedString(_) => self.string()?,
            _ => self.name()?.as_str().to_owned(),
        };
        Ok(set_variable("database", Some(vec![value])))
    }

    pub(super) fn set(&mut self) -> Result<Statement, SqlError> {
        self.expect_words(&["SET"])?;
        if self.words(&["CLUSTER", "SETTING"]) {
            return self.set_cluster_setting();
        }
        if self.words(&["LOCAL"]) {
            return Ok(Statement::Set(SetStatement::Local(Box::new(self.variable()?))));
        }
        if self.words(&["SESSION", "AUTHORIZATION"]) {
            self.expect_words(&["DEFAULT"])?;
            return Ok(Statement::Set(SetStatement::Role(None)));
        }
        if self.words(&["SESSION", "CHARACTERISTICS", "AS", "TRANSACTION"]) {
            return self.set_characteristics();
        }
        if self.words(&["TRANSACTION"]) {
            return self.set_transaction();
        }
        let _ = self.words(&["SESSION"]);
        self.variable().map(Statement::Set)
    }

    /// After SET, SET SESSION and SET LOCAL: ROLE, or a variable and its value.
    fn variable(&mut self) -> Result<SetStatement, SqlError> {
        if self.words(&["ROLE"]) {
            return self.set_role().map(SetStatement::Role);
        }
        let (name, values) = self.assignment()?;
        if name == "role" {
            let role = values.and_then(|values| values.first().map(|value| RoleName::normalize(value)));
            return Ok(SetStatement::Role(role.filter(|name| name.as_str() != "none")));
        }
        Ok(SetStatement::Variable { name, values })
    }

    /// After SET ROLE. `none`, in any case and quoted or not, is none.
    fn set_role(&mut self) -> Result<Option<RoleName>, SqlError> {
        let _ = self.words(&["TO"]) || self.parser.consume_token(&Token::Eq);
        let name = match &self.parser.peek_token_ref().token {
            Token::SingleQuotedString(_) => RoleName::normalize(&self.string()?),
            _ => self.role_name()?,
        };
        Ok((name.as_str() != "none").then_some(name))
    }

    /// `name = values`, `TIME ZONE value`, `NAMES value`; no values: DEFAULT.
    pub(super) fn assignment(&mut self) -> Result<(String, Option<Vec<String>>), SqlError> {
        if self.words(&["TIME", "ZONE"]) {
            return Ok(("timezone".to_owned(), self.values()?));
        }
        if self.words(&["NAMES"]) {
            return Ok(("client_encoding".to_owned(), self.values()?));
        }
        let name = self.variable_name()?;
        if !self.words(&["TO"]) && !self.parser.consume_token(&Token::Eq) {
            return Err(self.expected("= or TO"));
        }
        Ok((name, self.values()?))
    }

    /// The name of a variable, or TIME ZONE.
    pub(super) fn session_variable(&mut self) -> Result<String, SqlError> {
        if self.words(&["TIME", "ZONE"]) { Ok("timezone".to_owned()) } else { self.variable_name() }
    }

    /// After SET CLUSTER SETTING.
    fn set_cluster_setting(&mut self) -> Result<Statement, SqlError> {
        let setting = self.setting()?;
        if !self.words(&["TO"]) && !self.parser.consume_token(&Token::Eq) {
            return Err(self.expected("= or TO"));
        }
        let value = match self.values()?.as_deref() {
            None => None,
            Some([value]) => Some(value.clone()),
            Some(_) => return Err(SqlError::syntax(format!("the setting {setting} takes one value"))),
        };
        Ok(Statement::Command(Command::SetClusterSetting { setting, value }, "SET CLUSTER SETTING"))
    }

    /// The name of a cluster setting.
    pub(super) fn setting(&mut self) -> Result<Setting, SqlError> {
        let mut parts = vec![self.name()?.to_string()];
        while self.parser.consume_token(&Token::Period) {
            parts.push(self.name()?.to_string());
        }
        let name = parts.join(".");
        Setting::from_name(&name).ok_or_else(|| no_such_setting(&shortened(&name)).into())
    }

    /// What stands behind = or TO; none: DEFAULT.
    fn values(&mut self) -> Result<Option<Vec<String>>, SqlError> {
        if self.words(&["DEFAULT"]) { Ok(None) } else { self.list(Self::value).map(Some) }
    }

    fn value(&mut self) -> Result<String, SqlError> {
        let minus = if self.parser.consume_token(&Token::Minus) { "-" } else { "" };
        let text = match &self.parser.peek_token_ref().token {
            Token::Number(digits, _) => format!("{minus}{digits}"),
            Token::Word(word) if minus.is_empty() => match word.quote_style {
                Some(_) => word.value.clone(),
                None => word.value.to_lowercase(),
            },
            Token::SingleQuotedString(_) | Token::EscapedStringLiteral(_) if minus.is_empty() => {
                return self.string();
            }
            _ => return Err(self.expected("a value")),
        };
        self.parser.advance_token();
        Ok(text)
    }

    /// `name` or `a.b`, in lower case.
    fn variable_name(&mut self) -> Result<String, SqlError> {
        let parts = self.object_name()?.parts;
        let words: Vec<_> = parts.iter().map(|part| part.as_str().to_lowercase()).collect();
        Ok(words.join("."))
    }

    pub(super) fn reset(&mut self) -> Result<Statement, SqlError> {
        self.expect_words(&["RESET"])?;
        if self.words(&["CLUSTER", "SETTING"]) {
            let setting = self.setting()?;
            let command = Command::SetClusterSetting { setting, value: None };
            return Ok(Statement::Command(command, "SET CLUSTER SETTING"));
        }
        if self.words(&["ALL"]) {
            return Ok(Statement::Set(SetStatement::All));
        }
        if self.words(&["ROLE"]) || self.words(&["SESSION", "AUTHORIZATION"]) {
            return Ok(Statement::Set(SetStatement::Role(None)));
        }
        if self.words(&["TIME", "ZONE"]) {
            return Ok(set_variable("timezone", None));
        }
        let name = self.variable_name()?;
        Ok(set_variable(&name, None))
    }

    pub(super) fn discard(&mut self) -> Result<Statement, SqlError> {
        self.expect_words(&["DISCARD"])?;
        if self.words(&["ALL"]) {
            return Ok(Statement::Set(SetStatement::Discard));
        }
        Err(SqlError::unsupported("DISCARD of anything but ALL"))
    }
}

fn set_variable(name: &str, values: Option<Vec<String>>) -> Statement {
    Statement::Set(SetStatement::Variable { name: name.to_owned(), values })
}
