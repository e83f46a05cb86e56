//! Who answers, who does not, and why.

use sovr_capability::Amount;
use sovr_golem::demand::{Image, VmImage};
use sovr_golem::network::{MarketEvent, Network as _, NetworkError};
use sovr_golem::yagna::Change;
use sovr_golem::{Demand, Form, Package};
use sovr_test_golem::Fault;

use crate::Test;
use crate::scene::{Scene, demand, offer, soon};

pub(crate) const TESTS: &[Test] = &[
    ("no_account_and_no_funds_are_told_apart", money),
    ("a_refusal_is_told_with_the_provider_s_words", refusals),
    ("an_agreement_that_is_refused_is_void", refused_agreement),
    ("an_agreement_without_an_answer_is_void", ignored_agreement),
    ("an_image_has_a_hash_or_a_name", images),
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
        let of = |image| Demand {
            package: Package {
                name: "image".to_owned(),
                forms: vec![Form::Vm(VmImage { image })],
            },
            ..demand()
        };
        let known = of(Image::Tag("sovr/known:1".to_owned()));
        let mut market = network.publish(&known).await.unwrap();
        soon("an offer", offer(&mut *market)).await;
        market.withdraw().await;
        let unknown = of(Image::Tag("sovr/unknown:1".to_owned()));
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
