//! Exact decimals: the values of DECIMAL, and the numbers in JSONB.
//!
//! The row store holds one as its canonical text: a sign if it is negative, no needless zero in front, and as many
//! digits after the point as its scale says. Two texts may be one value (`1.5`, `1.50`): [`compare`] orders texts by
//! value, and [`key`] is the same text for all that are equal.
//!
//! Scales and roundings are CockroachDB's (`apd`): exact for `+`, `-`, `*` and `%`; [`DIGITS`] digits for what has no
//! end, half away from zero.

#[cfg(test)]
mod tests;

use std::cmp::Ordering;
use std::fmt;

use grantd_catalog::object::DecimalBound;
use num_bigint::{BigInt, Sign};

use crate::error::{SqlError, state};

/// Digits of a quotient, root, logarithm or power. Source: CockroachDB's `DecimalCtx`.
pub const DIGITS: u32 = 20;
/// The most digits before the point. Source: PostgreSQL's manual, table 8.2.
const WHOLE_DIGITS_MAX: u32 = 131_072;
/// The most digits after the point. Source: the same.
pub const SCALE_MAX: u32 = 16_383;
/// Digits that a series is summed with: enough that the last of [`DIGITS`] is right for every argument that is let in.
const SERIES_DIGITS: u32 = 80;
/// Beyond this `exp()` overflows in PostgreSQL too, or is nothing.
const EXPONENT_MAX: i64 = 6_000;

/// An exact decimal: `units` / 10^`scale`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decimal {
    units: BigInt,
    scale: u32,
}

fn ten_to(power: u32) -> BigInt {
    BigInt::from(10).pow(power)
}

fn overflow() -> SqlError {
    SqlError::new(state::NUMERIC_VALUE_OUT_OF_RANGE, "value overflows numeric format")
}

fn digits_of(units: &BigInt) -> u32 {
    match units.sign() {
        Sign::NoSign => 1,
        Sign::Minus | Sign::Plus => {
            u32::try_from(units.magnitude().to_str_radix(10).len()).unwrap_or(u32::MAX)
        }
    }
}

/// `a / b`, half away from zero. `b` is not 0.
fn rounded_quotient(a: &BigInt, b: &BigInt) -> BigInt {
    let (quotient, rest) = (a / b, a % b);
    let twice = BigInt::from(rest.magnitude().clone()) * 2;
    if twice < BigInt::from(b.magnitude().clone()) {
        return quotient;
    }
    let negative = (a.sign() == Sign::Minus) != (b.sign() == Sign::Minus);
    if negative { quotient - 1 } else { quotient + 1 }
}

impl Decimal {
    fn new(units: BigInt, scale: u32) -> Self {
        Self { units, scale }
    }

    /// 0.
    pub fn zero() -> Self {
        Self::new(BigInt::ZERO, 0)
    }

    /// From `units` / 10^`scale`; 22003 if that has too many digits.
    fn bounded(units: BigInt, scale: u32) -> Result<Self, SqlError> {
        // Three bits and a bit are a digit: no text is made of what is far too long.
        if scale > SCALE_MAX || units.bits() / 4 > u64::from(WHOLE_DIGITS_MAX + scale) {
            return Err(overflow());
        }
        Ok(Self::new(units, scale))
    }

    /// Reads `[+-]1.5e3`; none if it is none such.
    ///
    /// # Errors
    /// 22003 if it has too many digits, 0A000 for NaN and infinity.
    pub fn parse(text: &str) -> Result<Option<Self>, SqlError> {
        let lower = text.to_ascii_lowercase();
        let bare = lower.trim_start_matches(['+', '-']);
        if matches!(bare, "nan" | "inf" | "infinity") {
            return Err(SqlError::unsupported(format!("the decimal {bare}")));
        }
        let (negative, rest) = match lower.as_bytes().first() {
            Some(b'-') => (true, &lower[1..]),
            Some(b'+') => (false, &lower[1..]),
            _ => (false, lower.as_str()),
        };
        let (mantissa, exponent) = rest.split_once('e').map_or((rest, None), |(m, e)| (m, Some(e)));
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let is_number = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        if whole.len() + fraction.len() == 0 || !is_number(whole) || !is_number(fraction) {
            return Ok(None);
        }
        let exponent = match exponent {
            None => 0,
            Some(written) => {
                let digits = written.trim_start_matches(['+', '-']);
                if digits.is_empty() || !is_number(digits) || written.len() - digits.len() > 1 {
                    return Ok(None);
                }
                written.parse::<i32>().map_err(|_| overflow())?
            }
        };
        let scale = i64::try_from(fraction.len()).map_err(|_| overflow())? - i64::from(exponent);
        let bound = i64::from(WHOLE_DIGITS_MAX + SCALE_MAX);
        let digits = i64::try_from(whole.len() + fraction.len()).map_err(|_| overflow())?;
        if digits > bound || scale > i64::from(SCALE_MAX) || -scale > bound {
            return Err(overflow());
        }
        let Some(mut units) = BigInt::parse_bytes(format!("{whole}{fraction}").as_bytes(), 10) else {
            return Ok(None);
        };
        if negative {
            units = -units;
        }
        let scale = match u32::try_from(scale) {
            Ok(scale) => scale,
            Err(_) => {
                units *= ten_to(u32::try_from(-scale).map_err(|_| overflow())?);
                0
            }
        };
        Self::bounded(units, scale).map(Some)
    }

