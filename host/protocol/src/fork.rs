//! A stored pod into a fresh directory: by its sharing reference, or by its name among the user's pods.
//!
//! Everything is built in a hidden directory beside the place where it will be, and appears there by one rename: an
//! archive that is refused half-way, a full disk or Ctrl-C leave nothing behind. A directory that exists is never
//! touched, because a name comes from a stranger and may be that of anything that lies there.

use std::path::{Path, PathBuf};

use serde_json::{Map, Value};
use sovr_capability::difference::{Change, difference};
use sovr_capability::{Digest, Untrusted};
use sovr_dfs::fairos::AccountError;
use sovr_dfs::{DfsPath, Place, PodName, Reference};
use sovr_pod::lock::{Lock, Origin, Pin};
use sovr_pod::{Document, FreshDirectory, Recipe, Tree, recipe};
use sovr_runtime::archive::{self, ArchiveLimits};

use crate::names::{self, RECIPE};
use crate::{Error, Protocol, documents};

/// Directories of a pod that an archive leaves out when they are empty, and scripts expect.
const AREAS: [&str; 4] = ["script", "payload", "output", "logs"];

/// A pod that now lies in a directory.
#[derive(Debug)]
pub struct Forked {
    /// Where.
    pub directory: PathBuf,
    /// What its owner calls it.
    pub name: PodName,
    /// The reference it came by; none for one of the user's own pods.
    pub reference: Option<Reference>,
    /// The archive it came in.
    pub archive: Pin,
    /// Its recipe, an object.
    pub recipe: Value,
    /// What is odd and no error; safe to show.
    pub remarks: Vec<String>,
}

/// What would change if an earlier fork were replaced by what a reference stands for now.
#[derive(Debug)]
pub struct Comparison {
    /// What its owner calls it.
    pub name: PodName,
    /// The archive of the earlier fork, where its lock file knows it.
    pub before: Option<Pin>,
    /// The archive as it is now.
    pub after: Pin,
    /// The component before and after, where it is another.
    pub component: Option<(Option<Digest>, Option<Digest>)>,
    /// `golem.exec` before and after, where it is another.
    pub exec: Option<(Untrusted, Untrusted)>,
    /// What it asks for now and did not, and the other way round.
    pub changes: Vec<Change>,
}

/// Whether the recipe beside an archive is good enough, where there is none in it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Beside {
    /// The user looks at what came.
    Counts,
    /// The archive was looked at before, and its digest says that it is the same; of what lies beside it, it says nothing.
    DoesNotCount,
}

/// What was fetched and unpacked.
struct Brought {
    archive: Pin,
    document: Map<String, Value>,
    remarks: Vec<String>,
}

/// A pod that lies ready and does not have its place yet.
struct Ready {
    fresh: FreshDirectory,
    forked: Forked,
}

impl Ready {
    fn keep(self) -> Result<Forked, Error> {
        self.fresh.keep()?;
        Ok(self.forked)
    }
}

impl Protocol {
    /// Brings what `reference` stands for into a new directory beneath `parent`, called `directory`, or as its owner
    /// calls it. Pins its archive in `sovr.lock` and writes it into the user's book of forks, if the user has an account.
    ///
    /// # Errors
    /// When there is no such pod, it is refused, or something has that name already; also when the book cannot be
    /// written. No directory is made then.
    pub async fn fork(
        &self,
        reference: &Reference,
        parent: &Path,
        directory: Option<&str>,
    ) -> Result<Forked, Error> {
        let with_account = with_account(self.check_book_of_forks().await)?.is_some();
        let name = self.name_for_a_look(reference).await?;
        let mut ready = self
            .ready_fork(
                reference,
                name,
                parent,
                directory,
                Beside::Counts,
                |_, _| Ok(()),
            )
            .await?;
        if with_account {
            self.remember_fork(reference, &ready.forked).await?;
        } else {
            let remark =
                "it is not kept in your list of forks, because you have no account in this storage";
            ready.forked.remarks.push(remark.to_owned());
        }
        ready.keep()
    }

