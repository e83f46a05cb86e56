//! A runtime on a provider of the network.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use tokio::runtime::Handle;
use tokio::sync::{Mutex, OnceCell, mpsc, watch};

use super::batch::Batch;
use super::offer::Counters;
use super::session::Session;
use crate::network::{Activity, Attention, NetworkError};
use crate::price::Usage;
use crate::step::{BatchEvent, Command};
use crate::yagna::journal::Change;

/// Events of a batch that may wait for the listener.
const QUEUE: usize = 64;

/// An activity until it has ended.
pub(super) struct Life {
    pub(super) id: String,
    pub(super) session: Arc<Session>,
    /// The provider's name.
    pub(super) provider: String,
    counters: Counters,
    /// Held by the batch that runs.
    turn: Arc<Mutex<()>>,
    is_ending: AtomicBool,
    /// True once whatever runs is to stop.
    stop: watch::Sender<bool>,
    ended: OnceCell<()>,
}

impl Life {
    pub(super) fn new(
        id: String,
        session: Arc<Session>,
        provider: String,
        counters: Counters,
    ) -> Self {
        Self {
            id,
            session,
            provider,
            counters,
            turn: Arc::default(),
            is_ending: AtomicBool::new(false),
            stop: watch::Sender::new(false),
            ended: OnceCell::new(),
        }
    }

    /// Stops what runs, without waiting for it.
    fn stop(&self) {
        self.is_ending.store(true, Ordering::SeqCst);
        self.stop.send_replace(true);
    }

    /// Ends it, and waits for that.
    pub(super) async fn end(&self) {
        self.stop();
        self.ended.get_or_init(|| self.destroy()).await;
    }

    /// Ends it as far as can be done without waiting. Without a runtime the rest is left to the journal.
    pub(super) fn begin_end(self: &Arc<Self>) {
        self.stop();
        if let Ok(runtime) = Handle::try_current() {
            let life = Arc::clone(self);
            runtime.spawn(async move { life.end().await });
        }
    }

    async fn destroy(&self) {
        // The batch has seen the stop, or is about to.
        let _turn = self.turn.lock().await;
        let wait = self.session.settings.waits.destroy;
        let destroyed = self.session.daemon.destroy_activity(&self.id, wait).await;
        // If not, the end of the agreement is its end, too.
        if destroyed.is_ok() {
            self.session.scribe.note(Change::ActivityClosed {
                id: self.id.clone(),
            });
        }
    }
}

pub(super) struct YagnaActivity(Arc<Life>);

impl YagnaActivity {
    pub(super) fn new(life: Arc<Life>) -> Self {
        Self(life)
    }
}

#[async_trait]
impl Activity for YagnaActivity {
    fn id(&self) -> &str {
        &self.0.id
    }

    async fn exec(
        &self,
        batch: Vec<Command>,
        attention: Attention,
    ) -> Result<mpsc::Receiver<BatchEvent>, NetworkError> {
        let life = &self.0;
        let Ok(turn) = Arc::clone(&life.turn).try_lock_owned() else {
            let reason = "a batch runs; take its events to the end before the next".to_owned();
            return Err(NetworkError::State(reason));
        };
        // Looked at with the turn in hand: who ends it waits for the turn.
        if life.is_ending.load(Ordering::SeqCst) {
            let reason = format!("the activity {} has ended", life.id);
            return Err(NetworkError::State(reason));
        }
        let (sender, events) = mpsc::channel(QUEUE + 1);
        let Ok(end) = sender.clone().try_reserve_owned() else {
            return Err(NetworkError::State("the listener is gone".to_owned()));
        };
        let (life, stop) = (Arc::clone(life), life.stop.subscribe());
        tokio::spawn(async move {
            let listens = sender.clone();
            let result = Batch::new(Arc::clone(&life), batch, attention, sender, stop)
                .run()
                .await;
            if listens.is_closed() {
                // Nobody listens: what runs there can only be stopped with the activity.
                life.begin_end();
            }
            // Who hears the end may send the next batch at once.
            drop(turn);
            end.send(BatchEvent::Ended(result));
        });
        Ok(events)
    }

    async fn usage(&self) -> Result<Usage, NetworkError> {
        let used = self.0.session.daemon.activity_usage(&self.0.id).await;
        let used = used.map_err(|error| NetworkError::Lost {
            provider: self.0.provider.clone(),
            reason: error.to_string(),
        })?;
        let used = used.current_usage.unwrap_or_default();
        Ok(self.0.counters.read(&used))
    }

    async fn destroy(&self) {
        self.0.end().await;
    }
}

impl Drop for YagnaActivity {
    fn drop(&mut self) {
        if !self.0.ended.initialized() {
            self.0.begin_end();
        }
    }
}
