//! Confined child processes: the same program started again in a role, behind walls of the kernel.
//!
//! Why processes and not threads: a deadline cannot stop a thread that is blocked in a system call, the wasm engine has
//! no disk quota, compiling is outside its security promise, and credentials must not live in the process that runs a
//! stranger's code. Killing a process always works.
//!
//! The parent calls [`spawn`]; the child's `main` asks [`role`] first and then calls [`enter`] before it reads anything
//! that a stranger made. Both sides talk through [`frame`]s on one socket pair. What the kernel of this machine
//! offers, and what follows where it lacks something, is what [`walls`] tells.
//!
//! Linux only: landlock, seccomp, pidfd and the parent-death signal have no counterparts elsewhere that give the same
//! promises, and a sandbox that only looks like one is worse than none.

#[cfg(not(target_os = "linux"))]
compile_error!(
    "sovr-sandbox confines its children with landlock, seccomp and pidfd: it builds for Linux only"
);

mod child;
mod confinement;
mod enter;
mod files;
pub mod frame;
mod letter;
mod reaper;
mod role;
mod spawn;
mod syscalls;
mod walls;

pub use child::Child;
pub use confinement::{Confinement, ProcessLimits};
pub use enter::{EnterError, Entered, enter};
pub use role::{Role, role};
pub use spawn::{SpawnError, spawn};
pub use walls::{Strength, Wall, walls};
