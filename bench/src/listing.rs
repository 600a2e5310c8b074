//! What privileges cost in bulk: GRANT on all tables of a schema, and the listings, on a catalog with many tables and
//! roles; and whether the cost of a row stays the same as the rows grow.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use grantd_node::demo::cluster::{Cluster, NODES};
use grantd_node::pgclient::{self, Login};
use plotters::prelude::{
    ChartBuilder, Circle, Color, IntoDrawingArea, IntoLogRange, LineSeries, RED, SVGBackend, WHITE,
};
use tokio::task::JoinSet;
use tokio_postgres::{Client, SimpleQueryMessage};

use crate::figure::{Figure, Goal};
use crate::report::{Latencies, Line, Measured, Report};

type Failed = Box<dyn std::error::Error>;

/// Tables of the schema that the goal of a GRANT on all of them is for.
pub const TABLES: usize = 10_000;
/// Connections that make the catalog.
const MAKERS: usize = 32;
/// How often each listing is asked for.
const ROUNDS: usize = 5;
/// Roles that each table of a plotted schema is granted to.
const GRANTEES: usize = 10;
/// Tables of the plotted schemas: times [`GRANTEES`] they are 1,000 to 100,000 grants.
const PLOTTED: [usize; 5] = [100, 300, 1_000, 3_000, 10_000];
/// What a listing may take, and what a GRANT on all tables may, on the catalog of the report.
const LISTING_GOAL: Duration = Duration::from_millis(500);
const GRANT_GOAL: Duration = Duration::from_millis(100);

/// One point of the plot.
struct Point {
    grants: usize,
    rows: usize,
    median: Duration,
}

/// Makes `tables` tables and `roles` roles and reports; `plot` names an SVG file to write.
pub async fn run(
    tables: usize,
    roles: usize,
    plot: Option<&Path>,
    report: &mut Report,
) -> Result<(), Failed> {
    let mut cluster = Cluster::start(None).await.map_err(|failure| failure.to_string())?;
    let leader = cluster.leader().ok_or("nobody leads")?;
    let follower = (1..=NODES).find(|id| *id != leader).ok_or("one node only")?;
    let login = cluster.target(leader, "root").login();
    let client = pgclient::connect(&login).await?;
    report.heading(&format!(
        "{tables} tables in one schema, {roles} roles, three nodes of one process, over TLS"
    ));
    let begun = Instant::now();
    make(&login, (0..roles).map(|role| format!("CREATE ROLE r{role}")).collect()).await?;
    client.batch_execute("CREATE SCHEMA big").await?;
    make(&login, (0..tables).map(|at| format!("CREATE TABLE big.t{at} (k INT8 PRIMARY KEY)")).collect())
        .await?;
    report.line(&format!(
        "made in                                        {:>8.1} s",
        begun.elapsed().as_secs_f64()
    ));

    let (mut grants, mut each, mut entries) = (Latencies::default(), Vec::new(), 0);
    for round in 0..ROUNDS {
        let before = cluster.last_log(leader);
        let begun = Instant::now();
        client.batch_execute(&format!("GRANT SELECT ON ALL TABLES IN SCHEMA big TO r{round}")).await?;
        grants.record(begun.elapsed());
        each.push(begun.elapsed().as_secs_f64() * 1_000.0);
        entries = entries.max(cluster.last_log(leader) - before);
    }
    tell(tables, &each, entries, report);
    let goal = GRANT_GOAL.as_millis();
    report.line(&format!(
        "GRANT SELECT ON ALL TABLES IN SCHEMA big       {}   goal {goal} ms",
        milliseconds(&grants)
    ));
    report.line(&format!("log entries of one such statement            {entries:>8}"));

    let goal = LISTING_GOAL.as_millis();
    for (node, name) in [(leader, "leader"), (follower, "follower")] {
        let client = pgclient::connect(&cluster.target(node, "root").login()).await?;
        for text in [
            "SHOW GRANTS ON TABLE big.*",
            "SHOW GRANTS FOR r0",
            "SELECT * FROM information_schema.table_privileges",
            "SELECT * FROM information_schema.table_privileges WHERE table_name = 't7'",
        ] {
            let (latencies, rows) = listing(&client, text).await?;
            report.line(&format!(
                "{name:<9}{text:<78}{}   {rows} rows   goal {goal} ms",
                milliseconds(&latencies)
            ));
        }
    }
    match psql_dp(&login) {
        Ok((shown, lines)) => report.line(&format!(
            "psql \\dp big.*, start and login of psql included                                        {:>8.1} ms   \
             {lines} lines   goal {goal} ms",
            shown.as_secs_f64() * 1_000.0
        )),
        Err(error) => report.line(&format!("psql \\dp: not measured, {error}")),
    }
    if let Some(path) = plot {
        rows_cost(&client, &login, path, report).await?;
    }
    drop(client);
    cluster.stop().await;
    Ok(())
}

/// The cost of a row as the rows grow, plotted.
async fn rows_cost(client: &Client, login: &Login, path: &Path, report: &mut Report) -> Result<(), Failed> {
    let points = points(client, login).await?;
    report.line("the cost of a row of SHOW GRANTS");
    for point in &points {
        report.line(&format!(
            "{:>7} grants   {:>7} rows   median {:>8.1} ms   {:>6.2} µs a row",
            point.grants,
            point.rows,
            point.median.as_secs_f64() * 1_000.0,
            per_row(point)
        ));
    }
    draw(path, &points)?;
    report.line(&format!("plotted in {}", path.display()));
    Ok(())
}

