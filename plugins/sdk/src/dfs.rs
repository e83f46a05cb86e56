//! The user's storage pods: small files and control data. Whole files go through [`crate::transfer`].

use crate::Error;
use crate::bindings::sovr::pod::dfs::{self, Location};

pub use crate::bindings::sovr::pod::dfs::{Entry, Kind};

/// The storage pods that this script may read or write, and that exist.
///
/// # Errors
/// When there is no storage, or the pod was granted none.
pub fn pods() -> Result<Vec<StoragePod>, Error> {
    let names = dfs::pods().map_err(|refusal| Error::new("listing storage pods", refusal))?;
    Ok(names.into_iter().map(StoragePod::named).collect())
}

/// Adds a pod that somebody shared, read-only.
///
/// # Errors
/// When nothing is shared under this reference.
pub fn receive(reference: &str) -> Result<StoragePod, Error> {
    let name = dfs::receive(reference)
        .map_err(|refusal| Error::new(format!("receiving {reference}"), refusal))?;
    Ok(StoragePod { name })
}

/// A storage pod. Paths in it are absolute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoragePod {
    name: String,
}

impl StoragePod {
    /// The pod of this name, which need not exist yet.
    pub fn named(name: impl Into<String>) -> Self {
        Self { name: name.into() }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Makes the pod.
    ///
    /// # Errors
    /// When the pod exists, or this script may not write it.
    pub fn create(&self) -> Result<(), Error> {
        dfs::create_pod(&self.name).map_err(|refusal| self.error("creating", "", refusal))
    }

    /// What a directory holds, sorted by name.
    ///
    /// # Errors
    /// When there is no such directory, or this script may not read it.
    pub fn list(&self, directory: &str) -> Result<Vec<Entry>, Error> {
        dfs::list(&self.at(directory)).map_err(|refusal| self.error("listing", directory, refusal))
    }

    /// One file or directory.
    ///
    /// # Errors
    /// When it does not exist, or this script may not read it.
    pub fn stat(&self, path: &str) -> Result<Entry, Error> {
        dfs::stat(&self.at(path)).map_err(|refusal| self.error("looking at", path, refusal))
    }

    /// Reads a file of at most `most` bytes, which is at most 1 MiB.
    ///
    /// # Errors
    /// When there is no such file, when it is larger, or this script may not read it.
    pub fn read(&self, path: &str, most: u64) -> Result<Vec<u8>, Error> {
        dfs::read(&self.at(path), most).map_err(|refusal| self.error("reading", path, refusal))
    }

    /// Writes a file of at most 1 MiB, replacing an older one.
    ///
    /// # Errors
    /// When this script may not write it, or it is too large.
    pub fn write(&self, path: &str, content: &[u8]) -> Result<(), Error> {
        dfs::write(&self.at(path), content).map_err(|refusal| self.error("writing", path, refusal))
    }

    /// Makes one directory; its parent must exist.
    ///
    /// # Errors
    /// When the name is taken, or this script may not write here.
    pub fn make_directory(&self, path: &str) -> Result<(), Error> {
        dfs::make_directory(&self.at(path))
            .map_err(|refusal| self.error("making directory", path, refusal))
    }

    /// Removes a file, or a directory that is empty.
    ///
    /// # Errors
    /// When it does not exist, or this script may not write here.
    pub fn remove(&self, path: &str) -> Result<(), Error> {
        dfs::remove(&self.at(path)).map_err(|refusal| self.error("removing", path, refusal))
    }

    /// Shares the pod and answers the sharing reference, 64 hexadecimal digits.
    ///
    /// # Errors
    /// When this script may not share.
    pub fn share(&self) -> Result<String, Error> {
        dfs::share(&self.name).map_err(|refusal| self.error("sharing", "", refusal))
    }

    fn at(&self, path: &str) -> Location {
        Location {
            pod: self.name.clone(),
            path: path.to_owned(),
        }
    }

    fn error(&self, attempt: &str, path: &str, refusal: crate::Refusal) -> Error {
        Error::new(
            format!("{attempt} storage pod {}{path}", self.name),
            refusal,
        )
    }
}
