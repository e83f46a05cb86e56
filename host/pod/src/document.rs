//! A recipe's file, and whether it describes a pod or a task.
//!
//! Both lie in a directory as `recipe.json`; which of the two it is, its content says, as in the original: `golem` makes
//! a pod, `pods` a task. The original takes a recipe with both for a pod; here it is refused, because whoever reads it
//! cannot see which part counts. The file is read once, and what is uploaded later is what was read, byte for byte.

use std::ffi::{OsStr, OsString};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::io::Errno;

use crate::error::io_error;
use crate::pod::PodLock;
use crate::recipe::{MOST_BYTES, parse_json};
use crate::{Error, Recipe, Task, Tree};

/// The recipe's name, unless the user names another file.
pub const RECIPE: &str = "recipe.json";

/// What a recipe describes.
#[derive(Debug, Clone, PartialEq)]
#[expect(
    clippy::large_enum_variant,
    reason = "one is held at a time, and a box would stand in the way of every match"
)]
pub enum Document {
    /// A compute pod. Whether this host can run it is not said: [`Pod::load`](crate::Pod::load) tells.
    Pod(Recipe),
    /// Pods, one after the other or side by side.
    Task(Task),
}

/// A recipe's file as it was read, and the tree that it lies in.
#[derive(Debug)]
pub struct Source {
    tree: Arc<Tree>,
    name: OsString,
    bytes: Vec<u8>,
}

impl Document {
    /// Reads the recipe of a pod or a task; `path` is for messages.
    ///
    /// # Errors
    /// With every problem found, each with its key path.
    pub fn parse(text: &[u8], path: &Path) -> Result<Self, Error> {
        let value = parse_json(text, path)?;
        if value.get("pods").is_some() && value.get("golem").is_none() {
            Task::from_value(value, path).map(Self::Task)
        } else {
            Recipe::from_value(value, path).map(Self::Pod)
        }
    }

    /// Loads the recipe of a directory, or a recipe file. Answers the directory, absolute.
    ///
    /// # Errors
    /// When there is none, or it is not valid.
    pub fn load(path: &Path) -> Result<(PathBuf, Self), Error> {
        let (source, document) = Self::read(path)?;
        Ok((source.tree().root().to_owned(), document))
    }

    /// Like [`Document::load`], with the file itself and its tree.
    ///
    /// # Errors
    /// When there is none, or it is not valid.
    pub fn read(path: &Path) -> Result<(Source, Self), Error> {
        let source = Source::read(path)?;
        let document = Self::parse(source.bytes(), &source.path())?;
        Ok((source, document))
    }

    /// The name, checked.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Pod(recipe) => &recipe.name,
            Self::Task(task) => &task.name,
        }
    }

    /// Whether persisting it shares it.
    #[must_use]
    pub fn public(&self) -> bool {
        match self {
            Self::Pod(recipe) => recipe.public,
            Self::Task(task) => task.public,
        }
    }

    /// The whole recipe as it was read.
    #[must_use]
    pub fn document(&self) -> &serde_json::Map<String, serde_json::Value> {
        match self {
            Self::Pod(recipe) => &recipe.document,
            Self::Task(task) => &task.document,
        }
    }
}

impl Source {
    /// Reads the recipe in a directory, or a recipe file.
    ///
    /// # Errors
    /// When there is none, or it is longer than [`MOST_BYTES`].
    pub fn read(path: &Path) -> Result<Self, Error> {
        let (directory, name) = locate(path)?;
        let tree = Tree::open(&directory)
            .map_err(|source| io_error("open the directory", &directory, source))?;
        let bytes = read_recipe(&tree, &name, &tree.root().join(&name))?;
        Ok(Self {
            tree: Arc::new(tree),
            name,
            bytes,
        })
    }

    /// The files of the recipe's directory.
    #[must_use]
    pub fn tree(&self) -> &Arc<Tree> {
        &self.tree
    }

    /// The file's name in that directory.
    #[must_use]
    pub fn name(&self) -> &OsStr {
        &self.name
    }

    /// The file's content.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Makes this process the only one that works in the directory.
    ///
    /// # Errors
    /// When a run, or another command, holds it.
    pub fn lock(&self) -> Result<PodLock, Error> {
        PodLock::hold(&self.tree)
    }

    /// The file's place, for messages.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        self.tree.root().join(&self.name)
    }
}

/// The directory of a pod and the name of its recipe.
fn locate(path: &Path) -> Result<(PathBuf, OsString), Error> {
    let not_a_pod = |problem: &str| Error::NotAPod {
        path: path.to_owned(),
        problem: problem.to_owned(),
    };
    let found = match path.metadata() {
        Ok(found) => found,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(not_a_pod("there is nothing"));
        }
        Err(source) => return Err(io_error("look at", path, source)),
    };
    if found.is_dir() {
        return Ok((path.to_owned(), RECIPE.into()));
    }
    let name = path
        .file_name()
        .ok_or_else(|| not_a_pod("it has no name"))?;
    let parent = path
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    Ok((parent.to_owned(), name.to_owned()))
}

fn read_recipe(tree: &Tree, name: &OsStr, path: &Path) -> Result<Vec<u8>, Error> {
    let not_a_pod = |problem: &str| Error::NotAPod {
        path: path.to_owned(),
        problem: problem.to_owned(),
    };
    let file = tree.open_in_root(name).map_err(|errno| match errno {
        Errno::NOENT => not_a_pod("it does not exist"),
        Errno::LOOP => not_a_pod("it is a symbolic link"),
        Errno::NODEV | Errno::NXIO | Errno::ISDIR => not_a_pod("it is not a regular file"),
        errno => io_error("open the recipe", path, errno.into()),
    })?;
    let mut text = Vec::new();
    file.take(MOST_BYTES + 1)
        .read_to_end(&mut text)
        .map_err(|source| io_error("read the recipe", path, source))?;
    if text.len() as u64 > MOST_BYTES {
        return Err(not_a_pod("it is longer than 1 MiB"));
    }
    Ok(text)
}
