//! What the hostile guests share: how they report, and WASI's files and sockets without the C library in between, which
//! would refuse some abuses before the host sees them.
//!
//! Each program is one abuse. A line that begins with `EVIL:` says that it succeeded, so a test looks for that word;
//! a line that begins with `held:` says what the host answered instead. What a program cannot know itself (memory of
//! the host, time of death) a test asserts from outside.

use std::fmt::Display;

pub use bindings::wasi::filesystem::preopens::get_directories;
pub use bindings::wasi::filesystem::types::{Descriptor, DescriptorFlags, OpenFlags, PathFlags};
pub use bindings::wasi::sockets;

#[allow(
    missing_docs,
    reason = "generated code has the documentation of the WIT files"
)]
mod bindings {
    wit_bindgen::generate!({
        inline: "
            package sovr:hostile;
            world raw {
                import wasi:filesystem/types@0.2.12;
                import wasi:filesystem/preopens@0.2.12;
                import wasi:sockets/instance-network@0.2.12;
                import wasi:sockets/ip-name-lookup@0.2.12;
                import wasi:sockets/tcp-create-socket@0.2.12;
                import wasi:sockets/udp-create-socket@0.2.12;
            }
        ",
        path: "../../wit",
        world: "sovr:hostile/raw",
        generate_all,
    });
}

/// Reports how an attempt ended that must not succeed.
pub fn report<T, E: Display>(attempt: impl Display, result: Result<T, E>) {
    match result {
        Ok(_) => println!("EVIL: {attempt}"),
        Err(error) => println!("held: {attempt}: {error}"),
    }
}

/// The directory that the host opened under a name.
///
/// # Panics
/// When there is none; the guest's standard library needs it as well.
pub fn preopened(name: &str) -> Descriptor {
    let mut directories = get_directories().into_iter();
    let found = directories.find(|(_, path)| path.trim_matches('/') == name.trim_matches('/'));
    found
        .unwrap_or_else(|| panic!("the host opened no directory {name}"))
        .0
}
