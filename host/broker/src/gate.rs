//! The one choke point of a run: what the script asks for passes here or does not happen.
//!
//! [`Gate::pass`] checks an [`Action`] against the grants, writes a line to the audit log, and only then hands out the
//! [`Permit`] that the effect takes as its argument. A permit cannot be made elsewhere, so an effect that was not
//! checked and written down does not compile. When the effect is over, its outcome gets a line as well, even if the
//! call was dropped half-way.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::{Value, json};
use sovr_capability::audit::{self, Kind};
use sovr_capability::{Denial, Grants};
use sovr_runtime::bindings::errors::Error;
use sovr_runtime::wire::Reply;
use tokio::sync::Notify;

use crate::convert;
use crate::event::{Event, Observer};

/// Something a script asks for that has an effect outside of it.
pub(crate) trait Action {
    /// What the check decided, for the effect to keep to.
    type Terms;

    /// The name of the call in the audit log, such as `golem.open`.
    fn what(&self) -> &'static str;

    /// What exactly is asked, for the audit log.
    fn detail(&self) -> Value;

    /// Whether the run may do it. What it takes of `used` is taken by the check itself, so that two calls at the same
    /// time cannot both pass on the last piece.
    fn check(&self, grants: &Grants, used: &mut Used) -> Result<Self::Terms, Refusal>;
}

/// Why an action does not happen.
#[derive(Debug)]
pub(crate) enum Refusal {
    /// The run does not hold the capability.
    Denied(Denial),
    /// No grant could allow it, such as a path outside the tree.
    Invalid(String),
}

impl From<Denial> for Refusal {
    fn from(denial: Denial) -> Self {
        Refusal::Denied(denial)
    }
}

/// What a run has used up, or holds at the moment, of what is granted by number.
#[derive(Debug, Default)]
pub(crate) struct Used {
    /// Tasks and activities so far.
    pub(crate) tasks: u64,
    /// Workers of the jobs that are open.
    pub(crate) workers: u32,
    /// Storage pods that this run received, under the names the host gave them.
    pub(crate) received: BTreeSet<String>,
}

/// The proof that an action was allowed and written down. Only [`Gate::pass`] makes one.
#[derive(Debug)]
pub(crate) struct Permit<A: Action> {
    /// What was asked.
    pub(crate) action: A,
    /// What the check decided.
    pub(crate) terms: A::Terms,
    _private: (),
}

/// The choke point of one run.
pub(crate) struct Gate {
    grants: Grants,
    log: audit::Log,
    observer: Arc<dyn Observer>,
    state: Mutex<State>,
    fault: Notify,
}

#[derive(Default)]
struct State {
    used: Used,
    denials: u64,
    /// Refusals by capability, so that a loop of refused calls is told once.
    told: BTreeMap<String, u64>,
    fault: Option<io::Error>,
}

impl Gate {
    /// A gate for a run that holds `grants` and writes to `log`.
    pub(crate) fn new(grants: Grants, log: audit::Log, observer: Arc<dyn Observer>) -> Self {
        Self {
            grants,
            log,
            observer,
            state: Mutex::default(),
            fault: Notify::new(),
        }
    }

    /// Checks `action`, writes it down, runs `effect` with the permit, writes its outcome down.
    pub(crate) async fn pass<A: Action>(
        &self,
        action: A,
        effect: impl AsyncFnOnce(Permit<A>) -> Result<Reply, Error>,
    ) -> Result<Reply, Error> {
        let what = action.what();
        let checked = action.check(&self.grants, &mut self.state().used);
        let terms = match checked {
            Ok(terms) => terms,
            Err(refusal) => return Err(self.refuse(what, action.detail(), refusal)),
        };
        let seq = self
            .log
            .append(Kind::Allowed, what, action.detail())
            .map_err(|error| self.fail(error))?;
        let mut line = OpenLine {
            gate: self,
            what,
            seq,
            outcome: json!({ "cancelled": true }),
        };
        let result = effect(Permit {
            action,
            terms,
            _private: (),
        })
        .await;
        line.outcome = match &result {
            Ok(reply) => json!({ "ok": told(reply) }),
            Err(error) => json!({ "error": told_error(error) }),
        };
        result
    }

    /// Passes on what a call's words were read to, and writes down words that make no sense: a path out of the tree is
    /// an attempt as well, and is refused before there is an action to check.
    pub(crate) fn read<T>(&self, what: &'static str, words: Result<T, Error>) -> Result<T, Error> {
        let Err(Error::Invalid(why)) = &words else {
            return words;
        };
        self.log
            .append(Kind::Denied, what, json!({ "invalid": why }))
            .map_err(|error| self.fail(error))?;
        words
    }

