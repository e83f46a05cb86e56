//! One activity: a script instead of a runtime.
//!
//! Containers are maps in memory. `run` knows these programs, whatever the path before the name:
//!
//! | Program | What it does |
//! |---|---|
//! | `echo WORDS…` | prints the words |
//! | `date` | prints a date, always the same |
//! | `cat FILE` | prints a file of the container |
//! | `cp FILE FILE` | copies a file of the container and says so |
//! | `fail CODE WORDS…` | prints the words to standard error and ends with that code |
//! | `wait` | goes on until the activity ends |
//! | `pause` | goes on until the test says so, or the activity ends |
//!
//! Each counts as a second of processor time and two of wall time, so that bills can be foretold.

use std::collections::HashMap;
use std::io;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use serde_json::{Value, json};
use sovr_golem::Usage;

use crate::files::has_hash;
use crate::link::{Answering, Link};
use crate::peer::{download, upload};

/// What a program counts as.
const CPU: Duration = Duration::from_secs(1);
const DURATION: Duration = Duration::from_secs(2);
/// Longest that a call for results waits if it does not say how long.
const AT_ONCE: Duration = Duration::ZERO;
/// How often a wait looks whether the listener is still there.
const PERIOD: Duration = Duration::from_secs(1);

pub(super) struct ExeUnit {
    pub(super) id: String,
    pub(super) agreement: String,
    /// `hash:sha3:HASH:address`, or nothing.
    wanted: String,
    inner: Mutex<Inner>,
    changed: Condvar,
}

struct Inner {
    state: &'static str,
    ended: bool,
    batches: HashMap<String, Batch>,
    package: Option<Vec<u8>>,
    files: HashMap<String, Vec<u8>>,
    usage: Usage,
    callers: Vec<String>,
    /// What pauses may go on.
    goes_on: bool,
}

#[derive(Default)]
struct Batch {
    results: Vec<Value>,
    events: Vec<Value>,
    finished: bool,
}

/// How a command went: `Ok` with what it printed, or why not.
#[derive(Default)]
struct Done {
    stdout: Option<String>,
    stderr: Option<String>,
    failure: Option<(i32, String)>,
}

impl Done {
    fn failed(message: impl Into<String>) -> Done {
        Done {
            failure: Some((1, message.into())),
            ..Done::default()
        }
    }
}

impl ExeUnit {
    pub(super) fn new(id: &str, agreement: &str, wanted: String) -> ExeUnit {
        ExeUnit {
            id: id.to_owned(),
            agreement: agreement.to_owned(),
            wanted,
            inner: Mutex::new(Inner {
                state: "Initialized",
                ended: false,
                batches: HashMap::new(),
                package: None,
                files: HashMap::new(),
                usage: Usage::default(),
                callers: Vec::new(),
                goes_on: false,
            }),
            changed: Condvar::new(),
        }
    }

