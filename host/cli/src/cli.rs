//! The command line: what is common to all commands, and the list of them.

use std::ffi::OsString;

use clap::builder::styling::{AnsiColor, Styles};
use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::error::ErrorKind;
use clap::{ColorChoice, CommandFactory, FromArgMatches, Parser};

use sovr_broker::settings::storage::StorageKind;

use crate::commands::Command;
use crate::exit::Exit;

const STYLES: Styles = Styles::styled()
    .header(AnsiColor::Green.on_default().bold())
    .usage(AnsiColor::Green.on_default().bold())
    .literal(AnsiColor::Cyan.on_default().bold())
    .placeholder(AnsiColor::Cyan.on_default());

/// Runs and shares compute pods: WebAssembly scripts that work on Golem providers, within what you grant them
#[derive(Debug, Parser)]
#[command(
    name = "sovr-host",
    bin_name = "sovr-host",
    version,
    styles = STYLES,
    max_term_width = 100,
    disable_help_subcommand = true,
    subcommand_required = true,
    arg_required_else_help = true
)]
pub(crate) struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
    /// What holds for every command.
    #[command(flatten)]
    pub global: Global,
}

/// Options that every command takes.
#[derive(Clone, Copy, Debug, clap::Args)]
#[command(next_help_heading = "Global options")]
pub(crate) struct Global {
    /// Where pods are stored: on this machine, or on Swarm through a FairOS-dfs server
    #[arg(long, global = true, value_name = "KIND", value_parser = kind(), hide_possible_values = false)]
    pub dfs: Option<StorageKind>,
    /// When to use colours
    #[arg(long, global = true, value_name = "WHEN", default_value_t = ColorChoice::Auto, hide_possible_values = false)]
    pub color: ColorChoice,
    /// Print results, warnings and errors only
    #[arg(long, short, global = true)]
    pub quiet: bool,
    /// Report as JSON on stdout
    #[arg(long, global = true)]
    pub json: bool,
}

fn kind() -> impl TypedValueParser<Value = StorageKind> {
    let words = StorageKind::ALL.map(|(word, _)| word);
    PossibleValuesParser::new(words).map(|given| {
        let mut kinds = StorageKind::ALL.into_iter();
        let kind = kinds.find(|(word, _)| *word == given);
        kind.map(|(_, kind)| kind).unwrap_or_default()
    })
}

impl Cli {
    /// Parses a command line. The error is clap's own, to be printed and exited with.
    pub(crate) fn from_words(words: Vec<OsString>) -> Result<Cli, clap::Error> {
        let mut tree = command().color(color_of(&words));
        let separated = words.iter().any(|word| word == "--");
        let cli = Cli::from_arg_matches(&tree.try_get_matches_from_mut(words)?)?;
        if let Command::Run(args) = &cli.command
            && !separated
            && let Some(option) = args.option_for_the_pod(&options_of_run(&tree))
        {
            let message = format!(
                "`{option}` stands after the first argument for the pod, so the pod would get it\n\n  \
                 tip: write it before the pod's arguments, or `--` before them if the pod is to get it"
            );
            let run = tree
                .find_subcommand_mut("run")
                .expect("`run` was just parsed");
            return Err(run.error(ErrorKind::ArgumentConflict, message));
        }
        Ok(cli)
    }
}

/// The options of `run`, as they are written.
fn options_of_run(tree: &clap::Command) -> Vec<String> {
    let long = |arg: &clap::Arg| arg.get_long().map(|long| format!("--{long}"));
    let short = |arg: &clap::Arg| arg.get_short().map(|short| format!("-{short}"));
    tree.find_subcommand("run")
        .into_iter()
        .flat_map(clap::Command::get_arguments)
        .flat_map(|arg| [long(arg), short(arg)])
        .flatten()
        .collect()
}

/// The whole command tree with the notes under the help; completions come from the same.
pub(crate) fn command() -> clap::Command {
    Cli::command().after_help(after_help())
}

