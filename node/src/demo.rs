//! `grantd demo`: three real nodes in one process, a sample database, and a shell or a tour.
//!
//! Nothing is simulated: each node has its own directory, certificates and ports, and talks to the others by QUIC
//! with mutual TLS. What the tour says is verified at each step; the first step that does not hold ends it.

use std::future::Future;
use std::path::PathBuf;

use tokio::signal::unix::{SignalKind, signal};

use crate::failure::Failure;
use crate::shell::Shell;
use crate::shell::connection::Connection;
use crate::shell::output::Format;

pub mod cluster;
mod sample;
mod tour;

use cluster::Cluster;

/// What the demo does once its nodes run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// A SQL shell on node 1.
    Shell,
    /// The tour.
    Tour,
}

/// What was asked for.
#[derive(Clone, Debug)]
pub struct Options {
    /// What it does.
    pub ending: Ending,
    /// Where the nodes' directories stay; none: they are removed at the end.
    pub keep: Option<PathBuf>,
}

/// The user that the sample database has a password for. The password is public: this is a demo on loopback.
pub const SAMPLE_USER: &str = "mia";
/// Its password.
pub const SAMPLE_PASSWORD: &str = "demo-only";
/// The sample database.
pub const SAMPLE_DATABASE: &str = "shop";

/// Runs the demo to its end and removes what it made, unless that is to be kept.
///
/// Errors: a node that does not start, a step of the tour that does not hold.
pub async fn run(options: Options) -> Result<(), Failure> {
    println!("grantd demo: three nodes in one process, QUIC and TLS over loopback\n");
    let mut cluster = unless_told(Cluster::start(options.keep.as_deref()), Interrupt::Ends).await?;
    print!("{}", cluster.describe());
    let interrupt = match options.ending {
        Ending::Tour => Interrupt::Ends,
        Ending::Shell => Interrupt::IsTheShells,
    };
    let result = unless_told(go_on(&mut cluster, options.ending), interrupt).await;
    cluster.stop().await;
    if let (Some(directory), Ok(())) = (&options.keep, &result) {
        println!("\nThe nodes' directories are in {}.", directory.display());
    }
    result
}

/// What Ctrl-C means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Interrupt {
    /// The end of the demo.
    Ends,
    /// The shell cancels a statement by it.
    IsTheShells,
}

/// `work`, unless a signal ends it: then what the demo made is still removed.
async fn unless_told<T>(
    work: impl Future<Output = Result<T, Failure>>,
    interrupt: Interrupt,
) -> Result<T, Failure> {
    let listen = |kind| signal(kind).map_err(|error| Failure::new("cannot wait for signals").because(&error));
    let mut terminated = listen(SignalKind::terminate())?;
    let mut interrupted = listen(SignalKind::interrupt())?;
    tokio::select! {
        result = Box::pin(work) => result,
        _ = terminated.recv() => Err(Failure::new("the demo was told to stop")),
        _ = interrupted.recv(), if interrupt == Interrupt::Ends => Err(Failure::new("the demo was interrupted")),
    }
}

async fn go_on(cluster: &mut Cluster, ending: Ending) -> Result<(), Failure> {
    match ending {
        Ending::Tour => tour::run(cluster).await,
        Ending::Shell => {
            sample::load(cluster).await?;
            print!("{}", cluster.psql_commands());
            let connection = Connection::open(cluster.target(1, "root")).await?;
            Shell::new(connection, Format::Table).run(&[]).await
        }
    }
}
