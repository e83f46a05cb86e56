//! What a pod is and what it asks for, in words and in JSON: what `inspect` shows, and `fork` and `import` of what they
//! brought.

use serde::Serialize;
use serde_json::Value;
use sovr_capability::{Capabilities, Digest, Grants, Narrowing, Size, Untrusted};
use sovr_pod::Card;
use sovr_pod::card::Kind;
use sovr_runtime::examine::{self, Examination};

use super::survey::{Survey, full_name};
use crate::figures::count;
use crate::output::{CARE, FAINT, Output, STRONG};
use crate::wrap;

/// Most characters of a stranger's command line that are shown.
const EXEC: usize = 1024;

/// A line of the facts: what, and the words. Without words it is left out.
pub(super) type Fact = (&'static str, String);

/// A pod that can run, for programs.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct Portrait<'a> {
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

impl<'a> Portrait<'a> {
    /// Of a pod that was looked at.
    pub(super) fn of(survey: &'a Survey) -> Portrait<'a> {
        let examined = &survey.examined;
        let loaded = examined.loaded();
        let recipe = loaded.pod().recipe();
        Portrait {
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
}

/// How much is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Detail {
    /// Also what the component imports and exports, and who made it.
    All,
    /// What one has to know before one runs it; fits on a screen.
    Asks,
}

/// A pod that can run, for people. `more` stands among the facts.
pub(super) fn render(survey: &Survey, more: Vec<Fact>, detail: Detail, output: Output) -> String {
    let paint = output.stdout;
    let examined = &survey.examined;
    let loaded = examined.loaded();
    let recipe = loaded.pod().recipe();
    let examination = examined.examination();

    let kind = match examination.kind {
        examine::Kind::Component => "component",
        examine::Kind::Module => "core module",
    };
    let arguments: Vec<String> = loaded
        .args()
        .iter()
        .skip(1)
        .map(|word| Untrusted::from(word.as_str()).escaped())
        .collect();
    let mut facts = vec![("directory", super::storage::shown(loaded.pod().root()))];
    facts.extend(more);
    facts.extend([
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
    ]);
    let name = Untrusted::from(recipe.name.as_str());
    let mut text = heading(&name, &recipe.version, &recipe.author, output);
    text.push_str(&description(&recipe.description, output));
    text.push('\n');
    text.push_str(&list_facts(&facts, output));

    let explanation = examined.explanation();
    let names = |names: &[_]| names.iter().map(full_name).collect::<Vec<_>>();
    let producers = examination.producers.iter().map(|tool| {
        let name = format!("{} {}", tool.name.escaped(), tool.version.escaped());
        format!("{} ({})", name.trim_end(), tool.field.escaped())
    });
    let mut lists = vec![
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
    ];
    if detail == Detail::All {
        lists.extend([
            ("It imports", STRONG, names(&examination.imports)),
            ("It exports", STRONG, names(&examination.exports)),
            ("Tools that say they made it", STRONG, producers.collect()),
        ]);
    }
    for (heading, style, lines) in lists {
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

/// A task, or a pod that cannot run here, for people.
pub(super) fn render_card(card: &Card, mut facts: Vec<Fact>, output: Output) -> String {
    let many = |number: usize, one, many| match number {
        0 => String::new(),
        number => count(number as u64, one, many),
    };
    facts.extend([
        ("exec", card.exec.escaped_within(EXEC)),
        ("pods", many(card.pods, "pod", "pods")),
        (
            "payload",
            many(
                card.payloads,
                "archive of another pod",
                "archives of other pods",
            ),
        ),
    ]);
    let mut text = heading(&card.name, &card.version, &card.author, output);
    text.push_str(&description(&card.description, output));
    text.push('\n');
    text.push_str(&list_facts(&facts, output));
    text
}

/// The references of a task's pods, in its order; empty for what is no task.
pub(super) fn pods_of(recipe: &Value, card: &Card) -> Vec<Untrusted> {
    match recipe.get("pods") {
        Some(Value::Array(pods)) if card.kind == Kind::Task => pods
            .iter()
            .filter_map(Value::as_str)
            .map(Untrusted::from)
            .collect(),
        _ => Vec::new(),
    }
}

/// A task's pods, below its portrait.
pub(super) fn render_pods(recipe: &Value, pods: &[Untrusted], output: Output) -> String {
    let parallel = recipe.get("mode").and_then(Value::as_str) == Some("parallel");
    let heading = if parallel {
        "It runs, side by side"
    } else {
        "It runs, in this order"
    };
    let mut text = format!("\n{}\n", output.stdout.paint(STRONG, heading));
    text.extend(pods.iter().map(|pod| format!("  {}\n", pod.escaped())));
    text
}

/// Why it cannot run here, below its portrait. Safe to show.
pub(super) fn obstacle(obstacle: &str, output: Output) -> String {
    let heading = output.stdout.paint(CARE, "It cannot run here as it is");
    let mut text = format!("\n{heading}\n");
    for line in obstacle.lines() {
        text.push_str(&wrap::item("  ", line.trim(), output.width()));
    }
    text
}

/// What a recipe describes, in a word.
pub(super) fn kind(card: &Card) -> &'static str {
    match card.kind {
        Kind::Pod => "pod",
        Kind::Task => "task",
        Kind::Unknown => "unknown",
    }
}

fn heading(name: &Untrusted, version: &Untrusted, author: &Untrusted, output: Output) -> String {
    let name = match name.escaped() {
        name if name.is_empty() => "(without a name)".to_owned(),
        name => name,
    };
    let mut text = output.stdout.paint(STRONG, name);
    for (before, words) in [(" ", version), (" by ", author)] {
        if !words.is_empty() {
            text.push_str(&format!("{before}{}", words.escaped()));
        }
    }
    text + "\n"
}

fn description(words: &Untrusted, output: Output) -> String {
    if words.is_empty() {
        return String::new();
    }
    wrap::item("", &words.escaped(), output.width())
}

fn list_facts(facts: &[Fact], output: Output) -> String {
    let facts = facts.iter().filter(|(_, words)| !words.is_empty());
    facts
        .map(|(name, words)| {
            let name = output.stdout.paint(FAINT, format_args!("{name:<10}"));
            format!("{name} {words}\n")
        })
        .collect()
}
