//! A measured figure with how far it moved, and what may be said of it: met, missed, or nothing.
//!
//! What is compared is measured in rounds, A B C A B C …, so that a machine's moods meet all of it. A figure is the median
//! of its rounds; its noise is how far the rounds lie apart. A ratio is made round by round, so that what slows both of a
//! round cancels out. **No verdict is given where the noise is larger than the distance from the goal.**

use std::fmt;

/// The rounds that count for the noise: all but the tenth part at either end.
const FROM: f64 = 0.1;
const UNTIL: f64 = 0.9;

/// The median of several rounds, and their noise.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Figure {
    /// The median.
    pub value: f64,
    /// Half the range of the rounds without their outermost tenths, as a share of the median.
    pub noise: f64,
}

/// What a figure shall be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Goal {
    /// Not more.
    AtMost(f64),
    /// Not less.
    AtLeast(f64),
}

/// What may be said.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Verdict {
    /// The figure is on the right side of the goal, by more than the noise.
    Met,
    /// It is on the wrong side, by more than the noise.
    Missed,
    /// The noise is larger than the effect, and either may be so.
    Unknown {
        /// Share of the figure.
        noise: f64,
        /// How far the figure is from the goal, as a share of the goal.
        effect: f64,
    },
}

impl Figure {
    /// The figure of these rounds. None: there are none.
    pub fn of(rounds: &[f64]) -> Option<Self> {
        let mut sorted = rounds.to_vec();
        sorted.sort_by(f64::total_cmp);
        let value = at(&sorted, 0.5)?;
        let range = at(&sorted, UNTIL)? - at(&sorted, FROM)?;
        Some(Self { value, noise: if value == 0.0 { 0.0 } else { (range / 2.0 / value).abs() } })
    }

    /// `these` divided by `those`, round by round.
    pub fn ratio(these: &[f64], those: &[f64]) -> Option<Self> {
        let ratios: Vec<f64> = these.iter().zip(those).map(|(this, that)| this / that).collect();
        Self::of(&ratios)
    }

    /// This one divided by one whose rounds were not in turn with it: what is uncertain of both adds up.
    #[must_use]
    pub fn over(self, other: Self) -> Self {
        Self { value: self.value / other.value, noise: self.noise + other.noise }
    }

    /// The same figure, at least as uncertain as the machine was.
    #[must_use]
    pub fn on(self, machine: f64) -> Self {
        Self { noise: self.noise.max(machine), ..self }
    }

    /// The same figure in another unit.
    #[must_use]
    pub fn times(self, factor: f64) -> Self {
        Self { value: self.value * factor, ..self }
    }
}

impl Goal {
    /// What may be said of `figure`.
    pub fn judge(self, figure: Figure) -> Verdict {
        let (limit, met) = match self {
            Self::AtMost(limit) => (limit, figure.value <= limit),
            Self::AtLeast(limit) => (limit, figure.value >= limit),
        };
        let effect = (figure.value / limit - 1.0).abs();
        match (effect > figure.noise, met) {
            (true, true) => Verdict::Met,
            (true, false) => Verdict::Missed,
            (false, _) => Verdict::Unknown { noise: figure.noise, effect },
        }
    }
}

impl fmt::Display for Figure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ± {:.0} %", digits(self.value), self.noise * 100.0)
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Met => f.write_str("met"),
            Self::Missed => f.write_str("missed"),
            Self::Unknown { noise, effect } => write!(
                f,
                "noise ± {:.0} % is larger than the effect of {:.0} %: no verdict",
                noise * 100.0,
                effect * 100.0
            ),
        }
    }
}

/// A number with about three digits that count, and thousands apart.
pub fn digits(value: f64) -> String {
    let size = value.abs();
    let text = match size {
        _ if size >= 100.0 => format!("{value:.0}"),
        _ if size >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    };
    let whole = text.find('.').unwrap_or(text.len());
    let mut apart = String::new();
    for (at, letter) in text.char_indices() {
        if at > 0 && at < whole && (whole - at).is_multiple_of(3) && !apart.ends_with('-') {
            apart.push(',');
        }
        apart.push(letter);
    }
    apart
}

/// The value that `share` of the sorted ones are not above.
#[allow(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "rounds are few"
)]
fn at(sorted: &[f64], share: f64) -> Option<f64> {
    let last = sorted.len().checked_sub(1)?;
    let place = share * last as f64;
    let (low, high) = (place.floor() as usize, place.ceil() as usize);
    Some(sorted[low] + (sorted[high] - sorted[low]) * (place - place.floor()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_goal_is_met_or_missed_beyond_the_noise() {
        let quiet = Figure::of(&[49.0, 50.0, 51.0]).expect("three rounds");
        assert_eq!(Goal::AtMost(100.0).judge(quiet), Verdict::Met);
        assert_eq!(Goal::AtMost(40.0).judge(quiet), Verdict::Missed);
        assert_eq!(Goal::AtLeast(40.0).judge(quiet), Verdict::Met);
        assert_eq!(Goal::AtLeast(100.0).judge(quiet), Verdict::Missed);
    }

    #[test]
    fn there_is_no_verdict_where_the_noise_is_larger_than_the_effect() {
        let noisy = Figure::of(&[45.0, 45.0]).expect("two rounds").on(0.35);
        assert_eq!(
            Goal::AtMost(50.0).judge(noisy).to_string(),
            "noise ± 35 % is larger than the effect of 10 %: no verdict"
        );
        assert_eq!(
            Goal::AtLeast(50.0).judge(noisy).to_string(),
            "noise ± 35 % is larger than the effect of 10 %: no verdict"
        );
        assert_eq!(Goal::AtMost(100.0).judge(noisy), Verdict::Met);
    }

    #[test]
    fn what_slows_both_of_a_round_cancels_out() {
        let ratio = Figure::ratio(&[10.0, 30.0, 20.0], &[5.0, 15.0, 10.0]).expect("three rounds");
        assert_eq!(ratio, Figure { value: 2.0, noise: 0.0 });
        let alone = Figure::of(&[10.0, 30.0, 20.0]).expect("three rounds");
        assert!(alone.noise > 0.3, "{alone}");
    }

    #[test]
    fn thousands_are_apart() {
        let shown = [1_234_567.0, 999.4, 12.34, 0.5, -4_321.0].map(digits);
        assert_eq!(shown, ["1,234,567", "999", "12.3", "0.50", "-4,321"]);
    }
}
