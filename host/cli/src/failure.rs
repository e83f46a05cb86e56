//! Errors on their way out: one place that knows what an error means to the shell, and how it is told.
//!
//! Told is what was attempted, why it failed, and what to do next. The text goes through the same escaping as a
//! stranger's, because parts of it may be a stranger's.

use std::fmt;
use std::io::{self, Write};

use serde::Serialize;
use sovr_broker::Kind;
use sovr_capability::audit::AuditError;
use sovr_capability::causes::told;
use sovr_capability::consent::RevokeError;
use sovr_capability::{StateError, Untrusted};
use sovr_dfs::fairos::AccountError;

use crate::account;
use crate::exit::Exit;
use crate::json;
use crate::output::{BAD, HINT, Output};

/// The command line names something that is not there, or makes no sense in a way that clap cannot see.
#[derive(Debug)]
pub(crate) struct Usage(pub String);

impl fmt::Display for Usage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Usage {}

/// The user stopped it, or said no.
#[derive(Debug)]
pub(crate) enum Stopped {
    /// Ctrl-C, or the end of the answers.
    Interrupted(&'static str),
    /// A clear no, or something unclear.
    Refused(&'static str),
}

impl fmt::Display for Stopped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Stopped::Interrupted(what) | Stopped::Refused(what) => f.write_str(what),
        }
    }
}

impl std::error::Error for Stopped {}

/// An error as it is told. In JSON: one line with `"event": "error"`, also where the result would be a document.
#[derive(Debug, Serialize)]
#[serde(tag = "event", rename = "error", rename_all = "kebab-case")]
struct Told {
    exit: &'static str,
    code: u8,
    message: String,
    causes: Vec<String>,
    hint: Option<String>,
}

/// Tells the user, and says what to exit with.
pub(crate) fn report(error: &anyhow::Error, output: Output) -> Exit {
    if is_closed_pipe(error) {
        return Exit::Ok;
    }
    let exit = exit_of(error);
    let told = tell(error, exit);
    if output.json
        && let Ok(line) = json::line(&told)
    {
        // Standard error tells it as well, should nobody read this.
        let _ = writeln!(io::stdout().lock(), "{line}");
    }
    let _ = io::stderr()
        .lock()
        .write_all(render(&told, output).as_bytes());
    exit
}

/// What went wrong, in the way that a run's own end is told too.
pub(crate) fn say(message: &str, output: Output) {
    let label = output.stderr.paint(BAD, "error");
    let _ = writeln!(io::stderr().lock(), "{label}: {}", indented(message));
}

fn tell(error: &anyhow::Error, exit: Exit) -> Told {
    let mut messages = told(error.as_ref());
    let message = messages.remove(0);
    let hint = error.chain().find_map(hint);
    Told {
        exit: exit.name(),
        code: exit.code(),
        message,
        causes: messages,
        hint,
    }
}

