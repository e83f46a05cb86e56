//! What is done on a provider.

use std::time::Duration;

use serde::Serialize;

use crate::bindings::sovr::pod::golem;

/// The contract counts nanoseconds in 64 bits; whatever does not fit is longer than any grant.
pub(crate) fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// Things to do on a provider, in order; the first that fails ends the list.
///
/// Paths on the provider are absolute and lie beneath a mount point of the package. Paths in the pod are relative to
/// its root, such as `payload/scene.json`.
#[derive(Debug, Clone, Default)]
pub struct Steps(Vec<golem::Step>);

impl Steps {
    /// Nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    fn with(mut self, step: golem::Step) -> Self {
        self.0.push(step);
        self
    }

    /// Sends a file of the pod.
    pub fn send_file(self, source: impl Into<String>, destination: impl Into<String>) -> Self {
        self.with(golem::Step::SendFile(golem::Upload {
            source: source.into(),
            destination: destination.into(),
        }))
    }

    /// Writes bytes to a file on the provider; at most 1 MiB.
    pub fn send_bytes(self, destination: impl Into<String>, content: impl Into<Vec<u8>>) -> Self {
        self.with(golem::Step::SendBytes(golem::UploadBytes {
            content: content.into(),
            destination: destination.into(),
        }))
    }

    /// Writes a value as JSON to a file on the provider; at most 1 MiB.
    ///
    /// # Errors
    /// When the value has no form in JSON.
    pub fn send_json(
        self,
        destination: impl Into<String>,
        value: &impl Serialize,
    ) -> Result<Self, serde_json::Error> {
        Ok(self.send_bytes(destination, serde_json::to_vec(value)?))
    }

    /// Runs a program of the package: the id of an entry point, or an absolute path in a virtual machine image.
    /// `args` come after the program's own name.
    pub fn run(self, program: impl Into<String>, args: &[&str]) -> Self {
        self.with(golem::Step::Run(golem::RunCommand {
            program: program.into(),
            args: args.iter().map(|arg| (*arg).to_owned()).collect(),
        }))
    }

    /// Fetches a file into the pod, beneath `output/`, `logs/` or `tmp/`.
    pub fn download_file(self, source: impl Into<String>, destination: impl Into<String>) -> Self {
        self.with(golem::Step::DownloadFile(golem::Download {
            source: source.into(),
            destination: destination.into(),
        }))
    }

    /// Fetches a small file into [`crate::StepResult::bytes`]; one larger than `most` fails the step.
    pub fn download_bytes(self, source: impl Into<String>, most: u64) -> Self {
        self.with(golem::Step::DownloadBytes(golem::DownloadBytes {
            source: source.into(),
            most,
        }))
    }

    pub(crate) fn into_inner(self) -> Vec<golem::Step> {
        self.0
    }
}

/// One piece of work for one provider.
#[derive(Debug, Clone)]
pub struct Task {
    pub(crate) label: String,
    pub(crate) steps: Steps,
    pub(crate) timeout: Option<Duration>,
}

impl Task {
    /// `label` is for people: in bars, tables and messages.
    pub fn new(label: impl Into<String>, steps: Steps) -> Self {
        Self {
            label: label.into(),
            steps,
            timeout: None,
        }
    }

    /// Time for each try, from the moment a provider starts on the task.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::nanoseconds;

    #[test]
    fn what_does_not_fit_is_as_long_as_can_be() {
        assert_eq!(nanoseconds(Duration::from_millis(1)), 1_000_000);
        assert_eq!(nanoseconds(Duration::MAX), u64::MAX);
    }
}
