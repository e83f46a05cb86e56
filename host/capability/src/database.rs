//! The one SQLite file, for what must stay true when processes race, crash or lose power.
//!
//! Write-ahead logging lets readers go on while one writes; a writer waits for the other instead of failing; every
//! commit reaches the disk before it counts, because some of them are money. The version of the schema is SQLite's
//! `user_version`; each migration runs in one transaction, and a database of a newer program is left alone.

use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::time::Duration;

use jiff::Timestamp;
use rusqlite::{Connection, OpenFlags, Transaction, TransactionBehavior};
use rustix::fs::{FlockOperation, flock};

use crate::{Home, StateError};

/// How long a writer waits for another. Transactions here take milliseconds.
const PATIENCE: Duration = Duration::from_secs(30);

/// Each entry brings the schema from its index to the next version. Entries are never changed, only added.
const MIGRATIONS: [&str; 2] = [
    "
    CREATE TABLE consent (
        request TEXT PRIMARY KEY NOT NULL,
        component TEXT NOT NULL,
        capabilities TEXT NOT NULL,
        pod TEXT NOT NULL,
        given_by TEXT NOT NULL,
        given_at INTEGER NOT NULL
    ) STRICT;
    CREATE TABLE run (
        id TEXT PRIMARY KEY NOT NULL,
        opened_at INTEGER NOT NULL,
        closed_at INTEGER
    ) STRICT;
    CREATE INDEX live_run ON run (id) WHERE closed_at IS NULL;
    CREATE TABLE reservation (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        run TEXT NOT NULL REFERENCES run (id),
        purpose TEXT NOT NULL,
        amount TEXT NOT NULL,
        spent TEXT NOT NULL DEFAULT '0',
        opened_at INTEGER NOT NULL,
        closed_at INTEGER
    ) STRICT;
    CREATE INDEX reservation_of_run ON reservation (run);
    CREATE INDEX reservation_by_end ON reservation (closed_at);
",
    "
    CREATE TABLE session (
        id TEXT PRIMARY KEY NOT NULL,
        run TEXT NOT NULL REFERENCES run (id),
        opened_at INTEGER NOT NULL,
        UNIQUE (id, run)
    ) STRICT;
    CREATE TABLE session_change (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        session TEXT NOT NULL,
        run TEXT NOT NULL,
        change TEXT NOT NULL,
        FOREIGN KEY (session, run) REFERENCES session (id, run) ON DELETE CASCADE
    ) STRICT;
    CREATE INDEX change_of_session ON session_change (session, run);
",
];

/// A connection to the database.
#[derive(Debug)]
pub(crate) struct Database {
    connection: Connection,
    path: PathBuf,
}

