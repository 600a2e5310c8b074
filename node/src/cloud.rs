//! Clouds: what URIs name, and the short-lived credentials with which this node gets there.
//!
//! A URI ([`uri`]) names a place and a chain of roles, never more. A [`chain`] is a list of steps: what this node is by itself,
//! then each role that is assumed with the credentials of the step before. What a step gives is a [`lease`]. One refresher for
//! each step that is in use ([`refresher`], a state machine without I/O; [`broker`], its driver) keeps its lease young. Whoever
//! only needs the current one reads it with one atomic load; a request to storage asks for one that is good for as long as it may
//! be on its way.
//!
//! Nothing secret leaves this node's memory, not into the log, a file, a listing, an error or a trace, but for credentials that
//! the configuration gives to a program of this host ([`endpoint`]). What is not here: who may use a URI is decided as
//! everything else (`sql`, `gate`); jobs that run for weeks.

pub mod chain;
pub mod lease;
pub mod settings;
pub mod role;
pub mod redact;
pub mod uri;
pub mod refresher;
pub mod broker;
pub mod aws;
pub mod gcp;
pub mod fetch;
pub mod route;
pub mod storage;
pub mod kms;
pub mod connection;
pub mod preflight;
pub mod outside;
pub mod everywhere;
pub mod endpoint;
