//! A provider of our own: on one side a stock daemon, on the other a script instead of a runtime, and faults on demand.
//!
//! It offers, negotiates, approves, serves activities and sends bills as the stock provider does, by the daemon's REST
//! interface; commands come to it over the service bus, where the stock exe-unit takes them too. (The daemon can also
//! pass them on over a WebSocket, but without the caller and without streams of events.) Programs are not run:
//! [`Terms::runtime`] has a few that a test needs, see [`exe_unit`].

mod exe_unit;

use std::collections::HashMap;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use serde_json::{Map, Value, json};
use sovr_capability::Amount;
use sovr_golem::LinearPrice;
use sovr_golem::bus::CallRequest;

use self::exe_unit::ExeUnit;
use crate::Node;
use crate::link::{Answering, Link, Service, decode};
use crate::node::{Answer, Api};

/// What a poll waits for; so long takes dropping a provider at most.
const POLL: u64 = 1;
/// After an error, which a daemon that is being started again answers.
const PAUSE: Duration = Duration::from_millis(100);
/// The daemon calls a provider unresponsive that says nothing for five.
const SIGN_OF_LIFE: Duration = Duration::from_secs(2);
const PLATFORM: &str = "erc20-holesky-tglm";
/// What a demand wants to be run.
const PACKAGE: &str = "golem.srv.comp.task_package";
const EXE_UNIT: &str = "/public/exeunit/";
/// What is due at once would be paid at once, were there a chain.
const DUE: SignedDuration = SignedDuration::from_hours(24);
/// Keys that both sides settle on.
const NEGOTIABLE: [&str; 3] = [
    "golem.com.payment.debit-notes.accept-timeout?",
    "golem.com.scheme.payu.debit-note.interval-sec?",
    "golem.com.scheme.payu.payment-timeout-sec?",
];

/// What a provider offers.
#[derive(Debug, Clone)]
pub struct Terms {
    /// Only demands of the same subnet are answered.
    pub subnet: String,
    /// `golem.node.id.name`.
    pub name: String,
    /// `golem.runtime.name`. Whatever it is, the programs are those of the test provider.
    pub runtime: String,
    /// What it asks.
    pub price: LinearPrice,
}

impl Terms {
    /// A runtime `vm` at 0.1 to start, 0.02 per second of processor time and 0.01 per second.
    pub fn of(subnet: &str) -> Terms {
        let amount = |text: &str| text.parse().unwrap_or_else(|error| panic!("{error}"));
        Terms {
            subnet: subnet.to_owned(),
            name: "test provider".to_owned(),
            runtime: "vm".to_owned(),
            price: LinearPrice {
                start: amount("0.1"),
                cpu_second: amount("0.02"),
                duration_second: amount("0.01"),
            },
        }
    }

    fn properties(&self) -> Map<String, Value> {
        let number = |amount: Amount| {
            let number: Option<f64> = amount.to_string().parse().ok();
            number.expect("an amount is a decimal")
        };
        let price = &self.price;
        let coefficients = [price.cpu_second, price.duration_second, price.start].map(number);
        let properties = json!({
            "golem.activity.caps.transfer.protocol": ["gftp", "http", "https"],
            "golem.com.payment.debit-notes.accept-timeout?": 240,
            "golem.com.payment.protocol.version": 3,
            "golem.com.pricing.model": "linear",
            "golem.com.pricing.model.linear.coeffs": coefficients,
            "golem.com.scheme": "payu",
            "golem.com.scheme.payu.debit-note.interval-sec?": 120,
            "golem.com.scheme.payu.payment-timeout-sec?": 120,
            "golem.com.usage.vector": ["golem.usage.cpu_sec", "golem.usage.duration_sec"],
            "golem.inf.cpu.architecture": "x86_64",
            "golem.inf.cpu.cores": 2,
            "golem.inf.cpu.threads": 2,
            "golem.inf.mem.gib": 2.0,
            "golem.inf.storage.gib": 5.0,
            "golem.node.debug.subnet": self.subnet,
            "golem.node.id.name": self.name,
            "golem.runtime.capabilities": [],
            "golem.runtime.name": self.runtime,
            "golem.runtime.version": "0.5.2",
            "golem.srv.caps.multi-activity": true,
            "golem.srv.caps.payload-manifest": false,
        });
        match properties {
            Value::Object(properties) => properties,
            _ => unreachable!("an object is written above"),
        }
    }
}

