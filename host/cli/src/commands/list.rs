//! `sovr-host list`: the user's pods, and those of others that were forked.

use sovr_broker::settings::storage::StorageKind;
use sovr_capability::Untrusted;
use sovr_pod::Card;
use sovr_protocol::{ForkedPod, OwnPod};

use super::portrait;
use super::storage::Storage;
use crate::exit::Exit;
use crate::output::{CARE, FAINT, Output, STRONG};
use crate::table::{Align, Table, cut};

/// List your pods, and those that you forked
///
/// Below each pod stand the references that it was shared under, oldest first, and those of its output. What cannot run
/// here is marked with the reason.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {}

/// The program itself, as `persist-self` stores it: neither a pod nor a task, and rightly so.
pub(super) const PROGRAM: &str = "Sovr";

/// Lists them.
pub(crate) fn list(_: &Args, dfs: Option<StorageKind>, output: Output) -> anyhow::Result<Exit> {
    let storage = Storage::open(dfs, output)?;
    let listing = storage.stoppable(storage.protocol.list())?;
    drop(storage);
    if output.json {
        output.document(&listing)?;
        return Ok(Exit::Ok);
    }
    let mut parts = Vec::new();
    if !listing.own.is_empty() {
        parts.push(own(&listing.own, "Your pods", output));
    }
    if !listing.forked.is_empty() {
        parts.push(forked(&listing.forked, output));
    }
    output.result(parts.join("\n"))?;
    for skipped in &listing.skipped {
        output.warn(skipped);
    }
    if listing.own.is_empty() && listing.forked.is_empty() {
        output.say(
            "You have no pods in storage yet.\n  \
             sovr-host init              makes a pod\n  \
             sovr-host persist POD       stores it, and shares it if it is public\n  \
             sovr-host fork REFERENCE    brings a pod that somebody shared",
        );
    }
    Ok(Exit::Ok)
}

/// The user's own pods with their references.
pub(super) fn own(pods: &[OwnPod], heading: &str, output: Output) -> String {
    let rows = pods.iter().map(|pod| {
        let notes = pod.references.iter().map(|reference| ("shared", reference));
        let outputs = pod.output_references.iter();
        Row {
            pod: &pod.pod,
            card: Some(&pod.card),
            notes: notes
                .chain(outputs.map(|reference| ("output", reference)))
                .collect(),
        }
    });
    table(heading, rows.collect(), output)
}

fn forked(pods: &[ForkedPod], output: Output) -> String {
    // Forked again after a change, it stands in the book once more; the last is what it is now.
    let is_last = |index: usize, pod: &ForkedPod| {
        let mut later = pods[index + 1..].iter();
        !later.any(|later| later.pod == pod.pod && later.reference == pod.reference)
    };
    let pods = pods.iter().enumerate();
    let rows = pods
        .filter(|(index, pod)| is_last(*index, pod))
        .map(|(_, pod)| Row {
            pod: &pod.pod,
            card: pod.card.as_ref(),
            notes: pod.reference.iter().map(|by| ("forked", by)).collect(),
        });
    table("Pods of others", rows.collect(), output)
}

/// A pod, and what stands below it on lines of their own so that it can be copied.
struct Row<'a> {
    pod: &'a str,
    card: Option<&'a Card>,
    notes: Vec<(&'static str, &'a String)>,
}

fn table(heading: &str, rows: Vec<Row<'_>>, output: Output) -> String {
    let paint = output.stdout;
    let mut table =
        Table::new(["pod", "version", "kind", "description"].map(|heading| (heading, Align::Left)));
    for Row { pod, card, .. } in &rows {
        let words = |words: fn(&Card) -> &Untrusted| {
            let words = card.map_or(String::new(), |card| words(card).escaped());
            if words.is_empty() {
                "-".to_owned()
            } else {
                words
            }
        };
        table.row([
            Untrusted::from(*pod).escaped(),
            words(|card| &card.version),
            match card {
                Some(_) if *pod == PROGRAM => "program",
                Some(card) => portrait::kind(card),
                None => "-",
            }
            .to_owned(),
            words(|card| &card.description),
        ]);
    }
    let table = table.within(output.width()).to_string();
    let mut lines = table.lines();
    let mut text = format!(
        "{}\n{}\n",
        paint.paint(STRONG, heading),
        paint.paint(FAINT, lines.next().unwrap_or_default())
    );
    for (line, Row { pod, card, notes }) in lines.zip(&rows) {
        text.push_str(&format!("{line}\n"));
        for (what, reference) in notes {
            let what = paint.paint(FAINT, format_args!("  {what:<6}"));
            text.push_str(&format!(
                "{what}  {}\n",
                Untrusted::from(reference.as_str()).escaped()
            ));
        }
        if let Some(obstacle) = card.and_then(|card| card.obstacle.as_ref())
            && *pod != PROGRAM
        {
            let obstacle = format!("  cannot run here: {obstacle}");
            let obstacle = match output.width() {
                Some(width) => cut(&obstacle, width),
                None => obstacle,
            };
            text.push_str(&format!("{}\n", paint.paint(CARE, obstacle)));
        }
    }
    text
}
