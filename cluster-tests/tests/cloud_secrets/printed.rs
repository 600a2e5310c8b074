//! What the process could print of itself: every value that holds a secret on its way through it, as a debugger, a panic or a log
//! line would write it.

use std::fmt::Debug;
use std::time::Duration;

use grantd_catalog::object::ConnectionUri;
use grantd_cluster_tests::scan::Scanner;
use grantd_node::cloud::lease::{AwsSession, Bearer, Fetched, Lease, Material, Moment};
use grantd_node::cloud::redact;
use grantd_node::cloud::route::{Operation, Who, route};
use grantd_node::cloud::settings::{ChainSettings, NodeSettings};
use grantd_node::cloud::uri::{Purpose, Uri};
use grantd_node::secret::Secret;

use crate::planted::{KINDS, Places, Planted};

#[derive(Default)]
struct Printed(String);

impl Printed {
    fn debug(&mut self, value: impl Debug) {
        self.0 += &format!("{value:?}\n{value:#?}\n");
    }
}

#[test]
fn what_the_process_could_print_of_itself_has_no_secret() {
    let here = "http://127.0.0.1:1".to_owned();
    let role = "arn:aws:iam::111122223333:role/first".to_owned();
    let places = Places { aws: here.clone(), google: here, role };
    let (mut planted, mut printed, mut chains) = (Planted::default(), Printed::default(), 0);
    for kind in KINDS {
        let text = planted.uri(kind, "memory", &places).text;
        printed.debug(ConnectionUri::new(text.clone()));
        printed.0 += &redact::uri(&text);
        printed.0 += &redact::text(&format!("cannot use {text}: no answer"));
        for purpose in
            [Purpose::Connection, Purpose::Storage, Purpose::Kms, Purpose::Sink { unordered: true }]
        {
            let uri = match Uri::parse(&text, purpose, &NodeSettings::nowhere()) {
                Ok(uri) => uri,
                Err(refusal) => {
                    printed.debug(refusal);
                    continue;
                }
            };
            printed.debug(&uri);
            printed.0 += &uri.redacted();
            let who = Who { cluster: "0a1b2c3d4e5f", node: 1, task: "job7", user: "anna" };
            let routed = route(&uri, Operation::Storage { write: true }, &who, &ChainSettings::default());
            if let Ok(Some(routed)) = &routed {
                chains += 1;
                printed.0 += &routed.chain.to_string();
                printed.debug(&routed.chain);
            }
            printed.debug(routed.map(|routed| routed.map(|routed| routed.chain)));
        }
    }
    assert!(chains >= 3, "{chains} chains");
    let mut fresh = |name: &str| Secret::new(planted.secret(name.to_owned()));
    let session = AwsSession {
        access_key_id: "ASIAEXAMPLE".to_owned(),
        secret_access_key: fresh("secret key of a lease"),
        session_token: Some(fresh("session token of a lease")),
        identity: Some("arn:aws:sts::1:assumed-role/a/b".to_owned()),
    };
    let bearer = Bearer { token: fresh("token of a lease"), account: None };
    for material in [Material::Aws(session), Material::Bearer(bearer)] {
        let (obtained, deadline) = (Moment::default(), None);
        printed.debug(Lease {
            material: material.clone(),
            obtained,
            deadline,
            not_after: None,
            generation: 1,
        });
        printed.debug(Fetched { material, lifetime: Some(Duration::from_secs(1)), not_after: None });
    }
    assert!(planted.secrets.len() >= 20);
    let scanner = Scanner::new(&planted.secrets);
    assert_eq!(scanner.bytes("what was printed", printed.0.as_bytes()), [].into());
    // The search finds one that is there.
    let (name, secret) = planted.secrets.iter().next().expect("a secret");
    printed.debug(Some(secret));
    let found = scanner.bytes("what was printed", printed.0.as_bytes());
    assert!(found.iter().all(|found| found.secret == *name) && !found.is_empty(), "{found:?}");
}