/// What a provider does wrong from now on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// Proposals are refused with these words.
    RejectsProposals(String),
    /// Proposals are refused with this as the reason.
    RejectsProposalsOddly(Value),
    /// Agreements are refused with these words.
    RejectsAgreements(String),
    /// Agreements are neither approved nor refused.
    IgnoresAgreements,
    /// Activities that are asked for never come up.
    NoActivity,
    /// The exe-unit takes no calls any more: "endpoint address not found".
    ExeUnitGone,
    /// Calls of the exe-unit stay without an answer.
    ExeUnitSilent,
    /// Bills ask for so much, whatever was agreed.
    Bills(Amount),
}

/// A running provider. Dropping it ends it as a crash does: nothing is said to anybody.
pub struct Provider {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

struct Shared {
    api: Api,
    node: String,
    terms: Terms,
    /// Tells its own agreements and activities from others' on the same node.
    session: String,
    subscription: String,
    link: Mutex<Option<Arc<Link>>>,
    gsb_url: String,
    ends: AtomicBool,
    faults: Mutex<Vec<Fault>>,
    state: Mutex<State>,
    /// Problems that nobody asked for; shown when the test fails.
    complaints: Mutex<Vec<String>>,
}

#[derive(Default)]
struct State {
    /// By id, with the package that each wants to be run, until they are billed.
    agreements: HashMap<String, String>,
    activities: HashMap<String, Arc<ExeUnit>>,
}

impl Provider {
    /// Offers work on behalf of a node.
    ///
    /// # Panics
    ///
    /// When the daemon refuses.
    pub fn start(node: &Node, terms: Terms) -> Provider {
        let mut shared = Shared {
            api: node.api(),
            session: String::new(),
            node: node.id().to_owned(),
            terms,
            subscription: String::new(),
            link: Mutex::default(),
            gsb_url: node.gsb_url().to_owned(),
            ends: AtomicBool::new(false),
            faults: Mutex::default(),
            state: Mutex::default(),
            complaints: Mutex::default(),
        };
        let offer = shared.offer(shared.terms.properties());
        let subscription = node.post("/market-api/v1/offers", &offer).ok();
        shared.subscription = subscription.as_str().unwrap_or_default().to_owned();
        shared.session = format!("provider-{}", shared.subscription);
        let shared = Arc::new(shared);
        shared
            .link()
            .unwrap_or_else(|error| panic!("no service bus: {error}"));
        let roles: [fn(&Arc<Shared>); 4] = [
            Shared::negotiate,
            Shared::run_activities,
            Shared::send_bills,
            Shared::give_signs_of_life,
        ];
        let threads = roles.map(|role| {
            let shared = Arc::clone(&shared);
            thread::spawn(move || role(&shared))
        });
        Provider {
            shared,
            threads: threads.into(),
        }
    }

    /// From now on it does this wrong, too.
    pub fn commit(&self, fault: Fault) {
        self.shared.faults().push(fault);
    }

    /// From now on it does everything right.
    pub fn reform(&self) {
        self.shared.faults().clear();
    }

    /// Ends all agreements with one of the codes that providers use, such as `DebitNotesDeadline`.
    pub fn break_agreements(&self, code: &str, message: &str) {
        self.break_agreements_oddly(&json!({ "message": message, "golem.provider.code": code }));
    }

    /// Ends all agreements with this as the reason.
    pub fn break_agreements_oddly(&self, reason: &Value) {
        let agreements: Vec<_> = self.shared.state().agreements.keys().cloned().collect();
        for agreement in agreements {
            let path = format!("/market-api/v1/agreements/{agreement}/terminate");
            self.shared.does("POST", &path, reason);
        }
    }

    /// Sends a debit note for each activity: so much is owed since it began.
    pub fn send_debit_notes(&self, total: Amount) {
        let activities: Vec<_> = self.shared.state().activities.keys().cloned().collect();
        for activity in activities {
            let note = json!({ "activityId": activity, "totalAmountDue": total.to_string() });
            self.shared.bill("debitNotes", "debitNoteId", &note);
        }
    }

    /// Lets all programs that pause go on.
    pub fn go_on(&self) {
        for exe_unit in self.shared.state().activities.values() {
            exe_unit.go_on();
        }
    }

