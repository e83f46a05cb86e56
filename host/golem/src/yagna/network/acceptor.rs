//! Hears bills and the ends of agreements, and answers bills: at once and all the time, because providers end agreements
//! whose debit notes are not accepted in time.
//!
//! Bills are answered one after another, so that what was accepted is known before the next is looked at.

use std::sync::Arc;
use std::time::Duration;

use sovr_capability::{Amount, Untrusted};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::account::{Account, Verdict};
use super::session::Session;
use crate::network::AgreementEvent;
use crate::yagna::error::DaemonError;
use crate::yagna::feed::Feed;
use crate::yagna::market::{AgreementEventKind, Reason, Side};
use crate::yagna::payment::BillStatus;

/// After an error, which a daemon that is being started again answers.
const PAUSE: Duration = Duration::from_secs(1);
/// An answer to a bill is tried for so long.
const ANSWER: Duration = Duration::from_secs(60);
/// Bills that may wait; the daemon keeps the others.
const QUEUE: usize = 16;

/// A bill, by its id.
enum Bill {
    Note(String),
    Invoice(String),
}

/// Begins to hear. It ends when the answer is dropped.
pub(super) fn start(session: &Arc<Session>) -> JoinSet<()> {
    let mut tasks = JoinSet::new();
    let (sender, bills) = mpsc::channel(QUEUE);
    tasks.spawn(hear_notes(Arc::clone(session), sender.clone()));
    tasks.spawn(hear_invoices(Arc::clone(session), sender));
    tasks.spawn(hear_agreements(Arc::clone(session)));
    tasks.spawn(answer(Arc::clone(session), bills));
    tasks
}

async fn hear_notes(session: Arc<Session>, bills: mpsc::Sender<Bill>) {
    let mut feed = Feed::new();
    loop {
        let ask = |after, wait| session.daemon.debit_note_events(&session.id, after, wait);
        for event in feed.next(ask).await.unwrap_or_default() {
            let is_news = event.event_type == "DebitNoteReceivedEvent";
            if is_news && bills.send(Bill::Note(event.id)).await.is_err() {
                return;
            }
        }
    }
}

async fn hear_invoices(session: Arc<Session>, bills: mpsc::Sender<Bill>) {
    let mut feed = Feed::new();
    loop {
        let ask = |after, wait| session.daemon.invoice_events(&session.id, after, wait);
        for event in feed.next(ask).await.unwrap_or_default() {
            let is_news = event.event_type == "InvoiceReceivedEvent";
            if is_news && bills.send(Bill::Invoice(event.id)).await.is_err() {
                return;
            }
        }
    }
}

async fn hear_agreements(session: Arc<Session>) {
    let mut feed = Feed::new();
    loop {
        let ask = |after, wait| session.daemon.agreement_events(&session.id, after, wait);
        for event in feed.next(ask).await.unwrap_or_default() {
            let ended = event.kind == AgreementEventKind::Terminated
                && event.terminator == Some(Side::Provider);
            if ended && let Some(account) = session.account(&event.agreement_id) {
                let reason = words(event.reason.unwrap_or_default());
                account.over(Some(AgreementEvent::Terminated { reason }));
            }
        }
    }
}

/// A provider's reason as one text.
pub(super) fn words(reason: Reason) -> String {
    let message = reason.message.into_raw();
    match reason.provider_code {
        Some(code) if message.is_empty() => code.into_raw(),
        Some(code) => format!("{message} ({})", code.raw()),
        None if message.is_empty() => "it gave no reason".to_owned(),
        None => message,
    }
}

async fn answer(session: Arc<Session>, mut bills: mpsc::Receiver<Bill>) {
    while let Some(bill) = bills.recv().await {
        // A bill that cannot even be read is none; who sent it waits for an answer.
        let _ = match bill {
            Bill::Note(id) => answer_note(&session, &id).await,
            Bill::Invoice(id) => answer_invoice(&session, &id).await,
        };
    }
}

async fn answer_note(session: &Session, id: &str) -> Result<(), DaemonError> {
    let note = patiently(|| session.daemon.debit_note(id)).await?;
    let Some(account) = session.account(&note.agreement_id) else {
        return Ok(());
    };
    let total = note.total_amount_due;
    match account.judge_note(&note.activity_id, total) {
        Verdict::Accept(more) => {
            let accept = || {
                session
                    .daemon
                    .accept_debit_note(id, total, &session.allocation)
            };
            let status = async { session.daemon.debit_note(id).await.map(|note| note.status) };
            let accepted = is_accepted(patiently(accept).await, status).await;
            settle(&account, accepted, more);
            account.note_told(accepted);
        }
        // Debit notes cannot be rejected: they are left.
        Verdict::Refuse => account.note_told(false),
        Verdict::TooMany => {
            account.note_told(false);
            let reason = "it sends debit notes more often than was agreed".to_owned();
            let message = reason.clone();
            if account.over(Some(AgreementEvent::Broken { reason })) {
                let agreement = &note.agreement_id;
                patiently(|| {
                    session
                        .daemon
                        .end_agreement(agreement, "TooManyDebitNotes", &message)
                })
                .await?;
            }
        }
        Verdict::Late => {}
    }
    Ok(())
}

async fn answer_invoice(session: &Session, id: &str) -> Result<(), DaemonError> {
    let invoice = patiently(|| session.daemon.invoice(id)).await?;
    let Some(account) = session.account(&invoice.agreement_id) else {
        return Ok(());
    };
    let amount = invoice.amount;
    match account.judge_invoice(amount) {
        Verdict::Accept(more) => {
            let accept = || {
                session
                    .daemon
                    .accept_invoice(id, amount, &session.allocation)
            };
            let status = async { session.daemon.invoice(id).await.map(|found| found.status) };
            let accepted = is_accepted(patiently(accept).await, status).await;
            settle(&account, accepted, more);
            account.invoice_told(accepted);
        }
        Verdict::Refuse | Verdict::TooMany => {
            let message = Untrusted::new(format!("{amount} GLM are more than was agreed"));
            // It is not accepted, whether the provider hears of it or not.
            let _ = patiently(|| session.daemon.reject_invoice(id, &message)).await;
            account.invoice_told(false);
        }
        Verdict::Late => {}
    }
    Ok(())
}

fn settle(account: &Account, accepted: bool, more: Amount) {
    if !accepted {
        account.failed(more);
    }
}

/// Whether a bill is accepted after an answer that may have been lost. In doubt it is.
async fn is_accepted(
    answer: Result<(), DaemonError>,
    status: impl Future<Output = Result<BillStatus, DaemonError>>,
) -> bool {
    match answer {
        Ok(()) => true,
        Err(error) if error.kind.may_pass() => !matches!(
            status.await,
            Ok(BillStatus::Received | BillStatus::Rejected | BillStatus::Cancelled)
        ),
        Err(_) => false,
    }
}

/// Tries again while the failure may pass. What is called must do no harm when it is done twice.
pub(super) async fn patiently<T, F: Future<Output = Result<T, DaemonError>>>(
    call: impl Fn() -> F,
) -> Result<T, DaemonError> {
    let end = Instant::now() + ANSWER;
    loop {
        match call().await {
            Err(error) if error.kind.may_pass() && Instant::now() < end => {
                tokio::time::sleep(PAUSE).await;
            }
            result => return result,
        }
    }
}
