//! `sovr-host consent`: what the user agreed to.

use jiff::Timestamp;
use serde::Serialize;
use sovr_capability::consent::{GivenBy, RevokeError};
use sovr_capability::{ConsentStore, Home};

use crate::exit::Exit;
use crate::figures::count;
use crate::output::Output;
use crate::table::{Align, Table};

/// List or revoke what you agreed to
///
/// A consent is about one component with one request: when either changes, you are asked again.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    action: Option<Action>,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// List what you agreed to, newest first; also what `consent` alone does
    List,
    /// Forget a consent: the pod has to ask again
    Revoke(Revoke),
}

#[derive(Debug, clap::Args)]
#[group(required = true)]
struct Revoke {
    /// The beginning of the request's digest, as `list` shows it
    #[arg(value_name = "REQUEST")]
    request: Option<String>,
    /// Forget all consents
    #[arg(long, conflicts_with = "request")]
    all: bool,
}

#[derive(Debug, Serialize)]
struct Revoked {
    revoked: usize,
}

/// Lists or revokes.
pub(crate) fn consent(args: &Args, output: Output) -> anyhow::Result<Exit> {
    let home = Home::from_environment()?;
    match &args.action {
        None | Some(Action::List) => list(&home, output),
        Some(Action::Revoke(Revoke {
            request: Some(request),
            ..
        })) => {
            let Some(store) = ConsentStore::open_existing(&home)? else {
                return Err(RevokeError::None(request.clone()).into());
            };
            let consent = store.revoke(request)?;
            let words = format!(
                "{} has to ask again (request {})",
                consent.pod.escaped(),
                consent.request.short()
            );
            revoked(1, &words, output)
        }
        Some(Action::Revoke(Revoke { request: None, .. })) => {
            let number = match ConsentStore::open_existing(&home)? {
                Some(store) => store.revoke_all()?,
                None => 0,
            };
            revoked(
                number,
                &format!("{} revoked", count(number as u64, "consent", "consents")),
                output,
            )
        }
    }
}

fn list(home: &Home, output: Output) -> anyhow::Result<Exit> {
    let consents = match ConsentStore::open_existing(home)? {
        Some(store) => store.list()?,
        None => Vec::new(),
    };
    if output.json {
        output.document(&consents)?;
        return Ok(Exit::Ok);
    }
    if consents.is_empty() {
        output.say("You have not agreed to anything yet.");
        return Ok(Exit::Ok);
    }
    let mut table = Table::new(
        ["request", "pod", "component", "given", "by"].map(|heading| (heading, Align::Left)),
    );
    for consent in &consents {
        table.row([
            consent.request.short(),
            consent.pod.escaped(),
            consent.key.component.short(),
            day(consent.given_at),
            given_by(consent.given_by).to_owned(),
        ]);
    }
    output.result(table.within(output.width()))?;
    Ok(Exit::Ok)
}

fn revoked(number: usize, words: &str, output: Output) -> anyhow::Result<Exit> {
    if output.json {
        output.document(&Revoked { revoked: number })?;
    } else {
        output.say(words);
    }
    Ok(Exit::Ok)
}

/// How a consent was given, in words that follow "by".
pub(crate) fn given_by(how: GivenBy) -> &'static str {
    match how {
        GivenBy::Prompt => "answering the question",
        GivenBy::Yes => "--yes",
        GivenBy::Allow => "--allow",
    }
}

/// A time as people read it, UTC.
pub(crate) fn day(time: Timestamp) -> String {
    time.strftime("%Y-%m-%d %H:%M UTC").to_string()
}
