//! `sovr.lock`: what the references of a pod or a task held when they were first used.
//!
//! A sharing reference names a living pod. Its owner can change what lies behind it after somebody has looked, and the
//! next run would take the new content (bait and switch). So the digest of each archive is pinned on first use, and
//! other content is refused until the user says that it is meant. A fork also remembers where it came from.
//!
//! The file is read strictly: one with a key that this program does not know was written by a later one, and ignoring
//! the key could mean ignoring a pin. It is replaced as a whole, so that a crash leaves the old one or the new one.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, FileType, Mode, OFlags};
use rustix::io::Errno;
use serde::Serialize;
use serde_json::Value;
use sovr_capability::capabilities::is_plain;
use sovr_capability::section::{Problems, Section, describe};
use sovr_capability::text::quote;
use sovr_capability::{Digest, Untrusted, json};

use crate::error::io_error;
use crate::recipe::{EXPECTED_REFERENCE, check_data, is_reference};
use crate::{Error, Tree};

/// The file's name in the directory of a pod or a task.
pub const FILE: &str = "sovr.lock";

/// Beginning of the names under which it is written before it replaces the old one.
pub const PARTIAL_PREFIX: &str = ".sovr.lock.";

/// Most bytes.
pub const MOST_BYTES: u64 = 1 << 20;

/// The only version there is.
const VERSION: u64 = 1;

/// Largest size that a JSON number carries exactly everywhere.
const MOST_SIZE: u64 = 1 << 53;

/// The content of a lock file.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Lock {
    /// Where a fork came from.
    pub origin: Option<Origin>,
    /// What references held: sharing reference, path in the shared pod, content.
    pub references: BTreeMap<String, BTreeMap<String, Pin>>,
}

/// Where a fork came from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Origin {
    /// The sharing reference, 64 lower-case hexadecimal digits.
    pub reference: String,
    /// The pod's name there. Checked to be plain.
    pub pod: String,
    /// The archive's digest.
    pub sha256: Digest,
    /// The archive's length in bytes.
    pub size: u64,
}

/// A content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Pin {
    /// Its digest.
    pub sha256: Digest,
    /// Its length in bytes.
    pub size: u64,
}

/// What a content is to the lock file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Checked {
    /// It was not pinned, and is now.
    New,
    /// It is the one that was pinned.
    Same,
    /// Another one was pinned; now this one is, as the user wanted.
    Updated,
}

/// A content that is not the one that was pinned.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{} of the pod shared as {} is not what it was: {FILE} has sha256 {} of {} bytes, now it is sha256 {} of {} bytes; if the change is meant, run `sovr-host lock --update`",
    quote(.path.raw()), .reference.escaped(), .pinned.sha256, .pinned.size, .found.sha256, .found.size
)]
pub struct Changed {
    /// The sharing reference.
    pub reference: Untrusted,
    /// Path of the archive in the shared pod.
    pub path: Untrusted,
    /// What was pinned.
    pub pinned: Pin,
    /// What is there now.
    pub found: Pin,
}

impl Lock {
    /// Reads the lock file of a tree, if it has one.
    ///
    /// # Errors
    /// When it is not a regular file, not readable or not valid.
    pub fn read(tree: &Tree) -> Result<Option<Self>, Error> {
        let path = tree.root().join(FILE);
        let refused = |problem: &str| refused(&path, problem);
        let file = match tree.open_in_root(OsStr::new(FILE)) {
            Ok(file) => file,
            Err(Errno::NOENT) => return Ok(None),
            Err(Errno::LOOP) => return Err(refused("it is a symbolic link")),
            Err(Errno::NODEV | Errno::NXIO | Errno::ISDIR) => {
                return Err(refused("it is not a regular file"));
            }
            Err(errno) => return Err(io_error("open the lock file", &path, errno.into())),
        };
        let mut bytes = Vec::new();
        file.take(MOST_BYTES + 1)
            .read_to_end(&mut bytes)
            .map_err(|source| io_error("read the lock file", &path, source))?;
        Self::parse(&bytes, &path).map(Some)
    }

