//! The HTTP server before the services: it reads a request whole, notes it, lets go wrong what is to go wrong, looks at
//! its time, and has it answered.

use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use hyper::http::{HeaderValue, Method, request::Parts};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use s3s::Body;
use s3s::service::S3Service;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use super::Shared;
use super::log::{Outcome, Record};
use super::s3::{Passing, bucket_of_host};
use super::{kms, sts};
use crate::cloud::fault::{Service, Trouble};
use crate::cloud::wire;

/// The most bytes of a request: a part of a test is smaller.
const BODY_BYTES_MAX: usize = 128 << 20;
/// The most bytes of an answer of `s3s` that is looked into for its code: an error is short.
const ERROR_BYTES_MAX: usize = 64 << 10;

/// Serves until it is aborted; its connections end with it.
pub(super) async fn serve(listener: TcpListener, shared: Arc<Shared>, storage: S3Service) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                if let Ok((stream, _)) = accepted {
                    connections.spawn(connection(stream, shared.clone(), storage.clone()));
                }
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn connection(stream: TcpStream, shared: Arc<Shared>, storage: S3Service) {
    let _ = stream.set_nodelay(true);
    let service = service_fn(|request| answer(shared.clone(), storage.clone(), request));
    // An error is what a cut connection is.
    let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
}

/// An error cuts the connection.
async fn answer(
    shared: Arc<Shared>,
    storage: S3Service,
    request: Request<Incoming>,
) -> io::Result<Response<Body>> {
    let began = shared.state().now();
    let (mut parts, body) = request.into_parts();
    let body = Limited::new(body, BODY_BYTES_MAX).collect().await.map_err(io::Error::other)?.to_bytes();
    let service = if sts::is_meant(&parts.method, parts.uri.path(), &parts.headers) {
        Service::Sts
    } else if kms::is_meant(&parts.headers) {
        Service::Kms
    } else {
        Service::S3
    };
    let path = path(&parts);
    let operation = operation(service, &parts, &path, &body);
    let mut record = Record::new(began, service, &operation, &path);
    record.access_key_id = access_key_id(&parts);
    let record = Arc::new(Mutex::new(record));
    let passing = Passing { began, record };
    let trouble = shared.state().faults.hit(service, &operation);
    let answered = match trouble {
        Some(Trouble::Cut) => None,
        Some(Trouble::CutAnswer) => {
            parts.extensions.insert(passing.clone());
            proper(&shared, &storage, parts, body, service, &passing).await;
            None
        }
        Some(hang @ (Trouble::Hang | Trouble::HangAnswer)) => {
            let what = format!("{operation} {path}");
            if hang == Trouble::HangAnswer {
                parts.extensions.insert(passing.clone());
                proper(&shared, &storage, parts, body, service, &passing).await;
            }
            shared.state().hanging.push(what);
            // Until the connection is gone, and this with it.
            std::future::pending().await
        }
        Some(Trouble::Slow(late)) => {
            tokio::time::sleep(late).await;
            parts.extensions.insert(passing.clone());
            Some(proper(&shared, &storage, parts, body, service, &passing).await)
        }
        None => {
            parts.extensions.insert(passing.clone());
            Some(proper(&shared, &storage, parts, body, service, &passing).await)
        }
        Some(trouble) => Some(troubled(service, &trouble)),
    };
    let Some((mut response, outcome)) = answered else {
        passing.note(|record| record.outcome = Outcome::Cut);
        note(&shared, &passing);
        return Err(io::Error::new(io::ErrorKind::ConnectionAborted, "a fault that a test wants"));
    };
    passing.note(|record| record.outcome = outcome);
    note(&shared, &passing);
    let date = HeaderValue::from_str(&wire::http_date(shared.state().now())).expect("a date is a field");
    response.headers_mut().insert("date", date);
    Ok(response)
}

fn note(shared: &Shared, passing: &Passing) {
    let record = passing.record.lock().expect("no test panics while it holds it").clone();
    shared.state().log.push(record);
}

