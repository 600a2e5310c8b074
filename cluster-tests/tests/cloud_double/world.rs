//! What the truth table is asked of: an account with users and roles of every kind that matters, and clients of it.

use std::collections::HashMap;
use std::time::Duration;

use aws_sdk_sts::config::retry::RetryConfig;
use aws_sdk_sts::config::{BehaviorVersion, Credentials, Region};
use aws_sdk_sts::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_sts::operation::assume_role::builders::AssumeRoleFluentBuilder;
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use grantd_cluster_tests::cloud::aws::{Aws, Keys};
use grantd_cluster_tests::cloud::emulators::Emulator;
use grantd_cluster_tests::cloud::wire;
use grantd_cluster_tests::cloud::world::{
    self, ACCOUNT, Role, User, World, policy, role_arn, session_arn, trust, use_bucket, user_arn,
};
use object_store::aws::{AmazonS3, AmazonS3Builder};
use serde_json::json;

pub const OTHER_ACCOUNT: &str = "444455556666";
pub const BUCKET: &str = "backups";
pub const OTHER_BUCKET: &str = "salaries";
pub const EXTERNAL_ID: &str = "ext:1/2";
pub const ISSUER: &str = "https://oidc.example.com/id/1";
pub const SUBJECT: &str = "system:serviceaccount:db:grantd";

/// Where checks are run.
pub struct Place {
    pub name: &'static str,
    pub endpoint: String,
    pub keys: HashMap<String, Keys>,
    pub owner: Owner,
}

/// Who can change it.
pub enum Owner {
    Double(Aws),
    Emulator(Emulator),
}

impl Place {
    pub async fn set_policy(&self, role: &str, policy: Option<&str>) {
        match &self.owner {
            Owner::Double(aws) => drop(aws.set_policy(role, policy)),
            Owner::Emulator(emulator) => emulator.set_policy(role, policy).await,
        }
    }

    pub async fn set_trust(&self, role: &str, trust: &str) {
        match &self.owner {
            Owner::Double(aws) => drop(aws.set_trust(role, trust)),
            Owner::Emulator(emulator) => emulator.set_trust(role, trust).await,
        }
    }

    pub fn user(&self, name: &str) -> &Keys {
        &self.keys[&user_arn(ACCOUNT, name)]
    }

    pub fn sts(&self, keys: &Keys) -> aws_sdk_sts::Client {
        sts(&self.endpoint, Some(keys))
    }

    pub fn store(&self, keys: &Keys) -> AmazonS3 {
        store(&self.endpoint, BUCKET, Some(keys))
    }

    /// A session of a role of this account.
    pub async fn assumed(&self, keys: &Keys, role: &str, session: &str) -> Keys {
        self.assumed_for(keys, role, session, 900).await
    }

    pub async fn assumed_for(&self, keys: &Keys, role: &str, session: &str, seconds: i32) -> Keys {
        let ask = self.assume(keys, role, session).duration_seconds(seconds);
        let given = ask.send().await.unwrap_or_else(|error| panic!("{}: {role}: {error:?}", self.name));
        session_keys(given.credentials().expect("credentials"))
    }

    pub fn assume(&self, keys: &Keys, role: &str, session: &str) -> AssumeRoleFluentBuilder {
        let role = if role.starts_with("arn:") { role.to_owned() } else { role_arn(ACCOUNT, role) };
        self.sts(keys).assume_role().role_arn(role).role_session_name(session)
    }
}

pub fn session_keys(given: &aws_sdk_sts::types::Credentials) -> Keys {
    Keys {
        access_key_id: given.access_key_id().to_owned(),
        secret_access_key: given.secret_access_key().to_owned(),
        session_token: Some(given.session_token().to_owned()),
        expires: (*given.expiration()).try_into().ok(),
    }
}

/// A client of STS with these keys and no others, which asks once.
pub fn sts(endpoint: &str, keys: Option<&Keys>) -> aws_sdk_sts::Client {
    let mut config = aws_sdk_sts::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("us-east-1"))
        .endpoint_url(endpoint)
        .http_client(aws_smithy_http_client::Builder::new().build_http())
        .retry_config(RetryConfig::disabled());
    if let Some(keys) = keys {
        let token = keys.session_token.clone();
        let Keys { access_key_id, secret_access_key, .. } = keys.clone();
        config = config.credentials_provider(Credentials::new(
            access_key_id,
            secret_access_key,
            token,
            None,
            "test",
        ));
    }
    aws_sdk_sts::Client::from_conf(config.build())
}

