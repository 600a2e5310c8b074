//! The language of IAM policies, as far as chains of roles need it: who may do what to which resource, under which
//! conditions.
//!
//! What it does not know it refuses to read: a policy that is understood in part would allow too much, and a test that
//! passes for that reason shows nothing. Left out: `NotAction`, `NotResource`, `NotPrincipal`, variables, and operators
//! other than those of text.

use std::fmt;

use serde_json::Value;

/// A policy, read.
#[derive(Clone, Debug)]
pub struct Policy {
    text: String,
    statements: Vec<Statement>,
}

/// Why a policy is none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Malformed(pub String);

/// What somebody wants to do.
#[derive(Clone, Copy, Debug)]
pub struct Ask<'a> {
    /// As `s3:PutObject`.
    pub action: &'a str,
    /// An ARN.
    pub resource: &'a str,
    /// What conditions look at, by key.
    pub context: &'a [(&'a str, String)],
}

/// Who asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Caller {
    /// A user of an account, by ARN.
    User(String),
    /// A session of a role.
    Session {
        /// `arn:aws:sts::…:assumed-role/role/session`.
        arn: String,
        /// `arn:aws:iam::…:role/role`.
        role: String,
    },
    /// Who showed a token of this provider: `arn:aws:iam::…:oidc-provider/host`.
    Federated(String),
}

/// What one policy says to an [`Ask`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// Nothing: whoever needs an allow has none here.
    Silent,
    /// Yes.
    Allow,
    /// No, whatever others say.
    Deny,
}

/// How a trust policy names who asks; later ones are closer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Named {
    /// By its account: its own policy must allow it too.
    Account,
    /// By its role: within one account that is enough, as far as a session policy reaches.
    Role,
    /// As itself: within one account that is enough.
    Itself,
}

#[derive(Clone, Debug)]
struct Statement {
    deny: bool,
    principals: Vec<Principal>,
    actions: Vec<String>,
    resources: Vec<String>,
    conditions: Vec<Condition>,
}

#[derive(Clone, Debug)]
enum Principal {
    Anyone,
    Aws(String),
    Federated(String),
}

#[derive(Clone, Debug)]
struct Condition {
    like: bool,
    negated: bool,
    key: String,
    values: Vec<String>,
}

impl Policy {
    /// Reads one.
    pub fn parse(text: &str) -> Result<Self, Malformed> {
        let document: Value = serde_json::from_str(text).map_err(|error| Malformed(error.to_string()))?;
        let fields = document.as_object().ok_or_else(|| Malformed("not an object".into()))?;
        for name in fields.keys() {
            known(name, &["Version", "Id", "Statement"])?;
        }
        if document["Version"] != "2012-10-17" {
            return Err(Malformed("Version must be 2012-10-17".into()));
        }
        let statements = match &document["Statement"] {
            Value::Array(all) if !all.is_empty() => {
                all.iter().map(Statement::read).collect::<Result<_, _>>()?
            }
            one @ Value::Object(_) => vec![Statement::read(one)?],
            _ => return Err(Malformed("Statement is missing".into())),
        };
        Ok(Self { text: text.to_owned(), statements })
    }

    /// As it was written.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// What it says as a policy of an identity or a session.
    pub fn decide(&self, ask: &Ask<'_>) -> Verdict {
        let said = self.statements.iter().filter(|statement| statement.covers(ask));
        said.map(|statement| if statement.deny { Verdict::Deny } else { Verdict::Allow })
            .max()
            .unwrap_or(Verdict::Silent)
    }

