//! BEGIN, COMMIT, ROLLBACK, SAVEPOINT, RELEASE, and the modes of a transaction.

use grantd_catalog::name::Name;

use super::session::SetStatement;
use super::{Reader, Statement};
use crate::error::SqlError;

/// A statement about the transaction that it stands in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TransactionStatement {
    /// BEGIN, START TRANSACTION; the second has a tag of its own.
    Begin(Modes, &'static str),
    /// COMMIT, END.
    Commit,
    /// ROLLBACK, ABORT.
    Rollback,
    /// SAVEPOINT.
    Savepoint(Name),
    /// RELEASE SAVEPOINT.
    Release(Name),
    /// ROLLBACK TO SAVEPOINT.
    RollbackTo(Name),
    /// SET TRANSACTION.
    Modes(Modes),
}

/// What a transaction was asked to be. Levels and deferrability are read and change nothing: every transaction is
/// serializable, as in CockroachDB.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Modes {
    /// READ ONLY or READ WRITE, if either was asked for.
    pub read_only: Option<bool>,
}

impl TransactionStatement {
    /// Its name in messages, and its tag.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Begin(_, tag) => tag,
            Self::Commit => "COMMIT",
            Self::Rollback | Self::RollbackTo(_) => "ROLLBACK",
            Self::Savepoint(_) => "SAVEPOINT",
            Self::Release(_) => "RELEASE",
            Self::Modes(_) => "SET",
        }
    }
}

impl Reader<'_> {
    /// What begins with one of the words that control transactions.
    pub(super) fn transaction(&mut self) -> Result<Statement, SqlError> {
        let statement = if self.words(&["BEGIN"]) {
            let _ = self.block_word();
            TransactionStatement::Begin(self.modes()?, "BEGIN")
        } else if self.words(&["START"]) {
            self.expect_words(&["TRANSACTION"])?;
            TransactionStatement::Begin(self.modes()?, "START TRANSACTION")
        } else if self.words(&["COMMIT"]) || self.words(&["END"]) {
            if self.words(&["PREPARED"]) {
                return Err(two_phases());
            }
            let _ = self.block_word();
            self.no_chain()?;
            TransactionStatement::Commit
        } else if self.words(&["ROLLBACK"]) || self.words(&["ABORT"]) {
            if self.words(&["PREPARED"]) {
                return Err(two_phases());
            }
            let _ = self.block_word();
            if self.words(&["TO"]) {
                let _ = self.words(&["SAVEPOINT"]);
                TransactionStatement::RollbackTo(self.name()?)
            } else {
                self.no_chain()?;
                TransactionStatement::Rollback
            }
        } else if self.words(&["SAVEPOINT"]) {
            TransactionStatement::Savepoint(self.name()?)
        } else {
            self.expect_words(&["RELEASE"])?;
            let _ = self.words(&["SAVEPOINT"]);
            TransactionStatement::Release(self.name()?)
        };
        Ok(Statement::Transaction(statement))
    }

    fn block_word(&mut self) -> bool {
        self.words(&["WORK"]) || self.words(&["TRANSACTION"])
    }

    fn no_chain(&mut self) -> Result<(), SqlError> {
        if self.words(&["AND", "CHAIN"]) {
            return Err(SqlError::unsupported("AND CHAIN"));
        }
        let _ = self.words(&["AND", "NO", "CHAIN"]);
        Ok(())
    }

    /// After SET TRANSACTION.
    pub(super) fn set_transaction(&mut self) -> Result<Statement, SqlError> {
        if self.next_is("SNAPSHOT") {
            return Err(SqlError::unsupported("SET TRANSACTION SNAPSHOT"));
        }
        if self.at_end() {
            return Err(self.expected("a transaction mode"));
        }
        Ok(Statement::Transaction(TransactionStatement::Modes(self.modes()?)))
    }

    /// After SET SESSION CHARACTERISTICS AS TRANSACTION: what later transactions are.
    pub(super) fn set_characteristics(&mut self) -> Result<Statement, SqlError> {
        if self.at_end() {
            return Err(self.expected("a transaction mode"));
        }
        let read_only = self.modes()?.read_only;
        Ok(Statement::Set(match read_only {
            None => SetStatement::Nothing,
            Some(read_only) => SetStatement::Variable {
                name: "default_transaction_read_only".to_owned(),
                values: Some(vec![if read_only { "on" } else { "off" }.to_owned()]),
            },
        }))
    }

    /// Transaction modes, with or without commas between them, up to the end.
    fn modes(&mut self) -> Result<Modes, SqlError> {
        let mut modes = Modes::default();
        while !self.at_end() {
            if self.words(&["READ", "ONLY"]) {
                modes.read_only = Some(true);
            } else if self.words(&["READ", "WRITE"]) {
                modes.read_only = Some(false);
            } else {
                let known = self.words(&["ISOLATION", "LEVEL", "SERIALIZABLE"])
                    || self.words(&["ISOLATION", "LEVEL", "SNAPSHOT"])
                    || self.words(&["ISOLATION", "LEVEL", "REPEATABLE", "READ"])
                    || self.words(&["ISOLATION", "LEVEL", "READ", "COMMITTED"])
                    || self.words(&["ISOLATION", "LEVEL", "READ", "UNCOMMITTED"])
                    || self.words(&["PRIORITY", "LOW"])
                    || self.words(&["PRIORITY", "NORMAL"])
                    || self.words(&["PRIORITY", "HIGH"])
                    || self.words(&["NOT", "DEFERRABLE"])
                    || self.words(&["DEFERRABLE"]);
                if self.words(&["AS", "OF", "SYSTEM", "TIME"]) {
                    return Err(SqlError::unsupported("AS OF SYSTEM TIME"));
                }
                if !known {
                    return Err(self.expected("a transaction mode"));
                }
            }
            if self.comma() && self.at_end() {
                return Err(self.expected("a transaction mode"));
            }
        }
        Ok(modes)
    }
}

fn two_phases() -> SqlError {
    SqlError::unsupported("two-phase commit")
}
