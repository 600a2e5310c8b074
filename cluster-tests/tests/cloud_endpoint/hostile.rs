//! Who is given nothing: strangers, pages in a browser, other entries' programs, and everybody at a node that is cut off.

use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

use grantd_cluster_tests::cloud::server::ask;
use grantd_cluster_tests::process::{Cluster, PATIENCE, free_tcp_port};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::stage::{Stage, Told, tell};

/// What a connection may take at most, and some for a busy machine.
const CONNECTION_TIME: Duration = Duration::from_secs(9);

#[tokio::test(flavor = "multi_thread")]
async fn who_shows_no_token_of_the_entry_or_means_another_host_is_given_nothing() {
    let stage = Stage::new().await;
    let door = stage.doors[0];
    let token = stage.token(0, "photos");
    assert_eq!(token.len(), 64);
    let mode = std::fs::metadata(stage.token_file(0, "photos")).expect("it is there").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert_ne!(token, stage.token(1, "photos"), "each node has its own");
    assert_ne!(token, stage.token(0, "logs"), "and each entry");
    let good = ("Authorization", token.clone());
    let given = tell(door, "GET", "/v1/aws/photos", std::slice::from_ref(&good)).await;
    assert_eq!(given.status, 200, "{}", given.body);
    let given = given.json();
    for name in ["AccessKeyId", "SecretAccessKey", "Token"] {
        assert!(given[name].as_str().is_some_and(|text| !text.is_empty()), "{name}");
    }
    let end = given["Expiration"].as_str().expect("an end");
    assert!(end.len() == 20 && end.ends_with('Z'), "{end}");

    let wrong = |token: String| vec![("Authorization", token)];
    for (path, fields) in [
        ("/v1/aws/photos", vec![]),
        ("/v1/aws/photos", wrong(String::new())),
        ("/v1/aws/photos", wrong(format!("Bearer {token}"))),
        ("/v1/aws/photos", wrong(token[1..].to_owned())),
        ("/v1/aws/photos", wrong(stage.token(0, "logs"))),
        ("/v1/aws/photos", wrong(stage.token(1, "photos"))),
        ("/v1/aws/logs", wrong(token.clone())),
        ("/v1/aws/nothing", wrong(token.clone())),
        ("/v1/aws/../aws/nothing", wrong(token.clone())),
    ] {
        let told = tell(door, "GET", path, &fields).await;
        assert_eq!((told.status, told.code().as_str()), (401, "Unauthorized"), "{path} {}", told.body);
    }
    assert_eq!(tell(door, "GET", "/", std::slice::from_ref(&good)).await.status, 404);
    for method in ["POST", "PUT", "HEAD", "OPTIONS", "DELETE"] {
        let told = tell(door, method, "/v1/aws/photos", std::slice::from_ref(&good)).await;
        assert_eq!(told.status, 405, "{method}");
    }
    // A name that somebody's page has rebound to 127.0.0.1, with a token even.
    for head in
        ["Host: evil.example", "Host: 127.0.0.1.evil.example:80", "Accept: */*", "Host: a\r\nHost: 127.0.0.1"]
    {
        let told =
            raw(&stage, &format!("GET /v1/aws/photos HTTP/1.1\r\n{head}\r\nAuthorization: {token}\r\n\r\n"))
                .await;
        assert!(told.starts_with("HTTP/1.1 400 "), "{head}: {told}");
        assert!(!told.contains("SecretAccessKey"));
    }
    let forwarded = [good.clone(), ("X-Forwarded-For", "10.0.0.1".to_owned())];
    assert_eq!(tell(door, "GET", "/v1/aws/photos", &forwarded).await.status, 400);
    let absolute = raw(
        &stage,
        &format!(
            "GET http://evil.example/v1/aws/photos HTTP/1.1\r\nHost: {door}\r\nAuthorization: {token}\r\n\r\n"
        ),
    )
    .await;
    assert!(absolute.starts_with("HTTP/1.1 400 "), "{absolute}");
    // A role that there is not.
    let ghost = stage.ask(0, "ghost").await;
    assert_eq!(ghost.status, 403, "{}", ghost.body);
    assert!(ghost.message().contains("role \"nobody-made-it\" does not exist"), "{}", ghost.body);

    heads_that_are_long_or_slow_cost_their_connection(&stage).await;
    what_is_not_a_role_s_is_not_given(&stage).await;
    a_token_that_is_replaced_is_worth_nothing(&stage).await;
    a_node_that_is_cut_off_says_so(stage).await;
}

