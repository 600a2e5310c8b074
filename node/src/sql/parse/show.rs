//! SHOW and EXPLAIN PRIVILEGE (authorization spec D.5, E.1, G.2, H.1).

use grantd_catalog::command::{
    Creators, FunctionName, ObjectName, PrivilegeList, RoleSpec, SchemaName, Targets,
};
use grantd_catalog::list::DefaultsShown;
use grantd_catalog::name::Name;
use grantd_catalog::setting::Setting;
use sqlparser::tokenizer::Token;

use super::grant::privileges;
use super::{Reader, Statement};
use crate::error::SqlError;

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
    DefaultPrivileges {
        shown: DefaultsShown,
        schema: Option<SchemaName>,
    },
    Databases {
        /// WITH COMMENT.
        comments: bool,
    },
    Schemas {
        from: Option<Name>,
    },
    Tables {
        from: Option<SchemaName>,
        /// WITH COMMENT.
        comments: bool,
    },
    Sequences {
        from: Option<Name>,
    },
    Types {
        from: Option<SchemaName>,
    },
    Enums {
        from: Option<SchemaName>,
    },
    Functions {
        from: Option<SchemaName>,
    },
    Columns {
        of: ObjectName,
        /// WITH COMMENT.
        comments: bool,
    },
    Indexes {
        of: ObjectName,
    },
    Constraints {
        of: ObjectName,
    },
    /// SHOW CREATE of a table, view or sequence.
    CreateRelation(ObjectName),
    CreateDatabase(Name),
    CreateType(ObjectName),
    CreateFunction(FunctionName),
    /// SHOW CREATE EXTERNAL CONNECTION.
    CreateConnection {
        /// None: ALL.
        name: Option<Name>,
        /// WITH SECRETS: as it was written.
        secrets: bool,
    },
    ExternalConnections(Option<Name>),
    IamRoles,
    ClusterSetting(Setting),
    ClusterSettings {
        /// SHOW ALL CLUSTER SETTINGS: with a column that says whether each is public.
        all: bool,
    },
    /// EXPLAIN PRIVILEGE k ON o FOR u.
    ExplainPrivilege {
        /// Whether it is about granting them onwards.
        grant_option: bool,
        privileges: PrivilegeList,
        on: Targets,
        /// Empty: who acts.
        principals: Vec<RoleSpec>,
    },
    Variable(String),
    /// SHOW ALL.
    Variables,
}

