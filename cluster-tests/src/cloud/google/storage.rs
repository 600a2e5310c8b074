//! Cloud Storage in its XML form, as far as `object_store` speaks it.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write;
use std::ops::Range;

use bytes::Bytes;
use hyper::header::RANGE;
use hyper::{Method, StatusCode};
use sha2::Digest;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::cloud::google::boundary::About;
use crate::cloud::google::{Answer, Asked, HTTP_DATE, State, decoded, hex};

/// The most names of one page of a listing. Source: Google's documentation.
const PAGE_MAX: usize = 1_000;

/// What an account may do in a bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Read and list.
    Read,
    /// That, write and delete.
    Write,
}

#[derive(Default)]
pub(super) struct Bucket {
    pub(super) access: HashMap<String, Access>,
    pub(super) objects: BTreeMap<String, Object>,
    uploads: HashMap<String, Upload>,
}

pub(super) struct Object {
    pub(super) bytes: Bytes,
    etag: String,
    generation: u64,
    modified: OffsetDateTime,
}

struct Upload {
    name: String,
    parts: BTreeMap<usize, (String, Bytes)>,
}

/// What a request is, by the names of Google's documentation.
pub(super) fn operation(asked: &Asked) -> &'static str {
    let has = |name: &str| asked.query.contains_key(name);
    match asked.method {
        Method::GET if place(asked).1.is_empty() => "List",
        Method::GET => "Get",
        Method::HEAD => "Head",
        Method::PUT if has("partNumber") => "UploadPart",
        Method::PUT => "Put",
        Method::POST if has("uploads") => "InitiateUpload",
        Method::POST if has("uploadId") => "CompleteUpload",
        Method::DELETE if has("uploadId") => "AbortUpload",
        Method::DELETE => "Delete",
        _ => "Unknown",
    }
}

/// Whether who asks may do this now: its token is good, it may, and the token's boundary lets it.
pub(super) fn authorize(state: &State, asked: &Asked, operation: &str) -> Result<(), Answer> {
    let Some(token) = state.bearer(&asked.headers) else {
        let answer =
            xml_error(StatusCode::UNAUTHORIZED, "AuthenticationRequired", "Authentication required.");
        return Err(answer.with("www-authenticate", "Bearer error=\"invalid_token\""));
    };
    let (bucket, name) = place(asked);
    let prefix = asked.query.get("prefix").map_or("", String::as_str);
    let (about, needed) = match operation {
        "List" => (About::List(prefix), Access::Read),
        "Get" | "Head" => (About::Object(&name), Access::Read),
        _ => (About::Object(&name), Access::Write),
    };
    let held = state.buckets.get(&bucket).and_then(|bucket| bucket.access.get(&token.account));
    let may = held.is_some_and(|held| needed == Access::Read || *held == Access::Write);
    let within = token.boundary.as_ref().is_none_or(|boundary| boundary.allows(&bucket, &about, needed));
    if may && within {
        return Ok(());
    }
    let message = format!("{} does not have {needed:?} access to {bucket}/{name}", token.account);
    Err(xml_error(StatusCode::FORBIDDEN, "AccessDenied", &message))
}

/// Does it.
pub(super) fn answer(state: &mut State, asked: &Asked, operation: &str, body: Bytes) -> Answer {
    let (bucket_name, name) = place(asked);
    let (generation, now, part_bytes_min) = (state.next(), state.now(), state.part_bytes_min);
    let Some(bucket) = state.buckets.get_mut(&bucket_name) else {
        return xml_error(StatusCode::NOT_FOUND, "NoSuchBucket", &bucket_name);
    };
    let upload = asked.query.get("uploadId").map_or("", String::as_str);
    match operation {
        "List" => bucket.list(&bucket_name, asked),
        "Get" | "Head" => bucket.read(asked, &name),
        "Put" => {
            let taken = bucket.objects.get(&name).map_or(0, |object| object.generation);
            match asked.header("x-goog-if-generation-match") {
                Some(wanted) if wanted != taken.to_string() => {
                    xml_error(StatusCode::PRECONDITION_FAILED, "PreconditionFailed", &name)
                }
                _ => bucket.store(&name, body, generation, now),
            }
        }
        "Delete" => match bucket.objects.remove(&name) {
            Some(_) => Answer::new(StatusCode::NO_CONTENT, "text/html", ""),
            None => xml_error(StatusCode::NOT_FOUND, "NoSuchKey", &name),
        },
        "InitiateUpload" => {
            let id = format!("upload-{generation}");
            bucket.uploads.insert(id.clone(), Upload { name: name.clone(), parts: BTreeMap::new() });
            xml(&format!(
                "<InitiateMultipartUploadResult><Bucket>{bucket_name}</Bucket><Key>{}</Key><UploadId>{id}</UploadId>\
                 </InitiateMultipartUploadResult>",
                escaped(&name)
            ))
        }
        "UploadPart" => bucket.part(asked, upload, body),
        "CompleteUpload" => bucket.complete(upload, &body, part_bytes_min, generation, now),
        "AbortUpload" => match bucket.uploads.remove(upload) {
            Some(_) => Answer::new(StatusCode::NO_CONTENT, "text/html", ""),
            None => xml_error(StatusCode::NOT_FOUND, "NoSuchUpload", upload),
        },
        _ => xml_error(StatusCode::NOT_IMPLEMENTED, "NotImplemented", &asked.path),
    }
}