    /// Whoever called the exe-units, as the bus has it, in order and without repetitions.
    pub fn callers(&self) -> Vec<String> {
        let state = self.shared.state();
        let mut callers: Vec<_> = state
            .activities
            .values()
            .flat_map(|exe_unit| exe_unit.callers())
            .collect();
        callers.sort();
        callers.dedup();
        callers
    }

    /// The packages of its activities, of those whose address is one of `gftp:`: deploying fetches them.
    pub fn packages(&self) -> Vec<Vec<u8>> {
        let state = self.shared.state();
        let packages = state.activities.values().map(|unit| unit.package());
        packages.flatten().collect()
    }

    /// A file in the container of its only activity.
    ///
    /// # Panics
    ///
    /// When there is another number of activities.
    pub fn file(&self, path: &str) -> Option<Vec<u8>> {
        let state = self.shared.state();
        let mut activities = state.activities.values();
        match (activities.next(), activities.next()) {
            (Some(only), None) => only.file(path),
            _ => panic!("not one activity but {}", state.activities.len()),
        }
    }
}

impl Drop for Provider {
    fn drop(&mut self) {
        self.shared.ends.store(true, Ordering::Relaxed);
        if let Some(link) = lock(&self.shared.link).take() {
            link.close();
        }
        for exe_unit in self.shared.state().activities.values() {
            exe_unit.end();
        }
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
        if thread::panicking() {
            for complaint in lock(&self.shared.complaints).iter() {
                eprintln!("the provider: {complaint}");
            }
        }
    }
}

impl Shared {
    fn faults(&self) -> MutexGuard<'_, Vec<Fault>> {
        lock(&self.faults)
    }

    fn fault<T>(&self, which: impl Fn(&Fault) -> Option<T>) -> Option<T> {
        self.faults().iter().find_map(which)
    }

