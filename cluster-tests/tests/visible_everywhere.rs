//! What one node acknowledged, every node shows at once: Debian's `psql` over verified TLS on one node, GRANT and REVOKE on
//! another.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use grantd_cluster_tests::process::{Cluster, Node};

const ROUNDS: usize = 1_000;
/// Set by `.ci/run`: a machine without `psql` then fails instead of testing with the Rust driver alone.
const REQUIRE: &str = "GRANTD_REQUIRE_PSQL";

/// A `psql` that stays open: statements in, unaligned rows out.
struct Psql {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Psql {
    fn connect(cluster: &Cluster, node: &Node) -> Self {
        let ca = cluster.ca();
        let file = |name: &str| ca.join(name).display().to_string();
        let mut child = Command::new("psql")
            .args(["--no-psqlrc", "--quiet", "--tuples-only", "--no-align"])
            .arg(format!(
                "host=localhost port={} user=root dbname=defaultdb sslmode=verify-full sslrootcert={} sslcert={} \
                 sslkey={}",
                node.sql_port,
                file("ca.crt"),
                file("client.root.crt"),
                file("client.root.key"),
            ))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("psql starts");
        let input = child.stdin.take().expect("piped");
        let output = BufReader::new(child.stdout.take().expect("piped"));
        Self { child, input, output }
    }

    /// Runs statements and gives what they print, up to the marker that follows them: they have returned.
    fn run(&mut self, sql: &str) -> String {
        writeln!(self.input, "{sql};\n\\echo --done--").expect("psql reads");
        self.input.flush().expect("psql reads");
        let mut printed = String::new();
        loop {
            let mut line = String::new();
            assert!(
                self.output.read_line(&mut line).expect("psql prints") > 0,
                "psql ended after: {printed}"
            );
            if line.trim() == "--done--" {
                return printed.trim().to_owned();
            }
            printed.push_str(&line);
        }
    }
}

impl Drop for Psql {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn psql_is_here() -> bool {
    let found = std::env::var_os("PATH")
        .is_some_and(|path| std::env::split_paths(&path).any(|directory| is_file(&directory.join("psql"))));
    assert!(found || std::env::var_os(REQUIRE).is_none(), "{REQUIRE} is set and there is no psql in PATH");
    found
}

fn is_file(path: &Path) -> bool {
    path.is_file()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_grant_is_seen_by_the_next_statement_on_another_node() {
    let cluster = Cluster::start(3).await;
    let root = cluster.root(&cluster.nodes[0]).await.expect("root logs in");
    root.batch_execute("CREATE TABLE item (id INT8 PRIMARY KEY); CREATE USER amy")
        .await
        .expect("a table and a user");
    if psql_is_here() {
        let (mut first, mut third) =
            (Psql::connect(&cluster, &cluster.nodes[0]), Psql::connect(&cluster, &cluster.nodes[2]));
        grants_are_seen(|sql| first.run(sql), |sql| third.run(sql));
        return;
    }
    eprintln!("no psql in PATH: the Rust driver alone is tested");
    let third = cluster.root(&cluster.nodes[2]).await.expect("root logs in");
    let seen = "SELECT has_table_privilege('amy', 'item', 'SELECT')";
    for round in 0..ROUNDS {
        let grant = round % 2 == 0;
        root.batch_execute(statement(grant)).await.expect("acknowledged");
        assert_eq!(
            third.query_one(seen, &[]).await.expect("an answer").get::<_, bool>(0),
            grant,
            "round {round}"
        );
    }
}

fn statement(grant: bool) -> &'static str {
    if grant { "GRANT SELECT ON TABLE item TO amy" } else { "REVOKE SELECT ON TABLE item FROM amy" }
}

fn grants_are_seen(mut first: impl FnMut(&str) -> String, mut third: impl FnMut(&str) -> String) {
    let mut seen = 0;
    for round in 0..ROUNDS {
        let grant = round % 2 == 0;
        first(statement(grant));
        let answer = third("SELECT has_table_privilege('amy', 'item', 'SELECT')");
        seen += usize::from(answer == if grant { "t" } else { "f" });
    }
    println!("psql on node 3 saw {seen} of {ROUNDS} changes made by psql on node 1 as soon as they returned");
    assert_eq!(seen, ROUNDS);
}