impl Bucket {
    fn store(&mut self, name: &str, bytes: Bytes, generation: u64, modified: OffsetDateTime) -> Answer {
        let etag = etag(&bytes);
        self.objects.insert(name.to_owned(), Object { bytes, etag: etag.clone(), generation, modified });
        Answer::new(StatusCode::OK, "text/html", "").with("etag", etag).with("x-goog-generation", generation)
    }

    fn read(&self, asked: &Asked, name: &str) -> Answer {
        let Some(object) = self.objects.get(name) else {
            return xml_error(StatusCode::NOT_FOUND, "NoSuchKey", name);
        };
        let range = asked.headers.get(RANGE).and_then(|range| range.to_str().ok());
        let whole = object.bytes.len();
        let answer = match range.map(|range| bytes_of(range, whole)) {
            None => Answer::new(StatusCode::OK, "application/octet-stream", object.bytes.clone()),
            Some(None) => return xml_error(StatusCode::RANGE_NOT_SATISFIABLE, "InvalidRange", name),
            Some(Some(range)) => {
                let shown = format!("bytes {}-{}/{whole}", range.start, range.end - 1);
                let bytes = object.bytes.slice(range);
                Answer::new(StatusCode::PARTIAL_CONTENT, "application/octet-stream", bytes)
                    .with("content-range", shown)
            }
        };
        answer
            .with("etag", &object.etag)
            .with("x-goog-generation", object.generation)
            .with("last-modified", object.modified.format(HTTP_DATE).expect("a date"))
    }

    fn list(&self, name: &str, asked: &Asked) -> Answer {
        let said = |key: &str| asked.query.get(key).map_or("", String::as_str);
        let (prefix, delimiter) = (said("prefix"), said("delimiter"));
        let after = said("continuation-token").max(said("start-after"));
        let most = said("max-keys").parse().unwrap_or(PAGE_MAX).min(PAGE_MAX);
        let mut body = format!("<ListBucketResult><Name>{name}</Name><Prefix>{}</Prefix>", escaped(prefix));
        let (mut folders, mut last, mut listed) = (Vec::new(), None, 0);
        let mut more = false;
        for (name, object) in
            self.objects.iter().filter(|(name, _)| name.starts_with(prefix) && name.as_str() > after)
        {
            if listed == most {
                more = true;
                break;
            }
            last = Some(name);
            let folder =
                (!delimiter.is_empty()).then(|| name[prefix.len()..].split_once(delimiter)).flatten();
            if let Some((folder, _)) = folder {
                let folder = format!("{prefix}{folder}{delimiter}");
                // What is in one folder follows in order.
                if !after.starts_with(&folder) && folders.last() != Some(&folder) {
                    folders.push(folder);
                    listed += 1;
                }
                continue;
            }
            listed += 1;
            let modified = object.modified.format(&Rfc3339).expect("a time");
            let _ = write!(
                body,
                "<Contents><Key>{}</Key><Size>{}</Size><LastModified>{modified}</LastModified><ETag>{}</ETag></Contents>",
                escaped(name),
                object.bytes.len(),
                escaped(&object.etag),
            );
        }
        for folder in folders {
            let _ = write!(body, "<CommonPrefixes><Prefix>{}</Prefix></CommonPrefixes>", escaped(&folder));
        }
        if let (true, Some(last)) = (more, last) {
            let _ = write!(body, "<NextContinuationToken>{}</NextContinuationToken>", escaped(last));
        }
        let _ = write!(body, "<IsTruncated>{more}</IsTruncated></ListBucketResult>");
        xml(&body)
    }

