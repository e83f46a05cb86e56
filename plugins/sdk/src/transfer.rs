//! Files between the places a pod knows: its own tree, the DFS, a provider. The host copies; bytes never pass through
//! the pod's memory, so the size does not matter.

use std::fmt;

use crate::Error;
use crate::bindings::sovr::pod::golem::Activity;
use crate::bindings::sovr::pod::{dfs, transfer};

pub use crate::bindings::sovr::pod::transfer::Receipt;

/// Where a file is, or is to be.
pub struct Place<'a>(transfer::Place<'a>);

impl<'a> Place<'a> {
    /// A path in the pod's own tree, such as `payload/scene.json`.
    pub fn workspace(path: impl Into<String>) -> Self {
        Self(transfer::Place::Workspace(path.into()))
    }

    /// An absolute path in a storage pod of the DFS.
    pub fn dfs(pod: impl Into<String>, path: impl Into<String>) -> Self {
        Self(transfer::Place::Dfs(dfs::Location {
            pod: pod.into(),
            path: path.into(),
        }))
    }

    /// An absolute path on a provider.
    pub fn provider(activity: &'a Activity, path: impl Into<String>) -> Self {
        Self(transfer::Place::Provider((activity, path.into())))
    }
}

impl fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            transfer::Place::Workspace(path) => write!(f, "{path}"),
            transfer::Place::Dfs(location) => {
                write!(f, "{} of storage pod {}", location.path, location.pod)
            }
            transfer::Place::Provider((_, path)) => write!(f, "{path} on the provider"),
        }
    }
}

/// Copies one file. The destination appears whole or not at all; an existing file is replaced.
///
/// # Errors
/// When either place is not granted or does not exist, or the transfer fails.
pub fn copy(source: &Place<'_>, destination: &Place<'_>) -> Result<Receipt, Error> {
    transfer::copy(&source.0, &destination.0)
        .map_err(|refusal| Error::new(format!("copying {source} to {destination}"), refusal))
}
