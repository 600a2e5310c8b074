//! Roles of clouds, and what a URI of something outside needs. Such a role is in no database, and is all in its name: an ARN,
//! or the e-mail address of a service account. Who made one owns it and holds a stored ALL, as with an external connection.
//! Source: cloud-jobs spec, B.7.1, B.7.2; ADR 0021.

use crate::id::{ObjectId, PrincipalId};
use crate::name::{Name, RoleName};
use crate::object::{Body, IAM_ROLE_BYTES_MAX, is_iam_role};
use crate::privilege::{ObjectKind, Privilege};
use crate::refusal::{self, Refusal};
use crate::require::UriAccess;
use crate::setting::Setting;
use crate::state::{State, Work};

impl State {
    /// Whether `principal` may use a URI that needs `access`; if not, what the client is told.
    ///
    /// An external connection is enough for all that its URI needs: who stored it there was asked. Where only nodes get,
    /// EXTERNALIOIMPLICITACCESS leads. To what a node itself is in a cloud lead USAGE on every role that is taken on with it,
    /// or EXTERNALIOIMPLICITACCESS; the latter alone does not where the cluster is set so.
    pub(super) fn check_outside(&self, principal: PrincipalId, access: &UriAccess) -> Result<(), Refusal> {
        if let Some(connection) = &access.connection {
            let id = self.resolve_external_connection(connection)?;
            self.check_privilege(principal, id, Privilege::Usage)?;
        }
        let is_free = self.index.holds(principal, ObjectId::CLUSTER, Privilege::ExternalIoImplicitAccess);
        if access.only_nodes && !is_free {
            return Err(refusal::may_not_go_outside(&access.provider));
        }
        if !access.implicit || self.index.is_admin(principal) {
            return Ok(());
        }
        let user = || self.principal_name(principal);
        let is_mandatory = self.setting_is_on(Setting::IamRolesRequireUsage);
        match access.roles.iter().find(|role| !self.may_take_on(principal, role)) {
            None if !access.roles.is_empty() => Ok(()),
            None if is_mandatory => Err(refusal::may_not_go_without_role(&access.provider)),
            Some(role) if is_mandatory => Err(self.lacks_iam_role(&user(), role)),
            None | Some(_) if is_free => Ok(()),
            None => Err(refusal::may_not_go_outside(&access.provider)),
            Some(role) => {
                Err(refusal::may_not_go_outside(&access.provider)
                    .with_hint(refusal::hint_of_role(role, &user())))
            }
        }
    }

    fn may_take_on(&self, principal: PrincipalId, role: &Name) -> bool {
        self.iam_role(role).is_some_and(|id| self.index.holds(principal, id, Privilege::Usage))
    }

    fn lacks_iam_role(&self, user: &RoleName, role: &Name) -> Refusal {
        let lacks = refusal::lacks_privilege(user, Privilege::Usage, ObjectKind::IamRole, role);
        lacks.with_hint(match self.iam_role(role) {
            Some(_) => refusal::hint_of_setting(),
            None => refusal::hint_to_create(role),
        })
    }
}

impl Work<'_> {
    /// [`State::check_outside`] of who acts, for several URIs.
    pub(super) fn check_outside(&self, access: &[UriAccess]) -> Result<(), Refusal> {
        access.iter().try_for_each(|access| self.state.check_outside(self.actor.current, access))
    }

    pub(super) fn create_iam_role(&mut self, name: &Name, if_not_exists: bool) -> Result<(), Refusal> {
        if !self.is_admin() {
            return Err(refusal::admin_only("CREATE IAM ROLE"));
        }
        check_iam_role(name)?;
        if self.state.iam_role(name).is_some() {
            return self.taken(refusal::iam_role_exists(name), if_not_exists);
        }
        self.create_outside(name, Body::IamRole)
    }

    /// Needs DROP on each. What was granted on them goes with them; connections whose URIs name them stay.
    pub(super) fn drop_iam_roles(&mut self, names: &[Name], if_exists: bool) -> Result<(), Refusal> {
        self.drop_outside(names, if_exists, State::resolve_iam_role)
    }
}

/// That a new name is one of a role, within bounds.
fn check_iam_role(name: &Name) -> Result<(), Refusal> {
    let bytes = name.as_str().len();
    if bytes > IAM_ROLE_BYTES_MAX {
        return Err(refusal::text_too_long("name of the IAM role", bytes, IAM_ROLE_BYTES_MAX));
    }
    if is_iam_role(name.as_str()) { Ok(()) } else { Err(refusal::not_an_iam_role(name)) }
}
