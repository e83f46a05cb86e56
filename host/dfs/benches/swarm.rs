//! What computing a Swarm reference costs next to the Keccak permutations that it cannot do without, as ratios of one
//! run on one machine.
//!
//! ```sh
//! cargo bench --package sovr-dfs
//! ```
//!
//! The floor is a plain loop over the same number of permutations on one core. Runs of the candidates alternate, and
//! the fastest of each counts: what else the machine does can only make a run slower.

use std::hint::black_box;
use std::thread::available_parallelism;
use std::time::{Duration, Instant};

use keccak::Keccak;
use rayon::{ThreadPool, ThreadPoolBuilder};
use sovr_dfs::swarm::Hasher;

/// Bytes that are hashed.
const SIZE: usize = 256 << 20;
/// Bytes that the hasher gets at once, as a store that writes a file does it.
const PIECE: usize = 1 << 20;
/// Permutations for a full chunk of 4096 bytes: 127 in its tree, and one over its span and the root.
const PER_CHUNK: usize = 128;
const CHUNK: usize = 4096;
const ROUNDS: usize = 5;

fn main() {
    let cores = available_parallelism().map_or(1, usize::from);
    let (one, all) = (pool(1), pool(cores));
    let piece: Vec<u8> = (0..PIECE).map(|index| (index % 255) as u8).collect();

    let mut best = [Duration::MAX; 3];
    for _ in 0..ROUNDS {
        let took = [
            time(permute),
            time(|| one.install(|| hash(&piece))),
            time(|| all.install(|| hash(&piece))),
        ];
        best = std::array::from_fn(|index| best[index].min(took[index]));
    }

    let [floor, one, all] = best.map(|took| SIZE as f64 / took.as_secs_f64());
    let line = |what: &str, speed: f64| {
        let mib = speed / f64::from(1 << 20);
        println!(
            "{what:<24} {mib:>8.0} MiB/s {:>6.2} x the floor",
            speed / floor
        );
    };
    line("permutations, one core", floor);
    line("references, one thread", one);
    line(&format!("references, {cores} threads"), all);
}

fn pool(threads: usize) -> ThreadPool {
    ThreadPoolBuilder::new()
        .num_threads(threads)
        .build()
        .expect("threads")
}

fn time(work: impl FnOnce()) -> Duration {
    let begun = Instant::now();
    work();
    begun.elapsed()
}

fn hash(piece: &[u8]) {
    let mut hasher = Hasher::default();
    for _ in 0..SIZE / PIECE {
        hasher.update(black_box(piece));
    }
    // Addresses of addresses are not counted in the floor: the hasher has them to do as well.
    black_box(hasher.finish());
}

fn permute() {
    Keccak::new().with_f1600(|permute| {
        let mut state = [0; keccak::PLEN];
        for _ in 0..SIZE / CHUNK * PER_CHUNK {
            permute(black_box(&mut state));
        }
    });
}
