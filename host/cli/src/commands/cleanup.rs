//! `sovr-host cleanup`: ends what runs left that ended without a word.

use serde::Serialize;
use sovr_broker::Host;
use sovr_broker::cleanup::{Cleaned, CleanedUp, Leftover, Leftovers};
use sovr_capability::{Amount, Home};

use super::block_on;
use crate::exit::Exit;
use crate::figures::{count, money};
use crate::output::{CARE, FAINT, Output, STRONG};
use crate::table::{Align, Table};
use crate::wrap;

/// End what killed or crashed runs have left open
///
/// Money that they had reserved is free again. What they have open at a Golem daemon is ended: demands, activities and
/// agreements; bills are accepted within what the run had agreed to, and the rest of the money that was set aside there
/// is given back. Runs that go on are left alone. It can be stopped and run again; exits with 5 if something is still
/// open.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Only show what would be ended
    #[arg(long)]
    dry_run: bool,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
struct Report {
    /// Whether nothing is left open.
    complete: bool,
    /// Runs that go on.
    live: usize,
    money: Vec<Money>,
    sessions: Vec<Session>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
struct Money {
    run: String,
    reserved: Amount,
    released: bool,
}

/// What a run had open at a daemon, and what came of ending it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
struct Session {
    run: String,
    session: String,
    identity: Option<String>,
    since: Option<jiff::Timestamp>,
    set_aside: Option<Amount>,
    demands: usize,
    agreements: usize,
    activities: usize,
    /// Whether it was tried to end it.
    #[serde(skip)]
    attempted: bool,
    closed: bool,
    released: Option<Amount>,
    bills: Vec<Bill>,
    problems: Vec<String>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
struct Bill {
    agreement: String,
    provider: String,
    claimed: Amount,
    accepted: Amount,
}

/// Shows it, and ends it.
pub(crate) fn cleanup(args: &Args, output: Output) -> anyhow::Result<Exit> {
    let host = Host::open(Home::from_environment()?)?;
    let leftovers = host.leftovers()?;
    let live = leftovers.live;
    if args.dry_run || leftovers.is_empty() {
        let report = Report::seen(&leftovers);
        return tell(&report, output);
    }
    if !output.json {
        output.say(announcement(&leftovers));
    }
    let cleaned = block_on(async { Ok(host.clean_up().await?) })?;
    tell(&Report::done(cleaned, live), output)
}

fn announcement(leftovers: &Leftovers) -> String {
    let mut parts = Vec::new();
    if !leftovers.money.is_empty() {
        let runs = count(leftovers.money.len() as u64, "run", "runs");
        parts.push(format!("the money of {runs}"));
    }
    if !leftovers.sessions.is_empty() {
        let sessions = count(leftovers.sessions.len() as u64, "session", "sessions");
        parts.push(format!(
            "{sessions} at the Golem daemon, which takes up to half a minute each"
        ));
    }
    format!("cleaning up {}", parts.join(" and "))
}

impl Report {
    fn seen(leftovers: &Leftovers) -> Report {
        Report {
            complete: leftovers.is_empty(),
            live: leftovers.live,
            money: leftovers
                .money
                .iter()
                .map(|money| Money {
                    run: money.run.to_string(),
                    reserved: money.reserved,
                    released: false,
                })
                .collect(),
            sessions: leftovers.sessions.iter().map(Session::seen).collect(),
        }
    }

    fn done(cleaned: CleanedUp, live: usize) -> Report {
        Report {
            complete: cleaned.is_complete(),
            live,
            money: cleaned
                .money
                .iter()
                .map(|money| Money {
                    run: money.run.to_string(),
                    reserved: money.reserved,
                    released: true,
                })
                .collect(),
            sessions: cleaned.sessions.iter().map(Session::done).collect(),
        }
    }
}

impl Session {
    fn seen(leftover: &Leftover) -> Session {
        let open = leftover.open.as_ref();
        Session {
            run: leftover.run.to_string(),
            session: leftover.id.clone(),
            identity: open.map(|open| open.node.to_string()),
            since: open.map(|open| open.at),
            set_aside: open
                .and_then(|open| open.allocation.as_ref())
                .map(|allocation| allocation.amount),
            demands: open.map_or(0, |open| open.demands.len()),
            agreements: open.map_or(0, |open| open.agreements.len()),
            activities: open.map_or(0, |open| open.activities.len()),
            attempted: false,
            closed: false,
            released: None,
            bills: Vec::new(),
            problems: Vec::new(),
        }
    }