    /// Reads a lock file's content; `path` is for messages.
    ///
    /// # Errors
    /// With every problem found, each with its key path.
    pub fn parse(bytes: &[u8], path: &Path) -> Result<Self, Error> {
        if bytes.len() as u64 > MOST_BYTES {
            return Err(refused(path, "it is longer than 1 MiB"));
        }
        let value = json::parse(bytes)
            .map_err(|error| refused(path, &format!("it is not valid JSON: {error}")))?;
        let mut problems = Problems::default();
        let lock = read_lock(&value, &mut problems);
        if problems.is_empty() {
            Ok(lock)
        } else {
            Err(Error::Lock {
                path: path.to_owned(),
                problems: problems.lines().collect(),
            })
        }
    }

    /// Replaces the lock file of a tree, as a whole.
    ///
    /// # Errors
    /// When something else than a regular file has its name, when it would be too long to be read again, or when the disk
    /// refuses. The old one is then untouched.
    pub fn write(&self, tree: &Tree) -> Result<(), Error> {
        let path = tree.root().join(FILE);
        let bytes = self.to_bytes();
        if bytes.len() as u64 > MOST_BYTES {
            return Err(refused(&path, "it would be longer than 1 MiB"));
        }
        match rustix::fs::statat(tree.handle(), FILE, AtFlags::SYMLINK_NOFOLLOW) {
            Err(Errno::NOENT) => {}
            Ok(stat) => match FileType::from_raw_mode(stat.st_mode) {
                FileType::RegularFile => {}
                FileType::Symlink => return Err(refused(&path, "it is a symbolic link")),
                _ => return Err(refused(&path, "it is not a regular file")),
            },
            Err(errno) => return Err(io_error("look at the lock file", &path, errno.into())),
        }
        let mut random = [0; 16];
        getrandom::fill(&mut random)
            .map_err(|error| io_error("begin the lock file", &path, error.into()))?;
        let partial = format!("{PARTIAL_PREFIX}{}", hex::encode(random));
        let written = write_and_rename(tree, &partial, &bytes);
        if written.is_err() {
            let _ = rustix::fs::unlinkat(tree.handle(), partial.as_str(), AtFlags::empty());
        }
        written.map_err(|source| io_error("write the lock file", &path, source))
    }

    /// The file's content: sorted, one entry per line, with a line feed at the end.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        #[derive(Serialize)]
        struct Written<'a> {
            version: u64,
            #[serde(skip_serializing_if = "Option::is_none")]
            origin: Option<&'a Origin>,
            references: &'a BTreeMap<String, BTreeMap<String, Pin>>,
        }
        let written = Written {
            version: VERSION,
            origin: self.origin.as_ref(),
            references: &self.references,
        };
        let mut bytes = serde_json::to_vec_pretty(&written).expect("every key is a text");
        bytes.push(b'\n');
        bytes
    }

    /// The same pins without where it came from: what belongs into an archive of this pod, which is no longer that fork.
    #[must_use]
    pub fn without_origin(&self) -> Self {
        Self {
            origin: None,
            references: self.references.clone(),
        }
    }

    /// What was pinned for an archive.
    #[must_use]
    pub fn pin(&self, reference: &str, path: &str) -> Option<&Pin> {
        self.references
            .get(&reference.to_ascii_lowercase())?
            .get(path)
    }

    /// Holds a content against its pin; pins it, if there is none or `update` says so.
    ///
    /// # Errors
    /// When another content is pinned and `update` is false.
    pub fn check(
        &mut self,
        reference: &str,
        path: &str,
        found: &Pin,
        update: bool,
    ) -> Result<Checked, Box<Changed>> {
        let reference = reference.to_ascii_lowercase();
        let checked = match self.pin(&reference, path) {
            Some(pinned) if pinned == found => return Ok(Checked::Same),
            Some(pinned) if !update => {
                return Err(Box::new(Changed {
                    reference: reference.into(),
                    path: path.into(),
                    pinned: *pinned,
                    found: *found,
                }));
            }
            Some(_) => Checked::Updated,
            None => Checked::New,
        };
        let paths = self.references.entry(reference).or_default();
        paths.insert(path.to_owned(), *found);
        Ok(checked)
    }
}

