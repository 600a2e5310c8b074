//! What a client was told of its transactions, and which rows must therefore be there.
//!
//! Each client changes rows of its own only, one transaction after the other, so that it knows what each came to. Only a
//! transaction whose outcome nobody could tell leaves two possible states. The client goes on with other rows then: its
//! next era. So at the end each era must show what the acknowledged transactions came to, with or without the whole of
//! the last one.

use std::collections::BTreeMap;

/// A row of `things`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Thing {
    /// The number of the transaction that wrote it last.
    pub seq: i64,
    /// Where it is: of no two things the same.
    pub spot: i64,
    /// How many rows of `parts` belong to it.
    pub parts: i64,
}

/// The rows of one client and era.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rows {
    /// By `n`.
    pub things: BTreeMap<i64, Thing>,
    /// How many rows of `bulk` each transaction wrote.
    pub bulk: BTreeMap<i64, i64>,
}

/// What a client was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told {
    /// It was done.
    Done,
    /// Nothing was changed.
    Refused,
    /// Nobody could say.
    Unknown,
}

/// The rows of an era as the client was told, and, if the last transaction's outcome is unknown, what they are with it.
#[derive(Debug, Default)]
struct Era {
    told: Rows,
    perhaps: Option<Rows>,
}

/// What one client was told.
#[derive(Debug)]
pub struct Ledger {
    /// Its number.
    pub client: i64,
    eras: Vec<Era>,
}

impl Ledger {
    pub fn new(client: i64) -> Self {
        Self { client, eras: vec![Era::default()] }
    }

    /// The number of its present era.
    pub fn era(&self) -> i64 {
        i64::try_from(self.eras.len() - 1).expect("few eras")
    }

    /// The rows of its present era.
    pub fn rows(&self) -> &Rows {
        &self.eras.last().expect("there is always one").told
    }

    /// It was told so of a transaction that makes its rows `after`.
    pub fn note(&mut self, told: Told, after: Rows) {
        let era = self.eras.last_mut().expect("there is always one");
        match told {
            Told::Done => era.told = after,
            Told::Refused => {}
            Told::Unknown => {
                era.perhaps = Some(after);
                self.eras.push(Era::default());
            }
        }
    }

    /// How many outcomes were unknown.
    pub fn unknown(&self) -> usize {
        self.eras.iter().filter(|era| era.perhaps.is_some()).count()
    }

    /// Every way in which what is there, by era, breaks what the client was told.
    pub fn broken(&self, shown: &BTreeMap<i64, Rows>) -> Vec<String> {
        let none = Rows::default();
        let mut faults: Vec<_> = shown
            .keys()
            .filter(|era| **era > self.era() || **era < 0)
            .map(|era| format!("client {}: there are rows of era {era}, which never was", self.client))
            .collect();
        for (number, era) in (0..).zip(&self.eras) {
            let rows = shown.get(&number).unwrap_or(&none);
            if *rows != era.told && Some(rows) != era.perhaps.as_ref() {
                let client = self.client;
                let told = difference(&era.told, rows);
                let perhaps = era.perhaps.as_ref().map(|perhaps| difference(perhaps, rows));
                faults.push(format!("client {client}, era {number}: {told}; or else {perhaps:?}"));
            }
        }
        faults
    }
}

fn difference(told: &Rows, shown: &Rows) -> String {
    let things = told.things.keys().chain(shown.things.keys());
    let things = things.filter(|n| told.things.get(n) != shown.things.get(n));
    let mut texts: Vec<_> = things
        .map(|n| format!("thing {n} is {:?} and not {:?}", shown.things.get(n), told.things.get(n)))
        .collect();
    if told.bulk != shown.bulk {
        texts.push(format!("bulk is {:?} and not {:?}", shown.bulk, told.bulk));
    }
    texts.sort();
    texts.dedup();
    texts.join(", ")
}

fn rows(seq: i64) -> Rows {
    let things = [(1, Thing { seq, spot: 7, parts: 2 }), (2, Thing { seq, spot: 8, parts: 0 })].into();
    Rows { things, bulk: [(3, 100)].into() }
}

/// A checker that never fired is not a checker.
#[test]
fn each_way_of_breaking_what_a_client_was_told_is_seen() {
    let mut ledger = Ledger::new(5);
    ledger.note(Told::Done, rows(1));
    ledger.note(Told::Refused, rows(2));
    ledger.note(Told::Unknown, rows(3));
    ledger.note(Told::Done, rows(4));
    assert_eq!((ledger.era(), ledger.unknown()), (1, 1));
    for first in [rows(1), rows(3)] {
        assert_eq!(ledger.broken(&[(0, first), (1, rows(4))].into()), Vec::<String>::new());
    }
    let spoiled = |spoil: fn(&mut BTreeMap<i64, Rows>)| {
        let mut shown = [(0, rows(3)), (1, rows(4))].into();
        spoil(&mut shown);
        ledger.broken(&shown).len()
    };
    // What was refused is there; what was acknowledged is lost; an unknown one is there in part; a part is lost; a row
    // that nobody wrote.
    assert_eq!(spoiled(|shown| _ = shown.insert(0, rows(2))), 1);
    assert_eq!(spoiled(|shown| _ = shown.remove(&1)), 1);
    assert_eq!(spoiled(|shown| shown.get_mut(&0).unwrap().things.get_mut(&1).unwrap().seq = 1), 1);
    assert_eq!(spoiled(|shown| shown.get_mut(&1).unwrap().things.get_mut(&1).unwrap().parts = 1), 1);
    assert_eq!(spoiled(|shown| *shown.get_mut(&1).unwrap().bulk.get_mut(&3).unwrap() = 99), 1);
    assert_eq!(spoiled(|shown| _ = shown.insert(2, rows(4))), 1);
}
