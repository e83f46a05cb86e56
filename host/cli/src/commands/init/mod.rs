//! `sovr-host init`: a new pod or task, from flags or from answers.

mod wizard;

use std::path::{Path, PathBuf};

use serde::Serialize;
use sovr_pod::scaffold::{self, New, NewPayload, NewPod, NewTask, What};
use sovr_pod::task::Mode;
use sovr_pod::{Document, Exec};

use super::storage::{shown, typed};
use crate::exit::Exit;
use crate::failure::Usage;
use crate::interview::{Interview, clean};
use crate::output::{HINT, Output, STRONG, width};
use crate::prompt::{Console, StandardConsole};

/// Make a new pod or task
///
/// On a terminal without --name it asks, one question after the other; what the other flags say is offered as the answer.
/// The directory has the pod's name; one that exists is never touched. Its path goes to standard output.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Make a task, which runs several pods, instead of a pod
    #[arg(long, conflicts_with_all = ["exec", "component"])]
    task: bool,
    /// Its name and that of its directory: letters, digits, `.`, `_`, `-`
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// What it does
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true, value_parser = visible)]
    description: String,
    /// Who writes it
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true, value_parser = visible)]
    author: String,
    /// Its version
    #[arg(long, value_name = "TEXT", default_value = "1.0", value_parser = visible)]
    pod_version: String,
    /// Persisting it does not share it
    #[arg(long)]
    private: bool,
    /// A pod's component and its arguments [default: script/NAME.wasm]
    #[arg(long, value_name = "COMMAND", value_parser = visible)]
    exec: Option<String>,
    /// A component that is copied into script/
    #[arg(long, value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    component: Option<PathBuf>,
    /// An archive in a shared pod that it works on, such as a61d…:/images.zip; may be repeated
    #[arg(long, value_name = "REFERENCE:PATH", value_parser = payload)]
    payload: Vec<NewPayload>,
    /// A pod of a task, by its reference, in the order of execution; may be repeated
    #[arg(long, value_name = "REFERENCE", requires = "task", num_args = 1.., value_parser = visible)]
    pods: Vec<String>,
    /// The pods of a task do not need each other's output and may run at once
    #[arg(long, requires = "task")]
    parallel: bool,
    /// The directory in which it is made
    #[arg(long, value_name = "DIRECTORY", default_value = ".", value_hint = clap::ValueHint::DirPath)]
    parent: PathBuf,
}

impl Args {
    /// What the flags say.
    fn offered(&self) -> New {
        let payload = self.payload.clone();
        New {
            name: self.name.clone().unwrap_or_default(),
            description: self.description.clone(),
            author: self.author.clone(),
            version: self.pod_version.clone(),
            public: !self.private,
            what: if self.task {
                What::Task(NewTask {
                    pods: self.pods.clone(),
                    payload,
                    mode: if self.parallel {
                        Mode::Parallel
                    } else {
                        Mode::Sequential
                    },
                })
            } else {
                What::Pod(NewPod {
                    exec: self.exec.clone(),
                    component: self.component.clone(),
                    payload,
                })
            },
        }
    }
}

/// Makes it.
pub(crate) fn init(args: &Args, output: Output) -> anyhow::Result<Exit> {
    let mut new = args.offered();
    if args.name.is_none() {
        let console = StandardConsole;
        if !console.is_interactive() {
            return Err(Usage(
                "there is no terminal to ask at; give --name NAME, and for a task --task and --pods REFERENCE"
                    .to_owned(),
            )
            .into());
        }
        let mut talk = Interview::new(console, output.stderr, width(std::io::stderr()));
        new = wizard::ask(&mut talk, &args.parent, new)?;
    }
    let directory = scaffold::create(&args.parent, &new)?;
    tell(&directory, &new, output)
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
struct Report<'a> {
    name: &'a str,
    kind: &'static str,
    directory: String,
    recipe: String,
    /// Where a pod's component belongs.
    component: Option<String>,
    /// Whether it is there.
    complete: bool,
}

fn tell(directory: &Path, new: &New, output: Output) -> anyhow::Result<Exit> {
    let (root, document) = Document::load(directory)?;
    let component = match &document {
        Document::Pod(recipe) => Exec::parse(&recipe.exec).ok().map(|exec| exec.component),
        Document::Task(_) => None,
    };
    let missing = component
        .as_ref()
        .filter(|component| !root.join(component.as_str()).exists());
    let kind = match document {
        Document::Pod(_) => "pod",
        Document::Task(_) => "task",
    };
    if output.json {
        let path = |path: &Path| path.to_string_lossy().into_owned();
        output.document(&Report {
            name: &new.name,
            kind,
            directory: path(directory),
            recipe: path(&directory.join(sovr_pod::document::RECIPE)),
            component: component.as_ref().map(ToString::to_string),
            complete: missing.is_none(),
        })?;
        return Ok(Exit::Ok);
    }
    let name = output.stderr.paint(STRONG, &new.name);
    let here = typed(directory);
    let next = output.stderr.paint(HINT, "next");
    output.say(format_args!("Made the {kind} {name} in:"));
    output.result(format_args!("{}\n", shown(directory)))?;
    match (missing, kind) {
        (Some(component), _) => output.say(format_args!(
            "\nBuild its script as a component (wasm32-wasip2) and put it there as\n\
             {component}; what it needs it asks for in `capabilities` of recipe.json.\n\
             {next}: sovr-host check {here}"
        )),
        (None, "pod") => output.say(format_args!(
            "\nWhat it needs it asks for in `capabilities` of recipe.json.\n\
             {next}: sovr-host check {here}"
        )),
        (None, _) => output.say(format_args!("{next}: sovr-host run {here}")),
    }
    Ok(Exit::Ok)
}

/// A text without hidden characters.
fn visible(text: &str) -> Result<String, String> {
    match clean(text) {
        Ok(()) => Ok(text.to_owned()),
        Err(problem) => Err(format!("it has {problem}")),
    }
}

/// `REFERENCE:/PATH`.
fn payload(text: &str) -> Result<NewPayload, String> {
    let text = visible(text)?;
    let (reference, data) = text.split_once(':').ok_or(
        "expected the reference of a shared pod, a colon and the path of an archive in it",
    )?;
    Ok(NewPayload {
        reference: reference.to_owned(),
        data: data.to_owned(),
    })
}
