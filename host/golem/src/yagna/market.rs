//! The market: demands, proposals and agreements.

use std::fmt;
use std::time::Duration;

use jiff::Timestamp;
use serde::de::{Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use sovr_capability::Untrusted;

use super::connection::{Daemon, Part};
use super::error::{DaemonError, ErrorKind};
use super::feed::Dated;
use crate::network::{NodeId, TerminateReason};

/// What a demand or an offer says of itself and wants of the other.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Declaration {
    /// Dotted names with their values.
    pub properties: Map<String, Value>,
    /// What the other's properties must be: `(&(golem.runtime.name=vm)…)`.
    pub constraints: String,
}

/// Something that happened to a demand.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(tag = "eventType")]
pub enum DemandEvent {
    /// An offer matches, or a provider answered.
    #[serde(rename = "ProposalEvent")]
    Proposal {
        /// What it proposes.
        proposal: Proposal,
    },
    /// A provider refused.
    #[serde(rename = "ProposalRejectedEvent", rename_all = "camelCase")]
    Rejected {
        /// Our own proposal that it refused.
        proposal_id: String,
        /// Why.
        reason: Option<Reason>,
    },
    /// Something newer than this program.
    #[serde(other)]
    Other,
}

/// What a provider proposes.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Proposal {
    /// Its id.
    #[serde(rename = "proposalId")]
    pub id: String,
    /// Who proposes.
    pub issuer_id: NodeId,
    /// How far it has come.
    pub state: ProposalState,
    /// Our own proposal that it answers.
    pub prev_proposal_id: Option<String>,
    /// The provider's words.
    #[serde(flatten)]
    pub declaration: Declaration,
}

/// How far a proposal has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub enum ProposalState {
    /// An offer as it was published.
    Initial,
    /// An answer to a proposal of ours.
    Draft,
    /// It was refused.
    Rejected,
    /// An agreement was made of it.
    Accepted,
    /// It is too old.
    Expired,
    /// Something newer than this program.
    #[serde(other)]
    Unknown,
}

/// Why somebody refused or ended something. Beside the message the daemon passes on whatever the other side wrote: what
/// is not as it should be counts as not written.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reason {
    /// In words.
    pub message: Untrusted,
    /// A provider's code, such as `DebitNotesDeadline`.
    pub provider_code: Option<Untrusted>,
    /// A requestor's code, such as `Cancelled`.
    pub requestor_code: Option<Untrusted>,
    /// Whether asking the same provider again is of no use.
    pub is_final: Option<bool>,
}

impl<'de> Deserialize<'de> for Reason {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(ReasonVisitor)
    }
}

struct ReasonVisitor;

impl<'de> Visitor<'de> for ReasonVisitor {
    type Value = Reason;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a reason")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Reason, A::Error> {
        let mut reason = Reason::default();
        while let Some(name) = map.next_key::<String>()? {
            match (name.as_str(), map.next_value()?) {
                ("message", Word::Text(text)) => reason.message = text,
                ("golem.provider.code", Word::Text(text)) => reason.provider_code = Some(text),
                ("golem.requestor.code", Word::Text(text)) => reason.requestor_code = Some(text),
                ("golem.proposal.rejection.is-final", Word::Truth(truth)) => {
                    reason.is_final = Some(truth);
                }
                _ => {}
            }
        }
        Ok(reason)
    }
}

/// A stranger's value. What is neither a text nor a truth is passed over, however deep it is.
enum Word {
    Text(Untrusted),
    Truth(bool),
    Other,
}

impl<'de> Deserialize<'de> for Word {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(WordVisitor)
    }
}

struct WordVisitor;

impl<'de> Visitor<'de> for WordVisitor {
    type Value = Word;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("anything")
    }

    fn visit_str<E>(self, text: &str) -> Result<Word, E> {
        Ok(Word::Text(Untrusted::new(text)))
    }

    fn visit_bool<E>(self, truth: bool) -> Result<Word, E> {
        Ok(Word::Truth(truth))
    }

    fn visit_u64<E>(self, _: u64) -> Result<Word, E> {
        Ok(Word::Other)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Word, E> {
        Ok(Word::Other)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Word, E> {
        Ok(Word::Other)
    }

    fn visit_unit<E>(self) -> Result<Word, E> {
        Ok(Word::Other)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Word, A::Error> {
        while list.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Word::Other)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Word, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Word::Other)
    }
}

