//! The program itself as a pod: who has its reference has what it takes to run pods.
//!
//! The original packs the directory that it lies in, and with it the user's credentials. Here nothing is looked for on
//! the disk: what goes into the pod is the list of its caller, and that is built into the program.

use std::fs::{self, File};
use std::io;
use std::path::Path;

use serde_json::json;
use sovr_dfs::PodName;
use sovr_pod::{Tree, archive};

use crate::names::PROGRAM;
use crate::persist::Persisted;
use crate::{Error, Protocol};

/// A file that goes along with the program.
#[derive(Debug, Clone, Copy)]
pub struct Companion {
    /// Its path in the pod.
    pub path: &'static str,
    /// Its content.
    pub content: &'static [u8],
}

impl Protocol {
    /// Persists and shares the file `program` with its companions as the pod `Sovr`.
    ///
    /// # Errors
    /// When the program cannot be read, or storage refuses it.
    pub async fn persist_program(
        &self,
        program: &Path,
        version: &str,
        companions: &[Companion],
    ) -> Result<Persisted, Error> {
        let recipe = json!({
            "name": PROGRAM,
            "description": "sovr-host, the program that runs compute pods; unpack it and `chmod +x sovr-host`",
            "version": version,
            "public": true,
        });
        let text = serde_json::to_vec_pretty(&recipe).expect("every key is a text");
        let directory =
            tempfile::tempdir().map_err(Error::io("make a directory in", std::env::temp_dir()))?;
        lay_out(directory.path(), program, companions)
            .map_err(Error::io("copy the program into", directory.path()))?;
        let tree = Tree::open(directory.path()).map_err(Error::io("open", directory.path()))?;
        let archive = archive::plan(
            &tree,
            archive::Contents {
                kind: archive::Kind::Task,
                outputs: false,
                recipe: text.clone(),
                lock: None,
            },
        )?;
        let pod: PodName = PROGRAM.parse().map_err(sovr_dfs::Error::from)?;
        let recipe = recipe.as_object().cloned().unwrap_or_default();
        self.check_books(PROGRAM, &recipe).await?;
        self.store_and_enter(&pod, archive, &text, &recipe, true)
            .await
    }
}

fn lay_out(directory: &Path, program: &Path, companions: &[Companion]) -> io::Result<()> {
    let mut copy = File::create_new(directory.join("sovr-host"))?;
    io::copy(&mut File::open(program)?, &mut copy)?;
    for Companion { path, content } in companions {
        let path = directory.join(path);
        fs::create_dir_all(path.parent().unwrap_or(directory))?;
        fs::write(path, content)?;
    }
    Ok(())
}
