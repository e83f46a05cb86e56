//! Pods on a FairOS-dfs server: the common test-suite on the real one, its faults, and those of the network beneath it;
//! servers that lie, of which there is no real one; and, under `old::`, a server of the older dialect.
//!
//! Where the server is not built the tests that need it are left out, and that is said. The program starts itself again
//! as one of several processes that write one pod, so it has a main of its own.

mod answers;
mod faults;
mod oddities;
mod old;
mod processes;
mod suite;

use std::process::ExitCode;

use libtest_mimic::{Arguments, Trial};
use sovr_dfs::{Dfs, DfsPath, Error, Place, PodName, testsuite};
use sovr_test_fairos::{Server, program};
use tokio::io::AsyncReadExt;
use tokio::runtime::Runtime;

const PASSWORD: &str = "correct horse battery staple";

/// A test by its name.
type Test = (&'static str, fn());

/// Names functions as tests.
macro_rules! tests {
    ($($test:ident)*) => {
        pub(crate) const TESTS: &[crate::Test] = &[$((stringify!($test), $test)),*];
    };
}
pub(crate) use tests;

fn main() -> ExitCode {
    if processes::is_child() {
        return processes::child();
    }
    let arguments = Arguments::from_args();
    let missing = program::missing();
    if let Some(why) = &missing {
        println!("{why}");
    }
    let real = faults::TESTS.iter().chain(processes::TESTS);
    let plain = |(name, test): &Test| {
        let test = *test;
        Trial::test(*name, move || {
            test();
            Ok(())
        })
    };
    let mut trials: Vec<Trial> = oddities::TESTS
        .iter()
        .chain(real)
        .map(|test| plain(test).with_ignored_flag(missing.is_some()))
        .collect();
    trials.extend(testsuite::CASES.iter().map(|case| {
        let run = move || {
            suite::run(case);
            Ok(())
        };
        Trial::test(*case, run).with_ignored_flag(missing.is_some())
    }));
    trials.extend(answers::TESTS.iter().map(plain));
    trials.extend(old::trials());

    // Kept from the first test to the last, if one of them needs it.
    let on_dev = |name: &str| {
        testsuite::CASES.contains(&name) || oddities::TESTS.iter().any(|(test, _)| *test == name)
    };
    let asked = |name: &str| {
        let matches = |text: &String| match arguments.exact {
            true => name == text,
            false => name.contains(text.as_str()),
        };
        arguments.filter.as_ref().is_none_or(matches)
    };
    let needed = trials
        .iter()
        .any(|trial| on_dev(trial.name()) && asked(trial.name()));
    let server = (needed && missing.is_none() && !arguments.list).then(Server::dev);
    let conclusion = libtest_mimic::run(&arguments, trials);
    drop(server);
    conclusion.exit_code()
}

fn block_on<T>(work: impl Future<Output = T>) -> T {
    Runtime::new().expect("a runtime").block_on(work)
}

fn data() -> PodName {
    "data".parse().expect("a pod")
}

fn path(text: &str) -> DfsPath {
    text.parse().expect("a path")
}

async fn write(dfs: &dyn Dfs, at: &str, mut content: &[u8]) -> Result<u64, Error> {
    dfs.write(&data(), &path(at), &mut content).await
}

/// A whole file. A failure in the middle is one, too, and says so.
async fn read(dfs: &dyn Dfs, place: &Place, at: &str) -> Result<Vec<u8>, String> {
    let mut file = dfs
        .read(place, &path(at))
        .await
        .map_err(|error| error.to_string())?;
    let mut content = Vec::new();
    let read = file.content.read_to_end(&mut content).await;
    read.map_err(|error| error.to_string())?;
    assert_eq!(
        content.len() as u64,
        file.size,
        "shorter or longer than it said"
    );
    Ok(content)
}

async fn names(dfs: &dyn Dfs, place: &Place, at: &str) -> Vec<String> {
    let listed = dfs.list(place, &path(at)).await.expect("listed");
    listed.into_iter().map(|entry| entry.name).collect()
}
