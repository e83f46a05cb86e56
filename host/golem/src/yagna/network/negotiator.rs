//! Publishes a demand, talks to the providers that answer, and hands over those that agree to its terms.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::acceptor::words;
use super::allocation::unavailable;
use super::declaration::declare;
use super::market::YagnaProposal;
use super::offer::{self, Offer, Terms};
use super::package::Runnable;
use super::session::{Member, Session};
use super::stall::Stall;
use crate::demand::Demand;
use crate::network::{MarketEvent, NetworkError, NodeId, Provider};
use crate::timing::until;
use crate::yagna::closing::close;
use crate::yagna::error::{DaemonError, ErrorKind};
use crate::yagna::journal::Change;
use crate::yagna::market::{Declaration, DemandEvent, Proposal, ProposalState, Reason};
use crate::yagna::pace::Pace;
use crate::yagna::payment::Decorations;
use crate::yagna::properties as names;

/// How long the daemon is asked to wait for offers.
const POLL: Duration = Duration::from_secs(15);
/// Events asked for at a time.
const EVENTS: u32 = 100;
/// A demand is published anew at the latest after this; the daemon forgets it after an hour.
const RENEWAL: Duration = Duration::from_secs(30 * 60);
/// It is not published anew more often than this.
const BETWEEN: Duration = Duration::from_secs(2);
/// A provider that has no room is asked again after this.
const AGAIN: Duration = Duration::from_secs(15);
/// Offers of one provider that are talked about at the same time.
const OFFERS: usize = 4;
/// Rounds of talks with one provider about the same terms.
const ROUNDS: u32 = 3;

/// What the negotiator knows of a demand.
pub(super) struct Negotiator {
    pub(super) session: Arc<Session>,
    pub(super) stall: Arc<Stall>,
    pub(super) demand: Demand,
    pub(super) forms: Vec<Runnable>,
    pub(super) decorations: Decorations,
    subscriptions: Vec<Subscription>,
    talks: HashMap<String, Talk>,
    events: (mpsc::Sender<Heard>, mpsc::Receiver<Heard>),
    published: Instant,
}

/// A published demand. It is listened to until this is dropped.
struct Subscription {
    id: String,
    declaration: Arc<Declaration>,
    /// See [`Runnable::most_threads`].
    most_threads: u32,
    _listener: JoinSet<()>,
}

/// What was heard of a subscription.
struct Heard {
    subscription: String,
    event: Result<DemandEvent, DaemonError>,
}

/// A proposal of ours that was not answered.
struct Talk {
    provider: Provider,
    round: u32,
    terms: Terms,
    until: Instant,
}

impl Negotiator {
    /// Publishes the demand in each of its forms.
    pub(super) async fn publish(
        session: Arc<Session>,
        stall: Arc<Stall>,
        demand: Demand,
        forms: Vec<Runnable>,
    ) -> Result<Self, NetworkError> {
        let decorations = session.daemon.decorations(&session.allocation).await;
        let decorations =
            decorations.map_err(|error| unavailable(&session.settings, error.to_string()))?;
        let mut negotiator = Self {
            session,
            stall,
            demand,
            forms,
            decorations,
            subscriptions: Vec::new(),
            talks: HashMap::new(),
            events: mpsc::channel(1),
            published: Instant::now(),
        };
        if let Err(error) = negotiator.subscribe().await {
            negotiator.retire(0).await;
            return Err(error);
        }
        Ok(negotiator)
    }

    async fn subscribe(&mut self) -> Result<(), NetworkError> {
        let session = &self.session;
        for form in &self.forms {
            let declaration = declare(
                &self.demand,
                form,
                &self.decorations,
                session.settings.node_name.as_deref(),
                session.end,
            )
            .map_err(NetworkError::State)?;
            let id = session
                .daemon
                .publish(&declaration)
                .await
                .map_err(|error| unavailable(&session.settings, error.to_string()))?;
            session.scribe.note(Change::DemandOpened { id: id.clone() });
            let mut listener = JoinSet::new();
            listener.spawn(listen(
                Arc::clone(session),
                id.clone(),
                self.events.0.clone(),
            ));
            self.subscriptions.push(Subscription {
                id,
                declaration: Arc::new(declaration),
                most_threads: form.most_threads(),
                _listener: listener,
            });
        }
        self.published = Instant::now();
        Ok(())
    }

    /// Takes back all but the last `keep` demands.
    async fn retire(&mut self, keep: usize) {
        let old = self.subscriptions.len().saturating_sub(keep);
        for Subscription { id, .. } in self.subscriptions.drain(..old) {
            if close(|| self.session.daemon.withdraw(&id)).await.is_ok() {
                self.session.scribe.note(Change::DemandClosed { id });
            }
        }
    }

    /// Talks until the market is closed, and takes the demand back.
    pub(super) async fn run(mut self, member: Member) {
        self.talk(&member).await;
        self.retire(0).await;
        self.session.leave(member).await;
    }

