//! SQL: text in, typed rows or one error out, every statement decided twice.
//!
//! `parse` reads the text, `plan` resolves names and computes the requirement, `translate` rewrites to the row store's
//! SQL, `execute` asks the gate and acts.

pub mod parse;
pub mod translate;
pub mod system;
pub mod plan;
pub mod execute;
