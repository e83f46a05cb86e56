//! `sovr-host check`: whether a pod can run, and what would be odd about it.

use serde::Serialize;
use sovr_broker::host::Ungranted;
use sovr_capability::{Digest, Narrowing, Size};
use sovr_pod::Finding;

use super::PodArgs;
use super::survey::Survey;
use crate::exit::Exit;
use crate::figures::count;
use crate::output::{BAD, CARE, GOOD, Output, STRONG};

/// Check a pod without running it
///
/// Reads the recipe, looks over the directories, holds what the component imports against what it would be granted.
/// Nothing is compiled, run or written. Exits with 6 if the pod cannot run.
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