/// The goal, for a schema as large as it is meant for.
fn tell(tables: usize, milliseconds: &[f64], entries: u64, report: &mut Report) {
    let what = format!("GRANT ON ALL TABLES of {tables}");
    if tables < TABLES {
        return report.missing(format!("GRANT ON ALL TABLES of {TABLES}: this run has {tables}"));
    }
    let Some(figure) = Figure::of(milliseconds) else { return };
    let goal = Goal::AtMost(GRANT_GOAL.as_secs_f64() * 1_000.0);
    let beside = if entries == 1 { "1 entry".to_owned() } else { format!("{entries} entries") };
    report.measured(Measured { line: Line::Grant, what, goal, unit: "ms", figure, beside });
}

/// Runs statements that do not depend on each other, over several connections.
pub async fn make(login: &Login, statements: Vec<String>) -> Result<(), Failed> {
    let mut tasks = JoinSet::new();
    let share = statements.len().div_ceil(MAKERS).max(1);
    for part in statements.chunks(share) {
        let (client, part) = (pgclient::connect(login).await?, part.to_vec());
        tasks.spawn(async move {
            for statement in part {
                client.batch_execute(&statement).await?;
            }
            Ok::<(), tokio_postgres::Error>(())
        });
    }
    while let Some(done) = tasks.join_next().await {
        done??;
    }
    Ok(())
}

/// How long a listing takes to its last row, and how many rows it has.
async fn listing(client: &Client, text: &str) -> Result<(Latencies, usize), Failed> {
    let (mut latencies, mut rows) = (Latencies::default(), 0);
    for _ in 0..ROUNDS {
        let begun = Instant::now();
        let messages = client.simple_query(text).await.map_err(|error| format!("{text}: {error}"))?;
        latencies.record(begun.elapsed());
        rows = messages.iter().filter(|message| matches!(message, SimpleQueryMessage::Row(_))).count();
    }
    Ok((latencies, rows))
}

/// How long Debian's psql takes for `\dp`, and how many lines it prints.
fn psql_dp(login: &Login) -> Result<(Duration, usize), Failed> {
    let (certificate, key) = login.certificate.as_ref().ok_or("root has no certificate")?;
    let begun = Instant::now();
    let output = Command::new("psql")
        .args(["--no-psqlrc", "--no-align", "--tuples-only", "--command", "\\dp big.*"])
        .arg(format!(
            "host=localhost port={} user=root dbname=defaultdb sslmode=verify-full sslrootcert={} sslcert={} sslkey={}",
            login.port,
            login.ca.display(),
            certificate.display(),
            key.display()
        ))
        .output()?;
    let took = begun.elapsed();
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned().into());
    }
    Ok((took, output.stdout.split(|byte| *byte == b'\n').count()))
}

/// Schemas of growing size, each table granted to the same number of roles, listed.
async fn points(client: &Client, login: &Login) -> Result<Vec<Point>, Failed> {
    let mut points = Vec::new();
    for tables in PLOTTED {
        let schema = format!("p{tables}");
        client.batch_execute(&format!("CREATE SCHEMA {schema}")).await?;
        let table = |at| format!("CREATE TABLE {schema}.t{at} (k INT8 PRIMARY KEY)");
        make(login, (0..tables).map(table).collect()).await?;
        let grantees: Vec<_> = (0..GRANTEES).map(|role| format!("r{role}")).collect();
        client
            .batch_execute(&format!(
                "GRANT SELECT ON ALL TABLES IN SCHEMA {schema} TO {}",
                grantees.join(", ")
            ))
            .await?;
        let (latencies, rows) = listing(client, &format!("SHOW GRANTS ON TABLE {schema}.*")).await?;
        let median = Duration::from_secs_f64(latencies.at(0.5) / 1_000_000.0);
        points.push(Point { grants: tables * GRANTEES, rows, median });
    }
    Ok(points)
}

/// Microseconds.
#[allow(clippy::cast_precision_loss, reason = "rows are below 2^53")]
fn per_row(point: &Point) -> f64 {
    point.median.as_secs_f64() * 1_000_000.0 / point.rows.max(1) as f64
}

#[allow(clippy::cast_precision_loss, reason = "rows are below 2^53")]
fn draw(path: &Path, points: &[Point]) -> Result<(), Failed> {
    let root = SVGBackend::new(path, (720, 420)).into_drawing_area();
    root.fill(&WHITE)?;
    let top = points.iter().map(per_row).fold(0.0, f64::max) * 1.3;
    let mut chart = ChartBuilder::on(&root)
        .caption("SHOW GRANTS: cost of a row", ("sans-serif", 18))
        .margin(12)
        .x_label_area_size(40)
        .y_label_area_size(50)
        .build_cartesian_2d((500.0..200_000.0).log_scale(), 0.0..top)?;
    chart.configure_mesh().x_desc("grants listed").y_desc("µs a row").draw()?;
    let line: Vec<_> = points.iter().map(|point| (point.grants as f64, per_row(point))).collect();
    chart.draw_series(LineSeries::new(line.iter().copied(), RED.stroke_width(2)))?;
    chart.draw_series(line.into_iter().map(|at| Circle::new(at, 4, RED.filled())))?;
    root.present()?;
    Ok(())
}

fn milliseconds(latencies: &Latencies) -> String {
    format!(
        "median {:>8.1} ms   longest {:>8.1} ms",
        latencies.at(0.5) / 1_000.0,
        latencies.at(1.0) / 1_000.0
    )
}
