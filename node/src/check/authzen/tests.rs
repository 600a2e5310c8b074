use std::collections::BTreeSet;

use grantd_catalog::id::PrincipalId;
use grantd_catalog::name::RoleName;
use grantd_catalog::privilege::Privilege;
use grantd_catalog::view::View;
use serde_json::{Value, json};

use super::Fault;
use super::entity::{Kind, Resource};
use super::evaluation::decide;
use super::request::{Evaluation, Evaluations, Fresh, Object, Search, read};
use super::search::{Entry, Sought, Words};
use crate::check::question::resolve_principal;
use crate::check::tests::view_after;
use crate::http::Asked;
use crate::http::caller::Caller;

const SHOP: &str = r#"CREATE USER ann; CREATE USER ben; CREATE ROLE clerk; CREATE ROLE chief;
    GRANT clerk TO ann WITH ADMIN OPTION; GRANT chief TO clerk;
    CREATE SCHEMA "Odd.Place"; CREATE TABLE orders (id INT PRIMARY KEY); CREATE TABLE "Odd.Place"."a ""b""" (id INT PRIMARY KEY);
    CREATE SEQUENCE counted; CREATE TYPE mood AS ENUM ('sad', 'glad');
    GRANT SELECT ON orders TO clerk; GRANT INSERT ON orders TO ben WITH GRANT OPTION; GRANT DELETE ON "Odd.Place"."a ""b""" TO public;
    GRANT USAGE ON counted TO chief; GRANT USAGE ON TYPE mood TO ben; GRANT CREATE ON DATABASE defaultdb TO chief;
    GRANT SYSTEM VIEWACTIVITYREDACTED TO ben; GRANT SYSTEM VIEWDEBUG TO clerk"#;

fn asked(body: &Value) -> Asked {
    asked_in(body.to_string(), Some("application/json"))
}

fn asked_in(body: String, content_type: Option<&str>) -> Asked {
    let content_type = content_type.map(str::to_owned);
    Asked { query: String::new(), host: None, content_type, body: body.into() }
}

fn caller(view: &View, name: &str) -> Caller {
    Caller { user: RoleName::normalize(name), principal: resolve_principal(view, name).unwrap() }
}

fn question(subject: (&str, &str), action: &str, resource: (&str, &str)) -> Value {
    json!({
        "subject": { "type": subject.0, "id": subject.1 },
        "action": { "name": action },
        "resource": { "type": resource.0, "id": resource.1 },
    })
}

/// The decision, or the words of the fault.
fn evaluate(view: &View, asker: &str, body: &Value) -> Result<Value, String> {
    let asked = asked(body);
    let decided = read::<Evaluation>(&asked).and_then(|asked| decide(view, &caller(view, asker), &asked));
    decided.map(|decision| serde_json::to_value(decision).unwrap()).map_err(|fault| match fault {
        Fault::Malformed(message) => message,
        Fault::Refused(refusal) => refusal.code.as_str().to_owned(),
        Fault::TooMany(later) => panic!("{later:?}"),
    })
}

fn reason(view: &View, body: &Value) -> String {
    let decision = evaluate(view, "root", body).unwrap();
    assert_eq!(decision["decision"], json!(false), "{body}");
    decision["context"]["reason"].as_str().unwrap().to_owned()
}

