//! The commands, one file each: arguments, whose comments are the help, and one function.

mod audit;
mod check;
mod completions;
mod consent;
mod doctor;
mod inspect;
mod run;
mod survey;

use std::future::Future;
use std::path::PathBuf;

use crate::exit::Exit;
use crate::output::Output;

/// What to do. The help of each is written at its arguments.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    Run(run::Args),
    Check(check::Args),
    Inspect(inspect::Args),
    Doctor(doctor::Args),
    Consent(consent::Args),
    Audit(audit::Args),
    Completions(completions::Args),
}

impl Command {
    /// Does it.
    pub(crate) fn execute(self, output: Output) -> anyhow::Result<Exit> {
        match self {
            Command::Run(args) => run::run(args, output),
            Command::Check(args) => check::check(&args, output),
            Command::Inspect(args) => inspect::inspect(&args, output),
            Command::Doctor(args) => doctor::doctor(&args, output),
            Command::Consent(args) => consent::consent(&args, output),
            Command::Audit(args) => audit::audit(&args, output),
            Command::Completions(args) => completions::completions(&args, output),
        }
    }
}

/// A pod that is only looked at.
#[derive(Debug, clap::Args)]
struct PodArgs {
    /// The pod's directory, or its recipe.json
    #[arg(value_name = "POD", value_hint = clap::ValueHint::AnyPath)]
    pod: PathBuf,
}

/// Runs the asynchronous part of a command to its end. What is left running in the background is not waited for.
fn block_on<T>(work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    let result = runtime.block_on(work);
    runtime.shutdown_background();
    result
}
