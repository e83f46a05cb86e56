//! What an activity's batches did, for as long as anybody may ask: bounded in batches and in bytes.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::time::Instant;

use super::script::{Capture, Kept, Output, Script, Shown};
use crate::bus::Reply;
use crate::exe_unit;
use crate::failure::{Failure, FailureKind};
use crate::step::{BatchEvent, Command, StepResult};
use crate::yagna::activity::ActivityState;

/// Batches whose results are kept; of older ones nobody can ask any more.
const BATCHES: usize = 32;
/// Bytes that all of them keep together, by rough count. Where it is more, the oldest go.
const KEPT: usize = 16 << 20;
/// What an event or a command counts for beside the text in it.
const PLACE: usize = 512;
/// Bytes of output that the results of one batch keep. What comes after it is left out.
const OUTPUT: usize = 2 << 20;
/// Bytes of output that are kept for those who follow a batch, and how often something was printed.
const LIVE: usize = 1 << 20;
const LIVE_EVENTS: usize = 4096;
/// Longest that a call for results waits, whatever it says.
const LONGEST: Duration = Duration::from_secs(60);

/// The batches of one activity.
pub(super) struct Story {
    inner: Mutex<Inner>,
    changed: watch::Sender<()>,
}

struct Inner {
    batches: VecDeque<Batch>,
    state: ActivityState,
    /// Why it ended, if it ended by itself.
    reason: Option<String>,
}

/// One batch.
struct Batch {
    id: String,
    /// Of each command: what it does to the state, what is shown of it, what is kept.
    commands: Vec<Told>,
    failing: Option<(Shown, String)>,
    results: Vec<Arc<Outcome>>,
    /// Of the last command; told when the next batch may come.
    last: Option<StepResult>,
    events: Vec<Arc<News>>,
    finished: bool,
    /// Bytes of the commands as they are shown, and of the output in results and in events.
    shown: usize,
    output: usize,
    live: usize,
}

/// How a command went, as the requestor is told.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Outcome {
    index: u32,
    event_date: String,
    result: &'static str,
    stdout: Option<Output>,
    stderr: Option<Output>,
    message: Option<String>,
    is_batch_finished: bool,
}

/// What a batch does, as those who follow it are told.
#[derive(Serialize)]
struct News {
    batch_id: String,
    index: u32,
    timestamp: String,
    kind: NewsKind,
}

#[derive(Serialize)]
#[serde(rename_all = "lowercase")]
enum NewsKind {
    Started {
        command: Option<Shown>,
    },
    Stdout(Output),
    Stderr(Output),
    /// A small map.
    Progress(Value),
    Finished {
        return_code: i32,
        message: Option<String>,
    },
}

struct Told {
    shown: Shown,
    after: Option<ActivityState>,
    capture: Capture,
    progress: bool,
}

/// How a batch went.
pub(super) struct Summary {
    /// Commands that were done.
    pub(super) commands: usize,
    pub(super) failure: Option<String>,
}

impl Story {
    pub(super) fn new() -> Self {
        Self {
            inner: Mutex::new(Inner {
                batches: VecDeque::new(),
                state: ActivityState::Initialized,
                reason: None,
            }),
            changed: watch::Sender::new(()),
        }
    }

    /// How the activity is, and why it ended if it ended by itself.
    pub(super) fn state(&self) -> (ActivityState, Option<String>) {
        let inner = self.inner();
        (inner.state, inner.reason.clone())
    }

    /// The activity has ended.
    pub(super) fn end(&self) {
        self.inner().state = ActivityState::Terminated;
        self.changed.send_replace(());
    }

    /// A batch begins. Answers what is to be done; none if a batch of this name was there before.
    pub(super) fn begin(&self, id: &str, script: Script) -> Option<Vec<Command>> {
        let mut commands = Vec::new();
        let mut told = Vec::new();
        let shown = script.entries.iter().map(|entry| entry.shown.len()).sum();
        for entry in script.entries {
            let after = match entry.command {
                Command::Deploy => Some(ActivityState::Deployed),
                Command::Start => Some(ActivityState::Ready),
                Command::Terminate => Some(ActivityState::Initialized),
                Command::Step(_) => None,
            };
            told.push(Told {
                shown: entry.shown,
                after,
                capture: entry.capture,
                progress: entry.progress,
            });
            commands.push(entry.command);
        }
        let begun = self.add(Batch {
            id: id.to_owned(),
            commands: told,
            failing: script.failing,
            results: Vec::new(),
            last: None,
            events: Vec::new(),
            finished: false,
            shown,
            output: 0,
            live: 0,
        });
        begun.then_some(commands)
    }

