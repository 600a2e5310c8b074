//! google-auth, and what other libraries ask of a metadata server.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use grantd_cluster_tests::cloud::google::Google;
use grantd_cluster_tests::process::{Cluster, PATIENCE, free_tcp_port, until};
use serde_json::Value;

use super::program::{command, python, script};
use super::stage::{Told, tell};

const BUCKET: &str = "backups";
const WRITER: &str = "writer@p.iam.gserviceaccount.com";
const OF_ACCOUNT: &str = "/computeMetadata/v1/instance/service-accounts/default";

struct Machine {
    google: Google,
    cluster: Cluster,
    /// For this process's user, and for another one's.
    ours: SocketAddr,
    theirs: SocketAddr,
}

impl Machine {
    async fn new() -> Self {
        let google = Google::start().await;
        google.machine(Some("node@p.iam.gserviceaccount.com"));
        google.lifetime(Duration::from_secs(6));
        google.chain(&["node@p.iam.gserviceaccount.com", "hop@p.iam.gserviceaccount.com", WRITER], BUCKET);
        let endpoint = google.endpoint();
        let host = endpoint.trim_start_matches("http://").to_owned();
        let [ours, theirs] = [0, 0].map(|_| SocketAddr::from((Ipv4Addr::LOCALHOST, free_tcp_port())));
        let own = rustix_uid();
        let entry = |name: &str, listen: SocketAddr, user: &str| {
            format!(
                "name={name} principal=amy uri=external://backups metadata_listen={listen} os_user={user}"
            )
        };
        let (first, second) = (entry("ours", ours, &own), entry("theirs", theirs, "nobody"));
        let mut cluster = Cluster::prepare(
            1,
            &[
                ["--gcp-source", "metadata"],
                ["--gcp-metadata-host", &host],
                ["--gcp-iam-endpoint", &endpoint],
                ["--gcp-sts-endpoint", &endpoint],
                ["--gcs-endpoint", &endpoint],
                ["--cloud-endpoints", &first],
                ["--cloud-endpoints", &second],
                ["--log-filter", "debug"],
            ]
            .concat(),
        );
        cluster.launch().await;
        let sql = cluster.root(&cluster.nodes[0]).await.expect("root logs in");
        let roles = format!("hop@p.iam.gserviceaccount.com,{WRITER}");
        for statement in [
            "SET CLUSTER SETTING cloud.credentials.duration = '6s'".to_owned(),
            "CREATE USER amy".to_owned(),
            format!(
                "CREATE EXTERNAL CONNECTION backups AS 'gs://{BUCKET}/nightly?AUTH=implicit&ASSUME_ROLE={roles}'"
            ),
            "GRANT USAGE ON EXTERNAL CONNECTION backups TO amy".to_owned(),
        ] {
            sql.batch_execute(&statement).await.unwrap_or_else(|error| panic!("{statement}: {error:?}"));
        }
        Self { google, cluster, ours, theirs }
    }

    async fn ask(&self, path: &str) -> Told {
        tell(self.ours, "GET", path, &[("Metadata-Flavor", "Google".to_owned())]).await
    }
}

