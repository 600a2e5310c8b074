//! Text to statements. Queries and DML are read by `sqlparser`; statements about principals, privileges, objects
//! and the session by our own functions over its tokens.
//!
//! Everything is bounded before it is read: bytes, nesting, and the length of what stands between two commas, which
//! bounds the depth of the tree that a chain of operators makes.

use grantd_catalog::command::Command;
use grantd_catalog::name::Name;
use sqlparser::ast;
use sqlparser::dialect::PostgreSqlDialect;
use sqlparser::parser::{Parser, ParserError};
use sqlparser::tokenizer::{Location, Token, TokenWithSpan, Tokenizer, Whitespace, Word};

use crate::cloud::redact;
use crate::error::SqlError;

pub mod names;
pub mod role;
pub mod types;
pub mod grant;
pub mod default;
pub mod sequence;
pub mod table;
pub mod object;
pub mod external;
pub mod backup;
pub mod alter;
pub mod session;
pub mod transaction;
pub mod activity;
pub mod feed;
pub mod schedule;
pub mod job;
pub mod named;
pub mod show;
pub mod copy;
mod reserved;

pub use self::reserved::is_reserved_word;

use self::activity::ActivityStatement;
use self::backup::BackupStatement;
use self::copy::{CopyStatement, Housekeeping};
use self::external::ExternalStatement;
use self::job::JobStatement;
use self::named::NamedStatement;
use self::role::RoleStatement;
use self::schedule::ScheduleStatement;
use self::session::SetStatement;
use self::show::ShowStatement;
use self::table::TableStatement;
use self::transaction::TransactionStatement;

/// The most bytes of one statement, and of one simple query's text.
pub const STATEMENT_BYTES_MAX: usize = 1 << 20;
/// The most levels of parentheses, subqueries and prefix operators.
pub const NESTING_MAX: usize = 40;
/// The most tokens between two commas of one level.
pub const SEGMENT_TOKENS_MAX: usize = 2_000;
/// The most bytes of one identifier. A name that is kept has at most 63; one that is not there is told the client.
pub const IDENTIFIER_BYTES_MAX: usize = 1_024;
/// The most statements in one simple query.
pub const STATEMENTS_MAX: usize = 1_000;

/// One statement.
#[derive(Clone, Debug)]
#[allow(missing_docs, reason = "the statements of the same name")]
pub enum Statement {
    /// Nothing but blanks and comments.
    Empty,
    Query(Box<ast::Query>),
    /// With what WITH holds before it, and OVERRIDING.
    Insert(Box<ast::Insert>, Option<Box<ast::With>>, Option<Overriding>),
    /// UPSERT, read as the INSERT that it resembles.
    Upsert(Box<ast::Insert>),
    Update(Box<ast::Update>, Option<Box<ast::With>>),
    Delete(Box<ast::Delete>, Option<Box<ast::With>>),
    Truncate(Truncate),
    /// CREATE and ALTER TABLE, CREATE INDEX.
    Table(Box<TableStatement>),
    /// CREATE [OR REPLACE] VIEW, not MATERIALIZED and not TEMPORARY.
    CreateView(Box<ast::CreateView>),
    /// CREATE [OR REPLACE] FUNCTION.
    CreateFunction(Box<ast::CreateFunction>),
    /// SHOW SESSIONS and the like, CANCEL, SHOW CLUSTER NODES.
    Activity(ActivityStatement),
    /// What looks outside before it is done.
    External(Box<ExternalStatement>),
    /// BACKUP, SHOW BACKUPS, SHOW BACKUP.
    Backup(Box<BackupStatement>),
    /// Schedules of backups.
    Schedule(Box<ScheduleStatement>),
    /// SHOW JOBS and the like, PAUSE, RESUME and CANCEL JOB.
    Job(Box<JobStatement>),
    /// CREATE and ALTER ROLE: a password in it is still text.
    Role(RoleStatement),
    /// A command that needs nothing but the catalog, and its tag.
    Command(Command, &'static str),
    Set(SetStatement),
    Show(ShowStatement),
    Copy(CopyStatement),
    /// VACUUM and ANALYZE.
    Housekeeping(Housekeeping),
    /// BEGIN, COMMIT and the like.
    Transaction(TransactionStatement),
    /// EXPLAIN of a query or a change of rows.
    Explain(Box<Statement>),
    /// PREPARE, EXECUTE, DECLARE, FETCH and the like.
    Named(NamedStatement),
}

/// What an INSERT says of values for identity columns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Overriding {
    /// They count, also where the column is GENERATED ALWAYS.
    System,
    /// They do not: the sequence's are taken.
    User,
}

