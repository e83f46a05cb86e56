//! `sovr-host golem`: how things stand at the daemon of the Golem network.

use std::time::Duration;

use anyhow::Context;
use jiff::Timestamp;
use serde::Serialize;
use sovr_broker::Host;
use sovr_broker::settings::networks::{APP_KEY, KeyPlace, NetworkKind, Networks, Yagna};
use sovr_capability::causes::in_full;
use sovr_capability::{Amount, Home, Untrusted};
use sovr_golem::yagna::market::Side;
use sovr_golem::yagna::payment::{Allocation, PaymentProblem, PaymentProblemKind};
use sovr_golem::yagna::{Daemon, DaemonError, ErrorKind, Standing};

use super::block_on;
use super::consent::day;
use super::doctor::{Item, State, item};
use crate::account::shown;
use crate::exit::Exit;
use crate::figures::{count, number};
use crate::output::{CARE, FAINT, Output, STRONG};
use crate::table::{Align, Table};
use crate::wrap;

/// A daemon that is well answers all of it in well under a second.
const PATIENCE: Duration = Duration::from_secs(60);
/// `doctor` looks at more than this.
const PATIENCE_OF_DOCTOR: Duration = Duration::from_secs(20);

/// Show how things stand at the daemon of the Golem network
///
/// Runs work there with `--network yagna`, or for good with `kind = "yagna"` in networks.toml.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// Show who you are there, what can pay, what is set aside and what is open
    ///
    /// The daemon is asked, and nothing is changed. Exits with 5 if it cannot be used as networks.toml and the
    /// environment say.
    Status,
}

