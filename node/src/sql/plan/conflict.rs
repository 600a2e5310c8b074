//! ON CONFLICT and UPSERT.
//!
//! SQLite changes a row as often as it is proposed; PostgreSQL refuses to change it a second time. So where several rows
//! come, a function counts the keys as they come, and refuses the second.

use grantd_catalog::name::Name;
use grantd_catalog::object::Table;
use grantd_catalog::privilege::Privilege;
use sqlparser::ast;

use super::dml::{Target, position};
use super::from::table_scope;
use super::update::set_clause;
use super::{Planner, no_column};
use crate::error::{SqlError, state};
use crate::sql::parse::name_of;
use crate::sql::translate::{Typed, order, quote};
use crate::value::SqlType;

/// What an INSERT does with a row whose key exists.
pub(super) enum Action<'s> {
    Insert,
    Nothing(Option<&'s ast::ConflictTarget>),
    Update {
        target: Option<&'s ast::ConflictTarget>,
        set: &'s [ast::Assignment],
        filter: Option<&'s ast::Expr>,
    },
    Upsert,
}

/// What becomes of it.
#[derive(Default)]
pub(super) struct Conflict {
    /// ` ON CONFLICT …`, or nothing.
    pub(super) sql: String,
    /// The test that refuses a key that comes a second time.
    pub(super) once: Option<String>,
}

impl<'s> Action<'s> {
    pub(super) fn of(insert: &'s ast::Insert, upsert: bool) -> Result<Self, SqlError> {
        match (&insert.on, upsert) {
            (None, false) => Ok(Self::Insert),
            (None, true) => Ok(Self::Upsert),
            (Some(_), true) => Err(SqlError::syntax("UPSERT takes no ON CONFLICT")),
            (Some(ast::OnInsert::OnConflict(conflict)), false) => {
                let target = conflict.conflict_target.as_ref();
                match &conflict.action {
                    ast::OnConflictAction::DoNothing => Ok(Self::Nothing(target)),
                    ast::OnConflictAction::DoUpdate(update) => {
                        let ast::DoUpdate { assignments, selection } = update;
                        Ok(Self::Update { target, set: assignments, filter: selection.as_ref() })
                    }
                }
            }
            (Some(_), false) => Err(SqlError::unsupported("ON DUPLICATE KEY UPDATE")),
        }
    }

    /// What it needs, in the order of the original's checks.
    pub(super) fn privileges(&self, returns: bool) -> &'static [Privilege] {
        match self {
            Self::Insert if !returns => &[Privilege::Insert],
            Self::Insert | Self::Nothing(_) => &[Privilege::Insert, Privilege::Select],
            Self::Update { .. } | Self::Upsert => &[Privilege::Insert, Privilege::Select, Privilege::Update],
        }
    }
}

impl Planner<'_> {
    /// `rows`: how many are proposed, if that is known.
    pub(super) fn conflict(
        &mut self,
        action: &Action<'_>,
        into: &Target<'_>,
        (insert, targets): (&ast::Insert, &[usize]),
        rows: Option<usize>,
    ) -> Result<Conflict, SqlError> {
        let several = rows != Some(1);
        match action {
            Action::Insert => Ok(Conflict::default()),
            Action::Nothing(None) => Ok(Conflict { sql: " ON CONFLICT DO NOTHING".to_owned(), once: None }),
            Action::Nothing(Some(target)) => {
                let key = key_of(target, into)?;
                Ok(Conflict {
                    sql: format!(" ON CONFLICT {} DO NOTHING", listed(&key, into.table)),
                    once: None,
                })
            }
            Action::Update { target: None, .. } => Err(SqlError::syntax(
                "ON CONFLICT DO UPDATE requires inference specification or constraint name",
            )),
            Action::Update { target: Some(target), set, filter } => {
                let key = key_of(target, into)?;
                self.conflict_update(&key, into, (set, *filter), several)
            }
            Action::Upsert => {
                let key: Vec<_> = into.table.primary_key.iter().map(|at| usize::from(*at)).collect();
                let sql = upsert(&key, into.table, insert, targets);
                Ok(Conflict { sql, once: several.then(|| once(&key, into.table, false)) })
            }
        }
    }

    fn conflict_update(
        &mut self,
        key: &[usize],
        into: &Target<'_>,
        (assignments, filter): (&[ast::Assignment], Option<&ast::Expr>),
        several: bool,
    ) -> Result<Conflict, SqlError> {
        if several {
            for assignment in assignments {
                keeps_key(assignment, key, into.table)?;
            }
        }
        let mut scope = into.scope.clone();
        scope.add(table_scope(into.table, "excluded", Name::normalize("excluded")))?;
        let (planned, reads) = self.reading(|planner| {
            let set = set_clause(&planner.assignments(assignments, into.table, &scope)?, into.table);
            Ok::<_, SqlError>((set, planner.filter(filter, &scope)?))
        });
        let (set, test) = planned?;
        if several && reads.contains(&into.id) {
            return Err(SqlError::unsupported(
                "a subquery on the table itself in ON CONFLICT DO UPDATE of more than one row",
            ));
        }
        let sql = format!(" ON CONFLICT {} DO UPDATE SET {set}{test}", listed(key, into.table));
        Ok(Conflict { sql, once: several.then(|| once(key, into.table, filter.is_some())) })
    }
}

