//! What a provider that was killed has left at the daemon: an offer that nobody answers any more, and agreements whose
//! requestors would wait for minutes before they give it up.
//!
//! Each run of a provider writes its session and its offers to a file, which is removed when all has ended in order. The
//! file is locked for as long as the run lives: the kernel drops the lock with the process, and the next run ends what
//! stands in files that nobody holds. Work directories are left to [`crate::exe_unit::scratch`], which does the same.

use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};

use super::again;
use crate::network::NodeId;
use crate::yagna::{Daemon, DaemonError, ErrorKind};

const PREFIX: &str = "provider-";
/// A run of a year has an offer each hour: some hundred bytes for each.
const MOST_BYTES: u64 = 2 << 20;
/// What requestors are told.
const CODE: &str = "Interrupted";
const REASON: &str = "the provider's program was interrupted";

/// The file of this run.
pub(super) struct Trace {
    path: PathBuf,
    /// Locked.
    file: File,
}

/// What a run has left.
struct Left {
    trace: Trace,
    session: String,
    offers: Vec<String>,
}

impl Trace {
    pub(super) fn begin(scratch: &Path, node: &NodeId, session: &str) -> io::Result<Self> {
        std::fs::create_dir_all(scratch)?;
        // Nobody looks while the file is there and not yet locked.
        let lookers = File::open(scratch)?;
        flock(&lookers, FlockOperation::LockShared)?;
        let path = scratch.join(format!("{PREFIX}{session}"));
        let mut file = File::create_new(&path)?;
        flock(&file, FlockOperation::NonBlockingLockExclusive)?;
        writeln!(file, "{node}\n{session}")?;
        Ok(Self { path, file })
    }

    /// An offer was published.
    pub(super) fn offered(&self, id: &str) -> io::Result<()> {
        writeln!(&self.file, "{id}")
    }

    /// All has ended.
    pub(super) fn end(&self) -> io::Result<()> {
        std::fs::remove_file(&self.path)
    }
}

/// Ends what runs on behalf of this node have left, and answers which agreements those were; or why that did not work,
/// for another run to try.
pub(super) async fn end_left(
    daemon: &Daemon,
    scratch: &Path,
    node: &NodeId,
) -> Result<Vec<String>, DaemonError> {
    let mut ended = Vec::new();
    for left in find(scratch, node) {
        for offer in &left.offers {
            match again(|| daemon.withdraw_offer(offer)).await {
                Err(error) if error.kind != ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        let in_force = again(|| daemon.agreements_in_force()).await?;
        for agreement in again(|| daemon.agreements(&left.session)).await? {
            if in_force.iter().any(|entry| entry.id == agreement.id) {
                again(|| daemon.break_agreement(&agreement.id, CODE, REASON)).await?;
                ended.push(agreement.id);
            }
        }
        // Next time it would find nothing to do.
        let _ = left.trace.end();
    }
    Ok(ended)
}

/// The files that nobody holds. What cannot be read is not ours.
fn find(scratch: &Path, node: &NodeId) -> Vec<Left> {
    let Ok(makers) = File::open(scratch) else {
        return Vec::new();
    };
    if flock(&makers, FlockOperation::NonBlockingLockExclusive).is_err() {
        return Vec::new();
    }
    let Ok(entries) = std::fs::read_dir(scratch) else {
        return Vec::new();
    };
    let names = entries.flatten().filter(|entry| {
        let name = entry.file_name();
        name.to_string_lossy().starts_with(PREFIX)
    });
    names.filter_map(|entry| read(entry.path(), node)).collect()
}

fn read(path: PathBuf, node: &NodeId) -> Option<Left> {
    let file = File::open(&path).ok()?;
    flock(&file, FlockOperation::NonBlockingLockExclusive).ok()?;
    let mut text = String::new();
    (&file).take(MOST_BYTES).read_to_string(&mut text).ok()?;
    let mut lines = text.lines().map(str::to_owned);
    // With another identity, the daemon would know nothing of it.
    let whose = lines.next()?;
    (whose == node.to_string()).then_some(())?;
    Some(Left {
        session: lines.next()?,
        offers: lines.collect(),
        trace: Trace { path, file },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_nobody_holds_is_found_and_only_by_its_node() {
        let scratch = tempfile::tempdir().unwrap();
        let (node, other) = (NodeId::from_bytes([1; 20]), NodeId::from_bytes([2; 20]));
        let trace = Trace::begin(scratch.path(), &node, "session").unwrap();
        trace.offered("first").unwrap();
        trace.offered("second").unwrap();
        assert!(find(scratch.path(), &node).is_empty());
        drop(trace);
        assert!(find(scratch.path(), &other).is_empty());
        let [left] = &find(scratch.path(), &node)[..] else {
            panic!("not one file")
        };
        assert_eq!(left.session, "session");
        assert_eq!(left.offers, ["first", "second"]);
        // Who looks holds them.
        assert!(find(scratch.path(), &node).is_empty());
    }

    #[test]
    fn what_has_ended_leaves_nothing() {
        let scratch = tempfile::tempdir().unwrap();
        let node = NodeId::from_bytes([1; 20]);
        let trace = Trace::begin(scratch.path(), &node, "session").unwrap();
        trace.end().unwrap();
        assert_eq!(std::fs::read_dir(scratch.path()).unwrap().count(), 0);
    }
}