    /// [`Protocol::fork`] without the book, for a caller who has an opinion on the archive: `check` is told the path that
    /// it is pinned under and its digest before it is unpacked.
    ///
    /// # Errors
    /// As those of [`Protocol::fork`], and what `check` answers.
    pub async fn fork_checked(
        &self,
        reference: &Reference,
        parent: &Path,
        directory: Option<&str>,
        check: impl FnOnce(&DfsPath, &Pin) -> Result<(), Error>,
    ) -> Result<Forked, Error> {
        let name = self.name_of(reference).await?;
        self.ready_fork(
            reference,
            name,
            parent,
            directory,
            Beside::DoesNotCount,
            check,
        )
        .await?
        .keep()
    }

    async fn ready_fork(
        &self,
        reference: &Reference,
        name: PodName,
        parent: &Path,
        directory: Option<&str>,
        beside: Beside,
        check: impl FnOnce(&DfsPath, &Pin) -> Result<(), Error>,
    ) -> Result<Ready, Error> {
        let fresh = FreshDirectory::new(parent, directory.unwrap_or(name.as_str()))?;
        let brought = self
            .bring(&Place::from(reference), &name, fresh.path(), beside, check)
            .await?;
        let origin = Origin {
            reference: reference.to_string(),
            pod: name.to_string(),
            sha256: brought.archive.sha256,
            size: brought.archive.size,
        };
        make_ready(fresh, name, Some((*reference, origin)), brought)
    }

    /// Brings one of the user's pods into a new directory beneath `parent`: one they persisted, one they received, or
    /// one they forked before, which must still be what it was then unless `update`.
    ///
    /// # Errors
    /// As those of [`Protocol::fork`]; also when a fork has changed since.
    pub async fn import(
        &self,
        name: &str,
        parent: &Path,
        directory: Option<&str>,
        update: bool,
    ) -> Result<Forked, Error> {
        let pod: PodName = name.parse().map_err(sovr_dfs::Error::from)?;
        match self.dfs().pod(&pod).await {
            Ok(_) => {}
            Err(sovr_dfs::Error::NoSuchPod { .. }) => {
                return self.import_fork(pod, parent, directory, update).await;
            }
            Err(error) => return Err(error.into()),
        }
        let fresh = FreshDirectory::new(parent, directory.unwrap_or(name))?;
        let brought = self
            .bring(
                &Place::from(&pod),
                &pod,
                fresh.path(),
                Beside::Counts,
                |_, _| Ok(()),
            )
            .await?;
        make_ready(fresh, pod, None, brought)?.keep()
    }

    async fn import_fork(
        &self,
        name: PodName,
        parent: &Path,
        directory: Option<&str>,
        update: bool,
    ) -> Result<Forked, Error> {
        let (reference, pinned) = self.remembered_fork(&name).await?;
        // Under the name that the user said: its owner may call it otherwise by now.
        let directory = directory.unwrap_or(name.as_str());
        let beside = match update {
            true => Beside::Counts,
            false => Beside::DoesNotCount,
        };
        let called = self.name_of(&reference).await?;
        let ready = self
            .ready_fork(
                &reference,
                called,
                parent,
                Some(directory),
                beside,
                |_, found| {
                    if found.sha256 == pinned || update {
                        return Ok(());
                    }
                    Err(Error::ForkChanged {
                        name: name.to_string(),
                        reference: Box::new(reference),
                        forked: pinned,
                        found: found.sha256,
                    })
                },
            )
            .await?;
        if ready.forked.archive.sha256 != pinned {
            self.remember_fork(&reference, &ready.forked).await?;
        }
        ready.keep()
    }

    /// What a shared pod is called by its owner. Checked: it can be the name of a directory.
    ///
    /// # Errors
    /// When nothing is shared under the reference, or the name cannot be used.
    pub async fn name_of(&self, reference: &Reference) -> Result<PodName, Error> {
        names::of_a_stranger(&self.dfs().share_info(reference).await?.pod_name)
    }

