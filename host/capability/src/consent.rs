//! What the user has agreed to, remembered outside the pod so that no pod can agree to itself.
//!
//! A consent is to this code with these capabilities, by digest. A changed component or a changed request is a new
//! question; a pod that was moved, renamed or forked is not.

use std::sync::{Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use rusqlite::types::{FromSql, FromSqlError, FromSqlResult, ValueRef};
use rusqlite::{OptionalExtension, Row, params};
use serde::Serialize;

use crate::database::{Database, column, timestamp};
use crate::text::quote;
use crate::{Digest, Home, StateError, Untrusted};

/// Fewest digits by which a consent can be revoked.
const LEAST_DIGITS: usize = 4;

/// What a consent is about: this code with these capabilities. Either changed is another key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct ConsentKey {
    /// SHA-256 of the component.
    pub component: Digest,
    /// Digest of what it asks, [`Capabilities::digest`](crate::Capabilities::digest).
    pub capabilities: Digest,
}

impl ConsentKey {
    /// Both in one digest: what `--allow` takes.
    #[must_use]
    pub fn request(&self) -> Digest {
        Digest::of(format!(
            "sovr consent 1\n{}\n{}\n",
            self.component, self.capabilities
        ))
    }
}

/// A remembered consent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Consent {
    /// What it is about.
    #[serde(flatten)]
    pub key: ConsentKey,
    /// [`ConsentKey::request`], by which it is revoked.
    pub request: Digest,
    /// The name the pod had.
    pub pod: Untrusted,
    /// How it was given.
    pub given_by: GivenBy,
    /// When.
    pub given_at: Timestamp,
}

/// How a consent was given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum GivenBy {
    /// The user answered the question.
    Prompt,
    /// `--yes`.
    Yes,
    /// `--allow`.
    Allow,
}

impl GivenBy {
    const ALL: [Self; 3] = [Self::Prompt, Self::Yes, Self::Allow];

    /// As it stands in the database, and for people.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Prompt => "prompt",
            Self::Yes => "yes",
            Self::Allow => "allow",
        }
    }
}

impl FromSql for GivenBy {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        let text = value.as_str()?;
        let found = Self::ALL.iter().find(|way| way.name() == text);
        found.copied().ok_or(FromSqlError::InvalidType)
    }
}

/// The consents of one user.
#[derive(Debug)]
pub struct ConsentStore {
    database: Mutex<Database>,
}

impl ConsentStore {
    /// Opens the store.
    ///
    /// # Errors
    /// When the database cannot be used.
    pub fn open(home: &Home) -> Result<Self, StateError> {
        Ok(Self {
            database: Mutex::new(Database::open(home)?),
        })
    }

    /// Opens the store if there is one: before the first consent there is none, and opening would make it.
    ///
    /// # Errors
    /// When the database cannot be used.
    pub fn open_existing(home: &Home) -> Result<Option<Self>, StateError> {
        home.database()
            .exists()
            .then(|| Self::open(home))
            .transpose()
    }

    /// The consent for this key, if it was given.
    ///
    /// # Errors
    /// When the database cannot be used.
    pub fn find(&self, key: &ConsentKey) -> Result<Option<Consent>, StateError> {
        self.database().read("look for a consent", |connection| {
            connection
                .query_row(
                    &select("WHERE request = ?1"),
                    [key.request().to_string()],
                    consent,
                )
                .optional()
        })
    }

    /// Remembers a consent; a second time changes nothing.
    ///
    /// # Errors
    /// When the database cannot be used.
    pub fn remember(
        &self,
        key: &ConsentKey,
        pod: &Untrusted,
        given_by: GivenBy,
    ) -> Result<(), StateError> {
        self.database().write("remember a consent", |transaction| {
            transaction.execute(
                "INSERT INTO consent (request, component, capabilities, pod, given_by, given_at)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT (request) DO NOTHING",
                params![
                    key.request().to_string(),
                    key.component.to_string(),
                    key.capabilities.to_string(),
                    pod.raw(),
                    given_by.name(),
                    Timestamp::now().as_millisecond(),
                ],
            )
        })?;
        Ok(())
    }

    /// All consents, newest first.
    ///
    /// # Errors
    /// When the database cannot be used.
    pub fn list(&self) -> Result<Vec<Consent>, StateError> {
        self.database().read("list consents", |connection| {
            connection
                .prepare(&select("ORDER BY given_at DESC, request"))?
                .query_map([], consent)?
                .collect()
        })
    }

    /// Forgets the consent whose request digest begins with `prefix`, and answers it.
    ///
    /// # Errors
    /// When no consent begins so, more than one does, or the database cannot be used.
    pub fn revoke(&self, prefix: &str) -> Result<Consent, RevokeError> {
        let digits = prefix
            .bytes()
            .all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        if !digits || !(LEAST_DIGITS..=64).contains(&prefix.len()) {
            return Err(RevokeError::NotAPrefix(prefix.to_owned()));
        }
        self.database().write("revoke a consent", |transaction| {
            let mut found: Vec<Consent> = transaction
                .prepare(&select("WHERE substr(request, 1, length(?1)) = ?1"))?
                .query_map([prefix], consent)?
                .collect::<Result<_, _>>()?;
            Ok(match (found.pop(), found.len()) {
                (None, _) => Err(RevokeError::None(prefix.to_owned())),
                (Some(consent), 0) => {
                    transaction.execute(
                        "DELETE FROM consent WHERE request = ?1",
                        [consent.request.to_string()],
                    )?;
                    Ok(consent)
                }
                (Some(_), others) => Err(RevokeError::Several {
                    prefix: prefix.to_owned(),
                    count: others + 1,
                }),
            })
        })?
    }

