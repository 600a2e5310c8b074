//! Row values, `(a, b)` and `ROW(a, b)`, where they are compared; and comparisons with ANY and ALL of a set.

use sqlparser::ast::{self, BinaryOperator, Expr};

use super::Planner;
use super::contents::contents;
use super::expression::{function_name, plain_argument};
use super::query::Bound;
use super::scope::Scope;
use crate::error::SqlError;
use crate::sql::translate::{Form, Typed, cast, introspect, operator, order};
use crate::value::{Family, SqlType};

/// The items of a row value; none: it is none.
pub(super) fn row_items(expression: &Expr) -> Result<Option<Vec<&Expr>>, SqlError> {
    match expression {
        Expr::Tuple(items) => Ok(Some(items.iter().collect())),
        Expr::Function(call) if function_name(&call.name)?.as_deref() == Some("row") => match &call.args {
            ast::FunctionArguments::List(list) if list.clauses.is_empty() && call.over.is_none() => {
                list.args.iter().map(plain_argument).collect::<Result<_, _>>().map(Some)
            }
            _ => Err(row_value()),
        },
        _ => Ok(None),
    }
}

pub(super) fn row_value() -> SqlError {
    SqlError::unsupported("a row value at this place")
}

fn lengths_differ() -> SqlError {
    SqlError::syntax("unequal number of entries in row expressions")
}

/// Which of a set a comparison is of.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Quantifier {
    Any,
    All,
}

