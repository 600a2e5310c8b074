//! What a statement can ask about the session and the catalog: variables, listings, and inquiry functions.

pub mod context;
pub mod inquiry;
pub mod variable;
pub mod show;

use grantd_raft::rows::Function;

/// Every function of the row store, for `raft::handle::start`.
pub fn functions() -> Vec<Function> {
    let mut functions = crate::sql::translate::scalar::functions();
    functions.extend(context::functions());
    functions.extend(inquiry::functions());
    functions
}
