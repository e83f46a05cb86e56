//! Rust to WebAssembly components.
//!
//! Stock: rustup's own target `wasm32-wasip2`. Where rustup can add no target, Debian's `rustc-web` comes with the
//! sources of the standard library and `wasi-libc` with the C library beneath it, and the linker is in every rustup
//! toolchain all the same; cargo then builds the standard library along with the guest.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use clap::ValueEnum;

use super::system;
use crate::command;
use crate::project::Project;

const TARGET: &str = "wasm32-wasip2";

const DEBIAN_PACKAGES: [&str; 4] = [
    "rustc-web",
    "libstd-rust-web-dev",
    "rust-web-src",
    "wasi-libc",
];
const DEBIAN_RUSTC: &str = "/usr/bin/rustc";
const DEBIAN_LIBC: &str = "/usr/lib/wasm32-wasi";

/// Which way Rust guests are built.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Route {
    /// The target wasm32-wasip2 of rustup
    Stock,
    /// Debian's rustc-web, building the standard library from source
    Debian,
}

/// A compiler that is ready for use.
pub(crate) struct Compiler {
    environment: Vec<(&'static str, OsString)>,
    arguments: &'static [&'static str],
    flags: Vec<String>,
    target_dir: PathBuf,
}

impl Compiler {
    /// Finds or installs a compiler: on the given route, or on the first that works.
    pub(crate) fn prepare(project: &Project, route: Option<Route>) -> Result<Self> {
        match route {
            Some(Route::Stock) => stock(project),
            Some(Route::Debian) => debian(project),
            None => stock(project).or_else(|why_not| {
                eprintln!("{why_not:#}; using Debian's rustc-web instead");
                debian(project)
            }),
        }
    }

    /// Builds all programs of some packages for release. Answers the directory where they lie.
    pub(crate) fn build(&self, workspace: &Path, packages: &BTreeSet<&str>) -> Result<PathBuf> {
        let mut cargo = command::cargo();
        cargo.args([
            "build",
            "--quiet",
            "--locked",
            "--release",
            "--bins",
            "--target",
            TARGET,
        ]);
        cargo.args(packages.iter().flat_map(|package| ["--package", package]));
        cargo
            .args(self.arguments)
            .arg("--target-dir")
            .arg(&self.target_dir)
            .current_dir(workspace);
        cargo.envs(self.environment.iter().map(|(name, value)| (name, value)));
        cargo.env("CARGO_ENCODED_RUSTFLAGS", self.flags.join("\u{1f}"));
        command::run(&mut cargo)?;
        Ok(self.target_dir.join(TARGET).join("release"))
    }
}

/// Makes sure that cargo's own tools are there, which a minimal toolchain comes without.
pub(crate) fn require_components(names: &[&str]) -> Result<()> {
    for name in names {
        let subcommand = if *name == "rustfmt" { "fmt" } else { name };
        if command::output(command::cargo().args([subcommand, "--version"])).is_err() {
            command::output(Command::new("rustup").args(["component", "add", name]))?;
        }
    }
    Ok(())
}

fn stock(project: &Project) -> Result<Compiler> {
    let library = command::output(rustc().args(["--print", "target-libdir", "--target", TARGET]))?;
    if !Path::new(library.trim()).exists() {
        command::output(Command::new("rustup").args(["target", "add", TARGET]))
            .with_context(|| format!("the target {TARGET} cannot be added"))?;
    }
    Ok(Compiler {
        environment: Vec::new(),
        arguments: &[],
        flags: without_local_paths(project)?,
        target_dir: project.path("target/guests-build/stock"),
    })
}

fn debian(project: &Project) -> Result<Compiler> {
    system::install(
        &DEBIAN_PACKAGES,
        "build Rust guests where rustup has no target wasm32-wasip2",
    )?;

    // The constructor-running `crt1-command.o` makes a component that traps on its first call: it wraps each export,
    // `cabi_realloc` among them, and a component may not call out while the host allocates in it.
    let start = Path::new(DEBIAN_LIBC).join("crt1.o");
    let tools = linkers()?;
    let mut flags = without_local_paths(project)?;
    flags.extend([
        "-Clink-self-contained=no".to_owned(),
        format!("-Lnative={DEBIAN_LIBC}"),
        format!("-Clinker={}", tools.join("wasm-component-ld").display()),
        format!(
            "-Clink-arg=--wasm-ld-path={}",
            tools.join("gcc-ld/wasm-ld").display()
        ),
        format!("-Clink-arg={}", start.display()),
    ]);
    Ok(Compiler {
        // The standard library of a released compiler is built by what only a nightly one allows by itself.
        environment: vec![
            ("RUSTC", DEBIAN_RUSTC.into()),
            ("RUSTC_BOOTSTRAP", "1".into()),
        ],
        arguments: &["-Zbuild-std=std,panic_abort"],
        flags,
        target_dir: project.path("target/guests-build/debian"),
    })
}

fn rustc() -> Command {
    Command::new(std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()))
}

/// The directory of rustup's own linkers.
fn linkers() -> Result<PathBuf> {
    let sysroot = command::output(rustc().args(["--print", "sysroot"]))?;
    let host = command::output(rustc().args(["--print", "host-tuple"]))?;
    let folder = Path::new(sysroot.trim())
        .join("lib/rustlib")
        .join(host.trim())
        .join("bin");
    ensure!(
        folder.join("wasm-component-ld").exists(),
        "there is no wasm-component-ld in {}: a toolchain installed by rustup has it",
        folder.display()
    );
    Ok(folder)
}

/// Names of this machine's directories are nobody's business and would make the result depend on where it was built.
fn without_local_paths(project: &Project) -> Result<Vec<String>> {
    let mut flags = vec![format!(
        "--remap-path-prefix={}=/sovr-host",
        project.root().display()
    )];
    let home = std::env::var_os("CARGO_HOME")
        .map(PathBuf::from)
        .or_else(|| std::env::home_dir().map(|home| home.join(".cargo")));
    let Some(crates) = home.map(|home| home.join("registry/src")) else {
        return Ok(flags);
    };
    if crates.exists() {
        for registry in std::fs::read_dir(&crates)? {
            flags.push(format!(
                "--remap-path-prefix={}=/crates",
                registry?.path().display()
            ));
        }
    }
    Ok(flags)
}
