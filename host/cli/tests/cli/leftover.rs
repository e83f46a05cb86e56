//! What a run that was killed leaves in the journal.

use sovr_capability::ledger::Ceilings;
use sovr_capability::{Amount, Home, Journal, Ledger, RunId};
use sovr_golem::yagna::Change;

/// Writes down what a run would have at a daemon, and lets the run end.
pub(crate) fn leave_a_session(home: &Home, changes: &[Change]) -> RunId {
    let run = RunId::generate().unwrap();
    let ceilings = Ceilings {
        run: Amount::glm(1),
        day: Amount::glm(1),
        month: Amount::glm(1),
    };
    let account = Ledger::open(home).unwrap().account(&run, ceilings).unwrap();
    let journal = Journal::open(home).unwrap();
    for (index, change) in changes.iter().enumerate() {
        let words = serde_json::to_string(change).unwrap();
        let write = match index {
            0 => Journal::begin,
            _ => Journal::append,
        };
        write(&journal, account.run(), "session", &words).unwrap();
    }
    run
}
