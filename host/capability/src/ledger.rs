//! Money: nothing is spent that was not reserved before.
//!
//! A reservation is made in one transaction that no other writer shares: it sums what is already taken under every
//! ceiling and adds a row only if all of them still cover it. So any number of threads and processes may race; the
//! database decides one after the other. What is open counts with its whole amount, what is closed with what was spent,
//! so a sum never falls below what may still be owed. Sums are made here and not in SQL, whose numbers cannot hold 18
//! digits after the point.
//!
//! A live run holds a lock on a file of its own, which the kernel drops with the process, however that ends. Whoever
//! next looks finds the lock free and releases what the dead run had reserved. Process ids were rejected for this: they
//! are reused, and mean nothing to another container that shares the directory.
//!
//! All calls block, for as long as another process writes: milliseconds as a rule.

use std::convert::Infallible;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use rusqlite::{Connection, Transaction, params};
use rustix::fs::{FlockOperation, flock};

use crate::database::{Database, column, timestamp};
use crate::{Amount, Home, RunId, StateError};

const DAY: Duration = Duration::from_secs(24 * 3600);
const MONTH: Duration = Duration::from_secs(30 * 24 * 3600);

/// Most characters of a purpose that are kept.
const PURPOSE_MAX: usize = 200;

/// The most that may be spent, in three widths. Every reservation must fit in all of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ceilings {
    /// This run: its granted budget.
    pub run: Amount,
    /// All runs of this user within 24 hours.
    pub day: Amount,
    /// All runs of this user within 30 days.
    pub month: Amount,
}

/// The user's money, shared by all processes of the user.
#[derive(Debug, Clone)]
pub struct Ledger {
    books: Arc<Books>,
}

/// One run's purse. When it and its reservations are dropped, or its process dies, what is still reserved is released.
#[derive(Debug, Clone)]
pub struct Account {
    run: Arc<LiveRun>,
}

/// Money set aside for one job. What is not committed is released when it is dropped.
#[derive(Debug)]
pub struct Reservation {
    run: Arc<LiveRun>,
    id: i64,
    amount: Amount,
    state: Mutex<State>,
}

/// What this process knows about a reservation of its own.
#[derive(Debug, Clone, Copy)]
struct State {
    spent: Amount,
    open: bool,
}

#[derive(Debug)]
struct Books {
    database: Mutex<Database>,
    /// Directory of the lock files of live runs.
    runs: PathBuf,
}

#[derive(Debug)]
struct LiveRun {
    books: Arc<Books>,
    id: RunId,
    ceilings: Ceilings,
    /// Held while the run lives.
    _lock: File,
}

/// Why money was not reserved.
#[derive(Debug, thiserror::Error)]
pub enum ReserveError {
    /// A ceiling does not cover it.
    #[error("cannot reserve {asked} GLM: {left} GLM are left of {ceiling} GLM {scope}")]
    OverBudget {
        /// What was asked.
        asked: Amount,
        /// What the tightest ceiling still covers.
        left: Amount,
        /// That ceiling.
        ceiling: Amount,
        /// Whose ceiling it is.
        scope: Scope,
    },
    /// The database cannot be used.
    #[error(transparent)]
    State(#[from] StateError),
}

/// A ceiling's width.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// The run's budget.
    Run,
    /// The policy's 24 hours.
    Day,
    /// The policy's 30 days.
    Month,
}

impl std::fmt::Display for Scope {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Scope::Run => "granted to this run",
            Scope::Day => "that your policy allows in 24 hours",
            Scope::Month => "that your policy allows in 30 days",
        })
    }
}

/// Why a cost was not committed.
#[derive(Debug, thiserror::Error)]
pub enum CommitError {
    /// It is more than what is left of the reservation. Nothing was committed.
    #[error(
        "a cost of {cost} GLM exceeds the {remaining} GLM left of the reservation; it is not accepted"
    )]
    OverReservation {
        /// The cost.
        cost: Amount,
        /// What is left.
        remaining: Amount,
    },
    /// The reservation was released before, by this process or because its run was taken for dead.
    #[error("a cost of {cost} GLM came after the reservation was released; it is not accepted")]
    Released {
        /// The cost.
        cost: Amount,
    },
    /// The database cannot be used.
    #[error(transparent)]
    State(#[from] StateError),
}

