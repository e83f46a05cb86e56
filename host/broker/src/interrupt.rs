//! Ctrl-C, as a run sees it.

use std::sync::Arc;

use tokio::sync::watch;

/// The side that asks a run to stop. Dropping it asks for nothing.
#[derive(Debug, Clone)]
pub struct Interrupter(Arc<watch::Sender<bool>>);

/// The side that waits to be asked.
#[derive(Debug, Clone)]
pub struct Interrupt(watch::Receiver<bool>);

/// Both sides.
pub fn pair() -> (Interrupter, Interrupt) {
    let (sender, receiver) = watch::channel(false);
    (Interrupter(Arc::new(sender)), Interrupt(receiver))
}

impl Interrupter {
    /// Asks the run to stop: its script is ended, remote work cancelled, money released.
    pub fn interrupt(&self) {
        self.0.send_replace(true);
    }
}

impl Interrupt {
    /// Waits until the run is asked to stop; for ever if nobody can ask any more.
    pub async fn asked(&mut self) {
        if self.0.wait_for(|asked| *asked).await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}
