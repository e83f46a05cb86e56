//! Packets of the service bus on a blocking connection.

use std::io::{self, Read, Write};
use std::net::TcpStream;

use sovr_golem::bus::{self, Packet, PacketError};

/// A connection of which everything that was read is acknowledged at once. Daemons hold an answer back until what they
/// sent before is acknowledged, and by itself the kernel puts that off by 40 ms where there is nothing to send along.
pub(crate) struct Prompt(pub(crate) TcpStream);

impl Read for Prompt {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.0.read(buffer)?;
        // The kernel forgets it each time.
        rustix::net::sockopt::set_tcp_quickack(&self.0, true)?;
        Ok(read)
    }
}

/// Reads the next packet; none at the end.
pub(crate) fn read(from: &mut impl Read) -> io::Result<Option<Packet>> {
    let mut head = [0; bus::LENGTH];
    if let Err(error) = from.read_exact(&mut head) {
        return match error.kind() {
            io::ErrorKind::UnexpectedEof => Ok(None),
            _ => Err(error),
        };
    }
    let mut body = vec![0; bus::length(head).map_err(invalid)?];
    from.read_exact(&mut body)?;
    Packet::from_bytes(&body).map(Some).map_err(invalid)
}

/// Writes a packet.
pub(crate) fn write(to: &mut impl Write, packet: &Packet) -> io::Result<()> {
    to.write_all(&packet.to_bytes().map_err(invalid)?)
}

/// Says who speaks.
pub(crate) fn hello(name: &str) -> io::Result<Packet> {
    let mut instance = vec![0; 16];
    getrandom::fill(&mut instance).map_err(io::Error::other)?;
    Ok(Packet::Hello {
        name: name.to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        instance,
    })
}

fn invalid(error: PacketError) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}