/// One run's money, for reports.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunMoney {
    /// The run.
    pub run: RunId,
    /// When it opened its account.
    pub opened_at: Timestamp,
    /// Committed.
    pub spent: Amount,
    /// Reserved and not committed.
    pub reserved: Amount,
}

impl RunMoney {
    fn read(connection: &Connection, run: RunId, opened_at: Timestamp) -> rusqlite::Result<Self> {
        let entries = connection
            .prepare_cached(&format!("{SELECT} WHERE run = ?1"))?
            .query_map([run.as_str()], Entry::read)?
            .collect::<Result<Vec<_>, _>>()?;
        let reserved = entries
            .iter()
            .map(|entry| entry.taken().saturating_sub(entry.spent));
        Ok(Self {
            run,
            opened_at,
            spent: sum(entries.iter().map(|entry| entry.spent)),
            reserved: sum(reserved),
        })
    }
}

impl Ledger {
    /// Opens the ledger.
    ///
    /// # Errors
    /// When the database cannot be used.
    pub fn open(home: &Home) -> Result<Self, StateError> {
        let books = Books {
            database: Mutex::new(Database::open(home)?),
            runs: home.runs(),
        };
        Ok(Self {
            books: Arc::new(books),
        })
    }

    /// Opens a run's account and settles what dead runs left.
    ///
    /// # Errors
    /// When the run has one already, or the database or the run's lock file cannot be used.
    pub fn account(&self, run: &RunId, ceilings: Ceilings) -> Result<Account, StateError> {
        let books = Arc::clone(&self.books);
        // The lock before the row: a row whose lock is free belongs to a dead run.
        let path = books.lock_file(run);
        let lock = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)
            .map_err(StateError::io("make the run's lock file", &path))?;
        flock(&lock, FlockOperation::NonBlockingLockExclusive)
            .map_err(Into::into)
            .map_err(StateError::io("lock the run's lock file", &path))?;
        let dead = books
            .database()
            .write("open a run's account", |transaction| {
                let dead = books.settle_dead_runs(transaction)?;
                transaction.execute(
                    "INSERT INTO run (id, opened_at) VALUES (?1, ?2)",
                    params![run.as_str(), now()],
                )?;
                Ok(dead)
            })?;
        books.remove_lock_files(&dead);
        Ok(Account {
            run: Arc::new(LiveRun {
                books,
                id: run.clone(),
                ceilings,
                _lock: lock,
            }),
        })
    }

    /// Releases what dead runs had reserved, and answers their names.
    ///
    /// # Errors
    /// When the database cannot be used.
    pub fn settle_dead_runs(&self) -> Result<Vec<RunId>, StateError> {
        let dead = self
            .books
            .database()
            .write("settle dead runs", |transaction| {
                self.books.settle_dead_runs(transaction)
            })?;
        self.books.remove_lock_files(&dead);
        Ok(dead)
    }

    /// What dead runs have reserved that nobody released yet, oldest first. Only looks.
    ///
    /// # Errors
    /// When the database cannot be used.
    pub fn dead_runs(&self) -> Result<Vec<RunMoney>, StateError> {
        self.books
            .database()
            .read("look for dead runs", |connection| {
                let dead = self.books.dead_runs(connection)?;
                let mut opened = connection.prepare("SELECT opened_at FROM run WHERE id = ?1")?;
                let money = dead.into_iter().map(|run| {
                    let opened_at = opened.query_row([run.as_str()], |row| timestamp(row, 0))?;
                    RunMoney::read(connection, run, opened_at)
                });
                let mut money = money.collect::<Result<Vec<_>, _>>()?;
                money.sort_by_key(|money| money.opened_at);
                Ok(money)
            })
    }

    /// Each run's money, newest first, at most `most` runs.
    ///
    /// # Errors
    /// When the database cannot be used.
    pub fn runs(&self, most: usize) -> Result<Vec<RunMoney>, StateError> {
        self.books
            .database()
            .read("list the runs' money", |connection| {
                let runs = connection
                    .prepare(
                        "SELECT id, opened_at FROM run ORDER BY opened_at DESC, id DESC LIMIT ?1",
                    )?
                    .query_map([i64::try_from(most).unwrap_or(i64::MAX)], |row| {
                        Ok((column(row, 0)?, timestamp(row, 1)?))
                    })?
                    .collect::<Result<Vec<_>, _>>()?;
                let money = runs
                    .into_iter()
                    .map(|(run, opened_at)| RunMoney::read(connection, run, opened_at));
                money.collect()
            })
    }
}

