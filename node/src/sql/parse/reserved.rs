//! Words that are no names unless they are quoted.

use sqlparser::keywords::Keyword;
use sqlparser::tokenizer::Word;

/// Whether a name in lower case can be written only in quotes.
pub fn is_reserved_word(name: &str) -> bool {
    let upper = name.to_ascii_uppercase();
    RESERVED.contains(&upper.as_str()) || matches!(upper.as_str(), "SELECT" | "FROM")
}

/// Whether a word can be the name of something only when it is quoted.
pub(super) fn is_reserved(word: &Word) -> bool {
    word.quote_style.is_none() && RESERVED.contains(&word.value.to_ascii_uppercase().as_str())
        || matches!(word.keyword, Keyword::SELECT | Keyword::FROM)
}

/// PostgreSQL's reserved words that could be mistaken for a name in our own statements.
const RESERVED: [&str; 44] = [
    "ALL",
    "AND",
    "ANY",
    "AS",
    "ASC",
    "BOTH",
    "CASE",
    "CAST",
    "CHECK",
    "COLLATE",
    "COLUMN",
    "CONSTRAINT",
    "CREATE",
    "DEFAULT",
    "DESC",
    "DISTINCT",
    "DO",
    "ELSE",
    "END",
    "EXCEPT",
    "FALSE",
    "FOR",
    "FOREIGN",
    "FROM",
    "GRANT",
    "GROUP",
    "HAVING",
    "IN",
    "INTO",
    "LIMIT",
    "NOT",
    "NULL",
    "ON",
    "OR",
    "ORDER",
    "PRIMARY",
    "SELECT",
    "TABLE",
    "THEN",
    "TO",
    "TRUE",
    "UNION",
    "UNIQUE",
    "WITH",
];
