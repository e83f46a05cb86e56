//! A runner that is in the hands of a stranger's code: this program starts itself as the runner child and then says
//! whatever it likes. The broker must end each such run with the rule that was broken, and go on living.

mod support;

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::process::ExitCode;
use std::time::Duration;

use libtest_mimic::{Arguments, Failed, Trial};
use sovr_capability::{Limits, Span, Untrusted};
use sovr_runtime::bindings::errors::Error;
use sovr_runtime::bindings::log::Level;
use sovr_runtime::limits::Limit;
use sovr_runtime::run::{self, Ended, Violation};
use sovr_runtime::wire::{
    BarChange, CALLS_IN_FLIGHT, Call, FRAME_FROM_RUNNER, FRAME_TO_RUNNER, FromRunner, LOG_MESSAGE,
    Note, OUTPUT_CHUNK, Reply, RunEnd, ToRunner, VERSION,
};
use sovr_sandbox::frame;

use support::{LATE, Pod, Told, block_on, limits, no_call, see_to_the_end};

fn main() -> ExitCode {
    if sovr_sandbox::role().is_some() {
        return child();
    }
    libtest_mimic::run(&Arguments::from_args(), trials()).exit_code()
}

/// What a runner can do wrong, by the name that the test gives as the guest's first argument.
fn misbehave(name: &str, channel: &mut UnixStream) {
    let mut say = |message: &FromRunner| frame::write(channel, message, usize::MAX).unwrap();
    let ready = FromRunner::Ready { version: VERSION };
    let call = |id| FromRunner::Call {
        id,
        call: Call::Pods,
    };
    match name {
        "garbage" => {
            let mut state = 0x9e37_79b9_u32;
            let noise: Vec<u8> = std::iter::repeat_with(|| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                (state >> 24) as u8
            })
            .take(4096)
            .collect();
            let mut bytes = 200_u32.to_le_bytes().to_vec();
            bytes.extend(noise);
            channel.write_all(&bytes).unwrap();
        }
        "huge-frame" => channel.write_all(&u32::MAX.to_le_bytes()).unwrap(),
        "torn-frame" => {
            channel.write_all(&[100, 0, 0, 0, 1, 2]).unwrap();
            std::process::exit(0);
        }
        "unknown-message" => channel.write_all(&[1, 0, 0, 0, 99]).unwrap(),
        "left-over-bytes" => channel.write_all(&[3, 0, 0, 0, 0, 1, 7]).unwrap(),
        "other-version" => say(&FromRunner::Ready {
            version: VERSION + 1,
        }),
        "twice-ready" => {
            say(&ready);
            say(&ready);
        }
        "call-before-ready" => say(&call(1)),
        "note-before-ready" => say(&FromRunner::Note(Note::Stdout(b"hi".into()))),
        "end-before-ready" => say(&FromRunner::End(RunEnd::Completed)),
        "cancelled-by-nobody" => {
            say(&ready);
            say(&FromRunner::End(RunEnd::Cancelled));
        }
        "same-call-twice" => {
            say(&ready);
            say(&call(1));
            say(&call(1));
        }
        "one-call" => {
            say(&ready);
            say(&call(1));
        }
        "too-many-calls" => {
            say(&ready);
            (0..=CALLS_IN_FLIGHT as u64).for_each(|id| say(&call(id)));
        }
        "answers-not-taken" => {
            say(&ready);
            // The channel fills with answers at some point; then calls count as waiting.
            for id in 0.. {
                say(&call(id));
            }
        }
        "long-output" => {
            say(&ready);
            say(&FromRunner::Note(Note::Stdout(vec![
                b'x';
                OUTPUT_CHUNK + 1
            ])));
        }
        "long-log" => {
            say(&ready);
            let message = Untrusted::new("x".repeat(LOG_MESSAGE + 1));
            say(&FromRunner::Note(Note::Log {
                level: Level::Info,
                message,
                fields: Vec::new(),
            }));
        }
        "many-steps" => {
            say(&ready);
            let step = || {
                use sovr_runtime::bindings::golem::{RunCommand, Step};
                Step::Run(RunCommand {
                    program: String::new(),
                    args: Vec::new(),
                })
            };
            let steps = std::iter::repeat_with(step).take(100_000).collect();
            say(&FromRunner::Call {
                id: 1,
                call: Call::Exec {
                    activity: 1,
                    steps,
                    timeout: None,
                },
            });
        }
        "escapes" => {
            say(&ready);
            say(&FromRunner::Note(Note::Stdout(b"\x1b[2J\xe2\x80".into())));
            say(&FromRunner::Note(Note::Stdout(b"\xaeabc\n".into())));
            say(&FromRunner::Note(Note::Stderr(b"\xff\xc3".into())));
            say(&FromRunner::End(RunEnd::Completed));
        }
        "output-flood" => {
            say(&ready);
            loop {
                say(&FromRunner::Note(Note::Stdout(vec![b'x'; OUTPUT_CHUNK])));
            }
        }
        "note-flood" => {
            say(&ready);
            loop {
                say(&FromRunner::Note(Note::Bar {
                    bar: 1,
                    change: BarChange::Finished,
                }));
            }
        }
        "never-ready" | "deaf-to-cancel" => {
            if name == "deaf-to-cancel" {
                say(&ready);
            }
            std::thread::sleep(Duration::from_secs(600));
        }
        "quiet-exit" => std::process::exit(7),
        "abort" => {
            eprintln!("out of \x1b[31mluck");
            std::process::abort();
        }
        "after-the-end" => {
            say(&ready);
            say(&FromRunner::End(RunEnd::Completed));
            (0..100).for_each(|id| say(&call(id)));
        }
        "closed-channel" => {
            say(&ready);
            channel.shutdown(std::net::Shutdown::Both).unwrap();
            std::thread::sleep(Duration::from_secs(600));
        }
        _ => panic!("no such misbehaviour: {name}"),
    }
}

