//! As much of a blockchain as a daemon asks for where nothing is ever paid: which chain it is, and who has what.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use sovr_test_support::http::{Listener, Response};

/// Holesky.
const ID: u64 = 17_000;
const BLOCK: u64 = 1;
/// A balance with the block that it is of, in one call.
const BALANCE: &str = "0x863e0a02";
/// In whole tGLM, before [`FakeChain::set_balance`].
const FUNDS: u64 = 1000;
/// The smallest unit in one, of tGLM as of the chain's own currency.
const ONE: u128 = 10u128.pow(18);
const WORD: usize = 32;

/// A chain on which every account has the same balance: 1,000 tGLM, and as much of the chain's own currency.
pub struct FakeChain {
    listener: Listener,
    balance: Arc<AtomicU64>,
}

impl FakeChain {
    /// Starts on a free port.
    ///
    /// # Panics
    ///
    /// Where there is no port.
    pub fn start() -> FakeChain {
        let balance = Arc::new(AtomicU64::new(FUNDS));
        let told = Arc::clone(&balance);
        let listener = Listener::start(move |request| {
            let call: Value = serde_json::from_slice(&request.body).unwrap_or_default();
            let balance = u128::from(told.load(Ordering::Relaxed)) * ONE;
            let reply = match &call {
                Value::Array(calls) => calls.iter().map(|call| answer(call, balance)).collect(),
                call => answer(call, balance),
            };
            Response {
                status: 200,
                content_type: "application/json",
                body: reply.to_string().into_bytes(),
                cut: None,
            }
        });
        let listener = listener.unwrap_or_else(|error| panic!("no chain: {error}"));
        FakeChain { listener, balance }
    }

    /// Where it answers JSON-RPC.
    pub fn url(&self) -> String {
        format!("http://{}", self.listener.address())
    }

    /// What every account has from now on, in whole tGLM.
    pub fn set_balance(&self, glm: u64) {
        self.balance.store(glm, Ordering::Relaxed);
    }
}

/// Answers a call of JSON-RPC.
fn answer(call: &Value, balance: u128) -> Value {
    let result = match call["method"].as_str() {
        Some("eth_chainId") => Some(hex_number(ID)),
        Some("eth_blockNumber") => Some(hex_number(BLOCK)),
        Some("eth_getBalance") => Some(json!(format!("0x{}", hex::encode(number(balance))))),
        Some("eth_getBlockByNumber") => Some(block()),
        Some("eth_call") => read(&call["params"][0], balance),
        _ => None,
    };
    let mut reply = json!({ "jsonrpc": "2.0", "id": call["id"] });
    match result {
        Some(result) => reply["result"] = result,
        None => reply["error"] = json!({ "code": -32601, "message": "the method does not exist" }),
    }
    reply
}

/// One tuple: chain, block, its time, what there is of the chain's own currency, and bytes that hold how much of tGLM.
fn read(call: &Value, balance: u128) -> Option<Value> {
    let data = call["input"].as_str().or(call["data"].as_str())?;
    if !data.starts_with(BALANCE) {
        return None;
    }
    let word = WORD as u128;
    let words = [
        word,
        ID.into(),
        BLOCK.into(),
        now().into(),
        balance,
        5 * word,
        word,
        balance,
    ];
    let words: Vec<_> = words.into_iter().map(number).collect();
    Some(json!(format!("0x{}", hex::encode(words.concat()))))
}

fn block() -> Value {
    let nothing = |bytes: usize| format!("0x{}", "00".repeat(bytes));
    json!({
        "number": hex_number(BLOCK), "timestamp": hex_number(now()), "hash": nothing(32), "parentHash": nothing(32),
        "sha3Uncles": nothing(32), "miner": nothing(20), "stateRoot": nothing(32), "transactionsRoot": nothing(32),
        "receiptsRoot": nothing(32), "gasUsed": "0x0", "gasLimit": "0x0", "baseFeePerGas": "0x1", "extraData": "0x",
        "logsBloom": nothing(256), "difficulty": "0x0", "totalDifficulty": "0x0", "size": "0x0", "uncles": [],
        "transactions": [],
    })
}

fn hex_number(number: u64) -> Value {
    json!(format!("{number:#x}"))
}

fn number(number: u128) -> [u8; WORD] {
    let mut word = [0; WORD];
    word[WORD / 2..].copy_from_slice(&number.to_be_bytes());
    word
}

fn now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}
