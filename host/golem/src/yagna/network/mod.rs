//! The market of a Golem network, as a daemon opens it.
//!
//! | Module | What it holds |
//! |---|---|
//! | [`settings`] | which daemon, who pays, terms, waits |
//! | `session`, `allocation`, `scribe` | one demand of one job: its money, its journal, its end |
//! | `package`, `declaration` | what is asked for, in the market's words |
//! | `offer`, `negotiator`, `stall`, `market` | who answers, on which terms, and what of it is passed on |
//! | `agreement`, `account`, `acceptor` | what is agreed, what it may cost, who answers bills |
//! | `activity`, `batch`, `telling` | work: its files, its news, its results |
//!
//! Everything that talks for longer than one call is a task that ends by itself: the negotiator with its market, the
//! acceptor with its session, a batch with its activity. The daemon is asked again only where its question is harmless
//! when asked twice; where it is not, what is unsure is looked up or given up.

mod acceptor;
mod account;
mod activity;
mod agreement;
pub(super) mod allocation;
mod batch;
mod declaration;
mod market;
mod negotiator;
mod offer;
mod package;
mod scribe;
mod session;
pub mod settings;
mod stall;
mod telling;
#[cfg(test)]
mod testing;

use std::sync::Arc;

use async_trait::async_trait;

use self::allocation::unavailable;
use self::market::YagnaMarket;
use self::negotiator::Negotiator;
use self::package::Runnable;
use self::session::Session;
pub use self::settings::{DebitNotes, NetworkSettings, Waits, platform};
use self::stall::Stall;
use crate::demand::Demand;
use crate::network::{Market, Network, NetworkError, NodeId};
use crate::yagna::connection::Daemon;
use crate::yagna::files::Files;
use crate::yagna::journal::Journal;

/// A Golem network, reached through a daemon.
pub struct YagnaNetwork {
    connection: Connection,
    journal: Arc<dyn Journal>,
}

/// What every session needs.
#[derive(Clone)]
struct Connection {
    daemon: Daemon,
    node: NodeId,
    files: Files,
    settings: Arc<NetworkSettings>,
}

impl YagnaNetwork {
    /// Asks the daemon who it is. What is opened at it later is told to the journal.
    ///
    /// # Errors
    /// [`NetworkError::Unavailable`] if the daemon is not there, or does not know the key.
    pub async fn connect(
        settings: NetworkSettings,
        journal: Arc<dyn Journal>,
    ) -> Result<Self, NetworkError> {
        let failed = |error: crate::yagna::DaemonError| unavailable(&settings, error.to_string());
        let daemon = Daemon::new(settings.daemon.clone()).map_err(failed)?;
        let node = daemon.identity().await.map_err(failed)?.id;
        let connection = Connection {
            files: Files::new(daemon.clone(), node.clone()),
            daemon,
            node,
            settings: Arc::new(settings),
        };
        Ok(Self {
            connection,
            journal,
        })
    }
}

#[async_trait]
impl Network for YagnaNetwork {
    fn name(&self) -> &str {
        &self.connection.settings.network
    }

    fn driver(&self) -> &str {
        &self.connection.settings.driver
    }

    async fn publish(&self, demand: &Demand) -> Result<Box<dyn Market>, NetworkError> {
        let journal = Arc::clone(&self.journal);
        let opened = Session::open(&self.connection, journal, demand.budget, demand.lifetime);
        let (session, member) = opened.await?;
        let stall = Arc::new(Stall::new(session.settings.waits));
        let (forms, problems) = package::prepare(&demand.package, &session).await;
        let package = &demand.package.name;
        for problem in problems {
            // Who runs another form of it may still come.
            stall.note(format!(
                "the package `{package}` cannot be offered to providers: {problem}"
            ));
        }
        let mut asked = vec![format!("payment on {}", session.settings.platform())];
        if forms.is_empty() {
            stall.nobody();
        } else {
            let runtimes: Vec<_> = forms.iter().map(Runnable::runtime).collect();
            asked.push(format!("the runtime {}", runtimes.join(" or ")));
        }
        let negotiator = Negotiator::publish(
            Arc::clone(&session),
            Arc::clone(&stall),
            demand.clone(),
            forms,
        );
        match negotiator.await {
            Ok(negotiator) => {
                let negotiator = tokio::spawn(negotiator.run(member));
                Ok(Box::new(YagnaMarket::new(stall, negotiator, asked)))
            }
            Err(error) => {
                session.leave(member).await;
                Err(error)
            }
        }
    }
}
