//! Makes 100 000 files, each empty.

use std::fs::File;

const FILES: u32 = 100_000;

fn main() {
    for number in 0..FILES {
        if let Err(error) = File::create(format!("/output/{number}")) {
            println!("held: after {number} files: {error}");
            return;
        }
    }
    println!("EVIL: made {FILES} files");
}
