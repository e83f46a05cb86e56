//! A place of its own for each test: a home without history and pods to break.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::{fmt, fs};

use tempfile::TempDir;

/// A directory with a home for the program's state; removed at the end of the test.
pub(crate) struct Place {
    root: TempDir,
}

/// What a command line gave.
pub(crate) struct Given {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Place {
    pub(crate) fn new() -> Place {
        Place {
            root: TempDir::new().unwrap(),
        }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    /// A copy of a pod of the templates.
    pub(crate) fn template(&self, name: &str) -> PathBuf {
        let source = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("../../templates/pods")
            .join(name);
        let copy = self.path(name);
        copy_tree(&source, &copy);
        copy
    }

    /// A pod whose component is `component` and whose recipe has `exec`.
    pub(crate) fn pod(&self, exec: &str, component: &[u8]) -> PathBuf {
        let pod = self.path("pod");
        fs::create_dir_all(pod.join("script")).unwrap();
        fs::write(pod.join("script/main.wasm"), component).unwrap();
        let recipe = serde_json::json!({ "name": "pod", "golem": { "exec": exec } });
        fs::write(pod.join("recipe.json"), recipe.to_string()).unwrap();
        pod
    }

    /// The program, about to be started in this place, with nothing of the tester's own environment.
    pub(crate) fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_sovr-host"));
        command
            .args(words)
            .env_clear()
            .env("SOVR_HOME", self.path("home"))
            .current_dir(self.root.path());
        command
    }

    /// Somebody with a home and a directory of their own, on the storage that all users of this place share.
    pub(crate) fn user(&self, name: &'static str) -> User<'_> {
        let user = User { place: self, name };
        fs::create_dir_all(user.path("")).unwrap();
        user
    }

    /// Runs the program without a terminal.
    pub(crate) fn run(&self, words: &[&str]) -> Given {
        self.given(&mut self.command(words))
    }

    pub(crate) fn given(&self, command: &mut Command) -> Given {
        let Output {
            status,
            stdout,
            stderr,
        } = command.output().unwrap();
        let text = |bytes| {
            String::from_utf8(bytes)
                .unwrap()
                .replace(&*self.root.path().to_string_lossy(), "[PLACE]")
        };
        Given {
            code: status.code(),
            stdout: text(stdout),
            stderr: text(stderr),
        }
    }
}

/// One of several people with a common storage.
#[derive(Clone, Copy)]
pub(crate) struct User<'p> {
    place: &'p Place,
    pub(crate) name: &'static str,
}

impl User<'_> {
    /// A path in the user's directory.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.place.path(self.name).join(name)
    }

    pub(crate) fn command(&self, words: &[&str]) -> Command {
        let mut command = self.place.command(words);
        command
            .env("SOVR_USER", self.name)
            .env("SOVR_HOME", self.path(".home"))
            .env("SOVR_STORAGE", self.store())
            .current_dir(self.path(""));
        command
    }

    /// Where the common storage lies.
    pub(crate) fn store(&self) -> PathBuf {
        self.place.path("store")
    }

    pub(crate) fn run(&self, words: &[&str]) -> Given {
        self.place.given(&mut self.command(words))
    }

    /// Runs what has to succeed.
    #[track_caller]
    pub(crate) fn does(&self, words: &[&str]) -> Given {
        let given = self.run(words);
        assert_eq!(given.code, Some(0), "{words:?}\n{given}");
        given
    }

    /// A copy of a pod of the templates in the user's directory, with a recipe that `change` has changed.
    pub(crate) fn pod(
        &self,
        template: &str,
        change: impl FnOnce(&mut serde_json::Value),
    ) -> PathBuf {
        let source = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("../../templates/pods")
            .join(template);
        let pod = self.path(template);
        for part in ["script", "payload"] {
            copy_tree(&source.join(part), &pod.join(part));
        }
        fs::copy(source.join("recipe.json"), pod.join("recipe.json")).unwrap();
        change_recipe(&pod, change);
        pod
    }

    /// Persists a public pod or task and answers its reference.
    #[track_caller]
    pub(crate) fn shares(&self, pod: &str) -> String {
        let given = self.does(&["persist", pod]);
        given.stdout.lines().next().unwrap().to_owned()
    }
}

/// Changes the recipe of a pod.
pub(crate) fn change_recipe(pod: &Path, change: impl FnOnce(&mut serde_json::Value)) {
    let path = pod.join("recipe.json");
    let mut recipe = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
    change(&mut recipe);
    fs::write(path, recipe.to_string()).unwrap();
}

impl Given {
    /// Standard output as one JSON document.
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}\n{self}"))
    }

    /// Standard output as a JSON object per line.
    pub(crate) fn json_lines(&self) -> Vec<serde_json::Value> {
        self.stdout
            .lines()
            .map(|line| {
                serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}\n{self}"))
            })
            .collect()
    }
}

/// All three together, for snapshots.
impl fmt::Display for Given {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let code = self.code.map_or("none".to_owned(), |code| code.to_string());
        write!(
            f,
            "{}--- stderr\n{}--- exit {code}",
            self.stdout, self.stderr
        )
    }
}

fn copy_tree(source: &Path, copy: &Path) {
    fs::create_dir_all(copy).unwrap();
    for entry in fs::read_dir(source).unwrap() {
        let entry = entry.unwrap();
        let target = copy.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_tree(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}