    /// From its own text.
    pub fn from_canonical(text: &str) -> Result<Self, SqlError> {
        Self::parse(text)?.ok_or_else(|| SqlError::internal("the row store holds no decimal"))
    }

    /// From the groups of the binary form: base 10,000, the first of weight `weight`, shown with `scale` digits.
    pub fn from_groups(negative: bool, groups: &[u16], weight: i32, scale: u32) -> Option<Self> {
        let mut units = BigInt::ZERO;
        for group in groups {
            units = units * 10_000 + *group;
        }
        // The last group stands for 10,000^(weight - n + 1).
        let exponent = 4 * (i64::from(weight) - i64::try_from(groups.len()).ok()? + 1) + i64::from(scale);
        let power = u32::try_from(exponent.unsigned_abs()).ok()?;
        if power > 600_000 {
            return None;
        }
        // Digits beyond the scale are cut off, as `numeric_recv` does.
        units = if exponent >= 0 { units * ten_to(power) } else { units / ten_to(power) };
        Self::bounded(if negative { -units } else { units }, scale).ok()
    }

    /// The groups of the binary form: whether it is negative, the groups, the weight of the first.
    pub fn groups(&self) -> (bool, Vec<u16>, i32) {
        // Groups begin at the point.
        let padding = (4 - self.scale % 4) % 4;
        let mut rest = (&self.units * ten_to(padding)).magnitude().to_str_radix(10);
        while !rest.len().is_multiple_of(4) {
            rest.insert(0, '0');
        }
        let mut groups: Vec<u16> = rest
            .as_bytes()
            .chunks(4)
            .map(|four| four.iter().fold(0, |sum, digit| sum * 10 + u16::from(digit - b'0')))
            .collect();
        let after = i32::try_from((self.scale + padding) / 4).unwrap_or(i32::MAX);
        let mut weight = i32::try_from(groups.len()).unwrap_or(i32::MAX) - after - 1;
        while groups.last() == Some(&0) {
            groups.pop();
        }
        let leading = groups.iter().take_while(|group| **group == 0).count();
        groups.drain(..leading);
        weight -= i32::try_from(leading).unwrap_or(0);
        if groups.is_empty() {
            weight = 0;
        }
        (self.is_negative(), groups, weight)
    }

    /// Digits after the point.
    pub const fn scale(&self) -> u32 {
        self.scale
    }

    /// Whether it is below 0.
    pub fn is_negative(&self) -> bool {
        self.units.sign() == Sign::Minus
    }

    /// Whether it is 0.
    pub fn is_zero(&self) -> bool {
        self.units.sign() == Sign::NoSign
    }

    /// An integer.
    pub fn from_int(value: i64) -> Self {
        Self::new(BigInt::from(value), 0)
    }

    /// An integer of any size.
    pub fn from_big(units: BigInt) -> Self {
        Self::new(units, 0)
    }

    /// The shortest decimal that reads back as this number, as CockroachDB has it; 0A000 for infinity.
    pub fn from_float(value: f64) -> Result<Self, SqlError> {
        if !value.is_finite() {
            return Err(SqlError::unsupported("the decimal Infinity"));
        }
        Self::from_canonical(&format!("{value:e}"))
    }

    /// The nearest double; 22003 if there is none.
    pub fn to_float(&self) -> Result<f64, SqlError> {
        match self.to_string().parse::<f64>() {
            Ok(value) if value.is_finite() => Ok(value),
            _ => {
                Err(SqlError::new(state::NUMERIC_VALUE_OUT_OF_RANGE, "value is out of range for type float"))
            }
        }
    }

