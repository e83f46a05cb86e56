//! The suite that every network must pass: the laws of [`crate::network`], as far as they can be seen from outside.
//!
//! It is part of the library, so that each implementation's tests run the same cases, whether its providers are children
//! of the test or a daemon's. A case answers in words what it saw instead of what the law says.

use std::collections::HashSet;
use std::io::{self, Write};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use sovr_capability::Amount;
use tokio::sync::mpsc;

use crate::demand::Demand;
use crate::failure::{Failure, FailureKind};
use crate::network::{
    Activity, Agreement, AgreementEvent, Attention, Market, MarketEvent, Network, NetworkError,
    Proposal, TerminateReason,
};
use crate::step::{BatchEvent, Command, Step, StepResult};
use crate::transfer::{Bytes, Partial, Sink};

/// Nothing that ends by itself takes longer than this.
const PATIENCE: Duration = Duration::from_secs(60);

/// A network with at least one provider that nobody else uses, and a package for it.
#[derive(Clone)]
pub struct Subject {
    /// What is tested.
    pub network: Arc<dyn Network>,
    /// Asks for the package that has the programs.
    pub demand: Demand,
    /// A program that prints `hello` and a line feed, and succeeds.
    pub print: Step,
    /// A program that prints `sorry` and a line feed to standard error, and exits with code 1. (The code of a
    /// preview-1 program that is run as a component is never another one.)
    pub fail: Step,
    /// A program that does not end.
    pub hang: Step,
    /// Absolute path on a provider where a file can be put and fetched.
    pub path: String,
}

/// What a case saw.
pub type Verdict = Result<(), String>;

/// One case.
pub type Case = fn(Subject) -> Pin<Box<dyn Future<Output = Verdict> + Send>>;

/// All cases, with the law each is about in its name.
#[must_use]
pub fn cases() -> Vec<(&'static str, Case)> {
    vec![
        ("law_2_waits_for_offers_may_be_dropped", |subject| {
            Box::pin(dropped_waits(subject))
        }),
        ("law_3_a_market_goes_quiet", |subject| {
            Box::pin(quiet(subject))
        }),
        ("law_3_who_is_free_again_is_proposed_again", |subject| {
            Box::pin(free_again(subject))
        }),
        ("law_4_one_batch_at_a_time", |subject| {
            Box::pin(one_batch(subject))
        }),
        ("law_5_a_batch_tells_its_story_in_order", |subject| {
            Box::pin(story(subject))
        }),
        ("law_5_the_first_failure_ends_the_batch", |subject| {
            Box::pin(first_failure(subject))
        }),
        ("law_5_commands_in_a_wrong_order_fail", |subject| {
            Box::pin(wrong_order(subject))
        }),
        ("law_6_nothing_runs_after_destroy", |subject| {
            Box::pin(destroyed(subject))
        }),
        ("law_6_terminate_twice_is_the_same_bill", |subject| {
            Box::pin(terminated_twice(subject))
        }),
        ("law_7_files_arrive_whole", |subject| {
            Box::pin(files(subject))
        }),
        (
            "law_7_what_is_too_large_or_missing_is_not_committed",
            |subject| Box::pin(refused_files(subject)),
        ),
        ("law_8_nothing_is_paid_above_the_ceiling", |subject| {
            Box::pin(ceiling(subject))
        }),
        ("law_9_dropping_is_ending", |subject| {
            Box::pin(dropped(subject))
        }),
    ]
}

fn ensure(holds: bool, otherwise: impl FnOnce() -> String) -> Verdict {
    if holds { Ok(()) } else { Err(otherwise()) }
}

async fn soon<T>(what: &str, work: impl Future<Output = T>) -> Result<T, String> {
    tokio::time::timeout(PATIENCE, work)
        .await
        .map_err(|_| format!("{what} took longer than {PATIENCE:?}"))
}

fn words(error: NetworkError) -> String {
    error.to_string()
}

async fn offer(market: &mut Box<dyn Market>) -> Result<Box<dyn Proposal>, String> {
    loop {
        if let MarketEvent::Proposal(proposal) = soon("the next offer", market.next())
            .await?
            .map_err(words)?
        {
            return Ok(proposal);
        }
    }
}