/// A store with these keys and no others, which asks once. Without keys it does not sign.
pub fn store(endpoint: &str, bucket: &str, keys: Option<&Keys>) -> AmazonS3 {
    let options =
        object_store::ClientOptions::new().with_allow_http(true).with_timeout(Duration::from_secs(60));
    let retry = object_store::RetryConfig { max_retries: 0, ..Default::default() };
    let mut builder = AmazonS3Builder::new()
        .with_bucket_name(bucket)
        .with_endpoint(endpoint)
        .with_region("us-east-1")
        .with_client_options(options)
        .with_retry(retry);
    builder = match keys {
        None => builder.with_skip_signature(true),
        Some(keys) => {
            let signed = builder
                .with_access_key_id(&keys.access_key_id)
                .with_secret_access_key(&keys.secret_access_key);
            match &keys.session_token {
                None => signed,
                Some(token) => signed.with_token(token),
            }
        }
    };
    builder.build().expect("a store")
}

/// What STS said: `ok`, or the code of its refusal.
pub fn said<T, E: ProvideErrorMetadata>(answer: Result<T, SdkError<E, HttpResponse>>) -> String {
    said_of(&answer)
}

/// The same of an answer that is still needed. moto's errors are not as the SDK reads them: their code is in the body.
pub fn said_of<T, E: ProvideErrorMetadata>(answer: &Result<T, SdkError<E, HttpResponse>>) -> String {
    let Err(error) = answer else { return "ok".to_owned() };
    let body = error.raw_response().and_then(|response| response.body().bytes()).unwrap_or_default();
    let body = String::from_utf8_lossy(body);
    let written = || wire::element(&body, "Code").map(str::to_owned);
    error.code().map(str::to_owned).or_else(written).unwrap_or_else(|| "no code".to_owned())
}

/// What S3 said: `ok`, or the code of its refusal.
pub fn stored<T>(answer: object_store::Result<T>) -> String {
    let error = match answer {
        Ok(_) => return "ok".to_owned(),
        Err(object_store::Error::AlreadyExists { .. }) => return "AlreadyExists".to_owned(),
        Err(error) => format!("{error:?} {error}"),
    };
    // Of what was deleted with others, object_store keeps the code alone.
    let alone = || error.split_once("code: \"")?.1.split('"').next();
    wire::element(&error, "Code").or_else(alone).unwrap_or("no code").to_owned()
}

/// The account.
pub fn account() -> World {
    let arn = |name: &str| role_arn(ACCOUNT, name);
    let (alice, bob) = (user_arn(ACCOUNT, "alice"), user_arn(ACCOUNT, "bob"));
    let any = world::assume(&["*"]);
    let all = use_bucket(BUCKET, "");
    let second_session = session_arn(&arn("second"), "two");
    let denied = policy(&[
        json!({"Effect": "Allow", "Principal": {"AWS": &alice}, "Action": "sts:AssumeRole"}),
        json!({"Effect": "Deny", "Principal": {"AWS": &alice}, "Action": "sts:AssumeRole"}),
    ]);
    let silent =
        policy(&[json!({"Effect": "Allow", "Principal": {"AWS": &alice}, "Action": "sts:AssumeRole"})]);
    let writer = Role::new(&arn("writer"), &trust(&[&alice])).allowed(&all);
    World {
        buckets: vec![BUCKET.to_owned(), OTHER_BUCKET.to_owned()],
        users: vec![
            User { arn: alice.clone(), policy: Some(any.clone()) },
            User { arn: user_arn(ACCOUNT, "al"), policy: Some(any.clone()) },
            User { arn: bob.clone(), policy: None },
        ],
        roles: vec![
            Role::new(&arn("first"), &trust(&[&alice])).allowed(&any).lasting(Duration::from_secs(43_200)),
            Role::new(&arn("second"), &trust(&[&arn("first")]))
                .allowed(&any)
                .lasting(Duration::from_secs(43_200)),
            Role::new(&arn("third"), &trust(&[&second_session])).allowed(&use_bucket(BUCKET, "in/")),
            writer,
            Role::new(&arn("revoked"), &trust(&[&alice])).allowed(&all),
            Role::new(&arn("by-root"), &trust(&[&format!("arn:aws:iam::{ACCOUNT}:root")])),
            Role::new(&arn("names-bob"), &trust(&[&bob])),
            Role::new(&arn("external"), &world::trust_with_external_id(&[&alice], EXTERNAL_ID)),
            Role::new(&arn("denied"), &denied),
            Role::new(&arn("silent"), &silent),
            Role::new(&arn("web"), &world::trust_web_identity(ACCOUNT, ISSUER, SUBJECT)).allowed(&all),
            Role::new(&role_arn(OTHER_ACCOUNT, "trusting"), &trust(&[&alice])),
            Role::new(&role_arn(OTHER_ACCOUNT, "strange"), &trust(&[&user_arn(OTHER_ACCOUNT, "carol")])),
        ],
    }
}
