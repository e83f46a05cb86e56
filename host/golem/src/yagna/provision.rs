//! Activities and bills from a provider's side.

use std::time::Duration;

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::json;
use sovr_capability::Amount;

use super::activity::ActivityState;
use super::connection::{Daemon, Part};
use super::error::{DaemonError, ErrorKind};
use super::feed::Dated;
use super::payment::{DebitNote, Invoice};

/// What a requestor wants of an activity.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ActivityEvent {
    /// When; the next call asks for what came after this.
    pub event_date: Timestamp,
    /// Of which.
    pub activity_id: String,
    /// Under which agreement.
    pub agreement_id: String,
    /// What.
    #[serde(rename = "eventType")]
    pub kind: ActivityEventKind,
}

impl Dated for ActivityEvent {
    fn moment(&self) -> Timestamp {
        self.event_date
    }

    fn key(&self) -> String {
        format!("{:?} {}", self.kind, self.activity_id)
    }
}

/// What a requestor wants of an activity. More is written beside each, which nobody here needs.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub enum ActivityEventKind {
    /// It is to be started.
    CreateActivity {},
    /// It is to be ended.
    DestroyActivity {},
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Issued {
    #[serde(alias = "invoiceId", alias = "debitNoteId")]
    id: String,
}

impl Daemon {
    /// Waits for what requestors want of activities, after a moment and for agreements that were approved in a session.
    /// Without anything within the time the list is empty.
    ///
    /// # Errors
    /// See [`DaemonError`].
    pub async fn activity_events(
        &self,
        session: &str,
        after: Timestamp,
        wait: Duration,
    ) -> Result<Vec<ActivityEvent>, DaemonError> {
        let events = self
            .get("wait for activities", Part::Activity, &["events"])
            .wait(wait)
            .query("afterTimestamp", &after.to_string())
            .query("maxEvents", "100")
            .query("appSessionId", session)
            .events()
            .await;
        match events {
            // Here alone a time-out is no empty list.
            Err(DaemonError {
                kind: ErrorKind::TimedOut,
                ..
            }) => Ok(Vec::new()),
            other => other,
        }
    }

    /// Says how an activity is; at least every five seconds, or the daemon calls it unresponsive. The first time, the
    /// requestor's call that started it returns.
    ///
    /// # Errors
    /// See [`DaemonError`].
    pub async fn report_state(
        &self,
        activity: &str,
        state: ActivityState,
        reason: Option<&str>,
    ) -> Result<(), DaemonError> {
        let path = ["activity", activity, "state"];
        let body = json!({ "state": [state.name(), null], "reason": reason });
        let request = self.put("report how an activity is", Part::Activity, &path);
        request.body(&body).done().await
    }

    /// Makes a debit note, which nobody knows of yet, and answers its id. `usage` is in the order of the offer's usage
    /// vector.
    ///
    /// # Errors
    /// See [`DaemonError`].
    pub async fn issue_debit_note(
        &self,
        activity: &str,
        total: Amount,
        usage: &[f64],
    ) -> Result<String, DaemonError> {
        let body = json!({
            "activityId": activity, "totalAmountDue": total, "usageCounterVector": usage,
        });
        let request = self.post("make a debit note", Part::Payment, &["debitNotes"]);
        let issued: Issued = request.body(&body).json().await?;
        Ok(issued.id)
    }

    /// Makes the invoice of an agreement, which nobody knows of yet, and answers its id.
    ///
    /// # Errors
    /// See [`DaemonError`].
    pub async fn issue_invoice(
        &self,
        agreement: &str,
        activities: &[String],
        amount: Amount,
        due: Timestamp,
    ) -> Result<String, DaemonError> {
        let body = json!({
            "agreementId": agreement, "activityIds": activities, "amount": amount, "paymentDueDate": due,
        });
        let request = self.post("make an invoice", Part::Payment, &["invoices"]);
        let issued: Issued = request.body(&body).json().await?;
        Ok(issued.id)
    }

    /// The invoice of an agreement, if one was made since a moment that is not long ago.
    ///
    /// # Errors
    /// See [`DaemonError`].
    pub async fn issued_invoice(
        &self,
        agreement: &str,
        since: Timestamp,
    ) -> Result<Option<Invoice>, DaemonError> {
        let request = self.get("look for an invoice", Part::Payment, &["invoices"]);
        let request = request.query("afterTimestamp", &since.to_string());
        let invoices: Vec<Invoice> = request.json().await?;
        let mut invoices = invoices.into_iter();
        Ok(invoices.find(|invoice| invoice.agreement_id == agreement))
    }

    /// Debit notes that were made since a moment that is not long ago.
    ///
    /// # Errors
    /// See [`DaemonError`].
    pub async fn issued_debit_notes(
        &self,
        since: Timestamp,
    ) -> Result<Vec<DebitNote>, DaemonError> {
        let request = self.get("look for debit notes", Part::Payment, &["debitNotes"]);
        let request = request.query("afterTimestamp", &since.to_string());
        request.json().await
    }

    /// Sends a debit note to the requestor.
    ///
    /// # Errors
    /// [`TimedOut`](ErrorKind::TimedOut) if it cannot be reached, and others.
    pub async fn send_debit_note(&self, id: &str, wait: Duration) -> Result<(), DaemonError> {
        let path = ["debitNotes", id, "send"];
        let request = self.post("send a debit note", Part::Payment, &path);
        request.wait(wait).done().await
    }

    /// Sends an invoice to the requestor.
    ///
    /// # Errors
    /// [`TimedOut`](ErrorKind::TimedOut) if it cannot be reached, and others.
    pub async fn send_invoice(&self, id: &str, wait: Duration) -> Result<(), DaemonError> {
        let path = ["invoices", id, "send"];
        let request = self.post("send an invoice", Part::Payment, &path);
        request.wait(wait).done().await
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{ActivityEvent, ActivityEventKind};

    #[test]
    fn the_kind_of_an_event_is_the_key_of_a_map() {
        let event: ActivityEvent = serde_json::from_value(json!({
            "eventType": { "CreateActivity": { "requestorPubKey": null } }, "activityId": "a", "agreementId": "b",
            "eventDate": "2026-11-20T23:46:40.352770743Z",
        }))
        .unwrap();
        assert_eq!(event.kind, ActivityEventKind::CreateActivity {});
        assert_eq!(
            (event.activity_id.as_str(), event.agreement_id.as_str()),
            ("a", "b")
        );
    }
}
