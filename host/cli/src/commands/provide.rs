//! `sovr-host provide`: work for others on a Golem network.

use std::sync::Arc;

use anyhow::Context as _;
use sovr_broker::{Host, interrupt};
use sovr_capability::{Amount, Home, Size, Untrusted};
use sovr_golem::LinearPrice;
use sovr_golem::bus::Address;
use sovr_golem::provider::{self, Event, Observer, Settings};
use sovr_golem::yagna::Daemon;

use super::block_on;
use crate::exit::Exit;
use crate::failure::Usage;
use crate::figures::count;
use crate::output::{CARE, GOOD, Output, STRONG};
use crate::{progress, signals};

/// Run work of others on a Golem network, for money
///
/// Offers WASI packages on the network of the yagna daemon of this machine, and runs them in the same confined processes
/// as your own pods. The daemon is found as for your own runs, by [yagna] of networks.toml and the variables of the
/// environment, and its service bus by GSB_URL. What is offered stands in [provide] of networks.toml; an option goes
/// before it.
///
/// Each agreement, activity and bill is told in a line. Ctrl-C ends all agreements in order and sends their invoices; a
/// second one ends everything at once and leaves bills unsent.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// GLM for each activity [default: 0.001]
    #[arg(long, value_name = "GLM")]
    price_start: Option<Amount>,
    /// GLM for each second of processor time [default: 0.0001]
    #[arg(long, value_name = "GLM")]
    price_cpu: Option<Amount>,
    /// GLM for each second of an activity [default: 0.0001]
    #[arg(long, value_name = "GLM")]
    price_duration: Option<Amount>,
    /// Agreements at the same time [default: 1]
    #[arg(long, value_name = "COUNT")]
    capacity: Option<usize>,
    /// Threads of an agreement: as many activities it may have at a time [default: 1]
    #[arg(long, value_name = "COUNT")]
    threads: Option<u32>,
    /// Memory of each program [default: 2GiB]
    #[arg(long, value_name = "SIZE")]
    memory: Option<Size>,
    /// Files of each activity, and largest package [default: 4GiB]
    #[arg(long, value_name = "SIZE")]
    storage: Option<Size>,
    /// Part of the network in which the offer is seen [default: that of your own runs]
    #[arg(long, value_name = "NAME")]
    subnet: Option<String>,
    /// Name that requestors see [default: that of your own runs]
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// How you may be paid, such as erc20-holesky-tglm; can be given several times [default: as you pay]
    #[arg(long, value_name = "PLATFORM")]
    platform: Vec<String>,
}

impl Args {
    /// What the file says, with the options before it.
    fn over(&self, file: Settings) -> Settings {
        let price = LinearPrice {
            start: self.price_start.unwrap_or(file.price.start),
            cpu_second: self.price_cpu.unwrap_or(file.price.cpu_second),
            duration_second: self.price_duration.unwrap_or(file.price.duration_second),
        };
        let platforms = match self.platform.is_empty() {
            true => file.platforms,
            false => self.platform.clone(),
        };
        Settings {
            name: self.name.clone().unwrap_or(file.name),
            subnet: self.subnet.clone().unwrap_or(file.subnet),
            platforms,
            price,
            threads: self.threads.unwrap_or(file.threads),
            memory: self.memory.map_or(file.memory, Size::as_bytes),
            storage: self.storage.map_or(file.storage, Size::as_bytes),
            capacity: self.capacity.unwrap_or(file.capacity),
            ..file
        }
    }
}

/// Provides until Ctrl-C.
pub(crate) fn provide(args: &Args, output: Output) -> anyhow::Result<Exit> {
    let host = Host::open(Home::from_environment()?)?;
    let networks = host.networks()?;
    let settings = args.over(networks.provide);
    settings.check().map_err(|error| Usage(error.to_string()))?;
    let bus = Address::from_variables(|name| std::env::var(name).ok())
        .map_err(|error| Usage(error.to_string()))?;
    let daemon = networks.yagna.with_key();
    let daemon = Daemon::new(daemon.map_err(sovr_broker::Error::from)?.daemon)?;
    let children = host.children()?;
    let observer = Arc::new(Lines {
        offer: offer(&settings, output),
        output,
    });
    block_on(async {
        let (interrupter, mut interrupt) = interrupt::pair();
        signals::listen(move || interrupter.interrupt())?;
        let stop = async {
            interrupt.asked().await;
            if !output.json {
                output.say("Stopping: agreements are ended and their invoices sent");
            }
        };
        provider::provide(daemon, bus, settings, Arc::new(children), observer, stop)
            .await
            .context("cannot provide work")?;
        Ok(Exit::Ok)
    })
}

