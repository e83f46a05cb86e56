//! What the pods of a task were run on, and what came out: [`FILE`] in the task's directory.
//!
//! It is a convenience and no authority: a pod is left out only if the file says that it ended well on exactly the inputs
//! of now, and its output is, file by file, the one of then. A file that cannot be read means that nothing is known.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::io::Write;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};
use sovr_capability::Digest;
use sovr_pod::Tree;

use super::Step;
use crate::error::Error;

/// The file's name. It never travels with the task.
const FILE: &str = ".sovr-task.json";

/// Most bytes of the file.
const MOST_BYTES: u64 = 1 << 20;

/// Raised when the meaning of a digest changes.
const VERSION: u64 = 1;

pub(super) struct Progress {
    path: PathBuf,
    known: Mutex<Known>,
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Known {
    version: u64,
    /// By the pod's directory.
    pods: BTreeMap<String, Finished>,
}

/// A pod that ended well.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Finished {
    reference: String,
    inputs: Digest,
    output: Digest,
    run: String,
}

impl Progress {
    /// What is known of a task's pods.
    pub(super) fn open(tree: &Tree) -> Result<Self, Error> {
        let path = tree.root().join(FILE);
        let text = tree
            .read_in_root(FILE, MOST_BYTES)
            .map_err(|source| Error::File {
                doing: "read the task's progress in",
                path: path.clone(),
                source,
            })?;
        let known = text
            .and_then(|text| serde_json::from_slice::<Known>(&text).ok())
            .filter(|known| known.version == VERSION)
            .unwrap_or_default();
        Ok(Self {
            path,
            known: Mutex::new(known),
        })
    }

    /// The run that ended well on these inputs with this output, if the last one did.
    pub(super) fn finished(&self, step: &Step, inputs: Digest, output: Digest) -> Option<String> {
        let known = self.known();
        let finished = known.pods.get(&step.directory)?;
        let same = finished.reference == step.reference
            && finished.inputs == inputs
            && finished.output == output;
        same.then(|| finished.run.clone())
    }

    /// A pod begins: what is in its output from now on is nobody's result.
    pub(super) fn begin(&self, step: &Step) -> Result<(), Error> {
        let mut known = self.known();
        if known.pods.remove(&step.directory).is_some() {
            self.write(&mut known)?;
        }
        Ok(())
    }

    /// A pod ended well.
    pub(super) fn finish(
        &self,
        step: &Step,
        inputs: Digest,
        output: Digest,
        run: &str,
    ) -> Result<(), Error> {
        let mut known = self.known();
        let finished = Finished {
            reference: step.reference.clone(),
            inputs,
            output,
            run: run.to_owned(),
        };
        known.pods.insert(step.directory.clone(), finished);
        self.write(&mut known)
    }

    fn write(&self, known: &mut Known) -> Result<(), Error> {
        known.version = VERSION;
        let write = || {
            let directory = self.path.parent().unwrap_or(&self.path);
            let mut file = tempfile::Builder::new()
                .prefix(OsStr::new(".sovr-task-"))
                .tempfile_in(directory)?;
            file.write_all(&serde_json::to_vec_pretty(&*known)?)?;
            file.as_file().sync_all()?;
            file.persist(&self.path).map_err(|error| error.error)?;
            Ok(())
        };
        write().map_err(|source| Error::File {
            doing: "write the task's progress to",
            path: self.path.clone(),
            source,
        })
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(directory: &str) -> Step {
        Step {
            number: 1,
            of: 1,
            directory: directory.to_owned(),
            reference: "ab".repeat(32),
        }
    }

    #[test]
    fn only_what_is_exactly_as_it_was_counts_as_done() {
        let directory = tempfile::tempdir().unwrap();
        let tree = Tree::open(directory.path()).unwrap();
        let (inputs, output, other) = (Digest::of("i"), Digest::of("o"), Digest::of("x"));
        let progress = Progress::open(&tree).unwrap();
        progress.finish(&step("a"), inputs, output, "run").unwrap();

        let progress = Progress::open(&tree).unwrap();
        assert_eq!(
            progress.finished(&step("a"), inputs, output).unwrap(),
            "run"
        );
        assert_eq!(progress.finished(&step("a"), other, output), None);
        assert_eq!(progress.finished(&step("a"), inputs, other), None);
        assert_eq!(progress.finished(&step("b"), inputs, output), None);
        let replaced = Step {
            reference: "cd".repeat(32),
            ..step("a")
        };
        assert_eq!(progress.finished(&replaced, inputs, output), None);
        progress.begin(&step("a")).unwrap();
        let progress = Progress::open(&tree).unwrap();
        assert_eq!(progress.finished(&step("a"), inputs, output), None);
    }

    #[test]
    fn a_file_that_is_not_understood_means_that_nothing_is_known() {
        let directory = tempfile::tempdir().unwrap();
        let tree = Tree::open(directory.path()).unwrap();
        for text in [
            "",
            "[]",
            "{\"version\":2,\"pods\":{}}",
            "{\"version\":1,\"pods\":{},\"x\":1}",
        ] {
            std::fs::write(directory.path().join(FILE), text).unwrap();
            let progress = Progress::open(&tree).unwrap();
            assert!(progress.known().pods.is_empty(), "{text}");
        }
    }
}
