//! `sovr-host inspect`: what a pod is and what it asks for.

use serde::Serialize;
use sovr_capability::{Capabilities, Digest, Grants, Narrowing, Size, Untrusted};
use sovr_runtime::examine::{Examination, Kind};

use super::PodArgs;
use super::survey::{Survey, full_name};
use crate::exit::Exit;
use crate::output::{CARE, FAINT, Output, STRONG};
use crate::wrap;

/// Show what a pod is and what it asks for
///
/// Digests, capabilities in plain words, the component's imports and exports, and the tools that say they made it.
/// Nothing is compiled, run or written.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    pod: PodArgs,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
struct Report<'a> {
    name: &'a str,
    version: &'a Untrusted,
    author: &'a Untrusted,
    description: &'a Untrusted,
    root: String,
    args: &'a [String],
    component: Component<'a>,
    /// What `run --allow` takes.
    request: Digest,
    requested: &'a Capabilities,
    granted: &'a Grants,
    cut_by_policy: &'a [Narrowing],
    consent_given: bool,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
struct Component<'a> {
    path: String,
    size: u64,
    sha256: Digest,
    #[serde(flatten)]
    examination: &'a Examination,
}

/// Shows it.
pub(crate) fn inspect(args: &Args, output: Output) -> anyhow::Result<Exit> {
    let survey = Survey::of(&args.pod.pod)?;
    if output.json {
        output.document(&report(&survey))?;
    } else {
        output.result(render(&survey, output))?;
    }
    Ok(Exit::Ok)
}

fn report(survey: &Survey) -> Report<'_> {
    let examined = &survey.examined;
    let loaded = examined.loaded();
    let recipe = loaded.pod().recipe();
    Report {
        name: &recipe.name,
        version: &recipe.version,
        author: &recipe.author,
        description: &recipe.description,
        root: loaded.pod().root().to_string_lossy().into_owned(),
        args: loaded.args(),
        component: Component {
            path: loaded.pod().exec().component.to_string(),
            size: examined.component_size(),
            sha256: examined.component(),
            examination: examined.examination(),
        },
        request: examined.request(),
        requested: examined.asked(),
        granted: examined.grants(),
        cut_by_policy: examined.narrowings(),
        consent_given: survey.consent.is_some(),
    }
}

fn render(survey: &Survey, output: Output) -> String {
    let paint = output.stdout;
    let examined = &survey.examined;
    let loaded = examined.loaded();
    let recipe = loaded.pod().recipe();
    let examination = examined.examination();

    let mut text = paint.paint(STRONG, &recipe.name);
    for (before, words) in [(" ", &recipe.version), (" by ", &recipe.author)] {
        if !words.is_empty() {
            text.push_str(&format!("{before}{}", words.escaped()));
        }
    }
    text.push('\n');
    if !recipe.description.is_empty() {
        text.push_str(&format!("{}\n", recipe.description.escaped()));
    }

    let kind = match examination.kind {
        Kind::Component => "component",
        Kind::Module => "core module",
    };
    let arguments: Vec<String> = loaded
        .args()
        .iter()
        .skip(1)
        .map(|word| Untrusted::from(word.as_str()).escaped())
        .collect();
    text.push('\n');
    for (name, words) in [
        (
            "directory",
            Untrusted::from(loaded.pod().root().to_string_lossy().into_owned()).escaped(),
        ),
        ("component", loaded.pod().exec().component.to_string()),
        (
            "",
            format!(
                "{kind}, {}",
                Size::bytes(examined.component_size()).rounded()
            ),
        ),
        ("sha256", examined.component().to_string()),
        ("arguments", arguments.join(" ")),
        ("request", examined.request().to_string()),
        ("consent", survey.consent_in_words()),
    ] {
        if !words.is_empty() {
            text.push_str(&format!(
                "{} {words}\n",
                paint.paint(FAINT, format_args!("{name:<10}"))
            ));
        }
    }

    let explanation = examined.explanation();
    let names = |names: &[_]| names.iter().map(full_name).collect::<Vec<_>>();
    let producers = examination.producers.iter().map(|tool| {
        let name = format!("{} {}", tool.name.escaped(), tool.version.escaped());
        format!("{} ({})", name.trim_end(), tool.field.escaped())
    });
    for (heading, style, lines) in [
        ("It may, once you agree", STRONG, explanation.allowed),
        (
            "It asks for more than your policy allows, and does not get",
            CARE,
            explanation.narrowed,
        ),
        (
            "It does not ask for, and cannot",
            STRONG,
            explanation.not_asked,
        ),
        ("It imports", STRONG, names(&examination.imports)),
        ("It exports", STRONG, names(&examination.exports)),
        ("Tools that say they made it", STRONG, producers.collect()),
    ] {
        if !lines.is_empty() {
            text.push_str(&format!("\n{}\n", paint.paint(style, heading)));
            text.extend(
                lines
                    .iter()
                    .map(|line| wrap::item("  ", line, output.width())),
            );
        }
    }
    text
}
