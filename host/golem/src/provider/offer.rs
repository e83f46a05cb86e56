//! What is offered, and which demands suit it.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Map, Value, json};
use sovr_capability::Amount;

use super::Settings;
use crate::bus::gftp::Location;
use crate::network::NodeId;
use crate::yagna::market::Declaration;
use crate::yagna::properties as names;

const GIB: f64 = (1u64 << 30) as f64;
/// An agreement that ends sooner is not worth its start.
const LEAST_LIFE: Duration = Duration::from_secs(30);
/// What may be agreed about bills at most.
const DAY: u64 = 24 * 3600;
/// A debit note is on its way for a moment.
const LEAST_ACCEPT: u64 = 5;

/// What a requestor wants, as far as it concerns us.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Wish {
    /// Where the package is.
    pub(super) package: Location,
    /// When the agreement ends.
    pub(super) expires: Option<Timestamp>,
}

/// Why a demand does not suit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) reason: String,
    /// Asking again is of no use.
    pub(super) is_final: bool,
}

impl Refusal {
    fn for_good(reason: impl Into<String>) -> Self {
        Self {
            reason: reason.into(),
            is_final: true,
        }
    }

    /// There is no room at the moment.
    pub(super) fn no_capacity(capacity: usize) -> Self {
        Self {
            reason: format!("No capacity available. Reached Agreements limit: {capacity}"),
            is_final: false,
        }
    }
}

/// The offer, as it is published and as it answers a demand.
pub(super) fn offer(
    settings: &Settings,
    node: &NodeId,
    demand: &Map<String, Value>,
) -> Declaration {
    let price = &settings.price;
    let coefficients = [price.cpu_second, price.duration_second, price.start].map(number);
    let terms = Terms::of(settings).agreed(demand);
    let properties = json!({
        names::TRANSFER_PROTOCOLS: ["gftp"],
        names::DEPLOY_PROGRESS: true,
        names::TRANSFER_PROGRESS: true,
        names::ACCEPT_TIMEOUT: terms.accept_timeout.as_secs(),
        names::NOTE_INTERVAL: terms.interval.as_secs(),
        names::PAYMENT_PROTOCOL: 3,
        names::PRICING_MODEL: names::LINEAR,
        names::COEFFICIENTS: coefficients,
        names::SCHEME: names::PAYU,
        names::USAGE_VECTOR: [names::USAGE_CPU, names::USAGE_DURATION],
        names::ARCHITECTURE: std::env::consts::ARCH,
        names::CORES: settings.threads,
        names::THREADS: settings.threads,
        names::MEMORY: settings.memory as f64 / GIB,
        names::STORAGE: settings.storage as f64 / GIB,
        names::SUBNET: settings.subnet,
        names::NODE_NAME: settings.name,
        names::RUNTIME_NAME: names::RUNTIME,
        names::RUNTIME_VERSION: env!("CARGO_PKG_VERSION"),
        names::RUNTIME_CAPABILITIES: [],
        names::MULTI_ACTIVITY: true,
        "golem.srv.caps.payload-manifest": false,
    });
    let mut properties = match properties {
        Value::Object(properties) => properties,
        _ => Map::new(),
    };
    for platform in &settings.platforms {
        properties.insert(names::platform_address(platform), json!(node));
    }
    // Nothing is due before the invoice, so whatever the requestor likes.
    let payment_timeout = demand.get(names::PAYMENT_TIMEOUT).and_then(Value::as_u64);
    if let Some(seconds) = payment_timeout.filter(|seconds| *seconds <= DAY) {
        properties.insert(names::PAYMENT_TIMEOUT.to_owned(), json!(seconds));
    }
    Declaration {
        properties,
        constraints: format!("(&({}={}))", names::SUBNET, settings.subnet),
    }
}

/// Golem's properties know no decimals. A price survives this, see [`Settings::check`].
fn number(amount: Amount) -> f64 {
    amount.to_string().parse().unwrap_or(f64::MAX)
}

/// Whether an amount is the same after it was a property.
pub(super) fn survives(amount: Amount) -> bool {
    number(amount).to_string().parse() == Ok(amount)
}

/// What is agreed about debit notes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Terms {
    /// A note that is not accepted for so long ends the agreement.
    pub(super) accept_timeout: Duration,
    /// Time between two notes.
    pub(super) interval: Duration,
}

impl Terms {
    fn of(settings: &Settings) -> Self {
        Self {
            accept_timeout: settings.accept_timeout,
            interval: settings.debit_notes,
        }
    }

    /// With what a demand says: notes may have less time than we would give, and come more rarely than we would.
    fn agreed(self, demand: &Map<String, Value>) -> Self {
        let wish = |name: &str, least: u64, most: u64| {
            let seconds = demand.get(name).and_then(Value::as_u64)?;
            (least..=most)
                .contains(&seconds)
                .then(|| Duration::from_secs(seconds))
        };
        let most = self.accept_timeout.as_secs();
        let accept_timeout = wish(names::ACCEPT_TIMEOUT, LEAST_ACCEPT.min(most), most);
        let interval = wish(names::NOTE_INTERVAL, self.interval.as_secs(), DAY);
        Self {
            accept_timeout: accept_timeout.unwrap_or(self.accept_timeout),
            interval: interval.unwrap_or(self.interval),
        }
    }

    /// As our side of an agreement has it.
    pub(super) fn in_force(settings: &Settings, offer: &Map<String, Value>) -> Self {
        Self::of(settings).agreed(offer)
    }
}

