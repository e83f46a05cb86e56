//! Ctrl-C.

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::Stdio;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::place::Place;

/// Ends a run of the render pod, which takes a while, once it has begun a task; gives the exit code and the time
/// that it took from the last signal on.
fn interrupted(times: usize) -> (Option<i32>, Duration, Place) {
    let place = Place::new();
    place.template("render");
    let words = [
        "run",
        "render",
        "--yes",
        "--json",
        "--",
        "--frames",
        "0..6000:10",
        "--samples",
        "4096",
    ];
    let mut child = place
        .command(&words)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut rest = lines
        .map_while(Result::ok)
        .skip_while(|line| !line.contains("\"task-started\""));
    assert!(rest.next().is_some(), "no task began");
    // What follows is read on, so that the program is not held up.
    let reader = std::thread::spawn(move || rest.count());

    let pid = Pid::from_child(&child);
    for _ in 1..times {
        kill_process(pid, Signal::INT).unwrap();
        std::thread::sleep(Duration::from_millis(50));
    }
    kill_process(pid, Signal::INT).unwrap();
    let began = Instant::now();
    let code = child.wait().unwrap().code();
    let took = began.elapsed();
    reader.join().unwrap();
    (code, took, place)
}

#[test]
fn once_ends_the_run_in_order() {
    let (code, took, place) = interrupted(1);
    assert_eq!(code, Some(130));
    assert!(took < Duration::from_secs(15), "{took:?}");
    let listed = place.run(&["audit", "--json"]).json();
    assert_eq!(listed[0]["ending"], "interrupted", "{listed:#}");
    let left: Vec<_> = fs::read_dir(place.path("render/output"))
        .map(|entries| entries.flatten().collect())
        .unwrap_or_default();
    for file in left {
        assert!(
            fs::metadata(file.path()).unwrap().len() > 0,
            "{file:?} is a stump"
        );
    }
}

#[test]
fn twice_ends_it_within_a_second() {
    let (code, took, _place) = interrupted(2);
    assert_eq!(code, Some(130));
    assert!(took < Duration::from_secs(1), "{took:?}");
}
