//! The program on the real FairOS-dfs server, as its users meet it.
//!
//! The server is one program for all tests, so each test has users of its own. Where the server is not built the tests
//! are left out, and that is said.

#[allow(dead_code, reason = "the other test program uses the rest")]
#[path = "../cli/person.rs"]
mod person;
#[allow(dead_code, reason = "the other test program uses the rest")]
#[path = "../cli/place.rs"]
mod place;
mod someone;

mod account;
mod journey;
mod terminal;

use std::process::ExitCode;

use libtest_mimic::{Arguments, Trial};
use sovr_test_fairos::{Server, program};

const TESTS: [(&str, fn()); 12] = [
    (
        "a_pod_goes_from_one_account_to_another_and_to_somebody_without",
        journey::a_pod_goes_from_one_account_to_another_and_to_somebody_without,
    ),
    (
        "no_secret_is_written_down_or_said",
        journey::no_secret_is_written_down_or_said,
    ),
    (
        "a_login_is_kept_until_logout",
        account::a_login_is_kept_until_logout,
    ),
    (
        "a_login_that_has_ended_is_told_and_a_password_goes_on",
        account::a_login_that_has_ended_is_told_and_a_password_goes_on,
    ),
    (
        "a_wrong_password_and_an_unknown_user_are_told_apart",
        account::a_wrong_password_and_an_unknown_user_are_told_apart,
    ),
    (
        "a_taken_name_and_an_unfit_password_are_no_account",
        account::a_taken_name_and_an_unfit_password_are_no_account,
    ),
    (
        "the_twelve_words_are_told_once_and_taken_from_a_file",
        account::the_twelve_words_are_told_once_and_taken_from_a_file,
    ),
    (
        "a_sign_up_that_costs_a_fee_tells_what_to_pay_and_the_words",
        account::a_sign_up_that_costs_a_fee_tells_what_to_pay_and_the_words,
    ),
    (
        "credentials_of_the_original_are_taken",
        account::credentials_of_the_original_are_taken,
    ),
    (
        "doctor_sees_server_and_account",
        account::doctor_sees_server_and_account,
    ),
    (
        "a_password_is_asked_for_and_not_shown",
        terminal::a_password_is_asked_for_and_not_shown,
    ),
    (
        "a_new_password_is_typed_twice",
        terminal::a_new_password_is_typed_twice,
    ),
];

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let missing = program::missing();
    if let Some(why) = &missing {
        println!("{why}");
    }
    // Kept from the first test to the last.
    let server = (missing.is_none() && !arguments.list).then(Server::dev);
    let trials = TESTS.map(|(name, test)| {
        let run = move || {
            test();
            Ok(())
        };
        Trial::test(name, run).with_ignored_flag(missing.is_some())
    });
    let conclusion = libtest_mimic::run(&arguments, trials.into());
    drop(server);
    conclusion.exit_code()
}
