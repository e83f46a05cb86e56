//! Two stock daemons do a whole task with each other, the test asking for it by plain calls; and what the network of
//! the tests promises: nothing leaves it, nodes come back, faults are seen on the other side.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpStream;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use serde_json::{Value, json};
use sovr_test_golem::{Answer, Fault, Files, Network, Node, Provider, Suite, Terms, tests};

/// How long something may take that takes a second or two on an idle machine.
const PATIENCE: Duration = Duration::from_secs(60);
const SUBNET: &str = "test";
const PLATFORM: &str = "erc20-holesky-tglm";

fn main() -> ExitCode {
    let missing = sovr_test_golem::prepare();
    let tests = tests![
        there_is_no_way_out,
        funds_are_what_the_chain_says,
        a_task_is_done_and_paid_for,
        a_failing_command_ends_its_batch,
        files_go_both_ways,
        a_batch_is_told_as_it_happens,
        a_provider_refuses_and_hesitates_on_demand,
        an_exe_unit_is_lost_on_demand,
        a_bill_asks_for_too_much_on_demand,
        a_provider_breaks_an_agreement_on_demand,
        a_daemon_that_was_killed_goes_on_where_it_was,
        daemons_come_back_when_the_network_was_cut,
        a_dropped_network_is_gone,
    ];
    let mut suite = Suite::default();
    suite.add_all(missing.as_deref(), tests);
    suite.run()
}

fn there_is_no_way_out() {
    let interfaces = std::fs::read_to_string("/proc/self/net/dev").unwrap();
    // After two lines of headings.
    let names: Vec<_> = interfaces
        .lines()
        .skip(2)
        .map(|line| line.split(':').next().unwrap().trim())
        .collect();
    assert_eq!(names, ["lo"]);
}

fn funds_are_what_the_chain_says() {
    let network = Network::start();
    let node = network.requestor();
    assert_ne!(node.id(), network.provider().id());

    let allocation = allocate(node, "600");
    assert_eq!(allocation.status, 201, "{}", allocation.text);
    assert_eq!(allocation.json["paymentPlatform"], PLATFORM);
    assert_eq!(allocation.json["remainingAmount"], "600");

    let above = allocate(node, "401");
    assert_eq!(above.status, 400, "{}", above.text);
    assert!(
        above.json["instance"]
            .as_str()
            .unwrap()
            .ends_with("insufficient-account-funds"),
        "{}",
        above.text
    );
    network.chain().set_balance(1001);
    assert_eq!(allocate(node, "401").status, 201);
}

fn a_task_is_done_and_paid_for() {
    let network = Network::start();
    let provider = Provider::start(network.provider(), Terms::of(SUBNET));
    let node = network.requestor();

    let agreement = Requestor::new(node).agree().unwrap();
    let activity = agreement.create_activity().ok();
    let activity = activity["activityId"].as_str().unwrap();
    let results = agreement.exec(
        activity,
        &json!([
            { "deploy": {} }, { "start": { "args": [] } },
            run("/bin/echo", &["hello", "world"]),
            { "run": { "entry_point": "echo", "args": ["unheard"] } },
        ]),
    );
    let told: Vec<_> = results
        .iter()
        .map(|result| {
            (
                &result["result"],
                &result["stdout"],
                &result["isBatchFinished"],
            )
        })
        .collect();
    assert_eq!(
        told[2],
        (&json!("Ok"), &json!("hello world\n"), &json!(false))
    );
    assert_eq!(told[3], (&json!("Ok"), &Value::Null, &json!(true)));
    let state = node.get(&format!("/activity-api/v1/activity/{activity}/state"));
    assert_eq!(state.ok()["state"], json!(["Ready", null]));
    let usage = node.get(&format!("/activity-api/v1/activity/{activity}/usage"));
    assert_eq!(usage.ok()["currentUsage"], json!([2.0, 4.0]));
    // The far side knows who gave the commands.
    for caller in provider.callers() {
        assert!(caller.contains(node.id()), "{caller}");
    }

    agreement.destroy(activity);
    agreement.terminate();
    let invoice = agreement.invoice();
    // 0.1 to start, 2 s of processor time at 0.02, 4 s at 0.01.
    assert_eq!(amount(&invoice["amount"]), "0.18");
    assert_eq!(invoice["issuerId"], network.provider().id());
    assert_eq!(agreement.accept(&invoice).status, 200);
    let path = format!(
        "/payment-api/v1/allocations/{}",
        agreement.requestor.allocation
    );
    let allocation = node.get(&path).ok();
    assert_eq!(amount(&allocation["spentAmount"]), "0.18");
    assert_eq!(node.call("DELETE", &path, &Value::Null).status, 200);
}

