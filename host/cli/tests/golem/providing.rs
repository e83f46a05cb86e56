//! The program `sovr-host provide` beside a daemon.

use std::fmt;

use rustix::process::Signal;
use serde_json::Value;
use sovr_capability::Amount;
use sovr_e2e::{Ended, Running, exit};
use sovr_test_golem::Node;

use crate::user::{SUBNET, User};

/// The program, while it provides. It can be killed and started again in the same home.
pub(crate) struct Providing<'n> {
    user: User<'n>,
    program: Running,
}

impl<'n> Providing<'n> {
    /// Starts it and waits for its offer.
    pub(crate) fn start(node: &'n Node, options: &[&str]) -> Providing<'n> {
        Self::of(User::of(node), options)
    }

    pub(crate) fn of(user: User<'n>, options: &[&str]) -> Providing<'n> {
        let mut providing = Providing {
            program: launch(&user, options),
            user,
        };
        providing.wait_for("offered");
        providing
    }

    /// The first event of a kind, however long ago.
    #[track_caller]
    pub(crate) fn wait_for(&mut self, kind: &str) -> Value {
        let found = self.program.wait_for(|event| event["event"] == kind);
        let found = found.unwrap_or_else(|| panic!("the provider ended without {kind:?}"));
        found.json
    }

    /// Waits until a program of a requestor runs.
    pub(crate) fn wait_for_work(&self) {
        self.program.wait_for_child("work");
    }

    /// As a crash would end it. Then it is started again.
    pub(crate) fn crash(&mut self, options: &[&str]) {
        self.program.signal(Signal::KILL);
        let again = launch(&self.user, options);
        std::mem::replace(&mut self.program, again).wait();
        self.wait_for("offered");
    }

    /// Ctrl-C. Answers all that was told.
    #[track_caller]
    pub(crate) fn stop(self) -> Told {
        self.program.signal(Signal::INT);
        let ended = self.program.wait().expect(exit::OK);
        ended.expect_no_process_left();
        Told(ended)
    }
}

fn launch(user: &User<'_>, options: &[&str]) -> Running {
    let words = ["provide", "--json", "--subnet", SUBNET];
    Running::start(user.command(&[&words[..], options].concat()))
}

/// All that a provider told.
pub(crate) struct Told(Ended);

impl Told {
    /// The kinds of its events, in their order.
    pub(crate) fn kinds(&self) -> Vec<String> {
        let events = self.0.events();
        events
            .iter()
            .map(|event| event.text("event").to_owned())
            .collect()
    }

    /// One field of all events of a kind.
    pub(crate) fn all(&self, kind: &str, field: &str) -> Vec<Value> {
        let events = self.0.events_of(kind).into_iter();
        events.map(|event| event.json[field].clone()).collect()
    }

    /// Nothing had to be tried again.
    #[track_caller]
    pub(crate) fn expect_no_trouble(&self) {
        assert_eq!(self.all("trouble", "problem"), [""; 0], "{self}");
    }

    /// What its invoices ask for.
    pub(crate) fn asked(&self) -> Amount {
        total(self.all("invoice-sent", "amount").iter())
    }
}

impl fmt::Display for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The sum of amounts as they are written.
pub(crate) fn total<'v>(amounts: impl Iterator<Item = &'v Value>) -> Amount {
    let parsed = amounts.map(|amount| amount.as_str().unwrap().parse().unwrap());
    Amount::checked_sum(parsed).unwrap()
}
