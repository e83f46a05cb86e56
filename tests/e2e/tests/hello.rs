//! The smallest pod, and what the user has to say before a pod runs.

use std::path::Path;

use serde_json::json;
use sovr_e2e::{Ended, Home, Pod, exit};

fn run(home: &Home, pod: &Pod, options: &[&str]) -> Ended {
    let path = pod.path();
    let words = ["run", path.to_str().unwrap(), "--json"];
    home.start(words.iter().chain(options)).wait()
}

fn expect_date(ended: &Ended) {
    let output = ended.script_output();
    let (_, date) = output
        .trim_end()
        .split_once(" answers: ")
        .unwrap_or_else(|| panic!("{ended}"));
    assert!(
        date.contains(" UTC 20") && date.len() == "Sat Nov 21 07:15:29 UTC 2026".len(),
        "{date}"
    );
}

/// As committed, and as built from the sources of today.
fn expect_date_from(template: &str) {
    for pod in [Pod::from_template(template), Pod::rebuilt(template)] {
        let ended = Home::new().run_pod(&pod, &[]).expect(exit::OK);
        expect_date(&ended);
        ended.expect_no_process_left();
    }
}

#[test]
fn a_provider_tells_its_date_to_a_script_in_rust() {
    expect_date_from("hello-world");
}

#[test]
fn a_provider_tells_its_date_to_a_script_in_javascript() {
    expect_date_from("hello-world-js");
}

#[test]
fn a_script_is_compiled_once() {
    let (home, pod) = (Home::new(), Pod::from_template("hello-world"));
    assert!(
        !home
            .run_pod(&pod, &[])
            .expect(exit::OK)
            .events_of("compiling")
            .is_empty()
    );
    let again = home.run_pod(&pod, &[]).expect(exit::OK);
    assert!(again.events_of("compiling").is_empty(), "{again}");
    assert_eq!(again.children_in_role("compile").count(), 0);
}

#[test]
fn without_a_terminal_consent_comes_from_a_flag_and_is_remembered() {
    let (home, pod) = (Home::new(), Pod::from_template("hello-world"));
    let refused = run(&home, &pod, &[]).expect(exit::DENIED);
    assert!(
        refused.children_in_role("runner").next().is_none(),
        "it was run all the same"
    );
    let hint = refused.event("error").text("hint").to_owned();
    let digest = hint
        .split_whitespace()
        .skip_while(|word| !word.ends_with("--allow"))
        .nth(1)
        .unwrap_or_default();
    let digest = digest.trim_end_matches('`').to_owned();
    assert!(hint.contains("--yes") && digest.len() == 64, "{hint}");

    run(&home, &pod, &["--allow", &"0".repeat(64)]).expect(exit::DENIED);
    expect_date(&run(&home, &pod, &["--allow", &digest]).expect(exit::OK));
    expect_date(&run(&home, &pod, &[]).expect(exit::OK));

    // A pod that asks for more than was agreed to has to ask again.
    pod.edit_recipe(|recipe| recipe["capabilities"]["golem"]["budget"] = json!("2.0"));
    run(&home, &pod, &[]).expect(exit::DENIED);
    run(&home, &pod, &["--allow", &digest]).expect(exit::DENIED);
}

#[test]
fn consent_is_for_one_component() {
    let (home, pod) = (Home::new(), Pod::from_template("hello-world"));
    run(&home, &pod, &["--yes"]).expect(exit::OK);
    std::fs::write(
        pod.join("script/hello-world.wasm"),
        sovr_e2e::wasm::nothing(),
    )
    .unwrap();
    run(&home, &pod, &[]).expect(exit::DENIED);
}

#[test]
fn what_is_not_a_pod_is_not_run() {
    let home = Home::new();
    let nowhere = home.start(["run", "/nonexistent", "--yes"]).wait();
    assert!(
        [exit::USAGE, exit::INVALID_POD].contains(&nowhere.code()),
        "{nowhere}"
    );

    let native = Pod::from_template("hello-world");
    native.edit_recipe(|recipe| recipe["golem"]["exec"] = json!("python3 script/hello.py"));
    home.run_pod(&native, &[]).expect(exit::INVALID_POD);

    let unknown = Pod::from_template("hello-world");
    unknown.edit_recipe(|recipe| recipe["capabilities"]["root"] = json!(true));
    home.run_pod(&unknown, &[]).expect(exit::INVALID_POD);

    let garbage = Pod::from_component("garbage", b"\0asm not wasm at all", json!({}));
    home.run_pod(&garbage, &[]).expect(exit::INVALID_POD);

    home.start(["run"]).wait().expect(exit::USAGE);
}

#[test]
fn a_policy_is_a_ceiling_also_for_yes() {
    let home = Home::new().with("policy.toml", "golem = false\n");
    let pod = Pod::from_template("hello-world");
    let ended = home.run_pod(&pod, &[]).expect(exit::POD_FAILED);
    assert!(ended.golem("job-started").is_empty(), "{ended}");
    assert!(
        ended.stderr.contains("denied") || ended.stdout().contains("denied"),
        "{ended}"
    );
    assert!(Path::new(ended.report()["audit"].as_str().unwrap()).exists());
}
