//! Why a pod cannot be used.

use std::io;
use std::path::PathBuf;

use sovr_capability::json::JsonError;

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
