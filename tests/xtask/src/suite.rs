//! `cargo xtask test`: everything that must hold before a change lands, in one command.
//!
//! Cheap checks come first. Each step runs even if one before it failed, so that one run shows all there is to mend.

mod count;

use std::fmt;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use self::count::Count;
use crate::project::Project;
use crate::toolchain::{peers, rust};
use crate::{command, fairos, golem, guests};

/// Runs all checks and tests.
pub(crate) fn run(project: &Project) -> Result<()> {
    let host = |subcommand| cargo(project.root(), subcommand);
    // Guests as native code: lints and unit tests need no sandbox.
    let plugins = |subcommand| {
        let mut cargo = cargo(&project.plugins(), subcommand);
        cargo.env(
            "CARGO_TARGET_DIR",
            project.path("target/guests-build/native"),
        );
        cargo
    };
    let every = ["--locked", "--workspace"];
    let strict = [
        "--locked",
        "--workspace",
        "--all-targets",
        "--",
        "--deny",
        "warnings",
    ];

    let mut report = Report::default();
    let mut count = Count::default();
    report.step("tools", || rust::require_components(&["rustfmt", "clippy"]));
    report.step("programs to compare with", peers::prepare);
    report.step("format of the host", || {
        command::run(host("fmt").args(["--all", "--check"]))
    });
    report.step("format of the guests", || {
        command::run(plugins("fmt").args(["--all", "--check"]))
    });
    report.step("committed guests against their sources", || {
        guests::check(project)
    });
    report.step("building the guests", || guests::build(project, None));
    report.step("building the FairOS-dfs servers", || {
        fairos::build_for_tests(project)
    });
    report.step(
        "installing the Golem daemon and clients",
        golem::install_for_tests,
    );
    report.step("lints of the guests", || {
        command::run(plugins("clippy").args(strict))
    });
    report.step("tests of the guests", || {
        // The hostile guests have no tests: they are some.
        count.run(plugins("test").args(every).args(["--exclude", "hostile"]))
    });
    report.step("lints of the host", || {
        command::run(host("clippy").args(strict))
    });
    // End-to-end tests start the program, which `cargo test` alone need not build. With `--tests`, crates get the
    // features that tests ask for, as they do in the step after, so nothing is compiled twice.
    report.step("building the program and the tests", || {
        command::run(host("build").args(every).args(["--bins", "--tests"]))
    });
    report.step("tests of the host", || count.run(host("test").args(every)));

    println!("\n{report}{count}");
    if !report.steps.iter().all(|step| step.passed) {
        bail!("not everything is in order");
    }
    Ok(())
}

fn cargo(workspace: &Path, subcommand: &str) -> Command {
    let mut cargo = command::cargo();
    cargo.current_dir(workspace).arg(subcommand);
    cargo
}

/// What was done, how it went, and how long it took.
#[derive(Default)]
struct Report {
    steps: Vec<Step>,
}

struct Step {
    name: &'static str,
    passed: bool,
    took: Duration,
}

impl Report {
    fn step(&mut self, name: &'static str, act: impl FnOnce() -> Result<()>) {
        eprintln!("\n== {name}");
        let start = Instant::now();
        let result = act();
        if let Err(error) = &result {
            eprintln!("error: {error:#}");
        }
        self.steps.push(Step {
            name,
            passed: result.is_ok(),
            took: start.elapsed(),
        });
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for Step { name, passed, took } in &self.steps {
            let verdict = if *passed { "ok" } else { "FAILED" };
            writeln!(f, "{verdict:6} {:6.1} s  {name}", took.as_secs_f64())?;
        }
        Ok(())
    }
}
