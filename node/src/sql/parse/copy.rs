//! COPY with its options in both syntaxes, VACUUM and ANALYZE.
//!
//! Source: PostgreSQL 15, `COPY` and `ProcessCopyOptions`, whose messages these are.

use grantd_catalog::name::Name;
use grantd_catalog::refusal::state::{
    FEATURE_NOT_SUPPORTED, INSUFFICIENT_PRIVILEGE, INVALID_PARAMETER_VALUE, SYNTAX_ERROR,
};
use sqlparser::ast;
use sqlparser::tokenizer::Token;

use super::{Reader, Statement};
use crate::error::SqlError;

/// COPY between a table, or what a query returns, and the client.
#[derive(Clone, Debug)]
pub enum CopyStatement {
    /// `COPY t (columns) FROM STDIN`.
    From(CopyTable),
    /// `COPY t (columns) TO STDOUT`.
    To(CopyTable),
    /// `COPY (query) TO STDOUT`.
    Query(Box<ast::Query>, CopyOptions),
}

/// A table, which of its columns, and how they are written.
#[derive(Clone, Debug)]
pub struct CopyTable {
    /// Its name.
    pub table: ast::ObjectName,
    /// Which columns, in this order; none: all.
    pub columns: Vec<Name>,
    /// How they are written.
    pub options: CopyOptions,
}

/// How rows are written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CopyOptions {
    /// As what.
    pub format: CopyFormat,
    /// Stands between two values.
    pub delimiter: u8,
    /// Stands for NULL.
    pub null: String,
    /// Whether there is a line of names.
    pub header: Header,
    /// CSV: stands around a value.
    pub quote: u8,
    /// CSV: stands before a quote, or another of it, within a value.
    pub escape: u8,
    /// CSV, TO: values that are quoted though they need not be.
    pub force_quote: ColumnSet,
    /// CSV, FROM: values that are never NULL.
    pub force_not_null: ColumnSet,
    /// CSV, FROM: values that are NULL also where they are quoted.
    pub force_null: ColumnSet,
}

/// The three formats.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "PostgreSQL's words")]
pub enum CopyFormat {
    Text,
    Csv,
    Binary,
}

/// The line of names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Header {
    /// There is none.
    Off,
    /// It is written; of what is read it is skipped.
    On,
    /// What is read must be the columns' names.
    Match,
}

/// Some of the columns.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub enum ColumnSet {
    /// None of them.
    #[default]
    None,
    /// All of them.
    All,
    /// These.
    Named(Vec<Name>),
}

impl ColumnSet {
    /// Whether `name` is one of them.
    pub fn has(&self, name: &str) -> bool {
        match self {
            Self::None => false,
            Self::All => true,
            Self::Named(names) => names.iter().any(|known| known.as_str() == name),
        }
    }
}

/// VACUUM or ANALYZE: what it would do here is done all the time or not needed, so it only says that it was allowed.
#[derive(Clone, Debug)]
pub struct Housekeeping {
    /// `VACUUM` or `ANALYZE`.
    pub tag: &'static str,
    /// Of which tables; none: of all that one may.
    pub tables: Vec<ast::ObjectName>,
}

/// The most options of one statement: each may be there once, and once more to be refused.
const OPTIONS_MAX: usize = 32;
/// What a delimiter of the text format could be mistaken for.
const NO_DELIMITERS: &[u8] = b"\\.abcdefghijklmnopqrstuvwxyz0123456789";

/// The options as written.
#[derive(Default)]
struct Written {
    format: Option<CopyFormat>,
    freeze: Option<bool>,
    delimiter: Option<String>,
    null: Option<String>,
    header: Option<Header>,
    quote: Option<String>,
    escape: Option<String>,
    force_quote: Option<ColumnSet>,
    force_not_null: Option<ColumnSet>,
    force_null: Option<ColumnSet>,
    encoding: Option<String>,
}

