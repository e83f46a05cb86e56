//! Packages of the operating system. Installed only where that needs no question: on Debian and its kin, by root.

use std::path::Path;
use std::process::Command;

use anyhow::{Result, bail};

use crate::command;

/// Makes sure that some Debian packages are installed. `purpose` completes "needed to …".
pub(crate) fn install(packages: &[&str], purpose: &str) -> Result<()> {
    let missing: Vec<&str> = packages
        .iter()
        .copied()
        .filter(|package| !is_installed(package))
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    let words = missing.join(" ");
    if !Path::new("/etc/debian_version").exists() {
        bail!("needed to {purpose} and not to be had here: Debian's packages {words}");
    }
    if !is_root() {
        bail!("needed to {purpose}: `sudo apt-get install --no-install-recommends {words}`");
    }
    eprintln!("installing {words}, to {purpose}");
    command::output(apt_get().arg("update"))?;
    command::output(
        apt_get()
            .args(["install", "--yes", "--no-install-recommends"])
            .args(missing),
    )
    .map(drop)
}

fn is_installed(package: &str) -> bool {
    let mut query = Command::new("dpkg-query");
    query.args(["--show", "--showformat=${db:Status-Status}", package]);
    command::output(&mut query).is_ok_and(|status| status == "installed")
}

fn apt_get() -> Command {
    let mut command = Command::new("apt-get");
    command.env("DEBIAN_FRONTEND", "noninteractive");
    command
}

#[cfg(unix)]
fn is_root() -> bool {
    use std::os::unix::fs::MetadataExt as _;
    std::fs::metadata("/proc/self").is_ok_and(|process| process.uid() == 0)
}

#[cfg(not(unix))]
fn is_root() -> bool {
    false
}
