//! Packages of the Python package index: programs and modules for tests.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;

use super::system;
use crate::command;

const PYTHON: &str = "python3";
const DEBIAN_PACKAGES: [&str; 2] = ["python3", "python3-pip"];

/// Downloads what a file of requirements names, without what that stands on, into a directory. Each package must have
/// a digest there. `purpose` completes "needed to …".
pub(crate) fn download(requirements: &Path, into: &Path, purpose: &str) -> Result<()> {
    provide(purpose)?;
    let mut pip = pip([
        "download",
        "--disable-pip-version-check",
        "--no-deps",
        "--only-binary=:all:",
        "--require-hashes",
        "--quiet",
        "--requirement",
    ]);
    command::output(pip.arg(requirements).arg("--dest").arg(into)).map(drop)
}

/// Installs what files of requirements name into a directory of modules, one file after the other and nothing else than
/// they say: what comes as sources is built by what is there already. Each package must have a digest. `purpose`
/// completes "needed to …".
pub(crate) fn install(requirements: &[PathBuf], into: &Path, purpose: &str) -> Result<()> {
    provide(purpose)?;
    for file in requirements {
        let mut pip = pip([
            "install",
            "--disable-pip-version-check",
            "--root-user-action=ignore",
            "--no-build-isolation",
            "--no-deps",
            "--require-hashes",
            "--quiet",
            "--requirement",
        ]);
        pip.arg(file).arg("--target").arg(into);
        command::output(pip.env("PYTHONPATH", into))?;
    }
    Ok(())
}

fn provide(purpose: &str) -> Result<()> {
    match command::output(&mut pip(["--version"])) {
        Ok(_) => Ok(()),
        Err(_) => system::install(&DEBIAN_PACKAGES, purpose),
    }
}

fn pip(arguments: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Command {
    let mut python = Command::new(PYTHON);
    python.args(["-m", "pip"]).args(arguments);
    python
}
