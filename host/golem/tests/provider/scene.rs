//! Two daemons, files of the requestor, and our provider on a thread of its own.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use async_trait::async_trait;
use serde_json::Value;
use sha3::{Digest as _, Sha3_256};
use sovr_golem::LinearPrice;
use sovr_golem::bus::{Address, Bus, Call, Service};
use sovr_golem::exe_unit::runtime::{Children, Runtime};
use sovr_golem::provider::{self, Event, Settings};
use sovr_golem::yagna::{self, AppKey, Daemon};
use sovr_runtime::code::Cache;
use sovr_test_golem::{Files, Network, Node};
use tokio::sync::oneshot;

use crate::guest;
use crate::requestor::{SUBNET, eventually};

/// Everything but our provider.
pub(crate) struct Scene {
    pub(crate) files: Files,
    pub(crate) network: Network,
    /// Where the package is: `hash:sha3:…:gftp://…`.
    pub(crate) package: String,
    scratch: tempfile::TempDir,
    runtime: tokio::runtime::Runtime,
}

impl Scene {
    pub(crate) fn new() -> Scene {
        let network = Network::start();
        let files = Files::of(network.requestor());
        let package = guest::package();
        let url = files.put("package", &package);
        let digest = hex::encode(Sha3_256::digest(&package));
        Scene {
            network,
            files,
            package: format!("hash:sha3:{digest}:{url}"),
            scratch: tempfile::tempdir().unwrap(),
            runtime: runtime(),
        }
    }

    /// A provider of one agreement at a time.
    pub(crate) fn settings(&self) -> Settings {
        let amount = |text: &str| text.parse().unwrap();
        let price = LinearPrice {
            start: amount("0.1"),
            cpu_second: amount("0.02"),
            duration_second: amount("0.01"),
        };
        Settings {
            subnet: SUBNET.to_owned(),
            ..Settings::new("ours".to_owned(), price, self.scratch.path().to_owned())
        }
    }

    /// Directories of activities that are there.
    pub(crate) fn scratch_entries(&self) -> usize {
        self.entries("activity-")
    }

    /// Sessions that are open.
    pub(crate) fn sessions(&self) -> usize {
        self.entries("session-")
    }

    fn entries(&self, prefix: &str) -> usize {
        let names = std::fs::read_dir(self.scratch.path()).unwrap();
        let names = names.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names.filter(|name| name.starts_with(prefix)).count()
    }

    pub(crate) fn block_on<T>(&self, work: impl Future<Output = T>) -> T {
        self.runtime.block_on(work)
    }

    /// Our own client of the requestor's daemon.
    pub(crate) fn client(&self) -> Daemon {
        let node = self.network.requestor();
        client(&node.api_url(), node)
    }

    /// Calls something on the provider's bus, as any program there can; answers how it was refused.
    pub(crate) fn call_provider(&self, address: &str, body: &Value) -> String {
        self.block_on(async {
            let bus = connect(self.network.provider()).await;
            let answer = bus.call(address, body, Duration::from_secs(20)).await;
            answer.unwrap_err().to_string()
        })
    }
}

pub(crate) fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap()
}

fn client(url: &str, node: &Node) -> Daemon {
    let settings = yagna::Settings {
        api: url.parse().unwrap(),
        market: None,
        payment: None,
        activity: None,
        app_key: AppKey::new(node.app_key().to_owned()),
    };
    Daemon::new(settings).unwrap()
}

/// Whose calls nobody makes.
pub(crate) struct Nothing;

#[async_trait]
impl Service for Nothing {
    async fn call(&self, call: Call) {
        call.split().2.not_found().await;
    }
}

pub(crate) async fn connect(node: &Node) -> Bus {
    let address: Address = node.gsb_url().parse().unwrap();
    Bus::connect(&address, "test", Arc::new(Nothing))
        .await
        .unwrap()
}

/// Confined children, with a compile cache that all tests of this process share: each program is compiled once.
pub(crate) fn children() -> Arc<Children> {
    static CODE: OnceLock<(Arc<Cache>, tempfile::TempDir)> = OnceLock::new();
    let (code, _) = CODE.get_or_init(|| {
        let directory = tempfile::tempdir().unwrap();
        let cache = Cache::open(directory.path(), [7; 32]).unwrap();
        (Arc::new(cache), directory)
    });
    Arc::new(Children::new(Arc::clone(code)))
}

/// Our provider. Dropping it stops it in order.
pub(crate) struct Ours {
    stop: Option<oneshot::Sender<()>>,
    kill: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<Result<(), String>>>,
    events: Arc<Mutex<Vec<Event>>>,
}

impl Ours {
    /// Starts it and waits for its offer.
    pub(crate) fn start(scene: &Scene, settings: Settings) -> Ours {
        let url = scene.network.provider().api_url();
        Self::through(&url, scene, settings)
    }

    /// The same with another way to its daemon.
    pub(crate) fn through(url: &str, scene: &Scene, settings: Settings) -> Ours {
        Self::with(url, scene, settings, children())
    }

    /// The same with something else that runs programs.
    pub(crate) fn with(
        url: &str,
        scene: &Scene,
        settings: Settings,
        programs: Arc<dyn Runtime>,
    ) -> Ours {
        let node = scene.network.provider();
        let daemon = client(url, node);
        let bus = node.gsb_url().parse().unwrap();
        let events = Arc::<Mutex<Vec<Event>>>::default();
        let told = Arc::clone(&events);
        let observer = Arc::new(move |event: &Event| lock(&told).push(event.clone()));
        let (stop, stopped) = oneshot::channel::<()>();
        let (kill, killed) = oneshot::channel::<()>();
        let thread = thread::spawn(move || {
            runtime().block_on(async {
                let stopped = async { drop(stopped.await) };
                let provided =
                    provider::provide(daemon, bus, settings, programs, observer, stopped);
                tokio::select! {
                    ended = provided => ended.map_err(|error| error.to_string()),
                    Ok(()) = killed => Ok(()),
                }
            })
        });
        let ours = Ours {
            stop: Some(stop),
            kill: Some(kill),
            thread: Some(thread),
            events,
        };
        ours.wait_for(|event| matches!(event, Event::Offered { .. }).then_some(()));
        ours
    }

    /// The first event of a kind, however long ago.
    #[track_caller]
    pub(crate) fn wait_for<T>(&self, kind: impl Fn(&Event) -> Option<T>) -> T {
        eventually(|| lock(&self.events).iter().find_map(&kind))
    }

    /// All events of a kind so far.
    pub(crate) fn all<T>(&self, kind: impl Fn(&Event) -> Option<T>) -> Vec<T> {
        lock(&self.events).iter().filter_map(kind).collect()
    }

    /// Stops it in order, and answers all that happened.
    pub(crate) fn stop(mut self) -> Vec<Event> {
        self.end();
        lock(&self.events).clone()
    }

    /// Stops it in the middle of everything.
    pub(crate) fn kill(mut self) {
        let kill = self.kill.take().unwrap();
        kill.send(()).unwrap();
        self.thread.take().unwrap().join().unwrap().unwrap();
    }

    fn end(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let ended = thread.join();
            if !thread::panicking() {
                ended.unwrap().unwrap();
            }
        }
    }
}

impl Drop for Ours {
    fn drop(&mut self) {
        self.end();
        if thread::panicking() {
            for event in lock(&self.events).iter() {
                eprintln!("our provider: {event:?}");
            }
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