    /// The nearest integer, half away from zero; none if it does not fit.
    pub fn to_int(&self) -> Option<i64> {
        i64::try_from(&self.at_scale(0).units).ok()
    }

    /// The integer that it is; none if it is none or does not fit.
    fn whole(&self) -> Option<i64> {
        (self.units.clone() % ten_to(self.scale) == BigInt::ZERO).then(|| self.to_int()).flatten()
    }

    /// With exactly `scale` digits after the point, half away from zero.
    fn at_scale(&self, scale: u32) -> Self {
        let units = match scale.cmp(&self.scale) {
            Ordering::Equal => return self.clone(),
            Ordering::Greater => &self.units * ten_to(scale - self.scale),
            Ordering::Less => rounded_quotient(&self.units, &ten_to(self.scale - scale)),
        };
        Self::new(units, scale)
    }

    /// `round(self, places)`: of negative places tens, hundreds, ….
    pub fn rounded(&self, places: i64) -> Result<Self, SqlError> {
        self.placed(places, rounded_quotient)
    }

    /// `trunc(self, places)`.
    pub fn truncated(&self, places: i64) -> Result<Self, SqlError> {
        self.placed(places, |a, b| a / b)
    }

    fn placed(&self, places: i64, divide: fn(&BigInt, &BigInt) -> BigInt) -> Result<Self, SqlError> {
        let places = places.clamp(-i64::from(WHOLE_DIGITS_MAX), i64::from(SCALE_MAX));
        let dropped = i64::from(self.scale) - places;
        let power = u32::try_from(dropped.unsigned_abs()).map_err(|_| overflow())?;
        let scale = u32::try_from(places.max(0)).map_err(|_| overflow())?;
        if dropped <= 0 {
            return Self::bounded(&self.units * ten_to(power), scale);
        }
        if i64::from(digits_of(&self.units)) < dropped {
            return Ok(Self::new(BigInt::ZERO, scale));
        }
        let mut units = divide(&self.units, &ten_to(power));
        if places < 0 {
            units *= ten_to(u32::try_from(-places).map_err(|_| overflow())?);
        }
        Self::bounded(units, scale)
    }

    /// The greatest integer that is not above.
    pub fn floor(&self) -> Self {
        let one = ten_to(self.scale);
        let whole = &self.units / &one;
        let below = self.is_negative() && &whole * &one != self.units;
        Self::new(if below { whole - 1 } else { whole }, 0)
    }

    /// The least integer that is not below.
    pub fn ceiling(&self) -> Self {
        self.negated().floor().negated()
    }

    /// Without its sign.
    pub fn absolute(&self) -> Self {
        if self.is_negative() { self.negated() } else { self.clone() }
    }

    /// -1, 0 or 1.
    pub fn sign(&self) -> Self {
        Self::from_int(match self.units.sign() {
            Sign::Minus => -1,
            Sign::NoSign => 0,
            Sign::Plus => 1,
        })
    }

    /// With the other sign.
    pub fn negated(&self) -> Self {
        Self::new(-&self.units, self.scale)
    }

    /// `self + other`.
    pub fn plus(&self, other: &Self) -> Result<Self, SqlError> {
        let scale = self.scale.max(other.scale);
        Self::bounded(self.at_scale(scale).units + other.at_scale(scale).units, scale)
    }

    /// `self - other`.
    pub fn minus(&self, other: &Self) -> Result<Self, SqlError> {
        self.plus(&other.negated())
    }

    /// `self * other`.
    pub fn times(&self, other: &Self) -> Result<Self, SqlError> {
        let product = Self::new(&self.units * &other.units, self.scale + other.scale);
        // PostgreSQL rounds where there is no room for more digits.
        let scale = product.scale.min(SCALE_MAX);
        let product = product.at_scale(scale);
        Self::bounded(product.units, scale)
    }

