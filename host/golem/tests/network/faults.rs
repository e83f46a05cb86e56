//! What goes wrong on a real network: it has a typed outcome, costs no more than was allowed, and leaves nothing open.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use sovr_capability::Amount;
use sovr_golem::FailureKind;
use sovr_golem::network::{AgreementEvent, Attention, TerminateReason};
use sovr_golem::step::Command;
use sovr_golem::yagna::cleanup::Settled;
use sovr_golem::yagna::{Daemon, cleanup};
use sovr_test_golem::{Fault, Gate};

use crate::Test;
use crate::scene::{Scene, Work, hear, printed, run, soon};

pub(crate) const TESTS: &[Test] = &[
    ("a_daemon_that_is_restarted_loses_no_task", restarted_daemon),
    ("a_provider_that_is_gone_is_given_up", lost_provider),
    ("results_are_had_on_a_bad_day_of_the_daemon", bad_day),
    (
        "a_bill_is_accepted_once_though_the_answer_is_lost",
        lost_answer,
    ),
    (
        "a_provider_that_breaks_the_agreement_is_heard_of",
        broken_agreement,
    ),
    (
        "an_agreement_that_ends_for_an_odd_reason_is_heard_of",
        odd_end,
    ),
    (
        "debit_notes_that_are_too_frequent_end_the_agreement",
        frequent_notes,
    ),
    ("a_debit_note_above_the_ceiling_is_not_accepted", high_note),
    ("an_invoice_above_what_was_agreed_is_rejected", high_invoice),
    (
        "an_activity_that_does_not_come_up_costs_nothing",
        no_activity,
    ),
    ("what_a_crash_left_is_ended_and_paid", crash),
    (
        "a_crash_before_the_first_answer_leaves_nothing",
        early_crash,
    ),
    ("what_cannot_be_closed_stays_in_the_journal", unclosed),
];

/// A reason's values may be so deep beneath it.
const DEEP: usize = 120;

fn step(program: &str, args: &[&str]) -> Command {
    Command::Step(run(program, args))
}

fn amount(text: &str) -> Amount {
    text.parse().unwrap()
}

async fn next(work: &Work) -> AgreementEvent {
    let event = soon("news of the agreement", work.agreement.next_event()).await;
    event.expect("the agreement is not over")
}

async fn finish(work: &Work) -> (Amount, Amount) {
    let bill = work.agreement.terminate(TerminateReason::Success);
    let bill = soon("the end of the agreement", bill).await;
    (bill.claimed, bill.accepted)
}

fn invoices(scene: &Scene) -> Vec<Value> {
    let invoices = scene.network.requestor().get("/payment-api/v1/invoices");
    invoices.ok().as_array().unwrap().clone()
}

fn restarted_daemon() {
    let scene = Scene::new();
    scene.run(async |scene| {
        let work = scene.work(scene.settings()).await;
        let batch = vec![step("pause", &[]), step("echo", &["after"])];
        let events = work.begin(batch).await;
        let node = scene.network.requestor();
        node.restart();
        scene.network.wait_until_joined(node);
        scene.provider().go_on();
        let heard = hear(events).await.unwrap();
        assert_eq!(printed(&heard), ["", "after\n"]);
        // 0.1 to start, 2 s of processor time at 0.02, 4 s at 0.01.
        assert_eq!(finish(&work).await, (amount("0.18"), amount("0.18")));
    });
}

fn lost_provider() {
    let scene = Scene::new();
    scene.run(async |scene| {
        let mut settings = scene.settings();
        settings.waits.lost = Duration::from_secs(1);
        settings.waits.invoice = Duration::from_secs(1);
        let work = scene.work(settings).await;
        let events = work.begin(vec![step("wait", &[])]).await;
        scene.lose_provider();
        let failure = hear(events).await.unwrap_err();
        assert_eq!(failure.kind, FailureKind::ProviderLost, "{failure}");
        assert!(failure.reason.contains("test provider"), "{failure}");
        assert_eq!(finish(&work).await, (Amount::ZERO, Amount::ZERO));
    });
}

fn bad_day() {
    let scene = Scene::new();
    scene.run(async |scene| {
        let gate = Gate::before(scene.network.requestor());
        let work = scene.work(scene.settings_through(&gate)).await;
        let away = r#"{"message":"GSB error: Bad request: endpoint address not found"}"#;
        gate.refuse("GET", "/exec/", 1, 408, "{}");
        gate.refuse("GET", "/exec/", 1, 500, away);
        gate.refuse("GET", "/exec/", 1, 500, "{}");
        gate.refuse("POST", "/exec", 1, 500, away);
        let heard = work.exec(vec![step("echo", &["one"]), step("echo", &["two"])]);
        assert_eq!(printed(&heard.await.unwrap()), ["one\n", "two\n"]);

        // A batch that may have been taken is not sent again.
        gate.lose("POST", "/exec", 1, 500, "{}");
        let batch = work
            .activity
            .exec(vec![step("echo", &["one"])], Attention::Live)
            .await;
        let failure = hear(batch.unwrap()).await.unwrap_err();
        assert_eq!(failure.kind, FailureKind::ProviderLost, "{failure}");
        finish(&work).await;
    });
}

