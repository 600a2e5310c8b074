//! What begins with a backslash: help, shortcuts for SHOW statements, and the shell's own switches.

use crate::shell::output::Format;

/// A meta-command that was understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Meta {
    /// Show the help.
    Help,
    /// Leave.
    Quit,
    /// Run this statement.
    Run(String),
    /// Show, or stop showing, how long statements take. None: the other of the two.
    Timing(Option<bool>),
    /// Show results in this form.
    Format(Format),
    /// Say to which node, as whom and in which database.
    ConnectionInfo,
}

/// A shortcut: what is typed, what it stands for, what the help says. One table for parser, help and completion.
pub struct Shortcut {
    /// As typed.
    pub command: &'static str,
    /// The statement.
    pub statement: &'static str,
    /// In the help.
    pub help: &'static str,
}

/// Every shortcut.
pub const SHORTCUTS: [Shortcut; 11] = [
    Shortcut { command: r"\l", statement: "SHOW DATABASES", help: "databases" },
    Shortcut { command: r"\dn", statement: "SHOW SCHEMAS", help: "schemas of the current database" },
    Shortcut { command: r"\dt", statement: "SHOW TABLES", help: "tables of the current database" },
    Shortcut { command: r"\ds", statement: "SHOW SEQUENCES", help: "sequences of the current database" },
    Shortcut { command: r"\dT", statement: "SHOW ENUMS", help: "types of the current database" },
    Shortcut { command: r"\df", statement: "SHOW FUNCTIONS", help: "functions of the current database" },
    Shortcut { command: r"\du", statement: "SHOW USERS", help: "users, their options and memberships" },
    Shortcut { command: r"\dr", statement: "SHOW ROLES", help: "roles, their options and memberships" },
    Shortcut { command: r"\drg", statement: "SHOW GRANTS ON ROLE", help: "who belongs to which role" },
    Shortcut { command: r"\dp", statement: "SHOW GRANTS", help: "who holds what in the current database" },
    Shortcut {
        command: r"\ddp",
        statement: "SHOW DEFAULT PRIVILEGES",
        help: "what your new objects are granted to whom",
    },
];

/// The shell's own commands, for help and completion.
pub const COMMANDS: [(&str, &str); 7] = [
    (r"\?", "this help"),
    (r"\q", "leave (also: quit, exit, Ctrl-D)"),
    (r"\c [DATABASE]", "change the database; without a name: show where you are"),
    (r"\timing [on|off]", "show how long each statement took"),
    (r"\format table|csv|json", "how results are shown"),
    (r"\d TABLE", "the columns of one table"),
    (r"\dg TABLE", "grants on one table"),
];

/// Reads a line. None: it is not a meta-command. An error says what would be right.
pub fn parse(line: &str) -> Option<Result<Meta, String>> {
    let line = line.trim().trim_end_matches(';').trim_end();
    match line.to_ascii_lowercase().as_str() {
        "help" | "?" => return Some(Ok(Meta::Help)),
        "quit" | "exit" => return Some(Ok(Meta::Quit)),
        _ => {}
    }
    if !line.starts_with('\\') {
        return None;
    }
    let (command, argument) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
    Some(command_with(command, argument.trim()))
}

fn command_with(command: &str, argument: &str) -> Result<Meta, String> {
    if let Some(shortcut) = SHORTCUTS.iter().find(|shortcut| shortcut.command == command) {
        return if argument.is_empty() {
            Ok(Meta::Run(shortcut.statement.to_owned()))
        } else {
            Err(format!("{command} takes no argument; write the statement: {} …;", shortcut.statement))
        };
    }
    match (command, argument) {
        (r"\?" | r"\h", _) => Ok(Meta::Help),
        (r"\q", "") => Ok(Meta::Quit),
        (r"\c", "") => Ok(Meta::ConnectionInfo),
        (r"\c", database) => Ok(Meta::Run(format!("USE {database}"))),
        (r"\d", "") => Err(r"\d needs a table: \d orders".to_owned()),
        (r"\d", table) => Ok(Meta::Run(format!("SHOW COLUMNS FROM {table}"))),
        (r"\dg", "") => Err(r"\dg needs a table: \dg orders".to_owned()),
        (r"\dg", table) => Ok(Meta::Run(format!("SHOW GRANTS ON TABLE {table}"))),
        (r"\timing", "") => Ok(Meta::Timing(None)),
        (r"\timing", "on") => Ok(Meta::Timing(Some(true))),
        (r"\timing", "off") => Ok(Meta::Timing(Some(false))),
        (r"\timing", _) => Err(r"\timing takes `on`, `off` or nothing".to_owned()),
        (r"\format", name) => match Format::NAMES.iter().find(|(known, _)| *known == name) {
            Some((_, format)) => Ok(Meta::Format(*format)),
            None => Err(r"\format takes `table`, `csv` or `json`".to_owned()),
        },
        _ => Err(format!(r"unknown command {command}; \? lists what there is")),
    }
}

/// The text of `\?`.
pub fn help() -> String {
    let mut text = String::from("Statements end with `;` and may span lines.\n\n");
    for (command, help) in COMMANDS {
        text.push_str(&format!("  {command:<26}{help}\n"));
    }
    text.push_str("\nShortcuts:\n");
    for shortcut in &SHORTCUTS {
        text.push_str(&format!("  {:<26}{} ({})\n", shortcut.command, shortcut.help, shortcut.statement));
    }
    text.push_str("\nCtrl-C cancels the running statement, or clears the line. Tab completes.\n");
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(statement: &str) -> Option<Result<Meta, String>> {
        Some(Ok(Meta::Run(statement.to_owned())))
    }

    #[test]
    fn shortcuts_stand_for_statements() {
        assert_eq!(parse(r"\du"), run("SHOW USERS"));
        assert_eq!(parse(r"\dt;"), run("SHOW TABLES"));
        assert_eq!(parse(r"\c shop"), run("USE shop"));
        assert_eq!(parse(r"\dT"), run("SHOW ENUMS"));
        assert_eq!(parse(r"\d shop.orders"), run("SHOW COLUMNS FROM shop.orders"));
        assert_eq!(parse(r"\dg shop.orders"), run("SHOW GRANTS ON TABLE shop.orders"));
    }

    #[test]
    fn words_of_other_shells_work() {
        assert_eq!(parse("quit"), Some(Ok(Meta::Quit)));
        assert_eq!(parse("EXIT;"), Some(Ok(Meta::Quit)));
        assert_eq!(parse("help"), Some(Ok(Meta::Help)));
    }

    #[test]
    fn sql_is_not_a_meta_command() {
        assert_eq!(parse("SELECT 1;"), None);
        assert_eq!(parse(r"SELECT '\q';"), None);
    }

    #[test]
    fn what_is_not_known_says_where_to_look() {
        assert_eq!(parse(r"\zz"), Some(Err(r"unknown command \zz; \? lists what there is".to_owned())));
        assert!(matches!(parse(r"\timing maybe"), Some(Err(_))));
    }

    #[test]
    fn the_help_names_every_command() {
        let help = help();
        assert!(SHORTCUTS.iter().all(|shortcut| help.contains(shortcut.command)));
        assert!(COMMANDS.iter().all(|(command, _)| help.contains(command)));
    }
}
