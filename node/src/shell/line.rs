//! The line editor: history, completion, a little colour.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::io;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use rustyline::completion::{Completer, Pair};
use rustyline::error::ReadlineError;
use rustyline::highlight::{CmdKind, Highlighter};
use rustyline::hint::Hinter;
use rustyline::history::FileHistory;
use rustyline::validate::Validator;
use rustyline::{CompletionType, Config, Context, Editor, Helper};

use grantd_catalog::privilege::Privilege;
use grantd_catalog::role::RoleOption;

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

    /// Keeps a statement, unless it may hold a password or a URI, which may hold keys.
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
    let lower = statement.to_ascii_lowercase();
    let secret = ["password", "passphrase", "auth_header", "connection", "://"]
        .iter()
        .any(|word| lower.contains(word));
    !statement.trim().is_empty() && !secret
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

/// What Tab offers beside meta-commands, privileges and role options.
const KEYWORDS: [&str; 128] = [
    "ADMIN",
    "AFTER",
    "ALTER",
    "AND",
    "AS",
    "ASC",
    "AUTHORIZATION",
    "BEFORE",
    "BY",
    "CALLED",
    "CANCEL",
    "CASCADE",
    "CHECK",
    "CLUSTER",
    "COLUMN",
    "COLUMNS",
    "COMMENT",
    "CONCURRENTLY",
    "CONNECTION",
    "CONSTRAINTS",
    "CREDENTIALS",
    "CURRENT_USER",
    "DATABASE",
    "DATABASES",
    "DEFAULT",
    "DESC",
    "DISCARD",
    "ENCRYPTED",
    "ENUM",
    "ENUMS",
    "EXISTS",
    "EXPLAIN",
    "EXTERNAL",
    "FOR",
    "FROM",
    "FUNCTION",
    "FUNCTIONS",
    "GRANT",
    "GRANTEE",
    "GRANTS",
    "GROUP",
    "IAM",
    "IF",
    "IMMUTABLE",
    "IN",
    "INCREMENT",
    "INDEXES",
    "INPUT",
    "INTO",
    "IS",
    "JOB",
    "JOBS",
    "KEY",
    "LANGUAGE",
    "LIMIT",
    "LOCAL",
    "LOGIN",
    "MAXVALUE",
    "MINVALUE",
    "NOCANCELQUERY",
    "NOCREATEDB",
    "NOCREATELOGIN",
    "NOCREATEROLE",
    "NODES",
    "NOT",
    "NOVIEWACTIVITY",
    "NULL",
    "ON",
    "OPTION",
    "ORDER",
    "OWNED",
    "OWNER",
    "PASSWORD",
    "PAUSE",
    "PRIMARY",
    "PRIVILEGE",
    "PRIVILEGES",
    "QUERIES",
    "QUERY",
    "REASSIGN",
    "RENAME",
    "REPLACE",
    "RESET",
    "RESTRICT",
    "RESUME",
    "RETURNING",
    "RETURNS",
    "REVOKE",
    "ROLE",
    "ROLES",
    "SCHEMA",
    "SCHEMAS",
    "SECONDARY",
    "SECRETS",
    "SEQUENCE",
    "SEQUENCES",
    "SESSION",
    "SESSIONS",
    "SESSION_USER",
    "SET",
    "SETTING",
    "SETTINGS",
    "SHOW",
    "SKIP_CHECK",
    "SQLLOGIN",
    "STABLE",
    "START",
    "STATEMENTS",
    "STRICT",
    "SYSTEM",
    "TABLE",
    "TABLES",
    "TO",
    "TRANSACTIONS",
    "TRANSFER",
    "TYPE",
    "TYPES",
    "UNTIL",
    "USE",
    "USER",
    "USERS",
    "VALID",
    "VALUE",
    "VALUES",
    "VIEW",
    "VOLATILE",
    "WHERE",
    "WITH",
];

/// Every word that Tab offers and that is shown bold, sorted.
fn words() -> &'static BTreeSet<&'static str> {
    static WORDS: LazyLock<BTreeSet<&'static str>> = LazyLock::new(|| {
        let privileges = Privilege::each().map(Privilege::word);
        let options = RoleOption::each().map(RoleOption::word);
        KEYWORDS.into_iter().chain(privileges).chain(options).collect()
    });
    &WORDS
}

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
    words().iter().filter(|keyword| keyword.starts_with(&upper)).map(|keyword| pair(keyword)).collect()
}

impl Highlighter for Words {
    fn highlight<'l>(&self, line: &'l str, _position: usize) -> Cow<'l, str> {
        let mut out = String::with_capacity(line.len() + 32);
        for piece in line.split_inclusive(|c: char| !(c.is_alphanumeric() || c == '_')) {
            let word = piece.trim_end_matches(|c: char| !(c.is_alphanumeric() || c == '_'));
            if words().contains(word.to_ascii_uppercase().as_str()) {
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
        assert!(!may_be_kept("CREATE EXTERNAL CONNECTION c AS 's3://b?AWS_SECRET_ACCESS_KEY=x'"));
        assert!(!may_be_kept("BACKUP INTO 's3://b?AWS_SECRET_ACCESS_KEY=x'"));
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
        assert_eq!(offered("viewc"), ["VIEWCLUSTERMETADATA", "VIEWCLUSTERSETTING"]);
        assert_eq!(offered("seq"), ["SEQUENCE", "SEQUENCES"]);
        assert_eq!(offered("cre"), ["CREATE", "CREATEDB", "CREATELOGIN", "CREATEROLE", "CREDENTIALS"]);
        assert_eq!(offered("noc"), ["NOCANCELQUERY", "NOCREATEDB", "NOCREATELOGIN", "NOCREATEROLE"]);
        assert_eq!(
            offered(r"\d"),
            [r"\d", r"\dg", r"\dn", r"\dt", r"\ds", r"\dT", r"\df", r"\du", r"\dr", r"\drg", r"\dp", r"\ddp",]
        );
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
