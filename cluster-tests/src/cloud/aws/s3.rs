//! The objects: `s3s-fs` behind the checks of `s3s`, which ask `state`.

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::SystemTime;

use async_trait::async_trait;
use hyper::http::HeaderMap;
use s3s::access::{S3Access, S3AccessContext};
use s3s::auth::{Credentials, S3Auth, SecretKey};
use s3s::config::{S3Config, StaticConfigProvider};
use s3s::dto::{
    AbortMultipartUploadInput, CompleteMultipartUploadInput, CreateMultipartUploadInput, DeleteObjectsInput,
    ListPartsInput, UploadPartCopyInput, UploadPartInput,
};
use s3s::host::{S3Host, VirtualHost};
use s3s::path::S3Path;
use s3s::service::{S3Service, S3ServiceBuilder};
use s3s::{S3Error, S3ErrorCode, S3Request, S3Result, s3_error};

use super::Shared;
use super::log::Record;
use super::state::{Known, Unknown};
use super::sts::Sts;
use crate::cloud::iam::{Ask, Verdict};
use crate::cloud::wire;

/// AWS's least size of a part that is not the last.
const PART_BYTES_MIN: u64 = 5 << 20;
/// The sizes of so many parts are remembered: those of ten uploads of the most parts that AWS allows.
const PARTS_MAX: usize = 100_000;

/// What goes with a request through `s3s`: when it began, and what is to be logged of it.
#[derive(Clone)]
pub(super) struct Passing {
    pub(super) began: SystemTime,
    pub(super) record: Arc<Mutex<Record>>,
}

impl Passing {
    pub(super) fn note(&self, what: impl FnOnce(&mut Record)) {
        what(&mut self.record.lock().expect("no test panics while it holds it"));
    }
}

/// Checks for `s3s`.
struct Checks(Arc<Shared>);

/// Both services as one, by the checks of `s3s`.
pub(super) fn service(shared: &Arc<Shared>, objects: &Path) -> S3Service {
    let files = s3s_fs::FileSystem::new(objects).expect("a directory for objects");
    let mut builder = S3ServiceBuilder::new(files);
    // `front` looks at the clock, the double's own.
    let mut config = S3Config::default();
    config.presigned_url_max_skew_time_secs = u32::MAX;
    builder.set_config(Arc::new(StaticConfigProvider::new(Arc::new(config))));
    builder.set_host(Hosts);
    builder.set_auth(Checks(shared.clone()));
    builder.set_access(Checks(shared.clone()));
    builder.set_route(Sts(shared.clone()));
    builder.build()
}

/// AWS's own names, which may begin with that of a bucket. Under every other name the bucket stands in the path.
struct Hosts;

impl S3Host for Hosts {
    fn parse_host_header<'a>(&'a self, host: &'a str) -> S3Result<VirtualHost<'a>> {
        let named = VirtualHost::new(host);
        Ok(match bucket_of_host(host) {
            Some(bucket) => named.with_bucket(bucket),
            None => named,
        })
    }
}

/// The bucket that a host name begins with, as `bucket.s3.us-east-1.amazonaws.com` does.
pub(super) fn bucket_of_host(host: &str) -> Option<&str> {
    let (bucket, domain) = host.split_once(".s3.")?;
    domain.ends_with("amazonaws.com").then_some(bucket)
}

/// The session token of a request, in its head or in its signed URL.
pub(super) fn session_token(headers: &HeaderMap, query: Option<&str>) -> Option<String> {
    let head = headers.get("x-amz-security-token").and_then(|value| value.to_str().ok()).map(str::to_owned);
    let named =
        |(name, value): (String, String)| name.eq_ignore_ascii_case("x-amz-security-token").then_some(value);
    head.or_else(|| query.and_then(|query| wire::form(query).into_iter().find_map(named)))
}

/// The actions that an operation needs, each with whether it is about an object; or about the bucket.
fn actions(operation: &str) -> &str {
    match operation {
        "CreateMultipartUpload"
        | "UploadPart"
        | "UploadPartCopy"
        | "CompleteMultipartUpload"
        | "CopyObject" => "s3:PutObject",
        "HeadObject" => "s3:GetObject",
        "HeadBucket" | "ListObjects" | "ListObjectsV2" => "s3:ListBucket",
        "ListParts" => "s3:ListMultipartUploadParts",
        "ListMultipartUploads" => "s3:ListBucketMultipartUploads",
        "ListBuckets" => "s3:ListAllMyBuckets",
        _ => "",
    }
}

impl Checks {
    fn known(
        &self,
        credentials: Option<&Credentials>,
        headers: &HeaderMap,
        query: Option<&str>,
        passing: &Passing,
    ) -> S3Result<Known> {
        let Some(credentials) = credentials else { return Err(s3_error!(AccessDenied, "Access Denied")) };
        let token = session_token(headers, query);
        let who = self.0.state().who(&credentials.access_key, token.as_deref(), passing.began);
        who.map_err(|why| match why {
            Unknown::Key => {
                s3_error!(
                    InvalidAccessKeyId,
                    "The AWS Access Key Id you provided does not exist in our records."
                )
            }
            Unknown::Token => {
                s3_error!(InvalidToken, "The provided token is malformed or otherwise invalid.")
            }
            Unknown::Expired => s3_error!(ExpiredToken, "The provided token has expired."),
        })
    }

