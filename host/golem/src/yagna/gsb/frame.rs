//! What goes over the WebSocket: maps in FlexBuffers, a call and its answer.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::bus::Body;

/// A call of another node.
pub(super) struct Call {
    /// Ties the answer to it.
    pub(super) id: String,
    pub(super) method: String,
    pub(super) payload: Payload,
}

/// The body of a call, of which nothing is known to be there.
pub(in crate::yagna) struct Payload(Option<Body>);

/// Why a call is not answered, as the caller is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::yagna) struct Refusal {
    /// One of the names that the method's errors have.
    pub(in crate::yagna) kind: &'static str,
    /// In words.
    pub(in crate::yagna) text: String,
}

impl Payload {
    /// A number in it.
    pub(in crate::yagna) fn number(&self, key: &str) -> Option<u64> {
        self.0.as_ref()?.get(key)?.as_u64()
    }

    /// A text in it.
    pub(in crate::yagna) fn text(&self, key: &str) -> Option<&str> {
        self.0.as_ref()?.get(key)?.as_text()
    }

    /// Takes bytes in it.
    pub(in crate::yagna) fn into_bytes(self, key: &str) -> Option<Vec<u8>> {
        self.0?.take(key)?.into_blob()
    }

    /// Takes a map in it.
    pub(in crate::yagna) fn into_inner(self, key: &str) -> Payload {
        Payload(self.0.and_then(|map| map.take(key)))
    }
}

/// Reads a call; none if it is something else.
pub(super) fn read(frame: &[u8]) -> Option<Call> {
    let frame = Body::read(frame).ok()?;
    let text = |key| frame.get(key)?.as_text().map(str::to_owned);
    Some(Call {
        id: text("id")?,
        method: text("component")?,
        payload: Payload(frame.take("payload")),
    })
}

#[derive(Serialize)]
struct Answer<'a, T> {
    id: &'a str,
    payload: T,
}

#[derive(Serialize)]
struct Failure<'a> {
    id: &'a str,
    error: BTreeMap<&'a str, &'a str>,
}

/// The answer to the call with this id.
pub(super) fn answer<T: Serialize>(id: &str, answer: Result<T, Refusal>) -> Vec<u8> {
    let frame = match answer {
        Ok(payload) => flexbuffers::to_vec(Answer { id, payload }),
        Err(refusal) => flexbuffers::to_vec(Failure {
            id,
            error: BTreeMap::from([(refusal.kind, refusal.text.as_str())]),
        }),
    };
    frame.expect("maps of numbers, texts and bytes can be written")
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::{Refusal, answer, read};

    #[test]
    fn a_call_is_read_as_the_daemon_writes_it() {
        let frame = json!({
            "id": "7", "component": "UploadChunk", "payload": { "chunk": { "offset": 5 }, "hash": "h" },
        });
        let frame = flexbuffers::to_vec(&frame).unwrap();
        let call = read(&frame).unwrap();
        assert_eq!((&*call.id, &*call.method), ("7", "UploadChunk"));
        assert_eq!(call.payload.text("hash"), Some("h"));
        // Nothing is what it is not.
        assert_eq!(call.payload.number("hash"), None);
        let payload = || read(&frame).unwrap().payload;
        assert_eq!(payload().into_inner("chunk").number("offset"), Some(5));
        assert_eq!(payload().into_bytes("hash"), None);
        assert_eq!(payload().into_inner("hash").text("hash"), None);
        assert_eq!(payload().into_inner("none").number("offset"), None);
    }

    #[test]
    fn what_is_no_call_is_not_read() {
        let frame = json!({ "id": "7", "component": "GetMetadata", "payload": null });
        let whole = flexbuffers::to_vec(&frame).unwrap();
        assert!(read(&whole).is_some());
        for value in [
            json!(null),
            json!({ "id": 7 }),
            json!({ "id": "7" }),
            json!([1, 2]),
        ] {
            assert!(
                read(&flexbuffers::to_vec(&value).unwrap()).is_none(),
                "{value}"
            );
        }
    }

    #[test]
    fn an_answer_names_its_call() {
        let decoded = |frame: Vec<u8>| flexbuffers::from_slice::<Value>(&frame).unwrap();
        assert_eq!(
            decoded(answer("7", Ok(json!({ "fileSize": 1 })))),
            json!({ "id": "7", "payload": { "fileSize": 1 } })
        );
        let refusal = Refusal {
            kind: "ReadError",
            text: "no".to_owned(),
        };
        assert_eq!(
            decoded(answer::<()>("8", Err(refusal))),
            json!({ "id": "8", "error": { "ReadError": "no" } })
        );
    }
}
