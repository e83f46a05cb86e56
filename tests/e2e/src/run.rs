//! One start of the program, and what was seen of it.

use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::watch::{self, Seen};

/// No test lasts longer. Whoever is still there then is killed, and the test fails.
const PATIENCE: Duration = Duration::from_secs(300);

/// A line of standard output and when it came.
#[derive(Debug, Clone)]
pub struct Line {
    /// When it was read.
    pub at: Instant,
    /// Without its end.
    pub text: String,
}

/// A line of `--json`, read.
#[derive(Debug, Clone)]
pub struct Event {
    /// When it was read.
    pub at: Instant,
    /// The object.
    pub json: Value,
}

impl Event {
    /// A text in it; empty if it has none of this name.
    pub fn text(&self, field: &str) -> &str {
        self.json[field].as_str().unwrap_or_default()
    }
}

#[derive(Default)]
struct Lines {
    all: Mutex<Vec<Line>>,
    more: Condvar,
}

/// The program, while it runs. Dropped, it is killed.
pub struct Running {
    child: Child,
    started: Instant,
    patience: Duration,
    lines: Arc<Lines>,
    stdout: Option<JoinHandle<()>>,
    stderr: Option<JoinHandle<String>>,
    watcher: Option<JoinHandle<(Option<Seen>, Vec<Seen>)>>,
}

impl Running {
    /// Starts it with no standard input.
    pub fn start(mut command: Command) -> Running {
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let started = Instant::now();
        let mut child = command
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start {command:?}: {error}"));
        let pid = child.id();
        let watcher = std::thread::spawn(move || watch::watch(pid));

        let lines = Arc::new(Lines::default());
        let (sink, source) = (
            lines.clone(),
            child.stdout.take().expect("standard output is piped"),
        );
        let stdout = std::thread::spawn(move || {
            let mut reader = BufReader::new(source);
            let mut bytes = Vec::new();
            while matches!(reader.read_until(b'\n', &mut bytes), Ok(1..)) {
                let text = String::from_utf8_lossy(&bytes)
                    .trim_end_matches('\n')
                    .to_owned();
                sink.all.lock().unwrap().push(Line {
                    at: Instant::now(),
                    text,
                });
                sink.more.notify_all();
                bytes.clear();
            }
        });
        let mut source = child.stderr.take().expect("standard error is piped");
        let stderr = std::thread::spawn(move || {
            let mut bytes = Vec::new();
            let _ = source.read_to_end(&mut bytes);
            String::from_utf8_lossy(&bytes).into_owned()
        });
        Running {
            child,
            started,
            patience: PATIENCE,
            lines,
            stdout: Some(stdout),
            stderr: Some(stderr),
            watcher: Some(watcher),
        }
    }

