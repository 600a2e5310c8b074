//! What a session gives a name: PREPARE, EXECUTE, DEALLOCATE; DECLARE, FETCH, MOVE, CLOSE. And EXPLAIN.

use grantd_catalog::name::Name;
use sqlparser::ast;
use sqlparser::parser::Parser;
use sqlparser::tokenizer::Token;

use super::{Reader, Statement, name_of, slice};
use crate::error::SqlError;

/// One of these statements.
#[derive(Clone, Debug)]
pub enum NamedStatement {
    /// PREPARE, with the text behind AS.
    Prepare {
        /// The statement's name.
        name: Name,
        /// The types of its parameters, as far as they are given.
        types: Vec<ast::DataType>,
        /// What is prepared.
        text: String,
    },
    /// EXECUTE.
    Execute {
        /// The statement's name.
        name: Name,
        /// A value for each parameter.
        arguments: Vec<ast::Expr>,
    },
    /// DEALLOCATE; none: ALL.
    Deallocate(Option<Name>),
    /// DECLARE … CURSOR, with the text behind FOR.
    Declare {
        /// The cursor's name.
        name: Name,
        /// Whether it may go back: not said is yes.
        scrolls: bool,
        /// The query.
        text: String,
    },
    /// FETCH, MOVE.
    Fetch {
        /// The cursor's name.
        name: Name,
        /// Which rows.
        direction: Direction,
        /// MOVE: without the rows.
        moves: bool,
    },
    /// CLOSE; none: ALL.
    Close(Option<Name>),
}

/// Which rows a FETCH is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// So many on, or back: 0 is the row where it is.
    Forward(i64),
    /// All that are left.
    ForwardAll,
    /// All before.
    BackwardAll,
    /// The row of this number, from 1; from the end if it is negative; 0 is before the first.
    Absolute(i64),
    /// The one row that is so far away.
    Relative(i64),
}

