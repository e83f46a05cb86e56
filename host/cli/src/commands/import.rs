//! `sovr-host import`: a pod among the user's own into a directory.

use std::path::PathBuf;

use sovr_broker::settings::storage::StorageKind;

use super::storage::{Storage, new_directory};
use crate::exit::Exit;
use crate::output::Output;

/// Bring one of your own or forked pods into a new directory
///
/// Names are those of `list`. A pod that you forked must still be what it was then, unless you say --update.
/// A directory that exists is never touched.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The pod's name in storage
    #[arg(value_name = "NAME")]
    name: String,
    /// The directory to be made [default: the pod's name, in the current directory]
    #[arg(long, value_name = "DIRECTORY", value_hint = clap::ValueHint::DirPath)]
    into: Option<PathBuf>,
    /// Bring a forked pod also if its owner has changed it, and remember it as it is now
    #[arg(long)]
    update: bool,
}

/// Imports it.
pub(crate) fn import(
    args: &Args,
    dfs: Option<StorageKind>,
    output: Output,
) -> anyhow::Result<Exit> {
    let (parent, directory) = new_directory(args.into.as_deref())?;
    let storage = Storage::open(dfs, output)?;
    let imported = storage.stoppable(storage.protocol.import(
        &args.name,
        parent,
        directory,
        args.update,
    ))?;
    drop(storage);
    super::fork::tell(&imported, output)
}
