//! The system-call wall.

use std::fs;

use sovr_sandbox::{Confinement, Role};

use crate::attempt::{Answer, Attempt};
use crate::{attempt_with, nothing, try_it};

crate::tests!(
    no_network_socket_can_be_made,
    no_datagram_socket_pair_can_be_made,
    no_process_can_be_forked,
    no_program_can_be_executed,
    no_links_and_special_files_can_be_made,
    no_process_can_be_traced,
    no_signal_reaches_the_parent,
    limits_cannot_be_changed,
    threads_start_only_where_they_may,
    memory_is_never_writable_and_executable,
    memory_is_executable_only_where_guests_run,
    shared_memory_cannot_be_mapped,
);

/// What the wall of system calls answers.
const NO_SUCH_CALL: Answer = Err(libc::ENOSYS);

fn no_network_socket_can_be_made() {
    for family in [
        libc::AF_INET,
        libc::AF_INET6,
        libc::AF_UNIX,
        libc::AF_NETLINK,
        libc::AF_PACKET,
    ] {
        assert_eq!(
            try_it(Attempt::Socket { family }),
            NO_SUCH_CALL,
            "family {family}"
        );
    }
}

fn no_datagram_socket_pair_can_be_made() {
    assert_eq!(
        try_it(Attempt::SocketPair {
            kind: libc::SOCK_DGRAM
        }),
        NO_SUCH_CALL
    );
    assert_eq!(
        try_it(Attempt::SocketPair {
            kind: libc::SOCK_SEQPACKET
        }),
        NO_SUCH_CALL
    );
    // tokio's signal handling needs this one.
    assert_eq!(
        try_it(Attempt::SocketPair {
            kind: libc::SOCK_STREAM
        }),
        Ok(0)
    );
}

fn no_process_can_be_forked() {
    assert_eq!(try_it(Attempt::Fork), NO_SUCH_CALL);
    assert_eq!(
        try_it(Attempt::Clone {
            flags: libc::SIGCHLD as u64
        }),
        NO_SUCH_CALL
    );
    assert_eq!(
        try_it(Attempt::Clone {
            flags: (libc::CLONE_NEWUSER | libc::SIGCHLD) as u64
        }),
        NO_SUCH_CALL
    );
}

fn no_program_can_be_executed() {
    assert_eq!(try_it(Attempt::Execute), NO_SUCH_CALL);
}

fn no_links_and_special_files_can_be_made() {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    let confinement = Confinement {
        write: vec![directory.path().to_owned()],
        ..nothing()
    };
    fs::write(at("file"), "content").unwrap();
    for special in [
        Attempt::SymbolicLink("/etc/passwd".into(), at("link")),
        Attempt::HardLink(at("file"), at("link")),
        Attempt::Fifo(at("fifo")),
    ] {
        assert_eq!(
            attempt_with(Role::Work, &confinement, Vec::new(), special.clone()),
            NO_SUCH_CALL,
            "{special:?}"
        );
    }
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
}

fn no_process_can_be_traced() {
    assert_eq!(try_it(Attempt::TraceParent), NO_SUCH_CALL);
}

fn no_signal_reaches_the_parent() {
    assert_eq!(try_it(Attempt::SignalParent), NO_SUCH_CALL);
}

fn limits_cannot_be_changed() {
    assert_eq!(try_it(Attempt::RaiseLimit), NO_SUCH_CALL);
}

fn threads_start_only_where_they_may() {
    let mut with = nothing();
    with.limits.threads = true;
    assert_eq!(
        attempt_with(Role::Work, &with, Vec::new(), Attempt::StartThread),
        Ok(0)
    );
    assert!(try_it(Attempt::StartThread).is_err());
}

fn memory_is_never_writable_and_executable() {
    for role in [Role::Runner, Role::Compile] {
        let both = libc::PROT_READ | libc::PROT_WRITE | libc::PROT_EXEC;
        let map = Attempt::Map {
            protection: both,
            flags: libc::MAP_PRIVATE,
            size: 4096,
        };
        assert_eq!(
            attempt_with(role, &nothing(), Vec::new(), map),
            NO_SUCH_CALL,
            "{role}"
        );
        let protect = Attempt::Protect { protection: both };
        assert_eq!(
            attempt_with(role, &nothing(), Vec::new(), protect),
            NO_SUCH_CALL,
            "{role}"
        );
    }
}

fn memory_is_executable_only_where_guests_run() {
    for (role, expected) in [
        (Role::Runner, Ok(0)),
        (Role::Work, Ok(0)),
        (Role::Compile, NO_SUCH_CALL),
        (Role::Examine, NO_SUCH_CALL),
        (Role::Unpack, NO_SUCH_CALL),
    ] {
        let executable = Attempt::Protect {
            protection: libc::PROT_READ | libc::PROT_EXEC,
        };
        assert_eq!(
            attempt_with(role, &nothing(), Vec::new(), executable),
            expected,
            "{role}"
        );
    }
}

fn shared_memory_cannot_be_mapped() {
    let protection = libc::PROT_READ | libc::PROT_WRITE;
    for (flags, expected) in [
        (libc::MAP_PRIVATE, Ok(0)),
        (libc::MAP_SHARED, NO_SUCH_CALL),
        (libc::MAP_SHARED_VALIDATE, NO_SUCH_CALL),
    ] {
        assert_eq!(
            try_it(Attempt::Map {
                protection,
                flags,
                size: 4096
            }),
            expected,
            "{flags}"
        );
    }
    assert_eq!(try_it(Attempt::MemoryFile), NO_SUCH_CALL);
}
