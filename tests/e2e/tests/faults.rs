//! Bad providers: tasks are done by others, or fail for a reason that the script can tell from others.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::json;
use sovr_e2e::{Ended, Home, Pod, exit, paths};

const TASKS: usize = 6;

/// A pod that does [`TASKS`] tasks in one job, with three seconds for each try.
fn pod() -> Pod {
    let pod = Pod::from_guest(
        "jobs",
        json!({
            "golem": {
                "budget": "5", "max-workers": 3, "max-tasks": 100, "timeout": "2m", "subnets": ["public"],
                "packages": { "date": [ { "wasi": "payload/date.zip" } ] },
            },
            "limits": { "memory": "64MiB", "time": "3m", "output": "16MiB", "files": 100, "log": "1MiB" },
        }),
    );
    std::fs::copy(
        paths::template("hello-world").join("payload/date.zip"),
        pod.join("payload/date.zip"),
    )
    .unwrap();
    pod.edit_recipe(|recipe| {
        recipe["golem"]["exec"] = json!(format!("script/script.wasm 1 {TASKS} 5 3"))
    });
    pod
}

/// A network of so many providers, of which some are bad.
fn network(providers: usize, faults: &[(usize, &str)]) -> Home {
    let faults: String = faults
        .iter()
        .map(|(provider, fault)| format!("{provider} = {fault}\n"))
        .collect();
    Home::new().with(
        "networks.toml",
        &format!("[local]\nproviders = {providers}\n[local.faults]\n{faults}"),
    )
}

/// All tasks are done and their files are whole.
#[track_caller]
fn expect_done(pod: &Pod, ended: &Ended) {
    let output = ended.script_output();
    assert_eq!(output.matches("done: ").count(), TASKS, "{ended}");
    for task in 0..TASKS {
        let note = std::fs::read_to_string(pod.join(&format!("output/note-0-{task}"))).unwrap();
        assert_eq!(note, format!("note of task 0-{task}\n").repeat(1000));
    }
    ended.expect_no_process_left();
}

/// Who failed a try, by the kind of failure.
fn who_failed(ended: &Ended) -> BTreeMap<String, BTreeSet<String>> {
    let mut at_work: BTreeMap<u64, String> = BTreeMap::new();
    let mut failed: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for event in ended.events_of("golem") {
        let task = event.json["task"].as_u64();
        match (event.text("what"), task) {
            ("task-started", Some(task)) => {
                at_work.insert(
                    task,
                    event.json["provider"]["id"].as_str().unwrap().to_owned(),
                );
            }
            ("task-retried" | "task-failed", Some(task)) => {
                let provider = at_work.get(&task).cloned().unwrap_or_default();
                failed
                    .entry(event.text("failure").to_owned())
                    .or_default()
                    .insert(provider);
            }
            _ => {}
        }
    }
    failed
}

/// One of three providers fails in one way; the others do its tasks.
#[track_caller]
fn one_of_three(fault: &str, kind: &str) {
    let (home, pod) = (network(3, &[(0, fault)]), pod());
    let ended = home.run_pod(&pod, &[]).expect(exit::OK);
    expect_done(&pod, &ended);
    let failed = who_failed(&ended);
    assert_eq!(failed.keys().collect::<Vec<_>>(), [kind], "{ended}");
    assert_eq!(failed[kind].len(), 1, "one provider is bad\n{ended}");
    let bad = failed[kind].first().unwrap();
    for finished in ended.golem("task-finished") {
        let worker = &finished.json["worker"];
        let started = ended
            .golem("worker-started")
            .into_iter()
            .find(|event| event.json["worker"] == *worker)
            .unwrap();
        assert_ne!(
            started.json["provider"]["id"],
            bad.as_str(),
            "the bad provider finished a task\n{ended}"
        );
    }
}

#[test]
fn programs_that_fail_run_elsewhere() {
    one_of_three("\"fail-command\"", "command-failed");
}

#[test]
fn a_provider_that_hangs_is_given_up() {
    one_of_three("\"hang\"", "timed-out");
}

#[test]
fn a_short_file_is_fetched_elsewhere() {
    one_of_three("\"short-file\"", "transfer-failed");
}

#[test]
fn a_provider_that_vanishes_is_replaced() {
    one_of_three("\"vanish\"", "provider-lost");
}

#[test]
fn who_refuses_an_agreement_is_passed_over() {
    let (home, pod) = (network(3, &[(0, "\"refuse-agreement\"")]), pod());
    let ended = home.run_pod(&pod, &[]).expect(exit::OK);
    expect_done(&pod, &ended);
    assert!(!ended.golem("agreement-rejected").is_empty(), "{ended}");
    assert!(
        ended.golem("task-retried").is_empty(),
        "no task was lost by it\n{ended}"
    );
}

#[test]
fn a_bill_that_was_not_agreed_is_not_paid() {
    for fault in ["\"lie-about-price\"", "\"lie-about-usage\""] {
        let (home, pod) = (network(3, &[(0, fault)]), pod());
        let ended = home.run_pod(&pod, &[]);
        let report = ended.report();
        let amount = |value: &serde_json::Value| value.as_str().unwrap().parse::<f64>().unwrap();
        let bills = ended.golem("agreement-terminated");
        assert!(
            bills
                .iter()
                .any(|bill| amount(&bill.json["claimed"]) > amount(&bill.json["accepted"])),
            "{ended}"
        );
        let accepted: f64 = bills
            .iter()
            .map(|bill| amount(&bill.json["accepted"]))
            .sum();
        assert!((amount(&report["cost"]) - accepted).abs() < 1e-9, "{ended}");
        assert!(
            amount(&report["cost"]) <= amount(&report["budget"]),
            "{ended}"
        );
        expect_done(&pod, &ended.expect(exit::OK));
    }
}

/// Nobody is left who could do it: the script is told what went wrong.
#[track_caller]
fn all_of_two(fault: &str, kind: &str) {
    let (home, pod) = (network(2, &[(0, fault), (1, fault)]), pod());
    let ended = home.run_pod(&pod, &[]).expect(exit::POD_FAILED);
    let output = ended.script_output();
    assert_eq!(output.matches("failed: task").count(), TASKS, "{ended}");
    for line in output
        .lines()
        .filter(|line| line.starts_with("failed: task"))
    {
        assert!(line.contains(kind), "{kind} is not in {line:?}");
    }
    assert!(
        pod.files("output").is_empty(),
        "part of a file is shown as whole: {:?}",
        pod.files("output")
    );
    ended.expect_no_process_left();
}

#[test]
fn tasks_fail_when_all_programs_fail() {
    all_of_two("\"fail-command\"", "NoProvider");
}

#[test]
fn tasks_fail_when_all_files_are_short() {
    all_of_two("\"short-file\"", "NoProvider");
}

#[test]
fn tasks_fail_when_all_providers_vanish() {
    all_of_two("\"vanish\"", "NoProvider");
}

#[test]
fn tasks_fail_when_all_providers_hang() {
    all_of_two("\"hang\"", "NoProvider");
}
