//! The user's `storage.toml`: whose pods, and where they are kept.
//!
//! ```toml
//! kind = "local"               # or "fairos"; SOVR_DFS overrides it, and `--dfs` overrides that
//! user = "me"                  # SOVR_USER overrides it; "me" is the embedded storage's default
//! [local]                      # the embedded storage
//! directory = "/srv/sovr"      # default: in the data directory; SOVR_STORAGE overrides it
//! [fairos]                     # a FairOS-dfs server
//! server = "http://localhost:9090"       # default; SOVR_FAIROS_SERVER overrides it
//! credentials = "/home/me/creds.json"    # optional; SOVR_FAIROS_CREDENTIALS overrides it
//! allow-plain-http = false     # whether the password may travel unencrypted to another machine
//! ```
//!
//! Users of one machine who name the same local directory can share pods with each other. A password stands nowhere
//! here: it comes from the environment, the credentials file or its owner (see [`super::credentials`]).

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sovr_dfs::UserName;
use sovr_dfs::fairos::{Password, Url};

use super::SettingsError;
use super::credentials::Credentials;

/// Who uses the embedded storage, unless they say otherwise.
const DEFAULT_USER: &str = "me";
/// Where a FairOS-dfs server of one's own listens.
const DEFAULT_SERVER: &str = "http://localhost:9090";
/// Where a password may stand.
pub const PASSWORD: &str = "SOVR_FAIROS_PASSWORD";

/// The kinds of storage. The words are those of the file, the environment and `--dfs`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum StorageKind {
    /// A directory of this machine.
    #[default]
    Local,
    /// A FairOS-dfs server.
    Fairos,
}

impl StorageKind {
    /// All of them with their words.
    pub const ALL: [(&'static str, StorageKind); 2] = [
        ("local", StorageKind::Local),
        ("fairos", StorageKind::Fairos),
    ];
}

/// Where the user's pods are.
#[derive(Debug, Clone)]
pub enum Storage {
    /// On this machine.
    Local(Local),
    /// On Swarm, through a server.
    Fairos(Fairos),
}

/// The embedded storage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Local {
    /// Whose pods.
    pub user: UserName,
    /// Its directory.
    pub directory: PathBuf,
}

/// A FairOS-dfs server, and what is known of the user's account there.
#[derive(Debug, Clone)]
pub struct Fairos {
    /// Its address.
    pub server: Url,
    /// The user's name there, if anything names it.
    pub user: Option<UserName>,
    /// The user's password, and where it was found.
    pub password: Option<(Password, Found)>,
    /// The credentials file, if one is named.
    pub credentials: Option<PathBuf>,
    /// Whether the password may travel unencrypted to another machine.
    pub allow_plain_http: bool,
    /// What is odd and no error, each a sentence without its full stop.
    pub warnings: Vec<String>,
}

/// Where a password was found. The words are those of `--json`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Found {
    /// In the environment.
    Variable,
    /// In the credentials file.
    Credentials,
}

/// What the file says.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
struct File {
    kind: StorageKind,
    user: Option<String>,
    local: LocalSection,
    fairos: FairosSection,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
struct LocalSection {
    directory: Option<PathBuf>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
struct FairosSection {
    server: Option<String>,
    credentials: Option<PathBuf>,
    allow_plain_http: bool,
}

impl Storage {
    /// What the file at `path` and the environment say. A `kind` of the command line goes before both; `directory` is
    /// the place of the embedded storage that neither names. Credentials are read only for the kind that has them.
    ///
    /// # Errors
    /// When one of them cannot be used.
    pub fn load(
        path: &Path,
        kind: Option<StorageKind>,
        directory: PathBuf,
        variable: impl Fn(&str) -> Option<OsString>,
    ) -> Result<Self, SettingsError> {
        let text = super::read(path)?;
        let file: File = toml::from_str(&text)
            .map_err(|error| super::invalid(path)(super::in_file(&text, &error)))?;
        let source = Source {
            path,
            variable: &variable,
        };
        let kind = match kind {
            Some(kind) => kind,
            None => source.kind()?.unwrap_or(file.kind),
        };
        let user = source.user(file.user.as_deref())?;
        Ok(match kind {
            StorageKind::Local => Self::Local(Local {
                user: match user {
                    Some((user, _)) => user,
                    None => source.parse(DEFAULT_USER)?,
                },
                directory: source
                    .absolute("SOVR_STORAGE", file.local.directory)?
                    .unwrap_or(directory),
            }),
            StorageKind::Fairos => Self::Fairos(source.fairos(file.fairos, user)?),
        })
    }
}

/// Where settings come from.
struct Source<'a, V> {
    path: &'a Path,
    variable: &'a V,
}

impl<V: Fn(&str) -> Option<OsString>> Source<'_, V> {
    fn invalid(&self, problem: String) -> SettingsError {
        super::invalid(self.path)(problem)
    }