/// An agreement.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Agreement {
    /// Its id.
    #[serde(rename = "agreementId")]
    pub id: String,
    /// How far it has come.
    pub state: AgreementState,
    /// What the provider has bound itself to.
    pub offer: AgreedOffer,
    /// Until when it can be approved.
    pub valid_to: Timestamp,
}

/// The provider's side of an agreement.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AgreedOffer {
    /// With whom.
    pub provider_id: NodeId,
    /// The provider's words.
    #[serde(flatten)]
    pub declaration: Declaration,
}

/// How far an agreement has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub enum AgreementState {
    /// Made here.
    Proposal,
    /// The provider has it.
    Pending,
    /// Taken back before an answer.
    Cancelled,
    /// The provider refused.
    Rejected,
    /// In force.
    Approved,
    /// There was no answer in time.
    Expired,
    /// It has ended.
    Terminated,
    /// Something newer than this program.
    #[serde(other)]
    Unknown,
}

/// An agreement in a list.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AgreementEntry {
    /// Its id.
    pub id: String,
    /// When it was made.
    pub timestamp: Timestamp,
    /// When the provider said yes, if it did.
    pub approved_date: Option<Timestamp>,
    /// Which side of it is ours.
    pub role: Side,
}

/// A demand in a list.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DemandEntry {
    /// Its id.
    #[serde(rename = "demandId")]
    pub id: String,
    /// When it was made known.
    pub timestamp: Timestamp,
}

/// Something that happened to an agreement.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AgreementEvent {
    /// When; the next call asks for what came after this.
    pub event_date: Timestamp,
    /// To which.
    pub agreement_id: String,
    /// What.
    #[serde(rename = "eventType")]
    pub kind: AgreementEventKind,
    /// Who ended it, if somebody did.
    pub terminator: Option<Side>,
    /// Why.
    pub reason: Option<Reason>,
}

impl Dated for AgreementEvent {
    fn moment(&self) -> Timestamp {
        self.event_date
    }

    fn key(&self) -> String {
        format!("{:?} {}", self.kind, self.agreement_id)
    }
}

/// What happened to an agreement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub enum AgreementEventKind {
    /// The provider said yes.
    #[serde(rename = "AgreementApprovedEvent")]
    Approved,
    /// The provider said no.
    #[serde(rename = "AgreementRejectedEvent")]
    Rejected,
    /// It was taken back.
    #[serde(rename = "AgreementCancelledEvent")]
    Cancelled,
    /// Somebody ended it.
    #[serde(rename = "AgreementTerminatedEvent")]
    Terminated,
    /// Something newer than this program.
    #[serde(other)]
    Unknown,
}

/// A side of an agreement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub enum Side {
    /// We.
    Requestor,
    /// The other.
    Provider,
}

/// Ids come as a text, or as the only field of an object.
#[derive(Deserialize)]
#[serde(untagged)]
pub(super) enum Id {
    Text(String),
    #[serde(rename_all = "camelCase")]
    Object {
        #[serde(
            alias = "activityId",
            alias = "agreementId",
            alias = "proposalId",
            alias = "subscriptionId",
            alias = "batchId"
        )]
        id: String,
    },
}

impl Id {
    pub(super) fn text(self) -> String {
        match self {
            Id::Text(id) | Id::Object { id } => id,
        }
    }
}

impl Daemon {
    /// Makes a demand known and answers its id. A constraint with a mistake in it is no error and never matches.
    ///
    /// # Errors
    /// See [`DaemonError`].
    pub async fn publish(&self, demand: &Declaration) -> Result<String, DaemonError> {
        let request = self.post("publish the demand", Part::Market, &["demands"]);
        request.body(demand).json().await.map(Id::text)
    }

    /// The demands that are known to the market.
    ///
    /// # Errors
    /// See [`DaemonError`].
    pub async fn demands(&self) -> Result<Vec<DemandEntry>, DaemonError> {
        let request = self.get("list the demands", Part::Market, &["demands"]);
        request.json().await
    }

    /// Takes a demand back.
    ///
    /// # Errors
    /// [`NotFound`](ErrorKind::NotFound) if it has ended already, and others.
    pub async fn withdraw(&self, demand: &str) -> Result<(), DaemonError> {
        let attempted = "take the demand back";
        let request = self.delete(attempted, Part::Market, &["demands", demand]);
        request.done().await
    }

