//! Files on their way into storage and out of it: a bar on a terminal, plain lines elsewhere, JSON lines for programs.
//!
//! Most transfers are over before anybody wonders. Only one that takes its time is shown, so that the talk of a command
//! is not mixed with what nobody needs. Whether one does is found out by a thread that sleeps until then: a server that
//! stores what was sent, or that sends nothing, makes no event that could show it.
//!
//! With `--json` the lines go to standard error: standard output belongs to the document. A run has its own stream of
//! events there instead.

use std::collections::HashMap;
use std::fmt;
use std::io::{self, IsTerminal, Write};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::thread;
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Serialize;
use sovr_broker::event::Phase;
use sovr_capability::{Size, Untrusted};
use sovr_protocol::event::Direction;
use sovr_protocol::{Event, Observer};

use crate::figures::time;
use crate::json;
use crate::output::Output;

/// What takes longer is shown.
const SHOWN_AFTER: Duration = Duration::from_secs(1);
/// A line is written this often.
const LINE_EVERY: Duration = Duration::from_secs(5);
/// A line for a program is written this often.
const JSON_EVERY: Duration = Duration::from_secs(1);
/// How often the sign of life of a server that stores moves.
const TICK: Duration = Duration::from_millis(200);

const BAR: &str = "{prefix} [{bar:24}] {wide_msg}";
const WITHOUT: &str = "{prefix} {wide_msg}";
const STORING: &str = "{prefix} {spinner} {wide_msg}";

/// The observer that fits this invocation.
pub(crate) fn observer(output: Output) -> Arc<dyn Observer> {
    if output.quiet {
        return Arc::new(sovr_protocol::event::Unobserved);
    }
    let capable = std::env::var_os("TERM").is_none_or(|term| term != "dumb");
    let screen = if output.json {
        Screen::Json
    } else if io::stderr().is_terminal() && capable {
        Screen::Bars(MultiProgress::with_draw_target(ProgressDrawTarget::stderr()))
    } else {
        Screen::Lines(Box::new(move |verb, text| {
            output.say(format_args!("{} {text}", verb.at_the_beginning()));
        }))
    };
    Arc::new(Transfers::new(screen))
}

/// Where transfers are shown.
pub(crate) enum Screen {
    /// A bar each.
    Bars(MultiProgress),
    /// Lines now and then: what is done, and to what.
    Lines(Box<dyn Fn(Verb, String) + Send + Sync>),
    /// Lines for a program.
    Json,
}

/// What is done to a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Verb(pub &'static str);

impl Verb {
    fn at_the_beginning(self) -> String {
        let (first, rest) = self.0.split_at(1);
        first.to_uppercase() + rest
    }
}

/// Shows the transfers of one command or run.
pub(crate) struct Transfers(Arc<Inner>);

struct Inner {
    screen: Screen,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    running: HashMap<String, Running>,
    /// Whether a thread looks after those that are not shown yet.
    watched: bool,
}

struct Running {
    direction: Direction,
    phase: Phase,
    bytes: u64,
    total: Option<u64>,
    since: Instant,
    /// When the last line was written; none if none was.
    told: Option<Instant>,
    bar: Option<ProgressBar>,
}

/// A line for a program.
#[derive(Serialize)]
#[serde(tag = "event", rename = "transfer", rename_all = "kebab-case")]
struct Line<'a> {
    direction: Direction,
    what: &'a str,
    bytes: u64,
    total: Option<u64>,
    phase: Phase,
    /// Since it began.
    seconds: f64,
}

impl fmt::Debug for Transfers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Transfers")
    }
}