    fn refuse(&self, what: &'static str, asked: Value, refusal: Refusal) -> Error {
        let (why, error) = match refusal {
            Refusal::Denied(denial) => {
                self.count(&denial);
                (json!(denial), convert::denied(&denial))
            }
            Refusal::Invalid(why) => (json!(why), Error::Invalid(why)),
        };
        match self
            .log
            .append(Kind::Denied, what, json!({ "asked": asked, "why": why }))
        {
            Ok(_) => error,
            Err(fault) => self.fail(fault),
        }
    }

    fn count(&self, denial: &Denial) {
        let first = {
            let mut state = self.state();
            state.denials += 1;
            let times = state.told.entry(denial.capability.clone()).or_default();
            *times += 1;
            *times == 1
        };
        if first {
            self.observer.observe(&Event::Denied {
                denial: denial.clone(),
            });
        }
    }

    /// Writes down what the host does on its own account.
    pub(crate) fn note(&self, what: &'static str, detail: Value) {
        if let Err(error) = self.log.append(Kind::Note, what, detail) {
            self.fail(error);
        }
    }

    /// Gives back what an action took of the numbered grants.
    pub(crate) fn change_used(&self, change: impl FnOnce(&mut Used)) {
        change(&mut self.state().used);
    }

    /// Calls refused so far because of a capability.
    pub(crate) fn denials(&self) -> u64 {
        self.state().denials
    }

    /// What the run holds.
    pub(crate) fn grants(&self) -> &Grants {
        &self.grants
    }

    /// Where the audit log is.
    pub(crate) fn log(&self) -> &audit::Log {
        &self.log
    }

    /// Waits until the audit log cannot be written any more; the run must end then.
    pub(crate) async fn failed(&self) -> io::Error {
        loop {
            let notified = self.fault.notified();
            if let Some(error) = self.state().fault.take() {
                return error;
            }
            notified.await;
        }
    }

    fn fail(&self, error: io::Error) -> Error {
        let answer = Error::Unavailable(format!("the run's audit log cannot be written: {error}"));
        self.state().fault.get_or_insert(error);
        self.fault.notify_one();
        answer
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Every change of the state is one assignment; a panic in between leaves nothing half done.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An allowed call whose outcome is not written yet.
struct OpenLine<'gate> {
    gate: &'gate Gate,
    what: &'static str,
    seq: u64,
    outcome: Value,
}

impl Drop for OpenLine<'_> {
    fn drop(&mut self) {
        if let Err(error) = self
            .gate
            .log
            .outcome(self.seq, self.what, self.outcome.take())
        {
            self.gate.fail(error);
        }
    }
}

/// What an answer says, without the bulk.
fn told(reply: &Reply) -> Value {
    match reply {
        Reply::Done => Value::Null,
        Reply::Receipt { bytes, sha256 } => json!({ "bytes": bytes, "sha256": sha256 }),
        Reply::Executor { executor, terms } => {
            json!({ "executor": executor, "network": terms.network, "budget": terms.budget, "max-workers": terms.max_workers })
        }
        Reply::Task(task) => json!({ "task": task }),
        Reply::Outcome(outcome) => json!({ "task": outcome.as_ref().map(|outcome| outcome.task) }),
        Reply::Summary(summary) => {
            json!({ "tasks": summary.tasks, "accepted": summary.accepted, "cost": summary.cost })
        }
        Reply::Activity { activity, provider } => {
            json!({ "activity": activity, "provider": provider.id })
        }
        Reply::Event(_) => Value::Null,
        Reply::Amount(amount) => json!({ "cost": amount }),
        Reply::Names(names) => json!({ "pods": names.len() }),
        Reply::Entries(entries) => json!({ "entries": entries.len() }),
        Reply::Entry(entry) => json!({ "size": entry.size }),
        Reply::Bytes(bytes) => json!({ "bytes": bytes.len() }),
        Reply::Text(text) => json!(text),
    }
}

fn told_error(error: &Error) -> Value {
    match error {
        Error::Denied(denial) => json!({ "denied": denial.capability }),
        Error::Invalid(why) => json!({ "invalid": why }),
        Error::NotFound(why) => json!({ "not-found": why }),
        Error::AlreadyExists(why) => json!({ "already-exists": why }),
        Error::OverBudget(why) => json!({ "over-budget": why }),
        Error::TimedOut(why) => json!({ "timed-out": why }),
        Error::Cancelled => json!("cancelled"),
        Error::Unavailable(why) => json!({ "unavailable": why }),
    }
}