/// Refuses to change the key by which the rows that come are told apart, unless it becomes what it is.
fn keeps_key(assignment: &ast::Assignment, key: &[usize], table: &Table) -> Result<(), SqlError> {
    let names = match &assignment.target {
        ast::AssignmentTarget::ColumnName(name) => std::slice::from_ref(name),
        ast::AssignmentTarget::Tuple(names) => names,
    };
    for name in names {
        let at = position(table, name)?;
        let stays = matches!(&assignment.value, ast::Expr::CompoundIdentifier(parts)
            if matches!(parts.as_slice(), [qualifier, column]
                if name_of(qualifier).as_str() == "excluded" && name_of(column) == table.columns[at].name));
        if key.contains(&at) && !(stays && names.len() == 1) {
            return Err(SqlError::unsupported(
                "ON CONFLICT DO UPDATE of more than one row that changes their key",
            )
            .with_hint("Send one row a statement."));
        }
    }
    Ok(())
}

/// The test that a key comes for the first time.
fn once(key: &[usize], table: &Table, filtered: bool) -> String {
    let column = |at: &usize| {
        let sql_type = SqlType::of_column(table.columns[*at].column_type);
        order::key(&Typed::computed(format!("k{}", at + 1), sql_type))
    };
    let columns: Vec<_> = key.iter().map(column).collect();
    format!("g_proposed({}, {})", u8::from(filtered), columns.join(", "))
}

fn upsert(key: &[usize], table: &Table, insert: &ast::Insert, targets: &[usize]) -> String {
    let all = insert.columns.is_empty();
    let set: Vec<_> = (0..table.columns.len())
        .filter(|at| !key.contains(at) && (targets.contains(at) || all))
        .filter(|at| table.columns[*at].computed.is_none())
        .map(|at| quote(table.columns[at].name.as_str()))
        .map(|name| format!("{name} = excluded.{name}"))
        .collect();
    // A table of nothing but its key: the row is there already, and stays.
    let set = match set.is_empty() {
        true => key
            .iter()
            .map(|at| quote(table.columns[*at].name.as_str()))
            .map(|name| format!("{name} = excluded.{name}"))
            .collect(),
        false => set,
    };
    format!(" ON CONFLICT {} DO UPDATE SET {}", listed(key, table), set.join(", "))
}

/// `("a", "b")`.
fn listed(key: &[usize], table: &Table) -> String {
    let names: Vec<_> = key.iter().map(|at| quote(table.columns[*at].name.as_str())).collect();
    format!("({})", names.join(", "))
}

/// The columns of the key that is meant.
fn key_of(target: &ast::ConflictTarget, into: &Target<'_>) -> Result<Vec<usize>, SqlError> {
    let table = into.table;
    let whole = |columns: &[u16]| columns.iter().map(|at| usize::from(*at)).collect::<Vec<_>>();
    let columns = match target {
        ast::ConflictTarget::OnConstraint(name) => {
            let parts = super::object_name(name)?.parts;
            let [constraint] = parts.as_slice() else {
                return Err(SqlError::syntax("a constraint has a plain name"));
            };
            if *constraint == table.key_name {
                return Ok(whole(&table.primary_key));
            }
            let unique = table.unique.iter().find(|unique| unique.name == *constraint);
            return unique.map(|unique| whole(&unique.columns)).ok_or_else(|| {
                SqlError::new(
                    grantd_catalog::refusal::state::UNDEFINED_OBJECT,
                    format!("constraint \"{constraint}\" for table \"{}\" does not exist", into.name),
                )
            });
        }
        ast::ConflictTarget::Columns(columns) => columns,
    };
    let mut positions = Vec::with_capacity(columns.len());
    for column in columns {
        let name = name_of(column);
        let at = table.columns.iter().position(|known| known.name == name);
        positions.push(at.ok_or_else(|| no_column(name.as_str()))?);
    }
    let is_key = |columns: &[u16]| {
        columns.len() == positions.len() && columns.iter().all(|at| positions.contains(&usize::from(*at)))
    };
    let by_index = table
        .indexes
        .iter()
        .filter(|index| index.unique && index.predicate.is_none())
        .any(|index| index.columns().is_some_and(|columns| is_key(&columns)));
    if !is_key(&table.primary_key) && !table.unique.iter().any(|unique| is_key(&unique.columns)) && !by_index
    {
        return Err(SqlError::new(
            state::INVALID_COLUMN_REFERENCE,
            "there is no unique or exclusion constraint matching the ON CONFLICT specification",
        ));
    }
    Ok(positions)
}
