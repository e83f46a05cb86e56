//! `--json`: shapes that programs may rely on.

use crate::place::Place;

#[test]
fn a_run_is_one_event_per_line() {
    let place = Place::new();
    place.template("hello-world");
    let given = place.run(&["run", "hello-world", "--yes", "--json"]);
    assert_eq!(given.code, Some(0), "{given}");
    let events = given.json_lines();
    assert!(
        events.iter().all(|event| event["event"].is_string()),
        "{given}"
    );
    let kinds: Vec<&str> = events
        .iter()
        .filter_map(|event| event["event"].as_str())
        .collect();
    assert!(
        kinds.contains(&"started") && kinds.contains(&"golem") && kinds.contains(&"output"),
        "{kinds:?}"
    );
    let last = events.last().unwrap();
    assert_eq!(
        (last["event"].as_str(), last["ending"].as_str()),
        (Some("finished"), Some("completed"))
    );
    assert_eq!(last["tasks"].as_array().map(Vec::len), Some(1), "{last}");
    assert!(
        last["cost"].is_string() && last["tasks"][0]["provider"].is_string(),
        "{last}"
    );
}

#[test]
fn an_error_is_an_event_too() {
    let place = Place::new();
    for command in ["run", "check", "inspect"] {
        let given = place.run(&[command, "nowhere", "--json"]);
        let error = given.json();
        assert_eq!(error["event"], "error", "{given}");
        assert_eq!(
            (error["exit"].as_str(), error["code"].as_u64()),
            (Some("invalid-pod"), Some(6)),
            "{given}"
        );
        assert!(
            error["message"].as_str().unwrap().contains("nowhere"),
            "{given}"
        );
        assert!(given.stderr.starts_with("error: "), "{given}");
    }
}

#[test]
fn inspect_and_check_have_what_a_program_needs_to_decide() {
    let place = Place::new();
    place.template("hello-world");
    let inspected = place.run(&["inspect", "hello-world", "--json"]).json();
    for key in [
        "request",
        "requested",
        "granted",
        "cut-by-policy",
        "component",
        "consent-given",
    ] {
        assert!(
            !inspected[key].is_null(),
            "{key} is missing in {inspected:#}"
        );
    }
    for key in [
        "path",
        "size",
        "sha256",
        "kind",
        "imports",
        "exports",
        "producers",
    ] {
        assert!(
            !inspected["component"][key].is_null(),
            "{key} is missing in {inspected:#}"
        );
    }
    let checked = place.run(&["check", "hello-world", "--json"]).json();
    assert_eq!(
        (&checked["runnable"], &checked["consent-given"]),
        (&true.into(), &false.into()),
        "{checked:#}"
    );
    assert_eq!(checked["request"], inspected["request"]);
}

#[test]
fn doctor_names_every_wall() {
    let given = Place::new().run(&["doctor", "--json"]);
    let report = given.json();
    for wall in ["landlock", "seccomp", "rlimits", "pidfd", "openat2"] {
        assert!(
            report["walls"]
                .as_array()
                .unwrap()
                .iter()
                .any(|item| item["name"] == wall),
            "{wall}\n{given}"
        );
    }
    assert_eq!(given.code == Some(0), report["healthy"] == true, "{given}");
}

#[test]
fn empty_lists_are_lists() {
    let place = Place::new();
    for words in [
        &["audit", "-n", "1", "--json"][..],
        &["consent", "list", "--json"],
        &["audit", "--json"],
        &["audit", "verify", "--json"],
    ] {
        assert_eq!(place.run(words).json(), serde_json::json!([]), "{words:?}");
    }
}

#[test]
fn a_run_can_be_audited() {
    let place = Place::new();
    place.template("hello-world");
    let given = place.run(&["run", "hello-world", "--yes", "--json"]);
    let run = given.json_lines().last().unwrap()["run"]
        .as_str()
        .unwrap()
        .to_owned();

    let listed = place.run(&["audit", "--json"]).json();
    assert_eq!(
        (&listed[0]["run"], &listed[0]["pod"]),
        (&run.as_str().into(), &"HelloWorld".into()),
        "{listed:#}"
    );
    assert_eq!(listed[0]["ending"], "completed", "{listed:#}");
    let shown = place
        .run(&["audit", "show", &run[..run.len() - 2], "--json"])
        .json_lines();
    assert!(
        shown.len() > 2
            && shown[0]["kind"] == "opened"
            && shown[shown.len() - 1]["kind"] == "closed"
    );
    let verified = place.run(&["audit", "verify", &run]);
    assert_eq!(verified.code, Some(0), "{verified}");

    let log = given.json_lines().last().unwrap()["audit"]
        .as_str()
        .unwrap()
        .to_owned();
    let log = log.replace(
        "[PLACE]",
        place.path("").to_str().unwrap().trim_end_matches('/'),
    );
    let text = std::fs::read_to_string(&log).unwrap();
    std::fs::write(&log, text.replacen("allowed", "outcome", 1)).unwrap();
    let verified = place.run(&["audit", "verify", &run]);
    assert_eq!(verified.code, Some(5), "{verified}");
}
