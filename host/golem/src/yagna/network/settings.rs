//! How work is asked for on a Golem network, and how long what is waited for.

use std::time::Duration;

use reqwest::Url;

use crate::yagna::connection::{Settings, SettingsError};

/// Where images are looked up unless somebody says otherwise.
const REGISTRY: &str = "https://registry.golem.network";
/// A network on which money costs nothing.
const NETWORK: &str = "holesky";
const DRIVER: &str = "erc20";
const SUBNET: &str = "public";
/// Networks whose money is real.
const MAINNETS: [&str; 2] = ["mainnet", "polygon"];

/// Which daemon is asked, who pays, and on which terms.
#[derive(Debug, Clone)]
pub struct NetworkSettings {
    /// Where the daemon is.
    pub daemon: Settings,
    /// The payment driver: `erc20`.
    pub driver: String,
    /// The payment network: `holesky`, `hoodi`, `polygon`.
    pub network: String,
    /// The token, in lower case; none for the network's usual one.
    pub token: Option<String>,
    /// The subnet of demands that name none. Whoever makes the demand looks here.
    pub subnet: String,
    /// Where images of virtual machines are looked up.
    pub registry: Url,
    /// What providers see as the requestor's name.
    pub node_name: Option<String>,
    /// Terms for debit notes.
    pub debit_notes: DebitNotes,
    /// How long what is waited for.
    pub waits: Waits,
}

/// What is negotiated about debit notes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DebitNotes {
    /// They are accepted within this time. A provider that wants it faster than `least_accept_timeout` is refused.
    pub accept_timeout: Duration,
    /// See `accept_timeout`.
    pub least_accept_timeout: Duration,
    /// No more often than this; a provider that sends more breaks the agreement.
    pub interval: Duration,
    /// What is payable is paid within this time.
    pub payment_timeout: Duration,
}

impl Default for DebitNotes {
    /// What official clients ask for.
    fn default() -> Self {
        Self {
            accept_timeout: Duration::from_secs(240),
            least_accept_timeout: Duration::from_secs(30),
            interval: Duration::from_secs(120),
            payment_timeout: Duration::from_secs(12 * 3600),
        }
    }
}

/// How long what is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Waits {
    /// For an offer, when nobody is known who suits; for a provider that became free to offer again; for one that has
    /// no room at the moment.
    pub offers: Duration,
    /// For a provider's answer to a proposal.
    pub answer: Duration,
    /// For a provider's approval of an agreement.
    pub approval: Duration,
    /// For an activity to come up.
    pub activity: Duration,
    /// For an activity to end.
    pub destroy: Duration,
    /// For a provider that runs a batch, or the daemon, to be heard of again.
    pub lost: Duration,
    /// For the last bill of an agreement.
    pub invoice: Duration,
}

impl Default for Waits {
    fn default() -> Self {
        Self {
            offers: Duration::from_secs(2 * 60),
            answer: Duration::from_secs(60),
            approval: Duration::from_secs(60),
            activity: Duration::from_secs(60),
            destroy: Duration::from_secs(30),
            lost: Duration::from_secs(2 * 60),
            invoice: Duration::from_secs(30),
        }
    }
}

impl NetworkSettings {
    /// A daemon with everything else as is usual.
    #[must_use]
    pub fn new(daemon: Settings) -> Self {
        Self {
            daemon,
            driver: DRIVER.to_owned(),
            network: NETWORK.to_owned(),
            token: None,
            subnet: SUBNET.to_owned(),
            registry: Url::parse(REGISTRY).expect("the default is an address"),
            node_name: None,
            debit_notes: DebitNotes::default(),
            waits: Waits::default(),
        }
    }

    /// From the variables that official clients read: those of [`Settings::from_variables`] and
    /// `YAGNA_PAYMENT_DRIVER`, `YAGNA_PAYMENT_NETWORK`, `YAGNA_SUBNET`, `GOLEM_REGISTRY_URL`.
    ///
    /// # Errors
    /// See [`SettingsError`].
    pub fn from_variables(
        variable: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, SettingsError> {
        let mut settings = Self::new(Settings::from_variables(&variable)?);
        let filled = |name: &str| variable(name).filter(|value| !value.is_empty());
        for (name, place) in [
            ("YAGNA_PAYMENT_DRIVER", &mut settings.driver),
            ("YAGNA_PAYMENT_NETWORK", &mut settings.network),
        ] {
            if let Some(value) = filled(name) {
                *place = value.to_lowercase();
            }
        }
        if let Some(subnet) = filled("YAGNA_SUBNET") {
            settings.subnet = subnet;
        }
        if let Some(text) = filled("GOLEM_REGISTRY_URL") {
            let name = "GOLEM_REGISTRY_URL";
            let url = Url::parse(&text).map_err(|error| SettingsError::Address {
                name,
                why: error.to_string(),
            })?;
            settings.registry = url;
        }
        Ok(settings)
    }

    /// Driver, network and token in the daemon's form: `erc20-holesky-tglm`.
    #[must_use]
    pub fn platform(&self) -> String {
        match &self.token {
            Some(token) => format!("{}-{}-{token}", self.driver, self.network),
            None => platform(&self.driver, &self.network),
        }
    }
}

/// Driver, network and the network's usual token in the daemon's form: `erc20-holesky-tglm`.
#[must_use]
pub fn platform(driver: &str, network: &str) -> String {
    let token = match MAINNETS.contains(&network) {
        true => "glm",
        false => "tglm",
    };
    format!("{driver}-{network}-{token}")
}

#[cfg(test)]
mod tests {
    use super::NetworkSettings;

    #[test]
    fn the_variables_of_official_clients_choose_network_and_subnet() {
        let settings = |variables: &[(&str, &str)]| {
            let known = |name: &str| {
                let found = variables.iter().find(|(known, _)| *known == name)?;
                Some(found.1.to_owned())
            };
            NetworkSettings::from_variables(known)
        };
        let key = ("YAGNA_APPKEY", "k");
        let usual = settings(&[key]).unwrap();
        assert_eq!(usual.platform(), "erc20-holesky-tglm");
        assert_eq!(usual.subnet, "public");
        let chosen = settings(&[
            key,
            ("YAGNA_PAYMENT_NETWORK", "Polygon"),
            ("YAGNA_SUBNET", "mine"),
            ("GOLEM_REGISTRY_URL", "http://localhost:1"),
        ]);
        let chosen = chosen.unwrap();
        assert_eq!(chosen.platform(), "erc20-polygon-glm");
        assert_eq!(chosen.subnet, "mine");
        assert_eq!(chosen.registry.as_str(), "http://localhost:1/");
        let wrong = settings(&[key, ("GOLEM_REGISTRY_URL", "nowhere")]);
        let wrong = wrong.unwrap_err().to_string();
        assert!(wrong.contains("GOLEM_REGISTRY_URL"), "{wrong}");
    }
}