    /// At most this long from its start to its end.
    #[must_use]
    pub fn within(mut self, patience: Duration) -> Running {
        self.patience = patience;
        self
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Whether it is gone.
    pub fn has_ended(&mut self) -> bool {
        let status = self.child.try_wait();
        status.expect("the program can be waited for").is_some()
    }

    /// Sends it a signal, if it is still there.
    pub fn signal(&self, signal: Signal) {
        let pid = Pid::from_child(&self.child);
        match kill_process(pid, signal) {
            Ok(()) | Err(rustix::io::Errno::SRCH) => {}
            Err(error) => panic!("cannot send {signal:?} to {pid:?}: {error}"),
        }
    }

    /// Waits until it has a child in a role.
    ///
    /// # Panics
    /// When its time is over before.
    pub fn wait_for_child(&self, role: &str) {
        let wanted = format!("sovr-child {role}");
        while !watch::children_of(self.pid())
            .into_iter()
            .any(|child| watch::command_of(child) == wanted)
        {
            assert!(
                self.started.elapsed() < self.patience,
                "there is no child in the role {role}"
            );
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Waits for an event for which `wanted` holds, and answers it; none if the program ends without it.
    pub fn wait_for(&mut self, wanted: impl Fn(&Value) -> bool) -> Option<Event> {
        let mut next = 0;
        loop {
            let ended = self
                .child
                .try_wait()
                .expect("the program can be waited for")
                .is_some();
            let mut lines = self.lines.all.lock().unwrap();
            while let Some(line) = lines.get(next) {
                next += 1;
                if let Some(event) = event(line).filter(|event| wanted(&event.json)) {
                    return Some(event);
                }
            }
            if ended && self.stdout.as_ref().is_none_or(JoinHandle::is_finished) {
                return None;
            }
            assert!(
                self.started.elapsed() < self.patience,
                "the program does not come to the event, nor to its end"
            );
            lines = self
                .lines
                .more
                .wait_timeout(lines, Duration::from_millis(20))
                .unwrap()
                .0;
            drop(lines);
        }
    }

    /// Waits for its end and that of its children.
    ///
    /// # Panics
    /// When it is still there after its time; it is killed then.
    pub fn wait(mut self) -> Ended {
        let deadline = self.started + self.patience;
        let status = loop {
            if let Some(status) = self
                .child
                .try_wait()
                .expect("the program can be waited for")
            {
                break Some(status);
            }
            if Instant::now() > deadline {
                let _ = self.child.kill();
                break None;
            }
            std::thread::sleep(Duration::from_millis(2));
        };
        // The watcher sees the end before the program is reaped or not at all; both are fine.
        let (parent, children) = join(self.watcher.take());
        join(self.stdout.take());
        let ended = Ended {
            status: status.unwrap_or_default(),
            started: self.started,
            lines: std::mem::take(&mut self.lines.all.lock().unwrap()),
            stderr: join(self.stderr.take()),
            parent,
            children,
        };
        assert!(
            status.is_some(),
            "the program was still there after {:?}\n{ended}",
            self.patience
        );
        ended
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn join<T>(thread: Option<JoinHandle<T>>) -> T {
    thread
        .expect("a thread is joined once")
        .join()
        .expect("the thread did not panic")
}

/// The program after its end.
#[derive(Debug)]
pub struct Ended {
    status: ExitStatus,
    /// When it was started.
    pub started: Instant,
    /// What it printed.
    pub lines: Vec<Line>,
    /// What it told.
    pub stderr: String,
    /// The program's own process.
    pub parent: Option<Seen>,
    /// Its children, in the order in which they were seen.
    pub children: Vec<Seen>,
}

impl Ended {
    /// Its exit code; a signal is 128 and its number, as a shell has it.
    pub fn code(&self) -> i32 {
        self.status
            .code()
            .or_else(|| self.status.signal().map(|signal| 128 + signal))
            .unwrap_or(-1)
    }

    /// Checks the exit code, and shows everything if it is another.
    #[track_caller]
    pub fn expect(self, code: i32) -> Ended {
        assert!(self.code() == code, "expected exit code {code}\n{self}");
        self
    }

    /// Standard output.
    pub fn stdout(&self) -> String {
        self.lines
            .iter()
            .map(|line| format!("{}\n", line.text))
            .collect()
    }

    /// All events.
    pub fn events(&self) -> Vec<Event> {
        self.lines.iter().filter_map(event).collect()
    }

    /// The events of a kind.
    pub fn events_of(&self, kind: &str) -> Vec<Event> {
        self.events()
            .into_iter()
            .filter(|event| event.text("event") == kind)
            .collect()
    }

    /// The first event of a kind.
    #[track_caller]
    pub fn event(&self, kind: &str) -> Event {
        self.events_of(kind)
            .into_iter()
            .next()
            .unwrap_or_else(|| panic!("there is no event {kind:?}\n{self}"))
    }

    /// What happened with Golem work: `what` is the kind, such as `task-started`.
    pub fn golem(&self, what: &str) -> Vec<Event> {
        self.events_of("golem")
            .into_iter()
            .filter(|event| event.text("what") == what)
            .collect()
    }

    /// The report at the end of the run.
    #[track_caller]
    pub fn report(&self) -> Value {
        self.event("finished").json
    }

    /// What the script printed on standard output.
    pub fn script_output(&self) -> String {
        let outputs = self.events_of("output");
        outputs
            .iter()
            .filter(|event| event.text("stream") == "stdout")
            .map(|event| event.text("text"))
            .collect()
    }

    /// The children in a role.
    pub fn children_in_role<'a>(&'a self, role: &'a str) -> impl Iterator<Item = &'a Seen> + 'a {
        self.children
            .iter()
            .filter(move |child| child.command == format!("sovr-child {role}"))
    }

    /// How much the program's peak of memory grew after a time.
    pub fn growth_since(&self, time: Instant) -> u64 {
        self.parent.as_ref().map_or(0, |parent| {
            parent.peak().saturating_sub(parent.peak_at(time))
        })
    }

    /// Checks that no process is left.
    #[track_caller]
    pub fn expect_no_process_left(&self) {
        let left: Vec<_> = self
            .children
            .iter()
            .filter(|child| child.gone.is_none())
            .collect();
        assert!(left.is_empty(), "processes outlived the program: {left:#?}");
    }
}

impl std::fmt::Display for Ended {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        /// Of a flood only the ends are of interest.
        const SHOWN: usize = 100;
        writeln!(f, "exit code: {}", self.code())?;
        writeln!(f, "standard output ({} lines):", self.lines.len())?;
        for (index, line) in self.lines.iter().enumerate() {
            if index < SHOWN || index + SHOWN >= self.lines.len() {
                let at = line.at.duration_since(self.started).as_secs_f64();
                writeln!(
                    f,
                    "  {at:8.3} {}",
                    line.text.chars().take(1000).collect::<String>()
                )?;
            }
        }
        writeln!(f, "standard error:")?;
        let lines: Vec<_> = self.stderr.lines().collect();
        for line in &lines[lines.len().saturating_sub(SHOWN)..] {
            writeln!(f, "  {line}")?;
        }
        Ok(())
    }
}

fn event(line: &Line) -> Option<Event> {
    let json: Value = serde_json::from_str(&line.text).ok()?;
    json.get("event")
        .is_some()
        .then(|| Event { at: line.at, json })
}