impl Observer for Transfers {
    fn observe(&self, event: &Event) {
        use Phase::{Broken, Complete, Moving, Storing};
        match event {
            Event::Transferred {
                direction,
                what,
                bytes,
                total,
            } => self.take(*direction, what, *bytes, *total, Moving),
            Event::Storing { what, bytes } => {
                self.take(Direction::Up, what, *bytes, None, Storing);
            }
            Event::Complete {
                direction,
                what,
                bytes,
            } => self.take(*direction, what, *bytes, Some(*bytes), Complete),
            Event::Broken {
                direction,
                what,
                bytes,
            } => self.take(*direction, what, *bytes, None, Broken),
            _ => {}
        }
    }
}

impl Transfers {
    /// Nothing moves yet.
    pub(crate) fn new(screen: Screen) -> Transfers {
        Transfers(Arc::new(Inner {
            screen,
            state: Mutex::default(),
        }))
    }

    /// Takes in how far a file is.
    pub(crate) fn take(
        &self,
        direction: Direction,
        what: &str,
        bytes: u64,
        total: Option<u64>,
        phase: Phase,
    ) {
        let mut state = self.0.state();
        if matches!(phase, Phase::Complete | Phase::Broken) {
            if let Some(mut running) = state.running.remove(what) {
                (running.bytes, running.total, running.phase) = (bytes, total, phase);
                self.0.end(&running, what);
            }
            return;
        }
        let running = state
            .running
            .entry(what.to_owned())
            .or_insert_with(|| Running {
                direction,
                phase,
                bytes,
                total,
                since: Instant::now(),
                told: None,
                bar: None,
            });
        (running.bytes, running.phase) = (bytes, phase);
        running.total = total.or(running.total);
        if running.since.elapsed() >= SHOWN_AFTER {
            self.0.show(running, what);
        } else if !state.watched {
            state.watched = watch(Arc::downgrade(&self.0));
        }
    }
}

/// Starts the thread that shows what takes its time and says nothing. It ends when nothing is left to wait for.
fn watch(inner: Weak<Inner>) -> bool {
    let mut pause = SHOWN_AFTER;
    let watching = move || {
        loop {
            thread::sleep(pause);
            let Some(inner) = inner.upgrade() else { return };
            let mut state = inner.state();
            let mut next = None;
            for (what, running) in &mut state.running {
                match SHOWN_AFTER.checked_sub(running.since.elapsed()) {
                    Some(left) if !left.is_zero() => {
                        next = Some(next.map_or(left, |next: Duration| next.min(left)));
                    }
                    _ => inner.show(running, what),
                }
            }
            match next {
                Some(left) => pause = left,
                None => {
                    state.watched = false;
                    return;
                }
            }
        }
    };
    thread::Builder::new().spawn(watching).is_ok()
}

impl Inner {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Shows how far something is, if that was not done a moment ago.
    fn show(&self, running: &mut Running, what: &str) {
        let storing = running.phase == Phase::Storing;
        let due = |every| running.told.is_none_or(|told| told.elapsed() >= every);
        match &self.screen {
            Screen::Bars(all) => {
                let (message, bytes, total) = (running.message(), running.bytes, running.total);
                let direction = running.direction;
                let bar = running
                    .bar
                    .get_or_insert_with(|| all.add(bar(verbs(direction).0, total)));
                if storing {
                    bar.set_style(style(STORING));
                    bar.enable_steady_tick(TICK);
                }
                bar.set_message(format!("{message}  {}", safe(what)));
                bar.set_position(bytes);
            }
            // The first line of something that goes on and on comes later than a bar: it stays.
            Screen::Lines(say) => {
                let first = storing || running.since.elapsed() >= LINE_EVERY;
                if first && due(LINE_EVERY) {
                    running.told = Some(Instant::now());
                    let text = format!("{}: {}", safe(what), running.message());
                    say(verbs(running.direction).0, text);
                }
            }
            Screen::Json => {
                if due(JSON_EVERY) {
                    running.told = Some(Instant::now());
                    running.write(what);
                }
            }
        }
    }