/// Whether a demand suits.
pub(super) fn examine(settings: &Settings, demand: &Map<String, Value>) -> Result<Wish, Refusal> {
    let missing = |name: &str| {
        // In the stock provider's words.
        let path = name.trim_end_matches('?').replace('.', "/");
        Refusal::for_good(format!("Missing fields: /{path}"))
    };
    let text = |name: &str| demand.get(name).and_then(Value::as_str);
    let platform = text(names::CHOSEN_PLATFORM).ok_or_else(|| missing(names::CHOSEN_PLATFORM))?;
    if !settings.platforms.iter().any(|known| known == platform) {
        let ours = settings.platforms.join(", ");
        return Err(Refusal::for_good(format!("paid by {ours} only")));
    }
    let package = text(names::TASK_PACKAGE).ok_or_else(|| missing(names::TASK_PACKAGE))?;
    let package = Location::read(package).map_err(|error| Refusal::for_good(error.to_string()))?;
    let expires = match demand.get(names::EXPIRATION) {
        None => None,
        Some(told) => {
            // Some write it as 1.7e12.
            let milliseconds = told.as_i64().or(told.as_f64().map(|told| told as i64));
            let milliseconds = milliseconds.ok_or_else(|| {
                Refusal::for_good(format!("{} is no time in milliseconds", names::EXPIRATION))
            })?;
            let expires = Timestamp::from_millisecond(milliseconds).unwrap_or(Timestamp::MAX);
            if expires.duration_since(Timestamp::now()) < LEAST_LIFE.try_into().unwrap_or_default()
            {
                return Err(Refusal::for_good("Proposal expires too soon"));
            }
            Some(expires)
        }
    };
    Ok(Wish { package, expires })
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;
    use std::time::Duration;

    use jiff::Timestamp;
    use serde_json::{Map, Value, json};

    use super::{Settings, Terms, examine, names, survives};
    use crate::price::LinearPrice;

    fn settings() -> Settings {
        let amount = |text: &str| text.parse().unwrap();
        let price = LinearPrice {
            start: amount("0.1"),
            cpu_second: amount("0.02"),
            duration_second: amount("0.01"),
        };
        Settings::new("test".to_owned(), price, PathBuf::new())
    }

    fn map(value: Value) -> Map<String, Value> {
        value.as_object().unwrap().clone()
    }

    #[test]
    fn debit_notes_come_more_rarely_and_are_accepted_sooner_if_the_requestor_likes() {
        for (timeout, interval, agreed) in [
            (json!(120), json!(300), (120, 300)),
            // Later, oftener, at once, never, and nonsense.
            (json!(900), json!(1), (240, 120)),
            (json!(0), json!(u64::MAX), (240, 120)),
            (json!("soon"), json!(-5), (240, 120)),
        ] {
            let demand =
                map(json!({ names::ACCEPT_TIMEOUT: timeout, names::NOTE_INTERVAL: interval }));
            let terms = Terms::in_force(&settings(), &demand);
            let expected = Terms {
                accept_timeout: Duration::from_secs(agreed.0),
                interval: Duration::from_secs(agreed.1),
            };
            assert_eq!(terms, expected, "{demand:?}");
        }
    }

    #[test]
    fn a_demand_suits_or_is_told_why_not() {
        let node = "0x00112233445566778899aabbccddeeff00112233";
        let demand = map(json!({
            names::CHOSEN_PLATFORM: "erc20-holesky-tglm", names::TASK_PACKAGE: format!("gftp://{node}/a"),
        }));
        assert_eq!(examine(&settings(), &demand).unwrap().expires, None);
        let now = Timestamp::now().as_millisecond();
        for (name, value, told) in [
            (
                names::CHOSEN_PLATFORM,
                json!("erc20-polygon-glm"),
                "paid by erc20-holesky-tglm only",
            ),
            (
                names::TASK_PACKAGE,
                json!("http://host/a"),
                "Unsupported scheme: http",
            ),
            (
                names::TASK_PACKAGE,
                json!(7),
                "Missing fields: /golem/srv/comp/task_package",
            ),
            (
                names::EXPIRATION,
                json!(now + 10_000),
                "Proposal expires too soon",
            ),
            (
                names::EXPIRATION,
                json!((now + 10_000) as f64),
                "Proposal expires too soon",
            ),
            (
                names::EXPIRATION,
                json!("tomorrow"),
                "golem.srv.comp.expiration is no time in milliseconds",
            ),
        ] {
            let mut demand = demand.clone();
            demand.insert(name.to_owned(), value);
            let refusal = examine(&settings(), &demand).unwrap_err();
            assert_eq!((refusal.reason.as_str(), refusal.is_final), (told, true));
        }
    }

    #[test]
    fn a_price_that_an_offer_cannot_tell_is_refused() {
        for (amount, fits) in [
            ("0.1", true),
            ("0.000000001", true),
            ("0.1234567890123456789", false),
        ] {
            let parsed = amount.parse();
            assert_eq!(parsed.is_ok_and(survives), fits, "{amount}");
        }
        assert!(!survives("1.000000000000000001".parse().unwrap()));
        settings().check().unwrap();
        let wrong = Settings {
            subnet: "a)(b".to_owned(),
            ..settings()
        };
        assert!(wrong.check().unwrap_err().to_string().contains("subnet"));
    }
}