impl Reader<'_> {
    /// COPY.
    pub(super) fn copy(&mut self) -> Result<Statement, SqlError> {
        self.expect_words(&["COPY"])?;
        let mut written = Written::default();
        if self.parser.consume_token(&Token::LParen) {
            let Statement::Query(query) = self.query()? else {
                return Err(SqlError::unsupported("COPY of anything but a query"));
            };
            self.expect(&Token::RParen)?;
            if self.words(&["FROM"]) {
                return Err(SqlError::syntax("COPY query FROM not supported"));
            }
            self.stream(false)?;
            let options = self.copy_options(&mut written)?.checked(false)?;
            return Ok(Statement::Copy(CopyStatement::Query(query, options)));
        }
        if self.words(&["BINARY"]) {
            written.format = Some(CopyFormat::Binary);
        }
        let table = self.sql(|parser| parser.parse_object_name(false))?;
        let columns = match self.parser.consume_token(&Token::LParen) {
            true => self.column_names()?,
            false => Vec::new(),
        };
        let from = self.words(&["FROM"]);
        self.stream(from)?;
        let options = self.copy_options(&mut written)?.checked(from)?;
        let table = CopyTable { table, columns, options };
        Ok(Statement::Copy(if from { CopyStatement::From(table) } else { CopyStatement::To(table) }))
    }

    /// STDIN or STDOUT, either of which means the client, as in PostgreSQL. Files and programs of the server's machine
    /// are nobody's: there is a server on each node.
    fn stream(&mut self, from: bool) -> Result<(), SqlError> {
        if !from {
            self.expect_words(&["TO"])?;
        }
        if self.words(&["STDIN"]) || self.words(&["STDOUT"]) {
            return Ok(());
        }
        let way = if from { "COPY FROM STDIN" } else { "COPY TO STDOUT" };
        if self.words(&["PROGRAM"]) {
            let message = "COPY … PROGRAM, which runs a program of the server's machine, is not supported";
            return Err(SqlError::new(INSUFFICIENT_PRIVILEGE, message).with_hint(format!(
                "Anyone can {way}. psql's \\copy takes a program on the client's machine."
            )));
        }
        match self.parser.peek_token_ref().token {
            Token::SingleQuotedString(_) | Token::EscapedStringLiteral(_) => {
                let message = "COPY with a file of the server's machine is not supported";
                Err(SqlError::new(INSUFFICIENT_PRIVILEGE, message).with_hint(format!(
                    "Anyone can {way}. psql's \\copy takes a file on the client's machine."
                )))
            }
            _ => Err(self.expected(if from { "STDIN" } else { "STDOUT" })),
        }
    }

    /// After the opening parenthesis.
    fn column_names(&mut self) -> Result<Vec<Name>, SqlError> {
        let names = self.list(Self::name)?;
        self.expect(&Token::RParen)?;
        Ok(names)
    }

    fn expect(&mut self, token: &Token) -> Result<(), SqlError> {
        if self.parser.consume_token(token) { Ok(()) } else { Err(self.expected(&token.to_string())) }
    }

    fn copy_options<'w>(&mut self, written: &'w mut Written) -> Result<&'w Written, SqlError> {
        let _ = self.words(&["WITH"]);
        if self.parser.consume_token(&Token::LParen) {
            loop {
                self.option(written)?;
                if !self.comma() {
                    break;
                }
            }
            self.expect(&Token::RParen)?;
        } else {
            let mut count = 0;
            while !self.at_end() && !self.next_is("WHERE") {
                count += 1;
                if count > OPTIONS_MAX {
                    return Err(SqlError::too_large(format!("more than {OPTIONS_MAX} options of COPY")));
                }
                self.old_option(written)?;
            }
        }
        if self.next_is("WHERE") {
            return Err(SqlError::unsupported("COPY … WHERE"));
        }
        Ok(written)
    }

    /// One within parentheses.
    fn option(&mut self, written: &mut Written) -> Result<(), SqlError> {
        // The one option whose name is a reserved word.
        if self.words(&["NULL"]) {
            return self.text_option(&mut written.null);
        }
        let name = self.name()?;
        match name.as_str() {
            "format" => {
                let word = match self.parser.peek_token_ref().token {
                    Token::SingleQuotedString(_) => self.string()?,
                    _ => self.name()?.as_str().to_owned(),
                };
                let format = match word.as_str() {
                    "text" => CopyFormat::Text,
                    "csv" => CopyFormat::Csv,
                    "binary" => CopyFormat::Binary,
                    other => {
                        let message = format!("COPY format \"{other}\" not recognized");
                        return Err(SqlError::new(INVALID_PARAMETER_VALUE, message));
                    }
                };
                once(&mut written.format, format)
            }
            "freeze" => {
                let freeze = self.boolean()?;
                once(&mut written.freeze, freeze)
            }
            "header" => {
                let header = match self.words(&["MATCH"]) {
                    true => Header::Match,
                    false => header(self.boolean()?),
                };
                once(&mut written.header, header)
            }
            "delimiter" => self.text_option(&mut written.delimiter),
            "quote" => self.text_option(&mut written.quote),
            "escape" => self.text_option(&mut written.escape),
            "encoding" => self.text_option(&mut written.encoding),
            "force_quote" => self.columns_option(&mut written.force_quote, true),
            "force_not_null" => self.columns_option(&mut written.force_not_null, false),
            "force_null" => self.columns_option(&mut written.force_null, false),
            other => Err(SqlError::new(SYNTAX_ERROR, format!("option \"{other}\" not recognized"))),
        }
    }

    /// One of the syntax before version 9.0.
    fn old_option(&mut self, written: &mut Written) -> Result<(), SqlError> {
        if self.words(&["BINARY"]) {
            once(&mut written.format, CopyFormat::Binary)
        } else if self.words(&["CSV"]) {
            once(&mut written.format, CopyFormat::Csv)
        } else if self.words(&["FREEZE"]) {
            once(&mut written.freeze, true)
        } else if self.words(&["HEADER"]) {
            once(&mut written.header, Header::On)
        } else if self.words(&["DELIMITER"]) || self.words(&["DELIMITERS"]) {
            self.as_option(&mut written.delimiter)
        } else if self.words(&["NULL"]) {
            self.as_option(&mut written.null)
        } else if self.words(&["QUOTE"]) {
            self.as_option(&mut written.quote)
        } else if self.words(&["ESCAPE"]) {
            self.as_option(&mut written.escape)
        } else if self.words(&["ENCODING"]) {
            self.text_option(&mut written.encoding)
        } else if self.words(&["FORCE", "QUOTE"]) {
            self.old_columns(&mut written.force_quote, true)
        } else if self.words(&["FORCE", "NOT", "NULL"]) {
            self.old_columns(&mut written.force_not_null, false)
        } else if self.words(&["FORCE", "NULL"]) {
            self.old_columns(&mut written.force_null, false)
        } else {
            Err(self.expected("an option of COPY"))
        }
    }

    fn text_option(&mut self, slot: &mut Option<String>) -> Result<(), SqlError> {
        let text = self.string()?;
        once(slot, text)
    }

    fn as_option(&mut self, slot: &mut Option<String>) -> Result<(), SqlError> {
        let _ = self.words(&["AS"]);
        self.text_option(slot)
    }

    fn columns_option(&mut self, slot: &mut Option<ColumnSet>, star: bool) -> Result<(), SqlError> {
        if star && self.parser.consume_token(&Token::Mul) {
            return once(slot, ColumnSet::All);
        }
        self.expect(&Token::LParen)?;
        let names = self.column_names()?;
        once(slot, ColumnSet::Named(names))
    }

    fn old_columns(&mut self, slot: &mut Option<ColumnSet>, star: bool) -> Result<(), SqlError> {
        if star && self.parser.consume_token(&Token::Mul) {
            return once(slot, ColumnSet::All);
        }
        let names = self.list(Self::name)?;
        once(slot, ColumnSet::Named(names))
    }

    /// A value that may be left out, which means true.
    fn boolean(&mut self) -> Result<bool, SqlError> {
        let text = match &self.parser.peek_token_ref().token {
            Token::Word(word) => word.value.to_ascii_lowercase(),
            Token::SingleQuotedString(text) => text.to_ascii_lowercase(),
            Token::Number(digits, _) => digits.clone(),
            _ => return Ok(true),
        };
        let value = match text.as_str() {
            "true" | "on" | "1" => true,
            "false" | "off" | "0" => false,
            _ => return Err(self.expected("a Boolean value")),
        };
        self.parser.advance_token();
        Ok(value)
    }

    /// VACUUM or ANALYZE, with whatever options PostgreSQL has for it.
    pub(super) fn housekeeping(&mut self) -> Result<Statement, SqlError> {
        let tag = if self.words(&["VACUUM"]) { "VACUUM" } else { "ANALYZE" };
        if tag == "ANALYZE" && !self.words(&["ANALYZE"]) {
            self.expect_words(&["ANALYSE"])?;
        }
        if self.parser.consume_token(&Token::LParen) {
            loop {
                self.housekeeping_option()?;
                if !self.comma() {
                    break;
                }
            }
            self.expect(&Token::RParen)?;
        } else {
            while ["FULL", "FREEZE", "VERBOSE", "ANALYZE", "ANALYSE"].iter().any(|word| self.words(&[word])) {
            }
        }
        let mut tables = Vec::new();
        while !self.at_end() {
            tables.push(self.sql(|parser| parser.parse_object_name(false))?);
            if self.parser.consume_token(&Token::LParen) {
                self.column_names()?;
            }
            if !self.comma() {
                break;
            }
        }
        Ok(Statement::Housekeeping(Housekeeping { tag, tables }))
    }

    fn housekeeping_option(&mut self) -> Result<(), SqlError> {
        const OPTIONS: [&str; 12] = [
            "full",
            "freeze",
            "verbose",
            "analyze",
            "disable_page_skipping",
            "skip_locked",
            "index_cleanup",
            "process_toast",
            "truncate",
            "parallel",
            "process_main",
            "buffer_usage_limit",
        ];
        let word = match &self.parser.peek_token_ref().token {
            Token::Word(word) => word.value.to_ascii_lowercase(),
            _ => return Err(self.expected("an option")),
        };
        if !OPTIONS.contains(&word.as_str()) {
            return Err(SqlError::syntax(format!("unrecognized VACUUM option \"{word}\"")));
        }
        self.parser.advance_token();
        if !matches!(self.parser.peek_token_ref().token, Token::Comma | Token::RParen) {
            self.parser.advance_token();
        }
        Ok(())
    }
}

