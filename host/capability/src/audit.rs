//! What a run was allowed, refused and did: one line of JSON each, written before the effect.
//!
//! Each line holds the digest of the line before, so a line that is changed, taken out or put in later breaks the
//! chain. A log that was cut at its end shows as not closed. Whoever may write the file can still make a new chain
//! from the beginning; this is a record for the user, not a proof against the user.
//!
//! One line is one write to the system, which keeps it even if this process dies at once. Forcing every line to the
//! disk was rejected: it costs milliseconds each, and what a power failure can take away is only the record of effects
//! that the same failure stopped. The end of a run is forced.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::{Digest, Home, RunId, StateError};

/// Longest line. Longer details are replaced by their length and digest: a guest must not choose what a line costs.
pub const LINE_MAX: usize = 64 * 1024;

/// Longest log. A run that would make it longer is refused its next call.
pub const LOG_MAX: u64 = 256 * 1024 * 1024;

/// The last part of a log, which new calls do not get: a guest that fills its log must not hide what the calls before
/// came to, what they cost and how the run ended.
pub const LOG_SPARE: u64 = 8 * 1024 * 1024;

const SUFFIX: &str = ".jsonl";

/// The log of one run, to be written. Lines of several threads follow each other whole.
#[derive(Debug)]
pub struct Log {
    path: PathBuf,
    writer: Mutex<Writer>,
}

#[derive(Debug)]
struct Writer {
    file: File,
    length: u64,
    seq: u64,
    prev: Digest,
    /// Why nothing more can be written.
    ended: Option<&'static str>,
}

/// What a line is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// The first line: what runs, with what.
    Opened,
    /// A call is allowed; its effect follows.
    Allowed,
    /// A call is refused; nothing follows.
    Denied,
    /// How an allowed call ended.
    Outcome,
    /// Something the host did on its own account.
    Note,
    /// The last line: how the run ended.
    Closed,
}

/// One line, as it is read back.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Line {
    /// Counted from 0.
    pub seq: u64,
    /// When it was written.
    pub time: Timestamp,
    /// What it is about.
    pub kind: Kind,
    /// What was called, such as `golem.open`.
    pub what: String,
    /// For an outcome: the line of the call.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub of: Option<u64>,
    /// Details. May hold a guest's text.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub detail: Value,
    /// Digest of the line before, as bytes without the line feed; of nothing for the first.
    pub prev: Digest,
}

impl Log {
    /// Makes the log of a run and writes its first line, whose `what` is the run's name.
    ///
    /// # Errors
    /// When it exists, or cannot be written.
    pub fn create(home: &Home, run: &RunId, detail: Value) -> Result<Self, StateError> {
        let path = place(home, run);
        let file = OpenOptions::new()
            .append(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)
            .map_err(StateError::io("make the audit log", &path))?;
        let writer = Writer {
            file,
            length: 0,
            seq: 0,
            prev: Digest::of(""),
            ended: None,
        };
        let log = Self {
            path,
            writer: Mutex::new(writer),
        };
        log.write(Kind::Opened, run.as_str(), None, detail)
            .map_err(StateError::io("write the audit log", &log.path))?;
        Ok(log)
    }

    /// Its place.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes one line and answers its number, which [`Log::outcome`] takes. When this returns, the line is with the
    /// system: it survives the end of this process.
    ///
    /// # Errors
    /// When it cannot be written. The effect must not follow then. Every later line fails as well, unless the log is
    /// only full: outcomes, notes and the end still find room.
    pub fn append(&self, kind: Kind, what: &str, detail: Value) -> io::Result<u64> {
        self.write(kind, what, None, detail)
    }

    /// Writes how the call of line `of` ended.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn outcome(&self, of: u64, what: &str, detail: Value) -> io::Result<()> {
        self.write(Kind::Outcome, what, Some(of), detail).map(drop)
    }

    /// Writes the last line and forces everything to the disk. Lines after it are refused.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn close(&self, detail: Value) -> io::Result<()> {
        self.write(Kind::Closed, "run", None, detail)?;
        let mut writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        writer.ended = Some("the run's audit log is closed");
        writer.file.sync_all()
    }

    fn write(&self, kind: Kind, what: &str, of: Option<u64>, detail: Value) -> io::Result<u64> {
        let mut writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(reason) = writer.ended {
            return Err(io::Error::other(reason));
        }
        let line = Line {
            seq: writer.seq,
            time: Timestamp::now(),
            kind,
            what: what.chars().take(WHAT_MAX).collect(),
            of,
            detail,
            prev: writer.prev,
        };
        let text = line.text()?;
        let most = match kind {
            Kind::Allowed | Kind::Denied => LOG_MAX - LOG_SPARE,
            _ => LOG_MAX,
        };
        writer.append(&text, most)?;
        Ok(line.seq)
    }
}

