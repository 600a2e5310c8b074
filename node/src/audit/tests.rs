use std::os::unix::fs::PermissionsExt;
use std::time::Instant;

use grantd_catalog::command::{
    Creators, DefaultAct, NameContext, RoleOptionClause, RoleSpec, SchemaName, Targets, VariableChange,
};
use grantd_catalog::defaults::DefaultClass;
use grantd_catalog::name::RoleName;
use grantd_catalog::privilege::Privilege;
use grantd_catalog::refusal::{SqlState, state};
use grantd_catalog::role::PasswordVerifier;

use super::*;

fn mia() -> Who {
    Who { interface: "sql", user: "mia".to_owned(), ..Who::default() }
}

fn denied(message: &str) -> Refusal {
    Refusal::new(state::INSUFFICIENT_PRIVILEGE, message)
}

fn lines(directory: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(directory.join(writer::FILE)).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn mia_by_name() -> RoleSpec {
    RoleSpec::Name(RoleName::normalize("mia"))
}

#[test]
fn refusals_and_changes_are_lines_of_a_file_for_the_nodes_user_alone() {
    let directory = tempfile::tempdir().unwrap();
    let place = directory.path().join("audit");
    let log = AuditLog::start(3, &place).unwrap();
    let grant = Command::Grant {
        privileges: vec![Privilege::Backup, Privilege::ViewDebug],
        on: Targets::System,
        to: vec![mia_by_name(), RoleSpec::CurrentUser],
        grant_option: true,
    };
    let who = Who { session: Some("17".into()), role: Some("crew".into()), ..mia() };
    log.audit().refused(&who, Version(7), &denied("user mia does not have SELECT privilege on relation t"));
    log.audit().changed(&mia(), Version(8), &[grant]);
    log.audit().refused(&mia(), Version(8), &Refusal::new(SqlState::new("42P01"), "no table t"));
    log.finish();
    let lines = lines(&place);
    assert_eq!(lines.len(), 2, "{lines:?}");
    for (name, value) in [
        ("kind", "refusal"),
        ("interface", "sql"),
        ("session", "17"),
        ("user", "mia"),
        ("role", "crew"),
        ("sqlstate", "42501"),
        ("message", "user mia does not have SELECT privilege on relation t"),
    ] {
        assert_eq!(lines[0][name], value);
    }
    assert_eq!((&lines[0]["version"], &lines[0]["node"]), (&json!(7), &json!(3)));
    let what = "SYSTEM BACKUP, VIEWDEBUG TO mia, CURRENT_USER WITH GRANT OPTION";
    assert_eq!((&lines[1]["statement"], &lines[1]["what"]), (&json!("GRANT"), &json!(what)));
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&place), mode(&place.join(writer::FILE))), (0o700, 0o600));
}

#[test]
fn passwords_are_not_recorded() {
    let verifier = PasswordVerifier::new("SCRAM-SHA-256$1:salt$secret:key".to_owned());
    let options = vec![RoleOptionClause::Password(Some(verifier))];
    let command = Command::AlterRole { name: mia_by_name(), if_exists: false, options };
    assert_eq!(words::of(&command), Some(("ALTER ROLE", "mia PASSWORD".to_owned())));
    let context = NameContext { database: None, search_path: Vec::new() };
    assert!(!format!("{context:?}{command:?}").contains("secret"), "nor are they printable");
}

#[test]
fn changes_are_told_in_the_words_of_the_statement() {
    let defaults = Command::AlterDefaultPrivileges {
        creators: Creators::All,
        schemas: vec![SchemaName { database: Some("shop".into()), schema: "ops".into() }],
        act: DefaultAct::Revoke { grant_option_only: true },
        privileges: vec![Privilege::Select],
        on: DefaultClass::Tables,
        grantees: vec![mia_by_name()],
    };
    let said = "FOR ALL ROLES IN SCHEMA shop.ops REVOKE GRANT OPTION FOR SELECT ON TABLES FROM mia";
    assert_eq!(words::of(&defaults), Some(("ALTER DEFAULT PRIVILEGES", said.to_owned())));
    let owner = Command::ReassignOwned { from: vec![mia_by_name()], to: RoleSpec::SessionUser };
    assert_eq!(words::of(&owner), Some(("REASSIGN OWNED", "BY mia TO SESSION_USER".to_owned())));
    let role = Some(mia_by_name());
    let settings = Command::AlterRoleSettings {
        role,
        if_exists: false,
        database: None,
        change: VariableChange::ResetAll,
    };
    assert_eq!(words::of(&settings), None, "it changes nobody's rights");
}

