//! `sovr-host persist-self`: the program as a pod, so that who has its reference has what it takes to run pods.
//!
//! What goes along is a list in this file and built into the program. Nothing is looked for on the disk, so nothing that
//! lies about there, such as credentials, can get in.

use sovr_broker::settings::storage::StorageKind;
use sovr_protocol::Companion;

use super::storage::Storage;
use crate::exit::Exit;
use crate::output::Output;

/// Share this program itself, with its licence and the template pods
///
/// Stored as the pod Sovr. The archive holds the program, README.md, LICENSE and the templates, and nothing else.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {}

macro_rules! companions {
    ($($path:literal),* $(,)?) => {
        [$(Companion {
            path: $path,
            content: include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../", $path)),
        }),*]
    };
}

/// All that goes along with the program.
const COMPANIONS: [Companion; 12] = companions![
    "LICENSE",
    "README.md",
    "templates/pods/hello-world/payload/date.zip",
    "templates/pods/hello-world/recipe.json",
    "templates/pods/hello-world/script/hello-world.wasm",
    "templates/pods/hello-world-js/payload/date.zip",
    "templates/pods/hello-world-js/recipe.json",
    "templates/pods/hello-world-js/script/hello-world-js.wasm",
    "templates/pods/render/payload/renderer.zip",
    "templates/pods/render/payload/scene.json",
    "templates/pods/render/recipe.json",
    "templates/pods/render/script/render.wasm",
];

/// Shares it.
pub(crate) fn persist_self(
    _: &Args,
    dfs: Option<StorageKind>,
    output: Output,
) -> anyhow::Result<Exit> {
    let program = std::env::current_exe()?;
    let storage = Storage::open(dfs, output)?;
    let version = env!("CARGO_PKG_VERSION");
    let persisted = storage.stoppable(storage.protocol.persist_program(
        &program,
        version,
        &COMPANIONS,
    ))?;
    drop(storage);
    super::persist::tell(&persisted, output)
}
