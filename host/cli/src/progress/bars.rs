//! Bars on a terminal: the script's own, a line per worker, and at the bottom one for the whole.
//!
//! Texts are coloured here and not by the bar library's templates, so that `--color` and `NO_COLOR` hold for them too.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use sovr_capability::Untrusted;
use sovr_golem::Event;
use unicode_width::UnicodeWidthStr;

use super::board::Board;
use super::tally::Tally;
use crate::figures::money;
use crate::output::{CARE, FAINT, Paint, STRONG};
use crate::table::cut;

/// Lines for workers beyond these are not drawn; the bar of the whole still counts their tasks.
const MOST_WORKERS: usize = 12;
/// Columns of provider and task in a worker's line.
const COLUMN: usize = 22;
/// Columns of the label before a bar.
const LABEL: usize = 18;
/// How often the clock of the whole moves.
const TICK: Duration = Duration::from_millis(200);

const WHOLE_TASKS: &str = "{prefix} [{bar:24}] {pos}/{len} tasks  {elapsed}  {wide_msg}";
const WHOLE_WITHOUT: &str = "{prefix} {spinner}  {elapsed}  {wide_msg}";
const WORKER: &str = "{wide_msg}";
const SCRIPT: &str = "{prefix} [{bar:24}] {pos}/{len}  {wide_msg}";
const SCRIPT_ENDLESS: &str = "{prefix} {pos}  {wide_msg}";

/// The bars of one run.
#[derive(Debug)]
pub(crate) struct Bars {
    all: MultiProgress,
    paint: Paint,
    drawn: Mutex<Drawn>,
}

#[derive(Debug, Default)]
struct Drawn {
    whole: Option<ProgressBar>,
    workers: BTreeMap<(u64, u64), ProgressBar>,
    script: BTreeMap<u64, ProgressBar>,
}

impl Bars {
    /// No bars yet.
    pub(crate) fn new(paint: Paint) -> Bars {
        let all = MultiProgress::with_draw_target(ProgressDrawTarget::stderr());
        Bars {
            all,
            paint,
            drawn: Mutex::default(),
        }
    }

    fn drawn(&self) -> MutexGuard<'_, Drawn> {
        self.drawn.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// All lines of the screen, for those that others draw.
    pub(crate) fn all(&self) -> MultiProgress {
        self.all.clone()
    }

    /// Does something while no bar is on the screen.
    pub(crate) fn suspend(&self, act: impl FnOnce()) {
        self.all.suspend(act);
    }

    /// The run begins.
    pub(crate) fn begin(&self, pod: &Untrusted) {
        let whole = self
            .all
            .add(ProgressBar::no_length().with_style(style(WHOLE_WITHOUT)));
        whole.set_prefix(self.label(pod));
        whole.enable_steady_tick(TICK);
        self.drawn().whole = Some(whole);
    }

    /// A bar of the script changed; none if it is gone.
    pub(crate) fn tally(&self, bar: u64, tally: Option<&Tally>) {
        let mut drawn = self.drawn();
        let Some(tally) = tally else {
            self.remove(drawn.script.remove(&bar));
            return;
        };
        let line = drawn.script.entry(bar).or_insert_with(|| {
            let style = style(if tally.total.is_some() {
                SCRIPT
            } else {
                SCRIPT_ENDLESS
            });
            let line = self.all.insert(
                0,
                ProgressBar::new(tally.total.unwrap_or(0)).with_style(style),
            );
            line.set_prefix(self.label(&tally.label));
            line
        });
        line.set_message(tally.message.escaped());
        line.set_position(tally.done);
    }

