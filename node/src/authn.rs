//! Who may log in, and how a client proves who it is.
//!
//! `scram` is the password exchange. What is not here: the wire (`pgwire`), and what a principal may do once it is in
//! (`gate`).
//!
//! The order is fixed (authorization spec, C.3): does the user exist, may it log in, then the proof. A user that does
//! not exist goes through the same messages as one with a wrong password and gets the same error.

pub mod scram;

use grantd_catalog::id::PrincipalId;
use grantd_catalog::name::{Name, RoleName};
use grantd_catalog::refusal::{Refusal, may_not_log_in, no_such_database};
use grantd_catalog::role::{PasswordVerifier, RoleOption};
use grantd_catalog::view::View;
use sha2::{Digest, Sha256, Sha384, Sha512};
use x509_parser::oid_registry::{
    OID_PKCS1_MD5WITHRSAENC, OID_PKCS1_SHA1WITHRSA, OID_PKCS1_SHA256WITHRSA, OID_PKCS1_SHA384WITHRSA,
    OID_PKCS1_SHA512WITHRSA, OID_SIG_ECDSA_WITH_SHA256, OID_SIG_ECDSA_WITH_SHA384, OID_SIG_ECDSA_WITH_SHA512,
};
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::authn::scram::Binding;

/// What the catalog says about a user that wants in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Login {
    /// There is no such user. To be told to nobody.
    Unknown,
    /// It exists and may not log in over SQL; what it is told.
    Forbidden(Refusal),
    /// It may, once it has proved who it is.
    Allowed(Candidate),
}

/// A user that may log in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// Who it is.
    pub principal: PrincipalId,
    /// What its password is checked against; none: it has none, or it has expired, and passwords fail.
    pub verifier: Option<PasswordVerifier>,
    /// Whether the database that it asked for exists. To be told after the proof only.
    pub database_exists: bool,
}

/// Decides whether `user` may try to log in, on one view, at `now_us`, microseconds since the Unix epoch. A password that
/// has expired is as none. Source: authorization spec, C.3 and C.4.
pub fn decide_login(view: &View, user: &RoleName, database: &Name, now_us: i64) -> Login {
    let state = view.state();
    let Some(principal) = state.principal_id(user) else { return Login::Unknown };
    let Some(record) = state.principal(principal) else { return Login::Unknown };
    if let Err(refusal) = state.may_log_in(principal) {
        return Login::Forbidden(refusal);
    }
    Login::Allowed(Candidate {
        principal,
        verifier: record.password.clone().filter(|_| state.password_valid(principal, now_us)),
        database_exists: state.resolve_database(database).is_ok(),
    })
}

/// Decides whether `user` may try to log in where no SQL is spoken, on one view: NOLOGIN forbids it, NOSQLLOGIN does not.
/// Source: authorization spec, C.3.
pub fn decide_console_login(view: &View, user: &RoleName, now_us: i64) -> Login {
    let state = view.state();
    let Some(principal) = state.principal_id(user) else { return Login::Unknown };
    let Some(record) = state.principal(principal) else { return Login::Unknown };
    if principal != PrincipalId::ROOT && record.options.contains(RoleOption::NoLogin) {
        return Login::Forbidden(may_not_log_in(user));
    }
    Login::Allowed(Candidate {
        principal,
        verifier: record.password.clone().filter(|_| state.password_valid(principal, now_us)),
        database_exists: true,
    })
}

/// 3D000, with the way out: clients name the user's own name as database if they are not told one.
pub fn refuse_database(database: &Name) -> Refusal {
    no_such_database(database).with_hint("Name an existing database, for example defaultdb.")
}

/// The user that a verified client certificate stands for: its one common name, normalized. None if it has no common
/// name or several, or is not a certificate.
pub fn certificate_user(certificate: &[u8]) -> Option<RoleName> {
    let (_, certificate) = X509Certificate::from_der(certificate).ok()?;
    let mut names = certificate.subject().iter_common_name();
    let name = names.next()?.as_str().ok()?;
    if names.next().is_some() || name.is_empty() { None } else { Some(RoleName::normalize(name)) }
}

/// The channel binding of a TLS channel by the server's certificate: its hash, by the algorithm of its signature.
/// Unavailable where no hash is defined, as for Ed25519. Source: RFC 5929, section 4.1.
pub fn certificate_binding(certificate: &[u8]) -> Binding {
    let Ok((_, parsed)) = X509Certificate::from_der(certificate) else { return Binding::Unavailable };
    let algorithm = &parsed.signature_algorithm.algorithm;
    // MD5 and SHA-1 are replaced by SHA-256.
    let sha256 =
        [OID_PKCS1_SHA256WITHRSA, OID_SIG_ECDSA_WITH_SHA256, OID_PKCS1_SHA1WITHRSA, OID_PKCS1_MD5WITHRSAENC];
    if sha256.contains(algorithm) {
        Binding::ServerEndPoint(Sha256::digest(certificate).to_vec())
    } else if [OID_PKCS1_SHA384WITHRSA, OID_SIG_ECDSA_WITH_SHA384].contains(algorithm) {
        Binding::ServerEndPoint(Sha384::digest(certificate).to_vec())
    } else if [OID_PKCS1_SHA512WITHRSA, OID_SIG_ECDSA_WITH_SHA512].contains(algorithm) {
        Binding::ServerEndPoint(Sha512::digest(certificate).to_vec())
    } else {
        Binding::Unavailable
    }
}

