//! Schedules of backups.

use super::super::backup::Of;
use super::super::job::{JobStatement, Listed, Which};
use super::super::schedule::{
    FullBackup, NewSchedule, Recurring, ScheduleChange, ScheduleControl, ScheduleOption, ScheduleStatement,
    Schedules, Shown,
};
use super::*;

fn statement(text: &str) -> ScheduleStatement {
    match parse(text) {
        Ok(Statement::Schedule(statement)) => *statement,
        other => panic!("{text}: {other:?}"),
    }
}

fn created(text: &str) -> NewSchedule {
    match statement(text) {
        ScheduleStatement::Create(create) => *create,
        other => panic!("{text}: {other:?}"),
    }
}

fn changes(text: &str) -> Vec<ScheduleChange> {
    match statement(text) {
        ScheduleStatement::Alter { id, changes } => {
            assert_eq!(id.0, 7);
            changes
        }
        other => panic!("{text}: {other:?}"),
    }
}

fn daily() -> String {
    "@daily".to_owned()
}

#[test]
fn a_schedule_has_a_label_a_backup_and_a_cadence() {
    let plain = created("CREATE SCHEDULE FOR BACKUP INTO 's3://b' RECURRING '@daily'");
    assert!(
        plain.label.is_none() && !plain.if_not_exists && plain.full.is_none() && plain.options.is_empty()
    );
    assert_eq!(plain.recurring, Recurring::Crontab(daily()));
    assert!(matches!(plain.backup.of, Of::Cluster) && plain.backup.detached && plain.backup.upon.is_none());

    let all = created(
        "CREATE SCHEDULE IF NOT EXISTS 'my label' FOR BACKUP DATABASE a, b INTO ('s3://b') \
         WITH revision_history, encryption_passphrase = 'p' RECURRING '@hourly' FULL BACKUP '@daily' \
         WITH SCHEDULE OPTIONS first_run = 'now', on_execution_failure = pause, ignore_existing_backups",
    );
    assert!(all.if_not_exists && all.backup.revision_history);
    assert_eq!(all.label.as_deref(), Some("my label"));
    assert_eq!(all.backup.opened.passphrase.unwrap().expose(), "p");
    assert_eq!(all.full, Some(FullBackup::Crontab(daily())));
    let options: Vec<_> = all.options.iter().map(|option| (option.name, option.value.as_deref())).collect();
    assert_eq!(
        options,
        [
            ("first_run", Some("now")),
            ("on_execution_failure", Some("pause")),
            ("ignore_existing_backups", None)
        ]
    );

    let never = created("CREATE SCHEDULE l FOR BACKUP TABLE t INTO 'c' RECURRING NEVER FULL BACKUP ALWAYS");
    assert_eq!((never.recurring, never.full), (Recurring::Never, Some(FullBackup::Always)));
    assert_eq!(never.label.as_deref(), Some("l"));
}

#[test]
fn what_a_schedule_cannot_be_is_said() {
    let rows = [
        ("CREATE SCHEDULE FOR BACKUP INTO 'c'", "42601"),
        ("CREATE SCHEDULE FOR BACKUP INTO 'c' RECURRING", "42601"),
        ("CREATE SCHEDULE FOR BACKUP INTO 'c' RECURRING daily", "42601"),
        ("CREATE SCHEDULE FOR BACKUP INTO LATEST IN 'c' RECURRING '@daily'", "42601"),
        ("CREATE SCHEDULE FOR BACKUP INTO 'f' IN 'c' RECURRING '@daily'", "42601"),
        ("CREATE SCHEDULE FOR BACKUP INTO 'c' AS OF SYSTEM TIME '-1s' RECURRING '@daily'", "42601"),
        ("CREATE SCHEDULE FOR BACKUP INTO 'c' RECURRING '@daily' WITH SCHEDULE OPTIONS", "42601"),
        ("CREATE SCHEDULE FOR BACKUP INTO 'c' RECURRING '@daily' WITH SCHEDULE OPTIONS nonsense", "42601"),
        (
            "CREATE SCHEDULE FOR BACKUP INTO 'c' RECURRING '@daily' WITH SCHEDULE OPTIONS first_run = 'now', \
             first_run = 'now'",
            "42601",
        ),
        ("CREATE SCHEDULE FOR CHANGEFEED t INTO 'c' RECURRING '@daily'", "0A000"),
        ("ALTER BACKUP SCHEDULE 7", "42601"),
        ("ALTER BACKUP SCHEDULE 7 SET", "42601"),
        ("ALTER BACKUP SCHEDULE 7 EXECUTE", "42601"),
        ("PAUSE SCHEDULE", "42601"),
        ("PAUSE SCHEDULE SELECT 1", "42601"),
        ("DROP SCHEDULES", "42601"),
        ("SHOW SCHEDULE", "42601"),
    ];
    for (text, code) in rows {
        assert_eq!(refused(text).0, code, "{text}");
    }
    let label = "l".repeat(257);
    assert_eq!(refused(&format!("CREATE SCHEDULE '{label}' FOR BACKUP INTO 'c' RECURRING NEVER")).0, "54000");
    let (_, message) = refused("CREATE SCHEDULE FOR BACKUP INTO 's3://b?KEY=S3CR3T' NONSENSE");
    assert!(!message.contains("S3CR3T"), "{message}");
}

