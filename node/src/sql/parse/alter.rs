//! ALTER of everything but roles: OWNER TO, RENAME TO, SET SCHEMA, and what only one kind has.

use grantd_catalog::command::{Command, OwnedName, VariableChange};
use sqlparser::tokenizer::Token;

use super::{Reader, Statement, is_word};
use crate::error::SqlError;

/// The tags of one kind of object.
struct Tags {
    owner: &'static str,
    rename: &'static str,
    set_schema: &'static str,
}

impl Reader<'_> {
    #[allow(clippy::too_many_lines, reason = "one arm for each kind of thing")]
    pub(super) fn alter(&mut self) -> Result<Statement, SqlError> {
        self.expect_words(&["ALTER"])?;
        if ["ROLE", "USER", "GROUP"].into_iter().any(|word| self.words(&[word])) {
            return self.alter_role();
        }
        if self.words(&["DEFAULT", "PRIVILEGES"]) {
            return self.alter_default_privileges();
        }
        if self.words(&["DATABASE"]) {
            return self.alter_database();
        }
        if self.words(&["EXTERNAL", "CONNECTION"]) {
            return self.alter_connection();
        }
        if self.words(&["IAM", "ROLE"]) {
            let if_exists = self.if_exists();
            let name = OwnedName::IamRole(self.iam_role()?);
            let tags = Tags { owner: "ALTER IAM ROLE", rename: "ALTER IAM ROLE", set_schema: "" };
            return self.alteration("ALTER IAM ROLE", name, if_exists, &tags);
        }
        if self.words(&["JOB"]) {
            return self.alter_job();
        }
        if self.words(&["CHANGEFEED"]) {
            return self.alter_changefeed();
        }
        if self.words(&["BACKUP", "SCHEDULE"]) {
            return self.alter_schedule();
        }
        if self.words(&["SCHEMA"]) {
            let if_exists = self.if_exists();
            let name = OwnedName::Schema(self.schema_name()?);
            let tags = Tags { owner: "ALTER SCHEMA", rename: "ALTER SCHEMA", set_schema: "" };
            return self.alteration("ALTER SCHEMA", name, if_exists, &tags);
        }
        if self.words(&["TABLE"]) {
            return self.alter_of_table();
        }
        if self.words(&["INDEX"]) {
            return self.alter_index();
        }
        if self.words(&["VIEW"]) {
            let if_exists = self.if_exists();
            let name = OwnedName::View(self.object_name()?);
            let tags =
                Tags { owner: "ALTER VIEW", rename: "RENAME VIEW", set_schema: "ALTER VIEW SET SCHEMA" };
            return self.alteration("ALTER VIEW", name, if_exists, &tags);
        }
        if self.words(&["SEQUENCE"]) {
            let if_exists = self.if_exists();
            let name = self.object_name()?;
            if !["OWNER", "RENAME", "SET"].into_iter().any(|word| self.next_is(word)) {
                return self.alter_sequence(name, if_exists);
            }
            let tags = Tags {
                owner: "ALTER SEQUENCE",
                rename: "RENAME SEQUENCE",
                set_schema: "ALTER SEQUENCE SET SCHEMA",
            };
            return self.alteration("ALTER SEQUENCE", OwnedName::Sequence(name), if_exists, &tags);
        }
        if self.words(&["TYPE"]) {
            let name = self.object_name()?;
            if let Some(statement) = self.alter_labels(&name)? {
                return Ok(statement);
            }
            let tags = Tags { owner: "ALTER TYPE", rename: "ALTER TYPE", set_schema: "ALTER TYPE" };
            return self.alteration("ALTER TYPE", OwnedName::Type(name), false, &tags);
        }
        if self.words(&["FUNCTION"]) {
            let name = OwnedName::Function(self.function_name()?);
            let tags = Tags {
                owner: "ALTER FUNCTION OWNER",
                rename: "ALTER FUNCTION RENAME",
                set_schema: "ALTER FUNCTION SET SCHEMA",
            };
            return self.alteration("ALTER FUNCTION", name, false, &tags);
        }
        Err(self.unknown_object("ALTER"))
    }

    /// After ALTER TABLE.
    fn alter_of_table(&mut self) -> Result<Statement, SqlError> {
        let if_exists = self.if_exists();
        let _ = self.words(&["ONLY"]);
        let name = self.object_name()?;
        let is_of_all = ["OWNER", "RENAME", "SET"].into_iter().any(|word| self.next_is(word));
        let renames = self.next_is("RENAME") && !is_word(&self.parser.peek_nth_token_ref(1).token, "TO");
        if !is_of_all || renames {
            return self.alter_table(name, if_exists);
        }
        let name = OwnedName::Table(name);
        let tags =
            Tags { owner: "ALTER TABLE", rename: "RENAME TABLE", set_schema: "ALTER TABLE SET SCHEMA" };
        self.alteration("ALTER TABLE", name, if_exists, &tags)
    }

    /// OWNER TO, RENAME TO, and SET SCHEMA where it has a tag.
    fn alteration(
        &mut self,
        statement: &str,
        object: OwnedName,
        if_exists: bool,
        tags: &Tags,
    ) -> Result<Statement, SqlError> {
        if self.words(&["OWNER", "TO"]) {
            let owner = self.role_spec()?;
            return Ok(Statement::Command(Command::AlterOwner { object, if_exists, owner }, tags.owner));
        }
        if self.words(&["RENAME", "TO"]) {
            let to = self.name()?;
            if self.parser.peek_token_ref().token == Token::Period {
                return Err(SqlError::unsupported("a new name of several parts")
                    .with_hint("Use SET SCHEMA to move it."));
            }
            return Ok(Statement::Command(Command::Rename { object, if_exists, to }, tags.rename));
        }
        if !tags.set_schema.is_empty() && self.words(&["SET", "SCHEMA"]) {
            let schema = self.schema_name()?;
            return Ok(Statement::Command(Command::SetSchema { object, if_exists, schema }, tags.set_schema));
        }
        let known = if tags.set_schema.is_empty() {
            "OWNER TO or RENAME TO"
        } else {
            "OWNER TO, RENAME TO or SET SCHEMA"
        };
        if self.at_end() {
            return Err(self.expected(known));
        }
        Err(SqlError::unsupported(format!("{statement} with anything but {known}")))
    }

    fn alter_database(&mut self) -> Result<Statement, SqlError> {
        let name = self.name()?;
        // ALTER DATABASE d SET is ALTER ROLE ALL IN DATABASE d SET.
        if let Some(change) = self.variable_change()? {
            return Ok(role_settings(Some(name), change));
        }
        let tags = Tags { owner: "ALTER DATABASE OWNER", rename: "RENAME DATABASE", set_schema: "" };
        self.alteration("ALTER DATABASE", OwnedName::Database(name), false, &tags)
    }

    fn alter_connection(&mut self) -> Result<Statement, SqlError> {
        let if_exists = self.if_exists();
        let name = self.connection_name()?;
        if self.next_is("AS") {
            return self.alter_connection_uri(name, if_exists);
        }
        let tags =
            Tags { owner: "ALTER EXTERNAL CONNECTION", rename: "ALTER EXTERNAL CONNECTION", set_schema: "" };
        self.alteration("ALTER EXTERNAL CONNECTION", OwnedName::ExternalConnection(name), if_exists, &tags)
    }
}

fn role_settings(database: Option<grantd_catalog::name::Name>, change: VariableChange) -> Statement {
    let command = Command::AlterRoleSettings { role: None, if_exists: false, database, change };
    Statement::Command(command, "ALTER DATABASE SET")
}
