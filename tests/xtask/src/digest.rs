//! Digests of sources: is a committed component as new as what it was built from?
//!
//! Digests of what comes out would not do. Two builds of one source differ between compilers, and QuickJS components
//! differ from one build to the next.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use serde::Deserialize;
use sha2::{Digest as _, Sha256};

use crate::project::Project;
use crate::{command, files};

/// Files of a source folder that a build reads. Everything else (editors' files, build directories) is no source.
const SOURCES: [&str; 5] = ["rs", "toml", "json", "js", "wit"];
const NOT_SOURCES: [&str; 2] = ["target", "node_modules"];

/// SHA-256 of some bytes, as 64 hexadecimal digits.
pub(crate) fn of_bytes(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}

/// What a guest is built from.
#[derive(Default)]
pub(crate) struct Sources {
    /// Files and directories of the project.
    pub(crate) paths: BTreeSet<PathBuf>,
    /// Name, version and checksum of packages from a registry.
    pub(crate) dependencies: BTreeSet<String>,
}

/// SHA-256 over the names and contents of all sources.
pub(crate) fn of_sources(project: &Project, sources: &Sources) -> Result<String> {
    let mut found = BTreeSet::new();
    for path in &sources.paths {
        collect(&project.path(path), &mut found)?;
    }
    let mut digest = Sha256::new();
    for path in found {
        let name = path
            .strip_prefix(project.root())
            .unwrap_or(&path)
            .to_string_lossy()
            .replace('\\', "/");
        let content = files::read(&path)?;
        add(&mut digest, name.as_bytes());
        add(&mut digest, &content);
    }
    for dependency in &sources.dependencies {
        add(&mut digest, dependency.as_bytes());
    }
    Ok(hex::encode(digest.finalize()))
}

/// With its length, so that no two lists of items read the same.
fn add(digest: &mut Sha256, item: &[u8]) {
    digest.update((item.len() as u64).to_le_bytes());
    digest.update(item);
}

fn collect(path: &Path, found: &mut BTreeSet<PathBuf>) -> Result<()> {
    if path.is_file() {
        found.insert(path.to_path_buf());
        return Ok(());
    }
    for entry in
        fs::read_dir(path).with_context(|| format!("cannot list sources in {}", path.display()))?
    {
        let entry = entry?;
        let (path, name) = (entry.path(), entry.file_name());
        let name = name.to_string_lossy();
        if name.starts_with('.') || NOT_SOURCES.contains(&name.as_ref()) {
            continue;
        }
        if path.is_dir() {
            collect(&path, found)?;
        } else if path
            .extension()
            .is_some_and(|extension| SOURCES.iter().any(|known| extension == *known))
        {
            found.insert(path);
        }
    }
    Ok(())
}

/// The packages of a workspace: which need which, and what else they need.
pub(crate) struct Packages {
    own: BTreeMap<String, Package>,
    locked: Vec<Locked>,
}

struct Package {
    folder: PathBuf,
    needs: Vec<PathBuf>,
}

/// An entry of `Cargo.lock`.
#[derive(Deserialize)]
struct Locked {
    name: String,
    version: String,
    checksum: Option<String>,
    /// `name`, or `name version` where the lock has several versions.
    #[serde(default)]
    dependencies: Vec<String>,
}

#[derive(Deserialize)]
struct CargoLock {
    package: Vec<Locked>,
}

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<MetadataPackage>,
}

#[derive(Deserialize)]
struct MetadataPackage {
    name: String,
    manifest_path: PathBuf,
    dependencies: Vec<MetadataDependency>,
}

#[derive(Deserialize)]
struct MetadataDependency {
    path: Option<PathBuf>,
}

impl Packages {
    /// Asks cargo. Nothing is downloaded: only the workspace's own manifests are read.
    pub(crate) fn read(workspace: &Path) -> Result<Self> {
        let mut cargo = command::cargo();
        cargo
            .args([
                "metadata",
                "--no-deps",
                "--offline",
                "--format-version",
                "1",
            ])
            .current_dir(workspace);
        let metadata: Metadata = serde_json::from_str(&command::output(&mut cargo)?)
            .context("cannot understand `cargo metadata`")?;
        let packages = metadata.packages.into_iter().map(|package| {
            let folder = package
                .manifest_path
                .parent()
                .map(Path::to_path_buf)
                .unwrap_or_default();
            let needs = package
                .dependencies
                .into_iter()
                .filter_map(|dependency| dependency.path)
                .collect();
            (package.name, Package { folder, needs })
        });
        let lock = workspace.join("Cargo.lock");
        let text = String::from_utf8(files::read(&lock)?).context("Cargo.lock is not UTF-8")?;
        let lock: CargoLock = toml::from_str(&text)
            .with_context(|| format!("cannot understand {}", lock.display()))?;
        Ok(Self {
            own: packages.collect(),
            locked: lock.package,
        })
    }

    /// The folder of a package.
    pub(crate) fn folder(&self, package: &str) -> Result<&Path> {
        let found = self.own.get(package);
        Ok(&found
            .with_context(|| format!("the guests' workspace has no package {package:?}"))?
            .folder)
    }

    /// Folders of a package and of all packages of the workspace that it is built from.
    pub(crate) fn folders(&self, package: &str) -> Result<BTreeSet<PathBuf>> {
        let mut folders = BTreeSet::new();
        let mut next = vec![self.folder(package)?.to_path_buf()];
        while let Some(folder) = next.pop() {
            if folders.insert(folder.clone())
                && let Some(package) = self.own.values().find(|package| package.folder == folder)
            {
                next.extend(package.needs.iter().cloned());
            }
        }
        Ok(folders)
    }

    /// Name, version and checksum of every package, own and foreign, that a package is built from. The whole
    /// `Cargo.lock` would make a guest look stale when something changes that it does not use.
    pub(crate) fn dependencies(&self, package: &str) -> BTreeSet<String> {
        let mut found = BTreeSet::new();
        let mut next = vec![package];
        while let Some(wanted) = next.pop() {
            let mut words = wanted.split(' ');
            let (name, version) = (words.next().unwrap_or_default(), words.next());
            let matching = self.locked.iter().filter(|locked| {
                locked.name == name && version.is_none_or(|version| version == locked.version)
            });
            for locked in matching {
                let checksum = locked.checksum.as_deref().unwrap_or_default();
                if found.insert(format!("{name} {} {checksum}", locked.version)) {
                    next.extend(locked.dependencies.iter().map(String::as_str));
                }
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::Packages;
    use crate::project::Project;

    #[test]
    fn a_script_is_built_from_the_sdk_and_what_that_needs() {
        let project = Project::find();
        let packages = Packages::read(&project.plugins()).unwrap();
        let folders = packages.folders("hello-world").unwrap();
        assert!(
            folders.contains(&project.path("plugins/pods/hello-world")),
            "{folders:?}"
        );
        assert!(
            folders.contains(&project.path("plugins/sdk")),
            "{folders:?}"
        );
        assert!(
            !folders.contains(&project.path("plugins/workloads/date")),
            "{folders:?}"
        );

        let dependencies = packages.dependencies("hello-world");
        let has = |name: &str| dependencies.iter().any(|line| line.starts_with(name));
        assert!(
            has("wit-bindgen ") && has("serde_json "),
            "{dependencies:?}"
        );
        assert!(!has("png "), "{dependencies:?}");
    }
}
