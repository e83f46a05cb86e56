//! Where programs of others lie that tests install.
//!
//! A place has the digest of what names the program in its name, so one of another version is never taken for the right
//! one, and one that is there need not be fetched again.

use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

/// Enough digits to tell versions apart.
const DIGITS: usize = 16;

/// The directory of a program: `named` has the contents of all files that say what is to be installed.
pub(crate) fn of(name: &str, named: &[&str]) -> PathBuf {
    let mut digest = Sha256::new();
    for file in named {
        digest.update(file);
    }
    let digest = hex::encode(digest.finalize());
    target().join(format!("{name}-{}", &digest[..DIGITS]))
}

/// The part of `target/` where programs lie and run.
pub(crate) fn target() -> PathBuf {
    let crate_root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let project = crate_root
        .ancestors()
        .nth(2)
        .expect("this crate lies in tests/golem");
    project.join("target/golem")
}

/// Whether it is a CI run, which may leave nothing out.
pub fn is_ci() -> bool {
    std::env::var_os("CI").is_some()
}
