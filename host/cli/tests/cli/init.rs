//! New pods and tasks from flags; the wizard is in [`terminal`](crate::terminal).

use std::fs;

use serde_json::json;

use crate::place::Place;

#[test]
fn a_pod_is_made_from_flags_with_the_case_of_references_and_paths() {
    let place = Place::new();
    let reference = "dA".repeat(32);
    let payload = format!("{reference}:/Data.ZIP");
    let component = place
        .template("hello-world")
        .join("script/hello-world.wasm");
    let given = place.run(&[
        "init",
        "--name",
        "Render",
        "--description",
        "Draws \"pictures\"",
        "--author",
        "Ä. Nonymous",
        "--pod-version",
        "2.1",
        "--private",
        "--exec",
        "script/r.wasm --In A",
        "--component",
        component.to_str().unwrap(),
        "--payload",
        &payload,
    ]);
    assert_eq!(given.code, Some(0), "{given}");
    assert_eq!(given.stdout, "[PLACE]/Render\n");
    let recipe = fs::read_to_string(place.path("Render/recipe.json")).unwrap();
    let recipe: serde_json::Value = serde_json::from_str(&recipe).unwrap();
    assert_eq!(
        recipe,
        json!({
            "name": "Render",
            "description": "Draws \"pictures\"",
            "author": "Ä. Nonymous",
            "version": "2.1",
            "public": false,
            "golem": {
                "exec": "script/r.wasm --In A",
                "script": "script",
                "payload": [ { "ref": reference, "data": "/Data.ZIP" } ],
                "output": "output",
                "log": "logs"
            }
        })
    );
    for part in ["script/r.wasm", "payload", "output", "logs"] {
        assert!(place.path("Render").join(part).exists(), "{part}");
    }
    assert_eq!(place.run(&["check", "Render"]).code, Some(0));
}

#[test]
fn a_task_is_made_from_flags() {
    let place = Place::new();
    fs::create_dir(place.path("tasks")).unwrap();
    let (one, two) = ("a1".repeat(32), "b2".repeat(32));
    let payload = format!("{two}:/images.zip");
    let given = place.run(&[
        "init",
        "--task",
        "--name",
        "keras",
        "--pods",
        &one,
        "--pods",
        &two,
        "--payload",
        &payload,
        "--parallel",
        "--parent",
        "tasks",
        "--json",
    ]);
    assert_eq!(given.code, Some(0), "{given}");
    let report = given.json();
    assert_eq!(report["kind"], "task", "{given}");
    assert_eq!(report["directory"], "[PLACE]/tasks/keras", "{given}");
    let recipe = fs::read_to_string(place.path("tasks/keras/recipe.json")).unwrap();
    let recipe: serde_json::Value = serde_json::from_str(&recipe).unwrap();
    assert_eq!(recipe["pods"], json!([one, two]));
    assert_eq!(recipe["mode"], "parallel");
}

#[test]
fn without_a_terminal_the_flags_that_are_needed_are_named() {
    let place = Place::new();
    for words in [&["init"][..], &["--init"], &["init", "--task"]] {
        let given = place.run(words);
        assert_eq!(
            (given.code, given.stdout.as_str()),
            (Some(2), ""),
            "{given}"
        );
        for flag in ["--name", "--task", "--pods"] {
            assert!(given.stderr.contains(flag), "{given}");
        }
    }
}

#[test]
fn nothing_that_is_there_is_overwritten() {
    let place = Place::new();
    fs::create_dir(place.path("mine")).unwrap();
    fs::write(place.path("mine/recipe.json"), "precious").unwrap();
    fs::write(place.path("file"), "precious").unwrap();
    for name in ["mine", "file"] {
        let given = place.run(&["init", "--name", name]);
        assert_eq!(
            (given.code, given.stdout.as_str()),
            (Some(2), ""),
            "{given}"
        );
        assert!(given.stderr.contains("exists already"), "{given}");
    }
    assert_eq!(
        fs::read_to_string(place.path("mine/recipe.json")).unwrap(),
        "precious"
    );
    assert_eq!(fs::read_dir(place.path("mine")).unwrap().count(), 1);
}

#[test]
fn what_would_not_be_a_pod_is_refused_and_nothing_is_made() {
    let place = Place::new();
    fs::write(place.path("native"), "\x7fELF").unwrap();
    let reference = "a1".repeat(32);
    let short = format!("{}:/x.zip", "a1");
    let relative = format!("{reference}:x.zip");
    for (words, code) in [
        (&["--name", "../x"][..], 2),
        (&["--name", "a b"], 2),
        (&["--name", "SharedPods"], 2),
        (&["--name", "output-x"], 2),
        (&["--name", "x", "--exec", "python3 x.py"], 6),
        (&["--name", "x", "--component", "native"], 6),
        (&["--name", "x", "--component", "absent"], 5),
        (&["--name", "x", "--payload", "nocolon"], 2),
        (&["--name", "x", "--payload", &short], 6),
        (&["--name", "x", "--payload", &relative], 6),
        (&["--name", "x", "--task"], 6),
        (&["--name", "x", "--pods", &reference], 2),
        (&["--name", "x", "--task", "--pods", "short"], 6),
        (&["--name", "x", "--task", "--exec", "script/x.wasm"], 2),
        (&["--name", "x", "--description", "\u{1b}[2J"], 2),
        (&["--name", "x", "--author", "a\u{202e}b"], 2),
    ] {
        let given = place.run(&[&["init"], words].concat());
        assert_eq!(
            (given.code, given.stdout.as_str()),
            (Some(code), ""),
            "{words:?}\n{given}"
        );
        assert!(given.stderr.starts_with("error: "), "{given}");
    }
    let mut left: Vec<_> = fs::read_dir(place.path(""))
        .unwrap()
        .map(|e| e.unwrap().file_name())
        .collect();
    left.sort();
    assert_eq!(left, ["native"]);
}
