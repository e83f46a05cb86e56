//! Our provider on the real daemon: requestors that ask by plain calls, packages in real confined children, which are
//! this program started again.

mod bus;
#[path = "../local/guest.rs"]
mod guest;
mod requestor;
mod scene;

use std::fs::File;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use serde_json::{Value, json};
use sovr_capability::Amount;
use sovr_golem::exe_unit::runtime::{Program, ProgramEnd, ProgramEvent, Runtime, Start};
use sovr_golem::provider::{Event, Settings};
use sovr_golem::yagna::stream::NewsKind;
use sovr_golem::{LinearPrice, Usage};
use sovr_runtime::package::Manifest;
use sovr_test_golem::{Gate, Suite, tests};

use crate::requestor::{Requestor, amount, deployed, eventually, run, transfer};
use crate::scene::{Ours, Scene};

fn main() -> ExitCode {
    if let Some(role) = sovr_sandbox::role() {
        return sovr_runtime::child(role);
    }
    let missing = sovr_test_golem::prepare();
    let tests = tests![
        a_package_is_run_and_paid_for,
        a_failing_command_ends_its_batch,
        the_daemon_knows_the_state_before_the_requestor_has_the_results,
        a_batch_is_told_as_it_happens,
        a_deployment_tells_how_far_it_is_if_it_is_asked_to,
        activities_run_beside_each_other,
        a_caller_that_is_not_the_requestor_is_refused,
        a_demand_that_does_not_suit_is_refused,
        a_requestor_that_vanishes_is_left,
        a_hostile_batch_fails_and_nothing_else_does,
        stopping_leaves_nothing_open,
        a_daemon_that_comes_back_finds_the_activity,
        an_activity_that_dies_costs_no_more,
        the_last_bill_outlasts_a_daemon_that_is_away,
        what_a_killed_provider_left_is_ended_and_billed,
        bus::calls_reach_who_registered,
        bus::a_lost_connection_is_made_anew,
        bus::files_of_another_node_come_and_go,
    ];
    let mut suite = Suite::default();
    suite.add_all(missing.as_deref(), tests);
    suite.run()
}

fn a_package_is_run_and_paid_for() {
    let scene = Scene::new();
    let settings = Settings {
        debit_notes: Duration::from_secs(1),
        ..scene.settings()
    };
    let price = settings.price.clone();
    let ours = Ours::start(&scene, settings);
    let agreement = Requestor::new(&scene).agree().unwrap();
    let activity = agreement.create_activity();
    let large: Vec<u8> = (0..=255).cycle().take(300_000).collect();
    let input = scene.files.put("input", b"some words\n");
    let copy = scene.files.put("copy", b"");
    let output = scene.files.put("output", b"");
    let inside = |name: &str| format!("container:{}/{name}", guest::MOUNT);
    let results = agreement.exec(
        &activity,
        &json!([
            { "deploy": {} }, { "start": { "args": [] } },
            transfer(&input, &inside("file")),
            run("cat", &[]),
            run("make", &[]),
            transfer(&inside("out"), &output),
            transfer(&scene.files.put("large", &large), &inside("large")),
            transfer(&inside("large"), &copy),
        ]),
    );
    for result in &results {
        assert_eq!(result["result"], "Ok", "{result}");
    }
    assert_eq!(results[3]["stdout"], "some words\n");
    assert_eq!(results[3]["stderr"], "");
    assert_eq!(results[7]["isBatchFinished"], true);
    assert_eq!(scene.files.get("output").unwrap(), b"a picture");
    assert!(scene.files.get("copy").unwrap() == large);
    // The daemon is told of it soon after.
    eventually(|| (agreement.state(&activity) == json!(["Ready", null])).then_some(()));

    // What is owed is price times usage, in each note.
    let note = agreement.debit_note();
    let usage = &note["usageCounterVector"];
    let owed = cost(&price, &[&usage[0], &usage[1]]);
    assert_eq!(amount(&note["totalAmountDue"]), owed.to_string());
    assert!(agreement.accept("debitNotes", "debitNoteId", "totalAmountDue", &note));
    let usage = agreement.usage(&activity);
    assert!(usage[1].as_f64().unwrap() > 0.0, "{usage}");

    agreement.destroy(&activity);
    agreement.terminate();
    let invoice = agreement.invoice();
    let (usage, told) = ours.wait_for(|event| match event {
        Event::ActivityEnded { usage, cost, .. } => Some((*usage, *cost)),
        _ => None,
    });
    assert_eq!(told, price.cost(usage));
    assert_eq!(amount(&invoice["amount"]), told.to_string());
    assert_eq!(invoice["activityIds"], json!([activity]));
    assert!(agreement.accept("invoices", "invoiceId", "amount", &invoice));
    ours.wait_for(|event| matches!(event, Event::InvoiceAccepted { .. }).then_some(()));
    ours.stop();
    assert_eq!(scene.scratch_entries(), 0);
}