/// The answer of the services.
async fn proper(
    shared: &Shared,
    storage: &S3Service,
    parts: Parts,
    body: Bytes,
    service: Service,
    passing: &Passing,
) -> (Response<Body>, Outcome) {
    if let Some(refused) = untimely(shared, &parts, service, passing) {
        return refused;
    }
    if let Some(refused) = changed(&parts, &body, service) {
        return refused;
    }
    if service == Service::Kms {
        return kms::answer(shared, &parts, &body, passing);
    }
    let response = match storage.call(Request::from_parts(parts, Body::from(body))).await {
        Ok(response) => response,
        Err(error) => return refused(service, 500, "InternalError", &format!("{error:?}"), None),
    };
    let status = response.status().as_u16();
    if status < 400 {
        return (response, Outcome::Done(status));
    }
    let (parts, body) = response.into_parts();
    let body =
        Limited::new(body, ERROR_BYTES_MAX).collect().await.map(|body| body.to_bytes()).unwrap_or_default();
    let text = String::from_utf8_lossy(&body).into_owned();
    let code = wire::element(&text, "Code").unwrap_or("").to_owned();
    if service == Service::Sts && !text.contains("<ErrorResponse") {
        let (status, text) = sts::translated(&code, wire::element(&text, "Message").unwrap_or(""));
        let code = wire::element(&text, "Code").unwrap_or("").to_owned();
        return (xml(status, text, None), Outcome::Refused(status, code));
    }
    (Response::from_parts(parts, Body::from(text)), Outcome::Refused(status, code))
}

/// The refusal of a request whose time is too far from this cloud's.
fn untimely(
    shared: &Shared,
    parts: &Parts,
    service: Service,
    passing: &Passing,
) -> Option<(Response<Body>, Outcome)> {
    let date = parts.headers.get("x-amz-date")?.to_str().ok()?;
    let (at, now) = (wire::parse_amz_date(date)?, passing.began);
    let early = now.duration_since(at).unwrap_or(Duration::ZERO);
    let late = at.duration_since(now).unwrap_or(Duration::ZERO);
    let skew = if service == Service::S3 { shared.rules.s3_skew } else { shared.rules.sts_skew };
    if early <= skew && late <= skew {
        return None;
    }
    let (own, minutes) = (wire::amz_date(now), skew.as_secs() / 60);
    Some(match service {
        Service::S3 => {
            let text = "The difference between the request time and the current time is too large.";
            refused(service, 403, "RequestTimeTooSkewed", text, None)
        }
        Service::Kms => {
            let text = format!("Signature expired: {date} is not within {minutes} min. of {own}");
            refused(service, 400, "InvalidSignatureException", &text, None)
        }
        Service::Sts if early > skew => {
            let least = wire::amz_date(now - skew);
            let text =
                format!("Signature expired: {date} is now earlier than {least} ({own} - {minutes} min.)");
            refused(service, 403, "SignatureDoesNotMatch", &text, None)
        }
        Service::Sts => {
            let most = wire::amz_date(now + skew);
            let text = format!(
                "Signature not yet current: {date} is still later than {most} ({own} + {minutes} min.)"
            );
            refused(service, 403, "SignatureDoesNotMatch", &text, None)
        }
    })
}

/// The refusal of a body that is not the one that was signed. `s3s` finds that out too, but calls it its own error.
fn changed(parts: &Parts, body: &[u8], service: Service) -> Option<(Response<Body>, Outcome)> {
    let signed = parts.headers.get("x-amz-content-sha256")?.to_str().ok()?;
    let is_hash = signed.len() == 64 && signed.bytes().all(|byte| byte.is_ascii_hexdigit());
    let text = "The provided 'x-amz-content-sha256' header does not match what was computed.";
    (is_hash && signed != wire::sha256(body))
        .then(|| refused(service, 400, "XAmzContentSHA256Mismatch", text, None))
}

