use grantd_catalog::command::{Actor, Command, NameContext, Outcome};
use grantd_catalog::id::{PrincipalId, Timestamp, Version};
use grantd_catalog::name::Name;
use grantd_catalog::state::State;
use grantd_catalog::view::View;

use super::question::{Question, ResourceKind, resolve_principal};
use super::{may_ask, may_ask_about_all};
use crate::sql::parse::role::RoleStatement;
use crate::sql::parse::table::TableStatement;
use crate::sql::parse::{self, Statement};
use crate::sql::plan::{self, Origin};

/// The catalog that root makes by `statements`.
pub(super) fn view_after(statements: &str) -> View {
    let mut state = State::bootstrap();
    let actor = Actor::of(PrincipalId::ROOT);
    let public = vec![Name::normalize("public")];
    let context = NameContext { database: Some(Name::normalize("defaultdb")), search_path: public };
    let mut version = Version(1);
    for (text, statement) in parse::parse_all(statements).unwrap() {
        let view = View::build(version, state.clone());
        let origin = Origin { view: &view, actor, context: &context };
        let command = match statement {
            Statement::Table(table) => match *table {
                TableStatement::Create(table) => plan::table::create(origin, &table).unwrap(),
                _ => panic!("{text}"),
            },
            Statement::Role(RoleStatement::Create { name, is_role, if_not_exists, .. }) => {
                Command::CreateRole { name, is_role, if_not_exists, options: Vec::new() }
            }
            Statement::Command(command, _) => command,
            _ => panic!("{text}"),
        };
        version = Version(version.0 + 1);
        let outcome = state.apply(version, Timestamp::default(), actor, &context, &command, &mut Vec::new());
        assert!(matches!(outcome, Outcome::Done(_)), "{text}: {outcome:?}");
    }
    View::build(version, state)
}

fn ask(view: &View, subject: &str, action: &str, kind: &str, name: &str) -> Result<bool, String> {
    let kind = ResourceKind::from_word(kind).unwrap();
    let question = Question { subject: subject.into(), action: action.into(), kind, name: name.into() };
    question.resolve(view).map(|check| check.decide(view)).map_err(|refusal| refusal.code.as_str().to_owned())
}

const SHOP: &str = "CREATE USER ann; CREATE USER ben; CREATE ROLE clerk; GRANT clerk TO ann WITH ADMIN OPTION; \
    CREATE TABLE orders (id INT PRIMARY KEY); GRANT SELECT ON orders TO clerk; \
    GRANT INSERT ON orders TO ben WITH GRANT OPTION; GRANT SYSTEM VIEWACTIVITYREDACTED TO ben";

#[test]
fn questions_in_names_get_the_answers_of_the_catalog() {
    let view = view_after(SHOP);
    let orders = "defaultdb.public.orders";
    assert_eq!(ask(&view, "ann", "select", "table", orders), Ok(true));
    assert_eq!(ask(&view, "ann", "SELECT WITH GRANT OPTION", "table", orders), Ok(false));
    assert_eq!(ask(&view, "ben", "insert with grant option", "TABLE", "defaultdb.orders"), Ok(true));
    assert_eq!(ask(&view, "Ben", "SELECT", "table", orders), Ok(false));
    assert_eq!(ask(&view, "ben", "VIEWACTIVITYREDACTED", "cluster", ""), Ok(true));
    assert_eq!(ask(&view, "ann", "MEMBER", "role", "clerk"), Ok(true));
    assert_eq!(ask(&view, "ann", "ADMIN", "role", "clerk"), Ok(true));
    assert_eq!(ask(&view, "ben", "MEMBER", "role", "clerk"), Ok(false));
    assert_eq!(ask(&view, "ben", "CONNECT", "database", "defaultdb"), Ok(true));
}

#[test]
fn what_is_not_there_is_named_as_sql_names_it() {
    let view = view_after(SHOP);
    let code = |subject: &str, action: &str, kind: &str, name: &str| ask(&view, subject, action, kind, name);
    let is = |code: &str| Err(code.to_owned());
    assert_eq!(code("nobody", "SELECT", "table", "defaultdb.orders"), is("42704"));
    assert_eq!(code("ann", "SELECT", "table", "defaultdb.none"), is("42P01"));
    assert_eq!(code("ann", "SELECT", "table", "nowhere.public.orders"), is("3D000"));
    assert_eq!(code("ann", "EXECUTE", "table", "defaultdb.orders"), is("22023"));
    assert_eq!(code("ann", "USAGE", "role", "clerk"), is("22023"));
    assert_eq!(code("ann", "SELECT", "table", "a.b.c.d"), is("42602"));
    assert_eq!(code("ann", "CONNECT", "database", "a b"), is("42601"));
}

#[test]
fn about_others_asks_only_who_sees_their_activity() {
    let view = view_after(SHOP);
    let id = |name: &str| resolve_principal(&view, name).unwrap();
    assert_eq!(may_ask(&view, id("ann"), id("ann")), Ok(()));
    assert_eq!(may_ask(&view, id("ann"), id("clerk")), Ok(()));
    assert_eq!(may_ask(&view, id("ann"), id("public")), Ok(()));
    assert_eq!(may_ask(&view, id("ann"), id("ben")).unwrap_err().code.as_str(), "42501");
    assert_eq!(may_ask(&view, id("ben"), id("ann")), Ok(()));
    assert!(may_ask_about_all(&view, id("root")) && !may_ask_about_all(&view, id("ann")));
}