fn a_failing_command_ends_its_batch() {
    let network = Network::start();
    let _provider = Provider::start(network.provider(), Terms::of(SUBNET));
    let agreement = Requestor::new(network.requestor()).agree().unwrap();
    let activity = agreement.create_activity().ok();
    let activity = activity["activityId"].as_str().unwrap();

    let early = agreement.exec(activity, &json!([run("echo", &["early"])]));
    let message = early[0]["message"].as_str().unwrap();
    assert!(
        message.contains("deploy() command is expected"),
        "{message}"
    );

    let results = agreement.exec(
        activity,
        &json!([
            { "deploy": {} }, { "start": {} },
            run("fail", &["7", "out", "of", "paper"]),
            run("echo", &["never"]),
        ]),
    );
    assert_eq!(results.len(), 3, "{results:?}");
    assert_eq!(results[2]["result"], "Error");
    assert_eq!(results[2]["stderr"], "out of paper\n");
    assert_eq!(
        results[2]["message"],
        "ExeScript command exited with code 7"
    );
    assert_eq!(results[2]["isBatchFinished"], true);
}

fn files_go_both_ways() {
    let network = Network::start();
    let provider = Provider::start(network.provider(), Terms::of(SUBNET));
    let agreement = Requestor::new(network.requestor()).agree().unwrap();
    let activity = agreement.create_activity().ok();
    let activity = activity["activityId"].as_str().unwrap();
    let files = Files::of(network.requestor());
    // More than one chunk, and no two alike.
    let content: Vec<u8> = (0..100_000).map(|i| (i % 251) as u8).collect();
    let sent = files.put("sent", &content);
    let fetched = files.put("fetched", &[]);
    let inside = "container:/golem/work/file";
    let results = agreement.exec(
        activity,
        &json!([
            { "deploy": {} }, { "start": {} },
            { "transfer": { "from": sent, "to": inside } },
            { "transfer": { "from": inside, "to": fetched } },
            { "transfer": { "from": sent + "-not", "to": inside } },
        ]),
    );
    assert_eq!(results[3]["result"], "Ok", "{results:?}");
    assert!(provider.file("/golem/work/file").as_ref() == Some(&content));
    assert!(files.get("fetched").as_ref() == Some(&content));
    assert_eq!(results[4]["result"], "Error", "{results:?}");
}

fn a_batch_is_told_as_it_happens() {
    let network = Network::start();
    let _provider = Provider::start(network.provider(), Terms::of(SUBNET));
    let node = network.requestor();
    let agreement = Requestor::new(node).agree().unwrap();
    let activity = agreement.create_activity().ok();
    let activity = activity["activityId"].as_str().unwrap();
    let setup = json!([{ "deploy": {} }, { "start": {} }, run("echo", &["one"]), run("wait", &[])]);
    let batch = agreement.start(activity, &setup);

    let mut stream = TcpStream::connect(node.api_url().strip_prefix("http://").unwrap()).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    write!(
        stream,
        "GET {}/{batch} HTTP/1.0\r\nAuthorization: Bearer {}\r\nAccept: text/event-stream\r\n\r\n",
        exec(activity),
        node.app_key()
    )
    .unwrap();
    let mut events = BufReader::new(stream).lines().map(Result::unwrap);
    assert!(events.next().unwrap().contains(" 200 "));
    let mut kinds = Vec::new();
    while kinds.len() < 9 {
        let line = events.next().unwrap();
        let Some(data) = line.strip_prefix("data: ") else {
            continue;
        };
        let event: Value = serde_json::from_str(data).unwrap();
        assert_eq!(event["batch_id"], *batch);
        let (kind, what) = event["kind"].as_object().unwrap().iter().next().unwrap();
        kinds.push(format!("{} {kind}", event["index"]));
        if kind == "stdout" && event["index"] == 2 {
            assert_eq!(what, "one\n");
        }
    }
    assert_eq!(
        kinds,
        [
            "0 started",
            "0 stdout",
            "0 finished",
            "1 started",
            "1 finished",
            "2 started",
            "2 stdout",
            "2 finished",
            "3 started",
        ]
    );
}

