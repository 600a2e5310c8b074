use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

fn question(subject: &str, action: &str, kind: ResourceKind, name: &str) -> Question {
    Question { subject: subject.into(), action: action.into(), kind, name: name.into() }
}

fn table() -> ResourceKind {
    ResourceKind::Object(ObjectKind::Table)
}

fn encoded(request: &Request<'_>, id: u32) -> Vec<u8> {
    let mut out = Vec::new();
    request.encode(id, &mut out).unwrap();
    out
}

fn answered(answer: &Answer<'_>, id: u32) -> Vec<u8> {
    let mut out = Vec::new();
    answer.encode(id, &mut out);
    out
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(" ")
}

/// The bytes of a line of `docs/checks-socket.md` that begins with `label`.
fn documented(label: &str) -> String {
    let text = include_str!("../../../../docs/checks-socket.md");
    let line =
        text.lines().find_map(|line| line.strip_prefix(label)).unwrap_or_else(|| panic!("no line {label}"));
    line.trim().to_owned()
}

#[test]
fn bytes_are_those_of_the_document() {
    let hello = Request::Hello { protocol_min: 1, protocol_max: 1, role: "app" };
    assert_eq!(hex(&encoded(&hello, 1)), documented("hello →"));
    let release =
        Answer::Hello { protocol: 1, node: 2, version: Version(812), cluster: "c7", release: "0.1.0" };
    assert_eq!(hex(&answered(&release, 1)), documented("hello ←"));
    let names = vec![(ResourceKind::Role, "app".into()), (table(), "shop.public.orders".into())];
    let resolve = Request::Resolve { freshness: Freshness::AtLeast(Version(812)), names };
    assert_eq!(hex(&encoded(&resolve, 2)), documented("resolve →"));
    let resolved = Answer::Resolved { version: Version(812), ids: vec![Some(100), Some(104)] };
    assert_eq!(hex(&answered(&resolved, 2)), documented("resolve ←"));
    let (subject, object, role) = (PrincipalId(100), ObjectId(104), PrincipalId(2));
    let checks = [
        Check::Holds { subject, privilege: Privilege::Select, object },
        Check::HoldsGrantOption { subject, privilege: Privilege::Insert, object },
        Check::Member { subject, role },
        Check::AdminOption { subject, role },
    ];
    let mut out = Vec::new();
    encode_checks(3, Freshness::Local, checks.iter(), &mut out).unwrap();
    assert_eq!(hex(&out), documented("check →"));
    let said = Answer::Checked { version: Version(812), answers: &[YES, NO, NO, NO] };
    assert_eq!(hex(&answered(&said, 3)), documented("check ←"));
    let asked = question("app", "SELECT", table(), "shop.public.orders");
    let ask = Request::Ask { freshness: Freshness::Linearizable, questions: vec![asked.clone()] };
    assert_eq!(hex(&encoded(&ask, 4)), documented("ask →"));
    let explain = Request::Explain { freshness: Freshness::Local, question: asked };
    assert_eq!(hex(&encoded(&explain, 5)), documented("explain →"));
    let explained = Answer::Explained { version: Version(812), allowed: true, reason: "the owner: app" };
    assert_eq!(hex(&answered(&explained, 5)), documented("explain ←"));
    let mut refusal = Refusal::new(state::INSUFFICIENT_PRIVILEGE, "no");
    refusal.hint = Some("Ask.".into());
    assert_eq!(hex(&answered(&Answer::Refused(refusal), 6)), documented("refused ←"));
    assert_eq!(hex(&encoded(&Request::Watch { after: Some(Version(812)) }, 7)), documented("watch →"));
    let records = vec![Changed::Membership { role: PrincipalId(101), member: PrincipalId(100) }];
    let changes = Answer::Changes { version: Version(813), tightens: true, more: false, records };
    assert_eq!(hex(&answered(&changes, 7)), documented("changes ←"));
    assert_eq!(hex(&answered(&Answer::Progress { version: Version(813) }, 7)), documented("progress ←"));
    assert_eq!(hex(&answered(&Answer::Resync { version: Version(900) }, 7)), documented("resync ←"));
}

fn any_freshness() -> impl Strategy<Value = Freshness> {
    prop_oneof![
        Just(Freshness::Local),
        any::<u64>().prop_map(|version| Freshness::AtLeast(Version(version))),
        Just(Freshness::Linearizable)
    ]
}

fn any_kind() -> impl Strategy<Value = ResourceKind> {
    (0..KINDS.len()).prop_map(|place| KINDS[place])
}

fn any_check() -> impl Strategy<Value = Check> {
    let privilege = (0..Privilege::each().count()).prop_map(|nth| Privilege::each().nth(nth).unwrap());
    (0..4, any::<u32>(), any::<u32>(), privilege).prop_map(|(form, subject, on, privilege)| {
        let (subject, object, role) = (PrincipalId(subject), ObjectId(on), PrincipalId(on));
        match form {
            0 => Check::Holds { subject, privilege, object },
            1 => Check::HoldsGrantOption { subject, privilege, object },
            2 => Check::Member { subject, role },
            _ => Check::AdminOption { subject, role },
        }
    })
}

