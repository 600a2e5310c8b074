//! The tour of `grantd demo`, as a newcomer runs it: three nodes, every line verified by the tour itself.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

use std::process::{Command, Stdio};

#[test]
fn the_tour_holds_and_leaves_nothing_behind() {
    let temporary = tempfile::tempdir().unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_grantd"))
        .args(["demo", "--tour"])
        .env("TMPDIR", temporary.path())
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let (out, error) = (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
    assert!(output.status.success(), "{out}\n{error}");
    assert!(out.trim_end().ends_with("statements did what this tour said they would."), "{out}");
    assert_eq!(std::fs::read_dir(temporary.path()).unwrap().count(), 0, "the demo's directory is removed");
}

#[test]
fn a_directory_that_is_not_empty_is_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("precious"), "x").unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_grantd"))
        .args(["demo", "--tour", "--keep"])
        .arg(directory.path())
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("is not empty"));
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1);
}
