//! Programs of others that tests hold ours against: what they read of what we wrote, what they make of the same bytes.

use std::process::Command;

use anyhow::Result;

use super::system;
use crate::command;

/// A program, the packages that bring it, and what it is for.
const PEERS: [(&str, &[&str], &str); 2] = [
    ("python3", &["python3"], "fork as the original client does"),
    (
        "npm",
        &["nodejs", "npm"],
        "compare Swarm references with another implementation",
    ),
];

/// Installs in CI what is missing. Elsewhere, tests that find nothing to compare with say so and are left out.
pub(crate) fn prepare() -> Result<()> {
    if std::env::var_os("CI").is_none() {
        return Ok(());
    }
    for (program, packages, purpose) in PEERS {
        if command::output(Command::new(program).arg("--version")).is_err() {
            system::install(packages, purpose)?;
        }
    }
    Ok(())
}
