//! A network of providers on this machine.
//!
//! Each provider has a name, an identity and a price of its own and takes a bounded number of agreements. Its activities
//! are exe-units whose programs run in confined children. Nobody is paid, but every amount is reckoned as on a real
//! network: usage times price, told by debit notes, billed by an invoice, refused above the ceiling. So a budget means
//! here what it means there.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use sovr_capability::Amount;
use sovr_runtime::code;
use tokio::sync::watch;

use crate::demand::Demand;
use crate::exe_unit::runtime::{Children, Runtime};
use crate::exe_unit::scratch;
use crate::network::{Market, Network, NetworkError, Provider};
use crate::price::LinearPrice;

mod activity;
mod agreement;
pub mod fault;
mod market;
mod node;
#[cfg(test)]
pub(crate) mod testing;

pub use fault::{Fault, Faults};

use fault::Faulty;
use market::LocalMarket;
use node::Node;

/// Fewest providers by default: a job for three workers finds three, so that it runs on several also where there are
/// fewer processors.
const FEWEST_PROVIDERS: usize = 3;

/// Most providers by default.
const MOST_PROVIDERS: usize = 16;

/// Names of the default providers.
const NAMES: [&str; MOST_PROVIDERS] = [
    "alder", "birch", "cedar", "dogwood", "elm", "fir", "ginkgo", "hazel", "ironwood", "juniper",
    "katsura", "larch", "maple", "nutmeg", "oak", "pine",
];

/// How the local network is made.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Who is there; see [`default_providers`].
    pub providers: Vec<ProviderSettings>,
    /// Directory for the work directories of activities; they are removed when their activity ends.
    pub scratch: PathBuf,
    /// Time between two debit notes of an agreement.
    pub debit_notes: Duration,
    /// Faults of single providers, for tests.
    pub faults: Faults,
}

impl Settings {
    /// The default providers, with no faults.
    #[must_use]
    pub fn new(scratch: impl Into<PathBuf>) -> Self {
        Self {
            providers: default_providers(),
            scratch: scratch.into(),
            debit_notes: Duration::from_secs(10),
            faults: Faults::new(),
        }
    }
}

/// One provider.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProviderSettings {
    /// The name it gives itself.
    pub name: String,
    /// CPU threads it offers.
    pub threads: u32,
    /// Memory of a program, in bytes.
    pub memory: u64,
    /// Bytes of an activity's files together.
    pub storage: u64,
    /// Agreements at the same time.
    pub capacity: usize,
    /// What it asks.
    pub price: LinearPrice,
}

impl ProviderSettings {
    /// The default provider with this index: each asks a little more than the one before, as no two on a market ask
    /// the same.
    #[must_use]
    pub fn numbered(index: usize) -> Self {
        let name = match NAMES.get(index) {
            Some(name) => (*name).to_owned(),
            None => format!("provider-{index}"),
        };
        let nano = |nano: u64| billionths(nano.saturating_add(10_000 * index as u64));
        Self {
            name,
            threads: 1,
            memory: 2 << 30,
            storage: 4 << 30,
            capacity: 1,
            price: LinearPrice {
                start: nano(1_000_000),
                cpu_second: nano(200_000),
                duration_second: nano(50_000),
            },
        }
    }
}

/// As many providers as the machine has processors, but no fewer than three and no more than sixteen.
#[must_use]
pub fn default_providers() -> Vec<ProviderSettings> {
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    (0..processors.clamp(FEWEST_PROVIDERS, MOST_PROVIDERS))
        .map(ProviderSettings::numbered)
        .collect()
}

/// This many billionths of a GLM.
fn billionths(count: u64) -> Amount {
    const ONE: u64 = 1_000_000_000;
    // What an amount of one GLM per second costs in that many nanoseconds.
    let time = Duration::new(count / ONE, u32::try_from(count % ONE).unwrap_or_default());
    Amount::glm(1).per_second(time).unwrap_or(Amount::MAX)
}

/// Providers on this machine.
pub struct LocalNetwork {
    shared: Arc<Shared>,
}

/// What the network's parts share.
struct Shared {
    nodes: Vec<Arc<Node>>,
    runtime: Arc<dyn Runtime>,
    scratch: PathBuf,
    debit_notes: Duration,
    changes: watch::Sender<()>,
    /// Held once for each activity that is not destroyed.
    activities: Arc<()>,
    ids: AtomicU64,
}

impl LocalNetwork {
    /// A network whose providers compile through `code`.
    #[must_use]
    pub fn new(settings: Settings, code: Arc<code::Cache>) -> Self {
        Self::with_runtime(settings, Arc::new(Children::new(code)))
    }

    /// A network whose exe-units stand on something else.
    #[must_use]
    pub fn with_runtime(settings: Settings, runtime: Arc<dyn Runtime>) -> Self {
        scratch::sweep(&settings.scratch);
        let changes = watch::Sender::new(());
        let nodes = settings
            .providers
            .into_iter()
            .enumerate()
            .map(|(index, provider)| {
                let fault = settings.faults.get(&index).copied();
                Arc::new(Node::new(index, provider, fault, changes.clone()))
            })
            .collect();
        Self {
            shared: Arc::new(Shared {
                nodes,
                runtime,
                scratch: settings.scratch,
                debit_notes: settings.debit_notes,
                changes,
                activities: Arc::new(()),
                ids: AtomicU64::new(1),
            }),
        }
    }

    /// Who is there.
    pub fn providers(&self) -> impl Iterator<Item = &Provider> {
        self.shared.nodes.iter().map(|node| &node.provider)
    }

    /// Agreements that are not ended.
    #[must_use]
    pub fn open_agreements(&self) -> usize {
        self.shared.nodes.iter().map(|node| node.agreements()).sum()
    }

    /// Activities that are not destroyed.
    #[must_use]
    pub fn open_activities(&self) -> usize {
        Arc::strong_count(&self.shared.activities) - 1
    }
}

impl Shared {
    fn next_id(&self, kind: &str) -> String {
        format!("{kind}-{}", self.ids.fetch_add(1, Ordering::Relaxed))
    }

    /// What the exe-units of a node stand on.
    fn runtime_of(&self, node: &Arc<Node>) -> Arc<dyn Runtime> {
        match node.fault {
            None => Arc::clone(&self.runtime),
            Some(_) => Arc::new(Faulty {
                inner: Arc::clone(&self.runtime),
                node: Arc::clone(node),
            }),
        }
    }
}

#[async_trait]
impl Network for LocalNetwork {
    fn name(&self) -> &str {
        "local"
    }

    fn driver(&self) -> &str {
        "none"
    }

    async fn publish(&self, demand: &Demand) -> Result<Box<dyn Market>, NetworkError> {
        Ok(Box::new(LocalMarket::new(Arc::clone(&self.shared), demand)))
    }
}
