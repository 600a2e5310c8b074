use std::time::Duration;

use super::*;

fn newcomer(user: &str, principal: u32, cancelled: &Cancelled) -> Newcomer {
    Newcomer {
        user: RoleName::normalize(user),
        principal: PrincipalId(principal),
        proof: Proof::Certificate,
        client_address: "127.0.0.1:5".to_owned(),
        cancelled: cancelled.clone(),
    }
}

fn begin(session: &Registration, text: &str) -> Running {
    session.begin(Actor::of(PrincipalId(100)), "app", None, &Arc::from(text))
}

#[test]
fn numbers_are_unlike_each_other_and_name_their_node() {
    let activity = Activity::new(7);
    let (first, second) = (activity.next_id(), activity.next_id());
    assert!(first < second);
    assert_eq!(first.node_bits(), 7);
    assert_eq!(first.to_string().len(), 32);
    assert_eq!(Id::parse(&first.to_string()), Some(first));
    for wrong in ["", "xyz", "+1", &"1".repeat(33)] {
        assert_eq!(Id::parse(wrong), None, "{wrong}");
    }
}

#[test]
fn a_session_is_listed_with_what_it_runs_and_leaves_when_it_is_dropped() {
    let activity = Activity::new(1);
    let session = activity.register(newcomer("amy", 100, &Cancelled::default()));
    let listed = || activity.sessions(None).sessions.remove(0);
    assert_eq!((listed().user.as_str(), listed().running, listed().last_query), ("amy", None, None));
    let running = begin(&session, "SELECT 'x'");
    assert_eq!(listed().running.unwrap().text, "SELECT 'x'");
    assert_eq!(listed().redacted().running.unwrap().text, "SELECT _");
    drop(running);
    assert_eq!((listed().running, listed().transactions), (None, 1));
    assert_eq!(listed().last_query.as_deref(), Some("SELECT 'x'"));
    drop(begin(&session, "ALTER ROLE amy PASSWORD 'hunter2'"));
    assert_eq!(listed().last_query.as_deref(), Some("ALTER ROLE amy PASSWORD _"));
    assert_eq!(activity.sessions(Some(PrincipalId(101))).sessions, []);
    drop(session);
    assert!(activity.is_empty());
}

#[test]
fn a_statement_is_stopped_by_its_number_and_the_next_one_is_not() {
    let (activity, cancelled) = (Activity::new(1), Cancelled::default());
    let session = activity.register(newcomer("amy", 100, &cancelled));
    let running = begin(&session, "SELECT 1");
    let id = activity.sessions(None).sessions[0].running.as_ref().unwrap().id;
    let live = activity.find(Target::Query, id).unwrap();
    assert!(activity.find(Target::Query, session.id()).is_none());
    assert!(Activity::stop(&live, Target::Query, id));
    assert!(cancelled.is_raised());
    drop(running);
    assert!(!cancelled.is_raised(), "it was for the statement that has ended");
    let _next = begin(&session, "SELECT 2");
    assert!(!Activity::stop(&live, Target::Query, id));
    assert!(!cancelled.is_raised());
}

#[tokio::test]
async fn a_session_that_is_to_end_is_told_once_and_stops_what_it_runs() {
    let (activity, cancelled) = (Activity::new(1), Cancelled::default());
    let session = activity.register(newcomer("amy", 100, &cancelled));
    assert!(session.end_reason().is_none());
    let waits = tokio::time::timeout(Duration::from_millis(5), session.ended()).await;
    assert!(waits.is_err());
    let live = activity.find(Target::Session, session.id()).unwrap();
    let (told, ()) = tokio::join!(session.ended(), async { live.end(Refusal::new(ADMIN_SHUTDOWN, "one")) });
    live.end(Refusal::new(ADMIN_SHUTDOWN, "two"));
    assert_eq!(told.message, "one");
    assert_eq!(session.ended().await.message, "one");
    cancelled.raised().await;
}

#[test]
fn what_one_node_tells_at_once_is_bounded_and_the_rest_is_counted() {
    let activity = Activity::new(1);
    let text: Arc<str> = Arc::from("x".repeat(10 * redact::TEXT_BYTES_MAX));
    let mut sessions = Vec::new();
    for _ in 0..report::TEXTS_BYTES_MAX / redact::TEXT_BYTES_MAX {
        let session = activity.register(newcomer("amy", 100, &Cancelled::default()));
        drop(session.begin(Actor::of(PrincipalId(100)), &"a".repeat(10_000), None, &text));
        sessions.push(session);
    }
    let told = activity.sessions(None);
    assert!(told.left_out > 0);
    assert_eq!(told.sessions.len() as u64 + told.left_out, sessions.len() as u64);
    let bytes = bincode::encode_to_vec(&told, bincode::config::standard()).unwrap().len();
    assert!(bytes < grantd_raft::config::FORWARD_BYTES_MAX, "{bytes}");
}

/// What a statement costs beside its own work. Asserted far above what it takes, as tests share the machine.
#[test]
fn telling_of_a_statement_costs_next_to_nothing() {
    const STATEMENTS: u32 = 100_000;
    const EACH_MAX: Duration = Duration::from_micros(20);
    let activity = Activity::new(1);
    let session = activity.register(newcomer("amy", 100, &Cancelled::default()));
    let text: Arc<str> = Arc::from("SELECT 1");
    let began = Instant::now();
    for _ in 0..STATEMENTS {
        drop(session.begin(Actor::of(PrincipalId(100)), "app", None, &text));
    }
    let each = began.elapsed() / STATEMENTS;
    println!("{each:?} for each statement");
    assert!(each < EACH_MAX, "{each:?}");
}