    /// A batch came while another runs: it has failed at its first command.
    pub(super) fn refuse(&self, id: &str) -> bool {
        let busy = Failure::new(FailureKind::CommandFailed, exe_unit::busy());
        let mut batch = Batch {
            id: id.to_owned(),
            commands: Vec::new(),
            failing: None,
            results: Vec::new(),
            last: None,
            events: Vec::new(),
            finished: true,
            shown: 0,
            output: 0,
            live: 0,
        };
        batch.fail(0, &busy);
        self.add(batch)
    }

    fn add(&self, batch: Batch) -> bool {
        let mut inner = self.inner();
        if inner.batches.iter().any(|known| known.id == batch.id) {
            return false;
        }
        inner.batches.push_back(batch);
        inner.make_room();
        drop(inner);
        self.changed.send_replace(());
        true
    }

    /// Takes in what happens to a batch. At its end, how it went.
    pub(super) fn take(&self, id: &str, event: BatchEvent) -> Option<Summary> {
        let mut inner = self.inner();
        let Inner {
            batches,
            state,
            reason,
        } = &mut *inner;
        // The one that runs came last, or almost.
        let batch = batches.iter_mut().rev().find(|batch| batch.id == id)?;
        let mut summary = None;
        match event {
            BatchEvent::Started(index) => batch.started(index),
            BatchEvent::Stdout(index, text) => {
                let kept = batch.capture(index).stdout;
                batch.printed(index, NewsKind::Stdout, kept, text);
            }
            BatchEvent::Stderr(index, text) => {
                let kept = batch.capture(index).stderr;
                batch.printed(index, NewsKind::Stderr, kept, text);
            }
            BatchEvent::Progress { step, done, total } => batch.moved(step, done, total),
            BatchEvent::Finished(index, result) => {
                let told = batch.commands.get(index as usize);
                if let Some(after) = told.and_then(|told| told.after)
                    && *state != ActivityState::Terminated
                {
                    *state = after;
                }
                let is_last = index as usize + 1 == batch.commands.len();
                match is_last && batch.failing.is_none() {
                    true => batch.last = Some(result),
                    false => batch.succeed(index, &result, false),
                }
            }
            BatchEvent::Ended(ended) => {
                let failure = batch.end(ended);
                if let Some(failure) = &failure
                    && failure.kind == FailureKind::ProviderLost
                    && *state != ActivityState::Terminated
                {
                    *state = ActivityState::Terminated;
                    *reason = Some(failure.reason.clone());
                }
                summary = Some(Summary {
                    commands: batch.results.len() - usize::from(failure.is_some()),
                    failure: failure.map(|failure| failure.reason),
                });
            }
        }
        inner.make_room();
        drop(inner);
        self.changed.send_replace(());
        summary
    }

    /// The results of a batch so far. Waits as long as the call says for its end, or for the end of one command. None
    /// if there is no such batch; nothing inside if that command did not end in time.
    pub(super) async fn results(
        &self,
        id: &str,
        wait: Option<f64>,
        command: Option<u64>,
    ) -> Option<Option<Vec<Arc<Outcome>>>> {
        let wait = wait.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
        let end = Instant::now() + wait.unwrap_or_default().min(LONGEST);
        let mut changed = self.changed.subscribe();
        loop {
            changed.borrow_and_update();
            {
                let inner = self.inner();
                let ended = inner.state == ActivityState::Terminated;
                let batch = inner.batches.iter().find(|batch| batch.id == id)?;
                let late = Instant::now() >= end;
                let over = batch.finished || ended || late;
                match command.map(|index| usize::try_from(index).unwrap_or(usize::MAX)) {
                    None if over => return Some(Some(batch.results.clone())),
                    Some(index) if index < batch.results.len() => {
                        return Some(Some(batch.results[..=index].to_vec()));
                    }
                    Some(_) if batch.finished || ended => return Some(Some(batch.results.clone())),
                    Some(_) if late => return Some(None),
                    _ => {}
                }
            }
            // An error is not possible: the sender is held here.
            let _ = tokio::time::timeout_at(end, changed.changed()).await;
        }
    }

    /// Tells what a batch does until its end.
    pub(super) async fn follow(&self, id: &str, mut reply: Reply) {
        let mut told = 0;
        let mut changed = self.changed.subscribe();
        loop {
            changed.borrow_and_update();
            let (fresh, over) = {
                let inner = self.inner();
                let ended = inner.state == ActivityState::Terminated;
                match inner.batches.iter().find(|batch| batch.id == id) {
                    Some(batch) => {
                        let fresh = batch.events.get(told..).unwrap_or_default().to_vec();
                        (fresh, batch.finished || ended)
                    }
                    None => (Vec::new(), true),
                }
            };
            told += fresh.len();
            for event in &fresh {
                if !reply.part(&**event).await {
                    return;
                }
            }
            if over {
                return reply.end().await;
            }
            let _ = changed.changed().await;
        }
    }