/// What is shown. The fields are those of `--json`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
struct Report {
    daemon: String,
    version: Option<Untrusted>,
    update: Option<Untrusted>,
    identity: String,
    app_key: Untrusted,
    key: KeyPlace,
    node_name: String,
    subnet: String,
    platform: String,
    accounts: Vec<Account>,
    set_aside: Funds,
    allocations: Vec<Money>,
    agreements: Vec<Agreement>,
    demands: Vec<Demand>,
    payment_problems: Vec<Problem>,
    /// What could not be learnt, in words.
    errors: Vec<String>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
struct Account {
    platform: String,
    address: String,
}

/// All allocations on the platform that runs pay with.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "kebab-case")]
struct Funds {
    total: Amount,
    spent: Amount,
    remaining: Amount,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
struct Money {
    id: String,
    platform: String,
    total: Amount,
    spent: Amount,
    remaining: Amount,
    until: Option<Timestamp>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
struct Agreement {
    id: String,
    since: Timestamp,
    role: &'static str,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
struct Demand {
    id: String,
    since: Timestamp,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
struct Problem {
    kind: &'static str,
    driver: Untrusted,
    network: Option<Untrusted>,
    needed: Option<Untrusted>,
    advice: String,
}

/// Shows it.
pub(crate) fn golem(args: &Args, output: Output) -> anyhow::Result<Exit> {
    let Action::Status = args.action;
    let host = Host::open(Home::from_environment()?)?;
    let settings = host.networks()?.yagna;
    let report = block_on(async {
        match tokio::time::timeout(PATIENCE, look(&settings)).await {
            Ok(report) => report,
            Err(_) => Err(anyhow::anyhow!(
                "the daemon has not answered within {} s; its log may say more",
                PATIENCE.as_secs()
            )),
        }
        .with_context(|| {
            format!(
                "cannot use the Golem daemon at {}",
                shown(settings.api.as_str())
            )
        })
    })?;
    if output.json {
        output.document(&report)?;
    } else {
        output.result(render(&report, output))?;
    }
    Ok(report.exit())
}

/// Asks the daemon.
async fn look(settings: &Yagna) -> anyhow::Result<Report> {
    let whole = settings.with_key()?;
    let platform = whole.platform();
    let daemon = Daemon::new(whole.daemon)?;
    let standing = daemon.standing(&settings.driver, &settings.network).await?;
    Ok(Report::new(settings, platform, standing))
}

/// What runs need the daemon for, as `doctor` says it.
pub(super) const NEEDED_FOR: &str = "work on the real Golem network";

/// Whether the user works with a daemon, so that `doctor` looks at more than its door.
pub(super) fn is_meant(networks: &Networks) -> bool {
    networks.kind == NetworkKind::Yagna || !matches!(networks.yagna.key, KeyPlace::Nowhere)
}

/// The daemon, and the user's account there, as `doctor` lists them.
pub(super) fn items(networks: &Networks) -> anyhow::Result<(Item, Vec<Item>)> {
    const DAEMON: &str = "yagna";
    // It may be in disorder as long as nobody works there.
    let bad = match networks.kind {
        NetworkKind::Yagna => State::Missing,
        NetworkKind::Local => State::Partial,
    };
    let address = shown(networks.yagna.api.as_str());
    let asked = block_on(async {
        Ok(tokio::time::timeout(PATIENCE_OF_DOCTOR, look(&networks.yagna)).await)
    })?;
    let report = match asked {
        Ok(Ok(report)) => report,
        Ok(Err(error)) => {
            let is_away = error
                .downcast_ref::<DaemonError>()
                .is_some_and(|error| error.kind == ErrorKind::Connection);
            let state = match networks.kind {
                NetworkKind::Local if is_away => State::Idle,
                _ => bad,
            };
            let words = format!("{address}: {}", in_full(error.as_ref()));
            return Ok((item(DAEMON, state, words), Vec::new()));
        }
        Err(_) => {
            let words = format!(
                "no answer from {address} within {} s",
                PATIENCE_OF_DOCTOR.as_secs()
            );
            return Ok((item(DAEMON, bad, words), Vec::new()));
        }
    };
    let daemon = item(
        DAEMON,
        State::Ok,
        format_args!("{} at {address}", report.release()),
    );
    let troubles = report.troubles();
    let state = match (report.errors.is_empty(), troubles.is_empty()) {
        (true, true) => State::Ok,
        (true, false) => State::Partial,
        (false, _) => bad,
    };
    let mut lines = vec![report.account()];
    lines.extend(troubles);
    Ok((daemon, vec![item("golem account", state, lines.join("\n"))]))
}

impl Report {
    fn new(settings: &Yagna, platform: String, standing: Standing) -> Report {
        let mut errors = Errors::default();
        let version = errors.sort(standing.version);
        let accounts = errors.sort(standing.accounts).unwrap_or_default();
        let allocations = errors.sort(standing.allocations).unwrap_or_default();
        let agreements = errors.sort(standing.agreements).unwrap_or_default();
        let demands = errors.sort(standing.demands).unwrap_or_default();
        let problems = errors.sort(standing.problems).unwrap_or_default();
        Report {
            daemon: shown(settings.api.as_str()),
            update: version
                .as_ref()
                .and_then(|version| version.pending.as_ref())
                .map(|pending| pending.version.clone()),
            version: version.map(|version| version.current.version),
            identity: standing.identity.id.to_string(),
            app_key: standing.identity.name,
            key: settings.key.clone(),
            node_name: settings.node_name.clone(),
            subnet: settings.subnet.clone(),
            set_aside: Funds::of(
                allocations
                    .iter()
                    .filter(|allocation| allocation.payment_platform == platform),
            ),
            platform,
            accounts: accounts
                .into_iter()
                .map(|account| Account {
                    platform: account.platform,
                    address: account.address,
                })
                .collect(),
            allocations: allocations.into_iter().map(Money::from).collect(),
            agreements: agreements
                .into_iter()
                .map(|agreement| Agreement {
                    id: agreement.id,
                    since: agreement.approved_date.unwrap_or(agreement.timestamp),
                    role: match agreement.role {
                        Side::Requestor => "requestor",
                        Side::Provider => "provider",
                    },
                })
                .collect(),
            demands: demands
                .into_iter()
                .map(|demand| Demand {
                    id: demand.id,
                    since: demand.timestamp,
                })
                .collect(),
            payment_problems: problems.into_iter().map(Problem::from).collect(),
            errors: errors.0,
        }
    }

    /// Payments that do not come through keep nobody from working.
    fn exit(&self) -> Exit {
        if self.errors.is_empty() {
            Exit::Ok
        } else {
            Exit::Unavailable
        }
    }

