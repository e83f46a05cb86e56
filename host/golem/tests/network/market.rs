//! Who answers, who does not, and why.

use std::sync::Arc;

use serde_json::json;
use sovr_capability::Amount;
use sovr_capability::capabilities::ImageName;
use sovr_golem::demand::{VmImage, WasiPackage};
use sovr_golem::network::TerminateReason;
use sovr_golem::network::{MarketEvent, Network as _, NetworkError};
use sovr_golem::transfer::Bytes;
use sovr_golem::yagna::Change;
use sovr_golem::yagna::properties;
use sovr_golem::{Demand, Form, Package};
use sovr_test_golem::{Fault, Gate, Provider, Terms};

use crate::Test;
use crate::scene::{SUBNET, Scene, demand, offer, soon};

pub(crate) const TESTS: &[Test] = &[
    ("no_account_and_no_funds_are_told_apart", money),
    ("a_refusal_is_told_with_the_provider_s_words", refusals),
    ("odd_refusals_and_nonsense_end_no_market", odd_refusal),
    ("an_agreement_that_is_refused_is_void", refused_agreement),
    ("an_agreement_without_an_answer_is_void", ignored_agreement),
    ("an_image_has_a_hash_or_a_name", images),
    ("an_archive_is_served_to_providers_that_run_it", archive),
    ("a_form_that_cannot_be_had_leaves_the_others", forms),
    ("an_offer_that_nobody_answers_hides_no_other", forgotten),
    ("a_demand_that_has_ended_is_published_anew", renewal),
    ("a_demand_that_no_market_can_state_is_refused", nonsense),
];

fn money() {
    let scene = Scene::new();
    scene.run(async |scene| {
        let mut settings = scene.settings();
        settings.network = "nowhere".to_owned();
        let nowhere = scene.connect(settings).await.publish(&demand()).await;
        let Err(NetworkError::NoPaymentAccount {
            driver, network, ..
        }) = nowhere
        else {
            panic!("there is an account on a network that does not exist");
        };
        assert_eq!((driver.as_str(), network.as_str()), ("erc20", "nowhere"));

        let network = scene.connect(scene.settings()).await;
        let first = network.publish(&demand()).await.unwrap();
        let demand = Demand {
            budget: Amount::glm(101),
            ..demand()
        };
        let second = network.publish(&demand).await;
        assert_eq!(
            second.err(),
            Some(NetworkError::InsufficientFunds {
                asked: Amount::glm(101),
                available: Some(Amount::glm(100)),
                reserved: Some(Amount::glm(900)),
            })
        );
        first.withdraw().await;
        // What is given back can be set aside again.
        network.publish(&demand).await.unwrap().withdraw().await;
        scene.assert_empty();
    });
}

fn refusals() {
    let scene = Scene::new();
    scene.run(async |scene| {
        let words = "nobody works on Sundays";
        scene
            .provider()
            .commit(Fault::RejectsProposals(words.to_owned()));
        let mut market = scene.market(scene.settings()).await;
        let refusal = soon("a refusal", market.next()).await.unwrap();
        let MarketEvent::Refused(refusal) = refusal else {
            panic!("a provider that refuses was proposed");
        };
        assert_eq!(refusal.reason, words);
        let provider = refusal.provider.unwrap();
        assert_eq!(provider.id.to_string(), scene.network.provider().id());
        assert_eq!(provider.name, "test provider");
        let quiet = soon("quiet", market.next()).await.unwrap();
        assert!(matches!(quiet, MarketEvent::Quiet));
        let only = |id: &_| *id == provider.id;
        assert!(market.patience(&only) < std::time::Duration::MAX);
        market.withdraw().await;
    });
}

fn odd_refusal() {
    let scene = Scene::new();
    scene.run(async |scene| {
        let gate = Gate::before(scene.network.requestor());
        gate.refuse("GET", "/demands/", 1, 200, "{}");
        scene.provider().commit(Fault::RejectsProposalsOddly(json!({
            "message": "no", "golem.proposal.rejection.is-final": "no", "golem.provider.code": 5,
        })));
        let mut market = scene.market(scene.settings_through(&gate)).await;
        let refusal = soon("a refusal", market.next()).await.unwrap();
        let MarketEvent::Refused(refusal) = refusal else {
            panic!("a provider that refuses was proposed");
        };
        assert_eq!(refusal.reason, "no");
        market.withdraw().await;
    });
}

