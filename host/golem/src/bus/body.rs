//! Bodies of calls: FlexBuffers, the format without a schema in which the daemon's programs talk on the bus.
//!
//! Writing is the makers' own crate with serde. Reading is by hand: a body comes from a stranger, and in this format
//! places may refer to each other, so that a few bytes can stand for a tree without end. Here the tree is bounded in
//! depth, in values and in bytes, and every place is looked up with a check; the crate's reader bounds none of it and
//! panics on some.

use serde::Serialize;
use serde_json::{Number, Value};

/// Deepest tree that is accepted. Scripts of commands need eight levels.
const DEPTH: usize = 32;
/// Most values of one body.
const VALUES: usize = 100_000;
/// Most bytes of texts, keys and blobs of one body together.
const BYTES: usize = 16 << 20;

/// What a body says.
#[derive(Debug, Clone, PartialEq)]
pub enum Body {
    /// Nothing.
    Null,
    /// Yes or no.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// A whole number that is not negative.
    UInt(u64),
    /// A number.
    Float(f64),
    /// A text.
    Text(String),
    /// Bytes.
    Blob(Vec<u8>),
    /// Several, in order.
    List(Vec<Body>),
    /// Several, by name.
    Map(Vec<(String, Body)>),
}

/// Bytes that are no body.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    /// They end early, or refer to what is not there.
    #[error("the body of a message on the service bus cannot be read")]
    Malformed,
    /// They stand for more than is accepted.
    #[error("the body of a message on the service bus is too large")]
    TooLarge,
}

/// Writes a body. None for what the format cannot say.
pub fn encode(value: &impl Serialize) -> Option<Vec<u8>> {
    flexbuffers::to_vec(value).ok()
}

/// Bytes that are written as a blob.
pub(crate) struct Blob<'a>(pub(crate) &'a [u8]);

impl Serialize for Blob<'_> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(self.0)
    }
}

impl Body {
    /// Reads a body.
    ///
    /// # Errors
    /// If it is none, or stands for too much.
    pub fn read(bytes: &[u8]) -> Result<Body, BodyError> {
        let end = bytes.len();
        let [.., packed, width] = *bytes else {
            return Err(BodyError::Malformed);
        };
        let width = usize::from(width);
        if !matches!(width, 1 | 2 | 4 | 8) {
            return Err(BodyError::Malformed);
        }
        let place = end.checked_sub(2 + width).ok_or(BodyError::Malformed)?;
        let mut reading = Reading {
            bytes: &bytes[..end],
            values: VALUES,
            left: BYTES,
        };
        reading.value(place, width, packed, DEPTH)
    }

    /// The entry of a map with this name.
    pub fn get(&self, name: &str) -> Option<&Body> {
        match self {
            Body::Map(entries) => entries
                .iter()
                .find_map(|(known, value)| (known == name).then_some(value)),
            _ => None,
        }
    }

    /// A text.
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Body::Text(text) => Some(text),
            _ => None,
        }
    }

    /// A whole number that is not negative.
    pub fn as_u64(&self) -> Option<u64> {
        match self {
            Body::UInt(number) => Some(*number),
            Body::Int(number) => u64::try_from(*number).ok(),
            _ => None,
        }
    }

    /// Any number.
    pub fn as_f64(&self) -> Option<f64> {
        match self {
            Body::Float(number) => Some(*number),
            Body::Int(number) => Some(*number as f64),
            Body::UInt(number) => Some(*number as f64),
            _ => None,
        }
    }

    /// Takes the bytes of a blob.
    pub fn into_blob(self) -> Option<Vec<u8>> {
        match self {
            Body::Blob(bytes) => Some(bytes),
            _ => None,
        }
    }

    /// Takes the entry of a map with this name.
    pub fn take(self, name: &str) -> Option<Body> {
        match self {
            Body::Map(entries) => entries
                .into_iter()
                .find_map(|(known, value)| (known == name).then_some(value)),
            _ => None,
        }
    }

    /// As JSON, which has no bytes and no infinite numbers: null stands in their place.
    pub fn into_json(self) -> Value {
        match self {
            Body::Null | Body::Blob(_) => Value::Null,
            Body::Bool(value) => Value::Bool(value),
            Body::Int(number) => Value::from(number),
            Body::UInt(number) => Value::from(number),
            Body::Float(number) => Number::from_f64(number).map_or(Value::Null, Value::Number),
            Body::Text(text) => Value::String(text),
            Body::List(values) => values.into_iter().map(Body::into_json).collect(),
            Body::Map(entries) => entries
                .into_iter()
                .map(|(name, value)| (name, value.into_json()))
                .collect(),
        }
    }
}

