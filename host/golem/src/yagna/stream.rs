//! What a batch tells while it runs: server-sent events.
//!
//! The daemon replays nothing, says nothing about a batch that it does not know, and does not end the stream when the
//! batch ends. So it is opened right after the batch is started, the last command's end is the end, and
//! [`Daemon::results`] has the last word.

use std::time::Duration;

use reqwest::Response;
use serde::Deserialize;
use serde_json::{Map, Value};
use sovr_capability::Untrusted;

use super::activity::Output;
use super::connection::{Daemon, MOST, Part, too_long, within};
use super::error::{DaemonError, ErrorKind};

/// The daemon says something every 15 seconds, if only that it is there.
const STALL: Duration = Duration::from_secs(60);
const ATTEMPTED: &str = "follow a batch";
/// What ends an event.
const END: &[u8] = b"\n\n";

/// News of a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct News {
    /// Which command, from 0.
    pub index: u32,
    /// What.
    pub kind: NewsKind,
}

/// What happens to a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NewsKind {
    /// It has begun.
    Started,
    /// Its program printed this.
    Stdout(Output),
    /// Its program printed this to standard error.
    Stderr(Output),
    /// A transfer, or the fetching of a package, moved on.
    Progress {
        /// What has been done.
        done: u64,
        /// Of how much, if known.
        total: Option<u64>,
    },
    /// It has ended.
    Finished {
        /// 0 for success.
        return_code: i32,
        /// Why not.
        message: Option<Untrusted>,
    },
    /// Something newer than this program.
    Other,
}

/// News as they come.
#[derive(Debug)]
pub struct Stream {
    response: Response,
    /// What has come of the next event.
    buffer: Vec<u8>,
}

/// As the daemon writes it.
#[derive(Deserialize)]
struct Event {
    index: u32,
    kind: Map<String, Value>,
}

#[derive(Deserialize)]
struct Finished {
    return_code: i32,
    message: Option<Untrusted>,
}

#[derive(Deserialize)]
struct Progress {
    progress: (u64, Option<u64>),
}

impl Daemon {
    /// Follows a batch from now on.
    ///
    /// # Errors
    /// [`Unreachable`](ErrorKind::Unreachable) if the activity is gone, and others.
    pub async fn follow(&self, activity: &str, batch: &str) -> Result<Stream, DaemonError> {
        let path = ["activity", activity, "exec", batch];
        let request = self.get(ATTEMPTED, Part::Activity, &path).stream();
        Ok(Stream {
            response: request.open().await?,
            buffer: Vec::new(),
        })
    }
}

impl Stream {
    /// Waits for the next news; none when the daemon has ended the stream. It may be dropped while it waits: nothing is
    /// lost.
    ///
    /// # Errors
    /// [`Connection`](ErrorKind::Connection) if the daemon goes away, [`Nonsense`](ErrorKind::Nonsense).
    pub async fn next(&mut self) -> Result<Option<News>, DaemonError> {
        loop {
            while let Some(data) = take(&mut self.buffer) {
                // Events without data are signs of life.
                if !data.is_empty() {
                    return news(&data).map(Some);
                }
            }
            let Some(piece) = within(ATTEMPTED, STALL, self.response.chunk()).await? else {
                return Ok(None);
            };
            if self.buffer.len() + piece.len() > MOST {
                return Err(too_long(ATTEMPTED));
            }
            self.buffer.extend_from_slice(&piece);
        }
    }
}

/// The data of the first whole event.
fn take(buffer: &mut Vec<u8>) -> Option<Vec<u8>> {
    let end = buffer.windows(END.len()).position(|window| window == END)?;
    let rest = buffer.split_off(end + END.len());
    let event = std::mem::replace(buffer, rest);
    let mut data = Vec::new();
    for line in event.split(|byte| *byte == b'\n') {
        if let Some(value) = line.strip_prefix(b"data:") {
            if !data.is_empty() {
                data.push(b'\n');
            }
            data.extend_from_slice(value.strip_prefix(b" ").unwrap_or(value));
        }
    }
    Some(data)
}

fn news(data: &[u8]) -> Result<News, DaemonError> {
    let nonsense = |error: serde_json::Error| DaemonError {
        attempted: ATTEMPTED,
        kind: ErrorKind::Nonsense,
        reason: Untrusted::new(format!("an event is not what it should be: {error}")),
    };
    let event: Event = serde_json::from_slice(data).map_err(nonsense)?;
    let Some((kind, what)) = event.kind.into_iter().next() else {
        return Ok(News {
            index: event.index,
            kind: NewsKind::Other,
        });
    };
    let kind = match kind.as_str() {
        "started" => NewsKind::Started,
        "stdout" => NewsKind::Stdout(serde_json::from_value(what).map_err(nonsense)?),
        "stderr" => NewsKind::Stderr(serde_json::from_value(what).map_err(nonsense)?),
        "finished" => {
            let Finished {
                return_code,
                message,
            } = serde_json::from_value(what).map_err(nonsense)?;
            NewsKind::Finished {
                return_code,
                message,
            }
        }
        "progress" => {
            let Progress {
                progress: (done, total),
            } = serde_json::from_value(what).map_err(nonsense)?;
            NewsKind::Progress { done, total }
        }
        _ => NewsKind::Other,
    };
    Ok(News {
        index: event.index,
        kind,
    })
}

#[cfg(test)]
mod tests {
    use super::{NewsKind, news, take};

    #[test]
    fn events_come_in_pieces_and_between_signs_of_life() {
        let whole =
            b":ping\n\nevent: runtime\ndata: {\"a\":1,\ndata:\"b\":2}\nid: 0\n\ndata: x\n\n";
        for cut in 0..whole.len() {
            let (first, second) = whole.split_at(cut);
            let mut buffer = first.to_vec();
            let mut found = Vec::new();
            while let Some(data) = take(&mut buffer) {
                found.push(data);
            }
            buffer.extend_from_slice(second);
            while let Some(data) = take(&mut buffer) {
                found.push(data);
            }
            let expected: [&[u8]; 3] = [b"", b"{\"a\":1,\n\"b\":2}", b"x"];
            assert_eq!(found, expected, "{cut}");
            assert!(buffer.is_empty());
        }
    }

    #[test]
    fn news_of_a_later_daemon_are_no_errors() {
        let read = |kind: &str| {
            let event = format!(
                r#"{{"batch_id":"b","index":2,"timestamp":"2026-11-20T23:46:40.35","kind":{kind}}}"#
            );
            news(event.as_bytes()).map(|news| (news.index, news.kind))
        };
        assert_eq!(read(r#"{"dreamt":{}}"#), Ok((2, NewsKind::Other)));
        assert_eq!(read("{}"), Ok((2, NewsKind::Other)));
        let progress =
            r#"{"progress":{"step":[0,1],"message":null,"progress":[10,20],"unit":"Bytes"}}"#;
        let moved = NewsKind::Progress {
            done: 10,
            total: Some(20),
        };
        assert_eq!(read(progress), Ok((2, moved)));
        assert!(read(r#"{"stdout":7}"#).is_err());
        assert!(read(r#"[]"#).is_err());
    }
}
