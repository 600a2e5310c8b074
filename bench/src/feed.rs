//! Changefeeds on three processes: how long a row takes from its commit to the sink, and what a message costs the nodes; into files
//! of a directory and into a webhook on loopback, one feed and ten at once, while 1,000 rows a second are written.
//!
//! A message has the time of its commit in it. A file is there when it was last written, a request of a webhook when all of its body
//! is: both by the clock that the leader has, as all of it is one machine. Files are flushed every `CHECKPOINT`, and a row waits
//! half of that on the way, on average; a webhook gets rows as they come.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use grantd_node::pgclient::{self, Login};
use grantd_node::{cert, tls};
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, sleep};
use tokio_postgres::{Client, SimpleQueryMessage};
use tokio_rustls::TlsAcceptor;

use crate::cost::process_time;
use crate::nodes::Nodes;
use crate::report::{Latencies, Report};

type Failed = Box<dyn std::error::Error>;

/// Clients that write, rows of each statement, and the time between two statements of a client: together 1,000 rows a second.
const WRITERS: i64 = 5;
const ROWS_EACH: i64 = 10;
const EVERY: Duration = Duration::from_millis(50);
/// Keys of each writer: rows are changed again and again.
const KEYS_EACH: i64 = 10_000;
/// How often feeds flush and keep.
const CHECKPOINT: &str = "100ms";
/// How long what was written may be on its way after the load.
const LATE_MAX: Duration = Duration::from_secs(60);
const LOOK_AGAIN: Duration = Duration::from_millis(200);
const VALUE: &str = "forty bytes of text, no more and no less";

/// What came to a webhook, and when.
type Came = Arc<Mutex<Vec<(SystemTime, Bytes)>>>;

/// Where feeds go.
enum Sink {
    Files,
    Webhook,
}

/// Runs each load for `seconds` and reports.
pub async fn run(seconds: u64, report: &mut Report) -> Result<(), Failed> {
    let nodes = Nodes::start().await?;
    let login = nodes.follower().await?;
    let client = pgclient::connect(&login).await?;
    client.batch_execute("CREATE TABLE bench_feed (k INT8 PRIMARY KEY, v TEXT NOT NULL)").await?;
    report.heading(&format!(
        "Changefeeds on three processes, {} rows/s written by {WRITERS} clients in statements of {ROWS_EACH}, {seconds} s each",
        rows_a_second()
    ));
    let length = Duration::from_secs(seconds);
    // The table has its rows before anything is compared.
    load(&login, length.min(Duration::from_secs(5))).await?;
    let before = process_times(&nodes)?;
    let written = load(&login, length).await?;
    let quiet = process_times(&nodes)?.saturating_sub(before);
    report.line(&format!(
        "no feed                 {:.0} rows/s written, {} of processor a row (all three nodes)",
        rate(written, length),
        each(quiet, written),
    ));
    for (sink, count) in [(Sink::Files, 1), (Sink::Webhook, 1), (Sink::Files, 10)] {
        let measured = measure(&nodes, &client, &login, &sink, count, length).await?;
        let name = match sink {
            Sink::Files => "files",
            Sink::Webhook => "webhook",
        };
        let more = measured.processor.saturating_sub(scaled(quiet, measured.written, written));
        report.line(&format!(
            "{count:>2} feed(s) into {name:<8} {}   {:.0} rows/s written, {} messages, {} of processor a message more than without",
            measured.latencies.line(),
            rate(measured.written, length),
            measured.latencies.count(),
            each(more, measured.latencies.count()),
        ));
    }
    Ok(())
}

struct Measured {
    latencies: Latencies,
    written: u64,
    processor: Duration,
}

