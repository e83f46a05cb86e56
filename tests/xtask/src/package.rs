//! WASI packages in Golem's own format: a zip archive with `manifest.json` and the modules it names.

use std::io::{Cursor, Write as _};
use std::path::Path;

use anyhow::{Context as _, Result};
use serde::Deserialize;
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, DateTime, ZipWriter};

use crate::files;

const MANIFEST: &str = "manifest.json";

/// The part of a manifest that says what to pack.
#[derive(Deserialize)]
struct Manifest {
    #[serde(rename = "entry-points")]
    entry_points: Vec<EntryPoint>,
}

#[derive(Deserialize)]
struct EntryPoint {
    #[serde(rename = "wasm-path")]
    wasm_path: String,
}

/// Packs a manifest and the modules that it names from `modules`.
///
/// The same input gives the same bytes on every machine: entries have a fixed order and a fixed date, and they are
/// stored, because a compressor's output differs by version and by processor.
pub(crate) fn pack(manifest: &Path, modules: &Path) -> Result<Vec<u8>> {
    let text = files::read(manifest)?;
    let parsed: Manifest = serde_json::from_slice(&text)
        .with_context(|| format!("cannot understand {}", manifest.display()))?;
    let mut paths: Vec<String> = parsed
        .entry_points
        .into_iter()
        .map(|entry| entry.wasm_path)
        .collect();
    paths.sort();
    paths.dedup();

    let options = SimpleFileOptions::default()
        .compression_method(CompressionMethod::Stored)
        .last_modified_time(DateTime::default())
        .unix_permissions(0o644);
    let mut archive = ZipWriter::new(Cursor::new(Vec::new()));
    archive.start_file(MANIFEST, options)?;
    archive.write_all(&text)?;
    for path in paths {
        archive.start_file(&path, options)?;
        archive.write_all(&files::read(&modules.join(&path))?)?;
    }
    Ok(archive.finish()?.into_inner())
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::{Cursor, Read as _};

    use super::pack;

    #[test]
    fn packs_each_named_module_once_and_always_alike() {
        let folder = tempfile::tempdir().unwrap();
        let manifest = folder.path().join("manifest.json");
        let entry_points = r#"{"entry-points": [{"id": "b", "wasm-path": "b.wasm"},
            {"id": "a", "wasm-path": "a.wasm"}, {"id": "again", "wasm-path": "b.wasm"}]}"#;
        fs::write(&manifest, entry_points).unwrap();
        fs::write(folder.path().join("a.wasm"), b"module a").unwrap();
        fs::write(folder.path().join("b.wasm"), b"module b").unwrap();
        fs::write(folder.path().join("c.wasm"), b"not named").unwrap();

        let bytes = pack(&manifest, folder.path()).unwrap();
        assert_eq!(bytes, pack(&manifest, folder.path()).unwrap());

        let mut archive = zip::ZipArchive::new(Cursor::new(bytes)).unwrap();
        let names: Vec<_> = archive
            .file_names()
            .map(|name| name.unwrap().into_owned())
            .collect();
        assert_eq!(names, ["manifest.json", "a.wasm", "b.wasm"]);
        let mut content = String::new();
        archive
            .by_name("b.wasm")
            .unwrap()
            .read_to_string(&mut content)
            .unwrap();
        assert_eq!(content, "module b");
    }

    #[test]
    fn names_the_module_that_is_missing() {
        let folder = tempfile::tempdir().unwrap();
        let manifest = folder.path().join("manifest.json");
        fs::write(
            &manifest,
            r#"{"entry-points": [{"id": "a", "wasm-path": "a.wasm"}]}"#,
        )
        .unwrap();
        let error = pack(&manifest, folder.path()).unwrap_err();
        assert!(error.to_string().contains("a.wasm"), "{error:#}");
    }
}
