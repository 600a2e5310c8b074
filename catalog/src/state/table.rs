//! The shape of a new table: what the planner has seen to, and what the row store relies on, checked where it is kept.

use std::collections::BTreeSet;

use crate::name::Name;
use crate::object::{COLUMNS_MAX, Table};
use crate::refusal::{self, Refusal};

/// That `table` keeps what [`Table`] promises: columns within bounds, names unique without regard to case, and keys of
/// existing columns.
pub(super) fn check(table: &Table) -> Result<(), Refusal> {
    if table.columns.is_empty() {
        return Err(refusal::no_columns());
    }
    if table.columns.len() > COLUMNS_MAX {
        return Err(refusal::too_many_columns(table.columns.len(), COLUMNS_MAX));
    }
    check_column_names(table.columns.iter().map(|column| &column.name))?;
    let constraints =
        table.unique.iter().map(|unique| &unique.name).chain(table.checks.iter().map(|check| &check.name));
    let mut names = BTreeSet::new();
    for name in constraints {
        if !names.insert(name) {
            return Err(refusal::duplicate_constraint(name));
        }
    }
    let keys = std::iter::once(&table.primary_key).chain(table.unique.iter().map(|unique| &unique.columns));
    for key in keys {
        let known = key.iter().all(|position| usize::from(*position) < table.columns.len());
        let distinct = key.iter().collect::<BTreeSet<_>>().len() == key.len();
        if key.is_empty() || !known || !distinct {
            return Err(refusal::malformed_key());
        }
    }
    Ok(())
}

/// That no two columns have the same name but for case.
pub(super) fn check_column_names<'n>(names: impl Iterator<Item = &'n Name>) -> Result<(), Refusal> {
    let mut seen = BTreeSet::new();
    for name in names {
        if !seen.insert(name.as_str().to_lowercase()) {
            return Err(refusal::duplicate_column(name));
        }
    }
    Ok(())
}
