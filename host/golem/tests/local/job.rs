//! Jobs and rentals from end to end.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use sovr_capability::ledger::{Account, Ceilings};
use sovr_capability::{Amount, Home, Ledger, Reservation, RunId};
use sovr_golem::local::{Fault, Faults, ProviderSettings};
use sovr_golem::transfer::Bytes;
use sovr_golem::{
    BatchEvent, Event, Executor, FailureKind, Job, Outcome, Rental, Step, Strategy, Task,
};

use crate::{Scene, Test, demand, guest, program, run_test};

pub(crate) fn tests() -> Vec<Test> {
    vec![
        ("tasks_run_in_parallel_and_bring_files_back", || {
            run_test(parallel())
        }),
        (
            "whatever_one_provider_does_the_job_completes_on_another",
            || run_test(faults()),
        ),
        ("a_set_up_is_repeated_on_the_next_provider", || {
            run_test(set_up())
        }),
        (
            "closing_kills_what_runs_and_leaves_nothing_reserved",
            || run_test(closing()),
        ),
        ("a_rented_provider_takes_one_batch_after_another", || {
            run_test(rental())
        }),
        ("a_rental_that_is_dropped_ends", || {
            run_test(dropped_rental())
        }),
        ("a_program_that_fills_the_disk_is_stopped", || {
            run_test(hoard())
        }),
    ]
}

/// A ledger of its own with one run's account.
pub(crate) struct Money {
    pub(crate) account: Account,
    _home: tempfile::TempDir,
}

impl Money {
    pub(crate) fn new(budget: Amount) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let home = Home::at(directory.path());
        home.prepare().unwrap();
        let ceilings = Ceilings {
            run: budget,
            day: budget,
            month: budget,
        };
        let account = Ledger::open(&home)
            .unwrap()
            .account(&RunId::generate().unwrap(), ceilings)
            .unwrap();
        Self {
            account,
            _home: directory,
        }
    }

    fn reserve(&self, amount: Amount) -> Reservation {
        self.account.reserve(amount, "a test").unwrap()
    }

    /// What was spent, when nothing is reserved any more.
    fn assert_spent(&self, cost: Amount, budget: Amount) {
        assert_eq!(self.account.spent().unwrap(), cost);
        assert_eq!(
            self.account.available().unwrap(),
            budget.saturating_sub(cost)
        );
    }
}

pub(crate) fn job(max_workers: u32) -> Job {
    Job {
        demand: demand(),
        max_workers,
        timeout: Duration::from_secs(120),
        max_attempts: 3,
        strategy: Strategy::default(),
    }
}

type Seen = Arc<Mutex<Vec<Event>>>;

fn observer() -> (Seen, Arc<dyn sovr_golem::Observer>) {
    let seen = Seen::default();
    let sink = Arc::clone(&seen);
    (
        seen,
        Arc::new(move |event: &Event| sink.lock().unwrap().push(event.clone())),
    )
}

async fn open(scene: &Scene, job: Job, money: &Money, budget: Amount) -> (Executor, Seen) {
    let (seen, observer) = observer();
    let network = Arc::clone(&scene.network) as _;
    let executor = Executor::open(network, job, money.reserve(budget), observer)
        .await
        .unwrap();
    (executor, seen)
}

pub(crate) fn task(label: &str, steps: Vec<Step>, timeout: Option<u64>) -> Task {
    Task {
        label: label.to_owned(),
        steps,
        timeout: timeout.map(Duration::from_secs),
    }
}

fn fetch_picture() -> Step {
    Step::DownloadBytes {
        source: format!("{}/out", guest::MOUNT),
        most: 100,
    }
}

fn send_scene() -> Step {
    Step::Send {
        source: Arc::new(Bytes::new(*b"the scene")),
        destination: format!("{}/file", guest::MOUNT),
    }
}

fn name(outcome: &Outcome) -> &str {
    &outcome.provider.as_ref().unwrap().name
}

