//! `sovr-host unshare`: the end of a reference.

use sovr_broker::settings::storage::StorageKind;
use sovr_capability::Untrusted;
use sovr_protocol::Error;

use super::storage::Storage;
use crate::exit::Exit;
use crate::output::Output;

/// End the sharing of a pod
///
/// Its references lead nowhere from then on. What others forked before stays theirs.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The pod's name in storage; `output-NAME` for the shared output of a pod
    #[arg(value_name = "NAME")]
    name: String,
}

/// Ends it.
pub(crate) fn unshare(
    args: &Args,
    dfs: Option<StorageKind>,
    output: Output,
) -> anyhow::Result<Exit> {
    let storage = Storage::open(dfs, output)?;
    let unshared = storage.stoppable(async {
        let unshared = storage.protocol.unshare(&args.name).await;
        unshared.map_err(|error| match error {
            // As `delete` says it.
            Error::Dfs(sovr_dfs::Error::NoSuchPod { .. }) => {
                Error::Unknown(Untrusted::from(args.name.as_str()))
            }
            error => error,
        })
    })?;
    drop(storage);
    if output.json {
        output.document(&unshared)?;
        return Ok(Exit::Ok);
    }
    let pod = Untrusted::from(unshared.pod.as_str()).escaped();
    output.say(format_args!(
        "{pod} is shared no more. What others forked before stays theirs."
    ));
    if !unshared.references.is_empty() {
        output.say("These references lead nowhere now:");
    }
    for reference in &unshared.references {
        let reference = Untrusted::from(reference.as_str()).escaped();
        output.say(format_args!("  {reference}"));
    }
    Ok(Exit::Ok)
}
