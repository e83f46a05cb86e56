//! Takes memory and touches every page of it, until it gets no more or holds what an argument says, in MiB.

const MIB: usize = 1 << 20;
const PAGE: usize = 4096;

fn main() {
    let enough = std::env::args()
        .nth(1)
        .and_then(|most| most.parse().ok())
        .unwrap_or(3072);
    let mut held: Vec<Vec<u8>> = Vec::new();
    while held.len() < enough {
        let mut block = Vec::new();
        if let Err(error) = block.try_reserve_exact(MIB) {
            println!("held: after {} MiB: {error}", held.len());
            return;
        }
        block.resize(MIB, 0);
        block.iter_mut().step_by(PAGE).for_each(|byte| *byte = 1);
        held.push(block);
    }
    println!("EVIL: holds {} MiB", held.len());
}