/// The answer of a service that has this trouble.
fn troubled(service: Service, trouble: &Trouble) -> (Response<Body>, Outcome) {
    match (service, trouble) {
        (Service::Sts, Trouble::Throttle(after)) => {
            refused(service, 400, "Throttling", "Rate exceeded", *after)
        }
        (Service::Kms, Trouble::Throttle(after)) => {
            let text = "You have exceeded the rate at which you may call KMS.";
            refused(service, 400, "ThrottlingException", text, *after)
        }
        (Service::Kms, Trouble::Expired) => {
            let text = "The security token included in the request is expired";
            refused(service, 400, "ExpiredTokenException", text, None)
        }
        (Service::Kms, Trouble::Broken(status)) => {
            refused(service, *status, "KMSInternalException", "It is tried again.", None)
        }
        (Service::S3, Trouble::Throttle(after)) => {
            refused(service, 503, "SlowDown", "Please reduce your request rate.", *after)
        }
        (Service::Sts, Trouble::Expired) => refused(
            service,
            403,
            "ExpiredToken",
            "The security token included in the request is expired",
            None,
        ),
        (Service::S3, Trouble::Expired) => {
            refused(service, 400, "ExpiredToken", "The provided token has expired.", None)
        }
        (Service::Sts, Trouble::Broken(status)) => refused(
            service,
            *status,
            "InternalFailure",
            "The request processing has failed because of an unknown error.",
            None,
        ),
        (Service::S3, Trouble::Broken(status)) => refused(
            service,
            *status,
            "InternalError",
            "We encountered an internal error. Please try again.",
            None,
        ),
        (Service::Kms, Trouble::Deny) => {
            refused(service, 400, "AccessDeniedException", "It is not authorized to do that.", None)
        }
        (
            _,
            Trouble::Deny
            | Trouble::Slow(_)
            | Trouble::Cut
            | Trouble::CutAnswer
            | Trouble::Hang
            | Trouble::HangAnswer,
        ) => refused(service, 403, "AccessDenied", "Access Denied", None),
    }
}

pub(super) fn refused(
    service: Service,
    status: u16,
    code: &str,
    message: &str,
    after: Option<u32>,
) -> (Response<Body>, Outcome) {
    let text = match service {
        Service::Kms => kms::refusal(code, message),
        Service::Sts => sts::refusal(code, message),
        Service::S3 => format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?><Error><Code>{code}</Code><Message>{}</Message><RequestId>0</RequestId></Error>",
            wire::escape(message)
        ),
    };
    (xml(status, text, after), Outcome::Refused(status, code.to_owned()))
}

fn xml(status: u16, text: String, after: Option<u32>) -> Response<Body> {
    let mut response = Response::builder().status(status).header("content-type", "text/xml");
    if let Some(after) = after {
        response = response.header("retry-after", after);
    }
    response.body(Body::from(text)).expect("a status and two fields")
}

/// What is asked for, from what can be seen before it is understood.
fn operation(service: Service, parts: &Parts, path: &str, body: &[u8]) -> String {
    if service == Service::Sts {
        let fields = wire::form(&String::from_utf8_lossy(body));
        return fields
            .into_iter()
            .find_map(|(name, value)| (name == "Action").then_some(value))
            .unwrap_or_default();
    }
    if service == Service::Kms {
        return kms::operation(&parts.headers).to_owned();
    }
    let query = wire::form(parts.uri.query().unwrap_or_default());
    let has = |name: &str| query.iter().any(|(known, _)| known == name);
    let object = path.trim_start_matches('/').split_once('/').is_some_and(|(_, key)| !key.is_empty());
    let name = match (&parts.method, object) {
        (&Method::PUT, true) if has("partNumber") => "UploadPart",
        (&Method::PUT, true) if parts.headers.contains_key("x-amz-copy-source") => "CopyObject",
        (&Method::PUT, true) => "PutObject",
        (&Method::PUT, false) => "CreateBucket",
        (&Method::POST, true) if has("uploads") => "CreateMultipartUpload",
        (&Method::POST, true) => "CompleteMultipartUpload",
        (&Method::POST, false) => "DeleteObjects",
        (&Method::DELETE, true) if has("uploadId") => "AbortMultipartUpload",
        (&Method::DELETE, true) => "DeleteObject",
        (&Method::HEAD, true) => "HeadObject",
        (&Method::HEAD, false) => "HeadBucket",
        (&Method::GET, true) if has("uploadId") => "ListParts",
        (&Method::GET, true) => "GetObject",
        (&Method::GET, false) => "ListObjectsV2",
        (other, _) => other.as_str(),
    };
    name.to_owned()
}

/// The path of a request, with its bucket first also where the host has it.
fn path(parts: &Parts) -> String {
    let path = parts.uri.path();
    let host = parts.headers.get("host").and_then(|host| host.to_str().ok()).unwrap_or_default();
    bucket_of_host(host).map_or_else(|| path.to_owned(), |bucket| format!("/{bucket}{path}"))
}

/// The id of the key that a request says it is signed with.
fn access_key_id(parts: &Parts) -> Option<String> {
    let head = parts.headers.get("authorization")?.to_str().ok()?;
    let credential = head.split_once("Credential=")?.1;
    Some(credential.split('/').next()?.to_owned())
}
