//! Content as files named by their Swarm reference.
//!
//! `content/<first byte>/<reference>` holds what is complete, `partial/` what is being written. Whoever writes a
//! partial file holds a lock on it, which ends with the process however that ends. So when the store is opened, a
//! partial file that can be locked belongs to nobody and is removed.

use std::fs::{self, DirBuilder, File, TryLockError};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

use crate::swarm::{Hasher, Reference};

/// From so many bytes on, writing is worth a thread of its own beside hashing.
const OVERLAP: usize = 128 << 10;

/// The content of all pods.
pub(super) struct Blobs {
    content: PathBuf,
    partial: PathBuf,
}

/// Content that is still arriving. Dropped, it is gone.
pub(super) struct Staged {
    file: NamedTempFile,
    hasher: Hasher,
    size: u64,
}

/// Content that is complete and on the disk, but has no place yet. Dropped, it is gone.
pub(super) struct Sealed {
    file: NamedTempFile,
    pub(super) reference: Reference,
    pub(super) size: u64,
}

impl Blobs {
    pub(super) fn open(root: &Path) -> io::Result<Blobs> {
        let blobs = Blobs {
            content: root.join("content"),
            partial: root.join("partial"),
        };
        for directory in [root, &blobs.content, &blobs.partial] {
            DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(directory)?;
        }
        blobs.remove_abandoned()?;
        Ok(blobs)
    }

    fn remove_abandoned(&self) -> io::Result<()> {
        for entry in fs::read_dir(&self.partial)? {
            let path = entry?.path();
            let file = match File::open(&path) {
                Ok(file) => file,
                // Completed or removed in the meantime.
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(error),
            };
            match file.try_lock() {
                Ok(()) => ignore_missing(fs::remove_file(path))?,
                Err(TryLockError::WouldBlock) => {}
                Err(TryLockError::Error(error)) => return Err(error),
            }
        }
        Ok(())
    }

    pub(super) fn stage(&self) -> io::Result<Staged> {
        loop {
            let file = NamedTempFile::new_in(&self.partial)?;
            file.as_file().lock()?;
            // A process that is opening the store may have found the file before it was locked, and removed it.
            if file.as_file().metadata()?.nlink() > 0 {
                return Ok(Staged {
                    file,
                    hasher: Hasher::default(),
                    size: 0,
                });
            }
        }
    }

    /// Puts content in its place. Replacing equal content with itself is harmless, also to who reads it.
    pub(super) fn keep(&self, sealed: Sealed) -> io::Result<()> {
        let place = self.place(&sealed.reference);
        let directory = place.parent().unwrap_or(&self.content);
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(directory)?;
        sealed.file.persist(&place).map_err(|failed| failed.error)?;
        File::open(directory)?.sync_all()?;
        File::open(&self.content)?.sync_all()
    }

    pub(super) fn read(&self, reference: &Reference, size: u64) -> io::Result<File> {
        let file = File::open(self.place(reference))?;
        let found = file.metadata()?.len();
        if found != size {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                format!("the stored content {reference} has {found} bytes instead of {size}"),
            ));
        }
        Ok(file)
    }

    pub(super) fn remove(&self, reference: &Reference) -> io::Result<()> {
        ignore_missing(fs::remove_file(self.place(reference)))
    }

    fn place(&self, reference: &Reference) -> PathBuf {
        let name = reference.to_string();
        self.content.join(&name[..2]).join(name)
    }
}

fn ignore_missing(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

impl Staged {
    pub(super) fn size(&self) -> u64 {
        self.size
    }

    pub(super) fn push(&mut self, bytes: &[u8]) -> io::Result<()> {
        let Staged { file, hasher, size } = self;
        *size += bytes.len() as u64;
        if bytes.len() < OVERLAP {
            hasher.update(bytes);
            return file.write_all(bytes);
        }
        let (written, ()) = rayon::join(|| file.write_all(bytes), || hasher.update(bytes));
        written
    }

    pub(super) fn seal(self) -> io::Result<Sealed> {
        let file = self.file.as_file();
        file.set_permissions(fs::Permissions::from_mode(0o400))?;
        file.sync_all()?;
        Ok(Sealed {
            file: self.file,
            reference: self.hasher.finish(),
            size: self.size,
        })
    }
}
