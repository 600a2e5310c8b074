//! Changefeeds in words.

use grantd_catalog::job::{TEXT_BYTES_MAX, cut};

use crate::feed::details::Details;
use crate::feed::topic::Target;
use crate::sql::system::name::{literal, quoted};

/// The statement as listings show it: full names, and nothing secret.
pub fn described(details: &Details) -> String {
    let name = |target: &Target| {
        let parts: Vec<_> = target.name.iter().map(|part| quoted(part)).collect();
        parts.join(".")
    };
    let tables: Vec<_> = details.targets.iter().map(name).collect();
    let option = |(name, value): (&str, Option<String>)| match value {
        Some(value) => format!("{} = {}", quoted(name), literal(&value)),
        None => quoted(name),
    };
    let options: Vec<_> = details.options.shown().map(option).collect();
    let with = if options.is_empty() { String::new() } else { format!(" WITH {}", options.join(", ")) };
    let sink = literal(&details.shown_sink());
    let text = format!("CREATE CHANGEFEED FOR TABLE {} INTO {sink}{with}", tables.join(", "));
    cut(&text, TEXT_BYTES_MAX).to_owned()
}
