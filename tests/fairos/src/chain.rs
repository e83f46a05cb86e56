//! As much of a chain as FairOS-dfs asks for where names are given out already: which chain it is, who owns a name,
//! and the owner's public key.
//!
//! Giving out a name takes signed transactions and minutes of waiting for blocks. But who signs up with a mnemonic
//! that owns the name already skips all that, so this chain gives its names to accounts that it has the mnemonics of,
//! before anybody signs up. All the rest, passwords above all, is the server's own business with the Swarm node.

use std::collections::HashMap;

use serde_json::{Value, json};

use crate::keccak::keccak256;

/// The chain of FairOS-dfs's network `play`, 4020.
const ID: &str = "0xfb4";
/// The domain of names on it.
const DOMAIN: &str = "fds";
/// `owner(bytes32)` of the registry.
const OWNER: &str = "02571be3";
/// `getAll(bytes32)` of the resolver.
const ALL: &str = "ed80e1f7";

const WORD: usize = 32;
const SELECTOR: usize = 4;
/// An address is the end of a hash.
const ADDRESS: usize = 20;

/// An account that the server made up once, for nothing but this: mnemonic, and public key without its first byte.
type Account = (&'static str, &'static str);

const ACCOUNTS: [Account; 6] = [
    (
        "oven invite stable twenty globe confirm family noodle regular lava obvious check",
        "0e8aed27e16d6460181083c8f52c5d2b0e9cad120dadbd5bfe7e14924c2be3b4\
         c7e8d448f158ccd0c3b4175cdf69889194d1a507246f9dc40da99c33ddf5161a",
    ),
    (
        "forest leave fault polar advance thunder suit very neglect vicious virtual armed",
        "80bacb284b07f6ae2444d610d199831e223ce965efb16750ff5d0effdb7a53cf\
         49b02c5a931a4a10282df597ef624f8157a91760a14b8274b0356ed119fc193c",
    ),
    (
        "usage churn draw charge property simple collect virus crazy emotion recycle soup",
        "df3fe1db80bdadd95558073d526acf0fc318a05ca7efaf61de2fda12a0bed7b8\
         9da82011815fcb7381492a41ab48011ea79162280b08f05955b9e05284f334f0",
    ),
    (
        "sustain diesel game slab pattern engage proof wasp sauce finger swim bench",
        "b770aa5f7446f18bb6bd07c6e3697874879afa6c6acbdf37608b59fa904cfa97\
         ee508d5ed4b03d088e5a4bf0be2344b713057d9de9f586b71a35ce10e6adcc5d",
    ),
    (
        "acid oven aunt auto depth sleep magnet attend odor cloth siren donkey",
        "7e9b7b04c84cefa7195d223124dfc7ab806a7275b4232dd29078d67e3a2f7a7c\
         f2fd48e81a56c706253235e38f42e003a5bd6da845a66bf9c2a58b35263652aa",
    ),
    (
        "animal bless very wood marriage caught basic aware addict tag butter liar",
        "71b26c0d31518564c8dc0884cba26bac5418bae222a4e7adb7390b13f8ac2579\
         cbacf160464af4d557effa7e10374153e1feee63813eac1cbfff2d2ec2373a97",
    ),
];

/// Names that are given out.
#[derive(Default)]
pub(crate) struct Chain {
    owners: HashMap<[u8; WORD], Account>,
}

impl Chain {
    /// Gives a name to an account, and answers its mnemonic.
    ///
    /// # Panics
    ///
    /// When all accounts have one.
    pub(crate) fn give(&mut self, name: &str) -> &'static str {
        let node = node(name);
        let next = self.owners.len();
        let account = self.owners.entry(node).or_insert_with(|| {
            *ACCOUNTS.get(next).unwrap_or_else(|| {
                panic!("no account is left for {name}: a fake chain has {next}, see chain.rs")
            })
        });
        account.0
    }

    /// Answers a call of JSON-RPC.
    pub(crate) fn answer(&self, body: &[u8]) -> Value {
        let call: Value = serde_json::from_slice(body).unwrap_or_default();
        let result = match call["method"].as_str() {
            Some("eth_chainId") => Some(json!(ID)),
            Some("eth_call") => self.read(&call["params"][0]),
            _ => None,
        };
        let mut reply = json!({ "jsonrpc": "2.0", "id": call["id"] });
        match result {
            Some(result) => reply["result"] = result,
            None => {
                reply["error"] = json!({ "code": -32601, "message": "the method does not exist" });
            }
        }
        reply
    }

    fn read(&self, call: &Value) -> Option<Value> {
        let data = call["input"].as_str().or(call["data"].as_str())?;
        let data = hex::decode(data.strip_prefix("0x")?).ok()?;
        let (function, node) = data.split_at_checked(SELECTOR)?;
        let owner = self.owners.get(node);
        let key =
            owner.map(|(_, key)| hex::decode(key).expect("it is written down in hexadecimal"));
        let words = match hex::encode(function).as_str() {
            OWNER => vec![key.map_or([0; WORD], |key| address(&key))],
            ALL => everything(&key.unwrap_or(vec![0; 2 * WORD])),
            _ => return None,
        };
        Some(json!(format!("0x{}", hex::encode(words.concat()))))
    }
}

/// Address, content, offset of an empty multihash, both halves of the key, offset of an empty name, their lengths.
fn everything(key: &[u8]) -> Vec<[u8; WORD]> {
    let number = |number: u8| {
        let mut word = [0; WORD];
        word[WORD - 1] = number;
        word
    };
    let half = |half: &[u8]| half.try_into().expect("a key has two halves");
    let (x, y) = key.split_at(WORD);
    let zero = [0; WORD];
    vec![
        address(key),
        zero,
        number(6 * WORD as u8),
        half(x),
        half(y),
        number(7 * WORD as u8),
        zero,
        zero,
    ]
}

fn address(key: &[u8]) -> [u8; WORD] {
    let mut word = keccak256(key);
    word[..WORD - ADDRESS].fill(0);
    word
}

/// What a name is called on the chain.
fn node(name: &str) -> [u8; WORD] {
    [DOMAIN, name].iter().fold([0; WORD], |node, label| {
        keccak256(&[node, keccak256(label.as_bytes())].concat())
    })
}

#[cfg(test)]
mod tests {
    use super::{Chain, address, node};

    #[test]
    fn the_address_of_an_account_is_the_one_that_the_server_made() {
        let key = hex::decode(super::ACCOUNTS[0].1).unwrap();
        assert_eq!(
            hex::encode(&address(&key)[12..]),
            "d7c0fc94a21feae94d50eb95b47b173302525096"
        );
    }

    #[test]
    fn a_name_has_one_owner_and_an_unknown_one_has_none() {
        let mut chain = Chain::default();
        let alice = chain.give("alice");
        assert_ne!(chain.give("bob"), alice);
        assert_eq!(chain.give("alice"), alice);

        let owner = |name: &str| {
            let data = format!("0x{}{}", super::OWNER, hex::encode(node(name)));
            let call = serde_json::json!({
                "method": "eth_call", "id": 1, "params": [{ "data": data }, "latest"],
            });
            let reply = chain.answer(call.to_string().as_bytes());
            reply["result"].as_str().unwrap().to_owned()
        };
        assert!(owner("alice").ends_with("d7c0fc94a21feae94d50eb95b47b173302525096"));
        assert_ne!(owner("bob"), owner("alice"));
        assert_eq!(owner("carol"), format!("0x{}", "00".repeat(32)));
    }
}