    /// The command that runs, as it was written.
    pub(super) fn running(&self) -> Option<Shown> {
        let inner = self.inner();
        let batch = inner.batches.iter().rev().find(|batch| !batch.finished)?;
        let told = batch.commands.get(batch.results.len())?;
        Some(told.shown.clone())
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    /// Forgets the oldest batches, if there is too much. What runs stays.
    fn make_room(&mut self) {
        let kept = |inner: &Self| inner.batches.iter().map(Batch::weight).sum::<usize>();
        while self.batches.len() > BATCHES || kept(self) > KEPT {
            let newest = self.batches.len().saturating_sub(1);
            let oldest = self.batches.iter().position(|batch| batch.finished);
            match oldest.filter(|oldest| *oldest < newest) {
                Some(oldest) => drop(self.batches.remove(oldest)),
                None => return,
            }
        }
    }
}

impl Batch {
    /// What it keeps, by rough count.
    fn weight(&self) -> usize {
        self.shown
            + self.output.min(OUTPUT)
            + self.live.min(LIVE)
            + PLACE * (self.events.len() + self.commands.len())
    }

    fn capture(&self, index: u32) -> Capture {
        let told = self.commands.get(index as usize);
        told.map(|told| told.capture).unwrap_or_default()
    }

    fn started(&mut self, index: u32) {
        let told = self.commands.get(index as usize);
        let command = told.map(|told| told.shown.clone());
        self.tell(index, NewsKind::Started { command });
    }

    fn printed(
        &mut self,
        index: u32,
        stream: fn(Output) -> NewsKind,
        kept: Option<Kept>,
        text: String,
    ) {
        let Some(kept) = kept.filter(|kept| kept.live) else {
            return;
        };
        self.live += kept.weight(&text);
        if self.live <= LIVE && self.events.len() < LIVE_EVENTS {
            self.tell(index, stream(kept.written(text)));
        }
    }

    fn moved(&mut self, index: u32, done: u64, total: Option<u64>) {
        let wanted = self
            .commands
            .get(index as usize)
            .is_some_and(|told| told.progress);
        if wanted && self.events.len() < LIVE_EVENTS {
            let progress = json!({ "step": [0, 1], "message": null, "progress": [done, total], "unit": "Bytes" });
            self.tell(index, NewsKind::Progress(progress));
        }
    }

    fn succeed(&mut self, index: u32, result: &StepResult, is_last: bool) {
        let capture = self.capture(index);
        let stdout = self.kept(capture.stdout, &result.stdout);
        let stderr = self.kept(capture.stderr, &result.stderr);
        self.finish(index, "Ok", stdout, stderr, None, is_last);
    }

    fn fail(&mut self, index: u32, failure: &Failure) {
        let capture = self.capture(index);
        let stdout = self.kept(capture.stdout, &failure.stdout);
        let stderr = self.kept(capture.stderr, &failure.stderr);
        let message = supervisors_words(&failure.reason);
        self.finish(index, "Error", stdout, stderr, Some(message), true);
    }

    /// The batch is over, and why it failed if it did.
    fn end(&mut self, ended: Result<(), Failure>) -> Option<Failure> {
        let failure = match (ended, self.failing.take()) {
            (Err(failure), _) => Some(failure),
            (Ok(()), Some((shown, why))) => {
                let index = self.commands.len() as u32;
                let command = Some(shown);
                self.tell(index, NewsKind::Started { command });
                Some(Failure::at(index, FailureKind::CommandFailed, why))
            }
            (Ok(()), None) => None,
        };
        match &failure {
            Some(failure) => {
                // What was held back was done, and is not the last one any more.
                if let Some(last) = self.last.take() {
                    self.succeed(self.results.len() as u32, &last, false);
                }
                let index = failure.step.unwrap_or(self.results.len() as u32);
                self.fail(index, failure);
            }
            None => {
                if let Some(last) = self.last.take() {
                    self.succeed(self.results.len() as u32, &last, true);
                }
            }
        }
        self.finished = true;
        failure
    }

    /// What the results keep of a stream.
    fn kept(&mut self, kept: Option<Kept>, text: &str) -> Option<Output> {
        let kept = kept?;
        self.output += kept.weight(text);
        (self.output <= OUTPUT).then(|| kept.keep(text))
    }

