//! Official clients of Golem have their tasks done: each sends a file, has a program run and fetches a file, over two
//! stock daemons.

use std::process::ExitCode;

use serde_json::json;
use sovr_test_golem::client::{Client, Done, Job};
use sovr_test_golem::{Network, Node, Provider, Suite, Terms};

const SUBNET: &str = "test";
/// None that clients know by themselves.
const RUNTIME: &str = "sovr-wasi";

fn main() -> ExitCode {
    let missing = sovr_test_golem::prepare();
    let mut suite = Suite::default();
    for client in Client::ALL {
        let missing = missing.clone().or_else(|| client.missing());
        let missing = missing.filter(|_| !sovr_test_golem::place::is_ci());
        let name = format!("{}_has_its_tasks_done_by_the_test_provider", client.name());
        suite.add(missing.as_deref(), name, move || {
            has_its_tasks_done_by_the_test_provider(client);
        });
    }
    suite.run()
}

fn has_its_tasks_done_by_the_test_provider(client: Client) {
    let network = Network::start();
    let mut terms = Terms::of(SUBNET);
    terms.runtime = RUNTIME.to_owned();
    let provider = Provider::start(network.provider(), terms);
    let (sent, fetched) = ("/golem/work/sent", "/golem/output/fetched");
    let job = Job {
        subnet: SUBNET.to_owned(),
        runtime: RUNTIME.to_owned(),
        package: noise(100_000),
        program: "/bin/cp".to_owned(),
        arguments: [sent, fetched].map(str::to_owned).to_vec(),
        input: noise(300_000),
        send_to: sent.to_owned(),
        fetch_from: fetched.to_owned(),
        tasks: 2,
        talks: true,
    };
    let report = client.run(network.requestor(), &job);

    let done = || Done {
        stdout: format!("{sent} -> {fetched}\n"),
        fetched: job.input.clone(),
    };
    assert!(report.tasks == [done(), done()], "{report:?}");
    assert!(provider.packages() == [job.package]);
    assert!(provider.file(sent).as_ref() == Some(&job.input));
    // 0.1 to start, 2 s of processor time at 0.02, 4 s at 0.01.
    assert_paid(network.requestor(), "0.18");
}

/// All is over: one invoice about so much was accepted, and nothing is left open.
#[track_caller]
fn assert_paid(node: &Node, amount: &str) {
    let path = "/payment-api/v1/invoiceEvents?afterTimestamp=2020-01-01T00:00:00Z&timeout=0";
    let events = node.get(path).ok();
    let [event] = events.as_array().unwrap().as_slice() else {
        panic!("not one invoice: {events}")
    };
    let id = event["invoiceId"].as_str().unwrap();
    let invoice = node.get(&format!("/payment-api/v1/invoices/{id}")).ok();
    assert_eq!(invoice["status"], "ACCEPTED", "{invoice}");
    let asked = invoice["amount"].as_str().unwrap();
    assert_eq!(asked.trim_end_matches('0'), amount);
    let agreements = node.get("/market-api/v1/agreements?state=Approved").ok();
    assert_eq!(agreements, json!([]));
    let allocations = node.get("/payment-api/v1/allocations").ok();
    assert_eq!(allocations, json!([]));
    assert_eq!(node.get("/market-api/v1/demands").ok(), json!([]));
}

/// Bytes with no order in them, always the same; more than one part of a file that clients move at a time.
fn noise(count: usize) -> Vec<u8> {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    };
    (0..count).map(|_| next()).collect()
}
