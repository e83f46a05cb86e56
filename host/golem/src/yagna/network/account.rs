//! What an agreement may cost, what is asked for it, and what was accepted.
//!
//! Only reckoning: who hears of bills asks here what to do about each, does it, and says how it went.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use sovr_capability::Amount;
use tokio::sync::{Mutex as Turns, MutexGuard as Turn, Semaphore, mpsc, watch};
use tokio::time::Instant;

use crate::network::{AgreementEvent, Bill};

/// Notes beyond one in an interval that are no offence: the first, and the one at an activity's end.
const EXTRA: u64 = 2;
/// Activities of one agreement whose notes are told apart; there is one at a time.
const ACTIVITIES: usize = 1000;
/// Bills of one agreement that may wait for their turn. Who sends more sends more than was agreed.
const NOTES: usize = 16;
const INVOICES: usize = 4;

/// The money of a whole session: no two agreements together may take more.
pub(super) struct Till {
    total: Amount,
    taken: Mutex<Amount>,
}

impl Till {
    pub(super) fn new(total: Amount) -> Self {
        Self {
            total,
            taken: Mutex::default(),
        }
    }

    fn take(&self, more: Amount) -> bool {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        match taken.checked_add(more) {
            Some(sum) if sum <= self.total => {
                *taken = sum;
                true
            }
            _ => false,
        }
    }

    fn put_back(&self, less: Amount) {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        *taken = taken.saturating_sub(less);
    }
}

/// What is to be done about a bill.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Accept it; then [`Account::accepted`] or [`Account::failed`]. It adds so much to what was accepted before.
    Accept(Amount),
    /// It is above what may be paid.
    Refuse,
    /// There are too many of them: end the agreement.
    TooMany,
    /// It is not to be answered: the agreement's bill is final.
    Late,
}

/// The money of one agreement.
pub(super) struct Account {
    till: Arc<Till>,
    interval: Duration,
    begun: Instant,
    state: Mutex<State>,
    /// Bills are answered one after another, so that what was accepted is known before the next is looked at.
    turns: Turns<()>,
    notes: Semaphore,
    invoices: Semaphore,
    /// Sent to after each change.
    changes: watch::Sender<()>,
}

struct State {
    ceiling: Amount,
    /// Accepted, or about to be.
    booked: Amount,
    /// What is asked for in all.
    claimed: Amount,
    /// What is asked for by activity, and the notes that came for it.
    notes: HashMap<String, (Amount, u64)>,
    /// Whether the invoice was answered.
    is_invoiced: bool,
    /// None once nothing more is told.
    events: Option<mpsc::UnboundedSender<AgreementEvent>>,
    /// The agreement was ended by somebody.
    is_over: bool,
}

impl Account {
    /// `interval` is what was agreed between debit notes.
    pub(super) fn open(
        till: Arc<Till>,
        interval: Duration,
    ) -> (Self, mpsc::UnboundedReceiver<AgreementEvent>) {
        // Bounded by the number of notes that are no offence.
        let (events, hearing) = mpsc::unbounded_channel();
        let account = Self {
            till,
            interval,
            begun: Instant::now(),
            state: Mutex::new(State {
                ceiling: Amount::ZERO,
                booked: Amount::ZERO,
                claimed: Amount::ZERO,
                notes: HashMap::new(),
                is_invoiced: false,
                events: Some(events),
                is_over: false,
            }),
            turns: Turns::default(),
            notes: Semaphore::new(NOTES),
            invoices: Semaphore::new(INVOICES),
            changes: watch::Sender::new(()),
        };
        (account, hearing)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn set_ceiling(&self, most: Amount) {
        self.state().ceiling = most;
    }

    /// Waits until the bills before this note were answered. None if too many wait.
    pub(super) async fn note_turn(&self) -> Option<Turn<'_, ()>> {
        let _waits = self.notes.try_acquire().ok()?;
        Some(self.turns.lock().await)
    }

