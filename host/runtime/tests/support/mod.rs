//! What the tests of the runner share: a pod to run in, and a way to see a run to its end.

use std::fs::{self, File};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use sovr_capability::{Limits, Size, Span};
use sovr_runtime::bindings::errors::Error;
use sovr_runtime::bindings::pod::Identity;
use sovr_runtime::run::{End, Event, RunRequest, Runner};
use sovr_runtime::wire::{Call, Directories, Note, Reply};

/// Longer than any test should take on a loaded machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// How late after its deadline a process may be gone. It takes a few milliseconds, but the machine that runs tests has
/// other things to do; whether it is gone in time at all is what the tests ask.
pub(crate) const LATE: Duration = Duration::from_millis(1500);

/// A pod's directories, removed at the end.
pub(crate) struct Pod {
    root: tempfile::TempDir,
}

impl Pod {
    pub(crate) fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        for name in ["payload", "script", "output", "logs", "tmp"] {
            fs::create_dir(root.path().join(name)).unwrap();
        }
        Self { root }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    /// A request to run `code` here, as the compile cache would hand it out.
    pub(crate) fn request(&self, code: &[u8], limits: Limits) -> RunRequest {
        let path = self.path("code");
        fs::write(&path, code).unwrap();
        RunRequest {
            code: File::open(path).unwrap(),
            directories: Directories {
                payload: Some(self.path("payload")),
                script: Some(self.path("script")),
                output: self.path("output"),
                logs: self.path("logs"),
                tmp: self.path("tmp"),
            },
            args: vec!["guest".into()],
            env: Vec::new(),
            identity: Identity {
                name: "test".into(),
                version: String::new(),
                author: String::new(),
                description: String::new(),
            },
            grants: "{}".into(),
            limits,
        }
    }
}

pub(crate) fn limits() -> Limits {
    Limits {
        memory: Size::mib(64),
        time: Span::seconds(20),
        output: Size::mib(8),
        files: 100,
        log: Size::kib(64),
    }
}

/// Everything a run said.
#[derive(Debug)]
pub(crate) struct Told {
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    /// Other notes.
    pub(crate) notes: Vec<Note>,
    pub(crate) calls: Vec<Call>,
    pub(crate) end: End,
    /// From the event that it was ready to the end.
    pub(crate) took: Duration,
}

/// Takes what a run says to its end, answering calls by `answer`.
pub(crate) async fn see_to_the_end(
    runner: &mut Runner,
    mut answer: impl FnMut(&Call) -> Option<Result<Reply, Error>>,
) -> Told {
    let control = runner.control();
    let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
    let (mut notes, mut calls) = (Vec::new(), Vec::new());
    let mut started = Instant::now();
    loop {
        match runner.next().await.expect("an end comes before nothing") {
            Event::Ready => started = Instant::now(),
            Event::Call { id, call } => {
                if let Some(result) = answer(&call) {
                    control.answer(id, result).await.expect("the call waits");
                }
                calls.push(call);
            }
            Event::Note(Note::Stdout(bytes)) => stdout.extend(bytes),
            Event::Note(Note::Stderr(bytes)) => stderr.extend(bytes),
            Event::Note(note) => notes.push(note),
            Event::End(end) => {
                let text = |bytes| String::from_utf8(bytes).expect("output is made text");
                assert!(
                    !is_alive(runner.id()),
                    "the process is gone when the end is told"
                );
                return Told {
                    stdout: text(stdout),
                    stderr: text(stderr),
                    notes,
                    calls,
                    end,
                    took: started.elapsed(),
                };
            }
        }
    }
}

/// For runs in which no call is expected.
pub(crate) fn no_call(call: &Call) -> Option<Result<Reply, Error>> {
    panic!("unexpected call: {call:?}")
}

pub(crate) fn is_alive(process: u32) -> bool {
    fs::exists(format!("/proc/{process}")).unwrap()
}

/// Runs a test's future as a program of ours would: on more than one thread.
pub(crate) fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap()
        .block_on(future)
}