    /// Tells the end of something, if it was shown before.
    fn end(&self, running: &Running, what: &str) {
        if let (Some(bar), Screen::Bars(all)) = (&running.bar, &self.screen) {
            bar.finish_and_clear();
            all.remove(bar);
        }
        if running.told.is_none() {
            return;
        }
        match &self.screen {
            Screen::Lines(say) if running.phase == Phase::Complete => {
                let size = Size::bytes(running.bytes).rounded();
                let took = time(running.since.elapsed());
                let text = format!("{}: {size} in {took}", safe(what));
                say(verbs(running.direction).1, text);
            }
            Screen::Json => running.write(what),
            _ => {}
        }
    }
}

impl Running {
    /// `120 MiB of 500 MiB, 80 MiB/s`.
    fn message(&self) -> String {
        match self.phase {
            Phase::Storing => format!("{} sent, storing…", Size::bytes(self.bytes).rounded()),
            _ => amount(self.bytes, self.total, self.since.elapsed()),
        }
    }

    /// That nobody listens is no reason to fail.
    fn write(&self, what: &str) {
        let line = json::line(&Line {
            direction: self.direction,
            what,
            bytes: self.bytes,
            total: self.total,
            phase: self.phase,
            seconds: self.since.elapsed().as_secs_f64(),
        });
        if let Ok(line) = line {
            let _ = writeln!(io::stderr().lock(), "{line}");
        }
    }
}

fn bar(verb: Verb, total: Option<u64>) -> ProgressBar {
    let template = if total.is_some() { BAR } else { WITHOUT };
    ProgressBar::with_draw_target(total, ProgressDrawTarget::hidden())
        .with_style(style(template))
        .with_prefix(verb.at_the_beginning())
}

/// The templates are constants of this file, so the fallback is only reached when one of them is wrong; a test looks.
fn style(template: &'static str) -> ProgressStyle {
    ProgressStyle::with_template(template)
        .unwrap_or_else(|_| ProgressStyle::default_bar())
        .progress_chars("=> ")
}

/// The verb while it goes on, and when it is done.
fn verbs(direction: Direction) -> (Verb, Verb) {
    match direction {
        Direction::Up => (Verb("storing"), Verb("stored")),
        Direction::Down => (Verb("fetching"), Verb("fetched")),
    }
}

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
    use std::sync::mpsc;

    use super::*;

    #[test]
    fn templates_are_sound() {
        for template in [BAR, WITHOUT, STORING] {
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

    #[test]
    fn a_server_that_stores_and_says_nothing_is_shown_and_so_is_its_end() {
        let (sender, lines) = mpsc::channel();
        let transfers = Transfers::new(Screen::Lines(Box::new(move |verb, text| {
            let _ = sender.send(format!("{} {text}", verb.at_the_beginning()));
        })));
        let take = |bytes, phase| transfers.take(Direction::Up, "x\u{7}", bytes, None, phase);
        take(0, Phase::Moving);
        take(5 << 20, Phase::Storing);
        // No more events: what comes now comes by itself.
        let line = lines.recv_timeout(Duration::from_secs(60)).unwrap();
        assert_eq!(line, "Storing x\\u{7}: 5.0 MiB sent, storing…");
        take(5 << 20, Phase::Complete);
        let line = lines.recv_timeout(Duration::from_secs(60)).unwrap();
        assert!(line.starts_with("Stored x\\u{7}: 5.0 MiB in "), "{line}");
        assert!(transfers.0.state().running.is_empty());
    }

    #[test]
    fn what_is_over_soon_is_not_told() {
        let (sender, lines) = mpsc::channel();
        let transfers = Transfers::new(Screen::Lines(Box::new(move |_, text| {
            let _ = sender.send(text);
        })));
        for (what, phase) in [("a", Phase::Complete), ("b", Phase::Broken)] {
            transfers.take(Direction::Down, what, 0, Some(9), Phase::Moving);
            transfers.take(Direction::Down, what, 9, Some(9), phase);
        }
        drop(transfers);
        assert_eq!(lines.into_iter().count(), 0);
    }
}
