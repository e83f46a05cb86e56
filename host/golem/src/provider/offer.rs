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
    let expires = match demand.get(names::EXPIRATION).and_then(Value::as_i64) {
        None => None,
        Some(milliseconds) => {
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
