//! `payload/external` of a pod, laid out anew before a run.
//!
//! What is in it comes from several sources: the archives that the pod's recipe names, what a task hands to all its pods,
//! what the pod before left in its output. They lie over each other in this order, as the Sovr Protocol documents it, and
//! a later file takes the place of an earlier one of the same name; that is told, because who relies on a file should
//! know who supplied it. One thing is not overlaid: a package that the pod's recipe names is code. It comes with an archive
//! that the same recipe names, and nothing that a task hands on becomes or replaces it.
//!
//! The directory is built in the pod's staging place and changes places with the old one when it is complete. The
//! original empties it at each import, and so loses what a task put there before; here every source is at hand at once.

use std::collections::BTreeMap;
use std::ffi::CString;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{AtFlags, FileType, Mode, RenameFlags};
use rustix::io::Errno;
use serde::Serialize;
use sovr_capability::Untrusted;
use sovr_capability::member::folded;

use crate::error::io_error;
use crate::tree::{STAGING, Walked};
use crate::{Area, Error, GuestPath, Tree, remove};

/// The directory's name in `payload/`.
const NAME: &str = "external";

/// What it will be, and where the next archive is unpacked.
const ALL: &str = "all";
const INCOMING: &str = "incoming";

/// Most files of all sources together.
const MOST_FILES: usize = 200_000;

/// Two sources that supplied different files under one name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Collision {
    /// Beneath `payload/external`.
    pub path: Untrusted,
    /// Whose file is gone, in words.
    pub replaced: String,
    /// Whose file is there, in words.
    pub by: String,
}

/// The directory in the making. Dropped, it is gone, and the old one is as it was.
#[derive(Debug)]
pub struct External {
    tree: Arc<Tree>,
    /// `all/` is what it will be, `incoming/` where the next archive is unpacked.
    room: PathBuf,
    handle: OwnedFd,
    /// Folded paths of code.
    guarded: Vec<String>,
    /// By folded path: where it lies, and which source supplied it.
    placed: BTreeMap<String, Placed>,
    collisions: Vec<Collision>,
}

/// Something that a source supplies.
struct Supplied<'a> {
    /// Beneath `payload/external`.
    path: &'a Path,
    kind: FileType,
    /// Who supplies it, in words.
    source: &'a str,
    /// Whether it may be code.
    trusted: bool,
}

#[derive(Debug)]
struct Placed {
    path: PathBuf,
    is_directory: bool,
    source: String,
}

impl External {
    /// Begins a new directory. Files at `guarded` paths come from archives only, and are never replaced. The caller holds
    /// the pod's lock.
    ///
    /// # Errors
    /// When nothing can be written in the pod.
    pub fn begin(tree: &Arc<Tree>, guarded: &[GuestPath]) -> Result<Self, Error> {
        let failed = |source| io_error("prepare payload/external in", tree.root(), source);
        let mut random = [0; 16];
        getrandom::fill(&mut random).map_err(|error| failed(error.into()))?;
        let staging = tree.open_staging().map_err(|errno| failed(errno.into()))?;
        let name = format!("{NAME}-{}", hex::encode(random));
        let handle = rustix::fs::mkdirat(&staging, &name, Mode::RWXU)
            .and_then(|()| tree.open_directory(&Path::new(STAGING).join(&name)))
            .map_err(|errno| failed(errno.into()))?;
        let beneath = format!("{}/{NAME}/", Area::Payload.name());
        let external = Self {
            tree: Arc::clone(tree),
            room: tree.root().join(STAGING).join(name),
            handle,
            guarded: guarded
                .iter()
                .filter_map(|path| path.as_str().strip_prefix(&beneath).map(folded))
                .collect(),
            placed: BTreeMap::new(),
            collisions: Vec::new(),
        };
        fs::create_dir(external.room.join(ALL)).map_err(failed)?;
        Ok(external)
    }