/// What a usage vector in whole milliseconds costs.
fn cost(price: &LinearPrice, usage: &[&Value; 2]) -> Amount {
    let time = |seconds: &Value| {
        let milliseconds = (seconds.as_f64().unwrap() * 1000.0).round();
        Duration::from_millis(milliseconds as u64)
    };
    price.cost(Usage {
        cpu: time(usage[0]),
        duration: time(usage[1]),
    })
}

fn a_failing_command_ends_its_batch() {
    let scene = Scene::new();
    let _ours = Ours::start(&scene, scene.settings());
    let agreement = Requestor::new(&scene).agree().unwrap();
    let activity = agreement.create_activity();

    let early = agreement.exec(&activity, &json!([run("print", &[])]));
    let words = "Local service error: State error: Activity is initialized - deploy() command is expected now";
    assert_eq!(early[0]["message"], words);

    let results = agreement.exec(
        &activity,
        &json!([{ "deploy": {} }, { "start": { "args": [] } }, run("fail", &[]), run("print", &[])]),
    );
    assert_eq!(results.len(), 3, "{results:?}");
    let failed = &results[2];
    assert_eq!(failed["result"], "Error");
    assert_eq!(failed["message"], "ExeScript command exited with code 1");
    assert_eq!(failed["stderr"], "sorry\n");
    assert_eq!(failed["isBatchFinished"], true);
    // The activity goes on.
    let after = agreement.exec(&activity, &json!([run("print", &[])]));
    assert_eq!(after[0]["stdout"], "hello\n");
    // What nobody asked for is not kept.
    let unheard = json!([{ "run": { "entry_point": "print", "args": [] } }]);
    assert_eq!(
        agreement.exec(&activity, &unheard)[0]["stdout"],
        Value::Null
    );
}

fn the_daemon_knows_the_state_before_the_requestor_has_the_results() {
    let scene = Scene::new();
    let gate = Gate::before(scene.network.provider());
    let _ours = Ours::through(&gate.url(), &scene, scene.settings());
    let agreement = Requestor::new(&scene).agree().unwrap();
    let activity = agreement.create_activity();
    for (commands, state) in [
        (deployed(), "Ready"),
        (json!([{ "terminate": {} }]), "Initialized"),
        (deployed(), "Ready"),
    ] {
        // The daemon hears of it with the next sign of life only.
        gate.refuse("PUT", "/state", 1, 500, "");
        agreement.exec(&activity, &commands);
        assert_eq!(agreement.state(&activity), json!([state, null]));
    }
}

fn a_batch_is_told_as_it_happens() {
    let scene = Scene::new();
    let _ours = Ours::start(&scene, scene.settings());
    let agreement = Requestor::new(&scene).agree().unwrap();
    let activity = agreement.create_activity();
    agreement.exec(&activity, &deployed());
    let batch = agreement.start(&activity, &json!([run("print", &[]), run("hang", &[])]));
    let news = scene.block_on(async {
        let client = scene.client();
        let mut stream = client.follow(&activity, &batch).await.unwrap();
        let mut news = Vec::new();
        // The second program never ends; what it is told of the first comes all the same.
        loop {
            let next = stream.next().await.unwrap().unwrap();
            if (next.index, &next.kind) == (1, &NewsKind::Started) {
                return news;
            }
            news.push(next.kind);
        }
    });
    let printed = news.iter().find_map(|kind| match kind {
        NewsKind::Stdout(output) => Some(output.text().into_raw()),
        _ => None,
    });
    assert_eq!(printed.as_deref(), Some("hello\n"));
    assert!(
        matches!(news.last(), Some(NewsKind::Finished { return_code: 0, .. })),
        "{news:?}"
    );
    agreement.destroy(&activity);
}

