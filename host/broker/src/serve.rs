//! The conversation with a runner, from its start to the end of its process.

use std::collections::BTreeMap;
use std::io;
use std::time::Duration;

use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use sovr_capability::Untrusted;
use sovr_runtime::bindings::log::Level as WireLevel;
use sovr_runtime::run::{End, Event as RunEvent, Runner, Violation};
use sovr_runtime::wire::{BarChange as WireBar, Note};

use crate::calls::Desk;
use crate::event::{BarChange, Event, Level, Stream};
use crate::interrupt::Interrupt;
use crate::run_log::RunLog;

/// How long ending remote work may take after Ctrl-C, as far as a user is told.
const PATIENCE: Duration = Duration::from_secs(30);

/// Most bars of one run that are told about.
const MOST_BARS: usize = 256;

/// What a served run came to.
#[derive(Debug)]
pub(crate) struct Served {
    /// How the script ended; none if its process went away without a word.
    pub(crate) end: Option<End>,
    /// Why the audit log could not be written any more, which ended the run.
    pub(crate) audit: Option<io::Error>,
}

/// Serves the calls of a runner until it is gone, and ends what its script left open.
///
/// All calls are served in this one task, as many at a time as the runner may make. What blocks is done elsewhere.
pub(crate) async fn serve(
    mut runner: Runner,
    desk: &Desk,
    mut log: RunLog,
    mut interrupt: Interrupt,
) -> Served {
    let control = runner.control();
    let mut calls = FuturesUnordered::new();
    let mut endings = FuturesUnordered::new();
    let mut bars = Bars::default();
    let mut audit = None;
    let mut interrupted = false;
    let end = loop {
        tokio::select! {
            event = runner.next() => match event {
                Some(RunEvent::Ready) => {}
                Some(RunEvent::Call { id, call }) => {
                    if let Some(handle) = desk.never_given(&call) {
                        control.condemn(Violation::UnknownHandle(handle));
                        continue;
                    }
                    let control = control.clone();
                    calls.push(async move {
                        let result = desk.serve(call).await;
                        // Somebody waits for this call: it was counted when it came and is answered once.
                        let _ = control.answer(id, result).await;
                    });
                }
                Some(RunEvent::Note(note)) => {
                    if let Some(ending) = desk.let_go(&note) {
                        endings.push(ending);
                    }
                    tell(desk, &mut log, &mut bars, note);
                }
                Some(RunEvent::End(end)) => break Some(end),
                None => break None,
            },
            Some(()) = calls.next() => {}
            Some(()) = endings.next() => {}
            () = interrupt.asked(), if !interrupted => {
                interrupted = true;
                desk.observer.observe(&Event::Cancelling { within: PATIENCE });
                control.cancel();
            }
            error = desk.gate.failed() => {
                audit.get_or_insert(error);
                control.kill();
            }
        }
    };
    // Nobody waits for these any more. Dropping them writes their last audit line; what they had begun is an open
    // object or ends with them.
    drop(calls);
    let left = desk.objects.take_all();
    futures::future::join_all(left.iter().map(|object| object.end())).await;
    drop(left);
    while endings.next().await.is_some() {}
    // A provider that was being rented when its call was dropped is let go of by a task of its own.
    desk.objects.over().await;
    Served { end, audit }
}

fn tell(desk: &Desk, log: &mut RunLog, bars: &mut Bars, note: Note) {
    let event = match note {
        Note::Stdout(bytes) => Event::Output {
            stream: Stream::Stdout,
            text: text(&bytes),
        },
        Note::Stderr(bytes) => Event::Output {
            stream: Stream::Stderr,
            text: text(&bytes),
        },
        Note::Log {
            level,
            message,
            fields,
        } => {
            let level = self::level(level);
            log.write(level, &message, &fields);
            Event::Log { level, message }
        }
        Note::LogDropped { lines } => {
            log.dropped(lines);
            return;
        }
        Note::Bar { bar, change } => match bars.change(bar, change) {
            Some(change) => Event::Bar { bar, change },
            None => return,
        },
        Note::DropExecutor(_) | Note::DropActivity(_) => return,
    };
    desk.observer.observe(&event);
}

fn text(bytes: &[u8]) -> Untrusted {
    Untrusted::new(String::from_utf8_lossy(bytes))
}

fn level(level: WireLevel) -> Level {
    match level {
        WireLevel::Trace => Level::Trace,
        WireLevel::Debug => Level::Debug,
        WireLevel::Info => Level::Info,
        WireLevel::Warn => Level::Warn,
        WireLevel::Error => Level::Error,
    }
}

/// Where each bar stands. A runner says positions, because it leaves some out; a watcher is told steps.
#[derive(Debug, Default)]
struct Bars(BTreeMap<u64, u64>);

impl Bars {
    /// What to tell; nothing for a bar that was never opened, or one too many.
    fn change(&mut self, bar: u64, change: WireBar) -> Option<BarChange> {
        if let WireBar::Opened { label, total } = change {
            if self.0.len() >= MOST_BARS || self.0.insert(bar, 0).is_some() {
                return None;
            }
            return Some(BarChange::Opened { label, total });
        }
        let position = self.0.get_mut(&bar)?;
        Some(match change {
            WireBar::Position(to) => {
                let by = to.saturating_sub(*position);
                *position = to.max(*position);
                BarChange::Advanced { by }
            }
            WireBar::Message(text) => BarChange::Message { text },
            WireBar::Finished => BarChange::Finished,
            WireBar::Dropped | WireBar::Opened { .. } => BarChange::Dropped,
        })
    }
}