    /// What it says of `caller` as the trust policy of a role. Of those that allow, the closest name counts.
    pub fn trusts(&self, caller: &Caller, ask: &Ask<'_>) -> (Verdict, Option<Named>) {
        let (mut verdict, mut named) = (Verdict::Silent, None);
        for statement in self.statements.iter().filter(|statement| statement.covers(ask)) {
            let Some(how) = statement.principals.iter().filter_map(|one| one.names(caller)).max() else {
                continue;
            };
            if statement.deny {
                return (Verdict::Deny, None);
            }
            verdict = Verdict::Allow;
            named = named.max(Some(how));
        }
        (verdict, named)
    }
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Caller {
    /// Its ARN, as errors have it.
    pub fn arn(&self) -> &str {
        match self {
            Self::User(arn) | Self::Session { arn, .. } | Self::Federated(arn) => arn,
        }
    }

    /// The number of its account.
    pub fn account(&self) -> &str {
        account(self.arn())
    }
}

/// The number of the account in an ARN.
pub fn account(arn: &str) -> &str {
    arn.split(':').nth(4).unwrap_or_default()
}

impl Statement {
    fn read(value: &Value) -> Result<Self, Malformed> {
        let fields = value.as_object().ok_or_else(|| Malformed("a statement is not an object".into()))?;
        for name in fields.keys() {
            known(name, &["Sid", "Effect", "Principal", "Action", "Resource", "Condition"])?;
        }
        let deny = match value["Effect"].as_str() {
            Some("Allow") => false,
            Some("Deny") => true,
            _ => return Err(Malformed("Effect must be Allow or Deny".into())),
        };
        let actions = texts(&value["Action"], "Action")?.iter().map(|action| action.to_lowercase()).collect();
        let resources = match fields.get("Resource") {
            // A trust policy has none: it is about its role.
            None => vec!["*".to_owned()],
            Some(resources) => texts(resources, "Resource")?,
        };
        let principals = fields.get("Principal").map_or(Ok(Vec::new()), Principal::read)?;
        let conditions = fields.get("Condition").map_or(Ok(Vec::new()), Condition::read)?;
        Ok(Self { deny, principals, actions, resources, conditions })
    }

    fn covers(&self, ask: &Ask<'_>) -> bool {
        let action = ask.action.to_lowercase();
        self.actions.iter().any(|pattern| glob(pattern, &action))
            && self.resources.iter().any(|pattern| glob(pattern, ask.resource))
            && self.conditions.iter().all(|condition| condition.holds(ask.context))
    }
}

impl Principal {
    fn read(value: &Value) -> Result<Vec<Self>, Malformed> {
        if value == "*" {
            return Ok(vec![Self::Anyone]);
        }
        let kinds = value.as_object().ok_or_else(|| Malformed("Principal must be * or an object".into()))?;
        let mut all = Vec::new();
        for (kind, names) in kinds {
            for name in texts(names, "Principal")? {
                all.push(match kind.as_str() {
                    "AWS" if name == "*" => Self::Anyone,
                    "AWS" => Self::Aws(name),
                    "Federated" => Self::Federated(name),
                    _ => return Err(Malformed(format!("Principal {kind} is not known"))),
                });
            }
        }
        Ok(all)
    }

    /// Exactly, without patterns: AWS has none here.
    fn names(&self, caller: &Caller) -> Option<Named> {
        match (self, caller) {
            (Self::Federated(name), Caller::Federated(own)) => (name == own).then_some(Named::Itself),
            (Self::Federated(_), _) | (_, Caller::Federated(_)) => None,
            (Self::Anyone, _) => Some(Named::Account),
            (Self::Aws(name), _) if name == caller.arn() => Some(Named::Itself),
            (Self::Aws(name), Caller::Session { role, .. }) if name == role => Some(Named::Role),
            (Self::Aws(name), _) => {
                let account = caller.account();
                (name == account || *name == format!("arn:aws:iam::{account}:root")).then_some(Named::Account)
            }
        }
    }
}

impl Condition {
    fn read(value: &Value) -> Result<Vec<Self>, Malformed> {
        let operators = value.as_object().ok_or_else(|| Malformed("Condition is not an object".into()))?;
        let mut all = Vec::new();
        for (operator, keys) in operators {
            let (like, negated) = match operator.as_str() {
                "StringEquals" => (false, false),
                "StringNotEquals" => (false, true),
                "StringLike" => (true, false),
                "StringNotLike" => (true, true),
                _ => return Err(Malformed(format!("operator {operator} is not known"))),
            };
            let keys = keys.as_object().ok_or_else(|| Malformed(format!("{operator} is not an object")))?;
            for (key, values) in keys {
                all.push(Self { like, negated, key: key.to_lowercase(), values: texts(values, key)? });
            }
        }
        Ok(all)
    }