impl Account {
    /// Whose it is.
    #[must_use]
    pub fn run(&self) -> &RunId {
        &self.run.id
    }

    /// What bounds it.
    #[must_use]
    pub fn ceilings(&self) -> Ceilings {
        self.run.ceilings
    }

    /// Sets money aside.
    ///
    /// # Errors
    /// When a ceiling does not cover it.
    pub fn reserve(&self, amount: Amount, purpose: &str) -> Result<Reservation, ReserveError> {
        self.reserve_with(purpose, |left| {
            if amount <= left.amount {
                Ok(amount)
            } else {
                Err(left.refuse(amount))
            }
        })?
    }

    /// Sets aside all that the tightest ceiling still covers, which may be nothing.
    ///
    /// # Errors
    /// When the database cannot be used.
    pub fn reserve_rest(&self, purpose: &str) -> Result<Reservation, StateError> {
        let Ok(reservation) =
            self.reserve_with(purpose, |left| Ok::<_, Infallible>(left.amount))?;
        Ok(reservation)
    }

    fn reserve_with<E>(
        &self,
        purpose: &str,
        choose: impl FnOnce(&Left) -> Result<Amount, E>,
    ) -> Result<Result<Reservation, E>, StateError> {
        let run = &self.run;
        let (chosen, dead) = run.books.database().write("reserve money", |transaction| {
            let dead = run.books.settle_dead_runs(transaction)?;
            let chosen = match choose(&run.left(transaction)?) {
                Err(refusal) => Err(refusal),
                Ok(amount) => {
                    let purpose: String = purpose.chars().take(PURPOSE_MAX).collect();
                    transaction.execute(
                        "INSERT INTO reservation (run, purpose, amount, opened_at) VALUES (?1, ?2, ?3, ?4)",
                        params![run.id.as_str(), purpose, amount.to_string(), now()],
                    )?;
                    Ok((transaction.last_insert_rowid(), amount))
                }
            };
            Ok((chosen, dead))
        })?;
        run.books.remove_lock_files(&dead);
        Ok(chosen.map(|(id, amount)| Reservation {
            run: Arc::clone(run),
            id,
            amount,
            state: Mutex::new(State {
                spent: Amount::ZERO,
                open: true,
            }),
        }))
    }

    /// What could be reserved now.
    ///
    /// # Errors
    /// When the database cannot be used.
    pub fn available(&self) -> Result<Amount, StateError> {
        let left = self
            .run
            .books
            .database()
            .write("look at what is left", |transaction| {
                self.run.left(transaction)
            })?;
        Ok(left.amount)
    }

    /// What this run has committed so far.
    ///
    /// # Errors
    /// When the database cannot be used.
    pub fn spent(&self) -> Result<Amount, StateError> {
        self.run
            .books
            .database()
            .read("look at what was spent", |connection| {
                let mut of_run = connection.prepare(&format!("{SELECT} WHERE run = ?1"))?;
                let entries = of_run
                    .query_map([self.run.id.as_str()], Entry::read)?
                    .collect::<Result<Vec<_>, _>>()?;
                Ok(sum(entries.iter().map(|entry| entry.spent)))
            })
    }

