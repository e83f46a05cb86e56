//! `sovr-host signup`: a new account at a server.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use serde::Serialize;
use sovr_broker::account::Account;
use sovr_broker::settings::storage::StorageKind;
use sovr_capability::Untrusted;
use sovr_dfs::fairos::{AccountError, Mnemonic, SignedUp};
use sovr_dfs::{Error as DfsError, UserName};

use super::storage::shown as shown_path;
use super::{account, block_on};
use crate::account::{Unanswered, hidden, password, shown};
use crate::exit::Exit;
use crate::failure::{self, Usage};
use crate::output::{CARE, HINT, Output, STRONG};
use crate::prompt::{Console, StandardConsole};

/// Twelve words fit in this.
const LONGEST: u64 = 4096;
/// What the server asks of an address before it makes the account.
const FEE: &str = "0.01 ETH";

/// Make a new account at a FairOS-dfs server, and log in
///
/// The account's key is twelve words. The server makes them, and they are shown once: write them down. The password
/// comes from SOVR_FAIROS_PASSWORD, the credentials file or a question, never from the command line.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The new user's name [default: the one in SOVR_USER, the credentials file or storage.toml]
    #[arg(value_name = "USER", value_parser = account::name)]
    user: Option<UserName>,
    /// Take the twelve words from this file; `-` asks for them, or reads standard input
    #[arg(long, value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    mnemonic: Option<PathBuf>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
struct Report<'a> {
    server: &'a str,
    user: &'a str,
    address: Untrusted,
    /// The only time that it is told; none if the user gave it.
    mnemonic: Option<Untrusted>,
}

/// A sign-up that waits for money, in the form of other errors.
#[derive(Debug, Serialize)]
#[serde(tag = "event", rename = "error", rename_all = "kebab-case")]
struct Unfunded<'a> {
    exit: &'static str,
    code: u8,
    message: String,
    server: &'a str,
    user: &'a str,
    address: &'a str,
    amount: &'static str,
    /// The only time that it is told; none if the user gave it.
    mnemonic: Option<Untrusted>,
    hint: String,
}

/// Signs up.
pub(crate) fn signup(
    args: &Args,
    dfs: Option<StorageKind>,
    output: Output,
) -> anyhow::Result<Exit> {
    let account = account::of_server("signup", dfs, output)?;
    let user = account::user(&account, args.user.as_ref(), output)?;
    let server = shown(account.server().as_str());
    // An address that cannot be used is told before anybody types a password.
    account.open_as(user.clone(), None, None)?;
    let mnemonic = args.mnemonic.as_deref().map(read).transpose()?;
    let password = password(account.password(), || twice(&user, &server))?;
    let dfs = account.open_as(user.clone(), Some(password), None)?;
    let signed_up = block_on(async { Ok(dfs.signup(mnemonic.as_ref()).await) })?;
    match signed_up {
        Ok(signed_up) => {
            // The words first: nothing that fails later may lose them.
            let told = tell(&signed_up, &user, &server, output);
            account.keep(&user, &signed_up.login)?;
            told?;
            if let Some(next) = account::next(&account, &user)
                && !output.json
            {
                output.say(next);
            }
            Ok(Exit::Ok)
        }
        Err(DfsError::Account(AccountError::Unfunded {
            address, mnemonic, ..
        })) => unfunded(&account, &user, &address, mnemonic.as_ref(), output),
        Err(error) => Err(error.into()),
    }
}

/// A new password, typed the same two times.
fn twice(user: &UserName, server: &str) -> Result<String, Unanswered> {
    let first = hidden(&format!("New password of {user} at {server}: "))?;
    let second = hidden("The same again: ")?;
    match first == second {
        true => Ok(first),
        false => Err(Unanswered::Not("the two that were typed are not the same")),
    }
}

/// The words of a file, of standard input or of the user.
fn read(path: &Path) -> anyhow::Result<Mnemonic> {
    let text = match path.to_str() {
        Some("-") if StandardConsole.is_interactive() => hidden("The twelve words: ")
            .map_err(|why| why.into_error(|| "there is no mnemonic".to_owned()))?,
        Some("-") => text(io::stdin().lock(), "standard input")?,
        _ => {
            let shown = shown_path(path);
            let file = File::open(path)
                .map_err(|error| Usage(format!("cannot read the mnemonic in {shown}: {error}")))?;
            text(file, &shown)?
        }
    };
    let words: Vec<&str> = text.split_whitespace().collect();
    match words.len() {
        12 => Ok(Mnemonic::new(words.join(" "))),
        number => Err(Usage(format!("a mnemonic has 12 words, and this has {number}")).into()),
    }
}

fn text(source: impl Read, shown: &str) -> anyhow::Result<String> {
    let mut text = String::new();
    let read = source.take(LONGEST).read_to_string(&mut text);
    read.map_err(|error| Usage(format!("cannot read the mnemonic in {shown}: {error}")))?;
    Ok(text)
}

fn tell(signed_up: &SignedUp, user: &UserName, server: &str, output: Output) -> anyhow::Result<()> {
    let mnemonic = signed_up.mnemonic.as_ref().map(Mnemonic::reveal);
    if output.json {
        output.document(&Report {
            server,
            user: user.as_str(),
            address: signed_up.address.clone(),
            mnemonic,
        })?;
        return Ok(());
    }
    output.say(format_args!(
        "Signed up at {server} as {}, address {}. You are logged in.",
        output.stderr.paint(STRONG, user),
        signed_up.address.escaped()
    ));
    if let Some(mnemonic) = mnemonic {
        keep_these_words(&mnemonic, output)?;
    }
    Ok(())
}

/// Shows the words; they are a result, so that `--quiet` shows them too.
fn keep_these_words(mnemonic: &Untrusted, output: Output) -> io::Result<()> {
    let heading = "Write these twelve words down and keep them where nobody else looks:";
    output.say(format_args!("\n{}", output.stderr.paint(CARE, heading)));
    output.result(format_args!("{}\n", mnemonic.escaped()))?;
    output.say(
        "They are the account's key: who knows them owns it, and without them it cannot be\n\
         brought back. They are shown this once and kept nowhere.",
    );
    Ok(())
}

fn unfunded(
    account: &Account,
    user: &UserName,
    address: &str,
    mnemonic: Option<&Mnemonic>,
    output: Output,
) -> anyhow::Result<Exit> {
    let server = shown(account.server().as_str());
    let message = format!(
        "{user} is not signed up at {server} yet: that costs a fee, and the new account's address has nothing; send \
         {FEE} to {address}"
    );
    let hint = format!(
        "when it has arrived, `sovr-host signup {user} --mnemonic FILE` with these same twelve words; with others, what \
         was sent is lost to you"
    );
    let mnemonic = mnemonic.map(Mnemonic::reveal);
    if output.json {
        output.document(&Unfunded {
            exit: Exit::Unavailable.name(),
            code: Exit::Unavailable.code(),
            message: message.clone(),
            server: &server,
            user: user.as_str(),
            address,
            amount: FEE,
            mnemonic,
            hint: hint.clone(),
        })?;
    } else if let Some(mnemonic) = mnemonic {
        keep_these_words(&mnemonic, output)?;
    }
    failure::say(&message, output);
    output.say(format_args!(
        "{}: {hint}",
        output.stderr.paint(HINT, "next")
    ));
    Ok(Exit::Unavailable)
}
