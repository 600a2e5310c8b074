//! Functions on decimals and doubles, and the aggregates that make decimals.

use std::cmp::Ordering;

use grantd_catalog::object::DecimalBound;
use grantd_raft::rows::{Accumulator, Aggregate, Value};
use num_bigint::BigInt;

use super::{Entry, extreme_by, int, number, raise, real, string};
use crate::error::{SqlError, state};
use crate::value::decimal::{self, Decimal};
use crate::value::interval::Interval;
use crate::value::json::{self, Json};
use crate::value::{SqlType, out_of_range, single};

pub(super) const TABLE: &[Entry] = &[
    ("g_decimal_cmp", 2, true, |v| Ok(ordering(decimal::compare(string(&v[0])?, string(&v[1])?)))),
    ("g_decimal_key", 1, true, |v| Ok(Value::Text(decimal::key(string(&v[0])?)))),
    ("g_decimal_greatest", -1, false, |v| extreme_by(v, Ordering::Greater, decimal::compare)),
    ("g_decimal_least", -1, false, |v| extreme_by(v, Ordering::Less, decimal::compare)),
    ("g_decimal_nullif", 2, false, |v| unless_equal(v, decimal::compare)),
    ("g_decimal_add", 2, true, |v| two(v, Decimal::plus)),
    ("g_decimal_sub", 2, true, |v| two(v, Decimal::minus)),
    ("g_decimal_mul", 2, true, |v| two(v, Decimal::times)),
    ("g_decimal_div", 2, true, |v| two(v, Decimal::divided)),
    ("g_decimal_mod", 2, true, |v| two(v, Decimal::remainder)),
    ("g_decimal_whole", 2, true, |v| two(v, Decimal::whole_quotient)),
    ("g_decimal_pow", 2, true, |v| two(v, Decimal::power)),
    ("g_decimal_neg", 1, true, |v| one(v, |d| Ok(d.negated()))),
    ("g_decimal_abs", 1, true, |v| one(v, |d| Ok(d.absolute()))),
    ("g_decimal_sign", 1, true, |v| one(v, |d| Ok(d.sign()))),
    ("g_decimal_floor", 1, true, |v| one(v, |d| Ok(d.floor()))),
    ("g_decimal_ceil", 1, true, |v| one(v, |d| Ok(d.ceiling()))),
    ("g_decimal_sqrt", 1, true, |v| one(v, Decimal::square_root)),
    ("g_decimal_ln", 1, true, |v| one(v, Decimal::logarithm)),
    ("g_decimal_log", 1, true, |v| one(v, Decimal::logarithm_10)),
    ("g_decimal_exp", 1, true, |v| one(v, Decimal::exponential)),
    ("g_decimal_round", -1, true, |v| one(v, |d| d.rounded(places(v)?))),
    ("g_decimal_trunc", -1, true, |v| one(v, |d| d.truncated(places(v)?))),
    ("g_decimal_scale", 1, true, |v| Ok(Value::Integer(read(&v[0])?.scale().into()))),
    ("g_decimal_fit", 3, true, |v| {
        let small = |value: &Value| u16::try_from(int(value)?).map_err(|_| super::wrong());
        let bound = DecimalBound { precision: small(&v[1])?, scale: small(&v[2])? };
        one(v, |d| d.fitted(bound))
    }),
    ("g_decimal_int", 1, true, |v| {
        read(&v[0])?.to_int().map(Value::Integer).ok_or_else(|| out_of_range(SqlType::Int8))
    }),
    ("g_decimal_float", 1, true, |v| read(&v[0])?.to_float().map(Value::Real)),
    ("g_float_decimal", 1, true, |v| Decimal::from_float(real(&v[0])?).map(shown)),
    // Its digits are those of single precision.
    ("g_float4_decimal", 1, true, |v| {
        Decimal::from_canonical(&format!("{:e}", single(real(&v[0])?))).map(shown)
    }),
    ("g_float4", 1, true, |v| {
        let (wide, near) = (real(&v[0])?, single(real(&v[0])?));
        if near.is_infinite() && wide.is_finite() || near == 0.0 && wide != 0.0 {
            return Err(SqlError::new(
                state::NUMERIC_VALUE_OUT_OF_RANGE,
                "value is out of range for type float4",
            ));
        }
        Ok(Value::Real(f64::from(near)))
    }),
    ("g_float4_text", 1, true, |v| Ok(Value::Text(crate::value::text::float4(single(real(&v[0])?))))),
    ("g_fpow", 2, true, |v| {
        let (base, exponent) = (real(&v[0])?, real(&v[1])?);
        if base < 0.0 && exponent.fract() != 0.0 {
            let message = "a negative number raised to a non-integer power yields a complex result";
            return Err(undefined("2201F", message));
        }
        if base == 0.0 && exponent < 0.0 {
            return Err(undefined("2201F", "zero raised to a negative power is undefined"));
        }
        finite(base.powf(exponent), base.is_finite() && exponent.is_finite())
    }),
    ("g_fexp", 1, true, |v| finite(real(&v[0])?.exp(), real(&v[0])?.is_finite())),
    ("g_fln", 1, true, |v| logarithm(v, f64::ln)),
    ("g_flog", 1, true, |v| logarithm(v, f64::log10)),
    ("g_fround", 2, true, |v| {
        let (value, places) = (real(&v[0])?, int(&v[1])?);
        if !value.is_finite() {
            return Ok(Value::Real(value));
        }
        Decimal::from_float(value)?.rounded(places)?.to_float().map(Value::Real)
    }),
    ("g_fcbrt", 1, true, |v| number(real(&v[0])?.cbrt())),
    ("g_pow", 2, true, |v| {
        let (base, exponent) = (int(&v[0])?, int(&v[1])?);
        let exponent = u32::try_from(exponent).map_err(|_| match exponent {
            ..0 => undefined("22023", "integer out of range: a negative exponent of an integer"),
            _ => out_of_range(SqlType::Int8),
        });
        exponent?.pipe(|n| base.checked_pow(n)).map(Value::Integer).ok_or_else(|| out_of_range(SqlType::Int8))
    }),
    ("g_xor", 2, true, |v| Ok(Value::Integer(int(&v[0])? ^ int(&v[1])?))),
    ("g_shl", 2, true, |v| shifted(v, i64::checked_shl)),
    ("g_shr", 2, true, |v| shifted(v, i64::checked_shr)),
    ("g_to_hex", 1, true, |v| Ok(Value::Text(format!("{:x}", int(&v[0])?)))),
    ("g_width_bucket", 4, true, |v| {
        let (value, low, high, count) = (real(&v[0])?, real(&v[1])?, real(&v[2])?, int(&v[3])?);
        width_bucket(value, (low, high), count)
    }),
];