    /// `self / other`: exact if it has an end within [`DIGITS`] digits, without needless zeros; 22012 by 0.
    pub fn divided(&self, other: &Self) -> Result<Self, SqlError> {
        if other.is_zero() {
            return Err(SqlError::new(state::DIVISION_BY_ZERO, "division by zero"));
        }
        let ideal = i64::from(self.scale) - i64::from(other.scale);
        if self.is_zero() {
            return Ok(Self::new(BigInt::ZERO, u32::try_from(ideal).unwrap_or(0)));
        }
        // So many digits more than needed, so that the quotient has at least one beyond the last.
        let shift =
            i64::from(digits_of(&other.units)) - i64::from(digits_of(&self.units)) + i64::from(DIGITS) + 1;
        let power = u32::try_from(shift.max(0)).map_err(|_| overflow())?;
        let numerator = &self.units * ten_to(power);
        let excess = i64::from(digits_of(&(&numerator / &other.units))) - i64::from(DIGITS);
        let excess = u32::try_from(excess.max(0)).map_err(|_| overflow())?;
        // One rounding, from the true quotient.
        let divisor = &other.units * ten_to(excess);
        let exact = (&numerator % &divisor) == BigInt::ZERO;
        let mut units = rounded_quotient(&numerator, &divisor);
        let mut scale = ideal + i64::from(power) - i64::from(excess);
        if exact {
            while scale > ideal && scale > 0 && (&units % 10_u32) == BigInt::ZERO {
                units /= 10;
                scale -= 1;
            }
        }
        match u32::try_from(scale) {
            Ok(scale) if scale <= SCALE_MAX => Self::bounded(units, scale),
            Ok(scale) => Ok(Self::new(units, scale).at_scale(SCALE_MAX)),
            Err(_) => Self::bounded(units * ten_to(u32::try_from(-scale).map_err(|_| overflow())?), 0),
        }
    }

    /// The whole part of `self / other`; 22012 by 0.
    pub fn whole_quotient(&self, other: &Self) -> Result<Self, SqlError> {
        if other.is_zero() {
            return Err(SqlError::new(state::DIVISION_BY_ZERO, "division by zero"));
        }
        let scale = self.scale.max(other.scale);
        Ok(Self::new(self.at_scale(scale).units / other.at_scale(scale).units, 0))
    }

    /// What is left of `self` after the whole part of the quotient; 22012 by 0.
    pub fn remainder(&self, other: &Self) -> Result<Self, SqlError> {
        if other.is_zero() {
            return Err(SqlError::new(state::DIVISION_BY_ZERO, "division by zero"));
        }
        let scale = self.scale.max(other.scale);
        Ok(Self::new(self.at_scale(scale).units % other.at_scale(scale).units, scale))
    }

    /// With at most `precision` digits, of them `scale` after the point; 22003 if the rest is too large.
    pub fn fitted(&self, bound: DecimalBound) -> Result<Self, SqlError> {
        let fitted = self.at_scale(u32::from(bound.scale));
        if !fitted.is_zero() && digits_of(&fitted.units) > u32::from(bound.precision) {
            let (precision, scale) = (bound.precision, bound.scale);
            return Err(SqlError::new(state::NUMERIC_VALUE_OUT_OF_RANGE, "numeric field overflow")
                .with_detail(format!(
                    "A field with precision {precision}, scale {scale} must round to an absolute value less \
                     than 10^{}.",
                    precision - scale
                )));
        }
        Ok(fitted)
    }

    /// Rounded to [`DIGITS`] digits that count.
    fn significant(&self) -> Result<Self, SqlError> {
        let places = i64::from(self.scale) - i64::from(digits_of(&self.units)) + i64::from(DIGITS);
        if places >= i64::from(self.scale) { Ok(self.clone()) } else { self.rounded(places) }
    }

    /// Without zeros after the last digit that counts, down to `scale` digits after the point.
    fn reduced(&self, least: u32) -> Self {
        let mut reduced = self.clone();
        while reduced.scale > least && (&reduced.units % 10_u32) == BigInt::ZERO {
            reduced.units /= 10;
            reduced.scale -= 1;
        }
        reduced
    }

    /// The square root; 2201F below 0. One that has an end stops there.
    pub fn square_root(&self) -> Result<Self, SqlError> {
        if self.is_negative() {
            let code = grantd_catalog::refusal::SqlState::new("2201F");
            return Err(SqlError::new(code, "cannot take square root of a negative number"));
        }
        if self.is_zero() {
            return Ok(Self::new(BigInt::ZERO, self.scale / 2));
        }
        let digits = digits_of(&self.units);
        // An even power, so that its root is one.
        let power = (2 * DIGITS + 4).saturating_sub(digits);
        let power = if (self.scale + power).is_multiple_of(2) { power } else { power + 1 };
        let scaled = &self.units * ten_to(power);
        let root = scaled.sqrt();
        let is_exact = &root * &root == scaled;
        let root = Self::bounded(root, (self.scale + power) / 2)?;
        if is_exact { Ok(root.reduced(self.scale.div_ceil(2))) } else { root.significant() }
    }

