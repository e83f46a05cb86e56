//! Files with secrets.

use std::fs::{Metadata, OpenOptions};
use std::io::Read;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use zeroize::Zeroizing;

/// A file with a secret in it.
pub(super) struct PrivateFile {
    /// What it holds.
    pub(super) content: Zeroizing<Vec<u8>>,
    found: Metadata,
}

/// Reads a regular file of at most `most` bytes. What is wrong with it is to be read after its name, and says nothing of
/// what it holds.
pub(super) fn read(path: &Path, most: usize) -> Result<PrivateFile, String> {
    let unread = |source| format!("cannot be read: {source}");
    // A pipe in its place would be waited for.
    let nonblock = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(nonblock)
        .open(path)
        .map_err(unread)?;
    let found = file.metadata().map_err(unread)?;
    if !found.is_file() {
        return Err("is not a regular file".to_owned());
    }
    let mut content = Zeroizing::new(Vec::new());
    file.take(most as u64 + 1)
        .read_to_end(&mut content)
        .map_err(unread)?;
    if content.len() > most {
        return Err(format!(
            "has more than {most} bytes, so it is something else"
        ));
    }
    Ok(PrivateFile { content, found })
}

impl PrivateFile {
    /// Whether it belongs to somebody else.
    pub(super) fn is_foreign(&self) -> bool {
        self.found.uid() != rustix::process::geteuid().as_raw()
    }

    /// Whether others may do something with it.
    pub(super) fn is_open(&self) -> bool {
        self.found.mode() & 0o077 != 0
    }
}