fn child() -> ExitCode {
    let mut channel = sovr_sandbox::enter().unwrap().channel;
    let Some(ToRunner::Start(start)) = frame::read(&mut channel, FRAME_TO_RUNNER).unwrap() else {
        return ExitCode::FAILURE;
    };
    misbehave(&start.args[0], &mut channel);
    // Stay, so that it is the broker who ends this.
    let _ = channel.read_to_end(&mut Vec::new());
    ExitCode::SUCCESS
}

fn runner(pod: &Pod, name: &str, limits: Limits) -> run::Runner {
    let mut request = pod.request(b"no code", limits);
    request.args = vec![name.to_owned()];
    run::start(request).unwrap()
}

fn told(name: &str) -> Told {
    let pod = Pod::new();
    block_on(async {
        let mut runner = runner(&pod, name, limits());
        tokio::time::timeout(support::PATIENCE, see_to_the_end(&mut runner, |_| None))
            .await
            .unwrap()
    })
}

fn violation(name: &str) -> Violation {
    match told(name).end.ended {
        Ended::Violation(violation) => violation,
        other => panic!("{name} ended as {other:?}"),
    }
}

fn trials() -> Vec<Trial> {
    let mut trials = Vec::new();
    macro_rules! trial {
        ($($name:ident),* $(,)?) => {
            $(trials.push(Trial::test(stringify!($name), || { $name(); Ok::<(), Failed>(()) }));)*
        };
    }
    trial!(
        garbage_is_malformed,
        claimed_size_beyond_a_frame_is_refused_at_once,
        messages_out_of_order_end_the_run,
        calls_are_bounded,
        who_takes_no_answers_cannot_pile_them_up,
        texts_that_were_not_cut_end_the_run,
        output_is_made_harmless_by_the_broker,
        an_output_flood_ends_at_the_limit,
        a_note_flood_is_read_slowly_and_ends_in_time,
        cancel_does_not_depend_on_the_runner,
        kill_and_condemn_say_why,
        a_runner_that_vanishes_is_broken_and_quoted,
        a_torn_frame_is_a_runner_that_vanished,
        a_closed_channel_ends_the_process,
        nothing_follows_the_end,
        dropping_a_run_kills_it,
        a_second_answer_is_refused,
    );
    trials
}

