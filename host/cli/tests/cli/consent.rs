//! Agreeing to a pod, and refusing it.

use std::fs;

use crate::place::Place;

#[test]
fn without_a_terminal_a_new_pod_is_refused_and_the_flags_are_named() {
    let place = Place::new();
    place.template("hello-world");
    let request = place.run(&["inspect", "hello-world", "--json"]).json()["request"]
        .as_str()
        .unwrap()
        .to_owned();
    let given = place.run(&["run", "hello-world"]);
    assert_eq!(
        (given.code, given.stdout.as_str()),
        (Some(3), ""),
        "{given}"
    );
    for words in ["terminal", "--yes", &format!("--allow {request}")] {
        assert!(given.stderr.contains(words), "{words}\n{given}");
    }
}

#[test]
fn a_yes_is_remembered_until_it_is_revoked() {
    let place = Place::new();
    place.template("hello-world");
    assert_eq!(place.run(&["run", "hello-world", "--yes"]).code, Some(0));
    assert_eq!(place.run(&["run", "hello-world"]).code, Some(0));

    let listed = place.run(&["consent", "list", "--json"]).json();
    let request = listed[0]["request"].as_str().unwrap();
    assert_eq!(listed[0]["pod"], "HelloWorld");
    assert_eq!(
        place.run(&["consent", "revoke", &request[..8]]).code,
        Some(0)
    );
    assert_eq!(place.run(&["run", "hello-world"]).code, Some(3));
}

#[test]
fn a_changed_request_is_not_covered() {
    let place = Place::new();
    let pod = place.template("hello-world");
    let inspected = place.run(&["inspect", "hello-world", "--json"]).json();
    let request = inspected["request"].as_str().unwrap().to_owned();
    assert_eq!(
        place.run(&["run", "hello-world", "--allow", &request]).code,
        Some(0)
    );

    let recipe = fs::read_to_string(pod.join("recipe.json")).unwrap();
    let mut recipe: serde_json::Value = serde_json::from_str(&recipe).unwrap();
    recipe["capabilities"]["env"] = serde_json::json!(["LANG"]);
    fs::write(pod.join("recipe.json"), recipe.to_string()).unwrap();
    for words in [
        &["run", "hello-world"][..],
        &["run", "hello-world", "--allow", &request],
    ] {
        let given = place.run(words);
        assert_eq!(given.code, Some(3), "{given}");
    }
}