    /// The same where a storage does not say it without an account: the name that its only archive has there. The owner
    /// could give that another one, so nothing may be pinned under it.
    async fn name_for_a_look(&self, reference: &Reference) -> Result<PodName, Error> {
        if let Some(name) = with_account(self.name_of(reference).await)? {
            return Ok(name);
        }
        let place = Place::from(reference);
        let name = documents::only_archive(&self.dfs().list(&place, &DfsPath::root()).await?);
        let name = name.ok_or_else(|| Error::NotAPod {
            place: place.to_string(),
            problem: "its root does not have one archive".to_owned(),
        })?;
        names::of_a_stranger(&name)
    }

    /// The path that the archive of a shared pod is pinned under, and the one where it lies. The first is always that of
    /// the documentation: if it were the second, an owner could get around a pin by giving the file another name.
    ///
    /// # Errors
    /// When nothing is shared under the reference, or it is not a compute pod.
    pub(crate) async fn shared_archive(
        &self,
        reference: &Reference,
    ) -> Result<(DfsPath, DfsPath), Error> {
        let name = self.name_of(reference).await?;
        let place = Place::from(reference);
        let front = self.front(&place, &name).await?;
        let path = front.archive.ok_or_else(|| no_archive(&place, &name))?;
        Ok((names::archive_of(&name)?, path))
    }

    /// What an earlier fork in `earlier` would become. Nothing is kept.
    ///
    /// # Errors
    /// As those of [`Protocol::fork`]; also when `earlier` is not a pod.
    pub async fn compare(
        &self,
        reference: &Reference,
        earlier: &Path,
    ) -> Result<Comparison, Error> {
        let (directory, document) = Document::load(earlier)?;
        let Document::Pod(before) = document else {
            return Err(Error::NotAPod {
                place: directory.display().to_string(),
                problem: "it is a task, which asks for nothing itself; compare its pods".to_owned(),
            });
        };
        let name = self.name_for_a_look(reference).await?;
        let failed = || Error::io("unpack a pod beside", &directory);
        let beside = directory.parent().unwrap_or(&directory);
        let scratch = tempfile::Builder::new()
            .prefix(".sovr-compare-")
            .tempdir_in(beside)
            .map_err(failed())?;
        let brought = self
            .bring(
                &Place::from(reference),
                &name,
                scratch.path(),
                Beside::Counts,
                |_, _| Ok(()),
            )
            .await?;
        let tree = |path: &Path| Tree::open(path).map_err(failed());
        let (old, new) = (tree(&directory)?, tree(scratch.path())?);
        let after = Recipe::parse(
            Value::Object(brought.document).to_string().as_bytes(),
            &PathBuf::from(format!("of {}", Place::from(reference))),
        )?;
        let component = (component(&old, &before), component(&new, &after));
        Ok(Comparison {
            name,
            before: Lock::read(&old)?
                .and_then(|lock| lock.origin)
                .map(|origin| Pin {
                    sha256: origin.sha256,
                    size: origin.size,
                }),
            after: brought.archive,
            component: (component.0 != component.1).then_some(component),
            exec: (before.exec != after.exec).then(|| {
                (
                    Untrusted::new(before.exec.as_str()),
                    Untrusted::new(after.exec.as_str()),
                )
            }),
            changes: difference(&before.capabilities, &after.capabilities),
        })
    }

