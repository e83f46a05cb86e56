//! Users on one store, each with a directory to work in.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Cursor, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::{Value, json};
use sovr_dfs::local::{Caps, LocalDfs};
use sovr_dfs::{Access, Dfs, DfsPath, Kind, Place, PodName, Reference};
use sovr_protocol::event::Unobserved;
use sovr_protocol::{Error, Protocol};
use tempfile::TempDir;
use tokio::io::AsyncReadExt;
use zip::write::SimpleFileOptions;
use zip::{ZipArchive, ZipWriter};

use crate::hostile::Hostile;

pub(crate) const RECIPE: &str = "recipe.json";

pub(crate) struct World {
    root: Arc<TempDir>,
}

pub(crate) struct User {
    pub(crate) protocol: Protocol,
    pub(crate) dfs: Arc<Hostile>,
    /// Where they work.
    pub(crate) desk: PathBuf,
    _root: Arc<TempDir>,
}

impl World {
    pub(crate) fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join("store")).unwrap();
        Self {
            root: Arc::new(root),
        }
    }

    /// A user; asked for twice, it is another process of the same one.
    pub(crate) fn user(&self, name: &str) -> User {
        let at = |what: &str| self.root.path().join(format!("{name}-{what}"));
        let store = self.root.path().join("store");
        let local = LocalDfs::open(&store, &name.parse().unwrap(), Caps::default()).unwrap();
        let dfs = Arc::new(Hostile::new(local));
        let desk = at("desk");
        fs::create_dir_all(&desk).unwrap();
        User {
            protocol: Protocol::new(dfs.clone(), at("lock"), Arc::new(Unobserved)),
            dfs,
            desk: desk.canonicalize().unwrap(),
            _root: Arc::clone(&self.root),
        }
    }
}

impl User {
    /// Writes a file into a pod of theirs, as another program would.
    pub(crate) async fn put(&self, pod: &str, path: &str, content: &[u8]) {
        let pod: PodName = pod.parse().unwrap();
        if self.dfs.inner.pod(&pod).await.is_err() {
            self.dfs.inner.create_pod(&pod).await.unwrap();
        }
        let path: DfsPath = path.parse().unwrap();
        let mut content = content;
        let written = self.dfs.inner.write(&pod, &path, &mut content).await;
        written.unwrap();
    }

    /// A file of a pod.
    pub(crate) async fn get(&self, pod: &str, path: &str) -> Option<Vec<u8>> {
        let place = Place::Pod(pod.parse().unwrap());
        let path: DfsPath = path.parse().unwrap();
        let mut opened = self.dfs.inner.read(&place, &path).await.ok()?;
        let mut bytes = Vec::new();
        opened.content.read_to_end(&mut bytes).await.unwrap();
        Some(bytes)
    }

    /// A JSON file of a pod, which must be there.
    pub(crate) async fn json(&self, pod: &str, path: &str) -> Value {
        serde_json::from_slice(&self.get(pod, path).await.unwrap()).unwrap()
    }

    pub(crate) async fn share(&self, pod: &str) -> Reference {
        self.dfs.inner.share(&pod.parse().unwrap()).await.unwrap()
    }

    /// Stores and shares a pod as a stranger may: any bytes under the documented names.
    pub(crate) async fn publish(&self, pod: &str, archive: &[u8], recipe: &Value) -> Reference {
        self.put(pod, &format!("/{pod}.zip"), archive).await;
        let recipe = recipe.to_string();
        self.put(pod, "/recipe.json", recipe.as_bytes()).await;
        self.share(pod).await
    }

    /// Everything in their storage: pod and path to content; a pod itself to nothing.
    pub(crate) async fn storage(&self) -> BTreeMap<String, Vec<u8>> {
        let mut all = BTreeMap::new();
        for pod in self.dfs.inner.pods().await.unwrap() {
            let mark = if pod.access == Access::Own {
                ""
            } else {
                " (received)"
            };
            all.insert(format!("{}{mark}", pod.name), Vec::new());
            let place = Place::from(&pod.name);
            for entry in self.dfs.inner.list(&place, &DfsPath::root()).await.unwrap() {
                if entry.kind == Kind::File {
                    let path = format!("/{}", entry.name);
                    let content = self.get(pod.name.as_str(), &path).await.unwrap();
                    all.insert(format!("{}{path}", pod.name), content);
                }
            }
        }
        all
    }

