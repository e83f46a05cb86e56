//! Each wall, tried from inside: this program starts itself as a confined child that attempts one thing and tells what
//! the kernel answered.

mod amounts;
mod attempt;
mod calls;
mod channel;
mod files;
mod inheritance;
mod life;

use std::future::Future;
use std::os::fd::OwnedFd;
use std::process::ExitCode;
use std::time::Duration;

use libtest_mimic::{Arguments, Failed, Trial};
use sovr_sandbox::frame::{self, FrameError};
use sovr_sandbox::{Child, Confinement, ProcessLimits, Role, Strength, role, spawn, walls};

use attempt::{Answer, Attempt, FRAME_MAX};

/// First argument of the program in which it starts a child, tells its id and waits to be killed.
const PARENT: &str = "be-a-parent";

/// Long enough for a loaded machine; nothing waits for it when the walls hold.
const PATIENCE: Duration = Duration::from_secs(20);

fn main() -> ExitCode {
    if role().is_some() {
        return attempt::child();
    }
    if std::env::args().nth(1).as_deref() == Some(PARENT) {
        return life::be_a_parent();
    }
    let without_landlock = walls()
        .iter()
        .any(|wall| wall.name == "landlock" && wall.strength != Strength::Full);
    let everywhere = [
        inheritance::tests(),
        calls::tests(),
        amounts::tests(),
        life::tests(),
        channel::tests(),
    ]
    .concat();
    let everywhere = everywhere.into_iter().map(|test| trial(test, false));
    let landlocked = files::tests()
        .into_iter()
        .map(|test| trial(test, without_landlock));
    libtest_mimic::run(
        &Arguments::from_args(),
        everywhere.chain(landlocked).collect(),
    )
    .exit_code()
}

/// A test's name and the test itself.
type Test = (&'static str, fn());

fn trial((name, test): Test, ignored: bool) -> Trial {
    let run = move || {
        test();
        Ok::<(), Failed>(())
    };
    Trial::test(name, run).with_ignored_flag(ignored)
}

/// Names the tests of a module.
macro_rules! tests {
    ($($name:ident),* $(,)?) => {
        pub(crate) fn tests() -> Vec<crate::Test> {
            vec![$((stringify!($name), $name as fn())),*]
        }
    };
}
pub(crate) use tests;

fn limits() -> ProcessLimits {
    ProcessLimits {
        data: 256 << 20,
        address_space: 64 << 30,
        file_size: 1 << 20,
        open_files: 64,
        threads: false,
        cpu: None,
    }
}

fn nothing() -> Confinement {
    Confinement {
        read: Vec::new(),
        write: Vec::new(),
        limits: limits(),
    }
}

fn run<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
        .block_on(async {
            tokio::time::timeout(PATIENCE, future)
                .await
                .expect("it took too long")
        })
}

fn start(role: Role, confinement: &Confinement, files: Vec<OwnedFd>) -> Child {
    spawn(role, confinement, files).unwrap()
}

async fn ask(child: &mut Child, attempt: &Attempt) -> Answer {
    let mut channel = child.take_channel();
    frame::send(&mut channel, attempt, FRAME_MAX).await.unwrap();
    match frame::Reader::new(channel, FRAME_MAX).next().await {
        Ok(Some(answer)) => answer,
        other => panic!(
            "no answer: {other:?}; status {:?}; it said: {}",
            child.wait().await,
            child.diagnostics()
        ),
    }
}

fn attempt_with(
    role: Role,
    confinement: &Confinement,
    files: Vec<OwnedFd>,
    attempt: Attempt,
) -> Answer {
    run(async { ask(&mut start(role, confinement, files), &attempt).await })
}

fn try_it(attempt: Attempt) -> Answer {
    attempt_with(Role::Work, &nothing(), Vec::new(), attempt)
}

/// The child ends without reading what waits for it, and says why.
fn refuses(confinement: &Confinement, reason: &str) {
    run(async {
        let mut child = start(Role::Work, confinement, Vec::new());
        let mut channel = child.take_channel();
        drop(frame::send(&mut channel, &Attempt::CountEnvironment, FRAME_MAX).await);
        let answer = frame::Reader::new(channel, FRAME_MAX)
            .next::<Answer>()
            .await;
        assert!(
            matches!(answer, Ok(None) | Err(FrameError::Closed)),
            "{answer:?}"
        );
        assert_eq!(child.wait().await.unwrap().code(), Some(attempt::REFUSED));
        assert!(
            child.diagnostics().contains(reason),
            "{}",
            child.diagnostics()
        );
    });
}
