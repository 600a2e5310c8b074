//! Debug requests over HTTPS, with Debian's `curl` against a real process: who is refused and with what words, and what
//! is answered to who may.

use std::process::Command;
use std::time::Duration;

use grantd_cluster_tests::process::{Cluster, free_tcp_port};
use grantd_node::cert;

/// Set by `.ci/run`: a machine without `curl` then fails instead of passing over these tests.
const REQUIRE: &str = "GRANTD_REQUIRE_CURL";

struct Curl<'a> {
    cluster: &'a Cluster,
    port: u16,
}

struct Answer {
    status: u16,
    body: Vec<u8>,
}

impl Answer {
    fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("text").trim_end()
    }
}

impl Curl<'_> {
    async fn ask(&self, path: &str, arguments: &[&str]) -> Answer {
        let (url, ca) = (format!("https://localhost:{}{path}", self.port), self.cluster.ca());
        let arguments: Vec<_> = arguments.iter().map(|argument| (*argument).to_owned()).collect();
        // curl blocks, and what it waits for runs elsewhere.
        let run = move || {
            Command::new("curl")
                .args([
                    "--silent",
                    "--show-error",
                    "--max-time",
                    "60",
                    "--write-out",
                    "\n%{http_code}",
                    "--cacert",
                ])
                .arg(ca.join(cert::CA_CERT))
                .args(&arguments)
                .arg(url)
                .output()
                .expect("curl runs")
        };
        let output = tokio::task::spawn_blocking(run).await.expect("curl ends");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let at = output.stdout.iter().rposition(|byte| *byte == b'\n').expect("the status is behind it");
        let status = std::str::from_utf8(&output.stdout[at + 1..]).expect("digits").parse().expect("digits");
        Answer { status, body: output.stdout[..at].to_vec() }
    }

    async fn certified(&self, user: &str, path: &str) -> Answer {
        let file =
            |ending: &str| self.cluster.ca().join(format!("client.{user}.{ending}")).display().to_string();
        self.ask(path, &["--cert", &file("crt"), "--key", &file("key")]).await
    }
}

fn has_curl() -> bool {
    let found = Command::new("curl").arg("--version").output().is_ok_and(|output| output.status.success());
    assert!(found || std::env::var_os(REQUIRE).is_none(), "{REQUIRE} is set, and there is no curl");
    found
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_who_holds_viewdebug_looks_inside() {
    if !has_curl() {
        eprintln!("passed over: there is no curl");
        return;
    }
    let port = free_tcp_port();
    let cluster = Cluster::start_with(1, &["--http-listen", &format!("127.0.0.1:{port}")]).await;
    let curl = Curl { cluster: &cluster, port };
    let root = cluster.root(&cluster.nodes[0]).await.expect("root logs in");
    root.batch_execute("CREATE USER amy WITH PASSWORD 'correct horse'").await.expect("a user");
    let options = cert::Options { days: 2, overwrite: false };
    cert::create_client(&cluster.ca(), &cluster.ca(), "amy", &options).expect("a certificate");
    let (version, tasks) = ("/debug/version", "/debug/tasks");

    // Without proof.
    let said = |answer: &Answer| {
        let value: serde_json::Value = serde_json::from_slice(&answer.body).expect("JSON");
        value["error"].as_str().expect("a message").to_owned()
    };
    let who = "show a client certificate of the cluster's CA, or a user's name and password (Basic), of somebody who \
               exists and may log in";
    for credentials in [&[][..], &["--user", "amy:wrong"], &["--user", "nobody:x"], &["--user", "root:"]] {
        let answer = curl.ask(version, credentials).await;
        assert_eq!((answer.status, said(&answer).as_str()), (401, who), "{credentials:?}");
    }
    // Without privilege, whichever the proof.
    let lacks = "user amy does not have VIEWDEBUG system privilege";
    let password = ["--user", "amy:correct horse"];
    let answer = curl.ask(version, &password).await;
    assert_eq!((answer.status, said(&answer).as_str()), (403, lacks));
    let answer = curl.certified("amy", "/debug/pprof/profile?seconds=1").await;
    assert_eq!((answer.status, said(&answer).as_str()), (403, lacks));

    // With it, at once.
    root.batch_execute("GRANT SYSTEM VIEWDEBUG TO amy").await.expect("GRANT");
    for answer in [curl.ask(version, &password).await, curl.certified("amy", version).await] {
        assert_eq!(answer.status, 200);
        assert!(answer.text().contains(&format!("\"release\":\"{}\"", env!("CARGO_PKG_VERSION"))));
    }
    let answer = curl.certified("root", tasks).await;
    assert_eq!(answer.status, 200);
    for counted in ["workers", "alive_tasks", "global_queue_depth", "\"sessions\":1"] {
        assert!(answer.text().contains(counted), "{}", answer.text());
    }
    assert_eq!(curl.certified("root", "/debug/else").await.status, 404);
    assert_eq!(curl.certified("root", "/debug/pprof/profile?seconds=61").await.status, 400);
    assert_eq!(curl.ask(version, &["--user", "amy:correct horse", "--request", "POST"]).await.status, 405);

    // And not any more. NOSQLLOGIN leaves it, NOLOGIN takes it.
    root.batch_execute("ALTER USER amy NOSQLLOGIN").await.expect("ALTER USER");
    assert_eq!(curl.certified("amy", version).await.status, 200);
    root.batch_execute("ALTER USER amy NOLOGIN").await.expect("ALTER USER");
    assert_eq!(curl.certified("amy", version).await.status, 401);
    root.batch_execute("ALTER USER amy LOGIN; REVOKE SYSTEM VIEWDEBUG FROM amy").await.expect("REVOKE");
    assert_eq!(curl.certified("amy", version).await.status, 403);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_profile_names_what_the_processor_does() {
    if !has_curl() {
        eprintln!("passed over: there is no curl");
        return;
    }
    let port = free_tcp_port();
    let cluster = Cluster::start_with(1, &["--http-listen", &format!("127.0.0.1:{port}")]).await;
    let curl = Curl { cluster: &cluster, port };
    let root = cluster.root(&cluster.nodes[0]).await.expect("root logs in");
    let rows = (0..60).map(|k| format!("({k})")).collect::<Vec<_>>().join(", ");
    root.batch_execute(&format!("CREATE TABLE n (k INT PRIMARY KEY); INSERT INTO n VALUES {rows}"))
        .await
        .expect("a table");
    root.batch_execute("SET statement_timeout = '5s'").await.expect("SET");
    let busy = root.batch_execute("SELECT count(*) FROM n a, n b, n c, n d, n e, n f WHERE a.k + f.k < 0");
    let looked = async {
        tokio::time::sleep(Duration::from_millis(200)).await;
        let path = "/debug/pprof/profile?seconds=2";
        let (profile, second) = tokio::join!(curl.certified("root", path), async {
            tokio::time::sleep(Duration::from_millis(500)).await;
            curl.certified("root", path).await
        });
        assert_eq!(second.status, 503, "one at a time");
        profile
    };
    let (_, profile) = tokio::join!(busy, looked);
    assert_eq!(profile.status, 200);
    let names = String::from_utf8_lossy(&profile.body);
    println!("{} bytes", profile.body.len());
    assert!(names.contains("sqlite3VdbeExec"), "the statement's own work is in it");
    let after = root.query_one("SELECT count(*) FROM n", &[]).await.expect("the node goes on");
    assert_eq!(after.get::<_, i64>(0), 60);
}
