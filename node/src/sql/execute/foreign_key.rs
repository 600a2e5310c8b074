//! Which foreign key a statement violates: SQLite does not say.

use grantd_catalog::id::ObjectId;
use grantd_catalog::object::{Body, ForeignKey, Object, ReferentialAction, Table};
use grantd_catalog::view::View;
use grantd_raft::rows::{Transaction, Value};

use crate::error::{SqlError, state};
use crate::sql::plan::{Plan, Source, Step};
use crate::sql::system::foreign_key::referring;
use crate::sql::translate::{enums, function, quote};
use crate::value::{Datum, SqlType, text};

/// 23503, with the key that is not there, or still referred to. The rows are as they were before the statement. What was
/// decided for it covers the question: the values are those of its own rows.
pub(super) fn violated(
    (plan, step): (&Plan, &Step),
    view: &View,
    rows: &mut dyn Transaction,
    parameters: &[Value],
) -> SqlError {
    let catalog = view.state();
    let mut ask = |sql: &str| rows.run(sql, parameters).ok().and_then(|found| found.rows.into_iter().next());
    // To run a volatile text again would give other values.
    let usable =
        |source: &Option<Source>| source.clone().filter(|source| !function::is_volatile(&source.sql));
    let mut named = None;
    if let Some(source) = usable(&step.source)
        && let Some((object, table)) = described(view, source.table)
    {
        let source = computed(source, table);
        for key in &table.foreign_keys {
            let Some((parent, target)) = described(view, key.target) else { continue };
            let error = SqlError::new(
                state::FOREIGN_KEY_VIOLATION,
                format!(
                    "insert or update on table \"{}\" violates foreign key constraint \"{}\"",
                    object.name, key.name
                ),
            );
            if let Some(row) = ask(&missing(&source, (table, key), target)) {
                let shown = shown(table, &key.columns, row);
                return error.with_detail(format!("{shown} is not present in table \"{}\".", parent.name));
            }
            named = named.or(Some(error));
        }
    }
    let changed = plan.tables.iter().filter(|(_, usage)| usage.updates || usage.deletes || usage.truncates);
    for (id, usage) in changed {
        let id = *id;
        let Some((object, table)) = described(view, id) else { continue };
        let follows = |key: &ForeignKey| {
            let action = if usage.updates { key.on_update } else { key.on_delete };
            matches!(action, ReferentialAction::Cascade | ReferentialAction::SetNull)
        };
        for (child, key) in referring(catalog, id).filter(|(_, key)| !follows(key)) {
            let Some((from, referrer)) = described(view, child) else { continue };
            let error = SqlError::new(
                state::FOREIGN_KEY_VIOLATION,
                format!(
                    "update or delete on table \"{}\" violates foreign key constraint \"{}\" on table \"{}\"",
                    object.name, key.name, from.name
                ),
            );
            if let Some(gone) = usable(&step.gone).filter(|gone| gone.table == id)
                && let Some(row) = ask(&referred(&gone, (child, referrer), (table, key)))
            {
                let shown = shown(table, &key.target_columns, row);
                return error
                    .with_detail(format!("{shown} is still referenced from table \"{}\".", from.name));
            }
            named = named.or(Some(error));
        }
    }
    named.unwrap_or_else(|| {
        SqlError::new(state::FOREIGN_KEY_VIOLATION, "the statement violates a foreign key constraint")
    })
}

fn described(view: &View, id: ObjectId) -> Option<(&Object, &Table)> {
    let object = view.state().object(id)?;
    match &object.body {
        Body::Table(table) => Some((object, table)),
        _ => None,
    }
}

fn name(table: &Table, at: u16) -> String {
    quote(table.columns.get(usize::from(at)).map_or("", |column| column.name.as_str()))
}

/// The rows with what is computed of them.
fn computed(source: Source, table: &Table) -> Source {
    if table.columns.iter().all(|column| column.computed.is_none()) {
        return source;
    }
    let each = || (1..).zip(&table.columns);
    let given = each().filter(|(_, column)| column.computed.is_none());
    let given: Vec<_> =
        given.map(|(at, column)| format!("k{at} AS {}", quote(column.name.as_str()))).collect();
    let all: Vec<_> = each()
        .map(|(at, column): (usize, _)| match &column.computed {
            Some(computed) => format!("({}) AS k{at}", computed.stored),
            None => format!("{} AS k{at}", quote(column.name.as_str())),
        })
        .collect();
    let sql = format!("SELECT {} FROM (SELECT {} FROM ({}))", all.join(", "), given.join(", "), source.sql);
    Source { sql, ..source }
}

/// `q1.k1, q1.k2`, as they are shown.
fn listed(table: &Table, columns: &[u16]) -> String {
    let one = |at: &u16| {
        let sql = format!("q1.k{}", at + 1);
        match table.columns.get(usize::from(*at)).map(|column| SqlType::of_column(column.column_type)) {
            Some(SqlType::Enum(id)) => enums::output(&sql, id),
            _ => sql,
        }
    };
    columns.iter().map(one).collect::<Vec<_>>().join(", ")
}

/// A query of a row that refers to none: neither to one that is there nor to one that comes with it.
fn missing(source: &Source, (table, key): (&Table, &ForeignKey), target: &Table) -> String {
    let pairs = || key.columns.iter().zip(&key.target_columns);
    let present: Vec<_> = key.columns.iter().map(|at| format!("q1.k{} IS NOT NULL", at + 1)).collect();
    let same: Vec<_> =
        pairs().map(|(at, there)| format!("q2.{} = q1.k{}", name(target, *there), at + 1)).collect();
    let mut sql = format!(
        "SELECT {} FROM ({}) AS q1 WHERE {} AND NOT EXISTS (SELECT 1 FROM t{} AS q2 WHERE {})",
        listed(table, &key.columns),
        source.sql,
        present.join(" AND "),
        key.target,
        same.join(" AND ")
    );
    if key.target == source.table {
        let beside: Vec<_> =
            pairs().map(|(at, there)| format!("q3.k{} = q1.k{}", there + 1, at + 1)).collect();
        sql.push_str(&format!(
            " AND NOT EXISTS (SELECT 1 FROM ({}) AS q3 WHERE {})",
            source.sql,
            beside.join(" AND ")
        ));
    }
    sql.push_str(" LIMIT 1");
    sql
}

/// A query of a row that goes and is referred to.
fn referred(
    gone: &Source,
    (child, referrer): (ObjectId, &Table),
    (table, key): (&Table, &ForeignKey),
) -> String {
    let same: Vec<_> = key
        .columns
        .iter()
        .zip(&key.target_columns)
        .map(|(at, there)| format!("q2.{} = q1.k{}", name(referrer, *at), there + 1))
        .collect();
    format!(
        "SELECT {} FROM ({}) AS q1 WHERE EXISTS (SELECT 1 FROM t{child} AS q2 WHERE {}) LIMIT 1",
        listed(table, &key.target_columns),
        gone.sql,
        same.join(" AND ")
    )
}

/// `Key (a, b)=(1, 2)`.
fn shown(table: &Table, columns: &[u16], row: Vec<Value>) -> String {
    let columns: Vec<_> = columns.iter().filter_map(|at| table.columns.get(usize::from(*at))).collect();
    let names: Vec<_> = columns.iter().map(|column| column.name.to_string()).collect();
    let values = columns.iter().zip(row).map(|(column, value)| {
        let datum = Datum::from_row(value, SqlType::of_column(column.column_type)).ok();
        datum.as_ref().and_then(text::format).unwrap_or_default()
    });
    format!("Key ({})=({})", names.join(", "), values.collect::<Vec<_>>().join(", "))
}
