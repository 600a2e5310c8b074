use grantd_catalog::command::{Actor, Command, NameContext, Outcome};
use grantd_catalog::id::{PrincipalId, Timestamp, Version};
use grantd_catalog::state::State;

use super::*;

fn anywhere() -> NodeSettings {
    NodeSettings { external_io_dir: Some("extern".into()), ..NodeSettings::nowhere() }
}

/// A view with these connections.
fn view(connections: &[(&str, &str)]) -> View {
    let mut state = State::bootstrap();
    for (at, (name, uri)) in connections.iter().enumerate() {
        let command = Command::CreateExternalConnection {
            name: Name::normalize(name),
            uri: ConnectionUri::new((*uri).to_owned()),
            access: Vec::new(),
            if_not_exists: false,
        };
        let (version, context) =
            (Version(at as u64 + 1), NameContext { database: None, search_path: Vec::new() });
        let actor = Actor { session: PrincipalId::ROOT, current: PrincipalId::ROOT };
        let outcome = state.apply(version, Timestamp::default(), actor, &context, &command, &mut Vec::new());
        assert!(matches!(outcome, Outcome::Done(_)), "{outcome:?}");
    }
    View::build(Version(connections.len() as u64 + 1), state)
}

fn used(uri: &str, connections: &[(&str, &str)]) -> Result<Target, Refusal> {
    Target::of_used(uri, Purpose::Storage, &view(connections), &anywhere())
}

fn stored(first: &str, secondary: Option<&str>) -> Result<Target, Refusal> {
    Target::of_stored(&ConnectionUri::new(joined(first, secondary)), &anywhere())
}

#[test]
fn a_connection_has_one_uri_or_two() {
    for (first, secondary) in [("s3://a", None), ("s3://a", Some("s3://b"))] {
        assert_eq!(split(&ConnectionUri::new(joined(first, secondary))), (first, secondary));
    }
}

#[test]
fn what_is_behind_a_name_is_added_to_each_way() {
    let kept = joined("s3://a/b?AUTH=implicit", Some("s3://a/c?AUTH=implicit"));
    let target = used("external://place/d/e", &[("place", &kept)]).unwrap();
    assert_eq!(target.connection, Some(Name::normalize("place")));
    let shown: Vec<_> = target.ways.iter().map(Uri::redacted).collect();
    assert_eq!(shown, ["s3://a/b/d/e?AUTH=implicit", "s3://a/c/d/e?AUTH=implicit"]);
    assert_eq!(target.requirement().needs.len(), 1, "the connection, and not what its URI needs");
}

/// Case 26.
#[test]
fn a_connection_that_is_missing_is_told_by_its_name() {
    let refusal = used("external://missing/p", &[]).unwrap_err();
    assert!(refusal.message.starts_with("failed to load external connection object: "), "{refusal:?}");
    assert!(refusal.message.ends_with("external connection with name missing does not exist"), "{refusal:?}");
}

/// Case 28.
#[test]
fn a_connection_to_a_key_is_no_storage() {
    let key = "aws-kms:///key?AUTH=implicit&REGION=eu-west-1";
    let refusal = used("external://key", &[("key", key)]).unwrap_err();
    assert_eq!(refusal.message, "STORAGE cannot use object of type KMS");
}

#[test]
fn both_ways_are_of_one_kind() {
    let refusal =
        stored("nodelocal://1/a", Some("aws-kms:///key?AUTH=implicit&REGION=eu-west-1")).unwrap_err();
    assert_eq!(refusal.message, "the secondary URI is of type KMS, the first of type STORAGE");
    assert!(stored("nodelocal://1/a", Some("ftp://x")).is_err(), "both are read");
}

#[test]
fn what_storing_needs_is_asked_of_both_ways() {
    let role = "arn:aws:iam::111122223333:role/a";
    let first = format!("s3://a?AUTH=implicit&ASSUME_ROLE={role}");
    let access = stored(&first, Some("nodelocal://self/x")).unwrap().access();
    assert_eq!(access.len(), 2);
    assert!(access[0].implicit && !access[0].only_nodes && access[0].roles == [Name::normalize(role)]);
    assert!(!access[1].implicit && access[1].only_nodes && access[1].provider == "nodelocal");
}

/// Case 97.
#[test]
fn a_token_that_ends_is_told_of() {
    let keys = "AWS_ACCESS_KEY_ID=AKIAEXAMPLE&AWS_SECRET_ACCESS_KEY=sesame";
    let temporary = stored(&format!("s3://a?{keys}&AWS_SESSION_TOKEN=sesame"), None).unwrap();
    let told = temporary.notices();
    assert_eq!(told.len(), 1);
    assert!(
        told[0].contains("AWS_SESSION_TOKEN")
            && told[0].contains("cannot outlive")
            && !told[0].contains("sesame")
    );
    assert!(stored(&format!("s3://a?{keys}"), None).unwrap().notices().is_empty());
    assert!(stored("s3://a?AUTH=implicit", None).unwrap().notices().is_empty());
}
