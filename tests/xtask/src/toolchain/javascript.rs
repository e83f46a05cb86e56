//! Packages of npm; and JavaScript to WebAssembly components, with QuickJS inside: the package `componentize-qjs`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};

use super::system;
use crate::project::Project;
use crate::{command, files};

const MANIFEST: &str = "package.json";
/// Holds a digest of each package, which npm checks.
const LOCK: &str = "package-lock.json";

/// Installs what a `package.json` and its lock in `from` name, into `node_modules` of another directory. `purpose`
/// completes "needed to …".
pub(crate) fn install(from: &Path, into: &Path, purpose: &str) -> Result<()> {
    if command::output(Command::new("npm").arg("--version")).is_err() {
        system::install(&["nodejs", "npm"], purpose)?;
    }
    for file in [MANIFEST, LOCK] {
        files::copy(&from.join(file), &into.join(file))?;
    }
    // Not `npm ci`: it wants every platform's package in the lock, and some were never published.
    let mut npm = Command::new("npm");
    npm.args(["install", "--ignore-scripts", "--no-audit", "--no-fund"]);
    command::output(npm.current_dir(into)).map(drop)
}

/// A compiler that is ready for use.
pub(crate) struct Compiler {
    program: PathBuf,
}

impl Compiler {
    /// Installs what a guest's `package.json` names, unless that is done.
    pub(crate) fn prepare(project: &Project, guest: &Path) -> Result<Self> {
        let folder = project.tools().join("javascript");
        let program = folder.join("node_modules/.bin/componentize-qjs");
        let lock = files::read(&guest.join(LOCK))?;
        if !program.exists() || files::read(&folder.join(LOCK)).ok().as_ref() != Some(&lock) {
            install(guest, &folder, "build JavaScript guests")?;
        }
        Ok(Self { program })
    }

    /// Builds one script for the world of pod scripts.
    pub(crate) fn build(&self, wit: &Path, script: &Path, component: &Path) -> Result<()> {
        fs::create_dir_all(
            component
                .parent()
                .context("a component lies in a directory")?,
        )?;
        let mut compiler = Command::new(&self.program);
        // `--sync`: the other runtime asks for a newer component model than the hosts of today have.
        compiler
            .args(["--sync", "--opt-size", "--world", "script", "--wit"])
            .arg(wit);
        compiler
            .arg("--js")
            .arg(script)
            .arg("--output")
            .arg(component);
        command::output(&mut compiler).map(drop)
    }
}
