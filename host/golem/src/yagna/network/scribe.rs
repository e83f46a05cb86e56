//! Writes what changes into the journal, in order, on threads that may block. A session of which something is still open is
//! not closed there, whoever says so: it is how [`cleanup`](crate::yagna::cleanup()) finds what is left.

use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};

use crate::blocking::blocking;
use crate::yagna::journal::{Change, Journal, OpenSession};

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
            let mut open = None;
            while let Some(Line { change, written }) = lines.recv().await {
                let result = record(&session, &journal, &mut open, change).await;
                if let Some(written) = written {
                    // Nobody may care any more.
                    let _ = written.send(result);
                }
            }
        });
        Self(sender)
    }

    /// Writes a change down, and answers when it is. That a session is closed is not written while something of it is open.
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

/// Keeps up with what is open, as the journal has it.
async fn record(
    session: &str,
    journal: &Arc<dyn Journal>,
    open: &mut Option<OpenSession>,
    change: Change,
) -> Result<(), String> {
    let is_open = open.as_ref().is_some_and(|open| !open.is_empty());
    if change == Change::SessionClosed && is_open {
        return Err("something of the session is still open".to_owned());
    }
    let (id, journal, written) = (session.to_owned(), Arc::clone(journal), change.clone());
    blocking(move || journal.record(&id, &written)).await?;
    match (&change, open) {
        (Change::SessionOpened { node, at }, open) => {
            *open = Some(OpenSession::new(session, node, *at));
        }
        (change, Some(open)) => open.apply(change),
        (_, None) => {}
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::Scribe;
    use crate::network::NodeId;
    use crate::yagna::journal::{Change, Journal};

    #[derive(Default)]
    struct Pages(Mutex<Vec<Change>>);

    impl Journal for Pages {
        fn record(&self, _session: &str, change: &Change) -> Result<(), String> {
            self.0.lock().unwrap().push(change.clone());
            Ok(())
        }
    }

    #[tokio::test]
    async fn a_session_is_not_closed_while_something_of_it_is_open() {
        let pages = Arc::new(Pages::default());
        let scribe = Scribe::start("s".to_owned(), Arc::clone(&pages) as _);
        let at = "2026-11-21T12:00:00Z".parse().unwrap();
        let node = NodeId::from_bytes([7; 20]);
        scribe.note(Change::SessionOpened { node, at });
        let id = || "d".to_owned();
        scribe.note(Change::DemandOpened { id: id() });
        assert!(scribe.write(Change::SessionClosed).await.is_err());
        assert_eq!(pages.0.lock().unwrap().len(), 2);
        scribe.note(Change::DemandClosed { id: id() });
        scribe.write(Change::SessionClosed).await.unwrap();
        let last = pages.0.lock().unwrap().last().cloned();
        assert_eq!(last, Some(Change::SessionClosed));
    }
}