fn hint(cause: &(dyn std::error::Error + 'static)) -> Option<String> {
    let pod = match cause.downcast_ref() {
        Some(sovr_protocol::Error::Pod(error)) => Some(error),
        _ => cause.downcast_ref(),
    };
    if let Some(error) = account_error(cause) {
        return account::advice(error);
    }
    if let Some(sovr_pod::Error::Exists { .. }) = pod {
        return Some(
            "make it elsewhere: `--into` of fork and import, `--parent` of init".to_owned(),
        );
    }
    cause.downcast_ref::<sovr_broker::Error>()?.hint()
}

/// The trouble with an account that an error is about.
fn account_error<'e>(cause: &'e (dyn std::error::Error + 'static)) -> Option<&'e AccountError> {
    use sovr_broker::Error as Broker;
    use sovr_dfs::Error as Dfs;
    use sovr_protocol::Error as Protocol;
    if let Some(Dfs::Account(error)) = cause.downcast_ref() {
        return Some(error);
    }
    if let Some(Protocol::Dfs(Dfs::Account(error))) = cause.downcast_ref() {
        return Some(error);
    }
    match cause.downcast_ref()? {
        Broker::Dfs(Dfs::Account(error)) | Broker::Protocol(Protocol::Dfs(Dfs::Account(error))) => {
            Some(error)
        }
        Broker::Step { source, .. } => account_error(&**source),
        _ => None,
    }
}

fn render(told: &Told, output: Output) -> String {
    let paint = output.stderr;
    let mut text = format!(
        "{}: {}\n",
        paint.paint(BAD, "error"),
        indented(&told.message)
    );
    for cause in &told.causes {
        text.push_str(&format!("  because: {}\n", indented(cause)));
    }
    if let Some(hint) = &told.hint {
        text.push_str(&format!(
            "{}: {}\n",
            paint.paint(HINT, "next"),
            indented(hint)
        ));
    }
    text
}

/// Safe to show, later lines indented by four; among each other they keep their places, as a mark below a column needs.
fn indented(text: &str) -> String {
    let safe = Untrusted::from(text.trim_end()).block();
    let (first, rest) = safe.split_once('\n').unwrap_or((&safe, ""));
    let margin = |line: &str| line.len() - line.trim_start_matches(' ').len();
    let least = rest
        .lines()
        .filter(|line| !line.trim().is_empty())
        .map(margin)
        .min()
        .unwrap_or(0);
    let rest = rest
        .lines()
        .map(|line| line.get(least..).unwrap_or_default());
    rest.fold(first.to_owned(), |text, line| format!("{text}\n    {line}"))
}

fn exit_of(error: &anyhow::Error) -> Exit {
    error
        .chain()
        .find_map(exit_of_cause)
        .unwrap_or(Exit::Unavailable)
}

/// What to exit with for an error of this kind.
pub(crate) fn exit_of_kind(kind: Kind) -> Exit {
    match kind {
        Kind::Usage => Exit::Usage,
        Kind::InvalidPod => Exit::InvalidPod,
        Kind::Denied => Exit::Denied,
        Kind::LimitHit => Exit::Limit,
        Kind::Unavailable => Exit::Unavailable,
        Kind::Interrupted => Exit::Interrupted,
    }
}

fn exit_of_cause(cause: &(dyn std::error::Error + 'static)) -> Option<Exit> {
    if let Some(error) = account_error(cause) {
        return Some(account::exit_of(error));
    }
    let broker = cause.downcast_ref().map(sovr_broker::Error::kind);
    let protocol = cause.downcast_ref().map(sovr_protocol::Error::kind);
    if let Some(kind) = broker.or_else(|| protocol.map(Kind::from)) {
        return Some(exit_of_kind(kind));
    }
    if let Some(error) = cause.downcast_ref::<sovr_pod::Error>() {
        return Some(match error {
            sovr_pod::Error::Exists { .. } | sovr_pod::Error::Name { .. } => Exit::Usage,
            sovr_pod::Error::Io { .. } => Exit::Unavailable,
            _ => Exit::InvalidPod,
        });
    }
    if let Some(stopped) = cause.downcast_ref::<Stopped>() {
        return Some(match stopped {
            Stopped::Interrupted(_) => Exit::Interrupted,
            Stopped::Refused(_) => Exit::Denied,
        });
    }
    if let Some(error) = cause.downcast_ref::<RevokeError>() {
        return Some(match error {
            RevokeError::State(_) => Exit::Unavailable,
            _ => Exit::Usage,
        });
    }
    if let Some(error) = cause.downcast_ref::<AuditError>() {
        return Some(match error {
            AuditError::NoSuchRun(_) => Exit::Usage,
            _ => Exit::Unavailable,
        });
    }
    if cause.is::<StateError>() {
        return Some(Exit::Unavailable);
    }
    cause.is::<Usage>().then_some(Exit::Usage)
}

/// The reader of our results went away, as `| head` does: it has what it wanted.
fn is_closed_pipe(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        cause
            .downcast_ref::<io::Error>()
            .is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
    })
}

#[cfg(test)]
mod tests {
    use anyhow::anyhow;
    use sovr_capability::Digest;

    use super::*;
    use crate::output::Paint;

    const PLAIN: Output = Output {
        json: false,
        quiet: false,
        stdout: Paint(false),
        stderr: Paint(false),
    };

    fn rendered(error: &anyhow::Error) -> String {
        render(&tell(error, exit_of(error)), PLAIN)
    }

    #[test]
    fn causes_stand_below_and_are_not_repeated() {
        let error = anyhow!("disk full")
            .context("cannot write x: disk full")
            .context("cannot save the run");
        assert_eq!(
            rendered(&error),
            "error: cannot save the run\n  because: cannot write x: disk full\n"
        );
    }

    #[test]
    fn a_strangers_words_stay_on_their_lines() {
        let error = anyhow!("bad name \u{1b}[2J\r\n  next line\n    ^");
        assert_eq!(
            rendered(&error),
            "error: bad name \\u{1b}[2J\\r\n    next line\n      ^\n"
        );
    }

    #[test]
    fn the_kind_decides_the_exit_also_below_context() {
        let other = sovr_broker::Error::OtherRequest {
            given: vec![Digest::of("a")],
            request: Digest::of("b"),
        };
        let error = anyhow::Error::from(other).context("cannot run");
        assert_eq!(exit_of(&error), Exit::Denied);
        assert!(
            rendered(&error).contains("\nnext: "),
            "{}",
            rendered(&error)
        );
        assert_eq!(
            exit_of(&anyhow::Error::from(Usage("x".to_owned()))),
            Exit::Usage
        );
        assert_eq!(exit_of(&anyhow!("anything else")), Exit::Unavailable);
    }

    #[test]
    fn json_says_the_same() {
        let error = anyhow::Error::from(Usage("no such run".to_owned()));
        let told = serde_json::to_value(tell(&error, exit_of(&error))).unwrap();
        assert_eq!(
            told,
            serde_json::json!({
                "event": "error", "exit": "usage", "code": 2, "message": "no such run", "causes": [], "hint": null
            })
        );
    }
}
