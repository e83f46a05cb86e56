//! One provider of the local network, and how busy it is.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use sha2::{Digest, Sha256};
use tokio::sync::watch;

use super::{Fault, ProviderSettings};
use crate::demand::Demand;
use crate::network::{NodeId, Provider};

const GIB: f64 = (1u64 << 30) as f64;

pub(super) struct Node {
    pub(super) provider: Provider,
    pub(super) settings: ProviderSettings,
    pub(super) fault: Option<Fault>,
    state: Mutex<State>,
    /// The network's: sent to after each change of a node's state.
    changes: watch::Sender<()>,
}

#[derive(Default)]
struct State {
    agreements: usize,
    gone: bool,
}

/// A place for one agreement on a node; free again when dropped.
pub(super) struct Slot(Arc<Node>);

impl Node {
    pub(super) fn new(
        index: usize,
        settings: ProviderSettings,
        fault: Option<Fault>,
        changes: watch::Sender<()>,
    ) -> Self {
        let digest = Sha256::digest(format!("sovr-host local provider {index}"));
        let mut id = [0; 20];
        id.copy_from_slice(&digest[..20]);
        Self {
            provider: Provider {
                id: NodeId::from_bytes(id),
                name: settings.name.clone(),
            },
            settings,
            fault,
            state: Mutex::default(),
            changes,
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn agreements(&self) -> usize {
        self.state().agreements
    }

    pub(super) fn is_free(&self) -> bool {
        let state = self.state();
        !state.gone && state.agreements < self.settings.capacity
    }

    pub(super) fn is_gone(&self) -> bool {
        self.state().gone
    }

    pub(super) fn vanish(&self) {
        self.state().gone = true;
        self.changes.send_replace(());
    }

    pub(super) fn occupy(self: &Arc<Self>) -> Option<Slot> {
        let mut state = self.state();
        if state.gone || state.agreements >= self.settings.capacity {
            return None;
        }
        state.agreements += 1;
        drop(state);
        self.changes.send_replace(());
        Some(Slot(Arc::clone(self)))
    }

    /// Makes everybody who waits for a change look again.
    pub(super) fn tell(&self) {
        self.changes.send_replace(());
    }

    /// Why this provider does not match, if it does not.
    pub(super) fn mismatch(&self, demand: &Demand) -> Option<String> {
        let settings = &self.settings;
        let (memory, storage) = (settings.memory as f64 / GIB, settings.storage as f64 / GIB);
        if demand.min_mem_gib.is_some_and(|least| memory < least) {
            return Some(format!("has {memory} GiB memory"));
        }
        if demand.min_storage_gib.is_some_and(|least| storage < least) {
            return Some(format!("has {storage} GiB storage"));
        }
        if demand
            .min_cpu_threads
            .is_some_and(|least| settings.threads < least)
        {
            return Some(format!("has {} CPU threads", settings.threads));
        }
        None
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut state = self.0.state();
        state.agreements = state.agreements.saturating_sub(1);
        drop(state);
        self.0.tell();
    }
}