    /// The same for an invoice, which no number of notes keeps from its turn.
    pub(super) async fn invoice_turn(&self) -> Option<Turn<'_, ()>> {
        let _waits = self.invoices.try_acquire().ok()?;
        Some(self.turns.lock().await)
    }

    /// A debit note: so much is owed for this activity since it began.
    pub(super) fn judge_note(&self, activity: &str, total: Amount) -> Verdict {
        let mut state = self.state();
        if state.events.is_none() {
            return Verdict::Late;
        }
        let seconds = self.interval.as_secs().max(1);
        let most = EXTRA + self.begun.elapsed().as_secs() / seconds;
        if state.notes.len() >= ACTIVITIES && !state.notes.contains_key(activity) {
            return Verdict::TooMany;
        }
        let note = state.notes.entry(activity.to_owned()).or_default();
        note.0 = note.0.max(total);
        note.1 += 1;
        let is_offence = note.1 > most;
        let sum = Amount::checked_sum(state.notes.values().map(|(owed, _)| *owed));
        let sum = sum.unwrap_or(Amount::MAX);
        state.claimed = state.claimed.max(sum);
        if is_offence {
            // Of an agreement that has ended for it, nothing more is told.
            return match state.is_over {
                true => Verdict::Late,
                false => Verdict::TooMany,
            };
        }
        self.book(&mut state, sum)
    }

    /// The invoice: so much is owed for the whole agreement.
    pub(super) fn judge_invoice(&self, amount: Amount) -> Verdict {
        let mut state = self.state();
        if state.events.is_none() {
            return Verdict::Late;
        }
        state.claimed = amount;
        self.book(&mut state, amount)
    }

    fn book(&self, state: &mut State, sum: Amount) -> Verdict {
        let more = sum.saturating_sub(state.booked);
        // What was accepted is owed, whatever the ceiling is now.
        if sum > state.ceiling.max(state.booked) || !self.till.take(more) {
            return Verdict::Refuse;
        }
        state.booked = state.booked.max(sum);
        Verdict::Accept(more)
    }

    /// It was not accepted after all.
    pub(super) fn failed(&self, more: Amount) {
        let mut state = self.state();
        state.booked = state.booked.saturating_sub(more);
        self.till.put_back(more);
    }

    /// Tells of the last note.
    pub(super) fn note_told(&self, accepted: bool) {
        let state = self.state();
        state.tell(AgreementEvent::DebitNote {
            amount: state.claimed,
            accepted,
        });
    }

    /// Tells of the invoice.
    pub(super) fn invoice_told(&self, accepted: bool) {
        let mut state = self.state();
        state.is_invoiced = true;
        state.tell(AgreementEvent::Invoice {
            amount: state.claimed,
            accepted,
        });
        drop(state);
        self.changes.send_replace(());
    }

    /// The agreement was ended by somebody. Answers whether that is news.
    pub(super) fn over(&self, event: Option<AgreementEvent>) -> bool {
        let mut state = self.state();
        let is_news = !std::mem::replace(&mut state.is_over, true);
        if let Some(event) = event.filter(|_| is_news) {
            state.tell(event);
        }
        drop(state);
        self.changes.send_replace(());
        is_news
    }

    /// Waits until the invoice was answered.
    pub(super) async fn invoiced(&self) {
        self.until(|state| state.is_invoiced).await;
    }

    /// Waits until the agreement was ended by somebody: then its invoice says all that its notes do.
    pub(super) async fn ended(&self) {
        self.until(|state| state.is_over).await;
    }

    /// Waits until nothing more is accepted.
    pub(super) async fn closed(&self) {
        self.until(|state| state.events.is_none()).await;
    }

    async fn until(&self, holds: impl Fn(&State) -> bool) {
        let mut changes = self.changes.subscribe();
        while !holds(&self.state()) {
            // The sender lives as long as this.
            let _ = changes.changed().await;
        }
    }

    /// The bill as it is. From now on nothing more is accepted or told.
    pub(super) fn close(&self) -> Bill {
        let mut state = self.state();
        state.events = None;
        let bill = Bill {
            claimed: state.claimed.max(state.booked),
            accepted: state.booked,
        };
        drop(state);
        self.changes.send_replace(());
        bill
    }
}

