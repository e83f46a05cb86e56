//! A real Golem network for tests: two stock daemons, what joins them, and a provider that fails on demand.
//!
//! What a requestor believes about Golem is only worth what a daemon says to it, so tests run against the released one,
//! which `cargo xtask test` installs from the Python package index:
//!
//! | | what it is |
//! |---|---|
//! | [`Node`] | a stock `yagna` daemon with a fixed identity, which can be killed and started again |
//! | [`Router`] | ours; joins the daemons in the mode `central` of their network |
//! | [`FakeChain`] | ours; tells the daemons which funds they have, and no more: nothing is ever paid |
//! | [`Network`] | two nodes on a router and a chain |
//! | [`Gate`] | ours; a way to a daemon's REST interface on which requests fail on demand |
//! | [`Files`] | ours; files of a node that others fetch and fill |
//! | [`Peer`] | ours; calls what other nodes serve: fetches and fills files, well or badly |
//! | [`Provider`] | ours; offers work on a node's behalf and does it by a script of the test, with faults on demand |
//! | [`Client`] | an official client of Golem, as an independent requestor |
//!
//! All of it is in a network with nothing but loopback, which the test program enters with [`prepare`].
//!
//! Rejected: a mock of the daemon, which would only repeat our own idea of it, and the public test network, which tests
//! must not depend on. The daemon runs as a program of its own; nothing of it is linked or shipped. The published
//! router, `ya-sb-router`, takes minutes to compile and cannot be told to lose a node; ours is a page over packets
//! that our own bus client needs anyway.

pub mod client;
pub mod place;
pub mod program;

#[cfg(feature = "network")]
mod chain;
#[cfg(feature = "network")]
mod files;
#[cfg(feature = "network")]
mod gate;
#[cfg(feature = "network")]
mod gftp;
#[cfg(feature = "network")]
mod link;
#[cfg(feature = "network")]
mod namespace;
#[cfg(feature = "network")]
mod network;
#[cfg(feature = "network")]
mod node;
#[cfg(feature = "network")]
pub mod peer;
#[cfg(feature = "network")]
mod provider;
#[cfg(feature = "network")]
mod router;
#[cfg(feature = "network")]
mod suite;
#[cfg(feature = "network")]
mod wire;

#[cfg(feature = "network")]
pub use self::chain::FakeChain;
pub use self::client::Client;
#[cfg(feature = "network")]
pub use self::files::Files;
#[cfg(feature = "network")]
pub use self::gate::Gate;
#[cfg(feature = "network")]
pub use self::network::Network;
#[cfg(feature = "network")]
pub use self::node::{Answer, Node};
#[cfg(feature = "network")]
pub use self::peer::Peer;
#[cfg(feature = "network")]
pub use self::provider::{Fault, Provider, Terms};
#[cfg(feature = "network")]
pub use self::router::Router;
#[cfg(feature = "network")]
pub use self::suite::Suite;

/// Moves this test program into a network with nothing but loopback, and answers why tests that need daemons are to
/// be left out, if they are. In CI they never are: there a missing daemon is a failure of those tests.
///
/// It must be the first thing in `main`: only a program with one thread can move. And where this program was started by
/// a [`Client`] to move its files, that is all it does.
#[cfg(feature = "network")]
pub fn prepare() -> Option<String> {
    if gftp::is_wanted() {
        let served = gftp::serve();
        if let Err(error) = &served {
            eprintln!("gftp: {error}");
        }
        std::process::exit(i32::from(served.is_err()));
    }
    let entered = namespace::enter();
    if place::is_ci() {
        return None;
    }
    if !program::path().exists() {
        return Some(program::how_to_get());
    }
    entered.err()
}
