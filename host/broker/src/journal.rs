//! What a run opens at a Golem daemon, written down in the user's journal.

use sovr_capability::{Home, RunId, StateError};
use sovr_golem::yagna::Change;

/// The journal, as one run writes in it.
pub(crate) struct RunJournal {
    journal: sovr_capability::Journal,
    run: RunId,
}

impl RunJournal {
    pub(crate) fn open(home: &Home, run: RunId) -> Result<Self, StateError> {
        Ok(Self {
            journal: sovr_capability::Journal::open(home)?,
            run,
        })
    }
}

impl sovr_golem::yagna::Journal for RunJournal {
    fn record(&self, session: &str, change: &Change) -> Result<(), String> {
        let words = serde_json::to_string(change).map_err(|error| error.to_string())?;
        let written = match change {
            Change::SessionOpened { .. } => self.journal.begin(&self.run, session, &words),
            Change::SessionClosed => self.journal.close(session),
            _ => self.journal.append(&self.run, session, &words),
        };
        written.map_err(|error| error.to_string())
    }
}
