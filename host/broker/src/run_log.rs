//! The log of a run in the pod's `logs/`: one JSON object per line.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde_json::{Map, Value, json};
use sovr_capability::Untrusted;

use crate::event::Level;

/// The log of one run. It belongs to the pod: unlike the audit log it may get lost, and nothing depends on it.
#[derive(Debug)]
pub(crate) struct RunLog {
    file: Option<File>,
    path: PathBuf,
}

impl RunLog {
    /// A log that goes to `file`, whose path is for people.
    pub(crate) fn new(file: File, path: PathBuf) -> Self {
        Self {
            file: Some(file),
            path,
        }
    }

    /// Its place.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Writes one line.
    pub(crate) fn write(
        &mut self,
        level: Level,
        message: &Untrusted,
        fields: &[(Untrusted, Untrusted)],
    ) {
        let fields: Map<String, Value> = fields
            .iter()
            .map(|(name, value)| (name.raw().to_owned(), Value::from(value.raw())))
            .collect();
        let mut line = json!({ "time": Timestamp::now(), "level": level, "message": message });
        if !fields.is_empty() {
            line["fields"] = Value::Object(fields);
        }
        self.line(&line);
    }

    /// Says that lines are missing here.
    pub(crate) fn dropped(&mut self, lines: u64) {
        self.line(&json!({ "time": Timestamp::now(), "level": Level::Warn, "message": "lines were dropped", "dropped": lines }));
    }

    fn line(&mut self, line: &Value) {
        // A disk that is full ends the log, not the run.
        if let Some(file) = &mut self.file
            && file.write_all(format!("{line}\n").as_bytes()).is_err()
        {
            self.file = None;
        }
    }
}
