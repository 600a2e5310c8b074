//! Window functions. SQLite's mean what PostgreSQL's do; what it would take and answer otherwise is refused.

use grantd_catalog::name::Name;
use sqlparser::ast::{self, Expr};

use super::expression::plain_argument;
use super::query::{direction, ordinal};
use super::scope::{Aggregates, Scope};
use super::{Planner, none, unset};
use crate::error::{SqlError, state};
use crate::sql::parse::name_of;
use crate::sql::translate::{Typed, cast, function, order};
use crate::value::{Family, SqlType};

/// A window that WINDOW names.
pub(super) type NamedWindow = (Name, ast::WindowSpec);

fn windowing(message: impl Into<String>) -> SqlError {
    SqlError::new(state::WINDOWING_ERROR, message)
}

/// The windows of a SELECT, each with all that it takes from those before it.
pub(super) fn named_windows(
    definitions: &[ast::NamedWindowDefinition],
) -> Result<Vec<NamedWindow>, SqlError> {
    let mut known: Vec<NamedWindow> = Vec::with_capacity(definitions.len());
    for ast::NamedWindowDefinition(ident, definition) in definitions {
        let name = name_of(ident);
        if known.iter().any(|(other, _)| *other == name) {
            return Err(windowing(format!("window \"{name}\" is already defined")));
        }
        let spec = match definition {
            ast::NamedWindowExpr::WindowSpec(spec) => whole(spec, &known)?,
            ast::NamedWindowExpr::NamedWindow(_) => {
                return Err(SqlError::syntax("a window is defined in parentheses"));
            }
        };
        known.push((name, spec));
    }
    Ok(known)
}

fn find(ident: &ast::Ident, known: &[NamedWindow]) -> Result<ast::WindowSpec, SqlError> {
    let name = name_of(ident);
    let found = known.iter().find(|(other, _)| *other == name);
    found.map(|(_, spec)| spec.clone()).ok_or_else(|| {
        SqlError::new(
            grantd_catalog::refusal::state::UNDEFINED_OBJECT,
            format!("window \"{name}\" does not exist"),
        )
    })
}

/// A window with what the one that it begins with holds.
fn whole(spec: &ast::WindowSpec, known: &[NamedWindow]) -> Result<ast::WindowSpec, SqlError> {
    let Some(ident) = &spec.window_name else { return Ok(spec.clone()) };
    let (name, base) = (name_of(ident), find(ident, known)?);
    if !spec.partition_by.is_empty() {
        return Err(windowing(format!("cannot override PARTITION BY clause of window \"{name}\"")));
    }
    if !spec.order_by.is_empty() && !base.order_by.is_empty() {
        return Err(windowing(format!("cannot override ORDER BY clause of window \"{name}\"")));
    }
    if base.window_frame.is_some() {
        return Err(windowing(format!("cannot copy window \"{name}\" because it has a frame clause")));
    }
    let order_by = if spec.order_by.is_empty() { base.order_by } else { spec.order_by.clone() };
    let window_frame = spec.window_frame.clone();
    Ok(ast::WindowSpec { window_name: None, partition_by: base.partition_by, order_by, window_frame })
}

