//! Go, for the servers that tests run against.
//!
//! Stock: the `go` that is there, if it is new enough. Where there is none, Debian's comes in, and where that is too
//! old, as in Debian 12, it fetches a newer one from the Go module proxy, which has toolchains as modules and checks
//! them against the checksum database. Go from 1.21 on does that by itself; older ones can all the same download a
//! module and have the rest done for them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use serde::Deserialize;

use super::system;
use crate::command;
use crate::project::Project;

/// What the servers ask for, major and minor.
const LEAST: (u32, u32) = (1, 22);
/// What is fetched where all else is older.
const FETCHED: &str = "1.24.11";
const TOOLCHAIN: &str = "golang.org/toolchain@v0.0.1-go";
const DEBIAN_PACKAGE: &str = "golang-go";
const PURPOSE: &str = "build the FairOS-dfs servers";
/// Where the programs of a toolchain are; the second has a directory for each platform.
const PROGRAMS: [&str; 2] = ["bin", "pkg/tool"];

/// A go command that is new enough.
pub(crate) struct Go {
    program: PathBuf,
}

/// What `go mod download -json` says.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Downloaded {
    dir: PathBuf,
}

impl Go {
    /// Finds or installs one.
    pub(crate) fn prepare(project: &Project) -> Result<Go> {
        let stock = Go {
            program: "go".into(),
        };
        if stock.version(project).is_err() {
            system::install(&[DEBIAN_PACKAGE], PURPOSE)?;
        }
        let found = stock.version(project)?;
        if is_enough(&found) {
            return Ok(stock);
        }
        let (major, minor) = LEAST;
        let advice = || {
            format!(
                "{found} is too old to {PURPOSE}, which needs {major}.{minor}, and a newer one cannot be fetched; \
                 install one from https://go.dev/dl"
            )
        };
        fetched(project, &stock).with_context(advice)
    }

    /// This command, working on a module.
    pub(crate) fn command(&self, module: &Path) -> Command {
        let mut go = Command::new(&self.program);
        go.current_dir(module);
        go
    }

    /// Its own; in a module it might be the one that the module asks for.
    fn version(&self, project: &Project) -> Result<String> {
        let mut go = self.command(project.root());
        let version = command::output(go.args(["env", "GOVERSION"]))?;
        Ok(version.trim().to_owned())
    }
}

/// Has an old Go fetch a newer one, unless that is done.
fn fetched(project: &Project, old: &Go) -> Result<Go> {
    let place = project.path("target/fairos/go");
    fs::create_dir_all(&place).with_context(|| format!("cannot make {}", place.display()))?;
    let platform = command::output(old.command(&place).args(["env", "GOOS", "GOARCH"]))?;
    let platform = platform.split_whitespace().collect::<Vec<_>>().join("-");
    eprintln!("fetching Go {FETCHED} for {platform}, to {PURPOSE}");
    let mut download = old.command(&place);
    download
        .args(["mod", "download", "-json"])
        .arg(format!("{TOOLCHAIN}{FETCHED}.{platform}"))
        .env("GOMODCACHE", &place)
        .env("GOFLAGS", "-modcacherw");
    let downloaded: Downloaded = serde_json::from_str(&command::output(&mut download)?)
        .context("cannot understand `go mod download`")?;
    // A module has no programs, so none of its files can be executed.
    for folder in PROGRAMS {
        make_executable(&downloaded.dir.join(folder))?;
    }
    let go = Go {
        program: downloaded.dir.join("bin/go"),
    };
    let version = go.version(project)?;
    ensure!(is_enough(&version), "it is {version} all the same");
    Ok(go)
}

fn make_executable(folder: &Path) -> Result<()> {
    let entries =
        fs::read_dir(folder).with_context(|| format!("cannot list {}", folder.display()))?;
    for entry in entries {
        let path = entry?.path();
        if path.is_dir() {
            make_executable(&path)?;
            continue;
        }
        #[cfg(unix)]
        fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o755))
            .with_context(|| format!("cannot make {} executable", path.display()))?;
    }
    Ok(())
}

/// Whether a version such as `go1.26.8` is new enough.
fn is_enough(version: &str) -> bool {
    let version = version.strip_prefix("go").unwrap_or(version);
    let mut numbers = version
        .split(|letter: char| !letter.is_ascii_digit())
        .map(|digits| digits.parse::<u32>().ok());
    match (numbers.next().flatten(), numbers.next().flatten()) {
        (Some(major), Some(minor)) => (major, minor) >= LEAST,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::is_enough;

    #[test]
    fn versions_are_compared_by_number() {
        for enough in ["go1.22.0", "go1.26.8", "go1.100rc1", "go2.0"] {
            assert!(is_enough(enough), "{enough}");
        }
        for not in ["go1.21.13", "go1.19.8", "go1.3", "", "devel"] {
            assert!(!is_enough(not), "{not}");
        }
    }
}
