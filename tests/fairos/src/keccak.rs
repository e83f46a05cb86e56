//! Keccak-256 with the padding that Ethereum and Swarm kept: the address of a single-owner chunk.

/// Bytes that go in before each permutation.
const RATE: usize = 136;
const LANE: usize = size_of::<u64>();

/// The hash of some bytes.
pub(crate) fn keccak256(bytes: &[u8]) -> [u8; 32] {
    let mut padded = bytes.to_vec();
    padded.push(1);
    padded.resize(padded.len().next_multiple_of(RATE), 0);
    *padded.last_mut().expect("there is the padding") |= 0x80;

    let mut state = [0; 25];
    keccak::Keccak::new().with_f1600(|permute| {
        for block in padded.chunks(RATE) {
            for (lane, bytes) in state.iter_mut().zip(block.as_chunks::<LANE>().0) {
                *lane ^= u64::from_le_bytes(*bytes);
            }
            permute(&mut state);
        }
    });
    let mut hash = [0; 32];
    for (to, lane) in hash.as_chunks_mut::<LANE>().0.iter_mut().zip(state) {
        *to = lane.to_le_bytes();
    }
    hash
}

#[cfg(test)]
mod tests {
    use super::keccak256;

    #[test]
    fn the_address_of_a_single_owner_chunk_is_the_one_of_bees_own_test() {
        let owner = hex::decode("8d3766440f0d7b949a5e32995d09619a7f86e632").unwrap();
        let preimage = [&[0; 32][..], &owner].concat();
        assert_eq!(
            hex::encode(keccak256(&preimage)),
            "9d453ebb73b2fedaaf44ceddcf7a0aa37f3e3d6453fea5841c31f0ea6d61dc85"
        );
    }

    #[test]
    fn inputs_of_whole_blocks_get_a_block_of_padding() {
        assert_eq!(
            hex::encode(keccak256(b"")),
            "c5d2460186f7233c927e7db2dcc703c0e500b653ca82273b7bfad8045d85a470"
        );
        // Another block, not another byte in the same one.
        assert_ne!(keccak256(&[0; 135]), keccak256(&[0; 136]));
    }
}
