//! Runners that break the rules of the conversation with the broker, as one would that a guest has taken over.
//!
//! No guest can make the real runner do this, so the broker runs in this process, and this program is its own runner:
//! started again in that role it goes behind the same walls, and then does what its argument says. Whatever comes,
//! the broker answers with a clear ending, keeps its memory, and the process is gone.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use libtest_mimic::{Arguments, Failed, Trial};
use serde_json::json;
use sovr_broker::{Ask, Consent, Ending, Event, Host, Observer, interrupt};
use sovr_capability::Home;
use sovr_e2e::{Pod, wasm};
use sovr_runtime::bindings::dfs::Location;
use sovr_runtime::wire::{
    Call, FRAME_FROM_RUNNER, FRAME_TO_RUNNER, FromRunner, Note, RunEnd, ToRunner, VERSION,
};
use sovr_sandbox::{Role, frame};

/// What a run is given; nothing here needs longer.
const TIME: Duration = Duration::from_secs(2);
/// What the broker may take to notice, kill and clean up.
const LATEST: Duration = Duration::from_secs(1);
/// What a runner may cost the broker in memory: the largest frame, decoded, and some.
const MOST_GROWTH: u64 = 32 << 20;

/// What a fake runner does, and how the run must end.
struct Abuse {
    name: &'static str,
    act: fn(&mut Channel),
    ends: Ends,
}

#[derive(Debug, Clone, Copy)]
enum Ends {
    /// As if nothing were wrong, because nothing is.
    Completed,
    /// Killed for breaking this rule, in words of the message.
    Violation(&'static str),
    /// By this limit.
    Limit(&'static str),
    /// As a fault that nobody is blamed for.
    Broken,
}

const ABUSES: [Abuse; 19] = [
    Abuse {
        name: "well_behaved",
        act: well_behaved,
        ends: Ends::Completed,
    },
    Abuse {
        name: "garbage",
        act: garbage,
        ends: Ends::Violation("not a message"),
    },
    Abuse {
        name: "claim_of_four_gigabytes",
        act: claim_of_four_gigabytes,
        ends: Ends::Violation("too large"),
    },
    Abuse {
        name: "frame_a_byte_too_large",
        act: frame_a_byte_too_large,
        ends: Ends::Violation("too large"),
    },
    Abuse {
        name: "half_a_frame",
        act: half_a_frame,
        ends: Ends::Broken,
    },
    Abuse {
        name: "unknown_message",
        act: unknown_message,
        ends: Ends::Violation("not a message"),
    },
    Abuse {
        name: "bytes_after_a_message",
        act: bytes_after_a_message,
        ends: Ends::Violation("not a message"),
    },
    Abuse {
        name: "list_of_four_billion",
        act: list_of_four_billion,
        ends: Ends::Violation("not a message"),
    },
    Abuse {
        name: "text_that_is_not_utf8",
        act: text_that_is_not_utf8,
        ends: Ends::Violation("not a message"),
    },
    Abuse {
        name: "call_before_ready",
        act: call_before_ready,
        ends: Ends::Violation("out of order"),
    },
    Abuse {
        name: "ready_twice",
        act: ready_twice,
        ends: Ends::Violation("out of order"),
    },
    Abuse {
        name: "another_version",
        act: another_version,
        ends: Ends::Violation("version"),
    },
    Abuse {
        name: "same_call_twice",
        act: same_call_twice,
        ends: Ends::Violation("another call"),
    },
    Abuse {
        name: "flood_of_calls",
        act: flood_of_calls,
        ends: Ends::Violation("calls at a time"),
    },
    Abuse {
        name: "handle_never_given",
        act: handle_never_given,
        ends: Ends::Violation("handle 4711"),
    },
    Abuse {
        name: "flood_of_output",
        act: flood_of_output,
        ends: Ends::Limit("limits.log"),
    },
    Abuse {
        name: "silence_after_ready",
        act: silence_after_ready,
        ends: Ends::Limit("limits.time"),
    },
    Abuse {
        name: "deaf_to_answers",
        act: deaf_to_answers,
        ends: Ends::Violation("calls at a time"),
    },
    Abuse {
        name: "closed_without_a_word",
        act: closed_without_a_word,
        ends: Ends::Broken,
    },
];

fn main() -> ExitCode {
    match sovr_sandbox::role() {
        Some(Role::Runner) => return misbehave(),
        Some(role) => return sovr_runtime::child(role),
        None => {}
    }
    let mut arguments = Arguments::from_args();
    // The peak of memory is the process's, so runs must not share it.
    arguments.test_threads = Some(1);
    let trials = ABUSES
        .iter()
        .map(|abuse| Trial::test(abuse.name, || run(abuse)))
        .collect();
    libtest_mimic::run(&arguments, trials).exit_code()
}

/// One run of a pod whose runner does this.
/// Nobody to ask, and nobody who watches.
struct Quiet;

impl Ask for Quiet {}

impl Observer for Quiet {
    fn observe(&self, _: &Event) {}
}

fn run(abuse: &Abuse) -> Result<(), Failed> {
    let capabilities = json!({
        "dfs": { "read": ["any"] },
        "golem": { "budget": "1", "packages": { "any": [ { "vm": "0".repeat(56) } ] } },
        "limits": { "memory": "64MiB", "time": "2s", "output": "1MiB", "files": 10, "log": "1MiB" },
    });
    let pod = Pod::from_component("abuse", &wasm::nothing(), capabilities);
    let home = sovr_e2e::Home::new();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    let report = runtime.block_on(async {
        let host = Host::open(Home::at(home.path()))?;
        let loaded = host.load(&pod.path(), &[abuse.name.to_owned()])?;
        let decided = host.decide(host.examine(loaded).await?, Consent::Whatever, &mut Quiet)?;
        let (_interrupter, interrupt) = interrupt::pair();
        let observer: Arc<dyn Observer> = Arc::new(Quiet);
        let supplied = host
            .supply(decided, Vec::new(), &observer, interrupt.clone())
            .await?;
        let prepared = host
            .prepare(supplied, &*observer, interrupt.clone())
            .await?;
        let (before, begun) = (peak_memory(), Instant::now());
        let report = host.run(prepared, observer, interrupt).await?;
        let (took, grown) = (begun.elapsed(), peak_memory().saturating_sub(before));
        if took > TIME + LATEST {
            return Err(Failed::from(format!(
                "it took {took:?}: {:?}",
                report.ending
            )));
        }
        if grown > MOST_GROWTH {
            return Err(Failed::from(format!("the broker grew by {grown} bytes")));
        }
        Ok(report)
    })?;
    if let Some(left) = runners() {
        return Err(format!("a runner is still there: {left}").into());
    }
    let as_expected = match (abuse.ends, &report.ending) {
        (Ends::Completed, Ending::Completed) | (Ends::Broken, Ending::Broken { .. }) => true,
        (Ends::Violation(words), Ending::Violation { detail }) => detail.contains(words),
        (Ends::Limit(expected), Ending::LimitHit { limit, .. }) => limit == expected,
        _ => false,
    };
    if as_expected {
        Ok(())
    } else {
        Err(format!("expected {:?}, got {:?}", abuse.ends, report.ending).into())
    }
}

fn peak_memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))
        .unwrap();
    line.trim()
        .trim_end_matches("kB")
        .trim()
        .parse::<u64>()
        .unwrap()
        << 10
}

