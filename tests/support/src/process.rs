//! One running server of others: its directory, its log, and that it never outlives the test.
//!
//! A test program can end without dropping anything (a signal, `exit`, a static), so the server hangs on a pipe: a
//! shell beside it reads from the test program and kills the group when that is gone. Rejected: the kernel's
//! `PR_SET_PDEATHSIG`, which fires when the starting *thread* ends, and each test has a thread of its own.

use std::fs::{self, OpenOptions};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};
use tempfile::TempDir;

/// The server with a shell beside it, which ends both when there is nothing more to read.
const TIED: &str =
    r#"exec 3<&0 </dev/null; { read -r _ <&3; kill -KILL 0; } & exec "$0" "$@" 3<&-"#;
const SHELL: &str = "/bin/sh";

/// It is there in a second; a machine may be busy.
const READY: Duration = Duration::from_secs(60);
const PERIOD: Duration = Duration::from_millis(20);
/// Last lines of the log that are shown when a test fails.
const SHOWN: usize = 60;
const LOG: &str = "server.log";

/// What is started.
pub struct Launch {
    /// For messages: "the server".
    pub name: String,
    /// Where it lies.
    pub program: PathBuf,
    /// After the program's own name.
    pub arguments: Vec<String>,
    /// All that it has besides `PATH`, `HOME` and `TMPDIR`.
    pub environment: Vec<(&'static str, String)>,
}

/// A server and its directory. Dropping it kills it and removes the directory.
pub struct Process {
    child: Child,
    launch: Launch,
    directory: TempDir,
}

/// A directory for one server, beneath `place`: what tests store may be large and `/tmp` may be memory.
pub fn directory_in(place: &Path) -> TempDir {
    tempfile::Builder::new()
        .prefix("run-")
        .tempdir_in(place)
        .unwrap_or_else(|error| panic!("cannot make a directory in {}: {error}", place.display()))
}

impl Process {
    /// Starts it in a directory that is its own.
    ///
    /// # Panics
    ///
    /// Where that cannot be done.
    pub fn start(launch: Launch, directory: TempDir) -> Process {
        let child = spawn(&launch, directory.path());
        Process {
            child,
            launch,
            directory,
        }
    }

    /// Kills it if it runs and starts it again, in the same directory and with the same arguments. Its log goes on.
    pub fn restart(&mut self) {
        self.kill();
        self.child = spawn(&self.launch, self.directory.path());
    }

    /// Waits until it is what it was started for.
    ///
    /// # Panics
    ///
    /// When it ends before or never is, with its log.
    pub fn wait_until(&mut self, what: &str, mut holds: impl FnMut() -> bool) {
        let start = Instant::now();
        while !holds() {
            let ended = self.child.try_wait().ok().flatten();
            assert!(
                ended.is_none() && start.elapsed() < READY,
                "{} does not {what} ({}):\n{}",
                self.launch.name,
                ended.map_or("it is running".to_owned(), |status| status.to_string()),
                self.end_of_log()
            );
            thread::sleep(PERIOD);
        }
    }

    /// What it has said so far.
    pub fn log(&self) -> String {
        let path = self.directory.path().join(LOG);
        fs::read(&path).map_or_else(
            |error| format!("{}: {error}", path.display()),
            |bytes| String::from_utf8_lossy(&bytes).into_owned(),
        )
    }

    /// The last lines of its log, with a heading.
    pub fn end_of_log(&self) -> String {
        let log = self.log();
        let lines: Vec<_> = log.lines().collect();
        let shown = &lines[lines.len().saturating_sub(SHOWN)..];
        let name = &self.launch.name;
        format!("--- end of the log of {name}\n{}\n---", shown.join("\n"))
    }

    /// Kills it at once.
    pub fn kill(&mut self) {
        let group = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        // One that has been waited for is gone, and its number may be another's.
        if let Some(group) = group.filter(|_| !matches!(self.child.try_wait(), Ok(Some(_)))) {
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

fn spawn(launch: &Launch, directory: &Path) -> Child {
    let log = OpenOptions::new()
        .create(true)
        .append(true)
        .open(directory.join(LOG))
        .expect("a directory of one's own takes a file");
    Command::new(SHELL)
        .args(["-c", TIED])
        .arg(&launch.program)
        .args(&launch.arguments)
        .current_dir(directory)
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .env("HOME", directory)
        .env("TMPDIR", directory)
        .envs(launch.environment.iter().map(|(name, value)| (name, value)))
        .process_group(0)
        .stdin(Stdio::piped())
        .stdout(log.try_clone().expect("an open file can be shared"))
        .stderr(log)
        .spawn()
        .unwrap_or_else(|error| panic!("cannot start {}: {error}", launch.program.display()))
}
