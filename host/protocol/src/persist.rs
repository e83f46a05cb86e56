//! A directory into storage: archive and recipe, shared if it says so, written into the user's books, and its output
//! beside it.
//!
//! Everything that can be refused is looked at first: names, the tree, the output's place, the books, and whether the pods
//! can be written. Then the archive is packed straight into storage. A pod that was persisted before is replaced file by
//! file, each whole or not at all; one that is made for an archive which then cannot be stored is taken away again.

use std::path::{Path, PathBuf};

use serde::Serialize;
use serde_json::{Map, Value};
use sovr_capability::{Digest, Untrusted};
use sovr_dfs::{Access, DfsPath, Place, PodName};
use sovr_pod::archive::{self, Archive, LeftOut, Written};
use sovr_pod::lock::Lock;
use sovr_pod::{Document, GuestPath, Tree};

use crate::names::{self, RECIPE};
use crate::{Error, Protocol};

/// What goes along.
#[derive(Debug, Clone, Copy, Default)]
pub struct Contents {
    /// What earlier runs left in `output/` and `logs/`.
    pub outputs: bool,
}

/// A pod or task that is now in storage.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Persisted {
    /// Its name there.
    pub pod: String,
    /// Bytes of its archive.
    pub size: u64,
    /// Digest of its archive: the same tree gives the same.
    pub sha256: Digest,
    /// What was left out of it.
    pub left_out: Vec<LeftOut>,
    /// How others get it, if it is public.
    pub reference: Option<String>,
    /// References of earlier times, by which others read it although it is not public any more.
    pub still_shared: Vec<String>,
    /// Its output, if the recipe shares it.
    pub output: Option<SharedOutput>,
}

/// The output of a pod, shared for itself.
#[derive(Debug, Serialize)]
#[serde(
    tag = "state",
    rename_all = "kebab-case",
    rename_all_fields = "kebab-case"
)]
pub enum SharedOutput {
    /// It can be used in `golem.payload` of other pods.
    Shared {
        /// The pod it is in.
        pod: String,
        /// How others get it.
        reference: String,
        /// Its archive in that pod.
        data: String,
        /// Files in it.
        files: u64,
        /// Bytes of its archive.
        size: u64,
    },
    /// There is nothing to share: the pod has not run, or left nothing there.
    Nothing {
        /// Where it was looked for.
        directory: PathBuf,
    },
}

impl Protocol {
    /// Persists the pod or task whose recipe or directory is at `path`.
    ///
    /// # Errors
    /// When it is not one, cannot be packed, or storage refuses it.
    pub async fn persist(&self, path: &Path, contents: Contents) -> Result<Persisted, Error> {
        let (source, document) = Document::read(path)?;
        let share = match &document {
            Document::Pod(recipe) => recipe.share.clone(),
            Document::Task(_) => None,
        };
        let pod = names::own(document.name())?;
        let tree = source.tree();
        // A run that is under way would change the tree while it is packed.
        let _held = source.lock()?;
        let archive = archive::plan(
            tree,
            archive::Contents {
                kind: match &document {
                    Document::Pod(_) => archive::Kind::Pod,
                    Document::Task(_) => archive::Kind::Task,
                },
                outputs: contents.outputs,
                recipe: source.bytes().to_vec(),
                lock: Lock::read(tree)?
                    .filter(|lock| !lock.references.is_empty())
                    .map(|lock| lock.without_origin().to_bytes()),
            },
        )?;
        let output = match share {
            Some(directory) => Some(plan_output(tree, &pod, directory)?),
            None => None,
        };
        self.check_books(pod.as_str(), document.document()).await?;
        self.has_own(&pod).await?;
        if let Some(Output::Planned { pod, .. }) = &output {
            self.has_own(pod).await?;
        }

        let mut persisted = self
            .store_and_enter(
                &pod,
                archive,
                source.bytes(),
                document.document(),
                document.public(),
            )
            .await?;
        if let Some(output) = output {
            persisted.output = Some(self.share_output(output, document.document()).await?);
        }
        Ok(persisted)
    }

