//! CREATE ROLE and ALTER ROLE. Source: authorization spec, B and C.

use crate::command::{RoleOptionClause, RoleSpec};
use crate::id::PrincipalId;
use crate::name::{RoleName, RoleNameFault};
use crate::refusal::{self, Refusal};
use crate::role::{Principal, RoleOption, RoleOptions};
use crate::setting::Setting;
use crate::state::Work;

/// Which of the two statements: they differ in what needs CREATELOGIN.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Statement {
    Create,
    Alter,
}

impl Work<'_> {
    pub(super) fn create_role(
        &mut self,
        spec: &RoleSpec,
        is_role: bool,
        if_not_exists: bool,
        written: &[RoleOptionClause],
    ) -> Result<(), Refusal> {
        self.check_list(written.len())?;
        self.require_option(RoleOption::CreateRole)?;
        let mut options = written.to_vec();
        if is_role && !written.iter().any(is_login_clause) {
            options.push(RoleOptionClause::Flag(RoleOption::NoLogin, true));
        }
        check_clauses(&options)?;
        self.check_login_clauses(&options, Statement::Create)?;
        let name = new_role_name(spec)?;
        if self.state.principal_id(&name).is_some() {
            return if if_not_exists { Ok(()) } else { Err(refusal::role_exists(&name)) };
        }
        let mut principal =
            Principal { name, is_role, options: RoleOptions::EMPTY, password: None, valid_until: None };
        set_clauses(&mut principal, &options);
        let id = self.new_principal_id()?;
        self.put_principal(id, principal);
        Ok(())
    }

    pub(super) fn alter_role(
        &mut self,
        spec: &RoleSpec,
        if_exists: bool,
        options: &[RoleOptionClause],
    ) -> Result<(), Refusal> {
        self.check_list(options.len())?;
        let target = self.state.resolve_role(self.actor, spec);
        if target == Ok(PrincipalId::ADMIN) {
            return Err(refusal::admin_is_fixed());
        }
        let own_password = target == Ok(self.actor.current) && self.may_change_own_password(options);
        if !own_password {
            self.require_option(RoleOption::CreateRole)?;
        }
        check_clauses(options)?;
        if !own_password {
            self.check_login_clauses(options, Statement::Alter)?;
        }
        let target = match target {
            Ok(target) => target,
            Err(_) if if_exists => return Ok(()),
            Err(missing) => return Err(missing),
        };
        if self.state.index.is_admin(target) && !self.is_admin() {
            return Err(refusal::admin_only("ALTER ROLE admin"));
        }
        let Some(mut principal) = self.state.principal(target).cloned() else {
            return Err(refusal::principal_gone(target));
        };
        set_clauses(&mut principal, options);
        self.put_principal(target, principal);
        Ok(())
    }

    /// Whether the cluster allows everybody what the clauses do when they are about who acts: to set a password, and
    /// nothing else.
    fn may_change_own_password(&self, options: &[RoleOptionClause]) -> bool {
        matches!(options, [RoleOptionClause::Password(Some(_))])
            && self.state.setting_is_on(Setting::ChangeOwnPassword)
    }

    /// That who acts has CREATELOGIN if the clauses deal with logging in: all but CREATE … NOLOGIN do.
    fn check_login_clauses(&self, options: &[RoleOptionClause], statement: Statement) -> Result<(), Refusal> {
        let no_login = RoleOptionClause::Flag(RoleOption::NoLogin, true);
        let written = options.iter().any(|clause| match clause {
            RoleOptionClause::Password(_)
            | RoleOptionClause::ValidUntil(_)
            | RoleOptionClause::Flag(RoleOption::CreateLogin, _) => true,
            RoleOptionClause::Flag(RoleOption::NoLogin, set) => !set || statement == Statement::Alter,
            RoleOptionClause::Flag(_, _) => false,
        });
        let implied = statement == Statement::Create && !options.contains(&no_login);
        if written || implied { self.require_option(RoleOption::CreateLogin) } else { Ok(()) }
    }
}

/// The name of a principal that is to be made, if it has the shape of one.
fn new_role_name(spec: &RoleSpec) -> Result<RoleName, Refusal> {
    let name = match spec {
        RoleSpec::Name(name) => name,
        RoleSpec::CurrentUser => return Err(refusal::special_as_new_role("CURRENT_USER")),
        RoleSpec::SessionUser => return Err(refusal::special_as_new_role("SESSION_USER")),
    };
    match name.check_new() {
        Ok(()) => Ok(name.clone()),
        Err(RoleNameFault::Reserved) => Err(refusal::role_name_reserved(name)),
        Err(RoleNameFault::Invalid) => Err(refusal::role_name_invalid(name)),
        Err(RoleNameFault::TooLong) => Err(refusal::role_name_too_long(name)),
        Err(RoleNameFault::Empty) => Err(refusal::role_name_empty()),
    }
}

/// That no word occurs twice, and then that no pair of opposites occurs.
fn check_clauses(options: &[RoleOptionClause]) -> Result<(), Refusal> {
    let pairs = || {
        options
            .iter()
            .enumerate()
            .flat_map(|(at, clause)| options[..at].iter().map(move |before| (before, clause)))
    };
    let redundant = pairs().any(|(a, b)| match (a, b) {
        (RoleOptionClause::Flag(a, sets_a), RoleOptionClause::Flag(b, sets_b)) => (a, sets_a) == (b, sets_b),
        (RoleOptionClause::Password(_), RoleOptionClause::Password(_))
        | (RoleOptionClause::ValidUntil(_), RoleOptionClause::ValidUntil(_)) => true,
        (
            RoleOptionClause::Flag(_, _) | RoleOptionClause::Password(_) | RoleOptionClause::ValidUntil(_),
            _,
        ) => false,
    });
    if redundant {
        return Err(refusal::redundant_options());
    }
    let conflicting = pairs().any(|(a, b)| match (a, b) {
        (RoleOptionClause::Flag(a, sets_a), RoleOptionClause::Flag(b, sets_b)) => a == b && sets_a != sets_b,
        (
            RoleOptionClause::Flag(_, _) | RoleOptionClause::Password(_) | RoleOptionClause::ValidUntil(_),
            _,
        ) => false,
    });
    if conflicting { Err(refusal::conflicting_options()) } else { Ok(()) }
}

fn is_login_clause(clause: &RoleOptionClause) -> bool {
    matches!(clause, RoleOptionClause::Flag(RoleOption::NoLogin, _))
}

fn set_clauses(principal: &mut Principal, options: &[RoleOptionClause]) {
    for clause in options {
        match clause {
            RoleOptionClause::Flag(option, true) => principal.options = principal.options.with(*option),
            RoleOptionClause::Flag(option, false) => principal.options = principal.options.without(*option),
            RoleOptionClause::Password(password) => principal.password.clone_from(password),
            RoleOptionClause::ValidUntil(until) => principal.valid_until = Some(*until),
        }
    }
}