    /// Closes the account: releases what is still reserved and answers what was spent. Reservations that still exist
    /// take no more costs.
    ///
    /// # Errors
    /// When the database cannot be used; dropping tries again.
    pub fn close(self) -> Result<Amount, StateError> {
        self.run.end()?;
        self.spent()
    }
}

impl LiveRun {
    /// What the tightest ceiling still covers.
    fn left(&self, transaction: &Transaction<'_>) -> rusqlite::Result<Left> {
        let now = now();
        let month_ago = now - millis(MONTH);
        let day_ago = now - millis(DAY);
        let entries = transaction
            .prepare(&format!(
                "{SELECT} WHERE closed_at IS NULL OR closed_at > ?1 OR run = ?2"
            ))?
            .query_map(params![month_ago, self.id.as_str()], Entry::read)?
            .collect::<Result<Vec<_>, _>>()?;
        // An entry from the future (the clock was set back) counts: better too little left than too much.
        let since =
            |start: i64| move |entry: &&Entry| entry.closed_at.is_none_or(|closed| closed > start);
        let taken = |entries: &mut dyn Iterator<Item = &Entry>| sum(entries.map(Entry::taken));
        let widths = [
            (
                Scope::Run,
                self.ceilings.run,
                taken(&mut entries.iter().filter(|entry| entry.run == self.id.as_str())),
            ),
            (
                Scope::Day,
                self.ceilings.day,
                taken(&mut entries.iter().filter(since(day_ago))),
            ),
            (
                Scope::Month,
                self.ceilings.month,
                taken(&mut entries.iter().filter(since(month_ago))),
            ),
        ];
        let left = widths.map(|(scope, ceiling, taken)| Left {
            amount: ceiling.saturating_sub(taken),
            ceiling,
            scope,
        });
        let [run, day, month] = left;
        Ok([day, month].into_iter().fold(run, |tightest, other| {
            if other.amount < tightest.amount {
                other
            } else {
                tightest
            }
        }))
    }

    fn end(&self) -> Result<(), StateError> {
        self.books
            .database()
            .write("close a run's account", |transaction| {
                end_run(transaction, self.id.as_str())
            })
    }
}

impl Drop for LiveRun {
    fn drop(&mut self) {
        // If this fails, the lock falls with this process and the next run settles it.
        if self.end().is_ok() {
            self.books.remove_lock_files(std::slice::from_ref(&self.id));
        }
    }
}

impl Reservation {
    /// What was set aside.
    #[must_use]
    pub fn amount(&self) -> Amount {
        self.amount
    }

    /// What was committed out of it.
    #[must_use]
    pub fn spent(&self) -> Amount {
        self.state().spent
    }

    /// What is left of it; nothing once released.
    #[must_use]
    pub fn remaining(&self) -> Amount {
        let state = *self.state();
        if state.open {
            self.amount.saturating_sub(state.spent)
        } else {
            Amount::ZERO
        }
    }

    /// Turns part of it into spent money. May be called from several threads.
    ///
    /// # Errors
    /// When less than `cost` is left.
    pub fn commit(&self, cost: Amount) -> Result<(), CommitError> {
        // Held across the transaction, so that two commits cannot both be measured against the same rest.
        let mut state = self.state();
        if !state.open {
            return Err(CommitError::Released { cost });
        }
        let remaining = self.amount.saturating_sub(state.spent);
        let spent = match state.spent.checked_add(cost) {
            Some(spent) if spent <= self.amount => spent,
            _ => return Err(CommitError::OverReservation { cost, remaining }),
        };
        let changed = self
            .run
            .books
            .database()
            .write("commit a cost", |transaction| {
                transaction.execute(
                    "UPDATE reservation SET spent = ?1 WHERE id = ?2 AND closed_at IS NULL",
                    params![spent.to_string(), self.id],
                )
            })?;
        if changed == 0 {
            state.open = false;
            return Err(CommitError::Released { cost });
        }
        state.spent = spent;
        Ok(())
    }