fn a_provider_refuses_and_hesitates_on_demand() {
    let network = Network::start();
    let provider = Provider::start(network.provider(), Terms::of(SUBNET));
    let requestor = || Requestor::new(network.requestor());

    provider.commit(Fault::RejectsProposals("not today".to_owned()));
    let refused = requestor().agree().err().unwrap();
    assert_eq!(refused["eventType"], "ProposalRejectedEvent");
    assert_eq!(refused["reason"]["message"], "not today");
    provider.reform();

    provider.commit(Fault::RejectsAgreements("full".to_owned()));
    let refused = requestor().agree().err().unwrap();
    assert_eq!(refused["status"], 410, "{refused}");
    assert!(
        refused["text"].as_str().unwrap().contains("Rejected"),
        "{refused}"
    );
    provider.reform();

    provider.commit(Fault::IgnoresAgreements);
    let ignored = requestor().agree().err().unwrap();
    assert_eq!(ignored["status"], 408, "{ignored}");
    provider.reform();

    provider.commit(Fault::NoActivity);
    let agreement = requestor().agree().unwrap();
    let nothing = agreement.create_activity();
    assert_eq!(nothing.status, 408, "{}", nothing.text);
    provider.reform();
    assert_eq!(agreement.create_activity().status, 200);
}

fn an_exe_unit_is_lost_on_demand() {
    let network = Network::start();
    let provider = Provider::start(network.provider(), Terms::of(SUBNET));
    let node = network.requestor();
    let agreement = Requestor::new(node).agree().unwrap();
    let activity = agreement.create_activity().ok();
    let activity = activity["activityId"].as_str().unwrap();
    let batch = agreement.start(
        activity,
        &json!([{ "deploy": {} }, { "start": {} }, run("wait", &[])]),
    );
    let path = format!("/activity-api/v1/activity/{activity}/exec/{batch}");
    // The program does not end by itself.
    let so_far = eventually(|| {
        let results = node.get(&path).ok();
        (results.as_array()?.len() == 2).then_some(results)
    });
    assert_eq!(so_far[1]["isBatchFinished"], false);

    provider.commit(Fault::ExeUnitGone);
    let gone = node.get(&path);
    assert_eq!(gone.status, 500, "{}", gone.text);
    assert!(
        gone.text.contains("endpoint address not found"),
        "{}",
        gone.text
    );
    provider.reform();
    assert_eq!(node.get(&path).status, 200);

    provider.commit(Fault::ExeUnitSilent);
    let silent = node.get(&format!("{path}?timeout=1"));
    assert!(silent.status >= 400, "{} {}", silent.status, silent.text);
}

fn a_bill_asks_for_too_much_on_demand() {
    let network = Network::start();
    let provider = Provider::start(network.provider(), Terms::of(SUBNET));
    let node = network.requestor();
    let agreement = Requestor::new(node).agree().unwrap();
    agreement.create_activity().ok();

    provider.send_debit_notes("0.5".parse().unwrap());
    let events = "/payment-api/v1/debitNoteEvents?timeout=5&afterTimestamp=2020-01-01T00:00:00Z";
    let note = eventually(|| Some(node.get(events).ok()[0]["debitNoteId"].as_str()?.to_owned()));
    let note = node.get(&format!("/payment-api/v1/debitNotes/{note}")).ok();
    assert_eq!(amount(&note["totalAmountDue"]), "0.5");

    provider.commit(Fault::Bills("7.25".parse().unwrap()));
    agreement.terminate();
    let invoice = agreement.invoice();
    assert_eq!(amount(&invoice["amount"]), "7.25");
    // More than the allocation has.
    let accepted = agreement.accept(&invoice);
    assert_eq!(accepted.status, 400, "{}", accepted.text);
}

