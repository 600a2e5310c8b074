//! USE, SET, RESET, SHOW, DISCARD.

use grantd_catalog::command::{RoleSpec, SchemaName, Targets};
use grantd_catalog::name::{Name, RoleName};
use sqlparser::tokenizer::Token;

use super::{Reader, Statement};
use crate::sql::error::SqlError;

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
    /// RESET ALL.
    All,
    /// DISCARD ALL: settings and role.
    Discard,
    /// SET TRANSACTION and SET SESSION CHARACTERISTICS that ask for what every statement has.
    Nothing,
}

impl SetStatement {
    /// Its command tag.
    pub fn tag(&self) -> &'static str {
        match self {
            Self::Variable { .. } | Self::Role(_) | Self::Nothing => "SET",
            Self::All => "RESET ALL",
            Self::Discard => "DISCARD ALL",
        }
    }
}

/// What SHOW lists.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the statements of the same name")]
pub enum ShowStatement {
    /// The tag tells SHOW USERS from SHOW ROLES.
    Roles(&'static str),
    Grants {
        on: Option<Targets>,
        grantees: Vec<RoleSpec>,
    },
    /// `ON SCHEMA d.*`, `ON SCHEMA *`.
    GrantsOnAllSchemas {
        database: Option<Name>,
        grantees: Vec<RoleSpec>,
    },
    GrantsOnRole {
        roles: Vec<RoleSpec>,
        members: Vec<RoleSpec>,
    },
    Databases,
    Schemas {
        from: Option<Name>,
    },
    Tables {
        from: Option<SchemaName>,
    },
    Variable(String),
    /// SHOW ALL.
    Variables,
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
            return Err(SqlError::unsupported("SET CLUSTER SETTING"));
        }
        if self.words(&["LOCAL"]) {
            return Err(SqlError::unsupported("SET LOCAL: a transaction of several statements"));
        }
        if self.words(&["SESSION", "AUTHORIZATION"]) {
            self.expect_words(&["DEFAULT"])?;
            return Ok(Statement::Set(SetStatement::Role(None)));
        }
        if self.words(&["SESSION", "CHARACTERISTICS", "AS", "TRANSACTION"]) || self.words(&["TRANSACTION"]) {
            return self.transaction_modes();
        }
        let _ = self.words(&["SESSION"]);
        if self.words(&["ROLE"]) {
            let _ = self.words(&["TO"]) || self.parser.consume_token(&Token::Eq);
            return self.set_role();
        }
        if self.words(&["TIME", "ZONE"]) {
            return self.set_values("timezone".to_owned());
        }
        if self.words(&["NAMES"]) {
            return self.set_values("client_encoding".to_owned());
        }
        let name = self.variable_name()?;
        if !self.words(&["TO"]) && !self.parser.consume_token(&Token::Eq) {
            return Err(self.expected("= or TO"));
        }
        self.set_values(name)
    }

    fn set_role(&mut self) -> Result<Statement, SqlError> {
        let name = match &self.parser.peek_token_ref().token {
            Token::SingleQuotedString(_) => RoleName::normalize(&self.string()?),
            _ => self.role_name()?,
        };
        let role = (name.as_str() != "none").then_some(name);
        Ok(Statement::Set(SetStatement::Role(role)))
    }

    /// Every statement is a serializable transaction of its own; asking for that, or for less, changes nothing.
    fn transaction_modes(&mut self) -> Result<Statement, SqlError> {
        while !self.at_end() {
            let known = self.words(&["ISOLATION", "LEVEL", "SERIALIZABLE"])
                || self.words(&["ISOLATION", "LEVEL", "REPEATABLE", "READ"])
                || self.words(&["ISOLATION", "LEVEL", "READ", "COMMITTED"])
                || self.words(&["ISOLATION", "LEVEL", "READ", "UNCOMMITTED"])
                || self.words(&["READ", "WRITE"])
                || self.words(&["NOT", "DEFERRABLE"])
                || self.comma();
            if !known {
                return Err(SqlError::unsupported("this transaction mode"));
            }
        }
        Ok(Statement::Set(SetStatement::Nothing))
    }

    fn set_values(&mut self, name: String) -> Result<Statement, SqlError> {
        if self.words(&["DEFAULT"]) {
            return Ok(set_variable(&name, None));
        }
        let values = self.list(Self::value)?;
        if name == "role" {
            let role = values.first().map(|value| RoleName::normalize(value));
            return Ok(Statement::Set(SetStatement::Role(role.filter(|name| name.as_str() != "none"))));
        }
        Ok(set_variable(&name, Some(values)))
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

    pub(super) fn show(&mut self) -> Result<Statement, SqlError> {
        self.expect_words(&["SHOW"])?;
        let statement = if self.words(&["USERS"]) {
            ShowStatement::Roles("SHOW USERS")
        } else if self.words(&["ROLES"]) {
            ShowStatement::Roles("SHOW ROLES")
        } else if self.words(&["SYSTEM", "GRANTS"]) {
            ShowStatement::Grants { on: Some(Targets::System), grantees: self.for_roles()? }
        } else if self.words(&["GRANTS"]) {
            self.show_grants()?
        } else if self.words(&["DATABASES"]) {
            ShowStatement::Databases
        } else if self.words(&["SCHEMAS"]) {
            ShowStatement::Schemas { from: if self.words(&["FROM"]) { Some(self.name()?) } else { None } }
        } else if self.words(&["TABLES"]) {
            ShowStatement::Tables {
                from: if self.words(&["FROM"]) { Some(self.schema_name()?) } else { None },
            }
        } else if self.words(&["ALL"]) {
            ShowStatement::Variables
        } else {
            self.show_variable()?
        };
        Ok(Statement::Show(statement))
    }

    fn show_variable(&mut self) -> Result<ShowStatement, SqlError> {
        if self.words(&["CLUSTER", "SETTING"]) || self.words(&["CLUSTER", "SETTINGS"]) {
            return Err(SqlError::unsupported("SHOW CLUSTER SETTING"));
        }
        if self.words(&["TRANSACTION", "ISOLATION", "LEVEL"]) {
            return Ok(ShowStatement::Variable("transaction_isolation".to_owned()));
        }
        if self.words(&["TIME", "ZONE"]) {
            return Ok(ShowStatement::Variable("timezone".to_owned()));
        }
        for (words, feature) in [
            (&["CREATE"][..], "SHOW CREATE"),
            (&["COLUMNS"], "SHOW COLUMNS"),
            (&["INDEXES"], "SHOW INDEXES"),
            (&["CONSTRAINTS"], "SHOW CONSTRAINTS"),
            (&["JOBS"], "SHOW JOBS"),
            (&["SESSIONS"], "SHOW SESSIONS"),
            (&["DEFAULT", "PRIVILEGES"], "SHOW DEFAULT PRIVILEGES"),
        ] {
            if self.words(words) {
                return Err(SqlError::unsupported(feature));
            }
        }
        let _ = self.words(&["SESSION"]);
        self.variable_name().map(ShowStatement::Variable)
    }

    fn show_grants(&mut self) -> Result<ShowStatement, SqlError> {
        if self.words(&["ON", "ROLE"]) {
            let roles = if self.at_end() || self.next_is("FOR") { Vec::new() } else { self.role_specs()? };
            return Ok(ShowStatement::GrantsOnRole { roles, members: self.for_roles()? });
        }
        if let Some(database) = self.all_schemas()? {
            return Ok(ShowStatement::GrantsOnAllSchemas { database, grantees: self.for_roles()? });
        }
        let on = if self.words(&["ON"]) { Some(self.targets()?) } else { None };
        Ok(ShowStatement::Grants { on, grantees: self.for_roles()? })
    }

    /// `ON SCHEMA [db.]*`.
    fn all_schemas(&mut self) -> Result<Option<Option<Name>>, SqlError> {
        let start = self.parser.index();
        if self.words(&["ON", "SCHEMA"]) {
            if self.parser.consume_token(&Token::Mul) {
                return Ok(Some(None));
            }
            let name = self.name()?;
            if self.parser.consume_tokens(&[Token::Period, Token::Mul]) {
                return Ok(Some(Some(name)));
            }
        }
        while self.parser.index() > start {
            self.parser.prev_token();
        }
        Ok(None)
    }

    fn for_roles(&mut self) -> Result<Vec<RoleSpec>, SqlError> {
        if self.words(&["FOR"]) { self.role_specs() } else { Ok(Vec::new()) }
    }
}

fn set_variable(name: &str, values: Option<Vec<String>>) -> Statement {
    Statement::Set(SetStatement::Variable { name: name.to_owned(), values })
}
