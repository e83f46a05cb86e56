//! Strangers' words in every command that prints them (S23): nothing hidden reaches the terminal.

use std::fs;

use serde_json::json;
use sovr_capability::text::is_hidden;
use sovr_dfs::Dfs;
use sovr_dfs::local::{Caps, LocalDfs};

use crate::place::{Given, Place, User, change_recipe};

/// Clears the screen, turns the direction, sets a title, rings, hides, and begins a line that looks like ours.
const EVIL: &str = "x\u{1b}[2J\u{202e}\u{9b}31m\u{200b}\u{1b}]0;owned\u{7}\r\nerror: \u{2028}y";

/// Only line feeds of ours; none that a stranger's word could have made.
#[track_caller]
fn clean(words: &[&str], given: &Given) {
    for (stream, text) in [("stdout", &given.stdout), ("stderr", &given.stderr)] {
        let found = text.chars().find(|c| is_hidden(*c) && *c != '\n');
        assert_eq!(found, None, "{stream} of {words:?}: {text:?}");
        let forged = text
            .lines()
            .any(|line| line.starts_with("error: \u{2028}") || line == "y");
        assert!(!forged, "{stream} of {words:?}: {text:?}");
    }
}

/// Runs a command in words and in JSON, and looks at both. Answers the words.
#[track_caller]
fn told(user: User<'_>, words: &[&str], code: i32) -> Given {
    let with_json = [words, &["--json"]].concat();
    let given = user.run(&with_json);
    assert_eq!(given.code, Some(code), "{with_json:?}\n{given}");
    clean(&with_json, &given);
    given.json();
    let given = user.run(words);
    clean(words, &given);
    given
}

fn evil_words(recipe: &mut serde_json::Value) {
    for field in ["description", "author", "version"] {
        recipe[field] = EVIL.into();
    }
}

/// Writes a file into a pod of the user's storage, past all that the program would check.
pub(crate) fn plant(user: User<'_>, pod: &str, file: &str, content: &str) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let dfs =
            LocalDfs::open(&user.store(), &user.name.parse().unwrap(), Caps::default()).unwrap();
        let pod = pod.parse().unwrap();
        if dfs.pod(&pod).await.is_err() {
            dfs.create_pod(&pod).await.unwrap();
        }
        dfs.write(&pod, &file.parse().unwrap(), &mut content.as_bytes())
            .await
            .unwrap();
    });
}

#[test]
fn a_pod_that_runs_cannot_command_the_terminal() {
    let place = Place::new();
    let (alice, bob) = (place.user("alice"), place.user("bob"));
    let pod = alice.pod("render", |recipe| {
        evil_words(recipe);
        recipe["golem"]["exec"] = format!("script/render.wasm '{EVIL}'").into();
    });
    fs::write(
        pod.join(format!("payload/{}.pem", EVIL.replace('\n', ""))),
        "",
    )
    .unwrap();
    let persisted = told(alice, &["persist", "render"], 0);
    assert!(persisted.stderr.contains("\\u{1b}[2J"), "{persisted}");
    let reference = persisted.stdout.trim_end();
    told(alice, &["list"], 0);
    told(alice, &["registry", "rebuild"], 0);
    let given = bob.run(&["fork", reference]);
    clean(&["fork"], &given);
    assert!(
        given.stdout.contains("\\u{1b}[2J") && given.code == Some(0),
        "{given}"
    );
    clean(
        &["fork", "--json"],
        &bob.run(&["fork", reference, "--into", "json", "--json"]),
    );
    told(bob, &["list"], 0);
    told(bob, &["inspect", "render"], 0);
    told(bob, &["check", "render"], 0);
    told(bob, &["lock", "render"], 0);
    clean(
        &["import"],
        &bob.run(&["import", "render", "--into", "again"]),
    );

    change_recipe(&pod, |recipe| {
        recipe["golem"]["exec"] = format!("script/render.wasm '{EVIL}' more").into();
        let package = &mut recipe["capabilities"]["golem"]["packages"]["renderer"];
        package[0]["wasi"] = "payload/\u{202e}\u{200b}.zip".into();
    });
    alice.run(&["persist", "render"]);
    let compared = told(bob, &["fork", "--diff", "render"], 0);
    assert!(compared.stdout.contains("\\u{202e}"), "{compared}");
    clean(
        &["import"],
        &bob.run(&["import", "render", "--into", "late"]),
    );
    clean(&["import"], &bob.run(&["import", EVIL]));
    clean(&["delete"], &bob.run(&["delete", EVIL]));
    clean(&["unshare"], &bob.run(&["unshare", EVIL]));
}