    /// `yagna 0.17.6`, as far as it is known.
    fn release(&self) -> String {
        match &self.version {
            Some(version) => version.escaped_within(40),
            None => "of unknown version".to_owned(),
        }
    }

    /// The account in a few words, for `doctor`.
    fn account(&self) -> String {
        format!(
            "{}\npays by {}, app-key {}",
            self.identity,
            self.platform,
            self.app_key.escaped_within(40)
        )
    }

    /// What is not as it should be, each in a line.
    fn troubles(&self) -> Vec<String> {
        let problems = self.payment_problems.iter().map(Problem::in_words);
        self.errors.iter().cloned().chain(problems).collect()
    }
}

/// What could not be learnt.
#[derive(Default)]
struct Errors(Vec<String>);

impl Errors {
    fn sort<T>(&mut self, part: Result<T, DaemonError>) -> Option<T> {
        part.map_err(|error| self.0.push(error.to_string())).ok()
    }
}

impl Funds {
    fn of<'a>(allocations: impl Iterator<Item = &'a Allocation>) -> Funds {
        let add = |sum: Amount, more| sum.checked_add(more).unwrap_or(Amount::MAX);
        allocations.fold(Funds::default(), |sum, allocation| Funds {
            total: add(sum.total, allocation.total_amount),
            spent: add(sum.spent, allocation.spent_amount),
            remaining: add(sum.remaining, allocation.remaining_amount),
        })
    }
}

impl From<Allocation> for Money {
    fn from(allocation: Allocation) -> Money {
        Money {
            id: allocation.id,
            platform: allocation.payment_platform,
            total: allocation.total_amount,
            spent: allocation.spent_amount,
            remaining: allocation.remaining_amount,
            until: allocation.timeout,
        }
    }
}

impl From<PaymentProblem> for Problem {
    fn from(problem: PaymentProblem) -> Problem {
        use PaymentProblemKind as Kind;
        let (kind, advice) = match problem.kind {
            Kind::InsufficientGas => (
                "insufficient-gas",
                "the account cannot pay the fees; send it some of the network's own currency",
            ),
            Kind::InsufficientToken => (
                "insufficient-token",
                "the account cannot pay what was accepted; send it some GLM",
            ),
            Kind::InvalidChainId => (
                "invalid-chain-id",
                "a payment is for a chain that the daemon is not set up for; look at its configuration",
            ),
            Kind::CantSign => (
                "cant-sign",
                "the daemon cannot sign for the account; `yagna id list` shows whether it is locked",
            ),
            Kind::TxStuck => (
                "tx-stuck",
                "a payment was sent and is not confirmed; it may pass, or the fee was too low",
            ),
            Kind::RpcError => (
                "rpc-error",
                "the servers of the payment network do not answer the daemon; it may pass",
            ),
            Kind::Unknown => ("unknown", "see `yagna payment status`"),
        };
        Problem {
            kind,
            driver: problem.driver,
            network: problem.network,
            needed: problem.needed,
            advice: advice.to_owned(),
        }
    }
}

impl Problem {
    fn in_words(&self) -> String {
        let network = self.network.as_ref().map_or_else(
            || self.driver.escaped_within(40),
            |network| network.escaped_within(40),
        );
        let needed = self
            .needed
            .as_ref()
            .map(|needed| format!(" ({} needed)", needed.escaped_within(40)))
            .unwrap_or_default();
        format!("payments on {network}{needed}: {}", self.advice)
    }
}

/// A stranger's word of a table: ids, which are plain unless somebody means ill.
fn plain(word: &str) -> String {
    Untrusted::from(word).escaped_within(160)
}

fn render(report: &Report, output: Output) -> String {
    let paint = output.stdout;
    let width = output.width();
    let mut text = String::new();
    for (what, fact) in facts(report) {
        let name = paint.paint(FAINT, format_args!("{what:<11}"));
        // Broken without the colours, which have no width.
        let lines = wrap::item(&" ".repeat(13), &fact, width);
        text.push_str(&format!("{name}  {}", lines.trim_start()));
    }
    for (heading, table) in tables(report) {
        let table = table.within(width).to_string();
        let (head, rows) = table.split_once('\n').unwrap_or((&table, ""));
        text.push_str(&format!(
            "\n{}\n{}\n{rows}",
            paint.paint(STRONG, heading),
            paint.paint(FAINT, head)
        ));
    }
    let troubles = report.troubles();
    if !troubles.is_empty() {
        text.push_str(&format!("\n{}\n", paint.paint(CARE, "Not as it should be")));
        for trouble in troubles {
            text.push_str(&wrap::item("  - ", &trouble, width));
        }
    }
    text
}

fn facts(report: &Report) -> Vec<(&'static str, String)> {
    let mut daemon = format!("yagna {} at {}", report.release(), report.daemon);
    if let Some(update) = &report.update {
        daemon.push_str(&format!("; {} is out", update.escaped_within(40)));
    }
    let key = match &report.key {
        KeyPlace::File { path } => format!("in {}", path.display()),
        KeyPlace::Variable(_) | KeyPlace::Nowhere => format!("in {APP_KEY}"),
    };
    let accounts: Vec<String> = report
        .accounts
        .iter()
        .map(|account| {
            format!(
                "{} on {}",
                plain(&account.address),
                plain(&account.platform)
            )
        })
        .collect();
    let account = if accounts.is_empty() {
        "none was used since the daemon started; the first run makes it ready, and `yagna payment status` shows its funds"
            .to_owned()
    } else {
        accounts.join(", ")
    };
    let Funds {
        total,
        spent,
        remaining,
    } = &report.set_aside;
    let on_platform = report
        .allocations
        .iter()
        .filter(|allocation| allocation.platform == report.platform);
    let set_aside = match on_platform.count() as u64 {
        0 => "nothing".to_owned(),
        number_of => format!(
            "{} in {}: {} spent, {} left",
            number(*total),
            count(number_of, "allocation", "allocations"),
            number(*spent),
            number(*remaining)
        ),
    };
    let counts = [
        (report.agreements.len(), "agreement", "agreements"),
        (report.demands.len(), "demand", "demands"),
    ];
    let open: Vec<String> = counts
        .into_iter()
        .filter(|(number, ..)| *number > 0)
        .map(|(number, one, many)| count(number as u64, one, many))
        .collect();
    let open = match open.is_empty() {
        true => "nothing".to_owned(),
        false => open.join(", "),
    };
    vec![
        ("daemon", daemon),
        (
            "app-key",
            format!("{}, {key}", report.app_key.escaped_within(80)),
        ),
        ("identity", report.identity.clone()),
        ("node name", report.node_name.clone()),
        ("subnet", report.subnet.clone()),
        ("payments", report.platform.clone()),
        ("account", account),
        ("set aside", set_aside),
        ("open", open),
    ]
}

/// What is open, with the ids last: they are long, and a narrow terminal cuts them.
fn tables(report: &Report) -> Vec<(&'static str, Table)> {
    let mut tables = Vec::new();
    if !report.allocations.is_empty() {
        let mut table = Table::new([
            ("platform", Align::Left),
            ("total", Align::Right),
            ("spent", Align::Right),
            ("left", Align::Right),
            ("until", Align::Left),
            ("id", Align::Left),
        ]);
        for allocation in &report.allocations {
            table.row([
                plain(&allocation.platform),
                number(allocation.total),
                number(allocation.spent),
                number(allocation.remaining),
                allocation.until.map_or("-".to_owned(), day),
                plain(&allocation.id),
            ]);
        }
        tables.push(("Allocations", table));
    }
    if !report.agreements.is_empty() {
        let columns = ["role", "since", "id"];
        let mut table = Table::new(columns.map(|column| (column, Align::Left)));
        for agreement in &report.agreements {
            table.row([
                agreement.role.to_owned(),
                day(agreement.since),
                plain(&agreement.id),
            ]);
        }
        tables.push(("Agreements", table));
    }
    if !report.demands.is_empty() {
        let mut table = Table::new(["since", "id"].map(|column| (column, Align::Left)));
        for demand in &report.demands {
            table.row([day(demand.since), plain(&demand.id)]);
        }
        tables.push(("Demands", table));
    }
    tables
}
