//! One JSON object per event and line, on standard output.

use std::io::{self, Write};

use serde::Serialize;
use sovr_broker::{Event, Observer};

use super::Display;
use crate::json;

/// Writes events as they come.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Events;

impl Observer for Events {
    fn observe(&self, event: &Event) {
        write(event);
    }
}

impl Display for Events {
    fn end(&self) {}
}

/// Writes the events of one pod of a task, each with the pod's number in the task.
#[derive(Clone, Copy, Debug)]
pub(crate) struct EventsOfStep(pub usize);

#[derive(Serialize)]
struct OfStep<'a> {
    step: usize,
    #[serde(flatten)]
    event: &'a Event,
}

impl Observer for EventsOfStep {
    fn observe(&self, event: &Event) {
        write(&OfStep {
            step: self.0,
            event,
        });
    }
}

impl Display for EventsOfStep {
    fn end(&self) {}
}

/// One line. A reader that went away is no reason to stop a run that costs money; nor is there anyone left to tell.
pub(crate) fn write(event: &impl Serialize) {
    if let Ok(line) = json::line(event) {
        let mut stdout = io::stdout().lock();
        let _ = writeln!(stdout, "{line}").and_then(|()| stdout.flush());
    }
}
