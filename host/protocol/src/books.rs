//! The user's books: three JSON files in pods of their own, in the original's form.
//!
//! `ComputePodRegistry/Registry.json` says what was persisted, `SharedPods/SharedPods.json` under which references, and
//! `ForkedPods/ForkedPods.json`, which the original does not have, what was forked. A book is read, changed and written
//! under a lock that all processes of this machine hold. A book that cannot be read or understood is never written:
//! what is in it would be lost.

use std::fs::{File, TryLockError};
use std::time::Duration;

use serde::Serialize;
use serde_json::{Map, Value};
use sovr_capability::causes::in_full;
use sovr_capability::{Digest, Untrusted};
use sovr_dfs::{Access, DfsPath, Place, PodName, Reference};
use sovr_pod::card::Card;
use sovr_pod::registry::{self, Book, ForkedPods, Registry, RegistryError, SharedPods, Skipped};
use sovr_runtime::archive;

use crate::fork::Forked;
use crate::names::{self, OUTPUT, RECIPE};
use crate::payload::parse_reference;
use crate::{Error, Kind, Protocol, documents};

/// Most bytes of the recipe in an archive.
const MOST_RECIPE: u64 = sovr_pod::recipe::MOST_BYTES;

/// Between two tries to lock the books. They are held as long as it takes to write a file.
const LOCK_PAUSE: Duration = Duration::from_millis(20);

/// What the user's books and storage hold.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Listing {
    /// Pods that the user persisted, sorted by name.
    pub own: Vec<OwnPod>,
    /// Pods that the user forked or received, sorted by name.
    pub forked: Vec<ForkedPod>,
    /// Entries of the books that are not what they should be, and received pods that cannot be read.
    pub skipped: Vec<Skipped>,
}

/// A pod that the user persisted.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct OwnPod {
    /// Its name in storage.
    pub pod: String,
    /// What it is, in its own words.
    pub card: Card,
    /// Every reference it was shared under, oldest first.
    pub references: Vec<String>,
    /// Every reference its output was shared under, oldest first.
    pub output_references: Vec<String>,
}

/// A pod of somebody else.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct ForkedPod {
    /// Its name, as `import` takes it.
    pub pod: String,
    /// What it is, in its own words; none for a received pod without a recipe in its root.
    pub card: Option<Card>,
    /// The reference it was forked by; none for a pod that another program received.
    pub reference: Option<String>,
    /// Digest of the archive that was forked.
    pub archive: Option<Digest>,
}

/// What a rebuilt registry holds.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Rebuilt {
    /// The pods that are in it, sorted by name.
    pub found: Vec<OwnPod>,
    /// Pods with a recipe that cannot be read.
    pub skipped: Vec<Skipped>,
    /// Where the registry of before is, if there was one.
    pub before: Option<String>,
}

/// What was deleted.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Deleted {
    /// The name that was given.
    pub pod: String,
    /// Pods that are gone from storage: the pod itself, and the one with its output.
    pub pods: Vec<String>,
    /// Whether a fork was forgotten.
    pub forgotten: bool,
}

/// What is shared no more.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Unshared {
    /// The pod.
    pub pod: String,
    /// References that nobody can use any more.
    pub references: Vec<String>,
}

impl Protocol {
    /// What the user persisted, shared, forked and received.
    ///
    /// # Errors
    /// When a book or storage cannot be read.
    pub async fn list(&self) -> Result<Listing, Error> {
        let (registry, mut skipped) = self.read_book::<Registry>().await?;
        let (shared, more) = self.read_book::<SharedPods>().await?;
        skipped.extend(more);
        let (forks, more) = self.read_book::<ForkedPods>().await?;
        skipped.extend(more);
        let mut forked: Vec<ForkedPod> = forks
            .entries()
            .flat_map(|(name, forks)| forks.into_iter().map(move |fork| (name, fork)))
            .map(|(name, fork)| ForkedPod {
                pod: name.to_owned(),
                card: Some(Card::of(&Value::Object(fork.recipe.clone()))),
                reference: Some(fork.reference.to_owned()),
                archive: Some(fork.archive),
            })
            .collect();
        for pod in self.dfs().pods().await? {
            if pod.access != Access::Received {
                continue;
            }
            // Its owner may have put anything there, and may have taken it away. That is no reason to list nothing.
            let card = self.received_card(&pod.name).await.unwrap_or_else(|why| {
                let entry = Untrusted::new(pod.name.as_str());
                skipped.push(Skipped { entry, why });
                None
            });
            forked.push(ForkedPod {
                pod: pod.name.to_string(),
                card,
                reference: None,
                archive: None,
            });
        }
        forked.sort_unstable_by(|a, b| a.pod.cmp(&b.pod));
        Ok(Listing {
            own: own_pods(&registry, &shared),
            forked,
            skipped,
        })
    }

