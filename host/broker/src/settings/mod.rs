//! The user's settings: which network runs work on, and which storage holds the user's pods.
//!
//! A file that is not understood is an error and never taken for an empty one: what the user meant to say is not known.

mod credentials;
pub mod networks;
mod private;
pub mod storage;

use std::ffi::OsString;
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
    /// The file with the app-key of the Golem daemon cannot be used.
    #[error("the app-key file {} {problem}", .path.display())]
    AppKeyFile {
        /// The file.
        path: PathBuf,
        /// The problem, to be read after the file's name. Nothing of its content.
        problem: String,
    },
    /// Nothing holds an app-key of the Golem daemon.
    #[error(
        "no app-key for the Golem daemon: set YAGNA_APPKEY, or `app-key-file` in [yagna] of networks.toml; `yagna app-key \
         list` shows the keys there are, `yagna app-key create sovr-host` makes one"
    )]
    NoAppKey,
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

/// What is wrong with the file, without the line itself: somebody may have written a password there.
fn in_file(text: &str, error: &toml::de::Error) -> String {
    let line = error
        .span()
        .and_then(|span| text.get(..span.start))
        .map(|before| before.matches('\n').count() + 1);
    match line {
        Some(line) => format!("line {line}: {}", error.message()),
        None => error.message().to_owned(),
    }
}

/// A variable of the environment; an empty one is none.
fn text(
    variable: &impl Fn(&str) -> Option<OsString>,
    name: &'static str,
) -> Result<Option<String>, SettingsError> {
    match variable(name).map(OsString::into_string) {
        Some(Ok(value)) if value.is_empty() => Ok(None),
        Some(Ok(value)) => Ok(Some(value)),
        Some(Err(_)) => Err(SettingsError::Variable {
            variable: name,
            problem: "it is not UTF-8".to_owned(),
        }),
        None => Ok(None),
    }
}

/// Variables that no pod is to see, whatever was granted.
const SECRETS: [&str; 4] = [
    storage::PASSWORD,
    networks::APP_KEY,
    // What a daemon makes its first key and identity of.
    "YAGNA_AUTOCONF_APPKEY",
    "YAGNA_AUTOCONF_ID_SECRET",
];

/// Whether a variable of the environment is one that no pod is to see, whatever was granted.
pub(crate) fn is_secret(name: &str) -> bool {
    SECRETS.contains(&name)
}
