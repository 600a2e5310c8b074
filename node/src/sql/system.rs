//! What a statement can ask about the session and the catalog: variables, listings, and inquiry functions.

pub mod sequence;
pub mod context;
pub mod inquiry;
pub mod variable;
mod name;
pub mod foreign_key;
pub mod show;
pub mod activity;
pub mod external;
pub mod feed;
pub mod job;
pub mod backup;
pub mod schedule;
pub mod catalog;

use grantd_raft::rows::{Extensions, Function};

/// What the row store offers to statements, for `raft::handle::start`.
pub fn extensions() -> Extensions {
    Extensions {
        functions: functions(),
        aggregates: crate::sql::translate::scalar::aggregates(),
        collations: crate::value::collations(),
        tables: catalog::tables(),
    }
}

/// Every function of the row store.
pub fn functions() -> Vec<Function> {
    let mut functions = crate::sql::translate::scalar::functions();
    functions.extend(context::functions());
    functions.extend(inquiry::functions());
    functions.extend(catalog::functions::functions());
    functions
}
