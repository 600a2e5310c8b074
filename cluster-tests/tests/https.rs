//! The HTTPS port of real processes: who is let in and for how long, how fresh answers are, and what strangers may cost.

use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD as BASE64;
use grantd_cluster_tests::https::{Https, Reply};
use grantd_cluster_tests::process::{Cluster, free_tcp_port, until};
use grantd_node::cert;
use serde_json::{Value, json};

const EVALUATION: &str = "/access/v1/evaluation";
const EVALUATIONS: &str = "/access/v1/evaluations";
const SUBJECTS: &str = "/access/v1/search/subject";

/// A cluster each of whose nodes answers over HTTPS, and their ports.
async fn started(count: u64, arguments: &[&str]) -> (Cluster, Vec<u16>) {
    let mut cluster = Cluster::start_with(count, arguments).await;
    let mut ports = Vec::new();
    for node in &mut cluster.nodes {
        let port = free_tcp_port();
        node.kill();
        node.arguments.extend(["--http-listen".to_owned(), format!("127.0.0.1:{port}")]);
        node.start();
        ports.push(port);
    }
    cluster.until_all_vote().await;
    (cluster, ports)
}

fn about(user: &str) -> Value {
    json!({
        "subject": { "type": "user", "id": user },
        "action": { "name": "SELECT" },
        "resource": { "type": "table", "id": "defaultdb.public.t" },
    })
}

fn password(user: &str, password: &str) -> String {
    format!("Basic {}", BASE64.encode(format!("{user}:{password}")))
}

fn said(reply: &Reply) -> (u16, String) {
    (reply.status, reply.json()["error"].as_str().unwrap_or_default().to_owned())
}