fn refused_agreement() {
    let scene = Scene::new();
    scene.run(async |scene| {
        let words = "too late";
        scene
            .provider()
            .commit(Fault::RejectsAgreements(words.to_owned()));
        let mut market = scene.market(scene.settings()).await;
        let proposal = soon("an offer", offer(&mut *market)).await;
        let refused = soon("an answer", proposal.agree()).await.err();
        let expected = NetworkError::Refused {
            provider: "test provider".to_owned(),
            reason: words.to_owned(),
        };
        assert_eq!(refused, Some(expected));
        market.withdraw().await;
        let all = scene.book.all();
        assert!(
            all.iter()
                .any(|change| matches!(change, Change::AgreementClosed { .. }))
        );
    });
}

fn ignored_agreement() {
    let scene = Scene::new();
    scene.run(async |scene| {
        scene.provider().commit(Fault::IgnoresAgreements);
        let mut settings = scene.settings();
        settings.waits.approval = std::time::Duration::from_secs(1);
        let mut market = scene.market(settings).await;
        let proposal = soon("an offer", offer(&mut *market)).await;
        let lost = soon("giving up", proposal.agree()).await.err();
        assert!(matches!(lost, Some(NetworkError::Lost { .. })), "{lost:?}");
        market.withdraw().await;
        let pending = "/market-api/v1/agreements?state=Pending";
        let pending = scene.network.requestor().get(pending).ok();
        assert_eq!(pending.as_array().unwrap().len(), 0);
    });
}

fn images() {
    let scene = Scene::new();
    scene.run(async |scene| {
        let network = scene.connect(scene.settings()).await;
        let of = |name| Demand {
            package: Package {
                name: "image".to_owned(),
                forms: vec![Form::Vm(VmImage {
                    name,
                    capabilities: Vec::new(),
                    url: None,
                })],
            },
            ..demand()
        };
        let known = of(ImageName::Tag("sovr/known:1".to_owned()));
        let mut market = network.publish(&known).await.unwrap();
        let proposal = soon("an offer", offer(&mut *market)).await;
        assert_eq!(proposal.threads(), 2);
        drop(proposal);
        market.withdraw().await;
        // Elsewhere, and the registry is not asked.
        let mut elsewhere = demand();
        elsewhere.package.forms = vec![Form::Vm(VmImage {
            name: ImageName::Hash("1".repeat(56)),
            capabilities: Vec::new(),
            url: Some("https://example.org/image".to_owned()),
        })];
        let mut market = network.publish(&elsewhere).await.unwrap();
        let proposal = soon("an offer", offer(&mut *market)).await;
        let agreement = proposal.agree().await.unwrap();
        let path = format!("/market-api/v1/agreements/{}", agreement.id());
        let agreed = scene.network.requestor().get(&path).ok();
        let package = &agreed["demand"]["properties"][properties::TASK_PACKAGE];
        let expected = format!("hash:sha3:{}:https://example.org/image", "1".repeat(56));
        assert_eq!(*package, expected);
        agreement.terminate(TerminateReason::Success).await;
        market.withdraw().await;
        let unknown = of(ImageName::Tag("sovr/unknown:1".to_owned()));
        let mut market = network.publish(&unknown).await.unwrap();
        let Ok(MarketEvent::Refused(refusal)) = soon("why", market.next()).await else {
            panic!("an image that nobody knows was offered");
        };
        assert!(
            refusal.reason.contains("no such image"),
            "{}",
            refusal.reason
        );
        let quiet = soon("quiet", market.next()).await.unwrap();
        assert!(matches!(quiet, MarketEvent::Quiet));
        assert!(market.patience(&|_| true).is_zero());
        market.withdraw().await;
    });
}