/// TRUNCATE.
#[derive(Clone, Debug)]
#[allow(missing_docs, reason = "the clauses of the statement")]
pub struct Truncate {
    pub names: Vec<ast::ObjectName>,
    pub restart_identity: bool,
    pub cascade: bool,
}

/// Splits a text at its semicolons and parses every statement.
///
/// Errors: 42601 with the position in `text`, 0A000, 54000.
pub fn parse_all(text: &str) -> Result<Vec<(String, Statement)>, SqlError> {
    let tokens = tokenize(text)?;
    let mut statements = Vec::new();
    for part in tokens.split(|token| token.token == Token::SemiColon) {
        let Some((first, last)) = bounds(part) else { continue };
        if statements.len() == STATEMENTS_MAX {
            return Err(SqlError::too_large(format!("more than {STATEMENTS_MAX} statements in one text")));
        }
        let statement = parse_tokens(text, part.to_vec())?;
        statements.push((slice(text, first, last).to_owned(), statement));
    }
    Ok(statements)
}

/// Parses one statement; a semicolon may end it.
pub fn parse(text: &str) -> Result<Statement, SqlError> {
    let mut statements = parse_all(text)?;
    match statements.len() {
        0 => Ok(Statement::Empty),
        1 => Ok(statements.remove(0).1),
        _ => Err(SqlError::syntax("cannot insert multiple commands into a prepared statement")),
    }
}

/// Parses an expression that was stored as text.
pub fn parse_expression(text: &str) -> Result<ast::Expr, SqlError> {
    let mut parser = parser(tokenize(text)?);
    let expression = parser.parse_expr().map_err(|error| parser_error(text, error))?;
    end_of(text, &mut parser)?;
    Ok(expression)
}

/// Parses the signature of a function, `s.f(int, string)`: its name and the types of its arguments.
pub fn parse_signature(text: &str) -> Result<(ast::ObjectName, Vec<ast::DataType>), SqlError> {
    let mut parser = parser(tokenize(text)?);
    let wrong = |error| parser_error(text, error);
    let name = parser.parse_object_name(false).map_err(wrong)?;
    parser.expect_token(&Token::LParen).map_err(wrong)?;
    let mut types = Vec::new();
    if !parser.consume_token(&Token::RParen) {
        types = parser.parse_comma_separated(|parser| parser.parse_data_type()).map_err(wrong)?;
        parser.expect_token(&Token::RParen).map_err(wrong)?;
    }
    end_of(text, &mut parser)?;
    Ok((name, types))
}

/// Parses a name that was written in a string.
pub fn parse_object_name(text: &str) -> Result<ast::ObjectName, SqlError> {
    let mut parser = parser(tokenize(text)?);
    let name = parser.parse_object_name(false).map_err(|error| parser_error(text, error))?;
    end_of(text, &mut parser)?;
    Ok(name)
}

fn tokenize(text: &str) -> Result<Vec<TokenWithSpan>, SqlError> {
    if text.len() > STATEMENT_BYTES_MAX {
        return Err(SqlError::too_large(format!("a statement of more than {STATEMENT_BYTES_MAX} bytes"))
            .with_hint("Send the rows in several statements."));
    }
    if text.contains('\0') {
        return Err(crate::value::nul_in_text());
    }
    let tokens =
        Tokenizer::new(&PostgreSqlDialect {}, text).tokenize_with_location().map_err(|error| SqlError {
            position: position(text, error.location),
            ..SqlError::syntax(format!("lexical error: {}", lower_first(&error.message)))
        })?;
    let tokens = joined(text, tokens)?;
    check_shape(&tokens)?;
    Ok(tokens)
}

