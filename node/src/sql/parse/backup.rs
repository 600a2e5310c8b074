//! BACKUP, SHOW BACKUPS, SHOW BACKUP; RESTORE. Source: cloud-jobs spec, C.1, C.9.
//!
//! No error repeats a URI or a passphrase.

use std::fmt;

use grantd_catalog::command::TablePattern;
use grantd_catalog::name::Name;
use grantd_catalog::object::ConnectionUri;
use sqlparser::tokenizer::Token;

use super::{Reader, Statement, is_reserved_word};
use crate::backup::show;
use crate::error::SqlError;
use crate::secret::Secret;

mod restore;
mod written;

pub use self::restore::{Restore, Skipped, What};
pub use self::written::Secrets;

/// The most URIs of a list: one for each locality, or for each key.
const URIS_MAX: usize = 64;

/// A statement about backups.
#[derive(Clone, Debug)]
pub enum BackupStatement {
    /// BACKUP.
    Backup(Backup),
    /// RESTORE.
    Restore(Box<Restore>),
    /// SHOW BACKUPS IN.
    List {
        /// Where.
        collection: Vec<ConnectionUri>,
    },
    /// SHOW BACKUP FROM … IN.
    Show {
        /// Which of them.
        full: Named,
        /// Where.
        collection: Vec<ConnectionUri>,
        /// How it is opened.
        opened: Opened,
        /// What is shown.
        shown: show::Options,
    },
}

/// BACKUP.
#[derive(Clone, Debug)]
pub struct Backup {
    /// Of what.
    pub of: Of,
    /// Upon which full backup; none: a new one.
    pub upon: Option<Named>,
    /// Where.
    pub collection: Vec<ConnectionUri>,
    /// AS OF SYSTEM TIME, as it is written.
    pub as_of: Option<String>,
    /// How it is opened.
    pub opened: Opened,
    /// Whether each time in it can be restored.
    pub revision_history: bool,
    /// Whether it is not waited for.
    pub detached: bool,
}

/// What is backed up.
#[derive(Clone, Debug)]
pub enum Of {
    /// All there is.
    Cluster,
    /// DATABASE.
    Databases(Vec<Name>),
    /// TABLE.
    Tables(Vec<TablePattern>),
}

/// As the statement has it, with a blank behind it if there is something.
impl fmt::Display for Of {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let pattern = |pattern: &TablePattern| match pattern {
            TablePattern::Table(name) => name.parts.iter().map(identifier).collect::<Vec<_>>().join("."),
            TablePattern::All(parts) => {
                parts.iter().map(|part| format!("{}.", identifier(part))).collect::<String>() + "*"
            }
        };
        let (word, names): (_, Vec<String>) = match self {
            Self::Cluster => return Ok(()),
            Self::Databases(names) => ("DATABASE", names.iter().map(identifier).collect()),
            Self::Tables(patterns) => ("TABLE", patterns.iter().map(pattern).collect()),
        };
        write!(f, "{word} {} ", names.join(", "))
    }
}

/// In quotes where it would not be read as this name without.
fn identifier(name: &Name) -> String {
    let text = name.as_str();
    let is_plain = |(at, c): (usize, char)| {
        c.is_ascii_lowercase() || c == '_' || (at > 0 && (c.is_ascii_digit() || c == '$'))
    };
    match text.chars().enumerate().all(is_plain) && !text.is_empty() && !is_reserved_word(text) {
        true => text.to_owned(),
        false => format!("\"{}\"", text.replace('"', "\"\"")),
    }
}

/// Which full backup of a collection.
#[derive(Clone, Debug)]
pub enum Named {
    /// The newest.
    Latest,
    /// The one in this folder, as it is written: which may be a URI, by mistake.
    Folder(ConnectionUri),
}

/// With what a backup is opened.
#[derive(Clone, Debug, Default)]
pub struct Opened {
    /// `encryption_passphrase`.
    pub passphrase: Option<Secret>,
    /// `kms`.
    pub kms: Vec<ConnectionUri>,
    /// `incremental_location`.
    pub incremental_location: Vec<ConnectionUri>,
}

/// All options, of both statements.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// How it is opened.
    pub opened: Opened,
    /// `revision_history`; none: nothing is said.
    pub revision_history: Option<bool>,
    detached: bool,
    shown: show::Options,
}

impl BackupStatement {
    /// What it is called in messages, if it changes something.
    pub const fn changing(&self) -> Option<&'static str> {
        match self {
            Self::Backup(_) => Some("BACKUP"),
            Self::Restore(_) => Some("RESTORE"),
            Self::List { .. } | Self::Show { .. } => None,
        }
    }
}

