//! What lies in a pod and does not belong there.
//!
//! Every file is opened safely anyway ([`Tree`]); this look beforehand turns what would fail in the middle of a run, when
//! money is spent, into a message before it. It also keeps things out of the guest's sight that the guest's own file
//! system calls would meet: a FIFO that blocks, a link out of the tree.

use std::fmt;
use std::path::Path;

use rustix::fs::FileType;
use rustix::io::Errno;
use serde::Serialize;
use sovr_capability::Untrusted;
use sovr_capability::capabilities::Image;

use crate::pod::has_area;
use crate::tree::{Found, MOST_DEPTH, TreeError, Walked};
use crate::{Area, GuestPath, Pod, Tree};

/// Findings that are listed; more are counted.
const MOST_FINDINGS: usize = 50;

/// Files and directories of one area that are looked at.
const MOST_ENTRIES: usize = 1_000_000;

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Severity {
    /// Worth knowing; the pod runs.
    Warning,
    /// The pod does not run.
    Error,
}

/// Something found in a pod.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// Where: a path in the pod, or a key of the recipe.
    pub place: Untrusted,
    /// What it is; safe to show.
    pub what: String,
    /// Why that matters.
    pub why: &'static str,
    /// What to do.
    pub next: &'static str,
}

impl Finding {
    fn error(
        place: impl Into<Untrusted>,
        what: impl Into<String>,
        why: &'static str,
        next: &'static str,
    ) -> Self {
        Self {
            severity: Severity::Error,
            place: place.into(),
            what: what.into(),
            why,
            next,
        }
    }

    fn warning(
        place: impl Into<Untrusted>,
        what: impl Into<String>,
        why: &'static str,
        next: &'static str,
    ) -> Self {
        Self {
            severity: Severity::Warning,
            ..Self::error(place, what, why, next)
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}: {}: {}; {}",
            self.place.escaped(),
            self.what,
            self.why,
            self.next
        )
    }
}

/// Looks through the areas of a tree: only directories and regular files with one name may lie there.
#[must_use]
pub fn check_tree(tree: &Tree) -> Vec<Finding> {
    let mut findings = Findings::default();
    for area in Area::ALL {
        let mut entries = 0_usize;
        let walked = tree.walk(Path::new(area.name()), &mut |found| {
            findings.extend(look(found));
            entries += 1;
            entries < MOST_ENTRIES
        });
        findings.extend(match walked {
            Ok(Walked::Whole) | Err(Errno::NOENT) => None,
            Ok(Walked::TooDeep) => Some(Finding::error(
                area.name(),
                format!("has directories nested deeper than {MOST_DEPTH}"),
                "no honest pod needs that, and it is not looked through",
                "flatten it",
            )),
            Ok(Walked::Stopped) => Some(Finding::error(
                area.name(),
                format!("has more than {MOST_ENTRIES} entries"),
                "it is not looked through",
                "pack them into an archive",
            )),
            Err(Errno::LOOP) => Some(symbolic_link(area.name())),
            Err(Errno::NOTDIR) => Some(Finding::error(
                area.name(),
                "is not a directory",
                "scripts find a directory of this name",
                "move it elsewhere",
            )),
            Err(errno) => Some(Finding::error(
                area.name(),
                format!("cannot be looked through: {}", std::io::Error::from(errno)),
                "what lies there is not known",
                "make it readable",
            )),
        });
    }
    findings.finish()
}

fn look(found: &Found<'_>) -> Option<Finding> {
    let place = || Untrusted::new(found.path.to_string_lossy());
    let special = |what: &str| {
        let why = "reading it would block, or act on the machine";
        Some(Finding::error(place(), what, why, "remove it"))
    };
    match found.kind {
        FileType::Directory => None,
        FileType::RegularFile if found.stat.st_nlink > 1 => Some(Finding::error(
            place(),
            "has a second name (a hard link)",
            "writing to it would change a file that may lie outside the pod",
            "replace it by a copy",
        )),
        FileType::RegularFile => None,
        FileType::Symlink => Some(symbolic_link(place())),
        FileType::Fifo => special("is a named pipe"),
        FileType::Socket => special("is a socket"),
        _ => special("is a device"),
    }
}

fn symbolic_link(place: impl Into<Untrusted>) -> Finding {
    let why = "it can lead out of the pod";
    Finding::error(
        place,
        "is a symbolic link",
        why,
        "replace it by what it points to",
    )
}

/// When a look is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Before the external payload is fetched.
    Unfetched,
    /// With the external payload in its place.
    Fetched,
}

/// Everything worth saying about a pod that loaded: its tree, its recipe against its tree, habits of the original
/// Sovr that this host does not follow.
#[must_use]
pub fn check(pod: &Pod, stage: Stage) -> Vec<Finding> {
    let tree = pod.tree();
    let recipe = pod.recipe();
    let mut findings = Findings::default();
    findings.extend(check_tree(tree));
    findings.extend(missing_file(
        tree,
        &pod.exec().component,
        "golem.exec",
        "without the component nothing runs",
    ));
    for (name, forms) in recipe
        .capabilities
        .golem
        .iter()
        .flat_map(|golem| &golem.packages)
    {
        for form in forms {
            if let Image::Wasi(path) = &form.image
                && let Ok(path) = path.parse::<GuestPath>()
            {
                let key = format!("capabilities.golem.packages.{name}");
                let comes =
                    stage == Stage::Unfetched && path.is_external() && !recipe.external.is_empty();
                let why = "providers that run WASI packages cannot work";
                let missing = missing_file(tree, &path, &key, why);
                findings.extend(missing.map(|finding| {
                    if !comes {
                        return finding;
                    }
                    Finding::warning(
                        key,
                        format!("names {path}, which comes with the external payload"),
                        "it is looked for when the payload has been fetched",
                        "see that an archive of `golem.payload` holds it",
                    )
                }));
            }
        }
    }
    if has_area(tree, Area::Tmp) {
        findings.extend([Finding::warning(
            "tmp",
            "is there before the run",
            "a run begins with an empty tmp/ and removes it at its end",
            "move what you need elsewhere",
        )]);
    }
    findings.finish()
}

