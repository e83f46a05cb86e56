//! The REST interface of the `yagna` daemon, version 0.17, as a requestor uses it.
//!
//! | Module | What it holds |
//! |---|---|
//! | [`connection`] | where the daemon is, the app-key, one request |
//! | [`error`] | why a call failed: what it was, what the daemon said, what may help |
//! | [`payment`], [`market`], [`activity`] | the calls, each in the daemon's own words |
//! | [`stream`] | what a batch tells while it runs |
//! | [`files`] | files to and from providers |
//!
//! Calls here are single requests and nothing more: no retries, no loops, no money kept. They take what the daemon
//! answers and what its specification says it should, which differ in status codes (200 for 201 and 204) and in the
//! form of ids. Every request ends: each has a time limit of its own, and of an answer only so much is read.
//!
//! Rejected: the makers' own client crate. It is LGPL, stands on another HTTP stack, and its error is a text.

pub mod activity;
pub mod connection;
pub mod error;
pub mod files;
pub mod market;
pub mod payment;
pub mod stream;

pub use self::connection::{AppKey, Daemon, Identity, Settings, SettingsError};
pub use self::error::{DaemonError, ErrorKind};
pub use self::files::{Files, FilesError};