    pub(super) fn state(&self) -> &'static str {
        self.inner().state
    }

    pub(super) fn usage(&self) -> Usage {
        self.inner().usage
    }

    pub(super) fn callers(&self) -> Vec<String> {
        self.inner().callers.clone()
    }

    pub(super) fn file(&self, path: &str) -> Option<Vec<u8>> {
        self.inner().files.get(path).cloned()
    }

    pub(super) fn package(&self) -> Option<Vec<u8>> {
        self.inner().package.clone()
    }

    pub(super) fn has_ended(&self) -> bool {
        self.inner().ended
    }

    /// Ends whatever runs.
    pub(super) fn end(&self) {
        let mut inner = self.inner();
        inner.ended = true;
        inner.state = "Terminated";
        self.changed.notify_all();
    }

    /// Ends the pause there is, or else the next.
    pub(super) fn go_on(&self) {
        self.inner().goes_on = true;
        self.changed.notify_all();
    }

    /// Answers a call that is none of `Exec`.
    pub(super) fn answer(&self, method: &str, body: &Value, reply: Answering<'_>) {
        let batch = body["batchId"].as_str().or(body["batch_id"].as_str());
        let batch = batch.unwrap_or_default();
        match method {
            "GetExecBatchResults" => match self.results(batch, body) {
                Some(results) => reply.ok(&json!(results)),
                None => reply.error(&json!({ "notFound": format!("batch_id = {batch}") })),
            },
            "StreamExecBatchResults" => {
                self.stream(batch, &reply);
                reply.end();
            }
            "GetState" => {
                let state = json!([self.state(), null]);
                reply.ok(&json!({ "state": state, "reason": null, "errorMessage": null }));
            }
            "GetUsage" => reply.ok(&usage(self.usage())),
            "GetRunningCommand" => reply.ok(&json!([])),
            _ => reply.not_found(),
        }
    }

    pub(super) fn called_by(&self, caller: &str) {
        self.inner().callers.push(caller.to_owned());
    }

    /// Takes a batch, which [`ExeUnit::run`] is then to do; none if one is running, which the results say.
    pub(super) fn take(&self, id: &str) -> bool {
        let mut inner = self.inner();
        let busy = inner.batches.values().any(|batch| !batch.finished);
        let mut batch = Batch::default();
        if busy {
            let why = format!(
                "Local service error: State error: Busy: StatePair({0}, Some({0}))",
                inner.state
            );
            batch.add(0, &Done::failed(why), true);
        }
        inner.batches.insert(id.to_owned(), batch);
        self.changed.notify_all();
        !busy
    }

    /// Does a batch; `changed` hears of each new state and of usage.
    pub(super) fn run(&self, id: &str, commands: &[Value], link: &Link, changed: impl Fn()) {
        for (index, command) in commands.iter().enumerate() {
            self.tell(id, index, json!({ "started": { "command": command } }));
            let done = self.command(command, link);
            changed();
            let is_last = index + 1 == commands.len() || done.failure.is_some();
            if let Some(text) = &done.stdout {
                self.tell(id, index, json!({ "stdout": text }));
            }
            if let Some(text) = &done.stderr {
                self.tell(id, index, json!({ "stderr": text }));
            }
            let (code, message) = match &done.failure {
                Some((code, message)) => (*code, json!(message)),
                None => (0, Value::Null),
            };
            self.tell(
                id,
                index,
                json!({ "finished": { "return_code": code, "message": message } }),
            );
            let mut inner = self.inner();
            if inner.ended {
                return;
            }
            if let Some(batch) = inner.batches.get_mut(id) {
                batch.add(index, &done, is_last);
            }
            self.changed.notify_all();
            if is_last {
                return;
            }
        }
        // Without a command there is no last one.
        if let Some(batch) = self.inner().batches.get_mut(id) {
            batch.finished = true;
        }
        self.changed.notify_all();
    }

    fn command(&self, command: &Value, link: &Link) -> Done {
        let Some((name, what)) = command
            .as_object()
            .and_then(|command| command.iter().next())
        else {
            return Done::failed("not a command");
        };
        let state = self.state();
        match (name.as_str(), state) {
            ("deploy", "Initialized") => {
                if let Err(error) = self.fetch_package(link) {
                    return Done::failed(error.to_string());
                }
                self.inner().state = "Deployed";
                let deployed = json!({ "valid": { "Ok": "" }, "vols": [], "startMode": "empty" });
                Done {
                    stdout: Some(deployed.to_string()),
                    ..Done::default()
                }
            }
            ("start", "Deployed") => {
                self.inner().state = "Ready";
                Done::default()
            }
            ("terminate", _) => {
                self.inner().state = "Initialized";
                Done::default()
            }
            ("run", "Ready") => self.program(what),
            ("transfer", "Deployed" | "Ready") => self
                .transfer(what, link)
                .err()
                .map_or_else(Done::default, |error| Done::failed(error.to_string())),
            (_, "Initialized") => Done::failed(
                "Local service error: State error: Activity is initialized - deploy() command is expected now",
            ),
            (_, "Deployed") => Done::failed(
                "Local service error: State error: Activity is deployed - start() command is expected now",
            ),
            _ => Done::failed(
                "Local service error: State error: Cannot send command after a successful start()",
            ),
        }
    }

    fn program(&self, run: &Value) -> Done {
        let mut inner = self.inner();
        inner.usage.cpu += CPU;
        inner.usage.duration += DURATION;
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let program = text(&run["entry_point"]);
        let arguments = run["args"].as_array().into_iter().flatten().map(text);
        let arguments: Vec<_> = arguments.collect();
        // Without a word about it, what programs print is thrown away.
        let kept = |stream: &str, text: String| (!run["capture"][stream].is_null()).then_some(text);
        let name = program.rsplit('/').next().unwrap_or_default();
        match (name, arguments.as_slice()) {
            ("echo", words) => Done {
                stdout: kept("stdout", words.join(" ") + "\n"),
                ..Done::default()
            },
            ("date", []) => Done {
                stdout: kept("stdout", "Sat Nov 21 07:15:29 UTC 2026\n".to_owned()),
                ..Done::default()
            },
            ("cat", [path]) => match inner.files.get(path) {
                Some(content) => Done {
                    stdout: kept("stdout", String::from_utf8_lossy(content).into_owned()),
                    ..Done::default()
                },
                None => Done::failed("ExeScript command exited with code 1"),
            },
            ("cp", [from, to]) => match inner.files.get(from).cloned() {
                Some(content) => {
                    inner.files.insert(to.clone(), content);
                    Done {
                        stdout: kept("stdout", format!("{from} -> {to}\n")),
                        ..Done::default()
                    }
                }
                None => Done::failed("ExeScript command exited with code 1"),
            },
            ("fail", [code, words @ ..]) => {
                let message = format!("ExeScript command exited with code {code}");
                Done {
                    stderr: kept("stderr", words.join(" ") + "\n"),
                    failure: Some((code.parse().unwrap_or(1), message)),
                    ..Done::default()
                }
            }
            ("wait", _) => {
                while !inner.ended {
                    inner = self.wait(inner, PERIOD);
                }
                Done::failed("the activity has ended")
            }
            ("pause", _) => {
                while !inner.ended && !inner.goes_on {
                    inner = self.wait(inner, PERIOD);
                }
                inner.goes_on = false;
                Done::default()
            }
            _ => Done::failed("ExeScript command exited with code 127"),
        }
    }

    /// As the stock provider does it, which checks what it has fetched. Images of virtual machines, which lie on servers
    /// elsewhere, are none of its business.
    fn fetch_package(&self, link: &Link) -> io::Result<()> {
        let package = self.wanted.strip_prefix("hash:sha3:");
        let package = package.and_then(|package| package.split_once(':'));
        let Some((hash, url)) = package.filter(|(_, url)| url.starts_with("gftp:")) else {
            return Ok(());
        };
        let content = download(link, url)?;
        if !has_hash(&content, hash) {
            return Err(io::Error::other(format!(
                "{url} has another hash than {hash}"
            )));
        }
        self.inner().package = Some(content);
        Ok(())
    }

    fn transfer(&self, transfer: &Value, link: &Link) -> io::Result<()> {
        let end = |which: &str| transfer[which].as_str().unwrap_or_default();
        let inside = |url: &str| url.strip_prefix("container:").map(str::to_owned);
        let (from, to) = (end("from"), end("to"));
        match (inside(from), inside(to)) {
            (None, Some(path)) => {
                let content = download(link, from)?;
                self.inner().files.insert(path, content);
                Ok(())
            }
            (Some(path), None) => {
                let content = self.file(&path);
                let content = content.ok_or_else(|| {
                    io::Error::other("IO error: No such file or directory (os error 2)")
                })?;
                upload(link, to, &content)
            }
            _ => Err(io::Error::other("Unsupported scheme")),
        }
    }

    fn tell(&self, batch: &str, index: usize, kind: Value) {
        let timestamp = Timestamp::now().to_string();
        let event = json!({
            "batch_id": batch, "index": index, "timestamp": timestamp.trim_end_matches('Z'), "kind": kind,
        });
        if let Some(batch) = self.inner().batches.get_mut(batch) {
            batch.events.push(event);
        }
        self.changed.notify_all();
    }

    /// Waits for the end of the batch, as long as the call says.
    fn results(&self, batch: &str, body: &Value) -> Option<Vec<Value>> {
        let timeout = body["timeout"].as_f64().map(Duration::from_secs_f64);
        let end = Instant::now() + timeout.unwrap_or(AT_ONCE);
        let mut inner = self.inner();
        loop {
            let found = inner.batches.get(batch)?;
            let left = end.saturating_duration_since(Instant::now());
            if found.finished || inner.ended || left.is_zero() {
                return Some(found.results.clone());
            }
            inner = self.wait(inner, left);
        }
    }

    fn stream(&self, batch: &str, reply: &Answering<'_>) {
        let mut told = 0;
        let mut inner = self.inner();
        loop {
            let Some(found) = inner.batches.get(batch) else {
                return;
            };
            let fresh = found.events[told..].to_vec();
            let is_end = found.finished || inner.ended;
            told += fresh.len();
            drop(inner);
            if !fresh.iter().all(|event| reply.part(event)) || is_end {
                return;
            }
            inner = self.wait(self.inner(), PERIOD);
        }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'a>(&self, inner: MutexGuard<'a, Inner>, longest: Duration) -> MutexGuard<'a, Inner> {
        self.changed
            .wait_timeout(inner, longest)
            .unwrap_or_else(PoisonError::into_inner)
            .0
    }
}

impl Batch {
    fn add(&mut self, index: usize, done: &Done, is_last: bool) {
        let (result, message) = match &done.failure {
            Some((_, message)) => ("Error", Some(message)),
            None => ("Ok", None),
        };
        self.results.push(json!({
            "index": index, "eventDate": Timestamp::now().to_string(), "result": result,
            "stdout": done.stdout, "stderr": done.stderr, "message": message, "isBatchFinished": is_last,
        }));
        self.finished = is_last;
    }
}

/// As the daemon has it, in the order of the offer's usage vector.
pub(super) fn usage(usage: Usage) -> Value {
    json!({
        "currentUsage": [usage.cpu.as_secs_f64(), usage.duration.as_secs_f64()],
        "timestamp": Timestamp::now().as_second(),
    })
}