fn write_and_rename(tree: &Tree, partial: &str, bytes: &[u8]) -> std::io::Result<()> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let root = tree.handle();
    let mode = Mode::from_raw_mode(0o666);
    let mut file = File::from(rustix::fs::openat(root, partial, flags, mode)?);
    file.write_all(bytes)?;
    file.sync_all()?;
    rustix::fs::renameat(root, partial, root, FILE)?;
    // The handle may have been opened for its path only; a handle of its own can be synced for certain.
    let directory = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let root = rustix::fs::openat(root, c".", directory, Mode::empty())?;
    Ok(rustix::fs::fsync(root)?)
}

fn refused(path: &Path, problem: &str) -> Error {
    Error::Lock {
        path: PathBuf::from(path),
        problems: vec![problem.to_owned()],
    }
}

fn read_lock(value: &Value, problems: &mut Problems) -> Lock {
    let mut section = Section::new("", Some(value), problems);
    if !value.is_object() {
        return Lock::default();
    }
    match section.take("version").map(Value::as_u64) {
        Some(Some(VERSION)) => {}
        Some(Some(other)) => {
            // What else stands there cannot be judged.
            problems.add(
                "version",
                format_args!(
                    "is {other}, and this sovr-host knows {VERSION} only; use a newer one"
                ),
            );
            return Lock::default();
        }
        Some(None) => problems.add("version", "is not a whole number"),
        None => section.missing("version", "it has to be 1", problems),
    }
    let origin = section
        .take("origin")
        .and_then(|value| read_origin(value, problems));
    let mut references = BTreeMap::new();
    match section.take("references") {
        Some(Value::Object(entries)) => {
            for (reference, paths) in entries {
                read_reference(reference, paths, &mut references, problems);
            }
        }
        Some(other) => problems.add(
            "references",
            format_args!("got {}, expected an object", describe(other)),
        ),
        None => section.missing("references", "write {} if there are none", problems),
    }
    section.finish(problems);
    Lock { origin, references }
}

fn read_origin(value: &Value, problems: &mut Problems) -> Option<Origin> {
    let mut section = Section::new("origin", Some(value), problems);
    let reference: Option<String> = needed(&mut section, "reference", value, problems);
    let pod: Option<String> = needed(&mut section, "pod", value, problems);
    let pin = read_pin(section, value, problems);
    let (reference, pod, pin) = (reference?, pod?, pin?);
    if !is_canonical(&reference) {
        problems.add(
            "origin.reference",
            format_args!(
                "got {}, {EXPECTED_REFERENCE} in lower case",
                quote(&reference)
            ),
        );
    }
    if !is_plain(&pod) {
        problems.add(
            "origin.pod",
            format_args!("got {}, expected the name of a pod", quote(&pod)),
        );
    }
    Some(Origin {
        reference,
        pod,
        sha256: pin.sha256,
        size: pin.size,
    })
}

fn read_reference(
    reference: &str,
    paths: &Value,
    references: &mut BTreeMap<String, BTreeMap<String, Pin>>,
    problems: &mut Problems,
) {
    if !is_canonical(reference) {
        problems.add(
            "references",
            format_args!(
                "got the key {}, {EXPECTED_REFERENCE} in lower case",
                quote(reference)
            ),
        );
        return;
    }
    let key = format!("references.{reference}");
    let Value::Object(paths) = paths else {
        problems.add(
            &key,
            format_args!(
                "got {}, expected an object of archives by path",
                describe(paths)
            ),
        );
        return;
    };
    let mut pins = BTreeMap::new();
    for (path, pin) in paths {
        if let Err(why) = check_data(path) {
            problems.add(
                &key,
                format_args!(
                    "got the key {}{why}, expected an absolute path in a pod",
                    quote(path)
                ),
            );
            continue;
        }
        let key = format!("{key}.{}", sovr_capability::section::shown(path));
        let section = Section::new(&key, Some(pin), problems);
        if let Some(pin) = read_pin(section, pin, problems) {
            pins.insert(path.clone(), pin);
        }
    }
    references.insert(reference.to_owned(), pins);
}

