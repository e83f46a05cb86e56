//! Money: however many runs want the same, together they never get more than there is.

use rustix::process::Signal;
use serde_json::{Value, json};
use sovr_e2e::{Ended, Home, Pod, Running, exit, paths};

const RUNS: usize = 20;

/// A pod that opens one job with all of its budget of 1 GLM and does one task in it.
fn pod(seconds: u32) -> Pod {
    let pod = Pod::from_guest(
        "jobs",
        json!({
            "golem": {
                "budget": "1", "max-workers": 1, "max-tasks": 1, "timeout": "5m", "subnets": ["public"],
                "packages": { "date": [ { "wasi": "payload/date.zip" } ] },
            },
            "limits": { "memory": "64MiB", "time": "5m", "output": "16MiB", "files": 100, "log": "1MiB" },
        }),
    );
    std::fs::copy(
        paths::template("hello-world").join("payload/date.zip"),
        pod.join("payload/date.zip"),
    )
    .unwrap();
    pod.edit_recipe(|recipe| {
        recipe["golem"]["exec"] = json!(format!("script/script.wasm 1 1 1 {seconds}"))
    });
    pod
}

fn policy(per_day: u32) -> String {
    format!("[golem]\nbudget = \"1\"\nbudget-per-day = \"{per_day}\"\n")
}

fn glm(amount: &Value) -> f64 {
    amount.as_str().unwrap().parse().unwrap()
}

/// One run first, so that all others find everything compiled and race for money alone.
fn warm_up(home: &Home) -> f64 {
    let ended = home.run_pod(&pod(60), &[]).expect(exit::OK);
    glm(&ended.report()["cost"])
}

/// Twenty processes hold what they reserve. Five can have it, and they do.
#[test]
fn twenty_runs_race_for_five_budgets() {
    const CEILING: usize = 5;
    let home = Home::new().with("policy.toml", &policy(CEILING as u32 + 1));
    let first = warm_up(&home);
    assert!(
        first < 1.0,
        "the first run leaves less than {CEILING} budgets"
    );
    let home = home.with(
        "networks.toml",
        "[local]\nproviders = 1\n[local.faults]\n0 = \"hang\"\n",
    );

    let pods: Vec<Pod> = (0..RUNS).map(|_| pod(240)).collect();
    let mut runs: Vec<Running> = pods.iter().map(|pod| home.start_pod(pod, &[])).collect();
    let decided = |event: &Value| {
        let text = event["text"].as_str().unwrap_or_default();
        event["event"] == "output" && (text.contains("open: job") || text.contains("refused: job"))
    };
    let mut holders = 0;
    for run in &mut runs {
        let event = run
            .wait_for(decided)
            .expect("the run says whether it has its budget");
        if event.text("text").contains("open: job 0: 1") {
            holders += 1;
        }
    }
    assert_eq!(holders, CEILING, "holders of 1 GLM of {CEILING}");

    // The refused have ended by now or do so; the holders wait for their provider.
    runs.iter().for_each(|run| run.signal(Signal::INT));
    let ended: Vec<Ended> = runs.into_iter().map(Running::wait).collect();
    let interrupted = ended
        .iter()
        .filter(|ended| ended.code() == exit::INTERRUPTED)
        .count();
    assert!(interrupted >= CEILING, "{interrupted} were interrupted");
    for ended in &ended {
        assert!(
            [exit::INTERRUPTED, exit::POD_FAILED].contains(&ended.code()),
            "{ended}"
        );
        ended.expect_no_process_left();
    }

    // What nobody spent is there again.
    let home = home.with("networks.toml", "");
    home.run_pod(&pod(60), &[]).expect(exit::OK);
}

/// Twenty processes spend what they can. All they spent is within the ceiling, and nobody is told otherwise.
#[test]
fn twenty_runs_spend_no_more_than_the_ceiling() {
    const CEILING: u32 = 2;
    let prices =
        "[local.price]\nstart = \"0.3\"\ncpu-second = \"0.0001\"\nduration-second = \"0.0001\"\n";
    let home = Home::new()
        .with("policy.toml", &policy(CEILING))
        .with("networks.toml", prices);
    let mut spent = warm_up(&home);
    assert!(spent >= 0.3, "{spent}");

    let pods: Vec<Pod> = (0..RUNS).map(|_| pod(60)).collect();
    let runs: Vec<Running> = pods.iter().map(|pod| home.start_pod(pod, &[])).collect();
    let mut done = 0;
    for ended in runs.into_iter().map(Running::wait) {
        let report = ended.report();
        assert!(glm(&report["cost"]) <= 1.0, "{ended}");
        spent += glm(&report["cost"]);
        match ended.code() {
            exit::OK => done += 1,
            exit::POD_FAILED => assert!(ended.script_output().contains("over budget"), "{ended}"),
            _ => panic!("{ended}"),
        }
    }
    assert!(done >= 1, "nobody got anything");
    assert!(
        spent <= f64::from(CEILING),
        "{spent} GLM of {CEILING} were spent"
    );
}
