//! Jobs on a local network whose programs are played and whose clock jumps.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use sovr_capability::Amount;
use tokio::sync::{Notify, mpsc};
use tokio::time::Instant;

use super::{Executor, ExecutorError, Job, Task};
use crate::demand::Demand;
use crate::event::Event;
use crate::failure::FailureKind;
use crate::local::testing::{Scene, demand, run};
use crate::local::{Fault, Faults, LocalNetwork, ProviderSettings};
use crate::network::{Market, Network, NetworkError};
use crate::outcome::{Outcome, Summary};
use crate::price::{LinearPrice, Strategy};
use crate::purse::tests::Coins;
use crate::step::Step;

/// A job under test, with what its watcher saw and its money.
struct Run {
    executor: Executor,
    coins: Coins,
    events: Arc<Mutex<Vec<Event>>>,
}

fn job(max_workers: u32) -> Job {
    Job {
        demand: demand(),
        max_workers,
        timeout: Duration::from_secs(3600),
        max_attempts: 3,
        strategy: Strategy::default(),
    }
}

async fn open(scene: &Scene, job: Job, budget: Amount) -> Run {
    let events = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&events);
    let observer = move |event: &Event| seen.lock().unwrap().push(event.clone());
    let coins = Coins::new(budget);
    let executor = Executor::with_funds(
        Arc::clone(&scene.network) as _,
        job,
        coins.clone(),
        Arc::new(observer),
    )
    .await
    .unwrap();
    Run {
        executor,
        coins,
        events,
    }
}

impl Run {
    fn submit(&self, label: &str, steps: Vec<Step>) -> u64 {
        self.submit_within(label, steps, None)
    }

    fn submit_within(&self, label: &str, steps: Vec<Step>, timeout: Option<u64>) -> u64 {
        self.executor
            .submit(Task {
                label: label.to_owned(),
                steps,
                timeout: timeout.map(Duration::from_secs),
            })
            .unwrap()
    }

    async fn next(&self) -> Outcome {
        self.executor.next().await.unwrap().unwrap()
    }

    async fn all(&self) -> Vec<Outcome> {
        let mut outcomes = Vec::new();
        while let Some(outcome) = self.executor.next().await.unwrap() {
            outcomes.push(outcome);
        }
        outcomes
    }

    /// Closes the job and checks that nothing is left of it.
    async fn close(&self, scene: &Scene) -> Summary {
        let summary = self.executor.close().await;
        assert!(self.coins.released(), "the reservation was not released");
        assert_eq!(self.coins.spent(), summary.cost);
        scene.assert_empty();
        summary
    }

    fn count(&self, matches: impl Fn(&Event) -> bool) -> usize {
        self.events
            .lock()
            .unwrap()
            .iter()
            .filter(|event| matches(event))
            .count()
    }
}

fn name(outcome: &Outcome) -> &str {
    &outcome.provider.as_ref().unwrap().name
}

fn kind(outcome: &Outcome) -> Option<FailureKind> {
    outcome.results.as_ref().err().map(|failure| failure.kind)
}

fn faulty(faults: &[(usize, Fault)]) -> Faults {
    faults.iter().copied().collect()
}

#[tokio::test(start_paused = true)]
async fn tasks_run_on_several_providers_at_the_same_time() {
    let scene = Scene::new(3, Faults::new());
    let run_ = open(&scene, job(3), Amount::glm(10)).await;
    let begun = Instant::now();
    for label in ["a", "b", "c"] {
        run_.submit(label, vec![run("sleep", &["60"])]);
    }
    let outcomes = run_.all().await;
    assert!(
        begun.elapsed() < Duration::from_secs(65),
        "{:?}",
        begun.elapsed()
    );
    let mut names: Vec<_> = outcomes.iter().map(name).collect();
    names.sort_unstable();
    assert_eq!(names, ["alder", "birch", "cedar"]);
    let summary = run_.close(&scene).await;
    assert_eq!(
        (
            summary.tasks,
            summary.accepted,
            summary.failed,
            summary.providers
        ),
        (3, 3, 0, 3)
    );
}