/// The bytes of an answer to these bytes.
async fn raw(stage: &Stage, request: &str) -> String {
    let mut stream = TcpStream::connect(stage.doors[0]).await.expect("it listens");
    stream.write_all(request.as_bytes()).await.expect("it takes them");
    let mut answer = Vec::new();
    // That it cuts the connection is an answer too.
    let _ = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut answer)).await.expect("it ends");
    String::from_utf8_lossy(&answer).into_owned()
}

async fn heads_that_are_long_or_slow_cost_their_connection(stage: &Stage) {
    let long = raw(stage, &format!("GET / HTTP/1.1\r\nX: {}\r\n\r\n", "x".repeat(64 << 10))).await;
    assert!(!long.starts_with("HTTP/1.1 2"), "{long}");
    let begun = Instant::now();
    assert_eq!(raw(stage, "GET /v1/aws/photos HTTP/1.1\r\nHost: 127").await, "", "it is cut");
    assert!(begun.elapsed() < CONNECTION_TIME);
    // As many as there is room for, and more: they are closed, and afterwards there is room again.
    let mut held = Vec::new();
    for _ in 0..100 {
        held.push(TcpStream::connect(stage.doors[0]).await.expect("it listens"));
    }
    let begun = Instant::now();
    loop {
        let fields = [("Authorization", stage.token(0, "photos"))];
        let answer = ask(stage.doors[0], "GET", "/v1/aws/photos", &fields, b"");
        if answer.await.is_ok_and(|(status, _)| status == 200) {
            break;
        }
        assert!(begun.elapsed() < CONNECTION_TIME, "there is no room again");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(begun.elapsed() > Duration::from_millis(100), "it was full");
}

/// A connection by the node's own identity, one with keys, and one to files.
async fn what_is_not_a_role_s_is_not_given(stage: &Stage) {
    let base = stage.uri("logs");
    let own = base.split("&ASSUME_ROLE=").next().expect("a URI").to_owned();
    let keys = own.replace("AUTH=implicit", "AWS_ACCESS_KEY_ID=AKIAX&AWS_SECRET_ACCESS_KEY=sesame");
    for uri in [own, keys, "nodelocal://self/x".to_owned()] {
        stage.run(0, &format!("ALTER EXTERNAL CONNECTION logs AS '{uri}' WITH SKIP_CHECK")).await;
        let told = stage.ask(0, "logs").await;
        assert_eq!((told.status, told.code().as_str()), (403, "AccessDenied"), "{uri}: {}", told.body);
        assert!(
            told.message().contains("not given") || told.message().contains("none to give"),
            "{}",
            told.body
        );
    }
    // The node itself may not assume the second role: the secondary URI is the way.
    let denied = base.replace(&format!("{},", stage.chained.roles[0]), "");
    stage.run(0, &format!("ALTER EXTERNAL CONNECTION logs AS '{denied}' WITH SECONDARY '{base}'")).await;
    given_again(stage, "logs").await;
    stage.run(0, &format!("ALTER EXTERNAL CONNECTION logs AS '{base}'")).await;
    given_again(stage, "logs").await;
    // The cloud says no: that is told with the edge.
    let second = stage.chained.roles[1].clone();
    let nobody = grantd_cluster_tests::cloud::world::trust(&["arn:aws:iam::111122223333:user/nobody"]);
    let trusted = stage.aws.set_trust(&second, &nobody);
    stage.aws.expire_sessions();
    let begun = Instant::now();
    let told = loop {
        let told = stage.ask(0, "logs").await;
        if told.status == 403 {
            break told;
        }
        assert!(begun.elapsed() < PATIENCE, "{}", told.body);
        tokio::time::sleep(Duration::from_millis(100)).await;
    };
    assert!(told.message().contains(&second) && told.message().contains("hop 2 of 3"), "{}", told.body);
    stage.aws.set_trust(&second, &trusted);
    given_again(stage, "logs").await;
}

async fn given_again(stage: &Stage, name: &str) {
    let given = async || stage.ask(0, name).await.status == 200;
    grantd_cluster_tests::process::until("it is given again", given).await;
}

async fn a_token_that_is_replaced_is_worth_nothing(stage: &Stage) {
    let old = stage.token(0, "photos");
    let file = stage.token_file(0, "photos");
    let with = async |token: &str| -> Told {
        tell(stage.doors[0], "GET", "/v1/aws/photos", &[("Authorization", token.to_owned())]).await
    };
    std::fs::write(&file, "another-token-of-an-operator-0123456789").expect("the file is ours");
    assert_eq!(with(&old).await.status, 401);
    given_again(stage, "photos").await;
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).expect("the file is ours");
    assert_eq!(with("another-token-of-an-operator-0123456789").await.status, 401, "everybody may read it");
    std::fs::remove_file(&file).expect("the file is ours");
    assert_eq!(with("another-token-of-an-operator-0123456789").await.status, 401);
    std::fs::write(&file, &old).expect("the file is ours");
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).expect("the file is ours");
    given_again(stage, "photos").await;
}

