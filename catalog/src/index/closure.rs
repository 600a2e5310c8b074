//! Whom a principal acts as, as a record: flags, then the low halves of the ids, then the high halves, unless all are 0.
//! The low halves alone say no to nearly everything.

use crate::id::PrincipalId;
use crate::packed::Found;

/// `admin` is in it.
const ADMIN: u16 = 1;
/// The high halves are there.
const WIDE: u16 = 2;
/// Words before the low halves.
const HEAD: usize = 1;
const EIGHT: usize = 8;

/// Itself and every role that a principal belongs to, sorted.
#[derive(Clone, Copy, Debug)]
pub struct Closure<'a>(pub(super) Found<'a>);

/// The record of a closure that consists of `roles`, sorted and without repeats: the principal itself, and what it reaches.
pub(super) fn pack(roles: &[PrincipalId]) -> Vec<u16> {
    let wide = roles.iter().any(|role| high(*role) != 0);
    let admin = roles.binary_search(&PrincipalId::ADMIN).is_ok();
    let head = if admin { ADMIN } else { 0 } | if wide { WIDE } else { 0 };
    let highs = roles.iter().filter(|_| wide).map(|role| high(*role));
    std::iter::once(head).chain(roles.iter().map(|role| low(*role))).chain(highs).collect()
}

impl<'a> Closure<'a> {
    /// Itself and every role it belongs to, sorted.
    pub fn roles(self) -> impl Iterator<Item = PrincipalId> + use<'a> {
        (0..self.lows().len()).map(move |at| self.role(at))
    }

    /// Whether `role` is in it.
    #[inline]
    pub fn contains(self, role: PrincipalId) -> bool {
        let low = low(role);
        self.lows().iter().enumerate().any(|(at, other)| *other == low && self.role(at) == role)
    }

    /// Whether `admin` is in it.
    #[inline]
    pub(super) const fn is_admin(self) -> bool {
        self.0.word(0) & ADMIN != 0
    }

    #[inline]
    pub(super) const fn is_wide(self) -> bool {
        self.0.word(0) & WIDE != 0
    }

    /// The low halves of the ids.
    #[inline]
    pub(super) fn lows(self) -> &'a [u16] {
        let count = if self.is_wide() { (self.0.len() - HEAD) / 2 } else { self.0.len() - HEAD };
        &self.0.record()[HEAD..HEAD + count]
    }

    /// Calls `act` with each low half, with some more than once.
    ///
    /// By eights, and the last eight whatever was seen before: the end of a loop cannot be predicted, and few ends can
    /// better than many.
    #[inline]
    pub(super) fn each_low(self, mut act: impl FnMut(u16)) {
        let lows = self.lows();
        let (eights, rest) = lows.as_chunks::<EIGHT>();
        for eight in eights {
            eight.iter().for_each(|low| act(*low));
        }
        match lows.last_chunk::<EIGHT>() {
            _ if rest.is_empty() => {}
            Some(last) => last.iter().for_each(|low| act(*low)),
            None => rest.iter().for_each(|low| act(*low)),
        }
    }

    fn role(self, at: usize) -> PrincipalId {
        let count = self.lows().len();
        let high = if self.is_wide() { self.0.word(HEAD + count + at) } else { 0 };
        joined(self.0.word(HEAD + at), high)
    }
}

impl PartialEq for Closure<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.0.record() == other.0.record()
    }
}

impl Eq for Closure<'_> {}

/// The low half of an id.
#[expect(clippy::cast_possible_truncation, reason = "the other half is `high`")]
pub(super) const fn low(id: PrincipalId) -> u16 {
    id.0 as u16
}

/// The high half of an id.
pub(super) const fn high(id: PrincipalId) -> u16 {
    (id.0 >> u16::BITS) as u16
}

/// The id of these halves.
pub(super) const fn joined(low: u16, high: u16) -> PrincipalId {
    PrincipalId((high as u32) << u16::BITS | low as u32)
}
