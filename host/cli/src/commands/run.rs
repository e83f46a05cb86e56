//! `sovr-host run`: a pod, or a task of several, from its directory to its results.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use sovr_broker::settings::storage::StorageKind;
use sovr_broker::task::{self, Outcome, TaskReport};
use sovr_broker::{Answer, Ask, Consent, Ending, Host, Question, Report, interrupt};
use sovr_capability::Digest;
use sovr_pod::Document;

use super::{NetworkArgs, block_on, storage};
use crate::consent_prompt::ConsentPrompt;
use crate::exit::Exit;
use crate::failure::Usage;
use crate::output::{Output, width};
use crate::progress::{self, TaskDisplay};
use crate::{failure, signals, summary};

/// Run a pod or a task
///
/// The pod's script gets what its recipe asks for within your policy, once you have agreed. What it prints goes to
/// standard output, everything about the run to standard error. Ctrl-C ends the run in order and releases its money;
/// a second one ends it at once.
///
/// Archives that a recipe names by reference are fetched into payload/external and pinned in sovr.lock; if one has
/// changed since, nothing runs until you say `lock --update`.
///
/// A task runs its pods in order, each in a directory beside the task's recipe, with the output of the pod before. Run
/// again, it goes on after the last pod whose inputs and component have not changed.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Directory of the pod or task, or its recipe.json
    #[arg(value_name = "POD", value_hint = clap::ValueHint::AnyPath)]
    pod: PathBuf,
    /// Agree to whatever the pod asks for within your policy
    #[arg(long, short, conflicts_with = "allow")]
    yes: bool,
    /// Agree to exactly the request with this digest, as `inspect` shows it; for a task, once for each pod
    #[arg(long, value_name = "DIGEST")]
    allow: Vec<Digest>,
    #[command(flatten)]
    network: NetworkArgs,
    /// Of a task: run the pods after one that failed as well
    #[arg(long)]
    keep_going: bool,
    /// Of a task: run all pods at the same time; none gets the output of another
    #[arg(long)]
    parallel: bool,
    /// Of a task: run every pod again, whatever has changed
    #[arg(long)]
    afresh: bool,
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

/// Runs it.
pub(crate) fn run(args: Args, dfs: Option<StorageKind>, output: Output) -> anyhow::Result<Exit> {
    let consent = match (args.yes, args.allow.is_empty()) {
        (true, _) => Consent::Whatever,
        (false, false) => Consent::Exactly(args.allow.clone()),
        (false, true) => Consent::Ask,
    };
    let host = storage::host(dfs, output)?.with_network(args.network.network);
    let (_, document) = Document::load(&args.pod).map_err(sovr_broker::Error::from)?;
    match document {
        Document::Pod(_) => run_pod(&args, &host, consent, output),
        Document::Task(_) => run_task(&args, &host, &consent, output),
    }
}

fn run_pod(args: &Args, host: &Host, consent: Consent, output: Output) -> anyhow::Result<Exit> {
    for (given, option) in [
        (args.keep_going, "--keep-going"),
        (args.parallel, "--parallel"),
        (args.afresh, "--afresh"),
    ] {
        if given {
            let words = format!("{option} is for tasks, and {} is a pod", args.pod.display());
            return Err(Usage(words).into());
        }
    }
    let loaded = host.load(&args.pod, &args.arguments)?;
    block_on(async {
        let examined = host.examine(loaded).await?;
        // Ctrl-C at the question simply ends the program: nothing has begun.
        let decided = host.decide(examined, consent, &mut ConsentPrompt::new(output))?;

        let (interrupter, interrupt) = interrupt::pair();
        signals::listen(move || interrupter.interrupt())?;
        let display = progress::display(output);
        let observer: Arc<dyn sovr_broker::Observer> = display.clone();
        let supplied = host
            .supply(decided, Vec::new(), &observer, interrupt.clone())
            .await?;
        let prepared = host
            .prepare(supplied, &*observer, interrupt.clone())
            .await?;
        let ended = host.run(prepared, observer, interrupt).await;
        display.end();
        Ok(tell_end(&ended?, output))
    })
}

fn run_task(args: &Args, host: &Host, consent: &Consent, output: Output) -> anyhow::Result<Exit> {
    if !args.arguments.is_empty() {
        let words = "arguments are for the script of a pod, and this is a task; write them into the recipes of its pods";
        return Err(Usage(words.to_owned()).into());
    }
    let options = task::Options {
        keep_going: args.keep_going,
        parallel: args.parallel,
        afresh: args.afresh,
    };
    block_on(async {
        let display = TaskDisplay::new(output);
        let mut ask = EachPod::new(output);
        let (interrupter, mut interrupt) = interrupt::pair();
        let asking = Arc::clone(&ask.asking);
        signals::listen(move || {
            // At a question nothing has begun, and nobody but the user can go on.
            if asking.load(Ordering::SeqCst) {
                std::process::exit(Exit::Interrupted.code().into());
            }
            interrupter.interrupt();
        })?;
        let fetched = tokio::select! {
            fetched = host.fetch_task(&args.pod, &display) => fetched?,
            () = interrupt.asked() => return Err(sovr_broker::Error::Interrupted.into()),
        };
        let decided = host
            .decide_task(fetched, &options, consent, &mut ask)
            .await?;
        let display = display.side_by_side(decided.is_parallel());
        let report = host
            .run_task(decided, &options, &display, interrupt)
            .await?;
        Ok(tell_task(&report, output))
    })
}

/// Asks about one pod after the other.
struct EachPod {
    output: Output,
    asking: Arc<AtomicBool>,
}

impl EachPod {
    fn new(output: Output) -> EachPod {
        EachPod {
            output,
            asking: Arc::default(),
        }
    }
}

impl Ask for EachPod {
    fn ask(&mut self, question: &Question) -> Answer {
        self.asking.store(true, Ordering::SeqCst);
        let answer = ConsentPrompt::new(self.output).ask(question);
        self.asking.store(false, Ordering::SeqCst);
        answer
    }
}

fn tell_task(report: &TaskReport, output: Output) -> Exit {
    if output.json {
        progress::write_event(&serde_json::json!({ "event": "task-finished", "report": report }));
    } else {
        output.say(summary::render_task(
            report,
            output.stderr,
            width(std::io::stderr()),
        ));
    }
    let mut exit = Exit::Ok;
    for (step, outcome) in &report.steps {
        let (why, code) = match outcome {
            Outcome::Ran { report } => (summary::failure(report), exit_of(&report.ending)),
            Outcome::Refused { why, kind } => (Some(why.clone()), failure::exit_of_kind(*kind)),
            Outcome::Unchanged { .. } | Outcome::NotRun => (None, Exit::Ok),
        };
        if let Some(why) = why
            && !output.json
        {
            failure::say(&format!("{}: {why}", step.directory), output);
        }
        if exit == Exit::Ok {
            exit = code;
        }
    }
    exit
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
    exit_of(&report.ending)
}

fn exit_of(ending: &Ending) -> Exit {
    match ending {
        Ending::Completed => Exit::Ok,
        Ending::LimitHit { .. } => Exit::Limit,
        Ending::Interrupted => Exit::Interrupted,
        Ending::Broken { .. } => Exit::Unavailable,
        _ => Exit::PodFailed,
    }
}
