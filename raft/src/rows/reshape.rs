//! A table gets another shape.
//!
//! Columns are renamed, indexes made and dropped, and columns that are NULL added at the end as SQLite does it, without a look
//! at the rows. Everything else makes the table anew: a second one, filled from the first in the order of its key, takes its
//! place and its name. References of other tables are by name and so are to the new one.

use grantd_catalog::command::ColumnSource;
use grantd_catalog::name::Name;
use grantd_catalog::object::{Column, ColumnType, ForeignKey, Table};
use grantd_catalog::refusal;
use rusqlite::ffi;

use crate::rows::ddl::{Shape, define_column, quote, table_name};
use crate::rows::step::{Alteration, StepError};
use crate::rows::{RowsError, Store};

/// What stands behind the name of a table while it is made anew. No object's table has it.
const NEW: &str = ":new";

pub(super) fn perform(store: &mut Store, alteration: &Alteration) -> Result<(), StepError> {
    let Alteration { before, after, .. } = alteration;
    store.forget_shape(&after.name());
    rename_columns(store, alteration)?;
    if is_same_table(alteration) {
        change_indexes(store, alteration)?;
    } else if let Some(added) = added_at_the_end(alteration) {
        for column in added {
            let mut definition = String::new();
            define_column(&mut definition, column);
            let sql = format!("ALTER TABLE {} ADD COLUMN {definition}", quote(&after.name()));
            store.run(&sql).map_err(StepError::of_table)?;
        }
        change_indexes(store, alteration)?;
    } else {
        make_anew(store, alteration)?;
    }
    let has = |key: &ForeignKey| before.table.foreign_keys.iter().any(|there| there.name == key.name);
    for (key, target) in after.table.foreign_keys.iter().zip(&after.targets) {
        if !has(key) {
            check_foreign_key(store, alteration, key, target)?;
        }
    }
    Ok(())
}

/// Whether the table is made anew: see [`perform`].
pub(super) fn rewrites(alteration: &Alteration) -> bool {
    !is_same_table(alteration) && added_at_the_end(alteration).is_none()
}

/// Gives the columns that stay their new names, in two rounds if one takes a name that another has. SQLite rewrites what
/// refers to them.
fn rename_columns(store: &mut Store, alteration: &Alteration) -> Result<(), StepError> {
    let Alteration { before, after, sources, .. } = alteration;
    let renamed: Vec<(&Name, &Name)> = sources
        .iter()
        .zip(&after.table.columns)
        .filter_map(|(source, column)| match source {
            ColumnSource::Kept(at) => Some((&before.column(*at).name, &column.name)),
            ColumnSource::Value(_) => None,
        })
        .filter(|(from, to)| from != to)
        .collect();
    let taken = |name: &Name| {
        let name = name.as_str().to_lowercase();
        before.table.columns.iter().any(|column| column.name.as_str().to_lowercase() == name)
    };
    let rename = |from: &str, to: &str| {
        let table = quote(&after.name());
        let sql = format!("ALTER TABLE {table} RENAME COLUMN {} TO {}", quote(from), quote(to));
        store.run(&sql).map_err(StepError::of_table)
    };
    if renamed.iter().any(|(_, to)| taken(to)) {
        for (from, to) in &renamed {
            rename(from.as_str(), &format!("{to}{NEW}"))?;
        }
        return renamed.iter().try_for_each(|(_, to)| rename(&format!("{to}{NEW}"), to.as_str()));
    }
    renamed.iter().try_for_each(|(from, to)| rename(from.as_str(), to.as_str()))
}

/// Whether nothing is different but names of columns that no constraint of the row store repeats, what only the catalog
/// knows, and indexes.
fn is_same_table(alteration: &Alteration) -> bool {
    let Alteration { before, after, sources, .. } = alteration;
    let (old, new) = (&before.table, &after.table);
    old.columns.len() == new.columns.len()
        && old.primary_key == new.primary_key
        && has_same_constraints(before, after)
        && (0..).zip(sources).all(|(at, source)| *source == ColumnSource::Kept(at))
        && old.columns.iter().zip(&new.columns).all(|(old, new)| is_same_column(old, new))
}