#[test]
fn schedules_are_altered_clause_by_clause() {
    let found = changes(
        "ALTER BACKUP SCHEDULE 7 SET INTO 'c', SET LABEL 'l', SET RECURRING '@daily', SET FULL BACKUP ALWAYS, \
         SET WITH revision_history = false, SET SCHEDULE OPTION on_previous_running = skip, EXECUTE FULL IMMEDIATELY, \
         EXECUTE IMMEDIATELY",
    );
    let [into, label, recurring, full, with, option, first, second] = &found[..] else { panic!("{found:?}") };
    assert!(matches!(into, ScheduleChange::Into(uris) if uris.len() == 1));
    assert!(matches!(label, ScheduleChange::Label(label) if label == "l"));
    assert!(matches!(recurring, ScheduleChange::Recurring(Recurring::Crontab(text)) if *text == daily()));
    assert!(matches!(full, ScheduleChange::Full(FullBackup::Always)));
    assert!(matches!(with, ScheduleChange::With(options) if options.revision_history == Some(false)));
    let skip = ScheduleOption { name: "on_previous_running", value: Some("skip".to_owned()) };
    assert!(matches!(option, ScheduleChange::Option(found) if *found == skip));
    assert!(matches!(first, ScheduleChange::Execute { full: true }));
    assert!(matches!(second, ScheduleChange::Execute { full: false }));
}

#[test]
fn schedules_are_named_by_number_or_query() {
    for (text, expected, one) in [
        ("PAUSE SCHEDULE 3", ScheduleControl::Pause, true),
        ("RESUME SCHEDULES SELECT id FROM [SHOW SCHEDULES]", ScheduleControl::Resume, false),
        ("DROP SCHEDULES (SELECT 1)", ScheduleControl::Drop, false),
    ] {
        // What stands in brackets is not a table here.
        let text = text.replace("[SHOW SCHEDULES]", "t");
        let ScheduleStatement::Control { control, which } = statement(&text) else { panic!("{text}") };
        assert_eq!((control, matches!(which, Schedules::One(_))), (expected, one), "{text}");
    }
    for (text, expected, for_backup) in [
        ("SHOW SCHEDULES", Shown::All, false),
        ("SHOW SCHEDULES FOR BACKUP", Shown::All, true),
        ("SHOW RUNNING SCHEDULES", Shown::Running, false),
        ("SHOW PAUSED SCHEDULES FOR BACKUP", Shown::Paused, true),
    ] {
        let ScheduleStatement::Show { shown, for_backup: backup } = statement(text) else { panic!("{text}") };
        assert_eq!((shown, backup), (expected, for_backup), "{text}");
    }
    assert!(matches!(
        statement("SHOW SCHEDULE 5"),
        ScheduleStatement::Show { shown: Shown::One(id), .. } if id.0 == 5
    ));
    assert!(matches!(statement("SHOW CREATE ALL SCHEDULES"), ScheduleStatement::ShowCreate(None)));
    assert!(matches!(
        statement("SHOW CREATE SCHEDULE 5"),
        ScheduleStatement::ShowCreate(Some(id)) if id.0 == 5
    ));
}

#[test]
fn jobs_of_schedules_are_named_by_them() {
    for text in [
        "PAUSE JOBS FOR SCHEDULE 3",
        "RESUME JOBS FOR SCHEDULES SELECT 1",
        "CANCEL JOBS FOR SCHEDULES (SELECT 1)",
    ] {
        let Ok(Statement::Job(statement)) = parse(text) else { panic!("{text}") };
        assert!(
            matches!(*statement, JobStatement::Control { which: Which::OfSchedules(_), .. }),
            "{text}: {statement:?}"
        );
    }
    let Ok(Statement::Job(statement)) = parse("SHOW JOBS FOR SCHEDULE 3 WITH DETAILS") else { panic!() };
    let JobStatement::Show { listed, which, details, .. } = *statement else { panic!() };
    assert_eq!((listed, details), (Listed::Jobs, true));
    assert!(matches!(which, Some(Which::OfSchedules(Schedules::One(id))) if id.0 == 3));
    for text in ["PAUSE JOB FOR SCHEDULE 3", "SHOW JOB FOR SCHEDULE 3", "SHOW CHANGEFEED JOBS FOR SCHEDULE 3"]
    {
        assert_eq!(refused(text).0, "42601", "{text}");
    }
}
