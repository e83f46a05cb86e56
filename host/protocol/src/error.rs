//! Why a pod could not be persisted, fetched or listed.

use std::io;
use std::path::PathBuf;

use sovr_capability::{Digest, Untrusted};
use sovr_dfs::{ErrorKind, PodName, Reference};

/// What went wrong, where, and what to do next. Messages are safe to show.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The directory is not a pod or a task that can be used, or something is in its place.
    #[error(transparent)]
    Pod(#[from] sovr_pod::Error),
    /// The directory cannot be packed.
    #[error(transparent)]
    Packing(#[from] sovr_pod::archive::ArchiveError),
    /// Storage refused or failed.
    #[error(transparent)]
    Dfs(#[from] sovr_dfs::Error),
    /// A pod must not be called that.
    #[error("{place} is \"{}\": {why}", .given.escaped_within(80))]
    Name {
        /// Whose name.
        place: &'static str,
        /// The name.
        given: Untrusted,
        /// What is wrong with it.
        why: String,
    },
    /// What is stored is not a compute pod.
    #[error("{place} is not a compute pod: {problem}")]
    NotAPod {
        /// Where it was looked for.
        place: String,
        /// What is missing or wrong.
        problem: String,
    },
    /// The archive of a stranger is not one to be unpacked, or could not be.
    #[error("{archive} was not unpacked")]
    Archive {
        /// Where it comes from.
        archive: String,
        /// Why.
        #[source]
        source: sovr_runtime::archive::ArchiveError,
    },
    /// What a reference stands for is not what was pinned.
    #[error(transparent)]
    Changed(#[from] Box<sovr_pod::lock::Changed>),
    /// What a reference stands for is not what was forked.
    #[error(
        "the pod `{name}` shared as {reference} is not what you forked: its archive had sha256 {forked}, now it is {found}; `sovr-host fork --diff` shows what it asks for now, and `import --update` brings it"
    )]
    ForkChanged {
        /// The pod.
        name: String,
        /// Its reference.
        reference: Box<Reference>,
        /// What was forked.
        forked: Digest,
        /// What is there now.
        found: Digest,
    },
    /// One of the user's books cannot be used; it is left as it is.
    #[error(transparent)]
    Book(#[from] sovr_pod::registry::RegistryError),
    /// There is no such pod in the user's books or storage.
    #[error("there is no pod `{}` among your pods; `sovr-host list` shows them", .0.escaped())]
    Unknown(Untrusted),
    /// A pod of somebody else has a name that is kept for the user's own, such as that of a book.
    #[error(
        "the pod `{pod}` was received from somebody else and has a name that is kept for pods of your own; `sovr-host delete {pod}` forgets it"
    )]
    Squatted {
        /// The pod.
        pod: PodName,
    },
    /// What would be deleted holds the user's books.
    #[error(
        "the pod `{pod}` holds your books and is not deleted; `sovr-host registry rebuild` makes the registry anew"
    )]
    HoldsBooks {
        /// The pod.
        pod: PodName,
    },
    /// Pods of several owners were forked under one name.
    #[error(
        "pods of several owners were forked as `{name}`; choose one with `sovr-host fork REFERENCE`: {}", list(.references)
    )]
    Ambiguous {
        /// The name.
        name: PodName,
        /// Their references.
        references: Vec<Reference>,
    },
    /// A stored file is larger than it may be.
    #[error("{what} has {bytes} bytes, and at most {most} are read")]
    TooLarge {
        /// The file.
        what: String,
        /// Its size.
        bytes: u64,
        /// The cap.
        most: u64,
    },
    /// A stored file gave another number of bytes than it has.
    #[error("{what} was to give {expected} bytes and gave {found}; try again")]
    Length {
        /// The file.
        what: String,
        /// What the store said.
        expected: u64,
        /// What came.
        found: u64,
    },
    /// Storage says that it took another number of bytes than it was given.
    #[error("{what} has {expected} bytes, and storage took {found}; persist it again")]
    Stored {
        /// The file.
        what: String,
        /// What it was given.
        expected: u64,
        /// What it says.
        found: u64,
    },
    /// A stored file could not be read to its end.
    #[error("{what} could not be read: {source}")]
    Read {
        /// The file.
        what: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A file or directory of this machine cannot be used.
    #[error("cannot {doing} {}: {source}", .path.display())]
    Io {
        /// The verb.
        doing: &'static str,
        /// On what.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// What an [`Error`] means to the caller; exit codes follow from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The command names something that is not there, or is there already.
    Usage,
    /// The pod, or what a stranger shared, is wrong.
    InvalidPod,
    /// The content is not the one that was pinned.
    Denied,
    /// A limit was met.
    Limit,
    /// Storage or the machine failed.
    Unavailable,
}

impl Error {
    pub(crate) fn io(
        doing: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io {
            doing,
            path,
            source,
        }
    }

    /// What it means to the caller.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match self {
            Self::Pod(sovr_pod::Error::Exists { .. })
            | Self::Unknown(_)
            | Self::HoldsBooks { .. }
            | Self::Ambiguous { .. } => Kind::Usage,
            Self::Pod(sovr_pod::Error::Io { .. } | sovr_pod::Error::InUse { .. }) => {
                Kind::Unavailable
            }
            Self::Pod(_)
            | Self::Packing(_)
            | Self::Name { .. }
            | Self::NotAPod { .. }
            | Self::TooLarge { .. } => Kind::InvalidPod,
            Self::Archive { source, .. } => match source {
                sovr_runtime::archive::ArchiveError::Refused(_) => Kind::InvalidPod,
                sovr_runtime::archive::ArchiveError::Limit(_) => Kind::Limit,
                _ => Kind::Unavailable,
            },
            Self::Changed(_) | Self::ForkChanged { .. } => Kind::Denied,
            // Who the user is can be set right, and then the same command does it.
            Self::Dfs(sovr_dfs::Error::Account(_)) => Kind::Unavailable,
            Self::Dfs(error) => match error.kind() {
                ErrorKind::Invalid | ErrorKind::AlreadyExists => Kind::Usage,
                // A reference that leads nowhere is not the caller's mistake, and may lead somewhere later.
                _ => Kind::Unavailable,
            },
            Self::Book(_)
            | Self::Squatted { .. }
            | Self::Stored { .. }
            | Self::Length { .. }
            | Self::Read { .. }
            | Self::Io { .. } => Kind::Unavailable,
        }
    }
}

fn list(items: &[impl std::fmt::Display]) -> String {
    let items: Vec<String> = items.iter().map(ToString::to_string).collect();
    items.join(", ")
}