fn lost_answer() {
    let scene = Scene::new();
    scene.run(async |scene| {
        let gate = Gate::before(scene.network.requestor());
        let work = scene.work(scene.settings_through(&gate)).await;
        gate.lose("POST", "/accept", 1, 500, "{}");
        gate.refuse("GET", "/invoices/", 1, 504, "{}");
        gate.refuse("POST", "/terminate", 1, 500, "{}");
        gate.lose("DELETE", "/allocations", 1, 500, "{}");
        assert_eq!(finish(&work).await, (amount("0.1"), amount("0.1")));
        assert_eq!(invoices(scene)[0]["status"], "ACCEPTED");
    });
}

fn broken_agreement() {
    let scene = Scene::new();
    scene.run(async |scene| {
        let work = scene.work(scene.settings()).await;
        scene.provider().break_agreements("Shutdown", "going home");
        let event = next(&work).await;
        let AgreementEvent::Terminated { reason } = event else {
            panic!("{event:?}");
        };
        assert!(
            reason.contains("going home") && reason.contains("Shutdown"),
            "{reason}"
        );
        assert_eq!(finish(&work).await, (amount("0.1"), amount("0.1")));
    });
}

fn odd_end() {
    let scene = Scene::new();
    scene.run(async |scene| {
        let work = scene.work(scene.settings()).await;
        // As deep as the provider's daemon takes it.
        let deep = (0..DEEP).fold(json!(1), |inner, _| json!([inner]));
        scene.provider().break_agreements_oddly(&json!({
            "message": "going home", "golem.provider.code": 5, "golem.requestor.code": deep,
        }));
        let event = next(&work).await;
        let AgreementEvent::Terminated { reason } = event else {
            panic!("{event:?}");
        };
        assert_eq!(reason, "going home");
        finish(&work).await;
    });
}

fn frequent_notes() {
    let scene = Scene::new();
    scene.run(async |scene| {
        let work = scene.work(scene.settings()).await;
        let amount = amount("0.01");
        for accepted in [true, true, false] {
            scene.provider().send_debit_notes(amount);
            let note = AgreementEvent::DebitNote { amount, accepted };
            assert_eq!(next(&work).await, note);
        }
        let event = next(&work).await;
        assert!(matches!(event, AgreementEvent::Broken { .. }), "{event:?}");
        finish(&work).await;
        let node = scene.network.requestor();
        let reason = format!(
            "/market-api/v1/agreements/{}/terminate/reason",
            work.agreement.id()
        );
        assert!(node.get(&reason).text.contains("TooManyDebitNotes"));
    });
}

fn high_note() {
    let scene = Scene::new();
    scene.run(async |scene| {
        let work = scene.work(scene.settings()).await;
        let note = |text, accepted| AgreementEvent::DebitNote {
            amount: amount(text),
            accepted,
        };
        scene.provider().send_debit_notes(amount("0.5"));
        assert_eq!(next(&work).await, note("0.5", true));
        work.agreement.set_ceiling(amount("0.7"));
        scene.provider().send_debit_notes(amount("0.75"));
        assert_eq!(next(&work).await, note("0.75", false));
        scene.provider().commit(Fault::Bills(amount("0.75")));
        assert_eq!(finish(&work).await, (amount("0.75"), amount("0.5")));
    });
}

fn high_invoice() {
    let scene = Scene::new();
    scene.run(async |scene| {
        let work = scene.work(scene.settings()).await;
        scene
            .provider()
            .commit(Fault::Bills(amount("1.000000000000000001")));
        let claimed = amount("1.000000000000000001");
        assert_eq!(finish(&work).await, (claimed, Amount::ZERO));
        let refused = AgreementEvent::Invoice {
            amount: claimed,
            accepted: false,
        };
        assert_eq!(work.agreement.next_event().await, Some(refused));
        assert_eq!(work.agreement.next_event().await, None);
        assert_eq!(invoices(scene)[0]["status"], "REJECTED");
    });
}

