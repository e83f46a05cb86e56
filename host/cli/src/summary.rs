//! The end of a run: a table of its tasks, how it ended, what it cost, where everything is.

use std::path::Path;
use std::time::Duration;

use clap::builder::styling::Style;
use sovr_broker::report::{Ending, OutputFile, Report, TaskResult};
use sovr_broker::task::{Outcome, TaskReport};
use sovr_capability::Untrusted;

use crate::figures::{count, money, number, time};
use crate::output::{BAD, CARE, FAINT, GOOD, Paint, STRONG};
use crate::table::{Align, Table};

/// Task rows beyond these are counted, not listed.
const MOST_TASKS: usize = 200;
/// Output files beyond these are counted, not listed.
const MOST_OUTPUTS: usize = 20;

/// Frames of a backtrace beyond these are left out.
const MOST_FRAMES: usize = 10;

/// The summary, several lines without the last line feed, for a terminal of so many columns.
pub(crate) fn render(report: &Report, paint: Paint, width: Option<usize>) -> String {
    let mut text = String::new();
    if !report.tasks.is_empty() {
        text.push_str(&format!("\n{}", tasks(report).within(width)));
        if report.tasks.len() > MOST_TASKS {
            text.push_str(&format!("and {} more\n", report.tasks.len() - MOST_TASKS));
        }
    }
    text.push_str(&format!("\n{}\n", headline(report, paint)));
    for (name, lines) in places(report) {
        for (index, line) in lines.iter().enumerate() {
            let name = if index == 0 { name } else { "" };
            text.push_str(&format!(
                "{} {line}\n",
                paint.paint(FAINT, format_args!("{name:>9}"))
            ));
        }
    }
    text.trim_end().to_owned()
}

/// Why it did not end well; none if it did, or if the user ended it.
pub(crate) fn failure(report: &Report) -> Option<String> {
    let (text, backtrace) = match &report.ending {
        Ending::Failed { reason, backtrace } => {
            let text = format!("the pod's script failed: {}", reason.block());
            (text, backtrace.as_slice())
        }
        Ending::LimitHit {
            limit,
            detail,
            backtrace,
        } => (
            format!("the pod hit its limit `{limit}`: {detail}"),
            backtrace.as_slice(),
        ),
        Ending::Violation { detail } => {
            let text = "the pod's process broke the rules of the sandbox and was killed";
            (format!("{text}: {detail}"), &[][..])
        }
        Ending::Broken { reason } => {
            let text = "the run failed, and the script is not known to be to blame";
            (format!("{text}: {}", reason.block()), &[][..])
        }
        _ => return None,
    };
    let frames = backtrace.iter().take(MOST_FRAMES);
    Some(frames.fold(text, |text, frame| {
        format!("{text}\nin {}", frame.escaped())
    }))
}

/// The end of a task: each pod, and what became of it.
pub(crate) fn render_task(report: &TaskReport, paint: Paint, width: Option<usize>) -> String {
    let mut table = Table::new([
        ("pod", Align::Left),
        ("time", Align::Right),
        ("cost in GLM", Align::Right),
        ("result", Align::Left),
    ]);
    for (step, outcome) in &report.steps {
        let (taken, cost, result) = match outcome {
            Outcome::Ran { report } => (
                time(report.time),
                number(report.cost),
                ending(&report.ending).1,
            ),
            Outcome::Unchanged { .. } => ("-".to_owned(), "-".to_owned(), "unchanged, kept"),
            Outcome::Refused { .. } => ("-".to_owned(), "-".to_owned(), "could not run"),
            Outcome::NotRun => ("-".to_owned(), "-".to_owned(), "not run"),
        };
        table.row([step.directory.clone(), taken, cost, result.to_owned()]);
    }
    let done = report
        .steps
        .iter()
        .filter(|(_, outcome)| outcome.succeeded())
        .count();
    let name = paint.paint(STRONG, report.task.escaped());
    let (style, words) = match (done == report.steps.len(), report.interrupted) {
        (true, _) => (GOOD, "completed"),
        (false, true) => (CARE, "was stopped"),
        (false, false) => (BAD, "failed"),
    };
    let mut text = format!(
        "\n{}\ntask {name} {}: {done} of {}\n",
        table.within(width),
        paint.paint(style, words),
        count(report.steps.len() as u64, "pod", "pods")
    );
    if let Some(output) = &report.output {
        let place = Untrusted::from(output.to_string_lossy().into_owned()).escaped();
        text.push_str(&format!("{} {place}\n", paint.paint(FAINT, "   output")));
    }
    text.trim_end().to_owned()
}

fn ending(ending: &Ending) -> (Style, &'static str) {
    match ending {
        Ending::Completed => (GOOD, "completed"),
        Ending::LimitHit { .. } => (BAD, "hit a limit"),
        Ending::Violation { .. } => (BAD, "was killed"),
        Ending::Interrupted => (CARE, "was stopped"),
        _ => (BAD, "failed"),
    }
}

fn headline(report: &Report, paint: Paint) -> String {
    let pod = paint.paint(STRONG, report.pod.escaped());
    let (style, ending) = ending(&report.ending);
    let money = match report.budget {
        Some(budget) => format!(", {} of {} spent", number(report.cost), money(budget)),
        None => String::new(),
    };
    format!(
        "{pod} {} after {}{money}",
        paint.paint(style, ending),
        time(report.time)
    )
}

