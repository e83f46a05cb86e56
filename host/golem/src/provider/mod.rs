//! Work for requestors on a Golem network: what `sovr-host provide` does.
//!
//! The daemon beside us carries offers, agreements and bills; this is the rest of a provider: what is offered, to whom
//! it is given, and the exe-units that do it, which stand on [`crate::exe_unit`] and run WASI packages in confined
//! children. Exe-units are called over the service bus and not over the daemon's WebSocket, because only there each
//! call names its caller: whoever is not the requestor of the agreement is refused.
//!
//! | Module | What it holds |
//! |---|---|
//! | `offer` | what is offered, which demands suit, what is agreed about bills |
//! | `agreement` | one agreement, from its approval to its invoice |
//! | `activity` | one activity, called by its requestor |
//! | `script`, `story` | batches as they are written, and what came of them |
//! | `session` | what a provider that was killed left, ended and billed by the next |
//! | `event` | what is told to whoever watches |
//!
//! Everything from a requestor is bounded: agreements, activities, calls at a time, commands, arguments, files, what
//! is kept of results, and how long anything waits. A requestor that goes away leaves debit notes unaccepted, or no
//! activity: both end its agreement.

mod activity;
mod agreement;
mod event;
mod offer;
mod script;
mod session;
mod story;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use async_trait::async_trait;
use futures::stream::{self, StreamExt as _};
use jiff::Timestamp;
use serde_json::Map;
use sovr_capability::text;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

pub use self::event::{Event, Observer};

use self::activity::Activity;
use self::agreement::{Agreement, EXE_UNIT, End, Handle, Inbox};
use self::offer::{Refusal, Terms};
use self::session::Session;
use crate::bus::{Address, BusError, Call, Line, Service};
use crate::exe_unit::runtime::Runtime;
use crate::exe_unit::scratch;
use crate::network::NodeId;
use crate::price::LinearPrice;
use crate::yagna::feed::{Dated, Feed};
use crate::yagna::market::{AgreementEventKind, Proposal};
use crate::yagna::offer::{OfferEvent, ProposedAgreement};
use crate::yagna::pace::Pace;
use crate::yagna::provision::ActivityEventKind;
use crate::yagna::{Daemon, DaemonError, ErrorKind};

/// How long the daemon is asked to wait for news.
const POLL: Duration = Duration::from_secs(5);
/// After an error.
const PAUSE: Duration = Duration::from_secs(1);
/// Most demands that are answered at a time, and that are taken over at a time.
const ANSWERS: usize = 8;
const DEMANDS: u32 = 20;
/// How long a daemon may be away before what must not be lost is given up.
const AWAY: Duration = Duration::from_secs(600);
/// The same for an offer, which expires by itself.
const WITHDRAW: Duration = Duration::from_secs(3);
/// How long everything has to end in order.
const STOP: Duration = Duration::from_secs(60);
/// Bytes of a name for people.
const MOST_NAME: usize = 64;
/// Bytes of memory of which it makes sense to offer less.
const LEAST_MEMORY: u64 = 16 << 20;

/// What is offered, and to how many.
#[derive(Debug, Clone)]
pub struct Settings {
    /// What requestors see as our name.
    pub name: String,
    /// Only demands of the same subnet are answered.
    pub subnet: String,
    /// How we may be paid: `erc20-holesky-tglm`.
    pub platforms: Vec<String>,
    /// What is asked.
    pub price: LinearPrice,
    /// Threads of an agreement: so many activities it may have at a time, as each program runs in one.
    pub threads: u32,
    /// Memory of a program, in bytes.
    pub memory: u64,
    /// Bytes of an activity's files together; a package may not be larger either.
    pub storage: u64,
    /// Agreements at the same time.
    pub capacity: usize,
    /// Time between two debit notes. Requestors may want them more rarely.
    pub debit_notes: Duration,
    /// A debit note that is not accepted for so long ends its agreement. Requestors may agree to less.
    pub accept_timeout: Duration,
    /// An agreement without an activity ends after this.
    pub idle: Duration,
    /// Directory for the work directories of activities; they are removed when their activity ends.
    pub scratch: PathBuf,
}

impl Settings {
    /// With the times that the stock provider has.
    #[must_use]
    pub fn new(name: String, price: LinearPrice, scratch: PathBuf) -> Self {
        Self {
            name,
            subnet: "public".to_owned(),
            platforms: vec!["erc20-holesky-tglm".to_owned()],
            price,
            threads: 1,
            memory: 2 << 30,
            storage: 4 << 30,
            capacity: 1,
            debit_notes: Duration::from_secs(120),
            accept_timeout: Duration::from_secs(240),
            idle: Duration::from_secs(90),
            scratch,
        }
    }

