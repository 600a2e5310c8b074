//! Portals: statements with their parameters, and results that are sent in parts.

use std::sync::Arc;

use bytes::BytesMut;
use grantd_raft::rows::Share;

use super::{
    Described, Machine, PORTALS_MAX, SESSION_BYTES_MAX, changed_columns, no_portal, no_statement, too_many,
};
use crate::error::SqlError;
use crate::pgwire::datum::{self, Format};
use crate::pgwire::frame::{Bind, Target};
use crate::pgwire::reply::{COLUMNS_MAX, Replies, state};
use crate::sql::execute::{Copy, FeedRows, Response, Rows};
use crate::value::{Datum, SqlType};

/// Replies of more bytes are sent before more rows are encoded.
pub(super) const CHUNK_BYTES: usize = 64 << 10;

/// A statement with values for its parameters.
#[derive(Debug)]
pub(super) struct Portal<P> {
    pub(super) statement: Arc<Described<P>>,
    /// Taken by the one execution.
    pub(super) parameters: Vec<Datum>,
    formats: Vec<Format>,
    bytes: usize,
    /// The result, once it was executed.
    pub(super) run: Option<Run>,
}

/// The portals of a session, by name. As a rule there is one, which comes and goes with each statement: in a list that
/// costs nothing.
#[derive(Debug)]
pub(super) struct Portals<P>(Vec<(String, Portal<P>)>);

impl<P> Default for Portals<P> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<P> Portals<P> {
    fn position(&self, name: &str) -> Option<usize> {
        self.0.iter().position(|(known, _)| known == name)
    }

    fn get(&self, name: &str) -> Option<&Portal<P>> {
        self.position(name).map(|at| &self.0[at].1)
    }

    pub(super) fn contains_key(&self, name: &str) -> bool {
        self.position(name).is_some()
    }

    /// Adds one of a name that none has.
    pub(super) fn insert(&mut self, name: String, portal: Portal<P>) {
        self.0.push((name, portal));
    }

    pub(super) fn remove(&mut self, name: &str) -> Option<Portal<P>> {
        self.position(name).map(|at| self.0.swap_remove(at).1)
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many there are, and the bytes that they hold.
    fn held(&self) -> (usize, usize) {
        (self.0.len(), self.0.iter().map(|(_, portal)| portal.bytes).sum())
    }
}

/// How far a portal is.
pub(super) enum Progress {
    Fresh,
    Running,
    Done,
}

/// A result that is being sent.
#[derive(Debug, Default)]
pub(super) struct Run {
    rows: std::vec::IntoIter<Vec<Datum>>,
    types: Vec<SqlType>,
    formats: Vec<Format>,
    tag: String,
    /// Rows sent since the last Execute.
    sent: usize,
    suspended: bool,
    /// Where more rows come from when these are sent.
    feed: Option<FeedRows>,
    /// The rows' memory.
    _held: Share,
}

/// How sending rows went.
pub(super) enum Sent {
    /// Enough is encoded to be sent first.
    Part,
    /// The limit of this Execute is reached, and there are more rows.
    Limit,
    /// There are no more rows here, and the client has all: more are to be waited for.
    Wait(FeedRows),
    /// There are no more rows; the tag.
    All(String),
}

impl<P> Portal<P> {
    pub(super) fn progress(&self) -> Progress {
        match &self.run {
            None => Progress::Fresh,
            Some(run) if run.suspended => Progress::Running,
            Some(_) => Progress::Done,
        }
    }

    /// Takes the result. It must have the columns that the client was told.
    pub(super) fn start(&mut self, response: Response) -> Result<(), SqlError> {
        if response.rows.as_ref().map(|rows| &rows.columns) != self.statement.columns.as_ref() {
            return Err(changed_columns());
        }
        self.run = Some(Run::new(response, self.formats.clone()));
        Ok(())
    }

    /// Takes and sends a result of one row of truth values.
    pub(super) fn answer(&mut self, answers: &[Option<bool>], replies: &mut Replies) {
        replies.truths(answers, &self.formats);
        replies.complete("SELECT 1");
        self.run = Some(Run::default());
    }
}

impl Run {
    pub(super) fn new(response: Response, formats: Vec<Format>) -> Self {
        let Rows { columns, rows, held } = response.rows.unwrap_or_default();
        Self {
            rows: rows.into_iter(),
            types: columns.iter().map(|column| column.sql_type).collect(),
            formats,
            tag: response.tag,
            sent: 0,
            suspended: false,
            feed: match response.copy {
                Some(Copy::Feed(feed)) => Some(feed),
                Some(Copy::In(..) | Copy::Out(_)) | None => None,
            },
            _held: held,
        }
    }

