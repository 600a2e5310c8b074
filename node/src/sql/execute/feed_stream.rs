//! CREATE CHANGEFEED without INTO: its messages are rows of the statement, which ends when its client does or is cancelled, or when
//! all that was asked for came. Source: cloud-jobs spec, D.1.
//!
//! It is no job and holds no history: who reads more slowly than history is collected is told so (72000).

use std::sync::Arc;

use grantd_catalog::command::ObjectName;
use grantd_catalog::id::ObjectId;
use grantd_catalog::require::{FeedTo, Need, Requirement};
use grantd_catalog::view::View;
use grantd_raft::rows::Share;

use super::feed_statement::{check_shapes, check_times, targets};
use super::{Copy, Engine, Response, Rows, unless_cancelled};
use crate::activity::Running;
use crate::error::SqlError;
use crate::feed::client::{Sent, Stream};
use crate::feed::details::Written;
use crate::feed::options::Options;
use crate::feed::plan::Feed;
use crate::feed::source::Source;
use crate::feed::topic;
use crate::session::Session;
use crate::sql::parse::feed::FeedStatement;
use crate::sql::parse::job::JobStatement;
use crate::sql::system::job;
use crate::value::Datum;

/// Rows that a changefeed goes on to return.
#[derive(Debug)]
pub struct FeedRows {
    stream: Stream,
    /// It is listed as running, and can be cancelled.
    _running: Option<Running>,
}

impl FeedRows {
    /// The next, once there are some. None: all that was asked for came. Cancel-safe.
    pub async fn next(&mut self) -> Result<Option<Vec<Vec<Datum>>>, SqlError> {
        let Some(batch) = self.stream.next().await? else { return Ok(None) };
        let bytes = |bytes: Option<Vec<u8>>| bytes.map_or(Datum::Null, Datum::Bytes);
        let row = |sent: Sent| {
            let table = sent.table.map_or(Datum::Null, |table| Datum::Text(table.to_string()));
            vec![table, bytes(sent.key), bytes(sent.value)]
        };
        Ok(Some(batch.into_iter().map(row).collect()))
    }
}

impl Engine {
    pub(super) async fn stream_feed(
        &self,
        session: &Session,
        statement: &FeedStatement,
        (tables, written): (&[ObjectName], &Written),
        running: Option<Running>,
    ) -> Result<Response, SqlError> {
        let (view, now) = unless_cancelled(session, self.gate.moment()).await?;
        let targets = targets(&view, session, tables)?;
        let ids: Vec<ObjectId> = targets.iter().map(|target| target.table).collect();
        let mut requirement = Requirement::default();
        requirement.need(Need::Changefeed { tables: ids.clone(), to: FeedTo::Client });
        self.gate.permit(&view, session.actor, &requirement)?;
        check_shapes(&view, &targets)?;
        let options = Options::parse(&written.0, now)?.for_client()?;
        check_times(&options, now)?;
        let names = topic::tables(&targets, options.message.full_table_name);
        let feed = Feed::new(targets, options, now);
        let actor = session.actor;
        let may = Arc::new(move |_: &View| Ok((actor, requirement.clone())));
        let source = Source::new(self.gate.clone(), may, ids);
        // That they were there then, and that what happened since is kept.
        unless_cancelled(session, source.tables(feed.start)).await?;
        let feed = FeedRows { stream: Stream::start(feed, names, source), _running: running };
        let columns = job::columns(&JobStatement::Feed(statement.clone())).unwrap_or_default();
        let rows = Some(Rows { columns, rows: Vec::new(), held: Share::default() });
        Ok(Response { tag: statement.tag().to_owned(), rows, copy: Some(Copy::Feed(feed)) })
    }
}