/// Who runs this test, as the kernel calls it.
fn rustix_uid() -> String {
    use std::os::unix::fs::MetadataExt;
    std::fs::metadata("/proc/self").expect("the kernel tells").uid().to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn google_auth_works_across_rotations_and_only_the_entry_s_user_is_answered() {
    let machine = Machine::new().await;
    assert_eq!(machine.ask("/").await.status, 200);
    let token = machine.ask(&format!("{OF_ACCOUNT}/token")).await;
    assert_eq!(token.status, 200, "{}", token.body);
    let token = token.json();
    assert_eq!(token["token_type"], "Bearer");
    assert!(token["expires_in"].as_u64().is_some_and(|seconds| seconds <= 6), "no key of it is shown");
    for (path, text) in [
        (format!("{OF_ACCOUNT}/email"), WRITER),
        ("/computeMetadata/v1/project/project-id".to_owned(), "p"),
        ("/computeMetadata/v1/universe/universe-domain".to_owned(), "googleapis.com"),
    ] {
        let told = machine.ask(&path).await;
        assert_eq!((told.status, told.body.as_str()), (200, text), "{path}");
    }
    let all = machine.ask(&format!("{OF_ACCOUNT}/?recursive=true")).await.json();
    assert_eq!(all["email"], WRITER);
    assert!(all["scopes"].as_array().is_some_and(|scopes| !scopes.is_empty()));
    let by_name = machine.ask(&format!("/computeMetadata/v1/instance/service-accounts/{WRITER}/token")).await;
    assert_eq!(by_name.status, 200);
    for path in [
        "/computeMetadata/v1/instance/service-accounts/other@p.iam.gserviceaccount.com/token",
        "/computeMetadata/v1/instance/service-accounts/default/identity",
        "/computeMetadata/v1/instance/attributes/ssh-keys",
        "/v1/aws/ours",
    ] {
        assert_eq!(machine.ask(path).await.status, 404, "{path}");
    }
    strangers_are_given_nothing(&machine).await;
    google_auth_works(&machine).await;

    let sql = machine.cluster.root(&machine.cluster.nodes[0]).await.expect("root logs in");
    sql.batch_execute("REVOKE USAGE ON EXTERNAL CONNECTION backups FROM amy").await.expect("root may");
    let told = machine.ask(&format!("{OF_ACCOUNT}/token")).await;
    assert_eq!(told.status, 403);
    assert!(told.body.contains("user amy does not have USAGE privilege"), "{}", told.body);
    assert_eq!(machine.ask(&format!("{OF_ACCOUNT}/email")).await.status, 403);
    let secret = token["access_token"].as_str().expect("a token");
    assert!(!machine.cluster.nodes[0].logged().contains(secret));
    let audit = machine.cluster.nodes[0].data.join("audit/audit.jsonl");
    let is_recorded = async || {
        let log = std::fs::read_to_string(&audit).unwrap_or_default();
        let mut lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        assert!(!log.contains(secret));
        lines.any(|line| line["entry"] == "theirs" && line["result"] == "unauthenticated")
    };
    until("that another user was refused is recorded", is_recorded).await;
}

async fn strangers_are_given_nothing(machine: &Machine) {
    let path = format!("{OF_ACCOUNT}/token");
    let told = tell(machine.ours, "GET", &path, &[]).await;
    assert_eq!(told.status, 403, "without the field that no page can send");
    let flavor = ("Metadata-Flavor", "Google".to_owned());
    let forwarded = [flavor.clone(), ("X-Forwarded-For", "1.2.3.4".to_owned())];
    assert_eq!(tell(machine.ours, "GET", &path, &forwarded).await.status, 400);
    assert_eq!(tell(machine.ours, "POST", &path, std::slice::from_ref(&flavor)).await.status, 405);
    let told = tell(machine.theirs, "GET", &path, &[flavor]).await;
    assert_eq!(told.status, 401, "this process is not of that user");
    assert!(told.body.contains("is not given these credentials"), "{}", told.body);
    assert!(!told.body.contains("access_token"));
}

async fn google_auth_works(machine: &Machine) {
    let Some(python) = python("google.auth, requests") else { return };
    let home = tempfile::tempdir().expect("a home");
    let at = machine.ours.to_string();
    let environment = ["GCE_METADATA_HOST", "GCE_METADATA_IP"].map(|name| (name.to_owned(), at.clone()));
    let mut program = command(&python, home.path(), &environment);
    program.arg(script("endpoint_google.py")).args([&machine.google.endpoint(), BUCKET, "nightly", "15"]);
    let begun = Instant::now();
    let ran = tokio::time::timeout(PATIENCE, program.output()).await.expect("it ends").expect("it runs");
    let said: Value = serde_json::from_slice(&ran.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&ran.stderr)));
    eprintln!("google-auth, {:?}: {said}", begun.elapsed());
    assert_eq!(said["error"], Value::Null, "{said}");
    assert_eq!((&said["account"], &said["project"]), (&Value::from(WRITER), &Value::from("p")));
    assert_eq!(said["statuses"], serde_json::json!([200]), "{said}");
    assert!(said["tokens"].as_u64() >= Some(3), "tokens changed under it: {said}");
    assert_eq!(said["beside"], 403, "the token is confined to the place of the connection: {said}");
}
