//! What occurs in an expression, as far as it matters before it is planned.

use sqlparser::ast::{self, Expr};

use super::expression::{function_name, plain_argument};
use crate::sql::translate::function;

/// What occurs in an expression, its subqueries left out.
#[derive(Clone, Copy, Default)]
pub(super) struct Contents {
    pub(super) aggregate: bool,
    pub(super) subquery: bool,
}

/// What occurs in an expression. An expression of a kind that is not listed here is refused when it is translated.
pub(super) fn contents(expression: &Expr) -> Contents {
    let mut found = Contents::default();
    let mut waiting = vec![expression];
    while let Some(next) = waiting.pop() {
        match next {
            Expr::Function(call) => found.aggregate |= within_call(call, &mut waiting),
            Expr::Subquery(_) | Expr::Exists { .. } => found.subquery = true,
            Expr::AnyOp { left, right, .. } | Expr::AllOp { left, right, .. } => {
                // An array is looked into by a subquery.
                found.subquery = true;
                waiting.extend([left.as_ref(), right.as_ref()]);
            }
            Expr::Array(array) => waiting.extend(&array.elem),
            Expr::Tuple(items) => waiting.extend(items),
            Expr::Collate { expr, .. } | Expr::CompoundFieldAccess { root: expr, .. } => waiting.push(expr),
            Expr::InSubquery { expr, .. } => {
                found.subquery = true;
                waiting.push(expr);
            }
            Expr::BinaryOp { left, right, .. }
            | Expr::IsDistinctFrom(left, right)
            | Expr::IsNotDistinctFrom(left, right) => waiting.extend([left.as_ref(), right.as_ref()]),
            Expr::Nested(inner)
            | Expr::IsNull(inner)
            | Expr::IsNotNull(inner)
            | Expr::IsTrue(inner)
            | Expr::IsNotTrue(inner)
            | Expr::IsFalse(inner)
            | Expr::IsNotFalse(inner)
            | Expr::IsUnknown(inner)
            | Expr::IsNotUnknown(inner)
            | Expr::UnaryOp { expr: inner, .. }
            | Expr::Cast { expr: inner, .. }
            | Expr::Ceil { expr: inner, .. }
            | Expr::Floor { expr: inner, .. }
            | Expr::Extract { expr: inner, .. } => waiting.push(inner),
            Expr::AtTimeZone { timestamp, time_zone } => {
                waiting.extend([timestamp.as_ref(), time_zone.as_ref()]);
            }
            Expr::Overlay { expr, overlay_what, overlay_from, overlay_for } => {
                waiting.extend([expr.as_ref(), overlay_what.as_ref(), overlay_from.as_ref()]);
                waiting.extend(overlay_for.as_deref());
            }
            Expr::InList { expr, list, .. } => {
                waiting.push(expr);
                waiting.extend(list);
            }
            Expr::Between { expr, low, high, .. } => {
                waiting.extend([expr.as_ref(), low.as_ref(), high.as_ref()]);
            }
            Expr::Like { expr, pattern, .. } | Expr::ILike { expr, pattern, .. } => {
                waiting.extend([expr.as_ref(), pattern.as_ref()]);
            }
            Expr::Case { operand, conditions, else_result, .. } => {
                waiting.extend(operand.as_deref());
                waiting.extend(else_result.as_deref());
                for when in conditions {
                    waiting.extend([&when.condition, &when.result]);
                }
            }
            other => waiting.extend(of_special_call(other)),
        }
    }
    found
}

/// Whether the call is an aggregate's; what stands in it is added to `waiting`.
fn within_call<'e>(call: &'e ast::Function, waiting: &mut Vec<&'e Expr>) -> bool {
    waiting.extend(call.filter.as_deref());
    if let Some(ast::WindowType::WindowSpec(spec)) = &call.over {
        waiting.extend(within_window(spec));
    }
    if let ast::FunctionArguments::List(list) = &call.args {
        waiting.extend(list.args.iter().filter_map(|argument| plain_argument(argument).ok()));
    }
    let name = function_name(&call.name).ok().flatten();
    let is_aggregate = name.is_some_and(|name| function::is_aggregate(&name) || name == "grouping");
    is_aggregate && call.over.is_none()
}

/// The expressions of a window.
pub(super) fn within_window(spec: &ast::WindowSpec) -> impl Iterator<Item = &Expr> {
    spec.partition_by.iter().chain(spec.order_by.iter().map(|item| &item.expr))
}

/// What stands in a call that has a syntax of its own.
fn of_special_call(expression: &Expr) -> Vec<&Expr> {
    match expression {
        Expr::Substring { expr, substring_from, substring_for, .. } => {
            let rest = [substring_from, substring_for].into_iter().flatten();
            std::iter::once(expr).chain(rest).map(AsRef::as_ref).collect()
        }
        Expr::Overlay { expr, overlay_what, overlay_from, overlay_for } => {
            [expr, overlay_what, overlay_from].into_iter().chain(overlay_for).map(AsRef::as_ref).collect()
        }
        Expr::Trim { expr, trim_what, .. } => {
            std::iter::once(expr).chain(trim_what).map(AsRef::as_ref).collect()
        }
        Expr::Position { expr, r#in } => vec![expr, r#in],
        Expr::Extract { expr, .. } => vec![expr],
        Expr::AtTimeZone { timestamp, time_zone } => vec![timestamp, time_zone],
        _ => Vec::new(),
    }
}
