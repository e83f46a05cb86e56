//! Deciding what goes into an archive.

use std::ffi::CString;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Dir, FileType, Stat};
use rustix::io::Errno;
use serde_json::Value;
use sovr_capability::Untrusted;
use sovr_capability::member::{self, Members};

use super::{Archive, ArchiveError, Content, Contents, Kind, LeftOut, Member, ignored};
use crate::tree::is_dot;
use crate::{Finding, GuestPath, Severity, Tree, lock};

/// The recipe's name in an archive.
const RECIPE: &str = "recipe.json";

/// Findings that are listed; more are counted.
const MOST_FINDINGS: usize = 50;

/// Directories whose content is packed only when it is asked for.
const RESULTS: [&str; 2] = ["output", "logs"];
const UNASKED: &str = "results are packed only when they are asked for";

/// A whole pod or task.
pub(super) fn whole(tree: &Tree, contents: Contents) -> Result<Archive, ArchiveError> {
    let mut planner = Planner::new(tree, "");
    let directories: &[&str] = match contents.kind {
        Kind::Pod => &["script", "payload", "output", "logs"],
        Kind::Task => &["payload"],
    };
    for name in directories {
        planner.add((*name).to_owned(), Content::Directory);
    }
    planner.given = directories.to_vec();
    planner.add(RECIPE.to_owned(), Content::Given(contents.recipe));
    if let Some(lock) = contents.lock {
        planner.add(lock::FILE.to_owned(), Content::Given(lock));
    }
    planner.is_task = contents.kind == Kind::Task;
    planner.outputs = contents.outputs;
    planner.walk("");
    planner.finish()
}

/// One directory of a pod.
pub(super) fn directory(tree: &Tree, directory: &GuestPath) -> Result<Archive, ArchiveError> {
    let mut planner = Planner::new(tree, directory.as_str());
    planner.outputs = true;
    planner.walk(directory.as_str());
    planner.finish()
}

struct Planner<'a> {
    tree: &'a Tree,
    /// What names in the archive are relative to, from the tree's root.
    base: &'a str,
    is_task: bool,
    outputs: bool,
    /// Directories that are in the archive anyway.
    given: Vec<&'static str>,
    most_members: u64,
    names: Members,
    members: Vec<Member>,
    left_out: Vec<LeftOut>,
    findings: Vec<Finding>,
    more_findings: usize,
    bytes: u64,
}

impl<'a> Planner<'a> {
    fn new(tree: &'a Tree, base: &'a str) -> Self {
        Self {
            tree,
            base,
            is_task: false,
            outputs: false,
            given: Vec::new(),
            most_members: member::MOST_MEMBERS,
            names: Members::new(member::MOST_DEPTH),
            members: Vec::new(),
            left_out: Vec::new(),
            findings: Vec::new(),
            more_findings: 0,
            bytes: 0,
        }
    }

    /// Comes past everything beneath a directory that is not left out.
    fn walk(&mut self, start: &str) {
        let mut pending = vec![start.to_owned()];
        while let Some(directory) = pending.pop() {
            let entries = match self.entries(&directory) {
                Ok(entries) => entries,
                Err(errno) => {
                    self.refuse(
                        &directory,
                        format!("cannot be looked through: {}", io::Error::from(errno)),
                        "what lies there is not known",
                        "make it readable, or remove it",
                    );
                    continue;
                }
            };
            for (name, stat) in entries {
                if self.members.len() as u64 > self.most_members {
                    return;
                }
                let beneath = |name: &str| match directory.as_str() {
                    "" => name.to_owned(),
                    directory => format!("{directory}/{name}"),
                };
                match name.to_str() {
                    Ok(name) => {
                        let path = beneath(name);
                        if self.look(&path, &stat) {
                            pending.push(path);
                        }
                    }
                    Err(_) => {
                        let path = beneath(&name.to_string_lossy());
                        self.refuse_name(&path, "has a name that is not UTF-8");
                    }
                }
            }
        }
    }

