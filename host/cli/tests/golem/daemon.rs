//! `golem status` and `doctor`.

use serde_json::json;
use sovr_test_golem::Network;

use crate::user::User;

pub(crate) fn status_tells_how_things_stand() {
    let network = Network::start();
    let node = network.requestor();
    let user = User::of(node);
    let status = |words: &[&str], variables: &[(&str, &str)]| {
        user.run_with(&[&["golem", "status"], words].concat(), variables)
    };
    let fresh = status(&["--json"], &[]);
    assert_eq!(fresh.code, Some(0), "{fresh:?}");
    let report = fresh.json();
    assert_eq!(report["identity"], node.id());
    assert_eq!(report["version"], "0.17.6");
    assert_eq!(report["key"], json!({ "in": "variable" }));
    assert_eq!(report["platform"], "erc20-holesky-tglm");
    for list in ["accounts", "allocations", "agreements", "demands", "errors"] {
        assert_eq!(report[list], json!([]), "{list}");
    }
    let shown = status(&[], &[]);
    assert!(
        shown
            .stdout
            .contains("none was used since the daemon started"),
        "{shown:?}"
    );

    for amount in ["2.5", "1"] {
        let allocation = json!({
            "totalAmount": amount, "paymentPlatform": "erc20-holesky-tglm", "makeDeposit": false,
        });
        node.post("/payment-api/v1/allocations", &allocation).ok();
    }
    let demand = json!({ "properties": { "golem.node.debug.subnet": "x" }, "constraints": "()" });
    let demand = node.post("/market-api/v1/demands", &demand).ok();
    let report = status(&["--json"], &[]).json();
    assert_eq!(report["accounts"][0]["address"], node.id());
    assert_eq!(
        report["set-aside"],
        json!({ "total": "3.5", "spent": "0", "remaining": "3.5" })
    );
    assert_eq!(report["demands"][0]["id"], demand);
    let shown = status(&[], &[]);
    assert_eq!(shown.code, Some(0), "{shown:?}");
    assert!(
        shown
            .stdout
            .contains("3.5 in 2 allocations: 0 spent, 3.5 left")
            && shown.stdout.contains(demand.as_str().unwrap()),
        "{shown:?}"
    );

    // What is set aside on another network is not what runs pay from, and a network that is none is told.
    let elsewhere = status(&["--json"], &[("YAGNA_PAYMENT_NETWORK", "nowhere")]);
    assert_eq!(elsewhere.code, Some(5), "{elsewhere:?}");
    let report = elsewhere.json();
    assert_eq!(report["set-aside"]["total"], "0");
    assert_eq!(report["allocations"].as_array().unwrap().len(), 2);
    let error = report["errors"][0].as_str().unwrap();
    assert!(
        error.contains("nowhere") && error.contains("driver and network"),
        "{error}"
    );

    let wrong = status(&[], &[("YAGNA_APPKEY", "another")]);
    assert_eq!((wrong.code, wrong.stdout.as_str()), (Some(5), ""));
    assert!(wrong.stderr.contains("set YAGNA_APPKEY"), "{wrong:?}");
}

pub(crate) fn doctor_sees_the_daemon_and_the_account() {
    let network = Network::start();
    let user = User::of(network.requestor());
    let look = |variables: &[(&str, &str)]| {
        let report = user.run_with(&["doctor", "--json", "--network", "yagna"], variables);
        let report = report.json();
        let account = report["state"].as_array().unwrap().iter();
        let account = account.clone().find(|item| item["name"] == "golem account");
        (report["daemons"][0].clone(), account.cloned())
    };
    let (daemon, account) = look(&[]);
    assert_eq!(daemon["state"], "ok", "{daemon:#}");
    assert!(daemon["found"].as_str().unwrap().starts_with("0.17.6 at "));
    let account = account.unwrap();
    assert_eq!(account["state"], "ok", "{account:#}");
    assert!(
        account["found"]
            .as_str()
            .unwrap()
            .starts_with(network.requestor().id())
    );

    let (daemon, account) = look(&[("YAGNA_PAYMENT_DRIVER", "nobody")]);
    assert_eq!(daemon["state"], "ok", "{daemon:#}");
    assert_eq!(account.unwrap()["state"], "missing");
    let (daemon, account) = look(&[("YAGNA_APPKEY", "another")]);
    assert_eq!(daemon["state"], "missing", "{daemon:#}");
    assert_eq!(account, None);
    network.requestor().kill();
    let (daemon, _) = look(&[]);
    assert_eq!(daemon["state"], "missing", "{daemon:#}");
}
