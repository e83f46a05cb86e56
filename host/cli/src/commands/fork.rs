//! `sovr-host fork`: somebody else's pod into a directory of one's own, or what would change if it came again.

use std::path::{Path, PathBuf};

use serde::Serialize;
use sovr_broker::settings::storage::StorageKind;
use sovr_capability::causes::in_full;
use sovr_capability::{Change, ChangeKind, Digest, Size, Untrusted};
use sovr_dfs::Reference;
use sovr_pod::card::Kind;
use sovr_pod::lock::Pin;
use sovr_pod::{Card, Document, Lock, Tree};
use sovr_protocol::{Comparison, Forked};

use super::list::PROGRAM;
use super::portrait::{self, Detail, Fact, Portrait};
use super::storage::{self, Storage, new_directory, shown, typed};
use super::survey::Survey;
use crate::exit::Exit;
use crate::failure::Usage;
use crate::output::{BAD, CARE, FAINT, GOOD, HINT, Output, STRONG};
use crate::wrap;

/// Bring a shared pod or task into a new directory
///
/// It is fetched by its reference, checked, unpacked by a confined process and pinned by digest in sovr.lock. Then it is
/// shown with what it asks for; nothing of it runs. A directory that exists is never touched.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// What its owner gave you: 64 or 128 hexadecimal digits
    #[arg(value_name = "REFERENCE", value_parser = storage::reference, required_unless_present = "diff")]
    reference: Option<Reference>,
    /// The directory to be made [default: the pod's name, in the current directory]
    #[arg(long, value_name = "DIRECTORY", value_hint = clap::ValueHint::DirPath)]
    into: Option<PathBuf>,
    /// Bring nothing; show what changed since the earlier fork in this directory
    ///
    /// Without a REFERENCE it is the one that this fork came by.
    #[arg(long, value_name = "POD", conflicts_with = "into", value_hint = clap::ValueHint::DirPath)]
    diff: Option<PathBuf>,
}

/// Forks, or compares.
pub(crate) fn fork(args: &Args, dfs: Option<StorageKind>, output: Output) -> anyhow::Result<Exit> {
    match (&args.diff, args.reference) {
        (Some(earlier), Some(reference)) => compare(reference, earlier, dfs, output),
        (Some(earlier), None) => compare(origin(earlier)?, earlier, dfs, output),
        (None, Some(reference)) => {
            let (parent, name) = new_directory(args.into.as_deref())?;
            let storage = Storage::open(dfs, output)?;
            let forked = storage.stoppable(storage.protocol.fork(&reference, parent, name))?;
            drop(storage);
            tell(&forked, output)
        }
        (None, None) => Err(Usage("name the reference of a shared pod".to_owned()).into()),
    }
}

/// A pod that was brought.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
struct Report<'a> {
    pod: &'a str,
    directory: String,
    reference: Option<String>,
    archive: Pin,
    remarks: &'a [String],
    card: &'a Card,
    /// The pods of a task, in its order.
    pods: Vec<Untrusted>,
    /// As `inspect` shows it; none for a task and for what cannot run.
    inspection: Option<Portrait<'a>>,
    /// Why it cannot run here as it is.
    obstacle: Option<String>,
}

/// Shows what was brought, in the words of `inspect`.
pub(super) fn tell(forked: &Forked, output: Output) -> anyhow::Result<Exit> {
    let card = Card::of(&forked.recipe);
    let survey = match (card.kind, &card.obstacle) {
        (Kind::Pod, None) => Some(Survey::of(&forked.directory)),
        _ => None,
    };
    let (survey, obstacle) = match survey {
        Some(Ok(survey)) => (Some(survey), None),
        // It was brought all the same; that it does not run is for its reader to know.
        Some(Err(error)) => (None, Some(Untrusted::from(in_full(error.as_ref())).block())),
        // The program itself: there is nothing in it to run as a pod.
        None if forked.name.as_str() == PROGRAM => (None, None),
        None => (None, card.obstacle.clone()),
    };
    let obstacle = obstacle.or_else(|| {
        let obstacles = survey.as_ref()?.examined.obstacles();
        obstacles.first().map(ToString::to_string)
    });
    let pods = portrait::pods_of(&forked.recipe, &card);
    if output.json {
        output.document(&Report {
            pod: forked.name.as_str(),
            directory: forked.directory.to_string_lossy().into_owned(),
            reference: forked.reference.map(|reference| reference.to_string()),
            archive: forked.archive,
            remarks: &forked.remarks,
            card: &card,
            pods,
            inspection: survey.as_ref().map(Portrait::of),
            obstacle,
        })?;
        return Ok(Exit::Ok);
    }
    for remark in &forked.remarks {
        output.warn(remark);
    }
    let came = facts(forked);
    let text = match &survey {
        Some(survey) => {
            let mut text = portrait::render(survey, came, Detail::Asks, output);
            if let Some(obstacle) = &obstacle {
                text.push_str(&portrait::obstacle(obstacle, output));
            }
            text
        }
        None => {
            let mut facts = vec![("directory", shown(&forked.directory))];
            facts.extend(came);
            let mut text = portrait::render_card(&card, facts, output);
            if !pods.is_empty() {
                text.push_str(&portrait::render_pods(&forked.recipe, &pods, output));
            }
            if let Some(obstacle) = &obstacle {
                text.push_str(&portrait::obstacle(obstacle, output));
            }
            text
        }
    };
    output.result(text)?;
    advise(forked, &card, obstacle.is_none(), output);
    Ok(Exit::Ok)
}