fn any_question() -> impl Strategy<Value = Question> {
    (".{0,20}", ".{0,20}", any_kind(), ".{0,20}")
        .prop_map(|(subject, action, kind, name)| question(&subject, &action, kind, &name))
}

fn any_request() -> impl Strategy<Value = Request<'static>> {
    prop_oneof![
        (any_freshness(), vec(any_question(), 0..5))
            .prop_map(|(freshness, questions)| Request::Ask { freshness, questions }),
        (any_freshness(), vec((any_kind(), ".{0,20}"), 0..5))
            .prop_map(|(freshness, names)| Request::Resolve { freshness, names }),
        (any_freshness(), any_question())
            .prop_map(|(freshness, question)| Request::Explain { freshness, question }),
        (1..=u64::MAX).prop_map(|after| Request::Watch { after: Some(Version(after)) }),
        Just(Request::Watch { after: None }),
        Just(Request::Hello { protocol_min: 1, protocol_max: 9, role: "bob" }),
    ]
}

fn any_answer() -> impl Strategy<Value = Answer<'static>> {
    let version = any::<u64>().prop_map(Version);
    let changed = (1u8..8, any::<u32>(), any::<u32>())
        .prop_filter_map("a record of that kind", |(kind, a, b)| Changed::from_parts(kind, a, b));
    prop_oneof![
        (version.clone(), vec(proptest::option::of(any::<u32>()), 0..9))
            .prop_map(|(version, ids)| Answer::Resolved { version, ids }),
        (version.clone(), any::<bool>(), any::<bool>(), vec(changed, 0..9)).prop_map(
            |(version, tightens, more, records)| Answer::Changes { version, tightens, more, records }
        ),
        version.clone().prop_map(|version| Answer::Progress { version }),
        version.clone().prop_map(|version| Answer::Resync { version }),
        (version, any::<bool>()).prop_map(|(version, allowed)| Answer::Explained {
            version,
            allowed,
            reason: "because"
        }),
        ("[0-9A-Z]{5}", ".{1,20}", proptest::option::of(".{1,20}")).prop_map(|(code, message, hint)| {
            Answer::Refused(Refusal { code: SqlState::new(&code), message, detail: None, hint })
        }),
        Just(Answer::Checked { version: Version(7), answers: &[0, 1, 2] }),
    ]
}

proptest! {
    #[test]
    fn what_is_encoded_is_decoded_again(request in any_request(), answer in any_answer(), id in any::<u32>()) {
        let bytes = encoded(&request, id);
        let frame = split(&bytes, FRAME_BYTES_MAX).unwrap().unwrap();
        prop_assert_eq!((frame.id, frame.bytes), (id, bytes.len()));
        prop_assert_eq!(Request::decode(&frame), Ok(request));
        let bytes = answered(&answer, id);
        let frame = split(&bytes, FRAME_BYTES_MAX).unwrap().unwrap();
        prop_assert_eq!((frame.id, frame.bytes), (id, bytes.len()));
        prop_assert_eq!(Answer::decode(&frame), Ok(answer));
    }

    #[test]
    fn checks_are_decoded_as_they_were(checks in vec(any_check(), 0..50), freshness in any_freshness()) {
        let mut bytes = Vec::new();
        encode_checks(9, freshness, checks.iter(), &mut bytes).unwrap();
        let frame = split(&bytes, FRAME_BYTES_MAX).unwrap().unwrap();
        let Request::Check { freshness: fresh, checks: read } = Request::decode(&frame).unwrap() else {
            panic!("not checks");
        };
        prop_assert_eq!(fresh, freshness);
        prop_assert_eq!(read.iter().collect::<Result<Vec<_>, _>>(), Ok(checks));
    }

    #[test]
    fn a_frame_that_is_cut_short_is_waited_for_and_one_that_lies_is_refused(request in any_request(), cut in any::<prop::sample::Index>()) {
        let bytes = encoded(&request, 1);
        let cut = cut.index(bytes.len());
        prop_assert_eq!(split(&bytes[..cut], FRAME_BYTES_MAX), Ok(None));
        // The same bytes, and a length that says that they are all: something is missing.
        let body = cut.saturating_sub(LENGTH_BYTES);
        if body >= HEAD_BYTES {
            let mut lying = bytes[..cut].to_vec();
            lying[..LENGTH_BYTES].copy_from_slice(&u32::try_from(body).unwrap().to_le_bytes());
            let frame = split(&lying, FRAME_BYTES_MAX).unwrap().unwrap();
            prop_assert!(Request::decode(&frame).is_err());
        }
        // A byte too many.
        let mut long = bytes.clone();
        long.push(0);
        let length = u32::try_from(long.len() - LENGTH_BYTES).unwrap();
        long[..LENGTH_BYTES].copy_from_slice(&length.to_le_bytes());
        prop_assert!(Request::decode(&split(&long, FRAME_BYTES_MAX).unwrap().unwrap()).is_err());
    }

    #[test]
    fn no_bytes_make_a_decoder_panic(kind in any::<u8>(), body in vec(any::<u8>(), 0..200)) {
        let frame = Frame { id: 1, kind, body: &body, bytes: 0 };
        let _request_or_error = Request::decode(&frame).map(|request| match request {
            Request::Check { checks, .. } => checks.iter().filter(Result::is_err).count(),
            _ => 0,
        });
        let _answer_or_error = Answer::decode(&frame);
        let _frame_or_error = split(&body, FRAME_BYTES_MAX);
    }
}

