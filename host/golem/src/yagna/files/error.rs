//! Why a file did not get across.

use sovr_capability::Untrusted;

use crate::yagna::error::DaemonError;

/// A file that was not sent or not received.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FilesError {
    /// The daemon does not let us serve it, or was away for too long.
    #[error("no file can be sent to or received from providers: {0}")]
    Daemon(#[from] DaemonError),
    /// The file on this side cannot be read or written.
    #[error("{what}: {reason}")]
    Local {
        /// Which file, in the words of whoever built the step.
        what: String,
        /// What the operating system says.
        reason: String,
    },
    /// The file on this side is not what it was when it was offered.
    #[error(
        "{what} changed while it was being sent: had {before} bytes, has {after} now; \
         leave it alone while tasks run"
    )]
    Changed {
        /// Which file.
        what: String,
        /// Bytes at first.
        before: u64,
        /// Bytes now.
        after: u64,
    },
    /// What the provider sent is not a whole file.
    #[error("{what} did not come whole from the provider, {}; try another provider", .reason.escaped())]
    Broken {
        /// Which file.
        what: String,
        /// What is wrong with it.
        reason: Untrusted,
    },
}
