//! What belongs where: users, pods, names, directories and shares, in SQLite.
//!
//! A [`View`] is one transaction of one user. Every change checks names and caps inside the transaction that makes
//! it, so two processes cannot pass a cap, or take one name, together.

use std::path::Path;
use std::time::Duration;

use rusqlite::{
    Connection, OptionalExtension, Transaction, TransactionBehavior, named_params, params,
};

use super::Caps;
use crate::name::folded;
use crate::{
    Access, Address, DfsPath, Entry, Error, Kind, NameError, Place, Pod, PodName, PodPassword,
    Reference, ShareInfo, ShareRecord, UserName,
};

/// How long a call waits for another process to finish its transaction.
const PATIENCE: Duration = Duration::from_secs(20);
/// Raised with every change of the tables.
const SCHEMA_VERSION: i64 = 1;
/// `entry.parent` of what lies in a pod's root.
const ROOT: i64 = 0;
/// Units of caps.
const BYTES: &str = "bytes";
const ENTRIES: &str = "files and directories";

const SCHEMA: &str = "
    CREATE TABLE user (
        id       INTEGER PRIMARY KEY,
        name     TEXT NOT NULL UNIQUE,
        address  BLOB NOT NULL
    ) STRICT;
    CREATE TABLE pod (
        id       INTEGER PRIMARY KEY,
        owner    INTEGER NOT NULL REFERENCES user,
        address  BLOB NOT NULL,
        password BLOB NOT NULL,
        share    BLOB UNIQUE
    ) STRICT;
    -- The names under which users know pods, their own and received ones.
    CREATE TABLE known (
        user     INTEGER NOT NULL REFERENCES user,
        folded   TEXT NOT NULL,
        name     TEXT NOT NULL,
        pod      INTEGER NOT NULL REFERENCES pod,
        PRIMARY KEY (user, folded),
        UNIQUE (user, pod)
    ) STRICT;
    CREATE TABLE entry (
        id       INTEGER PRIMARY KEY,
        pod      INTEGER NOT NULL REFERENCES pod,
        parent   INTEGER NOT NULL,
        folded   TEXT NOT NULL,
        name     TEXT NOT NULL,
        size     INTEGER NOT NULL,
        content  BLOB, -- none for a directory
        UNIQUE (pod, parent, folded)
    ) STRICT;
    CREATE INDEX entry_by_content ON entry (content);
    -- Content that lost a place, or was about to get one; it is deleted if it has none.
    CREATE TABLE leftover (
        content  BLOB PRIMARY KEY
    ) STRICT;
";