    pub(super) fn send(&mut self, rows_max: usize, replies: &mut Replies) -> Result<Sent, SqlError> {
        if self.types.len() > COLUMNS_MAX {
            return Err(too_many("columns", "Select fewer columns."));
        }
        loop {
            if self.sent >= rows_max && self.rows.len() > 0 {
                self.sent = 0;
                self.suspended = true;
                return Ok(Sent::Limit);
            }
            if replies.bytes.len() >= CHUNK_BYTES {
                return Ok(Sent::Part);
            }
            let Some(row) = self.rows.next() else { break };
            replies.row(self.encode(&row)?, row.len());
            self.sent += 1;
        }
        if self.feed.is_some() && !replies.bytes.is_empty() {
            return Ok(Sent::Part);
        }
        if let Some(feed) = self.feed.take() {
            return Ok(Sent::Wait(feed));
        }
        // The tag of the last part counts what that part returned, as in PostgreSQL.
        let counts_rows = self.suspended && self.tag.starts_with("SELECT ");
        let tag = if counts_rows { format!("SELECT {}", self.sent) } else { self.tag.clone() };
        self.suspended = false;
        Ok(Sent::All(tag))
    }

    /// More rows came.
    pub(super) fn goes_on(&mut self, rows: Vec<Vec<Datum>>, feed: FeedRows) {
        self.rows = rows.into_iter();
        self.feed = Some(feed);
    }

    fn encode(&self, row: &[Datum]) -> Result<BytesMut, SqlError> {
        if row.len() != self.types.len() {
            return Err(SqlError::new(state::INTERNAL, "a row has another number of values than columns"));
        }
        let mut values = BytesMut::new();
        for (index, (datum, sql_type)) in row.iter().zip(&self.types).enumerate() {
            datum::encode(datum, *sql_type, Format::of(&self.formats, index), &mut values)?;
        }
        Ok(values)
    }
}

impl<P> Machine<P> {
    pub(super) fn bind(&mut self, bind: Bind) -> Result<(), SqlError> {
        let prepared = self.statements.get(&bind.statement).ok_or_else(|| no_statement(&bind.statement))?;
        let statement = Arc::clone(&prepared.statement);
        if bind.portal.is_empty() {
            self.portals.remove("");
        } else if self.portals.contains_key(&bind.portal) {
            let message = format!("cursor \"{}\" already exists", bind.portal);
            return Err(SqlError::new(state::DUPLICATE_CURSOR, message));
        }
        let (count, held) = self.portals.held();
        let bytes = bind.parameters.iter().flatten().map(bytes::Bytes::len).sum();
        if count >= PORTALS_MAX || held + bytes > SESSION_BYTES_MAX {
            return Err(too_many("portals", "Send Sync, or close the ones that are not used any more."));
        }
        check_counts(&bind, &statement)?;
        let decode = |(index, (value, sql_type)): (usize, (&Option<_>, &SqlType))| {
            let format = Format::of(&bind.parameter_formats, index);
            datum::parameter(value.as_ref(), *sql_type, format, index)
        };
        let values = bind.parameters.iter().zip(&statement.parameters).enumerate();
        let parameters = values.map(decode).collect::<Result<_, _>>()?;
        let portal = Portal { statement, parameters, formats: bind.result_formats, bytes, run: None };
        self.portals.insert(bind.portal, portal);
        self.replies.bind_complete();
        Ok(())
    }

    pub(super) fn describe(&mut self, target: &Target) -> Result<(), SqlError> {
        match target {
            Target::Statement(name) => {
                let prepared = self.statements.get(name).ok_or_else(|| no_statement(name))?;
                self.replies.parameters(&prepared.statement.parameters);
                self.replies.description(prepared.statement.columns.as_deref(), &[]);
            }
            Target::Portal(name) => {
                let portal = self.portals.get(name).ok_or_else(|| no_portal(name))?;
                self.replies.description(portal.statement.columns.as_deref(), &portal.formats);
            }
        }
        Ok(())
    }
}

fn check_counts<P>(bind: &Bind, statement: &Described<P>) -> Result<(), SqlError> {
    let violation = |message| Err(SqlError::new(state::PROTOCOL_VIOLATION, message));
    let (given, needed) = (bind.parameters.len(), statement.parameters.len());
    if given != needed {
        let name = &bind.statement;
        return violation(format!(
            "bind message supplies {given} parameters, but prepared statement \"{name}\" requires {needed}"
        ));
    }
    let formats = bind.parameter_formats.len();
    if formats > 1 && formats != given {
        return violation(format!("bind message has {formats} parameter formats but {given} parameters"));
    }
    let (formats, columns) = (bind.result_formats.len(), statement.columns.as_ref().map_or(0, Vec::len));
    if formats > 1 && formats != columns {
        return violation(format!(
            "bind message has {formats} result formats but query has {columns} columns"
        ));
    }
    Ok(())
}
