//! The Sovr protocol: pods between directories of this machine and storage.
//!
//! A pod is stored as two files, `/NAME.zip` with its whole tree and `/recipe.json`; three more pods of the user keep
//! books of what was persisted, shared and forked. That layout is the original's, so either program reads what the
//! other wrote. Everything here stands on [`Dfs`] alone and works the same on the embedded store and on a server.
//!
//! What comes from a reference is a stranger's. It is read by reference and never received, so that no name of a
//! stranger takes a place in the user's storage; archives are unpacked by a confined process into a directory that
//! appears whole or not at all; what was fetched is pinned by its digest in `sovr.lock`, because a reference is a
//! pointer to whatever its owner puts there next.
//!
//! | Module | What it holds |
//! |---|---|
//! | [`persist`](mod@persist) | a directory into storage, its output beside it |
//! | [`fork`](mod@fork) | a pod of storage into a fresh directory, by reference or by name |
//! | [`books`] | what was persisted, shared and forked: list, rebuild, unshare, delete |
//! | [`payload`] | archives of shared pods into `payload/external` |
//! | [`program`] | the program itself as a pod |

pub mod books;
mod documents;
pub mod error;
pub mod event;
pub mod fork;
mod names;
pub mod payload;
pub mod persist;
mod pipe;
pub mod program;
mod told;
mod transfer;

use std::path::PathBuf;
use std::sync::Arc;

use sovr_dfs::Dfs;

pub use books::{Deleted, ForkedPod, Listing, OwnPod, Rebuilt, Unshared};
pub use error::{Error, Kind};
pub use event::{Event, Observer};
pub use fork::{Comparison, Forked};
pub use payload::{Gathered, Pinned, SourceDirectory, Sources};
pub use persist::{Contents, Persisted, SharedOutput};
pub use program::Companion;
pub use told::Told;

/// The protocol on one user's storage.
#[derive(Clone)]
pub struct Protocol {
    dfs: Arc<dyn Dfs>,
    books_lock: PathBuf,
    observer: Arc<dyn Observer>,
}

impl Protocol {
    /// The protocol on `dfs`. Whoever changes the books holds the file `books_lock` locked; it is made when needed.
    #[must_use]
    pub fn new(dfs: Arc<dyn Dfs>, books_lock: PathBuf, observer: Arc<dyn Observer>) -> Self {
        Self {
            dfs,
            books_lock,
            observer,
        }
    }

    /// The storage.
    #[must_use]
    pub fn dfs(&self) -> &Arc<dyn Dfs> {
        &self.dfs
    }
}
