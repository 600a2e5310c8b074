//! Acceptance scripts: SQL statements with what they print, in one language that runs against the planner and the
//! catalog alone and against a real cluster.
//!
//! ```text
//! case J.2/55: a member without ADMIN OPTION may not grant
//! given the people
//! as amy
//! > GRANT crew TO ben
//! ERROR 42501: amy is not a superuser or role admin for role crew
//! ```
//!
//! `case` starts a new cluster, as root in `defaultdb`, and names the rows of the specification that it shows.
//! `given the people` makes the users amy, ben, cat and the roles crew, leads, guild; `given the shop` makes the database
//! `shop` with schema `ops` and the tables `public.item` and `ops.bill`, and makes it current for everybody. `as u`
//! changes who asks; the name before `in d` gets a new session, in that database. `login u` says whether u may log in.
//! `> …` is a statement, continued by lines that begin with two blanks; up to the next blank line stands what it prints:
//! `ok`, rows under the names of their columns, or an error with its detail and hint. `#` begins a remark.

use std::fmt::Write as _;

/// What `given the people` makes.
pub const PEOPLE: &str = "CREATE USER amy; CREATE USER ben; CREATE USER cat; CREATE ROLE crew; CREATE ROLE leads; \
                          CREATE ROLE guild";
/// What `given the shop` makes.
pub const SHOP: &str = "CREATE DATABASE shop; CREATE SCHEMA shop.ops; \
                        CREATE TABLE shop.public.item (k INT8 PRIMARY KEY, v INT8); \
                        CREATE TABLE shop.ops.bill (k INT8 PRIMARY KEY, v INT8)";

/// One case: what it shows, and its steps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Case {
    /// The text after `case`.
    pub title: String,
    /// In order.
    pub steps: Vec<Step>,
}

/// A line of a script, or a statement with what stands under it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// A remark or a blank line, kept as it is.
    Text(String),
    /// `given the people`.
    People,
    /// `given the shop`.
    Shop,
    /// `as u`, or `as u in d`: a new session.
    As {
        /// Who asks from now on.
        user: String,
        /// The database of a new session.
        database: Option<String>,
    },
    /// `login u`.
    Login(String),
    /// `> …`.
    Statement(String),
}

/// A script: what stands before its first case, and its cases.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Script {
    /// Remarks.
    pub head: Vec<String>,
    /// In order.
    pub cases: Vec<Case>,
}

/// Where steps are run.
pub trait Backend {
    /// Runs one statement of `user` and gives what it prints, each line ended.
    fn statement(&mut self, user: &str, text: &str) -> impl Future<Output = String> + Send;
    /// Begins a new session of `user`.
    fn session(&mut self, user: &str, database: &str) -> impl Future<Output = ()> + Send;
    /// The database in which sessions begin from now on.
    fn use_database(&mut self, database: &str) -> impl Future<Output = ()> + Send;
    /// Whether `user` may log in: `ok` or an error, its line ended.
    fn login(&mut self, user: &str) -> impl Future<Output = String> + Send;
}

/// Reads a script. What statements print is not kept: running it writes that anew.
pub fn parse(text: &str) -> Script {
    let mut script = Script { head: Vec::new(), cases: Vec::new() };
    let mut lines = text.lines().peekable();
    while let Some(line) = lines.next() {
        if let Some(title) = line.strip_prefix("case ") {
            script.cases.push(Case { title: title.to_owned(), steps: Vec::new() });
            continue;
        }
        let Some(case) = script.cases.last_mut() else {
            script.head.push(line.to_owned());
            continue;
        };
        let step = step(line);
        let prints = matches!(step, Step::Statement(_) | Step::Login(_));
        let step = match step {
            Step::Statement(mut statement) => {
                while let Some(more) = lines.peek().and_then(|line| line.strip_prefix("  ")) {
                    statement.push('\n');
                    statement.push_str(more);
                    lines.next();
                }
                Step::Statement(statement)
            }
            other => other,
        };
        case.steps.push(step);
        while prints && lines.peek().is_some_and(|line| !line.is_empty()) {
            lines.next();
        }
    }
    script
}

