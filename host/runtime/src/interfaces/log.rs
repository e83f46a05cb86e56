//! `sovr:pod/log`: lines for the run's log, cut and counted as the contract says.

use sovr_capability::Untrusted;

use super::Guest;
use crate::bindings::log::{Host, Level};
use crate::output::{Allowance, LOG_BURST, LOG_RATE, Pace};
use crate::runner::broker::Broker;
use crate::wire::{LOG_FIELD, LOG_FIELDS, LOG_MESSAGE, Note, cut};

/// How much a guest may still log.
#[derive(Debug)]
pub(crate) struct Log {
    allowance: Allowance,
    pace: Pace,
    /// Lines dropped since the broker was last told.
    dropped: u64,
}

impl Log {
    pub(crate) fn new(allowance: Allowance) -> Self {
        Self {
            allowance,
            pace: Pace::new(LOG_BURST, LOG_RATE),
            dropped: 0,
        }
    }

    /// Tells the broker how many lines were dropped, if that is news.
    pub(crate) fn account(&mut self, broker: &Broker) {
        let lines = std::mem::take(&mut self.dropped);
        if lines > 0 {
            broker.tell_at_once(Note::LogDropped { lines });
        }
    }
}

impl Host for Guest {
    async fn log(
        &mut self,
        level: Level,
        message: String,
        fields: Vec<(String, String)>,
    ) -> wasmtime::Result<()> {
        let text = |text, most| Untrusted::new(cut(text, most));
        let note = Note::Log {
            level,
            message: text(message, LOG_MESSAGE),
            fields: fields
                .into_iter()
                .take(LOG_FIELDS)
                .map(|(name, value)| (text(name, LOG_FIELD), text(value, LOG_FIELD)))
                .collect(),
        };
        if !self.log.pace.open() || !self.log.allowance.take(note.output()) {
            self.log.dropped += 1;
            return Ok(());
        }
        self.log.pace.spend(1);
        self.broker.has_room().await;
        self.log.account(&self.broker);
        self.broker.tell_at_once(note);
        Ok(())
    }
}
