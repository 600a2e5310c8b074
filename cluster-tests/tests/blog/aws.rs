//! AWS: nodes by IRSA, self-hosted and managed forms.

use std::sync::Arc;
use std::time::Duration;

use grantd_cluster_tests::cloud::aws::{Aws, Record};
use grantd_cluster_tests::cloud::sources::Kubelet;
use grantd_cluster_tests::cloud::token::Issuer;
use grantd_cluster_tests::cloud::world::{self, Role, role_arn, trust};
use grantd_cluster_tests::process::until;

use super::proxy::Proxy;
use super::reader::files_below;
use super::{Stage, arrived};

const BUCKET: &str = "acme-backups";
/// Who runs the cluster, and whose the bucket is.
const CLUSTER: &str = "444455556666";
const CUSTOMER: &str = "111122223333";
const ISSUER: &str = "https://oidc.example.test/id/1";
const POD: &str = "system:serviceaccount:db:grantd";

/// The cloud, and the way to it.
struct Cloud {
    aws: Aws,
    kubelet: Kubelet,
    proxy: Proxy,
}

/// What the cluster's pods are.
fn node() -> String {
    role_arn(CLUSTER, "grantd-node")
}

/// The functional roles of a managed cluster, by what is done.
fn functional(name: &str) -> String {
    role_arn(CLUSTER, &format!("{name}-0123456789ab"))
}

/// A role of the customer.
fn own(name: &str) -> String {
    role_arn(CUSTOMER, name)
}

impl Cloud {
    /// Roles that nobody trusts yet, but the node's, which trusts the pods.
    async fn start() -> Self {
        let aws = Aws::start().await;
        aws.add_bucket(BUCKET);
        let issuer = Arc::new(Issuer::new(ISSUER));
        aws.add_issuer(&issuer, &["sts.amazonaws.com"]);
        let trusts_pods = world::trust_web_identity(CLUSTER, ISSUER, POD);
        aws.add_role(&Role::new(&node(), &trusts_pods).allowed(&world::assume(&["*"])));
        let nobody = trust(&[&role_arn(CUSTOMER, "nobody")]);
        for name in ["crl-dr-store-user", "crl-cdc-sink-user"] {
            aws.add_role(&Role::new(&functional(name), &nobody).allowed(&world::assume(&["*"])));
        }
        for name in ["backup", "feed", "managed-backup", "managed-feed"] {
            aws.add_role(&Role::new(&own(name), &nobody).allowed(&world::use_bucket(BUCKET, "")));
        }
        let kubelet = Kubelet::start(issuer, POD, &node(), Duration::from_secs(3_600));
        let proxy = Proxy::before(aws.address()).await;
        Self { aws, kubelet, proxy }
    }

    async fn stage(&self) -> Stage {
        let mut environment: Vec<(String, String)> = vec![("HTTPS_PROXY".to_owned(), self.proxy.url())];
        let of_pod = self.kubelet.environment(&self.aws.endpoint());
        environment.extend(of_pod.into_iter().map(|(name, value)| (name.to_owned(), value)));
        let arguments = ["--aws-source", "web-identity", "--aws-region", "us-east-1"];
        let stage = Stage::new(&arguments, &environment).await;
        stage
            .as_root(&format!("SET CLUSTER SETTING cloudstorage.http.custom_ca = '{}'", self.proxy.ca()))
            .await;
        stage
    }

    /// Whether these were done in this order: what, by a session of which role, upon what.
    fn has_in_order(&self, wanted: &[(&str, Option<&str>, &str)]) -> bool {
        let is = |record: &Record, (operation, who, upon): &(&str, Option<&str>, &str)| {
            let by = who.is_none_or(|role| {
                let sessions = world::session_arn(role, "grantd-");
                record.who.as_deref().is_some_and(|who| who.starts_with(&sessions))
            });
            record.is_done() && record.operation == *operation && by && record.resource.contains(upon)
        };
        let mut left = wanted.iter().peekable();
        for record in self.aws.log() {
            if left.peek().is_some_and(|next| is(&record, next)) {
                left.next();
            }
        }
        left.next().is_none()
    }

    /// The identities of a chain, in order, in the cloud's own log: the node's, then each role by the one before, the last one
    /// at the bucket.
    fn shows(&self, chain: &[String], path: &str) {
        let node = node();
        let mut wanted = vec![("AssumeRoleWithWebIdentity", None, &*node)];
        let mut before = &*node;
        for role in chain {
            wanted.push(("AssumeRole", Some(before), role));
            before = role;
        }
        wanted.push(("PutObject", Some(before), path));
        assert!(self.has_in_order(&wanted), "{wanted:?} in {:#?}", self.aws.log());
    }
}

