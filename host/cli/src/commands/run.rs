//! `sovr-host run`: a pod from its directory to a finished run.

use std::path::PathBuf;

use sovr_broker::{Consent, Ending, Host, Report, interrupt};
use sovr_capability::{Digest, Home};

use super::block_on;
use crate::consent_prompt::ConsentPrompt;
use crate::exit::Exit;
use crate::output::{Output, width};
use crate::progress;
use crate::{failure, signals, summary};

/// Run a pod
///
/// The pod's script gets what its recipe asks for within your policy, once you have agreed. What it prints goes to
/// standard output, everything about the run to standard error. Ctrl-C ends the run in order and releases its money;
/// a second one ends it at once.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The pod's directory, or its recipe.json
    #[arg(value_name = "POD", value_hint = clap::ValueHint::AnyPath)]
    pod: PathBuf,
    /// Agree to whatever the pod asks for within your policy
    #[arg(long, short, conflicts_with = "allow")]
    yes: bool,
    /// Agree to exactly the request with this digest, as `inspect` shows it
    #[arg(long, value_name = "DIGEST")]
    allow: Option<Digest>,
    /// Arguments for the pod's script, after those of its recipe
    #[arg(
        value_name = "ARGUMENTS",
        trailing_var_arg = true,
        allow_hyphen_values = true
    )]
    pub arguments: Vec<String>,
}

impl Args {
    /// An option of ours among the words for the pod.
    pub(crate) fn option_for_the_pod(&self, options: &[String]) -> Option<&str> {
        let name = |word: &'_ str| word.split('=').next().unwrap_or(word).to_owned();
        self.arguments
            .iter()
            .find(|word| options.contains(&name(word)))
            .map(String::as_str)
    }
}

/// Runs the pod.
pub(crate) fn run(args: Args, output: Output) -> anyhow::Result<Exit> {
    let consent = match (args.yes, args.allow) {
        (true, _) => Consent::Whatever,
        (false, Some(request)) => Consent::Exactly(request),
        (false, None) => Consent::Ask,
    };
    let host = Host::open(Home::from_environment()?)?;
    let loaded = host.load(&args.pod, &args.arguments)?;
    block_on(async {
        let examined = host.examine(loaded).await?;
        // Ctrl-C at the question simply ends the program: nothing has begun.
        let decided = host.decide(examined, consent, &mut ConsentPrompt::new(output))?;

        let (interrupter, interrupt) = interrupt::pair();
        signals::listen(move || interrupter.interrupt())?;
        let display = progress::display(output);
        let prepared = host
            .prepare(decided, display.as_ref(), interrupt.clone())
            .await?;
        let ended = host.run(prepared, display.clone(), interrupt).await;
        display.end();
        Ok(tell_end(&ended?, output))
    })
}

fn tell_end(report: &Report, output: Output) -> Exit {
    if !output.json {
        output.say(summary::render(
            report,
            output.stderr,
            width(std::io::stderr()),
        ));
        if let Some(reason) = summary::failure(report) {
            failure::say(&reason, output);
        }
    }
    match &report.ending {
        Ending::Completed => Exit::Ok,
        Ending::LimitHit { .. } => Exit::Limit,
        Ending::Interrupted => Exit::Interrupted,
        Ending::Broken { .. } => Exit::Unavailable,
        _ => Exit::PodFailed,
    }
}
