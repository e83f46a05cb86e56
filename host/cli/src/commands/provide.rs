//! `sovr-host provide`: work for others on a Golem network.

use std::sync::Arc;

use anyhow::Context as _;
use sovr_broker::{Host, interrupt};
use sovr_capability::{Amount, Home, Size, Untrusted};
use sovr_golem::LinearPrice;
use sovr_golem::bus::Address;
use sovr_golem::provider::{self, Event, Observer, Settings};
use sovr_golem::yagna::{self, Daemon};

use super::block_on;
use crate::exit::Exit;
use crate::failure::Usage;
use crate::output::{CARE, GOOD, Output, STRONG};
use crate::{progress, signals};

/// Run work of others on a Golem network, for money
///
/// Offers WASI packages on the network of the yagna daemon of this machine, and runs them in the same confined processes
/// as your own pods. The daemon is found as Golem's own programs find it: YAGNA_APPKEY, YAGNA_API_URL and GSB_URL. Each
/// agreement, activity and bill is told in a line. Ctrl-C ends all agreements in order and sends their invoices; a
/// second one ends everything at once and leaves bills unsent.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// GLM for each activity
    #[arg(long, value_name = "GLM", default_value = "0.001")]
    price_start: Amount,
    /// GLM for each second of processor time
    #[arg(long, value_name = "GLM", default_value = "0.0001")]
    price_cpu: Amount,
    /// GLM for each second of an activity
    #[arg(long, value_name = "GLM", default_value = "0.0001")]
    price_duration: Amount,
    /// Threads of an agreement: as many activities it may have at a time
    #[arg(long, value_name = "COUNT", default_value_t = 1)]
    threads: u32,
    /// Memory of each program
    #[arg(long, value_name = "SIZE", default_value = "2GiB")]
    memory: Size,
    /// Files of each activity, and largest package
    #[arg(long, value_name = "SIZE", default_value = "4GiB")]
    storage: Size,
    /// Agreements at the same time
    #[arg(long, value_name = "COUNT", default_value_t = 1)]
    capacity: usize,
    /// Part of the network in which the offer is seen; YAGNA_SUBNET is the same
    #[arg(
        long,
        value_name = "NAME",
        env = "YAGNA_SUBNET",
        hide_env = true,
        default_value = "public"
    )]
    subnet: String,
    /// Name that requestors see
    #[arg(long, value_name = "NAME", default_value = "sovr-host")]
    name: String,
    /// How you may be paid; can be given several times
    #[arg(long, value_name = "PLATFORM", default_value = "erc20-holesky-tglm")]
    platform: Vec<String>,
}

impl Args {
    fn settings(&self, home: &Home) -> Settings {
        let price = LinearPrice {
            start: self.price_start,
            cpu_second: self.price_cpu,
            duration_second: self.price_duration,
        };
        Settings {
            subnet: self.subnet.clone(),
            platforms: self.platform.clone(),
            threads: self.threads,
            memory: self.memory.as_bytes(),
            storage: self.storage.as_bytes(),
            capacity: self.capacity,
            ..Settings::new(self.name.clone(), price, home.work())
        }
    }
}

/// Provides until Ctrl-C.
pub(crate) fn provide(args: &Args, output: Output) -> anyhow::Result<Exit> {
    let home = Home::from_environment()?;
    let settings = args.settings(&home);
    settings.check().map_err(|error| Usage(error.to_string()))?;
    let variable = |name: &str| std::env::var(name).ok();
    let daemon = yagna::Settings::from_variables(variable)?;
    let bus = Address::from_variables(variable)?;
    let daemon = Daemon::new(daemon)?;
    let children = Host::open(home)?.children()?;
    if !output.json {
        output.say(offer(args, output));
    }
    block_on(async {
        let (interrupter, mut interrupt) = interrupt::pair();
        signals::listen(move || interrupter.interrupt())?;
        let stop = async {
            interrupt.asked().await;
            if !output.json {
                output.say("Stopping: agreements are ended and their invoices sent");
            }
        };
        let observer = Arc::new(Lines(output));
        provider::provide(daemon, bus, settings, Arc::new(children), observer, stop)
            .await
            .context("cannot provide work")?;
        Ok(Exit::Ok)
    })
}

fn offer(args: &Args, output: Output) -> String {
    let strong = |text: &str| output.stderr.paint(STRONG, text);
    format!(
        "{} WASI packages in the subnet {}\n  \
         {} GLM to start, {} GLM per processor second, {} GLM per second, paid by {}\n  \
         each of {} agreements at a time: {} threads, {} of memory, {} of storage",
        strong("Offering"),
        safe(&args.subnet),
        args.price_start,
        args.price_cpu,
        args.price_duration,
        safe(&args.platform.join(", ")),
        args.capacity,
        args.threads,
        args.memory,
        args.storage,
    )
}

/// A line for each event.
struct Lines(Output);

impl Observer for Lines {
    fn observe(&self, event: &Event) {
        match self.0.json {
            true => progress::write_event(event),
            false => self.0.say(line(event, self.0)),
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

fn line(event: &Event, output: Output) -> String {
    let good = |text: &str| output.stderr.paint(GOOD, text);
    let care = |text: &str| output.stderr.paint(CARE, text);
    match event {
        Event::Offered { node, .. } => format!("{} as node {node}", good("Offered")),
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
            let what = format!(
                "Batch of activity {}: {commands} commands done",
                short(activity)
            );
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
            "Activity {} ended after {:.3} s, {:.3} s of processor time: {cost} GLM",
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
        Event::InvoiceSent { agreement, amount } => {
            format!("Invoice for agreement {}: {amount} GLM", short(agreement))
        }
        Event::InvoiceAccepted { invoice } => {
            format!("{} {}", good("Invoice accepted:"), short(invoice))
        }
        Event::AgreementEnded {
            agreement,
            code,
            reason,
        } => format!(
            "Agreement {} ended: {} {}",
            short(agreement),
            code.escaped(),
            reason.escaped()
        ),
        Event::Trouble { problem } => {
            format!("{}: {}", care("warning"), safe(problem))
        }
    }
}
