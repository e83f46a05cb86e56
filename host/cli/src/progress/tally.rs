//! The bars that a script draws, as numbers.

use std::collections::BTreeMap;

use sovr_broker::event::BarChange;
use sovr_capability::Untrusted;

/// Bars beyond these are not shown: a screen has few lines, and a pod may open any number.
const MOST: usize = 4;

/// One bar.
#[derive(Clone, Debug)]
pub(crate) struct Tally {
    /// Its label.
    pub label: Untrusted,
    /// The text beside it.
    pub message: Untrusted,
    /// How far it is.
    pub done: u64,
    /// Its end, if known.
    pub total: Option<u64>,
}

/// The bars that are open.
#[derive(Debug, Default)]
pub(crate) struct Tallies(BTreeMap<u64, Tally>);

impl Tallies {
    /// Takes a change into account. Gives the bar's state where there is something to tell in a line: at each tenth
    /// of its way and at its end.
    pub(crate) fn take(&mut self, bar: u64, change: &BarChange) -> Option<Tally> {
        match change {
            BarChange::Opened { label, total } => {
                if self.0.len() < MOST {
                    let message = Untrusted::default();
                    self.0.insert(
                        bar,
                        Tally {
                            label: label.clone(),
                            message,
                            done: 0,
                            total: *total,
                        },
                    );
                }
                None
            }
            BarChange::Advanced { by } => {
                let tally = self.0.get_mut(&bar)?;
                let before = tally.tenth();
                tally.done = tally.done.saturating_add(*by);
                (tally.tenth() != before).then(|| tally.clone())
            }
            BarChange::Message { text } => {
                self.0.get_mut(&bar)?.message = text.clone();
                None
            }
            BarChange::Finished => {
                let tally = self.0.remove(&bar)?;
                // The last tenth was told already.
                (tally.total.is_none_or(|total| tally.done < total)).then_some(tally)
            }
            BarChange::Dropped => {
                self.0.remove(&bar);
                None
            }
        }
    }

    /// The bar, while it is open and among those shown.
    pub(crate) fn get(&self, bar: u64) -> Option<&Tally> {
        self.0.get(&bar)
    }
}

impl Tally {
    fn tenth(&self) -> Option<u128> {
        let total = self.total.filter(|total| *total > 0)?;
        Some(u128::from(self.done.min(total)) * 10 / u128::from(total))
    }

    /// `3 of 6`, or `3`.
    pub(crate) fn position(&self) -> String {
        match self.total {
            Some(total) => format!("{} of {total}", self.done),
            None => self.done.to_string(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn opened(total: Option<u64>) -> Tallies {
        let mut tallies = Tallies::default();
        assert!(
            tallies
                .take(
                    7,
                    &BarChange::Opened {
                        label: "frames".into(),
                        total
                    }
                )
                .is_none()
        );
        tallies
    }

    fn told(tallies: &mut Tallies, change: BarChange) -> Option<String> {
        tallies.take(7, &change).map(|tally| tally.position())
    }

    #[test]
    fn a_long_bar_is_told_ten_times() {
        let mut tallies = opened(Some(1000));
        let lines: Vec<_> = (0..1000)
            .filter_map(|_| told(&mut tallies, BarChange::Advanced { by: 1 }))
            .collect();
        assert_eq!(lines.len(), 10);
        assert_eq!(lines[9], "1000 of 1000");
        assert_eq!(told(&mut tallies, BarChange::Finished), None);
    }

    #[test]
    fn a_bar_without_total_is_told_at_its_end() {
        let mut tallies = opened(None);
        assert_eq!(told(&mut tallies, BarChange::Advanced { by: 5 }), None);
        assert_eq!(
            told(&mut tallies, BarChange::Finished),
            Some("5".to_owned())
        );
        assert!(tallies.get(7).is_none());
    }

    #[test]
    fn hostile_numbers_do_no_harm() {
        for total in [None, Some(0), Some(1), Some(u64::MAX)] {
            let mut tallies = opened(total);
            for _ in 0..3 {
                told(&mut tallies, BarChange::Advanced { by: u64::MAX });
            }
            assert_eq!(tallies.get(7).unwrap().done, u64::MAX);
        }
        let mut tallies = Tallies::default();
        assert!(tallies.take(1, &BarChange::Advanced { by: 1 }).is_none());
        for bar in 0..1000 {
            tallies.take(
                bar,
                &BarChange::Opened {
                    label: "x".into(),
                    total: None,
                },
            );
        }
        assert_eq!(tallies.0.len(), MOST);
    }
}
