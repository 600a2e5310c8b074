//! GRANT role TO member, and its REVOKE. Source: authorization spec, D.

use crate::command::RoleSpec;
use crate::id::PrincipalId;
use crate::name::RoleName;
use crate::refusal::{self, Refusal};
use crate::role::RoleOption;
use crate::state::Work;

/// Words of role options that are no flags.
const OTHER_OPTION_WORDS: [&str; 1] = ["PASSWORD"];

impl Work<'_> {
    pub(super) fn grant_roles(
        &mut self,
        roles: &[RoleName],
        members: &[RoleSpec],
        admin_option: bool,
    ) -> Result<(), Refusal> {
        let (roles, members) = self.resolve_edges(roles, members, |name| {
            if is_option_word(name) {
                refusal::no_such_role_but_option(name)
            } else {
                refusal::no_such_role(name)
            }
        })?;
        for role in &roles {
            for member in &members {
                self.grant_role(*role, *member, admin_option)?;
            }
        }
        Ok(())
    }

    pub(super) fn revoke_roles(
        &mut self,
        roles: &[RoleName],
        members: &[RoleSpec],
        admin_option_only: bool,
    ) -> Result<(), Refusal> {
        let (roles, members) = self.resolve_edges(roles, members, refusal::no_such_role)?;
        for role in &roles {
            for member in &members {
                if (*role, *member) == (PrincipalId::ADMIN, PrincipalId::ROOT) {
                    return Err(refusal::root_stays_admin());
                }
                if !admin_option_only {
                    self.remove_membership(*role, *member);
                } else if self.state.members.contains_key(&(*role, *member)) {
                    self.put_membership(*role, *member, false);
                }
            }
        }
        Ok(())
    }

    /// Adds one edge, or its ADMIN OPTION; never takes that away (T-21). Edges that the statement added before count
    /// for the check of cycles.
    fn grant_role(
        &mut self,
        role: PrincipalId,
        member: PrincipalId,
        admin_option: bool,
    ) -> Result<(), Refusal> {
        if role == member {
            return Err(refusal::member_of_itself(&self.state.principal_name(role)));
        }
        if self.state.index.acts_as(role, member) {
            let name = |id| self.state.principal_name(id);
            return Err(refusal::membership_cycle(&name(role), &name(member)));
        }
        let held = self.state.members.get(&(role, member)).copied();
        if held.is_none() || admin_option {
            self.put_membership(role, member, admin_option);
        }
        Ok(())
    }

    /// Who is meant, after the checks that GRANT and REVOKE share: that who acts administers every role, even one that
    /// does not exist (T-19), that the roles exist, and that the members do.
    fn resolve_edges(
        &self,
        roles: &[RoleName],
        members: &[RoleSpec],
        missing: impl Fn(&RoleName) -> Refusal,
    ) -> Result<(Vec<PrincipalId>, Vec<PrincipalId>), Refusal> {
        self.check_list(roles.len())?;
        self.check_list(members.len())?;
        for name in roles {
            let role = self.state.principal_id(name);
            let of_admin = role == Some(PrincipalId::ADMIN);
            let by_rank = self.is_admin() && !of_admin;
            let by_option = role.is_some_and(|role| self.state.admin_option(self.actor.current, role));
            if !by_rank && !by_option {
                return Err(refusal::not_role_admin(&self.user(), name, of_admin));
            }
        }
        let roles: Result<Vec<_>, _> =
            roles.iter().map(|name| self.state.principal_id(name).ok_or_else(|| missing(name))).collect();
        let roles = roles?;
        let members: Result<Vec<_>, _> =
            members.iter().map(|spec| self.state.resolve_role(self.actor, spec)).collect();
        Ok((roles, members?))
    }
}

fn is_option_word(name: &RoleName) -> bool {
    let word = name.as_str();
    RoleOption::from_word(word).is_some()
        || OTHER_OPTION_WORDS.iter().any(|other| other.eq_ignore_ascii_case(word))
}
