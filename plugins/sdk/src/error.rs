//! Errors that say what was attempted. The host's answer alone ("denied: golem.budget") does not tell a reader
//! which call of the script it belongs to.

use std::fmt;

use crate::Refusal;

/// A call that the host did not do.
#[derive(Debug, Clone)]
pub struct Error {
    attempt: String,
    refusal: Refusal,
}

impl Error {
    pub(crate) fn new(attempt: impl Into<String>, refusal: Refusal) -> Self {
        Self {
            attempt: attempt.into(),
            refusal,
        }
    }

    /// The host's answer, to tell the kinds apart.
    pub fn refusal(&self) -> &Refusal {
        &self.refusal
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.attempt)?;
        match &self.refusal {
            Refusal::Denied(denial) => write!(
                f,
                "denied: {} is {}, and {} was asked for; widen `capabilities` in the recipe or the user's policy",
                denial.capability, denial.granted, denial.asked
            ),
            Refusal::Invalid(why) => write!(f, "invalid: {why}"),
            Refusal::NotFound(what) => write!(f, "not found: {what}"),
            Refusal::AlreadyExists(what) => write!(f, "already exists: {what}"),
            Refusal::OverBudget(why) => write!(f, "over budget: {why}"),
            Refusal::TimedOut(what) => write!(f, "timed out: {what}"),
            Refusal::Cancelled => f.write_str("cancelled"),
            Refusal::Unavailable(why) => write!(f, "unavailable: {why}"),
        }
    }
}

impl std::error::Error for Error {}

#[cfg(test)]
mod tests {
    use super::Error;
    use crate::{Denial, Refusal};

    #[test]
    fn a_denial_names_the_capability_and_what_to_do() {
        let error = Error::new(
            "opening a job",
            Refusal::Denied(Denial {
                capability: "golem.max-workers".to_owned(),
                asked: "8".to_owned(),
                granted: "3".to_owned(),
            }),
        );
        assert_eq!(
            error.to_string(),
            "opening a job: denied: golem.max-workers is 3, and 8 was asked for; \
             widen `capabilities` in the recipe or the user's policy"
        );
    }
}
