//! Who may ask as whom: the kernel says which user of the operating system a connection is of, and that user may ask as the
//! role that is called the same. The node's own user may ask as any role, and so may the superuser of the operating system:
//! they can read and change all that the node has without asking it. Source: PostgreSQL's `peer`; ADR 18.

use grantd_catalog::id::{PrincipalId, Version};
use grantd_catalog::name::RoleName;
use grantd_catalog::refusal::{Refusal, state};
use grantd_catalog::view::View;
use nix::unistd::{Uid, User};

use crate::authn::{Login, decide_console_login};
use crate::check::may_ask_about_all;
use crate::sql::system::context::now_micros;

/// The superuser of the operating system.
const SUPERUSER: u32 = 0;

/// Who a connection asks as, and what it may ask.
#[derive(Debug)]
pub(super) struct Asker {
    pub(super) principal: PrincipalId,
    role: RoleName,
    /// Whether it may ask about everybody, as of a version.
    decided: Option<(Version, bool)>,
}

/// The role that a connection of user `uid` asks as, which wrote `role`, or nothing.
///
/// Errors: 28000.
pub(super) async fn role_of(uid: u32, own_uid: u32, role: &str) -> Result<RoleName, Refusal> {
    let trusted = uid == own_uid || uid == SUPERUSER;
    if trusted && !role.is_empty() {
        return Ok(RoleName::normalize(role));
    }
    let called = user_name(uid).await.map(|name| RoleName::normalize(&name));
    match called {
        Some(called) if role.is_empty() || called == RoleName::normalize(role) => Ok(called),
        Some(called) => Err(not_your_role(&RoleName::normalize(role)).with_detail(format!(
            "The connecting process runs as user \"{called}\" of the operating system, who may ask as role \"{called}\"."
        ))),
        None => Err(not_your_role(&RoleName::normalize(role))
            .with_detail(format!("The operating system has no name for user {uid}, which the connecting process runs as."))),
    }
}

fn not_your_role(role: &RoleName) -> Refusal {
    Refusal::new(state::INVALID_AUTHORIZATION, format!("peer authentication failed for role \"{role}\""))
        .with_hint("Run the client as the user who is called like the role, or ask over HTTPS or SQL.")
}

/// What the operating system calls a user. It may ask a directory on the network.
async fn user_name(uid: u32) -> Option<String> {
    let found = tokio::task::spawn_blocking(move || User::from_uid(Uid::from_raw(uid))).await;
    found.ok()?.ok()?.map(|user| user.name)
}

impl Asker {
    /// Lets `role` in, if it exists and may log in.
    ///
    /// Errors: 28000.
    pub(super) fn admit(view: &View, role: &RoleName) -> Result<Self, Refusal> {
        match decide_console_login(view, role, now_micros()) {
            Login::Allowed(candidate) => {
                Ok(Self { principal: candidate.principal, role: role.clone(), decided: None })
            }
            Login::Forbidden(refusal) => Err(refusal),
            Login::Unknown => {
                Err(Refusal::new(state::INVALID_AUTHORIZATION, format!("role \"{role}\" does not exist"))
                    .with_hint("Make it with CREATE USER, or ask as another role."))
            }
        }
    }

    /// Whether it may ask about everybody. Decided again when the version is another one.
    ///
    /// Errors: 28000, it may not log in any more; then the connection ends.
    pub(super) fn sees_all(&mut self, view: &View) -> Result<bool, Refusal> {
        if let Some((version, all)) = self.decided
            && version == view.version()
        {
            return Ok(all);
        }
        // By the name, and then the id: a role that was dropped and made again is another one.
        match Self::admit(view, &self.role) {
            Ok(now) if now.principal == self.principal => {}
            Ok(_) | Err(_) => {
                let message =
                    format!("role \"{}\" was dropped, renamed, or may not log in any more", self.role);
                return Err(Refusal::new(state::INVALID_AUTHORIZATION, message)
                    .with_hint("Connect again as a role that may."));
            }
        }
        let all = may_ask_about_all(view, self.principal);
        self.decided = Some((view.version(), all));
        Ok(all)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Nobody has it.
    const NOBODYS_UID: u32 = 4_000_000_123;

    #[tokio::test]
    async fn the_nodes_own_user_asks_as_anybody_and_others_as_themselves() {
        let role = |text: &str| RoleName::normalize(text);
        assert_eq!(role_of(1_000, 1_000, "Bob").await.unwrap(), role("bob"));
        assert_eq!(role_of(0, 1_000, "bob").await.unwrap(), role("bob"));
        // User 0 has a name everywhere; here it is not the node's, and names no role.
        assert_eq!(role_of(0, 1_000, "").await.unwrap(), role("root"));
        let daemon = User::from_name("daemon").unwrap().expect("every system has it").uid.as_raw();
        assert_eq!(role_of(daemon, 1_000, "").await.unwrap(), role("daemon"));
        assert_eq!(role_of(daemon, 1_000, "DAEMON").await.unwrap(), role("daemon"));
        let refused = role_of(daemon, 1_000, "root").await.unwrap_err();
        assert_eq!(refused.code, state::INVALID_AUTHORIZATION);
        assert!(refused.detail.unwrap().contains("\"daemon\""));
        assert!(role_of(NOBODYS_UID, 1_000, "root").await.is_err());
        assert!(role_of(NOBODYS_UID, 1_000, "").await.is_err());
    }
}
