//! The pods of a task into their directories.
//!
//! A pod lies beside the task's recipe under the name that its owner gave it; a second one of that name gets a number.
//! What is there from an earlier run stays, with its outputs, as long as it is the archive that the lock file pins. When
//! the user has pinned another one since, the old directory is kept under the digest of what it was.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use sovr_pod::lock::Lock;
use sovr_pod::task::TaskDirectory;
use sovr_pod::{Tree, lock};
use sovr_protocol::Protocol;

use super::Step;
use crate::error::Error;
use crate::event::{Event, Observer};

/// What lies in a task's directory besides its pods, or may.
const OWN_NAMES: [&str; 7] = [
    "payload",
    "script",
    "output",
    "logs",
    "tmp",
    "recipe.json",
    "sovr.lock",
];

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
    let mut taken: HashSet<String> = OWN_NAMES.map(str::to_owned).into();
    let mut staged = Vec::new();
    for (index, pod) in pods.iter().enumerate() {
        let reference = sovr_protocol::payload::parse_reference(pod)?;
        let name = protocol.name_of(&reference).await?;
        let directory = free_name(&mut taken, name.as_str());
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

/// A name for a pod's directory that no earlier pod of the task has: its own, or that with a number.
fn free_name(taken: &mut HashSet<String>, name: &str) -> String {
    let numbered = (2..).map(|number| format!("{name}-{number}"));
    let mut names = std::iter::once(name.to_owned()).chain(numbered);
    // There are more numbers than pods.
    let free = names.find(|name| taken.insert(name.to_ascii_lowercase()));
    free.unwrap_or_default()
}

/// Whether a directory holds the archive that is pinned for a reference.
fn is_pinned_fork(place: &Path, reference: &str, lock: &Lock) -> Result<bool, Error> {
    let Some(origin) = origin(place)? else {
        return Ok(false);
    };
    let pinned = lock.pin(reference, &format!("/{}.zip", origin.pod));
    Ok(origin.reference == reference && pinned.is_some_and(|pin| pin.sha256 == origin.sha256))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_pod_of_a_task_has_a_directory_of_its_own_and_none_the_tasks() {
        let mut taken = OWN_NAMES.map(str::to_owned).into();
        let names = ["a", "A", "a-2", "payload", "Recipe.json", "a"];
        let given = names.map(|name| free_name(&mut taken, name));
        assert_eq!(
            given,
            ["a", "A-2", "a-2-2", "payload-2", "Recipe.json-2", "a-3"]
        );
    }
}
