//! The client of the daemon's REST interface, against the released daemon.

use std::process::ExitCode;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde_json::json;
use sovr_capability::{Amount, Untrusted};
use sovr_golem::network::TerminateReason;
use sovr_golem::yagna::activity::{
    ActivityState, Capture, CommandResult, Instruction, Output, ProgressArgs, Verdict,
};
use sovr_golem::yagna::market::{
    AgreementEventKind, AgreementState, Declaration, DemandEvent, Proposal, ProposalState, Side,
};
use sovr_golem::yagna::payment::BillStatus;
use sovr_golem::yagna::stream::{News, NewsKind};
use sovr_golem::yagna::{AppKey, Daemon, DaemonError, ErrorKind, Funds, Settings};
use sovr_test_golem::{Fault, Gate, Network, Node, Provider, Suite, Terms, tests};

const SUBNET: &str = "test";
const PLATFORM: &str = "erc20-holesky-tglm";
const SESSION: &str = "this test";
const PATIENCE: Duration = Duration::from_secs(60);
const WAIT: Duration = Duration::from_secs(5);

fn main() -> ExitCode {
    let missing = sovr_test_golem::prepare();
    let tests = tests![
        the_daemon_says_who_it_is_to_who_has_a_key,
        a_daemon_that_is_away_is_told_from_one_that_refuses,
        money_is_set_aside_once,
        how_things_stand_is_told,
        a_part_that_fails_leaves_the_others_told,
        a_bad_day_of_the_daemon_may_pass,
        a_task_is_done_and_paid_for,
        a_batch_is_followed_as_it_happens,
        bills_are_those_of_the_session,
        refusals_have_their_reasons,
        a_provider_that_gives_up_is_heard_of,
        an_exe_unit_that_is_away_is_told_from_a_batch_that_is_unknown,
    ];
    let mut suite = Suite::default();
    suite.add_all(missing.as_deref(), tests);
    suite.run()
}

fn block_on<T>(work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    runtime.unwrap().block_on(work)
}

fn the_daemon_says_who_it_is_to_who_has_a_key() {
    let network = Network::start();
    let node = network.requestor();
    block_on(async {
        let identity = client(node).identity().await.unwrap();
        assert_eq!(identity.id.to_string(), node.id());

        let wrong = Daemon::new(settings(node, "wrong")).unwrap();
        let refused = wrong.identity().await.unwrap_err();
        assert_eq!(refused.kind, ErrorKind::AppKey);
        assert!(refused.to_string().contains("YAGNA_APPKEY"), "{refused}");
        assert!(!refused.to_string().contains("wrong"), "{refused}");
    });
}

fn a_daemon_that_is_away_is_told_from_one_that_refuses() {
    let network = Network::start();
    let node = network.requestor();
    let daemon = client(node);
    block_on(async {
        assert!(daemon.identity().await.is_ok());
        node.kill();
        // The connection that the client has kept is dead, too.
        let away = daemon.identity().await.unwrap_err();
        assert_eq!(away.kind, ErrorKind::Connection, "{away}");
        node.restart();
        daemon.identity().await.unwrap();
        let unknown = daemon.agreement("none").await.unwrap_err();
        assert!(!unknown.kind.may_pass(), "{unknown}");
    });
}

