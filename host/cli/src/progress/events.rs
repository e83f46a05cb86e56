//! One JSON object per event and line, on standard output.

use std::io::{self, Write};

use sovr_broker::{Event, Observer};

use super::Display;
use crate::json;

/// Writes events as they come.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Events;

impl Observer for Events {
    fn observe(&self, event: &Event) {
        // A reader that went away is no reason to stop a run that costs money; nor is there anyone left to tell.
        if let Ok(line) = json::line(event) {
            let mut stdout = io::stdout().lock();
            let _ = writeln!(stdout, "{line}").and_then(|()| stdout.flush());
        }
    }
}

impl Display for Events {
    fn end(&self) {}
}