#[test]
fn a_pod_that_cannot_run_cannot_command_the_terminal() {
    let place = Place::new();
    let (alice, bob) = (place.user("alice"), place.user("bob"));
    let pod = alice.path("native");
    fs::create_dir(&pod).unwrap();
    let mut recipe =
        json!({ "name": "native", "public": true, "golem": { "exec": format!("sh -c {EVIL}") } });
    evil_words(&mut recipe);
    recipe[EVIL] = EVIL.into();
    fs::write(pod.join("recipe.json"), recipe.to_string()).unwrap();
    let persisted = told(alice, &["persist", "native"], 0);
    let listed = told(alice, &["list"], 0);
    assert!(listed.stdout.contains("cannot run here"), "{listed}");
    let given = bob.run(&["fork", persisted.stdout.trim_end()]);
    clean(&["fork"], &given);
    assert!(
        given.stdout.contains("cannot run here") && given.stdout.contains("\\u{1b}"),
        "{given}"
    );
    clean(
        &["fork"],
        &bob.run(&["fork", persisted.stdout.trim_end(), "--into", "j", "--json"]),
    );
    for command in ["run", "check", "inspect", "lock"] {
        clean(&[command], &bob.run(&[command, "native"]));
    }
}

#[test]
fn names_of_files_that_would_command_the_terminal_are_refused_in_plain_sight() {
    let place = Place::new();
    let alice = place.user("alice");
    let pod = alice.pod("hello-world", evil_words);
    fs::write(pod.join(format!("payload/{EVIL}")), "").unwrap();
    let given = told(alice, &["persist", "hello-world"], 6);
    assert!(given.stderr.contains("\\u{1b}[2J"), "{given}");
    assert!(alice.run(&["list"]).stdout.is_empty(), "nothing was stored");
}

#[test]
fn a_poisoned_book_is_told_entry_by_entry_and_cannot_command_the_terminal() {
    let place = Place::new();
    let alice = place.user("alice");
    alice.pod("render", |_| ());
    alice.shares("render");
    let good =
        json!({ "name": "good", "description": EVIL, "version": EVIL, "golem": { "exec": EVIL } });
    let share = json!([{ "recipe": {}, "sharing_reference": EVIL }]);
    for (pod, file, content) in [
        (
            "ComputePodRegistry",
            "/Registry.json",
            json!({ EVIL: {}, "good": good, "bad": EVIL }),
        ),
        (
            "SharedPods",
            "/SharedPods.json",
            json!({ "good": share, EVIL: [] }),
        ),
        (
            "ForkedPods",
            "/ForkedPods.json",
            json!({ "good": [ { "recipe": { EVIL: EVIL } } ] }),
        ),
        (
            "planted",
            "/recipe.json",
            json!({ "name": EVIL, "golem": { "exec": EVIL }, "author": EVIL }),
        ),
    ] {
        plant(alice, pod, file, &content.to_string());
    }
    plant(alice, "broken", "/recipe.json", EVIL);
    let listed = told(alice, &["list"], 0);
    assert!(listed.stderr.matches("warning: ").count() >= 4, "{listed}");
    assert!(listed.stdout.contains("good"), "{listed}");
    let rebuilt = told(alice, &["registry", "rebuild"], 0);
    for words in ["render", "planted"] {
        assert!(rebuilt.stdout.contains(words), "{words}\n{rebuilt}");
    }
    assert!(rebuilt.stderr.contains("\"broken\": "), "{rebuilt}");
    clean(&["import"], &alice.run(&["import", "planted"]));
    clean(&["delete"], &alice.run(&["delete", "planted", "--yes"]));
}
