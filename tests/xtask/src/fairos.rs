//! The FairOS-dfs servers, for tests of the client against the real thing: the newest, and the one that users of the
//! original Sovr have.
//!
//! They are built from the Go module proxy by wrapper modules, `tests/fairos/server` and `tests/fairos/old-server`: the
//! newer one's own `go.mod` contains a `replace`, and `go install …@version` refuses those; the older one is not known
//! to the checksum database, so its digest must come from us. The wrappers' `go.sum` pin every module by digest, and
//! what is in there Go asks nobody about. What is built once stays, because it takes minutes on a fresh machine.

use std::fs;

use anyhow::{Context as _, Result};
use sovr_test_fairos::program::{self, Program};

use crate::command;
use crate::project::Project;
use crate::toolchain::go::Go;

/// Builds the servers, unless that is done.
pub(crate) fn build(project: &Project) -> Result<()> {
    program::ALL
        .iter()
        .try_for_each(|program| build_one(project, program))
}

fn build_one(project: &Project, program: &Program) -> Result<()> {
    let path = program.path();
    if path.exists() {
        return Ok(());
    }
    let compiler = Go::prepare(project)?;
    eprintln!(
        "building the FairOS-dfs server {}; without anything cached that takes minutes",
        program.version
    );
    let folder = path.parent().context("the server lies in a directory")?;
    fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let built = tempfile::tempdir_in(folder).context("cannot make a directory to build in")?;
    let new = built.path().join("dfs");
    // As the makers release it: without C, and with its version in it.
    let mut linked = "-s -w".to_owned();
    if let Some(variable) = program.version_variable {
        linked += &format!(" -X {variable}={}", program.version);
    }
    let mut go = compiler.command(&program.wrapper());
    go.env("CGO_ENABLED", "0");
    go.args(["build", "-mod=readonly", "-trimpath", "-buildvcs=false"]);
    go.args(["-ldflags", &linked]).arg("-o").arg(&new);
    command::run(go.arg(program::PACKAGE))?;
    fs::rename(&new, &path).with_context(|| format!("cannot move it to {}", path.display()))
}

/// Builds the servers where they can be had. In CI they must be; elsewhere tests that need one that is missing are left
/// out, and say so.
pub(crate) fn build_for_tests(project: &Project) -> Result<()> {
    for program in program::ALL {
        match build_one(project, program) {
            Err(error) if !program::is_ci() => eprintln!(
                "skipped {}, and the tests that need it: {error:#}",
                program.version
            ),
            done => done?,
        }
    }
    Ok(())
}
