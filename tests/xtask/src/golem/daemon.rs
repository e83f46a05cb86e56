//! The Golem daemon, for tests of the requestor and the provider against the real thing.
//!
//! Its makers publish it as a Python package that holds nothing but the program. So Python is not needed to run it:
//! the package, a zip archive whose digest pip has checked, is downloaded and the program taken out.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use sovr_test_golem::program;
use zip::ZipArchive;

use crate::toolchain::python;

const PURPOSE: &str = "fetch the Golem daemon";

/// Installs the daemon, unless that is done.
pub(crate) fn install() -> Result<()> {
    let path = program::path();
    if path.exists() {
        return Ok(());
    }
    eprintln!("fetching the Golem daemon {}", program::VERSION);
    let folder = path.parent().context("the daemon lies in a directory")?;
    fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let fetched = tempfile::tempdir_in(folder).context("cannot make a directory to fetch into")?;
    python::download(&program::requirements(), fetched.path(), PURPOSE)?;
    let new = fetched.path().join(program::PROGRAM);
    take_program(&only_file(fetched.path())?, &new)?;
    fs::rename(&new, &path).with_context(|| format!("cannot move it to {}", path.display()))
}

fn only_file(folder: &Path) -> Result<PathBuf> {
    let files = fs::read_dir(folder)?.collect::<io::Result<Vec<_>>>()?;
    match files.as_slice() {
        [file] => Ok(file.path()),
        files => bail!("pip brought {} files and not one", files.len()),
    }
}

/// Programs of a Python package lie in its directory of scripts.
fn take_program(package: &Path, to: &Path) -> Result<()> {
    let name = format!(
        "{}-{}.data/scripts/{}",
        program::PACKAGE.replace('-', "_"),
        program::VERSION,
        program::PROGRAM
    );
    let file = File::open(package).with_context(|| format!("cannot open {}", package.display()))?;
    let mut archive =
        ZipArchive::new(file).with_context(|| format!("{} is no package", package.display()))?;
    let mut program = archive
        .by_name(&name)
        .with_context(|| format!("{name} is not in {}", package.display()))?;
    let mut file = File::create(to).with_context(|| format!("cannot make {}", to.display()))?;
    io::copy(&mut program, &mut file)
        .with_context(|| format!("cannot take {name} out of {}", package.display()))?;
    #[cfg(unix)]
    file.set_permissions(std::os::unix::fs::PermissionsExt::from_mode(0o755))
        .with_context(|| format!("cannot make {} executable", to.display()))?;
    Ok(())
}
