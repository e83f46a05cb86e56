//! Users of one machine who share a storage: what one persists, another forks.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::home::temporary_directory;
use crate::{Ended, Home, Pod, exit};

/// A storage that several users have in common. Removed when dropped.
pub struct Storage {
    directory: TempDir,
}

impl Default for Storage {
    fn default() -> Storage {
        Storage::new()
    }
}

impl Storage {
    /// An empty one.
    pub fn new() -> Storage {
        Storage {
            directory: temporary_directory("storage"),
        }
    }

    /// Its place.
    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    /// Somebody who uses it.
    pub fn user(&self, name: &str) -> User {
        let settings = format!("user = {name:?}\n[local]\ndirectory = {:?}\n", self.path());
        User {
            home: Home::new().with("storage.toml", &settings),
            directory: temporary_directory("user"),
        }
    }
}

/// A user with state directories and a working directory of their own. Removed when dropped.
pub struct User {
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
        std::fs::create_dir(&directory).unwrap();
        let mut recipe = json!({ "name": name, "description": "made by a test", "pods": pods });
        if let (Some(recipe), Value::Object(more)) = (recipe.as_object_mut(), more) {
            recipe.extend(more);
        }
        std::fs::write(directory.join("recipe.json"), recipe.to_string()).unwrap();
        directory
    }
}
