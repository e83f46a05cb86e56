//! How a child lives and dies.

use std::io::Read as _;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use sovr_sandbox::{Role, frame};

use crate::attempt::{self, Attempt, FRAME_MAX};
use crate::{PARENT, PATIENCE, ask, nothing, run, start};

crate::tests!(
    a_killed_child_is_gone_and_killing_again_does_nothing,
    a_dropped_child_is_killed_and_leaves_no_zombie,
    a_child_outlives_the_thread_that_asked_for_it,
    a_child_dies_with_its_parent,
    an_exit_status_is_seen_twice,
    the_first_complaints_are_kept_and_a_flood_blocks_nobody,
);

pub(crate) fn be_a_parent() -> ExitCode {
    run(async {
        let mut child = start(Role::Work, &nothing(), Vec::new());
        let mut channel = child.take_channel();
        frame::send(&mut channel, &Attempt::Sleep, FRAME_MAX)
            .await
            .unwrap();
        // So that its walls are up.
        println!("{}", child.id());
        std::future::pending::<()>().await;
    });
    ExitCode::FAILURE
}

fn a_killed_child_is_gone_and_killing_again_does_nothing() {
    run(async {
        let mut child = start(Role::Work, &nothing(), Vec::new());
        let mut channel = child.take_channel();
        frame::send(&mut channel, &Attempt::Sleep, FRAME_MAX)
            .await
            .unwrap();
        child.kill();
        child.kill();
        assert_eq!(child.wait().await.unwrap().signal(), Some(libc::SIGKILL));
        assert!(!Path::new(&format!("/proc/{}", child.id())).exists());
        child.kill();
        assert_eq!(child.wait().await.unwrap().signal(), Some(libc::SIGKILL));
    });
}

fn a_dropped_child_is_killed_and_leaves_no_zombie() {
    run(async {
        let mut child = start(Role::Work, &nothing(), Vec::new());
        let mut channel = child.take_channel();
        frame::send(&mut channel, &Attempt::Sleep, FRAME_MAX)
            .await
            .unwrap();
        let process = format!("/proc/{}", child.id());
        assert!(Path::new(&process).exists());
        drop(child);
        let since = Instant::now();
        while Path::new(&process).exists() {
            assert!(since.elapsed() < PATIENCE, "the process is still there");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    });
}

fn a_child_outlives_the_thread_that_asked_for_it() {
    run(async {
        let mut child = tokio::task::spawn_blocking(|| start(Role::Work, &nothing(), Vec::new()))
            .await
            .unwrap();
        let runtime = tokio::runtime::Handle::current();
        let other = std::thread::spawn(move || {
            let _inside = runtime.enter();
            start(Role::Work, &nothing(), Vec::new())
        });
        let mut other = other.join().unwrap();
        assert_eq!(ask(&mut child, &Attempt::CountEnvironment).await, Ok(0));
        assert_eq!(ask(&mut other, &Attempt::CountEnvironment).await, Ok(0));
    });
}

fn a_child_dies_with_its_parent() {
    let mut parent = Command::new(std::env::current_exe().unwrap());
    let mut parent = parent
        .arg(PARENT)
        .stdout(Stdio::piped())
        .process_group(0)
        .spawn()
        .unwrap();
    let mut id = String::new();
    let mut output = parent.stdout.take().unwrap();
    while !id.ends_with('\n') {
        let mut byte = [0];
        output.read_exact(&mut byte).unwrap();
        id.push(char::from(byte[0]));
    }
    let child = Pid::from_raw(id.trim().parse().unwrap()).unwrap();
    let child = pidfd_open(child, PidfdFlags::empty()).unwrap();
    let ended_within = |time: Duration| {
        let time = Timespec::try_from(time).unwrap();
        poll(&mut [PollFd::new(&child, PollFlags::IN)], Some(&time)).unwrap() == 1
    };
    assert!(!ended_within(Duration::from_millis(100)));
    parent.kill().unwrap();
    parent.wait().unwrap();
    assert!(ended_within(PATIENCE));
}

fn an_exit_status_is_seen_twice() {
    run(async {
        let mut child = start(Role::Work, &nothing(), Vec::new());
        // Without an attempt it ends.
        drop(child.take_channel());
        assert_eq!(
            child.wait().await.unwrap().code(),
            Some(attempt::NOTHING_TO_DO)
        );
        assert_eq!(
            child.wait().await.unwrap().code(),
            Some(attempt::NOTHING_TO_DO)
        );
    });
}

fn the_first_complaints_are_kept_and_a_flood_blocks_nobody() {
    run(async {
        let mut child = start(Role::Work, &nothing(), Vec::new());
        assert_eq!(
            ask(&mut child, &Attempt::Complain { bytes: 4 << 20 }).await,
            Ok(0)
        );
        let diagnostics = child.diagnostics();
        assert!(diagnostics.starts_with("first of all"), "{diagnostics}");
        assert_eq!(diagnostics.len(), 8 << 10);
    });
}
