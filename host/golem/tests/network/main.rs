//! The network behind a daemon: the suite that every network passes, and what goes wrong on a real one.

mod faults;
mod journal;
mod market;
mod scene;

use std::process::ExitCode;

use sovr_golem::network::conformance;
use sovr_test_golem::Suite;

use crate::scene::Scene;

/// A test, by its name.
pub(crate) type Test = (&'static str, fn());

fn main() -> ExitCode {
    let missing = sovr_test_golem::prepare();
    let missing = missing.as_deref();
    let mut suite = Suite::default();
    for (name, case) in conformance::cases() {
        suite.add(missing, name, move || {
            let scene = Scene::new();
            scene.run(async |scene| {
                let subject = scene.subject().await;
                if let Err(saw) = case(subject).await {
                    panic!("{saw}");
                }
            });
        });
    }
    suite.add_all(missing, [market::TESTS, faults::TESTS].concat());
    suite.run()
}
