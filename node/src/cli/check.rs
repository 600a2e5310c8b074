//! `grantd check`: may this user do that? Over SQL, by EXPLAIN PRIVILEGE; the exit code is the answer, as grep's is.

use std::io::{self, BufRead, BufReader};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, ValueEnum};
use grantd_catalog::name::RoleName;
use serde_json::json;
use tokio_postgres::{Client, Row};

use super::target::TargetArgs;
use super::{print, report};
use crate::failure::{Failure, Kind};
use crate::pgclient;

/// The most bytes of one line of a batch: a longer one is no question.
const LINE_BYTES_MAX: usize = 16 << 10;
const DENIED: u8 = 1;
const NO_ANSWER: u8 = 2;

#[derive(Args, Debug)]
#[command(after_help = "\
The object is written as GRANT writes it: `shop.orders` or `TABLE shop.orders`, `DATABASE shop`, `SCHEMA shop.public`,
`FUNCTION shop.total`, `TYPE …`, `EXTERNAL CONNECTION …`, `IAM ROLE 'arn…'`. Without an object the privilege is a
system privilege.
An answer says whether the privilege is held. A statement may need more of them: --explain also says whether the name can
be used, which takes USAGE of its schema.

Everybody may ask about themselves and their roles, about others who has VIEWACTIVITY or VIEWACTIVITYREDACTED.

A batch has one question on each line, written like the arguments; what begins with `#` is skipped.

Examples:
  grantd check mia SELECT shop.orders
  grantd check mia CONNECT ON DATABASE shop --explain
  grantd check mia VIEWACTIVITY --format json
  grantd check mia DELETE shop.orders && echo 'she may delete orders'
  grantd check mia SELECT shop.orders --at-least 812
  printf '%s\\n' 'mia SELECT shop.orders' 'ben SELECT shop.orders' | grantd check --batch -

Exit codes: 0 allowed, 1 denied, 2 no answer. Of a batch: 0 all are allowed, 1 one is denied, 2 one has no answer.")]
pub(super) struct CheckArgs {
    /// The user or role, or `public`
    #[arg(value_name = "USER", required_unless_present = "batch", conflicts_with = "batch")]
    subject: Option<String>,
    /// The privilege, as GRANT writes it
    #[arg(value_name = "PRIVILEGE", required_unless_present = "batch")]
    privilege: Option<String>,
    /// What it is held on; none: the cluster
    #[arg(value_name = "[ON] OBJECT")]
    object: Vec<String>,
    /// Whether it may be granted to others
    #[arg(long)]
    grant_option: bool,
    /// Also say why, or what is missing
    #[arg(long)]
    explain: bool,
    /// Answer with at least this version of the catalog; wait for it
    #[arg(long, value_name = "VERSION", conflicts_with = "linearizable")]
    at_least: Option<u64>,
    /// Answer with everything that was acknowledged before: a round to the leader
    #[arg(long)]
    linearizable: bool,
    /// How answers are shown
    #[arg(long, value_enum, default_value = "text")]
    format: FormatArg,
    /// Ask each line of this file; `-`: of standard input
    #[arg(long, value_name = "FILE")]
    batch: Option<PathBuf>,
    #[command(flatten)]
    target: TargetArgs,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum FormatArg {
    /// For people: a line for each answer
    Text,
    /// One object on each line
    Json,
}

/// One question.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Question {
    subject: String,
    privilege: String,
    /// As GRANT writes it; empty: the cluster.
    object: String,
    grant_option: bool,
}

/// One row of EXPLAIN PRIVILEGE.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Reason {
    privilege: String,
    object: String,
    allowed: bool,
    word: String,
    path: Vec<String>,
    held_by: Option<String>,
    remedy: Option<String>,
}

/// What was answered: the rows about the object itself, and before them those about its schema.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Answer {
    reasons: Vec<Reason>,
    of_schema: Vec<Reason>,
}

/// Asks, prints, and says it with the exit code.
pub(super) async fn run(args: CheckArgs) -> ExitCode {
    match ask_all(args).await {
        Ok(code) => ExitCode::from(code),
        Err(failure) => {
            report(&failure);
            ExitCode::from(NO_ANSWER)
        }
    }
}

