//! Statements that were parsed lately, by their texts: a simple query is split into its statements before each is run, and
//! a prepared statement comes to the leader as its text each time. Both are parsed once.
//!
//! What a statement means is looked up at each execution; here is only how it is written.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::error::SqlError;
use crate::sql::parse::{self, Statement};

/// The most statements that are kept, twice: when so many are new, what was not asked for since goes.
const STATEMENTS_KEPT: usize = 128;
/// Longer ones are not kept. With the number of them it bounds the memory to some megabytes.
const TEXT_BYTES_MAX: usize = 2 << 10;

/// The texts of a node. Cheap to clone.
#[derive(Clone, Default)]
pub(super) struct Texts {
    kept: Arc<Mutex<Kept>>,
}

#[derive(Default)]
struct Kept {
    newer: HashMap<Arc<str>, Arc<Statement>>,
    older: HashMap<Arc<str>, Arc<Statement>>,
}

impl Kept {
    fn find(&mut self, text: &str) -> Option<Arc<Statement>> {
        if let Some(statement) = self.newer.get(text) {
            return Some(Arc::clone(statement));
        }
        let (text, statement) = self.older.remove_entry(text)?;
        self.keep(text, Arc::clone(&statement));
        Some(statement)
    }

    fn keep(&mut self, text: Arc<str>, statement: Arc<Statement>) {
        if self.newer.len() >= STATEMENTS_KEPT {
            self.older = std::mem::take(&mut self.newer);
        }
        self.newer.insert(text, statement);
    }
}

impl Texts {
    /// As [`parse::parse`].
    pub(super) fn parse(&self, text: &str) -> Result<Arc<Statement>, SqlError> {
        if let Some(statement) = self.kept().find(text) {
            return Ok(statement);
        }
        let statement = Arc::new(parse::parse(text)?);
        self.keep(text, &statement);
        Ok(statement)
    }

    /// The texts of the statements of a simple query.
    pub(super) fn split(&self, text: &str) -> Result<Vec<String>, SqlError> {
        if self.kept().find(text).is_some() {
            return Ok(vec![text.to_owned()]);
        }
        let statements = parse::parse_all(text)?;
        let keep = |(text, statement): (String, Statement)| {
            self.keep(&text, &Arc::new(statement));
            text
        };
        Ok(statements.into_iter().map(keep).collect())
    }

    fn keep(&self, text: &str, statement: &Arc<Statement>) {
        // Others may hold a password, or come once.
        let is_common = matches!(
            **statement,
            Statement::Query(_)
                | Statement::Insert(..)
                | Statement::Upsert(_)
                | Statement::Update(..)
                | Statement::Delete(..)
                | Statement::Transaction(_)
        );
        if is_common && text.len() <= TEXT_BYTES_MAX {
            self.kept().keep(text.into(), Arc::clone(statement));
        }
    }

    /// A panic elsewhere leaves nothing half done here.
    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_statement_is_parsed_once_and_what_is_asked_for_stays() {
        let texts = Texts::default();
        assert_eq!(texts.split("SELECT 1; SELECT 2").unwrap(), ["SELECT 1", "SELECT 2"]);
        let first = texts.parse("SELECT 1").unwrap();
        for number in 0..STATEMENTS_KEPT * 4 {
            texts.parse(&format!("SELECT {number} + 1")).unwrap();
            assert!(Arc::ptr_eq(&first, &texts.parse("SELECT 1").unwrap()));
        }
        let kept = texts.kept();
        assert!(kept.newer.len() <= STATEMENTS_KEPT && kept.older.len() <= STATEMENTS_KEPT);
    }

    #[test]
    fn a_password_and_a_long_text_are_not_kept() {
        let texts = Texts::default();
        texts.parse("ALTER USER amy PASSWORD 'secret'").unwrap();
        texts.parse(&format!("SELECT '{}'", "x".repeat(TEXT_BYTES_MAX))).unwrap();
        assert!(texts.kept().newer.is_empty());
    }
}
