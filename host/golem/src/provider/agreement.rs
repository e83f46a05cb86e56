//! One agreement, from its approval to its invoice. It has a task of its own, so nobody waits for another's requestor.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde_json::json;
use sovr_capability::{Amount, Untrusted};
use tokio::sync::{Notify, watch};
use tokio::time::Instant;

use super::activity::{self, Activity, Start};
use super::event::Event;
use super::offer::{Terms, Wish};
use super::{AWAY, Shared, again};
use crate::exe_unit::Limits;
use crate::network::NodeId;
use crate::price::Usage;
use crate::timing::until;
use crate::yagna::activity::ActivityState;

/// Where the exe-unit of an activity is on the bus.
pub(super) const EXE_UNIT: &str = "/public/exeunit/";
/// The daemon calls an activity unresponsive that says nothing for five seconds.
const SIGN_OF_LIFE: Duration = Duration::from_secs(2);
/// How long a requestor has to learn of our approval.
const APPROVE: Duration = Duration::from_secs(15);
/// How long a requestor has to take a bill. What it does not take now, the daemon sends again later.
pub(super) const SEND: Duration = Duration::from_secs(10);
const REPORT: Duration = Duration::from_secs(10);
/// What is due at once would leave no time to collect several payments into one.
pub(super) const DUE: SignedDuration = SignedDuration::from_hours(24);
/// Activities that a requestor may ask for before the first of them is started.
const CREATE: usize = 64;
/// Most activities of an agreement, one after the other.
const ACTIVITIES: usize = 10_000;
/// Files and directories that an activity may keep.
const FILES: u64 = 100_000;
/// Bytes that one program may print.
const OUTPUT: u64 = 16 << 20;
/// Longest time of one program. The agreement's own end, and unpaid debit notes, come before it.
const PROGRAM: Duration = Duration::from_secs(24 * 3600);

/// What an agreement is to do.
#[derive(Debug, PartialEq, Eq)]
enum Order {
    /// Start this activity.
    Create(String),
    /// End this activity.
    Destroy(String),
}

/// What comes for an agreement while it is busy. Nothing is lost of what ends an activity or says that it is paid for.
#[derive(Default)]
pub(super) struct Inbox {
    inner: Mutex<Waiting>,
    news: Notify,
}

#[derive(Default)]
struct Waiting {
    create: VecDeque<String>,
    destroy: BTreeSet<String>,
    /// Not accepted yet, oldest first.
    notes: VecDeque<Note>,
}

impl Inbox {
    /// An activity is wanted. Who wants too many at a time gets the first of them.
    pub(super) fn create(&self, activity: String) {
        let mut waiting = self.waiting();
        if waiting.create.len() < CREATE {
            waiting.create.push_back(activity);
        }
        self.news.notify_one();
    }

    /// An activity is not wanted any more.
    pub(super) fn destroy(&self, activity: String) {
        let mut waiting = self.waiting();
        // There are no more of them.
        if waiting.destroy.len() < ACTIVITIES {
            waiting.destroy.insert(activity);
        }
        self.news.notify_one();
    }

    /// A debit note is accepted, if it is one of this agreement's. It says what is owed in all, so whoever accepts one
    /// has accepted those before it.
    pub(super) fn accepted(&self, note: &str) {
        let notes = &mut self.waiting().notes;
        let Some(place) = notes.iter().position(|known| known.id == note) else {
            return;
        };
        let activity = notes[place].activity.clone();
        let mut index = 0;
        notes.retain(|note| {
            let settled = index <= place && note.activity == activity;
            index += 1;
            !settled
        });
    }

    /// What is to be done next.
    async fn next(&self) -> Order {
        loop {
            if let Some(order) = self.waiting().next() {
                return order;
            }
            self.news.notified().await;
        }
    }

    fn issued(&self, note: Note) {
        self.waiting().notes.push_back(note);
    }

