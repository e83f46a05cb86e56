//! Where the installed daemon lies, for those who install it and those who start it.
//!
//! The place has the digest of what names the daemon in its name, so a daemon of another version is never taken for
//! the right one, and one that is there need not be fetched again.

use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

/// The version of the daemon, as `daemon/requirements.txt` has it.
pub const VERSION: &str = "0.17.6";

/// The Python package that holds it.
pub const PACKAGE: &str = "golem-node";

/// The program in that package.
pub const PROGRAM: &str = "yagna";

/// What installs the daemon where it is missing.
pub const MADE_BY: &str = "cargo xtask golem";

const REQUIREMENTS: &str = include_str!("../daemon/requirements.txt");
/// Enough digits to tell versions apart.
const DIGITS: usize = 16;

/// The file that names the daemon's package and its digests, as pip reads it.
pub fn requirements() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("daemon/requirements.txt")
}

/// The installed daemon.
pub fn path() -> PathBuf {
    let digest = hex::encode(Sha256::digest(REQUIREMENTS));
    target()
        .join(format!("{VERSION}-{}", &digest[..DIGITS]))
        .join(PROGRAM)
}

/// Whether it is a CI run, which may leave nothing out.
pub fn is_ci() -> bool {
    std::env::var_os("CI").is_some()
}

#[cfg(feature = "network")]
pub(crate) fn how_to_get() -> String {
    format!("the Golem daemon is not installed: install Python with pip and run `{MADE_BY}`")
}

/// The part of `target/` where daemons lie and run.
pub(crate) fn target() -> PathBuf {
    let crate_root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let project = crate_root
        .ancestors()
        .nth(2)
        .expect("this crate lies in tests/golem");
    project.join("target/golem")
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
