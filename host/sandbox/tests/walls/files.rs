//! The file wall. Only where the kernel has landlock.

use std::fs::{self, File};
use std::os::fd::OwnedFd;
use std::path::Path;

use sovr_sandbox::{Confinement, Role};

use crate::attempt::Attempt;
use crate::{attempt_with, nothing, refuses};

crate::tests!(
    nothing_outside_the_named_directories_can_be_read,
    nothing_outside_the_named_directories_can_be_listed,
    a_readable_directory_cannot_be_changed,
    a_writable_directory_can_be_changed,
    nothing_moves_between_directories,
    a_symbolic_link_does_not_lead_out,
    a_given_file_can_be_opened_again_but_not_written,
    a_symbolic_link_is_no_directory_to_confine_to,
);

fn nothing_outside_the_named_directories_can_be_read() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("inside"), "").unwrap();
    let confinement = Confinement {
        read: vec![directory.path().join("inside")],
        ..nothing()
    };
    let read = |path: &Path| {
        attempt_with(
            Role::Work,
            &confinement,
            Vec::new(),
            Attempt::Read(path.to_owned()),
        )
    };
    assert_eq!(read(&directory.path().join("inside")), Ok(0));
    fs::write(directory.path().join("outside"), "").unwrap();
    let own_program = std::env::current_exe().unwrap();
    for path in [
        Path::new("/etc/passwd"),
        Path::new("/proc/self/environ"),
        Path::new("/dev/null"),
        &own_program,
        &directory.path().join("outside"),
        &directory.path().join("inside/../outside"),
    ] {
        let errno = read(path).unwrap_err();
        assert!(
            [libc::EACCES, libc::ENOTDIR].contains(&errno),
            "{}: {errno}",
            path.display()
        );
    }
}

fn nothing_outside_the_named_directories_can_be_listed() {
    let directory = tempfile::tempdir().unwrap();
    let confinement = Confinement {
        read: vec![directory.path().to_owned()],
        ..nothing()
    };
    let list = |path: &Path| {
        attempt_with(
            Role::Work,
            &confinement,
            Vec::new(),
            Attempt::List(path.to_owned()),
        )
    };
    assert_eq!(list(directory.path()), Ok(0));
    assert_eq!(list(Path::new("/")), Err(libc::EACCES));
    assert_eq!(list(directory.path().parent().unwrap()), Err(libc::EACCES));
}

fn a_readable_directory_cannot_be_changed() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("file");
    fs::write(&file, "content").unwrap();
    fs::create_dir(directory.path().join("empty")).unwrap();
    let confinement = Confinement {
        read: vec![directory.path().to_owned()],
        ..nothing()
    };
    for change in [
        Attempt::Write(file.clone()),
        Attempt::Truncate(file.clone()),
        Attempt::Remove(file.clone()),
        Attempt::Write(directory.path().join("new")),
        Attempt::MakeDirectory(directory.path().join("new")),
        Attempt::RemoveDirectory(directory.path().join("empty")),
        Attempt::Rename(file.clone(), directory.path().join("other")),
    ] {
        let answer = attempt_with(Role::Work, &confinement, Vec::new(), change.clone());
        assert_eq!(answer, Err(libc::EACCES), "{change:?}");
    }
    assert_eq!(fs::read(&file).unwrap(), b"content");
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 2);
}

fn a_writable_directory_can_be_changed() {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    fs::write(at("old"), "content").unwrap();
    let confinement = Confinement {
        write: vec![directory.path().to_owned()],
        ..nothing()
    };
    for change in [
        Attempt::Write(at("file")),
        Attempt::Read(at("file")),
        Attempt::Truncate(at("old")),
        Attempt::Rename(at("old"), at("new")),
        Attempt::Remove(at("new")),
        Attempt::MakeDirectory(at("directory")),
        Attempt::RemoveDirectory(at("directory")),
    ] {
        assert_eq!(
            attempt_with(Role::Work, &confinement, Vec::new(), change.clone()),
            Ok(0),
            "{change:?}"
        );
    }
}

fn nothing_moves_between_directories() {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    fs::create_dir(at("payload")).unwrap();
    fs::create_dir(at("output")).unwrap();
    fs::write(at("payload/secret"), "content").unwrap();
    fs::write(at("output/own"), "content").unwrap();
    let confinement = Confinement {
        read: vec![at("payload")],
        write: vec![at("output")],
        ..nothing()
    };
    for change in [
        Attempt::Rename(at("payload/secret"), at("output/secret")),
        Attempt::Rename(at("output/own"), at("payload/own")),
        Attempt::Rename(at("output/own"), at("own")),
    ] {
        let errno = attempt_with(Role::Work, &confinement, Vec::new(), change.clone()).unwrap_err();
        assert!(
            [libc::EACCES, libc::EXDEV].contains(&errno),
            "{change:?}: {errno}"
        );
    }
}

fn a_symbolic_link_does_not_lead_out() {
    let directory = tempfile::tempdir().unwrap();
    let link = directory.path().join("link");
    std::os::unix::fs::symlink("/etc/passwd", &link).unwrap();
    let confinement = Confinement {
        write: vec![directory.path().to_owned()],
        ..nothing()
    };
    assert_eq!(
        attempt_with(
            Role::Work,
            &confinement,
            Vec::new(),
            Attempt::Read(link.clone())
        ),
        Err(libc::EACCES)
    );
    assert_eq!(
        attempt_with(Role::Work, &confinement, Vec::new(), Attempt::Write(link)),
        Err(libc::EACCES)
    );
}

fn a_given_file_can_be_opened_again_but_not_written() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("code");
    fs::write(&path, "native").unwrap();
    let given = || vec![OwnedFd::from(File::open(&path).unwrap())];
    assert_eq!(
        attempt_with(
            Role::Runner,
            &nothing(),
            given(),
            Attempt::ReopenGivenFile { write: false }
        ),
        Ok(6)
    );
    let written = attempt_with(
        Role::Runner,
        &nothing(),
        given(),
        Attempt::ReopenGivenFile { write: true },
    );
    assert_eq!(written, Err(libc::EACCES));
    // Its neighbours stay out of reach.
    let by_path = attempt_with(
        Role::Runner,
        &nothing(),
        given(),
        Attempt::List(directory.path().to_owned()),
    );
    assert_eq!(by_path, Err(libc::EACCES));
    // An entry of a cache may be replaced meanwhile.
    let removed = given();
    fs::remove_file(&path).unwrap();
    assert_eq!(
        attempt_with(
            Role::Runner,
            &nothing(),
            removed,
            Attempt::ReopenGivenFile { write: false }
        ),
        Ok(6)
    );
    // A file of memory, as compilers get.
    let memory = rustix::fs::memfd_create("wasm", rustix::fs::MemfdFlags::CLOEXEC).unwrap();
    rustix::io::write(&memory, b"wasm").unwrap();
    rustix::fs::seek(&memory, rustix::fs::SeekFrom::Start(0)).unwrap();
    assert_eq!(
        attempt_with(
            Role::Compile,
            &nothing(),
            vec![memory],
            Attempt::ReadGivenFile
        ),
        Ok(4)
    );
}

fn a_symbolic_link_is_no_directory_to_confine_to() {
    let directory = tempfile::tempdir().unwrap();
    let link = directory.path().join("output");
    std::os::unix::fs::symlink("/etc", &link).unwrap();
    refuses(
        &Confinement {
            write: vec![link],
            ..nothing()
        },
        "neither a directory nor a regular file",
    );
}