/// Why a transaction was given up.
#[derive(Debug)]
pub(super) enum Fault {
    /// The caller asked for something that cannot be.
    Refused(Error),
    /// The store failed.
    Failed { reason: String, next: &'static str },
}

impl Fault {
    pub(super) fn into_error(self, attempted: &str) -> Error {
        match self {
            Fault::Refused(error) => error,
            Fault::Failed { reason, next } => Error::Storage {
                attempted: attempted.to_owned(),
                reason,
                next,
            },
        }
    }
}

const CHECK_THE_DISK: &str = "check that its directory is on a local disk, writable and not full";

impl From<Error> for Fault {
    fn from(error: Error) -> Fault {
        Fault::Refused(error)
    }
}

impl From<rusqlite::Error> for Fault {
    fn from(error: rusqlite::Error) -> Fault {
        let next = match error.sqlite_error_code() {
            Some(rusqlite::ErrorCode::DatabaseBusy) => "another process uses it; try again",
            _ => CHECK_THE_DISK,
        };
        Fault::Failed {
            reason: error.to_string(),
            next,
        }
    }
}

impl From<std::io::Error> for Fault {
    fn from(error: std::io::Error) -> Fault {
        let next = match error.kind() {
            std::io::ErrorKind::InvalidData | std::io::ErrorKind::NotFound => {
                "it was changed from outside; write the file again, or restore the directory from a copy"
            }
            _ => CHECK_THE_DISK,
        };
        Fault::Failed {
            reason: error.to_string(),
            next,
        }
    }
}

impl From<NameError> for Fault {
    /// Names were checked before they were stored.
    fn from(error: NameError) -> Fault {
        Fault::Failed {
            reason: format!("the database has a name that was never stored: {error}"),
            next: "restore its directory from a copy",
        }
    }
}

impl From<getrandom::Error> for Fault {
    fn from(error: getrandom::Error) -> Fault {
        Fault::Failed {
            reason: format!("the system gives no random bytes: {error}"),
            next: "try again",
        }
    }
}

/// Opens or makes the database, and the user in it.
pub(super) fn open(path: &Path, user: &UserName) -> Result<(Connection, i64), Fault> {
    let mut connection = Connection::open(path)?;
    connection.busy_timeout(PATIENCE)?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    // Content is deleted after the transaction that makes it superfluous; a power cut must not undo only the latter.
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "foreign_keys", true)?;
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    match transaction.pragma_query_value(None, "user_version", |row| row.get(0))? {
        0 => {
            transaction.execute_batch(SCHEMA)?;
            transaction.pragma_update(None, "user_version", SCHEMA_VERSION)?;
        }
        SCHEMA_VERSION => {}
        version => {
            return Err(Fault::Failed {
                reason: format!(
                    "its tables have version {version}, and this program knows {SCHEMA_VERSION}"
                ),
                next: "use a newer sovr-host",
            });
        }
    }
    let address: [u8; 20] = random()?;
    transaction.execute(
        "INSERT OR IGNORE INTO user (name, address) VALUES (?1, ?2)",
        params![user.as_str(), address],
    )?;
    let id = transaction.query_row(
        "SELECT id FROM user WHERE name = ?1",
        [user.as_str()],
        |row| row.get(0),
    )?;
    transaction.commit()?;
    Ok((connection, id))
}

/// One transaction of one user.
pub(super) struct View<'a> {
    pub(super) transaction: Transaction<'a>,
    pub(super) user: i64,
    pub(super) user_name: &'a UserName,
    pub(super) caps: Caps,
}

/// A pod in the database.
struct PodRow {
    id: i64,
    /// As the caller named it.
    place: Place,
}

/// A file or directory in the database.
struct Node {
    id: i64,
    name: String,
    size: u64,
    content: Option<[u8; 32]>,
}

impl Node {
    fn entry(self) -> Entry {
        Entry {
            kind: self.kind(),
            name: self.name,
            size: self.size,
        }
    }

    fn kind(&self) -> Kind {
        if self.content.is_some() {
            Kind::File
        } else {
            Kind::Directory
        }
    }
}

/// How large a file may become.
pub(super) struct Room {
    pod: PodName,
    path: DfsPath,
    /// Bytes of the pod's other files.
    others: u64,
    caps: Caps,
}

impl Room {
    /// Refuses a file of `size` bytes that does not fit.
    pub(super) fn check(&self, size: u64) -> Result<(), Error> {
        let Room {
            pod,
            path,
            others,
            caps,
        } = self;
        let (what, cap) = if size > caps.file {
            (format!("`{path}` in pod `{pod}`"), caps.file)
        } else if others.saturating_add(size) > caps.pod {
            (format!("pod `{pod}` with `{path}`"), caps.pod)
        } else {
            return Ok(());
        };
        Err(Error::Full {
            what,
            cap,
            unit: BYTES,
        })
    }
}

