//! The market from a provider's side: offers, answers to demands, and agreements that requestors propose.

use std::time::Duration;

use serde::Deserialize;
use serde_json::json;

use super::connection::{Daemon, Part};
use super::error::{DaemonError, ErrorKind};
use super::market::{AgreedOffer, AgreementState, Declaration, Id, Proposal, Reason};
use crate::network::NodeId;

/// Something that happened to an offer.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(tag = "eventType")]
pub enum OfferEvent {
    /// A requestor answered it.
    #[serde(rename = "ProposalEvent")]
    Proposal {
        /// What it proposes.
        proposal: Proposal,
    },
    /// A requestor refused.
    #[serde(rename = "ProposalRejectedEvent", rename_all = "camelCase")]
    Rejected {
        /// Our own proposal that it refused.
        proposal_id: String,
        /// Why.
        reason: Option<Reason>,
    },
    /// A requestor wants an agreement.
    #[serde(rename = "AgreementEvent")]
    Agreement {
        /// Which.
        agreement: ProposedAgreement,
    },
    /// Something newer than this program.
    #[serde(other)]
    Other,
}

/// An agreement as its provider sees it.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ProposedAgreement {
    /// Its id.
    #[serde(rename = "agreementId")]
    pub id: String,
    /// How far it has come.
    pub state: AgreementState,
    /// What the requestor has bound itself to.
    pub demand: AgreedDemand,
    /// What we would bind ourselves to.
    pub offer: AgreedOffer,
}

/// The requestor's side of an agreement.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AgreedDemand {
    /// With whom.
    pub requestor_id: NodeId,
    /// The requestor's words.
    #[serde(flatten)]
    pub declaration: Declaration,
}

impl Daemon {
    /// Makes an offer known and answers its id.
    ///
    /// # Errors
    /// See [`DaemonError`].
    pub async fn offer(&self, offer: &Declaration) -> Result<String, DaemonError> {
        let request = self.post("publish the offer", Part::Market, &["offers"]);
        request.body(offer).json().await.map(Id::text)
    }

    /// Takes an offer back.
    ///
    /// # Errors
    /// [`NotFound`](ErrorKind::NotFound) if it has ended already, and others.
    pub async fn withdraw_offer(&self, offer: &str) -> Result<(), DaemonError> {
        let attempted = "take the offer back";
        let request = self.delete(attempted, Part::Market, &["offers", offer]);
        request.done().await
    }

    /// Waits for what happens to an offer. Each event comes once; without any within the time the list is empty.
    ///
    /// # Errors
    /// [`NotFound`](ErrorKind::NotFound) when the offer has ended, and others.
    pub async fn offer_events(
        &self,
        offer: &str,
        most: u32,
        wait: Duration,
    ) -> Result<Vec<OfferEvent>, DaemonError> {
        let path = ["offers", offer, "events"];
        self.get("wait for demands", Part::Market, &path)
            .wait(wait)
            .query("maxEvents", &most.to_string())
            .events()
            .await
    }

    /// Answers a demand with what we offer for it, and answers the id of that.
    ///
    /// # Errors
    /// [`Gone`](ErrorKind::Gone) if it was answered before, and others.
    pub async fn answer_demand(
        &self,
        offer: &str,
        proposal: &str,
        ours: &Declaration,
    ) -> Result<String, DaemonError> {
        let path = ["offers", offer, "proposals", proposal];
        let request = self.post("answer a demand", Part::Market, &path);
        request.body(ours).json().await.map(Id::text)
    }

    /// Refuses a demand; `is_final` if asking again is of no use.
    ///
    /// # Errors
    /// See [`DaemonError`].
    pub async fn refuse_demand(
        &self,
        offer: &str,
        proposal: &str,
        message: &str,
        is_final: bool,
    ) -> Result<(), DaemonError> {
        let path = ["offers", offer, "proposals", proposal, "reject"];
        let body = json!({ "message": message, "golem.proposal.rejection.is-final": is_final });
        let request = self.post("refuse a demand", Part::Market, &path);
        request.body(&body).done().await
    }

    /// Says yes to an agreement, whose bills and events belong to this session then. Returns when the requestor knows.
    ///
    /// # Errors
    /// [`Gone`](ErrorKind::Gone) if the requestor has taken it back, [`TimedOut`](ErrorKind::TimedOut) if it cannot be
    /// reached, and others.
    pub async fn approve(
        &self,
        agreement: &str,
        session: &str,
        wait: Duration,
    ) -> Result<(), DaemonError> {
        let path = ["agreements", agreement, "approve"];
        let request = self.post("approve an agreement", Part::Market, &path);
        let request = request.wait(wait).query("appSessionId", session);
        request.done().await
    }

    /// Says no to an agreement.
    ///
    /// # Errors
    /// See [`DaemonError`].
    pub async fn refuse_agreement(
        &self,
        agreement: &str,
        message: &str,
    ) -> Result<(), DaemonError> {
        let path = ["agreements", agreement, "reject"];
        let request = self.post("refuse an agreement", Part::Market, &path);
        request.body(&json!({ "message": message })).done().await
    }

    /// Ends an agreement with one of the codes that providers use, such as `NoActivity`. One that has ended already is
    /// no error.
    ///
    /// # Errors
    /// See [`DaemonError`].
    pub async fn break_agreement(
        &self,
        agreement: &str,
        code: &str,
        message: &str,
    ) -> Result<(), DaemonError> {
        let path = ["agreements", agreement, "terminate"];
        let body = json!({ "message": message, "golem.provider.code": code });
        let request = self.post("end an agreement", Part::Market, &path);
        match request.body(&body).done().await {
            Err(DaemonError {
                kind: ErrorKind::Gone,
                ..
            }) => Ok(()),
            other => other,
        }
    }
}