    /// An empty directory for the next archive.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn incoming(&self) -> Result<PathBuf, Error> {
        let path = self.room.join(INCOMING);
        fs::create_dir(&path).map_err(|source| io_error("make", &path, source))?;
        Ok(path)
    }

    /// Lays what was unpacked into [`External::incoming`] over what is there; `source` says in words what it is.
    ///
    /// # Errors
    /// When a guarded file would be replaced, or a file and a directory have the same name.
    pub fn merge(&mut self, source: &str) -> Result<(), Error> {
        let from = self.room.join(INCOMING);
        let unpacked = Tree::open(&from).map_err(|error| io_error("open", &from, error))?;
        for (path, kind) in listed(&unpacked, Path::new("."), source)? {
            let supplied = Supplied {
                path: path.strip_prefix(".").unwrap_or(&path),
                kind,
                source,
                trusted: true,
            };
            let from = from.join(supplied.path);
            let bring = |to: &Path| fs::rename(&from, to);
            self.place(&supplied, &bring, || File::open(&from))?;
        }
        self.remove_incoming()
    }

    /// Lays a copy of a directory of another pod, or of the task, over what is there.
    ///
    /// # Errors
    /// As those of [`External::merge`]; also when something else than files lies there, or a file would be code.
    pub fn copy(&mut self, tree: &Tree, directory: &GuestPath, source: &str) -> Result<(), Error> {
        let top = Path::new(directory.as_str());
        for (path, kind) in listed(tree, top, source)? {
            let supplied = Supplied {
                path: path.strip_prefix(top).unwrap_or(&path),
                kind,
                source,
                trusted: false,
            };
            let open = || tree.open_file(&path).map_err(io::Error::from);
            let bring = |to: &Path| {
                let mut copy = File::options().write(true).create_new(true).open(to)?;
                io::copy(&mut open()?, &mut copy).map(drop)
            };
            self.place(&supplied, &bring, open)?;
        }
        Ok(())
    }

    fn place(
        &mut self,
        supplied: &Supplied<'_>,
        bring: &dyn Fn(&Path) -> io::Result<()>,
        open: impl Fn() -> io::Result<File>,
    ) -> Result<(), Error> {
        let &Supplied {
            path: relative,
            kind,
            source,
            trusted,
        } = supplied;
        let shown = || Untrusted::new(relative.to_string_lossy());
        let refused = |problem: String| Error::External {
            path: shown(),
            supplied_by: source.to_owned(),
            problem,
        };
        let Some(text) = relative.to_str() else {
            return Err(refused("its name is not UTF-8".to_owned()));
        };
        let is_directory = match kind {
            FileType::Directory => true,
            FileType::RegularFile => false,
            _ => return Err(refused("it is neither a file nor a directory".to_owned())),
        };
        if self.placed.len() >= MOST_FILES {
            return Err(refused(format!("there are more than {MOST_FILES} files")));
        }
        let failed = |error: io::Error| match Errno::from_io_error(&error) {
            Some(Errno::MLINK) => refused(
                "it has a second name (a hard link), and may be a file that lies outside"
                    .to_owned(),
            ),
            _ => io_error("lay out payload/external in", self.tree.root(), error),
        };
        let key = folded(text);
        let all = self.room.join(ALL);
        match self.placed.get(&key) {
            Some(placed) if placed.is_directory != is_directory => {
                return Err(refused(format!(
                    "{} has a {} of that name",
                    placed.source,
                    if is_directory { "file" } else { "directory" }
                )));
            }
            Some(_) if is_directory => return Ok(()),
            Some(placed) => {
                let old = all.join(&placed.path);
                if same(File::open(&old).map_err(failed)?, open().map_err(failed)?)
                    .map_err(failed)?
                {
                    return Ok(());
                }
                if self.guarded.contains(&key) {
                    return Err(refused(format!(
                        "the recipe names it as a package, which is code; {} supplied it, and it is not replaced",
                        placed.source
                    )));
                }
                self.collisions.push(Collision {
                    path: shown(),
                    replaced: placed.source.clone(),
                    by: source.to_owned(),
                });
                fs::remove_file(&old).map_err(failed)?;
            }
            None if self.guarded.contains(&key) && !trusted => {
                let problem = "the recipe names it as a package, which is code; code comes with an archive of the recipe's `golem.payload`, and from nobody else";
                return Err(refused(problem.to_owned()));
            }
            None => {}
        }
        // Directories whose names differ only in case are one.
        let parent = match relative.parent() {
            Some(parent) if parent != Path::new("") => {
                let key = folded(&parent.to_string_lossy());
                self.placed
                    .get(&key)
                    .map_or_else(|| parent.to_owned(), |placed| placed.path.clone())
            }
            _ => PathBuf::new(),
        };
        let path = parent.join(relative.file_name().unwrap_or_default());
        let to = all.join(&path);
        if is_directory {
            fs::create_dir(&to).map_err(failed)?;
        } else {
            bring(&to).map_err(failed)?;
        }
        self.placed.insert(
            key,
            Placed {
                path,
                is_directory,
                source: source.to_owned(),
            },
        );
        Ok(())
    }

    /// Puts the new directory in the place of the old one. Answers which files took the place of others.
    ///
    /// # Errors
    /// When it cannot be put there; the old one is then as it was.
    pub fn finish(mut self) -> Result<Vec<Collision>, Error> {
        let failed = |errno: Errno| {
            io_error(
                "put payload/external in its place in",
                self.tree.root(),
                errno.into(),
            )
        };
        match rustix::fs::mkdirat(
            self.tree.handle(),
            Area::Payload.name(),
            Mode::from_raw_mode(0o755),
        ) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(errno) => return Err(failed(errno)),
        }
        let payload = self
            .tree
            .open_directory(Path::new(Area::Payload.name()))
            .map_err(failed)?;
        // The old one, or whatever has the name, goes into the room and with it.
        match rustix::fs::renameat_with(&self.handle, ALL, &payload, NAME, RenameFlags::EXCHANGE) {
            Err(Errno::NOENT) => {
                rustix::fs::renameat(&self.handle, ALL, &payload, NAME).map_err(failed)?;
            }
            exchanged => exchanged.map_err(failed)?,
        }
        Ok(std::mem::take(&mut self.collisions))
    }

    fn remove_incoming(&self) -> Result<(), Error> {
        let name = CString::new(INCOMING).unwrap_or_default();
        remove::tree(self.handle.as_fd(), &name)
            .map_err(|errno| io_error("clear", &self.room, errno.into()))
    }
}

