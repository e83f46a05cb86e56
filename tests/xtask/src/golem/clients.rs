//! The official clients of Golem, each with what it stands on: packages of Python's and of JavaScript's index, all by
//! their digests.

use std::fs;

use anyhow::{Context as _, Result};
use sovr_test_golem::client::Client;

use crate::toolchain::{javascript, python};

const PURPOSE: &str = "fetch official clients of Golem";

/// Installs one, unless that is done.
pub(super) fn install(client: Client) -> Result<()> {
    let place = client.place();
    if place.exists() {
        return Ok(());
    }
    eprintln!("fetching {}, a client of Golem", client.name());
    let folder = place.parent().context("it lies in a directory")?;
    fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let fetched = tempfile::tempdir_in(folder).context("cannot make a directory to fetch into")?;
    let sources = client.sources();
    match client {
        Client::Yapapi => {
            let files = ["requirements-first.txt", "requirements.txt"];
            python::install(
                &files.map(|file| sources.join(file)),
                fetched.path(),
                PURPOSE,
            )
        }
        Client::GolemJs => javascript::install(&sources, fetched.path(), PURPOSE),
    }
    .with_context(|| format!("cannot install {}", client.name()))?;
    fs::rename(fetched.path(), &place)
        .with_context(|| format!("cannot move it to {}", place.display()))
}
