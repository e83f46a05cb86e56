//! Names of users, pods and paths, checked once.
//!
//! A name may come from a stranger's recipe or registry and may end as a host directory, in a prompt or in a log.
//! So pod and user names are plain ASCII: what cannot be spelled cannot be confused. Files keep the names people
//! give them, except what no file system or terminal would carry safely.
//!
//! Two names of one directory (or two pods of one user) may not be equal after case folding and Unicode
//! composition: unpacked on another machine, one would replace the other. [`DfsPath`] keeps the spelling;
//! implementations compare with `folded`.

use std::fmt;
use std::str::FromStr;

use sovr_capability::text::is_hidden;
use unicode_normalization::UnicodeNormalization;

/// Longest pod or user name in bytes; FairOS has the same limit for pods.
const MAX_NAME: usize = 64;
/// Longest part of a path in bytes; FairOS has the same limit for directories.
const MAX_PART: usize = 100;
/// Longest path in bytes.
const MAX_PATH: usize = 1024;
/// Most parts of a path.
const MAX_PARTS: usize = 32;
/// FairOS keeps a directory's own listing in a file of this name.
const RESERVED_PART: &str = "index.dfs";

/// A name that was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{given:?} is not a {what}: {why}")]
pub struct NameError {
    what: &'static str,
    /// What was given, cut to a printable length.
    given: String,
    why: String,
}

impl NameError {
    pub(crate) fn new(what: &'static str, given: &str, why: impl Into<String>) -> NameError {
        /// Characters of a refused name that are repeated in the message.
        const SHOWN: usize = 80;
        let mut shown: String = given.chars().take(SHOWN).collect();
        if shown.len() < given.len() {
            shown.push('…');
        }
        NameError {
            what,
            given: shown,
            why: why.into(),
        }
    }
}

/// The name of a pod: 1 to 64 ASCII letters, digits, `.`, `_` or `-`, the first a letter or digit.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PodName(String);

impl PodName {
    /// The name as it was given.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Equal for names that may not exist side by side.
    pub(crate) fn folded(&self) -> String {
        self.0.to_ascii_lowercase()
    }
}

impl FromStr for PodName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<PodName, NameError> {
        plain_name("pod name", text).map(PodName)
    }
}

impl fmt::Display for PodName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The name of a user of a store: the form of a [`PodName`], lower case only, as FairOS has it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UserName(String);

impl UserName {
    /// The name as it was given.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for UserName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<UserName, NameError> {
        const WHAT: &str = "user name";
        let name = plain_name(WHAT, text)?;
        if name
            .bytes()
            .any(|byte| byte.is_ascii_uppercase() || byte == b'.')
        {
            return Err(NameError::new(
                WHAT,
                text,
                "use lower-case letters, digits, `_` and `-`",
            ));
        }
        Ok(UserName(name))
    }
}

impl fmt::Display for UserName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn plain_name(what: &'static str, text: &str) -> Result<String, NameError> {
    let refuse = |why: &str| Err(NameError::new(what, text, why));
    if text.is_empty() {
        return refuse("it is empty");
    }
    if text.len() > MAX_NAME {
        return refuse("it has more than 64 bytes");
    }
    if !text
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-'))
    {
        return refuse("use ASCII letters, digits, `.`, `_` and `-`");
    }
    if !text.as_bytes()[0].is_ascii_alphanumeric() {
        return refuse("begin with a letter or a digit");
    }
    if text.ends_with('.') {
        return refuse("do not end with a dot");
    }
    Ok(text.to_owned())
}

/// An absolute path inside a pod, such as `/frames/out0000.png`; `/` is the pod's root.
///
/// At most 32 parts, 100 bytes each, 1024 bytes in all; no `.`, `..` or empty part, no control, line-breaking,
/// bidirectional or invisible character, no backslash, and no part that begins or ends with a space.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DfsPath(String);

impl DfsPath {
    /// The root of a pod.
    pub fn root() -> DfsPath {
        DfsPath("/".to_owned())
    }

    /// Whether this is the root of a pod.
    pub fn is_root(&self) -> bool {
        self.0 == "/"
    }

    /// The path as it was given.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The parts from the root down; none for the root itself.
    pub fn parts(&self) -> impl Iterator<Item = &str> {
        self.0.split('/').filter(|part| !part.is_empty())
    }

    /// The last part; none for the root.
    pub fn name(&self) -> Option<&str> {
        self.parts().last()
    }

    /// The directory that holds it; none for the root.
    pub fn parent(&self) -> Option<DfsPath> {
        match self.0.rsplit_once('/')? {
            (_, "") => None,
            ("", _) => Some(DfsPath::root()),
            (parent, _) => Some(DfsPath(parent.to_owned())),
        }
    }

