//! CREATE TABLE, ALTER TABLE and CREATE INDEX. Columns and constraints are read by `sqlparser`, what is around them
//! here: it knows neither CockroachDB's `INDEX` in CREATE TABLE nor what a table may be altered by.

use grantd_catalog::command::{Command, DropBehavior, IndexName, LIST_MAX, ObjectName, SequenceOptions};
use grantd_catalog::name::Name;
use sqlparser::ast;
use sqlparser::parser::Parser;
use sqlparser::tokenizer::{Token, TokenWithSpan};

use super::{Reader, Statement, is_word, name_of};
use crate::error::SqlError;

/// A statement that is planned before the catalog has a command for it.
#[derive(Clone, Debug)]
#[allow(missing_docs, reason = "the statements of the same name")]
pub enum TableStatement {
    Create(CreateTable),
    CreateAs(CreateTableAs),
    Alter(AlterTable),
    CreateIndex(CreateIndex),
}

impl TableStatement {
    /// The command tag.
    pub const fn tag(&self) -> &'static str {
        match self {
            Self::Create(_) => "CREATE TABLE",
            Self::CreateAs(_) => "CREATE TABLE AS",
            Self::Alter(_) => "ALTER TABLE",
            Self::CreateIndex(_) => "CREATE INDEX",
        }
    }
}

/// CREATE TABLE.
#[derive(Clone, Debug)]
#[allow(missing_docs, reason = "the clauses of the statement")]
pub struct CreateTable {
    pub name: ObjectName,
    pub if_not_exists: bool,
    pub columns: Vec<ast::ColumnDef>,
    pub constraints: Vec<ast::TableConstraint>,
    /// `INDEX` and `UNIQUE INDEX` among the columns.
    pub indexes: Vec<IndexClause>,
}

/// CREATE TABLE … AS.
#[derive(Clone, Debug)]
#[allow(missing_docs, reason = "the clauses of the statement")]
pub struct CreateTableAs {
    pub name: ObjectName,
    pub if_not_exists: bool,
    /// The names of its first columns.
    pub columns: Vec<Name>,
    pub query: Box<ast::Query>,
    /// Whether the rows of the query come into it.
    pub with_data: bool,
}

/// An index, as CREATE INDEX and CREATE TABLE write it.
#[derive(Clone, Debug)]
#[allow(missing_docs, reason = "the clauses of the statement")]
pub struct IndexClause {
    pub name: Option<Name>,
    pub unique: bool,
    /// Columns and expressions, and whether each is DESC.
    pub keys: Vec<(IndexPart, bool)>,
    pub predicate: Option<Box<ast::Expr>>,
}

/// What a key of an index is of.
#[derive(Clone, Debug)]
#[allow(missing_docs, reason = "each is what its name says")]
pub enum IndexPart {
    Column(Name),
    Expression(Box<ast::Expr>),
}

/// CREATE INDEX.
#[derive(Clone, Debug)]
#[allow(missing_docs, reason = "the clauses of the statement")]
pub struct CreateIndex {
    pub table: ObjectName,
    pub if_not_exists: bool,
    pub index: IndexClause,
}

/// ALTER TABLE, but for OWNER TO, RENAME TO and SET SCHEMA.
#[derive(Clone, Debug)]
#[allow(missing_docs, reason = "the clauses of the statement")]
pub struct AlterTable {
    pub name: ObjectName,
    pub if_exists: bool,
    pub actions: Vec<AlterAction>,
}

/// One action of an ALTER TABLE.
#[derive(Clone, Debug)]
#[allow(missing_docs, reason = "the clauses of the statement")]
pub enum AlterAction {
    AddColumn { column: Box<ast::ColumnDef>, if_not_exists: bool },
    DropColumn { name: Name, if_exists: bool, behavior: DropBehavior },
    RenameColumn { name: Name, to: Name },
    SetDefault { column: Name, default: Box<ast::Expr> },
    DropDefault { column: Name },
    SetNotNull { column: Name },
    DropNotNull { column: Name },
    SetType { column: Name, data_type: ast::DataType, using: Option<Box<ast::Expr>> },
    AddConstraint { constraint: Box<ast::TableConstraint>, if_not_exists: bool },
    DropConstraint { name: Name, if_exists: bool, behavior: DropBehavior },
    RenameConstraint { name: Name, to: Name },
    ValidateConstraint { name: Name },
    AddIdentity { column: Name, always: bool, options: SequenceOptions },
    DropIdentity { column: Name, if_exists: bool },
}

