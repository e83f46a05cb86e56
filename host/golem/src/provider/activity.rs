//! One activity: an exe-unit with a directory of its own, called by its requestor over the bus.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde_json::{Value, json};
use sovr_capability::Untrusted;
use tokio::sync::{Notify, OwnedMutexGuard, Semaphore, watch};
use tokio::time::Instant;

use super::event::{Event, Observer};
use super::script::{self, Files, Script};
use super::story::Story;
use crate::blocking::blocking;
use crate::bus::gftp::Location;
use crate::bus::{Body, Line, Reply};
use crate::demand::WasiPackage;
use crate::exe_unit::runtime::Runtime;
use crate::exe_unit::scratch::Directory;
use crate::exe_unit::{Ending, ExeUnit, Limits};
use crate::network::NodeId;
use crate::price::Usage;
use crate::step::Command;
use crate::yagna::activity::ActivityState;

/// A batch that was told to end is waited for at most this long. It cannot commit anything after that either.
const END: Duration = Duration::from_secs(10);
/// Calls of one activity that are served at a time: its requestor cannot use up those of others.
const CALLS: usize = 16;
/// How long results wait for the daemon to know the state that they led to.
const KNOWN: Duration = Duration::from_secs(5);
/// Longest name of a batch.
const BATCH_ID: usize = 64;
/// Longest body of a call. Files come another way.
const BODY: usize = 1 << 20;

/// What is to be started.
pub(super) struct Start<'a> {
    pub(super) id: &'a str,
    pub(super) requestor: &'a NodeId,
    pub(super) package: Location,
    pub(super) limits: Limits,
    pub(super) scratch: &'a std::path::Path,
    /// Told when the activity is something else than before.
    pub(super) changed: &'a Arc<Notify>,
}

/// An activity.
pub(super) struct Activity {
    pub(super) id: String,
    requestor: NodeId,
    story: Story,
    files: Files,
    /// Stops transfers.
    stop: watch::Sender<bool>,
    ending: Ending,
    begun: Instant,
    ended: Mutex<Option<Instant>>,
    calls: Semaphore,
    /// Locked by the batch that runs; none once ended.
    unit: Arc<tokio::sync::Mutex<Option<Unit>>>,
    /// Told when it is something else than before.
    changed: Arc<Notify>,
    /// What the daemon takes it to be.
    told: watch::Sender<Option<ActivityState>>,
    observer: Arc<dyn Observer>,
}

/// What a call asks for.
enum Asked {
    Exec {
        batch: String,
        script: Script,
    },
    Results {
        batch: String,
        /// Seconds.
        wait: Option<f64>,
        command: Option<u64>,
    },
    Follow {
        batch: String,
    },
    State,
    Usage,
    Running,
    /// Something newer than this program.
    Other,
}

/// The exe-unit with what it occupies.
struct Unit {
    unit: ExeUnit,
    directory: Directory,
}

impl Activity {
    /// Makes it ready for its first batch.
    ///
    /// # Errors
    /// If there is no place for its files.
    pub(super) fn start(
        start: Start<'_>,
        line: &Arc<Line>,
        runtime: &Arc<dyn Runtime>,
        observer: &Arc<dyn Observer>,
    ) -> std::io::Result<Self> {
        let directory = Directory::create(start.scratch)?;
        let stop = watch::Sender::new(false);
        let files = Files {
            line: Arc::clone(line),
            stop: stop.subscribe(),
        };
        let package = WasiPackage {
            archive: files.remote(start.package),
            digest: None,
            url: None,
        };
        let (unit, ending) =
            ExeUnit::new(Arc::clone(runtime), package, start.limits, directory.path());
        Ok(Self {
            id: start.id.to_owned(),
            requestor: start.requestor.clone(),
            story: Story::new(),
            files,
            stop,
            ending,
            begun: Instant::now(),
            ended: Mutex::new(None),
            calls: Semaphore::new(CALLS),
            unit: Arc::new(tokio::sync::Mutex::new(Some(Unit { unit, directory }))),
            changed: Arc::clone(start.changed),
            told: watch::Sender::new(None),
            observer: Arc::clone(observer),
        })
    }

