//! Official clients of Golem as requestors of `provide`: each sends a scene, has a frame rendered, fetches it and pays.

use picture::Image;
use sovr_e2e::{Pod, render};
use sovr_test_golem::client::{Client, Job};
use sovr_test_golem::{Network, place};

use crate::providing::Providing;
use crate::user::SUBNET;

const FRAMES: u32 = 2;
const FRAME: u32 = 10;

/// Why a client cannot be run here. In CI that is a failure of its test.
pub(crate) fn missing(client: Client) -> Option<String> {
    client.missing().filter(|_| !place::is_ci())
}

pub(crate) fn has_frames_rendered(client: Client) {
    let network = Network::start();
    let mut providing = Providing::start(network.provider(), &[]);
    let pod = Pod::from_template("render");
    let payload = |name: &str| std::fs::read(pod.join("payload").join(name)).unwrap();
    let frame = FRAME.to_string();
    let arguments = [&["--frame", &frame][..], &render::SMALL].concat();
    let job = Job {
        subnet: SUBNET.to_owned(),
        runtime: "sovr-wasi".to_owned(),
        package: payload("renderer.zip"),
        program: "/golem/entrypoints/render".to_owned(),
        arguments: arguments.into_iter().map(str::to_owned).collect(),
        input: payload("scene.json"),
        send_to: "/golem/resource/scene.json".to_owned(),
        fetch_from: "/golem/output/out0000.png".to_owned(),
        tasks: FRAMES,
        talks: true,
    };
    let report = client.run(network.requestor(), &job);

    for done in &report.tasks {
        assert!(done.stdout.starts_with("frame 10: 96 x 72"), "{done:?}");
        render::expect_picture(FRAME, &Image::decode(&done.fetched).unwrap());
    }
    providing.wait_for("invoice-accepted");
    let told = providing.stop();
    told.expect_no_trouble();
    assert_eq!(
        told.all("invoice-sent", "invoice"),
        told.all("invoice-accepted", "invoice")
    );
    assert!(!told.asked().is_zero());
}
