//! Hears bills and the ends of agreements, and answers bills: at once and all the time, because providers end agreements
//! whose debit notes are not accepted in time.
//!
//! Each bill has a task, which goes on until the bill is answered or its agreement is over, and waits for no bill of
//! another agreement: whoever cannot be answered keeps nobody else waiting.

use std::future::pending;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use sovr_capability::{Amount, Untrusted};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;

use super::account::{Account, Verdict};
use super::session::Session;
use crate::network::AgreementEvent;
use crate::yagna::error::DaemonError;
use crate::yagna::feed::Feed;
use crate::yagna::market::{AgreementEventKind, Reason, Side};
use crate::yagna::payment::BillStatus;

/// After an error, which a daemon that is being started again answers.
const PAUSE: Duration = Duration::from_secs(1);
/// The end of an agreement is tried for so long.
const PATIENCE: Duration = Duration::from_secs(60);
/// Bills of each kind that are read at a time; the daemon keeps the others.
const READ: usize = 64;

/// Begins to hear. It ends when the answer is dropped.
pub(super) fn start(session: &Arc<Session>) -> JoinSet<()> {
    let mut tasks = JoinSet::new();
    tasks.spawn(hear_notes(Arc::clone(session)));
    tasks.spawn(hear_invoices(Arc::clone(session)));
    tasks.spawn(hear_agreements(Arc::clone(session)));
    tasks
}

async fn hear_notes(session: Arc<Session>) {
    let mut feed = Feed::new();
    let mut desk = Desk::new();
    loop {
        let ask = |after, wait| session.daemon.debit_note_events(&session.id, after, wait);
        for event in feed.next(ask).await.unwrap_or_default() {
            if event.event_type == "DebitNoteReceivedEvent" {
                let session = Arc::clone(&session);
                desk.give(|reads| answer_note(session, event.id, reads))
                    .await;
            }
        }
    }
}

async fn hear_invoices(session: Arc<Session>) {
    let mut feed = Feed::new();
    let mut desk = Desk::new();
    loop {
        let ask = |after, wait| session.daemon.invoice_events(&session.id, after, wait);
        for event in feed.next(ask).await.unwrap_or_default() {
            if event.event_type == "InvoiceReceivedEvent" {
                let session = Arc::clone(&session);
                desk.give(|reads| answer_invoice(session, event.id, reads))
                    .await;
            }
        }
    }
}

/// Where bills are answered, each for itself. Whose a bill is, is known when it was read, and so many are read at a time.
struct Desk {
    reading: Arc<Semaphore>,
    tasks: JoinSet<()>,
}

impl Desk {
    fn new() -> Self {
        Self {
            reading: Arc::new(Semaphore::new(READ)),
            tasks: JoinSet::new(),
        }
    }