fn money_is_set_aside_once() {
    let network = Network::start();
    let daemon = client(network.requestor());
    block_on(async {
        let allocation = allocate(&daemon, "999.25").await.unwrap();
        assert_eq!(allocation.payment_platform, PLATFORM);
        assert_eq!(allocation.remaining_amount, amount("999.25"));
        let accounts = daemon.requestor_accounts().await.unwrap();
        assert!(accounts.iter().any(|account| account.platform == PLATFORM));

        let above = allocate(&daemon, "0.750000000000000001").await.unwrap_err();
        let funds = Funds {
            available: Some(amount("0.75")),
            reserved: Some(amount("999.25")),
        };
        assert_eq!(above.kind, ErrorKind::NoFunds(funds), "{above}");
        assert_eq!(
            allocate(&daemon, "0.75").await.unwrap().spent_amount,
            Amount::ZERO
        );
        let found = daemon.allocation(&allocation.id).await.unwrap();
        assert_eq!(found.total_amount, amount("999.25"));
        assert_eq!(daemon.allocations().await.unwrap().len(), 2);

        daemon.release(&allocation.id).await.unwrap();
        let again = daemon.release(&allocation.id).await.unwrap_err();
        assert_eq!(again.kind, ErrorKind::Gone, "{again}");
        let gone = daemon.allocation(&allocation.id).await.unwrap_err();
        assert_eq!(gone.kind, ErrorKind::NotFound, "{gone}");

        let tomorrow = Timestamp::now() + SignedDuration::from_hours(24);
        let nowhere = daemon
            .allocate(amount("1"), "erc20-nowhere-tglm", tomorrow)
            .await;
        assert_eq!(nowhere.unwrap_err().kind, ErrorKind::NoAccount);
    });
}

fn how_things_stand_is_told() {
    let network = Network::start();
    let _provider = Provider::start(network.provider(), Terms::of(SUBNET));
    let daemon = client(network.requestor());
    block_on(async {
        let fresh = daemon.standing("erc20", "holesky").await.unwrap();
        assert_eq!(fresh.identity.id.to_string(), network.requestor().id());
        assert_eq!(fresh.version.unwrap().current.version.raw(), "0.17.6");
        assert_eq!(fresh.accounts, Ok(Vec::new()));
        assert_eq!(fresh.allocations, Ok(Vec::new()));
        assert_eq!(fresh.agreements, Ok(Vec::new()));
        assert_eq!(fresh.demands, Ok(Vec::new()));
        assert_eq!(fresh.problems, Ok(Vec::new()));

        let deal = Deal::begin(&daemon).await;
        let agreement = deal.agree().await.unwrap();
        let busy = daemon.standing("erc20", "holesky").await.unwrap();
        assert_eq!(busy.accounts.unwrap()[0].address, network.requestor().id());
        assert_eq!(busy.allocations.unwrap()[0].id, deal.allocation);
        assert_eq!(busy.demands.unwrap()[0].id, deal.demand);
        let agreements = busy.agreements.unwrap();
        assert_eq!(agreements.len(), 1);
        assert_eq!(
            (&agreements[0].id, agreements[0].role),
            (&agreement, Side::Requestor)
        );
        assert!(agreements[0].approved_date.is_some());
        // The other side of it is the provider's.
        let theirs = client(network.provider()).agreements_in_force().await;
        assert_eq!(theirs.unwrap()[0].role, Side::Provider);

        // What has ended is open no more.
        let done = TerminateReason::Success;
        daemon.terminate(&agreement, &done).await.unwrap();
        assert_eq!(daemon.agreements_in_force().await, Ok(Vec::new()));
        daemon.withdraw(&deal.demand).await.unwrap();
        assert_eq!(daemon.demands().await, Ok(Vec::new()));
    });
}

