//! The installed daemon, for those who install it and those who start it.

use std::path::{Path, PathBuf};

use crate::place;

/// The version of the daemon, as `daemon/requirements.txt` has it.
pub const VERSION: &str = "0.17.6";

/// The Python package that holds it.
pub const PACKAGE: &str = "golem-node";

/// The program in that package.
pub const PROGRAM: &str = "yagna";

/// What installs the daemon where it is missing.
pub const MADE_BY: &str = "cargo xtask golem";

const REQUIREMENTS: &str = include_str!("../daemon/requirements.txt");

/// The file that names the daemon's package and its digests, as pip reads it.
pub fn requirements() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("daemon/requirements.txt")
}

/// The installed daemon.
pub fn path() -> PathBuf {
    place::of(VERSION, &[REQUIREMENTS]).join(PROGRAM)
}

#[cfg(feature = "network")]
pub(crate) fn how_to_get() -> String {
    format!("the Golem daemon is not installed: install Python with pip and run `{MADE_BY}`")
}

#[cfg(test)]
mod tests {
    use super::{PACKAGE, REQUIREMENTS, VERSION};

    #[test]
    fn the_requirements_name_this_version_of_the_daemon_with_a_digest() {
        let mut lines = REQUIREMENTS.lines().filter(|line| !line.starts_with('#'));
        assert_eq!(
            lines.next(),
            Some(format!("{PACKAGE}=={VERSION} \\").as_str())
        );
        let digests: Vec<_> = lines.collect();
        assert!(!digests.is_empty());
        for digest in digests {
            assert!(digest.trim().starts_with("--hash=sha256:"), "{digest}");
        }
    }
}
