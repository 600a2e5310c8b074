//! UNION, INTERSECT, EXCEPT and VALUES: queries made of others.

use grantd_catalog::name::Name;
use sqlparser::ast;

use crate::error::SqlError;
use crate::sql::parse::name_of;
use crate::sql::translate::{Form, Typed, cast, order};
use crate::value::SqlType;

use super::query::{Bound, OutputColumn, bare, direction, ordinal, position_error};
use super::scope::Scope;
use super::{Planner, no_column, unset};

impl Planner<'_> {
    pub(super) fn set_expression(
        &mut self,
        body: &ast::SetExpr,
        outer: &Scope<'_>,
    ) -> Result<Bound, SqlError> {
        self.deeper(|planner| match body {
            ast::SetExpr::Select(select) => planner.select(select, &[], outer),
            ast::SetExpr::Query(query) => planner.query(query, outer),
            ast::SetExpr::Values(values) => planner.values(values, outer),
            ast::SetExpr::SetOperation { .. } => planner.set_operations(body, outer),
            ast::SetExpr::Table(_) => {
                Err(SqlError::unsupported("TABLE t").with_hint("Write SELECT * FROM t."))
            }
            _ => Err(SqlError::unsupported("a data-modifying query inside another")),
        })
    }

    /// A chain of set operations leans left and is walked in a loop.
    fn set_operations(&mut self, body: &ast::SetExpr, outer: &Scope<'_>) -> Result<Bound, SqlError> {
        let mut first = body;
        let mut rest = Vec::new();
        while let ast::SetExpr::SetOperation { left, op, set_quantifier, right } = first {
            rest.push((op, set_quantifier, right));
            first = left;
        }
        let mut result = self.set_expression(first, outer)?;
        while let Some((operator, quantifier, right)) = rest.pop() {
            let right = self.set_expression(right, outer)?;
            result = self.set_operation(*operator, *quantifier, &result, &right)?;
        }
        Ok(result)
    }

    fn set_operation(
        &mut self,
        operator: ast::SetOperator,
        quantifier: ast::SetQuantifier,
        left: &Bound,
        right: &Bound,
    ) -> Result<Bound, SqlError> {
        use ast::{SetOperator as O, SetQuantifier as Q};
        let word = match (operator, quantifier) {
            (O::Union, Q::All) => "UNION ALL",
            (O::Union, Q::None | Q::Distinct) => "UNION",
            (O::Intersect, Q::None | Q::Distinct) => "INTERSECT",
            (O::Except, Q::None | Q::Distinct) => "EXCEPT",
            (O::Intersect, Q::All) => "INTERSECT ALL",
            (O::Except, Q::All) => "EXCEPT ALL",
            (operator, quantifier) => {
                return Err(SqlError::unsupported(format!("{operator} {quantifier}")));
            }
        };
        unset(left.columns.is_empty(), "a set operation without columns")?;
        if left.columns.len() != right.columns.len() {
            return Err(SqlError::syntax(format!("each {word} query must have the same number of columns")));
        }
        let mut columns = Vec::with_capacity(left.columns.len());
        let mut sides = [Vec::new(), Vec::new()];
        for (at, (a, b)) in left.columns.iter().zip(&right.columns).enumerate() {
            let column = format!("k{}", at + 1);
            let only_null = a.sql_type == SqlType::Unknown && b.sql_type == SqlType::Unknown;
            let pair = vec![a.typed(column.clone()), b.typed(column.clone())];
            let (pair, common) = cast::unify(pair, word, &mut self.parameters)?;
            for (side, typed) in sides.iter_mut().zip(&pair) {
                side.push(format!("{} AS {column}", order::listed(typed)));
            }
            let sql_type = if only_null { SqlType::Unknown } else { common };
            columns.push(OutputColumn { name: a.name.clone(), sql_type });
        }
        // SQLite counts no equal rows: a window does.
        if let Some(plain) = word.strip_suffix(" ALL").filter(|plain| *plain != "UNION") {
            let names: Vec<_> = (1..=columns.len()).map(|at| format!("k{at}")).collect();
            let names = names.join(", ");
            let counted = |side: &[String], from: &str| {
                let list = side.join(", ");
                format!(
                    "SELECT {names}, row_number() OVER (PARTITION BY {names}) AS kr FROM (SELECT {list} FROM ({from}))"
                )
            };
            let (l, r) = (counted(&sides[0], &left.sql), counted(&sides[1], &right.sql));
            return Ok(Bound { sql: format!("SELECT {names} FROM ({l} {plain} {r})"), columns });
        }
        let sql = format!(
            "SELECT {} FROM ({}) {word} SELECT {} FROM ({})",
            sides[0].join(", "),
            left.sql,
            sides[1].join(", "),
            right.sql
        );
        Ok(Bound { sql: format!("SELECT * FROM ({sql})"), columns })
    }

    fn values(&mut self, values: &ast::Values, outer: &Scope<'_>) -> Result<Bound, SqlError> {
        let ast::Values { explicit_row, value_keyword, rows } = values;
        unset(*explicit_row || *value_keyword, "this form of VALUES")?;
        let scope = Scope::within(outer).without_aggregates("VALUES");
        let width = rows.first().map_or(0, |row| row.content.len());
        let mut by_column: Vec<Vec<Typed>> = vec![Vec::with_capacity(rows.len()); width];
        for row in rows {
            if row.content.len() != width {
                return Err(SqlError::syntax("VALUES lists must all be the same length"));
            }
            for (column, expression) in by_column.iter_mut().zip(&row.content) {
                column.push(self.expression(expression, &scope)?);
            }
        }
        let mut columns = Vec::with_capacity(width);
        let mut cells: Vec<Vec<Typed>> = Vec::with_capacity(width);
        for (at, column) in by_column.into_iter().enumerate() {
            let only_null = column.iter().all(|typed| typed.form == Form::Null);
            let (column, common) = cast::unify(column, "VALUES", &mut self.parameters)?;
            let sql_type = if only_null { SqlType::Unknown } else { common };
            columns.push(OutputColumn { name: Name::normalize(&format!("column{}", at + 1)), sql_type });
            cells.push(column);
        }
        let tuples: Vec<_> = (0..rows.len())
            .map(|row| {
                let cells: Vec<_> = cells.iter().map(|column| column[row].sql.as_str()).collect();
                format!("({})", cells.join(", "))
            })
            .collect();
        let named = |(at, column): (usize, &OutputColumn)| {
            // A column of VALUES has no collation of its own.
            match order::collation(column.sql_type) {
                Some(collation) => format!("column{0} COLLATE {collation} AS k{0}", at + 1),
                None => format!("column{0} AS k{0}", at + 1),
            }
        };
        let names: Vec<_> = columns.iter().enumerate().map(named).collect();
        Ok(Bound { sql: format!("SELECT {} FROM (VALUES {})", names.join(", "), tuples.join(", ")), columns })
    }
}

/// ORDER BY after a set operation or VALUES: positions and names of the result only.
pub(super) fn output_order(item: &ast::OrderByExpr, columns: &[OutputColumn]) -> Result<String, SqlError> {
    let suffix = direction(item)?;
    if let Some(position) = ordinal(&item.expr) {
        return match position {
            1.. if position <= columns.len() => Ok(format!("k{position}{suffix}")),
            _ => Err(position_error("ORDER BY", position)),
        };
    }
    let ast::Expr::Identifier(ident) = bare(&item.expr) else {
        return Err(SqlError::unsupported("an expression in ORDER BY after a set operation"));
    };
    let name = name_of(ident);
    let at = columns.iter().position(|column| column.name == name);
    at.map(|at| format!("k{}{suffix}", at + 1)).ok_or_else(|| no_column(name.as_str()))
}