impl Reader<'_> {
    pub(super) fn show(&mut self) -> Result<Statement, SqlError> {
        self.expect_words(&["SHOW"])?;
        if let Some(statement) = self.show_activity()? {
            return Ok(statement);
        }
        if let Some(statement) = self.show_jobs()? {
            return Ok(statement);
        }
        if let Some(statement) = self.show_backups()? {
            return Ok(statement);
        }
        if let Some(statement) = self.show_schedules()? {
            return Ok(statement);
        }
        let statement = match self.show_principals()? {
            Some(statement) => statement,
            None => match self.show_objects()? {
                Some(statement) => statement,
                None => self.show_variable()?,
            },
        };
        Ok(Statement::Show(statement))
    }

    fn show_principals(&mut self) -> Result<Option<ShowStatement>, SqlError> {
        Ok(Some(if self.words(&["USERS"]) {
            ShowStatement::Roles("SHOW USERS")
        } else if self.words(&["ROLES"]) {
            ShowStatement::Roles("SHOW ROLES")
        } else if self.words(&["SYSTEM", "GRANTS"]) {
            ShowStatement::Grants { on: Some(Targets::System), grantees: self.for_roles()? }
        } else if self.words(&["GRANTS"]) {
            self.show_grants()?
        } else if self.words(&["DEFAULT", "PRIVILEGES"]) {
            self.show_default_privileges()?
        } else {
            return Ok(None);
        }))
    }

    fn show_objects(&mut self) -> Result<Option<ShowStatement>, SqlError> {
        Ok(Some(if self.words(&["DATABASES"]) {
            ShowStatement::Databases { comments: self.with_comment() }
        } else if self.words(&["SCHEMAS"]) {
            ShowStatement::Schemas { from: if self.words(&["FROM"]) { Some(self.name()?) } else { None } }
        } else if self.words(&["TABLES"]) {
            ShowStatement::Tables { from: self.schema_behind_from()?, comments: self.with_comment() }
        } else if self.words(&["SEQUENCES"]) {
            ShowStatement::Sequences { from: if self.words(&["FROM"]) { Some(self.name()?) } else { None } }
        } else if self.words(&["TYPES"]) {
            ShowStatement::Types { from: self.schema_behind_from()? }
        } else if self.words(&["ENUMS"]) {
            ShowStatement::Enums { from: self.schema_behind_from()? }
        } else if self.words(&["FUNCTIONS"]) {
            ShowStatement::Functions { from: self.schema_behind_from()? }
        } else if self.words(&["COLUMNS"]) {
            ShowStatement::Columns { of: self.table_behind_from()?, comments: self.with_comment() }
        } else if self.words(&["INDEX"]) || self.words(&["INDEXES"]) || self.words(&["KEYS"]) {
            ShowStatement::Indexes { of: self.table_behind_from()? }
        } else if self.words(&["CONSTRAINT"]) || self.words(&["CONSTRAINTS"]) {
            ShowStatement::Constraints { of: self.table_behind_from()? }
        } else if self.words(&["CREATE"]) {
            self.show_create()?
        } else if self.words(&["EXTERNAL", "CONNECTIONS"]) {
            ShowStatement::ExternalConnections(None)
        } else if self.words(&["EXTERNAL", "CONNECTION"]) {
            ShowStatement::ExternalConnections(Some(self.connection_name()?))
        } else if self.words(&["IAM", "ROLES"]) {
            ShowStatement::IamRoles
        } else {
            return Ok(None);
        }))
    }

    fn show_create(&mut self) -> Result<ShowStatement, SqlError> {
        if self.words(&["ALL", "EXTERNAL", "CONNECTIONS"]) {
            return Ok(ShowStatement::CreateConnection { name: None, secrets: self.with_secrets() });
        }
        if self.kind(&["EXTERNAL", "CONNECTION"]) {
            let name = Some(self.connection_name()?);
            return Ok(ShowStatement::CreateConnection { name, secrets: self.with_secrets() });
        }
        if self.kind(&["DATABASE"]) {
            return Ok(ShowStatement::CreateDatabase(self.name()?));
        }
        if self.kind(&["TYPE"]) {
            return Ok(ShowStatement::CreateType(self.object_name()?));
        }
        if self.kind(&["FUNCTION"]) {
            return Ok(ShowStatement::CreateFunction(self.function_name()?));
        }
        let _ = self.kind(&["TABLE"]) || self.kind(&["VIEW"]) || self.kind(&["SEQUENCE"]);
        self.object_name().map(ShowStatement::CreateRelation)
    }

    fn show_variable(&mut self) -> Result<ShowStatement, SqlError> {
        if self.words(&["CLUSTER", "SETTING"]) {
            return self.setting().map(ShowStatement::ClusterSetting);
        }
        if self.words(&["ALL", "CLUSTER", "SETTINGS"]) {
            return Ok(ShowStatement::ClusterSettings { all: true });
        }
        if self.words(&["CLUSTER", "SETTINGS"]) || self.words(&["PUBLIC", "CLUSTER", "SETTINGS"]) {
            return Ok(ShowStatement::ClusterSettings { all: false });
        }
        if self.words(&["ALL"]) {
            return Ok(ShowStatement::Variables);
        }
        if self.words(&["TRANSACTION", "ISOLATION", "LEVEL"]) {
            return Ok(ShowStatement::Variable("transaction_isolation".to_owned()));
        }
        if self.words(&["TRANSACTION", "STATUS"]) {
            return Ok(ShowStatement::Variable("transaction_status".to_owned()));
        }
        for (words, feature) in [
            (&["RANGES"][..], "SHOW RANGES"),
            (&["REGIONS"], "SHOW REGIONS"),
            (&["ZONE"], "SHOW ZONE CONFIGURATIONS"),
            (&["STATISTICS"], "SHOW STATISTICS"),
            (&["FULL", "TABLE", "SCANS"], "SHOW FULL TABLE SCANS"),
            (&["PARTITIONS"], "SHOW PARTITIONS"),
            (&["RANGE"], "SHOW RANGE"),
            (&["SUPER", "REGIONS"], "SHOW SUPER REGIONS"),
            (&["CHANGEFEED", "JOBS"], "SHOW CHANGEFEED JOBS"),
            (&["JOB"], "SHOW JOB"),
        ] {
            if self.words(words) {
                return Err(SqlError::unsupported(feature));
            }
        }
        let _ = self.words(&["SESSION"]);
        self.session_variable().map(ShowStatement::Variable)
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
        if self.words(&["ON"]) && self.kind(&["SCHEMA"]) {
            if self.parser.consume_token(&Token::Mul) {
                return Ok(Some(None));
            }
            let name = self.name()?;
            if self.parser.consume_tokens(&[Token::Period, Token::Mul]) {
                return Ok(Some(Some(name)));
            }
        }
        self.back_to(start);
        Ok(None)
    }

    fn show_default_privileges(&mut self) -> Result<ShowStatement, SqlError> {
        let shown = if self.words(&["FOR", "GRANTEE"]) {
            DefaultsShown::ForGrantees(self.role_specs()?)
        } else {
            let own = || Creators::Roles(vec![RoleSpec::CurrentUser]);
            DefaultsShown::Of(self.creators()?.unwrap_or_else(own))
        };
        let schema = if self.words(&["IN", "SCHEMA"]) { Some(self.schema_name()?) } else { None };
        Ok(ShowStatement::DefaultPrivileges { shown, schema })
    }

    /// `EXPLAIN PRIVILEGE [GRANT OPTION FOR] k, … ON o, … [FOR u, …]`, `EXPLAIN PRIVILEGE [GRANT OPTION FOR] SYSTEM k, …
    /// [FOR u, …]`.
    pub(super) fn explain_privilege(&mut self) -> Result<Statement, SqlError> {
        let grant_option = self.words(&["GRANT", "OPTION", "FOR"]);
        let system = self.words(&["SYSTEM"]);
        let words = self.granted()?;
        let privileges = privileges(words)?;
        let on = if system {
            Targets::System
        } else {
            self.expect_words(&["ON"])?;
            self.targets()?
        };
        let principals = self.for_roles()?;
        Ok(Statement::Show(ShowStatement::ExplainPrivilege { privileges, on, principals, grant_option }))
    }

    fn for_roles(&mut self) -> Result<Vec<RoleSpec>, SqlError> {
        if self.words(&["FOR"]) { self.role_specs() } else { Ok(Vec::new()) }
    }

    fn schema_behind_from(&mut self) -> Result<Option<SchemaName>, SqlError> {
        if self.words(&["FROM"]) { self.schema_name().map(Some) } else { Ok(None) }
    }

    fn table_behind_from(&mut self) -> Result<ObjectName, SqlError> {
        self.expect_words(&["FROM"])?;
        let _ = self.kind(&["TABLE"]);
        self.object_name()
    }

    fn with_secrets(&mut self) -> bool {
        self.words(&["WITH", "SECRETS"])
    }

    fn with_comment(&mut self) -> bool {
        self.words(&["WITH", "COMMENT"])
    }
}
