//! The cluster's own job on real processes: it is made, rests and runs, goes on when nodes are killed or stopped, stands still
//! when it is paused, and cannot be cancelled.

use grantd_cluster_tests::process::{Cluster, Node, until};
use grantd_node::pgclient;
use tokio_postgres::Client;

/// Which run it is in, and its status. None: it is not there.
async fn job(client: &Client) -> Option<(i64, i64, String)> {
    let rows = client.query("SHOW AUTOMATIC JOBS", &[]).await.ok()?;
    let row = rows.first()?;
    Some((row.get("job_id"), row.get("num_runs"), row.get("status")))
}

async fn runs(client: &Client) -> i64 {
    job(client).await.map_or(0, |(_, runs, _)| runs)
}

async fn goes_on(client: &Client, what: &str) {
    let before = runs(client).await;
    until(what, async || runs(client).await > before + 1).await;
}

async fn refused(client: &Client, statement: &str) -> String {
    let error = client.batch_execute(statement).await.expect_err("it is refused");
    let error = error.as_db_error().expect("the node says so");
    format!("{} {}", error.code().code(), error.message())
}

async fn root(cluster: &Cluster, node: &Node) -> Client {
    pgclient::connect(&cluster.login(node, "root")).await.expect("root logs in")
}

/// Case 155 beside.
#[tokio::test]
async fn the_clusters_own_job_goes_on_whoever_is_there() {
    let mut cluster = Cluster::start(3).await;
    cluster.until_all_vote().await;
    let client = root(&cluster, &cluster.nodes[0]).await;
    client.batch_execute("SET CLUSTER SETTING jobs.registry.interval.gc = '200ms'").await.expect("a setting");
    client.batch_execute("SET CLUSTER SETTING grantd.jobs.claim_lease = '1s'").await.expect("a setting");
    until("the job is made and runs", async || runs(&client).await > 1).await;
    let (id, _, _) = job(&client).await.expect("it is there");
    assert_eq!(client.query("SHOW JOBS", &[]).await.expect("a listing").len(), 0, "it is the cluster's own");
    assert_eq!(
        refused(&client, &format!("CANCEL JOB {id}")).await,
        format!("55000 job {id}: not cancelable")
    );

    client.batch_execute(&format!("PAUSE JOB {id}")).await.expect("paused");
    until("it is paused", async || job(&client).await.is_some_and(|(_, _, status)| status == "paused")).await;
    let stood = runs(&client).await;
    client.batch_execute(&format!("RESUME JOB {id}")).await.expect("resumed");
    goes_on(&client, "it runs after RESUME").await;
    assert!(runs(&client).await > stood);

    cluster.nodes[2].kill();
    goes_on(&client, "it runs after a node was killed").await;
    cluster.nodes[2].start();
    cluster.until_all_caught_up().await;
    cluster.nodes[1].stop().await;
    goes_on(&client, "it runs after a node was stopped").await;
}