/// Leaves out blanks and comments, and joins string literals that a line break separates, as the standard says.
fn joined(text: &str, tokens: Vec<TokenWithSpan>) -> Result<Vec<TokenWithSpan>, SqlError> {
    let mut kept: Vec<TokenWithSpan> = Vec::with_capacity(tokens.len());
    let mut line_break = false;
    for token in tokens {
        match (&token.token, kept.last_mut().map(|last| (&mut last.token, &mut last.span))) {
            (Token::Whitespace(blank), _) => {
                line_break |= matches!(blank, Whitespace::Newline | Whitespace::SingleLineComment { .. });
                continue;
            }
            (Token::SingleQuotedString(more), Some((Token::SingleQuotedString(start), span)))
                if line_break =>
            {
                start.push_str(more);
                span.end = token.span.end;
            }
            (Token::SingleQuotedString(_), Some((Token::SingleQuotedString(_), _))) => {
                return Err(at_or_near(text, &token, "a line break between two string literals"));
            }
            _ => kept.push(token),
        }
        line_break = false;
    }
    Ok(kept)
}

/// Bounds the depth of whatever tree the tokens can make.
fn check_shape(tokens: &[TokenWithSpan]) -> Result<(), SqlError> {
    let mut segments = vec![0_usize];
    for token in tokens {
        match &token.token {
            Token::Word(word) if word.value.len() > IDENTIFIER_BYTES_MAX => {
                let most = IDENTIFIER_BYTES_MAX;
                return Err(SqlError::too_large(format!("an identifier of more than {most} bytes")));
            }
            Token::LParen | Token::LBracket | Token::LBrace => segments.push(0),
            Token::RParen | Token::RBracket | Token::RBrace if segments.len() > 1 => {
                segments.pop();
            }
            Token::Comma | Token::SemiColon => {
                if let Some(segment) = segments.last_mut() {
                    *segment = 0;
                }
            }
            _ => {}
        }
        if let Some(segment) = segments.last_mut() {
            *segment += 1;
            if *segment > SEGMENT_TOKENS_MAX {
                return Err(SqlError::too_large("the statement has too long an expression")
                    .with_hint("Write a long list of alternatives with IN (…)."));
            }
        }
        if segments.len() > NESTING_MAX {
            return Err(SqlError::too_large("the statement is nested too deeply"));
        }
    }
    Ok(())
}

/// Takes INTO out of a query.
fn into_of(query: &mut ast::Query) -> Option<ast::SelectInto> {
    match query.body.as_mut() {
        ast::SetExpr::Select(select) => select.into.take(),
        _ => None,
    }
}

/// A query, or the change of rows that stands behind WITH.
fn with_change(query: Box<ast::Query>) -> Result<Statement, SqlError> {
    if !matches!(*query.body, ast::SetExpr::Insert(_) | ast::SetExpr::Update(_) | ast::SetExpr::Delete(_)) {
        return Ok(Statement::Query(query));
    }
    let is_bare = query.order_by.is_none()
        && query.limit_clause.is_none()
        && query.fetch.is_none()
        && query.locks.is_empty();
    if !is_bare {
        return Err(SqlError::syntax("a change of rows takes no ORDER BY, LIMIT or FOR UPDATE"));
    }
    let with = query.with.map(Box::new);
    match *query.body {
        ast::SetExpr::Insert(ast::Statement::Insert(insert)) => {
            Ok(Statement::Insert(Box::new(insert), with, None))
        }
        ast::SetExpr::Update(ast::Statement::Update(update)) => Ok(Statement::Update(Box::new(update), with)),
        ast::SetExpr::Delete(ast::Statement::Delete(delete)) => Ok(Statement::Delete(Box::new(delete), with)),
        _ => Err(SqlError::unsupported("this form of a data-modifying WITH")),
    }
}

