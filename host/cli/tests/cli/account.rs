//! Accounts where no server answers, or none is meant.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;

use crate::place::{Given, Place};

/// An address where nothing listens.
fn nowhere() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    format!("http://{}", listener.local_addr().unwrap())
}

fn with(place: &Place, variables: &[(&str, &str)], words: &[&str]) -> Given {
    let mut command = place.command(words);
    command.envs(variables.iter().copied());
    place.given(&mut command)
}

#[track_caller]
fn says(given: &Given, code: i32, words: &[&str]) {
    assert_eq!(given.code, Some(code), "{given}");
    for word in words {
        assert!(given.stderr.contains(word), "{word}\n{given}");
    }
}

#[test]
fn a_local_storage_has_a_user_and_no_account() {
    let place = Place::new();
    let who = place.run(&["whoami", "--json"]).json();
    assert_eq!(
        (&who["kind"], &who["user"]),
        (&"local".into(), &"me".into())
    );
    let given = place.run(&["whoami"]);
    assert!(given.stdout.contains("[PLACE]/home/data/dfs"), "{given}");
    for words in [
        &["login"][..],
        &["signup"],
        &["--dfs", "local", "login", "me"],
    ] {
        let given = place.run(words);
        says(&given, 2, &["--dfs fairos", "storage.toml"]);
    }
    says(&place.run(&["logout"]), 0, &["not logged in"]);
    // Nobody is asked, because nobody is there.
    says(&place.run(&["--dfs", "fairos", "login"]), 2, &["SOVR_USER"]);
    let given = place.run(&["--dfs", "fairos", "login", "alice"]);
    says(&given, 2, &["SOVR_FAIROS_PASSWORD", "`credentials`"]);
}

#[test]
fn a_server_that_is_not_there_is_named() {
    let place = Place::new();
    let server = nowhere();
    let variables = [
        ("SOVR_FAIROS_SERVER", server.as_str()),
        ("SOVR_DFS", "fairos"),
        ("SOVR_USER", "alice"),
        ("SOVR_FAIROS_PASSWORD", "a long enough password"),
    ];
    for words in [&["list"][..], &["login"], &["signup"], &["whoami"]] {
        let given = with(&place, &variables, words);
        says(
            &given,
            5,
            &["the storage could not", "check that the server runs"],
        );
        assert!(!given.stderr.contains("long enough"), "{given}");
    }
    let given = with(&place, &variables, &["doctor", "--json"]);
    assert_eq!(given.code, Some(5), "{given}");
    assert_eq!(given.json()["healthy"], false);
    assert!(!given.stdout.contains("long enough"), "{given}");
}

#[test]
fn a_login_is_removed_also_when_its_server_is_gone() {
    let place = Place::new();
    place.run(&["list"]);
    let server = nowhere();
    let path = place.path("home/state/fairos-login.json");
    let keep = |content: &str, mode| {
        fs::write(&path, content).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    };
    let content = serde_json::json!({ "server": server, "user": "alice", "login": "hush" });
    keep(&content.to_string(), 0o600);
    let given = place.run(&["logout"]);
    says(
        &given,
        0,
        &["Removed the login of alice", "could not be told"],
    );
    assert!(!path.exists() && !given.stderr.contains("hush"), "{given}");

    keep(&content.to_string(), 0o600);
    let report = place.run(&["logout", "--json"]).json();
    assert_eq!(
        (
            &report["logged-out"],
            &report["server-told"],
            &report["user"]
        ),
        (&true.into(), &false.into(), &"alice".into())
    );
    // What others could have read is not used, and goes all the same.
    keep(&content.to_string(), 0o644);
    let given = with(&place, &[("SOVR_DFS", "fairos")], &["list"]);
    says(&given, 5, &["only you can read"]);
    says(&place.run(&["logout"]), 0, &["could not be used"]);
    assert!(!path.exists());
}

#[test]
fn a_password_does_not_travel_in_the_clear() {
    let place = Place::new();
    let far = [
        ("SOVR_DFS", "fairos"),
        ("SOVR_FAIROS_SERVER", "http://storage.example:9090"),
        ("SOVR_FAIROS_PASSWORD", "a long enough password"),
        ("SOVR_USER", "alice"),
    ];
    for words in [&["list"][..], &["login"], &["signup"]] {
        let given = with(&place, &far, words);
        says(&given, 5, &["plain http", "allow-plain-http"]);
    }
    let given = with(&place, &far, &["doctor"]);
    assert!(given.stdout.contains("allow-plain-http"), "{given}");
}

#[test]
fn settings_that_contradict_each_other_are_told() {
    let place = Place::new();
    let path = place.path("creds.json");
    let content = r#"{"username":"carol","password":"hush hush hush"}"#;
    fs::write(&path, content).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    let credentials = ("SOVR_FAIROS_CREDENTIALS", path.to_str().unwrap());
    let fairos = ("SOVR_DFS", "fairos");
    let given = with(
        &place,
        &[fairos, credentials, ("SOVR_USER", "bob")],
        &["list"],
    );
    says(
        &given,
        5,
        &["creds.json", "`carol`", "SOVR_USER names `bob`"],
    );
    let given = with(&place, &[fairos, credentials], &["login", "bob"]);
    says(&given, 2, &["`bob`", "`carol`"]);
    fs::write(&path, "hush").unwrap();
    let given = with(&place, &[fairos, credentials], &["list"]);
    says(&given, 5, &["creds.json", "not JSON"]);
    assert!(!given.stderr.contains("hush"), "{given}");
    says(
        &place.run(&["list", "--dfs", "swarm"]),
        2,
        &["local", "fairos"],
    );
    let given = with(&place, &[("SOVR_DFS", "swarm")], &["list"]);
    says(&given, 5, &["SOVR_DFS"]);
}
