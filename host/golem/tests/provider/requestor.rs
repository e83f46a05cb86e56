//! A requestor that asks by plain calls, as independent clients do.

use std::time::{Duration, Instant};

use jiff::Timestamp;
use serde_json::{Map, Value, json};
use sovr_test_golem::{Answer, Node};

use crate::scene::Scene;

pub(crate) const SUBNET: &str = "test";
const PLATFORM: &str = "erc20-holesky-tglm";
/// How long something may take that takes a second or two on an idle machine.
const PATIENCE: Duration = Duration::from_secs(120);

/// A demand.
pub(crate) struct Requestor<'a> {
    node: &'a Node,
    allocation: String,
    demand: Value,
    subscription: String,
    session: String,
}

/// An agreement with our provider.
pub(crate) struct Agreement<'a> {
    requestor: Requestor<'a>,
    pub(crate) id: String,
}

impl<'a> Requestor<'a> {
    pub(crate) fn new(scene: &'a Scene) -> Self {
        Self::with(scene, |_| {})
    }

    /// With something changed in what it says of itself.
    pub(crate) fn with(scene: &'a Scene, change: impl FnOnce(&mut Map<String, Value>)) -> Self {
        let node = scene.network.requestor();
        let allocation =
            json!({ "totalAmount": "5", "paymentPlatform": PLATFORM, "makeDeposit": false });
        let allocation = node.post("/payment-api/v1/allocations", &allocation).ok();
        let allocation = allocation["allocationId"].as_str().unwrap().to_owned();
        let path = format!("/payment-api/v1/demandDecorations?allocationIds={allocation}");
        let decorations = node.get(&path).ok();
        let mut properties = json!({
            "golem.srv.comp.expiration": in_half_an_hour().as_millisecond(),
            "golem.srv.caps.multi-activity": true,
            "golem.srv.comp.task_package": scene.package,
            "golem.node.debug.subnet": SUBNET,
            "golem.com.payment.debit-notes.accept-timeout?": 120,
            "golem.com.payment.chosen-platform": PLATFORM,
        });
        for property in decorations["properties"].as_array().unwrap() {
            properties[property["key"].as_str().unwrap()] = property["value"].clone();
        }
        change(properties.as_object_mut().unwrap());
        let constraints = decorations["constraints"].as_array().unwrap();
        let constraints: String = constraints
            .iter()
            .map(|one| one.as_str().unwrap())
            .collect();
        let constraints = format!(
            "(&(golem.node.debug.subnet={SUBNET})(golem.runtime.name=sovr-wasi)(golem.inf.mem.gib>=1){constraints})"
        );
        let demand = json!({ "properties": properties, "constraints": constraints });
        let subscription = node.post("/market-api/v1/demands", &demand).ok();
        Requestor {
            node,
            session: allocation.clone(),
            allocation,
            demand,
            subscription: subscription.as_str().unwrap().to_owned(),
        }
    }

    /// The next event of the demand.
    fn event(&self) -> Value {
        let path = format!(
            "/market-api/v1/demands/{}/events?timeout=5&maxEvents=1",
            self.subscription
        );
        eventually(|| Some(self.node.get(&path).ok().get(0)?.clone()))
    }

    /// Takes the first offer; or what came instead.
    pub(crate) fn agree(self) -> Result<Agreement<'a>, Value> {
        let offer = self.event();
        assert_eq!(offer["proposal"]["state"], "Initial", "{offer}");
        let demand = format!("/market-api/v1/demands/{}", self.subscription);
        let proposal = offer["proposal"]["proposalId"].as_str().unwrap();
        let counter = format!("{demand}/proposals/{proposal}");
        self.node.post(&counter, &self.demand).ok();
        let answer = self.event();
        if answer["eventType"] != "ProposalEvent" {
            return Err(answer);
        }
        assert_eq!(answer["proposal"]["state"], "Draft", "{answer}");
        let valid_to = in_half_an_hour().to_string();
        let wanted = json!({ "proposalId": answer["proposal"]["proposalId"], "validTo": valid_to });
        let id = self.node.post("/market-api/v1/agreements", &wanted).ok();
        let id = id.as_str().unwrap().to_owned();
        let path = format!("/market-api/v1/agreements/{id}");
        let confirm = format!("{path}/confirm?appSessionId={}", self.session);
        self.node.post(&confirm, &Value::Null).ok();
        let approved = self
            .node
            .post(&format!("{path}/wait?timeout=30"), &Value::Null);
        if approved.status != 204 {
            return Err(json!({ "status": approved.status, "text": approved.text }));
        }
        Ok(Agreement {
            requestor: self,
            id,
        })
    }
}

