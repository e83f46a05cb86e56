//! What can be known of a pod without running it. `check` judges it, `inspect` shows it.

use std::path::Path;

use sovr_broker::{Examined, Host};
use sovr_capability::Home;
use sovr_capability::consent::Consent;
use sovr_runtime::examine::Name;

use super::block_on;

/// A pod that was looked at.
pub(crate) struct Survey {
    /// What it is.
    pub examined: Examined,
    /// The consent to it, if it was given.
    pub consent: Option<Consent>,
}

impl Survey {
    /// Looks at a pod.
    pub(crate) fn of(pod: &Path) -> anyhow::Result<Survey> {
        let host = Host::open(Home::from_environment()?)?;
        let loaded = host.load(pod, &[])?;
        let examined = block_on(async { Ok(host.examine(loaded).await?) })?;
        let consent = host.consent(&examined)?;
        Ok(Survey { examined, consent })
    }

    /// Whether the user agreed, in words.
    pub(crate) fn consent_in_words(&self) -> String {
        match &self.consent {
            Some(consent) => {
                let how = super::consent::given_by(consent.given_by);
                format!("given {} by {how}", super::consent::day(consent.given_at))
            }
            None => "not given yet; `run` asks".to_owned(),
        }
    }
}

/// `wasi:cli/run@0.2.6`, safe to show.
pub(crate) fn full_name(name: &Name) -> String {
    match &name.version {
        Some(version) => format!("{}@{}", name.name.escaped(), version.escaped()),
        None => name.name.escaped(),
    }
}
