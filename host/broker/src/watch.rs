//! What a job tells: to the tally, to the audit log, to whoever watches.

use std::sync::{Arc, Mutex, PoisonError};

use serde_json::json;
use sovr_golem::Event as JobEvent;

use crate::calls::Counted;
use crate::event::{Event, Observer};
use crate::gate::Gate;
use crate::tally::Tally;

/// Watches one job.
pub(crate) struct JobWatch {
    pub(crate) job: u64,
    pub(crate) gate: Arc<Gate>,
    pub(crate) tally: Arc<Mutex<Tally>>,
    pub(crate) observer: Arc<dyn Observer>,
    /// A job keeps its watcher for as long as there is something to tell.
    pub(crate) _alive: Counted,
}

impl sovr_golem::Observer for JobWatch {
    fn observe(&self, event: &JobEvent) {
        self.tally
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .observe(self.job, event);
        self.audit(event);
        self.observer.observe(&Event::Golem {
            job: self.job,
            what: event.clone(),
        });
    }
}

impl JobWatch {
    /// What concerns money and who worked is written down; the rest is for watching.
    fn audit(&self, event: &JobEvent) {
        let job = self.job;
        match event {
            JobEvent::AgreementConfirmed { provider, agreement, .. } => {
                self.gate.note("golem.agreement", json!({ "job": job, "provider": provider.id, "agreement": agreement }));
            }
            JobEvent::AgreementTerminated { provider, claimed, accepted, .. } => self.gate.note(
                "golem.bill",
                json!({ "job": job, "provider": provider.id, "claimed": claimed, "accepted": accepted }),
            ),
            JobEvent::TaskFailed { task, failure, reason } => {
                self.gate.note("golem.task-failed", json!({ "job": job, "task": task, "failure": failure, "reason": reason }));
            }
            JobEvent::JobFinished { summary } => {
                self.gate.note("golem.job-finished", json!({ "job": job, "summary": summary }));
            }
            _ => {}
        }
    }
}
