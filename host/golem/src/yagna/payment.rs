//! Money: allocations, which set it aside, and the bills that are paid from them.

use std::time::Duration;

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};
use sovr_capability::{Amount, Untrusted};

use super::connection::{Daemon, Part};
use super::error::{DaemonError, ErrorKind};
use super::feed::Dated;
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

impl Dated for BillEvent {
    fn moment(&self) -> Timestamp {
        self.event_date
    }

    fn key(&self) -> String {
        format!("{} {}", self.event_type, self.id)
    }
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

/// Why a payment does not come through.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PaymentProblem {
    /// What it is.
    pub kind: PaymentProblemKind,
    /// The payment driver that has it.
    pub driver: Untrusted,
    /// On which payment network, unless it concerns all of them.
    pub network: Option<Untrusted>,
    /// How much is missing, in the network's own currency or the token; for the kinds that lack something.
    #[serde(alias = "neededGasEst", alias = "neededTokenEst")]
    pub needed: Option<Untrusted>,
    /// The account that cannot sign, for that kind.
    pub address: Option<Untrusted>,
}

/// The kinds of [`PaymentProblem`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub enum PaymentProblemKind {
    /// The account cannot pay the fees.
    InsufficientGas,
    /// The account has too few of the token.
    InsufficientToken,
    /// A payment is for a network that the daemon is not set up for.
    InvalidChainId,
    /// The daemon has not got the account's key, or it is locked.
    CantSign,
    /// A payment was sent and is not confirmed.
    TxStuck,
    /// The payment network's servers do not answer.
    RpcError,
    /// Something newer than this program.
    #[serde(other)]
    Unknown,
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

    /// What keeps payments from coming through, of the given driver on the given network.
    ///
    /// # Errors
    /// [`NoAccount`](super::ErrorKind::NoAccount) if the daemon has no such driver or network, and others.
    pub async fn payment_problems(
        &self,
        driver: &str,
        network: &str,
    ) -> Result<Vec<PaymentProblem>, DaemonError> {
        let attempted = "ask how payments are going";
        let request = self.get(attempted, Part::Payment, &["payments", "status"]);
        let request = request.query("driver", driver).query("network", network);
        request
            .json()
            .await
            .map_err(|error: DaemonError| match error.kind {
                ErrorKind::NotFound => DaemonError {
                    kind: ErrorKind::NoAccount,
                    ..error
                },
                _ => error,
            })
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
            .events()
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{PaymentProblem, PaymentProblemKind as Kind};

    #[test]
    fn problems_of_every_kind_are_read() {
        for (told, kind, needed) in [
            (
                json!({ "kind": "InsufficientGas", "driver": "erc20", "network": "polygon", "neededGasEst": "0.1" }),
                Kind::InsufficientGas,
                Some("0.1"),
            ),
            (
                json!({ "kind": "InsufficientToken", "driver": "erc20", "network": "polygon", "neededTokenEst": "7" }),
                Kind::InsufficientToken,
                Some("7"),
            ),
            (
                json!({ "kind": "InvalidChainId", "driver": "erc20", "chainId": 4 }),
                Kind::InvalidChainId,
                None,
            ),
            (
                json!({ "kind": "CantSign", "driver": "erc20", "network": "polygon", "address": "0x1" }),
                Kind::CantSign,
                None,
            ),
            (
                json!({ "kind": "TxStuck", "driver": "erc20", "network": "polygon" }),
                Kind::TxStuck,
                None,
            ),
            (
                json!({ "kind": "RpcError", "driver": "erc20", "network": "polygon" }),
                Kind::RpcError,
                None,
            ),
            (
                json!({ "kind": "NewerThanThis", "driver": "erc20", "more": [] }),
                Kind::Unknown,
                None,
            ),
        ] {
            let read: PaymentProblem = serde_json::from_value(told).unwrap();
            assert_eq!((read.kind, read.driver.raw()), (kind, "erc20"));
            assert_eq!(
                read.needed.as_ref().map(|needed| needed.raw()),
                needed,
                "{kind:?}"
            );
        }
    }
}