impl State {
    fn tell(&self, event: AgreementEvent) {
        if let Some(events) = &self.events {
            // Nobody listening is no reason not to reckon.
            let _ = events.send(event);
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;

    fn glm(text: &str) -> Amount {
        text.parse().unwrap()
    }

    fn account(total: &str) -> Account {
        let till = Arc::new(Till::new(glm(total)));
        Account::open(till, Duration::from_secs(3600)).0
    }

    #[tokio::test]
    async fn notes_of_all_activities_and_the_invoice_stay_below_the_ceiling_together() {
        let account = account("100");
        assert_eq!(account.judge_note("a", glm("1")), Verdict::Refuse);
        account.set_ceiling(glm("5"));
        assert_eq!(account.judge_note("a", glm("2")), Verdict::Accept(glm("2")));
        assert_eq!(account.judge_note("b", glm("4")), Verdict::Refuse);
        // Not even if the daemon would: what was refused is still asked for.
        assert_eq!(account.judge_invoice(glm("6")), Verdict::Refuse);
        // A ceiling below what was accepted takes nothing back and allows nothing more.
        account.set_ceiling(glm("1"));
        assert_eq!(account.judge_invoice(glm("2.1")), Verdict::Refuse);
        assert_eq!(
            account.judge_invoice(glm("2")),
            Verdict::Accept(Amount::ZERO)
        );
        account.set_ceiling(glm("5"));
        assert_eq!(account.judge_invoice(glm("3")), Verdict::Accept(glm("1")));
        let bill = account.close();
        assert_eq!((bill.claimed, bill.accepted), (glm("3"), glm("3")));
        assert_eq!(account.judge_invoice(glm("3")), Verdict::Late);
    }

    #[tokio::test]
    async fn what_was_not_accepted_after_all_is_not_counted() {
        let account = account("100");
        account.set_ceiling(glm("5"));
        assert_eq!(account.judge_note("a", glm("1")), Verdict::Accept(glm("1")));
        assert_eq!(account.judge_note("a", glm("3")), Verdict::Accept(glm("2")));
        account.failed(glm("2"));
        let bill = account.close();
        assert_eq!((bill.claimed, bill.accepted), (glm("3"), glm("1")));
    }

    #[tokio::test]
    async fn two_agreements_never_take_more_than_was_set_aside() {
        let till = Arc::new(Till::new(glm("10")));
        let open = || Account::open(Arc::clone(&till), Duration::from_secs(1)).0;
        let (first, second) = (open(), open());
        first.set_ceiling(glm("8"));
        second.set_ceiling(glm("8"));
        assert_eq!(first.judge_invoice(glm("7")), Verdict::Accept(glm("7")));
        assert_eq!(second.judge_invoice(glm("4")), Verdict::Refuse);
        first.failed(glm("7"));
        assert_eq!(second.judge_invoice(glm("4")), Verdict::Accept(glm("4")));
    }

    #[tokio::test(start_paused = true)]
    async fn notes_that_come_too_often_are_an_offence() {
        let account = account("100");
        account.set_ceiling(glm("100"));
        let note = |activity| account.judge_note(activity, glm("1"));
        assert_eq!(note("a"), Verdict::Accept(glm("1")));
        assert_eq!(note("a"), Verdict::Accept(Amount::ZERO));
        assert_eq!(note("a"), Verdict::TooMany);
        // Each activity has its own.
        assert_eq!(note("b"), Verdict::Accept(glm("1")));
        tokio::time::advance(Duration::from_secs(3 * 3600)).await;
        assert_eq!(note("a"), Verdict::Accept(Amount::ZERO));
    }

    #[tokio::test]
    async fn only_so_many_notes_wait_and_an_invoice_does_all_the_same() {
        let account = account("100");
        let turn = account.note_turn().await;
        let mut waiting: Vec<_> = (0..NOTES).map(|_| Box::pin(account.note_turn())).collect();
        for one in &mut waiting {
            assert!(one.now_or_never().is_none());
        }
        assert!(account.note_turn().await.is_none(), "too many wait");
        let mut invoice = Box::pin(account.invoice_turn());
        assert!((&mut invoice).now_or_never().is_none());
        waiting.clear();
        drop(turn);
        assert!(invoice.await.is_some());
    }

    #[tokio::test]
    async fn of_an_agreement_that_ended_for_too_many_notes_nothing_more_is_told() {
        let account = account("100");
        let note = || account.judge_note("a", glm("0"));
        let mut verdicts = (0..).map(|_| note());
        assert!(verdicts.any(|verdict| verdict == Verdict::TooMany));
        account.over(None);
        assert_eq!(verdicts.next(), Some(Verdict::Late));
    }
}