async fn agree(subject: &Subject) -> Result<Box<dyn Agreement>, String> {
    let mut market = subject
        .network
        .publish(&subject.demand)
        .await
        .map_err(words)?;
    let proposal = offer(&mut market).await?;
    let agreement = soon("agreeing", proposal.agree()).await?.map_err(words)?;
    agreement.set_ceiling(Amount::glm(1000));
    Ok(agreement)
}

async fn activity(agreement: &dyn Agreement) -> Result<Box<dyn Activity>, String> {
    let activity = soon("an activity", agreement.create_activity())
        .await?
        .map_err(words)?;
    let (_, end) = exec(&*activity, vec![Command::Deploy, Command::Start]).await?;
    end.map_err(|failure| format!("the package does not start: {failure}"))?;
    Ok(activity)
}

type Heard = (Vec<BatchEvent>, Result<(), Failure>);

async fn exec(activity: &dyn Activity, batch: Vec<Command>) -> Result<Heard, String> {
    exec_at(activity, batch, Attention::Live).await
}

async fn exec_at(
    activity: &dyn Activity,
    batch: Vec<Command>,
    attention: Attention,
) -> Result<Heard, String> {
    let events = activity.exec(batch, attention).await.map_err(words)?;
    hear(events).await
}

/// Hears a batch to its end, which must come once and last.
async fn hear(mut events: mpsc::Receiver<BatchEvent>) -> Result<Heard, String> {
    let mut heard = Vec::new();
    let mut end = None;
    while let Some(event) = soon("the next event of a batch", events.recv()).await? {
        ensure(end.is_none(), || format!("{event:?} came after the end"))?;
        match event {
            BatchEvent::Ended(result) => end = Some(result),
            event => heard.push(event),
        }
    }
    Ok((heard, end.ok_or("the batch did not say how it ended")?))
}

fn results(heard: &[BatchEvent]) -> Vec<(u32, &StepResult)> {
    heard
        .iter()
        .filter_map(|event| match event {
            BatchEvent::Finished(index, result) => Some((*index, result)),
            _ => None,
        })
        .collect()
}

async fn finish(agreement: &dyn Agreement) -> Result<crate::network::Bill, String> {
    soon("terminating", agreement.terminate(TerminateReason::Success)).await
}

async fn dropped_waits(subject: Subject) -> Verdict {
    let mut market = subject
        .network
        .publish(&subject.demand)
        .await
        .map_err(words)?;
    let mut offers = 0;
    soon("the first offers", async {
        loop {
            // Each wait is given up at once, as often as it takes.
            match tokio::time::timeout(Duration::from_millis(1), market.next()).await {
                Err(_) => {}
                Ok(Ok(MarketEvent::Proposal(_))) => offers += 1,
                Ok(Ok(MarketEvent::Quiet)) if offers > 0 => return Ok(()),
                Ok(Ok(_)) => {}
                Ok(Err(error)) => return Err(words(error)),
            }
        }
    })
    .await?
}

async fn quiet(subject: Subject) -> Verdict {
    let mut market = subject
        .network
        .publish(&subject.demand)
        .await
        .map_err(words)?;
    let mut open = Vec::new();
    loop {
        match soon("quiet", market.next()).await?.map_err(words)? {
            MarketEvent::Proposal(proposal) => open.push(proposal),
            MarketEvent::Refused(_) => {}
            MarketEvent::Quiet => break,
        }
    }
    let providers: HashSet<_> = open
        .iter()
        .map(|proposal| proposal.provider().id.clone())
        .collect();
    ensure(!open.is_empty() && providers.len() == open.len(), || {
        format!(
            "{} offers of {} providers came before quiet",
            open.len(),
            providers.len()
        )
    })?;
    let again = tokio::time::timeout(Duration::from_millis(200), market.next()).await;
    ensure(!matches!(again, Ok(Ok(MarketEvent::Proposal(_)))), || {
        "after quiet, a provider whose proposal is open was proposed again".to_owned()
    })?;
    market.withdraw().await;
    Ok(())
}

async fn free_again(subject: Subject) -> Verdict {
    let mut market = subject
        .network
        .publish(&subject.demand)
        .await
        .map_err(words)?;
    let proposal = offer(&mut market).await?;
    let provider = proposal.provider().clone();
    let agreement = soon("agreeing", proposal.agree()).await?.map_err(words)?;
    finish(&*agreement).await?;
    ensure(!market.patience(&|id| *id == provider.id).is_zero(), || {
        "nobody is to be waited for, although a provider has just become free".to_owned()
    })?;
    loop {
        let next = offer(&mut market).await?;
        if next.provider().id == provider.id {
            return Ok(());
        }
    }
}

