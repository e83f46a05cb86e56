//! `sovr-host doctor`: what this machine offers.

use std::path::Path;
use std::thread;

use serde::Serialize;
use sovr_broker::settings::networks::{NetworkKind, Networks};
use sovr_broker::settings::storage::{Local, Storage, StorageKind};
use sovr_capability::{Home, Policy};
use sovr_sandbox::{Strength, Wall};

use super::{NetworkArgs, fairos, golem};
use crate::account::shown;
use crate::daemons::{self, Status};
use crate::exit::Exit;
use crate::output::{BAD, CARE, FAINT, GOOD, Output, STRONG};

/// Show what this machine offers: walls, state, daemons
///
/// Nothing is written. Exits with 5 if a wall of the sandbox is missing or the state cannot be used; daemons are
/// needed for real networks only, so their absence is no fault. If your storage is on a FairOS-dfs server, or your runs
/// work on Golem, the server, the daemon and your accounts there must be usable too.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    network: NetworkArgs,
    /// Where the yagna daemon would be, if nothing holds an app-key [default: as networks.toml says]
    #[arg(long, value_name = "URL")]
    yagna: Option<String>,
    /// Where the FairOS-dfs server would be, if your storage is no other
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:9090")]
    fairos: String,
}

/// How one thing stands. The words are also those of `--json`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum State {
    Ok,
    Partial,
    Missing,
    Idle,
}