fn tasks(report: &Report) -> Table {
    let mut table = Table::new([
        ("task", Align::Left),
        ("provider", Align::Left),
        ("time", Align::Right),
        ("cost in GLM", Align::Right),
        ("attempts", Align::Right),
        ("result", Align::Left),
    ]);
    for task in report.tasks.iter().take(MOST_TASKS) {
        table.row([
            task.label.escaped(),
            task.provider
                .as_ref()
                .map_or("-".to_owned(), Untrusted::escaped),
            some_time(task.time),
            number(task.cost),
            task.attempts.to_string(),
            match task.result {
                TaskResult::Accepted => "accepted",
                TaskResult::Rejected => "rejected",
                TaskResult::Failed => "failed",
            }
            .to_owned(),
        ]);
    }
    table
}

fn places(report: &Report) -> Vec<(&'static str, Vec<String>)> {
    let mut places = Vec::new();
    let mut outputs = vec![path(&report.output_directory)];
    outputs.extend(report.outputs.iter().take(MOST_OUTPUTS).map(output));
    let more = report.outputs.len().saturating_sub(MOST_OUTPUTS) as u64 + report.more_outputs;
    if more > 0 {
        outputs.push(format!("  and {}", count(more, "more file", "more files")));
    }
    places.push(if report.outputs.is_empty() {
        ("outputs", vec!["none".to_owned()])
    } else {
        ("outputs", outputs)
    });
    if report.denials > 0 {
        let calls = count(report.denials, "call", "calls");
        let line = format!("{calls}; `sovr-host audit show {}` tells which", report.run);
        places.push(("refused", vec![line]));
    }
    if report.left_open > 0 {
        let what = "work at the Golem daemon; `sovr-host cleanup` ends it".to_owned();
        places.push(("open", vec![what]));
    }
    places.push(("log", vec![path(&report.log)]));
    places.push(("audit", vec![path(&report.audit)]));
    places
}

/// A task that no provider finished took no time that means anything.
fn some_time(duration: Duration) -> String {
    if duration.is_zero() {
        "-".to_owned()
    } else {
        time(duration)
    }
}

/// Beneath the output directory, which stands in the line above.
fn output(file: &OutputFile) -> String {
    let name = file.path.raw();
    let name = name.strip_prefix("output/").unwrap_or(name);
    format!(
        "  {}  {}",
        Untrusted::from(name).escaped(),
        file.size.rounded()
    )
}

fn path(path: &Path) -> String {
    Untrusted::from(path.to_string_lossy().into_owned()).escaped()
}

#[cfg(test)]
mod tests {
    use sovr_broker::report::TaskRow;
    use sovr_capability::Size;

    use super::*;

    fn report() -> Report {
        Report {
            run: "20261121-073600-5f1c22ab90de".to_owned(),
            pod: "render".into(),
            ending: Ending::Completed,
            time: Duration::from_secs(21),
            cost: "0.0341".parse().unwrap(),
            budget: Some("10".parse().unwrap()),
            tasks: vec![
                TaskRow {
                    job: 0,
                    label: "frame 0".into(),
                    provider: Some("sun".into()),
                    time: Duration::from_millis(3100),
                    cost: "0.0031".parse().unwrap(),
                    attempts: 1,
                    result: TaskResult::Accepted,
                },
                TaskRow {
                    job: 0,
                    label: "frame 10".into(),
                    provider: None,
                    time: Duration::ZERO,
                    cost: "0".parse().unwrap(),
                    attempts: 0,
                    result: TaskResult::Failed,
                },
            ],
            output_directory: "/pods/render/output".into(),
            outputs: vec![OutputFile {
                path: "output/out0000.png".into(),
                size: Size::kib(120),
            }],
            more_outputs: 0,
            log: "/pods/render/logs/run.jsonl".into(),
            audit: "/state/audit/run.jsonl".into(),
            providers: 1,
            denials: 2,
            left_open: 1,
            peak_memory: None,
        }
    }

    #[test]
    fn a_summary_has_the_tasks_the_cost_and_the_places() {
        insta::assert_snapshot!(render(&report(), Paint(false), None), @"

        task      provider   time  cost in GLM  attempts  result
        frame 0   sun       3.1 s       0.0031         1  accepted
        frame 10  -             -            0         0  failed

        render completed after 21.0 s, 0.0341 of 10 GLM spent
          outputs /pods/render/output
                    out0000.png  120.0 KiB
          refused 2 calls; `sovr-host audit show 20261121-073600-5f1c22ab90de` tells which
             open work at the Golem daemon; `sovr-host cleanup` ends it
              log /pods/render/logs/run.jsonl
            audit /state/audit/run.jsonl
        ");
    }

    #[test]
    fn an_ending_that_is_not_good_has_a_reason() {
        let mut report = report();
        assert_eq!(failure(&report), None);
        report.ending = Ending::LimitHit {
            limit: "limits.time".to_owned(),
            detail: "2s used of 2s".to_owned(),
            backtrace: vec!["main".into()],
        };
        assert_eq!(
            failure(&report).unwrap(),
            "the pod hit its limit `limits.time`: 2s used of 2s\nin main"
        );
        assert!(render(&report, Paint(false), None).contains("render hit a limit after 21.0 s"));
        report.ending = Ending::Failed {
            reason: "no\u{1b}[2J".into(),
            backtrace: vec![],
        };
        assert_eq!(
            failure(&report).unwrap(),
            "the pod's script failed: no\\u{1b}[2J"
        );
    }

    #[test]
    fn many_outputs_are_counted() {
        let mut report = report();
        report.outputs = (0..25)
            .map(|n| OutputFile {
                path: format!("{n}").into(),
                size: Size::kib(1),
            })
            .collect();
        report.more_outputs = 7;
        assert!(render(&report, Paint(false), None).contains("  and 12 more files\n"));
    }
}
