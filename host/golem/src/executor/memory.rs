//! What a job remembers of the providers it met.
//!
//! A provider that spoils one task after another is not asked again. A command that fails, or takes too long, may be
//! the task's own fault; it is held against the provider only once another one has done the same task.

use std::collections::{BTreeSet, HashMap};

use crate::network::{NodeId, Provider};

/// Spoiled tries in a row after which a provider is set aside for the rest of the job.
const MOST_SPOILED: u32 = 3;

#[derive(Default)]
pub(crate) struct Memory {
    records: HashMap<NodeId, Record>,
    worked: BTreeSet<NodeId>,
}

#[derive(Default)]
struct Record {
    name: String,
    spoiled_in_a_row: u32,
    set_aside: Option<String>,
    refused: Option<String>,
}

impl Memory {
    /// A try succeeded there.
    pub(crate) fn did_well(&mut self, provider: &Provider) {
        self.record(provider).spoiled_in_a_row = 0;
    }

    /// A try failed there, and that was the provider's fault.
    pub(crate) fn spoiled(&mut self, provider: &Provider, reason: &str) {
        let record = self.record(provider);
        record.spoiled_in_a_row += 1;
        if record.spoiled_in_a_row >= MOST_SPOILED && record.set_aside.is_none() {
            record.set_aside = Some(format!(
                "failed {MOST_SPOILED} times in a row, the last time: {reason}"
            ));
        }
    }

    /// It is not to be asked again.
    pub(crate) fn set_aside(&mut self, provider: &Provider, reason: &str) {
        self.record(provider)
            .set_aside
            .get_or_insert_with(|| reason.to_owned());
    }

    /// It did not agree, which it may do another time.
    pub(crate) fn refused(&mut self, provider: &Provider, reason: &str) {
        self.record(provider).refused = Some(reason.to_owned());
    }

    /// It took part in the work.
    pub(crate) fn worked(&mut self, provider: &Provider) {
        self.worked.insert(provider.id.clone());
    }

    /// Different providers that took part.
    pub(crate) fn workers(&self) -> u64 {
        self.worked.len() as u64
    }

    pub(crate) fn is_set_aside(&self, provider: &NodeId) -> bool {
        self.records
            .get(provider)
            .is_some_and(|record| record.set_aside.is_some())
    }

    /// How much is held against it at the moment.
    pub(crate) fn spoiled_in_a_row(&self, provider: &NodeId) -> u32 {
        self.records
            .get(provider)
            .map_or(0, |record| record.spoiled_in_a_row)
    }

    /// Who was set aside or refused, and why, in sentences.
    pub(crate) fn reasons(&self) -> Vec<String> {
        let mut reasons: Vec<_> = self.records.values().filter_map(Record::reason).collect();
        reasons.sort();
        reasons
    }

    fn record(&mut self, provider: &Provider) -> &mut Record {
        self.records
            .entry(provider.id.clone())
            .or_insert_with(|| Record {
                name: provider.name.clone(),
                ..Record::default()
            })
    }
}

impl Record {
    fn reason(&self) -> Option<String> {
        let name = &self.name;
        match (&self.set_aside, &self.refused) {
            (Some(reason), _) => Some(format!("{name} is not asked again: {reason}")),
            (None, Some(reason)) => Some(format!("{name} did not agree: {reason}")),
            (None, None) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn provider() -> Provider {
        Provider {
            id: NodeId::from_bytes([7; 20]),
            name: "seven".to_owned(),
        }
    }

    #[test]
    fn three_failures_in_a_row_set_a_provider_aside() {
        let mut memory = Memory::default();
        memory.spoiled(&provider(), "gone");
        memory.spoiled(&provider(), "gone");
        memory.did_well(&provider());
        memory.spoiled(&provider(), "gone");
        memory.spoiled(&provider(), "gone");
        assert!(!memory.is_set_aside(&provider().id));
        memory.spoiled(&provider(), "gone again");
        assert!(memory.is_set_aside(&provider().id));
        assert_eq!(
            memory.reasons(),
            ["seven is not asked again: failed 3 times in a row, the last time: gone again"]
        );
    }
}
