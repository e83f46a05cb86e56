//! What is open at the daemon, written down so that a later run can end what a crash left.
//!
//! A session is one demand of one job with everything that came of it. Its id is known before anything is opened and goes
//! with every agreement, so a crash between opening a thing and writing it down loses nothing: [`super::cleanup()`] asks the
//! daemon for what belongs to the session. For the same reason an allocation is written down before it is made, with the
//! moment at which it would end, by which it is found again.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sovr_capability::Amount;

use crate::network::NodeId;

/// Keeps the changes of sessions. Its calls may block: they are made on threads that may.
///
/// An implementation appends each change and may forget a session after [`Change::SessionClosed`]. It also has to know
/// which sessions belong to processes that live, for those are not to be cleaned up.
pub trait Journal: Send + Sync {
    /// Writes a change down, durably. What it tells of is done only after it was written, where the change's
    /// description says so.
    ///
    /// # Errors
    /// In words, if it is not written. Before something is opened that is a reason not to; after something was closed
    /// it is a reason to close it again some time.
    fn record(&self, session: &str, change: &Change) -> Result<(), String>;
}

/// Something that changed at the daemon.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(
    tag = "change",
    rename_all = "kebab-case",
    rename_all_fields = "kebab-case"
)]
pub enum Change {
    /// Always the first. Told before anything else is done.
    SessionOpened {
        /// The identity that pays: cleaning up needs an app-key for the same.
        node: NodeId,
        /// When.
        at: Timestamp,
    },
    /// Money will be set aside. Told before.
    AllocationWanted {
        /// How much.
        amount: Amount,
        /// The payment platform.
        platform: String,
        /// When the allocation ends by itself; no other has the same.
        timeout: Timestamp,
    },
    /// It was not, for certain. Told after.
    AllocationRefused,
    /// Money was set aside. Told after.
    AllocationOpened {
        /// The allocation's id.
        id: String,
    },
    /// It was given back. Told after.
    AllocationClosed {
        /// The allocation's id.
        id: String,
    },
    /// A demand was published. Told after.
    DemandOpened {
        /// Its id.
        id: String,
    },
    /// It was taken back. Told after.
    DemandClosed {
        /// Its id.
        id: String,
    },
    /// An agreement exists. Told before the provider hears of it.
    AgreementOpened {
        /// Its id.
        id: String,
        /// With whom.
        provider: NodeId,
    },
    /// This much may be accepted for an agreement in all. Told as soon as it is known, which may be a moment after.
    Ceiling {
        /// The agreement's id.
        agreement: String,
        /// Most that may be accepted for it.
        most: Amount,
    },
    /// An agreement has ended, and its bill is settled. Told after.
    AgreementClosed {
        /// Its id.
        id: String,
        /// What was accepted for it in all.
        accepted: Amount,
    },
    /// An activity was started. Told after.
    ActivityOpened {
        /// Its id.
        id: String,
        /// Its agreement.
        agreement: String,
    },
    /// It has ended. Told after.
    ActivityClosed {
        /// Its id.
        id: String,
    },
    /// Nothing is open any more. Always the last.
    SessionClosed,
}

/// A journal for who wants none: what a crash leaves is then left to time.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoJournal;

impl Journal for NoJournal {
    fn record(&self, _session: &str, _change: &Change) -> Result<(), String> {
        Ok(())
    }
}

/// An allocation that was begun.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenAllocation {
    /// None if nobody wrote down what became of it.
    pub id: Option<String>,
    /// How much.
    pub amount: Amount,
    /// The payment platform.
    pub platform: String,
    /// When it ends by itself.
    pub timeout: Timestamp,
}

/// An agreement that was not ended or whose bill was not settled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenAgreement {
    /// With whom.
    pub provider: NodeId,
    /// Most that may be accepted for it; nothing if no ceiling was written down.
    pub ceiling: Amount,
}

/// What is left of a session: its changes, played again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenSession {
    /// Its id.
    pub id: String,
    /// The identity that pays.
    pub node: NodeId,
    /// When it began.
    pub at: Timestamp,
    /// What was set aside and not given back.
    pub allocation: Option<OpenAllocation>,
    /// Demands that were not taken back.
    pub demands: BTreeSet<String>,
    /// Agreements that are not settled, by id.
    pub agreements: BTreeMap<String, OpenAgreement>,
    /// Agreements that are. The daemon goes on to list them.
    pub settled: BTreeSet<String>,
    /// Activities that have not ended, with their agreements.
    pub activities: BTreeMap<String, String>,
}

impl OpenSession {
    pub(super) fn new(id: &str, node: &NodeId, at: Timestamp) -> Self {
        Self {
            id: id.to_owned(),
            node: node.clone(),
            at,
            allocation: None,
            demands: BTreeSet::new(),
            agreements: BTreeMap::new(),
            settled: BTreeSet::new(),
            activities: BTreeMap::new(),
        }
    }

