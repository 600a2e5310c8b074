//! The cell that publishes a [`View`]: readers never wait and never see half a change.
//!
//! One writer, the machine, publishes after each batch that it applied. A reader that keeps what it loaded keeps one
//! version for as long as it likes; it grows stale with the next [`Live::publish`].

use std::sync::Arc;

use arc_swap::cache::Cache;
use arc_swap::{ArcSwap, Guard};

use crate::view::View;

/// The newest view of one node.
#[derive(Debug)]
pub struct Live {
    /// Shared with the readers, which need not be told where the rest is.
    cell: Arc<ArcSwap<View>>,
}

impl Live {
    /// A cell that holds `view`.
    pub fn new(view: View) -> Self {
        Self { cell: Arc::new(ArcSwap::from_pointee(view)) }
    }

    /// The newest view, for one decision. Cost: a few nanoseconds. Not to be kept: a thread has few such guards that are
    /// cheap.
    pub fn load(&self) -> Guard<Arc<View>> {
        self.cell.load()
    }

    /// The newest view, to be kept: for a statement, a batch, a session. Cost: a shared reference count.
    pub fn load_full(&self) -> Arc<View> {
        self.cell.load_full()
    }

    /// A way to the newest view for one thread that decides often.
    pub fn reader(&self) -> Reader {
        Reader { cache: Cache::new(Arc::clone(&self.cell)) }
    }

    /// Makes `view` the newest one. Whoever loads after this returned sees it.
    ///
    /// Panics if the version does not increase: answers must never go back in time, so a node that would publish an
    /// old view must not answer.
    pub fn publish(&self, view: Arc<View>) {
        let published = self.cell.load().version();
        assert!(
            published < view.version(),
            "view {} cannot replace view {published}: versions must increase",
            view.version()
        );
        self.cell.store(view);
    }
}

/// One thread's way to the newest view: it keeps the view that it saw last, so that looking again is one load and a
/// comparison, and threads write nothing that they share. It keeps that view's memory until it looks again.
#[derive(Clone, Debug)]
pub struct Reader {
    cache: Cache<Arc<ArcSwap<View>>, Arc<View>>,
}

impl Reader {
    /// The newest view. Stale after the next [`Live::publish`]; ask again for the next decision. Cost: about a
    /// nanosecond, and a few when there is another view.
    #[inline]
    pub fn view(&mut self) -> &Arc<View> {
        self.cache.load()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::Version;
    use crate::state::State;

    #[test]
    fn what_was_loaded_stays_and_what_is_published_is_seen() {
        let live = Live::new(View::build(Version(1), State::bootstrap()));
        let (kept, mut reader) = (live.load_full(), live.reader());
        assert_eq!(reader.view().version(), Version(1));
        live.publish(Arc::new(kept.next(Version(2), kept.state().clone())));
        assert_eq!(reader.view().version(), Version(2));
        assert_eq!(kept.version(), Version(1));
        assert_eq!(live.load().version(), Version(2));
    }

    #[test]
    #[should_panic(expected = "versions must increase")]
    fn an_old_view_is_never_published() {
        let live = Live::new(View::build(Version(2), State::bootstrap()));
        live.publish(Arc::new(View::build(Version(2), State::bootstrap())));
    }
}
