//! The FairOS-dfs server, for tests of the client against the real thing.
//!
//! It is built from the Go module proxy by a wrapper module, `tests/fairos/server`: its own `go.mod` contains a
//! `replace`, and `go install …@version` refuses those. The wrapper's `go.sum` pins every module by digest. What is
//! built once stays, because it takes minutes on a fresh machine.

use std::fs;

use anyhow::{Context as _, Result};
use sovr_test_fairos::program;

use crate::command;
use crate::project::Project;
use crate::toolchain::go::Go;

/// Builds the server, unless that is done.
pub(crate) fn build(project: &Project) -> Result<()> {
    let path = program::path();
    if path.exists() {
        return Ok(());
    }
    let wrapper = program::wrapper();
    let compiler = Go::prepare(project)?;
    eprintln!(
        "building the FairOS-dfs server {}; without anything cached that takes minutes",
        program::VERSION
    );
    let folder = path.parent().context("the server lies in a directory")?;
    fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let built = tempfile::tempdir_in(folder).context("cannot make a directory to build in")?;
    let new = built.path().join("dfs");
    // As the makers release it: without C, and with its version in it.
    let version = format!(
        "-s -w -X {}={}",
        program::VERSION_VARIABLE,
        program::VERSION
    );
    let mut go = compiler.command(&wrapper);
    go.env("CGO_ENABLED", "0");
    go.args(["build", "-mod=readonly", "-trimpath", "-buildvcs=false"]);
    go.args(["-ldflags", &version]).arg("-o").arg(&new);
    command::run(go.arg(program::PACKAGE))?;
    fs::rename(&new, &path).with_context(|| format!("cannot move it to {}", path.display()))
}

/// Builds the server where it can be had. In CI it must be; elsewhere tests that need it are left out, and say so.
pub(crate) fn build_for_tests(project: &Project) -> Result<()> {
    match build(project) {
        Err(error) if !program::is_ci() => {
            eprintln!("skipped, and the tests that need it: {error:#}");
            Ok(())
        }
        done => done,
    }
}