impl Reader<'_> {
    /// After CREATE TABLE.
    pub(super) fn create_table(&mut self) -> Result<Statement, SqlError> {
        let if_not_exists = self.if_not_exists();
        let name = self.object_name()?;
        if self.next_is("AS") {
            return self.create_table_as(name, if_not_exists, Vec::new());
        }
        for clause in ["PARTITION", "OF", "LIKE"] {
            if self.next_is(clause) {
                return Err(SqlError::unsupported(format!("CREATE TABLE … {clause}")));
            }
        }
        let start = self.parser.index();
        self.expect_token(&Token::LParen, "( or AS")?;
        if let Some(columns) = self.plain_names() {
            return self.create_table_as(name, if_not_exists, columns);
        }
        self.back_to(start);
        self.expect_token(&Token::LParen, "(")?;
        let mut table = CreateTable {
            name,
            if_not_exists,
            columns: Vec::new(),
            constraints: Vec::new(),
            indexes: Vec::new(),
        };
        if !self.parser.consume_token(&Token::RParen) {
            loop {
                self.table_item(&mut table)?;
                if !self.comma() {
                    break;
                }
            }
            self.expect_token(&Token::RParen, ", or )")?;
        }
        self.storage_parameters()?;
        for clause in ["INHERITS", "ON", "PARTITION", "TABLESPACE", "USING", "LOCALITY"] {
            if self.next_is(clause) {
                return Err(SqlError::unsupported(format!("CREATE TABLE … {clause}")));
            }
        }
        Ok(Statement::Table(Box::new(TableStatement::Create(table))))
    }

    /// `a, b) AS`: what CREATE TABLE … AS has where others have columns with types.
    fn plain_names(&mut self) -> Option<Vec<Name>> {
        let mut names = Vec::new();
        loop {
            names.push(self.name().ok()?);
            if !self.comma() {
                break;
            }
        }
        (self.parser.consume_token(&Token::RParen) && self.next_is("AS")).then_some(names)
    }

    fn create_table_as(
        &mut self,
        name: ObjectName,
        if_not_exists: bool,
        columns: Vec<Name>,
    ) -> Result<Statement, SqlError> {
        self.expect_words(&["AS"])?;
        let query = self.sql(Parser::parse_query)?;
        let with_data = !self.words(&["WITH", "NO", "DATA"]);
        let _ = with_data && self.words(&["WITH", "DATA"]);
        let statement = CreateTableAs { name, if_not_exists, columns, query, with_data };
        Ok(Statement::Table(Box::new(TableStatement::CreateAs(statement))))
    }

    /// What stands between two commas of a CREATE TABLE.
    fn table_item(&mut self, table: &mut CreateTable) -> Result<(), SqlError> {
        let count = table.columns.len() + table.constraints.len() + table.indexes.len();
        if count == LIST_MAX {
            return Err(SqlError::too_large(format!(
                "a table of more than {LIST_MAX} columns and constraints"
            )));
        }
        let unique = self.words(&["UNIQUE", "INDEX"]);
        if unique || self.is_index_clause() {
            let _ = unique || self.words(&["INDEX"]);
            table.indexes.push(self.index_clause(unique)?);
            return Ok(());
        }
        for word in ["LIKE", "FAMILY", "EXCLUDE"] {
            if self.next_is(word)
                && matches!(self.parser.peek_nth_token_ref(1).token, Token::Word(_) | Token::LParen)
                && !self.is_type_behind(word)
            {
                return Err(SqlError::unsupported(format!("{word} in CREATE TABLE")));
            }
        }
        match self.sql(Parser::parse_optional_table_constraint)? {
            Some(constraint) => table.constraints.push(constraint),
            None => table.columns.push(self.sql(Parser::parse_column_def)?),
        }
        Ok(())
    }

    /// `INDEX (…)` and `INDEX name (…)`; `index INT` is a column.
    fn is_index_clause(&self) -> bool {
        let second = &self.parser.peek_nth_token_ref(1).token;
        let third = &self.parser.peek_nth_token_ref(2).token;
        self.next_is("INDEX")
            && (*second == Token::LParen || (matches!(second, Token::Word(_)) && *third == Token::LParen))
            && !is_word(second, "VARCHAR")
            && !is_word(second, "CHAR")
            && !is_word(second, "DECIMAL")
            && !is_word(second, "NUMERIC")
    }

    /// Whether the word is the name of a column.
    fn is_type_behind(&self, word: &str) -> bool {
        word == "FAMILY" && {
            let third = &self.parser.peek_nth_token_ref(2).token;
            *third != Token::LParen && self.parser.peek_nth_token_ref(1).token != Token::LParen
        }
    }

    /// After `[UNIQUE] INDEX`, in CREATE TABLE: `[name] (…) …`.
    fn index_clause(&mut self, unique: bool) -> Result<IndexClause, SqlError> {
        let unnamed = self.parser.peek_token_ref().token == Token::LParen;
        let name = if unnamed { None } else { Some(self.name()?) };
        self.index_keys(name, unique)
    }

    /// `(a [ASC | DESC] [NULLS …], …) [STORING (…)] [WITH (…)] [WHERE …]`.
    fn index_keys(&mut self, name: Option<Name>, unique: bool) -> Result<IndexClause, SqlError> {
        self.index_method()?;
        self.expect_token(&Token::LParen, "(")?;
        let keys = self.list(Self::index_key)?;
        self.expect_token(&Token::RParen, ", or )")?;
        self.index_method()?;
        // What an index holds beside its keys changes no answer.
        if ["INCLUDE", "STORING", "COVERING"].into_iter().any(|word| self.words(&[word])) {
            self.expect_token(&Token::LParen, "(")?;
            self.list(Self::name)?;
            self.expect_token(&Token::RParen, ", or )")?;
        }
        if self.words(&["NULLS", "NOT", "DISTINCT"]) {
            return Err(SqlError::unsupported("NULLS NOT DISTINCT"));
        }
        let _ = self.words(&["NULLS", "DISTINCT"]);
        self.storage_parameters()?;
        for clause in ["TABLESPACE", "PARTITION", "NOT"] {
            if self.next_is(clause) {
                return Err(SqlError::unsupported(format!("an index with {clause}")));
            }
        }
        let predicate = match self.words(&["WHERE"]) {
            true => Some(Box::new(self.sql(Parser::parse_expr)?)),
            false => None,
        };
        Ok(IndexClause { name, unique, keys, predicate })
    }

    fn index_method(&mut self) -> Result<(), SqlError> {
        if !self.words(&["USING"]) {
            return Ok(());
        }
        let method = self.name()?;
        match method.as_str() {
            "btree" | "prefix" => Ok(()),
            other => Err(SqlError::unsupported(format!("an index USING {other}"))),
        }
    }

    fn index_key(&mut self) -> Result<(IndexPart, bool), SqlError> {
        let is_call = self.parser.peek_nth_token_ref(1).token == Token::LParen;
        let part = match is_call || self.parser.peek_token_ref().token == Token::LParen {
            true => IndexPart::Expression(Box::new(self.sql(Parser::parse_expr)?)),
            false => IndexPart::Column(self.name()?),
        };
        if self.words(&["COLLATE"]) {
            return Err(SqlError::unsupported("COLLATE in an index"));
        }
        // Texts are in the order of their bytes anyway, which is all that these ask for.
        let _ = PATTERN_CLASSES.into_iter().any(|word| self.words(&[word]));
        let next = &self.parser.peek_token_ref().token;
        let known = ["ASC", "DESC", "NULLS"].into_iter().any(|word| self.next_is(word));
        if !known && matches!(next, Token::Word(_)) {
            return Err(SqlError::unsupported("an operator class"));
        }
        let descending = self.words(&["DESC"]);
        let _ = self.words(&["ASC"]);
        // Where NULLs are in an index changes no answer.
        let _ = self.words(&["NULLS", "FIRST"]) || self.words(&["NULLS", "LAST"]);
        Ok((part, descending))
    }

    /// `[WITH (fillfactor = 100, …)]`: how PostgreSQL stores rows, which is not how they are stored here.
    fn storage_parameters(&mut self) -> Result<(), SqlError> {
        if !self.words(&["WITH"]) {
            return Ok(());
        }
        self.expect_token(&Token::LParen, "(")?;
        self.list(Self::storage_parameter)?;
        self.expect_token(&Token::RParen, ", or )")
    }

    fn storage_parameter(&mut self) -> Result<(), SqlError> {
        let parameter = self.object_name()?.to_string();
        if self.parser.consume_token(&Token::Eq) {
            self.sql(Parser::parse_expr)?;
        }
        let is_known = ["fillfactor", "parallel_workers", "deduplicate_items", "log_autovacuum_min_duration"]
            .contains(&parameter.as_str())
            || parameter.trim_start_matches("toast.").starts_with("autovacuum_");
        match is_known {
            true => Ok(()),
            false if parameter.starts_with("ttl") => Err(SqlError::unsupported("row-level TTL")),
            false => Err(SqlError::new(
                grantd_catalog::refusal::state::INVALID_PARAMETER_VALUE,
                format!("invalid storage parameter \"{parameter}\""),
            )),
        }
    }

    /// After CREATE [UNIQUE] INDEX.
    pub(super) fn create_index(&mut self, unique: bool) -> Result<Statement, SqlError> {
        // An index is made within the statement; others wait for it.
        let _ = self.words(&["CONCURRENTLY"]);
        let if_not_exists = self.if_not_exists();
        let name = if self.next_is("ON") { None } else { Some(self.name()?) };
        if if_not_exists && name.is_none() {
            return Err(self.expected("the name of the index"));
        }
        self.expect_words(&["ON"])?;
        let _ = self.words(&["ONLY"]);
        let table = self.object_name()?;
        let index = self.index_keys(name, unique)?;
        let statement = CreateIndex { table, if_not_exists, index };
        Ok(Statement::Table(Box::new(TableStatement::CreateIndex(statement))))
    }

    /// After ALTER TABLE [IF EXISTS] [ONLY] name.
    pub(super) fn alter_table(&mut self, name: ObjectName, if_exists: bool) -> Result<Statement, SqlError> {
        let actions = self.list(Self::alter_action)?;
        let statement = AlterTable { name, if_exists, actions };
        Ok(Statement::Table(Box::new(TableStatement::Alter(statement))))
    }

    fn alter_action(&mut self) -> Result<AlterAction, SqlError> {
        if self.words(&["ADD"]) {
            return self.alter_add();
        }
        if self.words(&["DROP", "CONSTRAINT"]) {
            let if_exists = self.if_exists();
            let name = self.name()?;
            return Ok(AlterAction::DropConstraint { name, if_exists, behavior: self.behavior() });
        }
        if self.words(&["DROP"]) {
            let _ = self.words(&["COLUMN"]);
            let if_exists = self.if_exists();
            let name = self.name()?;
            return Ok(AlterAction::DropColumn { name, if_exists, behavior: self.behavior() });
        }
        if self.words(&["RENAME", "CONSTRAINT"]) {
            let name = self.name()?;
            self.expect_words(&["TO"])?;
            return Ok(AlterAction::RenameConstraint { name, to: self.name()? });
        }
        if self.words(&["RENAME"]) {
            let _ = self.words(&["COLUMN"]);
            let name = self.name()?;
            self.expect_words(&["TO"])?;
            return Ok(AlterAction::RenameColumn { name, to: self.name()? });
        }
        if self.words(&["VALIDATE", "CONSTRAINT"]) {
            return Ok(AlterAction::ValidateConstraint { name: self.name()? });
        }
        if self.words(&["ALTER", "PRIMARY", "KEY"]) {
            return Err(SqlError::unsupported("ALTER PRIMARY KEY"));
        }
        if self.words(&["ALTER"]) {
            let _ = self.words(&["COLUMN"]);
            let column = self.name()?;
            return self.alter_column(column);
        }
        match [
            "SET", "RESET", "INHERIT", "ENABLE", "DISABLE", "ATTACH", "DETACH", "CLUSTER", "REPLICA", "SPLIT",
        ]
        .into_iter()
        .find(|word| self.next_is(word))
        {
            Some(word) => Err(SqlError::unsupported(format!("ALTER TABLE … {word}"))),
            None => Err(self.expected("what is altered")),
        }
    }

    fn alter_add(&mut self) -> Result<AlterAction, SqlError> {
        let start = self.parser.index();
        let named = self.words(&["CONSTRAINT"]);
        let if_not_exists = named && self.if_not_exists();
        if !if_not_exists {
            self.back_to(start);
        }
        let is_constraint = named
            || self.words_ahead(&["PRIMARY", "KEY"])
            || self.words_ahead(&["FOREIGN", "KEY"])
            || self.keyword_with_parenthesis("UNIQUE")
            || self.keyword_with_parenthesis("CHECK")
            || self.words_ahead(&["UNIQUE", "USING"])
            || self.words_ahead(&["UNIQUE", "NULLS"]);
        if is_constraint {
            let constraint = match if_not_exists {
                false => self.sql(Parser::parse_optional_table_constraint)?,
                true => {
                    let name = self.sql(Parser::parse_identifier)?;
                    self.sql(Parser::parse_optional_table_constraint)?.map(|found| with_name(found, name))
                }
            };
            let constraint = constraint.ok_or_else(|| self.expected("a constraint"))?;
            if self.words(&["NOT", "VALID"]) {
                return Err(SqlError::unsupported("NOT VALID"));
            }
            return Ok(AlterAction::AddConstraint { constraint: Box::new(constraint), if_not_exists });
        }
        if self.words_ahead(&["EXCLUDE", "USING"]) || self.keyword_with_parenthesis("EXCLUDE") {
            return Err(SqlError::unsupported("EXCLUDE"));
        }
        let _ = self.words(&["COLUMN"]);
        let if_not_exists = self.if_not_exists();
        let column = self.sql(Parser::parse_column_def)?;
        Ok(AlterAction::AddColumn { column: Box::new(column), if_not_exists })
    }

    fn alter_column(&mut self, column: Name) -> Result<AlterAction, SqlError> {
        if self.words(&["SET", "DEFAULT"]) {
            return Ok(AlterAction::SetDefault { column, default: Box::new(self.sql(Parser::parse_expr)?) });
        }
        if self.words(&["ADD", "GENERATED"]) {
            return self.add_identity(column);
        }
        if self.words(&["DROP", "IDENTITY"]) {
            let if_exists = self.if_exists();
            return Ok(AlterAction::DropIdentity { column, if_exists });
        }
        if self.words(&["DROP", "DEFAULT"]) {
            return Ok(AlterAction::DropDefault { column });
        }
        if self.words(&["SET", "NOT", "NULL"]) {
            return Ok(AlterAction::SetNotNull { column });
        }
        if self.words(&["DROP", "NOT", "NULL"]) {
            return Ok(AlterAction::DropNotNull { column });
        }
        if self.words(&["SET", "DATA", "TYPE"]) || self.words(&["TYPE"]) {
            let data_type = self.sql(Parser::parse_data_type)?;
            if self.next_is("COLLATE") {
                return Err(SqlError::unsupported("COLLATE"));
            }
            let using = match self.words(&["USING"]) {
                true => Some(Box::new(self.sql(Parser::parse_expr)?)),
                false => None,
            };
            return Ok(AlterAction::SetType { column, data_type, using });
        }
        match ["SET", "DROP", "ADD", "RESET"].into_iter().find(|word| self.next_is(word)) {
            Some(word) => {
                let next = self.parser.peek_nth_token_ref(1).token.to_string().to_uppercase();
                Err(SqlError::unsupported(format!("ALTER COLUMN … {word} {next}")))
            }
            None => Err(self.expected("SET, DROP or TYPE")),
        }
    }

    /// After ALTER COLUMN c ADD GENERATED.
    fn add_identity(&mut self, column: Name) -> Result<AlterAction, SqlError> {
        let always = self.words(&["ALWAYS"]);
        if !always {
            self.expect_words(&["BY", "DEFAULT"])?;
        }
        self.expect_words(&["AS", "IDENTITY"])?;
        let mut options = SequenceOptions::default();
        if self.parser.consume_token(&Token::LParen) {
            while !self.parser.consume_token(&Token::RParen) {
                self.sequence_option(&mut options)?;
            }
        }
        Ok(AlterAction::AddIdentity { column, always, options })
    }

    /// Whether these words come next; nothing is consumed.
    fn words_ahead(&self, words: &[&str]) -> bool {
        words.iter().enumerate().all(|(at, word)| is_word(&self.parser.peek_nth_token_ref(at).token, word))
    }

    /// `UNIQUE (…)`: a column may have that name.
    fn keyword_with_parenthesis(&self, word: &str) -> bool {
        self.next_is(word) && self.parser.peek_nth_token_ref(1).token == Token::LParen
    }

    /// After ALTER INDEX.
    pub(super) fn alter_index(&mut self) -> Result<Statement, SqlError> {
        let if_exists = self.if_exists();
        let index = self.index_name()?;
        if !self.words(&["RENAME", "TO"]) {
            return Err(SqlError::unsupported("ALTER INDEX with anything but RENAME TO"));
        }
        let to = self.name()?;
        Ok(Statement::Command(Command::RenameIndex { index, if_exists, to }, "ALTER INDEX"))
    }

    /// After DROP INDEX.
    pub(super) fn drop_indexes(&mut self) -> Result<Statement, SqlError> {
        let _ = self.words(&["CONCURRENTLY"]);
        let (names, if_exists, behavior) = self.dropped(Self::index_name)?;
        Ok(Statement::Command(Command::DropIndexes { names, if_exists, behavior }, "DROP INDEX"))
    }

    /// `[schema.]index`, or `table@index`.
    pub(super) fn index_name(&mut self) -> Result<IndexName, SqlError> {
        let first = self.object_name()?;
        if !self.parser.consume_token(&Token::AtSign) {
            return Ok(IndexName { table: None, index: first });
        }
        let index = ObjectName { parts: vec![self.name()?] };
        Ok(IndexName { table: Some(first), index })
    }
}

