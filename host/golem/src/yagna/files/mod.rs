//! Files to and from providers.

mod error;

use std::sync::Arc;

use tokio::sync::watch;

pub use self::error::FilesError;
use super::connection::Daemon;
use super::error::{DaemonError, ErrorKind};
use crate::network::NodeId;
use crate::transfer::{Sink, Source};

/// Serves files on behalf of a node. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Files {
    _daemon: Daemon,
    _node: NodeId,
}

/// How far a transfer is, in bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Progress {
    /// So many are across.
    pub done: u64,
    /// Of so many, if known.
    pub total: Option<u64>,
}

/// A file that providers can fetch, until this is dropped or ended.
#[derive(Debug)]
pub struct Sending {
    url: String,
    progress: watch::Receiver<Progress>,
}

/// A place where a provider can put a file. Dropping it discards what came.
#[derive(Debug)]
pub struct Receiving {
    url: String,
    progress: watch::Receiver<Progress>,
}

impl Files {
    /// Nothing is sent yet. `node` is the identity of the daemon's app-key.
    pub fn new(daemon: Daemon, node: NodeId) -> Files {
        Files {
            _daemon: daemon,
            _node: node,
        }
    }

    /// Serves a source until the answer is dropped or ended.
    ///
    /// # Errors
    /// See [`FilesError`].
    pub async fn send(&self, _source: Arc<dyn Source>) -> Result<Sending, FilesError> {
        Err(unavailable())
    }

    /// Takes one upload into a sink.
    ///
    /// # Errors
    /// See [`FilesError`].
    pub async fn receive(&self, _sink: Arc<dyn Sink>) -> Result<Receiving, FilesError> {
        Err(unavailable())
    }
}

impl Sending {
    /// Where providers fetch it: `gftp://0x…/…`.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// How far it is.
    pub fn progress(&self) -> watch::Receiver<Progress> {
        self.progress.clone()
    }

    /// Waits until it can be fetched no more, and answers why; else for ever. A provider that is fetching it hears
    /// nothing then and waits for its own time limit.
    pub async fn failed(&self) -> FilesError {
        std::future::pending().await
    }

    /// Serves it no more. Nothing is read from the source when this has returned.
    pub async fn end(self) {}
}

impl Receiving {
    /// Where a provider puts it: `gftp://0x…/…`.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// How far it is.
    pub fn progress(&self) -> watch::Receiver<Progress> {
        self.progress.clone()
    }

    /// Waits until it cannot come whole any more, and answers why; else for ever.
    pub async fn failed(&self) -> FilesError {
        std::future::pending().await
    }

    /// Commits the sink if the provider has sent the whole file and said so, which it has when its transfer is told
    /// to be done. Answers the bytes.
    ///
    /// # Errors
    /// See [`FilesError`]; nothing was committed then.
    pub async fn finish(self) -> Result<u64, FilesError> {
        Err(unavailable())
    }
}

fn unavailable() -> FilesError {
    FilesError::Daemon(DaemonError {
        attempted: "serve a file",
        kind: ErrorKind::Refused,
        reason: sovr_capability::Untrusted::new("not yet"),
    })
}
