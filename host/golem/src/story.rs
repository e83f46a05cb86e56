//! What a batch's events add up to.
//!
//! A provider's events are believed only as far as they fit together: commands begin and end in their order, each with
//! a result, and the end comes when all are done. What it sends beyond the caps is cut.

use crate::failure::{Failure, FailureKind};
use crate::step::{BatchEvent, CAPTURE, Command, Step, StepResult};

pub(crate) struct Story<'a> {
    batch: &'a [Command],
    results: Vec<StepResult>,
    running: bool,
    stdout: String,
    stderr: String,
}

impl<'a> Story<'a> {
    pub(crate) fn new(batch: &'a [Command]) -> Self {
        Self {
            batch,
            results: Vec::with_capacity(batch.len()),
            running: false,
            stdout: String::new(),
            stderr: String::new(),
        }
    }

    /// Takes in the next event; answers how the batch ended if that was its end.
    pub(crate) fn hear(&mut self, event: BatchEvent) -> Option<Result<Vec<StepResult>, Failure>> {
        match event {
            BatchEvent::Started(index) if !self.running && self.is_next(index) => {
                self.running = true;
                self.stdout.clear();
                self.stderr.clear();
                None
            }
            BatchEvent::Stdout(index, text) if self.running && self.is_next(index) => {
                append(&mut self.stdout, &text);
                None
            }
            BatchEvent::Stderr(index, text) if self.running && self.is_next(index) => {
                append(&mut self.stderr, &text);
                None
            }
            BatchEvent::Progress { step, .. } if self.running && self.is_next(step) => None,
            BatchEvent::Finished(index, result) if self.running && self.is_next(index) => {
                self.finish(result)
            }
            BatchEvent::Ended(Ok(()))
                if !self.running && self.results.len() == self.batch.len() =>
            {
                Some(Ok(std::mem::take(&mut self.results)))
            }
            BatchEvent::Ended(Err(failure)) => Some(Err(self.failed(failure))),
            event => Some(Err(self.interrupted(
                FailureKind::ProviderLost,
                format!(
                    "the provider's answers make no sense: {} came at a wrong time",
                    name(&event)
                ),
            ))),
        }
    }

    /// The failure of a batch that was not heard to its end.
    pub(crate) fn interrupted(&self, kind: FailureKind, reason: String) -> Failure {
        Failure {
            kind,
            reason,
            step: self.running.then(|| self.next()),
            stdout: self.stdout.clone(),
            stderr: self.stderr.clone(),
        }
    }

    fn finish(&mut self, mut result: StepResult) -> Option<Result<Vec<StepResult>, Failure>> {
        truncate(&mut result.stdout, CAPTURE);
        truncate(&mut result.stderr, CAPTURE);
        if let Some(Command::Step(Step::DownloadBytes { source, most })) =
            self.batch.get(self.results.len())
        {
            let length = result.bytes.as_ref().map(|bytes| bytes.len() as u64);
            if length.is_none_or(|length| length > *most) {
                return Some(Err(self.interrupted(
                    FailureKind::ProviderLost,
                    format!("the provider's answers make no sense: `{source}` came with other content than asked"),
                )));
            }
        }
        self.running = false;
        self.results.push(result);
        None
    }

    /// The provider's own failure, with what was heard filled in where it says nothing.
    fn failed(&self, mut failure: Failure) -> Failure {
        truncate(&mut failure.reason, CAPTURE);
        truncate(&mut failure.stdout, CAPTURE);
        truncate(&mut failure.stderr, CAPTURE);
        if self.running {
            failure.step = Some(self.next());
        }
        if failure.stdout.is_empty() {
            failure.stdout.clone_from(&self.stdout);
        }
        if failure.stderr.is_empty() {
            failure.stderr.clone_from(&self.stderr);
        }
        failure
    }

    fn is_next(&self, index: u32) -> bool {
        self.results.len() < self.batch.len() && index == self.next()
    }

    fn next(&self) -> u32 {
        u32::try_from(self.results.len()).unwrap_or(u32::MAX)
    }
}

fn name(event: &BatchEvent) -> String {
    match event {
        BatchEvent::Started(index) => format!("the beginning of command {index}"),
        BatchEvent::Stdout(index, _) | BatchEvent::Stderr(index, _) => {
            format!("output of command {index}")
        }
        BatchEvent::Progress { step, .. } => format!("progress of command {step}"),
        BatchEvent::Finished(index, _) => format!("the result of command {index}"),
        BatchEvent::Ended(_) => "the end of the batch".to_owned(),
    }
}

