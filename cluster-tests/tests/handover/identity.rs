//! Case 94: a node that is nobody in the cloud leaves jobs to nodes that are somebody.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use grantd_cluster_tests::cloud::aws::{Aws, Rules};
use grantd_cluster_tests::cloud::sources::Kubelet;
use grantd_cluster_tests::cloud::token::Issuer;
use grantd_cluster_tests::cloud::world::{self, ACCOUNT, Role, role_arn, trust};
use grantd_cluster_tests::process::{Cluster, until};

use super::reader::files_below;
use super::stage::{BUCKET, Cloud, Row, Stage, rows_of};

const FEEDS: usize = 6;
/// How long sessions live where identities end.
const LASTING: Duration = Duration::from_secs(4);

fn create(place: &str) -> String {
    format!("CREATE CHANGEFEED FOR TABLE fed INTO '{place}' WITH updated, min_checkpoint_frequency = '200ms'")
}

async fn feeds(stage: &Stage) -> Vec<Row> {
    let jobs = stage.asked("SHOW CHANGEFEED JOBS").await;
    let mut found = Vec::new();
    for job in &jobs {
        found.extend(stage.asked(&format!("SHOW JOB {}", job["job_id"])).await);
    }
    found
}

/// Case 94. It is said which node is nobody, its statements are told at once, and no job goes to it while another node is there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn jobs_of_a_node_that_is_killed_go_to_one_with_an_identity() {
    let cloud = Cloud::new().await;
    let mut cluster = Stage::prepared(&cloud, 3);
    let arguments = &mut cluster.node(2).arguments;
    let source = arguments.iter().position(|argument| argument == "environment").unwrap();
    "none".clone_into(&mut arguments[source]);
    let mut stage = Stage::launched(&cloud, cluster).await;
    // So that the order in which nodes come is not lost in the time that an election takes: by it the second comes before the third
    // for some of these jobs.
    stage.run("SET CLUSTER SETTING jobs.registry.interval.adopt = '4s'").await;
    stage.run("CREATE TABLE fed (k INT PRIMARY KEY, v INT)").await;
    stage.run("INSERT INTO fed VALUES (1, 1)").await;
    let place = cloud.uri("checked");
    let checked = stage.run(&format!("CHECK EXTERNAL CONNECTION '{place}' ON ALL NODES")).await;
    for row in checked {
        let is_nobody = row["node"] == "2";
        assert_eq!(row["ok"], if is_nobody { "f" } else { "t" }, "{row:?}");
        assert_eq!(row["error"].contains("`aws_source` of this node is `none`"), is_nobody, "{row:?}");
    }
    let nobody = stage.connected(2).await;
    let refused = rows_of(&nobody, &create(&cloud.uri("refused"))).await.unwrap_err();
    assert!(refused.contains("`aws_source` of this node is `none`"), "{refused}");
    for feed in 0..FEEDS {
        stage.run(&create(&cloud.uri(&format!("feed{feed}")))).await;
    }
    until("all run here", async || feeds(&stage).await.iter().all(|job| job["coordinator_id"] == "1")).await;

    stage.cluster.node(1).kill();
    stage.connect_elsewhere(1).await;
    until("the third node has all of them", async || {
        let feeds = feeds(&stage).await;
        assert!(feeds.iter().all(|job| job["coordinator_id"] != "2"), "{feeds:#?}");
        feeds.len() == FEEDS && feeds.iter().all(|job| job["coordinator_id"] == "3")
    })
    .await;
    assert!(feeds(&stage).await.iter().all(|job| job["num_runs"] == "2"), "each was claimed once more");
    stage.run("UPSERT INTO fed VALUES (1, 2)").await;
    for feed in 0..FEEDS {
        let folder = cloud.aws.bucket(BUCKET).join(format!("feed{feed}"));
        until("it goes on", async || files_below(&folder).iter().any(|line| line.contains("\"v\": 2"))).await;
    }
}

/// Three nodes in pods, each with a token of its own.
struct Pods {
    aws: Aws,
    kubelets: Vec<Kubelet>,
}

