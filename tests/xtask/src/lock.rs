//! `plugins/guests.lock`: from which sources each committed component and package was built.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};

use crate::project::Project;
use crate::{digest, files};

const PATH: &str = "plugins/guests.lock";
const HEAD: &str = "# From which sources each committed component and package was built, so that a stale one is found.\n\
                    # Written by `cargo xtask guests --update`.\n\n";

/// Digests of one committed file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Entry {
    /// SHA-256 of all sources at the time of the build.
    pub(crate) sources: String,
    /// SHA-256 of the file itself.
    pub(crate) content: String,
}

/// Entries by the committed file's path.
pub(crate) type Lock = BTreeMap<String, Entry>;

/// Reads the lock; one that does not exist yet is empty.
pub(crate) fn read(project: &Project) -> Result<Lock> {
    let path = project.path(PATH);
    if !path.exists() {
        return Ok(Lock::new());
    }
    let text =
        String::from_utf8(files::read(&path)?).with_context(|| format!("{PATH} is not UTF-8"))?;
    toml::from_str(&text).with_context(|| format!("cannot understand {PATH}"))
}

/// Writes the lock.
pub(crate) fn write(project: &Project, lock: &Lock) -> Result<()> {
    let text = toml::to_string(lock).with_context(|| format!("cannot word {PATH}"))?;
    files::write(&project.path(PATH), format!("{HEAD}{text}").as_bytes())
}

/// Why a committed file must be built anew, if it must. `sources` is the digest of what it should be built from.
pub(crate) fn staleness(
    entry: Option<&Entry>,
    sources: &str,
    committed: &Path,
) -> Option<&'static str> {
    let Some(entry) = entry else {
        return Some("it is not in plugins/guests.lock");
    };
    if entry.sources != sources {
        return Some("its sources have changed since it was built");
    }
    match fs::read(committed) {
        Err(_) => Some("it is missing"),
        Ok(content) if digest::of_bytes(&content) != entry.content => {
            Some("it is not the file that was built")
        }
        Ok(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::{Entry, staleness};
    use crate::digest;

    #[test]
    fn only_what_was_built_from_these_sources_is_fresh() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("guest.wasm");
        fs::write(&file, b"built").unwrap();
        let entry = Entry {
            sources: "new".to_owned(),
            content: digest::of_bytes(b"built"),
        };

        assert_eq!(staleness(Some(&entry), "new", &file), None);
        assert!(staleness(None, "new", &file).unwrap().contains("not in"));
        assert!(
            staleness(Some(&entry), "newer", &file)
                .unwrap()
                .contains("sources have changed")
        );
        fs::write(&file, b"tampered").unwrap();
        assert!(
            staleness(Some(&entry), "new", &file)
                .unwrap()
                .contains("not the file")
        );
        fs::remove_file(&file).unwrap();
        assert!(
            staleness(Some(&entry), "new", &file)
                .unwrap()
                .contains("missing")
        );
    }
}
