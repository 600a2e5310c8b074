//! Clients of clouds: what a URI and this node's configuration say, as `object_store` wants it. Nothing comes from the environment
//! but proxies.

use std::sync::Arc;

use hyper::header::{HeaderMap, HeaderValue};
use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey, AwsCredential};
use object_store::client::{HttpRequestBody, HttpService};
use object_store::gcp::{GcpCredential, GoogleCloudStorageBuilder};
use object_store::list::PaginatedListStore;
use object_store::multipart::MultipartStore;
use object_store::{Attribute, Attributes, ObjectStore, RetryConfig};
use reqwest::{Certificate, redirect};

use super::answer::Noting;
use super::credentials::Leased;
use super::{CONNECT_TIMEOUT, TRY_TIMEOUT};
use crate::cloud::broker::Credentials;
use crate::cloud::settings::NodeSettings;
use crate::cloud::uri::{Gs, S3, S3Encryption};

/// A client of a cloud.
pub(super) trait Client: ObjectStore + MultipartStore + PaginatedListStore {}

impl<T: ObjectStore + MultipartStore + PaginatedListStore> Client for T {}

/// What a client is made of; made anew when the bucket turns out to be elsewhere.
#[derive(Clone)]
pub(super) enum Recipe {
    /// S3.
    S3 { uri: S3, credentials: Credentials, http: Noting },
    /// Google.
    Gs { uri: Gs, credentials: Credentials, http: Noting, base_url: Option<String> },
}

impl Recipe {
    pub(super) fn s3(uri: &S3, credentials: Credentials, custom_ca: &str) -> reqwest::Result<Self> {
        let plain = uri.endpoint.as_deref().is_some_and(is_plain);
        let http = Noting(client(custom_ca, plain, HeaderMap::new())?);
        Ok(Self::S3 { uri: uri.clone(), credentials, http })
    }

    pub(super) fn gs(
        uri: &Gs,
        credentials: Credentials,
        custom_ca: &str,
        node: &NodeSettings,
    ) -> reqwest::Result<Self> {
        let base_url = node.gcs_endpoint.clone();
        let mut headers = HeaderMap::new();
        if let Some(project) =
            uri.billing_project.as_ref().and_then(|project| HeaderValue::from_str(project).ok())
        {
            headers.insert("x-goog-user-project", project);
        }
        let http = Noting(client(custom_ca, base_url.as_deref().is_some_and(is_plain), headers)?);
        Ok(Self::Gs { uri: uri.clone(), credentials, http, base_url })
    }

    /// A client for a bucket in this region, which only S3 asks for.
    pub(super) fn client(&self, region: &str) -> object_store::Result<Arc<dyn Client>> {
        // Each try is signed anew, so all retries are ours.
        let never = RetryConfig { max_retries: 0, retry_timeout: TRY_TIMEOUT, ..RetryConfig::default() };
        match self {
            Self::S3 { uri, credentials, http } => {
                let leased = Arc::new(Leased::<AwsCredential>::new(credentials.clone()));
                let mut builder = AmazonS3Builder::new()
                    .with_bucket_name(&uri.bucket)
                    .with_region(region)
                    .with_credentials(leased)
                    .with_retry(never)
                    .with_http_connector(http.clone());
                // The bucket stands in the path, unless its name fits into a host name that certificates of AWS cover.
                let hosted = !uri.path_style && uri.endpoint.is_none() && !uri.bucket.contains('.');
                let endpoint = uri.endpoint.clone();
                let endpoint =
                    endpoint.unwrap_or_else(|| aws_endpoint(region, hosted.then_some(&*uri.bucket)));
                builder = builder.with_endpoint(endpoint).with_virtual_hosted_style_request(hosted);
                builder = match &uri.encryption {
                    None => builder,
                    Some(S3Encryption::Aes256) => builder.with_config(encryption_key(), "AES256"),
                    Some(S3Encryption::Kms { key }) => builder.with_sse_kms_encryption(key),
                };
                Ok(Arc::new(builder.build()?))
            }
            Self::Gs { uri, credentials, http, base_url } => {
                let leased = Arc::new(Leased::<GcpCredential>::new(credentials.clone()));
                let mut builder = GoogleCloudStorageBuilder::new()
                    .with_bucket_name(&uri.bucket)
                    .with_credentials(leased)
                    .with_retry(never)
                    .with_http_connector(http.clone());
                if let Some(base_url) = base_url {
                    builder = builder.with_base_url(base_url);
                }
                Ok(Arc::new(builder.build()?))
            }
        }
    }

    /// What each object is written with.
    pub(super) fn attributes(&self) -> Attributes {
        let mut attributes = Attributes::new();
        if let Self::S3 { uri: S3 { storage_class: Some(class), .. }, .. } = self {
            attributes.insert(Attribute::StorageClass, class.as_str().into());
        }
        attributes
    }

    /// Asks S3 without credentials where the bucket is. None: it did not say.
    pub(super) async fn region(&self, base: &str) -> Result<Option<String>, String> {
        let Self::S3 { uri, http, .. } = self else { return Ok(None) };
        let request = hyper::Request::head(format!("{base}/{}", uri.bucket)).body(HttpRequestBody::empty());
        let request = request.map_err(|error| error.to_string())?;
        let response = http.call(request).await.map_err(|error| error.to_string())?;
        let region = response.headers().get("x-amz-bucket-region").and_then(|region| region.to_str().ok());
        Ok(region.map(str::to_owned))
    }
}

/// Times out by our own rules, trusts who the operator trusts, and goes nowhere but where it was sent: who followed a redirect
/// would take the session's token along, in a field of its own that no client of HTTP knows to be a secret.
pub(in crate::cloud) fn client(
    custom_ca: &str,
    plain: bool,
    headers: HeaderMap,
) -> reqwest::Result<reqwest::Client> {
    // `rustls` asks for the process's provider of cryptography, and there is one here. An error says that it is set already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let mut authorities = Vec::new();
    if !custom_ca.trim().is_empty() {
        authorities = Certificate::from_pem_bundle(custom_ca.as_bytes())?;
    }
    reqwest::Client::builder()
        .https_only(!plain)
        .redirect(redirect::Policy::none())
        .read_timeout(TRY_TIMEOUT)
        .connect_timeout(CONNECT_TIMEOUT)
        .default_headers(headers)
        .user_agent(concat!("grantd/", env!("CARGO_PKG_VERSION")))
        // Lengths are those of objects.
        .no_gzip()
        .no_brotli()
        .no_zstd()
        .no_deflate()
        .tls_certs_merge(authorities)
        .build()
}

fn encryption_key() -> AmazonS3ConfigKey {
    "aws_server_side_encryption".parse().expect("a key that object_store knows")
}

fn is_plain(url: &str) -> bool {
    url.starts_with("http://")
}

/// Where S3 is, with the bucket in the host name if it is one.
fn aws_endpoint(region: &str, bucket: Option<&str>) -> String {
    let domain = if region.starts_with("cn-") { "amazonaws.com.cn" } else { "amazonaws.com" };
    match bucket {
        Some(bucket) => format!("https://{bucket}.s3.{region}.{domain}"),
        None => format!("https://s3.{region}.{domain}"),
    }
}