    /// With [`SERIES_DIGITS`] digits after the point.
    fn for_series(&self) -> BigInt {
        self.at_scale(SERIES_DIGITS).units
    }

    /// e to this power; 22003 if that is too large.
    pub fn exponential(&self) -> Result<Self, SqlError> {
        let whole = self.to_int().filter(|whole| whole.abs() <= EXPONENT_MAX);
        let Some(whole) = whole else {
            return if self.is_negative() { Ok(Self::zero()) } else { Err(overflow()) };
        };
        if self.is_negative() {
            return Self::from_int(1).divided(&self.negated().exponential_sum(-whole));
        }
        self.exponential_sum(whole).significant()
    }

    /// e to this power, which is not negative and near to `whole`.
    fn exponential_sum(&self, whole: i64) -> Self {
        let one = ten_to(SERIES_DIGITS);
        // e^x = (e^(x / 2^k))^(2^k): the halved argument is below 1/2, and few terms are enough.
        let halvings = 64 - whole.unsigned_abs().leading_zeros() + 2;
        let working = &one * ten_to(SERIES_DIGITS);
        let argument = self.at_scale(2 * SERIES_DIGITS).units >> halvings;
        let (mut sum, mut term, mut n) = (working.clone(), working.clone(), 1_u32);
        while term.sign() != Sign::NoSign {
            term = &term * &argument / &working / n;
            sum += &term;
            n += 1;
        }
        for _ in 0..halvings {
            sum = &sum * &sum / &working;
        }
        Self::new(sum, 2 * SERIES_DIGITS)
    }

    /// The natural logarithm; 2201E of what is not above 0.
    pub fn logarithm(&self) -> Result<Self, SqlError> {
        Self::new(self.logarithm_units()?, SERIES_DIGITS).significant()
    }

    /// The logarithm to base 10.
    pub fn logarithm_10(&self) -> Result<Self, SqlError> {
        let ten = Self::from_int(10).logarithm_units()?;
        let quotient = rounded_quotient(&(self.logarithm_units()? * ten_to(SERIES_DIGITS)), &ten);
        let result = Self::new(quotient, SERIES_DIGITS).significant()?;
        Ok(if result.whole().is_some() { result.reduced(0) } else { result })
    }

    fn logarithm_units(&self) -> Result<BigInt, SqlError> {
        if self.is_zero() || self.is_negative() {
            let code = grantd_catalog::refusal::SqlState::new("2201E");
            let what = if self.is_zero() { "zero" } else { "a negative number" };
            return Err(SqlError::new(code, format!("cannot take logarithm of {what}")));
        }
        let one = ten_to(SERIES_DIGITS);
        // x = m × 10^e with m in [0.1, 1); ln x = ln m + e ln 10.
        let exponent = i64::from(digits_of(&self.units)) - i64::from(self.scale);
        let mantissa = {
            let digits = digits_of(&self.units);
            if digits <= SERIES_DIGITS {
                &self.units * ten_to(SERIES_DIGITS - digits)
            } else {
                &self.units / ten_to(digits - SERIES_DIGITS)
            }
        };
        let ln = |m: &BigInt| {
            // ln m = 2 artanh((m - 1) / (m + 1)), after square roots that bring m near to 1.
            let (mut m, mut doublings) = (m.clone(), 1_u32);
            for _ in 0..6 {
                m = (&m * &one).sqrt();
                doublings += 1;
            }
            let z = (&m - &one) * &one / (&m + &one);
            let square = &z * &z / &one;
            let (mut sum, mut power, mut n) = (BigInt::ZERO, z, 1_u32);
            while power.sign() != Sign::NoSign {
                sum += &power / n;
                power = &power * &square / &one;
                n += 2;
            }
            sum << doublings
        };
        let tenth = &one / 10;
        let ln_ten = -ln(&tenth);
        Ok(ln(&mantissa) + ln_ten * exponent)
    }

