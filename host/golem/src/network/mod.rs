//! A market of providers, behind three traits: [`Network`] (with its [`Market`] and [`Proposal`]s), [`Agreement`] and
//! [`Activity`].
//!
//! The traits hold what a requestor does with any Golem-like network and nothing of how it is done. The steps are
//! Golem's own: a demand is published, providers answer with proposals, a proposal becomes an agreement, an agreement
//! has activities, an activity takes one batch of commands after another. What the daemon's REST API makes of it
//! (counter-proposals, confirmation, debit notes, invoices, allocations) happens inside an implementation.
//!
//! # Laws
//!
//! Every implementation keeps these; [`conformance::cases`] test what can be seen from outside.
//!
//! 1. **Waits end.** `agree`, `create_activity`, `destroy`, `terminate` and `withdraw` return within a bounded time,
//!    whatever a provider does. Callers let them finish: they are not dropped half-way.
//! 2. **Waiting is free.** [`Market::next`] and [`Agreement::next_event`] may be dropped while they wait; nothing is
//!    lost. (An executor waits for several things at once.)
//! 3. **A market goes quiet.** Once every provider that is known has been proposed or refused, `next` answers
//!    [`MarketEvent::Quiet`], once; then it waits. A provider that becomes free again is proposed again, followed by
//!    another `Quiet`; a proposal that was declined is not repeated. [`Market::patience`] is the truth at the moment
//!    it is asked: a provider whose agreement `terminate` has ended counts from then on as free, busy or gone. When
//!    patience comes to an end otherwise than by time passing, another `Quiet` says so.
//! 4. **One batch at a time.** `exec` while a batch runs is an error, and the running batch goes on.
//! 5. **A batch tells its story in order.** `Started(i)`, any output and progress of `i`, `Finished(i)`, and so on in
//!    index order; the first failure ends the batch; `Ended` comes exactly once and last, even if the provider is gone.
//!    The channel of events is bounded, so a listener that does not listen makes the batch wait and fills no memory;
//!    one that drops its end stops the batch. When `Ended` is heard, the next batch may come.
//! 6. **Nothing after the end.** When `destroy` has returned, no program of that activity runs, nothing more is read
//!    from a source and no sink is committed; a batch that was running has ended. The same holds for all activities of
//!    an agreement when `terminate` has returned. Both may be called again; the second call has no effect, and
//!    `terminate` answers the same bill.
//! 7. **Short files are failures.** A sink is committed only after as many bytes as the provider stated have arrived.
//! 8. **No payment above the ceiling.** What is accepted for an agreement, invoices and debit notes together, never
//!    exceeds the last ceiling that [`Agreement::set_ceiling`] was given (zero before the first). A bill above it is
//!    refused, and said to be refused. A ceiling below what was accepted already takes nothing back and allows nothing
//!    more.
//! 9. **Dropping is ending.** Dropping a market, an agreement or an activity ends it as far as can be done without
//!    waiting; a program that runs on this machine is killed. Callers that want to know the bill call `terminate`.
//! 10. **Texts are the provider's.** Names, reasons and output are untrusted; they are passed on as they are.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use sovr_capability::Amount;
use tokio::sync::mpsc;

use crate::demand::Demand;
use crate::price::{LinearPrice, Usage};
use crate::step::{BatchEvent, Command};

pub mod conformance;

/// A provider's identity: `0x` and 40 lower-case hexadecimal digits.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct NodeId([u8; 20]);

impl NodeId {
    /// The identity with these bytes.
    pub fn from_bytes(bytes: [u8; 20]) -> Self {
        Self(bytes)
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "0x{}", hex::encode(self.0))
    }
}

impl fmt::Debug for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl From<NodeId> for String {
    fn from(id: NodeId) -> Self {
        id.to_string()
    }
}

/// Text that is not a node id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a node id: it must be 0x and 40 hexadecimal digits")]
pub struct InvalidNodeId(String);

impl FromStr for NodeId {
    type Err = InvalidNodeId;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut bytes = [0; 20];
        text.strip_prefix("0x")
            .and_then(|digits| hex::decode_to_slice(digits, &mut bytes).ok())
            .map(|()| Self(bytes))
            .ok_or_else(|| InvalidNodeId(text.to_owned()))
    }
}

impl TryFrom<String> for NodeId {
    type Error = InvalidNodeId;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

/// Who works.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
pub struct Provider {
    /// Its identity.
    pub id: NodeId,
    /// The name it gives itself; nothing vouches for it.
    pub name: String,
}

/// What a network answers when it does not do what was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NetworkError {
    /// The network cannot be used at all.
    #[error("cannot use the network `{network}`: {reason}")]
    Unavailable {
        /// Its name.
        network: String,
        /// Why, and what to do about it.
        reason: String,
    },
    /// No account can pay on this network.
    #[error(
        "no payment account for driver `{driver}` and network `{network}`: {reason}; check both names, run \
         `yagna payment init --network {network}`, and see `yagna payment status --network {network}`"
    )]
    NoPaymentAccount {
        /// The payment driver.
        driver: String,
        /// The payment network.
        network: String,
        /// What the daemon says, escaped.
        reason: String,
    },
    /// The account has less than the job may cost.
    #[error(
        "the budget of {asked} GLM cannot be set aside: {}; choose a smaller budget, add funds, or release what \
         earlier runs have set aside (`sovr-host cleanup`)",
        figures(*available, *reserved)
    )]
    InsufficientFunds {
        /// What was to be set aside.
        asked: Amount,
        /// What is free, if the daemon says so.
        available: Option<Amount>,
        /// What is set aside for something else, if the daemon says so.
        reserved: Option<Amount>,
    },
    /// A provider said no; it may say yes another time.
    #[error("{provider} refused: {reason}")]
    Refused {
        /// Its name.
        provider: String,
        /// Its own words.
        reason: String,
    },
    /// A provider went away, or answered nonsense.
    #[error("{provider} is lost: {reason}")]
    Lost {
        /// Its name.
        provider: String,
        /// What was seen.
        reason: String,
    },
    /// The call came in a wrong order, such as a second batch while one runs.
    #[error("{0}")]
    State(String),
}

