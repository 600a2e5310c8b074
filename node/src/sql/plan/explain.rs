//! EXPLAIN: how the row store goes about a statement, and what was checked before it may.

use std::collections::BTreeMap;

use grantd_catalog::require::{Need, Requirement};
use grantd_catalog::view::View;
use grantd_raft::rows::{RowSet, Value};

use super::{Plan, Step, table_id};
use crate::value::{ColumnInfo, SqlType};

impl Plan {
    /// The plan that shows this one. It needs the same, and does nothing.
    pub fn explained(self) -> Self {
        let columns = vec![ColumnInfo { name: "QUERY PLAN".to_owned(), sql_type: SqlType::Text }];
        Self {
            sql: format!("EXPLAIN QUERY PLAN {}", self.sql),
            before: self.before.into_iter().map(Step::explained).collect(),
            columns: Some(columns),
            explains: true,
            locks: false,
            tag: "EXPLAIN",
            source: None,
            ..self
        }
    }
}

impl Step {
    fn explained(self) -> Self {
        Self::plain(format!("EXPLAIN QUERY PLAN {}", self.sql))
    }
}

/// Rows of text: SQLite's trees (id, parent, unused, text), then a line for each need.
pub fn rows(
    trees: &[RowSet],
    names: &BTreeMap<String, String>,
    requirement: &Requirement,
    view: &View,
) -> RowSet {
    let mut lines = Vec::new();
    for tree in trees {
        let mut depths: BTreeMap<i64, usize> = BTreeMap::new();
        for row in &tree.rows {
            let [Value::Integer(id), Value::Integer(parent), _, Value::Text(text)] = row.as_slice() else {
                continue;
            };
            let depth = depths.get(parent).map_or(0, |depth| depth + 1);
            depths.insert(*id, depth);
            lines.push(format!("{}{}", "  ".repeat(depth), renamed(text, names, view)));
        }
    }
    lines.extend(requirement.needs.iter().map(|need| format!("requires {}", shown(need, view))));
    let rows = lines.into_iter().map(|line| vec![Value::Text(line)]).collect();
    RowSet { columns: vec!["k1".to_owned()], rows, ..RowSet::default() }
}

/// SQLite's text with the client's names.
fn renamed(text: &str, names: &BTreeMap<String, String>, view: &View) -> String {
    let word = |word: &str| {
        let table = || table_id(word).and_then(|id| view.state().object(id)).map(|o| o.name.to_string());
        names.get(word).cloned().or_else(table).unwrap_or_else(|| word.to_owned())
    };
    text.split(' ').map(word).collect::<Vec<_>>().join(" ")
}

fn shown(need: &Need, view: &View) -> String {
    let on = |id| match view.state().object(id) {
        Some(object) => format!("{} {}", object.kind().denied_word(), object.name),
        None => "the cluster".to_owned(),
    };
    match need {
        Need::Privilege { object, privilege } => format!("{privilege} on {}", on(*object)),
        Need::AnyPrivilege { object } => format!("any privilege on {}", on(*object)),
        Need::Ownership { object } => format!("ownership of {}", on(*object)),
        Need::Admin { action } => format!("the admin role, to {action}"),
        Need::Option(option) => format!("the role option {}", option.word()),
        Need::SystemOrOption(privilege) => format!("the system privilege {privilege}"),
        Need::AnyOf { object, privileges } => {
            let words: Vec<_> = privileges.iter().map(ToString::to_string).collect();
            format!("{} on {}", words.join(" or "), on(*object))
        }
        Need::Outside(access) => format!("what a URI of {} needs", access.provider),
        Need::Changefeed { tables, .. } => {
            let names: Vec<_> = tables.iter().map(|table| on(*table)).collect();
            format!("a changefeed of {}", names.join(", "))
        }
    }
}
