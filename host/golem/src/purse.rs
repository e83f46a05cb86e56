//! A job's money, divided among the agreements that are open at the same time.
//!
//! Each agreement has an [`Allotment`]: what may be accepted for it at most. Allotments and what was spent before never
//! exceed the reservation together, so no agreement can spend what another one counts on. An allotment starts small and
//! grows while its agreement lives; what is left of it goes back when the bill is settled.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use sovr_capability::ledger::{CommitError, Reservation};
use sovr_capability::{Amount, StateError};

use crate::blocking::blocking;

/// Where a job's money comes from.
pub(crate) trait Funds: Send + Sync + 'static {
    /// What was set aside for the job.
    fn amount(&self) -> Amount;
    /// Records a cost. Blocks.
    fn commit(&self, cost: Amount) -> Result<(), CommitError>;
    /// Gives back what is left. Blocks.
    fn release(&self) -> Result<Amount, StateError>;
}

impl Funds for Reservation {
    fn amount(&self) -> Amount {
        self.remaining()
    }

    fn commit(&self, cost: Amount) -> Result<(), CommitError> {
        Reservation::commit(self, cost)
    }

    fn release(&self) -> Result<Amount, StateError> {
        Reservation::release(self)
    }
}

pub(crate) struct Purse {
    funds: Arc<dyn Funds>,
    budget: Amount,
    sums: Mutex<Sums>,
}

#[derive(Default)]
struct Sums {
    /// All open allotments.
    allotted: Amount,
    /// All settled bills.
    spent: Amount,
}

impl Purse {
    pub(crate) fn new(funds: impl Funds) -> Arc<Self> {
        Arc::new(Self {
            budget: funds.amount(),
            funds: Arc::new(funds),
            sums: Mutex::default(),
        })
    }

    pub(crate) fn budget(&self) -> Amount {
        self.budget
    }

    pub(crate) fn spent(&self) -> Amount {
        self.sums().spent
    }

    /// What no agreement holds.
    pub(crate) fn free(&self) -> Amount {
        let sums = self.sums();
        self.budget
            .saturating_sub(sums.allotted)
            .saturating_sub(sums.spent)
    }

    /// As much of `wanted` as is free, if that is at least `least`.
    pub(crate) fn allot(self: &Arc<Self>, least: Amount, wanted: Amount) -> Option<Allotment> {
        let mut allotment = Allotment {
            purse: Arc::clone(self),
            amount: Amount::ZERO,
            owed: Amount::ZERO,
        };
        let mut sums = self.sums();
        let free = self
            .budget
            .saturating_sub(sums.allotted)
            .saturating_sub(sums.spent);
        if free < least {
            return None;
        }
        sums.take(&mut allotment.amount, wanted.min(free));
        Some(allotment)
    }

    /// Gives back what nobody needs any more; all agreements are ended.
    pub(crate) async fn close(&self) -> Result<Amount, StateError> {
        let funds = Arc::clone(&self.funds);
        blocking(move || funds.release()).await
    }

    fn sums(&self) -> MutexGuard<'_, Sums> {
        self.sums.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn settle(&self, allotted: Amount, accepted: Amount) {
        let mut sums = self.sums();
        sums.allotted = sums.allotted.saturating_sub(allotted);
        sums.spent = sums.spent.checked_add(accepted).unwrap_or(Amount::MAX);
    }
}

impl Sums {
    fn take(&mut self, allotment: &mut Amount, more: Amount) {
        // Within the budget, which is an amount, so neither sum can exceed the largest amount.
        self.allotted = self.allotted.checked_add(more).unwrap_or(Amount::MAX);
        *allotment = allotment.checked_add(more).unwrap_or(Amount::MAX);
    }
}

/// What may be accepted for one agreement. Dropping it without [`Allotment::settle`] counts as spent what is known to
/// be owed, because it was accepted already.
pub(crate) struct Allotment {
    purse: Arc<Purse>,
    amount: Amount,
    owed: Amount,
}

impl Allotment {
    pub(crate) fn amount(&self) -> Amount {
        self.amount
    }