/// What is offered, in words.
fn offer(settings: &Settings, output: Output) -> String {
    let strong = |text: &str| output.stderr.paint(STRONG, text);
    let price = &settings.price;
    format!(
        "{} WASI packages in the subnet {}\n  \
         {} GLM to start, {} GLM per second of processor time, {} GLM per second, paid by {}\n  \
         up to {} at a time, each of {}, {} of memory for each program, {} of files",
        strong("Offering"),
        safe(&settings.subnet),
        price.start,
        price.cpu_second,
        price.duration_second,
        safe(&settings.platforms.join(", ")),
        count(settings.capacity as u64, "agreement", "agreements"),
        count(settings.threads.into(), "thread", "threads"),
        Size::bytes(settings.memory),
        Size::bytes(settings.storage),
    )
}

/// A line for each event.
struct Lines {
    /// What is offered.
    offer: String,
    output: Output,
}

impl Observer for Lines {
    fn observe(&self, event: &Event) {
        if self.output.json {
            return progress::write_event(event);
        }
        let line = self.line(event);
        match event {
            Event::Trouble { .. } => self.output.warn(line),
            _ => self.output.say(line),
        }
    }
}

/// Ids are long and of hexadecimal digits; this much tells them apart.
fn short(id: &str) -> String {
    safe(&id.chars().take(8).collect::<String>())
}

/// Parts of it may be a stranger's words.
fn safe(text: &str) -> String {
    Untrusted::from(text).escaped()
}

impl Lines {
    fn line(&self, event: &Event) -> String {
        let good = |text: &str| self.output.stderr.paint(GOOD, text);
        let care = |text: &str| self.output.stderr.paint(CARE, text);
        match event {
            Event::Offered { node, .. } => {
                format!("{}\n  as node {node}; Ctrl-C ends it in order", self.offer)
            }
            Event::LeftEnded { agreement } => format!(
                "Agreement {} ended, which a killed program had left; its bill follows",
                short(agreement)
            ),
            Event::Trouble { problem } => safe(problem),
            Event::Refused { requestor, reason } => {
                format!("Refused {requestor}: {}", safe(reason))
            }
            Event::AgreementBegan {
                agreement,
                requestor,
            } => format!(
                "{} {} with {requestor}",
                good("Agreement"),
                short(agreement)
            ),
            Event::ActivityBegan {
                agreement,
                activity,
            } => format!(
                "Activity {} of agreement {}",
                short(activity),
                short(agreement)
            ),
            Event::BatchEnded {
                activity,
                commands,
                failure,
            } => {
                let done = count(*commands as u64, "command", "commands");
                let what = format!("Batch of activity {}: {done} done", short(activity));
                match failure {
                    Some(failure) => format!("{what}, then {}", failure.escaped()),
                    None => what,
                }
            }
            Event::CallerRefused { activity, caller } => format!(
                "{} of activity {}: {} is not its requestor",
                care("Call refused"),
                short(activity),
                caller.escaped()
            ),
            Event::ActivityEnded {
                activity,
                usage,
                cost,
                ..
            } => format!(
                "Activity {} ended after {:.3} s with {:.3} s of processor time: {cost} GLM",
                short(activity),
                usage.duration.as_secs_f64(),
                usage.cpu.as_secs_f64()
            ),
            Event::DebitNoteSent { activity, total } => {
                format!(
                    "Debit note for activity {}: {total} GLM so far",
                    short(activity)
                )
            }
            Event::InvoiceSent {
                agreement,
                invoice,
                amount,
            } => format!(
                "Invoice {} for agreement {}: {amount} GLM",
                short(invoice),
                short(agreement)
            ),
            Event::InvoiceAccepted { invoice } => {
                format!("{} {}, to be paid", good("Accepted"), short(invoice))
            }
            Event::AgreementEnded {
                agreement,
                code,
                reason,
            } => format!(
                "Agreement {} ended: {} ({})",
                short(agreement),
                reason.escaped(),
                code.escaped()
            ),
        }
    }
}