    fn text(&self, name: &'static str) -> Result<Option<String>, SettingsError> {
        super::text(self.variable, name)
    }

    fn kind(&self) -> Result<Option<StorageKind>, SettingsError> {
        let Some(word) = self.text("SOVR_DFS")? else {
            return Ok(None);
        };
        match StorageKind::ALL.iter().find(|(known, _)| *known == word) {
            Some((_, kind)) => Ok(Some(*kind)),
            None => Err(SettingsError::Variable {
                variable: "SOVR_DFS",
                problem: "it is neither `local` nor `fairos`".to_owned(),
            }),
        }
    }

    fn parse(&self, user: &str) -> Result<UserName, SettingsError> {
        user.parse()
            .map_err(|error: sovr_dfs::NameError| self.invalid(error.to_string()))
    }

    /// The user that the environment or the file names, and which of them.
    fn user(&self, file: Option<&str>) -> Result<Option<(UserName, String)>, SettingsError> {
        const USER: &str = "SOVR_USER";
        if let Some(user) = self.text(USER)? {
            let user =
                user.parse()
                    .map_err(|error: sovr_dfs::NameError| SettingsError::Variable {
                        variable: USER,
                        problem: error.to_string(),
                    })?;
            return Ok(Some((user, USER.to_owned())));
        }
        let user = file.map(|user| self.parse(user)).transpose()?;
        Ok(user.map(|user| (user, self.path.display().to_string())))
    }

    /// A path that the variable or else the file names.
    fn absolute(
        &self,
        name: &'static str,
        file: Option<PathBuf>,
    ) -> Result<Option<PathBuf>, SettingsError> {
        let relative = |path: &Path| format!("{} is not an absolute path", path.display());
        if let Some(named) = (self.variable)(name).filter(|value| !value.is_empty()) {
            let named = PathBuf::from(named);
            if named.is_relative() {
                return Err(SettingsError::Variable {
                    variable: name,
                    problem: relative(&named),
                });
            }
            return Ok(Some(named));
        }
        match file {
            Some(named) if named.is_relative() => Err(self.invalid(relative(&named))),
            named => Ok(named),
        }
    }

    fn server(&self, file: Option<String>) -> Result<Url, SettingsError> {
        const SERVER: &str = "SOVR_FAIROS_SERVER";
        let named = self.text(SERVER)?;
        let by_variable = named.is_some();
        let text = named.or(file);
        address(text.as_deref().unwrap_or(DEFAULT_SERVER)).map_err(|problem| match by_variable {
            true => SettingsError::Variable {
                variable: SERVER,
                problem,
            },
            false => self.invalid(format!("`server` in [fairos]: {problem}")),
        })
    }

    fn fairos(
        &self,
        file: FairosSection,
        named: Option<(UserName, String)>,
    ) -> Result<Fairos, SettingsError> {
        let server = self.server(file.server)?;
        let path = self.absolute("SOVR_FAIROS_CREDENTIALS", file.credentials)?;
        let credentials = path.as_deref().map(Credentials::read).transpose()?;
        let mut warnings = Vec::new();
        let mut user = named;
        let mut password = None;
        if let (Some(credentials), Some(path)) = (credentials, &path) {
            match user {
                Some((user, by)) if user != credentials.user => {
                    return Err(SettingsError::OtherUser {
                        path: path.clone(),
                        theirs: credentials.user,
                        user,
                        by,
                    });
                }
                _ => user = Some((credentials.user, String::new())),
            }
            password = Some((credentials.password, Found::Credentials));
            warnings.extend(credentials.warning);
        }
        if let Some(given) = self.text(PASSWORD)? {
            password = Some((Password::new(given), Found::Variable));
        }
        Ok(Fairos {
            server,
            user: user.map(|(user, _)| user),
            password,
            credentials: path,
            allow_plain_http: file.allow_plain_http,
            warnings,
        })
    }
}

