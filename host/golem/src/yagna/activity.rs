//! Activities: runtimes on a provider, and the batches they are given.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::json;
use sovr_capability::Untrusted;

use super::connection::{Daemon, Part};
use super::error::DaemonError;
use super::market::Id;

/// One command of a batch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Instruction {
    /// Prepares the package.
    Deploy {
        /// How often it is told how much of the package has been fetched.
        progress: ProgressArgs,
    },
    /// Makes the package ready to run programs.
    Start {
        /// For the runtime.
        args: Vec<String>,
    },
    /// Runs a program.
    Run {
        /// Which.
        entry_point: String,
        /// After its name.
        args: Vec<String>,
        /// What is kept of its output; without it, nothing.
        capture: Capture,
    },
    /// Moves a file.
    Transfer {
        /// `container:/path`, `gftp:`, `http:` or `https:`.
        from: String,
        /// The same.
        to: String,
    },
    /// Stops the package.
    Terminate {},
}

/// How often progress is told. Providers that do not know of it tell none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ProgressArgs {
    /// As a number with its unit: `1s`, `500ms`.
    pub update_interval: &'static str,
}

/// What is kept of a program's output.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Capture {
    /// Of its standard output.
    pub stdout: CaptureMode,
    /// Of its standard error.
    pub stderr: CaptureMode,
}

/// How output is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum CaptureMode {
    /// Told as it comes, and with the result.
    Stream {
        /// Most bytes.
        limit: usize,
    },
}

impl Capture {
    /// Both streams, so many bytes of each.
    #[must_use]
    pub fn both(limit: usize) -> Self {
        let mode = CaptureMode::Stream { limit };
        Self {
            stdout: mode,
            stderr: mode,
        }
    }
}

/// How a command went.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CommandResult {
    /// Its place in the batch, from 0.
    pub index: u32,
    /// Whether it succeeded.
    pub result: Verdict,
    /// What its program printed.
    pub stdout: Option<Output>,
    /// The same of its standard error.
    pub stderr: Option<Output>,
    /// Why it failed: `ExeScript command exited with code 1`.
    pub message: Option<Untrusted>,
    /// Whether it is the last one that was carried out.
    pub is_batch_finished: bool,
}

/// Whether a command succeeded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub enum Verdict {
    /// It did.
    Ok,
    /// It did not.
    Error,
}

/// What a program printed.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub enum Output {
    /// As text.
    Text(Untrusted),
    /// As bytes.
    Bytes(Vec<u8>),
}

impl Output {
    /// As text, whatever it came as.
    #[must_use]
    pub fn text(&self) -> Untrusted {
        match self {
            Self::Text(text) => text.clone(),
            Self::Bytes(bytes) => Untrusted::new(String::from_utf8_lossy(bytes)),
        }
    }
}

/// How an activity is.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ActivityStatus {
    /// What it is now, and what it is about to become.
    pub state: (ActivityState, Option<ActivityState>),
    /// Why, if it ended by itself.
    pub reason: Option<Untrusted>,
    /// More about it.
    pub error_message: Option<Untrusted>,
}

/// What an activity is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub enum ActivityState {
    /// Asked for.
    New,
    /// Ready for `deploy`.
    Initialized,
    /// Ready for `start`.
    Deployed,
    /// Ready for programs.
    Ready,
    /// Nothing was heard of it for a while.
    Unresponsive,
    /// It has ended.
    Terminated,
    /// Something newer than this program.
    #[serde(other)]
    Unknown,
}

impl ActivityState {
    /// As the daemon writes it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::New => "New",
            Self::Initialized => "Initialized",
            Self::Deployed => "Deployed",
            Self::Ready => "Ready",
            Self::Unresponsive => "Unresponsive",
            Self::Terminated => "Terminated",
            Self::Unknown => "Unknown",
        }
    }
}

/// What an activity used.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ActivityUsage {
    /// In the order of the offer's usage vector; none before anything was measured.
    pub current_usage: Option<Vec<f64>>,
}

impl Daemon {
    /// Has the provider start an activity and waits until it is there. Answers its id.
    ///
    /// # Errors
    /// [`TimedOut`](super::ErrorKind::TimedOut) if it does not come up in time,
    /// [`NotFound`](super::ErrorKind::NotFound) and [`Refused`](super::ErrorKind::Refused) for an agreement that is not in
    /// force, and others.
    pub async fn create_activity(
        &self,
        agreement: &str,
        wait: Duration,
    ) -> Result<String, DaemonError> {
        let request = self.post("start an activity", Part::Activity, &["activity"]);
        let request = request.wait(wait);
        let body = json!({ "agreementId": agreement });
        request.body(&body).json().await.map(Id::text)
    }