    fn has(&self, fault: &Fault) -> bool {
        self.faults().contains(fault)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    fn ends(&self) -> bool {
        self.ends.load(Ordering::Relaxed)
    }

    fn complain(&self, what: String) {
        lock(&self.complaints).push(what);
    }

    /// The connection to the bus, opened anew where it is gone.
    fn link(self: &Arc<Self>) -> io::Result<Arc<Link>> {
        let mut link = lock(&self.link);
        if let Some(open) = link.as_ref().filter(|link| link.is_open()) {
            return Ok(Arc::clone(open));
        }
        let service: Arc<dyn Service> = Arc::new(ExeUnits(Arc::downgrade(self)));
        let open = Arc::new(Link::open(&self.gsb_url, service)?);
        let state = self.state();
        let alive = state.activities.values().filter(|unit| !unit.has_ended());
        for exe_unit in alive {
            open.register(&format!("{EXE_UNIT}{}", exe_unit.id))?;
        }
        *link = Some(Arc::clone(&open));
        Ok(open)
    }

    /// Until it ends: asks, and takes what comes. `ask` answers nothing when it failed.
    fn poll(&self, path: impl Fn(&str) -> String, mut take: impl FnMut(&Value)) {
        let mut after = Timestamp::now().to_string();
        while !self.ends() {
            let answer = self.api.call("GET", &path(&after), &Value::Null);
            let events = match answer {
                Ok(Answer {
                    status: 200, json, ..
                }) => json,
                // Nothing came within the time.
                Ok(Answer { status: 408, .. }) => continue,
                // The daemon is away, or has forgotten.
                _ => {
                    thread::sleep(PAUSE);
                    continue;
                }
            };
            for event in events.as_array().into_iter().flatten() {
                if self.ends() {
                    return;
                }
                if let Some(date) = event["eventDate"].as_str() {
                    after = date.to_owned();
                }
                take(event);
            }
        }
    }

    fn negotiate(self: &Arc<Self>) {
        let offer = format!("/market-api/v1/offers/{}", self.subscription);
        let path = |_: &str| format!("{offer}/events?timeout={POLL}&maxEvents=10");
        self.poll(path, |event| match event["eventType"].as_str() {
            Some("ProposalEvent") => self.answer_proposal(&offer, &event["proposal"]),
            Some("AgreementEvent") => self.answer_agreement(&event["agreement"]),
            _ => {}
        });
    }

    fn answer_proposal(&self, offer: &str, proposal: &Value) {
        let id = proposal["proposalId"].as_str().unwrap_or_default();
        let path = format!("{offer}/proposals/{id}");
        let refusal = self.fault(|fault| match fault {
            Fault::RejectsProposals(words) => Some(json!({ "message": words })),
            Fault::RejectsProposalsOddly(reason) => Some(reason.clone()),
            _ => None,
        });
        if let Some(reason) = refusal {
            self.does("POST", &format!("{path}/reject"), &reason);
            return;
        }
        let mut properties = self.terms.properties();
        for key in NEGOTIABLE {
            if let Some(value) = proposal["properties"].get(key) {
                properties.insert(key.to_owned(), value.clone());
            }
        }
        let body = self.offer(properties);
        self.does("POST", &path, &body);
    }

    fn answer_agreement(&self, agreement: &Value) {
        let id = agreement["agreementId"].as_str().unwrap_or_default();
        let path = format!("/market-api/v1/agreements/{id}");
        if self.has(&Fault::IgnoresAgreements) {
            return;
        }
        let refusal = self.fault(|fault| match fault {
            Fault::RejectsAgreements(words) => Some(words.clone()),
            _ => None,
        });
        if let Some(message) = refusal {
            let reason = json!({ "message": message });
            self.does("POST", &format!("{path}/reject"), &reason);
            return;
        }
        let package = &agreement["demand"]["properties"][PACKAGE];
        let package = package.as_str().unwrap_or_default().to_owned();
        self.state().agreements.insert(id.to_owned(), package);
        let path = format!("{path}/approve?timeout=15&appSessionId={}", self.session);
        self.does("POST", &path, &Value::Null);
    }

    fn run_activities(self: &Arc<Self>) {
        let path = |after: &str| {
            format!(
                "/activity-api/v1/events?afterTimestamp={after}&timeout={POLL}&maxEvents=10&appSessionId={}",
                self.session
            )
        };
        self.poll(path, |event| {
            let text = |key: &str| event[key].as_str().unwrap_or_default();
            let (activity, agreement) = (text("activityId"), text("agreementId"));
            // The kind is the key of a map.
            if event["eventType"].get("CreateActivity").is_some() {
                self.create(activity, agreement);
            } else if event["eventType"].get("DestroyActivity").is_some() {
                self.destroy(activity);
            }
        });
    }

    fn create(self: &Arc<Self>, activity: &str, agreement: &str) {
        let package = self.state().agreements.get(agreement).cloned();
        let Some(package) = package.filter(|_| !self.has(&Fault::NoActivity)) else {
            return;
        };
        let exe_unit = Arc::new(ExeUnit::new(activity, agreement, package));
        let registered = self
            .link()
            .and_then(|link| link.register(&format!("{EXE_UNIT}{activity}")));
        if let Err(error) = registered {
            self.complain(format!("cannot serve {activity}: {error}"));
            return;
        }
        let units = &mut self.state().activities;
        units.insert(activity.to_owned(), Arc::clone(&exe_unit));
        self.report(&exe_unit);
    }

    fn destroy(self: &Arc<Self>, activity: &str) {
        let Some(exe_unit) = self.state().activities.get(activity).cloned() else {
            return;
        };
        exe_unit.end();
        if let Ok(link) = self.link() {
            let _ = link.unregister(&format!("{EXE_UNIT}{activity}"));
        }
        self.report(&exe_unit);
    }

    /// Tells the daemon an activity's state and usage.
    fn report(self: &Arc<Self>, exe_unit: &ExeUnit) {
        let state = json!({ "state": [exe_unit.state(), null] });
        let path = format!("/activity-api/v1/activity/{}/state", exe_unit.id);
        self.does("PUT", &path, &state);
        let usage = json!({
            "activityId": exe_unit.id, "usage": exe_unit::usage(exe_unit.usage()), "timeout": null,
        });
        let told = self
            .link()
            .and_then(|link| link.call("/local/activity/SetActivityUsage", &usage));
        if let Err(error) = told {
            self.complain(format!("cannot tell the usage: {error}"));
        }
    }

    fn give_signs_of_life(self: &Arc<Self>) {
        while !self.ends() {
            let units: Vec<_> = self.state().activities.values().cloned().collect();
            for exe_unit in units.iter().filter(|unit| !unit.has_ended()) {
                self.report(exe_unit);
            }
            let end = Instant::now() + SIGN_OF_LIFE;
            while !self.ends() && Instant::now() < end {
                thread::sleep(PAUSE);
            }
        }
    }

    fn send_bills(self: &Arc<Self>) {
        let path = |after: &str| {
            format!(
                "/market-api/v1/agreementEvents?afterTimestamp={after}&timeout={POLL}&maxEvents=10&appSessionId={}",
                self.session
            )
        };
        self.poll(path, |event| {
            let agreement = event["agreementId"].as_str().unwrap_or_default();
            if event["eventType"] == "AgreementTerminatedEvent" {
                self.send_invoice(agreement);
            }
        });
    }

    fn send_invoice(&self, agreement: &str) {
        // Once.
        if self.state().agreements.remove(agreement).is_none() {
            return;
        }
        let units: Vec<_> = self.state().activities.values().cloned().collect();
        let units = units.iter().filter(|unit| unit.agreement == agreement);
        let (ids, costs): (Vec<_>, Vec<_>) = units
            .map(|unit| (unit.id.clone(), self.terms.price.cost(unit.usage())))
            .unzip();
        let invoice = json!({
            "agreementId": agreement, "activityIds": ids,
            "amount": self.claim(Amount::checked_sum(costs).unwrap_or(Amount::MAX)),
            "paymentDueDate": (Timestamp::now() + DUE).to_string(),
        });
        self.bill("invoices", "invoiceId", &invoice);
    }

    /// What is asked for where so much is owed.
    fn claim(&self, owed: Amount) -> String {
        let wrong = self.fault(|fault| match fault {
            Fault::Bills(amount) => Some(*amount),
            _ => None,
        });
        wrong.unwrap_or(owed).to_string()
    }

    /// Issues an invoice or a debit note and sends it.
    fn bill(&self, kind: &str, id: &str, bill: &Value) {
        let path = format!("/payment-api/v1/{kind}");
        let issued = self.does("POST", &path, bill);
        if let Some(id) = issued.as_ref().and_then(|issued| issued[id].as_str()) {
            self.does(
                "POST",
                &format!("{path}/{id}/send?timeout=10"),
                &Value::Null,
            );
        }
    }

    /// An offer, or an answer to a demand.
    fn offer(&self, mut properties: Map<String, Value>) -> Value {
        let address = format!("golem.com.payment.platform.{PLATFORM}.address");
        properties.insert(address, json!(self.node));
        let constraints = format!("(&(golem.node.debug.subnet={}))", self.terms.subnet);
        json!({ "properties": properties, "constraints": constraints })
    }

    /// A call that should succeed.
    fn does(&self, method: &str, path: &str, body: &Value) -> Option<Value> {
        match self.api.call(method, path, body) {
            Ok(Answer { status, json, .. }) if (200..300).contains(&status) => Some(json),
            Ok(answer) => {
                self.complain(format!(
                    "{method} {path} is answered {}: {}",
                    answer.status, answer.text
                ));
                None
            }
            Err(error) => {
                self.complain(format!("{method} {path}: {error}"));
                None
            }
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What the daemon calls.
struct ExeUnits(Weak<Shared>);

impl Service for ExeUnits {
    fn call(&self, call: &CallRequest, reply: Answering<'_>) {
        let Some(shared) = self.0.upgrade() else {
            return;
        };
        if shared.has(&Fault::ExeUnitSilent) {
            return;
        }
        let path = call.address.strip_prefix(EXE_UNIT);
        let path = path.and_then(|path| path.split_once('/'));
        let found = path.and_then(|(id, method)| {
            let exe_unit = shared.state().activities.get(id).cloned()?;
            Some((exe_unit, method))
        });
        let Some((exe_unit, method)) = found.filter(|_| !shared.has(&Fault::ExeUnitGone)) else {
            reply.not_found();
            return;
        };
        exe_unit.called_by(&call.caller);
        let body = match decode(&call.data) {
            Ok(body) => body,
            Err(error) => return shared.complain(format!("{method}: {error}")),
        };
        if method != "Exec" {
            return exe_unit.answer(method, &body, reply);
        }
        let batch = body["batchId"].as_str().unwrap_or_default();
        let is_taken = exe_unit.take(batch);
        reply.ok(&json!(batch));
        let commands = body["exeScript"].as_array().cloned().unwrap_or_default();
        match shared.link() {
            Ok(link) if is_taken => {
                exe_unit.run(batch, &commands, &link, || shared.report(&exe_unit));
            }
            Ok(_) => {}
            Err(error) => shared.complain(format!("Exec: {error}")),
        }
    }
}
