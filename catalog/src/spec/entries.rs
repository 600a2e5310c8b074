//! What GRANT and REVOKE do to what one grantee holds (E.5). That NOSQLLOGIN is kept beside ALL is docs/adr/0007.

use crate::privilege::{ObjectKind, Privilege};

/// Which of the three statements changes an entry.
#[derive(Clone, Copy)]
pub(super) enum Change {
    Grant { grant_option: bool },
    Revoke,
    RevokeGrantOption,
}

impl Change {
    /// The statement.
    pub(super) fn verb(self) -> &'static str {
        match self {
            Self::Grant { .. } => "GRANT",
            Self::Revoke | Self::RevokeGrantOption => "REVOKE",
        }
    }
}

/// Changes privileges `p` and grant options `w`; when `p` is empty then, there is no entry any more.
pub(super) fn change(
    p: &mut Vec<Privilege>,
    w: &mut Vec<Privilege>,
    list: &[Privilege],
    kind: ObjectKind,
    change: Change,
) {
    match change {
        Change::Grant { grant_option } => grant(p, w, list, grant_option),
        Change::Revoke => revoke(p, w, list, kind),
        Change::RevokeGrantOption => revoke_grant_option(p, w, list, kind),
    }
    if p.is_empty() {
        w.clear();
    }
    p.sort();
    w.sort();
}

fn grant(p: &mut Vec<Privilege>, w: &mut Vec<Privilege>, list: &[Privilege], grant_option: bool) {
    let barred = p.contains(&Privilege::NoSqlLogin);
    let bars = list.contains(&Privilege::NoSqlLogin);
    if p.contains(&Privilege::All) && (w.contains(&Privilege::All) || !grant_option) {
        // ALL stays ALL, single kinds are not recorded beside it, but for the one that it does not mean.
        if bars {
            add(p, &[Privilege::NoSqlLogin]);
        }
    } else if list.contains(&Privilege::All) {
        *p = vec![Privilege::All];
        if barred || bars {
            p.push(Privilege::NoSqlLogin);
        }
        if grant_option {
            *w = vec![Privilege::All];
        }
    } else {
        add(p, list);
        if grant_option {
            add(w, list);
        }
    }
}

fn revoke(p: &mut Vec<Privilege>, w: &mut Vec<Privilege>, list: &[Privilege], kind: ObjectKind) {
    if list.contains(&Privilege::All) {
        p.clear();
        w.clear();
    }
    let only_the_bar = !list.is_empty() && list.iter().all(|privilege| *privilege == Privilege::NoSqlLogin);
    if !only_the_bar {
        explode(p, kind);
        explode(w, kind);
    }
    p.retain(|held| !list.contains(held));
    w.retain(|held| !list.contains(held));
}

fn revoke_grant_option(p: &mut Vec<Privilege>, w: &mut Vec<Privilege>, list: &[Privilege], kind: ObjectKind) {
    if !list.contains(&Privilege::All) {
        explode(w, kind);
        w.retain(|held| !list.contains(held));
        return;
    }
    w.clear();
    if p.contains(&Privilege::All) {
        let barred = p.contains(&Privilege::NoSqlLogin);
        *p = vec![Privilege::All];
        if barred {
            p.push(Privilege::NoSqlLogin);
        }
    }
}

pub(super) fn add(to: &mut Vec<Privilege>, list: &[Privilege]) {
    for privilege in list {
        if !to.contains(privilege) {
            to.push(*privilege);
        }
    }
}

/// ALL becomes every single kind of the class; never NOSQLLOGIN (T-9).
fn explode(privileges: &mut Vec<Privilege>, kind: ObjectKind) {
    if !privileges.contains(&Privilege::All) {
        return;
    }
    for privilege in Privilege::each() {
        let counts = privilege.is_legal_on(kind) && privilege != Privilege::NoSqlLogin;
        if counts && !privileges.contains(&privilege) {
            privileges.push(privilege);
        }
    }
    privileges.retain(|privilege| *privilege != Privilege::All);
}