impl View<'_> {
    /// Makes an own pod and answers its number.
    pub(super) fn create_pod(&self, name: &PodName) -> Result<i64, Fault> {
        self.check_free(name)?;
        let (address, password): ([u8; 20], [u8; 32]) = (random()?, random()?);
        self.transaction.execute(
            "INSERT INTO pod (owner, address, password) VALUES (?1, ?2, ?3)",
            params![self.user, address, password],
        )?;
        let pod = self.transaction.last_insert_rowid();
        self.know(name, pod)?;
        Ok(pod)
    }

    /// Makes an own pod whose entries are those of another. The content itself is the same.
    pub(super) fn fork_pod(&self, from: &Place, name: &PodName) -> Result<(), Fault> {
        let from = self.readable(from)?;
        let fork = self.create_pod(name)?;
        self.check_fork(&from, name)?;
        // The new numbers are dense: an offset to the old ones would double the highest number with every fork of a
        // fork. An entry of the root has no parent to be found, and stays in the root.
        self.transaction.execute(
            "WITH source AS (
                 SELECT *, (SELECT coalesce(max(id), 0) FROM entry) + row_number() OVER (ORDER BY id) AS fresh
                 FROM entry WHERE pod = :from
             )
             INSERT INTO entry (id, pod, parent, folded, name, size, content)
             SELECT source.fresh, :fork, coalesce(directory.fresh, :root),
                    source.folded, source.name, source.size, source.content
             FROM source LEFT JOIN source AS directory ON directory.id = source.parent",
            named_params! { ":from": from.id, ":fork": fork, ":root": ROOT },
        )?;
        Ok(())
    }

    /// The caps of this session need not be those under which the original grew.
    fn check_fork(&self, from: &PodRow, name: &PodName) -> Result<(), Fault> {
        let (entries, bytes, largest): (u64, u64, u64) = self.transaction.query_row(
            "SELECT count(*), coalesce(sum(size), 0), coalesce(max(size), 0) FROM entry WHERE pod = ?1",
            [from.id],
            |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)),
        )?;
        let Caps {
            entries: most_entries,
            file,
            pod,
            ..
        } = self.caps;
        let copy = format!("pod `{name}`, a copy of {},", from.place);
        let (what, cap, unit) = if entries > most_entries {
            (copy, most_entries, ENTRIES)
        } else if bytes > pod {
            (copy, pod, BYTES)
        } else if largest > file {
            (format!("a file of {copy}"), file, BYTES)
        } else {
            return Ok(());
        };
        Err(Error::Full { what, cap, unit }.into())
    }

    /// Deletes an own pod, or forgets a received one.
    pub(super) fn delete_pod(&self, name: &PodName) -> Result<(), Fault> {
        let (row, access) = self.known(name)?;
        if access == Access::Received {
            self.transaction.execute(
                "DELETE FROM known WHERE user = ?1 AND pod = ?2",
                [self.user, row.id],
            )?;
            return Ok(());
        }
        for statement in [
            "INSERT OR IGNORE INTO leftover (content) SELECT content FROM entry WHERE pod = ?1 AND content NOT NULL",
            "DELETE FROM entry WHERE pod = ?1",
            "DELETE FROM known WHERE pod = ?1",
            "DELETE FROM pod WHERE id = ?1",
        ] {
            self.transaction.execute(statement, [row.id])?;
        }
        Ok(())
    }

    pub(super) fn pods(&self) -> Result<Vec<Pod>, Fault> {
        let mut query = self.transaction.prepare_cached(
            "SELECT known.name, pod.owner = known.user FROM known JOIN pod ON pod.id = known.pod
             WHERE known.user = ?1 ORDER BY known.name",
        )?;
        let rows = query.query_map([self.user], |row| {
            Ok((row.get::<_, String>(0)?, row.get(1)?))
        })?;
        rows.map(|row| {
            let (name, own) = row?;
            Ok(Pod {
                name: name.parse()?,
                access: access(own),
            })
        })
        .collect()
    }

    pub(super) fn pod(&self, name: &PodName) -> Result<Pod, Fault> {
        let (_, access) = self.known(name)?;
        Ok(Pod {
            name: name.clone(),
            access,
        })
    }

    pub(super) fn list(&self, place: &Place, directory: &DfsPath) -> Result<Vec<Entry>, Fault> {
        let row = self.readable(place)?;
        let parent = self.directory(&row, directory)?;
        let mut query = self.transaction.prepare_cached(
            "SELECT id, name, size, content FROM entry WHERE pod = ?1 AND parent = ?2 ORDER BY name",
        )?;
        let rows = query.query_map([row.id, parent], node)?;
        rows.map(|node| Ok(node?.entry())).collect()
    }

    pub(super) fn stat(&self, place: &Place, path: &DfsPath) -> Result<Entry, Fault> {
        let row = self.readable(place)?;
        if path.is_root() {
            return Ok(Entry {
                name: String::new(),
                kind: Kind::Directory,
                size: 0,
            });
        }
        Ok(self.node(&row, path)?.entry())
    }

    /// Length and reference of a file.
    pub(super) fn file(&self, place: &Place, path: &DfsPath) -> Result<(u64, Reference), Fault> {
        let row = self.readable(place)?;
        let is_directory = || Error::IsDirectory {
            place: place.clone(),
            path: path.clone(),
        };
        if path.is_root() {
            return Err(is_directory().into());
        }
        let node = self.node(&row, path)?;
        let content = node.content.ok_or_else(is_directory)?;
        Ok((node.size, Reference::from_bytes(content)))
    }

    /// Checks that a file could be written, and answers how large it may be.
    pub(super) fn room_for_file(&self, pod: &PodName, path: &DfsPath) -> Result<Room, Fault> {
        let row = self.own(pod, "written")?;
        let (parent, name) = self.slot(&row, pod, path, "written")?;
        let replaced = self.file_to_replace(&row, parent, name, pod, path)?;
        if replaced.is_none() {
            self.check_entries(&row, pod)?;
        }
        let used: u64 = self.transaction.query_row(
            "SELECT coalesce(sum(size), 0) FROM entry WHERE pod = ?1",
            [row.id],
            |row| row.get(0),
        )?;
        let others = used.saturating_sub(replaced.map_or(0, |node| node.size));
        Ok(Room {
            pod: pod.clone(),
            path: path.clone(),
            others,
            caps: self.caps,
        })
    }

    /// Makes or replaces a file; true if content may have become superfluous.
    pub(super) fn put_file(
        &self,
        pod: &PodName,
        path: &DfsPath,
        size: u64,
        content: &Reference,
    ) -> Result<bool, Fault> {
        self.room_for_file(pod, path)?.check(size)?;
        let row = self.own(pod, "written")?;
        let (parent, name) = self.slot(&row, pod, path, "written")?;
        let replaced = self.file_to_replace(&row, parent, name, pod, path)?;
        if let Some(node) = &replaced {
            self.delete(node)?;
        }
        self.insert(&row, parent, name, size, Some(content))?;
        Ok(replaced.is_some())
    }

    pub(super) fn make_directory(&self, pod: &PodName, path: &DfsPath) -> Result<(), Fault> {
        let row = self.own(pod, "changed")?;
        let (parent, name) = self.slot(&row, pod, path, "made again")?;
        if let Some(node) = self.child(&row, parent, name)? {
            return Err(path_exists(pod, path, node).into());
        }
        self.check_entries(&row, pod)?;
        self.insert(&row, parent, name, 0, None)
    }

    pub(super) fn remove(&self, pod: &PodName, path: &DfsPath) -> Result<(), Fault> {
        let row = self.own(pod, "changed")?;
        self.slot(&row, pod, path, "removed")?;
        let node = self.node(&row, path)?;
        let holds_something = self.transaction.query_row(
            "SELECT EXISTS (SELECT 1 FROM entry WHERE pod = ?1 AND parent = ?2)",
            [row.id, node.id],
            |row| row.get(0),
        )?;
        if holds_something {
            return Err(Error::NotEmpty {
                pod: pod.clone(),
                path: path.clone(),
            }
            .into());
        }
        self.delete(&node)
    }

    pub(super) fn share(&self, pod: &PodName) -> Result<Reference, Fault> {
        let row = self.own(pod, "shared")?;
        let record = self.transaction.query_row(
            "SELECT known.name, pod.address, pod.password, user.address
             FROM pod JOIN user ON user.id = pod.owner JOIN known ON known.pod = pod.id AND known.user = pod.owner
             WHERE pod.id = ?1",
            [row.id],
            |row| {
                Ok(ShareRecord {
                    pod_name: row.get(0)?,
                    pod_address: Address(row.get(1)?),
                    password: PodPassword(row.get(2)?),
                    user_address: Address(row.get(3)?),
                })
            },
        )?;
        let reference = record.reference();
        self.transaction.execute(
            "UPDATE pod SET share = ?2 WHERE id = ?1",
            params![row.id, reference.to_bytes()],
        )?;
        Ok(reference)
    }

    /// Ends a share. The password is a part of what the reference is computed from, so a new one makes sure that the
    /// old reference never comes back.
    pub(super) fn unshare(&self, pod: &PodName) -> Result<(), Fault> {
        let row = self.own(pod, "unshared")?;
        let password: [u8; 32] = random()?;
        let ended = self.transaction.execute(
            "UPDATE pod SET share = NULL, password = ?2 WHERE id = ?1 AND share NOT NULL",
            params![row.id, password],
        )?;
        if ended == 0 {
            return Err(Error::NotShared { pod: pod.clone() }.into());
        }
        self.transaction.execute(
            "DELETE FROM known WHERE pod = ?1 AND user != ?2",
            [row.id, self.user],
        )?;
        Ok(())
    }

    pub(super) fn share_info(&self, reference: &Reference) -> Result<ShareInfo, Fault> {
        let found = self
            .transaction
            .query_row(
                "SELECT known.name, pod.address, user.address
                 FROM pod JOIN user ON user.id = pod.owner JOIN known ON known.pod = pod.id AND known.user = pod.owner
                 WHERE pod.share = ?1",
                [reference.to_bytes()],
                |row| {
                    Ok(ShareInfo {
                        pod_name: row.get::<_, String>(0)?.into(),
                        pod_address: Address(row.get(1)?),
                        user_address: Address(row.get(2)?),
                    })
                },
            )
            .optional()?;
        found.ok_or_else(|| no_such_share(reference).into())
    }

    pub(super) fn receive(&self, reference: &Reference, name: PodName) -> Result<Pod, Fault> {
        let shared: Option<(i64, bool, Option<String>)> = self
            .transaction
            .query_row(
                "SELECT pod.id, pod.owner = :user, known.name
                 FROM pod LEFT JOIN known ON known.pod = pod.id AND known.user = :user WHERE pod.share = :share",
                named_params! { ":user": self.user, ":share": reference.to_bytes() },
                |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)),
            )
            .optional()?;
        match shared {
            None => Err(no_such_share(reference).into()),
            Some((_, true, own)) => Err(Error::OwnShare {
                reference: *reference,
                pod: own.as_deref().unwrap_or("").parse()?,
            }
            .into()),
            Some((_, false, Some(before))) => Ok(Pod {
                name: before.parse()?,
                access: Access::Received,
            }),
            Some((pod, false, None)) => {
                self.check_free(&name)?;
                self.know(&name, pod)?;
                Ok(Pod {
                    name,
                    access: Access::Received,
                })
            }
        }
    }

    /// Says that content is about to get a place. Should the process die between putting the content there and the
    /// transaction that makes it visible, it is found among the leftovers.
    pub(super) fn announce(&self, content: &Reference) -> Result<(), Fault> {
        self.transaction.execute(
            "INSERT OR IGNORE INTO leftover (content) VALUES (?1)",
            [content.to_bytes()],
        )?;
        Ok(())
    }

    /// Takes back what was announced; false if another process has cleaned it up already.
    pub(super) fn arrives(&self, content: &Reference) -> Result<bool, Fault> {
        let deleted = self.transaction.execute(
            "DELETE FROM leftover WHERE content = ?1",
            [content.to_bytes()],
        )?;
        Ok(deleted > 0)
    }

    /// Content that has no place.
    pub(super) fn leftovers(&self) -> Result<Vec<Reference>, Fault> {
        let mut query = self.transaction.prepare_cached(
            "SELECT content FROM leftover WHERE NOT EXISTS (SELECT 1 FROM entry WHERE entry.content = leftover.content)",
        )?;
        let rows = query.query_map([], |row| row.get(0))?;
        rows.map(|content| Ok(Reference::from_bytes(content?)))
            .collect()
    }

    /// To be called when the leftovers have been deleted.
    pub(super) fn forget_leftovers(&self) -> Result<(), Fault> {
        self.transaction.execute("DELETE FROM leftover", [])?;
        Ok(())
    }

    /// A pod that this user knows by this name.
    fn known(&self, name: &PodName) -> Result<(PodRow, Access), Fault> {
        let found: Option<(i64, bool)> = self
            .transaction
            .prepare_cached(
                "SELECT pod.id, pod.owner = known.user FROM known JOIN pod ON pod.id = known.pod
                 WHERE known.user = ?1 AND known.name = ?2",
            )?
            .query_row(params![self.user, name.as_str()], |row| {
                Ok((row.get(0)?, row.get(1)?))
            })
            .optional()?;
        let (id, own) = found.ok_or_else(|| Error::NoSuchPod {
            pod: name.clone(),
            user: self.user_name.clone(),
        })?;
        let place = name.into();
        Ok((PodRow { id, place }, access(own)))
    }

    /// A pod that this user may read.
    fn readable(&self, place: &Place) -> Result<PodRow, Fault> {
        let reference = match place {
            Place::Pod(name) => return Ok(self.known(name)?.0),
            Place::Shared(reference) => reference,
        };
        let found: Option<i64> = self
            .transaction
            .prepare_cached("SELECT id FROM pod WHERE share = ?1")?
            .query_row([reference.to_bytes()], |row| row.get(0))
            .optional()?;
        let id = found.ok_or_else(|| no_such_share(reference))?;
        let place = place.clone();
        Ok(PodRow { id, place })
    }

    /// A pod that this user may change.
    fn own(&self, pod: &PodName, attempted: &'static str) -> Result<PodRow, Fault> {
        match self.known(pod)? {
            (row, Access::Own) => Ok(row),
            (_, Access::Received) => Err(Error::ReadOnly {
                pod: pod.clone(),
                attempted,
            }
            .into()),
        }
    }

    /// The directory that holds `path`, and the name in it.
    fn slot<'p>(
        &self,
        row: &PodRow,
        pod: &PodName,
        path: &'p DfsPath,
        attempted: &'static str,
    ) -> Result<(i64, &'p str), Fault> {
        match (path.parent(), path.name()) {
            (Some(parent), Some(name)) => Ok((self.directory(row, &parent)?, name)),
            _ => Err(Error::Root {
                pod: pod.clone(),
                attempted,
            }
            .into()),
        }
    }

    fn directory(&self, row: &PodRow, path: &DfsPath) -> Result<i64, Fault> {
        if path.is_root() {
            return Ok(ROOT);
        }
        let node = self.node(row, path)?;
        match node.kind() {
            Kind::Directory => Ok(node.id),
            Kind::File => Err(Error::IsFile {
                place: row.place.clone(),
                path: path.clone(),
            }
            .into()),
        }
    }

    /// What lies at a path other than the root.
    fn node(&self, row: &PodRow, path: &DfsPath) -> Result<Node, Fault> {
        let mut at = DfsPath::root();
        let mut found = Node {
            id: ROOT,
            name: String::new(),
            size: 0,
            content: None,
        };
        for part in path.parts() {
            if found.kind() == Kind::File {
                return Err(Error::IsFile {
                    place: row.place.clone(),
                    path: at,
                }
                .into());
            }
            at = at.join(part)?;
            found = match self.child(row, found.id, part)? {
                Some(node) if node.name == part => node,
                _ => {
                    return Err(Error::NoSuchPath {
                        place: row.place.clone(),
                        path: at,
                    }
                    .into());
                }
            };
        }
        Ok(found)
    }

    /// What has this name in a directory, or one that may not stand beside it.
    fn child(&self, row: &PodRow, parent: i64, name: &str) -> Result<Option<Node>, Fault> {
        let mut query = self.transaction.prepare_cached(
            "SELECT id, name, size, content FROM entry WHERE pod = ?1 AND parent = ?2 AND folded = ?3",
        )?;
        Ok(query
            .query_row(params![row.id, parent, folded(name)], node)
            .optional()?)
    }

    /// The file that a new one of this name replaces.
    fn file_to_replace(
        &self,
        row: &PodRow,
        parent: i64,
        name: &str,
        pod: &PodName,
        path: &DfsPath,
    ) -> Result<Option<Node>, Fault> {
        match self.child(row, parent, name)? {
            Some(node) if node.name != name => Err(path_exists(pod, path, node).into()),
            Some(node) if node.kind() == Kind::Directory => Err(Error::IsDirectory {
                place: row.place.clone(),
                path: path.clone(),
            }
            .into()),
            other => Ok(other),
        }
    }

    fn check_free(&self, name: &PodName) -> Result<(), Fault> {
        let existing: Option<String> = self
            .transaction
            .query_row(
                "SELECT name FROM known WHERE user = ?1 AND folded = ?2",
                params![self.user, name.folded()],
                |row| row.get(0),
            )
            .optional()?;
        if let Some(existing) = existing {
            return Err(Error::PodExists {
                pod: name.clone(),
                existing: existing.parse()?,
            }
            .into());
        }
        let known: u64 = self.transaction.query_row(
            "SELECT count(*) FROM known WHERE user = ?1",
            [self.user],
            |row| row.get(0),
        )?;
        if known >= self.caps.pods {
            let what = format!("the storage of user `{}`", self.user_name);
            return Err(Error::Full {
                what,
                cap: self.caps.pods,
                unit: "pods",
            }
            .into());
        }
        Ok(())
    }

    fn check_entries(&self, row: &PodRow, pod: &PodName) -> Result<(), Fault> {
        let entries: u64 = self.transaction.query_row(
            "SELECT count(*) FROM entry WHERE pod = ?1",
            [row.id],
            |row| row.get(0),
        )?;
        if entries >= self.caps.entries {
            let what = format!("pod `{pod}`");
            return Err(Error::Full {
                what,
                cap: self.caps.entries,
                unit: ENTRIES,
            }
            .into());
        }
        Ok(())
    }

    fn know(&self, name: &PodName, pod: i64) -> Result<(), Fault> {
        self.transaction.execute(
            "INSERT INTO known (user, folded, name, pod) VALUES (?1, ?2, ?3, ?4)",
            params![self.user, name.folded(), name.as_str(), pod],
        )?;
        Ok(())
    }

    fn insert(
        &self,
        row: &PodRow,
        parent: i64,
        name: &str,
        size: u64,
        content: Option<&Reference>,
    ) -> Result<(), Fault> {
        self.transaction.execute(
            "INSERT INTO entry (pod, parent, folded, name, size, content) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            params![row.id, parent, folded(name), name, size, content.map(Reference::to_bytes)],
        )?;
        Ok(())
    }

    fn delete(&self, node: &Node) -> Result<(), Fault> {
        self.transaction
            .execute("DELETE FROM entry WHERE id = ?1", [node.id])?;
        if let Some(content) = &node.content {
            self.transaction.execute(
                "INSERT OR IGNORE INTO leftover (content) VALUES (?1)",
                [content],
            )?;
        }
        Ok(())
    }
}

fn access(own: bool) -> Access {
    if own { Access::Own } else { Access::Received }
}

fn node(row: &rusqlite::Row<'_>) -> rusqlite::Result<Node> {
    Ok(Node {
        id: row.get(0)?,
        name: row.get(1)?,
        size: row.get(2)?,
        content: row.get(3)?,
    })
}

fn no_such_share(reference: &Reference) -> Error {
    Error::NoSuchShare {
        reference: *reference,
    }
}

fn path_exists(pod: &PodName, path: &DfsPath, existing: Node) -> Error {
    Error::PathExists {
        pod: pod.clone(),
        path: path.clone(),
        existing: existing.name,
    }
}

fn random<const N: usize>() -> Result<[u8; N], Fault> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes)?;
    Ok(bytes)
}
