//! A thread that computes for one backup: what it compresses and sums takes milliseconds to seconds, and whoever reads and writes
//! rows on this node meanwhile comes first.
//!
//! So it is no thread of the runtime, and has the lowest priority where the system has one for each thread. What is read for the
//! backup is read elsewhere: who holds a snapshot of the file is not made to wait for others with it.

use tokio::sync::{mpsc, oneshot};

use super::BackupError;

/// The thread, which ends when this is dropped and what was begun is done.
pub(super) struct Worker {
    tasks: mpsc::Sender<Task>,
}

type Task = Box<dyn FnOnce() + Send>;

/// Work that was begun. Dropped, it is done all the same, for nobody.
pub(super) struct Begun<T>(oneshot::Receiver<Result<T, BackupError>>);

/// Each awaits the one before, or has begun one ahead.
const TASKS_MAX: usize = 2;
/// The niceness of what has time.
#[cfg(target_os = "linux")]
const LOWEST: i32 = 19;

impl Worker {
    /// Begins the thread.
    pub(super) fn start() -> Result<Self, BackupError> {
        let (tasks, mut given) = mpsc::channel::<Task>(TASKS_MAX);
        let work = move || {
            give_way();
            while let Some(task) = given.blocking_recv() {
                task();
            }
        };
        let thread = std::thread::Builder::new().name("backup".to_owned()).spawn(work);
        thread.map(|_| Self { tasks }).map_err(|error| {
            BackupError::new(
                crate::error::state::INTERNAL,
                format!("this node has no thread for a backup: {error}"),
            )
        })
    }

    /// Gives it work, and goes on.
    pub(super) async fn begin<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, BackupError> + Send + 'static,
    ) -> Begun<T> {
        let (answer, answered) = oneshot::channel();
        let task = move || {
            // Nobody may be there any more.
            let _ = answer.send(work());
        };
        // Without a thread nobody answers, which is told to who asks for the answer.
        let _ = self.tasks.send(Box::new(task)).await;
        Begun(answered)
    }

    /// Gives it work, and waits for the end.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, BackupError> + Send + 'static,
    ) -> Result<T, BackupError> {
        self.begin(work).await.end().await
    }
}

impl<T> Begun<T> {
    /// Waits for the end.
    pub(super) async fn end(self) -> Result<T, BackupError> {
        self.0.await.map_err(|_| ended())?
    }
}

/// What computes a backup met a bug.
pub(super) fn ended() -> BackupError {
    BackupError::new(
        crate::error::state::INTERNAL,
        "writing a file of the backup met a bug in this node, or its end",
    )
}

/// Of this thread only: so it is with Linux.
#[cfg(target_os = "linux")]
fn give_way() {
    if let Err(error) = rustix::process::setpriority_process(None, LOWEST) {
        tracing::debug!(%error, "a backup has the priority of everybody else");
    }
}

#[cfg(not(target_os = "linux"))]
fn give_way() {}
