//! A run told in lines: each event becomes one, or none.

use sovr_broker::event::{Event, Level};
use sovr_capability::Size;
use sovr_golem::event::Event as Golem;
use sovr_pod::external::Collision;
use sovr_protocol::event::Direction;

use super::board::{Board, name};
use crate::figures::{count, money, time};

/// How much a line matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Weight {
    /// The ordinary course. Where bars are drawn they show it.
    Routine,
    /// Worth a line even beside bars.
    Notable,
    /// Something is odd; worth a line even with `--quiet`.
    Odd,
}

/// One line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Line {
    /// How much it matters.
    pub weight: Weight,
    /// One word in front of the text.
    pub label: &'static str,
    /// The text, safe to show.
    pub text: String,
}

/// Most characters of a stranger's explanation; what matters often stands at its end.
const WORDS: usize = 1000;

/// Replaced files that are named; more are counted.
const MOST_COLLISIONS: usize = 5;

/// The line for an event; `board` is as it was before the event.
pub(crate) fn tell(event: &Event, board: &Board) -> Option<Line> {
    use Weight::{Notable, Odd, Routine};
    let (weight, label, text) = match event {
        Event::Compiling { component, size } => {
            let size = Size::bytes(*size).rounded();
            (
                Notable,
                "compiling",
                format!("{component} ({size}), once until it changes"),
            )
        }
        Event::Started { run, pod, budget } => {
            let budget = budget.map_or(String::new(), |budget| {
                format!(", budget {}", money(budget))
            });
            (
                Notable,
                "running",
                format!("{} as run {run}{budget}", pod.escaped()),
            )
        }
        Event::Transfer {
            direction: Direction::Down,
            what,
            bytes,
            complete: true,
            ..
            // What the script copies is told as that.
        } if !what.starts_with("dfs:") => {
            let size = Size::bytes(*bytes).rounded();
            (Routine, "fetched", format!("{what} ({size})"))
        }
        Event::Supplied(gathered) if !gathered.collisions.is_empty() => {
            (Odd, "replaced", replaced(&gathered.collisions))
        }
        Event::Notice { text } => (Odd, "notice", text.clone()),
        Event::Log {
            level: Level::Warn,
            message,
        } => (Odd, "pod warns", message.escaped_within(WORDS)),
        Event::Log {
            level: Level::Error,
            message,
        } => (Odd, "pod error", message.escaped_within(WORDS)),
        Event::Denied { denial } => (Odd, "denied", denial.to_string()),
        Event::Copied {
            source,
            destination,
            bytes,
        } => {
            let size = Size::bytes(*bytes).rounded();
            (
                Routine,
                "copied",
                format!("{} to {} ({size})", source.escaped(), destination.escaped()),
            )
        }
        Event::Cancelling { within } => (
            Odd,
            "stopping",
            format!(
                "ending remote work, at most {}; Ctrl-C again stops at once",
                time(*within)
            ),
        ),
        Event::Golem { job, what } => return tell_golem(*job, what, board),
        _ => return None,
    };
    Some(Line {
        weight,
        label,
        text,
    })
}

/// Which files in `payload/external` are not those that were there first.
fn replaced(collisions: &[Collision]) -> String {
    let files = count(collisions.len() as u64, "file", "files");
    let mut text = format!("{files} in payload/external by another of the same name:");
    for collision in collisions.iter().take(MOST_COLLISIONS) {
        text.push_str(&format!(
            " {} of {} by that of {};",
            collision.path.escaped_within(80),
            collision.replaced,
            collision.by
        ));
    }
    let more = collisions.len().saturating_sub(MOST_COLLISIONS);
    if more > 0 {
        return format!("{text} and {more} more");
    }
    text.trim_end_matches(';').to_owned()
}

