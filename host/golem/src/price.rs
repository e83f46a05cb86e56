//! The linear price model: a price for starting, one per second of processor time, one per second of wall time.
//!
//! Arithmetic saturates at [`Amount::MAX`]: what a provider claims is a number of its choice, and a claim that is too
//! large to count is still a claim that is too large to pay.

use std::time::Duration;

use serde::Serialize;
use sovr_capability::Amount;

/// Longest time [`LinearPrice::pays_for`] answers; more makes no difference to a job.
const LONGEST: Duration = Duration::from_secs(366 * 24 * 3600);

/// What a provider asks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct LinearPrice {
    /// Once per activity.
    pub start: Amount,
    /// Per second of processor time.
    pub cpu_second: Amount,
    /// Per second from creation to destruction of the activity.
    pub duration_second: Amount,
}

/// What an activity used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Usage {
    /// Processor time.
    pub cpu: Duration,
    /// Wall time.
    pub duration: Duration,
}

impl Usage {
    /// The most that `threads` threads can use in this wall time.
    #[must_use]
    pub fn full_load(threads: u32, duration: Duration) -> Self {
        Self {
            cpu: duration.saturating_mul(threads),
            duration,
        }
    }

    /// What was used since an earlier reading.
    #[must_use]
    pub fn since(self, earlier: Self) -> Self {
        Self {
            cpu: self.cpu.saturating_sub(earlier.cpu),
            duration: self.duration.saturating_sub(earlier.duration),
        }
    }
}

impl LinearPrice {
    /// What an activity with this usage costs, its start included.
    #[must_use]
    pub fn cost(&self, usage: Usage) -> Amount {
        self.start
            .checked_add(self.running_cost(usage))
            .unwrap_or(Amount::MAX)
    }

    /// What this usage costs, without the start.
    #[must_use]
    pub fn running_cost(&self, usage: Usage) -> Amount {
        let cpu = self.cpu_second.per_second(usage.cpu);
        let duration = self.duration_second.per_second(usage.duration);
        cpu.zip(duration)
            .and_then(|(cpu, duration)| cpu.checked_add(duration))
            .unwrap_or(Amount::MAX)
    }

    /// For how long `amount` pays at full load of `threads` threads, to the millisecond, rounded down. The start is
    /// not counted.
    #[must_use]
    pub fn pays_for(&self, threads: u32, amount: Amount) -> Duration {
        let affordable = |time| self.running_cost(Usage::full_load(threads, time)) <= amount;
        if affordable(LONGEST) {
            return LONGEST;
        }
        // `affordable(low)` holds, `affordable(high)` does not.
        let (mut low, mut high) = (Duration::ZERO, LONGEST);
        while high - low > Duration::from_millis(1) {
            let middle = low + (high - low) / 2;
            if affordable(middle) {
                low = middle;
            } else {
                high = middle;
            }
        }
        low
    }
}

/// How an offer is judged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Strategy {
    /// Offers are compared by what this much work would cost with them, the processor time once for each thread that an
    /// offer has.
    pub expected: Usage,
    /// Highest prices, each of which an offer must keep; none means that only the budget counts.
    pub most: Option<LinearPrice>,
}

impl Default for Strategy {
    /// A minute of one thread, no highest prices: yapapi's default.
    fn default() -> Self {
        Self {
            expected: Usage::full_load(1, Duration::from_secs(60)),
            most: None,
        }
    }
}

impl Strategy {
    /// What the expected work would cost at most, or why the offer is refused: all `threads` may be billed.
    pub fn judge(&self, price: &LinearPrice, threads: u32) -> Result<Amount, String> {
        if let Some(most) = &self.most {
            let asked = [
                ("to start", price.start, most.start),
                ("per processor second", price.cpu_second, most.cpu_second),
                ("per second", price.duration_second, most.duration_second),
            ];
            if let Some((what, asked, most)) = asked.iter().find(|(_, asked, most)| asked > most) {
                return Err(format!("asks {asked} GLM {what}, more than {most}"));
            }
        }
        Ok(price.cost(Usage {
            cpu: self.expected.cpu.saturating_mul(threads.max(1)),
            duration: self.expected.duration,
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn glm(text: &str) -> Amount {
        text.parse().unwrap()
    }

    fn price() -> LinearPrice {
        LinearPrice {
            start: glm("0.5"),
            cpu_second: glm("0.2"),
            duration_second: glm("0.1"),
        }
    }

    #[test]
    fn cost_is_the_start_and_both_rates() {
        let usage = Usage {
            cpu: Duration::from_millis(2500),
            duration: Duration::from_secs(10),
        };
        assert_eq!(price().cost(usage), glm("2"));
        assert_eq!(price().running_cost(usage), glm("1.5"));
    }

    #[test]
    fn a_claim_too_large_to_count_is_the_largest_amount() {
        let usage = Usage {
            cpu: Duration::MAX,
            duration: Duration::MAX,
        };
        assert_eq!(price().cost(usage), Amount::MAX);
    }

    #[test]
    fn an_amount_pays_for_no_longer_than_it_covers() {
        let time = price().pays_for(2, glm("1"));
        assert!(
            time <= Duration::from_secs(2) && time > Duration::from_millis(1998),
            "{time:?}"
        );
        assert_eq!(price().pays_for(1, Amount::ZERO), Duration::ZERO);
        let free = LinearPrice {
            start: Amount::ZERO,
            cpu_second: Amount::ZERO,
            duration_second: Amount::ZERO,
        };
        assert_eq!(free.pays_for(1, Amount::ZERO), LONGEST);
    }

    #[test]
    fn an_offer_above_a_highest_price_is_refused_by_name() {
        let strategy = Strategy {
            most: Some(LinearPrice {
                cpu_second: glm("0.15"),
                ..price()
            }),
            ..Strategy::default()
        };
        assert_eq!(
            strategy.judge(&price(), 1).unwrap_err(),
            "asks 0.2 GLM per processor second, more than 0.15"
        );
        assert_eq!(Strategy::default().judge(&price(), 1).unwrap(), glm("18.5"));
    }

    #[test]
    fn an_offer_costs_what_all_its_threads_may_be_billed() {
        let strategy = Strategy::default();
        assert_eq!(strategy.judge(&price(), 4).unwrap(), glm("54.5"));
        // A claim that no machine can keep is no bargain.
        let cheaper = LinearPrice {
            cpu_second: glm("0.001"),
            ..price()
        };
        let claimed = strategy.judge(&cheaper, 4096).unwrap();
        assert!(claimed > strategy.judge(&price(), 1).unwrap());
    }
}