impl Planner<'_> {
    /// `(a, b) < (c, d)`.
    pub(super) fn row_comparison(
        &mut self,
        op: &BinaryOperator,
        left: &[&Expr],
        right: &Expr,
        scope: &Scope<'_>,
    ) -> Result<Typed, SqlError> {
        use BinaryOperator as B;
        if !matches!(op, B::Eq | B::NotEq | B::Lt | B::LtEq | B::Gt | B::GtEq) {
            return Err(row_value());
        }
        let right = row_items(right)?.ok_or_else(row_value)?;
        let pairs = self.pairs(left, &right, scope)?;
        let mut is_native = true;
        for (l, r) in &pairs {
            let plain = operator::comparison("=", l.clone(), r.clone(), &mut self.parameters)?;
            is_native &= plain.sql == format!("({} = {})", l.sql, r.sql);
        }
        if is_native {
            let side = |of: fn(&(Typed, Typed)) -> &str| pairs.iter().map(of).collect::<Vec<_>>().join(", ");
            let sql = format!("(({}) {op} ({}))", side(|pair| &pair.0.sql), side(|pair| &pair.1.sql));
            return Ok(Typed::computed(sql, SqlType::Bool));
        }
        let (strict, last) = match op {
            B::Eq => return self.each_pair("AND", "=", pairs),
            B::NotEq => return self.each_pair("OR", "<>", pairs),
            B::Lt => ("<", "<"),
            B::LtEq => ("<", "<="),
            B::Gt => (">", ">"),
            _ => (">", ">="),
        };
        let mut sql = String::new();
        for (l, r) in pairs.into_iter().rev() {
            let mut compare = |symbol| {
                operator::comparison(symbol, l.clone(), r.clone(), &mut self.parameters)
                    .map(|typed| typed.sql)
            };
            sql = match sql.is_empty() {
                true => compare(last)?,
                false => format!("({} OR ({} AND {sql}))", compare(strict)?, compare("=")?),
            };
        }
        Ok(Typed::computed(sql, SqlType::Bool))
    }

    /// `(a, b) IS [NOT] DISTINCT FROM (c, d)`.
    pub(super) fn row_distinct(
        &mut self,
        negated: bool,
        left: &[&Expr],
        right: &[&Expr],
        scope: &Scope<'_>,
    ) -> Result<Typed, SqlError> {
        let pairs = self.pairs(left, right, scope)?;
        match negated {
            true => self.each_pair("AND", "IS", pairs),
            false => self.each_pair("OR", "IS NOT", pairs),
        }
    }

    /// `(a, b) IS [NOT] NULL`: all of them are, or none is.
    pub(super) fn row_null(
        &mut self,
        items: &[&Expr],
        negated: bool,
        scope: &Scope<'_>,
    ) -> Result<Typed, SqlError> {
        let mut tests = Vec::with_capacity(items.len());
        for item in items {
            let typed = self.expression(item, scope)?;
            let typed = cast::settled(typed, &mut self.parameters)?;
            tests.push(format!("{} IS {}NULL", typed.sql, if negated { "NOT " } else { "" }));
        }
        Ok(Typed::computed(format!("({})", tests.join(" AND ")), SqlType::Bool))
    }

    fn pairs(
        &mut self,
        left: &[&Expr],
        right: &[&Expr],
        scope: &Scope<'_>,
    ) -> Result<Vec<(Typed, Typed)>, SqlError> {
        if left.len() != right.len() {
            return Err(lengths_differ());
        }
        let mut pairs = Vec::with_capacity(left.len());
        for (l, r) in left.iter().zip(right) {
            let both = vec![self.expression(l, scope)?, self.expression(r, scope)?];
            let (both, _) = cast::unify(both, "row comparison", &mut self.parameters)?;
            let mut both = both.into_iter();
            pairs.extend(both.next().zip(both.next()));
        }
        Ok(pairs)
    }

    fn each_pair(&mut self, word: &str, symbol: &str, pairs: Vec<(Typed, Typed)>) -> Result<Typed, SqlError> {
        let tests = pairs
            .into_iter()
            .map(|(l, r)| operator::comparison(symbol, l, r, &mut self.parameters).map(|typed| typed.sql))
            .collect::<Result<Vec<_>, _>>()?;
        Ok(Typed::computed(format!("({})", tests.join(&format!(" {word} "))), SqlType::Bool))
    }

    /// `(a, b) IN ((1, 2), (3, 4))`. SQLite takes rows only from a query.
    pub(super) fn row_in_list(
        &mut self,
        left: &[&Expr],
        list: &[Expr],
        negated: bool,
        scope: &Scope<'_>,
    ) -> Result<Typed, SqlError> {
        let mut columns = vec![Vec::with_capacity(list.len() + 1); left.len()];
        for (column, item) in columns.iter_mut().zip(left) {
            column.push(self.expression(item, scope)?);
        }
        for item in list {
            let items = row_items(item)?.ok_or_else(row_value)?;
            if items.len() != left.len() {
                return Err(lengths_differ());
            }
            for (column, item) in columns.iter_mut().zip(items) {
                column.push(self.expression(item, scope)?);
            }
        }
        let mut rows = vec![Vec::with_capacity(left.len()); list.len() + 1];
        for column in columns {
            let (column, _) = cast::unify(column, "IN", &mut self.parameters)?;
            let keyed = column.first().is_some_and(|left| !order::is_column(&left.sql));
            for (row, typed) in rows.iter_mut().zip(column) {
                row.push(if keyed { order::key(&typed) } else { typed.sql });
            }
        }
        let rows: Vec<_> = rows.iter().map(|row| format!("({})", row.join(", "))).collect();
        let not = if negated { "NOT " } else { "" };
        let sql = format!("({} {not}IN (VALUES {}))", rows[0], rows[1..].join(", "));
        Ok(Typed::computed(sql, SqlType::Bool))
    }

    /// `(a, b) IN (SELECT …)`.
    pub(super) fn row_in_subquery(
        &mut self,
        left: &[&Expr],
        query: &ast::Query,
        negated: bool,
        scope: &Scope<'_>,
    ) -> Result<Typed, SqlError> {
        let mut items = Vec::with_capacity(left.len());
        for item in left {
            items.push(self.expression(item, scope)?);
        }
        let bound = self.subquery(query, scope)?;
        if bound.columns.len() != items.len() {
            let few = if bound.columns.len() < items.len() { "few" } else { "many" };
            return Err(SqlError::syntax(format!("subquery has too {few} columns")));
        }
        let (mut lefts, mut rights) = (Vec::new(), Vec::new());
        for (at, (item, column)) in items.into_iter().zip(&bound.columns).enumerate() {
            let pair = vec![item, column.typed(format!("k{}", at + 1))];
            let (pair, _) = cast::unify(pair, "IN", &mut self.parameters)?;
            let keyed = !order::is_column(&pair[0].sql) && !order::is_column(&pair[1].sql);
            let side = |typed: &Typed| if keyed { order::key(typed) } else { typed.sql.clone() };
            lefts.push(side(&pair[0]));
            rights.push(side(&pair[1]));
        }
        let not = if negated { "NOT " } else { "" };
        let sql =
            format!("(({}) {not}IN (SELECT {} FROM ({})))", lefts.join(", "), rights.join(", "), bound.sql);
        Ok(Typed::computed(sql, SqlType::Bool))
    }

    /// `left op ANY (…)`, `left op ALL (…)`, of a query or an array. What is not known of one item makes the whole not
    /// known, unless another item settles it.
    pub(super) fn quantified(
        &mut self,
        quantifier: Quantifier,
        (left, op, right): (&Expr, &BinaryOperator, &Expr),
        scope: &Scope<'_>,
    ) -> Result<Typed, SqlError> {
        use BinaryOperator as B;
        let is_comparison = matches!(op, B::Eq | B::NotEq | B::Lt | B::LtEq | B::Gt | B::GtEq);
        if !is_comparison || contents(left).aggregate {
            return Err(SqlError::unsupported("this form of ANY or ALL"));
        }
        let left = self.expression(left, scope)?;
        let (item, from) = match right {
            Expr::Subquery(query) => {
                let Bound { sql, columns } = self.subquery(query, scope)?;
                let [column] = columns.as_slice() else {
                    return Err(SqlError::syntax("subquery must return only one column"));
                };
                (column.typed("k1".to_owned()), format!("({sql})"))
            }
            array => {
                let array = self.expression(array, scope)?;
                // A literal or parameter is an array of what it is compared with.
                let array = match (&array.form, left.sql_type.family()) {
                    (Form::Text(_) | Form::Parameter(_) | Form::Null, Family::Int) => {
                        let to = introspect::array_of(SqlType::Int8)?;
                        cast::expect(array, to, "argument of ANY", &mut self.parameters)?
                    }
                    _ => array,
                };
                let (array, of) = introspect::array(array, "argument of ANY", &mut self.parameters)?;
                (Typed::computed("value".to_owned(), of), introspect::each(&array, of))
            }
        };
        let test = operator::binary(op, left, item, &mut self.parameters)?.sql;
        let settled = match quantifier {
            Quantifier::Any => "WHEN max(c) = 1 THEN 1 WHEN count(*) > count(c) THEN NULL ELSE 0",
            Quantifier::All => "WHEN min(c) = 0 THEN 0 WHEN count(*) > count(c) THEN NULL ELSE 1",
        };
        // With a limit the row store computes each test once, and does not put it where `c` stands.
        let sql = format!("(SELECT CASE {settled} END FROM (SELECT {test} AS c FROM {from} LIMIT -1))");
        Ok(Typed::computed(sql, SqlType::Bool))
    }
}