impl Database {
    /// Opens the user's database and brings its schema up to date.
    pub(crate) fn open(home: &Home) -> Result<Self, StateError> {
        let path = home.database();
        let io = |doing| StateError::io(doing, &path);
        // SQLite would make the file readable for others. And two processes that both switch a new file to
        // write-ahead logging disturb each other, so one after the other opens.
        let lock = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(path.with_extension("lock"))
            .map_err(io("open the lock of the database"))?;
        flock(&lock, FlockOperation::LockExclusive)
            .map_err(Into::into)
            .map_err(io("lock the database"))?;
        OpenOptions::new()
            .append(true)
            .create(true)
            .mode(0o600)
            .open(&path)
            .map_err(io("open the database"))?;

        let open = || {
            let connection = Connection::open_with_flags(&path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
            connection.busy_timeout(PATIENCE)?;
            connection.pragma_update_and_check(None, "journal_mode", "WAL", |_| Ok(()))?;
            connection.pragma_update(None, "synchronous", "FULL")?;
            connection.pragma_update(None, "foreign_keys", true)?;
            connection.pragma_update(None, "trusted_schema", false)?;
            Ok(connection)
        };
        let connection = open().map_err(|source: rusqlite::Error| StateError::Database {
            doing: "open tables",
            path: path.clone(),
            source: source.into(),
        })?;
        let mut database = Self { connection, path };
        if !database.is_current()? {
            database.migrate()?;
        }
        Ok(database)
    }

    /// Whether the schema is the one known here. Most often it is, and then opening writes nothing and waits for no
    /// disk.
    fn is_current(&self) -> Result<bool, StateError> {
        self.connection
            .pragma_query_value(None, "user_version", |row| row.get::<_, i64>(0))
            .map(|found| found == MIGRATIONS.len() as i64)
            .map_err(|source| StateError::Database {
                doing: "read the version of the schema",
                path: self.path.clone(),
                source: source.into(),
            })
    }

    fn migrate(&mut self) -> Result<(), StateError> {
        let known = MIGRATIONS.len() as i64;
        let path = self.path.clone();
        self.write("bring the schema up to date", |transaction| {
            let found: i64 =
                transaction.pragma_query_value(None, "user_version", |row| row.get(0))?;
            let Some(pending) = usize::try_from(found)
                .ok()
                .and_then(|found| MIGRATIONS.get(found..))
            else {
                return Ok(Err(StateError::Newer { path, found, known }));
            };
            for migration in pending {
                transaction.execute_batch(migration)?;
            }
            transaction.pragma_update(None, "user_version", known)?;
            Ok(Ok(()))
        })?
    }

    /// Does `work` in one transaction that no other writer shares; committed if it answers, rolled back if it fails.
    pub(crate) fn write<T>(
        &mut self,
        doing: &'static str,
        work: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<T>,
    ) -> Result<T, StateError> {
        let path = &self.path;
        let attempt = || {
            let transaction = self
                .connection
                .transaction_with_behavior(TransactionBehavior::Immediate)?;
            let answer = work(&transaction)?;
            transaction.commit()?;
            Ok(answer)
        };
        attempt().map_err(|source: rusqlite::Error| StateError::Database {
            doing,
            path: path.clone(),
            source: source.into(),
        })
    }

    /// Does `work` on one state of the database, whatever others write meanwhile.
    pub(crate) fn read<T>(
        &self,
        doing: &'static str,
        work: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T, StateError> {
        let attempt = || {
            let snapshot = self.connection.unchecked_transaction()?;
            work(&snapshot)
        };
        attempt().map_err(|source| StateError::Database {
            doing,
            path: self.path.clone(),
            source: source.into(),
        })
    }
}

/// A column whose text has a type of its own. What does not parse is an error of the column, never a default.
pub(crate) fn column<T>(row: &rusqlite::Row<'_>, index: usize) -> rusqlite::Result<T>
where
    T: std::str::FromStr<Err: std::error::Error + Send + Sync + 'static>,
{
    row.get_ref(index)?
        .as_str()?
        .parse()
        .map_err(|error: T::Err| {
            rusqlite::Error::FromSqlConversionFailure(
                index,
                rusqlite::types::Type::Text,
                Box::new(error),
            )
        })
}

/// A column of milliseconds since 1970.
pub(crate) fn timestamp(row: &rusqlite::Row<'_>, index: usize) -> rusqlite::Result<Timestamp> {
    Timestamp::from_millisecond(row.get(index)?).map_err(|error| {
        rusqlite::Error::FromSqlConversionFailure(
            index,
            rusqlite::types::Type::Integer,
            Box::new(error),
        )
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::*;

    fn home() -> (tempfile::TempDir, Home) {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::at(dir.path());
        home.prepare().unwrap();
        (dir, home)
    }

    #[test]
    fn the_file_is_private_and_opens_again() {
        let (_dir, home) = home();
        drop(Database::open(&home).unwrap());
        let database = Database::open(&home).unwrap();
        let mode: String = database
            .connection
            .pragma_query_value(None, "journal_mode", |row| row.get(0))
            .unwrap();
        assert_eq!(mode, "wal");
        assert_eq!(
            std::fs::metadata(home.database()).unwrap().mode() & 0o777,
            0o600
        );
    }

    #[test]
    fn many_open_a_new_database_at_once() {
        let (_dir, home) = home();
        std::thread::scope(|scope| {
            for _ in 0..16 {
                scope.spawn(|| Database::open(&home).unwrap());
            }
        });
    }

    #[test]
    fn a_database_of_any_earlier_version_is_brought_up_to_date() {
        for version in 0..MIGRATIONS.len() {
            let (_dir, home) = home();
            let connection = Connection::open(home.database()).unwrap();
            for migration in &MIGRATIONS[..version] {
                connection.execute_batch(migration).unwrap();
            }
            connection
                .pragma_update(None, "user_version", version as i64)
                .unwrap();
            drop(connection);
            let database = Database::open(&home).unwrap();
            assert!(database.is_current().unwrap());
            let tables = |connection: &Connection| {
                connection.query_row(
                    "SELECT count(*) FROM sqlite_master WHERE type = 'table' AND name IN ('run', 'session')",
                    [],
                    |row| row.get::<_, i64>(0),
                )
            };
            assert_eq!(database.read("look", tables).unwrap(), 2);
        }
    }

    #[test]
    fn a_newer_database_is_left_alone() {
        let (_dir, home) = home();
        let database = Database::open(&home).unwrap();
        database
            .connection
            .pragma_update(None, "user_version", 99)
            .unwrap();
        drop(database);
        let error = Database::open(&home).unwrap_err();
        assert!(
            matches!(
                error,
                StateError::Newer {
                    found: 99,
                    known: 2,
                    ..
                }
            ),
            "{error}"
        );
    }

    #[test]
    fn a_file_that_is_no_database_is_an_error_with_its_path() {
        let (_dir, home) = home();
        std::fs::write(
            home.database(),
            "not a database, and long enough to be sure of it".repeat(100),
        )
        .unwrap();
        let error = Database::open(&home).unwrap_err().to_string();
        assert!(
            error.contains("state.sqlite") && error.contains("not a database"),
            "{error}"
        );
    }
}
