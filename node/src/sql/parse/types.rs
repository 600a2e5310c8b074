//! Types and signatures of functions in our own statements.

use grantd_catalog::command::{FunctionName, TypeName};
use grantd_catalog::object::{ARGUMENTS_MAX, ColumnType};
use sqlparser::tokenizer::Token;

use super::Reader;
use crate::error::SqlError;

/// The words of each type that needs no more than words; of those that begin alike the longest first.
const WORDS: [(&[&str], ColumnType); 35] = [
    (&["DOUBLE", "PRECISION"], ColumnType::Float8),
    (&["CHARACTER", "VARYING"], TEXT),
    (&["TIMESTAMP", "WITH", "TIME", "ZONE"], ColumnType::TimestampTz),
    (&["TIMESTAMP", "WITHOUT", "TIME", "ZONE"], ColumnType::Timestamp),
    (&["TIMESTAMP"], ColumnType::Timestamp),
    (&["TIME", "WITHOUT", "TIME", "ZONE"], ColumnType::Time),
    (&["TIME"], ColumnType::Time),
    (&["DATE"], ColumnType::Date),
    (&["INTERVAL"], ColumnType::Interval),
    (&["DECIMAL"], DECIMAL),
    (&["NUMERIC"], DECIMAL),
    (&["DEC"], DECIMAL),
    (&["JSONB"], ColumnType::Jsonb),
    (&["JSON"], ColumnType::Jsonb),
    (&["FLOAT4"], ColumnType::Float4),
    (&["REAL"], ColumnType::Float4),
    (&["TIMESTAMPTZ"], ColumnType::TimestampTz),
    (&["BOOLEAN"], ColumnType::Bool),
    (&["BOOL"], ColumnType::Bool),
    (&["INT2"], ColumnType::Int2),
    (&["SMALLINT"], ColumnType::Int2),
    (&["INT4"], ColumnType::Int4),
    // INT is INT8 in CockroachDB.
    (&["INT"], ColumnType::Int8),
    (&["INTEGER"], ColumnType::Int8),
    (&["INT8"], ColumnType::Int8),
    (&["INT64"], ColumnType::Int8),
    (&["BIGINT"], ColumnType::Int8),
    (&["FLOAT"], ColumnType::Float8),
    (&["FLOAT8"], ColumnType::Float8),
    (&["TEXT"], TEXT),
    (&["STRING"], TEXT),
    (&["VARCHAR"], TEXT),
    (&["BYTEA"], ColumnType::Bytes),
    (&["BYTES"], ColumnType::Bytes),
    (&["UUID"], ColumnType::Uuid),
];
const DECIMAL: ColumnType = ColumnType::Decimal { bound: None };
const TEXT: ColumnType = ColumnType::Text { chars_max: None };

/// Types of PostgreSQL that are not there; no enum type is looked for under such a name.
const UNSUPPORTED: [&str; 10] =
    ["BIT", "BOX2D", "CHAR", "CHARACTER", "GEOGRAPHY", "GEOMETRY", "INET", "OID", "VARBIT", "TIMETZ"];

impl Reader<'_> {
    /// A type: one of those that every cluster has, without its length, or the name of an enum type.
    pub(super) fn type_name(&mut self) -> Result<TypeName, SqlError> {
        // Longer than the words for the type without a zone, and not there.
        if self.words(&["TIME", "WITH", "TIME", "ZONE"]) {
            return Err(SqlError::unsupported("the type TIME WITH TIME ZONE"));
        }
        if let Some((_, known)) = WORDS.iter().find(|(words, _)| self.words(words)) {
            // A signature does not tell VARCHAR(5) from TEXT.
            let has_bound = matches!(known, ColumnType::Text { .. } | ColumnType::Decimal { .. });
            if has_bound && self.parser.consume_token(&Token::LParen) {
                let _ = self.integer()?;
                if *known == DECIMAL && self.comma() {
                    let _ = self.integer()?;
                }
                self.expect_token(&Token::RParen, ")")?;
            }
            return Ok(TypeName::Known(*known));
        }
        if let Some(word) = UNSUPPORTED.iter().find(|word| self.next_is(word)) {
            return Err(SqlError::unsupported(format!("the type {word}")));
        }
        self.object_name().map(TypeName::Named)
    }

    /// `[[db.]schema.]f [([name] type, …)]`. Names of arguments are read and mean nothing.
    pub(super) fn function_name(&mut self) -> Result<FunctionName, SqlError> {
        let name = self.object_name()?;
        if !self.parser.consume_token(&Token::LParen) {
            return Ok(FunctionName { name, arguments: None });
        }
        let mut arguments = Vec::new();
        while !self.parser.consume_token(&Token::RParen) {
            if arguments.len() == ARGUMENTS_MAX {
                return Err(SqlError::too_large(format!("more than {ARGUMENTS_MAX} arguments")));
            }
            if !arguments.is_empty() && !self.comma() {
                return Err(self.expected(", or )"));
            }
            arguments.push(self.argument_type()?);
        }
        Ok(FunctionName { name, arguments: Some(arguments) })
    }

    fn argument_type(&mut self) -> Result<TypeName, SqlError> {
        let _ = self.words(&["IN"]);
        let start = self.parser.index();
        if let Ok(found) = self.type_name()
            && matches!(self.parser.peek_token_ref().token, Token::Comma | Token::RParen)
        {
            return Ok(found);
        }
        self.back_to(start);
        let is_named = matches!(self.parser.peek_nth_token_ref(1).token, Token::Word(_));
        if is_named {
            let _ = self.name()?;
        }
        self.type_name()
    }

    pub(super) fn expect_token(&mut self, token: &Token, what: &str) -> Result<(), SqlError> {
        if self.parser.consume_token(token) { Ok(()) } else { Err(self.expected(what)) }
    }

    /// A whole number with or without a sign, of 64 bits.
    pub(super) fn integer(&mut self) -> Result<i64, SqlError> {
        let sign = if self.parser.consume_token(&Token::Minus) {
            "-"
        } else {
            let _ = self.parser.consume_token(&Token::Plus);
            ""
        };
        let Token::Number(digits, _) = &self.parser.peek_token_ref().token else {
            return Err(self.expected("a whole number"));
        };
        let value =
            format!("{sign}{digits}").parse().map_err(|_| self.expected("a whole number of 64 bits"))?;
        self.parser.advance_token();
        Ok(value)
    }
}
