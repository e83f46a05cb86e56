//! A refusal, said in the recipe's own words, so that a pod's author can find the line to change.

use serde::{Deserialize, Serialize};

use crate::text::quote;

/// A capability that the pod does not hold, or holds too little of. The shape of `errors.denial` in the contract.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("`{capability}`: asked for {}, granted is {}", quote(.asked), quote(.granted))]
pub struct Denial {
    /// Dotted path in the recipe's `capabilities`, e.g. `golem.max-workers`.
    pub capability: String,
    /// What the call would have needed, in the recipe's own notation. May hold a guest's text.
    pub asked: String,
    /// What this run holds, in the same notation; [`Denial::NOTHING`] if the section is absent.
    pub granted: String,
}

impl Denial {
    /// What is held when the section is absent.
    pub const NOTHING: &'static str = "nothing";

    /// A refusal.
    pub fn new(
        capability: impl Into<String>,
        asked: impl ToString,
        granted: impl ToString,
    ) -> Self {
        Self {
            capability: capability.into(),
            asked: asked.to_string(),
            granted: granted.to_string(),
        }
    }

    /// A refusal because the run holds nothing of the kind.
    pub fn nothing(capability: impl Into<String>, asked: impl ToString) -> Self {
        Self::new(capability, asked, Self::NOTHING)
    }
}
