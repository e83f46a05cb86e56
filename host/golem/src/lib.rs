//! Work on Golem providers: what every network shares, and the network of this machine.
//!
//! | Module | What it holds |
//! |---|---|
//! | [`demand`], [`price`], [`step`], [`transfer`], [`failure`], [`outcome`] | the vocabulary, plain types |
//! | [`network`] | the traits a market of providers implements, their laws, and the suite that checks them |
//! | [`executor`] | many tasks on many providers: queue, workers, retries, budget |
//! | [`rental`] | one provider, driven batch by batch |
//! | [`event`] | what happens meanwhile, told to whoever watches |
//! | [`exe_unit`] | the provider's side of an activity: runs packages in confined children |
//! | [`local`] | a network of providers on this machine |
//! | [`provider`] | the other side of a Golem network: work for requestors |
//! | [`yagna`] | the REST interface of a Golem daemon |
//! | [`bus`] | what is said on the service bus of a daemon |
//!
//! Nothing here knows what a user allowed: money comes in as a [`sovr_capability::Reservation`] that somebody else
//! granted, files as [`transfer::Source`] and [`transfer::Sink`] that somebody else opened.

mod blocking;
pub mod bus;
pub mod demand;
pub mod event;
pub mod exe_unit;
pub mod executor;
pub mod failure;
mod lease;
pub mod local;
pub mod network;
pub mod outcome;
mod pool;
pub mod price;
pub mod provider;
mod purse;
pub mod rental;
pub mod step;
mod story;
mod timing;
pub mod transfer;
pub mod yagna;

pub use demand::{Demand, Form, Package};
pub use event::{Event, Observer};
pub use executor::{Executor, ExecutorError, Job, Task};
pub use failure::{Failure, FailureKind};
pub use network::{Network, Provider};
pub use outcome::{Outcome, Summary, Terms};
pub use price::{LinearPrice, Strategy, Usage};
pub use rental::Rental;
pub use step::{BatchEvent, Step, StepResult};
pub use transfer::{Sink, Source};
