//! Money: allocations, which set it aside, and the bills that are paid from them.

use std::time::Duration;

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};
use sovr_capability::{Amount, Untrusted};

use super::connection::{Daemon, Part};
use super::error::DaemonError;
use crate::network::NodeId;

/// Most events of one call.
const EVENTS: &str = "100";

/// Money that is set aside for a while.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Allocation {
    /// Its id.
    #[serde(rename = "allocationId")]
    pub id: String,
    /// Driver, network and token: `erc20-holesky-tglm`.
    pub payment_platform: String,
    /// Set aside at first.
    pub total_amount: Amount,
    /// Of it, spent.
    pub spent_amount: Amount,
    /// Of it, left.
    pub remaining_amount: Amount,
    /// When it ends by itself.
    pub timeout: Option<Timestamp>,
}

/// What a demand must say so that this allocation can pay.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Decorations {
    /// To be added to the demand's.
    pub properties: Vec<Decoration>,
    /// To be fulfilled together with the demand's.
    pub constraints: Vec<String>,
}

/// One property.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Decoration {
    /// Its name.
    pub key: String,
    /// Its value.
    pub value: Value,
}

/// Something that happened to a bill.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BillEvent {
    /// Which bill.
    #[serde(alias = "invoiceId", alias = "debitNoteId")]
    pub id: String,
    /// When; the next call asks for what came after this.
    pub event_date: Timestamp,
    /// `InvoiceReceivedEvent` and its like.
    pub event_type: String,
}

/// The last bill of an agreement.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Invoice {
    /// Its id.
    #[serde(rename = "invoiceId")]
    pub id: String,
    /// Who asks.
    pub issuer_id: NodeId,
    /// For what.
    pub agreement_id: String,
    /// How much, for the whole agreement.
    pub amount: Amount,
    /// Whether it was answered.
    pub status: BillStatus,
}

/// What is owed for an activity so far.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DebitNote {
    /// Its id.
    #[serde(rename = "debitNoteId")]
    pub id: String,
    /// Who asks.
    pub issuer_id: NodeId,
    /// For what.
    pub agreement_id: String,
    /// For which part of it.
    pub activity_id: String,
    /// How much, since the activity began.
    pub total_amount_due: Amount,
    /// If it asks for money before the end: until when.
    pub payment_due_date: Option<Timestamp>,
    /// Whether it was answered.
    pub status: BillStatus,
}

/// What became of a bill.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum BillStatus {
    /// It was made.
    Issued,
    /// It is here.
    Received,
    /// It will be paid.
    Accepted,
    /// It will not be paid.
    Rejected,
    /// The payment failed.
    Failed,
    /// It is paid.
    Settled,
    /// The provider took it back.
    Cancelled,
    /// Something newer than this program.
    #[serde(other)]
    Unknown,
}

/// An account of the identity.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Account {
    /// Driver, network and token: `erc20-holesky-tglm`.
    pub platform: String,
    /// Its address.
    pub address: String,
    /// The payment driver.
    pub driver: String,
    /// The payment network.
    pub network: String,
}

impl Daemon {
    /// Accounts that can pay and were used since the daemon started; others may be there.
    ///
    /// # Errors
    /// See [`DaemonError`].
    pub async fn requestor_accounts(&self) -> Result<Vec<Account>, DaemonError> {
        let attempted = "list the accounts";
        let request = self.get(attempted, Part::Payment, &["requestorAccounts"]);
        request.json().await
    }

    /// Sets money aside until `timeout` at the latest. The account is made ready by it, if need be.
    ///
    /// # Errors
    /// [`NoFunds`](super::ErrorKind::NoFunds), [`NoAccount`](super::ErrorKind::NoAccount) and others.
    pub async fn allocate(
        &self,
        total: Amount,
        platform: &str,
        timeout: Timestamp,
    ) -> Result<Allocation, DaemonError> {
        // Daemons of old want to hear about the deposit.
        let body = json!({
            "totalAmount": total, "paymentPlatform": platform, "timeout": timeout, "makeDeposit": false,
        });
        let request = self.post("set the budget aside", Part::Payment, &["allocations"]);
        request.body(&body).json().await
    }

    /// All that is set aside at this time.
    ///
    /// # Errors
    /// See [`DaemonError`].
    pub async fn allocations(&self) -> Result<Vec<Allocation>, DaemonError> {
        let attempted = "list what is set aside";
        let request = self.get(attempted, Part::Payment, &["allocations"]);
        request.json().await
    }

    /// One of them.
    ///
    /// # Errors
    /// [`NotFound`](super::ErrorKind::NotFound) once it is released, and others.
    pub async fn allocation(&self, id: &str) -> Result<Allocation, DaemonError> {
        let attempted = "look at what is set aside";
        let request = self.get(attempted, Part::Payment, &["allocations", id]);
        request.json().await
    }