/// A child of this process in the role of a runner.
fn runners() -> Option<String> {
    let threads = std::fs::read_dir("/proc/self/task").unwrap().flatten();
    let children =
        threads.filter_map(|thread| std::fs::read_to_string(thread.path().join("children")).ok());
    let all: String = children.collect();
    let mut commands = all
        .split_ascii_whitespace()
        .filter_map(|pid| std::fs::read_to_string(format!("/proc/{pid}/cmdline")).ok());
    commands.find(|command| command.contains("runner"))
}

/// The fake runner's side of the conversation.
struct Channel(UnixStream);

impl Channel {
    fn send(&mut self, message: &FromRunner) {
        let _ = frame::write(&mut self.0, message, FRAME_FROM_RUNNER);
    }

    fn send_raw(&mut self, bytes: &[u8]) {
        let _ = self.0.write_all(bytes);
    }

    /// A frame with any content.
    fn send_body(&mut self, body: &[u8]) {
        let length = u32::try_from(body.len()).unwrap_or(u32::MAX);
        self.send_raw(&length.to_le_bytes());
        self.send_raw(body);
    }

    fn ready(&mut self) {
        self.send(&FromRunner::Ready { version: VERSION });
    }

    fn call(&mut self, id: u64, call: Call) {
        self.send(&FromRunner::Call { id, call });
    }

    fn wait_for_ever(&mut self) -> ! {
        loop {
            std::thread::sleep(Duration::from_secs(1000));
        }
    }
}

/// What this program does as a runner.
fn misbehave() -> ExitCode {
    let entered = sovr_sandbox::enter().expect("the walls stand");
    let mut channel = Channel(entered.channel);
    let start = frame::read::<ToRunner>(&mut channel.0, FRAME_TO_RUNNER);
    let Ok(Some(ToRunner::Start(start))) = start else {
        return ExitCode::FAILURE;
    };
    let abuse = ABUSES
        .iter()
        .find(|abuse| Some(abuse.name) == start.args.get(1).map(String::as_str));
    (abuse.expect("an abuse is named").act)(&mut channel);
    ExitCode::SUCCESS
}

fn well_behaved(channel: &mut Channel) {
    channel.ready();
    channel.call(7, Call::Pods);
    let answer = frame::read::<ToRunner>(&mut channel.0, FRAME_TO_RUNNER);
    assert!(
        matches!(answer, Ok(Some(ToRunner::Answer { id: 7, .. }))),
        "{answer:?}"
    );
    channel.send(&FromRunner::End(RunEnd::Completed));
    // A real runner waits here to be ended.
    let _ = channel.0.read(&mut [0; 1]);
}