fn a_deployment_tells_how_far_it_is_if_it_is_asked_to() {
    let scene = Scene::new();
    let _ours = Ours::start(&scene, scene.settings());
    let agreement = Requestor::new(&scene).agree().unwrap();
    let activity = agreement.create_activity();
    let whole = guest::package().len() as u64;
    for (deploy, expected) in [
        (json!({}), None),
        (
            json!({ "progress": { "updateInterval": "1s" } }),
            Some(whole),
        ),
    ] {
        let commands = json!([{ "deploy": deploy }, { "start": { "args": [] } }]);
        let batch = agreement.start(&activity, &commands);
        let told = scene.block_on(async {
            let client = scene.client();
            let mut stream = client.follow(&activity, &batch).await.unwrap();
            let mut told = None;
            loop {
                let news = stream.next().await.unwrap().unwrap();
                match (news.index, news.kind) {
                    (0, NewsKind::Progress { done, total }) => {
                        assert_eq!(total, Some(whole));
                        told = Some(done);
                    }
                    (1, NewsKind::Finished { .. }) => return told,
                    _ => {}
                }
            }
        });
        assert_eq!(told, expected);
        agreement.results(&activity, &batch);
        agreement.exec(&activity, &json!([{ "terminate": {} }]));
    }
}

fn activities_run_beside_each_other() {
    let scene = Scene::new();
    let settings = Settings {
        threads: 2,
        ..scene.settings()
    };
    let ours = Ours::start(&scene, settings);
    let agreement = Requestor::new(&scene).agree().unwrap();
    let first = agreement.create_activity();
    let second = agreement.create_activity();
    agreement.exec(&first, &deployed());
    agreement.exec(&second, &deployed());
    // One computes for ever, and keeps the other from nothing.
    let hanging = agreement.start(&first, &json!([run("hang", &[])]));
    let printed = agreement.exec(&second, &json!([run("print", &[])]));
    assert_eq!(printed[0]["stdout"], "hello\n");
    let busy = agreement.exec(&first, &json!([run("print", &[])]));
    let words = "Local service error: State error: Busy: StatePair(Ready, Some(Ready))";
    assert_eq!(busy[0]["message"], words);
    assert_eq!(agreement.results_now(&first, &hanging), json!([]));
    // There are only two threads.
    agreement.try_create_activity();
    ours.wait_for(|event| match event {
        Event::Trouble { problem } => problem.contains("at most 2 activities").then_some(()),
        _ => None,
    });
    agreement.destroy(&first);
    agreement.destroy(&second);
    agreement.terminate();
    let invoice = agreement.invoice();
    assert_eq!(invoice["activityIds"].as_array().unwrap().len(), 2);
    let costs = ours.all(|event| match event {
        Event::ActivityEnded { cost, .. } => Some(*cost),
        _ => None,
    });
    let sum = Amount::checked_sum(costs).unwrap();
    assert_eq!(amount(&invoice["amount"]), sum.to_string());
}

fn a_caller_that_is_not_the_requestor_is_refused() {
    let scene = Scene::new();
    let ours = Ours::start(&scene, scene.settings());
    let agreement = Requestor::new(&scene).agree().unwrap();
    let activity = agreement.create_activity();
    for method in [
        "Exec",
        "GetState",
        "GetExecBatchResults",
        "StreamExecBatchResults",
    ] {
        let body =
            json!({ "activityId": activity, "batchId": "b", "exeScript": [{ "deploy": {} }] });
        let refused = scene.call_provider(&format!("/public/exeunit/{activity}/{method}"), &body);
        assert!(refused.contains("forbidden"), "{method}: {refused}");
    }
    let callers = ours.all(|event| match event {
        Event::CallerRefused { caller, .. } => Some(caller.clone()),
        _ => None,
    });
    assert_eq!(callers.len(), 4);
    // It was not deployed meanwhile.
    assert_eq!(agreement.state(&activity), json!(["Initialized", null]));
    let results = agreement.exec(&activity, &deployed());
    assert_eq!(results[1]["result"], "Ok", "{results:?}");
}

