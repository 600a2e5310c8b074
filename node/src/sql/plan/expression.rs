//! Expressions.

use sqlparser::ast::{self, Expr};

use crate::error::{SqlError, state};
use crate::sql::translate::{self, Typed, cast, function, introspect, moment, operator, order};
use crate::value::interval::{Interval, Unit};
use crate::value::{Datum, SqlType, text};

use super::contents::contents;
use super::row::{row_items, row_value};
use super::scope::{Aggregates, Scope};
use super::sequence::is_of_sequences;
use super::{Planner, empty, none, unset};

/// The longest text of an expression for the row store, which takes no longer statement. Some translations name an
/// operand more than once, so that nested ones would grow without end.
const TRANSLATED_BYTES_MAX: usize = 8 << 20;

fn bounded(typed: Typed) -> Result<Typed, SqlError> {
    match typed.sql.len() > TRANSLATED_BYTES_MAX {
        true => Err(SqlError::too_large("the statement is nested too deeply")),
        false => Ok(typed),
    }
}

impl Planner<'_> {
    /// The row store's text and the type of an expression.
    pub(super) fn expression(&mut self, expression: &Expr, scope: &Scope<'_>) -> Result<Typed, SqlError> {
        self.deeper(|planner| {
            if let Some(groups) = &scope.groups
                && let Some(typed) = planner.group_key(expression, groups, scope)?
            {
                return Ok(typed);
            }
            planner.node(expression, scope).and_then(bounded)
        })
    }

    /// An expression that must be of a type.
    pub(super) fn typed(
        &mut self,
        expression: &Expr,
        sql_type: SqlType,
        what: &str,
        scope: &Scope<'_>,
    ) -> Result<String, SqlError> {
        let typed = self.expression(expression, scope)?;
        cast::expect(typed, sql_type, what, &mut self.parameters).map(|typed| typed.sql)
    }

    /// The expression itself, if rows are grouped by it.
    fn group_key(
        &mut self,
        expression: &Expr,
        groups: &[String],
        scope: &Scope<'_>,
    ) -> Result<Option<Typed>, SqlError> {
        let contents = contents(expression);
        let trivial =
            matches!(expression, Expr::Value(_) | Expr::Identifier(_) | Expr::CompoundIdentifier(_));
        if (groups.is_empty() && scope.absent.is_empty())
            || trivial
            || contents.aggregate
            || contents.subquery
        {
            return Ok(None);
        }
        let plain = Scope { groups: None, absent: Vec::new(), ..scope.clone() };
        let typed = self.node(expression, &plain)?;
        if scope.absent.contains(&typed.sql) {
            return Ok(Some(Typed::computed("NULL".to_owned(), typed.sql_type)));
        }
        Ok(groups.contains(&typed.sql).then_some(typed))
    }

    fn column(&mut self, idents: &[ast::Ident], scope: &Scope<'_>) -> Result<Typed, SqlError> {
        idents.last().into_iter().for_each(|ident| self.write_column(ident));
        scope.column(idents)
    }

    fn node(&mut self, expression: &Expr, scope: &Scope<'_>) -> Result<Typed, SqlError> {
        match expression {
            Expr::Identifier(ident) => self.column(std::slice::from_ref(ident), scope),
            Expr::CompoundIdentifier(idents) => self.column(idents, scope),
            Expr::Nested(inner) => self.expression(inner, scope),
            Expr::Value(value) => self.literal(&value.value),
            Expr::TypedString(typed) => {
                unset(typed.uses_odbc_syntax, "the ODBC syntax")?;
                let to = self.column_type(&typed.data_type)?;
                let literal = translate::literal(&typed.value.value, &mut self.parameters)?;
                cast::explicit(literal, to, &mut self.parameters)
            }
            Expr::Cast {
                kind: ast::CastKind::Cast | ast::CastKind::DoubleColon,
                expr,
                data_type,
                format,
            } => {
                none(format, "CAST … FORMAT")?;
                if let Some(to) = introspect::target(data_type) {
                    let typed = self.expression(expr, scope)?;
                    return introspect::explicit(typed, to, &mut self.parameters);
                }
                let to = self.column_type(data_type)?;
                let typed = self.expression(expr, scope)?;
                cast::explicit(typed, to, &mut self.parameters)
            }
            Expr::UnaryOp { op, expr } => self.unary(*op, expr, scope),
            Expr::BinaryOp { .. } => self.chain(expression, scope),
            Expr::Function(call) => self.call(call, scope),
            Expr::Case { case_token: _, end_token: _, operand, conditions, else_result } => {
                self.case(operand.as_deref(), conditions, else_result.as_deref(), scope)
            }
            Expr::Exists { subquery, negated } => {
                let bound = self.subquery(subquery, scope)?;
                let not = if *negated { "NOT " } else { "" };
                Ok(Typed::computed(format!("({not}EXISTS ({}))", bound.sql), SqlType::Bool))
            }
            Expr::Subquery(query) => self.scalar_subquery(query, scope),
            Expr::InList { .. } | Expr::InSubquery { .. } | Expr::Between { .. } => {
                self.membership(expression, scope)
            }
            Expr::Like { .. } | Expr::ILike { .. } => self.like(expression, scope),
            Expr::Substring { .. }
            | Expr::Overlay { .. }
            | Expr::Trim { .. }
            | Expr::Position { .. }
            | Expr::Ceil { .. }
            | Expr::Floor { .. } => self.special_call(expression, scope),
            Expr::Extract { field, syntax: _, expr } => {
                let value = self.expression(expr, scope)?;
                let field = Typed::text(&field.to_string().to_lowercase())?;
                moment::extract(field, value, &mut self.parameters)
            }
            Expr::AtTimeZone { timestamp, time_zone } => {
                let value = self.expression(timestamp, scope)?;
                let zone = self.expression(time_zone, scope)?;
                moment::at_time_zone(value, zone, &mut self.parameters)
            }
            Expr::Interval(interval) => interval_literal(interval),
            _ => match self.introspection(expression, scope)? {
                Some(typed) => Ok(typed),
                None => self.test(expression, scope),
            },
        }
    }

    /// A prefix operator.
    fn unary(&mut self, op: ast::UnaryOperator, expr: &Expr, scope: &Scope<'_>) -> Result<Typed, SqlError> {
        use ast::UnaryOperator as U;
        if op == U::Minus && smallest(expr) {
            return Ok(Typed::computed(format!("({} - 1)", i64::MIN + 1), SqlType::Int8));
        }
        // The parser takes `-a ^ b` for `-(a ^ b)`; in both originals the sign binds closer.
        if matches!(op, U::Minus | U::Plus) && powers(expr) {
            return self.expression(&signed_first(op, expr), scope);
        }
        let operand = self.expression(expr, scope)?;
        operator::unary(&op, operand, &mut self.parameters)
    }

    /// A literal, a parameter of the statement, or in a function's body one of its arguments.
    fn literal(&mut self, value: &ast::Value) -> Result<Typed, SqlError> {
        let (ast::Value::Placeholder(text), Some(arguments)) = (value, &self.inside.arguments) else {
            return translate::literal(value, &mut self.parameters);
        };
        let number = text.strip_prefix('$').and_then(|digits| digits.parse::<usize>().ok());
        let argument = number.and_then(|number| arguments.get(number.checked_sub(1)?)).cloned();
        argument
            .ok_or_else(|| SqlError::new(state::UNDEFINED_PARAMETER, format!("there is no parameter {text}")))
    }

    /// IS …: the truth of an expression.
    fn test(&mut self, expression: &Expr, scope: &Scope<'_>) -> Result<Typed, SqlError> {
        let (inner, text) = match expression {
            Expr::IsTrue(inner) => (inner, "IS 1"),
            Expr::IsNotTrue(inner) => (inner, "IS NOT 1"),
            Expr::IsFalse(inner) => (inner, "IS 0"),
            Expr::IsNotFalse(inner) => (inner, "IS NOT 0"),
            Expr::IsUnknown(inner) => (inner, "IS NULL"),
            Expr::IsNotUnknown(inner) => (inner, "IS NOT NULL"),
            Expr::IsNull(inner) | Expr::IsNotNull(inner) => {
                if let Some(items) = row_items(inner)? {
                    return self.row_null(&items, matches!(expression, Expr::IsNotNull(_)), scope);
                }
                let typed = self.expression(inner, scope)?;
                let typed = cast::settled(typed, &mut self.parameters)?;
                let not = if matches!(expression, Expr::IsNotNull(_)) { "NOT " } else { "" };
                return Ok(Typed::computed(format!("({} IS {not}NULL)", typed.sql), SqlType::Bool));
            }
            Expr::IsDistinctFrom(left, right) | Expr::IsNotDistinctFrom(left, right) => {
                let negated = matches!(expression, Expr::IsNotDistinctFrom(..));
                if let (Some(left), Some(right)) = (row_items(left)?, row_items(right)?) {
                    return self.row_distinct(negated, &left, &right, scope);
                }
                let left = self.expression(left, scope)?;
                let right = self.expression(right, scope)?;
                return operator::distinct(negated, left, right, &mut self.parameters);
            }
            other => return Err(SqlError::unsupported(kind(other))),
        };
        let typed = self.typed(inner, SqlType::Bool, "argument of IS", scope)?;
        Ok(Typed::computed(format!("({typed} {text})"), SqlType::Bool))
    }

    /// A chain of operators is a tree that leans left; it is walked in a loop, so its length costs no stack.
    fn chain(&mut self, expression: &Expr, scope: &Scope<'_>) -> Result<Typed, SqlError> {
        let mut first = expression;
        let mut rest = Vec::new();
        while let Expr::BinaryOp { left, op, right } = first {
            rest.push((op, right));
            first = left;
        }
        let mut result = match row_items(first)? {
            Some(items) => {
                let (op, right) = rest.pop().ok_or_else(row_value)?;
                self.row_comparison(op, &items, right, scope)?
            }
            None => self.expression(first, scope)?,
        };
        while let Some((op, right)) = rest.pop() {
            let right = self.expression(right, scope)?;
            result = bounded(operator::binary(op, result, right, &mut self.parameters)?)?;
        }
        Ok(result)
    }

    fn case(
        &mut self,
        operand: Option<&Expr>,
        conditions: &[ast::CaseWhen],
        otherwise: Option<&Expr>,
        scope: &Scope<'_>,
    ) -> Result<Typed, SqlError> {
        let mut tests = Vec::with_capacity(conditions.len());
        let operand = operand.map(|operand| self.expression(operand, scope)).transpose()?;
        let mut results = Vec::with_capacity(conditions.len() + 1);
        for when in conditions {
            let test = match &operand {
                None => self.typed(&when.condition, SqlType::Bool, "argument of CASE WHEN", scope)?,
                Some(operand) => {
                    let right = self.expression(&when.condition, scope)?;
                    operator::comparison("=", operand.clone(), right, &mut self.parameters)?.sql
                }
            };
            tests.push(test);
            results.push(self.expression(&when.result, scope)?);
        }
        results.push(match otherwise {
            Some(otherwise) => self.expression(otherwise, scope)?,
            None => Typed::null(),
        });
        let (results, common) = cast::unify(results, "CASE", &mut self.parameters)?;
        // The operand is computed once; where each comparison is of its own kind, it must not matter how often.
        let mut sql = String::from("CASE");
        if let Some(operand) = operand.filter(|_| tests.len() > 1) {
            let equals = format!("({} = ", operand.sql);
            let value = |test: &String| test.strip_prefix(&equals)?.strip_suffix(')').map(str::to_owned);
            match tests.iter().map(value).collect::<Option<Vec<_>>>() {
                Some(values) => {
                    sql = format!("CASE {}", operand.sql);
                    tests = values;
                }
                None if function::is_volatile(&operand.sql) => {
                    return Err(SqlError::unsupported("CASE of a volatile value and values of another type"));
                }
                None => {}
            }
        }
        for (test, result) in tests.iter().zip(&results) {
            sql.push_str(&format!(" WHEN {test} THEN {}", result.sql));
        }
        if let Some(last) = results.last() {
            sql.push_str(&format!(" ELSE {} END", last.sql));
        }
        Ok(Typed::computed(format!("({sql})"), common))
    }

    pub(super) fn membership(&mut self, expression: &Expr, scope: &Scope<'_>) -> Result<Typed, SqlError> {
        let not = |negated: bool| if negated { "NOT " } else { "" };
        if let Expr::InList { expr, list, negated } = expression
            && let Some(items) = row_items(expr)?
        {
            return self.row_in_list(&items, list, *negated, scope);
        }
        if let Expr::InSubquery { expr, subquery, negated } = expression
            && let Some(items) = row_items(expr)?
        {
            return self.row_in_subquery(&items, subquery, *negated, scope);
        }
        let sql = match expression {
            Expr::InList { expr, list, negated } => {
                let mut items = vec![self.expression(expr, scope)?];
                for item in list {
                    items.push(self.expression(item, scope)?);
                }
                let (items, _) = cast::unify(items, "IN", &mut self.parameters)?;
                order::in_list(&items, not(*negated))
            }
            Expr::Between { expr, negated, low, high } => {
                let items = vec![
                    self.expression(expr, scope)?,
                    self.expression(low, scope)?,
                    self.expression(high, scope)?,
                ];
                let (items, _) = cast::unify(items, "BETWEEN", &mut self.parameters)?;
                order::between(&items[0], &items[1], &items[2], not(*negated))
            }
            Expr::InSubquery { expr, subquery, negated } => {
                let left = self.expression(expr, scope)?;
                let bound = self.subquery(subquery, scope)?;
                let [column] = bound.columns.as_slice() else { return Err(one_column()) };
                let right = column.typed("k1".to_owned());
                let (pair, _) = cast::unify(vec![left, right], "IN", &mut self.parameters)?;
                order::in_rows(&pair[0], &pair[1], not(*negated), &format!("({})", bound.sql))
            }
            other => return Err(SqlError::unsupported(kind(other))),
        };
        Ok(Typed::computed(sql, SqlType::Bool))
    }

    fn like(&mut self, expression: &Expr, scope: &Scope<'_>) -> Result<Typed, SqlError> {
        let (negated, any, expr, pattern, escape, function) = match expression {
            Expr::Like { negated, any, expr, pattern, escape_char } => {
                (negated, any, expr, pattern, escape_char, "g_like")
            }
            Expr::ILike { negated, any, expr, pattern, escape_char } => {
                (negated, any, expr, pattern, escape_char, "g_ilike")
            }
            other => return Err(SqlError::unsupported(kind(other))),
        };
        unset(*any, "LIKE ANY")?;
        let what = "argument of LIKE";
        let text = self.typed(expr, SqlType::Text, what, scope)?;
        let pattern = self.typed(pattern, SqlType::Text, what, scope)?;
        let escape = match escape {
            Some(escape) => self.typed(escape, SqlType::Text, what, scope)?,
            None => "'\\'".to_owned(),
        };
        let not = if *negated { "NOT " } else { "" };
        Ok(Typed::computed(format!("({not}{function}({text}, {pattern}, {escape}))"), SqlType::Bool))
    }

    /// A subquery that stands for one value. SQLite would take the first of several rows.
    fn scalar_subquery(&mut self, query: &ast::Query, scope: &Scope<'_>) -> Result<Typed, SqlError> {
        let bound = self.subquery(query, scope)?;
        let [column] = bound.columns.as_slice() else { return Err(one_column()) };
        let sql =
            format!("(SELECT g_single(count(*), max(k1)) FROM (SELECT k1 FROM ({}) LIMIT 2))", bound.sql);
        Ok(column.typed(sql))
    }

    fn call(&mut self, call: &ast::Function, scope: &Scope<'_>) -> Result<Typed, SqlError> {
        let ast::Function {
            name,
            uses_odbc_syntax,
            parameters,
            args,
            within_group,
            filter,
            null_treatment,
            over,
        } = call;
        unset(*uses_odbc_syntax, "the ODBC syntax")?;
        if !matches!(parameters, ast::FunctionArguments::None) {
            return Err(SqlError::unsupported("a function with parameters"));
        }
        empty(within_group, "WITHIN GROUP")?;
        none(null_treatment, "IGNORE NULLS")?;
        let built_in = function_name(name)?;
        if over.is_some() {
            return self.windowed(call, built_in.as_deref(), arguments_of(args)?, scope);
        }
        unset(built_in.as_deref() == Some("row"), "a row value at this place")?;
        if built_in.as_deref() == Some("grouping") {
            return self.grouping_of(arguments_of(args)?.1, scope);
        }
        if let (ast::FunctionArguments::Subquery(query), Some("array")) = (args, built_in.as_deref()) {
            return self.array_subquery(query, scope);
        }
        let (distinct, arguments, order) = arguments_of(args)?;
        let is_aggregate = built_in.as_deref().is_some_and(function::is_aggregate);
        unset(!order.is_empty() && !is_aggregate, "ORDER BY among the arguments of such a function")?;
        if let Some(built_in) = &built_in {
            if function::is_aggregate(built_in) {
                let filter = filter.as_deref();
                return self.aggregate((built_in, distinct), (arguments, order), (filter, ""), scope);
            }
            none(filter, "FILTER of a function that is no aggregate")?;
            if function::is_window(built_in) {
                return Err(SqlError::new(
                    state::WINDOWING_ERROR,
                    format!("window function {built_in} requires an OVER clause"),
                ));
            }
            unset(distinct, "DISTINCT outside of an aggregate")?;
            if is_of_sequences(built_in) {
                return self.sequence_call(built_in, arguments, scope);
            }
            if let Some(typed) = self.set_in_list(built_in, arguments, scope)? {
                return Ok(typed);
            }
        }
        unset(distinct, "DISTINCT outside of an aggregate")?;
        let arguments: Vec<_> = arguments.iter().map(plain_argument).collect::<Result<_, _>>()?;
        self.plain_call(name, built_in.as_deref(), &arguments, scope)
    }

    /// A call of a function that is no aggregate: a built-in one, or one of the user's.
    fn plain_call(
        &mut self,
        name: &ast::ObjectName,
        built_in: Option<&str>,
        arguments: &[&ast::Expr],
        scope: &Scope<'_>,
    ) -> Result<Typed, SqlError> {
        let mut items = Vec::with_capacity(arguments.len());
        for argument in arguments {
            items.push(self.expression(argument, scope)?);
        }
        // What PostgreSQL has comes first, whatever the search path holds.
        let full = super::object_name(name)?;
        let overloads = self.overloads(&full);
        let Some(built_in) = built_in else {
            return self.routine(name, &overloads, arguments, items, scope);
        };
        if overloads.is_empty() {
            return function::scalar(built_in, items, &mut self.parameters);
        }
        let mut parameters = self.parameters.clone();
        match function::scalar(built_in, items.clone(), &mut parameters) {
            Ok(typed) => {
                self.parameters = parameters;
                Ok(typed)
            }
            Err(_) => self.routine(name, &overloads, arguments, items, scope),
        }
    }

    /// `over`: what makes it a function of windows, or nothing.
    pub(super) fn aggregate(
        &mut self,
        (name, distinct): (&str, bool),
        (arguments, order): (&[ast::FunctionArg], &[ast::OrderByExpr]),
        (filter, over): (Option<&Expr>, &str),
        scope: &Scope<'_>,
    ) -> Result<Typed, SqlError> {
        if let Aggregates::Refused(place) = scope.aggregates {
            return Err(SqlError::new(
                state::GROUPING_ERROR,
                format!("aggregate functions are not allowed in {place}"),
            ));
        }
        // An aggregate is of rows, one over a window of groups, if there are any.
        let inner = match over {
            "" => Scope {
                groups: None,
                absent: Vec::new(),
                ..scope.without_aggregates("aggregate function calls")
            },
            _ => scope.clone(),
        };
        let star = matches!(arguments, [ast::FunctionArg::Unnamed(ast::FunctionArgExpr::Wildcard)]);
        let mut items = Vec::with_capacity(arguments.len());
        if !(star && name == "count" && !distinct) {
            for argument in arguments {
                items.push(self.aggregated(plain_argument(argument)?, &inner)?);
            }
            if items.is_empty() {
                return Err(SqlError::unsupported(format!("the function {name}() without arguments")));
            }
        }
        let order = self.order_list(order, &inner)?;
        let filter = match filter {
            Some(filter) => Some(self.typed(filter, SqlType::Bool, "argument of FILTER", &inner)?),
            None => None,
        };
        let clauses = function::Clauses { order: &order, filter: filter.as_deref(), over };
        function::aggregate((name, distinct), items, clauses, &mut self.parameters)
    }

    /// The argument of an aggregate. One that names a column of an outer query would make the aggregate the outer
    /// query's, in PostgreSQL: refused.
    fn aggregated(&mut self, argument: &Expr, scope: &Scope<'_>) -> Result<Typed, SqlError> {
        let own = Scope { outer: None, ..scope.clone() };
        match self.expression(argument, &own) {
            Err(error) if error.body.code == state::UNDEFINED_COLUMN && scope.outer.is_some() => {
                self.expression(argument, scope)?;
                Err(SqlError::unsupported("an aggregate of a column of an outer query"))
            }
            outcome => outcome,
        }
    }

    /// Functions that have a syntax of their own.
    fn special_call(&mut self, expression: &Expr, scope: &Scope<'_>) -> Result<Typed, SqlError> {
        let (name, arguments): (&str, Vec<&Expr>) = match expression {
            Expr::Substring { expr, substring_from: Some(from), substring_for, special: _, shorthand: _ } => {
                let mut arguments = vec![expr.as_ref(), from.as_ref()];
                arguments.extend(substring_for.as_deref());
                ("substring", arguments)
            }
            Expr::Overlay { expr, overlay_what, overlay_from, overlay_for } => {
                let mut arguments = vec![expr.as_ref(), overlay_what.as_ref(), overlay_from.as_ref()];
                arguments.extend(overlay_for.as_deref());
                ("overlay", arguments)
            }
            Expr::Position { expr, r#in } => ("position", vec![r#in.as_ref(), expr.as_ref()]),
            Expr::Trim { trim_where, trim_what, expr, trim_characters } => {
                let name = match trim_where {
                    None | Some(ast::TrimWhereField::Both) => "btrim",
                    Some(ast::TrimWhereField::Leading) => "ltrim",
                    Some(ast::TrimWhereField::Trailing) => "rtrim",
                };
                let mut arguments = vec![expr.as_ref()];
                arguments.extend(trim_what.as_deref());
                arguments.extend(trim_characters.iter().flatten());
                (name, arguments)
            }
            Expr::Ceil { expr, field } | Expr::Floor { expr, field } => {
                let plain =
                    matches!(field, ast::CeilFloorKind::DateTimeField(ast::DateTimeField::NoDateTime));
                unset(!plain, "ceil() or floor() with a scale")?;
                (if matches!(expression, Expr::Ceil { .. }) { "ceil" } else { "floor" }, vec![expr.as_ref()])
            }
            other => return Err(SqlError::unsupported(kind(other))),
        };
        let mut items = Vec::with_capacity(arguments.len());
        for argument in arguments {
            items.push(self.expression(argument, scope)?);
        }
        function::scalar(name, items, &mut self.parameters)
    }
}

