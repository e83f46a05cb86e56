//! Pods of one machine, done by `provide` of another.

use serde_json::{Value, json};
use sovr_capability::Amount;
use sovr_e2e::render::{FRAMES, SMALL, expect_contact_sheet, expect_frames};
use sovr_e2e::{Ended, Pod, exit};
use sovr_test_golem::{Network, Node};

use crate::providing::{Providing, total};
use crate::user::User;

/// All is over: nothing is open on either side, and what was paid is what the run says, within its budget. Answers what
/// that is.
#[track_caller]
fn expect_settled(user: &User<'_>, network: &Network, ended: &Ended) -> Amount {
    let left = user.run(&["cleanup", "--json"]);
    assert_eq!(left.code, Some(0), "{left:?}\n{ended}");
    let left = left.json();
    let found = (&left["sessions"], &left["money"], &left["complete"]);
    assert_eq!(found, (&json!([]), &json!([]), &json!(true)), "{ended}");
    let status = user.run(&["golem", "status", "--json"]);
    assert_eq!(status.code, Some(0), "{status:?}");
    let status = status.json();
    for list in ["allocations", "agreements", "demands", "errors"] {
        assert_eq!(status[list], json!([]), "{list}\n{ended}");
    }
    let path = "/market-api/v1/agreements?state=Approved";
    assert_eq!(network.provider().get(path).ok(), json!([]), "{ended}");
    let paid = total(accepted(network.requestor()).iter());
    let report = ended.report();
    let amount = |field: &str| report[field].as_str().unwrap().parse::<Amount>().unwrap();
    assert_eq!(paid, amount("cost"), "{ended}");
    assert!(
        !paid.is_zero() && paid <= amount("budget"),
        "{paid}\n{ended}"
    );
    paid
}

#[track_caller]
fn expect_nothing_offered(node: &Node) {
    assert_eq!(node.get("/market-api/v1/offers").ok(), json!([]));
}

/// The amounts of invoices that a requestor's daemon will pay.
fn accepted(node: &Node) -> Vec<Value> {
    let path = "/payment-api/v1/invoiceEvents?afterTimestamp=2020-01-01T00:00:00Z&timeout=0";
    let events = node.get(path).ok();
    let ids = events
        .as_array()
        .unwrap()
        .iter()
        .map(|event| &event["invoiceId"]);
    let invoices = ids.map(|id| {
        let path = format!("/payment-api/v1/invoices/{}", id.as_str().unwrap());
        node.get(&path).ok()
    });
    let invoices = invoices.filter(|invoice| invoice["status"] == "ACCEPTED");
    invoices.map(|invoice| invoice["amount"].clone()).collect()
}

pub(crate) fn hello_world_is_done_and_each_step_told() {
    let network = Network::start();
    let mut providing = Providing::start(network.provider(), &["--price-start", "0.25"]);
    let user = User::of(network.requestor());
    // Its package has a second form, an image, and nobody here knows where images are.
    let pod = Pod::from_template("hello-world");
    let ended = user.start_pod(&pod, &[]).wait().expect(exit::OK);
    let printed = ended.script_output();
    assert!(
        printed.starts_with("sovr-host answers: ") && printed.contains(" UTC 20"),
        "{ended}"
    );
    let paid = expect_settled(&user, &network, &ended);
    assert!(paid > "0.25".parse().unwrap(), "{paid}");

    providing.wait_for("invoice-accepted");
    let told = providing.stop();
    assert_eq!(
        told.kinds(),
        [
            "offered",
            "agreement-began",
            "activity-began",
            // Deployment and start, then the task.
            "batch-ended",
            "batch-ended",
            "activity-ended",
            "agreement-ended",
            "invoice-sent",
            "invoice-accepted",
        ],
        "{told}"
    );
    let requestor = network.requestor().id();
    assert_eq!(told.all("agreement-began", "requestor"), [requestor]);
    assert_eq!(
        told.all("activity-ended", "cost"),
        told.all("invoice-sent", "amount")
    );
    assert_eq!(
        told.all("invoice-sent", "invoice"),
        told.all("invoice-accepted", "invoice")
    );
    assert_eq!(told.asked(), paid);
    expect_nothing_offered(network.provider());
}