#[test]
fn a_refusal_that_comes_again_is_counted_and_told_when_its_time_is_over() {
    let directory = tempfile::tempdir().unwrap();
    let lost = Arc::new(AtomicU64::new(0));
    let window = Duration::from_secs(10);
    let mut writer = Writer::new(1, directory.path(), window, lost);
    let begin = Instant::now();
    let take = |writer: &mut Writer, key: &str, after: u64| {
        let now = begin + Duration::from_secs(after);
        writer.take(json!({ "message": key }), Some(key.to_owned()), now);
        writer.tell_counts(now);
    };
    for after in 0..9 {
        take(&mut writer, "a", after);
    }
    take(&mut writer, "b", 9);
    assert_eq!(lines(directory.path()).len(), 2);
    writer.tell_counts(begin + Duration::from_secs(10));
    let told = lines(directory.path());
    assert_eq!((told.len(), &told[2]["message"], &told[2]["repeated"]), (3, &json!("a"), &json!(8)));
    take(&mut writer, "a", 11);
    writer.tell_counts(begin + Duration::from_secs(30));
    assert_eq!(lines(directory.path()).len(), 4, "what came once is not told again");
}

#[test]
fn files_are_bounded_and_the_oldest_goes() {
    let directory = tempfile::tempdir().unwrap();
    let lost = Arc::new(AtomicU64::new(0));
    let mut writer = Writer::new(1, directory.path(), REPEAT_WINDOW, lost).with_files_of(100);
    for number in 0..30 {
        writer.take(json!({ "number": number, "filled": "x".repeat(60) }), None, Instant::now());
    }
    let files: Vec<_> = std::fs::read_dir(directory.path()).unwrap().map(|file| file.unwrap()).collect();
    assert_eq!(files.len(), 9);
    assert!(files.iter().all(|file| file.metadata().unwrap().len() <= 100));
    assert_eq!(lines(directory.path())[0]["number"], 29);
    let oldest = std::fs::read_to_string(directory.path().join("audit.jsonl.8")).unwrap();
    assert!(oldest.contains("\"number\":21"), "{oldest}");
}

#[test]
fn what_the_disk_refuses_is_counted_and_told_when_it_takes_lines_again() {
    let directory = tempfile::tempdir().unwrap();
    let place = directory.path().join("audit");
    let lost = Arc::new(AtomicU64::new(0));
    let mut writer = Writer::new(1, &place, REPEAT_WINDOW, Arc::clone(&lost));
    // A file stands where the directory should be.
    std::fs::write(&place, b"").unwrap();
    writer.take(json!({ "n": 1 }), None, Instant::now());
    writer.take(json!({ "n": 2 }), None, Instant::now());
    assert_eq!(lost.load(Ordering::Relaxed), 2);
    std::fs::remove_file(&place).unwrap();
    writer.take(json!({ "n": 3 }), None, Instant::now());
    writer.take(json!({ "n": 4 }), None, Instant::now());
    let told = lines(&place);
    assert_eq!(told.len(), 3, "{told:?}");
    assert_eq!((&told[0]["kind"], &told[0]["count"]), (&json!("lost"), &json!(2)));
}

#[test]
fn nobody_waits_for_a_full_queue() {
    let (sender, receiver) = sync_channel(2);
    let lost = Arc::new(AtomicU64::new(0));
    let audit = Audit { shared: Some(Arc::new(Shared { node: 1, sender, lost })) };
    for number in 0..5 {
        audit.refused(&mia(), Version(1), &denied(&format!("no {number}")));
    }
    assert_eq!(audit.lost(), 3);
    drop(receiver);
    audit.refused(&mia(), Version(1), &denied("no"));
    assert_eq!(audit.lost(), 4);
}

#[test]
fn a_directory_that_cannot_be_made_says_what_to_do() {
    let directory = tempfile::tempdir().unwrap();
    let place = directory.path().join("file");
    std::fs::write(&place, b"").unwrap();
    let failure = AuditLog::start(1, &place).err().unwrap();
    assert!(failure.to_string().contains("--audit-dir"), "{failure}");
}

#[test]
fn a_long_message_is_cut_between_characters() {
    let long = "ä".repeat(TEXT_BYTES_MAX);
    assert_eq!(bounded(&long).len(), TEXT_BYTES_MAX);
    assert_eq!(bounded(&format!("a{long}")).len(), TEXT_BYTES_MAX - 1);
}