impl Agreement<'_> {
    pub(crate) fn create_activity(&self) -> String {
        let created = self.try_create_activity().ok();
        created["activityId"].as_str().unwrap().to_owned()
    }

    pub(crate) fn try_create_activity(&self) -> Answer {
        let path = "/activity-api/v1/activity?timeout=30";
        let agreement = json!({ "agreementId": self.id });
        self.requestor.node.post(path, &agreement)
    }

    pub(crate) fn try_exec(&self, activity: &str, commands: &Value) -> Answer {
        let script = json!({ "text": commands.to_string() });
        self.requestor.node.post(&exec(activity), &script)
    }

    pub(crate) fn start(&self, activity: &str, commands: &Value) -> String {
        let batch = self.try_exec(activity, commands);
        batch.ok().as_str().unwrap().to_owned()
    }

    pub(crate) fn exec(&self, activity: &str, commands: &Value) -> Vec<Value> {
        let batch = self.start(activity, commands);
        self.results(activity, &batch)
    }

    pub(crate) fn results(&self, activity: &str, batch: &str) -> Vec<Value> {
        let path = format!("{}/{batch}?timeout=5", exec(activity));
        eventually(|| {
            let results = self.requestor.node.get(&path).ok();
            let results = results.as_array().unwrap().clone();
            let is_done = results.last()?["isBatchFinished"] == true;
            is_done.then_some(results)
        })
    }

    pub(crate) fn results_now(&self, activity: &str, batch: &str) -> Value {
        let path = format!("{}/{batch}", exec(activity));
        self.requestor.node.get(&path).ok()
    }

    pub(crate) fn state(&self, activity: &str) -> Value {
        let path = format!("/activity-api/v1/activity/{activity}/state");
        self.requestor.node.get(&path).ok()["state"].clone()
    }

    pub(crate) fn usage(&self, activity: &str) -> Value {
        let path = format!("/activity-api/v1/activity/{activity}/usage");
        self.requestor.node.get(&path).ok()["currentUsage"].clone()
    }

    pub(crate) fn destroy(&self, activity: &str) {
        let path = format!("/activity-api/v1/activity/{activity}?timeout=30");
        self.requestor.node.call("DELETE", &path, &Value::Null).ok();
    }

    pub(crate) fn terminate(&self) {
        let path = format!("/market-api/v1/agreements/{}/terminate", self.id);
        let reason = json!({ "message": "done", "golem.requestor.code": "Success" });
        self.requestor.node.post(&path, &reason).ok();
    }

    /// How it ended, if it did.
    pub(crate) fn ended(&self) -> Option<Value> {
        let path = format!("/market-api/v1/agreements/{}/terminate/reason", self.id);
        let answer = self.requestor.node.get(&path);
        (answer.status == 200).then_some(answer.json)
    }

    pub(crate) fn invoice(&self) -> Value {
        self.bill("invoices", "invoiceEvents", "invoiceId")
    }

    pub(crate) fn debit_note(&self) -> Value {
        self.bill("debitNotes", "debitNoteEvents", "debitNoteId")
    }

    fn bill(&self, kind: &str, events: &str, id: &str) -> Value {
        let node = self.requestor.node;
        let session = &self.requestor.session;
        let events = format!(
            "/payment-api/v1/{events}?timeout=5&appSessionId={session}&afterTimestamp=2020-01-01T00:00:00Z"
        );
        let id = eventually(|| Some(node.get(&events).ok()[0][id].as_str()?.to_owned()));
        let bill = node.get(&format!("/payment-api/v1/{kind}/{id}")).ok();
        assert_eq!(bill["agreementId"], self.id);
        bill
    }

    /// Whether a bill could be accepted.
    pub(crate) fn accept(&self, kind: &str, id: &str, amount: &str, bill: &Value) -> bool {
        let id = bill[id].as_str().unwrap();
        let acceptance = json!({
            "totalAmountAccepted": bill[amount], "allocationId": self.requestor.allocation,
        });
        let path = format!("/payment-api/v1/{kind}/{id}/accept");
        self.requestor.node.post(&path, &acceptance).status == 200
    }
}

fn exec(activity: &str) -> String {
    format!("/activity-api/v1/activity/{activity}/exec")
}

/// The batch that makes an activity ready.
pub(crate) fn deployed() -> Value {
    json!([{ "deploy": {} }, { "start": { "args": [] } }])
}

pub(crate) fn run(program: &str, arguments: &[&str]) -> Value {
    let stream = json!({ "stream": {} });
    json!({ "run": {
        "entry_point": program, "args": arguments, "capture": { "stdout": stream, "stderr": stream },
    } })
}

pub(crate) fn transfer(from: &str, to: &str) -> Value {
    json!({ "transfer": { "from": from, "to": to } })
}

/// A decimal without the zeros that databases add.
pub(crate) fn amount(value: &Value) -> String {
    let text = value.as_str().unwrap();
    match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => text.to_owned(),
    }
}

/// Asks until there is an answer. What is asked waits, or is quickly done.
#[track_caller]
pub(crate) fn eventually<T>(mut ask: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(start.elapsed() < PATIENCE, "it does not happen");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn in_half_an_hour() -> Timestamp {
    Timestamp::now() + Duration::from_secs(1800)
}
