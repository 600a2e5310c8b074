//! Session policies: what the last session of a chain may do at most, whatever its role may do.

use serde_json::{Value, json};

/// What a session is confined to.
#[derive(Clone, Copy, Debug)]
pub(super) enum Scope<'a> {
    /// Objects of a bucket below a prefix.
    Objects {
        /// The bucket.
        bucket: &'a str,
        /// Folders; empty for the whole bucket.
        prefix: &'a str,
        /// Whether they may be written, or only read and listed.
        write: bool,
    },
    /// A key of KMS.
    Key {
        /// Its ARN, id or alias.
        key: &'a str,
        /// Its region.
        region: &'a str,
    },
}

impl Scope<'_> {
    /// The policy, in the role's partition of AWS. None: it would be longer than AWS takes.
    pub(super) fn policy(self, role: &str) -> Option<String> {
        let partition = role.split(':').nth(1).unwrap_or("aws");
        let statements = match self {
            Self::Objects { bucket, prefix, write } => objects(partition, bucket, prefix, write),
            Self::Key { key, region } => vec![of_key(partition, key, region)],
        };
        let policy = json!({ "Version": "2012-10-17", "Statement": statements }).to_string();
        (policy.len() <= POLICY_MAX).then_some(policy)
    }
}

fn objects(partition: &str, bucket: &str, prefix: &str, write: bool) -> Vec<Value> {
    let below = if prefix.is_empty() { "*".to_owned() } else { format!("{}/*", literal(prefix)) };
    let mut actions = vec!["s3:GetObject"];
    if write {
        actions.extend([
            "s3:PutObject",
            "s3:DeleteObject",
            "s3:AbortMultipartUpload",
            "s3:ListMultipartUploadParts",
        ]);
    }
    let mut list = json!({
        "Effect": "Allow",
        "Action": ["s3:ListBucket"],
        "Resource": format!("arn:{partition}:s3:::{bucket}"),
    });
    if !prefix.is_empty() {
        list["Condition"] = json!({ "StringLike": { "s3:prefix": below } });
    }
    vec![
        json!({ "Effect": "Allow", "Action": actions, "Resource": format!("arn:{partition}:s3:::{bucket}/{below}") }),
        list,
        // A bucket may encrypt by default, which the URI does not say. Through S3 only, so only for the objects above.
        json!({
            "Effect": "Allow",
            "Action": ["kms:Decrypt", "kms:GenerateDataKey"],
            "Resource": "*",
            "Condition": { "StringLike": { "kms:ViaService": "s3.*" } },
        }),
    ]
}

fn of_key(partition: &str, key: &str, region: &str) -> Value {
    let mut statement =
        json!({ "Effect": "Allow", "Action": ["kms:Encrypt", "kms:Decrypt", "kms:DescribeKey"] });
    let alias = key.find("alias/").filter(|at| *at == 0 || key.starts_with("arn:")).map(|at| &key[at..]);
    if let Some(alias) = alias {
        // An alias is no resource of these actions.
        statement["Resource"] = json!("*");
        statement["Condition"] = json!({ "StringEquals": { "kms:RequestAlias": alias } });
    } else if key.starts_with("arn:") {
        statement["Resource"] = json!(literal(key));
    } else {
        statement["Resource"] = json!(format!("arn:{partition}:kms:{region}:*:key/{}", literal(key)));
    }
    statement
}

/// A text that a policy takes as it is: `*`, `?` and `$` mean something there.
fn literal(text: &str) -> String {
    let mut literal = String::with_capacity(text.len());
    for char in text.chars() {
        match char {
            '*' | '?' | '$' => literal.extend(["${", char.encode_utf8(&mut [0; 4]), "}"]),
            _ => literal.push(char),
        }
    }
    literal
}

/// The longest policy that AWS takes with an assumption.
const POLICY_MAX: usize = 2_048;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ROLE: &str = "arn:aws:iam::111122223333:role/r";

    fn of(scope: Scope<'_>, role: &str) -> Value {
        serde_json::from_str(&scope.policy(role).unwrap()).unwrap()
    }

    #[test]
    fn a_session_may_reach_what_is_below_the_prefix_and_nothing_beside_it() {
        let policy = of(Scope::Objects { bucket: "b", prefix: "x/y", write: true }, ROLE);
        assert_eq!(policy["Statement"][0]["Resource"], "arn:aws:s3:::b/x/y/*");
        assert_eq!(policy["Statement"][1]["Condition"]["StringLike"]["s3:prefix"], "x/y/*");
        let policy = of(Scope::Objects { bucket: "b", prefix: "", write: true }, ROLE);
        assert_eq!(policy["Statement"][0]["Resource"], "arn:aws:s3:::b/*");
        assert!(policy["Statement"][1].get("Condition").is_none());
    }

    #[test]
    fn who_reads_may_not_write() {
        let policy = of(Scope::Objects { bucket: "b", prefix: "x", write: false }, ROLE).to_string();
        assert!(policy.contains("s3:GetObject") && policy.contains("s3:ListBucket"), "{policy}");
        assert!(!policy.contains("Put") && !policy.contains("Delete"), "{policy}");
    }

    #[test]
    fn the_partition_is_the_role_s() {
        for partition in ["aws", "aws-cn", "aws-us-gov"] {
            let role = format!("arn:{partition}:iam::111122223333:role/r");
            let policy = of(Scope::Objects { bucket: "b", prefix: "", write: false }, &role);
            assert_eq!(policy["Statement"][1]["Resource"], format!("arn:{partition}:s3:::b"));
        }
    }

    #[test]
    fn what_means_something_in_a_policy_is_taken_as_it_is_written() {
        let policy = of(Scope::Objects { bucket: "b", prefix: "a*?$b", write: false }, ROLE);
        assert_eq!(policy["Statement"][0]["Resource"], "arn:aws:s3:::b/a${*}${?}${$}b/*");
    }

    #[test]
    fn a_key_is_known_by_arn_id_or_alias() {
        let arn = "arn:aws:kms:eu-west-1:111122223333:key/1234";
        let resource = |key: &str| of(Scope::Key { key, region: "eu-west-1" }, ROLE)["Statement"][0].clone();
        assert_eq!(resource(arn)["Resource"], arn);
        assert_eq!(resource("1234")["Resource"], "arn:aws:kms:eu-west-1:*:key/1234");
        assert_eq!(resource("alias/a")["Condition"]["StringEquals"]["kms:RequestAlias"], "alias/a");
    }

    proptest! {
        /// A policy is one that AWS takes, or there is none.
        #[test]
        fn a_policy_is_json_of_at_most_2048_bytes(prefix in ".{0,1200}") {
            if let Some(policy) = (Scope::Objects { bucket: "bucket", prefix: &prefix, write: true }).policy(ROLE) {
                prop_assert!(policy.len() <= 2_048);
                prop_assert!(serde_json::from_str::<Value>(&policy).is_ok());
            } else {
                prop_assert!(prefix.len() > 100);
            }
        }
    }
}