fn a_part_that_fails_leaves_the_others_told() {
    let network = Network::start();
    let node = network.requestor();
    let gate = Gate::before(node);
    let at_gate = |key: &str| {
        let settings = Settings {
            api: gate.url().parse().unwrap(),
            ..settings(node, key)
        };
        Daemon::new(settings).unwrap()
    };
    block_on(async {
        let daemon = at_gate(node.app_key());
        for (driver, network) in [("erc20", "nowhere"), ("nobody", "holesky")] {
            let standing = daemon.standing(driver, network).await.unwrap();
            let unknown = standing.problems.unwrap_err();
            assert_eq!(unknown.kind, ErrorKind::NoAccount, "{unknown}");
            assert!(unknown.to_string().contains("driver and network"));
            assert!(standing.allocations.is_ok());
        }
        gate.refuse("GET", "/agreements", 1, 500, r#"{"message":"DAO error"}"#);
        let standing = daemon.standing("erc20", "holesky").await.unwrap();
        assert_eq!(standing.agreements.unwrap_err().kind, ErrorKind::Daemon);
        assert!(standing.demands.is_ok() && standing.problems.is_ok());

        let refused = at_gate("wrong").standing("erc20", "holesky").await;
        assert_eq!(refused.unwrap_err().kind, ErrorKind::AppKey);
        node.kill();
        let away = daemon.standing("erc20", "holesky").await;
        assert_eq!(away.unwrap_err().kind, ErrorKind::Connection);
    });
}

fn a_bad_day_of_the_daemon_may_pass() {
    let network = Network::start();
    let node = network.requestor();
    let gate = Gate::before(node);
    let daemon = Daemon::new(Settings {
        api: gate.url().parse().unwrap(),
        ..settings(node, node.app_key())
    });
    let daemon = daemon.unwrap();
    block_on(async {
        let refused = r#"{"message":"GSB error: timed out"}"#;
        gate.refuse("POST", "/allocations", 1, 504, refused);
        let failed = allocate(&daemon, "1").await.unwrap_err();
        assert_eq!(failed.kind, ErrorKind::TimedOut);
        assert!(failed.kind.may_pass() && failed.to_string().contains("timed out"));
        assert_eq!(daemon.allocations().await, Ok(Vec::new()));

        gate.lose("POST", "/allocations", 1, 500, "");
        let failed = allocate(&daemon, "1").await.unwrap_err();
        assert_eq!(failed.kind, ErrorKind::Daemon);
        // It was done all the same.
        assert_eq!(daemon.allocations().await.unwrap().len(), 1);

        gate.refuse("GET", "/me", 1, 200, "<html>");
        assert_eq!(
            daemon.identity().await.unwrap_err().kind,
            ErrorKind::Nonsense
        );
        let wrong = Settings {
            api: gate.url().parse().unwrap(),
            ..settings(node, "wrong")
        };
        let wrong = Daemon::new(wrong).unwrap().identity().await;
        assert_eq!(wrong.unwrap_err().kind, ErrorKind::AppKey);
        node.kill();
        assert_eq!(
            daemon.identity().await.unwrap_err().kind,
            ErrorKind::Connection
        );
    });
}

fn a_task_is_done_and_paid_for() {
    let network = Network::start();
    let _provider = Provider::start(network.provider(), Terms::of(SUBNET));
    let daemon = client(network.requestor());
    block_on(async {
        let deal = Deal::begin(&daemon).await;
        let offer = deal.proposal(ProposalState::Initial).await;
        assert_eq!(offer.issuer_id.to_string(), network.provider().id());
        assert_eq!(offer.declaration.properties["golem.runtime.name"], "vm");
        let ours = deal.counter(&offer).await;
        let twice = daemon
            .counter(&deal.demand, &offer.id, &deal.declaration)
            .await;
        assert_eq!(twice.unwrap_err().kind, ErrorKind::Gone);
        let answer = deal.proposal(ProposalState::Draft).await;
        assert_eq!(answer.prev_proposal_id, Some(ours));

        let agreement = daemon.create_agreement(&answer.id, soon()).await.unwrap();
        let twice = daemon.create_agreement(&answer.id, soon()).await;
        assert_eq!(twice.unwrap_err().kind, ErrorKind::Conflict);
        let early = daemon.create_activity(&agreement, WAIT).await;
        assert!(matches!(
            early.unwrap_err().kind,
            ErrorKind::NotFound | ErrorKind::Refused
        ));
        daemon.confirm(&agreement, SESSION).await.unwrap();
        daemon.await_approval(&agreement, WAIT).await.unwrap();
        let approved = daemon.agreement(&agreement).await.unwrap();
        assert_eq!(approved.state, AgreementState::Approved);
        assert_eq!(approved.offer.provider_id, offer.issuer_id);
        daemon.withdraw(&deal.demand).await.unwrap();
        let ended = daemon.demand_events(&deal.demand, 1, WAIT).await;
        assert_eq!(ended.unwrap_err().kind, ErrorKind::NotFound);

        let activity = daemon.create_activity(&agreement, WAIT).await.unwrap();
        let results = finished(
            &daemon,
            &activity,
            &[&ready()[..], &[echo("hello")]].concat(),
        )
        .await;
        let last = &results[2];
        assert_eq!((last.index, last.result), (2, Verdict::Ok));
        assert_eq!(last.stdout.as_ref().unwrap().text().raw(), "hello\n");
        let failed = finished(
            &daemon,
            &activity,
            &[run("fail", &["3", "no paper"]), echo("never")],
        )
        .await;
        assert_eq!(failed.len(), 1);
        assert_eq!(failed[0].result, Verdict::Error);
        assert_eq!(
            failed[0].stderr.as_ref().unwrap().text().raw(),
            "no paper\n"
        );
        let message = failed[0].message.as_ref().unwrap();
        assert_eq!(message.raw(), "ExeScript command exited with code 3");

        let status = daemon.activity_status(&activity).await.unwrap();
        assert_eq!(status.state, (ActivityState::Ready, None));
        let usage = daemon.activity_usage(&activity).await.unwrap();
        assert_eq!(usage.current_usage, Some(vec![2.0, 4.0]));
        daemon.destroy_activity(&activity, WAIT).await.unwrap();
        daemon.destroy_activity(&activity, WAIT).await.unwrap();

        let start = Timestamp::UNIX_EPOCH;
        for _ in 0..2 {
            daemon
                .terminate(&agreement, &TerminateReason::Success)
                .await
                .unwrap();
        }
        let events = daemon
            .invoice_events(SESSION, start, PATIENCE)
            .await
            .unwrap();
        assert_eq!(events[0].event_type, "InvoiceReceivedEvent");
        let invoice = daemon.invoice(&events[0].id).await.unwrap();
        // 0.1 to start, 2 s of processor time at 0.02, 4 s at 0.01.
        assert_eq!(
            (invoice.amount, invoice.status),
            (amount("0.18"), BillStatus::Received)
        );
        assert_eq!(invoice.agreement_id, agreement);

        let less = daemon
            .accept_invoice(&invoice.id, amount("0.17"), &deal.allocation)
            .await;
        assert_eq!(less.unwrap_err().kind, ErrorKind::Refused);
        for _ in 0..2 {
            let accepted = daemon
                .accept_invoice(&invoice.id, invoice.amount, &deal.allocation)
                .await;
            accepted.unwrap();
        }
        assert_eq!(
            daemon.invoice(&invoice.id).await.unwrap().status,
            BillStatus::Accepted
        );
        let allocation = daemon.allocation(&deal.allocation).await.unwrap();
        assert_eq!(allocation.spent_amount, amount("0.18"));
        // Strictly after.
        let no_wait = Duration::ZERO;
        let later = daemon
            .invoice_events(SESSION, events[0].event_date, no_wait)
            .await;
        assert_eq!(later, Ok(Vec::new()));
    });
}

fn a_batch_is_followed_as_it_happens() {
    let network = Network::start();
    let _provider = Provider::start(network.provider(), Terms::of(SUBNET));
    let daemon = client(network.requestor());
    block_on(async {
        let agreement = Deal::begin(&daemon).await.agree().await.unwrap();
        let activity = daemon.create_activity(&agreement, WAIT).await.unwrap();
        let commands = [&ready()[..], &[echo("one"), run("fail", &["4", "two"])]].concat();
        let batch = daemon.exec(&activity, &commands).await.unwrap();
        let mut stream = daemon.follow(&activity, &batch).await.unwrap();
        let mut news = Vec::new();
        while !matches!(
            news.last(),
            Some(News {
                index: 3,
                kind: NewsKind::Finished { .. }
            })
        ) {
            news.push(stream.next().await.unwrap().expect("it is not over"));
        }
        let of = |index| {
            news.iter()
                .filter(move |news| news.index == index)
                .map(|news| &news.kind)
        };
        let text = |text: &str| Output::Text(Untrusted::new(text));
        let finished = |return_code, message: Option<&str>| NewsKind::Finished {
            return_code,
            message: message.map(Untrusted::new),
        };
        assert!(of(2).eq([
            &NewsKind::Started,
            &NewsKind::Stdout(text("one\n")),
            &finished(0, None)
        ]));
        let why = "ExeScript command exited with code 4";
        assert!(of(3).eq([
            &NewsKind::Started,
            &NewsKind::Stderr(text("two\n")),
            &finished(4, Some(why))
        ]));

        network.requestor().kill();
        let away = daemon.follow(&activity, &batch).await.unwrap_err();
        assert_eq!(away.kind, ErrorKind::Connection);
    });
}

fn bills_are_those_of_the_session() {
    let network = Network::start();
    let provider = Provider::start(network.provider(), Terms::of(SUBNET));
    let daemon = client(network.requestor());
    block_on(async {
        let deal = Deal::begin(&daemon).await;
        let agreement = deal.agree().await.unwrap();
        let activity = daemon.create_activity(&agreement, WAIT).await.unwrap();
        provider.send_debit_notes(amount("0.5"));
        let start = Timestamp::UNIX_EPOCH;
        let events = daemon
            .debit_note_events(SESSION, start, PATIENCE)
            .await
            .unwrap();
        let note = daemon.debit_note(&events[0].id).await.unwrap();
        assert_eq!(
            (note.total_amount_due, &note.activity_id),
            (amount("0.5"), &activity)
        );
        let accepted = daemon
            .accept_debit_note(&note.id, amount("0.5"), &deal.allocation)
            .await;
        accepted.unwrap();

        provider.commit(Fault::Bills(amount("7")));
        let reason = TerminateReason::Cancelled("enough".to_owned());
        daemon.terminate(&agreement, &reason).await.unwrap();
        let events = daemon
            .invoice_events(SESSION, start, PATIENCE)
            .await
            .unwrap();
        let others = daemon
            .invoice_events("another", start, Duration::ZERO)
            .await;
        assert_eq!(others, Ok(Vec::new()));
        let invoice = daemon.invoice(&events[0].id).await.unwrap();
        assert_eq!(invoice.amount, amount("7"));
        // More than the allocation has.
        let refused = daemon
            .accept_invoice(&invoice.id, invoice.amount, &deal.allocation)
            .await;
        assert_eq!(refused.unwrap_err().kind, ErrorKind::Refused);
        let message = Untrusted::new("not agreed");
        daemon.reject_invoice(&invoice.id, &message).await.unwrap();
        assert_eq!(
            daemon.invoice(&invoice.id).await.unwrap().status,
            BillStatus::Rejected
        );
    });
}

fn refusals_have_their_reasons() {
    let network = Network::start();
    let provider = Provider::start(network.provider(), Terms::of(SUBNET));
    let daemon = client(network.requestor());
    block_on(async {
        provider.commit(Fault::RejectsProposals("not today".to_owned()));
        let deal = Deal::begin(&daemon).await;
        let offer = deal.proposal(ProposalState::Initial).await;
        let ours = deal.counter(&offer).await;
        let DemandEvent::Rejected {
            proposal_id,
            reason,
        } = deal.event().await
        else {
            panic!("it is not refused");
        };
        assert_eq!(proposal_id, ours);
        assert_eq!(reason.unwrap().message.raw(), "not today");
        provider.reform();

        provider.commit(Fault::RejectsAgreements("full".to_owned()));
        let refused = Deal::begin(&daemon).await.agree().await.unwrap_err();
        assert_eq!(refused.kind, ErrorKind::Gone, "{refused}");
        provider.reform();

        provider.commit(Fault::IgnoresAgreements);
        let deal = Deal::begin(&daemon).await;
        let agreement = deal.propose().await;
        let ignored = daemon
            .await_approval(&agreement, Duration::from_secs(1))
            .await;
        assert_eq!(ignored.unwrap_err().kind, ErrorKind::TimedOut);
        daemon.cancel(&agreement, "no answer").await.unwrap();
        let state = daemon.agreement(&agreement).await.unwrap().state;
        assert_eq!(state, AgreementState::Cancelled);
        provider.reform();

        provider.commit(Fault::NoActivity);
        let agreement = Deal::begin(&daemon).await.agree().await.unwrap();
        let nothing = daemon
            .create_activity(&agreement, Duration::from_secs(2))
            .await;
        assert_eq!(nothing.unwrap_err().kind, ErrorKind::TimedOut);
    });
}

fn a_provider_that_gives_up_is_heard_of() {
    let network = Network::start();
    let provider = Provider::start(network.provider(), Terms::of(SUBNET));
    let daemon = client(network.requestor());
    block_on(async {
        let agreement = Deal::begin(&daemon).await.agree().await.unwrap();
        let approved = daemon
            .agreement_events(SESSION, Timestamp::UNIX_EPOCH, WAIT)
            .await;
        let approved = &approved.unwrap()[0];
        assert_eq!(approved.kind, AgreementEventKind::Approved);
        provider.break_agreements("DebitNotesDeadline", "not paid in time");
        let after = approved.event_date;
        let ended = daemon
            .agreement_events(SESSION, after, PATIENCE)
            .await
            .unwrap();
        let [ended] = ended.as_slice() else {
            panic!("{ended:?}");
        };
        assert_eq!(
            (ended.kind, ended.terminator),
            (AgreementEventKind::Terminated, Some(Side::Provider))
        );
        assert_eq!(ended.agreement_id, agreement);
        let reason = ended.reason.as_ref().unwrap();
        assert_eq!(reason.message.raw(), "not paid in time");
        assert_eq!(
            reason.provider_code.as_ref().unwrap().raw(),
            "DebitNotesDeadline"
        );
        let late = daemon.create_activity(&agreement, WAIT).await.unwrap_err();
        assert!(!late.kind.may_pass(), "{late}");
    });
}

fn an_exe_unit_that_is_away_is_told_from_a_batch_that_is_unknown() {
    let network = Network::start();
    let provider = Provider::start(network.provider(), Terms::of(SUBNET));
    let daemon = client(network.requestor());
    block_on(async {
        let agreement = Deal::begin(&daemon).await.agree().await.unwrap();
        let activity = daemon.create_activity(&agreement, WAIT).await.unwrap();
        let batch = daemon.exec(&activity, &ready()).await.unwrap();
        let unknown = daemon.results(&activity, "none", WAIT).await.unwrap_err();
        assert_eq!(unknown.kind, ErrorKind::NotFound, "{unknown}");
        provider.commit(Fault::ExeUnitGone);
        let away = daemon.results(&activity, &batch, WAIT).await.unwrap_err();
        assert_eq!(away.kind, ErrorKind::Unreachable, "{away}");
        assert!(away.kind.may_pass());
        provider.reform();
        let results = daemon.results(&activity, &batch, WAIT).await.unwrap();
        assert_eq!(results.len(), 2);
    });
}

/// A demand with the money for it.
struct Deal<'a> {
    daemon: &'a Daemon,
    allocation: String,
    declaration: Declaration,
    demand: String,
}

