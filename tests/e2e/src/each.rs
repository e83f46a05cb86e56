//! Tests that hold on every kind of storage, and run on each.
//!
//! The server is one program for all tests of a process, and slow to start; it stays from the first that needs it to
//! the end. In CI a missing server is a failure, elsewhere a skip that counts as ignored.

use std::process::ExitCode;
use std::sync::{Mutex, PoisonError};

use libtest_mimic::{Arguments, Trial};
use sovr_test_fairos::{Server, program};

use crate::Storage;

/// A test and its name.
pub type Test = (&'static str, fn(&Storage));

/// The server in development mode, kept.
static SERVER: Mutex<Option<Server>> = Mutex::new(None);

/// One trial for each test and kind of storage: `embedded::NAME` and `fairos::NAME`.
pub fn on_each_storage(tests: &[Test]) -> Vec<Trial> {
    let embedded = tests.iter().map(|&(name, test)| {
        Trial::test(format!("embedded::{name}"), move || {
            test(&Storage::new());
            Ok(())
        })
    });
    let fairos = tests.iter().map(|&(name, test)| {
        let trial = Trial::test(format!("fairos::{name}"), move || {
            let kept = || SERVER.lock().unwrap_or_else(PoisonError::into_inner);
            kept().get_or_insert_with(Server::dev);
            // One of its own, which shows the end of the server's log if the test fails.
            test(&Storage::fairos(Server::dev()));
            Ok(())
        });
        needs_server(trial)
    });
    embedded.chain(fairos).collect()
}

/// Runs trials as the command line asks, and ends the server.
pub fn run(trials: Vec<Trial>) -> ExitCode {
    let conclusion = libtest_mimic::run(&Arguments::from_args(), trials);
    // Nobody drops what is static, and the server's directory would stay.
    drop(SERVER.lock().unwrap_or_else(PoisonError::into_inner).take());
    conclusion.exit_code()
}

/// Leaves a test out where there is no server, and says so.
pub fn needs_server(trial: Trial) -> Trial {
    let missing = program::missing();
    if let Some(why) = &missing {
        println!("skipped: {}: {why}", trial.name());
    }
    trial.with_ignored_flag(missing.is_some())
}

/// Tests by the names of their functions.
#[macro_export]
macro_rules! tests {
    ($($name:ident),* $(,)?) => { [$((stringify!($name), $name as fn(&$crate::Storage))),*] };
}