async fn measure(
    nodes: &Nodes,
    client: &Client,
    login: &Login,
    sink: &Sink,
    count: usize,
    length: Duration,
) -> Result<Measured, Failed> {
    let directory = TempDir::new()?;
    let came = Came::default();
    let mut feeds = Vec::new();
    for number in 0..count {
        let folder = format!("bench-{count}-{number}");
        let uri = match sink {
            Sink::Files => format!("nodelocal://self/{folder}"),
            Sink::Webhook => webhook(directory.path(), Arc::clone(&came)).await?,
        };
        let statement = format!(
            "CREATE CHANGEFEED FOR bench_feed INTO '{uri}' WITH updated, no_initial_scan, min_checkpoint_frequency = '{CHECKPOINT}'"
        );
        feeds.push((cell(client, &statement, "job_id").await?, folder));
    }
    let mut folders = Vec::new();
    for (id, folder) in &feeds {
        folders.push(nodes.data(runs_on(client, id).await?).join("extern").join(folder));
    }
    let before = process_times(nodes)?;
    let written = load(login, length).await?;
    let wanted = written * count as u64;
    let mut waited = Duration::ZERO;
    let mut latencies = arrived(sink, &folders, &came)?;
    while latencies.count() < wanted {
        if waited >= LATE_MAX {
            let mut said = String::new();
            for (id, _) in &feeds {
                said += &cell(client, &format!("SHOW JOB {id}"), "running_status").await?;
            }
            return Err(format!("{} of {wanted} messages came: {said}", latencies.count()).into());
        }
        sleep(LOOK_AGAIN).await;
        waited += LOOK_AGAIN;
        latencies = arrived(sink, &folders, &came)?;
    }
    let processor = process_times(nodes)?.saturating_sub(before);
    for (id, _) in &feeds {
        client.batch_execute(&format!("CANCEL JOB {id}")).await?;
    }
    Ok(Measured { latencies, written, processor })
}

/// The node that runs a job, once one does.
async fn runs_on(client: &Client, id: &str) -> Result<u64, Failed> {
    let mut waited = Duration::ZERO;
    while waited < LATE_MAX {
        if let Ok(node) = cell(client, &format!("SHOW JOB {id}"), "coordinator_id").await?.parse() {
            return Ok(node);
        }
        sleep(LOOK_AGAIN).await;
        waited += LOOK_AGAIN;
    }
    Err(format!("nobody runs job {id}").into())
}

/// A column of the first row; empty where it is NULL.
async fn cell(client: &Client, statement: &str, column: &str) -> Result<String, Failed> {
    let rows = client.simple_query(statement).await?.into_iter().filter_map(|message| match message {
        SimpleQueryMessage::Row(row) => Some(row.get(column).unwrap_or_default().to_owned()),
        _ => None,
    });
    Ok(rows.into_iter().next().ok_or("no row")?)
}

/// Writes at the rate that is wanted, and not faster. How many rows.
async fn load(login: &Login, length: Duration) -> Result<u64, Failed> {
    let mut writers = JoinSet::new();
    let statements = u64::try_from(length.as_millis() / EVERY.as_millis())?;
    for number in 0..WRITERS {
        let client = pgclient::connect(login).await?;
        writers.spawn(async move {
            let mut tick = interval(EVERY);
            // Who is late catches up: the rate is what is asked for.
            tick.set_missed_tick_behavior(MissedTickBehavior::Burst);
            for turn in 0..i64::try_from(statements).unwrap_or(i64::MAX) {
                tick.tick().await;
                let first = turn * ROWS_EACH % KEYS_EACH;
                // A row that stays as it is is no change.
                let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
                let row = |key: i64| format!("({}, '{VALUE} {}')", number * KEYS_EACH + key, now.as_nanos());
                let rows: Vec<String> = (first..first + ROWS_EACH).map(row).collect();
                client.batch_execute(&format!("UPSERT INTO bench_feed VALUES {}", rows.join(", "))).await?;
            }
            Ok::<_, tokio_postgres::Error>(())
        });
    }
    while let Some(ended) = writers.join_next().await {
        ended??;
    }
    Ok(statements * u64::try_from(WRITERS * ROWS_EACH)?)
}

