//! Never ends, and never calls the host. It must be gone soon after its deadline.

fn main() {
    println!("looping");
    let mut turns = 0_u64;
    loop {
        turns = std::hint::black_box(turns.wrapping_add(1));
    }
}
