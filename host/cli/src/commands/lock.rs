//! `sovr-host lock`: what the references of a pod or a task hold, pinned by digest.

use std::path::PathBuf;

use sovr_broker::settings::storage::StorageKind;
use sovr_capability::{Size, Untrusted};
use sovr_pod::lock::Checked;
use sovr_protocol::Pinned;

use super::storage::Storage;
use crate::exit::Exit;
use crate::output::{CARE, FAINT, GOOD, Output};

/// Pin by digest what a pod or task names by reference
///
/// What lies behind a reference can be changed by its owner. `run` pins it in sovr.lock at first use and refuses another
/// content; this does the same without running. With --update, what has changed is pinned anew.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The directory of the pod or task, or its recipe
    #[arg(value_name = "POD", default_value = ".", value_hint = clap::ValueHint::AnyPath)]
    pod: PathBuf,
    /// Accept what has changed
    #[arg(long)]
    update: bool,
}

/// Pins it.
pub(crate) fn lock(args: &Args, dfs: Option<StorageKind>, output: Output) -> anyhow::Result<Exit> {
    let storage = Storage::open(dfs, output)?;
    let pinned = storage.stoppable(storage.protocol.lock(&args.pod, args.update))?;
    drop(storage);
    if output.json {
        output.document(&pinned)?;
        return Ok(Exit::Ok);
    }
    let entries: Vec<String> = pinned.iter().map(|pinned| entry(pinned, output)).collect();
    output.result(entries.concat())?;
    if pinned.is_empty() {
        output.say("There is nothing to pin: the recipe names nothing by reference.");
    } else if pinned.iter().all(|pinned| pinned.state == Checked::Same) {
        output.say("All of it is as it was pinned.");
    } else {
        output.say("Pinned in sovr.lock.");
    }
    Ok(Exit::Ok)
}

/// Three lines, because two digests do not fit into one.
fn entry(pinned: &Pinned, output: Output) -> String {
    let paint = output.stdout;
    let (style, state) = match pinned.state {
        Checked::New => (GOOD, "new"),
        Checked::Same => (FAINT, "same"),
        Checked::Updated => (CARE, "updated"),
    };
    let state = paint.paint(style, format_args!("{state:<9}"));
    let size = Size::bytes(pinned.pin.size).rounded();
    let label = |label| paint.paint(FAINT, format_args!("  {label:<9}"));
    format!(
        "{state}  {}, {size}\n{}{}\n{}{}\n",
        pinned.path.escaped(),
        label("of"),
        Untrusted::from(pinned.reference.as_str()).escaped(),
        label("sha256"),
        pinned.pin.sha256
    )
}
