//! What goes on while files move.

use serde::Serialize;

/// Something that wants to know. Called often: answer quickly.
pub trait Observer: Send + Sync {
    /// One event.
    fn observe(&self, event: &Event);
}

/// An observer that looks away.
#[derive(Debug, Default, Clone, Copy)]
pub struct Unobserved;

impl Observer for Unobserved {
    fn observe(&self, _: &Event) {}
}

/// One thing that goes on. In JSON: an object with `event` and the fields of the variant.
#[derive(Debug, Clone, Serialize)]
#[serde(
    tag = "event",
    rename_all = "kebab-case",
    rename_all_fields = "kebab-case"
)]
#[non_exhaustive]
pub enum Event {
    /// Bytes have moved.
    Transferred {
        /// Which way.
        direction: Direction,
        /// What, in a few words that are safe to show.
        what: String,
        /// Bytes so far.
        bytes: u64,
        /// Bytes in all, where that is known.
        total: Option<u64>,
    },
    /// All bytes are sent, and storage has not said yet that it has them for good.
    Storing {
        /// What, as before.
        what: String,
        /// Bytes in all.
        bytes: u64,
    },
    /// All of it has moved.
    Complete {
        /// Which way.
        direction: Direction,
        /// What, as before.
        what: String,
        /// Bytes in all.
        bytes: u64,
    },
    /// It was given up.
    Broken {
        /// Which way.
        direction: Direction,
        /// What, as before.
        what: String,
        /// Bytes until then.
        bytes: u64,
    },
}

/// Which way files move.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Direction {
    /// Into storage.
    Up,
    /// Out of storage.
    Down,
}