fn append(kept: &mut String, text: &str) {
    kept.push_str(&text[..floor(text, CAPTURE.saturating_sub(kept.len()))]);
}

fn truncate(text: &mut String, most: usize) {
    text.truncate(floor(text, most));
}

/// The last boundary of a character at or before `most`.
fn floor(text: &str, most: usize) -> usize {
    text.floor_char_boundary(most)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run() -> Command {
        Command::Step(Step::Run {
            program: "p".to_owned(),
            args: Vec::new(),
        })
    }

    fn result(text: &str) -> StepResult {
        StepResult {
            stdout: text.to_owned(),
            exit_code: Some(0),
            ..StepResult::default()
        }
    }

    fn tell(batch: &[Command], events: Vec<BatchEvent>) -> Result<Vec<StepResult>, Failure> {
        let mut story = Story::new(batch);
        for event in events {
            if let Some(end) = story.hear(event) {
                return end;
            }
        }
        panic!("the batch did not end");
    }

    #[test]
    fn a_batch_that_ends_well_has_a_result_per_command() {
        let results = tell(
            &[run(), run()],
            vec![
                BatchEvent::Started(0),
                BatchEvent::Stdout(0, "a".to_owned()),
                BatchEvent::Finished(0, result("a")),
                BatchEvent::Started(1),
                BatchEvent::Finished(1, result("b")),
                BatchEvent::Ended(Ok(())),
            ],
        );
        assert_eq!(results.unwrap(), [result("a"), result("b")]);
        assert_eq!(tell(&[], vec![BatchEvent::Ended(Ok(()))]).unwrap(), []);
    }

    #[test]
    fn a_failure_keeps_the_command_and_what_it_printed() {
        let failure = tell(
            &[run(), run()],
            vec![
                BatchEvent::Started(0),
                BatchEvent::Finished(0, result("a")),
                BatchEvent::Started(1),
                BatchEvent::Stderr(1, "no scene".to_owned()),
                BatchEvent::Ended(Err(Failure::new(
                    FailureKind::CommandFailed,
                    "exited with code 4",
                ))),
            ],
        )
        .unwrap_err();
        assert_eq!(
            (failure.step, failure.stderr.as_str()),
            (Some(1), "no scene")
        );
        assert_eq!(failure.kind, FailureKind::CommandFailed);
    }

    #[test]
    fn answers_that_do_not_fit_are_a_lost_provider() {
        let started = || BatchEvent::Started(0);
        for events in [
            vec![BatchEvent::Ended(Ok(()))],
            vec![BatchEvent::Started(1)],
            vec![started(), started()],
            vec![started(), BatchEvent::Ended(Ok(()))],
            vec![started(), BatchEvent::Finished(1, result(""))],
            vec![BatchEvent::Finished(0, result(""))],
            vec![BatchEvent::Stdout(0, String::new())],
            vec![started(), BatchEvent::Finished(0, result("")), started()],
        ] {
            let failure = tell(&[run()], events.clone()).unwrap_err();
            assert_eq!(failure.kind, FailureKind::ProviderLost, "{events:?}");
        }
    }

    #[test]
    fn a_flood_of_output_is_cut() {
        let flood = "é".repeat(CAPTURE);
        let results = tell(
            &[run()],
            vec![
                BatchEvent::Started(0),
                BatchEvent::Stdout(0, flood.clone()),
                BatchEvent::Finished(0, result(&flood)),
                BatchEvent::Ended(Ok(())),
            ],
        );
        assert_eq!(results.unwrap()[0].stdout.len(), CAPTURE);

        let batch = [run()];
        let mut story = Story::new(&batch);
        story.hear(BatchEvent::Started(0));
        story.hear(BatchEvent::Stdout(0, flood.clone()));
        story.hear(BatchEvent::Stdout(0, flood));
        assert_eq!(
            story
                .interrupted(FailureKind::TimedOut, String::new())
                .stdout
                .len(),
            CAPTURE
        );
    }

    #[test]
    fn content_larger_than_asked_for_is_not_taken() {
        let batch = [Command::Step(Step::DownloadBytes {
            source: "/golem/output/a".to_owned(),
            most: 3,
        })];
        for bytes in [None, Some(vec![0; 4])] {
            let result = StepResult {
                bytes,
                ..StepResult::default()
            };
            let events = vec![BatchEvent::Started(0), BatchEvent::Finished(0, result)];
            assert_eq!(
                tell(&batch, events).unwrap_err().kind,
                FailureKind::ProviderLost
            );
        }
    }
}