    /// A key that is not there equals nothing.
    fn holds(&self, context: &[(&str, String)]) -> bool {
        let found = context.iter().find(|(key, _)| key.eq_ignore_ascii_case(&self.key));
        let matches = found.is_some_and(|(_, actual)| {
            self.values.iter().any(|value| if self.like { glob(value, actual) } else { value == actual })
        });
        matches != self.negated
    }
}

fn known(name: &str, names: &[&str]) -> Result<(), Malformed> {
    if names.contains(&name) { Ok(()) } else { Err(Malformed(format!("{name} is not known"))) }
}

/// A text, or an array of texts.
fn texts(value: &Value, field: &str) -> Result<Vec<String>, Malformed> {
    let wrong = || Malformed(format!("{field} must be a text or a list of texts"));
    match value {
        Value::String(one) => Ok(vec![one.clone()]),
        Value::Array(many) if !many.is_empty() => {
            many.iter().map(|one| one.as_str().map(str::to_owned).ok_or_else(wrong)).collect()
        }
        _ => Err(wrong()),
    }
}

/// Whether `text` is as `pattern` says: `*` is any run of characters, `?` is any one.
fn glob(pattern: &str, text: &str) -> bool {
    let (pattern, text): (Vec<char>, Vec<char>) = (pattern.chars().collect(), text.chars().collect());
    let (mut at, mut read) = (0, 0);
    // Where to go on after the last `*` when what follows it does not fit: one character further.
    let mut star: Option<(usize, usize)> = None;
    while read < text.len() {
        match pattern.get(at) {
            Some('*') => {
                star = Some((at + 1, read));
                at += 1;
            }
            Some(&c) if c == '?' || c == text[read] => {
                at += 1;
                read += 1;
            }
            _ => match star {
                None => return false,
                Some((after, from)) => {
                    star = Some((after, from + 1));
                    at = after;
                    read = from + 1;
                }
            },
        }
    }
    pattern[at..].iter().all(|c| *c == '*')
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROLE: &str = "arn:aws:iam::111122223333:role/node";

    fn session() -> Caller {
        Caller::Session { arn: "arn:aws:sts::111122223333:assumed-role/node/s".into(), role: ROLE.into() }
    }

    fn put<'a>(resource: &'a str) -> Ask<'a> {
        Ask { action: "s3:PutObject", resource, context: &[] }
    }

    #[test]
    fn patterns_are_of_stars_and_question_marks() {
        for (pattern, text, fits) in [
            ("*", "", true),
            ("a*c", "abbc", true),
            ("a*c", "abbcd", false),
            ("a?c", "abc", true),
            ("a?c", "ac", false),
            ("*x*y", "1x2x3y", true),
            ("arn:aws:s3:::b/*", "arn:aws:s3:::b", false),
        ] {
            assert_eq!(glob(pattern, text), fits, "{pattern} {text}");
        }
    }

    #[test]
    fn a_deny_outweighs_every_allow() {
        let policy = Policy::parse(
            r#"{"Version":"2012-10-17","Statement":[
                {"Effect":"Allow","Action":"s3:*","Resource":"*"},
                {"Effect":"Deny","Action":"S3:putobject","Resource":"arn:aws:s3:::b/secret/*"}]}"#,
        )
        .expect("a policy");
        assert_eq!(policy.decide(&put("arn:aws:s3:::b/x")), Verdict::Allow);
        assert_eq!(policy.decide(&put("arn:aws:s3:::b/secret/x")), Verdict::Deny);
        let other = Ask { action: "kms:Decrypt", resource: "*", context: &[] };
        assert_eq!(policy.decide(&other), Verdict::Silent);
    }

    #[test]
    fn trust_is_exact_and_the_closest_name_counts() {
        let trust = |principal: &str| {
            let text = format!(
                r#"{{"Version":"2012-10-17","Statement":{{"Effect":"Allow","Principal":{{"AWS":{principal}}},"Action":"sts:AssumeRole"}}}}"#
            );
            let ask =
                Ask { action: "sts:AssumeRole", resource: "arn:aws:iam::111122223333:role/x", context: &[] };
            Policy::parse(&text).expect("a policy").trusts(&session(), &ask).1
        };
        assert_eq!(trust(r#""arn:aws:iam::111122223333:root""#), Some(Named::Account));
        assert_eq!(trust(&format!(r#"["{ROLE}","111122223333"]"#)), Some(Named::Role));
        assert_eq!(trust(r#""arn:aws:sts::111122223333:assumed-role/node/s""#), Some(Named::Itself));
        for other in [
            "arn:aws:iam::111122223333:role/nod",
            "arn:aws:iam::444455556666:root",
            "arn:aws:iam::111122223333:role/*",
        ] {
            assert_eq!(trust(&format!("{other:?}")), None, "{other}");
        }
    }

    #[test]
    fn what_it_does_not_know_it_does_not_read() {
        for text in [
            r#"{"Version":"2008-10-17","Statement":[]}"#,
            r#"{"Version":"2012-10-17","Statement":{"Effect":"Allow","NotAction":"s3:*","Resource":"*"}}"#,
            r#"{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"*","Resource":"*","Condition":{"IpAddress":{"aws:SourceIp":"127.0.0.1"}}}}"#,
            "no",
        ] {
            assert!(Policy::parse(text).is_err(), "{text}");
        }
    }
}
