//! How the user is asked whether a pod may have what it wants.
//!
//! Only the program knows a terminal, so asking is a trait; who forgets to implement it gets a no.

use sovr_capability::explain::Explanation;
use sovr_capability::{Digest, Untrusted};

/// How a run may get its consent, besides one that is remembered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Consent {
    /// Ask, once.
    Ask,
    /// Whatever is asked within the policy is accepted: `--yes`.
    Whatever,
    /// Only requests with one of these digests are accepted: `--allow DIGEST`.
    Exactly(Vec<Digest>),
}

/// What the user is asked.
#[derive(Debug, Clone)]
pub struct Question {
    /// The pod's own name for itself.
    pub pod: Untrusted,
    /// Who wrote it, as it says.
    pub author: Untrusted,
    /// Digest of the component.
    pub component: Digest,
    /// Digest of the request; what `--allow` takes.
    pub request: Digest,
    /// What it would hold and what not, in plain words.
    pub explanation: Explanation,
    /// Whether another request of the same component was agreed to before: the recipe has changed since.
    pub changed: bool,
}

/// What came of asking.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// The user said yes.
    Yes,
    /// The user said no.
    No,
    /// There was nobody to ask, for this reason.
    NotAsked(String),
}

/// Somebody who can ask the user.
pub trait Ask {
    /// Puts the question.
    fn ask(&mut self, question: &Question) -> Answer {
        let _ = question;
        Answer::NotAsked("nobody can be asked here".to_owned())
    }
}
