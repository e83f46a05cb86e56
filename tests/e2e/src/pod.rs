//! Pods of one test.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::home::temporary_directory;
use crate::paths;

/// A pod in a directory of its own. Removed when dropped.
pub struct Pod {
    directory: TempDir,
    name: String,
}

impl Pod {
    /// A copy of a template, without what earlier runs of it left.
    pub fn from_template(template: &str) -> Pod {
        Pod::copy_of(&paths::template(template), template)
    }

    /// The same with its guests built from their sources.
    pub fn rebuilt(template: &str) -> Pod {
        Pod::copy_of(&paths::rebuilt(template), template)
    }

    fn copy_of(source: &Path, name: &str) -> Pod {
        let pod = Pod {
            directory: temporary_directory("pod"),
            name: name.to_owned(),
        };
        let root = pod.path();
        fs::create_dir(&root).unwrap();
        fs::copy(source.join("recipe.json"), root.join("recipe.json")).unwrap();
        for part in ["script", "payload"] {
            // git keeps no empty directory.
            if source.join(part).exists() {
                copy_tree(&source.join(part), &root.join(part));
            }
        }
        pod
    }

    /// A pod whose script is this component, and which asks for these capabilities.
    pub fn from_component(name: &str, component: &[u8], capabilities: Value) -> Pod {
        let pod = Pod {
            directory: temporary_directory("pod"),
            name: name.to_owned(),
        };
        for part in ["script", "payload"] {
            fs::create_dir_all(pod.path().join(part)).unwrap();
        }
        fs::write(pod.path().join("script/script.wasm"), component).unwrap();
        pod.write_recipe(&json!({
            "name": name,
            "description": "made by a test",
            "version": "1",
            "author": "tests",
            "golem": {
                "exec": "script/script.wasm",
                "script": "script",
                "payload": "payload",
                "output": "output",
                "log": "logs",
            },
            "capabilities": capabilities,
        }));
        pod
    }

    /// A pod whose script is a hostile guest.
    pub fn from_guest(guest: &str, capabilities: Value) -> Pod {
        let component = fs::read(paths::guest(guest)).unwrap();
        Pod::from_component(guest, &component, capabilities)
    }

    /// Its root. The directory around it is the test's too, so that a test can lay something beside the pod.
    pub fn path(&self) -> PathBuf {
        self.directory.path().join(&self.name)
    }

    /// A place in it.
    pub fn join(&self, path: &str) -> PathBuf {
        self.path().join(path)
    }

    /// Its recipe.
    pub fn recipe(&self) -> Value {
        serde_json::from_slice(&fs::read(self.join("recipe.json")).unwrap()).unwrap()
    }

    /// Changes its recipe.
    pub fn edit_recipe(&self, edit: impl FnOnce(&mut Value)) {
        let mut recipe = self.recipe();
        edit(&mut recipe);
        self.write_recipe(&recipe);
    }

    fn write_recipe(&self, recipe: &Value) {
        fs::write(
            self.join("recipe.json"),
            serde_json::to_vec_pretty(recipe).unwrap(),
        )
        .unwrap();
    }

    /// Names and sizes of the files in one of its directories, sorted; empty if it does not exist.
    pub fn files(&self, directory: &str) -> Vec<(String, u64)> {
        let Ok(entries) = fs::read_dir(self.join(directory)) else {
            return Vec::new();
        };
        let mut files: Vec<_> = entries
            .map(|entry| {
                let entry = entry.unwrap();
                (
                    entry.file_name().to_string_lossy().into_owned(),
                    entry.metadata().unwrap().len(),
                )
            })
            .collect();
        files.sort();
        files
    }
}

fn copy_tree(source: &Path, target: &Path) {
    fs::create_dir_all(target).unwrap();
    for entry in fs::read_dir(source).unwrap() {
        let entry = entry.unwrap();
        let target = target.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_tree(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), &target).unwrap();
        }
    }
}

/// All files of a directory with their content, by their paths in it.
pub fn tree(directory: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut files = Vec::new();
    let mut pending = vec![directory.to_owned()];
    while let Some(place) = pending.pop() {
        for entry in fs::read_dir(place).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                pending.push(path);
            } else {
                let name = path.strip_prefix(directory).unwrap().to_owned();
                files.push((name, fs::read(&path).unwrap()));
            }
        }
    }
    files.sort();
    files
}