    /// How it is, and why it ended if it ended by itself.
    pub(super) fn state(&self) -> (ActivityState, Option<String>) {
        self.story.state()
    }

    /// The daemon knows that it is in this state.
    pub(super) fn told(&self, state: ActivityState) {
        self.told.send_replace(Some(state));
    }

    /// Waits until the daemon knows its state. A requestor that hears of a batch's end asks the daemon next, and
    /// golem-js gives up where the answer is an older one.
    async fn known(&self) {
        let mut told = self.told.subscribe();
        let known = told.wait_for(|told| *told == Some(self.state().0));
        // Without an answer of the daemon, the results are worth more than their order.
        let _ = tokio::time::timeout(KNOWN, known).await;
    }

    /// What it has used, in whole milliseconds: what is reported is what is billed.
    pub(super) fn usage(&self) -> Usage {
        let ended = *self.ended.lock().unwrap_or_else(PoisonError::into_inner);
        let whole = |time: Duration| {
            Duration::from_millis(u64::try_from(time.as_millis()).unwrap_or(u64::MAX))
        };
        Usage {
            cpu: whole(self.ending.cpu()),
            duration: whole(ended.unwrap_or_else(Instant::now) - self.begun),
        }
    }

    /// Ends what runs, and frees what is occupied.
    pub(super) async fn end(&self) {
        self.stop.send_replace(true);
        let ending = self.ending.clone();
        // It waits for a file that is being shown at this moment.
        blocking(move || ending.end()).await;
        self.ended
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get_or_insert_with(Instant::now);
        if let Ok(mut unit) = tokio::time::timeout(END, self.unit.lock()).await
            && let Some(unit) = unit.take()
        {
            remove(unit).await;
        }
        self.story.end();
    }

    /// Answers a call.
    pub(super) async fn call(
        self: Arc<Self>,
        caller: &str,
        method: &str,
        body: Vec<u8>,
        reply: Reply,
    ) {
        if !self.is_requestor(caller) {
            self.observer.observe(&Event::CallerRefused {
                activity: self.id.clone(),
                caller: Untrusted::new(caller),
            });
            let words = "only the requestor of the agreement may call this activity";
            return reply.error(&json!({ "forbidden": words })).await;
        }
        let Ok(_turn) = self.calls.try_acquire() else {
            let words = format!("at most {CALLS} calls of an activity at a time");
            return reply.error(&json!({ "usageLimitExceeded": words })).await;
        };
        // From here on nothing of the body is held but what is asked for: an answer may be a minute away.
        let asked = self.read(method, body);
        match asked {
            Ok(Asked::Exec { batch, script }) => match self.exec(&batch, script) {
                Ok(()) => reply.ok(&batch).await,
                Err(why) => reply.error(&json!({ "badRequest": why })).await,
            },
            Ok(Asked::Results {
                batch,
                wait,
                command,
            }) => match self.story.results(&batch, wait, command).await {
                Some(Some(results)) => {
                    self.known().await;
                    let results: Vec<_> = results.iter().map(AsRef::as_ref).collect();
                    reply.ok(&results).await;
                }
                Some(None) => reply.error(&"timeout").await,
                None => {
                    let words = format!("batch_id = {batch}");
                    reply.error(&json!({ "notFound": words })).await;
                }
            },
            Ok(Asked::Follow { batch }) => self.story.follow(&batch, reply).await,
            Ok(Asked::State) => {
                let (state, reason) = self.state();
                let state = json!([state.name(), null]);
                let answer = json!({ "state": state, "reason": reason, "errorMessage": null });
                reply.ok(&answer).await;
            }
            Ok(Asked::Usage) => reply.ok(&written(self.usage())).await,
            Ok(Asked::Running) => {
                let running: Vec<_> = self.story.running().into_iter().collect();
                reply.ok(&running).await;
            }
            Ok(Asked::Other) => reply.not_found().await,
            Err(why) => reply.error(&json!({ "badRequest": why })).await,
        }
    }

