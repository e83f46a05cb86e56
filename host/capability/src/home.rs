//! Where the program keeps its state, all of it outside pods.
//!
//! What lies here decides what runs: consents, money, the key that authenticates native code. So the directories are
//! for one user only, and a directory that somebody else could have prepared is refused instead of used.

use std::ffi::OsString;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use crate::StateError;

/// The program's directory in the XDG places.
const NAME: &str = "sovr-host";

/// Permission bits of group and others.
const OTHERS: u32 = 0o077;
const OTHERS_WRITE: u32 = 0o022;

/// The directories of one user. With `SOVR_HOME` all lie beneath it; otherwise where XDG says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Home {
    config: PathBuf,
    state: PathBuf,
    data: PathBuf,
    cache: PathBuf,
}

impl Home {
    /// The directories that this process's environment names. Nothing is made yet.
    ///
    /// # Errors
    /// When no variable names a place, or one names a relative path.
    pub fn from_environment() -> Result<Self, StateError> {
        Self::from_variables(|name| std::env::var_os(name))
    }

    /// The directories that these variables name. Nothing is made yet.
    ///
    /// # Errors
    /// When no variable names a place, or one names a relative path.
    pub fn from_variables(variable: impl Fn(&str) -> Option<OsString>) -> Result<Self, StateError> {
        let path = |name: &'static str| match variable(name).map(PathBuf::from) {
            Some(path) if path.as_os_str().is_empty() => Ok(None),
            Some(path) if path.is_relative() => Err(StateError::Relative {
                variable: name,
                path,
            }),
            path => Ok(path),
        };
        if let Some(directory) = path("SOVR_HOME")? {
            return Ok(Self::at(&directory));
        }
        let home = path("HOME")?;
        let place = |name: &'static str, otherwise: &str| {
            // The XDG specification wants a relative path ignored here.
            let named = path(name).unwrap_or_default();
            let place = named.or_else(|| home.as_ref().map(|home| home.join(otherwise)));
            place
                .map(|place| place.join(NAME))
                .ok_or(StateError::NoHome)
        };
        Ok(Self {
            config: place("XDG_CONFIG_HOME", ".config")?,
            state: place("XDG_STATE_HOME", ".local/state")?,
            data: place("XDG_DATA_HOME", ".local/share")?,
            cache: place("XDG_CACHE_HOME", ".cache")?,
        })
    }

    /// All beneath one directory, as `SOVR_HOME` does it. Nothing is made yet.
    #[must_use]
    pub fn at(directory: &Path) -> Self {
        Self {
            config: directory.to_owned(),
            state: directory.join("state"),
            data: directory.join("data"),
            cache: directory.join("cache"),
        }
    }

    /// Makes the directories, for this user only, and checks that nobody else can change what is in them.
    ///
    /// # Errors
    /// When one cannot be made, belongs to somebody else or is open to others.
    pub fn prepare(&self) -> Result<(), StateError> {
        // The configuration directory may be readable: it holds the policy, and with SOVR_HOME it is a directory that
        // the user made.
        private_directory(&self.config, OTHERS_WRITE)?;
        for directory in [&self.state, &self.data, &self.cache] {
            private_directory(directory, OTHERS)?;
        }
        for directory in [
            self.audit(),
            self.runs(),
            self.code(),
            self.work(),
            self.dfs(),
        ] {
            private_directory(&directory, OTHERS)?;
        }
        Ok(())
    }

    /// The user's policy file; need not exist.
    #[must_use]
    pub fn policy(&self) -> PathBuf {
        self.config.join("policy.toml")
    }

    /// The settings of the networks that runs work on; need not exist.
    #[must_use]
    pub fn networks(&self) -> PathBuf {
        self.config.join("networks.toml")
    }

    /// The settings of the storage that holds the user's pods; need not exist.
    #[must_use]
    pub fn storage(&self) -> PathBuf {
        self.config.join("storage.toml")
    }

    /// The file that whoever changes the user's registries holds locked.
    #[must_use]
    pub fn registries_lock(&self) -> PathBuf {
        self.state.join("registries.lock")
    }

    /// The file that whoever cleans up holds locked.
    #[must_use]
    pub fn cleanup_lock(&self) -> PathBuf {
        self.state.join("cleanup.lock")
    }

    /// The file with the login at a FairOS-dfs server that is kept between commands.
    #[must_use]
    pub fn fairos_login(&self) -> PathBuf {
        self.state.join("fairos-login.json")
    }

    /// Directory of the locks under which pods on a FairOS-dfs server are changed. Made when it is first used.
    #[must_use]
    pub fn fairos_locks(&self) -> PathBuf {
        self.state.join("fairos-locks")
    }

    /// The database of consents and money.
    #[must_use]
    pub fn database(&self) -> PathBuf {
        self.state.join("state.sqlite")
    }

    /// Directory of the audit logs, one file per run.
    #[must_use]
    pub fn audit(&self) -> PathBuf {
        self.state.join("audit")
    }

    /// Directory of lock files, one per live run.
    #[must_use]
    pub fn runs(&self) -> PathBuf {
        self.state.join("runs")
    }

    /// Directory of compiled code.
    #[must_use]
    pub fn code(&self) -> PathBuf {
        self.cache.join("code")
    }

    /// Directory of the work directories of providers on this machine.
    #[must_use]
    pub fn work(&self) -> PathBuf {
        self.cache.join("work")
    }

    /// Directory of the embedded storage, unless the settings name another.
    #[must_use]
    pub fn dfs(&self) -> PathBuf {
        self.data.join("dfs")
    }

    /// Directories with what each is for, for `doctor`.
    #[must_use]
    pub fn directories(&self) -> [(&'static str, &Path); 4] {
        [
            ("configuration", &self.config),
            ("state", &self.state),
            ("data", &self.data),
            ("cache", &self.cache),
        ]
    }

    /// The user's secret key; made at first use. It authenticates compiled code.
    ///
    /// # Errors
    /// When it cannot be read or made, or others can read it.
    pub fn secret_key(&self) -> Result<SecretKey, StateError> {
        let path = self.state.join("key");
        match read_key(&path) {
            Err(StateError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                make_key(&self.state, &path)?;
                read_key(&path)
            }
            read => read,
        }
    }
}