impl<'a> Deal<'a> {
    async fn begin(daemon: &'a Daemon) -> Self {
        let allocation = allocate(daemon, "5").await.unwrap().id;
        let decorations = daemon.decorations(&allocation).await.unwrap();
        let mut properties = json!({
            "golem.srv.comp.expiration": soon().as_millisecond(),
            "golem.srv.caps.multi-activity": true,
            "golem.node.debug.subnet": SUBNET,
            "golem.com.payment.chosen-platform": PLATFORM,
        });
        for decoration in decorations.properties {
            properties[decoration.key] = decoration.value;
        }
        let constraints = decorations.constraints.concat();
        let declaration = Declaration {
            properties: properties.as_object().unwrap().clone(),
            constraints: format!("(&(golem.node.debug.subnet={SUBNET}){constraints})"),
        };
        let demand = daemon.publish(&declaration).await.unwrap();
        Deal {
            daemon,
            allocation,
            declaration,
            demand,
        }
    }

    async fn event(&self) -> DemandEvent {
        let events = self.daemon.demand_events(&self.demand, 1, PATIENCE).await;
        events
            .unwrap()
            .into_iter()
            .next()
            .expect("something happens")
    }

    async fn proposal(&self, state: ProposalState) -> Proposal {
        match self.event().await {
            DemandEvent::Proposal { proposal } => {
                assert_eq!(proposal.state, state);
                proposal
            }
            other => panic!("{other:?}"),
        }
    }

