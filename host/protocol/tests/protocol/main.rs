//! The protocol on the embedded store: users who persist, share and fork, and what strangers and faults do to them.
//!
//! Archives are unpacked by real confined children, so this program starts itself again in that role.

mod books;
mod fork;
mod hostile;
mod names;
mod payload;
mod persist;
mod program;
mod stopped;
mod world;

use std::future::Future;
use std::process::ExitCode;
use std::time::Duration;

use libtest_mimic::{Arguments, Failed, Trial};

/// Longer than anything takes on a loaded machine.
const PATIENCE: Duration = Duration::from_secs(120);

fn main() -> ExitCode {
    if let Some(role) = sovr_sandbox::role() {
        return sovr_runtime::child(role);
    }
    let trials = [
        books::trials(),
        fork::trials(),
        names::trials(),
        payload::trials(),
        persist::trials(),
        program::trials(),
        stopped::trials(),
    ]
    .concat();
    let trials = trials
        .into_iter()
        .map(|(name, test)| {
            Trial::test(name, move || {
                test();
                Ok::<(), Failed>(())
            })
        })
        .collect();
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}

type Test = (&'static str, fn());

/// Names of tests and the tests themselves.
macro_rules! tests {
    ($($name:ident),* $(,)?) => {
        pub(crate) fn trials() -> Vec<crate::Test> {
            vec![$((stringify!($name), (|| crate::run($name())) as fn())),*]
        }
    };
}
pub(crate) use tests;

fn run(test: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap()
        .block_on(async {
            tokio::time::timeout(PATIENCE, test)
                .await
                .expect("it took too long");
        });
}