    fn finish(
        &mut self,
        index: u32,
        result: &'static str,
        stdout: Option<Output>,
        stderr: Option<Output>,
        message: Option<&str>,
        is_last: bool,
    ) {
        let return_code = match (result, message) {
            ("Ok", _) => 0,
            (_, message) => message.and_then(exit_code).unwrap_or(1),
        };
        let message = message.map(str::to_owned);
        let finished = NewsKind::Finished {
            return_code,
            message: message.clone(),
        };
        self.tell(index, finished);
        self.results.push(Arc::new(Outcome {
            index,
            event_date: Timestamp::now().to_string(),
            result,
            stdout,
            stderr,
            message,
            is_batch_finished: is_last,
        }));
    }

    fn tell(&mut self, index: u32, kind: NewsKind) {
        // Here, and nowhere else, the daemon wants no time zone.
        let timestamp = Timestamp::now().to_string();
        self.events.push(Arc::new(News {
            batch_id: self.id.clone(),
            index,
            timestamp: timestamp.trim_end_matches('Z').to_owned(),
            kind,
        }));
    }
}

const EXITED: &str = "ExeScript command exited with code ";

/// Ours name the program first; those of the stock supervisor, which clients look for, do not.
fn supervisors_words(reason: &str) -> &str {
    match reason.find(EXITED) {
        Some(start) => &reason[start..],
        None => reason,
    }
}

fn exit_code(message: &str) -> Option<i32> {
    message.strip_prefix(EXITED)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::script::{Entry, Kept, Shown};
    use super::*;
    use crate::bus::{Body, encode};
    use crate::step::Step;

    /// A program that prints on both streams.
    fn program(how: &Value) -> Script {
        let body = Body::read(&encode(how).unwrap()).unwrap();
        let kept = Kept::read(&body);
        let command = Command::Step(Step::Run {
            program: "flood".to_owned(),
            args: Vec::new(),
        });
        Script {
            entries: vec![Entry {
                shown: Shown::new("run", &body),
                command,
                capture: Capture {
                    stdout: kept,
                    stderr: kept,
                },
                progress: false,
            }],
            failing: None,
        }
    }

    #[tokio::test]
    async fn many_batches_that_print_much_do_not_fill_the_memory() {
        let text = "x".repeat(64 << 10);
        for format in ["str", "bin"] {
            let story = Story::new();
            let how = json!({ "stream": { "format": format } });
            let mut most = 0;
            for number in 0..40 {
                let id = number.to_string();
                story.begin(&id, program(&how)).unwrap();
                story.take(&id, BatchEvent::Started(0));
                for _ in 0..20 {
                    story.take(&id, BatchEvent::Stdout(0, text.clone()));
                }
                let printed = StepResult {
                    stdout: text.clone(),
                    stderr: text.clone(),
                    ..StepResult::default()
                };
                story.take(&id, BatchEvent::Finished(0, printed));
                story.take(&id, BatchEvent::Ended(Ok(())));
                most = most.max(bytes(&story));
            }
            assert!((KEPT / 8..=KEPT).contains(&most), "{format}: {most}");
            // Of the last one everything is there.
            let results = story.results("39", None, None).await.unwrap().unwrap();
            let written = serde_json::to_value(&*results[0]).unwrap();
            let expected = match format {
                "bin" => json!(text.as_bytes()),
                _ => json!(text),
            };
            assert_eq!(written["stdout"], expected);
            assert_eq!(written["isBatchFinished"], true);
            assert!(story.results("0", None, None).await.is_none());
        }
    }

    /// Bytes of the texts that are kept.
    fn bytes(story: &Story) -> usize {
        let inner = story.inner();
        let length = |output: &Output| output.len();
        let batches = inner.batches.iter().map(|batch| {
            let results = batch.results.iter().flat_map(|outcome| {
                let streams = [&outcome.stdout, &outcome.stderr];
                streams.into_iter().flatten().map(length)
            });
            let events = batch.events.iter().map(|news| match &news.kind {
                NewsKind::Stdout(output) | NewsKind::Stderr(output) => length(output),
                _ => 0,
            });
            results.chain(events).sum::<usize>()
        });
        batches.sum()
    }

    #[test]
    fn what_runs_is_not_forgotten() {
        let story = Story::new();
        let how = json!({ "stream": {} });
        story.begin("runs", program(&how)).unwrap();
        for number in 0..2 * BATCHES {
            assert!(story.refuse(&number.to_string()));
        }
        let summary = story.take("runs", BatchEvent::Ended(Ok(())));
        assert!(summary.is_some());
        assert_eq!(story.inner().batches.len(), BATCHES);
    }
}