impl Pods {
    async fn start() -> (Self, Cluster) {
        let aws = Aws::with(Rules { lasting: Some(LASTING), ..Rules::default() }).await;
        let (issuer, pod) =
            (Arc::new(Issuer::new("https://oidc.example.test/id/1")), "system:serviceaccount:db:grantd");
        aws.add_issuer(&issuer, &["sts.amazonaws.com"]);
        aws.add_bucket(BUCKET);
        let [node, feed] = ["node", "feed"].map(|name| role_arn(ACCOUNT, name));
        let pods = world::trust_web_identity(ACCOUNT, issuer.url(), pod);
        aws.add_role(&Role::new(&node, &pods).allowed(&world::assume(&[&feed])));
        aws.add_role(&Role::new(&feed, &trust(&[&node])).allowed(&world::use_bucket(BUCKET, "")));
        let mut cluster = Cluster::prepare(3, &["--aws-source", "web-identity", "--aws-region", "us-east-1"]);
        let mut kubelets = Vec::new();
        for at in &mut cluster.nodes {
            let kubelet = Kubelet::start(issuer.clone(), pod, &node, Duration::from_secs(3_600));
            let of_pod = kubelet.environment(&aws.endpoint()).into_iter();
            at.environment = of_pod.map(|(name, value)| (name.to_owned(), value)).collect();
            at.environment.extend([
                ("AWS_EC2_METADATA_DISABLED".to_owned(), "true".to_owned()),
                ("HOME".to_owned(), "/nonexistent".to_owned()),
            ]);
            kubelets.push(kubelet);
        }
        (Self { aws, kubelets }, cluster)
    }

    fn uri(&self, path: &str) -> String {
        let (endpoint, role) = (self.aws.endpoint(), role_arn(ACCOUNT, "feed"));
        format!(
            "s3://{BUCKET}/{path}?AUTH=implicit&AWS_REGION=us-east-1&AWS_ENDPOINT={endpoint}&ASSUME_ROLE={role}"
        )
    }

    /// A node's token is there, or is not.
    fn has_token(&self, node: u64, has: bool) {
        let file = self.kubelets[usize::try_from(node - 1).unwrap()].token_file();
        let away: PathBuf = file.with_file_name("away");
        let (from, to): (&Path, &Path) = if has { (&away, &file) } else { (&file, &away) };
        std::fs::rename(from, to).expect("the token is where it was");
    }
}

/// The token of the node that runs the feed is gone: when its session is over another node goes on. When all are gone the job
/// says so, and goes on by itself when one is back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_whose_identity_has_ended_hands_its_jobs_to_one_that_has_its_own() {
    let (pods, mut cluster) = Pods::start().await;
    cluster.launch().await;
    let client = cluster.root(&cluster.nodes[2]).await.expect("root logs in");
    let creator = cluster.root(&cluster.nodes[0]).await.expect("root logs in");
    let run = async |statement: &str| {
        rows_of(&client, statement).await.unwrap_or_else(|error| panic!("{statement}: {error}"))
    };
    for statement in [
        "SET CLUSTER SETTING cloud.credentials.duration = '4s'",
        "SET CLUSTER SETTING grantd.jobs.claim_lease = '60s'",
        "SET CLUSTER SETTING jobs.registry.interval.adopt = '500ms'",
        "CREATE TABLE fed (k INT PRIMARY KEY, v INT)",
        "INSERT INTO fed VALUES (1, 1)",
    ] {
        run(statement).await;
    }
    let id = rows_of(&creator, &create(&pods.uri("feed"))).await.unwrap()[0]["job_id"].clone();
    let job = async || run(&format!("SHOW JOB {id}")).await.remove(0);
    until("it runs where it was made", async || job().await["coordinator_id"] == "1").await;
    let folder = pods.aws.bucket(BUCKET).join("feed");
    let has = |v: &str| files_below(&folder).iter().any(|line| line.contains(&format!("\"v\": {v}")));
    until("it is fed", async || has("1")).await;

    pods.has_token(1, false);
    until("another node has it", async || !["1", "NULL"].contains(&&*job().await["coordinator_id"])).await;
    let log = cluster.nodes[0].logged();
    assert!(log.contains("this node lacks what a job needs: the source"), "{log}");
    run("UPSERT INTO fed VALUES (1, 2)").await;
    until("it goes on", async || has("2")).await;
    assert_eq!(job().await["num_runs"], "2");

    for node in [2, 3] {
        pods.has_token(node, false);
    }
    // Until the last session is over it goes on.
    until("it says what it waits for", async || job().await["running_status"].contains("the source, ")).await;
    run("UPSERT INTO fed VALUES (1, 3)").await;
    for node in [1, 2, 3] {
        pods.has_token(node, true);
    }
    until("it goes on by itself", async || has("3")).await;
}
