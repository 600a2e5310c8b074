//! Calls of the client's own functions. The body becomes a subquery with the arguments bound: whoever calls needs EXECUTE on
//! the function and everything that its body needs (authorization spec, A.5.1, T-12).

use grantd_catalog::command::ObjectName;
use grantd_catalog::id::ObjectId;
use grantd_catalog::object::{Body, Function};
use grantd_catalog::privilege::Privilege;
use grantd_catalog::require::Need;
use sqlparser::ast;

use super::contents::contents;
use super::query::Bound;
use super::scope::{Relation, Scope, ScopeColumn};
use super::{Expansion, Planner, written};
use crate::error::{SqlError, state};
use crate::sql::translate::{Typed, cast, function};
use crate::value::SqlType;

impl<'a> Planner<'a> {
    /// The functions of this name that a statement may mean.
    pub(super) fn overloads(&self, name: &ObjectName) -> Vec<ObjectId> {
        self.origin.view.state().resolve_overloads(self.origin.context, name)
    }

    /// A call of one of `overloads`.
    pub(super) fn routine(
        &mut self,
        name: &ast::ObjectName,
        overloads: &[ObjectId],
        arguments: &[&ast::Expr],
        items: Vec<Typed>,
        scope: &Scope<'_>,
    ) -> Result<Typed, SqlError> {
        if overloads.is_empty() {
            return Err(function::undefined(&name.to_string()));
        }
        if self.inside.definer.is_some() || self.inside.reads_only {
            return Err(SqlError::unsupported("a function of the user's in a view"));
        }
        if !self.allows_subquery {
            return Err(SqlError::unsupported("a function of the user's at this place"));
        }
        if arguments.iter().any(|argument| contents(argument).aggregate) {
            return Err(SqlError::unsupported("an aggregate as an argument of a function of the user's")
                .with_hint("Compute it in a subquery in FROM."));
        }
        let (id, called) = self.chosen(name, overloads, &items)?;
        let object = self.object(id)?;
        self.mention(id, object)?;
        let need = Need::Privilege { object: id, privilege: Privilege::Execute };
        self.need(need.clone());
        self.write_name(written::span(name), id);
        let bound_as = self.fresh('f');
        self.expansions.insert(bound_as.clone(), Expansion { need, reads: Default::default() });
        let mut binding = vec!["1 AS k0".to_owned()];
        for (at, (item, argument)) in items.into_iter().zip(&called.arguments).enumerate() {
            let to = SqlType::of_column(argument.argument_type);
            let item = cast::implicit(item, to, &mut self.parameters)?
                .ok_or_else(|| SqlError::internal("an overload was chosen that does not fit"))?;
            binding.push(format!("{} AS k{}", item.sql, at + 1));
        }
        let body = self.body(id, called, &bound_as)?;
        // SQLite evaluates a subquery once where nothing around it is named in it.
        let each = match scope.relations.iter().flat_map(|relation| &relation.columns).next() {
            Some(column) if function::is_volatile(&body) => {
                format!(" WHERE {bound_as}.k0 OR {} IS 0", column.sql)
            }
            Some(_) | None => String::new(),
        };
        let sql = format!(
            "(WITH {bound_as} AS MATERIALIZED (SELECT {}) SELECT {body} FROM {bound_as}{each})",
            binding.join(", ")
        );
        Ok(Typed::computed(sql, SqlType::of_column(called.returns)))
    }

    /// The body as an expression in which `bound_as` holds the arguments: the first row of its query, or NULL.
    fn body(&mut self, id: ObjectId, called: &Function, bound_as: &str) -> Result<String, SqlError> {
        let name = &self.object(id)?.name;
        let (arguments, scope) = bound_arguments(name, called, bound_as)?;
        let whose = format!("function \"{name}\"");
        let bound =
            self.expand(&called.body, (&called.references, whose), Some(arguments), |planner, query| {
                planner.query(query, &scope)
            })?;
        let value = self.returned(&bound, called)?;
        let body = format!("(SELECT {value} FROM ({}) WHERE {bound_as}.k0 LIMIT 1)", bound.sql);
        if !called.is_strict || called.arguments.is_empty() {
            return Ok(body);
        }
        let missing: Vec<_> =
            (1..=called.arguments.len()).map(|at| format!("{bound_as}.k{at} IS NULL")).collect();
        Ok(format!("CASE WHEN {} THEN NULL ELSE {body} END", missing.join(" OR ")))
    }