    /// What the changes of a session, in their order, have left. None if it was closed, or never began.
    #[must_use]
    pub fn replay<'a>(id: &str, changes: impl IntoIterator<Item = &'a Change>) -> Option<Self> {
        let mut changes = changes.into_iter();
        let Some(Change::SessionOpened { node, at }) = changes.next() else {
            return None;
        };
        let mut session = Self::new(id, node, *at);
        for change in changes {
            if *change == Change::SessionClosed {
                return None;
            }
            session.apply(change);
        }
        Some(session)
    }

    /// Whether nothing is left of it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.allocation.is_none()
            && self.demands.is_empty()
            && self.agreements.is_empty()
            && self.activities.is_empty()
    }

    pub(super) fn apply(&mut self, change: &Change) {
        match change {
            Change::SessionOpened { .. } | Change::SessionClosed => {}
            Change::AllocationWanted {
                amount,
                platform,
                timeout,
            } => {
                self.allocation = Some(OpenAllocation {
                    id: None,
                    amount: *amount,
                    platform: platform.clone(),
                    timeout: *timeout,
                });
            }
            Change::AllocationOpened { id } => {
                if let Some(allocation) = &mut self.allocation {
                    allocation.id = Some(id.clone());
                }
            }
            Change::AllocationRefused | Change::AllocationClosed { .. } => self.allocation = None,
            Change::DemandOpened { id } => {
                self.demands.insert(id.clone());
            }
            Change::DemandClosed { id } => {
                self.demands.remove(id);
            }
            Change::AgreementOpened { id, provider } => {
                let agreement = OpenAgreement {
                    provider: provider.clone(),
                    ceiling: Amount::ZERO,
                };
                self.agreements.insert(id.clone(), agreement);
            }
            Change::Ceiling { agreement, most } => {
                if let Some(agreement) = self.agreements.get_mut(agreement) {
                    agreement.ceiling = *most;
                }
            }
            Change::AgreementClosed { id, .. } => {
                self.agreements.remove(id);
                self.settled.insert(id.clone());
                self.activities.retain(|_, agreement| agreement != id);
            }
            Change::ActivityOpened { id, agreement } => {
                self.activities.insert(id.clone(), agreement.clone());
            }
            Change::ActivityClosed { id } => {
                self.activities.remove(id);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Change, OpenSession};
    use crate::network::NodeId;

    #[test]
    fn what_was_closed_is_not_open_any_more() {
        let node = NodeId::from_bytes([7; 20]);
        let text = str::to_owned;
        let glm = |text: &str| text.parse().unwrap();
        let at = "2026-11-21T12:00:00Z".parse().unwrap();
        let mut changes = vec![
            Change::SessionOpened {
                node: node.clone(),
                at,
            },
            Change::AllocationWanted {
                amount: glm("5"),
                platform: text("erc20-holesky-tglm"),
                timeout: at,
            },
            Change::DemandOpened { id: text("d1") },
            Change::DemandOpened { id: text("d2") },
            Change::DemandClosed { id: text("d1") },
        ];
        for agreement in ["a1", "a2"] {
            changes.push(Change::AgreementOpened {
                id: text(agreement),
                provider: node.clone(),
            });
            changes.push(Change::ActivityOpened {
                id: format!("activity of {agreement}"),
                agreement: text(agreement),
            });
            for most in ["1", "0.5"] {
                changes.push(Change::Ceiling {
                    agreement: text(agreement),
                    most: glm(most),
                });
            }
        }
        changes.push(Change::AgreementClosed {
            id: text("a1"),
            accepted: glm("0.25"),
        });
        // As a journal would keep them.
        let kept = serde_json::to_string(&changes).unwrap();
        let kept: Vec<Change> = serde_json::from_str(&kept).unwrap();
        assert_eq!(kept, changes);

        let open = OpenSession::replay("s", &kept).unwrap();
        assert_eq!(open.demands.iter().collect::<Vec<_>>(), ["d2"]);
        assert_eq!(open.agreements.keys().collect::<Vec<_>>(), ["a2"]);
        assert_eq!(open.settled.iter().collect::<Vec<_>>(), ["a1"]);
        assert_eq!(open.agreements["a2"].ceiling, glm("0.5"));
        assert_eq!(
            open.activities.keys().collect::<Vec<_>>(),
            ["activity of a2"]
        );
        let allocation = open.allocation.unwrap();
        assert_eq!((allocation.id, allocation.amount), (None, glm("5")));

        changes.push(Change::SessionClosed);
        assert_eq!(OpenSession::replay("s", &changes), None);
    }
}