/// What came, and under which digest.
fn facts(forked: &Forked) -> Vec<Fact> {
    let reference = forked.reference.map_or(String::new(), |r| r.to_string());
    vec![
        ("reference", reference),
        ("archive", forked.archive.sha256.to_string()),
        ("", Size::bytes(forked.archive.size).rounded()),
    ]
}

/// What to do with it.
fn advise(forked: &Forked, card: &Card, runs: bool, output: Output) {
    let directory = typed(&forked.directory);
    let next = output.stderr.paint(HINT, "next");
    output.say("");
    if forked.reference.is_some() {
        output.say("Pinned in sovr.lock; `fork --diff` shows what a newer one would change.");
    }
    if forked.name.as_str() == PROGRAM {
        output.say(format_args!("{next}: chmod +x {directory}/sovr-host"));
        return;
    }
    if runs {
        output.say(format_args!("{next}: sovr-host run {directory}"));
        return;
    }
    if card.kind == Kind::Pod {
        output.say(wrap::item(
            "",
            "To port it: compile its script to a WebAssembly component (wasm32-wasip2) that calls sovr:pod/golem instead of yapapi, put it into script/, name it in `golem.exec`, and ask in `capabilities` of recipe.json for what it needs.",
            crate::output::width(std::io::stderr()),
        ).trim_end());
    }
    output.say(format_args!("{next}: sovr-host check {directory}"));
}

/// The reference by which a pod was forked.
fn origin(earlier: &Path) -> anyhow::Result<Reference> {
    let (directory, _) = Document::load(earlier)?;
    let lock = Lock::read(&Tree::open(&directory)?)?;
    let Some(origin) = lock.and_then(|lock| lock.origin) else {
        let directory = shown(&directory);
        return Err(Usage(format!(
            "{directory} is no fork: it has no sovr.lock that says where it came from; name the reference to compare it with"
        ))
        .into());
    };
    storage::reference(&origin.reference).map_err(|problem| Usage(problem).into())
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
struct Differences<'a> {
    pod: &'a str,
    reference: String,
    changed: bool,
    archive: BeforeAfter<Option<Pin>>,
    component: Option<BeforeAfter<Option<Digest>>>,
    exec: Option<BeforeAfter<&'a Untrusted>>,
    capabilities: &'a [Change],
}

#[derive(Debug, Serialize)]
struct BeforeAfter<T> {
    before: T,
    after: T,
}

fn compare(
    reference: Reference,
    earlier: &Path,
    dfs: Option<StorageKind>,
    output: Output,
) -> anyhow::Result<Exit> {
    let storage = Storage::open(dfs, output)?;
    let comparison = storage.stoppable(storage.protocol.compare(&reference, earlier))?;
    drop(storage);
    if output.json {
        output.document(&Differences {
            pod: comparison.name.as_str(),
            reference: reference.to_string(),
            changed: is_changed(&comparison),
            archive: BeforeAfter {
                before: comparison.before,
                after: Some(comparison.after),
            },
            component: comparison
                .component
                .map(|(before, after)| BeforeAfter { before, after }),
            exec: comparison
                .exec
                .as_ref()
                .map(|(before, after)| BeforeAfter { before, after }),
            capabilities: &comparison.changes,
        })?;
        return Ok(Exit::Ok);
    }
    output.result(render(&comparison, output))?;
    if is_changed(&comparison) {
        let next = output.stderr.paint(HINT, "next");
        output.say(format_args!(
            "\nNothing was brought.\n{next}: sovr-host fork {reference} --into NEW-DIRECTORY"
        ));
    }
    Ok(Exit::Ok)
}

