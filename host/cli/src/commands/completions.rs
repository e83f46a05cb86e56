//! `sovr-host completions`: a script for the shell, from the same tree as the help.

use clap_complete::Shell;

use crate::exit::Exit;
use crate::output::Output;

/// Print the completion script for a shell
///
/// For instance: `sovr-host completions bash > ~/.local/share/bash-completion/completions/sovr-host`
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The shell
    shell: Shell,
}

/// Prints the script.
pub(crate) fn completions(args: &Args, output: Output) -> anyhow::Result<Exit> {
    let mut script = Vec::new();
    clap_complete::generate(
        args.shell,
        &mut crate::cli::command(),
        "sovr-host",
        &mut script,
    );
    output.result(String::from_utf8_lossy(&script))?;
    Ok(Exit::Ok)
}
