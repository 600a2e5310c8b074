//! RESTORE. Source: cloud-jobs spec, C.8.

use std::fmt;

use grantd_catalog::name::Name;
use grantd_catalog::object::ConnectionUri;

use super::super::{Reader, Statement};
use super::{BackupStatement, DETACHED, FOLDER_HINT, KMS, LOCATION, Named, Of, Opened, PASSPHRASE};
use crate::error::SqlError;

/// RESTORE.
#[derive(Clone, Debug)]
pub struct Restore {
    /// What of the backup.
    pub what: What,
    /// Which full backup.
    pub full: Named,
    /// Where.
    pub collection: Vec<ConnectionUri>,
    /// AS OF SYSTEM TIME, as it is written.
    pub as_of: Option<String>,
    /// How it is opened.
    pub opened: Opened,
    /// `into_db`.
    pub into_db: Option<Name>,
    /// `new_db_name`.
    pub new_db_name: Option<Name>,
    /// What need not be there.
    pub skipped: Skipped,
    /// Whether the objects come without their rows.
    pub schema_only: bool,
    /// Whether the rows that do not come are read all the same.
    pub verify_backup_table_data: bool,
    /// Whether everything is read and nothing made.
    pub verify_only: bool,
    /// Whether it is not waited for.
    pub detached: bool,
}

/// `skip_missing_…`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs, reason = "the options of the same names")]
pub struct Skipped {
    pub foreign_keys: bool,
    pub sequences: bool,
    pub sequence_owners: bool,
    pub views: bool,
}

/// What is restored.
#[derive(Clone, Debug)]
pub enum What {
    /// The cluster, databases or tables.
    Of(Of),
    /// SYSTEM USERS.
    Users,
}

/// As the statement has it, with a blank behind it if there is something.
impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Of(of) => of.fmt(f),
            Self::Users => f.write_str("SYSTEM USERS "),
        }
    }
}

impl Reader<'_> {
    /// RESTORE.
    pub(in crate::sql::parse) fn restore(&mut self) -> Result<Statement, SqlError> {
        self.expect_words(&["RESTORE"])?;
        if self.next_is("TENANT") {
            return Err(SqlError::unsupported("RESTORE TENANT"));
        }
        let what = match self.words(&["SYSTEM", "USERS"]) {
            true => What::Users,
            false => What::Of(self.backup_targets()?),
        };
        self.expect_words(&["FROM"])?;
        let full = match self.words(&["LATEST"]) {
            true => Named::Latest,
            false => Named::Folder(ConnectionUri::new(self.uri(FOLDER_HINT)?)),
        };
        if !self.next_is("IN") {
            return Err(SqlError::unsupported("RESTORE … FROM 'uri'")
                .with_hint("Write RESTORE … FROM LATEST IN 'collection'."));
        }
        self.expect_words(&["IN"])?;
        let collection = self.backup_uris()?;
        let as_of = self.as_of_system_time()?;
        let mut restore = Restore {
            what,
            full,
            collection,
            as_of,
            opened: Opened::default(),
            into_db: None,
            new_db_name: None,
            skipped: Skipped::default(),
            schema_only: false,
            verify_backup_table_data: false,
            verify_only: false,
            detached: false,
        };
        self.option_list(OPTIONS, |reader, name| reader.restore_option(name, &mut restore))?;
        if restore.verify_backup_table_data && !restore.schema_only {
            return Err(SqlError::syntax(
                "verify_backup_table_data must be specified with schema_only option",
            ));
        }
        Ok(Statement::Backup(Box::new(BackupStatement::Restore(Box::new(restore)))))
    }

    fn restore_option(&mut self, name: &str, restore: &mut Restore) -> Result<(), SqlError> {
        match name {
            INTO_DB => restore.into_db = Some(self.database_option()?),
            NEW_DB_NAME => restore.new_db_name = Some(self.database_option()?),
            "skip_missing_foreign_keys" => restore.skipped.foreign_keys = self.option_flag()?,
            "skip_missing_sequences" => restore.skipped.sequences = self.option_flag()?,
            "skip_missing_sequence_owners" => restore.skipped.sequence_owners = self.option_flag()?,
            "skip_missing_views" => restore.skipped.views = self.option_flag()?,
            "schema_only" => restore.schema_only = self.option_flag()?,
            "verify_backup_table_data" => restore.verify_backup_table_data = self.option_flag()?,
            "verify_only" => restore.verify_only = self.option_flag()?,
            DETACHED => restore.detached = self.option_flag()?,
            // Nodes have no localities.
            LOCALITIES => drop(self.option_flag()?),
            _ => self.opened_option(name, &mut restore.opened)?,
        }
        Ok(())
    }

    /// The name of a database, as a string or as a name.
    fn database_option(&mut self) -> Result<Name, SqlError> {
        self.expect_token(&sqlparser::tokenizer::Token::Eq, "=")?;
        self.connection_name()
    }
}

const INTO_DB: &str = "into_db";
const NEW_DB_NAME: &str = "new_db_name";
const LOCALITIES: &str = "skip_localities_check";
const OPTIONS: &[&str] = &[
    INTO_DB,
    NEW_DB_NAME,
    "skip_missing_foreign_keys",
    "skip_missing_sequences",
    "skip_missing_sequence_owners",
    "skip_missing_views",
    LOCALITIES,
    "schema_only",
    "verify_backup_table_data",
    "verify_only",
    PASSPHRASE,
    KMS,
    DETACHED,
    LOCATION,
];
