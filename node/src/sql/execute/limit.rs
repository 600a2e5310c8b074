//! When a statement is stopped by itself: `statement_timeout` and `transaction_timeout`.

use std::future::Future;
use std::time::{Duration, Instant};

use crate::activity::{Cancelled, Stop};
use crate::error::{SqlError, state};
use crate::session::Session;
use crate::sql::system::context::now_micros;
use crate::sql::system::variable;

/// When a statement is stopped: by the session's own flag, to which all listens that can be cancelled.
#[derive(Clone, Copy, Debug)]
pub(super) struct TimeLimit(Option<(Instant, Stop)>);

impl TimeLimit {
    /// That of a statement of `session` that begins now.
    pub(super) fn of(session: &Session) -> Self {
        let now = Instant::now();
        let statement = variable::statement_timeout(session).and_then(|limit| now.checked_add(limit));
        let transaction = session.block.open().and_then(|open| {
            let lasts = u64::try_from(now_micros().saturating_sub(open.began_micros)).unwrap_or(0);
            let left = variable::transaction_timeout(session)?.saturating_sub(Duration::from_micros(lasts));
            now.checked_add(left)
        });
        let limits = [
            statement.map(|at| (at, Stop::StatementTimeout)),
            transaction.map(|at| (at, Stop::TransactionTimeout)),
        ];
        Self(limits.into_iter().flatten().min_by_key(|(at, _)| *at))
    }

    /// Runs a part of the statement, and says why if it was stopped.
    pub(super) async fn hold<T>(
        self,
        cancelled: &Cancelled,
        mut part: impl Future<Output = Result<T, SqlError>> + Unpin,
    ) -> Result<T, SqlError> {
        let Some((deadline, stop)) = self.0 else { return part.await };
        let passes = async {
            // A timer is late by up to a millisecond, in which much may happen.
            if Instant::now() < deadline {
                tokio::time::sleep_until(deadline.into()).await;
            }
        };
        let result = tokio::select! {
            biased;
            () = passes => {
                cancelled.raise_for(stop);
                part.await
            }
            result = &mut part => result,
        };
        let stopped = cancelled.is_raised_for(stop);
        cancelled.clear_of(stop);
        match result {
            Err(error) if stopped && error.body.code == state::QUERY_CANCELED => Err(SqlError::stopped(stop)),
            result => result,
        }
    }
}