/// An address, or what is wrong with it. It is not repeated: it may hold a password.
fn address(text: &str) -> Result<Url, String> {
    let example = "give one such as http://localhost:9090";
    let url: Url = text
        .trim()
        .parse()
        .map_err(|_| format!("it is not an address; {example}"))?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err(format!(
            "it holds a name or a password, which belong elsewhere; {example}"
        ));
    }
    Ok(url)
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    struct Place(tempfile::TempDir);

    impl Place {
        fn new() -> Place {
            Place(tempfile::tempdir().unwrap())
        }

        fn credentials(&self, content: &str, mode: u32) -> String {
            let path = self.0.path().join("creds.json");
            std::fs::write(&path, content).unwrap();
            std::fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
            path.to_str().unwrap().to_owned()
        }

        fn load_as(
            &self,
            kind: Option<StorageKind>,
            file: &str,
            variables: &[(&str, &str)],
        ) -> Result<Storage, String> {
            let path = self.0.path().join("storage.toml");
            std::fs::write(&path, file).unwrap();
            let variable = |name: &str| {
                let found = variables.iter().find(|(known, _)| *known == name);
                found.map(|(_, value)| OsString::from(value))
            };
            Storage::load(&path, kind, "/data/dfs".into(), variable)
                .map_err(|error| error.to_string())
        }

        fn fairos(&self, file: &str, variables: &[(&str, &str)]) -> Result<Fairos, String> {
            match self.load_as(Some(StorageKind::Fairos), file, variables)? {
                Storage::Fairos(fairos) => Ok(fairos),
                Storage::Local(_) => panic!("local"),
            }
        }
    }

    fn local(file: &str, variables: &[(&str, &str)]) -> Result<Local, String> {
        match Place::new().load_as(None, file, variables)? {
            Storage::Local(local) => Ok(local),
            Storage::Fairos(_) => panic!("fairos"),
        }
    }

    #[test]
    fn the_environment_goes_before_the_file_and_the_file_before_the_default() {
        let storage = |user: &str, directory: &str| Local {
            user: user.parse().unwrap(),
            directory: directory.into(),
        };
        let file = "user = \"alice\"\n[local]\ndirectory = \"/srv/sovr\"";
        assert_eq!(local("", &[]).unwrap(), storage("me", "/data/dfs"));
        assert_eq!(local(file, &[]).unwrap(), storage("alice", "/srv/sovr"));
        let variables = [("SOVR_USER", "bob"), ("SOVR_STORAGE", "/mnt/x")];
        assert_eq!(local(file, &variables).unwrap(), storage("bob", "/mnt/x"));
        let empty = [("SOVR_USER", ""), ("SOVR_STORAGE", "")];
        assert_eq!(local(file, &empty).unwrap(), storage("alice", "/srv/sovr"));
    }

    #[test]
    fn the_kind_is_that_of_the_command_line_then_the_environment_then_the_file() {
        let place = Place::new();
        let kind = |kind, file, variables: &[_]| match place.load_as(kind, file, variables).unwrap()
        {
            Storage::Local(_) => StorageKind::Local,
            Storage::Fairos(_) => StorageKind::Fairos,
        };
        let file = "kind = \"fairos\"";
        assert_eq!(kind(None, "", &[]), StorageKind::Local);
        assert_eq!(kind(None, file, &[]), StorageKind::Fairos);
        assert_eq!(
            kind(None, file, &[("SOVR_DFS", "local")]),
            StorageKind::Local
        );
        assert_eq!(
            kind(None, "", &[("SOVR_DFS", "fairos")]),
            StorageKind::Fairos
        );
        let variables = [("SOVR_DFS", "local")];
        assert_eq!(
            kind(Some(StorageKind::Fairos), "", &variables),
            StorageKind::Fairos
        );
        assert_eq!(
            kind(Some(StorageKind::Local), file, &[]),
            StorageKind::Local
        );
    }

    #[test]
    fn a_server_and_a_user_come_from_the_environment_the_credentials_and_the_file() {
        let place = Place::new();
        let credentials = place.credentials(r#"{"username":"carol","password":"secret"}"#, 0o600);
        let user = |fairos: &Fairos| fairos.user.as_ref().map(ToString::to_string);
        let nobody = place.fairos("", &[]).unwrap();
        assert_eq!(nobody.server.as_str(), "http://localhost:9090/");
        assert!(user(&nobody).is_none() && nobody.password.is_none() && !nobody.allow_plain_http);

        let file =
            "user = \"alice\"\n[fairos]\nserver = \"https://a.example\"\nallow-plain-http = true";
        let alice = place.fairos(file, &[]).unwrap();
        assert_eq!(user(&alice).as_deref(), Some("alice"));
        assert_eq!(alice.server.as_str(), "https://a.example/");
        assert!(alice.allow_plain_http);
        let bob = [
            ("SOVR_USER", "bob"),
            ("SOVR_FAIROS_SERVER", "https://b.example"),
            (PASSWORD, "secret"),
        ];
        let bob = place.fairos(file, &bob).unwrap();
        assert_eq!(user(&bob).as_deref(), Some("bob"));
        assert_eq!(bob.server.as_str(), "https://b.example/");
        assert!(matches!(bob.password, Some((_, Found::Variable))));

        let file = format!("[fairos]\ncredentials = {credentials:?}");
        let carol = place.fairos(&file, &[]).unwrap();
        assert_eq!(user(&carol).as_deref(), Some("carol"));
        assert!(matches!(carol.password, Some((_, Found::Credentials))));
        assert!(carol.warnings.is_empty());
        let variables = [("SOVR_FAIROS_CREDENTIALS", &*credentials), (PASSWORD, "x")];
        let carol = place.fairos("", &variables).unwrap();
        assert!(matches!(carol.password, Some((_, Found::Variable))));
    }

    #[test]
    fn credentials_of_somebody_else_are_not_used() {
        let place = Place::new();
        let path = place.credentials(r#"{"username":"carol","password":"secret"}"#, 0o600);
        let file = format!("[fairos]\ncredentials = {path:?}");
        let problem = place.fairos(&file, &[("SOVR_USER", "bob")]).unwrap_err();
        for word in ["creds.json", "`carol`", "`bob`", "SOVR_USER"] {
            assert!(problem.contains(word), "{problem}");
        }
        let problem = place.fairos(&format!("user = \"bob\"\n{file}"), &[]);
        assert!(problem.unwrap_err().contains("storage.toml names `bob`"));
        assert!(place.fairos(&file, &[("SOVR_USER", "carol")]).is_ok());
        // Nobody asked for these.
        assert!(local("user = \"me\"\n[fairos]\ncredentials = \"/nowhere\"", &[]).is_ok());
    }

    #[test]
    fn credentials_that_others_can_read_are_used_with_a_warning() {
        let place = Place::new();
        let path = place.credentials(r#"{"username":"carol","password":"secret"}"#, 0o640);
        let file = format!("[fairos]\ncredentials = {path:?}");
        let carol = place.fairos(&file, &[]).unwrap();
        assert!(carol.password.is_some());
        let warning = &carol.warnings[0];
        assert!(
            warning.contains(&format!("chmod 600 {path}")) && !warning.contains("secret"),
            "{warning}"
        );
    }

    #[test]
    fn a_password_is_not_shown_by_debug_output_or_errors() {
        let place = Place::new();
        let secret = "correct-horse";
        let fairos = place.fairos("", &[(PASSWORD, secret)]).unwrap();
        assert!(!format!("{fairos:?}").contains(secret));
        let at = format!("http://alice:{secret}@localhost:9090");
        for (file, variables) in [
            (format!("[fairos]\npassword = \"{secret}\""), &[][..]),
            (format!("[fairos]\nserver = \"{at}\""), &[]),
            (format!("password = {secret}"), &[]),
            (String::new(), &[("SOVR_FAIROS_SERVER", at.as_str())]),
            (String::new(), &[("SOVR_DFS", secret)]),
        ] {
            let problem = place.fairos(&file, variables);
            // Of the kind only when no command line goes before.
            let problem = problem.or_else(|_| {
                place.load_as(None, &format!("kind = \"fairos\"\n{file}"), variables)?;
                Ok::<_, String>(fairos.clone())
            });
            if let Err(problem) = problem {
                assert!(!problem.contains(secret), "{problem}");
            }
        }
        let problem = place.fairos(&format!("[fairos]\nserver = \"{at}\""), &[]);
        assert!(problem.unwrap_err().contains("a name or a password"));
        let problem = place.fairos(&format!("[fairos]\npassword = \"{secret}\""), &[]);
        assert!(problem.unwrap_err().contains("line 2"));
    }

    #[test]
    fn what_is_not_understood_is_refused() {
        for (file, variables, word) in [
            ("usr = \"x\"", &[][..], "usr"),
            ("user = \"../x\"", &[], "user name"),
            ("kind = \"swarm\"", &[], "swarm"),
            ("[local]\ndirectory = \"here\"", &[], "absolute"),
            ("", &[("SOVR_USER", "No One")], "SOVR_USER"),
            ("", &[("SOVR_STORAGE", "here")], "SOVR_STORAGE"),
            ("", &[("SOVR_DFS", "swarm")], "SOVR_DFS"),
            (
                "kind = \"fairos\"\n[fairos]\ncredentials = \"here\"",
                &[],
                "absolute",
            ),
            (
                "kind = \"fairos\"\n[fairos]\nserver = \"here\"",
                &[],
                "`server`",
            ),
        ] {
            let problem = local(file, variables).unwrap_err();
            assert!(problem.contains(word), "{problem}");
        }
    }
}