fn step(line: &str) -> Step {
    if let Some(statement) = line.strip_prefix("> ") {
        return Step::Statement(statement.to_owned());
    }
    let words: Vec<_> = line.split_whitespace().collect();
    match words.as_slice() {
        ["given", "the", "people"] => Step::People,
        ["given", "the", "shop"] => Step::Shop,
        ["as", user] => Step::As { user: (*user).to_owned(), database: None },
        ["as", user, "in", database] => {
            Step::As { user: (*user).to_owned(), database: Some((*database).to_owned()) }
        }
        ["login", user] => Step::Login((*user).to_owned()),
        [] => Step::Text(line.to_owned()),
        [first, ..] if first.starts_with('#') => Step::Text(line.to_owned()),
        _ => panic!("no step of a script: {line}"),
    }
}

/// Runs one case and writes it again with what its statements really print.
pub async fn run(case: &Case, backend: &mut (impl Backend + Send)) -> String {
    let mut out = format!("case {}\n", case.title);
    let mut user = "root".to_owned();
    for step in &case.steps {
        match step {
            Step::Text(line) => writeln!(out, "{line}").expect("a string grows"),
            Step::People => {
                out.push_str("given the people\n");
                given(backend, PEOPLE).await;
            }
            Step::Shop => {
                out.push_str("given the shop\n");
                given(backend, SHOP).await;
                backend.use_database("shop").await;
            }
            Step::As { user: name, database } => {
                user.clone_from(name);
                match database {
                    None => writeln!(out, "as {name}").expect("a string grows"),
                    Some(database) => {
                        writeln!(out, "as {name} in {database}").expect("a string grows");
                        backend.session(name, database).await;
                    }
                }
            }
            Step::Login(name) => {
                let printed = backend.login(name).await;
                write!(out, "login {name}\n{printed}").expect("a string grows");
            }
            Step::Statement(text) => {
                let printed = backend.statement(&user, text).await;
                writeln!(out, "> {}", text.replace('\n', "\n  ")).expect("a string grows");
                out.push_str(&printed);
            }
        }
    }
    out
}

async fn given(backend: &mut impl Backend, statements: &str) {
    for statement in statements.split("; ") {
        let printed = backend.statement("root", statement).await;
        assert_eq!(printed, "ok\n", "{statement}");
    }
}

/// What a statement printed: an error.
pub fn print_error(code: &str, message: &str, detail: Option<&str>, hint: Option<&str>) -> String {
    let mut out = format!("ERROR {code}: {message}\n");
    for (word, text) in [("DETAIL", detail), ("HINT", hint)] {
        if let Some(text) = text {
            writeln!(out, "{word}: {text}").expect("a string grows");
        }
    }
    out
}

/// What a statement printed: rows. Cells as the text protocol sends them; none: NULL.
pub fn print_rows(columns: &[String], rows: &[Vec<Option<String>>]) -> String {
    let mut out = format!("{}\n", columns.join(" | "));
    for row in rows {
        let cells: Vec<_> = row.iter().map(|cell| cell.as_deref().unwrap_or("NULL")).collect();
        writeln!(out, "{}", cells.join(" | ")).expect("a string grows");
    }
    out
}

/// The labels at the start of a title: `J.3/85, 86; T-7: why` is `J.3/85`, `J.3/86`, `T-7`.
pub fn labels(title: &str) -> Vec<String> {
    let names = title.split(": ").next().unwrap_or_default();
    let mut section = String::new();
    let mut found = Vec::new();
    for part in names.split([',', ';']).map(str::trim).filter(|part| !part.is_empty()) {
        if let Some((of, number)) = part.split_once('/') {
            of.clone_into(&mut section);
            found.push(format!("{section}/{number}"));
        } else if part.bytes().all(|byte| byte.is_ascii_digit()) {
            found.push(format!("{section}/{part}"));
        } else {
            found.push(part.to_owned());
        }
    }
    found
}
