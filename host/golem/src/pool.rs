//! Offers that came and were not used yet, and why there are no others.

use std::collections::BTreeMap;

use sovr_capability::Amount;

use crate::demand::Demand;
use crate::event::{Event, Observer};
use crate::network::{Market, MarketEvent, NetworkError, Proposal, Provider, Refusal};
use crate::price::Strategy;

/// Different reasons for refusal that are remembered; a market of thousands repeats itself.
const REASONS: usize = 20;

/// Of those, how many an explanation names.
const NAMED: usize = 5;

/// The offers of one job.
pub(crate) struct Pool {
    strategy: Strategy,
    /// What the market asks beyond the demand, in words.
    asked: Vec<String>,
    offers: u64,
    open: Vec<Offer>,
    refusals: BTreeMap<String, u64>,
}

struct Offer {
    proposal: Box<dyn Proposal>,
    expected_cost: Amount,
}

impl Pool {
    pub(crate) fn new(strategy: Strategy, market: &dyn Market) -> Self {
        Self {
            strategy,
            asked: market.asked(),
            offers: 0,
            open: Vec::new(),
            refusals: BTreeMap::new(),
        }
    }

    /// Offers seen so far.
    pub(crate) fn offers(&self) -> u64 {
        self.offers
    }

    /// Takes in what the market said.
    pub(crate) fn add(&mut self, event: MarketEvent, observer: &dyn Observer) {
        match event {
            MarketEvent::Proposal(proposal) => {
                self.offers += 1;
                observer.observe(&Event::ProposalReceived {
                    provider: proposal.provider().into(),
                });
                match self.strategy.judge(proposal.price(), proposal.threads()) {
                    Ok(expected_cost) => self.open.push(Offer {
                        proposal,
                        expected_cost,
                    }),
                    Err(reason) => self.refuse(
                        Refusal {
                            provider: Some(proposal.provider().clone()),
                            reason,
                        },
                        observer,
                    ),
                }
            }
            MarketEvent::Refused(refusal) => self.refuse(refusal, observer),
            MarketEvent::Quiet => {}
        }
    }

    /// Remembers why an offer came to nothing.
    pub(crate) fn refuse(&mut self, refusal: Refusal, observer: &dyn Observer) {
        observer.observe(&Event::ProposalRejected {
            provider: refusal.provider.as_ref().map(Into::into),
            reason: refusal.reason.as_str().into(),
        });
        if let Some(count) = self.refusals.get_mut(&refusal.reason) {
            *count += 1;
        } else if self.refusals.len() < REASONS {
            self.refusals.insert(refusal.reason, 1);
        }
    }

    /// Forgets the offers of providers that will not be asked.
    pub(crate) fn retain(&mut self, keep: impl Fn(&Provider) -> bool) {
        self.open.retain(|offer| keep(offer.proposal.provider()));
    }

    /// Whether there is a suitable offer.
    pub(crate) fn has(&self, suits: impl Fn(&dyn Proposal) -> bool) -> bool {
        self.open.iter().any(|offer| suits(&*offer.proposal))
    }

    /// Takes the offer to try next among the suitable ones: of providers with the lowest `rank` the least expensive, of
    /// equally expensive ones the oldest.
    pub(crate) fn take_best<R: Ord>(
        &mut self,
        suits: impl Fn(&dyn Proposal) -> bool,
        rank: impl Fn(&Provider) -> R,
    ) -> Option<Box<dyn Proposal>> {
        let (index, _) = self
            .open
            .iter()
            .enumerate()
            .filter(|(_, offer)| suits(&*offer.proposal))
            .min_by_key(|(_, offer)| (rank(offer.proposal.provider()), offer.expected_cost))?;
        Some(self.open.remove(index).proposal)
    }

    /// What was asked, how many answered and why they were refused; `others` are reasons the pool does not know.
    pub(crate) fn explain(
        &self,
        demand: &Demand,
        others: impl IntoIterator<Item = String>,
    ) -> String {
        let mut text = format!(
            "asked for package `{}` in subnet `{}`",
            demand.package.name, demand.subnet
        );
        for (name, value) in [
            ("GiB memory", demand.min_mem_gib.map(|gib| gib.to_string())),
            (
                "GiB storage",
                demand.min_storage_gib.map(|gib| gib.to_string()),
            ),
            (
                "CPU threads",
                demand.min_cpu_threads.map(|threads| threads.to_string()),
            ),
        ] {
            if let Some(value) = value {
                text.push_str(&format!(" with at least {value} {name}"));
            }
        }
        for asked in &self.asked {
            text.push_str(&format!(" with {asked}"));
        }
        text.push_str(&match self.offers {
            0 => "; no offer came".to_owned(),
            1 => "; one offer came".to_owned(),
            offers => format!("; {offers} offers came"),
        });
        let mut refusals: Vec<_> = self.refusals.iter().collect();
        refusals.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
        let refusals = refusals.into_iter().map(|(reason, count)| match count {
            1 => format!("refused: {reason}"),
            count => format!("refused {count} times: {reason}"),
        });
        for reason in refusals.chain(others).take(NAMED) {
            text.push_str("; ");
            text.push_str(&reason);
        }
        text
    }
}

/// Waits for the next event of a market that may be gone.
pub(crate) async fn next_of(
    market: &mut Option<Box<dyn Market>>,
) -> Result<MarketEvent, NetworkError> {
    match market {
        Some(market) => market.next().await,
        None => std::future::pending().await,
    }
}