    /// Fetches a pod's archive and unpacks it into an empty directory.
    async fn bring(
        &self,
        place: &Place,
        name: &PodName,
        directory: &Path,
        beside: Beside,
        check: impl FnOnce(&DfsPath, &Pin) -> Result<(), Error>,
    ) -> Result<Brought, Error> {
        let not_a_pod = |problem: String| Error::NotAPod {
            place: place.to_string(),
            problem,
        };
        let front = self.front(place, name).await?;
        let path = front.archive.ok_or_else(|| no_archive(place, name))?;
        let (file, pin) = self.fetch(place, &path, directory).await?;
        check(&names::archive_of(name)?, &pin)?;
        archive::unpack(file, directory, &ArchiveLimits::default())
            .await
            .map_err(|source| Error::Archive {
                archive: format!("the archive {path} of {place}"),
                source,
            })?;

        let mut remarks = Vec::new();
        let text = match own_recipe(directory, name).map_err(not_a_pod)? {
            Some(text) => text,
            None if beside == Beside::DoesNotCount => {
                let problem = "its archive has no recipe.json, and one beside it could be replaced without its digest changing; `sovr-host fork` brings it for a look";
                return Err(not_a_pod(problem.to_owned()));
            }
            None => {
                let text = front.recipe.clone().ok_or_else(|| {
                    not_a_pod("neither its root nor its archive has a recipe.json".to_owned())
                })?;
                remarks
                    .push("its archive has no recipe.json; the one beside it is used".to_owned());
                text
            }
        };
        let document = documents::parse(&text).map_err(not_a_pod)?;
        let path = directory.join(RECIPE);
        if !path.exists() {
            std::fs::write(&path, &text).map_err(Error::io("write", &path))?;
        }
        let beside = front.recipe.map(|beside| documents::parse(&beside));
        if beside.is_some_and(|beside| beside.as_ref() != Ok(&document)) {
            let remark = "the recipe beside its archive is another one than that in it; the one in the archive counts";
            remarks.push(remark.to_owned());
        }
        Ok(Brought {
            archive: pin,
            document,
            remarks,
        })
    }
}

/// What an account is needed for; none without one.
fn with_account<T>(result: Result<T, Error>) -> Result<Option<T>, Error> {
    match result {
        Err(Error::Dfs(sovr_dfs::Error::Account(AccountError::LoginNeeded { .. }))) => Ok(None),
        result => result.map(Some),
    }
}

/// Writes what belongs to a fork.
fn make_ready(
    fresh: FreshDirectory,
    name: PodName,
    origin: Option<(Reference, Origin)>,
    brought: Brought,
) -> Result<Ready, Error> {
    for area in AREAS {
        match std::fs::create_dir(fresh.path().join(area)) {
            // What is there in its place is for the layout check to tell.
            Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => {
                return Err(Error::io("make the directories of", fresh.path())(error));
            }
            _ => {}
        }
    }
    let tree = Tree::open(fresh.path()).map_err(Error::io("open", fresh.path()))?;
    let (reference, origin) = origin.unzip();
    let travelled = Lock::read(&tree)?;
    if origin.is_some() || travelled.is_some() {
        let mut lock = travelled.unwrap_or_default();
        lock.origin = origin;
        lock.write(&tree)?;
    }
    let forked = Forked {
        directory: fresh.target().to_owned(),
        name,
        reference,
        archive: brought.archive,
        recipe: Value::Object(brought.document),
        remarks: brought.remarks,
    };
    Ok(Ready { fresh, forked })
}

fn no_archive(place: &Place, name: &PodName) -> Error {
    Error::NotAPod {
        place: place.to_string(),
        problem: format!(
            "there is no archive `{name}.zip` in its root; a payload or an output is named in `golem.payload`, not forked"
        ),
    }
}

/// The recipe in an unpacked archive, under one of its names; else what is wrong with it.
fn own_recipe(directory: &Path, name: &PodName) -> Result<Option<Vec<u8>>, String> {
    let problem = |error: std::io::Error| format!("its recipe cannot be read: {error}");
    let entries = std::fs::read_dir(directory).map_err(problem)?;
    let entries = entries.collect::<Result<Vec<_>, _>>().map_err(problem)?;
    let files: Vec<String> = entries
        .into_iter()
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_file()))
        .filter_map(|entry| entry.file_name().into_string().ok())
        .collect();
    let files: Vec<&str> = files.iter().map(String::as_str).collect();
    let Some(file) = documents::pick_recipe(&files, name) else {
        return Ok(None);
    };
    let tree = Tree::open(directory).map_err(problem)?;
    tree.read_in_root(file, recipe::MOST_BYTES).map_err(problem)
}

/// The digest of a pod's component; none if it has none.
fn component(tree: &Tree, recipe: &Recipe) -> Option<Digest> {
    let exec = sovr_pod::Exec::parse(&recipe.exec).ok()?;
    let file = tree.open_read(&exec.component).ok()?;
    Digest::of_reader(file).ok()
}
