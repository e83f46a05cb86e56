//! Two daemons, a provider, and our network in front of it all.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use sovr_capability::Amount;
use sovr_capability::capabilities::ImageName;
use sovr_golem::demand::VmImage;
use sovr_golem::network::conformance::Subject;
use sovr_golem::network::{Activity, Agreement, Attention, Market, MarketEvent, Proposal};
use sovr_golem::step::Command;
use sovr_golem::yagna::network::{NetworkSettings, Waits};
use sovr_golem::yagna::{AppKey, Settings, YagnaNetwork};
use sovr_golem::{BatchEvent, Demand, Failure, Form, Network as _, Package, Step};
use sovr_test_golem::{Gate, Network, Provider, Terms};
use sovr_test_support::http::{Listener, Response};
use tokio::sync::mpsc;

use crate::journal::Book;

pub(crate) const SUBNET: &str = "test";
/// Longer than anything takes that ends by itself.
const PATIENCE: Duration = Duration::from_secs(120);
/// SHA3-224 of no image at all.
pub(crate) const IMAGE: &str = "0123456789abcdef0123456789abcdef0123456789abcdef01234567";

pub(crate) struct Scene {
    pub(crate) network: Network,
    /// None once it is gone.
    provider: std::sync::Mutex<Option<Arc<Provider>>>,
    registry: Listener,
    pub(crate) book: Book,
}

impl Scene {
    pub(crate) fn new() -> Self {
        Self::with(Terms::of(SUBNET))
    }

    pub(crate) fn with(terms: Terms) -> Self {
        let network = Network::start();
        let provider = Provider::start(network.provider(), terms);
        let registry = Listener::start(|request| {
            let known = request.path == "/v1/image/info"
                && (request.query.contains(IMAGE) || request.query.contains("tag=sovr%2Fknown"));
            let (status, body) = match known {
                true => (
                    200,
                    json!({ "sha3": IMAGE, "http": "http://127.0.0.1:9/image", "size": 1 }),
                ),
                false => (404, json!({ "message": "no such image" })),
            };
            Response {
                status,
                content_type: "application/json",
                body: body.to_string().into_bytes(),
                cut: None,
            }
        });
        Self {
            network,
            provider: std::sync::Mutex::new(Some(Arc::new(provider))),
            registry: registry.unwrap(),
            book: Book::new(),
        }
    }

    pub(crate) fn provider(&self) -> Arc<Provider> {
        Arc::clone(self.provider.lock().unwrap().as_ref().unwrap())
    }

    /// The provider crashes.
    pub(crate) fn lose_provider(&self) {
        self.provider.lock().unwrap().take();
    }

    /// Waits until the requestor's daemon knows an offer.
    pub(crate) fn wait_until_offered(&self) {
        let node = self.network.requestor();
        let demand = json!({
            "properties": { "golem.node.debug.subnet": SUBNET },
            "constraints": format!("(golem.node.debug.subnet={SUBNET})"),
        });
        let demand = node.post("/market-api/v1/demands", &demand).ok();
        let path = format!("/market-api/v1/demands/{}", demand.as_str().unwrap());
        let events = node.get(&format!("{path}/events?timeout=60&maxEvents=1"));
        assert_eq!(events.ok().as_array().unwrap().len(), 1, "no offer came");
        node.call("DELETE", &path, &Value::Null).ok();
    }

    /// Runs a test, and then sees to it that it has left nothing open.
    pub(crate) fn run(&self, test: impl AsyncFnOnce(&Self)) {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build();
        runtime.unwrap().block_on(async {
            test(self).await;
            soon("the end", self.book.until(|book| book.open().is_empty())).await;
        });
        self.assert_empty();
    }

    /// Nothing is open at the daemon.
    pub(crate) fn assert_empty(&self) {
        let node = self.network.requestor();
        let list = |path: &str| node.get(path).ok().as_array().unwrap().clone();
        assert_eq!(list("/payment-api/v1/allocations"), Vec::<Value>::new());
        assert_eq!(list("/market-api/v1/demands"), Vec::<Value>::new());
        let approved = list("/market-api/v1/agreements?state=Approved");
        assert_eq!(approved, Vec::<Value>::new());
    }

    pub(crate) fn settings(&self) -> NetworkSettings {
        let node = self.network.requestor();
        let daemon = Settings {
            api: node.api_url().parse().unwrap(),
            market: None,
            payment: None,
            activity: None,
            app_key: AppKey::new(node.app_key().to_owned()),
        };
        NetworkSettings {
            registry: format!("http://{}", self.registry.address())
                .parse()
                .unwrap(),
            waits: Waits {
                offers: Duration::from_secs(60),
                destroy: Duration::from_secs(10),
                lost: Duration::from_secs(30),
                ..Waits::default()
            },
            ..NetworkSettings::new(daemon)
        }
    }

