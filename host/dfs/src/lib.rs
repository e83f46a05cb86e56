//! Storage pods: named trees of files that belong to a user and can be shared by reference.
//!
//! [`Dfs`] is what the rest of the program knows. [`local::LocalDfs`] keeps everything in a directory of this
//! machine and needs no server, [`fairos::FairosDfs`] is a client of a FairOS-dfs server, which keeps them on Swarm.
//! Every implementation passes the same test-suite (`testsuite`).
//!
//! Content moves as streams, never as whole buffers, and what callers name (users, pods, paths) has been checked
//! once, by its type. A *sharing reference* is a pointer to a live pod, not a digest of what the pod holds: its
//! owner may change the pod at any time. Who needs a fixed content keeps a digest of their own.

mod error;
pub mod fairos;
mod joined;
pub mod local;
mod name;
mod place;
mod record;
pub mod swarm;
#[cfg(feature = "testsuite")]
#[doc(hidden)]
pub mod testsuite;

pub use error::{Error, ErrorKind};
pub use name::{DfsPath, NameError, PodName, UserName};
pub use place::Place;
pub use record::{Address, PodPassword, ShareInfo, ShareRecord};
pub use swarm::Reference;

use async_trait::async_trait;
use tokio::io::AsyncRead;

/// A stream of bytes that nobody needs to hold in memory.
pub type Content = Box<dyn AsyncRead + Send + Unpin>;

/// One user's view of a store of pods.
///
/// Errors name the pod and the path, and say what to do next. All calls may be made concurrently, also from
/// several processes; of two writers of one file the later wins and neither result is mixed.
#[async_trait]
pub trait Dfs: Send + Sync {
    /// Whose pods these are.
    fn user(&self) -> &UserName;

    /// Makes an empty pod. Names that differ only in case are the same name.
    async fn create_pod(&self, pod: &PodName) -> Result<(), Error>;

    /// The user's own and received pods, sorted by name.
    async fn pods(&self) -> Result<Vec<Pod>, Error>;

    /// One pod by its exact name.
    async fn pod(&self, pod: &PodName) -> Result<Pod, Error>;

    /// What a directory holds, sorted by name.
    async fn list(&self, place: &Place, directory: &DfsPath) -> Result<Vec<Entry>, Error>;

    /// One file or directory.
    async fn stat(&self, place: &Place, path: &DfsPath) -> Result<Entry, Error>;

    /// Opens a file as it is now; a later change does not show in the stream.
    async fn read(&self, place: &Place, file: &DfsPath) -> Result<OpenFile, Error>;

    /// Writes a file from a stream and answers its length. The file appears whole or not at all, and replaces an
    /// older one; its directory must exist. If `content` fails, or the future is dropped before `content` has
    /// ended, nothing has changed.
    async fn write(
        &self,
        pod: &PodName,
        file: &DfsPath,
        content: &mut (dyn AsyncRead + Send + Unpin),
    ) -> Result<u64, Error>;

    /// Sees to it that files of these lengths are there for everybody: asks the store afresh, with nothing that it
    /// remembers of their being written. For after a batch of writes; a store whose writes are on its disk when it
    /// answers them has nothing to do.
    async fn confirm(&self, pod: &PodName, files: &[(DfsPath, u64)]) -> Result<(), Error> {
        let _ = (pod, files);
        Ok(())
    }

    /// Makes one directory; its parent must exist.
    async fn make_directory(&self, pod: &PodName, directory: &DfsPath) -> Result<(), Error>;

    /// Removes a file, or a directory that is empty.
    async fn remove(&self, pod: &PodName, path: &DfsPath) -> Result<(), Error>;

    /// Shares an own pod. Until the share is ended the same pod always has the same reference; whoever knows it can
    /// read the pod.
    async fn share(&self, pod: &PodName) -> Result<Reference, Error>;

    /// Ends the share of an own pod: nothing can be read under its reference any more, and whoever received the pod
    /// has it no longer. The pod's password is changed, so a later share has another reference, and the old one
    /// stays dead. What others have read or forked is theirs.
    ///
    /// # Errors
    /// [`Error::NotShared`] when there is no reference to end, [`Error::Unsupported`] when this kind of storage
    /// cannot end one.
    async fn unshare(&self, pod: &PodName) -> Result<(), Error>;

    /// Who shared what under a reference.
    async fn share_info(&self, reference: &Reference) -> Result<ShareInfo, Error>;

    /// Adds a pod that somebody shared, read-only, under a name of the caller's choice: the name that the sharer
    /// gave it is a stranger's text. A reference received before answers the pod that it became then.
    async fn receive(&self, reference: &Reference, name: &PodName) -> Result<Pod, Error>;

    /// Makes an own pod with a copy of all files as they are now. The copy is independent: what happens to the
    /// original later does not show in it.
    async fn fork_pod(&self, from: &Place, name: &PodName) -> Result<(), Error>;

    /// Deletes an own pod with its contents and its share, or forgets a received one, which stays its owner's.
    async fn delete_pod(&self, pod: &PodName) -> Result<(), Error>;
}

/// A pod as its user sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pod {
    /// The name under which this user knows it.
    pub name: PodName,
    /// What this user may do with it.
    pub access: Access,
}

/// What a user may do with a pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// The user's own pod.
    Own,
    /// Received by reference: read-only, and it follows what its owner changes.
    Received,
}

/// One entry of a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Last part of the path; empty for the pod's root.
    pub name: String,
    /// File or directory.
    pub kind: Kind,
    /// Bytes; 0 for a directory.
    pub size: u64,
}

/// File or directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A file.
    File,
    /// A directory.
    Directory,
}

/// A file opened for reading.
pub struct OpenFile {
    /// Bytes that `content` will give.
    pub size: u64,
    /// The bytes. A stream that ends early or late is an error of the store.
    pub content: Content,
}
