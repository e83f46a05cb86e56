//! Shows a task while it goes on: each pod as if it ran alone, or all of them line by line when they run together.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use serde::Serialize;
use sovr_broker::Observer;
use sovr_broker::task::{Outcome, Step, TaskObserver};

use super::events::{self, Events, EventsOfStep};
use super::narrator::Narrator;
use super::{Display, display};
use crate::output::{Output, STRONG, width};
use crate::summary;

/// Shows a task.
pub(crate) struct TaskDisplay {
    output: Output,
    parallel: bool,
    /// Displays of the pods that run, by number.
    running: Mutex<HashMap<usize, Arc<dyn Display>>>,
}

#[derive(Serialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
enum TaskEvent<'a> {
    StepBegun {
        #[serde(flatten)]
        step: &'a Step,
    },
    StepEnded {
        #[serde(flatten)]
        step: &'a Step,
        #[serde(flatten)]
        outcome: &'a Outcome,
    },
}

impl TaskDisplay {
    /// Shows where this invocation talks.
    pub(crate) fn new(output: Output) -> TaskDisplay {
        TaskDisplay {
            output,
            parallel: false,
            running: Mutex::default(),
        }
    }

    /// The same for pods that run at the same time.
    pub(crate) fn side_by_side(mut self, parallel: bool) -> TaskDisplay {
        self.parallel = parallel;
        self
    }
}

impl TaskObserver for TaskDisplay {
    fn before(&self) -> Arc<dyn Observer> {
        match self.output.json {
            true => Arc::new(Events),
            false => Arc::new(Narrator::new(self.output, None)),
        }
    }

    fn begin(&self, step: &Step) -> Arc<dyn Observer> {
        let display: Arc<dyn Display> = if self.output.json {
            events::write(&TaskEvent::StepBegun { step });
            Arc::new(EventsOfStep(step.number))
        } else {
            let heading = format!("pod {} of {}: {}", step.number, step.of, step.directory);
            self.output.say(format_args!(
                "\n{}",
                self.output.stderr.paint(STRONG, heading)
            ));
            match self.parallel {
                true => Arc::new(Narrator::among_others(self.output, &step.directory)),
                false => display(self.output),
            }
        };
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        running.insert(step.number, Arc::clone(&display));
        display
    }

    fn end(&self, step: &Step, outcome: &Outcome) {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(display) = running.remove(&step.number) {
            display.end();
        }
        if self.output.json {
            events::write(&TaskEvent::StepEnded { step, outcome });
            return;
        }
        if let Outcome::Ran { report } = outcome {
            self.output.say(summary::render(
                report,
                self.output.stderr,
                width(std::io::stderr()),
            ));
        }
    }
}