/// Most characters of `what`.
const WHAT_MAX: usize = 200;

impl Line {
    /// As it stands in the file, without the line feed.
    fn text(&self) -> io::Result<String> {
        let text = serde_json::to_string(self)?;
        if text.len() <= LINE_MAX {
            return Ok(text);
        }
        let detail = serde_json::to_string(&self.detail)?;
        let instead =
            json!({ "too-long": { "bytes": detail.len(), "sha256": Digest::of(&detail) } });
        Ok(serde_json::to_string(&Self {
            detail: instead,
            ..self.clone()
        })?)
    }
}

impl Writer {
    fn append(&mut self, text: &str, most: u64) -> io::Result<()> {
        let line = format!("{text}\n");
        if self.length + line.len() as u64 > most {
            return Err(io::Error::new(
                io::ErrorKind::FileTooLarge,
                "the run's audit log is full",
            ));
        }
        if let Err(error) = self.file.write_all(line.as_bytes()) {
            // Half a line would break the chain for whoever reads it.
            let _ = self.file.set_len(self.length);
            self.ended = Some("the run's audit log could not be written before");
            return Err(error);
        }
        self.length += line.len() as u64;
        self.seq += 1;
        self.prev = Digest::of(text);
        Ok(())
    }
}

fn place(home: &Home, run: &RunId) -> PathBuf {
    home.audit().join(format!("{run}{SUFFIX}"))
}

/// What checking a log found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Verified {
    /// Lines in the chain.
    pub lines: u64,
    /// Whether the last line says how the run ended. If not, the run still goes on, died, or its end was cut off.
    pub closed: bool,
    /// Digest of the last line.
    pub head: Digest,
}

/// A log that cannot be read or was changed.
#[derive(Debug, thiserror::Error)]
pub enum AuditError {
    /// No log of this run.
    #[error("there is no audit log of run {0}; `sovr-host audit` lists the runs")]
    NoSuchRun(RunId),
    /// The system refused.
    #[error("cannot read the audit log {}: {source}", .path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The chain is broken: the file was changed after it was written.
    #[error("the audit log {} was changed: line {line} {problem}", .path.display())]
    Broken {
        /// The file.
        path: PathBuf,
        /// Counted from 1.
        line: u64,
        /// What is wrong with it.
        problem: String,
    },
}

/// The runs that have a log, newest first.
///
/// # Errors
/// When the directory cannot be read.
pub fn runs(home: &Home) -> Result<Vec<RunId>, StateError> {
    let directory = home.audit();
    let io = |doing| StateError::io(doing, &directory);
    let mut runs = Vec::new();
    for entry in fs::read_dir(&directory).map_err(io("list"))? {
        let name = entry.map_err(io("list"))?.file_name();
        let run = name
            .to_str()
            .and_then(|name| name.strip_suffix(SUFFIX))
            .and_then(|name| name.parse().ok());
        runs.extend(run);
    }
    runs.sort_unstable_by(|a: &RunId, b| b.cmp(a));
    Ok(runs)
}

/// Reads a run's log line by line, checking the chain on the way.
///
/// # Errors
/// When there is none. Each line may be an error as well; after the first nothing follows.
pub fn read(home: &Home, run: &RunId) -> Result<Lines, AuditError> {
    let path = place(home, run);
    match File::open(&path) {
        Ok(file) => Ok(Lines {
            path,
            run: run.clone(),
            reader: BufReader::new(file),
            seq: 0,
            prev: Digest::of(""),
            closed: false,
            failed: false,
        }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            Err(AuditError::NoSuchRun(run.clone()))
        }
        Err(source) => Err(AuditError::Io { path, source }),
    }
}

/// Checks a run's log from beginning to end.
///
/// # Errors
/// When it cannot be read or was changed.
pub fn verify(home: &Home, run: &RunId) -> Result<Verified, AuditError> {
    let mut lines = read(home, run)?;
    for line in &mut lines {
        line?;
    }
    if lines.seq == 0 {
        return Err(lines.broken("is missing"));
    }
    Ok(Verified {
        lines: lines.seq,
        closed: lines.closed,
        head: lines.prev,
    })
}

/// The lines of a log.
#[derive(Debug)]
pub struct Lines {
    path: PathBuf,
    run: RunId,
    reader: BufReader<File>,
    seq: u64,
    prev: Digest,
    closed: bool,
    failed: bool,
}

impl Iterator for Lines {
    type Item = Result<Line, AuditError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        let line = self.read().transpose();
        self.failed = !matches!(line, Some(Ok(_)));
        line
    }
}