    /// Ends an activity. Again is no error.
    ///
    /// # Errors
    /// See [`DaemonError`].
    pub async fn destroy_activity(&self, id: &str, wait: Duration) -> Result<(), DaemonError> {
        let request = self.delete("end an activity", Part::Activity, &["activity", id]);
        request.wait(wait).done().await
    }

    /// The activities of an agreement, those that have ended among them.
    ///
    /// # Errors
    /// See [`DaemonError`].
    pub async fn activities(&self, agreement: &str) -> Result<Vec<String>, DaemonError> {
        let request = self.get("list the activities", Part::Activity, &["activity"]);
        let request = request.query("agreementId", agreement);
        let ids: Vec<Id> = request.json().await?;
        Ok(ids.into_iter().map(Id::text).collect())
    }

    /// How an activity is.
    ///
    /// # Errors
    /// See [`DaemonError`].
    pub async fn activity_status(&self, id: &str) -> Result<ActivityStatus, DaemonError> {
        let path = ["activity", id, "state"];
        let request = self.get("ask how an activity is", Part::Activity, &path);
        request.json().await
    }

    /// What an activity used so far, as the provider says.
    ///
    /// # Errors
    /// See [`DaemonError`].
    pub async fn activity_usage(&self, id: &str) -> Result<ActivityUsage, DaemonError> {
        let path = ["activity", id, "usage"];
        let request = self.get("ask what an activity used", Part::Activity, &path);
        request.json().await
    }

    /// Starts a batch and answers its id. Whether the commands can be carried out is for the results to say.
    ///
    /// # Errors
    /// [`Unreachable`](super::ErrorKind::Unreachable) if the activity is gone, and others.
    pub async fn exec(&self, id: &str, batch: &[Instruction]) -> Result<String, DaemonError> {
        let attempted = "start a batch";
        let commands = serde_json::to_string(batch).map_err(|error| DaemonError {
            attempted,
            kind: super::ErrorKind::Refused,
            reason: Untrusted::new(error.to_string()),
        })?;
        let request = self.post(attempted, Part::Activity, &["activity", id, "exec"]);
        let body = json!({ "text": commands });
        request.body(&body).json().await.map(Id::text)
    }

    /// Waits until a batch is finished, or for so long, and answers the results of all commands that are.
    ///
    /// # Errors
    /// [`Unreachable`](super::ErrorKind::Unreachable) if the activity is gone, or for a moment away;
    /// [`NotFound`](super::ErrorKind::NotFound) for an unknown batch; and others.
    pub async fn results(
        &self,
        id: &str,
        batch: &str,
        wait: Duration,
    ) -> Result<Vec<CommandResult>, DaemonError> {
        let path = ["activity", id, "exec", batch];
        let request = self.get("ask for the results of a batch", Part::Activity, &path);
        request.wait(wait).json().await
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{Capture, CommandResult, Instruction, Output, ProgressArgs};
    use crate::yagna::market::Id;

    #[test]
    fn commands_are_written_as_the_daemon_reads_them() {
        let batch = [
            Instruction::Deploy {
                progress: ProgressArgs {
                    update_interval: "1s",
                },
            },
            Instruction::Start { args: Vec::new() },
            Instruction::Run {
                entry_point: "/bin/a".to_owned(),
                args: vec!["b".to_owned()],
                capture: Capture::both(9),
            },
            Instruction::Transfer {
                from: "container:/a".to_owned(),
                to: "gftp://n/b".to_owned(),
            },
            Instruction::Terminate {},
        ];
        let stream = json!({ "stream": { "limit": 9 } });
        assert_eq!(
            serde_json::to_value(batch).unwrap(),
            json!([
                { "deploy": { "progress": { "updateInterval": "1s" } } },
                { "start": { "args": [] } },
                { "run": {
                    "entry_point": "/bin/a", "args": ["b"], "capture": { "stdout": stream, "stderr": stream },
                } },
                { "transfer": { "from": "container:/a", "to": "gftp://n/b" } },
                { "terminate": {} },
            ])
        );
    }

    #[test]
    fn output_comes_as_text_or_as_bytes() {
        let result: CommandResult = serde_json::from_value(json!({
            "index": 1, "eventDate": "2026-11-20T23:46:40.352770743Z", "result": "Ok", "stdout": "a\n",
            "stderr": [98, 255], "message": null, "isBatchFinished": true,
        }))
        .unwrap();
        let text = |output: Option<Output>| output.unwrap().text().into_raw();
        assert_eq!(text(result.stdout), "a\n");
        assert_eq!(text(result.stderr), "b\u{fffd}");
    }

    #[test]
    fn an_id_comes_bare_or_in_an_object() {
        for id in [json!("x"), json!({ "activityId": "x" })] {
            assert_eq!(serde_json::from_value::<Id>(id).unwrap().text(), "x");
        }
    }
}
