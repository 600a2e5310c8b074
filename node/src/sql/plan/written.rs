//! The text of a view or function as it is stored: every name in full, `*` as the columns that it stood for, so that it
//! means the same whoever reads it, wherever.
//!
//! The planner says what each name of a text means while it plans it; what it says replaces the name. Places are those
//! of the text that was parsed, so a text is printed and parsed again before it is planned to be stored.

use std::collections::{BTreeMap, BTreeSet};

use grantd_catalog::id::ObjectId;
use grantd_catalog::name::Name;
use grantd_catalog::state::State;
use sqlparser::ast::{self, Spanned};
use sqlparser::tokenizer::{Location, Span};

use super::Planner;
use crate::error::SqlError;
use crate::sql::parse::name_of;

/// What is collected.
#[derive(Debug, Default)]
pub(super) struct Written {
    /// From where, up to where, and what stands there instead.
    replaced: BTreeMap<Location, (Location, String)>,
    /// What the text names.
    pub(super) references: BTreeSet<ObjectId>,
    /// A column that gets another name.
    pub(super) renamed: Option<(Name, Name)>,
}

impl Written {
    /// `text` with all that was collected. Cost: linear.
    pub(super) fn apply(&self, text: &str) -> String {
        let mut out = String::with_capacity(text.len());
        let mut at = Location { line: 1, column: 1 };
        let mut skipped_to = at;
        for char in text.chars() {
            if at >= skipped_to
                && let Some((end, instead)) = self.replaced.get(&at)
            {
                out.push_str(instead);
                skipped_to = *end;
            }
            if at >= skipped_to {
                out.push(char);
            }
            at = match char {
                '\n' => Location { line: at.line + 1, column: 1 },
                _ => Location { column: at.column + 1, ..at },
            };
        }
        out
    }
}

impl Planner<'_> {
    /// At `span`, what is written means this object.
    pub(super) fn write_name(&mut self, span: Span, id: ObjectId) {
        let state = self.origin.view.state();
        if let Some(written) = &mut self.written {
            written.references.insert(id);
            written.replaced.insert(span.start, (span.end, full_name(state, id)));
        }
    }

    /// The same where the name is in a string.
    pub(super) fn write_string(&mut self, span: Span, id: ObjectId) {
        let state = self.origin.view.state();
        if let Some(written) = &mut self.written {
            written.references.insert(id);
            let quoted = full_name(state, id).replace('\'', "''");
            written.replaced.insert(span.start, (span.end, format!("'{quoted}'")));
        }
    }

    /// Here a column is named.
    pub(super) fn write_column(&mut self, ident: &ast::Ident) {
        if let Some(Written { replaced, renamed: Some((column, to)), .. }) = &mut self.written
            && name_of(ident) == *column
        {
            replaced.insert(ident.span.start, (ident.span.end, quoted(to)));
        }
    }

    /// At `span`, what is written stands for these columns.
    pub(super) fn write_columns(&mut self, span: Span, columns: &[String]) {
        if let Some(written) = &mut self.written {
            written.replaced.insert(span.start, (span.end, columns.join(", ")));
        }
    }

    /// Plans `text`, which `parse` reads, and gives back the text to store with what was made of it.
    pub(super) fn plan_stored<S, T>(
        &mut self,
        text: &str,
        parse: impl FnOnce(&str) -> Result<S, SqlError>,
        plan: impl FnOnce(&mut Self, &S) -> Result<T, SqlError>,
    ) -> Result<(String, Written, T), SqlError> {
        let parsed = parse(text)?;
        let before = self.written.replace(Written::default());
        let planned = plan(self, &parsed);
        let written = std::mem::replace(&mut self.written, before).unwrap_or_default();
        Ok((written.apply(text), written, planned?))
    }
}

/// Where a name stands.
pub(super) fn span(name: &ast::ObjectName) -> Span {
    name.span()
}

/// A name in quotes where it needs them.
pub(super) fn quoted(name: &Name) -> String {
    let text = name.as_str();
    let mut bytes = text.bytes();
    let plain = bytes.next().is_some_and(|first| first.is_ascii_lowercase() || first == b'_')
        && bytes.all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_');
    let word = text.to_ascii_uppercase();
    let keyword = sqlparser::keywords::ALL_KEYWORDS.binary_search(&word.as_str()).is_ok();
    match plain && !keyword {
        true => text.to_owned(),
        false => format!("\"{}\"", text.replace('"', "\"\"")),
    }
}

/// `d.s.t`, each part in quotes where it needs them.
fn full_name(state: &State, id: ObjectId) -> String {
    let mut parts = Vec::with_capacity(3);
    let mut at = state.object(id);
    while let Some(object) = at {
        parts.push(quoted(&object.name));
        at = state.object(object.parent);
    }
    parts.reverse();
    parts.join(".")
}