fn tell_golem(job: u64, event: &Golem, board: &Board) -> Option<Line> {
    use Weight::{Odd, Routine};
    let (weight, label, text) = match event {
        // One line said that the user stops the run; one for each thing that ends by it says nothing new.
        Golem::TaskFailed { .. } | Golem::WorkerFinished { .. } if board.is_stopping() => {
            return None;
        }
        Golem::JobStarted { terms } => {
            let workers = count(terms.max_workers.into(), "worker", "workers");
            let network = sovr_capability::Untrusted::from(terms.network.as_str()).escaped();
            (
                Routine,
                "job",
                format!(
                    "at most {workers} on {network}, {} reserved",
                    money(terms.budget)
                ),
            )
        }
        Golem::NoProposalsConfirmed { explanation, .. } => {
            (Odd, "waiting", explanation.escaped_within(WORDS))
        }
        Golem::AgreementConfirmed { provider, .. } => (
            Routine,
            "worker",
            format!("{} agreed", name(provider).escaped()),
        ),
        Golem::AgreementRejected {
            provider, reason, ..
        } => (
            Routine,
            "worker",
            format!(
                "{} does not agree: {}",
                name(provider).escaped(),
                reason.escaped_within(WORDS)
            ),
        ),
        Golem::ActivityCreateFailed { worker, reason } => {
            let provider = board.provider(job, *worker);
            (
                Odd,
                "worker",
                format!(
                    "{provider} cannot start the package: {}",
                    reason.escaped_within(WORDS)
                ),
            )
        }
        Golem::WorkerStarted { provider, .. } => (
            Routine,
            "worker",
            format!("{} is ready", name(provider).escaped()),
        ),
        Golem::WorkerFinished {
            provider,
            failure: Some(failure),
            ..
        } => (
            Odd,
            "worker",
            format!(
                "{} is lost: {}",
                name(provider).escaped(),
                failure.escaped_within(WORDS)
            ),
        ),
        Golem::TaskStarted {
            label,
            task,
            provider,
            attempt,
            ..
        } => {
            let label = if label.is_empty() {
                format!("task {task}")
            } else {
                label.escaped()
            };
            let attempt = if *attempt > 1 {
                format!(", attempt {attempt}")
            } else {
                String::new()
            };
            (
                Routine,
                "task",
                format!("{label} begins on {}{attempt}", name(provider).escaped()),
            )
        }
        Golem::TaskFinished {
            task,
            worker,
            time: took,
            cost,
            ..
        } => {
            let (label, provider) = (board.label(job, *task), board.provider(job, *worker));
            (
                Routine,
                "task",
                format!(
                    "{label} done on {provider} in {} for {}",
                    time(*took),
                    money(*cost)
                ),
            )
        }
        Golem::TaskRetried { task, reason, .. } => (
            Odd,
            "retry",
            format!(
                "{} goes to another provider: {}",
                board.label(job, *task),
                reason.escaped_within(WORDS)
            ),
        ),
        Golem::TaskFailed { task, reason, .. } => (
            Odd,
            "failed",
            format!(
                "{}: {}",
                board.label(job, *task),
                reason.escaped_within(WORDS)
            ),
        ),
        Golem::TaskRejected {
            task,
            reason,
            retry,
        } => {
            let next = if *retry {
                ", another provider tries"
            } else {
                ""
            };
            (
                Odd,
                "rejected",
                format!(
                    "{}: {}{next}",
                    board.label(job, *task),
                    reason.escaped_within(WORDS)
                ),
            )
        }
        Golem::SpendingCutOff { worker, ceiling } => {
            let provider = board.provider(job, *worker);
            (
                Odd,
                "worker",
                format!(
                    "{provider} is ended: it would cost more than {}",
                    money(*ceiling)
                ),
            )
        }
        Golem::CostNotRecorded {
            worker,
            cost,
            reason,
        } => {
            let provider = board.provider(job, *worker);
            (
                Odd,
                "ledger",
                format!(
                    "{} for {provider} is not recorded: {}",
                    money(*cost),
                    reason.escaped_within(WORDS)
                ),
            )
        }
        Golem::DebitNoteReceived {
            worker,
            amount,
            accepted: false,
        }
        | Golem::InvoiceReceived {
            worker,
            amount,
            accepted: false,
        } => {
            let provider = board.provider(job, *worker);
            (
                Odd,
                "bill",
                format!("{} of {provider} is not accepted", money(*amount)),
            )
        }
        Golem::JobFinished { summary } => {
            let tasks = count(summary.tasks, "task", "tasks");
            let providers = count(summary.providers, "provider", "providers");
            (
                Routine,
                "job",
                format!("over: {tasks}, {providers}, {}", money(summary.cost)),
            )
        }
        _ => return None,
    };
    Some(Line {
        weight,
        label,
        text,
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use sovr_capability::Denial;
    use sovr_golem::FailureKind;
    use sovr_golem::event::Who;

    use super::*;

    fn told(event: Event) -> String {
        let mut board = Board::default();
        board.take(
            0,
            &Golem::TaskQueued {
                task: 3,
                label: "frame 30".into(),
            },
        );
        board.take(
            0,
            &Golem::AgreementCreated {
                worker: 1,
                provider: sun(),
            },
        );
        tell(&event, &board).map_or("-".to_owned(), |line| {
            format!("{}: {}", line.label, line.text)
        })
    }

    fn golem(what: Golem) -> Event {
        Event::Golem { job: 0, what }
    }

    fn sun() -> Who {
        Who {
            id: "0xab".to_owned(),
            name: "sun".into(),
        }
    }

    #[test]
    fn tasks_are_told_by_label_and_provider() {
        let cost = "0.0123".parse().unwrap();
        let time = Duration::from_millis(3120);
        assert_eq!(
            told(golem(Golem::TaskFinished {
                task: 3,
                worker: 1,
                time,
                cost,
                attempts: 1
            })),
            "task: frame 30 done on sun in 3.1 s for 0.0123 GLM"
        );
        assert_eq!(
            told(golem(Golem::TaskRetried {
                task: 3,
                failure: FailureKind::ProviderLost,
                reason: "gone".into()
            })),
            "retry: frame 30 goes to another provider: gone"
        );
        assert_eq!(
            told(golem(Golem::TaskStarted {
                task: 9,
                label: "".into(),
                worker: 1,
                provider: Who {
                    id: "0xab".to_owned(),
                    name: "".into()
                },
                attempt: 2
            })),
            "task: task 9 begins on 0xab, attempt 2"
        );
    }

    #[test]
    fn strangers_words_come_out_on_one_line_and_without_power() {
        for event in [
            Event::Log {
                level: Level::Error,
                message: "\u{1b}[2J\nroot# ".into(),
            },
            Event::Started {
                run: "r".to_owned(),
                pod: "\u{1b}[2J\n".into(),
                budget: None,
            },
            Event::Denied {
                denial: Denial::nothing("golem", "\u{1b}[2J\n"),
            },
            golem(Golem::TaskFailed {
                task: 3,
                failure: FailureKind::Rejected,
                reason: "\u{1b}[2J\n".into(),
            }),
            golem(Golem::WorkerStarted {
                worker: 0,
                provider: Who {
                    id: "0".into(),
                    name: "\u{1b}[2J\n".into(),
                },
            }),
        ] {
            let text = told(event);
            assert!(
                text.contains("\\u{1b}[2J\\n") && !text.contains(['\u{1b}', '\n']),
                "{text}"
            );
        }
    }

    #[test]
    fn what_ends_because_the_user_stops_the_run_is_not_told_one_by_one() {
        let failed = golem(Golem::TaskFailed {
            task: 3,
            failure: FailureKind::Cancelled,
            reason: "closed".into(),
        });
        let mut board = Board::default();
        assert!(tell(&failed, &board).is_some());
        board.stop();
        assert_eq!(tell(&failed, &board), None);
    }

    #[test]
    fn a_pods_chatter_is_not_told() {
        assert_eq!(
            told(Event::Log {
                level: Level::Info,
                message: "hello".into()
            }),
            "-"
        );
    }
}
