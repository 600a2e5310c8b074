//! Clouds for tests, on loopback: doubles that are as strict as the real ones, stubs of what gives a machine its identity,
//! and emulators by others, which check that the doubles are not just what we believe.
//!
//! [`world`] says who and what there is, in the policy language of [`iam`]; [`aws`] is the double, with [`fault`]s that a test
//! switches on, [`google`] that of Google; [`token`] issues web identity tokens; [`sources`] are the stubs; [`emulators`] starts the others and makes
//! the same world there, [`tansu`] a broker of Kafka. Nothing here reaches beyond loopback, and every key is invented.

pub mod fault;
pub mod iam;
pub mod world;
pub mod token;
pub mod wire;
pub mod server;
pub mod aws;
pub mod google;
pub mod sources;
pub mod emulators;
pub mod tansu;