impl Reader<'_> {
    /// `EXPLAIN [VERBOSE] statement`, `EXPLAIN PRIVILEGE …`.
    pub(super) fn explain(&mut self) -> Result<Statement, SqlError> {
        self.expect_words(&["EXPLAIN"])?;
        if self.words(&["PRIVILEGE"]) || self.words(&["PRIVILEGES"]) {
            return self.explain_privilege();
        }
        if self.next_is("ANALYZE") || self.next_is("ANALYSE") {
            return Err(SqlError::unsupported("EXPLAIN ANALYZE"));
        }
        let is_list = self.parser.peek_token_ref().token == Token::LParen
            && matches!(&self.parser.peek_nth_token_ref(1).token, Token::Word(word)
                if !["SELECT", "WITH", "VALUES", "TABLE"].contains(&word.value.to_uppercase().as_str()));
        if is_list {
            return Err(SqlError::unsupported("an option of EXPLAIN"));
        }
        self.words(&["VERBOSE"]);
        let explained = self.statement()?;
        match &explained {
            Statement::Query(_)
            | Statement::Insert(..)
            | Statement::Upsert(_)
            | Statement::Update(..)
            | Statement::Delete(..) => Ok(Statement::Explain(Box::new(explained))),
            _ => Err(SqlError::unsupported("EXPLAIN of such a statement")),
        }
    }

    /// `PREPARE name [(type, …)] AS statement`.
    pub(super) fn prepare(&mut self) -> Result<Statement, SqlError> {
        self.expect_words(&["PREPARE"])?;
        if self.next_is("TRANSACTION") {
            return Err(SqlError::unsupported("PREPARE TRANSACTION"));
        }
        let name = self.plain_name()?;
        let mut types = Vec::new();
        if self.parser.consume_token(&Token::LParen) {
            types = self.sql(|parser| parser.parse_comma_separated(Parser::parse_data_type))?;
            self.sql(|parser| parser.expect_token(&Token::RParen).map(drop))?;
        }
        self.expect_words(&["AS"])?;
        let (text, statement) = self.inner()?;
        match statement {
            Statement::Query(_)
            | Statement::Insert(..)
            | Statement::Upsert(_)
            | Statement::Update(..)
            | Statement::Delete(..) => Ok(named(NamedStatement::Prepare { name, types, text })),
            _ => Err(SqlError::unsupported("PREPARE of such a statement")),
        }
    }

    /// `EXECUTE name [(value, …)]`.
    pub(super) fn execute(&mut self) -> Result<Statement, SqlError> {
        self.expect_words(&["EXECUTE"])?;
        let name = self.plain_name()?;
        let mut arguments = Vec::new();
        if self.parser.consume_token(&Token::LParen) {
            arguments = self.sql(|parser| parser.parse_comma_separated(Parser::parse_expr))?;
            self.sql(|parser| parser.expect_token(&Token::RParen).map(drop))?;
        }
        Ok(named(NamedStatement::Execute { name, arguments }))
    }

    /// `DEALLOCATE [PREPARE] name` or `ALL`.
    pub(super) fn deallocate(&mut self) -> Result<Statement, SqlError> {
        self.expect_words(&["DEALLOCATE"])?;
        self.words(&["PREPARE"]);
        let name = if self.words(&["ALL"]) { None } else { Some(self.plain_name()?) };
        Ok(named(NamedStatement::Deallocate(name)))
    }

    /// `DECLARE name [BINARY] [ASENSITIVE | INSENSITIVE] [[NO] SCROLL] CURSOR [WITHOUT HOLD] FOR query`.
    pub(super) fn declare(&mut self) -> Result<Statement, SqlError> {
        self.expect_words(&["DECLARE"])?;
        let name = self.plain_name()?;
        let mut scrolls = true;
        loop {
            if self.words(&["BINARY"]) {
                return Err(SqlError::unsupported("a BINARY cursor"));
            } else if self.words(&["NO", "SCROLL"]) {
                scrolls = false;
            } else if !(self.words(&["ASENSITIVE"])
                || self.words(&["INSENSITIVE"])
                || self.words(&["SCROLL"]))
            {
                break;
            }
        }
        self.expect_words(&["CURSOR"])?;
        if self.words(&["WITH", "HOLD"]) {
            return Err(SqlError::unsupported("a cursor WITH HOLD"));
        }
        self.words(&["WITHOUT", "HOLD"]);
        self.expect_words(&["FOR"])?;
        let (text, statement) = self.inner()?;
        match statement {
            Statement::Query(query) if query.with.as_ref().is_some_and(crate::sql::plan::changes) => {
                Err(SqlError::unsupported("a cursor of a WITH that changes rows"))
            }
            Statement::Query(query) if query.locks.is_empty() => {
                Ok(named(NamedStatement::Declare { name, scrolls, text }))
            }
            Statement::Query(_) => Err(SqlError::unsupported("a cursor FOR UPDATE or FOR SHARE")),
            _ => Err(SqlError::unsupported("a cursor of anything but a query")),
        }
    }

    /// `FETCH` or `MOVE` `[direction] [FROM | IN] name`.
    pub(super) fn fetch(&mut self, moves: bool) -> Result<Statement, SqlError> {
        self.expect_words(&[if moves { "MOVE" } else { "FETCH" }])?;
        let direction = self.direction()?;
        let _ = self.words(&["FROM"]) || self.words(&["IN"]);
        let name = self.plain_name()?;
        Ok(named(NamedStatement::Fetch { name, direction, moves }))
    }

    /// `CLOSE name` or `ALL`.
    pub(super) fn close(&mut self) -> Result<Statement, SqlError> {
        self.expect_words(&["CLOSE"])?;
        let name = if self.words(&["ALL"]) { None } else { Some(self.plain_name()?) };
        Ok(named(NamedStatement::Close(name)))
    }

    fn direction(&mut self) -> Result<Direction, SqlError> {
        // A word may be the name of the cursor as well.
        let is_name = matches!(self.parser.peek_nth_token_ref(1).token, Token::EOF);
        if is_name {
            return Ok(Direction::Forward(1));
        }
        Ok(if self.words(&["NEXT"]) {
            Direction::Forward(1)
        } else if self.words(&["PRIOR"]) {
            Direction::Forward(-1)
        } else if self.words(&["FIRST"]) {
            Direction::Absolute(1)
        } else if self.words(&["LAST"]) {
            Direction::Absolute(-1)
        } else if self.words(&["ABSOLUTE"]) {
            Direction::Absolute(self.signed()?)
        } else if self.words(&["RELATIVE"]) {
            Direction::Relative(self.signed()?)
        } else if self.words(&["ALL"]) {
            Direction::ForwardAll
        } else if self.words(&["FORWARD"]) {
            if self.words(&["ALL"]) {
                Direction::ForwardAll
            } else {
                Direction::Forward(self.count_or_one()?)
            }
        } else if self.words(&["BACKWARD"]) {
            if self.words(&["ALL"]) {
                Direction::BackwardAll
            } else {
                let count = self.count_or_one()?;
                Direction::Forward(count.checked_neg().unwrap_or(i64::MAX))
            }
        } else {
            Direction::Forward(self.count_or_one()?)
        })
    }

    fn count_or_one(&mut self) -> Result<i64, SqlError> {
        match self.parser.peek_token_ref().token {
            Token::Number(..) | Token::Minus | Token::Plus => self.signed(),
            _ => Ok(1),
        }
    }

    fn signed(&mut self) -> Result<i64, SqlError> {
        let is_negative = self.parser.consume_token(&Token::Minus);
        if !is_negative {
            let _ = self.parser.consume_token(&Token::Plus);
        }
        let Token::Number(digits, false) = &self.parser.peek_token_ref().token else {
            return Err(self.expected("a number"));
        };
        let Ok(count) = digits.parse::<i64>() else { return Err(self.expected("a number of 64 bits")) };
        self.parser.advance_token();
        Ok(if is_negative { -count } else { count })
    }

    /// The statement that stands from here on, and its text.
    fn inner(&mut self) -> Result<(String, Statement), SqlError> {
        let start = self.parser.peek_token_ref().span.start;
        let statement = self.statement()?;
        let end = self.parser.get_current_token().span.end;
        Ok((slice(self.text, start, end).to_owned(), statement))
    }

    fn plain_name(&mut self) -> Result<Name, SqlError> {
        let ident = self.sql(Parser::parse_identifier)?;
        Ok(name_of(&ident))
    }
}

fn named(statement: NamedStatement) -> Statement {
    Statement::Named(statement)
}
