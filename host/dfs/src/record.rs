//! The record behind a sharing reference.
//!
//! FairOS uploads a small JSON object, keys in a fixed order, no white space; the sharing reference is the Swarm
//! reference of exactly these bytes. The same record therefore always has the same reference, and a store that keeps
//! no Swarm chunks can hand out references of the same kind.

use std::fmt;

use serde::Serialize;
use serde::ser::Serializer;
use sovr_capability::Untrusted;

use crate::swarm::{self, Reference};

/// What a sharing reference stands for.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ShareRecord {
    /// The name the owner gave the pod. A stranger's text to whoever receives it.
    pub pod_name: String,
    /// The pod's own address.
    pub pod_address: Address,
    /// Whoever has it can read the pod.
    pub password: PodPassword,
    /// The owner's address.
    pub user_address: Address,
}

impl ShareRecord {
    /// The sharing reference.
    pub fn reference(&self) -> Reference {
        let json = serde_json::to_vec(self).expect("strings under fixed keys always serialise");
        swarm::reference_of(&json)
    }
}

/// What a sharing reference says about itself to whoever has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShareInfo {
    /// The name the owner gave the pod.
    pub pod_name: Untrusted,
    /// The pod's own address.
    pub pod_address: Address,
    /// The owner's address.
    pub user_address: Address,
}

/// An Ethereum-style address, 20 bytes; written as 40 hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Address(pub [u8; 20]);

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl Address {
    /// From 40 hexadecimal digits, with `0x` before them or without.
    pub(crate) fn from_digits(text: &str) -> Option<Address> {
        let mut bytes = [0; 20];
        let digits = text.strip_prefix("0x").unwrap_or(text);
        let decoded = hex::decode_to_slice(digits, &mut bytes);
        decoded.is_ok().then_some(Address(bytes))
    }
}

impl Serialize for Address {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// The secret that a pod's metadata is encrypted under. Written only into a [`ShareRecord`], never displayed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct PodPassword(pub [u8; 32]);

impl fmt::Debug for PodPassword {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PodPassword(…)")
    }
}

impl Serialize for PodPassword {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&hex::encode(self.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes<const N: usize>(digits: &str) -> [u8; N] {
        let mut bytes = [0; N];
        hex::decode_to_slice(digits, &mut bytes).unwrap();
        bytes
    }

    /// A pod shared on a real FairOS server, and the reference which that server answered.
    #[test]
    fn the_reference_is_the_one_a_fairos_server_gives() {
        let record = ShareRecord {
            pod_name: "p1".to_owned(),
            pod_address: Address(bytes("7c415de0ec5d2f04cb4f4b721a7bfdadc2fec0bc")),
            password: PodPassword(bytes(
                "6f4831526141414241796e634b42366830513041373837594941475153526c56",
            )),
            user_address: Address(bytes("4b0d6ecfa4e15503e8b7d4d2bae6a632437cce5e")),
        };
        assert_eq!(
            record.reference().to_string(),
            "33d22077dc2933cc45bef129f2ec0c807f38c8e913537a3aee5c3627fb58d500"
        );
    }

    #[test]
    fn the_password_is_not_displayed() {
        let shown = format!("{:?}", PodPassword([0x5a; 32]));
        assert!(!shown.contains("5a") && !shown.contains("90"), "{shown}");
    }
}
