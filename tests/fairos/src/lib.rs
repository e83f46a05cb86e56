//! The real FairOS-dfs server for tests, and a Swarm node of our own that fails on demand.
//!
//! What a client believes about a server is only worth what the server says to it, so tests run against the released
//! server, built from its own sources by `cargo xtask test`. There are three ways to have one:
//!
//! | | what is real | what it is for |
//! |---|---|---|
//! | [`Server::dev`] | handlers, Bee's API, names and passwords; storage and name registry are in memory | everything that should just work |
//! | [`Server::real`] | the released `dfs server`, on a [`FakeBee`] | faults: refused stamps, missing and slow chunks, a server that is killed |
//! | [`Server::old`] | the released `dfs server` v0.8.1, on a [`FakeBee`] | the older dialect, which users of the original Sovr have |
//!
//! The fake node is held against the real one by the same tests (`tests/server.rs`).
//!
//! Rejected: a mock of the server itself where the real one can be had, and a public gateway, which
//! tests must not depend on. The server runs as a program of its own; nothing of it is linked or shipped.

pub mod program;

#[cfg(feature = "server")]
mod bee;
#[cfg(feature = "server")]
mod chain;
#[cfg(feature = "server")]
mod keccak;
#[cfg(feature = "server")]
mod server;

#[cfg(feature = "server")]
pub use self::bee::{Effect, Endpoint, FakeBee, Fault, Stamp};
#[cfg(feature = "server")]
pub use self::server::Server;