/// `INTERVAL '1 day'`, `INTERVAL '3' DAY`: the word says what a number without one counts.
fn interval_literal(interval: &ast::Interval) -> Result<Typed, SqlError> {
    let ast::Interval { value, leading_field, leading_precision, last_field, fractional_seconds_precision } =
        interval;
    none(leading_precision, "the precision of an interval")?;
    none(fractional_seconds_precision, "the precision of an interval")?;
    let Expr::Value(value) = value.as_ref() else {
        return Err(SqlError::unsupported("INTERVAL of anything but a literal"));
    };
    let (ast::Value::SingleQuotedString(written) | ast::Value::EscapedStringLiteral(written)) = &value.value
    else {
        return Err(SqlError::unsupported("INTERVAL of anything but a literal"));
    };
    let field = last_field.as_ref().or(leading_field.as_ref());
    let unit = match field {
        None => Unit::Micros(1_000_000),
        Some(field) => Unit::named(&field.to_string())
            .ok_or_else(|| SqlError::unsupported(format!("INTERVAL … {field}")))?,
    };
    let read = text::parse_interval(written, unit)?;
    // A unit also cuts off what is smaller.
    let kept = match unit {
        Unit::Months(12) => Interval { months: read.months / 12 * 12, ..Interval::default() },
        Unit::Months(_) => Interval { months: read.months, ..Interval::default() },
        Unit::Days(_) => Interval { micros: 0, ..read },
        Unit::Micros(size) => Interval { micros: read.micros / size * size, ..read },
    };
    // Parts of a second are kept.
    let kept = if unit == Unit::Micros(1_000_000) { read } else { kept };
    cast::literal(&Datum::Interval(kept), SqlType::Interval)
}

