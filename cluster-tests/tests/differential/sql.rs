//! Statements as trees that know simpler forms of their parts.

use std::fmt::{self, Display, Formatter};

/// A statement, or a part of one.
#[derive(Clone, Debug)]
pub enum Sql {
    /// As it is written.
    Text(String),
    /// One after the other.
    Parts(Vec<Self>),
    /// A part that can be left out or be simpler, the simplest first.
    Either(Box<Self>, Vec<Self>),
}

impl Sql {
    /// A clause that can be left out.
    pub fn optional(clause: Self) -> Self {
        Self::Either(Box::new(clause), vec![Self::from("")])
    }

    /// Writes `parts` into a template: `{0}` is the first of them.
    pub fn filled(template: &str, parts: &[Self]) -> Self {
        let mut pieces = Vec::new();
        let mut rest = template;
        while let Some((before, after)) = rest.split_once('{') {
            let (number, after) = after.split_once('}').expect("a template closes what it opens");
            let at: usize = number.parse().expect("a template names parts by number");
            pieces.extend([Self::from(before), parts[at].clone()]);
            rest = after;
        }
        pieces.push(Self::from(rest));
        Self::Parts(pieces)
    }

    /// `parts` with `separator` between them. Each can be left out while one remains.
    pub fn list(parts: Vec<Self>, separator: &str) -> Self {
        let joined = |parts: &[Self]| {
            let mut all = Vec::new();
            for (at, part) in parts.iter().enumerate() {
                if at > 0 {
                    all.push(Self::from(separator));
                }
                all.push(part.clone());
            }
            Self::Parts(all)
        };
        let simpler = match parts.len() {
            0 | 1 => Vec::new(),
            many => (0..many)
                .map(|without| {
                    let mut fewer = parts.clone();
                    fewer.remove(without);
                    joined(&fewer)
                })
                .collect(),
        };
        Self::Either(Box::new(joined(&parts)), simpler)
    }

    /// Each tree that has one part simpler than this one, the parts that hold most first.
    pub fn simpler(&self) -> Vec<Self> {
        match self {
            Self::Text(_) => Vec::new(),
            Self::Parts(parts) => {
                let mut all = Vec::new();
                for (at, part) in parts.iter().enumerate() {
                    for simpler in part.simpler() {
                        let mut parts = parts.clone();
                        parts[at] = simpler;
                        all.push(Self::Parts(parts));
                    }
                }
                all
            }
            Self::Either(now, instead) => {
                let within = now.simpler().into_iter();
                let within = within.map(|simpler| Self::Either(Box::new(simpler), instead.clone()));
                instead.iter().cloned().chain(within).collect()
            }
        }
    }
}

impl From<&str> for Sql {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for Sql {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl Display for Sql {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => f.write_str(text),
            Self::Parts(parts) => parts.iter().try_for_each(|part| part.fmt(f)),
            Self::Either(now, _) => now.fmt(f),
        }
    }
}
