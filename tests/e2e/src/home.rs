//! State directories of one test.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use crate::paths;
use crate::pod::Pod;
use crate::run::{Ended, Running};

/// A `SOVR_HOME` that nobody else uses. Removed when dropped.
pub struct Home {
    directory: TempDir,
}

impl Default for Home {
    fn default() -> Home {
        Home::new()
    }
}

impl Home {
    /// An empty one.
    pub fn new() -> Home {
        Home {
            directory: temporary_directory("home"),
        }
    }

    /// Its place.
    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    /// Writes a configuration file, such as `policy.toml`.
    #[must_use]
    pub fn with(self, name: &str, text: &str) -> Home {
        std::fs::write(self.path().join(name), text).unwrap();
        self
    }

    /// The program with these arguments, in an environment that has nothing of the tester's.
    pub fn command(&self, arguments: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Command {
        let mut command = Command::new(paths::program());
        command
            .env_clear()
            .env("SOVR_HOME", self.path())
            .env("PATH", "/usr/bin:/bin")
            .args(arguments);
        command
    }

    /// Starts the program and watches it.
    pub fn start(&self, arguments: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Running {
        Running::start(self.command(arguments))
    }

    /// Starts `run POD --yes --json -- …`.
    pub fn start_pod(&self, pod: &Pod, script_arguments: &[&str]) -> Running {
        let path = pod.path();
        let mut arguments = vec![OsStr::new("run"), path.as_os_str()];
        arguments.extend(["--yes", "--json"].map(OsStr::new));
        if !script_arguments.is_empty() {
            arguments.push(OsStr::new("--"));
            arguments.extend(script_arguments.iter().map(OsStr::new));
        }
        self.start(arguments)
    }

    /// [`Home::start_pod`] to its end.
    pub fn run_pod(&self, pod: &Pod, script_arguments: &[&str]) -> Ended {
        self.start_pod(pod, script_arguments).wait()
    }
}

/// A directory under `target/`, because what tests run may be large and `/tmp` may be memory.
pub(crate) fn temporary_directory(prefix: &str) -> TempDir {
    let place: PathBuf = paths::project().join("target/e2e");
    std::fs::create_dir_all(&place).unwrap();
    tempfile::Builder::new()
        .prefix(&format!("{prefix}-"))
        .tempdir_in(place)
        .unwrap()
}
