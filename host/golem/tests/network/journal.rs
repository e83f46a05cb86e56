//! A journal in memory, which tells when everything is closed.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use sovr_golem::yagna::{Change, Journal, OpenSession};
use tokio::sync::watch;

/// The changes of each session.
#[derive(Clone)]
pub(crate) struct Book {
    sessions: Arc<Mutex<BTreeMap<String, Vec<Change>>>>,
    changes: watch::Sender<()>,
}

impl Book {
    pub(crate) fn new() -> Self {
        Self {
            sessions: Arc::default(),
            changes: watch::Sender::new(()),
        }
    }

    fn sessions(&self) -> MutexGuard<'_, BTreeMap<String, Vec<Change>>> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sessions that are not closed.
    pub(crate) fn open(&self) -> Vec<OpenSession> {
        let sessions = self.sessions();
        let open = sessions
            .iter()
            .filter_map(|(id, changes)| OpenSession::replay(id, changes));
        open.collect()
    }

    /// Everything that was written.
    pub(crate) fn all(&self) -> Vec<Change> {
        self.sessions().values().flatten().cloned().collect()
    }

    /// Waits until this holds.
    pub(crate) async fn until(&self, holds: impl Fn(&Self) -> bool) {
        let mut changes = self.changes.subscribe();
        while !holds(self) {
            changes.changed().await.expect("the book is there");
        }
    }
}

impl Journal for Book {
    fn record(&self, session: &str, change: &Change) -> Result<(), String> {
        let mut sessions = self.sessions();
        let changes = sessions.entry(session.to_owned()).or_default();
        changes.push(change.clone());
        drop(sessions);
        self.changes.send_replace(());
        Ok(())
    }
}
