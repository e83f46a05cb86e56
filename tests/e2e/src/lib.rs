//! End-to-end tests: the built program as people start it, watched from outside.
//!
//! Every test has state directories and pods of its own, in temporary directories, so tests neither see each other
//! nor the user's own state. What a test asserts comes from outside the program: exit codes, events, files, the
//! process table, the kernel's account of memory.
//!
//! | Module | What it holds |
//! |---|---|
//! | [`paths`] | where the program, the templates and the hostile guests are |
//! | [`home`] | state directories of one test |
//! | [`pod`] | pods of one test |
//! | [`users`] | users who share a storage, of either kind |
//! | [`each`] | tests that run on each kind of storage |
//! | [`run`] | one start of the program, and what was seen of it |
//! | [`watch`] | processes as the kernel shows them: which there are, their memory, the moment they end |
//! | [`render`] | what the pod `render` is to have made |
//! | [`wasm`] | guests that no compiler would make |
//! | [`measure`] | the clocks and the lines of benches |

pub mod each;
pub mod home;
pub mod measure;
pub mod paths;
pub mod pod;
pub mod render;
pub mod run;
pub mod users;
pub mod wasm;
pub mod watch;

pub use each::on_each_storage;
pub use home::Home;
pub use pod::{Pod, tree};
pub use run::{Ended, Running};
pub use users::{Storage, User, block_on};

/// The program's exit codes, as its help documents them.
pub mod exit {
    /// Everything that was asked for was done.
    pub const OK: i32 = 0;
    /// The pod's script ended with an error.
    pub const POD_FAILED: i32 = 1;
    /// The command line makes no sense.
    pub const USAGE: i32 = 2;
    /// The pod asks for more than the user, or the policy, allows.
    pub const DENIED: i32 = 3;
    /// The pod hit one of its limits.
    pub const LIMIT: i32 = 4;
    /// Something outside the pod is missing or broken.
    pub const UNAVAILABLE: i32 = 5;
    /// The pod cannot be run as it is.
    pub const INVALID_POD: i32 = 6;
    /// Ctrl-C.
    pub const INTERRUPTED: i32 = 130;
}