impl Drop for External {
    fn drop(&mut self) {
        // What cannot be removed now goes with the staging place when the pod runs.
        let name = self
            .room
            .file_name()
            .and_then(|name| CString::new(name.as_bytes()).ok());
        if let (Some(name), Ok(staging)) = (name, self.tree.open_staging()) {
            let _ = remove::tree(staging.as_fd(), &name);
            // In a task's directory nobody else would; it stays where somebody is still writing.
            let _ = rustix::fs::unlinkat(self.tree.handle(), STAGING, AtFlags::REMOVEDIR);
        }
    }
}

/// Everything beneath a directory, directories before what is in them.
fn listed(tree: &Tree, directory: &Path, source: &str) -> Result<Vec<(PathBuf, FileType)>, Error> {
    let mut found = Vec::new();
    let walked = tree
        .walk(directory, &mut |entry| {
            found.push((entry.path.to_owned(), entry.kind));
            found.len() <= MOST_FILES
        })
        .map_err(|errno| io_error("look through", &tree.root().join(directory), errno.into()))?;
    if walked != Walked::Whole {
        return Err(Error::External {
            path: Untrusted::new(""),
            supplied_by: source.to_owned(),
            problem: format!("there are more than {MOST_FILES} files, or some are nested too deep"),
        });
    }
    found.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
    Ok(found)
}

