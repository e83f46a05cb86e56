//! Command lines that make no sense, and the original spelling.

use crate::place::Place;

#[test]
fn nonsense_is_a_usage_error() {
    let place = Place::new();
    for words in [
        &["frobnicate"][..],
        &["run"],
        &["run", "pod", "--allow", "abc"],
        &["run", "pod", "--allow"],
        &["run", "--yes", "--allow", &"a".repeat(64), "pod"],
        &["run", "pod", "--frames", "0..9", "--yes"],
        &["check", "a", "b"],
        &["consent", "revoke"],
        &["consent", "revoke", "--all", "abcd"],
        &["consent", "revoke", "nothex"],
        &["consent", "revoke", "abcd"],
        &["audit", "show", "2026"],
        &["audit", "show"],
        &["completions", "tcsh"],
        &["doctor", "--color", "sometimes"],
        &["--recipe", "recipe.json"],
        &["--run"],
    ] {
        let given = place.run(words);
        assert_eq!(
            (given.code, given.stdout.as_str()),
            (Some(2), ""),
            "{words:?}\n{given}"
        );
        assert!(given.stderr.starts_with("error: "), "{words:?}\n{given}");
    }
}

#[test]
fn a_place_without_a_pod_is_named() {
    let place = Place::new();
    for command in ["run", "check", "inspect"] {
        let given = place.run(&[command, "nowhere"]);
        assert_eq!(
            (given.code, given.stdout.as_str()),
            (Some(6), ""),
            "{given}"
        );
        assert!(
            given.stderr.contains("nowhere") && given.stderr.contains("recipe.json"),
            "{given}"
        );
    }
}

#[test]
fn the_original_spelling_does_the_same_as_run() {
    let place = Place::new();
    let pod = place.pod("script/main.wasm", b"not wasm");
    let recipe = pod.join("recipe.json");
    let recipe = recipe.to_str().unwrap();
    let run = place.run(&["run", recipe]);
    let legacy = place.run(&["--recipe", recipe, "--run"]);
    assert_eq!(run.code, Some(6), "{run}");
    assert_eq!(run.to_string(), legacy.to_string());
}

#[test]
fn without_a_home_the_variable_to_set_is_named() {
    let place = Place::new();
    let output = place
        .command(&["consent", "list"])
        .env_remove("SOVR_HOME")
        .output()
        .unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(5), "{stderr}");
    assert!(stderr.contains("SOVR_HOME"), "{stderr}");
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let place = Place::new();
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let output = place
        .command(&["completions", "bash"])
        .stdout(writer)
        .output()
        .unwrap();
    assert_eq!(
        (output.status.code(), output.stderr.as_slice()),
        (Some(0), &b""[..])
    );
}
