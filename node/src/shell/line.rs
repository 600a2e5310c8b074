//! The line editor: history, completion, a little colour.

use std::borrow::Cow;
use std::io;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustyline::completion::{Completer, Pair};
use rustyline::error::ReadlineError;
use rustyline::highlight::{CmdKind, Highlighter};
use rustyline::hint::Hinter;
use rustyline::history::FileHistory;
use rustyline::validate::Validator;
use rustyline::{CompletionType, Config, Context, Editor, Helper};

use crate::failure::Failure;
use crate::shell::meta::{COMMANDS, SHORTCUTS};

/// The history's file, in the home directory.
pub(super) const HISTORY: &str = ".grantd_history";
/// The most statements that are remembered.
pub(super) const HISTORY_MAX: usize = 1_000;

/// What a terminal gave.
#[derive(Debug)]
pub(super) enum Input {
    /// A line, without its end.
    Line(String),
    /// Ctrl-C.
    Interrupted,
    /// Ctrl-D.
    End,
}

/// Reads lines from a terminal.
pub(super) struct LineReader {
    editor: Editor<Words, FileHistory>,
    history: Option<PathBuf>,
}

impl LineReader {
    pub(super) fn new() -> Result<Self, Failure> {
        let failed = |error: ReadlineError| Failure::new("cannot use the terminal").because(&error);
        let config = Config::builder()
            .max_history_size(HISTORY_MAX)
            .map_err(failed)?
            .history_ignore_dups(true)
            .map_err(failed)?
            .history_ignore_space(true)
            .completion_type(CompletionType::List)
            .build();
        let mut editor = Editor::with_config(config).map_err(failed)?;
        editor.set_helper(Some(Words));
        let history =
            std::env::home_dir().map(|home| home.join(HISTORY)).filter(|path| prepare(path).is_ok());
        if let Some(path) = &history {
            // A history that cannot be read, of another version say, is not worth stopping for.
            drop(editor.load_history(path));
        }
        Ok(Self { editor, history })
    }

    pub(super) fn read(&mut self, prompt: &str) -> Result<Input, Failure> {
        match self.editor.readline(prompt) {
            Ok(line) => Ok(Input::Line(line)),
            Err(ReadlineError::Interrupted) => Ok(Input::Interrupted),
            Err(ReadlineError::Eof) => Ok(Input::End),
            Err(error) => Err(Failure::new("cannot read from the terminal").because(&error)),
        }
    }

    /// Keeps a statement, unless it may hold a password.
    pub(super) fn remember(&mut self, statement: &str) {
        if !may_be_kept(statement) {
            return;
        }
        drop(self.editor.add_history_entry(statement));
        if let Some(path) = &self.history {
            drop(self.editor.append_history(path));
        }
    }
}

/// Whether a statement may enter the history.
pub(super) fn may_be_kept(statement: &str) -> bool {
    !statement.trim().is_empty() && !statement.to_ascii_lowercase().contains("password")
}

/// Makes the file with mode 0600, whatever the umask, and narrows one that is there.
fn prepare(path: &Path) -> io::Result<()> {
    std::fs::OpenOptions::new().create(true).append(true).mode(0o600).open(path)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))
}

/// Completes and colours words of the dialect.
struct Words;

impl Helper for Words {}

impl Hinter for Words {
    type Hint = String;
}

impl Validator for Words {}

/// What Tab offers beside meta-commands.
const KEYWORDS: [&str; 62] = [
    "ADMIN",
    "ALL",
    "ALTER",
    "AND",
    "AS",
    "ASC",
    "AUTHORIZATION",
    "BY",
    "CASCADE",
    "CONNECT",
    "CREATE",
    "CREATEDB",
    "CREATELOGIN",
    "CREATEROLE",
    "DATABASE",
    "DATABASES",
    "DELETE",
    "DESC",
    "DROP",
    "EXISTS",
    "FOR",
    "FROM",
    "GRANT",
    "GRANTS",
    "GROUP",
    "IF",
    "IN",
    "INSERT",
    "INTO",
    "KEY",
    "LIMIT",
    "LOGIN",
    "NOLOGIN",
    "NOT",
    "NULL",
    "ON",
    "OPTION",
    "ORDER",
    "OWNER",
    "PASSWORD",
    "PRIMARY",
    "PRIVILEGES",
    "REASSIGN",
    "RETURNING",
    "REVOKE",
    "ROLE",
    "ROLES",
    "SCHEMA",
    "SCHEMAS",
    "SELECT",
    "SET",
    "SHOW",
    "TABLE",
    "TABLES",
    "TO",
    "UPDATE",
    "USE",
    "USER",
    "USERS",
    "VALUES",
    "WHERE",
    "WITH",
];