fn once<T>(slot: &mut Option<T>, value: T) -> Result<(), SqlError> {
    match slot.replace(value) {
        None => Ok(()),
        Some(_) => Err(SqlError::syntax("conflicting or redundant options")),
    }
}

fn header(on: bool) -> Header {
    if on { Header::On } else { Header::Off }
}

impl Written {
    /// The options together, by PostgreSQL's rules.
    fn checked(&self, from: bool) -> Result<CopyOptions, SqlError> {
        let format = self.format.unwrap_or(CopyFormat::Text);
        let is_csv = format == CopyFormat::Csv;
        let (unsupported, invalid) = (
            |message: &str| Err(SqlError::new(FEATURE_NOT_SUPPORTED, message)),
            |message: &str| Err(SqlError::new(INVALID_PARAMETER_VALUE, message)),
        );
        if format == CopyFormat::Binary {
            self.check_binary()?;
        }
        let one = |what: &str, given: &Option<String>, default: u8| match given.as_deref().map(str::as_bytes)
        {
            None => Ok(default),
            Some([one]) if one.is_ascii() => Ok(*one),
            Some(_) => Err(SqlError::new(
                FEATURE_NOT_SUPPORTED,
                format!("COPY {what} must be a single one-byte character"),
            )),
        };
        let delimiter = one("delimiter", &self.delimiter, if is_csv { b',' } else { b'\t' })?;
        let default_null = if is_csv { "" } else { "\\N" };
        let null = self.null.clone().unwrap_or_else(|| default_null.to_owned());
        if matches!(delimiter, b'\n' | b'\r') {
            return invalid("COPY delimiter cannot be newline or carriage return");
        }
        if null.contains(['\n', '\r']) {
            return invalid("COPY null representation cannot use newline or carriage return");
        }
        if format == CopyFormat::Text && NO_DELIMITERS.contains(&delimiter) {
            return invalid(&format!("COPY delimiter cannot be \"{}\"", char::from(delimiter)));
        }
        if !is_csv && self.quote.is_some() {
            return unsupported("COPY quote available only in CSV mode");
        }
        if !is_csv && self.escape.is_some() {
            return unsupported("COPY escape available only in CSV mode");
        }
        let quote = one("quote", &self.quote, b'"')?;
        let escape = one("escape", &self.escape, quote)?;
        if is_csv && delimiter == quote {
            return invalid("COPY delimiter and quote must be different");
        }
        self.check_forced(is_csv, from)?;
        if null.as_bytes().contains(&delimiter) {
            return invalid("COPY delimiter must not appear in the NULL specification");
        }
        if is_csv && null.as_bytes().contains(&quote) {
            return invalid("CSV quote character must not appear in the NULL specification");
        }
        let header = self.header.unwrap_or(Header::Off);
        if header == Header::Match && !from {
            return unsupported("cannot use \"match\" with HEADER in COPY TO");
        }
        let encoding = self.encoding.as_deref().unwrap_or("utf8").to_ascii_lowercase();
        if !matches!(encoding.as_str(), "utf8" | "utf-8" | "unicode") {
            return Err(SqlError::unsupported(format!("the encoding \"{encoding}\"")));
        }
        Ok(CopyOptions {
            format,
            delimiter,
            null,
            header,
            quote,
            escape,
            force_quote: self.force_quote.clone().unwrap_or_default(),
            force_not_null: self.force_not_null.clone().unwrap_or_default(),
            force_null: self.force_null.clone().unwrap_or_default(),
        })
    }

    fn check_binary(&self) -> Result<(), SqlError> {
        let given = [
            ("DELIMITER", self.delimiter.is_some()),
            ("NULL", self.null.is_some()),
            ("HEADER", self.header.is_some_and(|header| header != Header::Off)),
        ];
        match given.iter().find(|(_, given)| *given) {
            Some((what, _)) => {
                Err(SqlError::new(SYNTAX_ERROR, format!("cannot specify {what} in BINARY mode")))
            }
            None => Ok(()),
        }
    }

    fn check_forced(&self, is_csv: bool, from: bool) -> Result<(), SqlError> {
        let forced = [
            ("force quote", self.force_quote.is_some(), !from, "TO"),
            ("force not null", self.force_not_null.is_some(), from, "FROM"),
            ("force null", self.force_null.is_some(), from, "FROM"),
        ];
        for (what, given, fits, way) in forced {
            if given && !is_csv {
                let message = format!("COPY {what} available only in CSV mode");
                return Err(SqlError::new(FEATURE_NOT_SUPPORTED, message));
            }
            if given && !fits {
                let message = format!("COPY {what} only available using COPY {way}");
                return Err(SqlError::new(FEATURE_NOT_SUPPORTED, message));
            }
        }
        Ok(())
    }
}