    async fn received_card(&self, pod: &PodName) -> Result<Option<Card>, String> {
        let front = self.front(&Place::from(pod), pod).await;
        let Some(text) = front.map_err(|error| error.to_string())?.recipe else {
            return Ok(None);
        };
        let recipe = documents::parse(&text)?;
        Ok(Some(Card::of(&Value::Object(recipe))))
    }

    /// Makes the registry anew from the pods themselves: each own pod with a recipe in its root or in its archive. The
    /// registry of before, if it is another one, is kept beside it.
    ///
    /// # Errors
    /// When storage cannot be read; the registry is then as it was.
    pub async fn rebuild(&self) -> Result<Rebuilt, Error> {
        let _lock = self.lock_books().await?;
        let (shared, _) = usable(self.read_book::<SharedPods>().await)?.unwrap_or_default();
        let old = usable(self.read_book::<Registry>().await)?;
        let mut registry = Registry::default();
        let mut skipped = Vec::new();
        for pod in self.dfs().pods().await? {
            let name = pod.name.as_str();
            if pod.access != Access::Own || is_book(name) || names::is_output(name) {
                continue;
            }
            let entered = match self.recipe_of(&Place::from(&pod.name), &pod.name).await {
                Ok(Some(recipe)) => registry.insert(name, recipe).map_err(Error::from),
                Ok(None) => Ok(()),
                Err(error) => Err(error),
            };
            match entered {
                Ok(()) => {}
                Err(error)
                    if matches!(error, Error::Book(_))
                        || matches!(error.kind(), Kind::InvalidPod | Kind::Limit) =>
                {
                    let (entry, why) = (Untrusted::new(name), in_full(&error));
                    skipped.push(Skipped { entry, why });
                }
                // Not having been able to look is no reason to leave a pod out.
                Err(error) => return Err(error),
            }
        }
        let before = match old {
            Some((old, _)) if old == registry => None,
            _ => {
                let before = self.keep_registry_of_before().await?;
                self.write_book(&registry).await?;
                before
            }
        };
        Ok(Rebuilt {
            found: own_pods(&registry, &shared),
            skipped,
            before,
        })
    }

    /// Copies the registry as it is, whatever it is. Answers where to; none if there is no registry.
    async fn keep_registry_of_before(&self) -> Result<Option<String>, Error> {
        let pod = book_pod::<Registry>()?;
        let place = Place::from(&pod);
        let path = path_of::<Registry>()?;
        let mut before = match self.dfs().read(&place, &path).await {
            Ok(before) => before,
            Err(sovr_dfs::Error::NoSuchPath { .. } | sovr_dfs::Error::NoSuchPod { .. }) => {
                return Ok(None);
            }
            Err(error) => return Err(error.into()),
        };
        let kept = names::in_root("Registry-before-rebuild.json")?;
        let copied = self.dfs().write(&pod, &kept, &mut before.content).await?;
        if copied != before.size {
            return Err(Error::Length {
                what: format!("{path} of {place}"),
                expected: before.size,
                found: copied,
            });
        }
        Ok(Some(format!("{kept} of {place}")))
    }

    /// The recipe of a stored pod: in its root, or else in its archive. None if it has neither.
    async fn recipe_of(
        &self,
        place: &Place,
        name: &PodName,
    ) -> Result<Option<Map<String, Value>>, Error> {
        let front = self.front(place, name).await?;
        let text = match (front.recipe, front.archive) {
            (Some(text), _) => text,
            (None, None) => return Ok(None),
            (None, Some(path)) => {
                let near = std::env::temp_dir();
                let (file, _) = self.fetch(place, &path, &near).await?;
                let member = archive::read_member(file, RECIPE, MOST_RECIPE)
                    .await
                    .map_err(|source| Error::Archive {
                        archive: format!("the archive {path} of {place}"),
                        source,
                    })?;
                match member {
                    Some(text) => text,
                    None => return Ok(None),
                }
            }
        };
        let recipe = documents::parse(&text).map_err(|problem| Error::NotAPod {
            place: place.to_string(),
            problem,
        })?;
        Ok(Some(recipe))
    }

    /// Ends the sharing of a pod: its references lead nowhere from now on.
    ///
    /// # Errors
    /// When there is no such pod, it is not shared, or storage cannot do that.
    pub async fn unshare(&self, name: &str) -> Result<Unshared, Error> {
        let pod: PodName = name.parse().map_err(sovr_dfs::Error::from)?;
        let _lock = self.lock_books().await?;
        let (mut shared, _) = self.read_book::<SharedPods>().await?;
        let references = shared.references(name);
        match self.dfs().unshare(&pod).await {
            // It was ended before, and the book could not be written then.
            Err(sovr_dfs::Error::NotShared { .. }) if !references.is_empty() => {}
            ended => ended?,
        }
        if shared.remove(name) {
            self.write_book(&shared).await?;
        }
        Ok(Unshared {
            pod: pod.to_string(),
            references,
        })
    }

