//! The acceptance cases of the authorization spec's section J, by number, with exact texts and SQLSTATEs.
//!
//! `GRANTD_UPDATE=1 cargo test -p grantd-catalog --test scripts` writes what was found into the files; read the diff.
#![allow(clippy::disallowed_methods, reason = "the catalog does no I/O; its tests read their scripts")]

mod twins;

use std::fs;

use twins::script;

#[test]
fn every_statement_of_the_scripts_comes_to_what_is_written_under_it() {
    let files = script::files();
    assert!(!files.is_empty());
    for path in files {
        println!("{}", path.display());
        let text = fs::read_to_string(&path).expect("a script is text");
        script::expect_file(&path, &script::run(&text, &mut Vec::new()));
    }
}

#[test]
fn a_script_with_another_text_under_a_statement_would_fail() {
    let text = "case\nCREATE ROLE admin\n  42710 a role/user named admin already exists\n";
    let mut told = Vec::new();
    assert_eq!(script::run(text, &mut told), text);
    let wrong = text.replace("already exists", "exists already");
    assert_ne!(script::run(&wrong, &mut told), wrong);
}