fn garbage_is_malformed() {
    for name in ["garbage", "unknown-message", "left-over-bytes"] {
        assert!(matches!(violation(name), Violation::Malformed(_)), "{name}");
    }
}

fn claimed_size_beyond_a_frame_is_refused_at_once() {
    let Violation::TooLarge(too_large) = violation("huge-frame") else {
        panic!()
    };
    assert_eq!(
        (too_large.size, too_large.most),
        (u32::MAX as usize, FRAME_FROM_RUNNER)
    );
}

fn messages_out_of_order_end_the_run() {
    for name in [
        "twice-ready",
        "call-before-ready",
        "note-before-ready",
        "end-before-ready",
        "cancelled-by-nobody",
    ] {
        assert!(
            matches!(violation(name), Violation::OutOfOrder(_)),
            "{name}"
        );
    }
    assert_eq!(
        violation("other-version"),
        Violation::Version {
            theirs: VERSION + 1
        }
    );
}

fn calls_are_bounded() {
    assert_eq!(violation("same-call-twice"), Violation::DuplicateCall(1));
    let told = told("too-many-calls");
    assert_eq!(told.end.ended, Ended::Violation(Violation::TooManyCalls));
    assert_eq!(told.calls.len(), CALLS_IN_FLIGHT);
    assert!(matches!(violation("many-steps"), Violation::TooLarge(_)));
}

fn who_takes_no_answers_cannot_pile_them_up() {
    let pod = Pod::new();
    block_on(async {
        let mut runner = runner(
            &pod,
            "answers-not-taken",
            Limits {
                time: Span::seconds(5),
                ..limits()
            },
        );
        let control = runner.control();
        let mut answered = Vec::new();
        let end = loop {
            match runner.next().await.unwrap() {
                run::Event::Call { id, .. } => {
                    let control = control.clone();
                    answered.push(tokio::spawn(async move {
                        let text = "x".repeat(1 << 20);
                        control.answer(id, Ok(Reply::Text(text))).await
                    }));
                }
                run::Event::End(end) => break end,
                _ => {}
            }
        };
        assert_eq!(end.ended, Ended::Violation(Violation::TooManyCalls));
        // In the queue, waiting for a place in it, and the few that the socket itself took.
        assert!(
            answered.len() <= 2 * CALLS_IN_FLIGHT + 2,
            "{} calls were taken",
            answered.len()
        );
    });
}

fn texts_that_were_not_cut_end_the_run() {
    for name in ["long-output", "long-log"] {
        assert!(matches!(violation(name), Violation::TooLarge(_)), "{name}");
    }
}

fn output_is_made_harmless_by_the_broker() {
    let told = told("escapes");
    assert_eq!(told.end.ended, Ended::Completed);
    assert_eq!(told.stdout, "\\u{1b}[2J\\u{202e}abc\n");
    assert_eq!(told.stderr, "\\xff\\xc3");
}

fn an_output_flood_ends_at_the_limit() {
    let told = told("output-flood");
    assert_eq!(
        told.end.ended,
        Ended::Limit {
            limit: Limit::Log,
            backtrace: Vec::new()
        }
    );
    assert!(told.stdout.len() as u64 <= limits().log.as_bytes());
}

fn a_note_flood_is_read_slowly_and_ends_in_time() {
    let pod = Pod::new();
    let time = Span::seconds(2);
    let told = block_on(async {
        let mut runner = runner(&pod, "note-flood", Limits { time, ..limits() });
        see_to_the_end(&mut runner, no_call).await
    });
    assert_eq!(
        told.end.ended,
        Ended::Limit {
            limit: Limit::Time,
            backtrace: Vec::new()
        }
    );
    assert!(
        told.notes.len() < 15_000,
        "{} notes were taken",
        told.notes.len()
    );
    assert!(told.took < time.duration() + LATE, "{:?}", told.took);
}

