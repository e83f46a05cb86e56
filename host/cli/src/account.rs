//! The user as the holder of an account: asked for a password on a terminal, and told what is odd about it.

use std::io;

use sovr_broker::account::Holder;
use sovr_broker::settings::storage::PASSWORD;
use sovr_capability::Untrusted;
use sovr_dfs::UserName;
use sovr_dfs::fairos::{AccountError, Password};

use crate::exit::Exit;
use crate::failure::{Stopped, Usage};
use crate::output::Output;
use crate::prompt::{Console, StandardConsole};

/// A longer line is not a password, but something pasted.
const LONGEST: usize = 1024;

/// Who sits at this terminal, if anybody does.
#[derive(Clone, Copy, Debug)]
pub(crate) struct AtTerminal(pub(crate) Output);

impl Holder for AtTerminal {
    fn is_there(&self) -> bool {
        StandardConsole.is_interactive()
    }

    fn password(&self, user: &UserName, server: &str) -> Option<Password> {
        let question = format!("Password of {user} at {}: ", shown(server));
        match hidden(&question) {
            Ok(password) => Some(Password::new(password)),
            Err(Unanswered::Interrupted) => {
                // Nothing has begun, and nobody but the user can go on.
                std::process::exit(Exit::Interrupted.code().into())
            }
            Err(Unanswered::Not(_)) => None,
        }
    }

    fn warn(&self, warning: &str) {
        self.0.warn(Untrusted::from(warning).escaped_within(2048));
    }
}

/// A server's address without the `/` at its end, safe to show.
pub(crate) fn shown(server: &str) -> String {
    Untrusted::from(server.trim_end_matches('/')).escaped()
}

/// Why there is no answer.
pub(crate) enum Unanswered {
    /// Ctrl-C, or the end of the input.
    Interrupted,
    /// The question was not asked, or what was typed is no answer; a sentence without its beginning.
    Not(&'static str),
}

impl Unanswered {
    /// As the end of a command that needs what was asked for; `without` says where else it can stand.
    pub(crate) fn into_error(self, without: impl FnOnce() -> String) -> anyhow::Error {
        match self {
            Unanswered::Interrupted => {
                Stopped::Interrupted("stopped at a question, so nothing was done").into()
            }
            Unanswered::Not(why) => Usage(format!("{}: {why}", without())).into(),
        }
    }
}

/// Asks for a line that is not shown while it is typed.
pub(crate) fn hidden(question: &str) -> Result<String, Unanswered> {
    let mut console = StandardConsole;
    if !console.is_interactive() {
        return Err(Unanswered::Not(
            "standard input and standard error are not both a terminal, so nobody was asked",
        ));
    }
    let line = console.ask_hidden(question, LONGEST);
    let line = line.map_err(|error| match error.kind() {
        io::ErrorKind::Interrupted => Unanswered::Interrupted,
        io::ErrorKind::InvalidData => Unanswered::Not("what was typed is too long or not UTF-8"),
        _ => Unanswered::Not("the terminal does not work"),
    })?;
    match line.is_empty() {
        true => Err(Unanswered::Not("nothing was typed")),
        false => Ok(line),
    }
}

/// The password, from where it stands or from the terminal.
pub(crate) fn password(
    known: Option<&Password>,
    ask: impl FnOnce() -> Result<String, Unanswered>,
) -> anyhow::Result<Password> {
    if let Some(known) = known {
        return Ok(known.clone());
    }
    let without = || {
        format!(
            "there is no password: set {PASSWORD}, or `credentials` in [fairos] of storage.toml, or run this on a \
             terminal"
        )
    };
    Ok(Password::new(ask().map_err(|why| why.into_error(without))?))
}

/// What to exit with. An account that is missing, or a server that does not take it, is not there to be used, as a
/// daemon is not; a name that is taken and a password that is unfit are words of the command line.
pub(crate) fn exit_of(error: &AccountError) -> Exit {
    match error {
        AccountError::UserExists { .. } | AccountError::UnfitPassword { .. } => Exit::Usage,
        _ => Exit::Unavailable,
    }
}

/// What to do next, in the words of this program.
pub(crate) fn advice(error: &AccountError) -> Option<String> {
    let words = match error {
        AccountError::Address { .. } => {
            "set `server` in [fairos] of storage.toml, or SOVR_FAIROS_SERVER"
        }
        AccountError::PlainHttp { .. } => {
            "give an https address as `server` in [fairos] of storage.toml, or write `allow-plain-http = true` there"
        }
        AccountError::LoginNeeded { .. } => {
            "`sovr-host login`, or `sovr-host signup` for a new account"
        }
        AccountError::LoginEnded { .. } => "`sovr-host login`",
        AccountError::PasswordNeeded { .. } => {
            "set SOVR_FAIROS_PASSWORD, or `credentials` in [fairos] of storage.toml: on this server the login alone does \
             not open pods"
        }
        AccountError::NoSuchUser { .. } => {
            "check SOVR_USER, the credentials file and `user` in storage.toml; `sovr-host signup` makes a new account"
        }
        AccountError::WrongPassword { .. } => {
            "check SOVR_FAIROS_PASSWORD and the credentials file; without them `sovr-host login` asks on a terminal"
        }
        AccountError::UserExists { .. } => {
            "`sovr-host login` if the account is yours; otherwise `sovr-host signup` with another name"
        }
        AccountError::UnfitPassword { .. } => {
            "`sovr-host signup` again with another password, of twelve characters or more"
        }
        AccountError::Unfunded { .. } => {
            "`sovr-host signup --mnemonic FILE` with the same twelve words, when the fee is there"
        }
    };
    Some(words.to_owned())
}
