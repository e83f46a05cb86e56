//! Talks to the network. The first argument says how (`connect`, `listen`, `send` or `resolve`), the second to whom: an
//! IPv4 address and port, or the name to resolve.

use std::net::SocketAddrV4;

use hostile::report;
use hostile::sockets::instance_network::instance_network;
use hostile::sockets::ip_name_lookup::{IpAddress, resolve_addresses};
use hostile::sockets::network::{ErrorCode, IpAddressFamily, IpSocketAddress, Ipv4SocketAddress};
use hostile::sockets::tcp_create_socket::create_tcp_socket;
use hostile::sockets::udp::OutgoingDatagram;
use hostile::sockets::udp_create_socket::create_udp_socket;

fn main() {
    let mut arguments = std::env::args().skip(1);
    let (Some(how), Some(peer)) = (arguments.next(), arguments.next()) else {
        panic!("how, and to whom?");
    };
    let attempt = format!("{how} {peer}");
    println!("trying to {attempt}");
    match how.as_str() {
        "connect" => report(attempt, connect(address(&peer))),
        "listen" => report(attempt, listen(address(&peer))),
        "send" => report(attempt, send(address(&peer))),
        "resolve" => report(attempt, resolve(&peer)),
        _ => panic!("how is that?"),
    }
}

fn address(peer: &str) -> IpSocketAddress {
    let peer: SocketAddrV4 = peer.parse().expect("an address and a port");
    let [a, b, c, d] = peer.ip().octets();
    IpSocketAddress::Ipv4(Ipv4SocketAddress {
        port: peer.port(),
        address: (a, b, c, d),
    })
}

fn connect(peer: IpSocketAddress) -> Result<(), ErrorCode> {
    let socket = create_tcp_socket(IpAddressFamily::Ipv4)?;
    socket.start_connect(&instance_network(), peer)?;
    socket.subscribe().block();
    socket.finish_connect().map(drop)
}

fn listen(peer: IpSocketAddress) -> Result<(), ErrorCode> {
    let socket = create_tcp_socket(IpAddressFamily::Ipv4)?;
    socket.start_bind(&instance_network(), peer)?;
    socket.finish_bind()?;
    socket.start_listen()?;
    socket.finish_listen()
}

fn send(peer: IpSocketAddress) -> Result<(), ErrorCode> {
    let socket = create_udp_socket(IpAddressFamily::Ipv4)?;
    socket.start_bind(&instance_network(), address("0.0.0.0:0"))?;
    socket.finish_bind()?;
    let (_incoming, outgoing) = socket.stream(None)?;
    outgoing.check_send()?;
    let datagram = OutgoingDatagram {
        data: b"evil".to_vec(),
        remote_address: Some(peer),
    };
    outgoing.send(&[datagram]).map(drop)
}

fn resolve(name: &str) -> Result<Option<IpAddress>, ErrorCode> {
    let addresses = resolve_addresses(&instance_network(), name)?;
    addresses.subscribe().block();
    addresses.resolve_next_address()
}
