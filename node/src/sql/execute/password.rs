//! Passwords become verifiers on the node that took the statement: no other node, and no log, ever has the text.

use grantd_catalog::command::{Command, RoleOptionClause};
use grantd_catalog::refusal::state;
use grantd_catalog::role::PasswordVerifier;

use crate::authn::scram;
use crate::secret::Secret;
use crate::sql::error::SqlError;
use crate::sql::parse::role::{RoleStatement, WrittenOption, WrittenPassword};

/// The command and tag of a CREATE or ALTER ROLE.
pub(super) async fn hashed(statement: &RoleStatement) -> Result<(Command, &'static str), SqlError> {
    match statement {
        RoleStatement::Create { name, is_role, if_not_exists, options } => {
            let options = clauses(options).await?;
            let (name, is_role, if_not_exists) = (name.clone(), *is_role, *if_not_exists);
            Ok((Command::CreateRole { name, is_role, if_not_exists, options }, "CREATE ROLE"))
        }
        RoleStatement::Alter { name, if_exists, options } => {
            let options = clauses(options).await?;
            Ok((Command::AlterRole { name: name.clone(), if_exists: *if_exists, options }, "ALTER ROLE"))
        }
    }
}

async fn clauses(options: &[WrittenOption]) -> Result<Vec<RoleOptionClause>, SqlError> {
    let passwords = options.iter().filter(|option| matches!(option, WrittenOption::Password(_))).count();
    if passwords > 1 {
        // Each costs a hash, and the statement is refused anyway.
        return Err(SqlError::syntax("redundant role options"));
    }
    let mut clauses = Vec::with_capacity(options.len());
    for option in options {
        clauses.push(match option {
            WrittenOption::Flag(option, sets) => RoleOptionClause::Flag(*option, *sets),
            WrittenOption::Password(None) => RoleOptionClause::Password(None),
            WrittenOption::Password(Some(written)) => {
                RoleOptionClause::Password(Some(verifier(written).await?))
            }
        });
    }
    Ok(clauses)
}

async fn verifier(written: &WrittenPassword) -> Result<PasswordVerifier, SqlError> {
    let text = written.expose();
    if text.is_empty() {
        return Err(SqlError::new(state::INVALID_PASSWORD, "empty passwords are not permitted"));
    }
    if text.starts_with("md5") && text.len() == 35 {
        return Err(SqlError::new(
            state::FEATURE_NOT_SUPPORTED,
            "the password hash scheme \"md5\" is not supported",
        ));
    }
    if scram::is_prehashed(text) {
        return scram::check_prehashed(text)
            .map_err(|error| SqlError::new(state::INVALID_PARAMETER_VALUE, error.to_string()));
    }
    let secret = Secret::new(text.to_owned());
    // Thousands of rounds: not on a thread that other sessions wait for.
    tokio::task::spawn_blocking(move || scram::make_verifier(&secret))
        .await
        .map_err(|_| SqlError::internal("the hashing of a password ended early"))?
        .map_err(|error| SqlError::internal(format!("the system gives no random numbers: {error}")))
}
