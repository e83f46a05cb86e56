//! `sovr-host persist`: a directory into storage, shared if its recipe says so.

use std::path::PathBuf;

use sovr_broker::settings::storage::StorageKind;
use sovr_capability::Size;
use sovr_pod::archive::LeftOut;
use sovr_protocol::{Contents, Persisted, SharedOutput};

use super::storage::{Storage, shown};
use crate::exit::Exit;
use crate::figures::count;
use crate::output::{FAINT, Output, STRONG};

/// Left out files that are named one by one.
const MOST_LEFT_OUT: usize = 20;

/// Store a pod or task, and share it if it is public
///
/// The reference that others fork it by goes to standard output; if the recipe shares its output too (`golem.output`
/// with `share`), that one follows on a line of its own. Secrets, histories and earlier results are left out and named.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The directory of the pod or task, or its recipe
    #[arg(value_name = "POD", default_value = ".", value_hint = clap::ValueHint::AnyPath)]
    pod: PathBuf,
    /// Also store what runs left in output/ and logs/
    #[arg(long)]
    with_output: bool,
}

/// Persists it.
pub(crate) fn persist(
    args: &Args,
    dfs: Option<StorageKind>,
    output: Output,
) -> anyhow::Result<Exit> {
    let storage = Storage::open(dfs, output)?;
    let contents = Contents {
        outputs: args.with_output,
    };
    let persisted = storage.stoppable(storage.protocol.persist(&args.pod, contents))?;
    drop(storage);
    tell(&persisted, output)
}

/// References to standard output, the rest to standard error.
pub(super) fn tell(persisted: &Persisted, output: Output) -> anyhow::Result<Exit> {
    if output.json {
        output.document(persisted)?;
        return Ok(Exit::Ok);
    }
    let paint = output.stderr;
    let size = Size::bytes(persisted.size).rounded();
    output.say(format_args!(
        "Persisted {}, {size}\n{} {}",
        paint.paint(STRONG, &persisted.pod),
        paint.paint(FAINT, "sha256"),
        persisted.sha256
    ));
    left_out(&persisted.left_out, output);
    match &persisted.reference {
        Some(reference) => {
            output.say("Anyone who has this reference can fork it:");
            output.result(format_args!("{reference}\n"))?;
        }
        None => output.say("Not shared: its recipe does not say `\"public\": true`."),
    }
    if !persisted.still_shared.is_empty() {
        output.warn(format_args!(
            "others can still read it under references of earlier times: {}; `sovr-host unshare {}` ends that",
            persisted.still_shared.join(", "),
            persisted.pod
        ));
    }
    match &persisted.output {
        None => {}
        Some(SharedOutput::Nothing { directory }) => output.warn(format_args!(
            "its output was not shared: {} holds nothing yet; run it first",
            shown(directory)
        )),
        Some(SharedOutput::Shared {
            pod,
            reference,
            data,
            files,
            size,
        }) => {
            output.say(format_args!(
                "\nIts output is shared as {}: {}, {}.\nAs `golem.payload` of another pod:\n{}\nIts reference:",
                paint.paint(STRONG, pod),
                count(*files, "file", "files"),
                Size::bytes(*size).rounded(),
                snippet(reference, data)?,
            ));
            output.result(format_args!("{reference}\n"))?;
        }
    }
    Ok(Exit::Ok)
}

/// What goes into the recipe of a pod that uses an archive; short enough for a line each.
fn snippet(reference: &str, data: &str) -> anyhow::Result<String> {
    let text = |text: &str| crate::json::line(&text);
    Ok(format!(
        "[ {{ \"ref\": {},\n    \"data\": {} }} ]",
        text(reference)?,
        text(data)?
    ))
}

fn left_out(left_out: &[LeftOut], output: Output) {
    if left_out.is_empty() {
        return;
    }
    output.say("Left out:");
    for LeftOut { path, why } in left_out.iter().take(MOST_LEFT_OUT) {
        output.say(format_args!("  {}: {why}", path.escaped()));
    }
    if let Some(more) = left_out.len().checked_sub(MOST_LEFT_OUT + 1) {
        output.say(format_args!("  and {} more; --json names all", more + 1));
    }
}
