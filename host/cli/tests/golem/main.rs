//! The program and a real Golem daemon.

mod daemon;
mod left_open;
mod run;

use std::process::ExitCode;

use libtest_mimic::{Arguments, Trial};

fn main() -> ExitCode {
    // In CI what is missing is a failure, elsewhere a skip that counts as ignored.
    let missing = sovr_test_golem::prepare();
    let tests: [(&str, fn()); 6] = [
        (
            "status_tells_how_things_stand",
            daemon::status_tells_how_things_stand,
        ),
        (
            "doctor_sees_the_daemon_and_the_account",
            daemon::doctor_sees_the_daemon_and_the_account,
        ),
        (
            "what_belongs_to_another_identity_is_not_touched",
            left_open::what_belongs_to_another_identity_is_not_touched,
        ),
        (
            "a_pod_runs_on_golem_and_its_provider_is_paid",
            run::a_pod_runs_on_golem_and_its_provider_is_paid,
        ),
        (
            "what_a_run_cannot_close_is_told",
            run::what_a_run_cannot_close_is_told,
        ),
        (
            "what_a_killed_run_has_open_is_ended",
            run::what_a_killed_run_has_open_is_ended,
        ),
    ];
    let tests = tests.into_iter().map(|(name, run)| {
        if let Some(why) = &missing {
            println!("skipped: {name}: {why}");
        }
        let test = Trial::test(name, move || {
            run();
            Ok(())
        });
        test.with_ignored_flag(missing.is_some())
    });
    libtest_mimic::run(&Arguments::from_args(), tests.collect()).exit_code()
}