async fn one_batch(subject: Subject) -> Verdict {
    let agreement = agree(&subject).await?;
    let activity = activity(&*agreement).await?;
    let mut first = activity
        .exec(vec![Command::Step(subject.hang)], Attention::Live)
        .await
        .map_err(words)?;
    let begun = soon("the beginning of a batch", first.recv()).await?;
    ensure(matches!(begun, Some(BatchEvent::Started(0))), || {
        format!("a batch began with {begun:?}")
    })?;
    let second = activity
        .exec(vec![Command::Step(subject.print)], Attention::Live)
        .await;
    ensure(matches!(second, Err(NetworkError::State(_))), || {
        "a second batch was taken while one ran".to_owned()
    })?;
    let more = tokio::time::timeout(Duration::from_millis(100), first.recv()).await;
    ensure(more.is_err(), || {
        format!("the running batch was disturbed: {more:?}")
    })?;
    finish(&*agreement).await.map(drop)
}

async fn story(subject: Subject) -> Verdict {
    let agreement = agree(&subject).await?;
    let activity = activity(&*agreement).await?;
    for attention in [Attention::Live, Attention::Easy] {
        told(&*activity, &subject, attention).await?;
    }
    finish(&*agreement).await.map(drop)
}

/// One batch, and that all of it is told in order and once.
async fn told(activity: &dyn Activity, subject: &Subject, attention: Attention) -> Verdict {
    let batch = vec![Command::Step(subject.print.clone()); 2];
    let (heard, end) = exec_at(activity, batch, attention).await?;
    end.map_err(|failure| format!("a program that succeeds failed: {failure}"))?;
    let mut streamed = [String::new(), String::new()];
    let mut current = None;
    for event in &heard {
        let fits = match event {
            BatchEvent::Started(index) => {
                let next = current.map_or(0, |current: u32| current + 1);
                current = Some(next);
                *index == next
            }
            BatchEvent::Stdout(index, text) => {
                if let Some(streamed) = streamed.get_mut(*index as usize) {
                    streamed.push_str(text);
                }
                current == Some(*index)
            }
            BatchEvent::Finished(index, _) | BatchEvent::Stderr(index, _) => {
                current == Some(*index)
            }
            BatchEvent::Progress { step, .. } => current == Some(*step),
            BatchEvent::Ended(_) => false,
        };
        ensure(fits, || format!("{event:?} came at a wrong time"))?;
    }
    let results = results(&heard);
    let whole = results.len() == 2
        && results.iter().zip(0..).all(|((index, result), expected)| {
            *index == expected && result.stdout == "hello\n" && result.exit_code == Some(0)
        });
    ensure(whole, || format!("the results were {results:?}"))?;
    ensure(streamed.iter().all(|text| text == "hello\n"), || {
        format!("what was streamed is not what was printed: {streamed:?}")
    })
}

async fn first_failure(subject: Subject) -> Verdict {
    let agreement = agree(&subject).await?;
    let activity = activity(&*agreement).await?;
    let batch = [&subject.print, &subject.fail, &subject.print];
    let batch = batch.into_iter().cloned().map(Command::Step).collect();
    let (heard, end) = exec(&*activity, batch).await?;
    let failure = end
        .err()
        .ok_or("a batch succeeded although a program failed")?;
    ensure(
        failure.kind == FailureKind::CommandFailed && failure.reason.contains("exited with code 1"),
        || format!("the failure was {failure:?}"),
    )?;
    ensure(failure.stderr == "sorry\n", || {
        format!("the failure says {:?}", failure.stderr)
    })?;
    ensure(
        !heard
            .iter()
            .any(|event| matches!(event, BatchEvent::Started(2))),
        || "the batch went on after a failure".to_owned(),
    )?;
    let (_, end) = exec(&*activity, vec![Command::Step(subject.print)]).await?;
    end.map_err(|failure| format!("no batch may follow a failed command: {failure}"))?;
    finish(&*agreement).await.map(drop)
}