    async fn talk(&mut self, member: &Member) {
        let mut changes = self.stall.changes();
        let mut renewal = false;
        let mut again: Option<Instant> = None;
        loop {
            changes.borrow_and_update();
            if self.stall.is_closed() {
                return;
            }
            let now = Instant::now();
            if again.is_some_and(|moment| moment <= now) {
                again = None;
                renewal = true;
            }
            renewal |= self.stall.takes_renewal();
            let due = match renewal {
                true => self.published + BETWEEN,
                false => self.published + RENEWAL,
            };
            if due <= now {
                renewal = false;
                self.start_over().await;
                continue;
            }
            let silence = self.talks.values().map(|talk| talk.until).min();
            let moment = [Some(due), silence, again].into_iter().flatten().min();
            tokio::select! {
                _ = changes.changed() => {}
                heard = self.events.1.recv() => {
                    let Some(Heard { subscription, event }) = heard else {
                        return;
                    };
                    match event {
                        Ok(event) => {
                            if self.hear(&subscription, event, member).await {
                                let moment = Instant::now() + AGAIN;
                                again = Some(again.map_or(moment, |again| again.min(moment)));
                            }
                            self.stall.room().await;
                        }
                        Err(error) => self.fail(&subscription, &error),
                    }
                }
                () = until(moment) => self.end_silent_talks(),
            }
        }
    }

    /// Publishes the demand anew: who is free offers once more.
    async fn start_over(&mut self) {
        let before = self.subscriptions.len();
        match self.subscribe().await {
            Ok(()) => {
                self.talks.clear();
                self.stall.start_over();
                self.retire(self.forms.len()).await;
            }
            // The old one is still there; another time.
            Err(_) => {
                self.published = Instant::now();
                let new = self.subscriptions.split_off(before);
                let old = std::mem::replace(&mut self.subscriptions, new);
                self.retire(0).await;
                self.subscriptions = old;
                self.stall.renew();
            }
        }
    }

    fn fail(&mut self, subscription: &str, error: &DaemonError) {
        if !self.subscriptions.iter().any(|one| one.id == subscription) {
            return;
        }
        if error.kind == ErrorKind::NotFound {
            // It has expired, or a daemon without memory was started.
            self.stall.renew();
        } else {
            let reason = error.to_string();
            self.stall.fail(unavailable(&self.session.settings, reason));
        }
    }

    fn end_silent_talks(&mut self) {
        let now = Instant::now();
        let waits = self.session.settings.waits.answer.as_secs();
        let silent: Vec<_> = self
            .talks
            .iter()
            .filter(|(_, talk)| talk.until <= now)
            .map(|(id, _)| id.clone())
            .collect();
        for id in silent {
            if let Some(talk) = self.talks.remove(&id) {
                let reason = format!("it has not answered within {waits} s");
                self.give_up(talk.provider, reason);
            }
        }
    }

    /// Answers whether somebody is to be asked again some time.
    async fn hear(&mut self, subscription: &str, event: DemandEvent, member: &Member) -> bool {
        let Some((declaration, most_threads)) = self
            .subscriptions
            .iter()
            .find(|one| one.id == subscription)
            .map(|one| (Arc::clone(&one.declaration), one.most_threads))
        else {
            // Of a demand that was taken back.
            return false;
        };
        match event {
            DemandEvent::Proposal { proposal } => match proposal.state {
                ProposalState::Initial if self.is_wanted(&proposal.issuer_id) => {
                    self.begin(subscription, &declaration, proposal).await;
                    false
                }
                ProposalState::Draft => {
                    self.conclude(subscription, &declaration, most_threads, proposal, member)
                        .await;
                    false
                }
                _ => false,
            },
            DemandEvent::Rejected {
                proposal_id,
                reason,
            } => self.refused(&proposal_id, reason.unwrap_or_default()),
            DemandEvent::Other => false,
        }
    }

    /// Whether to talk about an offer. Of the offers of one provider, one may be that of a program which has ended: the
    /// daemons forget it late, and nobody answers. So all are talked about, and the first answer counts.
    fn is_wanted(&self, provider: &NodeId) -> bool {
        self.stall.begin(provider)
            || (self.stall.is_talking(provider) && self.talks_with(provider) < OFFERS)
    }

    fn talks_with(&self, provider: &NodeId) -> usize {
        let talks = self.talks.values();
        talks.filter(|talk| talk.provider.id == *provider).count()
    }

    /// Talks about an offer have come to nothing. What is left of it to say counts once there are no others.
    fn give_up(&self, provider: Provider, reason: String) {
        if self.stall.is_talking(&provider.id) && self.talks_with(&provider.id) == 0 {
            self.stall.refuse(provider, reason);
        }
    }

    async fn begin(&mut self, subscription: &str, declaration: &Declaration, theirs: Proposal) {
        let properties = &theirs.declaration.properties;
        let read = offer::read(properties);
        let name = read.as_ref().ok().and_then(|offer| offer.name.clone());
        let provider = provider(&theirs.issuer_id, name);
        if let Err(reason) = read {
            let daemon = &self.session.daemon;
            // It is told out of politeness.
            let _ = daemon.refuse(subscription, &theirs.id, &reason).await;
            self.give_up(provider, reason);
            return;
        }
        let terms = Terms::read(properties).answer(&self.session.settings.debit_notes);
        self.counter(subscription, declaration, &theirs.id, provider, terms, 1)
            .await;
    }