async fn ask_all(args: CheckArgs) -> Result<u8, Failure> {
    let shown = (args.format, args.explain);
    let (option, batch) = (args.grant_option, args.batch);
    let single = match (args.subject, args.privilege) {
        (Some(subject), Some(privilege)) => Some(Question::new(subject, privilege, &args.object, option)?),
        _ => None,
    };
    let target = args.target.resolved()?;
    let login = target.login();
    let client = pgclient::connect(&login).await.map_err(|error| {
        let to = format!("cannot connect to {}:{} as {}", login.host, login.port, login.user);
        Failure::unreachable(to).because(&error)
    })?;
    let reading = match (args.at_least, args.linearizable) {
        (Some(version), _) => format!("at_least({version})"),
        (None, true) => "linearizable".to_owned(),
        (None, false) => "local".to_owned(),
    };
    client.batch_execute(&format!("SET grantd.read = '{reading}'")).await.map_err(|error| refused(&error))?;
    let Some(single) = single else { return ask_lines(&client, batch, option, shown).await };
    let version = version(&client).await?;
    let answer = ask(&client, &single).await?;
    print(&answer.shown(&single, version, shown, false))?;
    Ok(answer.code())
}

/// Asks each line. A line without an answer is reported, and the next one is asked.
async fn ask_lines(
    client: &Client,
    batch: Option<PathBuf>,
    option: bool,
    shown: (FormatArg, bool),
) -> Result<u8, Failure> {
    let path = batch.unwrap_or_default();
    let failed = |error: io::Error| {
        Failure::usage(format!("cannot read the questions from `{}`", path.display())).because(&error)
    };
    let mut lines: Box<dyn BufRead> = match path.as_os_str() == "-" {
        true => Box::new(io::stdin().lock()),
        false => Box::new(BufReader::new(std::fs::File::open(&path).map_err(failed)?)),
    };
    let version = version(client).await?;
    let mut code = 0;
    let mut number = 0;
    while let Some(line) = read_line(&mut lines).map_err(failed)? {
        number += 1;
        let words: Vec<_> = line.split_whitespace().collect();
        let asked = match words.as_slice() {
            [] => continue,
            [first, ..] if first.starts_with('#') => continue,
            [subject, privilege, object @ ..] => {
                Question::new((*subject).to_owned(), (*privilege).to_owned(), object, option)
            }
            [_] => Err(Failure::usage("a question is USER PRIVILEGE [ON] OBJECT")),
        };
        let answered = match &asked {
            Ok(question) => ask(client, question).await,
            Err(failure) => Err(failure.clone()),
        };
        match (asked, answered) {
            (Ok(question), Ok(answer)) => {
                print(&answer.shown(&question, version, shown, true))?;
                code = code.max(answer.code());
            }
            (_, Err(failure)) if failure.kind == Kind::Unreachable => return Err(failure),
            (_, Err(failure)) => {
                report(&Failure { what: format!("line {number}: {}", failure.what), ..failure });
                code = NO_ANSWER;
            }
            (Err(_), Ok(_)) => code = NO_ANSWER,
        }
    }
    Ok(code)
}

/// The next line, without its end; none: there is none.
fn read_line(lines: &mut impl BufRead) -> io::Result<Option<String>> {
    let mut line = String::new();
    let most = u64::try_from(LINE_BYTES_MAX).unwrap_or(u64::MAX);
    if io::Read::take(&mut *lines, most).read_line(&mut line)? == 0 {
        return Ok(None);
    }
    if line.len() == LINE_BYTES_MAX && !line.ends_with('\n') {
        return Err(io::Error::other(format!("a line is longer than {LINE_BYTES_MAX} bytes")));
    }
    Ok(Some(line))
}

/// A version that every later answer contains.
async fn version(client: &Client) -> Result<u64, Failure> {
    let row = client.query_one("SHOW grantd.version", &[]).await.map_err(|error| refused(&error))?;
    let text: String = row.try_get(0).map_err(|error| refused(&error))?;
    text.parse().map_err(|_| Failure::new(format!("the node says that its version is `{text}`")))
}

async fn ask(client: &Client, question: &Question) -> Result<Answer, Failure> {
    // Prepared, so that it is one statement whatever a line of a batch holds.
    let rows = client.query(&question.statement(), &[]).await.map_err(|error| refused(&error))?;
    let rows: Result<Vec<_>, _> = rows.iter().map(|row| Reason::of(row, question)).collect();
    Answer::of(rows?, question)
}

/// What the server said, or that it says nothing any more.
fn refused(error: &tokio_postgres::Error) -> Failure {
    let Some(said) = error.as_db_error() else {
        return Failure::unreachable("the connection was lost").because(error);
    };
    let failure = Failure::new(format!("{} ({})", said.message(), said.code().code()));
    match (said.detail(), said.hint()) {
        (Some(detail), hint) => {
            let failure = failure.caused_by(detail);
            if let Some(hint) = hint { failure.help(hint) } else { failure }
        }
        (None, Some(hint)) => failure.help(hint),
        (None, None) => failure,
    }
}

