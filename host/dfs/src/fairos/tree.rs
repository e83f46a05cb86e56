//! The files of one pod, as the server lists them.
//!
//! The server says of a path that is not there, or that is a file, different things in different calls; it even breaks
//! the connection when a file is listed. So a path is followed from the root down, and only what was listed as a
//! directory is listed.
//!
//! Names come from strangers. One that cannot be a part of a [`DfsPath`] is left out, and so is one that differs from
//! another only in case or in the encoding of accents. Three kinds of names are this module's own. A file that is
//! replaced is first stored beside the old one, as `.sovr-swap.NAME`; then the old one becomes `.sovr-kept.NAME`, the
//! new one gets its name, and the kept one goes. For the server by itself deletes the old one before it stores the new
//! one, and has neither when that fails; and it renames by deleting, so when it fails in the middle what was renamed is
//! lost, and there must be another. Whoever finds one of the two without a file of the name shows it under the name.
//! A directory that is removed is first moved to `/.sovr-gone.…`: the server can remove only a directory of the root
//! without spoiling the pod.
//!
//! The server leaves out of a listing, without a word, what another listing of the same directory is just looking up,
//! and what it cannot find in the network. So of one pod only one listing at a time is asked for on this machine, and
//! each is held against the numbers that the server has of the directory, and made again if something is missing.
//! What is missing for good is not said to be absent: whoever would put a new file in its place is told. The one way
//! out is to write the file that was left half replaced again. Readers by reference are given no such numbers; they
//! get in nobody's way either.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use reqwest::Response;

use super::dialect::{Counts, Listing, Refusal};
use super::http::Fault;
use super::index;
use super::lock::Locks;
use super::session::{Call, Session};
use super::unlockable;
use crate::name::folded;
use crate::{DfsPath, Entry, Error, Kind, Place, PodName, Reference, UserName};

/// Begins the name of a file that is about to replace another.
pub(super) const SWAP: &str = ".sovr-swap.";
/// Begins the name of a file that is replaced just now.
pub(super) const KEPT: &str = ".sovr-kept.";
/// Begins the name of a directory on its way out.
pub(super) const GONE: &str = ".sovr-gone.";
/// How often a directory is listed until nothing is left out.
const LISTINGS: u32 = 5;
/// The longest pause after the first time; after each it doubles.
const PAUSE: Duration = Duration::from_millis(100);
/// Most files and directories of a pod that is copied.
const ENTRIES_MAX: usize = 100_000;

/// Where the server is asked.
#[derive(Debug, Clone)]
pub(super) enum View {
    /// One of the user's own or received pods, by its name on the server.
    Named(PodName),
    Shared(Reference),
    /// A shared pod that an older server has on the user's list for now.
    Borrowed {
        name: String,
        reference: Reference,
    },
}

impl View {
    /// The name on the server, if it has one there.
    fn name(&self) -> Result<&str, &Reference> {
        match self {
            View::Named(pod) => Ok(pod.as_str()),
            View::Borrowed { name, .. } => Ok(name),
            View::Shared(reference) => Err(reference),
        }
    }
}

pub(super) struct Tree {
    pub(super) session: Arc<Session>,
    pub(super) locks: Option<Locks>,
    pub(super) view: View,
}

#[derive(Debug, Clone)]
pub(super) struct Found {
    pub(super) entry: Entry,
    /// Its name on the server.
    pub(super) stored: String,
}

/// One directory.
#[derive(Debug, Default)]
pub(super) struct Directory {
    /// Sorted by name.
    pub(super) found: Vec<Found>,
    /// Whether the server has anything in it, shown or not.
    pub(super) empty: bool,
    /// How much the server has in it and did not list.
    pub(super) left_out: u64,
    /// All files as the server has them, with their lengths.
    stored: HashMap<String, u64>,
}