fn bounds(tokens: &[TokenWithSpan]) -> Option<(Location, Location)> {
    let (first, last) = (tokens.first()?, tokens.last()?);
    Some((first.span.start, last.span.end))
}

fn parse_tokens(text: &str, mut tokens: Vec<TokenWithSpan>) -> Result<Statement, SqlError> {
    spell_out_table(&mut tokens);
    enclose_source(&mut tokens);
    table::spell_out_columns(&mut tokens);
    let overriding = take_overriding(&mut tokens);
    let mut reader = Reader { text, parser: parser(tokens) };
    let mut statement = reader.statement()?;
    end_of(text, &mut reader.parser)?;
    if overriding.is_some() {
        match inserting(&mut statement) {
            Some(place) => *place = overriding,
            None => return Err(SqlError::syntax("syntax error at or near \"OVERRIDING\"")),
        }
    }
    Ok(statement)
}

/// Takes `OVERRIDING SYSTEM VALUE` and its like out: `sqlparser` does not know it. One within parentheses is of another
/// INSERT than the statement's own, and stays.
fn take_overriding(tokens: &mut Vec<TokenWithSpan>) -> Option<Overriding> {
    let mut depth = 0_usize;
    let at = tokens.windows(3).position(|words| {
        match words[0].token {
            Token::LParen => depth += 1,
            Token::RParen => depth = depth.saturating_sub(1),
            _ => {}
        }
        depth == 0
            && is_word(&words[0].token, "OVERRIDING")
            && (is_word(&words[1].token, "SYSTEM") || is_word(&words[1].token, "USER"))
            && is_word(&words[2].token, "VALUE")
    })?;
    let overriding =
        if is_word(&tokens[at + 1].token, "SYSTEM") { Overriding::System } else { Overriding::User };
    tokens.drain(at..at + 3);
    Some(overriding)
}

/// The place of OVERRIDING in a statement that inserts.
fn inserting(statement: &mut Statement) -> Option<&mut Option<Overriding>> {
    match statement {
        Statement::Insert(_, _, overriding) => Some(overriding),
        Statement::Explain(explained) => inserting(explained),
        _ => None,
    }
}

/// `TABLE t` is `SELECT * FROM t`; `sqlparser` knows it behind UNION only.
fn spell_out_table(tokens: &mut Vec<TokenWithSpan>) {
    let Some(first) = tokens.iter().position(|token| !matches!(token.token, Token::Whitespace(_))) else {
        return;
    };
    if !is_word(&tokens[first].token, "TABLE") {
        return;
    }
    let span = tokens[first].span;
    let words = [Token::make_keyword("SELECT"), Token::Mul, Token::make_keyword("FROM")];
    tokens.splice(first..=first, words.map(|token| TokenWithSpan { token, span }));
}

/// `INSERT … SELECT 1 ON CONFLICT …`: behind a select list `sqlparser` reads ON as an alias, unless the query stands in
/// parentheses.
fn enclose_source(tokens: &mut Vec<TokenWithSpan>) {
    if !tokens.iter().any(|token| is_word(&token.token, "CONFLICT")) {
        return;
    }
    let (mut depth, mut first, mut last) = (0_usize, None, None);
    let mut into = false;
    for (at, token) in tokens.iter().enumerate() {
        match &token.token {
            Token::LParen => depth += 1,
            Token::RParen => depth = depth.saturating_sub(1),
            _ if depth > 0 => {}
            word if is_word(word, "INSERT") => into = true,
            word if into && first.is_none() && is_word(word, "SELECT") => first = Some(at),
            word if is_word(word, "ON")
                && tokens.get(at + 1).is_some_and(|next| is_word(&next.token, "CONFLICT")) =>
            {
                last = Some(at);
            }
            _ => {}
        }
    }
    let (Some(first), Some(last)) = (first, last) else { return };
    // WITH between INTO and SELECT belongs to the query.
    let with = tokens[..first].iter().rposition(|token| is_word(&token.token, "WITH"));
    let insert = tokens[..first].iter().rposition(|token| is_word(&token.token, "INSERT"));
    let first = with.filter(|with| Some(*with) > insert).unwrap_or(first);
    let (open, close) = (tokens[first].span, tokens[last].span);
    tokens.insert(last, TokenWithSpan { token: Token::RParen, span: close });
    tokens.insert(first, TokenWithSpan { token: Token::LParen, span: open });
}

