//! `check`, `inspect`, `doctor`: they tell, and neither run a pod nor agree to one.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};

use crate::place::Place;

#[test]
fn a_good_pod_is_found_good_without_running_it() {
    let place = Place::new();
    place.template("hello-world");
    for words in [&["check", "hello-world"][..], &["inspect", "hello-world"]] {
        let given = place.run(words);
        assert_eq!(
            (given.code, given.stderr.as_str()),
            (Some(0), ""),
            "{given}"
        );
    }
    for words in [&["audit", "--json"][..], &["consent", "list", "--json"]] {
        assert_eq!(place.run(words).json(), serde_json::json!([]));
    }
    assert!(!place.path("hello-world/logs").exists() && !place.path("hello-world/output").exists());
}

#[test]
fn doctor_and_empty_lists_leave_no_trace() {
    let place = Place::new();
    for words in [
        &["doctor"][..],
        &["consent", "list"],
        &["consent", "revoke", "--all"],
        &["audit"],
    ] {
        place.run(words);
    }
    assert!(!place.path("home").exists());
}

#[test]
fn inspect_shows_the_digest_that_run_accepts() {
    let place = Place::new();
    place.template("hello-world");
    let request = place.run(&["inspect", "hello-world", "--json"]).json()["request"]
        .as_str()
        .unwrap()
        .to_owned();
    assert!(
        place
            .run(&["inspect", "hello-world"])
            .stdout
            .contains(&request)
    );

    let given = place.run(&["run", "hello-world", "--allow", &request]);
    assert_eq!(given.code, Some(0), "{given}");
    assert!(
        place
            .run(&["consent", "list"])
            .stdout
            .contains(&request[..12])
    );
    assert!(
        place
            .run(&["check", "hello-world"])
            .stdout
            .contains("given ")
    );
}

#[test]
fn what_is_no_component_is_refused_with_a_reason() {
    let place = Place::new();
    for (component, reason) in [
        (&b"print('hello')"[..], "WebAssembly"),
        (b"\0asm\x01\0\0\0", "component"),
        (b"", "WebAssembly"),
    ] {
        place.pod("script/main.wasm", component);
        for command in ["check", "run", "inspect"] {
            let given = place.run(&[command, "pod"]);
            let expected = if command == "inspect" && component.starts_with(b"\0asm") {
                0
            } else {
                6
            };
            assert_eq!(
                given.code,
                Some(expected),
                "{command} {component:?}\n{given}"
            );
            assert!(
                given.to_string().contains(reason),
                "{command} {component:?}\n{given}"
            );
        }
    }
}

#[test]
fn a_native_program_in_a_recipe_is_refused_with_an_explanation() {
    let place = Place::new();
    place.pod("python3 script/blender.py", b"");
    let given = place.run(&["run", "pod", "--yes"]);
    assert_eq!(given.code, Some(6), "{given}");
    assert!(
        given.stderr.contains("python3") && given.stderr.contains(".wasm"),
        "{given}"
    );
}

#[test]
fn a_link_in_a_pod_is_refused_by_name() {
    let place = Place::new();
    let pod = place.template("hello-world");
    fs::create_dir_all(pod.join("payload")).unwrap();
    symlink("/etc/passwd", pod.join("payload/innocent.txt")).unwrap();
    for command in ["check", "run"] {
        let given = place.run(&[command, "hello-world"]);
        assert_eq!(given.code, Some(6), "{given}");
        assert!(given.stderr.contains("payload/innocent.txt"), "{given}");
    }
}

#[test]
fn a_recipe_cannot_command_the_terminal() {
    let place = Place::new();
    let pod = place.template("hello-world");
    let hostile = "\u{1b}[2J\u{202e}\u{9b}31m\r\n";
    let recipe = fs::read_to_string(pod.join("recipe.json")).unwrap();
    let mut recipe: serde_json::Value = serde_json::from_str(&recipe).unwrap();
    recipe["author"] = hostile.into();
    recipe["description"] = hostile.into();
    fs::write(pod.join("recipe.json"), recipe.to_string()).unwrap();
    for words in [
        &["inspect", "hello-world"][..],
        &["inspect", "hello-world", "--json"],
        &["check", "hello-world"],
    ] {
        let given = place.run(words);
        assert_eq!(given.code, Some(0), "{given}");
        assert!(
            !given
                .to_string()
                .contains(['\u{1b}', '\u{202e}', '\u{9b}', '\r']),
            "{given}"
        );
    }
    assert_eq!(
        place.run(&["inspect", "hello-world", "--json"]).json()["author"],
        hostile
    );
}

#[test]
fn a_wrong_policy_stops_everything_that_needs_one() {
    let place = Place::new();
    place.template("hello-world");
    let policy = place.path("policy.toml");
    fs::write(&policy, "golem = 'yes please'").unwrap();
    // Where the policy lies is the program's own word.
    let doctor = place.run(&["doctor", "--json"]).json();
    let found = doctor["state"]
        .as_array()
        .unwrap()
        .iter()
        .find(|item| item["name"] == "policy")
        .unwrap();
    let there = found["found"].as_str().unwrap().split(' ').next().unwrap();
    let there = there.replace(
        "[PLACE]",
        place.path("").to_str().unwrap().trim_end_matches('/'),
    );
    fs::create_dir_all(std::path::Path::new(&there).parent().unwrap()).unwrap();
    fs::rename(policy, &there).unwrap();

    for words in [
        &["run", "hello-world", "--yes"][..],
        &["check", "hello-world"],
    ] {
        let given = place.run(words);
        assert_eq!(given.code, Some(5), "{given}");
        assert!(given.stderr.contains("policy.toml"), "{given}");
    }
    assert_eq!(place.run(&["doctor"]).code, Some(5));
}

#[test]
fn doctor_sees_a_home_that_others_can_enter() {
    let place = Place::new();
    place.template("hello-world");
    assert_eq!(place.run(&["check", "hello-world"]).code, Some(0));
    assert_eq!(place.run(&["doctor"]).code, Some(0));
    fs::set_permissions(place.path("home/state"), fs::Permissions::from_mode(0o755)).unwrap();
    let given = place.run(&["doctor"]);
    assert_eq!(given.code, Some(5), "{given}");
    assert!(given.stdout.contains("open to other users"), "{given}");
}