#[test]
fn a_decision_says_its_version_and_why_it_is_a_no() {
    let view = view_after(SHOP);
    let orders = ("table", "defaultdb.public.orders");
    let version = view.version().0;
    let yes = evaluate(&view, "ann", &question(("user", "ann"), "select", orders)).unwrap();
    assert_eq!(yes, json!({ "decision": true, "context": { "version": version } }));
    let no = evaluate(&view, "ann", &question(("user", "ann"), "INSERT", orders)).unwrap();
    let message = "ann does not hold INSERT on this table";
    let why = json!({ "version": version, "reason": "not_held", "message": message });
    assert_eq!(no, json!({ "decision": false, "context": why }));

    let is = |subject, action, resource| reason(&view, &question(subject, action, resource));
    assert_eq!(is(("user", "nobody"), "SELECT", orders), "unknown_subject");
    assert_eq!(is(("robot", "ann"), "SELECT", orders), "unknown_subject");
    assert_eq!(is(("user", "clerk"), "SELECT", orders), "unknown_subject");
    assert_eq!(is(("user", "ann"), "EXECUTE", orders), "unknown_action");
    assert_eq!(is(("user", "ann"), "can_read", orders), "unknown_action");
    assert_eq!(is(("user", "ann"), "SELECT", ("book", "b")), "unknown_resource");
    assert_eq!(is(("user", "ann"), "SELECT", ("table", "defaultdb.none")), "unknown_resource");
    assert_eq!(is(("user", "ann"), "SELECT", ("table", "defaultdb.public.counted")), "unknown_resource");
    assert_eq!(is(("user", "ann"), "SELECT", ("view", "defaultdb.orders")), "unknown_resource");
    assert_eq!(is(("user", "ann"), "SELECT", ("table", "no name at all(")), "unknown_resource");
    assert_eq!(is(("user", "ann"), "VIEWDEBUG", ("cluster", "another")), "unknown_resource");
}

