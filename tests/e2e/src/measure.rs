//! What benches have in common: clocks, medians, and lines that say whether an aim was met.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use sovr_test_support::process::{Launch, Process};

use crate::home::temporary_directory;
use crate::paths;

/// No run takes longer.
const PATIENCE: Duration = Duration::from_secs(600);

/// Runs those groups that the command line names, or all.
pub fn groups(groups: &[(&str, &dyn Fn())]) {
    let wanted: Vec<String> = std::env::args()
        .skip(1)
        .filter(|word| !word.starts_with("--"))
        .collect();
    for (name, bench) in groups {
        if wanted.is_empty() || wanted.iter().any(|word| word == name) {
            println!("\n{name}");
            bench();
        }
    }
}

/// How long a program takes from its start to its end.
pub fn time(command: &mut Command) -> Duration {
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    let begun = Instant::now();
    let output = command.spawn().and_then(|child| child.wait_with_output());
    let took = begun.elapsed();
    let output = output.unwrap_or_else(|error| panic!("cannot run {command:?}: {error}"));
    assert!(
        output.status.success(),
        "{command:?} failed: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    took
}

/// What a run takes.
#[derive(Debug, Clone, Copy)]
pub struct Cost {
    /// From its start to its end.
    pub wall: Duration,
    /// Processor time, in the kernel too, of the program and of the children that it waited for.
    pub cpu: Duration,
}

/// What a program takes that has nothing of the tester's own environment and is given these variables.
pub fn cost(
    program: PathBuf,
    arguments: Vec<String>,
    environment: Vec<(&'static str, String)>,
) -> Cost {
    let name = program.display().to_string();
    let launch = Launch {
        name: name.clone(),
        program,
        arguments,
        environment,
    };
    let directory = temporary_directory("bench");
    let begun = Instant::now();
    let mut process = Process::start(launch, directory);
    let ended = process.finish(PATIENCE);
    let wall = begun.elapsed();
    assert!(
        ended.status.is_some_and(|status| status.success()),
        "{name} failed ({:?}):\n{}",
        ended.status,
        process.end_of_log()
    );
    Cost {
        wall,
        cpu: ended.cpu + ended.cpu_of_children,
    }
}

/// Medians of so many rounds, in each of which every candidate runs once. One round before does not count.
pub fn medians(rounds: usize, candidates: &mut [Command]) -> Vec<Duration> {
    let mut times = vec![Vec::new(); candidates.len()];
    for round in 0..=rounds {
        for (candidate, times) in candidates.iter_mut().zip(&mut times) {
            let took = time(candidate);
            if round > 0 {
                times.push(took);
            }
        }
    }
    times.iter_mut().map(|times| quantile(times, 0.5)).collect()
}

/// The time that this part of all does not exceed.
pub fn quantile(times: &mut [Duration], part: f64) -> Duration {
    times.sort();
    times[((times.len() - 1) as f64 * part).round() as usize]
}

/// As a number for a line.
pub fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

/// A line of the report, with an aim and whether it was met.
pub fn line(what: &str, value: f64, aim: Option<(&str, bool)>) {
    match aim {
        Some((aim, met)) => {
            println!(
                "  {what:64} {value:9.2}   aim {aim}: {}",
                if met { "met" } else { "MISSED" }
            );
        }
        None => println!("  {what:64} {value:9.2}"),
    }
}

/// A line whose aim is to be no more than this.
pub fn at_most(what: &str, value: f64, aim: f64) {
    line(what, value, Some((&format!("at most {aim}"), value <= aim)));
}

/// How long one takes next to another, as the median of the rounds in which both ran.
pub fn ratio(ours: &[Duration], theirs: &[Duration]) -> f64 {
    let ratios = ratios(ours, theirs);
    ratios[ratios.len() / 2]
}

/// The same of each round, the least first.
pub fn ratios(ours: &[Duration], theirs: &[Duration]) -> Vec<f64> {
    let pairs = ours.iter().zip(theirs);
    let mut ratios: Vec<f64> = pairs.map(|(a, b)| a.div_duration_f64(*b)).collect();
    ratios.sort_by(f64::total_cmp);
    ratios
}

/// `wasmtime` with a precompiled guest, if it is installed.
pub fn peer(guest: &Path, precompiled: &Path) -> Option<Command> {
    let wasmtime = paths::project().join("target/bench-tools/bin/wasmtime");
    if !wasmtime.exists() {
        println!(
            "  {} is not there: see the head of this bench for how to install it",
            wasmtime.display()
        );
        return None;
    }
    time(
        Command::new(&wasmtime)
            .arg("compile")
            .arg(guest)
            .arg("-o")
            .arg(precompiled),
    );
    let mut command = Command::new(wasmtime);
    command
        .args(["run", "--allow-precompiled"])
        .arg(precompiled);
    Some(command)
}
