//! A provider's offer, read: who, for how much, on which terms.

use std::time::Duration;

use serde_json::{Map, Value};
use sovr_capability::Amount;

use super::settings::DebitNotes;
use crate::price::{LinearPrice, Usage};
use crate::yagna::properties as names;

/// Most characters of a provider's name that are kept.
const NAME: usize = 100;
/// No machine has more.
const THREADS: u64 = 4096;
/// What prices are rounded up to: the token's smallest unit.
const DIGITS: usize = sovr_capability::amount::DECIMALS;

/// What is understood of an offer.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Offer {
    pub(super) name: Option<String>,
    pub(super) price: LinearPrice,
    pub(super) threads: u32,
    pub(super) counters: Counters,
}

/// Where in a report of usage what is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Counters {
    cpu: Option<usize>,
    duration: Option<usize>,
}

impl Counters {
    /// What a report says was used.
    pub(super) fn read(self, usage: &[f64]) -> Usage {
        let seconds = |index: Option<usize>| {
            let seconds = index.and_then(|index| usage.get(index)).copied();
            Duration::try_from_secs_f64(seconds.unwrap_or_default()).unwrap_or_default()
        };
        Usage {
            cpu: seconds(self.cpu),
            duration: seconds(self.duration),
        }
    }
}

/// Reads an offer.
///
/// # Errors
/// Why it is of no use, in words.
pub(super) fn read(properties: &Map<String, Value>) -> Result<Offer, String> {
    let text = |name: &str| properties.get(name).and_then(Value::as_str);
    match text(names::PRICING_MODEL) {
        Some(names::LINEAR) => {}
        _ => return Err("its prices are not linear".to_owned()),
    }
    if text(names::SCHEME).is_some_and(|scheme| scheme != names::PAYU) {
        return Err("it bills in an unknown way".to_owned());
    }
    let list = |name: &str| properties.get(name).and_then(Value::as_array);
    let takes = list(names::TRANSFER_PROTOCOLS);
    if takes.is_some_and(|takes| !takes.iter().any(|protocol| protocol == "gftp")) {
        return Err("it takes no files over Golem's own network".to_owned());
    }
    let nonsense = || "its prices make no sense".to_owned();
    let vector = list(names::USAGE_VECTOR).ok_or_else(nonsense)?;
    let (start, rates) = list(names::COEFFICIENTS)
        .and_then(|coefficients| coefficients.split_last())
        .ok_or_else(nonsense)?;
    if rates.len() != vector.len() {
        return Err(nonsense());
    }
    let mut offer = Offer {
        name: text(names::NODE_NAME).map(|name| name.chars().take(NAME).collect()),
        price: LinearPrice {
            start: amount(start).ok_or_else(nonsense)?,
            cpu_second: Amount::ZERO,
            duration_second: Amount::ZERO,
        },
        threads: properties
            .get(names::THREADS)
            .and_then(Value::as_f64)
            .map_or(1, |threads| threads.clamp(1.0, THREADS as f64) as u32),
        counters: Counters::default(),
    };
    for (index, (usage, rate)) in vector.iter().zip(rates).enumerate() {
        let rate = amount(rate).ok_or_else(nonsense)?;
        match usage.as_str() {
            Some(names::USAGE_CPU) => {
                offer.price.cpu_second = rate;
                offer.counters.cpu = Some(index);
            }
            Some(names::USAGE_DURATION) => {
                offer.price.duration_second = rate;
                offer.counters.duration = Some(index);
            }
            _ if rate.is_zero() => {}
            _ => return Err("it charges for something unknown".to_owned()),
        }
    }
    Ok(offer)
}

/// A price. Offers have them as floating-point numbers, which are taken as the shortest decimals they stand for, rounded
/// up to what can be paid.
fn amount(value: &Value) -> Option<Amount> {
    let number = value.as_f64().filter(|number| *number >= 0.0)?;
    let text = number.to_string();
    match text.split_once('.') {
        Some((whole, digits)) if digits.len() > DIGITS => {
            let (kept, rest) = digits.split_at(DIGITS);
            let kept: Amount = format!("{whole}.{kept}").parse().ok()?;
            let unit: Amount = format!("0.{:0>DIGITS$}", 1).parse().ok()?;
            let is_exact = rest.bytes().all(|digit| digit == b'0');
            if is_exact {
                Some(kept)
            } else {
                kept.checked_add(unit)
            }
        }
        _ => text.parse().ok(),
    }
}

/// Values of the negotiable names, in seconds, in the order of [`names::NEGOTIABLE`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Terms([Option<u64>; 3]);

impl Terms {
    /// What the other side says.
    pub(super) fn read(properties: &Map<String, Value>) -> Self {
        Self(names::NEGOTIABLE.map(|name| {
            let value = properties.get(name)?;
            // Whole numbers come with a point from some.
            value.as_u64().or_else(|| {
                let number = value.as_f64().filter(|number| *number >= 0.0)?;
                Some(number as u64)
            })
        }))
    }

    /// What to propose for an offer: its own values where they will do, and ours elsewhere. What the offer does not
    /// speak of is left out.
    pub(super) fn answer(self, ours: &DebitNotes) -> Self {
        let [accept, interval, payment] = self.0;
        let least = ours.least_accept_timeout.as_secs();
        Self([
            accept.map(|theirs| match theirs >= least {
                true => theirs,
                false => ours.accept_timeout.as_secs(),
            }),
            interval.map(|theirs| theirs.max(ours.interval.as_secs())),
            payment.map(|theirs| theirs.max(ours.payment_timeout.as_secs())),
        ])
    }