impl Directory {
    fn new(at: &DfsPath, listing: Listing) -> Directory {
        let empty = listing.dirs.is_empty() && listing.files.is_empty();
        let stored: HashMap<String, u64> = listing
            .files
            .iter()
            .map(|file| (file.name.clone(), file.size))
            .collect();
        let directories = listing.dirs.into_iter().map(|directory| Found {
            entry: Entry {
                name: directory.name.clone(),
                kind: Kind::Directory,
                size: 0,
            },
            stored: directory.name,
        });
        let files = listing.files.into_iter().filter_map(|file| {
            let name = shown(&file.name);
            if best(&stored, name) != Some(&file.name) {
                return None;
            }
            Some(Found {
                entry: Entry {
                    name: name.to_owned(),
                    kind: Kind::File,
                    size: file.size,
                },
                stored: file.name,
            })
        });
        let mut found: Vec<Found> = directories
            .chain(files)
            .filter(|one| {
                !one.entry.name.starts_with(GONE)
                    && at.join(&one.entry.name).is_ok_and(|path| path != *at)
            })
            .collect();
        found.sort_by(|a, b| a.entry.name.cmp(&b.entry.name));
        let mut seen = HashSet::new();
        found.retain(|one| seen.insert(folded(&one.entry.name)));
        Directory {
            found,
            empty,
            left_out: 0,
            stored,
        }
    }

    pub(super) fn find(&self, name: &str) -> Option<&Found> {
        self.found.iter().find(|one| one.entry.name == name)
    }

    /// What has the name, or one that may not stand beside it.
    pub(super) fn like(&self, name: &str) -> Option<&Found> {
        let name = folded(name);
        self.found
            .iter()
            .find(|one| folded(&one.entry.name) == name)
    }

    pub(super) fn has_stored(&self, name: &str) -> bool {
        self.stored.contains_key(name)
    }

    pub(super) fn stored_names(&self) -> impl Iterator<Item = &str> {
        self.stored.keys().map(String::as_str)
    }

    /// What the server has of a file, first what is shown.
    pub(super) fn versions(&self, name: &str) -> impl Iterator<Item = String> {
        versions(name)
            .into_iter()
            .filter(|name| self.has_stored(name))
    }

    pub(super) fn stored_size(&self, name: &str) -> Option<u64> {
        self.stored.get(name).copied()
    }
}

impl Tree {
    pub(super) fn place(&self) -> Place {
        match &self.view {
            View::Named(pod) => Place::Pod(pod.clone()),
            View::Shared(reference) | View::Borrowed { reference, .. } => Place::Shared(*reference),
        }
    }

    async fn ask(&self, at: &DfsPath) -> Result<Listing, Fault> {
        match self.view.name() {
            Ok(name) => {
                let call = Call::get("v1/dir/ls").with("podName", name);
                self.session.ask(call.with("dirPath", at.as_str())).await
            }
            Err(reference) => index::list(&self.session, &reference.to_string(), at).await,
        }
    }

    /// Lists a directory until nothing is left out, or it seems that it always will be.
    async fn whole(&self, at: &DfsPath) -> Result<Result<Directory, Fault>, Error> {
        let (View::Named(pod), Some(locks)) = (&self.view, &self.locks) else {
            let listed = self.ask(at).await;
            return Ok(listed.map(|listing| Directory::new(at, listing)));
        };
        let mut best: Option<Directory> = None;
        for time in 0..LISTINGS {
            let listed = {
                let _alone = locks.listing(pod.as_str()).await.map_err(unlockable)?;
                self.counted(pod, at).await
            };
            let directory = match listed {
                Ok(directory) => directory,
                Err(fault) => return Ok(Err(fault)),
            };
            if directory.left_out == 0 {
                return Ok(Ok(directory));
            }
            if best
                .as_ref()
                .is_none_or(|best| directory.left_out < best.left_out)
            {
                best = Some(directory);
            }
            // Of unequal length, or two programs that disturb each other do so again.
            let mut random = [0; 1];
            getrandom::fill(&mut random).map_err(|error| unlockable(error.into()))?;
            tokio::time::sleep(PAUSE * 2_u32.pow(time) * u32::from(random[0]) / 255).await;
        }
        Ok(Ok(best.unwrap_or_default()))
    }

    async fn counted(&self, pod: &PodName, at: &DfsPath) -> Result<Directory, Fault> {
        let listing = self.ask(at).await?;
        let call = Call::get("v1/dir/stat").with("podName", pod.as_str());
        let counts: Counts = self.session.ask(call.with("dirPath", at.as_str())).await?;
        let listed = listing.dirs.len() + listing.files.len();
        let mut directory = Directory::new(at, listing);
        let all = counts.directories.saturating_add(counts.files);
        directory.left_out = all.saturating_sub(listed as u64);
        // What is not listed may be in the way all the same.
        directory.empty &= all == 0;
        Ok(directory)
    }

