//! Archives of shared pods: pinned, fetched, unpacked into `payload/external`.
//!
//! A recipe names an archive by a reference and a path. The reference is a pointer, so what it leads to is compared with
//! `sovr.lock` before anything is unpacked: unknown archives are pinned, changed ones refused.

use std::path::Path;
use std::sync::Arc;

use serde::Serialize;
use sovr_capability::Untrusted;
use sovr_dfs::{DfsPath, Place, Reference};
use sovr_pod::external::Collision;
use sovr_pod::lock::{Checked, Lock, Pin};
use sovr_pod::recipe::ExternalPayload;
use sovr_pod::{Document, External, GuestPath, Tree};
use sovr_runtime::archive::{self, ArchiveLimits};

use crate::{Error, Protocol, names};

/// What `payload/external` is made of, in this order.
#[derive(Debug, Default)]
pub struct Sources<'a> {
    /// Archives that the recipe names.
    pub archives: &'a [ExternalPayload],
    /// Packages of the recipe: code, which only the archives supply.
    pub packages: Vec<GuestPath>,
    /// Directories that lie over the archives, in order.
    pub directories: Vec<SourceDirectory>,
}

/// A directory that a task hands to a pod.
#[derive(Debug, Clone)]
pub struct SourceDirectory {
    /// The tree it lies in.
    pub tree: Arc<Tree>,
    /// Where in it.
    pub directory: GuestPath,
    /// What it is, in words, such as `the task's payload`.
    pub words: String,
}

/// What was gathered.
#[derive(Debug, Clone, Default, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Gathered {
    /// The archives with what they were found to be.
    pub archives: Vec<Pinned>,
    /// Files that took the place of others.
    pub collisions: Vec<Collision>,
}

/// An archive and the content that it is pinned to.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Pinned {
    /// The shared pod.
    pub reference: String,
    /// The archive in it.
    pub path: Untrusted,
    /// What it holds.
    pub pin: Pin,
    /// Whether that is new.
    pub state: Checked,
}

impl Protocol {
    /// Lays out `payload/external` of a pod or a task anew, and pins what was not pinned yet. The caller holds the
    /// directory's lock. Without any source nothing is touched.
    ///
    /// # Errors
    /// When an archive is not there, has changed, or is refused; the directory is then as it was.
    pub async fn gather(&self, tree: &Arc<Tree>, sources: Sources<'_>) -> Result<Gathered, Error> {
        if sources.archives.is_empty() && sources.directories.is_empty() {
            return Ok(Gathered::default());
        }
        let mut lock = Lock::read(tree)?.unwrap_or_default();
        let mut external = External::begin(tree, &sources.packages)?;
        let mut archives = Vec::new();
        for entry in sources.archives {
            let (place, path) = located(entry)?;
            let incoming = external.incoming()?;
            let (file, pin) = self.fetch(&place, &path, &incoming).await?;
            let state = lock.check(&entry.reference, path.as_str(), &pin, false)?;
            archive::unpack(file, &incoming, &ArchiveLimits::default())
                .await
                .map_err(|source| Error::Archive {
                    archive: format!("the archive {path} of {place}"),
                    source,
                })?;
            external = blocking(move || {
                external.merge(&format!("the archive {path} of {place}"))?;
                Ok(external)
            })
            .await?;
            archives.push(Pinned {
                reference: entry.reference.clone(),
                path: entry.data.clone(),
                pin,
                state,
            });
        }
        let directories = sources.directories;
        let external = blocking(move || {
            for source in &directories {
                external.copy(&source.tree, &source.directory, &source.words)?;
            }
            Ok(external)
        })
        .await?;
        // Pinned first: nothing lies there that is not.
        if archives
            .iter()
            .any(|archive| archive.state != Checked::Same)
        {
            lock.write(tree)?;
        }
        let collisions = external.finish()?;
        Ok(Gathered {
            archives,
            collisions,
        })
    }

    /// Pins everything that a pod or task names by reference: archives of payloads, and a task's pods. With `update`,
    /// what has changed is pinned anew; else it is refused.
    ///
    /// # Errors
    /// When something is not there, or has changed. The lock file is then as it was.
    pub async fn lock(&self, path: &Path, update: bool) -> Result<Vec<Pinned>, Error> {
        let (source, document) = Document::read(path)?;
        let tree = source.tree();
        let _held = source.lock()?;
        let (payload, pods): (_, &[String]) = match &document {
            Document::Pod(recipe) => (&recipe.external, &[]),
            Document::Task(task) => (&task.payload, &task.pods),
        };
        let mut wanted = Vec::new();
        for pod in pods {
            let reference = parse_reference(pod)?;
            let place = Place::from(&reference);
            let (pinned_as, path) = self.shared_archive(&reference).await?;
            wanted.push((pod.clone(), place, path, pinned_as));
        }
        for entry in payload {
            let (place, path) = located(entry)?;
            wanted.push((entry.reference.clone(), place, path.clone(), path));
        }
        let mut lock = Lock::read(tree)?.unwrap_or_default();
        let mut pinned = Vec::new();
        for (reference, place, path, pinned_as) in wanted {
            let (_, pin) = self.fetch(&place, &path, tree.root()).await?;
            let state = lock.check(&reference, pinned_as.as_str(), &pin, update)?;
            pinned.push(Pinned {
                reference,
                path: Untrusted::new(pinned_as.as_str()),
                pin,
                state,
            });
        }
        if pinned.iter().any(|pinned| pinned.state != Checked::Same) {
            lock.write(tree)?;
        }
        Ok(pinned)
    }
}

/// The place and path of an archive.
fn located(entry: &ExternalPayload) -> Result<(Place, DfsPath), Error> {
    let reference = parse_reference(&entry.reference)?;
    let path = entry.data.raw().parse().map_err(sovr_dfs::Error::from)?;
    Ok((Place::from(reference), path))
}

/// A reference from a recipe.
///
/// # Errors
/// When it is not one that this program can use.
pub fn parse_reference(text: &str) -> Result<Reference, Error> {
    text.parse()
        .map_err(|error: sovr_dfs::swarm::ReferenceError| names::wrong_reference(text, &error))
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, sovr_pod::Error> + Send + 'static,
) -> Result<T, Error> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => Ok(done?),
        Err(panicked) => std::panic::resume_unwind(panicked.into_panic()),
    }
}
