//! The network behind a daemon: the suite that every network passes, and what goes wrong on a real one.

mod faults;
mod journal;
mod market;
mod scene;

use std::process::ExitCode;

use libtest_mimic::{Arguments, Trial};
use sovr_golem::network::conformance;

use crate::scene::Scene;

/// A test, by its name.
pub(crate) type Test = (&'static str, fn());

fn main() -> ExitCode {
    // In CI what is missing is a failure, elsewhere a skip that counts as ignored.
    let missing = sovr_test_golem::prepare();
    let suite = conformance::cases().into_iter().map(|(name, case)| {
        let run = move || {
            let scene = Scene::new();
            scene.run(async |scene| {
                let subject = scene.subject().await;
                if let Err(saw) = case(subject).await {
                    panic!("{saw}");
                }
            });
            Ok(())
        };
        Trial::test(name, run)
    });
    let others = [market::TESTS, faults::TESTS].concat();
    let others = others.into_iter().map(|(name, run)| {
        Trial::test(name, move || {
            run();
            Ok(())
        })
    });
    let tests = suite.chain(others).map(|test| {
        if let Some(why) = &missing {
            println!("skipped: {}: {why}", test.name());
        }
        test.with_ignored_flag(missing.is_some())
    });
    libtest_mimic::run(&Arguments::from_args(), tests.collect()).exit_code()
}