/// A body that is being read, and how much it may still stand for.
struct Reading<'a> {
    bytes: &'a [u8],
    values: usize,
    left: usize,
}

impl Reading<'_> {
    /// The value of type `packed` that stands at `place`, or that the offset there refers to; `width` bytes.
    fn value(
        &mut self,
        place: usize,
        width: usize,
        packed: u8,
        depth: usize,
    ) -> Result<Body, BodyError> {
        self.values = self.values.checked_sub(1).ok_or(BodyError::TooLarge)?;
        let depth = depth.checked_sub(1).ok_or(BodyError::TooLarge)?;
        let inner = 1 << (packed & 3);
        let kind = packed >> 2;
        // What is short stands here; what is longer elsewhere, and here how far back.
        match kind {
            0 => return Ok(Body::Null),
            1 => return self.signed(place, width).map(Body::Int),
            2 => return self.unsigned(place, width).map(Body::UInt),
            3 => return self.float(place, width).map(Body::Float),
            26 => return Ok(Body::Bool(self.unsigned(place, width)? != 0)),
            _ => {}
        }
        let place = self.follow(place, width)?;
        match kind {
            4 => self.key(place).map(Body::Text),
            5 => {
                let length = self.length(place, inner)?;
                let bytes = self.take(place, length)?;
                let text = String::from_utf8(bytes).map_err(|_| BodyError::Malformed)?;
                Ok(Body::Text(text))
            }
            6 => self.signed(place, inner).map(Body::Int),
            7 => self.unsigned(place, inner).map(Body::UInt),
            8 => self.float(place, inner).map(Body::Float),
            9 => self.map(place, inner, depth),
            10 => {
                let length = self.length(place, inner)?;
                self.list(place, inner, length, depth)
            }
            // All of one type, which is written nowhere else.
            11..=15 => {
                let length = self.length(place, inner)?;
                self.same(place, inner, kind - 10, length, depth)
            }
            // The same with two, three and four values.
            16..=24 => {
                let length = 2 + usize::from((kind - 16) / 3);
                self.same(place, inner, 1 + (kind - 16) % 3, length, depth)
            }
            25 => {
                let length = self.length(place, inner)?;
                self.take(place, length).map(Body::Blob)
            }
            36 => {
                let length = self.length(place, inner)?;
                self.same(place, inner, 26, length, depth)
            }
            _ => Err(BodyError::Malformed),
        }
    }

    fn map(&mut self, place: usize, width: usize, depth: usize) -> Result<Body, BodyError> {
        let length = self.length(place, width)?;
        let before = |count: usize| place.checked_sub(count * width).ok_or(BodyError::Malformed);
        let keys = self.follow(before(3)?, width)?;
        let keys_width = match self.unsigned(before(2)?, width)? {
            width @ (1 | 2 | 4 | 8) => width as usize,
            _ => return Err(BodyError::Malformed),
        };
        let mut entries = Vec::new();
        for index in 0..length {
            let key = self.follow(nth(keys, index, keys_width)?, keys_width)?;
            let name = self.key(key)?;
            entries.push((name, self.element(place, width, length, index, depth)?));
        }
        Ok(Body::Map(entries))
    }

    fn list(
        &mut self,
        place: usize,
        width: usize,
        length: usize,
        depth: usize,
    ) -> Result<Body, BodyError> {
        let values = (0..length).map(|index| self.element(place, width, length, index, depth));
        values.collect::<Result<_, _>>().map(Body::List)
    }

    fn same(
        &mut self,
        place: usize,
        width: usize,
        kind: u8,
        length: usize,
        depth: usize,
    ) -> Result<Body, BodyError> {
        // A text of the old kind says nothing of its own width; nobody writes it.
        let values =
            (0..length).map(|index| self.value(nth(place, index, width)?, width, kind << 2, depth));
        values.collect::<Result<_, _>>().map(Body::List)
    }

    /// An element of a list or a map: their types stand behind them.
    fn element(
        &mut self,
        place: usize,
        width: usize,
        length: usize,
        index: usize,
        depth: usize,
    ) -> Result<Body, BodyError> {
        let packed = nth(nth(place, length, width)?, index, 1)?;
        let packed = *self.bytes.get(packed).ok_or(BodyError::Malformed)?;
        self.value(nth(place, index, width)?, width, packed, depth)
    }

    fn length(&self, place: usize, width: usize) -> Result<usize, BodyError> {
        let before = place.checked_sub(width).ok_or(BodyError::Malformed)?;
        let length = self.unsigned(before, width)?;
        let length = usize::try_from(length).map_err(|_| BodyError::Malformed)?;
        // Nothing has more elements, or bytes, than there are bytes.
        match length <= self.bytes.len() {
            true => Ok(length),
            false => Err(BodyError::Malformed),
        }
    }

    fn follow(&self, place: usize, width: usize) -> Result<usize, BodyError> {
        let offset = usize::try_from(self.unsigned(place, width)?).unwrap_or(usize::MAX);
        place.checked_sub(offset).ok_or(BodyError::Malformed)
    }

    fn key(&mut self, place: usize) -> Result<String, BodyError> {
        let rest = self.bytes.get(place..).ok_or(BodyError::Malformed)?;
        let length = rest.iter().take(self.left).position(|byte| *byte == 0);
        let bytes = self.take(place, length.ok_or(BodyError::Malformed)?)?;
        String::from_utf8(bytes).map_err(|_| BodyError::Malformed)
    }

    fn take(&mut self, place: usize, length: usize) -> Result<Vec<u8>, BodyError> {
        self.left = self.left.checked_sub(length).ok_or(BodyError::TooLarge)?;
        self.slice(place, length).map(<[u8]>::to_vec)
    }

    fn slice(&self, place: usize, length: usize) -> Result<&[u8], BodyError> {
        let end = place.checked_add(length).ok_or(BodyError::Malformed)?;
        self.bytes.get(place..end).ok_or(BodyError::Malformed)
    }

    fn unsigned(&self, place: usize, width: usize) -> Result<u64, BodyError> {
        let mut wide = [0; 8];
        let bytes = self.slice(place, width)?;
        wide[..bytes.len()].copy_from_slice(bytes);
        Ok(u64::from_le_bytes(wide))
    }

    fn signed(&self, place: usize, width: usize) -> Result<i64, BodyError> {
        let unused = 64 - 8 * width as u32;
        Ok((self.unsigned(place, width)?.cast_signed() << unused) >> unused)
    }

    fn float(&self, place: usize, width: usize) -> Result<f64, BodyError> {
        let bits = self.unsigned(place, width)?;
        match (width, u32::try_from(bits)) {
            (4, Ok(bits)) => Ok(f32::from_bits(bits).into()),
            (8, _) => Ok(f64::from_bits(bits)),
            _ => Err(BodyError::Malformed),
        }
    }
}