/// The variables that the program heeds.
const ENVIRONMENT: [(&str, &str); 16] = [
    (
        "SOVR_HOME",
        "Keeps all state in this directory instead of the XDG places",
    ),
    (
        "SOVR_DFS",
        "local or fairos, instead of `kind` in storage.toml",
    ),
    (
        "SOVR_USER",
        "Whose pods are meant, instead of `user` in storage.toml",
    ),
    (
        "SOVR_STORAGE",
        "Where local pods are stored [default: in the data directory]",
    ),
    (
        "SOVR_FAIROS_SERVER",
        "The FairOS-dfs server [default: http://localhost:9090]",
    ),
    (
        "SOVR_FAIROS_CREDENTIALS",
        "A file with your name and password there, for you alone",
    ),
    (
        "SOVR_FAIROS_PASSWORD",
        "Your password there; no pod gets to see it",
    ),
    (
        "SOVR_NETWORK",
        "local or yagna, instead of `kind` in networks.toml",
    ),
    (
        "YAGNA_APPKEY",
        "The key of the Golem daemon; no pod gets to see it",
    ),
    (
        "YAGNA_API_URL",
        "Where the daemon is [default: http://127.0.0.1:7465]",
    ),
    (
        "GSB_URL",
        "Where its bus is, for `provide` [default: unix:/tmp/yagna.sock]",
    ),
    (
        "YAGNA_SUBNET",
        "Where on Golem work is done [default: public]",
    ),
    (
        "YAGNA_PAYMENT_DRIVER",
        "How providers are paid [default: erc20]",
    ),
    ("YAGNA_PAYMENT_NETWORK", "On which chain [default: holesky]"),
    (
        "GOLEM_REGISTRY_URL",
        "Where images of virtual machines are looked up",
    ),
    ("NO_COLOR", "No colours, unless --color says otherwise"),
];

fn after_help() -> String {
    let mut text = String::from("Environment:\n");
    for (name, meaning) in ENVIRONMENT {
        text.push_str(&format!("  {name:<24} {meaning}\n"));
    }
    text.push_str(
        "\nThe original Sovr's spelling works too: --init, --recipe FILE --run, --recipe FILE --persist,\n\
         --task FILE, --fork REFERENCE, --import-pod NAME, --list-pods, --generate-pod-registry,\n\
         --persist-self, user new NAME.\n\n\
         Exit codes:\n",
    );
    for (exit, name, meaning) in Exit::ALL {
        text.push_str(&format!("  {:>3}  {name:<12} {meaning}\n", exit.code()));
    }
    text
}

/// A command line that makes no sense, told in clap's way.
pub(crate) fn nonsense(problem: &str, color: ColorChoice) -> clap::Error {
    command()
        .color(color)
        .error(ErrorKind::ArgumentConflict, problem)
}

/// What `--color` says, before clap has parsed it: help and errors of clap itself obey it too.
pub(crate) fn color_of(words: &[OsString]) -> ColorChoice {
    let words: Vec<&str> = words
        .iter()
        .take_while(|word| *word != "--")
        .filter_map(|word| word.to_str())
        .collect();
    let joined = words.iter().find_map(|word| word.strip_prefix("--color="));
    let separate = words
        .windows(2)
        .find(|pair| pair[0] == "--color")
        .map(|pair| pair[1]);
    match joined.or(separate) {
        Some("always") => ColorChoice::Always,
        Some("never") => ColorChoice::Never,
        _ => ColorChoice::Auto,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<Cli, clap::Error> {
        Cli::from_words(line.split(' ').map(OsString::from).collect())
    }

    fn for_the_pod(line: &str) -> String {
        let Command::Run(args) = parsed(line).unwrap().command else {
            panic!("not run: {line}")
        };
        args.arguments.join(" ")
    }

    #[test]
    fn the_command_tree_is_sound() {
        command().debug_assert();
    }

    #[test]
    fn words_after_the_pod_go_to_the_pod() {
        for line in [
            "sovr-host run p -y -- --frames 0..9",
            "sovr-host run -y p --frames 0..9",
            "sovr-host --json run p --yes --frames 0..9",
            "sovr-host run p --frames 0..9",
        ] {
            assert_eq!(for_the_pod(line), "--frames 0..9");
        }
        assert_eq!(for_the_pod("sovr-host run p -- --yes"), "--yes");
        assert_eq!(for_the_pod("sovr-host run p"), "");
    }

    #[test]
    fn an_option_of_ours_does_not_slip_to_the_pod() {
        for line in [
            "sovr-host run p --frames 0..9 --yes",
            "sovr-host run p a -y",
            "sovr-host run p a --json",
            "sovr-host run p a --help",
            "sovr-host run p a --allow=0",
        ] {
            assert!(
                parsed(line)
                    .unwrap_err()
                    .to_string()
                    .contains("the pod would get it"),
                "{line}"
            );
        }
    }
}
