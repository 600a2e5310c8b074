//! The agent: SQL over the PostgreSQL wire protocol on top of the replicated catalog and rows, and the command line.
//!
//! Read in the order of the modules below; a module uses only those above it.
#![forbid(unsafe_code)]

pub mod failure;
pub mod secret;
pub mod config;
pub mod telemetry;
pub mod metrics;
pub mod cert;
pub mod authn;
pub mod audit;
pub mod gate;
pub mod activity;
pub mod error;
pub mod value;
pub mod cloud;
pub mod jobs;
pub mod backup;
pub mod restore;
pub mod feed;
pub mod schedule;
pub mod session;
pub mod sql;
pub mod scheduler;
pub mod http;
pub mod check;
pub mod pgwire;
pub mod tls;
pub mod pgclient;
pub mod admin;
pub mod debug;
pub mod probe;
pub mod run;
pub mod shell;
pub mod demo;
pub mod cli;
