//! Where the built servers lie, for those who build them and those who start them.
//!
//! The place has the wrapper's digest in its name, so a server that was built from other versions is never taken for
//! the right one, and a build that is there need not be done again.

use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

/// The Go package that is the server.
pub const PACKAGE: &str = "github.com/fairdatasociety/fairOS-dfs/cmd/dfs";

/// What makes the servers where they are missing.
pub const MADE_BY: &str = "cargo xtask fairos";

/// Enough digits to tell versions apart.
const DIGITS: usize = 16;

/// A released server that tests run against.
#[derive(Debug)]
pub struct Program {
    /// Its version, as the wrapper's `go.mod` has it.
    pub version: &'static str,
    /// The variable that a release has its version in. Without one it is in the sources.
    pub version_variable: Option<&'static str>,
    folder: &'static str,
    go_mod: &'static str,
    go_sum: &'static str,
}

/// The newest, in the newer dialect.
pub static CURRENT: Program = Program {
    version: "v0.10.1",
    version_variable: Some("github.com/fairdatasociety/fairOS-dfs.version"),
    folder: "server",
    go_mod: include_str!("../server/go.mod"),
    go_sum: include_str!("../server/go.sum"),
};

/// The one that users of the original Sovr have, in the older dialect. Of that dialect no other release can be had.
pub static OLD: Program = Program {
    version: "v0.8.1",
    version_variable: None,
    folder: "old-server",
    go_mod: include_str!("../old-server/go.mod"),
    go_sum: include_str!("../old-server/go.sum"),
};

/// All of them.
pub static ALL: [&Program; 2] = [&CURRENT, &OLD];

impl Program {
    /// The Go module that names the server's version and the digests of everything it is built from.
    pub fn wrapper(&self) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join(self.folder)
    }

    /// The built server.
    pub fn path(&self) -> PathBuf {
        let mut digest = Sha256::new();
        for text in [self.go_mod, self.go_sum] {
            digest.update((text.len() as u64).to_le_bytes());
            digest.update(text);
        }
        let digest = hex::encode(digest.finalize());
        target()
            .join(format!("{}-{}", self.version, &digest[..DIGITS]))
            .join("dfs")
    }

    /// Why tests that need the server are to be left out, if they are. In CI they never are: there a missing server is
    /// a failure of those tests.
    pub fn missing(&self) -> Option<String> {
        (!is_ci() && !self.path().exists()).then(|| self.how_to_get())
    }

    pub(crate) fn how_to_get(&self) -> String {
        format!(
            "the FairOS-dfs server {} is not built: install Go and run `{MADE_BY}`",
            self.version
        )
    }
}

/// Whether it is a CI run, which may leave nothing out.
pub fn is_ci() -> bool {
    std::env::var_os("CI").is_some()
}

/// Why tests that need the [`CURRENT`] server are to be left out, if they are.
pub fn missing() -> Option<String> {
    CURRENT.missing()
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
    use super::{ALL, PACKAGE};

    #[test]
    fn the_wrapper_asks_for_this_version_of_the_server() {
        let module = PACKAGE.strip_suffix("/cmd/dfs").unwrap();
        for program in ALL {
            let line = format!("require {module} {}", program.version);
            assert!(program.go_mod.lines().any(|found| found == line), "{line}");
        }
    }

    /// The checksum database does not know the older one.
    #[test]
    fn the_wrapper_pins_the_server_by_its_digest() {
        let module = PACKAGE.strip_suffix("/cmd/dfs").unwrap();
        for program in ALL {
            for what in ["", "/go.mod"] {
                let start = format!("{module} {}{what} h1:", program.version);
                let mut lines = program.go_sum.lines();
                assert!(lines.any(|found| found.starts_with(&start)), "{start}");
            }
        }
    }
}
