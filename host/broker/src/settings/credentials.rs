//! A file with the user's name and password, in the original's form: `{"username": "...", "password": "..."}`.
//!
//! Nothing of its content is ever repeated in an error: whoever swaps the two fields, or writes one without quotes, has
//! the password where the name should be. One that others can read is used all the same, with a warning, because the
//! original's users have theirs lying about like that.

use std::path::Path;

use serde::Deserialize;
use sovr_dfs::UserName;
use sovr_dfs::fairos::Password;

use super::SettingsError;
use super::private::{self, PrivateFile};

/// Two short texts fit in this.
const MOST_BYTES: usize = 64 * 1024;

/// What a credentials file holds.
#[derive(Debug)]
pub(super) struct Credentials {
    pub(super) user: UserName,
    pub(super) password: Password,
    /// What is odd about the file.
    pub(super) warning: Option<String>,
}

#[derive(Deserialize)]
struct Content {
    username: String,
    password: String,
}

impl Credentials {
    /// Reads a file.
    pub(super) fn read(path: &Path) -> Result<Credentials, SettingsError> {
        let invalid = |problem: String| SettingsError::Credentials {
            path: path.to_owned(),
            problem,
        };
        let file = private::read(path, MOST_BYTES).map_err(invalid)?;
        let content: Content = serde_json::from_slice(&file.content).map_err(|error| {
            let what = match error.classify() {
                serde_json::error::Category::Data => "does not have two texts as its fields",
                _ => "is not JSON",
            };
            let (line, column) = (error.line(), error.column());
            invalid(format!(
                "{what} (line {line}, column {column}); it is to be \
                 {{\"username\": \"...\", \"password\": \"...\"}}"
            ))
        })?;
        let user = content.username.parse().map_err(|_| {
            invalid(
                "has a `username` that cannot be one: small letters, digits, `-` and `_` only"
                    .to_owned(),
            )
        })?;
        if content.password.is_empty() {
            return Err(invalid("has an empty `password`".to_owned()));
        }
        Ok(Credentials {
            user,
            password: Password::new(content.password),
            warning: warning(path, &file),
        })
    }
}

fn warning(path: &Path, file: &PrivateFile) -> Option<String> {
    let shown = path.display();
    if file.is_foreign() {
        return Some(format!(
            "the credentials file {shown} belongs to another user, who can read your password; make one of your own, \
             and `chmod 600` it"
        ));
    }
    file.is_open().then(|| {
        format!(
            "the credentials file {shown} is open to other users of this machine; close it with `chmod 600 {shown}`"
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(content: impl AsRef<[u8]>) -> Result<Credentials, String> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("creds.json");
        std::fs::write(&path, content).unwrap();
        Credentials::read(&path).map_err(|error| error.to_string())
    }

    #[test]
    fn the_originals_form_is_read() {
        let read = read("{\n  \"username\": \"alice\",\n  \"password\": \"secret\"\n}\n").unwrap();
        assert_eq!(read.user.as_str(), "alice");
        assert!(!format!("{read:?}").contains("secret"));
        assert!(super::tests::read(r#"{"username":"a","password":"b","more":1}"#).is_ok());
    }

    #[test]
    fn what_cannot_be_used_is_told_without_what_it_says() {
        let long = format!(
            r#"{{"username":"a","password":"{}"}}"#,
            "secret".repeat(20_000)
        );
        for (content, word) in [
            ("", "not JSON"),
            ("secret", "not JSON"),
            (r#"{"username":"a"}"#, "two texts"),
            (r#"{"username":"a","password":["secret"]}"#, "two texts"),
            (r#"{"username":"a","password":12345678}"#, "two texts"),
            (r#""secret""#, "two texts"),
            (
                r#"{"username":"Secret secret!","password":"alice"}"#,
                "`username`",
            ),
            (r#"{"username":"a","password":""}"#, "empty"),
            (&long, "more than 65536 bytes"),
        ] {
            let problem = read(content).unwrap_err();
            assert!(
                problem.contains(word) && problem.contains("creds.json"),
                "{problem}"
            );
            assert!(
                !problem.to_lowercase().contains("secret") && !problem.contains("12345678"),
                "{problem}"
            );
        }
        let problem = read(b"{\"username\":\"a\",\"password\":\"\xff\"}").unwrap_err();
        assert!(problem.contains("not JSON"), "{problem}");
    }

    #[test]
    fn only_a_regular_file_is_read() {
        let directory = tempfile::tempdir().unwrap();
        let problem = |path: &Path| Credentials::read(path).unwrap_err().to_string();
        assert!(problem(directory.path()).contains("regular file"));
        let pipe = directory.path().join("pipe");
        rustix::fs::mkfifoat(rustix::fs::CWD, &pipe, rustix::fs::Mode::RUSR).unwrap();
        assert!(problem(&pipe).contains("regular file"));
        assert!(problem(&directory.path().join("none")).contains("cannot be read: No such file"));
    }
}
