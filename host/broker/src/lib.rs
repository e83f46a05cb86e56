//! Serves one pod run: takes the script's calls, checks each against what the user granted, writes it to the audit
//! log, acts.
//!
//! | Module | What it holds |
//! |---|---|
//! | [`host`] | the steps from a directory to a finished run, each callable alone |
//! | [`account`] | the user's account at a storage server |
//! | [`cleanup`] | ending what runs left that ended without a word |
//! | [`consent`] | how the user is asked; the default says no |
//! | [`event`], [`report`], [`error`] | what happens during a run, how it ended, why it did not begin |
//! | [`interrupt`] | Ctrl-C, as the run sees it |
//! | [`task`] | several pods, one after the other or at the same time |
//! | [`settings`] | the user's `networks.toml` and `storage.toml` |
//! | `gate` | the one choke point: check, audit line, permit |
//! | `serve` | the conversation with a runner |
//! | `calls` | one file per interface: what a permitted call does |
//! | `journal` | what a run opens at a Golem daemon, written down |
//! | `convert` | between the contract's words and the domain's types |

pub mod account;
mod calls;
pub mod cleanup;
pub mod consent;
mod convert;
pub mod error;
pub mod event;
mod files;
mod gate;
pub mod host;
mod imports;
pub mod interrupt;
mod journal;
mod provide;
pub mod report;
mod run;
mod run_log;
mod serve;
pub mod settings;
mod tally;
pub mod task;
mod watch;

pub use consent::{Answer, Ask, Consent, Question};
pub use error::{Error, Kind};
pub use event::{Event, Observer};
pub use host::{Decided, Examined, Host, Loaded, Prepared, Supplied};
pub use interrupt::{Interrupt, Interrupter};
pub use report::{Ending, Report};
