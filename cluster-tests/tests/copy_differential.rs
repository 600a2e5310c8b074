//! The same data copied in and out here and on Debian's PostgreSQL gives the same rows and the same bytes, or is refused
//! by both for the same reason.
//!
//! Data and options are made from a seed: mostly what an encoder writes, with quotes, escapes, line ends, NULLs and end
//! marks strewn in. `GRANTD_COPY_SEED` and `GRANTD_COPY_ROUNDS` choose others.

#![allow(missing_docs, clippy::print_stderr, reason = "tests")]

use bytes::Bytes;
use futures::{SinkExt, TryStreamExt};
use grantd_cluster_tests::dice::Dice;
use grantd_cluster_tests::postgres::Postgres;
use grantd_cluster_tests::process::Cluster;
use tokio_postgres::Client;

const SEED: u64 = 20_261_122;
const ROUNDS: usize = 600;
/// How many differences are shown.
const SHOWN_MAX: usize = 12;

const TABLE: &str = "CREATE TABLE c (a TEXT, b VARCHAR(20), n INT4, f FLOAT8, d DECIMAL(12,3), ok BOOL, at TIMESTAMP, \
    day DATE, x BYTEA, u UUID, twice INT8 GENERATED ALWAYS AS (n * 2) STORED)";
const COLUMNS: [&str; 10] = ["a", "b", "n", "f", "d", "ok", "at", "day", "x", "u"];

fn shown(came: &Came) -> String {
    match came {
        Came::Bytes(bytes) => format!("{:?}", String::from_utf8_lossy(bytes)),
        other => format!("{other:?}"),
    }
}

/// NULLs stand first here.
fn order() -> String {
    COLUMNS.map(|column| format!("{column} NULLS LAST")).join(", ")
}

/// What came of one COPY: bytes or a count, or the SQLSTATE and text of a refusal.
#[derive(Debug, PartialEq, Eq)]
enum Came {
    Bytes(Vec<u8>),
    Rows(u64),
    Refused(String, String),
}

fn refusal(error: &tokio_postgres::Error) -> Came {
    let error = error.as_db_error().unwrap_or_else(|| panic!("{error}"));
    Came::Refused(error.code().code().to_owned(), error.message().to_owned())
}

async fn copied_in(client: &Client, text: &str, data: &[u8]) -> Came {
    let sink = match client.copy_in::<_, Bytes>(text).await {
        Ok(sink) => sink,
        Err(error) => return refusal(&error),
    };
    let mut sink = std::pin::pin!(sink);
    for part in data.chunks(7) {
        if sink.send(Bytes::copy_from_slice(part)).await.is_err() {
            break;
        }
    }
    match sink.as_mut().finish().await {
        Ok(count) => Came::Rows(count),
        Err(error) => refusal(&error),
    }
}

async fn copied_out(client: &Client, text: &str) -> Came {
    let stream = match client.copy_out(text).await {
        Ok(stream) => stream,
        Err(error) => return refusal(&error),
    };
    match stream.try_collect::<Vec<Bytes>>().await {
        Ok(parts) => Came::Bytes(parts.concat()),
        Err(error) => refusal(&error),
    }
}

/// Options of a COPY, as written.
struct Form {
    text: String,
    is_csv: bool,
    delimiter: char,
    quote: char,
    escape: char,
    null: &'static str,
    header: bool,
}

fn form(dice: &mut Dice) -> Form {
    let is_csv = dice.one_in(2);
    let delimiter = if dice.one_in(2) {
        *dice.pick(&['|', ';', ',', '\t'])
    } else if is_csv {
        ','
    } else {
        '\t'
    };
    let quote = if dice.one_in(3) { '\'' } else { '"' };
    let escape = if dice.one_in(3) { '\\' } else { quote };
    let default = if is_csv { "" } else { "\\N" };
    let null = if dice.one_in(3) { *dice.pick(&["", "NULL", "\\N", "nil"]) } else { default };
    let header = is_csv && dice.one_in(3);
    let literal = |text: &str| format!("'{}'", text.replace('\'', "''"));
    let mut text = format!("FORMAT {}", if is_csv { "csv" } else { "text" });
    text.push_str(&format!(", DELIMITER {}", literal(&delimiter.to_string())));
    text.push_str(&format!(", NULL {}", literal(null)));
    if is_csv {
        text.push_str(&format!(", QUOTE {}", literal(&quote.to_string())));
        text.push_str(&format!(", ESCAPE {}", literal(&escape.to_string())));
    }
    if header {
        text.push_str(", HEADER");
    }
    Form { text, is_csv, delimiter, quote, escape, null, header }
}