/// A column that was renamed cannot have got another expression, but for the names in it, which SQLite has rewritten.
fn is_same_column(old: &Column, new: &Column) -> bool {
    old.column_type == new.column_type
        && old.nullable == new.nullable
        && old.default.as_ref().map(|default| &default.stored) == new.default.as_ref().map(|new| &new.stored)
        && old.computed.is_some() == new.computed.is_some()
        && (old.name == new.name || !has_named_check(new.column_type))
}

/// Whether a constraint of the row store has the column's name in its own.
fn has_named_check(column_type: ColumnType) -> bool {
    let mut definition = String::new();
    let column = Column {
        name: Name::from("c"),
        column_type,
        nullable: true,
        default: None,
        hidden: false,
        comment: None,
        computed: None,
        identity: None,
    };
    define_column(&mut definition, &column);
    definition.contains("CONSTRAINT")
}

/// CHECK constraints never change but for the names in them, and are told apart by their own.
fn has_same_constraints(before: &Shape, after: &Shape) -> bool {
    let checks = |table: &Table| table.checks.iter().map(|check| check.name.clone()).collect::<Vec<_>>();
    let keys = |table: &Table| {
        let nameless = |key: &ForeignKey| ForeignKey { name: Name::from(""), ..key.clone() };
        table.foreign_keys.iter().map(nameless).collect::<Vec<_>>()
    };
    checks(&before.table) == checks(&after.table) && keys(&before.table) == keys(&after.table)
}

/// The columns that are new, if all that is different, indexes apart, is that there are more at the end, NULL in every row.
fn added_at_the_end(alteration: &Alteration) -> Option<&[Column]> {
    let Alteration { before, after, sources, .. } = alteration;
    let (old, new) = (&before.table, &after.table);
    let count = old.columns.len();
    let (stay, added) = new.columns.split_at_checked(count)?;
    let (kept, filled) = sources.split_at_checked(count)?;
    let plain = |column: &Column| column.nullable && column.default.is_none() && column.computed.is_none();
    let same = old.primary_key == new.primary_key
        && has_same_constraints(before, after)
        && (0..).zip(kept).all(|(at, source)| *source == ColumnSource::Kept(at))
        && old.columns.iter().zip(stay).all(|(old, new)| is_same_column(old, new));
    let null = filled.iter().all(|source| *source == ColumnSource::Value("NULL".to_owned()));
    (same && null && added.iter().all(plain)).then_some(added)
}

fn change_indexes(store: &mut Store, alteration: &Alteration) -> Result<(), StepError> {
    let (before, after) = (alteration.before.indexes(), alteration.after.indexes());
    for gone in before.keys().filter(|name| !after.contains_key(*name)) {
        store.run(&format!("DROP INDEX {}", quote(gone)))?;
    }
    let made = after.iter().filter(|(name, _)| !before.contains_key(*name));
    made.into_iter().try_for_each(|(_, index)| make_index(store, &index.name, &index.sql))
}

fn make_index(store: &mut Store, name: &Name, sql: &str) -> Result<(), StepError> {
    store.run(sql).map_err(|error| match error.code {
        ffi::SQLITE_CONSTRAINT_UNIQUE => StepError::Refused(refusal::rows_not_unique(name)),
        _ => StepError::of_table(error),
    })
}