async fn wrong_order(subject: Subject) -> Verdict {
    let agreement = agree(&subject).await?;
    let activity = soon("an activity", agreement.create_activity())
        .await?
        .map_err(words)?;
    for (batch, expected) in [
        (
            vec![Command::Step(subject.print.clone())],
            "deploy() command is expected now",
        ),
        (vec![Command::Start], "deploy() command is expected now"),
        (
            vec![Command::Deploy, Command::Step(subject.print.clone())],
            "start() command is expected now",
        ),
        (
            vec![Command::Start, Command::Deploy],
            "Cannot send command after a successful start()",
        ),
        (
            vec![Command::Terminate, Command::Start],
            "deploy() command is expected now",
        ),
    ] {
        let (_, end) = exec(&*activity, batch.clone()).await?;
        let reason = end.err().map(|failure| failure.reason).unwrap_or_default();
        ensure(reason.contains(expected), || {
            format!("{batch:?} answered {reason:?}")
        })?;
    }
    let batch = vec![
        Command::Deploy,
        Command::Start,
        Command::Step(subject.print),
    ];
    let (_, end) = exec(&*activity, batch).await?;
    end.map_err(|failure| format!("nothing can be deployed after `terminate`: {failure}"))?;
    finish(&*agreement).await.map(drop)
}

async fn destroyed(subject: Subject) -> Verdict {
    let agreement = agree(&subject).await?;
    let activity = activity(&*agreement).await?;
    let mut events = activity
        .exec(vec![Command::Step(subject.hang)], Attention::Live)
        .await
        .map_err(words)?;
    let _ = soon("the beginning of a batch", events.recv()).await?;
    soon("destroying", activity.destroy()).await?;
    let (_, end) = hear(events).await?;
    ensure(end.is_err(), || {
        "a program that does not end has ended well".to_owned()
    })?;
    let after = activity
        .exec(vec![Command::Step(subject.print)], Attention::Live)
        .await;
    ensure(after.is_err(), || {
        "a batch was taken after `destroy`".to_owned()
    })?;
    soon("destroying again", activity.destroy()).await?;
    finish(&*agreement).await.map(drop)
}

async fn terminated_twice(subject: Subject) -> Verdict {
    let agreement = agree(&subject).await?;
    let activity = activity(&*agreement).await?;
    let (_, end) = exec(&*activity, vec![Command::Step(subject.print.clone())]).await?;
    end.map_err(|failure| failure.to_string())?;
    let first = finish(&*agreement).await?;
    let second = finish(&*agreement).await?;
    ensure(first == second, || {
        format!("the bill was {first:?}, then {second:?}")
    })?;
    let after = activity
        .exec(vec![Command::Step(subject.print)], Attention::Live)
        .await;
    ensure(after.is_err(), || {
        "a batch was taken after `terminate`".to_owned()
    })?;
    let after = soon("an activity", agreement.create_activity()).await?;
    ensure(after.is_err(), || {
        "an activity was made after `terminate`".to_owned()
    })
}

async fn files(subject: Subject) -> Verdict {
    let agreement = agree(&subject).await?;
    let activity = activity(&*agreement).await?;
    for length in [0, 1, 65_536, 300_001] {
        let content: Vec<u8> = (0..length).map(|index: u32| (index % 251) as u8).collect();
        let sink = Arc::new(Slot::new(1 << 20));
        let batch = vec![
            Command::Step(Step::Send {
                source: Arc::new(Bytes::new(content.clone())),
                destination: subject.path.clone(),
            }),
            Command::Step(Step::Download {
                source: subject.path.clone(),
                sink: Arc::clone(&sink) as Arc<dyn Sink>,
            }),
            Command::Step(Step::DownloadBytes {
                source: subject.path.clone(),
                most: length.into(),
            }),
        ];
        let (heard, end) = exec(&*activity, batch).await?;
        end.map_err(|failure| format!("{length} bytes were not moved: {failure}"))?;
        ensure(sink.content().as_ref() == Some(&content), || {
            format!("{length} bytes did not arrive as they were sent")
        })?;
        let bytes = results(&heard)
            .last()
            .and_then(|(_, result)| result.bytes.clone());
        ensure(bytes.as_ref() == Some(&content), || {
            format!("{length} bytes did not come back as they were sent")
        })?;
    }
    finish(&*agreement).await.map(drop)
}