    /// What is not there, or cannot be said not to be.
    pub(super) fn no_such_path(&self, directory: &Directory, path: &DfsPath) -> Error {
        match directory.left_out {
            0 => Error::NoSuchPath {
                place: self.place(),
                path: path.clone(),
            },
            left_out => self.left_out(left_out, path),
        }
    }

    fn left_out(&self, number: u64, path: &DfsPath) -> Error {
        Error::Storage {
            attempted: format!("look for `{path}` in {}", self.place()),
            reason: format!(
                "the server has {number} more there than it lists, which it cannot find in the network now or which \
                 was left half written"
            ),
            next: "try again later; if that does not help, write the file that was being replaced again",
        }
    }

    /// Lists what is known to be a directory.
    async fn listing(&self, user: &UserName, at: &DfsPath) -> Result<Directory, Error> {
        let fault = match self.whole(at).await? {
            Ok(directory) => return Ok(directory),
            Err(fault) => fault,
        };
        Err(match (fault.refusal(), &self.view) {
            (Some(Refusal::NoSuchPod | Refusal::Deleted), View::Named(pod)) => Error::NoSuchPod {
                pod: pod.clone(),
                user: user.clone(),
            },
            (
                Some(Refusal::NeverShared | Refusal::Deleted),
                View::Shared(reference) | View::Borrowed { reference, .. },
            ) => Error::NoSuchShare {
                reference: *reference,
            },
            (
                Some(Refusal::NoSuchDirectory | Refusal::Missing | Refusal::NoSuchPod),
                View::Borrowed { reference, .. },
            ) if at.is_root() => Error::NoSuchShare {
                reference: *reference,
            },
            (Some(Refusal::Missing), View::Shared(reference)) if at.is_root() => {
                Error::NoSuchShare {
                    reference: *reference,
                }
            }
            (Some(Refusal::NoSuchDirectory | Refusal::Missing), _) if !at.is_root() => {
                Error::NoSuchPath {
                    place: self.place(),
                    path: at.clone(),
                }
            }
            _ => fault.into_error(format!("list `{at}` in {}", self.place())),
        })
    }

    /// Follows a path to a directory.
    pub(super) async fn directory(&self, path: &DfsPath) -> Result<Directory, Error> {
        let user = self.session.user();
        let mut at = DfsPath::root();
        let mut directory = self.listing(user, &at).await?;
        for part in path.parts() {
            at = at.join(part)?;
            match directory.find(part) {
                None => return Err(self.no_such_path(&directory, &at)),
                Some(found) if found.entry.kind == Kind::File => {
                    return Err(Error::IsFile {
                        place: self.place(),
                        path: at,
                    });
                }
                Some(_) => directory = self.listing(user, &at).await?,
            }
        }
        Ok(directory)
    }

    /// Follows a path to whatever is there.
    pub(super) async fn find(&self, path: &DfsPath) -> Result<Found, Error> {
        let (Some(parent), Some(name)) = (path.parent(), path.name()) else {
            self.directory(path).await?;
            return Ok(Found {
                entry: Entry {
                    name: String::new(),
                    kind: Kind::Directory,
                    size: 0,
                },
                stored: String::new(),
            });
        };
        let directory = self.directory(&parent).await?;
        let found = directory.find(name);
        found
            .cloned()
            .ok_or_else(|| self.no_such_path(&directory, path))
    }

    /// The head of a file's content.
    pub(super) async fn open(&self, path: &str) -> Result<Response, Fault> {
        match self.view.name() {
            Ok(name) => {
                let call = Call::get("v1/file/download").with("podName", name);
                self.session.open(call.with("filePath", path)).await
            }
            Err(reference) => {
                let reference = reference.to_string();
                let call = Call::get("public-file").public();
                self.session
                    .open(call.with("sharingRef", &reference).with("filePath", path))
                    .await
            }
        }
    }

