//! Bounds, names and states of the machine, without a server.

use super::*;

fn parse(machine: &mut Machine<()>, name: &str, text: &str, parameters: usize) {
    let message = Message::Parse { name: name.to_owned(), text: text.to_owned(), types: Vec::new() };
    if let Next::Prepare { .. } = machine.receive(b'P', Ok(message)) {
        let parameters = vec![SqlType::Int8; parameters];
        let (columns, plan) = (None, ());
        let described = Described { parameters, columns, copies_in: false, is_inquiry: false, plan };
        machine.prepared(Ok(described), 0);
    }
}

fn bind(machine: &mut Machine<()>, portal: &str) {
    let bind = crate::pgwire::frame::Bind {
        portal: portal.to_owned(),
        statement: "s".to_owned(),
        parameter_formats: Vec::new(),
        parameters: Vec::new(),
        result_formats: Vec::new(),
    };
    machine.receive(b'B', Ok(Message::Bind(bind)));
}

/// Whether the last message was refused with 54000.
fn refused(machine: &mut Machine<()>) -> bool {
    let bytes = std::mem::take(&mut machine.replies.bytes);
    bytes.windows(6).any(|window| window == b"C54000")
}

#[test]
fn prepared_statements_are_bounded_in_number() {
    let mut machine = Machine::default();
    for number in 0..STATEMENTS_MAX {
        parse(&mut machine, &format!("s{number}"), "", 0);
    }
    assert!(!refused(&mut machine));
    parse(&mut machine, "one more", "", 0);
    assert!(refused(&mut machine));
    machine.receive(b'S', Ok(Message::Sync));
    machine.receive(b'C', Ok(Message::Close(Target::Statement("s0".to_owned()))));
    parse(&mut machine, "one more", "", 0);
    assert!(!refused(&mut machine));
}

#[test]
fn deallocated_statements_are_gone_but_for_the_unnamed_one() {
    let mut machine = Machine::default();
    for name in ["", "a", "b", "c"] {
        parse(&mut machine, name, "", 0);
    }
    machine.receive(b'C', Ok(Message::Close(Target::Statement("a".to_owned()))));
    machine.deallocate(Some("b"));
    machine.deallocate(Some("nothing"));
    assert_eq!(machine.named.keys().collect::<Vec<_>>(), ["c"]);
    assert_eq!(machine.statements.keys().collect::<Vec<_>>(), ["", "c"]);
    machine.deallocate(None);
    assert!(machine.named.is_empty());
    assert_eq!(machine.statements.keys().collect::<Vec<_>>(), [""]);
}

#[test]
fn prepared_statements_are_bounded_in_bytes_and_parameters() {
    let mut machine = Machine::default();
    let half = " ".repeat(SESSION_BYTES_MAX / 2);
    parse(&mut machine, "a", &half, PARAMETERS_MAX);
    parse(&mut machine, "b", &half, 0);
    assert!(!refused(&mut machine));
    parse(&mut machine, "c", " ", 0);
    assert!(refused(&mut machine));
    let mut machine = Machine::default();
    parse(&mut machine, "a", "", PARAMETERS_MAX + 1);
    assert!(refused(&mut machine));
}

#[test]
fn portals_are_bounded_and_end_at_sync() {
    let mut machine = Machine::default();
    parse(&mut machine, "s", "", 0);
    for number in 0..PORTALS_MAX {
        bind(&mut machine, &format!("p{number}"));
    }
    assert!(!refused(&mut machine));
    bind(&mut machine, "one more");
    assert!(refused(&mut machine));
    machine.receive(b'S', Ok(Message::Sync));
    bind(&mut machine, "p0");
    assert!(!refused(&mut machine));
    assert!(!machine.is_idle());
}

/// The status that the last ReadyForQuery told.
fn told(machine: &mut Machine<()>) -> Option<char> {
    let bytes = std::mem::take(&mut machine.replies.bytes);
    bytes.ends_with(&[b'Z', 0, 0, 0, 5, bytes[bytes.len() - 1]]).then(|| bytes[bytes.len() - 1].into())
}

fn run(machine: &mut Machine<()>, block: Status, result: Result<Response, SqlError>) {
    machine.receive(b'Q', Ok(Message::Query("x".to_owned())));
    machine.split(Ok(vec!["x".to_owned()]));
    machine.block = block;
    machine.executed(Executed { result, notices: Vec::new(), changes: Vec::new() });
}

#[test]
fn the_client_is_told_where_its_transaction_is() {
    let mut machine = Machine::default();
    let done = || Ok(Response { tag: "BEGIN".to_owned(), rows: None, copy: None });
    for (block, letter) in [(Status::Open, 'T'), (Status::Failed, 'E'), (Status::Idle, 'I')] {
        run(&mut machine, block, done());
        assert_eq!(told(&mut machine), Some(letter));
    }
    run(&mut machine, Status::Open, done());
    machine.receive(b'Q', Ok(Message::Query("x y".to_owned())));
    machine.split(Err(SqlError::syntax("x")));
    assert_eq!((told(&mut machine), machine.block), (Some('E'), Status::Failed));
    run(&mut machine, Status::Idle, done());
    machine.receive(b'Q', Err(FrameError::NotUtf8));
    assert_eq!(told(&mut machine), Some('I'));
}

#[test]
fn the_statements_of_a_text_know_their_places() {
    let mut machine = Machine::<()>::default();
    let place = |next: Next<()>| match next {
        Next::Run(_, place) => Some(place),
        _ => None,
    };
    let done = || Executed {
        result: Ok(Response { tag: "SET".to_owned(), rows: None, copy: None }),
        notices: Vec::new(),
        changes: Vec::new(),
    };
    for (count, places) in [(1, vec![Place::Alone]), (3, vec![Place::Inner, Place::Inner, Place::Last])] {
        machine.receive(b'Q', Ok(Message::Query("x".to_owned())));
        let mut next = place(machine.split(Ok(vec!["x".to_owned(); count])));
        for expected in places {
            assert_eq!(next, Some(expected));
            next = place(machine.executed(done()));
        }
        assert_eq!(next, None);
    }
}

#[test]
fn portals_of_a_block_live_as_long_as_it_does() {
    let mut machine = Machine::default();
    parse(&mut machine, "s", "", 0);
    machine.block = Status::Open;
    bind(&mut machine, "p");
    assert!(!machine.is_idle());
    machine.receive(b'S', Ok(Message::Sync));
    assert!(machine.is_idle() && machine.portals.contains_key("p"));
    machine.block = Status::Idle;
    machine.receive(b'S', Ok(Message::Sync));
    assert!(machine.portals.is_empty());
}
