//! What runs have opened elsewhere and must close again: a crash leaves things open, and never unknown.
//!
//! A session is a run's dealing with somebody else, such as one demand at a Golem daemon with everything that came of it.
//! Each change of it is appended, in one transaction that has reached the disk when the call returns, and all of it is
//! forgotten when the session is closed. What a change says is for whoever wrote it: kept here are its words, their order,
//! and whose they are.
//!
//! A session belongs to a run, and lives as long as that run's account in the [`Ledger`](crate::Ledger): the lock that
//! tells a dead run's money from a living one's tells its sessions, too. So a session without an account cannot be
//! written down.
//!
//! Rejected: a table for each kind of thing that can be open. What can be open is Golem's business and grows with it,
//! and whoever replays the changes has the rules for them anyway.

use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use rusqlite::{Transaction, params};

use crate::database::{Database, column, timestamp};
use crate::ledger::{add_cost, is_dead, lock_file, now};
use crate::{Amount, Home, RunId, StateError};

/// The sessions of all runs of a user, shared by all processes of the user.
#[derive(Debug)]
pub struct Journal {
    database: Mutex<Database>,
    /// Directory of the lock files of live runs.
    runs: PathBuf,
}

/// A session that was not closed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// Its id.
    pub id: String,
    /// Whose it is.
    pub run: RunId,
    /// When its first change was written down.
    pub opened_at: Timestamp,
    /// Whether its run lives, and so will close it.
    pub is_live: bool,
    /// Its changes in their order, each in its writer's words.
    pub changes: Vec<String>,
}

impl Journal {
    /// Opens the journal.
    ///
    /// # Errors
    /// When the database cannot be used.
    pub fn open(home: &Home) -> Result<Self, StateError> {
        Ok(Self {
            database: Mutex::new(Database::open(home)?),
            runs: home.runs(),
        })
    }

    /// Begins a session of a run with its first change. It has reached the disk when this returns.
    ///
    /// # Errors
    /// When there is one with this id, the run never had an account, or the database cannot be used. Nothing is written
    /// then.
    pub fn begin(&self, run: &RunId, session: &str, change: &str) -> Result<(), StateError> {
        self.database()
            .write("write down what is opened", |transaction| {
                transaction.execute(
                    "INSERT INTO session (id, run, opened_at) VALUES (?1, ?2, ?3)",
                    params![session, run.as_str(), now()],
                )?;
                append(transaction, run, session, change)
            })
    }

    /// Appends a change to a session of a run. It has reached the disk when this returns.
    ///
    /// # Errors
    /// When there is no such session, it is another run's, or the database cannot be used. Nothing is written then.
    pub fn append(&self, run: &RunId, session: &str, change: &str) -> Result<(), StateError> {
        self.database()
            .write("write down what is open", |transaction| {
                append(transaction, run, session, change)
            })
    }

    /// Appends a change to a session of a run that is over, together with what came to be paid for it. Every later run's
    /// ceilings count that. Both have reached the disk when this returns.
    ///
    /// # Errors
    /// As [`Self::append`]. Neither is written then.
    pub fn append_with_cost(
        &self,
        run: &RunId,
        session: &str,
        change: &str,
        cost: Amount,
    ) -> Result<(), StateError> {
        const PURPOSE: &str = "a bill that was settled after the run";
        self.database()
            .write("write down what was closed and paid", |transaction| {
                append(transaction, run, session, change)?;
                add_cost(transaction, run, cost, PURPOSE)
            })
    }

    /// Forgets a session, because nothing of it is open any more. One that is not there is no error.
    ///
    /// # Errors
    /// When the database cannot be used.
    pub fn close(&self, session: &str) -> Result<(), StateError> {
        self.database()
            .write("forget what was open", |transaction| {
                transaction.execute("DELETE FROM session WHERE id = ?1", [session])
            })
            .map(drop)
    }

    /// The sessions that were not closed, oldest first.
    ///
    /// # Errors
    /// When the database cannot be used.
    pub fn sessions(&self) -> Result<Vec<Session>, StateError> {
        self.database().read("list what is open", |connection| {
            let mut sessions = connection
                .prepare(
                    "SELECT session.id, session.run, session.opened_at, run.closed_at FROM session
                     JOIN run ON run.id = session.run ORDER BY session.opened_at, session.id",
                )?
                .query_map([], |row| {
                    let run: RunId = column(row, 1)?;
                    let closed: Option<i64> = row.get(3)?;
                    Ok(Session {
                        id: row.get(0)?,
                        opened_at: timestamp(row, 2)?,
                        is_live: closed.is_none() && !is_dead(&lock_file(&self.runs, &run)),
                        run,
                        changes: Vec::new(),
                    })
                })?
                .collect::<Result<Vec<_>, _>>()?;
            let mut of_session = connection
                .prepare("SELECT change FROM session_change WHERE session = ?1 ORDER BY id")?;
            for session in &mut sessions {
                session.changes = of_session
                    .query_map([&session.id], |row| row.get(0))?
                    .collect::<Result<Vec<_>, _>>()?;
            }
            Ok(sessions)
        })
    }