fn forms() {
    let scene = Scene::with(Terms {
        runtime: properties::RUNTIME.to_owned(),
        ..Terms::of(SUBNET)
    });
    scene.run(async |scene| {
        let network = scene.connect(scene.settings()).await;
        let mut demand = demand();
        demand.package.forms = vec![
            Form::Vm(VmImage {
                name: ImageName::Tag("sovr/unknown".to_owned()),
                capabilities: Vec::new(),
                url: None,
            }),
            Form::Wasi(WasiPackage {
                archive: Arc::new(Bytes::new(*b"abc")),
                digest: None,
                url: None,
            }),
        ];
        let mut market = network.publish(&demand).await.unwrap();
        let told = soon("a word of it", market.next()).await.unwrap();
        let MarketEvent::Refused(refusal) = told else {
            panic!("an image that nobody knows is offered");
        };
        assert!(refusal.reason.contains("sovr/unknown"), "{refusal:?}");
        drop(soon("an offer", offer(&mut *market)).await);
        market.withdraw().await;
    });
}

/// A provider that crashed has left its offer, and has been started again on the same node.
fn forgotten() {
    let scene = Scene::new();
    scene.run(async |scene| {
        scene.lose_provider();
        scene.wait_until_offered();
        let mut market = scene.market(scene.settings()).await;
        let _again = Provider::start(scene.network.provider(), Terms::of(SUBNET));
        drop(soon("an offer", offer(&mut *market)).await);
        market.withdraw().await;
    });
}

fn archive() {
    let scene = Scene::with(Terms {
        runtime: properties::RUNTIME.to_owned(),
        ..Terms::of(SUBNET)
    });
    scene.run(async |scene| {
        let network = scene.connect(scene.settings()).await;
        // Whoever runs any of its forms suits.
        let mut demand = demand();
        demand.package.forms.push(Form::Wasi(WasiPackage {
            archive: Arc::new(Bytes::new(*b"abc")),
            digest: None,
            url: None,
        }));
        let mut market = network.publish(&demand).await.unwrap();
        assert_eq!(
            market.asked(),
            [
                "payment on erc20-holesky-tglm",
                "the runtime vm or sovr-wasi or wasmtime"
            ]
        );
        let proposal = soon("an offer", offer(&mut *market)).await;
        // Whatever the provider has.
        assert_eq!(proposal.threads(), 1);
        let agreement = proposal.agree().await.unwrap();
        let path = format!("/market-api/v1/agreements/{}", agreement.id());
        let agreed = scene.network.requestor().get(&path).ok();
        let package = &agreed["demand"]["properties"][properties::TASK_PACKAGE];
        // SHA3-256 of `abc`.
        let expected = format!(
            "hash:sha3:3a985da74fe225b2045c172d6bd390bd855f086e3e9d525b46bfe24511431532:gftp://{}/",
            scene.network.requestor().id()
        );
        assert!(
            package.as_str().unwrap().starts_with(&expected),
            "{package}"
        );
        agreement.terminate(TerminateReason::Success).await;
        market.withdraw().await;
    });
}

fn renewal() {
    let scene = Scene::new();
    scene.run(async |scene| {
        let mut market = scene.market(scene.settings()).await;
        let proposal = soon("an offer", offer(&mut *market)).await;
        let agreement = proposal.agree().await.unwrap();
        let node = scene.network.requestor();
        let demands = node.get("/market-api/v1/demands").ok();
        for demand in demands.as_array().unwrap() {
            let id = demand["demandId"].as_str().unwrap();
            let path = format!("/market-api/v1/demands/{id}");
            assert_eq!(
                node.call("DELETE", &path, &serde_json::Value::Null).status,
                204
            );
        }
        let opened = |change: &&Change| matches!(change, Change::DemandOpened { .. });
        let anew = scene
            .book
            .until(|book| book.all().iter().filter(opened).count() > 1);
        soon("another demand", anew).await;
        agreement.terminate(TerminateReason::Success).await;
        soon("another offer", offer(&mut *market)).await;
        market.withdraw().await;
    });
}

fn nonsense() {
    let scene = Scene::new();
    scene.run(async |scene| {
        let network = scene.connect(scene.settings()).await;
        let demand = Demand {
            subnet: "a)(golem.runtime.name=*".to_owned(),
            ..demand()
        };
        let refused = network.publish(&demand).await.err();
        assert!(
            matches!(refused, Some(NetworkError::State(_))),
            "{refused:?}"
        );
    });
}