    /// Gives back what is left of it.
    ///
    /// # Errors
    /// [`Gone`](super::ErrorKind::Gone) the second time, and others.
    pub async fn release(&self, id: &str) -> Result<(), DaemonError> {
        let attempted = "release what was set aside";
        let request = self.delete(attempted, Part::Payment, &["allocations", id]);
        request.done().await
    }

    /// What a demand must say so that this allocation can pay.
    ///
    /// # Errors
    /// [`NotFound`](super::ErrorKind::NotFound) and others.
    pub async fn decorations(&self, allocation: &str) -> Result<Decorations, DaemonError> {
        let attempted = "ask how the demand is to be paid";
        let request = self.get(attempted, Part::Payment, &["demandDecorations"]);
        request.query("allocationIds", allocation).json().await
    }

    /// Waits for invoices that came after a moment, for agreements confirmed in the same session. Without any within
    /// the time the list is empty.
    ///
    /// # Errors
    /// See [`DaemonError`].
    pub async fn invoice_events(
        &self,
        session: &str,
        after: Timestamp,
        wait: Duration,
    ) -> Result<Vec<BillEvent>, DaemonError> {
        self.bill_events("wait for invoices", "invoiceEvents", session, after, wait)
            .await
    }

    /// The same for debit notes.
    ///
    /// # Errors
    /// See [`DaemonError`].
    pub async fn debit_note_events(
        &self,
        session: &str,
        after: Timestamp,
        wait: Duration,
    ) -> Result<Vec<BillEvent>, DaemonError> {
        let attempted = "wait for debit notes";
        self.bill_events(attempted, "debitNoteEvents", session, after, wait)
            .await
    }

    async fn bill_events(
        &self,
        attempted: &'static str,
        kind: &str,
        session: &str,
        after: Timestamp,
        wait: Duration,
    ) -> Result<Vec<BillEvent>, DaemonError> {
        self.get(attempted, Part::Payment, &[kind])
            .wait(wait)
            .query("afterTimestamp", &after.to_string())
            .query("maxEvents", EVENTS)
            .query("appSessionId", session)
            .json()
            .await
    }

    /// An invoice.
    ///
    /// # Errors
    /// See [`DaemonError`].
    pub async fn invoice(&self, id: &str) -> Result<Invoice, DaemonError> {
        let request = self.get("read an invoice", Part::Payment, &["invoices", id]);
        request.json().await
    }

    /// A debit note.
    ///
    /// # Errors
    /// See [`DaemonError`].
    pub async fn debit_note(&self, id: &str) -> Result<DebitNote, DaemonError> {
        let request = self.get("read a debit note", Part::Payment, &["debitNotes", id]);
        request.json().await
    }

    /// Has an invoice paid from an allocation. The amount must be exactly the invoice's. Again is no error.
    ///
    /// # Errors
    /// [`Refused`](super::ErrorKind::Refused) for another amount or too small an allocation,
    /// [`Gone`](super::ErrorKind::Gone) for one that was released, and others.
    pub async fn accept_invoice(
        &self,
        id: &str,
        amount: Amount,
        allocation: &str,
    ) -> Result<(), DaemonError> {
        let attempted = "accept an invoice";
        self.accept(attempted, "invoices", id, amount, allocation)
            .await
    }

    /// The same for a debit note.
    ///
    /// # Errors
    /// As [`Daemon::accept_invoice`].
    pub async fn accept_debit_note(
        &self,
        id: &str,
        total: Amount,
        allocation: &str,
    ) -> Result<(), DaemonError> {
        let attempted = "accept a debit note";
        self.accept(attempted, "debitNotes", id, total, allocation)
            .await
    }

    async fn accept(
        &self,
        attempted: &'static str,
        kind: &str,
        id: &str,
        amount: Amount,
        allocation: &str,
    ) -> Result<(), DaemonError> {
        let body = json!({ "totalAmountAccepted": amount, "allocationId": allocation });
        let request = self.post(attempted, Part::Payment, &[kind, id, "accept"]);
        request.body(&body).done().await
    }

    /// Says that an invoice will not be paid, as its amount is wrong. (Debit notes cannot be refused: they are left.)
    ///
    /// # Errors
    /// [`Refused`](super::ErrorKind::Refused) for one that was accepted, and others.
    pub async fn reject_invoice(&self, id: &str, message: &Untrusted) -> Result<(), DaemonError> {
        let body = json!({
            "rejectionReason": "INCORRECT_AMOUNT", "totalAmountAccepted": Amount::ZERO, "message": message.raw(),
        });
        let request = self.post(
            "reject an invoice",
            Part::Payment,
            &["invoices", id, "reject"],
        );
        request.body(&body).done().await
    }
}
