//! The pods that a user received, by the names that the user gave them.
//!
//! The server's own list takes no name of more than one character, so this is a list of our own, a small file in a
//! pod of the user's: it follows the user to other machines, and what it names is read by reference. On servers of
//! the older dialect it also holds the references of what the user shares: they would give another each time.

use serde::{Deserialize, Serialize};
use sovr_capability::Untrusted;

use crate::{PodName, Reference};

/// The pod that holds the list. Shown to nobody.
pub(super) const POD: &str = "ReceivedPods";
/// The file.
pub(super) const FILE: &str = "/received.json";
/// Most bytes of it: more than ten thousand pods.
pub(super) const MAX: u64 = 4 << 20;

#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Received {
    pods: Vec<Line>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    shared: Vec<Line>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Line {
    name: String,
    reference: String,
}

impl Received {
    /// # Errors
    /// If it is not such a list. It is not to be written again then: it may be a later version's.
    pub(super) fn from_json(json: &[u8]) -> Result<Received, String> {
        let list: Received = serde_json::from_slice(json).map_err(|error| {
            format!(
                "the list of received pods in {POD}{FILE} cannot be read (line {}, column {})",
                error.line(),
                error.column()
            )
        })?;
        for line in list.pods.iter().chain(&list.shared) {
            if line.name.parse::<PodName>().is_err() || line.reference.parse::<Reference>().is_err()
            {
                return Err(format!(
                    "the list of received pods in {POD}{FILE} names {}, which is no pod with a reference",
                    Untrusted::new(line.name.as_str()).escaped()
                ));
            }
        }
        Ok(list)
    }

    pub(super) fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec_pretty(self).expect("strings always serialise")
    }

    pub(super) fn pods(&self) -> impl Iterator<Item = (PodName, Reference)> {
        self.pods
            .iter()
            .filter_map(|line| Some((line.name.parse().ok()?, line.reference.parse().ok()?)))
    }

    pub(super) fn add(&mut self, name: &PodName, reference: &Reference) {
        self.pods.push(Line {
            name: name.to_string(),
            reference: reference.to_string(),
        });
    }

    /// What a pod of the user's was shared as.
    pub(super) fn shared(&self, name: &PodName) -> Option<Reference> {
        let line = self.shared.iter().find(|line| line.name == name.as_str())?;
        line.reference.parse().ok()
    }

    pub(super) fn set_shared(&mut self, name: &PodName, reference: Option<&Reference>) {
        self.shared.retain(|line| line.name != name.as_str());
        self.shared.extend(reference.map(|reference| Line {
            name: name.to_string(),
            reference: reference.to_string(),
        }));
    }

    pub(super) fn remove(&mut self, name: &PodName) {
        self.pods.retain(|line| line.name != name.as_str());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_comes_back_and_a_spoilt_one_is_refused() {
        let name: PodName = "theirs".parse().unwrap();
        let reference = Reference::from_bytes([7; 32]);
        let mut list = Received::default();
        list.add(&name, &reference);
        let again = Received::from_json(&list.to_json()).unwrap();
        assert_eq!(
            again.pods().collect::<Vec<_>>(),
            [(name.clone(), reference)]
        );
        assert_eq!(again.shared(&name), None);
        list.set_shared(&name, Some(&Reference::from_bytes([8; 32])));
        list.set_shared(&name, Some(&reference));
        let mut again = Received::from_json(&list.to_json()).unwrap();
        assert_eq!(again.shared(&name), Some(reference));
        assert_eq!(again.pods().count(), 1);
        again.set_shared(&name, None);
        assert_eq!(again.shared(&name), None);
        for spoilt in [
            "",
            "[]",
            r#"{"pods":[{"name":"../x","reference":"00"}]}"#,
            r#"{"pods":[{"name":"a","reference":"00"}]}"#,
            r#"{"pods":[],"shared":[{"name":"a","reference":"00"}]}"#,
        ] {
            assert!(Received::from_json(spoilt.as_bytes()).is_err(), "{spoilt}");
        }
    }
}
