//! Passwords become verifiers on the node that took the statement: no other node, and no log, ever has the text.

use grantd_catalog::command::{Command, RoleOptionClause};
use grantd_catalog::refusal::state::INVALID_PARAMETER_VALUE;
use grantd_catalog::role::PasswordVerifier;
use grantd_catalog::state::{PasswordText, State};

use crate::authn::scram;
use crate::error::SqlError;
use crate::secret::Secret;
use crate::sql::parse::role::{RoleStatement, WrittenOption, WrittenPassword};

/// The command and tag of a CREATE or ALTER ROLE. `state` says what a password must be.
pub(super) async fn hashed(
    state: &State,
    statement: &RoleStatement,
) -> Result<(Command, &'static str), SqlError> {
    match statement {
        RoleStatement::Create { name, is_role, if_not_exists, options } => {
            let options = clauses(state, options).await?;
            let (name, is_role, if_not_exists) = (name.clone(), *is_role, *if_not_exists);
            Ok((Command::CreateRole { name, is_role, if_not_exists, options }, "CREATE ROLE"))
        }
        RoleStatement::Alter { name, if_exists, options } => {
            let options = clauses(state, options).await?;
            Ok((Command::AlterRole { name: name.clone(), if_exists: *if_exists, options }, "ALTER ROLE"))
        }
    }
}

async fn clauses(state: &State, options: &[WrittenOption]) -> Result<Vec<RoleOptionClause>, SqlError> {
    let passwords = options.iter().filter(|option| matches!(option, WrittenOption::Password(_))).count();
    if passwords > 1 {
        // Each costs a hash, and the statement is refused anyway.
        return Err(SqlError::syntax("redundant role options"));
    }
    let mut clauses = Vec::with_capacity(options.len());
    for option in options {
        clauses.push(match option {
            WrittenOption::Flag(option, sets) => RoleOptionClause::Flag(*option, *sets),
            WrittenOption::ValidUntil(until) => RoleOptionClause::ValidUntil(*until),
            WrittenOption::Password(None) => RoleOptionClause::Password(None),
            WrittenOption::Password(Some(written)) => {
                RoleOptionClause::Password(Some(verifier(state, written).await?))
            }
        });
    }
    Ok(clauses)
}

async fn verifier(state: &State, written: &WrittenPassword) -> Result<PasswordVerifier, SqlError> {
    let text = written.expose();
    if state.judge_password(text)? == PasswordText::Verifier {
        return scram::check_prehashed(text)
            .map_err(|error| SqlError::new(INVALID_PARAMETER_VALUE, error.to_string()));
    }
    let secret = Secret::new(text.to_owned());
    // Thousands of rounds: not on a thread that other sessions wait for.
    tokio::task::spawn_blocking(move || scram::make_verifier(&secret))
        .await
        .map_err(|_| SqlError::internal("the hashing of a password ended early"))?
        .map_err(|error| SqlError::internal(format!("the system gives no random numbers: {error}")))
}
