//! `sovr-host provide` beside a real daemon: it offers, and Ctrl-C takes everything back.

use std::io::{BufRead as _, BufReader, Lines};
use std::process::{Child, ChildStdout, Command, ExitCode, Stdio};

use libtest_mimic::{Arguments, Trial};
use serde_json::{Value, json};
use sovr_test_golem::Network;

fn main() -> ExitCode {
    // In CI what is missing is a failure, elsewhere a skip that counts as ignored.
    let missing = sovr_test_golem::prepare();
    let name = "an_offer_stands_until_ctrl_c";
    if let Some(why) = &missing {
        println!("skipped: {name}: {why}");
    }
    let test = Trial::test(name, || {
        an_offer_stands_until_ctrl_c();
        Ok(())
    });
    let tests = vec![test.with_ignored_flag(missing.is_some())];
    libtest_mimic::run(&Arguments::from_args(), tests).exit_code()
}

/// A running program, killed if the test fails.
struct Program(Child);

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The next event.
fn next(events: &mut Lines<BufReader<ChildStdout>>) -> Value {
    let line = events.next().unwrap().unwrap();
    serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"))
}

fn an_offer_stands_until_ctrl_c() {
    let network = Network::start();
    let node = network.provider();
    let home = tempfile::tempdir().unwrap();
    let mut program = Command::new(env!("CARGO_BIN_EXE_sovr-host"));
    program
        .args([
            "provide",
            "--json",
            "--subnet",
            "test",
            "--price-start",
            "0.25",
            "--capacity",
            "2",
        ])
        .env_clear()
        .env("SOVR_HOME", home.path())
        .env("YAGNA_API_URL", node.api_url())
        .env("YAGNA_APPKEY", node.app_key())
        .env("GSB_URL", node.gsb_url())
        .stdout(Stdio::piped());
    let mut program = Program(program.spawn().unwrap());
    let mut events = BufReader::new(program.0.stdout.take().unwrap()).lines();
    let offered = next(&mut events);
    assert_eq!(offered["event"], "offered", "{offered}");
    assert_eq!(offered["node"], node.id());

    // The other node sees it, with this price.
    let demand = json!({
        "properties": { "golem.node.debug.subnet": "test" },
        "constraints": "(&(golem.runtime.name=sovr-wasi)(golem.com.pricing.model=linear))",
    });
    let requestor = network.requestor();
    let demand = requestor.post("/market-api/v1/demands", &demand).ok();
    let demand = demand.as_str().unwrap();
    let path = format!("/market-api/v1/demands/{demand}/events?timeout=60&maxEvents=1");
    let seen = requestor.get(&path).ok()[0]["proposal"].clone();
    let prices = &seen["properties"]["golem.com.pricing.model.linear.coeffs"];
    assert_eq!(*prices, json!([0.0001, 0.0001, 0.25]), "{seen}");

    // One that does not say how it pays is told so.
    let proposal = seen["proposalId"].as_str().unwrap();
    let counter = format!("/market-api/v1/demands/{demand}/proposals/{proposal}");
    let body = json!({
        "properties": { "golem.node.debug.subnet": "test" }, "constraints": "(golem.runtime.name=sovr-wasi)",
    });
    requestor.post(&counter, &body).ok();
    let refused = next(&mut events);
    assert_eq!(refused["event"], "refused", "{refused}");
    assert_eq!(refused["requestor"], requestor.id());

    let pid = rustix::process::Pid::from_child(&program.0);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    let status = program.0.wait().unwrap();
    assert_eq!(status.code(), Some(0));
    assert_eq!(node.get("/market-api/v1/offers").ok(), json!([]));
}
