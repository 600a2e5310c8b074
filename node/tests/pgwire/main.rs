//! The PostgreSQL protocol from a client's side, over real sockets and TLS, with scripted statements behind it.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod copy;
mod inquiries;
mod login;
mod pipeline;
mod protocol;
mod raw;
mod scripted;