fn is_changed(comparison: &Comparison) -> bool {
    comparison.before != Some(comparison.after)
        || comparison.component.is_some()
        || comparison.exec.is_some()
        || !comparison.changes.is_empty()
}

fn render(comparison: &Comparison, output: Output) -> String {
    let paint = output.stdout;
    let name = paint.paint(STRONG, comparison.name.as_str());
    if !is_changed(comparison) {
        return format!("{name} is what you forked: nothing changed.\n");
    }
    let mut text = format!("{name}, your fork against what is shared now\n\n");
    let mut pair = |what: &str, before: String, after: String| {
        for (label, when, words) in [(what, "before", before), ("", "now", after)] {
            let label = paint.paint(FAINT, format_args!("{label:<9} {when:<6}"));
            text.push_str(&format!("{label} {words}\n"));
        }
    };
    if comparison.before != Some(comparison.after) {
        let unknown = || "not known: it has no sovr.lock with its origin".to_owned();
        let before = comparison
            .before
            .map_or_else(unknown, |pin| pin.sha256.to_string());
        pair("archive", before, comparison.after.sha256.to_string());
    }
    if let Some((before, after)) = &comparison.component {
        let digest = |digest: &Option<Digest>| digest.map_or("none".to_owned(), |d| d.to_string());
        pair("component", digest(before), digest(after));
    }
    if let Some((before, after)) = &comparison.exec {
        let words = |exec: &Untrusted| exec.escaped_within(1024);
        pair("exec", words(before), words(after));
    }
    text.push('\n');
    if comparison.changes.is_empty() {
        text.push_str("It asks for the same as before.\n");
        return text;
    }
    text.push_str(&format!("{}\n", paint.paint(STRONG, "What it asks for")));
    for change in &comparison.changes {
        let (style, mark) = match change.kind {
            ChangeKind::Added | ChangeKind::Widened => (BAD, "+"),
            ChangeKind::Changed => (CARE, "~"),
            ChangeKind::Narrowed | ChangeKind::Removed => (GOOD, "-"),
        };
        let item = wrap::item(&format!("  {mark} "), &change.in_words(), output.width());
        text.push_str(&format!(
            "{}\n",
            paint.paint(style, item.trim_end_matches('\n'))
        ));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::Paint;

    const PLAIN: Output = Output {
        json: false,
        quiet: false,
        stdout: Paint(false),
        stderr: Paint(false),
    };

    fn comparison() -> Comparison {
        let pin = Pin {
            sha256: Digest::of("archive"),
            size: 7,
        };
        Comparison {
            name: "render".parse().unwrap(),
            before: Some(pin),
            after: pin,
            component: None,
            exec: None,
            changes: Vec::new(),
        }
    }

    #[test]
    fn the_same_archive_is_told_in_one_line() {
        assert_eq!(
            render(&comparison(), PLAIN),
            "render is what you forked: nothing changed.\n"
        );
    }

    #[test]
    fn what_is_more_is_marked_and_a_strangers_words_are_escaped() {
        let change = |kind, before: Option<&str>, after: Option<&str>| Change {
            key: "golem.budget".to_owned(),
            kind,
            before: before.map(str::to_owned),
            after: after.map(str::to_owned),
        };
        let text = render(
            &Comparison {
                before: None,
                component: Some((None, Some(Digest::of("new")))),
                exec: Some(("a.wasm".into(), "b.wasm \u{1b}[2J\n+".into())),
                changes: vec![
                    change(ChangeKind::Widened, Some("1 GLM"), Some("10 GLM")),
                    change(ChangeKind::Removed, Some("x"), None),
                ],
                ..comparison()
            },
            PLAIN,
        );
        for line in [
            "archive   before not known: it has no sovr.lock with its origin",
            "component before none",
            "exec      before a.wasm",
            "          now    b.wasm \\u{1b}[2J\\n+",
            "  + golem.budget widened from 1 to 10 GLM",
            "  - golem.budget removed: x",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}\n{text}");
        }
        assert!(!text.contains('\u{1b}'));
    }
}
