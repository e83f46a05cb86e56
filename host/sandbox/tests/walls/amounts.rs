//! Limits on amounts of the machine.

use std::fs::File;
use std::os::fd::OwnedFd;
use std::os::unix::process::ExitStatusExt as _;
use std::time::Duration;

use sovr_sandbox::{Role, frame};

use crate::attempt::{Attempt, FRAME_MAX};
use crate::{attempt_with, limits, nothing, run, start, try_it};

crate::tests!(
    memory_ends_at_its_limit,
    address_space_ends_at_its_limit,
    a_growing_file_ends_at_its_limit,
    open_files_end_at_their_limit,
    processor_time_ends_at_its_limit,
);

fn memory_ends_at_its_limit() {
    let protection = libc::PROT_READ | libc::PROT_WRITE;
    let map = |size| {
        try_it(Attempt::Map {
            protection,
            flags: libc::MAP_PRIVATE,
            size,
        })
    };
    assert_eq!(map(limits().data / 2), Ok(0));
    assert_eq!(map(limits().data), Err(libc::ENOMEM));
}

fn address_space_ends_at_its_limit() {
    let map = |size| {
        try_it(Attempt::Map {
            protection: libc::PROT_NONE,
            flags: libc::MAP_PRIVATE,
            size,
        })
    };
    assert_eq!(map(limits().address_space / 2), Ok(0));
    assert_eq!(map(limits().address_space), Err(libc::ENOMEM));
}

fn a_growing_file_ends_at_its_limit() {
    let file = tempfile::tempfile().unwrap();
    let given = vec![file.try_clone().unwrap().into()];
    assert_eq!(
        attempt_with(Role::Work, &nothing(), given, Attempt::GrowGivenFile),
        Err(libc::EFBIG)
    );
    assert_eq!(file.metadata().unwrap().len(), limits().file_size);
}

fn open_files_end_at_their_limit() {
    let file = vec![OwnedFd::from(File::open("/dev/null").unwrap())];
    let more = attempt_with(Role::Work, &nothing(), file, Attempt::DuplicateWithoutEnd);
    // Beside the standard three, the channel and the file itself.
    assert_eq!(more, Ok(limits().open_files - 5));
}

fn processor_time_ends_at_its_limit() {
    let mut confinement = nothing();
    confinement.limits.cpu = Some(Duration::from_millis(500));
    run(async {
        let mut child = start(Role::Work, &confinement, Vec::new());
        let mut channel = child.take_channel();
        frame::send(&mut channel, &Attempt::Spin, FRAME_MAX)
            .await
            .unwrap();
        let status = child.wait().await.unwrap();
        assert_eq!(
            status.signal(),
            Some(libc::SIGKILL),
            "{status}; {}",
            child.diagnostics()
        );
    });
}
