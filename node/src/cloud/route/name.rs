//! Names of sessions, and of the user behind one, as AWS takes them and its audit log shows them.

use std::fmt::Write as _;

use super::Who;

/// The name of sessions that all tasks of a node share: `grantd-<cluster>-<node>`.
pub fn node_session(cluster: &str, node: u64) -> String {
    let cluster: String = cluster.chars().filter(char::is_ascii_alphanumeric).take(CLUSTER_DIGITS).collect();
    session(&format!("grantd-{cluster}-{node}"))
}

/// The name of a task's own session: `grantd-<cluster>-<node>-<task>`.
pub(super) fn task_session(who: &Who<'_>) -> String {
    session(&format!("{}-{}", node_session(who.cluster, who.node), who.task))
}

/// A text as the name of a session: what AWS does not take becomes `_`, and it ends where AWS ends it.
pub(super) fn session(text: &str) -> String {
    let mut name: String =
        text.chars().map(|char| if is_taken(char) { char } else { '_' }).take(NAME_MAX).collect();
    while name.len() < NAME_MIN {
        name.push('_');
    }
    name
}

/// A user as a source identity. Two users never have the same one, unless their names are too long: what AWS does not take is
/// written as `=` and its hexadecimal digits.
pub(super) fn source_identity(user: &str) -> String {
    let mut name = String::new();
    for char in user.chars() {
        if is_taken(char) && char != '=' {
            name.push(char);
        } else {
            let mut bytes = [0; 4];
            for byte in char.encode_utf8(&mut bytes).bytes() {
                let _infallible = write!(name, "={byte:02X}");
            }
        }
    }
    name.truncate(NAME_MAX);
    while name.len() < NAME_MIN {
        name.push('=');
    }
    name
}

/// `[\w+=,.@-]` of AWS, where `\w` is of ASCII.
fn is_taken(char: char) -> bool {
    char.is_ascii_alphanumeric() || "_+=,.@-".contains(char)
}

/// Bounds of AWS for both kinds of names.
const NAME_MIN: usize = 2;
const NAME_MAX: usize = 64;

/// How much of the cluster's id a name has: enough to tell the clusters of one account apart.
const CLUSTER_DIGITS: usize = 8;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn is_name(name: &str) -> bool {
        (NAME_MIN..=NAME_MAX).contains(&name.len()) && name.chars().all(is_taken)
    }

    /// Case 92.
    #[test]
    fn a_task_s_session_names_cluster_node_and_task() {
        let who = Who { cluster: "0a1b2c3d-4e5f-6071", node: 3, task: "job 917", user: "u" };
        assert_eq!(node_session(who.cluster, who.node), "grantd-0a1b2c3d-3");
        assert_eq!(task_session(&who), "grantd-0a1b2c3d-3-job_917");
    }

    proptest! {
        /// Case 92.
        #[test]
        fn every_name_is_one_that_aws_takes(cluster in ".{0,40}", node: u64, task in ".{0,80}", user in ".{0,80}") {
            let who = Who { cluster: &cluster, node, task: &task, user: &user };
            prop_assert!(is_name(&task_session(&who)));
            prop_assert!(is_name(&source_identity(&user)), "{}", source_identity(&user));
        }

        #[test]
        fn two_users_have_two_source_identities(one in "[a-b=_ é]{1,6}", other in "[a-b=_ é]{1,6}") {
            prop_assert_eq!(one == other, source_identity(&one) == source_identity(&other));
        }
    }
}
