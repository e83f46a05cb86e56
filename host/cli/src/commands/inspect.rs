//! `sovr-host inspect`: what a pod is and what it asks for.

use std::path::Path;

use serde::Serialize;
use serde_json::Value;
use sovr_capability::Untrusted;
use sovr_pod::{Card, Document, Task};

use super::PodArgs;
use super::portrait::{self, Detail, Portrait};
use super::storage::shown;
use super::survey::Survey;
use crate::exit::Exit;
use crate::output::Output;

/// Show what a pod is and what it asks for
///
/// Of a task: the pods that it runs. Of a pod: digests, capabilities in plain words, the component's imports and exports, and the tools that say they made it.
/// Nothing is compiled or run, and nothing in the pod is written.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    pod: PodArgs,
}

/// Shows it.
pub(crate) fn inspect(args: &Args, output: Output) -> anyhow::Result<Exit> {
    if let Ok((directory, Document::Task(task))) = Document::load(&args.pod.pod) {
        return show_task(&directory, &task, output);
    }
    let survey = Survey::of(&args.pod.pod)?;
    if output.json {
        output.document(&Portrait::of(&survey))?;
    } else {
        output.result(portrait::render(&survey, Vec::new(), Detail::All, output))?;
    }
    Ok(Exit::Ok)
}

/// A task for programs.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
struct TaskReport {
    root: String,
    #[serde(flatten)]
    card: Card,
    /// The pods, in the order of execution.
    references: Vec<Untrusted>,
}

fn show_task(directory: &Path, task: &Task, output: Output) -> anyhow::Result<Exit> {
    let recipe = Value::Object(task.document.clone());
    let card = Card::of(&recipe);
    let pods = portrait::pods_of(&recipe, &card);
    if output.json {
        output.document(&TaskReport {
            root: directory.to_string_lossy().into_owned(),
            card,
            references: pods,
        })?;
        return Ok(Exit::Ok);
    }
    let mut text = portrait::render_card(&card, vec![("directory", shown(directory))], output);
    text.push_str(&portrait::render_pods(&recipe, &pods, output));
    output.result(text)?;
    Ok(Exit::Ok)
}