impl Lines {
    fn read(&mut self) -> Result<Option<Line>, AuditError> {
        let mut text = Vec::new();
        let most = LINE_MAX as u64 + 1;
        let read = self.reader.by_ref().take(most).read_until(b'\n', &mut text);
        read.map_err(|source| AuditError::Io {
            path: self.path.clone(),
            source,
        })?;
        if text.is_empty() {
            return Ok(None);
        }
        if self.closed {
            return Err(self.broken("comes after the line that closes the log"));
        }
        if text.pop() != Some(b'\n') {
            return Err(self.broken("is incomplete"));
        }
        let line: Line = serde_json::from_slice(&text)
            .map_err(|_| self.broken("is not a line of an audit log"))?;
        if line.seq != self.seq {
            return Err(self.broken("has the wrong number"));
        }
        if line.prev != self.prev {
            return Err(self.broken("does not follow from the line before it"));
        }
        if (line.seq == 0) != (line.kind == Kind::Opened)
            || line.seq == 0 && line.what != self.run.as_str()
        {
            return Err(self.broken("is not the beginning of this run's log"));
        }
        self.closed = line.kind == Kind::Closed;
        self.prev = Digest::of(&text);
        self.seq += 1;
        Ok(Some(line))
    }

    fn broken(&self, problem: &str) -> AuditError {
        AuditError::Broken {
            path: self.path.clone(),
            line: self.seq + 1,
            problem: problem.to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn home() -> (tempfile::TempDir, Home) {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::at(dir.path());
        home.prepare().unwrap();
        (dir, home)
    }

    /// A closed log of five lines.
    fn written(home: &Home) -> (RunId, PathBuf) {
        let run = RunId::generate().unwrap();
        let log = Log::create(home, &run, json!({ "pod": "render" })).unwrap();
        let call = log
            .append(Kind::Allowed, "golem.open", json!({ "budget": "10" }))
            .unwrap();
        log.append(Kind::Denied, "dfs.read", json!({ "pod": "secret\u{1b}\n" }))
            .unwrap();
        log.outcome(call, "golem.open", json!({ "ok": true }))
            .unwrap();
        log.close(json!({ "ending": "completed" })).unwrap();
        (run, log.path().to_owned())
    }

    #[test]
    fn what_is_written_reads_back_in_order_and_verifies() {
        let (_dir, home) = home();
        let (run, _) = written(&home);
        let lines: Vec<Line> = read(&home, &run)
            .unwrap()
            .collect::<Result<_, _>>()
            .unwrap();
        let kinds: Vec<Kind> = lines.iter().map(|line| line.kind).collect();
        assert_eq!(
            kinds,
            [
                Kind::Opened,
                Kind::Allowed,
                Kind::Denied,
                Kind::Outcome,
                Kind::Closed
            ]
        );
        assert_eq!(
            (lines[3].of, lines[2].detail["pod"].as_str()),
            (Some(1), Some("secret\u{1b}\n"))
        );
        let verified = verify(&home, &run).unwrap();
        assert_eq!((verified.lines, verified.closed), (5, true));
        assert_eq!(runs(&home).unwrap(), [run]);
    }

    #[test]
    fn a_line_is_with_the_system_before_append_returns() {
        let (_dir, home) = home();
        let run = RunId::generate().unwrap();
        let log = Log::create(&home, &run, Value::Null).unwrap();
        log.append(Kind::Allowed, "transfer.copy", Value::Null)
            .unwrap();
        let text = fs::read_to_string(log.path()).unwrap();
        assert_eq!(text.lines().count(), 2);
        assert!(text.ends_with('\n'));
        let verified = verify(&home, &run).unwrap();
        assert_eq!((verified.lines, verified.closed), (2, false));
    }

    #[test]
    fn every_change_of_a_byte_is_noticed() {
        let (_dir, home) = home();
        let (run, path) = written(&home);
        let original = fs::read(&path).unwrap();
        for index in 0..original.len() {
            let mut changed = original.clone();
            changed[index] ^= 1;
            fs::write(&path, &changed).unwrap();
            // The last line has no successor that vouches for it; its structure is checked all the same.
            let last_line = original[..original.len() - 1]
                .iter()
                .rposition(|b| *b == b'\n')
                .unwrap();
            if index <= last_line {
                assert!(
                    verify(&home, &run).is_err(),
                    "byte {index} was changed unnoticed"
                );
            }
        }
    }

    #[test]
    fn lines_taken_out_put_in_swapped_or_cut_are_noticed() {
        let (_dir, home) = home();
        let (run, path) = written(&home);
        let original = fs::read_to_string(&path).unwrap();
        let lines: Vec<&str> = original.lines().collect();
        let cases: [(&str, Vec<&str>); 5] = [
            ("taken out", vec![lines[0], lines[1], lines[3], lines[4]]),
            (
                "put in",
                vec![lines[0], lines[1], lines[1], lines[2], lines[3], lines[4]],
            ),
            (
                "swapped",
                vec![lines[0], lines[2], lines[1], lines[3], lines[4]],
            ),
            ("beginning cut", lines[1..].to_vec()),
            ("nothing left", vec![]),
        ];
        for (what, lines) in cases {
            fs::write(
                &path,
                lines
                    .iter()
                    .map(|line| format!("{line}\n"))
                    .collect::<String>(),
            )
            .unwrap();
            assert!(
                matches!(verify(&home, &run), Err(AuditError::Broken { .. })),
                "{what}"
            );
        }
        fs::write(&path, format!("{}\n", lines[..4].join("\n"))).unwrap();
        assert!(!verify(&home, &run).unwrap().closed);
        fs::write(&path, &original[..original.len() - 1]).unwrap();
        assert!(
            verify(&home, &run)
                .unwrap_err()
                .to_string()
                .ends_with("line 5 is incomplete")
        );
        fs::write(&path, format!("{original}{}\n", lines[4])).unwrap();
        assert!(verify(&home, &run).is_err());
    }

    #[test]
    fn the_log_of_another_run_is_not_taken_for_this_one() {
        let (_dir, home) = home();
        let (run, path) = written(&home);
        let other = RunId::generate().unwrap();
        fs::rename(&path, place(&home, &other)).unwrap();
        assert!(matches!(
            verify(&home, &other),
            Err(AuditError::Broken { line: 1, .. })
        ));
        assert!(matches!(verify(&home, &run), Err(AuditError::NoSuchRun(_))));
    }

    #[test]
    fn a_guest_cannot_choose_what_a_line_costs() {
        let (_dir, home) = home();
        let run = RunId::generate().unwrap();
        let log = Log::create(&home, &run, Value::Null).unwrap();
        log.append(
            Kind::Denied,
            &"w".repeat(1 << 20),
            json!("\u{1}".repeat(1 << 20)),
        )
        .unwrap();
        assert!(fs::metadata(log.path()).unwrap().len() < 4096);
        let line = read(&home, &run).unwrap().nth(1).unwrap().unwrap();
        assert_eq!(line.detail["too-long"]["bytes"], 6 * (1 << 20) + 2);
    }

    #[test]
    fn a_guest_that_fills_the_log_does_not_hide_how_its_run_ended() {
        let (_dir, home) = home();
        let run = RunId::generate().unwrap();
        let log = Log::create(&home, &run, Value::Null).unwrap();
        let call = log
            .append(Kind::Allowed, "golem.open", Value::Null)
            .unwrap();
        log.writer.lock().unwrap().length = LOG_MAX - LOG_SPARE;
        for kind in [Kind::Denied, Kind::Allowed] {
            let error = log.append(kind, "flood", Value::Null).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::FileTooLarge);
        }
        log.outcome(call, "golem.open", Value::Null).unwrap();
        log.append(Kind::Note, "golem.bill", Value::Null).unwrap();
        log.close(Value::Null).unwrap();
        let verified = verify(&home, &run).unwrap();
        assert_eq!((verified.lines, verified.closed), (5, true));

        let run = RunId::generate().unwrap();
        let log = Log::create(&home, &run, Value::Null).unwrap();
        log.writer.lock().unwrap().length = LOG_MAX;
        assert!(log.append(Kind::Note, "note", Value::Null).is_err());
    }

    #[test]
    fn nothing_is_written_after_the_end() {
        let (_dir, home) = home();
        let run = RunId::generate().unwrap();
        let log = Log::create(&home, &run, Value::Null).unwrap();
        log.close(Value::Null).unwrap();
        assert!(log.append(Kind::Note, "late", Value::Null).is_err());
        assert_eq!(verify(&home, &run).unwrap().lines, 2);
        assert!(Log::create(&home, &run, Value::Null).is_err());
    }

    #[test]
    fn threads_write_one_chain() {
        let (_dir, home) = home();
        let run = RunId::generate().unwrap();
        let log = Log::create(&home, &run, Value::Null).unwrap();
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for n in 0..50 {
                        let call = log.append(Kind::Allowed, "x", json!(n)).unwrap();
                        log.outcome(call, "x", json!("done")).unwrap();
                    }
                });
            }
        });
        assert_eq!(verify(&home, &run).unwrap().lines, 801);
    }
}