    /// Gives back what is left and answers how much that was. A second time it is nothing.
    ///
    /// # Errors
    /// When the database cannot be used; dropping tries again.
    pub fn release(&self) -> Result<Amount, StateError> {
        let mut state = self.state();
        if !state.open {
            return Ok(Amount::ZERO);
        }
        self.run
            .books
            .database()
            .write("release a reservation", |transaction| {
                transaction.execute(
                    "UPDATE reservation SET closed_at = ?1 WHERE id = ?2 AND closed_at IS NULL",
                    params![now(), self.id],
                )
            })?;
        state.open = false;
        Ok(self.amount.saturating_sub(state.spent))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        // If this fails, the end of the run releases it.
        let _ = self.release();
    }
}

impl Books {
    fn database(&self) -> MutexGuard<'_, Database> {
        self.database.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock_file(&self, run: &RunId) -> PathBuf {
        lock_file(&self.runs, run)
    }

    /// Ends every run that is open and whose lock nobody holds.
    fn settle_dead_runs(&self, transaction: &Transaction<'_>) -> rusqlite::Result<Vec<RunId>> {
        let dead = self.dead_runs(transaction)?;
        for run in &dead {
            end_run(transaction, run.as_str())?;
        }
        Ok(dead)
    }

    /// Every run that is open and whose lock nobody holds.
    fn dead_runs(&self, connection: &Connection) -> rusqlite::Result<Vec<RunId>> {
        let open = connection
            .prepare("SELECT id FROM run WHERE closed_at IS NULL")?
            .query_map([], |row| column::<RunId>(row, 0))?
            .collect::<Result<Vec<_>, _>>()?;
        let dead = open.into_iter();
        Ok(dead.filter(|run| is_dead(&self.lock_file(run))).collect())
    }

    /// Best effort: a lock file that stays is of no harm.
    fn remove_lock_files(&self, runs: &[RunId]) {
        for run in runs {
            let _ = fs::remove_file(self.lock_file(run));
        }
    }
}

/// Writes down what came to be paid for a run after it was over, which every later run's ceilings count.
pub(crate) fn add_cost(
    transaction: &Transaction<'_>,
    run: &RunId,
    cost: Amount,
    purpose: &str,
) -> rusqlite::Result<()> {
    transaction
        .execute(
            "INSERT INTO reservation (run, purpose, amount, spent, opened_at, closed_at) VALUES (?1, ?2, ?3, ?3, ?4, ?4)",
            params![run.as_str(), purpose, cost.to_string(), now()],
        )
        .map(drop)
}

/// The file that a run holds locked while it lives.
pub(crate) fn lock_file(runs: &Path, run: &RunId) -> PathBuf {
    runs.join(format!("{run}.lock"))
}

/// Whether nobody holds the lock. What cannot be decided counts as alive: money is rather kept than given out twice.
pub(crate) fn is_dead(path: &Path) -> bool {
    match File::open(path) {
        Ok(file) => flock(&file, FlockOperation::NonBlockingLockExclusive).is_ok(),
        Err(error) => error.kind() == io::ErrorKind::NotFound,
    }
}

fn end_run(transaction: &Transaction<'_>, run: &str) -> rusqlite::Result<()> {
    let now = now();
    transaction.execute(
        "UPDATE reservation SET closed_at = ?1 WHERE run = ?2 AND closed_at IS NULL",
        params![now, run],
    )?;
    transaction.execute(
        "UPDATE run SET closed_at = ?1 WHERE id = ?2 AND closed_at IS NULL",
        params![now, run],
    )?;
    Ok(())
}

/// What is left under one ceiling.
#[derive(Debug, Clone, Copy)]
struct Left {
    amount: Amount,
    ceiling: Amount,
    scope: Scope,
}

impl Left {
    fn refuse(&self, asked: Amount) -> ReserveError {
        ReserveError::OverBudget {
            asked,
            left: self.amount,
            ceiling: self.ceiling,
            scope: self.scope,
        }
    }
}

