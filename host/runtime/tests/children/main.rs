//! Compiling, examining, working and unpacking, in real children: this program starts itself again in each role.

mod archive;
mod code;
mod guest;
mod package;
mod work;

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
        code::trials(),
        work::trials(),
        archive::trials(),
        package::trials(),
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
            vec![$((stringify!($name), $name as fn())),*]
        }
    };
}
pub(crate) use tests;

fn run<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap()
        .block_on(async {
            tokio::time::timeout(PATIENCE, future)
                .await
                .expect("it took too long")
        })
}
