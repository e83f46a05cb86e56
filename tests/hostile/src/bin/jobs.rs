//! Opens jobs and does small tasks in them, for tests of bad providers and of the budget. No abuse by itself.
//!
//! Arguments: how many jobs are open at the same time, how many tasks each has, the budget of each in GLM, seconds for
//! each try of a task, and what a task is: `send` a byte, `run` a program, or, if it is not said, sending a file, running
//! a program and fetching the file. Says in one line each what became of jobs and tasks.

use std::process::ExitCode;
use std::time::Duration;

use sovr::{Executor, Steps, Task};

const PACKAGE: &str = "date";
const PROGRAM: &str = "/bin/date";
const NOTE: &str = "/golem/work/note";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [jobs, tasks, budget, seconds, rest @ ..] = arguments.as_slice() else {
        panic!("how many jobs, how many tasks, how much money, how much time?");
    };
    let kind = rest.first().map(String::as_str);
    let number = |text: &str| text.parse::<u64>().expect("a number");
    let (tasks, time) = (number(tasks), Duration::from_secs(number(seconds)));

    let mut all_done = true;
    let mut open = Vec::new();
    for job in 0..number(jobs) {
        match Executor::builder(PACKAGE).budget(budget).open() {
            Ok(executor) => {
                println!("open: job {job}: {}", executor.terms().budget);
                open.push((job, executor));
            }
            Err(error) => {
                println!("refused: job {job}: {error}");
                all_done = false;
            }
        }
    }
    for (job, executor) in &open {
        for task in 0..tasks {
            let steps = steps(kind, *job, task);
            let submitted =
                executor.submit(Task::new(format!("task {job}-{task}"), steps).timeout(time));
            if let Err(error) = submitted {
                println!("refused: task {job}-{task}: {error}");
                all_done = false;
            }
        }
    }
    for (job, executor) in open {
        for outcome in executor.outcomes() {
            match outcome {
                Ok(outcome) => match &outcome.results {
                    Ok(_) => println!("done: {} by {}", outcome.label, outcome.provider_name()),
                    Err(failure) => {
                        println!(
                            "failed: {}: {:?}: {}",
                            outcome.label, failure.kind, failure.reason
                        );
                        all_done = false;
                    }
                },
                Err(error) => {
                    println!("failed: job {job}: {error}");
                    all_done = false;
                }
            }
        }
        match executor.close() {
            Ok(summary) => println!("closed: job {job}: {}", summary.cost),
            Err(error) => {
                println!("failed: closing job {job}: {error}");
                all_done = false;
            }
        }
    }
    if all_done {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn steps(kind: Option<&str>, job: u64, task: u64) -> Steps {
    let steps = Steps::new();
    match kind {
        Some("send") => steps.send_bytes(NOTE, *b"1"),
        Some("run") => steps.run(PROGRAM, &[]),
        None => steps
            .send_bytes(NOTE, note(job, task))
            .run(PROGRAM, &[])
            .download_file(NOTE, format!("output/note-{job}-{task}")),
        Some(other) => panic!("a task is none of {other:?}"),
    }
}

/// Long enough that half of it is missed.
fn note(job: u64, task: u64) -> Vec<u8> {
    format!("note of task {job}-{task}\n")
        .repeat(1000)
        .into_bytes()
}