    /// Waits for what happens to a demand. Each event comes once; without any within the time the list is empty.
    ///
    /// # Errors
    /// [`NotFound`](ErrorKind::NotFound) when the demand has ended, and others.
    pub async fn demand_events(
        &self,
        demand: &str,
        most: u32,
        wait: Duration,
    ) -> Result<Vec<DemandEvent>, DaemonError> {
        let path = ["demands", demand, "events"];
        self.get("wait for offers", Part::Market, &path)
            .wait(wait)
            .query("maxEvents", &most.to_string())
            .events()
            .await
    }

    /// Answers a proposal with one of ours, and answers its id.
    ///
    /// # Errors
    /// [`Gone`](ErrorKind::Gone) if it was answered before, and others.
    pub async fn counter(
        &self,
        demand: &str,
        proposal: &str,
        ours: &Declaration,
    ) -> Result<String, DaemonError> {
        let path = ["demands", demand, "proposals", proposal];
        let request = self.post("answer an offer", Part::Market, &path);
        request.body(ours).json().await.map(Id::text)
    }

    /// Refuses a proposal.
    ///
    /// # Errors
    /// See [`DaemonError`].
    pub async fn refuse(
        &self,
        demand: &str,
        proposal: &str,
        message: &str,
    ) -> Result<(), DaemonError> {
        let path = ["demands", demand, "proposals", proposal, "reject"];
        let request = self.post("refuse an offer", Part::Market, &path);
        request.body(&json!({ "message": message })).done().await
    }

    /// Makes an agreement of a provider's answer, which nobody knows of yet, and answers its id.
    ///
    /// # Errors
    /// [`Conflict`](ErrorKind::Conflict) if there is one already, and others.
    pub async fn create_agreement(
        &self,
        proposal: &str,
        valid_to: Timestamp,
    ) -> Result<String, DaemonError> {
        let body = json!({ "proposalId": proposal, "validTo": valid_to });
        let request = self.post("make an agreement", Part::Market, &["agreements"]);
        request.body(&body).json().await.map(Id::text)
    }

    /// Sends an agreement to the provider. Its bills and events belong to this session then.
    ///
    /// # Errors
    /// [`Gone`](ErrorKind::Gone) if it is not new any more, and others.
    pub async fn confirm(&self, agreement: &str, session: &str) -> Result<(), DaemonError> {
        let path = ["agreements", agreement, "confirm"];
        let request = self.post("confirm an agreement", Part::Market, &path);
        request.query("appSessionId", session).done().await
    }

    /// Waits for the provider's answer. Returns if it is yes.
    ///
    /// # Errors
    /// [`Gone`](ErrorKind::Gone) if it is no, [`TimedOut`](ErrorKind::TimedOut) if there is none yet, and others.
    pub async fn await_approval(&self, agreement: &str, wait: Duration) -> Result<(), DaemonError> {
        let path = ["agreements", agreement, "wait"];
        let request = self.post("wait for the provider's approval", Part::Market, &path);
        request.wait(wait).done().await
    }

    /// Takes an agreement back that the provider has not answered.
    ///
    /// # Errors
    /// [`Gone`](ErrorKind::Gone) if it is too late, and others.
    pub async fn cancel(&self, agreement: &str, message: &str) -> Result<(), DaemonError> {
        let path = ["agreements", agreement, "cancel"];
        let request = self.post("take an agreement back", Part::Market, &path);
        request.body(&json!({ "message": message })).done().await
    }

    /// Ends an agreement. One that has ended already is no error.
    ///
    /// # Errors
    /// [`Conflict`](ErrorKind::Conflict) before it is approved, and others.
    pub async fn terminate(
        &self,
        agreement: &str,
        reason: &TerminateReason,
    ) -> Result<(), DaemonError> {
        let (code, message) = match reason {
            TerminateReason::Success => ("Success", "the work is done"),
            TerminateReason::Cancelled(message) => ("Cancelled", message.as_str()),
            // There is no code for it that official requestors use.
            TerminateReason::Failed(message) => ("Cancelled", message.as_str()),
        };
        self.end_agreement(agreement, code, message).await
    }

    /// The same with any of the codes that requestors use, such as `TooManyDebitNotes`.
    ///
    /// # Errors
    /// As [`Daemon::terminate`].
    pub async fn end_agreement(
        &self,
        agreement: &str,
        code: &str,
        message: &str,
    ) -> Result<(), DaemonError> {
        let path = ["agreements", agreement, "terminate"];
        let body = json!({ "message": message, "golem.requestor.code": code });
        let request = self.post("end an agreement", Part::Market, &path);
        match request.body(&body).done().await {
            Err(DaemonError {
                kind: ErrorKind::Gone,
                ..
            }) => Ok(()),
            other => other,
        }
    }

