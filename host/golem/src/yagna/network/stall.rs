//! How each provider stands to a demand, and what the market has to say next.
//!
//! Shared by the market, which is asked, the negotiator, which talks to providers, and the proposals and agreements that
//! come of it. On a network where anybody may come at any time, a market is quiet when everybody who is known has been
//! proposed or refused and nothing has come for a moment.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use super::settings::Waits;
use crate::network::{MarketEvent, NetworkError, NodeId, Provider, Refusal};

/// Offers come in flocks: nothing for so long is the end of one.
const SETTLE: Duration = Duration::from_secs(1);
/// Before the first offer the market is not quiet for so long.
const FIRST: Duration = Duration::from_secs(20);
/// Most providers that are remembered. Others are not listened to.
const PROVIDERS: usize = 10_000;
/// Most events that wait for the market to be asked.
const QUEUE: usize = 256;
/// A provider that refuses for the moment is asked again so often.
const TRIES: u32 = 4;

pub(super) struct Stall {
    waits: Waits,
    began: Instant,
    state: Mutex<State>,
    /// Sent to after each change.
    changes: watch::Sender<()>,
}

#[derive(Default)]
struct State {
    candidates: HashMap<NodeId, Candidate>,
    queue: VecDeque<MarketEvent>,
    /// Why the market can say nothing more.
    failure: Option<NetworkError>,
    /// When something last came.
    last: Option<Instant>,
    /// When somebody new last came.
    newest: Option<Instant>,
    /// The demand is to be published anew, because somebody may offer again.
    renew: bool,
    /// Nobody can come.
    nobody: bool,
    closed: bool,
}

struct Candidate {
    standing: Standing,
    /// How often it refused for the moment.
    refusals: u32,
}

/// How a provider stands to a demand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    /// It is being talked to, which ends by itself.
    Negotiating,
    /// Its proposal is open.
    Proposed,
    /// Its proposal came to nothing, or it is of no use.
    Out,
    /// It has an agreement.
    Agreed,
    /// It may offer again until then.
    Free(Instant),
}

impl Standing {
    fn may_come(self, now: Instant) -> bool {
        match self {
            Self::Negotiating | Self::Agreed => true,
            Self::Free(until) => now < until,
            Self::Proposed | Self::Out => false,
        }
    }
}

/// Who may come: what was true when the market was last called quiet.
pub(super) type Told = HashSet<NodeId>;

/// What the market is to do.
pub(super) enum Turn {
    Say(Result<MarketEvent, NetworkError>),
    /// Nothing before a change, or this moment.
    Wait(Option<Instant>),
}