/// Says a statement whose chain nobody trusts, mends what the refusal names, and so on, until it is done. Row 0.20.
async fn edge_after_edge(cloud: &Cloud, stage: &mut Stage, statement: &str, chain: &[String]) {
    let jobs = stage.run("SHOW JOBS").await.len();
    let node = node();
    let mut before = &*node;
    for (at, role) in chain.iter().enumerate() {
        let hop = format!("hop {} of {}", at + 1, chain.len());
        let refused = stage.until(statement, &hop).await.expect_err("nobody trusts it yet");
        let sessions = world::session_arn(before, "grantd-");
        assert!(refused.contains(&sessions) && refused.contains(role), "{hop}: {refused}");
        assert!(refused.contains("trust policy"), "and where to look: {refused}");
        assert_eq!(stage.run("SHOW JOBS").await.len(), jobs, "a refusal makes no job");
        cloud.aws.set_trust(role, &trust(&[before]));
        before = role;
    }
    stage.until(statement, "never").await.expect("every edge is there");
}

fn uri(path: &str, query: &str) -> String {
    format!("s3://{BUCKET}/{path}?{query}")
}

/// As the blog writes a chain.
fn written(roles: &[String]) -> String {
    format!("AUTH=implicit&ASSUME_ROLE={}", roles.join(","))
}

/// Rows 0.13 to 0.20.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_names_of_roles_alone_backups_and_feeds_are_made_on_aws() {
    let cloud = Cloud::start().await;
    let mut stage = cloud.stage().await;
    let store = functional("crl-dr-store-user");
    let sink = functional("crl-cdc-sink-user");
    // What is assumed after the node's own role; how much of it the statement has to say.
    let forms = [
        ("self-hosted", vec![own("backup")], vec![own("feed")]),
        ("managed", vec![store.clone(), own("managed-backup")], vec![sink.clone(), own("managed-feed")]),
    ];
    for (name, backup, feed) in &forms {
        let place = uri(&format!("{name}/backup"), &written(backup));
        edge_after_edge(&cloud, &mut stage, &format!("BACKUP DATABASE shop INTO '{place}'"), backup).await;
        cloud.shows(backup, &format!("{BUCKET}/{name}/backup"));
        // 0.15: with the blank that is printed behind the question mark it is the same place.
        stage.run(&format!("BACKUP DATABASE shop INTO '{}'", place.replace('?', "? "))).await;
        assert_eq!(stage.run(&format!("SHOW BACKUPS IN '{place}'")).await.len(), 2);
        stage.comes_back(&place, &name.replace('-', "_")).await;

        let place = uri(&format!("{name}/feed"), &written(feed)).replace('?', "? ");
        let create =
            format!("CREATE CHANGEFEED FOR TABLE shop.public.orders INTO '{place}' with updated, resolved");
        edge_after_edge(&cloud, &mut stage, &create, feed).await;
    }
    // The functional roles stand in the settings: the statement says the customer's role only.
    stage.as_root(&format!("SET CLUSTER SETTING cloud.aws.functional_role.storage = '{store}'")).await;
    stage.as_root(&format!("SET CLUSTER SETTING cloud.aws.functional_role.changefeed = '{sink}'")).await;
    let (_, backup, feed) = &forms[1];
    let place = uri("settings/backup", &written(&backup[1..]));
    stage.run(&format!("BACKUP DATABASE shop INTO '{place}'")).await;
    cloud.shows(backup, &format!("{BUCKET}/settings/backup"));
    stage.comes_back(&place, "settings").await;
    let place = uri("settings/feed", &written(&feed[1..]));
    stage
        .run(&format!("CREATE CHANGEFEED FOR TABLE shop.public.orders INTO '{place}' with updated, resolved"))
        .await;

    for (name, feed) in [("self-hosted", &forms[0].2), ("managed", feed), ("settings", feed)] {
        let folder = cloud.aws.bucket(BUCKET).join(name).join("feed");
        until(&format!("messages of {name} are there"), async || arrived(&files_below(&folder))).await;
        cloud.shows(feed, &format!("{BUCKET}/{name}/feed"));
    }
    let asked = cloud.proxy.asked();
    assert_eq!(asked, ["acme-backups.s3.us-east-1.amazonaws.com:443", "s3.amazonaws.com:443"]);
    stage.has_no(&cloud.aws.secrets()).await;
}
