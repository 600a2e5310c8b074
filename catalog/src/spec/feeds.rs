//! Who may make a changefeed, as the cloud-jobs spec says it in B.7.5.

use crate::id::{ObjectId, PrincipalId};
use crate::privilege::Privilege;
use crate::refusal::Refusal;
use crate::require::FeedTo;
use crate::role::RoleOption;
use crate::setting::Setting;
use crate::spec::{Model, say};

impl Model {
    pub(super) fn check_changefeed(
        &self,
        user: PrincipalId,
        tables: &[ObjectId],
        to: FeedTo,
    ) -> Result<(), Refusal> {
        if self.is_admin(user) {
            return Ok(());
        }
        let (mut select, mut feed) = (true, true);
        for table in tables {
            if !self.objects.iter().any(|known| known.id == *table) {
                return Err(say::object_is_gone(*table));
            }
            select &= self.holds(user, *table, Privilege::Select);
            feed &= self.holds(user, *table, Privilege::Changefeed);
        }
        let name = self.principal_name(user);
        let controls = self.has_option(user, RoleOption::ControlChangefeed);
        match to {
            FeedTo::Client if select || feed => Ok(()),
            FeedTo::Client => Err(say::feeds("", &name, "SELECT", "a core")),
            FeedTo::Uri | FeedTo::Connection if controls && select => Ok(()),
            FeedTo::Uri | FeedTo::Connection if controls => {
                Err(say::feeds(" with CONTROLCHANGEFEED role option", &name, "SELECT", "an enterprise"))
            }
            FeedTo::Uri | FeedTo::Connection if !feed => {
                Err(say::feeds("", &name, "CHANGEFEED", "an enterprise"))
            }
            FeedTo::Uri if self.is_on(Setting::FeedsRequireConnection) => Err(say::feeds_connections_only()),
            FeedTo::Uri | FeedTo::Connection => Ok(()),
        }
    }
}
