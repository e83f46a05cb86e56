//! What a run opens at a Golem daemon, written down in the user's journal.

use sovr_capability::{Home, RunId, StateError};
use sovr_golem::yagna::Change;

/// The journal, as one run writes in it. What agreements cost is no business of this one: the run reserves money before,
/// and commits it.
pub(crate) struct RunJournal {
    journal: sovr_capability::Journal,
    run: RunId,
}

/// The journal, as who ends what a dead run left writes in it. What an agreement cost is written down together with its
/// end, so that it is counted once, whatever happens meanwhile.
pub(crate) struct LateJournal(RunJournal);

impl RunJournal {
    pub(crate) fn open(home: &Home, run: RunId) -> Result<Self, StateError> {
        Ok(Self {
            journal: sovr_capability::Journal::open(home)?,
            run,
        })
    }
}

impl LateJournal {
    pub(crate) fn open(home: &Home, run: RunId) -> Result<Self, StateError> {
        RunJournal::open(home, run).map(Self)
    }
}

impl sovr_golem::yagna::Journal for RunJournal {
    fn record(&self, session: &str, change: &Change) -> Result<(), String> {
        let words = words(change)?;
        let written = match change {
            Change::SessionOpened { .. } => self.journal.begin(&self.run, session, &words),
            Change::SessionClosed => self.journal.close(session),
            _ => self.journal.append(&self.run, session, &words),
        };
        written.map_err(|error| error.to_string())
    }
}

impl sovr_golem::yagna::Journal for LateJournal {
    fn record(&self, session: &str, change: &Change) -> Result<(), String> {
        let RunJournal { journal, run } = &self.0;
        match change {
            Change::AgreementClosed { accepted, .. } if !accepted.is_zero() => journal
                .append_with_cost(run, session, &words(change)?, *accepted)
                .map_err(|error| error.to_string()),
            _ => self.0.record(session, change),
        }
    }
}

fn words(change: &Change) -> Result<String, String> {
    serde_json::to_string(change).map_err(|error| error.to_string())
}