impl Question {
    fn new(
        subject: String,
        privilege: String,
        object: &[impl AsRef<str>],
        grant_option: bool,
    ) -> Result<Self, Failure> {
        let word = |byte: u8| byte.is_ascii_alphabetic();
        if privilege.is_empty() || !privilege.bytes().all(word) {
            return Err(Failure::usage(format!("`{privilege}` is not a privilege"))
                .help("write one as GRANT does: SELECT, USAGE, CONNECT, …"));
        }
        let words: Vec<_> = object.iter().map(AsRef::as_ref).collect();
        let words = match words.as_slice() {
            [on, rest @ ..] if on.eq_ignore_ascii_case("ON") => rest,
            all => all,
        };
        let privilege = privilege.to_ascii_uppercase();
        Ok(Self { subject, privilege, object: words.join(" "), grant_option })
    }

    fn statement(&self) -> String {
        let option = if self.grant_option { "GRANT OPTION FOR " } else { "" };
        let subject = self.subject.replace('"', "\"\"");
        let privilege = &self.privilege;
        // On a line of its own, so that no comment in the object hides it.
        match self.object.as_str() {
            "" => format!("EXPLAIN PRIVILEGE {option}SYSTEM {privilege}\nFOR \"{subject}\""),
            object => format!("EXPLAIN PRIVILEGE {option}{privilege} ON {object}\nFOR \"{subject}\""),
        }
    }

    fn is_about_schema(&self) -> bool {
        self.object.split_whitespace().next().is_some_and(|word| word.eq_ignore_ascii_case("SCHEMA"))
    }

    fn shown(&self) -> String {
        let option = if self.grant_option { "GRANT OPTION FOR " } else { "" };
        let on = if self.object.is_empty() { String::new() } else { format!(" ON {}", self.object) };
        format!("{} {option}{}{on}", self.subject, self.privilege)
    }
}

impl Reason {
    fn of(row: &Row, question: &Question) -> Result<Self, Failure> {
        let cell = |error: tokio_postgres::Error| {
            Failure::new("the node answers in another form: is it of this release?").because(&error)
        };
        let text = |name: &str| row.try_get::<_, String>(name).map_err(cell);
        let principal = text("principal")?;
        if principal != RoleName::normalize(&question.subject).as_str() {
            return Err(Failure::new(format!("the node answered about {principal}")));
        }
        Ok(Self {
            privilege: text("privilege")?,
            object: text("object")?,
            allowed: text("decision")? == "allow",
            word: text("reason")?,
            path: row.try_get("role_path").map_err(cell)?,
            held_by: row.try_get("held_by").map_err(cell)?,
            remedy: row.try_get("remedy").map_err(cell)?,
        })
    }

    /// A line of an explanation.
    fn line(&self) -> String {
        let path = self.path.join(" → ");
        let by_way = if self.path.len() > 1 { format!(" ({path})") } else { String::new() };
        match (self.word.as_str(), &self.held_by, &self.remedy) {
            ("owner", ..) => format!("owns {}{by_way}", self.object),
            ("superuser", ..) => format!("needs no grant: {path}"),
            (_, Some(grant), _) => format!("{grant}{by_way}"),
            (_, None, Some(remedy)) => format!("missing: {remedy}"),
            (_, None, None) => "missing, and no grant of it can be made there".to_owned(),
        }
    }

    fn json(&self) -> serde_json::Value {
        json!({ "reason": self.word, "path": self.path, "grant": self.held_by })
    }
}

impl Answer {
    /// Before what is in a schema the server says whether the schema may be used, which nobody asked.
    fn of(rows: Vec<Reason>, question: &Question) -> Result<Self, Failure> {
        let of_schema = |row: &Reason| row.object.starts_with("SCHEMA ") && !question.is_about_schema();
        let (of_schema, reasons): (Vec<_>, Vec<_>) = rows.into_iter().partition(of_schema);
        match reasons.is_empty() {
            true => Err(Failure::new(format!("nothing is named by `{}`", question.object))),
            false => Ok(Self { reasons, of_schema }),
        }
    }

    fn is_allowed(&self) -> bool {
        self.reasons.iter().all(|reason| reason.allowed)
    }

    fn code(&self) -> u8 {
        if self.is_allowed() { 0 } else { DENIED }
    }

    /// `in_batch`: with the question, as there are several.
    fn shown(
        &self,
        question: &Question,
        version: u64,
        (format, explain): (FormatArg, bool),
        in_batch: bool,
    ) -> String {
        match format {
            FormatArg::Json => format!("{}\n", self.json(question, version, explain)),
            FormatArg::Text => {
                let word = if self.is_allowed() { "allowed" } else { "denied" };
                let mut text = word.to_owned();
                if in_batch {
                    text.push_str(&format!(": {}", question.shown()));
                }
                let lines = if explain { self.lines() } else { Vec::new() };
                lines.iter().for_each(|line| text.push_str(&format!("\n  {line}")));
                text.push('\n');
                text
            }
        }
    }

