//! Steps as a script writes them, made into steps that name opened things.
//!
//! First every path and size is read ([`parse`]), then the gate sees which files of the tree are touched, and only
//! then do paths become sources and sinks ([`Parsed::bind`]).

use serde_json::{Value, json};
use sovr_golem as golem;
use sovr_golem::step::MOST_BYTES;
use sovr_pod::GuestPath;
use sovr_runtime::bindings::errors::Error;
use sovr_runtime::bindings::golem::Step;

use crate::convert::invalid;
use crate::files::Files;
use crate::gate::Refusal;

/// Most steps of one task or batch. With what each may print, and [`MOST_ANSWERED`], an outcome fits into a frame.
const MOST_STEPS: usize = 64;
/// Most bytes that all `download-bytes` of one task or batch may answer together.
const MOST_ANSWERED: u64 = 4 << 20;
/// Most bytes of a path on a provider, a program's name or one argument.
const MOST_TEXT: usize = 4096;
/// Most arguments of one program.
const MOST_ARGS: usize = 256;
/// Most bytes of all paths and words of one task or batch. They lie in memory while the task waits, and a run may have
/// many tasks.
const MOST_WORDS: usize = 64 << 10;
/// What a path or word counts beside its text.
const WORD: usize = 32;

/// Steps whose words make sense.
#[derive(Debug)]
pub(super) struct Parsed(Vec<ParsedStep>);

#[derive(Debug)]
enum ParsedStep {
    Send {
        source: GuestPath,
        destination: String,
    },
    SendBytes {
        content: Vec<u8>,
        destination: String,
    },
    Run {
        program: String,
        args: Vec<String>,
    },
    Download {
        source: String,
        destination: GuestPath,
    },
    DownloadBytes {
        source: String,
        most: u64,
    },
}

impl ParsedStep {
    /// Most bytes that it hands to the script.
    fn answered(&self) -> u64 {
        match self {
            ParsedStep::DownloadBytes { most, .. } => *most,
            _ => 0,
        }
    }

    /// Bytes that its paths and words take.
    fn words(&self) -> usize {
        let words: &[&str] = match self {
            ParsedStep::Send {
                source: here,
                destination: there,
            }
            | ParsedStep::Download {
                source: there,
                destination: here,
            } => &[here.as_str(), there],
            ParsedStep::SendBytes { destination, .. } => &[destination],
            ParsedStep::Run { program, args } => {
                let args: usize = args.iter().map(|arg| WORD + arg.len()).sum();
                return WORD + program.len() + args;
            }
            ParsedStep::DownloadBytes { source, .. } => &[source],
        };
        words.iter().map(|word| WORD + word.len()).sum()
    }
}

/// Reads the steps; the error names the step and its field.
pub(super) fn parse(steps: Vec<Step>) -> Result<Parsed, Error> {
    if steps.is_empty() {
        return Err(invalid("steps", "there are none; give at least one"));
    }
    if steps.len() > MOST_STEPS {
        return Err(invalid(
            "steps",
            format_args!("there are {}; at most {MOST_STEPS} are taken", steps.len()),
        ));
    }
    let parsed: Vec<_> = steps
        .into_iter()
        .enumerate()
        .map(|(index, step)| parse_step(index, step))
        .collect::<Result<_, _>>()?;
    let answered: u64 = parsed.iter().map(ParsedStep::answered).sum();
    if answered > MOST_ANSWERED {
        return Err(invalid(
            "steps",
            format_args!(
                "together they ask for {answered} bytes; at most {MOST_ANSWERED} are handed over, download files instead"
            ),
        ));
    }
    let words: usize = parsed.iter().map(ParsedStep::words).sum();
    if words > MOST_WORDS {
        return Err(invalid(
            "steps",
            format_args!(
                "their paths and arguments take {words} bytes; at most {MOST_WORDS} are taken, pass more in a file"
            ),
        ));
    }
    Ok(Parsed(parsed))
}

