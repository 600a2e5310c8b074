//! What a RESTORE wants and needs; and texts of backups, planned anew. Source: cloud-jobs spec, B.7.4, C.8.

use std::sync::Arc;

use grantd_catalog::command::{Actor, NameContext, TablePattern};
use grantd_catalog::decide::holds;
use grantd_catalog::id::ObjectId;
use grantd_catalog::name::Name;
use grantd_catalog::object::{Body, Column, Function, KeyPart, Object, Table, View as Query};
use grantd_catalog::privilege::Privilege;
use grantd_catalog::refusal::{Refusal, may_not_restore_cluster, may_not_restore_databases, shelf_malformed};
use grantd_catalog::require::{Need, Requirement};
use grantd_catalog::role::RoleOption;
use grantd_catalog::shelf::Shelved;
use grantd_catalog::view::View;

use super::object::stored_view;
use super::shape::Shape;
use super::{Origin, Planner};
use crate::error::SqlError;
use crate::restore::choice::{Pattern, Wanted, WantedTargets};
use crate::restore::work::Texts;
use crate::sql::parse::backup::{Of, Restore, What};

/// What a statement wants of a backup, and where to.
pub fn wanted(context: &NameContext, asked: &Restore) -> Wanted {
    let texts = |names: &[Name]| names.iter().map(|name| name.as_str().to_owned()).collect::<Vec<_>>();
    let pattern = |pattern: &TablePattern| match pattern {
        TablePattern::All(within) => Pattern { within: texts(within), table: None },
        TablePattern::Table(name) => {
            let (table, within) = match name.parts.split_last() {
                Some((table, within)) => (Some(table.as_str().to_owned()), within),
                None => (None, &[][..]),
            };
            Pattern { within: texts(within), table }
        }
    };
    let targets = match &asked.what {
        What::Users => WantedTargets::Users,
        What::Of(Of::Cluster) => WantedTargets::Cluster,
        What::Of(Of::Databases(names)) => WantedTargets::Databases(texts(names)),
        What::Of(Of::Tables(patterns)) => WantedTargets::Tables {
            patterns: patterns.iter().map(pattern).collect(),
            database: context.database.as_ref().map(|name| name.as_str().to_owned()),
            search_path: texts(&context.search_path),
        },
    };
    let text = |name: &Option<Name>| name.as_ref().map(|name| name.as_str().to_owned());
    Wanted {
        targets,
        into_db: text(&asked.into_db),
        new_db_name: text(&asked.new_db_name),
        skip_foreign_keys: asked.skipped.foreign_keys,
        skip_sequences: asked.skipped.sequences,
        skip_sequence_owners: asked.skipped.sequence_owners,
        skip_views: asked.skipped.views,
    }
}

/// What it needs before anything of the backup is known, and what refuses it in the original's words. Of tables nothing: the
/// databases decide that they go into ([`into`]).
pub fn needs(Origin { view, actor, .. }: Origin<'_>, what: &What) -> (Requirement, Option<Refusal>) {
    let mut requirement = Requirement::default();
    let refusal = match what {
        What::Users | What::Of(Of::Cluster) => {
            requirement.privilege(ObjectId::CLUSTER, Privilege::Restore);
            Some(may_not_restore_cluster())
        }
        What::Of(Of::Databases(_)) => {
            match holds(view, actor.current, ObjectId::CLUSTER, Privilege::Restore) {
                true => requirement.privilege(ObjectId::CLUSTER, Privilege::Restore),
                // What was enough before there was such a privilege.
                false => requirement.need(Need::Option(RoleOption::CreateDb)),
            }
            Some(may_not_restore_databases())
        }
        What::Of(Of::Tables(_)) => None,
    };
    (requirement, refusal)
}

/// What bringing something into these databases needs.
pub fn into(databases: &[ObjectId]) -> Requirement {
    let mut requirement = Requirement::default();
    databases.iter().for_each(|id| requirement.privilege(*id, Privilege::Restore));
    requirement
}

/// Texts of a backup are planned as CREATE plans them.
pub struct AsCreated;

impl Texts for AsCreated {
    fn plan(&self, published: &View, actor: Actor, things: Vec<Shelved>) -> Result<Vec<Shelved>, Refusal> {
        // Texts of the catalog have all names in full.
        let context = NameContext { database: None, search_path: Vec::new() };
        let origin = Origin { view: published, actor, context: &context };
        let again = |thing| match thing {
            Shelved::Object { id, object, is_made } => {
                let body = body(origin, &object).map_err(|error| {
                    shelf_malformed(format_args!("{}: {}", object.name, error.body.message))
                })?;
                let object = match body {
                    Some(body) => Arc::new(Object { body, ..Object::clone(&object) }),
                    None => object,
                };
                Ok(Shelved::Object { id, object, is_made })
            }
            other => Ok(other),
        };
        things.into_iter().map(again).collect()
    }
}

