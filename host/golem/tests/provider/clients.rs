//! Official clients of Golem as requestors: each sends a file, has a program of a WASI package run and fetches a file,
//! and pays for it.

use sovr_golem::provider::Event;
use sovr_test_golem::client::{Client, Done, Job};
use sovr_test_golem::place;

use crate::guest;
use crate::requestor::SUBNET;
use crate::scene::{Ours, Scene};

/// Why a client cannot be run here. In CI that is a failure of its test.
pub(crate) fn missing(client: Client) -> Option<String> {
    client.missing().filter(|_| !place::is_ci())
}

pub(crate) fn has_its_tasks_done(client: Client) {
    let scene = Scene::new();
    let ours = Ours::start(&scene, scene.settings());
    let file = "/golem/work/file".to_owned();
    let words = "some words\n";
    let job = Job {
        subnet: SUBNET.to_owned(),
        runtime: "sovr-wasi".to_owned(),
        package: guest::package(),
        program: "cat".to_owned(),
        arguments: Vec::new(),
        input: words.into(),
        send_to: file.clone(),
        fetch_from: file,
        tasks: 2,
        talks: true,
    };
    let report = client.run(scene.network.requestor(), &job);

    let done = || Done {
        stdout: words.to_owned(),
        fetched: words.into(),
    };
    assert_eq!(report.tasks, [done(), done()]);
    ours.wait_for(|event| matches!(event, Event::InvoiceAccepted { .. }).then_some(()));
    let events = ours.stop();
    let trouble = events
        .iter()
        .find(|event| matches!(event, Event::Trouble { .. }));
    assert!(trouble.is_none(), "{trouble:?}");
    assert_eq!(scene.scratch_entries(), 0);
}
