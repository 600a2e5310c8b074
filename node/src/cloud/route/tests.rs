use proptest::prelude::*;

use super::*;
use crate::cloud::settings::NodeSettings;
use crate::cloud::uri::Purpose;

const WHO: Who<'static> = Who { cluster: "0a1b2c3d4e5f", node: 2, task: "job7", user: "alice" };
const WRITE: Operation = Operation::Storage { write: true };

fn uri(text: &str, purpose: Purpose) -> Uri {
    Uri::parse(text, purpose, &NodeSettings::nowhere()).unwrap()
}

fn of(text: &str, operation: Operation, settings: &ChainSettings) -> Route {
    let purpose = match operation {
        Operation::Storage { .. } => Purpose::Storage,
        Operation::Changefeed => Purpose::Sink { unordered: true },
        Operation::Kms => Purpose::Kms,
    };
    route(&uri(text, purpose), operation, &WHO, settings).unwrap().unwrap()
}

fn arn(name: &str) -> String {
    format!("arn:aws:iam::111122223333:role/{name}")
}

fn functional() -> ChainSettings {
    let aws = Functional { storage: arn("dr"), changefeed: arn("cdc"), kms: arn("kms") };
    let gcp = Functional {
        storage: "dr@p.iam.gserviceaccount.com".to_owned(),
        changefeed: "cdc@p.iam.gserviceaccount.com".to_owned(),
        kms: "kms@p.iam.gserviceaccount.com".to_owned(),
    };
    ChainSettings { aws_functional: aws, gcp_functional: gcp, ..ChainSettings::default() }
}

fn roles(chain: &Chain) -> Vec<AssumeRole> {
    let role = |step: &Step| match step {
        Step::AssumeRole(role) => Some(role.clone()),
        _ => None,
    };
    chain.steps().iter().filter_map(role).collect()
}

fn names(chain: &Chain) -> Vec<String> {
    roles(chain).into_iter().map(|role| role.role).collect()
}

/// Case 62.
#[test]
fn the_functional_role_of_the_class_comes_first() {
    let s3 = format!("s3://b/p?AUTH=implicit&ASSUME_ROLE={}", arn("user"));
    let settings = functional();
    assert_eq!(names(&of(&s3, WRITE, &settings).chain), [arn("dr"), arn("user")]);
    assert_eq!(names(&of(&s3, Operation::Changefeed, &settings).chain), [arn("cdc"), arn("user")]);
    let kms = format!("aws-kms:///1234?AUTH=implicit&REGION=eu-west-1&ASSUME_ROLE={}", arn("user"));
    assert_eq!(names(&of(&kms, Operation::Kms, &settings).chain), [arn("kms"), arn("user")]);
    let gs = "gs://b/p?AUTH=implicit&ASSUME_ROLE=user@p.iam.gserviceaccount.com";
    let chain = of(gs, WRITE, &settings).chain;
    let Step::Impersonate(impersonate) = &chain.steps()[1] else { panic!("{chain}") };
    assert_eq!(impersonate.target, "user@p.iam.gserviceaccount.com");
    assert_eq!(impersonate.delegates, ["dr@p.iam.gserviceaccount.com"]);
}

#[test]
fn who_writes_the_functional_role_himself_has_it_once() {
    let s3 = format!("s3://b/p?AUTH=implicit&ASSUME_ROLE={},{}", arn("dr"), arn("user"));
    assert_eq!(names(&of(&s3, WRITE, &functional()).chain), [arn("dr"), arn("user")]);
}

#[test]
fn keys_of_a_uri_get_no_role_of_the_node_s() {
    let keys = "AWS_ACCESS_KEY_ID=AKIAEXAMPLE&AWS_SECRET_ACCESS_KEY=s3cr3t";
    let s3 = format!("s3://b/p?{keys}&ASSUME_ROLE={}", arn("user"));
    let chain = of(&s3, WRITE, &functional()).chain;
    assert_eq!(names(&chain), [arn("user")]);
    assert!(matches!(chain.steps()[0], Step::Source(Source::AwsKeys(_))));
    assert_eq!(of(&format!("s3://b/p?{keys}"), WRITE, &functional()).chain.steps().len(), 1);
}

