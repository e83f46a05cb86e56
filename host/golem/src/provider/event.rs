//! What happens while work is provided, told to whoever watches.

use serde::Serialize;
use sovr_capability::{Amount, Untrusted};

use crate::network::NodeId;
use crate::price::Usage;

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(
    tag = "event",
    rename_all = "kebab-case",
    rename_all_fields = "kebab-case"
)]
pub enum Event {
    /// Requestors can see the offer.
    Offered {
        /// On behalf of this node.
        node: NodeId,
        /// Its id at the daemon.
        offer: String,
    },
    /// An agreement has ended that a provider had left which was killed. Its bill follows.
    LeftEnded {
        /// Its id.
        agreement: String,
    },
    /// A requestor was told no.
    Refused {
        /// Who asked.
        requestor: NodeId,
        /// What it was told.
        reason: String,
    },
    /// An agreement is in force.
    AgreementBegan {
        /// Its id.
        agreement: String,
        /// With whom.
        requestor: NodeId,
    },
    /// An activity takes batches.
    ActivityBegan {
        /// Under which agreement.
        agreement: String,
        /// Its id.
        activity: String,
    },
    /// A batch is over.
    BatchEnded {
        /// Of which activity.
        activity: String,
        /// Commands that were done.
        commands: usize,
        /// Why it failed, if it did.
        failure: Option<Untrusted>,
    },
    /// A call was refused, because it is not the requestor's.
    CallerRefused {
        /// Of which activity.
        activity: String,
        /// Who called.
        caller: Untrusted,
    },
    /// An activity has ended.
    ActivityEnded {
        /// Under which agreement.
        agreement: String,
        /// Its id.
        activity: String,
        /// What it used.
        usage: Usage,
        /// What that costs.
        cost: Amount,
    },
    /// A debit note was sent.
    DebitNoteSent {
        /// For which activity.
        activity: String,
        /// What is owed since it began.
        total: Amount,
    },
    /// The last bill of an agreement, the invoice, was sent.
    InvoiceSent {
        /// Which agreement.
        agreement: String,
        /// Its id.
        invoice: String,
        /// How much.
        amount: Amount,
    },
    /// The last bill of an agreement will be paid.
    InvoiceAccepted {
        /// The invoice.
        invoice: String,
    },
    /// An agreement has ended.
    AgreementEnded {
        /// Its id.
        agreement: String,
        /// A code, as `Success` or `NoActivity`; empty if there is none.
        code: Untrusted,
        /// More about it.
        reason: Untrusted,
    },
    /// Something did not work. It is tried again where that helps.
    Trouble {
        /// What, and why.
        problem: String,
    },
}

/// Who watches. Must not block.
pub trait Observer: Send + Sync {
    /// This happened.
    fn observe(&self, event: &Event);
}

impl<F: Fn(&Event) + Send + Sync> Observer for F {
    fn observe(&self, event: &Event) {
        self(event);
    }
}