pub(crate) fn frames_are_rendered_and_paid_for() {
    let network = Network::start();
    let mut providing = Providing::start(network.provider(), &[]);
    let user = User::of(network.requestor());
    let pod = Pod::from_template("render");
    let ended = user.start_pod(&pod, &SMALL).wait().expect(exit::OK);
    expect_frames(&pod);
    expect_contact_sheet(&pod);
    let paid = expect_settled(&user, &network, &ended);
    providing.wait_for("invoice-accepted");
    let told = providing.stop();
    let failures = told.all("batch-ended", "failure");
    assert!(
        failures.len() > FRAMES.len() && failures.iter().all(Value::is_null),
        "{failures:?}"
    );
    told.expect_no_trouble();
    assert_eq!(told.asked(), paid);
}

/// The first frame is lost with the program, the second with its end; the third is done by who comes then.
pub(crate) fn a_provider_may_crash_or_stop_and_come_again() {
    let network = Network::start();
    let mut providing = Providing::start(network.provider(), &[]);
    let user = User::of(network.requestor());
    let pod = Pod::from_template("render");
    let run = user.start_pod(&pod, &["--frames", "0,10,20"]);
    providing.wait_for_work();
    let agreement = providing.wait_for("agreement-began")["agreement"].clone();
    providing.crash(&[]);
    assert_eq!(providing.wait_for("left-ended")["agreement"], agreement);
    providing.wait_for_work();
    let stopped = providing.stop();
    assert_eq!(stopped.all("agreement-ended", "code"), ["Shutdown"]);
    let mut again = Providing::start(network.provider(), &[]);

    let ended = run.wait().expect(exit::POD_FAILED);
    let failed: Vec<_> = ended
        .golem("task-failed")
        .into_iter()
        .map(|event| event.json)
        .collect();
    assert_eq!(failed.len(), 2, "{ended}");
    for (task, why) in [
        "interrupted and has started again",
        "the provider stops (Shutdown)",
    ]
    .iter()
    .enumerate()
    {
        let told = failed.iter().find(|event| event["task"] == task);
        let told = told.unwrap_or_else(|| panic!("task {task} has not failed\n{ended}"));
        assert_eq!(told["failure"], "no-provider", "{ended}");
        assert!(
            told["reason"].as_str().unwrap().contains(why),
            "{told}\n{ended}"
        );
    }
    let rendered = pod.files("output").into_iter().map(|(name, _)| name);
    assert_eq!(rendered.collect::<Vec<_>>(), ["output_20.png"], "{ended}");
    // What was done when Ctrl-C came is billed and paid; of what a crash has ended there was no bill yet.
    let paid = expect_settled(&user, &network, &ended);
    again.wait_for("invoice-accepted");
    let asked = [stopped.asked(), again.stop().asked()];
    assert!(asked.iter().all(|amount| !amount.is_zero()), "{asked:?}");
    assert_eq!(Amount::checked_sum(asked).unwrap(), paid);
    expect_nothing_offered(network.provider());
}

pub(crate) fn a_run_goes_on_when_its_daemon_comes_back() {
    let network = Network::start();
    let mut providing = Providing::start(network.provider(), &[]);
    let user = User::of(network.requestor());
    let pod = Pod::from_template("render");
    let run = user.start_pod(&pod, &["--frames", "0,10"]);
    providing.wait_for_work();
    network.requestor().restart();
    network.wait_until_joined(network.requestor());
    let ended = run.wait().expect(exit::OK);
    let sizes = pod.files("output");
    assert_eq!(sizes.len(), 3, "{sizes:?}");
    let paid = expect_settled(&user, &network, &ended);
    providing.wait_for("invoice-accepted");
    assert_eq!(providing.stop().asked(), paid);
}
