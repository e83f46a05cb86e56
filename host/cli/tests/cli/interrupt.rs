//! Ctrl-C.

use std::fs;
use std::io::{BufRead, BufReader, PipeReader, pipe};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use rustix::io::ioctl_fionread;
use rustix::pipe::fcntl_setpipe_size;
use rustix::process::{Pid, Signal, kill_process};

use crate::place::Place;

/// A run of the program; gone at the end of the test, whatever the test found.
struct Run(Child);

impl Drop for Run {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts a run that would take hours, with its events on `stdout`.
fn long_run(place: &Place, stdout: Stdio) -> Run {
    place.template("render");
    let words = ["run", "render", "--yes", "--json", "--"];
    let arguments = ["--frames", "0..600:10", "--samples", "60000"];
    let mut command = place.command(&[&words[..], &arguments].concat());
    Run(command
        .stdout(stdout)
        .stderr(Stdio::null())
        .spawn()
        .unwrap())
}

fn interrupt(Run(child): &Run) {
    kill_process(Pid::from_child(child), Signal::INT).unwrap();
}

/// Waits until the program has written all that the pipe takes, and so stands still.
fn fill(reader: &PipeReader) {
    let deadline = Instant::now() + Duration::from_secs(60);
    let mut before = 0;
    loop {
        std::thread::sleep(Duration::from_secs(1));
        let now = ioctl_fionread(reader).unwrap();
        if now == before && now > 3000 {
            return;
        }
        assert!(Instant::now() < deadline, "only {now} bytes were written");
        before = now;
    }
}

#[test]
fn once_ends_the_run_in_order() {
    let place = Place::new();
    let mut run = long_run(&place, Stdio::piped());
    let mut lines = BufReader::new(run.0.stdout.take().unwrap()).lines();
    let begun = lines.find(|line| {
        line.as_ref()
            .is_ok_and(|line| line.contains("\"task-started\""))
    });
    assert!(begun.is_some(), "no task began");
    // What follows is read on, so that the program is not held up.
    let rest = std::thread::spawn(move || lines.map_while(Result::ok).last());

    interrupt(&run);
    let began = Instant::now();
    let code = run.0.wait().unwrap().code();
    assert_eq!(code, Some(130));
    assert!(
        began.elapsed() < Duration::from_secs(15),
        "{:?}",
        began.elapsed()
    );
    let last = rest.join().unwrap().unwrap_or_default();
    assert!(
        last.contains("\"finished\"") && last.contains("\"interrupted\""),
        "{last}"
    );

    let listed = place.run(&["audit", "--json"]).json();
    assert_eq!(listed[0]["ending"], "interrupted", "{listed:#}");
    for file in fs::read_dir(place.path("render/output"))
        .into_iter()
        .flatten()
        .flatten()
    {
        let size = fs::metadata(file.path()).unwrap().len();
        assert!(size > 0, "{file:?} is a stump");
    }
}

#[test]
fn twice_ends_even_a_run_that_is_stuck() {
    let place = Place::new();
    let (reader, writer) = pipe().unwrap();
    fcntl_setpipe_size(&reader, 4096).unwrap();
    let mut run = long_run(&place, writer.into());
    fill(&reader);

    interrupt(&run);
    std::thread::sleep(Duration::from_secs(2));
    assert_eq!(run.0.try_wait().unwrap(), None, "it was not stuck");

    interrupt(&run);
    let began = Instant::now();
    let code = run.0.wait().unwrap().code();
    assert_eq!(code, Some(130));
    assert!(
        began.elapsed() < Duration::from_secs(1),
        "{:?}",
        began.elapsed()
    );
}
