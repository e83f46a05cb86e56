//! How much a run may leave in its writable directories.
//!
//! The guest writes by itself, and the host writes for it (downloads, logs). What the guest wrote is known only by
//! looking ([`Tree::account`](crate::Tree::account), again and again while it runs); what the host writes is counted
//! before each write, so that a provider's endless file ends at the limit and not at the next look. A file that is
//! finished while a look is under way may be counted twice until the next look: too much, never too little.

use std::sync::{Mutex, MutexGuard, PoisonError};

use sovr_capability::{Limits, Size};

/// What lies in the writable directories.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Usage {
    /// Bytes of all files: length or blocks taken, whichever is more.
    pub bytes: u64,
    /// Files and directories.
    pub files: u64,
}

impl Usage {
    fn plus(self, other: Self) -> Self {
        Self {
            bytes: self.bytes.saturating_add(other.bytes),
            files: self.files.saturating_add(other.files),
        }
    }

    fn minus(self, other: Self) -> Self {
        Self {
            bytes: self.bytes.saturating_sub(other.bytes),
            files: self.files.saturating_sub(other.files),
        }
    }
}

/// More than granted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{limit}`: {used} used, {granted} granted")]
pub struct Exceeded {
    /// Dotted path in `capabilities`: `limits.output` or `limits.files`.
    pub limit: &'static str,
    /// What is used, or would be.
    pub used: String,
    /// What is granted.
    pub granted: String,
}

/// Counts what a run leaves, what the guest writes by itself and what the host writes for it alike.
#[derive(Debug)]
pub struct Quota {
    granted: Usage,
    counts: Mutex<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    /// Found by the last look.
    seen: Usage,
    /// Finished by the host since that look began.
    since: Usage,
    /// Being written by the host.
    partial: Usage,
}

impl Counts {
    fn all(&self) -> Usage {
        self.seen.plus(self.since).plus(self.partial)
    }
}

/// A look under way.
#[derive(Debug)]
pub(crate) struct Look {
    finished_before: Usage,
}

impl Quota {
    /// A quota with these limits.
    #[must_use]
    pub fn new(limits: &Limits) -> Self {
        let granted = Usage {
            bytes: limits.output.as_bytes(),
            files: limits.files,
        };
        Self {
            granted,
            counts: Mutex::default(),
        }
    }

    /// What is used at the moment: what the last look found, and what the host wrote since.
    #[must_use]
    pub fn usage(&self) -> Usage {
        self.counts().all()
    }

    /// Bytes that may still be written.
    #[must_use]
    pub fn left(&self) -> u64 {
        self.granted.bytes.saturating_sub(self.usage().bytes)
    }

    /// What is granted.
    #[must_use]
    pub fn granted(&self) -> Usage {
        self.granted
    }

    pub(crate) fn begin_look(&self) -> Look {
        Look {
            finished_before: self.counts().since,
        }
    }

    pub(crate) fn end_look(&self, look: &Look, seen: Usage) -> Result<Usage, Exceeded> {
        let mut counts = self.counts();
        counts.seen = seen;
        counts.since = counts.since.minus(look.finished_before);
        self.check(counts.all())
    }

    /// One more file by the host.
    pub(crate) fn begin_file(&self) -> Result<(), Exceeded> {
        self.add(Usage { bytes: 0, files: 1 })
    }

    /// More bytes in a file of the host.
    pub(crate) fn grow_file(&self, bytes: u64) -> Result<(), Exceeded> {
        self.add(Usage { bytes, files: 0 })
    }

    /// Bytes that were announced and did not get into the file.
    pub(crate) fn shrink_file(&self, bytes: u64) {
        let mut counts = self.counts();
        counts.partial = counts.partial.minus(Usage { bytes, files: 0 });
    }

    fn add(&self, more: Usage) -> Result<(), Exceeded> {
        let mut counts = self.counts();
        self.check(counts.all().plus(more))?;
        counts.partial = counts.partial.plus(more);
        Ok(())
    }

    /// A file of the host is complete, or was given up.
    pub(crate) fn end_file(&self, bytes: u64, complete: bool) {
        let file = Usage { bytes, files: 1 };
        let mut counts = self.counts();
        counts.partial = counts.partial.minus(file);
        if complete {
            counts.since = counts.since.plus(file);
        }
    }

    fn check(&self, usage: Usage) -> Result<Usage, Exceeded> {
        let granted = self.granted;
        if usage.bytes > granted.bytes {
            let (used, granted) = (
                Size::bytes(usage.bytes).rounded(),
                Size::bytes(granted.bytes).to_string(),
            );
            return Err(Exceeded {
                limit: "limits.output",
                used,
                granted,
            });
        }
        if usage.files > granted.files {
            let (used, granted) = (usage.files.to_string(), granted.files.to_string());
            return Err(Exceeded {
                limit: "limits.files",
                used,
                granted,
            });
        }
        Ok(usage)
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn quota(bytes: u64, files: u64) -> Quota {
        Quota::new(&Limits {
            output: Size::bytes(bytes),
            files,
            ..Limits::DEFAULT
        })
    }

    #[test]
    fn host_and_guest_share_one_limit() {
        let quota = quota(100, 10);
        quota
            .end_look(
                &quota.begin_look(),
                Usage {
                    bytes: 60,
                    files: 1,
                },
            )
            .unwrap();
        quota.begin_file().unwrap();
        quota.grow_file(40).unwrap();
        let error = quota.grow_file(1).unwrap_err();
        assert_eq!(
            error.to_string(),
            "`limits.output`: 101 bytes used, 100 granted"
        );
        assert_eq!(quota.left(), 0);
        quota.end_file(40, false);
        assert_eq!(quota.left(), 40);
    }

    #[test]
    fn files_are_counted_too() {
        let quota = quota(100, 2);
        quota.begin_file().unwrap();
        quota.end_file(0, true);
        quota.begin_file().unwrap();
        assert_eq!(quota.begin_file().unwrap_err().limit, "limits.files");
    }

    #[test]
    fn a_file_finished_during_a_look_is_not_forgotten() {
        let quota = quota(100, 10);
        quota.begin_file().unwrap();
        quota.grow_file(30).unwrap();
        let look = quota.begin_look();
        quota.end_file(30, true);
        // The look came past before the file had its name.
        quota.end_look(&look, Usage::default()).unwrap();
        assert_eq!(
            quota.usage(),
            Usage {
                bytes: 30,
                files: 1
            }
        );
        // The next look finds it, and it is counted once.
        quota
            .end_look(
                &quota.begin_look(),
                Usage {
                    bytes: 30,
                    files: 1,
                },
            )
            .unwrap();
        assert_eq!(
            quota.usage(),
            Usage {
                bytes: 30,
                files: 1
            }
        );
    }

    #[test]
    fn nothing_overflows() {
        let quota = quota(u64::MAX, u64::MAX);
        quota.begin_file().unwrap();
        quota.grow_file(u64::MAX).unwrap();
        quota.grow_file(u64::MAX).unwrap();
        assert_eq!(quota.left(), 0);
    }
}
