//! The address of one chunk: the Keccak-256 of its span and of the root of the tree over its segments.
//!
//! Storing a file is mostly this, 128 permutations for every 4096 bytes. So it works on Keccak's own 64-bit lanes
//! (what comes out of one hash goes into the next without becoming bytes in between), and the subtrees of a short
//! chunk that hold nothing but padding are looked up.
//!
//! Rejected: the streaming interface of the `sha3` crate, which buffers inputs whose length is known here, and
//! permuting several states at once with vector instructions, which the `keccak` crate does on unstable compilers
//! only.

use std::sync::LazyLock;

use keccak::{Fn1600, Keccak};

use super::{BRANCHES, CHUNK, SEGMENT};

/// Lanes of a segment or a hash.
const LANES: usize = SEGMENT / size_of::<u64>();
/// Lanes of Keccak-256's input block, of which the last byte ends the padding.
const RATE: usize = 17;
/// From the segments to the root.
const HEIGHT: usize = BRANCHES.ilog2() as usize;

type Hash = [u64; LANES];

/// The roots of trees of all heights that hold only zeros.
static PADDING: LazyLock<[Hash; HEIGHT]> = LazyLock::new(|| {
    let mut roots = [[0; LANES]; HEIGHT];
    Keccak::new().with_f1600(|permute| {
        for height in 1..HEIGHT {
            let below = roots[height - 1];
            roots[height] = keccak256(permute, [below, below].as_flattened());
        }
    });
    roots
});

/// The address of a chunk of at most [`CHUNK`] bytes, below which lie `span` bytes of content.
pub(super) fn address(payload: &[u8], span: u64) -> super::Hash {
    let mut lanes = [0; CHUNK / size_of::<u64>()];
    let (whole, rest) = payload.as_chunks();
    for (lane, bytes) in lanes.iter_mut().zip(whole) {
        *lane = u64::from_le_bytes(*bytes);
    }
    if !rest.is_empty() {
        let mut last = [0; size_of::<u64>()];
        last[..rest.len()].copy_from_slice(rest);
        lanes[whole.len()] = u64::from_le_bytes(last);
    }

    let mut address = [0; LANES];
    Keccak::new().with_f1600(|permute| {
        let root = root(permute, &mut lanes, payload.len().div_ceil(SEGMENT));
        let mut preimage = [span, 0, 0, 0, 0];
        preimage[1..].copy_from_slice(&root);
        address = keccak256(permute, &preimage);
    });
    let mut bytes = [0; SEGMENT];
    for (to, lane) in bytes.as_chunks_mut().0.iter_mut().zip(address) {
        *to = lane.to_le_bytes();
    }
    bytes
}

/// The root over segments of which all after the first `filled` are zero. Overwrites them.
fn root(permute: Fn1600, segments: &mut [u64], filled: usize) -> Hash {
    let mut filled = filled.max(1);
    for padding in &*PADDING {
        if filled % 2 == 1 {
            segments[filled * LANES..][..LANES].copy_from_slice(padding);
        }
        filled = filled.div_ceil(2);
        // Each pair becomes one, written over what has been read already.
        for pair in 0..filled {
            let hash = keccak256(permute, &segments[pair * 2 * LANES..][..2 * LANES]);
            segments[pair * LANES..][..LANES].copy_from_slice(&hash);
        }
    }
    let mut root = [0; LANES];
    root.copy_from_slice(&segments[..LANES]);
    root
}

/// Keccak-256 of an input that is shorter than a block.
#[inline]
fn keccak256(permute: Fn1600, input: &[u64]) -> Hash {
    let mut state = [0; keccak::PLEN];
    state[..input.len()].copy_from_slice(input);
    state[input.len()] = 1;
    state[RATE - 1] = 1 << 63;
    permute(&mut state);
    let mut hash = [0; LANES];
    hash.copy_from_slice(&state[..LANES]);
    hash
}