/// `current_user()` is `current_user`: CockroachDB writes it in both ways, `sqlparser` reads only the second.
fn without_parentheses(tokens: &mut Vec<TokenWithSpan>) {
    let is_user = |token: &Token| is_word(token, "CURRENT_USER") || is_word(token, "SESSION_USER");
    let behind_period = |at: usize| at > 0 && tokens[at - 1].token == Token::Period;
    let mut dropped = Vec::new();
    for at in (0..tokens.len()).filter(|&at| is_user(&tokens[at].token) && !behind_period(at)) {
        let mut next = (at + 1..tokens.len()).filter(|&i| !matches!(tokens[i].token, Token::Whitespace(_)));
        if let (Some(open), Some(close)) = (next.next(), next.next())
            && tokens[open].token == Token::LParen
            && tokens[close].token == Token::RParen
        {
            dropped.extend([open, close]);
        }
    }
    let mut dropped = dropped.into_iter().peekable();
    let mut index = 0..;
    tokens.retain(|_| dropped.next_if_eq(&index.next().unwrap_or_default()).is_none());
}

fn parser(mut tokens: Vec<TokenWithSpan>) -> Parser<'static> {
    without_parentheses(&mut tokens);
    Parser::new(&PostgreSqlDialect {}).with_recursion_limit(NESTING_MAX).with_tokens_with_locations(tokens)
}

fn end_of(text: &str, parser: &mut Parser<'_>) -> Result<(), SqlError> {
    let next = parser.peek_token();
    if next.token == Token::EOF { Ok(()) } else { Err(at_or_near(text, &next, "the end of the statement")) }
}

/// Reads one statement. The functions of the submodules are its methods.
pub struct Reader<'a> {
    text: &'a str,
    parser: Parser<'static>,
}