    fn read(&self, method: &str, body: Vec<u8>) -> Result<Asked, String> {
        if body.len() > BODY {
            return Err(format!("a call has at most {BODY} bytes"));
        }
        let body = Body::read(&body).map_err(|error| error.to_string())?;
        let name = |name: &str| body.get(name).and_then(Body::as_text);
        // In the body of one call the name is written in the other way.
        let batch = name("batchId").or(name("batch_id")).unwrap_or_default();
        let batch: String = batch.chars().take(BATCH_ID + 1).collect();
        Ok(match method {
            "Exec" => {
                let script = body.get("exeScript").ok_or("exeScript is missing")?;
                let script = script::read(script, &self.files)?;
                Asked::Exec { batch, script }
            }
            "GetExecBatchResults" => Asked::Results {
                batch,
                wait: body.get("timeout").and_then(Body::as_f64),
                command: body.get("commandIndex").and_then(Body::as_u64),
            },
            "StreamExecBatchResults" => Asked::Follow { batch },
            "GetState" => Asked::State,
            "GetUsage" => Asked::Usage,
            "GetRunningCommand" => Asked::Running,
            _ => Asked::Other,
        })
    }

    /// The bus names nodes by the address they are called at: `/net/0x…`, or bare.
    fn is_requestor(&self, caller: &str) -> bool {
        let bare = caller.strip_prefix("/net/").unwrap_or(caller);
        bare.parse() == Ok(self.requestor.clone())
    }

    fn exec(self: &Arc<Self>, batch: &str, script: Script) -> Result<(), String> {
        if batch.is_empty() || batch.len() > BATCH_ID {
            return Err("batchId is no name of a batch".to_owned());
        }
        let taken = || format!("there is a batch {batch} already");
        let Ok(guard) = Arc::clone(&self.unit).try_lock_owned() else {
            return match self.story.refuse(batch) {
                true => Ok(()),
                false => Err(taken()),
            };
        };
        if guard.is_none() || self.ending.has_ended() {
            return Err("the activity is terminated".to_owned());
        }
        self.begin(guard, batch, script).ok_or_else(taken)
    }

    fn begin(
        self: &Arc<Self>,
        guard: OwnedMutexGuard<Option<Unit>>,
        batch: &str,
        script: Script,
    ) -> Option<()> {
        let commands = self.story.begin(batch, script)?;
        let (sender, mut events) = ExeUnit::events();
        let this = Arc::clone(self);
        let batch = batch.to_owned();
        tokio::spawn(async move {
            while let Some(event) = events.recv().await {
                let before = this.state();
                let summary = this.story.take(&batch, event);
                if this.state() != before {
                    this.changed.notify_one();
                }
                if let Some(summary) = summary {
                    this.observer.observe(&Event::BatchEnded {
                        activity: this.id.clone(),
                        commands: summary.commands,
                        failure: summary.failure.map(Untrusted::new),
                    });
                }
            }
        });
        tokio::spawn(run(guard, self.ending.clone(), commands, sender));
        Some(())
    }
}

/// Runs a batch; the guard keeps others out.
async fn run(
    mut guard: OwnedMutexGuard<Option<Unit>>,
    ending: Ending,
    commands: Vec<Command>,
    events: tokio::sync::mpsc::Sender<crate::step::BatchEvent>,
) {
    let end = match guard.as_mut() {
        Some(unit) => unit.unit.run(commands, events).await,
        None => None,
    };
    if ending.has_ended()
        && let Some(unit) = guard.take()
    {
        remove(unit).await;
    }
    // Who hears the end may send the next batch at once.
    drop(guard);
    if let Some(end) = end {
        end.tell();
    }
}

/// Removes the activity's files, which may be many.
async fn remove(unit: Unit) {
    let Unit { unit, directory } = unit;
    drop(unit);
    // What cannot be removed stays in the scratch directory; nobody reads it.
    let _ = blocking(move || directory.remove()).await;
}

/// As the daemon has it, in the order of the offer's usage vector.
pub(super) fn written(usage: Usage) -> Value {
    json!({
        "currentUsage": vector(usage),
        "timestamp": jiff::Timestamp::now().as_second(),
    })
}

/// In the order of the offer's usage vector.
pub(super) fn vector(usage: Usage) -> [f64; 2] {
    [usage.cpu.as_secs_f64(), usage.duration.as_secs_f64()]
}
