//! What a child may still do.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// The files a child may reach and the amounts of the machine it may use. Everything that is not named is refused.
///
/// A path names a directory with all that lies beneath it, or one file. Its last component must not be a symbolic
/// link: who names a directory of a stranger's pod must get that directory and no other.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Confinement {
    /// Directories and files that may be read.
    pub read: Vec<PathBuf>,
    /// Directories and files that may be read and written. Links, devices, sockets and named pipes cannot be made in
    /// them, and nothing can be moved from one directory to another.
    pub write: Vec<PathBuf>,
    /// Amounts of the machine.
    pub limits: ProcessLimits,
}

/// Limits the kernel keeps for one child. Sizes are bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessLimits {
    /// Private writable memory (`RLIMIT_DATA`): the real memory wall. Mapping shared memory is forbidden, so that all
    /// memory a child can fill counts here.
    pub data: u64,
    /// Address space (`RLIMIT_AS`). The wasm engine reserves far more than it uses, so this is only an outer bound.
    pub address_space: u64,
    /// Size of the largest file (`RLIMIT_FSIZE`). A write beyond it fails with `EFBIG`.
    pub file_size: u64,
    /// Open descriptors (`RLIMIT_NOFILE`).
    pub open_files: u64,
    /// Whether the child may start threads. How many is bounded by `data`, out of which their stacks come; the kernel's
    /// own count (`RLIMIT_NPROC`) is one for all processes of the user and would make a child fail because of others.
    pub threads: bool,
    /// Processor time (`RLIMIT_CPU`), rounded up to whole seconds. The child is killed when it is used up.
    pub cpu: Option<Duration>,
}
