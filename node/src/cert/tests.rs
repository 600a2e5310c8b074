use std::os::unix::fs::PermissionsExt;

use super::*;

const OPTIONS: Options = Options { days: 30, overwrite: false };

fn with_ca() -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    create_ca(directory.path(), &Options { days: 60, overwrite: false }).unwrap();
    directory
}

#[test]
fn a_directory_lists_what_was_made_in_it() {
    let directory = with_ca();
    let hosts = ["localhost".to_owned(), "127.0.0.1".to_owned(), "::1".to_owned()];
    create_node(directory.path(), directory.path(), 3, &hosts, &OPTIONS).unwrap();
    let made = create_client(directory.path(), directory.path(), "Alice", &OPTIONS).unwrap();
    assert_eq!(made.key, directory.path().join("client.alice.key"));

    let listed = list(directory.path()).unwrap();
    let kinds = listed.iter().map(|info| info.kind.clone()).collect::<Vec<_>>();
    assert_eq!(
        kinds,
        [CertificateKind::Ca, CertificateKind::Client("alice".to_owned()), CertificateKind::Node(3)]
    );
    assert_eq!(listed[2].names, ["node-3.grantd.internal", "localhost", "127.0.0.1", "::1"]);
    assert_eq!(listed[2].subject, "O=grantd, CN=node");
    for info in listed {
        assert_eq!(info.fault, None);
        let mode = fs::metadata(info.key.expect("its key is beside it")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
}

#[test]
fn nothing_is_replaced_unasked() {
    let directory = with_ca();
    let before = fs::read(directory.path().join(CA_KEY)).unwrap();
    assert!(matches!(create_ca(directory.path(), &OPTIONS), Err(CertError::Exists(_))));
    assert_eq!(fs::read(directory.path().join(CA_KEY)).unwrap(), before);
    create_ca(directory.path(), &Options { days: 60, overwrite: true }).unwrap();
    assert_ne!(fs::read(directory.path().join(CA_KEY)).unwrap(), before);
}

#[test]
fn what_cannot_be_is_refused_by_name() {
    let directory = with_ca();
    let refuse = |result: Result<Created, CertError>| result.unwrap_err().to_string();
    let path = directory.path();
    assert_eq!(
        refuse(create_client(path, path, "node", &OPTIONS)),
        "`node` is not a user name: the name is reserved"
    );
    assert!(refuse(create_client(path, path, "a/../b", &OPTIONS)).contains("is not a user name"));
    assert_eq!(refuse(create_node(path, path, 0, &["a".to_owned()], &OPTIONS)), "node ids begin with 1");
    assert_eq!(refuse(create_node(path, path, 1, &[], &OPTIONS)), "a node needs 1 to 64 hosts, not 0");
    for host in ["a b", "host:26257", "", "node-2.grantd.internal", "10.0.0", "-x"] {
        let refusal = refuse(create_node(path, path, 1, &[host.to_owned()], &OPTIONS));
        assert_eq!(refusal, format!("`{host}` is not a host name or IP address"));
    }
    let long = Options { days: 61, overwrite: false };
    let error = create_client(path, path, "alice", &long).unwrap_err();
    assert!(matches!(error, CertError::OutlivesCa { ca_days: 60, days: 61 }), "{error:?}");
    assert_eq!(error.hint().unwrap(), "use --days 60 or less, or make a new CA");
    assert!(matches!(create_ca(path, &Options { days: 0, overwrite: true }), Err(CertError::Days(0))));
    assert_eq!(list(path).unwrap().len(), 1, "no refusal left a file");
}

#[test]
fn a_ca_that_cannot_sign_is_named() {
    let empty = tempfile::tempdir().unwrap();
    let error = create_client(empty.path(), empty.path(), "alice", &OPTIONS).unwrap_err();
    assert!(matches!(&error, CertError::NoCa(path) if path.ends_with("ca.crt")), "{error:?}");

    let directory = with_ca();
    let other = with_ca();
    fs::copy(other.path().join(CA_KEY), directory.path().join(CA_KEY)).unwrap();
    let error = create_client(directory.path(), directory.path(), "alice", &OPTIONS).unwrap_err();
    assert!(error.to_string().ends_with("cannot sign: it is not the key of ca.crt"), "{error}");

    create_client(other.path(), other.path(), "alice", &OPTIONS).unwrap();
    fs::copy(other.path().join("client.alice.crt"), other.path().join(CA_CERT)).unwrap();
    let error = create_client(other.path(), other.path(), "bob", &OPTIONS).unwrap_err();
    assert!(error.to_string().ends_with("cannot sign: it is not a CA"), "{error}");

    fs::write(other.path().join(CA_CERT), "nonsense").unwrap();
    let error = create_client(other.path(), other.path(), "bob", &OPTIONS).unwrap_err();
    assert!(error.to_string().ends_with("cannot sign: it is not a certificate in PEM"), "{error}");
}

#[test]
fn a_certificate_for_as_many_days_as_its_ca_ends_with_it() {
    let directory = with_ca();
    let options = Options { days: 60, overwrite: false };
    create_client(directory.path(), directory.path(), "alice", &options).unwrap();
    let listed = list(directory.path()).unwrap();
    assert_eq!(listed[0].not_after, listed[1].not_after);
}