/// Whether the first operator of a chain is a power.
fn powers(expression: &Expr) -> bool {
    matches!(expression, Expr::BinaryOp { op: ast::BinaryOperator::PGExp, .. })
}

/// `-(a ^ b ^ c)` as `(-a) ^ b ^ c`.
fn signed_first(op: ast::UnaryOperator, expression: &Expr) -> Expr {
    match expression {
        Expr::BinaryOp { left, op: power @ ast::BinaryOperator::PGExp, right } => {
            Expr::BinaryOp { left: Box::new(signed_first(op, left)), op: power.clone(), right: right.clone() }
        }
        first => Expr::UnaryOp { op, expr: Box::new(first.clone()) },
    }
}

/// `9223372036854775808`, which only its minus sign makes an integer.
fn smallest(expression: &Expr) -> bool {
    let Expr::Value(value) = expression else { return false };
    matches!(&value.value, ast::Value::Number(digits, false) if digits == "9223372036854775808")
}

fn one_column() -> SqlError {
    SqlError::syntax("subquery must return only one column")
}

/// The arguments of a call, with DISTINCT and ORDER BY.
fn arguments_of(
    arguments: &ast::FunctionArguments,
) -> Result<(bool, &[ast::FunctionArg], &[ast::OrderByExpr]), SqlError> {
    let list = match arguments {
        ast::FunctionArguments::None => return Ok((false, &[], &[])),
        ast::FunctionArguments::Subquery(_) => {
            return Err(SqlError::unsupported("a subquery as argument"));
        }
        ast::FunctionArguments::List(list) => list,
    };
    let order = match list.clauses.as_slice() {
        [] => &[][..],
        [ast::FunctionArgumentClause::OrderBy(items)] => items,
        _ => return Err(SqlError::unsupported("a clause among a function's arguments")),
    };
    let distinct = matches!(list.duplicate_treatment, Some(ast::DuplicateTreatment::Distinct));
    Ok((distinct, &list.args, order))
}