    /// Proposes these terms.
    async fn counter(
        &mut self,
        subscription: &str,
        declaration: &Declaration,
        theirs: &str,
        provider: Provider,
        terms: Terms,
        round: u32,
    ) {
        let mut ours = declaration.clone();
        let platform = json!(self.session.settings.platform());
        ours.properties
            .insert(names::CHOSEN_PLATFORM.to_owned(), platform);
        terms.write(&mut ours.properties);
        match self
            .session
            .daemon
            .counter(subscription, theirs, &ours)
            .await
        {
            Ok(id) => {
                let until = Instant::now() + self.session.settings.waits.answer;
                let talk = Talk {
                    provider,
                    round,
                    terms,
                    until,
                };
                self.talks.insert(id, talk);
            }
            Err(error) => self.give_up(provider, error.to_string()),
        }
    }

    /// Takes a provider's answer.
    async fn conclude(
        &mut self,
        subscription: &str,
        declaration: &Declaration,
        most_threads: u32,
        theirs: Proposal,
        member: &Member,
    ) {
        let talk = theirs.prev_proposal_id.as_ref();
        let Some(talk) = talk.and_then(|id| self.talks.remove(id)) else {
            return;
        };
        if !self.stall.is_talking(&talk.provider.id) {
            // Another offer of its was quicker.
            return;
        }
        let properties = &theirs.declaration.properties;
        // What counts is what it says now, prices included.
        let offer = match offer::read(properties) {
            Ok(offer) => Offer {
                // They multiply what may be billed.
                threads: offer.threads.min(most_threads),
                ..offer
            },
            Err(reason) => return self.give_up(talk.provider, reason),
        };
        let ours = &self.session.settings.debit_notes;
        let terms = Terms::read(properties);
        if let Some(objection) = terms.objection(ours) {
            return self.give_up(talk.provider, objection);
        }
        if terms != talk.terms && talk.round < ROUNDS {
            let Talk {
                provider, round, ..
            } = talk;
            return self
                .counter(
                    subscription,
                    declaration,
                    &theirs.id,
                    provider,
                    terms,
                    round + 1,
                )
                .await;
        }
        self.propose(talk.provider, offer, theirs.id, terms, member);
    }

    fn propose(&self, provider: Provider, offer: Offer, id: String, terms: Terms, member: &Member) {
        let usual = self.session.settings.debit_notes.interval;
        let proposal = YagnaProposal {
            session: Arc::clone(&self.session),
            stall: Arc::clone(&self.stall),
            member: Some(member.clone()),
            interval: terms.interval().unwrap_or(usual),
            provider,
            offer,
            id,
        };
        let provider = proposal.provider.id.clone();
        let event = MarketEvent::Proposal(Box::new(proposal));
        self.stall.propose(&provider, event);
    }

    /// A provider refuses our proposal. Answers whether it is to be asked again some time.
    fn refused(&mut self, ours: &str, reason: Reason) -> bool {
        let Some(talk) = self.talks.remove(ours) else {
            return false;
        };
        let is_final = reason.is_final != Some(false);
        let reason = words(reason);
        if is_final || self.talks_with(&talk.provider.id) > 0 {
            self.give_up(talk.provider, reason);
            return false;
        }
        self.stall.refused_for_now(talk.provider, reason)
    }
}

fn provider(id: &NodeId, name: Option<String>) -> Provider {
    Provider {
        id: id.clone(),
        name: name.unwrap_or_else(|| id.to_string()),
    }
}

/// Passes on what happens to a demand, until it ends or fails.
async fn listen(session: Arc<Session>, subscription: String, events: mpsc::Sender<Heard>) {
    let mut failing: Option<Instant> = None;
    let mut pace = Pace::default();
    loop {
        pace.turn().await;
        let heard = session
            .daemon
            .demand_events(&subscription, EVENTS, POLL)
            .await;
        let pass_on = async |event| {
            let subscription = subscription.clone();
            let heard = Heard {
                subscription,
                event,
            };
            events.send(heard).await.is_ok()
        };
        match heard {
            Ok(list) => {
                failing = None;
                if !list.is_empty() {
                    pace.go_on();
                }
                for event in list {
                    if !pass_on(Ok(event)).await {
                        return;
                    }
                }
            }
            // Strangers have a part in what is said: what makes no sense this time may make some the next.
            Err(error) if error.kind == ErrorKind::Nonsense => failing = None,
            Err(error) => {
                let since = *failing.get_or_insert_with(Instant::now);
                let is_lost = since.elapsed() >= session.settings.waits.lost;
                if !error.kind.may_pass() || is_lost {
                    pass_on(Err(error)).await;
                    return;
                }
            }
        }
    }
}
