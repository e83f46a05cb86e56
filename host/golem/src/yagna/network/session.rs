//! One demand of one job with everything that comes of it: its money, its agreements, and its end.
//!
//! A session lives as long as it has members: the market, open proposals, agreements. A task of its own, the keeper, hears
//! bills from before the first agreement until the last member is gone, and then gives the money back.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use sovr_capability::Amount;
use tokio::sync::watch;

use super::account::{Account, Till};
use super::allocation::{self, set_aside};
use super::scribe::Scribe;
use super::settings::NetworkSettings;
use super::{Connection, acceptor};
use crate::network::NetworkError;
use crate::yagna::closing::close;
use crate::yagna::connection::Daemon;
use crate::yagna::files::{Files, Sending};
use crate::yagna::journal::{Change, Journal};

/// The last member waits this long for the money to be given back.
const END: Duration = Duration::from_secs(60);

pub(super) struct Session {
    pub(super) daemon: Daemon,
    pub(super) files: Files,
    pub(super) settings: Arc<NetworkSettings>,
    /// `appSessionId`: tells our agreements and bills from others' of the same identity.
    pub(super) id: String,
    pub(super) scribe: Scribe,
    /// The allocation's id.
    pub(super) allocation: String,
    /// When the job is over.
    pub(super) end: Timestamp,
    till: Arc<Till>,
    accounts: Mutex<HashMap<String, Arc<Account>>>,
    /// Packages that providers fetch from here.
    packages: Mutex<Vec<Sending>>,
    ended: watch::Sender<bool>,
}

/// Keeps a session alive.
#[derive(Clone)]
pub(super) struct Member(Arc<Signal>);

/// Given when the last member is gone.
struct Signal(watch::Sender<bool>);

impl Drop for Signal {
    fn drop(&mut self) {
        self.0.send_replace(true);
    }
}

impl Session {
    /// Sets the money aside and begins to hear bills.
    pub(super) async fn open(
        connection: &Connection,
        journal: Arc<dyn Journal>,
        budget: Amount,
        lifetime: Duration,
    ) -> Result<(Arc<Self>, Member), NetworkError> {
        let Connection {
            daemon,
            node,
            files,
            settings,
        } = connection.clone();
        let id = new_id().map_err(|reason| allocation::unavailable(&settings, reason))?;
        let scribe = Scribe::start(id.clone(), journal);
        let opened = Change::SessionOpened {
            node,
            at: Timestamp::now(),
        };
        scribe.write(opened).await.map_err(|error| {
            let reason = format!("the journal cannot be written: {error}");
            allocation::unavailable(&settings, reason)
        })?;
        let end = allocation::end_of(lifetime);
        let allocation = match set_aside(&daemon, &settings, budget, end, &scribe).await {
            Ok(allocation) => allocation,
            Err(error) => {
                scribe.note(Change::SessionClosed);
                return Err(error);
            }
        };
        let (gone, no_members) = watch::channel(false);
        let session = Arc::new(Self {
            daemon,
            files,
            settings,
            id,
            scribe,
            allocation,
            end,
            till: Arc::new(Till::new(budget)),
            accounts: Mutex::default(),
            packages: Mutex::default(),
            ended: watch::Sender::new(false),
        });
        tokio::spawn(keep(Arc::clone(&session), no_members));
        Ok((session, Member(Arc::new(Signal(gone)))))
    }

    fn accounts(&self) -> MutexGuard<'_, HashMap<String, Arc<Account>>> {
        self.accounts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn till(&self) -> Arc<Till> {
        Arc::clone(&self.till)
    }

    /// Bills of this agreement are answered from now on.
    pub(super) fn add_account(&self, agreement: &str, account: Arc<Account>) {
        self.accounts().insert(agreement.to_owned(), account);
    }

    pub(super) fn account(&self, agreement: &str) -> Option<Arc<Account>> {
        self.accounts().get(agreement).cloned()
    }

    pub(super) fn remove_account(&self, agreement: &str) {
        self.accounts().remove(agreement);
    }

    /// Serves a package until the end.
    pub(super) fn keep_package(&self, package: Sending) {
        let mut packages = self.packages.lock().unwrap_or_else(PoisonError::into_inner);
        packages.push(package);
    }

    /// Gives up a membership. Who is the last waits until the money is given back.
    pub(super) async fn leave(&self, member: Member) {
        let mut ended = self.ended.subscribe();
        if let Some(last) = Arc::into_inner(member.0) {
            drop(last);
            // What is not done by then is in the journal.
            let _ = tokio::time::timeout(END, ended.wait_for(|ended| *ended)).await;
        }
    }

    async fn close(&self) {
        let packages = {
            let mut packages = self.packages.lock().unwrap_or_else(PoisonError::into_inner);
            std::mem::take(&mut *packages)
        };
        for package in packages {
            package.end().await;
        }
        let allocation = &self.allocation;
        if close(|| self.daemon.release(allocation)).await.is_ok() {
            self.scribe.note(Change::AllocationClosed {
                id: allocation.clone(),
            });
        }
        // What could not be closed keeps the session in the journal.
        let _ = self.scribe.write(Change::SessionClosed).await;
    }
}

async fn keep(session: Arc<Session>, mut no_members: watch::Receiver<bool>) {
    let hearing = acceptor::start(&session);
    let _ = no_members.wait_for(|gone| *gone).await;
    drop(hearing);
    session.close().await;
    session.ended.send_replace(true);
}

fn new_id() -> Result<String, String> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(|error| format!("no random numbers: {error}"))?;
    Ok(format!("sovr-{}", hex::encode(bytes)))
}