/// A value through a function, so that a chain reads in order.
trait Pipe: Sized {
    fn pipe<T>(self, function: impl FnOnce(Self) -> T) -> T {
        function(self)
    }
}
impl Pipe for u32 {}

fn undefined(code: &'static str, message: &str) -> SqlError {
    SqlError::new(grantd_catalog::refusal::SqlState::new(code), message)
}

fn shifted(values: &[Value], shift: fn(i64, u32) -> Option<i64>) -> Result<Value, SqlError> {
    let shifted = u32::try_from(int(&values[1])?).ok().and_then(|by| shift(int(&values[0]).ok()?, by));
    shifted.map(Value::Integer).ok_or_else(|| {
        SqlError::new(grantd_catalog::refusal::state::INVALID_PARAMETER_VALUE, "shift argument out of range")
    })
}

#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    reason = "the range is checked before"
)]
fn width_bucket(value: f64, (low, high): (f64, f64), count: i64) -> Result<Value, SqlError> {
    if count <= 0 || count > i64::from(i32::MAX) {
        return Err(undefined("2201G", "count must be greater than zero"));
    }
    if low == high || !low.is_finite() || !high.is_finite() {
        return Err(undefined("2201G", "lower bound cannot equal upper bound"));
    }
    let share = (value - low) / (high - low);
    Ok(Value::Integer(match share {
        _ if share < 0.0 => 0,
        _ if share >= 1.0 => count + 1,
        _ => ((share * count as f64) as i64) + 1,
    }))
}

