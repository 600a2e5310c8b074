//! CREATE, ALTER and DROP of databases, schemas and tables.

use grantd_catalog::command::{Command, DropBehavior, OwnedName, RoleSpec};
use sqlparser::ast;
use sqlparser::parser::Parser;

use super::{Reader, Statement};
use crate::sql::error::SqlError;

impl Reader<'_> {
    pub(super) fn create(&mut self) -> Result<Statement, SqlError> {
        if self.words(&["CREATE", "ROLE"]) {
            return self.create_role(true);
        }
        if self.words(&["CREATE", "USER"]) || self.words(&["CREATE", "GROUP"]) {
            return self.create_role(false);
        }
        if self.words(&["CREATE", "DATABASE"]) {
            return self.create_database();
        }
        if self.words(&["CREATE", "SCHEMA"]) {
            return self.create_schema();
        }
        let start = self.parser.index();
        if self.words(&["CREATE", "TABLE"]) {
            while self.parser.index() > start {
                self.parser.prev_token();
            }
            return match self.sql(Parser::parse_statement)? {
                ast::Statement::CreateTable(table) => Ok(Statement::CreateTable(Box::new(table))),
                _ => Err(SqlError::unsupported("this form of CREATE TABLE")),
            };
        }
        self.parser.advance_token();
        Err(self.unknown_object("CREATE"))
    }

    /// 0A000 that names the kind of object, or 42601 if there is none.
    fn unknown_object(&self, verb: &str) -> SqlError {
        const KINDS: [&str; 20] = [
            "AGGREGATE",
            "CHANGEFEED",
            "DEFAULT",
            "EXTENSION",
            "EXTERNAL",
            "FUNCTION",
            "INDEX",
            "MATERIALIZED",
            "OR",
            "OWNED",
            "POLICY",
            "PROCEDURE",
            "SCHEDULE",
            "SEQUENCE",
            "STATISTICS",
            "TEMP",
            "TEMPORARY",
            "TYPE",
            "UNIQUE",
            "VIEW",
        ];
        match KINDS.iter().find(|kind| self.next_is(kind)) {
            Some(kind) => SqlError::unsupported(format!("{verb} {kind}")),
            None => self.expected("ROLE, USER, DATABASE, SCHEMA or TABLE"),
        }
    }

    fn create_database(&mut self) -> Result<Statement, SqlError> {
        let if_not_exists = self.if_not_exists();
        let name = self.name()?;
        let _ = self.words(&["WITH"]);
        let owner = if self.words(&["OWNER"]) {
            let _ = self.parser.consume_token(&sqlparser::tokenizer::Token::Eq);
            Some(self.role_spec()?)
        } else {
            None
        };
        if !self.at_end() {
            return Err(SqlError::unsupported("an option of CREATE DATABASE other than OWNER"));
        }
        Ok(Statement::Command(Command::CreateDatabase { name, if_not_exists, owner }, "CREATE DATABASE"))
    }

    fn create_schema(&mut self) -> Result<Statement, SqlError> {
        let if_not_exists = self.if_not_exists();
        let (database, name) = if self.next_is("AUTHORIZATION") {
            (None, None)
        } else {
            let schema = self.schema_name()?;
            (schema.database, Some(schema.schema))
        };
        let owner = if self.words(&["AUTHORIZATION"]) { Some(self.role_spec()?) } else { None };
        let command = Command::CreateSchema { database, name, if_not_exists, owner };
        Ok(Statement::Command(command, "CREATE SCHEMA"))
    }

    pub(super) fn alter(&mut self) -> Result<Statement, SqlError> {
        for word in ["ROLE", "USER", "GROUP"] {
            if self.words(&["ALTER", word]) {
                return self.alter_role();
            }
        }
        if self.words(&["ALTER", "DATABASE"]) {
            let name = self.name()?;
            let owner = self.owner_to("ALTER DATABASE")?;
            return Ok(alter_owner(OwnedName::Database(name), false, owner, "ALTER DATABASE OWNER"));
        }
        if self.words(&["ALTER", "SCHEMA"]) {
            let if_exists = self.if_exists();
            let name = self.schema_name()?;
            let owner = self.owner_to("ALTER SCHEMA")?;
            return Ok(alter_owner(OwnedName::Schema(name), if_exists, owner, "ALTER SCHEMA"));
        }
        if self.words(&["ALTER", "TABLE"]) {
            let if_exists = self.if_exists();
            let name = self.object_name()?;
            let owner = self.owner_to("ALTER TABLE")?;
            return Ok(alter_owner(OwnedName::Table(name), if_exists, owner, "ALTER TABLE"));
        }
        self.parser.advance_token();
        Err(self.unknown_object("ALTER"))
    }

    fn owner_to(&mut self, statement: &str) -> Result<RoleSpec, SqlError> {
        if self.words(&["OWNER", "TO"]) {
            return self.role_spec();
        }
        Err(SqlError::unsupported(format!("{statement} with anything but OWNER TO")))
    }

    pub(super) fn drop(&mut self) -> Result<Statement, SqlError> {
        for word in ["ROLE", "USER", "GROUP"] {
            if self.words(&["DROP", word]) {
                return self.drop_role();
            }
        }
        if self.words(&["DROP", "DATABASE"]) {
            let if_exists = self.if_exists();
            let name = self.name()?;
            let behavior = self.behavior();
            return Ok(Statement::Command(
                Command::DropDatabase { name, if_exists, behavior },
                "DROP DATABASE",
            ));
        }
        if self.words(&["DROP", "SCHEMA"]) {
            let if_exists = self.if_exists();
            let names = self.list(Self::schema_name)?;
            let behavior = self.behavior();
            return Ok(Statement::Command(
                Command::DropSchemas { names, if_exists, behavior },
                "DROP SCHEMA",
            ));
        }
        if self.words(&["DROP", "TABLE"]) {
            let if_exists = self.if_exists();
            let names = self.list(Self::object_name)?;
            let behavior = self.behavior();
            return Ok(Statement::Command(Command::DropTables { names, if_exists, behavior }, "DROP TABLE"));
        }
        self.parser.advance_token();
        Err(self.unknown_object("DROP"))
    }

    fn behavior(&mut self) -> DropBehavior {
        if self.words(&["CASCADE"]) {
            DropBehavior::Cascade
        } else if self.words(&["RESTRICT"]) {
            DropBehavior::Restrict
        } else {
            DropBehavior::Default
        }
    }
}

fn alter_owner(object: OwnedName, if_exists: bool, owner: RoleSpec, tag: &'static str) -> Statement {
    Statement::Command(Command::AlterOwner { object, if_exists, owner }, tag)
}
