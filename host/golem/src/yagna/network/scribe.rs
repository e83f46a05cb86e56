//! Writes what changes into the journal, in order, on threads that may block.

use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};

use crate::blocking::blocking;
use crate::yagna::journal::{Change, Journal};

/// Writes for one session. What it was given is written even if it is dropped meanwhile.
pub(super) struct Scribe(mpsc::UnboundedSender<Line>);

struct Line {
    change: Change,
    written: Option<oneshot::Sender<Result<(), String>>>,
}

impl Scribe {
    pub(super) fn start(session: String, journal: Arc<dyn Journal>) -> Self {
        let (sender, mut lines) = mpsc::unbounded_channel::<Line>();
        tokio::spawn(async move {
            while let Some(Line { change, written }) = lines.recv().await {
                let (session, journal) = (session.clone(), Arc::clone(&journal));
                let result = blocking(move || journal.record(&session, &change)).await;
                if let Some(written) = written {
                    // Nobody may care any more.
                    let _ = written.send(result);
                }
            }
        });
        Self(sender)
    }

    /// Writes a change down, and answers when it is.
    pub(super) async fn write(&self, change: Change) -> Result<(), String> {
        let (written, result) = oneshot::channel();
        let line = Line {
            change,
            written: Some(written),
        };
        let gone = || Err("the program is ending".to_owned());
        if self.0.send(line).is_err() {
            return gone();
        }
        result.await.unwrap_or_else(|_| gone())
    }

    /// Has a change written down some time. What was closed and is not written down is looked for once more by who
    /// cleans up, which does no harm.
    pub(super) fn note(&self, change: Change) {
        let _ = self.0.send(Line {
            change,
            written: None,
        });
    }
}