/// Texts with all that is special to one of the formats.
fn words(dice: &mut Dice) -> String {
    const PIECES: [&str; 22] = [
        "a", "bc", " ", "\"", "'", "\\", "\n", "\r", "\t", ",", "|", ";", "\\.", "\\N", "NULL", "nil", "é",
        "日本", "\u{1}", "\u{b}", "\u{8}", "0",
    ];
    (0..dice.below(5)).map(|_| *dice.pick(&PIECES)).collect()
}

/// A value of the column's type most often; NULL sometimes; wrong at times.
fn value(dice: &mut Dice, column: &str) -> Option<String> {
    if dice.one_in(6) {
        return None;
    }
    if dice.one_in(150) {
        return Some("x-".to_owned());
    }
    let number = |dice: &mut Dice| i64::try_from(dice.below(2_000_000)).unwrap_or(0) - 1_000_000;
    Some(match column {
        "a" | "b" => words(dice),
        "n" => number(dice).to_string(),
        // Few digits: of a number halfway between two, PostgreSQL shows more digits than are needed.
        "f" => format!("{}e-{}", number(dice), dice.below(9)),
        "d" => format!("{}.{}", number(dice), dice.below(10_000)),
        "ok" => (*dice.pick(&["t", "f", "true", "no", "1"])).to_owned(),
        "at" => format!(
            "20{:02}-0{}-11 0{}:05:06.{}",
            dice.below(99),
            dice.below(9) + 1,
            dice.below(9),
            dice.below(1_000_000)
        ),
        "day" => format!("19{:02}-1{}-2{}", dice.below(99), dice.below(3), dice.below(9)),
        "x" => (*dice.pick(&["\\x", "\\xdeadbeef", "\\x00ff0a0d"])).to_owned(),
        _ => format!("a0eebc99-9c0b-4ef8-bb6d-{:012}", dice.below(1_000_000)),
    })
}

/// What a program writes that knows the format, with a slip now and then.
/// The second value: whether a byte was replaced.
fn data(dice: &mut Dice, form: &Form, columns: &[&str]) -> (Vec<u8>, bool) {
    let end = *dice.pick(&["\n", "\n", "\n", "\r\n", "\r"]);
    let mut out = String::new();
    if form.header {
        out.push_str(&columns.join(&form.delimiter.to_string()));
        out.push_str(end);
    }
    for _ in 0..dice.below(6) {
        for (at, column) in columns.iter().enumerate() {
            if at > 0 {
                out.push(form.delimiter);
            }
            match value(dice, column) {
                None => out.push_str(form.null),
                Some(value) if form.is_csv => quoted(&mut out, &value, form, dice.one_in(3)),
                Some(value) => escaped(&mut out, &value, form),
            }
        }
        out.push_str(end);
    }
    if dice.one_in(12) {
        out.push_str("\\.");
        out.push_str(end);
        out.push_str("not read");
    }
    if dice.one_in(8) {
        out.pop();
    }
    let mut bytes = out.into_bytes();
    let slips = dice.one_in(6) && !bytes.is_empty();
    if slips {
        let at = dice.below(bytes.len());
        bytes[at] = *dice.pick(b"\"\\\n\r\t,'x\xff0|");
    }
    (bytes, slips)
}

fn quoted(out: &mut String, value: &str, form: &Form, forced: bool) {
    let special = |c: char| [form.delimiter, form.quote, '\n', '\r'].contains(&c);
    if !forced && value != form.null && !value.contains(special) && !value.contains("\\.") {
        return out.push_str(value);
    }
    out.push(form.quote);
    for c in value.chars() {
        if c == form.quote || c == form.escape {
            out.push(form.escape);
        }
        out.push(c);
    }
    out.push(form.quote);
}

fn escaped(out: &mut String, value: &str, form: &Form) {
    for c in value.chars() {
        match c {
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\\' => out.push_str("\\\\"),
            '\u{8}' => out.push_str("\\b"),
            '\u{b}' => out.push_str("\\v"),
            c if c == form.delimiter => out.extend(['\\', c]),
            c => out.push(c),
        }
    }
}

/// Texts of messages differ where a value cannot be read, as documented; their codes do not, nor do those of the format.
fn same(here: &Came, there: &Came) -> bool {
    match (here, there) {
        (Came::Refused(here, _), Came::Refused(there, _)) if here.starts_with("22") && here != "22P04" => {
            there.starts_with("22") && there != "22P04"
        }
        (here, there) => here == there,
    }
}

