//! The user's account at a FairOS-dfs server: the login that is kept between commands, and who is asked for a password.
//!
//! Kept is what the server gave for the password, never the password itself: one file for this user alone, good for one
//! user at one server. A command takes the kept login first and the password when that has ended.

use std::fmt;
use std::fs::{self, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sovr_capability::Home;
use sovr_dfs::fairos::{AccountError, FairosDfs, Login, Password, Settings, Url};
use sovr_dfs::{Error as DfsError, UserName};

use crate::error::Error;
use crate::settings::SettingsError;
use crate::settings::storage::{Fairos, Found};

/// A login has a few hundred bytes.
const MOST_BYTES: u64 = 64 * 1024;

/// The account's holder, who can be asked. By default nobody is there.
pub trait Holder: Send + Sync {
    /// Whether there is somebody to be asked.
    fn is_there(&self) -> bool {
        false
    }

    /// The password of `user` at `server`; none if nobody gave one.
    fn password(&self, user: &UserName, server: &str) -> Option<Password> {
        let _ = (user, server);
        None
    }

    /// Is told something odd that is no error: a sentence without its full stop, not yet safe to show.
    fn warn(&self, warning: &str) {
        let _ = warning;
    }
}

/// Nobody.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Nobody;

impl Holder for Nobody {}

/// How a user proves who they are. The words are those of `--json`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Proof {
    /// By the login that is kept.
    Login,
    /// By the password in the environment.
    Variable,
    /// By the password in the credentials file.
    Credentials,
    /// Not at all.
    None,
}

/// An account at a server, as far as settings and the kept login tell.
pub struct Account {
    settings: Fairos,
    /// The kept login, if it is one of this server and user.
    kept: Option<Kept>,
    locks: PathBuf,
    file: PathBuf,
}

impl fmt::Debug for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Account")
            .field("server", &self.server())
            .field("user", &self.user())
            .finish_non_exhaustive()
    }
}

/// A login between two commands.
#[derive(Clone)]
pub struct Kept {
    /// The server's address.
    pub server: Url,
    /// The user there.
    pub user: UserName,
    /// What the server gave.
    pub login: Login,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct File {
    server: String,
    user: String,
    login: String,
}

impl Account {
    /// The account that `settings` mean.
    ///
    /// # Errors
    /// When the kept login cannot be used.
    pub fn new(settings: Fairos, home: &Home) -> Result<Account, Error> {
        let file = home.fairos_login();
        let kept = Kept::read(&file)?.filter(|kept| {
            kept.server == settings.server
                && settings.user.as_ref().is_none_or(|user| *user == kept.user)
        });
        Ok(Account {
            settings,
            kept,
            locks: home.fairos_locks(),
            file,
        })
    }

    /// The server's address.
    #[must_use]
    pub fn server(&self) -> &Url {
        &self.settings.server
    }

    /// What the settings say.
    #[must_use]
    pub fn settings(&self) -> &Fairos {
        &self.settings
    }

    /// The user's name: that of the settings, or of the kept login.
    #[must_use]
    pub fn user(&self) -> Option<&UserName> {
        let kept = || self.kept.as_ref().map(|kept| &kept.user);
        self.settings.user.as_ref().or_else(kept)
    }

    /// The password that stands somewhere.
    #[must_use]
    pub fn password(&self) -> Option<&Password> {
        self.settings
            .password
            .as_ref()
            .map(|(password, _)| password)
    }

    /// How the user would prove who they are.
    #[must_use]
    pub fn proof(&self) -> Proof {
        match (&self.kept, &self.settings.password) {
            (Some(_), _) => Proof::Login,
            (None, Some((_, Found::Variable))) => Proof::Variable,
            (None, Some((_, Found::Credentials))) => Proof::Credentials,
            (None, None) => Proof::None,
        }
    }

    /// The server as the user sees it, with what is known; without an account if no user is.
    ///
    /// # Errors
    /// When the address cannot be used.
    pub fn open(&self) -> Result<FairosDfs, Error> {
        match self.user() {
            Some(user) => {
                let login = self.kept.as_ref().map(|kept| kept.login.clone());
                self.open_as(user.clone(), self.password().cloned(), login)
            }
            None => Ok(FairosDfs::anonymous(
                self.server(),
                self.settings.allow_plain_http,
            )?),
        }
    }

