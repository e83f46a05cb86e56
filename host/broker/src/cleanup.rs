//! Ending what runs left that ended without a word: killed, crashed, or with the machine.
//!
//! Two things can be left: money that the ledger keeps reserved, and demands, agreements and allocations at a Golem daemon,
//! where they go on costing money. What is open is known from the journal. First comes the daemon, because what it takes
//! to settle its bills must not be given to somebody else meanwhile; then the money is released.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::sync::Arc;
use std::time::Duration;

use rustix::fs::{FlockOperation, flock};
use sovr_capability::journal::Session;
use sovr_capability::ledger::RunMoney;
use sovr_capability::{Journal, Ledger, RunId};
use sovr_golem::yagna::{self, Change, Daemon, OpenSession};

use crate::error::Error;
use crate::host::Host;
use crate::journal::LateJournal;

/// How long the last bills of a session are waited for. Providers send them a moment after an agreement has ended.
const GRACE: Duration = Duration::from_secs(30);

/// What runs left that are not there any more.
#[derive(Debug, Default)]
pub struct Leftovers {
    /// Their reserved money.
    pub money: Vec<RunMoney>,
    /// What they have open at a Golem daemon.
    pub sessions: Vec<Leftover>,
    /// Runs that go on and so are left alone, however much they have open.
    pub live: usize,
}

/// What a run that is not there any more has open at a Golem daemon.
#[derive(Debug)]
pub struct Leftover {
    /// The run.
    pub run: RunId,
    /// The session's id.
    pub id: String,
    /// What is open. None if the journal's words are not understood, as those of a newer program.
    pub open: Option<OpenSession>,
}

/// What came of ending it.
#[derive(Debug)]
pub struct CleanedUp {
    /// Money that was released.
    pub money: Vec<RunMoney>,
    /// Each session.
    pub sessions: Vec<Cleaned>,
}

/// What came of ending a session.
#[derive(Debug)]
pub struct Cleaned {
    /// What it was.
    pub leftover: Leftover,
    /// What was done, and what could not be.
    pub report: yagna::Report,
    /// Whether nothing of it is open any more.
    pub is_closed: bool,
}

impl Leftovers {
    /// Whether there is nothing to do.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.money.is_empty() && self.sessions.is_empty()
    }
}

impl CleanedUp {
    /// Whether nothing is left.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.sessions.iter().all(|session| session.is_closed)
    }
}

impl Host {
    /// What runs left that ended without a word. Only looks, and makes nothing on disk.
    ///
    /// # Errors
    /// When the database cannot be used.
    pub fn leftovers(&self) -> Result<Leftovers, Error> {
        if !self.home().database().exists() {
            return Ok(Leftovers::default());
        }
        let (dead, live): (Vec<_>, Vec<_>) = Journal::open(self.home())?
            .sessions()?
            .into_iter()
            .partition(|session| !session.is_live);
        Ok(Leftovers {
            money: Ledger::open(self.home())?.dead_runs()?,
            sessions: dead.into_iter().map(leftover).collect(),
            live: live.len(),
        })
    }

    /// Ends what runs left. What cannot be ended stays in the journal, and this may be called again.
    ///
    /// # Errors
    /// When somebody else is at it, or the database cannot be used.
    pub async fn clean_up(&self) -> Result<CleanedUp, Error> {
        self.home().prepare()?;
        let _alone = self.alone()?;
        let leftovers = self.leftovers()?;
        let mut sessions = Vec::new();
        let daemon = match leftovers.sessions.is_empty() {
            true => Err(String::new()),
            false => self.daemon().map_err(|error| error.to_string()),
        };
        for leftover in leftovers.sessions {
            sessions.push(self.end(&daemon, leftover).await?);
        }
        Ledger::open(self.home())?.settle_dead_runs()?;
        Ok(CleanedUp {
            money: leftovers.money,
            sessions,
        })
    }

    fn daemon(&self) -> Result<Daemon, Error> {
        let settings = self.networks()?.yagna.with_key()?;
        Ok(Daemon::new(settings.daemon)?)
    }

    async fn end(
        &self,
        daemon: &Result<Daemon, String>,
        leftover: Leftover,
    ) -> Result<Cleaned, Error> {
        let report = match (&leftover.open, daemon) {
            (None, _) => problem(
                "the journal's words are not understood, so this is not ended: a newer sovr-host wrote them".to_owned(),
            ),
            (Some(_), Err(why)) => problem(why.clone()),
            (Some(open), Ok(daemon)) => match whose(daemon, open).await {
                Err(why) => problem(why),
                Ok(()) => {
                    let journal = LateJournal::open(self.home(), leftover.run.clone())?;
                    yagna::cleanup(daemon, open, Arc::new(journal), GRACE).await
                }
            },
        };
        let open = Journal::open(self.home())?.sessions()?;
        let is_closed = open.iter().all(|session| session.id != leftover.id);
        Ok(Cleaned {
            leftover,
            report,
            is_closed,
        })
    }

    /// Held while things are ended: two at a time would get in each other's way.
    fn alone(&self) -> Result<File, Error> {
        let path = self.home().cleanup_lock();
        let unusable = |source| Error::File {
            doing: "lock",
            path: path.clone(),
            source,
        };
        let lock = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .map_err(unusable)?;
        match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(lock),
            Err(rustix::io::Errno::WOULDBLOCK) => Err(Error::CleaningUp),
            Err(error) => Err(unusable(error.into())),
        }
    }
}

/// Whether the app-key is that of whoever pays for a session.
async fn whose(daemon: &Daemon, open: &OpenSession) -> Result<(), String> {
    let identity = daemon.identity().await.map_err(|error| error.to_string())?;
    if identity.id == open.node {
        return Ok(());
    }
    Err(format!(
        "it belongs to the identity {}, and the app-key is for {}; set YAGNA_APPKEY to a key of the former, and \
         YAGNA_API_URL to its daemon",
        open.node, identity.id
    ))
}

fn problem(words: String) -> yagna::Report {
    yagna::Report {
        problems: vec![words],
        ..yagna::Report::default()
    }
}

fn leftover(session: Session) -> Leftover {
    Leftover {
        open: replay(&session),
        run: session.run,
        id: session.id,
    }
}

fn replay(session: &Session) -> Option<OpenSession> {
    let changes = session
        .changes
        .iter()
        .map(|change| serde_json::from_str(change));
    let changes: Vec<Change> = changes.collect::<Result<_, _>>().ok()?;
    OpenSession::replay(&session.id, &changes)
}
