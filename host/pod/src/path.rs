//! Paths as a guest names them.
//!
//! A guest sees the pod's tree as `/`, so `payload/x` and `/payload/x` are the same file. A path is taken apart once,
//! here; nothing that could lead elsewhere on any system has a spelling: no `..`, no empty or `.` parts, no backslash,
//! no NUL or other control character. That it leads nowhere else on disk either is for [`Tree`](crate::Tree) to see to.

use std::fmt;
use std::str::FromStr;

use sovr_capability::text::{Untrusted, quote};

/// Where the archives of other pods are unpacked.
pub const EXTERNAL: &str = "payload/external";

/// Longest path and longest part, in bytes.
const MOST_BYTES: usize = 1024;
const MOST_PART_BYTES: usize = 255;

/// Most parts.
const MOST_PARTS: usize = 32;

/// One of the five directories of a pod that a guest sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Area {
    /// Inputs, read-only.
    Payload,
    /// The component and what belongs to it, read-only.
    Script,
    /// Results.
    Output,
    /// Logs.
    Logs,
    /// Made for a run, removed at its end.
    Tmp,
}

impl Area {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::Payload,
        Self::Script,
        Self::Output,
        Self::Logs,
        Self::Tmp,
    ];

    /// The directory's name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Payload => "payload",
            Self::Script => "script",
            Self::Output => "output",
            Self::Logs => "logs",
            Self::Tmp => "tmp",
        }
    }

    /// Whether a guest may write there.
    #[must_use]
    pub const fn is_writable(self) -> bool {
        matches!(self, Self::Output | Self::Logs | Self::Tmp)
    }
}

/// One of the areas, or a path beneath it. `Display` is safe to show; [`as_str`](Self::as_str) is for the system.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GuestPath {
    area: Area,
    /// From the pod's root, without leading slash.
    path: String,
}

/// Why a text is not a path of the tree.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{} is not a path of the pod's tree: {problem}", quote(.text))]
pub struct PathError {
    text: String,
    problem: &'static str,
}

impl GuestPath {
    /// The directory it lies beneath.
    #[must_use]
    pub fn area(&self) -> Area {
        self.area
    }

    /// From the pod's root, such as `payload/scene.json`.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.path
    }

    /// Whether it is [`EXTERNAL`] or lies beneath it.
    #[must_use]
    pub fn is_external(&self) -> bool {
        let rest = self.path.strip_prefix(EXTERNAL);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }

    /// Its last part.
    #[must_use]
    pub fn name(&self) -> &str {
        self.path.rsplit('/').next().unwrap_or(&self.path)
    }

    /// The directory it lies in; none for an area itself.
    #[must_use]
    pub fn parent(&self) -> Option<&str> {
        self.path.rsplit_once('/').map(|(parent, _)| parent)
    }
}

impl From<Area> for GuestPath {
    fn from(area: Area) -> Self {
        Self {
            area,
            path: area.name().to_owned(),
        }
    }
}

impl FromStr for GuestPath {
    type Err = PathError;

    /// Accepts `payload/x` and `/payload/x`.
    fn from_str(text: &str) -> Result<Self, PathError> {
        parse(text).map_err(|problem| PathError {
            text: text.to_owned(),
            problem,
        })
    }
}

fn parse(text: &str) -> Result<GuestPath, &'static str> {
    if text.len() > MOST_BYTES {
        return Err("it is longer than 1024 bytes");
    }
    let path = text.strip_prefix('/').unwrap_or(text);
    if path.is_empty() {
        return Err("it names nothing");
    }
    if path.contains('\\') {
        return Err("it has a backslash; parts are separated by /");
    }
    if path.chars().any(char::is_control) {
        return Err("it has a control character");
    }
    let parts: Vec<&str> = path.split('/').collect();
    if parts.len() > MOST_PARTS {
        return Err("it has more than 32 parts");
    }
    for part in &parts {
        match *part {
            "" => return Err("it has an empty part; write single slashes and none at the end"),
            "." | ".." => {
                return Err("it has a part that is . or ..; write the path from the pod's root");
            }
            part if part.len() > MOST_PART_BYTES => {
                return Err("it has a part longer than 255 bytes");
            }
            _ => {}
        }
    }
    let area = Area::ALL
        .into_iter()
        .find(|area| area.name() == parts[0])
        .ok_or("it does not begin with payload, script, output, logs or tmp")?;
    Ok(GuestPath {
        area,
        path: path.to_owned(),
    })
}

impl fmt::Display for GuestPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&Untrusted::new(self.path.as_str()).escaped())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn with_and_without_a_leading_slash_it_is_the_same_path() {
        let path: GuestPath = "/payload/a b/ä.json".parse().unwrap();
        assert_eq!(path, "payload/a b/ä.json".parse().unwrap());
        assert_eq!(
            (path.area(), path.name(), path.parent()),
            (Area::Payload, "ä.json", Some("payload/a b"))
        );
        let area: GuestPath = "output".parse().unwrap();
        assert_eq!((area.name(), area.parent()), ("output", None));
    }

    #[test]
    fn what_could_lead_elsewhere_has_no_spelling() {
        let long_part = format!("output/{}", "x".repeat(256));
        let long = format!("output/{}", "x/".repeat(600));
        let deep = format!("output/{}x", "x/".repeat(31));
        for text in [
            "",
            "/",
            "//payload/x",
            "payload//x",
            "payload/",
            "payload/../../etc/passwd",
            "payload/..",
            "..",
            ".",
            "./payload/x",
            "payload/./x",
            "/etc/passwd",
            "recipe.json",
            ".sovr-partial/x",
            "payload\\..\\x",
            "payload/x\0",
            "payload/\u{1b}[2J",
            "payload/a\nb",
            "Payload/x",
            "payload\u{200b}/x",
            "payloads/x",
            "C:/payload",
            "~/payload",
            &long_part,
            &long,
            &deep,
        ] {
            assert!(text.parse::<GuestPath>().is_err(), "{text:?} was accepted");
        }
    }

    #[test]
    fn the_error_says_why_and_escapes_the_text() {
        let error = "output/\u{202e}x/../y"
            .parse::<GuestPath>()
            .unwrap_err()
            .to_string();
        assert_eq!(
            error,
            "\"output/\\u{202e}x/../y\" is not a path of the pod's tree: it has a part that is . or ..; write the path from the pod's root"
        );
        assert_eq!(
            "output/\u{202e}x".parse::<GuestPath>().unwrap().to_string(),
            "output/\\u{202e}x"
        );
    }
}
