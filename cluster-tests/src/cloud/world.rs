//! Who and what there is in a cloud account, as data: the same goes into the double and into the emulators.

use std::time::Duration;

use serde_json::{Value, json};

/// The account of a world that needs one only.
pub const ACCOUNT: &str = "111122223333";
/// What AWS gives a role when nobody says more.
pub const MAX_SESSION: Duration = Duration::from_secs(3_600);

/// Buckets, users and roles.
#[derive(Clone, Debug, Default)]
pub struct World {
    /// Names of buckets.
    pub buckets: Vec<String>,
    /// Users with keys of their own.
    pub users: Vec<User>,
    /// Roles.
    pub roles: Vec<Role>,
}

/// A user.
#[derive(Clone, Debug)]
pub struct User {
    /// `arn:aws:iam::…:user/name`.
    pub arn: String,
    /// What it may do, as a policy. None: nothing by itself.
    pub policy: Option<String>,
}

/// A role.
#[derive(Clone, Debug)]
pub struct Role {
    /// `arn:aws:iam::…:role/name`.
    pub arn: String,
    /// Who may assume it, as a policy.
    pub trust: String,
    /// What it may do, as a policy. None: nothing.
    pub policy: Option<String>,
    /// The longest session that may be asked for.
    pub max_session: Duration,
}

/// A chain in a [`World`]: a user, and the roles after it.
#[derive(Clone, Debug)]
pub struct Chained {
    /// The user that begins it.
    pub user: String,
    /// The roles, in the order in which they are assumed.
    pub roles: Vec<String>,
    /// Its bucket.
    pub bucket: String,
}

impl World {
    /// A user that may assume the first of `hops` roles, each of which may assume the next; the last may use `bucket`. Roles
    /// are `name-1` and so on, each trusts the role before it, all in [`ACCOUNT`].
    pub fn chain(name: &str, hops: usize, bucket: &str) -> (Self, Chained) {
        let user = user_arn(ACCOUNT, name);
        let roles: Vec<_> = (1..=hops).map(|hop| role_arn(ACCOUNT, &format!("{name}-{hop}"))).collect();
        let made = roles.iter().enumerate().map(|(hop, arn)| {
            let from = if hop == 0 { &user } else { &roles[hop - 1] };
            let policy = roles.get(hop + 1).map_or_else(|| use_bucket(bucket, ""), |next| assume(&[next]));
            Role::new(arn, &trust(&[from])).allowed(&policy)
        });
        let policy = roles.first().map_or_else(|| use_bucket(bucket, ""), |first| assume(&[first]));
        let world = Self {
            buckets: vec![bucket.to_owned()],
            users: vec![User { arn: user.clone(), policy: Some(policy) }],
            roles: made.collect(),
        };
        (world, Chained { user, roles, bucket: bucket.to_owned() })
    }

    /// The role of this ARN.
    pub fn role(&mut self, arn: &str) -> &mut Role {
        self.roles.iter_mut().find(|role| role.arn == arn).expect("a role of this world")
    }
}

impl Role {
    /// One that may do nothing yet.
    pub fn new(arn: &str, trust: &str) -> Self {
        Self { arn: arn.to_owned(), trust: trust.to_owned(), policy: None, max_session: MAX_SESSION }
    }

    /// The same with this policy.
    pub fn allowed(mut self, policy: &str) -> Self {
        self.policy = Some(policy.to_owned());
        self
    }

    /// The same with this longest session.
    pub fn lasting(mut self, max_session: Duration) -> Self {
        self.max_session = max_session;
        self
    }
}

/// A user's ARN.
pub fn user_arn(account: &str, name: &str) -> String {
    format!("arn:aws:iam::{account}:user/{name}")
}

/// A role's ARN.
pub fn role_arn(account: &str, name: &str) -> String {
    format!("arn:aws:iam::{account}:role/{name}")
}

/// The ARN of a session of a role.
pub fn session_arn(role: &str, session: &str) -> String {
    let account = super::iam::account(role);
    let name = role.rsplit('/').next().unwrap_or(role);
    format!("arn:aws:sts::{account}:assumed-role/{name}/{session}")
}

/// A policy of these statements.
pub fn policy(statements: &[Value]) -> String {
    json!({"Version": "2012-10-17", "Statement": statements}).to_string()
}

/// A trust policy for these principals, ARNs. It lets them say a source identity too.
pub fn trust(principals: &[&str]) -> String {
    policy(&[json!({
        "Effect": "Allow",
        "Principal": {"AWS": principals},
        "Action": ["sts:AssumeRole", "sts:SetSourceIdentity"],
    })])
}

/// The same for who knows the external id.
pub fn trust_with_external_id(principals: &[&str], external_id: &str) -> String {
    policy(&[json!({
        "Effect": "Allow",
        "Principal": {"AWS": principals},
        "Action": ["sts:AssumeRole", "sts:SetSourceIdentity"],
        "Condition": {"StringEquals": {"sts:ExternalId": external_id}},
    })])
}

/// A trust policy for who shows a token of `issuer`, a URL, for `subject`.
pub fn trust_web_identity(account: &str, issuer: &str, subject: &str) -> String {
    let host = issuer.trim_start_matches("https://").trim_start_matches("http://");
    policy(&[json!({
        "Effect": "Allow",
        "Principal": {"Federated": format!("arn:aws:iam::{account}:oidc-provider/{host}")},
        "Action": "sts:AssumeRoleWithWebIdentity",
        "Condition": {"StringEquals": {format!("{host}:sub"): subject}},
    })])
}

/// A policy that allows to assume these roles, with a source identity or without.
pub fn assume(roles: &[&str]) -> String {
    policy(&[
        json!({"Effect": "Allow", "Action": ["sts:AssumeRole", "sts:SetSourceIdentity"], "Resource": roles}),
    ])
}

/// A policy that allows all that storage needs in a bucket, for objects whose names begin with `prefix`.
pub fn use_bucket(bucket: &str, prefix: &str) -> String {
    let objects = format!("arn:aws:s3:::{bucket}/{prefix}*");
    let object_actions =
        ["GetObject", "PutObject", "DeleteObject", "AbortMultipartUpload", "ListMultipartUploadParts"];
    let mut list = json!({
        "Effect": "Allow",
        "Action": ["s3:ListBucket", "s3:GetBucketLocation"],
        "Resource": format!("arn:aws:s3:::{bucket}"),
    });
    if !prefix.is_empty() {
        list["Condition"] = json!({"StringLike": {"s3:prefix": format!("{prefix}*")}});
    }
    policy(&[
        json!({"Effect": "Allow", "Action": object_actions.map(|action| format!("s3:{action}")), "Resource": objects}),
        list,
    ])
}