    /// What lies in a directory, sorted.
    fn entries(&self, directory: &str) -> Result<Vec<(CString, Stat)>, Errno> {
        let path = if directory.is_empty() { "." } else { directory };
        let handle = self.tree.open_directory(Path::new(path))?;
        let mut entries = Vec::new();
        let mut read = Dir::read_from(&handle)?;
        while let Some(entry) = read.read() {
            let entry = entry?;
            let name = entry.file_name();
            if is_dot(name) {
                continue;
            }
            match rustix::fs::statat(&handle, name, AtFlags::SYMLINK_NOFOLLOW) {
                Ok(stat) => entries.push((name.to_owned(), stat)),
                Err(Errno::NOENT) => {}
                Err(errno) => return Err(errno),
            }
            // More than are ever packed, whatever is left out.
            if entries.len() as u64 > 2 * member::MOST_MEMBERS {
                break;
            }
        }
        entries.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
        Ok(entries)
    }

    /// Decides about one thing. Answers whether it is a directory to be walked.
    fn look(&mut self, path: &str, stat: &Stat) -> bool {
        let kind = FileType::from_raw_mode(stat.st_mode);
        let is_directory = kind == FileType::Directory;
        if !is_directory && self.base.is_empty() && path == RECIPE {
            return false;
        }
        if let Some(why) = self.left_out_because(path, is_directory) {
            self.leave_out(path, is_directory, why);
            return false;
        }
        if !is_directory && self.base.is_empty() && path == lock::FILE {
            return false;
        }
        match kind {
            FileType::Directory => {
                if self.given.contains(&path) {
                    let results = RESULTS.contains(&path) && !self.outputs;
                    if results && self.entries(path).is_ok_and(|entries| !entries.is_empty()) {
                        self.leave_out(path, true, UNASKED);
                    }
                    return !results;
                }
                self.add(path.to_owned(), Content::Directory)
            }
            FileType::RegularFile if stat.st_nlink > 1 => {
                self.refuse(
                    path,
                    "has a second name (a hard link)".to_owned(),
                    "the file may be one that lies outside",
                    "replace it by a copy",
                );
                false
            }
            FileType::RegularFile => {
                let size = u64::try_from(stat.st_size).unwrap_or_default();
                let path = path.to_owned();
                self.add(path.clone(), Content::File { path, size });
                false
            }
            FileType::Symlink => {
                self.refuse(
                    path,
                    "is a symbolic link".to_owned(),
                    "what it points to may lie outside and would be published",
                    "replace it by what it points to, or remove it",
                );
                false
            }
            kind => {
                let what = match kind {
                    FileType::Fifo => "is a named pipe",
                    FileType::Socket => "is a socket",
                    _ => "is a device",
                };
                self.refuse(
                    path,
                    what.to_owned(),
                    "an archive cannot hold it",
                    "remove it",
                );
                false
            }
        }
    }