/// Operator classes of PostgreSQL that order texts by their bytes.
const PATTERN_CLASSES: [&str; 3] = ["TEXT_PATTERN_OPS", "VARCHAR_PATTERN_OPS", "BPCHAR_PATTERN_OPS"];

/// CockroachDB's words where `sqlparser` knows only those of PostgreSQL: `AS (…) STORED` behind a column, and
/// `NOT VISIBLE`; and the options of `AS IDENTITY (…)` in the one order that it reads.
pub(super) fn spell_out_columns(tokens: &mut Vec<TokenWithSpan>) {
    let is =
        |token: Option<&TokenWithSpan>, word: &str| token.is_some_and(|token| is_word(&token.token, word));
    let is_table =
        (is(tokens.first(), "CREATE") || is(tokens.first(), "ALTER")) && is(tokens.get(1), "TABLE");
    if !is_table {
        return;
    }
    let columns_at = usize::from(is(tokens.first(), "CREATE"));
    let mut depth = 0_usize;
    let mut at = 0;
    while at < tokens.len() {
        match tokens[at].token {
            Token::LParen => depth += 1,
            Token::RParen => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth == columns_at {
            let is_computed = at > 0
                && is(tokens.get(at), "AS")
                && tokens.get(at + 1).is_some_and(|next| next.token == Token::LParen)
                && !is(tokens.get(at - 1), "ALWAYS");
            if is(tokens.get(at), "IDENTITY") && is(tokens.get(at.wrapping_sub(1)), "AS") {
                sort_options(&mut tokens[at + 1..]);
            }
            if is_computed {
                let span = tokens[at].span;
                let words = ["GENERATED", "ALWAYS"].map(Token::make_keyword);
                tokens.splice(at..at, words.map(|token| TokenWithSpan { token, span }));
                at += 2;
            } else if is(tokens.get(at), "NOT") && is(tokens.get(at + 1), "VISIBLE") {
                let span = tokens[at].span;
                let token = Token::make_keyword("INVISIBLE");
                tokens.splice(at..at + 2, [TokenWithSpan { token, span }]);
            }
        }
        at += 1;
    }
}

/// The options of a sequence that stand in parentheses next, in the order that `sqlparser` reads.
fn sort_options(tokens: &mut [TokenWithSpan]) {
    const BEGIN: [&str; 6] = ["INCREMENT", "MINVALUE", "MAXVALUE", "START", "CACHE", "CYCLE"];
    if tokens.first().is_none_or(|token| token.token != Token::LParen) {
        return;
    }
    let Some(end) = tokens.iter().position(|token| token.token == Token::RParen) else { return };
    let mut options: Vec<(usize, Vec<TokenWithSpan>)> = Vec::new();
    let mut negated = false;
    for token in &tokens[1..end] {
        match BEGIN.iter().position(|word| is_word(&token.token, word)) {
            // NO has begun it.
            Some(place) if negated => {
                if let Some(last) = options.last_mut() {
                    last.0 = place;
                    last.1.push(token.clone());
                }
            }
            Some(place) => options.push((place, vec![token.clone()])),
            None if is_word(&token.token, "NO") => options.push((BEGIN.len(), vec![token.clone()])),
            None => match options.last_mut() {
                Some(last) => last.1.push(token.clone()),
                None => options.push((0, vec![token.clone()])),
            },
        }
        negated = is_word(&token.token, "NO");
    }
    options.sort_by_key(|(place, _)| *place);
    let sorted = options.into_iter().flat_map(|(_, option)| option);
    tokens[1..end].iter_mut().zip(sorted).for_each(|(token, sorted)| *token = sorted);
}

fn with_name(constraint: ast::TableConstraint, name: ast::Ident) -> ast::TableConstraint {
    use ast::TableConstraint::{Check, ForeignKey, PrimaryKey, Unique};
    let name = Some(name);
    match constraint {
        Unique(found) => Unique(ast::UniqueConstraint { name, ..found }),
        PrimaryKey(found) => PrimaryKey(ast::PrimaryKeyConstraint { name, ..found }),
        ForeignKey(found) => ForeignKey(ast::ForeignKeyConstraint { name, ..found }),
        Check(found) => Check(ast::CheckConstraint { name, ..found }),
        other => other,
    }
}

/// `SELECT … INTO t …` is CREATE TABLE AS.
pub(super) fn select_into(into: ast::SelectInto, query: Box<ast::Query>) -> Result<Statement, SqlError> {
    let ast::SelectInto { temporary, unlogged, table: _, targets } = into;
    if temporary || unlogged {
        return Err(SqlError::unsupported("SELECT INTO a temporary or unlogged table"));
    }
    let parts: Option<Vec<_>> = match targets.as_slice() {
        [ast::Expr::Identifier(ident)] => Some(vec![name_of(ident)]),
        [ast::Expr::CompoundIdentifier(parts)] => Some(parts.iter().map(name_of).collect()),
        _ => None,
    };
    let Some(parts) = parts.filter(|parts| parts.len() <= 3) else {
        return Err(SqlError::syntax("INTO takes the name of a table"));
    };
    let name = ObjectName { parts };
    let statement = CreateTableAs { name, if_not_exists: false, columns: Vec::new(), query, with_data: true };
    Ok(Statement::Table(Box::new(TableStatement::CreateAs(statement))))
}