impl Reader<'_> {
    /// BACKUP.
    pub(super) fn backup(&mut self) -> Result<Statement, SqlError> {
        self.expect_words(&["BACKUP"])?;
        if self.next_is("TENANT") {
            return Err(SqlError::unsupported("BACKUP TENANT"));
        }
        let of = self.backup_targets()?;
        if self.words(&["TO"]) {
            return Err(self.backup_to()?);
        }
        self.expect_words(&["INTO"])?;
        let (upon, collection) = if self.words(&["LATEST", "IN"]) {
            (Some(Named::Latest), self.backup_uris()?)
        } else {
            let mut first = self.backup_uris()?;
            match (self.words(&["IN"]), first.len()) {
                (false, _) => (None, first),
                (true, 1) => (Some(Named::Folder(first.remove(0))), self.backup_uris()?),
                (true, _) => return Err(self.expected("one subdirectory before IN")),
            }
        };
        let as_of = self.as_of_system_time()?;
        let Options { opened, revision_history, detached, .. } = self.backup_options(false)?;
        let revision_history = revision_history.unwrap_or_default();
        let backup = Backup { of, upon, collection, as_of, opened, revision_history, detached };
        Ok(Statement::Backup(Box::new(BackupStatement::Backup(backup))))
    }

    /// After SHOW: one of the statements about backups, if it is one.
    pub(super) fn show_backups(&mut self) -> Result<Option<Statement>, SqlError> {
        if self.words(&["BACKUPS"]) {
            self.expect_words(&["IN"])?;
            let collection = self.backup_uris()?;
            return Ok(Some(Statement::Backup(Box::new(BackupStatement::List { collection }))));
        }
        if !self.words(&["BACKUP"]) {
            return Ok(None);
        }
        if self.words(&["SCHEMAS"]) {
            return Err(SqlError::unsupported("SHOW BACKUP SCHEMAS"));
        }
        if !self.words(&["FROM"]) {
            return Err(SqlError::unsupported("SHOW BACKUP 'uri'")
                .with_hint("Write SHOW BACKUP FROM LATEST IN 'collection'."));
        }
        let full = match self.words(&["LATEST"]) {
            true => Named::Latest,
            false => Named::Folder(ConnectionUri::new(self.uri(FOLDER_HINT)?)),
        };
        self.expect_words(&["IN"])?;
        let collection = self.backup_uris()?;
        let Options { opened, shown, .. } = self.backup_options(true)?;
        let show = BackupStatement::Show { full, collection, opened, shown };
        Ok(Some(Statement::Backup(Box::new(show))))
    }

    /// `DATABASE a, …` or `TABLE pattern, …`.
    pub(super) fn backup_targets(&mut self) -> Result<Of, SqlError> {
        if self.words(&["DATABASE"]) || self.words(&["DATABASES"]) {
            return self.list(Self::name).map(Of::Databases);
        }
        if self.words(&["TABLE"]) || self.words(&["TABLES"]) {
            return self.list(Self::table_pattern).map(Of::Tables);
        }
        Ok(Of::Cluster)
    }

    /// After BACKUP … TO: why not.
    fn backup_to(&mut self) -> Result<SqlError, SqlError> {
        self.backup_uris()?;
        let as_of = self.as_of_system_time()?;
        if self.words(&["INCREMENTAL", "FROM"]) {
            self.list(|reader| reader.uri(URI_HINT))?;
        }
        if as_of.is_none() {
            self.as_of_system_time()?;
        }
        let options = self.backup_options(false)?;
        Ok(match options.opened.incremental_location.is_empty() {
            true => SqlError::unsupported("BACKUP … TO").with_hint(
                "Write BACKUP … INTO 'collection', and INTO LATEST IN for what has changed since.",
            ),
            false => SqlError::syntax("incremental_location option not supported with `BACKUP TO` syntax"),
        })
    }

    /// `'uri'` or `('uri', …)`.
    pub(super) fn backup_uris(&mut self) -> Result<Vec<ConnectionUri>, SqlError> {
        let is_list = self.parser.consume_token(&Token::LParen);
        let mut uris = vec![ConnectionUri::new(self.uri(URI_HINT)?)];
        while is_list && self.comma() {
            if uris.len() == URIS_MAX {
                return Err(SqlError::too_large(format!("a list of more than {URIS_MAX} URIs")));
            }
            uris.push(ConnectionUri::new(self.uri(URI_HINT)?));
        }
        if is_list {
            self.expect_token(&Token::RParen, ")")?;
        }
        Ok(uris)
    }

    pub(super) fn as_of_system_time(&mut self) -> Result<Option<String>, SqlError> {
        if !self.words(&["AS", "OF", "SYSTEM", "TIME"]) {
            return Ok(None);
        }
        if let Token::Number(number, _) = &self.parser.peek_token_ref().token {
            let number = number.clone();
            self.parser.advance_token();
            return Ok(Some(number));
        }
        let text = self.string().map_err(|_| self.expected("a time in a string, as '-10s'"))?;
        Ok(Some(text))
    }

    /// The options of BACKUP, or of SHOW BACKUP.
    pub(super) fn backup_options(&mut self, showing: bool) -> Result<Options, SqlError> {
        let mut options = Options::default();
        let names = if showing { SHOW_OPTIONS } else { BACKUP_OPTIONS };
        self.option_list(names, |reader, name| reader.backup_option(name, &mut options))?;
        Ok(options)
    }

    /// `WITH option`: one of BACKUP.
    pub(super) fn one_backup_option(&mut self) -> Result<Options, SqlError> {
        self.expect_words(&["WITH"])?;
        let name = BACKUP_OPTIONS.iter().find(|name| self.words(&[**name])).copied();
        let name = name.ok_or_else(|| self.expected(&BACKUP_OPTIONS.join(", ")))?;
        let mut options = Options::default();
        self.backup_option(name, &mut options)?;
        Ok(options)
    }

    /// `WITH [OPTIONS] option, …`, with or without parentheses. `read`: what stands behind the name of one.
    fn option_list(
        &mut self,
        names: &[&'static str],
        mut read: impl FnMut(&mut Self, &str) -> Result<(), SqlError>,
    ) -> Result<(), SqlError> {
        if !self.words(&["WITH"]) {
            return Ok(());
        }
        let _ = self.words(&["OPTIONS"]);
        let parenthesized = self.parser.consume_token(&Token::LParen);
        let mut given: Vec<&'static str> = Vec::new();
        loop {
            let name = names.iter().find(|name| self.words(&[**name])).copied();
            let name = name.ok_or_else(|| self.expected(&names.join(", ")))?;
            if given.contains(&name) {
                return Err(SqlError::syntax(format!("{name} specified multiple times")));
            }
            given.push(name);
            read(self, name)?;
            if !self.comma() {
                break;
            }
        }
        if parenthesized {
            self.expect_token(&Token::RParen, ")")?;
        }
        Ok(())
    }

    fn backup_option(&mut self, name: &str, options: &mut Options) -> Result<(), SqlError> {
        match name {
            PASSPHRASE | KMS | LOCATION => self.opened_option(name, &mut options.opened)?,
            REVISIONS => options.revision_history = Some(self.option_flag()?),
            DETACHED => options.detached = self.option_flag()?,
            "as_json" => options.shown.as_json = self.option_flag()?,
            "check_files" => options.shown.check_files = self.option_flag()?,
            "debug_ids" => options.shown.debug_ids = self.option_flag()?,
            _ => options.shown.privileges = self.option_flag()?,
        }
        Ok(())
    }

    /// One of the options by which a backup is opened.
    fn opened_option(&mut self, name: &str, opened: &mut Opened) -> Result<(), SqlError> {
        self.expect_token(&Token::Eq, "=")?;
        match name {
            PASSPHRASE => opened.passphrase = Some(Secret::new(self.string()?)),
            KMS => opened.kms = self.backup_uris()?,
            _ => opened.incremental_location = self.backup_uris()?,
        }
        Ok(())
    }

    /// Nothing, or `= true` and the like.
    fn option_flag(&mut self) -> Result<bool, SqlError> {
        if !self.parser.consume_token(&Token::Eq) {
            return Ok(true);
        }
        for (words, value) in [(["TRUE", "ON"], true), (["FALSE", "OFF"], false)] {
            if words.iter().any(|word| self.words(&[*word])) {
                return Ok(value);
            }
        }
        let text = self.string().map_err(|_| self.expected("true or false"))?;
        match text.to_ascii_lowercase().as_str() {
            "true" | "on" => Ok(true),
            "false" | "off" => Ok(false),
            _ => Err(SqlError::syntax("such an option takes true or false")),
        }
    }
}

const URI_HINT: &str =
    "Write the place of the collection as a string: 's3://bucket/path?…' or 'external://name'.";
const FOLDER_HINT: &str = "Write LATEST, or a folder that SHOW BACKUPS lists.";
const PASSPHRASE: &str = "encryption_passphrase";
const KMS: &str = "kms";
const LOCATION: &str = "incremental_location";
const REVISIONS: &str = "revision_history";
const DETACHED: &str = "detached";
const BACKUP_OPTIONS: &[&str] = &[REVISIONS, PASSPHRASE, KMS, DETACHED, LOCATION];
const SHOW_OPTIONS: &[&str] =
    &["as_json", "check_files", "debug_ids", PASSPHRASE, KMS, LOCATION, "privileges"];
