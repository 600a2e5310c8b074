//! Schedules of backups: CREATE, ALTER BACKUP, PAUSE, RESUME, DROP, SHOW and SHOW CREATE SCHEDULE. Source: cloud-jobs spec, C.7.
//!
//! No error repeats a URI or a passphrase. Crontabs and values of options are read where the statement is executed.

use grantd_catalog::id::ScheduleId;
use grantd_catalog::object::ConnectionUri;
use sqlparser::ast;
use sqlparser::parser::Parser;
use sqlparser::tokenizer::Token;

use super::backup::{Backup, Options as BackupOptions};
use super::{Reader, Statement};
use crate::error::SqlError;

/// The most schedules that one statement names.
pub const SCHEDULE_IDS_MAX: usize = 1_000;
/// The most bytes of a label.
pub const LABEL_BYTES_MAX: usize = 256;
/// The most clauses of one ALTER.
const CHANGES_MAX: usize = 64;

/// A statement about schedules.
#[derive(Clone, Debug)]
pub enum ScheduleStatement {
    /// CREATE SCHEDULE FOR BACKUP.
    Create(Box<NewSchedule>),
    /// ALTER BACKUP SCHEDULE.
    Alter {
        /// Either of the two that belong together.
        id: ScheduleId,
        /// In the order of the text.
        changes: Vec<ScheduleChange>,
    },
    /// PAUSE, RESUME, DROP.
    Control {
        /// What is done.
        control: ScheduleControl,
        /// With which.
        which: Schedules,
    },
    /// SHOW SCHEDULES, SHOW SCHEDULE.
    Show {
        /// Which of them.
        shown: Shown,
        /// FOR BACKUP: the command is its text, and not in an object of JSON.
        for_backup: bool,
    },
    /// SHOW CREATE SCHEDULE; none: of all.
    ShowCreate(Option<ScheduleId>),
}

/// CREATE SCHEDULE FOR BACKUP.
#[derive(Clone, Debug)]
pub struct NewSchedule {
    /// One of this label is no error.
    pub if_not_exists: bool,
    /// What it is called.
    pub label: Option<String>,
    /// What is done each time, as a full backup.
    pub backup: Backup,
    /// How often.
    pub recurring: Recurring,
    /// And how often a full one; none: as seems good.
    pub full: Option<FullBackup>,
    /// WITH SCHEDULE OPTIONS.
    pub options: Vec<ScheduleOption>,
}

/// How often.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Recurring {
    /// Once.
    Never,
    /// When the crontab says.
    Crontab(String),
}

/// How often a full backup is made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FullBackup {
    /// Each one is.
    Always,
    /// When the crontab says.
    Crontab(String),
}

/// An option of a schedule, by its name, with the value as it is written; none: there is none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScheduleOption {
    /// One of [`SCHEDULE_OPTIONS`].
    pub name: &'static str,
    /// What stands behind it.
    pub value: Option<String>,
}

/// A clause of ALTER BACKUP SCHEDULE.
#[derive(Clone, Debug)]
pub enum ScheduleChange {
    /// SET INTO.
    Into(Vec<ConnectionUri>),
    /// SET LABEL.
    Label(String),
    /// SET RECURRING.
    Recurring(Recurring),
    /// SET FULL BACKUP.
    Full(FullBackup),
    /// SET WITH.
    With(Box<BackupOptions>),
    /// SET SCHEDULE OPTION.
    Option(ScheduleOption),
    /// EXECUTE IMMEDIATELY.
    Execute {
        /// EXECUTE FULL IMMEDIATELY.
        full: bool,
    },
}

/// What is done with schedules.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the words of the statements")]
pub enum ScheduleControl {
    Pause,
    Resume,
    Drop,
}

/// Which schedules a statement is about.
#[derive(Clone, Debug)]
pub enum Schedules {
    /// One, by its number.
    One(ScheduleId),
    /// The one column of a query. NULL is passed over.
    Query(Box<ast::Query>),
}

/// Which schedules are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the words of the statements")]
pub enum Shown {
    All,
    Running,
    Paused,
    One(ScheduleId),
}

impl ScheduleStatement {
    /// What it is called in messages, if it changes something.
    pub const fn changing(&self) -> Option<&'static str> {
        match self {
            Self::Create(_) => Some("CREATE SCHEDULE"),
            Self::Alter { .. } => Some("ALTER BACKUP SCHEDULE"),
            Self::Control { control, .. } => Some(control.tag()),
            Self::Show { .. } | Self::ShowCreate(_) => None,
        }
    }
}

impl ScheduleControl {
    /// The command tag, without the number behind it.
    pub const fn tag(self) -> &'static str {
        match self {
            Self::Pause => "PAUSE SCHEDULES",
            Self::Resume => "RESUME SCHEDULES",
            Self::Drop => "DROP SCHEDULES",
        }
    }
}