fn nth(place: usize, index: usize, width: usize) -> Result<usize, BodyError> {
    index
        .checked_mul(width)
        .and_then(|offset| place.checked_add(offset))
        .ok_or(BodyError::Malformed)
}

#[cfg(test)]
mod tests {
    use serde::Serialize;
    use serde_json::json;

    use super::{Blob, Body, BodyError, encode};

    #[test]
    fn what_the_makers_crate_writes_is_read() {
        for value in [
            json!(null),
            json!(true),
            json!(-1),
            json!(-70_000),
            json!(u64::MAX),
            json!(0.1),
            json!("text"),
            json!(""),
            json!([]),
            json!([1, 2, 3]),
            json!([-1, 300_000]),
            json!([1.5, 2.5]),
            json!(["a", "b"]),
            json!([true, false]),
            json!([1, "a", null, { "b": [[], {}] }]),
            json!({}),
            json!({ "b": 1, "a": { "c": "d", "e": [1, 2] }, "long": "x".repeat(70_000) }),
            json!({ "exeScript": [{ "deploy": {} }, { "run": { "entry_point": "a", "args": ["b", "c"] } }] }),
        ] {
            let bytes = encode(&value).unwrap();
            let read = Body::read(&bytes).unwrap();
            assert_eq!(sorted(read.into_json()), sorted(value));
        }
        assert_eq!(Body::read(&[0, 0, 1]), Ok(Body::Null));
    }

