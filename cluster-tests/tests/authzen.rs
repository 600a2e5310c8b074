//! The published scenarios of OpenID AuthZEN's working group, and its certification scenario, against a real process.
//!
//! Sources: `github.com/openid/authzen`, `interop/authzen-todo-backend/test/decisions-authorization-api-1_0-00.json` (40
//! decisions), `interop/authzen-interop-website/docs/scenarios/search` (its three tables), and
//! `certification/authorization-api-1_0-scenario.md`. Their users, things and verbs are not those of SQL: each test says what
//! stands for what, translates the request, and expects the published decision.

use std::collections::{BTreeMap, BTreeSet};

use grantd_cluster_tests::https::Https;
use grantd_cluster_tests::process::{Cluster, free_tcp_port};
use serde_json::{Value, json};

const EVALUATION: &str = "/access/v1/evaluation";
const EVALUATIONS: &str = "/access/v1/evaluations";
const SUBJECTS: &str = "/access/v1/search/subject";
const RESOURCES: &str = "/access/v1/search/resource";
const ACTIONS: &str = "/access/v1/search/action";

/// A node whose catalog `statements` made, and a connection to it as root.
async fn served(statements: &str) -> (Cluster, Https) {
    let port = free_tcp_port();
    let cluster = Cluster::start_with(1, &["--http-listen", &format!("127.0.0.1:{port}")]).await;
    let root = cluster.root(&cluster.nodes[0]).await.expect("root logs in");
    root.batch_execute(statements).await.expect("a catalog");
    let https = Https::connect(&cluster.ca(), port, Some("root")).await;
    (cluster, https)
}

async fn decided(https: &mut Https, request: &Value) -> bool {
    let reply = https.post(EVALUATION, request).await;
    assert_eq!(reply.status, 200, "{request}: {}", String::from_utf8_lossy(&reply.body));
    reply.json()["decision"].as_bool().expect("a decision")
}

fn table(name: &str) -> Value {
    json!({ "type": "table", "id": format!("defaultdb.public.{name}") })
}

// ---- the todo application ------------------------------------------------------------------------------------------

/// | published | here |
/// |---|---|
/// | user `rick@the-citadel.com` | user `rick`: names of principals have no `@` |
/// | `can_read_user` on a user | SELECT on the table `users` |
/// | `can_read_todos`, `can_create_todo` on `todo-1` | SELECT, INSERT on the table `todos` |
/// | `can_update_todo`, `can_delete_todo` on a todo | UPDATE, DELETE on a table that stands for it |
/// | roles viewer, editor, admin, evil_genius | roles, the last two and editor members of the one that they extend |
/// | an editor may update and delete what it owns | granted to the owner when the todo is made, if it is an editor |
const LIST_CATALOG: &str =
    "CREATE ROLE viewer; CREATE ROLE editor; CREATE ROLE todo_admin; CREATE ROLE evil_genius;
    GRANT viewer TO editor; GRANT editor TO todo_admin; GRANT editor TO evil_genius;
    CREATE USER rick; CREATE USER morty; CREATE USER summer; CREATE USER beth; CREATE USER jerry;
    GRANT todo_admin TO rick; GRANT evil_genius TO rick; GRANT editor TO morty; GRANT editor TO summer;
    GRANT viewer TO beth; GRANT viewer TO jerry;
    CREATE TABLE users (id INT PRIMARY KEY); CREATE TABLE todos (id INT PRIMARY KEY);
    CREATE TABLE todo_b91 (id INT PRIMARY KEY); CREATE TABLE todo_b92 (id INT PRIMARY KEY);
    CREATE TABLE todo_b93 (id INT PRIMARY KEY); CREATE TABLE todo_b94 (id INT PRIMARY KEY);
    CREATE TABLE todo_b95 (id INT PRIMARY KEY);
    GRANT SELECT ON users TO viewer; GRANT SELECT ON todos TO viewer; GRANT INSERT ON todos TO editor;
    GRANT UPDATE ON todo_b91, todo_b92, todo_b93, todo_b94, todo_b95 TO evil_genius;
    GRANT DELETE ON todo_b91, todo_b92, todo_b93, todo_b94, todo_b95 TO todo_admin;
    GRANT UPDATE, DELETE ON todo_b91 TO morty; GRANT UPDATE, DELETE ON todo_b92 TO rick;
    GRANT UPDATE, DELETE ON todo_b93 TO summer";

