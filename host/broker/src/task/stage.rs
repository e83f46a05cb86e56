//! The pods of a task into their directories.
//!
//! A pod lies beside the task's recipe under the name that its owner gave it; a second one of that name gets a number.
//! What is there from an earlier run stays, with its outputs, as long as it is the archive that the lock file pins. When
//! the user has pinned another one since, the old directory is kept under the digest of what it was.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use sovr_pod::lock::{Lock, Pin};
use sovr_pod::task::TaskDirectory;
use sovr_pod::{Tree, lock};
use sovr_protocol::Protocol;

use super::Step;
use crate::error::Error;
use crate::event::{Event, Observer};

/// A pod in its directory.
pub(super) struct Staged {
    pub(super) step: Step,
    pub(super) directory: PathBuf,
}

/// Brings all pods of a task into their directories, and pins those that were not pinned.
pub(super) async fn stage(
    protocol: &Protocol,
    task: &TaskDirectory,
    observer: &Arc<dyn Observer>,
) -> Result<Vec<Staged>, Error> {
    let root = task.tree().root();
    let pods = &task.task().pods;
    let mut lock = Lock::read(task.tree())?.unwrap_or_default();
    let mut names: HashMap<String, usize> = HashMap::new();
    let mut staged = Vec::new();
    for (index, pod) in pods.iter().enumerate() {
        let reference = sovr_protocol::payload::parse_reference(pod)?;
        let name = protocol.name_of(&reference).await?;
        let same = names.entry(name.as_str().to_ascii_lowercase()).or_default();
        *same += 1;
        let directory = match *same {
            1 => name.to_string(),
            number => format!("{name}-{number}"),
        };
        let step = Step {
            number: index + 1,
            of: pods.len(),
            directory,
            reference: pod.clone(),
        };
        let place = root.join(&step.directory);
        if !is_pinned_fork(&place, pod, &lock)? {
            make_room(&place, observer)?;
            protocol
                .fork_checked(&reference, root, Some(&step.directory), |path, found| {
                    lock.check(pod, path.as_str(), found, false)
                        .map_err(sovr_protocol::Error::from)?;
                    Ok(())
                })
                .await?;
            // At once: a fork without its pin would be taken for another version the next time.
            lock.write(task.tree())?;
        }
        staged.push(Staged {
            step,
            directory: place,
        });
    }
    Ok(staged)
}

/// Whether a directory holds the archive that is pinned for a reference.
fn is_pinned_fork(place: &Path, reference: &str, lock: &Lock) -> Result<bool, Error> {
    let Some(origin) = origin(place)? else {
        return Ok(false);
    };
    let pinned = lock.references.get(reference);
    let pinned = pinned.and_then(|paths| paths.values().next());
    Ok(origin.reference == reference
        && pinned.is_some_and(|pin: &Pin| pin.sha256 == origin.sha256))
}

fn origin(place: &Path) -> Result<Option<lock::Origin>, Error> {
    if place.symlink_metadata().is_err() {
        return Ok(None);
    }
    let tree = Tree::open(place).map_err(|source| Error::File {
        doing: "open the pod's directory",
        path: place.to_owned(),
        source,
    })?;
    Ok(Lock::read(&tree)?.and_then(|lock| lock.origin))
}

/// Puts an earlier fork aside. What is no fork is the user's, and stays.
fn make_room(place: &Path, observer: &Arc<dyn Observer>) -> Result<(), Error> {
    if place.symlink_metadata().is_err() {
        return Ok(());
    }
    let Some(origin) = origin(place)? else {
        return Err(sovr_pod::Error::Exists {
            path: place.to_owned(),
        }
        .into());
    };
    let name = place.file_name().unwrap_or_default().to_string_lossy();
    let aside = place.with_file_name(format!("{name}-{}", origin.sha256.short()));
    rustix::fs::renameat_with(
        rustix::fs::CWD,
        place,
        rustix::fs::CWD,
        &aside,
        rustix::fs::RenameFlags::NOREPLACE,
    )
    .map_err(|errno| Error::File {
        doing: "put aside the earlier fork in",
        path: place.to_owned(),
        source: errno.into(),
    })?;
    observer.observe(&Event::Notice {
        text: format!(
            "{name} was another version; it is kept as {}",
            aside.display()
        ),
    });
    Ok(())
}
