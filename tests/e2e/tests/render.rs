//! The main job: a scene rendered frame by frame on several providers.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use serde_json::json;
use sovr_e2e::render::{FRAMES, SMALL, expect_contact_sheet, expect_frame, expect_frames};
use sovr_e2e::{Ended, Home, Pod, exit};

#[test]
fn six_frames_on_several_providers_at_once() {
    let (home, pod) = (Home::new(), Pod::from_template("render"));
    let ended = home.run_pod(&pod, &SMALL).expect(exit::OK);

    expect_frames(&pod);
    expect_contact_sheet(&pod);
    expect_parallel(&ended);
    ended.expect_no_process_left();

    let report = ended.report();
    assert_eq!(report["ending"], "completed");
    let tasks = report["tasks"].as_array().unwrap();
    assert_eq!(tasks.len(), FRAMES.len());
    assert!(
        tasks
            .iter()
            .all(|task| task["result"] == "accepted" && task["attempts"] == 1),
        "{tasks:#?}"
    );
    let (cost, budget) = (glm(&report["cost"]), glm(&report["budget"]));
    assert!(0.0 < cost && cost <= budget, "{cost} of {budget}");
    assert!(!pod.join("tmp").exists(), "the run's own files are gone");
    for log in ["log", "audit"] {
        let path = report[log].as_str().unwrap();
        assert!(std::fs::metadata(path).unwrap().len() > 0, "{path}");
    }
}

#[test]
fn a_pod_built_from_its_sources_renders_the_same() {
    let pod = Pod::rebuilt("render");
    Home::new().run_pod(&pod, &SMALL).expect(exit::OK);
    expect_frames(&pod);
    expect_contact_sheet(&pod);
}

#[test]
fn frames_come_from_others_when_providers_are_bad() {
    let home = Home::new().with(
        "networks.toml",
        "[local]\nproviders = 4\n[local.faults]\n0 = \"vanish\"\n1 = \"short-file\"\n",
    );
    let pod = Pod::from_template("render");
    let ended = home.run_pod(&pod, &SMALL).expect(exit::OK);
    expect_frames(&pod);
    expect_contact_sheet(&pod);
    assert!(
        !ended.golem("task-retried").is_empty(),
        "no provider was bad\n{ended}"
    );
}

#[test]
fn the_original_spelling_does_the_same() {
    let (home, pod) = (Home::new(), Pod::from_template("render"));
    pod.edit_recipe(|recipe| {
        let arguments = format!("script/render.wasm --frames 0..20:10 {}", SMALL.join(" "));
        recipe["golem"]["exec"] = json!(arguments);
    });
    let recipe = pod.join("recipe.json");
    let arguments = ["--recipe", recipe.to_str().unwrap(), "--run", "--yes"];
    let ended = home.start(arguments).wait().expect(exit::OK);
    assert_eq!(
        ended.stdout(),
        "2 frames in output/, all of them on output/contact-sheet.png\n"
    );
    for frame in [0, 10] {
        expect_frame(&pod, frame);
    }
}

/// At some moment two providers were rendering.
fn expect_parallel(ended: &Ended) {
    let mut began: BTreeMap<u64, (Instant, String)> = BTreeMap::new();
    for event in ended.golem("task-started") {
        let provider = event.json["provider"]["id"].as_str().unwrap().to_owned();
        began.insert(event.json["task"].as_u64().unwrap(), (event.at, provider));
    }
    let work: Vec<(Instant, Instant, String)> = ended
        .golem("task-finished")
        .into_iter()
        .map(|event| {
            let (start, provider) = began.remove(&event.json["task"].as_u64().unwrap()).unwrap();
            (start, event.at, provider)
        })
        .collect();
    assert_eq!(work.len(), FRAMES.len());
    let providers: BTreeSet<_> = work.iter().map(|(.., provider)| provider).collect();
    assert!(providers.len() >= 2, "only {providers:?} worked\n{ended}");
    let overlap = work.iter().any(|(start, end, provider)| {
        work.iter().any(|(other_start, other_end, other)| {
            other != provider && other_start < end && start < other_end
        })
    });
    assert!(overlap, "no two providers worked at the same time\n{ended}");
}

fn glm(amount: &serde_json::Value) -> f64 {
    amount.as_str().unwrap().parse().unwrap()
}