    /// Begins to answer a bill, when there is room.
    async fn give<F>(&mut self, answer: impl FnOnce(OwnedSemaphorePermit) -> F)
    where
        F: Future<Output = Result<(), DaemonError>> + Send + 'static,
    {
        // Nobody closes it.
        let Ok(reads) = Arc::clone(&self.reading).acquire_owned().await else {
            return;
        };
        // Those that are answered.
        while self.tasks.try_join_next().is_some() {}
        let answer = answer(reads);
        self.tasks.spawn(async move {
            // A bill that cannot even be read is none; who sent it waits for an answer.
            let _ = answer.await;
        });
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

async fn answer_note(
    session: Arc<Session>,
    id: String,
    reads: OwnedSemaphorePermit,
) -> Result<(), DaemonError> {
    let daemon = &session.daemon;
    let note = insistently(pending(), || daemon.debit_note(&id)).await?;
    drop(reads);
    let Some(account) = session.account(&note.agreement_id) else {
        return Ok(());
    };
    let Some(turn) = account.note_turn().await else {
        return Ok(());
    };
    let total = note.total_amount_due;
    match account.judge_note(&note.activity_id, total) {
        Verdict::Accept(more) => {
            let accept = || daemon.accept_debit_note(&id, total, &session.allocation);
            let status = async { daemon.debit_note(&id).await.map(|note| note.status) };
            let answer = insistently(account.ended(), accept).await;
            let accepted = is_accepted(answer, status).await;
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
                // The invoice that comes of it does not wait for the provider to hear of it.
                drop(turn);
                let agreement = &note.agreement_id;
                patiently(|| daemon.end_agreement(agreement, "TooManyDebitNotes", &message))
                    .await?;
            }
        }
        Verdict::Late => {}
    }
    Ok(())
}

async fn answer_invoice(
    session: Arc<Session>,
    id: String,
    reads: OwnedSemaphorePermit,
) -> Result<(), DaemonError> {
    let daemon = &session.daemon;
    let invoice = insistently(pending(), || daemon.invoice(&id)).await?;
    drop(reads);
    let Some(account) = session.account(&invoice.agreement_id) else {
        return Ok(());
    };
    let Some(_turn) = account.invoice_turn().await else {
        return Ok(());
    };
    let amount = invoice.amount;
    match account.judge_invoice(amount) {
        Verdict::Accept(more) => {
            let accept = || daemon.accept_invoice(&id, amount, &session.allocation);
            let status = async { daemon.invoice(&id).await.map(|found| found.status) };
            let answer = insistently(account.closed(), accept).await;
            let accepted = is_accepted(answer, status).await;
            settle(&account, accepted, more);
            account.invoice_told(accepted);
        }
        Verdict::Refuse | Verdict::TooMany => {
            let message = Untrusted::new(format!("{amount} GLM are more than was agreed"));
            let reject = || daemon.reject_invoice(&id, &message);
            // It is not accepted, whether the provider hears of it or not.
            let _ = insistently(account.closed(), reject).await;
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

/// Tries again while the failure may pass, for some time. What is called must do no harm when it is done twice.
pub(super) async fn patiently<T, F: Future<Output = Result<T, DaemonError>>>(
    call: impl Fn() -> F,
) -> Result<T, DaemonError> {
    insistently(tokio::time::sleep(PATIENCE), call).await
}

/// The same until `end`. A call that is under way is waited for, as it may be carried out.
async fn insistently<T, F: Future<Output = Result<T, DaemonError>>>(
    end: impl Future<Output = ()>,
    call: impl Fn() -> F,
) -> Result<T, DaemonError> {
    let mut end = pin!(end);
    loop {
        let error = match call().await {
            Err(error) if error.kind.may_pass() => error,
            result => return result,
        };
        tokio::select! {
            biased;
            () = &mut end => return Err(error),
            () = tokio::time::sleep(PAUSE) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::sync::Mutex;
    use std::sync::atomic::{AtomicBool, Ordering};

    use serde_json::{Value, json};
    use tokio::sync::mpsc::UnboundedReceiver;

    use super::super::testing::{daemon, hurry, node, session};
    use super::*;

    fn glm(text: &str) -> Amount {
        text.parse().unwrap()
    }

    /// Of bills that came once: `a-1` is one of the agreement `a`.
    fn events(query: &str, kind: &str, ids: &[&str]) -> Value {
        let date = "2026-11-20T23:46:40Z";
        let told = ids.iter().map(|id| {
            json!({ "debitNoteId": id, "eventDate": date, "eventType": format!("{kind}ReceivedEvent") })
        });
        match query.contains("afterTimestamp=1970") {
            true => told.collect(),
            false => json!([]),
        }
    }

    /// A bill of the agreement that its id begins with, about 1 GLM.
    fn bill(id: &str) -> Value {
        let agreement = id.split_once('-').unwrap().0;
        json!({
            "debitNoteId": id, "invoiceId": id, "issuerId": node(), "agreementId": agreement, "activityId": "x",
            "totalAmountDue": "1", "amount": "1", "status": "RECEIVED",
        })
    }

    fn account(session: &Session, id: &str) -> (Arc<Account>, UnboundedReceiver<AgreementEvent>) {
        let (account, events) = Account::open(session.till(), Duration::from_secs(120));
        account.set_ceiling(glm("5"));
        let account = Arc::new(account);
        session.add_account(id, Arc::clone(&account));
        (account, events)
    }

    #[tokio::test]
    async fn a_bill_that_cannot_be_answered_keeps_no_other_agreement_waiting() {
        // The invoice comes when the note has been tried.
        let tried = AtomicBool::new(false);
        let daemon = daemon(move |method, path, query| {
            Some(match (method, path) {
                ("GET", "debitNoteEvents") => (200, events(query, "DebitNote", &["a-1", "b-1"])),
                ("GET", "invoiceEvents") if tried.load(Ordering::SeqCst) => {
                    (200, events(query, "Invoice", &["a-2"]))
                }
                ("GET", "invoiceEvents") => (200, json!([])),
                ("POST", "debitNotes/a-1/accept") => {
                    tried.store(true, Ordering::SeqCst);
                    (500, json!({}))
                }
                ("POST", _) => (200, json!(null)),
                ("GET", path) => (200, bill(path.rsplit_once('/')?.1)),
                _ => return None,
            })
        });
        let (session, _member) = session(&daemon).await;
        // Nothing was waited for yet, so no bill is heard of before both agreements are known.
        let ((a, mut of_a), (_b, mut of_b)) = (account(&session, "a"), account(&session, "b"));
        let note = |accepted| AgreementEvent::DebitNote {
            amount: glm("1"),
            accepted,
        };
        assert_eq!(of_b.recv().await, Some(note(true)));
        assert!(of_a.is_empty(), "the other was given up first");
        // When the agreement is over, its invoice is what counts.
        a.over(None);
        assert_eq!(of_a.recv().await, Some(note(false)));
        let invoice = AgreementEvent::Invoice {
            amount: glm("1"),
            accepted: true,
        };
        assert_eq!(of_a.recv().await, Some(invoice));
        assert_eq!(a.close().accepted, glm("1"));
    }

    #[tokio::test(start_paused = true)]
    async fn a_bill_is_answered_however_long_the_daemon_takes_to_recover() {
        let refused = Mutex::new(HashMap::<String, u32>::new());
        let daemon = daemon(move |method, path, query| {
            if path.contains("s/a-1") {
                let mut refused = refused.lock().unwrap();
                let times = refused.entry(format!("{method} {path}")).or_default();
                *times += 1;
                if *times <= 70 {
                    return Some((500, json!({})));
                }
            }
            Some(match (method, path) {
                ("GET", "invoiceEvents") => (200, events(query, "Invoice", &["a-1"])),
                ("GET", "invoices/a-1") => (200, bill("a-1")),
                ("POST", _) => (200, json!(null)),
                _ => return None,
            })
        });
        let (session, _member) = hurry(session(&daemon)).await;
        let (_account, mut events) = account(&session, "a");
        let invoice = AgreementEvent::Invoice {
            amount: glm("1"),
            accepted: true,
        };
        assert_eq!(hurry(events.recv()).await, Some(invoice));
    }
}