    /// Adds `wanted`, or what is free of it, and answers whether that was anything.
    pub(crate) fn grow(&mut self, wanted: Amount) -> bool {
        let purse = Arc::clone(&self.purse);
        let mut sums = purse.sums();
        let free = purse
            .budget
            .saturating_sub(sums.allotted)
            .saturating_sub(sums.spent);
        let more = wanted.min(free);
        sums.take(&mut self.amount, more);
        !more.is_zero()
    }

    /// Remembers that a note for `amount` in all was accepted.
    pub(crate) fn owe(&mut self, amount: Amount) {
        self.owed = self.owed.max(amount);
    }

    /// Records what was accepted and gives the rest back.
    pub(crate) async fn settle(mut self, accepted: Amount) -> Result<(), CommitError> {
        let purse = Arc::clone(&self.purse);
        purse.settle(std::mem::take(&mut self.amount), accepted);
        self.owed = Amount::ZERO;
        if accepted.is_zero() {
            return Ok(());
        }
        blocking(move || purse.funds.commit(accepted)).await
    }
}

impl Drop for Allotment {
    fn drop(&mut self) {
        self.purse.settle(self.amount, self.owed);
        if !self.owed.is_zero() {
            // Nobody is left to tell: the process is ending, and the ledger settles what dead runs left.
            let _ = self.purse.funds.commit(self.owed);
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Money without a ledger.
    #[derive(Clone)]
    pub(crate) struct Coins(Arc<Mutex<(Amount, Amount, bool)>>);

    impl Coins {
        pub(crate) fn new(amount: Amount) -> Self {
            Self(Arc::new(Mutex::new((amount, Amount::ZERO, false))))
        }

        pub(crate) fn spent(&self) -> Amount {
            self.0.lock().unwrap().1
        }

        pub(crate) fn released(&self) -> bool {
            self.0.lock().unwrap().2
        }
    }

    impl Funds for Coins {
        fn amount(&self) -> Amount {
            self.0.lock().unwrap().0
        }

        fn commit(&self, cost: Amount) -> Result<(), CommitError> {
            let mut state = self.0.lock().unwrap();
            assert!(!state.2, "a cost of {cost} came after the release");
            let spent = state.1.checked_add(cost).unwrap();
            assert!(
                spent <= state.0,
                "{spent} exceeds the reservation of {}",
                state.0
            );
            state.1 = spent;
            Ok(())
        }

        fn release(&self) -> Result<Amount, StateError> {
            let mut state = self.0.lock().unwrap();
            state.2 = true;
            Ok(state.0.saturating_sub(state.1))
        }
    }

    fn glm(whole: u32) -> Amount {
        Amount::glm(whole)
    }

    #[tokio::test]
    async fn allotments_and_bills_never_exceed_the_reservation_together() {
        let coins = Coins::new(glm(10));
        let purse = Purse::new(coins.clone());
        let mut first = purse.allot(glm(1), glm(4)).unwrap();
        let second = purse.allot(glm(1), glm(9)).unwrap();
        assert_eq!((first.amount(), second.amount()), (glm(4), glm(6)));
        assert!(purse.allot(glm(1), glm(1)).is_none());
        assert!(!first.grow(glm(1)));

        second.settle(glm(5)).await.unwrap();
        assert!(first.grow(glm(3)));
        assert_eq!(
            (first.amount(), purse.free(), purse.spent()),
            (glm(5), Amount::ZERO, glm(5))
        );
        first.settle(glm(1)).await.unwrap();
        assert_eq!(
            (purse.free(), purse.spent(), coins.spent()),
            (glm(4), glm(6), glm(6))
        );
    }

    #[test]
    fn an_allotment_that_is_dropped_costs_what_was_accepted() {
        let coins = Coins::new(glm(10));
        let purse = Purse::new(coins.clone());
        let mut allotment = purse.allot(glm(1), glm(4)).unwrap();
        allotment.owe(glm(2));
        drop(allotment);
        assert_eq!((purse.free(), coins.spent()), (glm(8), glm(2)));
    }
}
