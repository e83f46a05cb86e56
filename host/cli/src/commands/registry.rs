//! `sovr-host registry`: the book of the user's pods.

use sovr_broker::settings::storage::StorageKind;

use super::storage::Storage;
use crate::exit::Exit;
use crate::figures::count;
use crate::output::Output;

/// Mend the book of your pods
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// Make the registry anew from the pods themselves
    ///
    /// Each of your own pods is looked at: its recipe, or the one in its archive. The registry of before is kept beside
    /// the new one.
    Rebuild,
}

/// Mends it.
pub(crate) fn registry(
    args: &Args,
    dfs: Option<StorageKind>,
    output: Output,
) -> anyhow::Result<Exit> {
    let Action::Rebuild = args.action;
    let storage = Storage::open(dfs, output)?;
    let rebuilt = storage.stoppable(storage.protocol.rebuild())?;
    drop(storage);
    if output.json {
        output.document(&rebuilt)?;
        return Ok(Exit::Ok);
    }
    if !rebuilt.found.is_empty() {
        output.result(super::list::own(&rebuilt.found, "Your pods", output))?;
    }
    for skipped in &rebuilt.skipped {
        output.warn(skipped);
    }
    let number = count(rebuilt.found.len() as u64, "pod", "pods");
    output.say(format_args!("The registry is made anew: {number}."));
    if let Some(before) = &rebuilt.before {
        let before = sovr_capability::Untrusted::from(before.as_str()).escaped();
        output.say(format_args!("The one of before is kept as {before}."));
    }
    Ok(Exit::Ok)
}
