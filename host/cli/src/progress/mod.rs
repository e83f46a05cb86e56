//! Shows a run while it goes on: bars on a terminal, plain lines elsewhere, JSON lines for programs.
//!
//! What the pod prints goes to standard output, everything about the run to standard error, so that
//! `sovr-host run pod > file` keeps the pod's words and nothing else.

mod bars;
mod board;
mod events;
mod narrator;
mod story;
mod tally;
mod task;
mod text;

use std::io::{self, IsTerminal};
use std::sync::Arc;

use sovr_broker::Observer;

use crate::output::Output;

pub(crate) use events::write as write_event;
pub(crate) use task::TaskDisplay;

/// Something that shows a run.
pub(crate) trait Display: Observer {
    /// Shows what was held back and takes bars off the screen. Nothing is shown after it.
    fn end(&self);
}

/// The display that fits this invocation.
pub(crate) fn display(output: Output) -> Arc<dyn Display> {
    if output.json {
        return Arc::new(events::Events);
    }
    let bars = io::stderr().is_terminal()
        && !output.quiet
        && std::env::var_os("TERM").is_none_or(|term| term != "dumb");
    Arc::new(narrator::Narrator::new(
        output,
        bars.then(|| bars::Bars::new(output.stderr)),
    ))
}
