//! A run for people: lines, and bars below them where there is a terminal.

use std::io::{self, Write};
use std::sync::{Mutex, MutexGuard, PoisonError};

use clap::builder::styling::Style;
use sovr_broker::event::Stream;
use sovr_broker::{Event, Observer};

use super::Display;
use super::bars::Bars;
use super::board::Board;
use super::story::{Line, Weight, tell};
use super::tally::Tallies;
use super::text::Text;
use crate::output::{BAD, CARE, GOOD, Output, Paint};
use crate::transfer::{Screen, Transfers};

/// Labels stand right-aligned in a column of this width.
const LABELS: usize = 10;
/// Labels of what has moved.
const DONE: [&str; 2] = ["stored", "fetched"];

/// Shows a run to people.
#[derive(Debug)]
pub(crate) struct Narrator {
    paint: Paint,
    /// Stands before every line, where several pods run at the same time.
    prefix: String,
    /// Lines below this are left out.
    least: Weight,
    bars: Option<Bars>,
    transfers: Transfers,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    board: Board,
    tallies: Tallies,
    stdout: Text,
    stderr: Text,
}

impl Narrator {
    /// A narrator who draws bars, or does without.
    pub(crate) fn new(output: Output, bars: Option<Bars>) -> Narrator {
        Narrator::prefixed(output, bars, String::new())
    }

    fn prefixed(output: Output, bars: Option<Bars>, prefix: String) -> Narrator {
        let least = match (output.quiet, &bars) {
            (true, _) => Weight::Odd,
            (false, Some(_)) => Weight::Notable,
            (false, None) => Weight::Routine,
        };
        let screen = match &bars {
            Some(bars) => Screen::Bars(bars.all()),
            None => {
                let (paint, prefix) = (output.stderr, prefix.clone());
                Screen::Lines(Box::new(move |verb, text| {
                    // The end of each is a line of the story.
                    if least <= Weight::Routine && !DONE.contains(&verb.0) {
                        let line = labelled(paint, GOOD, verb.0, &prefix, &text);
                        let _ = io::stderr().lock().write_all(line.as_bytes());
                    }
                }))
            }
        };
        Narrator {
            paint: output.stderr,
            prefix,
            least,
            bars,
            transfers: Transfers::new(screen),
            state: Mutex::default(),
        }
    }

    /// A narrator of one pod among several that run at the same time.
    pub(crate) fn among_others(output: Output, name: &str) -> Narrator {
        Narrator::prefixed(output, None, format!("{name}: "))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes while no bar is in the way. That nobody listens is no reason to end a run.
    fn write(&self, stream: Stream, text: &[u8]) {
        if text.is_empty() {
            return;
        }
        let write = || {
            let _ = match stream {
                Stream::Stdout => io::stdout()
                    .lock()
                    .write_all(text)
                    .and_then(|()| io::stdout().flush()),
                Stream::Stderr => io::stderr().lock().write_all(text),
            };
        };
        match &self.bars {
            Some(bars) => bars.suspend(write),
            None => write(),
        }
    }

    fn say(&self, line: &Line) {
        if line.weight < self.least {
            return;
        }
        let style = match (line.weight, line.label) {
            (_, "denied" | "failed" | "pod error") => BAD,
            (Weight::Odd, _) => CARE,
            _ => GOOD,
        };
        let line = labelled(self.paint, style, line.label, &self.prefix, &line.text);
        self.write(Stream::Stderr, line.as_bytes());
    }

    /// The pod's standard output is a result, and passed on as it is.
    fn print(&self, lines: Vec<u8>) {
        if self.prefix.is_empty() {
            return self.write(Stream::Stdout, &lines);
        }
        let named: String = String::from_utf8_lossy(&lines)
            .lines()
            .map(|line| format!("{}{line}\n", self.prefix))
            .collect();
        self.write(Stream::Stdout, named.as_bytes());
    }

    /// The pod's standard error stands behind a rule, so that it is not taken for words of ours.
    fn quote(&self, lines: &[u8]) {
        let quoted: String = String::from_utf8_lossy(lines)
            .lines()
            .map(|line| format!("{:>LABELS$} {}{line}\n", "|", self.prefix))
            .collect();
        self.write(Stream::Stderr, quoted.as_bytes());
    }
}

fn labelled(paint: Paint, style: Style, label: &str, prefix: &str, text: &str) -> String {
    let label = paint.paint(style, format_args!("{label:>LABELS$}"));
    format!("{label} {prefix}{text}\n")
}

impl Observer for Narrator {
    fn observe(&self, event: &Event) {
        let mut state = self.state();
        if let Some(line) = tell(event, &state.board) {
            self.say(&line);
        }
        match event {
            Event::Output {
                stream: Stream::Stdout,
                text,
            } => {
                let lines = state.stdout.push(text.raw());
                self.print(lines);
            }
            Event::Output {
                stream: Stream::Stderr,
                text,
            } => {
                let lines = state.stderr.push(text.raw());
                self.quote(&lines);
            }
            Event::Bar { bar, change } => {
                if let Some(tally) = state.tallies.take(*bar, change) {
                    let mut text = format!("{} {}", tally.label.escaped(), tally.position());
                    if !tally.message.is_empty() {
                        text.push_str(&format!(": {}", tally.message.escaped()));
                    }
                    self.say(&Line {
                        weight: Weight::Routine,
                        label: "progress",
                        text,
                    });
                }
                if let Some(bars) = &self.bars {
                    bars.tally(*bar, state.tallies.get(*bar));
                }
            }
            Event::Golem { job, what } => {
                state.board.take(*job, what);
                if let Some(bars) = &self.bars {
                    bars.golem(*job, what, &state.board);
                }
            }
            Event::Transfer {
                direction,
                what,
                bytes,
                total,
                phase,
                ..
            } => self
                .transfers
                .take(*direction, what, *bytes, *total, *phase),
            Event::Cancelling { .. } => state.board.stop(),
            Event::Started { pod, .. } => {
                if let Some(bars) = &self.bars {
                    bars.begin(pod);
                }
            }
            _ => {}
        }
    }
}

impl Display for Narrator {
    fn end(&self) {
        let mut state = self.state();
        let (stdout, stderr) = (state.stdout.finish(), state.stderr.finish());
        self.print(stdout);
        self.quote(&stderr);
        if let Some(bars) = &self.bars {
            bars.end();
        }
    }
}