    /// Everything in the pod by its path, directories with none and files with their length.
    pub(super) async fn everything(&self) -> Result<BTreeSet<(DfsPath, Option<u64>)>, Error> {
        let mut all = BTreeSet::new();
        let mut waiting = vec![DfsPath::root()];
        while let Some(at) = waiting.pop() {
            let directory = self.listing(self.session.user(), &at).await?;
            if directory.left_out > 0 {
                return Err(self.left_out(directory.left_out, &at));
            }
            for found in directory.found {
                let path = at.join(&found.entry.name)?;
                match found.entry.kind {
                    Kind::Directory => {
                        waiting.push(path.clone());
                        all.insert((path, None));
                    }
                    Kind::File => {
                        all.insert((path, Some(found.entry.size)));
                    }
                }
                if all.len() > ENTRIES_MAX {
                    return Err(Error::Full {
                        what: format!("the number of files that are copied from {}", self.place()),
                        cap: ENTRIES_MAX as u64,
                        unit: "files",
                    });
                }
            }
        }
        Ok(all)
    }
}

/// The names that a file may have on the server, the better ones first.
pub(super) fn versions(name: &str) -> [String; 3] {
    [
        name.to_owned(),
        format!("{SWAP}{name}"),
        format!("{KEPT}{name}"),
    ]
}

/// The name that a file on the server is shown under, if it is the best of its kind.
fn shown(stored: &str) -> &str {
    let prefixed = stored.strip_prefix(SWAP);
    prefixed
        .or_else(|| stored.strip_prefix(KEPT))
        .unwrap_or(stored)
}

fn best<'a>(stored: &'a HashMap<String, u64>, name: &str) -> Option<&'a String> {
    let found = versions(name)
        .into_iter()
        .find_map(|name| stored.get_key_value(&name));
    found.map(|(name, _)| name)
}

/// The path on the server of an entry of a directory.
pub(super) fn stored_path(directory: &DfsPath, stored: &str) -> String {
    let base = if directory.is_root() {
        ""
    } else {
        directory.as_str()
    };
    format!("{base}/{stored}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(json: &str) -> Vec<String> {
        let listing = serde_json::from_str(json).unwrap();
        let directory = Directory::new(&DfsPath::root(), listing);
        let names = directory.found.into_iter().map(|found| found.entry.name);
        names.collect()
    }

    #[test]
    fn names_that_would_leave_the_directory_are_not_listed() {
        let json = r#"{"dirs":[{"name":".."},{"name":"fine"},{"name":"a/b"},{"name":".sovr-gone.1"}],
            "files":[{"name":"..","size":"1"},{"name":"/etc/passwd","size":"1"},{"name":"index.dfs","size":"1"},
            {"name":"a\u001b[2Jb","size":"1"},{"name":"c\\d","size":"1"},{"name":"","size":"1"},
            {"name":"Fine","size":"1"},{"name":"zebra","size":"1"}]}"#;
        // `Fine` comes first and `fine` is too like it.
        assert_eq!(names(json), ["Fine", "zebra"]);
    }

    #[test]
    fn a_replacement_that_was_interrupted_shows_under_its_name() {
        let both = r#"{"files":[{"name":".sovr-swap.a","size":"2"},{"name":"a","size":"1"}]}"#;
        let listing = serde_json::from_str(both).unwrap();
        let directory = Directory::new(&DfsPath::root(), listing);
        assert_eq!(directory.find("a").unwrap().stored, "a");
        assert_eq!(directory.found.len(), 1);
        let one = r#"{"files":[{"name":".sovr-swap.a","size":"2"}]}"#;
        let directory = Directory::new(&DfsPath::root(), serde_json::from_str(one).unwrap());
        let found = directory.find("a").unwrap();
        assert_eq!(
            (found.stored.as_str(), found.entry.size),
            (".sovr-swap.a", 2)
        );
        assert!(!directory.empty);
        let kept = r#"{"files":[{"name":".sovr-kept.a","size":"1"}]}"#;
        let directory = Directory::new(&DfsPath::root(), serde_json::from_str(kept).unwrap());
        assert_eq!(directory.find("a").unwrap().stored, ".sovr-kept.a");
        let both =
            r#"{"files":[{"name":".sovr-kept.a","size":"1"},{"name":".sovr-swap.a","size":"2"}]}"#;
        let directory = Directory::new(&DfsPath::root(), serde_json::from_str(both).unwrap());
        assert_eq!(directory.find("a").unwrap().stored, ".sovr-swap.a");
        assert_eq!(directory.found.len(), 1);
    }
}