#[test]
fn options_and_roles_are_asked_about_as_sql_has_them() {
    let view = view_after(SHOP);
    let holds = |subject, action, option, resource| {
        let mut body = question(subject, action, resource);
        body["action"]["properties"] = json!({ "grant_option": option, "method": "GET" });
        evaluate(&view, "root", &body).unwrap()["decision"].as_bool().unwrap()
    };
    let orders = ("table", "defaultdb.public.orders");
    assert!(holds(("user", "ben"), "INSERT", true, orders));
    assert!(
        !holds(("user", "ann"), "SELECT", true, orders) && holds(("user", "ann"), "SELECT", false, orders)
    );
    assert!(holds(("role", "clerk"), "VIEWDEBUG", false, ("cluster", "cluster")));
    assert!(holds(("user", "ann"), "member", false, ("role", "chief")));
    assert!(holds(("user", "ann"), "MEMBER", true, ("role", "clerk")));
    assert!(!holds(("user", "ann"), "ADMIN", false, ("role", "chief")));
    assert!(holds(("role", "public"), "DELETE", false, ("table", r#"defaultdb."Odd.Place"."a ""b""""#)));
}

#[test]
fn an_explanation_names_the_way() {
    let view = view_after(SHOP);
    let explained = |subject, action, resource| {
        let mut body = question(subject, action, resource);
        body["context"] = json!({ "explain": true, "time": "now" });
        evaluate(&view, "root", &body).unwrap()["context"]["explain"].clone()
    };
    let reason = |through: &str, path: &[&str], granted: Option<&str>| match granted {
        Some(granted) => json!({ "reasons": [{ "through": through, "path": path, "granted": granted }] }),
        None => json!({ "reasons": [{ "through": through, "path": path }] }),
    };
    let way = explained(("user", "ann"), "CREATE", ("database", "defaultdb"));
    assert_eq!(way, reason("grant", &["ann", "clerk", "chief"], Some("CREATE")));
    let way = explained(("user", "ann"), "DELETE", ("table", r#"defaultdb."Odd.Place"."a ""b""""#));
    assert_eq!(way, reason("public", &[], Some("DELETE")));
    let way = explained(("user", "ben"), "SELECT", ("table", "defaultdb.orders"));
    assert_eq!(way, json!({ "missing": { "what": "grant", "to": ["ben"], "owner": "root" } }));
    assert_eq!(explained(("user", "ann"), "MEMBER", ("role", "clerk")), Value::Null);
}

#[test]
fn whoever_may_not_ask_about_others_does_not_learn_who_there_is() {
    let view = view_after(SHOP);
    let orders = ("table", "defaultdb.orders");
    for other in ["ben", "root", "nobody", "public_", "admin"] {
        let asked = evaluate(&view, "ann", &question(("user", other), "SELECT", orders));
        assert_eq!(asked, Err("42501".to_owned()), "{other}");
    }
    for own in [("user", "ann"), ("role", "clerk"), ("role", "chief"), ("role", "public")] {
        assert!(evaluate(&view, "ann", &question(own, "SELECT", orders)).is_ok(), "{own:?}");
    }
    assert!(evaluate(&view, "ben", &question(("user", "ann"), "SELECT", orders)).is_ok());
}

#[test]
fn what_must_be_there_and_of_what_type_is_said() {
    let view = view_after(SHOP);
    let whole = question(("user", "ann"), "SELECT", ("table", "defaultdb.orders"));
    let fault = |path: &[&str], value: Option<Value>| {
        let mut body = whole.clone();
        let (last, above) = path.split_last().unwrap();
        let at = above.iter().fold(&mut body, |at, name| &mut at[*name]);
        match value {
            Some(value) => at[*last] = value,
            None => drop(at.as_object_mut().unwrap().remove(*last)),
        }
        evaluate(&view, "root", &body).unwrap_err()
    };
    for path in [&["subject"][..], &["action"], &["resource"], &["subject", "type"], &["resource", "id"]] {
        assert_eq!(fault(path, None), format!("`{}` is missing", path.join(".")));
        assert_eq!(fault(path, Some(Value::Null)), format!("`{}` is missing", path.join(".")));
        assert!(fault(path, Some(json!(7))).contains("invalid type"), "{path:?}");
    }
    assert!(fault(&["subject"], Some(json!("ann"))).contains("expected an object"));
    assert!(fault(&["subject"], Some(json!(["user", "ann"]))).contains("expected an object"));
    assert!(fault(&["action", "name"], Some(json!(123))).contains("invalid type"));
    assert!(fault(&["context"], Some(json!({ "at_least": -1 }))).contains("invalid value"));
    assert!(fault(&["context"], Some(json!({ "at_least": 1e30 }))).contains("invalid type"));
    assert!(fault(&["context"], Some(json!({ "freshness": "stale" }))).contains("unknown variant"));
}

#[test]
fn bodies_that_are_no_json_object_are_refused() {
    let fault = |body: &str, kind| match read::<Evaluation>(&asked_in(body.to_owned(), kind)) {
        Ok(_) => None,
        Err(Fault::Malformed(message)) => Some(message),
        Err(Fault::Refused(_) | Fault::TooMany(_)) => panic!("nobody was asked"),
    };
    let json = Some("application/json");
    assert_eq!(fault("{}", json), None);
    assert_eq!(fault("{}", Some("Application/JSON; charset=utf-8")), None);
    for kind in [None, Some("text/plain"), Some("application/json5"), Some("")] {
        assert_eq!(fault("{}", kind).unwrap(), "Content-Type must be application/json");
    }
    let deep = format!("{{\"context\": {{\"x\": {}1{}}}}}", "[".repeat(100_000), "]".repeat(100_000));
    let objects = format!("{{\"x\": {}", "{\"x\": ".repeat(100_000));
    let twice = r#"{"subject": {"type": "user", "id": "ann", "id": "root"}}"#;
    let surrogate = r#"{"subject": {"type": "user", "id": "\ud800"}}"#;
    for body in ["", " ", "[]", "1", "{", "{} {}", "{'a': 1}", twice, surrogate, "\u{feff}{}", &objects] {
        assert!(fault(body, json).is_some(), "{}", &body[..body.len().min(80)]);
    }
    // What is not known is passed over, however deep: without recursion.
    assert_eq!(fault(&deep, json), None);
    assert_eq!(fault(r#"{"x": 1e999999, "y": -0.0e-9999, "subject": null}"#, json), None);
}

#[test]
fn the_freshest_of_a_batch_counts_and_defaults_fill_in() {
    let body = json!({
        "resource": { "type": "table" }, "subject": { "type": "user", "id": "ann" },
        "action": { "name": "SELECT", "properties": { "grant_option": true } }, "context": { "at_least": 3 },
        "evaluations": [
            { "resource": { "id": "a" } },
            { "resource": { "type": "view", "id": "b" }, "action": { "name": "INSERT" }, "context": { "at_least": 5 } },
            { "subject": { "id": "ben" }, "context": { "freshness": "linearizable" } },
        ],
    });
    let asked = asked(&body);
    let Ok(mut batch) = read::<Evaluations>(&asked) else { panic!("it is well formed") };
    let items: Vec<_> = batch.evaluations.take().unwrap();
    let contexts = items.iter().map(|Object(item)| &item.context).chain([&batch.context]);
    let fresh = Fresh::of(contexts);
    assert_eq!((fresh.at_least.map(|version| version.0), fresh.linearizable), (Some(5), true));
    let whole: Vec<_> = items.iter().map(|Object(item)| batch.with_defaults(item)).collect();
    let resource =
        |at: usize| whole[at].resource.clone().map(|Object(found)| (found.kind, found.id)).unwrap();
    assert_eq!(resource(0), (Some("table".into()), Some("a".into())));
    assert_eq!(resource(1), (Some("view".into()), Some("b".into())));
    assert_eq!(resource(2), (Some("table".into()), None));
    let option = |at: usize| whole[at].action.clone().unwrap().0.properties.is_some();
    assert_eq!([option(0), option(1), option(2)], [true, false, true]);
}

/// All results of a search, whose pages have at most `limit`; each page must be full but for the last.
fn all(view: &View, sought: Sought, body: &Value, limit: usize) -> Vec<Entry> {
    let asked = asked(body);
    let Ok(search) = read::<Search>(&asked) else { panic!("{body}") };
    let Ok(words) = Words::of(sought, &search) else { panic!("{body}") };
    let Ok(understood) = words.understand(view, &caller(view, "root")) else { panic!("root may ask") };
    let Ok(through) = understood else { return Vec::new() };
    let (mut results, mut after) = (Vec::new(), None);
    loop {
        let found = through.page(view, view, after, limit);
        results.extend(found.results.iter().cloned());
        match found.more {
            Some(place) => after = place,
            None => return results,
        }
        assert_eq!(found.results.len(), limit, "{body}");
    }
}

#[test]
fn searches_find_exactly_what_evaluations_allow() {
    let view = view_after(SHOP);
    let state = view.state();
    let ids: Vec<_> = state.principals_from(PrincipalId(0)).chain([PrincipalId::PUBLIC]).collect();
    let people: Vec<_> = ids.iter().map(|id| state.principal_name(*id).as_str().to_owned()).collect();
    let subjects: Vec<_> =
        ["user", "role"].iter().flat_map(|kind| people.iter().map(move |id| (*kind, id))).collect();
    let kinds = "cluster database schema table view sequence type function external_connection virtual_table role iam_role";
    // Every name under every type, and of the many that are computed a few.
    let mut names: BTreeSet<String> = people.iter().cloned().chain(["cluster".to_owned()]).collect();
    let objects = state.objects().filter(|(id, _)| !id.is_virtual() || id.0 % 500 == 0);
    names.extend(objects.map(|(id, _)| Resource::Object(id).name(&view)));
    let mut yes = 0;
    for (kind, name) in kinds.split(' ').flat_map(|kind| names.iter().map(move |name| (kind, name.as_str())))
    {
        let resource = json!({ "type": kind, "id": name });
        let acts: Vec<_> = Privilege::each().map(Privilege::word).chain(["MEMBER", "ADMIN"]).collect();
        for (subject_kind, id) in &subjects {
            let holds = |act: &&str| {
                let asked = question((subject_kind, id), act, (kind, name));
                evaluate(&view, "root", &asked).unwrap()["decision"].as_bool().unwrap()
            };
            let held: BTreeSet<_> = acts.iter().copied().filter(holds).collect();
            yes += held.len();
            let body = json!({ "subject": { "type": subject_kind, "id": id }, "resource": resource });
            let found = all(&view, Sought::Action, &body, 3);
            let found = found.iter().map(|entry| match entry {
                Entry::Action { name } => *name,
                Entry::Entity { .. } => panic!("an action is sought"),
            });
            assert_eq!(found.collect::<BTreeSet<_>>(), held, "{body}");
            for act in acts.iter().copied() {
                let entity = |kind: &str, id: &str| match (SubjectOrResource::known(kind), id.to_owned()) {
                    (Some(kind), id) => Entry::Entity { kind, id },
                    (None, id) => panic!("{kind} {id}"),
                };
                let body = json!({ "subject": { "type": subject_kind }, "action": { "name": act }, "resource": resource });
                let is_found = all(&view, Sought::Subject, &body, 2).contains(&entity(subject_kind, id));
                assert_eq!(is_found, held.contains(act), "{body} {id}");
            }
        }
    }
    assert!(yes > 300, "{yes}");
}

struct SubjectOrResource;

impl SubjectOrResource {
    fn known(word: &str) -> Option<&'static str> {
        ["user", "role"]
            .into_iter()
            .find(|kind| *kind == word)
            .or_else(|| Kind::from_word(word).map(Kind::word))
    }
}

#[test]
fn resource_searches_find_exactly_what_evaluations_allow() {
    let view = view_after(SHOP);
    let everything: Vec<_> = view.state().objects().map(|(id, _)| Resource::Object(id).name(&view)).collect();
    for (kind, act) in [
        ("table", "SELECT"),
        ("table", "DELETE"),
        ("sequence", "USAGE"),
        ("schema", "CREATE"),
        ("type", "USAGE"),
        ("database", "CONNECT"),
        ("virtual_table", "SELECT"),
        ("role", "MEMBER"),
        ("role", "ADMIN"),
        ("cluster", "VIEWDEBUG"),
        ("view", "SELECT"),
    ] {
        for (subject_kind, id) in
            [("user", "ann"), ("user", "ben"), ("user", "root"), ("role", "clerk"), ("role", "public")]
        {
            let subject = json!({ "type": subject_kind, "id": id });
            let body = json!({ "subject": subject, "action": { "name": act }, "resource": { "type": kind } });
            let found = all(&view, Sought::Resource, &body, 5);
            let people = ["root", "admin", "ann", "ben", "clerk", "chief", "cluster", "public"];
            // `pg_class` alone is another name of what is found as `pg_catalog.pg_class`.
            let names = everything.iter().map(String::as_str).chain(people);
            let names = names.filter(|name| kind != "virtual_table" || name.contains('.'));
            let holds = |name: &&str| {
                let asked = question((subject_kind, id), act, (kind, name));
                evaluate(&view, "root", &asked).unwrap()["decision"].as_bool().unwrap()
            };
            let held: BTreeSet<_> = names.filter(holds).map(str::to_owned).collect();
            let ids = found.iter().map(|entry| match entry {
                Entry::Entity { id, .. } => id.clone(),
                Entry::Action { .. } => panic!("a resource is sought"),
            });
            assert_eq!(ids.collect::<BTreeSet<_>>(), held, "{body}");
            assert_eq!(found.len(), held.len(), "{body}: nothing twice");
        }
    }
}

#[test]
fn what_was_taken_away_since_the_first_page_is_left_out_and_what_came_is_not_told() {
    let before = view_after(SHOP);
    let after = view_after(&format!(
        "{SHOP}; REVOKE INSERT ON orders FROM ben; GRANT INSERT ON orders TO ann; CREATE USER zoe; GRANT INSERT ON orders TO zoe"
    ));
    let body = json!({
        "subject": { "type": "user" }, "action": { "name": "INSERT" }, "resource": { "type": "table", "id": "defaultdb.orders" },
    });
    let asked = asked(&body);
    let Ok(search) = read::<Search>(&asked) else { panic!("well formed") };
    let Ok(words) = Words::of(Sought::Subject, &search) else { panic!("whole") };
    let Ok(Ok(through)) = words.understand(&before, &caller(&before, "root")) else { panic!("known") };
    let ids = |newest: &View| -> Vec<String> {
        let found = through.page(&before, newest, None, 100).results;
        found
            .into_iter()
            .map(|entry| serde_json::to_value(entry).unwrap()["id"].as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(ids(&before), ["root", "admin", "ben"]);
    assert_eq!(ids(&after), ["root", "admin"]);
}
