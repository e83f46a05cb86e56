//! Where the built server lies, for those who build it and those who start it.
//!
//! The place has the wrapper's digest in its name, so a server that was built from other versions is never taken for
//! the right one, and a build that is there need not be done again.

use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

/// The version of the server, as `server/go.mod` has it.
pub const VERSION: &str = "v0.10.1";

/// The Go package that is the server.
pub const PACKAGE: &str = "github.com/fairdatasociety/fairOS-dfs/cmd/dfs";

/// The variable that a release of the server has its version in.
pub const VERSION_VARIABLE: &str = "github.com/fairdatasociety/fairOS-dfs.version";

/// What makes the server where it is missing.
pub const MADE_BY: &str = "cargo xtask fairos";

const GO_MOD: &str = include_str!("../server/go.mod");
const GO_SUM: &str = include_str!("../server/go.sum");
/// Enough digits to tell versions apart.
const DIGITS: usize = 16;

/// The Go module that names the server's version and the digests of everything it is built from.
pub fn wrapper() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("server")
}

/// The built server.
pub fn path() -> PathBuf {
    let mut digest = Sha256::new();
    for text in [GO_MOD, GO_SUM] {
        digest.update((text.len() as u64).to_le_bytes());
        digest.update(text);
    }
    let digest = hex::encode(digest.finalize());
    target()
        .join(format!("{VERSION}-{}", &digest[..DIGITS]))
        .join("dfs")
}

/// Whether it is a CI run, which may leave nothing out.
pub fn is_ci() -> bool {
    std::env::var_os("CI").is_some()
}

/// Why tests that need the server are to be left out, if they are. In CI they never are: there a missing server is
/// a failure of those tests.
pub fn missing() -> Option<String> {
    (!is_ci() && !path().exists()).then(how_to_get)
}

pub(crate) fn how_to_get() -> String {
    format!("the FairOS-dfs server is not built: install Go and run `{MADE_BY}`")
}

/// The part of `target/` where servers lie and run.
pub(crate) fn target() -> PathBuf {
    let crate_root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let project = crate_root
        .ancestors()
        .nth(2)
        .expect("this crate lies in tests/fairos");
    project.join("target/fairos")
}

#[cfg(test)]
mod tests {
    use super::{GO_MOD, PACKAGE, VERSION};

    #[test]
    fn the_wrapper_asks_for_this_version_of_the_server() {
        let module = PACKAGE.strip_suffix("/cmd/dfs").unwrap();
        let line = format!("require {module} {VERSION}");
        assert!(GO_MOD.lines().any(|found| found == line), "{line}");
    }
}
