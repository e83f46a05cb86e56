//! `provide` by itself: what it offers, and on what.

use serde_json::json;
use sovr_e2e::{Running, exit};
use sovr_test_golem::Network;

use crate::providing::Providing;
use crate::user::{SUBNET, User};

pub(crate) fn an_offer_stands_until_ctrl_c() {
    let network = Network::start();
    let node = network.provider();
    let settings = r#"
        [provide]
        name = "oak"
        memory = "1GiB"
        [provide.price]
        start = "7"
        cpu-second = "0.5"
    "#;
    let user = User::of(node).with("networks.toml", settings);
    let mut providing = Providing::of(user, &["--price-start", "0.25", "--threads", "3"]);
    assert_eq!(providing.wait_for("offered")["node"], node.id());

    // The other node sees it: as the options say, or else the file, or else as is usual.
    let demand = json!({
        "properties": { "golem.node.debug.subnet": SUBNET },
        "constraints": "(&(golem.runtime.name=sovr-wasi)(golem.com.pricing.model=linear))",
    });
    let requestor = network.requestor();
    let demand = requestor.post("/market-api/v1/demands", &demand).ok();
    let demand = demand.as_str().unwrap();
    let path = format!("/market-api/v1/demands/{demand}/events?timeout=60&maxEvents=1");
    let seen = requestor.get(&path).ok()[0]["proposal"].clone();
    for (property, value) in [
        (
            "golem.com.pricing.model.linear.coeffs",
            json!([0.5, 0.0001, 0.25]),
        ),
        ("golem.node.id.name", json!("oak")),
        ("golem.inf.mem.gib", json!(1.0)),
        ("golem.inf.storage.gib", json!(4.0)),
        ("golem.inf.cpu.threads", json!(3)),
    ] {
        assert_eq!(seen["properties"][property], value, "{property} in {seen}");
    }

    // One that does not say how it pays is told so.
    let proposal = seen["proposalId"].as_str().unwrap();
    let counter = format!("/market-api/v1/demands/{demand}/proposals/{proposal}");
    let body = json!({
        "properties": { "golem.node.debug.subnet": SUBNET }, "constraints": "(golem.runtime.name=sovr-wasi)",
    });
    requestor.post(&counter, &body).ok();
    let refused = providing.wait_for("refused");
    assert_eq!(refused["requestor"], requestor.id());

    providing.stop();
    assert_eq!(node.get("/market-api/v1/offers").ok(), json!([]));
}

pub(crate) fn what_cannot_be_offered_is_told_with_its_place() {
    let network = Network::start();
    let settings = "[provide]\nthreads = 2\nprices = \"1\"\n";
    let user = User::of(network.provider()).with("networks.toml", settings);
    // It ends by itself.
    let refused = |user: &User<'_>, words: &[&str], code| {
        let ended = Running::start(user.command(words)).wait();
        ended.expect(code).stderr
    };
    let told = refused(&user, &["provide"], exit::UNAVAILABLE);
    let file = user.home().join("networks.toml").display().to_string();
    for word in [&file, "line 3", "`prices`", "`price`"] {
        assert!(told.contains(word), "{word}: {told}");
    }
    let user = User::of(network.provider());
    let told = refused(&user, &["provide", "--memory", "1MiB"], exit::USAGE);
    assert!(told.contains("16 MiB"), "{told}");
    assert_eq!(
        network.provider().get("/market-api/v1/offers").ok(),
        json!([])
    );
}
