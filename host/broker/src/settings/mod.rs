//! The user's settings: which networks runs work on, and which storage holds the user's pods.
//!
//! A file that is not understood is an error and never taken for an empty one: what the user meant to say is not known.

mod credentials;
mod networks;
pub mod storage;

pub use networks::local;

use std::io;
use std::path::{Path, PathBuf};

use sovr_dfs::UserName;

/// Why a file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// It cannot be read.
    #[error("cannot read the settings {}: {source}", .path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It is not what its format says.
    #[error("the settings {} are not valid: {problem}", .path.display())]
    Invalid {
        /// The file.
        path: PathBuf,
        /// The problem, with line and column where the parser knows them.
        problem: String,
    },
    /// A variable of the environment is not what it should be.
    #[error("the environment variable {variable} is not valid: {problem}")]
    Variable {
        /// Its name.
        variable: &'static str,
        /// The problem.
        problem: String,
    },
    /// The file with the user's name and password cannot be used.
    #[error("the credentials file {} {problem}", .path.display())]
    Credentials {
        /// The file.
        path: PathBuf,
        /// The problem, to be read after the file's name. Nothing of its content.
        problem: String,
    },
    /// The login that is kept between commands cannot be used.
    #[error("the saved login {} {problem}: log in again", .path.display())]
    Login {
        /// The file.
        path: PathBuf,
        /// The problem, to be read after the file's name. Nothing of its content.
        problem: String,
    },
    /// Credentials and settings name two users.
    #[error(
        "the credentials file {} is that of `{theirs}`, and {by} names `{user}`: name one of them, or another file", .path.display()
    )]
    OtherUser {
        /// The credentials file.
        path: PathBuf,
        /// The user in it.
        theirs: UserName,
        /// The user that was named.
        user: UserName,
        /// Where.
        by: String,
    },
}

/// A file of settings; nothing, if there is none.
fn read(path: &Path) -> Result<String, SettingsError> {
    match std::fs::read_to_string(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(String::new()),
        read => read.map_err(|source| SettingsError::Read {
            path: path.to_owned(),
            source,
        }),
    }
}

fn invalid(path: &Path) -> impl FnOnce(String) -> SettingsError {
    |problem| SettingsError::Invalid {
        path: path.to_owned(),
        problem,
    }
}