    /// This to the power of `exponent`; 2201F where that is no real number.
    pub fn power(&self, exponent: &Self) -> Result<Self, SqlError> {
        let undefined = |message| {
            let code = grantd_catalog::refusal::SqlState::new("2201F");
            SqlError::new(code, message)
        };
        if self.is_zero() && exponent.is_negative() {
            return Err(undefined("zero raised to a negative power is undefined"));
        }
        if self.is_zero() {
            return Ok(Self::from_int(i64::from(exponent.is_zero())));
        }
        if let Some(times) = exponent.whole() {
            let most = u64::from(WHOLE_DIGITS_MAX);
            let digits = u64::from(digits_of(&self.units)).saturating_mul(times.unsigned_abs());
            let exact = self.scale.checked_mul(u32::try_from(times.unsigned_abs()).unwrap_or(u32::MAX));
            if let (Some(scale), true) = (exact.filter(|scale| *scale <= SCALE_MAX), digits <= most) {
                let times = u32::try_from(times.unsigned_abs()).map_err(|_| overflow())?;
                let result = Self::bounded(self.units.pow(times), scale)?;
                return if exponent.is_negative() {
                    Self::from_int(1).divided(&result)
                } else {
                    result.significant_fraction()
                };
            }
        }
        if self.is_negative() {
            return Err(undefined("a negative number raised to a non-integer power yields a complex result"));
        }
        let product = self.logarithm_units()? * exponent.for_series() / ten_to(SERIES_DIGITS);
        Self::new(product, SERIES_DIGITS).exponential()
    }

    /// All digits before the point, and after it no more than there is room for in [`DIGITS`].
    fn significant_fraction(&self) -> Result<Self, SqlError> {
        let whole = digits_of(&self.units).saturating_sub(self.scale);
        let places = DIGITS.saturating_sub(whole).min(self.scale);
        self.rounded(i64::from(places)).map(|rounded| rounded.reduced(0))
    }
}

impl fmt::Display for Decimal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = self.units.magnitude().to_str_radix(10);
        let scale = self.scale as usize;
        let sign = if self.is_negative() { "-" } else { "" };
        if scale == 0 {
            return write!(f, "{sign}{digits}");
        }
        let digits = format!("{digits:0>width$}", width = scale + 1);
        let (whole, fraction) = digits.split_at(digits.len() - scale);
        write!(f, "{sign}{whole}.{fraction}")
    }
}

/// A canonical text in parts: whether it is negative, whole digits, digits after the point without zeros at the end.
fn parts(text: &str) -> Option<(bool, &str, &str)> {
    let (negative, rest) = text.strip_prefix('-').map_or((false, text), |rest| (true, rest));
    let (whole, fraction) = rest.split_once('.').unwrap_or((rest, ""));
    let is_number = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let whole_known = !whole.is_empty() && is_number(whole) && is_number(fraction);
    whole_known.then(|| (negative, whole, fraction.trim_end_matches('0')))
}

/// Orders canonical texts by value. What is none stands behind all that are, by its bytes: an order of SQLite must be
/// total. Cost: linear, without memory.
pub fn compare(a: &str, b: &str) -> Ordering {
    let (a_parts, b_parts) = match (parts(a), parts(b)) {
        (Some(a), Some(b)) => (a, b),
        (Some(_), None) => return Ordering::Less,
        (None, Some(_)) => return Ordering::Greater,
        (None, None) => return a.as_bytes().cmp(b.as_bytes()),
    };
    let sign = |(negative, whole, fraction): (bool, &str, &str)| match negative {
        _ if whole.bytes().all(|byte| byte == b'0') && fraction.is_empty() => 0,
        true => -1,
        false => 1,
    };
    let (a_sign, b_sign) = (sign(a_parts), sign(b_parts));
    if a_sign != b_sign || a_sign == 0 {
        return a_sign.cmp(&b_sign);
    }
    let trimmed = |whole: &str| whole.trim_start_matches('0').len();
    let magnitude = trimmed(a_parts.1)
        .cmp(&trimmed(b_parts.1))
        .then_with(|| a_parts.1.trim_start_matches('0').cmp(b_parts.1.trim_start_matches('0')))
        .then_with(|| a_parts.2.cmp(b_parts.2));
    if a_sign < 0 { magnitude.reverse() } else { magnitude }
}

/// The same text for all texts of one value.
pub fn key(text: &str) -> String {
    match text.split_once('.') {
        Some((whole, fraction)) => {
            let fraction = fraction.trim_end_matches('0');
            match (whole, fraction) {
                ("-0", "") => "0".to_owned(),
                (whole, "") => whole.to_owned(),
                (whole, fraction) => format!("{whole}.{fraction}"),
            }
        }
        None => text.to_owned(),
    }
}