fn a_demand_that_does_not_suit_is_refused() {
    let scene = Scene::new();
    let settings = Settings {
        capacity: 1,
        ..scene.settings()
    };
    let ours = Ours::start(&scene, settings);
    let told = |answer: Value| {
        answer["reason"]["message"]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    };
    let refused = Requestor::with(&scene, |properties| {
        properties.remove("golem.com.payment.chosen-platform");
    });
    let refused = refused.agree().map(drop).unwrap_err();
    assert_eq!(
        told(refused),
        "Missing fields: /golem/com/payment/chosen-platform"
    );
    let refused = Requestor::with(&scene, |properties| {
        properties["golem.srv.comp.task_package"] = json!("file:///etc/passwd");
    });
    let refused = refused.agree().map(drop).unwrap_err();
    assert_eq!(told(refused), "Unsupported scheme: file");

    let taken = Requestor::new(&scene).agree().unwrap();
    let refused = Requestor::new(&scene).agree().map(drop).unwrap_err();
    assert_eq!(
        told(refused),
        "No capacity available. Reached Agreements limit: 1"
    );
    taken.terminate();
    ours.wait_for(|event| matches!(event, Event::InvoiceSent { .. }).then_some(()));
    // There is room again as soon as its bill is sent.
    eventually(|| Requestor::new(&scene).agree().ok().map(drop));
}

fn a_requestor_that_vanishes_is_left() {
    let scene = Scene::new();
    let settings = Settings {
        capacity: 2,
        debit_notes: Duration::from_secs(1),
        accept_timeout: Duration::from_secs(5),
        idle: Duration::from_secs(20),
        ..scene.settings()
    };
    let ours = Ours::start(&scene, settings);
    // This one does not accept debit notes.
    let agreement = Requestor::new(&scene).agree().unwrap();
    let activity = agreement.create_activity();
    agreement.exec(&activity, &deployed());
    agreement.start(&activity, &json!([run("hang", &[])]));
    // This one has nothing to do.
    let idle = Requestor::new(&scene).agree().unwrap();
    for (agreement, code) in [(&agreement, "DebitNotesDeadline"), (&idle, "NoActivity")] {
        let ended = eventually(|| agreement.ended());
        assert_eq!(ended["reason"]["golem.provider.code"], code, "{ended}");
    }
    let ended = |event: &Event| match event {
        Event::InvoiceSent {
            agreement, amount, ..
        } => Some((agreement.clone(), *amount)),
        _ => None,
    };
    let bills = eventually(|| Some(ours.all(ended)).filter(|bills| bills.len() == 2));
    for (id, amount) in bills {
        assert_eq!(amount.is_zero(), id == idle.id, "{amount}");
    }
    assert_eq!(scene.scratch_entries(), 0);
}