impl Completer for Words {
    type Candidate = Pair;

    fn complete(
        &self,
        line: &str,
        position: usize,
        _context: &Context<'_>,
    ) -> rustyline::Result<(usize, Vec<Pair>)> {
        let head = &line[..position];
        let start = head.rfind(|c: char| !(c.is_alphanumeric() || c == '_' || c == '\\' || c == '?'));
        let start = start.map_or(0, |found| found + head[found..].chars().next().map_or(1, char::len_utf8));
        Ok((start, candidates(&head[start..])))
    }
}

fn candidates(word: &str) -> Vec<Pair> {
    let pair = |text: &str| Pair { display: text.to_owned(), replacement: text.to_owned() };
    if word.is_empty() {
        return Vec::new();
    }
    if word.starts_with('\\') {
        let own = COMMANDS.iter().map(|(command, _)| command.split(' ').next().unwrap_or(command));
        let all = own.chain(SHORTCUTS.iter().map(|shortcut| shortcut.command));
        return all.filter(|command| command.starts_with(word)).map(pair).collect();
    }
    let upper = word.to_ascii_uppercase();
    KEYWORDS.iter().filter(|keyword| keyword.starts_with(&upper)).map(|keyword| pair(keyword)).collect()
}

impl Highlighter for Words {
    fn highlight<'l>(&self, line: &'l str, _position: usize) -> Cow<'l, str> {
        let mut out = String::with_capacity(line.len() + 32);
        for piece in line.split_inclusive(|c: char| !(c.is_alphanumeric() || c == '_')) {
            let word = piece.trim_end_matches(|c: char| !(c.is_alphanumeric() || c == '_'));
            if KEYWORDS.contains(&word.to_ascii_uppercase().as_str()) {
                out.push_str("\x1b[1m");
                out.push_str(word);
                out.push_str("\x1b[0m");
                out.push_str(&piece[word.len()..]);
            } else {
                out.push_str(piece);
            }
        }
        Cow::Owned(out)
    }

    fn highlight_char(&self, _line: &str, _position: usize, kind: CmdKind) -> bool {
        kind != CmdKind::MoveCursor
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offered(word: &str) -> Vec<String> {
        candidates(word).into_iter().map(|pair| pair.replacement).collect()
    }

    #[test]
    fn a_statement_with_a_password_is_not_remembered() {
        assert!(!may_be_kept("CREATE USER x WITH PASSWORD 'secret'"));
        assert!(!may_be_kept("alter user x password 'secret'"));
        assert!(may_be_kept("SHOW USERS"));
    }

    #[test]
    fn the_history_is_for_its_owner_only() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join(HISTORY);
        std::fs::write(&path, "").unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
        prepare(&path).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn tab_completes_keywords_and_meta_commands() {
        assert_eq!(offered("rev"), ["REVOKE"]);
        assert_eq!(offered(r"\d"), [r"\dg", r"\dn", r"\dt", r"\du", r"\dr", r"\dp"]);
        assert!(offered("").is_empty());
    }

    #[test]
    fn keywords_are_sorted_and_distinct() {
        assert!(KEYWORDS.is_sorted_by(|a, b| a < b));
    }

    #[test]
    fn colour_changes_nothing_but_colour() {
        let line = "select é, 'x' from t;";
        let plain = Words.highlight(line, 0).replace("\x1b[1m", "").replace("\x1b[0m", "");
        assert_eq!(plain, line);
    }
}
