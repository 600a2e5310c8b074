//! What sessions may do beside statements on objects: begin, act as another role, see and cancel other sessions. Pure
//! judgements; nothing here changes anything.

use crate::id::{ObjectId, PrincipalId};
use crate::name::RoleName;
use crate::privilege::Privilege;
use crate::refusal::{self, Refusal};
use crate::role::{RoleOption, ValidUntil};
use crate::setting::{Setting, SettingValue};
use crate::state::State;

/// What somebody sees of the sessions and statements of others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activity {
    /// Nothing: only its own.
    Own,
    /// All of it.
    All,
    /// All sessions, but no constant of a statement.
    Redacted,
}

/// What the text after PASSWORD is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PasswordText {
    /// A password, to be hashed.
    Plain,
    /// What looks like a SCRAM-SHA-256 verifier, to be checked and stored.
    Verifier,
}

impl State {
    /// Whether `principal` may log in by SQL; if not, what the client is told, before any password is asked for.
    ///
    /// NOSQLLOGIN is the option, or the system privilege, which roles hand down and ALL does not stand for. `root` may
    /// always. Source: authorization spec, C.3.
    pub fn may_log_in(&self, principal: PrincipalId) -> Result<(), Refusal> {
        self.may_log_in_by_https(principal)?;
        if principal == PrincipalId::ROOT {
            return Ok(());
        }
        let barred =
            self.principal(principal).is_some_and(|held| held.options.contains(RoleOption::NoSqlLogin))
                || self.index.holds(principal, ObjectId::CLUSTER, Privilege::NoSqlLogin);
        if barred { Err(refusal::may_not_log_in(&self.principal_name(principal))) } else { Ok(()) }
    }

    /// Whether `principal` may log in to pages over HTTPS, which NOSQLLOGIN does not forbid. Source: as
    /// [`Self::may_log_in`].
    pub fn may_log_in_by_https(&self, principal: PrincipalId) -> Result<(), Refusal> {
        if principal == PrincipalId::ROOT {
            return Ok(());
        }
        let name = self.principal_name(principal);
        match self.principal(principal) {
            None => Err(refusal::authentication_failed(&name)),
            Some(held) if held.options.contains(RoleOption::NoLogin) => Err(refusal::may_not_log_in(&name)),
            Some(_) => Ok(()),
        }
    }

    /// Whether a password of `principal` is accepted at `now_us`, microseconds since the Unix epoch: up to and with the
    /// moment of VALID UNTIL; `root`'s always. Certificates do not ask. Source: authorization spec, C.3.
    pub fn password_valid(&self, principal: PrincipalId, now_us: i64) -> bool {
        if principal == PrincipalId::ROOT {
            return true;
        }
        match self.principal(principal).and_then(|held| held.valid_until) {
            None | Some(ValidUntil::Never) => true,
            Some(ValidUntil::At(until_us)) => now_us <= until_us,
        }
    }

    /// What the text of a PASSWORD clause is, by the cluster's settings; if it may not be one, what the client is told.
    /// For the node that took the statement, which alone has the text. Source: authorization spec, C.2.
    pub fn judge_password(&self, text: &str) -> Result<PasswordText, Refusal> {
        if text.is_empty() {
            return Err(refusal::empty_password());
        }
        if text.len() == MD5_BYTES && text.starts_with("md5") {
            return Err(refusal::hash_scheme("md5"));
        }
        if self.setting_is_on(Setting::StorePreHashedPasswords) {
            if text.starts_with("SCRAM-SHA-256$") {
                return Ok(PasswordText::Verifier);
            }
            // The exchange is SCRAM's, for which such a hash is of no use.
            if text.starts_with("CRDB-BCRYPT$") {
                return Err(refusal::hash_scheme("crdb-bcrypt"));
            }
        }
        let least = match self.setting_value(Setting::MinPasswordLength) {
            SettingValue::Int(least) => usize::try_from(least).unwrap_or(0),
            SettingValue::Bool(_)
            | SettingValue::Bytes(_)
            | SettingValue::Milliseconds(_)
            | SettingValue::Text(_) => 0,
        };
        if text.chars().count() < least {
            return Err(refusal::password_too_short(least));
        }
        Ok(PasswordText::Plain)
    }

    /// Whom a session of `login` acts as after SET ROLE `role`; none, or `none`: itself again. Judged by who logged in,
    /// not by whom it acts as (T-10), and by memberships as they are now. Source: authorization spec, H.8.
    pub fn set_role(&self, login: PrincipalId, role: Option<&RoleName>) -> Result<PrincipalId, Refusal> {
        let Some(name) = role.filter(|name| name.as_str() != "none") else { return Ok(login) };
        let role = self.principal_id(name).ok_or_else(|| refusal::no_such_role_to_set(name))?;
        if login == PrincipalId::ROOT || role == login {
            return Ok(role);
        }
        if role == PrincipalId::ROOT {
            return Err(refusal::only_root_becomes_root());
        }
        let may = self.index.is_admin(login) || self.index.acts_as(login, role);
        if may { Ok(role) } else { Err(refusal::may_not_set_role(name)) }
    }

    /// What `principal` sees of the sessions and statements of others. VIEWACTIVITYREDACTED wins over VIEWACTIVITY,
    /// whether it is held as privilege, as option, or by SYSTEM ALL; admins see all. Source: authorization spec, C.4.
    pub fn activity_visibility(&self, principal: PrincipalId) -> Activity {
        if self.index.is_admin(principal) {
            Activity::All
        } else if self.has_system_or_option(principal, Privilege::ViewActivityRedacted) {
            Activity::Redacted
        } else if self.has_system_or_option(principal, Privilege::ViewActivity) {
            Activity::All
        } else {
            Activity::Own
        }
    }

    /// That `asker` may ask what `subject` may do, and why: about itself, the roles that it belongs to, and everybody
    /// together it may; about others whoever sees their activity.
    pub fn may_ask_about(&self, asker: PrincipalId, subject: PrincipalId) -> Result<(), Refusal> {
        let own = subject == PrincipalId::PUBLIC || self.index.acts_as(asker, subject);
        if own || self.activity_visibility(asker) != Activity::Own {
            return Ok(());
        }
        Err(refusal::may_not_ask(&self.principal_name(asker)))
    }

    /// That `principal` sees activity beyond its own, for what is refused otherwise: statistics of statements.
    pub fn check_activity(&self, principal: PrincipalId) -> Result<Activity, Refusal> {
        match self.activity_visibility(principal) {
            Activity::Own => Err(refusal::lacks_activity(&self.principal_name(principal))),
            seen @ (Activity::All | Activity::Redacted) => Ok(seen),
        }
    }

    /// Whether `principal` may cancel queries and sessions of `target`; if not, what the client is told. Everybody may
    /// its own; whoever holds CANCELQUERY those of everybody but admins, who are cancelled by admins. Source: A.5.5.
    pub fn may_cancel(&self, principal: PrincipalId, target: PrincipalId) -> Result<(), Refusal> {
        if principal == target || self.index.is_admin(principal) {
            return Ok(());
        }
        if !self.has_system_or_option(principal, Privilege::CancelQuery) {
            return Err(refusal::needs_cancel_query());
        }
        if self.index.is_admin(target) {
            return Err(refusal::may_not_cancel_admin());
        }
        Ok(())
    }
}

/// The length of a password as PostgreSQL hashed it before it had SCRAM: `md5` and 32 digits.
const MD5_BYTES: usize = 35;