fn a_provider_breaks_an_agreement_on_demand() {
    let network = Network::start();
    let provider = Provider::start(network.provider(), Terms::of(SUBNET));
    let node = network.requestor();
    let agreement = Requestor::new(node).agree().unwrap();

    provider.break_agreements("DebitNotesDeadline", "not paid in time");
    let path = format!("/market-api/v1/agreements/{}", agreement.id);
    let state = eventually(|| {
        let state = node.get(&path).ok()["state"].clone();
        (state != "Approved").then_some(state)
    });
    assert_eq!(state, "Terminated");
    let event = node.get(&format!("{path}/terminate/reason")).ok();
    assert_eq!(event["terminator"], "Provider");
    assert_eq!(
        event["reason"],
        json!({ "message": "not paid in time", "golem.provider.code": "DebitNotesDeadline" })
    );
}

fn a_daemon_that_was_killed_goes_on_where_it_was() {
    let network = Network::start();
    let provider = Provider::start(network.provider(), Terms::of(SUBNET));
    let node = network.requestor();
    let agreement = Requestor::new(node).agree().unwrap();
    let activity = agreement.create_activity().ok();
    let activity = activity["activityId"].as_str().unwrap();
    let setup = json!([{ "deploy": {} }, { "start": {} }]);
    assert_eq!(agreement.exec(activity, &setup).len(), 2);

    for killed in [node, network.provider()] {
        let id = killed.id().to_owned();
        killed.kill();
        assert!(TcpStream::connect(killed.api_url().strip_prefix("http://").unwrap()).is_err());
        killed.restart();
        network.wait_until_joined(killed);
        assert_eq!(killed.get("/me").ok()["identity"], id);
        let found = node.get(&format!("/market-api/v1/agreements/{}", agreement.id));
        assert_eq!(found.ok()["state"], "Approved");
        let batch = eventually(|| {
            let again = node.post(&exec(activity), &script(&json!([run("echo", &["again"])])));
            (again.status == 200).then_some(again.json)
        });
        let results = agreement.results(activity, batch.as_str().unwrap());
        assert_eq!(results[0]["stdout"], "again\n");
    }
    drop(provider);
}

fn daemons_come_back_when_the_network_was_cut() {
    let network = Network::start();
    let _provider = Provider::start(network.provider(), Terms::of(SUBNET));
    network.router().cut();
    for node in [network.requestor(), network.provider()] {
        // That each has come anew, its log says.
        let router = format!("connecting to {}", network.router().address());
        eventually(|| (node.log().matches(&router).count() == 2).then_some(()));
        network.wait_until_joined(node);
    }
    let agreement = Requestor::new(network.requestor()).agree().unwrap();
    assert_eq!(agreement.create_activity().status, 200);
}

fn a_dropped_network_is_gone() {
    let network = Network::start();
    let addresses = [network.requestor(), network.provider()]
        .map(|node| node.api_url().strip_prefix("http://").unwrap().to_owned());
    for address in &addresses {
        TcpStream::connect(address).unwrap();
    }
    drop(network);
    for address in &addresses {
        assert!(TcpStream::connect(address).is_err(), "{address}");
    }
}

/// A demand with the money for it.
struct Requestor<'a> {
    node: &'a Node,
    allocation: String,
    demand: Value,
    subscription: String,
}

struct Agreement<'a> {
    requestor: Requestor<'a>,
    id: String,
}