fn parse_step(index: usize, step: Step) -> Result<ParsedStep, Error> {
    let field = |name: &str| format!("steps[{index}].{name}");
    Ok(match step {
        Step::SendFile(upload) => ParsedStep::Send {
            source: tree_path(&field("source"), &upload.source)?,
            destination: remote_path(&field("destination"), upload.destination)?,
        },
        Step::SendBytes(upload) => {
            if upload.content.len() as u64 > MOST_BYTES {
                return Err(invalid(
                    &field("content"),
                    format_args!(
                        "it has {} bytes; at most {MOST_BYTES} are taken, send a file instead",
                        upload.content.len()
                    ),
                ));
            }
            ParsedStep::SendBytes {
                content: upload.content,
                destination: remote_path(&field("destination"), upload.destination)?,
            }
        }
        Step::Run(command) => {
            let texts = std::iter::once(&command.program).chain(&command.args);
            for text in texts {
                if text.len() > MOST_TEXT || text.contains('\0') {
                    return Err(invalid(
                        &field("run"),
                        format_args!("a word is longer than {MOST_TEXT} bytes or holds a NUL"),
                    ));
                }
            }
            if command.program.is_empty() {
                return Err(invalid(
                    &field("program"),
                    "it is empty; name an entry point of the package",
                ));
            }
            if command.args.len() > MOST_ARGS {
                return Err(invalid(
                    &field("args"),
                    format_args!("there are more than {MOST_ARGS}"),
                ));
            }
            ParsedStep::Run {
                program: command.program,
                args: command.args,
            }
        }
        Step::DownloadFile(download) => ParsedStep::Download {
            source: remote_path(&field("source"), download.source)?,
            destination: tree_path(&field("destination"), &download.destination)?,
        },
        Step::DownloadBytes(download) => {
            if download.most > MOST_BYTES {
                return Err(invalid(
                    &field("most"),
                    format_args!("at most {MOST_BYTES}; download a file instead"),
                ));
            }
            ParsedStep::DownloadBytes {
                source: remote_path(&field("source"), download.source)?,
                most: download.most,
            }
        }
    })
}

/// A path of the pod's tree.
pub(super) fn tree_path(field: &str, text: &str) -> Result<GuestPath, Error> {
    text.parse().map_err(|error| invalid(field, error))
}

/// An absolute path on a provider, which must not climb.
pub(super) fn remote_path(field: &str, text: String) -> Result<String, Error> {
    if text.len() > MOST_TEXT {
        return Err(invalid(
            field,
            format_args!("the path is longer than {MOST_TEXT} bytes"),
        ));
    }
    let Some(rest) = text.strip_prefix('/') else {
        return Err(invalid(field, "a path on a provider begins with `/`"));
    };
    if text.contains('\0') || rest.split('/').any(|part| matches!(part, "" | "." | "..")) {
        return Err(invalid(
            field,
            "a path on a provider has no empty part, `.`, `..` or NUL",
        ));
    }
    Ok(text)
}

/// Refuses a path that the script may not write.
pub(super) fn check_writable(path: &GuestPath) -> Result<(), Refusal> {
    if path.area().is_writable() {
        Ok(())
    } else {
        Err(Refusal::Invalid(format!(
            "{path}: only output/, logs/ and tmp/ can be written"
        )))
    }
}

impl Parsed {
    /// Refuses steps that would write where the script may not.
    pub(super) fn check(&self) -> Result<(), Refusal> {
        self.0.iter().try_for_each(|step| match step {
            ParsedStep::Download { destination, .. } => check_writable(destination),
            _ => Ok(()),
        })
    }

    /// For the audit log: which files go where. What programs are told is the provider's matter and the pod's.
    pub(super) fn detail(&self) -> Value {
        self.0
            .iter()
            .map(|step| match step {
                ParsedStep::Send {
                    source,
                    destination,
                } => json!({ "send": source.as_str(), "to": destination }),
                ParsedStep::SendBytes {
                    content,
                    destination,
                } => json!({ "send-bytes": content.len(), "to": destination }),
                ParsedStep::Run { program, args } => json!({ "run": program, "args": args.len() }),
                ParsedStep::Download {
                    source,
                    destination,
                } => json!({ "download": source, "to": destination.as_str() }),
                ParsedStep::DownloadBytes { source, most } => {
                    json!({ "download-bytes": source, "most": most })
                }
            })
            .collect()
    }

    /// Turns paths into sources and sinks.
    pub(super) fn bind(self, files: &Files) -> Result<Vec<golem::Step>, Error> {
        self.0
            .into_iter()
            .map(|step| {
                Ok(match step {
                    ParsedStep::Send {
                        source,
                        destination,
                    } => golem::Step::Send {
                        source: files.source(source),
                        destination,
                    },
                    ParsedStep::SendBytes {
                        content,
                        destination,
                    } => golem::Step::Send {
                        source: files.bytes(content)?,
                        destination,
                    },
                    ParsedStep::Run { program, args } => golem::Step::Run { program, args },
                    ParsedStep::Download {
                        source,
                        destination,
                    } => golem::Step::Download {
                        source,
                        sink: files.sink(destination),
                    },
                    ParsedStep::DownloadBytes { source, most } => {
                        golem::Step::DownloadBytes { source, most }
                    }
                })
            })
            .collect()
    }
}