    /// The server as `user` sees it.
    ///
    /// # Errors
    /// When the address cannot be used.
    pub fn open_as(
        &self,
        user: UserName,
        password: Option<Password>,
        login: Option<Login>,
    ) -> Result<FairosDfs, Error> {
        let settings = Settings {
            server: self.server().clone(),
            user,
            password,
            login,
            allow_plain_http: self.settings.allow_plain_http,
        };
        Ok(FairosDfs::new(settings, &self.locks)?)
    }

    /// The same for a command that may need an account: a password that stands nowhere is asked for, if nothing else
    /// proves who the user is.
    pub(crate) async fn open_asking(&self, holder: &dyn Holder) -> Result<FairosDfs, Error> {
        for warning in &self.settings.warnings {
            holder.warn(warning);
        }
        let dfs = self.open()?;
        let Some(user) = self.user() else {
            return Ok(dfs);
        };
        if self.password().is_some() || !holder.is_there() {
            return Ok(dfs);
        }
        if self.kept.is_some() {
            match dfs.whoami().await {
                Err(DfsError::Account(AccountError::LoginEnded { .. })) => {}
                Err(error) => return Err(error.into()),
                Ok(_) => return Ok(dfs),
            }
        }
        match holder.password(user, self.server().as_str()) {
            Some(password) => self.open_as(user.clone(), Some(password), None),
            None => Ok(dfs),
        }
    }

    /// What the server says of the user. Leaves nothing behind on this machine.
    ///
    /// # Errors
    /// When it says no, or nothing.
    pub async fn look(&self) -> Result<sovr_dfs::fairos::Account, Error> {
        let scratch = tempfile::tempdir().map_err(|source| Error::File {
            doing: "make a directory in",
            path: std::env::temp_dir(),
            source,
        })?;
        let open = Account {
            settings: self.settings.clone(),
            kept: self.kept.clone(),
            locks: scratch.path().to_owned(),
            file: self.file.clone(),
        };
        Ok(open.open()?.whoami().await?)
    }

    /// Keeps a login in the place of an earlier one.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn keep(&self, user: &UserName, login: &Login) -> Result<(), Error> {
        let kept = Kept {
            server: self.server().clone(),
            user: user.clone(),
            login: login.clone(),
        };
        kept.write(&self.file)
    }
}

impl Kept {
    /// The login that is kept; none if there is none.
    ///
    /// # Errors
    /// When there is something that cannot be used.
    pub fn read(path: &Path) -> Result<Option<Kept>, Error> {
        let refuse = |problem: &str| {
            Error::Settings(SettingsError::Login {
                path: path.to_owned(),
                problem: problem.to_owned(),
            })
        };
        let flags = rustix::fs::OFlags::NONBLOCK | rustix::fs::OFlags::NOFOLLOW;
        let opened = OpenOptions::new()
            .read(true)
            .custom_flags(flags.bits().cast_signed())
            .open(path);
        let unread = |source: io::Error| refuse(&format!("cannot be read: {source}"));
        let file = match opened {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            opened => opened.map_err(unread)?,
        };
        let found = file.metadata().map_err(unread)?;
        if !found.is_file()
            || found.uid() != rustix::process::geteuid().as_raw()
            || found.mode() & 0o077 != 0
        {
            return Err(refuse("is not a file that only you can read"));
        }
        let mut text = Vec::new();
        file.take(MOST_BYTES)
            .read_to_end(&mut text)
            .map_err(unread)?;
        let file: Option<File> = serde_json::from_slice(&text).ok();
        let kept = file.and_then(|file| {
            Some(Kept {
                server: file.server.parse().ok()?,
                user: file.user.parse().ok()?,
                login: Login::new(file.login),
            })
        });
        kept.map(Some)
            .ok_or_else(|| refuse("is not what this program wrote"))
    }

