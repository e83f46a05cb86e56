//! The manifest, in the form that Golem's own WASI runtime reads.

use std::collections::HashSet;
use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use serde::Deserialize;
use sovr_capability::member;

use super::{Access, EntryPoint, Manifest, MountPoint};
use crate::archive::Fault;

/// The manifest's name.
const NAME: &str = "manifest.json";

/// Bytes of the largest manifest.
const MOST_BYTES: u64 = 1 << 20;

/// As it stands in the file. Unknown keys are left to whoever knows them: the format is not ours.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Document {
    id: String,
    name: String,
    entry_points: Vec<DocumentEntryPoint>,
    #[serde(default)]
    mount_points: Vec<DocumentMountPoint>,
    runtime: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct DocumentEntryPoint {
    id: String,
    wasm_path: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum DocumentMountPoint {
    Ro(String),
    Rw(String),
    Wo(String),
    Private(String),
}

/// Reads the manifest of a package that was just unpacked into a directory, to these files.
pub(crate) fn find(directory: &Path, files: &HashSet<String>) -> Result<Manifest, Fault> {
    let wrong = |why: String| Fault::Manifest(why.into());
    if !files.contains(NAME) {
        return Err(wrong(
            "is missing; it must lie at the top of the archive".to_owned(),
        ));
    }
    let mut content = Vec::new();
    File::open(directory.join(NAME))
        .and_then(|file| file.take(MOST_BYTES + 1).read_to_end(&mut content))
        .map_err(|error| Fault::Io(format!("cannot read {NAME}: {error}")))?;
    if content.len() as u64 > MOST_BYTES {
        return Err(wrong(format!("is longer than {MOST_BYTES} bytes")));
    }
    read(&content, files).map_err(wrong)
}

/// Reads a manifest. The error continues the sentence "its manifest.json …".
fn read(content: &[u8], files: &HashSet<String>) -> Result<Manifest, String> {
    let document: Document =
        serde_json::from_slice(content).map_err(|error| format!("cannot be read: {error}"))?;
    if let Some(runtime) = document.runtime.filter(|runtime| runtime != "wasi") {
        return Err(format!(
            "asks for the runtime \"{runtime}\", and only \"wasi\" is offered"
        ));
    }
    if document.entry_points.is_empty() {
        return Err("names no entry point".to_owned());
    }
    let mut entry_points: Vec<EntryPoint> = Vec::new();
    for DocumentEntryPoint { id, wasm_path } in document.entry_points {
        member::check(&wasm_path)
            .map_err(|reason| format!("names the module \"{wasm_path}\", which {reason}"))?;
        if !files.contains(&wasm_path) {
            return Err(format!(
                "names the module \"{wasm_path}\", which is not in the package"
            ));
        }
        if entry_points.iter().any(|other| other.id == id) {
            return Err(format!("names the entry point \"{id}\" twice"));
        }
        entry_points.push(EntryPoint { id, wasm_path });
    }
    let mut mount_points: Vec<MountPoint> = Vec::new();
    for point in document.mount_points {
        let (path, access) = match point {
            DocumentMountPoint::Ro(path) => (path, Access::ReadOnly),
            DocumentMountPoint::Rw(path) => (path, Access::ReadWrite),
            DocumentMountPoint::Wo(path) => (path, Access::WriteOnly),
            DocumentMountPoint::Private(path) => (path, Access::Private),
        };
        let relative = path.strip_prefix('/').unwrap_or(&path);
        let relative = relative.strip_suffix('/').unwrap_or(relative);
        member::check(relative)
            .map_err(|reason| format!("names the mount point \"{path}\", which {reason}"))?;
        let path = format!("/{relative}");
        if mount_points.iter().any(|other| other.path == path) {
            return Err(format!("names the mount point \"{path}\" twice"));
        }
        mount_points.push(MountPoint { path, access });
    }
    Ok(Manifest {
        id: document.id,
        name: document.name,
        entry_points,
        mount_points,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest(text: &str) -> Result<Manifest, String> {
        read(text.as_bytes(), &HashSet::from(["hello.wasm".to_owned()]))
    }

    #[test]
    fn the_format_of_golem_is_read() {
        let manifest = manifest(
            r#"{"id": "x", "name": "hello", "runtime": "wasi", "entry-points": [{"id": "hello", "wasm-path": "hello.wasm"}],
                "mount-points": [{"ro": "input"}, {"rw": "/golem/work"}, {"wo": "output/"}, {"private": "cache"}]}"#,
        )
        .unwrap();
        assert_eq!(
            manifest.entry_point("hello").unwrap().wasm_path,
            "hello.wasm"
        );
        assert!(manifest.entry_point("other").is_none());
        let points: Vec<_> = manifest
            .mount_points
            .iter()
            .map(|point| (point.path.as_str(), point.access))
            .collect();
        assert_eq!(
            points,
            [
                ("/input", Access::ReadOnly),
                ("/golem/work", Access::ReadWrite),
                ("/output", Access::WriteOnly),
                ("/cache", Access::Private)
            ]
        );
    }

    #[test]
    fn what_cannot_be_meant_is_refused_with_its_reason() {
        let entry = r#"{"id": "hello", "wasm-path": "hello.wasm"}"#;
        for (text, reason) in [
            ("{".to_owned(), "cannot be read: EOF"),
            (r#"{"id": "x", "name": "x", "entry-points": []}"#.to_owned(), "names no entry point"),
            (format!(r#"{{"id": "x", "name": "x", "entry-points": [{entry}, {entry}]}}"#), "twice"),
            (
                format!(r#"{{"id": "x", "name": "x", "entry-points": [{entry}], "runtime": "aswasm"}}"#),
                "asks for the runtime \"aswasm\", and only \"wasi\" is offered",
            ),
            (
                r#"{"id": "x", "name": "x", "entry-points": [{"id": "a", "wasm-path": "../hello.wasm"}]}"#.to_owned(),
                "has \".\" or \"..\" in its path",
            ),
            (
                r#"{"id": "x", "name": "x", "entry-points": [{"id": "a", "wasm-path": "other.wasm"}]}"#.to_owned(),
                "is not in the package",
            ),
            (
                format!(r#"{{"id": "x", "name": "x", "entry-points": [{entry}], "mount-points": [{{"rw": "/"}}]}}"#),
                "has no name",
            ),
            (
                format!(
                    r#"{{"id": "x", "name": "x", "entry-points": [{entry}], "mount-points": [{{"rw": "a/../../b"}}]}}"#
                ),
                "has \".\" or \"..\" in its path",
            ),
            (
                format!(
                    r#"{{"id": "x", "name": "x", "entry-points": [{entry}], "mount-points": [{{"rw": "a"}}, {{"ro": "/a"}}]}}"#
                ),
                "names the mount point \"/a\" twice",
            ),
        ] {
            let error = manifest(&text).unwrap_err();
            assert!(error.contains(reason), "{text}: {error}");
        }
    }
}
