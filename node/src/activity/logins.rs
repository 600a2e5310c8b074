//! Ends the sessions of roles that may not log in any more, if the cluster setting says so.
//!
//! Without it a session whose role was dropped stays, as in the original, and may do nothing that public may not
//! (authorization spec, T-26). With it, each node looks at its own sessions whenever it has published a view.

use std::collections::BTreeMap;
use std::time::Duration;

use grantd_catalog::id::{PrincipalId, Version};
use grantd_catalog::refusal::Refusal;
use grantd_catalog::role::ValidUntil;
use grantd_catalog::setting::Setting;
use grantd_catalog::view::View;
use tokio::sync::watch;

use super::{ADMIN_SHUTDOWN, Activity, Proof, since_epoch};

/// How often VALID UNTIL is looked at: it passes without a new view.
const EXPIRY_INTERVAL: Duration = Duration::from_secs(1);

/// Looks after each view, and as time passes, until `versions` ends. `view` gives the newest one.
pub async fn watch(
    activity: Activity,
    mut versions: watch::Receiver<Version>,
    view: impl Fn() -> std::sync::Arc<View> + Send,
) {
    loop {
        let now_micros = i64::try_from(since_epoch().as_micros()).unwrap_or(i64::MAX);
        activity.end_lost_logins(&view(), now_micros);
        match tokio::time::timeout(EXPIRY_INTERVAL, versions.changed()).await {
            Ok(Ok(())) | Err(_) => {}
            // The node stops.
            Ok(Err(_)) => return,
        }
    }
}

fn is_on(view: &View) -> bool {
    view.state().setting(Setting::EndSessionsOnLoginLoss) == "true"
}

impl Activity {
    /// Ends each session whose role could not begin one on `view`, if the setting is on. Answers how many.
    ///
    /// Cost: one lookup for each role that is logged in.
    pub fn end_lost_logins(&self, view: &View, now_micros: i64) -> usize {
        if !is_on(view) {
            return 0;
        }
        let mut reasons: BTreeMap<(PrincipalId, bool), Option<Refusal>> = BTreeMap::new();
        let mut ended = 0;
        for live in &self.inner.sessions {
            let (principal, proof) = (live.newcomer.principal, live.newcomer.proof);
            let reason = reasons
                .entry((principal, proof == Proof::Password))
                .or_insert_with(|| lost(view, principal, live.newcomer.user.as_str(), proof, now_micros));
            if let (Some(reason), None) = (reason, live.ended.get()) {
                tracing::info!(session = %live.id, user = %live.newcomer.user, reason = %reason.message, "session ended");
                live.end(reason.clone());
                ended += 1;
            }
        }
        ended
    }
}

/// Why a role could not log in now.
fn lost(view: &View, principal: PrincipalId, user: &str, proof: Proof, now_micros: i64) -> Option<Refusal> {
    let ended = |why: String| Some(Refusal::new(ADMIN_SHUTDOWN, format!("terminating connection: {why}")));
    let state = view.state();
    let Some(record) = state.principal(principal) else { return ended(format!("role {user} was dropped")) };
    if let Err(refusal) = state.may_log_in(principal) {
        return ended(refusal.message);
    }
    match (proof, record.valid_until) {
        (Proof::Password, Some(ValidUntil::At(until))) if until <= now_micros => {
            ended(format!("the password of role {user} has expired"))
        }
        (Proof::Certificate | Proof::Password, _) => None,
    }
}
