//! Batches as requestors write them, read with bounds on everything.

use std::sync::Arc;

use serde::ser::{Error as _, Serialize, Serializer};
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::bus::gftp::{Location, Remote};
use crate::bus::{Body, Line};
use crate::step::{Command, Step};

/// Most commands of a batch.
const COMMANDS: usize = 256;
/// Most arguments of a program.
const ARGUMENTS: usize = 1024;
/// Most bytes of all arguments of a program.
const ARGUMENT_BYTES: usize = 128 * 1024;
/// Longest path, address or name.
const PATH: usize = 4096;
/// Longest form in which a command is told of when it starts.
const SHOWN: usize = 4096;
/// Bytes that an answer has for each byte in a list.
const LISTED: usize = 5;

/// A batch.
#[derive(Debug)]
pub(super) struct Script {
    /// What can be done, in order.
    pub(super) entries: Vec<Entry>,
    /// Then comes a command that cannot, and why; nothing after it is done.
    pub(super) failing: Option<(Shown, String)>,
}

/// A command.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) shown: Shown,
    pub(super) command: Command,
    pub(super) capture: Capture,
    /// Whether transfers are to tell how far they are.
    pub(super) progress: bool,
}

/// A command as the requestor wrote it, or its name if that is long. Kept as text, because its values would take many
/// times as much memory, and a requestor chooses how many there are.
#[derive(Debug, Clone)]
pub(super) struct Shown(Arc<str>);

impl Shown {
    pub(super) fn new(name: &str, what: &Body) -> Self {
        let whole = json!({ name: what.clone().into_json() }).to_string();
        match whole.len() <= SHOWN {
            true => Self(whole.into()),
            false => Self(json!({ name: {} }).to_string().into()),
        }
    }

    /// Its bytes.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }
}

impl Serialize for Shown {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let value: Value = serde_json::from_str(&self.0).map_err(S::Error::custom)?;
        value.serialize(serializer)
    }
}

/// Output of a program, in the form that the requestor wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Output {
    text: String,
    /// As a list of bytes, not as text.
    bytes: bool,
}

#[cfg(test)]
impl Output {
    pub(super) fn len(&self) -> usize {
        self.text.len()
    }
}

impl Serialize for Output {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.bytes {
            true => self.text.as_bytes().serialize(serializer),
            false => self.text.serialize(serializer),
        }
    }
}

/// What is kept of a program's output; nothing of a stream that the requestor says nothing about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Capture {
    pub(super) stdout: Option<Kept>,
    pub(super) stderr: Option<Kept>,
}

/// How a stream is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Kept {
    /// Told as it comes.
    pub(super) live: bool,
    /// As bytes, not as text.
    bytes: bool,
    part: Part,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Head(usize),
    Tail(usize),
    /// Half of it from each end.
    Ends(usize),
}

/// Where files of requestors come from and go to.
pub(super) struct Files {
    pub(super) line: Arc<Line>,
    /// Once true, no file moves any more.
    pub(super) stop: watch::Receiver<bool>,
}

impl Files {
    pub(super) fn remote(&self, location: Location) -> Arc<Remote> {
        Arc::new(Remote::new(
            Arc::clone(&self.line),
            location,
            self.stop.clone(),
        ))
    }
}

/// Reads a batch.
///
/// # Errors
/// If it is none, or exceeds a bound: what the requestor is told.
pub(super) fn read(script: &Body, files: &Files) -> Result<Script, String> {
    let Body::List(commands) = script else {
        return Err("exeScript is no list".to_owned());
    };
    if commands.len() > COMMANDS {
        return Err(format!("a batch has at most {COMMANDS} commands"));
    }
    let mut entries = Vec::new();
    for command in commands {
        let Body::Map(map) = command else {
            return Err("a command is no map".to_owned());
        };
        let [(name, what)] = map.as_slice() else {
            return Err("a command has one name".to_owned());
        };
        match entry(name, what, files)? {
            Ok(entry) => entries.push(entry),
            Err(why) => {
                let failing = Some((Shown::new(name, what), why));
                return Ok(Script { entries, failing });
            }
        }
    }
    Ok(Script {
        entries,
        failing: None,
    })
}

/// A command; inside, why it fails when its turn comes.
fn entry(name: &str, what: &Body, files: &Files) -> Result<Result<Entry, String>, String> {
    let mut capture = Capture::default();
    let command = match name {
        "deploy" => match what.get("net") {
            Some(Body::List(nets)) if !nets.is_empty() => {
                return Ok(Err("this runtime has no network".to_owned()));
            }
            _ => Command::Deploy,
        },
        "start" => Command::Start,
        "terminate" => Command::Terminate,
        "run" => {
            if let Some(how) = what.get("capture") {
                let kept = |stream| how.get(stream).and_then(Kept::read);
                capture = Capture {
                    stdout: kept("stdout"),
                    stderr: kept("stderr"),
                };
            }
            Command::Step(Step::Run {
                program: text(what, "entry_point")?,
                args: arguments(what)?,
            })
        }
        "transfer" => match transfer(&text(what, "from")?, &text(what, "to")?, files) {
            Ok(step) => Command::Step(step),
            Err(why) => return Ok(Err(why)),
        },
        "sign" => return Ok(Err("signing is not supported by this runtime".to_owned())),
        _ => return Err("a command is of an unknown kind".to_owned()),
    };
    Ok(Ok(Entry {
        shown: Shown::new(name, what),
        command,
        capture,
        progress: what.get("progress").is_some_and(|how| *how != Body::Null),
    }))
}