const WORLD: &str =
    "CREATE USER amy WITH PASSWORD 'correct horse'; CREATE USER ben; CREATE ROLE clerk; GRANT clerk TO amy;
    CREATE TABLE t (id INT PRIMARY KEY); GRANT SELECT ON t TO clerk";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kept_connection_gives_nobody_more_than_the_catalog_does_now() {
    let (cluster, ports) = started(1, &[]).await;
    let root = cluster.root(&cluster.nodes[0]).await.expect("root logs in");
    root.batch_execute(WORLD).await.expect("a catalog");
    let options = cert::Options { days: 2, overwrite: false };
    cert::create_client(&cluster.ca(), &cluster.ca(), "amy", &options).expect("a certificate");

    let mut certified = Https::connect(&cluster.ca(), ports[0], Some("amy")).await;
    let mut named = Https::connect(&cluster.ca(), ports[0], None).await;
    let header = password("amy", "correct horse");
    let basic = [("Authorization", header.as_str())];
    let nobody = named.post(EVALUATION, &about("amy")).await;
    assert_eq!(nobody.status, 401);
    assert!(nobody.header("www-authenticate").is_some_and(|offered| offered.starts_with("Basic ")));
    for wrong in [password("amy", "wrong"), password("nobody", "x"), "Bearer x".to_owned()] {
        let reply = named.post_with(EVALUATION, &[("Authorization", wrong.as_str())], &about("amy")).await;
        assert_eq!(said(&reply), said(&nobody));
    }
    for _ in 0..3 {
        assert_eq!(named.post_with(EVALUATION, &basic, &about("amy")).await.json()["decision"], json!(true));
        assert_eq!(certified.post(EVALUATION, &about("amy")).await.json()["decision"], json!(true));
    }
    // About itself and its roles it may ask, about others not, and there is no telling who these are.
    let others = certified.post(EVALUATION, &about("ben")).await;
    assert_eq!(others.status, 403);
    assert_eq!(others.json()["sqlstate"], json!("42501"));
    assert_eq!(said(&certified.post(EVALUATION, &about("zoe")).await), said(&others));
    let mut role = about("clerk");
    role["subject"]["type"] = json!("role");
    assert_eq!(certified.post(EVALUATION, &role).await.json()["decision"], json!(true));
    let batch = json!({ "evaluations": [about("amy"), about("ben")] });
    let batch = certified.post(EVALUATIONS, &batch).await.json();
    assert_eq!(batch["evaluations"][0]["decision"], json!(true));
    assert_eq!(batch["evaluations"][1]["context"]["error"]["status"], json!(403));
    let mut search = about("x");
    search["subject"] = json!({ "type": "user" });
    assert_eq!(certified.post(SUBJECTS, &search).await.status, 403);
    root.batch_execute("GRANT SYSTEM VIEWACTIVITYREDACTED TO amy").await.expect("GRANT");
    assert_eq!(certified.post(EVALUATION, &about("ben")).await.json()["decision"], json!(false));

    // What is taken away is away at the next request.
    root.batch_execute("REVOKE SELECT ON t FROM clerk").await.expect("REVOKE");
    assert_eq!(certified.post(EVALUATION, &about("amy")).await.json()["decision"], json!(false));
    root.batch_execute("ALTER USER amy WITH PASSWORD 'another horse'").await.expect("ALTER USER");
    assert_eq!(named.post_with(EVALUATION, &basic, &about("amy")).await.status, 401);
    assert_eq!(certified.post(EVALUATION, &about("amy")).await.status, 200);
    let header = password("amy", "another horse");
    let basic = [("Authorization", header.as_str())];
    assert_eq!(named.post_with(EVALUATION, &basic, &about("amy")).await.status, 200);
    root.batch_execute("ALTER USER amy NOLOGIN").await.expect("ALTER USER");
    assert_eq!(named.post_with(EVALUATION, &basic, &about("amy")).await.status, 401);
    assert_eq!(certified.post(EVALUATION, &about("amy")).await.status, 401);
    root.batch_execute("ALTER USER amy LOGIN").await.expect("ALTER USER");
    assert_eq!(named.post_with(EVALUATION, &basic, &about("amy")).await.status, 200);
    root.batch_execute("REVOKE SYSTEM VIEWACTIVITYREDACTED FROM amy; DROP USER amy").await.expect("no amy");
    root.batch_execute("CREATE USER amy WITH PASSWORD 'third horse'").await.expect("a new amy");
    assert_eq!(named.post_with(EVALUATION, &basic, &about("amy")).await.status, 401);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn metrics_and_health_are_for_whom_they_are() {
    let (cluster, ports) = started(1, &[]).await;
    let root = cluster.root(&cluster.nodes[0]).await.expect("root logs in");
    root.batch_execute(WORLD).await.expect("a catalog");
    let mut https = Https::connect(&cluster.ca(), ports[0], None).await;
    assert_eq!(https.get("/health", &[]).await.json(), json!({ "alive": true }));
    assert_eq!(https.get("/ready", &[]).await.json()["ready"], json!(true));
    assert_eq!(https.get("/metrics", &[]).await.status, 401);
    let header = password("amy", "correct horse");
    let basic = [("Authorization", header.as_str())];
    let lacks = "user amy does not have VIEWCLUSTERMETADATA system privilege".to_owned();
    assert_eq!(said(&https.get("/metrics", &basic).await), (403, lacks));
    root.batch_execute("GRANT SYSTEM VIEWCLUSTERMETADATA TO amy").await.expect("GRANT");
    let reply = https.get("/metrics", &basic).await;
    assert_eq!(reply.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    assert!(String::from_utf8_lossy(&reply.body).contains("# TYPE grantd_"), "{reply:?}");
    for (method, path, status) in
        [("GET", "/", 404), ("GET", "/metrics/", 404), ("GET", EVALUATION, 405), ("DELETE", "/health", 405)]
    {
        let reply = https.ask(method, path, &[], b"").await;
        assert_eq!(
            (reply.status, reply.header("allow").is_some()),
            (status, status == 405),
            "{method} {path}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_are_as_fresh_as_asked_for_and_none_is_given_when_cut_off() {
    let (mut cluster, ports) = started(3, &[]).await;
    let root = cluster.root(&cluster.nodes[0]).await.expect("root logs in");
    root.batch_execute(WORLD).await.expect("a catalog");
    let mut first = Https::connect(&cluster.ca(), ports[0], Some("root")).await;
    let mut last = Https::connect(&cluster.ca(), ports[2], Some("root")).await;
    for round in 0..20 {
        let (statement, held) = match round % 2 {
            0 => ("GRANT SELECT ON t TO ben", true),
            _ => ("REVOKE SELECT ON t FROM ben", false),
        };
        root.batch_execute(statement).await.expect("a change");
        let told = first.post(EVALUATION, &about("ben")).await.json();
        assert_eq!(told["decision"], json!(held));
        let version = told["context"]["version"].as_u64().expect("a version");
        let mut fresh = about("ben");
        fresh["context"] = match round % 4 {
            0 | 1 => json!({ "at_least": version }),
            _ => json!({ "freshness": "linearizable" }),
        };
        let told = last.post(EVALUATION, &fresh).await.json();
        assert_eq!(told["decision"], json!(held), "{fresh}");
        assert!(told["context"]["version"].as_u64() >= Some(version));
        if !held {
            // What was taken away is away everywhere without being asked for.
            assert_eq!(last.post(EVALUATION, &about("ben")).await.json()["decision"], json!(false));
        }
    }
    cluster.nodes[0].kill();
    cluster.nodes[1].kill();
    until("a node that is cut off gives no answer", async || {
        let mut https = Https::connect(&cluster.ca(), ports[2], Some("root")).await;
        https.post(EVALUATION, &about("ben")).await.status == 503
    })
    .await;
    let reply = last.post(EVALUATION, &about("ben")).await;
    assert_eq!((reply.status, reply.json()["sqlstate"].clone()), (503, json!("57P03")));
    assert_eq!(last.get("/ready", &[]).await.status, 503);
    assert_eq!(last.get("/health", &[]).await.status, 200);
    cluster.nodes[0].start();
    until("it answers again", async || {
        let mut https = Https::connect(&cluster.ca(), ports[2], Some("root")).await;
        https.post(EVALUATION, &about("ben")).await.status == 200
    })
    .await;
    assert_eq!(last.get("/ready", &[]).await.status, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_principal_that_asks_too_much_is_told_when_to_come_again() {
    let (cluster, ports) = started(1, &["--check-rate", "10", "--check-burst", "20"]).await;
    let root = cluster.root(&cluster.nodes[0]).await.expect("root logs in");
    root.batch_execute(WORLD).await.expect("a catalog");
    let mut https = Https::connect(&cluster.ca(), ports[0], Some("root")).await;
    let batch = json!({ "evaluations": vec![about("ben"); 20] });
    assert_eq!(https.post(EVALUATIONS, &batch).await.status, 200);
    let reply = https.post(EVALUATIONS, &batch).await;
    assert_eq!((reply.status, reply.json()["sqlstate"].clone()), (429, json!("53400")));
    let after: u64 = reply.header("retry-after").expect("a time").parse().expect("seconds");
    assert!((1..=2).contains(&after), "{after}");
    let header = password("amy", "correct horse");
    let basic = [("Authorization", header.as_str())];
    assert_eq!(https.post_with(EVALUATION, &basic, &about("amy")).await.status, 200, "others pay nothing");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_refused_is_in_the_audit_log_with_who_it_was() {
    let place = tempfile::tempdir().expect("a temporary directory");
    let (cluster, ports) = started(1, &["--audit-dir", &place.path().display().to_string()]).await;
    let root = cluster.root(&cluster.nodes[0]).await.expect("root logs in");
    root.batch_execute(WORLD).await.expect("a catalog");
    let mut https = Https::connect(&cluster.ca(), ports[0], None).await;
    for (known, path, status) in [("wrong", EVALUATION, 401), ("correct horse", EVALUATION, 403)] {
        let header = password("amy", known);
        let reply = https.post_with(path, &[("Authorization", header.as_str())], &about("ben")).await;
        assert_eq!(reply.status, status);
    }
    let logged = || {
        let files = std::fs::read_dir(place.path()).expect("the directory is there");
        let read = |file: std::fs::DirEntry| std::fs::read_to_string(file.path()).unwrap_or_default();
        let text: String = files.map(|file| read(file.expect("an entry"))).collect();
        let lines = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let ours = lines.filter(|line| line["interface"] == "http" && line["user"] == "amy");
        ours.map(|line| line["sqlstate"].as_str().unwrap_or_default().to_owned()).collect::<Vec<_>>()
    };
    until("both are written", async || logged() == ["28P01", "42501"]).await;
}

/// Each of these ends with an answer or the end of its connection, and the node answers others meanwhile and afterwards.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_strangers_send_costs_them_their_connection_only() {
    let (cluster, ports) = started(1, &[]).await;
    let root = cluster.root(&cluster.nodes[0]).await.expect("root logs in");
    root.batch_execute(WORLD).await.expect("a catalog");
    let ca = cluster.ca();
    let connect = |user| Https::connect(&ca, ports[0], user);
    let mut honest = connect(Some("root")).await;
    let post = format!("POST {EVALUATION} HTTP/1.1\r\nHost: h\r\nContent-Type: application/json\r\n");
    let whole = about("root").to_string();

    // A body from a stranger is not waited for.
    let mut stranger = connect(None).await;
    stranger.send(format!("{post}Content-Length: 1000\r\n\r\n").as_bytes()).await;
    assert_eq!(stranger.reply().await.map(|reply| reply.status), Some(401));
    // Nor a long one from anybody.
    let mut long = connect(Some("root")).await;
    long.send(format!("{post}Content-Length: 1048577\r\n\r\n").as_bytes()).await;
    assert_eq!(long.reply().await.map(|reply| reply.status), Some(413));
    let mut chunks = connect(Some("root")).await;
    chunks.send(format!("{post}Transfer-Encoding: chunked\r\n\r\n").as_bytes()).await;
    let chunk = format!("10000\r\n{}\r\n", "x".repeat(0x1_0000));
    for _ in 0..17 {
        chunks.send(chunk.as_bytes()).await;
    }
    assert_eq!(chunks.reply().await.map(|reply| reply.status), Some(413));
    // A body that does not come is given up.
    let mut slow = connect(Some("root")).await;
    slow.send(format!("{post}Content-Length: 1000\r\n\r\n{{").as_bytes()).await;
    let since = Instant::now();
    let given_up = slow.reply();
    // One body or two: what follows the first is never taken for a request of its own.
    let mut smuggled = connect(Some("root")).await;
    let hidden = "GET /debug/version HTTP/1.1\r\nHost: h\r\n\r\n";
    let both = format!(
        "{post}Content-Length: {}\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{hidden}",
        whole.len()
    );
    smuggled.send(both.as_bytes()).await;
    let first = smuggled.reply().await;
    assert!(first.is_none_or(|reply| reply.status == 400), "an empty body is no question");
    assert!(smuggled.reply().await.is_none(), "and nothing after it is read");
    // Lengths that disagree, names that are none, heads that do not end.
    for bytes in [
        format!("{post}Content-Length: 5\r\nContent-Length: 6\r\n\r\n"),
        format!("{post}Content-Length: -1\r\n\r\n"),
        format!("{post}Transfer-Encoding: gzip\r\n\r\n"),
        format!("{post}Bad Name: x\r\n\r\n"),
        format!("GET / HTTP/1.1\r\nX: {}\r\n\r\n", "x".repeat(20_000)),
        "GET / HTTP/3.0\r\n\r\n".to_owned(),
        "\u{16}\u{3}\u{1}".repeat(10_000),
    ] {
        let mut wrong = connect(Some("root")).await;
        wrong.send(bytes.as_bytes()).await;
        let reply = wrong.reply().await;
        assert!(
            reply.is_none_or(|reply| (400..=431).contains(&reply.status)),
            "{}",
            &bytes[..bytes.len().min(200)]
        );
    }
    // Deep and strange JSON is read without harm.
    for body in [
        format!("{}1{}", "[".repeat(400_000), "]".repeat(400_000)),
        "{\"context\":".repeat(90_000),
        format!("{{\"context\":{{\"at_least\":{}}}}}", "9".repeat(500_000)),
    ] {
        let reply =
            honest.ask("POST", EVALUATION, &[("Content-Type", "application/json")], body.as_bytes()).await;
        assert_eq!(reply.status, 400);
    }
    assert_eq!(honest.post(EVALUATION, &about("root")).await.status, 200);
    // The slow one, from above.
    assert_eq!(given_up.await.map(|reply| reply.status), Some(408));
    assert!(since.elapsed() < Duration::from_secs(30), "{:?}", since.elapsed());
    assert_eq!(honest.post(EVALUATION, &about("root")).await.status, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_search_goes_on_at_its_version_and_tells_nothing_that_was_taken_away() {
    let (cluster, ports) = started(1, &[]).await;
    let root = cluster.root(&cluster.nodes[0]).await.expect("root logs in");
    root.batch_execute(WORLD).await.expect("a catalog");
    root.batch_execute("CREATE USER u1; CREATE USER u2; CREATE USER u3; GRANT SELECT ON t TO u1, u2, u3")
        .await
        .expect("users");
    let mut https = Https::connect(&cluster.ca(), ports[0], Some("root")).await;
    let mut search = about("x");
    search["subject"] = json!({ "type": "user" });
    search["page"] = json!({ "limit": 3 });
    let first = https.post(SUBJECTS, &search).await.json();
    let ids = |reply: &Value| {
        let results = reply["results"].as_array().expect("a list").iter();
        results.map(|one| one["id"].as_str().expect("an id").to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(ids(&first), ["root", "admin", "amy"]);
    root.batch_execute(
        "REVOKE SELECT ON t FROM u2; CREATE USER u4; GRANT SELECT ON t TO u4; INSERT INTO t VALUES (1)",
    )
    .await
    .expect("changes");
    search["page"] = json!({ "token": first["page"]["next_token"] });
    let second = https.post(SUBJECTS, &search).await.json();
    assert_eq!(ids(&second), ["u1", "u3"]);
    assert_eq!(second["page"]["next_token"], json!(""));
    assert_eq!(second["context"]["version"], first["context"]["version"]);
    // A version that nobody keeps.
    let token = first["page"]["next_token"].as_str().expect("a token");
    search["page"] = json!({ "token": format!("AAAA{}", &token[4..]).replacen("AAAA", "AAAB", 1) });
    let reply = https.post(SUBJECTS, &search).await;
    assert_eq!(reply.status, 400);
    assert!(said(&reply).1.contains("begin it again"), "{reply:?}");
}
