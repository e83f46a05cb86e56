//! The main job: a scene rendered frame by frame on several providers.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use picture::{Image, Tile, contact_sheet};
use serde_json::json;
use sovr_e2e::{Ended, Home, Pod, exit, paths};

/// Small pictures, as the references are: the same work in less time.
const SMALL: [&str; 6] = ["--width", "96", "--height", "72", "--samples", "16"];
const FRAMES: [u32; 6] = [0, 10, 20, 30, 40, 50];

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

fn expect_frames(pod: &Pod) {
    FRAMES.iter().for_each(|frame| expect_frame(pod, *frame));
}

/// The frame is the picture it should be. Providers on other machines may round the last bit of a function of
/// theirs differently, which turns single paths of light; so single pixels may be off, and the whole may not.
#[track_caller]
fn expect_frame(pod: &Pod, frame: u32) {
    /// Mean difference of a channel that no eye sees, in steps of 255.
    const TOLERANCE: f64 = 1.0;
    let name = format!("output_{frame}.png");
    let rendered = load(pod, &name);
    let reference = Image::load(&paths::reference(&name)).unwrap();
    let size = |image: &Image| (image.width(), image.height());
    assert_eq!(size(&rendered), size(&reference), "{name}");
    let difference: u64 = std::iter::zip(rendered.rgb(), reference.rgb())
        .map(|(a, b)| u64::from(a.abs_diff(*b)))
        .sum();
    let mean = difference as f64 / reference.rgb().len() as f64;
    assert!(
        mean <= TOLERANCE,
        "{name} differs from its reference by {mean:.2} on average"
    );
}

/// The contact sheet is the one that these frames make, each with its number.
fn expect_contact_sheet(pod: &Pod) {
    let frames: Vec<(Image, String)> = FRAMES
        .iter()
        .map(|frame| (load(pod, &format!("output_{frame}.png")), frame.to_string()))
        .collect();
    let tiles: Vec<Tile<'_>> = frames
        .iter()
        .map(|(image, label)| Tile { image, label })
        .collect();
    assert!(
        load(pod, "contact-sheet.png") == contact_sheet(&tiles).unwrap(),
        "the contact sheet is another"
    );
}

fn load(pod: &Pod, name: &str) -> Image {
    Image::load(&pod.join("output").join(name)).unwrap()
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