fn finite(value: f64, of_finite: bool) -> Result<Value, SqlError> {
    if value.is_infinite() && of_finite {
        return Err(SqlError::new(state::NUMERIC_VALUE_OUT_OF_RANGE, "value out of range: overflow"));
    }
    number(value)
}

fn logarithm(values: &[Value], compute: fn(f64) -> f64) -> Result<Value, SqlError> {
    let value = real(&values[0])?;
    if value <= 0.0 {
        let what = if value == 0.0 { "zero" } else { "a negative number" };
        return Err(undefined("2201E", &format!("cannot take logarithm of {what}")));
    }
    number(compute(value))
}

pub(super) fn ordering(order: Ordering) -> Value {
    Value::Integer(order as i64)
}

pub(super) fn unless_equal(values: &[Value], compare: fn(&str, &str) -> Ordering) -> Result<Value, SqlError> {
    match (&values[0], &values[1]) {
        (Value::Text(a), Value::Text(b)) if compare(a, b).is_eq() => Ok(Value::Null),
        (first, _) => Ok(first.clone()),
    }
}

fn read(value: &Value) -> Result<Decimal, SqlError> {
    Decimal::from_canonical(string(value)?)
}

fn shown(decimal: Decimal) -> Value {
    Value::Text(decimal.to_string())
}

fn one(values: &[Value], compute: impl Fn(&Decimal) -> Result<Decimal, SqlError>) -> Result<Value, SqlError> {
    compute(&read(&values[0])?).map(shown)
}

fn two(
    values: &[Value],
    compute: fn(&Decimal, &Decimal) -> Result<Decimal, SqlError>,
) -> Result<Value, SqlError> {
    compute(&read(&values[0])?, &read(&values[1])?).map(shown)
}

fn places(values: &[Value]) -> Result<i64, SqlError> {
    values.get(1).map_or(Ok(0), int)
}

/// The aggregates.
pub(super) fn aggregates() -> Vec<Aggregate> {
    let aggregate = |name, arguments, start| Aggregate { name, arguments, start };
    vec![
        aggregate("g_int_sum", 1, || Box::new(Sum::default())),
        aggregate("g_int_avg", 1, || Box::new(Sum { average: true, ..Sum::default() })),
        aggregate("g_float_sum", 1, || Box::new(Floats::default())),
        aggregate("g_float_avg", 1, || Box::new(Floats { average: true, ..Floats::default() })),
        aggregate("g_decimal_sum", 1, || Box::new(Sum::default())),
        aggregate("g_decimal_avg", 1, || Box::new(Sum { average: true, ..Sum::default() })),
        aggregate("g_decimal_min", 1, || Box::new(Extreme::new(Ordering::Less, decimal::compare))),
        aggregate("g_decimal_max", 1, || Box::new(Extreme::new(Ordering::Greater, decimal::compare))),
        aggregate("g_interval_min", 1, || Box::new(Extreme::new(Ordering::Less, super::interval::compare))),
        aggregate("g_interval_max", 1, || {
            Box::new(Extreme::new(Ordering::Greater, super::interval::compare))
        }),
        aggregate("g_interval_sum", 1, || Box::new(Spans::default())),
        aggregate("g_interval_avg", 1, || Box::new(Spans { average: true, ..Spans::default() })),
        aggregate("g_json_agg", 1, || Box::new(Items::default())),
        aggregate("g_json_object_agg", 2, || Box::new(Pairs::default())),
    ]
}

fn not_in_a_window(name: &str) -> String {
    raise(&SqlError::unsupported(format!("{name} over a window that rows leave")))
}

/// sum() and avg() of integers and decimals. NULL does not count.
struct Sum {
    integers: i128,
    rest: Decimal,
    count: i64,
    average: bool,
}

impl Default for Sum {
    fn default() -> Self {
        Self { integers: 0, rest: Decimal::zero(), count: 0, average: false }
    }
}

impl Sum {
    fn take(&mut self, value: &Value, sign: i64) -> Result<(), SqlError> {
        match value {
            Value::Null => return Ok(()),
            // 2^63 rows of the greatest integer fit.
            Value::Integer(value) => self.integers += i128::from(*value) * i128::from(sign),
            value => {
                let value = read(value)?;
                self.rest = if sign < 0 { self.rest.minus(&value)? } else { self.rest.plus(&value)? };
            }
        }
        self.count += sign;
        Ok(())
    }