#[cfg(test)]
mod tests {
    use grantd_catalog::command::RoleOptionClause;
    use grantd_catalog::command::{Actor, Command, NameContext, Outcome, RoleSpec, Targets};
    use grantd_catalog::id::{Timestamp, Version};
    use grantd_catalog::privilege::Privilege;
    use grantd_catalog::role::{RoleOption, ValidUntil};
    use grantd_catalog::state::State;

    use super::*;

    fn spec(name: &str) -> RoleSpec {
        RoleSpec::Name(RoleName::normalize(name))
    }

    fn role(name: &str, options: &[RoleOption]) -> Command {
        let set = |option: &RoleOption| RoleOptionClause::Flag(*option, true);
        Command::CreateRole {
            name: spec(name),
            is_role: false,
            if_not_exists: false,
            options: options.iter().map(set).collect(),
        }
    }

    const NOW_US: i64 = 1_000;

    /// What a catalog that `commands` made says of `user`.
    fn login_after(commands: &[Command], user: &str, database: &str) -> Login {
        let mut state = State::bootstrap();
        let context = NameContext { database: None, search_path: Vec::new() };
        for command in commands {
            let (version, time, actor) = (Version(1), Timestamp::default(), Actor::of(PrincipalId::ROOT));
            let outcome = state.apply(version, time, actor, &context, command, &mut Vec::new());
            assert!(matches!(outcome, Outcome::Done(_)), "{outcome:?}");
        }
        let view = View::build(Version(1), state);
        decide_login(&view, &RoleName::normalize(user), &Name::normalize(database), NOW_US)
    }

    #[test]
    fn who_exists_and_is_not_forbidden_may_try() {
        let Login::Allowed(bob) = login_after(&[role("bob", &[])], "Bob", "defaultdb") else {
            panic!("bob may try");
        };
        assert!(bob.database_exists && bob.verifier.is_none());
        let Login::Allowed(root) = login_after(&[], "root", "nowhere") else { panic!("root may try") };
        assert_eq!((root.principal, root.database_exists), (PrincipalId::ROOT, false));
        for user in ["nobody", "public", "node", "none"] {
            assert_eq!(login_after(&[], user, "defaultdb"), Login::Unknown);
        }
    }

    #[test]
    fn each_of_the_three_prohibitions_forbids() {
        let code = grantd_catalog::refusal::state::INVALID_AUTHORIZATION;
        let forbidden = Login::Forbidden(Refusal::new(code, "bob does not have login privilege"));
        for option in [RoleOption::NoLogin, RoleOption::NoSqlLogin] {
            assert_eq!(login_after(&[role("bob", &[option])], "bob", "defaultdb"), forbidden);
        }
        let grant = |to: &str| Command::Grant {
            privileges: vec![Privilege::NoSqlLogin],
            on: Targets::System,
            to: vec![spec(to)],
            grant_option: false,
        };
        let member = Command::GrantRoles {
            roles: vec![RoleName::normalize("quiet")],
            members: vec![spec("bob")],
            admin_option: false,
        };
        let commands = [role("bob", &[]), role("quiet", &[]), grant("quiet"), member];
        assert_eq!(login_after(&commands, "bob", "defaultdb"), forbidden);
    }

    #[test]
    fn where_no_sql_is_spoken_only_nologin_forbids() {
        let decided = |option: RoleOption| {
            let mut state = State::bootstrap();
            let context = NameContext { database: None, search_path: Vec::new() };
            let (version, time, actor) = (Version(1), Timestamp::default(), Actor::of(PrincipalId::ROOT));
            state.apply(version, time, actor, &context, &role("bob", &[option]), &mut Vec::new());
            decide_console_login(&View::build(Version(1), state), &RoleName::normalize("bob"), NOW_US)
        };
        assert!(matches!(decided(RoleOption::NoLogin), Login::Forbidden(_)));
        assert!(matches!(decided(RoleOption::NoSqlLogin), Login::Allowed(_)));
        let view = View::build(Version(1), State::bootstrap());
        for user in ["nobody", "public", "node", "none"] {
            assert_eq!(decide_console_login(&view, &RoleName::normalize(user), NOW_US), Login::Unknown);
        }
    }

    #[test]
    fn an_expired_password_is_as_none_and_the_user_may_try_still() {
        let verifier = PasswordVerifier::new("a verifier".to_owned());
        let until = |us| Command::AlterRole {
            name: spec("bob"),
            if_exists: false,
            options: vec![
                RoleOptionClause::Password(Some(verifier.clone())),
                RoleOptionClause::ValidUntil(ValidUntil::At(us)),
            ],
        };
        for (us, accepted) in [(NOW_US, true), (NOW_US - 1, false)] {
            let Login::Allowed(bob) = login_after(&[role("bob", &[]), until(us)], "bob", "defaultdb") else {
                panic!("bob may try");
            };
            assert_eq!(bob.verifier.is_some(), accepted);
        }
    }

    #[test]
    fn a_certificate_names_a_user_only_with_exactly_one_common_name() {
        let certificate = |names: &[&str]| {
            let mut parameters = rcgen::CertificateParams::default();
            parameters.distinguished_name = rcgen::DistinguishedName::new();
            for name in names {
                parameters.distinguished_name.push(rcgen::DnType::CommonName, *name);
            }
            let key = rcgen::KeyPair::generate().unwrap();
            parameters.self_signed(&key).unwrap().der().to_vec()
        };
        assert_eq!(certificate_user(&certificate(&["Bob"])), Some(RoleName::normalize("bob")));
        assert_eq!(certificate_user(&certificate(&[])), None);
        assert_eq!(certificate_user(&certificate(&[""])), None);
        assert_eq!(certificate_user(b"no certificate"), None);
    }
}