impl Planner<'_> {
    /// A function that is one only with OVER. None: it is none such.
    pub(super) fn window_call(
        &mut self,
        name: &str,
        arguments: &[ast::FunctionArg],
        window: &ast::WindowType,
        scope: &Scope<'_>,
    ) -> Result<Option<Typed>, SqlError> {
        let most = match name {
            "row_number" | "rank" | "dense_rank" | "percent_rank" | "cume_dist" => 0,
            "ntile" | "first_value" | "last_value" => 1,
            "nth_value" => 2,
            "lag" | "lead" => 3,
            _ => return Ok(None),
        };
        let least = if most == 3 { 1 } else { most };
        if !(least..=most).contains(&arguments.len()) {
            return Err(function::undefined(name));
        }
        let (over, inner) = self.over(window, scope)?;
        let mut items = Vec::with_capacity(arguments.len());
        for argument in arguments {
            items.push(self.expression(plain_argument(argument)?, &inner)?);
        }
        let mut items = items.into_iter();
        let (sql, sql_type) = match (name, items.next()) {
            ("percent_rank" | "cume_dist", _) => (format!("{name}()"), SqlType::Float8),
            ("ntile", Some(count)) => (format!("ntile({})", counted(&count, 1, name)?), SqlType::Int8),
            ("nth_value", Some(value)) => {
                let value = cast::settled(value, &mut self.parameters)?;
                let count = items.next().ok_or_else(|| function::undefined(name))?;
                (format!("nth_value({}, {})", value.sql, counted(&count, 1, name)?), value.sql_type)
            }
            ("lag" | "lead", Some(value)) => {
                let offset = match items.next() {
                    Some(offset) => counted(&offset, 0, name)?,
                    None => "1".to_owned(),
                };
                let mut values = vec![value];
                values.extend(items.next());
                let (values, sql_type) = cast::unify(values, name, &mut self.parameters)?;
                let default = values.get(1).map_or("NULL", |default| default.sql.as_str());
                (format!("{name}({}, {offset}, {default})", values[0].sql), sql_type)
            }
            (_, Some(value)) => {
                let value = cast::settled(value, &mut self.parameters)?;
                (format!("{name}({})", value.sql), value.sql_type)
            }
            (_, None) => (format!("{name}()"), SqlType::Int8),
        };
        Ok(Some(Typed::computed(format!("{sql}{over}"), sql_type)))
    }

    /// ` OVER (…)`, and what is in sight in the arguments.
    pub(super) fn over<'s>(
        &mut self,
        window: &ast::WindowType,
        scope: &Scope<'s>,
    ) -> Result<(String, Scope<'s>), SqlError> {
        match scope.aggregates {
            Aggregates::Allowed => {}
            Aggregates::WithoutWindows(place) | Aggregates::Refused(place) => {
                return Err(windowing(format!("window functions are not allowed in {place}")));
            }
        }
        let inner =
            Scope { aggregates: Aggregates::WithoutWindows("window function calls"), ..scope.clone() };
        let spec = match window {
            ast::WindowType::WindowSpec(spec) => whole(spec, &scope.windows)?,
            ast::WindowType::NamedWindow(ident) => find(ident, &scope.windows)?,
        };
        let mut parts = Vec::new();
        let mut keys = Vec::with_capacity(spec.partition_by.len());
        for key in &spec.partition_by {
            let typed = self.expression(key, &inner)?;
            keys.push(order::listed(&cast::settled(typed, &mut self.parameters)?));
        }
        if !keys.is_empty() {
            parts.push(format!("PARTITION BY {}", keys.join(", ")));
        }
        let mut ordering = Vec::with_capacity(spec.order_by.len());
        let mut families = Vec::with_capacity(spec.order_by.len());
        for item in &spec.order_by {
            let typed = self.expression(&item.expr, &inner)?;
            let typed = cast::settled(typed, &mut self.parameters)?;
            families.push(typed.sql_type.family());
            ordering.push(format!("{}{}", order::listed(&typed), direction(item)?));
        }
        if !ordering.is_empty() {
            parts.push(format!("ORDER BY {}", ordering.join(", ")));
        }
        if let Some(window_frame) = &spec.window_frame {
            parts.push(frame(window_frame, &families)?);
        }
        Ok((format!(" OVER ({})", parts.join(" ")), inner))
    }

    /// A call with OVER: an aggregate or a function of windows.
    pub(super) fn windowed(
        &mut self,
        call: &ast::Function,
        name: Option<&str>,
        (distinct, arguments, order): (bool, &[ast::FunctionArg], &[ast::OrderByExpr]),
        scope: &Scope<'_>,
    ) -> Result<Typed, SqlError> {
        let (Some(window), Some(name)) = (&call.over, name) else {
            return Err(SqlError::unsupported("a function of the user's with OVER"));
        };
        unset(distinct, "DISTINCT in a window function")?;
        unset(!order.is_empty(), "ORDER BY among the arguments of a window function")?;
        if function::is_aggregate(name) {
            let (over, inner) = self.over(window, scope)?;
            return self.aggregate((name, false), (arguments, &[]), (call.filter.as_deref(), &over), &inner);
        }
        none(&call.filter, "FILTER of a function that is no aggregate")?;
        self.window_call(name, arguments, window, scope)?.ok_or_else(|| {
            SqlError::new(
                grantd_catalog::refusal::state::WRONG_OBJECT_TYPE,
                format!("OVER specified, but {name} is not a window function nor an aggregate function"),
            )
        })
    }
}

/// A count that is written as such: SQLite would take others otherwise than PostgreSQL, or not at all.
fn counted(typed: &Typed, least: i64, name: &str) -> Result<String, SqlError> {
    match typed.sql.parse::<i64>() {
        Ok(count) if count >= least => Ok(count.to_string()),
        _ => Err(SqlError::unsupported(format!(
            "{name}() with anything but a positive number as it is written"
        ))),
    }
}

fn frame(frame: &ast::WindowFrame, order: &[Family]) -> Result<String, SqlError> {
    use ast::WindowFrameBound as B;
    let ast::WindowFrame { units, start_bound, end_bound } = frame;
    let end = end_bound.as_ref().unwrap_or(&B::CurrentRow);
    let has_offset =
        [start_bound, end].iter().any(|bound| matches!(bound, B::Preceding(Some(_)) | B::Following(Some(_))));
    match units {
        ast::WindowFrameUnits::Rows => {}
        ast::WindowFrameUnits::Groups if order.is_empty() => {
            return Err(windowing("GROUPS mode requires an ORDER BY clause"));
        }
        ast::WindowFrameUnits::Groups => {}
        ast::WindowFrameUnits::Range => match order {
            _ if !has_offset => {}
            [Family::Int | Family::Float] => {}
            [_] => return Err(SqlError::unsupported("RANGE with an offset of such a type")),
            _ => {
                return Err(windowing(
                    "RANGE with offset PRECEDING/FOLLOWING requires exactly one ORDER BY column",
                ));
            }
        },
    }
    let place = |bound: &B| match bound {
        B::Preceding(None) => 0,
        B::Preceding(Some(_)) => 1,
        B::CurrentRow => 2,
        B::Following(Some(_)) => 3,
        B::Following(None) => 4,
    };
    let (from, to) = (place(start_bound), place(end));
    if from == 4 || to == 0 || from > to {
        return Err(windowing("the frame ends before it starts"));
    }
    Ok(format!("{units} BETWEEN {} AND {}", bound(start_bound)?, bound(end)?))
}

fn bound(bound: &ast::WindowFrameBound) -> Result<String, SqlError> {
    use ast::WindowFrameBound as B;
    let count = |expression: &Expr| {
        ordinal(expression).ok_or_else(|| {
            SqlError::unsupported("a window frame with anything but a number as it is written")
        })
    };
    Ok(match bound {
        B::CurrentRow => "CURRENT ROW".to_owned(),
        B::Preceding(None) => "UNBOUNDED PRECEDING".to_owned(),
        B::Following(None) => "UNBOUNDED FOLLOWING".to_owned(),
        B::Preceding(Some(offset)) => format!("{} PRECEDING", count(offset)?),
        B::Following(Some(offset)) => format!("{} FOLLOWING", count(offset)?),
    })
}
