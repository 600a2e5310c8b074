//! CREATE, ALTER and DROP ROLE (C, F.5), and memberships (D).

use crate::command::{Actor, RoleOptionClause, RoleSpec};
use crate::id::{ObjectId, PrincipalId};
use crate::name::{RoleName, RoleNameFault};
use crate::privilege::{ObjectKind, Privilege};
use crate::refusal::Refusal;
use crate::role::RoleOption;
use crate::setting::Setting;
use crate::spec::{Model, ModelEdge, ModelPrincipal, Told, say};
use crate::system;

impl Model {
    /// Whether an existing principal may open an SQL session (C.3): root always; else neither option nor privilege may
    /// forbid it.
    pub fn may_log_in(&self, principal: PrincipalId) -> Result<(), Refusal> {
        let options = self.principals.iter().find(|known| known.id == principal).map(|known| &known.options);
        let forbidden = options.is_some_and(|options| {
            options.contains(&RoleOption::NoLogin) || options.contains(&RoleOption::NoSqlLogin)
        }) || self.holds(principal, ObjectId::CLUSTER, Privilege::NoSqlLogin);
        if forbidden && principal != PrincipalId::ROOT {
            return Err(say::no_login(&self.principal_name(principal)));
        }
        Ok(())
    }

    pub(super) fn create_role(
        &mut self,
        actor: Actor,
        name: &RoleSpec,
        is_role: bool,
        if_not_exists: bool,
        options: &[RoleOptionClause],
    ) -> Result<Told, Refusal> {
        self.check_option(actor.current, RoleOption::CreateRole)?;
        check_option_list(options)?;
        let no_login = options.contains(&RoleOptionClause::Flag(RoleOption::NoLogin, true));
        let login = options.contains(&RoleOptionClause::Flag(RoleOption::NoLogin, false));
        let ends_without_login = no_login || (is_role && !login);
        if names_a_login_option(options) || !ends_without_login {
            self.check_option(actor.current, RoleOption::CreateLogin)?;
        }
        let name = match name {
            RoleSpec::Name(name) => name,
            RoleSpec::CurrentUser => return Err(say::special_as_new_name("CURRENT_USER")),
            RoleSpec::SessionUser => return Err(say::special_as_new_name("SESSION_USER")),
        };
        name.check_new().map_err(|fault| say::bad_role_name(name, fault))?;
        if self.find_principal(name).is_some() {
            return if if_not_exists { Ok(Told::default()) } else { Err(say::role_exists(name)) };
        }
        let mut made = ModelPrincipal {
            id: PrincipalId(self.next_principal),
            name: name.clone(),
            is_role,
            options: Vec::new(),
            password: None,
            valid_until: None,
        };
        if is_role && !login {
            made.options.push(RoleOption::NoLogin);
        }
        set_options(&mut made, options);
        self.next_principal += 1;
        self.principals.push(made);
        Ok(Told::default())
    }

    pub(super) fn alter_role(
        &mut self,
        actor: Actor,
        name: &RoleSpec,
        if_exists: bool,
        options: &[RoleOptionClause],
    ) -> Result<Told, Refusal> {
        let target = self.principal(actor, name);
        if target == Ok(PrincipalId::ADMIN) {
            return Err(say::admin_is_not_edited());
        }
        // C.2: one's own password, alone and not NULL, where the cluster allows it.
        let own_password = matches!(options, [RoleOptionClause::Password(Some(_))])
            && target == Ok(actor.current)
            && self.is_on(Setting::ChangeOwnPassword);
        if !own_password {
            self.check_option(actor.current, RoleOption::CreateRole)?;
            check_option_list(options)?;
            let no_login = options.contains(&RoleOptionClause::Flag(RoleOption::NoLogin, true));
            if names_a_login_option(options) || no_login {
                self.check_option(actor.current, RoleOption::CreateLogin)?;
            }
        }
        let target = match target {
            Ok(target) => target,
            Err(_) if if_exists => return Ok(Told::default()),
            Err(refusal) => return Err(refusal),
        };
        if !own_password && self.is_admin(target) && !self.is_admin(actor.current) {
            return Err(say::admin_only("ALTER ROLE admin"));
        }
        for known in &mut self.principals {
            if known.id == target {
                set_options(known, options);
            }
        }
        Ok(Told::default())
    }