    /// The crate writes maps in the order of their keys.
    fn sorted(value: serde_json::Value) -> String {
        match value {
            serde_json::Value::Object(entries) => {
                let mut entries: Vec<_> = entries
                    .into_iter()
                    .map(|(name, value)| format!("{name}:{}", sorted(value)))
                    .collect();
                entries.sort();
                format!("{{{}}}", entries.join(","))
            }
            serde_json::Value::Array(values) => {
                format!("{:?}", values.into_iter().map(sorted).collect::<Vec<_>>())
            }
            other => other.to_string(),
        }
    }

    #[test]
    fn bytes_come_back() {
        #[derive(Serialize)]
        struct Chunk<'a> {
            offset: u64,
            content: Blob<'a>,
        }
        let content: Vec<u8> = (0..=255).cycle().take(40_960).collect();
        let chunk = Chunk {
            offset: 5,
            content: Blob(&content),
        };
        let read = Body::read(&encode(&chunk).unwrap()).unwrap();
        assert_eq!(read.get("offset").and_then(Body::as_u64), Some(5));
        assert_eq!(read.take("content").unwrap().into_blob().unwrap(), content);
    }

    #[test]
    fn any_bytes_are_read_or_refused() {
        let whole =
            encode(&json!({ "a": [1, "b", { "c": [1.5, -300, null] }], "d": "e" })).unwrap();
        let mut refused = 0;
        for index in 0..whole.len() {
            for byte in 0..=255 {
                let mut bytes = whole.clone();
                bytes[index] = byte;
                refused += usize::from(Body::read(&bytes).is_err());
            }
            refused += usize::from(Body::read(&whole[..index]).is_err());
        }
        assert!(refused > whole.len(), "{refused}");
    }

    #[test]
    fn a_few_bytes_do_not_stand_for_a_tree_without_end() {
        // A list of one element, which is the list itself.
        let vector = 10 << 2;
        let ring = [1, 0, vector, 2, vector, 1];
        assert_eq!(Body::read(&ring), Err(BodyError::TooLarge));

        // Lists of ten elements, each of which is the list before.
        let mut bytes = vec![0];
        let mut target = 0;
        for level in 0..8_u8 {
            let kind = if level == 0 { 0 } else { vector };
            bytes.push(10);
            let place = bytes.len();
            bytes.extend((0..10).map(|index| (place + index - target) as u8));
            bytes.extend([kind; 10]);
            target = place;
        }
        let offset = (bytes.len() - target) as u8;
        bytes.extend([offset, vector, 1]);
        assert!(bytes.len() < 256);
        assert_eq!(Body::read(&bytes), Err(BodyError::TooLarge));

        // The same with texts.
        let text = "x".repeat(200);
        let mut bytes = vec![200];
        bytes.extend(text.as_bytes());
        let place = bytes.len() + 8;
        bytes.extend(90_000_u64.to_le_bytes());
        for index in 0..90_000_u64 {
            bytes.extend((place as u64 + 8 * index - 1).to_le_bytes());
        }
        bytes.extend(vec![5 << 2; 90_000]);
        let offset = (bytes.len() - place) as u64;
        bytes.extend(offset.to_le_bytes());
        bytes.extend([(10 << 2) | 3, 8]);
        assert_eq!(Body::read(&bytes), Err(BodyError::TooLarge));
    }
}