fn no_activity() {
    let scene = Scene::new();
    scene.run(async |scene| {
        let mut settings = scene.settings();
        settings.waits.activity = Duration::from_secs(1);
        scene.provider().commit(Fault::NoActivity);
        let mut market = scene.market(settings).await;
        let proposal = soon("an offer", crate::scene::offer(&mut *market)).await;
        let agreement = proposal.agree().await.unwrap();
        agreement.set_ceiling(amount("1"));
        let none = soon("giving up", agreement.create_activity()).await;
        assert!(none.is_err());
        let bill = agreement.terminate(TerminateReason::Success).await;
        assert!(bill.accepted.is_zero(), "{bill:?}");
        market.withdraw().await;
    });
}

fn threads() -> tokio::runtime::Runtime {
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    runtime.worker_threads(2).enable_all().build().unwrap()
}

fn crash() {
    let scene = Scene::new();
    let crashing = threads();
    let (work, paid, _events) = crashing.block_on(async {
        let mut market = scene.market(scene.settings()).await;
        // It is settled before the crash, and so is nothing to be paid or counted after.
        let (_, paid) = finish(&Work::of(&mut *market).await).await;
        let work = Work::of(&mut *market).await;
        market.withdraw().await;
        let events = work.begin(vec![step("wait", &[])]).await;
        // What may be accepted is written down some time after it is known.
        let is_known = |scene: &Scene| {
            let open = scene.book.open();
            let mut agreements = open.iter().flat_map(|open| open.agreements.values());
            agreements.any(|agreement| agreement.ceiling == Amount::glm(1))
        };
        soon("the journal", scene.book.until(|_| is_known(&scene))).await;
        (work, paid, events)
    });
    // Nothing that was begun goes on.
    crashing.shutdown_background();
    scene.run(async |scene| {
        let daemon = Daemon::new(scene.settings().daemon).unwrap();
        let book = Arc::new(scene.book.clone());
        let open = scene.book.open();
        let [open] = open.as_slice() else {
            panic!("not one session: {open:?}");
        };
        // Not to know of the money is no reason to close what is to be paid from it.
        let gate = Gate::before(scene.network.requestor());
        gate.refuse("GET", "/allocations/", 1, 500, "{}");
        let through = Daemon::new(scene.settings_through(&gate).daemon).unwrap();
        let minute = Duration::from_secs(60);
        let report = cleanup(&through, open, Arc::clone(&book) as _, minute).await;
        assert_eq!(report.problems.len(), 1, "{report:?}");
        assert_eq!(scene.book.open()[0].agreements.len(), 1);
        let report = cleanup(&daemon, open, book, minute).await;
        assert_eq!(report.problems, [""; 0]);
        let owed = amount("0.14");
        let settled = Settled {
            agreement: work.agreement.id().to_owned(),
            provider: work.agreement.provider().id.clone(),
            claimed: owed,
            accepted: owed,
        };
        assert_eq!(report.agreements, [settled]);
        let spent = paid.checked_add(owed).unwrap();
        assert_eq!(
            report.released,
            Some(Amount::glm(900).saturating_sub(spent))
        );
    });
    // Without a runtime there is nobody to end it.
    drop(work);
}

fn early_crash() {
    let scene = Scene::new();
    let crashing = threads();
    crashing.block_on(async {
        let gate = Gate::before(scene.network.requestor());
        // It is done, and nobody hears of it.
        gate.lose("POST", "/allocations", 1, 500, "{}");
        gate.refuse("GET", "/allocations", 1, 500, "{}");
        let network = scene.connect(scene.settings_through(&gate)).await;
        let lost = sovr_golem::Network::publish(&network, &crate::scene::demand()).await;
        assert!(lost.is_err());
    });
    crashing.shutdown_background();
    scene.run(async |scene| {
        let daemon = Daemon::new(scene.settings().daemon).unwrap();
        let open = scene.book.open();
        let [open] = open.as_slice() else {
            panic!("not one session: {open:?}");
        };
        let book = Arc::new(scene.book.clone());
        let report = cleanup(&daemon, open, book, Duration::ZERO).await;
        assert_eq!(report.problems, [""; 0]);
        assert_eq!(report.released, Some(Amount::glm(900)));
    });
}

fn unclosed() {
    let scene = Scene::new();
    scene.run(async |scene| {
        let gate = Gate::before(scene.network.requestor());
        gate.refuse("DELETE", "/demands", 100, 500, "{}");
        let market = scene.market(scene.settings_through(&gate)).await;
        soon("the end of the market", market.withdraw()).await;
        let open = scene.book.open();
        let [open] = open.as_slice() else {
            panic!("not one session: {open:?}");
        };
        assert_eq!((open.demands.len(), &open.allocation), (1, &None));

        let daemon = Daemon::new(scene.settings().daemon).unwrap();
        let book = Arc::new(scene.book.clone());
        let report = cleanup(&daemon, open, book, Duration::ZERO).await;
        assert_eq!((report.problems, report.demands), (Vec::new(), 1));
    });
}
