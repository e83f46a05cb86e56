//! The service bus of a Golem daemon, as far as it concerns programs beside the daemon.
//!
//! A daemon opens the bus at its `GSB_URL`. Programs register services there and call others', of the same node and of
//! others, and the daemon says truthfully which node a call comes from.
//!
//! | Module | What it holds |
//! |---|---|
//! | `packet` | what is said, without who says it: a client and a router of the bus read and write the same packets |
//! | `body` | what calls carry |
//! | `client` | a connection: calls, and services for the calls of others |
//! | `gftp` | files of other nodes, fetched and filled over the bus |

mod body;
mod client;
pub mod gftp;
mod packet;

pub use self::body::{Body, BodyError, encode};
pub use self::client::{Address, AddressError, Bus, BusError, Call, Line, Reply, Service};
pub use self::packet::{CallReply, CallRequest, LENGTH, MOST, Packet, PacketError, length};
