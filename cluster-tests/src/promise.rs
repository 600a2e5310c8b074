//! What clients were promised, and whether a cluster keeps it.
//!
//! Each client writes pairs of rows, creates users, and turns one grant on and off. An acknowledged act must be there;
//! one whose outcome is unknown may be there, whole, or not at all; nothing else may be there.

use std::collections::{BTreeMap, BTreeSet};

/// What one client knows.
#[derive(Clone, Debug, Default)]
pub struct Promises {
    /// Sequence numbers whose pair of rows was acknowledged.
    pub pairs: BTreeSet<i64>,
    /// Sequence numbers whose outcome is unknown.
    pub maybe_pairs: BTreeSet<i64>,
    /// Users that were acknowledged.
    pub users: BTreeSet<String>,
    /// Users whose outcome is unknown.
    pub maybe_users: BTreeSet<String>,
    /// Values of a sequence that it was given; no client is ever given one of them again.
    pub tickets: Vec<i64>,
    /// The state of the client's grant; `None` after an unknown outcome, until the next acknowledged one.
    pub granted: Option<bool>,
}

/// What a cluster shows of one client.
#[derive(Clone, Debug, Default)]
pub struct Shown {
    /// How many rows each sequence number has: 2, or the statement was half applied.
    pub rows: BTreeMap<i64, i64>,
    /// The client's users.
    pub users: BTreeSet<String>,
    /// Whether each of the two tables shows the client's grant.
    pub granted: (bool, bool),
}

/// Every way in which `shown` breaks `promises`, in words. Empty: all is kept.
pub fn broken(promises: &Promises, shown: &Shown) -> Vec<String> {
    let mut faults = Vec::new();
    for pair in &promises.pairs {
        if !shown.rows.contains_key(pair) {
            faults.push(format!("rows of pair {pair} were acknowledged and are lost"));
        }
    }
    for (pair, count) in &shown.rows {
        if *count != 2 {
            faults.push(format!("pair {pair} was applied in part: {count} of 2 rows"));
        }
        if !promises.pairs.contains(pair) && !promises.maybe_pairs.contains(pair) {
            faults.push(format!("pair {pair} is there and was refused or never written"));
        }
    }
    for user in promises.users.difference(&shown.users) {
        faults.push(format!("user {user} was acknowledged and is lost"));
    }
    for user in &shown.users {
        if !promises.users.contains(user) && !promises.maybe_users.contains(user) {
            faults.push(format!("user {user} is there and was refused or never created"));
        }
    }
    if shown.granted.0 != shown.granted.1 {
        faults.push(format!("a grant on two tables was applied in part: {:?}", shown.granted));
    }
    if let Some(granted) = promises.granted
        && shown.granted != (granted, granted)
    {
        faults.push(format!("the grant was last acknowledged as {granted} and shows as {:?}", shown.granted));
    }
    faults
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept() -> (Promises, Shown) {
        let promises = Promises {
            pairs: [1, 2].into(),
            maybe_pairs: [3, 4].into(),
            users: ["u1".to_owned()].into(),
            maybe_users: ["u2".to_owned()].into(),
            granted: Some(true),
            tickets: Vec::new(),
        };
        let shown = Shown {
            rows: [(1, 2), (2, 2), (3, 2)].into(),
            users: ["u1".to_owned(), "u2".to_owned()].into(),
            granted: (true, true),
        };
        (promises, shown)
    }

    #[test]
    fn what_is_kept_is_not_a_fault() {
        let (promises, shown) = kept();
        assert_eq!(broken(&promises, &shown), Vec::<String>::new());
    }

    /// A checker that never fired is not a checker.
    #[test]
    fn each_way_of_breaking_a_promise_is_seen() {
        type Spoil = fn(&mut Shown);
        let cases: [(&str, Spoil); 7] = [
            ("are lost", |shown| _ = shown.rows.remove(&1)),
            ("in part: 1", |shown| _ = shown.rows.insert(2, 1)),
            ("in part: 1", |shown| _ = shown.rows.insert(4, 1)),
            ("never written", |shown| _ = shown.rows.insert(9, 2)),
            ("is lost", |shown| _ = shown.users.remove("u1")),
            ("never created", |shown| _ = shown.users.insert("u9".to_owned())),
            ("last acknowledged as true", |shown| shown.granted = (false, false)),
        ];
        for (fault, spoil) in cases {
            let (promises, mut shown) = kept();
            spoil(&mut shown);
            let faults = broken(&promises, &shown);
            assert_eq!(faults.len(), 1, "{fault}: {faults:?}");
            assert!(faults[0].contains(fault), "{fault}: {faults:?}");
        }
        let (promises, mut shown) = kept();
        shown.granted = (true, false);
        assert!(broken(&promises, &shown).iter().any(|fault| fault.contains("two tables")));
    }
}