    /// Waits until one of the notes that are there now should have been accepted, and is not.
    async fn unpaid(&self) {
        loop {
            let oldest = self.waiting().notes.front().map(|note| note.deadline);
            match oldest {
                Some(deadline) if deadline <= Instant::now() => return,
                deadline => until(deadline).await,
            }
        }
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiting {
    fn next(&mut self) -> Option<Order> {
        let begun = |id: &&String| !self.create.contains(id);
        if let Some(id) = self.destroy.iter().find(begun).cloned() {
            self.destroy.remove(&id);
            return Some(Order::Destroy(id));
        }
        self.create.pop_front().map(Order::Create)
    }
}

/// Why an agreement ends, where its task does not know it first.
#[derive(Debug, Clone)]
pub(super) enum End {
    /// The requestor has ended it.
    Theirs { code: Untrusted, reason: Untrusted },
    /// No more work is provided.
    Shutdown,
}

/// How an agreement is told something.
pub(super) struct Handle {
    pub(super) inbox: Arc<Inbox>,
    pub(super) end: watch::Sender<Option<End>>,
}

/// An agreement that is about to be approved.
pub(super) struct Agreement {
    pub(super) shared: Arc<Shared>,
    pub(super) id: String,
    pub(super) requestor: NodeId,
    pub(super) wish: Wish,
    pub(super) terms: Terms,
    /// No bill of it is older than this.
    pub(super) begun: Timestamp,
    pub(super) inbox: Arc<Inbox>,
    pub(super) end: watch::Receiver<Option<End>>,
}

/// An agreement in force.
struct Work {
    agreement: Agreement,
    live: HashMap<String, Arc<Activity>>,
    done: Vec<(String, Usage)>,
    /// Those that ended by themselves. Their requestor can still ask what came of them.
    over: VecDeque<String>,
    /// Since when nothing is there to do.
    idle: Instant,
    /// An activity is something else than before.
    changed: Arc<Notify>,
    /// Something did not work, and that was told.
    troubled: bool,
}

struct Note {
    id: String,
    activity: String,
    deadline: Instant,
}

/// Why it came to its end: a code and words, and whether the requestor has still to be told.
struct Reason {
    code: Untrusted,
    reason: Untrusted,
    ours: bool,
}

impl Reason {
    fn ours(code: &str, reason: impl Into<String>) -> Self {
        Self {
            code: Untrusted::new(code),
            reason: Untrusted::new(reason.into()),
            ours: true,
        }
    }
}

impl Agreement {
    /// From its approval to its invoice.
    pub(super) async fn run(self) {
        let shared = Arc::clone(&self.shared);
        let id = self.id.clone();
        let approved = shared
            .daemon
            .approve(&id, &shared.session.id, APPROVE)
            .await;
        match approved {
            Ok(()) => {
                shared.tell(&Event::AgreementBegan {
                    agreement: id.clone(),
                    requestor: self.requestor.clone(),
                });
                self.begin().run().await;
            }
            Err(error) => {
                // Whatever came of it, no work is done under it.
                let words = "it could not be approved";
                let _ = shared.daemon.break_agreement(&id, "Cancelled", words).await;
                shared.trouble(&error);
            }
        }
        shared.book().agreements.remove(&id);
    }

    fn begin(self) -> Work {
        Work {
            agreement: self,
            live: HashMap::new(),
            done: Vec::new(),
            over: VecDeque::new(),
            idle: Instant::now(),
            changed: Arc::default(),
            troubled: false,
        }
    }

    fn lifetime(&self) -> Option<Instant> {
        let left = self.wish.expires?.duration_since(Timestamp::now());
        Instant::now().checked_add(Duration::try_from(left).unwrap_or_default())
    }
}

/// Waits until somebody says that it ends.
async fn told(end: &mut watch::Receiver<Option<End>>) -> End {
    let told = end.wait_for(Option::is_some).await;
    // Otherwise whoever could tell is gone.
    told.ok()
        .and_then(|end| end.clone())
        .unwrap_or(End::Shutdown)
}

impl Work {
    async fn run(mut self) {
        let shared = Arc::clone(&self.agreement.shared);
        let expires = self.agreement.lifetime();
        let mut signs = tokio::time::interval(SIGN_OF_LIFE);
        let mut bills = tokio::time::interval(self.agreement.terms.interval);
        for ticks in [&mut signs, &mut bills] {
            ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        }
        bills.reset();
        let mut end = self.agreement.end.clone();
        let changed = Arc::clone(&self.changed);
        let inbox = Arc::clone(&self.agreement.inbox);
        let reason = loop {
            let idle = (self.live.is_empty()).then(|| self.idle + shared.settings.idle);
            tokio::select! {
                biased;
                end = told(&mut end) => break match end {
                    End::Theirs { code, reason } => Reason { code, reason, ours: false },
                    End::Shutdown => Reason::ours("Shutdown", "the provider stops"),
                },
                order = inbox.next() => self.take(order).await,
                () = until(expires) => {
                    let when = self.agreement.wish.expires.unwrap_or_default();
                    break Reason::ours("Expired", format!("Agreement expired @ {when}"));
                }
                () = inbox.unpaid() => {
                    let limit = self.agreement.terms.accept_timeout.as_secs();
                    let words = format!("Requestor isn't accepting DebitNotes in time ({limit}s)");
                    break Reason::ours("DebitNotesDeadline", words);
                }
                () = until(idle) => {
                    let limit = shared.settings.idle.as_secs();
                    break Reason::ours("NoActivity", format!("No activity created within {limit}s"));
                }
                () = changed.notified() => self.report().await,
                _ = signs.tick() => self.report().await,
                _ = bills.tick() => self.bill().await,
            }
        };
        self.finish(reason).await;
    }

    async fn take(&mut self, order: Order) {
        match order {
            Order::Create(id) => {
                if let Err(why) = self.create(&id).await {
                    let daemon = &self.agreement.shared.daemon;
                    // So the requestor hears at once that nothing comes.
                    let _ = daemon
                        .report_state(&id, ActivityState::Terminated, Some(&why))
                        .await;
                    self.agreement.shared.tell(&Event::Trouble {
                        problem: format!("cannot start an activity: {why}"),
                    });
                }
            }
            Order::Destroy(id) => self.destroy(&id).await,
        }
    }

    async fn create(&mut self, id: &str) -> Result<(), String> {
        let shared = &self.agreement.shared;
        let settings = &shared.settings;
        // A program takes one thread.
        if self.live.len() >= settings.threads as usize {
            return Err(format!("at most {} activities at a time", settings.threads));
        }
        if self.live.len() + self.done.len() >= ACTIVITIES {
            return Err(format!("at most {ACTIVITIES} activities of an agreement"));
        }
        let is_known = self.done.iter().any(|(known, _)| known == id);
        if is_known || self.live.contains_key(id) {
            return Ok(());
        }
        let start = Start {
            id,
            requestor: &self.agreement.requestor,
            package: self.agreement.wish.package.clone(),
            limits: Limits {
                memory: settings.memory,
                file: settings.storage,
                storage: settings.storage,
                files: FILES,
                output: OUTPUT,
                time: PROGRAM,
            },
            scratch: &settings.scratch,
            changed: &self.changed,
        };
        let activity = Activity::start(start, &shared.line, &shared.runtime, &shared.observer);
        let activity = Arc::new(
            activity
                .map_err(|error| format!("no place in {}: {error}", settings.scratch.display()))?,
        );
        let place = format!("{EXE_UNIT}{id}");
        shared
            .book()
            .activities
            .insert(id.to_owned(), Arc::clone(&activity));
        if let Err(error) = shared.line.register(&place).await {
            shared.book().activities.remove(id);
            activity.end().await;
            return Err(error.to_string());
        }
        self.live.insert(id.to_owned(), activity);
        shared.tell(&Event::ActivityBegan {
            agreement: self.agreement.id.clone(),
            activity: id.to_owned(),
        });
        self.report().await;
        Ok(())
    }

    /// Ends an activity: it occupies nothing any more, and costs no more than it has cost.
    async fn end(&mut self, id: &str) {
        let Some(activity) = self.live.remove(id) else {
            return;
        };
        activity.end().await;
        let shared = Arc::clone(&self.agreement.shared);
        let usage = activity.usage();
        self.done.push((id.to_owned(), usage));
        if self.live.is_empty() {
            self.idle = Instant::now();
        }
        shared.tell(&Event::ActivityEnded {
            agreement: self.agreement.id.clone(),
            activity: id.to_owned(),
            usage,
            cost: shared.settings.price.cost(usage),
        });
        if let Err(error) = self.report_one(&activity).await {
            shared.trouble(&error);
        }
        self.over.push_back(id.to_owned());
        while self.over.len() > shared.settings.threads as usize
            && let Some(oldest) = self.over.pop_front()
        {
            self.leave(&oldest).await;
        }
    }

    /// Nobody can call an activity any more.
    async fn leave(&self, id: &str) {
        let shared = &self.agreement.shared;
        shared.book().activities.remove(id);
        shared.line.unregister(&format!("{EXE_UNIT}{id}")).await;
    }

    async fn destroy(&mut self, id: &str) {
        self.end(id).await;
        let known = self.over.len();
        self.over.retain(|over| over != id);
        if self.over.len() < known {
            self.leave(id).await;
        }
    }

    /// Tells the daemon how each activity is, and what it has used.
    async fn report(&mut self) {
        let mut problem = None;
        let mut over = Vec::new();
        for activity in self.live.values() {
            problem = self.report_one(activity).await.err().or(problem);
            if activity.state().0 == ActivityState::Terminated {
                over.push(activity.id.clone());
            }
        }
        for id in over {
            self.end(&id).await;
        }
        // Once, not every other second.
        if let Some(problem) = problem.as_ref().filter(|_| !self.troubled) {
            self.agreement.shared.trouble(problem);
        }
        self.troubled = problem.is_some();
    }

    async fn report_one(&self, activity: &Activity) -> Result<(), String> {
        let shared = &self.agreement.shared;
        let (state, reason) = activity.state();
        let reported = shared
            .daemon
            .report_state(&activity.id, state, reason.as_deref())
            .await;
        reported.map_err(|error| error.to_string())?;
        activity.told(state);
        // There is no REST call for it.
        let usage = json!({
            "activityId": activity.id, "usage": activity::written(activity.usage()), "timeout": null,
        });
        let bus = shared.line.bus().await.map_err(|error| error.to_string())?;
        let told = bus.call("/local/activity/SetActivityUsage", &usage, REPORT);
        told.await.map(drop).map_err(|error| error.to_string())
    }

    /// Says what is owed so far.
    async fn bill(&mut self) {
        let shared = Arc::clone(&self.agreement.shared);
        let live: Vec<_> = self.live.values().cloned().collect();
        for activity in live {
            let usage = activity.usage();
            let total = shared.settings.price.cost(usage);
            let issued = shared
                .daemon
                .issue_debit_note(&activity.id, total, &activity::vector(usage))
                .await;
            let id = match issued {
                Ok(id) => id,
                Err(error) => {
                    shared.trouble(&error);
                    continue;
                }
            };
            self.agreement.inbox.issued(Note {
                id: id.clone(),
                activity: activity.id.clone(),
                deadline: Instant::now() + self.agreement.terms.accept_timeout,
            });
            // The requestor may be slow, or gone; the deadline runs.
            let shared = Arc::clone(&shared);
            tokio::spawn(async move {
                match shared.daemon.send_debit_note(&id, SEND).await {
                    Ok(()) => shared.tell(&Event::DebitNoteSent {
                        activity: activity.id.clone(),
                        total,
                    }),
                    Err(error) => shared.trouble(&error),
                }
            });
        }
    }

    /// Ends everything, and sends the last bill.
    async fn finish(mut self, reason: Reason) {
        let shared = Arc::clone(&self.agreement.shared);
        let id = self.agreement.id.clone();
        let (code, words) = (reason.code.raw(), reason.reason.raw());
        let tell = || shared.daemon.break_agreement(&id, code, words);
        let mut told = match reason.ours {
            true => tell().await,
            false => Ok(()),
        };
        // Whether or not the requestor could be told, no more work is done.
        let live: Vec<_> = self.live.keys().cloned().collect();
        for activity in live {
            self.end(&activity).await;
        }
        while let Some(over) = self.over.pop_front() {
            self.leave(&over).await;
        }
        if told.is_err() {
            told = again(AWAY, tell).await;
        }
        if let Err(error) = told {
            shared.trouble(&error);
        }
        shared.tell(&Event::AgreementEnded {
            agreement: id.clone(),
            code: reason.code,
            reason: reason.reason,
        });
        let price = &shared.settings.price;
        let costs = self.done.iter().map(|(_, usage)| price.cost(*usage));
        let amount = Amount::checked_sum(costs).unwrap_or(Amount::MAX);
        let activities: Vec<_> = self.done.iter().map(|(id, _)| id.clone()).collect();
        let due = Timestamp::now()
            .saturating_add(DUE)
            .unwrap_or(Timestamp::MAX);
        let (daemon, begun) = (&shared.daemon, self.agreement.begun);
        let issue = || async {
            // It may have been made, and only the answer lost. A second one would ask for the money twice.
            match daemon.issued_invoice(&id, begun).await? {
                Some(invoice) => Ok(invoice.id),
                None => daemon.issue_invoice(&id, &activities, amount, due).await,
            }
        };
        let sent = match again(AWAY, issue).await {
            Ok(invoice) => again(AWAY, || daemon.send_invoice(&invoice, SEND))
                .await
                .map(|()| invoice),
            Err(error) => Err(error),
        };
        match sent {
            Ok(invoice) => shared.tell(&Event::InvoiceSent {
                agreement: id,
                invoice,
                amount,
            }),
            Err(error) => {
                shared.unbilled.store(true, Ordering::Relaxed);
                shared.trouble(&error);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;

    fn note(number: usize, activity: &str) -> Note {
        Note {
            id: format!("note-{number}"),
            activity: activity.to_owned(),
            deadline: Instant::now() + Duration::from_secs(10),
        }
    }

    #[tokio::test]
    async fn what_must_not_be_lost_comes_however_much_waits() {
        let inbox = Inbox::default();
        for number in 0..1000 {
            inbox.create(number.to_string());
            inbox.accepted(&format!("another's-{number}"));
        }
        for number in 0..200 {
            inbox.destroy(format!("live-{number:03}"));
        }
        inbox.destroy("0".to_owned());
        for number in 0..200 {
            let order = inbox.next().now_or_never();
            assert_eq!(order, Some(Order::Destroy(format!("live-{number:03}"))));
        }
        // What is about to be started is not ended before.
        let next = || inbox.next().now_or_never();
        assert_eq!(next(), Some(Order::Create("0".to_owned())));
        assert_eq!(next(), Some(Order::Destroy("0".to_owned())));
        for number in 1..CREATE {
            assert_eq!(next(), Some(Order::Create(number.to_string())));
        }
        assert_eq!(next(), None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_note_is_accepted_with_those_before_it() {
        let inbox = Inbox::default();
        for number in 0..4 {
            inbox.issued(note(number, "a"));
        }
        inbox.issued(note(4, "b"));
        let left = || {
            let waiting = inbox.waiting();
            let left = waiting.notes.iter().map(|note| note.id.clone());
            left.collect::<Vec<_>>()
        };
        inbox.accepted("note-2");
        assert_eq!(left(), ["note-3", "note-4"]);
        inbox.accepted("of another agreement");
        inbox.accepted("note-4");
        assert_eq!(left(), ["note-3"]);
        // It is accepted while its deadline is waited for.
        let waited = async {
            tokio::time::sleep(Duration::from_secs(9)).await;
            inbox.accepted("note-3");
        };
        let unpaid = tokio::time::timeout(Duration::from_secs(60), inbox.unpaid());
        let (unpaid, ()) = tokio::join!(unpaid, waited);
        unpaid.unwrap_err();
        inbox.issued(note(5, "a"));
        let since = Instant::now();
        inbox.unpaid().await;
        assert_eq!(since.elapsed(), Duration::from_secs(10));
    }
}
