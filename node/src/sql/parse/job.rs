//! SHOW JOBS and the like; PAUSE, RESUME and CANCEL JOB. Source: cloud-jobs spec, E.1.

use grantd_catalog::command::Command;
use grantd_catalog::job::{Control, JobId, JobKind};
use sqlparser::ast;
use sqlparser::parser::Parser;
use sqlparser::tokenizer::Token;

use super::feed::FeedStatement;
use super::schedule::{ScheduleControl, Schedules};
use super::{Reader, Statement};
use crate::error::SqlError;

/// The most jobs that one statement names.
pub const JOB_IDS_MAX: usize = 1_000;

/// A statement about jobs.
#[derive(Clone, Debug)]
pub enum JobStatement {
    /// `SHOW [AUTOMATIC | CHANGEFEED] JOBS`, and SHOW JOBS WHEN COMPLETE.
    Show {
        /// Which columns, and which kinds.
        listed: Listed,
        /// Of which jobs; none: those that run, and those that ended lately.
        which: Option<Which>,
        /// Not before all of them have ended.
        when_complete: bool,
        /// WITH DETAILS: columns of our own behind the original's.
        details: bool,
    },
    /// PAUSE, RESUME, CANCEL.
    Control {
        /// What is asked of them.
        control: Control,
        /// Of which jobs.
        which: Which,
    },
    /// Changefeeds.
    Feed(FeedStatement),
}

/// What a SHOW lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the words of the statement")]
pub enum Listed {
    Jobs,
    Automatic,
    Changefeeds,
}

/// Which jobs a statement is about.
#[derive(Clone, Debug)]
pub enum Which {
    /// One, by its number.
    One(JobId),
    /// The one column of a query. NULL is passed over.
    Query(Box<ast::Query>),
    /// `ALL … JOBS`: those of a kind to which it can be done.
    All(JobKind),
    /// `FOR SCHEDULE`, `FOR SCHEDULES`: those that schedules have made.
    OfSchedules(Schedules),
}

impl JobStatement {
    /// What it is called in messages, if it changes something.
    pub const fn changing(&self) -> Option<&'static str> {
        match self {
            Self::Show { .. } => None,
            Self::Control { control, .. } => Some(tag(control)),
            Self::Feed(feed) => Some(feed.tag()),
        }
    }
}

/// The command tag, without the number behind it.
pub const fn tag(control: &Control) -> &'static str {
    match control {
        Control::Pause { .. } => "PAUSE JOBS",
        Control::Resume => "RESUME JOBS",
        Control::Cancel => "CANCEL JOBS",
        Control::Alter(_) => "ALTER CHANGEFEED",
    }
}

impl Reader<'_> {
    /// After SHOW: one of the listings of jobs, if it is one.
    pub(super) fn show_jobs(&mut self) -> Result<Option<Statement>, SqlError> {
        let start = self.parser.index();
        let listed = if self.words(&["AUTOMATIC"]) {
            Listed::Automatic
        } else if self.words(&["CHANGEFEED"]) {
            Listed::Changefeeds
        } else {
            Listed::Jobs
        };
        let one = self.words(&["JOB"]);
        if !one && !self.words(&["JOBS"]) {
            self.back_to(start);
            return Ok(None);
        }
        if !one && listed == Listed::Jobs && self.words(&["FOR"]) {
            let which = Some(self.of_schedules()?);
            let details = self.words(&["WITH", "DETAILS"]);
            let show = JobStatement::Show { listed, which, when_complete: false, details };
            return Ok(Some(Statement::Job(Box::new(show))));
        }
        let when_complete = listed == Listed::Jobs && self.words(&["WHEN", "COMPLETE"]);
        let may_be_all = !one && !when_complete;
        let which = if may_be_all && (self.at_end() || self.with_details()) {
            None
        } else {
            Some(self.which_jobs(one)?)
        };
        let details = self.words(&["WITH", "DETAILS"]);
        let show = JobStatement::Show { listed, which, when_complete, details };
        Ok(Some(Statement::Job(Box::new(show))))
    }

    /// PAUSE, RESUME and CANCEL of jobs; the word was looked at.
    pub(super) fn control_jobs(&mut self) -> Result<Statement, SqlError> {
        let control = if self.words(&["PAUSE"]) {
            Control::Pause { reason: None }
        } else if self.words(&["RESUME"]) {
            Control::Resume
        } else {
            self.expect_words(&["CANCEL"])?;
            Control::Cancel
        };
        let of_schedules = match control {
            Control::Pause { .. } => self.control_schedules(ScheduleControl::Pause)?,
            Control::Resume => self.control_schedules(ScheduleControl::Resume)?,
            Control::Cancel | Control::Alter(_) => None,
        };
        if let Some(statement) = of_schedules {
            return Ok(statement);
        }
        if self.words(&["ALL"]) {
            let which = Which::All(self.kind_of_jobs()?);
            self.expect_words(&["JOBS"])?;
            return Ok(Statement::Job(Box::new(JobStatement::Control { control, which })));
        }
        let one = self.words(&["JOB"]);
        if !one && !self.words(&["JOBS"]) {
            return Err(self.expected("JOB, JOBS or ALL"));
        }
        if !one && self.words(&["FOR"]) {
            let which = self.of_schedules()?;
            return Ok(Statement::Job(Box::new(JobStatement::Control { control, which })));
        }
        let which = self.which_jobs(one)?;
        let control = match control {
            Control::Pause { .. } if self.words(&["WITH", "REASON"]) => {
                self.expect_token(&Token::Eq, "=")?;
                Control::Pause { reason: Some(self.string()?) }
            }
            other => other,
        };
        Ok(Statement::Job(Box::new(JobStatement::Control { control, which })))
    }

    /// After ALTER JOB: `id OWNER TO role`.
    pub(super) fn alter_job(&mut self) -> Result<Statement, SqlError> {
        let id = JobId(self.integer()?);
        self.expect_words(&["OWNER", "TO"])?;
        let owner = self.role_spec()?;
        Ok(Statement::Command(Command::AlterJobOwner { id, owner }, "ALTER JOB"))
    }

    fn kind_of_jobs(&mut self) -> Result<JobKind, SqlError> {
        for kind in [JobKind::Backup, JobKind::Changefeed, JobKind::Restore] {
            if self.words(&[kind.word()]) {
                return Ok(kind);
            }
        }
        Err(self.expected("BACKUP, CHANGEFEED or RESTORE"))
    }

    /// After JOBS FOR.
    fn of_schedules(&mut self) -> Result<Which, SqlError> {
        let schedules = self.schedules()?;
        schedules.map(Which::OfSchedules).ok_or_else(|| self.expected("SCHEDULE or SCHEDULES"))
    }

    fn which_jobs(&mut self, one: bool) -> Result<Which, SqlError> {
        let is_query = matches!(self.parser.peek_token_ref().token, Token::LParen)
            || ["SELECT", "WITH", "VALUES", "TABLE"].iter().any(|word| self.next_is(word));
        if !one && is_query {
            return Ok(Which::Query(self.sql(Parser::parse_query)?));
        }
        Ok(Which::One(JobId(self.integer()?)))
    }

    fn with_details(&mut self) -> bool {
        let start = self.parser.index();
        let found = self.words(&["WITH", "DETAILS"]);
        self.back_to(start);
        found
    }
}
