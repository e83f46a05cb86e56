//! What killed runs leave, and `cleanup`.

use std::io::{BufRead, BufReader};
use std::process::Stdio;

use sovr_capability::{Amount, Home, Journal};
use sovr_golem::network::NodeId;
use sovr_golem::yagna::Change;

use crate::leftover::leave_a_session;
use crate::place::Place;

fn home(place: &Place) -> Home {
    let home = Home::at(&place.path("home"));
    home.prepare().unwrap();
    home
}

fn opened() -> Vec<Change> {
    let node = NodeId::from_bytes([7; 20]);
    vec![
        Change::SessionOpened {
            node: node.clone(),
            at: "2026-11-21T12:00:00Z".parse().unwrap(),
        },
        Change::AllocationWanted {
            amount: Amount::glm(5),
            platform: "erc20-holesky-tglm".to_owned(),
            timeout: "2026-11-21T13:00:00Z".parse().unwrap(),
        },
        Change::AgreementOpened {
            id: "agreement".to_owned(),
            provider: node,
        },
    ]
}

#[test]
fn where_nothing_was_left_nothing_is_done() {
    let place = Place::new();
    let given = place.run(&["cleanup"]);
    assert_eq!(
        (given.code, given.stdout.as_str(), given.stderr.as_str()),
        (Some(0), "", "nothing was left open\n"),
        "{given}"
    );
    let report = place.run(&["cleanup", "--json"]).json();
    assert_eq!(report["complete"], true, "{report:#}");
    assert!(!place.path("home").exists());
}

#[test]
fn money_of_a_killed_run_is_seen_and_then_free() {
    let place = Place::new();
    place.template("render");
    let words = ["run", "render", "--yes", "--json", "--"];
    let arguments = ["--frames", "0..600:10", "--samples", "60000"];
    let mut run = place
        .command(&[&words[..], &arguments].concat())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(run.stdout.take().unwrap()).lines();
    let begun = lines.find(|line| {
        line.as_ref()
            .is_ok_and(|line| line.contains("\"task-started\""))
    });
    // While it goes on it is left alone.
    let alive = place.run(&["cleanup", "--json"]).json();
    run.kill().unwrap();
    run.wait().unwrap();
    assert!(begun.is_some(), "no task began");
    assert_eq!(alive["money"], serde_json::json!([]), "{alive:#}");

    let seen = place.run(&["cleanup", "--dry-run", "--json"]);
    assert_eq!(seen.code, Some(5), "{seen}");
    let seen = seen.json();
    assert_eq!(seen["complete"], false, "{seen:#}");
    assert_eq!(seen["money"][0]["reserved"], "10", "{seen:#}");
    assert_eq!(seen["money"][0]["released"], false, "{seen:#}");
    let done = place.run(&["cleanup"]);
    assert_eq!(done.code, Some(0), "{done}");
    assert!(
        done.stdout.contains("10 GLM") && done.stdout.contains("released"),
        "{done}"
    );
    let again = place.run(&["cleanup", "--json"]).json();
    assert_eq!(again["money"], serde_json::json!([]), "{again:#}");
}

#[test]
fn what_is_open_at_a_daemon_stays_written_down_until_it_is_ended() {
    let place = Place::new();
    let home = home(&place);
    let run = leave_a_session(&home, &opened());
    let seen = place.run(&["cleanup", "--dry-run"]);
    assert_eq!(seen.code, Some(5), "{seen}");
    let words = format!("{run}: 1 agreement and 5 GLM set aside");
    assert!(seen.stdout.contains(&words), "{seen}");

    for (variables, words) in [
        (&[][..], "YAGNA_APPKEY"),
        (
            &[
                ("YAGNA_APPKEY", "secret"),
                ("YAGNA_API_URL", "http://127.0.0.1:9"),
            ],
            "yagna service run",
        ),
        (
            &[("YAGNA_APPKEY", "secret"), ("YAGNA_API_URL", "nowhere")],
            "YAGNA_API_URL",
        ),
    ] {
        let mut command = place.command(&["cleanup"]);
        let given = place.given(command.envs(variables.iter().copied()));
        assert_eq!(given.code, Some(5), "{given}");
        assert!(
            given.stdout.contains("still open") && given.stdout.contains(words),
            "{given}"
        );
        assert!(!given.to_string().contains("secret"), "{given}");
    }
    assert_eq!(Journal::open(&home).unwrap().sessions().unwrap().len(), 1);
}

#[test]
fn words_of_a_newer_program_are_left_alone() {
    let place = Place::new();
    let home = home(&place);
    let run = leave_a_session(&home, &opened());
    let journal = Journal::open(&home).unwrap();
    let newer = r#"{"change":"something-new"}"#;
    journal.append(&run, "session", newer).unwrap();
    let given = place.run(&["cleanup"]);
    assert_eq!(given.code, Some(5), "{given}");
    assert!(given.stdout.contains("newer sovr-host"), "{given}");
    assert_eq!(journal.sessions().unwrap()[0].changes.len(), 4);
}

#[test]
fn one_cleans_up_at_a_time() {
    let place = Place::new();
    let home = home(&place);
    leave_a_session(&home, &opened());
    let lock = std::fs::File::create(home.cleanup_lock()).unwrap();
    rustix::fs::flock(&lock, rustix::fs::FlockOperation::LockExclusive).unwrap();
    let given = place.run(&["cleanup"]);
    assert_eq!(given.code, Some(5), "{given}");
    assert!(
        given.stderr.contains("another `sovr-host cleanup`"),
        "{given}"
    );
}