#[derive(Debug, Serialize)]
pub(super) struct Item {
    name: String,
    pub(super) state: State,
    pub(super) found: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    meaning: Option<&'static str>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
struct Report {
    version: &'static str,
    healthy: bool,
    walls: Vec<Item>,
    state: Vec<Item>,
    daemons: Vec<Item>,
}

/// Looks and tells.
pub(crate) fn doctor(
    args: &Args,
    dfs: Option<StorageKind>,
    output: Output,
) -> anyhow::Result<Exit> {
    let walls: Vec<Item> = sovr_sandbox::walls().into_iter().map(wall).collect();
    let Settings {
        items: mut state,
        storage,
        networks,
    } = settings(dfs, args.network.network);
    let fairos = match storage {
        Some(Storage::Fairos(fairos)) => {
            let (server, account) = fairos::look(fairos)?;
            state.extend(account);
            Some(server)
        }
        _ => None,
    };
    let door = args.yagna.clone().or_else(|| {
        let networks = networks.as_ref()?;
        Some(shown(networks.yagna.api.as_str()))
    });
    let yagna = match networks {
        Some(networks) if golem::is_meant(&networks) => {
            let (server, account) = golem::items(&networks)?;
            state.extend(account);
            Some(server)
        }
        _ => None,
    };
    let daemons = thread::scope(|scope| {
        let yagna = yagna.map(Ok).unwrap_or_else(|| {
            Err(scope.spawn(|| match door {
                Some(door) => daemon("yagna", &door, golem::NEEDED_FOR, daemons::yagna(&door)),
                None => item(
                    "yagna",
                    State::Partial,
                    "not looked for, as the settings of the networks are not valid",
                ),
            }))
        });
        let fairos = fairos.unwrap_or_else(|| {
            daemon(
                "FairOS-dfs",
                &args.fairos,
                "storage on Swarm",
                daemons::fairos(&args.fairos),
            )
        });
        let yagna = yagna.unwrap_or_else(|knocking| {
            let failed = |_| item("yagna", State::Partial, "looking for it failed");
            knocking.join().unwrap_or_else(failed)
        });
        vec![yagna, fairos]
    });
    let healthy = walls
        .iter()
        .chain(&state)
        // Missing is only one that the settings name.
        .chain(&daemons)
        .all(|item| item.state != State::Missing);
    let report = Report {
        version: env!("CARGO_PKG_VERSION"),
        healthy,
        walls,
        state,
        daemons,
    };
    if output.json {
        output.document(&report)?;
    } else {
        output.result(render(&report, output))?;
    }
    Ok(if healthy { Exit::Ok } else { Exit::Unavailable })
}

fn wall(wall: Wall) -> Item {
    let state = match wall.strength {
        Strength::Full => State::Ok,
        Strength::Partial => State::Partial,
        Strength::Missing => State::Missing,
    };
    Item {
        name: wall.name.to_owned(),
        state,
        found: wall.found,
        meaning: Some(wall.meaning),
    }
}

/// What the state of the program is, and what the settings say.
struct Settings {
    items: Vec<Item>,
    /// If they can be used.
    storage: Option<Storage>,
    /// If they can be used.
    networks: Option<Networks>,
}

fn settings(dfs: Option<StorageKind>, network: Option<NetworkKind>) -> Settings {
    let home = match Home::from_environment() {
        Ok(home) => home,
        Err(error) => {
            return Settings {
                items: vec![item("home", State::Missing, error)],
                storage: None,
                networks: None,
            };
        }
    };
    let directories = home.directories();
    let mut items: Vec<Item> = directories.map(|(name, path)| directory(name, path)).into();
    // Preparing also checks that nobody else can get in; where all is made already it makes nothing new.
    if directories.iter().all(|(_, path)| path.exists())
        && let Err(error) = home.prepare()
    {
        items.push(item("safety", State::Missing, error));
    }
    items.push(file("policy", &home.policy(), Policy::load(&home.policy())));
    let variable = |name: &str| std::env::var_os(name);
    let networks = Networks::load(&home.networks(), network, home.work(), variable);
    let mut read = file("networks", &home.networks(), networks.as_ref());
    if let Ok(Networks {
        kind: NetworkKind::Yagna,
        ..
    }) = networks
    {
        read.found.push_str("\nruns work on Golem");
    }
    items.push(read);
    let storage = Storage::load(&home.storage(), dfs, home.dfs(), variable);
    items.push(match &storage {
        Ok(Storage::Local(Local { user, directory })) => item(
            "storage",
            State::Ok,
            format_args!("{}, pods of user {user}", directory.display()),
        ),
        Ok(Storage::Fairos(fairos)) => item(
            "storage",
            State::Ok,
            format_args!("FairOS-dfs at {}", shown(fairos.server.as_str())),
        ),
        Err(error) => item("storage", State::Missing, error),
    });
    Settings {
        items,
        storage: storage.ok(),
        networks: networks.ok(),
    }
}

/// A file that need not exist, and what came of reading it.
fn file<T, E: std::fmt::Display>(name: &str, path: &Path, read: Result<T, E>) -> Item {
    match read {
        Ok(_) if path.exists() => item(name, State::Ok, path.display()),
        Ok(_) => {
            let shown = path.display();
            item(
                name,
                State::Ok,
                format_args!("{shown} is absent, so the defaults hold"),
            )
        }
        Err(error) => item(name, State::Missing, error),
    }
}

fn directory(name: &str, path: &Path) -> Item {
    use rustix::fs::{Access, access};
    let shown = path.display();
    if !path.exists() {
        return item(name, State::Ok, format_args!("{shown}, made at first use"));
    }
    match access(path, Access::READ_OK | Access::WRITE_OK | Access::EXEC_OK) {
        Ok(()) => item(name, State::Ok, shown),
        Err(error) => item(
            name,
            State::Missing,
            format_args!("{shown} cannot be used: {error}"),
        ),
    }
}

fn daemon(name: &str, url: &str, needed_for: &str, status: Status) -> Item {
    match status {
        Status::Running { version } => {
            let version =
                version.map_or("of unknown version".to_owned(), |version| version.escaped());
            item(name, State::Ok, format_args!("{version} at {url}"))
        }
        Status::NotRunning => item(
            name,
            State::Idle,
            format_args!("nothing answers at {url}; needed only for {needed_for}"),
        ),
        Status::Unclear { reason } => item(name, State::Partial, format_args!("{url}: {reason}")),
    }
}

pub(super) fn item(name: &str, state: State, found: impl ToString) -> Item {
    let found = sovr_capability::Untrusted::from(found.to_string()).block();
    Item {
        name: name.to_owned(),
        state,
        found,
        meaning: None,
    }
}

fn render(report: &Report, output: Output) -> String {
    let paint = output.stdout;
    let mut text = format!(
        "{} {}, one program: embedded Golem network and storage, no Python, no daemon needed\n",
        paint.paint(STRONG, "sovr-host"),
        report.version
    );
    for (heading, items) in [
        ("Walls around a pod's script", &report.walls),
        ("State", &report.state),
        ("Daemons", &report.daemons),
    ] {
        text.push_str(&format!("\n{}\n", paint.paint(STRONG, heading)));
        for Item {
            name,
            state,
            found,
            meaning,
        } in items
        {
            let mark = match state {
                State::Ok => paint.paint(GOOD, "ok      "),
                State::Partial => paint.paint(CARE, "partial "),
                State::Missing => paint.paint(BAD, "missing "),
                State::Idle => paint.paint(FAINT, "-       "),
            };
            let mut lines = found.lines();
            text.push_str(&format!(
                "  {mark}{name:<20}{}\n",
                lines.next().unwrap_or_default()
            ));
            for line in lines.map(str::trim).chain(*meaning) {
                text.push_str(&format!("{:30}{}\n", "", paint.paint(FAINT, line)));
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_that_is_not_there_yet_is_no_fault() {
        let place = tempfile::tempdir().unwrap();
        assert_eq!(
            directory("state", &place.path().join("new")).state,
            State::Ok
        );
        assert_eq!(directory("state", place.path()).state, State::Ok);
    }

    #[test]
    fn an_absent_daemon_is_no_fault_and_an_odd_one_is_told() {
        assert_eq!(
            daemon("yagna", "http://x", "y", Status::NotRunning).state,
            State::Idle
        );
        let odd = daemon(
            "yagna",
            "http://x",
            "y",
            Status::Unclear {
                reason: "\u{1b}[2J".to_owned(),
            },
        );
        assert_eq!(
            (odd.state, odd.found.as_str()),
            (State::Partial, "http://x: \\u{1b}[2J")
        );
    }
}