impl Reader<'_> {
    fn statement(&mut self) -> Result<Statement, SqlError> {
        let first = self.parser.peek_token();
        let word = match &first.token {
            Token::Word(word) if word.quote_style.is_none() => word.value.to_ascii_uppercase(),
            Token::LParen => "SELECT".to_owned(),
            _ => return Err(self.expected("a statement")),
        };
        match word.as_str() {
            "SELECT" | "WITH" | "VALUES" | "TABLE" => self.query(),
            "INSERT" => self.insert(false),
            "UPSERT" => self.insert(true),
            "UPDATE" | "DELETE" => self.update_or_delete(),
            "TRUNCATE" => self.truncate(),
            "CREATE" => self.create(),
            "EXPERIMENTAL" => self.experimental(),
            "ALTER" => self.alter(),
            "DROP" => self.drop(),
            "GRANT" => self.grant(),
            "REVOKE" => self.revoke(),
            "REASSIGN" => self.reassign(),
            "COMMENT" => self.comment(),
            "EXPLAIN" => self.explain(),
            "USE" => self.use_database(),
            "SET" => self.set(),
            "RESET" => self.reset(),
            "SHOW" => self.show(),
            "DISCARD" => self.discard(),
            "CANCEL" => self.cancel(),
            "PAUSE" | "RESUME" => self.control_jobs(),
            "CHECK" => self.check_connection(),
            "BACKUP" => self.backup(),
            "RESTORE" => self.restore(),
            "COPY" => self.copy(),
            "VACUUM" | "ANALYZE" | "ANALYSE" => self.housekeeping(),
            "PREPARE" => self.prepare(),
            "EXECUTE" => self.execute(),
            "DEALLOCATE" => self.deallocate(),
            "DECLARE" => self.declare(),
            "FETCH" => self.fetch(false),
            "MOVE" => self.fetch(true),
            "CLOSE" => self.close(),
            "BEGIN" | "START" | "COMMIT" | "END" | "ROLLBACK" | "ABORT" | "SAVEPOINT" | "RELEASE" => {
                self.transaction()
            }
            "REINDEX" | "CALL" | "DO" | "MERGE" | "LISTEN" | "NOTIFY" | "UNLISTEN" | "LOCK" | "REFRESH"
            | "IMPORT" | "EXPORT" => Err(SqlError::unsupported(word)),
            _ => Err(self.expected("a statement")),
        }
    }

    fn query(&mut self) -> Result<Statement, SqlError> {
        match self.sql(Parser::parse_statement)? {
            ast::Statement::Query(mut query) => match into_of(&mut query) {
                Some(into) => table::select_into(into, query),
                None => with_change(query),
            },
            _ => Err(SqlError::unsupported("a data-modifying WITH")),
        }
    }

    fn insert(&mut self, upsert: bool) -> Result<Statement, SqlError> {
        let token = self.parser.next_token();
        match self.sql(|parser| parser.parse_insert(token))? {
            ast::Statement::Insert(insert) if upsert => Ok(Statement::Upsert(Box::new(insert))),
            ast::Statement::Insert(insert) => Ok(Statement::Insert(Box::new(insert), None, None)),
            _ => Err(SqlError::unsupported("this form of INSERT")),
        }
    }

    fn update_or_delete(&mut self) -> Result<Statement, SqlError> {
        match self.sql(Parser::parse_statement)? {
            ast::Statement::Update(update) => Ok(Statement::Update(Box::new(update), None)),
            ast::Statement::Delete(delete) => Ok(Statement::Delete(Box::new(delete), None)),
            _ => Err(SqlError::unsupported("this form of UPDATE or DELETE")),
        }
    }

    fn truncate(&mut self) -> Result<Statement, SqlError> {
        self.expect_words(&["TRUNCATE"])?;
        self.words(&["TABLE"]);
        self.words(&["ONLY"]);
        let names = self.list(|reader| reader.sql(|parser| parser.parse_object_name(false)))?;
        let restart_identity = self.words(&["RESTART", "IDENTITY"]);
        let _ = restart_identity || self.words(&["CONTINUE", "IDENTITY"]);
        let cascade = self.words(&["CASCADE"]);
        let _ = cascade || self.words(&["RESTRICT"]);
        Ok(Statement::Truncate(Truncate { names, restart_identity, cascade }))
    }

    /// Runs a function of `sqlparser` and translates its error.
    fn sql<T>(
        &mut self,
        read: impl FnOnce(&mut Parser<'static>) -> Result<T, ParserError>,
    ) -> Result<T, SqlError> {
        read(&mut self.parser).map_err(|error| parser_error(self.text, error))
    }

    /// Whether the next tokens are these unquoted words; if so they are consumed.
    fn words(&mut self, words: &[&str]) -> bool {
        let start = self.parser.index();
        for word in words {
            if !self.next_is(word) {
                while self.parser.index() > start {
                    self.parser.prev_token();
                }
                return false;
            }
            self.parser.advance_token();
        }
        true
    }

    fn next_is(&self, word: &str) -> bool {
        is_word(&self.parser.peek_token_ref().token, word)
    }

    fn expect_words(&mut self, words: &[&str]) -> Result<(), SqlError> {
        if self.words(words) { Ok(()) } else { Err(self.expected(&words.join(" "))) }
    }

    fn at_end(&self) -> bool {
        self.parser.peek_token_ref().token == Token::EOF
    }

    fn comma(&mut self) -> bool {
        self.parser.consume_token(&Token::Comma)
    }

    fn expected(&self, what: &str) -> SqlError {
        at_or_near(self.text, self.parser.peek_token_ref(), what)
    }
}

