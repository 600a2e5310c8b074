//! Texts on the wire: forms, XML, times, hex; and the signature of a request (AWS Signature Version 4), for clients of
//! ours that set up an emulator or send what no SDK would.

use std::fmt::Write;
use std::time::SystemTime;

use hmac::{Hmac, Mac};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use sha2::{Digest, Sha256};
use time::OffsetDateTime;
use time::format_description::BorrowedFormatItem;
use time::macros::format_description;

/// What stands for itself in a form and in a signed path.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');
const ISO: &[BorrowedFormatItem<'_>] =
    format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:3]Z");
const HTTP: &[BorrowedFormatItem<'_>] =
    format_description!("[weekday repr:short], [day] [month repr:short] [year] [hour]:[minute]:[second] GMT");
const AMZ: &[BorrowedFormatItem<'_>] = format_description!("[year][month][day]T[hour][minute][second]Z");

/// Bytes in hex.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// SHA-256 in hex.
pub fn sha256(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

/// A time as XML and JSON have it, to the millisecond.
pub fn iso(time: SystemTime) -> String {
    OffsetDateTime::from(time).format(ISO).expect("a time that can be written")
}

/// A time as the heads of HTTP have it.
pub fn http_date(time: SystemTime) -> String {
    OffsetDateTime::from(time).format(HTTP).expect("a time that can be written")
}

/// A time as `X-Amz-Date` has it.
pub fn amz_date(time: SystemTime) -> String {
    OffsetDateTime::from(time).format(AMZ).expect("a time that can be written")
}

/// The time of an `X-Amz-Date`.
pub fn parse_amz_date(text: &str) -> Option<SystemTime> {
    time::PrimitiveDateTime::parse(text, AMZ).ok().map(|time| time.assume_utc().into())
}

/// The fields of a form or a query.
pub fn form(text: &str) -> Vec<(String, String)> {
    let decode = |text: &str| percent_decode_str(&text.replace('+', " ")).decode_utf8_lossy().into_owned();
    let pairs = text.split('&').filter(|pair| !pair.is_empty());
    pairs
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .map(|(name, value)| (decode(name), decode(value)))
        .collect()
}

/// Fields as a form.
pub fn to_form(fields: &[(&str, &str)]) -> String {
    let encode = |text: &str| utf8_percent_encode(text, ENCODED).to_string();
    fields
        .iter()
        .map(|(name, value)| format!("{}={}", encode(name), encode(value)))
        .collect::<Vec<_>>()
        .join("&")
}

/// A text inside XML.
pub fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// The text of the first element of this name. For answers of a cloud, which do not nest what is looked for.
pub fn element<'a>(xml: &'a str, name: &str) -> Option<&'a str> {
    let from = xml.find(&format!("<{name}>"))? + name.len() + 2;
    let to = from + xml[from..].find(&format!("</{name}>"))?;
    Some(&xml[from..to])
}

/// What a signature is of.
#[derive(Clone, Copy, Debug)]
pub struct Unsigned<'a> {
    /// The method.
    pub method: &'a str,
    /// HOST:PORT.
    pub host: &'a str,
    /// The path, encoded.
    pub path: &'a str,
    /// The query, encoded and sorted.
    pub query: &'a str,
    /// The body.
    pub body: &'a [u8],
    /// `s3`, `sts`, `iam`.
    pub service: &'a str,
    /// When it is signed.
    pub at: SystemTime,
}

/// The heads that make a request a signed one.
pub fn sign(
    request: Unsigned<'_>,
    key: &str,
    secret: &str,
    token: Option<&str>,
) -> Vec<(&'static str, String)> {
    const REGION: &str = "us-east-1";
    let (date, payload) = (amz_date(request.at), sha256(request.body));
    let mut signed = vec![("host", request.host), ("x-amz-content-sha256", &payload), ("x-amz-date", &date)];
    signed.extend(token.map(|token| ("x-amz-security-token", token)));
    let names = signed.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(";");
    let heads: String = signed.iter().map(|(name, value)| format!("{name}:{value}\n")).collect();
    let Unsigned { method, path, query, service, .. } = request;
    let canonical = format!("{method}\n{path}\n{query}\n{heads}\n{names}\n{payload}");
    let scope = format!("{}/{REGION}/{service}/aws4_request", &date[..8]);
    let text = format!("AWS4-HMAC-SHA256\n{date}\n{scope}\n{}", sha256(canonical.as_bytes()));
    let mut derived = format!("AWS4{secret}").into_bytes();
    for part in [&date[..8], REGION, service, "aws4_request", &text] {
        let mut mac = Hmac::<Sha256>::new_from_slice(&derived).expect("a key of any length");
        mac.update(part.as_bytes());
        derived = mac.finalize().into_bytes().to_vec();
    }
    let authorization = format!(
        "AWS4-HMAC-SHA256 Credential={key}/{scope}, SignedHeaders={names}, Signature={}",
        hex(&derived)
    );
    let mut heads = vec![("x-amz-date", date.clone()), ("x-amz-content-sha256", payload.clone())];
    heads.extend(token.map(|token| ("x-amz-security-token", token.to_owned())));
    heads.push(("authorization", authorization));
    heads
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_come_back_as_they_went() {
        let fields = [("RoleArn", "arn:aws:iam::1:role/a+b"), ("ExternalId", "x y&z=%é")];
        let back = form(&to_form(&fields));
        assert_eq!(
            back.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect::<Vec<_>>(),
            fields
        );
    }

    #[test]
    fn times_are_written_as_aws_writes_them() {
        let time = SystemTime::UNIX_EPOCH + std::time::Duration::from_millis(1_440_938_160_123);
        assert_eq!(iso(time), "2015-08-30T12:36:00.123Z");
        assert_eq!(http_date(time), "Sun, 30 Aug 2015 12:36:00 GMT");
        assert_eq!(parse_amz_date(&amz_date(time)), Some(time - std::time::Duration::from_millis(123)));
    }
}
