//! Credential Access Boundaries, as far as buckets and prefixes of names go. What is not understood is refused, not ignored.

use serde_json::Value;

use crate::cloud::google::storage::Access;

/// The most rules of a boundary. Source: Google's documentation.
const RULES_MAX: usize = 10;
/// The part of a condition that is about objects.
const NAME: &str = "resource.name.startsWith(";
/// The part of a condition that is about listing.
const LIST: &str = "api.getAttribute('storage.googleapis.com/objectListPrefix', '').startsWith(";

/// What a token is confined to: one of the rules must allow a request.
#[derive(Clone)]
pub(super) struct Boundary(Vec<Rule>);

#[derive(Clone)]
struct Rule {
    bucket: String,
    access: Access,
    /// None: no condition. Else one of them must hold.
    when: Option<Vec<When>>,
}

#[derive(Clone)]
enum When {
    /// `projects/_/buckets/B/objects/NAME` begins so.
    Name(String),
    /// The prefix of a listing begins so.
    List(String),
}

/// What a request is about.
pub(super) enum About<'a> {
    /// An object.
    Object(&'a str),
    /// A listing of names that begin so.
    List(&'a str),
}

impl Boundary {
    /// From the `options` of an exchange.
    pub(super) fn parse(options: &str) -> Option<Self> {
        let options: Value = serde_json::from_str(options).ok()?;
        let rules = options["accessBoundary"]["accessBoundaryRules"].as_array()?;
        if rules.is_empty() || rules.len() > RULES_MAX {
            return None;
        }
        rules.iter().map(Rule::parse).collect::<Option<_>>().map(Self)
    }

    /// Whether it lets a request through.
    pub(super) fn allows(&self, bucket: &str, about: &About<'_>, access: Access) -> bool {
        self.0.iter().any(|rule| rule.allows(bucket, about, access))
    }
}

impl Rule {
    fn parse(rule: &Value) -> Option<Self> {
        let bucket = rule["availableResource"]
            .as_str()?
            .strip_prefix("//storage.googleapis.com/projects/_/buckets/")?;
        let [role] = rule["availablePermissions"].as_array()?.as_slice() else { return None };
        let access = match role.as_str()? {
            "inRole:roles/storage.objectViewer" => Access::Read,
            "inRole:roles/storage.objectUser" | "inRole:roles/storage.objectAdmin" => Access::Write,
            _ => return None,
        };
        let when = match rule.get("availabilityCondition") {
            None => None,
            Some(condition) => {
                let expression = condition["expression"].as_str()?;
                Some(expression.split(" || ").map(When::parse).collect::<Option<_>>()?)
            }
        };
        Some(Self { bucket: bucket.to_owned(), access, when })
    }

    fn allows(&self, bucket: &str, about: &About<'_>, access: Access) -> bool {
        let holds = |when: &When| match (when, about) {
            (When::Name(begin), About::Object(name)) => {
                format!("projects/_/buckets/{bucket}/objects/{name}").starts_with(begin.as_str())
            }
            (When::List(begin), About::List(prefix)) => prefix.starts_with(begin.as_str()),
            (When::Name(_), About::List(_)) | (When::List(_), About::Object(_)) => false,
        };
        let allowed = access == Access::Read || self.access == Access::Write;
        self.bucket == bucket && allowed && self.when.as_ref().is_none_or(|all| all.iter().any(holds))
    }
}

impl When {
    fn parse(term: &str) -> Option<Self> {
        let text = |rest: &str| literal(rest.strip_suffix(')')?);
        match term.strip_prefix(NAME) {
            Some(rest) => text(rest).map(Self::Name),
            None => text(term.strip_prefix(LIST)?).map(Self::List),
        }
    }
}

/// A text of CEL in single quotes.
fn literal(quoted: &str) -> Option<String> {
    let mut rest = quoted.strip_prefix('\'')?.strip_suffix('\'')?.chars();
    let mut text = String::new();
    while let Some(char) = rest.next() {
        match char {
            '\'' => return None,
            '\\' => text.push(rest.next().filter(|char| matches!(char, '\'' | '\\'))?),
            other => text.push(other),
        }
    }
    Some(text)
}
