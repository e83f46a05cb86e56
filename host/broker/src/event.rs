//! What happens during a run, told to whoever watches: the progress display, `--json`, a test.
//!
//! Events are calls, not a queue: nothing piles up when the watcher is slow, the run waits for it instead.

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use sovr_capability::{Amount, Untrusted};
use sovr_protocol::Gathered;
use sovr_protocol::event::Direction;

use crate::report::Report;

/// Something that wants to know. Called from the run's own task: answer quickly, never block on the run.
pub trait Observer: Send + Sync {
    /// One event, in the order things happen.
    fn observe(&self, event: &Event);
}

/// An observer of a run, told of the files that move for it.
pub(crate) struct Forwarded(pub(crate) Arc<dyn Observer>);

impl sovr_protocol::Observer for Forwarded {
    fn observe(&self, event: &sovr_protocol::Event) {
        use sovr_protocol::Event as Moved;
        let (direction, what, bytes, total, phase) = match event {
            Moved::Transferred {
                direction,
                what,
                bytes,
                total,
            } => (*direction, what, bytes, *total, Phase::Moving),
            Moved::Storing { what, bytes } => {
                (Direction::Up, what, bytes, Some(*bytes), Phase::Storing)
            }
            Moved::Complete {
                direction,
                what,
                bytes,
            } => (*direction, what, bytes, Some(*bytes), Phase::Complete),
            Moved::Broken {
                direction,
                what,
                bytes,
            } => (*direction, what, bytes, None, Phase::Broken),
            _ => return,
        };
        self.0.observe(&Event::Transfer {
            direction,
            what: what.clone(),
            bytes: *bytes,
            total,
            complete: phase == Phase::Complete,
            phase,
        });
    }
}

/// One thing that happened. In JSON: an object with `event` and the fields of the variant; times are seconds, amounts
/// decimal strings in GLM.
#[derive(Debug, Clone, Serialize)]
#[serde(
    tag = "event",
    rename_all = "kebab-case",
    rename_all_fields = "kebab-case"
)]
#[non_exhaustive]
pub enum Event {
    /// A file moves between storage and this machine.
    Transfer {
        /// Which way.
        direction: Direction,
        /// What, in a few words that are safe to show.
        what: String,
        /// Bytes so far.
        bytes: u64,
        /// Bytes in all, where that is known.
        total: Option<u64>,
        /// Whether that was all.
        complete: bool,
        /// How far it is.
        phase: Phase,
    },
    /// `payload/external` is laid out.
    Supplied(Gathered),
    /// The component's native code is not in the cache and is being made.
    Compiling {
        /// The component's path in the pod.
        component: String,
        /// Bytes of wasm.
        size: u64,
    },
    /// Everything is ready; the script begins.
    Started {
        /// The run's id, which `sovr-host audit` takes.
        run: String,
        /// The pod's name.
        pod: Untrusted,
        /// Most money the run may spend; none without `golem`.
        budget: Option<Amount>,
    },
    /// A wall that this machine lacks, or another thing the user should know once.
    Notice {
        /// One sentence.
        text: String,
    },
    /// Text the script printed.
    Output {
        /// Where it went.
        stream: Stream,
        /// Not yet neutralised.
        text: Untrusted,
    },
    /// A line the script logged. All go to the run's log; the watcher decides which to show.
    Log {
        /// trace, debug, info, warn or error.
        level: Level,
        /// The message.
        message: Untrusted,
    },
    /// A bar that the script draws.
    Bar {
        /// Numbered from 0 in the order of creation.
        bar: u64,
        /// What happened to it.
        change: BarChange,
    },
    /// Golem work.
    Golem {
        /// Which job of this run, from 0.
        job: u64,
        /// What happened.
        #[serde(flatten)]
        what: sovr_golem::Event,
    },
    /// A call was refused; repeated refusals of the same capability are told once and counted in the report.
    Denied {
        /// The refusal.
        denial: sovr_capability::Denial,
    },
    /// A file was copied for the script.
    Copied {
        /// From where, as the script named it.
        source: Untrusted,
        /// To where.
        destination: Untrusted,
        /// Bytes.
        bytes: u64,
    },
    /// The user asked to stop; remote work is being ended.
    Cancelling {
        /// At most this long.
        #[serde(serialize_with = "sovr_capability::units::as_seconds")]
        within: Duration,
    },
    /// The run is over.
    Finished(Box<Report>),
}

/// How far a file on its way is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// Bytes move.
    Moving,
    /// All are sent, and storage has not said yet that it has them for good.
    Storing,
    /// It is where it was to go.
    Complete,
    /// It was given up.
    Broken,
}

/// A standard stream of the script.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stream {
    /// Results.
    Stdout,
    /// Talk.
    Stderr,
}

/// How serious a log line is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Level {
    /// Finest detail.
    Trace,
    /// For who looks for a fault.
    Debug,
    /// Normal course.
    Info,
    /// Something is odd.
    Warn,
    /// Something failed.
    Error,
}

/// What happened to a bar.
#[derive(Debug, Clone, Serialize)]
#[serde(
    tag = "change",
    rename_all = "kebab-case",
    rename_all_fields = "kebab-case"
)]
pub enum BarChange {
    /// A new bar.
    Opened {
        /// Its label.
        label: Untrusted,
        /// Its end, if known.
        total: Option<u64>,
    },
    /// It moved on.
    Advanced {
        /// By this much.
        by: u64,
    },
    /// The text beside it changed.
    Message {
        /// The text.
        text: Untrusted,
    },
    /// It is complete.
    Finished,
    /// It was dropped before its end.
    Dropped,
}