pub(super) fn plain_argument(argument: &ast::FunctionArg) -> Result<&Expr, SqlError> {
    match argument {
        ast::FunctionArg::Unnamed(ast::FunctionArgExpr::Expr(expression)) => Ok(expression),
        _ => Err(SqlError::unsupported("this kind of function argument")),
    }
}

/// The name of a function that may be one of PostgreSQL's, without `pg_catalog.`; none: it is in another schema.
pub(super) fn function_name(name: &ast::ObjectName) -> Result<Option<String>, SqlError> {
    let parts = super::object_name(name)?.parts;
    let words: Vec<_> = parts.iter().map(|part| part.as_str()).collect();
    match words.as_slice() {
        [name] | ["pg_catalog", name] | ["information_schema", name @ "_pg_expandarray"] => {
            Ok(Some((*name).to_owned()))
        }
        _ => Ok(None),
    }
}

/// The kind of an expression, for 0A000. Never its text, which may be long or secret.
fn kind(expression: &Expr) -> &'static str {
    match expression {
        Expr::AnyOp { .. } | Expr::AllOp { .. } => "this form of ANY or ALL",
        Expr::Cast { .. } | Expr::Convert { .. } => "this form of a cast",
        Expr::JsonAccess { .. } => "access to a field",
        Expr::SimilarTo { .. } | Expr::RLike { .. } => "a regular expression",
        Expr::Tuple(_) => "a row value at this place",
        Expr::Wildcard(_) | Expr::QualifiedWildcard(..) => "* at this place",
        Expr::GroupingSets(_) | Expr::Cube(_) | Expr::Rollup(_) => "GROUPING SETS",
        _ => "this kind of expression",
    }
}
