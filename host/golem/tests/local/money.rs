//! One budget and many who want it.

use std::sync::Arc;

use sovr_capability::Amount;
use sovr_capability::ledger::ReserveError;
use sovr_golem::local::{Faults, ProviderSettings};
use sovr_golem::{Event, Executor, FailureKind, LinearPrice};

use crate::job::{Money, job, task};
use crate::{Scene, Test, program, run_test};

pub(crate) fn tests() -> Vec<Test> {
    vec![(
        "twenty_executors_racing_for_one_budget_never_exceed_it",
        || run_test(race()),
    )]
}

fn glm(text: &str) -> Amount {
    text.parse().unwrap()
}

async fn race() {
    const EXECUTORS: usize = 20;
    let budget = glm("20");
    let share = glm("3");
    let price = LinearPrice {
        start: glm("0.5"),
        cpu_second: glm("0.5"),
        duration_second: glm("0.5"),
    };
    let providers = (0..4)
        .map(|index| ProviderSettings {
            price: price.clone(),
            ..ProviderSettings::numbered(index)
        })
        .collect();
    let scene = Arc::new(Scene::with(providers, Faults::new()));
    let money = Arc::new(Money::new(budget));
    let mut racing = tokio::task::JoinSet::new();
    for _ in 0..EXECUTORS {
        let (scene, money) = (Arc::clone(&scene), Arc::clone(&money));
        racing.spawn(async move {
            let reservation = match money.account.reserve(share, "a share") {
                Ok(reservation) => reservation,
                Err(ReserveError::OverBudget { .. }) => return None,
                Err(error) => panic!("{error}"),
            };
            let network = Arc::clone(&scene.network) as _;
            let executor = Executor::open(network, job(2), reservation, Arc::new(|_: &Event| {}))
                .await
                .unwrap();
            // Costs far more than there is.
            executor
                .submit(task("endless", vec![program("hang")], None))
                .unwrap();
            let failure = executor.next().await.unwrap().unwrap().results.unwrap_err();
            assert!(
                matches!(
                    failure.kind,
                    FailureKind::OverBudget | FailureKind::NoProvider
                ),
                "{failure:?}"
            );
            Some(executor.close().await.cost)
        });
    }
    let costs: Vec<_> = racing.join_all().await.into_iter().flatten().collect();
    assert!(
        costs.len() >= 6,
        "only {} of them reserved anything",
        costs.len()
    );
    assert!(costs.iter().all(|cost| *cost <= share), "{costs:?}");
    let spent = Amount::checked_sum(costs).unwrap();
    assert!(
        spent <= budget && spent > glm("5"),
        "{spent} GLM were spent"
    );
    assert_eq!(money.account.spent().unwrap(), spent);
    assert_eq!(
        money.account.available().unwrap(),
        budget.saturating_sub(spent)
    );
    scene.wait_until_empty().await.unwrap();
}
