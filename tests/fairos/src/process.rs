//! One running server: its directory, its log, and that it never outlives the test.
//!
//! A test program can end without dropping anything (a signal, `exit`, a static), so the server hangs on a pipe: a
//! shell beside it reads from the test program and kills the group when that is gone. Rejected: the kernel's
//! `PR_SET_PDEATHSIG`, which fires when the starting *thread* ends, and each test has a thread of its own.

use std::fs::{self, File};
use std::net::SocketAddr;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};
use tempfile::TempDir;

use crate::http;
use crate::program::{self, Program};

/// The server with a shell beside it, which ends both when there is nothing more to read.
const TIED: &str =
    r#"exec 3<&0 </dev/null; { read -r _ <&3; kill -KILL 0; } & exec "$0" "$@" 3<&-"#;
const SHELL: &str = "/bin/sh";

/// It is there in half a second; a machine may be busy.
const READY: Duration = Duration::from_secs(60);
const PERIOD: Duration = Duration::from_millis(20);
/// Last lines of the log that are shown when a test fails.
const SHOWN: usize = 60;
const LOG: &str = "server.log";
const CONFIG: &str = "dfs.yaml";

/// How a server is started.
pub(crate) struct Start {
    pub(crate) program: &'static Program,
    pub(crate) arguments: Vec<String>,
    /// What its configuration holds; with nothing it makes its own.
    pub(crate) config: String,
}

/// A server and its directory. Dropping it kills it and removes the directory.
pub(crate) struct Process {
    child: Child,
    directory: TempDir,
}

impl Process {
    /// Starts the server.
    ///
    /// # Panics
    ///
    /// Where it is not built.
    pub(crate) fn start(start: &Start) -> Process {
        let program = start.program.path();
        assert!(program.exists(), "{}", start.program.how_to_get());
        // Under target/, because what tests upload may be large and /tmp may be memory.
        let place = program::target();
        let directory = tempfile::Builder::new()
            .prefix("run-")
            .tempdir_in(&place)
            .unwrap_or_else(|error| {
                panic!("cannot make a directory in {}: {error}", place.display())
            });
        let log = File::create(directory.path().join(LOG)).expect("a new directory takes a file");
        let config = directory.path().join(CONFIG);
        if !start.config.is_empty() {
            fs::write(&config, &start.config).expect("a new directory takes a file");
        }
        let child = Command::new(SHELL)
            .args(["-c", TIED])
            .arg(&program)
            .args(&start.arguments)
            .arg("--config")
            .arg(config)
            .current_dir(directory.path())
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .env("HOME", directory.path())
            .env("TMPDIR", directory.path())
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(log.try_clone().expect("an open file can be shared"))
            .stderr(log)
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start {}: {error}", program.display()));
        Process { child, directory }
    }

    /// Waits until it answers.
    ///
    /// # Panics
    ///
    /// When it ends or does not answer, with its log.
    pub(crate) fn wait_until_ready(&mut self, address: SocketAddr) {
        let start = Instant::now();
        while http::get(address, "/version").is_err() {
            let ended = self.child.try_wait().ok().flatten();
            assert!(
                ended.is_none() && start.elapsed() < READY,
                "the server does not answer on {address} ({}):\n{}",
                ended.map_or("it is running".to_owned(), |status| status.to_string()),
                self.end_of_log()
            );
            thread::sleep(PERIOD);
        }
    }

    /// What it has said so far.
    pub(crate) fn log(&self) -> String {
        let path: PathBuf = self.directory.path().join(LOG);
        fs::read(&path).map_or_else(
            |error| format!("{}: {error}", path.display()),
            |bytes| String::from_utf8_lossy(&bytes).into_owned(),
        )
    }

    /// The last lines of its log, with a heading.
    pub(crate) fn end_of_log(&self) -> String {
        let log = self.log();
        let lines: Vec<_> = log.lines().collect();
        let shown = &lines[lines.len().saturating_sub(SHOWN)..];
        format!("--- end of the server's log\n{}\n---", shown.join("\n"))
    }

    /// Kills it at once.
    pub(crate) fn kill(&mut self) {
        let group = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        if let Some(group) = group {
            let _ = kill_process_group(group, Signal::KILL);
        }
        let _ = self.child.wait();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}
