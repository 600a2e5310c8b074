//! Privileges as other systems print them: rows of information_schema, and PostgreSQL's `aclitem`.
//!
//! The letters are CockroachDB's (authorization spec, H.4). A privilege that has none, DROP or BACKUP say, is left out;
//! who holds only such is listed without letters. The owner's letters are every one of the kind, without `*`: the
//! grant option comes with owning, as in PostgreSQL.

use grantd_catalog::decide::holds_grant_option;
use grantd_catalog::grant::{Acl, AclEntry};
use grantd_catalog::id::{ObjectId, PrincipalId};
use grantd_catalog::list::LETTERS;
use grantd_catalog::privilege::{ObjectKind, Privilege, PrivilegeSet};

use crate::sql::system::context::StatementInfo;

/// One privilege of one grantee on an object, as SHOW GRANTS lists it.
#[derive(Clone)]
pub struct Held {
    /// The object.
    pub object: ObjectId,
    /// Who holds it, by name.
    pub grantee: String,
    /// What.
    pub privilege: Privilege,
    /// Whether the grantee may grant it onwards, for whatever reason.
    pub is_grantable: bool,
}

/// What is held on an object, by grantee and privilege. ALL is one row; the owner's is one, ALL, whatever is stored for
/// it; `node` has none. Source: authorization spec, H.1.
pub fn held(info: &StatementInfo, object: ObjectId) -> Vec<Held> {
    let state = info.view.state();
    let owner = state.object(object).map_or(PrincipalId::NODE, |found| found.owner);
    let row = |grantee, privilege, is_grantable| Held {
        object,
        grantee: state.principal_name(grantee).to_string(),
        privilege,
        is_grantable,
    };
    let entries = state.acl(object).map_or(&[][..], Acl::entries);
    let mut rows = Vec::new();
    for entry in entries.iter().filter(|entry| entry.grantee != owner) {
        rows.extend(entry.privileges.iter().map(|privilege| {
            row(entry.grantee, privilege, holds_grant_option(&info.view, entry.grantee, object, privilege))
        }));
    }
    if owner != PrincipalId::NODE {
        rows.push(row(owner, Privilege::All, true));
    }
    rows.sort_by(|a, b| (&a.grantee, a.privilege.word()).cmp(&(&b.grantee, b.privilege.word())));
    rows
}

/// The `aclitem`s of an object: the owner's first, then by grantee's name.
pub fn items(info: &StatementInfo, id: ObjectId) -> Vec<String> {
    let state = info.view.state();
    let Some(object) = state.object(id) else { return Vec::new() };
    let owner = state.principal_name(object.owner).to_string();
    let mut items: Vec<_> = object
        .acl
        .entries()
        .iter()
        .filter(|entry| entry.grantee != object.owner)
        .map(|entry| item(info, entry, object.kind(), &owner))
        .collect();
    items.sort();
    if object.owner != PrincipalId::NODE {
        items.insert(0, owner_item(info, object.owner, object.kind()));
    }
    items
}

/// What an owner holds by owning.
pub fn owner_item(info: &StatementInfo, owner: PrincipalId, kind: ObjectKind) -> String {
    let entry = AclEntry { privileges: PrivilegeSet::ALL, ..AclEntry::none(owner) };
    item(info, &entry, kind, info.view.state().principal_name(owner).as_str())
}

/// `grantee=letters/grantor`; `public` is written as nothing.
pub fn item(info: &StatementInfo, entry: &AclEntry, kind: ObjectKind, grantor: &str) -> String {
    let grantee = match entry.grantee {
        PrincipalId::PUBLIC => String::new(),
        other => quoted(info.view.state().principal_name(other).as_str()),
    };
    let (held, options) = (entry.privileges.exploded(kind), entry.grant_options.exploded(kind));
    let mut letters = String::new();
    for (letter, privilege) in LETTERS {
        if held.contains(privilege) {
            letters.push(letter);
            if options.contains(privilege) {
                letters.push('*');
            }
        }
    }
    format!("{grantee}={letters}/{}", quoted(grantor))
}

/// PostgreSQL quotes a name in an `aclitem` unless it is made of letters, digits and `_`.
fn quoted(name: &str) -> String {
    if name.chars().all(|c| c.is_alphanumeric() || c == '_') {
        name.to_owned()
    } else {
        format!("\"{}\"", name.replace('"', "\"\""))
    }
}

/// One letter of one `aclitem`, as `aclexplode` says it: grantor, grantee, privilege, whether it may be granted on.
pub type Exploded = (i64, i64, &'static str, bool);

/// Reads the texts that [`item`] wrote. What is none of them is left out.
pub fn exploded(info: &StatementInfo, items: &[Option<String>]) -> Vec<Exploded> {
    let mut rows = Vec::new();
    for item in items.iter().flatten() {
        let Some((grantee, rest)) = split(item, '=') else { continue };
        let Some((letters, grantor)) = rest.split_once('/') else { continue };
        let oid = |name: &str| {
            let name = grantd_catalog::name::RoleName::from(unquoted(name).as_str());
            info.view.state().principal_id(&name).map_or(0, |id| i64::from(id.0))
        };
        let (grantee, grantor) = (oid(&grantee), oid(grantor));
        let mut letters = letters.chars().peekable();
        while let Some(letter) = letters.next() {
            let option = letters.next_if_eq(&'*').is_some();
            if let Some((_, privilege)) = LETTERS.iter().find(|(known, _)| *known == letter) {
                rows.push((grantor, grantee, privilege.word(), option));
            }
        }
    }
    rows
}

/// What stands before the first `mark` outside of quotes, and what stands behind it.
fn split(text: &str, mark: char) -> Option<(String, &str)> {
    let mut inside = false;
    for (at, c) in text.char_indices() {
        match c {
            '"' => inside = !inside,
            c if c == mark && !inside => return Some((text[..at].to_owned(), &text[at + c.len_utf8()..])),
            _ => {}
        }
    }
    None
}

fn unquoted(name: &str) -> String {
    match name.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) {
        Some(inner) => inner.replace("\"\"", "\""),
        None => name.to_owned(),
    }
}