    pub(super) fn drop_roles(
        &mut self,
        actor: Actor,
        names: &[RoleSpec],
        if_exists: bool,
    ) -> Result<Told, Refusal> {
        self.check_option(actor.current, RoleOption::CreateRole)?;
        let mut dropped: Vec<RoleName> = Vec::new();
        for name in names {
            match name {
                RoleSpec::Name(name) => dropped.push(name.clone()),
                RoleSpec::CurrentUser | RoleSpec::SessionUser => return Err(say::special_in_drop_role()),
            }
        }
        for name in &dropped {
            if name.is_reserved() {
                return Err(say::bad_role_name(name, RoleNameFault::Reserved));
            }
        }
        for name in &dropped {
            let target_is_admin = self.find_principal(name).is_some_and(|target| self.is_admin(target));
            if target_is_admin && !self.is_admin(actor.current) {
                return Err(say::superusers_drop_superusers());
            }
        }
        self.check_no_grants(&dropped)?;
        for name in &dropped {
            let (lines, hints) = self.dependencies(name);
            if !lines.is_empty() {
                return Err(say::objects_depend(name, &lines, &hints));
            }
        }
        for name in &dropped {
            if ["root", "admin"].contains(&name.as_str()) {
                return Err(say::special_role(name));
            }
            if let Some(id) = self.find_principal(name)
                && self.owns_schedules(id) > 0
            {
                return Err(say::role_owns_schedules(name, self.owns_schedules(id)));
            }
            if self.find_principal(name).is_none() && !if_exists {
                return Err(say::unknown_role(name));
            }
        }
        for name in &dropped {
            if let Some(id) = self.find_principal(name) {
                self.edges.retain(|edge| edge.role != id && edge.member != id);
                self.role_settings.retain(|known| known.role != id);
                self.defaults.retain(|known| known.creator != id);
                self.principals.retain(|known| known.id != id);
            }
        }
        Ok(Told::default())
    }

    /// F.5, step 5.
    fn check_no_grants(&self, dropped: &[RoleName]) -> Result<(), Refusal> {
        let ids: Vec<_> = dropped.iter().filter_map(|name| self.find_principal(name)).collect();
        let mut on = Vec::new();
        let sorts: [&[ObjectKind]; 5] = [
            &[ObjectKind::Database],
            &[ObjectKind::Table, ObjectKind::Sequence],
            &[ObjectKind::Schema],
            &[ObjectKind::Type],
            &[ObjectKind::Function],
        ];
        for kinds in sorts {
            // In the order of creation; the cluster's own came first, but for the tables of `system`.
            let mut objects: Vec<_> = self.objects.iter().map(|object| (object.id, object.kind())).collect();
            let of_system =
                system::objects().iter().filter(|(_, known)| known.parent == ObjectId::SYSTEM_PUBLIC_SCHEMA);
            objects.extend(of_system.map(|(id, _)| (*id, ObjectKind::Table)));
            objects.sort();
            for (object, kind) in objects {
                let granted = self.grants_on(object).iter().any(|grant| ids.contains(&grant.grantee));
                if kinds.contains(&kind) && granted {
                    on.push(self.full_name(object));
                }
            }
        }
        for (_, _, grant) in self.system_privileges() {
            if !ids.contains(&grant.grantee) {
                continue;
            }
            match self.kind(grant.object) {
                ObjectKind::ExternalConnection => {
                    on.push(format!("external_connection {}", self.label(grant.object)));
                }
                ObjectKind::IamRole => on.push(format!("iam_role {}", self.label(grant.object))),
                ObjectKind::VirtualTable => {
                    on.push(format!("virtual_table \"{}\"", self.full_name(grant.object)));
                }
                _ => {}
            }
        }
        if on.is_empty() { Ok(()) } else { Err(say::grants_still_exist(dropped, &on)) }
    }

    /// F.5, step 6: the lines and hints of one name.
    fn dependencies(&self, name: &RoleName) -> (Vec<String>, Vec<String>) {
        let Some(id) = self.find_principal(name) else { return (Vec::new(), Vec::new()) };
        // (word of the kind, name, line, hint): the order of the lines.
        let mut lines: Vec<(&str, String, String, String)> = Vec::new();
        for grant in &self.held {
            if grant.object == ObjectId::CLUSTER && grant.grantee == id {
                for privilege in &grant.privileges {
                    let line = format!("{name} has global '{privilege}' privilege");
                    lines.push(("", String::new(), line, String::new()));
                }
            }
        }
        for dependency in self.default_dependencies(id) {
            lines.push(("", String::new(), dependency.line, dependency.hint));
        }
        for object in &self.objects {
            if object.owner != id {
                continue;
            }
            let (word, full) = match object.kind() {
                ObjectKind::Database => ("database", object.name.to_string()),
                ObjectKind::Schema => ("schema", object.name.to_string()),
                ObjectKind::Type => ("type", self.full_name(object.id)),
                ObjectKind::Function => ("function", self.full_name(object.id)),
                ObjectKind::ExternalConnection => ("external_connection", object.name.to_string()),
                ObjectKind::IamRole => ("iam_role", object.name.to_string()),
                _ => ("table", self.full_name(object.id)),
            };
            lines.push((word, full.clone(), format!("owner of {word} {full}"), String::new()));
        }
        lines.sort();
        let hints = lines.iter().map(|line| line.3.clone()).filter(|hint| !hint.is_empty()).collect();
        (lines.into_iter().map(|line| line.2).collect(), hints)
    }

    pub(super) fn grant_roles(
        &mut self,
        actor: Actor,
        roles: &[RoleName],
        members: &[RoleSpec],
        admin_option: bool,
    ) -> Result<Told, Refusal> {
        let (roles, members) = self.check_membership_names(actor, roles, members, true)?;
        for role in &roles {
            for member in &members {
                self.add_edge(*role, *member, admin_option)?;
            }
        }
        Ok(Told::default())
    }