async fn a_node_that_is_cut_off_says_so(mut stage: Stage) {
    for node in &mut stage.cluster.nodes[1..] {
        node.pause();
    }
    let begun = Instant::now();
    loop {
        let told = stage.ask(0, "photos").await;
        if told.status == 503 {
            assert_eq!(told.code(), "ServiceUnavailable", "{}", told.body);
            break;
        }
        assert_eq!(told.status, 200, "as long as its read lease holds");
        assert!(begun.elapsed() < PATIENCE, "it does not notice");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    eprintln!("cut off: refused after {:?}", begun.elapsed());
    for _ in 0..20 {
        assert_eq!(stage.ask(0, "photos").await.status, 503, "it stays so");
    }
    for node in &mut stage.cluster.nodes[1..] {
        node.resume();
    }
    given_again(&stage, "photos").await;
    for node in 1..3 {
        // Their tokens are as they were.
        assert_eq!(stage.token(node, "photos").len(), 64);
    }
    stage.nothing_is_told();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_does_not_start_with_an_entry_that_is_not_safe() {
    let mut cluster = Cluster::prepare(1, &[]);
    let token = cluster.nodes[0].certs.join("token");
    std::fs::write(&token, "x".repeat(64)).expect("a file");
    std::fs::set_permissions(&token, std::fs::Permissions::from_mode(0o644)).expect("a file of ours");
    let token = token.display().to_string();
    let port = free_tcp_port();
    let good = "name=a principal=amy";
    for (entry, problem) in [
        (format!("{good} uri=external://c token_file={token}"), "everybody may read or write it"),
        (
            format!("{good} uri=s3://b?AWS_ACCESS_KEY_ID=A&AWS_SECRET_ACCESS_KEY=sesame"),
            "the URI has keys in it",
        ),
        (format!("{good} uri=nodelocal://self/x"), "leads to no credentials"),
        (format!("{good} uri=external://c metadata_listen=0.0.0.0:{port} os_user=root"), "on loopback only"),
        (format!("{good} uri=external://c metadata_listen=127.0.0.1:{port}"), "say `os_user=`"),
        (
            format!("{good} uri=external://c metadata_listen=127.0.0.1:{port} os_user=no-such-user"),
            "the operating system has no user `no-such-user`",
        ),
    ] {
        let node = &mut cluster.nodes[0];
        node.arguments =
            ["--cloud-endpoint-listen", &format!("127.0.0.1:{port}"), "--cloud-endpoints", &entry]
                .map(str::to_owned)
                .to_vec();
        let (code, said) = node.refusal();
        assert!(code.is_some_and(|code| code != 0), "{entry}: {said}");
        assert!(said.contains(problem), "{entry}: {said}");
        assert!(!said.contains("sesame") && !said.contains(&"x".repeat(64)), "{said}");
    }
}