    async fn counter(&self, offer: &Proposal) -> String {
        let ours = self
            .daemon
            .counter(&self.demand, &offer.id, &self.declaration);
        ours.await.unwrap()
    }

    async fn propose(&self) -> String {
        let offer = self.proposal(ProposalState::Initial).await;
        self.counter(&offer).await;
        let answer = self.proposal(ProposalState::Draft).await;
        let agreement = self
            .daemon
            .create_agreement(&answer.id, soon())
            .await
            .unwrap();
        self.daemon.confirm(&agreement, SESSION).await.unwrap();
        agreement
    }

    async fn agree(&self) -> Result<String, DaemonError> {
        let agreement = self.propose().await;
        self.daemon.await_approval(&agreement, WAIT).await?;
        Ok(agreement)
    }
}

fn settings(node: &Node, key: &str) -> Settings {
    let settings = Settings::from_variables(|name| match name {
        "YAGNA_API_URL" => Some(node.api_url()),
        "YAGNA_APPKEY" => Some("none".to_owned()),
        _ => None,
    });
    Settings {
        app_key: AppKey::new(key.to_owned()),
        ..settings.unwrap()
    }
}

fn client(node: &Node) -> Daemon {
    Daemon::new(settings(node, node.app_key())).unwrap()
}

async fn allocate(
    daemon: &Daemon,
    total: &str,
) -> Result<sovr_golem::yagna::payment::Allocation, DaemonError> {
    daemon.allocate(amount(total), PLATFORM, soon()).await
}

async fn finished(daemon: &Daemon, activity: &str, batch: &[Instruction]) -> Vec<CommandResult> {
    let batch = daemon.exec(activity, batch).await.unwrap();
    let results = daemon.results(activity, &batch, PATIENCE).await.unwrap();
    assert!(results.last().unwrap().is_batch_finished);
    results
}

fn ready() -> [Instruction; 2] {
    [
        Instruction::Deploy {
            progress: ProgressArgs {
                update_interval: "1s",
            },
        },
        Instruction::Start { args: Vec::new() },
    ]
}

fn echo(word: &str) -> Instruction {
    run("echo", &[word])
}

fn run(program: &str, args: &[&str]) -> Instruction {
    Instruction::Run {
        entry_point: program.to_owned(),
        args: args.iter().map(|&word| word.to_owned()).collect(),
        capture: Capture::both(1 << 16),
    }
}

fn amount(text: &str) -> Amount {
    text.parse().unwrap()
}

/// Long enough for providers, who want some minutes.
fn soon() -> Timestamp {
    Timestamp::now() + SignedDuration::from_mins(30)
}