/// A file that the recipe names and the pod does not have, or not as a readable file.
fn missing_file(tree: &Tree, path: &GuestPath, key: &str, why: &'static str) -> Option<Finding> {
    let what = match tree.open_read(path) {
        Ok(_) => return None,
        Err(TreeError::NotFound { path }) => format!("names {path}, and there is nothing"),
        Err(error) => format!("names a file that cannot be used: {error}"),
    };
    Some(Finding::error(
        key,
        what,
        why,
        "put it there, or correct the recipe",
    ))
}

/// Findings up to a number that a person reads.
#[derive(Default)]
struct Findings {
    list: Vec<Finding>,
    more: usize,
}

impl Findings {
    fn extend(&mut self, findings: impl IntoIterator<Item = Finding>) {
        for finding in findings {
            if self.list.len() < MOST_FINDINGS {
                self.list.push(finding);
            } else {
                self.more += 1;
            }
        }
    }

    fn finish(mut self) -> Vec<Finding> {
        if self.more > 0 {
            let what = format!("{} more findings are not listed", self.more);
            self.list.push(Finding::error(
                "the pod",
                what,
                "the list would be too long to read",
                "begin with those above",
            ));
        }
        self.list
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;
    use std::os::unix::net::UnixListener;

    use rustix::fs::{CWD, Mode, mkfifoat};

    use super::*;

    fn findings(make: impl FnOnce(&Path)) -> Vec<String> {
        let dir = tempfile::tempdir().unwrap();
        for area in ["payload", "script", "output", "logs"] {
            fs::create_dir(dir.path().join(area)).unwrap();
        }
        make(dir.path());
        let findings = check_tree(&Tree::open(dir.path()).unwrap());
        assert!(
            findings
                .iter()
                .all(|finding| finding.severity == Severity::Error)
        );
        findings.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn ordinary_files_are_fine_and_what_a_guest_does_not_see_is_ignored() {
        let found = findings(|root| {
            fs::create_dir_all(root.join("payload/a/b")).unwrap();
            fs::write(root.join("payload/a/b/c"), "x").unwrap();
            fs::create_dir(root.join(".git")).unwrap();
            symlink("/etc/passwd", root.join(".git/link")).unwrap();
        });
        assert_eq!(found, [""; 0]);
    }

    #[test]
    fn symbolic_links_are_found_whatever_they_point_to() {
        for target in ["/etc/passwd", "../../..", "a", "absent", "link"] {
            let found = findings(|root| symlink(target, root.join("payload/link")).unwrap());
            assert_eq!(
                found,
                [
                    "payload/link: is a symbolic link: it can lead out of the pod; replace it by what it points to"
                ]
            );
        }
        let found = findings(|root| {
            fs::remove_dir(root.join("output")).unwrap();
            symlink("/tmp", root.join("output")).unwrap();
        });
        assert_eq!(
            found,
            [
                "output: is a symbolic link: it can lead out of the pod; replace it by what it points to"
            ]
        );
    }

    #[test]
    fn named_pipes_sockets_and_devices_are_found() {
        let found = findings(|root| {
            mkfifoat(CWD, root.join("payload/pipe"), Mode::RWXU).unwrap();
            UnixListener::bind(root.join("script/socket")).unwrap();
        });
        assert_eq!(
            found,
            [
                "payload/pipe: is a named pipe: reading it would block, or act on the machine; remove it",
                "script/socket: is a socket: reading it would block, or act on the machine; remove it",
            ]
        );
    }

    #[test]
    fn hard_links_are_found_because_they_may_lead_out() {
        let outside = tempfile::tempdir().unwrap();
        fs::write(outside.path().join("secret"), "x").unwrap();
        let found = findings(|root| {
            fs::hard_link(outside.path().join("secret"), root.join("output/secret")).unwrap();
        });
        assert_eq!(
            found,
            [
                "output/secret: has a second name (a hard link): writing to it would change a file that may lie outside the pod; replace it by a copy"
            ]
        );
    }

    #[test]
    fn deep_nesting_and_files_in_the_place_of_directories_are_found() {
        let found = findings(|root| {
            fs::create_dir_all(root.join(format!("payload/{}", "d/".repeat(MOST_DEPTH + 1))))
                .unwrap();
            fs::remove_dir(root.join("logs")).unwrap();
            fs::write(root.join("logs"), "").unwrap();
        });
        assert_eq!(found.len(), 2, "{found:#?}");
        assert!(
            found[0].starts_with("payload: has directories nested deeper than 64"),
            "{found:#?}"
        );
        assert!(
            found[1].starts_with("logs: is not a directory"),
            "{found:#?}"
        );
    }

    #[test]
    fn a_thousand_findings_make_a_short_list_and_names_are_escaped() {
        let found = findings(|root| {
            for n in 0..1000 {
                symlink("x", root.join(format!("payload/\u{1b}[2J{n}"))).unwrap();
            }
        });
        assert_eq!(found.len(), MOST_FINDINGS + 1);
        assert!(
            found[MOST_FINDINGS].starts_with("the pod: 950 more findings"),
            "{}",
            found[MOST_FINDINGS]
        );
        assert!(found.iter().all(|line| !line.contains('\u{1b}')));
    }
}
