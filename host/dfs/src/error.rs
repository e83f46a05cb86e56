//! What a store answers when it does not do what was asked.

use std::io;

use crate::fairos::AccountError;
use crate::{DfsPath, NameError, Place, PodName, Reference, UserName};

/// Why a call failed, on what, and what to do next.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A name does not have the form of its kind.
    #[error(transparent)]
    Name(#[from] NameError),

    /// The storage server does not take the user for one of its own.
    #[error(transparent)]
    Account(#[from] AccountError),

    /// No such pod.
    #[error(
        "there is no pod `{pod}` in the storage of user `{user}`: create it, or receive it from its owner"
    )]
    NoSuchPod {
        /// The pod that was named.
        pod: PodName,
        /// Whose storage was searched.
        user: UserName,
    },

    /// The name of a new pod is taken.
    #[error("the pod `{pod}` cannot be made: `{existing}` exists; use it, or choose another name")]
    PodExists {
        /// The name that was asked for.
        pod: PodName,
        /// The pod that has it. May differ in case.
        existing: PodName,
    },

    /// No such file or directory.
    #[error("there is nothing at `{path}` in {place}: list the directory to see what is there")]
    NoSuchPath {
        /// The pod that was searched.
        place: Place,
        /// The path, or the first part of it that does not exist.
        path: DfsPath,
    },

    /// The name of a new entry is taken.
    #[error(
        "`{path}` cannot be made in pod `{pod}`: its directory has `{existing}`; remove that first, or choose a \
         name that differs in more than case or accents' encoding"
    )]
    PathExists {
        /// The pod.
        pod: PodName,
        /// The path that was asked for.
        path: DfsPath,
        /// The entry that has the name. May differ in case or in Unicode form.
        existing: String,
    },

    /// A file was needed and a directory found.
    #[error("`{path}` in {place} is a directory: name a file in it")]
    IsDirectory {
        /// The pod.
        place: Place,
        /// The directory.
        path: DfsPath,
    },

    /// A directory was needed and a file found.
    #[error("`{path}` in {place} is a file: name a directory")]
    IsFile {
        /// The pod.
        place: Place,
        /// The file.
        path: DfsPath,
    },

    /// Only empty directories can be removed.
    #[error("the directory `{path}` in pod `{pod}` is not empty: remove what it holds first")]
    NotEmpty {
        /// The pod.
        pod: PodName,
        /// The directory.
        path: DfsPath,
    },

    /// The pod's root can be listed, but neither removed nor written.
    #[error("the root of pod `{pod}` cannot be {attempted}: name a file or a directory in it")]
    Root {
        /// The pod.
        pod: PodName,
        /// What was tried, as a participle.
        attempted: &'static str,
    },

    /// A received pod is its owner's to change and to share.
    #[error(
        "the pod `{pod}` was received and cannot be {attempted}: only its owner can; use a pod of your own"
    )]
    ReadOnly {
        /// The pod.
        pod: PodName,
        /// What was tried, as a participle.
        attempted: &'static str,
    },

    /// Nothing was shared under this reference.
    #[error(
        "no pod is shared as {reference}, or not any more: ask its owner for the reference that it has now"
    )]
    NoSuchShare {
        /// The reference.
        reference: Reference,
    },

    /// The pod has no reference that could be ended.
    #[error(
        "the pod `{pod}` is not shared, so there is no reference to end: nobody but its owner can read it"
    )]
    NotShared {
        /// The pod.
        pod: PodName,
    },

    /// This kind of storage cannot do it.
    #[error("the pod `{pod}` cannot be {attempted} in this storage: {reason}; {next}")]
    Unsupported {
        /// The pod.
        pod: PodName,
        /// What was tried, as a participle.
        attempted: &'static str,
        /// What is in the way.
        reason: &'static str,
        /// What to do instead.
        next: &'static str,
    },

    /// One's own reference was to be received.
    #[error("{reference} is the user's own pod `{pod}`: use that")]
    OwnShare {
        /// The reference.
        reference: Reference,
        /// The pod it stands for.
        pod: PodName,
    },

    /// A cap of the store would be passed.
    #[error("{what} would pass the cap of {cap} {unit}: remove something, or split the data")]
    Full {
        /// What was to grow.
        what: String,
        /// The cap.
        cap: u64,
        /// Its unit, in the plural.
        unit: &'static str,
    },

    /// The stream that was to be stored failed; nothing was stored.
    #[error(
        "`{path}` in pod `{pod}` was not written, because its content could not be read: {source}"
    )]
    Content {
        /// The pod.
        pod: PodName,
        /// The file.
        path: DfsPath,
        /// Why.
        source: io::Error,
    },

    /// The store itself failed.
    #[error("the storage could not {attempted}: {reason}; {next}")]
    Storage {
        /// What was tried, as an infinitive with its object.
        attempted: String,
        /// The reason in the store's own words.
        reason: String,
        /// What to do.
        next: &'static str,
    },
}

/// The classes of [`Error`], as a caller needs to tell them apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// The call cannot succeed as it was made.
    Invalid,
    /// What was named does not exist.
    NotFound,
    /// The name is taken.
    AlreadyExists,
    /// The store failed, or is full. The same call may succeed later.
    Unavailable,
}

impl Error {
    /// The class of this error.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Error::Name(_)
            | Error::IsDirectory { .. }
            | Error::IsFile { .. }
            | Error::NotEmpty { .. }
            | Error::Root { .. }
            | Error::ReadOnly { .. }
            | Error::NotShared { .. }
            | Error::Unsupported { .. } => ErrorKind::Invalid,
            Error::Account(error) => match error {
                AccountError::NoSuchUser { .. } => ErrorKind::NotFound,
                AccountError::UserExists { .. } => ErrorKind::AlreadyExists,
                AccountError::Unfunded { .. } => ErrorKind::Unavailable,
                _ => ErrorKind::Invalid,
            },
            Error::NoSuchPod { .. } | Error::NoSuchPath { .. } | Error::NoSuchShare { .. } => {
                ErrorKind::NotFound
            }
            Error::PodExists { .. } | Error::PathExists { .. } | Error::OwnShare { .. } => {
                ErrorKind::AlreadyExists
            }
            Error::Full { .. } | Error::Content { .. } | Error::Storage { .. } => {
                ErrorKind::Unavailable
            }
        }
    }
}
