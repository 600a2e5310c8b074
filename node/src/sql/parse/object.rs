//! CREATE, DROP and COMMENT ON of databases, schemas and what is in them, and of external connections.

use grantd_catalog::command::{Command, DropBehavior, ObjectName, OwnedName};
use grantd_catalog::name::Name;
use grantd_catalog::object::IAM_ROLE_BYTES_MAX;
use sqlparser::ast;
use sqlparser::parser::Parser;
use sqlparser::tokenizer::Token;

use super::schedule::ScheduleControl;
use super::{Reader, Statement};
use crate::error::SqlError;

impl Reader<'_> {
    pub(super) fn create(&mut self) -> Result<Statement, SqlError> {
        let start = self.parser.index();
        self.expect_words(&["CREATE"])?;
        if self.words(&["ROLE"]) {
            return self.create_role(true);
        }
        if self.words(&["USER"]) || self.words(&["GROUP"]) {
            return self.create_role(false);
        }
        if self.words(&["DATABASE"]) {
            return self.create_database();
        }
        if self.words(&["SCHEMA"]) {
            return self.create_schema();
        }
        if self.words(&["SEQUENCE"]) {
            return self.create_sequence();
        }
        if self.words(&["TYPE"]) {
            return self.create_type();
        }
        if self.words(&["EXTERNAL", "CONNECTION"]) {
            return self.create_connection();
        }
        if self.words(&["IAM", "ROLE"]) {
            return self.create_iam_role();
        }
        if self.next_is("CHANGEFEED") {
            return self.create_changefeed();
        }
        if self.words(&["SCHEDULE"]) {
            return self.create_schedule();
        }
        if self.words(&["TABLE"]) {
            return self.create_table();
        }
        let unique = self.words(&["UNIQUE"]);
        if self.words(&["INDEX"]) {
            return self.create_index(unique);
        }
        for word in ["TEMPORARY", "TEMP", "LOCAL", "GLOBAL", "UNLOGGED"] {
            if self.next_is(word) {
                return Err(SqlError::unsupported(format!("CREATE {word}")));
            }
        }
        let _ = self.words(&["OR", "REPLACE"]);
        if let Some(word) = ["VIEW", "FUNCTION"].into_iter().find(|word| self.next_is(word)) {
            self.back_to(start);
            return match self.sql(Parser::parse_statement)? {
                ast::Statement::CreateView(view) => Ok(Statement::CreateView(Box::new(view))),
                ast::Statement::CreateFunction(function) => Ok(Statement::CreateFunction(Box::new(function))),
                _ => Err(SqlError::unsupported(format!("this form of CREATE {word}"))),
            };
        }
        Err(self.unknown_object("CREATE"))
    }

    /// 0A000 that names the kind of object, or 42601 if there is none.
    pub(super) fn unknown_object(&self, verb: &str) -> SqlError {
        const KINDS: [&str; 20] = [
            "AGGREGATE",
            "BACKUP",
            "CHANGEFEED",
            "EXTENSION",
            "JOB",
            "MATERIALIZED",
            "PARTITION",
            "POLICY",
            "PROCEDURE",
            "RANGE",
            "SCHEDULE",
            "STATISTICS",
            "SYSTEM",
            "TABLESPACE",
            "TEMP",
            "TEMPORARY",
            "TENANT",
            "TRIGGER",
            "UNIQUE",
            "UNLOGGED",
        ];
        match KINDS.iter().find(|kind| self.next_is(kind)) {
            Some(kind) => SqlError::unsupported(format!("{verb} {kind}")),
            None => self.expected("a kind of object"),
        }
    }

    fn create_database(&mut self) -> Result<Statement, SqlError> {
        let if_not_exists = self.if_not_exists();
        let name = self.name()?;
        let _ = self.words(&["WITH"]);
        let owner = if self.words(&["OWNER"]) {
            let _ = self.parser.consume_token(&Token::Eq);
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

    fn create_iam_role(&mut self) -> Result<Statement, SqlError> {
        let if_not_exists = self.if_not_exists();
        let name = self.iam_role()?;
        Ok(Statement::Command(Command::CreateIamRole { name, if_not_exists }, "CREATE IAM ROLE"))
    }

    /// The name of a role of a cloud: a string, kept as it is.
    pub(super) fn iam_role(&mut self) -> Result<Name, SqlError> {
        let text = self.string().map_err(|_| {
            SqlError::syntax("an IAM role needs a string literal").with_hint("Write 'arn:aws:iam::…:role/…'.")
        })?;
        if text.len() > IAM_ROLE_BYTES_MAX {
            return Err(SqlError::too_large(format!(
                "the name of an IAM role of more than {IAM_ROLE_BYTES_MAX} bytes"
            )));
        }
        Ok(Name::normalize(&text))
    }

    pub(super) fn drop(&mut self) -> Result<Statement, SqlError> {
        self.expect_words(&["DROP"])?;
        if ["ROLE", "USER", "GROUP"].into_iter().any(|word| self.words(&[word])) {
            return self.drop_role();
        }
        if let Some(statement) = self.control_schedules(ScheduleControl::Drop)? {
            return Ok(statement);
        }
        if self.words(&["OWNED", "BY"]) {
            let by = self.role_specs()?;
            let behavior = self.behavior();
            return Ok(Statement::Command(Command::DropOwned { by, behavior }, "DROP OWNED BY"));
        }
        if self.words(&["DATABASE"]) {
            let if_exists = self.if_exists();
            let name = self.name()?;
            let behavior = self.behavior();
            return Ok(Statement::Command(
                Command::DropDatabase { name, if_exists, behavior },
                "DROP DATABASE",
            ));
        }
        if self.words(&["SCHEMA"]) {
            let (names, if_exists, behavior) = self.dropped(Self::schema_name)?;
            return Ok(Statement::Command(
                Command::DropSchemas { names, if_exists, behavior },
                "DROP SCHEMA",
            ));
        }
        if self.words(&["INDEX"]) {
            return self.drop_indexes();
        }
        if self.words(&["FUNCTION"]) {
            let (names, if_exists, behavior) = self.dropped(Self::function_name)?;
            let command = Command::DropFunctions { names, if_exists, behavior };
            return Ok(Statement::Command(command, "DROP FUNCTION"));
        }
        if self.words(&["EXTERNAL", "CONNECTION"]) {
            let if_exists = self.if_exists();
            let names = self.list(Self::connection_name)?;
            let command = Command::DropExternalConnections { names, if_exists };
            return Ok(Statement::Command(command, "DROP EXTERNAL CONNECTION"));
        }
        if self.words(&["IAM", "ROLE"]) {
            let if_exists = self.if_exists();
            let names = self.list(Self::iam_role)?;
            return Ok(Statement::Command(Command::DropIamRoles { names, if_exists }, "DROP IAM ROLE"));
        }
        let Some(word) = ["TABLE", "VIEW", "SEQUENCE", "TYPE"].into_iter().find(|word| self.words(&[word]))
        else {
            return Err(self.unknown_object("DROP"));
        };
        let (names, if_exists, behavior) = self.dropped(Self::object_name)?;
        let (command, tag) = match word {
            "TABLE" => (Command::DropTables { names, if_exists, behavior }, "DROP TABLE"),
            "VIEW" => (Command::DropViews { names, if_exists, behavior }, "DROP VIEW"),
            "SEQUENCE" => (Command::DropSequences { names, if_exists, behavior }, "DROP SEQUENCE"),
            _ => (Command::DropTypes { names, if_exists, behavior }, "DROP TYPE"),
        };
        Ok(Statement::Command(command, tag))
    }

    /// `[IF EXISTS] name, … [CASCADE | RESTRICT]`.
    pub(super) fn dropped<T>(
        &mut self,
        item: impl FnMut(&mut Self) -> Result<T, SqlError>,
    ) -> Result<(Vec<T>, bool, DropBehavior), SqlError> {
        let if_exists = self.if_exists();
        let names = self.list(item)?;
        Ok((names, if_exists, self.behavior()))
    }

    pub(super) fn behavior(&mut self) -> DropBehavior {
        if self.words(&["CASCADE"]) {
            DropBehavior::Cascade
        } else if self.words(&["RESTRICT"]) {
            DropBehavior::Restrict
        } else {
            DropBehavior::Default
        }
    }

    pub(super) fn comment(&mut self) -> Result<Statement, SqlError> {
        self.expect_words(&["COMMENT", "ON"])?;
        let mut column = None;
        let (on, tag) = if self.words(&["DATABASE"]) {
            (OwnedName::Database(self.name()?), "COMMENT ON DATABASE")
        } else if self.words(&["SCHEMA"]) {
            (OwnedName::Schema(self.schema_name()?), "COMMENT ON SCHEMA")
        } else if self.words(&["TABLE"]) {
            (OwnedName::Table(self.object_name()?), "COMMENT ON TABLE")
        } else if self.words(&["VIEW"]) {
            (OwnedName::View(self.object_name()?), "COMMENT ON VIEW")
        } else if self.words(&["SEQUENCE"]) {
            (OwnedName::Sequence(self.object_name()?), "COMMENT ON SEQUENCE")
        } else if self.words(&["TYPE"]) {
            (OwnedName::Type(self.object_name()?), "COMMENT ON TYPE")
        } else if self.words(&["FUNCTION"]) {
            (OwnedName::Function(self.function_name()?), "COMMENT ON FUNCTION")
        } else if self.words(&["COLUMN"]) {
            let (table, name) = self.column_name()?;
            column = Some(name);
            (OwnedName::Table(table), "COMMENT ON COLUMN")
        } else if self.words(&["INDEX"]) {
            let index = self.index_name()?;
            let text = self.comment_text()?;
            return Ok(Statement::Command(Command::CommentOnIndex { index, text }, "COMMENT ON INDEX"));
        } else {
            return Err(match ["CONSTRAINT", "ROLE"].into_iter().find(|word| self.next_is(word)) {
                Some(word) => SqlError::unsupported(format!("COMMENT ON {word}")),
                None => self.unknown_object("COMMENT ON"),
            });
        };
        let text = self.comment_text()?;
        Ok(Statement::Command(Command::Comment { on, column, text }, tag))
    }

    fn comment_text(&mut self) -> Result<Option<String>, SqlError> {
        self.expect_words(&["IS"])?;
        Ok(if self.words(&["NULL"]) { None } else { Some(self.string()?) })
    }

    /// `[[db.]schema.]table.column`.
    pub(super) fn column_name(&mut self) -> Result<(ObjectName, Name), SqlError> {
        let mut parts = vec![self.name()?];
        while self.parser.consume_token(&Token::Period) {
            parts.push(self.name()?);
            if parts.len() > 4 {
                return Err(SqlError::syntax("the name of a column has at most four parts"));
            }
        }
        match parts.pop() {
            Some(column) if !parts.is_empty() => Ok((ObjectName { parts }, column)),
            _ => {
                Err(SqlError::syntax("the name of a column needs its table").with_hint("Write table.column."))
            }
        }
    }
}