    fn part(&mut self, asked: &Asked, upload: &str, bytes: Bytes) -> Answer {
        let Some(upload) = self.uploads.get_mut(upload) else {
            return xml_error(StatusCode::NOT_FOUND, "NoSuchUpload", upload);
        };
        let Some(number) = asked.query.get("partNumber").and_then(|n| n.parse().ok()).filter(|n| *n > 0)
        else {
            return xml_error(StatusCode::BAD_REQUEST, "InvalidArgument", "partNumber");
        };
        let etag = etag(&bytes);
        upload.parts.insert(number, (etag.clone(), bytes));
        Answer::new(StatusCode::OK, "text/html", "").with("etag", etag)
    }

    fn complete(
        &mut self,
        id: &str,
        body: &[u8],
        part_bytes_min: usize,
        generation: u64,
        now: OffsetDateTime,
    ) -> Answer {
        let Some(upload) = self.uploads.get(id) else {
            return xml_error(StatusCode::NOT_FOUND, "NoSuchUpload", id);
        };
        let body = String::from_utf8_lossy(body);
        let mut whole = Vec::new();
        let mut parts = body.split("<Part>").skip(1).peekable();
        while let Some(part) = parts.next() {
            let number = between(part, "PartNumber").and_then(|number| number.parse::<usize>().ok());
            let known = number.and_then(|number| upload.parts.get(&number));
            let Some((_, bytes)) =
                known.filter(|(etag, _)| between(part, "ETag").is_some_and(|said| said == *etag))
            else {
                return xml_error(StatusCode::BAD_REQUEST, "InvalidPart", id);
            };
            if bytes.len() < part_bytes_min && parts.peek().is_some() {
                return xml_error(StatusCode::BAD_REQUEST, "EntityTooSmall", id);
            }
            whole.extend_from_slice(bytes);
        }
        let name = upload.name.clone();
        self.uploads.remove(id);
        let _ = self.store(&name, whole.into(), generation, now);
        let etag = &self.objects[&name].etag;
        xml(&format!(
            "<CompleteMultipartUploadResult><Key>{}</Key><ETag>{}</ETag></CompleteMultipartUploadResult>",
            escaped(&name),
            escaped(etag)
        ))
        .with("x-goog-generation", generation)
    }
}

/// The bucket and the object that a path names.
fn place(asked: &Asked) -> (String, String) {
    let path = asked.path.trim_start_matches('/');
    let (bucket, name) = path.split_once('/').unwrap_or((path, ""));
    (decoded(bucket), decoded(name))
}

/// The bytes that a `Range` means. None: there are none.
fn bytes_of(range: &str, whole: usize) -> Option<Range<usize>> {
    let (from, to) = range.strip_prefix("bytes=")?.split_once('-')?;
    let range = match (from.parse::<usize>().ok(), to.parse::<usize>().ok()) {
        (Some(from), Some(to)) => from..to.saturating_add(1).min(whole),
        (Some(from), None) => from..whole,
        (None, Some(last)) => whole.saturating_sub(last)..whole,
        (None, None) => return None,
    };
    (range.start < range.end).then_some(range)
}

/// The text of an XML element.
fn between(text: &str, element: &str) -> Option<String> {
    let (_, rest) = text.split_once(&format!("<{element}>"))?;
    let (inner, _) = rest.split_once(&format!("</{element}>"))?;
    Some(inner.replace("&quot;", "\""))
}

fn etag(bytes: &[u8]) -> String {
    format!("\"{}\"", &hex(&sha2::Sha256::digest(bytes))[..32])
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

fn xml(body: &str) -> Answer {
    Answer::new(StatusCode::OK, "application/xml", format!("<?xml version='1.0' encoding='UTF-8'?>{body}"))
}

/// An error as Cloud Storage gives it.
pub(super) fn xml_error(status: StatusCode, code: &str, message: &str) -> Answer {
    let body = format!("<Error><Code>{code}</Code><Message>{}</Message></Error>", escaped(message));
    Answer { status, ..xml(&body) }
}
