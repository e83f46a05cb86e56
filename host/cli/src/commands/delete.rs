//! `sovr-host delete`: a pod out of storage, once the user is sure.

use sovr_broker::settings::storage::StorageKind;
use sovr_capability::Untrusted;
use sovr_dfs::{Access, PodName};
use sovr_protocol::Protocol;

use super::storage::Storage;
use crate::exit::Exit;
use crate::failure::{Stopped, Usage};
use crate::output::Output;
use crate::prompt::{Answer, ConsolePrompt, Prompt, StandardConsole};

/// Delete one of your pods from storage, or forget a fork
///
/// The pod goes with its shared output and its references. Directories on this machine are not touched.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The pod's name in storage
    #[arg(value_name = "NAME")]
    name: String,
    /// Do not ask
    #[arg(long, short)]
    yes: bool,
}

/// Deletes it.
pub(crate) fn delete(
    args: &Args,
    dfs: Option<StorageKind>,
    output: Output,
) -> anyhow::Result<Exit> {
    let storage = Storage::open(dfs, output)?;
    let name = Untrusted::from(args.name.as_str()).escaped();
    if !args.yes {
        let screen = format!(
            "\n{}",
            storage.block_on(what_goes(&storage.protocol, &args.name))?
        );
        let mut prompt = ConsolePrompt::new(StandardConsole);
        match prompt.ask(&screen, &format!("Delete {name}?")) {
            Answer::Yes => {}
            Answer::No => return Err(Stopped::Refused("nothing was deleted").into()),
            Answer::NotAsked(why) => {
                return Err(Usage(format!(
                    "{name} was not deleted, because nobody was asked: {why}; pass --yes if it is meant"
                ))
                .into());
            }
        }
    }
    let deleted = storage.stoppable(storage.protocol.delete(&args.name))?;
    drop(storage);
    if output.json {
        output.document(&deleted)?;
        return Ok(Exit::Ok);
    }
    for pod in &deleted.pods {
        let pod = Untrusted::from(pod.as_str()).escaped();
        output.say(format_args!("Deleted {pod} from storage."));
    }
    if deleted.forgotten {
        output.say(format_args!("Forgot the fork {name}."));
    }
    if deleted.pods.is_empty() && !deleted.forgotten {
        output.say(format_args!("Took {name} out of the registry."));
    }
    Ok(Exit::Ok)
}

/// What a deletion means, in words.
async fn what_goes(protocol: &Protocol, name: &str) -> anyhow::Result<String> {
    let listing = protocol.list().await?;
    let shown = Untrusted::from(name).escaped();
    let mut lines = Vec::new();
    let parsed: Result<PodName, _> = name.parse();
    let found = match parsed {
        Ok(pod) => protocol.dfs().pod(&pod).await.ok(),
        Err(_) => None,
    };
    match found.map(|found| found.access) {
        Some(Access::Own) => lines.push(format!(
            "The pod {shown} goes from your storage, with its shared output if it has one."
        )),
        Some(_) => lines.push(format!(
            "The received pod {shown} is forgotten; its owner keeps it."
        )),
        None => {}
    }
    if let Some(pod) = listing.own.iter().find(|pod| pod.pod == name) {
        let references = pod.references.len() + pod.output_references.len();
        match references {
            0 => {}
            1 => lines.push("One reference to it leads nowhere then.".to_owned()),
            many => lines.push(format!("{many} references to it lead nowhere then.")),
        }
        if lines.is_empty() {
            lines.push(format!(
                "The entry of {shown} goes from your registry; storage has no such pod."
            ));
        }
    }
    if listing
        .forked
        .iter()
        .any(|pod| pod.pod == name && pod.reference.is_some())
    {
        lines.push(format!(
            "The fork {shown} is forgotten; its directories on this machine stay."
        ));
    }
    if lines.is_empty() {
        return Err(sovr_protocol::Error::Unknown(Untrusted::from(name)).into());
    }
    Ok(lines.join("\n") + "\n")
}