async fn refused_files(subject: Subject) -> Verdict {
    let agreement = agree(&subject).await?;
    let activity = activity(&*agreement).await?;
    let send = Command::Step(Step::Send {
        source: Arc::new(Bytes::new(*b"0123456789")),
        destination: subject.path.clone(),
    });
    let (_, end) = exec(&*activity, vec![send]).await?;
    end.map_err(|failure| failure.to_string())?;
    for (source, most) in [
        (subject.path.clone(), 9),
        (format!("{}.missing", subject.path), 100),
        ("/etc/passwd".to_owned(), 1 << 20),
    ] {
        let sink = Arc::new(Slot::new(most));
        for step in [
            Step::Download {
                source: source.clone(),
                sink: Arc::clone(&sink) as Arc<dyn Sink>,
            },
            Step::DownloadBytes {
                source: source.clone(),
                most,
            },
        ] {
            let (_, end) = exec(&*activity, vec![Command::Step(step)]).await?;
            let kind = end.err().map(|failure| failure.kind);
            ensure(kind == Some(FailureKind::TransferFailed), || {
                format!("fetching {source} with at most {most} bytes answered {kind:?}")
            })?;
        }
        ensure(sink.content().is_none(), || {
            format!("a fetch of {source} that failed was committed")
        })?;
    }
    finish(&*agreement).await.map(drop)
}

async fn ceiling(subject: Subject) -> Verdict {
    let agreement = agree(&subject).await?;
    agreement.set_ceiling(Amount::ZERO);
    activity(&*agreement).await?;
    let bill = finish(&*agreement).await?;
    ensure(bill.accepted.is_zero() && !bill.claimed.is_zero(), || {
        format!("with a ceiling of nothing the bill was {bill:?}")
    })?;

    let agreement = agree(&subject).await?;
    activity(&*agreement).await?;
    let bill = finish(&*agreement).await?;
    ensure(
        bill.accepted == bill.claimed && bill.accepted <= Amount::glm(1000),
        || format!("with a ceiling of 1000 GLM the bill was {bill:?}"),
    )?;
    let mut invoice = None;
    while let Some(event) = soon("the last event", agreement.next_event()).await? {
        if let AgreementEvent::Invoice { amount, accepted } = event {
            invoice = Some((amount, accepted));
        }
    }
    ensure(invoice == Some((bill.claimed, true)), || {
        format!("the invoice was {invoice:?}, the bill {bill:?}")
    })
}

async fn dropped(subject: Subject) -> Verdict {
    let mut market = subject
        .network
        .publish(&subject.demand)
        .await
        .map_err(words)?;
    let proposal = offer(&mut market).await?;
    let provider = proposal.provider().clone();
    let agreement = soon("agreeing", proposal.agree()).await?.map_err(words)?;
    agreement.set_ceiling(Amount::glm(1000));
    let activity = activity(&*agreement).await?;
    let mut events = activity
        .exec(vec![Command::Step(subject.hang)], Attention::Live)
        .await
        .map_err(words)?;
    let _ = soon("the beginning of a batch", events.recv()).await?;
    drop(activity);
    drop(agreement);
    let (_, end) = hear(events).await?;
    ensure(end.is_err(), || {
        "a program that does not end has ended well".to_owned()
    })?;
    loop {
        let next = offer(&mut market).await?;
        if next.provider().id == provider.id {
            return Ok(());
        }
    }
}

/// A sink that remembers what was committed.
#[derive(Debug)]
struct Slot {
    most: u64,
    content: Arc<Mutex<Option<Vec<u8>>>>,
}

impl Slot {
    fn new(most: u64) -> Self {
        Self {
            most,
            content: Arc::default(),
        }
    }

    fn content(&self) -> Option<Vec<u8>> {
        self.content
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

impl Sink for Slot {
    fn describe(&self) -> String {
        "the suite".to_owned()
    }

    fn most(&self) -> u64 {
        self.most
    }

    fn create(&self) -> io::Result<Box<dyn Partial>> {
        Ok(Box::new(Filling {
            bytes: Vec::new(),
            content: Arc::clone(&self.content),
        }))
    }
}

struct Filling {
    bytes: Vec<u8>,
    content: Arc<Mutex<Option<Vec<u8>>>>,
}

impl Write for Filling {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Partial for Filling {
    fn commit(self: Box<Self>) -> io::Result<()> {
        *self.content.lock().unwrap_or_else(PoisonError::into_inner) = Some(self.bytes);
        Ok(())
    }
}
