//! Credentials as JSON: what containers' endpoints, the metadata service of EC2 and credential processes give.

use std::time::SystemTime;

use serde::Deserialize;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::cloud::aws::clock::lifetime;
use crate::cloud::aws::sts::Given;
use crate::cloud::lease::AwsSession;
use crate::secret::Secret;

/// All that one of them may say; each says a part of it.
#[derive(Deserialize)]
struct Document {
    #[serde(rename = "Version")]
    version: Option<u32>,
    #[serde(rename = "AccessKeyId")]
    access_key_id: Option<String>,
    #[serde(rename = "SecretAccessKey")]
    secret_access_key: Option<String>,
    #[serde(rename = "Token", alias = "SessionToken")]
    session_token: Option<String>,
    #[serde(rename = "Expiration")]
    expiration: Option<String>,
    #[serde(rename = "Code", alias = "code")]
    code: Option<String>,
    #[serde(rename = "Message", alias = "message")]
    message: Option<String>,
}

/// Who wrote the document, as far as its form depends on it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Writer {
    /// A service on the machine: its credentials always end.
    Service,
    /// A program: it says `Version` 1, and may give keys without an end.
    Process,
}

/// Why a document has no credentials.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Unusable {
    /// The writer's code, when it says that something went wrong.
    pub code: Option<String>,
    /// What is wrong; nothing of the document's values but its own message.
    pub text: String,
}

/// Reads it. `date`: the writer's time, if it says it.
pub(super) fn read(text: &str, writer: Writer, date: Option<SystemTime>) -> Result<Given, Unusable> {
    let unusable = |text: String| Unusable { code: None, text };
    // The text of the error is left out: it may quote a value.
    let document: Document = serde_json::from_str(text).map_err(|error| {
        unusable(format!(
            "it is not the JSON of credentials (line {}, column {})",
            error.line(),
            error.column()
        ))
    })?;
    if let Some(code) = document.code.filter(|code| code != "Success") {
        return Err(Unusable { text: document.message.unwrap_or_else(|| code.clone()), code: Some(code) });
    }
    if writer == Writer::Process && document.version != Some(1) {
        return Err(unusable("it has no `Version` 1".to_owned()));
    }
    let missing = |field: &str| unusable(format!("it has no `{field}`"));
    let access_key_id = document.access_key_id.ok_or_else(|| missing("AccessKeyId"))?;
    let secret_access_key = document.secret_access_key.ok_or_else(|| missing("SecretAccessKey"))?;
    if writer == Writer::Service && document.session_token.is_none() {
        return Err(missing("Token"));
    }
    let end = match document.expiration {
        None if writer == Writer::Service => return Err(missing("Expiration")),
        None => None,
        Some(text) => Some(SystemTime::from(
            OffsetDateTime::parse(&text, &Rfc3339)
                .map_err(|_| unusable("its `Expiration` is not a time of RFC 3339".to_owned()))?,
        )),
    };
    Ok(Given {
        session: AwsSession {
            access_key_id,
            secret_access_key: Secret::new(secret_access_key),
            session_token: document.session_token.map(Secret::new),
            identity: None,
        },
        end,
        lifetime: end.map(|end| lifetime(end, date, SystemTime::now(), None)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEYS: &str = r#""AccessKeyId":"ASIAEXAMPLE","SecretAccessKey":"s3cr3t","Token":"t0k3n","Expiration":"2100-01-01T00:00:00Z""#;

    #[test]
    fn each_writer_is_read_by_its_own_form() {
        let service = read(&format!("{{\"Code\":\"Success\",{KEYS}}}"), Writer::Service, None).unwrap();
        assert_eq!(service.session.session_token.unwrap().expose(), "t0k3n");
        assert!(service.lifetime.is_some());
        let process = r#"{"Version":1,"AccessKeyId":"AKIAEXAMPLE","SecretAccessKey":"s3cr3t"}"#;
        assert!(read(process, Writer::Process, None).unwrap().end.is_none());
        let unusable = read(process, Writer::Service, None).unwrap_err();
        assert_eq!(unusable.text, "it has no `Token`");
        assert_eq!(
            read(&format!("{{{KEYS}}}"), Writer::Process, None).unwrap_err().text,
            "it has no `Version` 1"
        );
    }

    #[test]
    fn a_code_is_told_with_its_message() {
        let said =
            read(r#"{"code":"AccessDenied","message":"no such pod"}"#, Writer::Service, None).unwrap_err();
        assert_eq!(said, Unusable { code: Some("AccessDenied".to_owned()), text: "no such pod".to_owned() });
    }

    #[test]
    fn what_cannot_be_read_is_not_quoted() {
        for text in [
            r#"{"SecretAccessKey":["s3cr3t"]}"#,
            r#"{"AccessKeyId":"s3cr3t" "#,
            r#"{"Version":"s3cr3t"}"#,
            "s3cr3t",
        ] {
            let said = read(text, Writer::Process, None).unwrap_err();
            assert!(!said.text.contains("s3cr3t"), "{said:?}");
        }
    }
}