impl Stall {
    pub(super) fn new(waits: Waits) -> Self {
        Self {
            waits,
            began: Instant::now(),
            state: Mutex::default(),
            changes: watch::Sender::new(()),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let result = change(&mut self.state());
        self.changes.send_replace(());
        result
    }

    /// To be asked for before the look that decides whether to wait.
    pub(super) fn changes(&self) -> watch::Receiver<()> {
        self.changes.subscribe()
    }

    /// What to say next; `told` is who could come when the market was last called quiet.
    pub(super) fn turn(&self, told: &mut Option<Told>) -> Turn {
        let mut state = self.state();
        if let Some(event) = state.queue.pop_front() {
            drop(state);
            *told = None;
            // There is room for another.
            self.changes.send_replace(());
            return Turn::Say(Ok(event));
        }
        if let Some(failure) = &state.failure {
            return Turn::Say(Err(failure.clone()));
        }
        let now = Instant::now();
        let is_talking = |candidate: &Candidate| candidate.standing == Standing::Negotiating;
        if state.candidates.values().any(is_talking) {
            // Talks end by themselves, and that is a change.
            return Turn::Wait(None);
        }
        let quiet_at = match state.last {
            _ if state.nobody => now,
            Some(last) => last + SETTLE,
            None => self.began + FIRST.min(self.waits.offers),
        };
        if now < quiet_at {
            return Turn::Wait(Some(quiet_at));
        }
        let all = state.candidates.iter();
        let may_come = all.filter(|(_, candidate)| candidate.standing.may_come(now));
        let may_come: Told = may_come.map(|(id, _)| id.clone()).collect();
        if told.as_ref() != Some(&may_come) {
            *told = Some(may_come);
            return Turn::Say(Ok(MarketEvent::Quiet));
        }
        let all = state.candidates.values();
        let ends = all.filter_map(|candidate| match candidate.standing {
            Standing::Free(until) if now < until => Some(until),
            _ => None,
        });
        Turn::Wait(ends.min())
    }

    /// See [`crate::network::Market::patience`].
    pub(super) fn patience(
        &self,
        told: Option<&Told>,
        suits: &dyn Fn(&NodeId) -> bool,
    ) -> Duration {
        let state = self.state();
        if told.is_none() || !state.queue.is_empty() {
            return Duration::MAX;
        }
        if state.failure.is_some() {
            return Duration::ZERO;
        }
        let now = Instant::now();
        // Anybody may come who was never heard of.
        let newest = state.newest.unwrap_or(self.began);
        let mut most = match state.nobody {
            true => Duration::ZERO,
            false => (newest + self.waits.offers).saturating_duration_since(now),
        };
        for (id, candidate) in &state.candidates {
            let patience = match candidate.standing {
                Standing::Negotiating | Standing::Agreed => Duration::MAX,
                Standing::Free(until) => until.saturating_duration_since(now),
                Standing::Proposed | Standing::Out => Duration::ZERO,
            };
            if patience > most && suits(id) {
                most = patience;
            }
        }
        most
    }

    /// Whether to talk to this provider, whose offer came. If so, it is being talked to.
    pub(super) fn begin(&self, provider: &NodeId) -> bool {
        self.change(|state| {
            let now = Instant::now();
            let known = state.candidates.len();
            let candidate = match state.candidates.get_mut(provider) {
                Some(candidate) => candidate,
                None if known >= PROVIDERS => return false,
                None => {
                    state.newest = Some(now);
                    let candidate = Candidate {
                        standing: Standing::Free(now),
                        refusals: 0,
                    };
                    state
                        .candidates
                        .entry(provider.clone())
                        .or_insert(candidate)
                }
            };
            let begins = matches!(candidate.standing, Standing::Free(_));
            if begins {
                candidate.standing = Standing::Negotiating;
                state.last = Some(now);
            }
            begins
        })
    }

    /// An offer that is wanted.
    pub(super) fn propose(&self, provider: &NodeId, event: MarketEvent) {
        self.change(|state| {
            state.stands(provider, Standing::Proposed);
            state.say(event);
        });
    }

    /// It is of no use, and this is why.
    pub(super) fn refuse(&self, provider: Provider, reason: String) {
        self.change(|state| {
            state.stands(&provider.id, Standing::Out);
            state.say(MarketEvent::Refused(Refusal {
                provider: Some(provider),
                reason,
            }));
        });
    }

    /// It refuses for the moment. Answers whether it is to be asked again some time; if not, this was its last word.
    pub(super) fn refused_for_now(&self, provider: Provider, reason: String) -> bool {
        let again = self.change(|state| {
            let candidate = state.candidates.get_mut(&provider.id)?;
            candidate.refusals += 1;
            (candidate.refusals < TRIES).then(|| {
                candidate.standing = Standing::Free(Instant::now() + self.waits.offers);
                state.last = Some(Instant::now());
            })
        });
        if again.is_none() {
            self.refuse(provider, reason);
        }
        again.is_some()
    }

    /// Fewer can come, and this is why.
    pub(super) fn note(&self, reason: String) {
        self.change(|state| {
            state.say(MarketEvent::Refused(Refusal {
                provider: None,
                reason,
            }));
        });
    }

    /// Nobody can come.
    pub(super) fn nobody(&self) {
        self.change(|state| state.nobody = true);
    }

    /// Whether talks with this provider are under way.
    pub(super) fn is_talking(&self, provider: &NodeId) -> bool {
        let state = self.state();
        let candidate = state.candidates.get(provider);
        candidate.is_some_and(|candidate| candidate.standing == Standing::Negotiating)
    }

    /// Its proposal came to nothing.
    pub(super) fn declined(&self, provider: &NodeId) {
        self.change(|state| state.stands(provider, Standing::Out));
    }

    pub(super) fn agreed(&self, provider: &NodeId) {
        self.change(|state| state.stands(provider, Standing::Agreed));
    }

    /// It may offer again: its agreement is over.
    pub(super) fn freed(&self, provider: &NodeId) {
        self.change(|state| {
            let until = Instant::now() + self.waits.offers;
            state.stands(provider, Standing::Free(until));
            state.renew = true;
        });
    }

    /// Providers that are being talked to, when the talks end with nothing because the demand is published anew.
    pub(super) fn start_over(&self) {
        self.change(|state| {
            let until = Instant::now() + self.waits.offers;
            for candidate in state.candidates.values_mut() {
                if candidate.standing == Standing::Negotiating {
                    candidate.standing = Standing::Free(until);
                }
            }
        });
    }

    /// Has the demand published anew.
    pub(super) fn renew(&self) {
        self.change(|state| state.renew = true);
    }

    /// Whether the demand is to be published anew; once.
    pub(super) fn takes_renewal(&self) -> bool {
        std::mem::take(&mut self.state().renew)
    }

    /// The market has nothing more to say.
    pub(super) fn fail(&self, failure: NetworkError) {
        self.change(|state| {
            state.failure.get_or_insert(failure);
        });
    }

    /// Nobody asks any more.
    pub(super) fn close(&self) {
        let left = self.change(|state| {
            state.closed = true;
            std::mem::take(&mut state.queue)
        });
        // Proposals among them look at the state when they are dropped.
        drop(left);
    }

    pub(super) fn is_closed(&self) -> bool {
        self.state().closed
    }

    /// Waits until there is room for what comes next.
    pub(super) async fn room(&self) {
        let mut changes = self.changes();
        loop {
            {
                let state = self.state();
                if state.closed || state.queue.len() < QUEUE {
                    return;
                }
            }
            // The sender lives as long as this.
            let _ = changes.changed().await;
        }
    }
}

impl State {
    fn stands(&mut self, provider: &NodeId, standing: Standing) {
        if let Some(candidate) = self.candidates.get_mut(provider) {
            candidate.standing = standing;
        }
    }

    fn say(&mut self, event: MarketEvent) {
        self.last = Some(Instant::now());
        if !self.closed {
            self.queue.push_back(event);
        }
    }
}