    /// Stores a pod, shares it if it is public, and enters it into the books.
    pub(crate) async fn store_and_enter(
        &self,
        pod: &PodName,
        archive: Archive,
        text: &[u8],
        recipe: &Map<String, Value>,
        public: bool,
    ) -> Result<Persisted, Error> {
        let left_out = archive.left_out().to_vec();
        let Written { size, sha256 } = self.store(pod, archive, Some(text)).await?;
        let reference = match public {
            true => Some(self.dfs().share(pod).await?),
            false => None,
        };
        let still_shared = self
            .remember_persisted(pod, recipe, reference.as_ref())
            .await?;
        Ok(Persisted {
            still_shared,
            pod: pod.to_string(),
            size,
            sha256,
            left_out,
            reference: reference.map(|reference| reference.to_string()),
            output: None,
        })
    }

    /// Puts an archive, and perhaps a recipe, into the user's own pod of this name, which is made if there is none.
    async fn store(
        &self,
        pod: &PodName,
        archive: Archive,
        recipe: Option<&[u8]>,
    ) -> Result<Written, Error> {
        let path = names::archive_of(pod)?;
        let made = self.make_own(pod).await?;
        let stored = self.store_archive(pod, &path, archive).await;
        if stored.is_err() && made {
            self.remove_empty(pod).await;
        }
        let written = stored?;
        let mut files = vec![(path, written.size)];
        if let Some(mut recipe) = recipe {
            let path = names::in_root(RECIPE)?;
            let size = self.dfs().write(pod, &path, &mut recipe).await?;
            files.push((path, size));
        }
        // Before it is shared or in a book.
        self.dfs().confirm(pod, &files).await?;
        Ok(written)
    }

    /// Whether the user has this pod. One that they received is an error, because it cannot be written.
    pub(crate) async fn has_own(&self, pod: &PodName) -> Result<bool, Error> {
        match self.dfs().pod(pod).await {
            Ok(found) if found.access == Access::Own => Ok(true),
            Ok(_) if sovr_pod::names::is_reserved(pod.as_str()) => {
                Err(Error::Squatted { pod: pod.clone() })
            }
            Ok(_) => Err(Error::Name {
                place: "the recipe's `name`",
                given: Untrusted::new(pod.as_str()),
                why: "a pod that you received from somebody else has it; give yours another"
                    .to_owned(),
            }),
            Err(sovr_dfs::Error::NoSuchPod { .. }) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Sees to it that the user has this pod and may write to it. Answers whether it was made.
    pub(crate) async fn make_own(&self, pod: &PodName) -> Result<bool, Error> {
        let make = !self.has_own(pod).await?;
        if make {
            self.dfs().create_pod(pod).await?;
        }
        Ok(make)
    }

    /// Takes away a pod that was made in vain, unless somebody has written to it meanwhile.
    async fn remove_empty(&self, pod: &PodName) {
        let listed = self.dfs().list(&Place::from(pod), &DfsPath::root()).await;
        if listed.is_ok_and(|entries| entries.is_empty()) {
            // The error that brought us here is the one to tell; an empty pod is no compute pod.
            let _ = self.dfs().delete_pod(pod).await;
        }
    }

    async fn share_output(
        &self,
        output: Output,
        recipe: &Map<String, Value>,
    ) -> Result<SharedOutput, Error> {
        let (pod, archive) = match output {
            Output::Planned { pod, archive } => (pod, archive),
            Output::Nothing { directory } => return Ok(SharedOutput::Nothing { directory }),
        };
        let files = files(&archive);
        let Written { size, .. } = self.store(&pod, archive, None).await?;
        let reference = self.dfs().share(&pod).await?;
        self.remember_shared(&pod, recipe, &reference).await?;
        Ok(SharedOutput::Shared {
            data: names::archive_of(&pod)?.as_str().to_owned(),
            pod: pod.to_string(),
            reference: reference.to_string(),
            files,
            size,
        })
    }
}

enum Output {
    Planned { pod: PodName, archive: Archive },
    Nothing { directory: PathBuf },
}

fn plan_output(tree: &Tree, pod: &PodName, directory: GuestPath) -> Result<Output, Error> {
    let pod = names::output_of(pod)?;
    let place = tree.root().join(directory.as_str());
    let nothing = Output::Nothing {
        directory: place.clone(),
    };
    if place.symlink_metadata().is_err() {
        return Ok(nothing);
    }
    let archive = archive::plan_directory(tree, &directory)?;
    match files(&archive) {
        0 => Ok(nothing),
        _ => Ok(Output::Planned { pod, archive }),
    }
}

fn files(archive: &Archive) -> u64 {
    let members = archive.members().iter();
    members.filter(|member| member.size().is_some()).count() as u64
}