fn a_hostile_batch_fails_and_nothing_else_does() {
    let scene = Scene::new();
    let ours = Ours::start(&scene, scene.settings());
    let agreement = Requestor::new(&scene).agree().unwrap();
    let activity = agreement.create_activity();
    agreement.exec(&activity, &deployed());
    let many: Vec<_> = (0..257).map(|_| run("print", &[])).collect();
    let refused = agreement.try_exec(&activity, &json!(many));
    assert!(
        refused.status >= 400 && refused.text.contains("at most 256 commands"),
        "{refused:?}"
    );
    let argument = "x".repeat(200_000);
    let refused = agreement.try_exec(&activity, &json!([run("print", &[&argument])]));
    assert!(
        refused.status >= 400 && refused.text.contains("longer than"),
        "{refused:?}"
    );
    let argument = "x".repeat(1_100_000);
    let refused = agreement.try_exec(&activity, &json!([{ "start": { "args": [&argument] } }]));
    assert!(
        refused.status >= 400 && refused.text.contains("a call has at most"),
        "{refused:?}"
    );
    let file = scene.files.put("file", b"content");
    let gone = file.replace("/file", "/gone");
    for (command, told) in [
        (run("../../../bin/sh", &[]), "has no entry point"),
        (
            transfer(&file, "container:/etc/passwd"),
            "path not found in container",
        ),
        (
            transfer(&file, "container:/golem/work/../../x"),
            "path not found in container",
        ),
        (
            transfer("container:/golem/work/none", &file),
            "No such file",
        ),
        (
            transfer("file:///etc/passwd", "container:/golem/work/x"),
            "Unsupported scheme: file",
        ),
        (transfer(&gone, "container:/golem/work/x"), "is not there"),
        (
            transfer(
                &format!("hash:sha3:{}:{file}", "00".repeat(32)),
                "container:/golem/work/x",
            ),
            "Incorrect hash",
        ),
    ] {
        let results = agreement.exec(&activity, &json!([command.clone(), run("print", &[])]));
        assert_eq!(results.len(), 1, "{command}: {results:?}");
        let message = results[0]["message"].as_str().unwrap();
        assert!(message.contains(told), "{command}: {message}");
    }
    assert_eq!(scene.files.get("file").unwrap(), b"content");
    let printed = agreement.exec(&activity, &json!([run("print", &[])]));
    assert_eq!(printed[0]["stdout"], "hello\n");
    let troubles = ours.all(|event| match event {
        Event::Trouble { problem } => Some(problem.clone()),
        _ => None,
    });
    assert_eq!(troubles, Vec::<String>::new());
}

fn stopping_leaves_nothing_open() {
    let scene = Scene::new();
    let ours = Ours::start(&scene, scene.settings());
    let agreement = Requestor::new(&scene).agree().unwrap();
    let activity = agreement.create_activity();
    agreement.exec(&activity, &deployed());
    agreement.start(&activity, &json!([run("hang", &[])]));
    assert_eq!(scene.scratch_entries(), 1);
    let events = ours.stop();
    let ended = agreement.ended().unwrap();
    assert_eq!(
        ended["reason"]["golem.provider.code"], "Shutdown",
        "{ended}"
    );
    let billed = events.iter().find_map(|event| match event {
        Event::InvoiceSent { amount, .. } => Some(*amount),
        _ => None,
    });
    let invoice = agreement.invoice();
    assert_eq!(amount(&invoice["amount"]), billed.unwrap().to_string());
    assert_eq!(scene.scratch_entries(), 0);
    let offers = scene.network.provider().get("/market-api/v1/offers").ok();
    assert_eq!(offers, json!([]));
}

fn a_daemon_that_comes_back_finds_the_activity() {
    let scene = Scene::new();
    let ours = Ours::start(&scene, scene.settings());
    let agreement = Requestor::new(&scene).agree().unwrap();
    let activity = agreement.create_activity();
    agreement.exec(&activity, &deployed());
    let node = scene.network.provider();
    node.restart();
    scene.network.wait_until_joined(node);
    // The exe-unit is registered again with the next sign of life.
    let printed = eventually(|| {
        let batch = agreement.try_exec(&activity, &json!([run("print", &[])]));
        batch.json.as_str().map(str::to_owned)
    });
    let printed = agreement.results(&activity, &printed);
    assert_eq!(printed[0]["stdout"], "hello\n");
    agreement.destroy(&activity);
    agreement.terminate();
    assert_eq!(agreement.invoice()["activityIds"], json!([activity]));
    ours.stop();
}

/// Programs of this are lost as soon as they are started.
struct Dying(Arc<dyn Runtime>);

#[async_trait]
impl Runtime for Dying {
    async fn unpack(&self, archive: File, directory: &Path) -> Result<Manifest, String> {
        self.0.unpack(archive, directory).await
    }

    async fn start(&self, _: Start<'_>) -> Result<Box<dyn Program>, String> {
        Ok(Box::new(Dead))
    }
}

struct Dead;

#[async_trait]
impl Program for Dead {
    async fn next(&mut self) -> Option<ProgramEvent> {
        let lost = ProgramEnd::Lost("it was killed".to_owned());
        Some(ProgramEvent::End(lost))
    }
}

