//! Swarm references, computed without a Swarm node.
//!
//! A reference names content by what it is: whoever has the bytes can compute it, and whoever fetched bytes can
//! check them. Content is cut into chunks of 4096 bytes. A chunk's address is the Keccak-256 of its *span* (bytes
//! of content below it, 8 bytes little-endian) and the root of a binary Merkle tree over its 32-byte segments.
//! Addresses are packed by 128 into chunks of the next level until one address is left; that is the reference.
//! This is the plain form: not encrypted, no redundancy.
//!
//! The chunks of content do not depend on each other, so many at a time are hashed on all cores.

mod chunk;

use std::fmt;
use std::str::FromStr;

use rayon::prelude::*;

/// Bytes of a hash, and of a leaf of the tree inside a chunk.
const SEGMENT: usize = 32;
/// Most bytes of a chunk's payload.
const CHUNK: usize = 4096;
/// Addresses that fill a chunk.
const BRANCHES: usize = CHUNK / SEGMENT;
/// From so many chunks at once on it is worth waking the other cores: about a millisecond of work for one of them.
const PARALLEL: usize = 32;
/// Chunks whose addresses are in memory before they are packed.
const BATCH: usize = 8 * BRANCHES;

/// A hash, as an address of a chunk.
type Hash = [u8; SEGMENT];

/// The address of content in Swarm: 32 bytes, written as 64 hexadecimal digits. That of encrypted content has its key
/// behind it, and twice as many; it cannot be computed, only handed on.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Reference {
    address: Hash,
    key: Option<Hash>,
}

/// A text that is not a [`Reference`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "not a Swarm reference: 64 hexadecimal digits are needed, or 128 for encrypted content, but {why}"
)]
pub struct ReferenceError {
    why: String,
}

impl Reference {
    /// The reference of these 32 bytes.
    pub fn from_bytes(bytes: [u8; 32]) -> Reference {
        Reference {
            address: bytes,
            key: None,
        }
    }

    /// A reference to encrypted content: its address and its key.
    pub fn encrypted(address: [u8; 32], key: [u8; 32]) -> Reference {
        Reference {
            address,
            key: Some(key),
        }
    }

    /// Its 32 bytes, or 64 of encrypted content.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = self.address.to_vec();
        bytes.extend(self.key.iter().flatten());
        bytes
    }
}

impl FromStr for Reference {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Reference, ReferenceError> {
        const DIGITS: usize = 2 * SEGMENT;
        let hash = |digits: &[u8]| {
            let mut bytes = [0; SEGMENT];
            hex::decode_to_slice(digits, &mut bytes).map_err(|_| ReferenceError {
                why: "there are other characters".to_owned(),
            })?;
            Ok(bytes)
        };
        match text.as_bytes().split_at_checked(DIGITS) {
            Some((address, [])) => Ok(Reference::from_bytes(hash(address)?)),
            Some((address, key)) if key.len() == DIGITS => {
                Ok(Reference::encrypted(hash(address)?, hash(key)?))
            }
            _ => Err(ReferenceError {
                why: format!("there are {} bytes of text", text.len()),
            }),
        }
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.to_bytes()))
    }
}

impl fmt::Debug for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Reference({self})")
    }
}

/// The reference of bytes in memory.
pub fn reference_of(data: &[u8]) -> Reference {
    let mut hasher = Hasher::default();
    hasher.update(data);
    hasher.finish()
}

/// Computes a reference from a stream of bytes, in memory that grows with the logarithm of its length.
#[derive(Debug, Default)]
pub struct Hasher {
    /// The chunk that is being filled.
    data: Vec<u8>,
    /// Addresses that wait for their chunk to become full, lowest level first.
    levels: Vec<Level>,
}

/// An unfinished chunk of addresses.
#[derive(Debug, Default)]
struct Level {
    addresses: Vec<u8>,
    /// Bytes of content below these addresses.
    span: u64,
}

impl Level {
    fn count(&self) -> usize {
        self.addresses.len() / SEGMENT
    }

    fn push(&mut self, address: Hash, span: u64) {
        self.addresses.extend_from_slice(&address);
        self.span += span;
    }

    /// The address under which all of this is known one level up. A single address is not wrapped again.
    fn close(self) -> (Hash, u64) {
        let address = match Hash::try_from(self.addresses.as_slice()) {
            Ok(single) => single,
            Err(_) => chunk::address(&self.addresses, self.span),
        };
        (address, self.span)
    }
}

impl Hasher {
    /// More bytes. Large pieces are hashed by all cores.
    pub fn update(&mut self, mut bytes: &[u8]) {
        if !self.data.is_empty() {
            let (now, later) = bytes.split_at(bytes.len().min(CHUNK - self.data.len()));
            self.data.extend_from_slice(now);
            bytes = later;
            if self.data.len() < CHUNK {
                return;
            }
            self.close_data();
        }
        let (chunks, rest) = bytes.as_chunks::<CHUNK>();
        let address = |chunk: &[u8; CHUNK]| chunk::address(chunk, CHUNK as u64);
        for batch in chunks.chunks(BATCH) {
            let addresses: Vec<Hash> = if batch.len() < PARALLEL {
                batch.iter().map(address).collect()
            } else {
                batch.par_iter().map(address).collect()
            };
            for address in addresses {
                self.push(address, CHUNK as u64);
            }
        }
        self.data.extend_from_slice(rest);
    }