fn text(what: &Body, name: &str) -> Result<String, String> {
    match what.get(name).and_then(Body::as_text) {
        Some(text) if text.len() <= PATH => Ok(text.to_owned()),
        Some(_) => Err(format!("{name} is longer than {PATH} bytes")),
        None => Err(format!("{name} is missing")),
    }
}

fn arguments(what: &Body) -> Result<Vec<String>, String> {
    let given = match what.get("args") {
        Some(Body::List(given)) => given.as_slice(),
        Some(Body::Null) | None => &[],
        Some(_) => return Err("args is no list".to_owned()),
    };
    if given.len() > ARGUMENTS {
        return Err(format!("a program has at most {ARGUMENTS} arguments"));
    }
    let mut room = ARGUMENT_BYTES;
    let mut arguments = Vec::new();
    for argument in given {
        let argument = argument.as_text().ok_or("an argument is no text")?;
        room = room
            .checked_sub(argument.len())
            .ok_or_else(|| format!("arguments are longer than {ARGUMENT_BYTES} bytes"))?;
        // It would end the text for the program.
        if argument.contains('\0') {
            return Err("an argument holds a zero byte".to_owned());
        }
        arguments.push(argument.to_owned());
    }
    Ok(arguments)
}

fn transfer(from: &str, to: &str, files: &Files) -> Result<Step, String> {
    let remote = |url: &str| {
        let location = Location::read(url).map_err(|error| error.to_string())?;
        Ok::<_, String>(files.remote(location))
    };
    match (
        from.strip_prefix("container:"),
        to.strip_prefix("container:"),
    ) {
        (None, Some(inside)) => Ok(Step::Send {
            source: remote(from)?,
            destination: inside.to_owned(),
        }),
        (Some(inside), None) => Ok(Step::Download {
            source: inside.to_owned(),
            sink: remote(to)?,
        }),
        (Some(_), Some(_)) => Err("Unsupported scheme: container to container".to_owned()),
        (None, None) => Err("one end of a transfer must be `container:`".to_owned()),
    }
}

impl Kept {
    pub(super) fn read(how: &Body) -> Option<Self> {
        let live = how.get("stream");
        let how = live.or(how.get("atEnd"))?;
        let number = |name: &str| {
            let number = how.get(name).and_then(Body::as_u64)?;
            Some(usize::try_from(number).unwrap_or(usize::MAX))
        };
        let part = match (number("limit"), number("head"), number("tail")) {
            (Some(most), _, _) | (None, Some(most), _) => Part::Head(most),
            (None, None, Some(most)) => Part::Tail(most),
            (None, None, None) => match number("headTail") {
                Some(most) => Part::Ends(most),
                None => Part::Head(usize::MAX),
            },
        };
        let format = how.get("format").and_then(Body::as_text);
        Some(Self {
            live: live.is_some(),
            bytes: format.is_some_and(|format| format.starts_with("bin")),
            part,
        })
    }

    /// What is kept of a stream's text.
    pub(super) fn keep(self, text: &str) -> Output {
        let text = match self.part {
            Part::Head(most) => head(text, most).to_owned(),
            Part::Tail(most) => tail(text, most).to_owned(),
            Part::Ends(most) if text.len() <= most => text.to_owned(),
            Part::Ends(most) => {
                let half = most / 2;
                format!("{}{}", head(text, half), tail(text, most - half))
            }
        };
        self.written(text)
    }

    /// In the form that the requestor wants.
    pub(super) fn written(self, text: String) -> Output {
        Output {
            text,
            bytes: self.bytes,
        }
    }

    /// What a text counts for: about what it takes where it is told.
    pub(super) fn weight(self, text: &str) -> usize {
        match self.bytes {
            true => text.len().saturating_mul(LISTED),
            false => text.len(),
        }
    }
}

fn head(text: &str, most: usize) -> &str {
    &text[..text.floor_char_boundary(most)]
}

fn tail(text: &str, most: usize) -> &str {
    &text[text.ceil_char_boundary(text.len().saturating_sub(most))..]
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::Kept;
    use crate::bus::{Body, encode};

    fn kept(how: &Value, text: &str) -> (bool, Value) {
        let how = Body::read(&encode(how).unwrap()).unwrap();
        let kept = Kept::read(&how).unwrap();
        (kept.live, serde_json::to_value(kept.keep(text)).unwrap())
    }

    #[test]
    fn output_is_kept_as_the_requestor_wants_it() {
        for (how, live, expected) in [
            (json!({ "stream": {} }), true, json!("a€bcd")),
            (json!({ "stream": { "limit": 2 } }), true, json!("a")),
            (
                json!({ "atEnd": { "format": "str" } }),
                false,
                json!("a€bcd"),
            ),
            (json!({ "atEnd": { "head": 4 } }), false, json!("a€")),
            (json!({ "atEnd": { "tail": 2 } }), false, json!("cd")),
            (json!({ "atEnd": { "tail": 4 } }), false, json!("bcd")),
            (json!({ "atEnd": { "headTail": 3 } }), false, json!("acd")),
            (
                json!({ "atEnd": { "headTail": 99 } }),
                false,
                json!("a€bcd"),
            ),
            (
                json!({ "atEnd": { "format": "binary", "head": 1 } }),
                false,
                json!([97]),
            ),
            (
                json!({ "stream": { "limit": u64::MAX } }),
                true,
                json!("a€bcd"),
            ),
        ] {
            assert_eq!(kept(&how, "a€bcd"), (live, expected), "{how}");
        }
        assert_eq!(Kept::read(&Body::Null), None);
    }
}