    /// Deletes one of the user's pods with its output and its entries in the books, or forgets a fork.
    ///
    /// # Errors
    /// When there is no such pod.
    pub async fn delete(&self, name: &str) -> Result<Deleted, Error> {
        let pod: PodName = name.parse().map_err(sovr_dfs::Error::from)?;
        let access = |pod| async move {
            match self.dfs().pod(pod).await {
                Ok(found) => Ok(Some(found.access)),
                Err(sovr_dfs::Error::NoSuchPod { .. }) => Ok(None),
                Err(error) => Err(error),
            }
        };
        let found = access(&pod).await?;
        if is_book(name) {
            // One that was received is not the user's book, and stands in its way.
            if found != Some(Access::Received) {
                return Err(Error::HoldsBooks { pod });
            }
            self.dfs().delete_pod(&pod).await?;
            return Ok(Deleted {
                pod: name.to_owned(),
                pods: vec![name.to_owned()],
                forgotten: false,
            });
        }
        let _lock = self.lock_books().await?;
        let (mut registry, _) = self.read_book::<Registry>().await?;
        let (mut shared, _) = self.read_book::<SharedPods>().await?;
        let (mut forks, _) = self.read_book::<ForkedPods>().await?;
        let mut pods = Vec::new();
        if let Ok(output) = names::output_of(&pod)
            && access(&output).await? == Some(Access::Own)
        {
            self.dfs().delete_pod(&output).await?;
            pods.push(output.to_string());
        }
        if found.is_some() {
            self.dfs().delete_pod(&pod).await?;
            pods.insert(0, pod.to_string());
        }
        let registered = registry.remove(name);
        // A fork of the same name is another pod.
        let forgotten = pods.is_empty() && !registered && forks.remove(name);
        if pods.is_empty() && !registered && !forgotten {
            return Err(Error::Unknown(Untrusted::new(name)));
        }
        let unshared_output = shared.remove(&format!("{OUTPUT}{name}"));
        let unshared = shared.remove(name) || unshared_output;
        if registered {
            self.write_book(&registry).await?;
        }
        if unshared {
            self.write_book(&shared).await?;
        }
        if forgotten {
            self.write_book(&forks).await?;
        }
        Ok(Deleted {
            pod: name.to_owned(),
            pods,
            forgotten,
        })
    }

    /// Whether a pod can be written into the books: to be known before anything of it is stored.
    pub(crate) async fn check_books(
        &self,
        name: &str,
        recipe: &Map<String, Value>,
    ) -> Result<(), Error> {
        let (mut registry, _) = self.read_book::<Registry>().await?;
        registry.insert(name, recipe.clone())?;
        let (mut shared, _) = self.read_book::<SharedPods>().await?;
        // Its reference is not known yet; none is longer.
        shared.add_share(name, recipe.clone(), &"0".repeat(128))?;
        Ok(())
    }

    /// The same before something is forked.
    pub(crate) async fn check_book_of_forks(&self) -> Result<(), Error> {
        self.read_book::<ForkedPods>().await?;
        Ok(())
    }

    /// Enters a pod. Answers the references by which others still read one that is not shared any more.
    pub(crate) async fn remember_persisted(
        &self,
        pod: &PodName,
        recipe: &Map<String, Value>,
        reference: Option<&Reference>,
    ) -> Result<Vec<String>, Error> {
        let still_shared = match reference {
            Some(reference) => {
                self.remember_shared(pod, recipe, reference).await?;
                Vec::new()
            }
            None => {
                let (shared, _) = self.read_book::<SharedPods>().await?;
                shared.references(pod.as_str())
            }
        };
        self.edit_book(|registry: &mut Registry| registry.insert(pod.as_str(), recipe.clone()))
            .await?;
        Ok(still_shared)
    }

    pub(crate) async fn remember_shared(
        &self,
        pod: &PodName,
        recipe: &Map<String, Value>,
        reference: &Reference,
    ) -> Result<(), Error> {
        let reference = reference.to_string();
        self.edit_book(|shared: &mut SharedPods| {
            shared.add_share(pod.as_str(), recipe.clone(), &reference)?;
            Ok(())
        })
        .await
    }

