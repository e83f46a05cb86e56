//! `cleanup`.

use sovr_capability::ledger::Ceilings;
use sovr_capability::{Amount, Home, Journal, Ledger, RunId};
use sovr_golem::network::NodeId;
use sovr_golem::yagna::Change;
use sovr_test_golem::Network;

use crate::user::User;

/// Writes down what a run would have at a daemon, and lets the run end.
fn leave_a_session(home: &Home, changes: &[Change]) {
    home.prepare().unwrap();
    let run = RunId::generate().unwrap();
    let ceilings = Ceilings {
        run: Amount::glm(9),
        day: Amount::glm(9),
        month: Amount::glm(9),
    };
    let account = Ledger::open(home).unwrap().account(&run, ceilings).unwrap();
    let journal = Journal::open(home).unwrap();
    for (index, change) in changes.iter().enumerate() {
        let words = serde_json::to_string(change).unwrap();
        let write = match index {
            0 => Journal::begin,
            _ => Journal::append,
        };
        write(&journal, account.run(), "session", &words).unwrap();
    }
}

pub(crate) fn what_belongs_to_another_identity_is_not_touched() {
    let network = Network::start();
    let user = User::of(network.requestor());
    let home = Home::at(user.home());
    let other = NodeId::from_bytes([7; 20]);
    leave_a_session(
        &home,
        &[Change::SessionOpened {
            node: other.clone(),
            at: "2026-11-21T12:00:00Z".parse().unwrap(),
        }],
    );
    let given = user.run(&["cleanup", "--json"]);
    assert_eq!(given.code, Some(5), "{given:?}");
    let report = given.json();
    assert_eq!(report["complete"], false, "{report:#}");
    let problem = report["sessions"][0]["problems"][0].as_str().unwrap();
    for word in [&other.to_string(), network.requestor().id(), "YAGNA_APPKEY"] {
        assert!(problem.contains(word), "{problem}");
    }
    assert_eq!(Journal::open(&home).unwrap().sessions().unwrap().len(), 1);
}