/// The body with its texts planned; none: it has no texts.
fn body(origin: Origin<'_>, object: &Object) -> Result<Option<Body>, SqlError> {
    Ok(match &object.body {
        Body::Table(found) => Some(Body::Table(Arc::new(table(origin, &object.name, found)?))),
        Body::View(found) => Some(Body::View(query(origin, found)?)),
        Body::Function(found) => {
            let mut function = Function { body: String::new(), references: Vec::new(), ..found.clone() };
            Planner::new(origin, &[]).set_body(&object.name, &mut function, &found.body)?;
            Some(Body::Function(function))
        }
        Body::Database
        | Body::Schema
        | Body::Sequence(_)
        | Body::Type(_)
        | Body::ExternalConnection(_)
        | Body::VirtualTable
        | Body::IamRole => None,
    })
}

fn table(origin: Origin<'_>, name: &Name, found: &Table) -> Result<Table, SqlError> {
    let bare = |column: &Column| Column { default: None, computed: None, ..column.clone() };
    let mut shape = Shape::new(origin, name.clone(), found.columns.iter().map(bare).collect());
    let computed: Vec<u16> =
        (0..).zip(&found.columns).filter(|(_, column)| column.computed.is_some()).map(|(at, _)| at).collect();
    let mut table = found.clone();
    for (at, column) in (0..).zip(&mut table.columns) {
        if let Some(default) = &mut column.default {
            *default = shape.default_of(&default.sql, &column.name, column.column_type)?;
        }
        if let Some(from) = &mut column.computed {
            *from = shape.computed(&from.sql, at, computed.iter().copied())?;
        }
    }
    for check in &mut table.checks {
        check.expression = shape.check(&check.expression.sql)?;
    }
    for index in &mut table.indexes {
        for key in &mut index.keys {
            if let KeyPart::Expression(expression) = &mut key.part {
                *expression = shape.key(&expression.sql)?;
            }
        }
        if let Some(predicate) = &mut index.predicate {
            *predicate = shape.predicate_of(&predicate.sql)?;
        }
    }
    Ok(table)
}

fn query(origin: Origin<'_>, found: &Query) -> Result<Query, SqlError> {
    let names: Vec<_> = found.columns.iter().map(|column| column.name.clone()).collect();
    let (view, _) = stored_view(origin, &found.query, &names)?;
    match view.columns.len() == names.len() {
        true => Ok(view),
        false => Err(SqlError::internal("its query has other columns than it")),
    }
}

#[cfg(test)]
mod tests {
    use grantd_catalog::command::Outcome;
    use grantd_catalog::id::{PrincipalId, Timestamp, Version};
    use grantd_catalog::object::Expression;
    use grantd_catalog::state::State;

    use super::*;
    use crate::sql::parse::table::TableStatement;
    use crate::sql::parse::{self, Statement};
    use crate::sql::plan;

    const ACTOR: Actor = Actor::of(PrincipalId::ROOT);

    /// A catalog after these statements of root.
    fn catalog(setup: &str) -> View {
        let mut state = State::bootstrap();
        let search_path = vec![Name::normalize("public")];
        let context = NameContext { database: Some(Name::normalize("defaultdb")), search_path };
        for (at, (text, statement)) in parse::parse_all(setup).unwrap().into_iter().enumerate() {
            let version = Version(at as u64 + 2);
            let view = View::build(version, state.clone());
            let origin = Origin { view: &view, actor: ACTOR, context: &context };
            let command = match statement {
                Statement::Table(table) => match *table {
                    TableStatement::Create(table) => plan::table::create(origin, &table).unwrap(),
                    TableStatement::CreateIndex(index) => plan::alter::index(origin, &index).unwrap(),
                    _ => panic!("{text}"),
                },
                Statement::CreateView(view) => plan::object::view(origin, &view).unwrap().0,
                Statement::CreateFunction(function) => plan::object::function(origin, &function).unwrap().0,
                Statement::Command(command, _) => command,
                _ => panic!("{text}"),
            };
            let done = state.apply(version, Timestamp::default(), ACTOR, &context, &command, &mut Vec::new());
            assert!(matches!(done, Outcome::Done(_)), "{text}: {done:?}");
        }
        View::build(Version(100), state)
    }

