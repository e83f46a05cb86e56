//! Golem through the `yagna` daemon, version 0.17: its REST interface as a requestor uses it, and the network behind it.
//!
//! | Module | What it holds |
//! |---|---|
//! | [`connection`] | where the daemon is, the app-key, one request |
//! | [`error`] | why a call failed: what it was, what the daemon said, what may help |
//! | [`payment`], [`market`], [`activity`] | the calls, each in the daemon's own words |
//! | [`offer`], [`provision`] | the same from a provider's side: offers and agreements; activities and bills |
//! | [`stream`] | what a batch tells while it runs |
//! | [`files`] | files to and from providers, which go on in the background |
//! | `feed`, `pace` | each event once; no question without a rest |
//! | [`properties`] | the names that demands and offers use |
//! | [`network`] | the market, agreements, activities and bills: [`YagnaNetwork`] |
//! | [`journal`], [`mod@cleanup`] | what is open at the daemon, written down; ending what a crash left |
//! | [`standing`] | how things stand: who acts, what can pay, what is open |
//!
//! The calls are single requests and nothing more: no retries, no loops, no money kept. They take what the daemon
//! answers and what its specification says it should, which differ in status codes (200 for 201 and 204) and in the
//! form of ids. Every request ends: each has a time limit of its own, and of an answer only so much is read.
//!
//! Rejected: the makers' own client crate. It is LGPL, stands on another HTTP stack, and its error is a text.

pub mod activity;
pub mod cleanup;
mod closing;
pub mod connection;
pub mod error;
pub(crate) mod feed;
pub mod files;
mod gsb;
pub mod journal;
pub mod market;
pub mod network;
pub mod offer;
pub(crate) mod pace;
pub mod payment;
pub mod properties;
pub mod provision;
pub mod standing;
pub mod stream;

pub use self::cleanup::{Report, Settled, cleanup};
pub use self::connection::{AppKey, Daemon, Identity, Settings, SettingsError, Version, address};
pub use self::error::{DaemonError, ErrorKind, Funds};
pub use self::files::{Files, FilesError};
pub use self::journal::{Change, Journal, NoJournal, OpenSession};
pub use self::network::{NetworkSettings, YagnaNetwork, platform};
pub use self::standing::Standing;
