//! Why a pod cannot be used.

use std::io;
use std::path::{Path, PathBuf};

use sovr_capability::Untrusted;
use sovr_capability::json::JsonError;
use sovr_capability::text::quote;

use crate::exec::ExecError;
use crate::layout::Finding;

/// A pod that cannot be used. Messages are safe to show.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// There is no pod.
    #[error("{} is not a pod: {problem}; name a directory that holds a recipe.json, or the recipe.json itself", .path.display())]
    NotAPod {
        /// What was named.
        path: PathBuf,
        /// Why not.
        problem: String,
    },
    /// A file or directory cannot be handled.
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
    /// The recipe is not JSON.
    #[error("the recipe {} is not valid JSON: {source}", .path.display())]
    Json {
        /// The file.
        path: PathBuf,
        /// Where and why.
        #[source]
        source: JsonError,
    },
    /// The recipe is JSON, but not a recipe.
    #[error("the recipe {} is not valid:{}", .path.display(), list(.problems))]
    Recipe {
        /// The file.
        path: PathBuf,
        /// Every problem found, each with its key path.
        problems: Vec<String>,
    },
    /// `golem.exec` cannot be run.
    #[error("the recipe {}: `golem.exec` {source}", .path.display())]
    Exec {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: ExecError,
    },
    /// Something lies in the pod that does not belong there.
    #[error("the pod {} cannot be run as it lies there:{}", .path.display(), list(.findings))]
    Layout {
        /// The pod's directory.
        path: PathBuf,
        /// The findings that are errors.
        findings: Vec<Finding>,
    },
    /// A lock file that cannot be used.
    #[error("the lock file {} cannot be used:{}\n  correct it; or remove it, and what the references hold now is pinned", .path.display(), list(.problems))]
    Lock {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problems: Vec<String>,
    },
    /// A new directory cannot have this name.
    #[error("{} cannot be the name of a new directory: {problem}", quote(.name))]
    Name {
        /// What was wanted.
        name: String,
        /// Why not.
        problem: &'static str,
    },
    /// A new directory would lie over something.
    #[error("{} exists already and is left as it is; choose another directory or another name", .path.display())]
    Exists {
        /// The place.
        path: PathBuf,
    },
    /// What a new pod would be made of cannot be used.
    #[error("{} cannot be the pod's component: {problem}", .path.display())]
    Component {
        /// The file.
        path: PathBuf,
        /// Why not.
        problem: &'static str,
    },
    /// `payload/external` cannot be laid out from its sources.
    #[error("payload/external/{} of {supplied_by}: {problem}", .path.escaped())]
    External {
        /// Beneath `payload/external`.
        path: Untrusted,
        /// Who supplied it, in words.
        supplied_by: String,
        /// What is wrong.
        problem: String,
    },
    /// Another run uses the pod.
    #[error("the pod {} is in use by another run; wait for it to end, or copy the pod", .path.display())]
    InUse {
        /// The pod's directory.
        path: PathBuf,
    },
}

fn list(items: &[impl std::fmt::Display]) -> String {
    items.iter().map(|item| format!("\n  {item}")).collect()
}

pub(crate) fn io_error(doing: &'static str, path: &Path, source: io::Error) -> Error {
    Error::Io {
        doing,
        path: path.to_owned(),
        source,
    }
}