impl<'a> Requestor<'a> {
    fn new(node: &'a Node) -> Self {
        let allocation = allocate(node, "5").ok();
        let allocation = allocation["allocationId"].as_str().unwrap().to_owned();
        let decorations = node
            .get(&format!(
                "/payment-api/v1/demandDecorations?allocationIds={allocation}"
            ))
            .ok();
        let mut properties = json!({
            "golem.srv.comp.expiration": in_half_an_hour().as_millisecond(),
            "golem.srv.caps.multi-activity": true,
            "golem.node.debug.subnet": SUBNET,
            "golem.com.payment.debit-notes.accept-timeout?": 120,
            "golem.com.payment.chosen-platform": PLATFORM,
        });
        for property in decorations["properties"].as_array().unwrap() {
            properties[property["key"].as_str().unwrap()] = property["value"].clone();
        }
        let constraints = decorations["constraints"].as_array().unwrap();
        let constraints: String = constraints
            .iter()
            .map(|one| one.as_str().unwrap())
            .collect();
        let constraints =
            format!("(&(golem.node.debug.subnet={SUBNET})(golem.runtime.name=vm){constraints})");
        let demand = json!({ "properties": properties, "constraints": constraints });
        let subscription = node.post("/market-api/v1/demands", &demand);
        assert_eq!(subscription.status, 201);
        Requestor {
            node,
            allocation,
            demand,
            subscription: subscription.json.as_str().unwrap().to_owned(),
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
    fn agree(self) -> Result<Agreement<'a>, Value> {
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
        // What was asked for.
        let timeout = "golem.com.payment.debit-notes.accept-timeout?";
        assert_eq!(answer["proposal"]["properties"][timeout], 120);

        let valid_to = in_half_an_hour().to_string();
        let wanted = json!({ "proposalId": answer["proposal"]["proposalId"], "validTo": valid_to });
        let id = self.node.post("/market-api/v1/agreements", &wanted).ok();
        let id = id.as_str().unwrap().to_owned();
        let path = format!("/market-api/v1/agreements/{id}");
        self.node
            .post(&format!("{path}/confirm?appSessionId=test"), &Value::Null)
            .ok();
        let approved = self
            .node
            .post(&format!("{path}/wait?timeout=5"), &Value::Null);
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
    fn create_activity(&self) -> Answer {
        let path = "/activity-api/v1/activity?timeout=5";
        let agreement = json!({ "agreementId": self.id });
        self.requestor.node.post(path, &agreement)
    }

    fn start(&self, activity: &str, commands: &Value) -> String {
        let batch = self.requestor.node.post(&exec(activity), &script(commands));
        batch.ok().as_str().unwrap().to_owned()
    }

    fn exec(&self, activity: &str, commands: &Value) -> Vec<Value> {
        let batch = self.start(activity, commands);
        self.results(activity, &batch)
    }

    fn results(&self, activity: &str, batch: &str) -> Vec<Value> {
        let path = format!("{}/{batch}?timeout=5", exec(activity));
        eventually(|| {
            let results = self.requestor.node.get(&path).ok();
            let results = results.as_array().unwrap().clone();
            let is_done = results.last()?["isBatchFinished"] == true;
            is_done.then_some(results)
        })
    }

    fn destroy(&self, activity: &str) {
        let path = format!("/activity-api/v1/activity/{activity}?timeout=10");
        self.requestor.node.call("DELETE", &path, &Value::Null).ok();
    }

    fn terminate(&self) {
        let path = format!("/market-api/v1/agreements/{}/terminate", self.id);
        let reason = json!({ "message": "done", "golem.requestor.code": "Success" });
        self.requestor.node.post(&path, &reason).ok();
    }

    fn invoice(&self) -> Value {
        let node = self.requestor.node;
        let events = "/payment-api/v1/invoiceEvents?timeout=5&appSessionId=test\
                      &afterTimestamp=2020-01-01T00:00:00Z";
        let id = eventually(|| Some(node.get(events).ok()[0]["invoiceId"].as_str()?.to_owned()));
        let invoice = node.get(&format!("/payment-api/v1/invoices/{id}")).ok();
        assert_eq!(invoice["agreementId"], self.id);
        invoice
    }

    fn accept(&self, invoice: &Value) -> Answer {
        let id = invoice["invoiceId"].as_str().unwrap();
        let acceptance = json!({
            "totalAmountAccepted": invoice["amount"], "allocationId": self.requestor.allocation,
        });
        let path = format!("/payment-api/v1/invoices/{id}/accept");
        self.requestor.node.post(&path, &acceptance)
    }
}

fn allocate(node: &Node, amount: &str) -> Answer {
    let wanted =
        json!({ "totalAmount": amount, "paymentPlatform": PLATFORM, "makeDeposit": false });
    node.post("/payment-api/v1/allocations", &wanted)
}

fn exec(activity: &str) -> String {
    format!("/activity-api/v1/activity/{activity}/exec")
}

/// The commands as text within JSON.
fn script(commands: &Value) -> Value {
    json!({ "text": commands.to_string() })
}

fn run(program: &str, arguments: &[&str]) -> Value {
    let stream = json!({ "stream": {} });
    json!({ "run": {
        "entry_point": program, "args": arguments, "capture": { "stdout": stream, "stderr": stream },
    } })
}

/// A decimal without the zeros that databases add.
fn amount(value: &Value) -> String {
    let text = value.as_str().unwrap();
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// Asks until there is an answer. What is asked waits, or is quickly done.
#[track_caller]
fn eventually<T>(mut ask: impl FnMut() -> Option<T>) -> T {
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
