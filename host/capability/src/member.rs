//! Names of the members of an archive: what one may be called, and which may not stand side by side.
//!
//! An archive is written on one machine and unpacked on another. A name that is harmless on the first may lead out of
//! the directory on the second, open a device there, or be the name of another member: file systems differ in what
//! separates parts, which endings they drop, and whether `a` and `A` or two spellings of `ä` are one. So both who packs
//! and who unpacks hold to what is the same everywhere, and refuse the rest instead of repairing it: a repaired archive
//! is not the one that somebody looked at.

use std::borrow::Cow;
use std::collections::HashMap;

use unicode_normalization::UnicodeNormalization as _;

use crate::text::is_hidden;

/// Longest name, in bytes.
pub const MOST_BYTES: usize = 1024;

/// Longest part of a name, in bytes; what file systems allow.
pub const MOST_PART_BYTES: usize = 255;

/// Most directories around a member of a pod's archive, or of one that is a directory itself.
pub const MOST_DEPTH: usize = 64;

/// Most members of a pod's archive.
pub const MOST_MEMBERS: u64 = 100_000;

/// Most bytes of all files of a pod's archive, unpacked.
pub const MOST_CONTENT: u64 = 16 << 30;

/// Most bytes that come out of a pod's archive for each byte of it. Text compresses by ten, honest images of nothing by
/// a hundred; deflate ends at a thousand.
pub const MOST_RATIO: u64 = 200;

/// Bytes that may always come out, whatever the ratio.
pub const ALWAYS_CONTENT: u64 = 64 << 20;

/// Names that open a device on Windows, with any ending.
const DEVICES: [&str; 7] = ["con", "prn", "aux", "nul", "conin$", "conout$", "clock$"];

/// What a member is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A file.
    File,
    /// A directory; in an archive its name ends with `/`, here it does not.
    Directory,
}

/// Bytes that may come out of an archive of that size, at so many bytes for one.
#[must_use]
pub fn most_content(archive: u64, ratio: u64) -> u64 {
    archive.saturating_mul(ratio).max(ALWAYS_CONTENT)
}

/// Whether a name, without the `/` at a directory's end, leads to the same place beneath the directory it is joined to
/// on every system. The error continues a sentence about the name.
///
/// # Errors
/// When it does not.
pub fn check(name: &str) -> Result<(), &'static str> {
    if name.is_empty() {
        return Err("has no name");
    }
    if name.starts_with('/') {
        return Err("has an absolute path");
    }
    if name.len() > MOST_BYTES {
        return Err("has a name of more than 1024 bytes");
    }
    if name.contains(['\\', ':']) {
        return Err("has a backslash or a colon in its name, which lead elsewhere on some systems");
    }
    if name.contains(is_hidden) {
        return Err("has a hidden character in its name, such as a control character");
    }
    name.split('/').try_for_each(check_part)
}

fn check_part(part: &str) -> Result<(), &'static str> {
    match part {
        "" => return Err("has an empty part in its path"),
        "." | ".." => return Err("has \".\" or \"..\" in its path"),
        _ => {}
    }
    if part.len() > MOST_PART_BYTES {
        return Err("has a part of more than 255 bytes in its path");
    }
    if part.starts_with(char::is_whitespace) || part.ends_with(char::is_whitespace) {
        return Err("has a part in its path that begins or ends with a space");
    }
    if part.ends_with('.') {
        return Err("has a part in its path that ends with a dot, which some systems drop");
    }
    if is_device(part) {
        return Err("has the name of a device of Windows in its path");
    }
    Ok(())
}

fn is_device(part: &str) -> bool {
    let stem = part.split('.').next().unwrap_or(part).trim_end();
    let is = |device: &str| stem.eq_ignore_ascii_case(device);
    if DEVICES.into_iter().any(is) {
        return true;
    }
    let mut characters = stem.chars();
    let last = characters.next_back();
    let port = characters.as_str();
    matches!(last, Some('0'..='9' | '¹' | '²' | '³'))
        && ["com", "lpt"]
            .into_iter()
            .any(|device| port.eq_ignore_ascii_case(device))
}

/// Equal for names that some file system takes for one.
#[must_use]
pub fn folded(name: &str) -> String {
    if name.is_ascii() {
        name.to_ascii_lowercase()
    } else {
        name.nfd().flat_map(char::to_lowercase).nfc().collect()
    }
}

/// The members of one archive, as they are found one after the other.
#[derive(Debug)]
pub struct Members {
    deepest: usize,
    /// By folded name.
    seen: HashMap<String, Seen>,
}

#[derive(Debug)]
struct Seen {
    name: Box<str>,
    kind: Kind,
    /// Whether it is a member, or only lies around one.
    listed: bool,
}

impl Members {
    /// No members yet; each may have so many directories around it.
    #[must_use]
    pub fn new(deepest: usize) -> Self {
        Self {
            deepest,
            seen: HashMap::new(),
        }
    }