    fn everything() -> View {
        catalog(
            "CREATE TYPE mood AS ENUM ('low', 'high');
            CREATE SEQUENCE s;
            CREATE TABLE t (k INT PRIMARY KEY, name TEXT DEFAULT 'it''s', n INT DEFAULT nextval('s'), m mood DEFAULT 'high',
                p DECIMAL(10,2) CHECK (p >= 0), twice DECIMAL AS (p * 2) STORED, at TIMESTAMPTZ DEFAULT now(),
                r INT DEFAULT unique_rowid(), CONSTRAINT c CHECK (k > 0 OR name LIKE 'a%'));
            CREATE INDEX lower ON t (lower(name), k DESC) WHERE p < 10 AND m = 'low';
            CREATE VIEW v AS SELECT * FROM t WHERE m = 'low';
            CREATE VIEW w AS SELECT v.k + 1 AS one, 'defaultdb.public.t' AS x FROM v;
            CREATE FUNCTION plus(a INT, INT) RETURNS INT LANGUAGE SQL AS 'SELECT a + $2 + max(k) FROM t'",
        )
    }

    fn things(view: &View) -> Vec<Shelved> {
        let ours =
            view.state().objects().filter(|(id, _)| *id >= ObjectId::FIRST_ORDINARY && !id.is_virtual());
        ours.map(|(id, object)| Shelved::Object { id, object: Arc::new(object.clone()), is_made: false })
            .collect()
    }

    /// What a statement makes of a text is what it makes of its own result: so an honest backup comes back as it was.
    #[test]
    fn texts_that_were_planned_once_are_planned_to_the_same() {
        let view = everything();
        let found = things(&view);
        assert!(found.len() == 6, "{found:?}");
        assert_eq!(AsCreated.plan(&view, ACTOR, found.clone()).unwrap(), found);
    }

    #[test]
    fn what_a_backup_says_for_the_row_store_is_never_used() {
        let view = everything();
        let honest = things(&view);
        let mut hostile = honest.clone();
        for thing in &mut hostile {
            let Shelved::Object { object, .. } = thing else { continue };
            match &mut Arc::make_mut(object).body {
                Body::Table(table) => {
                    for Expression { stored, references, .. } in Arc::make_mut(table).expressions_mut() {
                        *stored = "1); DROP TABLE t104; --".to_owned();
                        references.clear();
                    }
                }
                Body::View(view) => view.references.clear(),
                Body::Function(function) => function.references.clear(),
                _ => {}
            }
        }
        assert_ne!(hostile, honest);
        assert_eq!(AsCreated.plan(&view, ACTOR, hostile).unwrap(), honest);
    }

    /// Sh4 of the catalog lets a view name nothing that was there before: what it names is found out here.
    #[test]
    fn a_view_is_said_to_name_what_its_text_names() {
        let view = catalog(
            "CREATE TABLE secret (k INT); CREATE TABLE mine (k INT); CREATE VIEW v AS SELECT k FROM mine",
        );
        let secret = view.state().relation_called(["defaultdb", "public", "secret"]).unwrap();
        let mut hostile = things(&view);
        hostile.retain(
            |thing| matches!(thing, Shelved::Object { object, .. } if matches!(object.body, Body::View(_))),
        );
        let Some(Shelved::Object { object, .. }) = hostile.first_mut() else { panic!() };
        let Body::View(found) = &mut Arc::make_mut(object).body else { panic!() };
        found.query = "SELECT k FROM defaultdb.public.secret".to_owned();
        let planned = AsCreated.plan(&view, ACTOR, hostile.clone()).unwrap();
        let Some(Shelved::Object { object, .. }) = planned.first() else { panic!() };
        assert!(matches!(&object.body, Body::View(found) if found.references == [secret]));

        for text in [
            "DELETE FROM defaultdb.public.mine",
            "SELECT 1; SELECT 2",
            "SELECT nextval('x')",
            "SELECT $1",
            "",
        ] {
            let Some(Shelved::Object { object, .. }) = hostile.first_mut() else { panic!() };
            let Body::View(found) = &mut Arc::make_mut(object).body else { panic!() };
            found.query = text.to_owned();
            let refused = AsCreated.plan(&view, ACTOR, hostile.clone()).unwrap_err();
            assert!(refused.message.starts_with("the backup cannot be restored: v: "), "{text}: {refused:?}");
        }
    }
}