fn garbage(channel: &mut Channel) {
    channel.ready();
    // Frames of a legal length, full of what is not a message.
    for _ in 0..1000 {
        channel.send_body(&[0xa5; 1000]);
    }
    channel.wait_for_ever();
}

fn claim_of_four_gigabytes(channel: &mut Channel) {
    channel.ready();
    channel.send_raw(&[0xff; 64 << 10]);
    channel.wait_for_ever();
}

fn frame_a_byte_too_large(channel: &mut Channel) {
    channel.ready();
    channel.send_body(&vec![0; FRAME_FROM_RUNNER + 1]);
    channel.wait_for_ever();
}

fn half_a_frame(channel: &mut Channel) {
    channel.ready();
    channel.send_raw(&1000_u32.to_le_bytes());
    channel.send_raw(&[0; 10]);
    let _ = channel.0.shutdown(std::net::Shutdown::Write);
    channel.wait_for_ever();
}

fn unknown_message(channel: &mut Channel) {
    channel.ready();
    channel.send_body(&[99]);
    channel.wait_for_ever();
}

fn bytes_after_a_message(channel: &mut Channel) {
    channel.ready();
    let message = frame::encode(
        &FromRunner::Call {
            id: 1,
            call: Call::Pods,
        },
        FRAME_FROM_RUNNER,
    )
    .unwrap();
    let mut body = message[4..].to_vec();
    body.push(0);
    channel.send_body(&body);
    channel.wait_for_ever();
}

/// A message that begins like `call` does, and then claims that it is followed by so much.
fn claim_in(channel: &mut Channel, call: Call, claim: &[u8]) {
    channel.ready();
    let frame = frame::encode(&FromRunner::Call { id: 1, call }, FRAME_FROM_RUNNER).unwrap();
    // The call ends with an empty text, whose length is its last byte.
    let mut body = frame[4..frame.len() - 1].to_vec();
    body.extend_from_slice(claim);
    channel.send_body(&body);
    channel.wait_for_ever();
}

fn list_of_four_billion(channel: &mut Channel) {
    claim_in(
        channel,
        Call::CreatePod(String::new()),
        &[0xff, 0xff, 0xff, 0xff, 0x0f],
    );
}

fn text_that_is_not_utf8(channel: &mut Channel) {
    claim_in(channel, Call::CreatePod(String::new()), &[2, 0xc3, 0x28]);
}

fn call_before_ready(channel: &mut Channel) {
    channel.call(1, Call::Pods);
    channel.wait_for_ever();
}

fn ready_twice(channel: &mut Channel) {
    channel.ready();
    channel.ready();
    channel.wait_for_ever();
}

fn another_version(channel: &mut Channel) {
    channel.send(&FromRunner::Ready {
        version: VERSION + 1,
    });
    channel.wait_for_ever();
}

/// All with one id, faster than they can be answered.
fn same_call_twice(channel: &mut Channel) {
    let mut frames =
        frame::encode(&FromRunner::Ready { version: VERSION }, FRAME_FROM_RUNNER).unwrap();
    // The host may answer before it reads on, and then the id is free again; not so often in a row.
    for _ in 0..200 {
        frames.extend(
            frame::encode(
                &FromRunner::Call {
                    id: 1,
                    call: Call::Pods,
                },
                FRAME_FROM_RUNNER,
            )
            .unwrap(),
        );
    }
    channel.send_raw(&frames);
    channel.wait_for_ever();
}

fn flood_of_calls(channel: &mut Channel) {
    let mut frames =
        frame::encode(&FromRunner::Ready { version: VERSION }, FRAME_FROM_RUNNER).unwrap();
    for id in 0..1000 {
        frames.extend(
            frame::encode(
                &FromRunner::Call {
                    id,
                    call: Call::Pods,
                },
                FRAME_FROM_RUNNER,
            )
            .unwrap(),
        );
    }
    channel.send_raw(&frames);
    channel.wait_for_ever();
}

/// A handle of a job that is closed is answered, because a script may use one. This one was never given to anybody.
fn handle_never_given(channel: &mut Channel) {
    channel.ready();
    channel.call(1, Call::NextOutcome(4711));
    channel.wait_for_ever();
}

fn flood_of_output(channel: &mut Channel) {
    channel.ready();
    loop {
        channel.send(&FromRunner::Note(Note::Stdout(vec![b'x'; 16 << 10])));
    }
}

fn silence_after_ready(channel: &mut Channel) {
    channel.ready();
    channel.wait_for_ever();
}

/// Asks again and again, one call at a time, and reads no answer.
fn deaf_to_answers(channel: &mut Channel) {
    channel.ready();
    let nowhere = Location {
        pod: "any".to_owned(),
        path: format!("/{}", "x".repeat(90)),
    };
    for id in 0.. {
        channel.call(id, Call::Stat(nowhere.clone()));
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn closed_without_a_word(channel: &mut Channel) {
    channel.ready();
}
