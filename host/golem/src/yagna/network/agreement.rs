//! An agreement with a provider of the network: its activities, its bill, its end.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use sovr_capability::Amount;
use tokio::runtime::Handle;
use tokio::sync::{OnceCell, mpsc};

use super::acceptor::patiently;
use super::account::Account;
use super::activity::{Life, YagnaActivity};
use super::offer::Counters;
use super::session::{Member, Session};
use super::stall::Stall;
use crate::network::{
    Activity, Agreement, AgreementEvent, Bill, NetworkError, Provider, TerminateReason,
};
use crate::price::LinearPrice;
use crate::yagna::journal::Change;

/// What was agreed.
pub(super) struct Contract {
    pub(super) id: String,
    pub(super) provider: Provider,
    pub(super) price: LinearPrice,
    pub(super) counters: Counters,
    pub(super) stall: Arc<Stall>,
    pub(super) account: Arc<Account>,
}

pub(super) struct YagnaAgreement {
    deal: Arc<Deal>,
    events: tokio::sync::Mutex<mpsc::UnboundedReceiver<AgreementEvent>>,
}

/// What the agreement and the task that ends it when it is dropped share.
struct Deal {
    contract: Contract,
    session: Arc<Session>,
    state: Mutex<State>,
    bill: OnceCell<Bill>,
}

struct State {
    /// None once it is being ended.
    member: Option<Member>,
    is_ending: bool,
    lives: Vec<Arc<Life>>,
}

impl YagnaAgreement {
    pub(super) fn new(
        contract: Contract,
        session: Arc<Session>,
        member: Option<Member>,
        events: mpsc::UnboundedReceiver<AgreementEvent>,
    ) -> Self {
        Self {
            deal: Arc::new(Deal {
                contract,
                session,
                state: Mutex::new(State {
                    member,
                    is_ending: false,
                    lives: Vec::new(),
                }),
                bill: OnceCell::new(),
            }),
            events: tokio::sync::Mutex::new(events),
        }
    }
}

impl Deal {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn over(&self) -> NetworkError {
        NetworkError::State(format!("the agreement {} is terminated", self.contract.id))
    }

    async fn terminate(&self, reason: &TerminateReason) -> Bill {
        self.bill.get_or_init(|| self.end(reason)).await.clone()
    }

    async fn end(&self, reason: &TerminateReason) -> Bill {
        let (session, contract) = (&self.session, &self.contract);
        let lives = {
            let mut state = self.state();
            state.is_ending = true;
            state.lives.clone()
        };
        futures::future::join_all(lives.iter().map(|life| life.end())).await;
        contract.account.over(None);
        let id = &contract.id;
        let ended = patiently(|| session.daemon.terminate(id, reason)).await;
        // Who has done nothing sends no bill.
        if !lives.is_empty() {
            let grace = session.settings.waits.invoice;
            let _ = tokio::time::timeout(grace, contract.account.invoiced()).await;
        }
        let bill = contract.account.close();
        session.remove_account(id);
        if ended.is_ok() {
            session.scribe.note(Change::AgreementClosed {
                id: id.clone(),
                accepted: bill.accepted,
            });
        }
        contract.stall.freed(&contract.provider.id);
        let member = self.state().member.take();
        if let Some(member) = member {
            session.leave(member).await;
        }
        bill
    }
}

#[async_trait]
impl Agreement for YagnaAgreement {
    fn id(&self) -> &str {
        &self.deal.contract.id
    }

    fn provider(&self) -> &Provider {
        &self.deal.contract.provider
    }

    fn price(&self) -> &LinearPrice {
        &self.deal.contract.price
    }

    fn set_ceiling(&self, most: Amount) {
        self.deal.contract.account.set_ceiling(most);
        self.deal.session.scribe.note(Change::Ceiling {
            agreement: self.deal.contract.id.clone(),
            most,
        });
    }

    async fn create_activity(&self) -> Result<Box<dyn Activity>, NetworkError> {
        let (session, contract) = (&self.deal.session, &self.deal.contract);
        if self.deal.state().is_ending {
            return Err(self.deal.over());
        }
        let wait = session.settings.waits.activity;
        let created = session.daemon.create_activity(&contract.id, wait).await;
        let id = created.map_err(|error| NetworkError::Lost {
            provider: contract.provider.name.clone(),
            reason: error.to_string(),
        })?;
        session.scribe.note(Change::ActivityOpened {
            id: id.clone(),
            agreement: contract.id.clone(),
        });
        let life = Arc::new(Life::new(
            id,
            Arc::clone(session),
            contract.provider.name.clone(),
            contract.counters,
        ));
        let late = {
            let mut state = self.deal.state();
            if !state.is_ending {
                state.lives.push(Arc::clone(&life));
            }
            state.is_ending
        };
        if late {
            life.end().await;
            return Err(self.deal.over());
        }
        Ok(Box::new(YagnaActivity::new(life)))
    }

    async fn next_event(&self) -> Option<AgreementEvent> {
        self.events.lock().await.recv().await
    }

    async fn terminate(&self, reason: TerminateReason) -> Bill {
        self.deal.terminate(&reason).await
    }
}

impl Drop for YagnaAgreement {
    fn drop(&mut self) {
        if self.deal.bill.initialized() {
            return;
        }
        for life in &self.deal.state().lives {
            life.begin_end();
        }
        // Without a runtime it is left to the journal.
        if let Ok(runtime) = Handle::try_current() {
            let deal = Arc::clone(&self.deal);
            runtime.spawn(async move {
                let reason = TerminateReason::Cancelled("it is not wanted any more".to_owned());
                deal.terminate(&reason).await;
            });
        }
    }
}
