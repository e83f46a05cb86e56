//! The journey that the Sovr Protocol documents: one user persists and shares, another forks, runs and shares the output,
//! a third works on that output, in a pod and in a task.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};
use sovr_e2e::{Ended, Pod, Storage, User, exit};

/// Three small frames: the same road in less time.
const EXEC: &str = "script/render.wasm --frames 0..30:10 --width 96 --height 72 --samples 4";

/// The render pod, made quick.
fn render() -> Pod {
    let pod = Pod::from_template("render");
    pod.edit_recipe(|recipe| recipe["golem"]["exec"] = json!(EXEC));
    pod
}

fn edit(directory: &Path, edit: impl FnOnce(&mut Value)) {
    let path = directory.join("recipe.json");
    let mut recipe: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    edit(&mut recipe);
    fs::write(&path, recipe.to_string()).unwrap();
}

fn run(user: &User, directory: &Path) -> Ended {
    let path = directory.to_str().unwrap();
    user.run(["run", path, "--yes", "--json"]).expect(exit::OK)
}

#[test]
fn a_pod_goes_from_one_user_to_the_next_and_its_output_on_to_a_third() {
    let storage = Storage::new();
    let (alice, bob, carol) = (
        storage.user("alice"),
        storage.user("bob"),
        storage.user("carol"),
    );

    // Alice persists and shares.
    let original = render();
    let reference = alice.persist(&original.path());

    // Bob forks by reference, looks, runs.
    let forked = bob.document(&["fork", &reference]);
    let fork = bob.path("render");
    assert_eq!(
        Path::new(forked["directory"].as_str().unwrap()),
        fork.canonicalize().unwrap()
    );
    for name in [
        "script/render.wasm",
        "payload/scene.json",
        "payload/renderer.zip",
        "recipe.json",
    ] {
        assert_eq!(
            fs::read(fork.join(name)).unwrap(),
            fs::read(original.join(name)).unwrap(),
            "{name}"
        );
    }
    let inspected = bob.document(&["inspect", "render"]);
    assert_eq!(inspected["name"], "render");
    run(&bob, &fork);
    let sheet = fs::read(fork.join("output/contact-sheet.png")).unwrap();

    // He persists it as a pod of his own, and shares what it made.
    edit(&fork, |recipe| {
        recipe["name"] = json!("render-of-bob");
        recipe["golem"]["output"] = json!({ "share": "output" });
    });
    let persisted = bob.document(&["persist", "render"]);
    let output = &persisted["output"];
    assert_eq!(output["pod"], "output-render-of-bob", "{persisted:#}");
    let payload = json!([{ "ref": output["reference"], "data": output["data"] }]);

    // Carol lays his frames out on a sheet of her own: in a pod...
    let contact_sheet = Pod::from_template("contact-sheet");
    contact_sheet.edit_recipe(|recipe| recipe["golem"]["payload"] = payload.clone());
    let ended = run(&carol, &contact_sheet.path());
    assert_eq!(
        ended.script_output(),
        "3 pictures on output/contact-sheet.png\n"
    );
    assert_eq!(
        fs::read(contact_sheet.join("output/contact-sheet.png")).unwrap(),
        sheet
    );
    let lock: Value =
        serde_json::from_slice(&fs::read(contact_sheet.join("sovr.lock")).unwrap()).unwrap();
    let pinned =
        &lock["references"][output["reference"].as_str().unwrap()]["/output-render-of-bob.zip"];
    assert_eq!(pinned["size"], output["size"], "{lock:#}");

    // ... and in a task, whose payload his frames are.
    let plain = Pod::from_template("contact-sheet");
    let of_carol = carol.persist(&plain.path());
    let task = carol.task("sheets", &[of_carol], json!({ "payload": payload }));
    let ended = run(&carol, &task);
    let report = &ended.event("task-finished").json["report"];
    let output = report["output"].as_str().unwrap();
    assert_eq!(
        fs::read(Path::new(output).join("contact-sheet.png")).unwrap(),
        sheet
    );
    ended.expect_no_process_left();
}

#[test]
fn a_task_renders_and_lays_out_and_is_not_paid_for_twice() {
    let storage = Storage::new();
    let (alice, bob) = (storage.user("alice"), storage.user("bob"));
    let pods = [
        alice.persist(&render().path()),
        alice.persist(&Pod::from_template("contact-sheet").path()),
    ];
    let task = bob.task("film", &pods, json!({}));
    let ended = run(&bob, &task);
    assert_eq!(
        fs::read(task.join("contact-sheet/output/contact-sheet.png")).unwrap(),
        fs::read(task.join("render/output/contact-sheet.png")).unwrap()
    );
    let cost = ended.event("finished").json["cost"]
        .as_str()
        .unwrap()
        .parse::<f64>()
        .unwrap();
    assert!(cost > 0.0);

    let again = run(&bob, &task);
    let outcomes: Vec<_> = again
        .events_of("step-ended")
        .iter()
        .map(|event| event.text("outcome").to_owned())
        .collect();
    assert_eq!(outcomes, ["unchanged", "unchanged"], "{again}");
    assert!(again.events_of("finished").is_empty(), "nothing ran");
}
