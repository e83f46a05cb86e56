//! `cleanup`.

use sovr_capability::{Home, Journal};
use sovr_golem::network::NodeId;
use sovr_golem::yagna::Change;
use sovr_test_golem::Network;

use crate::leftover::leave_a_session;
use crate::user::User;

pub(crate) fn what_belongs_to_another_identity_is_not_touched() {
    let network = Network::start();
    let user = User::of(network.requestor());
    let home = Home::at(user.home());
    let other = NodeId::from_bytes([7; 20]);
    home.prepare().unwrap();
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