async fn parallel() {
    let scene = Scene::new(3, Faults::new());
    let budget = Amount::glm(10);
    let money = Money::new(budget);
    let (executor, seen) = open(&scene, job(3), &money, budget).await;
    executor.on_worker_start(vec![send_scene()]).unwrap();
    for number in 0..6 {
        let steps = vec![
            program("cat"),
            program("make"),
            fetch_picture(),
            program("toil"),
        ];
        executor
            .submit(task(&format!("frame {number}"), steps, Some(60)))
            .unwrap();
    }
    let mut providers = BTreeSet::new();
    let mut done = 0;
    while let Some(outcome) = executor.next().await.unwrap() {
        let results = outcome
            .results
            .as_ref()
            .unwrap_or_else(|failure| panic!("{failure}"));
        assert_eq!(results[0].stdout, "the scene");
        assert_eq!(results[2].bytes.as_deref(), Some(&b"a picture"[..]));
        assert!(!outcome.cost.is_zero());
        providers.insert(name(&outcome).to_owned());
        executor.accept(outcome.task).unwrap();
        done += 1;
    }
    assert_eq!(done, 6);
    assert!(providers.len() >= 2, "all tasks ran on {providers:?}");
    assert!(
        most_at_once(&seen.lock().unwrap()) >= 2,
        "tasks never ran at the same time"
    );
    let summary = executor.close().await;
    assert_eq!((summary.tasks, summary.accepted), (6, 6));
    assert_eq!(summary.providers, providers.len() as u64);
    money.assert_spent(summary.cost, budget);
    scene.wait_until_empty().await.unwrap();
}

/// Most tasks that were under way at one moment.
fn most_at_once(events: &[Event]) -> usize {
    let (mut now, mut most) = (0, 0);
    for event in events {
        match event {
            Event::TaskStarted { .. } => now += 1,
            Event::TaskFinished { .. } | Event::TaskRetried { .. } | Event::TaskFailed { .. } => {
                now -= 1
            }
            _ => {}
        }
        most = most.max(now);
    }
    most
}

async fn faults() {
    for fault in [
        Fault::FailCommand,
        Fault::Hang,
        Fault::ShortFile,
        Fault::Vanish,
        Fault::RefuseAgreement,
        Fault::LieAboutUsage,
        Fault::LieAboutPrice,
    ] {
        // The cheapest provider, which is asked first.
        let scene = Scene::new(2, Faults::from([(0, fault)]));
        let budget = Amount::glm(10);
        let money = Money::new(budget);
        let (executor, _) = open(&scene, job(1), &money, budget).await;
        for number in 0..2 {
            let steps = vec![program("make"), fetch_picture()];
            executor
                .submit(task(&format!("frame {number}"), steps, Some(5)))
                .unwrap();
        }
        while let Some(outcome) = executor.next().await.unwrap() {
            let results = outcome
                .results
                .as_ref()
                .unwrap_or_else(|failure| panic!("{fault:?}: {failure}"));
            assert_eq!(
                results[1].bytes.as_deref(),
                Some(&b"a picture"[..]),
                "{fault:?}"
            );
            let lies = matches!(fault, Fault::LieAboutUsage | Fault::LieAboutPrice);
            assert!(lies || name(&outcome) == "birch", "{fault:?}");
        }
        let summary = executor.close().await;
        assert_eq!(summary.accepted, 2, "{fault:?}");
        money.assert_spent(summary.cost, budget);
        scene.wait_until_empty().await.unwrap();
    }
}

async fn set_up() {
    let scene = Scene::new(2, Faults::from([(0, Fault::FailCommand)]));
    let money = Money::new(Amount::glm(10));
    let (executor, _) = open(&scene, job(1), &money, Amount::glm(10)).await;
    executor.on_worker_start(vec![send_scene()]).unwrap();
    executor
        .submit(task("frame", vec![program("cat")], None))
        .unwrap();
    let outcome = executor.next().await.unwrap().unwrap();
    assert_eq!((name(&outcome), outcome.attempts), ("birch", 2));
    assert_eq!(outcome.results.unwrap()[0].stdout, "the scene");
    executor.close().await;
}

