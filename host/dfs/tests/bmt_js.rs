//! Our references against those of another implementation: the npm package `@fairdatasociety/bmt-js`, which is
//! installed when the test runs for the first time. It has a main of its own, because only at run time it turns out
//! whether the package can be had.

use std::collections::BTreeMap;
use std::env;
use std::error::Error;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Output};

use libtest_mimic::{Arguments, Failed, Trial};
use sovr_dfs::swarm::{Reference, reference_of};

const TEST: &str = "references_are_those_of_another_implementation";
const SOURCE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/bmt-js");
const MANIFEST: &str = "package.json";
/// Holds the package's digest, which npm checks.
const LOCK: &str = "package-lock.json";
const SCRIPT: &str = "references.js";
/// A copy of the lock by which the packages were installed, made when that was done.
const INSTALLED: &str = "installed.json";

const CHUNK: usize = 4096;
/// Content whose addresses fill one chunk.
const FULL: usize = 128 * CHUNK;
/// Around the ends of segments, chunks and full chunks of addresses, where a lone last chunk moves up unchanged. Three
/// levels would take JavaScript many seconds; our unit tests have one of Bee's own vectors for them.
const LENGTHS: [usize; 19] = [
    0,
    1,
    31,
    32,
    33,
    64,
    65,
    CHUNK - 1,
    CHUNK,
    CHUNK + 1,
    2 * CHUNK,
    FULL - 1,
    FULL,
    FULL + 1,
    FULL + CHUNK + 5,
    2 * FULL,
    2 * FULL + 1,
    2 * FULL + 17,
    3 * FULL + 2 * CHUNK - 1,
];

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let installed = if arguments.list {
        Ok(PathBuf::new())
    } else {
        install()
    };
    let missing = installed.as_ref().err().map(ToString::to_string);
    let skipped = missing.is_some() && env::var_os("CI").is_none_or(|value| value.is_empty());
    if let (true, Some(missing)) = (skipped, &missing) {
        println!("skipped: {TEST}: {missing}");
    }
    let test = Trial::test(TEST, move || compare(&installed?)).with_ignored_flag(skipped);
    libtest_mimic::run(&arguments, vec![test]).exit_code()
}

/// What is missing, and how to come by it.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{0}")]
struct Missing(String);

/// Installs the package outside the source tree, unless that is done, and answers where.
fn install() -> Result<PathBuf, Missing> {
    for program in ["node", "npm"] {
        run(Command::new(program).arg("--version")).map_err(|error| {
            Missing(format!(
                "{error}; install Node.js 18 or newer with npm (`apt-get install nodejs npm`)"
            ))
        })?;
    }
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("bmt-js");
    prepare(&folder).map_err(|error| {
        Missing(format!(
            "the package @fairdatasociety/bmt-js: {error}; run the test again when npm can reach its registry"
        ))
    })?;
    Ok(folder)
}

fn prepare(folder: &Path) -> Result<(), Box<dyn Error>> {
    fs::create_dir_all(folder)?;
    // Of several test runs at a time one installs, and the others wait for it.
    let guard = File::create(folder.join("installing.lock"))?;
    guard.lock()?;
    let lock = fs::read(Path::new(SOURCE).join(LOCK))?;
    if fs::read(folder.join(INSTALLED)).ok().as_ref() != Some(&lock) {
        for name in [MANIFEST, LOCK] {
            fs::copy(Path::new(SOURCE).join(name), folder.join(name))?;
        }
        let arguments = ["ci", "--ignore-scripts", "--no-audit", "--no-fund"];
        run(Command::new("npm").args(arguments).current_dir(folder))?;
        fs::write(folder.join(INSTALLED), &lock)?;
    }
    fs::copy(Path::new(SOURCE).join(SCRIPT), folder.join(SCRIPT))?;
    Ok(())
}

/// Runs a program to its successful end. A failure is told in one line.
fn run(command: &mut Command) -> io::Result<Output> {
    let name = command.get_program().to_string_lossy().into_owned();
    let told = |why: String| io::Error::other(format!("`{name}` failed: {why}"));
    let output = command.output().map_err(|error| told(error.to_string()))?;
    if output.status.success() {
        return Ok(output);
    }
    let complaint = String::from_utf8_lossy(&output.stderr);
    // npm warns before, and talks about its log after it.
    let lines = || complaint.lines().filter(|line| !line.trim().is_empty());
    let line = lines()
        .find(|line| line.contains("error"))
        .or(lines().next());
    Err(told(format!(
        "{}: {}",
        output.status,
        line.unwrap_or_default()
    )))
}

fn compare(folder: &Path) -> Result<(), Failed> {
    let mut node = Command::new("node");
    node.arg(SCRIPT).current_dir(folder);
    let output = run(node.args(LENGTHS.map(|length| length.to_string())))?;
    let theirs = String::from_utf8(output.stdout)?
        .lines()
        .map(|line| {
            let (length, reference) = line.split_once(' ').ok_or("no reference")?;
            Ok((length.parse()?, reference.parse()?))
        })
        .collect::<Result<BTreeMap<usize, Reference>, Box<dyn Error>>>()?;
    assert_eq!(theirs.len(), LENGTHS.len(), "one reference for each length");
    for length in LENGTHS {
        let content: Vec<u8> = (0..length).map(|index| (index % 255) as u8).collect();
        assert_eq!(reference_of(&content), theirs[&length], "{length} bytes");
    }
    Ok(())
}