    fn database(&self) -> MutexGuard<'_, Database> {
        self.database.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The pair of run and session must exist, so nobody adds to a session of another run, or to one that was closed.
fn append(
    transaction: &Transaction<'_>,
    run: &RunId,
    session: &str,
    change: &str,
) -> rusqlite::Result<()> {
    transaction
        .execute(
            "INSERT INTO session_change (session, run, change) VALUES (?1, ?2, ?3)",
            params![session, run.as_str(), change],
        )
        .map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Ledger;
    use crate::ledger::{Account, Ceilings};

    fn home() -> (tempfile::TempDir, Home) {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::at(dir.path());
        home.prepare().unwrap();
        (dir, home)
    }

    fn account(home: &Home) -> Account {
        let ceilings = Ceilings {
            run: Amount::glm(1),
            day: Amount::glm(1),
            month: Amount::glm(1),
        };
        let run = RunId::generate().unwrap();
        Ledger::open(home).unwrap().account(&run, ceilings).unwrap()
    }

    #[test]
    fn changes_come_back_in_their_order_and_go_with_their_session() {
        let (_dir, home) = home();
        let account = account(&home);
        let journal = Journal::open(&home).unwrap();
        journal.begin(account.run(), "b", "one").unwrap();
        journal.begin(account.run(), "a", "one").unwrap();
        for change in ["two", "one"] {
            journal.append(account.run(), "b", change).unwrap();
        }
        // Another process sees the same.
        let found = Journal::open(&home).unwrap().sessions().unwrap();
        let of = |id: &str| found.iter().find(|session| session.id == id).unwrap();
        assert_eq!(of("b").changes, ["one", "two", "one"]);
        assert_eq!(of("a").changes, ["one"]);
        assert_eq!(&of("a").run, account.run());

        journal.close("b").unwrap();
        journal.close("b").unwrap();
        let left = journal.sessions().unwrap();
        assert_eq!(left.len(), 1);
        assert_eq!(left[0].id, "a");
        let changes: i64 = journal
            .database()
            .read("count", |connection| {
                connection.query_row("SELECT count(*) FROM session_change", [], |row| row.get(0))
            })
            .unwrap();
        assert_eq!(changes, 1);
    }

    #[test]
    fn what_is_paid_after_a_run_counts_against_the_ceilings_of_later_ones() {
        let (_dir, home) = home();
        let over = account(&home);
        let run = over.run().clone();
        let journal = Journal::open(&home).unwrap();
        journal.begin(&run, "s", "one").unwrap();
        drop(over);
        let cost = "0.25".parse().unwrap();
        journal.append_with_cost(&run, "s", "two", cost).unwrap();
        assert_eq!(journal.sessions().unwrap()[0].changes, ["one", "two"]);
        let left = account(&home).available().unwrap();
        assert_eq!(left, "0.75".parse().unwrap());
        // Neither without the other.
        journal.close("s").unwrap();
        assert!(journal.append_with_cost(&run, "s", "three", cost).is_err());
        assert_eq!(account(&home).available().unwrap(), left);
    }

    #[test]
    fn a_session_lives_as_long_as_its_runs_account() {
        let (_dir, home) = home();
        let journal = Journal::open(&home).unwrap();
        let [ends, lives] = [account(&home), account(&home)];
        journal.begin(ends.run(), "ends", "x").unwrap();
        journal.begin(lives.run(), "lives", "x").unwrap();
        let is_live = |id: &str| {
            let sessions = journal.sessions().unwrap();
            sessions
                .iter()
                .find(|session| session.id == id)
                .unwrap()
                .is_live
        };
        assert!(is_live("ends") && is_live("lives"));
        drop(ends);
        assert!(!is_live("ends") && is_live("lives"));
    }

    #[test]
    fn a_session_has_one_run_and_that_has_an_account() {
        let (_dir, home) = home();
        let journal = Journal::open(&home).unwrap();
        let stranger = RunId::generate().unwrap();
        assert!(journal.begin(&stranger, "s", "x").is_err());
        assert_eq!(journal.sessions().unwrap(), []);
        let [one, other] = [account(&home), account(&home)];
        assert!(journal.append(one.run(), "s", "x").is_err());
        journal.begin(one.run(), "s", "x").unwrap();
        assert!(journal.begin(one.run(), "s", "y").is_err());
        assert!(journal.append(other.run(), "s", "y").is_err());
        assert_eq!(journal.sessions().unwrap()[0].changes, ["x"]);
        // What was closed does not come to life again.
        journal.close("s").unwrap();
        assert!(journal.append(one.run(), "s", "z").is_err());
        assert_eq!(journal.sessions().unwrap(), []);
    }
}