    /// Makes a pod's directory: component, payload, and what a run left.
    pub(crate) fn make_pod(&self, name: &str, change: impl FnOnce(&mut Value)) -> PathBuf {
        let directory = self.desk.join(name);
        let mut recipe = recipe(name);
        change(&mut recipe);
        write(&directory, RECIPE, recipe.to_string().as_bytes());
        write(&directory, "script/main.wasm", b"\0asm\x0d\0\x01\0");
        write(&directory, "payload/scene.json", b"{}");
        for area in ["output", "logs"] {
            fs::create_dir(directory.join(area)).unwrap();
        }
        directory
    }

    /// What lies on their desk, hidden things too.
    pub(crate) fn on_desk(&self) -> Vec<String> {
        names_in(&self.desk)
    }
}

/// A recipe as the original's documentation has it.
pub(crate) fn recipe(name: &str) -> Value {
    json!({
        "name": name,
        "description": "Renders frames",
        "version": "1.0",
        "author": "A",
        "public": false,
        "golem": {
            "exec": "script/main.wasm --frames 3",
            "script": "script",
            "payload": "payload",
            "output": "output",
            "log": "logs"
        }
    })
}

/// The recipe of a template of the original.
pub(crate) fn native_recipe(name: &str) -> Value {
    let mut recipe = recipe(name);
    recipe["golem"]["exec"] = json!("python3 [@]script/blender.py --threads 2");
    recipe
}

/// A pod's archive as the original packs it: directories and files, no order kept.
pub(crate) fn pod_archive(recipe: &Value) -> Vec<u8> {
    let recipe = recipe.to_string();
    zip(&[
        ("script/", b""),
        ("script/main.wasm", b"\0asm\x0d\0\x01\0"),
        (RECIPE, recipe.as_bytes()),
    ])
}

/// A zip archive with these members; names that end with `/` are directories.
pub(crate) fn zip(members: &[(&str, &[u8])]) -> Vec<u8> {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    let options = SimpleFileOptions::default();
    for (name, content) in members {
        if name.ends_with('/') {
            zip.add_directory(*name, options).unwrap();
        } else {
            zip.start_file(*name, options).unwrap();
            zip.write_all(content).unwrap();
        }
    }
    zip.finish().unwrap().into_inner()
}

/// The members of an archive, sorted; directories end with `/` and hold nothing.
pub(crate) fn unzip(archive: &[u8]) -> BTreeMap<String, Vec<u8>> {
    let mut archive = ZipArchive::new(Cursor::new(archive)).unwrap();
    let mut members = BTreeMap::new();
    for index in 0..archive.len() {
        let mut member = archive.by_index(index).unwrap();
        let mut content = Vec::new();
        member.read_to_end(&mut content).unwrap();
        let name = member.name().unwrap().into_owned();
        members.insert(name, content);
    }
    members
}

pub(crate) fn names_of(members: &BTreeMap<String, Vec<u8>>) -> Vec<&str> {
    members.keys().map(String::as_str).collect()
}

pub(crate) fn write(directory: &Path, path: &str, content: &[u8]) {
    let path = directory.join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, content).unwrap();
}

/// Every file and directory beneath a directory; directories end with `/`.
pub(crate) fn tree(directory: &Path) -> BTreeMap<String, Vec<u8>> {
    fn walk(top: &Path, at: &Path, found: &mut BTreeMap<String, Vec<u8>>) {
        for entry in fs::read_dir(at).unwrap() {
            let path = entry.unwrap().path();
            let name = path.strip_prefix(top).unwrap().to_str().unwrap().to_owned();
            if path.is_symlink() {
                found.insert(format!("{name} (link)"), Vec::new());
            } else if path.is_dir() {
                found.insert(format!("{name}/"), Vec::new());
                walk(top, &path, found);
            } else {
                found.insert(name, fs::read(&path).unwrap());
            }
        }
    }
    let mut found = BTreeMap::new();
    walk(directory, directory, &mut found);
    found
}

pub(crate) fn names_in(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).unwrap();
    let mut names: Vec<String> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

/// An error with its causes.
pub(crate) fn words(error: &Error) -> String {
    let causes = std::iter::successors(std::error::Error::source(error), |cause| cause.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}

/// That an error says all of this, and nothing that a terminal would obey.
#[track_caller]
pub(crate) fn assert_says<T: std::fmt::Debug>(result: Result<T, Error>, parts: &[&str]) -> Error {
    let error = result.expect_err("it was accepted");
    let text = words(&error);
    for part in parts {
        assert!(text.contains(part), "{text:?} does not say {part:?}");
    }
    let plain = |character: char| !character.is_control() || character == '\n';
    assert!(text.chars().all(plain), "{text:?}");
    error
}
