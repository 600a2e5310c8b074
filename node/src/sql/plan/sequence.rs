//! nextval(), setval(), currval(), lastval(). The sequence is written as a string or a `regclass`, and must be known when
//! the statement is planned: what it needs depends on it.

use grantd_catalog::id::ObjectId;
use grantd_catalog::object::{Body, Table};
use grantd_catalog::privilege::Privilege;
use grantd_catalog::require::Need;
use sqlparser::ast::{self, Expr};
use sqlparser::tokenizer::Span;

use super::expression::plain_argument;
use super::scope::Scope;
use super::{Planner, may_take};
use crate::error::{SqlError, state};
use crate::sql::parse;
use crate::sql::translate::Typed;
use crate::value::SqlType;

/// Whether it is one of these functions.
pub(super) fn is_of_sequences(name: &str) -> bool {
    matches!(name, "nextval" | "setval" | "currval" | "lastval")
}

impl Planner<'_> {
    pub(super) fn sequence_call(
        &mut self,
        name: &str,
        arguments: &[ast::FunctionArg],
        scope: &Scope<'_>,
    ) -> Result<Typed, SqlError> {
        let arguments: Vec<_> = arguments.iter().map(plain_argument).collect::<Result<_, _>>()?;
        let sql = match (name, arguments.as_slice()) {
            ("lastval", []) => "g_lastval()".to_owned(),
            ("currval", [sequence]) => format!("g_currval({})", self.sequence(sequence)?),
            ("nextval", [sequence]) => {
                self.changes_allowed(name)?;
                let id = self.sequence(sequence)?;
                self.takes_from(id);
                format!("g_nextval({id})")
            }
            ("setval", [sequence, value, rest @ ..]) if rest.len() < 2 => {
                self.changes_allowed(name)?;
                let id = self.sequence(sequence)?;
                self.need(Need::Privilege { object: id, privilege: Privilege::Update });
                self.sequences.entry(id).or_default().set = true;
                let value = self.typed(value, SqlType::Int8, "argument of setval()", scope)?;
                let is_called = match rest.first() {
                    Some(flag) => self.typed(flag, SqlType::Bool, "argument of setval()", scope)?,
                    None => "1".to_owned(),
                };
                format!("g_setval({id}, {value}, {is_called})")
            }
            _ => {
                return Err(SqlError::new(
                    state::UNDEFINED_FUNCTION,
                    format!("unknown signature: {name}() with {} arguments", arguments.len()),
                ));
            }
        };
        Ok(Typed::computed(sql, SqlType::Int8))
    }

    /// nextval() of this sequence.
    pub(super) fn takes_from(&mut self, id: ObjectId) {
        self.need(may_take(id));
        self.sequences.entry(id).or_default().next = true;
    }

    /// The sequences that the DEFAULT of a column takes values from.
    pub(super) fn takes_by_default(&mut self, table: &Table, default: &str) {
        for id in table.named() {
            if default.contains(&format!("g_nextval({id})")) {
                self.takes_from(id);
            }
        }
    }

    /// A view is only read.
    fn changes_allowed(&self, name: &str) -> Result<(), SqlError> {
        match self.inside.definer.is_some() || self.inside.reads_only {
            true => Err(SqlError::unsupported(format!("{name}() in a view"))),
            false => Ok(()),
        }
    }

    fn sequence(&mut self, argument: &Expr) -> Result<ObjectId, SqlError> {
        let (text, span) = literal(argument).ok_or_else(|| {
            SqlError::unsupported("a sequence that is not written as a string")
                .with_hint("Write it as in nextval('s').")
        })?;
        let (view, context) = (self.origin.view, self.origin.context);
        let name = super::object_name(&parse::parse_object_name(text)?)?;
        let is_sequence = |body: &Body| matches!(body, Body::Sequence(_));
        let id = view.state().resolve_relation_that(context, &name, "sequence", is_sequence)?;
        let object = self.object(id)?;
        self.mention(id, object)?;
        self.write_string(span, id);
        Ok(id)
    }
}

/// `'s'`, `'s'::regclass`, `regclass 's'`.
fn literal(argument: &Expr) -> Option<(&str, Span)> {
    let value = match argument {
        Expr::Nested(inner) => return literal(inner),
        Expr::Cast { expr, data_type: ast::DataType::Regclass, .. } => return literal(expr),
        Expr::Value(value) => value,
        Expr::TypedString(typed) if typed.data_type == ast::DataType::Regclass => &typed.value,
        _ => return None,
    };
    match &value.value {
        ast::Value::SingleQuotedString(text) => Some((text, value.span)),
        _ => None,
    }
}
