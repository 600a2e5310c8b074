//! Who may make a changefeed. Source: cloud-jobs spec, B.7.5.

use crate::id::{ObjectId, PrincipalId};
use crate::privilege::Privilege;
use crate::refusal::{self, Refusal};
use crate::require::FeedTo;
use crate::role::RoleOption;
use crate::setting::Setting;
use crate::state::State;

impl State {
    /// An admin may. Others need CHANGEFEED on all tables, and an external connection where the cluster is set so; to
    /// themselves SELECT is as good. Who has the role option CONTROLCHANGEFEED needs SELECT on all instead.
    pub(super) fn check_changefeed(
        &self,
        principal: PrincipalId,
        tables: &[ObjectId],
        to: FeedTo,
    ) -> Result<(), Refusal> {
        if self.index.is_admin(principal) {
            return Ok(());
        }
        if let Some(gone) = tables.iter().find(|table| self.object(**table).is_none()) {
            return Err(refusal::object_gone(*gone));
        }
        let all = |privilege| tables.iter().all(|table| self.index.holds(principal, *table, privilege));
        let user = || self.principal_name(principal);
        let may_feed = all(Privilege::Changefeed);
        if to == FeedTo::Client {
            let may = may_feed || all(Privilege::Select);
            return may.then_some(()).ok_or_else(|| refusal::may_not_feed_client(&user()));
        }
        if self.has_option(principal, RoleOption::ControlChangefeed) {
            let may = all(Privilege::Select);
            return may.then_some(()).ok_or_else(|| refusal::controls_and_may_not_feed(&user()));
        }
        if !may_feed {
            return Err(refusal::may_not_feed(&user()));
        }
        if to != FeedTo::Connection && self.setting_is_on(Setting::FeedsRequireConnection) {
            return Err(refusal::may_feed_connections_only());
        }
        Ok(())
    }
}