/// Of times PostgreSQL reads more spellings, which has nothing to do with COPY.
fn is_lenient(here: &Came, there: &Came) -> bool {
    matches!((here, there), (Came::Refused(code, _), Came::Rows(_)) if code == "22007" || code == "22008")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn data_is_copied_in_and_out_as_by_postgresql() {
    let Some(postgres) = Postgres::start().await else { return };
    let theirs = postgres.connect().await;
    let cluster = Cluster::start(1).await;
    let ours = cluster.root(&cluster.nodes[0]).await.expect("root logs in");
    theirs.batch_execute(TABLE).await.expect("the table");
    ours.batch_execute(TABLE).await.expect("the table");
    let read =
        |name: &str, or: u64| std::env::var(name).ok().and_then(|value| value.parse().ok()).unwrap_or(or);
    let mut dice = Dice::new(read("GRANTD_COPY_SEED", SEED));
    let rounds = usize::try_from(read("GRANTD_COPY_ROUNDS", ROUNDS as u64)).expect("a count");
    let (mut wrong, mut taken, mut refused) = (0, 0_u64, 0);
    for round in 0..rounds {
        if round % 5 == 0 {
            for client in [&theirs, &ours] {
                client.batch_execute("DELETE FROM c").await.expect("DELETE");
            }
        }
        let form = form(&mut dice);
        let mut columns: Vec<&str> = COLUMNS.into_iter().filter(|_| !dice.one_in(4)).collect();
        if columns.is_empty() || dice.one_in(6) {
            columns = COLUMNS.to_vec();
        }
        let list =
            if columns.len() == COLUMNS.len() { String::new() } else { format!(" ({})", columns.join(", ")) };
        let (bytes, slips) = data(&mut dice, &form, &columns);
        let text = format!("COPY c{list} FROM STDIN ({})", form.text);
        let (here, there) = (copied_in(&ours, &text, &bytes).await, copied_in(&theirs, &text, &bytes).await);
        match &there {
            Came::Rows(count) => taken += count,
            _ => refused += 1,
        }
        if !same(&here, &there) {
            let known = slips && is_lenient(&here, &there);
            wrong += usize::from(!known);
            if !known && wrong <= SHOWN_MAX {
                eprintln!(
                    "{text}\n  {:?}\n  here  {here:?}\n  there {there:?}",
                    String::from_utf8_lossy(&bytes)
                );
            }
            for client in [&theirs, &ours] {
                client.batch_execute("DELETE FROM c").await.expect("DELETE");
            }
            continue;
        }
        let out = self::form(&mut dice);
        let order = format!("SELECT a, b, n, f, d, ok, at, day, x, u, twice FROM c ORDER BY {}", order());
        let forced = if out.is_csv && dice.one_in(3) { ", FORCE_QUOTE *" } else { "" };
        for text in [
            format!("COPY ({order}) TO STDOUT ({}{forced})", out.text),
            format!("COPY ({order}) TO STDOUT (FORMAT binary)"),
        ] {
            let (here, there) = (copied_out(&ours, &text).await, copied_out(&theirs, &text).await);
            if here != there {
                wrong += 1;
                if wrong <= SHOWN_MAX {
                    eprintln!("{text}\n  here  {}\n  there {}", shown(&here), shown(&there));
                }
            }
        }
        // What PostgreSQL writes is read here, and the other way round.
        if round % 10 == 9 {
            both_ways(&ours, &theirs).await;
        }
    }
    eprintln!("{rounds} rounds, {taken} rows copied in, {refused} refused, {wrong} differences");
    assert_eq!(wrong, 0);
    assert!(
        taken > rounds as u64 / 2 && refused > rounds / 20,
        "the data is neither all right nor all wrong"
    );
}

/// Copies what is there from one to the other in the binary format.
async fn both_ways(ours: &Client, theirs: &Client) {
    for (from, to) in [(theirs, ours), (ours, theirs)] {
        let Came::Bytes(bytes) = copied_out(from, "COPY c TO STDOUT (FORMAT binary)").await else {
            panic!("COPY TO is refused")
        };
        to.batch_execute("DELETE FROM c").await.expect("DELETE");
        let came = copied_in(to, "COPY c FROM STDIN (FORMAT binary)", &bytes).await;
        assert!(matches!(came, Came::Rows(_)), "{came:?}");
    }
    let text = format!(
        "COPY (SELECT a, b, n, f, d, ok, at, day, x, u, twice FROM c ORDER BY {}) TO STDOUT",
        order()
    );
    assert_eq!(shown(&copied_out(ours, &text).await), shown(&copied_out(theirs, &text).await));
}