    /// Whole or not at all, and never readable by others.
    fn write(&self, path: &Path) -> Result<(), Error> {
        let file = File {
            server: self.server.to_string(),
            user: self.user.to_string(),
            login: self.login.reveal().to_owned(),
        };
        let write = || -> io::Result<()> {
            let directory = path.parent().unwrap_or(Path::new("/"));
            // It is made with the permissions 0600.
            let mut new = tempfile::Builder::new()
                .prefix(".login-")
                .tempfile_in(directory)?;
            new.write_all(&serde_json::to_vec(&file)?)?;
            new.as_file().sync_all()?;
            new.persist(path)?;
            fs::File::open(directory)?.sync_all()
        };
        write().map_err(|source| Error::File {
            doing: "keep the login in",
            path: path.to_owned(),
            source,
        })
    }

    /// Removes what is kept, whatever it is. Answers whether there was something.
    ///
    /// # Errors
    /// When it cannot be removed.
    pub fn remove(path: &Path) -> Result<bool, Error> {
        match fs::remove_file(path) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(source) => Err(Error::File {
                doing: "remove the login",
                path: path.to_owned(),
                source,
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    fn fairos(server: &str, user: Option<&str>) -> Fairos {
        Fairos {
            server: server.parse().unwrap(),
            user: user.map(|user| user.parse().unwrap()),
            password: None,
            credentials: None,
            allow_plain_http: false,
            warnings: Vec::new(),
        }
    }

    const SERVER: &str = "http://localhost:9090";

    fn home() -> (tempfile::TempDir, Home) {
        let place = tempfile::tempdir().unwrap();
        let home = Home::at(place.path());
        home.prepare().unwrap();
        (place, home)
    }

    fn kept(home: &Home) {
        let account = Account::new(fairos(SERVER, None), home).unwrap();
        let login = Login::new("token".to_owned());
        account.keep(&"alice".parse().unwrap(), &login).unwrap();
    }

    #[test]
    fn a_login_is_kept_for_its_user_and_server_only() {
        let (_place, home) = home();
        let proof = |server, user| {
            let account = Account::new(fairos(server, user), &home).unwrap();
            (account.proof(), account.user().map(ToString::to_string))
        };
        assert_eq!(proof(SERVER, None), (Proof::None, None));
        kept(&home);
        let alice = Some("alice".to_owned());
        assert_eq!(proof(SERVER, None), (Proof::Login, alice.clone()));
        assert_eq!(proof(SERVER, Some("alice")), (Proof::Login, alice));
        let bob = Some("bob".to_owned());
        assert_eq!(proof(SERVER, Some("bob")), (Proof::None, bob));
        assert_eq!(proof("http://localhost:9091", None), (Proof::None, None));
        assert_eq!(proof("https://localhost:9090", None), (Proof::None, None));
    }

    #[test]
    fn a_kept_login_is_private_and_replaced_as_a_whole() {
        let (_place, home) = home();
        kept(&home);
        kept(&home);
        let path = home.fairos_login();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        let beside = fs::read_dir(path.parent().unwrap()).unwrap();
        let left = beside.filter(|entry| {
            let name = entry.as_ref().unwrap().file_name();
            name.to_string_lossy().contains("login-")
        });
        assert_eq!(left.count(), 0);
        assert!(Kept::remove(&path).unwrap());
        assert!(!Kept::remove(&path).unwrap());
        assert!(Kept::read(&path).unwrap().is_none());
    }

    #[test]
    fn a_login_that_others_can_read_or_that_is_something_else_is_refused() {
        let (place, home) = home();
        let path = home.fairos_login();
        let problem = || match Kept::read(&path) {
            Err(error) => error.to_string(),
            Ok(_) => panic!("it was used"),
        };
        kept(&home);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        assert!(problem().contains("only you can read"));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        fs::write(&path, r#"{"login":"token"}"#).unwrap();
        assert!(problem().contains("this program wrote") && !problem().contains("token"));
        fs::remove_file(&path).unwrap();
        symlink(place.path().join("elsewhere"), &path).unwrap();
        assert!(problem().contains("cannot be read"));
    }
}