    /// An agreement.
    ///
    /// # Errors
    /// See [`DaemonError`].
    pub async fn agreement(&self, id: &str) -> Result<Agreement, DaemonError> {
        let attempted = "look at an agreement";
        let request = self.get(attempted, Part::Market, &["agreements", id]);
        request.json().await
    }

    /// The agreements of a session, in whatever state.
    ///
    /// # Errors
    /// See [`DaemonError`].
    pub async fn agreements(&self, session: &str) -> Result<Vec<AgreementEntry>, DaemonError> {
        let request = self.get("list the agreements", Part::Market, &["agreements"]);
        request.query("appSessionId", session).json().await
    }

    /// The agreements that are in force, of every session of this identity.
    ///
    /// # Errors
    /// See [`DaemonError`].
    pub async fn agreements_in_force(&self) -> Result<Vec<AgreementEntry>, DaemonError> {
        let request = self.get("list the agreements", Part::Market, &["agreements"]);
        request.query("state", "Approved").json().await
    }

    /// Waits for what happens to the agreements of a session after a moment. Without anything within the time the list
    /// is empty.
    ///
    /// # Errors
    /// See [`DaemonError`].
    pub async fn agreement_events(
        &self,
        session: &str,
        after: Timestamp,
        wait: Duration,
    ) -> Result<Vec<AgreementEvent>, DaemonError> {
        let attempted = "wait for news of agreements";
        self.get(attempted, Part::Market, &["agreementEvents"])
            .wait(wait)
            .query("afterTimestamp", &after.to_string())
            .query("maxEvents", "100")
            .query("appSessionId", session)
            .events()
            .await
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{AgreementEvent, DemandEvent, Reason};
    use crate::yagna::offer::OfferEvent;

    /// As the daemon passes on what the other side wrote beside its message.
    fn odd(message: &str) -> serde_json::Value {
        json!({
            "message": message, "golem.proposal.rejection.is-final": "no", "golem.requestor.code": 5,
            "golem.provider.code": { "why": ["not"] }, "more": [null, -1.5],
        })
    }

    fn said(message: &str) -> Reason {
        Reason {
            message: message.into(),
            ..Reason::default()
        }
    }

    #[test]
    fn a_reason_with_odd_extras_is_read_for_its_words() {
        let refused = json!({
            "eventType": "ProposalRejectedEvent", "eventDate": "2026-11-20T23:46:40Z", "proposalId": "p",
            "reason": odd("no"),
        });
        let event: DemandEvent = serde_json::from_value(refused.clone()).unwrap();
        let expected = DemandEvent::Rejected {
            proposal_id: "p".to_owned(),
            reason: Some(said("no")),
        };
        assert_eq!(event, expected);
        let event: OfferEvent = serde_json::from_value(refused).unwrap();
        let expected = OfferEvent::Rejected {
            proposal_id: "p".to_owned(),
            reason: Some(said("no")),
        };
        assert_eq!(event, expected);
        let ended = json!({
            "eventType": "AgreementTerminatedEvent", "eventDate": "2026-11-20T23:46:40Z", "agreementId": "a",
            "terminator": "Requestor", "reason": odd("over"),
        });
        let event: AgreementEvent = serde_json::from_value(ended).unwrap();
        assert_eq!(event.reason, Some(said("over")));
        let wordless: Reason = serde_json::from_value(json!({ "message": null })).unwrap();
        assert_eq!(wordless, Reason::default());
    }

    #[test]
    fn the_end_of_an_agreement_is_heard_however_deep_its_reason_is() {
        let deep = format!("{}{}", "[".repeat(500), "]".repeat(500));
        for name in ["more", "golem.requestor.code", "message"] {
            let event = format!(
                r#"{{"eventType":"AgreementTerminatedEvent","eventDate":"2026-11-20T23:46:40Z","agreementId":"a",
                    "terminator":"Provider","reason":{{"{name}":{deep},"golem.provider.code":"Shutdown"}}}}"#
            );
            let event: AgreementEvent = serde_json::from_str(&event).unwrap();
            let reason = event.reason.unwrap();
            assert_eq!(reason.provider_code, Some("Shutdown".into()), "{name}");
        }
    }
}