    fn lines(&self) -> Vec<String> {
        let mut lines: Vec<_> = self.reasons.iter().map(Reason::line).collect();
        let denied = self.of_schema.iter().filter(|row| !row.allowed);
        lines.extend(denied.map(|row| {
            format!("beside it, to use the name, {} on {}; {}", row.privilege, row.object, row.line())
        }));
        lines
    }

    fn json(&self, question: &Question, version: u64, explain: bool) -> serde_json::Value {
        let mut answer = json!({
            "user": question.subject,
            "privilege": question.privilege,
            "object": self.reasons.first().map(|reason| &reason.object),
            "grant_option": question.grant_option,
            "allowed": self.is_allowed(),
            "version": version,
        });
        if explain {
            let (held, missing): (Vec<_>, Vec<_>) = self.reasons.iter().partition(|row| row.allowed);
            answer["reasons"] = held.into_iter().map(Reason::json).collect();
            answer["missing"] = missing.into_iter().map(|row| json!(row.remedy)).collect();
            answer["schema_usable"] = json!(self.of_schema.iter().all(|row| row.allowed));
        }
        answer
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn question(words: &str) -> Question {
        let words: Vec<_> = words.split(' ').collect();
        Question::new(words[0].into(), words[1].into(), &words[2..], false).unwrap()
    }

    #[test]
    fn a_question_is_written_as_grant_writes_it() {
        let statement = |words: &str| question(words).statement().replace('\n', " ");
        assert_eq!(
            statement("mia select shop.orders"),
            "EXPLAIN PRIVILEGE SELECT ON shop.orders FOR \"mia\""
        );
        assert_eq!(
            statement("mia CONNECT on DATABASE shop"),
            "EXPLAIN PRIVILEGE CONNECT ON DATABASE shop FOR \"mia\""
        );
        assert_eq!(statement("m\"a BACKUP"), "EXPLAIN PRIVILEGE SYSTEM BACKUP FOR \"m\"\"a\"");
        let option = Question { grant_option: true, ..question("mia SELECT t") };
        assert_eq!(option.statement(), "EXPLAIN PRIVILEGE GRANT OPTION FOR SELECT ON t\nFOR \"mia\"");
    }

    #[test]
    fn what_is_no_privilege_is_not_sent() {
        for privilege in ["", "SELECT,", "SELECT--", "x;", "a b"] {
            let none: [&str; 0] = [];
            assert!(Question::new("mia".into(), privilege.into(), &none, false).is_err(), "{privilege}");
        }
    }

    #[test]
    fn an_answer_is_about_the_object_and_not_about_its_schema() {
        let row = |object: &str, allowed| Reason {
            privilege: "USAGE".into(),
            object: object.into(),
            allowed,
            word: if allowed { "granted" } else { "nothing" }.into(),
            path: vec!["mia".into(), "crew".into()],
            held_by: allowed.then(|| format!("GRANT USAGE ON {object} TO crew")),
            remedy: (!allowed).then(|| format!("GRANT USAGE ON {object} TO mia")),
        };
        let asked = question("mia USAGE SEQUENCE s");
        let rows = vec![row("SCHEMA a.b", false), row("SEQUENCE a.b.s", true)];
        let answer = Answer::of(rows.clone(), &asked).unwrap();
        assert_eq!(answer.code(), 0);
        assert_eq!(
            answer.shown(&asked, 7, (FormatArg::Text, true), true),
            "allowed: mia USAGE ON SEQUENCE s\n  GRANT USAGE ON SEQUENCE a.b.s TO crew (mia → crew)\n  \
             beside it, to use the name, USAGE on SCHEMA a.b; missing: GRANT USAGE ON SCHEMA a.b TO mia\n"
        );
        let answer = Answer::of(rows[..1].to_vec(), &question("mia USAGE SCHEMA a.b")).unwrap();
        assert_eq!((answer.code(), answer.of_schema.len()), (DENIED, 0));
        assert!(Answer::of(rows[..1].to_vec(), &asked).is_err());
        let json = answer.json(&asked, 7, true);
        assert_eq!(json["missing"][0], "GRANT USAGE ON SCHEMA a.b TO mia");
        assert_eq!((&json["allowed"], &json["version"]), (&json!(false), &json!(7)));
    }

    #[test]
    fn a_line_of_a_batch_has_a_bound() {
        let mut lines = io::Cursor::new(b"mia SELECT a\nben SELECT b".to_vec());
        assert_eq!(read_line(&mut lines).unwrap().as_deref(), Some("mia SELECT a\n"));
        assert_eq!(read_line(&mut lines).unwrap().as_deref(), Some("ben SELECT b"));
        assert_eq!(read_line(&mut lines).unwrap(), None);
        let mut lines = io::Cursor::new(vec![b'x'; LINE_BYTES_MAX + 1]);
        assert!(read_line(&mut lines).is_err());
    }
}