    fn done(cleaned: &Cleaned) -> Session {
        let bills = cleaned.report.agreements.iter().map(|settled| Bill {
            agreement: settled.agreement.clone(),
            provider: settled.provider.to_string(),
            claimed: settled.claimed,
            accepted: settled.accepted,
        });
        Session {
            attempted: true,
            closed: cleaned.is_closed,
            released: cleaned.report.released,
            bills: bills.collect(),
            problems: cleaned.report.problems.clone(),
            ..Session::seen(&cleaned.leftover)
        }
    }

    /// `1 demand, 2 agreements, 1 activity and 5 GLM set aside`.
    fn in_words(&self) -> String {
        let counts = [
            (self.demands, "demand", "demands"),
            (self.agreements, "agreement", "agreements"),
            (self.activities, "activity", "activities"),
        ];
        let mut parts: Vec<String> = counts
            .into_iter()
            .filter(|(number, ..)| *number > 0)
            .map(|(number, one, many)| count(number as u64, one, many))
            .collect();
        if let Some(amount) = self.set_aside {
            parts.push(format!("{} set aside", money(amount)));
        }
        match parts.pop() {
            None => "nothing that is known".to_owned(),
            Some(last) if parts.is_empty() => last,
            Some(last) => format!("{} and {last}", parts.join(", ")),
        }
    }
}

fn tell(report: &Report, output: Output) -> anyhow::Result<Exit> {
    if output.json {
        output.document(report)?;
    } else {
        output.result(render(report, output))?;
        if report.money.is_empty() && report.sessions.is_empty() {
            output.say("nothing was left open");
        }
        if report.live > 0 {
            let runs = count(
                report.live as u64,
                "session of a run that goes on is",
                "sessions of runs that go on are",
            );
            output.say(format_args!("{runs} left alone"));
        }
    }
    Ok(if report.complete {
        Exit::Ok
    } else {
        Exit::Unavailable
    })
}

fn render(report: &Report, output: Output) -> String {
    let paint = output.stdout;
    let width = output.width();
    let mut parts = Vec::new();
    if !report.money.is_empty() {
        let mut table = Table::new([
            ("run", Align::Left),
            ("reserved", Align::Right),
            ("now", Align::Left),
        ]);
        for money in &report.money {
            table.row([
                money.run.clone(),
                crate::figures::money(money.reserved),
                if money.released { "released" } else { "held" }.to_owned(),
            ]);
        }
        let table = table.within(width).to_string();
        let (head, rows) = table.split_once('\n').unwrap_or((&table, ""));
        parts.push(format!(
            "{}\n{}\n{rows}",
            paint.paint(STRONG, "Money"),
            paint.paint(FAINT, head)
        ));
    }
    if !report.sessions.is_empty() {
        let mut text = format!("{}\n", paint.paint(STRONG, "At the Golem daemon"));
        for session in &report.sessions {
            text.push_str(&rendered(session, output));
        }
        parts.push(text);
    }
    parts.join("\n")
}

fn rendered(session: &Session, output: Output) -> String {
    let width = output.width();
    let mut text = wrap::item(
        "",
        &format!("{}: {}", session.run, session.in_words()),
        width,
    );
    for bill in &session.bills {
        let words = format!(
            "{}: {} accepted of {}",
            bill.provider,
            money(bill.accepted),
            money(bill.claimed)
        );
        text.push_str(&wrap::item("  ", &words, width));
    }
    if session.closed {
        let words = match session.released {
            Some(released) => format!("ended, {} given back", money(released)),
            None => "ended".to_owned(),
        };
        text.push_str(&format!("  {words}\n"));
    }
    let unknown = "what was left of it is not known; run this again".to_owned();
    let unexplained =
        (session.attempted && !session.closed && session.problems.is_empty()).then_some(&unknown);
    for problem in session.problems.iter().chain(unexplained) {
        let mark = output.stdout.paint(CARE, "still open");
        let safe = sovr_capability::Untrusted::from(problem.as_str()).escaped_within(2048);
        // Broken as if the mark had no colours, which have no width.
        let lines = wrap::item("  ", &format!("still open: {safe}"), width);
        text.push_str(&lines.replacen("still open", &mark, 1));
    }
    text
}