/// How long each message took that came so far.
fn arrived(sink: &Sink, folders: &[PathBuf], came: &Came) -> Result<Latencies, Failed> {
    let mut latencies = Latencies::default();
    match sink {
        Sink::Files => {
            for folder in folders {
                read_folder(folder, &mut latencies)?;
            }
        }
        Sink::Webhook => {
            for (at, body) in came.lock().unwrap_or_else(PoisonError::into_inner).iter() {
                let body: Value = serde_json::from_slice(body)?;
                for message in body["payload"].as_array().into_iter().flatten() {
                    latencies.record(since(message, *at)?);
                }
            }
        }
    }
    Ok(latencies)
}

/// A folder for each day, and files in it.
fn read_folder(folder: &Path, latencies: &mut Latencies) -> Result<(), Failed> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Ok(()) };
    for entry in entries {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            read_folder(&entry.path(), latencies)?;
        } else if entry.path().extension().is_some_and(|extension| extension == "ndjson") {
            let at = entry.metadata()?.modified()?;
            for line in std::fs::read_to_string(entry.path())?.lines() {
                latencies.record(since(&serde_json::from_str(line)?, at)?);
            }
        }
    }
    Ok(())
}

fn since(message: &Value, at: SystemTime) -> Result<Duration, Failed> {
    let updated = message["updated"].as_str().and_then(|text| text.split_once('.')).ok_or("no time")?;
    let committed = SystemTime::UNIX_EPOCH + Duration::from_nanos(updated.0.parse()?);
    // The leader's clock may be some microseconds before the file system's, which counts in ticks.
    Ok(at.duration_since(committed).unwrap_or_default())
}

/// A web server that takes what comes: its URI as a sink.
async fn webhook(directory: &Path, came: Came) -> Result<String, Failed> {
    let (ca, own) = (directory.join("ca"), directory.join("own"));
    let options = cert::Options { days: 2, overwrite: false };
    cert::create_ca(&ca, &options)?;
    cert::create_node(&ca, &own, 1, &["localhost".to_owned()], &options)?;
    let read = |name: &str| std::fs::read(own.join(name));
    let (config, _) = tls::server(&read(cert::CA_CERT)?, &read(cert::NODE_CERT)?, &read(cert::NODE_KEY)?)?;
    let acceptor = TlsAcceptor::from(config);
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    let port = listener.local_addr()?.port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (acceptor, came) = (acceptor.clone(), Arc::clone(&came));
            tokio::spawn(async move {
                let Ok(stream) = acceptor.accept(stream).await else { return };
                let answer = service_fn(move |request: Request<Incoming>| {
                    let came = Arc::clone(&came);
                    async move {
                        let body = request.into_body().collect().await?.to_bytes();
                        came.lock().unwrap_or_else(PoisonError::into_inner).push((SystemTime::now(), body));
                        Ok::<_, hyper::Error>(Response::new(Empty::<Bytes>::new()))
                    }
                });
                let connection = hyper::server::conn::http1::Builder::new();
                // A client that goes ends it.
                let _ = connection.serve_connection(TokioIo::new(stream), answer).await;
            });
        }
    });
    Ok(format!("webhook-https://localhost:{port}/?insecure_tls_skip_verify=true"))
}

fn process_times(nodes: &Nodes) -> Result<Duration, Failed> {
    let times = nodes.processes().map(process_time);
    Ok(times.sum::<std::io::Result<Duration>>()?)
}

fn rows_a_second() -> u128 {
    u128::from((WRITERS * ROWS_EACH).unsigned_abs()) * 1_000 / EVERY.as_millis()
}

#[allow(clippy::cast_precision_loss, reason = "counts of one run are far below 2^53")]
fn rate(count: u64, length: Duration) -> f64 {
    count as f64 / length.as_secs_f64()
}

#[allow(clippy::cast_precision_loss, reason = "counts of one run are far below 2^53")]
fn each(time: Duration, count: u64) -> String {
    format!("{:.0} µs", time.as_secs_f64() * 1e6 / count.max(1) as f64)
}

#[allow(clippy::cast_precision_loss, reason = "counts of one run are far below 2^53")]
fn scaled(time: Duration, count: u64, of: u64) -> Duration {
    time.mul_f64(count as f64 / of.max(1) as f64)
}
