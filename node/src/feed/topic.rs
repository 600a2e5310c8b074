//! Names of topics.

use std::sync::Arc;

use grantd_catalog::id::ObjectId;

use crate::cloud::uri::Uri;

/// A table that is fed, under the names that it had when the feed was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// The table.
    pub table: ObjectId,
    /// Its database, its schema, its own.
    pub name: [String; 3],
}

/// The name of each target's topic.
pub fn topics(targets: &[Target], full_names: bool, sink: &Uri) -> Vec<Arc<str>> {
    let files = |uri: &Uri| match uri {
        Uri::S3(s3) => s3.files.topic_prefix.clone(),
        Uri::Gs(gs) => gs.files.topic_prefix.clone(),
        Uri::Nodelocal(files) => files.files.topic_prefix.clone(),
        _ => None,
    };
    let (prefix, single, escapes) = match sink {
        Uri::Kafka(kafka) => (kafka.topic_prefix.clone(), kafka.topic_name.clone(), true),
        Uri::PubSub(pubsub) => (None, pubsub.topic_name.clone(), true),
        Uri::Webhook(_) => (None, None, false),
        // A slash would be a folder.
        other => (files(other), None, true),
    };
    let prefix = prefix.unwrap_or_default();
    let name = |target: &Target| {
        let [_, _, own] = &target.name;
        let name = match &single {
            Some(single) => single.clone(),
            None if full_names => target.name.join("."),
            None => own.clone(),
        };
        let name = format!("{prefix}{name}");
        Arc::from(if escapes { escaped(&name) } else { name })
    };
    targets.iter().map(name).collect()
}

/// What a client is told of the table of each target's messages.
pub fn tables(targets: &[Target], full_names: bool) -> Vec<Arc<str>> {
    let name = |target: &Target| match full_names {
        true => Arc::from(target.name.join(".")),
        false => Arc::from(target.name[2].as_str()),
    };
    targets.iter().map(name).collect()
}

/// A name as a topic of Kafka may be called: what may not stand there is written as `_u0021_`, and what looks so is too.
pub fn escaped(name: &str) -> String {
    let mut to = String::with_capacity(name.len());
    if name == "." || name == ".." {
        name.chars().for_each(|char| escape(char, &mut to));
        return to;
    }
    let mut rest = name;
    while let Some(char) = rest.chars().next() {
        if let Some(length) = looks_escaped(rest) {
            rest[..length].chars().for_each(|char| escape(char, &mut to));
            rest = &rest[length..];
            continue;
        }
        if char.is_ascii_alphanumeric() || matches!(char, '.' | '_' | '-') {
            to.push(char);
        } else {
            escape(char, &mut to);
        }
        rest = &rest[char.len_utf8()..];
    }
    to.truncate(NAME_BYTES_MAX);
    to
}

fn escape(char: char, to: &mut String) {
    let number = u32::from(char);
    to.push_str(&if number <= 0x1_0000 { format!("_u{number:04x}_") } else { format!("_u{number:08x}_") });
}

/// How long what stands at the beginning is, if it could be taken for an escape.
fn looks_escaped(text: &str) -> Option<usize> {
    let digits = text.strip_prefix("_u")?;
    let length = digits.bytes().take_while(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')).count();
    ((2..=8).contains(&length) && digits[length..].starts_with('_')).then_some(length + 3)
}

/// Kafka's own bound.
const NAME_BYTES_MAX: usize = 249;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cloud::settings::NodeSettings;
    use crate::cloud::uri::Purpose;

    fn named(sink: &str, full: bool) -> String {
        let settings = NodeSettings { external_io_dir: Some("/files".into()), ..NodeSettings::nowhere() };
        let uri = Uri::parse(sink, Purpose::Sink { unordered: false }, &settings).unwrap();
        let name = ["shop", "public", "or/der ü"].map(str::to_owned);
        topics(&[Target { table: ObjectId(104), name }], full, &uri)[0].to_string()
    }

    #[test]
    fn a_topic_is_called_as_the_table_unless_the_sink_says_otherwise() {
        assert_eq!(named("kafka://h:1", false), "or_u002f_der_u0020__u00fc_");
        assert_eq!(named("kafka://h:1?topic_prefix=x_", true), "x_shop.public.or_u002f_der_u0020__u00fc_");
        assert_eq!(named("kafka://h:1?topic_prefix=x_&topic_name=one", false), "x_one");
        assert_eq!(named("nodelocal://self/x?topic_prefix=y-", false), "y-or_u002f_der_u0020__u00fc_");
        assert_eq!(named("gcpubsub://p?region=eu-west1&AUTH=implicit&topic_name=all", false), "all");
        assert_eq!(named("webhook-https://h/", false), "or/der ü");
    }

    #[test]
    fn no_two_names_become_one() {
        assert_eq!(escaped("a!"), "a_u0021_");
        assert_eq!(escaped("a_u0021_"), "a_u005f__u0075__u0030__u0030__u0032__u0031__u005f_");
        assert_eq!(escaped("."), "_u002e_");
        assert_eq!(escaped("a.b-c_D9"), "a.b-c_D9");
        assert_eq!(escaped(&"x".repeat(300)).len(), 249);
    }
}