    /// What a function makes of the one column of its body; 42P13 if it cannot be of the type that it returns.
    pub(super) fn returned(&mut self, body: &Bound, called: &Function) -> Result<String, SqlError> {
        let to = SqlType::of_column(called.returns);
        let mismatch = |detail: String| {
            SqlError::new(
                state::INVALID_FUNCTION_DEFINITION,
                format!("return type mismatch in function declared to return {}", to.word()),
            )
            .with_detail(detail)
        };
        let [column] = body.columns.as_slice() else {
            return Err(mismatch("Final statement must return exactly one column.".to_owned()));
        };
        let typed = column.typed("k1".to_owned());
        let from = typed.sql_type;
        match cast::assign(typed, "the result", called.returns, &mut self.parameters) {
            Ok(typed) => Ok(typed.sql),
            Err(error) if error.body.code == state::DATATYPE_MISMATCH => {
                Err(mismatch(format!("Actual return type is {}.", from.word())))
            }
            Err(other) => Err(other),
        }
    }

    /// The overload that the arguments fit: exactly, or else by conversions that need no cast.
    fn chosen(
        &self,
        name: &ast::ObjectName,
        overloads: &[ObjectId],
        items: &[Typed],
    ) -> Result<(ObjectId, &'a Function), SqlError> {
        let mut fitting = Vec::new();
        for id in overloads {
            let Body::Function(candidate) = &self.object(*id)?.body else { continue };
            if candidate.arguments.len() != items.len() {
                continue;
            }
            let mut exact = 0;
            let mut fits = true;
            for (item, to) in items.iter().zip(candidate.argument_types()) {
                let to = SqlType::of_column(to);
                exact += usize::from(item.sql_type.any_length() == to.any_length());
                let converted = cast::implicit(item.clone(), to, &mut self.parameters.clone());
                fits &= converted.is_ok_and(|converted| converted.is_some());
            }
            if fits {
                fitting.push((exact, *id, candidate));
            }
        }
        let best = fitting.iter().map(|(exact, ..)| *exact).max().unwrap_or(0);
        fitting.retain(|(exact, ..)| *exact == best);
        let signature = || {
            let types: Vec<_> = items.iter().map(|item| item.sql_type.word()).collect();
            format!("{name}({})", types.join(", "))
        };
        match fitting.as_slice() {
            [(_, id, candidate)] => Ok((*id, candidate)),
            [] => {
                Err(SqlError::new(state::UNDEFINED_FUNCTION, format!("unknown signature: {}", signature())))
            }
            _ => Err(SqlError::new(
                grantd_catalog::refusal::state::AMBIGUOUS_FUNCTION,
                format!("ambiguous call: {}", signature()),
            )
            .with_hint("Cast the arguments to the types that are meant.")),
        }
    }
}

/// The arguments, as `$n` and as columns that the body may name, alone or after the function's name.
pub(super) fn bound_arguments(
    name: &grantd_catalog::name::Name,
    called: &Function,
    bound_as: &str,
) -> Result<(Vec<Typed>, Scope<'static>), SqlError> {
    let mut columns = Vec::new();
    let mut arguments = Vec::with_capacity(called.arguments.len());
    for (at, argument) in called.arguments.iter().enumerate() {
        let (sql, sql_type) = (format!("{bound_as}.k{}", at + 1), SqlType::of_column(argument.argument_type));
        arguments.push(Typed::computed(sql.clone(), sql_type));
        if let Some(name) = &argument.name {
            columns.push(ScopeColumn { name: name.clone(), sql, sql_type, hidden: true });
        }
    }
    let mut scope = Scope::root();
    scope.add(Relation { name: name.clone(), schema: None, columns, key: Vec::new() })?;
    Ok((arguments, scope))
}
