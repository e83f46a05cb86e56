//! The program and a real Golem daemon.

mod clients;
mod daemon;
mod left_open;
#[path = "../cli/leftover.rs"]
mod leftover;
mod provide;
mod providing;
mod run;
mod user;
mod work;

use std::process::ExitCode;

use sovr_test_golem::{Client, Suite, tests};

fn main() -> ExitCode {
    let missing = sovr_test_golem::prepare();
    let tests = tests![
        daemon::status_tells_how_things_stand,
        daemon::doctor_sees_the_daemon_and_the_account,
        left_open::what_belongs_to_another_identity_is_not_touched,
        run::a_pod_runs_on_golem_and_its_provider_is_paid,
        run::what_a_run_cannot_close_is_told,
        run::what_a_killed_run_has_open_is_ended,
        provide::an_offer_stands_until_ctrl_c,
        provide::what_cannot_be_offered_is_told_with_its_place,
        work::hello_world_is_done_and_each_step_told,
        work::frames_are_rendered_and_paid_for,
        work::a_provider_may_crash_or_stop_and_come_again,
        work::a_run_goes_on_when_its_daemon_comes_back,
    ];
    let mut suite = Suite::default();
    suite.add_all(missing.as_deref(), tests);
    // Requestors that others have written.
    for client in Client::ALL {
        let missing = missing.clone().or_else(|| clients::missing(client));
        let name = format!("clients::{}_has_frames_rendered", client.name());
        suite.add(missing.as_deref(), name, move || {
            clients::has_frames_rendered(client)
        });
    }
    suite.run()
}
