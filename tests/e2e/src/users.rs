//! Users of one machine who share a storage: what one persists, another forks.

use std::ffi::OsStr;
use std::fs::{self, DirBuilder};
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use serde_json::{Value, json};
use sovr_dfs::Dfs;
use sovr_dfs::fairos::{FairosDfs, Password, Settings};
use sovr_dfs::local::{Caps, LocalDfs};
use sovr_test_fairos::Server;
use tempfile::TempDir;

use crate::home::temporary_directory;
use crate::{Ended, Home, Pod, exit};

const SETTINGS: &str = "storage.toml";
/// Where the program keeps the locks on a server's pods: whoever shares them is taken notice of.
const LOCKS: &str = "state/fairos-locks";
/// The password of every account that tests make.
pub const PASSWORD: &str = "correct horse battery staple";

/// A storage that several users have in common.
pub struct Storage(Kind);

enum Kind {
    /// Removed when dropped.
    Embedded(TempDir),
    Fairos(Server),
}

impl Default for Storage {
    fn default() -> Storage {
        Storage::new()
    }
}

impl Storage {
    /// The embedded one, empty.
    pub fn new() -> Storage {
        Storage(Kind::Embedded(temporary_directory("storage")))
    }

    /// A FairOS-dfs server.
    pub fn fairos(server: Server) -> Storage {
        Storage(Kind::Fairos(server))
    }

    /// The server, if it is one.
    pub fn server(&self) -> Option<&Server> {
        match &self.0 {
            Kind::Embedded(_) => None,
            Kind::Fairos(server) => Some(server),
        }
    }

    /// Somebody who uses it. On a server that is an account, under a name that no other test has.
    pub fn user(&self, name: &str) -> User {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let home = Home::new();
        let (name, home) = match &self.0 {
            Kind::Embedded(_) => {
                let settings = format!("user = {name:?}\n{}", self.settings());
                (name.to_owned(), home.with(SETTINGS, &settings))
            }
            Kind::Fairos(server) => {
                let number = NUMBER.fetch_add(1, Ordering::Relaxed);
                let name = format!("{name}-{}-{number}", std::process::id());
                server.sign_up(&name, PASSWORD);
                let credentials = home.path().join("credentials.json");
                write_private(
                    &credentials,
                    &json!({ "username": name, "password": PASSWORD }).to_string(),
                );
                let settings = format!(
                    "user = {name:?}\n{}credentials = {credentials:?}\n",
                    self.settings()
                );
                (name, home.with(SETTINGS, &settings))
            }
        };
        User {
            name,
            home,
            directory: temporary_directory("user"),
        }
    }

    /// Somebody who has not said who they are: on a server, without an account.
    pub fn stranger(&self) -> User {
        User {
            name: String::new(),
            home: Home::new().with(SETTINGS, &self.settings()),
            directory: temporary_directory("user"),
        }
    }

    /// The end of the file that says where pods are.
    fn settings(&self) -> String {
        match &self.0 {
            Kind::Embedded(directory) => format!("[local]\ndirectory = {:?}\n", directory.path()),
            Kind::Fairos(server) => {
                format!("kind = \"fairos\"\n[fairos]\nserver = {:?}\n", server.url())
            }
        }
    }

    /// What a user has in it, without our program.
    pub fn open(&self, user: &User) -> Arc<dyn Dfs> {
        match &self.0 {
            Kind::Embedded(directory) => {
                let user = user.name.parse().expect("a test's user has a plain name");
                let opened = LocalDfs::open(directory.path(), &user, Caps::default());
                Arc::new(opened.expect("the storage can be opened"))
            }
            Kind::Fairos(server) => {
                let settings = Settings {
                    server: server.url().parse().expect("the server has an address"),
                    user: user.name.parse().expect("a test's user has a plain name"),
                    password: Some(Password::new(PASSWORD.to_owned())),
                    login: None,
                    allow_plain_http: false,
                };
                let locks = user.home.path().join(LOCKS);
                let made = DirBuilder::new().recursive(true).mode(0o700).create(&locks);
                made.unwrap_or_else(|error| panic!("cannot make {}: {error}", locks.display()));
                let opened = FairosDfs::new(settings, &locks);
                Arc::new(opened.expect("the server can be used"))
            }
        }
    }
}

fn write_private(path: &Path, text: &str) {
    let file = fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path);
    file.and_then(|mut file| file.write_all(text.as_bytes()))
        .unwrap_or_else(|error| panic!("cannot write {}: {error}", path.display()));
}

/// A user with state directories and a working directory of their own. Removed when dropped.
pub struct User {
    /// As the storage has it.
    pub name: String,
    /// Their state directories.
    pub home: Home,
    directory: TempDir,
}

impl User {
    /// A place in their working directory.
    pub fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        self.directory.path().join(name)
    }

    /// What the program does with these arguments, in their working directory.
    pub fn run(&self, arguments: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Ended {
        let mut command = self.home.command(arguments);
        command.current_dir(self.directory.path());
        crate::Running::start(command).wait()
    }

    /// The document that a command with `--json` answers.
    #[track_caller]
    pub fn document(&self, arguments: &[&str]) -> Value {
        let ended = self
            .run(arguments.iter().chain(&["--json"]))
            .expect(exit::OK);
        serde_json::from_str(&ended.stdout()).unwrap_or_else(|error| panic!("{error}\n{ended}"))
    }

    /// Persists a public pod, and answers its reference.
    #[track_caller]
    pub fn persist(&self, directory: &Path) -> String {
        let persisted = self.document(&["persist", directory.to_str().unwrap()]);
        let reference = persisted["reference"].as_str();
        reference
            .unwrap_or_else(|| panic!("it is not shared: {persisted:#}"))
            .to_owned()
    }

    /// Persists a pod for its output alone, and answers how that is named in the recipes of others.
    #[track_caller]
    pub fn share_output(&self, pod: &Pod) -> Value {
        let persisted = self.document(&["persist", pod.path().to_str().unwrap()]);
        let output = &persisted["output"];
        assert_eq!(output["state"], "shared", "{persisted:#}");
        json!({ "ref": output["reference"], "data": output["data"] })
    }

    /// A task in their working directory.
    pub fn task(&self, name: &str, pods: &[String], more: Value) -> PathBuf {
        let directory = self.path(name);
        fs::create_dir(&directory).unwrap();
        let mut recipe = json!({ "name": name, "description": "made by a test", "pods": pods });
        if let (Some(recipe), Value::Object(more)) = (recipe.as_object_mut(), more) {
            recipe.extend(more);
        }
        fs::write(directory.join("recipe.json"), recipe.to_string()).unwrap();
        directory
    }
}

/// Runs work on a storage that [`Storage::open`] gave.
pub fn block_on<T>(work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    runtime
        .expect("a runtime of one thread can be had")
        .block_on(work)
}