    /// Whether this can be offered.
    ///
    /// # Errors
    /// [`ProvideError::Settings`] says what cannot.
    pub fn check(&self) -> Result<(), ProvideError> {
        let wrong = |words: &str| Err(ProvideError::Settings(words.to_owned()));
        let price = &self.price;
        for (name, amount) in [
            ("start", price.start),
            ("processor second", price.cpu_second),
            ("second", price.duration_second),
        ] {
            if !offer::survives(amount) {
                let words = format!(
                    "the price {amount} per {name} has more digits than an offer can tell: write at most 15"
                );
                return Err(ProvideError::Settings(words));
            }
        }
        let shown = |char: char| !text::is_hidden(char);
        if !(1..=MOST_NAME).contains(&self.name.len()) || !self.name.chars().all(shown) {
            return wrong("the name must have 1 to 64 bytes, all of which can be seen");
        }
        // It becomes part of a constraint, which has no way to quote.
        let plain = |char: char| char.is_alphanumeric() || "-_.".contains(char);
        if self.subnet.is_empty() || !self.subnet.chars().all(plain) {
            return wrong("the subnet must be of letters, digits, `-`, `_` and `.`");
        }
        // Driver, network and token.
        let is_platform = |name: &String| name.split('-').count() == 3 && name.chars().all(plain);
        if self.platforms.is_empty() || !self.platforms.iter().all(is_platform) {
            return wrong(
                "there is no way to be paid: name a payment platform such as erc20-holesky-tglm",
            );
        }
        if self.threads == 0 || self.capacity == 0 {
            return wrong("threads and capacity must be at least 1");
        }
        if self.memory < LEAST_MEMORY || self.storage == 0 {
            return wrong("offer at least 16 MiB of memory, and some storage");
        }
        if self.debit_notes.is_zero() || self.accept_timeout.is_zero() {
            return wrong("debit notes need a time between them, and one to be accepted in");
        }
        Ok(())
    }
}