    /// Adds a member, after [`check`]ing its name. The error continues a sentence about the member.
    ///
    /// # Errors
    /// When its name is not acceptable, or not beside those that were added before.
    pub fn add(&mut self, name: &str, kind: Kind) -> Result<(), Cow<'static, str>> {
        check(name)?;
        let around = name.matches('/').count() + usize::from(kind == Kind::Directory);
        if around > self.deepest {
            return Err(format!("is nested deeper than {} directories", self.deepest).into());
        }
        let mut path = String::with_capacity(name.len());
        for (end, _) in name.match_indices('/') {
            path = folded_onto(path, &name[..end]);
            self.put(&path, &name[..end], Kind::Directory, false)?;
        }
        let path = folded_onto(path, name);
        self.put(&path, name, kind, true)
    }

    fn put(
        &mut self,
        path: &str,
        name: &str,
        kind: Kind,
        listed: bool,
    ) -> Result<(), Cow<'static, str>> {
        // Most of the time a directory was met before, and nothing needs to be allocated.
        if let Some(seen) = self.seen.get_mut(path) {
            if *seen.name != *name {
                return Err("has a name, or lies in a directory with a name, that differs from another one's only in case or in how letters are composed".into());
            }
            if seen.kind != kind {
                return Err(if listed {
                    "is a file and a directory"
                } else {
                    "lies beneath a file"
                }
                .into());
            }
            if seen.listed && listed {
                return Err("is there twice".into());
            }
            seen.listed |= listed;
            return Ok(());
        }
        self.seen.insert(
            path.to_owned(),
            Seen {
                name: name.into(),
                kind,
                listed,
            },
        );
        Ok(())
    }
}

/// The folded name of a directory, and then the last part of `name`.
fn folded_onto(mut directory: String, name: &str) -> String {
    let part = name.rsplit('/').next().unwrap_or(name);
    if !directory.is_empty() {
        directory.push('/');
    }
    directory.push_str(&folded(part));
    directory
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ordinary_names_are_fine() {
        for name in [
            "recipe.json",
            "payload/scene one/Größe.blend",
            "渲染/ملف.png",
            ".hidden/..two",
            "conf/console.log",
            "com10",
            "comx/lpt",
            "a.b.c",
        ] {
            assert_eq!(check(name), Ok(()), "{name}");
        }
        check(&"x".repeat(MOST_PART_BYTES)).unwrap();
    }

    #[test]
    fn names_that_lead_elsewhere_somewhere_are_refused() {
        for (name, why) in [
            ("", "no name"),
            ("/etc/passwd", "absolute"),
            ("//host/share", "absolute"),
            ("..", "\"..\""),
            ("a/../b", "\"..\""),
            ("a/./b", "\"..\""),
            ("a//b", "empty part"),
            ("a/", "empty part"),
            ("..\\evil", "backslash"),
            ("C:evil", "colon"),
            ("C:/evil", "colon"),
            ("file.txt:stream", "colon"),
            ("a\0b", "hidden"),
            ("a\nb", "hidden"),
            ("a\u{1b}[2J", "hidden"),
            ("a\u{202e}gpj.exe", "hidden"),
            ("a\u{200b}", "hidden"),
            (" a", "space"),
            ("a /b", "space"),
            ("a\u{a0}", "space"),
            ("a./b", "dot"),
            ("...", "dot"),
            ("con", "device"),
            ("a/NUL.txt", "device"),
            ("aux.tar.gz", "device"),
            ("nul .txt", "device"),
            ("Com1", "device"),
            ("lpt²", "device"),
            ("CONIN$", "device"),
        ] {
            let found = check(name).unwrap_err();
            assert!(found.contains(why), "{name:?}: {found}");
        }
        assert!(check(&"x".repeat(MOST_PART_BYTES + 1)).is_err());
        assert!(check(&"x/".repeat(MOST_BYTES / 2 + 1)[..MOST_BYTES + 1]).is_err());
    }

    fn add_all(names: &[&str]) -> Result<(), String> {
        let mut members = Members::new(3);
        for name in names {
            let (name, kind) = match name.strip_suffix('/') {
                Some(name) => (name, Kind::Directory),
                None => (*name, Kind::File),
            };
            members
                .add(name, kind)
                .map_err(|why| format!("{name} {why}"))?;
        }
        Ok(())
    }

    #[test]
    fn a_directory_may_come_before_or_after_what_lies_in_it() {
        add_all(&["a/", "a/b/", "a/b/c", "d/e", "d/", "f"]).unwrap();
    }

    #[test]
    fn names_that_are_one_somewhere_are_refused() {
        let composed = "\u{e4}";
        let decomposed = "a\u{308}";
        for (names, why) in [
            (&["a", "a"][..], "a is there twice"),
            (&["a/", "a/"], "a is there twice"),
            (&["a", "a/"], "a is a file and a directory"),
            (&["a/", "a"], "a is a file and a directory"),
            (&["a", "a/b"], "a/b lies beneath a file"),
            (&["a/b", "a"], "a is a file and a directory"),
            (&["scene", "Scene"], "only in case"),
            (&["a/x", "A/y"], "only in case"),
            (&["STRASSE/Ä", "strasse/ä"], "only in case"),
            (&[composed, decomposed], "only in case"),
            (&[composed, "A\u{308}"], "only in case"),
        ] {
            let found = add_all(names).unwrap_err();
            assert!(found.contains(why), "{names:?}: {found}");
        }
    }

    #[test]
    fn nesting_ends_where_it_was_said_to() {
        add_all(&["a/b/c/file", "a/b/c/"]).unwrap();
        assert!(add_all(&["a/b/c/d/"]).is_err());
        assert!(add_all(&["a/b/c/d/file"]).is_err());
    }

    #[test]
    fn a_small_archive_may_hold_much_of_nothing_and_a_large_one_in_proportion() {
        assert_eq!(most_content(100, MOST_RATIO), ALWAYS_CONTENT);
        assert_eq!(most_content(1 << 20, MOST_RATIO), MOST_RATIO << 20);
        assert_eq!(most_content(u64::MAX, MOST_RATIO), u64::MAX);
    }
}