fn cancel_does_not_depend_on_the_runner() {
    let pod = Pod::new();
    for name in ["never-ready", "deaf-to-cancel"] {
        block_on(async {
            let mut runner = runner(&pod, name, limits());
            tokio::time::sleep(Duration::from_millis(100)).await;
            let asked = std::time::Instant::now();
            runner.control().cancel();
            let told = see_to_the_end(&mut runner, no_call).await;
            assert_eq!(told.end.ended, Ended::Cancelled, "{name}");
            assert!(asked.elapsed() < LATE, "{:?}", asked.elapsed());
        });
    }
}

fn kill_and_condemn_say_why() {
    let pod = Pod::new();
    block_on(async {
        let mut killed = runner(&pod, "deaf-to-cancel", limits());
        killed.control().kill();
        // The first severe order stands.
        killed.control().condemn(Violation::UnknownHandle(1));
        killed.control().cancel();
        assert_eq!(
            see_to_the_end(&mut killed, no_call).await.end.ended,
            Ended::Killed
        );
        let mut condemned = runner(&pod, "deaf-to-cancel", limits());
        condemned.control().cancel();
        condemned.control().condemn(Violation::UnknownHandle(5));
        let end = see_to_the_end(&mut condemned, no_call).await.end;
        assert_eq!(end.ended, Ended::Violation(Violation::UnknownHandle(5)));
    });
}

fn a_runner_that_vanishes_is_broken_and_quoted() {
    let quiet = told("quiet-exit").end;
    let Ended::Broken { reason } = quiet.ended else {
        panic!("{quiet:?}")
    };
    assert!(reason.raw().contains("exit status: 7"), "{reason:?}");
    let aborted = told("abort").end;
    let Ended::Broken { reason } = aborted.ended else {
        panic!("{aborted:?}")
    };
    assert!(reason.raw().contains("signal: 6"), "{reason:?}");
    assert_eq!(aborted.diagnostics.raw(), "out of \x1b[31mluck\n");
}

fn a_torn_frame_is_a_runner_that_vanished() {
    assert!(matches!(told("torn-frame").end.ended, Ended::Broken { .. }));
}

fn a_closed_channel_ends_the_process() {
    let told = told("closed-channel");
    assert!(matches!(told.end.ended, Ended::Broken { .. }));
    assert!(told.took < LATE, "{:?}", told.took);
}

fn nothing_follows_the_end() {
    let told = told("after-the-end");
    assert_eq!(told.end.ended, Ended::Completed);
    assert!(told.calls.is_empty());
}

fn dropping_a_run_kills_it() {
    let pod = Pod::new();
    block_on(async {
        let mut runner = runner(&pod, "deaf-to-cancel", limits());
        assert!(matches!(runner.next().await, Some(run::Event::Ready)));
        let id = runner.id();
        assert!(support::is_alive(id));
        drop(runner);
        let gone = async {
            while support::is_alive(id) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(LATE, gone)
            .await
            .expect("the process is gone");
    });
}

fn a_second_answer_is_refused() {
    let pod = Pod::new();
    block_on(async {
        let mut runner = runner(&pod, "one-call", limits());
        let control = runner.control();
        loop {
            match runner.next().await.unwrap() {
                run::Event::Call { id, .. } => {
                    control.answer(id, Err(Error::Cancelled)).await.unwrap();
                    assert!(control.answer(id, Err(Error::Cancelled)).await.is_err());
                    assert!(
                        control
                            .answer(id + 100, Err(Error::Cancelled))
                            .await
                            .is_err()
                    );
                    break;
                }
                run::Event::End(end) => panic!("{end:?}"),
                _ => {}
            }
        }
    });
}
