//! Directories of activities, and those that dead processes left behind.
//!
//! A directory is removed when its activity ends. When the whole process is killed nobody does that, so each directory
//! is locked for as long as its activity lives: the kernel drops the lock with the process, and the next network removes
//! what is not locked. While a directory is made and not yet locked, its maker shares a lock on the scratch directory
//! itself, and nobody sweeps.

use std::fs::File;
use std::io;
use std::path::Path;

use rustix::fs::{FlockOperation, flock};
use tempfile::TempDir;

const PREFIX: &str = "activity-";

/// A locked directory, removed when dropped.
pub(crate) struct Directory {
    directory: TempDir,
    /// Held for as long as the directory is there.
    lock: File,
}

impl Directory {
    pub(crate) fn create(scratch: &Path) -> io::Result<Self> {
        std::fs::create_dir_all(scratch)?;
        let sweepers = File::open(scratch)?;
        flock(&sweepers, FlockOperation::LockShared)?;
        let directory = tempfile::Builder::new()
            .prefix(PREFIX)
            .tempdir_in(scratch)?;
        let lock = File::open(directory.path())?;
        flock(&lock, FlockOperation::NonBlockingLockExclusive)?;
        Ok(Self { directory, lock })
    }

    pub(crate) fn path(&self) -> &Path {
        self.directory.path()
    }

    /// Removes it now.
    pub(crate) fn remove(self) -> io::Result<()> {
        let Self { directory, lock } = self;
        let removed = directory.close();
        drop(lock);
        removed
    }
}

/// Removes what dead processes left. What cannot be removed now is left for another time.
pub(crate) fn sweep(scratch: &Path) {
    let Ok(makers) = File::open(scratch) else {
        return;
    };
    if flock(&makers, FlockOperation::NonBlockingLockExclusive).is_err() {
        return;
    }
    let Ok(entries) = std::fs::read_dir(scratch) else {
        return;
    };
    for entry in entries.flatten() {
        if entry.file_name().to_string_lossy().starts_with(PREFIX)
            && let Ok(lock) = File::open(entry.path())
            && flock(&lock, FlockOperation::NonBlockingLockExclusive).is_ok()
        {
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_nobody_uses_is_swept_away() {
        let scratch = tempfile::tempdir().unwrap();
        let left = scratch.path().join("activity-left");
        std::fs::create_dir_all(left.join("deployment/volume-0")).unwrap();
        let foreign = scratch.path().join("foreign");
        std::fs::create_dir(&foreign).unwrap();
        let used = Directory::create(scratch.path()).unwrap();
        sweep(scratch.path());
        assert!(!left.exists());
        assert!(foreign.exists() && used.path().exists());

        let path = used.path().to_owned();
        used.remove().unwrap();
        assert!(!path.exists());
    }

    #[test]
    fn nobody_sweeps_while_a_directory_is_made() {
        let scratch = tempfile::tempdir().unwrap();
        let made = scratch.path().join("activity-made");
        std::fs::create_dir(&made).unwrap();
        let maker = File::open(scratch.path()).unwrap();
        flock(&maker, FlockOperation::LockShared).unwrap();
        sweep(scratch.path());
        assert!(made.exists());
    }
}