#[tokio::test(start_paused = true)]
async fn a_worker_is_begun_for_each_task_as_it_comes() {
    let scene = Scene::new(3, Faults::new());
    let run_ = open(&scene, job(3), Amount::glm(10)).await;
    for label in ["a", "b", "c"] {
        run_.submit(label, vec![run("sleep", &["60"])]);
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(
        run_.count(|event| matches!(event, Event::TaskStarted { .. })),
        3
    );
    run_.close(&scene).await;
}

#[tokio::test(start_paused = true)]
async fn no_more_workers_than_asked_for() {
    let scene = Scene::new(3, Faults::new());
    let run_ = open(&scene, job(2), Amount::glm(10)).await;
    let begun = Instant::now();
    for label in ["a", "b", "c", "d"] {
        run_.submit(label, vec![run("sleep", &["60"])]);
    }
    run_.all().await;
    assert!(
        begun.elapsed() >= Duration::from_secs(120),
        "{:?}",
        begun.elapsed()
    );
    assert_eq!(run_.close(&scene).await.providers, 2);
    assert_eq!(
        run_.count(|event| matches!(event, Event::WorkerStarted { .. })),
        2
    );
}

#[tokio::test(start_paused = true)]
async fn outcomes_come_as_they_finish_and_cost_what_was_used() {
    let scene = Scene::new(2, Faults::new());
    let run_ = open(&scene, job(2), Amount::glm(10)).await;
    run_.submit("long", vec![run("sleep", &["100"])]);
    run_.submit("short", vec![run("sleep", &["10"]), run("echo", &["done"])]);
    let short = run_.next().await;
    assert_eq!(short.label, "short");
    assert_eq!(short.results.as_ref().unwrap()[1].stdout, "done\n");
    assert_eq!(short.running_time, Duration::from_secs(10));
    // 10 s of processor and of wall time at this provider's price.
    let provider = ProviderSettings::numbered(if name(&short) == "alder" { 0 } else { 1 });
    assert_eq!(
        short.cost,
        provider
            .price
            .running_cost(crate::price::Usage::full_load(1, Duration::from_secs(10)))
    );
    assert_eq!(run_.next().await.label, "long");
    let summary = run_.close(&scene).await;
    assert!(summary.cost > short.cost);
}

#[tokio::test(start_paused = true)]
async fn a_closed_job_can_be_asked_again_and_takes_nothing_more() {
    let scene = Scene::new(1, Faults::new());
    let run_ = open(&scene, job(1), Amount::glm(10)).await;
    assert!(run_.executor.next().await.unwrap().is_none());
    run_.submit("a", vec![run("echo", &[])]);
    assert_eq!(
        run_.executor.on_worker_start(Vec::new()),
        Err(ExecutorError::AlreadyStarted)
    );
    run_.next().await;
    let summary = run_.close(&scene).await;
    assert_eq!(run_.executor.close().await, summary);
    let task = Task {
        label: String::new(),
        steps: Vec::new(),
        timeout: None,
    };
    assert_eq!(run_.executor.submit(task), Err(ExecutorError::Closed));
    assert_eq!(run_.executor.accept(0), Err(ExecutorError::Closed));
    assert!(run_.executor.next().await.unwrap().is_none());
    assert_eq!(
        run_.count(|event| matches!(event, Event::JobFinished { .. })),
        1
    );
}

#[tokio::test(start_paused = true)]
async fn a_script_that_takes_no_results_gets_no_more_of_them_made() {
    const TASKS: usize = 24;
    let scene = Scene::new(2, Faults::new());
    let run_ = open(&scene, job(2), Amount::glm(10)).await;
    for number in 0..TASKS {
        // 64 KiB are kept of each step, so eight tasks are as much as is held.
        run_.submit(&number.to_string(), vec![run("flood", &[]); 64]);
    }
    tokio::time::sleep(Duration::from_secs(600)).await;
    let begun = run_.count(|event| matches!(event, Event::TaskStarted { .. }));
    assert!((8..=9).contains(&begun), "{begun}");
    let outcomes = run_.all().await;
    assert_eq!(outcomes.len(), TASKS);
    assert!(outcomes.iter().all(|outcome| kind(outcome).is_none()));

    for number in 0..TASKS {
        run_.submit(&number.to_string(), vec![run("flood", &[]); 64]);
    }
    tokio::time::sleep(Duration::from_secs(600)).await;
    run_.close(&scene).await;
}

#[tokio::test(start_paused = true)]
async fn set_up_is_done_once_per_worker_and_again_on_the_next_provider() {
    let scene = Scene::new(2, faulty(&[(0, Fault::Vanish)]));
    let mut job = job(1);
    job.max_attempts = 2;
    let run_ = open(&scene, job, Amount::glm(10)).await;
    run_.executor
        .on_worker_start(vec![Step::Send {
            source: Arc::new(crate::transfer::Bytes::new(*b"the scene")),
            destination: "/golem/resource/scene".to_owned(),
        }])
        .unwrap();
    for label in ["a", "b"] {
        run_.submit(label, vec![run("cat", &["/golem/resource/scene"])]);
    }
    let outcomes = run_.all().await;
    for outcome in &outcomes {
        assert_eq!(name(outcome), "birch");
        assert_eq!(outcome.results.as_ref().unwrap()[0].stdout, "the scene");
    }
    assert_eq!(
        outcomes.iter().map(|outcome| outcome.attempts).max(),
        Some(2)
    );
    run_.close(&scene).await;
    let sent = run_.count(|event| {
        matches!(
            event,
            Event::CommandStarted {
                task: None,
                doing: crate::event::Doing::Send { .. },
                ..
            }
        )
    });
    assert_eq!(sent, 2, "once on each provider");
}

/// Each fault on the two cheapest of three providers: the job completes on the third.
#[tokio::test(start_paused = true)]
async fn whatever_two_providers_do_the_third_completes_the_job() {
    for fault in [
        Fault::FailCommand,
        Fault::Hang,
        Fault::ShortFile,
        Fault::Vanish,
        Fault::RefuseAgreement,
        Fault::LieAboutUsage,
        Fault::LieAboutPrice,
    ] {
        let scene = Scene::new(3, faulty(&[(0, fault), (1, fault)]));
        let run_ = open(&scene, job(3), Amount::glm(10)).await;
        let fetch = || Step::DownloadBytes {
            source: "/golem/work/out".to_owned(),
            most: 100,
        };
        for label in ["a", "b", "c", "d"] {
            let steps = vec![
                run("write", &["/golem/work/out", "picture"]),
                run("sleep", &["10"]),
                fetch(),
            ];
            run_.submit_within(label, steps, Some(60));
        }
        let outcomes = run_.all().await;
        assert_eq!(outcomes.len(), 4);
        for outcome in &outcomes {
            let results = outcome
                .results
                .as_ref()
                .unwrap_or_else(|failure| panic!("{fault:?}: {failure}"));
            assert_eq!(
                results[2].bytes.as_deref(),
                Some(&b"picture"[..]),
                "{fault:?}"
            );
            let honest = matches!(fault, Fault::LieAboutUsage | Fault::LieAboutPrice);
            assert!(
                honest || name(outcome) == "cedar",
                "{fault:?}: {}",
                name(outcome)
            );
        }
        let summary = run_.close(&scene).await;
        assert_eq!((summary.accepted, summary.failed), (4, 0), "{fault:?}");
        assert!(
            summary.cost < Amount::glm(1),
            "{fault:?} cost {}",
            summary.cost
        );
    }
}

/// Each fault on every provider: the job fails with a reason of the right kind.
#[tokio::test(start_paused = true)]
async fn when_no_provider_is_left_the_reason_is_typed() {
    for (fault, expected, says) in [
        (
            Fault::FailCommand,
            FailureKind::NoProvider,
            "exited with code 1",
        ),
        (
            Fault::Hang,
            FailureKind::NoProvider,
            "it took longer than 60s",
        ),
        (
            Fault::ShortFile,
            FailureKind::NoProvider,
            "it ended after 3 of 7 bytes",
        ),
        (
            Fault::Vanish,
            FailureKind::NoProvider,
            "endpoint address not found",
        ),
        (
            Fault::RefuseAgreement,
            FailureKind::NoProvider,
            "it refuses every agreement",
        ),
    ] {
        let scene = Scene::new(2, faulty(&[(0, fault), (1, fault)]));
        let run_ = open(&scene, job(2), Amount::glm(10)).await;
        let steps = vec![
            run("write", &["/golem/work/out", "picture"]),
            Step::DownloadBytes {
                source: "/golem/work/out".to_owned(),
                most: 100,
            },
        ];
        run_.submit_within("a", steps, Some(60));
        let outcome = run_.next().await;
        assert_eq!(
            kind(&outcome),
            Some(expected),
            "{fault:?}: {:?}",
            outcome.results
        );
        let reason = outcome.results.unwrap_err().reason;
        assert!(reason.contains(says), "{fault:?}: {reason}");
        assert_eq!(
            outcome.attempts,
            if fault == Fault::RefuseAgreement {
                0
            } else {
                2
            }
        );
        let summary = run_.close(&scene).await;
        assert_eq!((summary.accepted, summary.failed), (0, 1), "{fault:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn tries_are_bounded() {
    let scene = Scene::new(3, Faults::new());
    let mut job = job(1);
    job.max_attempts = 2;
    let run_ = open(&scene, job, Amount::glm(10)).await;
    run_.submit(
        "hopeless",
        vec![run("echo", &["before"]), run("fail", &["4"])],
    );
    let outcome = run_.next().await;
    let failure = outcome.results.unwrap_err();
    assert_eq!(failure.kind, FailureKind::CommandFailed);
    assert_eq!(
        (failure.step, failure.stderr.as_str(), outcome.attempts),
        (Some(1), "sorry\n", 2)
    );
    assert!(
        failure
            .reason
            .contains("ExeScript command exited with code 4"),
        "{}",
        failure.reason
    );
    run_.close(&scene).await;
}

#[tokio::test(start_paused = true)]
async fn bad_tasks_do_not_cost_good_ones_their_providers() {
    let scene = Scene::new(2, Faults::new());
    let run_ = open(&scene, job(2), Amount::glm(10)).await;
    for number in 0..6 {
        run_.submit(&format!("bad {number}"), vec![run("fail", &["1"])]);
    }
    for number in 0..6 {
        run_.submit(&format!("good {number}"), vec![run("echo", &["fine"])]);
    }
    for outcome in run_.all().await {
        assert_eq!(
            outcome.results.is_ok(),
            outcome.label.starts_with("good"),
            "{outcome:?}"
        );
    }
    run_.close(&scene).await;
}

#[tokio::test(start_paused = true)]
async fn a_set_up_that_fails_everywhere_fails_the_job() {
    let scene = Scene::new(5, Faults::new());
    let run_ = open(&scene, job(1), Amount::glm(10)).await;
    run_.executor
        .on_worker_start(vec![run("fail", &["9"])])
        .unwrap();
    for label in ["a", "b"] {
        run_.submit(label, vec![run("echo", &[])]);
    }
    for outcome in run_.all().await {
        let failure = outcome.results.unwrap_err();
        assert_eq!(failure.kind, FailureKind::CommandFailed);
        assert!(
            failure.reason.contains("no worker could be prepared"),
            "{}",
            failure.reason
        );
        assert!(
            failure.reason.contains("exited with code 9"),
            "{}",
            failure.reason
        );
        assert_eq!(outcome.attempts, 0);
    }
    assert_eq!(
        run_.count(|event| matches!(event, Event::AgreementConfirmed { .. })),
        3
    );
    run_.close(&scene).await;
}

#[tokio::test(start_paused = true)]
async fn a_rejected_result_comes_again_from_another_provider() {
    let scene = Scene::new(2, Faults::new());
    let run_ = open(&scene, job(1), Amount::glm(10)).await;
    let task = run_.submit("a", vec![run("echo", &["blurred"])]);
    let first = run_.next().await;
    run_.executor.reject(task, "blurred", true).unwrap();
    let second = run_.next().await;
    assert_ne!(first.provider, second.provider);
    assert_eq!(second.attempts, 2);
    run_.executor.accept(task).unwrap();
    assert!(run_.executor.next().await.unwrap().is_none());

    let other = run_.submit("b", vec![run("echo", &["wrong"])]);
    run_.next().await;
    run_.executor.reject(other, "wrong", false).unwrap();
    assert!(run_.executor.next().await.unwrap().is_none());
    let summary = run_.close(&scene).await;
    assert_eq!((summary.accepted, summary.rejected), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn a_task_has_its_own_time_and_the_job_has_one() {
    let scene = Scene::new(1, Faults::new());
    let mut job = job(1);
    job.timeout = Duration::from_secs(100);
    job.max_attempts = 1;
    let run_ = open(&scene, job, Amount::glm(10)).await;
    let begun = Instant::now();
    run_.submit_within("too slow", vec![run("sleep", &["30"])], Some(20));
    let outcome = run_.next().await;
    assert_eq!(kind(&outcome), Some(FailureKind::TimedOut));
    assert_eq!(begun.elapsed().as_secs(), 20);

    run_.submit("endless", vec![run("sleep", &["100000"])]);
    run_.submit("waits", vec![run("echo", &[])]);
    for outcome in run_.all().await {
        let failure = outcome.results.unwrap_err();
        assert_eq!(failure.kind, FailureKind::TimedOut);
        assert_eq!(failure.reason, "the job's time of 100s is over");
    }
    assert_eq!(begun.elapsed().as_secs(), 100);
    // The money is back before anybody closes the job.
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(run_.coins.released());
    run_.submit("late", Vec::new());
    assert_eq!(kind(&run_.next().await), Some(FailureKind::TimedOut));
    run_.close(&scene).await;
}

#[tokio::test(start_paused = true)]
async fn closing_ends_what_runs() {
    let scene = Scene::new(2, Faults::new());
    let run_ = open(&scene, job(2), Amount::glm(10)).await;
    for label in ["a", "b", "c"] {
        run_.submit(label, vec![run("sleep", &["100000"])]);
    }
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert_eq!(scene.network.open_activities(), 2);
    let begun = Instant::now();
    let summary = run_.close(&scene).await;
    assert!(begun.elapsed() < Duration::from_secs(1));
    assert_eq!(summary.failed, 3);
    for outcome in run_.all().await {
        assert_eq!(kind(&outcome), Some(FailureKind::Cancelled));
    }
}

#[tokio::test(start_paused = true)]
async fn dropping_leaves_nothing_open_and_nothing_reserved() {
    let scene = Scene::new(2, Faults::new());
    let run_ = open(&scene, job(2), Amount::glm(10)).await;
    for label in ["a", "b", "c"] {
        run_.submit(label, vec![run("sleep", &["100000"])]);
    }
    tokio::time::sleep(Duration::from_secs(10)).await;
    let Run {
        executor,
        coins,
        events,
    } = run_;
    drop(executor);
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(coins.released());
    assert!(!coins.spent().is_zero());
    scene.assert_empty();
    assert!(matches!(
        events.lock().unwrap().last(),
        Some(Event::JobFinished { .. })
    ));
}

#[tokio::test(start_paused = true)]
async fn a_wait_for_the_next_outcome_may_be_dropped() {
    let scene = Scene::new(1, Faults::new());
    let run_ = open(&scene, job(1), Amount::glm(10)).await;
    run_.submit("a", vec![run("sleep", &["10"])]);
    let given_up = tokio::time::timeout(Duration::from_secs(5), run_.executor.next()).await;
    assert!(given_up.is_err());
    assert_eq!(run_.next().await.label, "a");
    run_.close(&scene).await;
}

#[tokio::test(start_paused = true)]
async fn all_who_wait_for_the_last_outcome_are_answered() {
    let scene = Scene::new(1, Faults::new());
    let run_ = open(&scene, job(1), Amount::glm(10)).await;
    run_.submit("a", vec![run("sleep", &["10"])]);
    let (one, other) = tokio::join!(run_.executor.next(), run_.executor.next());
    assert_eq!(
        one.unwrap().is_some() as u8 + other.unwrap().is_some() as u8,
        1
    );
    run_.close(&scene).await;
}

#[tokio::test(start_paused = true)]
async fn a_budget_is_a_wall() {
    let scene = Scene::new(1, Faults::new());
    // Pays for 100 seconds of full load and a start.
    let price = LinearPrice {
        start: Amount::glm(1),
        cpu_second: Amount::glm(1),
        duration_second: Amount::glm(1),
    };
    let provider = ProviderSettings {
        price,
        ..ProviderSettings::numbered(0)
    };
    drop(scene);
    let scene = Scene::with(vec![provider], Faults::new());
    let run_ = open(&scene, job(1), Amount::glm(201)).await;
    let begun = Instant::now();
    run_.submit("endless", vec![run("sleep", &["100000"])]);
    let outcome = run_.next().await;
    assert_eq!(
        kind(&outcome),
        Some(FailureKind::NoProvider),
        "{:?}",
        outcome.results
    );
    let seconds = begun.elapsed().as_secs();
    assert!((95..=102).contains(&seconds), "cut off after {seconds} s");
    let summary = run_.close(&scene).await;
    assert!(
        summary.cost <= Amount::glm(201) && summary.cost > Amount::glm(190),
        "{}",
        summary.cost
    );
    assert_eq!(
        run_.count(|event| matches!(event, Event::SpendingCutOff { .. })),
        1
    );
}

#[tokio::test(start_paused = true)]
async fn a_budget_too_small_to_begin_with_is_said_to_be() {
    let scene = Scene::new(2, Faults::new());
    let run_ = open(&scene, job(2), "0.0001".parse().unwrap()).await;
    run_.submit("a", vec![run("echo", &[])]);
    let outcome = run_.next().await;
    assert_eq!(kind(&outcome), Some(FailureKind::OverBudget));
    let reason = outcome.results.unwrap_err().reason;
    assert_eq!(
        reason,
        "0.0001 GLM are left of the job's 0.0001 GLM, too little for another try"
    );
    assert_eq!(run_.close(&scene).await.cost, Amount::ZERO);
}

#[tokio::test(start_paused = true)]
async fn offers_above_the_highest_price_are_refused() {
    let scene = Scene::new(3, Faults::new());
    let mut job = job(3);
    job.strategy.most = Some(ProviderSettings::numbered(0).price);
    let run_ = open(&scene, job, Amount::glm(10)).await;
    for label in ["a", "b"] {
        run_.submit(label, vec![run("sleep", &["10"])]);
    }
    for outcome in run_.all().await {
        assert_eq!(name(&outcome), "alder");
    }
    run_.close(&scene).await;
    assert_eq!(
        run_.count(|event| matches!(event, Event::ProposalRejected { .. })),
        2
    );
}

#[tokio::test(start_paused = true)]
async fn a_package_that_cannot_run_here_is_explained() {
    let scene = Scene::new(3, Faults::new());
    let mut job = job(3);
    job.demand.package.forms.clear();
    let run_ = open(&scene, job, Amount::glm(10)).await;
    run_.submit("a", vec![run("echo", &[])]);
    let failure = run_.next().await.results.unwrap_err();
    assert_eq!(failure.kind, FailureKind::NoProvider);
    assert!(
        failure.reason.contains("has no WASI form"),
        "{}",
        failure.reason
    );
    run_.close(&scene).await;
}

#[tokio::test(start_paused = true)]
async fn a_demand_that_nobody_meets_says_what_each_provider_lacks() {
    let scene = Scene::new(3, Faults::new());
    let mut job = job(3);
    job.demand.min_mem_gib = Some(64.0);
    let run_ = open(&scene, job, Amount::glm(10)).await;
    run_.submit("a", vec![run("echo", &[])]);
    let failure = run_.next().await.results.unwrap_err();
    assert_eq!(
        failure.reason,
        "no provider is left for this task: asked for package `stage` in subnet `public` with at least 64 GiB memory; \
         no offer came; refused 3 times: has 2 GiB memory"
    );
    run_.close(&scene).await;
}

#[tokio::test(start_paused = true)]
async fn a_job_waits_for_providers_that_another_job_uses() {
    let scene = Scene::new(1, Faults::new());
    let first = open(&scene, job(1), Amount::glm(10)).await;
    first.submit("a", vec![run("sleep", &["100"])]);
    tokio::time::sleep(Duration::from_secs(5)).await;
    let second = open(&scene, job(1), Amount::glm(10)).await;
    second.submit("b", vec![run("echo", &["at last"])]);
    let (a, b) = tokio::join!(first.next(), async {
        let outcome = second.next().await;
        (outcome, Instant::now())
    });
    assert!(a.results.is_ok());
    assert!(b.0.results.is_ok(), "{:?}", b.0.results);
    first.executor.close().await;
    second.close(&scene).await;
}

#[tokio::test(start_paused = true)]
async fn a_worker_waits_a_little_for_more_and_then_ends() {
    let scene = Scene::new(1, Faults::new());
    let run_ = open(&scene, job(1), Amount::glm(10)).await;
    run_.submit("a", vec![run("echo", &[])]);
    run_.next().await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    run_.submit("b", vec![run("echo", &[])]);
    run_.next().await;
    assert_eq!(
        run_.count(|event| matches!(event, Event::AgreementConfirmed { .. })),
        1
    );
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert_eq!(scene.network.open_agreements(), 0);
    run_.submit("c", vec![run("echo", &[])]);
    assert!(run_.next().await.results.is_ok());
    assert_eq!(
        run_.count(|event| matches!(event, Event::AgreementConfirmed { .. })),
        2
    );
    run_.close(&scene).await;
}

#[tokio::test(start_paused = true)]
async fn an_overcharging_provider_is_paid_nothing_beyond_its_due_and_not_asked_again() {
    for fault in [Fault::LieAboutPrice, Fault::LieAboutUsage] {
        let scene = Scene::new(2, faulty(&[(0, fault)]));
        let run_ = open(&scene, job(1), Amount::glm(10)).await;
        for label in ["a", "b", "c", "d"] {
            run_.submit(label, vec![run("sleep", &["30"])]);
        }
        let outcomes = run_.all().await;
        assert!(
            outcomes.iter().all(|outcome| outcome.results.is_ok()),
            "{fault:?}"
        );
        assert!(
            outcomes.iter().any(|outcome| name(outcome) == "birch"),
            "{fault:?}"
        );
        let summary = run_.close(&scene).await;
        let honest = ProviderSettings::numbered(1)
            .price
            .cost(crate::price::Usage::full_load(1, Duration::from_secs(300)));
        assert!(
            summary.cost < honest,
            "{fault:?}: {} is more than {honest}",
            summary.cost
        );
        let refused = run_.count(|event| {
            matches!(
                event,
                Event::DebitNoteReceived {
                    accepted: false,
                    ..
                } | Event::InvoiceReceived {
                    accepted: false,
                    ..
                }
            )
        });
        assert!(refused > 0, "{fault:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_bill_within_the_budget_but_beyond_the_time_that_passed_is_refused() {
    let scene = Scene::new(1, faulty(&[(0, Fault::LieAboutUsage)]));
    let run_ = open(&scene, job(1), Amount::glm(10)).await;
    // Said to be 20 seconds, which is less than what is set aside when a worker begins.
    run_.submit("a", vec![run("sleep", &["0.02"])]);
    let outcome = run_.next().await;
    assert!(outcome.results.is_ok());
    let price = ProviderSettings::numbered(0).price;
    let due = price.running_cost(crate::price::Usage::full_load(1, Duration::from_millis(20)));
    assert_eq!(outcome.cost, due);
    assert_eq!(run_.close(&scene).await.cost, Amount::ZERO);
    let refused = run_.count(|event| {
        matches!(
            event,
            Event::InvoiceReceived {
                accepted: false,
                ..
            }
        )
    });
    assert_eq!(refused, 1);
}

#[tokio::test(start_paused = true)]
async fn a_provider_whose_bill_was_refused_is_not_asked_again() {
    let scene = Scene::new(2, faulty(&[(0, Fault::LieAboutUsage)]));
    let run_ = open(&scene, job(1), Amount::glm(10)).await;
    run_.submit("a", vec![run("echo", &[])]);
    assert_eq!(name(&run_.next().await), "alder");
    tokio::time::sleep(Duration::from_secs(8)).await;
    assert_eq!(scene.network.open_agreements(), 0);
    run_.submit("b", vec![run("echo", &[])]);
    assert_eq!(name(&run_.next().await), "birch");
    run_.close(&scene).await;
}

/// A network that takes its time to publish a demand.
struct Slow {
    network: Arc<LocalNetwork>,
    begun: Notify,
    go_on: Notify,
}

#[async_trait]
impl Network for Slow {
    fn name(&self) -> &str {
        self.network.name()
    }

    fn driver(&self) -> &str {
        self.network.driver()
    }

    async fn publish(&self, demand: &Demand) -> Result<Box<dyn Market>, NetworkError> {
        self.begun.notify_one();
        self.go_on.notified().await;
        self.network.publish(demand).await
    }
}

#[tokio::test(start_paused = true)]
async fn a_job_that_nobody_waits_for_while_it_is_opened_ends_in_order() {
    let scene = Scene::new(1, Faults::default());
    let slow = Arc::new(Slow {
        network: Arc::clone(&scene.network),
        begun: Notify::new(),
        go_on: Notify::new(),
    });
    let (sender, mut events) = mpsc::unbounded_channel();
    let observer = move |event: &Event| drop(sender.send(event.clone()));
    let coins = Coins::new(Amount::glm(10));
    let opening = tokio::spawn(Executor::with_funds(
        Arc::clone(&slow) as _,
        job(1),
        coins.clone(),
        Arc::new(observer),
    ));
    slow.begun.notified().await;
    opening.abort();
    assert!(opening.await.is_err());
    slow.go_on.notify_one();
    // The watcher goes with the job, so who waits for it waits for the job's end.
    let mut seen = Vec::new();
    while let Some(event) = events.recv().await {
        seen.push(event);
    }
    assert!(
        matches!(seen.last(), Some(Event::JobFinished { .. })),
        "{seen:?}"
    );
    assert!(coins.released());
    scene.assert_empty();
}