    /// The entry `name` of this directory.
    pub fn join(&self, name: &str) -> Result<DfsPath, NameError> {
        if name.contains('/') {
            return Err(NameError::new(PATH, name, "a name holds no `/`"));
        }
        let base = if self.is_root() { "" } else { &self.0 };
        format!("{base}/{name}").parse()
    }
}

pub(crate) const PATH: &str = "path in a pod";

impl FromStr for DfsPath {
    type Err = NameError;

    fn from_str(text: &str) -> Result<DfsPath, NameError> {
        let refuse = |why: String| Err(NameError::new(PATH, text, why));
        if text.len() > MAX_PATH {
            return refuse(format!("it has more than {MAX_PATH} bytes"));
        }
        let Some(rest) = text.strip_prefix('/') else {
            return refuse("begin with `/`".to_owned());
        };
        if rest.is_empty() {
            return Ok(DfsPath::root());
        }
        if rest.split('/').count() > MAX_PARTS {
            return refuse(format!("it has more than {MAX_PARTS} parts"));
        }
        for part in rest.split('/') {
            if let Some(why) = fault_of_part(part) {
                return refuse(why);
            }
        }
        Ok(DfsPath(text.to_owned()))
    }
}

impl fmt::Display for DfsPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn fault_of_part(part: &str) -> Option<String> {
    let fault = match part {
        "" => "it has an empty part (`//`, or `/` at the end)",
        "." | ".." => "`.` and `..` are not followed",
        _ if part.len() > MAX_PART => {
            return Some(format!("a part has more than {MAX_PART} bytes"));
        }
        _ if part.contains('\\') => "`\\` separates parts on some systems",
        _ if part.starts_with(' ') || part.ends_with(' ') => "a part begins or ends with a space",
        _ if folded(part) == RESERVED_PART => {
            "the storage network keeps its own data under `index.dfs`"
        }
        _ => {
            return part
                .chars()
                .find(|c| is_hidden(*c))
                .map(|c| format!("it has the character {}", c.escape_unicode()));
        }
    };
    Some(fault.to_owned())
}

/// Equal for names that may not exist side by side in one directory.
pub(crate) fn folded(name: &str) -> String {
    name.nfd().flat_map(char::to_lowercase).nfc().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_are_refused() {
        let long = "x".repeat(MAX_NAME + 1);
        for name in [
            "",
            ".",
            "..",
            "-rf",
            ".hidden",
            "a/b",
            "a b",
            "a\0",
            "pöd",
            "dot.",
            "a\u{202e}b",
            &long,
        ] {
            assert!(name.parse::<PodName>().is_err(), "{name:?}");
            assert!(name.parse::<UserName>().is_err(), "{name:?}");
        }
        assert!("Alice".parse::<UserName>().is_err());
        assert_eq!(
            "Results-2.1_b".parse::<PodName>().unwrap().as_str(),
            "Results-2.1_b"
        );
    }

    #[test]
    fn paths_that_are_refused() {
        let (long_part, long) = (
            format!("/{}", "x".repeat(MAX_PART + 1)),
            format!("/{}", "x/".repeat(MAX_PATH)),
        );
        let deep = "/x".repeat(MAX_PARTS + 1);
        for text in [
            "",
            "a",
            "a/b",
            "//",
            "/a/",
            "/a//b",
            "/.",
            "/..",
            "/a/../b",
            "/a/./b",
            "/a\\b",
            "/a\0b",
            "/a\nb",
            "/a\u{1b}[2J",
            "/a\u{202e}b",
            "/a\u{200b}b",
            "/a\u{feff}",
            "/a\u{fdd0}",
            "/ a",
            "/a ",
            "/index.dfs",
            "/a/INDEX.dfs",
            &long_part,
            &long,
            &deep,
        ] {
            assert!(text.parse::<DfsPath>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_path_comes_apart_and_together() {
        let path: DfsPath = "/frames/out 0000.png".parse().unwrap();
        assert_eq!(path.parts().collect::<Vec<_>>(), ["frames", "out 0000.png"]);
        assert_eq!(path.name(), Some("out 0000.png"));
        let parent = path.parent().unwrap();
        assert_eq!(parent.as_str(), "/frames");
        assert_eq!(parent.parent(), Some(DfsPath::root()));
        assert_eq!(DfsPath::root().parent(), None);
        assert_eq!(DfsPath::root().name(), None);
        assert_eq!(parent.join("out 0000.png").unwrap(), path);
        assert!(parent.join("..").is_err() && parent.join("a/b").is_err());
    }

    #[test]
    fn a_refusal_shows_what_was_given_harmlessly() {
        let error = "/a\u{1b}[2J\u{202e}"
            .parse::<DfsPath>()
            .unwrap_err()
            .to_string();
        assert!(
            !error.contains('\u{1b}') && !error.contains('\u{202e}'),
            "{error}"
        );
    }
}