/// A row of the ledger.
#[derive(Debug)]
struct Entry {
    run: String,
    amount: Amount,
    spent: Amount,
    closed_at: Option<i64>,
}

const SELECT: &str = "SELECT run, amount, spent, closed_at FROM reservation";

impl Entry {
    fn read(row: &rusqlite::Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            run: row.get(0)?,
            amount: column(row, 1)?,
            spent: column(row, 2)?,
            closed_at: row.get(3)?,
        })
    }

    /// What it takes from a ceiling.
    fn taken(&self) -> Amount {
        if self.closed_at.is_some() {
            self.spent
        } else {
            self.amount
        }
    }
}

/// Beyond the largest amount the sum is the largest amount: no ceiling is above that.
fn sum(amounts: impl Iterator<Item = Amount>) -> Amount {
    Amount::checked_sum(amounts).unwrap_or(Amount::MAX)
}

pub(crate) fn now() -> i64 {
    Timestamp::now().as_millisecond()
}

fn millis(span: Duration) -> i64 {
    i64::try_from(span.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ledger() -> (tempfile::TempDir, Home, Ledger) {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::at(dir.path());
        home.prepare().unwrap();
        let ledger = Ledger::open(&home).unwrap();
        (dir, home, ledger)
    }

    fn glm(text: &str) -> Amount {
        text.parse().unwrap()
    }

    fn ceilings(run: &str, day: &str, month: &str) -> Ceilings {
        Ceilings {
            run: glm(run),
            day: glm(day),
            month: glm(month),
        }
    }

    fn open(ledger: &Ledger, ceilings: Ceilings) -> Account {
        ledger
            .account(&RunId::generate().unwrap(), ceilings)
            .unwrap()
    }

    #[test]
    fn what_is_reserved_is_no_longer_there_and_comes_back_when_released() {
        let (_dir, _home, ledger) = ledger();
        let account = open(&ledger, ceilings("10", "50", "200"));
        let reservation = account.reserve(glm("7.5"), "frames").unwrap();
        assert_eq!(
            (reservation.amount(), account.available().unwrap()),
            (glm("7.5"), glm("2.5"))
        );
        reservation.commit(glm("0.000000000000000001")).unwrap();
        reservation.commit(glm("3")).unwrap();
        assert_eq!(reservation.remaining(), glm("4.499999999999999999"));
        assert_eq!(reservation.release().unwrap(), glm("4.499999999999999999"));
        assert_eq!(reservation.release().unwrap(), Amount::ZERO);
        assert_eq!(account.available().unwrap(), glm("6.999999999999999999"));
        assert_eq!(account.close().unwrap(), glm("3.000000000000000001"));
    }

    #[test]
    fn dropping_releases_and_the_rest_is_what_is_left() {
        let (_dir, _home, ledger) = ledger();
        let account = open(&ledger, ceilings("10", "50", "200"));
        drop(account.reserve(glm("10"), "").unwrap());
        let _some = account.reserve(glm("4"), "").unwrap();
        let rest = account.reserve_rest("").unwrap();
        assert_eq!(rest.amount(), glm("6"));
        assert_eq!(account.reserve_rest("").unwrap().amount(), Amount::ZERO);
    }

    #[test]
    fn the_tightest_ceiling_refuses_and_is_named() {
        let (_dir, _home, ledger) = ledger();
        for (widths, message) in [
            (
                ceilings("1", "5", "9"),
                "cannot reserve 2 GLM: 1 GLM are left of 1 GLM granted to this run",
            ),
            (
                ceilings("5", "1", "9"),
                "cannot reserve 2 GLM: 1 GLM are left of 1 GLM that your policy allows in 24 hours",
            ),
            (
                ceilings("5", "9", "1"),
                "cannot reserve 2 GLM: 1 GLM are left of 1 GLM that your policy allows in 30 days",
            ),
        ] {
            let account = open(&ledger, widths);
            assert_eq!(
                account.reserve(glm("2"), "").unwrap_err().to_string(),
                message
            );
            assert_eq!(account.available().unwrap(), glm("1"));
        }
    }

    #[test]
    fn costs_beyond_the_reservation_or_after_its_end_are_not_accepted() {
        let (_dir, _home, ledger) = ledger();
        let account = open(&ledger, ceilings("10", "50", "200"));
        let reservation = account.reserve(glm("2"), "").unwrap();
        reservation.commit(glm("1.5")).unwrap();
        let error = reservation.commit(glm("0.500000000000000001")).unwrap_err();
        assert_eq!(
            error.to_string(),
            "a cost of 0.500000000000000001 GLM exceeds the 0.5 GLM left of the reservation; it is not accepted"
        );
        assert!(matches!(
            reservation.commit(Amount::MAX),
            Err(CommitError::OverReservation { .. })
        ));
        reservation.release().unwrap();
        assert!(matches!(
            reservation.commit(glm("0.1")),
            Err(CommitError::Released { .. })
        ));

        let other = account.reserve(glm("2"), "").unwrap();
        account.clone().close().unwrap();
        assert!(matches!(
            other.commit(glm("0.1")),
            Err(CommitError::Released { .. })
        ));
        assert_eq!(account.spent().unwrap(), glm("1.5"));
    }

    #[test]
    fn twenty_executors_racing_for_one_budget_never_exceed_it() {
        let (_dir, _home, ledger) = ledger();
        let account = open(&ledger, ceilings("10", "50", "200"));
        let spent: Vec<Amount> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..20)
                .map(|_| {
                    scope.spawn(|| {
                        let mut mine = Amount::ZERO;
                        while let Ok(reservation) = account.reserve(glm("0.7"), "race") {
                            reservation.commit(glm("0.3")).unwrap();
                            mine = mine.checked_add(glm("0.3")).unwrap();
                        }
                        mine
                    })
                })
                .collect();
            threads
                .into_iter()
                .map(|thread| thread.join().unwrap())
                .collect()
        });
        let total = Amount::checked_sum(spent).unwrap();
        assert_eq!(account.spent().unwrap(), total);
        assert!(total <= glm("10"), "{total}");
        // Once all have given up, less than one more reservation is left.
        assert!(account.available().unwrap() < glm("0.7"), "{total}");
    }

    #[test]
    fn two_runs_share_the_day_and_keep_their_own_budgets() {
        let (_dir, home, ledger) = ledger();
        let other_ledger = Ledger::open(&home).unwrap();
        let (one, other) = (
            open(&ledger, ceilings("4", "6", "9")),
            open(&other_ledger, ceilings("4", "6", "9")),
        );
        let reservation = one.reserve(glm("4"), "").unwrap();
        assert_eq!(other.available().unwrap(), glm("2"));
        reservation.commit(glm("1")).unwrap();
        drop(reservation);
        assert_eq!(
            (one.available().unwrap(), other.available().unwrap()),
            (glm("3"), glm("4"))
        );
    }

    #[test]
    fn spending_leaves_the_window_with_time_and_a_clock_set_back_frees_nothing() {
        let (_dir, _home, ledger) = ledger();
        let account = open(&ledger, ceilings("9", "9", "9"));
        account
            .reserve(glm("5"), "")
            .unwrap()
            .commit(glm("5"))
            .unwrap();
        account.close().unwrap();
        let next = open(&ledger, ceilings("9", "6", "8"));
        let closed = |at: i64| {
            let change = |transaction: &Transaction<'_>| {
                transaction.execute("UPDATE reservation SET closed_at = ?1", [at])
            };
            ledger.books.database().write("age", change).unwrap();
            next.available().unwrap()
        };
        let hour = 3_600_000;
        assert_eq!(closed(now() - hour), glm("1"));
        assert_eq!(closed(now() - 25 * hour), glm("3"));
        assert_eq!(closed(now() - 31 * 24 * hour), glm("8").min(glm("6")));
        assert_eq!(closed(now() + 1000 * 24 * hour), glm("1"));
    }

    #[test]
    fn a_run_that_ended_without_a_word_is_settled_by_the_next_look() {
        let (_dir, home, ledger) = ledger();
        let account = open(&ledger, ceilings("5", "5", "5"));
        let reservation = account.reserve(glm("5"), "").unwrap();
        reservation.commit(glm("2")).unwrap();
        let next = open(&Ledger::open(&home).unwrap(), ceilings("5", "5", "5"));
        assert_eq!(next.available().unwrap(), Amount::ZERO);
        // As a killed process does: the lock is gone, nothing was written.
        flock(&account.run._lock, FlockOperation::Unlock).unwrap();
        assert_eq!(next.reserve(glm("3"), "").unwrap().amount(), glm("3"));
        assert!(matches!(
            reservation.commit(glm("1")),
            Err(CommitError::Released { .. })
        ));
    }

    #[test]
    fn what_dead_runs_hold_is_seen_before_it_is_released() {
        let (_dir, _home, ledger) = ledger();
        let [dead, alive] = [
            open(&ledger, ceilings("5", "9", "9")),
            open(&ledger, ceilings("5", "9", "9")),
        ];
        let held = [
            dead.reserve(glm("3"), "").unwrap(),
            alive.reserve(glm("2"), "").unwrap(),
        ];
        held[0].commit(glm("1")).unwrap();
        assert_eq!(ledger.dead_runs().unwrap(), []);
        flock(&dead.run._lock, FlockOperation::Unlock).unwrap();
        for _ in 0..2 {
            let found = ledger.dead_runs().unwrap();
            assert_eq!(found.len(), 1);
            assert_eq!(
                (&found[0].run, found[0].spent, found[0].reserved),
                (dead.run(), glm("1"), glm("2"))
            );
        }
        assert_eq!(ledger.settle_dead_runs().unwrap(), [dead.run().clone()]);
        assert_eq!(ledger.dead_runs().unwrap(), []);
    }

    #[test]
    fn lock_files_go_with_their_runs() {
        let (_dir, home, ledger) = ledger();
        let account = open(&ledger, ceilings("5", "5", "5"));
        assert_eq!(fs::read_dir(home.runs()).unwrap().count(), 1);
        assert_eq!(ledger.settle_dead_runs().unwrap(), []);
        drop(account);
        assert_eq!(fs::read_dir(home.runs()).unwrap().count(), 0);
    }

    #[test]
    fn a_run_has_one_account() {
        let (_dir, _home, ledger) = ledger();
        let account = open(&ledger, ceilings("5", "5", "5"));
        assert!(ledger.account(account.run(), account.ceilings()).is_err());
        assert_eq!(account.available().unwrap(), glm("5"));
    }

    #[test]
    fn the_runs_money_is_told() {
        let (_dir, _home, ledger) = ledger();
        let account = open(&ledger, ceilings("5", "5", "5"));
        let reservation = account.reserve(glm("3"), "").unwrap();
        reservation.commit(glm("1")).unwrap();
        let runs = ledger.runs(10).unwrap();
        assert_eq!(runs.len(), 1);
        assert_eq!(
            (&runs[0].run, runs[0].spent, runs[0].reserved),
            (account.run(), glm("1"), glm("2"))
        );
    }

    #[test]
    fn an_amount_that_was_tampered_with_is_an_error_and_never_nothing() {
        let (_dir, _home, ledger) = ledger();
        let account = open(&ledger, ceilings("5", "5", "5"));
        let _reservation = account.reserve(glm("3"), "").unwrap();
        ledger
            .books
            .database()
            .write("tamper", |t| {
                t.execute("UPDATE reservation SET amount = '-3'", [])
            })
            .unwrap();
        let error = account.reserve(glm("1"), "").unwrap_err();
        assert!(
            matches!(error, ReserveError::State(StateError::Database { .. })),
            "{error}"
        );
    }
}
