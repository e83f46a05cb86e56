//! Runs guests: the wasm engine, its limits, and both ends of the conversation between the broker and the confined
//! child process in which a pod's script runs.

pub mod archive;
pub mod bindings;
pub mod code;
mod compile;
pub mod engine;
mod errand;
pub mod examine;
mod interfaces;
pub mod limits;
mod output;
pub mod package;
pub mod quota;
pub mod run;
mod runner;
mod wasi;
pub mod wire;
pub mod work;

use std::process::ExitCode;

use sovr_sandbox::Role;

/// What `main` of the program does when it was started as a child: everything, in a role. Answers when the child is
/// done.
#[must_use]
pub fn child(role: Role) -> ExitCode {
    match role {
        Role::Runner => runner::main(),
        Role::Compile => compile::main(),
        Role::Examine => examine::main(),
        Role::Unpack => archive::main(),
        Role::Work => work::child::main(),
    }
}