/// The digest and the size, and nothing beyond what was taken before.
fn read_pin(mut section: Section<'_>, value: &Value, problems: &mut Problems) -> Option<Pin> {
    let sha256 = needed(&mut section, "sha256", value, problems);
    if value.is_object() && !section.has("size") {
        section.missing("size", "it is the length in bytes", problems);
    }
    let size = section.number("size", 0, MOST_SIZE, problems);
    section.finish(problems);
    Some(Pin {
        sha256: sha256?,
        size: size?,
    })
}

fn needed<T>(
    section: &mut Section<'_>,
    name: &'static str,
    value: &Value,
    problems: &mut Problems,
) -> Option<T>
where
    T: std::str::FromStr<Err: std::fmt::Display>,
{
    if value.is_object() && !section.has(name) {
        section.missing(name, "it belongs to the pinned content", problems);
    }
    section.parsed(name, "a text", problems)
}

fn is_canonical(reference: &str) -> bool {
    is_reference(reference) && !reference.bytes().any(|b| b.is_ascii_uppercase())
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use serde_json::json;

    use super::*;

    fn pin(content: &str) -> Pin {
        Pin {
            sha256: Digest::of(content),
            size: content.len() as u64,
        }
    }

    fn reference(begin: &str) -> String {
        begin.repeat(32)
    }

    fn full() -> Lock {
        let mut lock = Lock {
            origin: Some(Origin {
                reference: reference("0f"),
                pod: "render".into(),
                sha256: Digest::of("zip"),
                size: 3,
            }),
            ..Lock::default()
        };
        for (begin, path) in [("a6", "/b.zip"), ("00", "/ä b.zip"), ("a6", "/a.zip")] {
            lock.check(&reference(begin), path, &pin(path), false)
                .unwrap();
        }
        lock
    }

    fn problems(document: &Value) -> Vec<String> {
        match Lock::parse(document.to_string().as_bytes(), Path::new(FILE)) {
            Err(Error::Lock { problems, .. }) => problems,
            other => panic!("{other:?}"),
        }
    }

    fn names_in(dir: &Path) -> Vec<String> {
        let entries = fs::read_dir(dir).unwrap();
        entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect()
    }

    #[test]
    fn it_is_written_sorted_and_reads_back() {
        let lock = full();
        let bytes = lock.to_bytes();
        assert_eq!(Lock::parse(&bytes, Path::new(FILE)).unwrap(), lock);
        let text = String::from_utf8(bytes).unwrap();
        assert!(
            text.starts_with("{\n  \"version\": 1,\n  \"origin\": {\n    \"reference\": \"0f0f"),
            "{text}"
        );
        assert!(text.ends_with("}\n"));
        let places: Vec<usize> = [&reference("00"), &reference("a6"), "/a.zip", "/b.zip"]
            .iter()
            .map(|part| text.find(*part).unwrap())
            .collect();
        assert!(places.is_sorted(), "{text}");
        let without = String::from_utf8(lock.without_origin().to_bytes()).unwrap();
        assert!(!without.contains("origin") && without.contains("/a.zip"));
        assert_eq!(
            String::from_utf8(Lock::default().to_bytes()).unwrap(),
            "{\n  \"version\": 1,\n  \"references\": {}\n}\n"
        );
    }

    #[test]
    fn bait_and_switch_is_refused_with_both_digests_until_the_user_says_update() {
        let mut lock = Lock::default();
        let (good, evil) = (pin("good"), pin("evil!"));
        let at = reference("A6");
        assert_eq!(
            lock.check(&at, "/x.zip", &good, false).unwrap(),
            Checked::New
        );
        assert_eq!(
            lock.check(&reference("a6"), "/x.zip", &good, false)
                .unwrap(),
            Checked::Same
        );
        let changed = lock
            .check(&at, "/x.zip", &evil, false)
            .unwrap_err()
            .to_string();
        assert_eq!(
            changed,
            format!(
                "\"/x.zip\" of the pod shared as {} is not what it was: sovr.lock has sha256 {} of 4 bytes, now it is sha256 {} of 5 bytes; if the change is meant, run `sovr-host lock --update`",
                reference("a6"),
                Digest::of("good"),
                Digest::of("evil!")
            )
        );
        // A refusal pins nothing.
        assert_eq!(lock.pin(&at, "/x.zip"), Some(&good));
        assert_eq!(
            lock.check(&at, "/other.zip", &evil, false).unwrap(),
            Checked::New
        );
        assert_eq!(
            lock.check(&at, "/x.zip", &evil, true).unwrap(),
            Checked::Updated
        );
        assert_eq!(
            lock.check(&at, "/x.zip", &evil, true).unwrap(),
            Checked::Same
        );
        let resized = Pin { size: 6, ..evil };
        assert!(lock.check(&at, "/x.zip", &resized, false).is_err());
    }

    #[test]
    fn a_change_message_cannot_draw_on_the_terminal() {
        let mut lock = Lock::default();
        let path = "/\u{1b}[2J\u{202e}.zip";
        lock.check("x\u{1b}", path, &pin("a"), false).unwrap();
        let changed = lock.check("x\u{1b}", path, &pin("b"), false).unwrap_err();
        assert!(
            !changed.to_string().contains(['\u{1b}', '\u{202e}']),
            "{changed}"
        );
    }

    #[test]
    fn what_it_does_not_know_is_an_error_and_never_ignored() {
        let whole: Value = serde_json::from_slice(&full().to_bytes()).unwrap();
        let with = |pointer: &str, value: Value| {
            let (parent, key) = pointer.rsplit_once('/').unwrap();
            let mut document = whole.clone();
            document.pointer_mut(parent).unwrap()[key] = value;
            document
        };
        let digest = Digest::of("").to_string();
        let cases = [
            (
                with("/version", json!(2)),
                "`version`: is 2, and this sovr-host knows 1 only; use a newer one",
            ),
            (
                with("/version", json!("1")),
                "`version`: is not a whole number",
            ),
            (
                with("/extra", json!(1)),
                "`extra`: unknown key; known here are version, origin, references",
            ),
            (
                with("/origin/user", json!(1)),
                "`origin.user`: unknown key; known here are reference, pod, sha256, size",
            ),
            (
                with("/origin/pod", json!("../../x")),
                "`origin.pod`: got \"../../x\", expected the name of a pod",
            ),
            (
                with("/origin/reference", json!(reference("0F"))),
                "in lower case",
            ),
            (
                with("/origin/sha256", json!(digest.to_uppercase())),
                "is not a digest",
            ),
            (
                with("/origin/size", json!(-1)),
                "`origin.size`: got the number -1, expected a whole number",
            ),
            (
                with("/references", json!([])),
                "`references`: got a list of 0, expected an object",
            ),
            (
                with("/references/short", json!({})),
                "`references`: got the key \"short\", expected a sharing reference, 64 or 128 hexadecimal digits in lower case",
            ),
            (
                with(&format!("/references/{}", reference("a6")), json!(1)),
                "expected an object of archives by path",
            ),
            (
                with(
                    "/references",
                    json!({ reference("a6"): { "x.zip": { "sha256": digest, "size": 0 } } }),
                ),
                "got the key \"x.zip\", expected an absolute path in a pod",
            ),
            (
                with(
                    "/references",
                    json!({ reference("a6"): { "/x.zip": { "sha256": digest } } }),
                ),
                "size`: is missing; it is the length in bytes",
            ),
            (
                with(
                    "/references",
                    json!({ reference("a6"): { "/x.zip": { "sha256": digest, "size": 0, "md5": "" } } }),
                ),
                "md5`: unknown key",
            ),
            (
                with(
                    "/references",
                    json!({ reference("a6"): { "/x.zip": digest } }),
                ),
                "expected an object",
            ),
        ];
        for (document, expected) in cases {
            let found = problems(&document);
            assert!(
                found.iter().any(|line| line.contains(expected)),
                "{expected}: {found:#?}"
            );
        }
        assert_eq!(
            problems(&json!({})),
            [
                "`version`: is missing; it has to be 1",
                "`references`: is missing; write {} if there are none"
            ]
        );
        assert!(!problems(&json!([])).is_empty());
    }

    #[test]
    fn a_huge_deep_or_doubled_lock_file_is_refused_with_its_place_and_what_to_do() {
        let mut huge = full().to_bytes();
        huge.resize(MOST_BYTES as usize + 1, b' ');
        let error = Lock::parse(&huge, Path::new(FILE)).unwrap_err();
        assert!(error.to_string().contains("longer than 1 MiB"), "{error}");
        let deep = "{\"references\":".repeat(10_000);
        let twice = br#"{"version":1,"references":{},"references":{}}"#;
        for text in [&huge[..], deep.as_bytes(), twice, b"", b"\xff", b"null"] {
            let error = Lock::parse(text, Path::new("/pods/x/sovr.lock"))
                .unwrap_err()
                .to_string();
            assert!(
                error.starts_with("the lock file /pods/x/sovr.lock cannot be used:\n  "),
                "{error}"
            );
            assert!(
                error.ends_with(
                    "\n  correct it; or remove it, and what the references hold now is pinned"
                ),
                "{error}"
            );
        }
    }

    #[test]
    fn it_is_replaced_as_a_whole_and_leaves_nothing_beside() {
        let dir = tempfile::tempdir().unwrap();
        let tree = Tree::open(dir.path()).unwrap();
        assert_eq!(Lock::read(&tree).unwrap(), None);
        full().write(&tree).unwrap();
        assert_eq!(Lock::read(&tree).unwrap(), Some(full()));
        let old = File::open(dir.path().join(FILE)).unwrap();
        full().without_origin().write(&tree).unwrap();
        assert_eq!(Lock::read(&tree).unwrap(), Some(full().without_origin()));
        assert_eq!(names_in(dir.path()), [FILE]);
        // Whoever had the old one open still reads all of it: it was not written into.
        let mut text = Vec::new();
        (&old).read_to_end(&mut text).unwrap();
        assert_eq!(text, full().to_bytes());
    }

    #[test]
    fn a_lock_file_that_is_a_link_is_neither_read_nor_written_through() {
        let dir = tempfile::tempdir().unwrap();
        let outside = tempfile::tempdir().unwrap();
        let target = outside.path().join("precious");
        fs::write(&target, full().to_bytes()).unwrap();
        symlink(&target, dir.path().join(FILE)).unwrap();
        let tree = Tree::open(dir.path()).unwrap();
        for error in [
            Lock::read(&tree).unwrap_err(),
            Lock::default().write(&tree).unwrap_err(),
        ] {
            assert!(
                error.to_string().contains("it is a symbolic link"),
                "{error}"
            );
        }
        assert_eq!(fs::read(&target).unwrap(), full().to_bytes());

        fs::remove_file(dir.path().join(FILE)).unwrap();
        fs::create_dir(dir.path().join(FILE)).unwrap();
        for error in [
            Lock::read(&tree).unwrap_err(),
            Lock::default().write(&tree).unwrap_err(),
        ] {
            assert!(
                error.to_string().contains("it is not a regular file"),
                "{error}"
            );
        }
        fs::remove_dir(dir.path().join(FILE)).unwrap();
        rustix::fs::mkfifoat(rustix::fs::CWD, dir.path().join(FILE), Mode::RWXU).unwrap();
        assert!(Lock::read(&tree).is_err());
        assert!(Lock::default().write(&tree).is_err());
        assert_eq!(names_in(dir.path()), [FILE]);
    }

    #[test]
    fn what_could_not_be_read_again_is_not_written() {
        let dir = tempfile::tempdir().unwrap();
        let tree = Tree::open(dir.path()).unwrap();
        full().write(&tree).unwrap();
        let mut lock = full();
        for n in 0..10_000 {
            lock.check(&reference("a6"), &format!("/{n}.zip"), &pin(""), false)
                .unwrap();
        }
        let error = lock.write(&tree).unwrap_err().to_string();
        assert!(error.contains("it would be longer than 1 MiB"), "{error}");
        assert_eq!(Lock::read(&tree).unwrap(), Some(full()));
    }
}
