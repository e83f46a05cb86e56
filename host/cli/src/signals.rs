//! Ctrl-C: the first one ends the run in order, the second one ends this process.
//!
//! Listening has a thread and a small event loop of its own, so that the second Ctrl-C works even when the run's
//! own event loop is stuck. For the same reason the second one touches nothing that the run may hold, the screen
//! included. Children die with this process. A closed terminal (SIGHUP) and SIGTERM count as well.

use std::io;
use std::process;
use std::thread;

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::exit::Exit;

/// The requests to stop.
struct Requests([Signal; 3]);

impl Requests {
    fn listen() -> io::Result<Requests> {
        Ok(Requests([
            signal(SignalKind::interrupt())?,
            signal(SignalKind::terminate())?,
            signal(SignalKind::hangup())?,
        ]))
    }

    async fn next(&mut self) {
        let [interrupt, terminate, hangup] = &mut self.0;
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            _ = hangup.recv() => {}
        }
    }
}

/// Calls `first` at the first request to stop, and ends the process at the second.
///
/// Listening begins before this returns, and goes on until the process ends.
pub(crate) fn listen(first: impl FnOnce() + Send + 'static) -> io::Result<()> {
    let events = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .build()?;
    let mut requests = {
        let _inside = events.enter();
        Requests::listen()?
    };
    let wait = move || {
        events.block_on(requests.next());
        first();
        events.block_on(requests.next());
        process::exit(Exit::Interrupted.code().into());
    };
    thread::Builder::new()
        .name("signals".to_owned())
        .spawn(wait)?;
    Ok(())
}