    /// The same through a gate.
    pub(crate) fn settings_through(&self, gate: &Gate) -> NetworkSettings {
        let mut settings = self.settings();
        settings.daemon.api = gate.url().parse().unwrap();
        settings
    }

    pub(crate) async fn connect(&self, settings: NetworkSettings) -> YagnaNetwork {
        let journal = Arc::new(self.book.clone());
        YagnaNetwork::connect(settings, journal).await.unwrap()
    }

    pub(crate) async fn subject(&self) -> Subject {
        Subject {
            network: Arc::new(self.connect(self.settings()).await),
            demand: demand(),
            print: run("echo", &["hello"]),
            fail: run("fail", &["1", "sorry"]),
            hang: run("wait", &[]),
            path: "/golem/work/file".to_owned(),
        }
    }

    /// A market for the usual demand.
    pub(crate) async fn market(&self, settings: NetworkSettings) -> Box<dyn Market> {
        let network = self.connect(settings).await;
        network.publish(&demand()).await.unwrap()
    }

    /// A package that is ready on the provider.
    pub(crate) async fn work(&self, settings: NetworkSettings) -> Work {
        let mut market = self.market(settings).await;
        let work = Work::of(&mut *market).await;
        market.withdraw().await;
        work
    }
}

pub(crate) struct Work {
    pub(crate) agreement: Box<dyn Agreement>,
    pub(crate) activity: Box<dyn Activity>,
}

impl Work {
    /// With whoever offers first.
    pub(crate) async fn of(market: &mut dyn Market) -> Self {
        let proposal = soon("an offer", offer(market)).await;
        let agreement = proposal.agree().await.unwrap();
        agreement.set_ceiling(Amount::glm(1));
        let activity = agreement.create_activity().await.unwrap();
        let work = Self {
            agreement,
            activity,
        };
        let ready = work.exec(vec![Command::Deploy, Command::Start]);
        ready.await.unwrap();
        work
    }

    /// Runs a batch to its end.
    pub(crate) async fn exec(&self, batch: Vec<Command>) -> Result<Vec<BatchEvent>, Failure> {
        hear(self.begin(batch).await).await
    }

    /// Runs a batch until it has begun.
    pub(crate) async fn begin(&self, batch: Vec<Command>) -> mpsc::Receiver<BatchEvent> {
        let mut events = self.activity.exec(batch, Attention::Live).await.unwrap();
        let begun = soon("a batch", events.recv()).await;
        assert!(matches!(begun, Some(BatchEvent::Started(0))), "{begun:?}");
        events
    }
}

/// Hears a batch to its end.
pub(crate) async fn hear(
    mut events: mpsc::Receiver<BatchEvent>,
) -> Result<Vec<BatchEvent>, Failure> {
    let mut heard = Vec::new();
    loop {
        match soon("the end of a batch", events.recv()).await {
            Some(BatchEvent::Ended(end)) => return end.map(|()| heard),
            Some(event) => heard.push(event),
            None => panic!("a batch has not ended: {heard:?}"),
        }
    }
}

/// What the steps of a batch printed.
pub(crate) fn printed(heard: &[BatchEvent]) -> Vec<String> {
    let results = heard.iter().filter_map(|event| match event {
        BatchEvent::Finished(_, result) => Some(result.stdout.clone()),
        _ => None,
    });
    results.collect()
}

pub(crate) async fn soon<T>(what: &str, work: impl Future<Output = T>) -> T {
    let done = tokio::time::timeout(PATIENCE, work).await;
    done.unwrap_or_else(|_| panic!("{what} took longer than {PATIENCE:?}"))
}

pub(crate) async fn offer(market: &mut dyn Market) -> Box<dyn Proposal> {
    loop {
        match market.next().await.unwrap() {
            MarketEvent::Proposal(proposal) => return proposal,
            MarketEvent::Refused(refusal) => panic!("{refusal:?}"),
            MarketEvent::Quiet => {}
        }
    }
}

pub(crate) fn run(program: &str, args: &[&str]) -> Step {
    Step::Run {
        program: format!("/bin/{program}"),
        args: args.iter().map(|arg| (*arg).to_owned()).collect(),
    }
}

pub(crate) fn demand() -> Demand {
    Demand {
        package: Package {
            name: "image".to_owned(),
            forms: vec![Form::Vm(VmImage {
                name: ImageName::Hash(IMAGE.to_owned()),
                capabilities: Vec::new(),
                url: None,
            })],
        },
        min_mem_gib: Some(0.5),
        min_storage_gib: None,
        min_cpu_threads: None,
        subnet: SUBNET.to_owned(),
        lifetime: Duration::from_secs(3600),
        budget: Amount::glm(900),
    }
}