/// In the order of the published file, for each user: can_read_user of beth and of itself, can_read_todos,
/// can_create_todo; can_update_todo and can_delete_todo, each of a todo of rick's and of another one.
const LIST_DECISIONS: [(&str, &str, [bool; 8]); 5] = [
    ("rick", "b91", [true, true, true, true, true, true, true, true]),
    ("morty", "b91", [true, true, true, true, false, true, false, true]),
    ("summer", "b93", [true, true, true, true, false, true, false, true]),
    ("beth", "b94", [true, true, true, false, false, false, false, false]),
    ("jerry", "b95", [true, true, true, false, false, false, false, false]),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_todo_application_gets_the_published_decisions() {
    let (_cluster, mut https) = served(LIST_CATALOG).await;
    let mut batch = Vec::new();
    let mut expected = Vec::new();
    for (user, other, decisions) in LIST_DECISIONS {
        let other = format!("todo_{other}");
        let asked = [
            ("SELECT", "users"),
            ("SELECT", "users"),
            ("SELECT", "todos"),
            ("INSERT", "todos"),
            ("UPDATE", "todo_b92"),
            ("UPDATE", other.as_str()),
            ("DELETE", "todo_b92"),
            ("DELETE", other.as_str()),
        ];
        for ((action, todo), decision) in asked.into_iter().zip(decisions) {
            let request = json!({
                "subject": { "type": "user", "id": user, "properties": { "email": format!("{user}@example.com") } },
                "action": { "name": action },
                "resource": table(todo),
                "context": {},
            });
            assert_eq!(decided(&mut https, &request).await, decision, "{request}");
            batch.push(request);
            expected.push(decision);
        }
    }
    assert_eq!(expected.len(), 40);
    let reply = https.post(EVALUATIONS, &json!({ "evaluations": batch })).await.json();
    let answers = reply["evaluations"].as_array().expect("a list").iter();
    let decisions: Vec<_> =
        answers.clone().map(|one| one["decision"].as_bool().expect("a decision")).collect();
    assert_eq!(decisions, expected);
    let versions: BTreeSet<_> = answers.map(|one| one["context"]["version"].as_u64()).collect();
    assert_eq!(versions.len(), 1, "one view for all");
}

// ---- the search application ----------------------------------------------------------------------------------------

/// User, action, and on which records: the published table of the resource search. Those of the subject and of the action
/// search are this one turned round.
const SEARCH: &str = "\
    alice view 101 102 103 104 105 106 107 108 109 110 111 112 113 114 115 116 117 118 119 120
    alice edit 101 107 110 113 119
    alice delete 101 107 113 119
    bob view 101 102 103 105 108 112 114 116 117 119 120
    bob edit 102 108 114 120
    bob delete 102 108 114 120
    carol view 101 102 103 105 108 109 112 115 116 117 119
    carol edit 103 109 115
    carol delete 103 109 115
    dan view 101 102 103 104 105 106 107 108 109 110 111 112 113 114 115 116 117 118 119 120
    dan edit 104 110 115 116
    dan delete 104 110 116
    erin view 105 111 115 117
    erin edit 105 111 117
    erin delete 105 111 117
    felix view 104 106 109 111 112 114 118 120
    felix edit 106 112 118
    felix delete 106 112 118";

/// Number, department and owner of each record, as published.
const RECORDS: &str = "101 legal alice, 102 legal bob, 103 legal carol, 104 accounting dan, 105 legal erin, \
    106 accounting felix, 107 sales alice, 108 legal bob, 109 accounting carol, 110 sales dan, 111 accounting erin, \
    112 legal felix, 113 sales alice, 114 accounting bob, 115 finance carol, 116 legal dan, 117 legal erin, \
    118 accounting felix, 119 legal alice, 120 accounting bob";

const VERBS: [(&str, &str); 3] = [("view", "SELECT"), ("edit", "UPDATE"), ("delete", "DELETE")];

/// | published | here |
/// |---|---|
/// | user | user |
/// | record 101 | table `r101` |
/// | view, edit, delete | SELECT, UPDATE, DELETE |
/// | department, manager | roles `legal`, …, `manager`; of a manager's department `sales_manager`, `finance_manager` |
/// | a user may view, edit and delete what it owns | granted to the owner |
/// | a user may view what is in its department, a manager all | SELECT granted to the role |
/// | a manager may edit what is in its department | UPDATE granted to `<department>_manager` |
fn search_catalog() -> String {
    let mut statements = String::from(
        "CREATE ROLE legal; CREATE ROLE sales; CREATE ROLE finance; CREATE ROLE accounting; CREATE ROLE manager;
         CREATE ROLE sales_manager; CREATE ROLE finance_manager; CREATE ROLE legal_manager; CREATE ROLE accounting_manager;
         CREATE USER alice; CREATE USER bob; CREATE USER carol; CREATE USER dan; CREATE USER erin; CREATE USER felix;
         GRANT manager TO alice, dan; GRANT sales, sales_manager TO alice; GRANT legal TO bob, carol;
         GRANT finance TO dan, erin; GRANT finance_manager TO dan; GRANT accounting TO felix;",
    );
    for record in RECORDS.split(',') {
        let [number, department, owner] = record.split_whitespace().collect::<Vec<_>>()[..] else {
            panic!("{record}")
        };
        statements.push_str(&format!(
            "CREATE TABLE r{number} (id INT PRIMARY KEY); GRANT SELECT, UPDATE, DELETE ON r{number} TO {owner};
             GRANT SELECT ON r{number} TO {department}, manager; GRANT UPDATE ON r{number} TO {department}_manager;"
        ));
    }
    statements
}

/// What is found on all pages, of at most `limit` results each.
async fn found(https: &mut Https, path: &str, request: &Value, limit: u64) -> BTreeSet<String> {
    let (mut all, mut request) = (BTreeSet::new(), request.clone());
    request["page"] = json!({ "limit": limit });
    loop {
        let reply = https.post(path, &request).await;
        assert_eq!(reply.status, 200, "{request}: {}", String::from_utf8_lossy(&reply.body));
        let reply = reply.json();
        let results = reply["results"].as_array().expect("a list");
        assert!(results.len() as u64 <= limit && reply["page"]["count"] == results.len());
        for result in results {
            let entry = result["id"].as_str().or(result["name"].as_str()).expect("an id or a name");
            assert!(all.insert(entry.to_owned()), "{entry} is there twice");
        }
        let token = reply["page"]["next_token"].as_str().expect("a token").to_owned();
        if token.is_empty() {
            return all;
        }
        // As in the standard's own example, the limit need not be repeated.
        request["page"] = json!({ "token": token });
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_search_application_finds_what_is_published() {
    let (_cluster, mut https) = served(&search_catalog()).await;
    let mut published: BTreeMap<(&str, &str), BTreeSet<&str>> = BTreeMap::new();
    for line in SEARCH.lines() {
        let mut words = line.split_whitespace();
        let (user, verb) = (words.next().expect("a user"), words.next().expect("a verb"));
        published.insert((user, verb), words.collect());
    }
    let users: BTreeSet<_> = published.keys().map(|(user, _)| *user).collect();
    let records: BTreeSet<_> = published[&("alice", "view")].iter().copied().collect();
    let is_published = |user, verb, record| published[&(user, verb)].contains(record);
    let act = |verb: &str| {
        let word = VERBS.iter().find_map(|(known, word)| (*known == verb).then_some(*word));
        json!({ "name": word.expect("a verb") })
    };
    assert_eq!((users.len(), records.len(), published.len()), (6, 20, 18));

    for ((user, verb), records) in &published {
        let request = json!({
            "subject": { "type": "user", "id": user }, "action": act(verb), "resource": { "type": "table" },
        });
        let expected = records.iter().map(|record| format!("defaultdb.public.r{record}")).collect();
        assert_eq!(found(&mut https, RESOURCES, &request, 7).await, expected, "{user} {verb}");
    }
    for (record, (verb, _)) in records.iter().flat_map(|record| VERBS.iter().map(move |verb| (record, verb)))
    {
        let request = json!({
            "subject": { "type": "user" }, "action": act(verb), "resource": table(&format!("r{record}")),
        });
        let mut expected: BTreeSet<_> = users
            .iter()
            .filter(|user| is_published(user, verb, record))
            .map(|user| (*user).to_owned())
            .collect();
        // A catalog has these two, and they hold everything. The scenario does not know them.
        expected.extend(["root", "admin"].map(str::to_owned));
        assert_eq!(found(&mut https, SUBJECTS, &request, 2).await, expected, "{verb} {record}");
    }
    for (user, record) in users.iter().flat_map(|user| records.iter().map(move |record| (user, record))) {
        let request =
            json!({ "subject": { "type": "user", "id": user }, "resource": table(&format!("r{record}")) });
        let held = VERBS.iter().filter(|(verb, _)| is_published(user, verb, record));
        let expected = held.map(|(_, word)| (*word).to_owned()).collect();
        assert_eq!(found(&mut https, ACTIONS, &request, 100).await, expected, "{user} {record}");
    }
    // Any other value leads to a valid empty response.
    let unknown = json!({
        "subject": { "type": "user", "id": "zoe" }, "action": act("view"), "resource": { "type": "table" },
    });
    assert_eq!(found(&mut https, RESOURCES, &unknown, 7).await, BTreeSet::new());
}

// ---- the certification scenario ------------------------------------------------------------------------------------

/// | published | here |
/// |---|---|
/// | record `record-1`, `record-2` | tables `record_1`, `record_2` |
/// | read, write | SELECT, UPDATE |
const FIXTURE: &str = "CREATE USER alice; CREATE USER bob;
    CREATE TABLE record_1 (id INT PRIMARY KEY); CREATE TABLE record_2 (id INT PRIMARY KEY);
    GRANT SELECT, UPDATE ON record_1 TO alice; GRANT SELECT ON record_1 TO bob";

fn asks(user: &str, action: &str) -> Value {
    json!({
        "subject": { "type": "user", "id": user }, "action": { "name": action }, "resource": table("record_1"),
    })
}

/// Levels Basic Core, Batch Core, Search Core and Discovery. Of the Properties levels, where a decision depends on what the
/// request says of subject and resource, nothing is claimed: a catalog knows its subjects and resources itself.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_certification_scenario_is_met_at_its_core() {
    let (_cluster, mut https) = served(FIXTURE).await;
    let https = &mut https;
    basic(https).await;
    malformed(https).await;
    batches(https).await;
    searches(https).await;
    discovery(https).await;
}

async fn basic(https: &mut Https) {
    for (user, action, decision) in [
        ("alice", "SELECT", true),
        ("alice", "UPDATE", true),
        ("bob", "SELECT", true),
        ("bob", "UPDATE", false),
    ] {
        for _ in 0..3 {
            assert_eq!(decided(https, &asks(user, action)).await, decision, "{user} {action}");
        }
        let mut more = asks(user, action);
        more["context"] = json!({ "time": "2025-06-27T18:03-07:00", "ip": "192.168.1.1" });
        more["subject"]["properties"] = json!({ "department": "Sales", "role": "manager" });
        more["action"]["properties"] = json!({ "method": "GET" });
        more["resource"]["properties"] = json!({ "status": "active" });
        more["foo"] = json!("bar");
        more["futureField"] = json!({ "nested": true });
        assert_eq!(decided(https, &more).await, decision, "{more}");
    }
    let reply =
        https.post_with(EVALUATION, &[("X-Request-ID", "bfe9eb29-ab87")], &asks("alice", "SELECT")).await;
    assert_eq!(reply.header("x-request-id"), Some("bfe9eb29-ab87"));
    assert_eq!(reply.header("content-type"), Some("application/json"));
    let refused = https.post_with(EVALUATION, &[("x-request-id", "7")], &json!({})).await;
    assert_eq!((refused.status, refused.header("x-request-id")), (400, Some("7")));
}

async fn malformed(https: &mut Https) {
    let whole = asks("alice", "SELECT");
    let mut wrong = Vec::new();
    for name in ["subject", "action", "resource"] {
        let mut without = whole.clone();
        drop(without.as_object_mut().expect("an object").remove(name));
        wrong.push(without);
    }
    for (entity, name) in
        [("subject", "type"), ("subject", "id"), ("action", "name"), ("resource", "type"), ("resource", "id")]
    {
        let mut without = whole.clone();
        drop(without[entity].as_object_mut().expect("an object").remove(name));
        wrong.push(without);
        let mut other = whole.clone();
        other[entity][name] = json!(123);
        wrong.push(other);
    }
    let mut text = whole.clone();
    text["subject"] = json!("alice");
    wrong.push(text);
    for request in wrong {
        let reply = https.post(EVALUATION, &request).await;
        assert_eq!(reply.status, 400, "{request}");
        assert!(reply.json()["error"].is_string());
    }
    let json = ("Content-Type", "application/json");
    for (headers, body) in [
        (&[("Content-Type", "text/plain")][..], whole.to_string()),
        (&[], whole.to_string()),
        (&[json], String::new()),
        (&[json], "{\"subject\":".to_owned()),
        (&[json], "[]".to_owned()),
    ] {
        assert_eq!(https.ask("POST", EVALUATION, headers, body.as_bytes()).await.status, 400, "{body}");
    }
}

async fn batches(https: &mut Https) {
    let decisions = async |https: &mut Https, request: &Value| {
        let reply = https.post(EVALUATIONS, request).await;
        assert_eq!(reply.status, 200, "{request}");
        let reply = reply.json();
        assert!(reply.get("decision").is_none(), "{reply}");
        let all = reply["evaluations"].as_array().expect("a list").clone();
        all.into_iter().map(|one| one["decision"].as_bool().expect("a decision")).collect::<Vec<_>>()
    };
    let of = |user: &str, more: Value| {
        let mut request = json!({ "subject": { "type": "user", "id": user }, "resource": table("record_1") });
        request.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
        request
    };
    let (read, write) =
        (json!({ "action": { "name": "SELECT" } }), json!({ "action": { "name": "UPDATE" } }));
    let request = of("bob", json!({ "evaluations": [read, write] }));
    assert_eq!(decisions(https, &request).await, [true, false]);
    let request = json!({ "evaluations": [asks("alice", "SELECT"), asks("bob", "UPDATE")] });
    assert_eq!(decisions(https, &request).await, [true, false]);
    // Of an entity that is there, what is missing comes from the default.
    let request = json!({
        "subject": { "type": "user", "id": "alice" }, "action": { "name": "UPDATE" }, "resource": { "type": "table" },
        "context": { "time": "now" },
        "evaluations": [
            { "resource": { "id": "defaultdb.public.record_1" } },
            { "resource": table("record_2"), "context": { "time": "then", "source": "batch-override" } },
        ],
    });
    assert_eq!(decisions(https, &request).await, [true, false]);
    // What is wrong with one is said in its place.
    let request = json!({
        "subject": { "type": "user", "id": "alice" }, "action": { "name": "SELECT" },
        "evaluations": [{ "resource": table("record_1") }, {}],
    });
    let reply = https.post(EVALUATIONS, &request).await.json();
    assert_eq!(reply["evaluations"][0]["decision"], json!(true));
    assert_eq!(reply["evaluations"][1]["decision"], json!(false));
    let error = json!({ "status": 400, "message": "`resource` is missing" });
    assert_eq!(reply["evaluations"][1]["context"]["error"], error);
    // The three semantics.
    for (semantic, expected) in [
        ("execute_all", &[true, false, true, false][..]),
        ("deny_on_first_deny", &[true, false]),
        ("permit_on_first_permit", &[true]),
    ] {
        let options = json!({ "evaluations_semantic": semantic, "another_option": "value" });
        let request = of("bob", json!({ "options": options, "evaluations": [read, write, read, write] }));
        assert_eq!(decisions(https, &request).await, expected, "{semantic}");
    }
    let request = of("bob", json!({ "options": { "evaluations_semantic": "none" }, "evaluations": [read] }));
    assert_eq!(https.post(EVALUATIONS, &request).await.status, 400);
    // One request, if there is no batch or an empty one.
    for batch in [json!({}), json!({ "evaluations": [] })] {
        let mut request = asks("alice", "SELECT");
        request.as_object_mut().expect("an object").extend(batch.as_object().expect("an object").clone());
        assert_eq!(https.post(EVALUATIONS, &request).await.json()["decision"], json!(true));
    }
    let many = vec![read; 1_001];
    let reply = https.post(EVALUATIONS, &of("bob", json!({ "evaluations": many }))).await;
    assert_eq!(reply.status, 400);
    assert_eq!(reply.json()["error"], json!("1001 evaluations in one request; at most 1000 are decided"));
}

async fn searches(https: &mut Https) {
    let record = table("record_1");
    let subjects = json!({ "subject": { "type": "user", "id": "ignored" }, "action": { "name": "SELECT" }, "resource": record, "context": {} });
    let all = ["admin", "alice", "bob", "root"].map(str::to_owned);
    assert_eq!(found(https, SUBJECTS, &subjects, 1).await, BTreeSet::from(all));
    let mut resources = asks("alice", "SELECT");
    assert_eq!(
        found(https, RESOURCES, &resources, 10).await,
        BTreeSet::from(["defaultdb.public.record_1".to_owned()])
    );
    drop(resources["resource"].as_object_mut().expect("an object").remove("id"));
    let actions = json!({ "subject": { "type": "user", "id": "alice" }, "resource": record });
    let both = ["SELECT", "UPDATE"].map(str::to_owned);
    assert_eq!(found(https, ACTIONS, &actions, 1).await, BTreeSet::from(both));
    let none = BTreeSet::new();
    let nobody = json!({ "subject": { "type": "user", "id": "nonexistent-user" }, "resource": record });
    assert_eq!(found(https, ACTIONS, &nobody, 1).await, none);
    let mut spaceship = subjects.clone();
    spaceship["subject"] = json!({ "type": "spaceship" });
    assert_eq!(found(https, SUBJECTS, &spaceship, 1).await, none);
    for (path, request) in [
        (SUBJECTS, json!({ "subject": { "type": "user" }, "resource": record })),
        (
            SUBJECTS,
            json!({ "subject": { "type": "user" }, "action": { "name": "SELECT" }, "resource": { "type": "table" } }),
        ),
        (RESOURCES, json!({ "action": { "name": "SELECT" }, "resource": { "type": "table" } })),
        (
            RESOURCES,
            json!({ "subject": { "type": "user" }, "action": { "name": "SELECT" }, "resource": { "type": "table" } }),
        ),
        (ACTIONS, json!({ "subject": { "type": "user", "id": "alice" } })),
    ] {
        assert_eq!(https.post(path, &request).await.status, 400, "{path} {request}");
    }
    // A token belongs to what was asked.
    let mut first = subjects.clone();
    first["page"] = json!({ "limit": 1 });
    let token = https.post(SUBJECTS, &first).await.json()["page"]["next_token"].clone();
    let mut other = subjects.clone();
    other["action"] = json!({ "name": "UPDATE" });
    other["page"] = json!({ "token": token });
    assert_eq!(https.post(SUBJECTS, &other).await.status, 400);
    let mut longer = subjects;
    longer["page"] = json!({ "token": token, "limit": 2 });
    assert_eq!(https.post(SUBJECTS, &longer).await.status, 400);
    longer["page"] = json!({ "token": "rubbish" });
    assert_eq!(https.post(SUBJECTS, &longer).await.status, 400);
}

async fn discovery(https: &mut Https) {
    let host = [("Host", "localhost:1")];
    let reply = https.get("/.well-known/authzen-configuration", &[]).await;
    assert_eq!((reply.status, reply.header("content-type")), (200, Some("application/json")));
    let found = reply.json();
    let point = found["policy_decision_point"].as_str().expect("a URL").to_owned();
    assert!(point.starts_with("https://localhost:") && !point.ends_with('/'), "{point}");
    for (name, path) in [
        ("access_evaluation_endpoint", EVALUATION),
        ("access_evaluations_endpoint", EVALUATIONS),
        ("search_subject_endpoint", SUBJECTS),
        ("search_resource_endpoint", RESOURCES),
        ("search_action_endpoint", ACTIONS),
    ] {
        assert_eq!(found[name], json!(format!("{point}{path}")));
    }
    assert_eq!(https.ask("POST", "/.well-known/authzen-configuration", &host[..0], b"").await.status, 405);
}
