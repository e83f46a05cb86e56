//! The commands, one file each: arguments, whose comments are the help, and one function.

mod account;
mod audit;
mod check;
mod cleanup;
mod completions;
mod consent;
mod delete;
mod doctor;
mod fairos;
mod fork;
mod golem;
mod import;
mod init;
mod inspect;
mod list;
mod lock;
mod login;
mod logout;
mod persist;
mod persist_self;
mod portrait;
mod provide;
mod registry;
mod run;
mod signup;
mod storage;
mod survey;
mod unshare;
mod whoami;

use std::future::Future;
use std::path::PathBuf;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use sovr_broker::settings::networks::NetworkKind;
use sovr_broker::settings::storage::StorageKind;
use tokio::runtime::{Builder, Runtime};

use crate::exit::Exit;
use crate::output::Output;

/// What to do. The help of each is written at its arguments.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    Init(init::Args),
    Check(check::Args),
    Inspect(inspect::Args),
    Run(run::Args),
    Persist(persist::Args),
    Fork(fork::Args),
    Import(import::Args),
    List(list::Args),
    Lock(lock::Args),
    Unshare(unshare::Args),
    Delete(delete::Args),
    Registry(registry::Args),
    PersistSelf(persist_self::Args),
    Signup(signup::Args),
    Login(login::Args),
    Logout(logout::Args),
    Whoami(whoami::Args),
    Golem(golem::Args),
    Cleanup(cleanup::Args),
    Provide(provide::Args),
    Doctor(doctor::Args),
    Consent(consent::Args),
    Audit(audit::Args),
    Completions(completions::Args),
}

impl Command {
    /// Does it.
    pub(crate) fn execute(self, dfs: Option<StorageKind>, output: Output) -> anyhow::Result<Exit> {
        match self {
            Command::Init(args) => init::init(&args, output),
            Command::Check(args) => check::check(&args, output),
            Command::Inspect(args) => inspect::inspect(&args, output),
            Command::Run(args) => run::run(args, dfs, output),
            Command::Persist(args) => persist::persist(&args, dfs, output),
            Command::Fork(args) => fork::fork(&args, dfs, output),
            Command::Import(args) => import::import(&args, dfs, output),
            Command::List(args) => list::list(&args, dfs, output),
            Command::Lock(args) => lock::lock(&args, dfs, output),
            Command::Unshare(args) => unshare::unshare(&args, dfs, output),
            Command::Delete(args) => delete::delete(&args, dfs, output),
            Command::Registry(args) => registry::registry(&args, dfs, output),
            Command::PersistSelf(args) => persist_self::persist_self(&args, dfs, output),
            Command::Signup(args) => signup::signup(&args, dfs, output),
            Command::Login(args) => login::login(&args, dfs, output),
            Command::Logout(args) => logout::logout(&args, dfs, output),
            Command::Whoami(args) => whoami::whoami(&args, dfs, output),
            Command::Golem(args) => golem::golem(&args, output),
            Command::Cleanup(args) => cleanup::cleanup(&args, output),
            Command::Provide(args) => provide::provide(&args, output),
            Command::Doctor(args) => doctor::doctor(&args, dfs, output),
            Command::Consent(args) => consent::consent(&args, output),
            Command::Audit(args) => audit::audit(&args, output),
            Command::Completions(args) => completions::completions(&args, output),
        }
    }
}

/// A pod or a task that is only looked at.
#[derive(Debug, clap::Args)]
struct PodArgs {
    /// Directory of the pod or task, or its recipe.json
    #[arg(value_name = "POD", value_hint = clap::ValueHint::AnyPath)]
    pod: PathBuf,
}

/// Which network a command is about.
#[derive(Clone, Copy, Debug, clap::Args)]
struct NetworkArgs {
    /// Where the work is done: on this machine, or on Golem through a yagna daemon
    #[arg(long, value_name = "KIND", value_parser = network_kind())]
    network: Option<NetworkKind>,
}

fn network_kind() -> impl TypedValueParser<Value = NetworkKind> {
    let words = NetworkKind::ALL.map(|(word, _)| word);
    PossibleValuesParser::new(words).map(|given| {
        let mut kinds = NetworkKind::ALL.into_iter();
        let kind = kinds.find(|(word, _)| *word == given);
        kind.map(|(_, kind)| kind).unwrap_or_default()
    })
}

/// Runs the asynchronous part of a command to its end. What is left running in the background is not waited for.
fn block_on<T>(work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    let runtime = runtime()?;
    let result = runtime.block_on(work);
    runtime.shutdown_background();
    result
}

fn runtime() -> std::io::Result<Runtime> {
    Builder::new_multi_thread().enable_all().build()
}