/// Why no work can be provided.
#[derive(Debug, thiserror::Error)]
pub enum ProvideError {
    /// What is to be offered makes no sense.
    #[error("{0}")]
    Settings(String),
    /// The daemon does not do what is needed for a start.
    #[error(transparent)]
    Daemon(#[from] DaemonError),
    /// Its bus cannot be reached.
    #[error(transparent)]
    Bus(#[from] BusError),
    /// There is no random number for a session.
    #[error("cannot name a session: {0}")]
    Random(String),
    /// It cannot be remembered for the case that this process is killed.
    #[error("cannot remember the session in {}: {reason}; check who may write there", .path.display())]
    Session {
        /// Where.
        path: PathBuf,
        /// Why not.
        reason: String,
    },
}

/// What all parts share.
struct Shared {
    daemon: Daemon,
    line: Arc<Line>,
    node: NodeId,
    settings: Settings,
    runtime: Arc<dyn Runtime>,
    observer: Arc<dyn Observer>,
    /// Tells our agreements from others' on the same node.
    session: Session,
    /// The last bill of an agreement could not be sent.
    unbilled: AtomicBool,
    book: Mutex<Book>,
    tasks: Mutex<JoinSet<()>>,
}

#[derive(Default)]
struct Book {
    /// Those about to be approved as well.
    agreements: HashMap<String, Handle>,
    activities: HashMap<String, Arc<Activity>>,
    /// Nothing new is begun.
    closed: bool,
}

/// Provides work until `stop` is over; then everything is ended in order: the offer is withdrawn, agreements are ended
/// with the code `Shutdown`, and their invoices are sent.
///
/// # Errors
/// If it cannot begin. Later troubles are told to the observer, and tried again.
pub async fn provide(
    daemon: Daemon,
    bus: Address,
    settings: Settings,
    runtime: Arc<dyn Runtime>,
    observer: Arc<dyn Observer>,
    stop: impl Future<Output = ()>,
) -> Result<(), ProvideError> {
    settings.check()?;
    scratch::sweep(&settings.scratch);
    let node = daemon.identity().await?.id;
    let session = Session::begin(&settings.scratch, &node)?;
    let shared = Arc::new_cyclic(|shared| Shared {
        daemon,
        line: Arc::new(Line::new(
            bus,
            "sovr-host",
            Arc::new(ExeUnits(Weak::clone(shared))),
        )),
        node,
        settings,
        runtime,
        observer,
        session,
        unbilled: AtomicBool::new(false),
        book: Mutex::default(),
        tasks: Mutex::default(),
    });
    shared.line.bus().await?;
    shared.settle().await;
    let offer = watch::Sender::new(shared.publish().await?);
    tokio::select! {
        biased;
        () = stop => {}
        () = shared.negotiate(&offer) => {}
        () = shared.run_activities() => {}
        () = shared.watch_agreements() => {}
        () = shared.watch_debit_notes() => {}
        () = shared.watch_invoices() => {}
    }
    let offer = offer.borrow().clone();
    match timeout(STOP, shared.end(&offer)).await {
        Ok(()) if !shared.unbilled.load(Ordering::Relaxed) => shared.session.end(),
        Ok(()) => {}
        Err(_) => {
            let words = "not everything could be ended in time; what is left is ended and billed at the next start";
            shared.trouble(&words);
        }
    }
    Ok(())
}

impl Shared {
    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tasks(&self) -> MutexGuard<'_, JoinSet<()>> {
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tell(&self, event: &Event) {
        self.observer.observe(event);
    }

    fn trouble(&self, problem: &impl ToString) {
        let problem = problem.to_string();
        self.tell(&Event::Trouble { problem });
    }

    async fn publish(&self) -> Result<String, DaemonError> {
        let offer = offer::offer(&self.settings, &self.node, &Map::new());
        let offer = self.daemon.offer(&offer).await?;
        if let Err(error) = self.session.offered(&offer) {
            self.trouble(&format!("cannot remember the offer: {error}"));
        }
        self.tell(&Event::Offered {
            node: self.node.clone(),
            offer: offer.clone(),
        });
        Ok(offer)
    }

    /// Answers demands and takes agreements, as long as anybody waits for it.
    async fn negotiate(self: &Arc<Self>, offer: &watch::Sender<String>) {
        let mut fine = true;
        let mut pace = Pace::default();
        loop {
            pace.turn().await;
            let id = offer.borrow().clone();
            let events = match self.daemon.offer_events(&id, DEMANDS, POLL).await {
                Ok(events) => events,
                // It lives for an hour, or the daemon has forgotten it.
                Err(error) if error.kind == ErrorKind::NotFound => {
                    match self.publish().await {
                        Ok(fresh) => drop(offer.send_replace(fresh)),
                        Err(error) => self.pause(&mut fine, &error).await,
                    }
                    continue;
                }
                Err(error) => {
                    self.pause(&mut fine, &error).await;
                    continue;
                }
            };
            fine = true;
            if !events.is_empty() {
                pace.go_on();
            }
            stream::iter(events)
                .for_each_concurrent(ANSWERS, |event| self.answer(&id, event))
                .await;
        }
    }

    async fn answer(self: &Arc<Self>, offer: &str, event: OfferEvent) {
        let answered = match event {
            OfferEvent::Proposal { proposal } => self.answer_proposal(offer, &proposal).await,
            OfferEvent::Agreement { agreement } => self.answer_agreement(agreement).await,
            OfferEvent::Rejected { .. } | OfferEvent::Other => Ok(()),
        };
        match answered {
            // The requestor has gone on meanwhile.
            Err(error) if matches!(error.kind, ErrorKind::Gone | ErrorKind::NotFound) => {}
            Err(error) => self.trouble(&error),
            Ok(()) => {}
        }
    }

    async fn answer_proposal(&self, offer: &str, proposal: &Proposal) -> Result<(), DaemonError> {
        let demand = &proposal.declaration.properties;
        let refusal = match offer::examine(&self.settings, demand) {
            Ok(_) if self.is_full() => Some(Refusal::no_capacity(self.settings.capacity)),
            Ok(_) => None,
            Err(refusal) => Some(refusal),
        };
        match refusal {
            None => {
                let ours = offer::offer(&self.settings, &self.node, demand);
                let answered = self.daemon.answer_demand(offer, &proposal.id, &ours).await;
                answered.map(drop)
            }
            Some(Refusal { reason, is_final }) => {
                let refused = self
                    .daemon
                    .refuse_demand(offer, &proposal.id, &reason, is_final)
                    .await;
                self.tell(&Event::Refused {
                    requestor: proposal.issuer_id.clone(),
                    reason,
                });
                refused
            }
        }
    }

    async fn answer_agreement(
        self: &Arc<Self>,
        agreement: ProposedAgreement,
    ) -> Result<(), DaemonError> {
        let id = agreement.id.clone();
        let requestor = agreement.demand.requestor_id.clone();
        let Err(refusal) = self.take_agreement(agreement) else {
            return Ok(());
        };
        let refused = self.daemon.refuse_agreement(&id, &refusal.reason).await;
        self.tell(&Event::Refused {
            requestor,
            reason: refusal.reason,
        });
        refused
    }

    /// Gives an agreement a place, and a task that approves it.
    fn take_agreement(self: &Arc<Self>, agreement: ProposedAgreement) -> Result<(), Refusal> {
        let wish = offer::examine(&self.settings, &agreement.demand.declaration.properties)?;
        let terms = Terms::in_force(&self.settings, &agreement.offer.declaration.properties);
        let inbox = Arc::<Inbox>::default();
        let (end, ended) = watch::channel(None);
        {
            let mut book = self.book();
            // Told again.
            if book.agreements.contains_key(&agreement.id) {
                return Ok(());
            }
            if book.closed || book.agreements.len() >= self.settings.capacity {
                return Err(Refusal::no_capacity(self.settings.capacity));
            }
            let handle = Handle {
                inbox: Arc::clone(&inbox),
                end,
            };
            book.agreements.insert(agreement.id.clone(), handle);
        }
        let agreement = Agreement {
            shared: Arc::clone(self),
            id: agreement.id,
            requestor: agreement.demand.requestor_id,
            wish,
            terms,
            begun: Timestamp::now(),
            inbox,
            end: ended,
        };
        let mut tasks = self.tasks();
        // Those that are over.
        while tasks.try_join_next().is_some() {}
        tasks.spawn(agreement.run());
        Ok(())
    }

    fn is_full(&self) -> bool {
        let book = self.book();
        book.closed || book.agreements.len() >= self.settings.capacity
    }

    async fn run_activities(&self) {
        let ask = |after, wait| self.daemon.activity_events(&self.session.id, after, wait);
        self.hear(ask, |event| {
            let book = self.book();
            let Some(handle) = book.agreements.get(&event.agreement_id) else {
                return;
            };
            let activity = event.activity_id;
            match event.kind {
                ActivityEventKind::CreateActivity {} => handle.inbox.create(activity),
                ActivityEventKind::DestroyActivity {} => handle.inbox.destroy(activity),
            }
        })
        .await;
    }

    async fn watch_agreements(&self) {
        let ask = |after, wait| self.daemon.agreement_events(&self.session.id, after, wait);
        self.hear(ask, |event| {
            let ended = matches!(
                event.kind,
                AgreementEventKind::Terminated | AgreementEventKind::Cancelled
            );
            if let Some(handle) = self.book().agreements.get(&event.agreement_id)
                && ended
            {
                let reason = event.reason.unwrap_or_default();
                handle.end.send_replace(Some(End::Theirs {
                    code: reason.requestor_code.unwrap_or_default(),
                    reason: reason.message,
                }));
            }
        })
        .await;
    }

    async fn watch_debit_notes(&self) {
        let ask = |after, wait| self.daemon.debit_note_events(&self.session.id, after, wait);
        self.hear(ask, |event| {
            if event.event_type == "DebitNoteAcceptedEvent" {
                // Which agreement it belongs to, each knows for itself.
                for handle in self.book().agreements.values() {
                    handle.inbox.accepted(&event.id);
                }
            }
        })
        .await;
    }

    async fn watch_invoices(&self) {
        let ask = |after, wait| self.daemon.invoice_events(&self.session.id, after, wait);
        self.hear(ask, |event| {
            if event.event_type == "InvoiceAcceptedEvent" {
                self.tell(&Event::InvoiceAccepted { invoice: event.id });
            }
        })
        .await;
    }

    /// Takes each event of one kind, as long as anybody waits for it.
    async fn hear<E: Dated, F: Future<Output = Result<Vec<E>, DaemonError>>>(
        &self,
        ask: impl Fn(Timestamp, Duration) -> F,
        mut take: impl FnMut(E),
    ) {
        let mut fine = true;
        let mut feed = Feed::new();
        loop {
            match feed.next(&ask).await {
                Ok(events) => {
                    fine = true;
                    events.into_iter().for_each(&mut take);
                }
                Err(error) => self.pause(&mut fine, &error).await,
            }
        }
    }

    /// Something did not work, which is told the first time; then it is tried again.
    async fn pause(&self, fine: &mut bool, error: &DaemonError) {
        if std::mem::replace(fine, false) {
            self.trouble(error);
        }
        tokio::time::sleep(PAUSE).await;
    }

    /// Ends everything in order.
    async fn end(&self, offer: &str) {
        {
            let mut book = self.book();
            book.closed = true;
            for handle in book.agreements.values() {
                // Whoever ended it first is right.
                handle.end.send_if_modified(|end| {
                    let open = end.is_none();
                    if open {
                        *end = Some(End::Shutdown);
                    }
                    open
                });
            }
        }
        match again(WITHDRAW, || self.daemon.withdraw_offer(offer)).await {
            Err(error) if error.kind != ErrorKind::NotFound => self.trouble(&error),
            _ => {}
        }
        let mut tasks = std::mem::take(&mut *self.tasks());
        while tasks.join_next().await.is_some() {}
    }
}

/// Tries a call that must not be lost, as long as the daemon may be `away`.
async fn again<T, F: Future<Output = Result<T, DaemonError>>>(
    away: Duration,
    call: impl Fn() -> F,
) -> Result<T, DaemonError> {
    let end = Instant::now() + away;
    loop {
        match call().await {
            Err(error) if error.kind.may_pass() && Instant::now() < end => {
                tokio::time::sleep(PAUSE).await;
            }
            other => return other,
        }
    }
}

/// What is called over the bus.
struct ExeUnits(Weak<Shared>);

#[async_trait]
impl Service for ExeUnits {
    async fn call(&self, call: Call) {
        let caller = call.caller.clone();
        let (address, body, reply) = call.split();
        let path = address.strip_prefix(EXE_UNIT);
        let found = path
            .and_then(|path| path.split_once('/'))
            .and_then(|(id, method)| {
                let shared = self.0.upgrade()?;
                let activity = shared.book().activities.get(id).cloned()?;
                Some((activity, method))
            });
        match found {
            Some((activity, method)) => activity.call(&caller, method, body, reply).await,
            None => reply.not_found().await,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use serde_json::json;

    use super::*;
    use crate::local::testing::Stage;
    use crate::yagna::{AppKey, properties as names};

    /// A provider whose daemon is away.
    fn shared(capacity: usize, scratch: &Path) -> Arc<Shared> {
        let nobody = "127.0.0.1:9";
        let daemon = Daemon::new(crate::yagna::Settings {
            api: format!("http://{nobody}").parse().unwrap(),
            market: None,
            payment: None,
            activity: None,
            app_key: AppKey::new("key".to_owned()),
        });
        let price = LinearPrice {
            start: sovr_capability::Amount::ZERO,
            cpu_second: sovr_capability::Amount::ZERO,
            duration_second: sovr_capability::Amount::ZERO,
        };
        let settings = Settings::new("test".to_owned(), price, scratch.to_owned());
        Arc::new_cyclic(|shared| Shared {
            daemon: daemon.unwrap(),
            line: Arc::new(Line::new(
                Address::Tcp(nobody.to_owned()),
                "test",
                Arc::new(ExeUnits(Weak::clone(shared))),
            )),
            node: format!("0x{}", "11".repeat(20)).parse().unwrap(),
            settings: Settings {
                capacity,
                ..settings
            },
            runtime: Stage::new(),
            observer: Arc::new(|_: &Event| {}),
            session: Session::begin(scratch, &NodeId::from_bytes([1; 20])).unwrap(),
            unbilled: AtomicBool::new(false),
            book: Mutex::default(),
            tasks: Mutex::default(),
        })
    }

    fn proposed(id: &str) -> ProposedAgreement {
        let node = format!("0x{}", "22".repeat(20));
        serde_json::from_value(json!({
            "agreementId": id,
            "state": "Pending",
            "demand": { "requestorId": node, "constraints": "()", "properties": {
                names::CHOSEN_PLATFORM: "erc20-holesky-tglm", names::TASK_PACKAGE: format!("gftp://{node}/a"),
            } },
            "offer": { "providerId": node, "constraints": "()", "properties": {} },
        }))
        .unwrap()
    }

    #[tokio::test]
    async fn an_agreement_that_is_told_twice_is_not_refused() {
        let scratch = tempfile::tempdir().unwrap();
        let shared = shared(1, scratch.path());
        // Its task has not begun yet.
        shared.take_agreement(proposed("a")).unwrap();
        shared.take_agreement(proposed("a")).unwrap();
        let refused = shared.take_agreement(proposed("b")).unwrap_err();
        assert_eq!(refused, Refusal::no_capacity(1));
        shared.book().closed = true;
        shared.take_agreement(proposed("a")).unwrap();
        assert_eq!(shared.tasks().len(), 1);
    }
}
