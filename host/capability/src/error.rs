//! What goes wrong with the program's own state: directories, key, database, audit logs.

use std::io;
use std::path::{Path, PathBuf};

/// State that cannot be used. Each message says what was attempted, on what, and what to do next.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StateError {
    /// Nothing says where state is kept.
    #[error(
        "cannot find a place for the state of sovr-host: neither SOVR_HOME nor HOME is set; set SOVR_HOME to a directory of yours"
    )]
    NoHome,
    /// A variable that names a place holds a relative path.
    #[error("the variable {variable} names {}, which is not an absolute path; write it from the root", .path.display())]
    Relative {
        /// The variable.
        variable: &'static str,
        /// Its value.
        path: PathBuf,
    },
    /// Others could read or change what is private.
    #[error("{} {problem}; {next}", .path.display())]
    Unsafe {
        /// The file or directory.
        path: PathBuf,
        /// What is wrong with it.
        problem: &'static str,
        /// What to do.
        next: &'static str,
    },
    /// The system refused.
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
    /// The database refused.
    #[error("cannot {doing} in the database {}: {source}", .path.display())]
    Database {
        /// The verb.
        doing: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A newer program wrote the database.
    #[error(
        "the database {} has version {found}, this sovr-host knows versions up to {known}; use the newer sovr-host", .path.display()
    )]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: i64,
        /// The newest version known here.
        known: i64,
    },
}

impl StateError {
    pub(crate) fn io(
        doing: &'static str,
        path: impl AsRef<Path>,
    ) -> impl FnOnce(io::Error) -> Self {
        let path = path.as_ref().to_owned();
        move |source| Self::Io {
            doing,
            path,
            source,
        }
    }
}
