//! A network of its own for a test program: the loopback interface and nothing else.
//!
//! The daemons look for releases and for nodes of several blockchains when they start, and nothing of that may leave
//! the machine. So the whole test program moves, before it has threads: the daemons inherit the network, and tests
//! reach them by plain addresses. As nobody else is in there, all ports are free, which matters because the router's
//! must have four digits at most.
//!
//! Rejected: moving the daemons alone, for then each port needs a forwarder over a Unix socket into their network; and
//! starting the test program anew under `unshare`, which is the same with two more programs that may be missing.

use std::fs;
use std::io;
use std::net::{Ipv4Addr, TcpListener, UdpSocket};
use std::os::fd::AsRawFd as _;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU16, Ordering};

use rustix::thread::{UnshareFlags, unshare_unsafe};

/// How entering went, once it was tried.
static ENTERED: OnceLock<Result<(), String>> = OnceLock::new();

/// Ports that people use for their own are below; five digits are too many.
const PORTS: std::ops::Range<u16> = 2000..10_000;
static NEXT_PORT: AtomicU16 = AtomicU16::new(0);

const LOOPBACK: &[u8] = b"lo";

/// Moves this program into a network of its own, the first time. To be called while it has one thread.
///
/// # Errors
///
/// Where the kernel or its configuration does not allow it, in words.
pub(crate) fn enter() -> Result<(), String> {
    let entered = ENTERED.get_or_init(|| {
        leave_the_old()
            .and_then(|()| raise_loopback())
            .map_err(|error| {
                format!(
                    "this program cannot have a network of its own ({error}): run it as root, or allow user \
                     namespaces for everybody (`sysctl kernel.unprivileged_userns_clone=1`)"
                )
            })
    });
    entered.clone()
}

/// How entering went.
pub(crate) fn entered() -> Result<(), String> {
    ENTERED.get().cloned().unwrap_or_else(|| {
        Err(
            "`sovr_test_golem::prepare` must be the first thing that a test program does"
                .to_owned(),
        )
    })
}

/// A port that nobody listens on, of four digits.
///
/// # Panics
///
/// When all are taken.
pub(crate) fn free_port() -> u16 {
    let count = PORTS.end - PORTS.start;
    for _ in 0..count {
        let port = PORTS.start + NEXT_PORT.fetch_add(1, Ordering::Relaxed) % count;
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return port;
        }
    }
    panic!("all ports from {} to {} are taken", PORTS.start, PORTS.end)
}

/// Root does it as it is; others become root of a namespace of users in which they are alone.
fn leave_the_old() -> io::Result<()> {
    // SAFETY: no table of descriptors is taken apart, which is all that is unsafe about it.
    let alone = unsafe { unshare_unsafe(UnshareFlags::NEWNET) };
    if alone != Err(rustix::io::Errno::PERM) {
        return Ok(alone?);
    }
    let user = rustix::process::geteuid().as_raw();
    let group = rustix::process::getegid().as_raw();
    // SAFETY: as above.
    unsafe { unshare_unsafe(UnshareFlags::NEWUSER | UnshareFlags::NEWNET) }?;
    fs::write("/proc/self/setgroups", "deny")?;
    fs::write("/proc/self/uid_map", format!("{user} {user} 1"))?;
    fs::write("/proc/self/gid_map", format!("{group} {group} 1"))
}

/// A new network has the interface, but down.
fn raise_loopback() -> io::Result<()> {
    // Any socket does to speak to the kernel about interfaces.
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
    // SAFETY: it is made of numbers alone, and zeros are numbers.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (letter, byte) in request.ifr_name.iter_mut().zip(LOOPBACK) {
        *letter = *byte as libc::c_char;
    }
    request.ifr_ifru.ifru_flags = libc::IFF_UP as libc::c_short;
    // SAFETY: this call reads one such structure, and it outlives the call.
    match unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS as _, &request) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}
