//! Go, for the server that tests run against.

use std::path::Path;
use std::process::Command;

use anyhow::{Result, bail, ensure};

use super::system;
use crate::command;

/// What the server asks for, major and minor.
const LEAST: (u32, u32) = (1, 22);
const DEBIAN_PACKAGE: &str = "golang-go";
const PURPOSE: &str = "build the FairOS-dfs server";

/// The go command, working on a module.
pub(crate) fn command(module: &Path) -> Command {
    let mut go = Command::new("go");
    go.current_dir(module);
    go
}

/// Makes sure that there is a Go that is new enough: the one that is there, or else Debian's.
pub(crate) fn prepare(module: &Path) -> Result<()> {
    let asked = || command::output(command(module).args(["env", "GOVERSION"]));
    let found = match asked() {
        Ok(found) => found,
        Err(_) => {
            // Debian 12 has one that is too old, and a package that does not help is not installed.
            let Some(offered) = system::offered(DEBIAN_PACKAGE).filter(|found| is_enough(found))
            else {
                bail!("needed to {PURPOSE}: {}", advice());
            };
            eprintln!("Debian offers Go {offered}");
            system::install(&[DEBIAN_PACKAGE], PURPOSE)?;
            asked()?
        }
    };
    ensure!(
        is_enough(&found),
        "{} is too old to {PURPOSE}: {}",
        found.trim(),
        advice()
    );
    Ok(())
}

fn advice() -> String {
    let (major, minor) = LEAST;
    format!(
        "install Go {major}.{minor} or newer, from https://go.dev/dl or (Debian 13 and newer) by \
         `sudo apt-get install --no-install-recommends {DEBIAN_PACKAGE}`"
    )
}

/// Whether a version such as `go1.26.8` or Debian's `2:1.19~1` is new enough.
fn is_enough(version: &str) -> bool {
    let version = version.trim();
    let version = version.rsplit_once(':').map_or(version, |(_, rest)| rest);
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
    fn versions_of_go_and_of_debian_are_compared_by_number() {
        for enough in ["go1.22.0\n", "go1.26.8", "go1.100rc1", "2:1.24~2", "go2.0"] {
            assert!(is_enough(enough), "{enough}");
        }
        for not in ["go1.21.13", "2:1.19~1", "go1.3", "", "(none)", "devel"] {
            assert!(!is_enough(not), "{not}");
        }
    }
}
