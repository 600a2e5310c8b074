//! CREATE and ALTER of sequences and enum types.

use grantd_catalog::command::{Command, LabelChange, ObjectName, SequenceOptions};
use grantd_catalog::object::{LABELS_MAX, Sequence};

use super::{Reader, Statement};
use crate::error::SqlError;

/// The most options of one statement: each may be there once, and once more to be refused.
const OPTIONS_MAX: usize = 16;

impl Reader<'_> {
    /// After CREATE SEQUENCE.
    pub(super) fn create_sequence(&mut self) -> Result<Statement, SqlError> {
        let if_not_exists = self.if_not_exists();
        let name = self.object_name()?;
        let options = self.sequence_options()?;
        let sequence = sequence_of(&options, i64::MIN, i64::MAX);
        let owned_by = options.owned_by.flatten();
        let command = Command::CreateSequence { name, sequence, owned_by, if_not_exists };
        Ok(Statement::Command(command, "CREATE SEQUENCE"))
    }

    /// After ALTER SEQUENCE [IF EXISTS] name, where options follow.
    pub(super) fn alter_sequence(
        &mut self,
        name: ObjectName,
        if_exists: bool,
    ) -> Result<Statement, SqlError> {
        let options = self.sequence_options()?;
        if options == SequenceOptions::default() && self.at_end() {
            return Err(self.expected("an option of a sequence"));
        }
        Ok(Statement::Command(Command::AlterSequence { name, if_exists, options }, "ALTER SEQUENCE"))
    }

    fn sequence_options(&mut self) -> Result<SequenceOptions, SqlError> {
        let mut options = SequenceOptions::default();
        let mut count = 0;
        while !self.at_end() {
            count += 1;
            if count > OPTIONS_MAX {
                return Err(SqlError::too_large(format!("more than {OPTIONS_MAX} options of a sequence")));
            }
            self.sequence_option(&mut options)?;
        }
        Ok(options)
    }

    pub(super) fn sequence_option(&mut self, options: &mut SequenceOptions) -> Result<(), SqlError> {
        if self.words(&["INCREMENT"]) {
            let _ = self.words(&["BY"]);
            let value = self.integer()?;
            once(&mut options.increment, value)
        } else if self.words(&["NO", "MINVALUE"]) {
            once(&mut options.min, None)
        } else if self.words(&["MINVALUE"]) {
            let value = self.integer()?;
            once(&mut options.min, Some(value))
        } else if self.words(&["NO", "MAXVALUE"]) {
            once(&mut options.max, None)
        } else if self.words(&["MAXVALUE"]) {
            let value = self.integer()?;
            once(&mut options.max, Some(value))
        } else if self.words(&["START"]) {
            let _ = self.words(&["WITH"]);
            let value = self.integer()?;
            once(&mut options.start, value)
        } else if self.words(&["OWNED", "BY"]) {
            let owner = if self.words(&["NONE"]) { None } else { Some(self.table_of_column()?) };
            once(&mut options.owned_by, owner)
        } else if self.words(&["CACHE"]) {
            // How many values a session may take ahead. It takes none ahead, which every sequence allows.
            match self.integer()? {
                1.. => Ok(()),
                _ => Err(SqlError::syntax("CACHE must be at least 1")),
            }
        } else if self.words(&["NO", "CYCLE"]) {
            Ok(())
        } else {
            for feature in ["CYCLE", "VIRTUAL", "RESTART", "AS"] {
                if self.next_is(feature) {
                    return Err(SqlError::unsupported(format!("the option {feature} of a sequence")));
                }
            }
            Err(self.expected("an option of a sequence"))
        }
    }

    /// The table of `[[db.]schema.]table.column`.
    fn table_of_column(&mut self) -> Result<ObjectName, SqlError> {
        self.column_name().map(|(table, _)| table)
    }

    /// After CREATE TYPE.
    pub(super) fn create_type(&mut self) -> Result<Statement, SqlError> {
        use sqlparser::tokenizer::Token;
        let if_not_exists = self.if_not_exists();
        let name = self.object_name()?;
        if !self.words(&["AS", "ENUM"]) {
            return Err(SqlError::unsupported("CREATE TYPE of anything but an ENUM"));
        }
        self.expect_token(&Token::LParen, "(")?;
        let mut labels = Vec::new();
        while !self.parser.consume_token(&Token::RParen) {
            if labels.len() == LABELS_MAX {
                return Err(SqlError::too_large(format!("more than {LABELS_MAX} labels")));
            }
            if !labels.is_empty() && !self.comma() {
                return Err(self.expected(", or )"));
            }
            labels.push(self.string()?);
        }
        Ok(Statement::Command(Command::CreateType { name, labels, if_not_exists }, "CREATE TYPE"))
    }

    /// After ALTER TYPE name: ADD VALUE, RENAME VALUE; none if it is something else.
    pub(super) fn alter_labels(&mut self, name: &ObjectName) -> Result<Option<Statement>, SqlError> {
        let change = if self.words(&["ADD", "VALUE"]) {
            let if_not_exists = self.if_not_exists();
            let label = self.string()?;
            let beside = if self.words(&["BEFORE"]) {
                Some((true, self.string()?))
            } else if self.words(&["AFTER"]) {
                Some((false, self.string()?))
            } else {
                None
            };
            LabelChange::Add { label, if_not_exists, beside }
        } else if self.words(&["RENAME", "VALUE"]) {
            let from = self.string()?;
            self.expect_words(&["TO"])?;
            LabelChange::Rename { from, to: self.string()? }
        } else if self.words(&["DROP", "VALUE"]) {
            return Err(SqlError::unsupported("ALTER TYPE … DROP VALUE"));
        } else {
            return Ok(None);
        };
        Ok(Some(Statement::Command(Command::AlterType { name: name.clone(), change }, "ALTER TYPE")))
    }
}

/// The sequence that options make: as in PostgreSQL from 1 upwards, or from -1 downwards, within what its type holds.
pub fn sequence_of(options: &SequenceOptions, least: i64, greatest: i64) -> Sequence {
    let increment = options.increment.unwrap_or(1);
    let (least, greatest) = if increment < 0 { (least, -1) } else { (1, greatest) };
    let min = options.min.flatten().unwrap_or(least);
    let max = options.max.flatten().unwrap_or(greatest);
    let start = options.start.unwrap_or(if increment < 0 { max } else { min });
    Sequence { start, increment, min, max, owned_by: None }
}

fn once<T>(option: &mut Option<T>, value: T) -> Result<(), SqlError> {
    match option.replace(value) {
        None => Ok(()),
        Some(_) => Err(SqlError::syntax("conflicting or redundant options")),
    }
}
