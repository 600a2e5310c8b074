//! Which records of the catalog changed at which version, for a while: what who keeps answers needs to know.
//!
//! Every node has applied the same entries, so a version means the same on all of them, and who watched one node goes on
//! at another. What is older than [`RECORDS_MAX`] records, or than the start of this node, is forgotten; who asks from
//! there is told so and reads anew, so nobody has a gap that it does not know of.

use std::collections::VecDeque;
use std::sync::Arc;

use grantd_catalog::id::Version;
use grantd_catalog::record::RecordKey;

/// The most records that are remembered as changed: some megabytes, and at a thousand changes a second a minute.
pub const RECORDS_MAX: usize = 65_536;
/// The most versions that are told at once.
pub const VERSIONS_MAX: usize = 1_024;

/// What one version changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CatalogChange {
    /// The version that has it.
    pub version: Version,
    /// Whether somebody may be allowed less than before.
    pub tightens: bool,
    /// Which records have another value, or none; sorted, each once. Not the counters.
    pub records: Arc<[RecordKey]>,
}

/// What changed after some version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CatalogChanges {
    /// In the order of versions; versions that changed nothing are not there.
    pub changes: Vec<CatalogChange>,
    /// All changes up to this version are told.
    pub complete_to: Version,
}

/// It is not known any more what changed after that version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("what changed after version {0} is forgotten")]
pub struct Forgotten(pub Version);

/// What is remembered.
#[derive(Debug)]
pub(super) struct Recent {
    /// All changes after it are remembered.
    floor: Version,
    complete_to: Version,
    changes: VecDeque<CatalogChange>,
    records: usize,
}

impl Recent {
    /// Of a catalog whose past is not known.
    pub(super) fn since(version: Version) -> Self {
        Self { floor: version, complete_to: version, changes: VecDeque::new(), records: 0 }
    }

    /// Adds what the versions up to `complete_to` changed, in their order, and forgets the oldest beyond the bound.
    pub(super) fn add(&mut self, changes: Vec<CatalogChange>, complete_to: Version) {
        for change in changes {
            self.records += change.records.len();
            self.changes.push_back(change);
        }
        self.complete_to = complete_to;
        while self.records > RECORDS_MAX
            && let Some(oldest) = self.changes.pop_front()
        {
            self.records -= oldest.records.len();
            self.floor = oldest.version;
        }
    }

    /// What changed after `version`, from the oldest on, as much as is told at once.
    pub(super) fn after(&self, version: Version) -> Result<CatalogChanges, Forgotten> {
        if version < self.floor {
            return Err(Forgotten(version));
        }
        let begin = self.changes.partition_point(|change| change.version <= version);
        let changes: Vec<_> = self.changes.iter().skip(begin).take(VERSIONS_MAX).cloned().collect();
        let complete_to = match changes.last() {
            Some(last) if begin + changes.len() < self.changes.len() => last.version,
            _ => self.complete_to,
        };
        Ok(CatalogChanges { changes, complete_to })
    }
}

/// What is applied and not published yet, one proposal after the other.
#[derive(Debug, Default)]
pub(super) struct Pending(Vec<(Version, bool, Vec<RecordKey>)>);

impl Pending {
    /// What a proposal changed.
    pub(super) fn push(&mut self, version: Version, tightens: bool, records: Vec<RecordKey>) {
        self.0.push((version, tightens, records));
    }

    /// How many proposals there are.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// Takes back all proposals but the first `len`: they were undone.
    pub(super) fn truncate(&mut self, len: usize) {
        self.0.truncate(len);
    }

    /// One change for each version.
    pub(super) fn take(&mut self) -> Vec<CatalogChange> {
        let mut proposals = std::mem::take(&mut self.0).into_iter().peekable();
        let mut changes = Vec::new();
        while let Some((version, mut tightens, mut records)) = proposals.next() {
            while let Some((_, also, more)) = proposals.next_if(|(next, ..)| *next == version) {
                tightens |= also;
                records.extend(more);
            }
            records.retain(|key| *key != RecordKey::Counters);
            records.sort_unstable();
            records.dedup();
            if !records.is_empty() || tightens {
                changes.push(CatalogChange { version, tightens, records: records.into() });
            }
        }
        changes
    }
}

#[cfg(test)]
mod tests {
    use grantd_catalog::id::{ObjectId, PrincipalId};

    use super::*;

    fn object(id: u32) -> RecordKey {
        RecordKey::Object(ObjectId(id))
    }

    fn change(version: u64, records: &[RecordKey]) -> CatalogChange {
        CatalogChange { version: Version(version), tightens: false, records: records.into() }
    }

    #[test]
    fn proposals_of_one_version_are_one_change() {
        let mut pending = Pending::default();
        pending.push(Version(3), false, vec![object(9), RecordKey::Counters]);
        pending.push(Version(3), true, vec![object(9), RecordKey::Principal(PrincipalId(100))]);
        pending.push(Version(4), false, vec![object(1)]);
        let undone = pending.len();
        pending.push(Version(5), false, vec![object(2)]);
        pending.truncate(undone);
        let third = CatalogChange {
            tightens: true,
            ..change(3, &[RecordKey::Principal(PrincipalId(100)), object(9)])
        };
        assert_eq!(pending.take(), [third, change(4, &[object(1)])]);
        assert!(pending.take().is_empty());
    }

    #[test]
    fn what_changed_after_a_version_is_told_without_a_gap() {
        let mut recent = Recent::since(Version(10));
        recent.add(vec![change(11, &[object(1)]), change(13, &[object(2)])], Version(15));
        let after = |version| recent.after(Version(version)).map(|told| told.changes.len());
        assert_eq!(
            [after(10), after(11), after(12), after(13), after(15)],
            [Ok(2), Ok(1), Ok(1), Ok(0), Ok(0)]
        );
        assert_eq!(after(9), Err(Forgotten(Version(9))));
        assert_eq!(recent.after(Version(13)).unwrap().complete_to, Version(15));
        // Who has seen more elsewhere waits until it is here.
        assert_eq!(recent.after(Version(99)).unwrap().changes, []);
    }

    #[test]
    fn the_oldest_is_forgotten_beyond_the_bound_and_who_needs_it_is_told() {
        let mut recent = Recent::since(Version(0));
        let many: Vec<_> = (0..40_000).map(object).collect();
        recent.add(vec![change(1, &many)], Version(1));
        assert!(recent.after(Version(0)).is_ok());
        recent.add(vec![change(2, &many)], Version(2));
        assert_eq!(recent.after(Version(0)), Err(Forgotten(Version(0))));
        assert_eq!(recent.after(Version(1)).unwrap().changes, [change(2, &many)]);
        let too_many: Vec<_> = (0..70_000).map(object).collect();
        recent.add(vec![change(3, &too_many)], Version(3));
        assert_eq!(recent.after(Version(2)), Err(Forgotten(Version(2))));
        assert_eq!(recent.after(Version(3)).unwrap().changes, []);
    }

    #[test]
    fn much_is_told_in_parts_and_each_says_how_far_it_goes() {
        let mut recent = Recent::since(Version(0));
        let versions = 1..=u64::try_from(VERSIONS_MAX).unwrap() + 5;
        recent.add(versions.map(|version| change(version, &[object(1)])).collect(), Version(5_000));
        let first = recent.after(Version(0)).unwrap();
        assert_eq!((first.changes.len(), first.complete_to), (VERSIONS_MAX, Version(1_024)));
        let rest = recent.after(first.complete_to).unwrap();
        assert_eq!((rest.changes.len(), rest.complete_to), (5, Version(5_000)));
    }
}