    fn add_edge(
        &mut self,
        role: PrincipalId,
        member: PrincipalId,
        admin_option: bool,
    ) -> Result<(), Refusal> {
        if role == member {
            return Err(say::self_member(&self.principal_name(role)));
        }
        if self.acts_as(role).contains(&member) {
            return Err(say::cycle(&self.principal_name(member), &self.principal_name(role)));
        }
        for edge in &mut self.edges {
            if edge.role == role && edge.member == member {
                edge.admin_option = edge.admin_option || admin_option;
                return Ok(());
            }
        }
        self.edges.push(ModelEdge { role, member, admin_option });
        Ok(())
    }

    pub(super) fn revoke_roles(
        &mut self,
        actor: Actor,
        roles: &[RoleName],
        members: &[RoleSpec],
        admin_option_only: bool,
    ) -> Result<Told, Refusal> {
        let (roles, members) = self.check_membership_names(actor, roles, members, false)?;
        if roles.contains(&PrincipalId::ADMIN) && members.contains(&PrincipalId::ROOT) {
            return Err(say::root_stays_admin());
        }
        let named = |edge: &ModelEdge| roles.contains(&edge.role) && members.contains(&edge.member);
        if admin_option_only {
            for edge in &mut self.edges {
                if named(edge) {
                    edge.admin_option = false;
                }
            }
        } else {
            self.edges.retain(|edge| !named(edge));
        }
        Ok(Told::default())
    }

    /// D.3, steps 1 to 3.
    fn check_membership_names(
        &self,
        actor: Actor,
        roles: &[RoleName],
        members: &[RoleSpec],
        hint_at_options: bool,
    ) -> Result<(Vec<PrincipalId>, Vec<PrincipalId>), Refusal> {
        for role in roles {
            let by_admin = self.is_admin(actor.current) && role.as_str() != "admin";
            let by_option = self.find_principal(role).is_some_and(|id| self.administers(actor.current, id));
            if !by_admin && !by_option {
                return Err(say::not_role_admin(&self.principal_name(actor.current), role));
            }
        }
        let mut role_ids = Vec::new();
        for role in roles {
            let is_option = RoleOption::from_word(role.as_str()).is_some();
            role_ids.push(self.find_principal(role).ok_or_else(|| {
                if hint_at_options && is_option {
                    say::unknown_role_that_is_an_option(role)
                } else {
                    say::unknown_role(role)
                }
            })?);
        }
        let mut member_ids = Vec::new();
        for member in members {
            member_ids.push(self.principal(actor, member)?);
        }
        Ok((role_ids, member_ids))
    }

    /// D.2: any edge with ADMIN OPTION into `role` from `user` or from a role that it belongs to.
    pub(super) fn administers(&self, user: PrincipalId, role: PrincipalId) -> bool {
        let acts_as = self.acts_as(user);
        self.edges.iter().any(|edge| edge.role == role && edge.admin_option && acts_as.contains(&edge.member))
    }
}

fn check_option_list(options: &[RoleOptionClause]) -> Result<(), Refusal> {
    for (i, a) in options.iter().enumerate() {
        for b in &options[i + 1..] {
            let same_word = matches!(
                (a, b),
                (RoleOptionClause::Password(_), RoleOptionClause::Password(_))
                    | (RoleOptionClause::ValidUntil(_), RoleOptionClause::ValidUntil(_))
            );
            if a == b || same_word {
                return Err(say::redundant_options());
            }
        }
    }
    for (i, a) in options.iter().enumerate() {
        for b in &options[i + 1..] {
            if let (RoleOptionClause::Flag(first, _), RoleOptionClause::Flag(second, _)) = (a, b)
                && first == second
            {
                return Err(say::conflicting_options());
            }
        }
    }
    Ok(())
}

/// CREATELOGIN, NOCREATELOGIN, PASSWORD, VALID UNTIL or LOGIN is written.
fn names_a_login_option(options: &[RoleOptionClause]) -> bool {
    options.iter().any(|clause| match clause {
        RoleOptionClause::Flag(RoleOption::CreateLogin, _)
        | RoleOptionClause::Flag(RoleOption::NoLogin, false)
        | RoleOptionClause::ValidUntil(_)
        | RoleOptionClause::Password(_) => true,
        RoleOptionClause::Flag(_, _) => false,
    })
}

fn set_options(principal: &mut ModelPrincipal, options: &[RoleOptionClause]) {
    for clause in options {
        match clause {
            RoleOptionClause::Flag(option, set) => {
                principal.options.retain(|known| known != option);
                if *set {
                    principal.options.push(*option);
                }
                principal.options.sort();
            }
            RoleOptionClause::Password(password) => principal.password.clone_from(password),
            RoleOptionClause::ValidUntil(until) => principal.valid_until = Some(*until),
        }
    }
}