impl Reader<'_> {
    /// After CREATE SCHEDULE.
    pub(super) fn create_schedule(&mut self) -> Result<Statement, SqlError> {
        let if_not_exists = self.if_not_exists();
        let label = if self.next_is("FOR") { None } else { Some(self.schedule_label()?) };
        self.expect_words(&["FOR"])?;
        for other in ["CHANGEFEED", "SQL"] {
            if self.next_is(other) {
                return Err(SqlError::unsupported(format!("CREATE SCHEDULE FOR {other}")));
            }
        }
        self.expect_words(&["BACKUP"])?;
        let of = self.backup_targets()?;
        self.expect_words(&["INTO"])?;
        if self.next_is("LATEST") {
            return Err(self.expected("the place of the collection: a schedule chooses its layers by itself"));
        }
        let collection = self.backup_uris()?;
        if self.as_of_system_time()?.is_some() {
            return Err(SqlError::syntax("AS OF SYSTEM TIME is not allowed in a schedule")
                .with_hint("Each backup is of the time at which it is due."));
        }
        let BackupOptions { opened, revision_history, .. } = self.backup_options(false)?;
        let recurring = match self.words(&["RECURRING"]) {
            true => self.recurring()?,
            false => return Err(self.expected("RECURRING and a crontab, or RECURRING NEVER")),
        };
        let full = if self.words(&["FULL", "BACKUP"]) { Some(self.full_backup()?) } else { None };
        let options =
            if self.words(&["WITH", "SCHEDULE", "OPTIONS"]) { self.schedule_options()? } else { Vec::new() };
        let backup = Backup {
            of,
            upon: None,
            collection,
            as_of: None,
            opened,
            revision_history: revision_history.unwrap_or_default(),
            detached: true,
        };
        let create = NewSchedule { if_not_exists, label, backup, recurring, full, options };
        Ok(schedule(ScheduleStatement::Create(Box::new(create))))
    }

    /// After ALTER BACKUP SCHEDULE.
    pub(super) fn alter_schedule(&mut self) -> Result<Statement, SqlError> {
        let id = ScheduleId(self.integer()?);
        let mut changes = Vec::new();
        loop {
            if changes.len() == CHANGES_MAX {
                return Err(SqlError::too_large(format!("an ALTER of more than {CHANGES_MAX} clauses")));
            }
            changes.push(self.schedule_change()?);
            if !self.comma() {
                break;
            }
        }
        Ok(schedule(ScheduleStatement::Alter { id, changes }))
    }

    fn schedule_change(&mut self) -> Result<ScheduleChange, SqlError> {
        if self.words(&["EXECUTE"]) {
            let full = self.words(&["FULL"]);
            self.expect_words(&["IMMEDIATELY"])?;
            return Ok(ScheduleChange::Execute { full });
        }
        self.expect_words(&["SET"])?;
        if self.words(&["INTO"]) {
            self.backup_uris().map(ScheduleChange::Into)
        } else if self.words(&["LABEL"]) {
            self.schedule_label().map(ScheduleChange::Label)
        } else if self.words(&["RECURRING"]) {
            self.recurring().map(ScheduleChange::Recurring)
        } else if self.words(&["FULL", "BACKUP"]) {
            self.full_backup().map(ScheduleChange::Full)
        } else if self.words(&["SCHEDULE", "OPTION"]) {
            self.schedule_option().map(ScheduleChange::Option)
        } else if self.next_is("WITH") {
            // A comma is the next clause's: one option each.
            self.one_backup_option().map(|option| ScheduleChange::With(Box::new(option)))
        } else {
            Err(self.expected("INTO, LABEL, RECURRING, FULL BACKUP, WITH or SCHEDULE OPTION"))
        }
    }

    /// After PAUSE, RESUME and DROP, if what follows is about schedules.
    pub(super) fn control_schedules(
        &mut self,
        control: ScheduleControl,
    ) -> Result<Option<Statement>, SqlError> {
        Ok(self.schedules()?.map(|which| schedule(ScheduleStatement::Control { control, which })))
    }

    /// `SCHEDULE id` or `SCHEDULES query`.
    pub(super) fn schedules(&mut self) -> Result<Option<Schedules>, SqlError> {
        let one = self.words(&["SCHEDULE"]);
        if !one && !self.words(&["SCHEDULES"]) {
            return Ok(None);
        }
        let is_query = matches!(self.parser.peek_token_ref().token, Token::LParen)
            || ["SELECT", "WITH", "VALUES", "TABLE"].iter().any(|word| self.next_is(word));
        if !one && is_query {
            return self.sql(Parser::parse_query).map(|query| Some(Schedules::Query(query)));
        }
        Ok(Some(Schedules::One(ScheduleId(self.integer()?))))
    }

    /// After SHOW: one of the statements about schedules, if it is one.
    pub(super) fn show_schedules(&mut self) -> Result<Option<Statement>, SqlError> {
        let start = self.parser.index();
        if self.words(&["CREATE", "ALL", "SCHEDULES"]) {
            return Ok(Some(schedule(ScheduleStatement::ShowCreate(None))));
        }
        if self.words(&["CREATE", "SCHEDULE"]) {
            // A table may have that name.
            if !matches!(self.parser.peek_token_ref().token, Token::Number(..)) {
                self.back_to(start);
                return Ok(None);
            }
            let id = ScheduleId(self.integer()?);
            return Ok(Some(schedule(ScheduleStatement::ShowCreate(Some(id)))));
        }
        let shown = if self.words(&["RUNNING", "SCHEDULES"]) {
            Shown::Running
        } else if self.words(&["PAUSED", "SCHEDULES"]) {
            Shown::Paused
        } else if self.words(&["SCHEDULES"]) {
            Shown::All
        } else if self.words(&["SCHEDULE"]) {
            Shown::One(ScheduleId(self.integer()?))
        } else {
            return Ok(None);
        };
        let for_backup = !matches!(shown, Shown::One(_)) && self.words(&["FOR", "BACKUP"]);
        Ok(Some(schedule(ScheduleStatement::Show { shown, for_backup })))
    }

    fn schedule_label(&mut self) -> Result<String, SqlError> {
        let label = match self.string() {
            Ok(label) => label,
            Err(_) => self.name()?.to_string(),
        };
        if label.len() > LABEL_BYTES_MAX {
            return Err(SqlError::too_large(format!("a label of more than {LABEL_BYTES_MAX} bytes")));
        }
        Ok(label)
    }

    fn recurring(&mut self) -> Result<Recurring, SqlError> {
        if self.words(&["NEVER"]) {
            return Ok(Recurring::Never);
        }
        self.crontab("a crontab in a string, as '@daily', or NEVER").map(Recurring::Crontab)
    }

    fn full_backup(&mut self) -> Result<FullBackup, SqlError> {
        if self.words(&["ALWAYS"]) {
            return Ok(FullBackup::Always);
        }
        self.crontab("a crontab in a string, as '@weekly', or ALWAYS").map(FullBackup::Crontab)
    }

    fn crontab(&mut self, expected: &str) -> Result<String, SqlError> {
        self.string().map_err(|_| self.expected(expected))
    }

    /// `option [= value], …`, with or without parentheses.
    fn schedule_options(&mut self) -> Result<Vec<ScheduleOption>, SqlError> {
        let parenthesized = self.parser.consume_token(&Token::LParen);
        let mut options: Vec<ScheduleOption> = Vec::new();
        loop {
            let option = self.schedule_option()?;
            if options.iter().any(|given| given.name == option.name) {
                return Err(SqlError::syntax(format!("{} specified multiple times", option.name)));
            }
            options.push(option);
            if !self.comma() {
                break;
            }
        }
        if parenthesized {
            self.expect_token(&Token::RParen, ")")?;
        }
        Ok(options)
    }

    fn schedule_option(&mut self) -> Result<ScheduleOption, SqlError> {
        let name = SCHEDULE_OPTIONS.iter().find(|name| self.words(&[**name])).copied();
        let name = name.ok_or_else(|| self.expected(&SCHEDULE_OPTIONS.join(", ")))?;
        let value = match self.parser.consume_token(&Token::Eq) {
            true => Some(self.schedule_value()?),
            false => None,
        };
        Ok(ScheduleOption { name, value })
    }

    /// A string, or a word as `pause`.
    fn schedule_value(&mut self) -> Result<String, SqlError> {
        if let Token::Word(word) = &self.parser.peek_token_ref().token
            && word.quote_style.is_none()
        {
            let word = word.value.clone();
            self.parser.advance_token();
            return Ok(word);
        }
        self.string()
    }
}

fn schedule(statement: ScheduleStatement) -> Statement {
    Statement::Schedule(Box::new(statement))
}

/// Names of the options of a schedule.
pub const SCHEDULE_OPTIONS: &[&str] = &[FIRST_RUN, ON_FAILURE, ON_RUNNING, IGNORE_EXISTING, UPDATES_METRIC];
#[allow(missing_docs, reason = "the names")]
pub const FIRST_RUN: &str = "first_run";
#[allow(missing_docs, reason = "the names")]
pub const ON_FAILURE: &str = "on_execution_failure";
#[allow(missing_docs, reason = "the names")]
pub const ON_RUNNING: &str = "on_previous_running";
#[allow(missing_docs, reason = "the names")]
pub const IGNORE_EXISTING: &str = "ignore_existing_backups";
#[allow(missing_docs, reason = "the names")]
pub const UPDATES_METRIC: &str = "updates_cluster_last_backup_time_metric";