    fn left_out_because(&self, path: &str, is_directory: bool) -> Option<&'static str> {
        let name = path.rsplit('/').next().unwrap_or(path);
        if let Some(why) = ignored::by_name(name).or_else(|| ignored::by_path(path)) {
            return Some(why);
        }
        if !self.base.is_empty() || path.contains('/') {
            return None;
        }
        if self.is_task && RESULTS.contains(&path) && !self.outputs {
            return Some(UNASKED);
        }
        let has_lock = || self.members.iter().any(|member| member.name == lock::FILE);
        match path {
            lock::FILE if !is_directory && !has_lock() => Some("it pins what is not packed"),
            _ if is_directory && self.is_task && self.is_fork(path) => {
                Some("it is a pod that a run forked, and is forked again")
            }
            _ => None,
        }
    }

    /// Whether a directory was made by forking a pod: its lock file says from where.
    fn is_fork(&self, directory: &str) -> bool {
        let path = PathBuf::from(directory).join(lock::FILE);
        let Ok(file) = self.tree.open_file(&path) else {
            return false;
        };
        let mut content = Vec::new();
        let read = file.take(lock::MOST_BYTES).read_to_end(&mut content);
        read.is_ok()
            && serde_json::from_slice(&content)
                .is_ok_and(|lock: Value| lock.get("origin").is_some_and(Value::is_object))
    }

    /// Puts something into the archive, if its name is acceptable there. Answers whether it is.
    fn add(&mut self, path: String, content: Content) -> bool {
        let is_directory = content == Content::Directory;
        let mut name = path[self.base.len()..].trim_start_matches('/').to_owned();
        let kind = if is_directory {
            member::Kind::Directory
        } else {
            member::Kind::File
        };
        if let Err(what) = self.names.add(&name, kind) {
            self.refuse_name(&path, what);
            return false;
        }
        if is_directory {
            name.push('/');
        }
        let member = Member { name, content };
        self.bytes = self.bytes.saturating_add(member.size().unwrap_or_default());
        self.members.push(member);
        true
    }

    fn leave_out(&mut self, path: &str, is_directory: bool, why: &'static str) {
        let mut path = path[self.base.len()..].trim_start_matches('/').to_owned();
        if is_directory {
            path.push('/');
        }
        self.left_out.push(LeftOut {
            path: path.into(),
            why,
        });
    }

    fn refuse_name(&mut self, path: &str, what: impl Into<String>) {
        self.refuse(
            path,
            what.into(),
            "it could not be unpacked everywhere as what it is",
            "rename or move it",
        );
    }

    fn refuse(&mut self, path: &str, what: String, why: &'static str, next: &'static str) {
        if self.findings.len() == MOST_FINDINGS {
            self.more_findings += 1;
            return;
        }
        let place = if path.is_empty() { "the pod" } else { path };
        self.findings.push(Finding {
            severity: Severity::Error,
            place: place.into(),
            what,
            why,
            next,
        });
    }

    fn finish(mut self) -> Result<Archive, ArchiveError> {
        let tree = self.tree;
        if self.members.len() as u64 > self.most_members {
            self.refuse(
                self.base,
                format!("has more than {} files and directories", self.most_members),
                "such an archive is refused where it is unpacked",
                "pack them into an archive of your own in payload/",
            );
        }
        if self.bytes > member::MOST_CONTENT {
            self.refuse(
                self.base,
                format!(
                    "has {} bytes in its files, and at most {} are packed",
                    self.bytes,
                    member::MOST_CONTENT
                ),
                "such an archive is refused where it is unpacked",
                "remove what is not needed, or share it as a pod of its own",
            );
        }
        if self.more_findings > 0 {
            let what = format!("has {} more such files", self.more_findings);
            self.findings.push(Finding {
                severity: Severity::Error,
                place: "the pod".into(),
                what,
                why: "nothing is packed as long as one is left",
                next: "look again when these are mended",
            });
        }
        if !self.findings.is_empty() {
            return Err(ArchiveError::Refused {
                place: Untrusted::new(tree.root().join(self.base).to_string_lossy()),
                findings: self.findings,
            });
        }
        self.members
            .sort_unstable_by(|a, b| a.name.as_bytes().cmp(b.name.as_bytes()));
        self.left_out.sort();
        let failed = |source| ArchiveError::Io {
            path: "the pod".into(),
            source,
        };
        Ok(Archive {
            tree: tree.try_clone().map_err(failed)?,
            members: self.members,
            left_out: self.left_out,
            bytes: self.bytes,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn packed(files: usize) -> Result<Archive, ArchiveError> {
        let root = tempfile::tempdir().unwrap();
        for number in 0..files {
            fs::write(root.path().join(number.to_string()), "").unwrap();
        }
        let tree = Tree::open(root.path()).unwrap();
        let mut planner = Planner::new(&tree, "");
        planner.most_members = 100;
        planner.walk("");
        planner.finish()
    }

    #[test]
    fn too_many_files_are_refused() {
        assert_eq!(packed(100).unwrap().members().len(), 100);
        let error = packed(101).unwrap_err().to_string();
        assert!(
            error.contains("has more than 100 files and directories"),
            "{error}"
        );
    }

    #[test]
    fn a_thousand_findings_make_a_short_list() {
        let root = tempfile::tempdir().unwrap();
        for number in 0..1000 {
            std::os::unix::fs::symlink("x", root.path().join(number.to_string())).unwrap();
        }
        let tree = Tree::open(root.path()).unwrap();
        let mut planner = Planner::new(&tree, "");
        planner.walk("");
        let Err(ArchiveError::Refused { findings, .. }) = planner.finish() else {
            panic!("it was planned");
        };
        assert_eq!(findings.len(), MOST_FINDINGS + 1);
        assert_eq!(findings[MOST_FINDINGS].what, "has 950 more such files");
    }
}
