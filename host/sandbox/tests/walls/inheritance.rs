//! What a child gets from its parent, and what not.

use std::fs::{self, File};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, Stdio};

use sovr_sandbox::{Confinement, Role, frame, spawn};

use crate::attempt::{self, Attempt, FRAME_MAX};
use crate::{attempt_with, nothing, refuses, run, try_it};

crate::tests!(
    the_environment_is_empty,
    only_the_channel_and_the_given_files_are_open,
    given_files_arrive_in_order,
    too_many_files_are_refused,
    a_confinement_that_cannot_be_kept_ends_the_child,
    a_child_without_a_parent_refuses,
);

fn the_environment_is_empty() {
    assert!(
        std::env::vars().count() > 0,
        "the parent's environment shows nothing"
    );
    assert_eq!(try_it(Attempt::CountEnvironment), Ok(0));
}

fn only_the_channel_and_the_given_files_are_open() {
    // A descriptor that would be inherited.
    let stray = File::open("/dev/null").unwrap();
    rustix::io::fcntl_setfd(&stray, rustix::io::FdFlags::empty()).unwrap();
    let file = || OwnedFd::from(File::open("/dev/null").unwrap());
    let standard = 3;
    let channel = 1;
    assert_eq!(try_it(Attempt::CountDescriptors), Ok(standard + channel));
    let two = attempt_with(
        Role::Work,
        &nothing(),
        vec![file(), file()],
        Attempt::CountDescriptors,
    );
    assert_eq!(two, Ok(standard + channel + 2));
    drop(stray);
}

fn given_files_arrive_in_order() {
    let directory = tempfile::tempdir().unwrap();
    let mut files = Vec::new();
    for content in ["a", "bb", "ccc"] {
        let path = directory.path().join(content);
        fs::write(&path, content).unwrap();
        files.push(OwnedFd::from(File::open(path).unwrap()));
    }
    assert_eq!(
        attempt_with(Role::Work, &nothing(), files, Attempt::MeasureGivenFiles),
        Ok(0x01_02_03)
    );
}

fn too_many_files_are_refused() {
    run(async {
        let files = (0..17)
            .map(|_| OwnedFd::from(File::open("/dev/null").unwrap()))
            .collect();
        let error = spawn(Role::Work, &nothing(), files).unwrap_err();
        assert_eq!(
            error.to_string(),
            "cannot start a confined process for the role \"work\": 17 files were given and at most 16 can be"
        );
    });
}

fn a_confinement_that_cannot_be_kept_ends_the_child() {
    refuses(
        &Confinement {
            read: vec!["/no/such/directory".into()],
            ..nothing()
        },
        "/no/such/directory",
    );
}

fn a_child_without_a_parent_refuses() {
    // Started by hand, as a person could: no orders come.
    let output = Command::new(std::env::current_exe().unwrap())
        .arg0("sovr-child")
        .arg("work")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(attempt::REFUSED));
    // And with the right orders, but from a parent that is not its own.
    let (ours, theirs) = UnixStream::pair().unwrap();
    let letter = (1_u32, 0_u32, nothing());
    frame::write(&mut &ours, &letter, FRAME_MAX).unwrap();
    drop(ours);
    let output = Command::new(std::env::current_exe().unwrap())
        .arg0("sovr-child")
        .arg("work")
        .stdin(Stdio::from(OwnedFd::from(theirs)))
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(attempt::REFUSED));
    let complaint = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        complaint.contains("the parent of this process has ended"),
        "{complaint}"
    );
}