fn make_anew(store: &mut Store, alteration: &Alteration) -> Result<(), StepError> {
    let Alteration { before, after, sources, .. } = alteration;
    let name = after.name();
    let made = format!("{name}{NEW}");
    store.run(&after.create_as(&made)).map_err(StepError::of_table)?;
    let (mut columns, mut values) = (Vec::new(), Vec::new());
    for (column, source) in after.table.columns.iter().zip(sources) {
        // SQLite computes those itself.
        if column.computed.is_some() {
            continue;
        }
        columns.push(quote(column.name.as_str()));
        values.push(match source {
            // It has its new name already.
            ColumnSource::Kept(_) => quote(column.name.as_str()),
            ColumnSource::Value(text) => format!("({text})"),
        });
    }
    let (columns, values) = (columns.join(", "), values.join(", "));
    let from = quote(&name);
    let order = old_key(before, sources, after);
    let copy =
        format!("INSERT INTO {} ({columns}) SELECT {values} FROM {from} ORDER BY {order}", quote(&made));
    store.run(&copy).map_err(|error| explain(alteration, &made, error))?;
    store.run(&format!("DROP TABLE {from}"))?;
    store.run(&format!("ALTER TABLE {} RENAME TO {from}", quote(&made)))?;
    after.indexes().values().try_for_each(|index| make_index(store, &index.name, &index.sql))
}

/// The old key, in the names that its columns have by now.
fn old_key(before: &Shape, sources: &[ColumnSource], after: &Shape) -> String {
    let name = |at: &u16| {
        let kept = sources.iter().position(|source| *source == ColumnSource::Kept(*at));
        let column = kept.and_then(|now| after.table.columns.get(now)).unwrap_or_else(|| before.column(*at));
        quote(column.name.as_str())
    };
    before.table.primary_key.iter().map(name).collect::<Vec<_>>().join(", ")
}

/// What the client is told when its rows do not fit: SQLite names what they violate.
fn explain(alteration: &Alteration, made: &str, error: RowsError) -> StepError {
    let Alteration { name, after, .. } = alteration;
    let subject = error.message.split_once("failed: ").map_or("", |(_, subject)| subject);
    let column = || Name::from(subject.strip_prefix(&format!("{made}.")).unwrap_or(subject));
    StepError::Refused(match error.code {
        ffi::SQLITE_CONSTRAINT_NOTNULL => refusal::rows_have_null(&column(), name),
        ffi::SQLITE_CONSTRAINT_UNIQUE | ffi::SQLITE_CONSTRAINT_PRIMARYKEY => {
            refusal::rows_not_unique(&after.table.key_name)
        }
        ffi::SQLITE_CONSTRAINT_CHECK => match subject.strip_prefix("check:") {
            Some(check) => refusal::rows_fail_check(&Name::from(check), name),
            None => refusal::rows_do_not_fit(name, subject),
        },
        ffi::SQLITE_CONSTRAINT_DATATYPE => refusal::rows_do_not_fit(name, &error.message),
        _ => return StepError::of_table(error),
    })
}

/// That each row that has all columns of a new foreign key refers to one that there is.
fn check_foreign_key(
    store: &Store,
    alteration: &Alteration,
    key: &ForeignKey,
    target: &[Name],
) -> Result<(), StepError> {
    let after = &alteration.after;
    let here: Vec<_> = key.columns.iter().map(|at| quote(after.column(*at).name.as_str())).collect();
    let there: Vec<_> = target.iter().map(|name| quote(name.as_str())).collect();
    let has_all: Vec<_> = here.iter().map(|column| format!("c.{column} IS NOT NULL")).collect();
    // The column that is referred to comes first: its collation compares.
    let meets: Vec<_> =
        here.iter().zip(&there).map(|(here, there)| format!("p.{there} = c.{here}")).collect();
    let lost = store.has_row(&format!(
        "SELECT 1 FROM {} AS c WHERE {} AND NOT EXISTS (SELECT 1 FROM {} AS p WHERE {})",
        quote(&after.name()),
        has_all.join(" AND "),
        quote(&table_name(key.target)),
        meets.join(" AND ")
    ))?;
    match lost {
        true => Err(StepError::Refused(refusal::rows_lack_target(&key.name, &alteration.name))),
        false => Ok(()),
    }
}