    fn allow(&self, known: &Known, action: &str, resource: &str, prefix: Option<&str>) -> S3Result<()> {
        let context: Vec<_> = prefix.iter().map(|prefix| ("s3:prefix", (*prefix).to_owned())).collect();
        let ask = Ask { action, resource, context: &context };
        if self.0.state().may(known, &ask) == Verdict::Allow {
            return Ok(());
        }
        let text = format!(
            "User: {} is not authorized to perform: {action} on resource: \"{resource}\" because no identity-based policy allows the {action} action",
            known.caller.arn()
        );
        Err(S3Error::with_message(S3ErrorCode::AccessDenied, text))
    }

    /// `s3s-fs` binds an upload to the access key that began it, AWS to nobody: the rights of who asks have been checked.
    fn unbind<T>(request: &mut S3Request<T>) {
        if let Some(credentials) = &mut request.credentials {
            "anybody".clone_into(&mut credentials.access_key);
        }
    }
}

#[async_trait]
impl S3Auth for Checks {
    async fn get_secret_key(&self, access_key: &str) -> S3Result<SecretKey> {
        let secret = self.0.state().secret_of(access_key);
        secret.map(SecretKey::from).ok_or_else(|| {
            s3_error!(InvalidAccessKeyId, "The AWS Access Key Id you provided does not exist in our records.")
        })
    }
}

#[async_trait]
impl S3Access for Checks {
    async fn check(&self, cx: &mut S3AccessContext<'_>) -> S3Result<()> {
        let passing = cx.extensions_mut().get::<Passing>().cloned().expect("front put it there");
        let known = self.known(cx.credentials(), cx.headers(), cx.uri().query(), &passing)?;
        let resource = match cx.s3_path() {
            S3Path::Root => "arn:aws:s3:::*".to_owned(),
            S3Path::Bucket { bucket } => format!("arn:aws:s3:::{bucket}"),
            S3Path::Object { bucket, key } => format!("arn:aws:s3:::{bucket}/{key}"),
        };
        let operation = cx.s3_op().name().to_owned();
        passing.note(|record| {
            record.who = Some(known.caller.arn().to_owned());
            record.source_identity.clone_from(&known.source_identity);
            record.operation.clone_from(&operation);
        });
        let query = wire::form(cx.uri().query().unwrap_or_default());
        let prefix = query.iter().find_map(|(name, value)| (name == "prefix").then_some(value.as_str()));
        if let Some(source) = cx.headers().get("x-amz-copy-source").and_then(|value| value.to_str().ok()) {
            let source = wire::form(&source.replace('+', "%2B")).into_iter().map(|(name, _)| name).next();
            let source = format!("arn:aws:s3:::{}", source.unwrap_or_default().trim_start_matches('/'));
            self.allow(&known, "s3:GetObject", &source, None)?;
        }
        match actions(&operation) {
            // Its objects are checked one by one, when its body was read.
            "" if operation == "DeleteObjects" => {
                cx.extensions_mut().insert(known);
                Ok(())
            }
            "" => self.allow(&known, &format!("s3:{operation}"), &resource, None),
            "s3:ListBucket" => {
                self.allow(&known, "s3:ListBucket", &resource, Some(prefix.unwrap_or_default()))
            }
            action => self.allow(&known, action, &resource, None),
        }
    }

    /// AWS answers for each object. Here one that may not be deleted refuses them all.
    async fn delete_objects(&self, request: &mut S3Request<DeleteObjectsInput>) -> S3Result<()> {
        let known = request.extensions.get::<Known>().cloned().expect("check put it there");
        for object in &request.input.delete.objects {
            let resource = format!("arn:aws:s3:::{}/{}", request.input.bucket, object.key);
            self.allow(&known, "s3:DeleteObject", &resource, None)?;
        }
        Ok(())
    }

    async fn create_multipart_upload(
        &self,
        request: &mut S3Request<CreateMultipartUploadInput>,
    ) -> S3Result<()> {
        Self::unbind(request);
        Ok(())
    }

    async fn upload_part(&self, request: &mut S3Request<UploadPartInput>) -> S3Result<()> {
        Self::unbind(request);
        let length = request.headers.get("content-length").and_then(|value| value.to_str().ok());
        let length = length.and_then(|length| length.parse().ok()).unwrap_or(0);
        let mut state = self.0.state();
        if state.parts.len() < PARTS_MAX {
            state.parts.insert((request.input.upload_id.clone(), request.input.part_number), length);
        }
        Ok(())
    }

    async fn upload_part_copy(&self, request: &mut S3Request<UploadPartCopyInput>) -> S3Result<()> {
        Self::unbind(request);
        Ok(())
    }

    async fn complete_multipart_upload(
        &self,
        request: &mut S3Request<CompleteMultipartUploadInput>,
    ) -> S3Result<()> {
        Self::unbind(request);
        let listed = request.input.multipart_upload.as_ref().and_then(|upload| upload.parts.as_ref());
        let mut numbers: Vec<_> = listed.into_iter().flatten().filter_map(|part| part.part_number).collect();
        numbers.sort_unstable();
        numbers.pop();
        let mut state = self.0.state();
        let upload = &request.input.upload_id;
        let small = |number: &i32| {
            state.parts.get(&(upload.clone(), *number)).is_some_and(|length| *length < PART_BYTES_MIN)
        };
        if numbers.iter().any(small) {
            return Err(s3_error!(
                EntityTooSmall,
                "Your proposed upload is smaller than the minimum allowed size"
            ));
        }
        state.parts.retain(|(of, _), _| of != upload);
        Ok(())
    }

    async fn abort_multipart_upload(
        &self,
        request: &mut S3Request<AbortMultipartUploadInput>,
    ) -> S3Result<()> {
        Self::unbind(request);
        Ok(())
    }

    async fn list_parts(&self, request: &mut S3Request<ListPartsInput>) -> S3Result<()> {
        Self::unbind(request);
        Ok(())
    }
}