    fn result(&self) -> Result<Value, SqlError> {
        if self.count == 0 {
            return Ok(Value::Null);
        }
        let sum = Decimal::from_big(BigInt::from(self.integers)).plus(&self.rest)?;
        if self.average { sum.divided(&Decimal::from_int(self.count)).map(shown) } else { Ok(shown(sum)) }
    }
}

impl Accumulator for Sum {
    fn add(&mut self, arguments: &[Value]) -> Result<(), String> {
        self.take(&arguments[0], 1).map_err(|error| raise(&error))
    }

    fn remove(&mut self, arguments: &[Value]) -> Result<(), String> {
        self.take(&arguments[0], -1).map_err(|error| raise(&error))
    }

    fn value(&self) -> Result<Value, String> {
        self.result().map_err(|error| raise(&error))
    }
}

/// sum() and avg() of doubles. The row store's own give NULL for NaN, and for what an infinity leaves in a window.
#[derive(Default)]
struct Floats {
    sum: f64,
    /// What the sum lost to rounding (Neumaier), so that rows which leave a window leave nothing behind.
    lost: f64,
    count: i64,
    /// Positive and negative infinities.
    infinite: [i64; 2],
    average: bool,
}

impl Floats {
    fn take(&mut self, value: &Value, sign: i64) -> Result<(), SqlError> {
        if *value == Value::Null {
            return Ok(());
        }
        let value = real(value)?;
        self.count += sign;
        if value.is_infinite() {
            self.infinite[usize::from(value < 0.0)] += sign;
            return Ok(());
        }
        let value = if sign < 0 { -value } else { value };
        let sum = self.sum + value;
        self.lost += match self.sum.abs() >= value.abs() {
            true => (self.sum - sum) + value,
            false => (value - sum) + self.sum,
        };
        self.sum = sum;
        Ok(())
    }

    #[allow(clippy::cast_precision_loss, reason = "nobody counts 2^53 rows")]
    fn result(&self) -> Result<Value, SqlError> {
        if self.count == 0 {
            return Ok(Value::Null);
        }
        let sum = match self.infinite {
            [0, 0] if self.lost.is_finite() => self.sum + self.lost,
            [0, 0] => self.sum,
            [_, 0] => f64::INFINITY,
            [0, _] => f64::NEG_INFINITY,
            _ => f64::NAN,
        };
        number(if self.average { sum / self.count as f64 } else { sum })
    }
}

impl Accumulator for Floats {
    fn add(&mut self, arguments: &[Value]) -> Result<(), String> {
        self.take(&arguments[0], 1).map_err(|error| raise(&error))
    }

    fn remove(&mut self, arguments: &[Value]) -> Result<(), String> {
        self.take(&arguments[0], -1).map_err(|error| raise(&error))
    }

    fn value(&self) -> Result<Value, String> {
        self.result().map_err(|error| raise(&error))
    }
}

/// min() and max() by an order of texts.
struct Extreme {
    best: Value,
    wanted: Ordering,
    compare: fn(&str, &str) -> Ordering,
}

impl Extreme {
    fn new(wanted: Ordering, compare: fn(&str, &str) -> Ordering) -> Self {
        Self { best: Value::Null, wanted, compare }
    }
}

impl Accumulator for Extreme {
    fn add(&mut self, arguments: &[Value]) -> Result<(), String> {
        let best = [self.best.clone(), arguments[0].clone()];
        self.best = extreme_by(&best, self.wanted, self.compare).map_err(|error| raise(&error))?;
        Ok(())
    }

    fn remove(&mut self, _: &[Value]) -> Result<(), String> {
        Err(not_in_a_window("min() or max() of a computed value"))
    }

    fn value(&self) -> Result<Value, String> {
        Ok(self.best.clone())
    }
}

/// sum() and avg() of intervals.
#[derive(Default)]
struct Spans {
    sum: Interval,
    count: i64,
    average: bool,
}