/// Makes a directory with its parents, or checks the one that is there: a directory of this user, no symbolic link,
/// without the `forbidden` permissions.
fn private_directory(path: &Path, forbidden: u32) -> Result<(), StateError> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(StateError::io("make the directory", path))?;
    let found = fs::symlink_metadata(path).map_err(StateError::io("look at", path))?;
    let refuse = |problem, next| {
        Err(StateError::Unsafe {
            path: path.to_owned(),
            problem,
            next,
        })
    };
    if !found.is_dir() {
        return refuse(
            "is a symbolic link",
            "remove it, or set SOVR_HOME to where it points",
        );
    }
    if found.uid() != rustix::process::geteuid().as_raw() {
        return refuse(
            "belongs to another user",
            "set SOVR_HOME to a directory of yours",
        );
    }
    if found.mode() & forbidden != 0 {
        return refuse("is open to other users", "close it with `chmod go-rwx`");
    }
    Ok(())
}

fn read_key(path: &Path) -> Result<SecretKey, StateError> {
    let io = |doing| StateError::io(doing, path);
    let mut file = OpenOptions::new()
        .read(true)
        .custom_flags(
            (rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK)
                .bits()
                .cast_signed(),
        )
        .open(path)
        .map_err(io("open the key"))?;
    let found = file.metadata().map_err(io("look at the key"))?;
    let refuse = |problem| {
        let next = "remove it; a new key is made, and code is compiled again";
        Err(StateError::Unsafe {
            path: path.to_owned(),
            problem,
            next,
        })
    };
    if !found.is_file()
        || found.uid() != rustix::process::geteuid().as_raw()
        || found.mode() & OTHERS != 0
    {
        return refuse("is not a file that only you can read");
    }
    let mut key = [0; 32];
    if found.len() != key.len() as u64 {
        return refuse("is not a key of 32 bytes");
    }
    file.read_exact(&mut key).map_err(io("read the key"))?;
    Ok(SecretKey(key))
}

/// Makes the key under another name and links it to its own, so that nobody ever reads half a key and the first of
/// two processes wins.
fn make_key(directory: &Path, path: &Path) -> Result<(), StateError> {
    let mut random = [0; 40];
    getrandom::fill(&mut random)
        .map_err(io::Error::from)
        .map_err(StateError::io("make the key", path))?;
    let (key, name) = random.split_at(32);
    let temporary = directory.join(format!("key.{}", hex::encode(name)));
    let made = write_new(&temporary, key).and_then(|()| match fs::hard_link(&temporary, path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        linked => linked,
    });
    let removed = fs::remove_file(&temporary);
    made.and(removed)
        .and_then(|()| File::open(directory)?.sync_all())
        .map_err(StateError::io("make the key", path))
}

fn write_new(path: &Path, content: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?;
    file.write_all(content)?;
    file.sync_all()
}

/// A key that cannot be displayed.
#[derive(Clone)]
pub struct SecretKey([u8; 32]);