#[test]
fn a_length_beyond_the_bound_is_refused_before_its_bytes_come() {
    let mut bytes = u32::try_from(FRAME_BYTES_MAX + 1).unwrap().to_le_bytes().to_vec();
    assert_eq!(split(&bytes, FRAME_BYTES_MAX), Err(Malformed("a frame is longer than is allowed")));
    bytes[..4].copy_from_slice(&u32::MAX.to_le_bytes());
    assert!(split(&bytes, FRAME_BYTES_MAX).is_err());
    bytes[..4].copy_from_slice(&4u32.to_le_bytes());
    assert_eq!(split(&bytes, FRAME_BYTES_MAX), Err(Malformed("a frame is shorter than its head")));
}

#[test]
fn a_count_beyond_the_bound_is_refused_and_the_bound_fits_into_a_frame() {
    let (subject, role) = (PrincipalId(1), PrincipalId(2));
    let many = vec![Check::Member { subject, role }; CHECKS_MAX + 1];
    let mut out = Vec::new();
    let refused = encode_checks(1, Freshness::Local, many.iter(), &mut out);
    assert_eq!(refused, Err(TooLarge { what: "checks:", given: CHECKS_MAX + 1, most: CHECKS_MAX }));
    assert!(out.is_empty());
    encode_checks(1, Freshness::Local, many[1..].iter(), &mut out).unwrap();
    assert!(split(&out, FRAME_BYTES_MAX).unwrap().is_some());
    // One more than the bound, written by somebody else.
    let count = LENGTH_BYTES + HEAD_BYTES + 9;
    out[count..count + 2].copy_from_slice(&u16::try_from(CHECKS_MAX + 1).unwrap().to_le_bytes());
    let frame = split(&out, FRAME_BYTES_MAX).unwrap().unwrap();
    assert_eq!(Request::decode(&frame), Err(Malformed("a frame has more items than is allowed")));
    let records = vec![Changed::Setting; RECORDS_MAX];
    let changes = Answer::Changes { version: Version(1), tightens: false, more: true, records };
    assert!(split(&answered(&changes, 1), FRAME_BYTES_MAX).unwrap().is_some());
    let names = vec![(ResourceKind::Role, "n".repeat(NAME_BYTES_MAX)); 100];
    let request = Request::Resolve { freshness: Freshness::Local, names };
    assert!(matches!(request.encode(1, &mut out), Err(TooLarge { what: "bytes:", .. })));
    let names = vec![(ResourceKind::Role, "n".repeat(NAME_BYTES_MAX + 1))];
    let request = Request::Resolve { freshness: Freshness::Local, names };
    assert!(matches!(request.encode(1, &mut out), Err(TooLarge { most: NAME_BYTES_MAX, .. })));
}

#[test]
fn what_has_no_meaning_yet_is_refused() {
    let bytes = check_bytes(&Check::Member { subject: PrincipalId(1), role: PrincipalId(2) });
    assert!(check_of(&bytes).is_some());
    // A privilege where there is none, a form that is none, reserved bytes.
    for (at, value) in [(8, 5), (9, 4), (10, 1), (11, 1)] {
        let mut changed = bytes;
        changed[at] = value;
        assert_eq!(check_of(&changed), None, "byte {at}");
    }
    // 4 and 27 are no privileges.
    for privilege in [0, 4, 27, 200] {
        let mut changed = check_bytes(&Check::Holds {
            subject: PrincipalId(1),
            privilege: Privilege::All,
            object: ObjectId(0),
        });
        changed[8] = privilege;
        assert_eq!(check_of(&changed), None, "privilege {privilege}");
    }
}

#[test]
fn a_long_text_is_cut_where_a_character_ends() {
    let reason = "é".repeat(TEXT_BYTES_MAX);
    let bytes = answered(&Answer::Explained { version: Version(1), allowed: false, reason: &reason }, 1);
    let frame = split(&bytes, FRAME_BYTES_MAX).unwrap().unwrap();
    let Answer::Explained { reason, .. } = Answer::decode(&frame).unwrap() else { panic!("explained") };
    assert_eq!(reason.len(), TEXT_BYTES_MAX);
}
