//! `cargo xtask`: what has to happen before and around `cargo test`.
//!
//! Guests are compiled for another target than the host, by tools that a machine with Rust alone does not have.
//! This program fetches those tools, builds the guests and runs every test, so that one command does it all on a
//! fresh machine, a contributor's and CI's alike. It is a program and not a shell script because the list of guests,
//! the digests of their sources and the format of a package want types and tests.

mod command;
mod digest;
mod fairos;
mod files;
mod golem;
mod guests;
mod lock;
mod package;
mod project;
mod suite;
mod toolchain;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::project::Project;

#[derive(Parser)]
#[command(
    name = "cargo xtask",
    bin_name = "cargo xtask",
    about = "Builds the guests, sets up and runs all tests"
)]
struct Cli {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Build all guests into target/guests
    Guests(guests::Args),
    /// Build the FairOS-dfs servers that tests run against, into target/fairos
    Fairos,
    /// Install the Golem daemon and the official clients that tests run against, into target/golem
    Golem,
    /// Set everything up and run all checks and tests
    Test,
}

fn main() -> ExitCode {
    let project = Project::find();
    let done = match Cli::parse().task {
        Task::Guests(args) => guests::run(&project, &args),
        Task::Fairos => fairos::build(&project),
        Task::Golem => golem::install(),
        Task::Test => suite::run(&project),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