impl SecretKey {
    /// The bytes, for a cryptographic function only.
    #[must_use]
    pub fn expose(&self) -> &[u8; 32] {
        &self.0
    }
}

impl std::fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SecretKey(..)")
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    fn variables<'a>(set: &'a [(&str, &str)]) -> impl Fn(&str) -> Option<OsString> + 'a {
        move |name| {
            set.iter()
                .find(|(key, _)| *key == name)
                .map(|(_, value)| OsString::from(value))
        }
    }

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().mode() & 0o777
    }

    #[test]
    fn sovr_home_overrides_xdg_and_xdg_overrides_home() {
        let home = Home::from_variables(variables(&[("SOVR_HOME", "/s"), ("HOME", "/h")])).unwrap();
        assert_eq!(home, Home::at(Path::new("/s")));
        let home = Home::from_variables(variables(&[
            ("HOME", "/h"),
            ("XDG_STATE_HOME", "/x"),
            ("XDG_CACHE_HOME", "no"),
        ]))
        .unwrap();
        assert_eq!(home.database(), Path::new("/x/sovr-host/state.sqlite"));
        assert_eq!(home.code(), Path::new("/h/.cache/sovr-host/code"));
        assert_eq!(home.policy(), Path::new("/h/.config/sovr-host/policy.toml"));
    }

    #[test]
    fn without_a_place_or_with_a_relative_one_there_is_no_home() {
        assert!(matches!(
            Home::from_variables(|_| None),
            Err(StateError::NoHome)
        ));
        assert!(matches!(
            Home::from_variables(variables(&[("SOVR_HOME", "")])),
            Err(StateError::NoHome)
        ));
        let error = Home::from_variables(variables(&[("SOVR_HOME", "here")]))
            .unwrap_err()
            .to_string();
        assert_eq!(
            error,
            "the variable SOVR_HOME names here, which is not an absolute path; write it from the root"
        );
    }

    #[test]
    fn directories_are_made_for_this_user_only() {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::at(&dir.path().join("deep/home"));
        home.prepare().unwrap();
        home.prepare().unwrap();
        for (_, directory) in home.directories() {
            assert_eq!(mode(directory), 0o700, "{}", directory.display());
        }
        assert_eq!(mode(&home.audit()), 0o700);
    }

    #[test]
    fn directories_that_others_can_change_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::at(dir.path());
        home.prepare().unwrap();
        fs::set_permissions(home.code(), fs::Permissions::from_mode(0o777)).unwrap();
        let error = home.prepare().unwrap_err().to_string();
        assert!(
            error.ends_with("cache/code is open to other users; close it with `chmod go-rwx`"),
            "{error}"
        );
    }

    #[test]
    fn a_symbolic_link_in_the_place_of_a_directory_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let elsewhere = tempfile::tempdir().unwrap();
        symlink(elsewhere.path(), dir.path().join("cache")).unwrap();
        match Home::at(dir.path()).prepare() {
            Err(StateError::Unsafe { problem, .. }) => assert_eq!(problem, "is a symbolic link"),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_key_stays_the_same_and_is_private() {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::at(dir.path());
        home.prepare().unwrap();
        let key = home.secret_key().unwrap();
        assert_eq!(home.secret_key().unwrap().expose(), key.expose());
        assert_ne!(key.expose(), &[0; 32]);
        assert_eq!(mode(&dir.path().join("state/key")), 0o600);
        assert_eq!(format!("{key:?}"), "SecretKey(..)");
        // Nothing of the making is left behind.
        let names: Vec<_> = fs::read_dir(dir.path().join("state"))
            .unwrap()
            .map(|e| e.unwrap().file_name())
            .collect();
        assert_eq!(
            names
                .iter()
                .filter(|name| name.to_string_lossy().starts_with("key"))
                .count(),
            1
        );
    }

    #[test]
    fn many_at_once_agree_on_one_key() {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::at(dir.path());
        home.prepare().unwrap();
        let keys: Vec<[u8; 32]> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..16)
                .map(|_| scope.spawn(|| *home.secret_key().unwrap().expose()))
                .collect();
            threads
                .into_iter()
                .map(|thread| thread.join().unwrap())
                .collect()
        });
        assert!(keys.iter().all(|key| *key == keys[0]));
    }

    #[test]
    fn a_key_that_others_can_read_or_that_is_cut_short_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::at(dir.path());
        home.prepare().unwrap();
        home.secret_key().unwrap();
        let path = dir.path().join("state/key");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        assert!(matches!(home.secret_key(), Err(StateError::Unsafe { .. })));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        fs::write(&path, [1; 31]).unwrap();
        assert!(matches!(home.secret_key(), Err(StateError::Unsafe { .. })));
    }
}