/// Case 92.
#[test]
fn hops_in_front_are_shared_and_the_last_says_who_and_what_for() {
    let s3 = format!("s3://b/p?AUTH=implicit&ASSUME_ROLE={}", arn("user"));
    let settings = ChainSettings { source_identity: true, ..functional() };
    let steps = roles(&of(&s3, WRITE, &settings).chain);
    let (front, last) = (&steps[0], &steps[1]);
    assert_eq!(front.session_name, "grantd-0a1b2c3d-2");
    assert_eq!(last.session_name, "grantd-0a1b2c3d-2-job7");
    assert_eq!((front.source_identity.as_deref(), last.source_identity.as_deref()), (None, Some("alice")));
    assert!(front.policy.is_none() && last.policy.is_some());
    let other = Who { task: "job8", user: "bob", ..WHO };
    let uri = uri(&s3, Purpose::Storage);
    let chains = [WHO, other].map(|who| route(&uri, WRITE, &who, &settings).unwrap().unwrap().chain);
    assert_ne!(chains[0], chains[1]);
    assert_eq!(chains[0].parent(), chains[1].parent(), "one call for both");
}

#[test]
fn the_last_session_reaches_no_further_than_the_uri_unless_the_cluster_says_so() {
    let s3 = format!("s3://b/p?AUTH=implicit&ASSUME_ROLE={}", arn("user"));
    let policy = |operation, settings: &ChainSettings| {
        roles(&of(&s3, operation, settings).chain).pop().unwrap().policy
    };
    let write = policy(WRITE, &ChainSettings::default()).unwrap();
    assert!(write.contains("arn:aws:s3:::b/p/*") && write.contains("s3:PutObject"), "{write}");
    let read = policy(Operation::Storage { write: false }, &ChainSettings::default()).unwrap();
    assert!(!read.contains("s3:PutObject"), "{read}");
    assert_eq!(policy(WRITE, &ChainSettings { session_policy: false, ..ChainSettings::default() }), None);
}

#[test]
fn a_policy_that_aws_would_not_take_is_left_out_with_a_notice() {
    let s3 = format!("s3://b/{}?AUTH=implicit&ASSUME_ROLE={}", "p".repeat(1_000), arn("user"));
    let route = of(&s3, WRITE, &ChainSettings::default());
    assert_eq!(roles(&route.chain)[0].policy, None);
    assert!(route.notice.unwrap().contains("not confined"));
}

#[test]
fn a_token_of_google_is_confined_to_the_bucket_and_prefix() {
    let gs = "gs://b/p?AUTH=implicit&ASSUME_ROLE=user@p.iam.gserviceaccount.com";
    let chain = of(gs, Operation::Storage { write: false }, &ChainSettings::default()).chain;
    let confine = Confine { bucket: "b".to_owned(), prefix: "p".to_owned(), write: false };
    assert!(*chain.last() == Step::Confine(confine), "{chain}");
    let open = ChainSettings { session_policy: false, ..ChainSettings::default() };
    let chain = of(gs, WRITE, &open).chain;
    let Step::Impersonate(impersonate) = chain.last() else { panic!("{chain}") };
    assert_eq!(impersonate.scopes, [GCS_SCOPE]);
}

#[test]
fn what_needs_no_credentials_of_these_clouds_has_no_chain() {
    let nowhere = uri("null://", Purpose::Storage);
    assert_eq!(route(&nowhere, WRITE, &WHO, &ChainSettings::default()).unwrap(), None);
}

#[test]
fn a_functional_role_that_is_none_is_told_with_its_setting() {
    let mut settings = ChainSettings::default();
    settings.aws_functional.storage = "nonsense".to_owned();
    let s3 = uri("s3://b/p?AUTH=implicit", Purpose::Storage);
    let refusal = route(&s3, WRITE, &WHO, &settings).unwrap_err();
    assert!(format!("{refusal:?}").contains("cloud.aws.functional_role.storage"), "{refusal:?}");
}

proptest! {
    /// Whatever the job, everything but the last hop is the same chain, so that it is fetched once.
    #[test]
    fn what_is_in_front_does_not_depend_on_the_job(task in "[a-z0-9]{1,12}", user in "[a-z]{1,12}", source_identity: bool) {
        let settings = ChainSettings { source_identity, ..functional() };
        let uri = uri(&format!("s3://b/p?AUTH=implicit&ASSUME_ROLE={},{}", arn("x"), arn("y")), Purpose::Storage);
        let who = Who { task: &task, user: &user, ..WHO };
        let mine = route(&uri, WRITE, &who, &settings).unwrap().unwrap().chain;
        let base = route(&uri, WRITE, &WHO, &settings).unwrap().unwrap().chain;
        prop_assert_eq!(mine.parent(), base.parent());
    }
}