    /// An event of a job, which the board has taken into account.
    pub(crate) fn golem(&self, job: u64, event: &Event, board: &Board) {
        let mut drawn = self.drawn();
        if let Some(worker) = worker_of(event) {
            self.draw_worker(&mut drawn, job, worker, board);
        }
        let state = board.whole();
        if let Some(whole) = drawn.whole.as_ref().filter(|_| state.total > 0) {
            if whole.length().is_none() {
                whole.set_style(style(WHOLE_TASKS));
            }
            whole.set_length(state.total);
            whole.set_position(state.done);
            let failed = match state.failed {
                0 => String::new(),
                failed => self.paint.paint(CARE, format_args!("  {failed} failed")),
            };
            whole.set_message(format!("{}{failed}", money(state.cost)));
        }
    }

    /// Takes all bars off the screen.
    pub(crate) fn end(&self) {
        let mut drawn = self.drawn();
        let Drawn {
            whole,
            workers,
            script,
        } = std::mem::take(&mut *drawn);
        for line in workers
            .into_values()
            .chain(script.into_values())
            .chain(whole)
        {
            self.remove(Some(line));
        }
    }

    fn draw_worker(&self, drawn: &mut Drawn, job: u64, worker: u64, board: &Board) {
        let key = (job, worker);
        let Some([provider, task, step]) = board.worker(job, worker) else {
            self.remove(drawn.workers.remove(&key));
            return;
        };
        if !drawn.workers.contains_key(&key) {
            if drawn.workers.len() >= MOST_WORKERS {
                return;
            }
            let line = ProgressBar::new_spinner().with_style(style(WORKER));
            let line = match &drawn.whole {
                Some(whole) => self.all.insert_before(whole, line),
                None => self.all.add(line),
            };
            drawn.workers.insert(key, line);
        }
        if let Some(line) = drawn.workers.get(&key) {
            let step = self.paint.paint(FAINT, step);
            line.set_message(format!(
                "  {}  {}  {step}",
                column(&provider, COLUMN),
                column(&task, COLUMN)
            ));
        }
    }

    fn remove(&self, line: Option<ProgressBar>) {
        if let Some(line) = line {
            line.finish_and_clear();
            self.all.remove(&line);
        }
    }

    fn label(&self, text: &Untrusted) -> String {
        self.paint.paint(STRONG, column(&text.escaped(), LABEL))
    }
}

/// The worker that an event is about.
fn worker_of(event: &Event) -> Option<u64> {
    match event {
        Event::AgreementCreated { worker, .. }
        | Event::AgreementConfirmed { worker, .. }
        | Event::AgreementRejected { worker, .. }
        | Event::AgreementTerminated { worker, .. }
        | Event::ActivityCreated { worker, .. }
        | Event::ActivityCreateFailed { worker, .. }
        | Event::WorkerStarted { worker, .. }
        | Event::WorkerFinished { worker, .. }
        | Event::TaskStarted { worker, .. }
        | Event::TaskFinished { worker, .. }
        | Event::CommandStarted { worker, .. }
        | Event::CommandProgress { worker, .. }
        | Event::SpendingCutOff { worker, .. } => Some(*worker),
        _ => None,
    }
}

/// The templates are constants of this file, so the fallback is only reached when one of them is wrong; a test looks.
fn style(template: &'static str) -> ProgressStyle {
    ProgressStyle::with_template(template)
        .unwrap_or_else(|_| ProgressStyle::default_bar())
        .progress_chars("=> ")
}

/// `text` in exactly `width` columns.
fn column(text: &str, width: usize) -> String {
    let text = cut(text, width);
    let space = " ".repeat(width.saturating_sub(text.width()));
    text + &space
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn templates_are_sound() {
        for template in [WHOLE_TASKS, WHOLE_WITHOUT, WORKER, SCRIPT, SCRIPT_ENDLESS] {
            assert!(ProgressStyle::with_template(template).is_ok(), "{template}");
        }
    }

    #[test]
    fn columns_have_one_width_in_any_script() {
        for text in [
            "",
            "sun",
            "画像",
            "a provider with a name that is far too long",
        ] {
            assert_eq!(column(text, 12).width(), 12, "{text}");
        }
    }
}
