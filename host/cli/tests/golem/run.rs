//! `run --network yagna`, with the scripted provider at the other end.

use std::io::{BufRead, BufReader};
use std::process::Stdio;

use serde_json::{Value, json};
use sovr_capability::{Home, Journal};
use sovr_e2e::Pod;
use sovr_test_golem::{Fault, Gate, Network, Provider, Terms};
use sovr_test_support::http::{Listener, Response};

use crate::user::{SUBNET, User};

/// A network with a provider and where images are looked up: of the two forms of a pod's package the scripted provider
/// takes the image.
struct Scene {
    network: Network,
    provider: Provider,
    registry: Listener,
}

impl Scene {
    fn new() -> Scene {
        let network = Network::start();
        let provider = Provider::start(network.provider(), Terms::of(SUBNET));
        let registry = Listener::start(|request| {
            let hash = request.query.split(['=', '&']).nth(1).unwrap_or_default();
            let found = json!({ "sha3": hash, "http": "http://127.0.0.1:9/image", "size": 1 });
            Response {
                status: 200,
                content_type: "application/json",
                body: found.to_string().into_bytes(),
                cut: None,
            }
        });
        Scene {
            network,
            provider,
            registry: registry.unwrap(),
        }
    }

    fn user(&self) -> User<'_> {
        User::of(self.network.requestor())
    }

    /// Nothing is open at the daemon.
    fn assert_empty(&self) {
        for path in [
            "/payment-api/v1/allocations",
            "/market-api/v1/demands",
            "/market-api/v1/agreements?state=Approved",
        ] {
            let open = self.network.requestor().get(path).ok();
            assert_eq!(open, json!([]), "{path}");
        }
    }
}

pub(crate) fn a_pod_runs_on_golem_and_its_provider_is_paid() {
    let scene = Scene::new();
    let user = scene.user();
    let pod = Pod::from_template("hello-world");
    let registry = format!("http://{}", scene.registry.address());
    let path = pod.path();
    let words = ["run", path.to_str().unwrap(), "--yes", "--json"];
    let variables = [
        ("SOVR_NETWORK", "yagna"),
        ("YAGNA_SUBNET", SUBNET),
        ("GOLEM_REGISTRY_URL", &registry),
    ];
    let given = user.run_with(&words, &variables);
    assert_eq!(given.code, Some(0), "{given:?}");
    assert!(
        given.stdout.contains("test provider answers: "),
        "{given:?}"
    );
    let finished = given.stdout.lines().last().unwrap();
    let finished: Value = serde_json::from_str(finished).unwrap();
    // 0.1 to start, a second of processor time at 0.02, two seconds at 0.01.
    assert_eq!(finished["cost"], "0.14", "{finished:#}");
    scene.assert_empty();
    let left = user.run(&["cleanup", "--json"]).json();
    assert_eq!(left["complete"], true, "{left:#}");
    let key = scene.network.requestor().app_key();
    for file in std::fs::read_dir(user.home().join("state/audit")).unwrap() {
        let log = std::fs::read_to_string(file.unwrap().path()).unwrap();
        assert!(!log.contains(key), "{log}");
    }
    assert!(!format!("{given:?}").contains(key), "{given:?}");
}

pub(crate) fn what_a_killed_run_has_open_is_ended() {
    let scene = Scene::new();
    scene.provider.commit(Fault::NoActivity);
    let user = scene.user();
    let pod = Pod::from_template("hello-world");
    let registry = format!("http://{}", scene.registry.address());
    let path = pod.path();
    let words = ["run", path.to_str().unwrap(), "--yes", "--json"];
    let mut run = user
        .command(&[&words[..], &["--network", "yagna"]].concat())
        .env("YAGNA_SUBNET", SUBNET)
        .env("GOLEM_REGISTRY_URL", registry)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(run.stdout.take().unwrap()).lines();
    let agreed = lines.find(|line| {
        line.as_ref()
            .is_ok_and(|line| line.contains("\"agreement-confirmed\""))
    });
    run.kill().unwrap();
    run.wait().unwrap();
    assert!(agreed.is_some(), "there was no agreement");

    let seen = user.run(&["cleanup", "--dry-run", "--json"]);
    assert_eq!(seen.code, Some(5), "{seen:?}");
    let session = seen.json()["sessions"][0].clone();
    assert_eq!(session["identity"], scene.network.requestor().id());
    assert_eq!(session["agreements"], 1, "{session:#}");
    assert_eq!(session["set-aside"], "1", "{session:#}");

    let done = user.run(&["cleanup", "--json"]);
    assert_eq!(done.code, Some(0), "{done:?}");
    let report = done.json();
    assert_eq!(report["complete"], true, "{report:#}");
    assert_eq!(report["sessions"][0]["closed"], true, "{report:#}");
    assert_eq!(report["money"][0]["released"], true, "{report:#}");
    scene.assert_empty();
    let home = Home::at(user.home());
    assert_eq!(Journal::open(&home).unwrap().sessions().unwrap(), []);
    let again = user.run(&["cleanup"]);
    assert_eq!(
        (again.code, again.stderr.as_str()),
        (Some(0), "nothing was left open\n")
    );
}

pub(crate) fn what_a_run_cannot_close_is_told() {
    let scene = Scene::new();
    let gate = Gate::before(scene.network.requestor());
    gate.refuse("DELETE", "/allocations", 100, 500, "{}");
    let user = scene.user();
    let pod = Pod::from_template("hello-world");
    let registry = format!("http://{}", scene.registry.address());
    let path = pod.path();
    let words = ["run", path.to_str().unwrap(), "--yes", "--network", "yagna"];
    let variables = [
        (
            "YAGNA_PAYMENT_URL",
            format!("{}/payment-api/v1", gate.url()),
        ),
        ("YAGNA_SUBNET", SUBNET.to_owned()),
        ("GOLEM_REGISTRY_URL", registry),
    ];
    let variables = variables
        .each_ref()
        .map(|(name, value)| (*name, value.as_str()));
    let given = user.run_with(&words, &variables);
    assert_eq!(given.code, Some(0), "{given:?}");
    assert!(given.stderr.contains("sovr-host cleanup"), "{given:?}");
    let done = user.run(&["cleanup", "--json"]);
    assert_eq!(done.code, Some(0), "{done:?}");
    scene.assert_empty();
}
