//! The `sovr-host` program.
//!
//! | Module | What it holds |
//! |---|---|
//! | [`cli`], [`commands`] | the command line; one file per command |
//! | [`account`] | who is asked for a password |
//! | [`legacy`] | the original Sovr client's spelling |
//! | [`exit`], [`failure`] | exit codes; errors on their way out |
//! | [`output`], [`json`], [`table`], [`wrap`], [`figures`] | how results and talk are written |
//! | [`prompt`], [`consent_prompt`] | asking the user; the default says no |
//! | [`interview`] | several questions one after the other, for `init` |
//! | [`transfer`] | files on their way into storage and out of it |
//! | [`progress`], [`summary`] | a run while it goes on, and at its end |
//! | [`signals`] | Ctrl-C |
//! | [`daemons`] | what `doctor` looks for |

mod account;
mod cli;
mod commands;
mod consent_prompt;
mod daemons;
mod exit;
mod failure;
mod figures;
mod interview;
mod json;
mod legacy;
mod output;
mod progress;
mod prompt;
mod signals;
mod summary;
mod table;
mod transfer;
mod wrap;

use std::process::ExitCode;

use crate::cli::Cli;
use crate::exit::Exit;
use crate::output::Output;

fn main() -> ExitCode {
    // Children are this program again, in a role. Before anything else: a child must confine itself before it does
    // more than this, and a run starts several.
    if let Some(role) = sovr_sandbox::role() {
        return sovr_runtime::child(role);
    }
    command_line().into()
}

fn command_line() -> Exit {
    let words: Vec<_> = std::env::args_os().collect();
    let paint = cli::color_of(&words);
    let parsed = legacy::rewrite(words)
        .map_err(|problem| cli::nonsense(&problem, paint))
        .and_then(Cli::from_words);
    let cli = match parsed {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version come as errors too; they are the ones that go to standard output.
            let exit = if error.use_stderr() {
                Exit::Usage
            } else {
                Exit::Ok
            };
            let _ = error.print();
            return exit;
        }
    };
    let output = Output::new(cli.global.color, cli.global.json, cli.global.quiet);
    cli.command
        .execute(cli.global.dfs, output)
        .unwrap_or_else(|error| failure::report(&error, output))
}
