//! Ways to end a run from outside: Ctrl-C, twice, and the program's own sudden death.

use std::time::{Duration, Instant};

use rustix::process::Signal;
use sovr_e2e::{Home, Pod, Running, exit};

/// A run that is in the middle of rendering for a long time.
fn rendering(home: &Home, pod: &Pod) -> Running {
    let running = home.start_pod(
        pod,
        &["--width", "1200", "--height", "900", "--samples", "4096"],
    );
    running.wait_for_child("work");
    running
}

#[test]
fn ctrl_c_ends_the_run_in_order() {
    let (home, pod) = (Home::new(), Pod::from_template("render"));
    let running = rendering(&home, &pod);
    let asked = Instant::now();
    running.signal(Signal::INT);
    let ended = running.wait().expect(exit::INTERRUPTED);
    let took = asked.elapsed();
    assert!(took < Duration::from_secs(10), "{took:?}\n{ended}");
    assert_eq!(ended.report()["ending"], "interrupted");
    assert_eq!(
        ended.golem("job-finished").len(),
        1,
        "the job was closed\n{ended}"
    );
    ended.expect_no_process_left();

    // What was reserved is free again: the whole budget can be had at once.
    home.run_pod(
        &pod,
        &[
            "--frames",
            "0",
            "--width",
            "32",
            "--height",
            "24",
            "--samples",
            "1",
        ],
    )
    .expect(exit::OK);
}

#[test]
fn ctrl_c_twice_ends_the_program_within_a_second() {
    let (home, pod) = (Home::new(), Pod::from_template("render"));
    let running = rendering(&home, &pod);
    running.signal(Signal::INT);
    std::thread::sleep(Duration::from_millis(50));
    let asked = Instant::now();
    running.signal(Signal::INT);
    let ended = running.wait().expect(exit::INTERRUPTED);
    let took = asked.elapsed();
    assert!(took < Duration::from_secs(1), "{took:?}\n{ended}");
    ended.expect_no_process_left();
}

#[test]
fn children_do_not_outlive_a_program_that_is_killed() {
    let (home, pod) = (Home::new(), Pod::from_template("render"));
    let running = rendering(&home, &pod);
    running.signal(Signal::KILL);
    let ended = running.wait().expect(128 + 9);
    for role in ["runner", "work"] {
        assert!(
            ended.children_in_role(role).next().is_some(),
            "no {role} was seen\n{ended}"
        );
    }
    ended.expect_no_process_left();
    let death = ended.parent.as_ref().unwrap().gone.unwrap();
    for child in &ended.children {
        let later = child.gone.unwrap().saturating_duration_since(death);
        assert!(
            later < Duration::from_millis(500),
            "{} was there {later:?} longer",
            child.command
        );
    }

    // The next run is not hindered by what was left: locks, work directories, reservations.
    home.run_pod(
        &pod,
        &[
            "--frames",
            "0",
            "--width",
            "32",
            "--height",
            "24",
            "--samples",
            "1",
        ],
    )
    .expect(exit::OK);
}
