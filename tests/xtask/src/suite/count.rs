//! How many tests ran, from the closing lines of the test programs.

use std::fmt;
use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};

/// Tests of all programs so far.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Count {
    passed: u64,
    failed: u64,
    skipped: u64,
}

impl Count {
    /// Runs a `cargo test`, shows what it prints and counts along. No test at all is a failure.
    pub(super) fn run(&mut self, cargo: &mut Command) -> Result<()> {
        let before = self.passed;
        let mut child = cargo
            .arg("--no-fail-fast")
            .stdout(Stdio::piped())
            .spawn()
            .context("cannot start cargo")?;
        let stdout = child
            .stdout
            .take()
            .context("cargo has no standard output")?;
        for line in BufReader::new(stdout).split(b'\n') {
            let line = line.context("cannot read what cargo prints")?;
            let line = String::from_utf8_lossy(&line);
            println!("{line}");
            self.add(&line);
        }
        let status = child.wait().context("cannot wait for cargo")?;
        if !status.success() {
            bail!("tests failed: {status}");
        }
        if self.passed == before {
            bail!("no test ran");
        }
        Ok(())
    }

    /// Counts a line such as `test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out`.
    fn add(&mut self, line: &str) {
        let Some((_, counts)) = line
            .strip_prefix("test result: ")
            .and_then(|result| result.split_once(". "))
        else {
            return;
        };
        for part in counts.split("; ") {
            let Some((Ok(number), kind)) = part
                .split_once(' ')
                .map(|(number, kind)| (number.parse::<u64>(), kind))
            else {
                continue;
            };
            match kind {
                "passed" => self.passed += number,
                "failed" => self.failed += number,
                "ignored" => self.skipped += number,
                _ => {}
            }
        }
    }
}

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} passed, {} failed, {} skipped",
            self.passed, self.failed, self.skipped
        )
    }
}

#[cfg(test)]
mod tests {
    use super::Count;

    #[test]
    fn adds_up_the_closing_lines() {
        let mut count = Count::default();
        for line in [
            "running 5 tests",
            "test result: ok. 3 passed; 0 failed; 2 ignored; 0 measured; 0 filtered out; finished in 0.10s",
            "test talks_about_a_test result: ok. 9 passed; ... ok",
            "test result: FAILED. 1 passed; 4 failed; 0 ignored; 0 measured; 7 filtered out; finished in 1.00s",
        ] {
            count.add(line);
        }
        assert_eq!(
            count,
            Count {
                passed: 4,
                failed: 4,
                skipped: 2
            }
        );
        assert_eq!(count.to_string(), "4 passed, 4 failed, 2 skipped");
    }
}