async fn closing() {
    let scene = Scene::new(2, Faults::new());
    let budget = Amount::glm(10);
    let money = Money::new(budget);
    let (executor, seen) = open(&scene, job(2), &money, budget).await;
    for label in ["a", "b", "c"] {
        executor
            .submit(task(label, vec![program("hang")], None))
            .unwrap();
    }
    let runs = |event: &Event| {
        matches!(
            event,
            Event::CommandStarted {
                doing: sovr_golem::event::Doing::Run { .. },
                ..
            }
        )
    };
    while seen
        .lock()
        .unwrap()
        .iter()
        .filter(|event| runs(event))
        .count()
        < 2
    {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let begun = Instant::now();
    let summary = executor.close().await;
    assert!(
        begun.elapsed() < Duration::from_secs(3),
        "closing took {:?}",
        begun.elapsed()
    );
    assert_eq!(summary.failed, 3);
    assert!(!summary.cost.is_zero());
    money.assert_spent(summary.cost, budget);
    scene.wait_until_empty().await.unwrap();
    while let Some(outcome) = executor.next().await.unwrap() {
        assert_eq!(outcome.results.unwrap_err().kind, FailureKind::Cancelled);
    }
}

async fn batch(
    rental: &Rental,
    steps: Vec<Step>,
    timeout: Option<u64>,
) -> (String, Option<FailureKind>) {
    let mut events = rental
        .exec(steps, timeout.map(Duration::from_secs))
        .await
        .unwrap();
    let mut printed = String::new();
    while let Some(event) = events.recv().await {
        match event {
            BatchEvent::Stdout(_, text) => printed.push_str(&text),
            BatchEvent::Ended(end) => return (printed, end.err().map(|failure| failure.kind)),
            _ => {}
        }
    }
    panic!("the batch did not end");
}

async fn rental() {
    let scene = Scene::new(2, Faults::from([(0, Fault::RefuseAgreement)]));
    let budget = Amount::glm(10);
    let money = Money::new(budget);
    let (_, observer) = observer();
    let network = Arc::clone(&scene.network) as _;
    let rental = Rental::open(network, job(1), money.reserve(budget), observer)
        .await
        .unwrap();
    assert_eq!(rental.runs_on().name, "birch");
    assert_eq!(
        batch(&rental, vec![send_scene(), program("cat")], None).await,
        ("the scene".to_owned(), None)
    );
    let (_, failed) = batch(&rental, vec![program("fail")], None).await;
    assert_eq!(failed, Some(FailureKind::CommandFailed));
    assert_eq!(
        batch(&rental, vec![program("print")], None).await,
        ("hello\n".to_owned(), None)
    );
    let (_, late) = batch(&rental, vec![program("hang")], Some(1)).await;
    assert_eq!(late, Some(FailureKind::TimedOut));
    let (_, over) = batch(&rental, vec![program("print")], None).await;
    assert_eq!(over, Some(FailureKind::TimedOut));
    let cost = rental.close().await;
    assert!(!cost.is_zero());
    assert_eq!(rental.close().await, cost);
    money.assert_spent(cost, budget);
    scene.wait_until_empty().await.unwrap();
}

async fn dropped_rental() {
    let scene = Scene::new(1, Faults::new());
    let budget = Amount::glm(10);
    let money = Money::new(budget);
    let (seen, observer) = observer();
    let network = Arc::clone(&scene.network) as _;
    let rental = Rental::open(network, job(1), money.reserve(budget), observer)
        .await
        .unwrap();
    let mut events = rental.exec(vec![program("hang")], None).await.unwrap();
    events.recv().await.unwrap();
    drop(rental);
    while !matches!(seen.lock().unwrap().last(), Some(Event::JobFinished { .. })) {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let spent = money.account.spent().unwrap();
    money.assert_spent(spent, budget);
    scene.wait_until_empty().await.unwrap();
}

async fn hoard() {
    let provider = ProviderSettings {
        storage: 400 << 10,
        ..ProviderSettings::numbered(0)
    };
    let scene = Scene::with(vec![provider], Faults::new());
    let budget = Amount::glm(1);
    let money = Money::new(budget);
    let (executor, _) = open(&scene, job(1), &money, budget).await;
    let begun = Instant::now();
    executor
        .submit(task("hoard", vec![program("hoard")], Some(60)))
        .unwrap();
    let outcome = executor.next().await.unwrap().unwrap();
    let failure = outcome.results.unwrap_err();
    assert!(
        failure
            .reason
            .contains("it keeps more than 409600 bytes of files"),
        "{}",
        failure.reason
    );
    assert!(
        begun.elapsed() < Duration::from_secs(30),
        "{:?}",
        begun.elapsed()
    );
    executor.close().await;
    scene.wait_until_empty().await.unwrap();
}