fn figures(available: Option<Amount>, reserved: Option<Amount>) -> String {
    match (available, reserved) {
        (Some(available), Some(reserved)) => format!(
            "the account has {available} GLM free, and {reserved} GLM are set aside for something else"
        ),
        (Some(available), None) => format!("the account has {available} GLM free"),
        _ => "the account has less".to_owned(),
    }
}

/// Where providers are found.
#[async_trait]
pub trait Network: Send + Sync {
    /// `local`, or the payment network's name.
    fn name(&self) -> &str;

    /// The payment driver.
    fn driver(&self) -> &str;

    /// Makes a demand known. Fails only when the network itself cannot be used; a demand that nobody can meet gives a
    /// market that says why and goes quiet.
    async fn publish(&self, demand: &Demand) -> Result<Box<dyn Market>, NetworkError>;
}

/// Answers to one demand.
#[async_trait]
pub trait Market: Send {
    /// Waits for the next answer.
    async fn next(&mut self) -> Result<MarketEvent, NetworkError>;

    /// What it asks of every provider beyond the demand, each in words that follow "with".
    fn asked(&self) -> Vec<String> {
        Vec::new()
    }

    /// How long it makes sense to wait for an offer, of a provider that suits, beyond those that `next` has answered:
    /// nothing if nobody can come, [`Duration::MAX`] if somebody is known who is busy or whom `next` is about to propose.
    fn patience(&self, suits: &dyn Fn(&NodeId) -> bool) -> Duration;

    /// Takes the demand back. Agreements made from it go on.
    async fn withdraw(self: Box<Self>);
}

/// An answer to a demand.
pub enum MarketEvent {
    /// A provider would do it.
    Proposal(Box<dyn Proposal>),
    /// A provider, or the network as a whole, does not match.
    Refused(Refusal),
    /// Nobody else is known at this time; or what [`Market::patience`] answers has changed.
    Quiet,
}

/// Why an offer came to nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Refusal {
    /// Whose offer; none if it concerns all of them.
    pub provider: Option<Provider>,
    /// Why.
    pub reason: String,
}

/// A provider's offer for one agreement. Dropping it declines it.
#[async_trait]
pub trait Proposal: Send + Sync {
    /// Who offers.
    fn provider(&self) -> &Provider;

    /// For which price.
    fn price(&self) -> &LinearPrice;

    /// CPU threads that an activity may keep busy, and so how fast processor time can be used up.
    fn threads(&self) -> u32;

    /// Makes an agreement of it.
    async fn agree(self: Box<Self>) -> Result<Box<dyn Agreement>, NetworkError>;
}

/// Why an agreement ends, as the provider is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TerminateReason {
    /// The work is done.
    Success,
    /// It is not wanted any more.
    Cancelled(String),
    /// The provider did not do what was agreed.
    Failed(String),
}

/// What came to be paid for an agreement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bill {
    /// What the provider asks, all activities together.
    pub claimed: Amount,
    /// What was accepted.
    pub accepted: Amount,
}

/// What happens to an agreement by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AgreementEvent {
    /// The provider told what is owed so far.
    DebitNote {
        /// In all, since the beginning of the agreement.
        amount: Amount,
        /// Whether it was within the ceiling.
        accepted: bool,
    },
    /// The final bill arrived.
    Invoice {
        /// In all.
        amount: Amount,
        /// Whether it was within the ceiling.
        accepted: bool,
    },
    /// The provider ended the agreement.
    Terminated {
        /// Its own words.
        reason: String,
    },
    /// The agreement was ended here, because the provider did not keep to it.
    Broken {
        /// What it did.
        reason: String,
    },
}

/// A contract with one provider.
#[async_trait]
pub trait Agreement: Send + Sync {
    /// Its id in the network.
    fn id(&self) -> &str;

    /// With whom.
    fn provider(&self) -> &Provider;

    /// For which price.
    fn price(&self) -> &LinearPrice;

    /// Most that may be accepted from now on, in all.
    fn set_ceiling(&self, most: Amount);

    /// Starts an activity. On real networks a provider breaks an agreement that has none for about 90 seconds, so it
    /// comes right after `agree`.
    async fn create_activity(&self) -> Result<Box<dyn Activity>, NetworkError>;

    /// Waits for the next event; none when nothing more can come, which is so at the latest when `terminate` has
    /// returned and all earlier events were taken.
    async fn next_event(&self) -> Option<AgreementEvent>;

    /// Ends the agreement with all of its activities and answers what was paid.
    async fn terminate(&self, reason: TerminateReason) -> Bill;
}

/// How soon a batch tells what happens in it. Its results are the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Attention {
    /// As it happens, for somebody who watches.
    Live,
    /// Within some seconds, where that costs less. Output may come with the results.
    Easy,
}

/// A runtime on a provider.
#[async_trait]
pub trait Activity: Send + Sync {
    /// Its id in the network.
    fn id(&self) -> &str;

    /// Starts a batch. The first batch of an activity begins with [`Command::Deploy`] and [`Command::Start`].
    async fn exec(
        &self,
        batch: Vec<Command>,
        attention: Attention,
    ) -> Result<mpsc::Receiver<BatchEvent>, NetworkError>;

    /// What was used since the activity began, as the provider says.
    async fn usage(&self) -> Result<Usage, NetworkError>;

    /// Ends it.
    async fn destroy(&self);
}
