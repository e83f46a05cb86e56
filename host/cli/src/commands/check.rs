//! `sovr-host check`: whether a pod can run, and what would be odd about it.

use std::collections::BTreeSet;
use std::path::Path;

use serde::Serialize;
use sovr_broker::host::Ungranted;
use sovr_capability::{Digest, Narrowing, Size};
use sovr_pod::{Document, Finding, Lock, Task, Tree};

use super::PodArgs;
use super::survey::Survey;
use crate::exit::Exit;
use crate::figures::count;
use crate::output::{BAD, CARE, GOOD, Output, STRONG};

/// Check a pod or a task without running it
///
/// Reads the recipe, looks over the directories, holds what the component imports against what it would be granted.
/// Nothing is compiled or run, and nothing in the pod is written. Exits with 6 if the pod cannot run.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    pod: PodArgs,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
struct Report {
    pod: String,
    /// Whether `run` would begin, once the user agrees.
    runnable: bool,
    obstacles: Vec<String>,
    findings: Vec<Finding>,
    ungranted: Vec<Ungranted>,
    cut_by_policy: Vec<Narrowing>,
    request: Digest,
    consent_given: bool,
}

/// Checks it.
pub(crate) fn check(args: &Args, output: Output) -> anyhow::Result<Exit> {
    if let Ok((directory, Document::Task(task))) = Document::load(&args.pod.pod) {
        return check_task(&directory, &task, output);
    }
    let survey = Survey::of(&args.pod.pod)?;
    let examined = &survey.examined;
    let obstacles = examined.obstacles();
    let report = Report {
        pod: examined.loaded().pod().recipe().name.clone(),
        runnable: obstacles.is_empty(),
        obstacles: obstacles.iter().map(in_words).collect(),
        findings: examined.loaded().findings().to_vec(),
        ungranted: examined.ungranted(),
        cut_by_policy: examined.narrowings().to_vec(),
        request: examined.request(),
        consent_given: survey.consent.is_some(),
    };
    if output.json {
        output.document(&report)?;
    } else {
        output.result(render(&survey, &report, output))?;
    }
    Ok(if report.runnable {
        Exit::Ok
    } else {
        Exit::InvalidPod
    })
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
struct TaskReport<'a> {
    task: &'a str,
    pods: usize,
    /// References that it names, and how many of them are pinned.
    references: usize,
    pinned: usize,
}

/// A task whose recipe is valid. Its pods are elsewhere; a run looks at each.
fn check_task(directory: &Path, task: &Task, output: Output) -> anyhow::Result<Exit> {
    let tree = Tree::open(directory)?;
    let lock = Lock::read(&tree)?.unwrap_or_default();
    let payload = task.payload.iter().map(|archive| &archive.reference);
    let references: BTreeSet<&String> = task.pods.iter().chain(payload).collect();
    let pinned = references
        .iter()
        .filter(|reference| lock.references.contains_key(**reference));
    let report = TaskReport {
        task: &task.name,
        pods: task.pods.len(),
        pinned: pinned.count(),
        references: references.len(),
    };
    if output.json {
        output.document(&report)?;
        return Ok(Exit::Ok);
    }
    let paint = output.stdout;
    let ok = paint.paint(GOOD, format_args!("{:<7}", "ok"));
    let pods = count(report.pods as u64, "pod", "pods");
    let mut text = format!("{ok}  recipe     {} is a valid task of {pods}\n", task.name);
    let (mark, words) = match report.references - report.pinned {
        0 => (ok, "all references are pinned in sovr.lock".to_owned()),
        open => {
            let of = format!("{open} of {} references", report.references);
            let words = format!("{of} not pinned yet; `lock` or the first run does it");
            (paint.paint(STRONG, format_args!("{:<7}", "info")), words)
        }
    };
    text.push_str(&format!("{mark}  lock       {words}\n"));
    output.result(text)?;
    Ok(Exit::Ok)
}

fn in_words(obstacle: &sovr_broker::Error) -> String {
    match obstacle.hint() {
        Some(hint) => format!("{obstacle}; {hint}"),
        None => obstacle.to_string(),
    }
}

fn render(survey: &Survey, report: &Report, output: Output) -> String {
    let paint = output.stdout;
    let mut text = String::new();
    let mut line = |style, mark: &str, what: &str, words: &str| {
        let mark = paint.paint(style, format_args!("{mark:<7}"));
        text.push_str(&format!("{mark}  {what:<9}  {words}\n"));
    };

    let examined = &survey.examined;
    line(GOOD, "ok", "recipe", &format!("{} is valid", report.pod));
    if report.findings.is_empty() {
        line(GOOD, "ok", "layout", "only directories and plain files");
    }
    for finding in &report.findings {
        line(CARE, "warning", "layout", &finding.to_string());
    }
    if report.runnable {
        let imports = count(
            examined.examination().imports.len() as u64,
            "interface",
            "interfaces",
        );
        let component = examined.loaded().pod().exec().component.to_string();
        let size = Size::bytes(examined.component_size()).rounded();
        line(
            GOOD,
            "ok",
            "component",
            &format!("{component} ({size}) imports {imports}, all of them offered"),
        );
    }
    for obstacle in &report.obstacles {
        line(BAD, "error", "component", obstacle);
    }
    for Ungranted { import, section } in &report.ungranted {
        let words = format!(
            "{import} is imported, but the recipe's capabilities have no `{section}`: calls are refused"
        );
        line(CARE, "warning", "rights", &words);
    }
    for narrowing in &report.cut_by_policy {
        line(CARE, "warning", "policy", &narrowing.to_string());
    }
    if report.ungranted.is_empty() && report.cut_by_policy.is_empty() {
        line(
            GOOD,
            "ok",
            "rights",
            "what it asks for is within your policy",
        );
    }
    line(STRONG, "info", "consent", &survey.consent_in_words());
    text
}