fn an_activity_that_dies_costs_no_more() {
    let scene = Scene::new();
    let url = scene.network.provider().api_url();
    let settings = Settings {
        threads: 1,
        ..scene.settings()
    };
    let ours = Ours::with(&url, &scene, settings, Arc::new(Dying(scene::children())));
    let agreement = Requestor::new(&scene).agree().unwrap();
    let first = agreement.create_activity();
    agreement.exec(&first, &deployed());
    let batch = agreement.start(&first, &json!([run("print", &[])]));
    let results = agreement.results(&first, &batch);
    assert_eq!(results[0]["message"], "`print` was lost: it was killed");
    let ended = |event: &Event| match event {
        Event::ActivityEnded { activity, cost, .. } => Some((activity.clone(), *cost)),
        _ => None,
    };
    // Nobody has asked for its end.
    assert_eq!(ours.wait_for(ended).0, first);
    assert_eq!(scene.scratch_entries(), 0);
    assert_eq!(agreement.state(&first), json!(["Terminated", null]));
    // What came of it can still be asked, and its thread is free.
    assert_eq!(agreement.results(&first, &batch), results);
    let second = agreement.create_activity();
    agreement.destroy(&first);
    agreement.destroy(&second);
    agreement.terminate();
    let invoice = agreement.invoice();
    let bills = ours.all(ended);
    assert_eq!(bills.len(), 2, "{bills:?}");
    let sum = Amount::checked_sum(bills.into_iter().map(|(_, cost)| cost)).unwrap();
    assert_eq!(amount(&invoice["amount"]), sum.to_string());
    let billed = invoice["activityIds"].as_array().unwrap();
    assert_eq!(billed.len(), 2, "{invoice}");
    assert!([first, second].iter().all(|id| billed.contains(&json!(id))));
}

fn the_last_bill_outlasts_a_daemon_that_is_away() {
    let scene = Scene::new();
    let gate = Gate::before(scene.network.provider());
    let ours = Ours::through(&gate.url(), &scene, scene.settings());
    let agreement = Requestor::new(&scene).agree().unwrap();
    let activity = agreement.create_activity();
    agreement.destroy(&activity);
    gate.refuse("POST", "/invoices", 5, 500, "");
    // The next time it is made, and we do not hear of it.
    gate.lose("POST", "/invoices", 1, 500, "");
    agreement.terminate();
    let invoice = agreement.invoice();
    assert_eq!(invoice["activityIds"], json!([activity]));
    ours.wait_for(|event| matches!(event, Event::InvoiceSent { .. }).then_some(()));
    let provider = scene.network.provider();
    let invoices = provider.get("/payment-api/v1/invoices").ok();
    assert_eq!(invoices.as_array().unwrap().len(), 1, "{invoices}");
}

fn what_a_killed_provider_left_is_ended_and_billed() {
    let scene = Scene::new();
    let settings = Settings {
        debit_notes: Duration::from_secs(1),
        ..scene.settings()
    };
    let ours = Ours::start(&scene, settings.clone());
    let agreement = Requestor::new(&scene).agree().unwrap();
    let activity = agreement.create_activity();
    agreement.exec(&activity, &deployed());
    let note = agreement.debit_note();
    ours.kill();
    assert_eq!(scene.sessions(), 1);

    let ours = Ours::start(&scene, settings);
    let ended = eventually(|| agreement.ended());
    let code = &ended["reason"]["golem.provider.code"];
    assert_eq!(code, "Shutdown", "{ended}");
    let invoice = agreement.invoice();
    assert_eq!(invoice["activityIds"], json!([activity]));
    let owed = |bill: &Value, name: &str| amount(&bill[name]).parse::<Amount>().unwrap();
    assert!(owed(&invoice, "amount") >= owed(&note, "totalAmountDue"));
    assert!(agreement.accept("invoices", "invoiceId", "amount", &invoice));
    // Of the two offers one is left.
    let offers = scene.network.provider().get("/market-api/v1/offers").ok();
    assert_eq!(offers.as_array().unwrap().len(), 1, "{offers}");
    ours.stop();
    assert_eq!(scene.sessions(), 0);
    assert_eq!(scene.scratch_entries(), 0);
}
