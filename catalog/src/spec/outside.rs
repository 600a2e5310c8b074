//! What a URI of something outside needs, as the cloud-jobs spec says it in B.7.1 and B.7.2, and ADR 0021 of roles.

use crate::id::{ObjectId, PrincipalId};
use crate::name::Name;
use crate::privilege::Privilege;
use crate::refusal::Refusal;
use crate::require::UriAccess;
use crate::setting::Setting;
use crate::spec::{Model, say};

impl Model {
    pub(super) fn check_outside(&self, user: PrincipalId, access: &UriAccess) -> Result<(), Refusal> {
        let provider = access.provider.as_str();
        // B.7.2: USAGE on the connection.
        if let Some(connection) = &access.connection {
            let connection = self.external_connection(connection)?;
            self.check_privilege(user, connection, Privilege::Usage)?;
        }
        // B.7.1: the admin role, or the privilege.
        let privileged = self.holds(user, ObjectId::CLUSTER, Privilege::ExternalIoImplicitAccess);
        if access.only_nodes && !privileged {
            return Err(say::may_not_go_outside(provider));
        }
        if !access.implicit {
            return Ok(());
        }
        let lacking: Vec<&Name> = access.roles.iter().filter(|role| !self.may_take_on(user, role)).collect();
        let name = self.principal_name(user);
        if self.is_on(Setting::IamRolesRequireUsage) {
            if self.is_admin(user) {
                return Ok(());
            }
            if access.roles.is_empty() {
                return Err(say::may_not_go_without_role(provider));
            }
            return match lacking.first() {
                Some(role) => Err(say::lacks_iam_role(&name, role, self.find_iam_role(role).is_some())),
                None => Ok(()),
            };
        }
        let by_roles = !access.roles.is_empty() && lacking.is_empty();
        if privileged || by_roles {
            return Ok(());
        }
        Err(match lacking.first() {
            Some(role) => say::may_not_go_outside_but_by(provider, role, &name),
            None => say::may_not_go_outside(provider),
        })
    }

    fn may_take_on(&self, user: PrincipalId, role: &Name) -> bool {
        match self.find_iam_role(role) {
            Some(role) => self.holds(user, role, Privilege::Usage),
            None => false,
        }
    }
}
