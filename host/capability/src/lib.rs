//! What a pod asks for, what a user allows, and what a run holds: plain types that the whole program shares.
//!
//! A recipe asks ([`Capabilities`]), the user's policy is a ceiling ([`Policy`]), a run holds what both have in common
//! ([`Grants`]). The user agrees once ([`ConsentStore`]), money is reserved before it is spent ([`Ledger`]), every check
//! leaves a line before its effect ([`audit::Log`]). Nothing here talks to a network, a guest or a terminal.

// Values
pub mod amount;
pub mod causes;
pub mod digest;
pub mod member;
pub mod run_id;
pub mod text;
pub mod units;

// Request, ceiling, grant
pub mod capabilities;
pub mod denial;
pub mod difference;
pub mod explain;
pub mod grants;
pub mod json;
pub mod limits;
pub mod pattern;
pub mod policy;
pub mod section;

// State
pub mod audit;
pub mod consent;
mod database;
pub mod error;
pub mod home;
pub mod journal;
pub mod ledger;

pub use amount::Amount;
pub use capabilities::Capabilities;
pub use consent::ConsentStore;
pub use denial::Denial;
pub use difference::{Change, ChangeKind, difference};
pub use digest::Digest;
pub use error::StateError;
pub use grants::{Grants, Narrowing};
pub use home::Home;
pub use journal::Journal;
pub use ledger::{Ledger, Reservation};
pub use limits::Limits;
pub use policy::Policy;
pub use run_id::RunId;
pub use text::Untrusted;
pub use units::{Size, Span};
