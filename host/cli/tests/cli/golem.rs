//! `golem status` and the settings of the Golem network, where there is no daemon.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;

use crate::place::{Given, Place};

const SECRET: &str = "0123456789abcdef";

fn status(place: &Place, variables: &[(&str, &str)]) -> Given {
    let mut command = place.command(&["golem", "status"]);
    place.given(command.envs(variables.iter().copied()))
}

/// Answers every request with this.
fn server(answer: &'static str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for connection in listener.incoming() {
            let mut connection = connection.unwrap();
            let _ = connection.read(&mut [0; 4096]);
            let _ = connection.write_all(answer.as_bytes());
        }
    });
    url
}

#[test]
fn each_failure_says_what_to_do() {
    let place = Place::new();
    let refusing = server(
        "HTTP/1.1 401 Unauthorized\r\nContent-Length: 23\r\nConnection: close\r\n\r\nInvalid application key",
    );
    let other = server("HTTP/1.1 200 OK\r\nContent-Length: 6\r\nConnection: close\r\n\r\n<html>");
    let key = ("YAGNA_APPKEY", SECRET);
    for (variables, words) in [
        (&[][..], &["no app-key", "yagna app-key list"][..]),
        (
            &[key, ("YAGNA_API_URL", "http://127.0.0.1:9")],
            &["http://127.0.0.1:9", "refused", "yagna service run"],
        ),
        (
            &[key, ("YAGNA_API_URL", &refusing)],
            &["Invalid application key", "set YAGNA_APPKEY"],
        ),
        (
            &[key, ("YAGNA_API_URL", &other)],
            &["not what it should be", "yagna daemon"],
        ),
        (
            &[key, ("YAGNA_API_URL", "http://192.0.2.1:7465")],
            &["YAGNA_API_URL", "in the clear"],
        ),
        (&[key, ("YAGNA_SUBNET", "a b")], &["YAGNA_SUBNET"]),
        (&[("SOVR_NETWORK", "golem")], &["SOVR_NETWORK"]),
    ] {
        let given = status(&place, variables);
        assert_eq!(
            (given.code, given.stdout.as_str()),
            (Some(5), ""),
            "{given}"
        );
        for word in words {
            assert!(given.stderr.contains(word), "{word}: {given}");
        }
        assert!(!given.to_string().contains(SECRET), "{given}");
    }
}

#[test]
fn a_key_is_used_from_a_file_for_its_owner_alone() {
    let place = Place::new();
    std::fs::create_dir(place.path("home")).unwrap();
    let file = place.path("golem.key");
    let settings = format!("[yagna]\napp-key-file = {file:?}\napi = \"http://127.0.0.1:9\"\n");
    std::fs::write(place.path("home/networks.toml"), settings).unwrap();
    std::fs::write(&file, SECRET).unwrap();
    for (mode, words) in [(0o644, "chmod 600"), (0o600, "refused")] {
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(mode)).unwrap();
        let given = status(&place, &[]);
        assert_eq!(given.code, Some(5), "{given}");
        assert!(given.stderr.contains(words), "{given}");
        assert!(!given.to_string().contains(SECRET), "{given}");
    }
}

#[test]
fn a_run_on_golem_does_not_begin_without_a_daemon() {
    let place = Place::new();
    place.template("hello-world");
    let run = |network: &[&str], variables: &[(&str, &str)]| {
        let words = [&["run", "hello-world", "--yes"], network].concat();
        let mut command = place.command(&words);
        place.given(command.envs(variables.iter().copied()))
    };
    let away = [
        ("YAGNA_APPKEY", SECRET),
        ("YAGNA_API_URL", "http://127.0.0.1:9"),
    ];
    for (network, variables, words) in [
        (&["--network", "yagna"][..], &[][..], "YAGNA_APPKEY"),
        (&[], &[("SOVR_NETWORK", "yagna")], "YAGNA_APPKEY"),
        (&["--network", "yagna"], &away, "yagna service run"),
    ] {
        let given = run(network, variables);
        assert_eq!(
            (given.code, given.stdout.as_str()),
            (Some(5), ""),
            "{given}"
        );
        assert!(given.stderr.contains(words), "{given}");
        assert!(!given.to_string().contains(SECRET), "{given}");
    }
    // Its money is back.
    let left = place.run(&["cleanup", "--json"]).json();
    assert_eq!(left["complete"], true, "{left:#}");
    let given = run(&["--network", "local"], &[("SOVR_NETWORK", "yagna")]);
    assert_eq!(given.code, Some(0), "{given}");
    let given = run(&["--network", "golem"], &[]);
    assert_eq!(given.code, Some(2), "{given}");
    assert!(given.stderr.contains("local, yagna"), "{given}");
}

#[test]
fn doctor_looks_at_the_daemon_that_is_meant() {
    let place = Place::new();
    let doctor = |words: &[&str], variables: &[(&str, &str)]| {
        let mut command = place.command(&[&["doctor", "--json"], words].concat());
        let given = place.given(command.envs(variables.iter().copied()));
        let daemon = given.json()["daemons"][0].clone();
        (given, daemon)
    };
    let away = ("YAGNA_API_URL", "http://127.0.0.1:9");
    let key = ("YAGNA_APPKEY", SECRET);
    // Nobody works there: it may be away, with a key or without.
    for variables in [&[away][..], &[away, key]] {
        let (_, daemon) = doctor(&[], variables);
        assert_eq!(daemon["state"], "idle", "{daemon:#}");
    }
    for (words, variables, told) in [
        (
            &["--network", "yagna"][..],
            &[away, key][..],
            "yagna service run",
        ),
        (&[], &[away, key, ("SOVR_NETWORK", "yagna")], "refused"),
        (&["--network", "yagna"], &[away], "YAGNA_APPKEY"),
    ] {
        let (given, daemon) = doctor(words, variables);
        assert_eq!(given.code, Some(5), "{given}");
        assert_eq!(daemon["state"], "missing", "{daemon:#}");
        let found = daemon["found"].as_str().unwrap();
        assert!(found.contains(told) && !found.contains(SECRET), "{found}");
    }
}
