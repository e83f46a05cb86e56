//! The user's `storage.toml`: whose pods, and where they are kept.
//!
//! ```toml
//! user = "me"                  # default; SOVR_USER overrides it
//! [local]                      # the embedded storage
//! directory = "/srv/sovr"      # default: in the data directory; SOVR_STORAGE overrides it
//! ```
//!
//! Users of one machine who name the same directory can share pods with each other.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use sovr_dfs::UserName;

use super::SettingsError;

/// Who uses the embedded storage, unless they say otherwise.
const DEFAULT_USER: &str = "me";

/// Where the user's pods are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Storage {
    /// Whose pods.
    pub user: UserName,
    /// Directory of the embedded storage.
    pub directory: PathBuf,
}

/// What the file says.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
struct File {
    user: Option<String>,
    local: Local,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
struct Local {
    directory: Option<PathBuf>,
}

impl Storage {
    /// What the file at `path` and the environment say; `directory` is the place that neither names.
    ///
    /// # Errors
    /// When one of them cannot be used.
    pub fn load(
        path: &Path,
        directory: PathBuf,
        variable: impl Fn(&str) -> Option<OsString>,
    ) -> Result<Self, SettingsError> {
        let invalid = |problem| super::invalid(path)(problem);
        let file: File =
            toml::from_str(&super::read(path)?).map_err(|error| invalid(error.to_string()))?;
        let parse = |user: &str| {
            user.parse()
                .map_err(|error: sovr_dfs::NameError| error.to_string())
        };
        let user = match text(&variable, "SOVR_USER")? {
            Some(user) => parse(&user).map_err(|problem| SettingsError::Variable {
                variable: "SOVR_USER",
                problem,
            })?,
            None => parse(file.user.as_deref().unwrap_or(DEFAULT_USER)).map_err(invalid)?,
        };
        let relative = |directory: &Path| {
            format!(
                "the directory {} is not an absolute path",
                directory.display()
            )
        };
        let directory = match variable("SOVR_STORAGE").filter(|value| !value.is_empty()) {
            Some(named) => {
                let named = PathBuf::from(named);
                if named.is_relative() {
                    return Err(SettingsError::Variable {
                        variable: "SOVR_STORAGE",
                        problem: relative(&named),
                    });
                }
                named
            }
            None => match file.local.directory {
                Some(named) if named.is_relative() => return Err(invalid(relative(&named))),
                Some(named) => named,
                None => directory,
            },
        };
        Ok(Self { user, directory })
    }
}

fn text(
    variable: impl Fn(&str) -> Option<OsString>,
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

#[cfg(test)]
mod tests {
    use super::*;

    fn load(file: &str, variables: &[(&str, &str)]) -> Result<Storage, String> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("storage.toml");
        std::fs::write(&path, file).unwrap();
        let variable = |name: &str| {
            let found = variables.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| OsString::from(value))
        };
        Storage::load(&path, "/data/dfs".into(), variable).map_err(|error| error.to_string())
    }

    #[test]
    fn the_environment_goes_before_the_file_and_the_file_before_the_default() {
        let storage = |user: &str, directory: &str| Storage {
            user: user.parse().unwrap(),
            directory: directory.into(),
        };
        let file = "user = \"alice\"\n[local]\ndirectory = \"/srv/sovr\"";
        assert_eq!(load("", &[]).unwrap(), storage("me", "/data/dfs"));
        assert_eq!(load(file, &[]).unwrap(), storage("alice", "/srv/sovr"));
        let variables = [("SOVR_USER", "bob"), ("SOVR_STORAGE", "/mnt/x")];
        assert_eq!(load(file, &variables).unwrap(), storage("bob", "/mnt/x"));
        let empty = [("SOVR_USER", ""), ("SOVR_STORAGE", "")];
        assert_eq!(load(file, &empty).unwrap(), storage("alice", "/srv/sovr"));
    }

    #[test]
    fn what_is_not_understood_is_refused() {
        for (file, variables, word) in [
            ("usr = \"x\"", &[][..], "usr"),
            ("user = \"../x\"", &[], "user name"),
            ("[local]\ndirectory = \"here\"", &[], "absolute"),
            ("", &[("SOVR_USER", "No One")], "SOVR_USER"),
            ("", &[("SOVR_STORAGE", "here")], "SOVR_STORAGE"),
        ] {
            let problem = load(file, variables).unwrap_err();
            assert!(problem.contains(word), "{problem}");
        }
    }
}