/// Whether two files have the same content.
fn same(mut a: File, mut b: File) -> io::Result<bool> {
    if a.metadata()?.len() != b.metadata()?.len() {
        return Ok(false);
    }
    let (mut of_a, mut of_b) = (vec![0; 64 << 10], vec![0; 64 << 10]);
    loop {
        let read = a.read(&mut of_a)?;
        if read == 0 {
            return Ok(b.read(&mut of_b)? == 0);
        }
        match b.read_exact(&mut of_b[..read]) {
            Ok(()) if of_a[..read] == of_b[..read] => {}
            Ok(()) => return Ok(false),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(false),
            Err(error) => return Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;
    use crate::tree::MOST_DEPTH;

    struct Place {
        dir: tempfile::TempDir,
        tree: Arc<Tree>,
    }

    impl Place {
        fn new() -> Self {
            let dir = tempfile::tempdir().unwrap();
            let pod = dir.path().join("pod");
            fs::create_dir_all(pod.join("payload")).unwrap();
            let tree = Arc::new(Tree::open(&pod).unwrap());
            Self { dir, tree }
        }

        fn begin(&self, guarded: &[&str]) -> External {
            let guarded: Vec<GuestPath> =
                guarded.iter().map(|path| path.parse().unwrap()).collect();
            External::begin(&self.tree, &guarded).unwrap()
        }

        /// An archive's files, as if they had been unpacked.
        fn merge(
            external: &mut External,
            source: &str,
            files: &[(&str, &str)],
        ) -> Result<(), Error> {
            write(&external.incoming().unwrap(), files);
            external.merge(source)
        }

        /// A pod with these files in its output.
        fn output(&self, pod: &str, files: &[(&str, &str)]) -> Tree {
            let pod = self.dir.path().join(pod);
            fs::create_dir_all(pod.join("output")).unwrap();
            write(&pod.join("output"), files);
            Tree::open(&pod).unwrap()
        }

        /// What `payload/external` holds; directories end with `/`.
        fn found(&self) -> Vec<String> {
            let external = self.tree.root().join("payload/external");
            let tree = Tree::open(&external).unwrap();
            let listed = listed(&tree, Path::new("."), "").unwrap();
            let shown = |(path, kind): &(PathBuf, FileType)| {
                let path = path.strip_prefix(".").unwrap();
                match kind {
                    FileType::Directory => format!("{}/", path.display()),
                    _ => format!(
                        "{}={}",
                        path.display(),
                        fs::read_to_string(external.join(path)).unwrap()
                    ),
                }
            };
            listed.iter().map(shown).collect()
        }

        fn nothing_is_left(&self) {
            let staging = self.tree.root().join(STAGING);
            assert!(!staging.exists(), "{:?}", fs::read_dir(&staging));
        }
    }

    fn write(directory: &Path, files: &[(&str, &str)]) {
        for (name, content) in files {
            let path = directory.join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        }
    }

    fn output() -> GuestPath {
        Area::Output.into()
    }

    fn words(collisions: &[Collision]) -> Vec<String> {
        let words = |one: &Collision| {
            let Collision { path, replaced, by } = one;
            format!("{}: {replaced} -> {by}", path.escaped())
        };
        collisions.iter().map(words).collect()
    }

    #[test]
    fn later_sources_lie_over_earlier_ones_and_it_is_told() {
        let place = Place::new();
        let mut external = place.begin(&[]);
        Place::merge(
            &mut external,
            "A",
            &[("x", "a"), ("deep/er/y", "a"), ("same", "1")],
        )
        .unwrap();
        Place::merge(
            &mut external,
            "B",
            &[("x", "b"), ("deep/z", "b"), ("same", "1")],
        )
        .unwrap();
        let previous = place.output("previous", &[("x", "c"), ("deep/er/y", "c")]);
        external.copy(&previous, &output(), "C").unwrap();
        let collisions = external.finish().unwrap();
        assert_eq!(
            place.found(),
            [
                "deep/",
                "deep/er/",
                "deep/er/y=c",
                "deep/z=b",
                "same=1",
                "x=c"
            ]
        );
        assert_eq!(
            words(&collisions),
            ["x: A -> B", "deep/er/y: A -> C", "x: B -> C"]
        );
        // What was copied is still there, what was unpacked is gone.
        assert_eq!(
            fs::read_to_string(previous.root().join("output/x")).unwrap(),
            "c"
        );
        place.nothing_is_left();
    }

    #[test]
    fn contents_are_compared_and_not_their_lengths() {
        let place = Place::new();
        let long = "x".repeat(200_000);
        let other = format!("{}y", &long[1..]);
        let mut external = place.begin(&[]);
        Place::merge(
            &mut external,
            "A",
            &[("same", &long), ("other", &long), ("empty", "")],
        )
        .unwrap();
        Place::merge(
            &mut external,
            "B",
            &[("same", &long), ("other", &other), ("empty", "")],
        )
        .unwrap();
        assert_eq!(words(&external.finish().unwrap()), ["other: A -> B"]);
    }

    #[test]
    fn names_that_are_one_on_other_systems_are_one_here() {
        let place = Place::new();
        let mut external = place.begin(&[]);
        Place::merge(
            &mut external,
            "A",
            &[("Images/A.JPG", "1"), ("\u{e4}", "1")],
        )
        .unwrap();
        Place::merge(
            &mut external,
            "B",
            &[("images/a.jpg", "2"), ("images/b", "2"), ("a\u{308}", "2")],
        )
        .unwrap();
        let collisions = external.finish().unwrap();
        assert_eq!(collisions.len(), 2);
        assert_eq!(
            place.found(),
            ["Images/", "Images/a.jpg=2", "Images/b=2", "a\u{308}=2"]
        );
    }

    #[test]
    fn a_file_and_a_directory_of_one_name_are_refused() {
        for (first, second, problem) in [
            (
                "a",
                "a/b",
                "payload/external/a of B: A has a file of that name",
            ),
            (
                "a/b",
                "A",
                "payload/external/A of B: A has a directory of that name",
            ),
        ] {
            let place = Place::new();
            let mut external = place.begin(&[]);
            Place::merge(&mut external, "A", &[(first, "1")]).unwrap();
            let refused = Place::merge(&mut external, "B", &[(second, "2")]);
            assert_eq!(refused.unwrap_err().to_string(), problem);
            drop(external);
            assert!(!place.tree.root().join("payload/external").exists());
            place.nothing_is_left();
        }
    }

    #[test]
    fn code_is_neither_replaced_nor_supplied_by_what_another_pod_left() {
        let place = Place::new();
        let guarded = ["payload/external/lib/r.zip", "payload/r.zip"];
        for (archive, left, expected) in [
            ("lib/r.zip", "lib/r.zip", Some("is not replaced")),
            ("lib/r.zip", "LIB/R.zip", Some("is not replaced")),
            ("other", "lib/r.zip", Some("from nobody else")),
            ("other", "Lib/R.ZIP", Some("from nobody else")),
            ("other", "lib/r.zip/x", Some("from nobody else")),
            ("lib/r.zip", "lib/s.zip", None),
            ("other", "r.zip", None),
        ] {
            let mut external = place.begin(&guarded);
            Place::merge(&mut external, "A", &[(archive, "code")]).unwrap();
            let pod = format!("{}-{}", archive.len(), left.replace('/', "-"));
            let previous = place.output(&pod, &[(left, "evil")]);
            let copied = external.copy(&previous, &output(), "the output of evil");
            match expected {
                Some(problem) => {
                    let text = copied.unwrap_err().to_string();
                    assert!(
                        text.contains("the output of evil: the recipe names it as a package"),
                        "{text}"
                    );
                    assert!(text.contains(problem), "{text}");
                }
                None => copied.unwrap(),
            }
        }
        let mut external = place.begin(&guarded);
        Place::merge(&mut external, "A", &[("lib/r.zip", "code")]).unwrap();
        let text = Place::merge(&mut external, "B", &[("lib/r.zip", "evil")])
            .unwrap_err()
            .to_string();
        assert!(
            text.contains("of B: ") && text.contains("A supplied it"),
            "{text}"
        );
        // The same code twice is no harm, whoever has it.
        let mut external = place.begin(&guarded);
        Place::merge(&mut external, "A", &[("lib/r.zip", "code")]).unwrap();
        let same = place.output("same", &[("lib/r.zip", "code")]);
        external.copy(&same, &output(), "C").unwrap();
        assert_eq!(external.finish().unwrap(), []);
    }

    #[test]
    fn links_pipes_and_names_of_bytes_in_an_output_are_refused() {
        use std::os::unix::ffi::OsStrExt;
        let place = Place::new();
        type Make = fn(&Path);
        let makes: [(Make, &str); 4] = [
            (
                |at| symlink("/etc/passwd", at.join("link")).unwrap(),
                "neither a file nor a directory",
            ),
            (
                |at| symlink("/etc", at.join("directory")).unwrap(),
                "neither a file nor a directory",
            ),
            (
                |at| {
                    rustix::fs::mknodat(
                        rustix::fs::CWD,
                        at.join("pipe"),
                        FileType::Fifo,
                        Mode::RWXU,
                        0,
                    )
                    .unwrap()
                },
                "neither a file nor a directory",
            ),
            (
                |at| fs::write(at.join(std::ffi::OsStr::from_bytes(b"a\xff")), "x").unwrap(),
                "not UTF-8",
            ),
        ];
        for (number, (make, problem)) in makes.into_iter().enumerate() {
            let previous = place.output(&number.to_string(), &[]);
            make(&previous.root().join("output"));
            let mut external = place.begin(&[]);
            let text = external
                .copy(&previous, &output(), "C")
                .unwrap_err()
                .to_string();
            assert!(text.contains(problem) && text.contains(" of C: "), "{text}");
        }
        // A file with a second name may be one that lies outside.
        let previous = place.output("hard", &[]);
        fs::write(place.dir.path().join("secret"), "secret").unwrap();
        fs::hard_link(
            place.dir.path().join("secret"),
            previous.root().join("output/x"),
        )
        .unwrap();
        let refused = place.begin(&[]).copy(&previous, &output(), "C");
        assert_eq!(
            refused.unwrap_err().to_string(),
            "payload/external/x of C: it has a second name (a hard link), and may be a file that lies outside"
        );
        place.nothing_is_left();
    }

    #[test]
    fn an_output_nested_without_end_is_refused() {
        let place = Place::new();
        let deep = format!("{}x", "a/".repeat(MOST_DEPTH + 2));
        let previous = place.output("previous", &[(&deep, "x")]);
        let refused = place.begin(&[]).copy(&previous, &output(), "C");
        let text = refused.unwrap_err().to_string();
        assert!(
            text.contains("payload/external/ of C: ") && text.contains("nested too deep"),
            "{text}"
        );
    }

    #[test]
    fn an_output_that_is_not_there_is_an_error() {
        let place = Place::new();
        let pod = place.output("previous", &[]);
        fs::remove_dir(pod.root().join("output")).unwrap();
        let text = place
            .begin(&[])
            .copy(&pod, &output(), "C")
            .unwrap_err()
            .to_string();
        assert!(text.starts_with("cannot look through"), "{text}");
    }

    #[test]
    fn the_old_directory_goes_only_when_the_new_one_is_complete() {
        let place = Place::new();
        let payload = place.tree.root().join("payload");
        write(&payload, &[("external/old", "1"), ("mine", "1")]);
        let mut external = place.begin(&[]);
        Place::merge(&mut external, "A", &[("new", "2")]).unwrap();
        assert_eq!(place.found(), ["old=1"]);
        drop(external);
        assert_eq!(place.found(), ["old=1"]);
        place.nothing_is_left();

        let mut external = place.begin(&[]);
        Place::merge(&mut external, "A", &[("new", "2")]).unwrap();
        external.finish().unwrap();
        assert_eq!(place.found(), ["new=2"]);
        assert!(payload.join("mine").exists());
        place.nothing_is_left();
    }

    #[test]
    fn whatever_has_the_directorys_name_is_replaced_and_nothing_is_followed() {
        let place = Place::new();
        let payload = place.tree.root().join("payload");
        let outside = place.dir.path().join("outside");
        write(&outside, &[("mine", "1")]);
        let makes: [&dyn Fn(&Path); 3] = [
            &|at| symlink(&outside, at).unwrap(),
            &|at| fs::write(at, "a file").unwrap(),
            &|_| (),
        ];
        for make in makes {
            make(&payload.join("external"));
            let mut external = place.begin(&[]);
            Place::merge(&mut external, "A", &[("new", "2")]).unwrap();
            external.finish().unwrap();
            assert_eq!(place.found(), ["new=2"]);
            assert!(!payload.join("external").is_symlink());
            assert!(outside.join("mine").exists());
            fs::remove_dir_all(payload.join("external")).unwrap();
            place.nothing_is_left();
        }
        // Above it nothing is replaced, and nothing followed either.
        fs::remove_dir(&payload).unwrap();
        symlink(&outside, &payload).unwrap();
        let mut external = place.begin(&[]);
        Place::merge(&mut external, "A", &[("new", "2")]).unwrap();
        let text = external.finish().unwrap_err().to_string();
        assert!(
            text.starts_with("cannot put payload/external in its place"),
            "{text}"
        );
        assert_eq!(fs::read_dir(&outside).unwrap().count(), 1);
        place.nothing_is_left();
        // And none at all is made.
        fs::remove_file(&payload).unwrap();
        place.begin(&[]).finish().unwrap();
        assert_eq!(place.found(), [""; 0]);
    }

    #[test]
    fn a_staging_place_that_is_a_link_is_not_gone_through() {
        let place = Place::new();
        let outside = place.dir.path().join("outside");
        fs::create_dir(&outside).unwrap();
        symlink(&outside, place.tree.root().join(STAGING)).unwrap();
        let text = External::begin(&place.tree, &[]).unwrap_err().to_string();
        assert!(
            text.starts_with("cannot prepare payload/external in"),
            "{text}"
        );
        assert_eq!(fs::read_dir(&outside).unwrap().count(), 0);
    }
}
