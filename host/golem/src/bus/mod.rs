//! The service bus of a Golem daemon, as far as it concerns programs beside the daemon.
//!
//! A daemon opens the bus at its `GSB_URL`. Programs register services there and call others', of the same node and of
//! others, and the daemon says truthfully which node a call comes from. Here is what is said, without who says it: a
//! client and a router of the bus read and write the same packets.

mod flex;
mod packet;

pub(crate) use self::flex::Flex;
pub use self::packet::{CallReply, CallRequest, LENGTH, MOST, Packet, PacketError, length};
