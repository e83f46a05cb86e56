//! A contract with a local provider: its activities, its notes and its bill.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use sovr_capability::Amount;
use tokio::sync::{OnceCell, mpsc};
use tokio::task::JoinSet;

use super::Shared;
use super::activity::{Life, LocalActivity};
use super::fault::{EXAGGERATION, Fault};
use super::market::Candidate;
use super::node::{Node, Slot};
use crate::demand::WasiPackage;
use crate::network::{
    Activity, Agreement, AgreementEvent, Bill, NetworkError, Provider, TerminateReason,
};
use crate::price::LinearPrice;

pub(super) struct LocalAgreement {
    id: String,
    shared: Arc<Shared>,
    package: WasiPackage,
    contract: Arc<Contract>,
    events: tokio::sync::Mutex<mpsc::UnboundedReceiver<AgreementEvent>>,
    bill: OnceCell<Bill>,
    /// Sends debit notes; ended with the agreement.
    notes: Mutex<JoinSet<()>>,
}

/// What the agreement and the task that sends its notes share.
struct Contract {
    node: Arc<Node>,
    state: Mutex<State>,
}

struct State {
    /// None once ended.
    place: Option<Place>,
    ceiling: Amount,
    accepted: Amount,
    lives: Vec<Arc<Life>>,
    activities: u32,
    /// None once nothing more can happen.
    events: Option<mpsc::UnboundedSender<AgreementEvent>>,
}

/// What an agreement occupies; free again when dropped.
struct Place {
    slot: Option<Slot>,
    candidate: Option<Arc<Candidate>>,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.slot = None;
        if let Some(candidate) = &self.candidate {
            candidate.released();
        }
    }
}

impl Contract {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the provider says is owed so far.
    fn claim(&self, state: &State) -> Amount {
        let price = &self.node.settings.price;
        let owed = Amount::checked_sum(state.lives.iter().map(|life| price.cost(life.usage())))
            .unwrap_or(Amount::MAX);
        match self.node.fault {
            Some(Fault::LieAboutPrice) => {
                owed.checked_mul(EXAGGERATION.into()).unwrap_or(Amount::MAX)
            }
            _ => owed,
        }
    }

    /// Tells what is owed so far.
    fn note(&self) {
        let mut state = self.state();
        if state.lives.is_empty() || self.node.is_gone() {
            return;
        }
        let amount = self.claim(&state);
        let accepted = state.accept(amount);
        state.tell(AgreementEvent::DebitNote { amount, accepted });
    }

    /// Bills everything. A provider that is gone bills nothing beyond its notes.
    fn invoice(&self) -> Bill {
        let mut state = self.state();
        let claimed = if self.node.is_gone() {
            state.accepted
        } else {
            self.claim(&state)
        };
        if !self.node.is_gone() && !state.lives.is_empty() {
            let accepted = state.accept(claimed);
            state.tell(AgreementEvent::Invoice {
                amount: claimed,
                accepted,
            });
        }
        state.events = None;
        Bill {
            claimed,
            accepted: state.accepted,
        }
    }
}

impl State {
    fn accept(&mut self, amount: Amount) -> bool {
        let accepted = amount <= self.ceiling;
        if accepted {
            self.accepted = self.accepted.max(amount);
        }
        accepted
    }

    fn tell(&self, event: AgreementEvent) {
        if let Some(events) = &self.events {
            // Nobody listening is no reason not to reckon.
            let _ = events.send(event);
        }
    }
}

impl LocalAgreement {
    pub(super) fn new(
        shared: Arc<Shared>,
        node: Arc<Node>,
        slot: Slot,
        candidate: Option<Arc<Candidate>>,
        package: WasiPackage,
    ) -> Self {
        let (sender, events) = mpsc::unbounded_channel();
        let contract = Arc::new(Contract {
            node,
            state: Mutex::new(State {
                place: Some(Place {
                    slot: Some(slot),
                    candidate,
                }),
                ceiling: Amount::ZERO,
                accepted: Amount::ZERO,
                lives: Vec::new(),
                activities: 0,
                events: Some(sender),
            }),
        });
        let mut notes = JoinSet::new();
        notes.spawn(send_notes(Arc::clone(&contract), shared.debit_notes));
        Self {
            id: shared.next_id("agreement"),
            shared,
            package,
            contract,
            events: tokio::sync::Mutex::new(events),
            bill: OnceCell::new(),
            notes: Mutex::new(notes),
        }
    }

    async fn end(&self) -> Bill {
        let lives = self.contract.state().lives.clone();
        for life in lives {
            life.end().await;
        }
        self.notes
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .abort_all();
        let bill = self.contract.invoice();
        // After the bill: whoever sees the provider free sees the agreement paid.
        drop(self.contract.state().place.take());
        bill
    }
}

async fn send_notes(contract: Arc<Contract>, interval: Duration) {
    loop {
        tokio::time::sleep(interval).await;
        contract.note();
    }
}

#[async_trait]
impl Agreement for LocalAgreement {
    fn id(&self) -> &str {
        &self.id
    }

    fn provider(&self) -> &Provider {
        &self.contract.node.provider
    }

    fn price(&self) -> &LinearPrice {
        &self.contract.node.settings.price
    }

    fn set_ceiling(&self, most: Amount) {
        self.contract.state().ceiling = most;
    }

    async fn create_activity(&self) -> Result<Box<dyn Activity>, NetworkError> {
        let node = &self.contract.node;
        if node.is_gone() {
            return Err(NetworkError::Lost {
                provider: node.provider.name.clone(),
                reason: "endpoint address not found".to_owned(),
            });
        }
        let id = {
            let mut state = self.contract.state();
            if state.place.is_none() {
                return Err(NetworkError::State(format!(
                    "the agreement {} is terminated",
                    self.id
                )));
            }
            state.activities += 1;
            format!("{}-{}", self.id, state.activities)
        };
        let activity = LocalActivity::create(id, &self.shared, node, &self.package)?;
        let late = {
            let mut state = self.contract.state();
            let late = state.place.is_none();
            if !late {
                state.lives.push(Arc::clone(activity.life()));
            }
            late
        };
        if late {
            activity.destroy().await;
            return Err(NetworkError::State(format!(
                "the agreement {} is terminated",
                self.id
            )));
        }
        Ok(Box::new(activity))
    }

    async fn next_event(&self) -> Option<AgreementEvent> {
        self.events.lock().await.recv().await
    }

    async fn terminate(&self, _reason: TerminateReason) -> Bill {
        self.bill.get_or_init(|| self.end()).await.clone()
    }
}

impl Drop for LocalAgreement {
    fn drop(&mut self) {
        // Notes end with their set; a place is free when it is dropped.
        let mut state = self.contract.state();
        for life in &state.lives {
            life.begin_end();
        }
        let place = state.place.take();
        drop(state);
        drop(place);
    }
}
