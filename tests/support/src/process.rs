//! One running server of others: its directory, its log, and that it never outlives the test.
//!
//! A test program can end without dropping anything (a signal, `exit`, a static), so the server hangs on a pipe: a
//! shell beside it reads from the test program and kills the group when that is gone. Rejected: the kernel's
//! `PR_SET_PDEATHSIG`, which fires when the starting *thread* ends, and each test has a thread of its own.

use std::fs::{self, OpenOptions};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::param::clock_ticks_per_second;
use rustix::process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open};
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

    /// Waits for its end, so long at most; then it is killed.
    ///
    /// # Panics
    ///
    /// Where its end cannot be waited for.
    pub fn finish(&mut self, within: Duration) -> Ended {
        let pid = Pid::from_child(&self.child);
        let handle = pidfd_open(pid, PidfdFlags::empty()).expect("a child has a handle");
        let limit = Timespec::try_from(within).expect("a test waits for minutes");
        let mut ends = [PollFd::new(&handle, PollFlags::IN)];
        let in_time = poll(&mut ends, Some(&limit)).expect("a handle can be waited for") > 0;
        if !in_time {
            self.kill();
            return Ended::default();
        }
        // Until it is waited for, the kernel has its account.
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.child.id()));
        let (cpu, cpu_of_children) = stat.ok().and_then(|stat| times(&stat)).unwrap_or_default();
        Ended {
            status: self.child.wait().ok(),
            cpu,
            cpu_of_children,
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

/// How a process ended.
#[derive(Debug, Default)]
pub struct Ended {
    /// None where it did not end in time.
    pub status: Option<ExitStatus>,
    /// Processor time of its own, to a hundredth of a second.
    pub cpu: Duration,
    /// That of programs which it started and waited for.
    pub cpu_of_children: Duration,
}

/// Of the process itself and of its children, from a line of `/proc/PID/stat`.
fn times(stat: &str) -> Option<(Duration, Duration)> {
    // After the name, which may hold anything: state is the first field, processor times the twelfth and on.
    let (_, fields) = stat.rsplit_once(") ")?;
    let ticks = fields.split(' ').skip(11).take(4);
    let ticks: Vec<u64> = ticks
        .map(|ticks| ticks.parse().ok())
        .collect::<Option<_>>()?;
    let [user, system, user_of_children, system_of_children] = ticks[..] else {
        return None;
    };
    let time = |ticks: u64| Duration::from_secs_f64(ticks as f64 / clock_ticks_per_second() as f64);
    Some((
        time(user + system),
        time(user_of_children + system_of_children),
    ))
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
