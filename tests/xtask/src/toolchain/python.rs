//! Packages of the Python package index: one of them is how a program for tests is published.

use std::ffi::OsStr;
use std::path::Path;
use std::process::Command;

use anyhow::Result;

use super::system;
use crate::command;

const PYTHON: &str = "python3";
const DEBIAN_PACKAGES: [&str; 2] = ["python3", "python3-pip"];

/// Downloads what a file of requirements names, without what that stands on, into a directory. Each package must have
/// a digest there. `purpose` completes "needed to …".
pub(crate) fn download(requirements: &Path, into: &Path, purpose: &str) -> Result<()> {
    if command::output(&mut pip(["--version"])).is_err() {
        system::install(&DEBIAN_PACKAGES, purpose)?;
    }
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

fn pip(arguments: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Command {
    let mut python = Command::new(PYTHON);
    python.args(["-m", "pip"]).args(arguments);
    python
}