    /// The reference of all bytes given.
    pub fn finish(mut self) -> Reference {
        if !self.data.is_empty() || self.levels.is_empty() {
            self.close_data();
        }
        let mut carried: Option<(Hash, u64)> = None;
        for mut level in self.levels {
            if let Some((address, span)) = carried {
                level.push(address, span);
            }
            // A level is empty after its chunk became full, and stays so if nothing is left below it.
            carried = (level.count() > 0).then(|| level.close()).or(carried);
        }
        match carried {
            Some((root, _)) => Reference::from_bytes(root),
            None => unreachable!("the data was closed into the lowest level"),
        }
    }

    fn close_data(&mut self) {
        let span = self.data.len() as u64;
        let address = chunk::address(&self.data, span);
        self.data.clear();
        self.push(address, span);
    }

    /// One more chunk of content.
    fn push(&mut self, mut address: Hash, mut span: u64) {
        for height in 0.. {
            if self.levels.len() == height {
                self.levels.push(Level::default());
            }
            self.levels[height].push(address, span);
            if self.levels[height].count() < BRANCHES {
                break;
            }
            (address, span) = std::mem::take(&mut self.levels[height]).close();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The data of Bee's own vectors: bytes that count up modulo 255.
    fn sequence(length: usize) -> Vec<u8> {
        (0..length).map(|index| (index % 255) as u8).collect()
    }

    fn hex_of(data: &[u8]) -> String {
        reference_of(data).to_string()
    }

    #[test]
    fn known_references_of_short_content() {
        for (data, reference) in [
            (
                "",
                "b34ca8c22b9e982354f9c7f50b470d66db428d880c8a904d5fe4ec9713171526",
            ),
            (
                "hello world",
                "92672a471f4419b255d7cb0cf313474a6f5856fb347c5ece85fb706d644b630f",
            ),
            (
                "foo",
                "2387e8e7d8a48c2a9339c97c1dc3461a9a7aa07e994c5cb8b38fd7c1b3e6ea48",
            ),
            (
                "greaterthanspan",
                "27913f1bdb6e8e52cbd5a5fd4ab577c857287edf6969b41efe926b51de0f4f23",
            ),
        ] {
            assert_eq!(hex_of(data.as_bytes()), reference, "{data:?}");
        }
    }

    /// The vectors of Bee's splitter, with a lone last chunk at each level among them.
    #[test]
    fn known_references_of_long_content() {
        for (length, reference) in [
            (
                31,
                "ece86edb20669cc60d142789d464d57bdf5e33cb789d443f608cbd81cfa5697d",
            ),
            (
                4096,
                "c10090961e7682a10890c334d759a28426647141213abda93b096b892824d2ef",
            ),
            (
                4127,
                "91699c83ed93a1f87e326a29ccd8cc775323f9e7260035a5f014c975c5f3cd28",
            ),
            (
                8192,
                "29a5fb121ce96194ba8b7b823a1f9c6af87e1791f824940a53b5a7efe3f790d9",
            ),
            (
                524_288,
                "3047d841077898c26bbe6be652a2ec590a5d9bd7cd45d290ea42511b48753c09",
            ),
            (
                524_319,
                "e5c76afa931e33ac94bce2e754b1bb6407d07f738f67856783d93934ca8fc576",
            ),
            (
                528_384,
                "b8e1804e37a064d28d161ab5f256cc482b1423d5cd0a6b30fde7b0f51ece9199",
            ),
            (
                532_480,
                "59de730bf6c67a941f3b2ffa2f920acfaa1713695ad5deea12b4a121e5f23fa1",
            ),
        ] {
            assert_eq!(hex_of(&sequence(length)), reference, "{length} bytes");
        }
    }

    /// Bee's longest vector: three levels of addresses, and a lone last chunk that moves up through all of them.
    #[test]
    fn known_reference_of_64_mib_and_a_bit() {
        let mut hasher = Hasher::default();
        let data = sequence(255 * 4096);
        let mut left = 67_108_896;
        while left > 0 {
            let now = left.min(data.len());
            hasher.update(&data[..now]);
            left -= now;
        }
        let reference = hasher.finish().to_string();
        assert_eq!(
            reference,
            "ed0cc44c93b14fef2d91ab3a3674eeb6352a42ac2f0bbe524711824aae1e7bcc"
        );
    }

    #[test]
    fn the_reference_does_not_depend_on_how_the_content_arrives() {
        let data = sequence(1_000_000);
        for piece in [1, 31, 4095, 4096, 4097, 20_000, 131_072, 200_000, 1_000_000] {
            let mut hasher = Hasher::default();
            data.chunks(piece).for_each(|bytes| hasher.update(bytes));
            assert_eq!(hasher.finish(), reference_of(&data), "pieces of {piece}");
        }
    }

    #[test]
    fn text_and_back() {
        let text = "92672a471f4419b255d7cb0cf313474a6f5856fb347c5ece85fb706d644b630f";
        let plain: Reference = text.parse().unwrap();
        assert_eq!(plain.to_string(), text);
        assert_eq!(plain.to_bytes().len(), 32);
        let key = text.replace('9', "a");
        let encrypted: Reference = format!("{text}{key}").parse().unwrap();
        assert_eq!(encrypted.to_string(), format!("{text}{key}"));
        assert_eq!(encrypted.to_bytes().len(), 64);
        assert_ne!(encrypted, plain);
        assert_ne!(encrypted, format!("{text}{text}").parse().unwrap());
        for wrong in [
            "",
            "92",
            &text.replace('9', "g"),
            &format!("{text}0"),
            &format!("{text}{text}0"),
            &format!("{text}{}", text.replace('9', "g")),
            &"é".repeat(32),
            &"é".repeat(64),
        ] {
            assert!(wrong.parse::<Reference>().is_err(), "{wrong}");
        }
    }
}
