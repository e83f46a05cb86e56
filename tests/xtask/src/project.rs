//! Where things are in the source tree.

use std::path::{Path, PathBuf};

/// The source tree this program was built from.
pub(crate) struct Project {
    root: PathBuf,
}

impl Project {
    /// Two directories above this crate.
    pub(crate) fn find() -> Self {
        let crate_root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let root = crate_root
            .ancestors()
            .nth(2)
            .expect("this crate lies in tests/xtask")
            .to_path_buf();
        Self { root }
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// A path given relative to the root, as in tables and lock files.
    pub(crate) fn path(&self, relative: impl AsRef<Path>) -> PathBuf {
        self.root.join(relative)
    }

    /// The guests' own workspace.
    pub(crate) fn plugins(&self) -> PathBuf {
        self.path("plugins")
    }

    /// Built guests, for tests to use.
    pub(crate) fn built(&self) -> PathBuf {
        self.path("target/guests")
    }

    /// Downloaded tools that build guests.
    pub(crate) fn tools(&self) -> PathBuf {
        self.path("target/guest-tools")
    }
}