fn is_word(token: &Token, word: &str) -> bool {
    matches!(token, Token::Word(Word { value, quote_style: None, .. }) if value.eq_ignore_ascii_case(word))
}

fn at_or_near(text: &str, token: &TokenWithSpan, expected: &str) -> SqlError {
    let near = match &token.token {
        Token::EOF => "EOF".to_owned(),
        // May be a password.
        Token::SingleQuotedString(_) | Token::EscapedStringLiteral(_) | Token::DollarQuotedString(_) => {
            "a string".to_owned()
        }
        other => redact::repeated(&other.to_string()).chars().take(60).collect::<String>().to_lowercase(),
    };
    SqlError {
        position: if token.token == Token::EOF {
            end_position(text)
        } else {
            position(text, token.span.start)
        },
        ..SqlError::syntax(format!("at or near \"{near}\": syntax error"))
            .with_detail(format!("Expected {expected}."))
    }
}

fn parser_error(text: &str, error: ParserError) -> SqlError {
    let message = match error {
        ParserError::RecursionLimitExceeded => {
            return SqlError::too_large("the statement is nested too deeply");
        }
        ParserError::TokenizerError(message) | ParserError::ParserError(message) => message,
    };
    let (message, location) = match message.rsplit_once(" at Line: ") {
        Some((message, place)) => (message.to_owned(), parse_location(place)),
        None => (message, None),
    };
    let at = match location {
        Some(location) => position(text, location),
        None => end_position(text),
    };
    let error = match message.strip_prefix("Expected: ").and_then(|rest| rest.rsplit_once(", found: ")) {
        Some((expected, found)) => {
            SqlError::syntax(format!("at or near \"{}\": syntax error", shortened(found).to_lowercase()))
                .with_detail(format!("Expected {}.", shortened(expected)))
        }
        None => SqlError::syntax(format!("syntax error: {}", shortened(&lower_first(&message)))),
    };
    SqlError { position: at, ..error }
}

/// No error repeats more than this of a client's text: it may hold what is secret or long.
fn shortened(text: &str) -> String {
    redact::repeated(text).chars().take(80).collect()
}

fn parse_location(text: &str) -> Option<Location> {
    let (line, column) = text.split_once(", Column: ")?;
    Some(Location { line: line.trim().parse().ok()?, column: column.trim().parse().ok()? })
}

fn lower_first(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map(|first| first.to_lowercase().chain(chars).collect()).unwrap_or_default()
}

/// Characters from 1, of a line and column from 1. A location of 0 is unknown.
fn position(text: &str, location: Location) -> Option<u32> {
    if location.line == 0 {
        return None;
    }
    let lines = usize::try_from(location.line).ok()?.checked_sub(1)?;
    let before: usize = text.split_inclusive('\n').take(lines).map(|line| line.chars().count()).sum();
    u32::try_from(before + usize::try_from(location.column).ok()?).ok()
}

/// Behind the last character: the parser gives no place for the end.
fn end_position(text: &str) -> Option<u32> {
    u32::try_from(text.chars().count() + 1).ok()
}

fn offset(text: &str, location: Location) -> usize {
    let chars = position(text, location).map_or(0, |at| at.saturating_sub(1) as usize);
    text.char_indices().nth(chars).map_or(text.len(), |(at, _)| at)
}

fn slice(text: &str, start: Location, end: Location) -> &str {
    text.get(offset(text, start)..offset(text, end)).unwrap_or(text)
}

/// The name of an identifier: folded to lower case unless it was quoted.
pub fn name_of(ident: &ast::Ident) -> Name {
    match ident.quote_style {
        Some(_) => Name::normalize(&ident.value),
        None => Name::normalize(&ident.value.to_lowercase()),
    }
}

#[cfg(test)]
mod tests;