    /// Forgets all consents and answers how many there were.
    ///
    /// # Errors
    /// When the database cannot be used.
    pub fn revoke_all(&self) -> Result<usize, StateError> {
        self.database().write("revoke all consents", |transaction| {
            transaction.execute("DELETE FROM consent", [])
        })
    }

    fn database(&self) -> MutexGuard<'_, Database> {
        // A panic in between left at most a transaction behind, and that was rolled back.
        self.database.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn select(condition: &str) -> String {
    format!(
        "SELECT request, component, capabilities, pod, given_by, given_at FROM consent {condition}"
    )
}

fn consent(row: &Row<'_>) -> rusqlite::Result<Consent> {
    Ok(Consent {
        request: column(row, 0)?,
        key: ConsentKey {
            component: column(row, 1)?,
            capabilities: column(row, 2)?,
        },
        pod: Untrusted::new(row.get::<_, String>(3)?),
        given_by: row.get(4)?,
        given_at: timestamp(row, 5)?,
    })
}

/// Why nothing was revoked.
#[derive(Debug, thiserror::Error)]
pub enum RevokeError {
    /// Not the beginning of a digest.
    #[error("{} is not the beginning of a request digest; write at least 4 of its hexadecimal digits", quote(.0))]
    NotAPrefix(String),
    /// No consent begins so.
    #[error("no consent begins with {0}; `sovr-host consent list` shows what there is")]
    None(String),
    /// Several do.
    #[error("{count} consents begin with {prefix}; write more digits")]
    Several {
        /// What was given.
        prefix: String,
        /// How many begin so.
        count: usize,
    },
    /// The database cannot be used.
    #[error(transparent)]
    State(#[from] StateError),
}

#[cfg(test)]
mod tests {
    use super::*;

    fn store() -> (tempfile::TempDir, ConsentStore) {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::at(dir.path());
        home.prepare().unwrap();
        (dir, ConsentStore::open(&home).unwrap())
    }

    fn key(component: &str, capabilities: &str) -> ConsentKey {
        ConsentKey {
            component: Digest::of(component),
            capabilities: Digest::of(capabilities),
        }
    }

    #[test]
    fn a_consent_is_remembered_for_exactly_this_code_and_this_request() {
        let (dir, store) = store();
        let given = key("code", "caps");
        assert_eq!(store.find(&given).unwrap(), None);
        store
            .remember(&given, &Untrusted::new("pod\u{1b}"), GivenBy::Yes)
            .unwrap();
        store
            .remember(&given, &Untrusted::new("again"), GivenBy::Prompt)
            .unwrap();

        let store = ConsentStore::open(&Home::at(dir.path())).unwrap();
        let found = store.find(&given).unwrap().unwrap();
        assert_eq!(
            (found.pod.raw(), found.given_by),
            ("pod\u{1b}", GivenBy::Yes)
        );
        for other in [
            key("code2", "caps"),
            key("code", "caps2"),
            key("caps", "code"),
        ] {
            assert_eq!(store.find(&other).unwrap(), None);
        }
    }

    #[test]
    fn a_consent_is_revoked_by_the_beginning_of_its_digest() {
        let (_dir, store) = store();
        let (one, other) = (key("1", ""), key("2", ""));
        store
            .remember(&one, &"one".into(), GivenBy::Prompt)
            .unwrap();
        store
            .remember(&other, &"other".into(), GivenBy::Allow)
            .unwrap();
        assert_eq!(store.list().unwrap().len(), 2);

        let digest = one.request().to_string();
        assert_eq!(store.revoke(&digest[..12]).unwrap().key, one);
        assert_eq!(store.find(&one).unwrap(), None);
        assert!(store.find(&other).unwrap().is_some());
        assert!(matches!(
            store.revoke(&digest[..12]),
            Err(RevokeError::None(_))
        ));
        assert_eq!(store.revoke_all().unwrap(), 1);
        assert_eq!(store.list().unwrap(), []);
    }

    #[test]
    fn an_ambiguous_or_malformed_beginning_revokes_nothing() {
        let (_dir, store) = store();
        // Two requests that share their first four digits; found by trying.
        let mut seen = std::collections::HashMap::new();
        let (one, other) = (0..)
            .find_map(|n: u32| {
                let key = key(&n.to_string(), "");
                let begin = key.request().to_string()[..4].to_owned();
                seen.insert(begin, key).map(|earlier| (earlier, key))
            })
            .unwrap();
        store
            .remember(&one, &"one".into(), GivenBy::Prompt)
            .unwrap();
        store
            .remember(&other, &"other".into(), GivenBy::Prompt)
            .unwrap();
        let begin = &one.request().to_string()[..4];
        assert!(matches!(
            store.revoke(begin),
            Err(RevokeError::Several { count: 2, .. })
        ));
        for prefix in ["", "abc", "%", "____", "ABCD", "abcd'", "*"] {
            assert!(
                matches!(store.revoke(prefix), Err(RevokeError::NotAPrefix(_))),
                "{prefix}"
            );
        }
        assert_eq!(store.list().unwrap().len(), 2);
    }
}