    /// Why an answer to our proposal is not acceptable, if it is not. One that is need not be what we proposed.
    pub(super) fn objection(self, ours: &DebitNotes) -> Option<String> {
        let [accept, interval, _] = self.0;
        let least = ours.least_accept_timeout.as_secs();
        if let Some(accept) = accept.filter(|accept| *accept < least) {
            return Some(format!("wants debit notes accepted within {accept} s"));
        }
        let shortest = ours.interval.as_secs();
        interval
            .filter(|interval| *interval < shortest)
            .map(|interval| format!("wants to send debit notes every {interval} s"))
    }

    /// The time between debit notes that was settled on.
    pub(super) fn interval(self) -> Option<Duration> {
        self.0[1].map(Duration::from_secs)
    }

    /// Says them in a proposal.
    pub(super) fn write(self, properties: &mut Map<String, Value>) {
        for (name, value) in names::NEGOTIABLE.into_iter().zip(self.0) {
            if let Some(value) = value {
                properties.insert(name.to_owned(), value.into());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn glm(text: &str) -> Amount {
        text.parse().unwrap()
    }

    fn properties(more: Value) -> Map<String, Value> {
        let mut properties = json!({
            "golem.com.pricing.model": "linear",
            "golem.com.pricing.model.linear.coeffs": [0.01, 0.02, 0.1],
            "golem.com.scheme": "payu",
            "golem.com.usage.vector": ["golem.usage.duration_sec", "golem.usage.cpu_sec"],
            "golem.inf.cpu.threads": 4,
            "golem.node.id.name": "somebody",
        });
        let all = properties.as_object_mut().unwrap();
        all.extend(more.as_object().unwrap().clone());
        all.clone()
    }

    #[test]
    fn prices_are_read_by_the_name_of_what_they_are_for() {
        let offer = read(&properties(json!({}))).unwrap();
        assert_eq!(
            offer.price,
            LinearPrice {
                start: glm("0.1"),
                cpu_second: glm("0.02"),
                duration_second: glm("0.01"),
            }
        );
        assert_eq!(
            (offer.threads, offer.name.as_deref()),
            (4, Some("somebody"))
        );
        let usage = offer.counters.read(&[8.0, 2.5]);
        assert_eq!(usage.duration, Duration::from_secs(8));
        assert_eq!(usage.cpu, Duration::from_millis(2500));
        assert_eq!(offer.counters.read(&[f64::NAN]), Usage::default());
    }

    #[test]
    fn a_price_is_the_decimal_that_the_number_stands_for_rounded_up() {
        for (number, price) in [
            (json!(0.1), "0.1"),
            (json!(3), "3"),
            (json!(0.000_000_1), "0.0000001"),
            (json!(1.5e-18), "0.000000000000000002"),
            (json!(2e-18), "0.000000000000000002"),
        ] {
            assert_eq!(amount(&number), Some(glm(price)), "{number}");
        }
        for wrong in [json!(-0.1), json!("1"), json!(1e30), json!(null)] {
            assert_eq!(amount(&wrong), None, "{wrong}");
        }
    }

    #[test]
    fn an_offer_that_is_not_understood_is_refused_with_its_reason() {
        for (more, why) in [
            (json!({ "golem.com.pricing.model": "auction" }), "linear"),
            (json!({ "golem.com.scheme": "barter" }), "unknown way"),
            (
                json!({ "golem.com.pricing.model.linear.coeffs": [0.1, 0.1] }),
                "no sense",
            ),
            (
                json!({ "golem.com.pricing.model.linear.coeffs": [-1, 0, 0] }),
                "no sense",
            ),
            (
                json!({ "golem.com.usage.vector": ["golem.usage.cpu_sec", "golem.usage.gib"] }),
                "something unknown",
            ),
            (
                json!({ "golem.activity.caps.transfer.protocol": ["http"] }),
                "no files",
            ),
        ] {
            let refused = read(&properties(more)).unwrap_err();
            assert!(refused.contains(why), "{refused}");
        }
        let free = json!({
            "golem.com.usage.vector": ["golem.usage.cpu_sec", "golem.usage.gib"],
            "golem.com.pricing.model.linear.coeffs": [0.1, 0, 0],
        });
        assert!(read(&properties(free)).is_ok());
    }

    #[test]
    fn terms_are_those_of_the_provider_as_far_as_they_will_do() {
        let ours = DebitNotes::default();
        let terms = |more: Value| Terms::read(&properties(more));
        let hasty = terms(json!({
            "golem.com.payment.debit-notes.accept-timeout?": 5,
            "golem.com.scheme.payu.debit-note.interval-sec?": 10.0,
        }));
        assert_eq!(hasty, Terms([Some(5), Some(10), None]));
        assert!(hasty.objection(&ours).unwrap().contains("within 5 s"));
        let answer = hasty.answer(&ours);
        assert_eq!(answer, Terms([Some(240), Some(120), None]));
        assert_eq!(answer.objection(&ours), None);
        let often = Terms([Some(60), Some(10), None]);
        assert!(often.objection(&ours).unwrap().contains("every 10 s"));
        let patient = Terms([Some(60), Some(600), Some(90_000)]);
        assert_eq!(patient.answer(&ours), patient);
        let mut said = Map::new();
        answer.write(&mut said);
        assert_eq!(said.len(), 2);
        assert_eq!(answer.interval(), Some(Duration::from_secs(120)));
    }
}
