//! Files on their way into storage and out of it: a bar on a terminal, plain lines elsewhere.
//!
//! Most transfers are over before anybody wonders. Only one that takes its time is shown, so that the talk of a command
//! is not mixed with what nobody needs. With `--json` nothing is shown: standard output belongs to the document.

use std::collections::HashMap;
use std::io::{self, IsTerminal};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressFinish, ProgressStyle};
use sovr_capability::{Size, Untrusted};
use sovr_protocol::event::Direction;
use sovr_protocol::{Event, Observer};

use crate::figures::time;
use crate::output::Output;

/// A bar appears after this.
const BAR_AFTER: Duration = Duration::from_secs(1);
/// A line is written this often.
const LINE_EVERY: Duration = Duration::from_secs(5);

const BAR: &str = "{prefix} [{bar:24}] {wide_msg}";
const WITHOUT: &str = "{prefix} {wide_msg}";

/// The observer that fits this invocation.
pub(crate) fn observer(output: Output) -> Arc<dyn Observer> {
    if output.json || output.quiet {
        return Arc::new(sovr_protocol::event::Unobserved);
    }
    let capable = std::env::var_os("TERM").is_none_or(|term| term != "dumb");
    Arc::new(Transfers {
        output,
        bars: io::stderr().is_terminal() && capable,
        state: Mutex::new(State {
            idle_since: Instant::now(),
            running: HashMap::new(),
        }),
    })
}

struct Transfers {
    output: Output,
    bars: bool,
    state: Mutex<State>,
}

struct State {
    /// When the last transfer ended: the next one began about then.
    idle_since: Instant,
    running: HashMap<String, Running>,
}

struct Running {
    since: Instant,
    told: Instant,
    said: bool,
    bar: Option<ProgressBar>,
}

impl Observer for Transfers {
    fn observe(&self, event: &Event) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        match event {
            Event::Transferred {
                direction,
                what,
                bytes,
                total,
            } => {
                let since = state.idle_since;
                let running = state
                    .running
                    .entry(what.clone())
                    .or_insert_with(|| Running {
                        since,
                        told: since,
                        said: false,
                        bar: None,
                    });
                self.progress(running, *direction, what, *bytes, *total);
            }
            Event::Complete {
                direction,
                what,
                bytes,
            } => {
                state.idle_since = Instant::now();
                // A bar goes when it is dropped.
                if let Some(running) = state.running.remove(what)
                    && running.said
                {
                    let took = time(running.since.elapsed());
                    let size = Size::bytes(*bytes).rounded();
                    let verb = verbs(*direction).1;
                    self.output
                        .say(format_args!("{verb} {}: {size} in {took}", safe(what)));
                }
            }
            _ => {}
        }
    }
}

impl Transfers {
    fn progress(
        &self,
        running: &mut Running,
        direction: Direction,
        what: &str,
        bytes: u64,
        total: Option<u64>,
    ) {
        let (verb, _) = verbs(direction);
        let elapsed = running.since.elapsed();
        let amount = amount(bytes, total, elapsed);
        if self.bars {
            if elapsed < BAR_AFTER {
                return;
            }
            let bar = running.bar.get_or_insert_with(|| bar(verb, total));
            bar.set_message(format!("{amount}  {}", safe(what)));
            bar.set_position(bytes);
        } else if running.told.elapsed() >= LINE_EVERY {
            running.told = Instant::now();
            running.said = true;
            self.output
                .say(format_args!("{verb} {}: {amount}", safe(what)));
        }
    }
}

fn bar(verb: &'static str, total: Option<u64>) -> ProgressBar {
    let style = ProgressStyle::with_template(if total.is_some() { BAR } else { WITHOUT })
        .unwrap_or_else(|_| ProgressStyle::default_bar())
        .progress_chars("=> ");
    ProgressBar::with_draw_target(total, ProgressDrawTarget::stderr())
        .with_style(style)
        .with_prefix(verb)
        .with_finish(ProgressFinish::AndClear)
}

/// The verb while it goes on, and when it is done.
fn verbs(direction: Direction) -> (&'static str, &'static str) {
    match direction {
        Direction::Up => ("Storing", "Stored"),
        Direction::Down => ("Fetching", "Fetched"),
    }
}

/// `120 MiB of 500 MiB, 80 MiB/s`.
fn amount(bytes: u64, total: Option<u64>, elapsed: Duration) -> String {
    let size = |bytes| Size::bytes(bytes).rounded();
    let of = total.map_or(String::new(), |total| format!(" of {}", size(total)));
    let milliseconds = u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX);
    let rate = bytes.saturating_mul(1000) / milliseconds.max(1);
    format!("{}{of}, {}/s", size(bytes), size(rate))
}

fn safe(what: &str) -> String {
    Untrusted::from(what).escaped()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn templates_are_sound() {
        for template in [BAR, WITHOUT] {
            assert!(ProgressStyle::with_template(template).is_ok(), "{template}");
        }
    }

    #[test]
    fn an_amount_has_a_rate_and_a_total_where_it_is_known() {
        let second = Duration::from_secs(1);
        assert_eq!(
            amount(8 << 20, Some(32 << 20), 2 * second),
            "8.0 MiB of 32.0 MiB, 4.0 MiB/s"
        );
        assert_eq!(amount(8 << 20, None, second), "8.0 MiB, 8.0 MiB/s");
        assert_eq!(amount(0, None, Duration::ZERO), "0 bytes, 0 bytes/s");
    }
}
