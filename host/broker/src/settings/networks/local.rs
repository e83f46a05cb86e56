//! The network of this machine: `[local]` of `networks.toml`.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Deserialize;
use sovr_capability::{Amount, Span};
use sovr_golem::LinearPrice;
use sovr_golem::local::{self, Fault, ProviderSettings};

/// Most providers of the local network; each may have several processes.
const MOST_PROVIDERS: usize = 64;

/// What the file says.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub(super) struct Section {
    providers: Option<usize>,
    price: Option<Price>,
    faults: BTreeMap<String, FaultWord>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct Price {
    start: Amount,
    cpu_second: Amount,
    duration_second: Amount,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum FaultWord {
    FailCommand,
    Hang,
    ShortFile,
    Vanish,
    RefuseAgreement,
    Slow(Span),
    LieAboutUsage,
    LieAboutPrice,
}

impl From<FaultWord> for Fault {
    fn from(word: FaultWord) -> Self {
        match word {
            FaultWord::FailCommand => Fault::FailCommand,
            FaultWord::Hang => Fault::Hang,
            FaultWord::ShortFile => Fault::ShortFile,
            FaultWord::Vanish => Fault::Vanish,
            FaultWord::RefuseAgreement => Fault::RefuseAgreement,
            FaultWord::Slow(by) => Fault::Slow(by.duration()),
            FaultWord::LieAboutUsage => Fault::LieAboutUsage,
            FaultWord::LieAboutPrice => Fault::LieAboutPrice,
        }
    }
}

/// The network as the section wants it. Providers work in `scratch`.
pub(super) fn settings(local: Section, scratch: PathBuf) -> Result<local::Settings, String> {
    let mut settings = local::Settings::new(scratch);
    if let Some(providers) = local.providers {
        if !(1..=MOST_PROVIDERS).contains(&providers) {
            return Err(format!(
                "local.providers is {providers}; it must be between 1 and {MOST_PROVIDERS}"
            ));
        }
        settings.providers = (0..providers).map(ProviderSettings::numbered).collect();
    }
    if let Some(Price {
        start,
        cpu_second,
        duration_second,
    }) = local.price
    {
        for provider in &mut settings.providers {
            provider.price = LinearPrice {
                start,
                cpu_second,
                duration_second,
            };
        }
    }
    let providers = settings.providers.len();
    for (provider, word) in local.faults {
        let index: usize = provider
            .parse()
            .ok()
            .filter(|index| *index < providers)
            .ok_or_else(|| {
                format!(
                    "local.faults.{provider}: there are providers 0 to {}",
                    providers - 1
                )
            })?;
        settings.faults.insert(index, word.into());
    }
    Ok(settings)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(text: &str) -> Result<local::Settings, String> {
        let section = toml::from_str(text).map_err(|error| error.to_string())?;
        super::settings(section, PathBuf::from("/scratch"))
    }

    #[test]
    fn every_key_is_understood() {
        let text = r#"
            providers = 4
            [price]
            start = "0.5"
            cpu-second = "0.25"
            duration-second = "0.125"
            [faults]
            0 = "vanish"
            3 = { slow = "5s" }
        "#;
        let settings = settings(text).unwrap();
        assert_eq!(settings.providers.len(), 4);
        assert_eq!(
            settings.providers[3].price.cpu_second,
            "0.25".parse().unwrap()
        );
        assert_eq!(settings.faults[&0], Fault::Vanish);
        assert_eq!(
            settings.faults[&3],
            Fault::Slow(std::time::Duration::from_secs(5))
        );
    }

    #[test]
    fn what_is_not_understood_is_refused() {
        for (text, word) in [
            ("provider = 4", "provider"),
            ("providers = 0", "local.providers"),
            ("providers = 2\n[faults]\n2 = \"hang\"", "local.faults.2"),
            ("[faults]\n0 = \"explode\"", "explode"),
        ] {
            let problem = settings(text).unwrap_err();
            assert!(problem.contains(word), "{problem}");
        }
    }
}