    pub(crate) async fn remember_fork(
        &self,
        reference: &Reference,
        forked: &Forked,
    ) -> Result<(), Error> {
        let recipe = forked.recipe.as_object().cloned().unwrap_or_default();
        self.edit_book(|forks: &mut ForkedPods| {
            let (name, archive) = (forked.name.as_str(), forked.archive.sha256);
            forks.add_fork(name, recipe, &reference.to_string(), archive)?;
            Ok(())
        })
        .await
    }

    /// The reference under which a pod was forked, and the digest of what came last.
    pub(crate) async fn remembered_fork(
        &self,
        name: &PodName,
    ) -> Result<(Reference, Digest), Error> {
        let (forks, _) = self.read_book::<ForkedPods>().await?;
        let mut found: Vec<(Reference, Digest)> = Vec::new();
        for fork in forks.forks(name.as_str()) {
            let reference = parse_reference(fork.reference)?;
            match found.iter_mut().find(|(known, _)| *known == reference) {
                Some((_, archive)) => *archive = fork.archive,
                None => found.push((reference, fork.archive)),
            }
        }
        match found.as_slice() {
            [] => Err(Error::Unknown(Untrusted::new(name.as_str()))),
            [only] => Ok(*only),
            several => Err(Error::Ambiguous {
                name: name.clone(),
                references: several.iter().map(|(reference, _)| *reference).collect(),
            }),
        }
    }

    /// Reads a book; a new one if there is none yet.
    async fn read_book<B: Book>(&self) -> Result<(B, Vec<Skipped>), Error> {
        let pod = book_pod::<B>()?;
        let path = path_of::<B>()?;
        if !self.has_own(&pod).await? {
            return Ok((B::default(), Vec::new()));
        }
        let place = Place::from(pod);
        match self
            .read_small(&place, &path, registry::MOST_BYTES as u64)
            .await?
        {
            Some(text) => Ok(B::parse(&text)?),
            None => Ok((B::default(), Vec::new())),
        }
    }

    async fn write_book<B: Book>(&self, book: &B) -> Result<(), Error> {
        let pod = book_pod::<B>()?;
        self.make_own(&pod).await?;
        let path = path_of::<B>()?;
        let bytes = book.to_bytes()?;
        let size = self.dfs().write(&pod, &path, &mut bytes.as_slice()).await?;
        // A fork knows by itself where it came from, and what fails after its entry would leave that without a fork.
        if B::POD != ForkedPods::POD {
            self.dfs().confirm(&pod, &[(path, size)]).await?;
        }
        Ok(())
    }

    async fn edit_book<B: Book>(
        &self,
        edit: impl FnOnce(&mut B) -> Result<(), RegistryError>,
    ) -> Result<(), Error> {
        let _lock = self.lock_books().await?;
        let (mut book, _) = self.read_book::<B>().await?;
        edit(&mut book)?;
        self.write_book(&book).await
    }

    /// Keeps others off the books until it is dropped. Waiting can be given up at any moment.
    async fn lock_books(&self) -> Result<File, Error> {
        let failed = || Error::io("lock your books with", &self.books_lock);
        let file = File::options()
            .create(true)
            .append(true)
            .open(&self.books_lock)
            .map_err(failed())?;
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(file),
                Err(TryLockError::WouldBlock) => tokio::time::sleep(LOCK_PAUSE).await,
                Err(TryLockError::Error(source)) => return Err(failed()(source)),
            }
        }
    }
}

fn path_of<B: Book>() -> Result<DfsPath, Error> {
    Ok(B::FILE.parse().map_err(sovr_dfs::Error::from)?)
}

fn book_pod<B: Book>() -> Result<PodName, Error> {
    Ok(B::POD.parse().map_err(sovr_dfs::Error::from)?)
}

fn is_book(name: &str) -> bool {
    [Registry::POD, SharedPods::POD, ForkedPods::POD]
        .iter()
        .any(|book| book.eq_ignore_ascii_case(name))
}

/// The pods of a registry with their references, sorted by name.
fn own_pods(registry: &Registry, shared: &SharedPods) -> Vec<OwnPod> {
    let entries = registry.entries();
    let mut pods: Vec<OwnPod> = entries
        .map(|(name, recipe)| OwnPod {
            pod: name.to_owned(),
            card: Card::of(&Value::Object(recipe.clone())),
            references: shared.references(name),
            output_references: shared.references(&format!("{OUTPUT}{name}")),
        })
        .collect();
    pods.sort_unstable_by(|a, b| a.pod.cmp(&b.pod));
    pods
}

/// A book, if it can be taken apart. That it could not be read stays an error.
fn usable<B>(read: Result<B, Error>) -> Result<Option<B>, Error> {
    match read {
        Ok(book) => Ok(Some(book)),
        Err(Error::Book(_) | Error::TooLarge { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}