impl Spans {
    fn take(&mut self, value: &Value, sign: i64) -> Result<(), SqlError> {
        if *value == Value::Null {
            return Ok(());
        }
        let value = Interval::from_canonical(string(value)?)?;
        self.sum = self.sum.plus(if sign < 0 { value.negated()? } else { value })?;
        self.count += sign;
        Ok(())
    }

    #[allow(clippy::cast_precision_loss, reason = "the quotient is rounded to microseconds anyway")]
    fn result(&self) -> Result<Value, SqlError> {
        match (self.count, self.average) {
            (0, _) => Ok(Value::Null),
            (_, false) => Ok(Value::Text(self.sum.to_string())),
            (count, true) => Ok(Value::Text(self.sum.times(1.0 / count as f64)?.to_string())),
        }
    }
}

impl Accumulator for Spans {
    fn add(&mut self, arguments: &[Value]) -> Result<(), String> {
        self.take(&arguments[0], 1).map_err(|error| raise(&error))
    }

    fn remove(&mut self, arguments: &[Value]) -> Result<(), String> {
        self.take(&arguments[0], -1).map_err(|error| raise(&error))
    }

    fn value(&self) -> Result<Value, String> {
        self.result().map_err(|error| raise(&error))
    }
}

/// jsonb_agg(): its items as JSON, or NULL for null.
#[derive(Default)]
struct Items {
    items: std::collections::VecDeque<String>,
    bytes: usize,
}

/// What a text that is kept takes in memory.
fn kept(text: &str) -> usize {
    size_of::<String>() + text.len()
}

impl Accumulator for Items {
    fn add(&mut self, arguments: &[Value]) -> Result<(), String> {
        let item = match &arguments[0] {
            Value::Text(json) => json.clone(),
            _ => "null".to_owned(),
        };
        self.bytes += kept(&item);
        self.items.push_back(item);
        Ok(())
    }

    fn remove(&mut self, _: &[Value]) -> Result<(), String> {
        if let Some(item) = self.items.pop_front() {
            self.bytes -= kept(&item);
        }
        Ok(())
    }

    fn bytes(&self) -> usize {
        self.bytes
    }

    fn value(&self) -> Result<Value, String> {
        if self.items.is_empty() {
            return Ok(Value::Null);
        }
        let items: Vec<_> = self.items.iter().map(String::as_str).collect();
        Ok(Value::Text(format!("[{}]", items.join(", "))))
    }
}

/// jsonb_object_agg(): keys as text, values as JSON.
#[derive(Default)]
struct Pairs {
    /// With what each takes in memory, roughly.
    pairs: std::collections::VecDeque<(String, Json, usize)>,
    bytes: usize,
}

/// A parsed document takes several times the bytes of its text.
const JSON_FACTOR: usize = 4;

impl Accumulator for Pairs {
    fn add(&mut self, arguments: &[Value]) -> Result<(), String> {
        let key = match &arguments[0] {
            Value::Text(key) => key.clone(),
            _ => {
                let code = grantd_catalog::refusal::SqlState::new("22023");
                return Err(raise(&SqlError::new(code, "field name must not be null")));
            }
        };
        let (value, written) = match &arguments[1] {
            Value::Text(text) => (Json::from_canonical(text).map_err(|error| raise(&error))?, text.len()),
            _ => (Json::Null, 0),
        };
        let bytes = size_of::<(String, Json)>() + kept(&key) + JSON_FACTOR * written;
        self.bytes += bytes;
        self.pairs.push_back((key, value, bytes));
        Ok(())
    }

    fn remove(&mut self, _: &[Value]) -> Result<(), String> {
        if let Some((_, _, bytes)) = self.pairs.pop_front() {
            self.bytes -= bytes;
        }
        Ok(())
    }

    fn bytes(&self) -> usize {
        self.bytes
    }

    fn value(&self) -> Result<Value, String> {
        if self.pairs.is_empty() {
            return Ok(Value::Null);
        }
        Ok(Value::Text(
            json::Json::object(
                self.pairs.iter().map(|(key, value, _)| (key.clone(), value.clone())).collect(),
            )
            .to_string(),
        ))
    }
}
