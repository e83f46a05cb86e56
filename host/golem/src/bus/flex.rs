//! Reads FlexBuffers that a stranger may have written.
//!
//! The makers' own reader takes offsets on trust and panics where they lead outside (25.12, seen in the tests of this
//! module's users); it is fine for writing. Here everything that is not there, or not what it is taken for, is none.
//! Only what occurs on the bus is read: maps, texts, bytes, whole numbers.

/// Types, as they are written.
const INT: u8 = 1;
const UINT: u8 = 2;
const STRING: u8 = 5;
const INDIRECT_INT: u8 = 6;
const INDIRECT_UINT: u8 = 7;
const MAP: u8 = 9;
const BLOB: u8 = 25;

/// A value somewhere in a buffer. Nothing is known of it before it is read.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Flex<'a> {
    buffer: &'a [u8],
    /// Where it stands, or how far before this place it does.
    place: usize,
    /// Bytes of what is there.
    width: usize,
    kind: u8,
    /// Bytes of the numbers in it, if it stands elsewhere.
    inner: usize,
}

impl<'a> Flex<'a> {
    /// The value that a whole buffer is.
    pub(crate) fn root(buffer: &'a [u8]) -> Option<Flex<'a>> {
        let (rest, width) = buffer.split_last().map(|(last, rest)| (rest, *last))?;
        let packed = *rest.last()?;
        if ![1, 2, 4, 8].contains(&width) {
            return None;
        }
        let width = usize::from(width);
        Some(Flex {
            buffer,
            place: (buffer.len() - 2).checked_sub(width)?,
            width,
            kind: packed >> 2,
            inner: 1 << (packed & 3),
        })
    }

    /// What a map has under this name.
    pub(crate) fn get(&self, name: &str) -> Option<Flex<'a>> {
        let map = self.target(MAP)?;
        let length = self.before(map, 1)?;
        let keys = map.checked_sub(3 * self.inner)?;
        let keys = keys.checked_sub(self.number_at(keys, self.inner)?)?;
        let key_width = self.before(map, 2)?;
        for index in 0..length {
            let key = keys.checked_add(index.checked_mul(key_width)?)?;
            let key = key.checked_sub(self.number_at(key, key_width)?)?;
            let rest = self.buffer.get(key..)?.strip_prefix(name.as_bytes());
            if rest.is_none_or(|rest| rest.first() != Some(&0)) {
                continue;
            }
            let values = length.checked_mul(self.inner)?;
            let kinds = map.checked_add(values)?;
            let packed = *self.buffer.get(kinds.checked_add(index)?)?;
            return Some(Flex {
                buffer: self.buffer,
                place: map + index * self.inner,
                width: self.inner,
                kind: packed >> 2,
                inner: 1 << (packed & 3),
            });
        }
        None
    }

    /// A whole number that is not negative.
    pub(crate) fn number(&self) -> Option<u64> {
        let (place, width) = match self.kind {
            INT | UINT => (self.place, self.width),
            INDIRECT_INT | INDIRECT_UINT => (self.target(self.kind)?, self.inner),
            _ => return None,
        };
        let number = self.wide_at(place, width)?;
        let is_negative = number >> (8 * width - 1) == 1;
        (!is_negative || matches!(self.kind, UINT | INDIRECT_UINT)).then_some(number)
    }

    /// A text.
    pub(crate) fn text(&self) -> Option<&'a str> {
        std::str::from_utf8(self.content(STRING)?).ok()
    }

    /// Bytes.
    pub(crate) fn bytes(&self) -> Option<&'a [u8]> {
        self.content(BLOB)
    }

    fn content(&self, kind: u8) -> Option<&'a [u8]> {
        let start = self.target(kind)?;
        let length = self.before(start, 1)?;
        self.buffer.get(start..start.checked_add(length)?)
    }

    /// Where it stands, if it is of this kind, which stands elsewhere.
    fn target(&self, kind: u8) -> Option<usize> {
        if self.kind != kind {
            return None;
        }
        let back = self.number_at(self.place, self.width)?;
        self.place.checked_sub(back)
    }

    /// The number that stands so many numbers before a place.
    fn before(&self, place: usize, count: usize) -> Option<usize> {
        self.number_at(place.checked_sub(count * self.inner)?, self.inner)
    }

    fn number_at(&self, place: usize, width: usize) -> Option<usize> {
        usize::try_from(self.wide_at(place, width)?).ok()
    }

    /// The least significant byte first.
    fn wide_at(&self, place: usize, width: usize) -> Option<u64> {
        if !matches!(width, 1 | 2 | 4 | 8) {
            return None;
        }
        let bytes = self.buffer.get(place..place.checked_add(width)?)?;
        let number = bytes.iter().rev();
        Some(number.fold(0, |number, byte| number << 8 | u64::from(*byte)))
    }
}

#[cfg(test)]
mod tests {
    use serde::{Serialize, Serializer};
    use serde_json::json;

    use super::Flex;

    #[derive(Serialize)]
    struct Everything {
        small: u8,
        large: u64,
        below: i32,
        text: &'static str,
        long: String,
        #[serde(serialize_with = "as_blob")]
        bytes: Vec<u8>,
        map: Inner,
    }

    #[derive(Serialize)]
    struct Inner {
        small: u64,
    }

    fn as_blob<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(bytes)
    }

    fn everything(length: usize) -> Vec<u8> {
        let everything = Everything {
            small: 7,
            large: u64::MAX,
            below: -1,
            text: "text",
            long: "x".repeat(length),
            bytes: vec![9; length],
            map: Inner { small: 8 },
        };
        flexbuffers::to_vec(everything).unwrap()
    }

    #[test]
    fn what_was_written_is_read() {
        // Lengths that make offsets of one, two and four bytes.
        for length in [0, 3, 300, 100_000] {
            let buffer = everything(length);
            let root = Flex::root(&buffer).unwrap();
            let get = |name| root.get(name).unwrap();
            assert_eq!(get("small").number(), Some(7));
            assert_eq!(get("large").number(), Some(u64::MAX));
            assert_eq!(get("below").number(), None);
            assert_eq!(get("text").text(), Some("text"));
            assert_eq!(get("long").text().unwrap().len(), length);
            assert_eq!(get("bytes").bytes(), Some(&vec![9; length][..]));
            assert_eq!(get("map").get("small").unwrap().number(), Some(8));
            // Nothing is what it is not.
            assert!(root.get("smal").is_none() && root.get("smaller").is_none());
            assert_eq!((get("text").bytes(), get("bytes").text()), (None, None));
            assert!(get("text").number().is_none() && get("small").get("small").is_none());
        }
    }

    #[test]
    fn nothing_that_is_written_ends_a_reader() {
        let visit = |buffer: &[u8]| {
            let Some(root) = Flex::root(buffer) else {
                return;
            };
            for name in ["small", "large", "below", "text", "long", "bytes", "map"] {
                if let Some(value) = root.get(name) {
                    let _ = (
                        value.number(),
                        value.text(),
                        value.bytes(),
                        value.get("small"),
                    );
                }
            }
        };
        let whole = everything(3);
        for place in 0..whole.len() {
            visit(&whole[..place]);
            for byte in 0..=255 {
                let mut other = whole.clone();
                other[place] = byte;
                visit(&other);
            }
        }
        let other = json!([1, "a", { "small": [] }, null, -3.5]);
        visit(&flexbuffers::to_vec(other).unwrap());
    }
}
